//! The versions of the tables, and how a database gets to the newest.
//!
//! A version's text never changes once it was released: the database keeps a
//! hash of what it was given, and one that was given another text is refused,
//! as is one that a newer program has worked on.

use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Text};
use sha2::{Digest, Sha256};

use super::row::Number;
use super::statement::{Bind, Link, Sql, choose};
use crate::error::{Error, ErrorClass, ErrorKind, Result};
use crate::fleet::token::hex;

/// Each version's text, from 1.
const VERSIONS: &[&str] = &[
    include_str!("sql/schema/0001.sql"),
    include_str!("sql/schema/0002.sql"),
    include_str!("sql/schema/0003.sql"),
    include_str!("sql/schema/0004.sql"),
    include_str!("sql/schema/0005.sql"),
];

#[derive(Debug, QueryableByName)]
struct Applied {
    #[diesel(sql_type = BigInt)]
    version: i64,
    #[diesel(sql_type = Text)]
    hash: String,
}

/// Brings a database to the newest version, in one transaction. One that is
/// there already is only looked at: who may use the tables need not have the
/// right to make any.
pub(super) fn migrate(link: &mut impl Link) -> Result<()> {
    if is_kept(link)? && applied(link)? == VERSIONS.len() {
        return Ok(());
    }
    link.transaction(|link| {
        // A version may build an index over all that there is.
        link.take_time()?;
        prepare(link)?;
        let applied = applied(link)?;
        for (i, text) in VERSIONS.iter().enumerate().skip(applied) {
            let version = i64::try_from(i + 1).unwrap_or(i64::MAX);
            let text = choose(text, link.dialect());
            link.batch(&text)?;
            let hash = hash(&text);
            let binds = [("version", Bind::from(version)), ("hash", Bind::from(&*hash))];
            link.load::<Applied>(&sql::APPLY, &binds)?;
        }
        Ok(())
    })
}

/// Refuses a database that is not at the newest version, without touching it.
pub(super) fn expect_newest(link: &mut impl Link, what: &str) -> Result<()> {
    if !is_kept(link)? {
        let text = format!("{what}: no fleet is kept here");
        return Err(Error::new(ErrorKind::NotFound).context(text));
    }
    let (newest, n) = (VERSIONS.len(), applied(link)?);
    if n < newest {
        let text = format!("{what}: the tables are at version {n}, this program needs {newest}");
        return Err(Error::new(ErrorKind::Store).with_class(ErrorClass::Terminal).context(text));
    }
    Ok(())
}

/// Whether there are tables of a fleet, whatever their version.
fn is_kept(link: &mut impl Link) -> Result<bool> {
    let found: Vec<Number> = link.load(&sql::FOUND, &[])?;
    Ok(found.iter().any(|row| row.n > 0))
}

/// At which version the tables are; an error where that is not one of ours.
fn applied(link: &mut impl Link) -> Result<usize> {
    let applied: Vec<Applied> = link.load(&sql::APPLIED, &[])?;
    applied.iter().try_for_each(|row| check(link, row))?;
    Ok(applied.len())
}

fn prepare(link: &mut impl Link) -> Result<()> {
    // Two programs that start at once must not both make the tables.
    #[cfg(feature = "postgres")]
    if link.dialect() == super::statement::Dialect::Postgres {
        link.batch(
            "SELECT pg_advisory_xact_lock(hashtextextended(COALESCE(current_schema(), ''), 7811887200433014116))",
        )?;
    }
    link.batch("CREATE TABLE IF NOT EXISTS fleet_versions (version BIGINT PRIMARY KEY, hash TEXT NOT NULL)")
}

fn check(link: &impl Link, row: &Applied) -> Result<()> {
    let newest = VERSIONS.len();
    let place = row.version.checked_sub(1).and_then(|i| usize::try_from(i).ok());
    let known = place.and_then(|i| VERSIONS.get(i));
    let text = match known {
        None => format!(
            "the database is at version {} of its tables, this program knows {newest}: use a newer program",
            row.version
        ),
        Some(text) if hash(&choose(text, link.dialect())) != row.hash => {
            format!("version {} of the tables was made from another text than this program has", row.version)
        }
        Some(_) => return Ok(()),
    };
    Err(Error::new(ErrorKind::Store).with_class(ErrorClass::Terminal).context(text))
}

fn hash(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

mod sql {
    use super::Sql;

    pub(super) static FOUND: Sql = Sql::new(
        "found",
        "SELECT COUNT(*) AS n FROM sqlite_master WHERE name = 'fleet_versions' -- sqlite
         SELECT COUNT(*) AS n FROM pg_class WHERE oid = to_regclass('fleet_versions') -- postgres",
    );
    pub(super) static APPLIED: Sql =
        Sql::new("applied", "SELECT version, hash FROM fleet_versions ORDER BY version");
    pub(super) static APPLY: Sql = Sql::new(
        "apply",
        "INSERT INTO fleet_versions (version, hash) VALUES (:version, :hash) RETURNING version, hash",
    );
}
