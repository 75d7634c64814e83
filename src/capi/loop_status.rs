//! What a loop says of itself, as a struct.

use std::ffi::c_char;
use std::time::Duration;

use super::boundary::{
    Answer, Failure, Out, OutStruct, Place, StructPlace, Versioned, guard, init, set_chars, set_text,
};
use super::status::{LK_ERR_RANGE, lk_status};
use crate::event::{Health, LoopKind};
use crate::stamp::Stamp;
use crate::status::{ActivityKind, LoopStatus, Phase, StatusView};

/// The answer to "can it take work?".
pub type lk_health = i32;

/// Nothing is known yet, or nobody looks any more.
pub const LK_HEALTH_UNKNOWN: lk_health = 0;
/// It can take work.
pub const LK_HEALTH_READY: lk_health = 1;
/// It works, in part.
pub const LK_HEALTH_DEGRADED: lk_health = 2;
/// It cannot take work.
pub const LK_HEALTH_DOWN: lk_health = 3;

/// What kind of loop a source is.
pub type lk_loop_kind = i32;

/// Watches one service.
pub const LK_LOOP_WATCHER: lk_loop_kind = 1;
/// Watches the files of a configuration.
pub const LK_LOOP_CONFIG: lk_loop_kind = 2;
/// Turns a folder of descriptors into running components.
pub const LK_LOOP_DEPLOYER: lk_loop_kind = 3;
/// Reconciles a part of the program's state.
pub const LK_LOOP_CONTROLLER: lk_loop_kind = 4;
/// Looks at regular times whether things are as they should be.
pub const LK_LOOP_MONITOR: lk_loop_kind = 5;
/// Watches runs and restores those that are corrupted.
pub const LK_LOOP_RECOVERY: lk_loop_kind = 6;
/// A part of the program that a host starts and stops.
pub const LK_LOOP_COMPONENT: lk_loop_kind = 7;

/// What a loop is doing.
pub type lk_phase = i32;

/// Trying for the first time, with growing delays.
pub const LK_PHASE_STARTING: lk_phase = 1;
/// Looking at regular times.
pub const LK_PHASE_POLLING: lk_phase = 2;
/// Down after having been ready: trying with growing delays.
pub const LK_PHASE_RECOVERING: lk_phase = 3;
/// Running, without regular looks.
pub const LK_PHASE_RUNNING: lk_phase = 4;
/// Ended, or told to end.
pub const LK_PHASE_STOPPED: lk_phase = 5;

/// One loop at one moment. Moments are microseconds since 1970 UTC, 0 where
/// there is none; spans of time that there are none of are UINT64_MAX.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct lk_loop_status {
    /// sizeof(lk_loop_status); lk_loop_status_init sets it.
    pub size: u32,
    /// What kind of loop it is: LK_LOOP_...
    pub kind: lk_loop_kind,
    /// What is known of what it looks after: LK_HEALTH_...
    pub health: lk_health,
    /// What the loop is doing: LK_PHASE_...
    pub phase: lk_phase,
    /// 1 when what it looks after can take work, in part at least; else 0.
    pub ready: i32,
    /// 1 when the whole is down while this is; else 0.
    pub critical: i32,
    /// How many calls in a row have failed.
    pub consecutive_failures: u32,
    /// How many calls were made since the start, or since it went down.
    pub attempt: u32,
    /// Since when the health is what it is.
    pub since_us: u64,
    /// When the last call ended or timed out.
    pub last_check_us: u64,
    /// When a call last succeeded.
    pub last_success_us: u64,
    /// When the next call is due.
    pub next_run_us: u64,
    /// How long the last call took that returned in time.
    pub latency_us: u64,
    /// For how long the present call has run.
    pub running_for_us: u64,
    /// For how long the present call is past its deadline, or the next one
    /// past its due.
    pub overdue_for_us: u64,
    /// How many calls were begun.
    pub runs: u64,
    /// How many calls failed, each timeout counted.
    pub failures: u64,
    /// How many deadlines passed.
    pub timeouts: u64,
    /// How many calls came back after their deadline.
    pub late: u64,
    /// How many regular runs were left out because their time had passed.
    pub missed: u64,
    /// How often the health changed.
    pub transitions: u64,
    /// How many callbacks were replaced by a later one or dropped at a stop.
    pub lost_callbacks: u64,
    /// The kernel's number of its thread; 0 where there is none.
    pub tid: u32,
    /// Always 0.
    pub reserved: u32,
    /// Its name.
    pub name: [c_char; 64],
    /// Why the last call failed, cut at 255 bytes; "" after a success.
    pub last_error: [c_char; 256],
    /// For how long the present call has been doing what `call_phase` says.
    pub call_phase_for_us: u64,
    /// Whether the thread of a call that has passed its deadline computes or
    /// waits: LK_ACTIVITY_...
    pub activity: lk_activity,
    /// That thread's share of one processor in percent; UINT32_MAX where it is
    /// not known.
    pub cpu_percent: u32,
    /// What the present call says that it is doing, such as "looking up
    /// db.internal", cut at 127 bytes; "" while there is none.
    pub call_phase: [c_char; 128],
    /// How long ago the last call ended or timed out; UINT64_MAX before one
    /// has. Steps of the wall clock do not change it, unlike what
    /// `last_check_us` is compared with.
    pub age_us: u64,
    /// 1 when the loop should have been heard of again by now, so that what is
    /// known counts no more, and `ready` is 0; else 0.
    pub stale: i32,
    /// Always 0.
    pub reserved2: u32,
}

