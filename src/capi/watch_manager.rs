//! Watch managers: many watched services under unique names.

use std::sync::Arc;

use super::boundary::{Answer, Buffer, Failure, In, Out, OutStruct, Text, guard, guard_or, millis};
use super::env::{StatusBody, lk_env};
use super::event::{Events, lk_events};
use super::handle::{New, Own, Ref, object};
use super::loop_status::{self, LK_HEALTH_UNKNOWN, health_number, lk_health, lk_loop_status, write_all};
use super::members::Members;
use super::report::{lk_stop_report, tell};
use super::status::{LK_ERR_NOT_FOUND, LK_ERR_STALE, LK_ERR_TIMEOUT, lk_status};
use super::watcher::{callbacks, lk_watcher_config, settings};
use crate::env::Env;
use crate::status::StatusSource;
use crate::watch::{WatchManager, Watcher};

/// Many watched services, one thread each.
#[derive(Debug)]
pub struct lk_watch_manager {
    _private: [u8; 0],
}

object!(lk_watch_manager => Watchers, |_| (), |watchers| watchers.manager.is_own_call());

/// One of the members of a host or a manager: the number of its slot and of
/// the slot's generation, passed by value. One that was removed, or another
/// took the place of, is LK_ERR_STALE. 0 is never a member.
pub type lk_member = u64;

/// What is behind an [`lk_watch_manager`].
pub struct Watchers {
    env: Env,
    pub(super) manager: Arc<WatchManager>,
    members: Members<Arc<Watcher>>,
}

impl std::fmt::Debug for Watchers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.manager.fmt(f)
    }
}

impl Watchers {
    fn number(&self, watcher: Arc<Watcher>) -> lk_member {
        let it = watcher.clone();
        self.members.insert(watcher, |other| Arc::ptr_eq(other, &it), |other| !self.is_current(other))
    }

    fn is_current(&self, watcher: &Arc<Watcher>) -> bool {
        let current = self.manager.get(watcher.name().as_str());
        current.is_some_and(|current| Arc::ptr_eq(&current, watcher))
    }

    fn member(&self, number: lk_member) -> Answer<Arc<Watcher>> {
        let member = self.members.get(number).filter(|watcher| self.is_current(watcher));
        member.ok_or_else(|| Failure::new(LK_ERR_STALE, "member: is not watched any more"))
    }
}

/// Makes a manager without services.
///
/// env: not consumed. out: a new handle, the caller's to free with
/// lk_watch_manager_free.
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does not block.
/// Next: lk_watch_manager_watch.
#[unsafe(no_mangle)]
pub extern "C" fn lk_watch_manager_new(env: Ref<lk_env>, out: New<lk_watch_manager>) -> lk_status {
    guard(move || {
        let (env, place) = (env.get("env")?, out.check("out")?);
        let manager = Arc::new(WatchManager::new(&env));
        place.set(Watchers { env: (*env).clone(), manager, members: Members::default() })
    })
}

/// Begins to watch a service.
///
/// manager: not consumed. config: as for lk_watcher_start. out: the new
/// member; may be NULL.
/// Returns: LK_OK; LK_ERR_DUPLICATE when its name is taken; LK_ERR_STATE after
/// a stop; otherwise as lk_watcher_start. Thread: any. Does not block. Next:
/// lk_watch_manager_wait_ready.
#[unsafe(no_mangle)]
pub extern "C" fn lk_watch_manager_watch(
    manager: Ref<lk_watch_manager>,
    config: In<lk_watcher_config>,
    out: Out<lk_member>,
) -> lk_status {
    guard(move || {
        // First: from here on its `drop` is called.
        let config = config.read("config")?;
        let callbacks = callbacks(&config);
        let watchers = manager.get("manager")?;
        let watcher = watchers.manager.watch(settings(&config, &callbacks)?)?;
        if let Some(place) = out.optional() {
            place.set(watchers.number(watcher));
        }
        Ok(())
    })
}

