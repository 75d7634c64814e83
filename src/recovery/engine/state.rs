//! What an engine knows, behind its lock: runs that are watched, incidents,
//! and in which order they are due.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::afterwards::Trash;
use super::case::{Case, Place};
use super::job::{Chore, Role};
use super::table::Watches;
use super::watch::{Class, Poll, Polls, Watch};
use super::worker::Worker;
use crate::backoff::Random;
use crate::cancel::CancelToken;
use crate::clock::Tick;
use crate::event::Health;
use crate::map::Map;
use crate::recovery::incident::IncidentPhase;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::recovery) enum Stage {
    Idle,
    Running,
    Stopping,
}

pub(in crate::recovery) struct State {
    pub(in crate::recovery) stage: Stage,
    /// Takes nothing new: what is there is brought to its end.
    pub(in crate::recovery) draining: bool,
    /// How many stops are on their way.
    pub(in crate::recovery) stops: u32,
    pub(in crate::recovery) waited: bool,
    pub(in crate::recovery) token: CancelToken,
    /// The number of the last event.
    pub(super) n: u64,
    pub(super) next: u64,
    pub(super) random: Random,
    pub(in crate::recovery) watches: Watches,
    /// When the runs are polled that are in no poll.
    pub(super) polls: Polls,
    /// Under which name each run goes on that was restored under another, by
    /// its first name.
    pub(super) names: BTreeMap<String, String>,
    /// The first names of runs of which that is to be known no more, since the
    /// file was last held. A map of the same kind, so that its code is there once.
    pub(super) forgotten: BTreeMap<String, String>,
    pub(in crate::recovery) cases: Map<Arc<str>, Box<Case>>,
    pub(super) fresh: VecDeque<Arc<str>>,
    pub(super) retries: Map<(Tick, u64), Arc<str>>,
    pub(super) chores: VecDeque<(Chore, Duration)>,
    pub(in crate::recovery) workers: Vec<Worker>,
    /// A thread was refused: whoever waits asks again in a while.
    pub(super) is_short: bool,
    /// What the watchdog found nobody to need any more; it runs no user code.
    pub(super) trash: Vec<Trash>,
    pub(super) tally: [usize; 5],
    pub(in crate::recovery) books: Books,
}

/// What a status says of the whole.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::recovery) struct Books {
    pub(in crate::recovery) health: Health,
    pub(in crate::recovery) since: Tick,
    pub(in crate::recovery) transitions: u64,
    pub(in crate::recovery) last_poll: Option<Tick>,
    pub(in crate::recovery) last_success: Option<Tick>,
    pub(in crate::recovery) failures_in_a_row: u32,
    pub(in crate::recovery) runs: u64,
    pub(in crate::recovery) failures: u64,
    pub(in crate::recovery) panics: u64,
    pub(in crate::recovery) timeouts: u64,
    pub(in crate::recovery) late: u64,
    pub(in crate::recovery) latency: Option<Duration>,
}

