//! What was told and what waits to be, in a file, so that a restart neither
//! tells it again nor forgets how it goes on.

use serde::Serialize;
use serde_json::Value;

use super::letter::{Body, CAPACITY, Who};
use crate::event::{Health, LoopKind};
use crate::name::Name;
use crate::pointer::Kind;
use crate::stamp::Stamp;

/// As much as a full queue takes, and more.
pub(super) const MAX_LEN: u64 = 16 * 1024 * 1024;
const FORMAT: u32 = 1;
/// The longest id of a letter that is one of ours.
const MAX_ID: usize = 64;

/// What outlives a restart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Kept {
    /// Of whom a down was told and no ready since, when the last time, and
    /// how many reminders.
    pub(super) told: Vec<(Who, Stamp, u32)>,
    /// What waits to be sent, in order, and when it was written.
    pub(super) letters: Vec<(Stamp, Body)>,
}

#[derive(Serialize)]
struct Saved {
    format: u32,
    told: Vec<SavedTold>,
    letters: Vec<SavedLetter>,
}

#[derive(Serialize)]
struct SavedTold {
    name: String,
    kind: String,
    /// Moments are in microseconds since 1970.
    at: u64,
    reminders: u32,
}

#[derive(Serialize)]
struct SavedLetter {
    written: u64,
    id: String,
    name: String,
    kind: String,
    state: String,
    previous: String,
    since: u64,
    error: Option<String>,
    boot: String,
    n: u64,
    seq: u64,
    reminder: u32,
}

pub(super) fn render(kept: &Kept) -> Vec<u8> {
    let told = kept.told.iter().map(|((kind, name), at, reminders)| SavedTold {
        name: name.to_string(),
        kind: kind.as_str().to_owned(),
        at: at.as_micros(),
        reminders: *reminders,
    });
    let letters = kept.letters.iter().map(|(written, body)| SavedLetter {
        written: written.as_micros(),
        id: body.id.clone(),
        name: body.name.to_string(),
        kind: body.kind.as_str().to_owned(),
        state: body.state.as_str().to_owned(),
        previous: body.previous.as_str().to_owned(),
        since: body.since.as_micros(),
        error: body.error.clone(),
        boot: body.boot.clone(),
        n: body.n,
        seq: body.seq,
        reminder: body.reminder,
    });
    let saved = Saved { format: FORMAT, told: told.collect(), letters: letters.collect() };
    // Texts and numbers always are JSON.
    serde_json::to_vec(&saved).unwrap_or_default()
}

pub(super) fn parse(text: &[u8]) -> Result<Kept, String> {
    let text = std::str::from_utf8(text).map_err(|error| error.to_string())?;
    let saved: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let format = count(&saved, "format")?;
    if format != FORMAT {
        return Err(format!("format: expected {FORMAT}, found {format}"));
    }
    let mut kept = Kept::default();
    for told in list(&saved, "told")? {
        let name = name(told).map_err(|error| format!("told: {error}"))?;
        let about = |error: String| format!("{name}: {error}");
        // Older files tell of names only.
        let kind = if told.get("kind").is_some() { kind(told).map_err(about)? } else { LoopKind::Watcher };
        let (at, reminders) = (stamp(told, "at").map_err(about)?, count(told, "reminders").map_err(about)?);
        kept.told.push(((kind, name), at, reminders));
    }
    for letter in list(&saved, "letters")?.iter().take(CAPACITY) {
        let name = name(letter).map_err(|error| format!("letters: {error}"))?;
        let about = |error: String| format!("{name}: {error}");
        kept.letters.push((stamp(letter, "written").map_err(about)?, body(letter, &name).map_err(about)?));
    }
    Ok(kept)
}

fn body(letter: &Value, name: &Name) -> Result<Body, String> {
    let state = |key: &str| word(letter, key, "a state", Health::named);
    // They become the header of a request.
    let id =
        |key: &str| word(letter, key, "letters, digits and -", |text| is_id(text).then(|| text.to_owned()));
    let error = match &letter["error"] {
        Value::Null => None,
        _ => Some(super::letter::told(text(letter, "error")?)),
    };
    Ok(Body {
        id: id("id")?,
        kind: kind(letter)?,
        state: state("state")?,
        previous: state("previous")?,
        name: name.clone(),
        since: stamp(letter, "since")?,
        error,
        boot: id("boot")?,
        n: number(letter, "n")?,
        seq: number(letter, "seq")?,
        reminder: count(letter, "reminder")?,
    })
}

fn is_id(text: &str) -> bool {
    (1..=MAX_ID).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// A member of an object, as what it should be.
fn member<'v, T>(
    object: &'v Value,
    key: &str,
    expected: &str,
    read: impl FnOnce(&'v Value) -> Option<T>,
) -> Result<T, String> {
    // It is null where there is none.
    let value = &object[key];
    read(value).ok_or_else(|| format!("{key}: expected {expected}, found {}", Kind(value)))
}

fn list<'v>(object: &'v Value, key: &str) -> Result<&'v [Value], String> {
    member(object, key, "a list", |value| value.as_array().map(Vec::as_slice))
}

