//! Clients that do everything wrong, over real sockets: what they send, when
//! they send it, and how they leave. After each siege the server still
//! answers, stops in time, and has left no thread and no descriptor behind.

#![cfg(all(feature = "http", feature = "prometheus"))]
#![allow(clippy::unwrap_used, reason = "test code: a failed set-up is a failed test")]
#![allow(clippy::disallowed_methods, reason = "clients live on the real clock")]
#![allow(unsafe_code, reason = "a reset is asked for by a socket option that std does not have")]

mod support;

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use loopkeeper::observe::prometheus::Exporter;
use loopkeeper::{Context, Env, StatusServer, StatusServerConfig, WatchManager, WatcherConfig};
use support::{PATIENCE, eventually, threads_named};

struct Site {
    server: StatusServer,
    manager: Arc<WatchManager>,
}

/// How many descriptors this process has open.
fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Runs a siege with no other beside it.
#[track_caller]
fn siege(config: StatusServerConfig, clients: impl FnOnce(&Site)) {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let before = descriptors();
    let env = Env::new().unwrap();
    let manager = Arc::new(WatchManager::new(&env));
    let config = config.listen("127.0.0.1:0").metrics(Exporter::default());
    let site = Site { server: StatusServer::start(&env, config, manager.clone()).unwrap(), manager };
    clients(&site);
    site.is_well();
    let report = site.server.stop(Duration::from_millis(200));
    assert!(report.stragglers().is_empty(), "{report}");
    drop((site, env));
    eventually("all threads to end", || {
        ["w/", "lk/", "http/"].iter().all(|prefix| threads_named(prefix) == 0)
    });
    eventually("all descriptors to be closed", || descriptors() <= before);
}

impl Site {
    fn address(&self) -> SocketAddr {
        self.server.local_addr()
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// Answers everything that an honest client asks for, on three threads.
    #[track_caller]
    fn is_well(&self) {
        let get = |path: &str| {
            let mut stream = self.connect();
            let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
            stream.write_all(head.as_bytes()).unwrap();
            let answer = rest(&mut stream).unwrap();
            assert_eq!(status(&answer), 200, "{path}: {}", String::from_utf8_lossy(&answer));
        };
        ["/livez", "/status", "/", "/events", "/metrics"].into_iter().for_each(get);
        assert_eq!(threads_named("http/"), 3);
    }

    fn watch(&self, name: &str, error: &str) {
        let error = error.to_owned();
        let probe = move |_: &Context| Err(error.clone().into());
        let watcher = self.manager.watch(WatcherConfig::new(name, probe).optional()).unwrap();
        eventually("the probe has failed", || watcher.status().last_error.is_some());
    }
}

/// All that comes until the end of the connection.
fn rest(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut all = Vec::new();
    match stream.read_to_end(&mut all) {
        // After an answer, for what was sent and not read.
        Err(error) if error.kind() == ErrorKind::ConnectionReset && !all.is_empty() => Ok(all),
        Err(error) => Err(error),
        Ok(_) => Ok(all),
    }
}

fn status(answer: &[u8]) -> u16 {
    let text = answer.get(9..12).and_then(|code| std::str::from_utf8(code).ok());
    text.and_then(|code| code.parse().ok()).unwrap_or(0)
}

/// Takes whole answers apart; panics where one is not.
#[track_caller]
fn statuses(mut bytes: &[u8]) -> Vec<u16> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        assert!(bytes.starts_with(b"HTTP/1.1 "), "{:?}", String::from_utf8_lossy(bytes));
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("a whole head") + 4;
        let head = std::str::from_utf8(&bytes[..end]).unwrap();
        let len = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let len: usize = len.map_or(0, |len| len.parse().unwrap());
        assert!(bytes.len() >= end + len, "a body ends early: {head}");
        assert_eq!(head.matches("\r\nDate: ").count(), 1, "{head}");
        all.push(status(bytes));
        bytes = &bytes[end + len..];
    }
    all
}

/// Ends a connection at once, with all that is on its way.
fn reset(stream: TcpStream) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let size = size_of_val(&linger) as libc::socklen_t;
    // SAFETY: the descriptor is open, and the option is of this type and size.
    let answer = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            std::ptr::from_ref(&linger).cast(),
            size,
        )
    };
    assert_eq!(answer, 0);
}

