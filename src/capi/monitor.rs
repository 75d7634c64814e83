//! Monitors: checkers that look, in order and at regular times, whether things
//! are as they should be.

use std::ffi::{c_char, c_void};
use std::sync::{Arc, OnceLock};

use super::boundary::{
    Answer, Buffer, Failure, In, Out, OutStruct, Text, Versioned, flag, guard, init, millis,
};
use super::call::{Cx, attempt_with, notify};
use super::env::lk_env;
use super::event::{Events, lk_events};
use super::handle::{New, Own, Ref, object};
use super::loop_status::{self, health_number, health_of, lk_health, lk_loop_status};
use super::report::{lk_stop_report, tell};
use super::status::{LK_ERR_NULL, LK_ERR_STATE, LK_ERR_TIMEOUT, lk_status};
use super::text::c_text;
use super::userdata::{Userdata, lk_drop_fn};
use crate::component::Context;
use crate::decode;
use crate::env::Env;
use crate::error::{BoxError, Error};
use crate::monitor::descriptor::{Defaults, read};
use crate::monitor::{Checker, CheckerConfig, Monitor, MonitorConfig, Report, Verdict};
use crate::primitive::Mutex;
use crate::tree;

/// Looks at regular times whether things are as they should be.
#[derive(Debug)]
pub struct lk_monitor {
    _private: [u8; 0],
}

object!(lk_monitor => Monitoring, Monitoring::end, |monitor| monitor.made.get().is_some_and(|made| made.is_own_call()));

/// What is behind an [`lk_monitor`]: its settings, until it is made of them.
pub struct Monitoring {
    env: Env,
    config: Mutex<Option<MonitorConfig>>,
    made: OnceLock<Arc<Monitor>>,
}

impl std::fmt::Debug for Monitoring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Monitoring").field("made", &self.made).finish_non_exhaustive()
    }
}

impl Monitoring {
    /// The monitor, made with the first call.
    pub(super) fn make(&self) -> Answer<Arc<Monitor>> {
        if let Some(made) = self.made.get() {
            return Ok(made.clone());
        }
        let Some(config) = self.config.lock().take() else {
            return Err(Failure::new(LK_ERR_STATE, "monitor: is being made, or its settings were refused"));
        };
        let made = Arc::new(Monitor::new(&self.env, config)?);
        Ok(self.made.get_or_init(|| made).clone())
    }

    /// Ends it, unless a host has it as a component.
    fn end(&self) {
        if let Some(monitor) = self.made.get().filter(|monitor| Arc::strong_count(monitor) == 1) {
            monitor.stop_for_drop();
        }
    }

    fn get(&self) -> Answer<&Monitor> {
        let made = self.made.get().map(Arc::as_ref);
        made.ok_or_else(|| Failure::new(LK_ERR_STATE, "monitor: was not started yet"))
    }
}

/// Called when what was looked at turned to another state. userdata: that of
/// the table. checker: the name of the checker; NULL for all together.
/// health: LK_HEALTH_... reason: why it is not ready; NULL when there is
/// nothing to say. Texts are valid until it returns. What it returns does not
/// matter. Runs on the dispatcher's thread, in order, one at a time.
pub type lk_change_fn = Option<
    extern "C" fn(
        userdata: *mut c_void,
        checker: *const c_char,
        health: lk_health,
        reason: *const c_char,
    ) -> i32,
>;

/// Looks once whether something is as it should be.
///
/// userdata: that of the table. cx: valid until it returns. A checker of one
/// thing returns 0 when it is ready, after lk_context_set_degraded when it
/// works in part; anything else when it is not. One of many items (`has_items`)
/// calls lk_context_report for each, good or bad, and returns 0 when it has
/// looked at all; anything else when it could not look: what it reported
/// counts. Runs on the monitor's thread, one checker after the other.
pub type lk_check_fn = Option<extern "C" fn(userdata: *mut c_void, cx: Cx) -> i32>;

