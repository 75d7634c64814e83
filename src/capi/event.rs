//! Events, as they happen: read one after the other, by a thread that waits or
//! by a poll loop.

use std::collections::VecDeque;
use std::ffi::{c_char, c_int};
use std::os::fd::AsRawFd;
use std::sync::Arc;

use super::boundary::{
    Answer, Buffer, Failure, Out, OutStruct, Versioned, guard, guard_or, init, millis, set_chars,
};
use super::handle::{Own, Ref, object};
use super::loop_status::{health_number, kind_number, lk_health, lk_loop_kind};
use super::status::{
    LK_ERR_ENDED, LK_ERR_IO, LK_ERR_RANGE, LK_ERR_STALE, LK_ERR_STATE, LK_ERR_TIMEOUT, LK_OK, lk_status,
};
use crate::event::{Event, EventKind, RecoveryStep};
use crate::primitive::Mutex;
use crate::subscription::{Delivery, Subscription};

/// Events as they happen, from the moment of subscribing, in order. At least
/// 256 wait to be read; when there are more, the oldest are lost and counted.
#[derive(Debug)]
pub struct lk_events {
    _private: [u8; 0],
}

object!(lk_events => Events, Events::end);

/// What is behind an [`lk_events`].
#[derive(Debug)]
pub struct Events {
    subscription: Subscription,
    reader: Mutex<Reader>,
}

/// What was taken out of the queue and not read yet, and what was read last.
#[derive(Debug, Default)]
struct Reader {
    taken: VecDeque<Arc<Event>>,
    /// How many were lost before the first of these.
    lost: u64,
    last: Option<Arc<Event>>,
}

impl Events {
    pub(super) fn new(subscription: Subscription) -> Self {
        Self { subscription, reader: Mutex::default() }
    }

    fn end(&self) {
        self.subscription.hang_up();
    }
}

impl Reader {
    /// The next event that is there, and how many were lost before it.
    #[inline]
    fn next(&mut self, subscription: &Subscription) -> Option<(u64, &Event)> {
        if self.taken.is_empty() {
            self.lost += subscription.take(&mut self.taken);
        }
        let Some(event) = self.taken.pop_front() else {
            // Who sent the last one may have put the descriptor up after it was
            // read.
            subscription.settle();
            return None;
        };
        if self.taken.is_empty() {
            subscription.settle();
        }
        let event = self.last.insert(event);
        Some((std::mem::take(&mut self.lost), event))
    }
}

/// What happened.
pub type lk_event_kind = i32;