const GET: &str = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";
const POST: &str = "POST /deploy/rescan HTTP/1.1\r\nHost: localhost\r\n";

/// What is sent, and the answers there are: no request behind one that is
/// refused is ever answered.
const SCRIPTS: &[(&str, &[u16])] = &[
    // Bodies, announced in every way. What they hold is no request.
    ("Content-Length: 41\r\n\r\nGET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n", &[413]),
    ("Content-Length: 10737418240\r\n\r\nx", &[413]),
    ("Content-Length: 99999999999999999999999999\r\n\r\nx", &[413]),
    ("Content-Length: 0\r\nContent-Length: 41\r\n\r\nx", &[400]),
    ("Content-Length: 0\r\nContent-Length: 0\r\n\r\n", &[400]),
    ("Content-Length: 0, 5\r\n\r\nhello", &[400]),
    ("Content-Length: +5\r\n\r\nhello", &[400]),
    ("Content-Length: -5\r\n\r\n", &[400]),
    ("Content-Length: 5 \r\n\r\nhello", &[413]),
    ("Content-Length: 0x5\r\n\r\nhello", &[400]),
    ("Content-Length : 5\r\n\r\nhello", &[400]),
    ("Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", &[400]),
    ("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n", &[400]),
    ("Transfer-Encoding: xchunked\r\nContent-Length: 0\r\n\r\n", &[400]),
    ("Transfer-Encoding: identity\r\n\r\n", &[400]),
    ("Transfer-Encoding:\tchunked\r\n\r\nffffffffffffffff\r\n", &[400]),
    ("Transfer-Encoding : chunked\r\n\r\n", &[400]),
    ("X: y\r\n Transfer-Encoding: chunked\r\n\r\n", &[400]),
    ("X: y\r\n\tfolded\r\n\r\n", &[400]),
    ("X: y\nTransfer-Encoding: chunked\r\n\r\n", &[400]),
    ("X: y\rTransfer-Encoding: chunked\r\n\r\n", &[400]),
    ("X: \0\r\n\r\n", &[400]),
    ("X\0: y\r\n\r\n", &[400]),
    (": y\r\n\r\n", &[400]),
    ("no colon\r\n\r\n", &[400]),
    ("Host: localhost\r\n\r\n", &[400]),
    ("Origin: http://evil.example\r\n\r\n", &[403]),
    ("Authorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n", &[400]),
];

