//! How each loop has been for the last day: its changes of state, not samples.
//!
//! Pure: it is told what happened and when, by events and by looks at the
//! loops, and asked for what a bar shows.

use std::collections::{HashMap, VecDeque};

use crate::event::{Event, EventKind, Health, LoopKind};
use crate::name::Name;
use crate::stamp::Stamp;
use crate::status::LoopStatus;

/// For how long changes are kept.
pub(super) const DAY: u64 = 24 * 60 * 60 * 1_000_000;
/// How many changes of one loop are kept; with more the oldest are forgotten.
pub(super) const MAX_CHANGES: usize = 64;
/// How many loops are remembered; with more, those that changed longest ago
/// are forgotten.
pub(super) const MAX_LOOPS: usize = 4096;
/// How far from now a change may be that is to come: clocks are set a little
/// all the time.
const AHEAD: u64 = 60 * 1_000_000;

/// The changes of all loops.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct History {
    /// Few have the same name and are of different kinds.
    loops: HashMap<Name, Vec<(LoopKind, Track)>>,
    n_loops: usize,
    /// No change is later than this.
    newest: u64,
    /// The number of the last event that was told.
    seen: u64,
}

/// The changes of one loop, the oldest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Track(VecDeque<(Stamp, Health)>);

/// A part of a bar: from where to where, in units of the bar, in which state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) from: u32,
    pub(super) to: u32,
    pub(super) health: Health,
}

/// How a loop was for a while.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Bar {
    /// In order, none touching another of the same state. Where nothing is
    /// known there is none.
    pub(super) pieces: Vec<Piece>,
    /// How much of the time that it is known it could take work, in
    /// thousandths, rounded down; `None` when nothing is known.
    pub(super) up: Option<u32>,
}

impl Track {
    /// Whether anything is news.
    fn note(&mut self, at: Stamp, health: Health) -> bool {
        // The wall clock may be set back, and looks may come after events.
        let at = self.0.back().map_or(at, |(last, _)| at.max(*last));
        if self.0.back().is_some_and(|(_, last)| *last == health) {
            return false;
        }
        if self.0.back().is_some_and(|(last, _)| *last == at) {
            self.0.pop_back();
            // What it was before may be what it is again.
            if self.0.back().is_some_and(|(_, last)| *last == health) {
                return true;
            }
        }
        self.0.push_back((at, health));
        let day_ago = at.as_micros().saturating_sub(DAY);
        // One that is older says how the day began.
        while self.0.len() > MAX_CHANGES || self.0.get(1).is_some_and(|(at, _)| at.as_micros() <= day_ago) {
            self.0.pop_front();
        }
        true
    }

    /// Forgets what is later than a moment.
    fn forget_after(&mut self, border: Stamp) {
        while self.0.back().is_some_and(|(at, _)| *at > border) {
            self.0.pop_back();
        }
    }

    pub(super) fn changes(&self) -> impl Iterator<Item = (Stamp, Health)> {
        self.0.iter().copied()
    }

    /// How it was in the `span` microseconds before `now`, on a bar of `width`
    /// units. A unit shows the worst that was in it.
    pub(super) fn bar(&self, now: Stamp, span: u64, width: u32) -> Bar {
        let now = now.as_micros();
        let begin = now.saturating_sub(span);
        let (mut known, mut good) = (0, 0);
        let mut pieces: Vec<Piece> = Vec::new();
        for (i, (at, health)) in self.0.iter().enumerate() {
            let end = self.0.get(i + 1).map_or(now, |(at, _)| at.as_micros().min(now));
            let from = at.as_micros().max(begin);
            if end <= from || *health == Health::Unknown {
                continue;
            }
            known += end - from;
            if *health != Health::Down {
                good += end - from;
            }
            let unit = |at: u64| (at - begin) * u64::from(width) / span.max(1);
            let last = ((end - begin) * u64::from(width)).div_ceil(span.max(1));
            let (mut from, to) = (unit(from) as u32, last as u32);
            if let Some(before) = pieces.last_mut() {
                if before.to > from {
                    // Both are in one unit.
                    if is_worse(before.health, *health) {
                        from = before.to;
                    } else {
                        before.to = from;
                    }
                }
                if before.to <= before.from {
                    pieces.pop();
                }
            }
            match pieces.last_mut() {
                Some(before) if before.health == *health && before.to == from => before.to = to.max(from),
                _ if to > from => pieces.push(Piece { from, to, health: *health }),
                _ => {}
            }
        }
        let up = (known > 0).then(|| (u128::from(good) * 1000 / u128::from(known)) as u32);
        Bar { pieces, up }
    }
}

