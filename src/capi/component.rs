//! Components: parts of a program that a host starts and stops, from a table
//! of callbacks or from another handle.

use std::ffi::{c_char, c_void};
use std::sync::Arc;

use super::boundary::{Answer, Failure, In, Out, Text, Versioned, chars, flag, guard, init, millis};
use super::call::{Cx, attempt, enter};
use super::config_watcher::{Kept, lk_config_watcher};
use super::controller::lk_controller;
use super::controller_manager::lk_controller_manager;
use super::deployer::lk_deployer;
use super::handle::{New, Own, Ref, object};
use super::loop_status::{LK_HEALTH_UNKNOWN, health_number, health_of, lk_health};
use super::monitor::lk_monitor;
use super::recovery::lk_recovery;
use super::status::{LK_ERR_INVALID, LK_ERR_RANGE, LK_ERR_STATE, kind_of, lk_status};
use super::text::c_text;
use super::userdata::{Reason, Userdata, lk_drop_fn};
use super::watch_manager::lk_watch_manager;
use super::watcher::lk_watcher;
use crate::component::{Component, Context, Reporter};
use crate::decode;
use crate::error::{BoxError, Error, ErrorKind};
use crate::host::deploy::{Registry, Requirement, read_requires};
use crate::host::{ComponentConfig, ComponentState, ComponentStatus, Restart, RestartBudget, RestartPolicy};
use crate::primitive::Mutex;
use crate::tree::{self, Member, Members, Node, Place, Value};

/// A part of a program, made from another handle, that is to be given to a
/// host.
#[derive(Debug)]
pub struct lk_component {
    _private: [u8; 0],
}

object!(lk_component => Given);

/// Through what a component says, at any time, how it is.
#[derive(Debug)]
pub struct lk_reporter {
    _private: [u8; 0],
}

object!(lk_reporter => Reporter);

/// A component until a host takes it.
pub struct Given(Mutex<Option<Box<dyn Component>>>);

impl std::fmt::Debug for Given {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Given").finish_non_exhaustive()
    }
}

impl Given {
    pub(super) fn new(component: impl Component + 'static) -> Self {
        Self(Mutex::new(Some(Box::new(component))))
    }
}

/// Starts or stops a component.
///
/// userdata: that of the table. cx: valid until it returns. Returns 0 when it
/// is done; anything else when it is not, after lk_context_set_error if there
/// is something to say. start is called first and stop after it, also when
/// start failed; then start may be called again. Runs on a thread of the host,
/// one call at a time. It should return before lk_context_remaining_ms is 0:
/// when it does not, the host goes on without it.
pub type lk_component_fn = Option<extern "C" fn(userdata: *mut c_void, cx: Cx) -> i32>;

/// Whether a component is started again when it ended after its start.
pub type lk_restart = i32;

/// Always.
pub const LK_RESTART_PERMANENT: lk_restart = 0;
/// When it failed.
pub const LK_RESTART_TRANSIENT: lk_restart = 1;
/// Never.
pub const LK_RESTART_TEMPORARY: lk_restart = 2;

/// A component and how its host treats it.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct lk_component_config {
    /// sizeof(lk_component_config); lk_component_config_init sets it.
    pub size: u32,
    /// Whether the whole is down, and not only degraded, while this component
    /// is: 0 or 1. Defaults to 1.
    pub critical: i32,
    /// Its name: a letter or digit, then up to 62 of these and '.', '_', '-'.
    pub name: Text,
    /// Begins its work. Either this and `stop`, or `component`.
    pub start: lk_component_fn,
    /// Ends its work; when it returns, its threads have ended.
    pub stop: lk_component_fn,
    /// Called once, after the last call of the above; may be NULL.
    pub drop: lk_drop_fn,
    /// Passed to each callback.
    pub userdata: *mut c_void,
    /// One that was made from another handle, instead of callbacks: taken by
    /// the call, but for its handle, which is still to be freed.
    pub component: Ref<lk_component>,
    /// What must be ready before it starts, as in a descriptor: a JSON list
    /// such as ["mqtt", {"name": "db", "on_down": "stop", "timeout": "30s"}].
    /// Defaults to NULL, nothing.
    pub requires_json: Text,
    /// How long its start may take. Defaults to 0: as the host says.
    pub start_timeout_ms: u64,
    /// How long its stop may take. Defaults to 0: as the host says.
    pub stop_timeout_ms: u64,
    /// How long it waits for what it requires before that counts as a failure
    /// of its own. Defaults to LK_FOREVER.
    pub wait_timeout_ms: u64,
    /// Whether it is started again: LK_RESTART_... Defaults to
    /// LK_RESTART_PERMANENT.
    pub restart: lk_restart,
    /// How often it is started again within `restart_window_ms` before it is
    /// left alone. Defaults to 5.
    pub max_restarts: u32,
    /// Defaults to 60 s.
    pub restart_window_ms: u64,
    /// The delay before it is started again the first time; each further one
    /// is twice as long. Defaults to 1 s.
    pub restart_delay_ms: u64,
    /// No delay is longer. Defaults to 60 s.
    pub max_restart_delay_ms: u64,
}

