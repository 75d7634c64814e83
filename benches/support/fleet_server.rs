//! A fleet on a PostgreSQL server: the library's store, and beside it `psql`
//! with the same statements, and a loop written by hand that claims with
//! `SKIP LOCKED`.
//!
//! `LOOPKEEPER_TEST_POSTGRES` says where the server is; without it there is
//! nothing to compare.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{BigInt, Untyped};
use diesel::{Connection, PgConnection, QueryResult, QueryableByName, RunQueryDsl};
use loopkeeper::fleet::{AgentId, CommandStore, PostgresConfig, PostgresStore};

use super::fleet::{Step, jobs};

const LEASE: Duration = Duration::from_secs(60);
const AGENTS: u32 = 8;

/// A server with a schema of the bench's own.
pub(crate) struct Server {
    url: String,
    schema: String,
    psql: Psql,
}

impl Server {
    /// `None` when nobody says where a server is.
    pub(crate) fn new() -> Option<Self> {
        let url = std::env::var("LOOPKEEPER_TEST_POSTGRES").ok()?;
        let schema = format!("bench_{}", std::process::id());
        let mut psql = Psql::new(&url);
        psql.run("SET client_min_messages = 'warning';");
        Some(Self { url, schema, psql })
    }

    fn open(&self, schema: &str) -> PostgresStore {
        let config = PostgresConfig::new(&self.url).schema(schema).statement_timeout(LEASE);
        PostgresStore::open(&config).expect("the server can be reached")
    }

    /// A schema with the tables, which psql then works in.
    fn made(&mut self, kind: &str) -> String {
        let schema = format!("{}_{kind}", self.schema);
        drop(self.open(&schema));
        self.psql.run(&format!("SET search_path TO {schema};"));
        schema
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for kind in ["jobs", "ours", "floor", "fair"] {
            self.psql.run(&format!("DROP SCHEMA IF EXISTS {}_{kind} CASCADE;", self.schema));
        }
    }
}

/// Jobs on the server, the same for both sides.
pub(crate) struct Jobs<'a> {
    server: &'a mut Server,
    store: PostgresStore,
}

impl<'a> Jobs<'a> {
    pub(crate) fn new(server: &'a mut Server, n: u32) -> Self {
        let schema = server.made("jobs");
        server.psql.run(&jobs(n));
        server.psql.run("VACUUM ANALYZE;");
        for (name, value) in
            Step::Recover.binds().into_iter().chain(Step::Expire.binds()).chain(Step::Places.binds())
        {
            let value = match (name, value) {
                ("platform", _) => "true".to_owned(),
                (_, value) => value.map_or("NULL".to_owned(), |value| value.to_string()),
            };
            server.psql.run(&format!("\\set {name} {value}"));
        }
        server.psql.run("\\set now NULL");
        let store = server.open(&schema);
        Self { server, store }
    }

    /// Changes rows, and takes the old ones away.
    pub(crate) fn stage(&mut self, sql: &str) {
        self.server.psql.run(&format!("{sql};"));
        self.server.psql.run("VACUUM fleet_commands;");
    }

    /// Runs a step and undoes it.
    pub(crate) fn ours(&mut self, step: Step, wanted: u64) -> Duration {
        let begin = Instant::now();
        let n = step.run(&mut self.store);
        let time = begin.elapsed();
        assert_eq!(n, wanted, "{step:?}");
        time
    }

    pub(crate) fn give_places(&mut self) {
        super::fleet::give_places(&mut self.store);
        self.server.psql.run("VACUUM fleet_commands;");
    }

    /// The same statement between the same begin and rollback.
    pub(crate) fn floor(&mut self, step: Step) -> Duration {
        let lines = step.text().lines().filter(|line| !line.ends_with("-- sqlite"));
        let text = lines.collect::<Vec<_>>().join("\n");
        let begin = Instant::now();
        self.server.psql.run(&format!("BEGIN;\n{text};\nROLLBACK;"));
        begin.elapsed()
    }
}

/// Agents that claim, begin and end jobs, as fast as they can.
pub(crate) struct Claims<'a> {
    server: &'a mut Server,
    ours: String,
    by_hand: [String; 2],
}

/// A loop written by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ByHand {
    /// One queue: it takes the first job, whoever it is of.
    OneQueue,
    /// It takes the first job of the tenant whose turn it is, by the rule that
    /// the library has, and looks at nothing that only the library promises.
    Fair,
}

