//! What a change of the configuration does to a program that runs.

use std::sync::{Arc, Weak};

use loopkeeper::Result;
use loopkeeper::config::{ChangeGuard, ConfigWatcher, Settings};
use loopkeeper::host::deploy::Deployer;
use loopkeeper::http::StatusServer;

use super::logging::Logging;

/// Applies each configuration that is put in force, until it is dropped.
pub(crate) struct Live {
    _guard: ChangeGuard,
}

impl Live {
    /// Listens to `watcher`, which is not started yet.
    pub(crate) fn new(
        watcher: &Arc<ConfigWatcher>,
        logging: Logging,
        deployer: &Deployer,
        server: Option<&Arc<StatusServer>>,
    ) -> Self {
        let parts = Parts {
            watcher: Arc::downgrade(watcher),
            logging,
            deployer: deployer.clone(),
            server: server.map(Arc::downgrade),
        };
        let guard = watcher.on_change("", move |change| {
            let applied =
                change.before().settings().and_then(|before| Ok((before, change.after().settings()?)));
            match applied {
                Ok((before, after)) => {
                    if let Err(error) = parts.apply(&before, &after) {
                        log::error!("a change of the configuration has no effect: {}", error.report());
                    }
                }
                // Checked before it was put in force.
                Err(faults) => log::error!("{faults}"),
            }
        });
        Self { _guard: guard }
    }
}

struct Parts {
    watcher: Weak<ConfigWatcher>,
    logging: Logging,
    deployer: Deployer,
    server: Option<Weak<StatusServer>>,
}

impl Parts {
    /// Brings what runs from one configuration to the next. What is read at
    /// the start only is told by the watcher, and the time for a stop is read
    /// when it comes.
    fn apply(&self, before: &Settings, after: &Settings) -> Result<()> {
        if before.logging != after.logging {
            self.logging.set(&after.logging);
        }
        if before.http.token != after.http.token {
            if let Some(server) = self.server.as_ref().and_then(Weak::upgrade) {
                server.set_token(after.http.token.clone());
            }
        }
        if before.deploy.scan_interval != after.deploy.scan_interval {
            self.deployer.set_scan_interval(after.deploy.scan_interval)?;
        }
        if before.config.watch_interval != after.config.watch_interval {
            if let Some(watcher) = self.watcher.upgrade() {
                watcher.set_interval(after.config.watch_interval)?;
            }
        }
        Ok(())
    }
}
