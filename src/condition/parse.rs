//! Reads conditions: one pass over the characters, types checked on the way.

use std::fmt;

use super::syntax::{Check, Expr, Literal, Number, Op, Subject, Type, ends_pointer};
use super::{MAX_DEPTH, MAX_LEN, MAX_LIST};
use crate::decode::{Size, closest, read_size};
use crate::duration::{self, Flaw, Shown};
use crate::error::{Error, clip};
use crate::number::float;
use crate::pointer::Pointer;

/// Why a text is not a condition.
///
/// Prints as one line: what was expected, what was found, and at which column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    text: String,
    at: usize,
    message: String,
}

impl ParseError {
    /// Where it stands, in characters counted from 1.
    #[must_use]
    pub fn column(&self) -> usize {
        self.text[..self.at].chars().count() + 1
    }

    /// What was expected and what was found.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The condition, and below it a caret that points at the character.
    #[must_use]
    pub fn excerpt(&self) -> String {
        let line: String = self.text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        format!("{line}\n{}^", " ".repeat(self.column() - 1))
    }

    /// Where it stands, in bytes.
    pub(crate) fn at(&self) -> usize {
        self.at
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (column {})", self.message, self.column())
    }
}

impl std::error::Error for ParseError {}

impl From<ParseError> for Error {
    fn from(error: ParseError) -> Self {
        Self::invalid(format!("condition {}: {error}", Shown(&error.text)))
    }
}

pub(super) fn parse(text: &str) -> Result<Expr, ParseError> {
    if text.len() > MAX_LEN {
        return Err(ParseError {
            text: clip(text.to_owned(), MAX_LEN),
            at: 0,
            message: format!("a condition has at most {MAX_LEN} bytes, found {}", text.len()),
        });
    }
    let mut parser = Parser { text, at: 0, depth: 0 };
    let expr = parser.or()?;
    match parser.peek() {
        None => Ok(expr),
        Some(_) => Err(parser.unexpected("\"and\", \"or\" or the end")),
    }
}

/// What a condition may begin with.
const SUBJECTS: [&str; 8] = ["latency", "status", "body", "header", "age", "size", "exists", "has"];
const WORDS: [&str; 14] = [
    "latency", "status", "body", "header", "age", "size", "exists", "has", "len", "not", "and", "or", "in",
    "contains",
];

struct Parser<'t> {
    text: &'t str,
    at: usize,
    depth: usize,
}

type Parsed<T> = Result<T, ParseError>;

impl<'t> Parser<'t> {
    fn or(&mut self) -> Parsed<Expr> {
        let first = self.and()?;
        let mut all = vec![first];
        while self.takes_word("or") {
            all.push(self.and()?);
        }
        Ok(one_or(all, Expr::Or))
    }

    fn and(&mut self) -> Parsed<Expr> {
        let first = self.not()?;
        let mut all = vec![first];
        while self.takes_word("and") {
            all.push(self.not()?);
        }
        Ok(one_or(all, Expr::And))
    }

    fn not(&mut self) -> Parsed<Expr> {
        self.blank();
        let start = self.at;
        if self.takes_word("not") {
            return self.deeper(start, |parser| Ok(Expr::Not(Box::new(parser.not()?))));
        }
        if self.takes('(') {
            return self.deeper(start, |parser| {
                let inner = parser.or()?;
                if parser.takes(')') {
                    return Ok(inner);
                }
                Err(parser.unexpected("\"and\", \"or\" or \")\""))
            });
        }
        let subject = self.subject()?;
        let check = self.check(&subject)?;
        Ok(Expr::Test(subject, check))
    }

    fn deeper(&mut self, start: usize, read: impl FnOnce(&mut Self) -> Parsed<Expr>) -> Parsed<Expr> {
        if self.depth == MAX_DEPTH {
            return Err(self.error(start, format!("nests deeper than {MAX_DEPTH}")));
        }
        self.depth += 1;
        let expr = read(self);
        self.depth -= 1;
        expr
    }