/// The loop was started; its first call follows.
pub const LK_EVENT_STARTED: lk_event_kind = 1;
/// The service turned ready.
pub const LK_EVENT_READY: lk_event_kind = 2;
/// The service turned down.
pub const LK_EVENT_DOWN: lk_event_kind = 3;
/// The service did not come up in the start-up's attempts; probing goes on.
pub const LK_EVENT_GAVE_UP: lk_event_kind = 4;
/// A call passed its deadline and is still stuck.
pub const LK_EVENT_TIMED_OUT: lk_event_kind = 5;
/// A call that had timed out came back; its answer was thrown away.
pub const LK_EVENT_LATE: lk_event_kind = 6;
/// A run of a controller dealt with items.
pub const LK_EVENT_RECONCILED: lk_event_kind = 7;
/// A run of a controller failed.
pub const LK_EVENT_RECONCILE_FAILED: lk_event_kind = 8;
/// What a monitor's checkers found, all together, is another state.
pub const LK_EVENT_HEALTH_CHANGED: lk_event_kind = 9;
/// What one checker of a monitor looks at is in another state.
pub const LK_EVENT_CHECKER_CHANGED: lk_event_kind = 10;
/// A look of a checker passed its deadline and is still stuck.
pub const LK_EVENT_CHECK_TIMED_OUT: lk_event_kind = 11;
/// A look that had timed out came back; what it found was thrown away.
pub const LK_EVENT_CHECK_LATE: lk_event_kind = 12;
/// The controller does not run any more unless it is triggered.
pub const LK_EVENT_PAUSED: lk_event_kind = 13;
/// The controller runs at its regular times again.
pub const LK_EVENT_RESUMED: lk_event_kind = 14;
/// Another configuration is in force.
pub const LK_EVENT_CONFIG_RELOADED: lk_event_kind = 15;
/// What is on disk cannot be put in force; what was in force still is.
pub const LK_EVENT_CONFIG_REJECTED: lk_event_kind = 16;
/// A component that a file describes runs now.
pub const LK_EVENT_DEPLOYED: lk_event_kind = 17;
/// A component runs in place of the one that had its name.
pub const LK_EVENT_REPLACED: lk_event_kind = 18;
/// A component that no file describes any more was stopped.
pub const LK_EVENT_UNDEPLOYED: lk_event_kind = 19;
/// A component that no file describes any more could not be stopped.
pub const LK_EVENT_UNDEPLOY_FAILED: lk_event_kind = 20;
/// A file cannot be used. What runs goes on.
pub const LK_EVENT_REJECTED: lk_event_kind = 21;
/// A component did not come up in place of the one that had its name.
pub const LK_EVENT_ROLLED_BACK: lk_event_kind = 22;
/// The loop was told to end.
pub const LK_EVENT_STOPPED: lk_event_kind = 23;
/// The component waits for what it requires.
pub const LK_EVENT_COMPONENT_WAITING: lk_event_kind = 24;
/// The component's start is called.
pub const LK_EVENT_COMPONENT_STARTING: lk_event_kind = 25;
/// The component works.
pub const LK_EVENT_COMPONENT_UP: lk_event_kind = 26;
/// The component can take work.
pub const LK_EVENT_COMPONENT_READY: lk_event_kind = 27;
/// The component runs and can take no work any more.
pub const LK_EVENT_COMPONENT_NOT_READY: lk_event_kind = 28;
/// The component did not start, failed while it ran, or did not stop.
pub const LK_EVENT_COMPONENT_FAILED: lk_event_kind = 29;
/// The component is started again after a delay.
pub const LK_EVENT_COMPONENT_RESTARTING: lk_event_kind = 30;
/// The component used up its restarts and is left as failed.
pub const LK_EVENT_COMPONENT_GAVE_UP: lk_event_kind = 31;
/// The component's stop is called.
pub const LK_EVENT_COMPONENT_STOPPING: lk_event_kind = 32;
/// The component has ended.
pub const LK_EVENT_COMPONENT_STOPPED: lk_event_kind = 33;
/// A call into the component passed its deadline; the host went on without.
pub const LK_EVENT_COMPONENT_ABANDONED: lk_event_kind = 34;
/// The component took the place of another, which is gone.
pub const LK_EVENT_COMPONENT_REPLACED: lk_event_kind = 35;
/// The one in this component's place did not come up; this one is back.
pub const LK_EVENT_COMPONENT_ROLLED_BACK: lk_event_kind = 36;
/// The component is no longer part of the host.
pub const LK_EVENT_COMPONENT_REMOVED: lk_event_kind = 37;
/// A poll found a run corrupted.
pub const LK_EVENT_RECOVERY_DETECTED: lk_event_kind = 101;
/// A run could not be polled; it stays watched.
pub const LK_EVENT_RECOVERY_POLL_ERROR: lk_event_kind = 102;
/// An attempt to restore a run began.
pub const LK_EVENT_RECOVERY_STARTED: lk_event_kind = 103;
/// The attempt has chosen what it restores from.
pub const LK_EVENT_RECOVERY_CHECKPOINT_SELECTED: lk_event_kind = 104;
/// The attempt has made a run anew.
pub const LK_EVENT_RECOVERY_CLIENT_CREATED: lk_event_kind = 105;
/// The attempt succeeded; the recovery is not proven yet.
pub const LK_EVENT_RECOVERY_COMPLETED: lk_event_kind = 106;
/// An attempt failed.
pub const LK_EVENT_RECOVERY_FAILED: lk_event_kind = 107;
/// Nothing more is tried.
pub const LK_EVENT_RECOVERY_EXHAUSTED: lk_event_kind = 108;
/// The restored run was found well in enough polls.
pub const LK_EVENT_RECOVERY_VERIFIED: lk_event_kind = 109;
/// The restored run is corrupted: the same incident goes on.
pub const LK_EVENT_RECOVERY_RELAPSED: lk_event_kind = 110;
/// A corrupted run is not recovered now, or need not be any more.
pub const LK_EVENT_RECOVERY_SKIPPED: lk_event_kind = 111;
/// The recovery was told to end.
pub const LK_EVENT_RECOVERY_CANCELLED: lk_event_kind = 112;
/// A run that is not used any more could not be let go of.
pub const LK_EVENT_RECOVERY_LEFT_BEHIND: lk_event_kind = 113;

