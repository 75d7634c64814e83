//! Watchers: one watched service each.

use std::ffi::{c_char, c_void};
use std::sync::Arc;

use super::boundary::{
    Answer, Buffer, Failure, In, Out, OutStruct, Text, Versioned, flag, guard, guard_or, init, millis,
};
use super::call::{Cx, attempt, notify};
use super::env::lk_env;
use super::event::{Events, lk_events};
use super::handle::{New, Own, Ref, object};
use super::loop_status::{self, lk_loop_status};
use super::report::{lk_stop_report, tell};
use super::status::{LK_ERR_INVALID, LK_ERR_TIMEOUT, lk_status};
use super::text::c_text;
use super::userdata::{Userdata, lk_drop_fn};
use crate::alert::{self, AlertConfig};
use crate::component::Context;
use crate::decode;
use crate::error::{BoxError, Error};
use crate::probe::{self, Probe};
use crate::tree::{self, Member, Members, Node, Place, Value};
use crate::watch::{BackoffConfig, Watcher, WatcherConfig};

/// One watched service, on a thread of its own.
#[derive(Debug)]
pub struct lk_watcher {
    _private: [u8; 0],
}

object!(lk_watcher => Watcher, Watcher::stop_for_drop, Watcher::is_own_call);

/// Asks one question about a service: can it take work?
///
/// userdata: that of the table. cx: valid until it returns. Returns 0 when the
/// service is ready; anything else when it is not, after lk_context_set_error
/// if there is something to say. Runs on the watcher's thread, one at a time.
/// It should return before lk_context_remaining_ms is 0: when it does not, the
/// service is told as timed out meanwhile.
pub type lk_probe_fn = Option<extern "C" fn(userdata: *mut c_void, cx: Cx) -> i32>;

/// Called when something is so. userdata: that of the table. What it returns
/// does not matter. Runs on the dispatcher's thread, in order, one at a time
/// per source; one that runs longer than ten seconds loses its thread.
pub type lk_notify_fn = Option<extern "C" fn(userdata: *mut c_void) -> i32>;

/// Called when something failed. userdata: that of the table. error: the kind
/// of the error. text: why, valid until it returns. As lk_notify_fn otherwise.
pub type lk_notify_error_fn =
    Option<extern "C" fn(userdata: *mut c_void, error: lk_status, text: *const c_char) -> i32>;

/// A service to watch: its name, how to ask it, when, and what to do about it.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct lk_watcher_config {
    /// sizeof(lk_watcher_config); lk_watcher_config_init sets it.
    pub size: u32,
    /// Whether the whole is down, and not only degraded, while this service
    /// is: 0 or 1. Defaults to 1.
    pub critical: i32,
    /// Its name: a letter or digit, then up to 62 of these and '.', '_', '-'.
    pub name: Text,
    /// A probe that comes with the library, as JSON, such as
    /// {"tcp": {"address": "127.0.0.1:1883"}}: http, tcp, unix, dns, exec,
    /// file_age, disk, heartbeat. Either this or `probe`.
    pub probe_json: Text,
    /// How to ask the service. Either this or `probe_json`.
    pub probe: lk_probe_fn,
    /// Called when the service turns ready; may be NULL.
    pub on_ready: lk_notify_fn,
    /// Called when the service was ready and turns down; may be NULL.
    pub on_down: lk_notify_error_fn,
    /// Called once when the service did not come up in the start-up's
    /// attempts; may be NULL.
    pub on_gave_up: lk_notify_error_fn,
    /// Called once, after the last call of any of the above; may be NULL.
    pub drop: lk_drop_fn,
    /// Passed to each callback.
    pub userdata: *mut c_void,
    /// The delay after the first failed probe. Defaults to 2 s.
    pub initial_delay_ms: u64,
    /// No delay is longer. Defaults to 60 s.
    pub max_delay_ms: u64,
    /// The time between regular probes. Defaults to 60 s.
    pub poll_interval_ms: u64,
    /// How long one probe may take. Defaults to 10 s.
    pub probe_timeout_ms: u64,
    /// How long freeing the watcher waits for its thread, unless a stop has.
    /// Defaults to 1 s.
    pub drop_grace_ms: u64,
    /// By how much each delay is longer than the one before, at least 1.
    /// Defaults to 2.
    pub multiplier: f64,
    /// By which share of it a delay may be shorter, at random, 0 to 1.
    /// Defaults to 0.1.
    pub jitter: f64,
    /// How many probes are made at start-up before the watcher gives up
    /// waiting and goes on at the poll interval. Defaults to 10.
    pub max_retries: u32,
    /// How many probes in a row must fail before the service is down.
    /// Defaults to 1.
    pub failure_threshold: u32,
    /// How many probes in a row must succeed before the service is ready.
    /// Defaults to 1.
    pub success_threshold: u32,
    /// Always 0.
    pub reserved: u32,
    /// What people are told, by a command or a webhook, where the environment
    /// has lk_alerts: the fields `on_down`, `on_ready` and `remind_every` of a
    /// descriptor, such as {"on_down": {"exec": {"command": ["page", "me"]}}}.
    /// Defaults to NULL, nothing.
    pub alert_json: Text,
}

