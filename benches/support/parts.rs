//! The library's sides of what is many or stands on files: a host of a
//! thousand components, a folder deployed into one, a configuration.

use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use loopkeeper::config::{Config, Layers, Snapshot};
use loopkeeper::decode::Object;
use loopkeeper::host::Requires;
use loopkeeper::host::deploy::{Deployer, DeployerConfig, Registry};
use loopkeeper::{BoxError, Component, ComponentConfig, Context, Env, Host, HostConfig};

use super::floors::{self, Parked};
use super::measure::{Started, allocations, us};

/// A folder of its own, removed on drop.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("loopkeeper-bench-{}-{n}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder can be made");
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Left behind, it is a few files among the temporary ones.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A component that starts one thread that stays, as a watcher does.
struct Threaded {
    i: usize,
    started: Arc<Started>,
    thread: Option<Parked>,
}

impl Component for Threaded {
    fn start(&mut self, _: &Context) -> Result<(), BoxError> {
        self.thread = Some(Parked::start(self.i, &self.started));
        Ok(())
    }

    fn stop(&mut self, _: &Context) -> Result<(), BoxError> {
        self.thread.take().into_iter().for_each(Parked::stop);
        Ok(())
    }
}

/// A component whose start waits, as one does that asks a service.
struct Waiting(Duration);

impl Component for Waiting {
    fn start(&mut self, _: &Context) -> Result<(), BoxError> {
        std::thread::sleep(self.0);
        Ok(())
    }

    fn stop(&mut self, _: &Context) -> Result<(), BoxError> {
        Ok(())
    }
}

fn host(config: HostConfig) -> Host {
    Host::new(config).expect("the host's own two threads can be started")
}

/// Starts and stops `n` components with a thread each, one after the other:
/// the time of both.
pub(crate) fn in_order(n: usize) -> (Duration, Duration) {
    let all = Arc::new(Started::expect(n));
    let host = host(HostConfig::default());
    for i in 0..n {
        let component = Threaded { i, started: Arc::clone(&all), thread: None };
        host.register(format!("part-{i}"), component).expect("names differ");
    }
    let begin = Instant::now();
    host.start().expect("all start");
    all.wait();
    let start = begin.elapsed();
    let begin = Instant::now();
    let report = host.stop(Duration::from_secs(30));
    let stop = begin.elapsed();
    assert!(report.is_clean(), "{report}");
    (start, stop)
}

/// Deploys `n` components into a host that runs, one after the other, each of
/// which requires the one before it: the time of all.
pub(crate) fn deployed(n: usize) -> Duration {
    let host = host(HostConfig::default());
    host.start().expect("there is nothing to start");
    let handle = host.handle();
    let configs: Vec<ComponentConfig> = (0..n)
        .map(|i| {
            let config = ComponentConfig::new(format!("part-{i}"), Waiting(Duration::ZERO));
            config.requires(i.checked_sub(1).map(|before| Requires::new(format!("part-{before}"))))
        })
        .collect();
    let begin = Instant::now();
    for config in configs {
        handle.deploy(config).expect("names differ, and what it requires runs");
    }
    let took = begin.elapsed();
    let report = host.stop(Duration::from_secs(30));
    assert!(report.is_clean(), "{report}");
    took
}

/// Registers `n` components, half of which make a tree and each of the others
/// requires one that is registered after it: the time of all.
pub(crate) fn registered(n: usize) -> Duration {
    let host = host(HostConfig::default());
    let required = |i: usize| if i % 2 == 0 { i + 1 } else { (i / 2) | 1 };
    let configs: Vec<ComponentConfig> = (0..n)
        .map(|i| {
            let config = ComponentConfig::new(format!("part-{i}"), Waiting(Duration::ZERO));
            config.requires((i != 1).then(|| Requires::new(format!("part-{}", required(i)))))
        })
        .collect();
    let begin = Instant::now();
    for config in configs {
        host.register_with(config).expect("names differ, and no circle");
    }
    begin.elapsed()
}

