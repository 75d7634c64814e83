//! The example of a monitored cloud: the folder as it is, with its own API.

#![allow(clippy::disallowed_methods, reason = "the cloud runs on a thread of its own")]

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::thread;

use serde_json::Value;

use super::support::{TempDir, eventually};
use super::{Daemon, loopkeeper, run_to_end};

#[path = "../../examples/cluster_monitor/cloud.rs"]
mod cloud;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/cluster_monitor");

/// The folder, with another address of the cloud in it.
fn folder(address: &str) -> TempDir {
    let folder = TempDir::new("cluster");
    for name in ["loopkeeper.json", "token"] {
        folder.write(name, fs::read(Path::new(FOLDER).join(name)).unwrap());
    }
    for entry in fs::read_dir(Path::new(FOLDER).join("deploy")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap().replace("127.0.0.1:8480", address);
        folder.write(&format!("deploy/{}", path.file_name().unwrap().to_str().unwrap()), text);
    }
    folder
}

/// Starts a cloud, which stays as long as the test's process.
fn cloud() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || cloud::serve(&listener));
    address
}

fn run(folder: &TempDir) -> Daemon {
    let config = folder.path().join("loopkeeper.json");
    let args = ["run", "--config", config.to_str().unwrap(), "--listen", "127.0.0.1:0"];
    Daemon::spawn(&mut loopkeeper(&args))
}

fn checker(daemon: &Daemon, monitor: &str, name: &str) -> Value {
    let status = daemon.status(monitor);
    let checkers = status["monitor"]["checkers"].as_array().cloned().unwrap_or_default();
    checkers.into_iter().find(|checker| checker["name"] == name).unwrap_or_default()
}

/// Name, state and reason of what is not ready.
fn not_ready(checker: &Value) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let items = checker["not_ready"].as_array().cloned().unwrap_or_default();
    let mut items: Vec<_> =
        items.iter().map(|item| (text(&item["name"]), text(&item["state"]), text(&item["reason"]))).collect();
    items.sort();
    items
}

#[test]
fn the_example_cluster_is_degraded_with_the_bad_named_and_the_others_fresh() {
    let config = format!("{FOLDER}/loopkeeper.json");
    assert_eq!(run_to_end(&["check", "--config", &config]).1, "ok: 3 components\n");
    let folder = folder(&cloud());
    let mut daemon = run(&folder);
    daemon.eventually_is("clusters", "degraded");
    daemon.eventually_is("region-north", "degraded");
    daemon.eventually_is("machine", "ready");
    let health = checker(&daemon, "clusters", "health");
    let expected = [
        ("beige", "unknown", "the item's /labels has no \"organization\", it is empty"),
        ("coral", "degraded", "2 of 3 not ready: db-1 unknown, web-2 down"),
        ("coral/db-1", "unknown", "state \"resizing\""),
        ("coral/web-2", "down", "state \"error\""),
        ("denim", "down", "2 of 2 not ready: web-1 down, web-2 down"),
        ("denim/web-1", "down", "state \"error\""),
        ("denim/web-2", "down", "state \"error\""),
        ("ebony", "unknown", "has no members"),
    ];
    let expected =
        expected.map(|(name, state, reason)| (name.to_owned(), state.to_owned(), reason.to_owned()));
    assert_eq!(not_ready(&health), expected, "{health}");
    // amber and its two servers, and coral/web-1.
    assert_eq!(health["items"]["ready"], 4, "{health}");
    let servers = checker(&daemon, "region-north", "servers");
    let names: Vec<String> =
        not_ready(&servers).into_iter().map(|(name, state, _)| format!("{name} {state}")).collect();
    assert_eq!(
        names,
        [
            "amber degraded",
            "amber/f unknown",
            "coral degraded",
            "coral/c degraded",
            "denim degraded",
            "denim/d down",
            "denim/e unknown"
        ]
    );
    let api = checker(&daemon, "region-north", "api");
    assert_eq!((&api["state"], &api["items"]["ready"]), (&"ready".into(), &3.into()), "{api}");
    daemon.stop();
}

#[test]
fn a_bad_condition_is_told_by_check_with_its_line_and_column() {
    let folder = folder("127.0.0.1:1");
    let path = folder.path().join("deploy/region.json");
    let text = fs::read_to_string(&path).unwrap();
    folder.write("deploy/region.json", text.replace("latency < 500ms", "latency < 500"));
    let config = folder.path().join("loopkeeper.json");
    let (code, errors, _) = run_to_end(&["check", "--config", config.to_str().unwrap()]);
    assert_eq!(code, Some(1));
    let line = text.lines().position(|line| line.contains("latency < 500ms")).unwrap() + 1;
    let column = text.lines().nth(line - 1).unwrap().find("500ms").unwrap() + 1;
    let expected = format!(
        "{}:{line}:{column}: config.checkers[1].conditions.expect[1].condition: \
         expected a duration such as 500ms, found the number 500 (column 11)",
        path.display()
    );
    assert!(errors.contains(&expected), "{errors}\n{expected}");
}

#[test]
fn without_its_cloud_the_example_says_so_and_the_machine_is_looked_at() {
    let folder = folder("127.0.0.1:1");
    let mut daemon = run(&folder);
    daemon.eventually_is("clusters", "down");
    daemon.eventually_is("machine", "ready");
    eventually("the reason is told", || {
        let health = checker(&daemon, "clusters", "health");
        health["last_error"].as_str().is_some_and(|error| {
            error.starts_with("GET http://127.0.0.1:1/clusters: connection refused after ")
        })
    });
    daemon.stop();
}
