//! `loopkeeper status` and `loopkeeper probe`, as people use them.

use std::fs::File;
use std::io::Read;
use std::net::TcpListener;
use std::os::fd::{FromRawFd, OwnedFd};
use std::process::{Output, Stdio};

use serde_json::Value;

use super::support::service::{Reply, Service};
use super::{Daemon, TempDir, ended, eventually, free_port, loopkeeper, run_to_end, tcp, watcher};

/// What the program prints on a terminal of so many columns, and its exit code.
pub(super) fn on_a_terminal(args: &[&str], columns: u16, set: &[(&str, &str)]) -> (Option<i32>, String) {
    let (mut ours, mut theirs) = (-1, -1);
    let size = libc::winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: both numbers are valid for writes, the size for reads; the
    // descriptors are new and belong to nobody else.
    #[allow(unsafe_code, reason = "std has no terminals")]
    let (ours, theirs) = unsafe {
        let (name, settings) = (std::ptr::null_mut(), std::ptr::null_mut());
        assert_eq!(
            libc::openpty(&mut ours, &mut theirs, name, settings, std::ptr::from_ref(&size).cast_mut()),
            0
        );
        (OwnedFd::from_raw_fd(ours), OwnedFd::from_raw_fd(theirs))
    };
    let mut command = loopkeeper(args);
    command.envs(set.iter().copied()).stdout(Stdio::from(theirs)).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    // It holds the other end of the terminal, too.
    drop(command);
    let mut text = Vec::new();
    // The end of a terminal reads as an error.
    let _ = File::from(ours).read_to_end(&mut text);
    (child.wait().unwrap().code(), String::from_utf8_lossy(&text).replace("\r\n", "\n"))
}

#[test]
fn status_is_a_table_with_exit_codes() {
    let deploy = TempDir::new("status");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    deploy.write("up.json", tcp("up", listener.local_addr().unwrap().port()));
    let mut daemon = Daemon::start(&deploy, &[]);
    let url = format!("http://{}", daemon.address);
    let status = |more: &[&str]| run_to_end(&[&["status", "--url", &url][..], more].concat());
    daemon.eventually_is("up", "ready");
    let (code, out, err) = status(&[]);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    assert!(out.starts_with("ready: "), "{out}");
    assert!(out.contains("\n\nNAME") && out.lines().any(|line| line.starts_with("up ")), "{out}");
    assert!(!out.contains('\x1b'), "{out}");

    // A command that does not end, and somebody who does not listen.
    let stuck = watcher("slow", r#"{"exec": {"command": ["sleep", "600"]}}"#).replace("500ms", "10m");
    deploy.write("slow.json", stuck);
    deploy.write("down.json", tcp("down", free_port()));
    daemon.signal("-HUP");
    daemon.eventually_is("down", "down");
    eventually("a second has passed", || status(&[]).1.contains("running sleep (pid "));
    let (code, out, _) = status(&[]);
    assert_eq!(code, Some(1), "{out}");
    let of = |name: &str| out.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
    let words: Vec<String> = of("slow ").split_whitespace().map(str::to_owned).collect();
    assert_eq!(
        (&*words[1], &*words[3], &*words[4..7].join(" ")),
        ("unknown", "-", "running sleep (pid"),
        "{out}"
    );
    assert!(words[8] == "for" && words[9].ends_with('s'), "{out}");
    assert!(of("down ").contains("connection refused after "), "{out}");

    let (code, out, _) = status(&["--json"]);
    let body: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, out.lines().count(), &body["health"]), (Some(1), 1, &Value::from("down")));
    let loops = body["loops"].as_array().unwrap();
    let slow = loops.iter().find(|status| status["name"] == "slow" && status["kind"] == "watcher").unwrap();
    assert!(slow["call"]["phase"].as_str().unwrap().starts_with("running sleep (pid "), "{slow}");
    assert_eq!(slow["call"]["stuck"], false);

    // On terminals: colours, or none; no line is wider than they are.
    let args = ["status", "--url", &url];
    let utf8 = ("LANG", "C.UTF-8");
    let (code, text) = on_a_terminal(&args, 80, &[("TERM", "xterm"), utf8]);
    assert_eq!(code, Some(1));
    assert!(text.starts_with("\x1b[31mdown\x1b[0m: ") && text.contains("\x1b[32mready\x1b[0m"), "{text:?}");
    for set in [&[("TERM", "xterm"), ("NO_COLOR", "1")][..], &[("TERM", "dumb")], &[]] {
        let (_, text) = on_a_terminal(&args, 40, set);
        assert!(!text.contains('\x1b') && text.contains("running sleep"), "{text:?}");
        assert!(text.lines().all(|line| line.chars().count() <= 40), "{text}");
    }

    // Whoever reads may be gone.
    let (reads, writes) = std::os::unix::net::UnixStream::pair().unwrap();
    drop(reads);
    let child = loopkeeper(&args).stdout(OwnedFd::from(writes)).stderr(Stdio::piped()).spawn().unwrap();
    let Output { status, stderr, .. } = child.wait_with_output().unwrap();
    assert_eq!((status.code(), String::from_utf8_lossy(&stderr).as_ref()), (Some(1), ""));
    daemon.stop();
}

