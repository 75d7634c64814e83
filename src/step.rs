//! What a call says it is doing: the latest step for those who look while it
//! has not returned, and all of them for one who asked to be told.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, Tick};
use crate::error::clip;
use crate::primitive::{AtomicBool, Mutex, Ordering};

/// The longest text of a step, in bytes.
const MAX_TEXT: usize = 512;
/// How many steps of one call are kept.
const MAX_STEPS: usize = 1000;

/// Something that a call did, and when; told by
/// [`Context::step`](crate::Context::step).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Step {
    /// How long after the beginning of the call.
    pub after: Duration,
    /// What it began to do, or found.
    pub text: Arc<str>,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1?} {}", self.after, self.text)
    }
}

/// The steps of the present call of one context.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    /// Whether there may be a present one: most calls say nothing, and so need
    /// no lock to begin.
    is_said: AtomicBool,
    state: Mutex<State>,
}

/// What says the steps of a call where its context is not at hand.
#[derive(Debug, Clone)]
pub(crate) struct Notes {
    pub(crate) steps: Arc<Steps>,
    pub(crate) clock: Clock,
}

impl Notes {
    pub(crate) fn step(&self, what: impl fmt::Display) {
        // Before the lock: the text may be a user's code.
        let text = what.to_string();
        self.steps.note(self.clock.now(), text);
    }
}

#[derive(Debug, Default)]
struct State {
    current: Option<(Tick, Arc<str>)>,
    /// Since when all are kept, and those so far. Boxed: most loops keep none.
    kept: Option<Box<(Tick, Vec<Step>)>>,
}

impl Steps {
    /// Begins a call that has said nothing yet.
    pub(crate) fn begin(&self) {
        if self.is_said.load(Ordering::Relaxed) {
            let mut state = self.state.lock();
            self.is_said.store(false, Ordering::Relaxed);
            let before = state.current.take();
            drop(state);
            drop(before);
        }
    }

    /// Notes what the call begins to do at `now`.
    pub(crate) fn note(&self, now: Tick, text: String) {
        let text: Arc<str> = clip(text, MAX_TEXT).into();
        let mut state = self.state.lock();
        if let Some((begun, steps)) = state.kept.as_deref_mut().filter(|(_, steps)| steps.len() < MAX_STEPS) {
            steps.push(Step { after: now.since(*begun), text: text.clone() });
        }
        self.is_said.store(true, Ordering::Relaxed);
        let before = state.current.replace((now, text));
        drop(state);
        drop(before);
    }

    /// What the call does, and since when.
    pub(crate) fn current(&self) -> Option<(Tick, Arc<str>)> {
        self.state.lock().current.clone()
    }

    /// Keeps all from now on.
    pub(crate) fn keep(&self, now: Tick) {
        self.state.lock().kept = Some(Box::new((now, Vec::new())));
    }

    /// Whether all are kept.
    pub(crate) fn is_kept(&self) -> bool {
        self.state.lock().kept.is_some()
    }

    /// Those that were kept.
    pub(crate) fn kept(&self) -> Vec<Step> {
        self.state.lock().kept.as_ref().map_or_else(Vec::new, |kept| kept.1.clone())
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Tick {
        Tick::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn the_latest_is_known_and_all_where_that_was_asked_for() {
        let steps = Steps::default();
        steps.note(at(1), "a".to_owned());
        assert_eq!(steps.current(), Some((at(1), "a".into())));
        assert!(steps.kept().is_empty());
        steps.begin();
        assert_eq!(steps.current(), None);
        steps.keep(at(2));
        steps.note(at(2), "b".to_owned());
        steps.note(at(5), "é".repeat(MAX_TEXT));
        let kept: Vec<_> =
            steps.kept().into_iter().map(|step| (step.after.as_secs(), step.text.len())).collect();
        assert_eq!(kept, [(0, 1), (3, MAX_TEXT + '…'.len_utf8())]);
        (0..2 * MAX_STEPS).for_each(|_| steps.note(at(6), "c".to_owned()));
        assert_eq!(steps.kept().len(), MAX_STEPS);
    }
}
