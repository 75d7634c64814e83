//! What only a real server shows: programs that are killed, a server that is
//! killed and comes back, a network that swallows what is sent, a stop while a
//! statement runs.
//!
//! Each test makes a server of its own, from the programs of PostgreSQL in
//! `LOOPKEEPER_TEST_POSTGRES_BIN`, or in `/usr/lib/postgresql`. How long the
//! programs are killed for is in `LOOPKEEPER_TEST_KILL_SECONDS`, 20 if not.

#![allow(clippy::unwrap_used, reason = "test code: what is missing is a failed test")]
#![allow(
    clippy::disallowed_methods,
    reason = "programs and servers that are killed are real, as is their time"
)]

mod support;

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::sql_types::{BigInt, Text};
use diesel::{Connection, PgConnection, QueryableByName, RunQueryDsl};
use loopkeeper::controller::BackoffConfig;
use loopkeeper::error::Result;
use loopkeeper::fleet::*;
use loopkeeper::{Context, Controller, ControllerManager, ControllerManagerConfig, ErrorClass, ErrorKind};

use crate::support::{TempDir, free_port};

/// How long a thing of the real world may take that must come at all. Far
/// above what it takes.
const PATIENCE: Duration = Duration::from_secs(60);
const LEASE: Duration = Duration::from_secs(1);
const STALE: Duration = Duration::from_millis(1500);
const MAX_CLAIMS: u32 = 20;

const fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

#[track_caller]
fn eventually(what: &str, mut true_now: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !true_now() {
        assert!(begun.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        thread::sleep(millis(20));
    }
}

/// Chance that is the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

// The server.

/// A server of a test's own, which goes with it.
struct Cluster {
    dir: TempDir,
    bin: PathBuf,
    port: u16,
    /// Who runs it: PostgreSQL refuses root.
    user: Option<(u32, u32)>,
}

impl Cluster {
    fn new() -> Self {
        let dir = TempDir::new("postgres");
        let user = is_root().then(nobody);
        if let Some((uid, gid)) = user {
            chown(dir.path(), Some(uid), Some(gid)).unwrap();
        }
        let cluster = Self { bin: programs(), port: free_port(), user, dir };
        let data = cluster.data();
        cluster.run("initdb", &["-A", "trust", "-U", "postgres", "--no-sync", "-D", &data]);
        let settings = format!(
            "port = {}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\nfsync = off\n",
            cluster.port
        );
        let file = cluster.dir.path().join("data/postgresql.conf");
        OpenOptions::new().append(true).open(file).unwrap().write_all(settings.as_bytes()).unwrap();
        cluster.start();
        cluster
    }

    fn data(&self) -> String {
        self.dir.path().join("data").to_str().unwrap().to_owned()
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null());
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        command
    }

    fn run(&self, program: &str, args: &[&str]) {
        let status = self.command(program).args(args).status().unwrap();
        assert!(status.success(), "{program} {args:?}: {status}");
    }

    fn start(&self) {
        let log = self.dir.path().join("log");
        // Its own output would keep this test's open.
        let mut command = self.command("pg_ctl");
        command.args(["-D", &self.data(), "-w", "-l"]).arg(&log).arg("start").stderr(Stdio::null());
        let status = command.status().unwrap();
        assert!(status.success(), "{status}: {}", fs::read_to_string(log).unwrap_or_default());
    }

    fn stop(&self, how: &str) {
        self.run("pg_ctl", &["-D", &self.data(), "-m", how, "-w", "stop"]);
    }

    /// The server's own process and all that it has made, at once.
    fn kill_all(&self) {
        let file = self.dir.path().join("data/postmaster.pid");
        let pid = fs::read_to_string(&file).unwrap().lines().next().unwrap().to_owned();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        kill(&pid);
        children.split_whitespace().for_each(kill);
        eventually("the server's processes are gone", || {
            children.split_whitespace().chain([&*pid]).all(|pid| !is_alive(pid))
        });
        fs::remove_file(file).unwrap();
    }

    fn url(&self) -> String {
        url(self.port)
    }

    fn config(&self) -> PostgresConfig {
        PostgresConfig::new(self.url()).statement_timeout(Duration::from_secs(5))
    }

    fn store(&self) -> PostgresStore {
        PostgresStore::open(&self.config()).unwrap()
    }

    fn connect(&self) -> PgConnection {
        PgConnection::establish(&self.url()).unwrap()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = self.command("pg_ctl").args(["-D", &self.data(), "-m", "immediate", "-w", "stop"]).status();
    }
}

