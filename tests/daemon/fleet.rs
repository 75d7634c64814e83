//! The daemon looks after a fleet in a file, and `loopkeeper fleet` tells how
//! it is.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;

use diesel::connection::SimpleConnection;
use diesel::{Connection, SqliteConnection};
use loopkeeper::Stamp;
use loopkeeper::fleet::*;

use super::*;

const TYPES: [&str; 5] =
    ["agent-health", "job-recovery", "queue-priority", "token-cleanup", "audit-retention"];

const MINUTE: u64 = 60;
const DAY: u64 = 24 * 60 * MINUTE;

/// A folder with a configuration, descriptors, and a fleet beside them.
struct Scene {
    dir: TempDir,
    /// The moment from which the past of the fleet is counted.
    now: Stamp,
}

impl Scene {
    fn new() -> Self {
        let dir = TempDir::new("fleet");
        dir.write(
            "loopkeeper.json",
            r#"{"http": {"listen": "127.0.0.1:0"}, "deploy": {"scan_interval": "50ms"}}"#,
        );
        fs::create_dir(dir.path().join("deploy")).unwrap();
        let now = SqliteStore::open(&SqliteConfig::memory()).unwrap().now().unwrap();
        Self { dir, now }
    }

    /// Describes each type, with runs often and a few settings more.
    fn deploy(&self, more: &str) {
        for kind in TYPES {
            self.deploy_as(kind, kind, &format!("\"interval\": \"100ms\"{more}"));
        }
    }

    fn deploy_as(&self, name: &str, kind: &str, config: &str) {
        let text = format!("{{\"name\": \"{name}\", \"type\": \"{kind}\",\n\"config\": {{{config}}}}}");
        // Outside first, so that nobody sees half of it.
        let written = self.dir.write(&format!("{name}.json"), text);
        fs::rename(written, self.dir.path().join(format!("deploy/{name}.json"))).unwrap();
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("loopkeeper.db")
    }

    fn store(&self) -> SqliteStore {
        SqliteStore::open(&SqliteConfig::file(self.file())).unwrap()
    }

    fn config(&self) -> String {
        self.dir.path().join("loopkeeper.json").to_str().unwrap().to_owned()
    }

    fn start(&self) -> Daemon {
        Daemon::spawn(&mut loopkeeper(&["run", "--config", &self.config()]))
    }

    /// What `loopkeeper fleet` answers.
    fn fleet(&self, args: &[&str]) -> (Option<i32>, String, String) {
        run_to_end(&[&["fleet"], args, &["--config", &self.config()]].concat())
    }

    fn ago(&self, seconds: u64) -> Stamp {
        Stamp::from_micros(self.now.as_micros() - seconds * 1_000_000)
    }
}

/// What was planted, by what should become of it.
struct Planted {
    silent: AgentId,
    live: AgentId,
    late: CommandId,
    stuck: CommandId,
    running: CommandId,
    waiting: CommandId,
    dead_token: TokenId,
    fresh_token: TokenId,
}

/// A fleet in which each pass has something to put right, and something to
/// leave alone.
fn plant(scene: &Scene) -> Planted {
    plant_in(&mut scene.store(), scene)
}

