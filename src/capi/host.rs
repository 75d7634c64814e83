//! Hosts: the parts of a program, started in order, kept running, stopped in
//! reverse.

use std::path::Path;
use std::sync::Arc;

use super::boundary::{Answer, Buffer, Failure, In, Out, OutStruct, Text, Versioned, guard, init, millis};
use super::cancel::lk_cancel;
use super::component::{Table, lk_component_config};
use super::component_status::lk_component_status;
use super::component_type::{add_type, lk_type};
use super::env::{StatusBody, lk_env};
use super::event::{Events, lk_events};
use super::handle::{New, Own, Ref, object};
use super::loop_status::{lk_loop_status, write_all};
use super::report::{lk_stop_report, tell};
use super::status::{LK_ERR_INVALID, LK_ERR_NOT_FOUND, LK_ERR_STALE, lk_status};
use super::userdata::Userdata;
use super::watch_manager::lk_member;
use crate::config::StoreUrl;
use crate::error::Error;
use crate::host::deploy::{Descriptor, Registry};
use crate::host::{ComponentConfig, Host, HostConfig};
use crate::primitive::Mutex;
use crate::shipped;

/// Holds the components of a program: starts them in order, keeps them
/// running, stops them in reverse.
#[derive(Debug)]
pub struct lk_host {
    _private: [u8; 0],
}

object!(lk_host => Hosted, |hosted| hosted.host.stop_for_drop(), |hosted| hosted.host.is_own_call());

/// What is behind an [`lk_host`].
#[derive(Debug)]
pub struct Hosted {
    pub(super) host: Host,
    pub(super) registry: Mutex<Registry>,
}

impl Hosted {
    pub(super) fn new(host: Host, store: &StoreUrl) -> Self {
        Self { host, registry: Mutex::new(shipped::registry_with(store)) }
    }

    /// The number of the component that has a name now.
    fn member(&self, name: &str, out: &Out<lk_member>) {
        if let (Some(place), Some(status)) = (out.optional(), self.host.component(name)) {
            place.set(status.id);
        }
    }

    fn descriptor(&self, json: &str) -> Answer<(String, ComponentConfig)> {
        let registry = self.registry.lock().clone();
        let descriptor = Descriptor::parse("descriptor", json.as_bytes(), &registry).map_err(Error::from)?;
        let name = descriptor.name.to_string();
        if !descriptor.enabled {
            return Err(Failure::new(LK_ERR_INVALID, format!("{name}: its descriptor says enabled: false")));
        }
        let requires = descriptor.requires.clone();
        let component = descriptor.build(self.host.env())?;
        Ok((name.clone(), ComponentConfig::boxed(name, component).requires(&requires)))
    }
}

/// Settings of a host.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct lk_host_config {
    /// sizeof(lk_host_config); lk_host_config_init sets it.
    pub size: u32,
    /// How many components may start or stop at once; with more than one the
    /// order is that of the requirements only. Defaults to 1.
    pub parallel: u32,
    /// How long a component's start may take, unless it says otherwise.
    /// Defaults to 30 s.
    pub start_timeout_ms: u64,
    /// How long a component's stop may take, unless it says otherwise.
    /// Defaults to 10 s.
    pub stop_timeout_ms: u64,
    /// How long all components together may take to stop where nobody says
    /// otherwise: after a failed start, at the end of lk_host_run, when the
    /// host is freed. Defaults to 30 s.
    pub shutdown_timeout_ms: u64,
    /// Where the controllers of a fleet keep what they know, such as
    /// "sqlite:/var/lib/fleet.db"; opened when the first of them is deployed.
    /// Defaults to NULL, "sqlite:loopkeeper.db".
    pub store: Text,
}

// SAFETY: numbers, and a pointer that is looked at before it is used.
unsafe impl Versioned for lk_host_config {
    const NAME: &'static str = "lk_host_config";
    const MIN: usize = size_of::<u32>() * 2;

    fn initial() -> Self {
        Self {
            size: size_of::<Self>() as u32,
            parallel: 1,
            start_timeout_ms: 30_000,
            stop_timeout_ms: 10_000,
            shutdown_timeout_ms: 30_000,
            store: Text::NONE,
        }
    }
}

