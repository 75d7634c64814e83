//! The folder of descriptors: one JSON object a file, each describing one
//! component.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use super::file;
use crate::decode::{self, Object};
use crate::name::Name;
use crate::tree::{Fault, Faults, Member, Members, Node, Place, Value};

/// What reads the `config` object of one type of component. It is handed
/// the component's name, which is empty when that is wrong.
pub type Reader<T> = fn(&str, &mut Object<'_, '_>) -> Option<T>;

/// The types of components that descriptors may name.
pub struct Types<T>(Vec<(&'static str, Reader<T>)>);

impl<T> Types<T> {
    /// Makes a table without types.
    #[must_use]
    pub fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds a type.
    #[must_use]
    pub fn with(mut self, name: &'static str, read: Reader<T>) -> Self {
        self.0.push((name, read));
        self
    }

    fn get(&self, name: &str) -> Option<(&'static str, Reader<T>)> {
        self.0.iter().find(|(known, _)| *known == name).copied()
    }
}

impl<T> Default for Types<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for Types<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// One component as its file describes it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Descriptor<T> {
    /// Its name, which no other has.
    pub name: Name,
    /// Its type.
    pub kind: &'static str,
    /// Whether it should run.
    pub enabled: bool,
    /// Where it stands.
    pub place: Place,
    /// What its type read.
    pub config: T,
}

/// Reads every `*.json` file of a folder, in the order of their names.
///
/// Hidden files and folders are left out. A file holds one object: `name`,
/// `type`, `enabled` (true when absent) and `config`, which its type reads.
/// One that is not enabled is checked all the same.
///
/// # Errors
///
/// Everything that is wrong with any of the files, names that stand twice
/// included; a folder that cannot be read.
///
/// # Examples
///
/// ```no_run
/// use loopkeeper::config::{Types, load_descriptors};
/// use loopkeeper::watch;
///
/// let types = Types::new().with("watcher", watch::descriptor::read);
/// match load_descriptors("deploy".as_ref(), &types) {
///     Ok(descriptors) => println!("{} components", descriptors.len()),
///     Err(faults) => eprintln!("{faults}"),  // deploy/mqtt.json:3:12: config.probe: …
/// }
/// ```
pub fn load_descriptors<T>(dir: &Path, types: &Types<T>) -> Result<Vec<Descriptor<T>>, Faults> {
    let paths = list(dir)
        .map_err(|error| file::fault(dir, format!("cannot be read as the folder of descriptors: {error}")))?;
    let mut names = HashMap::new();
    let mut descriptors = Vec::new();
    let mut faults = Vec::new();
    for path in paths {
        match load(&path, types, &mut names) {
            Ok(descriptor) => descriptors.extend(descriptor),
            Err(found) => faults.extend(found.into_vec()),
        }
    }
    Faults::collect(faults).map_or(Ok(descriptors), Err)
}

/// The files that may be descriptors.
fn list(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let bytes = name.as_encoded_bytes();
        if bytes.ends_with(b".json") && !bytes.starts_with(b".") {
            names.push(name);
        }
    }
    names.sort();
    Ok(names.into_iter().map(|name| dir.join(name)).collect())
}

/// Reads one file; `None` when it is a folder.
fn load<T>(
    path: &Path,
    types: &Types<T>,
    names: &mut HashMap<Name, Place>,
) -> Result<Option<Descriptor<T>>, Faults> {
    let metadata = fs::metadata(path).map_err(|error| file::unreadable(path, &error))?;
    if metadata.is_dir() {
        return Ok(None);
    }
    let node = file::read(path)?;
    decode::object(&node, "", |o| read(o, &node, types, names)).map(Some)
}

fn read<T>(
    o: &mut Object<'_, '_>,
    node: &Node,
    types: &Types<T>,
    names: &mut HashMap<Name, Place>,
) -> Option<Descriptor<T>> {
    let name = o.name("name").required();
    if let (Some(name), Some(written)) = (name.peek(), node.get("name")) {
        match names.get(name) {
            Some(first) => o.fault("name", format!("{name} is taken, first at {first}")),
            None => _ = names.insert(name.clone(), written.place.clone()),
        }
    }
    let kind = o.string("type").convert(|kind| types.get(&kind).ok_or_else(|| unknown(&kind, types)));
    let kind = kind.required();
    let enabled = o.bool("enabled").or(true);
    let config = match kind.peek() {
        Some((_, read)) => {
            let name = name.peek().map_or("", Name::as_str);
            Some(o.object("config", |o| read(name, o)).required())
        }
        // Nobody knows what it should be; it is known as a field only.
        None => {
            let _ = o.value("config").optional();
            None
        }
    };
    let done = o.done()?;
    let (kind, _) = kind.take(done)?;
    let place = o.place().clone();
    Some(Descriptor { name: name.take(done)?, kind, enabled, place, config: config?.take(done)? })
}

/// Says that a type is unknown and which one may have been meant. The
/// decoder guesses keys, so it is asked as if the type were one.
fn unknown<T>(kind: &str, types: &Types<T>) -> String {
    let place = Place::whole("");
    let node = Node::new(place.clone(), Value::Bool(true));
    let mut members = Members::default();
    members.insert(Member { key: kind.to_owned(), key_place: place.clone(), node });
    let node = Node::new(place, Value::Object(members));
    let guess = decode::object(&node, "", |o| {
        for (known, _) in &types.0 {
            let _ = o.value(known).optional();
        }
        o.done()
    });
    let message = |fault: &Fault| fault.message.replacen("field", "type", 1);
    match guess {
        Err(faults) => faults.iter().next().map(message).unwrap_or_default(),
        Ok(_) => String::new(),
    }
}
