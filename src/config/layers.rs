//! Where a configuration comes from: defaults, a file, the environment and
//! the command line; the later wins, key by key, and every value keeps the
//! place it came from.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use super::environment::{self, Variable};
use super::fingerprint::Fingerprint;
use super::merged::{Layer, Merged, Source};
use super::path::{self, dotted};
use super::secret::{Secrets, without_shown};
use super::{Snapshot, file};
use crate::decode;
use crate::duration::Shown;
use crate::error::BoxError;
use crate::tree::{self, Fault, Faults, MAX_DEPTH, MAX_KEY_LEN, Member, Members, Node, Place, Value};

/// Looks at a configuration before it is in force.
pub(super) type Check = Arc<dyn Fn(&Snapshot) -> Result<(), BoxError> + Send + Sync>;

/// Where a configuration comes from.
///
/// Defaults first, then a file, then variables of the environment, then what
/// is set by hand; the later wins. With the prefix `APP`, `APP_HTTP__LISTEN`
/// is `http.listen`: two underscores go one level down, one stays in the key,
/// and the case is that of the key where it is known.
///
/// # Examples
///
/// ```
/// use loopkeeper::config::{Config, Layers};
///
/// let layers = Layers::default()
///     .defaults(serde_json::json!({"http": {"listen": "127.0.0.1:80"}, "maxConns": 2}))
///     .environment("APP", [("APP_MAXCONNS".into(), "4".into()), ("HOME".into(), "/root".into())])
///     .set("http.listen", "none");
/// let config = Config::load(layers)?.snapshot();
/// assert_eq!(config.int("maxConns", 0), 4);
/// assert_eq!(config.explain("maxConns").unwrap().to_string(), "maxConns = \"4\" (env APP_MAXCONNS)");
///
/// // A variable cannot take the place of a whole object.
/// let layers = Layers::default()
///     .defaults(serde_json::json!({"http": {"listen": "none"}}))
///     .environment("APP", [("APP_HTTP".into(), "none".into())]);
/// assert_eq!(
///     Config::load(layers).unwrap_err().report().to_string(),
///     "env APP_HTTP: http: is an object in default, so it cannot be set as a whole",
/// );
/// # Ok::<(), loopkeeper::Error>(())
/// ```
#[derive(Clone, Default)]
#[must_use = "layers are there to be merged"]
pub struct Layers {
    defaults: Vec<Result<Node, Fault>>,
    file: Option<Input>,
    variables: Vec<Variable>,
    options: Vec<Setting>,
    secrets: Secrets,
    checks: Vec<Check>,
}

/// What the file layer reads.
#[derive(Clone)]
enum Input {
    File(PathBuf),
    Text(String, Arc<[u8]>),
}

/// One value that is set by hand.
#[derive(Clone)]
struct Setting {
    place: Place,
    keys: Vec<String>,
    text: String,
    kind: Text,
}

/// What a text that was set stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Text {
    /// Whatever its reader takes it for.
    Raw,
    /// The list, object, string or null that it holds; else as raw.
    Json,
}

impl Layers {
    /// Lays these values below all others: anything that is written as an
    /// object, such as a struct or `serde_json::json!`. Called again, the
    /// later wins. A [`Secret`](super::Secret) in it is absent: it is not
    /// written out.
    pub fn defaults(mut self, values: impl Serialize) -> Self {
        let place = Place::whole(DEFAULT);
        let node = serde_json::to_string(&values)
            .map_err(|error| error.to_string())
            .and_then(|text| tree::parse(DEFAULT, &text).map_err(|faults| faults.to_string()))
            .map_err(|message| Fault { place: place.clone(), key: String::new(), message });
        let node = node.map(|node| node.moved(&place)).and_then(|mut node| {
            without_shown(&mut node);
            decode::expect_object(&node).map(|()| node).map_err(|faults| first(faults, &place))
        });
        self.defaults.push(node);
        self
    }

