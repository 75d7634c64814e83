//! The service as it stands in a descriptor.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{CHECKPOINTS, RESTORE, RUN, RestConfig, RunField, TIMEOUT};
use crate::decode::Object;
use crate::pointer::Pointer;
use crate::recovery::RecoveryMonitorConfig;
use crate::recovery::descriptor::read_policy_in_force;
use crate::recovery::metadata::check_run;
use crate::rest::{ClientConfig, Key, MAX_BODY, Template};

/// Finds a variable of the environment by its name.
pub type Lookup = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// A recovery monitor as it stands in a descriptor.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RestMonitor {
    /// How runs are watched and recovered.
    pub monitor: RecoveryMonitorConfig,
    /// The service that they are asked of and restored by.
    pub service: RestConfig,
    /// The runs that are watched.
    pub runs: Vec<String>,
}

/// Reads a recovery monitor: the `config` object of the descriptor `name`,
/// with a [`service`](decode), a
/// [`policy`](crate::recovery::descriptor::read_policy) and the `runs` to
/// watch. The policy has to be switched on: it is off unless it says so, and a
/// monitor that recovers nothing is a mistake.
///
/// `None` when there was a fault; `o` knows it.
pub fn decode_monitor(name: &str, o: &mut Object<'_, '_>, environment: &Lookup) -> Option<RestMonitor> {
    o.doc("Polls runs of a service, has those restored that are corrupted, and proves that they are well.");
    let service = o.object("service", |o| decode(o, environment));
    let service = service.doc("The service that runs are asked of and restored by.").required();
    let policy = o.object("policy", read_policy_in_force);
    let policy = policy.doc("When and how runs are restored.").required();
    let runs = o.strings("runs").check(|runs| {
        let twice = runs.iter().enumerate().find(|(idx, run)| runs[..*idx].contains(run));
        if runs.is_empty() {
            return Err("must name a run".to_owned());
        }
        if let Some((_, run)) = twice {
            return Err(format!("{} stands twice", crate::duration::Shown(run)));
        }
        let check = |run: &String| {
            check_run(run)?;
            // Every path of the service has it for one of its pieces.
            Template::new("/{run}", &["run"])?.fill(&[("run", run)]).map(drop)
        };
        runs.iter().try_for_each(check).map_err(|error| error.to_string())
    });
    let runs = runs.doc("The names of the runs that are watched.").required();
    let max_polls =
        o.u32("max_polls").at_least(1).at_most(256).doc("How many runs are polled at once.").or(8);
    let max_concurrent =
        o.u32("max_concurrent").at_least(1).at_most(256).doc("How many runs are restored at once.").or(1);
    let max_queued =
        o.u32("max_queued").at_least(1).doc("How many corrupted runs may wait for their turn.").or(1024);
    let critical = o
        .bool("critical")
        .doc("Whether the whole is down, and not only degraded, while a run cannot be recovered.")
        .or(false);
    let state_file = o.string("state_file").check(is_named);
    let state_file = state_file
        .doc("A file in which it is kept under which name a restored run goes on; without one a restart of the program asks for the first again. Relative to the current folder.")
        .optional();
    let done = o.done()?;
    let (policy, service, runs) = (policy.take(done)?, service.take(done)?, runs.take(done)?);
    let monitor = RecoveryMonitorConfig::new(name, policy)
        .max_polls(max_polls)
        .max_concurrent(max_concurrent)
        .max_queued(max_queued);
    let monitor = if critical { monitor.critical() } else { monitor };
    let monitor = match state_file {
        Some(path) => monitor.state_file(path),
        None => monitor,
    };
    Some(RestMonitor { monitor, service, runs })
}

