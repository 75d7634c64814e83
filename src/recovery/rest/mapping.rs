//! Where in a service's documents things are, and what they may be.

use std::fmt;

use serde_json::Value;

use crate::error::{Error, ErrorKind, Result};
use crate::pointer::{Kind, Pointer, lookup};
use crate::recovery::{Checkpoint, TrainingRun};
use crate::stamp::Stamp;

/// What is looked for in the documents of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RunField {
    /// The run in its document. Defaults to `/training_run`, else the whole
    /// document; the fields of a run are below it.
    Run,
    /// The name of a run, a text or a number. Defaults to `/training_run_id`,
    /// else `/id`. Required.
    Id,
    /// Whether it is corrupted: `true` or `false`, or one of these as a text.
    /// Defaults to `/corrupted`; absent is `false`.
    Corrupted,
    /// Its last checkpoint: an object, or a text, which is its path. Defaults
    /// to `/last_checkpoint`; absent is none.
    LastCheckpoint,
    /// The list in a document of checkpoints, of objects or texts as for
    /// [`LastCheckpoint`](Self::LastCheckpoint). Defaults to `/checkpoints`,
    /// else the whole document.
    Checkpoints,
    /// The name of a checkpoint. Defaults to `/checkpoint_id`, else `/id`;
    /// absent it is the path. The fields of a checkpoint are below it.
    CheckpointId,
    /// What it holds. Defaults to `/checkpoint_type`, else `/type`.
    CheckpointType,
    /// Where it is. Defaults to `/path`, else `/tinker_path`. Required.
    CheckpointPath,
    /// The run that it is of. Defaults to `/training_run_id`, else `/run_id`;
    /// absent it is what stands after the scheme of the path, if it has one.
    CheckpointRun,
    /// Its size in bytes. Defaults to `/size_bytes`, else `/size`.
    CheckpointSize,
    /// Whether everybody may read it. Defaults to `/public`; absent is
    /// `false`.
    CheckpointPublic,
    /// When it was written: RFC 3339, or seconds since 1970. Defaults to
    /// `/time`, else `/created_at`.
    CheckpointTime,
    /// When it is deleted, in the same way. Defaults to `/expires_at`.
    CheckpointExpiresAt,
    /// What was measured of it: an object, of which numbers are taken.
    /// Defaults to `/metrics`.
    CheckpointMetrics,
    /// The name of the run in the answer to a restore, a text or a number.
    /// Defaults to `/training_run_id`, else `/id`. Required.
    Restored,
}

impl RunField {
    /// Every field, in the order of their declaration.
    pub const ALL: [Self; 15] = [
        Self::Run,
        Self::Id,
        Self::Corrupted,
        Self::LastCheckpoint,
        Self::Checkpoints,
        Self::CheckpointId,
        Self::CheckpointType,
        Self::CheckpointPath,
        Self::CheckpointRun,
        Self::CheckpointSize,
        Self::CheckpointPublic,
        Self::CheckpointTime,
        Self::CheckpointExpiresAt,
        Self::CheckpointMetrics,
        Self::Restored,
    ];

    /// The word for it in settings.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Id => "id",
            Self::Corrupted => "corrupted",
            Self::LastCheckpoint => "last_checkpoint",
            Self::Checkpoints => "checkpoints",
            Self::CheckpointId => "checkpoint_id",
            Self::CheckpointType => "checkpoint_type",
            Self::CheckpointPath => "checkpoint_path",
            Self::CheckpointRun => "checkpoint_run",
            Self::CheckpointSize => "checkpoint_size",
            Self::CheckpointPublic => "checkpoint_public",
            Self::CheckpointTime => "checkpoint_time",
            Self::CheckpointExpiresAt => "checkpoint_expires_at",
            Self::CheckpointMetrics => "checkpoint_metrics",
            Self::Restored => "restored",
        }
    }

    /// Where it is unless told otherwise; the first that is there counts.
    pub(super) const fn defaults(self) -> &'static [&'static str] {
        match self {
            Self::Run => &["/training_run", ""],
            Self::Id | Self::Restored => &["/training_run_id", "/id"],
            Self::Corrupted => &["/corrupted"],
            Self::LastCheckpoint => &["/last_checkpoint"],
            Self::Checkpoints => &["/checkpoints", ""],
            Self::CheckpointId => &["/checkpoint_id", "/id"],
            Self::CheckpointType => &["/checkpoint_type", "/type"],
            Self::CheckpointPath => &["/path", "/tinker_path"],
            Self::CheckpointRun => &["/training_run_id", "/run_id"],
            Self::CheckpointSize => &["/size_bytes", "/size"],
            Self::CheckpointPublic => &["/public"],
            Self::CheckpointTime => &["/time", "/created_at"],
            Self::CheckpointExpiresAt => &["/expires_at"],
            Self::CheckpointMetrics => &["/metrics"],
        }
    }
}

