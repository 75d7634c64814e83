//! The store on a server: PostgreSQL 12 or newer.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use diesel::connection::{AnsiTransactionManager, SimpleConnection, TransactionManager};
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel::{Connection, PgConnection, RunQueryDsl};

use super::Canceller;
use super::line::{Line, Plug};
use super::migrate::{expect_newest, migrate};
use super::row::Number;
use super::sql::SqlStore;
use super::statement::{Bind, Dialect, Key, Link, Query, Row, Sql, one_line, refused};
use crate::error::{Error, ErrorClass, ErrorKind, Result};
use crate::primitive::{AtomicU64, Mutex, Ordering};

/// How a server is reached.
#[derive(Clone)]
#[must_use = "a server is reached by `PostgresStore::open`"]
pub struct PostgresConfig {
    url: String,
    schema: Option<String>,
    statement_timeout: Duration,
    connect_timeout: Duration,
    peer_timeout: Duration,
}

impl PostgresConfig {
    /// A server and a database on it, as
    /// `postgres://user:password@host:5432/database`.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            schema: None,
            statement_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(5),
            peer_timeout: Duration::from_secs(25),
        }
    }

    /// The schema that has the tables, made when it is not there. Defaults to
    /// what the server takes for this user.
    pub fn schema(mut self, name: impl Into<String>) -> Self {
        self.schema = Some(name.into());
        self
    }

    /// How long a statement may take. Defaults to 30 s.
    pub fn statement_timeout(mut self, time: Duration) -> Self {
        self.statement_timeout = time;
        self
    }

    /// How long it may take to connect, in whole seconds. Defaults to 5 s.
    pub fn connect_timeout(mut self, time: Duration) -> Self {
        self.connect_timeout = time;
        self
    }

    /// After how long without a sign of the server's machine the connection is
    /// given up, in whole seconds, at least 4: what ends a call when the
    /// network is cut. Defaults to 25 s.
    pub fn peer_timeout(mut self, time: Duration) -> Self {
        self.peer_timeout = time;
        self
    }

    pub(in crate::fleet) fn within(self, limit: Duration) -> Self {
        let (statement, connect) = (self.statement_timeout.min(limit), self.connect_timeout.min(limit / 4));
        self.statement_timeout(statement).connect_timeout(connect)
    }

    /// Refuses what cannot be meant.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`; the text never shows the URL, which has a password.
    pub fn check(&self) -> Result<()> {
        let rest = ["postgres://", "postgresql://"].iter().find_map(|scheme| self.url.strip_prefix(scheme));
        if rest.is_none() || self.url.contains('\0') {
            return Err(Error::invalid("url: expected postgres://user:password@host/database"));
        }
        // Read as they stand, they would end the password early, and what is
        // left of it would be told as a host that is not found.
        let (place, path) = rest.and_then(|rest| rest.split_once('/')).unwrap_or((rest.unwrap_or(""), ""));
        let (who, host) = place.split_once('@').unwrap_or(("", place));
        let [host, path] = [host, path].map(|part| part.split('?').next().unwrap_or_default());
        if who.contains('?') || host.contains('@') || path.contains('@') {
            let text = "url: in a name or password, expected %40 for @, %2F for / and %3F for ?";
            return Err(Error::invalid(text));
        }
        check_parts(&self.url, host)?;
        if let Some(schema) = &self.schema {
            let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            if schema.is_empty() || schema.len() > 63 || !schema.chars().all(word) {
                let text = "schema: expected up to 63 of a to z, 0 to 9 and _";
                return Err(Error::invalid(format!("{text}, found {schema:?}")));
            }
        }
        for (key, time) in
            [("statement_timeout", self.statement_timeout), ("connect_timeout", self.connect_timeout)]
        {
            if time < Duration::from_millis(1) {
                return Err(Error::invalid(format!("{key}: must be at least 1ms")));
            }
        }
        if self.peer_timeout < Duration::from_secs(4) {
            return Err(Error::invalid("peer_timeout: must be at least 4s"));
        }
        Ok(())
    }

    /// The URL with what is not said in it.
    fn full_url(&self) -> String {
        let mut url = self.url.clone();
        let seconds = self.connect_timeout.as_secs().clamp(1, MOST).to_string();
        let quarter = (self.peer_timeout.as_secs() / 4).clamp(1, MOST).to_string();
        let millis = self.peer_timeout.as_millis().min(MOST.into()).to_string();
        for (key, value) in [
            ("connect_timeout", &*seconds),
            // Four quarters: one of silence, then three probes. What was sent
            // and not acknowledged is not probed for, so it has its own end.
            ("keepalives_idle", &*quarter),
            ("keepalives_interval", &*quarter),
            ("keepalives_count", "3"),
            ("tcp_user_timeout", &*millis),
            ("application_name", "loopkeeper"),
        ] {
            if !url.contains(&format!("{key}=")) {
                url.push(if url.contains('?') { '&' } else { '?' });
                url.push_str(&format!("{key}={value}"));
            }
        }
        url
    }

    /// The server's port, where there is one that is said in the URL's place.
    fn port(&self) -> Option<u16> {
        let shown = self.shown();
        let host = shown.trim_start_matches("postgres ").split('/').next().unwrap_or_default();
        let port = host.rsplit_once(':').map(|(_, port)| port)?;
        port.parse().ok().filter(|_| !host.contains(','))
    }

    /// Where the server is, without who asks and how he proves it.
    fn shown(&self) -> String {
        let rest = self.url.split_once("://").map_or("", |(_, rest)| rest);
        let (user, place) = rest.rsplit_once('@').unwrap_or(("", rest));
        // A password that should have been escaped, or an option with an @.
        if user.contains('?') {
            return "postgres".to_owned();
        }
        format!("postgres {}", place.split('?').next().unwrap_or_default())
    }
}

