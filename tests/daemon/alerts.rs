//! People are told: by a command and by a webhook, again when that failed, and
//! not of what is down because of something else.

use super::support::service::{Reply, Service};
use super::*;

/// A watcher that asks a port often, with alerts.
fn alerting(name: &str, port: u16, requires: &str, alerts: &str) -> String {
    format!(
        r#"{{"name": "{name}", "type": "watcher", "requires": [{requires}],
            "config": {{"probe": {{"tcp": {{"address": "127.0.0.1:{port}"}}}},
                "backoff": {{"initial_delay": "20ms", "max_delay": "20ms", "poll_interval": "20ms",
                             "probe_timeout": "500ms"}},
                {alerts}}}}}"#
    )
}

fn listen(port: u16) -> TcpListener {
    TcpListener::bind(("127.0.0.1", port)).unwrap()
}

#[test]
fn a_command_and_a_webhook_are_told_and_a_child_waits_for_its_parent() {
    let dir = TempDir::new("alerts");
    // Refuses the first, as a server does that starts.
    let hook = Service::scripted(vec![Reply::status(503, "not yet"), Reply::status(204, "")]);
    let file = dir.path().join("told");
    let script =
        format!("cat >> '{0}'; echo \" $LOOPKEEPER_NAME $LOOPKEEPER_STATE\" >> '{0}'", file.display());
    let exec = serde_json::json!({"exec": {"command": ["sh", "-c", script]}});
    let webhook = format!(
        r#"{{"webhook": {{"url": "{}/hook?key=secret", "headers": {{"X-Who": "appliance"}}}}}}"#,
        hook.url()
    );
    let (router, mqtt) = (free_port(), free_port());
    let (router_up, mqtt_up) = (listen(router), listen(mqtt));
    let both = format!(r#""on_down": {webhook}, "on_ready": {webhook}"#);
    dir.write("deploy/router.json", alerting("router", router, "", &both));
    let both = format!(r#""on_down": {exec}, "on_ready": {exec}, "remind_every": "1h""#);
    dir.write("deploy/mqtt.json", alerting("mqtt", mqtt, "\"router\"", &both));
    let deploy = dir.path().join("deploy");
    let (code, stdout, _) = run_to_end(&["check", "--deploy", deploy.to_str().unwrap()]);
    assert_eq!((code, &*stdout), (Some(0), "ok: 2 components\n"));
    let mut daemon = Daemon::spawn(&mut loopkeeper(&[
        "run",
        "--deploy",
        deploy.to_str().unwrap(),
        "--listen",
        "127.0.0.1:0",
    ]));
    daemon.eventually_is("mqtt", "ready");

    // The parent goes, and the child behind it: only the parent is told.
    drop((router_up, mqtt_up));
    eventually("the parent is told", || daemon.status("router")["alert"]["sent"] == 1);
    eventually("the child is known to be behind it", || daemon.status("mqtt")["parent"] == "router");
    let mqtt_status = daemon.status("mqtt");
    assert_eq!(mqtt_status["state"], "unknown", "{mqtt_status}");
    assert_eq!(mqtt_status["alert"]["suppressed_by"], "router", "{mqtt_status}");
    assert_eq!(mqtt_status["alert"]["told"], false, "{mqtt_status}");
    assert!(mqtt_status["last_error"].as_str().unwrap().contains("refused"), "{mqtt_status}");
    let asked = hook.asked();
    assert_eq!(asked.len(), 2, "once more after it failed: {asked:?}");
    let told: Value = serde_json::from_str(&asked[1].body).unwrap();
    for (key, expected) in [("name", "router"), ("kind", "watcher"), ("state", "down"), ("previous", "ready")]
    {
        assert_eq!(told[key], expected, "{told}");
    }
    assert!(told["error"].as_str().unwrap().contains("refused"), "{told}");
    assert_eq!(told["boot"], daemon.get("/status")["boot"]);
    assert!(told["n"].as_u64().unwrap() > 0 && told["since"].is_string(), "{told}");
    assert_eq!((&*asked[0].method, &*asked[0].path), ("POST", "/hook?key=secret"));
    assert_eq!(asked[0].header("x-who"), Some("appliance"));
    assert_eq!(asked[0].header("idempotency-key"), asked[1].header("idempotency-key"));
    assert!(!file.exists());
    assert!(!daemon.log().contains("secret"), "{}", daemon.log());

    // The parent is back and the child is not: now it is told.
    let router_up = listen(router);
    eventually("the parent's end", || hook.asked().len() == 3);
    eventually("the child is told", || fs::read_to_string(&file).is_ok_and(|text| text.ends_with('\n')));
    let text = fs::read_to_string(&file).unwrap();
    let json = text.strip_suffix(" mqtt down\n").unwrap_or_else(|| panic!("{text}"));
    let told: Value = serde_json::from_str(json).unwrap();
    assert_eq!((&told["name"], &told["state"]), (&"mqtt".into(), &"down".into()));
    daemon.eventually_is("mqtt", "down");
    let mqtt_up = listen(mqtt);
    eventually("its end", || fs::read_to_string(&file).unwrap().ends_with(" mqtt ready\n"));

    // The command may have written and not ended yet.
    eventually("all are counted", || daemon.status("mqtt")["alert"]["sent"] == 2);
    let metrics = daemon.text("/metrics");
    for line in [
        "loopkeeper_alerts_total{result=\"sent\"} 4\n",
        "loopkeeper_alerts_total{result=\"failed\"} 1\n",
        "loopkeeper_alerts_total{result=\"lost\"} 0\n",
        "loopkeeper_alerts_pending 0",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    drop((router_up, mqtt_up));
    daemon.stop();
}

#[test]
fn an_alert_that_hangs_delays_no_probe_and_no_stop() {
    let dir = TempDir::new("hung-alert");
    let exec = r#"{"exec": {"command": ["sleep", "60"], "timeout": "60s"}}"#;
    let port = free_port();
    let up = listen(port);
    dir.write("a.json", alerting("a", port, "", &format!(r#""on_down": {exec}"#)));
    let mut daemon = Daemon::start(&dir, &[]);
    daemon.eventually_is("a", "ready");
    drop(up);
    eventually("the alert runs", || daemon.status("a")["alert"]["pending"] == 1);
    let runs = daemon.status("a")["runs"].as_u64().unwrap();
    eventually("it is probed", || daemon.status("a")["runs"].as_u64().unwrap() > runs + 3);
    daemon.stop();
}

/// Runs with what was told kept beside the descriptors, and killed without a
/// word like by a loss of power.
struct Kept {
    dir: TempDir,
    port: u16,
}

impl Kept {
    fn new(name: &str) -> Self {
        Self { dir: TempDir::new(name), port: free_port() }
    }

    fn describe(&self, script: &str) {
        let exec = serde_json::json!({"exec": {"command": ["sh", "-c", script]}});
        let alerts = format!(r#""on_down": {exec}, "on_ready": {exec}"#);
        self.dir.write("deploy/a.json", alerting("a", self.port, "", &alerts));
        self.dir.write("loopkeeper.json", r#"{"alerts": {"state_file": "alerts.json"}}"#);
    }

    fn run(&self) -> Daemon {
        let file = self.dir.path().join("loopkeeper.json");
        Daemon::spawn(&mut loopkeeper(&[
            "run",
            "--config",
            file.to_str().unwrap(),
            "--listen",
            "127.0.0.1:0",
        ]))
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.dir.path().join(name)).unwrap_or_default()
    }

    /// Whom a down was told of, and how many alerts wait, as it is kept.
    fn file(&self) -> (usize, usize) {
        let file: Value = serde_json::from_str(&self.text("alerts.json")).unwrap_or_default();
        let len = |key: &str| file[key].as_array().map_or(0, Vec::len);
        (len("told"), len("letters"))
    }
}

#[test]
fn a_restart_tells_no_incident_again_and_forgets_no_end() {
    let kept = Kept::new("kept-alerts");
    let told = kept.dir.path().join("told");
    kept.describe(&format!("echo \"$LOOPKEEPER_NAME $LOOPKEEPER_STATE\" >> '{}'", told.display()));
    let up = listen(kept.port);
    let daemon = kept.run();
    daemon.eventually_is("a", "ready");
    drop(up);
    eventually("the down is told and kept", || kept.file() == (1, 0));
    drop(daemon);

    let mut daemon = kept.run();
    // Its start is over and it has given up: the same incident.
    eventually("it has given up", || daemon.events("a").iter().any(|event| event == "gave_up"));
    let runs = daemon.status("a")["runs"].as_u64().unwrap();
    eventually("it goes on", || daemon.status("a")["runs"].as_u64().unwrap() > runs + 3);
    let alert = daemon.status("a")["alert"].clone();
    assert_eq!((&alert["told"], &alert["sent"]), (&true.into(), &0.into()), "{alert}");
    assert_eq!(kept.text("told"), "a down\n");
    // A stop forgets as little as a kill.
    daemon.stop();
    let up = listen(kept.port);
    let daemon = kept.run();
    eventually("its end is told", || kept.text("told") == "a down\na ready\n");
    eventually("that is kept", || kept.file() == (0, 0));
    drop(daemon);
    let mut daemon = kept.run();
    daemon.eventually_is("a", "ready");
    daemon.stop();
    assert_eq!(kept.text("told"), "a down\na ready\n");
    drop(up);
}

#[test]
fn an_alert_that_could_not_be_sent_is_sent_after_a_restart() {
    let kept = Kept::new("kept-letter");
    let dir = kept.dir.path().display();
    kept.describe(&format!("test -e '{dir}/open' && cat >> '{dir}/told'"));
    let up = listen(kept.port);
    let daemon = kept.run();
    daemon.eventually_is("a", "ready");
    drop(up);
    eventually("it was tried", || daemon.status("a")["alert"]["failures"].as_u64() > Some(0));
    assert_eq!(kept.file(), (1, 1));
    let boot = daemon.get("/status")["boot"].clone();
    drop(daemon);

    kept.dir.write("open", "");
    let mut daemon = kept.run();
    eventually("it is sent", || kept.text("told").ends_with('}') && kept.file() == (1, 0));
    let body: Value = serde_json::from_str(&kept.text("told")).unwrap();
    assert_eq!((&body["state"], &body["boot"]), (&"down".into(), &boot));
    // Whoever got it twice would know it by that.
    assert!(body["id"].as_str().unwrap().starts_with(boot.as_str().unwrap()), "{body}");
    daemon.stop();

    // What is no such file is told, and the rest goes on.
    kept.dir.write("alerts.json", "{\"format\":1,\"told\":[{");
    let mut daemon = kept.run();
    assert!(daemon.log().contains("alerts.json\" is left out: EOF"), "{}", daemon.log());
    eventually("it is told afresh", || kept.file() == (1, 0));
    daemon.stop();
}

#[test]
fn a_second_daemon_does_not_write_over_what_the_first_keeps() {
    let (dir, deploy) = (TempDir::new("alerts"), TempDir::new("alerts"));
    let kept = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let history = format!("http.history_file={}", kept("history"));
    let alerts = format!("alerts.state_file={}", kept("alerts"));
    let folder = deploy.path().to_str().unwrap();
    let mut first = Daemon::start(&deploy, &["--set", &history, "--set", &alerts]);
    for (setting, name) in [(&history, "history"), (&alerts, "alerts")] {
        let shown = setting.split('=').next().unwrap();
        let args = ["run", "--deploy", folder, "--listen", "127.0.0.1:0", "--set", setting.as_str()];
        let (code, _, err) = run_to_end(&args);
        let (path, pid) = (kept(name), first.child.id());
        let said = format!(
            "could not start: {shown} {path:?} is kept by process {pid}, which has locked {:?}",
            format!("{path}.lock")
        );
        assert!(code == Some(1) && err.contains(&said), "{code:?} {err}");
    }
    // Who only looks is let in, and a crash leaves nothing locked.
    let url = format!("http://{}", first.address);
    for args in [&["status", "--url", &url][..], &["check", "--deploy", folder, "--set", &history]] {
        let (_, out, err) = run_to_end(args);
        assert!(err.is_empty() && !out.is_empty(), "{args:?}: {out} {err}");
    }
    first.signal("-KILL");
    first.exit();
    Daemon::start(&deploy, &["--set", &history, "--set", &alerts]).stop();
}
