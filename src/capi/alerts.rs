//! Alerts: people are told, by a command or a webhook, what loops find out.

use std::time::Duration;

use super::boundary::{Answer, Buffer, Failure, In, Out, OutStruct, Text, Versioned, guard, init, millis};
use super::env::lk_env;
use super::handle::{New, Own, Ref, object};
use super::host::lk_host;
use super::report::{lk_stop_report, tell};
use super::status::{LK_ERR_NOT_FOUND, lk_status};
use crate::alert::{Alerts, AlertsConfig};
use crate::host::HostHandle;

/// Tells people what the loops of an environment find out: those whose
/// descriptor or configuration says `on_down` or `on_ready`. Without one of
/// these nobody is told.
#[derive(Debug)]
pub struct lk_alerts {
    _private: [u8; 0],
}

object!(lk_alerts => Teller);

/// What is behind an [`lk_alerts`].
pub(super) struct Teller(Alerts);

impl Drop for Teller {
    fn drop(&mut self) {
        let _ = self.0.stop(Duration::from_secs(1));
    }
}

/// Alerts for whatever runs in a host: of what is down behind another that it
/// requires there nobody is told.
pub(super) fn of(host: HostHandle) -> AlertsConfig {
    AlertsConfig::default().requires(move |name| host.requires(name))
}

/// Settings of alerts.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct lk_alerts_config {
    /// sizeof(lk_alerts_config); lk_alerts_config_init sets it.
    pub size: u32,
    /// Always 0.
    pub reserved: u32,
    /// The host whose components say what they require: while one of those is
    /// down nobody is told of what waits for it. Not consumed. Defaults to
    /// NULL: everybody is told of everything.
    pub host: Ref<lk_host>,
    /// A small file in which is kept what was told and what waits to be, so
    /// that the next program neither tells an incident again nor forgets to
    /// tell its end. One that cannot be read or written is left out with a
    /// warning in the log. A lock on a file beside it, whose name has `.lock`
    /// at its end, keeps a second writer out until the stop. Defaults to NULL,
    /// none.
    pub state_file: Text,
}

// SAFETY: numbers, a handle, which is only looked up, and a pointer that is
// looked at before it is used.
unsafe impl Versioned for lk_alerts_config {
    const NAME: &'static str = "lk_alerts_config";
    const MIN: usize = size_of::<Self>();

    fn initial() -> Self {
        Self { size: size_of::<Self>() as u32, reserved: 0, host: Ref::NONE, state_file: Text::NONE }
    }
}

impl lk_alerts_config {
    fn settings(&self) -> Answer<AlertsConfig> {
        let host = self.host.optional("host")?;
        let settings = host.map_or_else(AlertsConfig::default, |hosted| of(hosted.host.handle()));
        Ok(match self.state_file.optional("state_file")? {
            Some(path) => settings.state_file(path),
            None => settings,
        })
    }
}

/// Fills in the default settings.
///
/// out: where. size: sizeof(lk_alerts_config).
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_SIZE. Thread: any. Does not block.
/// Next: lk_alerts_start.
#[unsafe(no_mangle)]
pub extern "C" fn lk_alerts_config_init(out: Out<lk_alerts_config>, size: usize) -> lk_status {
    guard(move || init(&out, size))
}

/// Begins to tell. What happened before is not told. Its thread starts with the
/// first loop that has something to tell, runs commands and webhooks one at a
/// time, and tries again what failed; no loop waits for it. An environment has
/// one: of two the later tells.
///
/// env: not consumed. config: copied; may be NULL for the defaults. out: a new
/// handle, the caller's to free with lk_alerts_free.
/// Returns: LK_OK; LK_ERR_STATE when another, in this process or in one beside
/// it, keeps the file; LK_ERR_NULL; LK_ERR_SIZE; LK_ERR_UTF8; LK_ERR_STALE.
/// Thread: any. Does not block, but for reading the file. Next: the field
/// `alert_json` of lk_watcher_config; lk_deployer_start.
#[unsafe(no_mangle)]
pub extern "C" fn lk_alerts_start(
    env: Ref<lk_env>,
    config: In<lk_alerts_config>,
    out: New<lk_alerts>,
) -> lk_status {
    guard(move || {
        let (env, place) = (env.get("env")?, out.check("out")?);
        let config = config.optional("config")?.unwrap_or_else(lk_alerts_config::initial);
        let alerts = Alerts::new(&env, config.settings()?);
        alerts.start()?;
        place.set(Teller(alerts))
    })
}

/// What became of the alerts of a loop, as JSON: {"told", "pending", "sent",
/// "failures", "lost", ..}.
///
/// alerts: not consumed. name: of the loop; copied. buf, len: where the text
/// goes, with its NUL. needed: how many bytes it needs, written also with
/// LK_ERR_BUFFER; may be NULL.
/// Returns: LK_OK; LK_ERR_BUFFER; LK_ERR_NOT_FOUND when the loop has none, or
/// had nothing to tell yet; LK_ERR_INVALID when it is no name; LK_ERR_NULL;
/// LK_ERR_UTF8; LK_ERR_STALE. Thread: any. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn lk_alerts_status_json(
    alerts: Ref<lk_alerts>,
    name: Text,
    buf: Buffer,
    len: usize,
    needed: Out<usize>,
) -> lk_status {
    guard(move || {
        let (teller, name) = (alerts.get("alerts")?, name.read("name")?);
        let place = buf.check(len, &needed)?;
        let status = teller.0.status(&name.parse()?);
        place.set_json(
            &status.ok_or_else(|| Failure::new(LK_ERR_NOT_FOUND, format!("{name}: has no alerts")))?,
        )
    })
}

/// Ends the command or webhook that runs, and tells nothing any more.
///
/// alerts: not consumed. grace_ms: how long to wait. report: how it went,
/// written also when that was not well; may be NULL.
/// Returns: LK_OK when its thread has ended, also when it was stopped before;
/// LK_ERR_TIMEOUT when it has not in time; LK_ERR_NULL; LK_ERR_SIZE;
/// LK_ERR_STALE. Thread: any. Blocks for `grace_ms` at most. Next:
/// lk_alerts_free.
#[unsafe(no_mangle)]
pub extern "C" fn lk_alerts_stop(
    alerts: Ref<lk_alerts>,
    grace_ms: u64,
    report: OutStruct<lk_stop_report>,
) -> lk_status {
    guard(move || {
        let (teller, report) = (alerts.get("alerts")?, report.optional("report")?);
        tell(&teller.0.stop(millis(grace_ms)), report)
    })
}

/// Stops telling, and lets go of the handle.
///
/// alerts: consumed; NULL does nothing.
/// Returns: LK_OK; LK_ERR_STALE when it was freed already. Thread: owner.
/// Blocks for a second at most.
#[unsafe(no_mangle)]
pub extern "C" fn lk_alerts_free(alerts: Own<lk_alerts>) -> lk_status {
    guard(move || alerts.free("alerts"))
}
