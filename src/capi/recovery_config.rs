//! What a recovery and an executor are made from: where the state of runs is
//! known, and how they are restored.

use std::collections::BTreeMap;
use std::ffi::{CString, c_char, c_void};
use std::sync::Arc;

use super::boundary::{Answer, Failure, In, Out, Text, Versioned, flag, guard, init, millis};
use super::call::{Cx, attempt, notify};
use super::status::{LK_ERR_INVALID, LK_ERR_NULL, lk_status};
use super::text::c_text;
use super::userdata::{Userdata, lk_drop_fn};
use crate::component::Context;
use crate::decode::{self, Object};
use crate::error::{BoxError, Error};
use crate::pointer::Kind;
use crate::recovery::descriptor::read_policy;
use crate::recovery::{
    Checkpoint, ExecutorConfig, Metadata, RecoveryMonitorConfig, RecoveryPolicy, Remedy, Restore, Restored,
    RunSource, TrainingRun,
};
use crate::stamp::Stamp;
use crate::tree::{self, Value};

/// Asks for something about a run.
///
/// userdata: that of the table. cx: valid until it returns;
/// lk_context_set_answer takes what it answers, as JSON. run: its name, valid
/// until it returns. Returns 0 when it has answered; anything else when it
/// could not. Several may be called at once, for different runs.
pub type lk_run_fn = Option<extern "C" fn(userdata: *mut c_void, cx: Cx, run: *const c_char) -> i32>;

/// Restores a run.
///
/// userdata: that of the table. cx: valid until it returns;
/// lk_context_set_answer takes the name of the run that was made. request: what
/// to make it from, valid until it returns. Returns 0 when it is made;
/// LK_ERR_NOT_FOUND when the checkpoint is gone, and an older one is tried;
/// anything else is tried again with growing delays, unless
/// lk_context_set_terminal says that this cannot help. Several may be called
/// at once, for different runs.
pub type lk_restore_fn =
    Option<extern "C" fn(userdata: *mut c_void, cx: Cx, request: *const lk_restore) -> i32>;

/// Called once a run was restored. userdata: that of the table. run: the one
/// that was corrupted. restored: the one in its place. checkpoint: the path
/// that it was made from. attempt: which it was. Texts are valid until it
/// returns. What it returns does not matter. Runs on the dispatcher's thread.
pub type lk_recovered_fn = Option<
    extern "C" fn(
        userdata: *mut c_void,
        run: *const c_char,
        restored: *const c_char,
        checkpoint: *const c_char,
        attempt: u32,
    ) -> i32,
>;

/// Called once nothing more is tried. userdata: that of the table. run: the
/// one that is lost. error: the kind of the error. text: why. Texts are valid
/// until it returns. What it returns does not matter. Runs on the dispatcher's
/// thread.
pub type lk_lost_fn = Option<
    extern "C" fn(userdata: *mut c_void, run: *const c_char, error: lk_status, text: *const c_char) -> i32,
>;

/// What one attempt asks for.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct lk_restore {
    /// sizeof(lk_restore), as the library knows it.
    pub size: u32,
    /// The number of the attempt, from 1.
    pub attempt: u32,
    /// The run that is corrupted.
    pub run: *const c_char,
    /// Where the checkpoint is.
    pub checkpoint_path: *const c_char,
    /// All that is known of the checkpoint, as a JSON object.
    pub checkpoint_json: *const c_char,
    /// The same for whoever sends one attempt's request again; no two attempts
    /// have the same.
    pub idempotency_key: *const c_char,
    /// How much time the attempt has from its beginning.
    pub timeout_ms: u64,
    /// 1 when the state of the optimizer is restored, too; else 0.
    pub restore_optimizer: i32,
    /// Always 0.
    pub reserved: u32,
}

