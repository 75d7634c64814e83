//! Runs that are asked of and restored over HTTP, by services good and bad.

#![cfg(feature = "http-client")]
#![allow(clippy::unwrap_used, reason = "test code: a failed set-up is a failed test")]

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use loopkeeper::recovery::rest::{RestConfig, RestRemedy, RestSource};
use loopkeeper::recovery::{
    Checkpoint, Metadata, RecoveryMonitor, RecoveryMonitorConfig, RecoveryPolicy, Remedy, Restore, RunSource,
};
use loopkeeper::rest::{ClientConfig, Key};
use loopkeeper::{BoxError, Context, Env, Error, ErrorClass, ErrorKind, EventKind, ManualClock, Name};
use serde_json::{Value, json};
use support::PATIENCE;
use support::service::{Reply, Service};

const SECRET: &str = "hunter2-geheim";
/// What a call has whose service is not to be waited for.
const SHORT: Duration = Duration::from_millis(300);

fn context(env: &Env, timeout: Duration) -> Context {
    Context::detached(env, Name::new("runs").unwrap(), timeout)
}

fn config(service: &Service) -> RestConfig {
    RestConfig::new(ClientConfig::new(service.url()).key(Key::text(SECRET)).max_body(64 * 1024))
}

#[allow(clippy::needless_pass_by_value, reason = "it is what map_err hands over")]
fn ours(error: BoxError) -> Error {
    error.downcast_ref::<Error>().unwrap().clone()
}

fn request(attempt: u32) -> Restore {
    let mut checkpoint = Checkpoint::new("tinker://r1/weights/7");
    checkpoint.checkpoint_id = "c7".to_owned();
    let mut request = Restore::new("r1", checkpoint);
    request.attempt = attempt;
    request.idempotency_key = format!("key-{attempt}");
    request
}

