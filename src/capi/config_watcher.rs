//! Config watchers: edits of a configuration that are noticed.

use std::ffi::{c_char, c_void};
use std::sync::Arc;

use super::boundary::{Answer, Buffer, Failure, In, Out, OutStruct, Text, Versioned, guard, init, millis};
use super::call::notify;
use super::config::lk_config;
use super::env::lk_env;
use super::event::{Events, lk_events};
use super::handle::{New, Own, Ref, object};
use super::loop_status::{self, lk_loop_status};
use super::report::{lk_stop_report, tell};
use super::status::{LK_ERR_INVALID, lk_status};
use super::text::c_text;
use super::userdata::{Userdata, lk_drop_fn};
use crate::component::{Component, Context};
use crate::config::{Config, ConfigWatcher, ConfigWatcherConfig};
use crate::error::BoxError;

/// Notices edits of a configuration's files, puts them in force and tells what
/// changed.
#[derive(Debug)]
pub struct lk_config_watcher {
    _private: [u8; 0],
}

object!(lk_config_watcher => ConfigWatcher, |_| (), ConfigWatcher::is_own_call);

/// Called when a value is another, is new or is gone. userdata: that of the
/// table. key: its path, "" for anything; valid until it returns. generation:
/// of the configuration in force; lk_config_snapshot takes its values. What it
/// returns does not matter. Runs on the dispatcher's thread, in order, one at
/// a time.
pub type lk_config_change_fn =
    Option<extern "C" fn(userdata: *mut c_void, key: *const c_char, generation: u64) -> i32>;

/// Settings of a config watcher.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct lk_config_watcher_config {
    /// sizeof(lk_config_watcher_config); lk_config_watcher_config_init sets it.
    pub size: u32,
    /// Always 0.
    pub reserved: u32,
    /// Its name. Defaults to NULL, "config".
    pub name: Text,
    /// What to call back about: a JSON list of paths such as ["http.port"]; for
    /// an object, anything in it. Defaults to NULL: once about any change.
    pub keys_json: Text,
    /// Called about these; may be NULL.
    pub on_change: lk_config_change_fn,
    /// Called once, after the last call of the above; may be NULL.
    pub drop: lk_drop_fn,
    /// Passed to each callback.
    pub userdata: *mut c_void,
    /// The time between two looks at the files. Defaults to 2 s.
    pub interval_ms: u64,
    /// How long freeing it waits for its thread. Defaults to 1 s.
    pub drop_grace_ms: u64,
}

// SAFETY: numbers, pointers that are looked at before they are used, and
// functions that may be absent.
unsafe impl Versioned for lk_config_watcher_config {
    const NAME: &'static str = "lk_config_watcher_config";
    const MIN: usize = std::mem::offset_of!(Self, interval_ms);

    fn initial() -> Self {
        Self {
            size: size_of::<Self>() as u32,
            reserved: 0,
            name: Text::NONE,
            keys_json: Text::NONE,
            on_change: None,
            drop: None,
            userdata: std::ptr::null_mut(),
            interval_ms: 2000,
            drop_grace_ms: 1000,
        }
    }
}

/// Fills in the default settings.
///
/// out: where. size: sizeof(lk_config_watcher_config).
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_SIZE. Thread: any. Does not block.
/// Next: lk_config_watcher_start.
#[unsafe(no_mangle)]
pub extern "C" fn lk_config_watcher_config_init(
    out: Out<lk_config_watcher_config>,
    size: usize,
) -> lk_status {
    guard(move || init(&out, size))
}