/// Reads the object of a service, such as
/// `{"base_url": "http://127.0.0.1:9000", "key_file": "/run/secrets/key"}`.
///
/// `environment` finds what `key_env` names, each time it is asked for.
/// `None` when there was a fault; `o` knows it.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use loopkeeper::{decode, recovery::rest, tree};
///
/// let environment: rest::Lookup = Arc::new(|name| (name == "RUNS_KEY").then(|| "c2VjcmV0".to_owned()));
/// let read = |text: &str| {
///     decode::object(&tree::parse("runs.json", text)?, "", |o| rest::decode(o, &environment))
/// };
/// assert!(read(r#"{"base_url": "http://127.0.0.1:9000", "key_env": "RUNS_KEY"}"#).is_ok());
///
/// let faults = read(r#"{"base_url": "http://127.0.0.1:9000", "paths": {"run": "/runs/{id}"}}"#).unwrap_err();
/// assert_eq!(faults.to_string(), "runs.json:1:56: paths.run: unknown place {id}, expected {run}");
/// # Ok::<(), tree::Faults>(())
/// ```
pub fn decode(o: &mut Object<'_, '_>, environment: &Lookup) -> Option<RestConfig> {
    o.doc("The service that runs are asked of and restored by.");
    let base_url = o
        .string("base_url")
        .check(|url| ClientConfig::new(url).check().map_err(|error| without("base_url: ", &error)))
        .doc("Where it is; paths go to its end.")
        .required();
    let key_file = o.string("key_file").check(is_named);
    let key_file = key_file.doc("A file with the key that is sent, read for each request.").optional();
    let key_env = o.string("key_env").check(is_named);
    let key_env =
        key_env.doc("The variable of the environment with the key, in the place of a file.").optional();
    let key_header = o
        .string("key_header")
        .check(|name| {
            let config = ClientConfig::new("http://localhost").key_header(name);
            config.check().map_err(|error| without("key_header: ", &error))
        })
        .doc("The header that the key is sent in; in this one \"Bearer\" stands before it.")
        .or("Authorization".to_owned());
    let headers = o
        .string_map("headers")
        .check(|headers| client_with(headers).check().map_err(|error| without("headers: ", &error)))
        .doc("Headers to send along.")
        .or_default();
    let max_body = o
        .bytes("max_body")
        .check(|bytes| if *bytes == 0 { Err("must be more than zero") } else { Ok(()) })
        .doc("How long an answer may be.")
        .or(MAX_BODY);
    let redirects = o.u32("follow_redirects").at_most(20);
    let redirects = redirects.doc("How many redirects are followed, to the same server.").or(3);
    let timeout = o.duration("timeout").doc("How long one request for a state may take.").or(TIMEOUT);
    let paths = o.object("paths", read_paths).doc("Where on the service things are.").optional();
    let fields = o.object("fields", read_fields);
    let fields = fields.doc("Where in its documents things are, as JSON pointers.").optional();
    #[cfg(feature = "tls")]
    let tls = o.object("tls", read_tls).doc("Certificates of its own, in PEM form.").optional();
    if key_file.is_some() && key_env.is_some() {
        o.fault("key_env", "there is a key_file as well, expected one of both");
    }
    let done = o.done()?;

    let mut client = ClientConfig::new(base_url.take(done)?)
        .key_header(key_header)
        .max_body(max_body)
        .follow_redirects(redirects);
    for (name, value) in headers {
        client = client.header(name, value);
    }
    if let Some(path) = key_file {
        client = client.key(Key::file(path));
    } else if let Some(name) = key_env {
        let environment = environment.clone();
        let find = {
            let name = name.clone();
            move || environment(&name).filter(|key| !key.trim().is_empty())
        };
        client = client.key(Key::ask(name, move |_| Ok(find().ok_or("is not set")?)));
    }
    #[cfg(feature = "tls")]
    if let Some(files) = tls {
        client = client.tls(files);
    }
    let mut config = RestConfig::new(client).timeout(timeout);
    if let Some(Paths { run, checkpoints, restore, restore_weights, discard, retire }) = paths {
        config = config.run_path(run).checkpoints_path(checkpoints).restore_path(restore);
        config = RestConfig { restore_weights_path: restore_weights, discard_path: discard, ..config };
        config.retire_path = retire;
    }
    for (field, pointer) in fields.unwrap_or_default() {
        config = config.field(field, pointer);
    }
    Some(config)
}

fn client_with(headers: &BTreeMap<String, String>) -> ClientConfig {
    let client = ClientConfig::new("http://localhost");
    headers.iter().fold(client, |client, (name, value)| client.header(name, value))
}

/// What is wrong, without the name of the setting: the place says it.
fn without(prefix: &str, error: &crate::error::Error) -> String {
    let text = error.to_string();
    text.strip_prefix(prefix).map_or(text.clone(), str::to_owned)
}

// `&String` is what `Field::check` hands over.
#[allow(clippy::ptr_arg)]
fn is_named(text: &String) -> Result<(), &'static str> {
    if text.is_empty() { Err("must not be empty") } else { Ok(()) }
}