fn is_worse(a: Health, b: Health) -> bool {
    let rank = |health| match health {
        Health::Unknown => 0,
        Health::Ready => 1,
        Health::Degraded => 2,
        Health::Down => 3,
    };
    rank(a) > rank(b)
}

impl History {
    /// Takes events in, in the order of their numbers; says whether any is
    /// news.
    pub(super) fn tell<'e>(&mut self, events: impl IntoIterator<Item = &'e Event>, now: Stamp) -> bool {
        let mut is_news = false;
        self.forget_after(now);
        for event in events {
            self.seen = self.seen.max(event.seq);
            if let Some(health) = health_after(event.kind, &event.what) {
                is_news |= self.note(event.kind, &event.source, event.at.min(now), health);
            }
        }
        is_news
    }

    /// The number of the last event that was taken in.
    pub(super) fn seen(&self) -> u64 {
        self.seen
    }

    /// Takes in how loops are: some change without an event.
    pub(super) fn look(&mut self, loops: &[LoopStatus], now: Stamp) -> bool {
        let mut is_news = false;
        self.forget_after(now);
        for status in loops {
            let known = self.track(status.kind, &status.name).and_then(|track| track.0.back());
            if known.is_none_or(|(_, health)| *health != status.health) {
                is_news |= self.note(status.kind, &status.name, status.since.min(now), status.health);
            }
        }
        is_news
    }

    /// Forgets what is still to come: the wall clock was set back, or was wrong
    /// when that was written. Until then nothing could be told.
    pub(super) fn forget_after(&mut self, now: Stamp) {
        let border = now.as_micros().saturating_add(AHEAD);
        if self.newest <= border {
            return;
        }
        self.newest = border;
        let border = Stamp::from_micros(border);
        self.loops.retain(|_, tracks| {
            tracks.retain_mut(|(_, track)| {
                track.forget_after(border);
                !track.0.is_empty()
            });
            !tracks.is_empty()
        });
        self.n_loops = self.loops.values().map(Vec::len).sum();
    }

    /// Takes in one change.
    pub(super) fn note(&mut self, kind: LoopKind, name: &Name, at: Stamp, health: Health) -> bool {
        self.newest = self.newest.max(at.as_micros());
        if let Some(tracks) = self.loops.get_mut(name) {
            if let Some((_, track)) = tracks.iter_mut().find(|(other, _)| *other == kind) {
                return track.note(at, health);
            }
        }
        if self.n_loops >= MAX_LOOPS {
            self.forget_some();
        }
        let mut track = Track::default();
        track.note(at, health);
        self.loops.entry(name.clone()).or_default().push((kind, track));
        self.n_loops += 1;
        true
    }

    /// Forgets the quarter of the loops that changed longest ago.
    fn forget_some(&mut self) {
        let last = |track: &Track| track.0.back().map_or(0, |(at, _)| at.as_micros());
        let mut all: Vec<u64> = self.loops.values().flatten().map(|(_, track)| last(track)).collect();
        all.sort_unstable();
        let mut n_left = (all.len() / 4).max(1);
        let Some(border) = all.get(n_left - 1).copied() else { return };
        self.loops.retain(|_, tracks| {
            tracks.retain(|(_, track)| {
                let goes = n_left > 0 && last(track) <= border;
                n_left -= usize::from(goes);
                !goes
            });
            !tracks.is_empty()
        });
        self.n_loops = self.loops.values().map(Vec::len).sum();
    }

    pub(super) fn track(&self, kind: LoopKind, name: &Name) -> Option<&Track> {
        self.loops.get(name)?.iter().find(|(other, _)| *other == kind).map(|(_, track)| track)
    }

    pub(super) fn tracks(&self) -> impl Iterator<Item = (LoopKind, &Name, &Track)> {
        self.loops
            .iter()
            .flat_map(|(name, tracks)| tracks.iter().map(move |(kind, track)| (*kind, name, track)))
    }
}