impl State {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            stage: Stage::Idle,
            draining: false,
            stops: 0,
            waited: false,
            token: CancelToken::new(),
            n: 0,
            next: 0,
            random: Random::new(seed),
            watches: Watches::default(),
            polls: BTreeSet::new(),
            names: BTreeMap::new(),
            forgotten: BTreeMap::new(),
            cases: Map::new(),
            fresh: VecDeque::new(),
            retries: Map::new(),
            chores: VecDeque::new(),
            workers: Vec::new(),
            is_short: false,
            trash: Vec::new(),
            tally: [0; 5],
            books: Books::default(),
        }
    }

    pub(in crate::recovery) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// The key of a watched run, by its present name or by its first.
    pub(in crate::recovery) fn resolve(&self, run: &str) -> Option<Arc<str>> {
        if let Some(key) = self.watches.key(run) {
            return Some(key.clone());
        }
        if let Some((key, _)) = self.cases.get_key_value(run) {
            return Some(key.clone());
        }
        let present = self.names.get(run)?;
        let is_it = |watch: &&Watch| &*watch.first_run == run;
        self.watches.get(present).filter(is_it).map(|watch| watch.run.clone())
    }

    /// How many jobs of a role could be begun now, and when the next one can.
    pub(super) fn ahead(&self, role: Role, now: Tick, limit: usize) -> (usize, Tick) {
        let waiting = self.fresh.len() + self.chores.len();
        match role {
            Role::Poll => ahead(self.polls.iter().map(|(due, ..)| *due), 0, now, limit),
            Role::Attempt => ahead(self.retries.keys().map(|(due, _)| *due), waiting, now, limit),
        }
    }

    pub(in crate::recovery) fn counts(&self, class: Class) -> usize {
        self.tally[class as usize]
    }

    pub(in crate::recovery) fn next_poll(&self) -> Option<Tick> {
        self.polls.first().map(|(due, _, _)| *due)
    }

    /// For how long what is due first of a role is past its due, and how far
    /// such calls are apart.
    pub(in crate::recovery) fn late(&self, role: Role, now: Tick) -> Option<(Duration, Duration)> {
        let (due, apart) = match role {
            Role::Poll => {
                let (due, _, place) = self.polls.first()?;
                let last = self.watches.peek(*place).and_then(|watch| watch.last_poll);
                (*due, last.map_or(Duration::ZERO, |last| due.since(last)))
            }
            Role::Attempt => (self.retries.first()?.0.0, Duration::ZERO),
        };
        (now > due).then(|| (now.since(due), apart))
    }

    /// Notes what a watched run adds to the whole, after a change of it.
    pub(super) fn sort_in(&mut self, run: &str) {
        let case = self.cases.get(run).map(|case| case.incident.phase);
        let Some(watch) = self.watches.get_mut(run) else { return };
        let class = match case {
            Some(phase) if phase.is_pending() || phase == IncidentPhase::Completed => Class::Open,
            Some(IncidentPhase::Skipped) => Class::Open,
            Some(IncidentPhase::Exhausted | IncidentPhase::Cancelled) => Class::Lost,
            _ if watch.error.is_some() => Class::Failing,
            _ if watch.last_poll.is_none() => Class::Unpolled,
            _ => Class::Fine,
        };
        self.tally[watch.class as usize] -= 1;
        self.tally[class as usize] += 1;
        watch.class = class;
    }

    pub(super) fn put_poll(&mut self, run: &Arc<str>, due: Tick) {
        let n = self.number();
        let Some(place) = self.watches.place(run) else { return };
        if let Some(watch) = self.watches.at(place) {
            watch.put_poll(&mut self.polls, place, due, n);
        }
    }

    /// Has all those polled that are to be, in the order of their names. The set
    /// is made anew: to take each out of it first, it would be searched twice.
    pub(super) fn put_polls(&mut self, due: Tick, is_to_be: impl Fn(&mut Watch) -> bool) {
        let Self { watches, polls, next, .. } = self;
        let mut put = Vec::with_capacity(watches.len());
        watches.for_each(|place, watch| {
            if is_to_be(watch) {
                *next += 1;
                watch.poll = Poll::Due(due, *next);
            }
            if let Poll::Due(due, n) = watch.poll {
                put.push((due, n, place));
            }
        });
        *polls = crate::order::set(put);
    }

    pub(super) fn add_watch(&mut self, watch: Watch, due: Tick) {
        let run = watch.run.clone();
        self.tally[watch.class as usize] += 1;
        self.watches.insert(watch);
        self.put_poll(&run, due);
        self.sort_in(&run);
    }

    pub(super) fn take_watch(&mut self, run: &Arc<str>) -> Option<Watch> {
        let (place, watch) = self.watches.remove(run)?;
        self.tally[watch.class as usize] -= 1;
        if let Poll::Due(due, n) = watch.poll {
            self.polls.remove(&(due, n, place));
        }
        Some(watch)
    }

    /// Takes an incident out of the lines it stands in.
    pub(super) fn step_out(&mut self, run: &Arc<str>) {
        let Some(case) = self.cases.get_mut(run) else { return };
        match std::mem::replace(&mut case.place, Place::Rest) {
            Place::Fresh => self.fresh.retain(|one| one != run),
            Place::Retry(due, n) => _ = self.retries.remove(&(due, n)),
            Place::Attempt { .. } | Place::Rest => {}
        }
    }

    pub(super) fn queue_retry(&mut self, run: &Arc<str>, due: Tick) {
        self.step_out(run);
        let n = self.number();
        if let Some(case) = self.cases.get_mut(run) {
            case.place = Place::Retry(due, n);
            self.retries.insert((due, n), run.clone());
        }
    }

    pub(super) fn queue_fresh(&mut self, run: &Arc<str>) {
        self.step_out(run);
        if let Some(case) = self.cases.get_mut(run) {
            case.place = Place::Fresh;
            self.fresh.push_back(run.clone());
        }
    }

    /// The incident whose attempt has this ticket.
    pub(super) fn in_attempt(&mut self, run: &str, ticket: u64) -> Option<(&mut Case, &mut Random)> {
        let case = self.cases.get_mut(run)?;
        let is_it = matches!(&case.place, Place::Attempt { ticket: own, .. } if *own == ticket);
        is_it.then_some((&mut **case, &mut self.random))
    }

    pub(in crate::recovery) fn is_idle(&self) -> bool {
        self.chores.is_empty()
            && self.cases.values().all(|case| !case.incident.phase.is_pending())
            && self.workers.iter().all(|worker| worker.is_free(Role::Attempt))
    }

    /// Whether the caller is one of its threads.
    pub(in crate::recovery) fn is_own_call(&self) -> bool {
        self.workers.iter().any(|worker| worker.task.is_current())
    }

    pub(super) fn health(&self) -> Health {
        let total = self.watches.len();
        if self.stage != Stage::Running {
            Health::Unknown
        } else if self.counts(Class::Lost) > 0 {
            Health::Down
        } else if self.counts(Class::Failing) + self.counts(Class::Open) > 0 {
            Health::Degraded
        } else if total > 0 && self.counts(Class::Unpolled) == total {
            Health::Unknown
        } else {
            Health::Ready
        }
    }
}

/// How many could be begun now of those that wait and those that have a due,
/// and when the next one can.
fn ahead(dues: impl Iterator<Item = Tick>, waiting: usize, now: Tick, limit: usize) -> (usize, Tick) {
    let mut ready = waiting.min(limit);
    for due in dues {
        if due > now {
            return (ready, due);
        }
        if ready == limit {
            return (ready, now);
        }
        ready += 1;
    }
    (ready, Tick::NEVER)
}
