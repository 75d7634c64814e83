//! What is special about a file: other programs that write to it, locks, full
//! disks, versions, threads and crashes.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::sql_types::Text;
use diesel::{Connection, QueryableByName, RunQueryDsl, SqliteConnection};
use loopkeeper::fleet::*;
use loopkeeper::{Error, ErrorClass, ErrorKind};

use crate::fixture::{DAY, DISAGREES, Fleet, LEASE, NEVER, NEVER_ELSEWHERE, mins, secs};
use crate::support::{TempDir, eventually};

fn config(path: &Path) -> SqliteConfig {
    SqliteConfig::file(path).busy_timeout(secs(20))
}

fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(&config(path)).unwrap()
}

/// Somebody else with the same file.
struct Other(SqliteConnection);

impl Other {
    fn new(path: &Path) -> Self {
        let mut other = Self(SqliteConnection::establish(path.to_str().unwrap()).unwrap());
        other.run("PRAGMA busy_timeout = 20000");
        other
    }

    fn run(&mut self, sql: &str) {
        self.0.batch_execute(sql).unwrap();
    }

    fn refused(&mut self, sql: &str) -> String {
        self.0.batch_execute(sql).unwrap_err().to_string()
    }

    fn text(&mut self, sql: &str) -> String {
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = Text)]
            text: String,
        }
        let rows: Vec<Row> = diesel::sql_query(sql).load(&mut self.0).unwrap();
        rows[0].text.clone()
    }
}

fn in_file(test: impl FnOnce(&Path, Fleet<SqliteStore>)) {
    let dir = TempDir::new("fleet");
    let path = dir.path().join("fleet.db");
    test(&path, Fleet::new(open(&path)));
}

#[test]
fn the_settings_of_a_connection_are_those_that_are_told() {
    in_file(|path, _f| {
        let mut other = Other::new(path);
        assert_eq!(other.text("SELECT journal_mode AS text FROM pragma_journal_mode"), "wal");
    });
}

#[test]
fn a_step_that_fails_keeps_no_other_from_its_work() {
    in_file(|path, mut f| {
        Other::new(path).run(
            "CREATE TRIGGER no BEFORE UPDATE ON fleet_commands WHEN new.state = 'expired'
             BEGIN SELECT RAISE(ABORT, 'not today'); END",
        );
        crate::fixture::a_step_fails(&mut f, "not today");
    });
}

#[test]
fn what_cannot_be_read_is_passed_by() {
    in_file(|path, mut f| {
        let mut other = Other::new(path);
        other.run("PRAGMA ignore_check_constraints = ON");
        crate::fixture::unreadable_rows(&mut f, &mut |sql| other.run(sql));
    });
}

#[test]
fn a_file_keeps_what_was_in_it() {
    in_file(|path, mut f| {
        let agent = f.agent("a");
        let job = f.job();
        f.enqueue(job);
        let lease = f.claim(agent);
        let (now, before, records) = (f.now(), f.get(lease.command), f.audit());
        drop(f);
        let mut store = open(path);
        store.set_now(now);
        assert_eq!(store.command(lease.command).unwrap(), before);
        assert_eq!(store.audit(0, 100).unwrap().rows, records);
        store.start(&lease).unwrap();
    });
}

#[test]
fn the_clock_is_the_databases() {
    let mut store = SqliteStore::open(&SqliteConfig::memory()).unwrap();
    let tenant = store.create_tenant("acme", Plan::Free).unwrap();
    let before = store.now().unwrap();
    let real = crate::fixture::real_now();
    assert!(before.as_micros().abs_diff(real) < 60_000_000, "{before}");
    let id = store.enqueue(&NewCommand::job(tenant, CommandKind::Scan, "{}")).unwrap();
    let made = store.command(id).unwrap().created_at;
    assert!(before <= made && made <= store.now().unwrap());
}

