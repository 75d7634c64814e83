//! The deployer and its folder, through the public surface, on a clock that
//! the tests move and with a target that only keeps account. `crt` names what
//! the behaviour must be, `wrt` a weakness of earlier designs that must not
//! come back.

#![allow(clippy::unwrap_used, reason = "test code: what cannot be set up is a failed test")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use loopkeeper::decode::Object;
use loopkeeper::host::deploy::{
    Deployer, DeployerConfig, Descriptor, OnDown, Operation, Outcome, Registry, Reply, Target,
    check_requirements, load_folder,
};
use loopkeeper::status::StatusSource as _;
use loopkeeper::testing::Recorder;
use loopkeeper::{
    BoxError, Component, ComponentConfig, Context, Env, EnvConfig, Error, ErrorKind, EventKind, Health, Host,
    HostConfig, ManualClock, Name, Subscription, Watcher, WatcherConfig, shipped,
};
use support::{PATIENCE, TempDir, eventually};

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

type Log = Arc<Mutex<Vec<String>>>;

/// A component that notes when it is started and stopped.
struct Part {
    label: String,
    log: Log,
}

impl Component for Part {
    fn start(&mut self, _: &Context) -> Result<(), BoxError> {
        self.log.lock().unwrap().push(format!("start {}", self.label));
        Ok(())
    }

    fn stop(&mut self, _: &Context) -> Result<(), BoxError> {
        self.log.lock().unwrap().push(format!("stop {}", self.label));
        Ok(())
    }
}

/// The type `part`, with a version `v` and a way to `fail` when it is built.
fn registry(log: &Log) -> Registry {
    let log = log.clone();
    let mut registry = Registry::new();
    let factory = move |name: &str, o: &mut Object<'_, '_>| {
        let version = o.u32("v").at_least(1).doc("The version.").required();
        let fail = o.string("fail").doc("How to fail.").optional();
        let label = format!("{name} {}", version.take(o.done()?)?);
        let log = log.clone();
        Some(move |_: &Env| {
            log.lock().unwrap().push(format!("build {label}"));
            match fail.as_deref() {
                None => Ok(Part { label, log }),
                Some("panic") => panic!("no part"),
                Some("terminal") => Err(Error::terminal("never").into()),
                Some(other) => Err(other.into()),
            }
        })
    };
    registry.register("part", factory).unwrap();
    registry
}

/// A target that does what it is told at once, or holds the answers back.
#[derive(Clone)]
struct Double(Arc<Mutex<Inner>>);

struct Inner {
    env: Env,
    running: BTreeMap<String, Box<dyn Component>>,
    /// How the next operations for a name end, instead of well.
    outcomes: BTreeMap<String, Vec<Outcome>>,
    hold: bool,
    held: Vec<(Operation, Reply)>,
    panics: bool,
}

impl Double {
    fn new(env: &Env) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            env: env.clone(),
            running: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            hold: false,
            held: Vec::new(),
            panics: false,
        })))
    }

    fn fails(&self, name: &str, outcomes: impl IntoIterator<Item = Outcome>) {
        self.0.lock().unwrap().outcomes.insert(name.to_owned(), outcomes.into_iter().collect());
    }

    fn hold(&self) {
        self.0.lock().unwrap().hold = true;
    }

    /// Does what was held back.
    fn release(&self) {
        let mut inner = self.0.lock().unwrap();
        inner.hold = false;
        let held = std::mem::take(&mut inner.held);
        drop(inner);
        for (operation, reply) in held {
            self.begin(operation, reply);
        }
    }

    fn running(&self) -> String {
        self.0.lock().unwrap().running.keys().cloned().collect::<Vec<_>>().join(" ")
    }
}

impl Inner {
    fn act(&mut self, operation: Operation) -> Outcome {
        let cx = |name: &str| Context::detached(&self.env, name.parse().unwrap(), secs(1));
        let about = match &operation {
            Operation::Start(deployment) | Operation::Replace(deployment) => deployment.name.to_string(),
            Operation::Stop(name) => name.to_string(),
            other => panic!("{other:?}?"),
        };
        if let Some(outcomes) = self.outcomes.get_mut(&about).filter(|outcomes| !outcomes.is_empty()) {
            return outcomes.remove(0);
        }
        let cx = cx(&about);
        match operation {
            Operation::Start(mut deployment) => {
                assert!(!self.running.contains_key(&about), "{about} is started twice");
                deployment.component.start(&cx).unwrap();
                self.running.insert(about, deployment.component);
            }
            Operation::Replace(mut deployment) => {
                self.running.remove(&about).expect("something to replace").stop(&cx).unwrap();
                deployment.component.start(&cx).unwrap();
                self.running.insert(about, deployment.component);
            }
            Operation::Stop(_) => {
                self.running.remove(&about).expect("something to stop").stop(&cx).unwrap();
            }
            other => panic!("{other:?}?"),
        }
        Outcome::Done
    }
}

impl Target for Double {
    fn begin(&self, operation: Operation, reply: Reply) {
        let mut inner = self.0.lock().unwrap();
        if inner.panics {
            drop(inner);
            panic!("the target is ill");
        }
        if inner.hold {
            inner.held.push((operation, reply));
            return;
        }
        let outcome = inner.act(operation);
        drop(inner);
        reply.tell(outcome);
    }
}

/// A folder, its deployer, and where its parts go.
struct Scene {
    clock: ManualClock,
    dir: TempDir,
    log: Log,
    target: Double,
    deployer: Deployer,
    events: Subscription,
}

impl Scene {
    fn new() -> Self {
        let clock = ManualClock::default();
        let env = Env::manual(&clock).unwrap();
        let (log, target) = (Log::default(), Double::new(&env));
        Self::with(clock, &env, registry(&log), log, target)
    }

    fn with(clock: ManualClock, env: &Env, registry: Registry, log: Log, target: Double) -> Self {
        let theirs = Arc::new(target.clone());
        Self::on(clock, env, registry, log, target, theirs)
    }

    /// With `theirs` as the target; the double has nothing to do.
    fn on(
        clock: ManualClock,
        env: &Env,
        registry: Registry,
        log: Log,
        target: Double,
        theirs: Arc<dyn Target>,
    ) -> Self {
        let dir = TempDir::new("deploy");
        let config = DeployerConfig::new(dir.path());
        let deployer = Deployer::new(env, config, registry, theirs).unwrap();
        let events = deployer.subscribe();
        Self { clock, dir, log, target, deployer, events }
    }

    fn start(&self) -> &Self {
        self.deployer.start().unwrap();
        self.clock.settle();
        self
    }

    /// Lets the next regular scan come.
    fn scan(&self) -> &Self {
        self.clock.run_for(secs(5));
        self
    }

    /// Writes a descriptor of a part.
    fn part(&self, file: &str, name: &str, config: &str) -> &Self {
        self.dir.write(file, part(name, config));
        self
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.dir.path().join(from), self.dir.path().join(to)).unwrap();
    }

    fn remove(&self, file: &str) {
        fs::remove_file(self.dir.path().join(file)).unwrap();
    }

    /// What was built, started and stopped since the last time.
    fn log(&self) -> String {
        std::mem::take(&mut *self.log.lock().unwrap()).join(", ")
    }

    /// What was told since the last time, but for the loop's own beginning.
    fn told(&self) -> String {
        let events = std::iter::from_fn(|| self.events.try_recv()).map(|delivery| delivery.event);
        let events = events.filter_map(|event| match &event.what {
            EventKind::Started | EventKind::Ready { .. } => None,
            EventKind::Down { error, .. } => Some(format!("down: {}", error.report())),
            what => Some(what.to_string()),
        });
        short(self.dir.path(), &events.collect::<Vec<_>>().join("; "))
    }

    fn state(&self) -> Health {
        self.deployer.status().health
    }
}

fn part(name: &str, config: &str) -> String {
    format!(r#"{{"name": "{name}", "type": "part", "config": {{{config}}}}}"#)
}

fn short(dir: &Path, text: &str) -> String {
    text.replace(&format!("{}/", dir.display()), "")
}

fn failed(text: &'static str) -> Outcome {
    Outcome::Failed(Error::new(ErrorKind::Component).context(text))
}

fn rolled_back(text: &'static str) -> Outcome {
    Outcome::RolledBack(Error::new(ErrorKind::Component).context(text))
}

// What it does.

#[test]
fn a_folder_without_a_name_is_refused() {
    let target = Arc::new(Host::new(HostConfig::default()).unwrap().handle());
    let error = Deployer::new(&Env::new().unwrap(), DeployerConfig::new(""), Registry::default(), target)
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string()),
        (ErrorKind::InvalidArgument, "dir: must not be empty".into())
    );
}

