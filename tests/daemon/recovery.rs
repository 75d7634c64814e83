//! Recovery in the program: a descriptor, what is told of it, and who may
//! act.

use serde_json::json;

use super::support::service::{Reply, Service};
use super::{Daemon, TempDir, eventually, free_port, run_to_end};

fn descriptor(service: &Service) -> String {
    json!({
        "name": "training",
        "type": "recovery",
        "config": {
            "service": {"base_url": service.url(), "paths": {"run": "/runs/{run}"}},
            "policy": {"enabled": true, "max_attempts": 2, "backoff": "1h", "max_backoff": "1h", "poll_interval": "20ms"},
            "runs": ["team/r1", "r2"],
        },
    })
    .to_string()
}

/// A service whose run is corrupted, and cannot be restored until it is told
/// so by the name of an attempt.
fn service() -> Service {
    Service::start(|asked| match (asked.method.as_str(), asked.path.as_str()) {
        ("GET", "/runs/team%2Fr1") => Reply::json(json!({
            "id": "team/r1", "corrupted": true, "last_checkpoint": "store://team/r1/7",
        })),
        ("GET", path) => Reply::json(json!({"id": path.trim_start_matches("/runs/")})),
        ("POST", _) if asked.body.contains("\"attempt\":1") => Reply::status(500, "not\tnow"),
        _ => Reply::json(json!({"id": "r1b"})),
    })
}

#[test]
fn recoveries_are_listed_and_acted_on_by_who_has_the_token() {
    let (dir, deploy, service) = (TempDir::new("recovery"), TempDir::new("recovery"), service());
    dir.write("token", "f1rst-token\n");
    dir.write("wrong", "s3cond-token\n");
    let file = dir.write("loopkeeper.json", r#"{"http": {"token_file": "token"}}"#);
    deploy.write("training.json", descriptor(&service));
    let mut daemon = Daemon::start(&deploy, &["--config", file.to_str().unwrap()]);
    let url = format!("http://{}", daemon.address);
    let config = file.to_str().unwrap();
    let ask = |words: &[&str]| {
        let with = [&["recovery"][..], words, &["--url", &url, "--config", config]].concat();
        run_to_end(&with)
    };
    let recovery = || daemon.get("/recovery")["recoveries"][0].clone();
    let phase = || recovery()["incidents"][0]["phase"].clone();
    eventually("it waits for its second attempt", || phase() == "waiting");
    let found = recovery();
    assert_eq!((&found["name"], &found["watched"]), (&json!("training"), &json!(2)));
    let incident = &found["incidents"][0];
    assert_eq!((&incident["run"], &incident["attempt"]), (&json!("team/r1"), &json!(1)));
    assert!(incident["last_error"].as_str().unwrap().contains("body: \"not\\tnow\""), "{incident}");

    let (code, out, err) = ask(&["list"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let rows: Vec<Vec<&str>> = out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0][..4], ["MONITOR", "STATE", "WATCHED", "RUN"]);
    assert_eq!(rows[1][0], "training");
    assert_eq!(rows[1][2..8], ["2", "team/r1", "waiting", "1", "of", "2"]);
    assert_eq!(rows.len(), 2, "{out}");
    let (code, out, _) = ask(&["list", "--json"]);
    let body: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, out.lines().count(), &body["recoveries"][0]["name"]), (Some(0), 1, &json!("training")));

    // Who may not, and what is not there.
    let (wrong, empty) = (dir.path().join("wrong"), dir.write("empty", " \n"));
    for (words, code, text) in [
        (
            &["retry", "team/r1", "--token-file", wrong.to_str().unwrap()][..],
            1,
            "the token is not the right one (401)",
        ),
        (&["retry", "team/r1", "--token-file", "/nowhere/token"], 1, "/nowhere/token: No such file"),
        (&["retry", "team/r1", "--token-file", empty.to_str().unwrap()], 1, "/empty: is empty"),
        (
            &["cancel", "team/r2"],
            1,
            "no run that is being recovered is called \"team/r2\", did you mean \"team/r1\"? (404)",
        ),
        (&["cancel", "r2"], 1, "no run that is being recovered is called \"r2\""),
        (&["cancel", ".."], 2, "run: cannot be part of a path"),
    ] {
        let (found, out, err) = ask(words);
        assert_eq!((found, out.as_str()), (Some(code), ""), "{words:?}: {err}");
        assert!(
            err.starts_with("loopkeeper: ") && err.contains(text) && err.lines().count() == 1,
            "{words:?}: {err}"
        );
        assert!(!err.contains("s3cond") && !err.contains("f1rst"), "{err}");
    }
    assert_eq!(daemon.post("/recovery/team%2Fr1/retry", ""), 401);
    assert_eq!(phase(), "waiting");

    let (code, out, err) = ask(&["retry", "team/r1"]);
    assert_eq!((code, out.as_str(), err.as_str()), (Some(0), "team/r1: is tried again\n", ""));
    eventually("it is restored and proven", || {
        let events = daemon.get("/events?after=0&max=4096");
        events["events"].as_array().unwrap().iter().any(|event| event["event"] == "recovery_verified")
    });
    daemon.stop();
}