fn plant_in(store: &mut (impl Store + ManualTime), scene: &Scene) -> Planted {
    store.set_now(scene.ago(400 * DAY));
    store.append(&NewAudit::new("root", "tenant.create", "acme")).unwrap();
    let acme = store.create_tenant("acme", Plan::Team).unwrap();
    store.set_now(scene.ago(30 * DAY));
    let dead = NewToken::for_platform("dead").expires_at(scene.ago(8 * DAY));
    let (dead_token, _) = store.create_token("root", &dead).unwrap();
    let fresh = NewToken::for_platform("fresh\u{1b}[31m\n").unlimited();
    assert!(store.create_token("root", &fresh).is_err(), "no control character gets in by the door");
    let (fresh_token, token) =
        store.create_token("root", &NewToken::for_platform("fresh").unlimited()).unwrap();
    let agent = |name: &str| NewAgent::new(name, AgentKind::Platform);
    let silent = store.register(&token, &agent("silent")).unwrap().agent;
    let live = store.register(&token, &agent("live")).unwrap().agent;
    let job = |priority| NewCommand::job(acme, CommandKind::Scan, r#"{"host": "a"}"#).priority(priority);

    let secs = Duration::from_secs;
    store.set_now(scene.ago(2 * 60 * MINUTE));
    let late = store.enqueue(&job(Priority::Low)).unwrap();
    store.set_now(scene.ago(20 * MINUTE));
    store.heartbeat(silent, &Heartbeat::new()).unwrap();
    let stuck = store.enqueue(&job(Priority::Critical)).unwrap();
    let claim = store.claim(silent, secs(60)).unwrap().unwrap();
    store.start(&claim.lease).unwrap();
    store.set_now(scene.ago(15 * MINUTE + 30));
    let waiting = store.enqueue(&job(Priority::Low)).unwrap();
    store.set_now(scene.now);
    store.heartbeat(live, &Heartbeat::new()).unwrap();
    let running = store.enqueue(&job(Priority::Critical)).unwrap();
    let claim = store.claim(live, secs(3600)).unwrap().unwrap();
    assert_eq!((claim.command.id, claim.lease.command), (running, running));
    store.start(&claim.lease).unwrap();
    Planted { silent, live, late, stuck, running, waiting, dead_token, fresh_token }
}

/// The events of a controller that dealt with something, as their summaries.
fn summaries(daemon: &Daemon, name: &str) -> Vec<String> {
    let events = daemon.get("/events?after=0&max=4096");
    let events = events["events"].as_array().unwrap().iter();
    let told = events.filter(|event| event["source"] == name && event["event"] == "reconciled");
    told.map(|event| event["summary"].as_str().unwrap().to_owned()).collect()
}

#[track_caller]
fn eventually_runs(daemon: &Daemon, name: &str, more: u64) {
    let runs = || daemon.status(name)["runs"].as_u64().unwrap_or(0);
    let from = runs();
    eventually(&format!("{name} runs"), || runs() >= from + more);
}

#[test]
fn wct_20_wct_31_wct_36_a_daemon_puts_a_fleet_right_and_then_leaves_it_alone() {
    let scene = Scene::new();
    let planted = plant(&scene);
    scene.deploy("");
    let mut daemon = scene.start();
    for kind in TYPES {
        daemon.eventually_is(kind, "ready");
        eventually_runs(&daemon, kind, 2);
    }
    eventually("each has told what it did", || TYPES.iter().all(|kind| !summaries(&daemon, kind).is_empty()));
    eventually_runs(&daemon, "queue-priority", 2);

    let mut store = scene.store();
    let (silent, live) = (store.agent(planted.silent).unwrap(), store.agent(planted.live).unwrap());
    assert_eq!((silent.health, silent.held_jobs), (AgentCondition::Offline, 0));
    assert_eq!((live.health, live.held_jobs), (AgentCondition::Online, 1));
    let stuck = store.command(planted.stuck).unwrap();
    assert_eq!((stuck.state, stuck.agent, stuck.attempts), (CommandState::Pending, None, 1));
    let late = store.command(planted.late).unwrap();
    assert_eq!(
        (late.state, late.message.as_deref()),
        (CommandState::Expired, Some("no agent took it in time"))
    );
    let running = store.command(planted.running).unwrap();
    assert_eq!((running.state, running.agent), (CommandState::Running, Some(planted.live)));
    // 250 for low, 50 for the plan, 15 minutes, less 10 for the one at work.
    assert_eq!(store.command(planted.waiting).unwrap().queue_priority, 250 + 50 + 15 - 10);
    let tokens: Vec<TokenId> =
        store.tokens(TokenId(0), 10).unwrap().rows.iter().map(|token| token.id).collect();
    assert!(tokens.contains(&planted.fresh_token) && !tokens.contains(&planted.dead_token));
    let audit = store.audit(0, 100).unwrap().rows;
    assert!(audit.iter().all(|record| record.action != "tenant.create"));
    assert_eq!(audit.iter().filter(|record| record.action == RETENTION).count(), 1);
    assert!(store.verify(&mut || Ok(())).unwrap().is_sound());

    // Who frees the job depends on who of the two comes first.
    assert!(summaries(&daemon, "agent-health")[0].contains("1 offline"));
    assert_eq!(summaries(&daemon, "token-cleanup"), ["1 expired"]);
    assert_eq!(summaries(&daemon, "audit-retention"), ["1 deleted"]);
    let items = || TYPES.map(|kind| daemon.status(kind)["controller"]["items"].as_u64().unwrap());
    let done = items();
    assert_eq!((done[0] + done[1], done[3], done[4]), (3, 1, 1), "{done:?}");
    TYPES.iter().for_each(|kind| eventually_runs(&daemon, kind, 2));
    assert_eq!(items(), done, "a second time changes nothing");
    let status = daemon.status("token-cleanup");
    assert_eq!(status["controller"]["last_summary"], "nothing to do");
    assert_eq!(
        (&status["kind"], &status["thread"]["name"]),
        (&"controller".into(), &"ctl/token-cleanup".into())
    );

    let metrics = daemon.text("/metrics");
    for line in [
        "loopkeeper_controller_items_processed_total{controller=\"token-cleanup\"} 1\n",
        "loopkeeper_controller_reconcile_errors_total{controller=\"agent-health\"} 0\n",
        "loopkeeper_controller_running{controller=\"queue-priority\"} ",
    ] {
        assert!(metrics.contains(line), "{line}{metrics}");
    }
    assert!(daemon.log().contains("controller audit-retention: reconciled 1 item ("), "{}", daemon.log());
    assert!(daemon.log().contains("): 1 deleted\n"), "{}", daemon.log());
    daemon.stop();
}

#[test]
fn cct_13_a_dry_run_says_what_it_would_do_and_does_nothing() {
    let scene = Scene::new();
    let planted = plant(&scene);
    scene.deploy(", \"dry_run\": true");
    let mut daemon = scene.start();
    eventually("each has told what it would do", || {
        TYPES.iter().filter(|kind| **kind != "job-recovery").all(|kind| !summaries(&daemon, kind).is_empty())
    });
    assert_eq!(summaries(&daemon, "audit-retention")[0], "1 deleted, nothing was changed");
    assert_eq!(daemon.status("agent-health")["controller"]["dry_run"], true);
    assert!(daemon.log().contains("would have reconciled 1 item"), "{}", daemon.log());
    daemon.stop();
    let mut store = scene.store();
    assert_eq!(store.agent(planted.silent).unwrap().health, AgentCondition::Online);
    assert_eq!(store.command(planted.stuck).unwrap().state, CommandState::Running);
    assert_eq!(store.tokens(TokenId(0), 10).unwrap().rows.len(), 2);
    assert_eq!(store.audit(0, 100).unwrap().rows[0].action, "tenant.create");
}

#[test]
fn wct_37_wrong_settings_are_refused_with_their_places() {
    let scene = Scene::new();
    scene.deploy_as("a", "agent-health", "\"stale_timeout\": 0, \"intervall\": 1");
    scene.deploy_as("b", "audit-retention", "\"retention\": \"0s\", \"batch_size\": 0");
    scene.deploy_as("c", "audit-retention", "\"retention\": \"90h\", \"grave_retention\": \"1h\"");
    scene.deploy_as("d", "job-recovery", "\"max_retries\": 0, \"deadline\": -1");
    scene.deploy_as("e", "queue-priority", "\"bonus_per_minute\": 0, \"backoff\": {\"jitter\": 2}");
    scene.deploy_as("f", "token-cleanup", "\"grace\": \"soon\", \"interval\": 0");
    scene.deploy_as("g", "agent-heath", "");
    let (code, out, err) = run_to_end(&["check", "--config", &scene.config()]);
    let deploy = scene.dir.path().join("deploy");
    let expected = [
        "a.json:2:29: config.stale_timeout: must be more than zero, found the number 0",
        "a.json:2:32: config: unknown field \"intervall\", did you mean \"interval\"?",
        "b.json:2:25: config.retention: must be more than zero, found the string \"0s\"",
        "b.json:2:45: config.batch_size: must be at least 1, found 0",
        "c.json:2:51: config.grave_retention: must be at least retention (90h0m0s), found 1h0m0s",
        "d.json:2:27: config.max_retries: must be at least 1, found 0",
        "d.json:2:42: config.deadline: must not be negative, found the number -1",
        "e.json:2:32: config.bonus_per_minute: must be at least 1, found 0",
        "e.json:2:57: config.backoff.jitter: must be at most 1, found 2",
        "f.json:2:21: config.grace: expected a duration such as \"30s\", found the string \"soon\"",
        "f.json:2:41: config.interval: must be more than zero, found the number 0",
        "g.json:1:23: type: unknown type \"agent-heath\", did you mean \"agent-health\"?",
    ];
    assert_eq!(short(&deploy, &out).lines().collect::<Vec<_>>(), expected);
    assert_eq!((code, &*err), (Some(1), ""));
    assert!(!scene.file().exists());
}

#[test]
fn types_of_a_fleet_are_explained_with_every_setting() {
    let common = [
        "interval",
        "deadline",
        "backoff",
        "backoff.initial_delay",
        "backoff.max_delay",
        "backoff.multiplier",
        "backoff.jitter",
        "jitter",
        "in_phase",
        "first_run_after",
        "catch_up",
        "failure_threshold",
        "critical",
        "paused",
        "dry_run",
    ];
    for (kind, own) in TYPES.iter().zip([
        &["stale_timeout"][..],
        &["stuck_threshold", "tenant_stuck_threshold", "max_retries", "max_queue", "tenant_max_queue"],
        &["bonus_per_minute"],
        &["grace"],
        &["retention", "grave_retention", "batch_size"],
    ]) {
        let (code, out, _) = run_to_end(&["types", kind]);
        assert_eq!(code, Some(0));
        let fields: Vec<&str> = out
            .lines()
            .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
            .map(str::trim)
            .collect();
        assert_eq!(fields, [own, &common].concat(), "{out}");
    }
    let out = run_to_end(&["types", "agent-health"]).1;
    assert!(
        out.contains("\n  stale_timeout\n      a duration such as \"30s\"; \"1m30s\" when absent\n"),
        "{out}"
    );
    assert!(out.contains("\n  interval\n      a duration such as \"30s\"; \"30s\" when absent\n"), "{out}");
}

#[test]
fn nothing_is_opened_unless_something_needs_it() {
    let scene = Scene::new();
    let mut daemon = scene.start();
    eventually("it looks", || daemon.status("deployer")["runs"].as_u64() > Some(1));
    assert!(!scene.file().exists());
    scene.deploy_as("tokens", "token-cleanup", "");
    daemon.eventually_is("tokens", "ready");
    assert!(scene.file().exists());
    daemon.stop();
}

#[test]
fn a_locked_a_broken_and_a_missing_store_are_told_and_disturb_nobody_else() {
    let scene = Scene::new();
    drop(scene.store());
    let port = TcpListener::bind("127.0.0.1:0").unwrap();
    let service = tcp("service", port.local_addr().unwrap().port());
    scene.dir.write("deploy/service.json", service);
    let often = "\"interval\": \"100ms\", \"deadline\": \"400ms\", \"backoff\": {\"initial_delay\": \"50ms\", \"max_delay\": \"50ms\"}";
    scene.deploy_as("tokens", "token-cleanup", often);
    let mut lock = SqliteConnection::establish(scene.file().to_str().unwrap()).unwrap();
    lock.batch_execute("PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = DELETE; BEGIN EXCLUSIVE")
        .unwrap();
    let mut daemon = scene.start();
    daemon.eventually_is("tokens", "down");
    let status = daemon.status("tokens");
    let error = status["last_error"].as_str().unwrap();
    assert!(error.contains("loopkeeper.db") && error.contains("locked"), "{status}");
    daemon.eventually_is("service", "ready");
    let runs = daemon.status("tokens")["failures"].as_u64();
    eventually("it tries again", || daemon.status("tokens")["failures"].as_u64() > runs.map(|runs| runs + 2));
    lock.batch_execute("COMMIT").unwrap();
    drop(lock);
    daemon.eventually_is("tokens", "ready");

    for end in ["", "-wal", "-shm"] {
        drop(fs::remove_file(format!("{}{end}", scene.file().display())));
    }
    fs::write(scene.file(), "no database at all, and long enough to have a head of its own".repeat(20))
        .unwrap();
    daemon.eventually_is("tokens", "down");
    let error = daemon.status("tokens")["last_error"].as_str().unwrap().to_owned();
    assert!(error.contains("not a database"), "{error}");
    let (code, out, err) = scene.fleet(&["tokens"]);
    assert_eq!((code, &*out), (Some(1), ""));
    assert!(err.starts_with("loopkeeper: sqlite ") && err.contains("not a database"), "{err}");

    fs::remove_file(scene.file()).unwrap();
    daemon.eventually_is("tokens", "ready");
    assert!(scene.store().tokens(TokenId(0), 1).unwrap().rows.is_empty(), "a new one was made");
    assert_eq!(daemon.status("service")["failures"], 0);
    daemon.stop();
}

#[test]
fn a_store_that_is_put_in_the_place_of_another_is_looked_after() {
    let scene = Scene::new();
    drop(scene.store());
    scene.deploy_as("health", "agent-health", "\"interval\": \"100ms\"");
    let mut daemon = scene.start();
    daemon.eventually_is("health", "ready");
    let other = Scene::new();
    let planted = plant(&other);
    fs::rename(other.file(), scene.file()).unwrap();
    for end in ["-wal", "-shm"] {
        drop(fs::remove_file(format!("{}{end}", scene.file().display())));
    }
    eventually("the agent of the new one is offline", || {
        SqliteStore::open_to_read(&SqliteConfig::file(scene.file()))
            .and_then(|mut store| store.agent(planted.silent))
            .is_ok_and(|agent| agent.health == AgentCondition::Offline)
    });
    daemon.stop();
}

#[test]
fn a_fleet_is_told_as_tables_and_as_json() {
    let scene = Scene::new();
    let planted = plant(&scene);
    {
        // Written by somebody who does not check.
        let mut other = SqliteConnection::establish(scene.file().to_str().unwrap()).unwrap();
        let evil = format!(
            "UPDATE fleet_agents SET status_message = 'a' || char(27) || '[31m' || char(10) || '{}' WHERE id = {}",
            "x".repeat(200),
            planted.silent
        );
        other.batch_execute(&evil).unwrap();
    }
    let (code, out, err) = scene.fleet(&["agents"]);
    assert_eq!((code, &*err), (Some(0), ""));
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[0], "ID  NAME    KIND      TENANT  STATUS  HEALTH  HOLDS  SEEN  WHY");
    assert!(
        lines[1].starts_with("1   silent  platform  -       active  online  1/5    20m   a\\u{1b}[31m\\nxxx"),
        "{out}"
    );
    assert!(lines[1].ends_with("x…") && lines[1].chars().count() < 150, "{out}");
    assert!(lines[2].starts_with("2   live    platform  -       active  online  1/5    "), "{out}");
    assert_eq!(lines.len(), 3);

    let (_, out, _) = scene.fleet(&["jobs"]);
    let lines: Vec<&str> = out.lines().collect();
    assert!(
        lines[2].starts_with("2   scan  1       platform  critical  running  20m  1       19m ago  1"),
        "{out}"
    );
    assert!(lines[3].starts_with("3   scan  1       platform  low       pending  15m  -       -"), "{out}");
    let (_, out, _) = scene.fleet(&["queue"]);
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[0], "NEXT  ID  KIND  TENANT  PRIORITY  PLACE  WAITS  CLAIMS  ONLY  WHY");
    assert!(lines[2].starts_with("2     3   scan  1       low       "), "{out}");
    assert_eq!(lines.len(), 3);
    let (_, out, _) = scene.fleet(&["tokens"]);
    let lines: Vec<&str> = out.lines().collect();
    assert!(
        lines[1].starts_with("1   dead   -       any   expired  0/1   8d ago   30d  good for nothing for 8d"),
        "{out}"
    );
    assert!(lines[2].starts_with("2   fresh  -       any   active   2     never    30d"), "{out}");

    let (code, out, err) = scene.fleet(&["jobs", "--json", "--limit", "2"]);
    assert_eq!((code, &*err), (Some(0), "the first 2; more with --limit N or --after 2\n"));
    let rows: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 2);
    assert_eq!(
        (&rows[1]["id"], &rows[1]["state"], &rows[1]["agent"]),
        (&2.into(), &"running".into(), &1.into())
    );
    assert!(rows[1]["lease_until"].as_str().unwrap().ends_with('Z'), "{out}");
    let (_, out, err) = scene.fleet(&["jobs", "--limit", "1", "--after", "1"]);
    assert!(out.lines().nth(1).unwrap().starts_with("2 "), "{out}");
    assert_eq!(err, "the first 1; more with --limit N or --after 2\n");
    let (_, _, err) = scene.fleet(&["queue", "--json", "--limit", "1"]);
    assert_eq!(err, "the first 1; more with --limit N\n");
}