#[test]
fn runs_and_checkpoints_are_asked_for_and_restored_as_the_service_wants_it() {
    let service = Service::start(|asked| match (asked.method.as_str(), asked.path.as_str()) {
        ("GET", "/api/v1/training_runs/a%2Fb") => {
            Reply::json(json!({"training_run_id": "a/b", "corrupted": "true"}))
        }
        ("GET", "/api/v1/training_runs/r1/checkpoints") => {
            Reply::json(json!({"checkpoints": [{"id": "c7", "path": "p7"}, {"id": "c6", "path": "p6"}]}))
        }
        ("POST", "/api/v1/training_runs/r1/restore") => Reply::json(json!({"id": "r2"})).header("x", "y"),
        ("POST", "/weights/c7/r1") => Reply::status(201, r#"{"training_run_id": 3}"#),
        ("DELETE", "/runs/r2") => Reply::status(204, ""),
        _ => Reply::status(404, "no such thing"),
    });
    let env = Env::new().unwrap();
    let cx = context(&env, PATIENCE);
    let config = config(&service)
        .restore_weights_path("/weights/{checkpoint}/{run}")
        .discard_path("/runs/{run}")
        .retire_path("/old/{run}");
    let (source, remedy) = (RestSource::new(&config).unwrap(), RestRemedy::new(&config).unwrap());
    let run = source.fetch(&cx, "a/b").unwrap();
    assert_eq!((run.training_run_id.as_str(), run.corrupted, run.last_checkpoint), ("a/b", true, None));
    let checkpoints = source.checkpoints(&cx, "r1").unwrap();
    assert_eq!(checkpoints.iter().map(|c| c.path.as_str()).collect::<Vec<_>>(), ["p7", "p6"]);

    let restored = remedy.restore(&cx, &request(1)).unwrap();
    assert_eq!(restored.training_run_id, "r2");
    let mut weights = request(2);
    weights.restore_optimizer = false;
    assert_eq!(remedy.restore(&cx, &weights).unwrap().training_run_id, "3");
    remedy.discard(&cx, &restored).unwrap();
    // What is gone need not be let go of.
    remedy.retire(&cx, "r1").unwrap();
    let asked = service.asked();
    let posts: Vec<(&str, Value)> = asked
        .iter()
        .filter(|asked| asked.method == "POST")
        .map(|asked| (asked.header("idempotency-key").unwrap(), serde_json::from_str(&asked.body).unwrap()))
        .collect();
    let body = |optimizer: bool, attempt: u32| {
        json!({
            "path": "tinker://r1/weights/7", "training_run_id": "r1",
            "restore_optimizer": optimizer, "attempt": attempt,
        })
    };
    assert_eq!(posts, [("key-1", body(true, 1)), ("key-2", body(false, 2))]);
    assert!(asked.iter().all(|asked| asked.header("authorization") == Some("Bearer hunter2-geheim")));
    let paths: Vec<&str> =
        asked.iter().filter(|asked| asked.method == "DELETE").map(|asked| asked.path.as_str()).collect();
    assert_eq!(paths, ["/runs/r2", "/old/r1"]);
}

/// One way for a service to be bad, and what is said of it.
struct Fault {
    reply: Reply,
    kind: ErrorKind,
    class: ErrorClass,
    /// Of the one that restores.
    restore: ErrorClass,
    says: &'static str,
}

fn fault(reply: Reply, class: ErrorClass, says: &'static str) -> Fault {
    let kind = if class == ErrorClass::TimedOut { ErrorKind::Timeout } else { ErrorKind::Probe };
    Fault { reply, kind, class, restore: class, says }
}

/// The service has made a run, though it does not say which: asked again it would
/// make another.
fn made(reply: Reply, says: &'static str) -> Fault {
    Fault { restore: ErrorClass::Terminal, ..fault(reply, ErrorClass::Retryable, says) }
}

/// Each of them answers a request for a run, and one that restores it.
fn faults() -> Vec<Fault> {
    use ErrorClass::{Retryable, Terminal, TimedOut};
    let head = |length: u64| format!("HTTP/1.1 200 X\r\ncontent-length: {length}\r\n\r\n").into_bytes();
    let chunked = |body: &str| {
        let head = "HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n";
        format!("{head}{body}").into_bytes()
    };
    let html = "<html><body>Log in</body></html>";
    let begun = [head(100), b"{\"id\":".to_vec()].concat();
    let pause = Duration::from_millis(5);
    vec![
        fault(Reply::Hang(Vec::new()), TimedOut, "no answer from 127.0.0.1:"),
        fault(Reply::Hang(b"HTTP/1.1 200".to_vec()), TimedOut, "not over, 12 bytes so far"),
        fault(Reply::Hang(begun.clone()), TimedOut, "not over, "),
        fault(Reply::Dribble(head(60_000), pause), TimedOut, "not over, "),
        fault(Reply::Dribble(b"HTTP/1.1 200 X\r\nx: ".to_vec(), pause), TimedOut, "not over, "),
        fault(Reply::Close, Retryable, "connection closed before the answer was over"),
        fault(Reply::Raw(begun), Retryable, "connection closed before the answer was over"),
        fault(Reply::Raw(chunked("5\r\n{\"id\"")), Retryable, "connection closed before the answer was over"),
        fault(Reply::Raw(chunked("zz\r\n")), Retryable, "the answer is not HTTP: "),
        fault(Reply::Raw(b"SSH-2.0-OpenSSH_9.6\r\n\r\n".to_vec()), Retryable, "the answer is not HTTP: "),
        fault(
            Reply::Endless(b"HTTP/1.1 200 X\r\nx: ".to_vec()),
            Retryable,
            "the answer's headers are too long",
        ),
        made(Reply::Endless(head(10_000_000_000)), "the answer is 10000000000 bytes long, at most 65536"),
        made(Reply::Endless(b"HTTP/1.1 200 X\r\n\r\n".to_vec()), "the answer is longer than 65536 bytes"),
        made(Reply::status(200, html), "is not JSON: expected value at line 1 column 1; no content type"),
        made(
            Reply::status(200, html).header("content-type", "text/html"),
            "content type text/html; body: \"<html><body>Log in",
        ),
        made(Reply::json("{\"id\": \"r"), "EOF while parsing a string at line 1 column 9"),
        made(Reply::json("{} {}"), "trailing characters at line 1 column 4"),
        made(Reply::json("[".repeat(60_000)), "recursion limit exceeded"),
        made(Reply::status(200, ""), "the answer is empty; no content type"),
        made(Reply::json("{}").header("content-encoding", "gzip"), "is encoded as gzip, which was not asked"),
        fault(Reply::redirect(307, "/round"), Terminal, "redirected more than 3 times"),
        fault(
            Reply::redirect(307, "http://127.0.0.1:1/"),
            Terminal,
            "redirected to another server, http://127.0.0.1:1/",
        ),
        fault(Reply::status(304, ""), Terminal, "status 304, expected 200-299"),
        fault(Reply::status(401, "{\"error\": \"who?\"}"), Terminal, "status 401, expected 200-299"),
        fault(Reply::status(403, "no"), Terminal, "status 403"),
        fault(
            Reply::status(401, format!("no such key: {SECRET} ({}{SECRET})", "x".repeat(170))),
            Terminal,
            "; body: \"no such key: <secret> (xxx",
        ),
        made(Reply::status(204, ""), "the answer is empty"),
        made(Reply::status(200, format!("<p>{SECRET}")), "; body: \"<p><secret>\""),
        fault(Reply::status(408, ""), Retryable, "status 408"),
        fault(Reply::status(409, "in use"), Terminal, "status 409"),
        Fault {
            kind: ErrorKind::NotFound,
            ..fault(Reply::status(404, "gone"), Terminal, "; body: \"gone\"")
        },
        fault(Reply::status(429, "").header("retry-after", "7"), Retryable, "status 429, expected 200-299"),
        fault(Reply::status(500, "oops\n\x1b[31m"), Retryable, "; body: \"oops\\n\\u{1b}[31m\""),
        fault(Reply::status(503, ""), Retryable, "status 503"),
    ]
}

#[test]
fn every_fault_of_a_service_ends_in_time_and_is_told() {
    for Fault { reply, kind, class, restore, says } in faults() {
        let shown = format!("{reply:?}").chars().take(100).collect::<String>();
        let service = Service::start(move |_| reply.clone());
        let env = Env::new().unwrap();
        let (source, remedy) =
            (RestSource::new(&config(&service)).unwrap(), RestRemedy::new(&config(&service)).unwrap());
        let timeout = if class == ErrorClass::TimedOut { SHORT } else { PATIENCE };
        let check = |begins: &str, class: ErrorClass, error: BoxError, cx: &Context| {
            let error = ours(error);
            let text = error.report().to_string();
            assert_eq!((error.kind(), error.class()), (kind, class), "{shown}: {text}");
            assert!(text.starts_with(begins) && text.contains(says), "{shown}: {says:?} is not in {text:?}");
            assert!(!format!("{text}{error:?}").contains(SECRET), "{shown}: {text}");
            assert_eq!(
                error.retry_after().map(|wait| wait.as_secs()),
                says.contains("429").then_some(7),
                "{text}"
            );
            // It ended because it was over, not because it was given up by others.
            assert_eq!(cx.remaining().is_zero(), class == ErrorClass::TimedOut, "{shown}: {text}");
        };
        let cx = context(&env, timeout);
        check("GET http://127.0.0.1:", class, source.fetch(&cx, "r1").unwrap_err(), &cx);
        let cx = context(&env, timeout);
        check("POST http://127.0.0.1:", restore, remedy.restore(&cx, &request(1)).unwrap_err(), &cx);
        let posts =
            service.asked().iter().filter(|asked| asked.method == "POST" && asked.path != "/round").count();
        assert_eq!(posts, 1, "{shown}");
    }
}

#[test]
fn what_is_secret_is_in_no_debug_text() {
    let client = ClientConfig::new("http://me:hunter2-geheim@127.0.0.1:1").key(Key::text(SECRET));
    let config = RestConfig::new(client.header("X-Key", SECRET))
        .run_path(format!("/runs/{{run}}?key={SECRET}"))
        .restore_path(format!("/runs/{{run}}/restore?key={SECRET}"));
    let (source, remedy) = (RestSource::new(&config).unwrap(), RestRemedy::new(&config).unwrap());
    let shown = format!("{config:#?}{source:#?}{remedy:#?}");
    assert!(shown.contains("/runs/{run}") && !shown.contains(SECRET), "{shown}");
    let env = Env::new().unwrap();
    let error = ours(source.fetch(&context(&env, PATIENCE), "r1").unwrap_err());
    let text = format!("{}{error:?}", error.report());
    assert!(text.contains("connection refused") && !text.contains(SECRET), "{text}");
}

#[test]
fn documents_that_are_not_as_expected_are_told_with_their_place() {
    let env = Env::new().unwrap();
    let cx = context(&env, PATIENCE);
    for (document, text) in [
        (json!({}), "the document has no \"training_run_id\", it is empty"),
        (
            json!({"training_run_id": "r1", "corrupted": 2}),
            "/corrupted: expected true or false, found the number 2",
        ),
        (json!("r1"), "the document: expected an object, found the string \"r1\""),
    ] {
        let service = Service::start(move |_| Reply::json(&document));
        let error = ours(RestSource::new(&config(&service)).unwrap().fetch(&cx, "r1").unwrap_err());
        let expected = format!("GET {}/api/v1/training_runs/r1: {text}", service.url());
        assert_eq!((error.to_string(), error.class()), (expected, ErrorClass::Retryable));
    }
    // It has made one, and would make another.
    let service = Service::start(|_| Reply::json(json!({"name": "r2"})));
    let error = ours(RestRemedy::new(&config(&service)).unwrap().restore(&cx, &request(1)).unwrap_err());
    let text = "the document has no \"training_run_id\", it has \"name\"";
    assert!(error.to_string().ends_with(text), "{error}");
    assert_eq!(error.class(), ErrorClass::Terminal);
    let error = ours(RestSource::new(&config(&service)).unwrap().fetch(&cx, "..").unwrap_err());
    assert_eq!(error.to_string(), "run: cannot be part of a path: \"..\"");
}

#[test]
fn a_create_call_is_sent_once_for_each_attempt_also_when_its_answer_is_lost() {
    // Takes the request, makes the run, and goes before it has answered.
    let service = Service::start(|asked| match (asked.method.as_str(), asked.header("idempotency-key")) {
        ("POST", Some("key-1" | "key-2")) => Reply::Close,
        ("POST", _) => Reply::json(json!({"id": "r2"})),
        _ => Reply::json(json!({"id": "r1", "corrupted": true})),
    });
    let env = Env::new().unwrap();
    let cx = context(&env, PATIENCE);
    let config = config(&service);
    let (source, remedy) = (RestSource::new(&config).unwrap(), RestRemedy::new(&config).unwrap());
    for attempt in 1..=3 {
        // Leaves a connection that a request could be sent over again.
        source.fetch(&cx, "r1").unwrap();
        let restored = remedy.restore(&cx, &request(attempt));
        match attempt {
            3 => assert_eq!(restored.unwrap().training_run_id, "r2"),
            _ => assert_eq!(ours(restored.unwrap_err()).class(), ErrorClass::Retryable),
        }
    }
    let asked = service.asked();
    let keys: Vec<_> = asked.iter().filter_map(|asked| asked.header("idempotency-key")).collect();
    assert_eq!(keys, ["key-1", "key-2", "key-3"]);
}

#[test]
fn a_service_that_asks_to_be_left_alone_is_left_alone() {
    let service = Service::scripted(vec![
        Reply::status(429, "").header("retry-after", "60"),
        Reply::status(503, "").header("retry-after", "86400"),
        Reply::json(json!({"id": "r1"})),
    ]);
    let clock = ManualClock::default();
    let env = Env::manual(&clock).unwrap();
    let source = RestSource::new(&config(&service)).unwrap();
    let fetch = |run| source.fetch(&context(&env, PATIENCE), run).map_err(ours);
    assert_eq!(fetch("r1").unwrap_err().retry_after(), Some(Duration::from_secs(60)));
    clock.run_for(Duration::from_secs(20));
    let error = fetch("r2").unwrap_err();
    assert_eq!(error.to_string(), "the service asks to be left alone for another 40s");
    assert_eq!((error.class(), error.retry_after()), (ErrorClass::Retryable, Some(Duration::from_secs(40))));
    assert_eq!(service.asked().len(), 1);
    clock.run_for(Duration::from_secs(40));
    assert!(fetch("r2").unwrap_err().to_string().contains("status 503"));
    // Nobody is left alone for a day.
    clock.run_for(Duration::from_secs(299));
    assert!(fetch("r1").unwrap_err().to_string().contains("for another 1s"));
    clock.run_for(Duration::from_secs(1));
    assert!(!fetch("r1").unwrap().corrupted);
    assert_eq!(service.asked().len(), 3);
}

/// What was told of recoveries, in order.
fn told(env: &Env) -> Vec<&'static str> {
    let events = env.events_after(0, 4096).events.into_iter();
    events
        .filter_map(|event| match &event.what {
            EventKind::Recovery(event) => Some(event.step.as_str()),
            _ => None,
        })
        .collect()
}

