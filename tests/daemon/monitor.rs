//! Monitors in the program: descriptors, settings, status, signals.

use std::net::TcpListener;

use serde_json::{Value, json};

use super::support::{TempDir, eventually, free_port};
use super::{Daemon, loopkeeper, run_to_end};

/// A monitor of a port, of a command that hangs and of one that says no.
fn cluster(port: u16) -> Value {
    json!({"name": "cluster", "type": "monitor", "config": {"deadline": "300ms", "checkers": [
        {"name": "hangs", "probe": {"exec": {"command": ["sleep", "60"]}}},
        {"name": "port", "role": "drift_detection", "probe": {"tcp": {"address": format!("127.0.0.1:{port}")}}},
        {"name": "says-no", "probe": {"exec": {"command": ["sh", "-c", "echo no room; exit 3"]}}},
    ]}})
}

fn checker<'a>(status: &'a Value, name: &str) -> &'a Value {
    let checkers = status["monitor"]["checkers"].as_array().unwrap();
    checkers.iter().find(|checker| checker["name"] == name).unwrap()
}

#[test]
fn a_monitor_is_described_runs_and_is_told_of_with_its_checkers() {
    let deploy = TempDir::new("monitor");
    let service = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = service.local_addr().unwrap().port();
    deploy.write("cluster.json", cluster(port).to_string());
    let settings = ["--set", "monitor.poll_period=100ms", "--set", "monitor.principal=cluster-monitor"];
    let mut daemon = Daemon::start(&deploy, &settings);
    daemon.eventually_is("cluster", "degraded");
    eventually("a few passes", || daemon.status("cluster")["monitor"]["passes"].as_u64() > Some(3));
    let status = daemon.status("cluster");
    assert_eq!(status["monitor"]["poll_period"], 0.1);
    assert_eq!(status["monitor"]["principal"], "cluster-monitor");
    assert_eq!((&status["ready"], &status["critical"]), (&json!(true), &json!(false)));
    let port = checker(&status, "port");
    assert_eq!((&port["state"], &port["role"]), (&json!("ready"), &json!("drift_detection")));
    let hangs = checker(&status, "hangs");
    assert_eq!(hangs["state"], "down");
    assert!(hangs["last_error"].as_str().unwrap().starts_with("exec sleep: still ran after "), "{hangs}");
    let says_no = checker(&status, "says-no");
    assert!(says_no["last_error"].as_str().unwrap().ends_with(": no room"), "{says_no}");
    assert!(daemon.text("/").contains("cluster            degraded since "));
    let metrics = daemon.text("/metrics");
    let series = "loopkeeper_monitor_checks_total{checker=\"port\",monitor=\"cluster\",result=\"error\"} 0";
    assert!(metrics.contains(series), "{metrics}");
    let events = daemon.get("/events?after=0&max=4096");
    let events = events["events"].as_array().unwrap();
    let change = events.iter().find(|event| event["checker"] == "says-no").unwrap();
    assert_eq!((&change["kind"], &change["event"]), (&json!("monitor"), &json!("checker_changed")));
    assert_eq!((&change["from"], &change["to"]), (&json!("unknown"), &json!("down")));
    assert!(change["took"].is_f64() && change["reason"].as_str().unwrap().ends_with("no room"));
    // The service goes away: told within a pass.
    drop(service);
    eventually("the port's checker is down", || {
        checker(&daemon.status("cluster"), "port")["state"] == "down"
    });
    daemon.eventually_is("cluster", "down");
    daemon.stop();
}

#[test]
fn wum_11_both_signals_stop_it_and_a_start_that_fails_is_told_by_its_exit_code() {
    for signal in ["-TERM", "-INT"] {
        let deploy = TempDir::new("monitor-signal");
        deploy.write("cluster.json", cluster(free_port()).to_string());
        let mut daemon = Daemon::start(&deploy, &["--set", "monitor.poll_period=100ms"]);
        eventually("it looks", || daemon.status("cluster")["runs"].as_u64() > Some(0));
        daemon.signal(signal);
        assert_eq!(daemon.exit().code(), Some(0), "{signal}: {}", daemon.log());
    }
    let deploy = TempDir::new("monitor-start");
    deploy.write("cluster.json", cluster(free_port()).to_string());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let (dir, address) = (deploy.path().to_str().unwrap(), taken.local_addr().unwrap().to_string());
    let (code, _, err) = run_to_end(&["run", "--deploy", dir, "--listen", &address]);
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("could not start"), "{err}");
    // Settings that cannot be meant are no start, either.
    let set = ["run", "--deploy", dir, "--listen", "none", "--set", "monitor.poll_period=0"];
    let (code, _, err) = run_to_end(&set);
    assert_eq!(code, Some(78), "{err}");
    assert!(err.contains("monitor.poll_period: must be more than zero"), "{err}");
}

#[test]
fn every_setting_of_a_monitor_can_be_looked_up_and_set_by_a_variable() {
    let (code, out, _) = run_to_end(&["types", "monitor"]);
    assert_eq!(code, Some(0));
    for word in [
        "poll_period",
        "stale_after",
        "critical",
        "principal",
        "token_command",
        "checkers[].probe.tcp.address",
    ] {
        assert!(out.contains(word), "{word}: {out}");
    }
    let output = loopkeeper(&["explain", "monitor.poll_period"])
        .env("LOOPKEEPER_MONITOR__POLL_PERIOD", "45s")
        .output()
        .unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    assert!(out.contains("45s") && out.contains("LOOPKEEPER_MONITOR__POLL_PERIOD"), "{out}");
    let deploy = TempDir::new("monitor-check");
    deploy.write("m.json", r#"{"name": "m", "type": "monitor", "config": {"checkers": [{"name": "a"}]}}"#);
    let (code, out, _) = run_to_end(&["check", "--deploy", deploy.path().to_str().unwrap()]);
    assert_eq!(code, Some(1));
    assert!(out.contains("config.checkers[0]: says nothing to look at, expected one of"), "{out}");
}