/// Whether a thread computes or waits. Known on Linux.
pub type lk_activity = i32;

/// Not known, or no call has passed its deadline.
pub const LK_ACTIVITY_UNKNOWN: lk_activity = 0;
/// It burns processor time: an endless loop, or much work.
pub const LK_ACTIVITY_BURNING: lk_activity = 1;
/// It waits for something that does not come.
pub const LK_ACTIVITY_BLOCKED: lk_activity = 2;
/// It does both in turn.
pub const LK_ACTIVITY_BOTH: lk_activity = 3;

// SAFETY: numbers and characters only.
unsafe impl Versioned for lk_loop_status {
    const NAME: &'static str = "lk_loop_status";
    const MIN: usize = std::mem::offset_of!(Self, call_phase_for_us);

    fn initial() -> Self {
        Self {
            size: size_of::<Self>() as u32,
            kind: 0,
            health: LK_HEALTH_UNKNOWN,
            phase: 0,
            ready: 0,
            critical: 0,
            consecutive_failures: 0,
            attempt: 0,
            since_us: 0,
            last_check_us: 0,
            last_success_us: 0,
            next_run_us: 0,
            latency_us: u64::MAX,
            running_for_us: u64::MAX,
            overdue_for_us: u64::MAX,
            runs: 0,
            failures: 0,
            timeouts: 0,
            late: 0,
            missed: 0,
            transitions: 0,
            lost_callbacks: 0,
            tid: 0,
            reserved: 0,
            name: [0; 64],
            last_error: [0; 256],
            call_phase_for_us: u64::MAX,
            activity: LK_ACTIVITY_UNKNOWN,
            cpu_percent: u32::MAX,
            call_phase: [0; 128],
            age_us: u64::MAX,
            stale: 0,
            reserved2: 0,
        }
    }
}

/// Fills in an empty status, so that a call can fill in its own.
///
/// out: where. size: sizeof(lk_loop_status).
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_SIZE. Thread: any. Does not block.
/// Next: lk_watcher_status, lk_env_loops and others.
#[unsafe(no_mangle)]
pub extern "C" fn lk_loop_status_init(out: Out<lk_loop_status>, size: usize) -> lk_status {
    guard(move || init(&out, size))
}

