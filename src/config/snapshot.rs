//! One configuration at one moment: values, where they come from, and what
//! differs from another.

use std::fmt;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::de;
use super::fingerprint::Fingerprint;
use super::index::Index;
use super::merged::{Layer, Merged};
use super::path::{self, dotted};
use super::secret::Secrets;
use super::settings::Settings;
use crate::decode::{self, Object, Scalar};
use crate::error::{Error, ErrorKind, Result};
use crate::stamp::Stamp;
use crate::tree::{self, Fault, Faults, Member, Node, Place, Value};

/// One configuration, which does not change any more. Take one for each unit
/// of work, so that all of it goes by the same values.
///
/// Keys are dotted paths, `http.listen`; a key that holds a dot is in double
/// quotes. `null` counts as absent.
///
/// Every type has a getter with a default, for values that must not stop the
/// program: what is missing, of another type or out of range is the default.
/// [`require`](Self::require) and [`optional`](Self::optional) tell them
/// apart. A text in the file counts as a number, a duration or a truth value
/// where it is exactly one; no number is ever cut or wrapped.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use loopkeeper::ErrorKind;
/// use loopkeeper::config::{Config, Layers};
///
/// let config = Config::load(Layers::default().text("app.json", r#"{
///     "http": {"port": 8080, "timeout": "1m30s"},
///     "ratio": 1.9
/// }"#))?.snapshot();
///
/// assert_eq!(config.duration("http.timeout", Duration::ZERO), Duration::from_secs(90));
/// assert_eq!(config.int("ratio", 7), 7);
/// assert_eq!(config.optional::<u32>("http.prot")?, None);
/// assert_eq!(config.require::<u32>("http.prot").unwrap_err().kind(), ErrorKind::NotFound);
/// let wrong = config.require::<u32>("ratio").unwrap_err();
/// assert_eq!(wrong.kind(), ErrorKind::Config);
/// assert_eq!(
///     wrong.report().to_string(),
///     "app.json:3:14: ratio: expected a whole number from 0 to 4294967295, found the number 1.9",
/// );
/// # Ok::<(), loopkeeper::Error>(())
/// ```
pub struct Snapshot {
    merged: Merged,
    index: Index,
    generation: u64,
    loaded_at: Stamp,
}

impl Snapshot {
    pub(super) fn new(merged: Merged, generation: u64, loaded_at: Stamp) -> Self {
        let index = Index::new(&merged.root);
        Self { merged, index, generation, loaded_at }
    }

    /// The same once more, for one that keeps it for longer than a look.
    #[cfg(feature = "capi")]
    pub(crate) fn copy(&self) -> Self {
        Self::new(self.merged.clone(), self.generation, self.loaded_at)
    }

    /// The same values, found at other places.
    pub(super) fn continues(mut self, other: &Self) -> Self {
        (self.generation, self.loaded_at) = (other.generation, other.loaded_at);
        self
    }

    /// The next after another.
    pub(super) fn follows(mut self, other: &Self) -> Self {
        self.generation = other.generation + 1;
        self
    }

