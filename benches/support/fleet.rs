//! A fleet in a file: the library's store, and beside it the same statements
//! through SQLite's own functions, with the settings that the store has.

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_int};
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use libsqlite3_sys as ffi;
use loopkeeper::fleet::{
    AuditRetention, AuditRetentionConfig, AuditStore, CommandStore, JobRecovery, JobRecoveryConfig, Lost,
    PassContext, Scope, SqliteConfig, SqliteStore, Sweep,
};

const HOUR: Duration = Duration::from_secs(3600);
pub(crate) const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
const DRY: Sweep = Sweep { batch: 1_000_000, dry_run: true };

/// A statement of the library, under the name it has there.
macro_rules! statement {
    ($name:literal) => {
        include_str!(concat!("../../src/fleet/store/sql/", $name, ".sql"))
    };
}

/// What is bound to which name; `None` is NULL.
pub(crate) type Binds = Vec<(&'static str, Option<i64>)>;

/// The sweeps that are compared one by one, each undone at once.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    /// Commands are taken back whose holder is dead.
    Recover,
    /// Jobs expire that waited too long.
    Expire,
    /// Jobs get their places in the queue.
    Places,
}

impl Step {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Recover => statement!("recover"),
            Self::Expire => statement!("expire_queued"),
            Self::Places => statement!("reprioritize"),
        }
    }

    /// What is bound beside the time; the time is the database's.
    pub(crate) fn binds(self) -> Binds {
        let all = ("batch", Some(i64::from(DRY.batch)));
        match self {
            Self::Recover => vec![("platform", Some(1)), ("patience", None), all],
            Self::Expire => vec![("max_queue", Some(micros(HOUR))), all],
            Self::Places => {
                let queue = [
                    ("after_at", -i64::MAX),
                    ("after_id", -i64::MAX),
                    ("until_at", i64::MAX),
                    ("until_id", i64::MAX),
                ];
                let queue = queue.into_iter().map(|(name, end)| (name, Some(end)));
                [("bonus", Some(1)), all].into_iter().chain(queue).collect()
            }
        }
    }

    /// The same through a store; answers how many rows it has touched.
    pub(crate) fn run(self, store: &mut dyn CommandStore) -> u64 {
        let touched = match self {
            Self::Recover => store.recover(Scope::Platform, Lost::HolderDead, DRY),
            Self::Expire => store.expire_queued(Scope::Platform, HOUR, DRY),
            Self::Places => return store.reprioritize(1, DRY).expect("the queue can be ordered").moved,
        };
        touched.expect("the file can be swept").len() as u64
    }

    /// What makes `one in a thousand` rows fall to this step, and what undoes that.
    pub(crate) fn stage(self) -> [&'static str; 2] {
        match self {
            Self::Recover => [
                "UPDATE fleet_commands SET lease_until = (SELECT now FROM fleet_clock) - 60000000, agent_id = 1 WHERE id % 1000 = 0",
                "UPDATE fleet_commands SET lease_until = lease_until + 86400000000 WHERE id % 1000 = 0",
            ],
            Self::Expire => [
                "UPDATE fleet_commands SET queued_at = queued_at - 8000000000 WHERE id % 1000 = 1",
                "UPDATE fleet_commands SET queued_at = queued_at + 8000000000 WHERE id % 1000 = 1",
            ],
            // All that wait, as long as no places were given.
            Self::Places => ["SELECT 1", "SELECT 1"],
        }
    }
}

/// Of `n` jobs 98 % are done, 1 % run on a lease that is good for a day, and
/// 1 % wait. Every second agent is dead.
pub(crate) fn jobs(n: u32) -> String {
    format!(
        "INSERT INTO fleet_tenants (name, plan, created_at)
         WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 100)
         SELECT 'tenant ' || n, CASE n % 4 WHEN 0 THEN 'free' WHEN 1 THEN 'team' WHEN 2 THEN 'business' ELSE 'enterprise' END,
             now FROM s, fleet_clock;
         INSERT INTO fleet_agents (name, kind, health, max_jobs, key_prefix, key_hash, last_seen_at, last_offline_at, created_at)
         WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 200)
         SELECT 'agent ' || n, 'platform', CASE n % 2 WHEN 1 THEN 'offline' ELSE 'online' END, 1000000, 'k' || n, 'h' || n, now, now, now
         FROM s, fleet_clock;
         INSERT INTO fleet_commands (tenant_id, platform, kind, priority, payload, state, agent_id, fence, attempts, created_at,
             queued_at, waiting_since, acknowledged_at, started_at, completed_at, lease_until)
         WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {n})
         SELECT n / 100 % 100 + 1, true, 'scan', CASE n / 100 % 4 WHEN 0 THEN 250 WHEN 1 THEN 500 WHEN 2 THEN 750 ELSE 1000 END,
             '{{\"host\": \"10.0.' || n / 250 % 250 || '.' || n % 250 || '\", \"ports\": [22, 80, 443]}}',
             CASE n % 100 WHEN 0 THEN 'running' WHEN 1 THEN 'pending' ELSE 'completed' END,
             CASE WHEN n % 100 <> 1 THEN n / 100 % 200 + 1 END,
             CASE WHEN n % 100 <> 1 THEN 1 ELSE 0 END, CASE WHEN n % 100 <> 1 THEN 1 ELSE 0 END,
             now, now, now + 86400000000,
             CASE WHEN n % 100 <> 1 THEN now END, CASE WHEN n % 100 <> 1 THEN now END, CASE WHEN n % 100 > 1 THEN now END,
             CASE n % 100 WHEN 0 THEN now + 86400000000 END
         FROM s, fleet_clock;"
    )
}

