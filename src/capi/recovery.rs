//! Recovery: runs that are polled, restored from a checkpoint when they are
//! corrupted, and watched until the recovery is proven.

use super::boundary::{Buffer, Failure, In, Out, OutStruct, Text, guard, millis};
use super::env::lk_env;
use super::event::{Events, lk_events};
use super::handle::{New, Own, Ref, object};
use super::loop_status::{self, lk_loop_status};
use super::recovery_config::{Table, lk_recovery_config, metadata};
use super::report::{lk_stop_report, tell};
use super::status::{LK_ERR_NOT_FOUND, LK_ERR_TIMEOUT, lk_status};
use crate::recovery::RecoveryMonitor;

/// Polls runs, has those restored that are corrupted, and watches them until
/// the recovery is proven.
#[derive(Debug)]
pub struct lk_recovery {
    _private: [u8; 0],
}

object!(lk_recovery => RecoveryMonitor, RecoveryMonitor::stop_for_drop, RecoveryMonitor::is_own_call);

/// Starts a recovery. No run is watched yet.
///
/// env: not consumed. config: copied, and its texts; its `drop` is called
/// once whatever this returns, unless the config itself is NULL or of a wrong
/// size. out: a new handle, the caller's to free with lk_recovery_free.
/// Returns: LK_OK; LK_ERR_INVALID or LK_ERR_CONFIG when a setting cannot be
/// used; LK_ERR_STATE when another keeps its `state_file`; LK_ERR_SPAWN or
/// LK_ERR_BUDGET; LK_ERR_RANGE; LK_ERR_NULL; LK_ERR_SIZE; LK_ERR_UTF8;
/// LK_ERR_STALE. Thread: any. Does not block, but for the `state_file`. Next:
/// lk_recovery_watch_run.
#[unsafe(no_mangle)]
pub extern "C" fn lk_recovery_start(
    env: Ref<lk_env>,
    config: In<lk_recovery_config>,
    out: New<lk_recovery>,
) -> lk_status {
    guard(move || {
        let table = Table::read(&config)?;
        let (env, place) = (env.get("env")?, out.check("out")?);
        let (config, source, remedy) = table.into_monitor()?;
        place.set(RecoveryMonitor::start_in(&env, config, source, remedy)?)
    })
}

/// Makes a recovery that is not started: for a host, which does that, or for
/// lk_recovery_restart. Runs may be watched already.
///
/// env, config, out: as for lk_recovery_start.
/// Returns: as lk_recovery_start. Thread: any. Does not block. Next:
/// lk_component_of_recovery.
#[unsafe(no_mangle)]
pub extern "C" fn lk_recovery_new(
    env: Ref<lk_env>,
    config: In<lk_recovery_config>,
    out: New<lk_recovery>,
) -> lk_status {
    guard(move || {
        let table = Table::read(&config)?;
        let (env, place) = (env.get("env")?, out.check("out")?);
        let (config, source, remedy) = table.into_monitor()?;
        place.set(RecoveryMonitor::new(&env, config, source, remedy)?)
    })
}

/// Watches a run, beginning with a poll at once. Of one that is watched
/// already only the metadata changes.
///
/// recovery: not consumed. run: its name; copied. metadata_json: what comes
/// with each of its events: a JSON object of texts; copied; may be NULL.
/// Returns: LK_OK; LK_ERR_INVALID when the name or the metadata cannot be
/// used; LK_ERR_STATE when the policy is switched off; LK_ERR_NULL;
/// LK_ERR_UTF8; LK_ERR_STALE. Thread: any, callbacks included. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_recovery_watch_run(
    recovery: Ref<lk_recovery>,
    run: Text,
    metadata_json: Text,
) -> lk_status {
    guard(move || {
        let (recovery, run) = (recovery.get("recovery")?, run.read("run")?);
        Ok(recovery.watch_run(run, metadata(metadata_json)?)?)
    })
}

/// Watches a run no more, under its present name or its first, and ends its
/// recovery.
///
/// recovery: not consumed. run: copied.
/// Returns: LK_OK; LK_ERR_NOT_FOUND when it was not watched; LK_ERR_NULL;
/// LK_ERR_UTF8; LK_ERR_STALE. Thread: any, callbacks included. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_recovery_stop_watching(recovery: Ref<lk_recovery>, run: Text) -> lk_status {
    guard(move || {
        let (recovery, run) = (recovery.get("recovery")?, run.read("run")?);
        if recovery.stop_watching(run) {
            return Ok(());
        }
        Err(Failure::new(LK_ERR_NOT_FOUND, format!("{run:?}: is not watched")))
    })
}

/// Ends the recovery of a run, which stays watched.
///
/// recovery: not consumed. run: copied.
/// Returns: LK_OK; LK_ERR_NOT_FOUND when it is not being recovered;
/// LK_ERR_NULL; LK_ERR_UTF8; LK_ERR_STALE. Thread: any, callbacks included.
/// Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_recovery_cancel(recovery: Ref<lk_recovery>, run: Text) -> lk_status {
    guard(move || Ok(recovery.get("recovery")?.cancel(run.read("run")?)?))
}

/// Has a run tried again now: one that waits for its next attempt, or, with
/// all attempts anew, one that is exhausted or was cancelled.
///
/// recovery: not consumed. run: copied.
/// Returns: LK_OK; LK_ERR_NOT_FOUND when it has no incident; LK_ERR_STATE when
/// there is nothing to try again; LK_ERR_NULL; LK_ERR_UTF8; LK_ERR_STALE.
/// Thread: any, callbacks included. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_recovery_retry(recovery: Ref<lk_recovery>, run: Text) -> lk_status {
    guard(move || Ok(recovery.get("recovery")?.retry(run.read("run")?)?))
}

