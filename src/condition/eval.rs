//! Whether a condition holds, given what is known.

use std::cell::OnceCell;
use std::fmt;
use std::time::Duration;

use serde_json::Value;

use super::syntax::{Bytes, Check, Expr, Literal, Number, Subject};
use crate::document;
use crate::duration::{GoDuration, Shown};
use crate::error::clip;
use crate::map::Map;
use crate::pointer::{Kind, Pointer};
use crate::text::on_one_line;

/// The longest reason, in bytes.
const MAX_REASON: usize = 900;

/// What came of a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It holds.
    Holds,
    /// It does not; what was found instead.
    Fails(String),
    /// That cannot be told, for this reason: a fact is missing, or is of
    /// another type.
    Undecided(String),
}

/// What conditions are about. A fact that was not given is not known.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use loopkeeper::condition::{Condition, Facts, FileFacts, Outcome};
///
/// let fresh: Condition = "age(/var/backups/last) < 1h".parse()?;
/// let file = FileFacts { age: Duration::from_secs(90), size: 4096 };
/// assert_eq!(fresh.evaluate(&Facts::new().file("/var/backups/last", Some(file))), Outcome::Holds);
/// assert_eq!(
///     fresh.evaluate(&Facts::new().file("/var/backups/last", None)),
///     Outcome::Undecided("/var/backups/last is missing".to_owned()),
/// );
/// # Ok::<(), loopkeeper::condition::ParseError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Why there is no answer.
    no_answer: Option<String>,
    latency: Option<Duration>,
    status: Option<u16>,
    /// Names in lower case.
    headers: Map<String, String>,
    body: Option<Vec<u8>>,
    /// Read when somebody asks.
    json: OnceCell<Result<Value, String>>,
    files: Map<String, Result<Option<FileFacts>, String>>,
}

/// What conditions may ask of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileFacts {
    /// How long ago it was changed.
    pub age: Duration,
    /// How many bytes it has.
    pub size: u64,
}

impl Facts {
    /// Knows nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Says why nothing is known of an answer.
    #[must_use]
    pub fn no_answer(mut self, reason: impl Into<String>) -> Self {
        self.no_answer = Some(reason.into());
        self
    }

    /// Says how long the answer took.
    #[must_use]
    pub fn latency(mut self, latency: Duration) -> Self {
        self.latency = Some(latency);
        self
    }

    /// Says the answer's status.
    #[must_use]
    pub fn status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }

    /// Says one of the answer's headers; of two with one name the first counts.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.get_or_insert_with(name.to_ascii_lowercase(), || value.into());
        self
    }

    /// Says the answer's body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self.json = OnceCell::new();
        self
    }

    /// Says what is known of a file; `None` when it is not there.
    #[must_use]
    pub fn file(mut self, path: impl Into<String>, file: Option<FileFacts>) -> Self {
        self.files.insert(path.into(), Ok(file));
        self
    }

    /// Says why nothing is known of a file.
    #[must_use]
    pub fn no_file(mut self, path: impl Into<String>, reason: impl Into<String>) -> Self {
        self.files.insert(path.into(), Err(reason.into()));
        self
    }

    fn answer<T>(&self, fact: Option<T>) -> Result<T, String> {
        fact.ok_or_else(|| self.no_answer.clone().unwrap_or_else(|| "there is no answer".to_owned()))
    }

    fn text(&self) -> Result<String, String> {
        let body = self.answer(self.body.as_deref())?;
        Ok(String::from_utf8_lossy(body).into_owned())
    }

    fn json(&self) -> Result<&Value, String> {
        let body = self.answer(self.body.as_deref())?;
        let read = || {
            let refuse = |error: &dyn fmt::Display| {
                let start = String::from_utf8_lossy(&body[..body.len().min(240)]);
                format!("the body is not JSON ({error}): {}", Shown(&start))
            };
            let text = std::str::from_utf8(body).map_err(|error| refuse(&error))?;
            document::read(text).map_err(|error| refuse(&error))
        };
        self.json.get_or_init(read).as_ref().map_err(Clone::clone)
    }

    fn find(&self, pointer: &Pointer) -> Result<&Value, String> {
        pointer.find(self.json()?).map_err(|missing| format!("body: {missing}"))
    }

    fn get_header(&self, name: &str) -> Result<Option<&str>, String> {
        self.answer(self.status)?;
        Ok(self.headers.get(name).map(String::as_str))
    }

    fn get_file(&self, path: &str) -> Result<Option<FileFacts>, String> {
        match self.files.get(path) {
            Some(Ok(file)) => Ok(*file),
            Some(Err(reason)) => Err(format!("{}: {reason}", on_one_line(path))),
            None => Err(format!("{}: nobody looked", on_one_line(path))),
        }
    }
}

