//! Variables of the environment: which are meant, and which key each sets.
//!
//! `PREFIX_HTTP__LISTEN` is `http.listen`: two underscores go one level down,
//! one stays in the key. A name is matched with the keys that are known from
//! the layers below, in any case, so that `maxConns` and `max-conns` can be
//! reached. Two variables that are in each other's way, and a name that may
//! mean two keys, are faults; none of them has an effect.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};

use super::path::{self, dotted};
use crate::duration::Shown;
use crate::tree::{Fault, Member, Members, Node, Place, Value};

/// A variable that begins with the prefix.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Variable {
    name: OsString,
    /// The name after the prefix, where it is text.
    key: Option<String>,
    value: OsString,
}

/// What a variable sets.
pub(super) struct Assignment {
    pub(super) place: Place,
    pub(super) keys: Vec<String>,
    pub(super) text: String,
}

impl Variable {
    /// Takes a variable that is meant for the program.
    pub(super) fn new(prefix: &str, name: OsString, value: OsString) -> Option<Self> {
        let key = name.as_encoded_bytes().strip_prefix(prefix.as_bytes())?;
        let key = std::str::from_utf8(key).ok().map(str::to_owned);
        Some(Self { name, key, value })
    }

    /// The name of the variable as a source.
    pub(super) fn source(&self) -> String {
        source(&self.name)
    }
}

fn source(name: &OsStr) -> String {
    format!("env {}", name.to_string_lossy().escape_debug())
}

/// Finds what the variables set in a tree that is known so far. `secrets` are
/// keys that are known though they may stand nowhere yet.
pub(super) fn resolve<'s>(
    variables: &[Variable],
    root: &Node,
    secrets: impl Iterator<Item = &'s str>,
    faults: &mut Vec<Fault>,
) -> Vec<Assignment> {
    if variables.is_empty() {
        return Vec::new();
    }
    let names = with_secrets(root, secrets);
    let mut found: Vec<Assignment> = Vec::new();
    for variable in variables {
        match assignment(variable, root, &names) {
            Ok(assignment) => found.extend(assignment),
            Err(fault) => faults.push(fault),
        }
    }
    // In the order of their paths, so that what is in the way of another
    // comes just before all that it is in the way of.
    crate::order::sort_by(&mut found, |a, b| a.keys.cmp(&b.keys));
    let mut clashes = vec![false; found.len()];
    let mut above = 0;
    for idx in 1..found.len() {
        if !found[idx].keys.starts_with(&found[above].keys) {
            above = idx;
            continue;
        }
        let (first, second) = (&found[above], &found[idx]);
        let same = first.keys.len() == second.keys.len();
        let message = if same {
            format!("is set by {}, too", first.place)
        } else {
            format!("is set by {}, so nothing in it can be set", first.place)
        };
        faults.push(Fault { place: second.place.clone(), key: dotted(&first.keys), message });
        (clashes[above], clashes[idx]) = (true, true);
    }
    let mut clashes = clashes.into_iter();
    found.retain(|_| !clashes.next().unwrap_or_default());
    found
}

/// The tree with a place for each secret and for the name of its file.
fn with_secrets<'n, 's>(root: &'n Node, secrets: impl Iterator<Item = &'s str>) -> Cow<'n, Node> {
    let place = Place::whole("marked as secret");
    let member = |key: String, value: Value| {
        let node = Node::new(place.clone(), value);
        Member { key, key_place: place.clone(), node }
    };
    secrets.fold(Cow::Borrowed(root), |mut names, secret| {
        let mut node = names.to_mut();
        let keys = path::split_owned(secret);
        for (idx, key) in keys.iter().enumerate() {
            if node.value == Value::Null {
                node.value = Value::Object(Members::default());
            }
            let Value::Object(members) = &mut node.value else { break };
            if idx + 1 == keys.len() {
                let named = format!("{key}_file");
                for key in
                    [key, &named].into_iter().filter(|key| members.get(key).is_none()).collect::<Vec<_>>()
                {
                    members.insert(member(key.clone(), Value::Null));
                }
                break;
            }
            if members.get(key).is_none() {
                members.insert(member(key.clone(), Value::Null));
            }
            let Some(member) = members.get_mut(key) else { break };
            node = &mut member.node;
        }
        names
    })
}

