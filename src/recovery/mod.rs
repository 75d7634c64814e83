//! Bringing back what broke: runs that are polled, restored from a checkpoint
//! when they are corrupted, and watched until the recovery is proven.

mod choice;
pub mod descriptor;
mod engine;
mod executor;
mod incident;
mod metadata;
mod monitor;
mod policy;
#[cfg(feature = "http-client")]
pub mod rest;
mod status;
mod tell;

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};

use crate::component::Context;
use crate::error::BoxError;
use crate::stamp::Stamp;

pub use executor::{Executor, ExecutorConfig, Recover};
pub use incident::{Failure, Incident, IncidentPhase};
pub use metadata::Metadata;
pub use monitor::{RecoveryMonitor, RecoveryMonitorConfig, RunStatus};
pub use policy::{CheckpointStrategy, Prefer, RecoveryPolicy};

/// What a program works a run with: its own object.
pub type Handle = Arc<dyn Any + Send + Sync>;

/// Where the state of runs is known.
///
/// # Contract
///
/// Called on the threads of a recovery monitor and of its executor, for many
/// runs at once: share what is costly. Each call has a deadline in its
/// context; one that passes it is told while it is still stuck, keeps its
/// thread, and its answer is dropped.
///
/// Whatever the error, a run is asked for again at the next poll. An attempt
/// that knows of no checkpoint because of an error ends the recovery where that
/// is of the class `Terminal`, and is made again after a delay where it is not.
pub trait RunSource: Send + Sync {
    /// Asks for the present state of a run.
    ///
    /// # Errors
    ///
    /// Why its state is not known.
    fn fetch(&self, cx: &Context, run: &str) -> Result<TrainingRun, BoxError>;

    /// The checkpoints of a run that it may be restored from. The newest is
    /// the one with the latest time; where they have none, the last one that
    /// [`fetch`](Self::fetch) tells of, then the others in the order told.
    /// Defaults to none but the last one that [`fetch`](Self::fetch) tells of.
    ///
    /// # Errors
    ///
    /// Why they are not known.
    fn checkpoints(&self, cx: &Context, run: &str) -> Result<Vec<Checkpoint>, BoxError> {
        Ok(self.fetch(cx, run)?.last_checkpoint.into_iter().collect())
    }
}

impl<F> RunSource for F
where
    F: Fn(&Context, &str) -> Result<TrainingRun, BoxError> + Send + Sync,
{
    fn fetch(&self, cx: &Context, run: &str) -> Result<TrainingRun, BoxError> {
        self(cx, run)
    }
}

/// How a run is restored.
///
/// # Contract
///
/// Called on a thread of an executor, for as many runs at once as it allows.
/// Each call has a deadline in its context.
///
/// An error of the class `Terminal` ends the recovery; every other is tried
/// again with growing delays. An error may say by its kind `NotFound` that the
/// checkpoint is gone: an older one is tried next.
pub trait Remedy: Send + Sync {
    /// Makes a run anew from a checkpoint.
    ///
    /// The [key](Restore::idempotency_key) of a request is its own for each
    /// attempt: a service that was sent it twice must make one run.
    ///
    /// # Errors
    ///
    /// Why there is none.
    fn restore(&self, cx: &Context, request: &Restore) -> Result<Restored, BoxError>;

    /// Lets go of a run that was restored, but too late to be used: after its
    /// deadline, or after the recovery was cancelled. Defaults to nothing.
    ///
    /// # Errors
    ///
    /// Why it is still there; told, and not tried again.
    fn discard(&self, _cx: &Context, _restored: &Restored) -> Result<(), BoxError> {
        Ok(())
    }

    /// Lets go of the corrupted run once another took its place. Defaults to
    /// nothing.
    ///
    /// # Errors
    ///
    /// Why it is still there; told, and not tried again.
    fn retire(&self, _cx: &Context, _old: &str) -> Result<(), BoxError> {
        Ok(())
    }
}

impl<F> Remedy for F
where
    F: Fn(&Context, &Restore) -> Result<Restored, BoxError> + Send + Sync,
{
    fn restore(&self, cx: &Context, request: &Restore) -> Result<Restored, BoxError> {
        self(cx, request)
    }
}

/// The state of a run, as its source tells it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TrainingRun {
    /// The name of the run.
    pub training_run_id: String,
    /// Whether its state cannot be used any more.
    #[serde(default)]
    pub corrupted: bool,
    /// The checkpoint written last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_checkpoint: Option<Checkpoint>,
}