    /// The value at a path.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.index.find(&self.merged.root, key)
    }

    /// Whether there is a value other than `null` at a path.
    #[must_use]
    pub fn is_set(&self, key: &str) -> bool {
        path::is_set(self.get(key))
    }

    /// All values.
    #[must_use]
    pub fn root(&self) -> &Node {
        &self.merged.root
    }

    /// A text, or the default.
    #[must_use]
    pub fn string(&self, key: &str, default: &str) -> String {
        self.scalar(key).unwrap_or_else(|| default.to_owned())
    }

    /// A whole number, or the default.
    #[must_use]
    pub fn int(&self, key: &str, default: i64) -> i64 {
        self.scalar(key).unwrap_or(default)
    }

    /// A number, or the default.
    #[must_use]
    pub fn float(&self, key: &str, default: f64) -> f64 {
        self.scalar(key).unwrap_or(default)
    }

    /// A truth value, or the default.
    #[must_use]
    pub fn bool(&self, key: &str, default: bool) -> bool {
        self.scalar(key).unwrap_or(default)
    }

    /// A duration, as Go text or a number of seconds, or the default.
    #[must_use]
    pub fn duration(&self, key: &str, default: Duration) -> Duration {
        self.scalar(key).unwrap_or(default)
    }

    /// A value that must be there.
    ///
    /// # Errors
    ///
    /// `NotFound` when it is missing; `Config`, with its place, when it is of
    /// another type or out of range.
    pub fn require<T: Scalar>(&self, key: &str) -> Result<T> {
        self.optional(key)?.ok_or_else(|| missing(key))
    }

    /// A value that may be missing.
    ///
    /// # Errors
    ///
    /// `Config`, with its place, when it is of another type or out of range.
    pub fn optional<T: Scalar>(&self, key: &str) -> Result<Option<T>> {
        match self.get(key).filter(|node| path::is_set(Some(node))) {
            None => Ok(None),
            // By the path as faults print it, which is how secrets are known.
            Some(node) => Ok(Some(read(node, &printed(key)).map_err(|faults| self.redact(faults))?)),
        }
    }

    fn scalar<T: Scalar>(&self, key: &str) -> Option<T> {
        let node = self.get(key).filter(|node| path::is_set(Some(node)))?;
        // What is wrong is told to nobody, so it need not be made fit to tell.
        read(node, "").ok()
    }

    /// Turns all values into a type of serde. Durations are fields with
    /// `#[serde(with = "loopkeeper::duration::text")]`.
    ///
    /// What serde reads before it knows the type, which is what is below
    /// `flatten`, `untagged` and an internal `tag`, is a number or a truth
    /// value where a variable's text is one. Read a text there with a getter,
    /// or put it into a struct of its own.
    ///
    /// # Errors
    ///
    /// `Config`, with the first thing that does not fit and its place.
    pub fn unmarshal<T: DeserializeOwned>(&self) -> Result<T> {
        self.unmarshal_node(&self.merged.root, "")
    }

    /// Turns the values below a path into a type of serde.
    ///
    /// # Errors
    ///
    /// `NotFound` when there are none; as [`unmarshal`](Self::unmarshal).
    pub fn unmarshal_key<T: DeserializeOwned>(&self, key: &str) -> Result<T> {
        self.unmarshal_node(self.get(key).ok_or_else(|| missing(key))?, &printed(key))
    }

    fn unmarshal_node<T: DeserializeOwned>(&self, node: &Node, key: &str) -> Result<T> {
        de::from_node(node, key, &self.merged.secrets)
            .map_err(|fault| self.redact(Faults::from(fault)).into())
    }

    /// Reads the whole strictly, as [`decode::object`] does: what `read` does
    /// not ask for is a fault, and all faults are told.
    ///
    /// # Errors
    ///
    /// Every fault that was found.
    pub fn decode<'n, T>(&'n self, read: impl FnOnce(&mut Object<'n, '_>) -> Option<T>) -> Result<T, Faults> {
        self.merged.decode(read)
    }

    /// Reads the daemon's settings.
    ///
    /// # Errors
    ///
    /// Every fault that was found.
    pub fn settings(&self) -> Result<Settings, Faults> {
        self.merged.settings()
    }

    /// Where the value at a path comes from.
    #[must_use]
    pub fn explain(&self, key: &str) -> Option<Explanation> {
        let key = printed(key);
        self.get(&key).map(|node| self.explanation(node, key.clone()))
    }

    /// Where every value comes from.
    #[must_use]
    pub fn explain_all(&self) -> Vec<Explanation> {
        let mut all = Vec::new();
        let mut explain = |key: &str, node: &Node| all.push(self.explanation(node, key.to_owned()));
        leaves(&self.merged.root, "", &self.merged.secrets, &mut explain);
        all
    }

    fn explanation(&self, node: &Node, key: String) -> Explanation {
        let layer = self.merged.source_of(&node.place).map_or(Layer::Default, |source| source.layer);
        let value = self.merged.redacted(node, &key);
        Explanation { key, value, layer, place: node.place.clone() }
    }

    /// All values as JSON; `<secret>` stands for what is secret.
    #[must_use]
    pub fn redacted(&self) -> serde_json::Value {
        self.merged.redacted(&self.merged.root, "")
    }

    /// How many configurations were in force before this one, and one.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// When it was loaded.
    #[must_use]
    pub fn loaded_at(&self) -> Stamp {
        self.loaded_at
    }

    /// The hash of the files it was read from.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.merged.fingerprint
    }

    /// The paths whose values differ, in order. A list is one value, and so is
    /// what was marked as secret.
    #[must_use]
    pub fn changes_since(&self, older: &Self) -> Vec<String> {
        let mut changed = Vec::new();
        differences(&older.merged.root, &self.merged.root, "", &self.merged.secrets, &mut changed);
        crate::order::sort(&mut changed);
        changed
    }

    pub(super) fn merged(&self) -> &Merged {
        &self.merged
    }

    pub(super) fn redact(&self, faults: Faults) -> Faults {
        self.merged.conceal(faults)
    }
}