/// Where in a service's documents things are. `null` counts as absent.
///
/// # Examples
///
/// ```
/// use loopkeeper::recovery::rest::RunMapping;
/// use serde_json::json;
///
/// let mapping = RunMapping::default();
/// let run = mapping.run(&json!({"id": "r1", "corrupted": "true", "last_checkpoint": "tinker://r1/7"}))?;
/// assert!(run.corrupted);
/// assert_eq!(run.last_checkpoint.unwrap().training_run_id.as_deref(), Some("r1"));
///
/// let error = mapping.run(&json!({"id": "r1", "corrupted": "maybe"})).unwrap_err();
/// assert_eq!(error.to_string(), "/corrupted: expected true or false, found the string \"maybe\"");
/// # Ok::<(), loopkeeper::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct RunMapping {
    /// What was told otherwise than by default.
    told: Vec<(RunField, Pointer)>,
}

impl RunMapping {
    /// Says where a field is, in the place of all its defaults.
    #[must_use]
    pub fn field(mut self, field: RunField, pointer: Pointer) -> Self {
        self.told.retain(|(known, _)| *known != field);
        self.told.push((field, pointer));
        self
    }

    /// Reads the document of a run.
    ///
    /// # Errors
    ///
    /// `Probe`, which says where what was expected and what was found.
    pub fn run(&self, document: &Value) -> Result<TrainingRun> {
        let document = Found::whole(document);
        let run = self.required(RunField::Run, &document)?;
        let id = self.required(RunField::Id, &run)?.name()?;
        let corrupted = self.find(RunField::Corrupted, &run).map_or(Ok(false), |found| found.flag())?;
        let last = self.find(RunField::LastCheckpoint, &run);
        let last_checkpoint = last.map(|found| self.checkpoint(&found)).transpose()?;
        let run = TrainingRun::new(id).corrupted(corrupted);
        Ok(match last_checkpoint {
            Some(checkpoint) => run.last_checkpoint(checkpoint),
            None => run,
        })
    }

    /// Reads a document of checkpoints.
    ///
    /// # Errors
    ///
    /// `Probe`, which says where what was expected and what was found.
    pub fn checkpoints(&self, document: &Value) -> Result<Vec<Checkpoint>> {
        let document = Found::whole(document);
        let list = self.required(RunField::Checkpoints, &document)?;
        let Value::Array(items) = list.value else { return Err(list.expected("a list of checkpoints")) };
        let item = |(idx, value)| {
            let pointer = format!("/{idx}");
            self.checkpoint(&Found { at: list.at.join(&pointer), value })
        };
        items.iter().enumerate().map(item).collect()
    }

    /// Reads the name of the run from the answer to a restore.
    ///
    /// # Errors
    ///
    /// `Probe`, which says what was found in its place.
    pub fn restored(&self, document: &Value) -> Result<String> {
        self.required(RunField::Restored, &Found::whole(document))?.name()
    }

