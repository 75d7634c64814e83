//! A deployer against a model of what it promises: random edits, renames,
//! failures, answers and scans, with a folder in memory and a target that
//! answers when it is told to.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::deployer::{DeployWork, DeployerConfig};
use super::fingerprint::Fingerprint;
use super::registry::Registry;
use super::scan::{Folder, Found, Listing, Sight};
use super::target::{Operation, Outcome, Reply, Target};
use crate::clock::ManualClock;
use crate::component::{Component, Context};
use crate::decode::Object;
use crate::env::Env;
use crate::error::{BoxError, Error, ErrorKind};
use crate::event::EventKind;
use crate::looper::Work;
use crate::primitive::Mutex;
use crate::tree::{Fault, Place};

/// What stands in a file.
#[derive(Debug, Clone, PartialEq)]
enum Text {
    Good {
        name: &'static str,
        version: u32,
        enabled: bool,
        builds: Builds,
    },
    /// Wrong, and its name can be told.
    Faulty(&'static str),
    Torn,
    Unreadable,
}

/// What comes of building what a file describes.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Builds {
    Well,
    Not,
    Panics,
}

impl Text {
    fn content(&self) -> Result<Vec<u8>, Fault> {
        let text = match self {
            Self::Good { name, version, enabled, builds } => format!(
                r#"{{"name": "{name}", "type": "t", "enabled": {enabled}, "config": {{"v": {version}, "builds": "{builds:?}"}}}}"#
            ),
            Self::Faulty(name) => format!(r#"{{"name": "{name}", "type": "t", "config": {{}}}}"#),
            Self::Torn => r#"{"name": "#.to_owned(),
            Self::Unreadable => {
                let message = "cannot be read".to_owned();
                return Err(Fault { place: Place::whole("f"), key: String::new(), message });
            }
        };
        Ok(text.into_bytes())
    }
}

#[derive(Debug, Clone)]
enum Action {
    Write(usize, Text),
    Remove(usize),
    Rename(usize, usize),
    /// The folder goes away, or comes back.
    Hide(bool),
    /// The next look falls into a change of the folder and misses a file.
    Miss(usize),
    /// Time passes, and it looks.
    Scan(u64),
    /// It looks again and again, for minutes.
    Idle,
    /// One of the operations under way ends.
    Answer(usize, Ending),
}

#[derive(Debug, Clone, Copy)]
enum Ending {
    Done,
    Failed,
    Terminal,
    RolledBack,
    RollingBack,
    Dropped,
    Cancelled,
    /// Something required is not there.
    Missing,
}

const FILES: [&str; 4] = ["a.json", "b.json", "c.json", "d.json"];
const NAMES: [&str; 3] = ["x", "y", "z"];

fn texts() -> impl Strategy<Value = Text> {
    let name = prop::sample::select(NAMES.as_slice());
    let builds = prop_oneof![8 => Just(Builds::Well), 1 => Just(Builds::Not), 1 => Just(Builds::Panics)];
    let good = (name.clone(), 1..4_u32, prop::bool::weighted(0.85), builds)
        .prop_map(|(name, version, enabled, builds)| Text::Good { name, version, enabled, builds });
    prop_oneof![8 => good, 1 => name.prop_map(Text::Faulty), 1 => Just(Text::Torn), 1 => Just(Text::Unreadable)]
}

fn actions() -> impl Strategy<Value = Action> {
    let file = 0..FILES.len();
    let ending = prop_oneof![
        6 => Just(Ending::Done),
        2 => Just(Ending::Failed),
        1 => Just(Ending::Terminal),
        2 => Just(Ending::RolledBack),
        1 => Just(Ending::RollingBack),
        1 => Just(Ending::Dropped),
        1 => Just(Ending::Cancelled),
        1 => Just(Ending::Missing),
    ];
    prop_oneof![
        4 => (file.clone(), texts()).prop_map(|(file, text)| Action::Write(file, text)),
        2 => file.clone().prop_map(Action::Remove),
        2 => (file.clone(), file.clone()).prop_map(|(from, to)| Action::Rename(from, to)),
        1 => file.prop_map(Action::Miss),
        1 => prop::bool::weighted(0.3).prop_map(Action::Hide),
        5 => prop::sample::select(&[0, 5, 5, 5, 60][..]).prop_map(Action::Scan),
        1 => Just(Action::Idle),
        6 => (0..3_usize, ending).prop_map(|(idx, ending)| Action::Answer(idx, ending)),
    ]
}

/// The world outside the deployer.
#[derive(Default)]
struct World {
    files: BTreeMap<&'static str, Text>,
    hidden: bool,
    /// The file that the next look misses.
    missed: Option<&'static str>,
    /// The file that the last look has missed.
    unseen: Option<&'static str>,
    /// The version that was built last, for the operation that follows.
    built: u32,
    /// How often each name was built since the folder changed, but for what
    /// failed through no fault of its content.
    builds: BTreeMap<String, u32>,
    running: BTreeMap<String, u32>,
    /// Those of them that were told to stop and may have.
    halted: BTreeSet<String>,
    /// The operation, its version and its file.
    under_way: Vec<(Operation, u32, &'static str, Reply)>,
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<World>>);

impl Folder for Shared {
    fn list(&mut self) -> Result<Listing, Fault> {
        let mut world = self.0.lock();
        if world.hidden {
            let message = "is not there".to_owned();
            return Err(Fault { place: Place::whole("."), key: String::new(), message });
        }
        // Of two files with one name the second would seem the first.
        let missed = world.missed.take().filter(|file| !has_twin(&world.files, file));
        world.unseen = missed;
        let files = world.files.iter().filter(|(path, _)| Some(**path) != missed);
        let found = files.map(|(path, text)| Found { path: PathBuf::from(path), content: text.content() });
        Ok(Listing { found: found.collect(), is_whole: missed.is_none() })
    }