// SAFETY: numbers, pointers that are looked at before they are used, and
// functions that may be absent.
unsafe impl Versioned for lk_watcher_config {
    const NAME: &'static str = "lk_watcher_config";
    const MIN: usize = std::mem::offset_of!(Self, initial_delay_ms);

    fn initial() -> Self {
        let backoff = BackoffConfig::default();
        let ms = |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self {
            size: size_of::<Self>() as u32,
            critical: 1,
            name: Text::NONE,
            probe_json: Text::NONE,
            probe: None,
            on_ready: None,
            on_down: None,
            on_gave_up: None,
            drop: None,
            userdata: std::ptr::null_mut(),
            initial_delay_ms: ms(backoff.initial_delay),
            max_delay_ms: ms(backoff.max_delay),
            poll_interval_ms: ms(backoff.poll_interval),
            probe_timeout_ms: ms(backoff.probe_timeout),
            drop_grace_ms: 1000,
            multiplier: backoff.multiplier,
            jitter: backoff.jitter,
            max_retries: backoff.max_retries,
            failure_threshold: 1,
            success_threshold: 1,
            reserved: 0,
            alert_json: Text::NONE,
        }
    }
}

/// Fills in the default settings; `name` and a probe are still to be set.
///
/// out: where. size: sizeof(lk_watcher_config).
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_SIZE. Thread: any. Does not block.
/// Next: lk_watcher_start, lk_watch_manager_watch.
#[unsafe(no_mangle)]
pub extern "C" fn lk_watcher_config_init(out: Out<lk_watcher_config>, size: usize) -> lk_status {
    guard(move || init(&out, size))
}

/// Starts watching a service. It is probed at once, then with growing delays
/// until it is up, then at the poll interval.
///
/// env: not consumed. config: copied, and its texts; its `drop` is called
/// once whatever this returns, unless the config itself is NULL or of a wrong
/// size. out: a new handle, the caller's to free with lk_watcher_free.
/// Returns: LK_OK; LK_ERR_INVALID or LK_ERR_CONFIG when a setting cannot be
/// used; LK_ERR_SPAWN or LK_ERR_BUDGET when there is no thread to be had;
/// LK_ERR_NULL; LK_ERR_SIZE; LK_ERR_RANGE; LK_ERR_UTF8; LK_ERR_STALE. Thread:
/// any. Does not block. Next: lk_watcher_wait_ready, lk_watcher_stop.
#[unsafe(no_mangle)]
pub extern "C" fn lk_watcher_start(
    env: Ref<lk_env>,
    config: In<lk_watcher_config>,
    out: New<lk_watcher>,
) -> lk_status {
    guard(move || {
        // First: from here on its `drop` is called.
        let config = config.read("config")?;
        let callbacks = callbacks(&config);
        let (env, place) = (env.get("env")?, out.check("out")?);
        place.set(Watcher::start_in(&env, settings(&config, &callbacks)?)?)
    })
}

/// Makes a watcher that is not started: for a host, which does that, or for
/// lk_watcher_restart.
///
/// env, config, out: as for lk_watcher_start.
/// Returns: as lk_watcher_start. Thread: any. Does not block. Next:
/// lk_component_of_watcher.
#[unsafe(no_mangle)]
pub extern "C" fn lk_watcher_new(
    env: Ref<lk_env>,
    config: In<lk_watcher_config>,
    out: New<lk_watcher>,
) -> lk_status {
    guard(move || {
        // First: from here on its `drop` is called.
        let config = config.read("config")?;
        let callbacks = callbacks(&config);
        let (env, place) = (env.get("env")?, out.check("out")?);
        place.set(Watcher::new(&env, settings(&config, &callbacks)?)?)
    })
}

/// Probes now instead of at the next due; during a probe, right after it.
///
/// watcher: not consumed.
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_STALE. Thread: any, callbacks included.
/// Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_watcher_trigger(watcher: Ref<lk_watcher>) -> lk_status {
    guard(move || {
        watcher.get("watcher")?.trigger();
        Ok(())
    })
}

