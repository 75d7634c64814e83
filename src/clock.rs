//! Where time comes in: the system's clock, or one that a test moves by hand.
//!
//! Everything that waits waits here, on an [`Inbox`]: for a ring of its bell
//! or for a deadline. Nothing else in the crate reads or waits for time.
//!
//! A [`ManualClock`] knows its participants (the threads that wait on it), so
//! a test can let them come to rest, move time, and look: nothing sleeps,
//! nothing polls, no test depends on how busy the machine is.

use std::fmt;
use std::ops::{Add, BitOr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::bell::Bell;
use crate::map::Map;
use crate::primitive::{AtomicU32, Condvar, Mutex, MutexGuard, Ordering};
use crate::stamp::Stamp;
use crate::sys::time::monotonic;

/// How long [`ManualClock::settle`] waits, in real time, before it says who
/// does not come to rest.
const PATIENCE: Duration = Duration::from_secs(30);

/// A moment on a [`Clock`]: nanoseconds since the clock was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Tick(u64);

impl Tick {
    /// The moment the clock was made.
    pub const ZERO: Self = Self(0);
    /// A moment that never comes.
    pub const NEVER: Self = Self(u64::MAX);

    /// The time from `earlier` to `self`; zero if that is negative.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The last moment that a clock can show: one that never comes has not
    /// come even then.
    const LAST: Self = Self(u64::MAX - 1);

    pub(crate) const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    pub(crate) const fn nanos(self) -> u64 {
        self.0
    }
}

impl Add<Duration> for Tick {
    type Output = Self;

    /// The moment `duration` later; [`Tick::NEVER`] where the sum is too big.
    fn add(self, duration: Duration) -> Self {
        // Without the 128 bits of `as_nanos`: this is in every look at the clock.
        let nanos = duration.as_secs().saturating_mul(1_000_000_000);
        Self(self.0.saturating_add(nanos).saturating_add(u64::from(duration.subsec_nanos())))
    }
}

/// The wall-clock moment of a tick, from a pair of both.
pub(crate) fn wall_at(tick: Tick, now: Tick, wall: Stamp) -> Stamp {
    let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    let moment = if tick >= now {
        wall.as_micros().saturating_add(micros(tick.since(now)))
    } else {
        wall.as_micros().saturating_sub(micros(now.since(tick)))
    };
    Stamp::from_micros(moment)
}

/// Why a wait ended. Empty: its deadline passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Signals(u32);

impl Signals {
    /// The owner is to end. Stays set once set.
    pub(crate) const CANCEL: Self = Self(1);
    /// The owner is to look again, or to run now.
    pub(crate) const POKE: Self = Self(2);
    /// When the owner's next due is has changed.
    pub(crate) const LOOK: Self = Self(4);

    pub(crate) fn has(self, signal: Self) -> bool {
        self.0 & signal.0 != 0
    }
}

impl BitOr for Signals {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The doorbell of one thread: why it rang, and the bell it sleeps on.
pub(crate) struct Inbox {
    signals: AtomicU32,
    bell: Bell,
    manual: Option<Arc<Shared>>,
    seat: u64,
}

impl Inbox {
    /// Rings: the owner's present or next wait ends at once.
    pub(crate) fn ring(&self, signals: Signals) {
        match &self.manual {
            None => {
                // Release pairs with the acquire in `take`: what was written
                // before the ring is seen after the wait.
                self.signals.fetch_or(signals.0, Ordering::AcqRel);
            }
            Some(clock) => {
                let mut state = clock.state.lock();
                self.signals.fetch_or(signals.0, Ordering::AcqRel);
                state.wake(self.seat);
            }
        }
        self.bell.ring();
    }

    /// Whether the owner was told to end.
    pub(crate) fn is_cancelled(&self) -> bool {
        Signals(self.signals.load(Ordering::Acquire)).has(Signals::CANCEL)
    }

    /// Forgets an old cancel and an old owner, so that another thread may
    /// wait here.
    pub(crate) fn reset(&self) {
        self.signals.store(0, Ordering::Release);
        self.bell.hand_over();
    }

    /// Puts a signal back that was taken but not acted on, without a ring:
    /// only the owner does this, and its next wait looks first.
    pub(crate) fn put_back(&self, signals: Signals) {
        self.signals.fetch_or(signals.0, Ordering::AcqRel);
    }

    fn take(&self) -> Signals {
        Signals(self.signals.fetch_and(Signals::CANCEL.0, Ordering::AcqRel))
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").field("signals", &self.signals).finish_non_exhaustive()
    }
}

/// A place among a clock's participants, held by the thread that waits.
/// Taken before the thread is spawned, given up when it ends.
#[derive(Debug)]
pub(crate) struct Seat {
    manual: Option<(Arc<Shared>, u64)>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some((clock, seat)) = &self.manual {
            clock.state.lock().participants.remove(seat);
            clock.moved.notify_all();
        }
    }
}

/// A source of time. Cloning shares it.
///
/// [`Clock::system`] is the machine's monotonic clock; [`ManualClock`] is for
/// tests. Wall-clock time appears only in stamps for people.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    /// When it began, as the system counts.
    System {
        start: u64,
    },
    Manual(ManualClock),
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

impl From<&ManualClock> for Clock {
    fn from(clock: &ManualClock) -> Self {
        Self(Source::Manual(clock.clone()))
    }
}

impl Clock {
    /// The machine's monotonic clock, counted from now.
    #[must_use]
    pub fn system() -> Self {
        Self(Source::System { start: monotonic() })
    }

    /// The present moment.
    #[must_use]
    #[inline]
    #[allow(clippy::disallowed_methods, reason = "this module is where time comes in")]
    pub fn now(&self) -> Tick {
        match &self.0 {
            Source::System { start } => Tick::from_nanos(monotonic().saturating_sub(*start)),
            Source::Manual(clock) => clock.now(),
        }
    }

    /// The present wall-clock time, for stamps that people read.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "this module is where time comes in")]
    pub fn wall(&self) -> SystemTime {
        match &self.0 {
            Source::System { .. } => SystemTime::now(),
            Source::Manual(clock) => {
                let state = clock.shared.state.lock();
                state.wall + Duration::from_nanos(state.now.nanos())
            }
        }
    }

    /// Makes the doorbell of a thread and the thread's place among the
    /// participants. `label` names the thread in a failed `settle`.
    pub(crate) fn join(&self, label: &str) -> (Arc<Inbox>, Seat) {
        let (manual, seat) = match &self.0 {
            Source::System { .. } => (None, 0),
            Source::Manual(clock) => (Some(clock.shared.clone()), clock.take_seat(label)),
        };
        let inbox = Arc::new(Inbox {
            signals: AtomicU32::new(0),
            bell: Bell::default(),
            manual: manual.clone(),
            seat,
        });
        (inbox, Seat { manual: manual.map(|clock| (clock, seat)) })
    }

    /// Takes the place of an inbox again, for a thread that is to wait on it
    /// after an earlier one ended.
    pub(crate) fn rejoin(&self, inbox: &Inbox, label: &str) -> Seat {
        match &self.0 {
            Source::System { .. } => Seat { manual: None },
            Source::Manual(clock) => {
                clock.shared.state.lock().participants.insert(inbox.seat, label.to_owned());
                Seat { manual: Some((clock.shared.clone(), inbox.seat)) }
            }
        }
    }

    /// Waits for a ring or for `deadline`, whichever comes first, and says
    /// which. A signal that is set already ends the wait at once.
    pub(crate) fn wait(&self, inbox: &Arc<Inbox>, deadline: Tick) -> Signals {
        match &self.0 {
            Source::System { start } => loop {
                let signals = inbox.take();
                if signals != Signals::default() {
                    return signals;
                }
                match start.checked_add(deadline.nanos()) {
                    Some(deadline) if !inbox.bell.wait_until(deadline) => return inbox.take(),
                    Some(_) => {}
                    None => inbox.bell.wait(),
                }
            },
            Source::Manual(clock) => clock.wait(inbox, deadline),
        }
    }
}

/// Waits in real time, whatever clock a program has: for others who do.
#[cfg(feature = "sqlite")]
#[allow(clippy::disallowed_methods, reason = "this module is where time comes in")]
pub(crate) fn real_pause(time: Duration) {
    std::thread::sleep(time);
}

/// A deadline in real time, for joins and for callers that block; real even
/// when a test owns the clock, because a thread ends in real time.
#[allow(clippy::disallowed_methods, reason = "this module is where time comes in")]
pub(crate) fn real_deadline(timeout: Duration) -> Instant {
    // A century stands in for a timeout too long for the clock.
    let century = Duration::from_secs(100 * 365 * 86_400);
    let now = Instant::now();
    now.checked_add(timeout).unwrap_or_else(|| now + century)
}

/// What is left until a real deadline.
#[allow(clippy::disallowed_methods, reason = "this module is where time comes in")]
pub(crate) fn real_remaining(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

/// A clock that a test moves by hand. Cloning shares it.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use loopkeeper::{ManualClock, Env, Watcher, WatcherConfig, Health};
///
/// let clock = ManualClock::default();
/// let env = Env::manual(&clock)?;
/// let mut answers = [true, false].into_iter();
/// let watcher = Watcher::start_in(&env, WatcherConfig::new("db", move |_: &_| {
///     if answers.next() == Some(true) { Ok(()) } else { Err("no answer".into()) }
/// }))?;
/// clock.settle();                              // the first probe is over
/// assert_eq!(watcher.status().health, Health::Ready);
/// clock.run_for(Duration::from_secs(60));      // the next poll is over, too
/// assert_eq!(watcher.status().health, Health::Down);
/// # Ok::<(), loopkeeper::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct ManualClock {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    moved: Condvar,
}

struct State {
    now: Tick,
    wall: SystemTime,
    next_seat: u64,
    participants: Map<u64, String>,
    /// How many participants wait for something a test holds, not for time.
    parked: usize,
    asleep: Map<(Tick, u64), Arc<Inbox>>,
    deadlines: Map<u64, Tick>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            now: Tick::ZERO,
            wall: SystemTime::UNIX_EPOCH,
            next_seat: 0,
            participants: Map::new(),
            parked: 0,
            asleep: Map::new(),
            deadlines: Map::new(),
        }
    }
}