    /// Reads this file over the defaults.
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.file = Some(Input::File(path.into()));
        self
    }

    /// Takes this JSON in place of a file; `name` stands for it in places.
    pub fn text(mut self, name: impl Into<String>, json: impl AsRef<[u8]>) -> Self {
        self.file = Some(Input::Text(name.into(), json.as_ref().into()));
        self
    }

    /// Takes the variables that begin with `prefix` and an underscore; see
    /// [`process_environment`]. They are kept as they are now. An empty prefix
    /// takes none.
    pub fn environment(
        mut self,
        prefix: &str,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Self {
        if prefix.is_empty() {
            return self;
        }
        let prefix = if prefix.ends_with('_') { prefix.to_owned() } else { format!("{prefix}_") };
        let variables = variables.into_iter();
        self.variables.extend(variables.filter_map(|(name, value)| Variable::new(&prefix, name, value)));
        // The environment has no order; faults should have one.
        crate::order::sort(&mut self.variables);
        self.variables.dedup();
        self
    }

    /// Sets a dotted key, as `--set key=value` does: to the list, object,
    /// string in quotes or null that `value` holds, else to its text, which
    /// is whatever its reader takes it for. An object is laid over what is
    /// there.
    pub fn set(self, key: &str, value: impl Into<String>) -> Self {
        self.option("--set", key, value.into(), Text::Json)
    }

    /// Sets a dotted key to a text; `option` is what faults name.
    pub fn set_text(self, option: &str, key: &str, text: impl Into<String>) -> Self {
        self.option(option, key, text.into(), Text::Raw)
    }

    /// Marks a key as secret: its value, and all below it, is never shown.
    ///
    /// A secret may be in a file of its own: `db.password_file` names it, and
    /// `db.password` is then its content without a line end. A relative path
    /// in the configuration file is relative to that file's folder, elsewhere
    /// to the current one.
    pub fn secret(mut self, key: &str) -> Self {
        let keys = path::split_owned(key);
        self.secrets.mark(dotted(&keys));
        self
    }

    /// Has `check` look at the whole before it is in force, when it is loaded
    /// and at each reload. What it refuses never is.
    ///
    /// # Threads
    ///
    /// Runs on the thread that loads or reloads: the caller's, or that of a
    /// [`ConfigWatcher`](super::ConfigWatcher). Calls may overlap.
    pub fn check<E: Into<BoxError>>(
        mut self,
        check: impl Fn(&Snapshot) -> Result<(), E> + Send + Sync + 'static,
    ) -> Self {
        self.checks.push(Arc::new(move |snapshot| check(snapshot).map_err(Into::into)));
        self
    }

    fn option(mut self, option: &str, key: &str, text: String, kind: Text) -> Self {
        let place = Place::whole(option);
        self.options.push(Setting { place, keys: path::split_owned(key), text, kind });
        self
    }

    pub(super) fn checks(&self) -> &[Check] {
        &self.checks
    }

    /// Whether there is a file that could change.
    pub(super) fn has_file(&self) -> bool {
        matches!(self.file, Some(Input::File(_)))
    }

    /// What the file is called.
    pub(super) fn file_name(&self) -> Option<String> {
        self.file.as_ref().map(|input| match input {
            Input::File(path) => file::name(path),
            Input::Text(name, _) => crate::text::on_one_line(name),
        })
    }

    /// Reads what is on disk without looking into it.
    pub(super) fn look(&self, secret_files: &[PathBuf]) -> Result<Fingerprint, Faults> {
        let mut fingerprint = Fingerprint::NONE;
        match &self.file {
            Some(Input::File(path)) => fingerprint = fingerprint.with(&file::read_bytes(path)?),
            Some(Input::Text(_, bytes)) => fingerprint = fingerprint.with(bytes),
            None => {}
        }
        for path in secret_files {
            // The configuration may not name this file any more; what is
            // wrong is told by the reading that follows.
            fingerprint = fingerprint.with_secret(&file::read_bytes(path).unwrap_or_default());
        }
        Ok(fingerprint)
    }

    /// Reads all layers and lays each over those below it.
    pub fn merge(&self) -> Merged {
        let root = Node::new(Place::whole("configuration"), Value::Object(Members::default()));
        let mut merged = Merged::new(root, self.secrets.clone());
        for node in &self.defaults {
            merged.source(DEFAULT.to_owned(), Layer::Default);
            match node {
                Ok(node) => merged.lay_over(node.clone()),
                Err(fault) => merged.faults.push(fault.clone()),
            }
        }
        if let Some(input) = &self.file {
            self.merge_file(input, &mut merged);
        }
        for variable in &self.variables {
            merged.source(variable.source(), Layer::Environment);
        }
        let secrets = self.secrets.iter();
        for set in environment::resolve(&self.variables, &merged.root, secrets, &mut merged.faults) {
            let setting = Setting { place: set.place, keys: set.keys, text: set.text, kind: Text::Raw };
            merged.lay(setting);
        }
        for setting in &self.options {
            merged.source(setting.place.file().to_owned(), Layer::Override);
            merged.lay(setting.clone());
        }
        merged.take_secret_files();
        merged
    }

    fn merge_file(&self, input: &Input, merged: &mut Merged) {
        let name = self.file_name().unwrap_or_default();
        merged.source(name.clone(), Layer::File);
        merged.file = Some(name.clone());
        let bytes = match input {
            Input::File(path) => {
                merged.base = path.parent().map(Path::to_owned).unwrap_or_default();
                file::read_bytes(path)
            }
            Input::Text(_, bytes) => Ok(bytes.to_vec()),
        };
        if let Ok(bytes) = &bytes {
            merged.fingerprint = merged.fingerprint.with(bytes);
        }
        let node = bytes.and_then(|bytes| tree::parse_bytes(name, &bytes));
        match node.and_then(|node| decode::expect_object(&node).map(|()| node)) {
            Ok(node) => merged.lay_over(node),
            Err(faults) => {
                merged.is_whole = false;
                merged.faults.extend(faults.into_vec());
            }
        }
    }
}