fn url(port: u16) -> String {
    format!("postgres://postgres@127.0.0.1:{port}/postgres")
}

fn programs() -> PathBuf {
    if let Ok(bin) = std::env::var("LOOPKEEPER_TEST_POSTGRES_BIN") {
        let bin = PathBuf::from(bin);
        assert!(bin.join("initdb").exists(), "LOOPKEEPER_TEST_POSTGRES_BIN: no initdb in {}", bin.display());
        return bin;
    }
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().filter_map(|entry| {
        let bin = entry.ok()?.path().join("bin");
        let version: u32 = bin.parent()?.file_name()?.to_str()?.parse().ok()?;
        bin.join("initdb").exists().then_some((version, bin))
    });
    let newest = versions.max();
    newest
        .expect("initdb and pg_ctl: install postgresql, or set LOOPKEEPER_TEST_POSTGRES_BIN to their folder")
        .1
}

fn is_root() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    status.lines().any(|line| line.starts_with("Uid:") && line.split_whitespace().nth(2) == Some("0"))
}

/// Numbers of somebody who is not root.
fn nobody() -> (u32, u32) {
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let found = users.lines().find_map(|line| {
        let fields: Vec<_> = line.split(':').collect();
        (fields[0] == "postgres").then(|| (fields[2].parse().unwrap(), fields[3].parse().unwrap()))
    });
    found.unwrap_or((65_534, 65_534))
}

fn kill(pid: &str) {
    Command::new("kill").args(["-9", pid]).stderr(Stdio::null()).status().unwrap();
}

fn is_alive(pid: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.lines().any(|line| line.starts_with("State:") && !line.contains('Z'))
}

// What the server saw, whatever the programs say.

#[derive(QueryableByName)]
struct Move {
    #[diesel(sql_type = BigInt)]
    command: i64,
    #[diesel(sql_type = Text)]
    before: String,
    #[diesel(sql_type = Text)]
    after: String,
    #[diesel(sql_type = BigInt)]
    fence: i64,
}