/// Starts `n` components that wait for `nap` each, `parallel` at once.
pub(crate) fn side_by_side(n: usize, parallel: usize, nap: Duration) -> Duration {
    let host = host(HostConfig::default().parallel(parallel));
    for i in 0..n {
        host.register(format!("part-{i}"), Waiting(nap)).expect("names differ");
    }
    let begin = Instant::now();
    host.start().expect("all start");
    let start = begin.elapsed();
    let report = host.stop(Duration::from_secs(30));
    assert!(report.is_clean(), "{report}");
    start
}

/// Stops `n` components of which every `each`th hangs past its `deadline`,
/// with `budget` for all.
pub(crate) fn stop_of_hanging(n: usize, each: usize, deadline: Duration, budget: Duration) -> Duration {
    let gate = Arc::new(parking_lot::RwLock::new(()));
    let shut = gate.write();
    let host = host(HostConfig::default());
    for i in 0..n {
        let hangs = each > 0 && i % each == each / 2;
        let gate = Arc::clone(&gate);
        let stop = move |_: &Context| {
            if hangs {
                drop(gate.read());
            }
            Ok(())
        };
        let component = loopkeeper::host::component(|_: &Context| Ok(()), stop);
        let config = ComponentConfig::new(format!("part-{i}"), component).stop_timeout(deadline);
        host.register_with(config).expect("names differ");
    }
    host.start().expect("all start");
    let begin = Instant::now();
    let report = host.stop(budget);
    let took = begin.elapsed();
    let hanging = n.checked_div(each).unwrap_or_default();
    assert!(report.stragglers().len() <= hanging, "{report}");
    drop(shut);
    took
}

/// What was done to the components that a folder describes.
#[derive(Debug, Default)]
struct Touched {
    built: AtomicU64,
    started: AtomicU64,
    stopped: AtomicU64,
}

struct Part(Arc<Touched>);

