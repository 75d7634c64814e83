//! One component as its file describes it.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use super::fingerprint::Fingerprint;
use super::registry::{Blueprint, Registry};
use super::scan::{self, Dir, Folder};
use crate::component::Component;
use crate::decode::{self, Object};
use crate::duration::Shown;
use crate::env::Env;
use crate::error::Result;
use crate::name::Name;
use crate::tree::{self, Fault, Faults, Node, Place, Value};

/// One component as its file describes it:
///
/// ```json
/// {"name": "ingest", "type": "watcher", "enabled": true,
///  "requires": ["mqtt", {"name": "db", "on_down": "stop", "timeout": "30s"}],
///  "config": {"probe": {"file_age": {"path": "/run/ingest", "max_age": "1m"}}}}
/// ```
///
/// `enabled` may be absent and is true then; so may `requires`.
#[derive(Debug)]
#[non_exhaustive]
pub struct Descriptor {
    /// Its name, which no other has.
    pub name: Name,
    /// Its type.
    pub kind: String,
    /// Whether it should run.
    pub enabled: bool,
    /// What must be ready before it starts.
    pub requires: Vec<Requirement>,
    /// Where its name stands.
    pub place: Place,
    /// Where each of what it requires stands.
    required_at: Vec<Place>,
    pub(super) meaning: Fingerprint,
    blueprint: Blueprint,
}

/// What must be ready before a component starts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Requirement {
    /// The component that must be ready.
    pub name: Name,
    /// What to do when it is ready no longer. Defaults to keep.
    pub on_down: OnDown,
    /// How long to wait for it before that counts as a failure; `None`: for
    /// ever. Defaults to `None`.
    pub timeout: Option<Duration>,
}

/// What to do when what is required is ready no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum OnDown {
    /// Go on.
    #[default]
    Keep,
    /// Stop until it is ready again.
    Stop,
}

impl Requirement {
    /// Requires a component, keeps running when it goes down, waits for ever.
    #[must_use]
    pub fn new(name: Name) -> Self {
        Self { name, on_down: OnDown::Keep, timeout: None }
    }
}

impl Descriptor {
    /// Reads the bytes of a file, whose name is used for places.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it.
    pub fn parse(file: &str, bytes: &[u8], registry: &Registry) -> Result<Self, Faults> {
        parse(file, bytes, registry).map_err(|wrong| wrong.faults)
    }

    /// What it requires, and where it says so.
    pub(super) fn asks(&self) -> Vec<(Name, Place)> {
        let names = self.requires.iter().map(|required| required.name.clone());
        names.zip(self.required_at.iter().cloned()).collect()
    }

    /// Makes the component that it describes.
    ///
    /// # Errors
    ///
    /// As [`Blueprint::build`].
    pub fn build(self, env: &Env) -> Result<Box<dyn Component>> {
        self.blueprint.build(env)
    }
}

/// A file that does not describe a component.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) faults: Faults,
    /// The name in it, as far as that can be told.
    pub(super) name: Option<Name>,
}

pub(super) fn parse(file: &str, bytes: &[u8], registry: &Registry) -> Result<Descriptor, Wrong> {
    let node = tree::parse_bytes(file, bytes).map_err(|faults| Wrong { faults, name: None })?;
    decode::object(&node, "", |o| read(o, &node, registry)).map_err(|faults| {
        let name = match node.get("name").map(|node| &node.value) {
            Some(Value::String(text)) => Name::new(text).ok(),
            _ => None,
        };
        Wrong { faults, name }
    })
}

fn read(o: &mut Object<'_, '_>, node: &Node, registry: &Registry) -> Option<Descriptor> {
    let name = o.name("name").required();
    let kind = o.string("type");
    let kind = kind.check(|kind| if registry.knows(kind) { Ok(()) } else { Err(registry.unknown(kind)) });
    let kind = kind.required();
    let enabled = o.bool("enabled").or(true);
    let requires = read_requires(o);
    if let Some(name) = name.peek() {
        let twice = |idx: usize| requires[..idx].iter().any(|other| other.name == requires[idx].name);
        if requires.iter().any(|required| required.name == *name) {
            o.fault("requires", format!("{name} cannot require itself"));
        } else if let Some(idx) = (1..requires.len()).find(|&idx| twice(idx)) {
            o.fault("requires", format!("{} stands twice", requires[idx].name));
        }
    }
    let blueprint = match kind.peek() {
        Some(kind) => {
            let name = name.peek().map_or("", Name::as_str);
            Some(o.object("config", |o| registry.read(kind, name, o)).required())
        }
        // Nobody knows what it should be; it is known as a field only.
        None => {
            let _ = o.value("config").optional();
            None
        }
    };
    let done = o.done()?;
    let place = node.get("name")?.place.clone();
    let required_at = match node.get("requires").map(|node| &node.value) {
        Some(Value::Array(nodes)) => nodes.iter().map(|node| node.place.clone()).collect(),
        _ => Vec::new(),
    };
    Some(Descriptor {
        name: name.take(done)?,
        kind: kind.take(done)?,
        enabled,
        requires,
        place,
        required_at,
        meaning: meaning(node),
        blueprint: blueprint?.take(done)?,
    })
}

