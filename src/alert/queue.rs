//! What waits to be sent: in which order, when again after a failure, and what
//! is given up for want of time or room.

use std::collections::VecDeque;
use std::time::Duration;

use super::Action;
use super::letter::{Body, CAPACITY, Who};
use crate::clock::Tick;

/// The delay after the first try that failed, and the longest.
const DELAYS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(300)];
/// For how long one alert is tried.
pub(super) const MAX_AGE: Duration = Duration::from_secs(6 * 3600);
/// An alert that waits to be sent.
#[derive(Debug, Clone)]
pub(super) struct Letter {
    pub(super) id: u64,
    pub(super) action: Action,
    pub(super) body: Body,
    written: Tick,
    /// How old it was then.
    before: Duration,
    tries: u32,
    due: Tick,
}

impl Letter {
    /// How old it is.
    pub(super) fn age(&self, now: Tick) -> Duration {
        now.since(self.written) + self.before
    }

    /// In how long it is tried again, if it was tried.
    pub(super) fn retry_in(&self, now: Tick) -> Option<Duration> {
        (self.tries > 0).then(|| self.due.since(now))
    }
}

/// The alerts that wait to be sent.
#[derive(Debug)]
pub(super) struct Queue {
    letters: VecDeque<Letter>,
    next_id: u64,
}

impl Default for Queue {
    fn default() -> Self {
        Self { letters: VecDeque::new(), next_id: 1 }
    }
}

impl Queue {
    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.letters.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Letter> {
        self.letters.iter()
    }

    /// Those about one loop, in their order.
    pub(super) fn about(&self, who: &Who) -> impl Iterator<Item = &Letter> {
        self.letters.iter().filter(move |letter| letter.body.is_about(who))
    }

    /// How many wait that are no reminders, for those give way; and whether one
    /// of them is to be tried for the first time now: what waits for another of
    /// its loop may do so for hours.
    pub(super) fn load(&self) -> (usize, bool) {
        let is_meant = |letter: &&Letter| letter.body.reminder == 0;
        let n = self.letters.iter().filter(is_meant).count();
        (n, self.firsts().filter(is_meant).any(|letter| letter.tries == 0))
    }

    /// The number of the next letter.
    pub(super) fn next_id(&self) -> u64 {
        self.next_id
    }

    /// Adds one that was `before` old already.
    pub(super) fn push(&mut self, now: Tick, action: Action, body: Body, before: Duration) {
        let id = self.next_id;
        self.next_id += 1;
        self.letters.push_back(Letter { id, action, body, written: now, before, tries: 0, due: now });
    }

    /// Puts the first one last.
    #[cfg(all(test, not(shuttle)))]
    pub(super) fn turn(&mut self) {
        self.letters.rotate_left(1);
    }

    /// Gives up one if there is no room for another, and gives it back.
    pub(super) fn make_room(&mut self) -> Option<Letter> {
        if self.letters.len() < CAPACITY {
            return None;
        }
        // A reminder says the least, and then what nobody takes.
        let reminder = self.letters.iter().position(|letter| letter.body.reminder > 0);
        let failed = || self.letters.iter().position(|letter| letter.tries > 0);
        self.letters.remove(reminder.or_else(failed).unwrap_or(0))
    }

    /// Has what waits about a loop sent in another way, at once; what there is
    /// no way for goes. Says whether any did.
    pub(super) fn redirect(&mut self, who: &Who, now: Tick, way: impl Fn(&Body) -> Option<Action>) -> bool {
        let before = self.letters.len();
        self.letters.retain_mut(|letter| {
            if !letter.body.is_about(who) {
                return true;
            }
            let Some(action) = way(&letter.body) else { return false };
            (letter.action, letter.due) = (action, now);
            true
        });
        self.letters.len() < before
    }

    /// The next to be sent: those of one loop keep their order, and of the loops
    /// it is the turn of whichever has waited longest since it was due. One that
    /// has failed is behind all that were due before its next try, so that none
    /// waits for longer than each of the others takes once.
    pub(super) fn next(&self, now: Tick) -> Option<Letter> {
        let due = self.firsts().filter(|letter| letter.due <= now);
        due.min_by_key(|letter| letter.due).cloned()
    }

    /// The first of each loop, in the order in which they were written.
    fn firsts(&self) -> impl Iterator<Item = &Letter> {
        let letters = self.letters.iter().enumerate();
        letters.filter(|(idx, _)| self.is_first(*idx)).map(|(_, letter)| letter)
    }

    fn is_first(&self, idx: usize) -> bool {
        let Body { kind, name, .. } = &self.letters[idx].body;
        self.letters.iter().take(idx).all(|earlier| (&earlier.body.kind, &earlier.body.name) != (kind, name))
    }

    /// When the first of each loop is due.
    pub(super) fn dues(&self) -> impl Iterator<Item = Tick> {
        self.firsts().map(|letter| letter.due)
    }

    /// Which loop one is about.
    pub(super) fn who_of(&self, id: u64) -> Option<Who> {
        self.letters.iter().find(|letter| letter.id == id).map(|letter| letter.body.who())
    }

    /// One was sent.
    pub(super) fn sent(&mut self, id: u64) {
        self.letters.retain(|letter| letter.id != id);
    }

    /// One could not be sent: it is tried again later or, when it is too old,
    /// given up and given back.
    pub(super) fn failed(&mut self, id: u64, now: Tick) -> Option<Letter> {
        let idx = self.letters.iter().position(|letter| letter.id == id)?;
        let letter = &mut self.letters[idx];
        let [first, most] = DELAYS;
        letter.due = now + first.saturating_mul(1 << letter.tries.min(16)).min(most);
        letter.tries += 1;
        if letter.age(now) >= MAX_AGE { self.letters.remove(idx) } else { None }
    }
}