// SAFETY: numbers, pointers that are looked at before they are used, and
// functions that may be absent.
unsafe impl Versioned for lk_component_config {
    const NAME: &'static str = "lk_component_config";
    const MIN: usize = std::mem::offset_of!(Self, component);

    fn initial() -> Self {
        Self {
            size: size_of::<Self>() as u32,
            critical: 1,
            name: Text::NONE,
            start: None,
            stop: None,
            drop: None,
            userdata: std::ptr::null_mut(),
            component: Ref::NONE,
            requires_json: Text::NONE,
            start_timeout_ms: 0,
            stop_timeout_ms: 0,
            wait_timeout_ms: super::status::LK_FOREVER,
            restart: LK_RESTART_PERMANENT,
            max_restarts: 5,
            restart_window_ms: 60_000,
            restart_delay_ms: 1000,
            max_restart_delay_ms: 60_000,
        }
    }
}

/// Fills in the default settings; `name`, and `start` and `stop` or
/// `component`, are still to be set.
///
/// out: where. size: sizeof(lk_component_config).
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_SIZE. Thread: any. Does not block.
/// Next: lk_host_register, lk_host_deploy.
#[unsafe(no_mangle)]
pub extern "C" fn lk_component_config_init(out: Out<lk_component_config>, size: usize) -> lk_status {
    guard(|| init(&out, size))
}

/// A watcher as a component: up after its first verdict, ready while its
/// service is.
///
/// watcher: not consumed; it goes on when it runs already. out: a new handle,
/// the caller's to free with lk_component_free.
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does not block.
/// Next: set `component` of an lk_component_config to it.
#[unsafe(no_mangle)]
pub extern "C" fn lk_component_of_watcher(watcher: Ref<lk_watcher>, out: New<lk_component>) -> lk_status {
    guard(|| {
        let (watcher, place) = (watcher.get("watcher")?, out.check("out")?);
        place.set(Given::new(watcher.shared().component()))
    })
}

/// A watch manager as a component: up after the first verdict about all,
/// ready while they are, together.
///
/// manager: not consumed. out: a new handle, the caller's to free with
/// lk_component_free.
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does not block.
/// Next: set `component` of an lk_component_config to it.
#[unsafe(no_mangle)]
pub extern "C" fn lk_component_of_watch_manager(
    manager: Ref<lk_watch_manager>,
    out: New<lk_component>,
) -> lk_status {
    guard(|| {
        let (watchers, place) = (manager.get("manager")?, out.check("out")?);
        place.set(Given::new(watchers.manager.component()))
    })
}

/// A controller as a component: up after its first run, ready while the last
/// one succeeded.
///
/// controller: not consumed. out: a new handle, the caller's to free with
/// lk_component_free.
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does not block.
/// Next: set `component` of an lk_component_config to it.
#[unsafe(no_mangle)]
pub extern "C" fn lk_component_of_controller(
    controller: Ref<lk_controller>,
    out: New<lk_component>,
) -> lk_status {
    guard(|| {
        let (controller, place) = (controller.get("controller")?, out.check("out")?);
        place.set(Given::new(controller.shared().component()))
    })
}

/// A controller manager as a component.
///
/// manager: not consumed. out: a new handle, the caller's to free with
/// lk_component_free.
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does not block.
/// Next: set `component` of an lk_component_config to it.
#[unsafe(no_mangle)]
pub extern "C" fn lk_component_of_controller_manager(
    manager: Ref<lk_controller_manager>,
    out: New<lk_component>,
) -> lk_status {
    guard(|| {
        let (manager, place) = (manager.get("manager")?, out.check("out")?);
        place.set(Given::new(manager.0.component()))
    })
}

