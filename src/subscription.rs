//! Events to whoever wants to hear them: a bounded queue each, that loses the
//! oldest and says how many.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use crate::clock::real_deadline;
use crate::event::Event;
use crate::primitive::{AtomicBool, AtomicU64, Mutex, Ordering, fence};
use crate::sys::wait::Flag;

/// How many events a subscription holds unless told otherwise.
pub(crate) const DEFAULT_CAPACITY: usize = 256;

/// One event, and how many were lost before it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Delivery {
    /// How many events were dropped between the delivery before and this one,
    /// because the queue was full.
    pub lost: u64,
    /// What happened. Shared by all who hear of it.
    pub event: Arc<Event>,
}

struct Numbered {
    n: u64,
    event: Arc<Event>,
}

/// Events as they happen, in order, from the moment of subscribing.
///
/// Bounded: when nobody reads, the oldest are dropped and counted; the loop
/// that sends never waits. After the last event of a stopped source the
/// subscription ends. Dropping it is noticed.
///
/// # Threads
///
/// Send it to the thread that is to read. Reading blocks that thread only.
#[must_use = "events are queued for a subscription from now on"]
#[derive(Debug)]
pub struct Subscription {
    rx: Receiver<Numbered>,
    /// Says to the sender that somebody still listens, and to the listener
    /// that nothing more comes.
    ear: Arc<Ear>,
    seen: AtomicU64,
}

/// What both ends of a subscription share.
#[derive(Debug, Default)]
struct Ear {
    ended: AtomicBool,
    /// Up while there is something to read; made when somebody asks for it.
    flag: OnceLock<Flag>,
}

impl std::fmt::Debug for Numbered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.event.fmt(f)
    }
}

impl Subscription {
    /// Blocks until the next event; `None` when the source has ended.
    pub fn recv(&self) -> Option<Delivery> {
        self.rx.recv().ok().map(|numbered| self.deliver(numbered))
    }

    /// The next event, if one is there.
    pub fn try_recv(&self) -> Option<Delivery> {
        self.rx.try_recv().ok().map(|numbered| self.deliver(numbered))
    }

    /// Blocks until the next event or until `timeout` has passed.
    pub fn recv_timeout(&self, timeout: Duration) -> Option<Delivery> {
        self.rx.recv_deadline(real_deadline(timeout)).ok().map(|numbered| self.deliver(numbered))
    }

    /// The same, until `ended` has no sender any more.
    #[cfg(feature = "capi")]
    pub(crate) fn recv_unless(&self, timeout: Duration, ended: &Receiver<()>) -> Option<Delivery> {
        let mut either = crossbeam_channel::Select::new();
        let events = either.recv(&self.rx);
        either.recv(ended);
        let ready = either.select_deadline(real_deadline(timeout)).ok()?;
        if ready.index() != events {
            let _ = ready.recv(ended);
            return None;
        }
        ready.recv(&self.rx).ok().map(|numbered| self.deliver(numbered))
    }

    /// Takes as many events as are there, at most `max`, and how many were lost
    /// before each. By one reader at a time; says how many there were.
    #[cfg(feature = "capi")]
    pub(crate) fn take(&self, max: usize, mut each: impl FnMut(u64, Arc<Event>)) -> usize {
        let mut seen = self.seen.load(Ordering::Relaxed);
        let mut taken = 0;
        while taken < max {
            let Ok(Numbered { n, event }) = self.rx.try_recv() else { break };
            each(n.saturating_sub(seen + 1), event);
            (seen, taken) = (n, taken + 1);
        }
        if taken > 0 {
            self.seen.store(seen, Ordering::Relaxed);
            self.show_if_empty();
        }
        taken
    }

