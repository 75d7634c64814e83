//! The status server, as the program's configuration describes it.

use std::net::TcpListener;
use std::sync::Arc;

use loopkeeper::alert::Alerts;
use loopkeeper::config::{Config, HttpConfig};
use loopkeeper::host::HostHandle;
use loopkeeper::host::deploy::Deployer;
use loopkeeper::http::{Control, StatusServer, StatusServerConfig};
use loopkeeper::observe::prometheus::Exporter;
use loopkeeper::status::{Phase, Rejected, StatusSource};
use loopkeeper::{Env, Error, ErrorKind, Health, LoopKind, LoopStatus, Result};

/// Starts the server, when it should listen at all; on the socket that a
/// service manager handed over, if there is one.
pub(crate) fn start(
    env: &Env,
    config: &HttpConfig,
    shown: &Config,
    metrics: Exporter,
    listener: Option<TcpListener>,
    everything: Arc<Everything>,
) -> Result<Option<Arc<StatusServer>>> {
    let mut server = match (listener, config.listen) {
        (Some(listener), _) => StatusServerConfig::default().listener(listener),
        (None, Some(listen)) => StatusServerConfig::default().listen(listen.to_string()),
        (None, None) => return Ok(None),
    };
    server = server
        .allowed_hosts(config.allowed_hosts.clone())
        .max_connections(config.max_connections as usize)
        .liveness(config.liveness.clone())
        .control(everything.clone(), config.token.clone())
        .config(shown)
        .metrics(metrics);
    if let Some(names) = &config.readiness {
        server = server.readiness(names.clone());
    }
    if let Some(names) = &config.startup {
        server = server.startup(names.clone());
    }
    if let Some(path) = &config.history_file {
        server = server.history_file(path);
    }
    StatusServer::start(env, server, everything).map(|server| Some(Arc::new(server)))
}

/// What the status server shows, and what it lets be done.
pub(crate) struct Everything {
    pub(crate) host: HostHandle,
    pub(crate) deployer: Deployer,
    pub(crate) alerts: Alerts,
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
        self.alerts.annotate(&mut loops);
        loops
    }

    fn rejected(&self) -> Vec<Rejected> {
        self.deployer.rejected()
    }
}

impl Control for Everything {
    fn trigger(&self, name: &str) -> Result<()> {
        self.host.env().trigger(name)
    }

    fn heartbeat(&self, name: &str, down: Option<&str>) -> Result<()> {
        match down {
            None => self.host.env().heartbeat(name),
            Some(reason) => self.host.env().heartbeat_down(name, reason),
        }
    }

    fn cancel_recovery(&self, run: &str) -> Result<()> {
        self.host.env().cancel_recovery(run)
    }

    fn retry_recovery(&self, run: &str) -> Result<()> {
        self.host.env().retry_recovery(run)
    }

    fn rescan(&self) -> Result<()> {
        if self.deployer.status().phase == Phase::Stopped {
            let text = "the folder of descriptors is not looked at at this moment";
            return Err(Error::new(ErrorKind::InvalidState).context(text));
        }
        self.deployer.rescan();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loopkeeper::alert::AlertsConfig;
    use loopkeeper::host::deploy::{DeployerConfig, Registry};
    use loopkeeper::{Host, HostConfig};
    use std::time::Duration;

    #[test]
    fn a_rescan_that_nobody_would_make_is_refused() {
        let env = Env::new().unwrap();
        let host = Host::new(HostConfig::default().env(&env)).unwrap();
        let folder = DeployerConfig::new("/nowhere");
        let deployer = Deployer::new(&env, folder, Registry::new(), Arc::new(host.handle())).unwrap();
        let alerts = Alerts::new(&env, AlertsConfig::default());
        let everything = Everything { host: host.handle(), deployer, alerts };
        everything.deployer.start().unwrap();
        everything.rescan().unwrap();
        assert!(everything.deployer.stop(Duration::from_secs(5)).is_clean());
        assert_eq!(everything.rescan().unwrap_err().kind(), ErrorKind::InvalidState);
    }
}