#[test]
fn a_file_of_a_newer_program_is_refused() {
    in_file(|path, f| {
        drop(f);
        Other::new(path).run("INSERT INTO fleet_versions VALUES (6, 'x')");
        let error = SqliteStore::open(&config(path)).unwrap_err();
        assert_eq!((error.kind(), error.class()), (ErrorKind::Store, ErrorClass::Terminal));
        let text = "the database is at version 6 of its tables, this program knows 5: use a newer program";
        assert_eq!(error.to_string(), text);
        Other::new(path).run("DELETE FROM fleet_versions; INSERT INTO fleet_versions VALUES (1, 'x')");
        let error = SqliteStore::open(&config(path)).unwrap_err().to_string();
        assert_eq!(error, "version 1 of the tables was made from another text than this program has");
    });
}

#[test]
fn a_file_of_an_older_program_is_brought_up_and_keeps_what_it_has() {
    in_file(|path, mut f| {
        let (order, job, agent) = (f.order(), f.job(), f.agent("a"));
        let (id, held) = (f.enqueue(order), f.enqueue(job));
        let lease = f.claim(agent);
        drop(f);
        Other::new(path).run(
            "DROP INDEX fleet_commands_unclaimed;
             UPDATE fleet_agents SET status = 'revoked'; DELETE FROM fleet_versions WHERE version > 1",
        );
        let mut store = SqliteStore::open(&config(path)).unwrap();
        assert_eq!(store.command(id).unwrap().state, CommandState::Pending);
        assert_eq!(store.command(held).unwrap().fence, lease.fence + 1, "a revoked agent's hands are empty");
        assert_eq!(store.start(&lease).unwrap_err().kind(), ErrorKind::Stale);
        let index = "SELECT name AS text FROM sqlite_master WHERE name = 'fleet_commands_unclaimed'";
        assert_eq!(Other::new(path).text(index), "fleet_commands_unclaimed");
        assert_eq!(Other::new(path).text("SELECT MAX(version) || '' AS text FROM fleet_versions"), "5");
    });
}

#[test]
fn what_is_no_database_is_told_and_left_alone() {
    let dir = TempDir::new("fleet");
    let path = dir.write("notes.txt", "Buy milk. ".repeat(1000));
    let error = SqliteStore::open(&config(&path)).unwrap_err();
    assert_eq!((error.kind(), error.class()), (ErrorKind::Store, ErrorClass::Terminal), "{}", error.report());
    assert!(error.report().to_string().contains("not a database"), "{}", error.report());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "Buy milk. ".repeat(1000));
    let missing = dir.path().join("no/such/folder/fleet.db");
    let error = SqliteStore::open(&config(&missing)).unwrap_err().report().to_string();
    assert!(error.starts_with(&format!("sqlite {}", missing.display())), "{error}");
}

#[test]
fn two_programs_may_start_on_an_empty_file_at_once() {
    for _ in 0..30 {
        let dir = TempDir::new("fleet");
        let path = dir.path().join("fleet.db");
        threads(4, |_| drop(open(&path)));
        assert_eq!(Other::new(&path).text("SELECT COUNT(*) || '' AS text FROM fleet_versions"), "5");
    }
}

#[test]
fn others_cannot_write_what_does_not_agree() {
    in_file(|path, mut f| {
        let agent = f.agent("a");
        let mut other = Other::new(path);
        let mut refused = |table: &str, set: &str| {
            let error = other.refused(&format!("UPDATE {table} SET {set}"));
            assert!(error.contains("CHECK constraint failed"), "{table}: {set}: {error}");
        };
        for (state, disagrees) in DISAGREES {
            let id = f.in_state(agent, state);
            for set in NEVER.iter().chain(disagrees) {
                refused("fleet_commands", &format!("{set} WHERE id = {id}"));
            }
            let _ = f.store.cancel("root", id, "done with");
        }
        for (table, set) in NEVER_ELSEWHERE {
            refused(table, set);
        }
    });
}