/// Waits until no run is being recovered or waits for it.
///
/// recovery: not consumed. timeout_ms: how long at most, in real time.
/// Returns: LK_OK; LK_ERR_TIMEOUT; LK_ERR_NULL; LK_ERR_STALE. Thread: any; a
/// callback of it would wait in vain. Blocks for `timeout_ms` at most.
#[unsafe(no_mangle)]
pub extern "C" fn lk_recovery_wait_idle(recovery: Ref<lk_recovery>, timeout_ms: u64) -> lk_status {
    guard(move || {
        if recovery.get("recovery")?.wait_idle(millis(timeout_ms)) {
            return Ok(());
        }
        Err(Failure::new(LK_ERR_TIMEOUT, "runs are still being recovered"))
    })
}

/// Every watched run, by name, as a JSON list: {"run", "first_run",
/// "last_poll", "last_error", "incident"}.
///
/// recovery: not consumed. buf, len: where the text goes, with its NUL.
/// needed: how many bytes it needs, written also with LK_ERR_BUFFER; may be
/// NULL.
/// Returns: LK_OK; LK_ERR_BUFFER; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does
/// not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_recovery_runs_json(
    recovery: Ref<lk_recovery>,
    buf: Buffer,
    len: usize,
    needed: Out<usize>,
) -> lk_status {
    guard(move || {
        let (recovery, place) = (recovery.get("recovery")?, buf.check(len, &needed)?);
        place.set_json(&recovery.runs())
    })
}

/// Polls all runs now; one that is being polled once more right after.
///
/// recovery: not consumed.
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_STALE. Thread: any, callbacks included.
/// Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_recovery_trigger(recovery: Ref<lk_recovery>) -> lk_status {
    guard(move || {
        recovery.get("recovery")?.trigger();
        Ok(())
    })
}

/// Starts again after a stop.
///
/// recovery: not consumed.
/// Returns: LK_OK; LK_ERR_STATE while it runs, is being stopped, an earlier
/// call is stuck or another keeps its `state_file`; LK_ERR_SPAWN or
/// LK_ERR_BUDGET; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does not block, but
/// for the `state_file`.
#[unsafe(no_mangle)]
pub extern "C" fn lk_recovery_restart(recovery: Ref<lk_recovery>) -> lk_status {
    guard(move || Ok(recovery.get("recovery")?.restart()?))
}

/// Stops it: attempts under way are told to end and waited for. When it returns
/// LK_OK none of its callbacks runs or begins any more.
///
/// recovery: not consumed. grace_ms: how long to wait. report: how it went,
/// written also when that was not well; may be NULL.
/// Returns: LK_OK when all has ended, also when it was stopped before;
/// LK_ERR_TIMEOUT when a thread or a callback did not end in time;
/// LK_ERR_STATE from its own callback, which only cancels; LK_ERR_NULL;
/// LK_ERR_SIZE; LK_ERR_STALE. Thread: any. Blocks for `grace_ms` at most.
/// Next: lk_recovery_free.
#[unsafe(no_mangle)]
pub extern "C" fn lk_recovery_stop(
    recovery: Ref<lk_recovery>,
    grace_ms: u64,
    report: OutStruct<lk_stop_report>,
) -> lk_status {
    guard(move || {
        let (recovery, report) = (recovery.get("recovery")?, report.optional("report")?);
        tell(&recovery.stop(millis(grace_ms)), report)
    })
}

/// Everything about it at one moment.
///
/// recovery: not consumed. out: a status that was filled in by
/// lk_loop_status_init.
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_SIZE; LK_ERR_STALE. Thread: any. Does
/// not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_recovery_status(
    recovery: Ref<lk_recovery>,
    out: OutStruct<lk_loop_status>,
) -> lk_status {
    guard(move || {
        let (recovery, place) = (recovery.get("recovery")?, out.check("out")?);
        loop_status::write(&place, &recovery.status());
        Ok(())
    })
}

/// The same as a JSON object, with what only its kind has to say.
///
/// recovery: not consumed. buf, len: where the text goes, with its NUL. needed:
/// how many bytes it needs, written also with LK_ERR_BUFFER; may be NULL.
/// Returns: LK_OK; LK_ERR_BUFFER; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does
/// not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_recovery_status_json(
    recovery: Ref<lk_recovery>,
    buf: Buffer,
    len: usize,
    needed: Out<usize>,
) -> lk_status {
    guard(move || {
        let (recovery, place) = (recovery.get("recovery")?, buf.check(len, &needed)?);
        place.set_json(&recovery.status())
    })
}

/// Hears of every event of it from now on.
///
/// recovery: not consumed. out: a new handle, the caller's to free with
/// lk_events_free.
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does not block.
/// Next: lk_events_next, lk_events_fd.
#[unsafe(no_mangle)]
pub extern "C" fn lk_recovery_subscribe(recovery: Ref<lk_recovery>, out: New<lk_events>) -> lk_status {
    guard(move || {
        let (recovery, place) = (recovery.get("recovery")?, out.check("out")?);
        place.set(Events::new(recovery.subscribe()))
    })
}

/// Stops it, within its drop grace unless a stop has waited already, and lets
/// go of it.
///
/// recovery: consumed; NULL does nothing.
/// Returns: LK_OK; LK_ERR_STALE when it was freed already; LK_ERR_STATE from
/// inside a callback of its own. Thread: owner. Blocks for that long at most.
#[unsafe(no_mangle)]
pub extern "C" fn lk_recovery_free(recovery: Own<lk_recovery>) -> lk_status {
    guard(move || recovery.free("recovery"))
}