/// Has the server itself write down each change of a command's state.
fn write_down(cluster: &Cluster) {
    let sql = "
        CREATE TABLE seen (n BIGSERIAL, command BIGINT, before TEXT, after TEXT, fence BIGINT);
        CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            INSERT INTO seen (command, before, after, fence) VALUES (NEW.id, OLD.state, NEW.state, NEW.fence);
            RETURN NEW;
        END $$;
        CREATE TRIGGER see AFTER UPDATE OF state ON fleet_commands FOR EACH ROW
            WHEN (OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION see();";
    cluster.connect().batch_execute(sql).unwrap();
}

/// What was seen, and what the agents were told, against what is kept.
/// Answers how many jobs were claimed more than once.
fn prove(cluster: &Cluster, jobs: usize, answers: &[(i64, i64, String)]) -> usize {
    let moves: Vec<Move> = diesel::sql_query("SELECT command, before, after, fence FROM seen ORDER BY n")
        .load(&mut cluster.connect())
        .unwrap();
    let listing = cluster.store().commands(CommandId(0), u32::MAX).unwrap();
    assert_eq!((listing.rows.len(), listing.unreadable), (jobs, vec![]), "no job is lost");
    let mut again = 0;
    for row in &listing.rows {
        let seen: Vec<_> = moves.iter().filter(|seen| seen.command == row.id.0).collect();
        let over = ["completed", "failed", "canceled", "expired"];
        let done: Vec<_> = seen.iter().filter(|seen| seen.after == "completed").collect();
        match row.state {
            CommandState::Completed => {
                assert_eq!(done.len(), 1, "done once: {row:?}");
                assert_eq!(done[0].fence, row.fence);
            }
            CommandState::Failed => {
                assert_eq!(row.attempts, i64::from(MAX_CLAIMS), "all its claims were lost: {row:?}");
                assert!(done.is_empty());
            }
            _ => panic!("it is not over: {row:?}"),
        }
        assert!(seen.iter().all(|seen| !over.contains(&&*seen.before)), "over and changed after: {row:?}");
        let mut claims: Vec<_> =
            seen.iter().filter(|seen| seen.after == "acknowledged").map(|seen| seen.fence).collect();
        claims.sort_unstable();
        assert_eq!(claims, (1..=row.attempts).collect::<Vec<_>>(), "each claim was given once: {row:?}");
        again += usize::from(row.attempts > 1);
    }
    let rows: BTreeMap<_, _> = listing.rows.iter().map(|row| (row.id.0, row)).collect();
    for (command, fence, result) in answers {
        let row = rows[command];
        assert_eq!(row.state, CommandState::Completed, "told to be done: {row:?}");
        assert_eq!((row.fence, row.result.as_ref()), (*fence, Some(result)), "another was told so: {row:?}");
    }
    assert!(!answers.is_empty());
    assert!(cluster.store().verify(&mut || Ok(())).unwrap().is_sound());
    again
}

// A program: the passes, and some agents.

/// The five passes as controllers, each with a connection of its own.
fn passes(config: &PostgresConfig) -> ControllerManager {
    let manager = ControllerManager::new(ControllerManagerConfig::default()).unwrap();
    let interval = millis(200);
    let health = AgentHealth::new(AgentHealthConfig { interval, stale_timeout: STALE }).unwrap();
    let recovery = JobRecovery::new(JobRecoveryConfig {
        interval,
        stuck_threshold: Duration::from_secs(10),
        tenant_stuck_threshold: Duration::from_secs(10),
        max_retries: MAX_CLAIMS,
        ..JobRecoveryConfig::default()
    })
    .unwrap();
    let queue = QueuePriority::new(QueuePriorityConfig { interval, ..Default::default() }).unwrap();
    let tokens = TokenCleanup::new(TokenCleanupConfig { interval, grace: interval }).unwrap();
    let retention = AuditRetention::new(AuditRetentionConfig {
        interval,
        retention: Duration::from_secs(2),
        ..AuditRetentionConfig::default()
    })
    .unwrap();
    let store = StoreConfig::from(config.clone());
    let backoff = BackoffConfig { initial_delay: millis(50), ..BackoffConfig::default() };
    manager.register(health.schedule("health").backoff(backoff), health.controller(&store)).unwrap();
    manager.register(recovery.schedule("recovery").backoff(backoff), recovery.controller(&store)).unwrap();
    manager.register(queue.schedule("queue").backoff(backoff), queue.controller(&store)).unwrap();
    manager.register(tokens.schedule("tokens").backoff(backoff), tokens.controller(&store)).unwrap();
    manager.register(retention.schedule("audit").backoff(backoff), retention.controller(&store)).unwrap();
    manager.start().unwrap();
    manager
}

/// A server that is just coming up is waited for.
fn open(config: &PostgresConfig) -> PostgresStore {
    again(&AtomicBool::new(false), || PostgresStore::open(config)).unwrap().unwrap()
}

/// Makes a call until it is answered; `None` when it is over first.
fn again<T>(over: &AtomicBool, mut call: impl FnMut() -> Result<T>) -> Option<Result<T>> {
    let begun = Instant::now();
    loop {
        match call() {
            Err(error)
                if matches!(error.class(), ErrorClass::Retryable | ErrorClass::TimedOut)
                    && matches!(error.kind(), ErrorKind::Store | ErrorKind::Timeout) =>
            {
                assert!(begun.elapsed() < PATIENCE, "{}", error.report());
                if over.load(Ordering::Relaxed) {
                    return None;
                }
                thread::sleep(millis(20));
            }
            done => return Some(done),
        }
    }
}

/// One agent at its work, until it is told that it is over. Each answer that
/// was taken is told to `taken`.
fn work(
    config: &PostgresConfig,
    token: &Secret,
    name: &str,
    over: &AtomicBool,
    taken: impl Fn(i64, i64, &str),
) -> Option<()> {
    let mut store = open(config);
    let papers = NewAgent::new(name, AgentKind::Platform).max_jobs(1);
    let agent = again(over, || store.register(token, &papers))?.unwrap().agent;
    let mut dice = Dice(agent.0 as u64);
    while !over.load(Ordering::Relaxed) {
        again(over, || store.heartbeat(agent, &Heartbeat::new()))?.unwrap();
        // A claim whose answer was lost is found again.
        let held = again(over, || store.held(agent))?.unwrap().rows.pop();
        let claim = match held {
            Some(claim) => Some(claim),
            None => match again(over, || store.claim(agent, LEASE))? {
                Ok(claim) => claim,
                // Found to be offline since its heartbeat, or it holds one already.
                Err(error) if error.kind() == ErrorKind::InvalidState => None,
                Err(error) => panic!("{}", error.report()),
            },
        };
        let Some(claim) = claim else {
            thread::sleep(millis(20));
            continue;
        };
        let lease = claim.lease;
        let stale = |result: Result<()>| match result {
            Ok(()) => false,
            Err(error) if matches!(error.kind(), ErrorKind::Stale | ErrorKind::InvalidState) => true,
            Err(error) => panic!("{}", error.report()),
        };
        if stale(again(over, || store.start(&lease))?) {
            continue;
        }
        thread::sleep(millis(dice.below(60)));
        let result = format!(r#"{{"by": "{name}", "claim": {}}}"#, lease.fence);
        if !stale(again(over, || store.complete(&lease, &result))?) {
            taken(lease.command.0, lease.fence, &result);
        }
    }
    Some(())
}

const CHILD: &str = "LOOPKEEPER_TEST_FLEET_CHILD";

/// Not a test: what [`two_programs_that_are_killed_lose_no_job_and_do_none_twice`]
/// starts and kills.
#[test]
fn a_program_that_is_killed() {
    let Ok(told) = std::env::var(CHILD) else { return };
    let [url, token, name, file] = told.split('|').collect::<Vec<_>>().try_into().unwrap();
    let config = PostgresConfig::new(url).statement_timeout(Duration::from_secs(5));
    let manager = passes(&config);
    let (token, over) = (Secret::new(token), AtomicBool::new(false));
    let ledger = OpenOptions::new().create(true).append(true).open(file).unwrap();
    thread::scope(|scope| {
        for i in 0..6 {
            let (config, token, over, ledger) = (&config, &token, &over, &ledger);
            scope.spawn(move || {
                work(config, token, &format!("{name}-{i}"), over, |command, fence, result| {
                    // One write: a line is there or not.
                    let line = format!("{command}|{fence}|{result}\n");
                    let mut ledger = ledger;
                    ledger.write_all(line.as_bytes()).unwrap();
                })
            });
        }
    });
    drop(manager);
}

struct Program {
    child: Child,
}

impl Program {
    fn start(cluster: &Cluster, token: &Secret, n: u32) -> Self {
        let file = cluster.dir.path().join("ledger");
        let told = format!("{}|{}|p{n}|{}", cluster.url(), token.reveal(), file.display());
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_program_that_is_killed", "--nocapture", "--test-threads=1"])
            .env(CHILD, told)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self { child }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn read_ledger(file: &Path) -> Vec<(i64, i64, String)> {
    let text = fs::read_to_string(file).unwrap();
    let line = |line: &str| {
        let mut fields = line.splitn(3, '|');
        let mut next = || fields.next().unwrap().to_owned();
        (next().parse().unwrap(), next().parse().unwrap(), next())
    };
    text.lines().map(line).collect()
}

fn all_over(store: &mut PostgresStore) -> Result<bool> {
    Ok(store.commands(CommandId(0), u32::MAX)?.rows.iter().all(|row| row.state.is_terminal()))
}

/// Tells agents that it is over, also when a check fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn two_programs_that_are_killed_lose_no_job_and_do_none_twice() {
    let seconds = std::env::var("LOOPKEEPER_TEST_KILL_SECONDS")
        .map_or(20, |text| text.parse().expect("LOOPKEEPER_TEST_KILL_SECONDS: expected a number of seconds"));
    let cluster = Cluster::new();
    let mut store = cluster.store();
    write_down(&cluster);
    store.set_max_attempts(MAX_CLAIMS).unwrap();
    let (_, token) = store.create_token("root", &NewToken::for_platform("all").unlimited()).unwrap();
    let tenants = [("acme", Plan::Free), ("globex", Plan::Enterprise)]
        .map(|(name, plan)| store.create_tenant(name, plan).unwrap());
    let mut programs = [1, 2].map(|n| Program::start(&cluster, &token, n));
    let (mut jobs, mut kills, mut dice) = (0, 2, Dice(7));
    let until = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < until {
        thread::sleep(millis(300 + dice.below(1200)));
        // More than is done before the kill, however fast the machine is: it
        // is to come while they are at work.
        for _ in 0..150 {
            let tenant = tenants[dice.below(2) as usize];
            store.enqueue(&NewCommand::job(tenant, CommandKind::Scan, "{}")).unwrap();
            jobs += 1;
        }
        thread::sleep(millis(dice.below(60)));
        kills += 1;
        for program in &mut programs {
            let ended = program.child.try_wait().unwrap();
            assert!(ended.is_none(), "a program ended by itself: {ended:?}");
        }
        programs[dice.below(2) as usize] = Program::start(&cluster, &token, kills);
    }
    eventually("every job is over", || all_over(&mut store).unwrap());
    drop(programs);
    let answers = read_ledger(&cluster.dir.path().join("ledger"));
    let again = prove(&cluster, jobs, &answers);
    println!("{jobs} jobs, {} answers, {} kills, {again} jobs taken back", answers.len(), kills - 2);
    assert!(again > 0, "nothing was taken back: this has shown nothing");
}

#[test]
fn a_server_that_is_killed_in_a_transaction_comes_back_to_all_its_work() {
    let cluster = Cluster::new();
    let mut store = cluster.store();
    write_down(&cluster);
    store.set_max_attempts(MAX_CLAIMS).unwrap();
    let (_, token) = store.create_token("root", &NewToken::for_platform("all").unlimited()).unwrap();
    let tenant = store.create_tenant("acme", Plan::Free).unwrap();
    let (config, over) = (cluster.config(), AtomicBool::new(false));
    let (sender, receiver) = mpsc::channel();
    let mut jobs = 0;
    let manager = passes(&config);
    thread::scope(|scope| {
        let end = Over(&over);
        for i in 0..6 {
            let (config, token, over, sender) = (&config, &token, &over, sender.clone());
            scope.spawn(move || {
                let taken = |command, fence, result: &str| {
                    sender.send((command, fence, result.to_owned())).unwrap();
                };
                work(config, token, &format!("a{i}"), over, taken)
            });
        }
        for round in 0..4 {
            for _ in 0..150 {
                let job = NewCommand::job(tenant, CommandKind::Scan, "{}");
                again(&over, || store.enqueue(&job)).unwrap().unwrap();
                jobs += 1;
            }
            thread::sleep(millis(700));
            match round {
                // One of its processes, in the middle of a transaction: the
                // server throws all of them out and recovers by itself.
                0 | 2 => kill_in_transaction(&cluster),
                1 => {
                    cluster.kill_all();
                    thread::sleep(millis(1700));
                    cluster.start();
                }
                _ => {
                    cluster.stop("fast");
                    cluster.start();
                }
            }
        }
        eventually("every job is over", || again(&over, || all_over(&mut store)).unwrap().unwrap());
        drop(end);
    });
    eventually("every pass works again", || {
        manager.status().values().all(|status| status.health == loopkeeper::Health::Ready)
    });
    assert!(manager.stop(PATIENCE).is_clean());
    drop(sender);
    let answers: Vec<_> = receiver.iter().collect();
    // A job whose answer was lost was put in the queue once more.
    let found = cluster.store().commands(CommandId(0), u32::MAX).unwrap().rows.len();
    assert!(found >= jobs, "{found} of {jobs}");
    prove(&cluster, found, &answers);
}

/// Kills the process that serves a connection, while a registration waits for
/// the end of the audit log with all its rows written.
fn kill_in_transaction(cluster: &Cluster) {
    let mut store = cluster.store();
    let (_, token) = store.create_token("root", &NewToken::for_platform("once")).unwrap();
    let mut other = cluster.connect();
    other.batch_execute("BEGIN; SELECT * FROM fleet_audit_head FOR UPDATE").unwrap();
    let pid = store.backend_pid().unwrap();
    let name = format!("cut off {pid}");
    let papers = NewAgent::new(&*name, AgentKind::Platform);
    let error = thread::scope(|scope| {
        let call = scope.spawn(|| store.register(&token, &papers).unwrap_err());
        wait_for_lock(cluster, pid);
        kill(&pid.to_string());
        call.join().unwrap()
    });
    assert_eq!(
        (error.kind(), error.class()),
        (ErrorKind::Store, ErrorClass::Retryable),
        "{}",
        error.report()
    );
    let over = AtomicBool::new(false);
    let agents = again(&over, || store.agents(AgentId(0), u32::MAX)).unwrap().unwrap().rows;
    assert!(agents.iter().all(|agent| agent.name != name), "nothing of it stays");
    again(&over, || store.register(&token, &papers)).unwrap().unwrap();
}

/// Waits until a connection waits for another's lock.
fn wait_for_lock(cluster: &Cluster, pid: u64) {
    let sql = format!(
        "DO $$ BEGIN WHILE NOT EXISTS
            (SELECT 1 FROM pg_stat_activity WHERE pid = {pid} AND wait_event_type = 'Lock')
         LOOP PERFORM pg_sleep(0.01); PERFORM pg_stat_clear_snapshot(); END LOOP; END $$"
    );
    cluster.connect().batch_execute(&sql).unwrap();
}

#[test]
fn a_pass_waits_longer_and_longer_for_a_server_that_is_away() {
    let cluster = Cluster::new();
    let tries = Arc::new(AtomicU64::new(0));
    let counted = tries.clone();
    let manager = ControllerManager::new(ControllerManagerConfig::default()).unwrap();
    let backoff = BackoffConfig { initial_delay: millis(100), jitter: 0.0, ..BackoffConfig::default() };
    let pass = JobRecovery::new(JobRecoveryConfig::default()).unwrap();
    let config = pass.schedule("recovery").interval(Duration::from_secs(600)).backoff(backoff);
    let mut controller = pass.controller(&StoreConfig::from(cluster.config()));
    let run = move |cx: &Context| {
        counted.fetch_add(1, Ordering::SeqCst);
        controller.reconcile(cx)
    };
    manager.register(config, run).unwrap();
    manager.start().unwrap();
    let is_ready = || manager.status().values().all(|status| status.health == loopkeeper::Health::Ready);
    eventually("the first run", is_ready);
    cluster.stop("immediate");
    let before = tries.load(Ordering::SeqCst);
    manager.trigger("recovery").unwrap();
    // At 0, 100, 300, 700, 1500 and 3100 ms.
    thread::sleep(millis(2000));
    let during = tries.load(Ordering::SeqCst) - before;
    cluster.start();
    eventually("it works again", is_ready);
    assert!(manager.stop(PATIENCE).is_clean());
    assert!((2..=5).contains(&during), "{during} tries in 2 s");
}

// A network that takes what is sent and does not deliver it.

/// Stands between a store and its server, until it is dropped.
struct Proxy {
    port: u16,
    swallows: Arc<AtomicBool>,
    /// How many bytes it has swallowed.
    swallowed: Arc<AtomicU64>,
    /// How many connections it has taken.
    taken: Arc<AtomicU64>,
}

impl Proxy {
    fn new(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let swallows = Arc::new(AtomicBool::new(false));
        let swallowed = Arc::new(AtomicU64::new(0));
        let taken = Arc::new(AtomicU64::new(0));
        let (state, count) = ((swallows.clone(), swallowed.clone()), taken.clone());
        // Ends with the test's process.
        thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                let server = TcpStream::connect(("127.0.0.1", server)).unwrap();
                let back = (server.try_clone().unwrap(), client.try_clone().unwrap());
                for (from, to) in [(client, server), back] {
                    let (swallows, swallowed) = state.clone();
                    thread::spawn(move || pump(from, to, &swallows, &swallowed));
                }
            }
        });
        Self { port, swallows, swallowed, taken }
    }

    fn config(&self) -> PostgresConfig {
        PostgresConfig::new(url(self.port)).statement_timeout(millis(500)).connect_timeout(millis(2000))
    }

    fn swallow(&self, swallows: bool) {
        self.swallows.store(swallows, Ordering::SeqCst);
    }
}