impl lk_loop_status {
    /// Says it of a loop; all but the size.
    pub(super) fn tell(&mut self, status: &StatusView<'_>) {
        let us = |stamp: Option<Stamp>| stamp.map_or(0, Stamp::as_micros);
        let span = |span: Option<Duration>| {
            // Longer ones than there are: the same as none.
            let micros = |span: Duration| span.as_secs().saturating_mul(1_000_000);
            span.map_or(u64::MAX, |span| micros(span).saturating_add(u64::from(span.subsec_micros())))
        };
        // Every field by name: what is left out would be the loop's before.
        let Self {
            size: _,
            kind,
            health,
            phase,
            ready,
            critical,
            consecutive_failures,
            attempt,
            since_us,
            last_check_us,
            last_success_us,
            next_run_us,
            latency_us,
            running_for_us,
            overdue_for_us,
            runs,
            failures,
            timeouts,
            late,
            missed,
            transitions,
            lost_callbacks,
            tid,
            reserved,
            name,
            last_error,
            call_phase_for_us,
            activity,
            cpu_percent,
            call_phase,
            age_us,
            stale,
            reserved2,
        } = self;
        *kind = kind_number(status.kind);
        *health = health_number(status.health);
        *phase = phase_number(status.phase);
        *ready = i32::from(status.ready);
        *critical = i32::from(status.critical);
        *consecutive_failures = status.consecutive_failures;
        *attempt = status.attempt;
        *since_us = status.since.as_micros();
        *last_check_us = us(status.last_check);
        *last_success_us = us(status.last_success);
        *next_run_us = us(status.next_run);
        *latency_us = span(status.latency);
        *running_for_us = span(status.running_for);
        *overdue_for_us = span(status.overdue_for);
        *runs = status.runs;
        *failures = status.failures;
        *timeouts = status.timeouts;
        *late = status.late;
        *missed = status.missed;
        *transitions = status.transitions;
        *lost_callbacks = status.lost_callbacks;
        *tid = status.tid.unwrap_or_default();
        *reserved = 0;
        let call = status.call;
        let seen = call.and_then(|call| call.activity.as_ref());
        *call_phase_for_us = span(call.map(|call| call.phase_for));
        *activity = seen.map_or(LK_ACTIVITY_UNKNOWN, |seen| activity_number(seen.is));
        *cpu_percent = seen.and_then(|seen| seen.cpu_percent).unwrap_or(u32::MAX);
        *age_us = span(status.age);
        *stale = i32::from(status.stale);
        *reserved2 = 0;
        set_chars(call_phase, call.map_or("", |call| &call.phase));
        set_chars(name, status.name.as_str());
        set_text(last_error, status.last_error);
    }
}

/// Writes what is seen of a loop.
pub(super) fn write_view(place: &StructPlace<lk_loop_status>, view: &StatusView<'_>) {
    place.fill(|out| out.tell(view));
}

/// Writes a status.
pub(super) fn write(place: &StructPlace<lk_loop_status>, status: &LoopStatus) {
    write_view(place, &status.view());
}

/// Writes as many statuses as there is room for, and how many there are.
pub(super) fn write_all(
    loops: &[LoopStatus],
    row: &OutStruct<lk_loop_status>,
    capacity: usize,
    count: Place<usize>,
) -> Answer {
    for (place, status) in row.row(capacity.min(loops.len()), "items")?.zip(loops) {
        write(&place, status);
    }
    count.set(loops.len());
    Ok(())
}

/// The health that a number from C stands for.
pub(super) fn health_of(health: lk_health) -> Answer<Health> {
    match health {
        LK_HEALTH_UNKNOWN => Ok(Health::Unknown),
        LK_HEALTH_READY => Ok(Health::Ready),
        LK_HEALTH_DEGRADED => Ok(Health::Degraded),
        LK_HEALTH_DOWN => Ok(Health::Down),
        other => Err(Failure::new(LK_ERR_RANGE, format!("health: must be one of LK_HEALTH_, found {other}"))),
    }
}

pub(super) fn health_number(health: Health) -> lk_health {
    match health {
        Health::Unknown => LK_HEALTH_UNKNOWN,
        Health::Ready => LK_HEALTH_READY,
        Health::Degraded => LK_HEALTH_DEGRADED,
        Health::Down => LK_HEALTH_DOWN,
    }
}

pub(super) fn kind_number(kind: LoopKind) -> lk_loop_kind {
    match kind {
        LoopKind::Watcher => LK_LOOP_WATCHER,
        LoopKind::ConfigWatcher => LK_LOOP_CONFIG,
        LoopKind::Deployer => LK_LOOP_DEPLOYER,
        LoopKind::Controller => LK_LOOP_CONTROLLER,
        LoopKind::Monitor => LK_LOOP_MONITOR,
        LoopKind::Recovery => LK_LOOP_RECOVERY,
        LoopKind::Component => LK_LOOP_COMPONENT,
    }
}

pub(super) fn activity_number(is: ActivityKind) -> lk_activity {
    match is {
        ActivityKind::Burning => LK_ACTIVITY_BURNING,
        ActivityKind::Blocked => LK_ACTIVITY_BLOCKED,
        ActivityKind::Both => LK_ACTIVITY_BOTH,
    }
}

fn phase_number(phase: Phase) -> lk_phase {
    match phase {
        Phase::Starting => LK_PHASE_STARTING,
        Phase::Polling => LK_PHASE_POLLING,
        Phase::Recovering => LK_PHASE_RECOVERING,
        Phase::Running => LK_PHASE_RUNNING,
        Phase::Stopped => LK_PHASE_STOPPED,
    }
}