impl lk_host_config {
    fn settings(&self) -> HostConfig {
        HostConfig::default()
            .start_timeout(millis(self.start_timeout_ms))
            .stop_timeout(millis(self.stop_timeout_ms))
            .shutdown_timeout(millis(self.shutdown_timeout_ms))
            .parallel(self.parallel as usize)
    }

    fn store(&self) -> Answer<StoreUrl> {
        let Some(url) = self.store.optional("store")? else { return Ok(StoreUrl::default()) };
        StoreUrl::parse(url, Path::new(""))
            .map_err(|error| Failure::new(LK_ERR_INVALID, format!("store: {error}")))
    }
}

/// Fills in the default settings.
///
/// out: where. size: sizeof(lk_host_config).
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_SIZE. Thread: any. Does not block.
/// Next: lk_host_new.
#[unsafe(no_mangle)]
pub extern "C" fn lk_host_config_init(out: Out<lk_host_config>, size: usize) -> lk_status {
    guard(move || init(&out, size))
}

/// Makes a host without components.
///
/// env: not consumed. config: copied; may be NULL for the defaults. out: a new
/// handle, the caller's to free with lk_host_free.
/// Returns: LK_OK; LK_ERR_INVALID when a setting cannot be used; LK_ERR_SPAWN
/// or LK_ERR_BUDGET; LK_ERR_NULL; LK_ERR_SIZE; LK_ERR_STALE. Thread: any. Does
/// not block. Next: lk_host_register.
#[unsafe(no_mangle)]
pub extern "C" fn lk_host_new(env: Ref<lk_env>, config: In<lk_host_config>, out: New<lk_host>) -> lk_status {
    guard(move || {
        let (env, place) = (env.get("env")?, out.check("out")?);
        let config = config.optional("config")?.unwrap_or_else(lk_host_config::initial);
        let store = config.store()?;
        place.set(Hosted::new(Host::new(config.settings().env(&env))?, &store))
    })
}

/// Adds a type of the program's to those that descriptors may name, beside
/// those that come with the library: "watcher", "monitor" and, where the
/// library was built with them, "recovery", "agent-health", "job-recovery",
/// "queue-priority", "token-cleanup" and "audit-retention".
///
/// host: not consumed. table: copied; its `drop` is called once whatever this
/// returns, unless the table itself is NULL or of a wrong size.
/// Returns: LK_OK; LK_ERR_DUPLICATE when there is a type of this name;
/// LK_ERR_INVALID when it cannot be a name; LK_ERR_NULL; LK_ERR_SIZE;
/// LK_ERR_UTF8; LK_ERR_STALE. Thread: any. Does not block. Next:
/// lk_host_deploy_json, lk_deployer_start.
#[unsafe(no_mangle)]
pub extern "C" fn lk_host_add_type(host: Ref<lk_host>, table: In<lk_type>) -> lk_status {
    guard(move || {
        // First: from here on its `drop` is called.
        let table = table.read("table")?;
        let userdata = Arc::new(Userdata::new(table.userdata, table.drop));
        let hosted = host.get("host")?;
        // Kept here as well: what is refused calls its `drop` without the lock.
        add_type(&mut hosted.registry.lock(), &table, userdata.clone())
    })
}

/// Adds a component before the start.
///
/// host: not consumed. config: copied, and its texts; its `drop` is called
/// once whatever this returns, unless the config itself is NULL or of a wrong
/// size. out: the new member; may be NULL.
/// Returns: LK_OK; LK_ERR_DUPLICATE when the name is taken; LK_ERR_INVALID or
/// LK_ERR_CONFIG when a setting cannot be used or components would require
/// each other in a circle; LK_ERR_STATE while the host runs; LK_ERR_RANGE;
/// LK_ERR_NULL; LK_ERR_SIZE; LK_ERR_UTF8; LK_ERR_STALE. Thread: any. Does not
/// block. Next: lk_host_start.
#[unsafe(no_mangle)]
pub extern "C" fn lk_host_register(
    host: Ref<lk_host>,
    config: In<lk_component_config>,
    out: Out<lk_member>,
) -> lk_status {
    guard(move || {
        let table = Table::read(&config)?;
        let hosted = host.get("host")?;
        let config = table.into_config()?;
        let name = config.name().to_owned();
        hosted.host.register_with(config)?;
        hosted.member(&name, &out);
        Ok(())
    })
}

