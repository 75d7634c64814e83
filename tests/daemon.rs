//! The program as people run it: files in, signals, HTTP, a log, exit codes.

#![allow(clippy::unwrap_used, reason = "test code: what cannot be set up is a failed test")]

#[path = "daemon/alerts.rs"]
mod alerts;
#[path = "daemon/cluster.rs"]
mod cluster;
#[path = "daemon/commands.rs"]
mod commands;
#[cfg(feature = "test-util")]
#[path = "daemon/fleet.rs"]
mod fleet;
#[path = "daemon/monitor.rs"]
mod monitor;
#[path = "daemon/recovery.rs"]
mod recovery;
#[path = "daemon/service.rs"]
mod service;
#[path = "daemon/status.rs"]
mod status;
mod support;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use support::{PATIENCE, TempDir, eventually, free_port, in_time, pause};

/// The program with these arguments and no environment but a path.
fn loopkeeper(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loopkeeper"));
    command.args(args).env_clear().env("PATH", "/usr/bin:/bin").stdin(Stdio::null());
    command
}

/// What a run that ends by itself ends with: its code and what it printed.
fn ended(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn run_to_end(args: &[&str]) -> (Option<i32>, String, String) {
    ended(&loopkeeper(args).output().unwrap())
}

/// Sends a signal by the shell's own `kill`: a small system has no other.
fn kill(signal: &str, pid: u32) {
    let sent = Command::new("sh").args(["-c", "kill \"$0\" \"$1\"", signal, &pid.to_string()]).status();
    assert!(sent.unwrap().success(), "{signal} {pid}");
}

/// A descriptor of a watcher that asks a port often.
fn tcp(name: &str, port: u16) -> String {
    watcher(name, &format!(r#"{{"tcp": {{"address": "127.0.0.1:{port}"}}}}"#))
}

fn watcher(name: &str, probe: &str) -> String {
    format!(
        r#"{{"name": "{name}", "type": "watcher", "config": {{"probe": {probe},
            "backoff": {{"initial_delay": "20ms", "max_delay": "20ms", "poll_interval": "20ms",
                         "probe_timeout": "500ms"}}}}}}"#
    )
}

/// A running daemon with its log in a file; killed on drop.
struct Daemon {
    child: Child,
    log: TempDir,
    address: String,
}

impl Daemon {
    /// Runs what the folder describes, on a free port.
    fn start(deploy: &TempDir, args: &[&str]) -> Self {
        let dir = deploy.path().to_str().unwrap();
        let args: Vec<&str> =
            ["run", "--deploy", dir, "--listen", "127.0.0.1:0"].iter().chain(args).copied().collect();
        Self::spawn(&mut loopkeeper(&args))
    }

    fn spawn(command: &mut Command) -> Self {
        let log = TempDir::new("log");
        let file = File::create(log.path().join("stderr")).unwrap();
        let child = command.stdout(Stdio::null()).stderr(file).spawn().unwrap();
        let mut daemon = Self { child, log, address: String::new() };
        eventually("it says where it listens", || {
            let text = daemon.log();
            let told = text.split_once("listening on http://").map(|(_, rest)| rest);
            let told = told.and_then(|rest| rest.split_once(['\n', '"'])).map(|(address, _)| address);
            daemon.address = told.unwrap_or_default().to_owned();
            !daemon.address.is_empty()
        });
        daemon
    }

    fn log(&self) -> String {
        fs::read_to_string(self.log.path().join("stderr")).unwrap()
    }

