//! Controllers: parts of a program's state that are made as they should be,
//! again and again.

use std::ffi::c_void;

use super::boundary::{
    Answer, Buffer, Failure, In, Out, OutStruct, Text, Versioned, flag, guard, init, millis,
};
use super::call::{Cx, attempt};
use super::env::lk_env;
use super::event::{Events, lk_events};
use super::handle::{New, Own, Ref, object};
use super::loop_status::{self, lk_loop_status};
use super::report::{lk_stop_report, tell};
use super::status::{LK_ERR_NULL, LK_ERR_RANGE, LK_ERR_TIMEOUT, lk_status};
use super::userdata::{Userdata, lk_drop_fn};
use crate::component::Context;
use crate::controller::{BackoffConfig, Controller, ControllerConfig, Outcome, Overrun, Reconciler};
use crate::error::BoxError;

/// One controller, on a thread of its own.
#[derive(Debug)]
pub struct lk_controller {
    _private: [u8; 0],
}

object!(lk_controller => Reconciler, Reconciler::stop_for_drop, Reconciler::is_own_call);

/// Makes a part of the program's state as it should be, once. It must do no
/// harm to run twice.
///
/// userdata: that of the table. cx: valid until it returns;
/// lk_context_set_items says how much was done, lk_context_set_requeue asks for
/// another run soon, lk_context_set_answer says in words what was done, and
/// lk_context_is_dry_run whether nothing may be changed. Returns 0 when it is
/// done; anything else is tried again with growing delays, unless
/// lk_context_set_terminal says that this cannot help. Runs on the
/// controller's thread, one at a time. It should return before
/// lk_context_remaining_ms is 0, and soon once lk_context_is_cancelled.
pub type lk_reconcile_fn = Option<extern "C" fn(userdata: *mut c_void, cx: Cx) -> i32>;

/// What becomes of the regular runs whose time passes during another.
pub type lk_overrun = i32;

/// All are left out; the next run is at its own time.
pub const LK_OVERRUN_SKIP: lk_overrun = 0;
/// One is made up for, right after; more are left out.
pub const LK_OVERRUN_QUEUE_ONE: lk_overrun = 1;
/// They are made up for, one right after the other, up to `catch_up`.
pub const LK_OVERRUN_CATCH_UP: lk_overrun = 2;

/// A controller: its name, what it does, and when.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct lk_controller_config {
    /// sizeof(lk_controller_config); lk_controller_config_init sets it.
    pub size: u32,
    /// Whether the whole is down, and not only degraded, while this controller
    /// is: 0 or 1. Defaults to 0.
    pub critical: i32,
    /// Its name: a letter or digit, then up to 62 of these and '.', '_', '-'.
    pub name: Text,
    /// What it does.
    pub reconcile: lk_reconcile_fn,
    /// Called once, after the last call of `reconcile`; may be NULL.
    pub drop: lk_drop_fn,
    /// Passed to each callback.
    pub userdata: *mut c_void,
    /// The time between regular runs, from the beginning of one to that of
    /// the next. Defaults to 60 s.
    pub interval_ms: u64,
    /// How long one run may take, whatever the interval. Defaults to 60 s.
    pub deadline_ms: u64,
    /// When the first run is made after a start. Defaults to 0: at once.
    pub first_run_after_ms: u64,
    /// The delay after the first failed run. Defaults to 2 s.
    pub initial_delay_ms: u64,
    /// No delay is longer. Defaults to 60 s.
    pub max_delay_ms: u64,
    /// How long freeing the controller waits for its thread, unless a stop
    /// has. Defaults to 1 s.
    pub drop_grace_ms: u64,
    /// By how much each delay is longer than the one before, at least 1.
    /// Defaults to 2.
    pub multiplier: f64,
    /// By which share of it a delay or the interval may be shorter, at random,
    /// 0 to 1. Defaults to 0.1.
    pub jitter: f64,
    /// How many runs in a row must fail before the controller is down.
    /// Defaults to 1.
    pub failure_threshold: u32,
    /// What becomes of regular runs whose time passes during another:
    /// LK_OVERRUN_... Defaults to LK_OVERRUN_SKIP.
    pub overrun: lk_overrun,
    /// For LK_OVERRUN_CATCH_UP: how many runs are made up for at most.
    /// Defaults to 1.
    pub catch_up: u32,
    /// Whether the regular times count from the first run, instead of being
    /// spread by a hash of the name: 0 or 1. Defaults to 0.
    pub in_phase: i32,
    /// Whether it is to say what it would do, and to change nothing: 0 or 1.
    /// Defaults to 0.
    pub dry_run: i32,
    /// Whether it starts without runs, until it is resumed or triggered: 0 or
    /// 1. Defaults to 0.
    pub paused: i32,
}