/// A monitor: its name, and what to do about what it finds.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct lk_monitor_config {
    /// sizeof(lk_monitor_config); lk_monitor_config_init sets it.
    pub size: u32,
    /// Always 0.
    pub reserved: u32,
    /// Its name: a letter or digit, then up to 62 of these and '.', '_', '-'.
    pub name: Text,
    /// When it looks, and at what with checkers that come with the library: the
    /// `config` object of its descriptor, such as {"poll_period": "30s",
    /// "checkers": [..]}. Defaults to NULL: every minute, no such checkers.
    pub json: Text,
    /// Called when all checkers together turn to another state; may be NULL.
    pub on_change: lk_change_fn,
    /// Called when what one checker looks at does; may be NULL.
    pub on_checker_change: lk_change_fn,
    /// Called once, after the last call of the above; may be NULL.
    pub drop: lk_drop_fn,
    /// Passed to each callback.
    pub userdata: *mut c_void,
}

// SAFETY: numbers, pointers that are looked at before they are used, and
// functions that may be absent.
unsafe impl Versioned for lk_monitor_config {
    const NAME: &'static str = "lk_monitor_config";
    const MIN: usize = std::mem::offset_of!(Self, on_change);

    fn initial() -> Self {
        Self {
            size: size_of::<Self>() as u32,
            reserved: 0,
            name: Text::NONE,
            json: Text::NONE,
            on_change: None,
            on_checker_change: None,
            drop: None,
            userdata: std::ptr::null_mut(),
        }
    }
}

/// A checker of the program's.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct lk_checker {
    /// sizeof(lk_checker); lk_checker_init sets it.
    pub size: u32,
    /// Whether it looks at many items: 0 or 1. Defaults to 0. A look that
    /// reports items has some in any case.
    pub has_items: i32,
    /// Its name, which no other of the monitor has.
    pub name: Text,
    /// Looks.
    pub check: lk_check_fn,
    /// Called once, after the last call of `check`; may be NULL.
    pub drop: lk_drop_fn,
    /// Passed to each callback.
    pub userdata: *mut c_void,
    /// How long one look may take. Defaults to 0: as the monitor says.
    pub deadline_ms: u64,
    /// After which time what was found counts no more. Defaults to 0: as the
    /// monitor says.
    pub stale_after_ms: u64,
}

// SAFETY: numbers, pointers that are looked at before they are used, and
// functions that may be absent.
unsafe impl Versioned for lk_checker {
    const NAME: &'static str = "lk_checker";
    const MIN: usize = std::mem::offset_of!(Self, deadline_ms);

    fn initial() -> Self {
        Self {
            size: size_of::<Self>() as u32,
            has_items: 0,
            name: Text::NONE,
            check: None,
            drop: None,
            userdata: std::ptr::null_mut(),
            deadline_ms: 0,
            stale_after_ms: 0,
        }
    }
}

/// Fills in the default settings; `name` is still to be set.
///
/// out: where. size: sizeof(lk_monitor_config).
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_SIZE. Thread: any. Does not block.
/// Next: lk_monitor_new.
#[unsafe(no_mangle)]
pub extern "C" fn lk_monitor_config_init(out: Out<lk_monitor_config>, size: usize) -> lk_status {
    guard(move || init(&out, size))
}

/// Fills in the default settings; `name` and `check` are still to be set.
///
/// out: where. size: sizeof(lk_checker).
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_SIZE. Thread: any. Does not block.
/// Next: lk_monitor_add_checker.
#[unsafe(no_mangle)]
pub extern "C" fn lk_checker_init(out: Out<lk_checker>, size: usize) -> lk_status {
    guard(move || init(&out, size))
}