/// Stops watching: the probe in progress sees its cancel at once and is waited
/// for a second at most; callbacks that wait are made within `grace_ms`. When
/// it returns LK_OK no callback of this watcher runs or begins any more.
///
/// watcher: not consumed; it may be started again. grace_ms: how long to wait.
/// report: how it went, written also when that was not well; may be NULL.
/// Returns: LK_OK when all has ended, also when it was stopped before;
/// LK_ERR_TIMEOUT when a thread or a callback did not end in time;
/// LK_ERR_STATE from its own probe, which only cancels; LK_ERR_NULL;
/// LK_ERR_SIZE; LK_ERR_STALE. Thread: any; from a callback it does not wait
/// for that callback, and what is still to be told is dropped and counted.
/// Blocks for `grace_ms` at most. Next: lk_watcher_free, lk_watcher_restart.
#[unsafe(no_mangle)]
pub extern "C" fn lk_watcher_stop(
    watcher: Ref<lk_watcher>,
    grace_ms: u64,
    report: OutStruct<lk_stop_report>,
) -> lk_status {
    guard(move || {
        let (watcher, report) = (watcher.get("watcher")?, report.optional("report")?);
        tell(&watcher.stop(millis(grace_ms)), report)
    })
}

/// Starts again after a stop: from unknown, with the start-up's attempts.
///
/// watcher: not consumed.
/// Returns: LK_OK; LK_ERR_STATE while it runs, is being stopped or an earlier
/// probe is stuck; LK_ERR_SPAWN or LK_ERR_BUDGET; LK_ERR_NULL; LK_ERR_STALE.
/// Thread: any. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_watcher_restart(watcher: Ref<lk_watcher>) -> lk_status {
    guard(move || Ok(watcher.get("watcher")?.restart()?))
}

/// Waits until the service is ready.
///
/// watcher: not consumed. timeout_ms: how long at most, in real time;
/// LK_FOREVER.
/// Returns: LK_OK when it is ready; LK_ERR_TIMEOUT when the time has passed or
/// the watcher has ended; LK_ERR_NULL; LK_ERR_STALE. Thread: any; a callback of
/// this watcher would wait in vain. Blocks for `timeout_ms` at most.
#[unsafe(no_mangle)]
pub extern "C" fn lk_watcher_wait_ready(watcher: Ref<lk_watcher>, timeout_ms: u64) -> lk_status {
    guard(move || {
        let watcher = watcher.get("watcher")?;
        if watcher.wait_ready(millis(timeout_ms)) {
            return Ok(());
        }
        Err(Failure::new(LK_ERR_TIMEOUT, watcher.status().to_string()))
    })
}

/// Whether the service is ready.
///
/// watcher: not consumed.
/// Returns: 1 when it is; else 0, also when `watcher` is no such handle.
/// Thread: any. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_watcher_is_ready(watcher: Ref<lk_watcher>) -> i32 {
    guard_or(0, move || Ok(i32::from(watcher.get("watcher")?.is_ready())))
}

/// Everything about the service at one moment.
///
/// watcher: not consumed. out: a status that was filled in by
/// lk_loop_status_init.
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_SIZE; LK_ERR_STALE. Thread: any. Does
/// not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_watcher_status(watcher: Ref<lk_watcher>, out: OutStruct<lk_loop_status>) -> lk_status {
    guard(move || {
        let (watcher, place) = (watcher.get("watcher")?, out.check("out")?);
        watcher.view(&mut |view| loop_status::write_view(&place, view));
        Ok(())
    })
}

/// The same as a JSON object.
///
/// watcher: not consumed. buf, len: where the text goes, with its NUL.
/// needed: how many bytes it needs, written also with LK_ERR_BUFFER; may be
/// NULL.
/// Returns: LK_OK; LK_ERR_BUFFER; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does
/// not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_watcher_status_json(
    watcher: Ref<lk_watcher>,
    buf: Buffer,
    len: usize,
    needed: Out<usize>,
) -> lk_status {
    guard(move || {
        let (watcher, place) = (watcher.get("watcher")?, buf.check(len, &needed)?);
        place.set_json(&watcher.status())
    })
}

/// Hears of every event of this watcher from now on.
///
/// watcher: not consumed. out: a new handle, the caller's to free with
/// lk_events_free; it ends with the present run of the watcher.
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does not block.
/// Next: lk_events_next, lk_events_fd.
#[unsafe(no_mangle)]
pub extern "C" fn lk_watcher_subscribe(watcher: Ref<lk_watcher>, out: New<lk_events>) -> lk_status {
    guard(move || {
        let (watcher, place) = (watcher.get("watcher")?, out.check("out")?);
        place.set(Events::new(watcher.subscribe()))
    })
}