/// Stops watching the service of the config's name and watches this one in
/// its place; one that is not watched yet is simply watched. The settings are
/// checked before the old one is touched.
///
/// manager: not consumed. config: as for lk_watcher_start. grace_ms: how long
/// the old one may take to end; one that is stuck holds up nothing. report:
/// the old one's end; may be NULL. out: the new member; may be NULL.
/// Returns: LK_OK, also when the old one is stuck; otherwise as
/// lk_watch_manager_watch, without LK_ERR_DUPLICATE. Thread: any. Blocks for
/// `grace_ms` at most.
#[unsafe(no_mangle)]
pub extern "C" fn lk_watch_manager_replace(
    manager: Ref<lk_watch_manager>,
    config: In<lk_watcher_config>,
    grace_ms: u64,
    report: OutStruct<lk_stop_report>,
    out: Out<lk_member>,
) -> lk_status {
    guard(move || {
        // First: from here on its `drop` is called.
        let config = config.read("config")?;
        let callbacks = callbacks(&config);
        let (watchers, report) = (manager.get("manager")?, report.optional("report")?);
        let (watcher, ended) = watchers.manager.replace(settings(&config, &callbacks)?, millis(grace_ms))?;
        if let Some(place) = out.optional() {
            place.set(watchers.number(watcher));
        }
        // So that the `drop` of the old one's callbacks is called now.
        watchers.members.purge(|other| !watchers.is_current(other));
        // How the old one ended is in the report; the new one is watched.
        let _ = tell(&ended, report);
        Ok(())
    })
}

/// Stops watching a service.
///
/// manager: not consumed. member: which. grace_ms: how long to wait. report:
/// how it went, written also when that was not well; may be NULL.
/// Returns: as lk_watcher_stop; LK_ERR_STALE also when it is not watched any
/// more. Thread: any. Blocks for `grace_ms` at most.
#[unsafe(no_mangle)]
pub extern "C" fn lk_watch_manager_unwatch(
    manager: Ref<lk_watch_manager>,
    member: lk_member,
    grace_ms: u64,
    report: OutStruct<lk_stop_report>,
) -> lk_status {
    guard(move || {
        let (watchers, report) = (manager.get("manager")?, report.optional("report")?);
        let watcher = watchers.member(member)?;
        let ended = watchers.manager.unwatch_one(&watcher, millis(grace_ms))?;
        // So that its callbacks' `drop` is called now, not with the manager's.
        drop((watchers.members.remove(member), watcher));
        tell(&ended, report)
    })
}

/// Probes a service now.
///
/// manager: not consumed. member: which.
/// Returns: LK_OK; LK_ERR_STALE; LK_ERR_NULL. Thread: any, callbacks included.
/// Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_watch_manager_trigger(manager: Ref<lk_watch_manager>, member: lk_member) -> lk_status {
    guard(move || {
        manager.get("manager")?.member(member)?.trigger();
        Ok(())
    })
}

/// Waits until a service is ready.
///
/// manager: not consumed. member: which. timeout_ms: how long at most, in
/// real time.
/// Returns: LK_OK; LK_ERR_TIMEOUT; LK_ERR_STALE; LK_ERR_NULL. Thread: any.
/// Blocks for `timeout_ms` at most.
#[unsafe(no_mangle)]
pub extern "C" fn lk_watch_manager_wait_ready(
    manager: Ref<lk_watch_manager>,
    member: lk_member,
    timeout_ms: u64,
) -> lk_status {
    guard(move || {
        let watcher = manager.get("manager")?.member(member)?;
        if watcher.wait_ready(millis(timeout_ms)) {
            return Ok(());
        }
        Err(Failure::new(LK_ERR_TIMEOUT, watcher.status().to_string()))
    })
}

/// Finds a service by its name.
///
/// manager: not consumed. name: copied. out: the member.
/// Returns: LK_OK; LK_ERR_NOT_FOUND; LK_ERR_NULL; LK_ERR_UTF8; LK_ERR_STALE.
/// Thread: any. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_watch_manager_find(
    manager: Ref<lk_watch_manager>,
    name: Text,
    out: Out<lk_member>,
) -> lk_status {
    guard(move || {
        let (watchers, name, place) = (manager.get("manager")?, name.read("name")?, out.check("out")?);
        let Some(watcher) = watchers.manager.get(name) else {
            return Err(Failure::new(LK_ERR_NOT_FOUND, format!("{name:?}: is not watched")));
        };
        place.set(watchers.number(watcher));
        Ok(())
    })
}

/// Everything about a service at one moment.
///
/// manager: not consumed. member: which. out: a status that was filled in by
/// lk_loop_status_init.
/// Returns: LK_OK; LK_ERR_STALE; LK_ERR_NULL; LK_ERR_SIZE. Thread: any. Does
/// not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_watch_manager_status(
    manager: Ref<lk_watch_manager>,
    member: lk_member,
    out: OutStruct<lk_loop_status>,
) -> lk_status {
    guard(move || {
        let (watchers, place) = (manager.get("manager")?, out.check("out")?);
        let watcher = watchers.member(member)?;
        watcher.view(&mut |view| loop_status::write_view(&place, view));
        Ok(())
    })
}