pub(super) fn evaluate(expr: &Expr, facts: &Facts) -> Outcome {
    let Found { holds, notes } = expr_holds(expr, facts);
    let reason = clip(notes.join("; "), MAX_REASON);
    match holds {
        Some(true) => Outcome::Holds,
        Some(false) => Outcome::Fails(reason),
        None => Outcome::Undecided(reason),
    }
}

/// Whether it holds, if that can be told, and what was seen that says so.
struct Found {
    holds: Option<bool>,
    notes: Vec<String>,
}

fn expr_holds(expr: &Expr, facts: &Facts) -> Found {
    match expr {
        Expr::Test(subject, check) => match test(subject, check, facts) {
            Ok((holds, note)) => Found { holds: Some(holds), notes: vec![note] },
            Err(note) => Found { holds: None, notes: vec![note] },
        },
        Expr::Not(one) => {
            let found = expr_holds(one, facts);
            Found { holds: found.holds.map(|holds| !holds), ..found }
        }
        Expr::And(all) => joined(all, facts, false),
        Expr::Or(all) => joined(all, facts, true),
    }
}

/// One that is `decisive` decides; else one that cannot be told leaves it
/// open. Notes are of those that made it so.
fn joined(all: &[Expr], facts: &Facts, decisive: bool) -> Found {
    let found: Vec<Found> = all.iter().map(|one| expr_holds(one, facts)).collect();
    let has = |holds| found.iter().any(|one| one.holds == holds);
    let holds = if has(Some(decisive)) {
        Some(decisive)
    } else if has(None) {
        None
    } else {
        Some(!decisive)
    };
    let mut notes: Vec<String> = Vec::new();
    for note in found.into_iter().filter(|one| one.holds == holds).flat_map(|one| one.notes) {
        if !notes.contains(&note) {
            notes.push(note);
        }
    }
    Found { holds, notes }
}

/// What a subject was found to be.
enum Seen<'a> {
    Duration(Duration),
    Size(u64),
    Number(Number),
    Text(String),
    Json(&'a Value),
}

