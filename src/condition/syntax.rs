//! The tree of a condition, and how it is written.

use std::cmp::Ordering;
use std::fmt;
use std::time::Duration;

use crate::decode::Size;
use crate::duration::GoDuration;
use crate::number;
use crate::pointer::Pointer;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Expr {
    /// Two or more.
    Or(Vec<Expr>),
    /// Two or more.
    And(Vec<Expr>),
    Not(Box<Expr>),
    Test(Subject, Check),
}

impl Expr {
    pub(super) fn visit<'e>(&'e self, see: &mut impl FnMut(&'e Subject)) {
        match self {
            Self::Or(all) | Self::And(all) => all.iter().for_each(|one| one.visit(see)),
            Self::Not(one) => one.visit(see),
            Self::Test(subject, _) => see(subject),
        }
    }
}

/// What is looked at.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Subject {
    Latency,
    Status,
    Body,
    Json(Pointer),
    /// In lower case.
    Header(String),
    Age(String),
    Size(String),
    Exists(String),
    HasJson(Pointer),
    HasHeader(String),
    LenBody,
    LenJson(Pointer),
    LenHeader(String),
}

/// What a subject is, and so what it is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Duration,
    Status,
    Count,
    Size,
    Text,
    Json,
    Truth,
}

impl Subject {
    pub(super) fn kind(&self) -> Type {
        match self {
            Self::Latency | Self::Age(_) => Type::Duration,
            Self::Status => Type::Status,
            Self::Body | Self::Header(_) => Type::Text,
            Self::Json(_) => Type::Json,
            Self::Size(_) => Type::Size,
            Self::LenBody | Self::LenJson(_) | Self::LenHeader(_) => Type::Count,
            Self::Exists(_) | Self::HasJson(_) | Self::HasHeader(_) => Type::Truth,
        }
    }
}

/// What must be true of it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Check {
    /// It is true by itself.
    Truth,
    Compare(Op, Literal),
    /// Both ends count.
    Between(Literal, Literal),
    /// At least one.
    In(Vec<Literal>),
    Contains(Literal),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

impl Op {
    pub(super) const ALL: [Self; 6] = [Self::Eq, Self::Ne, Self::Le, Self::Ge, Self::Lt, Self::Gt];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Eq => "==",
            Self::Ne => "!=",
            Self::Lt => "<",
            Self::Le => "<=",
            Self::Gt => ">",
            Self::Ge => ">=",
        }
    }

    /// Whether it asks for more than the same or not the same.
    pub(super) const fn is_order(self) -> bool {
        !matches!(self, Self::Eq | Self::Ne)
    }

    pub(super) fn holds(self, ordering: Ordering) -> bool {
        match self {
            Self::Eq => ordering.is_eq(),
            Self::Ne => ordering.is_ne(),
            Self::Lt => ordering.is_lt(),
            Self::Le => ordering.is_le(),
            Self::Gt => ordering.is_gt(),
            Self::Ge => ordering.is_ge(),
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Literal {
    Duration(Duration),
    Size(u64),
    Number(Number),
    Text(String),
    Bool(bool),
    Null,
}

impl Literal {
    /// What it is, for people.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Duration(_) => "a duration",
            Self::Size(_) => "a size",
            Self::Number(_) => "a number",
            Self::Text(_) => "a string",
            Self::Bool(_) => "true or false",
            Self::Null => "null",
        }
    }
}

/// A number that is a whole one where it can be: those beyond 2^53 are told
/// apart.
#[derive(Debug, Clone, Copy)]
pub(super) enum Number {
    /// What fits 64 bits, with or without a sign.
    Whole(i128),
    /// Finite.
    Float(f64),
}

impl Number {
    fn as_f64(self) -> f64 {
        match self {
            Self::Whole(n) => n as f64,
            Self::Float(n) => n,
        }
    }
}

