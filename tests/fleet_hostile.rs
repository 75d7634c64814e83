//! What goes wrong around a fleet: clocks that disagree, calls that come twice
//! or late, texts that are none, rows that others wrote, files that are locked,
//! full, gone or garbage, and guessed secrets. Each time: an error that says
//! what is wrong, nothing half done, and the next good call works.

#![allow(clippy::unwrap_used, reason = "test code: what is missing is a failed test")]

mod support;

#[path = "fleet/fixture.rs"]
#[allow(dead_code, reason = "the fleet's other tests use the rest")]
mod fixture;

use std::path::Path;
use std::process::{Command as Program, Stdio};
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::{Connection, SqliteConnection};
use loopkeeper::fleet::*;
use loopkeeper::{Error, ErrorClass, ErrorKind, Stamp};

use fixture::{DAY, Fleet, LEASE, START, mins, secs};
use support::TempDir;

type File = Fleet<SqliteStore>;

fn config(path: &Path) -> SqliteConfig {
    SqliteConfig::file(path).busy_timeout(Duration::from_millis(50))
}

fn open(path: &Path) -> SqliteStore {
    let mut store = SqliteStore::open(&config(path)).unwrap();
    store.set_now(Stamp::from_micros(START));
    store
}

/// A fleet in a file, with an agent of the platform.
fn in_file(test: impl FnOnce(&Path, File, AgentId)) {
    let dir = TempDir::new("fleet-hostile");
    let path = dir.path().join("fleet.db");
    let mut f = Fleet::new(open(&path));
    let agent = f.agent("a");
    test(&path, f, agent);
}

/// A person with a shell.
fn shell(path: &Path, sql: &str) {
    let mut other = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    other.batch_execute("PRAGMA busy_timeout = 20000; PRAGMA ignore_check_constraints = ON").unwrap();
    other.batch_execute(sql).unwrap();
}

fn job(f: &mut File) -> CommandId {
    let job = f.job();
    f.enqueue(job)
}

/// Jobs of tenants who come before all others.
fn rich_jobs(f: &mut File) -> [CommandId; 2] {
    ["one", "two"].map(|name| {
        let tenant = f.store.create_tenant(name, Plan::Enterprise).unwrap();
        f.enqueue(NewCommand::job(tenant, CommandKind::Scan, "{}"))
    })
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, Error>, kind: ErrorKind, text: &str) {
    let error = result.unwrap_err();
    let report = error.report().to_string();
    assert!(
        error.kind() == kind && report.contains(text),
        "expected {kind:?} {text:?}, found {error:?} {report}"
    );
}

/// All that a fleet is, to be compared.
fn all(f: &mut File) -> (Listing<Command>, Listing<Agent>, Vec<AuditRecord>, Listing<Token>) {
    (
        f.store.commands(CommandId(0), 1_000).unwrap(),
        f.store.agents(AgentId(0), 1_000).unwrap(),
        f.audit(),
        f.store.tokens(TokenId(0), 1_000).unwrap(),
    )
}

/// A fleet that still works: a new job goes from the queue to its end.
#[track_caller]
fn works(f: &mut File, agent: AgentId) {
    f.beat(agent);
    let id = job(f);
    loop {
        let lease = f.claim(agent);
        f.store.start(&lease).unwrap();
        f.store.complete(&lease, "{}").unwrap();
        if lease.command == id {
            break;
        }
    }
    assert_eq!(f.state(id), CommandState::Completed);
    assert!(f.chain().is_sound());
}

/// Every pass, each to its end.
fn passes(f: &mut File) -> [PassReport; 5] {
    let cleanup = TokenCleanup::new(TokenCleanupConfig::default()).unwrap();
    [
        f.health(),
        f.recovery(),
        f.priorities(),
        cleanup.pass(&mut f.store, &PassContext::unbounded()).unwrap(),
        f.retention(AuditRetentionConfig::default()),
    ]
}

// Clocks.

#[test]
fn an_agent_with_a_wrong_clock_gets_no_more_and_no_less_time() {
    in_file(|_, mut f, agent| {
        let id = job(&mut f);
        let lease = f.claim(agent);
        for until in [Stamp::from_micros(0), f.after(DAY * 400)] {
            // What the agent believes of its lease is not asked for.
            let believed = Lease { until, ..lease };
            f.store.progress(&believed, 1).unwrap_err();
            assert_eq!(f.store.renew(&believed, LEASE).unwrap().until, lease.until);
            assert_eq!(f.get(id).lease_until, Some(lease.until));
        }
        f.store.start(&Lease { until: Stamp::from_micros(0), ..lease }).unwrap();
        f.store.mark_offline(Duration::from_micros(1), Sweep::default()).unwrap();
        f.wait(LEASE);
        let _ = f.store.mark_offline(secs(1), Sweep::default()).unwrap();
        assert_eq!(f.health().count("requeued"), 1);
        refused(
            f.store.complete(&Lease { until: f.after(DAY), ..lease }, "{}"),
            ErrorKind::Stale,
            "was taken back",
        );
        works(&mut f, agent);
    });
}

