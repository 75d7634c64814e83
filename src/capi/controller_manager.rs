//! Controller managers: many controllers, at regular times, apart from each
//! other.

use std::sync::Arc;

use super::boundary::{Buffer, Failure, In, Out, OutStruct, Text, flag, guard, guard_or, millis};
use super::controller::{Table, lk_controller_config};
use super::env::{StatusBody, lk_env};
use super::event::{Events, lk_events};
use super::handle::{New, Own, Ref, object};
use super::loop_status::{self, LK_HEALTH_UNKNOWN, health_number, lk_health, lk_loop_status, write_all};
use super::report::{lk_stop_report, tell};
use super::status::{LK_ERR_NOT_FOUND, lk_status};
use crate::controller::{ControllerManager, ControllerManagerConfig};
use crate::status::StatusSource;

/// Many controllers under unique names.
#[derive(Debug)]
pub struct lk_controller_manager {
    _private: [u8; 0],
}

object!(lk_controller_manager => Controllers, |_| (), |controllers| controllers.0.is_own_call());

/// What is behind an [`lk_controller_manager`].
#[derive(Debug)]
pub struct Controllers(pub(super) Arc<ControllerManager>);

/// Makes a manager without controllers.
///
/// env: not consumed. dry_run: whether all are to say what they would do, and
/// to change nothing: 0 or 1. out: a new handle, the caller's to free with
/// lk_controller_manager_free.
/// Returns: LK_OK; LK_ERR_RANGE; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does
/// not block. Next: lk_controller_manager_register.
#[unsafe(no_mangle)]
pub extern "C" fn lk_controller_manager_new(
    env: Ref<lk_env>,
    dry_run: i32,
    out: New<lk_controller_manager>,
) -> lk_status {
    guard(move || {
        let (env, place) = (env.get("env")?, out.check("out")?);
        let config = ControllerManagerConfig::default().env(&env);
        let config = if flag(dry_run, "dry_run")? { config.dry_run() } else { config };
        place.set(Controllers(Arc::new(ControllerManager::new(config)?)))
    })
}

/// Adds a controller; while the manager runs it begins at once.
///
/// manager: not consumed. config: as for lk_controller_start.
/// Returns: LK_OK; LK_ERR_DUPLICATE when the name is taken; otherwise as
/// lk_controller_start. Thread: any. Does not block. Next:
/// lk_controller_manager_start.
#[unsafe(no_mangle)]
pub extern "C" fn lk_controller_manager_register(
    manager: Ref<lk_controller_manager>,
    config: In<lk_controller_config>,
) -> lk_status {
    guard(move || {
        let table = Table::read(&config)?;
        let manager = manager.get("manager")?;
        let (settings, controller) = table.into_parts()?;
        Ok(manager.0.register(settings, controller)?)
    })
}

/// Stops a controller and takes it out.
///
/// manager: not consumed. name: copied. grace_ms: how long to wait. report:
/// how it went, written also when that was not well; may be NULL.
/// Returns: as lk_controller_stop; LK_ERR_NOT_FOUND. Thread: any. Blocks for
/// `grace_ms` at most.
#[unsafe(no_mangle)]
pub extern "C" fn lk_controller_manager_remove(
    manager: Ref<lk_controller_manager>,
    name: Text,
    grace_ms: u64,
    report: OutStruct<lk_stop_report>,
) -> lk_status {
    guard(move || {
        let (manager, name) = (manager.get("manager")?, name.read("name")?);
        let report = report.optional("report")?;
        tell(&manager.0.remove(name, millis(grace_ms))?, report)
    })
}

/// Starts every controller.
///
/// manager: not consumed.
/// Returns: LK_OK; LK_ERR_STATE while it runs; LK_ERR_SPAWN or LK_ERR_BUDGET;
/// LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does not block. Next:
/// lk_controller_manager_stop.
#[unsafe(no_mangle)]
pub extern "C" fn lk_controller_manager_start(manager: Ref<lk_controller_manager>) -> lk_status {
    guard(move || Ok(manager.get("manager")?.0.start()?))
}

/// Has a controller run now instead of at its next due.
///
/// manager: not consumed. name: copied.
/// Returns: LK_OK; LK_ERR_NOT_FOUND; LK_ERR_STATE when nothing runs;
/// LK_ERR_NULL; LK_ERR_UTF8; LK_ERR_STALE. Thread: any, callbacks included.
/// Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_controller_manager_trigger(
    manager: Ref<lk_controller_manager>,
    name: Text,
) -> lk_status {
    guard(move || Ok(manager.get("manager")?.0.trigger(name.read("name")?)?))
}

/// Has a controller make no regular runs any more, until it is resumed.
///
/// manager: not consumed. name: copied.
/// Returns: LK_OK; LK_ERR_NOT_FOUND; LK_ERR_NULL; LK_ERR_UTF8; LK_ERR_STALE.
/// Thread: any, callbacks included. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_controller_manager_pause(manager: Ref<lk_controller_manager>, name: Text) -> lk_status {
    guard(move || Ok(manager.get("manager")?.0.pause(name.read("name")?)?))
}