impl Component for Part {
    fn start(&mut self, _: &Context) -> Result<(), BoxError> {
        self.0.started.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn stop(&mut self, _: &Context) -> Result<(), BoxError> {
        self.0.stopped.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

fn registry(touched: &Arc<Touched>) -> Registry {
    let touched = Arc::clone(touched);
    let mut registry = Registry::new();
    let factory = move |_: &str, o: &mut Object<'_, '_>| {
        let version = o.u32("version").required();
        let address = o.string("address").required();
        let interval = o.duration("interval").required();
        let done = o.done()?;
        let _ = (version.take(done), address.take(done), interval.take(done));
        let touched = Arc::clone(&touched);
        Some(move |_: &Env| {
            touched.built.fetch_add(1, Ordering::Relaxed);
            Ok(Part(touched))
        })
    };
    registry.register("part", factory).expect("the name is a good one");
    registry
}

/// A folder of descriptors and a host in which what they describe runs.
pub(crate) struct Deployed {
    folder: Scratch,
    deployer: Deployer,
    touched: Arc<Touched>,
    // Dropped last: it stops what the deployer put there.
    _host: Host,
}

impl Deployed {
    pub(crate) fn new(n: usize) -> Self {
        let folder = Scratch::new();
        for i in 0..n {
            write(folder.path(), i, 1);
        }
        let host = host(HostConfig::default());
        host.start().expect("nothing is there to fail");
        let touched = Arc::new(Touched::default());
        // Looked at when asked only.
        let config = DeployerConfig::new(folder.path()).scan_interval(Duration::from_secs(3600));
        let deployer = Deployer::new(host.env(), config, registry(&touched), Arc::new(host.handle()))
            .expect("the settings are right");
        deployer.start().expect("one thread");
        until(|| deployer.board().running.len() == n && deployer.board().under_way.is_empty());
        Self { folder, deployer, touched, _host: host }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// One look at the folder: how long it took, and how many builds, starts
    /// and stops came of it.
    pub(crate) fn rescan(&self) -> (Duration, u64) {
        let (runs, touched) = (self.deployer.status().runs, self.touched());
        self.deployer.rescan();
        until(|| {
            let status = self.deployer.status();
            status.runs > runs && status.running_for.is_none() && self.deployer.board().under_way.is_empty()
        });
        let took = self.deployer.status().latency.expect("it has looked");
        (took, self.touched() - touched)
    }

    /// Changes one file.
    pub(crate) fn change(&self, i: usize, version: u32) {
        write(self.folder(), i, version);
    }

    /// How many were built, started and stopped, all together.
    fn touched(&self) -> u64 {
        let Touched { built, started, stopped } = &*self.touched;
        [built, started, stopped].iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }
}

fn write(folder: &Path, i: usize, version: u32) {
    let text = format!(
        r#"{{
  "name": "part-{i}",
  "type": "part",
  "enabled": true,
  "requires": [],
  "config": {{
    "version": {version},
    "address": "service-{i}.example.com:8080",
    "interval": "30s"
  }}
}}
"#
    );
    fs::write(folder.join(format!("part-{i}.json")), text).expect("the folder is ours");
}

fn until(mut done: impl FnMut() -> bool) {
    while !done() {
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A configuration file as a program of some size has one: `sections` objects
/// with `keys` values each.
pub(crate) fn settings(sections: usize, keys: usize) -> serde_json::Value {
    let key = |i: usize| match i % 3 {
        0 => (format!("max_connections_{i}"), serde_json::json!(8000 + i)),
        1 => (format!("request_timeout_{i}"), serde_json::json!("1m30s")),
        _ => (format!("keep_alive_{i}"), serde_json::json!(true)),
    };
    let section: serde_json::Map<_, _> = (0..keys).map(key).collect();
    let sections = (0..sections).map(|i| (format!("section_{i}"), section.clone().into()));
    serde_json::Value::Object(sections.collect())
}

/// A leaf's path, and its keys.
pub(crate) type Leaf = (String, [String; 2]);

/// The leaves of such values that are wanted.
pub(crate) fn leaves(values: &serde_json::Value, wanted: fn(&serde_json::Value) -> bool) -> Vec<Leaf> {
    let sections = values.as_object().into_iter().flatten();
    let all = sections.flat_map(|(section, values)| {
        let below = values.as_object().into_iter().flatten().filter(move |(_, value)| wanted(value));
        below.map(move |(key, _)| (format!("{section}.{key}"), [section.clone(), key.clone()]))
    });
    all.collect()
}

/// A configuration in a file.
pub(crate) struct Configured {
    folder: Scratch,
    config: Config,
}

impl Configured {
    pub(crate) fn new(values: &serde_json::Value) -> Self {
        let folder = Scratch::new();
        let text = serde_json::to_string_pretty(values).expect("values can be written");
        let file = folder.path().join("app.json");
        fs::write(&file, text).expect("the folder is ours");
        let config = Config::load(Layers::default().file(file)).expect("the file is right");
        Self { folder, config }
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("app.json")
    }

    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.config.snapshot()
    }

    /// Reloads what has not changed: the time, new snapshots, allocations.
    pub(crate) fn reload(&self) -> [f64; 3] {
        let before = self.config.snapshot();
        let (count, begin) = (allocations(), Instant::now());
        let reload = black_box(self.config.reload()).expect("the file is right");
        let (took, count) = (begin.elapsed(), allocations() - count);
        let is_new = reload.has_changed() || !Arc::ptr_eq(&before, &self.config.snapshot());
        [us(took), f64::from(u8::from(is_new)), count as f64]
    }
}

/// The floor of [`Configured::reload`].
pub(crate) fn read_and_hash_one(file: &Path) -> [f64; 3] {
    let (count, begin) = (allocations(), Instant::now());
    black_box(floors::hash(&fs::read(file).expect("the file is there")));
    let (took, count) = (begin.elapsed(), allocations() - count);
    [us(took), 0.0, count as f64]
}