#[test]
fn a_row_that_cannot_be_read_hides_no_other() {
    in_file(|path, mut f| {
        for _ in 0..3 {
            let job = f.job();
            f.enqueue(job);
        }
        let mut other = Other::new(path);
        other.run(
            "PRAGMA ignore_check_constraints = ON; UPDATE fleet_commands SET state = 'lost' WHERE id = 2",
        );
        let listing = f.store.commands(CommandId(0), 10).unwrap();
        assert_eq!(listing.rows.iter().map(|row| row.id.0).collect::<Vec<_>>(), [1, 3]);
        let text = "fleet_commands, row 2, state: state of a command: expected one of pending, acknowledged, running, \
                    completed, failed, canceled, expired, found \"lost\"";
        assert_eq!(listing.unreadable, [text]);
        assert_eq!(f.store.command(CommandId(2)).unwrap_err().kind(), ErrorKind::Store);
        f.wait(mins(61));
        assert_eq!(f.recovery().count("expired"), 2, "no pass touches what it does not know");
    });
}

#[test]
fn a_locked_file_is_waited_for_and_then_told() {
    in_file(|path, mut f| {
        let job = f.job();
        let mut other = Other::new(path);
        other.run("BEGIN IMMEDIATE");
        let mut hasty = SqliteStore::open(&SqliteConfig::file(path).busy_timeout(Duration::from_millis(50)));
        let error = hasty.as_mut().err().map(|error| error.clone());
        let error = error.unwrap_or_else(|| hasty.unwrap().enqueue(&job).unwrap_err());
        assert_eq!(
            (error.kind(), error.class()),
            (ErrorKind::Store, ErrorClass::Retryable),
            "{}",
            error.report()
        );
        assert!(error.report().to_string().contains("locked"), "{}", error.report());
        // Reading goes on meanwhile.
        assert_eq!(f.store.queue(10).unwrap().rows.len(), 0);
        other.run("COMMIT");
        f.enqueue(job);
    });
}

#[test]
fn a_full_disk_changes_nothing_and_is_told() {
    in_file(|path, mut f| {
        let agent = f.agent("a");
        let job = f.job();
        let id = f.enqueue(job);
        let lease = f.claim(agent);
        f.store.start(&lease).unwrap();
        drop(f.store);
        // A trigger stands in for the disk at the last write of a transaction.
        let mut other = Other::new(path);
        other.run(
            "CREATE TRIGGER full BEFORE INSERT ON fleet_audit BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END",
        );
        let mut store = open(path);
        let error = store.cancel("root", id, "no").unwrap_err();
        assert_eq!(
            (error.kind(), error.class()),
            (ErrorKind::Store, ErrorClass::Retryable),
            "{}",
            error.report()
        );
        assert_eq!(store.command(id).unwrap().state, CommandState::Running, "all of it or nothing");
        other.run("DROP TRIGGER full");
        store.cancel("root", id, "no").unwrap();
        assert_eq!(store.command(id).unwrap().state, CommandState::Canceled);
    });
}

fn old_records(f: &mut Fleet<SqliteStore>) {
    for n in 0..5 {
        f.store.append(&NewAudit::new("alice", "thing.do", format!("thing {n}"))).unwrap();
    }
    f.wait(DAY * 366);
}

fn retain(f: &mut Fleet<SqliteStore>, dry_run: bool) -> Result<PassReport, Error> {
    let pass = AuditRetention::new(AuditRetentionConfig { dry_run, ..Default::default() }).unwrap();
    pass.pass(&mut f.store, &PassContext::unbounded())
}

#[test]
fn cct_14_a_count_that_fails_is_told_and_nothing_is_deleted() {
    in_file(|path, mut f| {
        old_records(&mut f);
        let mut other = Other::new(path);
        other.run("ALTER TABLE fleet_audit RENAME TO away");
        let error = retain(&mut f, true).unwrap_err();
        assert_eq!((error.kind(), error.class()), (ErrorKind::Store, ErrorClass::Terminal));
        assert!(error.report().to_string().contains("count_daily: no such table"), "{}", error.report());
        assert!(retain(&mut f, false).is_err());
        other.run("ALTER TABLE away RENAME TO fleet_audit");
        assert_eq!(f.audit().len(), 5);
    });
}