/// Finds what a variable sets; `names` are all keys that are known, `root`
/// what stands there.
fn assignment(variable: &Variable, root: &Node, names: &Node) -> Result<Option<Assignment>, Fault> {
    let place = Place::whole(variable.source());
    let fault = |key: String, message: String| Err(Fault { place: place.clone(), key, message });
    let (Some(name), Some(text)) = (&variable.key, variable.value.to_str()) else {
        return fault(String::new(), "is not UTF-8 text".to_owned());
    };
    let keys = match known(names, name).as_slice() {
        [keys] => keys.clone(),
        [] if is_of_kubernetes(name, text) => return Ok(None),
        [] => {
            let parts: Vec<&str> = name.split("__").collect();
            if parts.iter().any(|part| part.is_empty()) {
                let path = parts.join(".").to_ascii_lowercase();
                return fault(String::new(), format!("names no setting: {}", Shown(&path)));
            }
            match nearest(names, &parts) {
                Ok(keys) => keys,
                Err((first, second)) => return fault(String::new(), may_mean(names, &first, &second)),
            }
        }
        [first, second, ..] => return fault(String::new(), may_mean(names, first, second)),
    };
    if let Some(Node { value: Value::Object(_), place: below }) = path::find_keys(root, &keys) {
        return fault(dotted(&keys), format!("is an object in {below}, so it cannot be set as a whole"));
    }
    // What is on the way must be objects.
    for len in 1..keys.len() {
        match path::find_keys(root, &keys[..len]) {
            None | Some(Node { value: Value::Object(_) | Value::Null, .. }) => {}
            Some(node) => {
                let message = format!("is not an object in {}, so nothing in it can be set", node.place);
                return fault(dotted(&keys[..len]), message);
            }
        }
    }
    Ok(Some(Assignment { place, keys, text: text.to_owned() }))
}

/// Every known key that the name may mean as a whole. A key may hold `__`
/// itself, or begin or end with `_`, so keys are looked for in the name and
/// not the other way round.
fn known(node: &Node, name: &str) -> Vec<Vec<String>> {
    let Value::Object(members) = &node.value else { return Vec::new() };
    let mut all = Vec::new();
    for member in members {
        let below = match after(name, &member.key) {
            Some("") => vec![Vec::new()],
            Some(rest) => rest.strip_prefix("__").map(|rest| known(&member.node, rest)).unwrap_or_default(),
            None => continue,
        };
        all.extend(below.into_iter().map(|below| [vec![member.key.clone()], below].concat()));
    }
    all
}

/// What comes after a key that a name begins with.
fn after<'a>(name: &'a str, key: &str) -> Option<&'a str> {
    let mut key = shape(key).peekable();
    for (at, c) in name.char_indices() {
        if key.peek().is_none() {
            return Some(&name[at..]);
        }
        // Compared letter by letter: nearly all keys differ at once.
        for letter in shape(c.encode_utf8(&mut [0; 4])) {
            if key.next() != Some(letter) {
                return None;
            }
        }
    }
    key.next().is_none().then_some("")
}

type Twins = (Vec<String>, Vec<String>);

/// The key that a name means which is not known as a whole: known keys as far
/// as they go, small letters from there. Two known keys on the way are told.
fn nearest(root: &Node, parts: &[&str]) -> Result<Vec<String>, Twins> {
    let mut keys: Vec<String> = Vec::new();
    let mut node = Some(root);
    for part in parts {
        let twins = node.map(|node| matching(node, part)).unwrap_or_default();
        let with = |key: &str| keys.iter().cloned().chain([key.to_owned()]).collect();
        match twins.as_slice() {
            [first, second, ..] => return Err((with(first), with(second))),
            [key] => {
                node = node.and_then(|node| node.get(key));
                keys.push((*key).to_owned());
            }
            [] => {
                node = None;
                keys.push(part.to_ascii_lowercase());
            }
        }
    }
    Ok(keys)
}

