//! Environments: what loops share.

use super::boundary::{Buffer, Failure, In, Out, OutStruct, Text, Versioned, flag, guard, init};
use super::clock::lk_clock;
use super::event::{Events, lk_events};
use super::handle::{New, Own, Ref, object};
use super::loop_status::{self, lk_loop_status};
use super::observer::{Table, lk_log, lk_observer, read_log, read_observer};
use super::status::{LK_ERR_RANGE, lk_status};
use crate::env::{Env, EnvConfig};
use crate::event_log::EventPage;
use crate::stamp::Stamp;
use crate::status::LoopStatus;

/// What loops share: a clock, the thread that guards their deadlines, the
/// thread that makes callbacks, the log of events. Two in one process do
/// not notice each other.
#[derive(Debug)]
pub struct lk_env {
    _private: [u8; 0],
}

object!(lk_env => Env);

/// Settings of an environment.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct lk_env_config {
    /// sizeof(lk_env_config); lk_env_config_init sets it.
    pub size: u32,
    /// Whether regular runs are spread over their interval by a hash of the
    /// loop's name: 0 or 1. Defaults to 1; with a clock of its own never.
    pub spread: i32,
    /// The clock. Defaults to NULL, the machine's.
    pub clock: Ref<lk_clock>,
    /// The stack of each thread that calls the program, in bytes: loops, calls
    /// of components, callbacks, observers. Defaults to 256 KiB, a small part of
    /// what a program's first thread has.
    pub stack_size: u64,
    /// The seed of all jitter. Defaults to 0: one from the machine's clock.
    pub seed: u64,
    /// Who hears of spans, metrics and events; copied. Defaults to NULL.
    pub observer: In<lk_observer>,
    /// Where lines of the log go; copied. Defaults to NULL.
    pub log: In<lk_log>,
}

// SAFETY: numbers and a handle, which is only looked up.
unsafe impl Versioned for lk_env_config {
    const NAME: &'static str = "lk_env_config";
    const MIN: usize = size_of::<u32>() * 2;

    fn initial() -> Self {
        Self {
            size: size_of::<Self>() as u32,
            spread: 1,
            clock: Ref::NONE,
            stack_size: crate::thread::STACK_SIZE as u64,
            seed: 0,
            observer: In::NONE,
            log: In::NONE,
        }
    }
}

/// Fills in the default settings.
///
/// out: where. size: sizeof(lk_env_config).
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_SIZE. Thread: any. Does not block.
/// Next: lk_env_new.
#[unsafe(no_mangle)]
pub extern "C" fn lk_env_config_init(out: Out<lk_env_config>, size: usize) -> lk_status {
    guard(move || init(&out, size))
}

/// Makes an environment. Its watchdog's thread starts at once, the
/// dispatcher's with the first callback.
///
/// config: copied, and the tables it names; each table's `drop` is called once
/// whatever this returns, unless it could not be read; may be NULL for the
/// defaults. out: a new handle, the caller's to free with lk_env_free.
/// Returns: LK_OK; LK_ERR_SPAWN or LK_ERR_BUDGET when there is no thread to be
/// had; LK_ERR_RANGE; LK_ERR_NULL; LK_ERR_SIZE; LK_ERR_STALE for a clock that
/// was freed. Thread: any. Does not block. Next: lk_watcher_start,
/// lk_watch_manager_new, lk_host_new.
#[unsafe(no_mangle)]
pub extern "C" fn lk_env_new(config: In<lk_env_config>, out: New<lk_env>) -> lk_status {
    guard(move || {
        let config = config.optional("config")?.unwrap_or_else(lk_env_config::initial);
        // First, and both before one is refused: from here on their `drop` is
        // called.
        let (observer, log) = (read_observer(&config.observer), read_log(&config.log));
        let (observer, log) = (observer?, log?);
        let place = out.check("out")?;
        let is_spread = flag(config.spread, "spread")?;
        let stack_size = usize::try_from(config.stack_size)
            .ok()
            .filter(|size| (MIN_STACK..=MAX_STACK).contains(size))
            .ok_or_else(|| {
                let found = config.stack_size;
                Failure::new(
                    LK_ERR_RANGE,
                    format!("stack_size: must be from {MIN_STACK} to {MAX_STACK} bytes, found {found}"),
                )
            })?;
        let mut settings = EnvConfig::default().spread(is_spread).stack_size(stack_size);
        if let Some(clock) = config.clock.optional("clock")? {
            settings = settings.clock(&*clock).spread(false).seed(0);
        }
        let heard = match (
            observer.map(Table::<lk_observer>::into_observer),
            log.map(Table::<lk_log>::into_observer),
        ) {
            (heard, None) => heard.unwrap_or_default(),
            (None, Some(log)) => log?,
            (Some(observer), Some(log)) => observer.and(log?),
        };
        settings = settings.observer(heard);
        if config.seed != 0 {
            settings = settings.seed(config.seed);
        }
        place.set(Env::with(settings)?)
    })
}