fn test(subject: &Subject, check: &Check, facts: &Facts) -> Result<(bool, String), String> {
    let seen = match subject {
        Subject::Latency => Seen::Duration(facts.answer(facts.latency)?),
        Subject::Status => Seen::Number(Number::Whole(facts.answer(facts.status)?.into())),
        Subject::Body => Seen::Text(facts.text()?),
        Subject::Json(pointer) => Seen::Json(facts.find(pointer)?),
        Subject::Header(name) => match facts.get_header(name)? {
            Some(value) => Seen::Text(value.to_owned()),
            None => return Err(format!("header.{name} is missing")),
        },
        Subject::Age(path) => Seen::Duration(there(facts, path)?.age),
        Subject::Size(path) => Seen::Size(there(facts, path)?.size),
        Subject::Exists(path) => {
            let is_there = facts.get_file(path)?.is_some();
            return Ok((is_there, is_or_not(&on_one_line(path), is_there)));
        }
        Subject::HasJson(pointer) => {
            let found = pointer.find(facts.json()?);
            let note = match &found {
                Ok(_) => format!("body.{pointer} is there"),
                Err(missing) => format!("body: {missing}"),
            };
            return Ok((found.is_ok(), note));
        }
        Subject::HasHeader(name) => {
            let is_there = facts.get_header(name)?.is_some();
            return Ok((is_there, is_or_not(&format!("header.{name}"), is_there)));
        }
        Subject::LenBody => count(facts.text()?.chars().count()),
        Subject::LenHeader(name) => match facts.get_header(name)? {
            Some(value) => count(value.chars().count()),
            None => return Err(format!("header.{name} is missing")),
        },
        Subject::LenJson(pointer) => match facts.find(pointer)? {
            Value::String(text) => count(text.chars().count()),
            Value::Array(values) => count(values.len()),
            Value::Object(members) => count(members.len()),
            other => {
                let expected = "expected a list, an object or a string";
                return Err(format!("body.{pointer}: {expected}, found {}", Kind(other)));
            }
        },
    };
    let holds = match check {
        Check::Truth => true,
        Check::Compare(op, literal) => match compare(&seen, literal) {
            Ok(ordering) => op.holds(ordering),
            Err(expected) => return Err(mismatch(subject, expected, &seen)),
        },
        Check::Between(first, last) => match (compare(&seen, first), compare(&seen, last)) {
            (Ok(low), Ok(high)) => low.is_ge() && high.is_le(),
            (Err(expected), _) | (_, Err(expected)) => return Err(mismatch(subject, expected, &seen)),
        },
        Check::In(all) => {
            let mut is_in = false;
            for literal in all {
                match compare(&seen, literal) {
                    Ok(ordering) => is_in |= ordering.is_eq(),
                    Err(expected) => return Err(mismatch(subject, expected, &seen)),
                }
            }
            is_in
        }
        Check::Contains(literal) => match (&seen, literal) {
            (Seen::Text(text), Literal::Text(part)) => text.contains(&**part),
            (Seen::Json(Value::String(text)), Literal::Text(part)) => text.contains(&**part),
            (Seen::Json(Value::Array(values)), literal) => values
                .iter()
                .any(|value| compare(&Seen::Json(value), literal).is_ok_and(|found| found.is_eq())),
            (_, Literal::Text(_)) => return Err(mismatch(subject, "a string or a list", &seen)),
            _ => return Err(mismatch(subject, "a list", &seen)),
        },
    };
    Ok((holds, format!("{subject} is {seen}")))
}

fn there(facts: &Facts, path: &str) -> Result<FileFacts, String> {
    facts.get_file(path)?.ok_or_else(|| is_or_not(&on_one_line(path), false))
}

fn is_or_not(what: &str, is_there: bool) -> String {
    format!("{what} is {}", if is_there { "there" } else { "missing" })
}

fn count<'a>(n: usize) -> Seen<'a> {
    Seen::Number(Number::Whole(i128::try_from(n).unwrap_or(i128::MAX)))
}

fn mismatch(subject: &Subject, expected: &str, seen: &Seen<'_>) -> String {
    format!("{subject}: expected {expected}, found {seen}")
}

/// How what was seen stands to a literal; where they cannot be compared, what
/// should have been there.
fn compare(seen: &Seen<'_>, literal: &Literal) -> Result<std::cmp::Ordering, &'static str> {
    let equal = |is_equal: bool| if is_equal { std::cmp::Ordering::Equal } else { std::cmp::Ordering::Less };
    let ordering = match (seen, literal) {
        (Seen::Duration(a), Literal::Duration(b)) => a.cmp(b),
        (Seen::Size(a), Literal::Size(b)) => a.cmp(b),
        (Seen::Text(a), Literal::Text(b)) => a.cmp(b),
        (Seen::Number(a), Literal::Number(b)) => a.partial_cmp(b).ok_or("a number")?,
        (Seen::Json(Value::Number(a)), Literal::Number(b)) => {
            Number::from(a).partial_cmp(b).ok_or("a number")?
        }
        (Seen::Json(Value::String(a)), Literal::Text(b)) => a.cmp(b),
        (Seen::Json(Value::Bool(a)), Literal::Bool(b)) => equal(a == b),
        (Seen::Json(value), Literal::Null) => equal(value.is_null()),
        (_, literal) => return Err(literal.kind()),
    };
    Ok(ordering)
}

impl std::fmt::Display for Seen<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Duration(duration) => GoDuration(rounded(*duration)).fmt(f),
            Self::Size(bytes) => Bytes(*bytes).fmt(f),
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => Shown(text).fmt(f),
            Self::Json(value) => Kind(value).fmt(f),
        }
    }
}

/// With the digits that matter to people.
fn rounded(duration: Duration) -> Duration {
    let unit = match duration.as_millis() {
        0..10 => 1_000,
        10..10_000 => 1_000_000,
        _ => 1_000_000_000,
    };
    let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(nanos - nanos % unit)
}