// SAFETY: numbers, pointers that are looked at before they are used, and
// functions that may be absent.
unsafe impl Versioned for lk_controller_config {
    const NAME: &'static str = "lk_controller_config";
    const MIN: usize = std::mem::offset_of!(Self, interval_ms);

    fn initial() -> Self {
        let backoff = BackoffConfig::default();
        let ms = |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self {
            size: size_of::<Self>() as u32,
            critical: 0,
            name: Text::NONE,
            reconcile: None,
            drop: None,
            userdata: std::ptr::null_mut(),
            interval_ms: 60_000,
            deadline_ms: 60_000,
            first_run_after_ms: 0,
            initial_delay_ms: ms(backoff.initial_delay),
            max_delay_ms: ms(backoff.max_delay),
            drop_grace_ms: 1000,
            multiplier: backoff.multiplier,
            jitter: 0.1,
            failure_threshold: 1,
            overrun: LK_OVERRUN_SKIP,
            catch_up: 1,
            in_phase: 0,
            dry_run: 0,
            paused: 0,
        }
    }
}

/// Fills in the default settings; `name` and `reconcile` are still to be set.
///
/// out: where. size: sizeof(lk_controller_config).
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_SIZE. Thread: any. Does not block.
/// Next: lk_controller_start, lk_controller_manager_register.
#[unsafe(no_mangle)]
pub extern "C" fn lk_controller_config_init(out: Out<lk_controller_config>, size: usize) -> lk_status {
    guard(move || init(&out, size))
}

/// Starts a controller.
///
/// env: not consumed. config: copied, and its texts; its `drop` is called
/// once whatever this returns, unless the config itself is NULL or of a wrong
/// size. out: a new handle, the caller's to free with lk_controller_free.
/// Returns: LK_OK; LK_ERR_INVALID when a setting cannot be used; LK_ERR_SPAWN
/// or LK_ERR_BUDGET; LK_ERR_RANGE; LK_ERR_NULL; LK_ERR_SIZE; LK_ERR_UTF8;
/// LK_ERR_STALE. Thread: any. Does not block. Next: lk_controller_stop.
#[unsafe(no_mangle)]
pub extern "C" fn lk_controller_start(
    env: Ref<lk_env>,
    config: In<lk_controller_config>,
    out: New<lk_controller>,
) -> lk_status {
    guard(move || {
        let table = Table::read(&config)?;
        let (env, place) = (env.get("env")?, out.check("out")?);
        let (settings, controller) = table.into_parts()?;
        place.set(Reconciler::start_in(&env, settings, controller)?)
    })
}

/// Makes a controller that is not started: for a host, which does that, or
/// for lk_controller_restart.
///
/// env, config, out: as for lk_controller_start.
/// Returns: as lk_controller_start. Thread: any. Does not block. Next:
/// lk_component_of_controller.
#[unsafe(no_mangle)]
pub extern "C" fn lk_controller_new(
    env: Ref<lk_env>,
    config: In<lk_controller_config>,
    out: New<lk_controller>,
) -> lk_status {
    guard(move || {
        let table = Table::read(&config)?;
        let (env, place) = (env.get("env")?, out.check("out")?);
        let (settings, controller) = table.into_parts()?;
        place.set(Reconciler::new(&env, settings, controller)?)
    })
}

