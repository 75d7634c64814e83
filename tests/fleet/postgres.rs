//! What is special about a server: it is elsewhere, many ask at once, it
//! restarts.
//!
//! `LOOPKEEPER_TEST_POSTGRES` says where one is, as a URL whose user may make
//! schemas; `none` says that there is none and these tests are not to run.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::{Connection, PgConnection, RunQueryDsl};
use loopkeeper::controller::BackoffConfig;
use loopkeeper::error::Result;
use loopkeeper::fleet::*;
use loopkeeper::status::StatusSource;
use loopkeeper::{ControllerManager, ControllerManagerConfig, ErrorClass, ErrorKind, Stamp};

use crate::fixture::{DISAGREES, Fleet, LEASE, NEVER, NEVER_ELSEWHERE, START, mins};
use crate::support::eventually;

const MOMENT: Duration = Duration::from_micros(1);

/// A server, and a schema of a test's own on it.
pub(crate) struct Server {
    url: String,
    schemas: Mutex<Vec<String>>,
}

impl Server {
    fn schema(&self) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{}_{n}", std::process::id());
        self.schemas.lock().unwrap().push(name.clone());
        name
    }

    fn config(&self, schema: &str) -> PostgresConfig {
        PostgresConfig::new(&self.url).schema(schema)
    }

    pub(crate) fn store(&self) -> PostgresStore {
        PostgresStore::open(&self.config(&self.schema())).unwrap()
    }

    fn run(&self, sql: &str) {
        PgConnection::establish(&self.url).unwrap().batch_execute(sql).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for schema in self.schemas.lock().unwrap().iter() {
            self.run(&format!("SET client_min_messages = 'warning'; DROP SCHEMA IF EXISTS {schema} CASCADE"));
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "tests are told by the environment where a server is")]
#[allow(clippy::print_stdout, reason = "who runs the tests should know what did not run")]
pub(crate) fn with_server(test: impl FnOnce(&Server)) {
    match std::env::var("LOOPKEEPER_TEST_POSTGRES") {
        Ok(none) if none == "none" => println!("skipped: LOOPKEEPER_TEST_POSTGRES is none"),
        Ok(url) => test(&Server { url, schemas: Vec::new().into() }),
        Err(_) => panic!(
            "LOOPKEEPER_TEST_POSTGRES: expected a server's URL, as postgres://user@host:5432/database, or none"
        ),
    }
}

