//! Requests to services over HTTP: what is sent, what comes of it, and what
//! never gets out.

#![cfg(feature = "http-client")]
#![allow(clippy::unwrap_used, reason = "test code: a failed set-up is a failed test")]

mod support;

use std::time::Duration;

use loopkeeper::rest::{Client, ClientConfig, Key, Request};
use loopkeeper::{Context, Env, Error, ErrorClass, ErrorKind, Name};
use serde_json::{Value, json};
use support::service::{Reply, Service};
use support::{PATIENCE, TempDir};

const SECRET: &str = "hunter2-geheim";

fn context(env: &Env, timeout: Duration) -> Context {
    Context::detached(env, Name::new("asks").unwrap(), timeout)
}

fn client(service: &Service) -> Client {
    Client::new(ClientConfig::new(service.url())).unwrap()
}

fn ask(client: &Client, env: &Env, request: &Request) -> Result<Value, Error> {
    client.json(&context(env, PATIENCE), request).map(|(_, value)| value)
}

/// The error is of this kind and class, and says all of this.
#[track_caller]
fn says(error: &Error, kind: ErrorKind, class: ErrorClass, pieces: &[&str]) {
    let text = error.report().to_string();
    assert_eq!((error.kind(), error.class()), (kind, class), "{text}");
    for piece in pieces {
        assert!(text.contains(piece), "{piece:?} is not in {text:?}");
    }
    assert!(!format!("{text}{error:?}").contains(SECRET), "{text}");
}

