//! Deployers: a folder of descriptors becomes running components.

use std::path::Path;

use super::boundary::{Buffer, In, Out, OutStruct, Text, Versioned, flag, guard, init, millis};
use super::event::{Events, lk_events};
use super::handle::{New, Own, Ref, object};
use super::host::{lk_host, target};
use super::loop_status::{self, lk_loop_status};
use super::report::{lk_stop_report, tell};
use super::status::lk_status;
use crate::host::deploy::{Board, Deployer, DeployerConfig};

/// Keeps what runs in a host as a folder of descriptors says.
#[derive(Debug)]
pub struct lk_deployer {
    _private: [u8; 0],
}

object!(lk_deployer => Deployer, |_| (), Deployer::is_own_call);

/// Settings of a deployer.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct lk_deployer_config {
    /// sizeof(lk_deployer_config); lk_deployer_config_init sets it.
    pub size: u32,
    /// Whether the whole is down, and not only degraded, while the folder
    /// cannot be read or a file in it is rejected: 0 or 1. Defaults to 0.
    pub critical: i32,
    /// The folder; each `*.json` in it describes one component.
    pub dir: Text,
    /// Its name. Defaults to NULL, "deployer".
    pub name: Text,
    /// The time between two looks at the folder. Defaults to 5 s.
    pub scan_interval_ms: u64,
    /// How long one look may take before it is told as stuck. Defaults to
    /// 60 s.
    pub scan_timeout_ms: u64,
    /// How long to wait before a content that failed is tried a second time;
    /// twice as long before the third, which is the last. Defaults to 5 s.
    pub retry_delay_ms: u64,
    /// How long freeing the deployer waits for its thread. Defaults to 1 s.
    pub drop_grace_ms: u64,
}

// SAFETY: numbers, and pointers that are looked at before they are used.
unsafe impl Versioned for lk_deployer_config {
    const NAME: &'static str = "lk_deployer_config";
    const MIN: usize = std::mem::offset_of!(Self, scan_interval_ms);

    fn initial() -> Self {
        Self {
            size: size_of::<Self>() as u32,
            critical: 0,
            dir: Text::NONE,
            name: Text::NONE,
            scan_interval_ms: 5000,
            scan_timeout_ms: 60_000,
            retry_delay_ms: 5000,
            drop_grace_ms: 1000,
        }
    }
}

impl lk_deployer_config {
    pub(super) fn settings(&self) -> super::boundary::Answer<DeployerConfig> {
        let mut settings = DeployerConfig::new(Path::new(self.dir.read("dir")?))
            .scan_interval(millis(self.scan_interval_ms))
            .scan_timeout(millis(self.scan_timeout_ms))
            .retry_delay(millis(self.retry_delay_ms))
            .drop_grace(millis(self.drop_grace_ms));
        if let Some(name) = self.name.optional("name")? {
            settings = settings.name(name);
        }
        Ok(if flag(self.critical, "critical")? { settings.critical() } else { settings })
    }
}

/// Fills in the default settings; `dir` is still to be set.
///
/// out: where. size: sizeof(lk_deployer_config).
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_SIZE. Thread: any. Does not block.
/// Next: lk_deployer_start.
#[unsafe(no_mangle)]
pub extern "C" fn lk_deployer_config_init(out: Out<lk_deployer_config>, size: usize) -> lk_status {
    guard(move || init(&out, size))
}

/// Starts looking at a folder. Types are those that the host knows at this
/// moment.
///
/// host: not consumed; components are put there. config: copied. out: a new
/// handle, the caller's to free with lk_deployer_free; free it before the
/// host.
/// Returns: LK_OK; LK_ERR_INVALID when a setting cannot be used; LK_ERR_SPAWN
/// or LK_ERR_BUDGET; LK_ERR_RANGE; LK_ERR_NULL; LK_ERR_SIZE; LK_ERR_UTF8;
/// LK_ERR_STALE. Thread: any. Does not block. Next: lk_deployer_board_json.
#[unsafe(no_mangle)]
pub extern "C" fn lk_deployer_start(
    host: Ref<lk_host>,
    config: In<lk_deployer_config>,
    out: New<lk_deployer>,
) -> lk_status {
    guard(move || {
        let (hosted, place) = (host.get("host")?, out.check("out")?);
        let settings = config.read("config")?.settings()?;
        let registry = hosted.registry.lock().clone();
        let deployer = Deployer::new(hosted.host.env(), settings, registry, target(&hosted))?;
        deployer.start()?;
        place.set(deployer)
    })
}

/// Makes a deployer that is not started: for a host, which does that.
///
/// host, config, out: as for lk_deployer_start.
/// Returns: as lk_deployer_start. Thread: any. Does not block. Next:
/// lk_component_of_deployer.
#[unsafe(no_mangle)]
pub extern "C" fn lk_deployer_new(
    host: Ref<lk_host>,
    config: In<lk_deployer_config>,
    out: New<lk_deployer>,
) -> lk_status {
    guard(move || {
        let (hosted, place) = (host.get("host")?, out.check("out")?);
        let settings = config.read("config")?.settings()?;
        let registry = hosted.registry.lock().clone();
        place.set(Deployer::new(hosted.host.env(), settings, registry, target(&hosted))?)
    })
}