impl fmt::Debug for PostgresConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresConfig")
            .field("server", &self.shown())
            .field("schema", &self.schema)
            .field("statement_timeout", &self.statement_timeout)
            .field("connect_timeout", &self.connect_timeout)
            .field("peer_timeout", &self.peer_timeout)
            .finish_non_exhaustive()
    }
}

/// Refuses what the client library would refuse with the URL's own words, of
/// which any may be the password's.
fn check_parts(url: &str, hosts: &str) -> Result<()> {
    let escaped = |rest: &str| {
        let code = rest.get(..2).filter(|code| code.bytes().all(|byte| byte.is_ascii_hexdigit()));
        code.is_some_and(|code| code != "00")
    };
    if url.split('%').skip(1).any(|rest| !escaped(rest)) {
        let text =
            "url: expected two hexadecimal digits that are not 00 after each %, and %25 for a % itself";
        return Err(Error::invalid(text));
    }
    let query = url.split_once('?').map(|(_, query)| query);
    if query.is_some_and(|query| query.split('&').any(|part| part.matches('=').count() != 1)) {
        let text = "url: after the ?, expected name=value for each part between &, and %26 for &, %3D for = in a value";
        return Err(Error::invalid(text));
    }
    let port = |host: &str| match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map(|(_, port)| port.strip_prefix(':').unwrap_or(port).to_owned()),
        None => Some(host.split_once(':').map_or("", |(_, port)| port).to_owned()),
    };
    let is_port = |port: String| port.bytes().all(|byte| byte.is_ascii_digit());
    if !hosts.split(',').all(|host| port(host).is_some_and(is_port)) {
        let text =
            "url: after the host, expected a colon and a port's number, or nothing; an IPv6 address as [::1]";
        return Err(Error::invalid(text));
    }
    Ok(())
}

/// The store on a server, PostgreSQL 12 or newer: one connection.
///
/// Its settings: `READ COMMITTED`, a timeout for statements and one for
/// transactions that are left open, a timeout to connect, and one for a peer
/// that is gone.
///
/// A connection that breaks fails the call that met it, and the next call
/// makes a new one: who calls in a loop backs off, as every loop here does. A
/// call whose answer was lost may have been carried out. What changes
/// something that is there can be called again and answers as it did at first;
/// what makes something new makes another. So look first: a lost claim is in
/// [`held`](super::CommandStore::held), a command in
/// [`commands`](super::CommandStore::commands). An agent whose key was lost does
/// nothing; a token that it used up has to be made anew.
///
/// What went wrong is known by kind where the client library tells it, and
/// else by the server's words in English, which is asked for. A user who is no
/// superuser is mostly refused that: on a server that speaks another language,
/// set `lc_messages` for that user. Without it a timeout or a cancel is told as
/// a refusal like any other, and is retried like one.
///
/// Something between here and the server that takes every byte and answers
/// none, as some proxies do, looks like a server that thinks. So a call has an
/// end on this side too, a little after the statement's timeout: there the
/// connection is closed.
///
/// Settings and prepared statements are the connection's, so a pooler between
/// has to keep one for each of ours (PgBouncer: `pool_mode = session`).
///
/// The user needs the right to make tables when there are none of this
/// version; afterwards the right to read and write them is enough.
///
/// # Threads
///
/// One thread at a time. Open one for each loop; any number of connections,
/// processes and machines may work on one database.
pub type PostgresStore = SqlStore<PostgresLink>;

