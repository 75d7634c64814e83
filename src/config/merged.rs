//! All layers in one tree, and what is wrong with any of them.

use std::fmt;
use std::path::PathBuf;

use serde::{Serialize, Serializer};

use super::fingerprint::Fingerprint;
use super::read::{self, Bases};
use super::secret::{SHOWN, SecretTexts, Secrets};
use super::settings::{DEPLOY_DIR, Settings};
use crate::decode::{self, Object};
use crate::error::{BoxError, Error, ErrorKind};
use crate::tree::{self, Fault, Faults, Node, Place, Value};

/// The folder of descriptors.
const DIR: [&str; 2] = ["deploy", "dir"];

/// Where a value comes from. The later wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Layer {
    /// What the program is built with.
    Default,
    /// The configuration file.
    File,
    /// A variable of the environment.
    Environment,
    /// The command line, or the program's code.
    Override,
}

impl Layer {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::File => "file",
            Self::Environment => "environment",
            Self::Override => "override",
        }
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Layer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// One source of values: its name in places, and its layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    name: String,
    pub(super) layer: Layer,
}

/// All layers in one tree.
#[derive(Clone)]
#[must_use = "the tree is there to be read"]
pub struct Merged {
    pub(super) root: Node,
    pub(super) faults: Vec<Fault>,
    sources: Vec<Source>,
    pub(super) secrets: Secrets,
    /// The files that secrets were read from.
    pub(super) secret_files: Vec<PathBuf>,
    pub(super) fingerprint: Fingerprint,
    /// The folder of the file.
    pub(super) base: PathBuf,
    /// The name of the file in places.
    pub(super) file: Option<String>,
    /// Whether the file could be read, if there is one.
    pub(super) is_whole: bool,
}

impl Merged {
    pub(super) fn new(root: Node, secrets: Secrets) -> Self {
        Self {
            root,
            faults: Vec::new(),
            sources: Vec::new(),
            secrets,
            secret_files: Vec::new(),
            fingerprint: Fingerprint::NONE,
            base: PathBuf::new(),
            file: None,
            is_whole: true,
        }
    }

    /// Everything that is wrong with the layers themselves.
    #[must_use]
    pub fn faults(&self) -> Option<Faults> {
        Faults::collect(self.faults.clone()).map(|faults| self.conceal(faults))
    }