impl<'a> Claims<'a> {
    pub(crate) fn new(server: &'a mut Server) -> Self {
        let ours = server.made("ours");
        server.psql.run(&jobs(0));
        // What such a queue needs, and no more.
        let by_hand = [("floor", "queue_priority DESC"), ("fair", "tenant_id, queue_priority DESC")];
        let by_hand = by_hand.map(|(kind, order)| {
            let schema = server.made(kind);
            server.psql.run(&jobs(0));
            server.psql.run(&format!(
                "DROP INDEX fleet_commands_jobs;
                 CREATE INDEX fleet_commands_jobs ON fleet_commands ({order}, waiting_since, id)
                     WHERE state = 'pending' AND platform;"
            ));
            schema
        });
        Self { server, ours, by_hand }
    }

    /// Puts jobs of some tenants in the queue, and nothing else.
    fn fill(&mut self, schema: &str, tenants: u32) {
        self.server.psql.run(&format!(
            "SET search_path TO {schema};
             TRUNCATE fleet_commands CASCADE;
             INSERT INTO fleet_commands (tenant_id, platform, kind, priority, payload, queue_priority, created_at, queued_at, waiting_since)
             SELECT n % {tenants} + 1, true, 'scan', 500, '{{\"host\": \"a\"}}', 500 + n % 100, now, now, now + n
             FROM generate_series(1, 50000) s (n), fleet_clock;
             VACUUM ANALYZE fleet_commands;"
        ));
    }

    /// Microseconds a claim.
    pub(crate) fn ours(&mut self, tenants: u32, time: Duration) -> f64 {
        let schema = self.ours.clone();
        self.fill(&schema, tenants);
        let server = &*self.server;
        each(time, |agent| {
            let mut store = server.open(&schema);
            move || {
                let claim = store.claim(AgentId(agent), LEASE).expect("the server answers");
                let lease = claim.expect("there are jobs enough").lease;
                store.start(&lease).expect("it was just claimed");
                store.complete(&lease, r#"{"open": [22]}"#).expect("it was just begun");
            }
        })
    }

    /// The same by hand, with as many round trips.
    pub(crate) fn floor(&mut self, by_hand: ByHand, tenants: u32, time: Duration) -> f64 {
        let schema = self.by_hand[by_hand as usize].clone();
        self.fill(&schema, tenants);
        let url = &self.server.url;
        each(time, |agent| {
            let mut connection = PgConnection::establish(url).expect("the server can be reached");
            connection
                .batch_execute(&format!("SET search_path TO {schema}"))
                .expect("there is such a schema");
            move || {
                connection.batch_execute("BEGIN").expect("the server answers");
                Plain::run(
                    &mut connection,
                    "SELECT id, id AS fence FROM fleet_agents WHERE id = ? FOR NO KEY UPDATE",
                    &[agent],
                );
                let job = by_hand.take(&mut connection, agent);
                connection.batch_execute("COMMIT").expect("the server answers");
                let start = "UPDATE fleet_commands SET state = 'running', started_at = (SELECT now FROM fleet_clock), version = version + 1
                     WHERE id = ? AND agent_id = ? AND fence = ? AND state = 'acknowledged' RETURNING id, fence";
                Plain::run(&mut connection, start, &[job.id, agent, job.fence]);
                let complete = "UPDATE fleet_commands SET state = 'completed', result = '{\"open\": [22]}', lease_until = NULL,
                     completed_at = (SELECT now FROM fleet_clock), version = version + 1
                     WHERE id = ? AND agent_id = ? AND fence = ? AND state = 'running' RETURNING id, fence";
                Plain::run(&mut connection, complete, &[job.id, agent, job.fence]);
            }
        })
    }
}

/// Takes the first job that nobody else is just taking, of those that the text
/// leaves.
macro_rules! take {
    ($whose:literal) => {
        concat!(
            "UPDATE fleet_commands SET state = 'acknowledged', agent_id = ?, fence = fence + 1, attempts = attempts + 1,
                 version = version + 1, acknowledged_at = (SELECT now FROM fleet_clock),
                 lease_until = (SELECT now FROM fleet_clock) + 60000000
             WHERE id = (SELECT id FROM fleet_commands WHERE state = 'pending' AND platform ",
            $whose,
            " ORDER BY queue_priority DESC, waiting_since, id LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED)
             RETURNING id, fence, payload, kind, tenant_id, priority"
        )
    };
}

impl ByHand {
    fn take(self, connection: &mut PgConnection, agent: i64) -> Job {
        match self {
            Self::OneQueue => {
                let agents =
                    "SELECT id, max_jobs AS fence FROM fleet_agents WHERE id = ? AND status = 'active'";
                Plain::run(connection, agents, &[agent]);
                Plain::run(connection, take!(""), &[agent])
            }
            Self::Fair => {
                let turn = "SELECT t.id, a.max_jobs AS fence
                     FROM fleet_agents a, fleet_tenants t
                     CROSS JOIN LATERAL (SELECT c.id, c.queue_priority, c.waiting_since FROM fleet_commands c
                         WHERE c.tenant_id = t.id AND c.state = 'pending' AND c.platform
                         ORDER BY c.queue_priority DESC, c.waiting_since, c.id LIMIT 1) first
                     CROSS JOIN LATERAL (SELECT COUNT(*) AS n FROM fleet_commands b
                         WHERE b.tenant_id = t.id AND b.lease_until IS NOT NULL AND b.platform) busy
                     WHERE a.id = ? AND a.status = 'active'
                     ORDER BY first.queue_priority - LEAST(10 * busy.n, 200) DESC, busy.n, first.waiting_since, first.id
                     LIMIT 1";
                let tenant = Plain::run(connection, turn, &[agent]).id;
                Plain::run(connection, take!("AND tenant_id = ?"), &[agent, tenant])
            }
        }
    }
}

/// Microseconds a turn, with eight who take turns as fast as they can.
fn each<T: FnMut()>(time: Duration, agent: impl Fn(i64) -> T + Sync) -> f64 {
    let ready = Barrier::new(AGENTS as usize);
    let done: u64 = thread::scope(|scope| {
        let agents: Vec<_> = (1..=i64::from(AGENTS))
            .map(|n| {
                let (agent, ready) = (&agent, &ready);
                scope.spawn(move || {
                    // Every second one is dead, of those that there are.
                    let mut turn = agent(n * 2);
                    turn();
                    ready.wait();
                    let begin = Instant::now();
                    let mut done = 0;
                    while begin.elapsed() < time {
                        turn();
                        done += 1;
                    }
                    done
                })
            })
            .collect();
        agents.into_iter().map(|agent| agent.join().expect("no agent fails")).sum()
    });
    time.as_secs_f64() * 1e6 / done as f64
}

/// A statement by hand, prepared once for each connection.
struct Plain<'a> {
    text: &'static str,
    binds: &'a [i64],
}

#[derive(QueryableByName)]
struct Job {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = BigInt)]
    fence: i64,
}