    fn checkpoint(&self, found: &Found<'_>) -> Result<Checkpoint> {
        match found.value {
            Value::String(_) => {
                let path = found.text()?;
                let run = run_of(&path);
                return Ok(Checkpoint { training_run_id: run, ..Checkpoint::new(path) });
            }
            Value::Object(_) => {}
            _ => return Err(found.expected("an object or a path")),
        }
        let path = self.required(RunField::CheckpointPath, found)?.text()?;
        let text = |field| self.find(field, found).map(|found| found.name()).transpose();
        let time = |field| self.find(field, found).map(|found| found.time()).transpose();
        let mut checkpoint = Checkpoint::new(&*path);
        if let Some(id) = text(RunField::CheckpointId)? {
            checkpoint.checkpoint_id = id;
        }
        checkpoint.checkpoint_type = text(RunField::CheckpointType)?;
        checkpoint.training_run_id = text(RunField::CheckpointRun)?.or_else(|| run_of(&path));
        checkpoint.size_bytes =
            self.find(RunField::CheckpointSize, found).map(|found| found.size()).transpose()?;
        checkpoint.public =
            self.find(RunField::CheckpointPublic, found).map_or(Ok(false), |found| found.flag())?;
        checkpoint.time = time(RunField::CheckpointTime)?;
        checkpoint.expires_at = time(RunField::CheckpointExpiresAt)?;
        if let Some(metrics) = self.find(RunField::CheckpointMetrics, found) {
            let Value::Object(fields) = metrics.value else {
                return Err(metrics.expected("an object of numbers"));
            };
            let numbers = fields.iter().filter_map(|(name, value)| Some((name.clone(), value.as_f64()?)));
            checkpoint.metrics = numbers.collect();
        }
        Ok(checkpoint)
    }

    fn pointers(&self, field: RunField) -> impl Iterator<Item = &str> {
        let told = self.told.iter().find(|(known, _)| *known == field).map(|(_, pointer)| pointer.as_str());
        let defaults = if told.is_some() { &[][..] } else { field.defaults() };
        told.into_iter().chain(defaults.iter().copied())
    }

    fn find<'f>(&'f self, field: RunField, below: &'f Found<'f>) -> Option<Found<'f>> {
        let found = |pointer, value: Option<&'f Value>| {
            let value = value.filter(|value| !value.is_null())?;
            Some(Found { at: below.at.join(pointer), value })
        };
        if let Some((_, told)) = self.told.iter().find(|(known, _)| *known == field) {
            return found(told.as_str(), lookup(below.value, told.as_str()));
        }
        // Each of them is one key, or nothing.
        let step = |pointer: &str| match pointer.strip_prefix('/') {
            Some(key) => below.value.get(key),
            None => Some(below.value),
        };
        field.defaults().iter().find_map(|pointer| found(pointer, step(pointer)))
    }

    fn required<'f>(&'f self, field: RunField, below: &'f Found<'f>) -> Result<Found<'f>> {
        if let Some(found) = self.find(field, below) {
            return Ok(found);
        }
        if !below.value.is_object() && !below.value.is_array() {
            return Err(below.expected("an object"));
        }
        let first = self.pointers(field).next().unwrap_or_default();
        // Says how far the document goes, or that there is a null.
        let missing = Pointer::new(first).ok().and_then(|pointer| pointer.find(below.value).err());
        let text = match missing {
            Some(missing) if below.at.is_top() => missing.to_string(),
            Some(_) => format!("{}: not there", below.at.join(first)),
            None => format!("{}: expected a value, found null", below.at.join(first)),
        };
        Err(Error::new(ErrorKind::Probe).context(text))
    }
}

/// Where in a document something is. Written out only where it is shown.
#[derive(Clone, Copy)]
struct At<'f> {
    above: Option<&'f At<'f>>,
    pointer: &'f str,
}

impl<'f> At<'f> {
    const TOP: Self = Self { above: None, pointer: "" };

    fn join(&'f self, pointer: &'f str) -> Self {
        Self { above: Some(self), pointer }
    }

    fn is_top(&self) -> bool {
        self.pointer.is_empty() && self.above.is_none_or(Self::is_top)
    }

    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.above.map_or(Ok(()), |above| above.write(f))?;
        f.write_str(self.pointer)
    }
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_top() { f.write_str("the document") } else { self.write(f) }
    }
}