/// One thing that happened. What more there is to say of it says
/// lk_events_last_json.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct lk_event {
    /// sizeof(lk_event); lk_event_init sets it.
    pub size: u32,
    /// What happened: LK_EVENT_..., or a number that this header does not
    /// have.
    pub kind: lk_event_kind,
    /// What kind of loop it happened to: LK_LOOP_...
    pub loop_kind: lk_loop_kind,
    /// The status of the error it carries; LK_OK when it carries none.
    pub error: lk_status,
    /// How its source is from now on, where it says so: LK_HEALTH_...; else
    /// LK_HEALTH_UNKNOWN.
    pub health: lk_health,
    /// Always 0.
    pub reserved: u32,
    /// The number among all events of the environment, from 1.
    pub seq: u64,
    /// The number among the events of this source, from 1, without a gap.
    pub n: u64,
    /// How many events were lost just before this one, because nobody read.
    pub lost: u64,
    /// When it happened, in microseconds since 1970 UTC.
    pub at_us: u64,
    /// Who it happened to.
    pub source: [c_char; 64],
}

// SAFETY: numbers and characters only.
unsafe impl Versioned for lk_event {
    const NAME: &'static str = "lk_event";
    const MIN: usize = size_of::<Self>();

    fn initial() -> Self {
        Self {
            size: size_of::<Self>() as u32,
            kind: 0,
            loop_kind: 0,
            error: LK_OK,
            health: 0,
            reserved: 0,
            seq: 0,
            n: 0,
            lost: 0,
            at_us: 0,
            source: [0; 64],
        }
    }
}

/// Fills in an empty event, so that a call can fill in its own.
///
/// out: where. size: sizeof(lk_event).
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_SIZE. Thread: any. Does not block.
/// Next: lk_events_next.
#[unsafe(no_mangle)]
pub extern "C" fn lk_event_init(out: Out<lk_event>, size: usize) -> lk_status {
    guard(move || init(&out, size))
}

/// Reads the next event.
///
/// events: from a call whose name ends in _subscribe. timeout_ms: how long to
/// wait for one; 0 does not wait; LK_FOREVER. out: an event that was filled in
/// by lk_event_init.
/// Returns: LK_OK; LK_ERR_TIMEOUT when there is none; LK_ERR_ENDED when the
/// source has ended and all was read; LK_ERR_NULL; LK_ERR_SIZE; LK_ERR_STALE,
/// also when the handle is freed meanwhile. Thread: one. Blocks for
/// `timeout_ms` at most. Next: lk_events_last_json, lk_events_last_text.
#[unsafe(no_mangle)]
pub extern "C" fn lk_events_next(
    events: Ref<lk_events>,
    timeout_ms: u64,
    out: OutStruct<lk_event>,
) -> lk_status {
    guard(move || {
        // Without a lock where no other call uses the handle, as is the rule.
        if let Some(events) = events.alone() {
            // SAFETY: the handle is this call's alone, and the object is used
            // through it only.
            let reader = unsafe { &mut *events.reader.data_ptr() };
            let place = out.check("out")?;
            if let Some((lost, event)) = reader.next(&events.subscription) {
                place.fill(|out| out.tell(event, lost));
                return Ok(());
            }
        }
        wait_for_next(&events, timeout_ms, &out)
    })
}

/// The next event, where there is none yet or others use the handle.
#[cold]
#[inline(never)]
fn wait_for_next(events: &Ref<lk_events>, timeout_ms: u64, out: &OutStruct<lk_event>) -> Answer {
    let (events, place) = (events.get("events")?, out.check("out")?);
    let mut reader = events.reader.lock();
    if let Some((lost, event)) = reader.next(&events.subscription) {
        place.fill(|out| out.tell(event, lost));
        return Ok(());
    }
    drop(reader);
    let Delivery { lost, event, .. } = events.wait(timeout_ms)?;
    place.fill(|out| out.tell(&event, lost));
    events.reader.lock().last = Some(event);
    Ok(())
}