#[test]
fn a_program_that_asks_gets_all_rows() {
    const N: usize = 2_500;
    let scene = Scene::new();
    drop(scene.store());
    let mut other = SqliteConnection::establish(scene.file().to_str().unwrap()).unwrap();
    let tokens = format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {N})
         INSERT INTO fleet_tokens (name, prefix, hash, created_by, created_at) SELECT 't', i, i, 'root', 0 FROM n"
    );
    other.batch_execute(&tokens).unwrap();
    let (code, out, err) = scene.fleet(&["tokens", "--json"]);
    assert_eq!((code, out.lines().count(), &*err), (Some(0), N, ""));
    let (_, out, err) = scene.fleet(&["tokens"]);
    assert_eq!((out.lines().count(), &*err), (101, "the first 100; more with --limit N or --after 100\n"));
    // One that cannot be read is told, and the others are there.
    other.batch_execute("UPDATE fleet_tokens SET kind = 'robot' WHERE id = 7").unwrap();
    let (code, out, err) = scene.fleet(&["tokens", "--json"]);
    assert_eq!((code, out.lines().count()), (Some(1), N - 1));
    assert!(err.contains("left out") && err.contains("robot"), "{err}");
}

#[test]
fn an_agent_that_ails_says_with_what() {
    let scene = Scene::new();
    let planted = plant(&scene);
    let mut store = scene.store();
    store.set_agent_status("root", planted.live, AgentStatus::Disabled, "to be mended").unwrap();
    store.set_agent_status("root", planted.live, AgentStatus::Active, "back in service").unwrap();
    assert!(scene.fleet(&["agents"]).1.contains("back in service"));
    store.heartbeat(planted.live, &Heartbeat::new().error("the disk is full")).unwrap();
    let (_, out, _) = scene.fleet(&["agents"]);
    assert!(out.contains("the disk is full") && !out.contains("back in service"), "{out}");
}