#[test]
fn the_scan_interval_may_change_while_it_runs() {
    let scene = Scene::new();
    scene.start();
    assert_eq!(
        scene.deployer.set_scan_interval(Duration::ZERO).unwrap_err().to_string(),
        "scan_interval: must be more than zero"
    );
    scene.deployer.set_scan_interval(secs(1)).unwrap();
    scene.clock.settle();
    scene.part("a.json", "a", r#""v": 1"#);
    scene.clock.run_for(secs(1));
    assert_eq!(scene.target.running(), "a");
    scene.deployer.set_scan_interval(secs(60)).unwrap();
    scene.clock.settle();
    scene.remove("a.json");
    scene.clock.run_for(secs(59));
    assert_eq!(scene.target.running(), "a");
    scene.clock.run_for(secs(1));
    assert_eq!(scene.target.running(), "");
}

#[test]
fn crt_13_deploy_rescan_change_remove() {
    let scene = Scene::new();
    scene.part("a.json", "a", r#""v": 1"#).start();
    assert_eq!((scene.log(), scene.told()), ("build a 1, start a 1".into(), "deployed a".into()));
    assert_eq!(scene.state(), Health::Ready);
    scene.scan();
    scene.deployer.rescan();
    scene.clock.settle();
    assert_eq!((scene.log(), scene.told()), (String::new(), String::new()));
    scene.part("a.json", "a", r#""v": 2"#).scan();
    assert_eq!((scene.log(), scene.told()), ("build a 2, stop a 1, start a 2".into(), "replaced a".into()));
    scene.remove("a.json");
    scene.scan();
    assert_eq!((scene.log(), scene.told()), ("stop a 2".into(), "undeployed a".into()));
    assert_eq!(scene.target.running(), "");
}

#[test]
fn crt_14_a_failed_rebuild_keeps_the_old_one_and_reports() {
    let scene = Scene::new();
    scene.part("a.json", "a", r#""v": 1"#).start();
    scene.told();
    scene.log();
    for config in [r#""v": 0"#, r#""v": 2, "fail": "no port""#, r#""v": 2, "fail": "panic""#, r#""w": 2"#] {
        scene.part("a.json", "a", config).scan();
        assert_eq!(scene.target.running(), "a");
        assert!(scene.told().starts_with("rejected a of a.json, "), "{config}");
        assert!(!scene.log().contains("stop"), "{config}");
        assert_eq!(scene.state(), Health::Degraded);
        assert!(scene.deployer.status().last_error.is_some());
    }
    scene.part("a.json", "a", r#""v": 1"#).scan();
    assert_eq!((scene.state(), scene.log(), scene.told()), (Health::Ready, String::new(), String::new()));
}

#[test]
fn crt_15_disabled_is_not_deployed_and_an_unknown_type_is_reported() {
    let scene = Scene::new();
    scene.dir.write("a.json", part("a", r#""v": 1"#).replace("\"config\"", "\"enabled\": false, \"config\""));
    scene.dir.write("b.json", part("b", r#""v": 1"#).replace("\"part\"", "\"prat\""));
    scene.start();
    assert_eq!(scene.log(), "");
    assert_eq!(
        scene.told(),
        "rejected b of b.json, not again until it changes: b.json:1:23: type: unknown type \"prat\", did you mean \"part\"?"
    );
    scene.scan();
    assert_eq!(scene.told(), "", "told once");
}

#[test]
fn crt_19_the_story_of_a_folder() {
    let scene = Scene::new();
    let off = part("beta", r#""v": 1"#).replace("\"config\"", "\"enabled\": false, \"config\"");
    scene.part("1.json", "alpha", r#""v": 1"#).dir.write("2.json", off);
    scene.start();
    assert_eq!(scene.target.running(), "alpha");
    scene.part("2.json", "beta", r#""v": 1"#).scan();
    assert_eq!(scene.target.running(), "alpha beta");
    scene.part("1.json", "alpha", r#""v": 2"#).scan();
    assert_eq!(scene.target.running(), "alpha beta");
    scene.remove("2.json");
    scene.scan();
    assert_eq!(scene.target.running(), "alpha");
    assert_eq!(scene.told(), "deployed alpha; deployed beta; replaced alpha; undeployed beta");
    assert_eq!(
        scene.log(),
        "build alpha 1, start alpha 1, build beta 1, start beta 1, build alpha 2, stop alpha 1, start alpha 2, \
         stop beta 1"
    );
}

#[test]
fn crt_20_one_bad_build_does_not_stop_a_good_sibling() {
    let scene = Scene::new();
    scene.part("a.json", "a", r#""v": 1, "fail": "no"#.to_owned().as_str());
    scene.part("b.json", "b", r#""v": 1, "fail": "panic""#).part("c.json", "c", r#""v": 1"#).start();
    assert_eq!(scene.target.running(), "c");
    let told = scene.told();
    assert!(told.contains("rejected a.json") && told.contains("rejected b of b.json"), "{told}");
    assert!(told.contains("again in 5.0s: panicked: no part"), "{told}");
}

#[test]
fn crt_21_an_unknown_type_is_an_error() {
    let registry = shipped::registry();
    assert_eq!(registry.describe("watchers").unwrap_err().kind(), ErrorKind::NotFound);
    let text = r#"{"name": "a", "type": "watchre", "config": {}}"#;
    let faults = Descriptor::parse("a.json", text.as_bytes(), &registry).unwrap_err();
    assert_eq!(faults.to_string(), "a.json:1:23: type: unknown type \"watchre\", did you mean \"watcher\"?");
    let error = Registry::new()
        .register("a b", |_, _| Some(|_: &Env| Ok(Part { label: String::new(), log: Log::default() })));
    assert_eq!(error.unwrap_err().kind(), ErrorKind::InvalidArgument);
}

#[test]
fn crt_22_the_settings_of_a_type_are_read_strictly() {
    let registry = shipped::registry();
    let check = |config: &str| {
        let text = format!(r#"{{"name": "a", "type": "watcher", "config": {config}}}"#);
        Descriptor::parse("a", text.as_bytes(), &registry).map_err(|faults| faults.to_string())
    };
    let env = Env::new().unwrap();
    let good =
        check(r#"{"probe": {"tcp": {"address": "h:1"}}, "backoff": {"poll_interval": "30s"}}"#).unwrap();
    assert!(good.build(&env).is_ok());
    for (config, expected) in [
        (
            r#"{"probe": {"tcp": {"address": "h:1"}}, "backoff": {"poll_interval": 0}}"#,
            "must be more than zero",
        ),
        (r#"{"probe": }"#, "expected value"),
        ("[]", "config: expected an object, found a list"),
        (r#"{"probe": {"tcp": {"address": "h:1"}}, "poll_interval": 1}"#, "unknown field \"poll_interval\""),
    ] {
        let faults = check(config).unwrap_err();
        assert!(faults.contains(expected), "{faults}");
    }
}

#[test]
fn crt_26_a_hosted_deployer_deploys_what_becomes_usable() {
    let clock = ManualClock::default();
    let recorder = Recorder::default();
    let env = Env::with(EnvConfig::default().clock(&clock).observer(recorder.observer())).unwrap();
    let scene = Scene::with(clock, &env, shipped::registry(), Log::default(), Double::new(&env));
    scene.dir.write(
        "disk.json",
        r#"{"name": "disk", "type": "watcher", "config": {"probe": {"disk": {"path": "/", "min_free": 1}}}}"#,
    );
    // As a host does it.
    let mut component: Box<dyn Component> = Box::new(scene.deployer.clone());
    let cx = Context::detached(&env, name("deployer"), secs(10));
    component.start(&cx).unwrap();
    scene.clock.settle();
    let ready = |event: &loopkeeper::Event| event.source.as_str() == "disk" && event.what.as_str() == "ready";
    assert!(recorder.events().iter().any(ready), "{:?}", recorder.words());
    component.stop(&cx).unwrap();
    assert_eq!(scene.target.running(), "disk", "what was deployed is the target's");
}

/// A component that starts only a few times.
struct Flaky {
    part: Part,
    starts: u32,
}

impl Component for Flaky {
    fn start(&mut self, cx: &Context) -> Result<(), BoxError> {
        self.starts = self.starts.checked_sub(1).ok_or("worn out")?;
        self.part.start(cx)
    }

    fn stop(&mut self, cx: &Context) -> Result<(), BoxError> {
        self.part.stop(cx)
    }
}

/// A component whose starts fail with errors of one kind, and its first stop
/// with one of another.
struct Ill {
    part: Part,
    start: Option<ErrorKind>,
    stop: Option<ErrorKind>,
}

impl Component for Ill {
    fn start(&mut self, cx: &Context) -> Result<(), BoxError> {
        self.part.start(cx)?;
        self.start.map_or(Ok(()), |kind| Err(Error::new(kind).context("ill").into()))
    }

    fn stop(&mut self, cx: &Context) -> Result<(), BoxError> {
        self.part.stop(cx)?;
        self.stop.take().map_or(Ok(()), |kind| Err(Error::new(kind).context("ill").into()))
    }
}

/// A folder, its deployer, and a host in which its parts run.
struct Hosted {
    host: Host,
    scene: Scene,
}

impl Hosted {
    fn new() -> Self {
        let clock = ManualClock::default();
        let env = Env::manual(&clock).unwrap();
        let host = Host::new(HostConfig::default().env(&env)).unwrap();
        host.start().unwrap();
        let log = Log::default();
        let mut registry = registry(&log);
        let theirs = log.clone();
        let flaky = move |name: &str, o: &mut Object<'_, '_>| {
            let starts = o.u32("starts").doc("How often it starts.").required();
            let (starts, label) = (starts.take(o.done()?)?, format!("{name} flaky"));
            let log = theirs.clone();
            Some(move |_: &Env| Ok(Flaky { part: Part { label, log }, starts }))
        };
        registry.register("flaky", flaky).unwrap();
        let theirs = log.clone();
        let ill = move |name: &str, o: &mut Object<'_, '_>| {
            let mut kind = |key| {
                let word = o.string(key).doc("Which error it is.").optional();
                ErrorKind::ALL.into_iter().find(|kind| word.as_deref() == Some(&format!("{kind:?}")))
            };
            let (start, stop) = (kind("start"), kind("stop"));
            o.done()?;
            let part = Part { label: format!("{name} ill"), log: theirs.clone() };
            Some(move |_: &Env| Ok(Ill { part, start, stop }))
        };
        registry.register("ill", ill).unwrap();
        let (target, handle) = (Double::new(&env), Arc::new(host.handle()));
        Self { host, scene: Scene::on(clock, &env, registry, log, target, handle) }
    }

    fn flaky(&self, file: &str, name: &str, starts: u32) -> &Scene {
        let text = format!(r#"{{"name": "{name}", "type": "flaky", "config": {{"starts": {starts}}}}}"#);
        self.scene.dir.write(file, text);
        &self.scene
    }

    fn states(&self) -> String {
        let status = self.host.status();
        let words = status.iter().map(|status| format!("{}:{}", status.name, status.state));
        words.collect::<Vec<_>>().join(" ")
    }
}

#[test]
fn crt_26_a_host_runs_what_a_folder_says() {
    let hosted = Hosted::new();
    let scene = &hosted.scene;
    scene.part("a.json", "a", r#""v": 1"#).start();
    assert_eq!((scene.log(), scene.told()), ("build a 1, start a 1".into(), "deployed a".into()));
    scene.part("a.json", "a", r#""v": 2"#).scan();
    assert_eq!((scene.log(), scene.told()), ("build a 2, stop a 1, start a 2".into(), "replaced a".into()));

    scene.dir.write("a.json", r#"{"name": "a", "type": "#);
    scene.scan();
    assert_eq!((scene.log(), hosted.states()), (String::new(), "a:ready".into()));
    assert!(scene.told().starts_with("rejected "));
    scene.part("a.json", "a", r#""v": 2, "fail": "no port""#).scan();
    assert_eq!((scene.log(), hosted.states()), ("build a 2".into(), "a:ready".into()));
    assert!(scene.told().starts_with("rejected a of a.json, again in 5.0s: no port"));

    scene.rename("a.json", "b.json");
    scene.part("b.json", "a", r#""v": 2"#).scan();
    assert_eq!((scene.log(), scene.told()), (String::new(), String::new()));
    scene.remove("b.json");
    scene.scan();
    assert_eq!((scene.log(), scene.told()), ("stop a 2".into(), "undeployed a".into()));
    assert_eq!(hosted.states(), "");
    assert!(hosted.host.stop(PATIENCE).is_clean());
}

#[test]
fn crt_26_a_host_goes_back_to_what_ran() {
    let hosted = Hosted::new();
    let scene = &hosted.scene;
    hosted.flaky("b.json", "b", 0);
    scene.part("a.json", "a", r#""v": 1"#).start();
    assert_eq!(hosted.states(), "a:ready", "nothing is left of what does not start");
    let told = "rejected b of b.json, again in 5.0s: b: start: worn out";
    assert!(scene.told().contains(told), "{}", scene.told());
    scene.remove("b.json");
    scene.log();

    hosted.flaky("a.json", "a", 0).scan();
    assert_eq!(scene.told(), "rolled back a, which is back; the new one again in 5.0s: a: replace: worn out");
    assert_eq!(
        (scene.log(), hosted.states()),
        ("stop a 1, stop a flaky, start a 1".into(), "a:ready".into())
    );

    hosted.flaky("a.json", "a", 1).scan();
    assert_eq!(scene.told(), "replaced a");
    // What ran cannot be started a second time.
    hosted.flaky("a.json", "a", 0).scan();
    assert_eq!(
        scene.told(),
        "rolled back a, which is not back yet; the new one again in 5.0s: a: replace: worn out"
    );
    scene.part("a.json", "a", r#""v": 3"#).scan();
    assert_eq!((scene.told(), hosted.states()), ("replaced a".into(), "a:ready".into()));
}

#[test]
fn an_edit_counts_whose_first_verdict_takes_longer_than_a_start() {
    let clock = ManualClock::default();
    let env = Env::manual(&clock).unwrap();
    let host = Host::new(HostConfig::default().env(&env)).unwrap();
    host.start().unwrap();
    let (log, target) = (Log::default(), Double::new(&env));
    let scene = Scene::on(clock, &env, shipped::registry(), log, target, Arc::new(host.handle()));
    let text = |grace: &str| {
        format!(
            r#"{{"name": "w", "type": "watcher", "config": {{"probe": {{"heartbeat": {{"grace": "{grace}"}}}}}}}}"#
        )
    };
    scene.dir.write("w.json", text("10m"));
    scene.start();
    assert_eq!(scene.told(), "deployed w");
    scene.dir.write("w.json", text("11m"));
    scene.scan();
    assert_eq!(scene.told(), "", "its time is not over");
    scene.clock.run_for(secs(30));
    assert_eq!((scene.told(), scene.state()), ("replaced w".into(), Health::Ready));
    scene.clock.run_for(secs(120));
    assert_eq!(scene.told(), "");
    assert!(!host.component("w").unwrap().up);
    scene.clock.run_for(secs(9 * 60));
    assert!(host.component("w").unwrap().up, "by its new settings");
}

#[test]
fn a_file_that_returns_after_a_stop_that_failed_is_run_again() {
    let hosted = Hosted::new();
    let scene = &hosted.scene;
    let text = r#"{"name": "x", "type": "ill", "config": {"stop": "Io"}}"#;
    scene.dir.write("x.json", text);
    scene.start();
    scene.remove("x.json");
    scene.scan();
    assert_eq!(hosted.states(), "x:failed");
    assert_eq!(scene.told(), "deployed x; could not undeploy x, again in 5.0s: x: stop: ill");
    scene.dir.write("x.json", text);
    scene.scan();
    assert_eq!((scene.told(), hosted.states()), ("replaced x".into(), "x:ready".into()));
    assert_eq!(
        (scene.log(), scene.state()),
        ("start x ill, stop x ill, stop x ill, start x ill".into(), Health::Ready)
    );
}

#[test]
fn crt_26_a_host_waits_for_what_is_required() {
    let hosted = Hosted::new();
    let scene = &hosted.scene;
    let requires = |what: &str| {
        part("b", r#""v": 1"#).replace("\"config\"", &format!("\"requires\": [{what}], \"config\""))
    };
    scene.dir.write("b.json", requires("\"a\""));
    scene.start();
    assert_eq!((scene.log(), hosted.states()), ("build b 1".into(), String::new()));
    let told = scene.told();
    assert!(told.contains("again in") && told.contains("b requires a, which is not registered"), "{told}");
    scene.part("a.json", "a", r#""v": 1"#).scan();
    // Told of first may be the one that waits.
    let told = scene.told();
    assert!(told.contains("deployed a") && told.contains("deployed b"), "{told}");
    assert_eq!(hosted.states(), "a:ready b:ready");
    scene.dir.write("b.json", requires(r#"{"name": "a", "on_down": "stop", "timeout": "1m"}"#));
    scene.scan();
    assert_eq!(scene.told(), "replaced b");
    scene.log();
    scene.remove("a.json");
    scene.scan();
    assert_eq!(scene.log(), "stop b 1, stop a 1");
    assert_eq!((scene.told(), hosted.states()), ("undeployed a".into(), "b:waiting".into()));
    let loops = hosted.host.loops();
    let shown: Vec<_> = loops.iter().map(|status| format!("{} {}", status.kind, status.name)).collect();
    assert_eq!(shown, ["component b", "deployer deployer"]);
    scene.clock.run_for(secs(60));
    let b = hosted.host.component("b").unwrap();
    assert_eq!(b.last_error.unwrap().to_string(), "waited 1m0s for a");
}

#[test]
fn crt_26_what_a_host_has_no_time_for_is_no_failure() {
    let hosted = Hosted::new();
    let scene = &hosted.scene;
    scene.part("a.json", "a", r#""v": 1"#).start();
    scene.told();
    drop(hosted.host);
    scene.part("a.json", "a", r#""v": 2"#).part("b.json", "b", r#""v": 1"#).scan();
    assert_eq!(
        (scene.told(), scene.log()),
        (String::new(), "build a 1, start a 1, stop a 1, build a 2, build b 1".into())
    );
}

/// A descriptor of a part that requires others.
fn requires(name: &str, version: u32, others: &str) -> String {
    part(name, &format!("\"v\": {version}"))
        .replace("\"config\"", &format!("\"requires\": [{others}], \"config\""))
}

#[test]
fn what_a_component_says_of_its_own_failure_is_not_taken_for_the_hosts() {
    for kind in [ErrorKind::NotFound, ErrorKind::InvalidState, ErrorKind::Cancelled] {
        let hosted = Hosted::new();
        let scene = &hosted.scene;
        let text = r#"{"name": "a", "type": "ill", "config": {"start": "KIND"}}"#;
        scene.dir.write("a.json", text.replace("KIND", &format!("{kind:?}")));
        scene.start();
        scene.clock.run_for(secs(600));
        let told = scene.told();
        assert!(
            told.ends_with("rejected a of a.json, not again until it changes: a: start: ill"),
            "{kind:?}: {told}"
        );
        // One that does not stop has not stopped.
        let text = r#"{"name": "a", "type": "ill", "config": {"stop": "KIND"}}"#;
        scene.dir.write("a.json", text.replace("KIND", &format!("{kind:?}")));
        scene.scan();
        scene.remove("a.json");
        scene.scan();
        let told = scene.told();
        assert!(told.starts_with("deployed a; could not undeploy a"), "{kind:?}: {told}");
    }
}

#[test]
fn what_is_required_is_waited_for_no_longer_than_it_takes() {
    let hosted = Hosted::new();
    let scene = &hosted.scene;
    scene.dir.write("b.json", requires("b", 1, "\"a\""));
    scene.start();
    // Tried ever more seldom, once a minute by now.
    scene.clock.run_for(secs(300));
    scene.told();
    scene.part("a.json", "a", r#""v": 1"#).scan();
    assert_eq!((scene.told(), hosted.states()), ("deployed a; deployed b".into(), "a:ready b:ready".into()));
}

#[test]
fn a_circle_of_new_files_is_told_and_ends_with_one_of_them() {
    let hosted = Hosted::new();
    let scene = &hosted.scene;
    scene.dir.write("a.json", requires("a", 1, "\"b\""));
    scene.dir.write("b.json", requires("b", 1, "\"c\", \"a\""));
    scene.dir.write("c.json", requires("c", 1, ""));
    scene.start();
    let told = scene.told();
    let circle = "requires[0]: components require each other in a circle: a -> b -> a";
    assert!(
        told.contains(&format!("rejected a of a.json, not again until it changes: a.json:1:44: {circle}")),
        "{told}"
    );
    assert!(
        told.contains("rejected b of b.json, not again until it changes: b.json:1:49: requires[1]"),
        "{told}"
    );
    assert_eq!((scene.log(), hosted.states()), ("build c 1, start c 1".into(), "c:ready".into()));
    scene.dir.write("a.json", requires("a", 2, ""));
    scene.scan();
    assert_eq!(hosted.states(), "c:ready a:ready b:ready");
}

#[test]
fn who_requires_whom_may_be_turned_round_in_one_go() {
    let hosted = Hosted::new();
    let scene = &hosted.scene;
    scene.dir.write("a.json", requires("a", 1, ""));
    scene.dir.write("b.json", requires("b", 1, "\"a\""));
    scene.start();
    scene.told();
    scene.dir.write("a.json", requires("a", 2, "\"b\""));
    scene.dir.write("b.json", requires("b", 2, ""));
    scene.scan();
    // The one that is required is another before the other one asks for it.
    let told = scene.told();
    assert!(told.ends_with("replaced b; replaced a"), "{told}");
    assert_eq!(hosted.states(), "b:ready a:ready");
    // Where only one is turned, it is the one that is refused, until the
    // other is, too.
    scene.dir.write("b.json", requires("b", 3, "\"a\""));
    scene.clock.run_for(secs(600));
    let told = scene.told();
    assert!(told.ends_with("components require each other in a circle: a -> b -> a"), "{told}");
    scene.dir.write("a.json", requires("a", 3, ""));
    scene.scan();
    assert_eq!(scene.told(), "replaced a; replaced b");
}

#[test]
fn what_goes_together_goes_in_reverse() {
    let hosted = Hosted::new();
    let scene = &hosted.scene;
    scene.dir.write("a.json", requires("a", 1, ""));
    scene.dir.write("b.json", requires("b", 1, "\"a\""));
    scene.dir.write("c.json", requires("c", 1, "\"b\""));
    scene.start();
    scene.log();
    scene.remove("a.json");
    scene.remove("c.json");
    scene
        .dir
        .write("b.json", requires("b", 1, "\"a\"").replace("\"config\"", "\"enabled\": false, \"config\""));
    scene.scan();
    assert_eq!(scene.log(), "stop c 1, stop b 1, stop a 1");
}

#[test]
fn a_name_that_is_taken_elsewhere_is_waited_for() {
    let hosted = Hosted::new();
    let scene = &hosted.scene;
    let mine = Part { label: "mine".to_owned(), log: scene.log.clone() };
    hosted.host.deploy(ComponentConfig::new("a", mine)).unwrap();
    scene.part("a.json", "a", r#""v": 1"#).start();
    scene.clock.run_for(secs(600));
    let told = scene.told();
    assert!(told.ends_with("again in 60.0s: a: a component of this name is there"), "{told}");
    assert!(hosted.host.undeploy("a", PATIENCE).unwrap().is_clean());
    scene.clock.run_for(secs(60));
    assert_eq!(scene.told(), "deployed a");
}

// What must not come back.

#[test]
fn wrt_09_a_failed_replacement_is_rolled_back_and_tried_within_bounds() {
    let scene = Scene::new();
    scene.part("a.json", "a", r#""v": 1"#).start();
    scene.log();
    scene.told();
    scene.target.fails("a", (0..9).map(|_| rolled_back("no port")));
    scene.part("a.json", "a", r#""v": 2"#).scan();
    assert_eq!(scene.told(), "rolled back a, which is back; the new one again in 5.0s: no port");
    assert_eq!((scene.log(), scene.state()), ("build a 2".into(), Health::Degraded));
    scene.scan();
    assert_eq!(scene.told(), "rolled back a, which is back; the new one again in 10.0s: no port");
    scene.scan();
    assert_eq!(scene.told(), "", "not yet");
    scene.scan();
    assert_eq!(scene.told(), "rolled back a, which is back; the new one not again until it changes: no port");
    scene.log();
    scene.clock.run_for(secs(600));
    assert_eq!(
        (scene.told(), scene.log(), scene.target.running()),
        (String::new(), String::new(), "a".into())
    );
    let board = scene.deployer.board();
    assert_eq!(board.rejected.len(), 1);
    assert_eq!(board.rejected[0].error.to_string(), "no port");
    // Another content is another matter; so is the same, put back.
    scene.part("a.json", "a", r#""v": 3"#).scan();
    assert_eq!(scene.log(), "build a 3");
    scene.target.fails("a", []);
    scene.part("a.json", "a", r#""v": 4"#).scan();
    assert_eq!(scene.log(), "build a 4, stop a 1, start a 4");
    assert_eq!((scene.state(), scene.deployer.board().rejected.len()), (Health::Ready, 0));
}

#[test]
fn wrt_09_what_cannot_help_is_tried_once() {
    let scene = Scene::new();
    scene.part("a.json", "a", r#""v": 1, "fail": "terminal""#).start();
    assert_eq!(scene.told(), "rejected a of a.json, not again until it changes: never");
    scene.target.fails("b", [Outcome::Failed(Error::new(ErrorKind::Config).context("bad"))]);
    scene.part("b.json", "b", r#""v": 1"#).scan();
    assert_eq!(scene.told(), "rejected b of b.json, not again until it changes: bad");
    assert_eq!(scene.log(), "build a 1, build b 1");
    scene.clock.run_for(secs(60));
    assert_eq!(scene.log(), "");
    scene.remove("b.json");
    scene.scan();
    scene.part("b.json", "b", r#""v": 1"#).scan();
    assert_eq!((scene.log(), scene.told()), ("build b 1, start b 1".into(), "deployed b".into()));
}

#[test]
fn wrt_09_a_passing_failure_ends_well() {
    let scene = Scene::new();
    scene.target.fails("a", [failed("not yet"), failed("not yet")]);
    scene.part("a.json", "a", r#""v": 1"#).start();
    scene.clock.run_for(secs(15));
    assert_eq!(
        scene.told(),
        "rejected a of a.json, again in 5.0s: not yet; rejected a of a.json, again in 10.0s: not yet; deployed a"
    );
    assert_eq!(scene.state(), Health::Ready);
}

#[test]
fn what_requires_something_that_is_not_there_is_tried_until_it_is() {
    let scene = Scene::new();
    let missing =
        || Outcome::Failed(Error::new(ErrorKind::NotFound).context("a requires b, which is not registered"));
    scene.target.fails("a", (0..6).map(|_| missing()));
    scene.part("a.json", "a", r#""v": 1"#).start();
    scene.clock.run_for(secs(600));
    assert!(scene.told().ends_with("again in 60.0s: a requires b, which is not registered; deployed a"));
}

#[test]
fn an_edit_that_is_wrong_is_not_tried_again_as_what_failed_before_is() {
    let scene = Scene::new();
    let missing = Error::new(ErrorKind::NotFound).context("a requires b, which is not registered");
    scene.target.fails("a", [Outcome::Failed(missing)]);
    scene.part("a.json", "a", r#""v": 1"#).start();
    let rejected = || scene.deployer.rejected().remove(0);
    assert!(rejected().retry_at.is_some() && rejected().error.contains("requires b"));
    scene.part("a.json", "a", r#""w": 1"#);
    scene.deployer.rescan();
    scene.clock.settle();
    assert!(rejected().error.contains("unknown field"), "{:?}", rejected());
    assert_eq!(rejected().retry_at, None);
    scene.scan();
    assert_eq!(rejected().retry_at, None);
    // Right again, it is tried.
    scene.part("a.json", "a", r#""v": 2"#).scan();
    assert_eq!((scene.deployer.rejected(), scene.target.running()), (Vec::new(), "a".to_owned()));
}

#[test]
fn of_what_is_tried_again_it_is_not_told_that_it_failed() {
    let scene = Scene::new();
    scene.part("a.json", "a", r#""v": 1"#).start();
    scene.target.fails("a", [rolled_back("no port"), rolled_back("no port")]);
    scene.part("a.json", "a", r#""v": 2"#).scan();
    assert_eq!((scene.deployer.rejected().len(), scene.state()), (1, Health::Degraded));
    scene.target.hold();
    for _ in 0..3 {
        scene.scan();
        assert_eq!((scene.deployer.rejected(), scene.state()), (Vec::new(), Health::Ready));
    }
    scene.target.release();
    scene.clock.settle();
    assert_eq!((scene.deployer.rejected().len(), scene.state()), (1, Health::Degraded));
    scene.told();
}

#[test]
fn who_is_rejected_goes_by_the_name_in_the_file() {
    let scene = Scene::new();
    scene.part("a-mqtt.json", "mqtt", r#""v": 1"#).part("b.json", "b", r#""v": 1"#).start();
    for (file, text) in [
        ("10-db.json", part("db", r#""w": 1"#)),
        ("mqtt.json", part("other", r#""w": 1"#)),
        ("taken.json", part("mqtt", r#""v": 2"#)),
        ("b.json", "{".to_owned()),
        ("c.json", "{".to_owned()),
    ] {
        scene.dir.write(file, text);
    }
    scene.target.fails("e", [failed("no port")]);
    scene.part("d.json", "e", r#""v": 1"#).scan();
    let rejected = scene.deployer.rejected();
    let found: Vec<_> = rejected
        .iter()
        .map(|it| (short(scene.dir.path(), &it.file), it.name.as_ref().map_or("", Name::as_str), it.runs))
        .collect();
    let expected = [
        ("10-db.json", "db", false),
        ("b.json", "b", true),
        ("c.json", "c", false),
        ("d.json", "e", false),
        ("mqtt.json", "other", false),
        ("taken.json", "mqtt", false),
    ];
    assert_eq!(found, expected.map(|(file, name, runs)| (file.to_owned(), name, runs)));
}

#[test]
fn wrt_10_renames_and_moves_disturb_nothing() {
    let scene = Scene::new();
    scene.part("a.json", "a", r#""v": 1"#).part("b.json", "b", r#""v": 1"#).start();
    scene.log();
    scene.told();
    scene.rename("a.json", "z.json");
    scene.scan();
    // Swapped between files.
    scene.part("z.json", "b", r#""v": 1"#).part("b.json", "a", r#""v": 1"#).scan();
    // Space, order of keys.
    scene.dir.write("b.json", "{\"config\": {\"v\":   1},\n\"type\": \"part\", \"name\": \"a\"}");
    scene.scan();
    assert_eq!((scene.log(), scene.told()), (String::new(), String::new()));
    let board = scene.deployer.board();
    assert_eq!(board.running[&name("a")], scene.dir.path().join("b.json"));
    // Renamed and changed at once: one replacement.
    scene.remove("b.json");
    scene.part("c.json", "a", r#""v": 2"#).scan();
    assert_eq!((scene.log(), scene.told()), ("build a 2, stop a 1, start a 2".into(), "replaced a".into()));
}

#[test]
fn wrt_11_the_name_is_the_descriptors() {
    let clock = ManualClock::default();
    let env = Env::manual(&clock).unwrap();
    let mut registry = Registry::new();
    registry
        .register("stubborn", |_, o| {
            o.done()?;
            Some(|env: &Env| Ok(Watcher::new(env, WatcherConfig::new("mine", |_: &Context| Ok(())))?))
        })
        .unwrap();
    let scene = Scene::with(clock, &env, registry, Log::default(), Double::new(&env));
    scene.dir.write("a.json", r#"{"name": "a", "type": "stubborn", "config": {}}"#);
    scene.start();
    assert_eq!(scene.target.running(), "a");
    scene.remove("a.json");
    scene.scan();
    assert_eq!((scene.target.running(), scene.told()), (String::new(), "deployed a; undeployed a".into()));
}

#[test]
fn wrt_12_the_loser_of_a_name_is_told_once_and_never_built() {
    let scene = Scene::new();
    scene.part("a.json", "x", r#""v": 1"#).part("b.json", "x", r#""v": 2"#).start();
    assert_eq!(scene.log(), "build x 1, start x 1");
    assert_eq!(
        scene.told(),
        "rejected x of b.json, not again until it changes: b.json:1:10: name: x is taken, first at a.json:1:10; \
         deployed x"
    );
    scene.clock.run_for(secs(60));
    assert_eq!((scene.log(), scene.told()), (String::new(), String::new()));
    scene.remove("a.json");
    scene.scan();
    assert_eq!((scene.log(), scene.told()), ("build x 2, stop x 1, start x 2".into(), "replaced x".into()));
}

#[test]
fn wrt_13_one_bad_entry_never_stops_the_others() {
    let scene = Scene::new();
    let path = |file: &str| scene.dir.path().join(file);
    scene.part("good.json", "good", r#""v": 1"#).part("gone.json", "gone", r#""v": 1"#);
    scene.part("half.json", "half", r#""v": 1"#).start();
    scene.told();
    scene.log();
    assert!(Command::new("mkfifo").arg(path("fifo.json")).status().unwrap().success());
    symlink("nowhere", path("dangling.json")).unwrap();
    fs::create_dir(path("folder.json")).unwrap();
    symlink(path("folder.json"), path("link.json")).unwrap();
    scene.dir.write("big.json", vec![b' '; (1 << 20) + 1]);
    scene.dir.write("bytes.json", b"{\"name\": \"\xff\"}");
    scene.dir.write("deep.json", "[".repeat(100_000));
    scene.dir.write("empty.json", "");
    scene.dir.write("twice.json", r#"{"name": "t", "name": "t"}"#);
    scene.dir.write("half.json", r#"{"name": "half", "ty"#);
    scene.dir.write(".hidden.json", "x");
    scene.dir.write("note.txt", "x");
    // Seen twice, before it is believed that it is gone.
    scene.remove("gone.json");
    scene.part("good.json", "good", r#""v": 2"#).part("new.json", "new", r#""v": 1"#).scan().scan();
    assert_eq!(scene.log(), "build good 2, stop good 1, start good 2, build new 1, start new 1, stop gone 1");
    assert_eq!(scene.target.running(), "good half new");
    let mut told: Vec<String> = scene.told().split("; ").map(str::to_owned).collect();
    told.sort();
    let rejected = |text: &str| {
        let (file, error) = text.split_once(": ").unwrap();
        format!("rejected {file}, not again until it changes: {error}")
    };
    let nested = told.iter().find(|line| line.contains("deep.json")).cloned().unwrap();
    assert_eq!(
        told,
        [
            rejected("big.json: big.json: is larger than 1024 KiB"),
            rejected("bytes.json: bytes.json:1:11: is not UTF-8 text: found byte 0xff"),
            rejected("dangling.json: dangling.json: cannot be read: No such file or directory (os error 2)"),
            nested,
            rejected("empty.json: empty.json:1:1: is empty"),
            rejected("fifo.json: fifo.json: is not a regular file"),
            rejected("half.json: half.json:1:20: EOF while parsing a string"),
            rejected("twice.json: twice.json:1:15: name: stands twice, first at twice.json:1:2"),
            "deployed new".to_owned(),
            "replaced good".to_owned(),
            "undeployed gone".to_owned(),
        ]
        .into_iter()
        .collect::<std::collections::BTreeSet<_>>()
        .into_iter()
        .collect::<Vec<_>>()
    );
    scene.part("half.json", "half", r#""v": 1"#).scan();
    assert_eq!((scene.log(), scene.told()), (String::new(), String::new()), "whole again, and the same");
}

#[test]
fn a_missing_folder_is_an_error_and_changes_nothing() {
    let scene = Scene::new();
    scene.part("a.json", "a", r#""v": 1"#).start();
    scene.told();
    let (here, away) = (scene.dir.path().to_owned(), scene.dir.path().with_extension("away"));
    fs::rename(&here, &away).unwrap();
    scene.scan().scan();
    let told = scene.told();
    assert!(told.starts_with("down: ") && told.ends_with("No such file or directory (os error 2)"), "{told}");
    assert_eq!((scene.state(), scene.deployer.status().consecutive_failures), (Health::Down, 2));
    assert_eq!(scene.target.running(), "a");
    fs::rename(&away, &here).unwrap();
    scene.scan();
    assert_eq!((scene.state(), scene.told()), (Health::Ready, String::new()));
    assert_eq!(scene.log(), "build a 1, start a 1");
}

#[test]
fn wrt_14_descriptors_are_strict_and_enabled_unless_they_say_no() {
    let registry = registry(&Log::default());
    let parse = |text: &str| Descriptor::parse("f", text.as_bytes(), &registry);
    let found = parse(
        r#"{"name": "a", "type": "part", "config": {"v": 1},
            "requires": ["b", {"name": "c", "on_down": "stop", "timeout": "30s"}]}"#,
    )
    .unwrap();
    assert!(found.enabled);
    let requires: Vec<_> = found.requires.iter().map(|r| (r.name.as_str(), r.on_down, r.timeout)).collect();
    assert_eq!(requires, [("b", OnDown::Keep, None), ("c", OnDown::Stop, Some(secs(30)))]);
    let faults = parse(
        r#"{"nmae": "a", "name": "a", "type": "part", "enabled": "no", "config": {"v": 1, "w": 1},
"requires": ["a b", 1, {"name": "c", "on_down": "explode", "timeout": 0, "x": 1}, {}]}"#,
    );
    assert_eq!(
        faults.unwrap_err().to_string(),
        r#"f:1:2: unknown field "nmae", did you mean "name"?
f:1:55: enabled: expected true or false, found the string "no"
f:1:80: config: unknown field "w", expected "v" or "fail"
f:2:14: requires[0]: letters, digits, '.', '_' and '-' only, found ' ' at byte 1
f:2:21: requires[1]: expected a string or an object, found the number 1
f:2:49: requires[2].on_down: expected "stop" or "keep", found the string "explode"
f:2:71: requires[2].timeout: must be more than zero, found the number 0
f:2:74: requires[2]: unknown field "x", expected "name", "on_down" or "timeout"
f:2:83: requires[3].name: is missing, expected a string"#
    );
    for (requires, expected) in
        [(r#"["a"]"#, "a cannot require itself"), (r#"["b", {"name": "b"}]"#, "b stands twice")]
    {
        let text =
            format!(r#"{{"name": "a", "type": "part", "requires": {requires}, "config": {{"v": 1}}}}"#);
        assert!(parse(&text).unwrap_err().to_string().ends_with(expected));
    }
}

#[test]
fn wrt_15_scans_never_overlap_and_the_last_content_wins() {
    let scene = Scene::new();
    scene.start();
    for version in 1..=20 {
        scene.part("a.json", "a", &format!(r#""v": {version}"#));
        // Asked for by many at once.
        for asker in [(); 4].map(|()| scene.deployer.clone()) {
            asker.rescan();
        }
    }
    scene.clock.settle();
    assert!(scene.log().ends_with("start a 20"));
}

#[test]
fn wrt_16_an_undeploy_that_failed_is_tried_again() {
    let scene = Scene::new();
    scene.part("a.json", "a", r#""v": 1"#).start();
    scene.told();
    scene.target.fails("a", [failed("it hangs"), failed("it hangs")]);
    scene.remove("a.json");
    scene.scan();
    assert_eq!(scene.told(), "could not undeploy a, again in 5.0s: it hangs");
    assert!(scene.deployer.board().running.contains_key(&name("a")));
    scene.clock.run_for(secs(5));
    assert_eq!(scene.told(), "could not undeploy a, again in 10.0s: it hangs");
    scene.clock.run_for(secs(10));
    assert_eq!((scene.told(), scene.target.running()), ("undeployed a".into(), String::new()));
    // Somebody else has taken it away already.
    scene.part("b.json", "b", r#""v": 1"#).scan();
    scene.target.fails("b", [Outcome::Failed(Error::new(ErrorKind::NotFound))]);
    scene.remove("b.json");
    scene.scan();
    assert_eq!(scene.told(), "deployed b; undeployed b");
}

#[test]
fn wrt_17_bad_intervals_second_starts_and_what_outlives_a_stop() {
    let env = Env::new().unwrap();
    let make = |config| Deployer::new(&env, config, Registry::new(), Arc::new(Double::new(&env)));
    for config in [
        DeployerConfig::new("x").scan_interval(Duration::ZERO),
        DeployerConfig::new("x").scan_timeout(Duration::ZERO),
        DeployerConfig::new("x").retry_delay(Duration::ZERO),
        DeployerConfig::new("x").name("a b"),
    ] {
        assert_eq!(make(config).unwrap_err().kind(), ErrorKind::InvalidArgument);
    }
    let scene = Scene::new();
    scene.part("a.json", "a", r#""v": 1"#).start();
    assert_eq!(scene.deployer.start().unwrap_err().kind(), ErrorKind::InvalidState);
    assert!(scene.deployer.stop(PATIENCE).is_clean());
    assert_eq!((scene.target.running(), scene.state()), ("a".into(), Health::Unknown));
    scene.remove("a.json");
    scene.part("b.json", "b", r#""v": 1"#);
    scene.deployer.rescan();
    scene.scan();
    assert_eq!(scene.target.running(), "a", "nothing begins after a stop");
    scene.start();
    assert_eq!(scene.target.running(), "b");
    assert_eq!(scene.log(), "build a 1, start a 1, stop a 1, build b 1, start b 1");
}

// What it promises beyond.

#[test]
fn a_plan_says_what_a_look_would_do_and_does_nothing() {
    let scene = Scene::new();
    let plan = || {
        let planned = scene.deployer.plan().unwrap();
        short(scene.dir.path(), &planned.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    };
    scene.part("a.json", "a", r#""v": 1"#).part("b.json", "b", r#""v": 1"#).part("c.json", "c", r#""v": 1"#);
    assert_eq!(plan(), "start a of a.json; start b of b.json; start c of c.json");
    assert_eq!((scene.log(), scene.told()), (String::new(), String::new()));
    scene.start();
    scene.log();
    scene.told();
    scene.remove("a.json");
    scene.part("b.json", "b", r#""v": 2"#).part("e.json", "e", r#""v": 1"#);
    scene.dir.write("c.json", "{");
    scene.dir.write("d.json", r#"{"name": "d", "type": "x"}"#);
    assert_eq!(
        plan(),
        "stop a; keep c; replace b by that of b.json; start e of e.json; \
         reject c.json: c.json:1:1: EOF while parsing an object; \
         reject d.json: d.json:1:23: type: unknown type \"x\", expected \"part\""
    );
    assert_eq!((scene.log(), scene.told()), (String::new(), String::new()));
    scene.target.hold();
    scene.scan();
    assert!(plan().starts_with("wait for a; keep c; wait for b; wait for e; reject"), "{}", plan());
    fs::remove_dir_all(scene.dir.path()).unwrap();
    assert_eq!(scene.deployer.plan().unwrap_err().kind(), ErrorKind::Io);
}

#[test]
fn a_slow_verdict_holds_up_neither_the_scan_nor_a_stop() {
    let scene = Scene::new();
    scene.target.hold();
    scene.part("a.json", "a", r#""v": 1"#).start();
    assert_eq!(scene.deployer.board().under_way, [name("a")]);
    // Its file changes meanwhile, and another comes: both are seen, and the
    // name that is under way is left alone until it is not.
    scene.part("a.json", "a", r#""v": 2"#).part("b.json", "b", r#""v": 1"#).scan().scan();
    assert_eq!(scene.log(), "build a 1, build b 1");
    scene.target.release();
    scene.clock.settle();
    assert_eq!(
        scene.log(),
        "start a 1, start b 1, build a 2, stop a 1, start a 2",
        "at once, not at the next scan"
    );
    scene.target.hold();
    scene.part("c.json", "c", r#""v": 1"#).scan();
    assert!(scene.deployer.stop(PATIENCE).is_clean());
    scene.target.release();
    scene.told();
    scene.deployer.start().unwrap();
    scene.clock.settle();
    assert_eq!(scene.deployer.board().running.len(), 3, "the answer is taken in after the restart");
}

#[test]
fn nothing_begins_after_a_stop_that_a_slow_factory_outlives() {
    let clock = ManualClock::default();
    let env = Env::manual(&clock).unwrap();
    let gate = loopkeeper::testing::Gate::default();
    let (log, theirs, time) = (Log::default(), gate.clone(), clock.clone());
    let mut registry = registry(&log);
    let parts = log.clone();
    let slow = move |_: &str, o: &mut Object<'_, '_>| {
        o.done()?;
        let (gate, time, log) = (theirs.clone(), time.clone(), parts.clone());
        Some(move |_: &Env| {
            gate.pass(&time);
            Ok(Part { label: "slow".to_owned(), log })
        })
    };
    registry.register("slow", slow).unwrap();
    let scene = Scene::with(clock, &env, registry, log, Double::new(&env));
    scene.dir.write("a.json", r#"{"name": "a", "type": "slow", "config": {}}"#);
    scene.start();
    assert_eq!(scene.deployer.stop(secs(0)).stragglers().len(), 1);
    scene.remove("a.json");
    gate.open();
    eventually("the factory to return", || scene.deployer.start().is_ok());
    scene.clock.settle();
    assert_eq!(scene.log(), "");
}

#[test]
fn a_start_looks_at_once_though_answers_wait() {
    let scene = Scene::new();
    scene.target.hold();
    scene.part("a.json", "a", r#""v": 1"#).start();
    assert!(scene.deployer.stop(PATIENCE).is_clean());
    scene.target.release();
    scene.part("b.json", "b", r#""v": 1"#).start();
    assert_eq!(scene.target.running(), "a b");
}

#[test]
fn a_stop_that_was_cancelled_is_no_failure() {
    let scene = Scene::new();
    scene.part("a.json", "a", r#""v": 1"#).start();
    scene.target.fails("a", [Outcome::Failed(Error::new(ErrorKind::Cancelled))]);
    scene.remove("a.json");
    scene.scan().scan();
    assert_eq!(scene.told(), "deployed a; undeployed a");
}

#[test]
fn an_answer_that_never_comes_is_a_failure() {
    let scene = Scene::new();
    scene.target.hold();
    scene.part("a.json", "a", r#""v": 1"#).start();
    scene.target.0.lock().unwrap().held.clear();
    scene.clock.settle();
    assert_eq!(scene.told(), "rejected a of a.json, again in 5.0s: a: nobody answered");
    let mut inner = scene.target.0.lock().unwrap();
    (inner.hold, inner.panics) = (false, true);
    drop(inner);
    scene.scan();
    assert_eq!(scene.told(), "rejected a of a.json, again in 10.0s: a: nobody answered");
}

#[test]
fn a_cancelled_operation_is_no_failure() {
    let scene = Scene::new();
    scene.target.fails("a", (0..5).map(|_| Outcome::Failed(Error::new(ErrorKind::Cancelled))));
    scene.part("a.json", "a", r#""v": 1"#).start();
    scene.clock.run_for(secs(25));
    assert_eq!(scene.told(), "deployed a");
    // Nor does it spin while another operation is under way.
    scene.log();
    scene.target.hold();
    scene.part("b.json", "b", r#""v": 1"#).part("c.json", "c", r#""v": 1"#).scan();
    scene.deployer.rescan();
    scene.clock.settle();
    let cancel = || {
        let (_, reply) = scene.target.0.lock().unwrap().held.remove(0);
        reply.tell(Outcome::Failed(Error::new(ErrorKind::Cancelled)));
        scene.clock.settle();
    };
    cancel();
    assert_eq!((scene.log(), scene.state()), ("build b 1, build c 1".into(), Health::Ready));
    scene.scan();
    assert_eq!(scene.log(), "build b 1");
}

#[test]
fn a_file_that_turns_into_another_component_leaves_the_old_one_until_that_runs() {
    let scene = Scene::new();
    scene.part("a.json", "x", r#""v": 1"#).start();
    scene.target.fails("y", [Outcome::Failed(Error::terminal("no"))]);
    scene.part("a.json", "y", r#""v": 1"#).scan().scan();
    assert_eq!(scene.target.running(), "x");
    scene.part("a.json", "y", r#""v": 2"#).scan();
    assert_eq!(scene.target.running(), "y");
    assert!(scene.told().ends_with("deployed y; undeployed x"));
}

#[test]
fn a_stuck_factory_is_told_and_what_came_of_it_is_not_lost() {
    let clock = ManualClock::default();
    let env = Env::manual(&clock).unwrap();
    let gate = loopkeeper::testing::Gate::default();
    let (log, theirs) = (Log::default(), gate.clone());
    let mut registry = registry(&log);
    let (parts, time) = (log.clone(), clock.clone());
    let stuck = move |_: &str, o: &mut Object<'_, '_>| {
        o.done()?;
        let (gate, time, log) = (theirs.clone(), time.clone(), parts.clone());
        Some(move |_: &Env| {
            gate.pass(&time);
            Ok(Part { label: "stuck".to_owned(), log })
        })
    };
    registry.register("stuck", stuck).unwrap();
    let scene = Scene::with(clock, &env, registry, log, Double::new(&env));
    scene.part("a.json", "a", r#""v": 1"#);
    scene.dir.write("b.json", r#"{"name": "b", "type": "stuck", "config": {}}"#);
    scene.start();
    scene.clock.run_for(secs(60));
    assert_eq!(scene.state(), Health::Down);
    gate.open();
    scene.clock.settle();
    scene.scan();
    assert_eq!((scene.target.running(), scene.state()), ("a b".into(), Health::Ready));
    let told = scene.told();
    assert!(told.contains("call timed out") && told.contains("deployed a; deployed b"), "{told}");
}

#[test]
fn a_file_that_is_renamed_all_the_time_disturbs_nothing() {
    // On real threads and real time: what is raced is the file system.
    let env = Env::new().unwrap();
    let (dir, log, target) = (TempDir::new("renames"), Log::default(), Double::new(&env));
    let config = DeployerConfig::new(dir.path()).scan_interval(Duration::from_micros(200));
    let deployer = Deployer::new(&env, config, registry(&log), Arc::new(target.clone())).unwrap();
    let events = deployer.subscribe();
    let paths = ["a.json", "z.json", "m.json"].map(|file| dir.path().join(file));
    dir.write("a.json", part("a", r#""v": 1"#));
    dir.write("k.json", part("k", r#""v": 1"#));
    deployer.start().unwrap();
    eventually("both run", || target.running() == "a k");
    let runs = deployer.status().runs;
    for round in 0..20_000 {
        fs::rename(&paths[round % 3], &paths[(round + 1) % 3]).unwrap();
    }
    eventually("it looks on", || deployer.status().runs > runs + 3);
    assert!(deployer.stop(PATIENCE).is_clean());
    assert_eq!(log.lock().unwrap().join(", "), "build a 1, start a 1, build k 1, start k 1");
    let told = std::iter::from_fn(|| events.try_recv()).map(|delivery| delivery.event.what.as_str());
    let told: Vec<_> = told.filter(|word| ["undeployed", "replaced", "deployed"].contains(word)).collect();
    assert_eq!(told, ["deployed", "deployed"]);
}

// What may not be read.

/// Runs a test with the rights of nobody in particular. Root may read
/// everything, so there it runs once more in a process of its own.
fn without_rights(name: &str, test: impl FnOnce()) {
    let made = TempDir::new("rights");
    if fs::metadata(made.path()).unwrap().uid() != 0 {
        test();
        return;
    }
    // By this name also where the folder of the program is closed to others.
    let mut child = Command::new("/proc/self/exe");
    child.args(["--exact", name, "--nocapture"]).uid(NOBODY).gid(NOBODY);
    let output = child.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

const NOBODY: u32 = 65_534;

fn allow(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn what_may_not_be_read_any_more_goes_on() {
    without_rights("what_may_not_be_read_any_more_goes_on", || {
        let scene = Scene::new();
        scene.part("a.json", "a", r#""v": 1"#).part("b.json", "b", r#""v": 1"#).start();
        assert_eq!(scene.told(), "deployed a; deployed b");
        let (folder, a) = (scene.dir.path(), scene.dir.path().join("a.json"));
        let denied = |file: &str| {
            format!(
                "rejected {file}, not again until it changes: {file}: cannot be read: Permission denied (os error 13)"
            )
        };
        // A file: it still stands in the listing.
        allow(&a, 0o000);
        scene.part("b.json", "b", r#""v": 2"#).part("c.json", "c", r#""v": 1"#).scan();
        assert_eq!(scene.told(), format!("{}; replaced b; deployed c", denied("a.json")));
        assert_eq!((scene.target.running(), scene.state()), ("a b c".into(), Health::Degraded));
        allow(&a, 0o600);
        scene.log();
        scene.scan();
        assert_eq!((scene.log(), scene.told(), scene.state()), (String::new(), String::new(), Health::Ready));

        // The folder: it is listed, and none of what stands in it can be read.
        allow(folder, 0o400);
        scene.scan();
        let all = ["a.json", "b.json", "c.json"].map(denied).join("; ");
        assert_eq!((scene.told(), scene.target.running()), (all, "a b c".into()));
        // It is not even listed.
        for mode in [0o100, 0o000] {
            allow(folder, mode);
            scene.scan();
        }
        let told = scene.told();
        assert!(told.starts_with("down: ") && told.ends_with("Permission denied (os error 13)"), "{told}");
        assert_eq!((scene.target.running(), scene.state()), ("a b c".into(), Health::Down));
        allow(folder, 0o700);
        scene.remove("c.json");
        scene.scan();
        assert_eq!((scene.log(), scene.told()), ("stop c 1".into(), "undeployed c".into()));
        assert_eq!(scene.state(), Health::Ready);
    });
}

#[test]
fn rights_that_come_and_go_while_it_looks_disturb_nothing() {
    without_rights("rights_that_come_and_go_while_it_looks_disturb_nothing", || {
        // On real threads and real time: what is raced is the file system.
        let env = Env::new().unwrap();
        let (dir, log, target) = (TempDir::new("rights"), Log::default(), Double::new(&env));
        let config = DeployerConfig::new(dir.path()).scan_interval(Duration::from_micros(200));
        let deployer = Deployer::new(&env, config, registry(&log), Arc::new(target.clone())).unwrap();
        let a = dir.write("a.json", part("a", r#""v": 1"#));
        dir.write("b.json", part("b", r#""v": 1"#));
        deployer.start().unwrap();
        eventually("both run", || target.running() == "a b");
        let runs = deployer.status().runs;
        for round in 0..3_000 {
            let (path, open) = if round % 3 == 0 { (dir.path(), 0o700) } else { (&*a, 0o600) };
            allow(path, [0o000, 0o400, 0o100][round % 7 % 3]);
            allow(path, open);
        }
        eventually("it looks on", || deployer.status().runs > runs + 3);
        eventually("all is well", || deployer.status().health == Health::Ready);
        assert!(deployer.stop(PATIENCE).is_clean());
        assert_eq!(log.lock().unwrap().join(", "), "build a 1, start a 1, build b 1, start b 1");
    });
}

// What does not behave.

/// A component that hangs or panics where its file says.
struct Unruly {
    how: String,
    gate: loopkeeper::testing::Gate,
    clock: ManualClock,
    /// Empty from the second on: one that never stops is never replaced.
    first_stop: &'static str,
}

impl Unruly {
    fn act(&self, call: &str) {
        match self.how.split_once(' ') {
            Some(("hangs", place)) if place == call => self.gate.pass(&self.clock),
            Some(("panics", place)) if place == call => panic!("no {call}"),
            _ => {}
        }
    }
}

impl Component for Unruly {
    fn start(&mut self, _: &Context) -> Result<(), BoxError> {
        self.act("start");
        Ok(())
    }

    fn stop(&mut self, _: &Context) -> Result<(), BoxError> {
        let call = std::mem::take(&mut self.first_stop);
        self.act(call);
        Ok(())
    }
}

#[test]
fn what_hangs_or_panics_leaves_the_others_and_what_ran_before_alone() {
    for (how, expected) in [
        ("panics build", "again in 5.0s: panicked: no build"),
        (
            "panics start",
            "rolled back x, which is back; the new one again in 5.0s: x: replace: panicked: no start",
        ),
        ("hangs start", "rolled back x, which is back; the new one again in 5.0s: x: replace: "),
        ("panics stop", "replaced x"),
        ("hangs stop", "replaced x"),
    ] {
        let gate = loopkeeper::testing::Gate::default();
        let (clock, log) = (ManualClock::default(), Log::default());
        let env = Env::manual(&clock).unwrap();
        let host = Host::new(HostConfig::default().env(&env)).unwrap();
        host.start().unwrap();
        let mut registry = registry(&log);
        let (theirs, time) = (gate.clone(), clock.clone());
        let unruly = move |_: &str, o: &mut Object<'_, '_>| {
            let how = o.string("how").doc("What it does, and where.").required();
            let (how, gate, clock) = (how.take(o.done()?)?, theirs.clone(), time.clone());
            Some(move |_: &Env| {
                let unruly = Unruly { how, gate, clock, first_stop: "stop" };
                unruly.act("build");
                Ok(unruly)
            })
        };
        registry.register("unruly", unruly).unwrap();
        let target = Double::new(&env);
        let scene = Scene::on(clock, &env, registry, log, target, Arc::new(host.handle()));
        scene.part("x.json", "x", r#""v": 1"#).part("y.json", "y", r#""v": 1"#).start();
        scene.told();
        let text = format!(r#"{{"name": "x", "type": "unruly", "config": {{"how": "{how}"}}}}"#);
        scene.dir.write("x.json", text);
        scene.part("y.json", "y", r#""v": 2"#).part("z.json", "z", r#""v": 1"#).scan();
        let states = || {
            let status = host.status();
            let named = |name: &str| status.iter().rfind(|status| status.name.as_str() == name);
            ["y", "z"].map(|name| named(name).map(|status| status.state.to_string()).unwrap_or_default())
        };
        assert_eq!(states(), ["ready", "ready"], "{how}: the others go on");
        scene.clock.run_for(secs(31));
        let told = scene.told();
        assert!(told.contains(expected), "{how}: {told}");
        assert!(told.contains("replaced y") && told.contains("deployed z"), "{how}: {told}");
        // Away with it: one that does not stop is told and gives its name free.
        scene.remove("x.json");
        scene.clock.run_for(secs(120));
        scene.part("x.json", "x", r#""v": 3"#);
        scene.clock.run_for(secs(120));
        assert!(scene.log().ends_with("start x 3"), "{how}: {}", scene.told());
        assert_eq!(states(), ["ready", "ready"], "{how}: the others go on");
        gate.open();
        scene.clock.settle();
        assert!(scene.deployer.stop(PATIENCE).is_clean());
        let report = host.stop(PATIENCE);
        assert!(report.is_clean(), "{how}: {report}");
    }
}

#[test]
fn files_of_any_size_are_refused_without_being_read() {
    let scene = Scene::new();
    let mut text = part("big", r#""v": 1"#);
    text.push_str(&" ".repeat(10 << 20));
    scene.part("a.json", "a", r#""v": 1"#).dir.write("big.json", text);
    // A terabyte, as far as its length goes.
    fs::File::create(scene.dir.path().join("huge.json")).unwrap().set_len(1 << 40).unwrap();
    scene.start();
    let refused =
        |file: &str| format!("rejected {file}, not again until it changes: {file}: is larger than 1024 KiB");
    let told = [refused("big.json"), refused("huge.json"), "deployed a".to_owned()];
    assert_eq!(scene.told(), told.join("; "));
}

#[test]
fn a_folder_that_is_removed_and_made_anew_says_what_runs() {
    let scene = Scene::new();
    scene.part("a.json", "a", r#""v": 1"#).part("b.json", "b", r#""v": 1"#).start();
    fs::remove_dir_all(scene.dir.path()).unwrap();
    scene.scan().scan();
    assert_eq!((scene.target.running(), scene.state()), ("a b".into(), Health::Down));
    scene.log();
    scene.part("a.json", "a", r#""v": 2"#).scan();
    assert_eq!(scene.log(), "stop b 1, build a 2, stop a 1, start a 2");
    assert_eq!(scene.state(), Health::Ready);
}

// A folder read once.

#[test]
fn a_folder_is_read_in_the_order_of_its_files() {
    let dir = TempDir::new("descriptors");
    dir.write("b.json", part("first", r#""v": 1"#));
    dir.write("a.json", part("second", r#""v": 2"#));
    dir.write("c.json", part("third", r#""v": 3"#).replace("\"config\"", "\"enabled\": false, \"config\""));
    dir.write(".hidden.json", "x");
    dir.write("a.json~", "x");
    dir.write("folder.json/x.json", "x");
    let registry = registry(&Log::default());
    let found = load_folder(dir.path(), &registry).unwrap();
    let found: Vec<_> = found.iter().map(|found| (found.name.as_str(), found.enabled)).collect();
    assert_eq!(found, [("second", true), ("first", true), ("third", false)]);
    assert_eq!(load_folder(TempDir::new("descriptors").path(), &registry).unwrap().len(), 0);
    let missing = dir.path().join("missing");
    assert_eq!(
        load_folder(&missing, &registry).unwrap_err().to_string(),
        format!(
            "{}: cannot be read as the folder of descriptors: No such file or directory (os error 2)",
            missing.display()
        )
    );
}

#[test]
fn everything_that_is_wrong_with_any_file_is_told_at_once() {
    let dir = TempDir::new("descriptors");
    dir.write("a.json", "");
    dir.write("b.json", "{\"name\": \"b\", \"type\": \"par");
    dir.write("c.json", part("c", r#""v": 0"#));
    dir.write("d.json", part("d", r#""v": 1"#));
    dir.write("e.json", r#"{"name": "d", "type": "part", "config": {"v": 1}}"#);
    dir.write("f.json", r#"{"name": "../f", "type": "x", "enabled": 1}"#);
    dir.write("g.json", "[1]");
    symlink(dir.path().join("nowhere"), dir.path().join("h.json")).unwrap();
    dir.write("i.json", vec![b' '; (1 << 20) + 1]);
    let faults = load_folder(dir.path(), &registry(&Log::default())).unwrap_err().to_string();
    assert_eq!(
        short(dir.path(), &faults),
        r#"a.json:1:1: is empty
b.json:1:26: EOF while parsing a string
c.json:1:47: config.v: must be at least 1, found 0
e.json:1:10: name: d is taken, first at d.json:1:10
f.json:1:10: name: must begin with a letter or digit, found '.'
f.json:1:26: type: unknown type "x", expected "part"
f.json:1:42: enabled: expected true or false, found the number 1
g.json:1:1: expected an object, found a list
h.json: cannot be read: No such file or directory (os error 2)
i.json: is larger than 1024 KiB"#
    );
}

#[test]
fn what_files_require_of_each_other_is_looked_at_in_all_of_them() {
    let dir = TempDir::new("descriptors");
    dir.write("a.json", requires("api", 1, "\"databse\", {\"name\": \"cache\"}"));
    dir.write("b.json", requires("database", 1, "\n\"log\", \"mail\""));
    dir.write("c.json", requires("cache", 1, "").replace("\"config\"", "\"enabled\": false, \"config\""));
    dir.write("d.json", requires("log", 1, "\"database\""));
    dir.write(
        "e.json",
        requires("off", 1, "\"gone\"").replace("\"config\"", "\"enabled\": false, \"config\""),
    );
    let registry = registry(&Log::default());
    let descriptors = load_folder(dir.path(), &registry).unwrap();
    let faults = check_requirements(&descriptors).unwrap_err().to_string();
    assert_eq!(
        short(dir.path(), &faults),
        r#"a.json:1:46: requires[0]: no component is called "databse", did you mean "database"?
a.json:1:57: requires[1]: cache is disabled, in c.json:1:10
b.json:2:1: requires[0]: components require each other in a circle: database -> log -> database
b.json:2:8: requires[1]: no component is called "mail"
d.json:1:46: requires[0]: components require each other in a circle: database -> log -> database"#
    );
    dir.write("a.json", requires("api", 1, "\"database\""));
    dir.write("b.json", requires("database", 1, ""));
    assert!(check_requirements(&load_folder(dir.path(), &registry).unwrap()).is_ok());
}
