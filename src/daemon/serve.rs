//! The status server, as the program's configuration describes it.

use std::sync::Arc;

use loopkeeper::config::{Config, HttpConfig};
use loopkeeper::host::HostHandle;
use loopkeeper::host::deploy::Deployer;
use loopkeeper::http::{Control, StatusServer, StatusServerConfig};
use loopkeeper::observe::prometheus::Exporter;
use loopkeeper::status::StatusSource;
use loopkeeper::{Env, Health, LoopKind, LoopStatus, Result};

/// Starts the server, when it should listen at all.
pub(crate) fn start(
    env: &Env,
    config: &HttpConfig,
    shown: &Config,
    metrics: Exporter,
    everything: Arc<Everything>,
) -> Result<Option<Arc<StatusServer>>> {
    let Some(listen) = config.listen else { return Ok(None) };
    let server = StatusServerConfig::default()
        .listen(listen.to_string())
        .allowed_hosts(config.allowed_hosts.clone())
        .control(everything.clone(), config.token.clone())
        .config(shown)
        .metrics(metrics);
    StatusServer::start(env, server, everything).map(|server| Some(Arc::new(server)))
}

/// What the status server shows, and what it lets be done.
pub(crate) struct Everything {
    pub(crate) host: HostHandle,
    pub(crate) deployer: Deployer,
}

impl StatusSource for Everything {
    fn statuses(&self) -> Vec<LoopStatus> {
        // Looked at first: what it begins in its first look is in the host by
        // its end.
        let is_filled = self.deployer.status().health != Health::Unknown;
        let mut loops = self.host.loops();
        if !is_filled {
            // Nobody knows yet what there is to be ready.
            let deployers = loops.iter_mut().filter(|status| status.kind == LoopKind::Deployer);
            deployers.for_each(|status| status.critical = true);
        }
        loops
    }
}

impl Control for Everything {
    fn trigger(&self, name: &str) -> Result<()> {
        self.host.env().trigger(name)
    }

    fn rescan(&self) -> Result<()> {
        self.deployer.rescan();
        Ok(())
    }
}
