//! The store in a file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use diesel::connection::{AnsiTransactionManager, SimpleConnection, TransactionManager};
use diesel::{Connection, RunQueryDsl, SqliteConnection};

use super::migrate::{expect_newest, migrate};
use super::row::Number;
use super::sql::SqlStore;
use super::statement::{Bind, Dialect, Key, Link, Query, Row, Sql, refused};
use crate::clock::{real_deadline, real_pause, real_remaining};
use crate::error::{Error, ErrorClass, ErrorKind, Result};

/// How a file is opened.
///
/// # Examples
///
/// ```
/// use loopkeeper::fleet::{Plan, SqliteConfig, SqliteStore, TenantStore};
///
/// let mut store = SqliteStore::open(&SqliteConfig::memory())?;
/// let tenant = store.create_tenant("acme", Plan::Team)?;
/// assert_eq!(store.tenants()?.rows[0].id, tenant);
/// assert!(store.create_tenant("acme", Plan::Free).is_err());
/// # Ok::<(), loopkeeper::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "a file is opened by `SqliteStore::open`"]
pub struct SqliteConfig {
    path: Option<PathBuf>,
    busy_timeout: Duration,
    durable: bool,
}

impl SqliteConfig {
    /// A file, made when it is not there.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self { path: Some(path.into()), busy_timeout: Duration::from_secs(5), durable: false }
    }

    /// No file: what is in the store goes with it.
    pub fn memory() -> Self {
        Self { path: None, ..Self::file("") }
    }

    /// How long a statement waits for another connection's. Defaults to 5 s.
    pub fn busy_timeout(mut self, time: Duration) -> Self {
        self.busy_timeout = time;
        self
    }

    /// Whether each change is on the disk before the call returns, also when
    /// the machine loses power. Defaults to no.
    pub fn durable(mut self, durable: bool) -> Self {
        self.durable = durable;
        self
    }

    pub(in crate::fleet) fn within(self, limit: Duration) -> Self {
        let time = self.busy_timeout.min(limit / 4);
        self.busy_timeout(time)
    }

    /// Whether somebody has the file open, or has left it without an end.
    fn is_in_use(&self) -> bool {
        self.path.as_ref().is_some_and(|path| {
            let mut log = path.clone().into_os_string();
            log.push("-wal");
            Path::new(&log).exists()
        })
    }

    pub(in crate::fleet) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }
}

/// The store in a file: one connection.
///
/// Its settings: write-ahead log, `synchronous = NORMAL` (a crash of the
/// program loses nothing; one of the machine may lose the last moments, never
/// damage the file; [`SqliteConfig::durable`] waits for the disk instead),
/// foreign keys, a busy timeout, and transactions that take the right to write
/// when they begin, so that none fails half-way.
///
/// # Threads
///
/// One thread at a time. Open one for each loop; any number of connections
/// and of processes may work on one file of a local disk.
pub type SqliteStore = SqlStore<SqliteLink>;

impl SqliteStore {
    /// Opens a file, and brings its tables to the newest version.
    ///
    /// # Errors
    ///
    /// `Store` when it cannot be opened, is no database, is locked for longer
    /// than the busy timeout, or was worked on by a newer program.
    pub fn open(config: &SqliteConfig) -> Result<Self> {
        let mut link = SqliteLink::open(config)?;
        migrate(&mut link)?;
        Ok(Self::new(link))
    }
}

impl SqliteStore {
    /// Opens a file that is there, to read it: nothing is made or changed,
    /// and a call that would fails.
    ///
    /// # Errors
    ///
    /// `NotFound` when there is no file or no fleet in it; `Store` when it
    /// cannot be read, is no database, or its tables are those of another
    /// version of the program.
    pub fn open_to_read(config: &SqliteConfig) -> Result<Self> {
        match Self::look(config, "mode=ro") {
            // Who may not write beside the file cannot share it with others,
            // and need not where nobody has it open.
            Err(error) if error.kind() == ErrorKind::Store && !config.is_in_use() => {
                Self::look(config, "mode=ro&immutable=1").map_err(|_| error)
            }
            done => done,
        }
    }

    fn look(config: &SqliteConfig, mode: &str) -> Result<Self> {
        let mut link = SqliteLink::open_to_read(config, mode)?;
        let what = link.what.clone();
        expect_newest(&mut link, &what)?;
        Ok(Self::new(link))
    }
}