/// Makes no regular runs any more, until it is resumed.
///
/// controller: not consumed.
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_STALE. Thread: any, callbacks included.
/// Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_controller_pause(controller: Ref<lk_controller>) -> lk_status {
    guard(move || {
        controller.get("controller")?.pause();
        Ok(())
    })
}

/// Makes regular runs again.
///
/// controller: not consumed.
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_STALE. Thread: any, callbacks included.
/// Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_controller_resume(controller: Ref<lk_controller>) -> lk_status {
    guard(move || {
        controller.get("controller")?.resume();
        Ok(())
    })
}

/// Runs now instead of at the next due; during a run, right after it.
///
/// controller: not consumed.
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_STALE. Thread: any, callbacks included.
/// Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_controller_trigger(controller: Ref<lk_controller>) -> lk_status {
    guard(move || {
        controller.get("controller")?.trigger();
        Ok(())
    })
}

/// Starts again after a stop.
///
/// controller: not consumed.
/// Returns: LK_OK; LK_ERR_STATE while it runs, is being stopped or an earlier
/// call is stuck; LK_ERR_SPAWN or LK_ERR_BUDGET; LK_ERR_NULL; LK_ERR_STALE.
/// Thread: any. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_controller_restart(controller: Ref<lk_controller>) -> lk_status {
    guard(move || Ok(controller.get("controller")?.restart()?))
}

/// Waits until it is ready.
///
/// controller: not consumed. timeout_ms: how long at most, in real time;
/// LK_FOREVER.
/// Returns: LK_OK when it is ready; LK_ERR_TIMEOUT when the time has passed or
/// it has ended; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Blocks for
/// `timeout_ms` at most.
#[unsafe(no_mangle)]
pub extern "C" fn lk_controller_wait_ready(controller: Ref<lk_controller>, timeout_ms: u64) -> lk_status {
    guard(move || {
        let controller = controller.get("controller")?;
        if controller.wait_ready(millis(timeout_ms)) {
            return Ok(());
        }
        Err(Failure::new(LK_ERR_TIMEOUT, controller.status().to_string()))
    })
}

/// Stops it: the run in progress is told to end and waited for. When it returns
/// LK_OK none of its callbacks runs or begins any more.
///
/// controller: not consumed. grace_ms: how long to wait. report: how it went,
/// written also when that was not well; may be NULL.
/// Returns: LK_OK when all has ended, also when it was stopped before;
/// LK_ERR_TIMEOUT when a thread or a callback did not end in time;
/// LK_ERR_STATE from its own callback, which only cancels; LK_ERR_NULL;
/// LK_ERR_SIZE; LK_ERR_STALE. Thread: any. Blocks for `grace_ms` at most.
/// Next: lk_controller_free.
#[unsafe(no_mangle)]
pub extern "C" fn lk_controller_stop(
    controller: Ref<lk_controller>,
    grace_ms: u64,
    report: OutStruct<lk_stop_report>,
) -> lk_status {
    guard(move || {
        let (controller, report) = (controller.get("controller")?, report.optional("report")?);
        tell(&controller.stop(millis(grace_ms)), report)
    })
}

/// Everything about it at one moment.
///
/// controller: not consumed. out: a status that was filled in by
/// lk_loop_status_init.
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_SIZE; LK_ERR_STALE. Thread: any. Does
/// not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_controller_status(
    controller: Ref<lk_controller>,
    out: OutStruct<lk_loop_status>,
) -> lk_status {
    guard(move || {
        let (controller, place) = (controller.get("controller")?, out.check("out")?);
        loop_status::write(&place, &controller.status());
        Ok(())
    })
}

/// The same as a JSON object, with what only its kind has to say.
///
/// controller: not consumed. buf, len: where the text goes, with its NUL. needed:
/// how many bytes it needs, written also with LK_ERR_BUFFER; may be NULL.
/// Returns: LK_OK; LK_ERR_BUFFER; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does
/// not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_controller_status_json(
    controller: Ref<lk_controller>,
    buf: Buffer,
    len: usize,
    needed: Out<usize>,
) -> lk_status {
    guard(move || {
        let (controller, place) = (controller.get("controller")?, buf.check(len, &needed)?);
        place.set_json(&controller.status())
    })
}

