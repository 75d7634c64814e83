//! Executors: runs that the program itself found to be corrupted, restored
//! without being polled.

use std::sync::Arc;

use super::boundary::{Buffer, Failure, In, Out, OutStruct, Text, guard, millis};
use super::env::lk_env;
use super::event::{Events, lk_events};
use super::handle::{New, Own, Ref, object};
use super::loop_status::{self, lk_loop_status};
use super::recovery_config::{Table, lk_recovery_config, metadata};
use super::report::{lk_stop_report, tell};
use super::status::{LK_ERR_TIMEOUT, lk_status};
use crate::recovery::{Checkpoint, Executor, Recover, RecoveryPolicy};

/// Restores runs when it is told to, a bounded number at once, and watches
/// none.
#[derive(Debug)]
pub struct lk_executor {
    _private: [u8; 0],
}

/// An executor, and how each of its runs is restored.
pub(super) struct Held {
    executor: Executor,
    policy: Arc<RecoveryPolicy>,
}

object!(lk_executor => Held, |held| held.executor.stop_for_drop(), |held| held.executor.is_own_call());

/// Starts an executor.
///
/// env: not consumed. config: as for lk_recovery_start; `critical` and
/// `max_polls` are of no use here. out: a new handle, the caller's to free
/// with lk_executor_free.
/// Returns: LK_OK; LK_ERR_INVALID or LK_ERR_CONFIG when a setting cannot be
/// used; LK_ERR_SPAWN or LK_ERR_BUDGET; LK_ERR_RANGE; LK_ERR_NULL;
/// LK_ERR_SIZE; LK_ERR_UTF8; LK_ERR_STALE. Thread: any. Does not block. Next:
/// lk_executor_recover.
#[unsafe(no_mangle)]
pub extern "C" fn lk_executor_start(
    env: Ref<lk_env>,
    config: In<lk_recovery_config>,
    out: New<lk_executor>,
) -> lk_status {
    guard(move || {
        let table = Table::read(&config)?;
        let (env, place) = (env.get("env")?, out.check("out")?);
        let (config, policy, source, remedy) = table.into_executor()?;
        let executor = Executor::start_in(&env, config, source, remedy)?;
        place.set(Held { executor, policy: Arc::new(policy) })
    })
}

/// Has a run restored. Events and the callbacks of the config tell what comes
/// of it.
///
/// executor: not consumed. run: its name; copied. checkpoint_path: the
/// checkpoint written last, as far as the caller knows; copied; NULL: `fetch`
/// and `checkpoints` are asked. metadata_json: as for lk_recovery_watch_run.
/// Returns: LK_OK when it is begun or waits for its turn; LK_ERR_DUPLICATE
/// when it is or does already; LK_ERR_BUDGET when `max_queued` wait;
/// LK_ERR_INVALID when a name or the metadata cannot be used; LK_ERR_STATE
/// when the policy is switched off, or it was stopped or drained; LK_ERR_NULL;
/// LK_ERR_UTF8; LK_ERR_STALE. Thread: any, callbacks included. Does not block.
/// Next: lk_executor_drain.
#[unsafe(no_mangle)]
pub extern "C" fn lk_executor_recover(
    executor: Ref<lk_executor>,
    run: Text,
    checkpoint_path: Text,
    metadata_json: Text,
) -> lk_status {
    guard(move || {
        let (held, run) = (executor.get("executor")?, run.read("run")?);
        let checkpoint = checkpoint_path.optional("checkpoint_path")?;
        let mut request = Recover::new(run, held.policy.clone()).metadata(metadata(metadata_json)?);
        if let Some(path) = checkpoint {
            request = request.last_checkpoint(Checkpoint::new(path));
        }
        Ok(held.executor.recover(request)?)
    })
}

/// Ends the recovery of a run: it waits no more, and an attempt under way is
/// told to end.
///
/// executor: not consumed. run: copied.
/// Returns: LK_OK; LK_ERR_NOT_FOUND when it is not being recovered;
/// LK_ERR_NULL; LK_ERR_UTF8; LK_ERR_STALE. Thread: any, callbacks included.
/// Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_executor_cancel(executor: Ref<lk_executor>, run: Text) -> lk_status {
    guard(move || Ok(executor.get("executor")?.executor.cancel(run.read("run")?)?))
}

/// Makes the next attempt of a run that waits for it now.
///
/// executor: not consumed. run: copied.
/// Returns: LK_OK; LK_ERR_NOT_FOUND when it is not being recovered;
/// LK_ERR_STATE when it waits for nothing but its turn; LK_ERR_NULL;
/// LK_ERR_UTF8; LK_ERR_STALE. Thread: any, callbacks included. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_executor_retry(executor: Ref<lk_executor>, run: Text) -> lk_status {
    guard(move || Ok(executor.get("executor")?.executor.retry(run.read("run")?)?))
}

