//! The status server, and the status as JSON; the floors are a plain serde
//! struct and a thread that writes bytes it has.

use std::hint::black_box;
use std::io::{BufRead, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use loopkeeper::http::PageBench;
use loopkeeper::status::{StatusSource, write_json};
use loopkeeper::watch::BackoffConfig;
use loopkeeper::{
    Context, Env, LoopStatus, Stamp, StatusServer, StatusServerConfig, WatchManager, WatcherConfig,
};
use serde::Serialize;

use super::measure::{private_kib, threads, us};

const HOUR: Duration = Duration::from_secs(3600);

/// Watchers that have made their first probe and wait; one in ten has an
/// error to show.
pub(crate) fn watchers(n: usize) -> (Env, Arc<WatchManager>) {
    let env = Env::new().expect("an environment");
    let manager = Arc::new(WatchManager::new(&env));
    for i in 0..n {
        let probe = move |_: &Context| {
            if i % 10 == 0 { Err("connection refused".into()) } else { Ok(()) }
        };
        let backoff =
            BackoffConfig { initial_delay: HOUR, max_delay: HOUR, poll_interval: HOUR, ..Default::default() };
        let config = WatcherConfig::new(format!("watcher-{i}"), probe).backoff(backoff);
        manager.watch(config).expect("the machine allows as many watchers");
    }
    while manager.statuses().iter().any(|status| status.last_check.is_none()) {
        thread::sleep(Duration::from_millis(1));
    }
    (env, manager)
}

/// A snapshot of all watchers as JSON, as the server makes it.
pub(crate) fn json(manager: &WatchManager) -> usize {
    let mut out = Vec::new();
    write_json(&manager.statuses(), &mut out);
    black_box(&out).len()
}

/// The page for browsers, as the server makes it.
pub(crate) fn page(manager: &WatchManager, bench: &mut PageBench) -> usize {
    black_box(bench.render(manager.statuses())).len()
}

/// What a status is when moments are texts.
#[derive(Serialize)]
struct Plain {
    name: String,
    kind: &'static str,
    state: &'static str,
    ready: bool,
    critical: bool,
    phase: &'static str,
    since: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_check: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    age: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_success: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<String>,
    consecutive_failures: u32,
    attempt: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_run: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency: Option<f64>,
    runs: u64,
    failures: u64,
    panics: u64,
    timeouts: u64,
    late: u64,
    missed: u64,
    transitions: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    thread: Option<PlainThread>,
    lost_callbacks: u64,
}

#[derive(Serialize)]
struct PlainThread {
    name: String,
    tid: u32,
}

fn formatted(stamp: Stamp) -> String {
    humantime::format_rfc3339_millis(SystemTime::from(stamp)).to_string()
}

impl From<LoopStatus> for Plain {
    fn from(status: LoopStatus) -> Self {
        Self {
            name: status.name.to_string(),
            kind: status.kind.as_str(),
            state: status.health.as_str(),
            ready: status.ready,
            critical: status.critical,
            phase: status.phase.as_str(),
            since: formatted(status.since),
            last_check: status.last_check.map(formatted),
            age: status.age.map(|age| age.as_secs_f64()),
            last_success: status.last_success.map(formatted),
            last_error: status.last_error,
            consecutive_failures: status.consecutive_failures,
            attempt: status.attempt,
            next_run: status.next_run.map(formatted),
            latency: status.latency.map(|latency| latency.as_secs_f64()),
            runs: status.runs,
            failures: status.failures,
            panics: status.panics,
            timeouts: status.timeouts,
            late: status.late,
            missed: status.missed,
            transitions: status.transitions,
            thread: status.thread.map(|thread| PlainThread { name: thread.name, tid: thread.tid }),
            lost_callbacks: status.lost_callbacks,
        }
    }
}

/// The same by a plain struct.
pub(crate) fn plain_json(manager: &WatchManager) -> usize {
    let plain: Vec<Plain> = manager.statuses().into_iter().map(Plain::from).collect();
    black_box(serde_json::to_vec(&plain).expect("plain values")).len()
}

pub(crate) fn server(env: &Env, source: Arc<dyn StatusSource>, max_connections: usize) -> StatusServer {
    let config = StatusServerConfig::default().listen("127.0.0.1:0").max_connections(max_connections);
    StatusServer::start(env, config, source).expect("a free port")
}

/// Requests on a connection that is kept.
pub(crate) struct Kept {
    stream: TcpStream,
    input: Vec<u8>,
}

impl Kept {
    pub(crate) fn new(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("it listens");
        stream.set_nodelay(true).expect("a socket");
        Self { stream, input: vec![0; 1 << 20] }
    }

    /// Asks, and reads the whole answer; says how long it is.
    pub(crate) fn ask(&mut self) -> usize {
        self.stream.write_all(b"GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("it is read");
        let (mut len, mut whole) = (0, usize::MAX);
        while len < whole {
            len += match self.stream.read(&mut self.input[len..]).expect("an answer") {
                0 => panic!("it is closed"),
                n => n,
            };
            if whole == usize::MAX {
                whole = whole_of(&self.input[..len]).unwrap_or(usize::MAX);
            }
        }
        len
    }

    /// The last answer.
    pub(crate) fn answer(&self, len: usize) -> &[u8] {
        &self.input[..len]
    }

    /// Microseconds a request.
    pub(crate) fn timed(&mut self, requests: u32) -> f64 {
        let begin = Instant::now();
        for _ in 0..requests {
            self.ask();
        }
        us(begin.elapsed()) / f64::from(requests)
    }
}

/// How long an answer is, head and body, once its head is there.
fn whole_of(bytes: &[u8]) -> Option<usize> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let len = head.lines().find_map(|line| line.strip_prefix("Content-Length: "))?;
    Some(end + len.parse::<usize>().ok()?)
}

/// A thread that writes the same bytes to each request.
pub(crate) fn bare(bytes: Vec<u8>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its address");
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.set_nodelay(true);
            let mut head = [0; 1024];
            while matches!(stream.read(&mut head), Ok(n) if n > 0) {
                if stream.write_all(&bytes).is_err() {
                    break;
                }
            }
        }
    });
    address
}

