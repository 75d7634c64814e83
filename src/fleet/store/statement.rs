//! What stands between a statement and a connection.
//!
//! A statement is a text with named places, `:now`, and what is bound to
//! them. Diesel's `sql_query` would prepare it anew at each call; as a
//! fragment of our own it is prepared once for each connection. A line that
//! ends in `-- sqlite` or `-- postgres` is for that database alone.

use std::marker::PhantomData;
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

    /// How a text says the `n`th of what is bound.
    fn place(self, n: usize) -> String {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite => format!("?{n}"),
            #[cfg(feature = "postgres")]
            Self::Postgres => format!("${n}"),
        }
    }
}

/// The text of a statement, in each dialect.
#[derive(Debug)]
pub(super) struct Sql {
    name: &'static str,
    text: &'static str,
    is_planned_anew: bool,
    parts: [OnceLock<Result<Vec<Part>, String>>; 2],
}

/// A piece of a text, and which of what is bound follows it.
#[derive(Debug, PartialEq, Eq)]
struct Part {
    text: String,
    bind: Option<usize>,
}

impl Sql {
    pub(super) const fn new(name: &'static str, text: &'static str) -> Self {
        Self { name, text, is_planned_anew: false, parts: [OnceLock::new(), OnceLock::new()] }
    }

    /// A statement over many rows, which is prepared at each call: a server
    /// that kept its plan would not know how many it is to take.
    pub(super) const fn planned_anew(name: &'static str, text: &'static str) -> Self {
        let mut sql = Self::new(name, text);
        sql.is_planned_anew = true;
        sql
    }

    /// Taken apart once: at each call Diesel walks over a statement three
    /// times. So a statement's names must come in the same order each time.
    fn parts(&self, dialect: Dialect, binds: &[(&str, Bind<'_>)]) -> Result<&[Part], &str> {
        let place = match dialect {
            #[cfg(feature = "sqlite")]
            Dialect::Sqlite => 0,
            #[cfg(feature = "postgres")]
            Dialect::Postgres => 1,
        };
        let parts = self.parts[place].get_or_init(|| {
            let text = choose(self.text, dialect);
            let names: Vec<&str> = binds.iter().map(|(name, _)| *name).collect();
            take_apart(&text, dialect, &names)
        });
        parts.as_deref().map_err(String::as_str)
    }
}

/// A text at its places. What is bound is bound once: where its name comes
/// again, the text has the number that it has got.
fn take_apart(text: &str, dialect: Dialect, names: &[&str]) -> Result<Vec<Part>, String> {
    let (mut parts, mut bound) = (Vec::new(), Vec::new());
    let (mut piece, mut rest) = (String::new(), text);
    while let Some(at) = rest.find(':') {
        let after = &rest[at + 1..];
        let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
        let (name, after) = after.split_at(end);
        piece.push_str(&rest[..at]);
        rest = after;
        if let Some(known) = bound.iter().position(|known| *known == name) {
            piece.push_str(&dialect.place(known + 1));
            continue;
        }
        let bind = names.iter().position(|known| *known == name);
        let bind = bind.ok_or_else(|| format!("nothing is bound to :{name}"))?;
        bound.push(name);
        parts.push(Part { text: std::mem::take(&mut piece), bind: Some(bind) });
    }
    piece.push_str(rest);
    parts.push(Part { text: piece, bind: None });
    Ok(parts)
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

/// How a connection finds the statement that it has prepared.
pub(super) trait Key: 'static {
    /// Whether the type alone tells. One text each then, in one dialect each
    /// connection.
    const IS_ENOUGH: bool;
}

/// By the text, which is put together and hashed at each call.
#[derive(Debug)]
pub(super) enum ByText {}

impl Key for ByText {
    const IS_ENOUGH: bool = false;
}

/// A statement with all that is bound.
#[derive(Debug)]
pub(super) struct Query<'a, K = ByText> {
    sql: &'a Sql,
    dialect: Dialect,
    binds: &'a [(&'a str, Bind<'a>)],
    key: PhantomData<K>,
}

impl<'a> Query<'a> {
    pub(super) fn new(sql: &'a Sql, dialect: Dialect, binds: &'a [(&'a str, Bind<'a>)]) -> Self {
        Self::keyed(sql, dialect, binds)
    }
}

impl<'a, K> Query<'a, K> {
    pub(super) fn keyed(sql: &'a Sql, dialect: Dialect, binds: &'a [(&'a str, Bind<'a>)]) -> Self {
        Self { sql, dialect, binds, key: PhantomData }
    }