/// A monitor as a component: up after its first pass, ready while what it
/// looks at can take work. No checker can be added any more.
///
/// monitor: not consumed. out: a new handle, the caller's to free with
/// lk_component_free.
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does not block.
/// Next: set `component` of an lk_component_config to it.
#[unsafe(no_mangle)]
pub extern "C" fn lk_component_of_monitor(monitor: Ref<lk_monitor>, out: New<lk_component>) -> lk_status {
    guard(|| {
        let (monitor, place) = (monitor.get("monitor")?, out.check("out")?);
        place.set(Given::new(monitor.make()?.component()))
    })
}

/// A recovery as a component: ready while no run is lost.
///
/// recovery: not consumed. out: a new handle, the caller's to free with
/// lk_component_free.
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does not block.
/// Next: set `component` of an lk_component_config to it.
#[unsafe(no_mangle)]
pub extern "C" fn lk_component_of_recovery(recovery: Ref<lk_recovery>, out: New<lk_component>) -> lk_status {
    guard(|| {
        let (recovery, place) = (recovery.get("recovery")?, out.check("out")?);
        place.set(Given::new(recovery.shared().component()))
    })
}

/// A deployer that is not started as a component: stopping it leaves alone
/// what it has put into the host.
///
/// deployer: not consumed. out: a new handle, the caller's to free with
/// lk_component_free.
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does not block.
/// Next: set `component` of an lk_component_config to it.
#[unsafe(no_mangle)]
pub extern "C" fn lk_component_of_deployer(deployer: Ref<lk_deployer>, out: New<lk_component>) -> lk_status {
    guard(|| {
        let (deployer, place) = (deployer.get("deployer")?, out.check("out")?);
        place.set(Given::new((*deployer).clone()))
    })
}

/// A config watcher that is not started as a component.
///
/// watcher: not consumed. out: a new handle, the caller's to free with
/// lk_component_free.
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does not block.
/// Next: set `component` of an lk_component_config to it.
#[unsafe(no_mangle)]
pub extern "C" fn lk_component_of_config_watcher(
    watcher: Ref<lk_config_watcher>,
    out: New<lk_component>,
) -> lk_status {
    guard(|| {
        let (watcher, place) = (watcher.get("watcher")?, out.check("out")?);
        place.set(Given::new(Kept(watcher.shared())))
    })
}

/// Lets go of the handle. What a host took stays with it; what none took is
/// stopped, if nothing else has it.
///
/// component: consumed; NULL does nothing.
/// Returns: LK_OK; LK_ERR_STALE when it was freed already; LK_ERR_STATE from
/// inside a callback. Thread: owner. Blocks for such a stop, as the _free of
/// what it was made of does.
#[unsafe(no_mangle)]
pub extern "C" fn lk_component_free(component: Own<lk_component>) -> lk_status {
    guard(|| component.free("component"))
}

/// Through what the component whose start or stop this is says how it is,
/// also after that has returned. It belongs to this run of the component;
/// nobody hears it after that.
///
/// cx: the call's context. out: a new handle, the caller's to free with
/// lk_reporter_free.
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_STALE. Thread: one, the callback's.
/// Does not block. Next: lk_reporter_set_health.
#[unsafe(no_mangle)]
pub extern "C" fn lk_context_reporter(cx: Cx, out: New<lk_reporter>) -> lk_status {
    guard(|| {
        let place = out.check("out")?;
        cx.context(|cx| place.set(cx.reporter().clone()))
    })
}

/// Says whether the component can take work. One that says so in its start is
/// up with the first health other than LK_HEALTH_UNKNOWN.
///
/// reporter: not consumed. health: LK_HEALTH_...
/// Returns: LK_OK; LK_ERR_RANGE; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does
/// not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_reporter_set_health(reporter: Ref<lk_reporter>, health: lk_health) -> lk_status {
    guard(|| {
        let (reporter, health) = (reporter.get("reporter")?, health_of(health)?);
        reporter.set_health(health);
        Ok(())
    })
}

/// Says that the component has failed. It is stopped, and started again if
/// its `restart` wants that.
///
/// reporter: not consumed. error: 1 to 15 for the LK_ERR_ of that number;
/// others are LK_ERR_COMPONENT. text: why; copied.
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_UTF8; LK_ERR_STALE. Thread: any. Does
/// not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_reporter_fail(reporter: Ref<lk_reporter>, error: lk_status, text: Text) -> lk_status {
    guard(|| {
        let (reporter, text) = (reporter.get("reporter")?, text.read("text")?);
        let kind = kind_of(error).unwrap_or(ErrorKind::Component);
        reporter.fail(Error::new(kind).context(text.to_owned()));
        Ok(())
    })
}