/// Who has not come to rest, in words.
#[derive(Debug)]
pub(crate) struct Busy(pub(crate) String);

/// For those who cannot go on without rest.
#[track_caller]
fn rested(result: Result<(), Busy>) {
    if let Err(Busy(text)) = result {
        panic!("{text}");
    }
}

impl State {
    /// Takes a sleeper out of the list before it is woken, so that it never
    /// counts as asleep once its bell has rung.
    fn wake(&mut self, seat: u64) {
        if let Some(deadline) = self.deadlines.remove(&seat) {
            self.asleep.remove(&(deadline, seat));
        }
    }

    fn is_settled(&self) -> bool {
        self.asleep.len() + self.parked == self.participants.len()
    }

    fn take_due(&mut self) -> Vec<Arc<Inbox>> {
        let mut due = Vec::new();
        while let Some((&(deadline, seat), _)) = self.asleep.first() {
            if deadline > self.now {
                break;
            }
            self.deadlines.remove(&seat);
            due.extend(self.asleep.remove(&(deadline, seat)));
        }
        due
    }
}

impl ManualClock {
    /// The present moment.
    #[must_use]
    pub fn now(&self) -> Tick {
        self.shared.state.lock().now
    }

    /// Sets what wall-clock time it is now. Stamps start at the Unix epoch
    /// unless this is called.
    pub fn set_wall(&self, wall: SystemTime) {
        let mut state = self.shared.state.lock();
        let elapsed = Duration::from_nanos(state.now.nanos());
        state.wall = wall.checked_sub(elapsed).unwrap_or(SystemTime::UNIX_EPOCH);
    }