    /// Whether the source has ended and every event of it was read.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        // Acquire: what was sent before the end is in the queue by now.
        self.ear.ended.load(Ordering::Acquire) && self.rx.is_empty()
    }

    /// A descriptor that is ready to read while an event waits and once the
    /// source has ended: for a program with a poll loop of its own. Wait for
    /// it and then take events with [`try_recv`](Self::try_recv) until there
    /// is none; do not read from it. Made with the first call, and closed with
    /// the subscription.
    ///
    /// # Errors
    ///
    /// When the process has no descriptor left.
    pub fn descriptor(&self) -> io::Result<BorrowedFd<'_>> {
        let flag = match self.ear.flag.get() {
            Some(flag) => flag,
            None => {
                let made = Flag::new()?;
                let flag = self.ear.flag.get_or_init(|| made);
                fence(Ordering::SeqCst);
                flag
            }
        };
        self.show(flag);
        Ok(flag.fd())
    }

    /// Puts the flag up or down as the queue is.
    fn show(&self, flag: &Flag) {
        flag.lower();
        // Looked at afterwards: what is sent meanwhile puts it up again.
        if !self.rx.is_empty() || self.ear.ended.load(Ordering::Acquire) {
            flag.raise();
        }
    }

    /// Blocks for each next event, until the source has ended.
    pub fn iter(&self) -> impl Iterator<Item = Delivery> + '_ {
        std::iter::from_fn(move || self.recv())
    }

    fn show_if_empty(&self) {
        if let Some(flag) = self.ear.flag.get() {
            if self.rx.is_empty() {
                self.show(flag);
            }
        }
    }

    fn deliver(&self, numbered: Numbered) -> Delivery {
        self.show_if_empty();
        let before = self.seen.swap(numbered.n, Ordering::Relaxed);
        Delivery { lost: numbered.n.saturating_sub(before + 1), event: numbered.event }
    }
}

struct Subscriber {
    tx: Sender<Numbered>,
    /// The sender drops the oldest from here when the queue is full.
    rx: Receiver<Numbered>,
    ear: Weak<Ear>,
    sent: u64,
}

impl Subscriber {
    fn is_heard(&self) -> bool {
        self.ear.strong_count() > 0
    }

    fn raise(&self) {
        if let Some(ear) = self.ear.upgrade() {
            // With the one where the flag is made: either this sees the flag,
            // or its maker what was sent.
            fence(Ordering::SeqCst);
            if let Some(flag) = ear.flag.get() {
                flag.raise();
            }
        }
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        if let Some(ear) = self.ear.upgrade() {
            ear.ended.store(true, Ordering::Release);
        }
        self.raise();
    }
}

/// All who hear of one source's, or one manager's, events.
#[derive(Default)]
pub(crate) struct Hub {
    subscribers: Mutex<Vec<Subscriber>>,
}

impl Hub {
    pub(crate) fn subscribe(&self, capacity: usize) -> Subscription {
        let (tx, rx) = bounded(capacity.max(1));
        let ear = Arc::new(Ear::default());
        let subscriber = Subscriber { tx, rx: rx.clone(), ear: Arc::downgrade(&ear), sent: 0 };
        let mut subscribers = self.subscribers.lock();
        // A quiet source notices here who is gone, not with its next event.
        subscribers.retain(Subscriber::is_heard);
        subscribers.push(subscriber);
        drop(subscribers);
        Subscription { rx, ear, seen: AtomicU64::new(0) }
    }

    /// Gives the event to every subscriber; never waits.
    pub(crate) fn send(&self, event: &Arc<Event>) {
        // The numbers are given and sent under one lock, so a subscriber sees
        // them in order and finds every gap.
        self.subscribers.lock().retain_mut(|subscriber| {
            if !subscriber.is_heard() {
                return false;
            }
            subscriber.sent += 1;
            let mut numbered = Numbered { n: subscriber.sent, event: event.clone() };
            while let Err(TrySendError::Full(back)) = subscriber.tx.try_send(numbered) {
                numbered = back;
                let _ = subscriber.rx.try_recv();
            }
            subscriber.raise();
            true
        });
    }