const MIN_STACK: usize = 64 * 1024;
const MAX_STACK: usize = 1 << 30;

/// Has the loops of a name make their next run now; during a call, right after
/// it.
///
/// env: not consumed. name: copied.
/// Returns: LK_OK; LK_ERR_NOT_FOUND when no loop that runs has the name;
/// LK_ERR_NULL; LK_ERR_UTF8; LK_ERR_STALE. Thread: any, callbacks included.
/// Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_env_trigger(env: Ref<lk_env>, name: Text) -> lk_status {
    guard(move || Ok(env.get("env")?.trigger(name.read("name")?)?))
}

/// Says that a name is alive: what the probe {"heartbeat": {"grace": "30s"}}
/// of the watcher of that name waits for.
///
/// env: not consumed. name: copied.
/// Returns: LK_OK; LK_ERR_NOT_FOUND when no loop has the name, or the one that has
/// it waits for no heartbeat; LK_ERR_NULL; LK_ERR_UTF8; LK_ERR_STALE. Thread:
/// any, callbacks included. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_env_heartbeat(env: Ref<lk_env>, name: Text) -> lk_status {
    guard(move || Ok(env.get("env")?.heartbeat(name.read("name")?)?))
}

/// Says that a name is down, and why: believed at once, whatever the grace and
/// the thresholds of its watcher, until the next lk_env_heartbeat.
///
/// env: not consumed. name: copied. reason: copied; shown as one line, cut at
/// 900 bytes.
/// Returns: LK_OK; LK_ERR_NOT_FOUND when no loop has the name, or the one that has
/// it waits for no heartbeat; LK_ERR_NULL; LK_ERR_UTF8; LK_ERR_STALE. Thread:
/// any, callbacks included. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_env_heartbeat_down(env: Ref<lk_env>, name: Text, reason: Text) -> lk_status {
    guard(move || {
        let (env, name, reason) = (env.get("env")?, name.read("name")?, reason.read("reason")?);
        Ok(env.heartbeat_down(name, reason)?)
    })
}

/// Hears of every event of every source from now on.
///
/// env: not consumed. out: a new handle, the caller's to free with
/// lk_events_free; it ends with the environment.
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does not block.
/// Next: lk_events_next, lk_events_fd.
#[unsafe(no_mangle)]
pub extern "C" fn lk_env_subscribe(env: Ref<lk_env>, out: New<lk_events>) -> lk_status {
    guard(move || {
        let (env, place) = (env.get("env")?, out.check("out")?);
        place.set(Events::new(env.subscribe()))
    })
}