    /// Waits until every participant sleeps or is held by the test, so that
    /// nothing more happens until time moves or the test acts.
    ///
    /// # Panics
    ///
    /// After 30 real seconds without rest: names who is still busy, which is
    /// a call that waits for something other than this clock.
    pub fn settle(&self) {
        rested(self.try_settle());
    }

    /// Moves time by `duration`, deadline by deadline; everybody comes to
    /// rest after each. By more, when another thread moves it meanwhile: it
    /// never goes back.
    ///
    /// # Panics
    ///
    /// As [`settle`](Self::settle).
    pub fn run_for(&self, duration: Duration) {
        rested(self.try_run_for(duration));
    }

    /// Moves time at once, as a suspended or stalled machine does: all that
    /// fell due meanwhile wakes together.
    ///
    /// # Panics
    ///
    /// As [`settle`](Self::settle).
    pub fn jump(&self, duration: Duration) {
        rested(self.try_jump(duration));
    }

    /// As [`settle`](Self::settle), but says who is busy.
    pub(crate) fn try_settle(&self) -> Result<(), Busy> {
        self.settled().map(drop)
    }

    /// As [`run_for`](Self::run_for), but says who is busy.
    pub(crate) fn try_run_for(&self, duration: Duration) -> Result<(), Busy> {
        let target = (self.now() + duration).min(Tick::LAST);
        loop {
            let mut state = self.settled()?;
            let next = state.asleep.first().map_or(Tick::NEVER, |(&(deadline, _), _)| deadline);
            if next > target || next == Tick::NEVER {
                state.now = target.max(state.now);
                return Ok(());
            }
            state.now = next.max(state.now);
            Self::wake_due(state);
        }
    }