pub(crate) fn with_store(test: impl FnOnce(PostgresStore)) {
    with_server(|server| test(server.store()));
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
fn the_clock_is_the_servers_and_a_password_is_not_shown() {
    with_server(|server| {
        let config = server.config(&server.schema());
        let mut store = PostgresStore::open(&config).unwrap();
        let tenant = store.create_tenant("acme", Plan::Free).unwrap();
        let before = store.now().unwrap();
        let real = crate::fixture::real_now();
        assert!(before.as_micros().abs_diff(real) < 60_000_000, "{before}");
        let id = store.enqueue(&NewCommand::job(tenant, CommandKind::Scan, "{}")).unwrap();
        let made = store.command(id).unwrap().created_at;
        assert!(before <= made && made <= store.now().unwrap());
    });
    let config = PostgresConfig::new("postgres://me:hunter2@127.0.0.1:1/x");
    let error = PostgresStore::open(&config).unwrap_err();
    assert_eq!((error.kind(), error.class()), (ErrorKind::Store, ErrorClass::Retryable));
    let shown = format!("{config:?} {}", error.report());
    assert!(!shown.contains("hunter2") && shown.contains("postgres 127.0.0.1:1/x"), "{shown}");
    // Not as it should be written: it would be told as a host.
    for url in [
        "postgres://me:hun@ter2@h/x",
        "postgres://me:hun/ter2@h/x",
        "postgres://me:hun?ter2@h/x",
        "postgres://h?password=hun@ter2",
        "postgres://me:hun@h/x@ter2",
    ] {
        let error = PostgresStore::open(&PostgresConfig::new(url)).unwrap_err();
        let text = "url: in a name or password, expected %40 for @, %2F for / and %3F for ?";
        assert_eq!((error.kind(), error.report().to_string()), (ErrorKind::InvalidArgument, text.to_owned()));
    }
    for (url, text) in [
        ("postgres://me:hun%ter2@h/x", "url: expected two hexadecimal digits that are not 00 after each %"),
        ("postgres://me:hunter2%@h/x", "url: expected two hexadecimal digits"),
        ("postgres://me:hunter2%00x@h/x", "url: expected two hexadecimal digits"),
        ("postgres://h/x?password=hunter2%zz", "url: expected two hexadecimal digits"),
        ("postgres://h/x?password=hunter%é", "url: expected two hexadecimal digits"),
        ("postgres://h/x?password=hun&ter2", "url: after the ?, expected name=value"),
        ("postgres://h/x?password=hun=ter2", "url: after the ?, expected name=value"),
        ("postgres://h/x?", "url: after the ?, expected name=value"),
        ("postgres://me:hunter2", "url: after the host, expected a colon and a port's number"),
        ("postgres://me:hunter2@[::1/x", "url: after the host, expected"),
        ("postgres://me:hunter2@[::1]x/x", "url: after the host, expected"),
        (
            "postgres://h/x?password=hun&ter2=x",
            "postgres h/x: url: the client library does not understand it",
        ),
    ] {
        let error = PostgresStore::open(&PostgresConfig::new(url)).unwrap_err();
        assert_eq!(
            (error.kind(), error.class()),
            (ErrorKind::InvalidArgument, ErrorClass::Terminal),
            "{url}"
        );
        let shown = error.report().to_string();
        assert!(shown.starts_with(text) && !shown.contains("hun") && !shown.contains("ter2"), "{shown}");
    }
    for url in [
        "postgres://me:hun%40ter2@h/x?options=a@b",
        "postgres://[::1]:5432,[::2]/x",
        "postgres://me:hun:ter2@h:5432/x?sslmode=require&options=-c%20a%3Db",
        "postgres://me@h?options=a@b",
        "postgres:///x?host=/a@b&user=me",
        "postgresql://h:1,g:2/x",
    ] {
        assert!(PostgresConfig::new(url).check().is_ok(), "{url}");
    }
    for url in ["postgres://me:hun?ter2@h/x", "postgres://me:hun/ter2@h/x", "postgres://h/x?password=hunter2"]
    {
        let shown = format!("{:?}", PostgresConfig::new(url));
        assert!(!shown.contains("hun"), "{shown}");
    }
    for (config, text) in [
        (PostgresConfig::new("host=a password=hunter2"), "url: expected postgres://"),
        (PostgresConfig::new("postgres://a").schema("x; DROP"), "schema: expected up to 63 of a to z"),
        (
            PostgresConfig::new("postgres://a").statement_timeout(Duration::ZERO),
            "statement_timeout: must be at least",
        ),
    ] {
        let error = PostgresStore::open(&config).unwrap_err();
        assert!(
            error.to_string().starts_with(text) && !error.report().to_string().contains("hunter2"),
            "{error}"
        );
    }
}

#[test]
fn a_server_with_tables_of_a_newer_program_is_refused() {
    with_server(|server| {
        let schema = server.schema();
        drop(PostgresStore::open(&server.config(&schema)).unwrap());
        server.run(&format!("INSERT INTO {schema}.fleet_versions VALUES (6, 'x')"));
        let error = PostgresStore::open(&server.config(&schema)).unwrap_err();
        assert_eq!(error.class(), ErrorClass::Terminal);
        let text = "the database is at version 6 of its tables, this program knows 5: use a newer program";
        assert_eq!(error.to_string(), text);
    });
}

#[test]
fn programs_may_start_at_once_on_an_empty_database() {
    with_server(|server| {
        let schema = server.schema();
        let config = server.config(&schema);
        threads(8, |_| drop(PostgresStore::open(&config).unwrap()));
    });
}

#[test]
fn a_schema_that_is_there_needs_no_right_to_make_one() {
    with_server(|server| {
        let schema = server.schema();
        let role = format!("{schema}_role");
        server.run(&format!("CREATE ROLE {role}; CREATE SCHEMA {schema} AUTHORIZATION {role}"));
        let mark = if server.url.contains('?') { '&' } else { '?' };
        let url = format!("{}{mark}options=-c%20role%3D{role}", server.url);
        let opened = PostgresStore::open(&PostgresConfig::new(url).schema(&schema));
        let told = opened.map(drop).map_err(|error| error.report().to_string());
        server.run(&format!("DROP OWNED BY {role} CASCADE; DROP ROLE {role}"));
        assert_eq!(told, Ok(()));
    });
}

#[test]
fn tables_that_are_there_need_no_right_to_make_any() {
    with_server(|server| {
        let schema = server.schema();
        drop(Fleet::new(PostgresStore::open(&server.config(&schema)).unwrap()));
        let role = format!("{schema}_role");
        server.run(&format!(
            "CREATE ROLE {role}; GRANT USAGE ON SCHEMA {schema} TO {role};
             GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role}"
        ));
        let mark = if server.url.contains('?') { '&' } else { '?' };
        let url = format!("{}{mark}options=-c%20role%3D{role}", server.url);
        let config = PostgresConfig::new(url).schema(&schema);
        let told = PostgresStore::open(&config).map(|store| {
            let mut f = Fleet::again(store);
            let (agent, job) = (f.agent("a"), f.job());
            let id = f.enqueue(job);
            assert_eq!(f.claim(agent).command, id);
            f.wait(Duration::from_secs(600));
            assert_eq!(f.health().count("requeued"), 1);
        });
        // Who finds old tables says so.
        server.run(&format!("DELETE FROM {schema}.fleet_versions WHERE version > 4"));
        let old = PostgresStore::open(&config).map(drop).map_err(|error| error.report().to_string());
        server.run(&format!("DROP OWNED BY {role} CASCADE; DROP ROLE {role}"));
        assert_eq!(told.map_err(|error| error.report().to_string()), Ok(()));
        assert!(old.unwrap_err().contains("permission denied for schema"));
    });
}

#[test]
fn numbers_at_their_ends_are_refused_or_mended_and_stop_nothing() {
    with_server(|server| {
        let schema = server.schema();
        let mut f = Fleet::new(PostgresStore::open(&server.config(&schema)).unwrap());
        let agent = f.register(None, NewAgent::new("a", AgentKind::Platform).max_jobs(100));
        let jobs = [0; 10].map(|_| f.job()).map(|job| f.enqueue(job));
        let (held, waits) = jobs.split_at(7);
        for _ in held {
            f.claim(agent);
        }
        let set = |id: CommandId, what: &str| {
            let mut other = PgConnection::establish(&server.url).unwrap();
            let sql = format!("UPDATE {schema}.fleet_commands SET {what} WHERE id = {id}");
            other.batch_execute(&sql).map_err(|error| error.to_string())
        };
        let (least, most) = (i64::MIN, i64::MAX);
        let wrong = [
            (held[0], format!("version = {most}")),
            (held[1], format!("queue_penalty = {most}")),
            (held[2], format!("waiting_since = {most}")),
            (held[3], format!("waiting_since = {least}")),
            (held[4], format!("acknowledged_at = {least}")),
            (waits[0], format!("fence = {most}")),
            (waits[1], format!("version = {most}")),
            (waits[2], format!("waiting_since = {least}")),
        ];
        for (id, what) in &wrong {
            let error = set(*id, what).unwrap_err();
            assert!(error.contains("violates check constraint"), "{what}: {error}");
        }
        // As far as it may be, both ways.
        set(held[5], "waiting_since = 253402300799999999, acknowledged_at = 0").unwrap();
        set(held[6], "waiting_since = 0, acknowledged_at = 253402300799999999").unwrap();
        // By a program of before.
        server.run(&format!(
            "ALTER TABLE {schema}.fleet_commands DROP CONSTRAINT fleet_commands_agrees;
             DELETE FROM {schema}.fleet_versions WHERE version > 4"
        ));
        wrong.iter().for_each(|(id, what)| set(*id, what).unwrap());
        let now = f.now();
        f.store = PostgresStore::open(&server.config(&schema)).unwrap();
        f.store.set_now(now);
        f.wait(Duration::from_secs(1_000));
        assert_eq!(f.health().count("requeued"), 7);
        f.beat(agent);
        assert!(f.priorities().processed() > 0);
        let claimed: Vec<_> = std::iter::from_fn(|| f.store.claim(agent, LEASE).unwrap())
            .map(|claim| claim.command.id)
            .collect();
        assert_eq!(claimed.len(), 10);
    });
}

