//! Restores runs, a bounded number at once, without watching them.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::engine::{Engine, Limits, Parts, Role, Stage};
use super::incident::Incident;
use super::metadata::{Metadata, check_run};
use super::policy::RecoveryPolicy;
use super::{Checkpoint, Remedy, RunSource};
use crate::cancel::CancelToken;
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::name::Name;
use crate::status::{IncidentStatus, LoopStatus, StatusSource};
use crate::stop::StopReport;
use crate::subscription::{DEFAULT_CAPACITY, Subscription};

/// What an [`Executor`] is made from, beside a source and a remedy.
#[derive(Debug, Clone)]
#[must_use = "settings do nothing until an executor is made from them"]
pub struct ExecutorConfig {
    name: String,
    max_concurrent: u32,
    max_queued: u32,
    cancel: CancelToken,
    drop_grace: Duration,
}

impl ExecutorConfig {
    /// An executor under a name. The name is checked when it is started.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            max_concurrent: 1,
            max_queued: 1024,
            cancel: CancelToken::new(),
            drop_grace: Duration::from_secs(1),
        }
    }

    /// How many attempts are made at once, at least 1. Defaults to 1.
    pub fn max_concurrent(mut self, attempts: u32) -> Self {
        self.max_concurrent = attempts;
        self
    }

    /// How many runs may wait for their first attempt, at least 1. Defaults to
    /// 1,024.
    pub fn max_queued(mut self, runs: u32) -> Self {
        self.max_queued = runs;
        self
    }

    /// Ends the executor when `token` is cancelled. Defaults to a token of its
    /// own.
    pub fn cancelled_by(mut self, token: &CancelToken) -> Self {
        self.cancel = token.clone();
        self
    }

    /// How long dropping the executor waits for its threads, unless a stop
    /// has waited for them already. Defaults to 1 s.
    pub fn drop_grace(mut self, grace: Duration) -> Self {
        self.drop_grace = grace;
        self
    }
}

/// Refuses what must be at least 1.
pub(super) fn at_least_1(settings: &[(&str, u32)]) -> Result<()> {
    match settings.iter().find(|(_, n)| *n == 0) {
        Some((key, _)) => Err(Error::invalid(format!("{key}: must be at least 1, found 0"))),
        None => Ok(()),
    }
}

pub(super) fn places(n: u32) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

/// A run that is to be restored, and by which policy.
#[derive(Clone)]
#[must_use = "nothing is restored until an executor is asked for it"]
pub struct Recover {
    run: String,
    policy: Arc<RecoveryPolicy>,
    metadata: Metadata,
    last_checkpoint: Option<Checkpoint>,
}

impl Recover {
    /// Restores `run` by `policy`.
    pub fn new(run: impl Into<String>, policy: impl Into<Arc<RecoveryPolicy>>) -> Self {
        Self { run: run.into(), policy: policy.into(), metadata: Metadata::default(), last_checkpoint: None }
    }

    /// What the program says of the run. Defaults to nothing.
    pub fn metadata(self, metadata: Metadata) -> Self {
        Self { metadata, ..self }
    }

    /// Adds what the program works with.
    pub fn handle(self, handle: impl Any + Send + Sync) -> Self {
        Self { metadata: self.metadata.handle(handle), ..self }
    }

    /// The checkpoint written last, as far as the caller knows. The source is
    /// asked only where that is not enough.
    pub fn last_checkpoint(self, checkpoint: Checkpoint) -> Self {
        Self { last_checkpoint: Some(checkpoint), ..self }
    }
}

impl fmt::Debug for Recover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recover")
            .field("run", &self.run)
            .field("policy", &self.policy)
            .field("metadata", &self.metadata)
            .field("last_checkpoint", &self.last_checkpoint)
            .finish()
    }
}

