//! The status server over real sockets.

#![cfg(feature = "http")]
#![allow(clippy::unwrap_used, reason = "test code: a failed set-up is a failed test")]
#![allow(unsafe_code, reason = "the length of a listener's queue is a setting that std does not have")]
#![allow(
    clippy::disallowed_methods,
    reason = "clients live on the real clock; one test runs itself as a child, told by a variable"
)]

mod support;

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread;
use std::time::Duration;

use loopkeeper::config::Secret;
use loopkeeper::status::StatusSource;
use loopkeeper::{
    Context, Env, LoopStatus, ManualClock, StatusServer, StatusServerConfig, WatchManager, WatcherConfig,
};
use serde_json::Value;
use support::{PATIENCE, eventually, threads_named};

/// Held for reading by tests that run a server, for writing by one that
/// counts its threads.
static SERVERS: RwLock<()> = RwLock::new(());

/// Waits until this is the only test that runs a server.
fn alone() -> RwLockWriteGuard<'static, ()> {
    let alone = SERVERS.write().unwrap_or_else(|poisoned| poisoned.into_inner());
    eventually("the threads of other tests are gone", || threads_named("http/") == 0);
    alone
}

fn config() -> StatusServerConfig {
    StatusServerConfig::default().listen("127.0.0.1:0")
}

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

struct Site {
    server: StatusServer,
    manager: Arc<WatchManager>,
    env: Env,
    _servers: Option<RwLockReadGuard<'static, ()>>,
}

impl Site {
    fn new(config: StatusServerConfig) -> Self {
        let servers = SERVERS.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        Self { _servers: Some(servers), ..Self::alone(config) }
    }

    fn alone(config: StatusServerConfig) -> Self {
        let env = Env::new().unwrap();
        let manager = Arc::new(WatchManager::new(&env));
        let server = StatusServer::start(&env, config, manager.clone()).unwrap();
        Self { server, manager, env, _servers: None }
    }

    /// With so much to say that an answer fills a socket soon.
    fn watch_much(&self) {
        let mut watchers = Vec::new();
        for i in 0..50 {
            let long = "x".repeat(2000);
            let probe = move |_: &Context| Err(long.clone().into());
            watchers.push(self.manager.watch(WatcherConfig::new(format!("w{i}"), probe)).unwrap());
        }
        for watcher in watchers {
            eventually("the probe has failed", || watcher.status().last_error.is_some());
        }
    }

    /// With a loop that is ready and one that is down.
    fn watch(&self, up: &str, down: &str, critical: bool) {
        let up = self.manager.watch(WatcherConfig::new(up, |_: &Context| Ok(()))).unwrap();
        let config = WatcherConfig::new(down, |_: &Context| Err("connection refused".into()));
        let config = if critical { config } else { config.optional() };
        let down = self.manager.watch(config).unwrap();
        assert!(up.wait_ready(PATIENCE));
        eventually("the probe has failed", || down.status().runs > 0 && down.status().last_error.is_some());
    }

    fn client(&self) -> Client {
        Client::new(self.server.local_addr())
    }

    fn get(&self, target: &str) -> Answer {
        self.client().get(target)
    }
}

struct Client {
    stream: TcpStream,
    rest: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        serde_json::from_str(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The lines of a health check without how long ago each was looked at.
    fn without_ages(&self) -> String {
        let without = |line: &str| match line.split_once(", ") {
            Some((before, age)) => {
                let (number, rest) = age.split_once(" s ago").unwrap();
                number.parse::<f64>().unwrap();
                format!("{before}{rest}\n")
            }
            None => format!("{line}\n"),
        };
        self.body.lines().map(without).collect()
    }

    #[track_caller]
    fn is(&self, status: u16, body: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert!(self.body.contains(body), "{self:?}");
    }
}

impl Client {
    fn new(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, rest: Vec::new() }
    }

    fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).unwrap();
    }

    fn ask(&mut self, request_line: &str) {
        self.send(&format!("{request_line} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    }

    fn get(&mut self, target: &str) -> Answer {
        self.ask(&format!("GET {target}"));
        self.answer()
    }

    fn answer(&mut self) -> Answer {
        self.read_answer(true).expect("an answer, not the end of the connection")
    }

    fn read_answer(&mut self, with_body: bool) -> Option<Answer> {
        let end = loop {
            if let Some(end) = self.rest.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            if !self.more() {
                return None;
            }
        };
        let head = String::from_utf8(self.rest.drain(..end).collect()).unwrap();
        let status = head[9..12].parse().unwrap();
        assert_eq!(head.matches("\r\nDate: ").count(), 1, "{head}");
        let mut answer = Answer { status, head, body: String::new() };
        if with_body {
            // What is not modified has none.
            let len = answer.header("content-length").map_or(0, |len| len.parse().unwrap());
            while self.rest.len() < len {
                assert!(self.more(), "the body ends early: {answer:?}");
            }
            answer.body = String::from_utf8(self.rest.drain(..len).collect()).unwrap();
        }
        Some(answer)
    }

    /// Reads more; false at the end of the connection.
    fn more(&mut self) -> bool {
        let mut chunk = [0; 65_536];
        match self.stream.read(&mut chunk) {
            Ok(0) => false,
            Ok(n) => {
                self.rest.extend_from_slice(&chunk[..n]);
                true
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            Err(error) => panic!("{error}"),
        }
    }

    #[track_caller]
    fn is_closed(&mut self) {
        assert!(!self.more(), "{:?}", String::from_utf8_lossy(&self.rest));
    }
}

/// A source whose calls wait until the test lets them go on.
struct Gated {
    entered: Mutex<Sender<()>>,
    open: Mutex<Receiver<()>>,
}

impl StatusSource for Gated {
    fn statuses(&self) -> Vec<LoopStatus> {
        self.entered.lock().unwrap().send(()).unwrap();
        let _ = self.open.lock().unwrap().recv();
        Vec::new()
    }
}

fn gated() -> (Arc<Gated>, Receiver<()>, Sender<()>) {
    let (entered, has_entered) = channel();
    let (opener, open) = channel();
    (Arc::new(Gated { entered: Mutex::new(entered), open: Mutex::new(open) }), has_entered, opener)
}

#[test]
fn every_path_answers() {
    let site = Site::new(config());
    site.get("/readyz").is(200, "ready\n");
    site.get("/").is(200, "no loops\n");
    site.watch("db", "cache", true);

    let live = site.get("/livez");
    assert_eq!((live.status, live.body.as_str()), (200, "ok\n"));
    site.get("/livez?verbose").is(200, "ok\n[+]server ok\n[+]workers ok\n[+]watchdog ok\n");

    let ready = site.get("/readyz");
    assert_eq!((ready.status, ready.body.as_str()), (503, "down\n"));
    let verbose = site.get("/readyz?verbose");
    assert_eq!(verbose.without_ages(), "down\n[-]cache down\n[+]db ready\n");
    assert!(verbose.header("oldest-check-age").unwrap().parse::<f64>().unwrap() < 5.0);
    assert_eq!(verbose.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(verbose.header("cache-control"), Some("no-store"));

    let status = site.get("/status").json();
    assert_eq!(status["boot"], site.env.boot());
    assert_eq!(status["health"], "down");
    assert!(status["at"].as_str().unwrap().ends_with('Z'));
    let cache = &status["loops"][0];
    assert_eq!((&cache["name"], &cache["kind"]), (&"cache".into(), &"watcher".into()));
    assert_eq!((&cache["state"], &cache["ready"]), (&"down".into(), &false.into()));
    assert_eq!(cache["last_error"], "connection refused");

    let page = site.get("/");
    page.is(200, "down at 2");
    page.is(200, "connection refused\n");
    page.is(200, "/events ");
    site.get("/healthzz").is(404, "nothing is at \"/healthzz\"; there is\n\n/livez");
}

#[test]
fn a_loop_that_is_not_critical_only_degrades() {
    let site = Site::new(config());
    site.watch("db", "cache", false);
    let verbose = site.get("/readyz?verbose");
    verbose.is(200, "");
    assert_eq!(verbose.without_ages(), "degraded\n[-]cache down (not critical)\n[+]db ready\n");
    assert_eq!(site.get("/status").json()["health"], "degraded");
}

#[test]
fn events_come_in_pages_with_the_fields_of_their_kind() {
    let site = Site::new(config());
    site.watch("db", "cache", true);
    let all = site.get("/events").json();
    assert_eq!((&all["boot"], &all["lost"]), (&site.env.boot().into(), &0.into()));
    let events = all["events"].as_array().unwrap();
    let words: Vec<_> =
        events.iter().map(|event| format!("{} {}", event["source"], event["event"])).collect();
    for word in ["\"db\" \"started\"", "\"db\" \"ready\"", "\"cache\" \"down\""] {
        assert!(words.iter().any(|found| found == word), "{words:?}");
    }
    let down = events.iter().find(|event| event["event"] == "down").unwrap();
    assert_eq!((&down["error"], &down["failures"]), (&"connection refused".into(), &1.into()));
    let ready = events.iter().find(|event| event["event"] == "ready").unwrap();
    assert_eq!((&ready["from"], &ready["attempt"]), (&"unknown".into(), &1.into()));
    assert!(ready["latency"].as_f64().is_some());

    let first = site.get("/events?after=0&max=1").json();
    assert_eq!((first["next"].as_u64(), first["events"][0]["seq"].as_u64()), (Some(1), Some(1)));
    let next = site.get("/events?after=1").json();
    assert_eq!(next["events"][0]["seq"], 2);
    assert_eq!(site.get(&format!("/events?after={}", all["next"])).json()["events"], Value::Array(vec![]));
    site.get("/events?after=x")
        .is(400, "after: expected a number from 0 to 18446744073709551615, found \"x\"");
}

#[test]
fn a_request_waits_for_the_next_event() {
    let site = Site::new(config());
    site.watch("db", "cache", true);
    let next = site.get("/events?max=4096").json()["next"].as_u64().unwrap();
    let mut client = site.client();
    // There is one already.
    client.get("/events?after=0&max=1&wait=5m").is(200, "\"next\":1,");
    // Of another boot: nothing will come with such a number.
    client.get(&format!("/events?after={}&wait=5m", next + 100)).is(200, "\"events\":[]");
    client.get(&format!("/events?after={next}&wait=1ms")).is(200, "\"events\":[]");
    client.ask(&format!("GET /events?after={next}&wait=5m"));
    let mut head = site.client();
    head.ask(&format!("HEAD /events?after={next}&wait=5m"));
    let mut piped = site.client();
    piped.send(&format!("GET /events?after={next}&wait=5m HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    piped.ask("GET /livez");
    // Half closed: it is told at once, for all that is known it is gone.
    let mut half = site.client();
    half.ask(&format!("GET /events?after={next}&wait=5m"));
    half.stream.shutdown(std::net::Shutdown::Write).unwrap();
    half.answer().is(200, "\"events\":[]");
    half.is_closed();
    site.manager.watch(WatcherConfig::new("late", |_: &Context| Ok(()))).unwrap();
    let answer = client.answer();
    assert_eq!(answer.json()["events"][0]["seq"], next + 1, "{answer:?}");
    assert_eq!(head.read_answer(false).unwrap().status, 200);
    assert_eq!(piped.answer().json()["events"][0]["seq"], next + 1);
    piped.answer().is(200, "ok");
    client.get("/livez").is(200, "ok");
}

#[test]
fn requests_that_wait_hold_up_nobody_and_are_answered_by_a_stop() {
    let _alone = alone();
    let site = Site::alone(config().max_connections(50).request_deadline(secs(600)));
    let mut parked: Vec<_> = (0..50).map(|_| site.client()).collect();
    parked.iter_mut().for_each(|client| client.ask("GET /events?wait=5m"));
    eventually("the threads have their names", || threads_named("http/") == 3);
    let mut n_given_up = 0;
    for _ in 0..20 {
        site.get("/livez").is(200, "ok");
        site.get("/status").is(200, "loops");
    }
    assert_eq!(threads_named("http/"), 3);
    // All places were theirs: some had to go, with an answer.
    for client in &mut parked {
        client.stream.set_nonblocking(true).unwrap();
        n_given_up += usize::from(client.stream.peek(&mut [0]).is_ok());
        client.stream.set_nonblocking(false).unwrap();
    }
    assert!((1..50).contains(&n_given_up), "{n_given_up}");
    let report = site.server.stop(PATIENCE);
    assert!(report.is_clean(), "{report}");
    for client in &mut parked {
        let answer = client.answer();
        answer.is(200, "\"events\":[]");
        assert_eq!(answer.header("connection"), Some("close"));
        client.is_closed();
    }
}

#[test]
fn a_status_that_the_client_has_is_not_sent_again() {
    let site = Site::new(config());
    site.watch("db", "cache", true);
    let mut client = site.client();
    let mut ask = |method: &str, tag: &str| {
        client.send(&format!("{method} /status HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: {tag}\r\n\r\n"));
        client.read_answer(method == "GET").unwrap()
    };
    let first = ask("GET", "\"x\"");
    first.is(200, "\"loops\"");
    let tag = first.header("etag").unwrap().to_owned();
    assert!(tag.starts_with('"') && tag.ends_with('"') && tag.len() > 10, "{tag}");
    assert_eq!((first.header("cache-control"), first.header("age")), (Some("no-cache"), Some("0")));
    // Also when the loops are looked at again.
    for pause in [0, 60] {
        thread::sleep(Duration::from_millis(pause));
        for method in ["GET", "HEAD"] {
            let again = ask(method, &format!("\"x\", W/{tag}"));
            assert_eq!((again.status, again.header("etag")), (304, Some(&*tag)));
            assert_eq!((again.header("content-length"), again.header("content-type")), (None, None));
        }
        assert_eq!(ask("GET", "").body, first.body, "one body for all");
    }
    site.manager.trigger("db").unwrap();
    eventually("the status changes", || {
        let changed = ask("GET", &tag);
        changed.status == 200 && changed.header("etag") != Some(&tag)
    });
}

#[test]
fn health_has_groups_reasons_and_a_standard_form() {
    let site = Site::new(config().liveness(["cache"]).readiness(["db", "gone"]).startup(["db"]));
    site.watch("db", "cache", true);
    site.server.set_token(Some(Secret::new("t0p")));
    let live = site.get("/livez");
    live.is(503, "dead\n");
    assert_eq!(live.without_ages(), "dead\n[-]cache down\n");
    let ready = site.get("/readyz?verbose");
    ready.is(503, "");
    assert_eq!(ready.without_ages(), "down\n[+]db ready\n[-]gone unknown\n");
    let start = site.get("/startupz?verbose");
    start.is(200, "");
    assert_eq!(start.without_ages(), "started\n[+]db ready\n");
    let mut client = site.client();
    let mut reasons = |path: &str, header: &str| {
        client.send(&format!("GET {path}?reasons HTTP/1.1\r\nHost: localhost\r\n{header}\r\n"));
        client.answer()
    };
    let told = reasons("/livez", "Authorization: Bearer t0p\r\n");
    assert!(told.without_ages().contains("[-]cache down: connection refused\n"), "{told:?}");
    for path in ["/livez", "/readyz", "/startupz"] {
        let answer = reasons(path, "");
        answer.is(401, "token");
        assert!(!answer.body.contains("refused"));
        reasons(path, "Authorization: Bearer t0q\r\n").is(401, "token");
    }
    site.server.set_token(None);
    site.get("/readyz?reasons").is(403, "none is configured");

    let health = site.get("/healthz");
    assert_eq!((health.status, health.header("content-type")), (503, Some("application/health+json")));
    let health: Value = serde_json::from_str(&health.body).unwrap();
    assert_eq!((&health["status"], &health["output"]), (&"fail".into(), &"cache is down".into()));
    let cache = &health["checks"]["cache:state"][0];
    assert_eq!((&cache["status"], &cache["output"]), (&"fail".into(), &"connection refused".into()));
    assert!(cache["age"].as_f64().unwrap() < 60.0 && cache["time"].as_str().is_some());
    assert_eq!(health["checks"]["db:state"][0]["status"], "pass");
    // However many groups it is in and whoever asks, it is checked by its own
    // times only.
    let loops = site.manager.statuses();
    let db = loops.iter().find(|status| status.name.as_str() == "db").unwrap();
    assert_eq!(db.runs, 1);
}

#[test]
fn crt_23_health_is_that_of_what_is_watched() {
    let site = Site::new(config());
    let health = |status: u16, word: &str, output: Option<&str>| {
        let answer = site.get("/healthz");
        let health: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!((answer.status, &health["status"]), (status, &word.into()), "{health}");
        assert_eq!(health["checks"]["cache:state"][0]["output"].as_str(), output, "{health}");
    };
    site.get("/readyz").is(200, "ready\n");
    health(200, "pass", None);
    site.watch("db", "cache", true);
    site.get("/readyz").is(503, "down\n");
    health(503, "fail", Some("connection refused"));
    assert!(site.manager.unwatch("cache", PATIENCE).unwrap().is_clean());
    site.get("/readyz").is(200, "ready\n");
    health(200, "pass", None);
}

#[test]
fn a_loop_that_is_not_heard_of_is_stale() {
    let _servers = SERVERS.read().unwrap_or_else(|poisoned| poisoned.into_inner());
    // Made by hand: no loop of ours is late by a minute.
    struct Late(Arc<WatchManager>);
    impl StatusSource for Late {
        fn statuses(&self) -> Vec<LoopStatus> {
            let mut loops = self.0.statuses();
            for status in &mut loops {
                (status.stale, status.ready, status.overdue_for) = (true, false, Some(secs(90)));
            }
            loops
        }
    }
    let env = Env::new().unwrap();
    let manager = Arc::new(WatchManager::new(&env));
    let watcher = manager.watch(WatcherConfig::new("db", |_: &Context| Ok(()))).unwrap();
    assert!(watcher.wait_ready(PATIENCE));
    let server = StatusServer::start(&env, config().liveness(["db"]), Arc::new(Late(manager))).unwrap();
    let mut client = Client::new(server.local_addr());
    assert_eq!(client.get("/readyz?verbose").without_ages(), "down\n[-]db stale\n");
    client.get("/livez").is(503, "[-]db stale");
    client.get("/startupz").is(200, "started");
    client.get("/healthz").is(503, "nothing was heard of it for 90.0s past its due");
    let status = client.get("/status").json();
    assert_eq!((&status["health"], &status["loops"][0]["stale"]), (&"down".into(), &true.into()));
    client.get("/").is(200, "db                 stale ");
}

#[test]
fn a_browser_gets_a_page_that_runs_nothing_but_its_own() {
    let site = Site::new(config());
    let evil = "<script>alert(1)</script>";
    let probe = move |_: &Context| Err(evil.into());
    let watcher = site.manager.watch(WatcherConfig::new("evil", probe)).unwrap();
    eventually("the probe has failed", || watcher.status().last_error.is_some());
    let mut client = site.client();
    client.send("GET / HTTP/1.1\r\nHost: localhost\r\nAccept: text/html,*/*;q=0.8\r\n\r\n");
    let page = client.answer();
    page.is(200, "&lt;script&gt;alert(1)&lt;/script&gt;");
    assert_eq!(page.body.matches("<script").count(), 1, "{page:?}");
    let policy = page.header("content-security-policy").unwrap();
    let nonce = policy.split('\'').find_map(|word| word.strip_prefix("nonce-")).unwrap();
    assert!(page.body.contains(&format!("<script nonce={nonce}>")), "{policy}");
    // The one address in it is the name of a format.
    assert!(!page.body.replace("http://www.w3.org/2000/svg", "").contains("http:"), "{page:?}");
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(
        policy.starts_with("default-src 'none'; style-src 'nonce-") && !policy.contains("unsafe"),
        "{policy}"
    );
    let part = client.get("/?part=evil");
    part.is(200, "<tr id=watcher/evil class=x>");
    assert!(part.body.contains("&lt;script&gt;") && !part.body.contains("<script"), "{part:?}");
    client.get("/?part=none-such").is(200, "<table id=loops>");
    client.get("/?part=<a>").is(400, "part: ");
    assert_eq!(page.header("vary"), Some("Accept"));
    let text = client.get("/");
    assert_eq!(text.header("content-type"), Some("text/plain; charset=utf-8"));
    text.is(200, evil);
}

#[test]
fn the_history_outlives_the_server() {
    let path = std::env::temp_dir().join(format!("loopkeeper-history-{}", std::process::id()));
    std::fs::write(&path, "not a history").unwrap();
    let kept = || config().history_file(&path);
    let site = Site::new(kept());
    site.watch("db", "cache", true);
    assert!(site.server.stop(PATIENCE).is_clean());
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains("\"name\":\"db\",\"changes\":[["), "{text}");
    // The next one knows of them although they do not run there.
    let next = Site::new(kept());
    assert!(next.server.stop(PATIENCE).is_clean());
    let again = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    for name in ["db", "cache"] {
        assert!(again.contains(&format!("\"name\":\"{name}\"")), "{again}");
    }
    assert!(again.contains(",\"unknown\"]"), "nothing is known of the time between: {again}");
}

#[test]
fn head_has_the_headers_of_get_and_no_body() {
    let site = Site::new(config());
    site.watch("db", "cache", true);
    let mut client = site.client();
    for target in ["/livez", "/readyz?verbose", "/nowhere", "/events?max=0"] {
        let get = client.get(target);
        client.ask(&format!("HEAD {target}"));
        let head = client.read_answer(false).unwrap();
        let without_time = |answer: &Answer| -> Vec<String> {
            let is_time = |line: &str| line.starts_with("Oldest-Check-Age: ") || line.starts_with("Date: ");
            answer.head.lines().filter(|line| !is_time(line)).map(str::to_owned).collect()
        };
        assert_eq!(without_time(&head), without_time(&get));
    }
    client.get("/livez").is(200, "ok");
    for request in ["HEAD / HTTP/1.1\r\n\r\n", "HEAD / HTTP/1.1\r\nHost: evil.example\r\n\r\n"] {
        let mut client = site.client();
        client.send(request);
        assert!(client.read_answer(false).unwrap().status >= 400);
        client.is_closed();
    }
}

#[test]
fn two_hundred_requests_on_one_connection() {
    let site = Site::new(config());
    site.watch("db", "cache", true);
    let mut client = site.client();
    for i in 0..200 {
        let target = ["/livez", "/status", "/readyz", "/events?max=1"][i % 4];
        let answer = client.get(target);
        assert_eq!(answer.status, if target == "/readyz" { 503 } else { 200 });
        assert_eq!(answer.header("connection"), None);
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let site = Site::new(config());
    let mut client = site.client();
    let targets = ["/status", "/livez", "/nowhere", "/readyz", "/events", "/livez?verbose"];
    let all = targets.map(|target| format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    client.send(&all.concat());
    for expected in ["\"loops\"", "ok\n", "nothing is at", "ready\n", "\"events\"", "[+]server"] {
        let answer = client.answer();
        assert!(answer.body.contains(expected), "{expected}: {answer:?}");
    }
}

#[test]
fn a_connection_closes_when_the_client_says_so() {
    let site = Site::new(config());
    for head in [
        "GET /livez HTTP/1.0\r\n\r\n",
        "GET /livez HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        "GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        "GET /status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    ] {
        let mut client = site.client();
        client.send(head);
        let answer = client.answer();
        assert_eq!((answer.status, answer.header("connection")), (200, Some("close")), "{head}");
        client.is_closed();
    }
    // Half closed: it sends no more, and still wants its answer.
    let mut client = site.client();
    client.ask("GET /status");
    client.stream.shutdown(std::net::Shutdown::Write).unwrap();
    client.answer().is(200, "\"loops\"");
    client.is_closed();
}

#[test]
fn a_head_may_come_byte_by_byte_and_holds_up_nobody() {
    let site = Site::new(config());
    let mut slow = site.client();
    for byte in "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n".chars() {
        slow.send(&byte.to_string());
        if byte == '/' {
            site.get("/status").is(200, "loops");
        }
    }
    slow.answer().is(200, "ok");
}

#[test]
fn who_has_the_token_may_act() {
    let env = Env::new().unwrap();
    let site = Site::new(config().control(Arc::new(env.clone()), Some(Secret::new("t0p"))));
    let (runs, ran) = channel();
    let probe = move |_: &Context| Ok(runs.send(())?);
    let watcher = loopkeeper::Watcher::start_in(&env, WatcherConfig::new("db", probe)).unwrap();
    assert!(watcher.wait_ready(PATIENCE));
    ran.recv_timeout(PATIENCE).unwrap();
    let twin = WatcherConfig::new("db", |_: &Context| Ok(()));
    let _twin = loopkeeper::Watcher::start_in(&env, twin).unwrap();

    let mut client = site.client();
    let mut act = |path: &str, token: &str| {
        client.send(&format!("POST {path} HTTP/1.1\r\nHost: localhost\r\n{token}\r\n"));
        client.answer()
    };
    let right = "Authorization: Bearer t0p\r\n";
    act("/trigger/db", right).is(202, r#"{"accepted":"trigger","name":"db"}"#);
    ran.recv_timeout(PATIENCE).unwrap();
    act("/trigger/bd", right).is(404, "no loop that runs is called \"bd\", expected \"db\"\n");
    act("/deploy/rescan", right).is(404, "no folder");
    for wrong in ["", "Authorization: Bearer t0q\r\n", "Authorization: Basic t0p\r\n"] {
        let answer = act("/trigger/db", wrong);
        answer.is(401, "token");
        assert!(answer.header("www-authenticate").unwrap().starts_with("Bearer realm="), "{wrong}");
    }
    act("/status", right).is(405, "only GET, HEAD");
    site.server.set_token(None);
    act("/trigger/db", right).is(404, "no token is configured");
    assert!(ran.try_recv().is_err(), "it ran unasked");
}

#[test]
fn what_cannot_be_answered_is_refused_and_closed() {
    let site = Site::new(config());
    let long = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    let body = format!("Content-Length: 50000\r\n\r\n{}", "x".repeat(50_000));
    for (request, status, text) in [
        ("nonsense\r\n\r\n".to_owned(), 400, "not HTTP"),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400, "Host"),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n".to_owned(), 400, "more than once"),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nA: b\r\n c\r\n\r\n".to_owned(), 400, "invalid header"),
        ("GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n".to_owned(), 421, "\"evil.example\" is not"),
        ("GET / HTTP/3.0\r\n\r\n".to_owned(), 505, "HTTP/1.1"),
        ("DELETE /status HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), 405, "DELETE"),
        (format!("PUT / HTTP/1.1\r\nHost: localhost\r\n{body}"), 405, "PUT"),
        (format!("POST / HTTP/1.1\r\nHost: localhost\r\n{body}"), 413, "body"),
        (
            "POST /deploy/rescan HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\n\r\n"
                .to_owned(),
            403,
            "elsewhere",
        ),
        (format!("GET / HTTP/1.1\r\nHost: localhost\r\n{body}"), 413, "body"),
        (
            "GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(),
            400,
            "body",
        ),
        (long, 431, "8192"),
    ] {
        let mut client = site.client();
        client.send(&request);
        let answer = client.answer();
        answer.is(status, text);
        assert_eq!(answer.header("connection"), Some("close"));
        assert_eq!(answer.header("allow"), (status == 405).then_some("GET, HEAD, POST"));
        client.is_closed();
    }
}

#[test]
fn the_hosts_of_the_list_are_answered() {
    let site = Site::new(config().allowed_hosts(["box.lan"]));
    let mut client = site.client();
    for host in ["box.lan", "BOX.lan:1", "127.0.0.1", "[::1]:8470", &site.server.local_addr().to_string()] {
        client.send(&format!("GET /livez HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        client.answer().is(200, "ok");
    }
    client.send("GET http://box.lan/livez HTTP/1.1\r\nHost: box.lan\r\n\r\n");
    client.answer().is(200, "ok");
    client.send("GET /livez HTTP/1.1\r\nHost: x.box.lan\r\n\r\n");
    client.answer().is(421, "allowed_hosts");
}

#[test]
fn a_request_that_is_not_complete_in_time_is_a_408() {
    let site = Site::new(config().request_deadline(Duration::from_millis(100)));
    let mut silent = site.client();
    let mut slow = site.client();
    slow.send("GET /livez HT");
    let answer = slow.answer();
    answer.is(408, "not complete after 100ms");
    assert_eq!(answer.header("connection"), Some("close"));
    slow.is_closed();
    silent.is_closed();
}

#[test]
fn a_server_that_answers_as_many_as_it_may_says_so() {
    let _servers = SERVERS.read().unwrap_or_else(|poisoned| poisoned.into_inner());
    let env = Env::new().unwrap();
    let (source, entered, opener) = gated();
    let config = config().max_connections(2).request_deadline(secs(600));
    let server = StatusServer::start(&env, config, source).unwrap();
    let mut asked: Vec<_> = (0..2).map(|_| Client::new(server.local_addr())).collect();
    for client in &mut asked {
        client.ask("GET /status");
        entered.recv_timeout(PATIENCE).unwrap();
        // The beginning of another request does not make it one that waits.
        client.send("GET /livez HT");
    }
    for _ in 0..10 {
        let mut third = Client::new(server.local_addr());
        third.ask("GET /status");
        let answer = third.answer();
        answer.is(503, "too many connections\n");
        assert_eq!((answer.header("retry-after"), answer.header("connection")), (Some("1"), Some("close")));
        third.is_closed();
    }
    // However many there are that send nothing.
    let _silent: Vec<_> = (0..100).map(|_| Client::new(server.local_addr())).collect();
    for _ in 0..10 {
        let mut third = Client::new(server.local_addr());
        third.ask("GET /livez");
        let answer = third.answer();
        answer.is(200, "ok\n");
        assert_eq!(answer.header("connection"), Some("close"));
        third.is_closed();
    }
    // It needs a worker, and they hang.
    let mut third = Client::new(server.local_addr());
    third.ask("GET /readyz");
    third.answer().is(503, "was not ready after 2s");
    drop(opener);
    for client in &mut asked {
        client.answer().is(200, "\"loops\":[]");
        client.send("TP/1.1\r\nHost: localhost\r\n\r\n");
        client.answer().is(200, "ok");
    }
    assert!(server.stop(PATIENCE).is_clean());
}

#[test]
fn who_sends_no_request_makes_room_in_the_order_of_coming() {
    let site = Site::new(config().max_connections(2).request_deadline(secs(600)));
    let mut silent = site.client();
    // Answered once the place is taken, so the order is sure.
    let mut slow = site.client();
    slow.get("/livez").is(200, "ok");
    slow.send("GET /livez HTTP/1.1\r\n");
    thread::sleep(Duration::from_millis(50));
    site.get("/livez").is(200, "ok");
    silent.is_closed();
    slow.send("Host: localhost\r\n\r\n");
    slow.answer().is(200, "ok");
    // As many as there are places, and then a hundred.
    for n in [64, 100] {
        let site = Site::new(config().request_deadline(secs(600)));
        let silent: Vec<_> = (0..n).map(|_| site.client()).collect();
        for _ in 0..10 {
            site.get("/livez").is(200, "ok");
            site.get("/status").is(200, "loops");
        }
        drop(silent);
    }
}

#[test]
fn hundreds_that_send_a_byte_a_second_keep_nobody_from_an_answer() {
    const N: usize = 400;
    let site = Site::new(config().request_deadline(secs(600)));
    let address = site.server.local_addr();
    // A storm of connections faster than one request can be sent would push
    // out any client; these are there first, and then come back one by one.
    let are_there = AtomicBool::new(false);
    thread::scope(|scope| {
        let slow = scope.spawn(|| {
            let connect = || TcpStream::connect(address).unwrap();
            let mut streams: Vec<_> = (0..N).map(|_| connect()).collect();
            are_there.store(true, Ordering::SeqCst);
            let mut n_sent_away = 0;
            for _ in 0..4 {
                for (i, stream) in streams.iter_mut().enumerate() {
                    if stream.write_all(b"G").is_err() {
                        n_sent_away += 1;
                        *stream = connect();
                    }
                    if i % 10 == 0 {
                        thread::sleep(secs(10) / N as u32);
                    }
                }
            }
            n_sent_away
        });
        let mut n_answered = 0;
        while !slow.is_finished() {
            if are_there.load(Ordering::SeqCst) {
                site.get("/livez").is(200, "ok");
                n_answered += 1;
            }
            thread::sleep(Duration::from_millis(5));
        }
        assert!(slow.join().unwrap() > 0, "they did come back");
        assert!(n_answered > 0);
    });
}

#[test]
fn a_kept_connection_that_waits_makes_room() {
    let site = Site::new(config().max_connections(2));
    let mut first = site.client();
    first.get("/livez").is(200, "ok");
    let mut second = site.client();
    second.get("/livez").is(200, "ok");
    let mut third = site.client();
    third.get("/livez").is(200, "ok");
    first.is_closed();
    second.get("/livez").is(200, "ok");
    third.get("/livez").is(200, "ok");
}

/// Sends requests and reads no answer, until the server no longer reads
/// either.
fn stubborn(site: &Site) -> Client {
    let mut client = site.client();
    client.stream.set_write_timeout(Some(Duration::from_millis(50))).unwrap();
    let many = "GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(100);
    loop {
        if let Err(error) = client.stream.write_all(many.as_bytes()) {
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
            return client;
        }
    }
}

#[test]
fn clients_that_never_read_hold_up_nobody() {
    let site = Site::new(config().request_deadline(secs(600)));
    site.watch_much();
    let _stubborn = [stubborn(&site), stubborn(&site), stubborn(&site)];
    for _ in 0..20 {
        site.get("/livez").is(200, "ok");
        site.get("/status").is(200, "loops");
    }
    // Nor a stop, which does not wait for them longer than its grace.
    let report = site.server.stop(Duration::from_millis(500));
    assert!(report.stragglers().is_empty(), "{report}");
    assert_eq!(report.errors()[0].to_string(), "http: 3 requests were not answered within 500ms");
}

#[test]
fn ended_connections_that_clients_keep_make_room() {
    let site = Site::new(config().max_connections(2));
    let mut kept = Vec::new();
    for _ in 0..10 {
        let mut client = site.client();
        client.send("GET /livez HTTP/1.0\r\n\r\n");
        client.answer().is(200, "ok");
        kept.push(client);
    }
}

#[test]
fn a_client_that_does_not_read_is_dropped_at_the_deadline() {
    let site = Site::new(config().request_deadline(Duration::from_millis(200)));
    site.watch_much();
    let mut client = stubborn(&site);
    eventually("the connection is dropped", || {
        let sent = client.stream.write_all(b"x");
        matches!(sent, Err(error) if error.kind() != ErrorKind::WouldBlock)
    });
}

#[test]
fn connections_that_break_leave_nothing_behind() {
    let site = Site::new(config().max_connections(4));
    for _ in 0..50 {
        let mut client = site.client();
        client.ask("GET /status");
        // Closed with its answer unread: the kernel resets the connection.
        assert!(client.stream.peek(&mut [0]).unwrap() > 0);
        drop(client);
        let mut client = site.client();
        client.send("GET /st");
        drop(client);
    }
    site.get("/livez").is(200, "ok");
}

#[test]
fn a_source_that_hangs_leaves_livez_answered_and_is_named() {
    let _servers = SERVERS.read().unwrap_or_else(|poisoned| poisoned.into_inner());
    let env = Env::new().unwrap();
    let (source, entered, opener) = gated();
    let config = config().request_deadline(Duration::from_millis(300));
    let server = StatusServer::start(&env, config, source).unwrap();
    let mut hung: Vec<_> = (0..2).map(|_| Client::new(server.local_addr())).collect();
    hung[0].ask("GET /status");
    hung[1].ask("HEAD /readyz");
    entered.recv_timeout(PATIENCE).unwrap();
    for _ in 0..10 {
        Client::new(server.local_addr()).get("/livez").is(200, "ok");
    }
    hung[0].answer().is(503, "was not ready after 300ms");
    hung[0].is_closed();
    assert_eq!(hung[1].read_answer(false).unwrap().status, 503);

    let report = server.stop(Duration::from_millis(50));
    let stragglers = report.stragglers();
    assert!(!stragglers.is_empty(), "{report}");
    for straggler in stragglers {
        assert!(straggler.thread.starts_with("http/work-"), "{report}");
        assert_eq!(straggler.phase, "status source");
    }
    drop(opener);
    assert!(server.stop(PATIENCE).is_clean());
}

#[test]
fn a_late_answer_goes_to_nobody_else() {
    let _servers = SERVERS.read().unwrap_or_else(|poisoned| poisoned.into_inner());
    let env = Env::new().unwrap();
    let (source, entered, opener) = gated();
    let server = StatusServer::start(&env, config().request_deadline(secs(1)), source).unwrap();
    let mut late = Client::new(server.local_addr());
    late.ask("GET /readyz");
    entered.recv_timeout(PATIENCE).unwrap();
    late.answer().is(503, "was not ready after 1s");
    let mut next = Client::new(server.local_addr());
    next.ask("GET /status");
    entered.recv_timeout(PATIENCE).unwrap();
    opener.send(()).unwrap();
    opener.send(()).unwrap();
    next.answer().is(200, "\"loops\":[]");
    assert!(server.stop(PATIENCE).is_clean());
}

#[test]
fn a_source_that_panics_is_a_500_and_the_server_goes_on() {
    struct Bad;
    impl StatusSource for Bad {
        fn statuses(&self) -> Vec<LoopStatus> {
            panic!("no status")
        }
    }
    let _servers = SERVERS.read().unwrap_or_else(|poisoned| poisoned.into_inner());
    let env = Env::new().unwrap();
    let server = StatusServer::start(&env, config(), Arc::new(Bad)).unwrap();
    let mut client = Client::new(server.local_addr());
    for _ in 0..5 {
        client.get("/readyz").is(500, "panicked");
        client.get("/livez").is(200, "ok");
        client.get("/events").is(200, "\"next\":0");
    }
    assert!(server.stop(PATIENCE).is_clean());
}

#[test]
fn a_stop_answers_what_was_complete_and_closes_the_rest_at_once() {
    let _alone = alone();
    let env = Env::new().unwrap();
    let (source, entered, opener) = gated();
    let server = StatusServer::start(&env, config(), source).unwrap();
    let address = server.local_addr();
    eventually("the threads have their names", || threads_named("http/") == 3);
    let mut idle = Client::new(address);
    idle.get("/livez").is(200, "ok");
    let mut fresh = Client::new(address);
    let mut partial = Client::new(address);
    partial.send("GET /livez HT");
    let mut begun = Client::new(address);
    begun.ask("GET /status");
    entered.recv_timeout(PATIENCE).unwrap();
    begun.ask("GET /livez");

    thread::scope(|scope| {
        let stop = scope.spawn(|| server.stop(PATIENCE));
        idle.is_closed();
        fresh.is_closed();
        partial.is_closed();
        assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        assert!(!stop.is_finished());
        opener.send(()).unwrap();
        begun.answer().is(200, "\"loops\":[]");
        // Its second request may have come in after the stop began.
        if let Some(answer) = begun.read_answer(true) {
            answer.is(200, "ok");
            begun.is_closed();
        }
        let report = stop.join().unwrap();
        assert!(report.is_clean(), "{report}");
    });
    eventually("the threads are gone", || threads_named("http/") == 0);
    assert!(server.stop(Duration::ZERO).is_clean());
    drop(server);
}

#[test]
fn a_stop_answers_all_that_was_received_however_much_and_from_how_many() {
    let _servers = SERVERS.read().unwrap_or_else(|poisoned| poisoned.into_inner());
    let env = Env::new().unwrap();
    let (source, entered, opener) = gated();
    let server = StatusServer::start(&env, config(), source).unwrap();
    let mut client = Client::new(server.local_addr());
    client.ask("GET /status");
    entered.recv_timeout(PATIENCE).unwrap();
    // More than is read at once: the rest waits in the system's buffer.
    const N: usize = 500;
    client.send(&"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(N));
    thread::scope(|scope| {
        let stop = scope.spawn(|| server.stop(PATIENCE));
        eventually("nobody listens", || TcpStream::connect(server.local_addr()).is_err());
        opener.send(()).unwrap();
        client.answer().is(200, "loops");
        for _ in 1..N {
            client.answer().is(200, "ok");
        }
        let last = client.answer();
        last.is(200, "ok");
        assert_eq!(last.header("connection"), Some("close"));
        client.is_closed();
        let report = stop.join().unwrap();
        assert!(report.is_clean(), "{report}");
    });

    // Who came before the server was there, and is not accepted at once.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    // SAFETY: the descriptor is open; asked again, the queue is longer.
    assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 400) }, 0);
    let mut clients: Vec<_> = (0..300).map(|_| Client::new(listener.local_addr().unwrap())).collect();
    clients.iter_mut().for_each(|client| client.ask("GET /livez"));
    let config = config().listener(listener).max_connections(400);
    let server = StatusServer::start(&env, config, Arc::new(env.clone())).unwrap();
    assert!(server.stop(PATIENCE).is_clean());
    for client in &mut clients {
        client.answer().is(200, "ok");
    }
}

#[test]
fn a_stop_says_which_requests_were_cut() {
    let _servers = SERVERS.read().unwrap_or_else(|poisoned| poisoned.into_inner());
    let env = Env::new().unwrap();
    let (source, entered, opener) = gated();
    let server = StatusServer::start(&env, config(), source).unwrap();
    let mut client = Client::new(server.local_addr());
    client.ask("GET /status");
    entered.recv_timeout(PATIENCE).unwrap();
    let report = server.stop(Duration::ZERO);
    assert_eq!(report.stragglers().len(), 1);
    assert_eq!(report.errors()[0].to_string(), "http: 1 requests were not answered within 0ns");
    client.is_closed();
    drop(opener);
}

#[test]
fn dropping_a_server_with_clients_leaves_no_thread() {
    let _alone = alone();
    for _ in 0..5 {
        let site = Site::alone(config());
        let mut clients: Vec<_> = (0..20).map(|_| site.client()).collect();
        for client in &mut clients[..10] {
            client.get("/status").is(200, "loops");
        }
        drop(site);
        for client in &mut clients {
            client.is_closed();
        }
        eventually("the threads are gone", || threads_named("http/") == 0);
    }
}

#[test]
fn a_port_that_is_taken_is_an_error_that_names_it_and_is_free_after_a_stop() {
    let site = Site::new(config());
    let address = site.server.local_addr();
    site.get("/livez").is(200, "ok");
    let start = || StatusServer::start(&site.env, config().listen(address.to_string()), site.manager.clone());
    let error = start().unwrap_err();
    assert_eq!(error.kind(), loopkeeper::ErrorKind::Io);
    assert_eq!(error.to_string(), format!("listen on {address}"));
    assert!(error.report().to_string().to_lowercase().contains("in use"), "{}", error.report());
    assert!(site.server.stop(PATIENCE).is_clean());
    let again = start().unwrap();
    Client::new(again.local_addr()).get("/livez").is(200, "ok");
}

#[test]
fn a_server_is_no_participant_of_a_manual_clock() {
    let _servers = SERVERS.read().unwrap_or_else(|poisoned| poisoned.into_inner());
    let clock = ManualClock::default();
    let env = Env::manual(&clock).unwrap();
    let manager = Arc::new(WatchManager::new(&env));
    let server = StatusServer::start(&env, config(), manager.clone()).unwrap();
    manager.watch(WatcherConfig::new("db", |_: &Context| Ok(()))).unwrap();
    clock.settle();
    let mut client = Client::new(server.local_addr());
    client.get("/readyz").is(200, "ready");
    clock.run_for(secs(90));
    assert_eq!(client.get("/status").json()["at"], "1970-01-01T00:01:30.000Z");
    clock.settle();
    assert!(server.stop(PATIENCE).is_clean());
}

#[test]
fn every_answer_is_dated_by_the_clock_of_its_env() {
    let _servers = SERVERS.read().unwrap_or_else(|poisoned| poisoned.into_inner());
    let clock = ManualClock::default();
    clock.set_wall(std::time::UNIX_EPOCH + secs(784_111_777));
    let env = Env::manual(&clock).unwrap();
    let manager = Arc::new(WatchManager::new(&env));
    let server = StatusServer::start(&env, config(), manager).unwrap();
    let mut client = Client::new(server.local_addr());
    let mut check = |request: &str, with_body: bool, status: u16, date: &str| {
        client.send(request);
        let answer = client.read_answer(with_body).unwrap();
        assert_eq!((answer.status, answer.header("date")), (status, Some(date)), "{request}");
        answer
    };
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let date = "Sun, 06 Nov 1994 08:49:37 GMT";
    for (path, status) in [("/livez", 200), ("/readyz", 200), ("/metrics", 404), ("/nowhere", 404)] {
        check(&get(path), true, status, date);
        check(&get(path).replace("GET", "HEAD"), false, status, date);
    }
    check(&get("/events?after=x"), true, 400, date);
    check(&get("/livez").replace("GET", "POST"), true, 405, date);
    let first = check(&get("/status"), true, 200, date);
    // The date is that of the answer, also where the body is an older one.
    clock.run_for(Duration::from_millis(1_000));
    let date = "Sun, 06 Nov 1994 08:49:38 GMT";
    let tag = first.header("etag").unwrap();
    check(&get("/status").replace("\r\n\r\n", &format!("\r\nIf-None-Match: {tag}\r\n\r\n")), true, 304, date);
    check(&get("/livez").replace("localhost", "evil.example"), true, 421, date);
    assert!(server.stop(PATIENCE).is_clean());
}

#[test]
fn a_server_survives_that_files_run_out() {
    const CHILD: &str = "LOOPKEEPER_TEST_FEW_FILES";
    if std::env::var_os(CHILD).is_none() {
        // In a process of its own: the limit is for all of its threads.
        let run = "ulimit -n 48 && exec \"$0\" --exact a_server_survives_that_files_run_out";
        let mut child = Command::new("sh");
        child.args(["-c", run]).arg(std::env::current_exe().unwrap()).env(CHILD, "1");
        let output = child.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
        return;
    }
    let _servers = SERVERS.read().unwrap_or_else(|poisoned| poisoned.into_inner());
    let env = Env::new().unwrap();
    let (source, entered, opener) = gated();
    let server = StatusServer::start(&env, config().request_deadline(secs(600)), source).unwrap();
    let connect = || Client::new(server.local_addr());
    let mut parked = connect();
    parked.ask("GET /events?after=0&wait=5m");
    let mut silent = connect();
    let mut kept = connect();
    kept.get("/livez").is(200, "ok");
    let mut account = account_of("http/poll");
    let mut files: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    // One for the client's end, none for the server's: what is of least use
    // makes room, and whoever comes has its answer.
    let mut come = || {
        files.pop();
        let mut client = connect();
        client.ask("GET /livez");
        client
    };
    let mut busy = come();
    busy.answer().is(200, "ok");
    kept.is_closed();
    busy.ask("GET /status");
    entered.recv_timeout(PATIENCE).unwrap();
    let mut other = come();
    other.answer().is(200, "ok");
    silent.is_closed();
    other.ask("GET /status");
    entered.recv_timeout(PATIENCE).unwrap();
    // Who waits for events makes room as soon as there is a worker to say so;
    // the places of requests that are in work are nobody else's.
    let mut third = come();
    let before = cpu_ticks(&mut account);
    thread::sleep(Duration::from_millis(500));
    let spent = cpu_ticks(&mut account) - before;
    assert!(spent < 10, "a pause, not a spin: {spent} ticks of a hundredth");
    opener.send(()).unwrap();
    parked.answer().is(200, "\"events\":[]");
    third.answer().is(200, "ok");
    drop(files);
    connect().get("/livez").is(200, "ok");
    drop(opener);
}

/// The kernel's account of a thread.
fn account_of(thread: &str) -> File {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().filter_map(Result::ok);
    let mut accounts = tasks.map(|task| task.path().join("stat"));
    let account = accounts.find(|path| std::fs::read_to_string(path).unwrap().contains(thread));
    File::open(account.unwrap()).unwrap()
}

/// A thread's processor time, in hundredths of a second.
fn cpu_ticks(account: &mut File) -> u64 {
    let mut text = String::new();
    account.seek(SeekFrom::Start(0)).unwrap();
    account.read_to_string(&mut text).unwrap();
    // The fields after the name, which stands in brackets.
    let fields: Vec<_> = text.rsplit(") ").next().unwrap().split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}
