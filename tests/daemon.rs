//! The program as people run it: files in, signals, HTTP, a log, exit codes.

#![allow(clippy::unwrap_used, reason = "test code: what cannot be set up is a failed test")]

mod support;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use serde_json::Value;
use support::{PATIENCE, TempDir, eventually, free_port};

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

    fn get(&self, path: &str) -> Value {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let host = &self.address;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
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
        let kill = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(kill.success());
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
    assert_eq!(run_to_end(&["types"]).1, out);
    let (code, out, err) = run_to_end(&["types", "wacher"]);
    assert_eq!((code, &*out), (Some(2), ""));
    assert_eq!(
        err,
        "loopkeeper: unknown type \"wacher\", did you mean \"watcher\"?\nsee: loopkeeper help types\n"
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
    let deploy = TempDir::new("hangup");
    let mut daemon = Daemon::start(&deploy, &["--set", "deploy.scan_interval=1h"]);
    daemon.eventually_is("deployer", "ready");
    deploy.put("a.json", &tcp("a", free_port()));
    daemon.signal("-HUP");
    daemon.eventually_is("a", "down");
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
    assert_eq!(run_to_end(&["check", "--config", example]).1, "ok: 5 components\n");
    let mut command = loopkeeper(&["run", "--config", example, "--listen", "127.0.0.1:0"]);
    let mut daemon = Daemon::spawn(&mut command);
    for name in ["backup", "backup-age", "disk"] {
        daemon.eventually_is(name, "ready");
    }
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
    for line in daemon.log().lines() {
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
