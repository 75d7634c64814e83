//! Tells which settings hold, and where each comes from: as the files and the
//! command line say, or as the daemon that runs has them in force.

use loopkeeper::config::{Config, Layers};
use loopkeeper::console::closest;
use loopkeeper::rest::Request;
use serde_json::Value;

use super::ask::{Daemon, Where, fail, refused};
use super::help::Topic;
use super::load::complete;
use super::logging::json_on_one_line;
use super::usage::Usage;
use super::{Exit, complain, escaped, say};

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ask {
    /// The setting, or those below it; all of them when it is absent.
    pub(crate) key: Option<String>,
    /// Whether the answer is for a program.
    pub(crate) json: bool,
    /// Whom to ask, if not the files.
    pub(crate) place: Option<Where>,
}

/// The command `explain`.
pub(crate) fn run(layers: Layers, ask: &Ask) -> Exit {
    let all = match &ask.place {
        Some(place) => in_force(layers, place),
        None => on_disk(layers),
    };
    match all {
        Ok(all) => tell(&all, ask),
        Err(exit) => exit,
    }
}

fn on_disk(layers: Layers) -> Result<Vec<Value>, Exit> {
    let config = Config::load(complete(layers)).map_err(|error| {
        complain(escaped(&error.report().to_string()));
        Exit::BadConfig
    })?;
    let all = serde_json::to_value(config.snapshot().explain_all());
    Ok(all.ok().and_then(|all| all.as_array().cloned()).unwrap_or_default())
}

fn in_force(layers: Layers, place: &Where) -> Result<Vec<Value>, Exit> {
    let answer = Daemon::find(layers, place, false)?.send("explain", &Request::get("/config"))?;
    if answer.status() != 200 {
        return Err(refused(&answer, "without --url and --running the files are explained", ""));
    }
    let body = answer.json().map_err(|error| fail(Exit::Unreachable, &error.to_string()))?;
    let all = body["origins"].as_array().cloned();
    all.ok_or_else(|| fail(Exit::Unreachable, "who answers is no loopkeeper: there are no settings in it"))
}

fn tell(all: &[Value], ask: &Ask) -> Exit {
    let key_of = |one: &Value| one["key"].as_str().unwrap_or("-").to_owned();
    let is_asked = |found: &str| match &ask.key {
        Some(key) => found == key || found.strip_prefix(&**key).is_some_and(|rest| rest.starts_with('.')),
        None => true,
    };
    let line = |one: &Value| {
        if ask.json {
            return json_on_one_line(one);
        }
        escaped(&format!("{} = {} ({})", key_of(one), one["value"], one["place"].as_str().unwrap_or("-")))
    };
    let lines: Vec<String> = all.iter().filter(|one| is_asked(&key_of(one))).map(line).collect();
    if lines.is_empty() {
        let keys: Vec<String> = all.iter().map(key_of).collect();
        let key = ask.key.as_deref().unwrap_or_default();
        let groups = keys.iter().filter_map(|key| key.rsplit_once('.')).map(|(group, _)| group);
        let known: Vec<&str> = keys.iter().map(String::as_str).chain(groups).collect();
        let known = match closest(key, &known) {
            Some(meant) => format!("did you mean {meant:?}?"),
            None => format!("expected one of {}", keys.join(", ")),
        };
        let message = escaped(&format!("no setting {key:?}, {known}"));
        complain(Usage::about(Topic::Explain, message));
        return Exit::Usage;
    }
    say(lines.join("\n"))
}