/// The keys of an object that a part of a name may mean.
fn matching<'a>(node: &'a Node, part: &str) -> Vec<&'a str> {
    let Value::Object(members) = &node.value else { return Vec::new() };
    members.iter().map(|member| &*member.key).filter(|key| shape(key).eq(shape(part))).collect()
}

/// What is left of a key in the name of a variable.
fn shape(key: &str) -> impl Iterator<Item = char> + '_ {
    let letter = |c: char| if c.is_alphanumeric() { c } else { '_' };
    key.chars().map(letter).flat_map(char::to_uppercase)
}

fn may_mean(root: &Node, first: &[String], second: &[String]) -> String {
    let one = |keys: &[String]| {
        let place = path::find_keys(root, keys).map(|node| format!(" ({})", node.place));
        format!("{}{}", dotted(keys), place.unwrap_or_default())
    };
    format!("may mean {} or {}", one(first), one(second))
}

/// Kubernetes gives every container `<NAME>_PORT..` and `<NAME>_SERVICE_..`
/// for each service of its namespace. For one whose name is or begins with
/// that of the program they are not settings, unless they name a setting that
/// is known.
fn is_of_kubernetes(name: &str, text: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // `<number>_<protocol>`, and what more may follow.
    let is_port = |rest: &str| match rest.split_once('_') {
        Some((number, rest)) => {
            let protocol = rest.split('_').next().unwrap_or_default();
            is_number(number) && ["TCP", "UDP", "SCTP"].contains(&protocol)
        }
        None => false,
    };
    // What follows a key that is a word of its own.
    let after = |key: &str| {
        let found = name.match_indices(key).filter(|(at, _)| *at == 0 || name[..*at].ends_with('_'));
        found.map(|(at, _)| &name[at + key.len()..]).collect::<Vec<_>>()
    };
    let ends = |key: &str| after(key).contains(&"");
    if name.contains("__") {
        // Between keys: a setting of a group.
        return false;
    }
    ends("SERVICE_HOST")
        || after("SERVICE_PORT").iter().any(|rest| rest.is_empty() || rest.starts_with('_'))
        || ends("PORT") && text.contains("://")
        || after("PORT_").into_iter().any(is_port)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Faults, parse};

    /// What variables set in a known tree, as `key=text`, and the faults.
    fn check(known: &str, variables: &[(&str, &str)]) -> (Vec<String>, String) {
        let root = parse("f", known).unwrap();
        let variables: Vec<Variable> = variables
            .iter()
            .filter_map(|(name, text)| Variable::new("APP_", name.into(), text.into()))
            .collect();
        let mut faults = Vec::new();
        let set = resolve(&variables, &root, std::iter::empty(), &mut faults);
        let set = set.iter().map(|set| format!("{}={}", dotted(&set.keys), set.text)).collect();
        (set, Faults::collect(faults).map(|faults| faults.to_string()).unwrap_or_default())
    }

    #[test]
    fn wrt_31_every_key_of_the_file_can_be_reached() {
        let known =
            r#"{"max_conns": 1, "maxIdle": 1, "max-age": 1, "http": {"readTimeout": 1}, "a__b": 1, "ä": 1}"#;
        for (name, key) in [
            ("APP_MAX_CONNS", "max_conns"),
            ("APP_MAXIDLE", "maxIdle"),
            ("APP_maxIdle", "maxIdle"),
            ("APP_MAX_AGE", "max-age"),
            ("APP_HTTP__READTIMEOUT", "http.readTimeout"),
            ("APP_Http__NEW__KEY", "http.new.key"),
            ("APP_A__B", "a__b"),
            ("APP_Ä", "ä"),
            ("APP_NEW_KEY", "new_key"),
        ] {
            assert_eq!(check(known, &[(name, "x")]), (vec![format!("{key}=x")], String::new()), "{name}");
        }
    }

    #[test]
    fn wrt_32_what_conflicts_is_told_with_both_names() {
        for (known, variables, faults) in [
            (
                "{}",
                &[("APP_A", "1"), ("APP_A__B", "2"), ("APP_A__C", "2")][..],
                "env APP_A__B: a: is set by env APP_A, so nothing in it can be set\n\
                 env APP_A__C: a: is set by env APP_A, so nothing in it can be set",
            ),
            ("{}", &[("APP_A", "1"), ("APP_a", "1")], "env APP_a: a: is set by env APP_A, too"),
            (
                r#"{"a": {"b": 1}}"#,
                &[("APP_A", "1")],
                "env APP_A: a: is an object in f:1:7, so it cannot be set as a whole",
            ),
            (
                r#"{"a": 1}"#,
                &[("APP_A__B", "1")],
                "env APP_A__B: a: is not an object in f:1:7, so nothing in it can be set",
            ),
            (
                r#"{"maxAge": 1, "maxage": 2}"#,
                &[("APP_MAXAGE", "1")],
                "env APP_MAXAGE: may mean maxAge (f:1:12) or maxage (f:1:25)",
            ),
            (
                r#"{"a__b": 1, "a": {"b": 2}}"#,
                &[("APP_A__B", "1")],
                "env APP_A__B: may mean a__b (f:1:10) or a.b (f:1:24)",
            ),
            (r#"{"a": {}, "A": {}}"#, &[("APP_A__B", "1")], "env APP_A__B: may mean a (f:1:7) or A (f:1:16)"),
            ("{}", &[("APP_A____B", "1")], "env APP_A____B: names no setting: \"a..b\""),
        ] {
            let mut reversed = variables.to_vec();
            reversed.reverse();
            assert_eq!(check(known, variables), (Vec::new(), faults.to_owned()), "{variables:?}");
            if variables.len() < 2 || faults.contains("nothing in it") {
                assert_eq!(check(known, &reversed), (Vec::new(), faults.to_owned()), "{variables:?}");
            }
        }
    }

    #[test]
    fn variables_of_kubernetes_are_left_alone_unless_they_are_known() {
        let variables = [
            ("APP_PORT", "tcp://10.0.0.1:80"),
            ("APP_PORT_80_TCP_ADDR", "10.0.0.1"),
            ("APP_SERVICE_HOST", "10.0.0.1"),
            ("APP_SERVICE_PORT_HTTP", "80"),
        ];
        assert_eq!(check("{}", &variables), (Vec::new(), String::new()));
        // A service that is called app-metrics.
        let others = [
            ("APP_METRICS_SERVICE_HOST", "10.0.0.1"),
            ("APP_METRICS_SERVICE_PORT", "80"),
            ("APP_METRICS_SERVICE_PORT_HTTP", "80"),
            ("APP_METRICS_PORT", "tcp://10.0.0.1:80"),
            ("APP_METRICS_PORT_80_TCP", "tcp://10.0.0.1:80"),
            ("APP_METRICS_PORT_80_TCP_PROTO", "tcp"),
            ("APP_METRICS_PORT_80_TCP_PORT", "80"),
            ("APP_METRICS_PORT_80_TCP_ADDR", "10.0.0.1"),
            ("APP_METRICS_PORT_53_UDP", "udp://10.0.0.1:53"),
        ];
        assert_eq!(check("{}", &others), (Vec::new(), String::new()));
        assert_eq!(check(r#"{"metrics_service_host": ""}"#, &others).0, ["metrics_service_host=10.0.0.1"]);
        let nested = [("APP_DB__SERVICE_HOST", "10.0.0.1"), ("APP_DB__SERVICE_PORT", "80")];
        assert_eq!(check("{}", &nested).0, ["db.service_host=10.0.0.1", "db.service_port=80"]);
        let settings =
            [("APP_METRICS_PORT", "80"), ("APP_METRICS_PORT_80", "x"), ("APP_TRANSPORT_80_TCP", "x")];
        assert_eq!(check("{}", &settings).0, ["metrics_port=80", "metrics_port_80=x", "transport_80_tcp=x"]);
        assert_eq!(check(r#"{"service_host": ""}"#, &variables).0, ["service_host=10.0.0.1"]);
        assert_eq!(check("{}", &[("APP_PORT", "8080")]).0, ["port=8080"]);
    }
}
