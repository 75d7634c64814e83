//! Under which name a run goes on that was restored under another: kept in a
//! file, so that a program that starts again does not ask for the corrupted
//! one, and restore it once more.

use std::collections::BTreeMap;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Engine;
use super::afterwards::{Afterwards, Trash};
use super::state::{Stage, State};
use super::watch::Poll;
use crate::clock::Tick;
use crate::error::Result;
use crate::recovery::metadata::check_run;

/// The longest file, in bytes.
pub(super) const MAX_LEN: u64 = 16 << 20;

/// What the file holds.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// The present name of each run that has another than its first, by that.
    runs: BTreeMap<String, String>,
}

impl Engine {
    /// Has nobody else keep the file, and reads it.
    pub(super) fn hold_names(&self) -> Result<BTreeMap<String, String>> {
        let Some(file) = &self.file else { return Ok(BTreeMap::new()) };
        file.hold().map_err(|error| {
            let context = format!("{}: {error}", self.name);
            error.context(context)
        })?;
        Ok(file.load(parse).unwrap_or_default())
    }

    pub(super) fn let_go_of_names(&self) {
        if let Some(file) = &self.file {
            let saving = self.saving.lock();
            file.let_go();
            drop(saving);
        }
    }

    /// At a start: what is watched by its first name goes on under its present
    /// one.
    pub(super) fn take_names(
        state: &mut State,
        now: Tick,
        after: &mut Afterwards,
        kept: BTreeMap<String, String>,
    ) {
        let State { names, forgotten, .. } = state;
        // What is known already is newer.
        for (_, present) in names.iter_mut() {
            if let Some(next) = kept.get(present) {
                *present = next.clone();
            }
        }
        for (first, present) in kept {
            let present = names.get(&present).cloned().unwrap_or(present);
            names.entry(first).or_insert(present);
        }
        names.retain(|first, present| first != present && !forgotten.contains_key(first));
        after.moved |= !std::mem::take(forgotten).is_empty();
        let is_first = |(run, first): &(Arc<str>, Arc<str>)| run == first;
        let watched = state.watches.iter().map(|(run, watch)| (run.clone(), watch.first_run.clone()));
        let moved: Vec<(Arc<str>, Arc<str>)> = watched
            .filter(is_first)
            .filter_map(|(run, _)| Some((run.clone(), state.names.get(&*run)?.as_str().into())))
            .collect();
        for (run, present) in moved {
            let Some(mut watch) = state.take_watch(&run) else { continue };
            if state.watches.contains(&present) {
                after.trash.extend(watch.metadata.handle.take().map(Trash::Handle));
                continue;
            }
            watch.poll = Poll::none(now);
            watch.run = present;
            state.add_watch(watch, now);
        }
    }

    /// A run goes on under another name.
    pub(super) fn note_name(state: &mut State, after: &mut Afterwards, first: &str, present: &str) {
        let names = &mut state.names;
        // It is a present name again, if it ever was another.
        after.moved |= names.remove(present).is_some();
        if first == present {
            return;
        }
        // Who knows the run by a name before this one finds it too.
        for (_, name) in names.iter_mut().filter(|(_, name)| **name == *first) {
            *name = present.to_owned();
        }
        names.insert(first.to_owned(), present.to_owned());
        after.moved = true;
    }

    /// A run is watched no more, under any name.
    pub(super) fn forget_names(&self, state: &mut State, after: &mut Afterwards, first: &str, present: &str) {
        let State { names, forgotten, stage, .. } = state;
        // The file cannot be written now, and is read at the next start.
        let is_read = self.file.is_some() && *stage != Stage::Running;
        if is_read {
            forgotten.insert(first.to_owned(), String::new());
        }
        names.retain(|one, other| {
            let goes = one == first || other == present;
            if goes && is_read {
                forgotten.insert(one.clone(), String::new());
            }
            after.moved |= goes;
            !goes
        });
    }

    /// Writes what is known now. Without the lock: a disk may take its time.
    pub(super) fn keep_names(&self) {
        let Some(file) = &self.file else { return };
        let saving = self.saving.lock();
        let mut text = write(&self.lock().names);
        if text.len() as u64 > MAX_LEN {
            // Of those that nobody watches nothing is kept for ever.
            let mut state = self.lock();
            let State { names, watches, .. } = &mut *state;
            names.retain(|_, present| watches.contains(present));
            text = write(names);
        }
        file.save(&text);
        drop(saving);
    }
}

fn write(names: &BTreeMap<String, String>) -> Vec<u8> {
    serde_json::to_vec(&Kept { runs: names.clone() }).unwrap_or_default()
}

fn parse(text: &[u8]) -> std::result::Result<BTreeMap<String, String>, String> {
    let kept: Kept = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    kept.runs
        .iter()
        .flat_map(|(first, present)| [first, present])
        .try_for_each(|run| check_run(run))
        .map_err(|error| error.to_string())?;
    Ok(kept.runs)
}