struct Paths {
    run: String,
    checkpoints: String,
    restore: String,
    restore_weights: Option<String>,
    discard: Option<String>,
    retire: Option<String>,
}

fn read_paths(o: &mut Object<'_, '_>) -> Option<Paths> {
    const RUN_ONLY: &[&str] = &["run"];
    const BOTH: &[&str] = &["run", "checkpoint"];
    let check = |places: &'static [&'static str]| move |path: &String| Template::new(path, places).map(drop);
    let run = o.string("run").check(check(RUN_ONLY)).doc("GET: the state of a run.").or(RUN.to_owned());
    let checkpoints = o.string("checkpoints").check(check(RUN_ONLY));
    let checkpoints = checkpoints.doc("GET: the checkpoints of a run.").or(CHECKPOINTS.to_owned());
    let restore = o.string("restore").check(check(BOTH));
    let restore = restore.doc("POST: makes a run from a checkpoint.").or(RESTORE.to_owned());
    let restore_weights = o.string("restore_weights").check(check(BOTH));
    let restore_weights = restore_weights
        .doc("POST: the same without the state of the optimizer, where that is elsewhere.")
        .optional();
    let discard = o.string("discard").check(check(RUN_ONLY));
    let discard = discard.doc("DELETE: a run that was restored too late to be used.").optional();
    let retire = o.string("retire").check(check(RUN_ONLY));
    let retire = retire.doc("DELETE: a corrupted run once another took its place.").optional();
    o.done()?;
    Some(Paths { run, checkpoints, restore, restore_weights, discard, retire })
}

fn read_fields(o: &mut Object<'_, '_>) -> Option<Vec<(RunField, Pointer)>> {
    let mut found = Vec::new();
    for field in RunField::ALL {
        let pointer = o
            .string(field.as_str())
            .convert(Pointer::new)
            .doc(about(field))
            .defaults_to_json(|| {
                let defaults: Vec<String> =
                    field.defaults().iter().map(|pointer| format!("\"{pointer}\"")).collect();
                defaults.join(", else ")
            })
            .optional();
        found.extend(pointer.map(|pointer| (field, pointer)));
    }
    o.done()?;
    Some(found)
}

fn about(field: RunField) -> &'static str {
    match field {
        RunField::Run => "The run in its document; its fields are below it.",
        RunField::Id => "The name of a run.",
        RunField::Corrupted => "Whether it is corrupted.",
        RunField::LastCheckpoint => "Its last checkpoint: an object or a path.",
        RunField::Checkpoints => "The list in a document of checkpoints; their fields are below each.",
        RunField::CheckpointId => "The name of a checkpoint.",
        RunField::CheckpointType => "What it holds.",
        RunField::CheckpointPath => "Where it is.",
        RunField::CheckpointRun => "The run that it is of.",
        RunField::CheckpointSize => "Its size in bytes.",
        RunField::CheckpointPublic => "Whether everybody may read it.",
        RunField::CheckpointTime => "When it was written.",
        RunField::CheckpointExpiresAt => "When it is deleted.",
        RunField::CheckpointMetrics => "An object of what was measured of it.",
        RunField::Restored => "The name of the run in the answer to a restore.",
    }
}