#[test]
fn a_recovery_is_cancelled() {
    let (deploy, service, dir) = (TempDir::new("cancel"), service(), TempDir::new("cancel"));
    let file = dir.write("loopkeeper.json", r#"{"http": {"token": "f1rst-token"}}"#);
    deploy.write("training.json", descriptor(&service));
    let config = ["--config", file.to_str().unwrap()];
    let mut daemon = Daemon::start(&deploy, &config);
    let incidents = || daemon.get("/recovery")["recoveries"][0]["incidents"].clone();
    eventually("it waits for its second attempt", || incidents()[0]["phase"] == "waiting");
    let words = ["recovery", "cancel", "team/r1", "--json", "--set"];
    let listen = format!("http.listen={}", daemon.address);
    let (code, out, err) = run_to_end(&[&words[..], &[&listen], &config[..]].concat());
    assert_eq!(
        (code, out.as_str(), err.as_str()),
        (Some(0), "{\"accepted\":\"cancel\",\"name\":\"team/r1\"}\n", "")
    );
    eventually("it is cancelled", || {
        incidents().as_array().is_none_or(|found| found.iter().all(|one| one["phase"] == "cancelled"))
    });
    daemon.stop();
}

#[test]
fn without_a_token_there_is_nothing_to_be_done() {
    let (deploy, service) = (TempDir::new("open"), service());
    deploy.write("training.json", descriptor(&service));
    let mut daemon = Daemon::start(&deploy, &[]);
    eventually("it waits for its second attempt", || {
        daemon.get("/recovery")["recoveries"][0]["incidents"][0]["phase"] == "waiting"
    });
    let url = format!("http://{}", daemon.address);
    for act in ["cancel", "retry"] {
        let (code, out, err) = run_to_end(&["recovery", act, "team/r1", "--url", &url]);
        let told = "loopkeeper: nothing can be done here, only looked at: no token is configured (404); name a file with a token in http.token_file of the daemon's configuration\n";
        assert_eq!((code, out.as_str(), err.as_str()), (Some(1), "", told));
    }
    daemon.stop();
}

#[test]
fn a_daemon_that_is_not_there_is_told() {
    let url = format!("http://127.0.0.1:{}", free_port());
    let (code, out, err) = run_to_end(&["recovery", "list", "--url", &url]);
    assert_eq!((code, out.as_str()), (Some(69), ""), "{err}");
    assert!(err.starts_with(&format!("loopkeeper: GET {url}/recovery: connection refused after ")), "{err}");
    let (code, _, err) = run_to_end(&["recovery", "list", "--set", "http.listen=none"]);
    assert_eq!(
        (code, err.as_str()),
        (Some(69), "loopkeeper: the daemon does not listen: http.listen is none\n")
    );
    let (code, _, err) = run_to_end(&["recovery", "list", "--url", "h:1"]);
    assert_eq!((code, err.as_str()), (Some(2), "loopkeeper: --url: must begin with http:// or https://\n"));
    // Somebody else answers there.
    let other = Service::start(|_| Reply::status(200, "<html>"));
    let (code, _, err) = run_to_end(&["recovery", "list", "--url", &other.url()]);
    assert!(code == Some(69) && err.contains("is not JSON"), "{err}");
}

#[test]
fn a_descriptor_is_checked_and_explained() {
    let (deploy, service) = (TempDir::new("check"), service());
    deploy.write("a.json", descriptor(&service).replace("\"enabled\":true", "\"enabled\":false"));
    let (code, out, _) = run_to_end(&["check", "--deploy", deploy.path().to_str().unwrap()]);
    assert_eq!(code, Some(1));
    assert!(out.contains("config.policy.enabled: expected true, found false"), "{out}");
    let (code, out, _) = run_to_end(&["types", "recovery"]);
    assert!(code == Some(0) && out.contains("service.fields.corrupted"), "{out}");
}
