//! What a host says of a component, as a struct.

use std::ffi::c_char;

use super::boundary::{Out, Versioned, chars, guard, init};
use super::loop_status::{LK_HEALTH_UNKNOWN, health_number, lk_health};
use super::status::lk_status;
use crate::host::{ComponentState, ComponentStatus};

/// Where a component is.
pub type lk_component_state = i32;

/// Known, and not started.
pub const LK_STATE_REGISTERED: lk_component_state = 1;
/// Not started until what it requires is ready.
pub const LK_STATE_WAITING: lk_component_state = 2;
/// In its start, or started and not up yet.
pub const LK_STATE_STARTING: lk_component_state = 3;
/// It can take work.
pub const LK_STATE_READY: lk_component_state = 4;
/// It can take work, in part.
pub const LK_STATE_DEGRADED: lk_component_state = 5;
/// It runs and can take no work.
pub const LK_STATE_DOWN: lk_component_state = 6;
/// It ended with an error and is left alone.
pub const LK_STATE_FAILED: lk_component_state = 7;
/// It ended with an error and is started again when its delay is over.
pub const LK_STATE_BACKING_OFF: lk_component_state = 8;
/// In its stop, or about to be.
pub const LK_STATE_STOPPING: lk_component_state = 9;
/// It has ended.
pub const LK_STATE_STOPPED: lk_component_state = 10;
/// Stuck in a call past its deadline; the host goes on without it.
pub const LK_STATE_ABANDONED: lk_component_state = 11;

/// One component at one moment.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct lk_component_status {
    /// sizeof(lk_component_status); lk_component_status_init sets it.
    pub size: u32,
    /// Where it is: LK_STATE_...
    pub state: lk_component_state,
    /// What it says of itself: LK_HEALTH_...
    pub health: lk_health,
    /// 1 when it works; else 0.
    pub up: i32,
    /// 1 when what requires it may run; else 0.
    pub ready: i32,
    /// 1 when the whole is down while this is; else 0.
    pub critical: i32,
    /// Since when it is where it is, in microseconds since 1970 UTC.
    pub since_us: u64,
    /// How often it was started again by itself.
    pub restarts: u64,
    /// How often it was started.
    pub runs: u64,
    /// For how long the call into it has run; UINT64_MAX when there is none.
    pub running_for_us: u64,
    /// Its name.
    pub name: [c_char; 64],
    /// Why it failed the last time, cut at 255 bytes; "" when it did not.
    pub last_error: [c_char; 256],
}

// SAFETY: numbers and characters only.
unsafe impl Versioned for lk_component_status {
    const NAME: &'static str = "lk_component_status";
    const MIN: usize = size_of::<Self>();

    fn initial() -> Self {
        Self {
            size: size_of::<Self>() as u32,
            state: 0,
            health: LK_HEALTH_UNKNOWN,
            up: 0,
            ready: 0,
            critical: 0,
            since_us: 0,
            restarts: 0,
            runs: 0,
            running_for_us: u64::MAX,
            name: [0; 64],
            last_error: [0; 256],
        }
    }
}

/// Fills in an empty status, so that a call can fill in its own.
///
/// out: where. size: sizeof(lk_component_status).
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_SIZE. Thread: any. Does not block.
/// Next: lk_host_component_status.
#[unsafe(no_mangle)]
pub extern "C" fn lk_component_status_init(out: Out<lk_component_status>, size: usize) -> lk_status {
    guard(move || init(&out, size))
}

impl lk_component_status {
    pub(super) fn of(status: &ComponentStatus) -> Self {
        let running_for = status.running_for.map(|span| u64::try_from(span.as_micros()).unwrap_or(u64::MAX));
        let error = status.last_error.as_ref().map(|error| error.report().to_string());
        Self {
            state: state_number(status.state),
            health: health_number(status.health),
            up: i32::from(status.up),
            ready: i32::from(status.ready),
            critical: i32::from(status.critical),
            since_us: status.since.as_micros(),
            restarts: status.restarts,
            runs: status.runs,
            running_for_us: running_for.unwrap_or(u64::MAX),
            name: chars(status.name.as_str()),
            last_error: chars(error.as_deref().unwrap_or_default()),
            ..Self::initial()
        }
    }
}

fn state_number(state: ComponentState) -> lk_component_state {
    match state {
        ComponentState::Registered => LK_STATE_REGISTERED,
        ComponentState::Waiting => LK_STATE_WAITING,
        ComponentState::Starting => LK_STATE_STARTING,
        ComponentState::Ready => LK_STATE_READY,
        ComponentState::Degraded => LK_STATE_DEGRADED,
        ComponentState::Down => LK_STATE_DOWN,
        ComponentState::Failed => LK_STATE_FAILED,
        ComponentState::BackingOff => LK_STATE_BACKING_OFF,
        ComponentState::Stopping => LK_STATE_STOPPING,
        ComponentState::Stopped => LK_STATE_STOPPED,
        ComponentState::Abandoned => LK_STATE_ABANDONED,
    }
}