impl PostgresStore {
    /// Connects, and brings the tables to the newest version, which takes as
    /// long as it takes: [`statement_timeout`](PostgresConfig::statement_timeout)
    /// is not for that.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` when the settings cannot be meant; `Store` when the
    /// server is not reached, refuses, or has tables of a newer program.
    pub fn open(config: &PostgresConfig) -> Result<Self> {
        Self::open_cancellable(config, |_| {})
    }

    /// The same; `hear` is handed what cancels it before it begins.
    pub(in crate::fleet) fn open_cancellable(
        config: &PostgresConfig,
        hear: impl FnOnce(Canceller),
    ) -> Result<Self> {
        config.check()?;
        let mut link = PostgresLink::new(config);
        hear(link.canceller());
        migrate(&mut link)?;
        Ok(Self::new(link))
    }

    /// Connects, to look at what is there: no table is made or changed.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open); `NotFound` when there is no fleet, `Store`
    /// when its tables are those of another version of the program.
    pub fn open_to_read(config: &PostgresConfig) -> Result<Self> {
        config.check()?;
        let mut link = PostgresLink::new(config);
        expect_newest(&mut link, &config.shown())?;
        Ok(Self::new(link))
    }

    /// The server's number for this connection, as `pg_stat_activity` shows
    /// it; `None` while there is none.
    #[must_use]
    pub fn backend_pid(&self) -> Option<u64> {
        Some(self.link().pid.load(Ordering::SeqCst)).filter(|pid| *pid != 0)
    }
}

/// What the server and its library take for a time.
const MOST: u64 = i32::MAX as u64;

/// A connection to a server, or none until the next call.
pub struct PostgresLink {
    config: PostgresConfig,
    connection: Option<PgConnection>,
    /// What ends a statement when the server does not.
    line: Option<Line>,
    /// The same for other threads.
    plug: Arc<Mutex<Option<Arc<Plug>>>>,
    /// The server's number for the connection; 0 while there is none.
    pid: Arc<AtomicU64>,
    /// Whether a transaction was begun and not ended, be the connection there
    /// or gone: another one would do for good what is to be undone.
    in_transaction: bool,
    /// Whether statements of this transaction have no end of ours.
    has_time: bool,
}

impl fmt::Debug for PostgresLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresLink")
            .field("config", &self.config)
            .field("connected", &self.connection.is_some())
            .finish_non_exhaustive()
    }
}

static PID: Sql = Sql::new("backend", "SELECT CAST(pg_backend_pid() AS BIGINT) AS n");
static CANCEL: Sql = Sql::new(
    "cancel",
    "SELECT CAST(pg_cancel_backend(CAST(:pid AS INTEGER)) AS INTEGER) + CAST(0 AS BIGINT) AS n",
);

static PORT: Sql = Sql::new("port", "SELECT CAST(COALESCE(inet_client_port(), 0) AS BIGINT) AS n");

/// The port from which the server sees a connection come.
fn seen_port(connection: &mut PgConnection) -> Option<u16> {
    let rows: Vec<Number> = Query::new(&PORT, Dialect::Postgres, &[]).load(connection).ok()?;
    u16::try_from(rows.first()?.n).ok()
}

fn connect(config: &PostgresConfig) -> Result<PgConnection> {
    PgConnection::establish(&config.full_url()).map_err(|error| {
        let text = one_line(&error.to_string());
        // Of a URL that it does not understand the library shows pieces, or all.
        if text.contains("URI") || text.contains("percent-encoded") {
            return Error::invalid(format!(
                "{}: url: the client library does not understand it: expected names that it knows after the ?",
                config.shown()
            ));
        }
        Error::new(ErrorKind::Store)
            .with_class(ErrorClass::Retryable)
            .context(config.shown())
            .caused_by(text)
    })
}