/// Whole heads, each followed by a good one.
const HEADS: &[(&str, &[u16])] = &[
    (GET, &[200, 200]),
    // Line ends.
    ("GET /livez HTTP/1.1\nHost: localhost\n\n", &[400]),
    ("GET /livez HTTP/1.1\r\nHost: localhost\r\n\n", &[400]),
    ("\r\n\r\nGET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n", &[200, 200]),
    ("\n\nGET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n", &[400]),
    // Targets. No path is another by another spelling.
    ("GET http://localhost/livez HTTP/1.1\r\nHost: localhost\r\n\r\n", &[200, 200]),
    ("GET http://evil.example/livez HTTP/1.1\r\nHost: localhost\r\n\r\n", &[421]),
    ("GET http://localhost@evil.example/livez HTTP/1.1\r\nHost: localhost\r\n\r\n", &[400]),
    ("GET http://evil.example#@localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n", &[400]),
    ("GET https://localhost/livez HTTP/1.1\r\nHost: localhost\r\n\r\n", &[400]),
    ("GET file:///etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n", &[400]),
    ("GET //evil.example/livez HTTP/1.1\r\nHost: localhost\r\n\r\n", &[404, 200]),
    ("GET /%6civez HTTP/1.1\r\nHost: localhost\r\n\r\n", &[404, 200]),
    ("GET /livez%00 HTTP/1.1\r\nHost: localhost\r\n\r\n", &[404, 200]),
    ("GET /livez%0d%0aX:%20y HTTP/1.1\r\nHost: localhost\r\n\r\n", &[404, 200]),
    ("GET /x/../livez HTTP/1.1\r\nHost: localhost\r\n\r\n", &[404, 200]),
    ("GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n", &[404, 200]),
    ("GET /livez;a=b HTTP/1.1\r\nHost: localhost\r\n\r\n", &[404, 200]),
    ("GET /livez/ HTTP/1.1\r\nHost: localhost\r\n\r\n", &[404, 200]),
    ("GET /LIVEZ HTTP/1.1\r\nHost: localhost\r\n\r\n", &[404, 200]),
    ("GET /livez?verbose&verbose HTTP/1.1\r\nHost: localhost\r\n\r\n", &[400, 200]),
    ("GET /events?after=99999999999999999999 HTTP/1.1\r\nHost: localhost\r\n\r\n", &[400, 200]),
    ("GET /events?wait=1000h HTTP/1.1\r\nHost: localhost\r\n\r\n", &[400, 200]),
    ("GET /livez#x HTTP/1.1\r\nHost: localhost\r\n\r\n", &[400]),
    ("GET livez HTTP/1.1\r\nHost: localhost\r\n\r\n", &[400]),
    ("GET  /livez HTTP/1.1\r\nHost: localhost\r\n\r\n", &[400]),
    ("GET /livez  HTTP/1.1\r\nHost: localhost\r\n\r\n", &[505]),
    ("GET /liv ez HTTP/1.1\r\nHost: localhost\r\n\r\n", &[505]),
    ("GET * HTTP/1.1\r\nHost: localhost\r\n\r\n", &[400]),
    // Versions and methods.
    ("GET /livez\r\n\r\n", &[400]),
    ("GET /livez HTTP/0.9\r\n\r\n", &[505]),
    ("GET /livez HTTP/1.2\r\nHost: localhost\r\n\r\n", &[505]),
    ("GET /livez HTTP/11\r\nHost: localhost\r\n\r\n", &[505]),
    ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[505]),
    ("\u{16}\u{3}\u{1}\u{2}\0\u{1}\0", &[400]),
    ("CONNECT evil.example:443 HTTP/1.1\r\nHost: localhost\r\n\r\n", &[405]),
    ("TRACE / HTTP/1.1\r\nHost: localhost\r\n\r\n", &[405]),
    ("get /livez HTTP/1.1\r\nHost: localhost\r\n\r\n", &[405]),
    ("DELETE /status HTTP/1.1\r\nHost: localhost\r\n\r\n", &[405]),
    // Hosts.
    ("GET /livez HTTP/1.1\r\n\r\n", &[400]),
    ("GET /livez HTTP/1.1\r\nHost:\r\n\r\n", &[400]),
    ("GET /livez HTTP/1.1\r\nHost: evil.example\r\n\r\n", &[421]),
    ("GET /livez HTTP/1.1\r\nHost: localhost.evil.example\r\n\r\n", &[421]),
    ("GET /livez HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n", &[400]),
    ("GET /livez HTTP/1.1\r\nHost: localhost, evil.example\r\n\r\n", &[400]),
    ("GET /livez HTTP/1.1\r\nHost: localhost/evil\r\n\r\n", &[400]),
    ("GET /livez HTTP/1.1\r\nHost: [::1\r\n\r\n", &[400]),
    ("GET /livez HTTP/1.1\r\nHost: 0x7f.1\r\n\r\n", &[421]),
    // An upgrade is not made.
    ("GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", &[200, 200]),
    ("GET /livez HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n\r\n", &[200, 200]),
];

/// How the bytes of a script come.
#[derive(Debug, Clone, Copy)]
enum Pace {
    AtOnce,
    InHalves,
    ByteByByte,
}