/// The same as a JSON object.
///
/// manager: not consumed. member: which. buf, len: where the text goes, with
/// its NUL. needed: how many bytes it needs, written also with LK_ERR_BUFFER;
/// may be NULL.
/// Returns: LK_OK; LK_ERR_BUFFER; LK_ERR_STALE; LK_ERR_NULL. Thread: any. Does
/// not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_watch_manager_status_json(
    manager: Ref<lk_watch_manager>,
    member: lk_member,
    buf: Buffer,
    len: usize,
    needed: Out<usize>,
) -> lk_status {
    guard(move || {
        let (watchers, place) = (manager.get("manager")?, buf.check(len, &needed)?);
        place.set_json(&watchers.member(member)?.status())
    })
}

/// Every service, as JSON: {"boot", "at", "loops": [..]}, by name.
///
/// manager: not consumed. buf, len, needed: as for
/// lk_watch_manager_status_json.
/// Returns: LK_OK; LK_ERR_BUFFER; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does
/// not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_watch_manager_all_json(
    manager: Ref<lk_watch_manager>,
    buf: Buffer,
    len: usize,
    needed: Out<usize>,
) -> lk_status {
    guard(move || {
        let (watchers, place) = (manager.get("manager")?, buf.check(len, &needed)?);
        place.set_json(&StatusBody::of(&watchers.env, &watchers.manager.statuses()))
    })
}

/// Every service, as structs, by name.
///
/// manager: not consumed. items, capacity, count: as for lk_env_loops.
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_SIZE; LK_ERR_STALE. Thread: any. Does
/// not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_watch_manager_loops(
    manager: Ref<lk_watch_manager>,
    items: OutStruct<lk_loop_status>,
    capacity: usize,
    count: Out<usize>,
) -> lk_status {
    guard(move || {
        let (watchers, count) = (manager.get("manager")?, count.check("count")?);
        if capacity > 0 {
            let _ = items.check("items")?;
        }
        write_all(&watchers.manager.statuses(), &items, capacity, count)
    })
}

/// All services together: down while a critical one is down or unknown,
/// degraded while another one is, else ready.
///
/// manager: not consumed.
/// Returns: LK_HEALTH_...; LK_HEALTH_UNKNOWN when `manager` is no such handle.
/// Thread: any. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_watch_manager_health(manager: Ref<lk_watch_manager>) -> lk_health {
    guard_or(LK_HEALTH_UNKNOWN, move || Ok(health_number(manager.get("manager")?.manager.health())))
}

/// Hears of every event of every service, also of those watched later.
///
/// manager: not consumed. out: a new handle, the caller's to free with
/// lk_events_free; it ends when the manager is stopped.
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does not block.
/// Next: lk_events_next.
#[unsafe(no_mangle)]
pub extern "C" fn lk_watch_manager_subscribe(
    manager: Ref<lk_watch_manager>,
    out: New<lk_events>,
) -> lk_status {
    guard(move || {
        let (watchers, place) = (manager.get("manager")?, out.check("out")?);
        place.set(Events::new(watchers.manager.subscribe()))
    })
}

/// Stops watching all services together, and waits also for those that were
/// unwatched or replaced and are stuck. Nothing can be watched afterwards.
///
/// manager: not consumed. grace_ms: how long to wait for all of them. report:
/// how it went, written also when that was not well; may be NULL.
/// Returns: as lk_watcher_stop. Thread: any; from a callback it does not wait
/// for that callback. Blocks for `grace_ms` at most. Next:
/// lk_watch_manager_free.
#[unsafe(no_mangle)]
pub extern "C" fn lk_watch_manager_stop(
    manager: Ref<lk_watch_manager>,
    grace_ms: u64,
    report: OutStruct<lk_stop_report>,
) -> lk_status {
    guard(move || {
        let (watchers, report) = (manager.get("manager")?, report.optional("report")?);
        tell(&watchers.manager.stop(millis(grace_ms)), report)
    })
}

/// Stops watching, within a second unless a stop has waited already, and lets
/// go of the manager; its members are stale.
///
/// manager: consumed; NULL does nothing.
/// Returns: LK_OK; LK_ERR_STALE when it was freed already; LK_ERR_STATE from
/// inside a callback of its own. Thread: owner. Blocks for a second at most.
#[unsafe(no_mangle)]
pub extern "C" fn lk_watch_manager_free(manager: Own<lk_watch_manager>) -> lk_status {
    guard(move || manager.free("manager"))
}
