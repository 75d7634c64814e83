//! Components that are made from other handles.

use super::boundary::guard;
use super::component::{Given, lk_component};
use super::config_watcher::{Kept, lk_config_watcher};
use super::controller::lk_controller;
use super::controller_manager::lk_controller_manager;
use super::deployer::lk_deployer;
use super::handle::{New, Own, Ref};
use super::monitor::lk_monitor;
use super::recovery::lk_recovery;
use super::status::lk_status;
use super::watch_manager::lk_watch_manager;
use super::watcher::lk_watcher;

/// A watcher as a component: up after its first verdict, ready while its
/// service is.
///
/// watcher: not consumed; it goes on when it runs already. out: a new handle,
/// the caller's to free with lk_component_free.
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does not block.
/// Next: set `component` of an lk_component_config to it.
#[unsafe(no_mangle)]
pub extern "C" fn lk_component_of_watcher(watcher: Ref<lk_watcher>, out: New<lk_component>) -> lk_status {
    guard(move || {
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
    guard(move || {
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
    guard(move || {
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
    guard(move || {
        let (manager, place) = (manager.get("manager")?, out.check("out")?);
        place.set(Given::new(manager.0.component()))
    })
}

/// A monitor as a component: up after its first pass, ready while what it
/// looks at can take work. No checker can be added any more.
///
/// monitor: not consumed. out: a new handle, the caller's to free with
/// lk_component_free.
/// Returns: LK_OK; LK_ERR_INVALID or LK_ERR_DUPLICATE when a setting or the
/// name of a checker cannot be used, and LK_ERR_STATE from then on;
/// LK_ERR_SPAWN or LK_ERR_BUDGET; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does
/// not block. Next: set `component` of an lk_component_config to it.
#[unsafe(no_mangle)]
pub extern "C" fn lk_component_of_monitor(monitor: Ref<lk_monitor>, out: New<lk_component>) -> lk_status {
    guard(move || {
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
    guard(move || {
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
    guard(move || {
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
    guard(move || {
        let (watcher, place) = (watcher.get("watcher")?, out.check("out")?);
        place.set(Given::new(Kept(watcher.shared())))
    })
}

/// Lets go of the handle. What a host took stays with it; what none took is
/// stopped, if nothing else has it.
///
/// component: consumed; NULL does nothing.
/// Returns: LK_OK; LK_ERR_STALE when it was freed already. Thread: owner.
/// Blocks for such a stop, as the _free of what it was made of does.
#[unsafe(no_mangle)]
pub extern "C" fn lk_component_free(component: Own<lk_component>) -> lk_status {
    guard(move || component.free("component"))
}