    fn subject(&mut self) -> Parsed<Subject> {
        self.blank();
        let start = self.at;
        match self.word() {
            Some("latency") => Ok(Subject::Latency),
            Some("status") => Ok(Subject::Status),
            Some("age") => Ok(Subject::Age(self.path()?)),
            Some("size") => Ok(Subject::Size(self.path()?)),
            Some("exists") => Ok(Subject::Exists(self.path()?)),
            Some("body") => self.body(),
            Some("header") => Ok(Subject::Header(self.header()?)),
            Some(word @ ("has" | "len")) => {
                let is_len = word == "len";
                self.expect('(')?;
                self.blank();
                let inner = self.at;
                let subject = match self.word() {
                    Some("body") => self.body()?,
                    Some("header") => Subject::Header(self.header()?),
                    _ => return Err(self.unexpected_at(inner, "body./POINTER or header.NAME")),
                };
                let subject = match subject {
                    Subject::Json(pointer) if is_len => Subject::LenJson(pointer),
                    Subject::Json(pointer) => Subject::HasJson(pointer),
                    Subject::Header(name) if is_len => Subject::LenHeader(name),
                    Subject::Header(name) => Subject::HasHeader(name),
                    _ if is_len => Subject::LenBody,
                    _ => {
                        let message = "expected body./POINTER or header.NAME, found body by itself";
                        return Err(self.error(inner, message.to_owned()));
                    }
                };
                self.expect(')')?;
                Ok(subject)
            }
            _ => {
                self.at = start;
                Err(self.unexpected("a condition such as latency < 500ms"))
            }
        }
    }

    fn body(&mut self) -> Parsed<Subject> {
        if !self.rest().starts_with('.') {
            return Ok(Subject::Body);
        }
        self.at += 1;
        let start = self.at;
        let pointer = match self.rest().chars().next() {
            Some('"' | '\'') => self.quoted()?,
            Some('/') => {
                let rest = self.rest();
                let end = rest.find(ends_pointer).unwrap_or(rest.len());
                self.at += end;
                rest[..end].to_owned()
            }
            _ => return Err(self.unexpected("a JSON pointer such as /queue/depth")),
        };
        let pointer = Pointer::new(pointer).map_err(|flaw| self.error(start, flaw.to_string()))?;
        Ok(Subject::Json(pointer))
    }

    fn header(&mut self) -> Parsed<String> {
        if !self.rest().starts_with('.') {
            return Err(self.unexpected("a dot and the name of a header, such as header.content-type"));
        }
        self.at += 1;
        let rest = self.rest();
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        let name = &rest[..rest.find(|c| !fits(c)).unwrap_or(rest.len())];
        if name.is_empty() {
            return Err(self.unexpected("the name of a header, such as content-type"));
        }
        self.at += name.len();
        Ok(name.to_ascii_lowercase())
    }

    fn path(&mut self) -> Parsed<String> {
        self.expect('(')?;
        self.blank();
        let start = self.at;
        let path = if self.rest().starts_with(['"', '\'']) {
            let path = self.quoted()?;
            self.expect(')')?;
            path
        } else {
            let rest = self.rest();
            let Some(end) = rest.find(['(', ')', '"', '\'']).filter(|end| rest[*end..].starts_with(')'))
            else {
                let message = "expected a path and \")\"; a path with parentheses or quotes stands in quotes";
                return Err(self.error(start, message.to_owned()));
            };
            self.at += end + 1;
            rest[..end].trim_end().to_owned()
        };
        if path.is_empty() {
            return Err(self.error(start, "expected a path, found none".to_owned()));
        }
        if path.contains('\0') {
            return Err(self.error(start, "a path must not have a NUL byte".to_owned()));
        }
        Ok(path)
    }

    fn check(&mut self, subject: &Subject) -> Parsed<Check> {
        let kind = subject.kind();
        self.blank();
        let start = self.at;
        if kind == Type::Truth {
            if self.operator().is_some() {
                let message =
                    format!("{subject} is true or false by itself, found a comparison; see also not");
                return Err(self.error(start, message));
            }
            return Ok(Check::Truth);
        }
        if let Some(op) = self.operator() {
            if kind == Type::Text && op.is_order() {
                let message =
                    format!("{subject} is text: expected ==, !=, contains or in, found {}", op.as_str());
                return Err(self.error(start, message));
            }
            let (at, literal) = self.literal(kind)?;
            if op.is_order()
                && !matches!(literal, Literal::Duration(_) | Literal::Size(_) | Literal::Number(_))
            {
                let message = format!("{} compares numbers, found {}", op.as_str(), self.written(at));
                return Err(self.error(at, message));
            }
            return Ok(Check::Compare(op, literal));
        }
        if self.takes_word("in") {
            return if self.takes('[') { self.list(kind) } else { self.range(kind) };
        }
        if self.takes_word("contains") {
            if !matches!(kind, Type::Text | Type::Json) {
                let message =
                    format!("{subject} is no text: expected {}, found contains", expected_ops(kind));
                return Err(self.error(start, message));
            }
            let (at, literal) = self.literal(kind)?;
            if !matches!(literal, Literal::Text(_) | Literal::Number(_)) {
                let message = format!("expected a string or a number, found {}", self.written(at));
                return Err(self.error(at, message));
            }
            return Ok(Check::Contains(literal));
        }
        Err(self.unexpected(expected_ops(kind)))
    }