#[test]
fn a_request_is_sent_as_it_was_made() {
    let service = Service::start(|_| Reply::json(json!({"ok": true})));
    let config =
        ClientConfig::new(format!("{}/api/", service.url())).key(Key::text(SECRET)).header("X-Team", "a");
    let client = Client::new(config).unwrap();
    let env = Env::new().unwrap();
    let cx = context(&env, PATIENCE);
    let request =
        Request::post("/runs?full=1", json!({"path": "x"})).idempotency_key("k1").header("x-team", "b");
    let (answer, value) = client.json(&cx, &request).unwrap();
    assert_eq!((answer.status(), value), (200, json!({"ok": true})));
    assert_eq!(answer.header("Content-Type"), Some("application/json"));
    assert_eq!(answer.what(), format!("POST {}/api/runs?…", service.url()));
    assert!(answer.latency() > Duration::ZERO);
    let asked = &service.asked()[0];
    assert_eq!((asked.method.as_str(), asked.path.as_str()), ("POST", "/api/runs?full=1"));
    assert_eq!(asked.body, r#"{"path":"x"}"#);
    for (name, value) in [
        ("authorization", Some("Bearer hunter2-geheim")),
        ("idempotency-key", Some("k1")),
        ("content-type", Some("application/json")),
        ("accept", Some("application/json")),
        ("x-team", Some("b")),
        ("accept-encoding", None),
    ] {
        assert_eq!(asked.header(name), value, "{name}");
    }
    client.send(&cx, &Request::delete("/runs/a")).unwrap();
    assert_eq!(
        (service.asked()[1].method.as_str(), service.asked()[1].header("content-type")),
        ("DELETE", None)
    );
}

#[test]
fn connections_are_kept_and_one_that_is_gone_is_replaced_where_that_does_no_harm() {
    let service = Service::start(|asked| match asked.path.as_str() {
        // Answers and goes, without a word about it.
        "/last" => Reply::Raw(b"HTTP/1.1 200 X\r\ncontent-length: 2\r\n\r\n{}".to_vec()),
        _ => Reply::json("{}"),
    });
    let (env, client) = (Env::new().unwrap(), client(&service));
    let connections = || service.asked().iter().map(|asked| asked.connection).collect::<Vec<_>>();
    for _ in 0..3 {
        ask(&client, &env, &Request::get("/a")).unwrap();
    }
    assert_eq!(connections(), [0, 0, 0]);
    service.cut();
    ask(&client, &env, &Request::get("/a")).unwrap();
    ask(&client, &env, &Request::get("/last")).unwrap();
    ask(&client, &env, &Request::get("/a")).unwrap();
    assert_eq!(connections(), [0, 0, 0, 1, 1, 2]);
}

#[test]
fn what_must_not_happen_twice_is_sent_once() {
    // The second request on a connection is taken, and the connection closed.
    let flaky = || {
        let counts = std::sync::Mutex::new(std::collections::BTreeMap::new());
        Service::start(move |asked| {
            let mut counts = counts.lock().unwrap();
            let count: &mut u32 = counts.entry(asked.connection).or_default();
            *count += 1;
            if *count == 2 { Reply::Close } else { Reply::json("{}") }
        })
    };
    for (request, connections) in [
        (Request::get("/a"), &[0, 0, 1][..]),
        (Request::delete("/a"), &[0, 0, 1]),
        (Request::put("/a", json!(1)), &[0, 0, 1]),
        (Request::post("/a", json!(1)).idempotency_key("k"), &[0, 0, 1]),
        (Request::post("/a", json!(1)), &[0, 0]),
    ] {
        let (env, service) = (Env::new().unwrap(), flaky());
        let client = client(&service);
        ask(&client, &env, &Request::get("/first")).unwrap();
        let answer = ask(&client, &env, &request);
        let asked = service.asked();
        let seen: Vec<usize> = asked.iter().map(|asked| asked.connection).collect();
        assert_eq!(seen, connections, "{request:?}");
        if connections.len() == 2 {
            let text = "connection closed before the answer was over";
            says(&answer.unwrap_err(), ErrorKind::Probe, ErrorClass::Retryable, &[text]);
        } else {
            answer.unwrap();
            assert_eq!(asked[1].header("idempotency-key"), asked[2].header("idempotency-key"));
        }
    }
}

#[test]
fn redirects_lead_to_the_same_server_and_end() {
    let other = Service::start(|_| Reply::json(json!("elsewhere")));
    let elsewhere = format!("{}/x?token=hunter2-geheim", other.url());
    let service = Service::start(move |asked| match asked.path.as_str() {
        "/here" => Reply::redirect(307, "/there"),
        "/see" => Reply::redirect(303, "there"),
        "/found" => Reply::redirect(302, "/there"),
        "/there" => Reply::json(json!(asked.method)),
        "/away" => Reply::redirect(302, &elsewhere),
        "/ftp" => Reply::redirect(302, "ftp://x/"),
        _ => Reply::redirect(302, "/round"),
    });
    let env = Env::new().unwrap();
    let open = client(&service);
    let private = Client::new(ClientConfig::new(service.url()).key(Key::text(SECRET))).unwrap();
    let post = |path| Request::post(path, json!({"a": 1}));
    assert_eq!(ask(&private, &env, &Request::get("/here")).unwrap(), "GET");
    assert_eq!(ask(&private, &env, &post("/here")).unwrap(), "POST");
    assert_eq!(ask(&private, &env, &post("/see")).unwrap(), "GET");
    let asked = service.asked();
    assert!(asked.iter().all(|asked| asked.header("authorization") == Some("Bearer hunter2-geheim")));
    assert_eq!(asked[3].body, "{\"a\":1}");
    assert_eq!(asked[5].body, "");
    assert_eq!(ask(&open, &env, &Request::get("/away")).unwrap(), "elsewhere");
    let terminal = ErrorClass::Terminal;
    for (client, request, pieces) in [
        (&private, Request::get("/away"), &["redirected to another server, http://127.0.0.1:", "/x?…"][..]),
        (&open, Request::get("/away").header("x-key", SECRET), &["redirected to another server"]),
        (
            &open,
            Request::get("/round"),
            &["GET http://127.0.0.1:", "/round -> ", "redirected more than 3 times"],
        ),
        (&open, Request::get("/ftp"), &["redirected to the scheme ftp"]),
        (&open, post("/found"), &["redirected by status 302, which cannot be followed"]),
    ] {
        says(&ask(client, &env, &request).unwrap_err(), ErrorKind::Probe, terminal, pieces);
    }
    assert_eq!(other.asked().len(), 1);
    assert_eq!(other.asked()[0].header("authorization"), None);
}

#[test]
fn links_lead_to_the_same_server() {
    let service = Service::start(|asked| Reply::json(json!(asked.path)));
    let (env, base) = (Env::new().unwrap(), service.url());
    let client = Client::new(ClientConfig::new(format!("{base}/api/v1/"))).unwrap();
    for (link, path) in [
        ("?page=2".to_owned(), "/api/v1/?page=2"),
        ("runs?page=2".to_owned(), "/api/v1/runs?page=2"),
        ("/other".to_owned(), "/other"),
        (format!("{base}/x"), "/x"),
    ] {
        assert_eq!(ask(&client, &env, &Request::link(link)).unwrap(), path);
    }
    let error = ask(&client, &env, &Request::link("http://127.0.0.1:1/x?hunter2-geheim")).unwrap_err();
    let text = "link: leads to another server, http://127.0.0.1:1/x?…";
    says(&error, ErrorKind::Probe, ErrorClass::Terminal, &[text]);
    let error = ask(&client, &env, &Request::link("file:///etc/passwd")).unwrap_err();
    says(&error, ErrorKind::Probe, ErrorClass::Retryable, &["link: leads to the scheme file"]);
}

#[test]
fn keys_are_read_for_each_request_and_shown_by_nobody() {
    let service = Service::start(|_| Reply::json("{}"));
    let (env, dir) = (Env::new().unwrap(), TempDir::new("rest-key"));
    let path = dir.write("key", "one\n");
    let config = ClientConfig::new(service.url()).key(Key::file(&path)).key_header("X-API-Key");
    let client = Client::new(config).unwrap();
    ask(&client, &env, &Request::get("/")).unwrap();
    dir.put("key", "two");
    ask(&client, &env, &Request::get("/")).unwrap();
    let keys: Vec<_> =
        service.asked().iter().map(|asked| asked.header("x-api-key").unwrap().to_owned()).collect();
    assert_eq!(keys, ["one", "two"]);
    let asked = Key::ask("RUNS_KEY", |_| Ok(" three\n".to_owned()));
    let other = Service::start(|asked| Reply::json(json!(asked.header("authorization"))));
    let client = Client::new(ClientConfig::new(other.url()).key(asked)).unwrap();
    assert_eq!(ask(&client, &env, &Request::get("/")).unwrap(), "Bearer three");
    let pipe = dir.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let broken = |key: Key| {
        let client = Client::new(ClientConfig::new(service.url()).key(key)).unwrap();
        assert!(!format!("{client:?}").contains(SECRET));
        ask(&client, &env, &Request::get("/")).unwrap_err()
    };
    for (key, kind, piece) in [
        (Key::file(dir.write("empty", " \n")), ErrorKind::Io, "empty: is empty"),
        (Key::file(dir.path().join("none")), ErrorKind::Io, "none: no such file or folder"),
        (Key::file(dir.path()), ErrorKind::Io, "expected a file"),
        (Key::file(pipe), ErrorKind::Io, "pipe: expected a file"),
        (Key::file(dir.write("long", "x".repeat(70_000))), ErrorKind::Io, "is longer than a key may be"),
        (Key::file(dir.write("bytes", [0xff, 0xfe])), ErrorKind::Io, "is not text"),
        (
            Key::text(format!("{SECRET}\n{SECRET}")),
            ErrorKind::InvalidArgument,
            "key: has characters that no header",
        ),
        (Key::text(""), ErrorKind::Io, "key: the text: is empty"),
        (Key::text("geheim-é"), ErrorKind::InvalidArgument, "key: has characters that no header"),
        (Key::ask("RUNS_KEY", |_| Ok("\n".to_owned())), ErrorKind::Io, "key: RUNS_KEY: is empty"),
        (Key::ask("RUNS_KEY", |_| Err("is not set".into())), ErrorKind::Io, "key: RUNS_KEY: is not set"),
    ] {
        let error = broken(key);
        says(&error, kind, error.class(), &[piece, "GET http://127.0.0.1:"]);
    }
    assert_eq!(service.asked().len(), 2);
}

#[test]
fn what_was_sent_is_shown_by_no_error_when_the_server_says_it_again() {
    let service = Service::start(|asked| {
        let said: Vec<String> = asked.headers.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let said = format!("{}; {}", "x".repeat(asked.body.len()), said.join("; "));
        match asked.path.as_str() {
            "/html" => Reply::status(200, said),
            "/json" => Reply::json(json!(said)),
            _ => Reply::status(401, said),
        }
    });
    let env = Env::new().unwrap();
    let with = |config: ClientConfig| {
        Client::new(config.header("x-team", "blue-hunter2-geheim").header("accept", "text/x-list")).unwrap()
    };
    let basic = service.url().replace("http://", "http://me:hunter2-geheim@");
    let encoded = "bWU6aHVudGVyMi1nZWhlaW0=";
    for client in [
        with(ClientConfig::new(service.url()).key(Key::text(SECRET))),
        with(ClientConfig::new(service.url()).key(Key::text(SECRET)).key_header("x-api-key")),
        with(ClientConfig::new(basic)),
    ] {
        for path in ["/401", "/html", "/json"] {
            // Wherever the text is cut.
            for n in 0..200 {
                let request = Request::post(path, json!("x".repeat(n))).header("x-own", "hunter2-geheim-2");
                let error = match client.send(&context(&env, PATIENCE), &request).unwrap().expect_success() {
                    Ok(answer) if path == "/json" => {
                        answer.unexpected(&"/a".parse().unwrap(), "a list", &answer.json().unwrap())
                    }
                    Ok(answer) => answer.json().unwrap_err(),
                    Err(error) => error,
                };
                let text = error.report().to_string();
                assert!(!text.contains("hunter") && !text.contains(&encoded[..6]), "{text}");
                assert!(n > 0 || path == "/json" || text.contains("accept=text/x-list"), "{text}");
            }
        }
    }
}

#[test]
fn statuses_say_whether_asking_again_can_help() {
    let env = Env::new().unwrap();
    for (status, kind, class) in [
        (301, ErrorKind::Probe, ErrorClass::Terminal),
        (400, ErrorKind::Probe, ErrorClass::Terminal),
        (401, ErrorKind::Probe, ErrorClass::Terminal),
        (403, ErrorKind::Probe, ErrorClass::Terminal),
        (404, ErrorKind::NotFound, ErrorClass::Terminal),
        (408, ErrorKind::Probe, ErrorClass::Retryable),
        (410, ErrorKind::NotFound, ErrorClass::Terminal),
        (422, ErrorKind::Probe, ErrorClass::Terminal),
        (425, ErrorKind::Probe, ErrorClass::Retryable),
        (429, ErrorKind::Probe, ErrorClass::Retryable),
        (500, ErrorKind::Probe, ErrorClass::Retryable),
        (503, ErrorKind::Probe, ErrorClass::Retryable),
    ] {
        let service =
            Service::start(move |_| Reply::status(status, "no, really").header("retry-after", "17"));
        let error = ask(&client(&service), &env, &Request::get("/a")).unwrap_err();
        let text = format!("status {status}, expected 200-299, after ");
        says(&error, kind, class, &["GET http://127.0.0.1:", &text, "; body: \"no, really\""]);
        let wait = (class == ErrorClass::Retryable).then_some(Duration::from_secs(17));
        assert_eq!(error.retry_after(), wait, "{status}");
        assert_eq!(Error::new(ErrorKind::Component).caused_by(error.clone()).retry_after(), wait);
        let answer = client(&service).send(&context(&env, PATIENCE), &Request::get("/a")).unwrap();
        assert_eq!((answer.status(), answer.body()), (status, &b"no, really"[..]));
    }
}

#[test]
fn a_call_ends_at_once_on_cancel() {
    let env = Env::new().unwrap();
    let cx = context(&env, 100 * PATIENCE);
    let cancel = cx.cancel_token().clone();
    let service = Service::start(move |asked| {
        if asked.path == "/cancel" {
            cancel.cancel();
        }
        Reply::Hang(b"HTTP/1.1 200 X\r\n".to_vec())
    });
    let client = client(&service);
    let error = client.send(&cx, &Request::get("/cancel")).unwrap_err();
    says(&error, ErrorKind::Cancelled, ErrorClass::Cancelled, &["cancelled after"]);
    let request = Request::get("/a").timeout(Duration::from_millis(50));
    let error = client.send(&context(&env, 100 * PATIENCE), &request).unwrap_err();
    says(&error, ErrorKind::Timeout, ErrorClass::TimedOut, &["not over, 16 bytes so far, after "]);
}

#[test]
fn a_probe_neither_takes_nor_leaves_a_kept_connection() {
    use loopkeeper::{Probe, probe};
    let service = Service::start(|_| Reply::json("{}"));
    let (env, client) = (Env::new().unwrap(), client(&service));
    let cx = context(&env, PATIENCE);
    ask(&client, &env, &Request::get("/")).unwrap();
    for _ in 0..2 {
        probe::http(service.url()).probe(&cx).unwrap();
    }
    ask(&client, &env, &Request::get("/")).unwrap();
    let seen: Vec<usize> = service.asked().iter().map(|asked| asked.connection).collect();
    assert_eq!(seen, [0, 1, 2, 0]);
}

#[test]
fn settings_that_cannot_be_used_are_told_before_anything_is_sent() {
    for (config, text) in [
        (ClientConfig::new("runs"), "base_url: must begin with http:// or https://"),
        (ClientConfig::new("http://h/?hunter2-geheim"), "base_url: must not have a query"),
        (ClientConfig::new("http://h/").max_body(0), "max_body: must be more than zero"),
        (ClientConfig::new("http://h/").key_header("a b"), "key_header: \"a b\" is not the name of a header"),
        (
            ClientConfig::new("http://h/").header("a", "\n"),
            "headers: the value of a has characters that no header may have",
        ),
    ] {
        assert_eq!(config.check().unwrap_err().to_string(), text);
        assert_eq!(Client::new(config).unwrap_err().kind(), ErrorKind::InvalidArgument);
    }
}