/// A recovery or an executor: its name, where the state of runs is known, and
/// how they are restored.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct lk_recovery_config {
    /// sizeof(lk_recovery_config); lk_recovery_config_init sets it.
    pub size: u32,
    /// Whether the whole is down, and not only degraded, while a run cannot be
    /// recovered: 0 or 1. Defaults to 0.
    pub critical: i32,
    /// Its name: a letter or digit, then up to 62 of these and '.', '_', '-'.
    pub name: Text,
    /// When and how runs are restored, as in a descriptor: a JSON object such
    /// as {"max_attempts": 5, "backoff": "5s"}. What is absent has its default,
    /// but `enabled`, which is true here. Defaults to NULL.
    pub policy_json: Text,
    /// Answers with the state of a run: {"corrupted": true, "last_checkpoint":
    /// {"path": ".."}}. A key may stand once.
    pub fetch: lk_run_fn,
    /// Answers with the checkpoints of a run, a list; may be NULL: only the
    /// one that `fetch` tells of.
    pub checkpoints: lk_run_fn,
    /// Makes a run anew; answers with its name.
    pub restore: lk_restore_fn,
    /// Lets go of a run that was restored too late to be used; may be NULL.
    pub discard: lk_run_fn,
    /// Lets go of the corrupted run once another took its place; may be NULL.
    pub retire: lk_run_fn,
    /// Called once a run was restored; may be NULL.
    pub on_recovery: lk_recovered_fn,
    /// Called once nothing more is tried; may be NULL.
    pub on_failure: lk_lost_fn,
    /// Called once, after the last call of any of the above; may be NULL.
    pub drop: lk_drop_fn,
    /// Passed to each callback.
    pub userdata: *mut c_void,
    /// How many runs are polled at once. Defaults to 8. An executor polls none.
    pub max_polls: u32,
    /// How many runs are restored at once. Defaults to 1.
    pub max_concurrent: u32,
    /// How many corrupted runs may wait for their first attempt. Defaults to
    /// 1,024.
    pub max_queued: u32,
    /// Always 0.
    pub reserved: u32,
    /// How long freeing it waits for its threads, unless a stop has. Defaults
    /// to 1 s.
    pub drop_grace_ms: u64,
    /// A small file in which is kept under which name each run goes on that was
    /// restored under another, so that the next program does not restore its
    /// first one again. One that cannot be read or written is left out with a
    /// warning in the log. A lock on a file beside it, whose name has `.lock` at
    /// its end, keeps a second writer out until the stop: its start gives
    /// LK_ERR_STATE. Defaults to NULL, none. An executor keeps none.
    pub state_file: Text,
}

// SAFETY: numbers, pointers that are looked at before they are used, and
// functions that may be absent.
unsafe impl Versioned for lk_recovery_config {
    const NAME: &'static str = "lk_recovery_config";
    const MIN: usize = std::mem::offset_of!(Self, max_polls);

    fn initial() -> Self {
        Self {
            size: size_of::<Self>() as u32,
            critical: 0,
            name: Text::NONE,
            policy_json: Text::NONE,
            fetch: None,
            checkpoints: None,
            restore: None,
            discard: None,
            retire: None,
            on_recovery: None,
            on_failure: None,
            drop: None,
            userdata: std::ptr::null_mut(),
            max_polls: 8,
            max_concurrent: 1,
            max_queued: 1024,
            reserved: 0,
            drop_grace_ms: 1000,
            state_file: Text::NONE,
        }
    }
}

/// Fills in the default settings; `name`, `fetch` and `restore` are still to
/// be set.
///
/// out: where. size: sizeof(lk_recovery_config).
/// Returns: LK_OK; LK_ERR_NULL; LK_ERR_SIZE. Thread: any. Does not block.
/// Next: lk_recovery_start.
#[unsafe(no_mangle)]
pub extern "C" fn lk_recovery_config_init(out: Out<lk_recovery_config>, size: usize) -> lk_status {
    guard(move || init(&out, size))
}

/// What comes with the events of a run, from a JSON object of texts.
pub(super) fn metadata(metadata_json: Text) -> Answer<Metadata> {
    let Some(json) = metadata_json.optional("metadata_json")? else { return Ok(Metadata::default()) };
    let refuse = |found: &dyn std::fmt::Display| {
        Failure::new(LK_ERR_INVALID, format!("metadata_json: expected an object of texts: {found}"))
    };
    let value = serde_json::from_str(json).map_err(|error: serde_json::Error| refuse(&error))?;
    let serde_json::Value::Object(texts) = value else { return Err(refuse(&Kind(&value))) };
    let mut metadata = BTreeMap::new();
    for (key, text) in texts {
        let serde_json::Value::String(text) = text else {
            return Err(refuse(&format_args!("{} as {key:?}", Kind(&text))));
        };
        metadata.insert(key, text);
    }
    Ok(Metadata::of(metadata))
}