    fn operator(&mut self) -> Option<Op> {
        self.blank();
        let op = Op::ALL.into_iter().find(|op| self.rest().starts_with(op.as_str()))?;
        self.at += op.as_str().len();
        Some(op)
    }

    fn range(&mut self, kind: Type) -> Parsed<Check> {
        let (at, first) = self.literal(kind)?;
        if !matches!(first, Literal::Duration(_) | Literal::Size(_) | Literal::Number(_)) {
            let found = self.text[at..self.at].trim();
            let message = format!("expected a range such as 1..5 or a list such as [{found}], found {found}");
            return Err(self.error(at, message));
        }
        self.blank();
        if !self.rest().starts_with("..") {
            return Err(self.unexpected("\"..\" and the end of the range"));
        }
        self.at += 2;
        let (_, last) = self.literal(kind)?;
        let is_ordered = match (&first, &last) {
            (Literal::Duration(first), Literal::Duration(last)) => first <= last,
            (Literal::Size(first), Literal::Size(last)) => first <= last,
            (Literal::Number(first), Literal::Number(last)) => first <= last,
            _ => {
                let message = format!("expected {} at both ends, found {}", first.kind(), self.written(at));
                return Err(self.error(at, message));
            }
        };
        if !is_ordered {
            return Err(self.error(at, format!("expected the lower end first, found {}", self.written(at))));
        }
        Ok(Check::Between(first, last))
    }

    fn list(&mut self, kind: Type) -> Parsed<Check> {
        let mut all: Vec<Literal> = Vec::new();
        loop {
            let (at, literal) = self.literal(kind)?;
            if let Some(first) = all.first() {
                if first.kind() != literal.kind() {
                    let message = format!("expected {} as before, found {}", first.kind(), self.written(at));
                    return Err(self.error(at, message));
                }
            }
            if all.len() == MAX_LIST {
                return Err(self.error(at, format!("a list has at most {MAX_LIST} values")));
            }
            all.push(literal);
            if self.takes(']') {
                return Ok(Check::In(all));
            }
            if !self.takes(',') {
                return Err(self.unexpected("\",\" or \"]\""));
            }
        }
    }

    /// What stands on the right, and where it begins.
    fn literal(&mut self, kind: Type) -> Parsed<(usize, Literal)> {
        self.blank();
        let start = self.at;
        let literal = match self.rest().chars().next() {
            Some('"' | '\'') => Literal::Text(self.quoted()?),
            Some(c) if c.is_ascii_digit() || c == '-' => self.number(kind)?,
            _ => match self.word() {
                Some("true") => Literal::Bool(true),
                Some("false") => Literal::Bool(false),
                Some("null") => Literal::Null,
                _ => return Err(self.unexpected_at(start, expected_literal(kind))),
            },
        };
        let literal = match (kind, literal) {
            (Type::Duration, literal @ Literal::Duration(_))
            | (Type::Size, literal @ Literal::Size(_))
            | (Type::Text, literal @ Literal::Text(_))
            | (
                Type::Json,
                literal @ (Literal::Number(_) | Literal::Text(_) | Literal::Bool(_) | Literal::Null),
            ) => literal,
            (Type::Duration, Literal::Number(Number::Whole(0))) => {
                Literal::Duration(std::time::Duration::ZERO)
            }
            (Type::Size, Literal::Number(Number::Whole(n))) if u64::try_from(n).is_ok() => {
                Literal::Size(u64::try_from(n).unwrap_or_default())
            }
            (Type::Status, Literal::Number(Number::Whole(n))) if (100..=999).contains(&n) => {
                Literal::Number(Number::Whole(n))
            }
            (Type::Count, Literal::Number(Number::Whole(n))) if n >= 0 => Literal::Number(Number::Whole(n)),
            (kind, _) => {
                let message = format!("expected {}, found {}", expected_literal(kind), self.written(start));
                return Err(self.error(start, message));
            }
        };
        Ok((start, literal))
    }

