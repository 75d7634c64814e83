//! The program of five lines: a folder of descriptors that runs until it is
//! told to end.

use super::alerts;
use super::boundary::{Failure, In, Text, guard};
use super::cancel::lk_cancel;
use super::handle::Ref;
use super::host::Hosted;
use super::observer::{lk_log, read_log};
use super::report::tell;
use super::status::{LK_ERR_IO, lk_status};
use crate::alert::Alerts;
use crate::config::StoreUrl;
use crate::env::{Env, EnvConfig};
use crate::host::deploy::{Deployer, DeployerConfig};
use crate::host::{Host, HostConfig};
use crate::sys::signals::EndSignals;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How long all components together may take to stop.
const SHUTDOWN: Duration = Duration::from_secs(30);

/// Runs what a folder of descriptors says, as it says it at each moment, until
/// it is told to end; then stops all of it in reverse.
///
/// What descriptors say of alerts is done, too.
///
/// dir: the folder; each `*.json` in it describes one component. log: where
/// its events are told; copied; its `drop` is called once whatever this
/// returns; may be NULL. cancel: ends it; not consumed; may be NULL: then
/// SIGTERM and SIGINT end it, which this thread waits for meanwhile, without a
/// handler. Other threads of the program should block them.
/// Returns: LK_OK when all has ended; LK_ERR_IO when the folder cannot be
/// read; LK_ERR_TIMEOUT or LK_ERR_COMPONENT when something would not stop;
/// LK_ERR_SPAWN or LK_ERR_BUDGET; LK_ERR_STATE from inside a callback;
/// LK_ERR_RANGE; LK_ERR_NULL; LK_ERR_SIZE; LK_ERR_UTF8; LK_ERR_STALE. Thread:
/// owner. Blocks until it is told to end.
#[unsafe(no_mangle)]
pub extern "C" fn lk_run_descriptor_dir(dir: Text, log: In<lk_log>, cancel: Ref<lk_cancel>) -> lk_status {
    guard(move || {
        // First: from here on its `drop` is called.
        let log = read_log(&log)?;
        let (dir, cancel) = (dir.read("dir")?, cancel.optional("cancel")?);
        super::call::refuse_inside("lk_run_descriptor_dir")?;
        std::fs::read_dir(Path::new(dir))
            .map_err(|error| Failure::new(LK_ERR_IO, format!("{dir}: {error}")))?;
        // Blocked before anything runs, so that none is lost.
        let signals = cancel.is_none().then(EndSignals::block);
        crate::sys::fork::watch();
        let mut settings = EnvConfig::default();
        if let Some(log) = log {
            settings = settings.observer(log.into_observer()?);
        }
        let env = Env::with(settings)?;
        let host = Host::new(HostConfig::default().env(&env).shutdown_timeout(SHUTDOWN))?;
        let hosted = Hosted::new(host, &StoreUrl::default());
        let registry = hosted.registry.lock().clone();
        // Before there is anything to tell.
        let alerts = Alerts::new(&env, alerts::of(hosted.host.handle()));
        alerts.start()?;
        hosted.host.start()?;
        let target = Arc::new(hosted.host.handle());
        let deployer = Deployer::new(&env, DeployerConfig::new(Path::new(dir)), registry, target)?;
        deployer.start()?;
        match (&cancel, &signals) {
            (Some(cancel), _) => cancel.token.wait(),
            (None, Some(signals)) => signals.wait(),
            (None, None) => {}
        }
        let looking = deployer.stop(Duration::from_secs(5));
        let stopped = hosted.host.stop(SHUTDOWN);
        let told = alerts.stop(Duration::from_secs(5));
        tell(&looking, None)?;
        tell(&stopped, None)?;
        tell(&told, None)
    })
}