#[test]
fn wrc_15_over_http_each_attempt_asks_once_with_a_key_of_its_own() {
    // The first answer is lost, the second one asks for patience.
    let posts = AtomicUsize::new(0);
    let service = Service::start(move |asked| match (asked.method.as_str(), asked.path.as_str()) {
        ("POST", _) => match posts.fetch_add(1, Ordering::SeqCst) {
            0 => Reply::Close,
            1 => Reply::status(429, "").header("retry-after", "45"),
            _ => Reply::json(json!({"id": "r2"})),
        },
        (_, "/api/v1/training_runs/r1") => {
            Reply::json(json!({"id": "r1", "corrupted": "true", "last_checkpoint": "t://r1/7"}))
        }
        (_, path) => Reply::json(json!({"id": path.rsplit('/').next().unwrap()})),
    });
    let clock = ManualClock::default();
    let env = Env::manual(&clock).unwrap();
    let config = config(&service);
    let policy = RecoveryPolicy::default().enabled(true).jitter(0.0).verify_polls(1);
    let monitor = RecoveryMonitor::start_in(
        &env,
        RecoveryMonitorConfig::new("m", policy),
        RestSource::new(&config).unwrap(),
        RestRemedy::new(&config).unwrap(),
    )
    .unwrap();
    monitor.watch_run("r1", Metadata::default()).unwrap();
    let keys = || -> Vec<String> {
        let asked = service.asked();
        asked.iter().filter_map(|asked| asked.header("idempotency-key").map(str::to_owned)).collect()
    };
    clock.settle();
    assert_eq!(keys().len(), 1);
    clock.run_for(Duration::from_secs(5));
    assert_eq!(keys().len(), 2);
    clock.run_for(Duration::from_secs(44));
    assert_eq!(keys().len(), 2, "it asked to be left alone");
    clock.run_for(Duration::from_secs(2));
    let mut keys = keys();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 3);
    clock.run_for(Duration::from_secs(30));
    let attempt = ["started", "checkpoint_selected"];
    let steps: [&[&str]; 7] = [
        &["detected"],
        &attempt,
        &["failed"],
        &attempt,
        &["failed"],
        &attempt,
        &["client_created", "completed", "verified"],
    ];
    assert_eq!(told(&env), steps.concat());
    assert_eq!(monitor.runs()[0].run, "r2");
    assert!(monitor.stop(PATIENCE).is_clean());
}