/// Makes a monitor that is not started.
///
/// env: not consumed. config: copied, and its texts; its `drop` is called
/// once whatever this returns, unless the config itself is NULL or of a wrong
/// size. out: a new handle, the caller's to free with lk_monitor_free.
/// Returns: LK_OK; LK_ERR_CONFIG with everything that is wrong with the JSON
/// and where; LK_ERR_NULL; LK_ERR_SIZE; LK_ERR_UTF8; LK_ERR_STALE. Thread:
/// any. Does not block. Next: lk_monitor_add_checker, lk_monitor_start.
#[unsafe(no_mangle)]
pub extern "C" fn lk_monitor_new(
    env: Ref<lk_env>,
    config: In<lk_monitor_config>,
    out: New<lk_monitor>,
) -> lk_status {
    guard(move || {
        // First: from here on its `drop` is called.
        let config = config.read("config")?;
        let userdata = Arc::new(Userdata::new(config.userdata, config.drop));
        let (env, place) = (env.get("env")?, out.check("out")?);
        let name = config.name.read("name")?;
        let json = config.json.optional("json")?.unwrap_or("{}");
        let node = tree::parse("json", json).map_err(Error::from)?;
        let read = decode::object(&node, "", |o| read(name, o, &Defaults::default()));
        let mut settings = read.map_err(Error::from)?;
        if let Some(call) = config.on_change {
            let userdata = userdata.clone();
            settings = settings.on_change(move |health, reason| {
                let reason = reason.map(|reason| c_text(reason.to_owned()));
                let reason = reason.as_ref().map_or(std::ptr::null(), |reason| reason.as_ptr());
                notify(|| call(userdata.get(), std::ptr::null(), health_number(health), reason));
            });
        }
        if let Some(call) = config.on_checker_change {
            let userdata = userdata.clone();
            settings = settings.on_checker_change(move |checker, health, reason| {
                let checker = c_text(checker.to_string());
                let reason = reason.map(|reason| c_text(reason.to_owned()));
                let reason = reason.as_ref().map_or(std::ptr::null(), |reason| reason.as_ptr());
                notify(|| call(userdata.get(), checker.as_ptr(), health_number(health), reason));
            });
        }
        let config = Mutex::new(Some(settings));
        place.set(Monitoring { env: (*env).clone(), config, made: OnceLock::new() })
    })
}

/// Adds a checker of the program's, which looks after those that were added
/// before.
///
/// monitor: not consumed. checker: copied; its `drop` is called once whatever
/// this returns, unless the checker itself is NULL or of a wrong size.
/// Returns: LK_OK; LK_ERR_STATE once the monitor was started; LK_ERR_RANGE;
/// LK_ERR_NULL; LK_ERR_SIZE; LK_ERR_UTF8; LK_ERR_STALE. Thread: any. Does not
/// block. Next: lk_monitor_start.
#[unsafe(no_mangle)]
pub extern "C" fn lk_monitor_add_checker(monitor: Ref<lk_monitor>, checker: In<lk_checker>) -> lk_status {
    guard(move || {
        // First: from here on its `drop` is called.
        let checker = checker.read("checker")?;
        let userdata = Userdata::new(checker.userdata, checker.drop);
        let monitor = monitor.get("monitor")?;
        let name = checker.name.read("name")?;
        let has_items = flag(checker.has_items, "has_items")?;
        let call = checker
            .check
            .ok_or_else(|| Failure::new(LK_ERR_NULL, format!("{name}: check: must not be NULL")))?;
        let mut settings = CheckerConfig::new(name, CChecker { call, has_items, userdata });
        if checker.deadline_ms != 0 {
            settings = settings.deadline(millis(checker.deadline_ms));
        }
        if checker.stale_after_ms != 0 {
            settings = settings.stale_after(millis(checker.stale_after_ms));
        }
        let mut config = monitor.config.lock();
        match config.take() {
            Some(before) => {
                *config = Some(before.checker(settings));
                Ok(())
            }
            None => {
                drop(config);
                Err(Failure::new(LK_ERR_STATE, "monitor: was started already"))
            }
        }
    })
}