#[test]
fn why_a_pass_would_change_something_is_told_rule_by_rule() {
    let scene = Scene::new();
    let planted = plant(&scene);
    let stuck = planted.stuck.to_string();
    let (code, out, err) = scene.fleet(&["why", "job", &stuck]);
    assert_eq!((code, &*err), (Some(0), ""));
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[0], "command 2, running, by one with defaults, as none is deployed:");
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("  stuck: leaves it: its holder lives and its claim is 20m")),
        "{out}"
    );

    // As it is deployed, and not one that is disabled.
    scene.dir.write(
        "deploy/a.json",
        r#"{"name": "off", "type": "job-recovery", "enabled": false, "config": {"stuck_threshold": "1h"}}"#,
    );
    scene.deploy_as("recovery", "job-recovery", "\"stuck_threshold\": \"10m\"");
    scene.dir.write("deploy/w.json", tcp("w", 1));
    // Of other types, and one that is broken.
    let monitor = r#"{"name": "m", "type": "monitor", "config": {"checkers": [{"name": "l", "load": {}}]}}"#;
    scene.dir.write("deploy/m.json", monitor);
    scene.dir.write("deploy/n.json", "{");
    let (_, out, _) = scene.fleet(&["why", "job", &stuck]);
    assert!(out.starts_with("command 2, running, by recovery:\n") && !out.contains("by off"), "{out}");
    assert!(out.contains("\n  stuck: changes it: its lease is over and its claim is 20m"), "{out}");

    // Each that is deployed, and what keeps it from doing so.
    scene.deploy_as("rehearsal", "job-recovery", "\"stuck_threshold\": \"10m\", \"dry_run\": true");
    scene.deploy_as("on-call", "job-recovery", "\"stuck_threshold\": \"10m\", \"paused\": true");
    let (_, out, _) = scene.fleet(&["why", "job", &stuck]);
    assert!(out.contains("by rehearsal (a dry run: nothing is changed):\n"), "{out}");
    assert!(out.contains("by on-call (starts paused: runs when it is triggered):\n"), "{out}");
    assert_eq!(out.matches("  stuck: would change it: ").count(), 2, "{out}");
    assert_eq!(out.matches("  stuck: changes it: ").count(), 1, "{out}");
    let (_, out, _) = scene.fleet(&["why", "job", &stuck, "--json"]);
    let rehearsal = out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let rehearsal = rehearsal.into_iter().find(|told| told["pass"] == "rehearsal").unwrap();
    assert_eq!((&rehearsal["dry_run"], &rehearsal["paused"]), (&true.into(), &false.into()));

    // Of a name that stands twice the first file has it.
    let twice = |file: &str, enabled: bool| {
        let text = format!(
            r#"{{"name": "twice", "type": "job-recovery", "enabled": {enabled}, "config": {{"dry_run": true}}}}"#
        );
        scene.dir.write(&format!("deploy/{file}.json"), text);
    };
    let told = || scene.fleet(&["why", "job", &stuck]).1.matches("by twice (a dry run").count();
    twice("x", true);
    twice("y", true);
    assert_eq!(told(), 1);
    twice("x", false);
    assert_eq!(told(), 0, "the first is disabled");
    let nowhere = scene.dir.path().join("nowhere").display().to_string();
    let (_, out, _) = scene.fleet(&["why", "job", &stuck, "--deploy", &nowhere]);
    let unknown = "by one with defaults, as what is deployed is not known: ";
    assert!(out.contains(unknown) && out.contains(&nowhere), "{out}");

    let (_, out, _) = scene.fleet(&["why", "agent", &planted.silent.to_string()]);
    assert!(out.contains("\n  offline: changes it: last heard of 20m"), "{out}");
    let (_, out, _) = scene.fleet(&["why", "token", &planted.dead_token.to_string(), "--json"]);
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&told["reasons"][0]["step"], &told["reasons"][0]["touched"]),
        (&"cleanup".into(), &true.into())
    );
    let (_, out, _) = scene.fleet(&["why", "record", "1"]);
    assert!(out.contains("\n  retention: changes it: it is 9600h"), "{out}");
    let (code, out, err) = scene.fleet(&["why", "job", "99"]);
    assert_eq!((code, &*out, &*err), (Some(1), "", "loopkeeper: there is no command 99\n"));
}

