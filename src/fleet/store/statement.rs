//! What stands between a statement and a connection.
//!
//! A statement is a text with named places, `:now`, and what is bound to
//! them. Diesel's `sql_query` would prepare it anew at each call; as a
//! fragment of our own it is prepared once for each connection. A line that
//! ends in `-- sqlite` or `-- postgres` is for that database alone.

use std::sync::OnceLock;

use diesel::query_builder::{AstPass, Query as DieselQuery, QueryFragment, QueryId};
use diesel::result::{DatabaseErrorKind, Error as DieselError, QueryResult};
use diesel::sql_types::{BigInt, Bool, Nullable, Text, Untyped};
use diesel::{QueryableByName, RunQueryDsl};

use super::Canceller;
use crate::error::{Error, ErrorClass, ErrorKind, Result};

/// The databases that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    #[cfg(feature = "sqlite")]
    Sqlite,
    #[cfg(feature = "postgres")]
    Postgres,
}

impl Dialect {
    fn foreign(self) -> &'static str {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite => "-- postgres",
            #[cfg(feature = "postgres")]
            Self::Postgres => "-- sqlite",
        }
    }
}

/// The text of a statement, in each dialect.
#[derive(Debug)]
pub(super) struct Sql {
    name: &'static str,
    text: &'static str,
    /// Lines that end so are left out.
    without: &'static str,
    chosen: [OnceLock<String>; 2],
}

impl Sql {
    pub(super) const fn new(name: &'static str, text: &'static str) -> Self {
        Self::without(name, text, "-- nothing")
    }

    /// The same, but for the lines that end so.
    pub(super) const fn without(name: &'static str, text: &'static str, without: &'static str) -> Self {
        Self { name, text, without, chosen: [OnceLock::new(), OnceLock::new()] }
    }

    pub(super) fn text(&self, dialect: Dialect) -> &str {
        let place = match dialect {
            #[cfg(feature = "sqlite")]
            Dialect::Sqlite => 0,
            #[cfg(feature = "postgres")]
            Dialect::Postgres => 1,
        };
        self.chosen[place].get_or_init(|| {
            let lines = self.text.lines().filter(|line| !line.trim_end().ends_with(self.without));
            choose(&lines.collect::<Vec<_>>().join("\n"), dialect)
        })
    }
}

/// The lines that are for a dialect, without comments.
pub(super) fn choose(text: &str, dialect: Dialect) -> String {
    let lines = text.lines().filter(|line| !line.trim_end().ends_with(dialect.foreign()));
    let code = lines.map(|line| line.split("--").next().unwrap_or_default().trim());
    code.filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

/// What is bound to a name.
#[derive(Debug, Clone, Copy)]
pub(super) enum Bind<'a> {
    Int(Option<i64>),
    Flag(Option<bool>),
    Text(Option<&'a str>),
}

impl From<i64> for Bind<'_> {
    fn from(value: i64) -> Self {
        Self::Int(Some(value))
    }
}

impl From<Option<i64>> for Bind<'_> {
    fn from(value: Option<i64>) -> Self {
        Self::Int(value)
    }
}

impl From<bool> for Bind<'_> {
    fn from(value: bool) -> Self {
        Self::Flag(Some(value))
    }
}

impl<'a> From<&'a str> for Bind<'a> {
    fn from(value: &'a str) -> Self {
        Self::Text(Some(value))
    }
}

impl<'a> From<Option<&'a str>> for Bind<'a> {
    fn from(value: Option<&'a str>) -> Self {
        Self::Text(value)
    }
}

/// A statement with all that is bound.
#[derive(Debug)]
pub(super) struct Query<'a> {
    sql: &'a Sql,
    dialect: Dialect,
    binds: &'a [(&'a str, Bind<'a>)],
}

impl<'a> Query<'a> {
    pub(super) fn new(sql: &'a Sql, dialect: Dialect, binds: &'a [(&'a str, Bind<'a>)]) -> Self {
        Self { sql, dialect, binds }
    }

    pub(super) fn name(&self) -> &'static str {
        self.sql.name
    }
}

impl QueryId for Query<'_> {
    type QueryId = ();

    const HAS_STATIC_QUERY_ID: bool = false;
}

impl DieselQuery for Query<'_> {
    type SqlType = Untyped;
}

impl<C> RunQueryDsl<C> for Query<'_> {}

macro_rules! fragment {
    ($backend:ty) => {
        impl QueryFragment<$backend> for Query<'_> {
            fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, $backend>) -> QueryResult<()> {
                let mut rest = self.sql.text(self.dialect);
                while let Some(at) = rest.find(':') {
                    let name = &rest[at + 1..];
                    let end =
                        name.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(name.len());
                    let (name, after) = name.split_at(end);
                    out.push_sql(&rest[..at]);
                    let bound = self.binds.iter().find(|(known, _)| *known == name);
                    match bound.map(|(_, bind)| bind) {
                        Some(Bind::Int(value)) => out.push_bind_param::<Nullable<BigInt>, _>(value)?,
                        Some(Bind::Flag(value)) => out.push_bind_param::<Nullable<Bool>, _>(value)?,
                        Some(Bind::Text(value)) => out.push_bind_param::<Nullable<Text>, _>(value)?,
                        None => {
                            let text = format!("{}: nothing is bound to :{name}", self.name());
                            return Err(DieselError::QueryBuilderError(text.into()));
                        }
                    }
                    rest = after;
                }
                out.push_sql(rest);
                Ok(())
            }
        }
    };
}