#[test]
fn no_request_is_taken_for_another_however_it_comes() {
    siege(StatusServerConfig::default(), |site| {
        let whole = |(rest, expected): &(&str, &'static [u16])| (format!("{POST}{rest}{GET}"), *expected);
        let posts = SCRIPTS.iter().map(whole);
        let heads = HEADS.iter().map(|(head, expected)| (format!("{head}{GET}"), *expected));
        for (script, expected) in posts.chain(heads) {
            for pace in [Pace::AtOnce, Pace::InHalves, Pace::ByteByByte] {
                let mut stream = site.connect();
                let pieces: Vec<&[u8]> = match pace {
                    Pace::AtOnce => vec![script.as_bytes()],
                    Pace::InHalves => script.as_bytes().chunks(script.len() / 2 + 1).collect(),
                    Pace::ByteByByte => script.as_bytes().chunks(1).collect(),
                };
                // It may be refused before its end.
                let _ = pieces.iter().try_for_each(|piece| stream.write_all(piece));
                let _ = stream.shutdown(Shutdown::Write);
                let answer = rest(&mut stream).unwrap_or_else(|error| panic!("{script:?} {pace:?}: {error}"));
                assert_eq!(statuses(&answer), expected, "{script:?} {pace:?}");
            }
        }
    });
}

#[test]
fn what_is_too_long_is_refused_and_not_read_to_its_end() {
    siege(StatusServerConfig::default(), |site| {
        let megabyte = "x".repeat(1 << 20);
        for (head, expected) in [
            (format!("GET /{megabyte} HTTP/1.1\r\nHost: localhost\r\n\r\n"), 431),
            (format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {megabyte}\r\n\r\n"), 431),
            (format!("GET / HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "A: b\r\n".repeat(200_000)), 431),
            (format!("{megabyte} / HTTP/1.1\r\n\r\n"), 431),
            (format!("GET / HTTP/1.1\r\nHost: {megabyte}\r\n\r\n"), 431),
            (format!("GET /?{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "a&".repeat(1 << 19)), 431),
        ] {
            let mut stream = site.connect();
            stream.set_write_timeout(Some(PATIENCE)).unwrap();
            let sent = stream.write_all(head.as_bytes());
            let is_cut = |error: &std::io::Error| {
                matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
            };
            assert!(sent.as_ref().err().is_none_or(is_cut), "{sent:?}");
            match rest(&mut stream) {
                Ok(answer) => assert_eq!(statuses(&answer), [expected], "{}", &head[..40]),
                Err(error) => assert!(is_cut(&error), "{error}"),
            }
        }
        // Ten gigabytes, if they were taken.
        let mut stream = site.connect();
        let head = format!("{POST}Content-Length: 10737418240\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut n_sent = 0u64;
        while stream.write_all(megabyte.as_bytes()).is_ok() {
            n_sent += 1;
            assert!(n_sent < 64, "it goes on reading");
        }
    });
}

#[test]
fn who_leaves_by_a_reset_leaves_nothing_behind_in_any_state() {
    let config = StatusServerConfig::default().max_connections(8);
    siege(config, |site| {
        for i in 0..40 {
            site.watch(&format!("w{i}"), &"long ".repeat(2000));
        }
        let parts = [
            "",
            "GET /livez HT",
            GET,
            "GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "GET /events?after=100000&wait=1ms HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "GET /livez HTTP/1.0\r\n\r\n",
            "nonsense\r\n\r\n",
        ];
        for round in 0..60 {
            for part in parts {
                let mut stream = site.connect();
                stream.write_all(part.as_bytes()).unwrap();
                if round % 3 == 1 && !part.is_empty() && !part.ends_with("HT") {
                    // With its answer begun.
                    assert!(stream.peek(&mut [0]).unwrap() <= 1);
                }
                reset(stream);
            }
        }
        // In the middle of its wait.
        let next = format!("GET /events?after={}&wait=5m HTTP/1.1\r\nHost: localhost\r\n\r\n", newest(site));
        for _ in 0..50 {
            let mut stream = site.connect();
            stream.write_all(next.as_bytes()).unwrap();
            reset(stream);
        }
    });
}

/// The number of the newest event.
fn newest(site: &Site) -> u64 {
    let mut stream = site.connect();
    stream
        .write_all(b"GET /events?max=4096 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .unwrap();
    let answer = String::from_utf8(rest(&mut stream).unwrap()).unwrap();
    let (_, number) = answer.split_once("\"next\":").unwrap();
    number[..number.find(',').unwrap()].parse().unwrap()
}

#[test]
fn who_does_not_read_is_cut_and_the_others_are_served() {
    let config = StatusServerConfig::default().request_deadline(Duration::from_millis(500));
    siege(config, |site| {
        for i in 0..50 {
            site.watch(&format!("w{i}"), &"x".repeat(2000));
        }
        let many = "GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(100);
        let mut deaf: Vec<TcpStream> = (0..30).map(|_| site.connect()).collect();
        for stream in &mut deaf {
            stream.set_write_timeout(Some(Duration::from_millis(1))).unwrap();
            while stream.write_all(many.as_bytes()).is_ok() {}
        }
        site.is_well();
        for stream in &mut deaf {
            eventually(
                "it is cut",
                || matches!(stream.write_all(b"x"), Err(error) if error.kind() != ErrorKind::WouldBlock),
            );
        }
    });
}

#[test]
fn hundreds_that_wait_for_an_event_are_told_of_it_together() {
    const N: usize = 300;
    siege(StatusServerConfig::default().max_connections(N + 10), |site| {
        let next = format!("GET /events?after={}&wait=5m HTTP/1.1\r\nHost: localhost\r\n\r\n", newest(site));
        let mut waiting: Vec<TcpStream> = (0..N).map(|_| site.connect()).collect();
        waiting.iter_mut().for_each(|stream| stream.write_all(next.as_bytes()).unwrap());
        site.is_well();
        site.watch("news", "no");
        for stream in &mut waiting {
            let mut begin = [0; 12];
            stream.read_exact(&mut begin).unwrap();
            assert_eq!(status(&begin), 200);
        }
    });
}

#[test]
fn what_a_service_says_ends_no_line_and_no_string() {
    siege(StatusServerConfig::default(), |site| {
        let evil = "a\r\nHTTP/1.1 200 OK\r\n\r\n\0\u{1b}[2J\u{7f}\u{85}\u{2028}\u{202e}</td><script>\"'&\\";
        site.watch("evil", evil);
        let ask = |path: &str, accept: &str| {
            let mut stream = site.connect();
            let head = format!(
                "GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\nConnection: close\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).unwrap();
            let answer = rest(&mut stream).unwrap();
            assert_eq!(statuses(&answer), [200], "{path}");
            let answer = String::from_utf8(answer).unwrap();
            answer.split_once("\r\n\r\n").unwrap().1.to_owned()
        };
        for (path, accept) in
            [("/", "*/*"), ("/", "text/html"), ("/readyz?verbose", "*/*"), ("/metrics", "*/*")]
        {
            let body = ask(path, accept);
            let bad =
                body.chars().find(|&c| c != '\n' && (c.is_control() || matches!(c, '\u{2028}' | '\u{202e}')));
            assert_eq!(bad, None, "{path} {accept}: {body:?}");
            // Its own.
            let n_scripts = body.matches("<script").count();
            assert!(accept != "text/html" || n_scripts == 1, "{body}");
        }
        for path in ["/status", "/healthz", "/events"] {
            let body = ask(path, "*/*");
            assert!(!body.contains(|c: char| c < ' '), "{path}: {body:?}");
            let value: serde_json::Value = serde_json::from_str(&body).unwrap();
            assert!(value.to_string().contains("script"), "{path}");
        }
    });
}

#[test]
fn a_stop_in_a_storm_cuts_no_answer_short() {
    const CLIENTS: usize = 8;
    siege(StatusServerConfig::default(), |site| {
        for round in 0..6 {
            let env = Env::new().unwrap();
            let config = StatusServerConfig::default().listen("127.0.0.1:0").metrics(Exporter::default());
            let server = StatusServer::start(&env, config, site.manager.clone()).unwrap();
            let address = server.local_addr();
            let (is_over, n_answered) = (AtomicBool::new(false), AtomicU32::new(0));
            thread::scope(|scope| {
                for i in 0..CLIENTS {
                    let (is_over, n_answered) = (&is_over, &n_answered);
                    scope.spawn(move || {
                        let path =
                            ["/metrics", "/status", "/events?after=0&wait=1m", "/events?after=9&wait=1m"];
                        let path = path[i % path.len()];
                        let head =
                            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
                        while !is_over.load(Ordering::SeqCst) {
                            let Ok(mut stream) = TcpStream::connect(address) else { return };
                            stream.set_read_timeout(Some(PATIENCE)).unwrap();
                            if stream.write_all(head.as_bytes()).is_err() {
                                continue;
                            }
                            // Closed unanswered, if it came too late; never in the middle.
                            let mut answer = Vec::new();
                            let end = stream.read_to_end(&mut answer);
                            assert!(end.is_ok() || answer.is_empty(), "{end:?} after {} bytes", answer.len());
                            n_answered.fetch_add(statuses(&answer).len() as u32, Ordering::SeqCst);
                        }
                    });
                }
                eventually("they are served", || n_answered.load(Ordering::SeqCst) > 20 * round);
                let begun = Instant::now();
                let report = server.stop(PATIENCE);
                is_over.store(true, Ordering::SeqCst);
                assert!(report.is_clean(), "{report}");
                assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
            });
        }
    });
}