/// The last events of all sources, as JSON: {"boot", "next", "lost",
/// "events": [..]}. The last 4,096 are kept.
///
/// env: not consumed. after: only those with greater numbers; 0 for all, and
/// the `next` of the answer before to go on. max: how many at most. buf, len:
/// where the text goes, with its NUL. needed: how many bytes it needs, written
/// also with LK_ERR_BUFFER; may be NULL.
/// Returns: LK_OK; LK_ERR_BUFFER; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does
/// not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_env_events_json(
    env: Ref<lk_env>,
    after: u64,
    max: usize,
    buf: Buffer,
    len: usize,
    needed: Out<usize>,
) -> lk_status {
    #[derive(serde::Serialize)]
    struct Body<'a> {
        boot: &'a str,
        next: u64,
        lost: u64,
        events: &'a [std::sync::Arc<crate::event::Event>],
    }
    guard(move || {
        let (env, place) = (env.get("env")?, buf.check(len, &needed)?);
        let EventPage { next, lost, events } = env.events_after(after, max);
        place.set_json(&Body { boot: env.boot(), next, lost, events: &events })
    })
}

/// Every loop that runs at this moment, as JSON: {"boot", "at", "loops":
/// [..]}.
///
/// env: not consumed. buf, len, needed: as for lk_env_events_json.
/// Returns: LK_OK; LK_ERR_BUFFER; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does
/// not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_env_status_json(
    env: Ref<lk_env>,
    buf: Buffer,
    len: usize,
    needed: Out<usize>,
) -> lk_status {
    guard(move || {
        let (env, place) = (env.get("env")?, buf.check(len, &needed)?);
        place.set_json(&StatusBody::of(&env, &env.statuses()))
    })
}

/// Every loop that runs at this moment, as structs, by kind and name.
///
/// env: not consumed. items: a row of `capacity` statuses, each filled in by
/// lk_loop_status_init; may be NULL when `capacity` is 0. count: how many there
/// are; when that is more than `capacity`, only so many were written.
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_SIZE; LK_ERR_STALE. Thread: any. Does
/// not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_env_loops(
    env: Ref<lk_env>,
    items: OutStruct<lk_loop_status>,
    capacity: usize,
    count: Out<usize>,
) -> lk_status {
    guard(move || {
        let (env, count) = (env.get("env")?, count.check("count")?);
        let mut row = items.row(capacity, "items")?;
        let mut n = 0;
        env.view(&mut |view| {
            if let Some(place) = row.next() {
                loop_status::write_view(&place, view);
            }
            n += 1;
        });
        count.set(n);
        Ok(())
    })
}

/// Ends the recovery of a run, in whatever monitor it is.
///
/// env: not consumed. run: copied.
/// Returns: LK_OK; LK_ERR_NOT_FOUND when none that runs is recovering it;
/// LK_ERR_NULL; LK_ERR_UTF8; LK_ERR_STALE. Thread: any. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_env_cancel_recovery(env: Ref<lk_env>, run: Text) -> lk_status {
    guard(move || Ok(env.get("env")?.cancel_recovery(run.read("run")?)?))
}

/// Has a run tried again now, in whatever monitor it is.
///
/// env: not consumed. run: copied.
/// Returns: LK_OK; LK_ERR_NOT_FOUND when none that runs is recovering it;
/// LK_ERR_STATE when there is nothing to try again; LK_ERR_NULL; LK_ERR_UTF8;
/// LK_ERR_STALE. Thread: any. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_env_retry_recovery(env: Ref<lk_env>, run: Text) -> lk_status {
    guard(move || Ok(env.get("env")?.retry_recovery(run.read("run")?)?))
}

/// Lets go of the environment. Its threads end, and are waited for, once all
/// that was made in it is freed, too.
///
/// env: consumed; NULL does nothing.
/// Returns: LK_OK; LK_ERR_STALE when it was freed already. Thread: owner.
/// Blocks for a moment.
#[unsafe(no_mangle)]
pub extern "C" fn lk_env_free(env: Own<lk_env>) -> lk_status {
    guard(move || env.free("env"))
}

/// What the status server answers, too.
#[derive(serde::Serialize)]
pub(super) struct StatusBody<'a> {
    boot: &'a str,
    at: Stamp,
    loops: &'a [LoopStatus],
}

impl<'a> StatusBody<'a> {
    pub(super) fn of(env: &'a Env, loops: &'a [LoopStatus]) -> Self {
        Self { boot: env.boot(), at: env.stamp(), loops }
    }
}