    /// Reads the whole strictly: what `read` does not ask for is a fault.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with any layer, and every fault of `read`.
    pub fn decode<'n, T>(&'n self, read: impl FnOnce(&mut Object<'n, '_>) -> Option<T>) -> Result<T, Faults> {
        match (decode::object(&self.root, "", read), self.faults()) {
            (Ok(value), None) => Ok(value),
            (Ok(_), Some(faults)) => Err(faults),
            (Err(found), faults) => {
                let found = self.conceal(found);
                let mut all = faults.map(Faults::into_vec).unwrap_or_default();
                all.extend(found.clone().into_vec());
                Err(Faults::collect(all).unwrap_or(found))
            }
        }
    }

    /// Reads the daemon's settings.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with any layer.
    pub fn settings(&self) -> Result<Settings, Faults> {
        let bases = Bases {
            deploy: self.base_of(DIR),
            store: self.base_of(["store", "url"]),
            token: self.base_of(["monitor", "token_file"]),
            history: self.base_of(["http", "history_file"]),
            alerts: self.base_of(["alerts", "state_file"]),
            client_cert: self.base_of(["monitor", "client_cert"]),
            client_key: self.base_of(["monitor", "client_key"]),
            root_certs: self.base_of(["monitor", "root_certs"]),
        };
        self.decode(|o| read::read(o, &bases))
    }

    /// The daemon's folder of descriptors, also when other settings are
    /// wrong; `None` when it cannot be known.
    #[must_use]
    pub fn deploy_dir(&self) -> Option<PathBuf> {
        let dir = match self.set_node(DIR).map(|node| &node.value) {
            Some(Value::String(dir) | Value::Raw(dir)) if !dir.is_empty() => dir,
            None if self.is_whole => DEPLOY_DIR,
            _ => return None,
        };
        Some(self.base_of(DIR).join(dir))
    }

    fn set_node(&self, [above, key]: [&str; 2]) -> Option<&Node> {
        self.root.get(above)?.get(key).filter(|node| node.value != Value::Null)
    }

    /// What a relative path is relative to: the folder of the file that wrote
    /// it, or the current one.
    fn base_of(&self, key: [&str; 2]) -> PathBuf {
        let elsewhere = self.set_node(key).is_some_and(|node| {
            let is_default = self.source_of(&node.place).is_some_and(|source| source.layer == Layer::Default);
            !is_default && self.file.as_deref() != Some(node.place.file())
        });
        if elsewhere { PathBuf::new() } else { self.base.clone() }
    }

    /// Remembers where values may come from.
    pub(super) fn source(&mut self, name: String, layer: Layer) {
        self.sources.push(Source { name, layer });
    }

    pub(super) fn source_of(&self, place: &Place) -> Option<Source> {
        self.sources.iter().rev().find(|source| source.name == place.file()).cloned()
    }

    /// Takes secrets out of faults: the value where the key is one, and the
    /// whole text where somebody has put one into it.
    pub(super) fn conceal(&self, faults: Faults) -> Faults {
        let texts = SecretTexts::of(&self.root, &self.secrets);
        let conceal = |fault: &Fault| {
            let fault = self.secrets.redact(fault.clone());
            let told = texts.are_told_by(&fault.message) || texts.are_told_by(&fault.key);
            let message = "is not what is expected; why tells a secret".to_owned();
            if told { Fault { message, key: hidden(&texts, fault.key), ..fault } } else { fault }
        };
        Faults::collect(faults.iter().map(conceal).collect()).unwrap_or(faults)
    }

    /// Turns what a check returned into an error that is kept, without
    /// secrets.
    pub(super) fn refusal(&self, error: &BoxError) -> Error {
        let mut link: Option<&(dyn std::error::Error + 'static)> = Some(&**error);
        while let Some(error) = link {
            if let Some(faults) = error.downcast_ref::<Faults>() {
                return self.conceal(faults.clone()).into();
            }
            link = error.source();
        }
        let kept = Error::from_user(&**error);
        let text = self.concealed(kept.to_string());
        Error::new(ErrorKind::Config).with_class(kept.class()).context(text)
    }

    /// A text of somebody else's, if it tells no secret.
    pub(super) fn concealed(&self, text: String) -> String {
        let is_told = SecretTexts::of(&self.root, &self.secrets).are_told_by(&text);
        if is_told { "the reason tells a secret".to_owned() } else { text }
    }

    /// The tree as JSON, without what is secret.
    pub(super) fn redacted(&self, node: &Node, key: &str) -> serde_json::Value {
        if node.value != Value::Null && !key.is_empty() && self.secrets.covers(key) {
            return SHOWN.into();
        }
        match &node.value {
            Value::Array(nodes) => nodes
                .iter()
                .enumerate()
                .map(|(idx, node)| self.redacted(node, &tree::join_idx(key, idx)))
                .collect(),
            Value::Object(members) => {
                let entry = |member: &tree::Member| {
                    let value = self.redacted(&member.node, &tree::join(key, &member.key));
                    (member.key.clone(), value)
                };
                crate::order::json(members.iter().map(entry))
            }
            // As digits: a float would show others.
            Value::Number(text) if is_wide(text) => (**text).into(),
            _ => node.to_json(),
        }
    }
}

/// Whether a number is an integer that 64 bits do not hold.
fn is_wide(text: &str) -> bool {
    let is_integer = !text.contains(['.', 'e', 'E']);
    is_integer && text.parse::<i64>().is_err() && text.parse::<u64>().is_err()
}

/// A key that tells no secret.
fn hidden(texts: &SecretTexts, key: String) -> String {
    if texts.are_told_by(&key) { SHOWN.to_owned() } else { key }
}

impl fmt::Debug for Merged {
    /// Without secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Merged")
            .field("values", &self.redacted(&self.root, "").to_string())
            .field("faults", &self.faults())
            .finish_non_exhaustive()
    }
}