    /// A number, a duration or a size.
    fn number(&mut self, kind: Type) -> Parsed<Literal> {
        let start = self.at;
        let rest = self.rest();
        let mut end = 0;
        for (idx, c) in rest.char_indices() {
            let before = &rest[..idx];
            let is_sign = matches!(c, '-' | '+')
                && (before.is_empty()
                    || before.ends_with(['e', 'E']) && is_decimal(before[..idx - 1].trim_start_matches('-')));
            let is_part = c.is_alphanumeric() || matches!(c, '_' | '%') || is_sign;
            let is_point = c == '.' && !rest[idx..].starts_with("..");
            if !is_part && !is_point {
                break;
            }
            end = idx + c.len_utf8();
        }
        let text = &rest[..end];
        self.at += end;
        if let Some(number) = number(text) {
            return number.map(Literal::Number).map_err(|flaw| self.error(start, flaw));
        }
        match duration::read(text) {
            Ok(duration) => return Ok(Literal::Duration(duration)),
            Err(Flaw::Negative) => {
                return Err(self.error(start, format!("a duration is not negative, found {}", Shown(text))));
            }
            Err(Flaw::TooLong) => {
                return Err(self.error(start, format!("the duration {} is too long", Shown(text))));
            }
            Err(Flaw::Syntax(_)) => {}
        }
        match read_size(text) {
            Some(Ok(Size::Bytes(bytes))) => Ok(Literal::Size(bytes)),
            Some(Ok(Size::Percent(_))) => {
                Err(self.error(start, format!("there is nothing to take {} of", Shown(text))))
            }
            Some(Err(flaw)) => Err(self.error(start, format!("a size {flaw}, found {}", Shown(text)))),
            None => {
                Err(self.error(start, format!("expected {}, found {}", expected_literal(kind), Shown(text))))
            }
        }
    }

    /// A text in quotes of either kind.
    fn quoted(&mut self) -> Parsed<String> {
        let start = self.at;
        let mut chars = self.rest().char_indices();
        let Some((_, quote)) = chars.next() else { return Err(self.unexpected("a string")) };
        let mut text = String::new();
        while let Some((idx, c)) = chars.next() {
            match c {
                c if c == quote => {
                    self.at = start + idx + c.len_utf8();
                    return Ok(text);
                }
                '\\' => {
                    let escaped = match chars.next().map(|(_, c)| c) {
                        Some('n') => Some('\n'),
                        Some('r') => Some('\r'),
                        Some('t') => Some('\t'),
                        Some('0') => Some('\0'),
                        Some(c @ ('\\' | '"' | '\'')) => Some(c),
                        Some('u') => code(&mut chars),
                        _ => None,
                    };
                    let Some(c) = escaped else {
                        let message = r#"expected \\, \", \', \n, \r, \t, \0 or \u{..} after a backslash"#;
                        return Err(self.error(start + idx, message.to_owned()));
                    };
                    text.push(c);
                }
                c => text.push(c),
            }
        }
        Err(self.error(start, format!("the string has no end: expected another {quote}")))
    }

    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn blank(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    fn peek(&mut self) -> Option<char> {
        self.blank();
        self.rest().chars().next()
    }

    fn takes(&mut self, c: char) -> bool {
        let is_next = self.peek() == Some(c);
        if is_next {
            self.at += c.len_utf8();
        }
        is_next
    }

    fn expect(&mut self, c: char) -> Parsed<()> {
        if self.takes(c) { Ok(()) } else { Err(self.unexpected(&format!("\"{c}\""))) }
    }

    /// The word that comes next, if one does.
    fn word(&mut self) -> Option<&'t str> {
        self.blank();
        let word = first_word(self.rest());
        self.at += word.len();
        Some(word).filter(|word| !word.is_empty())
    }

    fn takes_word(&mut self, wanted: &str) -> bool {
        self.blank();
        let is_next = first_word(self.rest()) == wanted;
        if is_next {
            self.at += wanted.len();
        }
        is_next
    }

    /// What was written from `start` to here, as what it is.
    fn written(&self, start: usize) -> String {
        let text = self.text[start..self.at].trim();
        match text.chars().next() {
            Some('"' | '\'') => format!("the string {text}"),
            _ if number(text).is_some() => format!("the number {text}"),
            _ => text.to_owned(),
        }
    }

    fn unexpected_at(&mut self, at: usize, expected: &str) -> ParseError {
        self.at = at;
        self.unexpected(expected)
    }