impl fmt::Debug for Snapshot {
    /// Without secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("generation", &self.generation)
            .field("values", &self.redacted().to_string())
            .finish_non_exhaustive()
    }
}

/// Where a value comes from; made by [`Snapshot::explain`].
///
/// Prints as `http.listen = "127.0.0.1:80" (app.json:2:12)`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Explanation {
    /// The path of the value.
    pub key: String,
    /// The value as JSON; a variable's is its text; `<secret>` for a secret.
    pub value: serde_json::Value,
    /// The layer that won.
    pub layer: Layer,
    /// Where in it: file, line and column, or the name of the variable.
    pub place: Place,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {} ({})", self.key, self.value, self.place)
    }
}

impl Serialize for Explanation {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut fields = serializer.serialize_struct("Explanation", 4)?;
        fields.serialize_field("key", &self.key)?;
        fields.serialize_field("value", &self.value)?;
        fields.serialize_field("layer", &self.layer)?;
        fields.serialize_field("place", &self.place.to_string())?;
        fields.end()
    }
}

/// Reads a value; a text that is exactly what is wanted counts as it.
fn read<T: Scalar>(node: &Node, key: &str) -> std::result::Result<T, Faults> {
    decode::value(node, key).or_else(|faults| match &node.value {
        Value::String(text) => {
            let raw = Node::new(node.place.clone(), Value::Raw(text.clone()));
            decode::value(&raw, key).map_err(|_| faults)
        }
        _ => Err(faults),
    })
}

fn missing(key: &str) -> Error {
    Error::new(ErrorKind::NotFound).context(format!("{key}: is missing from the configuration"))
}

/// A path as faults print it.
fn printed(key: &str) -> String {
    dotted(&path::split_owned(key))
}

/// Visits every value that is no object, empty objects, and what was marked
/// as secret: the keys in that may be secret, too.
fn leaves(node: &Node, key: &str, secrets: &Secrets, visit: &mut impl FnMut(&str, &Node)) {
    match &node.value {
        Value::Object(members) if !members.is_empty() && !secrets.has(key) => {
            for member in members {
                leaves(&member.node, &tree::join(key, &member.key), secrets, visit);
            }
        }
        _ if key.is_empty() => {}
        _ => visit(key, node),
    }
}

fn differences(old: &Node, new: &Node, key: &str, secrets: &Secrets, changed: &mut Vec<String>) {
    let (Value::Object(before), Value::Object(after), false) = (&old.value, &new.value, secrets.has(key))
    else {
        if !old.has_same_values(new) {
            changed.push(key.to_owned());
        }
        return;
    };
    let places = before.places();
    let before: Vec<&Member> = before.iter().collect();
    let mut is_gone = vec![true; before.len()];
    // Everything in a value that came or went.
    let whole = |node: &Node, path: &str, changed: &mut Vec<String>| {
        leaves(node, path, secrets, &mut |key, _| changed.push(key.to_owned()));
    };
    for member in after {
        let path = tree::join(key, &member.key);
        match places.get(&*member.key) {
            Some(&idx) => {
                is_gone[idx] = false;
                differences(&before[idx].node, &member.node, &path, secrets, changed);
            }
            None => whole(&member.node, &path, changed),
        }
    }
    for (member, _) in before.into_iter().zip(is_gone).filter(|(_, is_gone)| *is_gone) {
        whole(&member.node, &tree::join(key, &member.key), changed);
    }
}

/// One line for people and events about faults, without the values that were
/// found.
pub(super) fn without_values(faults: &Faults) -> String {
    const SHOWN: usize = 8;
    let shown = faults.iter().take(SHOWN).cloned().map(super::secret::without_value);
    let lines: Vec<String> = shown.map(|fault: Fault| fault.to_string()).collect();
    let more = faults.iter().count().saturating_sub(SHOWN);
    let rest = if more > 0 { format!("; and {more} more") } else { String::new() };
    format!("{}{rest}", lines.join("; "))
}
