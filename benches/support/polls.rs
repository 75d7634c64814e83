//! Runs that are polled over HTTP, and the same requests by a bare loop, from
//! one server.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use loopkeeper::recovery::rest::{RestConfig, RestRemedy, RestSource};
use loopkeeper::recovery::{
    Checkpoint, Metadata, RecoveryMonitor, RecoveryMonitorConfig, RecoveryPolicy, RunSource, TrainingRun,
};
use loopkeeper::rest::ClientConfig;
use loopkeeper::{BoxError, Context, Env};
use parking_lot::Mutex;

use super::measure::Started;

/// How many requests are under way at once.
const AT_ONCE: usize = 8;
const PATH: &str = "/api/v1/training_runs/";

/// Says of every run that it is well, on each connection by a thread.
pub(crate) fn serve() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its address");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || answer(stream));
        }
    });
    address
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut head, mut len) = ([0; 4096], 0);
    loop {
        len += match stream.read(&mut head[len..])? {
            0 => return Ok(()),
            n => n,
        };
        if !head[..len].ends_with(b"\r\n\r\n") {
            continue;
        }
        let line = std::str::from_utf8(&head[..len]).unwrap_or_default();
        let path = line.split(' ').nth(1).unwrap_or_default();
        let run = path.strip_prefix(PATH).unwrap_or_default();
        let body = format!(
            r#"{{"training_run_id": "{run}", "corrupted": false, "last_checkpoint": {{"path": "a/7"}}}}"#
        );
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length";
        stream.write_all(format!("{head}: {}\r\n\r\n{body}", body.len()).as_bytes())?;
        len = 0;
    }
}

/// A monitor of many runs, which polls them when it is told to.
pub(crate) struct Watched {
    monitor: RecoveryMonitor,
    polled: Arc<Mutex<Arc<Started>>>,
    n: usize,
}

struct Counted {
    source: RestSource,
    polled: Arc<Mutex<Arc<Started>>>,
}

impl RunSource for Counted {
    fn fetch(&self, cx: &Context, run: &str) -> Result<TrainingRun, BoxError> {
        let run = self.source.fetch(cx, run);
        self.polled.lock().one();
        run
    }

    fn checkpoints(&self, cx: &Context, run: &str) -> Result<Vec<Checkpoint>, BoxError> {
        self.source.checkpoints(cx, run)
    }
}

impl Watched {
    pub(crate) fn start(n: usize, server: SocketAddr) -> Self {
        let config = RestConfig::new(ClientConfig::new(format!("http://{server}")));
        let polled = Arc::new(Mutex::new(Arc::new(Started::expect(n))));
        let source =
            Counted { source: RestSource::new(&config).expect("it can be used"), polled: polled.clone() };
        let remedy = RestRemedy::new(&config).expect("it can be used");
        let policy = RecoveryPolicy::default().enabled(true).poll_interval(Duration::from_secs(3600));
        let monitor = RecoveryMonitorConfig::new("runs", policy).max_polls(AT_ONCE as u32);
        let env = Env::new().expect("an environment");
        let monitor = RecoveryMonitor::new(&env, monitor, source, remedy).expect("it can be used");
        for i in 0..n {
            monitor.watch_run(&format!("run-{i}"), Metadata::default()).expect("it can be watched");
        }
        let first = polled.lock().clone();
        monitor.restart().expect("it starts");
        first.wait();
        let watched = Self { monitor, polled, n };
        // A poll is over a little after it was counted; a trigger before that
        // would poll that run once more.
        watched.rest();
        watched
    }

    /// Panics when one could not be polled.
    pub(crate) fn check(&self) {
        let failed = self.monitor.runs().into_iter().find(|run| run.last_error.is_some());
        assert!(failed.is_none(), "{failed:?}");
    }

    /// Polls all of them once.
    pub(crate) fn poll(&self) -> Duration {
        self.rest();
        let round = Arc::new(Started::expect(self.n));
        *self.polled.lock() = round.clone();
        let start = Instant::now();
        self.monitor.trigger();
        round.wait();
        start.elapsed()
    }

    fn rest(&self) {
        thread::sleep(Duration::from_millis(50));
    }
}

/// The same requests by the source of runs alone, without a monitor.
pub(crate) fn fetch(n: usize, server: SocketAddr, env: &Env) -> Duration {
    let config = RestConfig::new(ClientConfig::new(format!("http://{server}")));
    let source = RestSource::new(&config).expect("it can be used");
    let name = loopkeeper::Name::new("runs").expect("a name");
    let next = AtomicUsize::new(0);
    let start = Instant::now();
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    if i >= n {
                        return;
                    }
                    let cx = Context::detached(env, name.clone(), Duration::from_secs(30));
                    assert!(!source.fetch(&cx, &format!("run-{i}")).expect("a run").corrupted);
                }
            });
        }
    });
    start.elapsed()
}

/// The same requests by as many threads, which share a client and read what
/// comes back.
pub(crate) struct Bare {
    agent: ureq::Agent,
    base: String,
}

impl Bare {
    pub(crate) fn new(server: SocketAddr) -> Self {
        let config = ureq::Agent::config_builder().proxy(None).max_idle_connections_per_host(AT_ONCE).build();
        Self { agent: config.into(), base: format!("http://{server}{PATH}") }
    }

    pub(crate) fn poll(&self, n: usize) -> Duration {
        let next = AtomicUsize::new(0);
        let start = Instant::now();
        thread::scope(|scope| {
            for _ in 0..AT_ONCE {
                scope.spawn(|| {
                    loop {
                        let i = next.fetch_add(1, Ordering::Relaxed);
                        if i >= n {
                            return;
                        }
                        let url = format!("{}run-{i}", self.base);
                        let mut answer = self.agent.get(&url).call().expect("an answer");
                        let text = answer.body_mut().read_to_string().expect("a body");
                        let run: serde_json::Value = serde_json::from_str(&text).expect("JSON");
                        assert_eq!(run["corrupted"], false);
                    }
                });
            }
        });
        start.elapsed()
    }
}