    pub(super) fn name(&self) -> &'static str {
        self.sql.name
    }
}

impl<K: Key> QueryId for Query<'_, K> {
    type QueryId = K;

    const HAS_STATIC_QUERY_ID: bool = K::IS_ENOUGH;
}

impl<K> DieselQuery for Query<'_, K> {
    type SqlType = Untyped;
}

impl<C, K> RunQueryDsl<C> for Query<'_, K> {}

macro_rules! fragment {
    ($backend:ty) => {
        impl<K> QueryFragment<$backend> for Query<'_, K> {
            fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, $backend>) -> QueryResult<()> {
                let parts = self.sql.parts(self.dialect, self.binds).map_err(|text| {
                    DieselError::QueryBuilderError(format!("{}: {text}", self.name()).into())
                })?;
                if self.sql.is_planned_anew {
                    out.unsafe_to_cache_prepared();
                }
                for part in parts {
                    out.push_sql(&part.text);
                    match part.bind.map(|idx| &self.binds[idx].1) {
                        Some(Bind::Int(value)) => out.push_bind_param::<Nullable<BigInt>, _>(value)?,
                        Some(Bind::Flag(value)) => out.push_bind_param::<Nullable<Bool>, _>(value)?,
                        Some(Bind::Text(value)) => out.push_bind_param::<Nullable<Text>, _>(value)?,
                        None => {}
                    }
                }
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
    fn load_as<K: Key, T: Row>(&mut self, sql: &Sql, binds: &[(&str, Bind<'_>)]) -> Result<Vec<T>>;
    fn load<T: Row>(&mut self, sql: &Sql, binds: &[(&str, Bind<'_>)]) -> Result<Vec<T>> {
        self.load_as::<ByText, T>(sql, binds)
    }
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
    /// In a transaction that has begun: until its end statements may take as
    /// long as they need. They can still be cancelled.
    fn take_time(&mut self) -> Result<()> {
        Ok(())
    }
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
    fn a_text_is_taken_apart_at_what_is_bound() {
        let text = "SELECT :now, :agent WHERE a = :agent AND b > :now;";
        let parts = |dialect| take_apart(text, dialect, &["agent", "now", "unused"]).unwrap();
        let part = |text: &str, bind| Part { text: text.to_owned(), bind };
        assert_eq!(
            parts(Dialect::Sqlite),
            [part("SELECT ", Some(1)), part(", ", Some(0)), part(" WHERE a = ?2 AND b > ?1;", None)]
        );
        #[cfg(feature = "postgres")]
        assert_eq!(parts(Dialect::Postgres)[2], part(" WHERE a = $2 AND b > $1;", None));
        let missing = take_apart("a = :b", Dialect::Sqlite, &["a"]);
        assert_eq!(missing.unwrap_err(), "nothing is bound to :b");
    }

    #[test]
    fn a_line_is_for_one_database() {
        let text = "SELECT 1 -- the first\n  FOR UPDATE -- postgres\n  INDEXED BY x -- sqlite\n-- nothing\n";
        assert_eq!(choose(text, Dialect::Sqlite), "SELECT 1\nINDEXED BY x");
        #[cfg(feature = "postgres")]
        assert_eq!(choose(text, Dialect::Postgres), "SELECT 1\nFOR UPDATE");
    }
}