/// Starts watching a configuration's files.
///
/// env: not consumed. config: not consumed; loaded. settings: copied, and its
/// texts; its `drop` is called once whatever this returns, unless it is itself
/// NULL or of a wrong size. out: a new handle, the caller's to free with
/// lk_config_watcher_free.
/// Returns: LK_OK; LK_ERR_STATE before the configuration was loaded;
/// LK_ERR_INVALID when a setting cannot be used; LK_ERR_SPAWN or
/// LK_ERR_BUDGET; LK_ERR_NULL; LK_ERR_SIZE; LK_ERR_UTF8; LK_ERR_STALE.
/// Thread: any. Does not block. Next: lk_config_watcher_stop.
#[unsafe(no_mangle)]
pub extern "C" fn lk_config_watcher_start(
    env: Ref<lk_env>,
    config: Ref<lk_config>,
    settings: In<lk_config_watcher_config>,
    out: New<lk_config_watcher>,
) -> lk_status {
    guard(move || {
        let table = Table::read(&settings)?;
        let (env, config, place) = (env.get("env")?, config.get("config")?, out.check("out")?);
        let watcher = ConfigWatcher::new_in(&env, table.into_config(config.get()?)?)?;
        watcher.restart()?;
        place.set(watcher)
    })
}

/// Makes a config watcher that is not started: for a host, which does that, or
/// for lk_config_watcher_restart.
///
/// env, config, settings, out: as for lk_config_watcher_start.
/// Returns: as lk_config_watcher_start. Thread: any. Does not block. Next:
/// lk_component_of_config_watcher.
#[unsafe(no_mangle)]
pub extern "C" fn lk_config_watcher_new(
    env: Ref<lk_env>,
    config: Ref<lk_config>,
    settings: In<lk_config_watcher_config>,
    out: New<lk_config_watcher>,
) -> lk_status {
    guard(move || {
        let table = Table::read(&settings)?;
        let (env, config, place) = (env.get("env")?, config.get("config")?, out.check("out")?);
        place.set(ConfigWatcher::new_in(&env, table.into_config(config.get()?)?)?)
    })
}

/// Looks now instead of at the next due; during a look, right after it.
///
/// watcher: not consumed.
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_STALE. Thread: any, callbacks included.
/// Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_config_watcher_trigger(watcher: Ref<lk_config_watcher>) -> lk_status {
    guard(move || {
        watcher.get("watcher")?.trigger();
        Ok(())
    })
}

/// Starts again after a stop.
///
/// watcher: not consumed.
/// Returns: LK_OK; LK_ERR_STATE while it runs, is being stopped or an earlier
/// call is stuck; LK_ERR_SPAWN or LK_ERR_BUDGET; LK_ERR_NULL; LK_ERR_STALE.
/// Thread: any. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_config_watcher_restart(watcher: Ref<lk_config_watcher>) -> lk_status {
    guard(move || Ok(watcher.get("watcher")?.restart()?))
}

/// Stops it. When it returns LK_OK none of its callbacks runs or
/// begins any more.
///
/// watcher: not consumed. grace_ms: how long to wait. report: how it went,
/// written also when that was not well; may be NULL.
/// Returns: LK_OK when all has ended, also when it was stopped before;
/// LK_ERR_TIMEOUT when a thread or a callback did not end in time;
/// LK_ERR_STATE from its own callback, which only cancels; LK_ERR_NULL;
/// LK_ERR_SIZE; LK_ERR_STALE. Thread: any. Blocks for `grace_ms` at most.
/// Next: lk_config_watcher_free.
#[unsafe(no_mangle)]
pub extern "C" fn lk_config_watcher_stop(
    watcher: Ref<lk_config_watcher>,
    grace_ms: u64,
    report: OutStruct<lk_stop_report>,
) -> lk_status {
    guard(move || {
        let (watcher, report) = (watcher.get("watcher")?, report.optional("report")?);
        tell(&watcher.stop(millis(grace_ms)), report)
    })
}

/// Everything about it at one moment.
///
/// watcher: not consumed. out: a status that was filled in by
/// lk_loop_status_init.
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_SIZE; LK_ERR_STALE. Thread: any. Does
/// not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_config_watcher_status(
    watcher: Ref<lk_config_watcher>,
    out: OutStruct<lk_loop_status>,
) -> lk_status {
    guard(move || {
        let (watcher, place) = (watcher.get("watcher")?, out.check("out")?);
        loop_status::write(&place, &watcher.status());
        Ok(())
    })
}