/// Reads as many events as wait and there is room for. Costs less than a call
/// for each.
///
/// events: as for lk_events_next. timeout_ms: how long to wait for the first; 0
/// does not wait; LK_FOREVER. items: a row of `capacity` events, each filled in
/// by lk_event_init. count: how many were read, at least one.
/// Returns: LK_OK; LK_ERR_RANGE when `capacity` is 0; as lk_events_next, and
/// then nothing is written. Thread: one. Blocks for `timeout_ms` at most. Next:
/// lk_events_last_json, for the last of them.
#[unsafe(no_mangle)]
pub extern "C" fn lk_events_read(
    events: Ref<lk_events>,
    timeout_ms: u64,
    items: OutStruct<lk_event>,
    capacity: usize,
    count: Out<usize>,
) -> lk_status {
    guard(move || {
        let held = events.get("events")?;
        let count = count.check("count")?;
        if capacity == 0 {
            return Err(Failure::new(LK_ERR_RANGE, "capacity: must be at least 1"));
        }
        let mut row = items.row(capacity, "items")?;
        let mut tell = |reader: &mut Reader| {
            let mut n = 0;
            while n < capacity {
                let Some((lost, event)) = reader.next(&held.subscription) else { break };
                if let Some(place) = row.next() {
                    place.fill(|out| out.tell(event, lost));
                }
                n += 1;
            }
            n
        };
        let mut n = tell(&mut held.reader.lock());
        if n == 0 {
            let first = held.wait(timeout_ms)?;
            let mut reader = held.reader.lock();
            reader.lost = first.lost;
            reader.taken.push_front(first.event);
            n = tell(&mut reader);
        }
        count.set(n);
        Ok(())
    })
}

/// A descriptor that is ready to read while an event waits, and once the
/// source has ended: for poll, epoll, select and the loops built on them. When
/// it is ready, read events with a timeout of 0 until there is none; never
/// read from it or close it.
///
/// events: not consumed. out: the descriptor; it is closed with the handle, so
/// take it out of the poll loop before.
/// Returns: LK_OK; LK_ERR_IO when the process has no descriptor left;
/// LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does not block. Next:
/// lk_events_next.
#[unsafe(no_mangle)]
pub extern "C" fn lk_events_fd(events: Ref<lk_events>, out: Out<c_int>) -> lk_status {
    guard(move || {
        let (events, place) = (events.get("events")?, out.check("out")?);
        let reader = events.reader.lock();
        let subscription = &events.subscription;
        let all_read = reader.taken.is_empty();
        let descriptor = if all_read { subscription.descriptor() } else { subscription.descriptor_up() };
        let descriptor =
            descriptor.map_err(|error| Failure::new(LK_ERR_IO, format!("no descriptor: {error}")))?;
        place.set(descriptor.as_raw_fd());
        Ok(())
    })
}

/// Whether the source has ended and all was read.
///
/// events: not consumed.
/// Returns: 1 when it has, also when `events` is no such handle; else 0.
/// Thread: any. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_events_has_ended(events: Ref<lk_events>) -> i32 {
    guard_or(1, move || {
        let events = events.get("events")?;
        let all_read = events.reader.lock().taken.is_empty();
        Ok(i32::from(all_read && events.subscription.has_ended()))
    })
}

/// The event that was read last, with all there is to say of it, as a JSON
/// object: seq, n, at, source, kind, event, and the fields of its kind.
///
/// events: not consumed. buf, len: where the text goes, with its NUL. needed:
/// how many bytes it needs, written also with LK_ERR_BUFFER; may be NULL.
/// Returns: LK_OK; LK_ERR_BUFFER; LK_ERR_STATE before the first event was
/// read; LK_ERR_NULL; LK_ERR_STALE. Thread: one. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_events_last_json(
    events: Ref<lk_events>,
    buf: Buffer,
    len: usize,
    needed: Out<usize>,
) -> lk_status {
    guard(move || {
        let (events, place) = (events.get("events")?, buf.check(len, &needed)?);
        place.set_json(&*events.last()?)
    })
}

/// The event that was read last, as a line for people.
///
/// events: not consumed. buf, len, needed: as for lk_events_last_json.
/// Returns: as lk_events_last_json. Thread: one. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_events_last_text(
    events: Ref<lk_events>,
    buf: Buffer,
    len: usize,
    needed: Out<usize>,
) -> lk_status {
    guard(move || {
        let (events, place) = (events.get("events")?, buf.check(len, &needed)?);
        place.set(&events.last()?.to_string())
    })
}

