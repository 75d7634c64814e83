//! Components as C configures them: a table of callbacks or one that was made
//! from another handle, and how its host treats it.

use std::ffi::c_void;

use super::boundary::{Answer, Failure, In, Out, Text, Versioned, flag, guard, init, millis};
use super::call::{Cx, attempt};
use super::handle::{Ref, object};
use super::status::{LK_ERR_INVALID, LK_ERR_RANGE, LK_ERR_STATE, LK_FOREVER, lk_status};
use super::userdata::{Userdata, lk_drop_fn};
use crate::component::{Component, Context};
use crate::decode;
use crate::error::{BoxError, Error};
use crate::host::deploy::{Requirement, read_requires};
use crate::host::{ComponentConfig, Restart, RestartBudget, RestartPolicy};
use crate::primitive::Mutex;
use crate::tree::{self, Member, Members, Node, Place, Value};

/// A part of a program, made from another handle, that is to be given to a
/// host.
#[derive(Debug)]
pub struct lk_component {
    _private: [u8; 0],
}

object!(lk_component => Given);

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
            wait_timeout_ms: LK_FOREVER,
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
    guard(move || init(&out, size))
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
        if config.wait_timeout_ms != LK_FOREVER {
            made = made.wait_timeout(millis(config.wait_timeout_ms));
        }
        Ok(made)
    }
}

/// The component that a config is of.
pub(super) fn component(
    name: &str,
    config: &lk_component_config,
    userdata: Userdata,
) -> Answer<Box<dyn Component>> {
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