/// `n` audit records that are older than a year.
fn records(n: u32) -> String {
    format!(
        "INSERT INTO fleet_audit (position, at, tenant_id, actor, action, resource, severity, detail, prev_hash, hash)
         WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {n})
         SELECT n, now - {} + n * 1000, n % 100, 'alice', 'thing.do', 'thing ' || n, CASE n % 3 WHEN 0 THEN 'info' WHEN 1 THEN 'low' ELSE 'medium' END,
             '', printf('%064x', n - 1), printf('%064x', n)
         FROM s, fleet_clock;
         UPDATE fleet_audit_head SET position = {n}, hash = printf('%064x', {n});",
        micros(2 * YEAR)
    )
}

/// Gives all that wait their places, for good.
pub(crate) fn give_places(store: &mut dyn CommandStore) {
    store.reprioritize(1, Sweep { dry_run: false, ..DRY }).expect("the queue can be ordered");
}

pub(crate) fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).expect("a span of a bench is short")
}

/// A folder that goes away.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("loopkeeper-bench-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&path));
        std::fs::create_dir_all(&path).expect("a folder can be made");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(&SqliteConfig::file(path).busy_timeout(Duration::from_secs(60)))
        .expect("the file can be opened")
}

/// Jobs in a file, the same file for both sides.
pub(crate) struct Jobs {
    store: RefCell<SqliteStore>,
    raw: Raw,
    bare: Raw,
    _folder: Folder,
}

impl Jobs {
    pub(crate) fn new(n: u32) -> Self {
        let folder = Folder::new();
        let (path, copy) = (folder.0.join("fleet.db"), folder.0.join("bare.db"));
        let store = open(&path);
        let raw = Raw::open(&path);
        raw.exec(&jobs(n));
        raw.exec("PRAGMA wal_checkpoint(TRUNCATE)");
        std::fs::copy(&path, &copy).expect("the file can be copied");
        // As it would be without any index but those of the keys.
        let bare = Raw::open(&copy);
        for index in [
            "jobs",
            "orders",
            "leases",
            "held",
            "busy",
            "queued",
            "unclaimed",
            "expires",
            "retried",
            "pinned",
        ] {
            bare.exec(&format!("DROP INDEX fleet_commands_{index}"));
        }
        Self { store: store.into(), raw, bare, _folder: folder }
    }

    pub(crate) fn stage(&self, sql: &str) {
        self.raw.exec(sql);
    }

    /// Runs a step and undoes it.
    pub(crate) fn ours(&self, step: Step, wanted: u64) -> Duration {
        let begin = Instant::now();
        let n = step.run(&mut *self.store.borrow_mut());
        let time = begin.elapsed();
        assert_eq!(n, wanted, "{step:?}");
        time
    }

    pub(crate) fn give_places(&self) {
        give_places(&mut *self.store.borrow_mut());
    }

    /// The same statement between the same begin and rollback.
    pub(crate) fn floor(&self, step: Step, wanted: u64) -> Duration {
        let statement = self.raw.prepare(step.text());
        let binds = step.binds();
        let begin = Instant::now();
        self.raw.exec("BEGIN IMMEDIATE");
        let n = statement.run(&binds);
        self.raw.exec("ROLLBACK");
        let time = begin.elapsed();
        assert_eq!(n, wanted, "{step:?}");
        time
    }

    /// A whole pass with nothing to do.
    pub(crate) fn empty_pass(&self) -> Duration {
        let pass = JobRecovery::new(JobRecoveryConfig::default()).expect("defaults are good");
        let mut store = self.store.borrow_mut();
        let begin = Instant::now();
        let report = pass.pass(&mut *store, &PassContext::unbounded()).expect("the file can be swept");
        let time = begin.elapsed();
        assert_eq!(report.processed(), 0, "{report}");
        time
    }