impl TrainingRun {
    /// A run that is well and has no checkpoint.
    #[must_use]
    pub fn new(training_run_id: impl Into<String>) -> Self {
        Self { training_run_id: training_run_id.into(), corrupted: false, last_checkpoint: None }
    }

    /// Sets whether it is corrupted.
    #[must_use]
    pub fn corrupted(self, corrupted: bool) -> Self {
        Self { corrupted, ..self }
    }

    /// Sets the checkpoint written last.
    #[must_use]
    pub fn last_checkpoint(self, checkpoint: Checkpoint) -> Self {
        Self { last_checkpoint: Some(checkpoint), ..self }
    }
}

/// Where a run can be restored from.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Checkpoint {
    /// Its name.
    pub checkpoint_id: String,
    /// What it holds, such as `training` or `sampler`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint_type: Option<String>,
    /// Where it is: what a restore is asked for with.
    pub path: String,
    /// The run that it is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training_run_id: Option<String>,
    /// Its size in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// Whether everybody may read it.
    #[serde(default)]
    pub public: bool,
    /// When it was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Stamp>,
    /// When it is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Stamp>,
    /// What was measured of it, by name: what the best one is chosen by. What
    /// is not finite is not chosen by, and not written down.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", serialize_with = "finite")]
    pub metrics: BTreeMap<String, f64>,
}

/// JSON has no other numbers: they would be nulls, which cannot be read back.
fn finite<S: Serializer>(metrics: &BTreeMap<String, f64>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(metrics.iter().filter(|(_, value)| value.is_finite()))
}

impl Checkpoint {
    /// A checkpoint at `path`, which is its name, too.
    #[must_use]
    pub fn new(path: impl Into<String>) -> Self {
        let path = path.into();
        Self { checkpoint_id: path.clone(), path, ..Self::default() }
    }
}

/// What one attempt asks of a [`Remedy`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Restore {
    /// The run that is corrupted.
    pub run: String,
    /// What it is restored from.
    pub checkpoint: Checkpoint,
    /// Whether the state of the optimizer is restored, too.
    pub restore_optimizer: bool,
    /// The number of the attempt, from 1.
    pub attempt: u32,
    /// The same for whoever sends one attempt's request again; no two
    /// attempts have the same.
    pub idempotency_key: String,
    /// How much time the attempt has from its beginning.
    pub timeout: Duration,
}

impl Restore {
    /// The first attempt to restore a run with its optimizer: what a remedy
    /// is tried with by hand.
    #[must_use]
    pub fn new(run: impl Into<String>, checkpoint: Checkpoint) -> Self {
        let run = run.into();
        let idempotency_key = format!("{run}-1");
        let (restore_optimizer, attempt, timeout) = (true, 1, Duration::from_secs(60));
        Self { run, checkpoint, restore_optimizer, attempt, idempotency_key, timeout }
    }
}

/// The run that took a corrupted one's place.
#[derive(Clone)]
#[non_exhaustive]
pub struct Restored {
    /// Its name: what is polled from now on.
    pub training_run_id: String,
    /// What the program works with; absent after a restart.
    pub handle: Option<Arc<dyn Any + Send + Sync>>,
}

impl Restored {
    /// A run of this name.
    #[must_use]
    pub fn new(training_run_id: impl Into<String>) -> Self {
        Self { training_run_id: training_run_id.into(), handle: None }
    }

    /// Adds what the program works with.
    #[must_use]
    pub fn handle(self, handle: impl Any + Send + Sync) -> Self {
        Self { handle: Some(Arc::new(handle)), ..self }
    }
}

impl fmt::Debug for Restored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Restored").field("training_run_id", &self.training_run_id).finish_non_exhaustive()
    }
}

/// A run that was restored; see [`RecoveryPolicy::on_recovery`].
#[derive(Clone)]
#[non_exhaustive]
pub struct Recovered {
    /// The run that was corrupted.
    pub run: String,
    /// What the program worked with until now, as far as it said.
    pub old: Option<Handle>,
    /// The run that took its place, and what the program works with from now
    /// on.
    pub restored: Restored,
    /// What it was restored from.
    pub checkpoint: Checkpoint,
    /// Which attempt it was.
    pub attempt: u32,
}

impl fmt::Debug for Recovered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recovered")
            .field("run", &self.run)
            .field("restored", &self.restored)
            .field("checkpoint", &self.checkpoint.path)
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}