#[test]
fn a_store_that_is_not_there_or_not_ours_is_told_and_none_is_made() {
    let scene = Scene::new();
    let (code, out, err) = scene.fleet(&["agents"]);
    assert_eq!((code, &*out), (Some(1), ""));
    let next =
        "; the daemon makes it when a type of the fleet is deployed, and --config says where else to look\n";
    let expected = format!("loopkeeper: sqlite loopkeeper.db: there is no such file{next}");
    assert_eq!(short(scene.dir.path(), &err), expected);
    assert!(!scene.file().exists());

    let elsewhere = scene.dir.path().join("a % b?#.db");
    let run = |sql: &str| {
        SqliteConnection::establish(elsewhere.to_str().unwrap()).unwrap().batch_execute(sql).unwrap();
    };
    run("CREATE TABLE t (x)");
    let set = format!("store.url=sqlite:{}", elsewhere.display());
    let fleet = || scene.fleet(&["agents", "--set", &set]);
    let (code, _, err) = fleet();
    assert_eq!(code, Some(1));
    let expected = format!("loopkeeper: sqlite a % b?#.db: no fleet is kept here{next}");
    assert_eq!(short(scene.dir.path(), &err), expected);
    drop(SqliteStore::open(&SqliteConfig::file(&elsewhere)).unwrap());
    assert_eq!(fleet().0, Some(0));
    run("INSERT INTO fleet_versions VALUES (99, 'x')");
    let (code, _, err) = fleet();
    assert_eq!(code, Some(1));
    assert!(err.contains("version 99") && err.contains("use a newer program"), "{err}");

    for (args, code) in [(&["host"][..], 2), (&[], 2), (&["agents", "--set", "store.url=mysql:x"], 78)] {
        assert_eq!(scene.fleet(args).0, Some(code), "{args:?}");
    }
}