const DEFAULT: &str = "default";

impl fmt::Debug for Layers {
    /// Without values: any of them may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let variables: Vec<String> = self.variables.iter().map(Variable::source).collect();
        let options: Vec<String> = self.options.iter().map(|setting| dotted(&setting.keys)).collect();
        f.debug_struct("Layers")
            .field("file", &self.file_name())
            .field("variables", &variables)
            .field("options", &options)
            .field("secrets", &self.secrets)
            .finish_non_exhaustive()
    }
}

/// Reads the environment of the process, for [`Layers::environment`].
#[must_use]
pub fn process_environment() -> Vec<(OsString, OsString)> {
    #[allow(
        clippy::disallowed_methods,
        reason = "the one place that reads it: all others are handed the result"
    )]
    std::env::vars_os().collect()
}

impl Merged {
    fn lay_over(&mut self, node: Node) {
        self.root.overlay(node, "", &mut self.faults);
    }

    fn lay(&mut self, setting: Setting) {
        if let Err(fault) = lay(&mut self.root, setting, &mut self.faults) {
            self.faults.push(fault);
        }
    }

    /// Puts the content of each secret that is in a file of its own into its
    /// place.
    fn take_secret_files(&mut self) {
        let secrets: Vec<Vec<String>> = self.secrets.iter().map(path::split_owned).collect();
        for keys in secrets {
            if let Err(fault) = self.take_secret_file(&keys) {
                self.faults.push(fault);
            }
        }
    }

    fn take_secret_file(&mut self, keys: &[String]) -> Result<(), Fault> {
        let Some((last, above)) = keys.split_last() else { return Ok(()) };
        let Some(members) = members_at(&mut self.root, above) else { return Ok(()) };
        let named = format!("{last}_file");
        if !path::is_set(members.get(&named).map(|member| &member.node)) {
            return Ok(());
        }
        let Some(Member { node, key_place, .. }) = members.remove(&named) else { return Ok(()) };
        let (key, named) = (dotted(keys), dotted(&[above, &[named]].concat()));
        let given = members.get(last).map(|member| member.node.clone());
        if let Some(given) = given.filter(|given| path::is_set(Some(given))) {
            let (file, value) = (self.source_of(&node.place), self.source_of(&given.place));
            let layer = |source: &Option<Source>| source.as_ref().map(|source| source.layer);
            if layer(&file) == layer(&value) {
                let message = format!("is given twice, as {key} at {}, too", given.place);
                return Err(Fault { place: key_place, key: named, message });
            }
            if layer(&value) > layer(&file) {
                return Ok(());
            }
        }
        let written: String = decode::value(&node, &named).map_err(|faults| first(faults, &node.place))?;
        let is_in_file = self.file.as_deref() == Some(node.place.file());
        let path = if is_in_file { self.base.join(written) } else { PathBuf::from(written) };
        let refuse = |message: String| Fault { place: node.place.clone(), key: named.clone(), message };
        // Remembered also when it cannot be read: it may come.
        self.secret_files.push(path.clone());
        let bytes = file::read_bytes(&path).map_err(|faults| refuse(faults.to_string()))?;
        self.fingerprint = self.fingerprint.with_secret(&bytes);
        let name = file::name(&path);
        let text = String::from_utf8(bytes).map_err(|_| refuse(format!("{name}: is not UTF-8 text")))?;
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        if text.is_empty() {
            return Err(refuse(format!("{name}: is empty")));
        }
        let layer = self.source_of(&node.place).map_or(Layer::Default, |source| source.layer);
        self.source(name.clone(), layer);
        let place = Place::whole(name);
        let node = Node::new(place.clone(), Value::String(text.to_owned()));
        if let Some(members) = members_at(&mut self.root, above) {
            members.insert(Member { key: last.clone(), key_place: place, node });
        }
        Ok(())
    }
}

