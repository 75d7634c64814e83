//! An HTTP service that does as a script says, good or bad, and remembers
//! what it was asked.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// One request, as it came.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
    /// The number of the connection, from 0.
    pub(crate) connection: usize,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// What the service does about a request.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// A status with headers and a body of the right length.
    Full { status: u16, headers: Vec<(String, String)>, body: String },
    /// Bytes, then the end of the connection.
    Raw(Vec<u8>),
    /// Bytes, then nothing until the other side has gone.
    Hang(Vec<u8>),
    /// Bytes, then one byte after the other, a pause between.
    Dribble(Vec<u8>, Duration),
    /// Bytes, then zeros for ever.
    Endless(Vec<u8>),
    /// The end of the connection, without a word.
    Close,
}

impl Reply {
    pub(crate) fn json(body: impl ToString) -> Self {
        Self::status(200, body.to_string()).header("content-type", "application/json")
    }

    pub(crate) fn status(status: u16, body: impl Into<String>) -> Self {
        Self::Full { status, headers: Vec::new(), body: body.into() }
    }

    pub(crate) fn redirect(status: u16, to: &str) -> Self {
        Self::status(status, "").header("location", to)
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        if let Self::Full { headers, .. } = &mut self {
            headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }
}

/// Listens on a free port of the loopback address until dropped.
#[derive(Debug)]
pub(crate) struct Service {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    asked: Mutex<Vec<Asked>>,
    open: Mutex<Vec<TcpStream>>,
    is_over: Mutex<bool>,
}

impl Service {
    pub(crate) fn start(script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        let (theirs, script) = (state.clone(), Arc::new(script));
        thread::spawn(move || {
            for (connection, stream) in listener.incoming().enumerate() {
                let Ok(stream) = stream else { continue };
                if *theirs.is_over.lock().unwrap() {
                    return;
                }
                theirs.open.lock().unwrap().push(stream.try_clone().unwrap());
                let (state, script) = (theirs.clone(), script.clone());
                // A connection that breaks is what many scripts are about.
                thread::spawn(move || serve(&state, &*script, stream, connection));
            }
        });
        Self { address, state }
    }

    /// Answers the requests in turn, then the last reply to all others.
    pub(crate) fn scripted(replies: Vec<Reply>) -> Self {
        let next = Mutex::new(0);
        Self::start(move |_| {
            let mut next = next.lock().unwrap();
            let idx = (*next).min(replies.len() - 1);
            *next += 1;
            replies[idx].clone()
        })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it was asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.state.asked.lock().unwrap().clone()
    }

    /// Closes the connections there are, as a server that was started anew.
    pub(crate) fn cut(&self) {
        for stream in self.state.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        *self.state.is_over.lock().unwrap() = true;
        let _ = TcpStream::connect(self.address);
        self.cut();
    }
}

fn serve(
    state: &State,
    script: &dyn Fn(&Asked) -> Reply,
    mut stream: TcpStream,
    connection: usize,
) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    loop {
        let asked = read(&mut reader, connection)?;
        state.asked.lock().unwrap().push(asked.clone());
        match script(&asked) {
            Reply::Full { status, headers, body } => {
                let mut head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n", body.len());
                for (name, value) in headers {
                    write!(head, "{name}: {value}\r\n").ok()?;
                }
                let answer = if status == 204 { head.replacen("content-length: 0\r\n", "", 1) } else { head };
                stream.write_all(format!("{answer}\r\n{body}").as_bytes()).ok()?;
            }
            Reply::Raw(bytes) => {
                stream.write_all(&bytes).ok()?;
                return stream.shutdown(Shutdown::Write).ok();
            }
            Reply::Hang(bytes) => {
                stream.write_all(&bytes).ok()?;
                let _ = reader.read(&mut [0]);
                return None;
            }
            Reply::Dribble(bytes, pause) => {
                stream.write_all(&bytes).ok()?;
                loop {
                    super::pause(pause);
                    stream.write_all(b" ").ok()?;
                }
            }
            Reply::Endless(bytes) => {
                stream.write_all(&bytes).ok()?;
                loop {
                    stream.write_all(&[b'0'; 4096]).ok()?;
                }
            }
            Reply::Close => return stream.shutdown(Shutdown::Both).ok(),
        }
    }
}

fn read(reader: &mut BufReader<TcpStream>, connection: usize) -> Option<Asked> {
    let mut line = String::new();
    let mut next = |reader: &mut BufReader<TcpStream>| {
        line.clear();
        (reader.read_line(&mut line).ok()? > 0).then(|| line.trim_end().to_owned())
    };
    let first = next(reader)?;
    let mut words = first.split(' ').map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let mut headers = Vec::new();
    loop {
        let line = next(reader)?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length = length.map_or(0, |(_, value)| value.parse().unwrap_or(0));
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Asked { method, path, headers, body: String::from_utf8(body).ok()?, connection })
}