#[test]
fn a_database_clock_that_jumps_back_loses_nothing_and_ends_nothing() {
    in_file(|_, mut f, agent| {
        let (held, waiting) = (job(&mut f), job(&mut f));
        let lease = f.claim(agent);
        assert_eq!(lease.command, held);
        f.store.start(&lease).unwrap();
        let _ = passes(&mut f);
        let back = Stamp::from_micros(START - 3_600_000_000);
        f.store.set_now(back);
        for report in passes(&mut f) {
            assert_eq!(report.processed(), 0, "{report}");
        }
        assert_eq!((f.state(held), f.state(waiting)), (CommandState::Running, CommandState::Pending));
        f.store.renew(&lease, LEASE).unwrap();
        f.store.release(&lease).unwrap();
        assert!(f.get(held).waiting_since <= f.get(held).queued_at);
        let lease = f.claim(agent);
        f.store.set_now(Stamp::from_micros(START));
        f.store.start(&lease).unwrap();
        f.store.complete(&lease, "{}").unwrap();
        works(&mut f, agent);
    });
}

#[test]
fn times_from_a_wrong_clock_are_the_commands_own_and_harm_no_other() {
    in_file(|_, mut f, agent| {
        let (past, end) = (Stamp::from_micros(0), Stamp::from_micros(253_402_300_799_999_999));
        let never = f.job().scheduled_at(end);
        let over = f.job().expires_at(past);
        let wild = f.job().scheduled_at(past).expires_at(end);
        let (never, over, wild) = (f.enqueue(never), f.enqueue(over), f.enqueue(wild));
        assert_eq!(f.claim(agent).command, wild);
        assert_eq!(f.recovery().count("expired"), 1);
        assert_eq!((f.state(never), f.state(over)), (CommandState::Pending, CommandState::Expired));
        let _ = f.priorities();
        works(&mut f, agent);
    });
}

// Calls that come twice, or late.

#[test]
fn a_claim_whose_answer_was_lost_is_found_and_the_next_is_another() {
    in_file(|_, mut f, agent| {
        let (first, second) = (job(&mut f), job(&mut f));
        let lost = f.claim(agent).command;
        let next = f.claim(agent);
        assert_eq!((lost, next.command), (first, second));
        let held = f.store.held(agent).unwrap().rows;
        assert_eq!(held.iter().map(|claim| claim.lease.command).collect::<Vec<_>>(), [first, second]);
        assert!(f.store.claim(agent, LEASE).unwrap().is_none());
        assert!(held.iter().all(|claim| claim.command.attempts == 1 && claim.lease.fence == 1));
        for claim in held {
            f.store.start(&claim.lease).unwrap();
            f.store.complete(&claim.lease, "{}").unwrap();
        }
        works(&mut f, agent);
    });
}