#[test]
fn who_is_not_there_is_told_as_such() {
    let url = format!("http://127.0.0.1:{}", free_port());
    let (code, out, err) = run_to_end(&["status", "--url", &url]);
    assert_eq!((code, out.as_str(), err.lines().count()), (Some(69), "", 1), "{err}");
    assert!(err.contains("connection refused"), "{err}");
    let service = Service::start(|asked| match asked.path.as_str() {
        "/a/status" => Reply::json(serde_json::json!({"loops": 5})),
        "/d/status" => Reply::json(serde_json::json!({"loops": []})),
        "/b/status" => Reply::status(404, "no\x1b[1m such\nthing"),
        _ => Reply::status(200, "hello"),
    });
    for (path, text) in [
        ("/a", "who answers is no loopkeeper"),
        ("/d", "who answers is no loopkeeper"),
        ("/b", "no\\u{1b}[1m such\\nthing (404)"),
        ("/c", "JSON"),
    ] {
        let (code, out, err) = run_to_end(&["status", "--url", &format!("{}{path}", service.url())]);
        assert_eq!((code, out.as_str()), (Some(69), ""), "{path}: {err}");
        assert!(err.contains(text) && err.lines().count() == 1, "{path}: {err}");
    }
    // Who only looks sends no secret of this machine to another, unless told.
    let url = format!("{}/a", service.url());
    let token = |more: &[&str]| {
        let args = [&["status", "--set", "http.token=s3cret-token", "--url", &url], more].concat();
        run_to_end(&args);
        service.asked().last().and_then(|asked| asked.header("authorization").map(str::to_owned))
    };
    assert_eq!(token(&[]), None);
    let dir = TempDir::new("token");
    let file = dir.write("token", "other-token");
    assert_eq!(token(&["--token-file", file.to_str().unwrap()]).as_deref(), Some("Bearer other-token"));
    assert_eq!(run_to_end(&["status", "--url", "nowhere"]).0, Some(2));
    assert_eq!(run_to_end(&["status", "--set", "http.listen=none"]).0, Some(69));
    assert_eq!(run_to_end(&["status", "--set", "http.listen=5"]).0, Some(78));
}

