//! Events to whoever wants to hear them: a bounded queue each, that loses the
//! oldest and says how many.
//!
//! A queue under a lock and no channel: whoever reads many takes all that wait
//! with one lock, and who sends takes out the oldest with the one it has.

use std::collections::VecDeque;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use crate::clock::real_deadline;
use crate::event::Event;
use crate::primitive::{Condvar, Mutex};
use crate::sys::wait::Waker;

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
    queue: Arc<Queue>,
    /// Its descriptor; made when somebody asks for it. Closed with this, and not
    /// when the source notices that nobody reads any more.
    flag: OnceLock<Arc<Flag>>,
}

/// What both ends of a subscription share.
#[derive(Debug)]
struct Queue {
    capacity: usize,
    state: Mutex<State>,
    /// There is one more, or nothing more comes.
    changed: Condvar,
    /// Up while there is something to read; the subscription's.
    flag: OnceLock<Weak<Flag>>,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Arc<Event>>,
    /// How many were dropped before the first that waits.
    lost: u64,
    /// Nothing more comes.
    ended: bool,
    /// Nobody reads any more.
    gone: bool,
}

impl State {
    fn pop(&mut self) -> Option<Delivery> {
        let event = self.waiting.pop_front()?;
        Some(Delivery { lost: std::mem::take(&mut self.lost), event })
    }
}

impl Subscription {
    /// Blocks until the next event; `None` when the source has ended.
    pub fn recv(&self) -> Option<Delivery> {
        self.queue.wait(None)
    }

    /// The next event, if one is there.
    pub fn try_recv(&self) -> Option<Delivery> {
        let mut state = self.queue.state.lock();
        let delivery = state.pop();
        let is_last = state.waiting.is_empty();
        drop(state);
        if is_last {
            self.queue.show();
        }
        delivery
    }

    /// Blocks until the next event or until `timeout` has passed.
    pub fn recv_timeout(&self, timeout: Duration) -> Option<Delivery> {
        self.queue.wait(Some(real_deadline(timeout)))
    }

    /// Takes all events that wait, into a queue that is empty. Says how many
    /// were lost before the first.
    #[cfg(feature = "capi")]
    pub(crate) fn take(&self, into: &mut VecDeque<Arc<Event>>) -> u64 {
        debug_assert!(into.is_empty());
        let mut state = self.queue.state.lock();
        std::mem::swap(&mut state.waiting, into);
        std::mem::take(&mut state.lost)
    }

    /// Puts the descriptor down, if nothing is left to read.
    #[cfg(feature = "capi")]
    pub(crate) fn settle(&self) {
        self.queue.show();
    }

    /// Nobody is to read any more: who waits is told that there is none.
    pub(crate) fn hang_up(&self) {
        let mut state = self.queue.state.lock();
        state.gone = true;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        self.queue.changed.notify_all();
        drop(waiting);
    }

    /// Whether it was hung up.
    #[cfg(feature = "capi")]
    pub(crate) fn is_hung_up(&self) -> bool {
        !self.queue.is_heard()
    }

    /// Whether the source has ended and every event of it was read.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        let state = self.queue.state.lock();
        state.ended && state.waiting.is_empty()
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
        let flag = self.flag()?;
        self.queue.show();
        Ok(flag.fd())
    }

    /// The same for one who has taken some and read not all of them.
    #[cfg(feature = "capi")]
    pub(crate) fn descriptor_up(&self) -> io::Result<BorrowedFd<'_>> {
        let flag = self.flag()?;
        flag.raise();
        Ok(flag.fd())
    }

    fn flag(&self) -> io::Result<&Flag> {
        if let Some(flag) = self.flag.get() {
            return Ok(flag);
        }
        let made = Arc::new(Flag::new()?);
        let flag = self.flag.get_or_init(|| made);
        self.queue.flag.get_or_init(|| Arc::downgrade(flag));
        Ok(flag)
    }

    /// Blocks for each next event, until the source has ended.
    pub fn iter(&self) -> impl Iterator<Item = Delivery> + '_ {
        std::iter::from_fn(move || self.recv())
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.hang_up();
    }
}

