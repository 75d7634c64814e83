//! Requests that wait for events, without a thread of their own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::response::Form;
use crate::event_log::{Bell, EventLog};

/// The longest a request may wait.
pub(super) const MAX_WAIT: Duration = Duration::from_secs(300);

/// A request for the events after a number, while there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parked {
    pub(super) ticket: u64,
    pub(super) after: u64,
    pub(super) max: usize,
    pub(super) form: Form,
    /// When it is answered that there is none.
    pub(super) until: Instant,
}

/// All requests that wait, and what wakes the thread that has them.
#[derive(Debug)]
pub(super) struct Lot {
    /// By their tickets: a later request has a greater one.
    parked: Vec<Parked>,
    /// The tickets of those that were given up since the last look.
    given_up: Vec<u64>,
    bell: Arc<Bell>,
}

impl Lot {
    /// An empty lot. `ring` is called by an event while requests wait; it must
    /// have [`ready`](Self::ready) called soon.
    pub(super) fn new(log: &EventLog, ring: impl Fn() + Send + Sync + 'static) -> Self {
        let bell = Arc::new(Bell::new(ring));
        log.hang(&bell);
        Self { parked: Vec::new(), given_up: Vec::new(), bell }
    }

    pub(super) fn park(&mut self, parked: Parked) {
        self.parked.push(parked);
    }

    /// Takes out those that are to be answered: there are events, or never
    /// will be with such a number, or their time is over, or all are `ending`.
    /// The others ring from now on when there is one.
    pub(super) fn ready(&mut self, log: &EventLog, now: Instant, ending: bool) -> Vec<Parked> {
        if self.parked.is_empty() {
            return Vec::new();
        }
        if !self.given_up.is_empty() {
            let mut gone = std::mem::take(&mut self.given_up);
            crate::order::sort(&mut gone);
            self.parked.retain(|parked| gone.binary_search(&parked.ticket).is_err());
        }
        // Before the look: an event that the look misses rings.
        self.bell.set();
        let newest = log.newest();
        let (ready, parked) = std::mem::take(&mut self.parked)
            .into_iter()
            .partition(|parked| ending || parked.after != newest || now >= parked.until);
        self.parked = parked;
        ready
    }

    /// Takes one out before its time: for its place.
    pub(super) fn give_up(&mut self, ticket: u64) -> Option<Parked> {
        let idx = self.parked.binary_search_by_key(&ticket, |parked| parked.ticket).ok()?;
        self.given_up.push(ticket);
        Some(self.parked[idx])
    }

    /// Has requests answered in the next turn.
    pub(super) fn hurry(&mut self, mut tickets: Vec<u64>, now: Instant) {
        if tickets.is_empty() {
            return;
        }
        crate::order::sort(&mut tickets);
        let parked = self.parked.iter_mut().filter(|parked| tickets.binary_search(&parked.ticket).is_ok());
        parked.for_each(|parked| parked.until = now);
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;
    use crate::clock::real_deadline;
    use crate::event::{Event, EventKind, LoopKind};
    use crate::stamp::Stamp;

    fn append(log: &EventLog) {
        log.append(Event {
            seq: 0,
            n: 0,
            at: Stamp::from_micros(0),
            source: "s".parse().expect("a name"),
            kind: LoopKind::Watcher,
            what: EventKind::Started,
        });
    }

    #[test]
    fn who_waits_is_let_out_by_an_event_by_time_and_by_an_end() {
        let log = EventLog::default();
        append(&log);
        let (rings, rung) = crossbeam_channel::unbounded();
        let mut lot = Lot::new(&log, move || rings.send(()).unwrap());
        let now = real_deadline(Duration::ZERO);
        let later = |secs| now + Duration::from_secs(secs);
        let park = |lot: &mut Lot, ticket, after, secs| {
            lot.park(Parked { ticket, after, max: 1, form: Form::default(), until: later(secs) });
        };
        let tickets = |ready: Vec<Parked>| ready.iter().map(|parked| parked.ticket).collect::<Vec<_>>();
        assert!(lot.ready(&log, now, true).is_empty());
        append(&log);
        assert!(rung.is_empty(), "nobody waits");
        // Of the past, of the present, of another boot.
        park(&mut lot, 1, 1, 30);
        park(&mut lot, 2, 2, 30);
        park(&mut lot, 3, 9, 30);
        assert_eq!(tickets(lot.ready(&log, now, false)), [1, 3]);
        assert!(rung.is_empty());
        append(&log);
        append(&log);
        assert_eq!(rung.len(), 1);
        assert_eq!(tickets(lot.ready(&log, now, false)), [2]);
        park(&mut lot, 4, 4, 10);
        park(&mut lot, 5, 4, 20);
        park(&mut lot, 6, 4, 30);
        park(&mut lot, 7, 4, 25);
        assert!(lot.ready(&log, later(9), false).is_empty());
        assert_eq!(tickets(lot.ready(&log, later(10), false)), [4]);
        assert_eq!(lot.give_up(5).map(|parked| parked.ticket), Some(5));
        assert_eq!(lot.give_up(4), None);
        lot.hurry(Vec::new(), now);
        lot.hurry(vec![9, 7], now);
        assert_eq!(tickets(lot.ready(&log, now, false)), [7]);
        assert_eq!(tickets(lot.ready(&log, now, true)), [6]);
        assert_eq!(lot.give_up(6), None);
    }
}
