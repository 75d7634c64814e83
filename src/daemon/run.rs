//! Watches until told to stop: starts in order, stops in reverse.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use loopkeeper::config::{Layers, Settings};
use loopkeeper::decode::Object;
use loopkeeper::host::deploy::{Descriptor, Registry};
use loopkeeper::http::StatusServer;
use loopkeeper::signals::{Signal, Signals};
use loopkeeper::{
    BoxError, Component, Context, Env, EnvConfig, Error, Observer, Result, StopReport, WatchManager,
    WatcherConfig, watch,
};

use super::load::{Loaded, load};
use super::{Exit, complain, lines, logging, serve};

/// The command `run`.
pub(crate) fn run(layers: Layers) -> Exit {
    let watched = Watched::default();
    let loaded = match load(layers, &watched.registry()) {
        Ok(loaded) => loaded,
        Err(faults) => {
            complain(lines(&faults));
            return Exit::BadConfig;
        }
    };
    logging::install(&loaded.config.logging);
    let shutdown_timeout = loaded.config.shutdown_timeout;
    let started = Signals::install().and_then(|signals| Ok((signals, Running::start(loaded, &watched)?)));
    let (mut signals, running) = match started {
        Ok(started) => started,
        Err(error) => {
            log::error!("could not start: {}", error.report());
            return Exit::Failed;
        }
    };
    let signal = wait(&mut signals);
    // Before anything that may be stuck, the log included.
    if let Err(error) = signals.end_on_next() {
        log::warn!("{}", error.report());
    }
    log::info!("{signal}: stopping");
    let reports = running.stop(shutdown_timeout);
    reports.iter().for_each(tell);
    let exit = verdict(&reports);
    if exit == Exit::Straggler {
        // What is still stuck holds on to things whose drop would wait for it.
        std::process::exit(exit as i32);
    }
    log::info!("stopped");
    exit
}

/// How the program ends after such a stop.
fn verdict(reports: &[StopReport]) -> Exit {
    let all_ended = reports.iter().all(|report| report.stragglers().is_empty());
    if all_ended { Exit::Clean } else { Exit::Straggler }
}

/// Waits for a signal to stop; says its name.
fn wait(signals: &mut Signals) -> &'static str {
    loop {
        match signals.wait() {
            Ok(Signal::Stop(name)) => return name,
            Ok(_) => {
                log::warn!("SIGHUP: nothing is reloaded while the program runs; restart it for new settings");
            }
            Err(error) => {
                log::error!("{}", error.report());
                return "no signals";
            }
        }
    }
}

/// Says what a stop found.
fn tell(report: &StopReport) {
    for straggler in report.stragglers() {
        log::error!("did not stop in time: {straggler}");
    }
    for error in report.errors() {
        log::error!("did not stop cleanly: {}", error.report());
    }
    match report.dropped_callbacks() {
        0 => {}
        n => log::warn!("{n} events were not told any more"),
    }
}

/// The watchers that descriptors describe, in the order in which they are
/// built.
#[derive(Clone, Default)]
struct Watched(Arc<Mutex<Vec<WatcherConfig>>>);

/// Stands for a watcher, which the manager starts and stops.
struct Managed;

impl Component for Managed {
    fn start(&mut self, _: &Context) -> std::result::Result<(), BoxError> {
        Ok(())
    }

    fn stop(&mut self, _: &Context) -> std::result::Result<(), BoxError> {
        Ok(())
    }
}

impl Watched {
    /// The types that the program can run: to build one is to keep its
    /// settings for the manager.
    fn registry(&self) -> Registry {
        let found = self.clone();
        let mut registry = Registry::new();
        let registered = registry.register("watcher", move |name: &str, o: &mut Object<'_, '_>| {
            let config = watch::descriptor::read(name, o)?;
            let found = found.clone();
            Some(move |_: &Env| {
                found.lock().push(config);
                Ok(Managed)
            })
        });
        debug_assert!(registered.is_ok(), "the first of its name");
        registry
    }

    fn lock(&self) -> MutexGuard<'_, Vec<WatcherConfig>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Everything that was started, in the order of its fields.
struct Running {
    env: Env,
    server: Option<StatusServer>,
    watchers: Arc<WatchManager>,
}

impl Running {
    /// Starts the server, then the watchers; what was started is stopped
    /// again when one cannot be.
    fn start(loaded: Loaded, watched: &Watched) -> Result<Self> {
        let Loaded { config, descriptors } = loaded;
        let env = Env::with(EnvConfig::default().observer(Observer::log()))?;
        let watchers = Arc::new(WatchManager::new(&env));
        let server = serve::start(&env, &config.http, watchers.clone())?;
        let running = Self { env, server, watchers };
        let disabled = descriptors.iter().filter(|descriptor| !descriptor.enabled).count();
        let mut n = 0;
        for descriptor in descriptors.into_iter().filter(|descriptor| descriptor.enabled) {
            if !descriptor.requires.is_empty() {
                log::warn!("{}: starts without waiting for what it requires", descriptor.name);
            }
            let context = format!("{} {}", descriptor.kind, descriptor.name);
            if let Err(error) = running.watch(descriptor, watched) {
                let _ = running.stop(config.shutdown_timeout);
                return Err(Error::new(error.kind()).context(context).caused_by(error));
            }
            n += 1;
        }
        running.announce(n, disabled, &config);
        Ok(running)
    }

    fn watch(&self, descriptor: Descriptor, watched: &Watched) -> Result<()> {
        descriptor.build(&self.env)?;
        let configs = std::mem::take(&mut *watched.lock());
        configs.into_iter().try_for_each(|config| self.watchers.watch(config).map(drop))
    }

    fn announce(&self, n: usize, disabled: usize, config: &Settings) {
        let version = env!("CARGO_PKG_VERSION");
        let disabled = if disabled > 0 { format!(" ({disabled} disabled)") } else { String::new() };
        match &self.server {
            Some(server) => {
                let address = server.local_addr();
                log::info!("loopkeeper {version}: {n} watchers{disabled}, listening on http://{address}");
            }
            None => log::info!("loopkeeper {version}: {n} watchers{disabled}, listening nowhere"),
        }
        if n == 0 {
            log::warn!("nothing to watch: no descriptor is enabled in {}", config.deploy.dir.display());
        }
    }

    /// Stops everything in reverse, within `timeout` in all.
    fn stop(&self, timeout: Duration) -> Vec<StopReport> {
        let clock = self.env.clock();
        let deadline = clock.now() + timeout;
        let mut reports = vec![self.watchers.stop(timeout)];
        reports.extend(self.server.iter().map(|server| server.stop(deadline.since(clock.now()))));
        reports
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(probe: impl loopkeeper::Probe + 'static) -> Exit {
        let env = Env::new().unwrap();
        let watchers = Arc::new(WatchManager::new(&env));
        let running = Running { env, server: None, watchers };
        let watcher = running.watchers.watch(WatcherConfig::new("w", probe)).unwrap();
        while watcher.status().runs == 0 {
            std::thread::yield_now();
        }
        verdict(&running.stop(Duration::from_millis(20)))
    }

    #[test]
    fn a_probe_that_does_not_end_is_a_straggler() {
        assert_eq!(check(|_: &Context| Ok(())), Exit::Clean);
        // Ended by the drop of its sender, so that nothing outlives the test.
        let (stuck, ends) = std::sync::mpsc::channel::<()>();
        let probe = move |_: &Context| Ok(ends.recv()?);
        assert_eq!(check(probe), Exit::Straggler);
        drop(stuck);
    }
}
