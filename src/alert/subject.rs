//! Whether somebody is to be told of one loop, and of what: a decision without
//! time, threads or sockets.

use std::sync::Arc;
use std::time::Duration;

use super::AlertConfig;
use super::behind::{ancestors, behind};
use super::letter::Body;
use crate::clock::Tick;
use crate::event::Health;
use crate::map::Map;
use crate::name::Name;
use crate::stamp::Stamp;

/// How long it is waited whether what a service requires is down, too.
pub(super) const HOLD: Duration = Duration::from_secs(15);
/// How long a loop that is gone is remembered: until one that takes its place
/// is heard of.
pub(super) const FORGET: Duration = Duration::from_secs(60);
/// The same for one that is known from before a restart: its descriptor may
/// have to be mended first.
pub(super) const FORGET_KEPT: Duration = Duration::from_secs(24 * 3600);

/// How a loop is, beside what its events have told.
#[derive(Debug, Clone)]
pub(super) struct View {
    pub(super) health: Health,
    /// How long ago it last had an answer.
    pub(super) age: Option<Duration>,
    /// Whether that was bad.
    pub(super) is_failing: bool,
}

/// All loops at one moment, and what they require.
pub(super) struct World<'a> {
    pub(super) views: Map<Name, View>,
    pub(super) requires: &'a dyn Fn(&Name) -> Vec<Name>,
}

impl World<'_> {
    fn is_down(&self, name: &Name) -> bool {
        self.views.get(name).is_some_and(|view| view.health == Health::Down)
    }

    /// Whether a loop has had an answer since then that settles how it is.
    fn has_answered(&self, name: &Name, since: Duration) -> bool {
        // One that is not there, or not yet asked, has nothing to say.
        let Some(view) = self.views.get(name) else { return true };
        view.health != Health::Ready || !view.is_failing && view.age.is_some_and(|age| age <= since)
    }
}

/// The last turn of a loop.
#[derive(Debug, Clone)]
pub(super) struct Turn {
    pub(super) state: Health,
    pub(super) previous: Health,
    pub(super) since: Stamp,
    pub(super) error: Option<String>,
    pub(super) n: u64,
    pub(super) seq: u64,
    /// Whether a down is worth telling: it was up, or its start is over.
    pub(super) counts: bool,
}

/// A down was told of which no ready was yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Told {
    /// The last time, or when it was known from a file.
    pub(super) at: Tick,
    /// How long before that the last time was.
    pub(super) before: Duration,
    /// How many reminders.
    pub(super) n: u32,
}

impl Told {
    pub(super) fn now(at: Tick, n: u32) -> Self {
        Self { at, before: Duration::ZERO, n }
    }

    fn again(&self, every: Duration) -> Tick {
        self.at + every.saturating_sub(self.before)
    }
}

#[derive(Debug, Default)]
pub(super) struct Subject {
    pub(super) config: Option<Arc<AlertConfig>>,
    pub(super) turn: Option<Turn>,
    /// Whether a step has seen that turn.
    pub(super) is_seen: bool,
    /// A down that was over before a step saw it: another's alert took long.
    pub(super) missed: Option<Turn>,
    /// A down that is not told before others have answered: since when.
    pub(super) held: Option<Tick>,
    /// Whether it is itself to be asked again first.
    is_doubted: bool,
    pub(super) behind: Option<Name>,
    pub(super) told: Option<Told>,
    pub(super) gone_since: Option<Tick>,
    /// Known from before a restart, and not heard of since.
    pub(super) is_kept: bool,
    /// What waited then, until it is known how it is sent.
    pub(super) kept: Vec<(Duration, Body)>,
    pub(super) sent: u64,
    pub(super) last_sent: Option<Stamp>,
    pub(super) failures: u64,
    pub(super) last_error: Option<String>,
    pub(super) lost: u64,
}

pub(super) enum Verdict {
    Nothing,
    /// A down, or the reminder of one.
    Down(u32),
    Ready,
}

impl Subject {
    pub(super) fn turned(&mut self, turn: Turn) {
        if turn.state != Health::Down {
            if self.is_down() && !self.is_seen && self.told.is_none() {
                let down = self.turn.take();
                self.missed = self.missed.take().or(down);
            }
            self.held = None;
            self.behind = None;
            self.is_doubted = false;
        }
        self.turn = Some(turn);
        self.is_seen = false;
    }

    /// What is to be told although it is over. Whether it was down because of
    /// something else cannot be found out any more.
    pub(super) fn take_missed(&mut self, name: &Name, world: &World<'_>) -> Option<Turn> {
        self.is_seen = true;
        let missed = self.missed.take()?;
        (self.told.is_none() && ancestors(name, world.requires).is_empty()).then_some(missed)
    }

    pub(super) fn patience(&self) -> Duration {
        if self.is_kept { FORGET_KEPT } else { FORGET }
    }

    pub(super) fn is_down(&self) -> bool {
        self.turn.as_ref().is_some_and(|turn| turn.state == Health::Down && turn.counts)
    }

    pub(super) fn reminder_due(&self) -> Option<Tick> {
        let every = self.config.as_ref()?.remind_every?;
        let told = self.told.filter(|_| self.is_down())?;
        Some(told.again(every))
    }

    pub(super) fn decide(
        &mut self,
        now: Tick,
        name: &Name,
        world: &World<'_>,
        asked: &mut Vec<Name>,
    ) -> Verdict {
        if self.turn.as_ref().is_some_and(|turn| turn.state == Health::Ready) {
            return if self.told.take().is_some() { Verdict::Ready } else { Verdict::Nothing };
        }
        if !self.is_down() {
            return Verdict::Nothing;
        }
        if let Some(parent) = behind(name, world.requires, &|name| world.is_down(name)) {
            self.behind = Some(parent);
            self.held = None;
            if let Some(told) = &mut self.told {
                // Its reminders wait for the parent, too.
                let every = self.config.as_ref().and_then(|config| config.remind_every);
                if every.is_some_and(|every| now >= told.again(every)) {
                    *told = Told::now(now, told.n);
                }
            }
            return Verdict::Nothing;
        }
        let was_behind = self.behind.take().is_some();
        if let Some(Told { n, .. }) = self.told {
            return match self.reminder_due() {
                Some(due) if now >= due => {
                    let n = n.saturating_add(1);
                    self.told = Some(Told::now(now, n));
                    Verdict::Down(n)
                }
                _ => Verdict::Nothing,
            };
        }
        let parents = ancestors(name, world.requires);
        let since = match self.held {
            Some(since) => since,
            None => {
                self.held = Some(now);
                self.is_doubted = was_behind;
                // The parent may be down for as long, and not know it yet; and
                // what was down behind it may be up again, as it is.
                asked.extend(parents.iter().filter(|name| world.views.contains_key(*name)).cloned());
                if was_behind {
                    asked.push(name.clone());
                }
                now
            }
        };
        let held_for = now.since(since);
        let has_answered = parents.iter().all(|parent| world.has_answered(parent, held_for));
        let is_asked = !self.is_doubted
            || world.views.get(name).is_some_and(|view| view.age.is_some_and(|age| age < held_for));
        if parents.is_empty() && !self.is_doubted
            || held_for > Duration::ZERO && has_answered && is_asked
            || held_for >= HOLD
        {
            self.held = None;
            self.is_doubted = false;
            self.told = Some(Told::now(now, 0));
            return Verdict::Down(0);
        }
        Verdict::Nothing
    }
}