impl SqliteLink {
    fn open_to_read(config: &SqliteConfig, mode: &str) -> Result<Self> {
        let path = config.path.as_deref().unwrap_or(Path::new(""));
        let what = shown(path);
        if !path.exists() {
            return Err(Error::new(ErrorKind::NotFound).context(format!("{what}: there is no such file")));
        }
        let text =
            path.to_str().ok_or_else(|| Error::invalid(format!("{what}: expected a path that is text")))?;
        let text = text.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
        let root = if path.is_absolute() { "//" } else { "" };
        let failed = |error: &dyn std::fmt::Display| {
            Error::new(ErrorKind::Store).context(what.clone()).caused_by(error.to_string())
        };
        let connection = SqliteConnection::establish(&format!("file:{root}{text}?{mode}"));
        let connection = connection.map_err(|error| failed(&error))?;
        let mut link = Self { connection, what, file: None, others: None };
        link.wait_for_others(config)?;
        Ok(link)
    }
}

/// A connection to a file.
#[allow(missing_debug_implementations, reason = "written below: the connection has none")]
pub struct SqliteLink {
    connection: SqliteConnection,
    what: String,
    /// The path, and which file it led to; `None` where that cannot be asked.
    file: Option<(PathBuf, FileId)>,
    /// What the file's number was that changes when somebody else writes.
    others: Option<i64>,
}

/// What makes a file this one, whatever its name.
pub(in crate::fleet) type FileId = (u64, u64);

#[cfg(unix)]
pub(in crate::fleet) fn file_id(path: &Path) -> Option<FileId> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

/// Elsewhere a file that is open can be neither moved nor deleted.
#[cfg(not(unix))]
pub(in crate::fleet) fn file_id(_: &Path) -> Option<FileId> {
    None
}

impl SqliteLink {
    fn open(config: &SqliteConfig) -> Result<Self> {
        let what = config.path.as_deref().map_or("sqlite, in memory".to_owned(), shown);
        let url = match &config.path {
            Some(path) => name(path).ok_or_else(|| {
                Error::invalid(format!("{what}: expected a path that is text and not empty"))
            })?,
            None => ":memory:".to_owned(),
        };
        let connection = SqliteConnection::establish(&url).map_err(|error| {
            Error::new(ErrorKind::Store).context(what.clone()).caused_by(error.to_string())
        })?;
        let mut link = Self { connection, what, file: None, others: None };
        let synchronous = if config.durable { "FULL" } else { "NORMAL" };
        link.wait_for_others(config)?;
        link.write_ahead()?;
        link.batch(&format!("PRAGMA synchronous = {synchronous}; PRAGMA foreign_keys = ON"))?;
        // The program may go to another folder.
        let path = config.path.as_deref().and_then(|path| std::path::absolute(path).ok());
        link.file = path.and_then(|path| file_id(&path).map(|id| (path, id)));
        Ok(link)
    }
}

impl SqliteLink {
    fn wait_for_others(&mut self, config: &SqliteConfig) -> Result<()> {
        // More than the database takes would be no time at all.
        let millis = config.busy_timeout.as_millis().min(i32::MAX as u128);
        self.batch(&format!("PRAGMA busy_timeout = {millis}"))
    }

    /// Turns the write-ahead log on. It is the one statement that does not
    /// wait for others, who may be turning it on too: taking the whole file
    /// for a moment does.
    fn write_ahead(&mut self) -> Result<()> {
        let mut tries = 0;
        loop {
            match self.batch("PRAGMA journal_mode = WAL") {
                Err(error) if error.class() == ErrorClass::Retryable && tries < 100 => {
                    self.batch("BEGIN EXCLUSIVE; COMMIT")?;
                    tries += 1;
                }
                done => return done,
            }
        }
    }
}

/// A path as the database takes it for one: names such as `:memory:` or
/// `file:x` it takes for something else.
fn name(path: &Path) -> Option<String> {
    let text = path.to_str().filter(|text| !text.is_empty())?;
    Some(if path.is_absolute() { text.to_owned() } else { format!("./{text}") })
}

fn shown(path: &Path) -> String {
    format!("sqlite {}", path.display())
}

impl std::fmt::Debug for SqliteLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteLink").field("what", &self.what).finish_non_exhaustive()
    }
}