    /// The statements of that pass without an index.
    pub(crate) fn empty_floor(&self) -> impl Fn() -> Duration + '_ {
        let raw = &self.bare;
        let (batch, span) = (("batch", Some(10_000)), Some(micros(HOUR)));
        let scope = |platform| vec![("platform", Some(platform)), ("patience", span), batch];
        let statements: [(Statement<'_>, Binds); 8] = [
            (raw.prepare(statement!("select_policy")), vec![]),
            (raw.prepare(statement!("expire_queued")), vec![("max_queue", span), batch]),
            (raw.prepare(statement!("expire_unclaimed")), vec![("max_queue", span), batch]),
            (raw.prepare(statement!("expire_due")), vec![batch]),
            (raw.prepare(statement!("fail_exhausted")), vec![batch]),
            (raw.prepare(statement!("recover")), scope(1)),
            (raw.prepare(statement!("recover")), scope(0)),
            (raw.prepare(statement!("unpin")), vec![("patience", span), batch]),
        ];
        move || {
            let begin = Instant::now();
            let n: u64 = statements.iter().map(|(statement, binds)| statement.run(binds)).sum();
            let time = begin.elapsed();
            assert_eq!(n, 1, "the policy is all there is to be seen");
            time
        }
    }
}

/// How long it took to delete all records, and how long another who writes
/// waited at most meanwhile.
pub(crate) struct Deleted {
    pub(crate) took: Duration,
    pub(crate) waited: Duration,
}

/// Old audit records in a file that each side gets a copy of.
pub(crate) struct Records {
    n: u32,
    template: PathBuf,
    folder: Folder,
}

impl Records {
    pub(crate) fn new(n: u32) -> Self {
        let folder = Folder::new();
        let template = folder.0.join("template.db");
        let mut store = open(&template);
        // The one who writes meanwhile puts jobs in the queue.
        store_tenant(&mut store);
        let raw = Raw::open(&template);
        raw.exec(&records(n));
        raw.exec("PRAGMA wal_checkpoint(TRUNCATE)");
        drop((raw, store));
        Self { n, template, folder }
    }

    fn copy(&self) -> PathBuf {
        let path = self.folder.0.join("copy.db");
        for end in ["", "-wal", "-shm"] {
            drop(std::fs::remove_file(format!("{}{end}", path.display())));
        }
        std::fs::copy(&self.template, &path).expect("the file can be copied");
        path
    }

    pub(crate) fn ours(&self, writer: bool) -> Deleted {
        let path = self.copy();
        let mut store = open(&path);
        let pass = AuditRetention::new(AuditRetentionConfig::default()).expect("defaults are good");
        beside(writer, &path, move || {
            let report = pass.pass(&mut store, &PassContext::unbounded()).expect("records can be deleted");
            assert_eq!(report.processed(), u64::from(self.n), "{report}");
            assert!(store.count_older(YEAR, false).expect("records can be counted") == 0);
        })
    }

    pub(crate) fn floor(&self, writer: bool) -> Deleted {
        let path = self.copy();
        let raw = Raw::open(&path);
        beside(writer, &path, || {
            raw.exec(&format!(
                "DELETE FROM fleet_audit WHERE severity NOT IN ('critical', 'high')
                 AND at < (SELECT now FROM fleet_clock) - {}",
                micros(YEAR)
            ));
        })
    }
}

fn store_tenant(store: &mut SqliteStore) {
    use loopkeeper::fleet::{Plan, TenantStore};
    store.create_tenant("acme", Plan::Free).expect("a tenant can be made");
}

/// Runs `body`, beside another connection that writes a row every
/// millisecond.
fn beside(writer: bool, path: &Path, body: impl FnOnce()) -> Deleted {
    let (ready, over) = (AtomicBool::new(!writer), AtomicBool::new(false));
    thread::scope(|scope| {
        let writing = writer.then(|| {
            scope.spawn(|| {
                let raw = Raw::open(path);
                let insert = raw.prepare(
                    "INSERT INTO fleet_commands (tenant_id, platform, kind, priority, payload, created_at, queued_at, waiting_since)
                     VALUES (1, true, 'scan', 500, '{}', 1, 1, 1)",
                );
                let mut waited = Duration::ZERO;
                while !over.load(Ordering::Relaxed) {
                    let begin = Instant::now();
                    insert.run(&[]);
                    if ready.swap(true, Ordering::Relaxed) {
                        waited = waited.max(begin.elapsed());
                    }
                    thread::sleep(Duration::from_millis(1));
                }
                waited
            })
        });
        while !ready.load(Ordering::Relaxed) {
            thread::yield_now();
        }
        let begin = Instant::now();
        body();
        let took = begin.elapsed();
        over.store(true, Ordering::Relaxed);
        let waited = writing.map_or(Duration::ZERO, |writing| writing.join().expect("the writer can write"));
        Deleted { took, waited }
    })
}