/// Restores runs when it is told to, a bounded number at once.
///
/// First come, first served; a run whose next attempt is due goes before
/// those that wait for their first. An attempt that fails is tried again with
/// growing delays, unless its error is [terminal](Error::terminal); one that
/// hangs past its deadline has failed, and holds up no other.
///
/// # Threads
///
/// Up to `max_concurrent` threads named `rec/<name>`, which call the source
/// and the remedy, and one for each call that hangs: four times as many in
/// all. All methods may be called from any thread and from the source, the
/// remedy and callbacks; from the former two [`stop`](Self::stop) only cancels.
/// Dropping it stops it within its drop grace.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use loopkeeper::recovery::{
///     Checkpoint, Executor, ExecutorConfig, Recover, RecoveryPolicy, Restore, Restored, TrainingRun,
/// };
/// use loopkeeper::{Context, Env, ErrorKind};
///
/// let source = |_: &Context, run: &str| Ok(TrainingRun::new(run).corrupted(true));
/// let remedy = |_: &Context, request: &Restore| match &*request.checkpoint.path {
///     "tinker://run-1/7" => Ok(Restored::new("run-2")),
///     _ => Err("no such checkpoint".into()),
/// };
/// let executor = Executor::start_in(&Env::new()?, ExecutorConfig::new("restore"), source, remedy)?;
///
/// let policy = RecoveryPolicy::default()
///     .enabled(true)
///     .on_recovery(|recovered| assert_eq!(recovered.restored.training_run_id, "run-2"))
///     .on_failure(|run, error| panic!("{run}: {error}"));
/// let newest = Checkpoint::new("tinker://run-1/7");
/// executor.recover(Recover::new("run-1", policy).last_checkpoint(newest))?;
///
/// let off = executor.recover(Recover::new("run-3", RecoveryPolicy::default())).unwrap_err();
/// assert_eq!(off.kind(), ErrorKind::InvalidState);
/// assert!(executor.drain(Duration::from_secs(5)));
/// assert!(executor.stop(Duration::from_secs(1)).is_clean());
/// # Ok::<(), loopkeeper::Error>(())
/// ```
#[must_use = "the executor stops when it is dropped"]
pub struct Executor {
    engine: Arc<Engine>,
    drop_grace: Duration,
}

impl Executor {
    /// Starts an executor, in a shared environment.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` when a setting cannot be used, `Spawn` or `Budget`
    /// when there is no thread to be had.
    pub fn start_in(
        env: &Env,
        config: ExecutorConfig,
        source: impl RunSource + 'static,
        remedy: impl Remedy + 'static,
    ) -> Result<Self> {
        let ExecutorConfig { name, max_concurrent, max_queued, cancel, drop_grace } = config;
        at_least_1(&[("max_concurrent", max_concurrent), ("max_queued", max_queued)])?;
        let parts = Parts {
            name: Name::new(&name)?,
            source: Box::new(source),
            remedy: Box::new(remedy),
            limits: Limits { polls: 1, attempts: places(max_concurrent), queue: places(max_queued) },
            critical: false,
            parent: cancel,
            calls: true,
            state_file: None,
        };
        let executor = Self { engine: Engine::new(env, parts)?, drop_grace };
        executor.restart()?;
        Ok(executor)
    }

    /// Starts it again after a stop.
    ///
    /// # Errors
    ///
    /// `InvalidState` while it runs or is being stopped; `Cancelled` after the
    /// token that ends it was cancelled; `Spawn` or `Budget` when there is no
    /// thread to be had.
    pub fn restart(&self) -> Result<()> {
        self.engine.start(Role::Attempt)
    }

    /// Has a run restored. Returns at once; events and the callbacks of the
    /// policy tell what comes of it.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` when the policy, the metadata or the name of the run
    /// cannot be used; `InvalidState` when the policy is switched off, or the
    /// executor does not run or is being drained; `Duplicate` when the run is
    /// being restored or waits for it; `Budget` when too many wait.
    pub fn recover(&self, request: Recover) -> Result<()> {
        let Recover { run, policy, metadata, last_checkpoint } = request;
        check_run(&run)?;
        metadata.check()?;
        policy.check_enabled()?;
        let run: Arc<str> = run.into();
        let name = &self.engine.name;
        let refused = |kind, text: &str| Err(Error::new(kind).context(format!("{name}: {text}")));
        // What is refused is dropped by the caller, not under the lock.
        let mut offer = Some((policy, metadata, last_checkpoint));
        self.engine.act(|state, _, _| {
            if state.stage != Stage::Running {
                return refused(ErrorKind::InvalidState, "it does not run");
            }
            if state.draining {
                return refused(ErrorKind::InvalidState, "it is being drained");
            }
            if state.cases.contains_key(&run) {
                return refused(ErrorKind::Duplicate, &format!("run {run} is being recovered already"));
            }
            if !self.engine.has_room(state) {
                let n = self.engine.limits.queue;
                return refused(ErrorKind::Budget, &format!("max_queued: {n} runs wait already"));
            }
            if let Some((policy, metadata, given)) = offer.take() {
                self.engine.open(state, &run, policy, metadata, given);
            }
            Ok(())
        })
    }