#[cfg(feature = "sqlite")]
fragment!(diesel::sqlite::Sqlite);
#[cfg(feature = "postgres")]
fragment!(diesel::pg::Pg);

/// What a statement answers, from whichever database.
#[cfg(all(feature = "sqlite", feature = "postgres"))]
pub(super) trait Row:
    QueryableByName<diesel::sqlite::Sqlite> + QueryableByName<diesel::pg::Pg> + 'static
{
}
#[cfg(all(feature = "sqlite", feature = "postgres"))]
impl<T: QueryableByName<diesel::sqlite::Sqlite> + QueryableByName<diesel::pg::Pg> + 'static> Row for T {}

/// What a statement answers.
#[cfg(all(feature = "sqlite", not(feature = "postgres")))]
pub(super) trait Row: QueryableByName<diesel::sqlite::Sqlite> + 'static {}
#[cfg(all(feature = "sqlite", not(feature = "postgres")))]
impl<T: QueryableByName<diesel::sqlite::Sqlite> + 'static> Row for T {}

/// What a statement answers.
#[cfg(all(feature = "postgres", not(feature = "sqlite")))]
pub(super) trait Row: QueryableByName<diesel::pg::Pg> + 'static {}
#[cfg(all(feature = "postgres", not(feature = "sqlite")))]
impl<T: QueryableByName<diesel::pg::Pg> + 'static> Row for T {}

/// One connection.
pub(super) trait Link: Send {
    fn load<T: Row>(&mut self, sql: &Sql, binds: &[(&str, Bind<'_>)]) -> Result<Vec<T>>;
    /// Runs a statement that answers no rows; answers how many it changed.
    fn execute(&mut self, sql: &Sql, binds: &[(&str, Bind<'_>)]) -> Result<u64>;
    /// Begins a transaction that may write.
    fn begin(&mut self) -> Result<()>;
    fn commit(&mut self) -> Result<()>;
    /// Undoes a transaction; a connection that cannot is not used again.
    fn rollback(&mut self);
    /// Runs statements that bind nothing.
    fn batch(&mut self, text: &str) -> Result<()>;
    fn dialect(&self) -> Dialect;
    /// Between two of many transactions in a row: lets others write, where
    /// they would else hardly get to it.
    fn give_way(&mut self) {}
    /// What cancels a statement of this connection from another thread, where
    /// there is such a thing.
    fn canceller(&self) -> Option<Canceller> {
        None
    }

    /// Runs `body` as one transaction: all of it or nothing.
    fn transaction<T>(&mut self, body: impl FnOnce(&mut Self) -> Result<T>) -> Result<T>
    where
        Self: Sized,
    {
        self.begin()?;
        match body(self) {
            Ok(value) => self.commit().map(|()| value),
            Err(error) => {
                self.rollback();
                Err(error)
            }
        }
    }
}

/// What a database's refusal means here.
pub(super) fn refused(what: &str, error: DieselError) -> Error {
    let (kind, class) = match &error {
        DieselError::DatabaseError(kind, _) => match kind {
            DatabaseErrorKind::UniqueViolation => (ErrorKind::Duplicate, ErrorClass::Terminal),
            DatabaseErrorKind::ForeignKeyViolation => (ErrorKind::NotFound, ErrorClass::Terminal),
            DatabaseErrorKind::NotNullViolation
            | DatabaseErrorKind::CheckViolation
            | DatabaseErrorKind::RestrictViolation
            | DatabaseErrorKind::ExclusionViolation => (ErrorKind::Store, ErrorClass::Terminal),
            _ => (ErrorKind::Store, ErrorClass::Retryable),
        },
        DieselError::QueryBuilderError(_)
        | DieselError::SerializationError(_)
        | DieselError::DeserializationError(_) => (ErrorKind::Store, ErrorClass::Terminal),
        _ => (ErrorKind::Store, ErrorClass::Retryable),
    };
    Error::new(kind).with_class(class).context(what.to_owned()).caused_by(one_line(&error.to_string()))
}

/// A database's message, which may have several lines, as one.
pub(super) fn one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_for_one_database() {
        let text = "SELECT 1 -- the first\n  FOR UPDATE -- postgres\n  INDEXED BY x -- sqlite\n-- nothing\n";
        assert_eq!(choose(text, Dialect::Sqlite), "SELECT 1\nINDEXED BY x");
        #[cfg(feature = "postgres")]
        assert_eq!(choose(text, Dialect::Postgres), "SELECT 1\nFOR UPDATE");
    }
}