/// Reads the field `requires`: names, or objects that say more.
pub(crate) fn read_requires(o: &mut Object<'_, '_>) -> Vec<Requirement> {
    let short = |text: &str| match Name::new(text) {
        Ok(name) => Ok(Requirement::new(name)),
        Err(error) => {
            let text = error.to_string();
            Err(text.strip_prefix("name: ").unwrap_or(&text).to_owned())
        }
    };
    o.texts_or_objects("requires", short, read_requirement).or_default()
}

fn read_requirement(o: &mut Object<'_, '_>) -> Option<Requirement> {
    let name = o.name("name").required();
    let on_down = o.string("on_down").convert(|word| match word.as_str() {
        "keep" => Ok(OnDown::Keep),
        "stop" => Ok(OnDown::Stop),
        _ => Err(format!("expected \"stop\" or \"keep\", found the string {}", Shown(&word))),
    });
    let on_down = on_down.defaults_to_json(|| "\"keep\"".to_owned()).optional().unwrap_or_default();
    let timeout = o.duration("timeout").optional();
    Some(Requirement { name: name.take(o.done()?)?, on_down, timeout })
}

/// What a change must change to matter to what runs: neither space nor the
/// order of keys, nor whether it is enabled.
fn meaning(node: &Node) -> Fingerprint {
    let mut json = node.to_json();
    if let Some(members) = json.as_object_mut() {
        // Alike in all, whether they are there or not.
        for key in ["name", "enabled"] {
            members.insert(key.to_owned(), serde_json::Value::Null);
        }
    }
    Fingerprint::of(json.to_string().as_bytes())
}

/// Reads every descriptor of a folder, once and in the order of their paths,
/// as the [`Deployer`](super::Deployer) reads them.
///
/// # Errors
///
/// Everything that is wrong with any of the files, names that stand twice
/// included; a folder that cannot be read.
///
/// # Examples
///
/// ```no_run
/// use loopkeeper::{host::deploy::load_folder, shipped};
///
/// match load_folder("deploy".as_ref(), &shipped::registry()) {
///     Ok(descriptors) => println!("{} components", descriptors.len()),
///     Err(faults) => eprintln!("{faults}"),  // deploy/mqtt.json:3:12: config.probe: …
/// }
/// ```
pub fn load_folder(dir: &Path, registry: &Registry) -> Result<Vec<Descriptor>, Faults> {
    let mut names: HashMap<Name, Place> = HashMap::new();
    let mut descriptors = Vec::new();
    let mut faults: Vec<Fault> = Vec::new();
    for read in load_files(dir, registry)? {
        match read {
            Ok(descriptor) => match names.get(&descriptor.name) {
                Some(first) => {
                    let message = taken(&descriptor.name, first);
                    faults.push(Fault { place: descriptor.place, key: "name".to_owned(), message });
                }
                None => {
                    names.insert(descriptor.name.clone(), descriptor.place.clone());
                    descriptors.push(descriptor);
                }
            },
            Err(found) => faults.extend(found.into_vec()),
        }
    }
    Faults::collect(faults).map_or(Ok(descriptors), Err)
}

/// Reads every descriptor of a folder as [`load_folder`] does, each for
/// itself: what is wrong with one leaves the others.
///
/// # Errors
///
/// A folder that cannot be read. Of each file, everything that is wrong with
/// it; names that stand twice are not looked for.
pub fn load_files(dir: &Path, registry: &Registry) -> Result<Vec<Result<Descriptor, Faults>>, Faults> {
    let read = |file: scan::Found| match &file.content {
        Ok(bytes) => Descriptor::parse(&scan::shown(&file.path), bytes, registry),
        Err(fault) => Err(fault.clone().into()),
    };
    Ok(Dir::new(dir).list()?.found.into_iter().map(read).collect())
}

pub(super) fn taken(name: &Name, first: &Place) -> String {
    format!("{name} is taken, first at {first}")
}