/// Starts every component, each after what it requires and otherwise in the
/// order in which they were added. What requires something that is up and not
/// ready yet is left waiting and starts by itself later. When one fails, it and
/// all that were started are stopped in reverse; start may be tried again.
///
/// host: not consumed.
/// Returns: LK_OK when every start that could be called has returned;
/// otherwise why the first failed, with its name in the text:
/// LK_ERR_COMPONENT or what its callback returned, LK_ERR_TIMEOUT when a start
/// is stuck, LK_ERR_NOT_FOUND when something required is not there,
/// LK_ERR_CANCELLED when the host was stopped meanwhile, LK_ERR_STATE while it
/// runs or from inside a component's call; LK_ERR_NULL; LK_ERR_STALE. Thread:
/// any. Blocks until then. Next: lk_host_stop.
#[unsafe(no_mangle)]
pub extern "C" fn lk_host_start(host: Ref<lk_host>) -> lk_status {
    guard(move || Ok(host.get("host")?.host.start()?))
}

/// Starts every component, waits until `cancel` is cancelled or the host stops
/// by itself, and stops every component.
///
/// host: not consumed. cancel: not consumed; cancel it from another thread or
/// a callback.
/// Returns: LK_OK when all was well to the end; otherwise as lk_host_start, or
/// who failed or would not stop: LK_ERR_COMPONENT, LK_ERR_TIMEOUT. Thread:
/// any, but a callback of one of its components would wait for itself. Blocks
/// until then. Next: lk_host_free.
#[unsafe(no_mangle)]
pub extern "C" fn lk_host_run(host: Ref<lk_host>, cancel: Ref<lk_cancel>) -> lk_status {
    guard(move || {
        let (hosted, cancel) = (host.get("host")?, cancel.get("cancel")?);
        Ok(hosted.host.run(&cancel.token)?)
    })
}

/// Stops every component, in the reverse order of their starts. Each sees its
/// cancel just before its stop is called. One that is stuck past its time is
/// left behind; the others go on. When it returns LK_OK no component is in a
/// call and none is started any more, and start may be called again.
///
/// host: not consumed. grace_ms: how long to wait for all of them. report: how
/// it went, written also when that was not well; may be NULL.
/// Returns: LK_OK when all has ended, also when nothing ran; LK_ERR_TIMEOUT
/// when a thread did not end in time; LK_ERR_COMPONENT when a stop failed;
/// LK_ERR_STATE from inside a component's call, which only begins to stop;
/// LK_ERR_NULL; LK_ERR_SIZE; LK_ERR_STALE. Thread: any. Blocks for `grace_ms`
/// at most. Next: lk_host_free.
#[unsafe(no_mangle)]
pub extern "C" fn lk_host_stop(
    host: Ref<lk_host>,
    grace_ms: u64,
    report: OutStruct<lk_stop_report>,
) -> lk_status {
    guard(move || {
        let (hosted, report) = (host.get("host")?, report.optional("report")?);
        tell(&hosted.host.stop(millis(grace_ms)), report)
    })
}

/// Adds a component to a host that runs and starts it; before the start it is
/// only added.
///
/// host: not consumed. config, out: as for lk_host_register.
/// Returns: LK_OK when its start has returned or it waits for what it
/// requires; what the start failed for, and then it is taken out again;
/// LK_ERR_NOT_FOUND when something required is not there; LK_ERR_STATE when
/// the host stops; otherwise as lk_host_register. Thread: any. Blocks until
/// then. Next: lk_host_undeploy.
#[unsafe(no_mangle)]
pub extern "C" fn lk_host_deploy(
    host: Ref<lk_host>,
    config: In<lk_component_config>,
    out: Out<lk_member>,
) -> lk_status {
    guard(move || {
        let table = Table::read(&config)?;
        let hosted = host.get("host")?;
        let config = table.into_config()?;
        let name = config.name().to_owned();
        hosted.host.deploy(config)?;
        hosted.member(&name, &out);
        Ok(())
    })
}