/// A recovery's config as it came from C, with what its callbacks work with.
pub(super) struct Table {
    config: lk_recovery_config,
    userdata: Arc<Userdata>,
}

impl Table {
    /// From here on the table's `drop` is called.
    pub(super) fn read(config: &In<lk_recovery_config>) -> Answer<Self> {
        let config = config.read("config")?;
        Ok(Self { config, userdata: Arc::new(Userdata::new(config.userdata, config.drop)) })
    }

    pub(super) fn into_monitor(self) -> Answer<(RecoveryMonitorConfig, CSource, CRemedy)> {
        let config = self.config;
        let (name, policy, source, remedy) = self.into_calls()?;
        let mut settings = RecoveryMonitorConfig::new(name, policy)
            .max_polls(config.max_polls)
            .max_concurrent(config.max_concurrent)
            .max_queued(config.max_queued)
            .drop_grace(millis(config.drop_grace_ms));
        if flag(config.critical, "critical")? {
            settings = settings.critical();
        }
        if let Some(path) = config.state_file.optional("state_file")? {
            settings = settings.state_file(path);
        }
        Ok((settings, source, remedy))
    }

    /// The settings of an executor, and the policy that each of its runs has.
    pub(super) fn into_executor(self) -> Answer<(ExecutorConfig, RecoveryPolicy, CSource, CRemedy)> {
        let config = self.config;
        let (name, policy, source, remedy) = self.into_calls()?;
        let settings = ExecutorConfig::new(name)
            .max_concurrent(config.max_concurrent)
            .max_queued(config.max_queued)
            .drop_grace(millis(config.drop_grace_ms));
        Ok((settings, policy, source, remedy))
    }

    fn into_calls(self) -> Answer<(String, RecoveryPolicy, CSource, CRemedy)> {
        let Self { config, userdata } = self;
        let name = config.name.read("name")?;
        let missing = |what| Failure::new(LK_ERR_NULL, format!("{name}: {what}: must not be NULL"));
        let fetch = config.fetch.ok_or_else(|| missing("fetch"))?;
        let restore = config.restore.ok_or_else(|| missing("restore"))?;
        let policy = policy(&config, &userdata)?;
        let source = CSource { fetch, checkpoints: config.checkpoints, userdata: userdata.clone() };
        let remedy = CRemedy { restore, discard: config.discard, retire: config.retire, userdata };
        Ok((name.to_owned(), policy, source, remedy))
    }
}

fn policy(config: &lk_recovery_config, userdata: &Arc<Userdata>) -> Answer<RecoveryPolicy> {
    let mut policy = RecoveryPolicy::default().enabled(true);
    if let Some(json) = config.policy_json.optional("policy_json")? {
        let node = tree::parse("policy_json", json).map_err(Error::from)?;
        let says = node.get("enabled").is_some();
        policy = decode::object(&node, "", read_policy).map_err(Error::from)?;
        if !says {
            policy = policy.enabled(true);
        }
    }
    if let Some(call) = config.on_recovery {
        let userdata = userdata.clone();
        policy = policy.on_recovery(move |recovered| {
            let run = c_text(recovered.run.clone());
            let restored = c_text(recovered.restored.training_run_id.clone());
            let path = c_text(recovered.checkpoint.path.clone());
            notify(|| {
                call(userdata.get(), run.as_ptr(), restored.as_ptr(), path.as_ptr(), recovered.attempt)
            });
        });
    }
    if let Some(call) = config.on_failure {
        let userdata = userdata.clone();
        policy = policy.on_failure(move |run, error| {
            let (run, text) = (c_text(run.to_owned()), c_text(error.report().to_string()));
            notify(|| call(userdata.get(), run.as_ptr(), error.kind() as lk_status, text.as_ptr()));
        });
    }
    Ok(policy)
}

type RunCall = extern "C" fn(*mut c_void, Cx, *const c_char) -> i32;