/// How a loop is after an event, where that says it.
fn health_after(kind: LoopKind, what: &EventKind) -> Option<Health> {
    Some(match what {
        EventKind::Ready { .. } | EventKind::ComponentReady => Health::Ready,
        EventKind::Down { .. } | EventKind::GaveUp { .. } | EventKind::ComponentGaveUp { .. } => Health::Down,
        EventKind::HealthChanged { to, .. } => *to,
        EventKind::ComponentNotReady { health } => *health,
        EventKind::Stopped | EventKind::ComponentStopped | EventKind::ComponentRemoved => Health::Unknown,
        // A watcher's component fails and its service may be what it was.
        EventKind::ComponentFailed { .. } if kind == LoopKind::Component => Health::Down,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEC: u64 = 1_000_000;

    fn at(secs: u64) -> Stamp {
        Stamp::from_micros(secs * SEC)
    }

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn track(changes: &[(u64, Health)]) -> Track {
        let mut track = Track::default();
        for (secs, health) in changes {
            track.note(at(*secs), *health);
        }
        track
    }

    #[test]
    fn a_bar_shows_the_worst_of_each_unit_and_nothing_where_nothing_is_known() {
        use Health::{Degraded, Down, Ready, Unknown};
        // A hundred seconds on ten units.
        for (changes, pieces, up) in [
            (&[][..], &[][..], None),
            (&[(0, Ready)], &[(0, 10, Ready)], Some(1000)),
            (&[(950, Ready)], &[(5, 10, Ready)], Some(1000)),
            (&[(0, Ready), (950, Down)], &[(0, 5, Ready), (5, 10, Down)], Some(500)),
            (
                &[(0, Ready), (954, Down), (955, Ready)],
                &[(0, 5, Ready), (5, 6, Down), (6, 10, Ready)],
                Some(990),
            ),
            (&[(0, Down), (999, Ready)], &[(0, 10, Down)], Some(10)),
            (&[(0, Ready), (905, Degraded)], &[(0, 10, Degraded)], Some(1000)),
            (&[(0, Ready), (940, Unknown), (960, Ready)], &[(0, 4, Ready), (6, 10, Ready)], Some(1000)),
            (&[(2000, Ready)], &[], None),
            (&[(0, Ready), (2000, Down)], &[(0, 10, Ready)], Some(1000)),
            (&[(0, Unknown)], &[], None),
        ] {
            let bar = track(changes).bar(at(1000), 100 * SEC, 10);
            let pieces: Vec<_> =
                pieces.iter().map(|&(from, to, health)| Piece { from, to, health }).collect();
            assert_eq!(bar, Bar { pieces, up }, "{changes:?}");
        }
    }

    #[test]
    fn changes_are_kept_for_a_day_and_bounded() {
        use Health::{Down, Ready};
        let day = DAY / SEC;
        let kept = track(&[(0, Ready), (10, Down), (20, Ready), (day + 15, Down)]);
        let changes: Vec<_> = kept.changes().collect();
        assert_eq!(changes, [(at(10), Down), (at(20), Ready), (at(day + 15), Down)]);
        let many: Vec<_> = (0..1000).map(|i| (i, if i % 2 == 0 { Ready } else { Down })).collect();
        assert_eq!(track(&many).changes().count(), MAX_CHANGES);
        // The same again, a clock that is set back, and two at one moment.
        let odd = track(&[(10, Ready), (11, Ready), (5, Down), (5, Ready), (20, Down)]);
        assert_eq!(odd.changes().collect::<Vec<_>>(), [(at(10), Ready), (at(20), Down)]);
    }

    #[test]
    fn no_more_than_so_many_loops_are_remembered() {
        let mut history = History::default();
        for i in 0..=MAX_LOOPS as u64 {
            history.note(LoopKind::Watcher, &name(&format!("w{i}")), at(i), Health::Ready);
        }
        let n_left = MAX_LOOPS - MAX_LOOPS / 4 + 1;
        assert_eq!((history.n_loops, history.tracks().count()), (n_left, n_left));
        assert!(history.track(LoopKind::Watcher, &name("w0")).is_none());
        assert!(history.track(LoopKind::Watcher, &name(&format!("w{MAX_LOOPS}"))).is_some());
    }

    #[test]
    fn events_and_looks_say_how_loops_are() {
        let mut history = History::default();
        let event = |seq, kind, what| Event { seq, n: seq, at: at(seq), source: name("db"), kind, what };
        let ready = EventKind::HealthChanged { from: Health::Unknown, to: Health::Ready, reason: None };
        let events = [
            event(1, LoopKind::Component, EventKind::ComponentReady),
            event(2, LoopKind::Watcher, EventKind::Started),
            event(3, LoopKind::Monitor, ready),
            event(4, LoopKind::Monitor, EventKind::Stopped),
        ];
        assert!(history.tell(&events, at(9)));
        assert_eq!(history.seen(), 4);
        assert!(history.track(LoopKind::Watcher, &name("db")).is_none());
        let changes: Vec<_> = history.track(LoopKind::Monitor, &name("db")).unwrap().changes().collect();
        assert_eq!(changes, [(at(3), Health::Ready), (at(4), Health::Unknown)]);
        let status = LoopStatus { since: at(9), ..super::super::routes::tests::of("db", Health::Down, true) };
        assert!(history.look(std::slice::from_ref(&status), at(9)));
        assert!(!history.look(&[status], at(9)));
        let changes: Vec<_> = history.track(LoopKind::Watcher, &name("db")).unwrap().changes().collect();
        assert_eq!(changes, [(at(9), Health::Down)]);
    }

    #[test]
    fn a_clock_that_was_ahead_leaves_nothing_that_is_still_to_come() {
        let of = |history: &History| -> Vec<_> {
            history.track(LoopKind::Watcher, &name("db")).unwrap().changes().collect()
        };
        let status = |secs, health| LoopStatus {
            since: at(secs),
            ..super::super::routes::tests::of("db", health, true)
        };
        let mut history = History::default();
        history.look(&[status(1_000, Health::Ready)], at(1_000));
        history.look(&[status(1_000_000, Health::Down)], at(1_000_010));
        // Set back: how it is counts from now on.
        history.look(&[status(1_000_000, Health::Down)], at(2_000));
        assert_eq!(of(&history), [(at(1_000), Health::Ready), (at(2_000), Health::Down)]);
        let event = Event {
            seq: 1,
            n: 1,
            at: at(1_000_000),
            source: name("db"),
            kind: LoopKind::Watcher,
            what: EventKind::Stopped,
        };
        history.tell([&event], at(2_500));
        assert_eq!(of(&history).last(), Some(&(at(2_500), Health::Unknown)));
        // A little is how clocks are.
        history.look(&[status(2_500, Health::Ready)], at(2_490));
        assert_eq!(of(&history).last(), Some(&(at(2_500), Health::Ready)));
        // One of whom there is nothing else is forgotten.
        history.note(LoopKind::Watcher, &name("gone"), at(9_000), Health::Ready);
        history.forget_after(at(3_000));
        assert!(history.track(LoopKind::Watcher, &name("gone")).is_none());
        assert_eq!((history.n_loops, history.tracks().count()), (1, 1));
    }
}
