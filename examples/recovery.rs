//! A training service whose runs break, and a monitor that has them restored
//! and waits for the proof, over real HTTP.
//!
//!     cargo run --release --features daemon --example recovery
//!     cargo run --release --features daemon --example recovery -- --hang-create
//!
//! The service is a thread of this program: its runs train, write checkpoints,
//! and are told to corrupt. The first form follows the incident of `alpha` from
//! its detection to `verified`. With `--hang-create` no request to restore
//! `alpha` is ever answered: each attempt ends at its deadline and gives its
//! place, the only one there is, to `beta`, which is restored meanwhile; `alpha`
//! ends `exhausted`.
//!
//! Ends with 0 when that is what happened, and with 1 when it is not.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example speaks to its reader")]
#![allow(clippy::disallowed_methods, reason = "the service is another program that happens to live here")]

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use loopkeeper::event::{EventKind, RecoveryEvent, RecoveryStep};
use loopkeeper::recovery::rest::{RestConfig, RestRemedy, RestSource};
use loopkeeper::recovery::{Metadata, RecoveryMonitor, RecoveryMonitorConfig, RecoveryPolicy};
use loopkeeper::rest::{ClientConfig, Key};
use loopkeeper::{BoxError, Env};
use serde_json::{Value, json};

/// How long all of it may take.
const PATIENCE: Duration = Duration::from_secs(20);
const ATTEMPTS: u32 = 3;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let hang_create = match &args[..] {
        [] => false,
        [arg] if arg == "--hang-create" => true,
        _ => {
            eprintln!("usage: recovery [--hang-create]");
            return ExitCode::from(2);
        }
    };
    match follow(hang_create) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("not as it should be: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Has runs broken, and looks at what becomes of them.
fn follow(hang_create: bool) -> Result<(), BoxError> {
    let service = Service::start(hang_create)?;
    println!("training service on {}", service.url);

    let client = ClientConfig::new(&service.url).key(Key::text("example-key"));
    let config = RestConfig::new(client).timeout(Duration::from_secs(2));
    let policy = RecoveryPolicy::default()
        .enabled(true)
        .poll_interval(Duration::from_millis(100))
        .max_attempts(ATTEMPTS)
        .attempt_timeout(Duration::from_millis(500))
        .backoff(Duration::from_millis(200))
        .verify_polls(3)
        .on_recovery(|recovered| {
            println!(
                "         callback: {} took the place of {}",
                recovered.restored.training_run_id, recovered.run
            )
        })
        .on_failure(|run, error| println!("         callback: {run} is lost: {error}"));
    let monitor = RecoveryMonitor::new(
        &Env::new()?,
        RecoveryMonitorConfig::new("training", policy).max_concurrent(1),
        RestSource::new(&config)?,
        RestRemedy::new(&config)?,
    )?;
    let events = monitor.subscribe();
    for run in ["alpha", "beta"] {
        monitor.watch_run(run, Metadata::default().with("team", "north"))?;
    }
    let start = Instant::now();
    monitor.restart()?;

    thread::sleep(Duration::from_millis(500));
    println!("{:>7.2}s the state of alpha is corrupted", start.elapsed().as_secs_f64());
    service.corrupt("alpha");
    if hang_create {
        service.corrupt("beta");
    }
    let mut told: Vec<Told> = Vec::new();
    let is_over = |told: &[Told]| {
        let has = |run: &str, step| told.iter().any(|one| one.run.starts_with(run) && one.step == step);
        match hang_create {
            false => has("alpha", RecoveryStep::Verified),
            true => has("alpha", RecoveryStep::Exhausted) && has("beta", RecoveryStep::Verified),
        }
    };
    while !is_over(&told) {
        let left = PATIENCE.saturating_sub(start.elapsed());
        let delivery = events.recv_timeout(left).ok_or("it took too long")?;
        if let EventKind::Recovery(event) = &delivery.event.what {
            println!("{:>7.2}s {}", start.elapsed().as_secs_f64(), line(event));
            told.push(Told { run: event.run_id.to_string(), step: event.step, attempt: event.attempt });
        }
    }
    for run in monitor.runs() {
        println!("watched: {} (first {})", run.run, run.first_run);
    }
    let report = monitor.stop(Duration::from_secs(2));
    check(hang_create, &told, &service)?;
    if !report.is_clean() {
        return Err(format!("{report}").into());
    }
    println!("as it should be");
    Ok(())
}

/// What of an event is held against what should have happened.
struct Told {
    run: String,
    step: RecoveryStep,
    attempt: Option<u32>,
}

fn line(event: &RecoveryEvent) -> String {
    let mut line = format!("{:20} {}", event.step.as_str(), event.run_id);
    let attempt = event.attempt.map(|attempt| format!("attempt {attempt} of {ATTEMPTS}"));
    let checkpoint = event.checkpoint.as_ref().map(|path| format!("from {path}"));
    let restored = event.restored.as_ref().map(|run| format!("restored as {run}"));
    let error = event.error.as_ref().map(|error| error.report().to_string());
    for more in [attempt, checkpoint, restored, error].into_iter().flatten() {
        line.push_str(", ");
        line.push_str(&more);
    }
    line
}

/// Whether all came in its order, and the service was asked as often as said.
fn check(hang_create: bool, told: &[Told], service: &Service) -> Result<(), BoxError> {
    use RecoveryStep::{
        CheckpointSelected, ClientCreated, Completed, Detected, Exhausted, Failed, Started, Verified,
    };
    let steps = |run: &str| -> Vec<RecoveryStep> {
        told.iter().filter(|one| one.run.starts_with(run)).map(|one| one.step).collect()
    };
    let restored = [Detected, Started, CheckpointSelected, ClientCreated, Completed, Verified];
    let (alpha, beta) = (steps("alpha"), steps("beta"));
    let creates = service.creates();
    let mut keys: Vec<&str> = creates.iter().map(|(_, key)| key.as_str()).collect();
    keys.sort_unstable();
    keys.dedup();
    if keys.len() != creates.len() {
        return Err("two attempts had the same key".into());
    }
    if !hang_create {
        return expect(
            alpha == restored && beta.is_empty() && creates.len() == 1,
            &format!("{alpha:?} {beta:?}"),
        );
    }
    let mut lost = vec![Detected];
    for _ in 0..ATTEMPTS {
        lost.extend([Started, CheckpointSelected, Failed]);
    }
    lost.push(Exhausted);
    let last = told.iter().rev().find(|one| one.step == Exhausted).and_then(|one| one.attempt);
    let n_alpha = creates.iter().filter(|(run, _)| run == "alpha").count();
    let is_right =
        alpha == lost && beta == restored && last == Some(ATTEMPTS) && n_alpha == ATTEMPTS as usize;
    expect(is_right, &format!("alpha {alpha:?}, {n_alpha} creates; beta {beta:?}"))
}

fn expect(is_right: bool, found: &str) -> Result<(), BoxError> {
    if is_right { Ok(()) } else { Err(found.into()) }
}

/// A service that trains, on a free port of the loopback address.
struct Service {
    url: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    runs: BTreeMap<String, Run>,
    /// The run and the key of each request to restore, in order.
    creates: Vec<(String, String)>,
    /// What was made for a key, for who sends it again.
    made: BTreeMap<String, String>,
    hang_create: bool,
}

#[derive(Clone, Default)]
struct Run {
    step: u64,
    is_corrupted: bool,
    checkpoints: Vec<u64>,
}

impl Service {
    fn start(hang_create: bool) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let url = format!("http://{}", listener.local_addr()?);
        let runs = ["alpha", "beta"].map(|name| (name.to_owned(), Run::default()));
        let state = State { runs: runs.into(), hang_create, ..State::default() };
        let state = Arc::new(Mutex::new(state));
        let trained = state.clone();
        thread::spawn(move || {
            loop {
                thread::sleep(Duration::from_millis(20));
                lock(&trained).runs.values_mut().for_each(Run::train);
            }
        });
        let served = state.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = served.clone();
                // Who goes in the middle is no concern of the service.
                thread::spawn(move || drop(serve(&state, stream)));
            }
        });
        Ok(Self { url, state })
    }

    fn corrupt(&self, run: &str) {
        if let Some(run) = lock(&self.state).runs.get_mut(run) {
            run.is_corrupted = true;
        }
    }

    fn creates(&self) -> Vec<(String, String)> {
        lock(&self.state).creates.clone()
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Run {
    fn train(&mut self) {
        if self.is_corrupted {
            return;
        }
        self.step += 1;
        if self.step % 10 == 0 {
            self.checkpoints.push(self.step);
        }
    }

    fn document(&self, name: &str) -> Value {
        json!({
            "training_run_id": name,
            "step": self.step,
            "corrupted": self.is_corrupted,
            "last_checkpoint": self.checkpoints.last().map(|step| checkpoint(name, *step)),
        })
    }
}

fn checkpoint(run: &str, step: u64) -> Value {
    json!({
        "checkpoint_id": format!("{run}-{step}"),
        "checkpoint_type": "training",
        "path": format!("train://{run}/weights/{step}"),
        "size_bytes": 4096,
        "public": false,
    })
}

/// Answers requests on one connection until it is closed.
fn serve(state: &Mutex<State>, mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    while let Some((method, path, key, body)) = read(&mut reader)? {
        let pieces: Vec<&str> = path.trim_start_matches("/api/v1/training_runs/").split('/').collect();
        let (status, answer) = match (method.as_str(), &pieces[..]) {
            ("GET", [run]) => match lock(state).runs.get(*run) {
                Some(found) => (200, found.document(run)),
                None => (404, json!({"error": "no such run"})),
            },
            ("GET", [run, "checkpoints"]) => match lock(state).runs.get(*run) {
                Some(found) => {
                    let all: Vec<Value> =
                        found.checkpoints.iter().map(|step| checkpoint(run, *step)).collect();
                    (200, json!({"checkpoints": all}))
                }
                None => (404, json!({"error": "no such run"})),
            },
            ("POST", [run, "restore"]) => {
                // Nobody else waits while this one does.
                let made = restore(&mut lock(state), run, key, &body);
                let Some(made) = made else {
                    // Never answers: until the other side has gone.
                    let _ = reader.read(&mut [0]);
                    return Ok(());
                };
                (201, json!({"training_run_id": made}))
            }
            _ => (404, json!({"error": "nothing is there"})),
        };
        let answer = answer.to_string();
        let head = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            answer.len()
        );
        stream.write_all((head + &answer).as_bytes())?;
    }
    Ok(())
}

/// Makes a run from a checkpoint, once for a key; `None` is for ever.
fn restore(state: &mut State, run: &str, key: String, body: &Value) -> Option<String> {
    state.creates.push((run.to_owned(), key.clone()));
    if state.hang_create && run == "alpha" {
        return None;
    }
    if let Some(made) = state.made.get(&key) {
        return Some(made.clone());
    }
    let step =
        body["path"].as_str().and_then(|path| path.rsplit('/').next()).and_then(|step| step.parse().ok());
    let step = step.unwrap_or_default();
    let name = format!("{run}-again");
    state.runs.insert(name.clone(), Run { step, is_corrupted: false, checkpoints: vec![step] });
    state.made.insert(key, name.clone());
    Some(name)
}

/// Reads a request: method, path, key and body.
fn read(reader: &mut BufReader<TcpStream>) -> io::Result<Option<(String, String, String, Value)>> {
    let mut first = String::new();
    if reader.read_line(&mut first)? == 0 {
        return Ok(None);
    }
    let mut words = first.split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (mut key, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "idempotency-key" => key = value.trim().to_owned(),
            "content-length" => length = value.trim().parse().unwrap_or(0),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some((method, path, key, serde_json::from_slice(&body).unwrap_or_default())))
}