/// Calls about a run; what was answered.
fn ask(call: RunCall, userdata: &Userdata, cx: &Context, run: &str) -> Result<Option<String>, BoxError> {
    let run = c_text(run.to_owned());
    let said = attempt(cx, |cx| call(userdata.get(), cx, run.as_ptr()))?;
    Ok(said.answer)
}

pub(super) struct CSource {
    fetch: RunCall,
    checkpoints: Option<RunCall>,
    userdata: Arc<Userdata>,
}

impl RunSource for CSource {
    fn fetch(&self, cx: &Context, run: &str) -> Result<TrainingRun, BoxError> {
        let answer = ask(self.fetch, &self.userdata, cx, run)?;
        let answer = answer.ok_or("fetch: returned without an answer")?;
        let node = tree::parse("fetch", &answer).map_err(|faults| faults.to_string())?;
        Ok(decode::object(&node, "", |o| read_run(o, run)).map_err(|faults| faults.to_string())?)
    }

    fn checkpoints(&self, cx: &Context, run: &str) -> Result<Vec<Checkpoint>, BoxError> {
        let Some(call) = self.checkpoints else {
            return Ok(self.fetch(cx, run)?.last_checkpoint.into_iter().collect());
        };
        let answer = ask(call, &self.userdata, cx, run)?;
        let answer = answer.ok_or("checkpoints: returned without an answer")?;
        Ok(read_checkpoints(&answer)?)
    }
}

fn read_checkpoints(text: &str) -> Result<Vec<Checkpoint>, String> {
    let node = tree::parse("checkpoints", text).map_err(|faults| faults.to_string())?;
    let Value::Array(nodes) = &node.value else {
        return Err(format!("{}: expected a list, found {}", node.place, Kind(&node.to_json())));
    };
    let checkpoints = nodes.iter().enumerate().map(|(idx, node)| {
        decode::object(node, &tree::join_idx("", idx), read_checkpoint).map_err(|faults| faults.to_string())
    });
    checkpoints.collect()
}

/// The state of a run; that of the one `asked` for when it has no name. What
/// else is written may be for others.
fn read_run(o: &mut Object<'_, '_>, asked: &str) -> Option<TrainingRun> {
    let training_run_id = o.string("training_run_id").or(asked.to_owned());
    let corrupted = o.bool("corrupted").or_default();
    let last_checkpoint = o.object("last_checkpoint", read_checkpoint).optional();
    o.whole();
    o.done()?;
    Some(TrainingRun { training_run_id, corrupted, last_checkpoint })
}

/// A checkpoint; one that has no name is called by its path.
fn read_checkpoint(o: &mut Object<'_, '_>) -> Option<Checkpoint> {
    let path = o.string("path").required();
    let checkpoint_id = o.string("checkpoint_id").optional();
    let checkpoint_type = o.string("checkpoint_type").optional();
    let training_run_id = o.string("training_run_id").optional();
    let size_bytes = o.u64("size_bytes").optional();
    let public = o.bool("public").or_default();
    let moment = |text: String| text.parse::<Stamp>();
    let time = o.string("time").convert(moment).optional();
    let expires_at = o.string("expires_at").convert(moment).optional();
    let metrics = o.object("metrics", read_metrics).optional().unwrap_or_default();
    o.whole();
    let path = path.take(o.done()?)?;
    Some(Checkpoint {
        checkpoint_id: checkpoint_id.unwrap_or_else(|| path.clone()),
        checkpoint_type,
        path,
        training_run_id,
        size_bytes,
        public,
        time,
        expires_at,
        metrics,
    })
}

fn read_metrics(o: &mut Object<'_, '_>) -> Option<BTreeMap<String, f64>> {
    let mut metrics = BTreeMap::new();
    if let Value::Object(members) = &o.whole().value {
        for member in members {
            match decode::value(&member.node, &tree::join(o.key(), &member.key)) {
                Ok(value) => _ = metrics.insert(member.key.clone(), value),
                Err(faults) => o.faults(faults),
            }
        }
    }
    o.done()?;
    Some(metrics)
}

pub(super) struct CRemedy {
    restore: extern "C" fn(*mut c_void, Cx, *const lk_restore) -> i32,
    discard: Option<RunCall>,
    retire: Option<RunCall>,
    userdata: Arc<Userdata>,
}