/// A connection without anything in between.
struct Raw(*mut ffi::sqlite3);

// SAFETY: SQLite is compiled with its locks (`THREADSAFE=1`), and a connection
// is used by one thread at a time.
unsafe impl Send for Raw {}

impl Raw {
    fn open(path: &Path) -> Self {
        let name = CString::new(path.to_str().expect("the folder's name is text")).expect("no NUL in it");
        let mut db = ptr::null_mut();
        // SAFETY: the name ends in NUL and the place for the result is ours.
        let rc = unsafe { ffi::sqlite3_open(name.as_ptr(), &raw mut db) };
        assert_eq!(rc, ffi::SQLITE_OK, "{} can be opened", path.display());
        let raw = Self(db);
        raw.exec(
            "PRAGMA busy_timeout = 60000; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
             PRAGMA foreign_keys = ON;",
        );
        raw
    }

    #[track_caller]
    fn check(&self, rc: c_int) {
        // SAFETY: the text lives until the next call on this connection.
        let text = unsafe { CStr::from_ptr(ffi::sqlite3_errmsg(self.0)) };
        assert!(matches!(rc, ffi::SQLITE_OK | ffi::SQLITE_DONE), "{}", text.to_string_lossy());
    }

    #[track_caller]
    fn exec(&self, sql: &str) {
        let sql = CString::new(sql).expect("no NUL in a statement");
        // SAFETY: the text ends in NUL; nobody is called back and no text of an error is asked for.
        let rc = unsafe { ffi::sqlite3_exec(self.0, sql.as_ptr(), None, ptr::null_mut(), ptr::null_mut()) };
        self.check(rc);
    }

    #[track_caller]
    fn prepare(&self, text: &str) -> Statement<'_> {
        let lines = text.lines().filter(|line| !line.ends_with("-- postgres"));
        // The copy has no such indexes.
        let lines = lines.filter(|line| !line.trim().starts_with("INDEXED BY") || self.has_indexes());
        let text = CString::new(lines.collect::<Vec<_>>().join("\n")).expect("no NUL in a statement");
        let mut statement = ptr::null_mut();
        // SAFETY: the text ends in NUL and the place for the result is ours.
        let rc = unsafe {
            ffi::sqlite3_prepare_v2(self.0, text.as_ptr(), -1, &raw mut statement, ptr::null_mut())
        };
        self.check(rc);
        Statement { raw: self, statement }
    }

    fn has_indexes(&self) -> bool {
        // SAFETY: a connection that is open has a main database with a name.
        let name = unsafe { CStr::from_ptr(ffi::sqlite3_db_filename(self.0, ptr::null())) };
        !name.to_string_lossy().ends_with("bare.db")
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // SAFETY: every statement borrows the connection and so is finished.
        unsafe { ffi::sqlite3_close(self.0) };
    }
}

/// A prepared statement.
struct Statement<'a> {
    raw: &'a Raw,
    statement: *mut ffi::sqlite3_stmt,
}

impl Statement<'_> {
    /// Runs it to its end and reads every column; answers how many rows there
    /// were, or were changed by one that answers none.
    fn run(&self, binds: &[(&str, Option<i64>)]) -> u64 {
        for (name, value) in binds {
            let name = CString::new(format!(":{name}")).expect("no NUL in a name");
            // SAFETY: the statement is alive, the name ends in NUL.
            let rc = unsafe {
                match (ffi::sqlite3_bind_parameter_index(self.statement, name.as_ptr()), value) {
                    (0, _) => panic!("{name:?} is not in the statement"),
                    (at, Some(value)) => ffi::sqlite3_bind_int64(self.statement, at, *value),
                    (at, None) => ffi::sqlite3_bind_null(self.statement, at),
                }
            };
            self.raw.check(rc);
        }
        let mut rows = 0;
        // SAFETY: the statement is alive and columns are read below their count.
        unsafe {
            loop {
                match ffi::sqlite3_step(self.statement) {
                    ffi::SQLITE_ROW => rows += 1,
                    rc => break self.raw.check(rc),
                }
                for column in 0..ffi::sqlite3_column_count(self.statement) {
                    std::hint::black_box(ffi::sqlite3_column_text(self.statement, column));
                }
            }
            if ffi::sqlite3_column_count(self.statement) == 0 {
                rows = u64::try_from(ffi::sqlite3_changes64(self.raw.0)).unwrap_or(0);
            }
            self.raw.check(ffi::sqlite3_reset(self.statement));
        }
        rows
    }
}

impl Drop for Statement<'_> {
    fn drop(&mut self) {
        // SAFETY: it is finished once.
        unsafe { ffi::sqlite3_finalize(self.statement) };
    }
}