/// How long `/livez` takes, each time on a connection of its own, and how many
/// times it failed.
pub(crate) fn livez(address: SocketAddr, samples: usize) -> (Vec<Duration>, usize) {
    let mut n_failed = 0;
    let mut times = Vec::with_capacity(samples);
    for _ in 0..samples {
        let begin = Instant::now();
        match livez_once(address) {
            Ok(answer) if answer.starts_with(b"HTTP/1.1 200 ") => times.push(begin.elapsed()),
            _ => n_failed += 1,
        }
        thread::sleep(Duration::from_millis(2));
    }
    (times, n_failed)
}

fn livez_once(address: SocketAddr) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}

/// Clients that send a byte a second and come back when they are sent away.
pub(crate) struct Dribblers {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Dribblers {
    pub(crate) fn start(address: SocketAddr, n: usize) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let n_there = Arc::new(AtomicUsize::new(0));
        let (over, there) = (Arc::clone(&is_over), Arc::clone(&n_there));
        let thread = thread::spawn(move || {
            let connect = || TcpStream::connect(address).expect("it listens");
            let mut streams = Vec::with_capacity(n);
            for _ in 0..n {
                streams.push(connect());
                there.fetch_add(1, Ordering::Relaxed);
            }
            while !over.load(Ordering::Relaxed) {
                for stream in &mut streams {
                    if stream.write_all(b"G").is_err() {
                        *stream = connect();
                    }
                    thread::sleep(Duration::from_secs(1) / n as u32);
                    if over.load(Ordering::Relaxed) {
                        return;
                    }
                }
            }
        });
        while n_there.load(Ordering::Relaxed) < n {
            thread::sleep(Duration::from_millis(1));
        }
        Self { is_over, thread: Some(thread) }
    }
}

impl Drop for Dribblers {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn descriptors() -> f64 {
    std::fs::read_dir("/proc/self/fd").expect("this kernel has it").count() as f64
}

/// Raises the limit of descriptors as far as it goes; says how far.
fn raise_limit() -> usize {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a whole `rlimit`, which the call fills in.
    let answer = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    assert_eq!(answer, 0, "getrlimit: {}", std::io::Error::last_os_error());
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: the pointer is to a whole `rlimit`, which the call reads.
    let _ = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX)
}

/// In a process of its own: what `n` connections cost the server that send
/// nothing: KiB each, descriptors each, threads in all.
pub(crate) fn idle(n: usize) -> [f64; 3] {
    let n = n.min(raise_limit().saturating_sub(200));
    let env = Env::new().expect("an environment");
    let server = server(&env, Arc::new(WatchManager::new(&env)), n + 64);
    let address = server.local_addr();
    assert!(livez(address, 10).1 == 0, "it answers");
    let before = [private_kib(), descriptors(), threads()];
    let program = std::env::current_exe().expect("a process knows its program");
    let mut clients = Command::new(program)
        .args(["--child".to_owned(), format!("connect {address} {n}")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the bench can start itself");
    let mut said = String::new();
    let mut out = std::io::BufReader::new(clients.stdout.take().expect("it is piped"));
    out.read_line(&mut said).expect("it says when all are there");
    // The last ones are still being accepted.
    let (mut after, mut seen) = (descriptors(), -1.0);
    while seen < after {
        thread::sleep(Duration::from_millis(100));
        (seen, after) = (after, descriptors());
    }
    assert!(livez(address, 10).1 == 0, "it still answers");
    let after = [private_kib(), descriptors(), threads()];
    // The end of its input ends it.
    drop(clients.stdin.take());
    let _ = clients.wait();
    let there = after[1] - before[1];
    assert!(there > 0.99 * n as f64, "{there} of {n} are there");
    [(after[0] - before[0]) / there, there / n as f64, after[2] - before[2]]
}

/// The other side: connects, asks once, and waits for the end of its input.
pub(crate) fn connect(address: &str, n: usize) -> f64 {
    raise_limit();
    let address: SocketAddr = address.parse().expect("an address");
    let mut streams = Vec::with_capacity(n);
    for _ in 0..n {
        let mut stream = TcpStream::connect(address).expect("it listens");
        // Kept after an answer: an idle connection as there are most.
        stream.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("it is read");
        let mut answer = [0; 512];
        assert!(stream.read(&mut answer).expect("an answer") > 0);
        streams.push(stream);
    }
    #[allow(clippy::print_stdout, reason = "the parent waits for it")]
    {
        println!("there");
    }
    let _ = std::io::stdin().read(&mut [0]);
    streams.len() as f64
}