fn first(faults: Faults, place: &Place) -> Fault {
    let whole = || Fault { place: place.clone(), key: String::new(), message: String::new() };
    faults.into_vec().into_iter().next().unwrap_or_else(whole)
}

fn members_at<'a>(root: &'a mut Node, keys: &[String]) -> Option<&'a mut Members> {
    let mut node = root;
    for key in keys {
        let Value::Object(members) = &mut node.value else { return None };
        node = &mut members.get_mut(key)?.node;
    }
    match &mut node.value {
        Value::Object(members) => Some(members),
        _ => None,
    }
}

/// Puts a value at its path, making the objects on the way.
fn lay(root: &mut Node, setting: Setting, faults: &mut Vec<Fault>) -> Result<(), Fault> {
    let Setting { place, keys, text, kind } = setting;
    let root_key = |message: String| Fault { place: place.clone(), key: String::new(), message };
    if keys.iter().any(String::is_empty) {
        return Err(root_key(format!("names no setting: {}", Shown(&keys.join(".")))));
    }
    let value = match kind {
        Text::Raw => Value::Raw(text),
        Text::Json => match tree::parse("", &text).map(|node| node.moved(&place).value) {
            Ok(Value::Number(_) | Value::Bool(_)) | Err(_) => Value::Raw(text),
            Ok(value) => value,
        },
    };
    let node = Node::new(place.clone(), value);
    if let Some(long) = keys.iter().find(|key| key.chars().nth(MAX_KEY_LEN).is_some()) {
        return Err(root_key(format!("is longer than {MAX_KEY_LEN} characters: {}", Shown(long))));
    }
    // As deep as a file may be: all that reads a tree does so level by level.
    if keys.len() + node.depth() >= MAX_DEPTH {
        let keys = dotted(&keys);
        return Err(root_key(format!("{}: nests deeper than {} levels", Shown(&keys), MAX_DEPTH - 1)));
    }
    let path = dotted(&keys);
    let mut keys = keys.into_iter();
    let Some(last) = keys.next_back() else { return Ok(()) };
    let mut parent = root;
    let mut above = String::new();
    for key in keys {
        let empty = || Node::new(place.clone(), Value::Object(Members::default()));
        let members = object(parent, &place, &above)?;
        above = tree::join(&above, &key);
        if members.get(&key).is_none_or(|member| member.node.value == Value::Null) {
            members.insert(Member { key: key.clone(), key_place: place.clone(), node: empty() });
        }
        let Some(member) = members.get_mut(&key) else { return Ok(()) };
        parent = &mut member.node;
    }
    let members = object(parent, &place, &above)?;
    match members.get_mut(&last) {
        Some(member) => {
            member.key_place = place;
            member.node.overlay(node, &path, faults);
        }
        None => _ = members.insert(Member { key: last, key_place: place, node }),
    }
    Ok(())
}

/// The members of an object on the way; what is no object is kept.
fn object<'a>(node: &'a mut Node, place: &Place, key: &str) -> Result<&'a mut Members, Fault> {
    match &mut node.value {
        Value::Object(members) => Ok(members),
        _ => {
            let message = format!("is not an object in {}, so nothing in it can be set", node.place);
            Err(Fault { place: place.clone(), key: key.to_owned(), message })
        }
    }
}