#[test]
fn times_that_no_number_holds_are_long_ones() {
    with_server(|server| {
        let schema = server.schema();
        let config = server.config(&schema).statement_timeout(Duration::MAX).connect_timeout(Duration::MAX);
        assert!(PostgresStore::open(&config).unwrap().queue(1).unwrap().rows.is_empty());
    });
}

#[test]
fn retention_that_keeps_next_to_nothing_ends() {
    with_store(|mut store| {
        store.append(&NewAudit::new("alice", "thing.do", "thing")).unwrap();
        let moment = Duration::from_micros(1);
        let config =
            AuditRetentionConfig { retention: moment, grave_retention: moment, ..Default::default() };
        let rounds = AtomicU32::new(0);
        let check = || {
            // What each batch leaves is old enough for the next.
            assert!(rounds.fetch_add(1, Ordering::Relaxed) < 10, "it goes on and on");
            Ok(())
        };
        let pass = AuditRetention::new(config).unwrap();
        let report = pass.pass(&mut store, &PassContext::with_check(check)).unwrap();
        assert_eq!(report.count("deleted"), 1);
    });
}

#[test]
fn tables_of_an_older_program_are_brought_up_and_keep_what_they_have() {
    let texts = [
        include_str!("../../src/fleet/store/sql/schema/0001.sql"),
        include_str!("../../src/fleet/store/sql/schema/0002.sql"),
        include_str!("../../src/fleet/store/sql/schema/0003.sql"),
    ];
    let lines = texts.iter().flat_map(|text| text.lines()).filter(|line| !line.ends_with("-- sqlite"));
    let old_tables = lines.collect::<Vec<_>>().join("\n");
    with_server(|server| {
        let (new, old) = (server.schema(), server.schema());
        drop(PostgresStore::open(&server.config(&new)).unwrap());
        server.run(&format!(
            "CREATE SCHEMA {old}; SET search_path TO {old}; {old_tables}
             CREATE TABLE fleet_versions (version BIGINT PRIMARY KEY, hash TEXT NOT NULL);
             INSERT INTO fleet_versions SELECT version, hash FROM {new}.fleet_versions WHERE version < 4;
             INSERT INTO fleet_tenants (name, plan, created_at) VALUES ('acme', 'free', 1);
             INSERT INTO fleet_commands
                 (tenant_id, platform, kind, priority, payload, created_at, queued_at, waiting_since)
                 VALUES (1, true, 'scan', 500, '{{}}', 1, 1, 1)"
        ));
        let mut f = Fleet::again(PostgresStore::open(&server.config(&old)).unwrap());
        let agent = f.agent("a");
        let lease = f.claim(agent);
        f.store.start(&lease).unwrap();
        let mut other = PgConnection::establish(&server.url).unwrap();
        let lie = format!("UPDATE {old}.fleet_commands SET started_at = NULL");
        let error = other.batch_execute(&lie).unwrap_err().to_string();
        assert!(error.contains("violates check constraint"), "{error}");
    });
}

/// Else each change of it writes every index anew.
#[test]
fn no_index_is_about_a_commands_state() {
    with_server(|server| {
        let schema = server.schema();
        drop(PostgresStore::open(&server.config(&schema)).unwrap());
        server.run(&format!(
            "DO $$ BEGIN IF EXISTS (SELECT 1 FROM pg_indexes WHERE schemaname = '{schema}'
                 AND tablename = 'fleet_commands' AND indexdef LIKE '%state%') THEN
                 RAISE EXCEPTION 'an index of fleet_commands tells states apart'; END IF; END $$"
        ));
    });
}

/// Prepares a statement of the library's as it is for a server, and says how the
/// server is going to run it, whatever is bound.
fn plan(connection: &mut PgConnection, text: &str) -> String {
    #[derive(diesel::QueryableByName)]
    struct Line {
        #[diesel(sql_type = diesel::sql_types::Text, column_name = "QUERY PLAN")]
        text: String,
    }
    let lines = text.lines().filter(|line| !line.ends_with("-- sqlite"));
    let text = lines.filter_map(|line| line.split("--").next()).collect::<Vec<_>>().join("\n");
    let mut names = Vec::new();
    let mut pieces = text.split(':');
    let mut sql = pieces.next().unwrap().to_owned();
    for piece in pieces {
        let end = piece.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(piece.len());
        let (name, rest) = piece.split_at(end);
        let n = names.iter().position(|known| *known == name).unwrap_or_else(|| {
            names.push(name);
            names.len() - 1
        });
        sql.push_str(&format!("${}{rest}", n + 1));
    }
    connection.batch_execute(&format!("DEALLOCATE ALL; PREPARE one AS {sql}")).unwrap();
    let nulls = vec!["NULL"; names.len()].join(", ");
    let binds = if names.is_empty() { String::new() } else { format!("({nulls})") };
    let lines: Vec<Line> = diesel::sql_query(format!("EXPLAIN EXECUTE one{binds}")).load(connection).unwrap();
    lines.into_iter().map(|line| line.text).collect::<Vec<_>>().join("\n")
}