struct Found<'f> {
    at: At<'f>,
    value: &'f Value,
}

impl<'f> Found<'f> {
    const fn whole(document: &'f Value) -> Self {
        Self { at: At::TOP, value: document }
    }
}

impl Found<'_> {
    fn expected(&self, what: &str) -> Error {
        let found = Kind(self.value);
        Error::new(ErrorKind::Probe).context(format!("{}: expected {what}, found {found}", self.at))
    }

    fn text(&self) -> Result<String> {
        match self.value {
            Value::String(text) if !text.is_empty() => Ok(text.clone()),
            _ => Err(self.expected("a text")),
        }
    }

    /// Some services name by numbers.
    fn name(&self) -> Result<String> {
        match self.value {
            Value::String(text) if !text.is_empty() => Ok(text.clone()),
            Value::Number(number) if !number.is_f64() => Ok(number.to_string()),
            _ => Err(self.expected("a name")),
        }
    }

    fn flag(&self) -> Result<bool> {
        match self.value {
            Value::Bool(flag) => Ok(*flag),
            Value::String(text) if text == "true" => Ok(true),
            Value::String(text) if text == "false" => Ok(false),
            _ => Err(self.expected("true or false")),
        }
    }

    fn size(&self) -> Result<u64> {
        self.value.as_u64().ok_or_else(|| self.expected("a size in bytes"))
    }

    fn time(&self) -> Result<Stamp> {
        const EXPECTED: &str = "a moment such as \"2026-11-24T21:42:02Z\" or seconds since 1970";
        let moment = match self.value {
            Value::String(text) => text.parse().ok(),
            // Held at its ends: a conversion of floats saturates.
            Value::Number(number) => {
                let seconds = number.as_f64().filter(|seconds| *seconds >= 0.0);
                seconds.map(|seconds| Stamp::from_micros((seconds * 1e6) as u64))
            }
            _ => None,
        };
        moment.ok_or_else(|| self.expected(EXPECTED))
    }
}

