//! One tree of several sources: file, environment, command line; the later
//! wins, key by key, and every value keeps the place it came from.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::file;
use super::settings::{self, DEPLOY_DIR, Settings};
use crate::decode;
use crate::duration::Shown;
use crate::tree::{self, Fault, Faults, Member, Members, Node, Place, Value};

/// What the name of a variable begins with.
const PREFIX: &str = "LOOPKEEPER_";

/// The settings that are not texts. A text from a variable is turned into
/// JSON for them and for no other, so that a path named `5` stays a path.
const NOT_TEXTS: [&[&str]; 3] = [&["logging", "source"], &["http", "allowed_hosts"], &["shutdown_timeout"]];

/// Where a configuration comes from.
///
/// A file first, then variables of the environment, then what the command
/// line sets; the later wins. `LOOPKEEPER_HTTP__LISTEN` is `http.listen`: two
/// underscores go one level down, one stays in the key.
///
/// # Examples
///
/// ```
/// use loopkeeper::config::Layers;
///
/// let config = Layers::default()
///     .environment([("LOOPKEEPER_HTTP__LISTEN".into(), "none".into()), ("HOME".into(), "/root".into())])
///     .set("shutdown_timeout", "5")
///     .merge()
///     .read()?;
/// assert_eq!(config.http.listen, None);
/// assert_eq!(config.shutdown_timeout.as_secs(), 5);
///
/// let faults = Layers::default().set("http.lisen", "none").merge().read().unwrap_err();
/// assert_eq!(faults.to_string(), "--set: http: unknown field \"lisen\", did you mean \"listen\"?");
/// # Ok::<(), loopkeeper::tree::Faults>(())
/// ```
#[derive(Debug, Clone, Default)]
#[must_use = "layers are there to be merged"]
pub struct Layers {
    file: Option<PathBuf>,
    variables: Vec<(OsString, OsString)>,
    options: Vec<Setting>,
}

/// One value above those of the file.
#[derive(Debug, Clone)]
struct Setting {
    place: Place,
    path: Vec<String>,
    text: String,
    kind: Text,
}

/// What a text that was set stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Text {
    /// Itself, unless its setting is known not to be a text.
    Raw,
    /// JSON if it is JSON, else itself.
    Json,
}