#[test]
fn who_may_only_read_can_look_and_nothing_is_changed() {
    let scene = Scene::new();
    let planted = plant(&scene);
    let mut store = SqliteStore::open_to_read(&SqliteConfig::file(scene.file())).unwrap();
    assert_eq!(store.agent(planted.live).unwrap().name, "live");
    let refused = store.create_tenant("evil", Plan::Free).unwrap_err();
    assert!(refused.report().to_string().contains("readonly"), "{}", refused.report());
    drop(store);

    // Nobody has it open, and who asks may not make the files of sharing.
    drop(scene.store());
    let left = |end: &str| Path::new(&format!("{}{end}", scene.file().display())).exists();
    assert!(!left("-wal") && !left("-shm"));
    let program = scene.dir.path().join("program");
    fs::copy(env!("CARGO_BIN_EXE_loopkeeper"), &program).unwrap();
    let closed = fs::Permissions::from_mode(0o555);
    fs::set_permissions(scene.dir.path(), closed).unwrap();
    let mut command = std::process::Command::new(program);
    command.args(["fleet", "agents", "--config", &scene.config()]).env_clear();
    if fs::metadata(scene.file()).unwrap().uid() == 0 {
        command.uid(65_534);
    }
    let (code, out, err) = ended(&command.output().unwrap());
    fs::set_permissions(scene.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!((code, &*err), (Some(0), ""));
    assert!(out.contains("silent"), "{out}");
    assert!(!left("-wal") && !left("-shm"));
}

#[test]
fn another_store_counts_from_the_next_start() {
    let scene = Scene::new();
    let mut daemon = scene.start();
    let changed = r#"{"http": {"listen": "127.0.0.1:0"}, "deploy": {"scan_interval": "50ms"},
        "store": {"url": "sqlite:hunter2.db"}}"#;
    scene.dir.put("loopkeeper.json", changed);
    daemon.signal("-HUP");
    let restart = || daemon.status("config")["config"]["needs_restart"] == serde_json::json!(["store.url"]);
    eventually("it says so", restart);
    assert!(!daemon.text("/config").contains("hunter2") && !daemon.log().contains("hunter2"));
    daemon.stop();
}