/// Says that the component has done what it was for. It is stopped, and
/// started again only if its `restart` is LK_RESTART_PERMANENT.
///
/// reporter: not consumed.
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_reporter_done(reporter: Ref<lk_reporter>) -> lk_status {
    guard(|| {
        reporter.get("reporter")?.done();
        Ok(())
    })
}

/// Lets go of the handle.
///
/// reporter: consumed; NULL does nothing.
/// Returns: LK_OK; LK_ERR_STALE when it was freed already. Thread: any. Does
/// not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_reporter_free(reporter: Own<lk_reporter>) -> lk_status {
    guard(|| reporter.release("reporter"))
}

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
    guard(|| init(&out, size))
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

/// A component's config as it came from C, with what its callbacks work with.
pub(super) struct Table {
    config: lk_component_config,
    userdata: Userdata,
}

impl Table {
    /// From here on the table's `drop` is called.
    pub(super) fn read(config: &In<lk_component_config>) -> Answer<Self> {
        let config = config.read("config")?;
        Ok(Self { config, userdata: Userdata::new(config.userdata, config.drop) })
    }

    /// Makes what a host takes.
    pub(super) fn into_config(self) -> Answer<ComponentConfig> {
        let Self { config, userdata } = self;
        let name = config.name.read("name")?;
        let requires = requirements(&config.requires_json)?;
        let restart = Restart {
            policy: match config.restart {
                LK_RESTART_PERMANENT => RestartPolicy::Permanent,
                LK_RESTART_TRANSIENT => RestartPolicy::Transient,
                LK_RESTART_TEMPORARY => RestartPolicy::Temporary,
                other => {
                    let text = format!("{name}: restart: must be one of LK_RESTART_, found {other}");
                    return Err(Failure::new(LK_ERR_RANGE, text));
                }
            },
            budget: RestartBudget {
                max_restarts: config.max_restarts,
                window: millis(config.restart_window_ms),
            },
            initial_delay: millis(config.restart_delay_ms),
            max_delay: millis(config.max_restart_delay_ms),
            ..Restart::default()
        };
        let is_critical = flag(config.critical, "critical")?;
        let component = component(name, &config, userdata)?;
        let mut made = ComponentConfig::boxed(name, component).requires(&requires).restart(restart);
        if !is_critical {
            made = made.optional();
        }
        if config.start_timeout_ms != 0 {
            made = made.start_timeout(millis(config.start_timeout_ms));
        }
        if config.stop_timeout_ms != 0 {
            made = made.stop_timeout(millis(config.stop_timeout_ms));
        }
        if config.wait_timeout_ms != super::status::LK_FOREVER {
            made = made.wait_timeout(millis(config.wait_timeout_ms));
        }
        Ok(made)
    }
}

fn component(name: &str, config: &lk_component_config, userdata: Userdata) -> Answer<Box<dyn Component>> {
    match (config.component.optional("component")?, config.start, config.stop) {
        (Some(given), None, None) => given.0.lock().take().ok_or_else(|| {
            Failure::new(LK_ERR_STATE, format!("{name}: component: a host has taken it already"))
        }),
        (None, Some(start), Some(stop)) => Ok(Box::new(CComponent { start, stop, userdata })),
        _ => {
            let text = format!("{name}: either start and stop or component must be set, and not both");
            Err(Failure::new(LK_ERR_INVALID, text))
        }
    }
}

/// Reads what a component requires, as descriptors say it.
fn requirements(json: &Text) -> Answer<Vec<Requirement>> {
    const FIELD: &str = "requires";
    let Some(json) = json.optional("requires_json")? else { return Ok(Vec::new()) };
    let node = tree::parse("requires_json", json).map_err(Error::from)?;
    let place = Place::whole("requires_json");
    let mut members = Members::default();
    members.insert(Member { key: FIELD.to_owned(), key_place: place.clone(), node });
    let whole = Node::new(place, Value::Object(members));
    let read = decode::object(&whole, "", |o| {
        let requires = read_requires(o);
        o.done().map(|_| requires)
    });
    Ok(read.map_err(Error::from)?)
}

struct CComponent {
    start: extern "C" fn(*mut c_void, Cx) -> i32,
    stop: extern "C" fn(*mut c_void, Cx) -> i32,
    userdata: Userdata,
}