impl Layers {
    /// Reads this file first.
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.file = Some(path.into());
        self
    }

    /// Takes the variables that begin with `LOOPKEEPER_`; see
    /// [`process_environment`].
    pub fn environment(mut self, variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        self.variables.extend(variables.into_iter().filter(|(name, _)| is_ours(name)));
        // The environment has no order; faults and winners should have one.
        self.variables.sort();
        self
    }

    /// Sets a dotted key, as `--set key=value` does: to the JSON value in
    /// `value`, or to the text if it is none.
    pub fn set(self, key: &str, value: impl Into<String>) -> Self {
        self.option("--set", key, value.into(), Text::Json)
    }

    /// Sets a dotted key to a text; `option` is what faults name.
    pub fn set_text(self, option: &str, key: &str, text: impl Into<String>) -> Self {
        self.option(option, key, text.into(), Text::Raw)
    }

    fn option(mut self, option: &str, key: &str, text: String, kind: Text) -> Self {
        let path = key.split('.').map(str::to_owned).collect();
        self.options.push(Setting { place: Place::whole(option), path, text, kind });
        self
    }

    /// Reads the file and lays the others over it.
    pub fn merge(&self) -> Merged {
        let mut faults = Vec::new();
        let mut root = Node::new(Place::whole("configuration"), Value::Object(Members::default()));
        let mut base = PathBuf::new();
        let mut file = None;
        let mut is_whole = true;
        if let Some(path) = &self.file {
            base = path.parent().map(Path::to_owned).unwrap_or_default();
            file = Some(file::name(path));
            match file::read(path) {
                Ok(node) => root = node,
                Err(found) => {
                    is_whole = false;
                    faults.extend(found.into_vec());
                }
            }
        }
        // A file that holds no object is told by the reading that follows.
        if matches!(root.value, Value::Object(_)) {
            let variables = self.variables.iter().map(|(name, value)| variable(name, value));
            for setting in variables.chain(self.options.iter().cloned().map(Ok)) {
                faults.extend(setting.and_then(|setting| lay(&mut root, setting)).err());
            }
        }
        Merged { root, faults, base, file, is_whole }
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

/// All layers in one tree.
#[derive(Debug, Clone)]
#[must_use = "the tree is there to be read"]
pub struct Merged {
    root: Node,
    faults: Vec<Fault>,
    /// The folder of the file.
    base: PathBuf,
    /// The name of the file in places.
    file: Option<String>,
    /// Whether the file could be read, if there is one.
    is_whole: bool,
}

impl Merged {
    /// Reads the configuration.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with any layer.
    pub fn read(&self) -> Result<Settings, Faults> {
        let dir_base = self.dir_base();
        let config = decode::object(&self.root, "", |o| settings::read(o, &dir_base));
        let mut faults = self.faults.clone();
        match config {
            Ok(config) => Faults::collect(faults).map_or(Ok(config), Err),
            Err(found) => {
                faults.extend(found.clone().into_vec());
                Err(Faults::collect(faults).unwrap_or(found))
            }
        }
    }

    /// The folder of descriptors, also when other settings are wrong; `None`
    /// when it cannot be known.
    #[must_use]
    pub fn deploy_dir(&self) -> Option<PathBuf> {
        let dir = match self.dir_node().map(|node| &node.value) {
            Some(Value::String(dir)) => dir,
            None if self.is_whole => DEPLOY_DIR,
            _ => return None,
        };
        Some(self.dir_base().join(dir))
    }

    fn dir_node(&self) -> Option<&Node> {
        self.root.get("deploy")?.get("dir").filter(|node| node.value != Value::Null)
    }

    /// What a relative folder of descriptors is relative to: the folder of
    /// the file that wrote it, or the current one.
    fn dir_base(&self) -> PathBuf {
        let elsewhere = self.dir_node().is_some_and(|node| self.file.as_deref() != Some(node.place.file()));
        if elsewhere { PathBuf::new() } else { self.base.clone() }
    }
}

/// Whether a variable is meant for this program. Kubernetes gives every
/// container `<NAME>_PORT..` and `<NAME>_SERVICE_..` for each service of its
/// namespace; for one that is named after the program they are not settings.
fn is_ours(name: &OsString) -> bool {
    let Some(key) = name.as_encoded_bytes().strip_prefix(PREFIX.as_bytes()) else { return false };
    let foreign: [&[u8]; 3] = [b"PORT_", b"SERVICE_PORT", b"SERVICE_HOST"];
    key != b"PORT" && !foreign.iter().any(|start| key.starts_with(start))
}

/// Turns a variable into what it sets.
fn variable(name: &OsString, value: &OsString) -> Result<Setting, Fault> {
    let place = Place::whole(format!("env {}", name.to_string_lossy().escape_debug()));
    let (Some(name), Some(text)) = (name.to_str(), value.to_str()) else {
        return Err(Fault { place, key: String::new(), message: "is not UTF-8 text".to_owned() });
    };
    let path = name.strip_prefix(PREFIX).unwrap_or_default().split("__");
    let path = path.map(str::to_ascii_lowercase).collect();
    Ok(Setting { place, path, text: text.to_owned(), kind: Text::Raw })
}

/// Puts a value at its path, making the objects on the way.
fn lay(root: &mut Node, setting: Setting) -> Result<(), Fault> {
    let Setting { place, path, text, kind } = setting;
    if path.iter().any(String::is_empty) {
        let message = format!("names no setting: {}", Shown(&path.join(".")));
        return Err(Fault { place, key: String::new(), message });
    }
    let json = kind == Text::Json || NOT_TEXTS.iter().any(|known| path == **known);
    let value = if json { tree::parse("", &text).ok() } else { None };
    let value = value.map_or(Value::String(text), |node| moved(node, &place).value);
    let mut keys = path.into_iter();
    let Some(last) = keys.next_back() else { return Ok(()) };
    let mut node = root;
    let mut above = String::new();
    for key in keys {
        above = tree::join(&above, &key);
        let empty = || Node::new(place.clone(), Value::Object(Members::default()));
        let members = object(node, &place, &above)?;
        if members.get(&key).is_none_or(|member| member.node.value == Value::Null) {
            members.insert(Member { key: key.clone(), key_place: place.clone(), node: empty() });
        }
        let Some(member) = members.get_mut(&key) else { return Ok(()) };
        node = &mut member.node;
    }
    let member = Member { key: last, key_place: place.clone(), node: Node::new(place.clone(), value) };
    object(node, &place, &above)?.insert(member);
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

/// Gives all nodes of a tree one place.
fn moved(node: Node, place: &Place) -> Node {
    let value = match node.value {
        Value::Array(nodes) => Value::Array(nodes.into_iter().map(|node| moved(node, place)).collect()),
        Value::Object(members) => {
            let mut all = Members::default();
            for Member { key, node, .. } in members {
                all.insert(Member { key, key_place: place.clone(), node: moved(node, place) });
            }
            Value::Object(all)
        }
        value => value,
    };
    Node::new(place.clone(), value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
        pairs.iter().map(|(name, value)| (name.into(), value.into())).collect()
    }

    fn check(layers: Layers) -> Result<Settings, String> {
        layers.merge().read().map_err(|faults| faults.to_string())
    }

    #[test]
    fn nothing_at_all_is_the_default() {
        assert_eq!(check(Layers::default()), Ok(Settings::default()));
        assert_eq!(Layers::default().merge().deploy_dir().unwrap(), Path::new("deploy"));
    }

    #[test]
    fn crt_07_variables_set_keys_and_foreign_ones_are_left_alone() {
        let layers = Layers::default().environment(variables(&[
            ("LOOPKEEPER_HTTP__ALLOWED_HOSTS", r#"["a", "b"]"#),
            ("LOOPKEEPER_LOGGING__SOURCE", "true"),
            ("LOOPKEEPER_LOGGING__LEVEL", " Warning"),
            ("LOOPKEEPER_DEPLOY__DIR", "5"),
            ("LOOPKEEPER_SHUTDOWN_TIMEOUT", "1.5"),
            ("LOOPKEEPER", "x"),
            ("LOOPKEEPER_PORT", "tcp://10.0.0.1:80"),
            ("LOOPKEEPER_PORT_80_TCP_ADDR", "10.0.0.1"),
            ("LOOPKEEPER_SERVICE_HOST", "10.0.0.1"),
            ("LOOPKEEPER_SERVICE_PORT_HTTP", "80"),
            ("LOOPKEEPERS_HTTP__LISTEN", "x"),
            ("HTTP__LISTEN", "x"),
        ]));
        let config = check(layers).unwrap();
        assert_eq!(config.http.allowed_hosts, ["a", "b"]);
        assert!(config.logging.source);
        assert_eq!(config.logging.level, log::Level::Warn);
        assert_eq!(config.deploy.dir, Path::new("5"));
        assert_eq!(config.shutdown_timeout.as_millis(), 1500);
    }

    #[test]
    fn the_command_line_wins_and_its_values_are_json_or_text() {
        let layers = Layers::default()
            .environment(variables(&[("LOOPKEEPER_HTTP__LISTEN", "none"), ("LOOPKEEPER_DEPLOY__DIR", "a")]))
            .set("http.listen", "[::1]:1")
            .set("deploy", r#"{"dir": "b"}"#)
            .set("logging.source", "true")
            .set("shutdown_timeout", "1m")
            .set_text("--deploy", "deploy.dir", "7");
        let config = check(layers).unwrap();
        assert_eq!(config.http.listen.unwrap().to_string(), "[::1]:1");
        assert_eq!(config.deploy.dir, Path::new("7"));
        assert!(config.logging.source);
        assert_eq!(config.shutdown_timeout.as_secs(), 60);
        let reset = Layers::default().set("http.listen", "none").set("http", "null");
        assert_eq!(check(reset), Ok(Settings::default()));
    }

    #[test]
    fn a_fault_names_the_variable_or_the_option() {
        for (pairs, expected) in [
            (
                &[("LOOPKEEPER_HTTP__LISTEN", "8470")][..],
                "env LOOPKEEPER_HTTP__LISTEN: http.listen: expected an address such as \"127.0.0.1:8470\" or \
                 \"none\", found \"8470\"",
            ),
            (
                &[("LOOPKEEPER_HTPP__LISTEN", "none"), ("LOOPKEEPER_SHUTDOWN_TIMEOUT", "0")],
                "env LOOPKEEPER_HTPP__LISTEN: unknown field \"htpp\", did you mean \"http\"?\n\
                 env LOOPKEEPER_SHUTDOWN_TIMEOUT: shutdown_timeout: must be more than zero, found the number 0",
            ),
            (
                &[("LOOPKEEPER_LOGGING__SOURCE", "yes")],
                "env LOOPKEEPER_LOGGING__SOURCE: logging.source: expected true or false, found the string \"yes\"",
            ),
            (&[("LOOPKEEPER_", "1")], "env LOOPKEEPER_: names no setting: \"\""),
            (&[("LOOPKEEPER_HTTP__", "1")], "env LOOPKEEPER_HTTP__: names no setting: \"http.\""),
            (
                &[("LOOPKEEPER_SHUTDOWN_TIMEOUT", "1s"), ("LOOPKEEPER_SHUTDOWN_TIMEOUT__X", "1")],
                "env LOOPKEEPER_SHUTDOWN_TIMEOUT__X: shutdown_timeout: is not an object in env \
                 LOOPKEEPER_SHUTDOWN_TIMEOUT, so nothing in it can be set",
            ),
        ] {
            let layers = Layers::default().environment(variables(pairs));
            assert_eq!(check(layers).unwrap_err(), expected, "{pairs:?}");
        }
        for (key, value, expected) in [
            ("http.listen", "5", "--set: http.listen: expected a string, found the number 5"),
            ("logging", "[]", "--set: logging: expected an object, found a list"),
            (
                "logging.source",
                "yes",
                "--set: logging.source: expected true or false, found the string \"yes\"",
            ),
            (
                "logging.level",
                "loud",
                "--set: logging.level: expected \"debug\", \"info\", \"warn\" or \"error\", found the string \"loud\"",
            ),
            (
                "logging.format",
                "xml",
                "--set: logging.format: expected \"text\" or \"json\", found the string \"xml\"",
            ),
            ("", "1", "--set: names no setting: \"\""),
            ("http..listen", "1", "--set: names no setting: \"http..listen\""),
        ] {
            assert_eq!(check(Layers::default().set(key, value)).unwrap_err(), expected, "{key}={value}");
        }
    }

    #[test]
    fn what_has_no_effect_yet_is_refused() {
        for (key, unknown) in [
            ("http.token_file", "token_file"),
            ("http.history_file", "history_file"),
            ("deploy.scan_interval", "scan_interval"),
            ("config.watch_interval", "config"),
            ("store.url", "store"),
            ("monitor.poll_period", "monitor"),
        ] {
            let faults = check(Layers::default().set(key, "1")).unwrap_err();
            assert!(faults.contains(&format!("unknown field {unknown:?}")), "{faults}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_variable_that_is_not_text_is_a_fault() {
        use std::os::unix::ffi::OsStringExt;
        let layers = Layers::default()
            .environment([(OsString::from("LOOPKEEPER_HTTP__LISTEN"), OsString::from_vec(vec![0xff]))]);
        assert_eq!(check(layers).unwrap_err(), "env LOOPKEEPER_HTTP__LISTEN: is not UTF-8 text");
    }
}