impl Remedy for CRemedy {
    fn restore(&self, cx: &Context, request: &Restore) -> Result<Restored, BoxError> {
        let texts: [CString; 4] = [
            request.run.clone(),
            request.checkpoint.path.clone(),
            serde_json::to_string(&request.checkpoint)?,
            request.idempotency_key.clone(),
        ]
        .map(c_text);
        let [run, path, json, key] = &texts;
        let request = lk_restore {
            size: size_of::<lk_restore>() as u32,
            attempt: request.attempt,
            run: run.as_ptr(),
            checkpoint_path: path.as_ptr(),
            checkpoint_json: json.as_ptr(),
            idempotency_key: key.as_ptr(),
            timeout_ms: u64::try_from(request.timeout.as_millis()).unwrap_or(u64::MAX),
            restore_optimizer: i32::from(request.restore_optimizer),
            reserved: 0,
        };
        let said = attempt(cx, |cx| (self.restore)(self.userdata.get(), cx, &raw const request))?;
        let made = said.answer.filter(|run| !run.is_empty());
        Ok(Restored::new(made.ok_or("restore: returned without the name of the run that it made")?))
    }

    fn discard(&self, cx: &Context, restored: &Restored) -> Result<(), BoxError> {
        match self.discard {
            Some(call) => ask(call, &self.userdata, cx, &restored.training_run_id).map(drop),
            None => Ok(()),
        }
    }

    fn retire(&self, cx: &Context, old: &str) -> Result<(), BoxError> {
        match self.retire {
            Some(call) => ask(call, &self.userdata, cx, old).map(drop),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_and_what_is_wrong_has_its_place() {
        let read = |text: &str| {
            let node = tree::parse("fetch", text).map_err(|faults| faults.to_string())?;
            decode::object(&node, "", |o| read_run(o, "asked")).map_err(|faults| faults.to_string())
        };
        assert_eq!(read("{}"), Ok(TrainingRun::new("asked")));
        let plain = TrainingRun::new("r").corrupted(true).last_checkpoint(Checkpoint::new("p"));
        let text = r#"{"training_run_id": "r", "corrupted": true, "last_checkpoint": {"path": "p", "x": 1}, "y": 2}"#;
        assert_eq!(read(text), Ok(plain));
        let full = Checkpoint {
            checkpoint_id: "c".to_owned(),
            checkpoint_type: Some("training".to_owned()),
            path: "p".to_owned(),
            training_run_id: Some("r".to_owned()),
            size_bytes: Some(7),
            public: true,
            time: Some(Stamp::from_micros(1_000_000)),
            expires_at: Some(Stamp::from_micros(2_000_000)),
            metrics: BTreeMap::from([("loss".to_owned(), 0.5), ("step".to_owned(), 7.0)]),
        };
        let run = TrainingRun::new("r").last_checkpoint(full);
        assert_eq!(read(&serde_json::to_string(&run).unwrap()), Ok(run));
        for (text, expected) in [
            ("[]", "fetch:1:1: expected an object, found a list"),
            ("{\"corrupted\": 1}", "fetch:1:15: corrupted: expected true or false, found the number 1"),
            ("{\"last_checkpoint\": {}}", "fetch:1:21: last_checkpoint.path: is missing, expected a string"),
            (
                "{\"last_checkpoint\": {\"path\": \"p\", \"metrics\": {\"loss\": \"low\"}}}",
                "fetch:1:55: last_checkpoint.metrics.loss: expected a number, found the string \"low\"",
            ),
        ] {
            assert_eq!(read(text).unwrap_err(), expected, "{text}");
        }
        assert_eq!(read_checkpoints(r#"[{"path": "p"}]"#), Ok(vec![Checkpoint::new("p")]));
        for (text, expected) in [
            ("{}", "checkpoints:1:1: expected a list, found an object"),
            (
                "[{\"path\": \"p\"},\n {\"path\": 1}]",
                "checkpoints:2:11: [1].path: expected a string, found the number 1",
            ),
        ] {
            assert_eq!(read_checkpoints(text).unwrap_err(), expected, "{text}");
        }
    }
}
