//! Runs that are polled over HTTP, and the same requests by a bare loop, from
//! one server.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
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
    polled: Arc<Started>,
    n: usize,
}

struct Counted {
    source: RestSource,
    polled: Arc<Started>,
}

impl RunSource for Counted {
    fn fetch(&self, cx: &Context, run: &str) -> Result<TrainingRun, BoxError> {
        let run = self.source.fetch(cx, run);
        self.polled.one();
        run
    }

    fn checkpoints(&self, cx: &Context, run: &str) -> Result<Vec<Checkpoint>, BoxError> {
        self.source.checkpoints(cx, run)
    }
}

impl Watched {
    pub(crate) fn start(n: usize, server: SocketAddr) -> Self {
        let config = RestConfig::new(ClientConfig::new(format!("http://{server}")));
        let polled = Arc::new(Started::expect(n));
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
        monitor.restart().expect("it starts");
        polled.wait();
        let watched = Self { monitor, polled, n };
        // A poll is over a little after it was counted; a trigger before that
        // would poll that run once more.
        rest();
        watched
    }

    /// Panics when one could not be polled.
    pub(crate) fn check(&self) {
        let failed = self.monitor.runs().into_iter().find(|run| run.last_error.is_some());
        assert!(failed.is_none(), "{failed:?}");
    }

    /// Polls all of them once.
    pub(crate) fn poll(&self) -> Duration {
        rest();
        self.polled.again(self.n);
        let start = Instant::now();
        self.monitor.trigger();
        self.polled.wait();
        start.elapsed()
    }
}

fn rest() {
    thread::sleep(Duration::from_millis(50));
}

/// Threads that ask for all runs when they are told to. Like those of the
/// monitor they are there before a round and wait for it: one that is made for
/// it costs time, and is given a core where one that wakes has to find its own.
pub(crate) struct Crew {
    shared: Arc<Shared>,
    threads: Vec<thread::JoinHandle<()>>,
}

struct Shared {
    n: usize,
    next: AtomicUsize,
    /// Begins a round.
    begin: Barrier,
    /// The round that is under way; none ends the threads.
    round: Mutex<Option<Arc<Started>>>,
}

impl Crew {
    fn start(n: usize, ask: impl Fn(usize) + Send + Sync + 'static) -> Self {
        let (next, begin) = (AtomicUsize::new(0), Barrier::new(AT_ONCE + 1));
        let shared = Arc::new(Shared { n, next, begin, round: Mutex::new(None) });
        let ask = Arc::new(ask);
        let threads = (0..AT_ONCE).map(|_| {
            let (shared, ask) = (shared.clone(), ask.clone());
            thread::spawn(move || shared.work(&*ask))
        });
        let crew = Self { threads: threads.collect(), shared };
        crew.poll();
        crew
    }

    /// Without a monitor, by the source of runs alone.
    pub(crate) fn of_source(n: usize, server: SocketAddr) -> Self {
        let config = RestConfig::new(ClientConfig::new(format!("http://{server}")));
        let source = RestSource::new(&config).expect("it can be used");
        let name = loopkeeper::Name::new("runs").expect("a name");
        let env = Env::new().expect("an environment");
        Self::start(n, move |i| {
            let cx = Context::detached(&env, name.clone(), Duration::from_secs(30));
            assert!(!source.fetch(&cx, &format!("run-{i}")).expect("a run").corrupted);
        })
    }

    /// By a bare client, which the threads share; they read what comes back.
    pub(crate) fn bare(n: usize, server: SocketAddr) -> Self {
        let config = ureq::Agent::config_builder().proxy(None).max_idle_connections_per_host(AT_ONCE).build();
        let (agent, base) = (ureq::Agent::from(config), format!("http://{server}{PATH}"));
        Self::start(n, move |i| {
            let url = format!("{base}run-{i}");
            let mut answer = agent.get(&url).call().expect("an answer");
            let text = answer.body_mut().read_to_string().expect("a body");
            let run: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            assert_eq!(run["corrupted"], false);
        })
    }

    /// Asks for all of them once.
    pub(crate) fn poll(&self) -> Duration {
        rest();
        let round = Arc::new(Started::expect(self.shared.n));
        *self.shared.round.lock() = Some(round.clone());
        self.shared.next.store(0, Ordering::Relaxed);
        let start = Instant::now();
        self.shared.begin.wait();
        round.wait();
        start.elapsed()
    }
}

impl Shared {
    fn work(&self, ask: &impl Fn(usize)) {
        loop {
            self.begin.wait();
            let Some(round) = self.round.lock().clone() else { return };
            loop {
                let i = self.next.fetch_add(1, Ordering::Relaxed);
                if i >= self.n {
                    break;
                }
                ask(i);
                round.one();
            }
        }
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        *self.shared.round.lock() = None;
        self.shared.begin.wait();
        for thread in self.threads.drain(..) {
            thread.join().expect("none has panicked");
        }
    }
}
