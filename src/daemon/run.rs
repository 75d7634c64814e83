//! Watches until told to stop: starts in order, stops in reverse.

use std::ffi::c_int;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use loopkeeper::alert::{Alerts, AlertsConfig};
use loopkeeper::config::{ConfigWatcher, ConfigWatcherConfig, Layers, Settings};
use loopkeeper::host::deploy::{Deployer, DeployerConfig};
use loopkeeper::http::StatusServer;
use loopkeeper::observe::prometheus::Exporter;
use loopkeeper::service::{ReadyFd, give_back_memory, inherited_listeners, share_memory_pools};
use loopkeeper::signals::{Signal, Signals, Waker, reset_inherited};
use loopkeeper::status::{StatusSource as _, aggregate};
use loopkeeper::{
    Env, EnvConfig, Error, ErrorKind, Health, Host, HostConfig, LoopStatus, Observer, Result, StopReport,
};
use signal_hook::consts::{SIGHUP, SIGUSR1};
use signal_hook::flag;
use signal_hook::low_level::raise;

use super::apply::Live;
use super::load::{Loaded, load};
use super::logging::Logging;
use super::serve::{self, Everything};
use super::service::{Ears, Facts, Service};
use super::{Exit, complain, lines, plural};

/// How many components may stop at once that do not require each other.
const PARALLEL: usize = 16;
/// After which time what only a start needs is not needed any more.
const SETTLED: Duration = Duration::from_secs(10);

/// The command `run`.
pub(crate) fn run(layers: Layers, notify_fd: Option<u16>) -> Exit {
    // First, so that neither a child nor a file of ours gets their numbers.
    let given = match Given::take(notify_fd) {
        Ok(given) => given,
        Err(error) => {
            complain(error.report());
            return Exit::Usage;
        }
    };
    share_memory_pools();
    let early = match Early::note() {
        Ok(early) => early,
        Err(error) => {
            complain(error.report());
            return Exit::Failed;
        }
    };
    let loaded = match load(&layers) {
        Ok(loaded) => loaded,
        Err(faults) => {
            complain(lines(&faults));
            return Exit::BadConfig;
        }
    };
    let logging = Logging::install(&loaded.settings.logging);
    let started = reset_inherited().and_then(|()| Signals::install()).and_then(|signals| {
        early.pass_on();
        let waker = signals.waker()?;
        let (running, service) = Running::start(loaded, logging, given, waker)?;
        Ok((signals, running, service))
    });
    let (mut signals, running, mut service) = match started {
        Ok(started) => started,
        Err(error) => {
            log::error!("could not start: {}", error.report());
            return Exit::Failed;
        }
    };
    let signal = wait(&mut signals, &running, &mut service);
    service.stop(signal);
    // Before anything that may be stuck, the log included.
    if let Err(error) = signals.end_on_next() {
        log::warn!("{}", error.report());
    }
    log::info!("{signal}: stopping");
    let reports = running.stop(running.shutdown_timeout());
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
    let has_ended = |report: &StopReport| {
        // A component whose own thread did not end says that it timed out.
        let timed_out = report.errors().iter().any(|error| error.kind() == ErrorKind::Timeout);
        report.stragglers().is_empty() && !timed_out
    };
    if reports.iter().all(has_ended) { Exit::Clean } else { Exit::Straggler }
}