/// Stops listening and lets go of the handle; its descriptor is closed.
///
/// events: consumed; NULL does nothing.
/// Returns: LK_OK; LK_ERR_STALE when it was freed already. Thread: any. Does
/// not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_events_free(events: Own<lk_events>) -> lk_status {
    guard(move || events.release("events"))
}

impl Events {
    fn last(&self) -> Answer<Arc<Event>> {
        self.reader.lock().last.clone().ok_or_else(|| Failure::new(LK_ERR_STATE, "events: none was read yet"))
    }

    /// The next event, when there was none at once.
    #[cold]
    fn wait(&self, timeout_ms: u64) -> Answer<Delivery> {
        let delivery = match timeout_ms {
            0 => None,
            _ => self.subscription.recv_timeout(millis(timeout_ms)),
        };
        delivery.ok_or_else(|| {
            if self.subscription.has_ended() {
                Failure::new(LK_ERR_ENDED, "the source of these events has ended")
            } else if self.subscription.is_hung_up() {
                Failure::new(LK_ERR_STALE, "events: was freed meanwhile")
            } else {
                Failure::new(LK_ERR_TIMEOUT, "no event in that time")
            }
        })
    }
}

impl lk_event {
    pub(super) fn of(event: &Event) -> Self {
        let mut this = Self::initial();
        this.tell(event, 0);
        this
    }

    /// Says what happened; all but the size.
    #[inline]
    fn tell(&mut self, event: &Event, before: u64) {
        // Every field by name: what is left out would be the event's before.
        let Self { size: _, kind, loop_kind, error, health, reserved, seq, n, lost, at_us, source } = self;
        *kind = event_number(&event.what);
        *loop_kind = kind_number(event.kind);
        *error = event.what.error().map_or(LK_OK, |error| error.kind() as lk_status);
        *health = health_after(&event.what);
        *reserved = 0;
        *seq = event.seq;
        *n = event.n;
        *lost = before;
        *at_us = event.at.as_micros();
        set_chars(source, event.source.as_str());
    }
}

fn health_after(what: &EventKind) -> lk_health {
    health_number(match what {
        EventKind::Ready { .. } | EventKind::ComponentReady => crate::event::Health::Ready,
        EventKind::Down { .. } => crate::event::Health::Down,
        EventKind::HealthChanged { to, .. } | EventKind::CheckerChanged { to, .. } => *to,
        EventKind::ComponentNotReady { health } => *health,
        _ => crate::event::Health::Unknown,
    })
}