impl PostgresLink {
    fn new(config: &PostgresConfig) -> Self {
        let (plug, pid) = (Arc::default(), Arc::default());
        Self {
            config: config.clone(),
            connection: None,
            line: None,
            plug,
            pid,
            in_transaction: false,
            has_time: false,
        }
    }

    fn connect(&mut self) -> Result<()> {
        let (connection, line) =
            Line::of(&self.config.url, self.config.port(), || connect(&self.config), seen_port)?;
        *self.plug.lock() = line.as_ref().map(|line| line.plug().clone());
        self.line = line;
        self.connection = Some(connection);
        let timeout = self.config.statement_timeout.as_millis().clamp(1, MOST.into());
        // Compiling a statement takes a hundred times what running it does.
        // What is asked for often is in memory: with the cost of a disk a server
        // would read all agents of a small fleet to find the one that claims.
        let mut settings = format!(
            "SET statement_timeout = {timeout}; SET idle_in_transaction_session_timeout = {timeout};
             SET default_transaction_isolation = 'read committed'; SET client_min_messages = 'warning';
             SET jit = off; SET random_page_cost = 1.1;
             DO $$ BEGIN PERFORM set_config('lc_messages', 'C', false);
             EXCEPTION WHEN insufficient_privilege THEN NULL; END $$;"
        );
        if let Some(schema) = &self.config.schema {
            // Checked letters. Two programs may both find it missing; to ask
            // for one that is there still takes the right to make it.
            settings.push_str(&format!(
                "DO $$ BEGIN IF to_regnamespace('{schema}') IS NULL THEN
                     PERFORM pg_advisory_xact_lock(7811887200433014117);
                     CREATE SCHEMA IF NOT EXISTS {schema};
                 END IF; END $$; SET search_path TO {schema};"
            ));
        }
        let rows: Result<Vec<Number>> = self.call("connect", |connection| {
            connection.batch_execute(&settings)?;
            Query::new(&PID, Dialect::Postgres, &[]).load(connection)
        });
        // One that is not set up is not to be used.
        let rows = rows.inspect_err(|_| self.forget())?;
        let pid = rows.first().and_then(|row| u64::try_from(row.n).ok());
        self.pid.store(pid.unwrap_or(0), Ordering::SeqCst);
        Ok(())
    }

    /// Runs something on the connection, or on a new one when it is no more.
    fn run<T>(
        &mut self,
        statement: &str,
        body: impl FnOnce(&mut PgConnection) -> Result<T, DieselError>,
    ) -> Result<T> {
        if self.connection.is_none() && !self.in_transaction {
            self.connect()?;
        }
        self.call(statement, body)
    }

    fn call<T>(
        &mut self,
        statement: &str,
        body: impl FnOnce(&mut PgConnection) -> Result<T, DieselError>,
    ) -> Result<T> {
        // A connection lost in a transaction has taken it along.
        let Some(connection) = &mut self.connection else {
            let text = format!("{}: {statement}: the connection is gone", self.config.shown());
            return Err(Error::new(ErrorKind::Store).with_class(ErrorClass::Retryable).context(text));
        };
        if let Some(line) = &mut self.line {
            line.enter((!self.has_time).then_some(self.config.statement_timeout));
        }
        let result = body(connection);
        let pulled = self.line.as_mut().and_then(Line::leave);
        let error = match (result, pulled) {
            // Answered, if late; the next call will not be. Not forgotten here:
            // a new connection would know nothing of the transaction.
            (Ok(value), _) => return Ok(value),
            (Err(error), None) => return Err(self.failed(statement, error)),
            (Err(error), Some(why)) => Error::new(why).caused_by(error.to_string()),
        };
        self.forget();
        let place = self.config.shown();
        Err(error.context(format!("{place}: {statement}: the server did not say in time that it is over")))
    }