#[test]
fn cct_15_a_delete_that_fails_is_told_and_leaves_no_record() {
    in_file(|path, mut f| {
        old_records(&mut f);
        let mut other = Other::new(path);
        other.run("CREATE TRIGGER no BEFORE DELETE ON fleet_audit BEGIN SELECT RAISE(ABORT, 'not now'); END");
        let error = retain(&mut f, false).unwrap_err().report().to_string();
        assert!(error.contains("delete_daily: not now"), "{error}");
        assert_eq!(f.audit().len(), 5);
        // The record and what it tells of are one.
        other.run(
            "DROP TRIGGER no;
             CREATE TRIGGER no BEFORE INSERT ON fleet_audit BEGIN SELECT RAISE(ABORT, 'not now'); END",
        );
        assert!(retain(&mut f, false).is_err());
        assert_eq!(f.audit().len(), 5);
        other.run("DROP TRIGGER no");
        assert_eq!(retain(&mut f, false).unwrap().count("deleted"), 5);
        assert!(f.chain().is_sound());
    });
}

#[test]
fn a_chain_that_somebody_touched_is_told() {
    let breaks = |sql: &str| {
        let mut found = Vec::new();
        in_file(|path, mut f| {
            for n in 0..9 {
                f.store.append(&NewAudit::new("alice", "thing.do", format!("thing {n}"))).unwrap();
                f.wait(DAY);
            }
            f.wait(DAY * 360);
            assert_eq!(f.retention(AuditRetentionConfig::default()).count("deleted"), 4);
            assert!(f.chain().is_sound());
            Other::new(path).run(sql);
            found = f.chain().breaks;
        });
        found
    };
    let changed = "record 7: changed: its hash is not that of what it says";
    assert_eq!(breaks("UPDATE fleet_audit SET actor = 'bob' WHERE position = 7"), [changed]);
    assert_eq!(breaks("UPDATE fleet_audit SET at = at + 1 WHERE position = 7"), [changed]);
    assert_eq!(
        breaks("DELETE FROM fleet_audit WHERE position = 7"),
        [
            "records 7 to 7: missing, and retention did not take them",
            "5 records are missing, and retention took 4"
        ]
    );
    assert_eq!(
        breaks("DELETE FROM fleet_audit WHERE position = 10"),
        [
            "records 1 to 4: missing, and retention did not take them",
            "records 10 to 10: missing, and retention did not take them",
            "5 records are missing, and retention took 0"
        ]
    );
    assert_eq!(breaks("UPDATE fleet_audit_head SET hash = 'x'").len(), 1);
    // Retention took 1 to 4, which lends nothing to whoever takes more.
    let begun = breaks("DELETE FROM fleet_audit WHERE position = 5");
    assert_eq!(begun[0], "records 1 to 5: missing, and retention did not take them");
    assert_eq!(
        breaks("DELETE FROM fleet_audit")[0],
        "records 1 to 10: missing, and retention did not take them"
    );
    assert_eq!(breaks("UPDATE fleet_audit SET hash = prev_hash WHERE position = 7").len(), 2);
}

#[test]
fn a_log_whose_beginning_was_taken_is_told() {
    in_file(|path, mut f| {
        for n in 0..9 {
            f.store.append(&NewAudit::new("alice", "thing.do", format!("thing {n}"))).unwrap();
        }
        Other::new(path).run("DELETE FROM fleet_audit WHERE position < 4");
        assert_eq!(
            f.chain().breaks,
            [
                "records 1 to 3: missing, and retention did not take them",
                "3 records are missing, and retention took 0"
            ]
        );
    });
}

#[test]
fn what_a_forged_record_says_of_retention_ends_no_walk_and_no_program() {
    let detail = |first: i64, last: i64| {
        format!("{{\"deleted\": {}, \"first\": {first}, \"last\": {last}, \"cutoff\": 0}}", i64::MAX)
    };
    for (first, last, is_taken) in
        [(1, i64::MAX, true), (i64::MIN, i64::MAX, true), (i64::MAX, 1, false), (3, 3, false), (2, 4, true)]
    {
        in_file(|path, mut f| {
            for n in 0..9 {
                f.store.append(&NewAudit::new("alice", "thing.do", format!("thing {n}"))).unwrap();
            }
            let detail = detail(first, last);
            Other::new(path).run(&format!(
                "DELETE FROM fleet_audit WHERE position IN (2, 4);
                 UPDATE fleet_audit SET action = 'audit.retention', detail = '{detail}' WHERE position = 3"
            ));
            let breaks = f.chain().breaks;
            assert!(breaks[0].starts_with("record 3: changed"), "{breaks:?}");
            assert_eq!(breaks.len(), if is_taken { 1 } else { 3 }, "{first} {last}: {breaks:?}");
        });
    }
}