    /// What comes next is not what should.
    fn unexpected(&mut self, expected: &str) -> ParseError {
        self.blank();
        let rest = self.rest();
        let word = first_word(rest);
        let meant = |what: &str| format!(", did you mean {what}?");
        let (found, hint) = match rest.chars().next() {
            None => ("the end".to_owned(), String::new()),
            Some(_) if !word.is_empty() => {
                let lower = word.to_ascii_lowercase();
                let known = WORDS.iter().find(|known| **known == lower && **known != word);
                let close = known.copied().or_else(|| closest(word, &WORDS)).filter(|close| *close != word);
                (
                    Shown(word).to_string(),
                    close.map_or_else(String::new, |close| meant(&format!("{close:?}"))),
                )
            }
            Some('"' | '\'') => ("a string".to_owned(), String::new()),
            Some(c) => {
                let hints = [
                    ("&&", "and"),
                    ("||", "or"),
                    ("!=", ""),
                    ("!", "not"),
                    ("=", "=="),
                    ("≤", "<="),
                    ("≥", ">="),
                    ("≠", "!="),
                ];
                let hint = hints.iter().find(|(start, _)| rest.starts_with(start));
                let found =
                    hint.map_or_else(|| c.escape_debug().to_string(), |(start, _)| (*start).to_owned());
                let brackets = rest.strip_prefix('[').map(first_word).map(str::to_ascii_lowercase);
                let bracketed = brackets.filter(|word| SUBJECTS.contains(&&**word));
                let hint = match (bracketed, hint) {
                    (Some(word), _) => meant(&format!("{word:?} without brackets")),
                    (None, Some((_, word))) if !word.is_empty() => meant(&format!("{word:?}")),
                    _ => String::new(),
                };
                (format!("\"{found}\""), hint)
            }
        };
        self.error(self.at, format!("expected {expected}, found {found}{hint}"))
    }

    fn error(&self, at: usize, message: String) -> ParseError {
        ParseError { text: self.text.to_owned(), at, message }
    }
}

fn one_or(mut all: Vec<Expr>, join: impl FnOnce(Vec<Expr>) -> Expr) -> Expr {
    match all.len() {
        1 => all.remove(0),
        _ => join(all),
    }
}

fn expected_ops(kind: Type) -> &'static str {
    match kind {
        Type::Text => "==, !=, contains or in",
        Type::Json => "==, !=, <, <=, >, >=, contains or in",
        _ => "==, !=, <, <=, >, >= or in",
    }
}

fn expected_literal(kind: Type) -> &'static str {
    match kind {
        Type::Duration => "a duration such as 500ms",
        Type::Status => "a status from 100 to 999",
        Type::Count => "a whole number that is not negative",
        Type::Size => "a size such as 1GiB",
        Type::Text => "a string such as \"ok\"",
        Type::Json | Type::Truth => "a number, a string, true, false or null",
    }
}

/// Letters and underscores, with digits behind the first.
fn first_word(text: &str) -> &str {
    let fits = |c: char| c.is_alphanumeric() || c == '_';
    match text.chars().next() {
        Some(c) if c.is_alphabetic() || c == '_' => &text[..text.find(|c| !fits(c)).unwrap_or(text.len())],
        _ => "",
    }
}

fn is_decimal(text: &str) -> bool {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits(whole) && digits(part)
}

/// A number, or what is wrong with it; `None` when it is none.
fn number(text: &str) -> Option<Result<Number, String>> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.strip_prefix(['-', '+']).unwrap_or(exponent)),
        None => (unsigned, "0"),
    };
    if !is_decimal(mantissa) || exponent.is_empty() || !exponent.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let whole = text.parse::<i128>().ok();
    if let Some(n) = whole.filter(|n| (i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(n)) {
        return Some(Ok(Number::Whole(n)));
    }
    Some(float(text).map(Number::Float).ok_or_else(|| format!("the number {} is too large", Shown(text))))
}

/// What `\u{1f}` stands for, behind its `u`.
fn code(chars: &mut std::str::CharIndices<'_>) -> Option<char> {
    if chars.next()?.1 != '{' {
        return None;
    }
    let mut code = 0_u32;
    for digits in 0..=6 {
        match chars.next()?.1 {
            '}' if digits > 0 => return char::from_u32(code),
            c => code = code * 16 + c.to_digit(16)?,
        }
    }
    None
}