#[test]
fn each_sweep_has_its_index_on_a_server_whatever_its_disks_are_said_to_cost() {
    with_server(|server| {
        let schema = server.schema();
        drop(PostgresStore::open(&server.config(&schema)).unwrap());
        let mut connection = PgConnection::establish(&server.url).unwrap();
        // As many as make a plan that reads them all cost something: a hundredth
        // is held, a hundredth waits.
        connection
            .batch_execute(&format!(
                "SET search_path TO {schema}; SET plan_cache_mode = force_generic_plan;
                 INSERT INTO fleet_tenants (name, plan, created_at)
                 SELECT 'tenant ' || n, 'free', 0 FROM generate_series(1, 100) n;
                 INSERT INTO fleet_agents
                     (name, kind, health, max_jobs, key_prefix, key_hash, last_seen_at, created_at)
                 SELECT 'agent ' || n, 'platform', 'online', 10, 'k' || n, 'h' || n, 9, 9
                 FROM generate_series(1, 2000) n;
                 INSERT INTO fleet_commands (tenant_id, platform, kind, priority, payload, state, agent_id,
                     fence, attempts, created_at, queued_at, waiting_since, acknowledged_at, started_at,
                     completed_at, lease_until)
                 SELECT n % 100 + 1, n % 8 <> 3, 'scan', 250, '', CASE n % 100 WHEN 0 THEN 'running'
                         WHEN 1 THEN 'pending' ELSE 'completed' END,
                     CASE WHEN n % 100 <> 1 THEN n / 100 % 2000 + 1 END, 1, 1, n, n, n,
                     CASE WHEN n % 100 <> 1 THEN n END, CASE WHEN n % 100 <> 1 THEN n END,
                     CASE WHEN n % 100 > 1 THEN n END, CASE n % 100 WHEN 0 THEN n END
                 FROM generate_series(1, 50000) n;
                 INSERT INTO fleet_tokens (name, prefix, hash, expires_at, created_by, created_at)
                 SELECT 'token ' || n, 'k' || n, 'h', n, 'alice', 0 FROM generate_series(1, 5000) n;
                 ANALYZE"
            ))
            .unwrap();
        let sql = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/fleet/store/sql");
        for cost in [1.1, 4.0] {
            connection.batch_execute(&format!("SET random_page_cost = {cost}")).unwrap();
            for (name, index) in [
                ("mark_offline", "fleet_agents_heard"),
                ("recover", "fleet_commands_leases"),
                ("expire_queued", "fleet_commands_queued"),
                ("expire_unclaimed", "fleet_commands_unclaimed"),
                ("expire_due", "fleet_commands_expires"),
                ("fail_exhausted", "fleet_commands_retried"),
                ("unpin", "fleet_commands_pinned"),
                ("boundary_places", "fleet_commands_queued"),
                ("reprioritize", "fleet_commands_queued"),
                ("claim_job", "fleet_commands_jobs"),
                ("claim_order", "fleet_commands_orders"),
                ("select_held", "fleet_commands_held"),
                ("any_lost", "fleet_commands_leases"),
                ("any_late", "fleet_commands_queued"),
                ("any_unclaimed", "fleet_commands_unclaimed"),
                ("any_due", "fleet_commands_expires"),
                ("any_retried", "fleet_commands_retried"),
                ("any_pinned", "fleet_commands_pinned"),
                ("clean_tokens", "fleet_tokens_expired"),
            ] {
                let text = std::fs::read_to_string(sql.join(format!("{name}.sql"))).unwrap();
                let plan = plan(&mut connection, &text);
                assert!(plan.contains(index), "{name} at {cost}: not by {index}:\n{plan}");
                // All that is held is of use to who counts it, to nobody else.
                let others = ["reprioritize", "select_held"].contains(&name);
                let reads_all = plan.contains("Seq Scan on fleet_commands")
                    || (plan.contains("fleet_commands_held") && !others);
                assert!(!reads_all, "{name} at {cost}:\n{plan}");
            }
        }
    });
}