/// Takes nothing new, until lk_executor_restart, and waits until all that
/// there is has come to its end.
///
/// executor: not consumed. timeout_ms: how long at most, in real time.
/// Returns: LK_OK; LK_ERR_TIMEOUT; LK_ERR_NULL; LK_ERR_STALE. Thread: any; a
/// callback of it would wait in vain. Blocks for `timeout_ms` at most. Next:
/// lk_executor_stop.
#[unsafe(no_mangle)]
pub extern "C" fn lk_executor_drain(executor: Ref<lk_executor>, timeout_ms: u64) -> lk_status {
    guard(move || {
        if executor.get("executor")?.executor.drain(millis(timeout_ms)) {
            return Ok(());
        }
        Err(Failure::new(LK_ERR_TIMEOUT, "runs are still being recovered"))
    })
}

/// Every run that is being recovered or waits for it, by name, as a JSON list:
/// {"run", "first_run", "phase", "attempt", "max_attempts", "since",
/// "detected_at", "next_attempt", "checkpoint", "last_error"}, the last three
/// where there is one.
///
/// executor: not consumed. buf, len: where the text goes, with its NUL.
/// needed: how many bytes it needs, written also with LK_ERR_BUFFER; may be
/// NULL.
/// Returns: LK_OK; LK_ERR_BUFFER; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does
/// not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_executor_runs_json(
    executor: Ref<lk_executor>,
    buf: Buffer,
    len: usize,
    needed: Out<usize>,
) -> lk_status {
    guard(move || {
        let (held, place) = (executor.get("executor")?, buf.check(len, &needed)?);
        place.set_json(&held.executor.runs())
    })
}

/// Starts again after a stop or a drain.
///
/// executor: not consumed.
/// Returns: LK_OK; LK_ERR_STATE while it runs or is being stopped;
/// LK_ERR_SPAWN or LK_ERR_BUDGET; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does
/// not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_executor_restart(executor: Ref<lk_executor>) -> lk_status {
    guard(move || Ok(executor.get("executor")?.executor.restart()?))
}

/// Stops it: attempts under way are told to end and waited for, and what waits
/// is told as cancelled. When it returns LK_OK none of its callbacks runs or
/// begins any more.
///
/// executor: not consumed. grace_ms: how long to wait. report: how it went,
/// written also when that was not well; may be NULL.
/// Returns: LK_OK when all has ended, also when it was stopped before;
/// LK_ERR_TIMEOUT when a thread or a callback did not end in time;
/// LK_ERR_STATE from its own callback, which only cancels; LK_ERR_NULL;
/// LK_ERR_SIZE; LK_ERR_STALE. Thread: any. Blocks for `grace_ms` at most.
/// Next: lk_executor_free.
#[unsafe(no_mangle)]
pub extern "C" fn lk_executor_stop(
    executor: Ref<lk_executor>,
    grace_ms: u64,
    report: OutStruct<lk_stop_report>,
) -> lk_status {
    guard(move || {
        let (held, report) = (executor.get("executor")?, report.optional("report")?);
        tell(&held.executor.stop(millis(grace_ms)), report)
    })
}

/// Everything about it at one moment.
///
/// executor: not consumed. out: a status that was filled in by
/// lk_loop_status_init.
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_SIZE; LK_ERR_STALE. Thread: any. Does
/// not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_executor_status(
    executor: Ref<lk_executor>,
    out: OutStruct<lk_loop_status>,
) -> lk_status {
    guard(move || {
        let (held, place) = (executor.get("executor")?, out.check("out")?);
        loop_status::write(&place, &held.executor.status());
        Ok(())
    })
}

/// The same as a JSON object, with what only its kind has to say.
///
/// executor: not consumed. buf, len: where the text goes, with its NUL. needed:
/// how many bytes it needs, written also with LK_ERR_BUFFER; may be NULL.
/// Returns: LK_OK; LK_ERR_BUFFER; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does
/// not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_executor_status_json(
    executor: Ref<lk_executor>,
    buf: Buffer,
    len: usize,
    needed: Out<usize>,
) -> lk_status {
    guard(move || {
        let (held, place) = (executor.get("executor")?, buf.check(len, &needed)?);
        place.set_json(&held.executor.status())
    })
}

/// Hears of every event of it from now on.
///
/// executor: not consumed. out: a new handle, the caller's to free with
/// lk_events_free.
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does not block.
/// Next: lk_events_next, lk_events_fd.
#[unsafe(no_mangle)]
pub extern "C" fn lk_executor_subscribe(executor: Ref<lk_executor>, out: New<lk_events>) -> lk_status {
    guard(move || {
        let (held, place) = (executor.get("executor")?, out.check("out")?);
        place.set(Events::new(held.executor.subscribe()))
    })
}

/// Stops it, within its drop grace unless a stop has waited already, and lets
/// go of it.
///
/// executor: consumed; NULL does nothing.
/// Returns: LK_OK; LK_ERR_STALE when it was freed already; LK_ERR_STATE from
/// inside a callback of its own. Thread: owner. Blocks for that long at most.
#[unsafe(no_mangle)]
pub extern "C" fn lk_executor_free(executor: Own<lk_executor>) -> lk_status {
    guard(move || executor.free("executor"))
}