fn text<'v>(object: &'v Value, key: &str) -> Result<&'v str, String> {
    member(object, key, "a string", Value::as_str)
}

/// A text that stands for something.
fn word<T>(
    object: &Value,
    key: &str,
    expected: &str,
    read: impl FnOnce(&str) -> Option<T>,
) -> Result<T, String> {
    member(object, key, expected, |value| value.as_str().and_then(read))
}

fn number(object: &Value, key: &str) -> Result<u64, String> {
    member(object, key, "a whole number", Value::as_u64)
}

fn count(object: &Value, key: &str) -> Result<u32, String> {
    let count = number(object, key)?;
    u32::try_from(count).map_err(|_| format!("{key}: expected at most {}, found {count}", u32::MAX))
}

fn stamp(object: &Value, key: &str) -> Result<Stamp, String> {
    number(object, key).map(Stamp::from_micros)
}

fn kind(object: &Value) -> Result<LoopKind, String> {
    word(object, "kind", "that of a loop", LoopKind::named)
}

fn name(object: &Value) -> Result<Name, String> {
    Name::new(text(object, "name")?).map_err(|error| error.to_string())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn letter(id: &str, name: &str, state: Health) -> Body {
        Body {
            id: id.to_owned(),
            name: name.parse().unwrap(),
            kind: LoopKind::Watcher,
            state,
            previous: Health::Ready,
            since: Stamp::from_micros(5),
            error: (state == Health::Down).then(|| "refused \"by\" größe".to_owned()),
            boot: "b0".to_owned(),
            n: 3,
            seq: 31,
            reminder: 0,
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let at = Stamp::from_micros;
        let kept = Kept {
            told: vec![
                ((LoopKind::Watcher, "db".parse().unwrap()), at(9), 2),
                ((LoopKind::Monitor, "db".parse().unwrap()), at(0), 0),
            ],
            letters: vec![
                (at(7), letter("b0-1", "db", Health::Down)),
                (at(8), letter("b0-2", "db", Health::Ready)),
            ],
        };
        assert_eq!(parse(&render(&kept)).unwrap(), kept);
        assert_eq!(parse(&render(&Kept::default())).unwrap(), Kept::default());
    }

    #[test]
    fn no_more_is_taken_than_may_wait() {
        let letters =
            (0..2 * CAPACITY).map(|n| (Stamp::from_micros(0), letter(&format!("b-{n}"), "db", Health::Down)));
        let kept = Kept { letters: letters.collect(), told: Vec::new() };
        assert_eq!(parse(&render(&kept)).unwrap().letters.len(), CAPACITY);
    }

    #[test]
    fn a_file_that_is_none_says_why() {
        let good = Kept {
            told: vec![((LoopKind::Watcher, "db".parse().unwrap()), Stamp::from_micros(9), 2)],
            letters: vec![(Stamp::from_micros(7), letter("b0-1", "db", Health::Down))],
        };
        let good = String::from_utf8(render(&good)).unwrap();
        let long = "x".repeat(MAX_ID + 1);
        for (from, to, expected) in [
            (&*good, "", "EOF"),
            (&*good, "[]", "format: expected a whole number, found null"),
            ("\"told\":[", "\"tall\":[", "told: expected a list, found null"),
            ("\"n\":3", "\"n\":\"3\"", "db: n: expected a whole number, found the string \"3\""),
            (&good[good.len() / 2..], "", "EOF"),
            ("\"format\":1", "\"format\":2", "format: expected 1, found 2"),
            ("\"told\":[{\"name\":\"db\"", "\"told\":[{\"name\":\"../db\"", "must begin with a letter"),
            (
                "\"reminders\":2",
                "\"reminders\":-2",
                "reminders: expected a whole number, found the number -2",
            ),
            ("\"reminders\":2", "\"reminders\":4294967296", "reminders: expected at most 4294967295, found"),
            (
                "\"kind\":\"watcher\"",
                "\"kind\":\"x\"",
                "db: kind: expected that of a loop, found the string \"x\"",
            ),
            (
                "\"state\":\"down\"",
                "\"state\":\"<b>\"",
                "db: state: expected a state, found the string \"<b>\"",
            ),
            (
                "\"previous\":\"ready\"",
                "\"previous\":\"\"",
                "db: previous: expected a state, found the string \"\"",
            ),
            (
                "b0-1",
                "a\\r\\nX: y",
                "db: id: expected letters, digits and -, found the string \"a\\r\\nX: y\"",
            ),
            ("b0-1", &long, "db: id: expected letters"),
            ("\"boot\":\"b0\"", "\"boot\":\"\"", "db: boot: expected letters"),
        ] {
            assert!(good.contains(from), "{from}");
            let error = parse(good.replacen(from, to, 1).as_bytes()).unwrap_err();
            assert!(error.contains(expected), "{to}: {error}");
        }
        // What is too long or has control characters is made harmless.
        let odd = good.replace("refused", &format!("a\\n{}", "x".repeat(100_000)));
        let error = parse(odd.as_bytes()).unwrap().letters.remove(0).1.error.unwrap();
        assert!(error.len() < 5000 && error.starts_with("a\\n"), "{}", error.len());
    }
}