/// Waits for a signal to stop; says its name.
fn wait(signals: &mut Signals, running: &Running, service: &mut Service) -> &'static str {
    let clock = running.host.env().clock();
    let mut needed = Looks::default();
    let mut settles_at = Some(clock.now() + SETTLED);
    loop {
        let again = service.look(clock.now(), |own| running.facts(&needed, own));
        let now = clock.now();
        if settles_at.is_some_and(|at| at <= now) {
            settles_at = None;
            give_back_memory();
        }
        let again = again.into_iter().chain(settles_at.map(|at| at.since(now))).min();
        match signals.wait_timeout(again) {
            Ok(None) => {}
            Ok(Some(Signal::Stop(name))) => return name,
            Ok(Some(Signal::Hangup)) => {
                log::info!("SIGHUP: looking at the configuration and the descriptors");
                service.reload(clock.now());
                needed = running.begun().next();
                running.watcher.trigger();
                running.deployer.rescan();
            }
            Ok(Some(_)) => running.dump(),
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

fn disabled_note(n: usize) -> String {
    if n > 0 { format!(" ({n} disabled)") } else { String::new() }
}

/// Signals that would end the program until there is somebody who waits for
/// them: a load may take long. One to stop does end it.
struct Early([(c_int, Arc<AtomicBool>); 2]);

impl Early {
    /// Takes note of them from now on.
    fn note() -> Result<Self> {
        let early = Self([SIGHUP, SIGUSR1].map(|signal| (signal, Arc::default())));
        for (signal, has_come) in &early.0 {
            flag::register(*signal, has_come.clone()).map_err(|error| {
                Error::new(ErrorKind::Io).context("signals cannot be noted").caused_by(error)
            })?;
        }
        Ok(early)
    }

    /// Has those that have come arrive once more.
    fn pass_on(&self) {
        for (signal, _) in self.0.iter().filter(|(_, has_come)| has_come.load(Ordering::SeqCst)) {
            // It has a handler, and so cannot fail.
            let _ = raise(*signal);
        }
    }
}

/// What a service manager left open for this process.
#[derive(Default)]
struct Given {
    ready_fd: Option<ReadyFd>,
    listener: Option<TcpListener>,
}

impl Given {
    fn take(notify_fd: Option<u16>) -> Result<Self> {
        let ready_fd = notify_fd.map(ReadyFd::take).transpose();
        let ready_fd = ready_fd
            .map_err(|error| Error::new(error.kind()).context(format!("--notify-fd: {}", error.report())))?;
        let mut listeners = inherited_listeners()?;
        if listeners.len() > 1 {
            let names: Vec<&str> = listeners.iter().map(|(name, _)| &**name).collect();
            let text = format!("LISTEN_FDS: expected one socket, found {}", names.join(", "));
            return Err(Error::new(ErrorKind::InvalidArgument).context(text));
        }
        Ok(Self { ready_fd, listener: listeners.pop().map(|(_, listener)| listener) })
    }
}

/// How often the configuration and the folder were looked at.
#[derive(Debug, Clone, Copy, Default)]
struct Looks([u64; 2]);

impl Looks {
    /// How often they were when each has been looked at once more.
    fn next(self) -> Self {
        Self(self.0.map(|looks| looks + 1))
    }
}

/// Everything that was started; the last first.
struct Running {
    watcher: Arc<ConfigWatcher>,
    _live: Live,
    everything: Arc<Everything>,
    deployer: Deployer,
    host: Host,
    server: Option<Arc<StatusServer>>,
}

impl Running {
    /// Starts the server, the host and what fills it; what was started is
    /// stopped again when one cannot be.
    fn start(loaded: Loaded, logging: Logging, given: Given, waker: Waker) -> Result<(Self, Service)> {
        let Loaded { config, settings, registry, descriptors } = loaded;
        let exporter = Exporter::default();
        let ears = Ears::default();
        let mut observer = Observer::log().and(exporter.observer());
        if Service::is_wanted(given.ready_fd.as_ref()) {
            observer = observer.and(ears.observer());
        }
        let env = Env::with(EnvConfig::default().observer(observer))?;
        let service = Service::new(env.clock().now(), given.ready_fd, &ears, waker);
        let timeout = settings.shutdown_timeout;
        let host = Host::new(HostConfig::default().env(&env).shutdown_timeout(timeout).parallel(PARALLEL))?;
        let folder = DeployerConfig::new(&settings.deploy.dir).scan_interval(settings.deploy.scan_interval);
        let deployer = Deployer::new(&env, folder, registry, Arc::new(host.handle()))?;
        let known = host.handle();
        let mut alerts = AlertsConfig::default().requires(move |name| known.requires(name));
        if let Some(path) = &settings.alerts.state_file {
            alerts = alerts.state_file(path);
        }
        let alerts = Alerts::new(&env, alerts);
        let everything =
            Everything { host: host.handle(), deployer: deployer.clone(), alerts: alerts.clone() };
        let everything = Arc::new(everything);
        let metrics = exporter.collecting(host.handle()).collecting(deployer.clone());
        let server =
            serve::start(&env, &settings.http, &config, metrics, given.listener, everything.clone())?;
        let watch = ConfigWatcherConfig::new(&config)
            .interval(settings.config.watch_interval)
            .read_at_start(Settings::READ_AT_START);
        let watcher = Arc::new(ConfigWatcher::new_in(&env, watch)?);
        let live = Live::new(&watcher, logging, &deployer, server.as_ref());
        let running = Self { watcher, _live: live, everything, deployer, host, server };
        // Before there is anything to tell.
        alerts.start()?;
        running.host.start()?;
        running.deployer.start()?;
        running.watcher.restart()?;
        let disabled = descriptors.iter().filter(|descriptor| !descriptor.enabled).count();
        running.announce(descriptors.len() - disabled, disabled, &settings);
        Ok((running, service))
    }

    /// How everything is, with the program's `own` threads if they matter;
    /// `needed` is when a reload is through.
    fn facts(&self, needed: &Looks, own: bool) -> Facts {
        let components = self.host.status();
        let waiting = components.into_iter().filter(|component| !component.waits_for.is_empty());
        let looks = self.looks();
        Facts {
            loops: self.everything.statuses(),
            is_filled: self.deployer.status().health != Health::Unknown,
            waiting: waiting.map(|component| component.name).collect(),
            stalled: own.then(|| self.stalled()).flatten(),
            is_reloaded: looks.0.iter().zip(needed.0).all(|(looks, needed)| *looks >= needed),
        }
    }

    /// Which of the program's own threads does nothing, if one does not.
    fn stalled(&self) -> Option<String> {
        let stalled = self.host.env().stalled();
        let stalled = stalled.map(|(thread, late)| format!("its {thread} has done nothing for {late:.1?}"));
        let has_server = self.server.as_ref().is_none_or(|server| server.is_alive());
        let alerts = || {
            let late = self.everything.alerts.stalled()?;
            Some(format!("its alerts have done nothing for {late:.1?}"))
        };
        stalled.or_else(alerts).or_else(|| (!has_server).then(|| "its server does nothing".to_owned()))
    }

    /// How many looks were begun: one that is under way may have begun before
    /// the edit that it is asked to see.
    fn begun(&self) -> Looks {
        Looks([self.watcher.status().runs, self.deployer.status().runs])
    }

    /// How many looks were begun and are over.
    fn looks(&self) -> Looks {
        let over = |status: LoopStatus| status.runs - u64::from(status.running_for.is_some());
        Looks([over(self.watcher.status()), over(self.deployer.status())])
    }

    /// Says in the log how every loop is.
    fn dump(&self) {
        let loops = self.everything.statuses();
        log::info!("SIGUSR1: {} loops, together {}", loops.len(), aggregate(&loops));
        for status in loops {
            log::info!("{status}");
        }
    }

    fn announce(&self, n: usize, disabled: usize, settings: &Settings) {
        let version = env!("CARGO_PKG_VERSION");
        let (disabled, s) = (disabled_note(disabled), plural(n));
        match &self.server {
            Some(server) => {
                let address = server.local_addr();
                log::info!("loopkeeper {version}: {n} component{s}{disabled}, listening on http://{address}");
            }
            None => log::info!("loopkeeper {version}: {n} component{s}{disabled}, listening nowhere"),
        }
        if n == 0 {
            log::warn!("nothing to watch: no descriptor is enabled in {}", settings.deploy.dir.display());
        }
    }

    /// How long a stop may take by the configuration in force.
    fn shutdown_timeout(&self) -> Duration {
        let settings = self.watcher.config().snapshot().settings();
        settings.unwrap_or_default().shutdown_timeout
    }

    /// Stops everything in reverse, within `timeout` in all.
    fn stop(&self, timeout: Duration) -> Vec<StopReport> {
        let clock = self.host.env().clock();
        let deadline = clock.now() + timeout;
        let left = || deadline.since(clock.now());
        let mut reports =
            vec![self.watcher.stop(timeout), self.deployer.stop(left()), self.host.stop(left())];
        reports.push(self.everything.alerts.stop(left()));
        reports.extend(self.server.iter().map(|server| server.stop(left())));
        reports
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loopkeeper::config::Config;
    use loopkeeper::host::deploy::Registry;
    use loopkeeper::{Context, Probe, Watcher, WatcherConfig};

    fn check(probe: impl Probe + 'static) -> Exit {
        let env = Env::new().unwrap();
        let host = Host::new(HostConfig::default().env(&env)).unwrap();
        let config = DeployerConfig::new("/nowhere");
        let deployer = Deployer::new(&env, config, Registry::new(), Arc::new(host.handle())).unwrap();
        let config = Config::load_in(&env, Layers::default()).unwrap();
        let configs = Arc::new(ConfigWatcher::new_in(&env, ConfigWatcherConfig::new(&config)).unwrap());
        let logging = Logging::install(&Settings::default().logging);
        let live = Live::new(&configs, logging, &deployer, None);
        let alerts = Alerts::new(&env, AlertsConfig::default());
        let everything = Arc::new(Everything { host: host.handle(), deployer: deployer.clone(), alerts });
        let running = Running { watcher: configs, _live: live, everything, deployer, host, server: None };
        let watcher = Arc::new(Watcher::new(&env, WatcherConfig::new("w", probe)).unwrap());
        running.host.register("w", watcher.component()).unwrap();
        running.host.start().unwrap();
        while watcher.status().runs == 0 {
            std::thread::yield_now();
        }
        verdict(&running.stop(Duration::from_millis(200)))
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

    #[test]
    fn an_edit_while_it_starts_takes_effect() {
        let dir = std::env::temp_dir().join(format!("loopkeeper-run-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("deploy")).unwrap();
        let file = dir.join("loopkeeper.json");
        let write = |timeout: &str| {
            let text = format!(r#"{{"http": {{"listen": "none"}}, "shutdown_timeout": "{timeout}"}}"#);
            std::fs::write(&file, text).unwrap();
        };
        write("1s");
        let loaded = load(&Layers::default().file(&file)).unwrap();
        write("2s");
        let logging = Logging::install(&loaded.settings.logging);
        let waker = Signals::install().unwrap().waker().unwrap();
        let (running, _) = Running::start(loaded, logging, Given::default(), waker).unwrap();
        while running.watcher.status().last_check.is_none() {
            std::thread::yield_now();
        }
        let status = running.watcher.status().config.unwrap();
        assert_eq!((status.generation, running.shutdown_timeout()), (2, Duration::from_secs(2)));
        assert!(running.stop(Duration::from_secs(5)).iter().all(StopReport::is_clean));
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