#[test]
fn a_probe_is_explained_step_by_step() {
    let service = Service::start(|_| Reply::json(serde_json::json!({"queue": {"depth": 512}})));
    let dir = TempDir::new("probe");
    let http = |condition: &str| {
        format!(r#"{{"http": {{"url": "{}/health", "expect_json": "{condition}"}}}}"#, service.url())
    };
    let file = |name: &str, text: String| dir.write(name, text).to_str().unwrap().to_owned();
    let address = service.url().trim_start_matches("http://").to_owned();

    let good = file("good.json", watcher("queue", &http("body./queue/depth < 1000")));
    let (code, out, err) = run_to_end(&["probe", &good]);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    let mut rest = &out[..];
    for step in [
        "queue: asks once, within 500ms\n",
        &format!("connecting to {address}\n"),
        &format!("connected to {address}\n"),
        &format!("sending the request to {address}\n"),
        &format!("waiting for the answer of {address}\n"),
        "status 200, reading the body\n",
        "body of 23 bytes; body: \"{\"queue\":{\"depth\":512}}\"\n",
        "body./queue/depth < 1000 holds\n",
        "queue is ready\n",
    ] {
        let at = rest.find(step).unwrap_or_else(|| panic!("no {step:?} in its place in {out}"));
        rest = &rest[at + step.len()..];
    }

    let bad = file("bad.json", watcher("queue", &http("body./queue/depth < 100")));
    let (code, out, _) = run_to_end(&["probe", &bad]);
    assert_eq!(code, Some(1), "{out}");
    let last = out.lines().last().unwrap();
    assert!(
        last.contains("queue is down: GET ") && last.contains("/depth is the number 512, after "),
        "{out}"
    );
    let (code, out, _) = run_to_end(&["probe", "--json", &bad]);
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &report["state"], out.lines().count()), (Some(1), &Value::from("down"), 1));
    assert!(report["steps"].as_array().is_some_and(|steps| steps.len() > 4), "{out}");

    // One that does not end is not waited for.
    let slow = file("slow.json", watcher("slow", r#"{"exec": {"command": ["sleep", "600"]}}"#));
    let (code, out, _) = run_to_end(&["probe", &slow]);
    assert_eq!(code, Some(1), "{out}");
    assert!(
        out.contains("running sleep (pid ") && out.contains("slow is down: exec sleep: still ran after "),
        "{out}"
    );

    // Each checker of a monitor looks once, and its items are told.
    let disk = r#"{"name": "m", "type": "monitor", "config": {"checkers": [
        {"name": "port", "probe": {"tcp": {"address": "127.0.0.1:1"}}},
        {"name": "files", "conditions": {"expect": ["exists(/etc)", "exists(/no/such)"]}}]}}"#;
    let (code, out, _) = run_to_end(&["probe", &file("m.json", disk.to_owned())]);
    assert_eq!(code, Some(1));
    for text in
        ["port is down: tcp 127.0.0.1:1: connection refused", "exists(/etc) ready", "files is degraded"]
    {
        assert!(out.contains(text), "no {text:?} in {out}");
    }

    for (name, text, flaw) in [
        ("x.json", "{".to_owned(), "x.json:1:1: EOF while parsing an object"),
        ("y.json", watcher("y", r#"{"dns": {"host": "::1"}}"#), "config.probe.dns.host: expected a name"),
        (
            "z.json",
            r#"{"name": "z", "type": "token-cleanup", "config": {}}"#.to_owned(),
            "z.json:1:23: type: the type token-cleanup asks nothing that can be asked once",
        ),
    ] {
        let (code, out, err) = run_to_end(&["probe", &file(name, text)]);
        assert_eq!((code, out.as_str()), (Some(78), ""), "{name}: {err}");
        assert!(err.contains(flaw), "{err}");
    }
    let (code, _, err) = run_to_end(&["probe", "/dev/zero"]);
    assert_eq!((code, err.as_str()), (Some(78), "/dev/zero: is larger than 1024 KiB\n"));
    let (code, _, err) = run_to_end(&["probe", "/no/such.json"]);
    assert!(code == Some(78) && err.starts_with("/no/such.json: "), "{err}");
    let output = ended(&loopkeeper(&["probe"]).output().unwrap());
    assert_eq!(output.0, Some(2));
}

#[test]
fn heartbeats_come_over_http() {
    let dir = TempDir::new("beat");
    let deploy = TempDir::new("beat");
    let file = dir.write("loopkeeper.json", r#"{"http": {"token": "f1rst-token"}}"#);
    deploy
        .write("ingest.json", watcher("ingest", r#"{"heartbeat": {"grace": "10m"}}"#).replace("20ms", "1h"));
    let mut daemon = Daemon::start(&deploy, &["--config", file.to_str().unwrap()]);
    eventually("it was asked", || daemon.status("ingest")["last_error"] == "heartbeat: none yet");
    assert_eq!(daemon.status("ingest")["state"], "unknown");
    let token = "Authorization: Bearer f1rst-token\r\n";
    assert_eq!(daemon.post("/heartbeat/ingest", ""), 401);
    assert_eq!(daemon.post("/heartbeat/ingets", token), 404);
    let (status, body) = daemon.ask("POST /heartbeat/deployer", token);
    assert_eq!(status, 404);
    assert_eq!(body.trim_end(), "deployer (deployer) waits for no heartbeat; these do: ingest");
    assert_eq!(daemon.post("/heartbeat/ingest?up=1", token), 400);
    assert_eq!(daemon.post("/heartbeat/ingest", token), 202);
    daemon.eventually_is("ingest", "ready");
    assert_eq!(daemon.post("/heartbeat/ingest?down=no%0aspace+left", token), 202);
    daemon.eventually_is("ingest", "down");
    let error = daemon.status("ingest")["last_error"].clone();
    assert_eq!(error, "heartbeat: it says that it is down: no\\nspace left");
    assert_eq!(daemon.post("/heartbeat/ingest", token), 202);
    daemon.eventually_is("ingest", "ready");
    daemon.stop();
}