    /// Ends all subscriptions once their queues are read.
    pub(crate) fn close(&self) {
        let subscribers = std::mem::take(&mut *self.subscribers.lock());
        drop(subscribers);
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;
    use crate::event::{EventKind, LoopKind};
    use crate::stamp::Stamp;
    use crate::thread::{Budget, STACK_SIZE, Task};

    fn event(n: u64) -> Arc<Event> {
        Arc::new(Event {
            seq: n,
            n,
            at: Stamp::from_micros(0),
            source: "s".parse().expect("a name"),
            kind: LoopKind::Watcher,
            what: EventKind::Started,
        })
    }

    #[test]
    fn a_full_queue_loses_the_oldest_and_says_how_many() {
        let hub = Hub::default();
        let subscription = hub.subscribe(2);
        for n in 1..=5 {
            hub.send(&event(n));
        }
        let first = subscription.recv().unwrap();
        assert_eq!((first.lost, first.event.n), (3, 4));
        hub.send(&event(6));
        let rest: Vec<_> =
            std::iter::from_fn(|| subscription.try_recv()).map(|d| (d.lost, d.event.n)).collect();
        assert_eq!(rest, [(0, 5), (0, 6)]);
        assert!(!subscription.has_ended());
        hub.close();
        assert!(subscription.has_ended() && subscription.recv().is_none());
    }

    #[test]
    fn a_dropped_subscriber_is_noticed() {
        let hub = Hub::default();
        drop(hub.subscribe(1));
        let _kept = hub.subscribe(1);
        hub.send(&event(1));
        assert_eq!(hub.subscribers.lock().len(), 1);
    }

    #[test]
    fn subscribers_that_come_and_go_leave_nothing_behind_a_quiet_source() {
        let hub = Hub::default();
        for _ in 0..1000 {
            drop(hub.subscribe(1));
        }
        assert_eq!(hub.subscribers.lock().len(), 1);
    }

    #[test]
    fn the_descriptor_is_ready_while_there_is_something_to_read() {
        use crate::sys::wait::{Interest, PollFd, poll};
        let hub = Hub::default();
        let subscription = hub.subscribe(2);
        hub.send(&event(1));
        let is_ready = |subscription: &Subscription| {
            let mut fds = [PollFd::new(subscription.descriptor().unwrap(), Interest::Read)];
            poll(&mut fds, Duration::ZERO).unwrap();
            fds[0].is_ready()
        };
        assert!(is_ready(&subscription));
        hub.send(&event(2));
        hub.send(&event(3));
        assert_eq!(subscription.try_recv().unwrap().event.n, 2);
        assert!(is_ready(&subscription));
        assert_eq!(subscription.try_recv().unwrap().event.n, 3);
        assert!(!is_ready(&subscription));
        hub.send(&event(4));
        assert_eq!(subscription.try_recv().unwrap().event.n, 4);
        assert!(!is_ready(&subscription));
        hub.close();
        assert!(is_ready(&subscription) && subscription.has_ended());
    }

    #[test]
    fn asking_whether_it_has_ended_takes_no_event_away() {
        const EVENTS: u64 = 20_000;
        let hub = Hub::default();
        let subscription = hub.subscribe(usize::try_from(EVENTS).unwrap());
        let task = Task::spawn(&Budget::default(), "t/send".to_owned(), STACK_SIZE, move || {
            for n in 1..=EVENTS {
                hub.send(&event(n));
            }
            hub.close();
        });
        let mut n = 0;
        while !subscription.has_ended() {
            if let Some(delivery) = subscription.try_recv() {
                n += 1;
                assert_eq!((delivery.lost, delivery.event.n), (0, n));
            }
        }
        assert_eq!(n, EVENTS);
        assert!(task.unwrap().join_until(real_deadline(Duration::from_secs(5))).is_some());
    }
}