/// Starts looking, for the first time or after a stop.
///
/// monitor: not consumed.
/// Returns: LK_OK; LK_ERR_INVALID or LK_ERR_DUPLICATE when a setting or the
/// name of a checker cannot be used: then it is of no more use, and another must
/// be made; LK_ERR_STATE after that, and while it runs or is being
/// stopped; LK_ERR_SPAWN or LK_ERR_BUDGET; LK_ERR_NULL; LK_ERR_STALE. Thread:
/// any. Does not block. Next: lk_monitor_wait_ready, lk_monitor_stop.
#[unsafe(no_mangle)]
pub extern "C" fn lk_monitor_start(monitor: Ref<lk_monitor>) -> lk_status {
    guard(move || Ok(monitor.get("monitor")?.make()?.restart()?))
}

/// Says how an item is that a checker looks at: how that is, they say together
/// then, also without `has_items`.
///
/// cx: the call's context. item: its name; copied. health: LK_HEALTH_...
/// reason: why it is not ready; copied; may be NULL.
/// Returns: LK_OK; LK_ERR_STATE in a callback that is no checker's;
/// LK_ERR_RANGE; LK_ERR_NULL; LK_ERR_UTF8; LK_ERR_STALE. Thread: one, the
/// callback's. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_context_report(cx: Cx, item: Text, health: lk_health, reason: Text) -> lk_status {
    guard(move || {
        let (item, health) = (item.read("item")?, health_of(health)?);
        let reason = reason.optional("reason")?.unwrap_or_default();
        cx.report(|report| {
            report.state(item, health, reason);
            Ok(())
        })?;
        cx.say(|said| said.has_items = true)
    })
}

/// Says that the one thing a checker looks at works, in part.
///
/// cx: the call's context. text: what does not; copied.
/// Returns: LK_OK; LK_ERR_STATE in a callback that is no checker's;
/// LK_ERR_NULL; LK_ERR_UTF8; LK_ERR_STALE. Thread: one, the callback's. Does
/// not block. Next: return LK_OK from the callback.
#[unsafe(no_mangle)]
pub extern "C" fn lk_context_set_degraded(cx: Cx, text: Text) -> lk_status {
    guard(move || {
        let text = text.read("text")?.to_owned();
        cx.report(|_| Ok(()))?;
        cx.say(|said| said.degraded = Some(text))
    })
}

/// Looks now instead of at the next due; during a pass, right after it.
///
/// monitor: not consumed.
/// Returns: LK_OK; LK_ERR_STATE before it was started; LK_ERR_NULL;
/// LK_ERR_STALE. Thread: any, callbacks included. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_monitor_trigger(monitor: Ref<lk_monitor>) -> lk_status {
    guard(move || {
        monitor.get("monitor")?.get()?.trigger();
        Ok(())
    })
}

/// Waits until it is ready.
///
/// monitor: not consumed. timeout_ms: how long at most, in real time;
/// LK_FOREVER.
/// Returns: LK_OK when it is ready; LK_ERR_TIMEOUT when the time has passed or
/// it has ended; LK_ERR_STATE before it was started; LK_ERR_NULL;
/// LK_ERR_STALE. Thread: any. Blocks for `timeout_ms` at most.
#[unsafe(no_mangle)]
pub extern "C" fn lk_monitor_wait_ready(monitor: Ref<lk_monitor>, timeout_ms: u64) -> lk_status {
    guard(move || {
        let monitor = monitor.get("monitor")?;
        let monitor = monitor.get()?;
        if monitor.wait_ready(millis(timeout_ms)) {
            return Ok(());
        }
        Err(Failure::new(LK_ERR_TIMEOUT, monitor.status().to_string()))
    })
}