/// Hears of every event of it from now on.
///
/// controller: not consumed. out: a new handle, the caller's to free with
/// lk_events_free.
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does not block.
/// Next: lk_events_next, lk_events_fd.
#[unsafe(no_mangle)]
pub extern "C" fn lk_controller_subscribe(controller: Ref<lk_controller>, out: New<lk_events>) -> lk_status {
    guard(move || {
        let (controller, place) = (controller.get("controller")?, out.check("out")?);
        place.set(Events::new(controller.subscribe()))
    })
}

/// Stops it, within its drop grace unless a stop has waited already, and lets
/// go of it.
///
/// controller: consumed; NULL does nothing.
/// Returns: LK_OK; LK_ERR_STALE when it was freed already; LK_ERR_STATE from
/// inside a callback of its own. Thread: owner. Blocks for that long at most.
#[unsafe(no_mangle)]
pub extern "C" fn lk_controller_free(controller: Own<lk_controller>) -> lk_status {
    guard(move || controller.free("controller"))
}

/// A controller's config as it came from C, with what its callback works with.
pub(super) struct Table {
    config: lk_controller_config,
    userdata: Userdata,
}

impl Table {
    /// From here on the table's `drop` is called.
    pub(super) fn read(config: &In<lk_controller_config>) -> Answer<Self> {
        let config = config.read("config")?;
        Ok(Self { config, userdata: Userdata::new(config.userdata, config.drop) })
    }

    pub(super) fn into_parts(self) -> Answer<(ControllerConfig, impl Controller + use<>)> {
        let Self { config, userdata } = self;
        let name = config.name.read("name")?;
        let call = config
            .reconcile
            .ok_or_else(|| Failure::new(LK_ERR_NULL, format!("{name}: reconcile: must not be NULL")))?;
        let overrun = match config.overrun {
            LK_OVERRUN_SKIP => Overrun::Skip,
            LK_OVERRUN_QUEUE_ONE => Overrun::QueueOne,
            LK_OVERRUN_CATCH_UP => Overrun::CatchUp { at_most: config.catch_up },
            other => {
                let text = format!("{name}: overrun: must be one of LK_OVERRUN_, found {other}");
                return Err(Failure::new(LK_ERR_RANGE, text));
            }
        };
        let backoff = BackoffConfig {
            initial_delay: millis(config.initial_delay_ms),
            max_delay: millis(config.max_delay_ms),
            multiplier: config.multiplier,
            jitter: config.jitter,
        };
        let mut settings = ControllerConfig::new(name)
            .interval(millis(config.interval_ms))
            .deadline(millis(config.deadline_ms))
            .first_run_after(millis(config.first_run_after_ms))
            .backoff(backoff)
            .jitter(config.jitter)
            .overrun(overrun)
            .failure_threshold(config.failure_threshold)
            .drop_grace(millis(config.drop_grace_ms));
        if flag(config.critical, "critical")? {
            settings = settings.critical();
        }
        if flag(config.in_phase, "in_phase")? {
            settings = settings.in_phase();
        }
        if flag(config.dry_run, "dry_run")? {
            settings = settings.dry_run();
        }
        if flag(config.paused, "paused")? {
            settings = settings.start_paused();
        }
        Ok((settings, CController { call, userdata }))
    }
}

struct CController {
    call: extern "C" fn(*mut c_void, Cx) -> i32,
    userdata: Userdata,
}

impl Controller for CController {
    fn reconcile(&mut self, cx: &Context) -> Result<Outcome, BoxError> {
        let said = attempt(cx, |cx| (self.call)(self.userdata.get(), cx))?;
        let mut outcome = Outcome::processed(usize::try_from(said.items).unwrap_or(usize::MAX));
        if let Some(delay) = said.requeue_after {
            outcome = outcome.requeue_after(delay);
        }
        if let Some(text) = said.answer {
            outcome = outcome.summary(text);
        }
        Ok(outcome)
    }
}