    fn look(&mut self) -> Option<Sight> {
        let mut world = self.0.lock();
        // What is missed is missed by the listing that follows.
        if world.hidden || world.missed.is_some() {
            return None;
        }
        world.unseen = None;
        Sight::of(world.files.iter().rev().map(|(path, text)| {
            let content = text.content().ok();
            (Path::new(path), content.map(|bytes| Fingerprint::of(&bytes)))
        }))
    }
}

impl Target for Shared {
    fn begin(&self, operation: Operation, reply: Reply) {
        let mut world = self.0.lock();
        let (version, file) =
            (world.built, claimant(&world.files, &about(&operation)).map_or("", |(file, _)| file));
        world.under_way.push((operation, version, file, reply));
    }
}

struct Inert;

impl Component for Inert {
    fn start(&mut self, _: &Context) -> Result<(), BoxError> {
        Ok(())
    }

    fn stop(&mut self, _: &Context) -> Result<(), BoxError> {
        Ok(())
    }
}

fn registry(shared: &Shared) -> Registry {
    let (shared, mut registry) = (shared.clone(), Registry::new());
    let factory = move |name: &str, o: &mut Object<'_, '_>| {
        let version = o.u32("v").required();
        let builds = o.string("builds").required();
        let done = o.done()?;
        let (version, builds) = (version.take(done)?, builds.take(done)?);
        let (name, shared) = (name.to_owned(), shared.clone());
        Some(move |_: &Env| {
            let mut world = shared.0.lock();
            world.built = version;
            *world.builds.entry(name).or_default() += 1;
            drop(world);
            match &*builds {
                "Well" => Ok(Inert),
                "Panics" => std::panic::resume_unwind(Box::new("no")),
                _ => Err("no".into()),
            }
        })
    };
    registry.register("t", factory).unwrap();
    registry
}

fn about(operation: &Operation) -> String {
    match operation {
        Operation::Start(deployment) | Operation::Replace(deployment) => deployment.name.to_string(),
        Operation::Stop(name) => name.to_string(),
    }
}

struct Run {
    clock: ManualClock,
    cx: Context,
    shared: Shared,
    work: DeployWork,
    /// What the events say runs.
    told: BTreeSet<String>,
    /// The file where each component was last seen as it runs.
    sources: BTreeMap<String, &'static str>,
}

impl Run {
    fn new() -> Self {
        let clock = ManualClock::default();
        let env = Env::manual(&clock).unwrap();
        let cx = Context::detached(&env, "deployer".parse().unwrap(), Duration::MAX);
        let shared = Shared::default();
        let config = DeployerConfig::new(".");
        let target = Arc::new(shared.clone());
        let work = DeployWork::new(&config, registry(&shared), target, Box::new(shared.clone()));
        Self { clock, cx, shared, work, told: BTreeSet::new(), sources: BTreeMap::new() }
    }

    fn act(&mut self, action: &Action) {
        let mut world = self.shared.0.lock();
        match action {
            Action::Write(file, text) => _ = world.files.insert(FILES[*file], text.clone()),
            Action::Remove(file) => _ = world.files.remove(FILES[*file]),
            Action::Rename(from, to) => {
                if let Some(text) = world.files.remove(FILES[*from]) {
                    world.files.insert(FILES[*to], text);
                }
            }
            Action::Hide(hidden) => world.hidden = *hidden,
            Action::Miss(file) => world.missed = Some(FILES[*file]),
            Action::Scan(seconds) => {
                drop(world);
                self.clock.jump(Duration::from_secs(*seconds));
                self.turn();
                return;
            }
            Action::Idle => {
                drop(world);
                (0..6).for_each(|_| self.act(&Action::Scan(60)));
                return;
            }
            Action::Answer(idx, ending) => {
                if *idx < world.under_way.len() {
                    drop(world);
                    self.answer(*idx, *ending);
                    self.turn();
                }
                return;
            }
        }
        world.builds.clear();
    }