#[test]
fn others_cannot_write_what_does_not_agree() {
    with_server(|server| {
        let schema = server.schema();
        let mut f = Fleet::new(PostgresStore::open(&server.config(&schema)).unwrap());
        let agent = f.agent("a");
        let mut other = PgConnection::establish(&server.url).unwrap();
        let mut refused = |table: &str, set: &str| {
            let error = other.batch_execute(&format!("UPDATE {schema}.{table} SET {set}")).unwrap_err();
            assert!(error.to_string().contains("violates check constraint"), "{table}: {set}: {error}");
        };
        let numbers = ["fence", "version", "queue_priority", "queue_penalty"]
            .into_iter()
            .flat_map(|name| [-1, 1_000_000_000_000_000_001].map(|n: i64| format!("{name} = {n}")));
        let times = ["waiting_since = -1", "waiting_since = 253402300800000000"].map(str::to_owned);
        let always: Vec<String> =
            NEVER.iter().map(|text| (*text).to_owned()).chain(numbers).chain(times).collect();
        for (state, disagrees) in DISAGREES {
            let id = f.in_state(agent, state);
            let held = ["acknowledged_at = -1", "acknowledged_at = 253402300800000000"];
            let held = held.iter().filter(|_| state.is_held());
            for set in disagrees.iter().chain(held).copied().chain(always.iter().map(String::as_str)) {
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
fn each_job_is_claimed_once_by_many_at_once() {
    with_server(|server| {
        let schema = server.schema();
        let config = server.config(&schema);
        let mut f = Fleet::new(PostgresStore::open(&config).unwrap());
        let other = f.store.create_tenant("other", Plan::Team).unwrap();
        for i in 0..300 {
            let tenant = if i % 2 == 0 { f.tenant } else { other };
            f.enqueue(NewCommand::job(tenant, CommandKind::Scan, "{}"));
        }
        let agents: Vec<AgentId> = (0..6).map(|i| f.agent(&format!("a{i}"))).collect();
        let now = f.now();
        let done = AtomicU64::new(0);
        threads(8, |i| {
            let mut store = PostgresStore::open(&config).unwrap();
            store.set_now(now);
            let Some(agent) = agents.get(i as usize) else {
                while done.load(Ordering::Relaxed) < 300 {
                    let cx = PassContext::unbounded();
                    let _ = JobRecovery::new(Default::default()).unwrap().pass(&mut store, &cx).unwrap();
                    let _ = QueuePriority::new(Default::default()).unwrap().pass(&mut store, &cx).unwrap();
                }
                return;
            };
            // Others may hold the last ones for a moment.
            while done.load(Ordering::Relaxed) < 300 {
                if let Some(claim) = store.claim(*agent, LEASE).unwrap() {
                    store.start(&claim.lease).unwrap();
                    store.complete(&claim.lease, "{}").unwrap();
                    done.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        let rows = f.store.commands(CommandId(0), 1000).unwrap().rows;
        assert!(rows.iter().all(|row| row.state == CommandState::Completed && row.attempts == 1));
    });
}

#[test]
fn nobody_waits_for_a_row_that_somebody_else_is_at() {
    with_server(|server| {
        let schema = server.schema();
        let config = server.config(&schema).statement_timeout(Duration::from_secs(5));
        let mut f = Fleet::new(PostgresStore::open(&config).unwrap());
        let mut other = PgConnection::establish(&server.url).unwrap();
        let mut hold = |table: &str, id: i64| {
            let sql = format!("SELECT 1 FROM {schema}.fleet_{table} WHERE id = {id} FOR NO KEY UPDATE");
            other.batch_execute(&format!("ROLLBACK; BEGIN; {sql}")).unwrap();
        };
        let one = Sweep { batch: 1, dry_run: false };
        let silent = ["a", "b"].map(|name| f.agent(name));
        f.wait(mins(1));
        hold("agents", silent[0].0);
        assert_eq!(f.store.mark_offline(LEASE / 2, one).unwrap(), [silent[1]]);

        let many = |kind| NewAgent::new("many", kind).max_jobs(99);
        let (platform, own) = (
            f.register(None, many(AgentKind::Platform)),
            f.register(Some(f.tenant), many(AgentKind::Worker)),
        );
        let gone = f.own_agent("gone");
        f.store.set_agent_status("root", gone, AgentStatus::Disabled, "out").unwrap();
        let soon = f.after(LEASE);
        type Act = fn(&mut PostgresStore, Sweep, AgentId) -> Result<Vec<CommandId>>;
        fn ids(touched: Result<Vec<Touched>>) -> Result<Vec<CommandId>> {
            touched.map(|rows| rows.iter().map(|row| row.command).collect())
        }
        enum Held {
            Never,
            Once,
            Still,
        }
        let steps: [(NewCommand, Held, Act); 8] = [
            (f.job(), Held::Never, |store, _, agent| {
                Ok(store.claim(agent, LEASE)?.iter().map(|claim| claim.command.id).collect())
            }),
            (f.order(), Held::Never, |store, _, agent| {
                Ok(store.claim(agent, LEASE)?.iter().map(|claim| claim.command.id).collect())
            }),
            (f.order().expires_at(soon), Held::Never, |store, one, _| ids(store.expire_due(one))),
            (f.job(), Held::Never, |store, one, _| ids(store.expire_queued(Scope::Platform, MOMENT, one))),
            (f.order(), Held::Never, |store, one, _| ids(store.expire_queued(Scope::Tenant, MOMENT, one))),
            (f.order().max_attempts(1), Held::Once, |store, one, _| ids(store.fail_exhausted(one))),
            (f.order().pinned_to(gone), Held::Never, |store, one, _| ids(store.unpin(MOMENT, one))),
            (f.order(), Held::Still, |store, one, _| {
                ids(store.recover(Scope::Tenant, Lost::OrOlderThan(MOMENT), one))
            }),
        ];
        for (n, (new, held, act)) in steps.into_iter().enumerate() {
            let pair = [0; 2].map(|_| f.enqueue(new.clone()));
            let agent = if f.get(pair[0]).platform { platform } else { own };
            if !matches!(held, Held::Never) {
                let leases = pair.map(|_| f.claim(agent));
                if matches!(held, Held::Once) {
                    leases.iter().for_each(|lease| f.store.release(lease).unwrap());
                }
            }
            f.wait(LEASE);
            hold("commands", pair[0].0);
            assert_eq!(act(&mut f.store, one, agent).unwrap(), [pair[1]], "{n}");
            hold("agents", silent[0].0);
            for id in pair {
                let _ = f.store.cancel("root", id, "done with");
            }
        }

        let pair = [0; 2].map(|_| f.job()).map(|job| f.enqueue(job));
        f.wait(mins(1));
        hold("commands", pair[0].0);
        assert_eq!([0; 2].map(|_| f.store.reprioritize(1, one).unwrap().moved), [0, 1]);
        assert_eq!(pair.map(|id| f.get(id).version), [1, 2]);
    });
}

#[test]
fn a_step_that_fails_keeps_no_other_from_its_work() {
    with_server(|server| {
        let schema = server.schema();
        let mut f = Fleet::new(PostgresStore::open(&server.config(&schema)).unwrap());
        server.run(&format!(
            "CREATE FUNCTION {schema}.no() RETURNS TRIGGER LANGUAGE plpgsql AS
                 $$ BEGIN RAISE 'not today'; END $$;
             CREATE TRIGGER no BEFORE UPDATE ON {schema}.fleet_commands FOR EACH ROW
                 WHEN (new.state = 'expired') EXECUTE FUNCTION {schema}.no()"
        ));
        crate::fixture::a_step_fails(&mut f, "not today");
        // Nor does a dry run, which such an error ends, leave anything open.
        let pass = JobRecovery::new(JobRecoveryConfig::default()).unwrap();
        let error = pass.pass(&mut f.store, &PassContext::unbounded().dry_run(true)).unwrap_err();
        assert!(error.to_string().starts_with("jobs in the queue: "), "{error}");
        let job = f.job();
        f.enqueue(job);
    });
}

#[test]
fn tables_are_made_however_long_that_takes_unless_it_is_cancelled() {
    with_server(|server| {
        let schema = server.schema();
        let more = if server.url.contains('?') { "&" } else { "?" };
        let url = format!("{}{more}application_name={schema}", server.url);
        let config = PostgresConfig::new(url).schema(&schema).statement_timeout(Duration::from_millis(100));
        // What each program takes that makes tables.
        let mut other = PgConnection::establish(&server.url).unwrap();
        let lock = format!("pg_advisory_xact_lock(hashtextextended('{schema}', 7811887200433014116))");
        other.batch_execute(&format!("BEGIN; SELECT {lock}")).unwrap();
        let has_waited = |millis: u32| {
            let sql = format!(
                "SELECT CAST(1 AS BIGINT) AS n FROM pg_stat_activity WHERE application_name = '{schema}'
                 AND wait_event = 'advisory' AND clock_timestamp() - query_start > {millis} * interval '1 ms'"
            );
            let mut connection = PgConnection::establish(&server.url).unwrap();
            diesel::sql_query(sql).execute(&mut connection).unwrap() > 0
        };
        let health = AgentHealth::new(AgentHealthConfig::default()).unwrap();
        let manager = ControllerManager::new(ControllerManagerConfig::default()).unwrap();
        let store = StoreConfig::from(config.clone());
        manager.register(health.schedule("health"), health.controller(&store)).unwrap();
        manager.start().unwrap();
        // Longer than the server's end and the line's.
        eventually("it waits on", || has_waited(2_500));
        let report = manager.stop(Duration::from_secs(20));
        assert!(report.is_clean(), "{report}");
        assert_eq!(manager.statuses()[0].failures, 0, "a stop is no failure");

        let other = Mutex::new(other);
        let opened = threads(2, |i| {
            if i == 0 {
                return PostgresStore::open(&config).map(Some);
            }
            eventually("it waits on", || has_waited(300));
            other.lock().unwrap().batch_execute("ROLLBACK").unwrap();
            Ok(None)
        });
        let mut store = opened.into_iter().find_map(Result::unwrap).unwrap();
        store.create_tenant("acme", Plan::Free).unwrap();
        // What follows has its end again.
        let _lock = locked(server, &schema);
        assert_eq!(store.queue(1).unwrap_err().kind(), ErrorKind::Timeout);
    });
}

#[test]
fn what_cannot_be_read_is_passed_by() {
    with_server(|server| {
        let schema = server.schema();
        let mut f = Fleet::new(PostgresStore::open(&server.config(&schema)).unwrap());
        crate::fixture::unreadable_rows(&mut f, &mut |sql| {
            server.run(&format!(
                "SET search_path TO {schema};
                 ALTER TABLE fleet_audit DROP CONSTRAINT IF EXISTS fleet_audit_severity_check; {sql}"
            ));
        });
    });
}

#[test]
fn a_dry_run_whose_connection_is_lost_changes_nothing_on_another() {
    with_server(|server| {
        let mut f = Fleet::new(server.store());
        let job = f.job();
        let id = f.enqueue(job);
        f.wait(mins(90));
        assert!(f.store.begin_dry_run().unwrap());
        server.run(&format!("SELECT pg_terminate_backend({})", f.store.backend_pid().unwrap()));
        let sweep = Sweep::default();
        for _ in 0..2 {
            let error = f.store.expire_queued(Scope::Platform, mins(1), sweep).unwrap_err();
            assert_eq!(error.class(), ErrorClass::Retryable);
        }
        f.store.end_dry_run();
        assert_eq!(f.state(id), CommandState::Pending);
        assert_eq!(f.store.expire_queued(Scope::Platform, mins(1), sweep).unwrap().len(), 1);
    });
}

#[test]
fn a_kind_of_a_newer_program_is_left_for_it() {
    with_server(|server| {
        let schema = server.schema();
        let mut f = Fleet::new(PostgresStore::open(&server.config(&schema)).unwrap());
        let (platform, own) = (f.agent("p"), f.own_agent("own"));
        let rich = ["one", "two"].map(|name| f.store.create_tenant(name, Plan::Enterprise).unwrap());
        let theirs = rich.map(|tenant| NewCommand::job(tenant, CommandKind::Scan, "{}"));
        let strange = [f.order(), f.job()].into_iter().chain(theirs).map(|new| f.enqueue(new));
        let strange = strange.collect::<Vec<_>>();
        server.run(&format!("UPDATE {schema}.fleet_commands SET kind = 'transmute'"));
        let jobs = [f.order(), f.job()].map(|new| f.enqueue(new));
        assert_eq!([own, platform].map(|agent| f.claim(agent).command), jobs);
        for agent in [own, platform] {
            assert_eq!(f.store.claim(agent, LEASE).unwrap(), None);
        }
        server.run(&format!("UPDATE {schema}.fleet_commands SET kind = 'scan'"));
        assert!(strange.iter().all(|id| f.state(*id) == CommandState::Pending), "nobody has touched it");
    });
}

#[test]
fn many_at_once_write_one_chain() {
    with_server(|server| {
        let config = server.config(&server.schema());
        let mut f = Fleet::new(PostgresStore::open(&config).unwrap());
        let now = f.now();
        threads(4, |n| {
            let mut store = PostgresStore::open(&config).unwrap();
            store.set_now(now);
            for i in 0..25 {
                store.append(&NewAudit::new("alice", "thing.do", format!("thing {n} {i}"))).unwrap();
            }
        });
        assert_eq!(f.audit().len(), 100);
        assert!(f.chain().is_sound());
    });
}

#[test]
fn a_decision_about_an_agent_waits_for_the_one_before() {
    with_server(|server| {
        let schema = server.schema();
        let config = server.config(&schema);
        let mut f = Fleet::new(PostgresStore::open(&config).unwrap());
        let agent = f.agent("a");
        let (now, records) = (f.now(), f.audit().len());
        let other = Mutex::new(PgConnection::establish(&server.url).unwrap());
        let revoke = format!("UPDATE {schema}.fleet_agents SET status = 'revoked' WHERE id = {agent}");
        other.lock().unwrap().batch_execute(&format!("BEGIN; {revoke}")).unwrap();
        let told = threads(2, |i| {
            if i == 0 {
                let mut store = PostgresStore::open(&config).unwrap();
                store.set_now(now);
                return Some(store.set_agent_status("root", agent, AgentStatus::Disabled, "out"));
            }
            let mut other = other.lock().unwrap();
            let blocked =
                "SELECT 1 FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid))";
            eventually("the decision waits", || diesel::sql_query(blocked).execute(&mut *other).unwrap() > 0);
            other.batch_execute("COMMIT").unwrap();
            None
        });
        let told = told.into_iter().flatten().map(|told| told.map_err(|error| error.kind()));
        assert_eq!(told.collect::<Vec<_>>(), [Err(ErrorKind::InvalidState)]);
        assert_eq!(f.audit().len(), records, "of what was not done there is no record");
    });
}

#[test]
fn one_agent_that_claims_twice_at_once_keeps_to_its_slots() {
    with_server(|server| {
        let schema = server.schema();
        let config = server.config(&schema);
        let mut f = Fleet::new(PostgresStore::open(&config).unwrap());
        let agent = f.register(None, NewAgent::new("a", AgentKind::Platform).max_jobs(7));
        for _ in 0..40 {
            let job = f.job();
            f.enqueue(job);
        }
        let now = f.now();
        let claimed = threads(6, |_| {
            let mut store = PostgresStore::open(&config).unwrap();
            store.set_now(now);
            std::iter::from_fn(|| store.claim(agent, LEASE).unwrap()).count()
        });
        assert_eq!(claimed.iter().sum::<usize>(), 7);
    });
}

#[test]
fn a_token_for_three_lets_three_in_of_many_at_once() {
    with_server(|server| {
        let schema = server.schema();
        let config = server.config(&schema);
        let mut f = Fleet::new(PostgresStore::open(&config).unwrap());
        let (_, token) = f.store.create_token("root", &NewToken::for_platform("t").max_uses(3)).unwrap();
        let now = f.now();
        let registered = threads(6, |_| {
            let mut store = PostgresStore::open(&config).unwrap();
            store.set_now(now);
            store.register(&token, &NewAgent::new("a", AgentKind::Worker)).is_ok()
        });
        assert_eq!(registered.iter().filter(|in_| **in_).count(), 3);
        assert!(f.chain().is_sound());
    });
}

/// Holds a lock so that a statement of another connection waits.
fn locked(server: &Server, schema: &str) -> PgConnection {
    let mut other = PgConnection::establish(&server.url).unwrap();
    other
        .batch_execute(&format!("BEGIN; LOCK TABLE {schema}.fleet_commands IN ACCESS EXCLUSIVE MODE"))
        .unwrap();
    other
}

#[test]
fn a_statement_is_over_at_its_timeout_and_the_connection_stays() {
    with_server(|server| {
        let schema = server.schema();
        drop(PostgresStore::open(&server.config(&schema)).unwrap());
        let config = server.config(&schema).statement_timeout(Duration::from_millis(50));
        let mut store = PostgresStore::open(&config).unwrap();
        let lock = locked(server, &schema);
        let error = store.queue(1).unwrap_err();
        assert_eq!(
            (error.kind(), error.class()),
            (ErrorKind::Timeout, ErrorClass::TimedOut),
            "{}",
            error.report()
        );
        drop(lock);
        assert!(store.queue(1).unwrap().rows.is_empty());
    });
}

#[test]
fn a_cancel_from_elsewhere_ends_a_statement() {
    with_server(|server| {
        let schema = server.schema();
        let mut store = PostgresStore::open(&server.config(&schema)).unwrap();
        let canceller = store.canceller().unwrap();
        canceller.cancel().unwrap();
        assert!(store.queue(1).unwrap().rows.is_empty(), "nothing ran, so nothing was cancelled");
        let lock = locked(server, &schema);
        let over = AtomicU64::new(0);
        let store = Mutex::new(store);
        let errors = threads(2, |i| {
            if i == 0 {
                let error = store.lock().unwrap().queue(1).unwrap_err();
                over.store(1, Ordering::SeqCst);
                return Some(error);
            }
            while over.load(Ordering::SeqCst) == 0 {
                canceller.cancel().unwrap();
            }
            None
        });
        let error = errors[0].as_ref().unwrap();
        assert_eq!(
            (error.kind(), error.class()),
            (ErrorKind::Cancelled, ErrorClass::Cancelled),
            "{}",
            error.report()
        );
        drop(lock);
        // A late cancel may still have hit one statement more.
        let mut store = store.into_inner().unwrap();
        assert!((0..3).any(|_| store.queue(1).is_ok()));
    });
}

#[test]
fn a_connection_that_breaks_is_told_once_and_made_again() {
    with_server(|server| {
        let schema = server.schema();
        let mut f = Fleet::new(PostgresStore::open(&server.config(&schema)).unwrap());
        let agent = f.agent("a");
        let job = f.job();
        let id = f.enqueue(job);
        for _ in 0..3 {
            f.beat(agent);
            // Of this store alone: others run beside this test.
            server.run(&format!("SELECT pg_terminate_backend({})", f.store.backend_pid().unwrap()));
            let error = f.store.claim(agent, LEASE).unwrap_err();
            assert_eq!(
                (error.kind(), error.class()),
                (ErrorKind::Store, ErrorClass::Retryable),
                "{}",
                error.report()
            );
        }
        let lease = f.claim(agent);
        assert_eq!((lease.command, lease.fence), (id, 1), "what was cut off did not happen");
    });
}

#[test]
fn nothing_of_a_transaction_that_is_cut_off_stays() {
    with_server(|server| {
        let schema = server.schema();
        let mut f = Fleet::new(PostgresStore::open(&server.config(&schema)).unwrap());
        let job = f.job();
        let id = f.enqueue(job);
        // The chain's end is held, so a cancel waits after it has changed the command.
        let mut other = PgConnection::establish(&server.url).unwrap();
        other.batch_execute(&format!("BEGIN; SELECT * FROM {schema}.fleet_audit_head FOR UPDATE")).unwrap();
        let pid = f.store.backend_pid().unwrap();
        let store = Mutex::new(f.store);
        let over = AtomicU64::new(0);
        threads(2, |i| {
            if i == 0 {
                let error = store.lock().unwrap().cancel("root", id, "no").unwrap_err();
                over.store(1, Ordering::SeqCst);
                assert_eq!(error.class(), ErrorClass::Retryable, "{}", error.report());
                return;
            }
            let waits = format!(
                "DO $$ BEGIN WHILE NOT EXISTS (SELECT 1 FROM pg_stat_activity WHERE pid = {pid} AND wait_event_type = 'Lock') \
                 LOOP PERFORM pg_sleep(0.01); END LOOP; PERFORM pg_terminate_backend({pid}); END $$"
            );
            PgConnection::establish(&server.url).unwrap().batch_execute(&waits).unwrap();
        });
        drop(other);
        let mut store = store.into_inner().unwrap();
        store.set_now(Stamp::from_micros(START));
        assert_eq!(store.command(id).unwrap().state, CommandState::Pending);
        store.cancel("root", id, "no").unwrap();
        assert_eq!(store.command(id).unwrap().state, CommandState::Canceled);
        assert!(store.verify(&mut || Ok(())).unwrap().is_sound());
    });
}

/// Whether a statement of ours waits for a lock on a schema's tables.
fn waits(server: &Server, schema: &str) -> bool {
    let sql = format!(
        "SELECT CAST(1 AS BIGINT) AS n FROM pg_locks JOIN pg_class ON relation = pg_class.oid
         WHERE NOT granted AND relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = '{schema}')"
    );
    let mut connection = PgConnection::establish(&server.url).unwrap();
    diesel::sql_query(sql).execute(&mut connection).unwrap() > 0
}

#[test]
fn a_stop_reaches_the_statement_that_a_controller_is_at() {
    with_server(|server| {
        let schema = server.schema();
        drop(PostgresStore::open(&server.config(&schema)).unwrap());
        let lock = locked(server, &schema);
        let store = StoreConfig::from(server.config(&schema));
        let recovery = JobRecovery::new(JobRecoveryConfig::default()).unwrap();
        let manager = ControllerManager::new(ControllerManagerConfig::default()).unwrap();
        manager.register(recovery.schedule("recovery"), recovery.controller(&store)).unwrap();
        manager.start().unwrap();
        eventually("it waits for the lock", || waits(server, &schema));
        // Less than its statement may take.
        let report = manager.stop(Duration::from_secs(20));
        assert!(report.is_clean(), "{report}");
        let status = &manager.statuses()[0];
        assert_eq!((status.failures, status.timeouts), (0, 0), "a stop is no failure: {status}");
        drop(lock);
    });
}

#[test]
fn a_controller_whose_connection_was_cut_connects_again() {
    with_server(|server| {
        let schema = server.schema();
        let more = if server.url.contains('?') { '&' } else { '?' };
        let url = format!("{}{more}application_name={schema}", server.url);
        let store = StoreConfig::from(PostgresConfig::new(url).schema(&schema));
        let health = AgentHealth::new(AgentHealthConfig::default()).unwrap();
        let manager = ControllerManager::new(ControllerManagerConfig::default()).unwrap();
        let backoff = BackoffConfig { initial_delay: Duration::from_millis(10), ..BackoffConfig::default() };
        manager.register(health.schedule("health").backoff(backoff), health.controller(&store)).unwrap();
        let told = manager.subscribe();
        manager.start().unwrap();
        let next = |wanted: &str| {
            eventually(wanted, || told.try_recv().is_some_and(|told| told.event.what.as_str() == wanted));
        };
        next("ready");
        server.run(&format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{schema}'"
        ));
        manager.trigger("health").unwrap();
        next("reconcile_failed");
        next("ready");
        assert!(manager.stop(Duration::from_secs(20)).is_clean());
    });
}
