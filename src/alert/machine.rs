//! When is somebody told, and of what: a machine without time, threads or
//! sockets.

use std::sync::Arc;
use std::time::Duration;

use super::ledger::Kept;
use super::letter::{Body, CAPACITY, Who, told};
use super::queue::{Letter, Queue};
use super::subject::{Subject, Told, Turn, Verdict, World};
use super::{AlertConfig, AlertStatus};
use crate::clock::Tick;
use crate::event::{Event, EventKind, Health};
use crate::map::Map;
use crate::name::Name;
use crate::stamp::Stamp;

/// How often is looked meanwhile.
const LOOK: Duration = Duration::from_millis(100);

/// How many alerts came to which end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) sent: u64,
    pub(super) failed: u64,
    pub(super) lost: u64,
    pub(super) suppressed: u64,
}

#[derive(Debug)]
pub(super) struct Machine {
    boot: String,
    subjects: Map<Who, Subject>,
    queue: Queue,
    pub(super) counts: Counts,
    /// Whether there is something to be kept that was not.
    is_news: bool,
}

impl Machine {
    pub(super) fn new(boot: &str) -> Self {
        Self {
            boot: boot.to_owned(),
            subjects: Map::new(),
            queue: Queue::default(),
            counts: Counts::default(),
            is_news: false,
        }
    }

    /// Goes on where one ended before.
    pub(super) fn restore(&mut self, now: Tick, wall: Stamp, kept: Kept) {
        let ago = |then: Stamp| Duration::from_micros(wall.as_micros().saturating_sub(then.as_micros()));
        for (who, at, n) in kept.told {
            let subject = self.subjects.get_or_default(who);
            subject.is_kept = true;
            subject.told = Some(Told { at: now, before: ago(at), n });
        }
        for (written, body) in kept.letters {
            let subject = self.subjects.get_or_default(body.who());
            subject.is_kept = true;
            subject.kept.push((ago(written), body));
        }
    }

    /// What is to be known after a restart; `None` when nothing of it has
    /// changed.
    pub(super) fn keep(&mut self, now: Tick, wall: Stamp) -> Option<Kept> {
        if !std::mem::take(&mut self.is_news) {
            return None;
        }
        let before = |ago: Duration| {
            let micros = u64::try_from(ago.as_micros()).unwrap_or(u64::MAX);
            Stamp::from_micros(wall.as_micros().saturating_sub(micros))
        };
        let mut kept = Kept::default();
        for (who, subject) in self.subjects.iter() {
            if let Some(Told { at, before: earlier, n }) = subject.told {
                kept.told.push((who.clone(), before(now.since(at) + earlier), n));
            }
            kept.letters.extend(subject.kept.iter().map(|(ago, body)| (before(*ago), body.clone())));
        }
        let waiting = self.queue.iter().map(|letter| (before(letter.age(now)), letter.body.clone()));
        kept.letters.extend(waiting);
        Some(kept)
    }

    /// What was to be kept was not.
    pub(super) fn not_kept(&mut self) {
        self.is_news = true;
    }

    /// Takes the alerts that there are. Of loops that have none any more
    /// nothing is told, and after a while nothing is known.
    pub(super) fn configure(&mut self, now: Tick, configs: Map<Who, Arc<AlertConfig>>) {
        for (who, subject) in self.subjects.iter_mut() {
            if !configs.contains_key(who) {
                subject.config = None;
            }
        }
        for (who, config) in configs {
            let subject = self.subjects.get_or_default(who.clone());
            if subject.config.as_ref().is_none_or(|before| !Arc::ptr_eq(before, &config)) {
                // Whoever mends an address wants to hear what waits there.
                self.is_news |= self.queue.redirect(&who, now, |body| config.action(body.state).cloned());
            }
            subject.is_kept = false;
            for (before, body) in std::mem::take(&mut subject.kept) {
                self.is_news = true;
                if let Some(action) = config.action(body.state).cloned() {
                    self.queue.push(now, action, body, before);
                }
            }
            subject.config = Some(config);
        }
        for subject in self.subjects.values_mut() {
            subject.gone_since = match &subject.config {
                Some(_) => None,
                None => subject.gone_since.or(Some(now)),
            };
        }
        let is_news = &mut self.is_news;
        self.subjects.retain(|_, subject| {
            let stays = subject.gone_since.is_none_or(|since| now.since(since) < subject.patience());
            *is_news |= !stays;
            stays
        });
    }