    fn ask(&self, request: &str, headers: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let host = &self.address;
        write!(stream, "{request} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), body.to_owned())
    }

    fn text(&self, path: &str) -> String {
        let (status, body) = self.ask(&format!("GET {path}"), "");
        assert_eq!(status, 200, "{body}");
        body
    }

    fn get(&self, path: &str) -> Value {
        let body = self.text(path);
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"))
    }

    fn post(&self, path: &str, headers: &str) -> u16 {
        self.ask(&format!("POST {path}"), headers).0
    }

    /// What `/status` says of one loop.
    fn status(&self, name: &str) -> Value {
        let status = self.get("/status");
        let loops = status["loops"].as_array().unwrap();
        loops.iter().find(|status| status["name"] == name).unwrap_or(&Value::Null).clone()
    }

    #[track_caller]
    fn eventually_is(&self, name: &str, state: &str) {
        eventually(&format!("{name} is {state}"), || self.status(name)["state"] == state);
    }

    /// The state of every watcher, by name.
    fn watchers(&self) -> BTreeMap<String, String> {
        let status = self.get("/status");
        let loops = status["loops"].as_array().unwrap().iter();
        let watchers = loops.filter(|status| status["kind"] == "watcher");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        watchers.map(|status| (text(&status["name"]), text(&status["state"]))).collect()
    }

    /// What happened to one watcher, in order.
    fn events(&self, name: &str) -> Vec<String> {
        let events = self.get("/events?after=0&max=4096");
        let events = events["events"].as_array().unwrap().iter();
        let events = events.filter(|event| event["source"] == name && event["kind"] == "watcher");
        events.map(|event| event["event"].as_str().unwrap().to_owned()).collect()
    }

    /// What was done about the folder, in order.
    fn deployments(&self) -> Vec<String> {
        let events = self.get("/events?after=0&max=4096");
        let events = events["events"].as_array().unwrap().iter();
        let events = events.filter(|event| event["kind"] == "deployer" && event["component"] == "a");
        events.map(|event| event["event"].as_str().unwrap().to_owned()).collect()
    }

    fn signal(&self, signal: &str) {
        kill(signal, self.child.id());
    }

    #[track_caller]
    fn exit(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("it ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    /// Stops it as the system does; it must end cleanly.
    #[track_caller]
    fn stop(&mut self) {
        self.signal("-TERM");
        assert_eq!(self.exit().code(), Some(0), "{}", self.log());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn short(dir: &Path, text: &str) -> String {
    text.replace(&format!("{}/", dir.display()), "")
}

#[test]
fn check_prints_one_line_for_each_mistake() {
    let dir = TempDir::new("check");
    dir.write("good.json", tcp("good", 1));
    dir.write("a.json", "{\"name\": \"a\",\n \"type\": \"wacher\", \"config\": {}}");
    dir.write("b.json", tcp("good", 1));
    dir.write("c\n.json", tcp("c", 1).replace("\"max_delay\"", "\"max_deley\""));
    let (code, out, err) = run_to_end(&["check", "--deploy", dir.path().to_str().unwrap()]);
    assert_eq!(
        short(dir.path(), &out),
        "a.json:2:10: type: unknown type \"wacher\", did you mean \"watcher\"?\n\
         c\\n.json:2:50: config.backoff: unknown field \"max_deley\", did you mean \"max_delay\"?\n\
         good.json:1:10: name: good is taken, first at b.json:1:10\n"
    );
    assert_eq!((code, &*err), (Some(1), ""));
}

#[test]
fn check_counts_what_is_right() {
    let dir = TempDir::new("check");
    dir.write("deploy/a.json", tcp("a", 1));
    let file = dir.write("loopkeeper.json", "{}");
    let args = ["check", "--config", file.to_str().unwrap()];
    assert_eq!(run_to_end(&args), (Some(0), "ok: 1 component\n".to_owned(), String::new()));
    dir.write("deploy/b.json", tcp("b", 1).replace("\"config\"", "\"enabled\": false, \"config\""));
    assert_eq!(run_to_end(&args).1, "ok: 2 components, 1 of them disabled\n");
}

#[test]
fn check_looks_at_what_files_require_of_each_other_and_run_starts_the_rest() {
    let deploy = TempDir::new("requires");
    let requires = |name: &str, others: &str| {
        tcp(name, 1).replace("\"config\"", &format!("\"requires\": [{others}], \"config\""))
    };
    deploy.write("a.json", requires("a", "\"b\""));
    deploy.write("b.json", requires("b", "\"a\""));
    deploy.write("c.json", requires("c", "\"well2\""));
    deploy.write("well.json", tcp("well1", free_port()));
    let (code, out, _) = run_to_end(&["check", "--deploy", deploy.path().to_str().unwrap()]);
    let circle = "requires[0]: components require each other in a circle: a -> b -> a";
    assert_eq!(
        short(deploy.path(), &out),
        format!(
            "a.json:1:47: {circle}\nb.json:1:47: {circle}\n\
             c.json:1:47: requires[0]: no component is called \"well2\", did you mean \"well1\"?\n"
        )
    );
    assert_eq!(code, Some(1));
    let mut daemon = Daemon::start(&deploy, &[]);
    daemon.eventually_is("well1", "down");
    eventually("the circle is told", || daemon.log().contains("in a circle: a -> b -> a"));
    daemon.stop();
}

#[test]
fn help_teaches_and_versions_are_told() {
    for args in [
        &["help"][..],
        &["--help"],
        &["help", "run"],
        &["help", "types"],
        &["help", "explain"],
        &["help", "fleet"],
        &["run", "--help"],
        &["check", "-h"],
    ] {
        let (code, out, err) = run_to_end(args);
        assert_eq!((code, &*err), (Some(0), ""));
        assert!(out.contains("$ loopkeeper "), "{out}");
    }
    assert_eq!(run_to_end(&["--version"]).1, format!("loopkeeper {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn types_are_explained_from_what_reads_them() {
    let (code, out, err) = run_to_end(&["types", "watcher"]);
    assert_eq!((code, &*err), (Some(0), ""));
    for part in ["  probe.http.url\n", "  probe.exec.command\n", "  backoff.jitter\n", "0.1 when absent"] {
        assert!(out.contains(part), "{part}: {out}");
    }
    assert!(run_to_end(&["types"]).1.ends_with(&out));
    let (code, out, err) = run_to_end(&["types", "wacher"]);
    assert_eq!((code, &*out), (Some(2), ""));
    assert_eq!(
        err,
        "loopkeeper: unknown type \"wacher\", did you mean \"watcher\"?\nsee: loopkeeper help types\n"
    );
}

#[test]
fn settings_are_explained_with_where_they_come_from() {
    let dir = TempDir::new("explain");
    dir.write("token", "t0psecret");
    let file = dir.write("a.json", r#"{"http": {"token_file": "token"}, "shutdown_timeout": "9s"}"#);
    let mut command =
        loopkeeper(&["explain", "--config", file.to_str().unwrap(), "--set", "logging.source=true"]);
    command.env("LOOPKEEPER_LOGGING__LEVEL", "warn");
    let (code, out, err) = ended(&command.output().unwrap());
    assert_eq!((code, &*err), (Some(0), ""));
    let out = short(dir.path(), &out);
    for line in [
        "config.watch_interval = \"2s\" (default)\n",
        "http.token = \"<secret>\" (token)\n",
        "shutdown_timeout = \"9s\" (a.json:1:55)\n",
        "logging.level = \"warn\" (env LOOPKEEPER_LOGGING__LEVEL)\n",
        "logging.source = \"true\" (--set)\n",
    ] {
        assert!(out.contains(line), "{line}{out}");
    }
    assert_eq!(run_to_end(&["explain", "http.listen"]).1, "http.listen = \"127.0.0.1:8470\" (default)\n");
    assert_eq!(run_to_end(&["explain", "http.token"]).1, "http.token = null (default)\n");
    assert_eq!(run_to_end(&["explain", "deploy"]).1.lines().count(), 2);
    for (key, expected) in [
        ("htpp", "did you mean \"http\"?\n"),
        ("http.lisen", "did you mean \"http.listen\"?\n"),
        ("nothing", "expected one of "),
    ] {
        let (code, _, err) = run_to_end(&["explain", key]);
        assert_eq!(code, Some(2));
        assert!(err.starts_with(&format!("loopkeeper: no setting {key:?}, {expected}")), "{err}");
    }
    let (code, _, err) = run_to_end(&["explain", "--set", "x=1"]);
    assert_eq!(
        (code, &*err),
        (
            Some(78),
            "--set: unknown field \"x\", expected \"logging\", \"http\", \"deploy\", \"config\", \"store\", \"monitor\", \"alerts\" or \"shutdown_timeout\"\n"
        )
    );
}

#[test]
fn a_command_line_without_sense_is_a_usage_error() {
    for args in [&[][..], &["start"], &["run", "--lisen", "x"], &["run", "--set", "x"], &["check", "x"]] {
        let (code, out, err) = run_to_end(args);
        assert_eq!((code, &*out), (Some(2), ""), "{args:?}");
        assert!(err.starts_with("loopkeeper: ") && err.contains("expected"), "{err}");
    }
}

#[test]
fn a_wrong_configuration_is_told_whole_and_nothing_starts() {
    let dir = TempDir::new("bad");
    dir.write("deploy/a.json", "");
    let file = dir.write("loopkeeper.json", "{\"htpp\": {}}");
    let mut command = loopkeeper(&["run", "--config", file.to_str().unwrap(), "--set", "shutdown_timeout=0"]);
    command.env("LOOPKEEPER_LOGGING__SOURCE", "maybe");
    let (code, out, err) = ended(&command.output().unwrap());
    assert_eq!(
        short(dir.path(), &err),
        "--set: shutdown_timeout: must be more than zero, found the string \"0\"\n\
         deploy/a.json:1:1: is empty\n\
         loopkeeper.json:1:2: unknown field \"htpp\", did you mean \"http\"?\n\
         env LOOPKEEPER_LOGGING__SOURCE: logging.source: expected true or false, found the string \"maybe\"\n"
    );
    assert_eq!((code, &*out), (Some(78), ""));

    let missing = dir.path().join("missing");
    let (code, _, err) = run_to_end(&["run", "--deploy", missing.to_str().unwrap()]);
    assert_eq!(code, Some(78));
    assert_eq!(
        short(dir.path(), &err),
        "missing: cannot be read as the folder of descriptors: No such file or directory (os error 2)\n"
    );
}

#[test]
fn a_port_that_is_taken_is_a_failed_start() {
    let deploy = TempDir::new("taken");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, _, err) =
        run_to_end(&["run", "--deploy", deploy.path().to_str().unwrap(), "--listen", &address]);
    assert_eq!(code, Some(1));
    assert!(err.contains(&address) && err.contains("in use"), "{err}");
}

#[test]
fn a_service_that_comes_and_goes_is_told() {
    let deploy = TempDir::new("comes-and-goes");
    let port = free_port();
    deploy.write("service.json", tcp("service", port));
    let mut daemon = Daemon::start(&deploy, &[]);
    daemon.eventually_is("service", "down");
    assert_eq!(daemon.status("service")["ready"], false);
    assert!(daemon.status("service")["last_error"].as_str().unwrap().contains("refused"));

    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    daemon.eventually_is("service", "ready");
    drop(listener);
    daemon.eventually_is("service", "down");
    let events = daemon.events("service");
    assert_eq!(events[..2], ["started", "down"]);
    assert_eq!(events[events.len() - 2..], ["ready", "down"]);
    let log = daemon.log();
    assert!(log.contains("WARN  loopkeeper::watcher::service: watcher service: down"), "{log}");
    assert!(log.contains("INFO  loopkeeper::watcher::service: watcher service: ready"), "{log}");
    daemon.stop();
}

#[test]
fn edits_of_the_folder_take_effect_while_it_runs() {
    let deploy = TempDir::new("edits");
    let listeners = [0, 1].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    let [first, second] = listeners.each_ref().map(|listener| listener.local_addr().unwrap().port());
    let mut daemon = Daemon::start(&deploy, &["--set", "deploy.scan_interval=30ms"]);
    // Each told once, in this order.
    let mut told = Vec::new();
    let mut tells = |daemon: &Daemon, event: &str| {
        told.push(event.to_owned());
        eventually(event, || daemon.deployments().len() >= told.len());
        assert_eq!(daemon.deployments(), told);
    };
    let broken = tcp("a", second).replace("\"config\"", "\"confg\"");
    let disabled = tcp("a", second).replace("\"config\"", "\"enabled\": false, \"config\"");

    deploy.put("a.json", &tcp("a", first));
    tells(&daemon, "deployed");
    daemon.eventually_is("a", "ready");
    assert_eq!(daemon.status("deployer")["state"], "ready");
    deploy.put("a.json", &tcp("a", second));
    tells(&daemon, "replaced");
    daemon.eventually_is("a", "ready");
    let since = daemon.status("a")["since"].clone();
    let tid = daemon.status("a")["thread"]["tid"].clone();
    deploy.put("a.json", &broken);
    tells(&daemon, "rejected");
    daemon.eventually_is("deployer", "degraded");
    let runs = daemon.status("a")["runs"].as_u64();
    eventually("a goes on", || daemon.status("a")["runs"].as_u64() > runs.map(|runs| runs + 2));
    assert_eq!((&daemon.status("a")["state"], &daemon.status("a")["since"]), (&"ready".into(), &since));
    assert!(daemon.log().contains("unknown field \"confg\", did you mean \"config\"?"), "{}", daemon.log());
    deploy.put("a.json", &tcp("a", second));
    daemon.eventually_is("deployer", "ready");
    fs::rename(deploy.path().join("a.json"), deploy.path().join("b.json")).unwrap();
    let runs = daemon.status("deployer")["runs"].as_u64();
    eventually("it looks again", || daemon.status("deployer")["runs"].as_u64() > runs.map(|runs| runs + 2));
    let status = daemon.status("a");
    assert_eq!(
        (&status["state"], &status["since"], &status["thread"]["tid"]),
        (&"ready".into(), &since, &tid)
    );
    deploy.put("b.json", &disabled);
    tells(&daemon, "undeployed");
    assert_eq!(daemon.status("a"), Value::Null);
    deploy.put("b.json", &tcp("a", first));
    tells(&daemon, "deployed");
    fs::remove_file(deploy.path().join("b.json")).unwrap();
    tells(&daemon, "undeployed");
    assert_eq!(daemon.status("a"), Value::Null);
    daemon.stop();
}

#[test]
fn a_hangup_makes_it_look_at_once() {
    let dir = TempDir::new("hangup");
    let often = |watch: &str| format!(r#"{{"config": {{"watch_interval": "{watch}"}}}}"#);
    let file = dir.write("loopkeeper.json", often("1h"));
    let deploy = TempDir::new("hangup");
    let config = ["--config", file.to_str().unwrap(), "--set", "deploy.scan_interval=1h"];
    let mut daemon = Daemon::start(&deploy, &config);
    daemon.eventually_is("deployer", "ready");
    daemon.eventually_is("config", "ready");
    deploy.put("a.json", &tcp("a", free_port()));
    dir.put("loopkeeper.json", &often("2h"));
    daemon.signal("-HUP");
    daemon.eventually_is("a", "down");
    eventually("the configuration is read", || daemon.status("config")["config"]["generation"] == 2);
    daemon.stop();
}

#[test]
fn edits_of_the_configuration_take_effect_while_it_runs() {
    let (dir, deploy) = (TempDir::new("live"), TempDir::new("live"));
    let file = |level: &str, more: &str| {
        format!(r#"{{"logging": {{"level": "{level}"}}, "config": {{"watch_interval": "30ms"}}{more}}}"#)
    };
    // As Kubernetes mounts it: a link behind a linked folder.
    dir.write("v1/loopkeeper.json", file("info", ""));
    symlink("v1", dir.path().join("..data")).unwrap();
    let path = dir.path().join("loopkeeper.json");
    symlink("..data/loopkeeper.json", &path).unwrap();
    deploy.write("a.json", tcp("a", free_port()));
    let config = ["--config", path.to_str().unwrap(), "--set", "deploy.scan_interval=1h"];
    let mut daemon = Daemon::start(&deploy, &config);
    daemon.eventually_is("config", "ready");
    daemon.eventually_is("a", "down");
    let told = |daemon: &Daemon| -> Vec<Value> {
        let events = daemon.get("/events?after=0&max=4096");
        let events = events["events"].as_array().unwrap().iter();
        let events = events.filter(|event| event["kind"] == "config");
        let events = events.filter(|event| event["event"] != "started" && event["event"] != "ready");
        events.cloned().collect()
    };
    let tells = |daemon: &Daemon, n: usize, what: &str| {
        eventually(what, || told(daemon).len() >= n);
        let events = told(daemon);
        assert_eq!((events.len(), &events[n - 1]["event"]), (n, &what.into()), "{events:?}");
        events[n - 1].clone()
    };
    let swap = |folder: &str| {
        symlink(folder, dir.path().join("..next")).unwrap();
        fs::rename(dir.path().join("..next"), dir.path().join("..data")).unwrap();
    };

    // The whole folder at once.
    dir.write("v2/loopkeeper.json", file("error", ""));
    swap("v2");
    let event = tells(&daemon, 1, "config_reloaded");
    assert_eq!(event["changed"], serde_json::json!(["logging.level"]));
    daemon.signal("-HUP");
    let runs = daemon.status("config")["runs"].as_u64();
    eventually("it looks", || daemon.status("config")["runs"].as_u64() > runs.map(|runs| runs + 2));
    assert!(!daemon.log().contains("SIGHUP"), "errors alone are logged now: {}", daemon.log());

    // Broken: told once, and all stays as it is.
    let in_force = daemon.status("config")["config"]["hash"].clone();
    dir.write("v3/loopkeeper.json", file("loud", ""));
    swap("v3");
    let event = tells(&daemon, 2, "config_rejected");
    let error = event["error"].as_str().unwrap();
    assert!(error.contains("loopkeeper.json:1:23: logging.level: expected \"debug\", \"info\""), "{error}");
    let status = daemon.status("config");
    assert_eq!(status["state"], "degraded");
    assert_eq!(
        (&status["config"]["hash"], &status["config"]["generation"], &status["config"]["applied"]),
        (&in_force, &2.into(), &false.into())
    );
    daemon.eventually_is("a", "down");

    // What is read at the start only is said to be.
    dir.write("v4/loopkeeper.json", file("info", ""));
    swap("v4");
    tells(&daemon, 3, "config_reloaded");
    dir.write("v5/loopkeeper.json", file("info", r#", "http": {"allowed_hosts": ["box.lan"]}"#));
    swap("v5");
    let event = tells(&daemon, 4, "config_reloaded");
    assert_eq!(event["needs_restart"], serde_json::json!(["http.allowed_hosts"]));
    let status = daemon.status("config");
    assert_eq!(status["config"]["needs_restart"], serde_json::json!(["http.allowed_hosts"]));
    assert_eq!(status["config"]["source"], path.to_str().unwrap());
    eventually("it is said", || daemon.log().contains("takes effect at the next start: http.allowed_hosts"));
    let shown = daemon.get("/config");
    let hosts = &shown["values"]["http"]["allowed_hosts"];
    assert_eq!((&shown["generation"], hosts), (&4.into(), &serde_json::json!(["box.lan"])));
    daemon.stop();
}

#[test]
fn who_has_the_token_may_act_and_nobody_sees_it() {
    let (dir, deploy) = (TempDir::new("token"), TempDir::new("token"));
    dir.write("token", "f1rst-token\n");
    let file = dir.write(
        "loopkeeper.json",
        r#"{"http": {"token_file": "token"}, "config": {"watch_interval": "30ms"}, "deploy": {"scan_interval": "1h"}}"#,
    );
    let config = ["--config", file.to_str().unwrap(), "--log-level", "debug"];
    let mut daemon = Daemon::start(&deploy, &config);
    daemon.eventually_is("deployer", "ready");
    let port = free_port();
    let slow = tcp("a", port).replace("\"20ms\"", "\"1h\"");
    deploy.put("a.json", &slow);
    assert_eq!(daemon.post("/deploy/rescan", "Authorization: Bearer wrong\r\n"), 401);
    assert_eq!(daemon.post("/deploy/rescan", ""), 401);
    assert_eq!(daemon.status("a"), Value::Null);
    let first = "Authorization: Bearer f1rst-token\r\n";
    assert_eq!(daemon.post("/deploy/rescan", first), 202);
    daemon.eventually_is("a", "down");
    let _listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    assert_eq!(daemon.post("/trigger/b", first), 404);
    assert_eq!(daemon.post("/trigger/a", first), 202);
    daemon.eventually_is("a", "ready");

    // Another token counts from the moment it is in its file.
    dir.put("token", "s3cond-token");
    let second = "Authorization: Bearer s3cond-token\r\n";
    eventually("the new token counts", || daemon.post("/trigger/a", second) == 202);
    assert_eq!(daemon.post("/trigger/a", first), 401);
    for page in ["/", "/status", "/config", "/events?after=0&max=4096"] {
        let text = daemon.text(page);
        assert!(!text.contains("f1rst") && !text.contains("s3cond"), "{text}");
    }
    assert!(daemon.text("/config").contains(r#""token":"<secret>""#));
    daemon.stop();
    let log = daemon.log();
    assert!(!log.contains("f1rst") && !log.contains("s3cond"), "{log}");

    let mut daemon = Daemon::start(&deploy, &[]);
    assert_eq!(daemon.post("/deploy/rescan", first), 404);
    daemon.stop();
}

#[test]
fn what_waits_is_shown_and_as_critical_as_it_is() {
    let deploy = TempDir::new("waits");
    let port = free_port();
    let requiring = |text: String| text.replace("\"type\"", "\"requires\": [\"a\"], \"type\"");
    let optional = |text: String| text.replace("\"backoff\"", "\"critical\": false, \"backoff\"");
    deploy.write("a.json", optional(tcp("a", port)));
    deploy.write("b.json", optional(requiring(tcp("b", port))));
    let mut daemon = Daemon::start(&deploy, &[]);
    daemon.eventually_is("a", "down");
    eventually("b is there", || !daemon.status("b").is_null());
    let b = daemon.status("b");
    assert_eq!(
        (&b["kind"], &b["phase"], &b["ready"]),
        (&"component".into(), &"starting".into(), &false.into())
    );
    // Nothing critical is down.
    assert_eq!(daemon.get("/status")["health"], "degraded");
    let _listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    daemon.eventually_is("b", "ready");
    assert_eq!(daemon.status("b")["kind"], "watcher");
    daemon.stop();
}

#[test]
fn what_waits_is_not_hidden_by_a_loop_of_the_same_name() {
    let deploy = TempDir::new("names");
    let requiring = |text: String| text.replace("\"type\"", "\"requires\": [\"a\"], \"type\"");
    deploy.write("a.json", tcp("a", free_port()).replace("\"backoff\"", "\"critical\": false, \"backoff\""));
    deploy.write("b.json", requiring(tcp("config", free_port())));
    let mut daemon = Daemon::start(&deploy, &[]);
    daemon.eventually_is("a", "down");
    let kinds = || {
        let status = daemon.get("/status");
        let loops = status["loops"].as_array().unwrap().iter().filter(|status| status["name"] == "config");
        loops.map(|status| status["kind"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    eventually("both are there", || kinds() == ["component", "config"]);
    assert_eq!(daemon.ask("GET /readyz", "").0, 503, "what waits is critical");
    daemon.stop();
}

#[test]
fn a_server_that_never_answers_is_down_at_its_timeout_and_disturbs_nobody() {
    let deploy = TempDir::new("silent");
    // The kernel accepts for it; nobody ever answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    deploy.write(
        "silent.json",
        watcher("silent", &format!(r#"{{"http": {{"url": "http://127.0.0.1:{port}/"}}}}"#)),
    );
    deploy.write("lively.json", tcp("lively", port));
    let mut daemon = Daemon::start(&deploy, &[]);
    daemon.eventually_is("lively", "ready");
    daemon.eventually_is("silent", "down");
    assert!(daemon.status("lively")["runs"].as_u64() > Some(5), "{}", daemon.status("lively"));
    assert_eq!(daemon.events("lively"), ["started", "ready"]);
    daemon.stop();
}

#[test]
fn the_example_appliance_is_right_and_runs() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/appliance/loopkeeper.json");
    assert_eq!(run_to_end(&["check", "--config", example]).1, "ok: 6 components\n");
    let mut command = loopkeeper(&["run", "--config", example, "--listen", "127.0.0.1:0"]);
    let mut daemon = Daemon::spawn(&mut command);
    for name in ["backup", "backup-age", "disk"] {
        daemon.eventually_is(name, "ready");
    }
    // What is stuck is shown with what it does and for how long.
    let url = format!("http://{}", daemon.address);
    let slow = || {
        let (_, out, _) = run_to_end(&["status", "--url", &url]);
        out.lines().find(|line| line.starts_with("slow ")).unwrap_or_default().to_owned()
    };
    eventually("a second has passed", || slow().contains(" for 1s"));
    let line = slow();
    assert!(line.contains("unknown") && line.contains("running sleep (pid "), "{line}");
    daemon.stop();
}

#[test]
fn it_stops_cleanly_when_the_system_or_a_person_says_so() {
    let deploy = TempDir::new("stops");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    deploy.write("a.json", tcp("a", listener.local_addr().unwrap().port()));
    deploy.write("b.json", tcp("b", free_port()));
    deploy.write("c.json", tcp("c", 1).replace("\"config\"", "\"enabled\": false, \"config\""));
    for signal in ["-TERM", "-INT"] {
        let mut daemon = Daemon::start(&deploy, &[]);
        daemon.eventually_is("a", "ready");
        assert_eq!(daemon.status("c"), Value::Null);
        assert!(daemon.log().contains("2 components (1 disabled)"), "{}", daemon.log());
        daemon.signal("-HUP");
        eventually("the hang-up is told", || daemon.log().contains("SIGHUP"));
        daemon.signal(signal);
        assert_eq!(daemon.exit().code(), Some(0), "{}", daemon.log());
        assert!(daemon.log().contains("loopkeeper::daemon::run: stopped"), "{}", daemon.log());
        assert!(TcpStream::connect(&daemon.address).is_err());
    }
}

#[test]
fn a_log_that_nobody_reads_holds_up_nothing() {
    let deploy = TempDir::new("stuck");
    deploy.write("a.json", tcp("a", free_port()));
    let args = ["run", "--deploy", deploy.path().to_str().unwrap(), "--listen", "none"];
    let (mut reads, mut writes) = UnixStream::pair().unwrap();
    let theirs = OwnedFd::from(writes.try_clone().unwrap());
    let child = loopkeeper(&args).stdout(Stdio::null()).stderr(theirs).spawn().unwrap();
    let mut daemon = Daemon { child, log: TempDir::new("log"), address: String::new() };
    reads.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut log = Vec::new();
    while !String::from_utf8_lossy(&log).contains("listening") {
        let mut part = [0; 1024];
        let n = reads.read(&mut part).unwrap();
        assert!(n > 0, "it ended");
        log.extend(&part[..n]);
    }
    writes.set_nonblocking(true).unwrap();
    while writes.write(&[b'x'; 4096]).is_ok() {}
    while writes.write(b"x").is_ok() {}
    writes.set_nonblocking(false).unwrap();

    daemon.signal("-HUP");
    daemon.signal("-TERM");
    assert_eq!(daemon.exit().code(), Some(0));
}

#[test]
fn a_folder_without_descriptors_is_warned_of() {
    let deploy = TempDir::new("nothing");
    let mut daemon = Daemon::start(&deploy, &[]);
    eventually("the warning", || daemon.log().contains("WARN  loopkeeper::daemon::run: nothing to watch"));
    daemon.stop();
}

#[test]
fn the_log_is_text_or_json_a_line_an_event() {
    let deploy = TempDir::new("formats");
    deploy.write("a.json", tcp("a", free_port()));
    let mut daemon = Daemon::start(&deploy, &["--log-format", "json", "--set", "logging.source=true"]);
    daemon.eventually_is("a", "down");
    daemon.stop();
    let log = daemon.log();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for line in &lines {
        for key in ["time", "level", "target", "message", "source"] {
            assert!(line[key].is_string(), "{line}");
        }
    }
    assert!(lines.iter().any(|line| line["target"] == "loopkeeper::watcher::a" && line["level"] == "warn"));

    let mut daemon = Daemon::start(&deploy, &["--log-level", "INFO"]);
    daemon.stop();
    let log = daemon.log();
    assert!(log.lines().count() >= 2, "{log}");
    for line in log.lines() {
        let (time, rest) = line.split_at(24);
        assert!(time.ends_with('Z') && time.as_bytes()[10] == b'T', "{line}");
        assert!(
            [" INFO  loopkeeper", " WARN  loopkeeper", " ERROR loopkeeper"]
                .iter()
                .any(|level| rest.starts_with(level)),
            "{line}"
        );
    }
}

#[test]
fn the_environment_and_the_command_line_win_over_the_file() {
    let dir = TempDir::new("layers");
    dir.write("deploy/a.json", tcp("a", free_port()));
    let file = dir.write("loopkeeper.json", r#"{"http": {"listen": "none"}, "logging": {"format": "json"}}"#);
    let mut command =
        loopkeeper(&["run", "--config", file.to_str().unwrap(), "--set", "logging.format=text"]);
    let mut daemon = Daemon::spawn(command.env("LOOPKEEPER_HTTP__LISTEN", "127.0.0.1:0"));
    daemon.eventually_is("a", "down");
    assert!(!daemon.log().contains("{\"time\""), "{}", daemon.log());
    daemon.stop();
}

#[test]
fn it_need_not_listen_at_all() {
    let dir = TempDir::new("silent");
    dir.write("deploy/a.json", tcp("a", free_port()));
    let log = File::create(dir.path().join("stderr")).unwrap();
    let deploy = dir.path().join("deploy");
    let args = ["run", "--deploy", deploy.to_str().unwrap(), "--listen", "none"];
    let child = loopkeeper(&args).stdout(Stdio::null()).stderr(log).spawn().unwrap();
    let mut daemon = Daemon { child, log: dir, address: String::new() };
    eventually("it watches", || daemon.log().contains("watcher a: down"));
    assert!(daemon.log().contains("listening nowhere"), "{}", daemon.log());
    daemon.stop();
}

/// Numbers that come in the same order for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % n
    }
}

/// A folder of descriptors and what stands in it: the file of each name, and
/// the state that its component comes to, if it is to run.
struct Described {
    dir: String,
    files: BTreeMap<&'static str, (String, Option<&'static str>)>,
}

impl Described {
    /// Writes, changes, renames or removes a descriptor; in place or at once.
    fn edit(&mut self, root: &TempDir, random: &mut Random, open: u16) {
        let name = ["a", "b", "c", "d", "e"][random.below(5)];
        let path = |file: &str| format!("{}/{file}", self.dir);
        if let Some((file, _)) = self.files.get_mut(name) {
            match random.below(4) {
                0 => {
                    fs::remove_file(root.path().join(path(file))).unwrap();
                    self.files.remove(name);
                    return;
                }
                1 => {
                    let other = format!("{}{file}", random.below(100));
                    fs::rename(root.path().join(path(file)), root.path().join(path(&other))).unwrap();
                    *file = other;
                    return;
                }
                _ => {}
            }
        }
        let (text, state) = match random.below(3) {
            0 => (tcp(name, open), Some("ready")),
            1 => (tcp(name, 1), Some("down")),
            _ => (tcp(name, 1).replace("\"config\"", "\"enabled\": false, \"config\""), None),
        };
        let (file, told) = self.files.entry(name).or_insert((format!("{name}.json"), None));
        *told = state;
        save(root, &format!("{}/{file}", self.dir), &text, random);
    }

    fn states(&self) -> BTreeMap<String, String> {
        let states = self.files.iter().filter_map(|(name, (_, state))| Some((name, (*state)?)));
        states.map(|(name, state)| ((*name).to_owned(), state.to_owned())).collect()
    }
}

/// Writes a file as careless programs do, or as careful ones.
fn save(root: &TempDir, file: &str, text: &str, random: &mut Random) {
    if random.below(2) == 0 {
        root.write(file, text);
    } else {
        let written = root.write(&format!("{file}.new"), text);
        fs::rename(written, root.path().join(file)).unwrap();
    }
}

#[test]
fn killed_at_any_moment_it_comes_back_with_what_the_files_say() {
    const ROUNDS: usize = 50;
    #[allow(clippy::disallowed_methods, reason = "a run that failed is repeated by its seed")]
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| RandomState::new().hash_one("kill"));
    println!("SEED={seed}");
    let mut random = Random(seed);
    let root = TempDir::new("killed");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let open = listener.local_addr().unwrap().port();
    // Whoever waits to be accepted is in the way of those after it.
    listener.set_nonblocking(true).unwrap();
    let accept_all = || while listener.accept().is_ok() {};
    let mut folders = ["one", "two"].map(|dir| Described { dir: dir.to_owned(), files: BTreeMap::new() });
    let settings = |dir: &str| format!(r#"{{"deploy": {{"dir": "{dir}", "scan_interval": "10ms"}}}}"#);
    let config = root.write("loopkeeper.json", settings("one"));
    for folder in &folders {
        fs::create_dir(root.path().join(&folder.dir)).unwrap();
    }
    let args = ["run", "--config", config.to_str().unwrap(), "--listen", "127.0.0.1:0"];
    let mut in_force = 0;
    for round in 0..ROUNDS {
        // Some are killed before they have begun.
        let mut daemon = None;
        let mut unborn = None;
        if random.below(4) == 0 {
            unborn = Some(loopkeeper(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        } else {
            daemon = Some(Daemon::spawn(&mut loopkeeper(&args)));
        }
        for _ in 0..random.below(12) {
            match random.below(8) {
                0 => {
                    in_force = random.below(2);
                    save(&root, "loopkeeper.json", &settings(&folders[in_force].dir), &mut random);
                }
                _ => folders[random.below(2)].edit(&root, &mut random, open),
            }
            accept_all();
            pause(Duration::from_micros(random.below(20_000) as u64));
        }
        // The end of a process, as SIGKILL is the end of it.
        if let Some(mut child) = unborn {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        drop(daemon);
        let mut daemon = Daemon::spawn(&mut loopkeeper(&args));
        let expected = folders[in_force].states();
        let mut seen = daemon.watchers();
        let is_there = in_time(|| {
            accept_all();
            seen = daemon.watchers();
            seen == expected
        });
        let dir = &folders[in_force].dir;
        assert!(
            is_there,
            "SEED={seed}, round {round}: {dir} says {expected:?}, not {seen:?}\n{}",
            daemon.log()
        );
        // And stays so, over a few looks at the folder.
        pause(Duration::from_millis(30));
        accept_all();
        assert_eq!(daemon.watchers(), expected, "SEED={seed}, round {round}: {dir}\n{}", daemon.log());
        if random.below(3) > 0 {
            // As above, after it has come back.
            daemon.child.kill().unwrap();
        } else {
            daemon.stop();
        }
    }
}

#[test]
fn metrics_are_shown_and_go_with_what_they_are_about() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let deploy = TempDir::new("metrics");
    deploy.put("a.json", &tcp("a", port));
    let mut daemon = Daemon::start(&deploy, &[]);
    daemon.eventually_is("a", "ready");
    // Host and deployer hear of it on threads of their own, each in its time.
    for line in [
        "loopkeeper_watcher_ready{watcher=\"a\"} 1.0\n",
        "loopkeeper_component_state{component=\"a\",state=\"ready\"} 1.0\n",
        "loopkeeper_component_restarts_total{component=\"a\"} 0\n",
        "loopkeeper_config_last_reload_successful 1.0\n",
        "loopkeeper_deployer_components{deployer=\"deployer\"} 1.0\n",
        "loopkeeper_loop_missed_ticks_total{loop=\"deployer\"} 0\n",
        "loopkeeper_loop_overdue_seconds{loop=\"config\"} 0.0\n",
        "loopkeeper_watcher_transitions_total{to=\"down\",watcher=\"a\"} 0\n",
    ] {
        eventually(line, || daemon.text("/metrics").contains(line));
    }
    let text = daemon.text("/metrics");
    assert!(text.ends_with("\n# EOF\n"), "{text}");
    fs::remove_file(deploy.path().join("a.json")).unwrap();
    daemon.signal("-HUP");
    eventually("it is gone", || !daemon.text("/metrics").contains("\"a\""));
    daemon.signal("-TERM");
    let status = daemon.child.wait().unwrap();
    assert!(status.success(), "{status}");
}
