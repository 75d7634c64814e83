//! The commands that ask a running daemon, as people use them.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::status::on_a_terminal;
use super::support::service::{Reply, Service};
use super::{Daemon, TempDir, ended, eventually, free_port, kill, loopkeeper, run_to_end, tcp, watcher};

/// A daemon whose token is `right`, and a service that is up.
fn daemon(more: &[(&str, String)]) -> (Daemon, TempDir, TcpListener) {
    let deploy = TempDir::new("commands");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    deploy.write("up.json", tcp("up", listener.local_addr().unwrap().port()));
    for (name, text) in more {
        deploy.write(name, text);
    }
    let daemon = Daemon::start(&deploy, &["--set", "http.token=right-token"]);
    daemon.eventually_is("up", "ready");
    (daemon, deploy, listener)
}

/// What follows events, and the lines that it has printed so far.
struct Follower {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Follower {
    fn start(args: &[&str]) -> Self {
        let mut child = loopkeeper(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Reads up to a line that has this text.
    #[track_caller]
    fn reads(&mut self, text: &str) {
        let found = self.lines.by_ref().any(|line| line.unwrap().contains(text));
        assert!(found, "it ended without {text:?}");
    }

    #[track_caller]
    fn code(&mut self) -> Option<i32> {
        let mut status = None;
        eventually("it ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap().code()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn who_has_the_token_triggers_and_rescans() {
    let (mut daemon, deploy, _up) = daemon(&[]);
    let url = format!("http://{}", daemon.address);
    let good = deploy.write("token", "right-token\n");
    let good = good.to_str().unwrap().to_owned();
    let bad = deploy.write("other", "wrong-token\n");
    let act = |words: &[&str], more: &[&str]| run_to_end(&[words, &["--url", &url], more].concat());

    let runs = daemon.status("up")["runs"].as_u64().unwrap();
    let (code, out, err) = act(&["trigger", "up"], &["--token-file", &good]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.starts_with("up: runs now; see: loopkeeper events up"), "{out}");
    eventually("it ran", || daemon.status("up")["runs"].as_u64().unwrap() > runs);
    let with_variable = loopkeeper(&["rescan", "--url", &url, "--json"])
        .env("LOOPKEEPER_TOKEN", "right-token")
        .output()
        .unwrap();
    let (code, out, err) = ended(&with_variable);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap()["accepted"], "rescan");

    for (words, more, texts) in [
        (&["trigger", "up"][..], &[][..], ["(401); ", "--token-file FILE or in LOOPKEEPER_TOKEN"]),
        (
            &["rescan"],
            &["--token-file", bad.to_str().unwrap()],
            ["not the right one (401)", "LOOPKEEPER_TOKEN"],
        ),
        (
            &["trigger", "upp"],
            &["--token-file", &good],
            ["(404); ", "loopkeeper status lists the loops that there are"],
        ),
    ] {
        let (code, out, err) = act(words, more);
        assert_eq!((code, out.as_str(), err.lines().count()), (Some(1), "", 1), "{words:?} {err}");
        assert!(texts.iter().all(|text| err.contains(text)), "{words:?} {err}");
    }
    assert_eq!(act(&["trigger", "a/b"], &[]).0, Some(2));
    assert_eq!(act(&["trigger", "up"], &["--token-file", "/no/such"]).0, Some(1));
    daemon.stop();

    let (code, _, err) = act(&["rescan"], &["--token-file", &good]);
    assert_eq!(code, Some(69), "{err}");
    assert!(err.contains("does loopkeeper run there? --url"), "{err}");
    let closed = Service::start(|asked| match asked.path.as_str() {
        "/trigger/up" => Reply::status(409, "it is stopped"),
        _ => Reply::status(404, "nothing can be done here, only looked at: no token is configured"),
    });
    let (code, _, err) = run_to_end(&["trigger", "up", "--url", &closed.url()]);
    assert!(
        code == Some(1) && err.contains("it is stopped (409); it does not run: loopkeeper why up"),
        "{err}"
    );
    let (code, _, err) = run_to_end(&["rescan", "--url", &closed.url()]);
    assert!(code == Some(1) && err.contains("name a file with a token in http.token_file"), "{err}");
}

#[test]
fn events_are_lines_and_can_be_followed() {
    let (mut daemon, deploy, up) = daemon(&[("down.json", tcp("down", free_port()))]);
    daemon.eventually_is("down", "down");
    let url = format!("http://{}", daemon.address);
    let (code, out, err) = run_to_end(&["events", "--url", &url]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let line = out.lines().find(|line| line.contains("  up  ready (")).unwrap_or_else(|| panic!("{out}"));
    assert!(line.starts_with("20") && line.contains("attempt 1, from unknown, latency "), "{line}");
    assert!(
        out.lines().any(|line| line.contains("  down  down (") && line.contains(": tcp 127.0.0.1:")),
        "{out}"
    );
    let (_, out, _) = run_to_end(&["events", "up", "--url", &url, "--json", "--last", "1"]);
    let event: Value = serde_json::from_str(&out).unwrap();
    assert!(event["source"] == "up" || event["component"] == "up", "{event}");
    let (code, text) = on_a_terminal(&["events", "--url", &url], 40, &[]);
    assert_eq!(code, Some(0));
    assert!(text.is_ascii() && text.lines().all(|line| line.len() <= 40), "{text}");

    let mut follower = Follower::start(&["events", "--follow", "--url", &url]);
    follower.reads("  up  ready (");
    drop(up);
    follower.reads("  up  down (");
    kill("-INT", follower.child.id());
    assert_eq!(follower.code(), Some(0));

    // Nobody reads any more.
    let (reads, writes) = UnixStream::pair().unwrap();
    drop(reads);
    let args = ["events", "--follow", "--url", &url];
    let child = loopkeeper(&args).stdout(OwnedFd::from(writes)).stderr(Stdio::piped()).spawn().unwrap();
    assert_eq!(ended(&child.wait_with_output().unwrap()), (Some(0), String::new(), String::new()));
    daemon.stop();
    drop(deploy);
}

#[test]
fn who_follows_hears_of_gaps_and_of_another_daemon() {
    let (asks, asked) = std::sync::mpsc::channel();
    let asks = std::sync::Mutex::new(asks);
    let service = Service::start(move |request| {
        let (_, query) = request.path.split_once('?').unwrap_or_default();
        asks.lock().unwrap().send(query.to_owned()).unwrap();
        let event = |seq: u64| serde_json::json!({"seq": seq, "at": "-", "source": "s", "event": "started"});
        Reply::json(match query {
            "after=0&max=1024" => serde_json::json!({"boot": "a", "next": 7, "lost": 0, "events": []}),
            "after=7&max=1024&wait=30s" => {
                serde_json::json!({"boot": "a", "next": 20, "lost": 12, "events": [event(20)]})
            }
            "after=20&max=1024&wait=30s" => {
                serde_json::json!({"boot": "b", "next": 1, "lost": 0, "events": []})
            }
            "after=0&max=1024&wait=30s" => {
                serde_json::json!({"boot": "b", "next": 1, "lost": 0, "events": [event(1)]})
            }
            _ => serde_json::json!({"no": "page"}),
        })
    });
    let args = ["events", "--follow", "--url", &service.url()];
    let (code, out, err) = run_to_end(&args);
    assert_eq!(code, Some(69), "{err}");
    let expected = [
        "-- 12 events are missing: they are no longer kept --",
        "-  s  started",
        "-- the daemon was started again --",
        "-  s  started",
    ];
    assert_eq!(out.lines().collect::<Vec<_>>(), expected);
    assert_eq!(asked.try_iter().last().unwrap(), "after=1&max=1024&wait=30s");
    let (_, out, _) = run_to_end(&[&args[..], &["--json"]].concat());
    assert_eq!(out.lines().next(), Some("{\"lost\":12}"));
    assert_eq!(out.lines().nth(2), Some("{\"boot\":\"b\"}"));
}

#[test]
fn a_daemon_that_stays_away_is_waited_for() {
    let (daemon, deploy, _up) = daemon(&[("w.json", watcher("w", "{\"unix\": {\"path\": \"/no\"}}"))]);
    let address = daemon.address.clone();
    let mut follower = Follower::start(&["events", "--follow", "--url", &format!("http://{address}")]);
    follower.reads("started");
    drop(daemon);
    let mut err = BufReader::new(follower.child.stderr.take().unwrap()).lines();
    let text = err.next().unwrap().unwrap();
    assert!(text.ends_with("waits until the daemon can be reached"), "{text}");
    let args = ["run", "--deploy", deploy.path().to_str().unwrap(), "--listen", &address];
    let mut daemon = Daemon::spawn(&mut loopkeeper(&args));
    follower.reads("-- the daemon was started again --");
    follower.reads("ready (");
    daemon.stop();
}

#[test]
fn why_names_the_cause_and_what_comes_next() {
    let port = free_port();
    let requires_down = tcp("shop", port).replacen("{", "{\"requires\": [\"down\"], ", 1);
    let (mut daemon, deploy, _up) = daemon(&[("down.json", tcp("down", port)), ("shop.json", requires_down)]);
    daemon.eventually_is("down", "down");
    let url = format!("http://{}", daemon.address);
    let why = |name: &str, more: &[&str]| run_to_end(&[&["why", name, "--url", &url], more].concat());
    let (code, out, err) = why("up", &[]);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    assert!(
        out.starts_with("up has been ready for ")
            && out.contains(": nothing is wrong\n\nnext: it asks again "),
        "{out}"
    );
    let (code, out, _) = why("shop", &[]);
    assert_eq!(code, Some(1), "{out}");
    assert!(out.starts_with("shop has been waiting for "), "{out}");
    let first = out.lines().next().unwrap();
    assert!(
        first.contains("it waits for down, which is down: tcp 127.0.0.1:")
            && first.contains("connection refused"),
        "{out}"
    );
    assert!(
        out.contains("\n\n  shop: waits for down, which is down (for ")
            && out.contains("\n    down: tcp 127"),
        "{out}"
    );
    assert!(out.contains("\n\nnext: it starts when down can take work"), "{out}");
    deploy.write("10-db.json", "{\"name\": \"db\"}");
    deploy.write("bad.json", "{\"name\": 5}");
    daemon.signal("-HUP");
    eventually("the file is read", || why("bad", &[]).1.starts_with("bad does not run"));
    let (code, out, _) = why("bad", &[]);
    assert!(code == Some(1) && out.starts_with("bad does not run: its descriptor "), "{out}");
    assert!(out.contains("name: expected a string") && out.contains("next: it is read again when "), "{out}");
    let (code, out, _) = why("db", &[]);
    assert!(code == Some(1) && out.starts_with("db does not run: its descriptor "), "{out}");
    let (_, out, _) = why("down", &["--json"]);
    let body: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&body["state"], &body["causes"][0]["kind"]),
        (&Value::from("down"), &Value::from("error")),
        "{body}"
    );
    assert_eq!(body, {
        let mut again = daemon.get("/why/down");
        for key in ["at", "sentence", "causes", "next", "gives_up"] {
            again[key] = body[key].clone();
        }
        if body["gives_up"].is_null() {
            again.as_object_mut().unwrap().remove("gives_up");
        }
        again
    });
    let (code, _, err) = why("nobody", &[]);
    assert!(
        code == Some(1) && err.contains("no loop is called \"nobody\", expected ") && err.contains("(404)"),
        "{err}"
    );
    daemon.stop();
    drop(deploy);
}

#[test]
fn every_command_fits_a_narrow_terminal_of_any_locale_and_ends_with_its_pipe() {
    let evil = r#"{"exec": {"command": ["sh", "-c", "printf 'gr\u00f6\u00dfe \u202e\\033[31m'; exit 1"]}}"#;
    let behind = tcp("behind", free_port()).replacen('{', r#"{"requires": ["evil"], "#, 1);
    let (mut daemon, deploy, _up) = daemon(&[("evil.json", watcher("evil", evil)), ("behind.json", behind)]);
    daemon.eventually_is("evil", "down");
    let url = format!("http://{}", daemon.address);
    let dir = deploy.path().to_str().unwrap().to_owned();
    let file = format!("{dir}/evil.json");
    for (args, fits) in [
        (&["status", "--url", &url][..], true),
        (&["why", "evil", "--url", &url], true),
        (&["why", "behind", "--url", &url], true),
        (&["events", "--url", &url], true),
        (&["probe", &file], false),
        (&["explain", "--url", &url], false),
        (&["check", "--deploy", &dir], false),
        (&["types", "watcher"], false),
        (&["help", "run"], false),
        (&["help", "--man"], false),
    ] {
        let (code, text) = on_a_terminal(args, 40, &[("TERM", "xterm"), ("NO_COLOR", "1")]);
        assert!(matches!(code, Some(0 | 1)) && !text.is_empty(), "{args:?}: {code:?} {text}");
        assert!(text.is_ascii() && !text.contains('\x1b'), "{args:?}: {text:?}");
        let widest = text.lines().map(str::len).max().unwrap_or(0);
        assert!(!fits || widest <= 40, "{args:?}: {widest} in {text}");
        let (_, text) = on_a_terminal(args, 40, &[("TERM", "xterm"), ("LANG", "C.UTF-8")]);
        assert!(!text.contains('\u{202e}') && !text.contains("\x1b[31m\n"), "{args:?}: {text:?}");
        // Nobody reads: the same end, and not a word about it.
        let (reads, writes) = UnixStream::pair().unwrap();
        drop(reads);
        let child = loopkeeper(args).stdout(OwnedFd::from(writes)).stderr(Stdio::piped()).spawn().unwrap();
        assert_eq!(
            ended(&child.wait_with_output().unwrap()),
            (code, String::new(), String::new()),
            "{args:?}"
        );
        // Nor can it be written: that is said, once.
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let (code, _, err) = ended(&loopkeeper(args).stdout(full).output().unwrap());
        assert_eq!(code, Some(1), "{args:?}: {err}");
        let said = "loopkeeper: the answer cannot be written: No space left on device (os error 28)\n";
        assert_eq!(err, said, "{args:?}");
    }
    daemon.stop();
}

#[test]
fn status_can_be_watched() {
    let (mut daemon, _deploy, _up) = daemon(&[]);
    let url = format!("http://{}", daemon.address);
    let mut follower = Follower::start(&["status", "--watch", "--interval", "100ms", "--url", &url]);
    for _ in 0..3 {
        follower.reads("ready: ");
        follower.reads("NAME");
    }
    kill("-INT", follower.child.id());
    assert_eq!(follower.code(), Some(0));
    daemon.stop();
    let gone = run_to_end(&["status", "--watch", "--url", &url]);
    assert_eq!(gone.0, Some(69), "{}", gone.2);
}

#[test]
fn check_marks_the_column_on_a_terminal() {
    let dir = TempDir::new("caret");
    dir.write("a.json", tcp("a", 1).replace("\"backoff\"", "\"backof\""));
    let args = ["check", "--deploy", dir.path().to_str().unwrap()];
    let (code, text) = on_a_terminal(&args, 200, &[]);
    assert_eq!(code, Some(1), "{text}");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    let mark = lines[2].find('^').unwrap();
    assert!(lines[1][mark..].starts_with("\"backof\"") || lines[1][mark..].starts_with('{'), "{text}");
    assert_eq!(run_to_end(&args).1.lines().count(), 1);
}

#[test]
fn init_writes_what_passes_the_check() {
    let dir = TempDir::new("init");
    let new = dir.path().join("new folder");
    let new = new.to_str().unwrap();
    let (code, out, err) = run_to_end(&["init", new]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.contains("README.md, then: loopkeeper run --config"), "{out}");
    let config = format!("{new}/loopkeeper.json");
    assert_eq!(run_to_end(&["check", "--config", &config]).1, "ok: 4 components, 3 of them disabled\n");
    // With all of it enabled, too.
    for name in ["broker", "web", "backup"] {
        let file = format!("{new}/deploy/{name}.json");
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(file, text.replace("\"enabled\": false", "\"enabled\": true")).unwrap();
    }
    assert_eq!(run_to_end(&["check", "--config", &config]).1, "ok: 4 components\n");
    let (code, _, err) = run_to_end(&["init", new]);
    assert!(code == Some(1) && err.contains("is not empty; name one that is"), "{err}");
    let (code, _, err) = run_to_end(&["init", &config]);
    assert!(code == Some(1) && err.contains("loopkeeper.json: "), "{err}");
    // A disk that is full, more or less: nothing is left in the way.
    let full = dir.path().join("full");
    let script = "trap '' XFSZ; ulimit -f 0; exec \"$0\" init \"$1\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_loopkeeper")]).arg(&full);
    let (code, _, err) = ended(&command.output().unwrap());
    assert!(code == Some(1) && err.contains("full: File too large"), "{err}");
    assert!(!full.exists());
}

/// What of JSON Schema the descriptors need, so that the test needs no other
/// program: says where a value is not as it should be.
fn flaws(schema: &Value, value: &Value, root: &Value, at: &str, found: &mut Vec<String>) {
    let is_right = |schema: &Value| {
        let mut found = Vec::new();
        flaws(schema, value, root, at, &mut found);
        found.is_empty()
    };
    for (key, rule) in schema.as_object().unwrap() {
        let ok = match key.as_str() {
            "$ref" => is_right(root.pointer(rule.as_str().unwrap().trim_start_matches('#')).unwrap()),
            "type" => match rule.as_str().unwrap() {
                "object" => value.is_object(),
                "array" => value.is_array(),
                "string" => value.is_string(),
                "boolean" => value.is_boolean(),
                "integer" => value.is_u64() || value.is_i64(),
                "number" => value.is_number(),
                other => panic!("unknown type {other}"),
            },
            "const" => value == rule,
            "enum" => rule.as_array().unwrap().contains(value),
            "minimum" => value.as_f64().is_none_or(|n| n >= rule.as_f64().unwrap()),
            "maximum" => value.as_f64().is_none_or(|n| n <= rule.as_f64().unwrap()),
            "minProperties" => value.as_object().is_none_or(|o| o.len() as u64 >= rule.as_u64().unwrap()),
            "maxProperties" => value.as_object().is_none_or(|o| o.len() as u64 <= rule.as_u64().unwrap()),
            "required" => {
                rule.as_array().unwrap().iter().all(|key| value.get(key.as_str().unwrap()).is_some())
            }
            "additionalProperties" if *rule == false => {
                let known = &schema["properties"];
                value.as_object().is_none_or(|o| o.keys().all(|key| known.get(key).is_some()))
            }
            "additionalProperties" => {
                value
                    .as_object()
                    .into_iter()
                    .flatten()
                    .for_each(|(key, value)| flaws(rule, value, root, key, found));
                true
            }
            "properties" => {
                for (key, rule) in rule.as_object().unwrap() {
                    if let Some(value) = value.get(key) {
                        flaws(rule, value, root, &format!("{at}.{key}"), found);
                    }
                }
                true
            }
            "items" => {
                value.as_array().into_iter().flatten().for_each(|value| flaws(rule, value, root, at, found));
                true
            }
            "anyOf" => rule.as_array().unwrap().iter().any(is_right),
            "oneOf" => rule.as_array().unwrap().iter().filter(|rule| is_right(rule)).count() == 1,
            "$schema" | "$defs" | "title" | "description" | "default" | "pattern" => true,
            other => panic!("unknown rule {other}"),
        };
        if !ok {
            found.push(format!("{at}: {key} {rule}: {value}"));
        }
    }
}

#[test]
fn every_example_is_as_the_schema_says() {
    let (code, out, _) = run_to_end(&["types", "--json-schema"]);
    assert_eq!(code, Some(0));
    let schema: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    let dir = TempDir::new("schema");
    let new = dir.path().join("new");
    assert_eq!(run_to_end(&["init", new.to_str().unwrap()]).0, Some(0));
    let examples = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let folders =
        [examples.join("appliance/deploy"), examples.join("cluster_monitor/deploy"), new.join("deploy")];
    let mut n = 0;
    for file in folders.iter().flat_map(|folder| std::fs::read_dir(folder).unwrap()) {
        let file = file.unwrap().path();
        let value: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        // Types of the example's own program are none of ours.
        if !schema["properties"]["type"]["enum"].as_array().unwrap().contains(&value["type"]) {
            continue;
        }
        let mut found = Vec::new();
        flaws(&schema, &value, &schema, "", &mut found);
        assert!(found.is_empty(), "{}: {found:#?}", file.display());
        n += 1;
    }
    assert!(n >= 10, "{n}");
    let wrong =
        serde_json::json!({"name": "a", "type": "watcher", "config": {"probe": {"tcp": {"adress": "x"}}}});
    let mut found = Vec::new();
    flaws(&schema, &wrong, &schema, "", &mut found);
    assert!(!found.is_empty());
}

#[test]
fn the_man_page_renders_without_a_warning() {
    let (code, page, _) = run_to_end(&["help", "--man"]);
    assert_eq!(code, Some(0));
    let dir = TempDir::new("man");
    let file = dir.write("loopkeeper.1", &page);
    let groff = Command::new("groff").args(["-man", "-Tascii", "-ww"]).arg(&file).output();
    let Ok(groff) = groff else { return eprintln!("skipped: there is no groff") };
    let (code, text, err) = ended(&groff);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(text.contains("LOOPKEEPER_TOKEN"), "{text}");
    let lint = Command::new("mandoc").arg("-Tlint").arg(&file).output();
    let Ok(lint) = lint else { return eprintln!("skipped: there is no mandoc") };
    // It has a date from its release on.
    let flaws = String::from_utf8(lint.stdout).unwrap();
    let flaws: Vec<&str> = flaws.lines().filter(|line| !line.contains("missing date")).collect();
    assert!(flaws.is_empty() && lint.stderr.is_empty(), "{flaws:#?}");
}

#[test]
fn what_is_in_force_is_explained_by_who_has_it() {
    let (mut daemon, _deploy, _up) = daemon(&[]);
    let url = format!("http://{}", daemon.address);
    let (code, out, err) = run_to_end(&["explain", "http.listen", "--url", &url]);
    assert_eq!(
        (code, out.as_str(), err.as_str()),
        (Some(0), "http.listen = \"127.0.0.1:0\" (--listen)\n", "")
    );
    let set = format!("http.listen={}", daemon.address);
    let (_, out, _) = run_to_end(&["explain", "http", "--running", "--set", &set, "--json"]);
    let token = out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let token = token.into_iter().find(|one| one["key"] == "http.token").unwrap();
    assert_eq!(token["value"], "<secret>", "{out}");
    assert!(!out.contains("right-token"), "{out}");
    assert_eq!(run_to_end(&["explain", "htpp", "--url", &url]).0, Some(2));
    daemon.stop();
    assert_eq!(run_to_end(&["explain", "--url", &url]).0, Some(69));
}

#[test]
fn the_token_of_the_settings_goes_to_who_is_to_act_and_to_nobody_who_is_only_asked() {
    let service = Service::scripted(vec![Reply::status(404, "nothing is here")]);
    let url = service.url();
    let sent = |args: &[&str]| {
        let before = service.asked().len();
        let all = [args, &["--set", "http.token=t0psecret", "--url", &url]].concat();
        let (_, out, err) = run_to_end(&all);
        assert!(!out.contains("t0psecret") && !err.contains("t0psecret"), "{args:?}: {out}{err}");
        let asked = service.asked().split_off(before);
        assert!(!asked.is_empty(), "{args:?}: {err}");
        asked.iter().filter_map(|asked| asked.header("authorization").map(str::to_owned)).collect::<Vec<_>>()
    };
    for args in [&["status"][..], &["why", "a"], &["events"], &["explain", "http"], &["recovery", "list"]] {
        assert!(sent(args).is_empty(), "{args:?}");
    }
    let right = ["Bearer t0psecret"];
    for args in [
        &["trigger", "a"][..],
        &["rescan"],
        &["recovery", "cancel", "run-1"],
        &["recovery", "retry", "run-1"],
    ] {
        assert_eq!(sent(args), right, "{args:?}");
    }
}

#[test]
fn every_setting_stands_in_the_help() {
    let (_, help, _) = run_to_end(&["run", "--help"]);
    let begin = help.find("{\"logging\"").unwrap();
    let mut shown = serde_json::Deserializer::from_str(&help[begin..]).into_iter::<Value>();
    let shown = shown.next().unwrap().unwrap();
    let (_, out, _) = run_to_end(&["explain", "--json"]);
    assert!(out.lines().count() >= 12, "{out}");
    for line in out.lines() {
        let setting: Value = serde_json::from_str(line).unwrap();
        let key = setting["key"].as_str().unwrap();
        let found = key.split('.').try_fold(&shown, |at, part| at.get(part));
        match (key, found) {
            // Better in a file, and shown as that; or told in words.
            ("http.token" | "store.url_file", None) | ("store.url", Some(_)) => {}
            ("monitor.poll_period", Some(found)) => assert_eq!(found, "60s"),
            (_, Some(found)) => assert_eq!(found, &setting["value"], "{key}"),
            (_, None) => panic!("{key} is not in the help"),
        }
    }
}