    /// Takes note of an event.
    pub(super) fn hear(&mut self, event: &Event) {
        let Some(subject) = self.subjects.get_mut(&(event.kind, event.source.clone())) else { return };
        let turn = |state, previous, error: Option<String>, counts| Turn {
            state,
            previous,
            since: event.at,
            error: error.map(|error| told(&error)),
            n: event.n,
            seq: event.seq,
            counts,
        };
        match &event.what {
            EventKind::Ready { from, .. } => subject.turned(turn(Health::Ready, *from, None, true)),
            EventKind::Down { from, error, .. } => {
                // What was never up may still be starting.
                let error = Some(error.report().to_string());
                subject.turned(turn(Health::Down, *from, error, *from != Health::Unknown));
            }
            EventKind::GaveUp { error, .. } => match &mut subject.turn {
                Some(turn) if turn.state == Health::Down => {
                    turn.counts = true;
                    subject.is_seen = false;
                }
                _ => {
                    let error = Some(error.report().to_string());
                    subject.turned(turn(Health::Down, Health::Unknown, error, true));
                }
            },
            EventKind::HealthChanged { from, to, reason } => {
                subject.turned(turn(*to, *from, reason.as_deref().map(str::to_owned), true));
            }
            EventKind::Stopped => {
                subject.turn = None;
                subject.missed = None;
                subject.held = None;
                subject.behind = None;
            }
            _ => {}
        }
    }

    /// Takes a loop as it is, where its events are lost.
    pub(super) fn see(&mut self, who: &Who, state: Health, since: Stamp, error: Option<&str>) {
        let Some(subject) = self.subjects.get_mut(who) else { return };
        let previous = subject.turn.as_ref().map_or(Health::Unknown, |turn| turn.state);
        if previous != state && state != Health::Unknown {
            let error = error.map(told);
            subject.turned(Turn { state, previous, since, error, n: 0, seq: 0, counts: true });
        }
    }

    /// Whether what others are has to be known for the next step.
    pub(super) fn wants_world(&self) -> bool {
        self.subjects.values().any(|subject| subject.is_down() || subject.missed.is_some())
    }

    /// Decides; names whoever is to be asked again at once.
    pub(super) fn step(&mut self, now: Tick, world: &World<'_>) -> Vec<Name> {
        let mut asked = Vec::new();
        let mut letters = Vec::new();
        let (mut n, mut is_busy) = self.queue.load();
        for (who, subject) in self.subjects.iter_mut() {
            let name = &who.1;
            let Some(config) = subject.config.clone() else { continue };
            if !config.is_empty() && is_busy && n + usize::from(subject.missed.is_some()) >= CAPACITY {
                // It stays as it is, and is decided when there is room: none of
                // many that go down at once is lost while others are sent.
                continue;
            }
            if let Some(turn) = subject.take_missed(name, world) {
                // Where something waits to be told, that says as much.
                if self.queue.about(who).next().is_none() {
                    subject.told = Some(Told::now(now, 0));
                    letters.push((who.clone(), turn, 0));
                    self.is_news = true;
                    n += 1;
                }
            }
            let suppressed = subject.behind.is_some();
            let verdict = subject.decide(now, name, world, &mut asked);
            self.counts.suppressed += u64::from(!suppressed && subject.behind.is_some());
            let reminder = match verdict {
                Verdict::Nothing => continue,
                Verdict::Down(reminder) => reminder,
                Verdict::Ready => 0,
            };
            self.is_news = true;
            let action = subject.turn.as_ref().and_then(|turn| config.action(turn.state));
            if action.is_some() && reminder == 0 {
                n += 1;
                is_busy |= self.queue.about(who).next().is_none();
            }
            letters.extend(subject.turn.clone().map(|turn| (who.clone(), turn, reminder)));
        }
        for (who, turn, reminder) in letters {
            self.write(now, &who, &turn, reminder);
        }
        asked
    }