/// The run in a path such as `tinker://run/weights/7`.
fn run_of(path: &str) -> Option<String> {
    let scheme = path.as_bytes().windows(3).position(|three| three == b"://")?;
    let run = path[scheme + 3..].split('/').next()?;
    (!run.is_empty()).then(|| run.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_stands_by_default_is_one_key_or_nothing() {
        for pointer in RunField::ALL.into_iter().flat_map(RunField::defaults) {
            let is_key = pointer.strip_prefix('/').is_some_and(|key| !key.contains(['/', '~']));
            assert!(pointer.is_empty() || is_key, "{pointer}");
        }
    }

    #[test]
    fn every_field_is_read() {
        let mapping = RunMapping::default();
        let run = mapping
            .run(&json!({
                "training_run_id": "r1",
                "id": "other",
                "corrupted": true,
                "more": [],
                "last_checkpoint": {
                    "checkpoint_id": "c7",
                    "checkpoint_type": "training",
                    "path": "tinker://r1/weights/7",
                    "size_bytes": 4096,
                    "public": true,
                    "time": "2026-11-24T21:42:02Z",
                    "expires_at": 1_795_556_522.5,
                    "metrics": {"loss": 0.25, "step": 7, "note": "x"},
                },
            }))
            .unwrap();
        assert_eq!((run.training_run_id.as_str(), run.corrupted), ("r1", true));
        let mut checkpoint = Checkpoint::new("tinker://r1/weights/7");
        checkpoint.checkpoint_id = "c7".to_owned();
        checkpoint.checkpoint_type = Some("training".to_owned());
        checkpoint.training_run_id = Some("r1".to_owned());
        checkpoint.size_bytes = Some(4096);
        checkpoint.public = true;
        checkpoint.time = Some(Stamp::from_micros(1_795_556_522_000_000));
        checkpoint.expires_at = Some(Stamp::from_micros(1_795_556_522_500_000));
        checkpoint.metrics = [("loss".to_owned(), 0.25), ("step".to_owned(), 7.0)].into();
        assert_eq!(run.last_checkpoint, Some(checkpoint));
    }

    #[test]
    fn what_may_be_absent_or_told_in_another_way_is_read() {
        let mapping = RunMapping::default();
        let plain = TrainingRun::new("r1");
        let with = |path: &str, run: Option<&str>| {
            let run = run.map(str::to_owned);
            plain.clone().last_checkpoint(Checkpoint { training_run_id: run, ..Checkpoint::new(path) })
        };
        for (document, run) in [
            (json!({"id": "r1"}), plain.clone()),
            (json!({"id": "r1", "corrupted": null, "last_checkpoint": null}), plain.clone()),
            (json!({"training_run": {"id": "r1"}}), plain.clone()),
            (json!({"training_run": null, "id": "r1"}), plain.clone()),
            (json!({"id": "r1", "corrupted": "true"}), plain.clone().corrupted(true)),
            (json!({"id": "r1", "corrupted": "false"}), plain.clone()),
            (json!({"training_run_id": null, "id": 17}), TrainingRun::new("17")),
            (json!({"id": "r1", "last_checkpoint": "file/7"}), with("file/7", None)),
            (
                json!({"id": "r1", "last_checkpoint": {"tinker_path": "s3://b/7"}}),
                with("s3://b/7", Some("b")),
            ),
            (json!({"id": "r1", "last_checkpoint": "s3:///7"}), with("s3:///7", None)),
        ] {
            assert_eq!(mapping.run(&document).unwrap(), run, "{document}");
        }
        for (document, count) in
            [(json!([]), 0), (json!({"checkpoints": ["a", {"path": "b"}]}), 2), (json!(["a"]), 1)]
        {
            assert_eq!(mapping.checkpoints(&document).unwrap().len(), count, "{document}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_told_with_its_place() {
        let mapping = RunMapping::default();
        for (document, text) in [
            (json!({}), "the document has no \"training_run_id\", it is empty"),
            (json!({"error": "x"}), "the document has no \"training_run_id\", it has \"error\""),
            (json!([]), "the document has no \"training_run_id\", it is a list of 0"),
            (json!(null), "the document: expected an object, found null"),
            (json!("x"), "the document: expected an object, found the string \"x\""),
            (json!({"training_run": []}), "/training_run/training_run_id: not there"),
            (json!({"training_run_id": null}), "/training_run_id: expected a value, found null"),
            (json!({"id": ""}), "/id: expected a name, found the string \"\""),
            (json!({"id": 1.5}), "/id: expected a name, found the number 1.5"),
            (json!({"id": ["r1"]}), "/id: expected a name, found a list"),
            (json!({"id": "r", "corrupted": 1}), "/corrupted: expected true or false, found the number 1"),
            (
                json!({"id": "r", "corrupted": "True"}),
                "/corrupted: expected true or false, found the string \"True\"",
            ),
            (json!({"id": "r", "corrupted": {}}), "/corrupted: expected true or false, found an object"),
            (
                json!({"id": "r", "last_checkpoint": 7}),
                "/last_checkpoint: expected an object or a path, found the number 7",
            ),
            (json!({"id": "r", "last_checkpoint": {}}), "/last_checkpoint/path: not there"),
            (
                json!({"id": "r", "last_checkpoint": {"path": 7}}),
                "/last_checkpoint/path: expected a text, found the number 7",
            ),
            (
                json!({"id": "r", "last_checkpoint": {"path": "a", "size": -1}}),
                "/last_checkpoint/size: expected a size in bytes, found the number -1",
            ),
            (
                json!({"id": "r", "last_checkpoint": {"path": "a", "time": "soon"}}),
                "/last_checkpoint/time: expected a moment such as \"2026-11-24T21:42:02Z\" or seconds since 1970, \
                 found the string \"soon\"",
            ),
            (
                json!({"id": "r", "last_checkpoint": {"path": "a", "metrics": [1]}}),
                "/last_checkpoint/metrics: expected an object of numbers, found a list",
            ),
        ] {
            assert_eq!(mapping.run(&document).unwrap_err().to_string(), text, "{document}");
        }
        for (document, text) in [
            (
                json!({"checkpoints": "none"}),
                "/checkpoints: expected a list of checkpoints, found the string \"none\"",
            ),
            (json!({"data": []}), "the document: expected a list of checkpoints, found an object"),
            (json!({"checkpoints": ["a", {"id": 1}]}), "/checkpoints/1/path: not there"),
        ] {
            assert_eq!(mapping.checkpoints(&document).unwrap_err().to_string(), text, "{document}");
        }
    }

    #[test]
    fn what_is_elsewhere_is_found_where_it_is_told_to_be() {
        let at = |pointer: &str| Pointer::new(pointer).unwrap();
        let mapping = RunMapping::default()
            .field(RunField::Run, at("/data/0"))
            .field(RunField::Id, at("/meta/name"))
            .field(RunField::Corrupted, at("/x"))
            .field(RunField::Corrupted, at("/state/bad"));
        let document =
            json!({"data": [{"meta": {"name": "r1"}, "state": {"bad": true}, "corrupted": false}]});
        assert_eq!(mapping.run(&document).unwrap(), TrainingRun::new("r1").corrupted(true));
        let text = mapping.run(&json!({"data": [{"id": "r1"}]})).unwrap_err().to_string();
        assert_eq!(text, "/data/0/meta/name: not there");
    }

    #[test]
    fn fields_have_names_of_their_own_and_pointers_that_can_be_read() {
        let mut names: Vec<&str> = RunField::ALL.iter().map(|field| field.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), RunField::ALL.len());
        for pointer in RunField::ALL.iter().flat_map(|field| field.defaults()) {
            Pointer::new(*pointer).unwrap();
        }
    }

    mod any_document {
        use super::*;
        use proptest::prelude::*;

        fn json() -> impl Strategy<Value = Value> {
            let keys =
                "(id|training_run_id|corrupted|last_checkpoint|path|time|metrics|size|loss|checkpoints)";
            let leaf = prop_oneof![
                Just(Value::Null),
                any::<bool>().prop_map(Value::from),
                any::<f64>().prop_map(Value::from),
                any::<i64>().prop_map(Value::from),
                "(true|FALSE|r1|a://r1/7|2026-11-24T21:42:02.123456Z|\\PC{0,9})".prop_map(Value::from),
            ];
            leaf.prop_recursive(5, 64, 8, move |inner| {
                prop_oneof![
                    prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                    prop::collection::btree_map(keys, inner, 0..8).prop_map(|map| map.into_iter().collect()),
                ]
            })
        }

        fn again<T: serde::Serialize + serde::de::DeserializeOwned>(found: &T) -> T {
            serde_json::from_str(&serde_json::to_string(found).unwrap()).unwrap()
        }

        proptest! {
            /// Whatever the document is: it is read or refused, and what is
            /// read can be written down and read back.
            #[test]
            fn it_is_read_or_refused(document in json()) {
                let mapping = RunMapping::default();
                if let Ok(run) = mapping.run(&document) {
                    let metrics = |run: &TrainingRun| run.last_checkpoint.clone().unwrap_or_default().metrics;
                    prop_assert_eq!(metrics(&again(&run)), metrics(&run));
                    let once = again(&run);
                    prop_assert_eq!(again(&once), once);
                }
                if let Ok(found) = mapping.checkpoints(&document) {
                    let once = again(&found);
                    prop_assert_eq!(again(&once), once);
                }
                let _ = mapping.restored(&document);
            }

            #[test]
            fn measurements_are_kept_to_the_last_bit(value in any::<f64>()) {
                let document = serde_json::json!({"id": "r", "last_checkpoint": {"path": "p", "metrics": {"loss": value}}});
                let run = RunMapping::default().run(&document).unwrap();
                let text = serde_json::to_string(&document).unwrap();
                let read = RunMapping::default().run(&serde_json::from_str(&text).unwrap()).unwrap();
                prop_assert_eq!(&read, &run);
                prop_assert_eq!(again(&run), run);
            }
        }
    }
}