impl Link for SqliteLink {
    fn load_as<K: Key, T: Row>(&mut self, sql: &Sql, binds: &[(&str, Bind<'_>)]) -> Result<Vec<T>> {
        let query = Query::<K>::keyed(sql, Dialect::Sqlite, binds);
        let name = query.name();
        self.check_file(name)?;
        query.load(&mut self.connection).map_err(|error| self.refused(name, error))
    }

    fn execute(&mut self, sql: &Sql, binds: &[(&str, Bind<'_>)]) -> Result<u64> {
        let query = Query::new(sql, Dialect::Sqlite, binds);
        let name = query.name();
        self.check_file(name)?;
        let result = query.execute(&mut self.connection);
        result.map(|n| n as u64).map_err(|error| self.refused(name, error))
    }

    fn begin(&mut self) -> Result<()> {
        self.check_file("begin")?;
        AnsiTransactionManager::begin_transaction_sql(&mut self.connection, "BEGIN IMMEDIATE")
            .map_err(|error| self.refused("begin", error))
    }

    fn commit(&mut self) -> Result<()> {
        let done = AnsiTransactionManager::commit_transaction(&mut self.connection);
        done.map_err(|error| self.refused("commit", error))
    }

    fn rollback(&mut self) {
        // Nothing to do about it: an error means that there is no transaction.
        let _ = AnsiTransactionManager::rollback_transaction(&mut self.connection);
    }

    fn batch(&mut self, text: &str) -> Result<()> {
        self.connection.batch_execute(text).map_err(|error| self.refused("batch", error))
    }

    fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }

    fn give_way(&mut self) {
        self.let_others_write();
    }
}

/// What another connection sleeps at most before it looks again whether the
/// file is free, and a little.
const TURN: Duration = Duration::from_millis(110);

static OTHERS: Sql = Sql::new("others", "SELECT data_version AS n FROM pragma_data_version");

impl SqliteLink {
    /// Whoever finds the file locked sleeps, at last for a tenth of a second at
    /// a time; one who takes it again and again leaves it free for moments
    /// that the sleeper misses. So after somebody else has written, it is his
    /// turn: until he has written once more, or would have looked. Answers
    /// whether it was.
    fn let_others_write(&mut self) -> bool {
        let before = self.others;
        self.others = self.others();
        if before.is_none() || before == self.others {
            return false;
        }
        let end = real_deadline(TURN);
        while !real_remaining(end).is_zero() {
            real_pause(Duration::from_millis(1));
            let now = self.others();
            if now != self.others {
                // Left as it was: he is still at it.
                return true;
            }
        }
        true
    }

    fn others(&mut self) -> Option<i64> {
        // No answer means no turns: nothing depends on it.
        let rows: Vec<Number> = self.load(&OTHERS, &[]).ok()?;
        rows.first().map(|row| row.n)
    }
}

impl SqliteLink {
    /// Refuses to work on a file that has lost its name: SQLite would go on
    /// and write what nobody can find again.
    fn check_file(&self, statement: &str) -> Result<()> {
        match &self.file {
            Some((path, id)) if file_id(path) != Some(*id) => {
                let text =
                    "the file that was opened was moved, deleted or replaced; put it back, or open anew";
                let text = format!("{}: {statement}: {text}", self.what);
                Err(Error::new(ErrorKind::Store).with_class(ErrorClass::Terminal).context(text))
            }
            _ => Ok(()),
        }
    }

    fn refused(&self, statement: &str, error: diesel::result::Error) -> Error {
        let text = error.to_string();
        let refused = refused(&format!("{}: {statement}", self.what), error);
        // What a later try cannot make better.
        let hopeless = ["not a database", "malformed", "readonly", "no such table", "no such column"];
        if hopeless.iter().any(|phrase| text.contains(phrase)) {
            return refused.with_class(ErrorClass::Terminal);
        }
        refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_writes_again_and_again_lets_others_write() {
        let path = std::env::temp_dir().join(format!("loopkeeper-turns-{}.db", std::process::id()));
        let config = SqliteConfig::file(&path);
        let [mut one, mut other] = [0; 2].map(|_| SqliteLink::open(&config).expect("a file can be made"));
        one.batch("CREATE TABLE t (n BIGINT)").expect("it can be written");
        assert!(!one.let_others_write(), "nobody else is known");
        assert!(!one.let_others_write(), "nobody else has written");
        one.batch("INSERT INTO t VALUES (1)").expect("it can be written");
        assert!(!one.let_others_write(), "that was itself");
        other.batch("INSERT INTO t VALUES (2)").expect("it can be written");
        assert!(one.let_others_write(), "it was the other's turn");
        assert!(!one.let_others_write(), "which he let pass");
        drop((one, other));
        for end in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{end}", path.display()));
        }
    }

    #[test]
    fn a_path_is_the_name_of_a_file_whatever_it_begins_with() {
        let told =
            ["/a/b.db", "b.db", ":memory:", "file:x?mode=memory", ""].map(|text| name(Path::new(text)));
        let files = ["/a/b.db", "./b.db", "./:memory:", "./file:x?mode=memory"];
        assert_eq!(told[..4], files.map(|text| Some(text.to_owned())));
        assert_eq!(told[4], None);
    }
}