#[test]
fn where_a_store_is_comes_with_its_place_and_its_password_is_not_told() {
    let scene = Scene::new();
    let explained = |args: &[&str]| {
        let (_, out, err) = run_to_end(&[&["explain", "store"], args].concat());
        format!("{out}{err}")
    };
    let password = "store.url=postgres://me:hunter2@127.0.0.1:1/x";
    let told = explained(&["--set", password]);
    assert!(!told.contains("hunter2"), "{told}");
    if cfg!(feature = "postgres") {
        assert!(told.starts_with("store.url = \"<secret>\" (--set)\n"), "{told}");
        let (code, _, err) = scene.fleet(&["agents", "--set", password]);
        assert_eq!(code, Some(1));
        assert!(err.starts_with("loopkeeper: postgres 127.0.0.1:1/x: ") && !err.contains("hunter2"), "{err}");
    } else {
        assert_eq!(
            told,
            "--set: store.url: is a PostgreSQL server's, and this program was built without the feature postgres\n"
        );
    }
    scene.dir.write("url", "mysql://me:hunter2@host/x\n");
    let file = scene.dir.write("other.json", r#"{"store": {"url_file": "url"}}"#);
    let told = explained(&["--config", file.to_str().unwrap()]);
    assert!(
        told.contains("store.url: expected sqlite:PATH or postgres://") && !told.contains("hunter2"),
        "{told}"
    );

    // Relative to the folder of the file that says so.
    fs::create_dir(scene.dir.path().join("data")).unwrap();
    drop(SqliteStore::open(&SqliteConfig::file(scene.dir.path().join("data/a.db"))).unwrap());
    scene.dir.write("loopkeeper.json", r#"{"store": {"url": "sqlite:data/a.db"}}"#);
    assert_eq!(scene.fleet(&["agents"]).0, Some(0));
    for url in ["sqlite::memory:", "sqlite://a.db", "a.db", "5", ""] {
        let (code, _, err) = scene.fleet(&["agents", "--set", &format!("store.url={url}")]);
        assert_eq!(code, Some(78), "{url}: {err}");
        assert!(err.starts_with("--set: store.url: ") && err.contains("sqlite:PATH"), "{url}: {err}");
    }
}

#[cfg(feature = "postgres")]
#[test]
#[allow(clippy::disallowed_methods, reason = "tests are told by the environment where a server is")]
fn a_daemon_puts_a_fleet_on_a_server_right() {
    let Ok(server) = std::env::var("LOOPKEEPER_TEST_POSTGRES") else {
        return println!("skipped: LOOPKEEPER_TEST_POSTGRES does not say where a server is");
    };
    let run = |sql: &str| diesel::PgConnection::establish(&server).unwrap().batch_execute(sql).unwrap();
    let schema = format!("daemon_{}", std::process::id());
    run(&format!("CREATE SCHEMA {schema}"));
    let more = if server.contains('?') { '&' } else { '?' };
    let url = format!("{server}{more}options=-csearch_path%3D{schema}");
    let scene = Scene::new();
    let mut store = PostgresStore::open(&PostgresConfig::new(&url)).unwrap();
    let planted = plant_in(&mut store, &scene);
    drop(store);
    scene.dir.write("url", format!("{url}\n"));
    scene.dir.put("loopkeeper.json", r#"{"http": {"listen": "127.0.0.1:0"}, "store": {"url_file": "url"}}"#);
    scene.deploy("");
    let mut daemon = scene.start();
    eventually("each has told what it did", || TYPES.iter().all(|kind| !summaries(&daemon, kind).is_empty()));
    let (code, out, err) = scene.fleet(&["jobs", "--json"]);
    assert_eq!((code, &*err), (Some(0), ""));
    let states: BTreeMap<i64, String> = out
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|job| (job["id"].as_i64().unwrap(), job["state"].as_str().unwrap().to_owned()))
        .collect();
    let state = |job: CommandId| states[&job.0].as_str();
    assert_eq!(
        [planted.late, planted.stuck, planted.waiting, planted.running].map(state),
        ["expired", "pending", "pending", "running"]
    );
    assert!(!scene.file().exists());
    daemon.stop();
    run(&format!("SET client_min_messages = 'warning'; DROP SCHEMA {schema} CASCADE"));
}
