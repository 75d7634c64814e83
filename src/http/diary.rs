//! The history in a file, so that it is there after a restart.
//!
//! Small and whole: written beside and put in its place. One that cannot be
//! read is left out with a warning, as if there were none.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::history::{History, MAX_CHANGES, MAX_LOOPS};
use crate::event::{Health, LoopKind};
use crate::name::Name;
use crate::stamp::Stamp;
use crate::state_file::StateFile;

/// How long a change may wait until it is written, so that no more is.
pub(super) const SOON: Duration = Duration::from_secs(60);
/// How often it is written while nothing changes: this much of the past may
/// be unknown after a loss of power.
pub(super) const SELDOM: Duration = Duration::from_secs(600);
/// As much as a full history takes, and more.
const MAX_LEN: u64 = 16 * 1024 * 1024;
const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Saved {
    format: u32,
    /// When it was written, in microseconds since 1970.
    at: u64,
    loops: Vec<SavedLoop>,
}

#[derive(Serialize, Deserialize)]
struct SavedLoop {
    kind: String,
    name: String,
    changes: Vec<(u64, String)>,
}

/// Where the history is kept.
#[derive(Debug)]
pub(super) struct Diary(StateFile);

impl Diary {
    pub(super) fn new(path: PathBuf) -> Self {
        Self(StateFile::new("http.history_file", path, MAX_LEN))
    }

    /// Has nobody else keep it until it is let go.
    pub(super) fn hold(&self) -> crate::error::Result<()> {
        self.0.hold()
    }

    /// Lets another keep it.
    pub(super) fn let_go(&self) {
        self.0.let_go();
    }

    /// What was kept, with nothing known since then; empty when that is not
    /// to be had.
    pub(super) fn load(&self) -> History {
        self.0.load(parse).unwrap_or_default()
    }

    /// Keeps it.
    pub(super) fn save(&self, text: &[u8]) {
        self.0.save(text);
    }
}

pub(super) fn render(history: &History, at: Stamp) -> Vec<u8> {
    let loops = history.tracks().map(|(kind, name, track)| SavedLoop {
        kind: kind.as_str().to_owned(),
        name: name.as_str().to_owned(),
        changes: track.changes().map(|(at, health)| (at.as_micros(), health.as_str().to_owned())).collect(),
    });
    let saved = Saved { format: FORMAT, at: at.as_micros(), loops: loops.collect() };
    // Names and numbers always are JSON.
    serde_json::to_vec(&saved).unwrap_or_default()
}

fn parse(text: &[u8]) -> Result<History, String> {
    let saved: Saved = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    if saved.format != FORMAT {
        return Err(format!("format: expected {FORMAT}, found {}", saved.format));
    }
    let mut history = History::default();
    for SavedLoop { kind, name, changes } in saved.loops.into_iter().take(MAX_LOOPS) {
        let kind =
            LoopKind::named(&kind).ok_or_else(|| format!("kind: expected that of a loop, found {kind:?}"))?;
        let name = Name::new(&name).map_err(|error| error.to_string())?;
        for (at, word) in changes.into_iter().take(MAX_CHANGES) {
            let health =
                Health::named(&word).ok_or_else(|| format!("{name}: expected a state, found {word:?}"))?;
            history.note(kind, &name, Stamp::from_micros(at), health);
        }
        history.note(kind, &name, Stamp::from_micros(saved.at), Health::Unknown);
    }
    Ok(history)
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    fn at(secs: u64) -> Stamp {
        Stamp::from_micros(secs * 1_000_000)
    }

    fn changes(history: &History, name: &str) -> Vec<(Stamp, Health)> {
        let track = history.track(LoopKind::Watcher, &name.parse().expect("a name"));
        track.map(|track| track.changes().collect()).unwrap_or_default()
    }

    #[test]
    fn what_is_written_is_read_with_nothing_known_since_then() {
        let mut history = History::default();
        history.note(LoopKind::Watcher, &"db".parse().unwrap(), at(1), Health::Ready);
        history.note(LoopKind::Watcher, &"db".parse().unwrap(), at(5), Health::Down);
        let read = parse(&render(&history, at(9))).unwrap();
        assert_eq!(
            changes(&read, "db"),
            [(at(1), Health::Ready), (at(5), Health::Down), (at(9), Health::Unknown)]
        );
    }

    #[test]
    fn a_file_that_is_no_history_says_why() {
        for (text, expected) in [
            ("", "EOF"),
            ("[]", "invalid"),
            (r#"{"format":2,"at":0,"loops":[]}"#, "format: expected 1, found 2"),
            (r#"{"format":1,"at":-1,"loops":[]}"#, "invalid value"),
            (r#"{"format":1,"at":0,"loops":[{"kind":"x","name":"a","changes":[]}]}"#, "kind: expected"),
            (r#"{"format":1,"at":0,"loops":[{"kind":"watcher","name":"../a","changes":[]}]}"#, "a"),
            (
                r#"{"format":1,"at":0,"loops":[{"kind":"watcher","name":"a","changes":[[1,"<b>"]]}]}"#,
                "a: expected a state, found \"<b>\"",
            ),
        ] {
            let error = parse(text.as_bytes()).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
        let odd = r#"{"format":1,"at":18446744073709551615,"loops":[{"kind":"watcher","name":"a","changes":[[18446744073709551615,"down"],[0,"ready"]]}]}"#;
        assert!(parse(odd.as_bytes()).is_ok());
    }

    #[test]
    fn a_file_is_replaced_whole_and_a_bad_one_is_left_out() {
        let path = std::env::temp_dir().join(format!("loopkeeper-diary-{}", std::process::id()));
        let diary = Diary::new(path.clone());
        diary.hold().unwrap();
        assert_eq!(diary.load(), History::default());
        let mut history = History::default();
        history.note(LoopKind::Watcher, &"db".parse().unwrap(), at(1), Health::Ready);
        diary.save(&render(&history, at(2)));
        assert_eq!(changes(&diary.load(), "db").len(), 2);
        std::fs::write(&path, "{\"format\":1,").unwrap();
        assert_eq!(diary.load(), History::default());
        std::fs::remove_file(&path).unwrap();
        std::fs::remove_file(path.with_extension("lock")).unwrap();
    }
}
