//! Where a fleet is kept, for those who open a connection of their own.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "postgres")]
use super::store::postgres::{PostgresConfig, PostgresStore};
#[cfg(feature = "sqlite")]
use super::store::sqlite::{SqliteConfig, SqliteStore, file_id};
use super::store::{Canceller, Store};
use crate::error::Result;

/// Where a fleet is kept. Cloning shares it; each who uses it opens a
/// connection.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "sqlite")] {
/// use loopkeeper::fleet::{SqliteConfig, StoreConfig};
///
/// let store = StoreConfig::from(SqliteConfig::memory());
/// assert!(store.open()?.agents(loopkeeper::fleet::AgentId(0), 10)?.rows.is_empty());
/// # }
/// # Ok::<(), loopkeeper::Error>(())
/// ```
#[derive(Clone)]
#[must_use = "a place is there to be opened"]
pub struct StoreConfig(Place);

#[derive(Clone)]
enum Place {
    #[cfg(feature = "sqlite")]
    Sqlite(SqliteConfig),
    #[cfg(feature = "postgres")]
    Postgres(PostgresConfig),
    Other(Arc<dyn Fn() -> Result<Box<dyn Store>> + Send + Sync>),
}

impl StoreConfig {
    /// A store of somebody else's: `open` is called for each connection.
    pub fn opened_by<S: Store + 'static>(open: impl Fn() -> Result<S> + Send + Sync + 'static) -> Self {
        Self(Place::Other(Arc::new(move || open().map(|store| Box::new(store) as Box<dyn Store>))))
    }

    /// Opens a connection; what is not there yet is made.
    ///
    /// # Errors
    ///
    /// Those of the store's `open`.
    pub fn open(&self) -> Result<Box<dyn Store>> {
        self.open_cancellable(|_| {})
    }

    /// The same; `hear` is handed what cancels it, where that can be done:
    /// bringing the tables to a new version may take long.
    #[cfg_attr(not(feature = "postgres"), allow(unused_variables, reason = "no other can be cancelled"))]
    pub(super) fn open_cancellable(&self, hear: impl FnOnce(Canceller)) -> Result<Box<dyn Store>> {
        match &self.0 {
            #[cfg(feature = "sqlite")]
            Place::Sqlite(config) => Ok(Box::new(SqliteStore::open(config)?)),
            #[cfg(feature = "postgres")]
            Place::Postgres(config) => Ok(Box::new(PostgresStore::open_cancellable(config, hear)?)),
            Place::Other(open) => open(),
        }
    }

    /// Opens a connection to look at what is there, without making or
    /// changing anything. A store of somebody else's is opened as ever.
    ///
    /// # Errors
    ///
    /// Those of the store's `open`; `NotFound` when there is nothing.
    pub fn open_to_read(&self) -> Result<Box<dyn Store>> {
        match &self.0 {
            #[cfg(feature = "sqlite")]
            Place::Sqlite(config) => Ok(Box::new(SqliteStore::open_to_read(config)?)),
            #[cfg(feature = "postgres")]
            Place::Postgres(config) => Ok(Box::new(PostgresStore::open_to_read(config)?)),
            Place::Other(open) => open(),
        }
    }

    /// The same, for runs that may take no longer than `limit`: waiting for
    /// others uses up a part of it at most.
    pub(super) fn within(&self, limit: Duration) -> Self {
        let limit = limit.max(Duration::from_millis(4));
        Self(match &self.0 {
            #[cfg(feature = "sqlite")]
            Place::Sqlite(config) => Place::Sqlite(config.clone().within(limit)),
            #[cfg(feature = "postgres")]
            Place::Postgres(config) => Place::Postgres(config.clone().within(limit)),
            Place::Other(open) => Place::Other(open.clone()),
        })
    }

    /// What tells this file from another that takes its place; `None` where
    /// there is no file.
    pub(super) fn file(&self) -> Option<FileId> {
        match &self.0 {
            #[cfg(feature = "sqlite")]
            Place::Sqlite(config) => file_id(config.path()?),
            _ => None,
        }
    }
}

/// The device of a file, and its number there.
pub(super) type FileId = (u64, u64);

#[cfg(feature = "sqlite")]
impl From<SqliteConfig> for StoreConfig {
    fn from(config: SqliteConfig) -> Self {
        Self(Place::Sqlite(config))
    }
}

#[cfg(feature = "postgres")]
impl From<PostgresConfig> for StoreConfig {
    fn from(config: PostgresConfig) -> Self {
        Self(Place::Postgres(config))
    }
}

impl fmt::Debug for StoreConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            #[cfg(feature = "sqlite")]
            Place::Sqlite(config) => config.fmt(f),
            #[cfg(feature = "postgres")]
            Place::Postgres(config) => config.fmt(f),
            Place::Other(_) => f.debug_struct("StoreConfig").finish_non_exhaustive(),
        }
    }
}