    /// Ends an operation, in the world and for the deployer.
    fn answer(&mut self, idx: usize, ending: Ending) {
        let mut world = self.shared.0.lock();
        let (operation, version, file, reply) = world.under_way.remove(idx);
        let name = about(&operation);
        let error = || Error::new(ErrorKind::Component).context("no");
        let outcome = match (ending, &operation) {
            (Ending::Done, Operation::Stop(_)) => {
                world.running.remove(&name);
                world.halted.remove(&name);
                Outcome::Done
            }
            (Ending::Done, _) => {
                world.halted.remove(&name);
                self.sources.insert(name.clone(), file);
                world.running.insert(name.clone(), version);
                Outcome::Done
            }
            (Ending::RolledBack, Operation::Replace(_)) => {
                world.halted.remove(&name);
                Outcome::RolledBack(error())
            }
            (Ending::RollingBack, Operation::Replace(_)) => Outcome::RollingBack(error()),
            (Ending::Cancelled, _) => Outcome::Failed(Error::new(ErrorKind::Cancelled)),
            (Ending::Missing, Operation::Start(_) | Operation::Replace(_)) => {
                Outcome::Failed(Error::new(ErrorKind::NotFound))
            }
            (Ending::Terminal, _) => Outcome::Failed(Error::terminal("never")),
            (Ending::Dropped, _) => {
                drop(world);
                drop(reply);
                return;
            }
            _ => Outcome::Failed(error()),
        };
        if matches!(ending, Ending::Cancelled | Ending::Missing) {
            if let Some(builds) = world.builds.get_mut(&name) {
                *builds = builds.saturating_sub(1);
            }
        }
        drop(world);
        reply.tell(outcome);
    }

    /// Lets it look for a while, each operation ends well.
    fn idle(&mut self) {
        for _ in 0..12 {
            self.act(&Action::Scan(60));
            while !self.shared.0.lock().under_way.is_empty() {
                self.act(&Action::Answer(0, Ending::Done));
            }
        }
    }