/// Has a controller make regular runs again.
///
/// manager: not consumed. name: copied.
/// Returns: as lk_controller_manager_pause. Thread: any, callbacks included.
/// Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_controller_manager_resume(manager: Ref<lk_controller_manager>, name: Text) -> lk_status {
    guard(move || Ok(manager.get("manager")?.0.resume(name.read("name")?)?))
}

/// Stops every controller together; start may be called again.
///
/// manager: not consumed. grace_ms: how long to wait for all of them. report:
/// how it went, written also when that was not well; may be NULL.
/// Returns: as lk_controller_stop. Thread: any. Blocks for `grace_ms` at most.
/// Next: lk_controller_manager_free.
#[unsafe(no_mangle)]
pub extern "C" fn lk_controller_manager_stop(
    manager: Ref<lk_controller_manager>,
    grace_ms: u64,
    report: OutStruct<lk_stop_report>,
) -> lk_status {
    guard(move || {
        let (manager, report) = (manager.get("manager")?, report.optional("report")?);
        tell(&manager.0.stop(millis(grace_ms)), report)
    })
}

/// All controllers together: LK_HEALTH_...
///
/// manager: not consumed.
/// Returns: their health; LK_HEALTH_UNKNOWN when `manager` is no such handle.
/// Thread: any. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_controller_manager_health(manager: Ref<lk_controller_manager>) -> lk_health {
    guard_or(LK_HEALTH_UNKNOWN, move || Ok(health_number(manager.get("manager")?.0.health())))
}

/// Everything about a controller at one moment.
///
/// manager: not consumed. name: copied. out: a status that was filled in by
/// lk_loop_status_init.
/// Returns: LK_OK; LK_ERR_NOT_FOUND; LK_ERR_NULL; LK_ERR_SIZE; LK_ERR_UTF8;
/// LK_ERR_STALE. Thread: any. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_controller_manager_status(
    manager: Ref<lk_controller_manager>,
    name: Text,
    out: OutStruct<lk_loop_status>,
) -> lk_status {
    guard(move || {
        let (manager, name) = (manager.get("manager")?, name.read("name")?);
        let place = out.check("out")?;
        let Some(status) = manager.0.status_of(name) else {
            return Err(Failure::new(
                LK_ERR_NOT_FOUND,
                format!("{name:?}: is no controller of this manager"),
            ));
        };
        loop_status::write(&place, &status);
        Ok(())
    })
}

/// Every controller, as JSON: {"boot", "at", "loops": [..]}, by name.
///
/// manager: not consumed. buf, len: where the text goes, with its NUL.
/// needed: how many bytes it needs, written also with LK_ERR_BUFFER; may be
/// NULL.
/// Returns: LK_OK; LK_ERR_BUFFER; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does
/// not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_controller_manager_all_json(
    manager: Ref<lk_controller_manager>,
    buf: Buffer,
    len: usize,
    needed: Out<usize>,
) -> lk_status {
    guard(move || {
        let (manager, place) = (manager.get("manager")?, buf.check(len, &needed)?);
        place.set_json(&StatusBody::of(manager.0.env(), &manager.0.statuses()))
    })
}

/// Every controller, as structs, by name.
///
/// manager: not consumed. items, capacity, count: as for lk_env_loops.
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_SIZE; LK_ERR_STALE. Thread: any. Does
/// not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_controller_manager_loops(
    manager: Ref<lk_controller_manager>,
    items: OutStruct<lk_loop_status>,
    capacity: usize,
    count: Out<usize>,
) -> lk_status {
    guard(move || {
        let (manager, count) = (manager.get("manager")?, count.check("count")?);
        if capacity > 0 {
            let _ = items.check("items")?;
        }
        write_all(&manager.0.statuses(), &items, capacity, count)
    })
}

/// Hears of every event of every controller from now on.
///
/// manager: not consumed. out: a new handle, the caller's to free with
/// lk_events_free.
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does not block.
/// Next: lk_events_next.
#[unsafe(no_mangle)]
pub extern "C" fn lk_controller_manager_subscribe(
    manager: Ref<lk_controller_manager>,
    out: New<lk_events>,
) -> lk_status {
    guard(move || {
        let (manager, place) = (manager.get("manager")?, out.check("out")?);
        place.set(Events::new(manager.0.subscribe()))
    })
}

/// Stops every controller, within a second unless a stop has waited already,
/// and lets go of the manager.
///
/// manager: consumed; NULL does nothing.
/// Returns: LK_OK; LK_ERR_STALE when it was freed already; LK_ERR_STATE from
/// inside a callback of its own. Thread: owner. Blocks for a second at most.
#[unsafe(no_mangle)]
pub extern "C" fn lk_controller_manager_free(manager: Own<lk_controller_manager>) -> lk_status {
    guard(move || manager.free("manager"))
}