#[test]
fn every_call_of_an_agent_can_come_twice() {
    type Call = (&'static str, fn(&mut SqliteStore, &Lease) -> Result<(), Error>);
    let twice: [Call; 6] = [
        ("heartbeat", |store, lease| store.heartbeat(lease.agent, &Heartbeat::new()).map(drop)),
        ("start", |store, lease| store.start(lease)),
        ("progress", |store, lease| store.progress(lease, 40)),
        ("renew", |store, lease| store.renew(lease, LEASE).map(drop)),
        ("complete", |store, lease| store.complete(lease, r#"{"n": 1}"#)),
        ("held", |store, lease| store.held(lease.agent).map(drop)),
    ];
    in_file(|_, mut f, agent| {
        job(&mut f);
        let lease = f.claim(agent);
        for (name, call) in twice {
            call(&mut f.store, &lease).unwrap();
            let mut before = all(&mut f);
            call(&mut f.store, &lease).unwrap_or_else(|error| panic!("{name}: {error}"));
            let mut after = all(&mut f);
            // How often a row was written is all that may differ.
            for all in [&mut before, &mut after] {
                all.0.rows[0].version = 0;
            }
            assert_eq!(before, after, "{name}");
        }
        for (end, again) in [("fail", None), ("release", Some(ErrorKind::Stale))] {
            job(&mut f);
            let lease = f.claim(agent);
            let mut call = || match end {
                "fail" => f.store.fail(&lease, "no"),
                _ => f.store.release(&lease),
            };
            call().unwrap();
            assert_eq!(call().err().map(|error| error.kind()), again, "{end}");
        }
        works(&mut f, agent);
    });
}

#[test]
fn a_registration_that_comes_twice_makes_one_agent() {
    in_file(|_, mut f, agent| {
        let (_, token) = f.store.create_token("root", &NewToken::for_platform("t")).unwrap();
        let new = NewAgent::new("b", AgentKind::Platform);
        f.store.register(&token, &new).unwrap();
        let before = all(&mut f);
        refused(
            f.store.register(&token, &new),
            ErrorKind::NotFound,
            "the secret is not known, or not good any more",
        );
        assert_eq!(all(&mut f), before);
        works(&mut f, agent);
    });
}

#[test]
fn a_number_that_is_not_the_claims_changes_nothing() {
    in_file(|_, mut f, agent| {
        let other = f.agent("b");
        let id = job(&mut f);
        let old = f.claim(agent);
        f.store.release(&old).unwrap();
        let lease = f.claim(other);
        f.store.start(&lease).unwrap();
        assert_eq!((lease.command, lease.fence), (id, 2));
        let mut wrong = vec![old, Lease { agent, ..lease }, Lease { fence: old.fence, ..lease }];
        wrong.extend([0, -1, 3, i64::MAX, i64::MIN].map(|fence| Lease { fence, ..lease }));
        let before = all(&mut f);
        for wrong in wrong {
            for result in [
                f.store.start(&wrong),
                f.store.progress(&wrong, 99),
                f.store.complete(&wrong, "{}"),
                f.store.fail(&wrong, "no"),
                f.store.release(&wrong),
                f.store.renew(&wrong, DAY).map(drop),
            ] {
                refused(result, ErrorKind::Stale, &format!("command {id}: claim"));
            }
            assert_eq!(all(&mut f), before);
        }
        f.store.complete(&lease, "{}").unwrap();
        works(&mut f, agent);
    });
}

// Texts.

const HUGE: usize = (1 << 20) + 1;

/// Texts that promise to be JSON and are not, or cannot be kept.
fn not_json() -> Vec<(String, &'static str)> {
    vec![
        (String::new(), "not JSON"),
        ("{".to_owned(), "not JSON"),
        ("{}{}".to_owned(), "not JSON"),
        ("{host: 'a'}".to_owned(), "not JSON"),
        ("\"a\0b\"".to_owned(), "not JSON"),
        ("\0".to_owned(), "not JSON"),
        ("NaN".to_owned(), "not JSON"),
        ("[".repeat(100_000), "not JSON"),
        (format!("\"{}\"", "x".repeat(HUGE)), "at most 1048576 bytes, found 1048579"),
    ]
}

#[test]
fn payloads_and_results_that_are_not_json_are_refused() {
    in_file(|_, mut f, agent| {
        job(&mut f);
        let lease = f.claim(agent);
        f.store.start(&lease).unwrap();
        let before = all(&mut f);
        for (text, why) in not_json() {
            let bad = NewCommand::job(f.tenant, CommandKind::Scan, &*text);
            refused(f.store.enqueue(&bad), ErrorKind::InvalidArgument, &format!("payload: {why}"));
            refused(f.store.complete(&lease, &text), ErrorKind::InvalidArgument, &format!("result: {why}"));
        }
        assert_eq!(all(&mut f), before);
        // What is JSON is kept to the letter, whatever is in it.
        let wild = format!(
            r#"{{"a": "{}\u0000 é 🦀 '); DROP TABLE fleet_commands; -- :now", "a": 1e400}}"#,
            "x".repeat(1 << 19)
        );
        let id = f.enqueue(NewCommand::job(f.tenant, CommandKind::Scan, &*wild));
        assert_eq!(f.get(id).payload, wild);
        f.store.complete(&lease, &wild).unwrap();
        assert_eq!(f.get(lease.command).result.as_deref(), Some(&*wild));
        works(&mut f, agent);
    });
}

#[test]
fn texts_that_cannot_be_kept_are_refused_or_made_fit() {
    in_file(|_, mut f, agent| {
        let id = job(&mut f);
        let lease = f.claim(agent);
        let (_, token) = f.store.create_token("root", &NewToken::for_platform("t").unlimited()).unwrap();
        let before = all(&mut f);
        let long = "x".repeat(256);
        for (bad, why) in [
            ("", "must not be empty"),
            ("a\0b", "no control characters"),
            (&*long, "at most 255 bytes, found 256"),
        ] {
            let new = |name: &str| NewAgent::new(name, AgentKind::Platform);
            let needs = f.job().needs_capability(bad);
            let offers = new("b").capability(bad);
            for result in [
                f.store.create_tenant(bad, Plan::Free).map(drop),
                f.store.create_token("root", &NewToken::for_platform(bad)).map(drop),
                f.store.create_token(bad, &NewToken::for_platform("t")).map(drop),
                f.store.register(&token, &new(bad)).map(drop),
                f.store.register(&token, &new("b").hostname(bad)).map(drop),
                f.store.register(&token, &offers).map(drop),
                f.store.enqueue(&needs).map(drop),
                f.store.cancel(bad, id, "no"),
                f.store.set_agent_status(bad, agent, AgentStatus::Disabled, "no"),
                f.store.append(&NewAudit::new(bad, "a", "b")).map(drop),
            ] {
                refused(result, ErrorKind::InvalidArgument, why);
            }
        }
        for empty in ["", " \n", "\0\u{1b}"] {
            let decide = f.store.set_agent_status("root", agent, AgentStatus::Disabled, empty);
            for result in [f.store.fail(&lease, empty), f.store.cancel("root", id, empty), decide] {
                refused(result, ErrorKind::InvalidArgument, "message: must not be empty");
            }
        }
        assert_eq!(all(&mut f), before);
        // What an agent tells of its trouble is kept as far as it can be.
        f.store.heartbeat(agent, &Heartbeat::new().error(format!("a\0b{}", "é".repeat(10_000)))).unwrap();
        let kept = f.store.agent(agent).unwrap().last_error.unwrap();
        assert!(kept.starts_with("a bé") && kept.len() < 4100, "{kept}");
        f.store.fail(&lease, &"é".repeat(10_000)).unwrap();
        assert!(f.get(id).message.unwrap().len() < 4100);
        // So is what a tool said in colours, and why somebody decided so.
        f.beat(agent);
        let coloured = job(&mut f);
        let lease = f.claim(agent);
        f.store.fail(&lease, "\u{1b}[31mno route\u{1b}[0m\0").unwrap();
        assert_eq!(f.get(coloured).message.unwrap(), " [31mno route [0m ");
        let other = job(&mut f);
        f.store.cancel("root", other, "not\u{7}wanted").unwrap();
        assert_eq!(f.get(other).message.unwrap(), "not wanted");
        f.store.set_agent_status("root", agent, AgentStatus::Disabled, "out\0side").unwrap();
        assert_eq!(f.store.agent(agent).unwrap().status_message.unwrap(), "out side");
        f.store.set_agent_status("root", agent, AgentStatus::Active, "back").unwrap();
        works(&mut f, agent);
    });
}

// Rows that others wrote.

#[test]
fn a_kind_of_a_newer_program_is_left_for_it_and_blocks_nobody() {
    in_file(|path, mut f, agent| {
        let own = f.own_agent("own");
        let many = f.register(None, NewAgent::new("many", AgentKind::Platform).max_jobs(100));
        let (new, old) = (job(&mut f), job(&mut f));
        let orders = [f.order(), f.order()].map(|order| f.enqueue(order));
        shell(
            path,
            &format!("UPDATE fleet_commands SET kind = 'transmute' WHERE id IN ({new}, {})", orders[0]),
        );
        let rich = rich_jobs(&mut f).map(|id| id.to_string()).join(", ");
        shell(path, &format!("UPDATE fleet_commands SET kind = 'transmute' WHERE id IN ({rich})"));
        assert_eq!(f.claim(agent).command, old);
        shell(path, &format!("DELETE FROM fleet_commands WHERE id IN ({rich})"));
        assert_eq!(f.claim(own).command, orders[1]);
        for agent in [agent, own] {
            assert!(f.store.claim(agent, LEASE).unwrap().is_none());
        }
        refused(
            f.store.command(new),
            ErrorKind::Store,
            "fleet_commands, row 1, kind: kind of command: expected one of scan,",
        );
        assert_eq!(f.store.queue(10).unwrap().unreadable.len(), 1);
        shell(path, "UPDATE fleet_commands SET kind = 'scan'");
        assert_eq!(f.state(new), CommandState::Pending, "nobody has touched it");
        for kind in CommandKind::ALL {
            let id = f.enqueue(NewCommand::job(f.tenant, *kind, "{}").priority(Priority::Critical));
            assert_eq!(f.claim(many).command, id, "{kind}");
        }
        works(&mut f, agent);
    });
}

#[test]
fn words_that_nobody_knows_are_told_by_their_row_and_touched_by_no_pass() {
    in_file(|path, mut f, agent| {
        let strange = f.agent("strange");
        f.store.create_token("root", &NewToken::for_platform("t").kind(AgentKind::Scanner)).unwrap();
        let ids = [job(&mut f), job(&mut f), job(&mut f)];
        let lease = f.claim(agent);
        shell(
            path,
            &format!(
                "UPDATE fleet_commands SET state = 'paused', lease_until = NULL WHERE id IN ({}, {});
                 UPDATE fleet_agents SET status = 'lent' WHERE id = {strange};
                 UPDATE fleet_tokens SET kind = 'ghost' WHERE kind = 'scanner';
                 UPDATE fleet_tenants SET plan = 'gold' WHERE id = 99;
                 INSERT INTO fleet_tenants (id, name, plan, created_at) VALUES (99, 'gold', 'gold', 1);
                 UPDATE fleet_audit SET severity = 'odd' WHERE position = 1",
                lease.command, ids[1]
            ),
        );
        refused(
            f.store.start(&lease),
            ErrorKind::Store,
            "row 1, state: state of a command: expected one of pending,",
        );
        refused(f.store.cancel("root", ids[1], "no"), ErrorKind::Store, "expected one of pending,");
        refused(f.store.claim(strange, LEASE), ErrorKind::Store, "row 2, status: ");
        refused(f.store.heartbeat(strange, &Heartbeat::new()), ErrorKind::Store, "row 2, status: ");
        let told = [
            f.store.commands(CommandId(0), 9).unwrap().unreadable.len(),
            f.store.agents(AgentId(0), 9).unwrap().unreadable.len(),
            f.store.tokens(TokenId(0), 9).unwrap().unreadable.len(),
            f.store.tenants().unwrap().unreadable.len(),
            f.store.audit(0, 99).unwrap().unreadable.len(),
        ];
        assert_eq!(told, [2, 1, 1, 1, 1]);
        let chain = f.chain();
        assert_eq!((chain.records, chain.breaks.len()), (5, 1), "{chain:?}");
        assert!(
            chain.breaks[0].starts_with("record 1: cannot be read: fleet_audit, row 1, severity: "),
            "{chain:?}"
        );
        f.wait(mins(61));
        let [health, recovery, ..] = passes(&mut f);
        assert_eq!((health.count("offline"), health.count("requeued"), recovery.count("expired")), (2, 0, 1));
        shell(path, "UPDATE fleet_audit SET severity = 'info' WHERE position = 1");
        works(&mut f, agent);
        let listed = f.store.commands(CommandId(0), 9).unwrap().unreadable;
        assert!(
            listed.iter().all(|text| text.ends_with("found \"paused\"")) && listed.len() == 2,
            "{listed:?}"
        );
    });
}

#[test]
fn an_agent_finds_its_work_again_beside_what_cannot_be_read() {
    in_file(|path, mut f, agent| {
        let ids = [job(&mut f), job(&mut f), job(&mut f)];
        let many = f.register(None, NewAgent::new("many", AgentKind::Platform).max_jobs(3));
        let leases = ids.map(|_| f.claim(many));
        shell(
            path,
            &format!(
                "UPDATE fleet_commands SET state = 'paused' WHERE id = {};
                 UPDATE fleet_commands SET kind = 'transmute' WHERE id = {}",
                ids[0], ids[1]
            ),
        );
        let held = f.store.held(many).unwrap();
        assert_eq!(held.rows.iter().map(|claim| claim.lease).collect::<Vec<_>>(), [leases[2]]);
        let [state, kind] = &held.unreadable[..] else { panic!("{:?}", held.unreadable) };
        assert!(state.starts_with("fleet_commands, row 1, state: ") && state.ends_with("found \"paused\""));
        assert!(kind.starts_with("fleet_commands, row 2, kind: ") && kind.ends_with("found \"transmute\""));
        f.store.start(&held.rows[0].lease).unwrap();
        f.store.complete(&held.rows[0].lease, "{}").unwrap();
        assert!(f.store.held(agent).unwrap().unreadable.is_empty(), "they are another's");
    });
}

#[test]
fn a_state_that_nobody_knows_at_the_front_of_a_queue_is_in_nobodys_way() {
    in_file(|path, mut f, agent| {
        let own = f.own_agent("own");
        let jobs = [job(&mut f), job(&mut f)];
        let orders = [f.order(), f.order()].map(|order| f.enqueue(order));
        let rich = rich_jobs(&mut f);
        let ids = format!("{}, {}, {}, {}", jobs[0], orders[0], rich[0], rich[1]);
        shell(path, &format!("UPDATE fleet_commands SET state = 'paused' WHERE id IN ({ids})"));
        let waits = f.store.queue(9).unwrap();
        assert_eq!((waits.rows.len(), waits.unreadable), (1, vec![]), "it is not known to wait");
        assert_eq!(f.claim(agent).command, jobs[1]);
        assert_eq!(f.claim(own).command, orders[1]);
    });
}

#[test]
fn a_state_that_nobody_knows_takes_no_place_in_a_batch() {
    in_file(|path, mut f, agent| {
        let own = f.own_agent("own");
        let one = Sweep { batch: 1, dry_run: false };
        let soon = f.after(mins(1));
        type Step = fn(&mut SqliteStore, Sweep) -> Result<Vec<Touched>, Error>;
        let steps: [(Step, NewCommand, String); 5] = [
            (|store, sweep| store.expire_due(sweep), f.job().expires_at(soon), String::new()),
            (|store, sweep| store.expire_queued(Scope::Platform, DAY, sweep), f.job(), String::new()),
            (|store, sweep| store.expire_queued(Scope::Tenant, DAY, sweep), f.order(), String::new()),
            (|store, sweep| store.fail_exhausted(sweep), f.job(), ", attempts = 9".into()),
            (|store, sweep| store.unpin(mins(1), sweep), f.job(), format!(", pinned_to = {own}")),
        ];
        f.store.set_agent_status("root", own, AgentStatus::Disabled, "away").unwrap();
        for (idx, (step, command, set)) in steps.into_iter().enumerate() {
            let [strange, good] = [f.enqueue(command.clone()), f.enqueue(command)];
            shell(
                path,
                &format!("UPDATE fleet_commands SET state = state{set} WHERE id IN ({strange}, {good})"),
            );
            shell(path, &format!("UPDATE fleet_commands SET state = 'paused' WHERE id = {strange}"));
            f.wait(DAY * 2);
            let touched: Vec<CommandId> =
                step(&mut f.store, one).unwrap().into_iter().map(|touched| touched.command).collect();
            assert_eq!(touched, [good], "{idx}");
            shell(path, &format!("DELETE FROM fleet_commands WHERE id IN ({strange}, {good})"));
        }
        let [strange, good] = [job(&mut f), job(&mut f)];
        shell(path, &format!("UPDATE fleet_commands SET state = 'paused' WHERE id = {strange}"));
        f.wait(mins(1));
        // Looked at one by one: the round goes on behind it.
        let moved = [(), ()].map(|()| f.store.reprioritize(1, one).unwrap().moved);
        assert_eq!((moved, f.get(good).version), ([0, 1], 2));
        shell(path, &format!("DELETE FROM fleet_commands WHERE id IN ({strange}, {good})"));
        f.beat(agent);
        works(&mut f, agent);
    });
}

#[test]
fn what_an_agent_holds_that_is_in_no_table_is_taken_back() {
    in_file(|path, mut f, agent| {
        let gone = f.agent("gone");
        let (held, pinned) = (job(&mut f), f.job().pinned_to(gone));
        assert_eq!(f.claim(gone).command, held);
        let pinned = f.enqueue(pinned);
        shell(path, &format!("PRAGMA foreign_keys = ON; DELETE FROM fleet_agents WHERE id = {gone}"));
        f.wait(mins(2));
        assert_eq!(f.health().count("requeued"), 1);
        f.beat(agent);
        let claimed = [f.claim(agent).command, f.claim(agent).command];
        assert_eq!(claimed, [pinned, held], "the time at an agent is no time in the queue");
    });
}

#[test]
fn values_of_a_wrong_type_are_told_and_nothing_panics() {
    for (set, text) in [
        ("payload = CAST(x'ff00fe' AS TEXT)", "utf-8"),
        ("kind = x'00ff'", "utf-8"),
        ("priority = 'high'", "priority: expected 250, 500, 750 or 1000, found 0"),
        ("priority = -9223372036854775808", "found -9223372036854775808"),
    ] {
        in_file(|path, mut f, agent| {
            let id = job(&mut f);
            shell(path, &format!("UPDATE fleet_commands SET {set}"));
            refused(f.store.command(id), ErrorKind::Store, text);
            let _ = f.store.commands(CommandId(0), 9);
            let _ = f.store.claim(agent, LEASE);
            let _ = passes(&mut f);
            shell(path, "UPDATE fleet_commands SET kind = 'scan', priority = 500, payload = '{}'");
            works(&mut f, agent);
        });
    }
}

#[test]
fn numbers_at_their_ends_break_no_pass() {
    for end in [i64::MIN, -1, i64::MAX] {
        in_file(|path, mut f, agent| {
            let (id, other) = (job(&mut f), job(&mut f));
            shell(
                path,
                &format!(
                    "UPDATE fleet_commands SET waiting_since = {end}, queued_at = {end}, created_at = {end},
                         expires_at = {end}, scheduled_at = {end}, fence = 7 WHERE id = {id}"
                ),
            );
            let _ = passes(&mut f);
            assert_eq!(f.claim(agent).command, other);
            let _ = f.get(id);
            works(&mut f, agent);
        });
    }
}

// Files.

#[test]
fn another_process_that_holds_the_file_is_waited_for_and_then_told() {
    in_file(|path, mut f, agent| {
        let id = job(&mut f);
        let (_, token) = f.store.create_token("root", &NewToken::for_platform("t")).unwrap();
        let lease = f.claim(agent);
        let before = all(&mut f);
        let child = child("holds_the_file", path, "");
        f.wait(secs(1));
        let results = [
            f.store.enqueue(&NewCommand::job(f.tenant, CommandKind::Scan, "{}")).map(drop),
            f.store.claim(agent, LEASE).map(drop),
            f.store.start(&lease),
            f.store.cancel("root", id, "no"),
            f.store.register(&token, &NewAgent::new("b", AgentKind::Platform)).map(drop),
            f.store.mark_offline(Duration::ZERO, Sweep::default()).map(drop),
        ];
        for (n, result) in results.into_iter().enumerate() {
            assert_eq!(result.as_ref().err().map(Error::class), Some(ErrorClass::Retryable), "{n}");
            refused(result, ErrorKind::Store, "database is locked");
        }
        assert_eq!(all(&mut f), before, "reading goes on, and nothing has changed");
        assert_eq!(f.recovery().processed(), 0, "nothing to do needs no lock");
        drop(child);
        f.store.start(&lease).unwrap();
        f.store.complete(&lease, "{}").unwrap();
        works(&mut f, agent);
    });
}

#[test]
fn a_disk_that_is_full_is_told_and_what_was_answered_is_kept() {
    let dir = TempDir::new("fleet-hostile");
    let path = dir.path().join("fleet.db");
    let mut f = Fleet::new(open(&path));
    let agent = f.agent("a");
    drop(f.store);
    // In blocks of 512 bytes: some 400 KiB.
    let kept = child("fills_the_disk", &path, "trap '' XFSZ; ulimit -S -f 800;").answer();
    let kept: Vec<i64> = kept.split_whitespace().map(|id| id.parse().unwrap()).collect();
    assert!(kept.len() > 10, "{kept:?}");
    let mut store = open(&path);
    let rows = store.commands(CommandId(0), 100_000).unwrap();
    assert_eq!(rows.rows.iter().map(|row| row.id.0).collect::<Vec<_>>(), kept);
    for row in rows.rows {
        store.cancel("root", row.id, "the disk is larger now").unwrap();
    }
    assert!(store.verify(&mut || Ok(())).unwrap().is_sound());
    let mut f = Fleet::again(store);
    works(&mut f, agent);
}

#[test]
fn a_file_that_is_gone_or_another_is_told_before_anything_is_written_to_nowhere() {
    in_file(|path, mut f, agent| {
        let id = job(&mut f);
        let away = path.with_extension("away");
        std::fs::rename(path, &away).unwrap();
        let told = |f: &mut File| {
            let order = f.order();
            for result in [
                f.store.enqueue(&order).map(drop),
                f.store.claim(agent, LEASE).map(drop),
                f.store.command(id).map(drop),
                f.store.cancel("root", id, "no"),
            ] {
                assert_eq!(result.as_ref().unwrap_err().class(), ErrorClass::Terminal);
                refused(result, ErrorKind::Store, &format!("sqlite {}: ", path.display()));
            }
        };
        told(&mut f);
        refused(
            f.store.command(id),
            ErrorKind::Store,
            "was moved, deleted or replaced; put it back, or open anew",
        );
        std::fs::write(path, "another").unwrap();
        told(&mut f);
        // The right one again.
        std::fs::rename(&away, path).unwrap();
        assert_eq!(f.state(id), CommandState::Pending);
        works(&mut f, agent);
    });
}

#[test]
fn a_file_that_is_garbage_or_cut_off_is_told_and_left_as_it_is() {
    let dir = TempDir::new("fleet-hostile");
    let whole = {
        let path = dir.path().join("whole.db");
        let mut f = Fleet::new(open(&path));
        for _ in 0..50 {
            job(&mut f);
        }
        drop(f);
        std::fs::read(&path).unwrap()
    };
    let mut torn = whole.clone();
    torn[4096..].fill(0x5a);
    let cut = whole[..whole.len() / 2].to_vec();
    let noise: Vec<u8> = (0..20_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for (name, bytes) in [("noise.db", noise), ("torn.db", torn), ("cut.db", cut)] {
        let path = dir.write(name, &bytes);
        let result = SqliteStore::open(&config(&path)).and_then(|mut store| {
            store.commands(CommandId(0), 100)?;
            store.create_tenant("other", Plan::Free)
        });
        let error = result.unwrap_err();
        let report = error.report().to_string();
        assert_eq!(
            (error.kind(), error.class()),
            (ErrorKind::Store, ErrorClass::Terminal),
            "{name}: {report}"
        );
        assert!(report.starts_with(&format!("sqlite {}: ", path.display())), "{report}");
        assert!(report.contains("malformed") || report.contains("not a database"), "{name}: {report}");
        assert_eq!(std::fs::read(&path).unwrap(), bytes, "{name}");
    }
    let folder = dir.path().join("folder.db");
    std::fs::create_dir(&folder).unwrap();
    refused(SqliteStore::open(&config(&folder)), ErrorKind::Store, "unable to open database file");
    drop(open(&dir.write("again.db", &whole)));
}

#[test]
fn a_file_that_may_only_be_read_is_read_and_a_write_is_told() {
    in_file(|path, mut f, agent| {
        let id = job(&mut f);
        let before = all(&mut f);
        let mut only = SqliteStore::open_to_read(&config(path)).unwrap();
        only.set_now(f.after(mins(1)));
        assert_eq!(only.commands(CommandId(0), 9).unwrap(), before.0);
        let results = [
            only.enqueue(&NewCommand::job(f.tenant, CommandKind::Scan, "{}")).map(drop),
            only.claim(agent, LEASE).map(drop),
            only.cancel("root", id, "no"),
            only.mark_offline(secs(1), Sweep::default()).map(drop),
        ];
        for (n, result) in results.into_iter().enumerate() {
            assert_eq!(result.as_ref().err().map(Error::class), Some(ErrorClass::Terminal), "{n}");
            refused(result, ErrorKind::Store, "attempt to write a readonly database");
        }
        assert_eq!(all(&mut f), before);
        works(&mut f, agent);
    });
}

#[test]
fn tables_that_become_newer_under_a_program_are_told_when_it_opens_them_next() {
    in_file(|path, mut f, agent| {
        shell(
            path,
            "INSERT INTO fleet_versions VALUES (6, 'x'); ALTER TABLE fleet_commands ADD COLUMN color TEXT",
        );
        works(&mut f, agent);
        refused(
            SqliteStore::open(&config(path)),
            ErrorKind::Store,
            "the database is at version 6 of its tables, this program knows 5: use a newer program",
        );
        job(&mut f);
        shell(path, "DELETE FROM fleet_versions WHERE version = 6; DROP TABLE fleet_policy");
        refused(
            f.store.agents(AgentId(0), 9).and_then(|_| f.store.claim(agent, LEASE)),
            ErrorKind::Store,
            "no such table",
        );
    });
}

// Secrets.

#[test]
fn secrets_cannot_be_guessed_and_are_not_in_the_file() {
    in_file(|path, mut f, agent| {
        let (_, token) = f.store.create_token("root", &NewToken::for_platform("t").max_uses(2)).unwrap();
        let new = NewAgent::new("b", AgentKind::Platform);
        let key = f.store.register(&token, &new).unwrap().key;
        let before = all(&mut f);
        for secret in [&token, &key] {
            let right = secret.reveal();
            let mut guesses: Vec<String> = (0..=right.len()).map(|n| right[..n].to_owned()).collect();
            guesses.pop();
            guesses.extend([
                format!("{right}a"),
                format!("{right}\0"),
                format!("\0{right}"),
                right.to_uppercase(),
                format!("{}{}", &right[..16], "a".repeat(right.len() - 16)),
                "%".to_owned(),
                "' OR 1 = 1 --".to_owned(),
                "x".repeat(HUGE),
                "é".repeat(100),
            ]);
            for guess in guesses {
                let guess = Secret::new(guess);
                let text = "the secret is not known, or not good any more";
                refused(f.store.register(&guess, &new), ErrorKind::NotFound, text);
                refused(f.store.authenticate(&guess), ErrorKind::NotFound, text);
            }
        }
        refused(f.store.authenticate(&token), ErrorKind::NotFound, "the secret is not known");
        refused(f.store.register(&key, &new), ErrorKind::NotFound, "the secret is not known");
        assert_eq!(all(&mut f), before, "a guess uses nothing up and leaves nothing");
        for file in ["fleet.db", "fleet.db-wal"] {
            let bytes = std::fs::read(path.with_file_name(file)).unwrap();
            for secret in [&token, &key] {
                let rest = &secret.reveal().as_bytes()[20..];
                assert!(
                    !bytes.windows(rest.len()).any(|part| part == rest),
                    "{file} has a secret in the clear"
                );
            }
        }
        f.store.register(&token, &new).unwrap();
        works(&mut f, agent);
    });
}

// Children.

/// A run of this program that does one thing to a file.
struct Child(std::process::Child);

const CHILD_FILE: &str = "LOOPKEEPER_TEST_CHILD_FILE";

/// Starts a child and waits for its first word.
fn child(name: &str, path: &Path, before: &str) -> Child {
    let program = std::env::current_exe().unwrap();
    let child = Program::new("sh")
        .args(["-c", &format!("{before} exec \"$0\" --exact {name} --nocapture")])
        .arg(program)
        .env(CHILD_FILE, path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut child = Child(child);
    child.word();
    child
}

impl Child {
    /// The next line that the child writes for its parent.
    fn word(&mut self) -> String {
        use std::io::Read;
        let stdout = self.0.stdout.as_mut().unwrap();
        let mut text = Vec::new();
        let mut byte = [0];
        loop {
            assert_eq!(
                stdout.read(&mut byte).unwrap(),
                1,
                "the child ended: {}",
                String::from_utf8_lossy(&text)
            );
            match byte[0] {
                b'\n' if text.starts_with(b"child: ") => break,
                b'\n' => text.clear(),
                other => text.push(other),
            }
            // The test's own line comes without an end.
            if text.ends_with(b" ... child: ") {
                text = b"child: ".to_vec();
            }
        }
        String::from_utf8(text[7..].to_vec()).unwrap()
    }

    fn answer(mut self) -> String {
        self.word()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It ends when nobody speaks to it any more.
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}

#[allow(clippy::print_stdout, reason = "how a child speaks to its parent")]
fn as_child(body: impl FnOnce(&Path) -> String) {
    #[allow(clippy::disallowed_methods, reason = "a child is told so by its environment")]
    let Some(path) = std::env::var_os(CHILD_FILE) else { return };
    println!("child: {}", body(Path::new(&path)));
}

#[test]
fn holds_the_file() {
    as_child(|path| {
        let mut connection = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
        connection.batch_execute("PRAGMA busy_timeout = 20000; BEGIN EXCLUSIVE").unwrap();
        as_child(|_| "ready".to_owned());
        std::io::stdin().read_line(&mut String::new()).unwrap();
        String::new()
    });
}

#[test]
fn fills_the_disk() {
    as_child(|path| {
        let mut store = open(path);
        as_child(|_| "ready".to_owned());
        let payload = format!("\"{}\"", "x".repeat(2_000));
        let mut kept = Vec::new();
        let mut errors = Vec::new();
        let job = NewCommand::job(TenantId(1), CommandKind::Scan, &*payload);
        // More than once: a transaction that broke is no reason for another.
        while errors.len() < 3 {
            match store.enqueue(&job) {
                Ok(id) => kept.push(id.to_string()),
                Err(error) => errors.push(error),
            }
        }
        errors.push(store.create_token("root", &NewToken::for_platform("t".repeat(255))).unwrap_err());
        for error in errors {
            let report = error.report().to_string();
            assert_eq!((error.kind(), error.class()), (ErrorKind::Store, ErrorClass::Retryable), "{report}");
            assert!(report.contains("disk is full") || report.contains("disk I/O error"), "{report}");
        }
        // What is there can still be read; and with more room it goes on.
        assert_eq!(store.commands(CommandId(0), 100_000).unwrap().rows.len(), kept.len());
        let process = std::process::id().to_string();
        let grown = Program::new("prlimit").args(["--fsize=unlimited", "--pid", &process]).status().unwrap();
        assert!(grown.success());
        kept.push(store.enqueue(&job).unwrap().to_string());
        kept.join(" ")
    });
}