#[cfg(feature = "tls")]
fn read_tls(o: &mut Object<'_, '_>) -> Option<crate::rest::TlsFiles> {
    let mut files = crate::rest::TlsFiles::default();
    let mut path = |name: &'static str, doc: &'static str| {
        o.string(name).check(is_named).doc(doc).optional().map(std::path::PathBuf::from)
    };
    files.client_cert = path("client_cert", "The client's certificate, with those between it and a root.");
    files.client_key = path("client_key", "Its key; in the same file when absent.");
    files.root_certs =
        path("root_certs", "The roots that the server is believed by; those of browsers when absent.");
    if files.client_key.is_some() && files.client_cert.is_none() {
        o.fault("client_key", "is there without a client_cert");
    }
    o.done()?;
    Some(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{decode, tree};

    fn read(text: &str) -> Result<RestConfig, String> {
        let environment: Lookup = Arc::new(|_| None);
        let node = tree::parse("f", text).unwrap();
        decode::object(&node, "", |o| super::decode(o, &environment)).map_err(|faults| {
            faults.iter().map(|fault| fault.to_string()[2..].to_owned()).collect::<Vec<_>>().join("\n")
        })
    }

    #[test]
    fn everything_is_read() {
        let config = read(
            r#"{"base_url": "http://h:1/x", "key_file": "/k", "key_header": "X-API-Key", "headers": {"a": "b"},
                "max_body": "64KiB", "follow_redirects": 0, "timeout": "3s",
                "paths": {"run": "/r/{run}", "restore_weights": "/w/{checkpoint}", "retire": "/r/{run}"},
                "fields": {"corrupted": "/bad", "checkpoint_path": ""}}"#,
        )
        .unwrap();
        config.check().unwrap();
        assert_eq!(config.timeout.as_secs(), 3);
        assert_eq!((config.run_path.as_str(), config.restore_path.as_str()), ("/r/{run}", RESTORE));
        assert_eq!(config.restore_weights_path.as_deref(), Some("/w/{checkpoint}"));
        assert_eq!((config.discard_path, config.retire_path.as_deref()), (None, Some("/r/{run}")));
        assert_eq!(read(r#"{"base_url": "http://h"}"#).unwrap().run_path, RUN);
    }

    #[test]
    fn a_monitor_is_read_whole_or_not_at_all() {
        let read = |text: &str| {
            let environment: Lookup = Arc::new(|_| None);
            let node = tree::parse("f", text).unwrap();
            let read = decode::object(&node, "", |o| decode_monitor("training", o, &environment));
            read.map_err(|faults| {
                faults.iter().map(|fault| fault.to_string()[2..].to_owned()).collect::<Vec<_>>().join("\n")
            })
        };
        let service = r#""service": {"base_url": "http://h"}"#;
        let text =
            format!(r#"{{{service}, "policy": {{"enabled": true}}, "runs": ["a", "b/c"], "max_polls": 2}}"#);
        let found = read(&text).unwrap();
        assert_eq!((found.runs, found.monitor.max_polls), (vec!["a".to_owned(), "b/c".to_owned()], 2));
        // What must be true is no default.
        let described =
            decode::describe(|o| decode_monitor("training", o, &(Arc::new(|_: &str| None) as Lookup)));
        let enabled = described.fields.iter().find(|field| field.path == "policy.enabled").unwrap();
        assert_eq!(enabled.presence, decode::Presence::Required);
        for (rest, faults) in [
            (r#""runs": ["a"]"#, "1:1: policy: is missing, expected an object"),
            (r#""runs": ["a"], "policy": {}"#, "1:64: policy.enabled: is missing, expected true or false"),
            (
                r#""runs": ["a"], "policy": {"enabled": false}"#,
                "1:76: policy.enabled: expected true, found false: to switch it off disable the descriptor",
            ),
            (r#""runs": [], "policy": {"enabled": true}"#, "1:47: runs: must name a run"),
            (r#""runs": ["a", "a"], "policy": {"enabled": true}"#, "1:47: runs: \"a\" stands twice"),
            (
                r#""runs": ["a", ".."], "policy": {"enabled": true}"#,
                "1:47: runs: run: cannot be part of a path: \"..\"",
            ),
        ] {
            assert_eq!(read(&format!("{{{service}, {rest}}}")).unwrap_err(), faults, "{rest}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_told_at_its_place() {
        for (text, faults) in [
            ("{}", "1:1: base_url: is missing, expected a string"),
            (r#"{"base_url": "h"}"#, "1:14: base_url: must begin with http:// or https://"),
            (
                r#"{"base_url": "http://h", "key_file": "", "key_env": "", "headers": {"a b": ""}, "max_body": 0}"#,
                "1:38: key_file: must not be empty\n\
                 1:53: key_env: must not be empty\n\
                 1:68: headers: \"a b\" is not the name of a header\n\
                 1:93: max_body: must be more than zero",
            ),
            (
                r#"{"base_url": "http://h", "key_file": "/k", "key_env": "K"}"#,
                "1:55: key_env: there is a key_file as well, expected one of both",
            ),
            (
                r#"{"base_url": "http://h", "timeout": 0, "paths": {"runs": "/"}, "fields": {"id": "id"}}"#,
                "1:37: timeout: must be more than zero, found the number 0\n\
                 1:50: paths: unknown field \"runs\", did you mean \"run\"?\n\
                 1:81: fields.id: expected a JSON pointer such as \"/queue/depth\", found \"id\"",
            ),
        ] {
            assert_eq!(read(text).unwrap_err(), faults, "{text}");
        }
    }
}