    /// Says what went wrong, and forgets a connection that is no more.
    fn failed(&mut self, statement: &str, error: DieselError) -> Error {
        let text = error.to_string();
        let gone = match &error {
            DieselError::DatabaseError(kind, _) => {
                matches!(kind, DatabaseErrorKind::ClosedConnection | DatabaseErrorKind::UnableToSendCommand)
                    || [
                        "server closed the connection",
                        "could not receive data",
                        "could not send data",
                        "terminating connection",
                        "connection to server",
                        "SSL SYSCALL",
                    ]
                    .iter()
                    .any(|phrase| text.contains(phrase))
            }
            DieselError::BrokenTransactionManager => true,
            _ => false,
        };
        if gone {
            self.forget();
        }
        let error = refused(&format!("{}: {statement}", self.config.shown()), error);
        if text.contains("due to statement timeout") {
            return Error::new(ErrorKind::Timeout).context(error.report().to_string());
        }
        if text.contains("due to user request") {
            return Error::new(ErrorKind::Cancelled).context(error.report().to_string());
        }
        if text.contains("does not exist") || text.contains("permission denied") {
            return error.with_class(ErrorClass::Terminal);
        }
        error
    }

    fn forget(&mut self) {
        self.connection = None;
        self.line = None;
        *self.plug.lock() = None;
        self.pid.store(0, Ordering::SeqCst);
    }

    /// Cancels what runs on the connection, from another one; a server that is
    /// not reached is not listened to any longer, on any connection to it.
    pub(super) fn canceller(&self) -> Canceller {
        let (config, pid, plug) = (self.config.clone(), self.pid.clone(), self.plug.clone());
        Canceller::new(move || {
            let pid = pid.load(Ordering::SeqCst);
            if pid == 0 {
                return Ok(());
            }
            let away = plug.lock().clone().filter(|plug| plug.is_away());
            if let Some(plug) = away {
                plug.cancel();
                return Ok(());
            }
            let reached = connect(&config);
            let plug = plug.lock().clone();
            plug.iter().for_each(|plug| plug.note(reached.is_ok()));
            let asked = reached.and_then(|mut connection| Self::ask_to_cancel(&config, &mut connection, pid));
            match plug.filter(|_| asked.is_err()) {
                Some(plug) => {
                    plug.cancel();
                    Ok(())
                }
                None => asked,
            }
        })
    }

    fn ask_to_cancel(config: &PostgresConfig, connection: &mut PgConnection, pid: u64) -> Result<()> {
        let binds = [("pid", Bind::from(i64::try_from(pid).unwrap_or(0)))];
        let rows: Result<Vec<Number>, _> = Query::new(&CANCEL, Dialect::Postgres, &binds).load(connection);
        rows.map(drop).map_err(|error| refused(&format!("{}: cancel", config.shown()), error))
    }
}

impl Link for PostgresLink {
    fn load_as<K: Key, T: Row>(&mut self, sql: &Sql, binds: &[(&str, Bind<'_>)]) -> Result<Vec<T>> {
        let query = Query::<K>::keyed(sql, Dialect::Postgres, binds);
        let name = query.name();
        self.run(name, |connection| query.load(connection))
    }

    fn execute(&mut self, sql: &Sql, binds: &[(&str, Bind<'_>)]) -> Result<u64> {
        let query = Query::new(sql, Dialect::Postgres, binds);
        let name = query.name();
        self.run(name, |connection| query.execute(connection)).map(|n| n as u64)
    }

    fn begin(&mut self) -> Result<()> {
        // The isolation is the connection's: to name it again costs the server
        // more than the rest.
        self.run("begin", |connection| AnsiTransactionManager::begin_transaction_sql(connection, "BEGIN"))?;
        self.in_transaction = true;
        Ok(())
    }

    fn commit(&mut self) -> Result<()> {
        let done = self.call("commit", AnsiTransactionManager::commit_transaction);
        (self.in_transaction, self.has_time) = (false, false);
        done.inspect_err(|_| self.rollback())
    }

    fn rollback(&mut self) {
        let undone = self.call("rollback", AnsiTransactionManager::rollback_transaction);
        (self.in_transaction, self.has_time) = (false, false);
        if undone.is_err() {
            self.forget();
        }
    }

    fn batch(&mut self, text: &str) -> Result<()> {
        self.run("batch", |connection| connection.batch_execute(text))
    }

    fn take_time(&mut self) -> Result<()> {
        self.batch("SET LOCAL statement_timeout = 0")?;
        self.has_time = true;
        Ok(())
    }

    fn dialect(&self) -> Dialect {
        Dialect::Postgres
    }

    fn canceller(&self) -> Option<Canceller> {
        Some(Self::canceller(self))
    }
}