fn pump(mut from: TcpStream, mut to: TcpStream, swallows: &AtomicBool, swallowed: &AtomicU64) {
    let mut buffer = [0; 8192];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        if swallows.load(Ordering::SeqCst) {
            swallowed.fetch_add(n as u64, Ordering::SeqCst);
        } else if to.write_all(&buffer[..n]).is_err() {
            return;
        }
    }
    if !swallows.load(Ordering::SeqCst) {
        let _ = to.shutdown(std::net::Shutdown::Both);
    }
}

#[test]
fn a_network_that_swallows_bytes_holds_no_statement_beyond_its_time() {
    let cluster = Cluster::new();
    let proxy = Proxy::new(cluster.port);
    let mut store = PostgresStore::open(&proxy.config()).unwrap();
    for _ in 0..2 {
        let tenants = again(&AtomicBool::new(false), || store.tenants()).unwrap().unwrap();
        assert!(tenants.rows.is_empty());
        proxy.swallow(true);
        let begun = Instant::now();
        let error = store.tenants().unwrap_err();
        let took = begun.elapsed();
        assert_eq!(
            (error.kind(), error.class()),
            (ErrorKind::Timeout, ErrorClass::TimedOut),
            "{}",
            error.report()
        );
        assert!(took >= millis(500) && took < Duration::from_secs(10), "{took:?}");
        // The next one cannot even connect.
        let error = store.tenants().unwrap_err();
        assert_eq!(
            (error.kind(), error.class()),
            (ErrorKind::Store, ErrorClass::Retryable),
            "{}",
            error.report()
        );
        proxy.swallow(false);
    }
    assert!(again(&AtomicBool::new(false), || store.tenants()).unwrap().is_ok());
}