    /// As [`jump`](Self::jump), but says who is busy.
    pub(crate) fn try_jump(&self, duration: Duration) -> Result<(), Busy> {
        let mut state = self.settled()?;
        state.now = (state.now + duration).min(Tick::LAST);
        Self::wake_due(state);
        self.try_settle()
    }

    /// Counts a participant as at rest: it waits for the test, not for time.
    #[cfg(any(test, feature = "test-util"))]
    pub(crate) fn park(&self) {
        self.shared.state.lock().parked += 1;
        self.shared.moved.notify_all();
    }

    /// Counts `n` participants as busy again, before they are let go.
    #[cfg(any(test, feature = "test-util"))]
    pub(crate) fn unpark(&self, n: usize) {
        self.shared.state.lock().parked -= n;
    }

    fn wake_due(mut state: MutexGuard<'_, State>) {
        let due = state.take_due();
        drop(state);
        for inbox in due {
            inbox.bell.ring();
        }
    }

    fn settled(&self) -> Result<MutexGuard<'_, State>, Busy> {
        let deadline = real_deadline(PATIENCE);
        let mut state = self.shared.state.lock();
        while !state.is_settled() {
            let (guard, timed_out) = self.shared.moved.wait_until(state, deadline);
            state = guard;
            if timed_out && !state.is_settled() {
                let busy: Vec<_> = state
                    .participants
                    .iter()
                    .filter(|(seat, _)| !state.deadlines.contains_key(seat))
                    .map(|(_, label)| label.as_str())
                    .collect();
                return Err(Busy(format!("after {PATIENCE:?} still busy or held: {}", busy.join(", "))));
            }
        }
        Ok(state)
    }

    fn take_seat(&self, label: &str) -> u64 {
        let mut state = self.shared.state.lock();
        let seat = state.next_seat;
        state.next_seat += 1;
        state.participants.insert(seat, label.to_owned());
        seat
    }

    fn wait(&self, inbox: &Arc<Inbox>, deadline: Tick) -> Signals {
        let mut state = self.shared.state.lock();
        let signals = inbox.take();
        if signals != Signals::default() || deadline <= state.now {
            return signals;
        }
        state.asleep.insert((deadline, inbox.seat), inbox.clone());
        state.deadlines.insert(inbox.seat, deadline);
        drop(state);
        self.shared.moved.notify_all();
        loop {
            // A ring left over from an earlier wait must not end this one.
            inbox.bell.wait();
            let state = self.shared.state.lock();
            if !state.deadlines.contains_key(&inbox.seat) {
                return inbox.take();
            }
        }
    }
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManualClock").field("now", &self.now()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}