    /// Ends the recovery of a run: it waits no more, and an attempt under way
    /// is told to end; what it still makes is discarded.
    ///
    /// # Errors
    ///
    /// `NotFound` when the run is not being recovered.
    pub fn cancel(&self, run: &str) -> Result<()> {
        cancel(&self.engine, run)
    }

    /// Makes the next attempt of a run that waits for it now.
    ///
    /// # Errors
    ///
    /// `NotFound` when the run is not being recovered, `InvalidState` when it
    /// waits for nothing but its turn.
    pub fn retry(&self, run: &str) -> Result<()> {
        retry(&self.engine, run)
    }

    /// Takes nothing new and blocks until all that there is has come to its
    /// end; false when that was not within `timeout`. Real time. Nothing new
    /// is taken until a [`restart`](Self::restart).
    #[must_use]
    pub fn drain(&self, timeout: Duration) -> bool {
        self.engine.drain(timeout)
    }

    /// Everything about the executor, at one moment.
    #[must_use]
    pub fn status(&self) -> LoopStatus {
        self.engine.loop_status()
    }

    /// Every run that is being recovered, by name.
    #[must_use]
    pub fn runs(&self) -> Vec<IncidentStatus> {
        let wall = self.engine.wall();
        let state = self.engine.lock();
        state.cases.values().map(|case| self.engine.incident_status(case, wall)).collect()
    }

    /// All that is known of the recovery of a run.
    #[must_use]
    pub fn incident(&self, run: &str) -> Option<Incident> {
        self.engine.lock().cases.get(run).map(|case| case.incident.clone())
    }

    /// The executor's name.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.engine.name
    }

    /// What the executor shares with others.
    #[must_use]
    pub fn env(&self) -> &Env {
        &self.engine.env
    }

    /// Whether it takes runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.engine.is_running()
    }

    /// Hears of every event from now on, through a queue of 256 that loses
    /// the oldest when nobody reads. Ends with a stop.
    pub fn subscribe(&self) -> Subscription {
        self.engine.hub.subscribe(DEFAULT_CAPACITY)
    }

    /// Stops the executor. Attempts under way are told to end and waited for
    /// within `grace`; all that is not over is told as cancelled, and what a
    /// late attempt still makes is discarded.
    ///
    /// After this returns no attempt begins, nothing is told, and its threads
    /// have ended unless the report names them. [`restart`](Self::restart) may
    /// be called.
    pub fn stop(&self, grace: Duration) -> StopReport {
        self.engine.stop(grace)
    }
}

pub(super) fn cancel(engine: &Arc<Engine>, run: &str) -> Result<()> {
    let done = engine.act(|state, now, after| {
        let run = state.resolve(run)?;
        engine.cancel_case(state, now, after, &run, "on request").then_some(())
    });
    done.ok_or_else(|| {
        Error::new(ErrorKind::NotFound).context(format!("{}: run {run} is not being recovered", engine.name))
    })
}

pub(super) fn retry(engine: &Arc<Engine>, run: &str) -> Result<()> {
    let retried = engine.act(|state, now, after| {
        if state.stage != Stage::Running {
            return Some(false);
        }
        let run = state.resolve(run)?;
        state.cases.get(&run)?;
        Some(engine.retry(state, now, after, &run))
    });
    match retried {
        Some(true) => Ok(()),
        Some(false) => {
            let context = format!("{}: run {run} does not wait for a moment", engine.name);
            Err(Error::new(ErrorKind::InvalidState).context(context))
        }
        None => Err(engine.not_found(run)),
    }
}

impl StatusSource for Executor {
    fn statuses(&self) -> Vec<LoopStatus> {
        vec![self.status()]
    }
}

impl Executor {
    /// Whether the caller is in one of its calls or callbacks.
    #[cfg(feature = "capi")]
    pub(crate) fn is_own_call(&self) -> bool {
        self.engine.is_own_call()
    }

    /// Stops it as a drop does.
    pub(crate) fn stop_for_drop(&self) {
        self.engine.stop_for_drop(self.drop_grace);
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        self.stop_for_drop();
    }
}

impl fmt::Debug for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Executor").field("name", self.name()).finish_non_exhaustive()
    }
}