#[test]
fn a_log_at_the_largest_number_takes_no_more_and_says_so() {
    in_file(|path, mut f| {
        f.store.append(&NewAudit::new("alice", "thing.do", "thing")).unwrap();
        Other::new(path).run(&format!("UPDATE fleet_audit_head SET position = {}", i64::MAX));
        let error = f.store.append(&NewAudit::new("alice", "thing.do", "thing")).unwrap_err();
        assert_eq!((error.kind(), error.class()), (ErrorKind::Store, ErrorClass::Terminal));
        let text = "fleet_audit_head, row 1, position: there is none after the largest number";
        assert_eq!(error.to_string(), text);
        assert_eq!(f.chain().breaks.len(), 2);
    });
}

#[test]
fn a_chain_is_sound_while_retention_takes_from_it() {
    in_file(|path, mut f| {
        for n in 0..2_000_u32 {
            let record = NewAudit::new("alice", "thing.do", format!("thing {n}"));
            let grave = !(500..1_500).contains(&n);
            f.store.append(&if grave { record.severity(Severity::High) } else { record }).unwrap();
        }
        f.wait(DAY * 366);
        let mut other = open(path);
        other.set_now(f.now());
        let mut pages = 0;
        let chain = f.store.verify(&mut || {
            pages += 1;
            // Between the first page and the second.
            if pages == 2 {
                assert_eq!(other.retain(DAY * 365, false, 2_000)?, 1_000);
            }
            Ok(())
        });
        let chain = chain.unwrap();
        assert!(chain.is_sound(), "{chain:?}");
    });
}

#[test]
fn a_transaction_that_the_database_ended_itself_is_over() {
    in_file(|path, mut f| {
        let job = f.job();
        let id = f.enqueue(job);
        // As it does when the disk is full or does not answer.
        let mut other = Other::new(path);
        other.run("CREATE TRIGGER no BEFORE INSERT ON fleet_audit BEGIN SELECT RAISE(ROLLBACK, 'disk I/O error'); END");
        assert!(f.store.cancel("root", id, "no").is_err());
        assert_eq!(f.state(id), CommandState::Pending);
        other.run("DROP TRIGGER no");
        f.store.cancel("root", id, "no").unwrap();
        assert_eq!(f.state(id), CommandState::Canceled);
    });
}

#[test]
#[allow(clippy::disallowed_methods, reason = "the database waits by a clock of its own")]
fn a_wait_that_no_number_holds_is_a_wait() {
    in_file(|path, f| {
        drop(f);
        let store = SqliteStore::open(&config(path).busy_timeout(Duration::MAX)).unwrap();
        let store = std::sync::Mutex::new(store);
        let begun = std::sync::Barrier::new(2);
        let made = threads(2, |i| {
            if i == 1 {
                begun.wait();
                return store.lock().unwrap().create_tenant("late", Plan::Free).is_ok();
            }
            let mut other = Other::new(path);
            other.run("BEGIN IMMEDIATE");
            begun.wait();
            crate::support::pause(Duration::from_millis(200));
            other.run("COMMIT");
            true
        });
        assert_eq!(made, [true, true]);
    });
}