impl From<&serde_json::Number> for Number {
    fn from(number: &serde_json::Number) -> Self {
        match (number.as_i64(), number.as_u64()) {
            (Some(n), _) => Self::Whole(n.into()),
            (_, Some(n)) => Self::Whole(n.into()),
            // It has none beyond doubles, where `arbitrary_precision` kept it.
            _ => Self::Float(number.as_f64().unwrap_or_else(|| match number.to_string().starts_with('-') {
                true => f64::MIN,
                false => f64::MAX,
            })),
        }
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.partial_cmp(other) == Some(Ordering::Equal)
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Whole(a), Self::Whole(b)) => a.partial_cmp(b),
            (a, b) => a.as_f64().partial_cmp(&b.as_f64()),
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(n) => n.fmt(f),
            // With a point or an exponent, and so not a whole number.
            Self::Float(n) => f.write_str(&number::json(*n)),
        }
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Or(all) => join(f, all, " or ", |one| matches!(one, Self::Or(_))),
            Self::And(all) => join(f, all, " and ", |one| matches!(one, Self::Or(_) | Self::And(_))),
            Self::Not(one) => {
                f.write_str("not ")?;
                wrapped(f, one, matches!(**one, Self::Or(_) | Self::And(_)))
            }
            Self::Test(subject, check) => write!(f, "{subject}{check}"),
        }
    }
}

fn join(f: &mut fmt::Formatter<'_>, all: &[Expr], word: &str, wraps: impl Fn(&Expr) -> bool) -> fmt::Result {
    for (idx, one) in all.iter().enumerate() {
        if idx > 0 {
            f.write_str(word)?;
        }
        wrapped(f, one, wraps(one))?;
    }
    Ok(())
}

fn wrapped(f: &mut fmt::Formatter<'_>, one: &Expr, wraps: bool) -> fmt::Result {
    if wraps { write!(f, "({one})") } else { write!(f, "{one}") }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latency => f.write_str("latency"),
            Self::Status => f.write_str("status"),
            Self::Body => f.write_str("body"),
            Self::Json(pointer) => write!(f, "body.{}", Written(pointer.as_str(), is_bare_pointer)),
            Self::Header(name) => write!(f, "header.{name}"),
            Self::Age(path) => write!(f, "age({})", Written(path, is_bare_path)),
            Self::Size(path) => write!(f, "size({})", Written(path, is_bare_path)),
            Self::Exists(path) => write!(f, "exists({})", Written(path, is_bare_path)),
            Self::HasJson(pointer) => {
                write!(f, "has(body.{})", Written(pointer.as_str(), is_bare_pointer))
            }
            Self::HasHeader(name) => write!(f, "has(header.{name})"),
            Self::LenBody => f.write_str("len(body)"),
            Self::LenJson(pointer) => {
                write!(f, "len(body.{})", Written(pointer.as_str(), is_bare_pointer))
            }
            Self::LenHeader(name) => write!(f, "len(header.{name})"),
        }
    }
}

/// A text without quotes where it needs none.
struct Written<'a>(&'a str, fn(&str) -> bool);

impl fmt::Display for Written<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.1(self.0) { f.write_str(self.0) } else { write!(f, "{:?}", self.0) }
    }
}

/// What ends a pointer that is written without quotes.
pub(super) fn ends_pointer(c: char) -> bool {
    c.is_whitespace() || c.is_control() || "()[]<>=!\"',".contains(c)
}

fn is_bare_pointer(pointer: &str) -> bool {
    pointer.starts_with('/') && !pointer.contains(ends_pointer)
}

fn is_bare_path(path: &str) -> bool {
    let is_special = |c: char| c.is_control() || "()\"'".contains(c);
    !path.is_empty() && path.trim() == path && !path.contains(is_special)
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truth => Ok(()),
            Self::Compare(op, literal) => write!(f, " {} {literal}", op.as_str()),
            Self::Between(first, last) => write!(f, " in {first}..{last}"),
            Self::In(all) => {
                f.write_str(" in [")?;
                for (idx, literal) in all.iter().enumerate() {
                    write!(f, "{}{literal}", if idx > 0 { ", " } else { "" })?;
                }
                f.write_str("]")
            }
            Self::Contains(literal) => write!(f, " contains {literal}"),
        }
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Duration(duration) => GoDuration(*duration).fmt(f),
            Self::Size(bytes) => Bytes(*bytes).fmt(f),
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Bool(truth) => truth.fmt(f),
            Self::Null => f.write_str("null"),
        }
    }
}

/// A size with the largest unit that loses nothing.
pub(super) struct Bytes(pub(super) u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = Size::Bytes(self.0).to_string();
        match text.trim_matches('"') {
            bare if bare == text => write!(f, "{bare}B"),
            bare => f.write_str(bare),
        }
    }
}