/// The same for a component as a descriptor says it, such as
/// {"name": "mqtt", "type": "watcher", "config": {"probe": {"tcp": {..}}}}.
///
/// host: not consumed. json: copied. out: the new member; may be NULL.
/// Returns: as lk_host_deploy; LK_ERR_CONFIG with everything that is wrong
/// with the descriptor and where; LK_ERR_INVALID when it is not enabled.
/// Thread: any. Blocks until its start has returned. Next: lk_host_undeploy.
#[unsafe(no_mangle)]
pub extern "C" fn lk_host_deploy_json(host: Ref<lk_host>, json: Text, out: Out<lk_member>) -> lk_status {
    guard(move || {
        let (hosted, json) = (host.get("host")?, json.read("json")?);
        let (name, config) = hosted.descriptor(json)?;
        hosted.host.deploy(config)?;
        hosted.member(&name, &out);
        Ok(())
    })
}

/// Stops a component and starts another of the same name in its place; where
/// none is, the new one is simply deployed. Its start has to return within
/// `limit_ms`, and nothing of it may fail until it is up or that time is over;
/// otherwise it is stopped and the one before comes back.
///
/// host: not consumed. config: as for lk_host_register. limit_ms: how long the
/// new one may take. out: the new member; may be NULL.
/// Returns: as lk_host_deploy; LK_ERR_STATE from inside its own call, or that of
/// one that has to stop before it or that the new one would wait for. Thread:
/// any. Blocks until then.
#[unsafe(no_mangle)]
pub extern "C" fn lk_host_replace(
    host: Ref<lk_host>,
    config: In<lk_component_config>,
    limit_ms: u64,
    out: Out<lk_member>,
) -> lk_status {
    guard(move || {
        let table = Table::read(&config)?;
        let hosted = host.get("host")?;
        let config = table.into_config()?;
        let name = config.name().to_owned();
        hosted.host.replace(config, millis(limit_ms))?;
        hosted.member(&name, &out);
        Ok(())
    })
}

/// The same for a component as a descriptor says it.
///
/// host: not consumed. json: copied. limit_ms: how long the new one may take.
/// out: the new member; may be NULL.
/// Returns: as lk_host_replace and lk_host_deploy_json. Thread: any. Blocks
/// until then.
#[unsafe(no_mangle)]
pub extern "C" fn lk_host_replace_json(
    host: Ref<lk_host>,
    json: Text,
    limit_ms: u64,
    out: Out<lk_member>,
) -> lk_status {
    guard(move || {
        let (hosted, json) = (host.get("host")?, json.read("json")?);
        let (name, config) = hosted.descriptor(json)?;
        hosted.host.replace(config, millis(limit_ms))?;
        hosted.member(&name, &out);
        Ok(())
    })
}

/// Stops a component and takes it out. One whose stop fails stays, as failed,
/// until a later call succeeds; one that is stuck gives its name free. The
/// `drop` of its table may still be to come when this returns.
///
/// host: not consumed. member: which. grace_ms: how long to wait. report: how
/// it went, written also when that was not well; may be NULL.
/// Returns: LK_OK; LK_ERR_STALE when it is no longer part of the host;
/// LK_ERR_STATE from inside its own call, or that of one that has to stop
/// before it, and when the host stops;
/// LK_ERR_TIMEOUT or LK_ERR_COMPONENT when it did not end; LK_ERR_NULL;
/// LK_ERR_SIZE. Thread: any. Blocks for `grace_ms` at most.
#[unsafe(no_mangle)]
pub extern "C" fn lk_host_undeploy(
    host: Ref<lk_host>,
    member: lk_member,
    grace_ms: u64,
    report: OutStruct<lk_stop_report>,
) -> lk_status {
    guard(move || {
        let (hosted, report) = (host.get("host")?, report.optional("report")?);
        tell(&hosted.host.undeploy_by_id(member, millis(grace_ms))?, report)
    })
}

/// Finds a component by its name.
///
/// host: not consumed. name: copied. out: the member.
/// Returns: LK_OK; LK_ERR_NOT_FOUND; LK_ERR_NULL; LK_ERR_UTF8; LK_ERR_STALE.
/// Thread: any. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_host_find(host: Ref<lk_host>, name: Text, out: Out<lk_member>) -> lk_status {
    guard(move || {
        let (hosted, name, place) = (host.get("host")?, name.read("name")?, out.check("out")?);
        let Some(status) = hosted.host.component(name) else {
            return Err(Failure::new(LK_ERR_NOT_FOUND, format!("{name:?}: is no component of this host")));
        };
        place.set(status.id);
        Ok(())
    })
}