    fn write(&mut self, now: Tick, who: &Who, turn: &Turn, reminder: u32) {
        if reminder > 0 && self.queue.about(who).next().is_some() {
            // Something is on its way that says as much.
            return;
        }
        let Some(config) = self.subjects.get(who).and_then(|subject| subject.config.as_ref()) else {
            return;
        };
        let Some(action) = config.action(turn.state).cloned() else { return };
        let body = Body {
            id: format!("{}-{}", self.boot, self.queue.next_id()),
            name: who.1.clone(),
            kind: who.0,
            state: turn.state,
            previous: turn.previous,
            since: turn.since,
            error: turn.error.clone(),
            boot: self.boot.clone(),
            n: turn.n,
            seq: turn.seq,
            reminder,
        };
        if let Some(letter) = self.queue.make_room() {
            self.lose(&letter);
        }
        self.queue.push(now, action, body, Duration::ZERO);
    }

    fn lose(&mut self, letter: &Letter) {
        self.counts.lost += 1;
        self.is_news = true;
        if let Some(subject) = self.subjects.get_mut(&letter.body.who()) {
            subject.lost += 1;
        }
    }

    /// The next alert to be sent; those of one loop keep their order.
    pub(super) fn next(&self, now: Tick) -> Option<Letter> {
        self.queue.next(now)
    }

    /// Takes note of how sending it went.
    pub(super) fn done(&mut self, id: u64, now: Tick, wall: Stamp, result: Result<(), String>) {
        let Some(who) = self.queue.who_of(id) else { return };
        let subject = self.subjects.get_mut(&who);
        match result {
            Ok(()) => {
                self.queue.sent(id);
                self.counts.sent += 1;
                self.is_news = true;
                if let Some(subject) = subject {
                    subject.sent += 1;
                    subject.last_sent = Some(wall);
                    subject.last_error = None;
                }
            }
            Err(error) => {
                self.counts.failed += 1;
                if let Some(subject) = subject {
                    subject.failures += 1;
                    subject.last_error = Some(error);
                }
                if let Some(letter) = self.queue.failed(id, now) {
                    self.lose(&letter);
                }
            }
        }
    }

    /// When to look again at the latest.
    pub(super) fn due(&self, now: Tick) -> Tick {
        let subjects = self.subjects.values().flat_map(|subject| {
            let gone = subject.gone_since.map(|since| since + subject.patience());
            let held = (subject.held.is_some() && subject.config.is_some()).then(|| now + LOOK);
            [gone, held, subject.reminder_due()]
        });
        self.queue.dues().chain(subjects.flatten()).min().unwrap_or(Tick::NEVER)
    }

    /// How many alerts wait.
    pub(super) fn pending(&self) -> usize {
        self.queue.len()
    }

    /// The first of this name that has alerts.
    pub(super) fn named(&self, name: &Name) -> Option<&Who> {
        let mut known = self.subjects.iter().filter(|(_, subject)| subject.config.is_some());
        known.find(|(who, _)| who.1 == *name).map(|(who, _)| who)
    }

    pub(super) fn status(&self, who: &Who, now: Tick) -> Option<AlertStatus> {
        let subject = self.subjects.get(who).filter(|subject| subject.config.is_some())?;
        Some(AlertStatus {
            told: subject.told.is_some(),
            pending: self.queue.about(who).count(),
            sent: subject.sent,
            last_sent: subject.last_sent,
            failures: subject.failures,
            last_error: subject.last_error.clone(),
            retry_in: self.queue.about(who).next().and_then(|letter| letter.retry_in(now)),
            lost: subject.lost,
            suppressed_by: subject.behind.clone(),
        })
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests;