/// Looks at the folder now; during a look, right after it.
///
/// deployer: not consumed.
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_STALE. Thread: any, callbacks included.
/// Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_deployer_rescan(deployer: Ref<lk_deployer>) -> lk_status {
    guard(move || {
        deployer.get("deployer")?.rescan();
        Ok(())
    })
}

/// What it has done and could not do at the end of its last turn, as JSON:
/// {"running": {"name": "file"}, "under_way": ["name"], "rejected": [{"file",
/// "error"}]}.
///
/// deployer: not consumed. buf, len: where the text goes, with its NUL.
/// needed: how many bytes it needs, written also with LK_ERR_BUFFER; may be
/// NULL.
/// Returns: LK_OK; LK_ERR_BUFFER; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does
/// not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_deployer_board_json(
    deployer: Ref<lk_deployer>,
    buf: Buffer,
    len: usize,
    needed: Out<usize>,
) -> lk_status {
    guard(move || {
        let (deployer, place) = (deployer.get("deployer")?, buf.check(len, &needed)?);
        place.set_json(&board_json(&deployer.board()))
    })
}

/// Stops it; what it has put into the host goes on there. When it returns LK_OK
/// none of its callbacks runs or begins any more.
///
/// deployer: not consumed. grace_ms: how long to wait. report: how it went,
/// written also when that was not well; may be NULL.
/// Returns: LK_OK when all has ended, also when it was stopped before;
/// LK_ERR_TIMEOUT when a thread or a callback did not end in time;
/// LK_ERR_STATE from its own callback, which only cancels; LK_ERR_NULL;
/// LK_ERR_SIZE; LK_ERR_STALE. Thread: any. Blocks for `grace_ms` at most.
/// Next: lk_deployer_free.
#[unsafe(no_mangle)]
pub extern "C" fn lk_deployer_stop(
    deployer: Ref<lk_deployer>,
    grace_ms: u64,
    report: OutStruct<lk_stop_report>,
) -> lk_status {
    guard(move || {
        let (deployer, report) = (deployer.get("deployer")?, report.optional("report")?);
        tell(&deployer.stop(millis(grace_ms)), report)
    })
}

/// Everything about it at one moment.
///
/// deployer: not consumed. out: a status that was filled in by
/// lk_loop_status_init.
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_SIZE; LK_ERR_STALE. Thread: any. Does
/// not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_deployer_status(
    deployer: Ref<lk_deployer>,
    out: OutStruct<lk_loop_status>,
) -> lk_status {
    guard(move || {
        let (deployer, place) = (deployer.get("deployer")?, out.check("out")?);
        loop_status::write(&place, &deployer.status());
        Ok(())
    })
}

/// The same as a JSON object, with what only its kind has to say.
///
/// deployer: not consumed. buf, len: where the text goes, with its NUL. needed:
/// how many bytes it needs, written also with LK_ERR_BUFFER; may be NULL.
/// Returns: LK_OK; LK_ERR_BUFFER; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does
/// not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_deployer_status_json(
    deployer: Ref<lk_deployer>,
    buf: Buffer,
    len: usize,
    needed: Out<usize>,
) -> lk_status {
    guard(move || {
        let (deployer, place) = (deployer.get("deployer")?, buf.check(len, &needed)?);
        place.set_json(&deployer.status())
    })
}

/// Hears of every event of it from now on.
///
/// deployer: not consumed. out: a new handle, the caller's to free with
/// lk_events_free.
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_STALE. Thread: any. Does not block.
/// Next: lk_events_next, lk_events_fd.
#[unsafe(no_mangle)]
pub extern "C" fn lk_deployer_subscribe(deployer: Ref<lk_deployer>, out: New<lk_events>) -> lk_status {
    guard(move || {
        let (deployer, place) = (deployer.get("deployer")?, out.check("out")?);
        place.set(Events::new(deployer.subscribe()))
    })
}

/// Stops it, within its drop grace unless a stop has waited already, and lets
/// go of it.
///
/// deployer: consumed; NULL does nothing.
/// Returns: LK_OK; LK_ERR_STALE when it was freed already; LK_ERR_STATE from
/// inside a callback of its own. Thread: owner. Blocks for that long at most.
#[unsafe(no_mangle)]
pub extern "C" fn lk_deployer_free(deployer: Own<lk_deployer>) -> lk_status {
    guard(move || deployer.free("deployer"))
}

fn board_json(board: &Board) -> serde_json::Value {
    let rejected = board.rejected.iter().map(|rejection| {
        serde_json::json!({
            "file": rejection.file.display().to_string(),
            "error": rejection.error.report().to_string(),
        })
    });
    let running =
        board.running.iter().map(|(name, file)| (name.to_string(), file.display().to_string().into()));
    serde_json::json!({
        "running": crate::order::json(running),
        "under_way": board.under_way,
        "rejected": rejected.collect::<Vec<_>>(),
    })
}