fn event_number(what: &EventKind) -> lk_event_kind {
    match what {
        EventKind::Started => LK_EVENT_STARTED,
        EventKind::Ready { .. } => LK_EVENT_READY,
        EventKind::Down { .. } => LK_EVENT_DOWN,
        EventKind::GaveUp { .. } => LK_EVENT_GAVE_UP,
        EventKind::TimedOut { .. } => LK_EVENT_TIMED_OUT,
        EventKind::Late { .. } => LK_EVENT_LATE,
        EventKind::Reconciled { .. } => LK_EVENT_RECONCILED,
        EventKind::ReconcileFailed { .. } => LK_EVENT_RECONCILE_FAILED,
        EventKind::HealthChanged { .. } => LK_EVENT_HEALTH_CHANGED,
        EventKind::CheckerChanged { .. } => LK_EVENT_CHECKER_CHANGED,
        EventKind::CheckTimedOut { .. } => LK_EVENT_CHECK_TIMED_OUT,
        EventKind::CheckLate { .. } => LK_EVENT_CHECK_LATE,
        EventKind::Paused => LK_EVENT_PAUSED,
        EventKind::Resumed => LK_EVENT_RESUMED,
        EventKind::ConfigReloaded { .. } => LK_EVENT_CONFIG_RELOADED,
        EventKind::ConfigRejected { .. } => LK_EVENT_CONFIG_REJECTED,
        EventKind::Deployed { .. } => LK_EVENT_DEPLOYED,
        EventKind::Replaced { .. } => LK_EVENT_REPLACED,
        EventKind::Undeployed { .. } => LK_EVENT_UNDEPLOYED,
        EventKind::UndeployFailed { .. } => LK_EVENT_UNDEPLOY_FAILED,
        EventKind::Rejected { .. } => LK_EVENT_REJECTED,
        EventKind::RolledBack { .. } => LK_EVENT_ROLLED_BACK,
        EventKind::Stopped => LK_EVENT_STOPPED,
        EventKind::ComponentWaiting { .. } => LK_EVENT_COMPONENT_WAITING,
        EventKind::ComponentStarting => LK_EVENT_COMPONENT_STARTING,
        EventKind::ComponentUp { .. } => LK_EVENT_COMPONENT_UP,
        EventKind::ComponentReady => LK_EVENT_COMPONENT_READY,
        EventKind::ComponentNotReady { .. } => LK_EVENT_COMPONENT_NOT_READY,
        EventKind::ComponentFailed { .. } => LK_EVENT_COMPONENT_FAILED,
        EventKind::ComponentRestarting { .. } => LK_EVENT_COMPONENT_RESTARTING,
        EventKind::ComponentGaveUp { .. } => LK_EVENT_COMPONENT_GAVE_UP,
        EventKind::ComponentStopping => LK_EVENT_COMPONENT_STOPPING,
        EventKind::ComponentStopped => LK_EVENT_COMPONENT_STOPPED,
        EventKind::ComponentAbandoned { .. } => LK_EVENT_COMPONENT_ABANDONED,
        EventKind::ComponentReplaced => LK_EVENT_COMPONENT_REPLACED,
        EventKind::ComponentRolledBack { .. } => LK_EVENT_COMPONENT_ROLLED_BACK,
        EventKind::ComponentRemoved => LK_EVENT_COMPONENT_REMOVED,
        EventKind::Recovery(event) => match event.step {
            RecoveryStep::Detected => LK_EVENT_RECOVERY_DETECTED,
            RecoveryStep::PollError => LK_EVENT_RECOVERY_POLL_ERROR,
            RecoveryStep::Started => LK_EVENT_RECOVERY_STARTED,
            RecoveryStep::CheckpointSelected => LK_EVENT_RECOVERY_CHECKPOINT_SELECTED,
            RecoveryStep::ClientCreated => LK_EVENT_RECOVERY_CLIENT_CREATED,
            RecoveryStep::Completed => LK_EVENT_RECOVERY_COMPLETED,
            RecoveryStep::Failed => LK_EVENT_RECOVERY_FAILED,
            RecoveryStep::Exhausted => LK_EVENT_RECOVERY_EXHAUSTED,
            RecoveryStep::Verified => LK_EVENT_RECOVERY_VERIFIED,
            RecoveryStep::Relapsed => LK_EVENT_RECOVERY_RELAPSED,
            RecoveryStep::Skipped => LK_EVENT_RECOVERY_SKIPPED,
            RecoveryStep::Cancelled => LK_EVENT_RECOVERY_CANCELLED,
            RecoveryStep::LeftBehind => LK_EVENT_RECOVERY_LEFT_BEHIND,
        },
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;
    use crate::event::LoopKind;
    use crate::stamp::Stamp;
    use crate::subscription::Hub;
    use crate::sys::wait::{Interest, PollFd, poll};
    use std::time::Duration;

    #[test]
    fn the_descriptor_is_down_once_a_read_has_found_nothing() {
        let hub = Hub::default();
        let events = Events::new(hub.subscribe(2));
        let is_ready = |descriptor| {
            let mut fds = [PollFd::new(descriptor, Interest::Read)];
            poll(&mut fds, Duration::ZERO).unwrap();
            fds[0].is_ready()
        };
        let is_read = || events.reader.lock().next(&events.subscription).is_some();
        let descriptor = events.subscription.descriptor().unwrap();
        hub.send(&Arc::new(Event {
            seq: 1,
            n: 1,
            at: Stamp::from_micros(0),
            source: "s".parse().expect("a name"),
            kind: LoopKind::Watcher,
            what: EventKind::Started,
        }));
        assert!(is_ready(descriptor) && is_read() && !is_ready(descriptor));
        // As by a sender that was put aside between the event and the flag.
        events.subscription.descriptor_up().unwrap();
        assert!(is_ready(descriptor) && !is_read() && !is_ready(descriptor));
        drop(hub);
        assert!(is_ready(descriptor) && !is_read() && is_ready(descriptor));
    }
}