#[test]
fn a_stop_ends_a_statement_on_a_network_that_swallows_bytes() {
    let cluster = Cluster::new();
    let proxy = Proxy::new(cluster.port);
    let store = StoreConfig::from(proxy.config().statement_timeout(Duration::from_secs(600)));
    let pass = AgentHealth::new(AgentHealthConfig::default()).unwrap();
    let manager = ControllerManager::new(ControllerManagerConfig::default()).unwrap();
    let config = pass.schedule("health").deadline(Duration::from_secs(600));
    manager.register(config, pass.controller(&store)).unwrap();
    manager.start().unwrap();
    let status = || manager.status().into_values().next().unwrap();
    eventually("the first run", || status().health == loopkeeper::Health::Ready);
    proxy.swallow(true);
    manager.trigger("health").unwrap();
    eventually("it sends a statement", || proxy.swallowed.load(Ordering::SeqCst) > 0);
    let begun = Instant::now();
    assert!(manager.stop(PATIENCE).is_clean());
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert_eq!((status().failures, status().timeouts), (0, 0), "a stop is no failure");
}

#[test]
fn of_many_statements_that_a_stop_ends_one_is_asked_for_at_a_server_that_is_gone() {
    const N: u64 = 4;
    let cluster = Cluster::new();
    let proxy = Proxy::new(cluster.port);
    let store = StoreConfig::from(proxy.config().statement_timeout(Duration::from_secs(600)));
    let manager = ControllerManager::new(ControllerManagerConfig::default()).unwrap();
    manager.start().unwrap();
    let statuses = || manager.status().into_values();
    // One by one: behind a proxy the connections of one moment cannot be told apart.
    for n in 0..N {
        let pass = AgentHealth::new(AgentHealthConfig::default()).unwrap();
        let config = pass.schedule(format!("health-{n}")).deadline(Duration::from_secs(600));
        manager.register(config, pass.controller(&store)).unwrap();
        eventually("its first run", || statuses().all(|it| it.health == loopkeeper::Health::Ready));
    }
    proxy.swallow(true);
    for n in 0..N {
        let sent = proxy.swallowed.load(Ordering::SeqCst);
        manager.trigger(&format!("health-{n}")).unwrap();
        eventually("it sends a statement", || proxy.swallowed.load(Ordering::SeqCst) > sent);
    }
    assert_eq!(proxy.taken.load(Ordering::SeqCst), N, "one connection each");
    assert!(manager.stop(PATIENCE).is_clean());
    assert_eq!(proxy.taken.load(Ordering::SeqCst), N + 1, "each that is asked takes the time to connect");
    assert!(statuses().all(|status| (status.failures, status.timeouts) == (0, 0)), "a stop is no failure");
}