impl Plain<'_> {
    fn run(connection: &mut PgConnection, text: &'static str, binds: &[i64]) -> Job {
        let rows: Vec<Job> = Plain { text, binds }.load(connection).expect("the server answers");
        rows.into_iter().next().expect("there is such a row")
    }
}

impl QueryId for Plain<'_> {
    type QueryId = ();

    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for Plain<'_> {
    type SqlType = Untyped;
}

impl RunQueryDsl<PgConnection> for Plain<'_> {}

impl QueryFragment<Pg> for Plain<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        let mut parts = self.text.split('?');
        out.push_sql(parts.next().unwrap_or_default());
        for (part, bind) in parts.zip(self.binds) {
            out.push_bind_param::<BigInt, _>(bind)?;
            out.push_sql(part);
        }
        Ok(())
    }
}

/// The server's own shell, fed line by line.
struct Psql {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Psql {
    fn new(url: &str) -> Self {
        let mut child = Command::new("psql")
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", url])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("psql is installed where a server is");
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        Self { child, stdin, stdout }
    }

    /// Runs lines and waits until they are done.
    fn run(&mut self, text: &str) {
        let stdin = self.stdin.as_mut().expect("psql still listens");
        writeln!(stdin, "{text}\n\\echo done").expect("psql still listens");
        let mut line = String::new();
        while line != "done\n" {
            line.clear();
            let n = self.stdout.read_line(&mut line).expect("psql answers");
            assert!(n > 0, "psql ended at: {text}");
        }
    }
}

impl Drop for Psql {
    fn drop(&mut self) {
        drop(self.stdin.take());
        drop(self.child.wait());
    }
}
