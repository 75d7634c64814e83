//! What was told and what waits to be, in a file, so that a restart neither
//! tells it again nor forgets how it goes on.

use serde::{Deserialize, Serialize};

use super::letter::{Body, CAPACITY};
use crate::event::{Health, LoopKind};
use crate::name::Name;
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
    pub(super) told: Vec<(Name, Stamp, u32)>,
    /// What waits to be sent, in order, and when it was written.
    pub(super) letters: Vec<(Stamp, Body)>,
}

#[derive(Serialize, Deserialize)]
struct Saved {
    format: u32,
    told: Vec<SavedTold>,
    letters: Vec<SavedLetter>,
}

#[derive(Serialize, Deserialize)]
struct SavedTold {
    name: String,
    /// Moments are in microseconds since 1970.
    at: u64,
    reminders: u32,
}

#[derive(Serialize, Deserialize)]
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
    let told = kept.told.iter().map(|(name, at, reminders)| SavedTold {
        name: name.to_string(),
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
    let saved: Saved = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    if saved.format != FORMAT {
        return Err(format!("format: expected {FORMAT}, found {}", saved.format));
    }
    let mut kept = Kept::default();
    for SavedTold { name, at, reminders } in saved.told {
        let name = Name::new(&name).map_err(|error| error.to_string())?;
        kept.told.push((name, Stamp::from_micros(at), reminders));
    }
    for letter in saved.letters.into_iter().take(CAPACITY) {
        kept.letters.push((Stamp::from_micros(letter.written), body(letter)?));
    }
    Ok(kept)
}

fn body(letter: SavedLetter) -> Result<Body, String> {
    let name = Name::new(&letter.name).map_err(|error| error.to_string())?;
    let health = |key: &str, word: &str| {
        Health::named(word).ok_or_else(|| format!("{name}: {key}: expected a state, found {word:?}"))
    };
    let kind = LoopKind::named(&letter.kind)
        .ok_or_else(|| format!("{name}: kind: expected that of a loop, found {:?}", letter.kind))?;
    // They become the header of a request.
    let is_word = |text: &str| {
        (1..=MAX_ID).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    for (key, text) in [("id", &letter.id), ("boot", &letter.boot)] {
        if !is_word(text) {
            return Err(format!("{name}: {key}: expected letters, digits and -, found {text:?}"));
        }
    }
    let (state, previous) = (health("state", &letter.state)?, health("previous", &letter.previous)?);
    Ok(Body {
        id: letter.id,
        kind,
        state,
        previous,
        name,
        since: Stamp::from_micros(letter.since),
        error: letter.error.map(|error| super::letter::told(&error)),
        boot: letter.boot,
        n: letter.n,
        seq: letter.seq,
        reminder: letter.reminder,
    })
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
            told: vec![("db".parse().unwrap(), at(9), 2), ("mqtt".parse().unwrap(), at(0), 0)],
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
            told: vec![("db".parse().unwrap(), Stamp::from_micros(9), 2)],
            letters: vec![(Stamp::from_micros(7), letter("b0-1", "db", Health::Down))],
        };
        let good = String::from_utf8(render(&good)).unwrap();
        let long = "x".repeat(MAX_ID + 1);
        for (from, to, expected) in [
            (&*good, "", "EOF"),
            (&*good, "[]", "invalid"),
            (&good[good.len() / 2..], "", "EOF"),
            ("\"format\":1", "\"format\":2", "format: expected 1, found 2"),
            ("\"told\":[{\"name\":\"db\"", "\"told\":[{\"name\":\"../db\"", "must begin with a letter"),
            ("\"reminders\":2", "\"reminders\":-2", "invalid value"),
            ("\"kind\":\"watcher\"", "\"kind\":\"x\"", "db: kind: expected that of a loop, found \"x\""),
            ("\"state\":\"down\"", "\"state\":\"<b>\"", "db: state: expected a state, found \"<b>\""),
            ("\"previous\":\"ready\"", "\"previous\":\"\"", "db: previous: expected a state, found \"\""),
            ("b0-1", "a\\r\\nX: y", "db: id: expected letters, digits and -, found \"a\\r\\nX: y\""),
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