impl Component for CComponent {
    fn start(&mut self, cx: &Context) -> Result<(), BoxError> {
        attempt(cx, |cx| (self.start)(self.userdata.get(), cx)).map(drop)
    }

    fn stop(&mut self, cx: &Context) -> Result<(), BoxError> {
        attempt(cx, |cx| (self.stop)(self.userdata.get(), cx)).map(drop)
    }
}

/// Makes a component of a type of the program's.
///
/// userdata: that of the table. name: the component's. config_json: the
/// `config` object of its descriptor; both valid until it returns. out: filled in by lk_component_config_init; set `start`
/// and `stop`, `drop` and `userdata`, or `component`; the other fields are not
/// looked at. buf, len: where to say, as a NUL-terminated text, what is wrong
/// with the settings. Returns 0 when it is made; else what is wrong, as one of
/// LK_ERR_. Runs on the thread that deploys.
pub type lk_type_fn = Option<
    extern "C" fn(
        userdata: *mut c_void,
        name: *const c_char,
        config_json: *const c_char,
        out: *mut lk_component_config,
        buf: *mut c_char,
        len: usize,
    ) -> i32,
>;

/// A type of component that descriptors may name.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct lk_type {
    /// sizeof(lk_type); lk_type_init sets it.
    pub size: u32,
    /// Always 0.
    pub reserved: u32,
    /// The word for it in descriptors.
    pub name: Text,
    /// Makes a component of it; may be called from several threads at once.
    pub make: lk_type_fn,
    /// Called once, after the last call of `make`; may be NULL.
    pub drop: lk_drop_fn,
    /// Passed to each callback.
    pub userdata: *mut c_void,
}

// SAFETY: numbers, pointers that are looked at before they are used, and
// functions that may be absent.
unsafe impl Versioned for lk_type {
    const NAME: &'static str = "lk_type";
    const MIN: usize = size_of::<Self>();

    fn initial() -> Self {
        Self {
            size: size_of::<Self>() as u32,
            reserved: 0,
            name: Text::NONE,
            make: None,
            drop: None,
            userdata: std::ptr::null_mut(),
        }
    }
}

/// Fills in an empty type; `name` and `make` are still to be set.
///
/// out: where. size: sizeof(lk_type).
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_SIZE. Thread: any. Does not block.
/// Next: lk_host_add_type.
#[unsafe(no_mangle)]
pub extern "C" fn lk_type_init(out: Out<lk_type>, size: usize) -> lk_status {
    guard(|| init(&out, size))
}

/// Adds a type of the program's to those that descriptors may name.
pub(super) fn add_type(registry: &mut Registry, kind: &lk_type, userdata: Arc<Userdata>) -> Answer {
    let name = kind.name.read("name")?;
    let make = kind
        .make
        .ok_or_else(|| Failure::new(super::status::LK_ERR_NULL, format!("{name}: make: must not be NULL")))?;
    let factory = move |name: &str, o: &mut decode::Object<'_, '_>| {
        let json = o.whole().to_json().to_string();
        let (name, userdata) = (name.to_owned(), userdata.clone());
        Some(move |_: &crate::env::Env| make_one(&name, &json, make, &userdata))
    };
    Ok(registry.register(name, factory)?)
}

type Make = extern "C" fn(
    *mut c_void,
    *const c_char,
    *const c_char,
    *mut lk_component_config,
    *mut c_char,
    usize,
) -> i32;

fn make_one(name: &str, json: &str, make: Make, userdata: &Userdata) -> Result<Boxed, BoxError> {
    let (c_name, c_json) = (c_text(name.to_owned()), c_text(json.to_owned()));
    let mut config = lk_component_config::initial();
    let mut reason = Reason::default();
    let (buf, len) = reason.place();
    let (status, _) =
        enter(None, |_| make(userdata.get(), c_name.as_ptr(), c_json.as_ptr(), &raw mut config, buf, len));
    reason.of(status, ErrorKind::Component)?;
    let userdata = Userdata::new(config.userdata, config.drop);
    match component(name, &config, userdata) {
        Ok(component) => Ok(Boxed(component)),
        Err(failure) => Err(failure.into_error().into()),
    }
}

/// A component whose type is known to its factory only.
struct Boxed(Box<dyn Component>);

impl Component for Boxed {
    fn start(&mut self, cx: &Context) -> Result<(), BoxError> {
        self.0.start(cx)
    }

    fn stop(&mut self, cx: &Context) -> Result<(), BoxError> {
        self.0.stop(cx)
    }
}