/// One component at this moment.
///
/// host: not consumed. member: which. out: a status that was filled in by
/// lk_component_status_init.
/// Returns: LK_OK; LK_ERR_STALE; LK_ERR_NULL; LK_ERR_SIZE. Thread: any. Does
/// not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_host_component_status(
    host: Ref<lk_host>,
    member: lk_member,
    out: OutStruct<lk_component_status>,
) -> lk_status {
    guard(move || {
        let (hosted, place) = (host.get("host")?, out.check("out")?);
        let Some(status) = hosted.host.component_by_id(member) else {
            return Err(Failure::new(LK_ERR_STALE, "member: is no longer part of the host"));
        };
        place.set(&lk_component_status::of(&status));
        Ok(())
    })
}

/// Every component at this moment, in the order of their starts, as a JSON
/// list; then those that were taken out and are stuck in a call.
///
/// host: not consumed. buf, len: where the text goes, with its NUL. needed:
/// how many bytes it needs, written also with LK_ERR_BUFFER; may be NULL.
/// Returns: LK_OK; LK_ERR_BUFFER; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does
/// not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_host_components_json(
    host: Ref<lk_host>,
    buf: Buffer,
    len: usize,
    needed: Out<usize>,
) -> lk_status {
    guard(move || {
        let (hosted, place) = (host.get("host")?, buf.check(len, &needed)?);
        place.set_json(&hosted.host.status())
    })
}

/// Every loop that runs in the host's environment, and every component that
/// has none of its name, as JSON: {"boot", "at", "loops": [..]}.
///
/// host: not consumed. buf, len, needed: as for lk_host_components_json.
/// Returns: LK_OK; LK_ERR_BUFFER; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does
/// not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_host_status_json(
    host: Ref<lk_host>,
    buf: Buffer,
    len: usize,
    needed: Out<usize>,
) -> lk_status {
    guard(move || {
        let (hosted, place) = (host.get("host")?, buf.check(len, &needed)?);
        place.set_json(&StatusBody::of(hosted.host.env(), &hosted.host.loops()))
    })
}

/// The same as structs, by kind and name.
///
/// host: not consumed. items, capacity, count: as for lk_env_loops.
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_SIZE; LK_ERR_STALE. Thread: any. Does
/// not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_host_loops(
    host: Ref<lk_host>,
    items: OutStruct<lk_loop_status>,
    capacity: usize,
    count: Out<usize>,
) -> lk_status {
    guard(move || {
        let (hosted, count) = (host.get("host")?, count.check("count")?);
        if capacity > 0 {
            let _ = items.check("items")?;
        }
        write_all(&hosted.host.loops(), &items, capacity, count)
    })
}

/// Hears of every event of every component from now on.
///
/// host: not consumed. out: a new handle, the caller's to free with
/// lk_events_free; it ends with the host.
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does not block.
/// Next: lk_events_next.
#[unsafe(no_mangle)]
pub extern "C" fn lk_host_subscribe(host: Ref<lk_host>, out: New<lk_events>) -> lk_status {
    guard(move || {
        let (hosted, place) = (host.get("host")?, out.check("out")?);
        place.set(Events::new(hosted.host.subscribe()))
    })
}

/// Stops every component within the shutdown timeout, drops them, and lets go
/// of the host; its members are stale.
///
/// host: consumed; NULL does nothing.
/// Returns: LK_OK; LK_ERR_STALE when it was freed already; LK_ERR_STATE from
/// inside a call of one of its components or a callback of its own. Thread:
/// owner; inside a callback of a watcher or another loop that is its component
/// it waits for that one in vain. Blocks for the shutdown timeout at most, and
/// for up to five seconds more where a `drop` hangs. Next: lk_env_free.
#[unsafe(no_mangle)]
pub extern "C" fn lk_host_free(host: Own<lk_host>) -> lk_status {
    guard(move || host.free("host"))
}

/// Where a folder's components are put.
pub(super) fn target(hosted: &Hosted) -> Arc<dyn crate::host::deploy::Target> {
    Arc::new(hosted.host.handle())
}