/// Runs `body` on several real threads at once.
#[allow(clippy::disallowed_methods, reason = "several connections at once are what is tested")]
fn threads<T: Send>(n: u32, body: impl Fn(u32) -> T + Sync) -> Vec<T> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..n)
            .map(|i| {
                let body = &body;
                scope.spawn(move || body(i))
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn each_job_is_claimed_once_by_many_at_once() {
    in_file(|path, mut f| {
        let other = f.store.create_tenant("other", Plan::Team).unwrap();
        for i in 0..200 {
            let tenant = if i % 2 == 0 { f.tenant } else { other };
            let priority = if i % 3 == 0 { Priority::High } else { Priority::Normal };
            let job = NewCommand::job(tenant, CommandKind::Scan, "{}").priority(priority);
            f.enqueue(job);
        }
        let agents: Vec<AgentId> = (0..4).map(|i| f.agent(&format!("a{i}"))).collect();
        let now = f.now();
        let done = AtomicU64::new(0);
        threads(6, |i| {
            let mut store = open(path);
            store.set_now(now);
            let Some(agent) = agents.get(i as usize) else {
                // Two more go over the fleet all the while.
                while done.load(Ordering::Relaxed) < 200 {
                    for pass in [true, false] {
                        let cx = PassContext::unbounded();
                        let report = match pass {
                            true => JobRecovery::new(Default::default()).unwrap().pass(&mut store, &cx),
                            false => QueuePriority::new(Default::default()).unwrap().pass(&mut store, &cx),
                        };
                        assert!(report.is_ok(), "{report:?}");
                    }
                }
                return;
            };
            while let Some(claim) = store.claim(*agent, LEASE).unwrap() {
                store.start(&claim.lease).unwrap();
                store.complete(&claim.lease, &format!("{i}")).unwrap();
                done.fetch_add(1, Ordering::Relaxed);
            }
        });
        let rows = f.store.commands(CommandId(0), 1000).unwrap().rows;
        assert!(rows.iter().all(|row| row.state == CommandState::Completed && row.attempts == 1));
        assert_eq!(done.load(Ordering::Relaxed), 200);
    });
}

#[test]
fn one_agent_that_claims_twice_at_once_keeps_to_its_slots() {
    in_file(|path, mut f| {
        let agent = f.register(None, NewAgent::new("a", AgentKind::Platform).max_jobs(7));
        for _ in 0..40 {
            let job = f.job();
            f.enqueue(job);
        }
        let now = f.now();
        let claimed = threads(4, |_| {
            let mut store = open(path);
            store.set_now(now);
            std::iter::from_fn(|| store.claim(agent, LEASE).unwrap()).count()
        });
        assert_eq!(claimed.iter().sum::<usize>(), 7);
    });
}

#[test]
fn a_token_for_three_lets_three_in_of_many_at_once() {
    in_file(|path, mut f| {
        let (_, token) = f.store.create_token("root", &NewToken::for_platform("t").max_uses(3)).unwrap();
        let now = f.now();
        let registered = threads(6, |_| {
            let mut store = open(path);
            store.set_now(now);
            store.register(&token, &NewAgent::new("a", AgentKind::Worker)).is_ok()
        });
        assert_eq!(registered.iter().filter(|in_| **in_).count(), 3);
        assert!(f.chain().is_sound());
    });
}

#[test]
fn passes_with_nothing_to_do_ask_nobody_for_a_lock() {
    in_file(|path, mut f| {
        let (agent, job) = (f.agent("a"), f.job());
        f.enqueue(job);
        let lease = f.claim(agent);
        let mut store = SqliteStore::open(&SqliteConfig::file(path).busy_timeout(Duration::ZERO)).unwrap();
        store.set_now(f.now());
        let mut other = Other::new(path);
        other.run("BEGIN IMMEDIATE");
        let cx = PassContext::unbounded();
        for report in [
            AgentHealth::new(Default::default()).unwrap().pass(&mut store, &cx),
            JobRecovery::new(Default::default()).unwrap().pass(&mut store, &cx),
            QueuePriority::new(Default::default()).unwrap().pass(&mut store, &cx),
            TokenCleanup::new(Default::default()).unwrap().pass(&mut store, &cx),
            AuditRetention::new(Default::default()).unwrap().pass(&mut store, &cx),
        ] {
            assert_eq!(report.unwrap().to_string(), "nothing to do");
        }
        assert!(store.heartbeat(agent, &Heartbeat::new()).is_err(), "somebody does hold the lock");
        other.run("ROLLBACK");

        // One of each that has a limit, and none is past it.
        let limit = mins(60);
        f.store.renew(&lease, DAY).unwrap();
        for waiting in [f.job(), f.order()] {
            f.enqueue(waiting);
        }
        let (revoked, _) = f.store.create_token("root", &NewToken::for_platform("revoked")).unwrap();
        f.store.revoke_token("root", revoked).unwrap();
        f.store.create_token("root", &NewToken::for_platform("expired").expires_at(f.now())).unwrap();
        f.store.append(&NewAudit::new("alice", "thing.do", "thing").severity(Severity::High)).unwrap();
        f.wait(limit);
        store.set_now(f.now());
        other.run("BEGIN IMMEDIATE");
        let health = AgentHealthConfig { stale_timeout: limit, ..Default::default() };
        let recovery = JobRecoveryConfig { max_queue: limit, tenant_max_queue: limit, ..Default::default() };
        let tokens = TokenCleanupConfig { grace: limit, ..Default::default() };
        let audit = AuditRetentionConfig { retention: limit, grave_retention: limit, ..Default::default() };
        for report in [
            AgentHealth::new(health.clone()).unwrap().pass(&mut store, &cx),
            JobRecovery::new(recovery).unwrap().pass(&mut store, &cx),
            TokenCleanup::new(tokens).unwrap().pass(&mut store, &cx),
            AuditRetention::new(audit).unwrap().pass(&mut store, &cx),
        ] {
            assert_eq!(report.unwrap().to_string(), "nothing to do");
        }
        other.run("ROLLBACK");

        // Nor is an agent silent for longer than since it was last heard of.
        f.beat(agent);
        f.wait(limit);
        store.set_now(f.now());
        other.run("BEGIN IMMEDIATE");
        let report = AgentHealth::new(health).unwrap().pass(&mut store, &cx);
        assert_eq!(report.unwrap().to_string(), "nothing to do");
    });
}

/// What a killed program was: it claims and completes until it is killed.
#[test]
fn a_program_to_be_killed() {
    let Some(path) = child_file() else { return };
    let mut store = SqliteStore::open(&config(Path::new(&path))).unwrap();
    let agent = store.agents(AgentId(0), 1).unwrap().rows[0].id;
    loop {
        store.heartbeat(agent, &Heartbeat::new()).unwrap();
        if let Some(claim) = store.claim(agent, secs(1)).unwrap() {
            store.start(&claim.lease).unwrap();
            store.complete(&claim.lease, "{}").unwrap();
        }
        store.append(&NewAudit::new("a", "thing.do", "thing")).unwrap();
    }
}

#[allow(clippy::disallowed_methods, reason = "how the child is told what it is")]
fn child_file() -> Option<String> {
    std::env::var("LOOPKEEPER_TEST_FLEET_CHILD").ok()
}

#[test]
fn programs_that_are_killed_in_the_middle_lose_nothing() {
    in_file(|path, mut f| {
        // The children's time is the database's.
        let real = open(path);
        f.store = real;
        f.agent("a");
        for _ in 0..2_000 {
            let job = f.job();
            f.enqueue(job);
        }
        let me = std::env::current_exe().unwrap();
        let completed = |f: &mut Fleet<SqliteStore>| {
            let rows = f.store.commands(CommandId(0), 10_000).unwrap().rows;
            rows.iter().filter(|row| row.state == CommandState::Completed).count()
        };
        let mut before = 0;
        for _ in 0..4 {
            let mut child = std::process::Command::new(&me)
                .args(["--exact", "sqlite::a_program_to_be_killed", "--nocapture"])
                .env("LOOPKEEPER_TEST_FLEET_CHILD", path)
                .stdout(std::process::Stdio::null())
                .spawn()
                .unwrap();
            eventually("the child to do something", || completed(&mut f) > before + 20);
            child.kill().unwrap();
            child.wait().unwrap();
            before = completed(&mut f);
            assert!(f.chain().is_sound(), "{:?}", f.chain());
        }
        let mut other = Other::new(path);
        assert_eq!(other.text("SELECT integrity_check AS text FROM pragma_integrity_check"), "ok");
        let rows = f.store.commands(CommandId(0), 10_000).unwrap().rows;
        assert_eq!(rows.len(), 2_000);
        for row in rows {
            let done = row.state == CommandState::Completed;
            assert_eq!(done, row.result.is_some() && row.completed_at.is_some(), "{row:?}");
            assert_eq!(row.attempts, row.fence, "{row:?}");
        }
    });
}
