//! The last events of an environment, numbered, for readers that come by now
//! and then.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Weak};

use crate::event::Event;
use crate::primitive::{AtomicBool, AtomicU64, Mutex, Ordering};
use crate::subscription::{DEFAULT_CAPACITY, Hub, Subscription};

/// How many events are kept.
pub(crate) const CAPACITY: usize = 4096;

/// Events after a number, and what is missing among them.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct EventPage {
    /// Ask for events after this number next time.
    pub next: u64,
    /// How many of the events asked for are no longer kept.
    pub lost: u64,
    /// The events, oldest first.
    pub events: Vec<Arc<Event>>,
}

#[derive(Default)]
pub(crate) struct EventLog {
    kept: Mutex<Kept>,
    /// Hears of every event, in the order of their numbers.
    hub: Hub,
}

#[derive(Debug, Default)]
struct Kept {
    /// The number of the newest event.
    seq: u64,
    events: VecDeque<Arc<Event>>,
    bells: Vec<Weak<Bell>>,
}

/// Rung by the next event, or the first from some number on, once each time
/// it is set.
///
/// Whoever waits for an event sets it, looks whether there is one, and only
/// then waits: what comes after the look finds it set.
#[cfg_attr(not(feature = "http"), allow(dead_code, reason = "the server waits for events"))]
pub(crate) struct Bell {
    is_set: AtomicBool,
    from: AtomicU64,
    ring: Box<dyn Fn() + Send + Sync>,
}

#[cfg_attr(not(feature = "http"), allow(dead_code, reason = "the server waits for events"))]
impl Bell {
    /// A bell that is not set. `ring` is called under the log's lock.
    pub(crate) fn new(ring: impl Fn() + Send + Sync + 'static) -> Self {
        Self { is_set: AtomicBool::new(false), from: AtomicU64::new(0), ring: Box::new(ring) }
    }

    pub(crate) fn set(&self) {
        self.is_set.store(true, Ordering::SeqCst);
    }

    /// Sets it for the first event whose number is `seq` or more.
    pub(crate) fn set_from(&self, seq: u64) {
        self.from.store(seq, Ordering::SeqCst);
        self.set();
    }

    fn tell(&self, seq: u64) {
        if seq >= self.from.load(Ordering::SeqCst) && self.is_set.swap(false, Ordering::SeqCst) {
            (self.ring)();
        }
    }
}

impl fmt::Debug for Bell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bell").field("is_set", &self.is_set.load(Ordering::Relaxed)).finish_non_exhaustive()
    }
}

impl EventLog {
    /// Keeps an event, in place of the oldest; its `seq` is filled in.
    #[inline(always)]
    pub(crate) fn append(&self, event: Event) -> Arc<Event> {
        // Before the lock, which all loops share: memory may have to be fetched.
        // And where it was made: once more on the stack it takes a page more of
        // each loop.
        self.keep(Arc::new(event))
    }

    #[inline(never)]
    fn keep(&self, mut event: Arc<Event>) -> Arc<Event> {
        let mut kept = self.kept.lock();
        kept.seq += 1;
        if let Some(event) = Arc::get_mut(&mut event) {
            event.seq = kept.seq;
        }
        let full = kept.events.len() == CAPACITY;
        let oldest = if full { kept.events.pop_front() } else { None };
        kept.events.push_back(event.clone());
        kept.bells.iter().filter_map(Weak::upgrade).for_each(|bell| bell.tell(event.seq));
        self.hub.send(&event);
        drop(kept);
        drop(oldest);
        event
    }

    /// Has a bell rung by events for as long as there is one.
    #[cfg_attr(not(feature = "http"), allow(dead_code, reason = "the server waits for events"))]
    pub(crate) fn hang(&self, bell: &Arc<Bell>) {
        let mut kept = self.kept.lock();
        kept.bells.retain(|bell| bell.strong_count() > 0);
        kept.bells.push(Arc::downgrade(bell));
    }

    /// The number of the newest event.
    #[cfg_attr(not(feature = "http"), allow(dead_code, reason = "the server waits for events"))]
    pub(crate) fn newest(&self) -> u64 {
        self.kept.lock().seq
    }

    /// Hears of every event from now on.
    pub(crate) fn subscribe(&self) -> Subscription {
        self.hub.subscribe(DEFAULT_CAPACITY)
    }

    /// Up to `max` events with numbers above `seq`.
    pub(crate) fn after(&self, seq: u64, max: usize) -> EventPage {
        let kept = self.kept.lock();
        let oldest = kept.seq - kept.events.len() as u64 + 1;
        let first = seq.saturating_add(1).max(oldest);
        let skip = usize::try_from(first - oldest).unwrap_or(usize::MAX);
        let events: Vec<_> = kept.events.iter().skip(skip).take(max).cloned().collect();
        let lost = if seq >= kept.seq { 0 } else { first - (seq + 1) };
        let next = events.last().map_or(seq.min(kept.seq), |event| event.seq);
        EventPage { next, lost, events }
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;
    use crate::event::{EventKind, LoopKind};
    use crate::stamp::Stamp;

    #[test]
    fn a_bell_is_rung_once_each_time_it_is_set() {
        let log = EventLog::default();
        let rung = Arc::new(crate::primitive::AtomicU64::new(0));
        let count = rung.clone();
        let bell = Arc::new(Bell::new(move || {
            count.fetch_add(1, Ordering::Relaxed);
        }));
        log.hang(&bell);
        let append = || {
            log.append(Event {
                seq: 0,
                n: 0,
                at: Stamp::from_micros(0),
                source: "s".parse().expect("a name"),
                kind: LoopKind::Watcher,
                what: EventKind::Started,
            });
            rung.load(Ordering::Relaxed)
        };
        assert_eq!(append(), 0);
        bell.set();
        assert_eq!((append(), append()), (1, 1));
        bell.set();
        assert_eq!((append(), log.newest()), (2, 4));
        bell.set_from(7);
        assert_eq!((append(), append(), append(), append()), (2, 2, 3, 3));
        drop(bell);
        append();
    }

    #[test]
    fn pages_follow_on_and_say_what_is_lost() {
        let log = EventLog::default();
        let page = log.after(0, 10);
        assert_eq!((page.next, page.lost, page.events.len()), (0, 0, 0));
        let total = CAPACITY as u64 + 10;
        for _ in 0..total {
            log.append(Event {
                seq: 0,
                n: 0,
                at: Stamp::from_micros(0),
                source: "s".parse().expect("a name"),
                kind: LoopKind::Watcher,
                what: EventKind::Started,
            });
        }
        for (after, max, next, lost, len) in [
            (0, 100, 110, 10, 100),
            (5, 1, 11, 5, 1),
            (10, 5000, total, 0, CAPACITY),
            (total, 10, total, 0, 0),
            (total + 7, 10, total, 0, 0),
            (u64::MAX, 10, total, 0, 0),
            (20, 0, 20, 0, 0),
        ] {
            let page = log.after(after, max);
            assert_eq!((page.next, page.lost, page.events.len()), (next, lost, len), "after {after}");
        }
    }
}