/// The same as a JSON object, with what only its kind has to say.
///
/// watcher: not consumed. buf, len: where the text goes, with its NUL. needed:
/// how many bytes it needs, written also with LK_ERR_BUFFER; may be NULL.
/// Returns: LK_OK; LK_ERR_BUFFER; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does
/// not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_config_watcher_status_json(
    watcher: Ref<lk_config_watcher>,
    buf: Buffer,
    len: usize,
    needed: Out<usize>,
) -> lk_status {
    guard(move || {
        let (watcher, place) = (watcher.get("watcher")?, buf.check(len, &needed)?);
        place.set_json(&watcher.status())
    })
}

/// Hears of every event of it from now on.
///
/// watcher: not consumed. out: a new handle, the caller's to free with
/// lk_events_free.
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does not block.
/// Next: lk_events_next, lk_events_fd.
#[unsafe(no_mangle)]
pub extern "C" fn lk_config_watcher_subscribe(
    watcher: Ref<lk_config_watcher>,
    out: New<lk_events>,
) -> lk_status {
    guard(move || {
        let (watcher, place) = (watcher.get("watcher")?, out.check("out")?);
        place.set(Events::new(watcher.subscribe()))
    })
}

/// Stops it, within its drop grace unless a stop has waited already, and lets
/// go of it.
///
/// watcher: consumed; NULL does nothing.
/// Returns: LK_OK; LK_ERR_STALE when it was freed already; LK_ERR_STATE from
/// inside a callback of its own. Thread: owner. Blocks for that long at most.
#[unsafe(no_mangle)]
pub extern "C" fn lk_config_watcher_free(watcher: Own<lk_config_watcher>) -> lk_status {
    guard(move || watcher.free("watcher"))
}

/// A watcher's settings as they came from C, with what its callback works
/// with.
struct Table {
    settings: lk_config_watcher_config,
    userdata: Arc<Userdata>,
}

impl Table {
    /// From here on the table's `drop` is called.
    fn read(settings: &In<lk_config_watcher_config>) -> Answer<Self> {
        let settings = settings.read("settings")?;
        Ok(Self { settings, userdata: Arc::new(Userdata::new(settings.userdata, settings.drop)) })
    }

    fn into_config(self, config: &Config) -> Answer<ConfigWatcherConfig> {
        let Self { settings, userdata } = self;
        let mut made = ConfigWatcherConfig::new(config)
            .interval(millis(settings.interval_ms))
            .drop_grace(millis(settings.drop_grace_ms));
        if let Some(name) = settings.name.optional("name")? {
            made = made.name(name);
        }
        let keys: Vec<String> = match settings.keys_json.optional("keys_json")? {
            None => vec![String::new()],
            Some(json) => serde_json::from_str(json).map_err(|error| {
                Failure::new(LK_ERR_INVALID, format!("keys_json: expected a list of texts: {error}"))
            })?,
        };
        if let Some(call) = settings.on_change {
            for key in keys {
                let (userdata, c_key) = (userdata.clone(), c_text(key.clone()));
                made = made.on_change(key, move |change| {
                    notify(|| call(userdata.get(), c_key.as_ptr(), change.after().generation()));
                });
            }
        }
        Ok(made)
    }
}

/// A config watcher as a component, for those who keep it, too.
pub(super) struct Kept(pub(super) Arc<ConfigWatcher>);

impl Component for Kept {
    fn start(&mut self, _: &Context) -> Result<(), BoxError> {
        Ok(self.0.restart()?)
    }

    fn stop(&mut self, cx: &Context) -> Result<(), BoxError> {
        let report = self.0.stop(cx.remaining());
        if report.is_clean() { Ok(()) } else { Err(report.to_string().into()) }
    }
}