/// Stops watching, within its drop grace unless a stop has waited already,
/// and lets go of the watcher.
///
/// watcher: consumed; NULL does nothing.
/// Returns: LK_OK; LK_ERR_STALE when it was freed already; LK_ERR_STATE from
/// inside a callback of its own. Thread: owner. Blocks for the drop grace at most.
#[unsafe(no_mangle)]
pub extern "C" fn lk_watcher_free(watcher: Own<lk_watcher>) -> lk_status {
    guard(move || watcher.free("watcher"))
}

/// What the callbacks of a config work with; its `drop` is called with the
/// last of them.
pub(super) fn callbacks(config: &lk_watcher_config) -> Arc<Userdata> {
    Arc::new(Userdata::new(config.userdata, config.drop))
}

pub(super) fn settings(config: &lk_watcher_config, userdata: &Arc<Userdata>) -> Answer<WatcherConfig> {
    let name = config.name.read("name")?;
    let probe = match (config.probe_json.optional("probe_json")?, config.probe) {
        (Some(json), None) => shipped_probe(json)?,
        (None, Some(call)) => Box::new(CProbe { call, userdata: userdata.clone() }),
        _ => {
            let text = format!("{name}: either probe or probe_json must be set, and not both");
            return Err(Failure::new(LK_ERR_INVALID, text));
        }
    };
    let backoff = BackoffConfig {
        initial_delay: millis(config.initial_delay_ms),
        max_delay: millis(config.max_delay_ms),
        multiplier: config.multiplier,
        max_retries: config.max_retries,
        poll_interval: millis(config.poll_interval_ms),
        probe_timeout: millis(config.probe_timeout_ms),
        jitter: config.jitter,
    };
    let mut settings = WatcherConfig::new(name, probe)
        .backoff(backoff)
        .failure_threshold(config.failure_threshold)
        .success_threshold(config.success_threshold)
        .drop_grace(millis(config.drop_grace_ms));
    if !flag(config.critical, "critical")? {
        settings = settings.optional();
    }
    if let Some(json) = config.alert_json.optional("alert_json")? {
        settings = settings.alert(alert(json)?);
    }
    if let Some(call) = config.on_ready {
        let userdata = userdata.clone();
        settings = settings.on_ready(move || notify(|| call(userdata.get())));
    }
    if let Some(call) = config.on_down {
        let userdata = userdata.clone();
        settings = settings.on_down(move |error| notify_error(error, &userdata, call));
    }
    if let Some(call) = config.on_gave_up {
        let userdata = userdata.clone();
        settings = settings.on_gave_up(move |error| notify_error(error, &userdata, call));
    }
    Ok(settings)
}

fn notify_error(
    error: &Error,
    userdata: &Userdata,
    call: extern "C" fn(*mut c_void, lk_status, *const c_char) -> i32,
) {
    let text = c_text(error.report().to_string());
    notify(|| call(userdata.get(), error.kind() as lk_status, text.as_ptr()));
}

/// For the benches: the probe that a watcher makes of a callback.
#[doc(hidden)]
#[must_use]
pub fn bench_probe(config: &lk_watcher_config) -> Option<Box<dyn Probe>> {
    Some(Box::new(CProbe { call: config.probe?, userdata: callbacks(config) }))
}

/// Reads a probe that comes with the library.
fn shipped_probe(json: &str) -> Answer<Box<dyn Probe>> {
    const FIELD: &str = "probe_json";
    let node = tree::parse(FIELD, json).map_err(Error::from)?;
    let place = Place::whole(FIELD);
    let mut members = Members::default();
    members.insert(Member { key: FIELD.to_owned(), key_place: place.clone(), node });
    let whole = Node::new(place, Value::Object(members));
    let probe = decode::object(&whole, "", |o| {
        let probe = probe::decode(o, FIELD).required();
        probe.take(o.done()?)
    });
    Ok(probe.map_err(Error::from)?)
}

/// Reads who is told.
fn alert(json: &str) -> Answer<AlertConfig> {
    let node = tree::parse("alert_json", json).map_err(Error::from)?;
    let alert = decode::object(&node, "", |o| {
        let alert = alert::descriptor::read(o);
        o.done().map(|_| alert)
    });
    Ok(alert.map_err(Error::from)?)
}

struct CProbe {
    call: extern "C" fn(*mut c_void, Cx) -> i32,
    userdata: Arc<Userdata>,
}

impl Probe for CProbe {
    fn probe(&mut self, cx: &Context) -> Result<(), BoxError> {
        attempt(cx, |cx| (self.call)(self.userdata.get(), cx)).map(drop)
    }
}