/// Stops it. When it returns LK_OK none of its callbacks runs or
/// begins any more.
///
/// monitor: not consumed. grace_ms: how long to wait. report: how it went,
/// written also when that was not well; may be NULL.
/// Returns: LK_OK when all has ended, also when it was stopped before or not
/// started yet; LK_ERR_TIMEOUT when a thread or a callback did not end in time;
/// LK_ERR_STATE from its own callback, which only cancels; LK_ERR_NULL;
/// LK_ERR_SIZE; LK_ERR_STALE. Thread: any. Blocks for `grace_ms` at most.
/// Next: lk_monitor_free.
#[unsafe(no_mangle)]
pub extern "C" fn lk_monitor_stop(
    monitor: Ref<lk_monitor>,
    grace_ms: u64,
    report: OutStruct<lk_stop_report>,
) -> lk_status {
    guard(move || {
        let (monitor, report) = (monitor.get("monitor")?, report.optional("report")?);
        let stopped = monitor.made.get().map(|monitor| monitor.stop(millis(grace_ms)));
        tell(&stopped.unwrap_or_default(), report)
    })
}

/// Everything about it at one moment.
///
/// monitor: not consumed. out: a status that was filled in by
/// lk_loop_status_init.
/// Returns: LK_OK; LK_ERR_STATE before it was started; LK_ERR_NULL;
/// LK_ERR_SIZE; LK_ERR_STALE. Thread: any. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_monitor_status(monitor: Ref<lk_monitor>, out: OutStruct<lk_loop_status>) -> lk_status {
    guard(move || {
        let (monitor, place) = (monitor.get("monitor")?, out.check("out")?);
        loop_status::write(&place, &monitor.get()?.status());
        Ok(())
    })
}

/// The same as a JSON object, with what only its kind has to say.
///
/// monitor: not consumed. buf, len: where the text goes, with its NUL. needed:
/// how many bytes it needs, written also with LK_ERR_BUFFER; may be NULL.
/// Returns: LK_OK; LK_ERR_BUFFER; LK_ERR_STATE before it was started;
/// LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_monitor_status_json(
    monitor: Ref<lk_monitor>,
    buf: Buffer,
    len: usize,
    needed: Out<usize>,
) -> lk_status {
    guard(move || {
        let (monitor, place) = (monitor.get("monitor")?, buf.check(len, &needed)?);
        place.set_json(&monitor.get()?.status())
    })
}

/// Hears of every event of it from now on.
///
/// monitor: not consumed. out: a new handle, the caller's to free with
/// lk_events_free.
/// Returns: LK_OK; LK_ERR_STATE before it was started; LK_ERR_NULL;
/// LK_ERR_STALE. Thread: any. Does not block. Next: lk_events_next,
/// lk_events_fd.
#[unsafe(no_mangle)]
pub extern "C" fn lk_monitor_subscribe(monitor: Ref<lk_monitor>, out: New<lk_events>) -> lk_status {
    guard(move || {
        let (monitor, place) = (monitor.get("monitor")?, out.check("out")?);
        place.set(Events::new(monitor.get()?.subscribe()))
    })
}

/// Stops it, within its drop grace unless a stop has waited already, and lets
/// go of it.
///
/// monitor: consumed; NULL does nothing.
/// Returns: LK_OK; LK_ERR_STALE when it was freed already; LK_ERR_STATE from
/// inside a callback of its own. Thread: owner. Blocks for that long at most.
#[unsafe(no_mangle)]
pub extern "C" fn lk_monitor_free(monitor: Own<lk_monitor>) -> lk_status {
    guard(move || monitor.free("monitor"))
}

struct CChecker {
    call: extern "C" fn(*mut c_void, Cx) -> i32,
    has_items: bool,
    userdata: Userdata,
}

impl Checker for CChecker {
    fn check(&mut self, cx: &Context, report: &Report) -> Result<Verdict, BoxError> {
        let said = attempt_with(cx, Some(report), |cx| (self.call)(self.userdata.get(), cx))?;
        Ok(match said.degraded {
            // Also where the program did not say that there would be some: none
            // of them is ready because of that.
            _ if self.has_items || said.has_items => Verdict::Items,
            Some(text) => Verdict::Degraded(text),
            None => Verdict::Ready,
        })
    }
}