    /// One turn of the deployer, and everything that must hold after it.
    fn turn(&mut self) {
        let before: Vec<String> =
            self.shared.0.lock().under_way.iter().map(|(operation, ..)| about(operation)).collect();
        let report = self.work.call(&self.cx).unwrap();
        for event in std::mem::take(&mut *self.work.outbox.lock()) {
            match event {
                EventKind::Deployed { name } => assert!(self.told.insert(name.to_string()), "deployed twice"),
                EventKind::Replaced { name } => {
                    assert!(self.told.contains(name.as_str()), "replaced nothing")
                }
                EventKind::Undeployed { name } => assert!(self.told.remove(name.as_str())),
                _ => {}
            }
        }
        let mut world = self.shared.0.lock();
        let runs: BTreeSet<String> = world.running.keys().cloned().collect();
        assert_eq!(self.told, runs, "the events tell what runs");
        assert_eq!(
            report.scanned.as_ref().is_some_and(Result::is_err),
            world.hidden && report.scanned.is_some()
        );
        let names: BTreeSet<String> =
            world.under_way.iter().map(|(operation, ..)| about(operation)).collect();
        assert_eq!(names.len(), world.under_way.len(), "two operations for one name");
        for (name, builds) in &world.builds {
            assert!(*builds <= 3, "{name} was built {builds} times for one content");
        }
        if matches!(report.scanned, Some(Ok(()))) {
            for (name, version) in world.running.iter().filter(|(name, _)| !before.contains(*name)) {
                let claimant = claimant(&world.files, name);
                if let Some((file, Text::Good { version: found, builds: Builds::Well, enabled: true, .. })) =
                    claimant
                {
                    // A file that is wrong now holds what came of it, if it was
                    // seen: one that a look misses is not there.
                    let source = self.sources.get(name).filter(|source| **source < file);
                    let source = source.filter(|source| world.unseen != Some(**source));
                    let held = source.and_then(|source| world.files.get(source));
                    let is_seen = world.unseen != Some(file);
                    if is_seen
                        && found == version
                        && !held.is_some_and(|text| !matches!(text, Text::Good { .. }))
                    {
                        self.sources.insert(name.clone(), file);
                    }
                }
            }
        }
        for (operation, version, ..) in world.under_way.iter().skip(before.len()) {
            let name = about(operation);
            assert!(!world.hidden, "{operation:?} without a folder");
            match operation {
                Operation::Stop(_) => {
                    let source = self.sources.get(&name).copied();
                    assert!(is_released(&world, &name, source), "{name} may not be stopped");
                }
                Operation::Start(_) => assert!(!runs.contains(&name), "{name} runs"),
                Operation::Replace(_) => {
                    let is_other = |old: &u32| old != version || world.halted.contains(&name);
                    assert!(world.running.get(&name).is_some_and(is_other));
                }
            }
            if !matches!(operation, Operation::Stop(_)) {
                assert_eq!(wanted(&world.files).get(name.as_str()), Some(version), "{name}");
            }
        }
        let stops = world.under_way.iter().skip(before.len()).filter_map(|(operation, ..)| match operation {
            Operation::Stop(name) => Some(name.to_string()),
            _ => None,
        });
        let stops: Vec<String> = stops.collect();
        world.halted.extend(stops);
    }
}

/// Whether another file has the name that this one has.
fn has_twin(files: &BTreeMap<&'static str, Text>, file: &str) -> bool {
    let Some(Text::Good { name, .. }) = files.get(file) else { return false };
    let is_its = |text: &Text| matches!(text, Text::Good { name: other, .. } if other == name);
    files.values().filter(|text| is_its(text)).count() > 1
}

/// The first right file with this name.
fn claimant<'a>(files: &'a BTreeMap<&'static str, Text>, name: &str) -> Option<(&'static str, &'a Text)> {
    let is_its = |text: &Text| matches!(text, Text::Good { name: other, .. } if *other == name);
    files.iter().find(|(_, text)| is_its(text)).map(|(file, text)| (*file, text))
}

/// Whether the folder asks for this name no more, beyond doubt.
fn is_released(world: &World, name: &str, source: Option<&str>) -> bool {
    let first =
        world.files.values().find(|text| matches!(text, Text::Good { name: other, .. } if *other == name));
    if let Some(Text::Good { enabled, .. }) = first {
        return !enabled;
    }
    if world.files.values().any(|text| matches!(text, Text::Faulty(other) if *other == name)) {
        return false;
    }
    match source.and_then(|source| world.files.get(source)) {
        None => true,
        // It describes another component, which runs or is not to run.
        Some(Text::Good { name: other, version, enabled, .. }) => {
            !enabled || world.running.get(*other) == Some(version)
        }
        Some(_) => false,
    }
}

/// What the right files ask for, by name: the first in path order.
fn wanted(files: &BTreeMap<&'static str, Text>) -> BTreeMap<&'static str, u32> {
    let mut seen = BTreeSet::new();
    let mut wanted = BTreeMap::new();
    for text in files.values() {
        if let Text::Good { name, version, enabled, .. } = text {
            if seen.insert(*name) && *enabled {
                wanted.insert(*name, *version);
            }
        }
    }
    wanted
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_failed_change_never_reduces_what_runs(
        actions in prop::collection::vec(actions(), 1..60),
        how in prop::sample::select(&[Ending::Failed, Ending::Dropped, Ending::Cancelled, Ending::Done][..]),
    ) {
        let mut run = Run::new();
        for action in &actions {
            run.act(action);
        }
        // All is mended: what is left in the folder is right and new, and no
        // name stands twice.
        {
            let mut world = run.shared.0.lock();
            (world.hidden, world.missed) = (false, None);
            world.builds.clear();
            let mut seen = BTreeSet::new();
            world.files.retain(|_, text| matches!(text, Text::Good { name, .. } if seen.insert(*name)));
            for (idx, text) in world.files.values_mut().enumerate() {
                if let Text::Good { version, builds, .. } = text {
                    (*version, *builds) = (100 + idx as u32, Builds::Well);
                }
            }
        }
        run.idle();
        // All is taken away, is not well stopped, and returns.
        let files = std::mem::take(&mut run.shared.0.lock().files);
        run.act(&Action::Scan(60));
        while !run.shared.0.lock().under_way.is_empty() {
            run.act(&Action::Answer(0, how));
        }
        {
            let mut world = run.shared.0.lock();
            world.builds.clear();
            world.files = files;
        }
        run.idle();
        let world = run.shared.0.lock();
        let wanted: BTreeMap<String, u32> =
            wanted(&world.files).into_iter().map(|(name, version)| (name.to_owned(), version)).collect();
        prop_assert_eq!(&world.running, &wanted);
        prop_assert!(world.halted.is_empty(), "not put in place again: {:?}", world.halted);
    }
}