impl Queue {
    fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            state: Mutex::default(),
            changed: Condvar::default(),
            flag: OnceLock::new(),
        }
    }

    fn wait(&self, deadline: Option<Instant>) -> Option<Delivery> {
        let mut state = self.state.lock();
        let mut timed_out = false;
        let delivery = loop {
            let delivery = state.pop();
            if delivery.is_some() || state.ended || state.gone || timed_out {
                break delivery;
            }
            match deadline {
                Some(deadline) => (state, timed_out) = self.changed.wait_until(state, deadline),
                None => state = self.changed.wait(state),
            }
        };
        let is_last = state.waiting.is_empty();
        drop(state);
        if is_last {
            self.show();
        }
        delivery
    }

    /// Puts the flag up or down as the queue is, if there is one.
    fn show(&self) {
        let Some(flag) = self.flag() else { return };
        let is_up = |state: &State| !state.waiting.is_empty() || state.ended;
        if is_up(&self.state.lock()) {
            flag.raise();
            return;
        }
        flag.lower();
        // Looked at afterwards: what is sent meanwhile puts it up again.
        if is_up(&self.state.lock()) {
            flag.raise();
        }
    }

    /// Adds one, in place of the oldest where there is no room; whether anybody
    /// reads. Never waits.
    fn send(&self, event: &Arc<Event>) -> bool {
        let mut state = self.state.lock();
        if state.gone {
            return false;
        }
        let mut oldest = None;
        if state.waiting.len() >= self.capacity {
            oldest = state.waiting.pop_front();
            state.lost += 1;
        }
        state.waiting.push_back(event.clone());
        drop(state);
        drop(oldest);
        self.raise();
        true
    }

    fn end(&self) {
        self.state.lock().ended = true;
        self.raise();
    }

    /// Wakes whoever waits, here or for the flag.
    fn raise(&self) {
        self.changed.notify_all();
        // Either this sees the flag, or its maker what was sent: both have taken
        // the lock in between.
        if let Some(flag) = self.flag() {
            flag.raise();
        }
    }

    /// None where nobody has asked for it, or nobody reads any more.
    fn flag(&self) -> Option<Arc<Flag>> {
        self.flag.get().and_then(Weak::upgrade)
    }

    fn is_heard(&self) -> bool {
        !self.state.lock().gone
    }
}

/// The end of a subscription that sends.
struct Subscriber(Arc<Queue>);

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// All who hear of one source's, or one manager's, events.
#[derive(Default)]
pub(crate) struct Hub {
    subscribers: Mutex<Vec<Subscriber>>,
}

impl Hub {
    pub(crate) fn subscribe(&self, capacity: usize) -> Subscription {
        let queue = Arc::new(Queue::new(capacity));
        let mut subscribers = self.subscribers.lock();
        // A quiet source notices here who is gone, not with its next event.
        subscribers.retain(|subscriber| subscriber.0.is_heard());
        subscribers.push(Subscriber(queue.clone()));
        drop(subscribers);
        Subscription { queue, flag: OnceLock::new() }
    }

    /// Gives the event to every subscriber; never waits.
    pub(crate) fn send(&self, event: &Arc<Event>) {
        // Under one lock, so that a subscriber hears of all in their order.
        self.subscribers.lock().retain(|subscriber| subscriber.0.send(event));
    }

    /// Ends all subscriptions once their queues are read.
    pub(crate) fn close(&self) {
        let subscribers = std::mem::take(&mut *self.subscribers.lock());
        drop(subscribers);
    }
}

/// A descriptor that is ready to read while it is up. Unlike a [`Waker`] it
/// can be put down again; putting it up twice is putting it up once.
#[derive(Debug)]
struct Flag {
    waker: Waker,
    /// Held over the call, so that what is up and what it says agree.
    is_up: Mutex<bool>,
}

impl Flag {
    fn new() -> io::Result<Self> {
        Ok(Self { waker: Waker::new()?, is_up: Mutex::new(false) })
    }

    fn raise(&self) {
        let mut is_up = self.is_up.lock();
        if !*is_up {
            self.waker.wake();
            *is_up = true;
        }
    }

    fn lower(&self) {
        let mut is_up = self.is_up.lock();
        if *is_up {
            self.waker.calm();
            *is_up = false;
        }
    }

    /// What to poll for reading.
    fn fd(&self) -> BorrowedFd<'_> {
        self.waker.fd()
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
    fn the_descriptor_is_closed_with_the_subscription() {
        let hub = Hub::default();
        let subscription = hub.subscribe(1);
        subscription.descriptor().unwrap();
        let queue = subscription.queue.clone();
        assert!(queue.flag().is_some());
        drop(subscription);
        // The source has not noticed yet, and may never.
        assert_eq!((hub.subscribers.lock().len(), queue.flag().is_none()), (1, true));
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
