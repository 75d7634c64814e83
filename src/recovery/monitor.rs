//! Watches runs, and has those restored that are corrupted.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::engine::{Engine, Limits, Parts, Role, Watch};
use super::executor::{at_least_1, cancel, places, retry};
use super::incident::Incident;
use super::metadata::{Metadata, check_run};
use super::policy::RecoveryPolicy;
use super::{Remedy, RunSource};
use crate::cancel::CancelToken;
use crate::clock::real_deadline;
use crate::component::{Component, Context, Hosted, Kept, Reporter};
use crate::env::{Env, Listed};
use crate::error::{BoxError, Result};
use crate::name::Name;
use crate::stamp::Stamp;
use crate::status::{IncidentStatus, LoopStatus, StatusSource};
use crate::stop::StopReport;
use crate::subscription::{DEFAULT_CAPACITY, Subscription};

/// What a [`RecoveryMonitor`] is made from, beside a source and a remedy.
#[derive(Debug, Clone)]
#[must_use = "settings do nothing until a monitor is made from them"]
pub struct RecoveryMonitorConfig {
    pub(super) name: String,
    pub(super) policy: RecoveryPolicy,
    pub(super) max_polls: u32,
    pub(super) max_concurrent: u32,
    pub(super) max_queued: u32,
    pub(super) critical: bool,
    cancel: CancelToken,
    drop_grace: Duration,
    state_file: Option<PathBuf>,
}

impl RecoveryMonitorConfig {
    /// A monitor under a name, which recovers by `policy`. Both are checked
    /// when it is made.
    pub fn new(name: impl Into<String>, policy: RecoveryPolicy) -> Self {
        Self {
            name: name.into(),
            policy,
            max_polls: 8,
            max_concurrent: 1,
            max_queued: 1024,
            critical: false,
            cancel: CancelToken::new(),
            drop_grace: Duration::from_secs(1),
            state_file: None,
        }
    }

    /// How many runs are polled at once, at least 1. Defaults to 8.
    pub fn max_polls(mut self, polls: u32) -> Self {
        self.max_polls = polls;
        self
    }

    /// How many runs are restored at once, at least 1. Defaults to 1.
    pub fn max_concurrent(mut self, attempts: u32) -> Self {
        self.max_concurrent = attempts;
        self
    }

    /// How many corrupted runs may wait for their first attempt, at least 1;
    /// a further one is skipped until there is room. Defaults to 1,024.
    pub fn max_queued(mut self, runs: u32) -> Self {
        self.max_queued = runs;
        self
    }

    /// Says that the whole is down, and not only degraded, while a run cannot
    /// be recovered. Monitors are not critical unless this is called.
    pub fn critical(mut self) -> Self {
        self.critical = true;
        self
    }

    /// Ends the monitor when `token` is cancelled. Defaults to a token of its
    /// own.
    pub fn cancelled_by(mut self, token: &CancelToken) -> Self {
        self.cancel = token.clone();
        self
    }

    /// How long dropping the monitor waits for its threads, unless a stop has
    /// waited for them already. Defaults to 1 s.
    pub fn drop_grace(mut self, grace: Duration) -> Self {
        self.drop_grace = grace;
        self
    }

    /// A file in which it is kept under which name a restored run goes on, so
    /// that [`watch_run`](RecoveryMonitor::watch_run) with its first name
    /// watches that one after a restart of the program, too. Read at a start,
    /// written after each recovery; no other monitor may keep it meanwhile.
    /// Defaults to none: after a restart the first run is polled again, and
    /// restored again where it is still there and corrupted.
    pub fn state_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.state_file = Some(path.into());
        self
    }
}

/// A watched run, at one moment.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[non_exhaustive]
pub struct RunStatus {
    /// Its present name.
    pub run: String,
    /// The name under which it was watched first.
    pub first_run: String,
    /// When it was last polled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_poll: Option<Stamp>,
    /// Why the last poll failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// Its recovery, if it is or was lately corrupted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incident: Option<IncidentStatus>,
}

/// Polls runs, has those restored that are corrupted, and watches them until
/// the recovery is proven.
///
/// Each run is polled at once and then an interval after the end of the poll
/// before; many at once, so one that is slow holds up no other. A corrupted run
/// is told as detected, once, and restored as an
/// [`Executor`](super::Executor) does it. The run that took its place is
/// watched instead: found well in enough polls the recovery is verified; found
/// corrupted, then or soon after, it is the same incident with the attempts it
/// had. The first poll of the restored run comes an interval after the
/// recovery: a service may still be at it. A run that could not be recovered stays watched; it is tried again once
/// it was seen well and is corrupted anew, or by [`retry`](Self::retry).
///
/// # Threads
///
/// Threads named `rec/<name>`: up to `max_polls` for polls, up to
/// `max_concurrent` for attempts, and those whose call hangs, four times as
/// many in all. They are made as they are needed. All methods may be called
/// from any thread and from the source, the remedy and callbacks; from the
/// former two [`stop`](Self::stop) only cancels. Dropping it stops it within
/// its drop grace.
///
/// # Examples
///
/// ```
/// use std::sync::atomic::{AtomicBool, Ordering};
/// use std::sync::Arc;
/// use std::time::Duration;
/// use loopkeeper::recovery::{
///     Checkpoint, Metadata, RecoveryMonitor, RecoveryMonitorConfig, RecoveryPolicy, Restore, Restored,
///     TrainingRun,
/// };
/// use loopkeeper::event::{EventKind, RecoveryStep};
/// use loopkeeper::{Context, Env};
///
/// let source = |_: &Context, run: &str| {
///     let newest = Checkpoint::new(format!("{run}/7"));
///     Ok(TrainingRun::new(run).corrupted(run == "run-1").last_checkpoint(newest))
/// };
/// let remedy = |_: &Context, _: &Restore| Ok(Restored::new("run-2"));
/// let policy = RecoveryPolicy::default().enabled(true).verify_polls(1).poll_interval(Duration::from_millis(10));
/// let config = RecoveryMonitorConfig::new("training", policy);
/// let monitor = RecoveryMonitor::start_in(&Env::new()?, config, source, remedy)?;
///
/// let events = monitor.subscribe();
/// monitor.watch_run("run-1", Metadata::default().with("team", "north"))?;
/// let is_verified =
///     |what: &EventKind| matches!(what, EventKind::Recovery(event) if event.step == RecoveryStep::Verified);
/// assert!(events.iter().any(|delivery| is_verified(&delivery.event.what)));
/// assert_eq!(monitor.runs()[0].run, "run-2");
/// assert!(monitor.stop(Duration::from_secs(1)).is_clean());
/// # Ok::<(), loopkeeper::Error>(())
/// ```
#[must_use = "the monitor stops when it is dropped"]
pub struct RecoveryMonitor {
    engine: Arc<Engine>,
    policy: Arc<RecoveryPolicy>,
    drop_grace: Duration,
}

impl RecoveryMonitor {
    /// Makes a monitor that is not started: for a host, which does that, or
    /// for [`restart`](Self::restart). Runs may be watched already.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` when a setting cannot be used.
    pub fn new(
        env: &Env,
        config: RecoveryMonitorConfig,
        source: impl RunSource + 'static,
        remedy: impl Remedy + 'static,
    ) -> Result<Self> {
        let RecoveryMonitorConfig {
            name,
            policy,
            max_polls,
            max_concurrent,
            max_queued,
            critical,
            cancel,
            drop_grace,
            state_file,
        } = config;
        at_least_1(&[
            ("max_polls", max_polls),
            ("max_concurrent", max_concurrent),
            ("max_queued", max_queued),
        ])?;
        policy.check()?;
        let parts = Parts {
            name: Name::new(&name)?,
            source: Box::new(source),
            remedy: Box::new(remedy),
            limits: Limits {
                polls: places(max_polls),
                attempts: places(max_concurrent),
                queue: places(max_queued),
            },
            critical,
            parent: cancel,
            calls: policy.on_recovery.is_some() || policy.on_failure.is_some(),
            state_file,
        };
        Ok(Self { engine: Engine::new(env, parts)?, policy: Arc::new(policy), drop_grace })
    }

    /// Makes a monitor and starts it, in a shared environment.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` when a setting cannot be used, `Spawn` or `Budget`
    /// when there is no thread to be had.
    pub fn start_in(
        env: &Env,
        config: RecoveryMonitorConfig,
        source: impl RunSource + 'static,
        remedy: impl Remedy + 'static,
    ) -> Result<Self> {
        let monitor = Self::new(env, config, source, remedy)?;
        monitor.restart()?;
        Ok(monitor)
    }

    /// Starts it, for the first time or again after a stop: what is watched is
    /// polled at once.
    ///
    /// # Errors
    ///
    /// `InvalidState` while it runs or is being stopped, or while another keeps
    /// its [file](RecoveryMonitorConfig::state_file); `Cancelled` after the
    /// token that ends it was cancelled; `Spawn` or `Budget` when there is no
    /// thread to be had.
    pub fn restart(&self) -> Result<()> {
        self.engine.start(Role::Poll)
    }

    /// Watches a run, beginning with a poll at once. Of one that is watched
    /// already, under its present name or its first, only the metadata changes.
    ///
    /// # Errors
    ///
    /// `InvalidState` when the policy is switched off, `InvalidArgument` when
    /// the name of the run or the metadata cannot be used.
    pub fn watch_run(&self, run: &str, metadata: Metadata) -> Result<()> {
        check_run(run)?;
        metadata.check()?;
        self.policy.check_enabled()?;
        let run: Arc<str> = run.into();
        self.engine.act(|state, now, after| {
            self.engine.watch(state, now, after, &run, &self.policy, metadata);
        });
        Ok(())
    }

    /// Watches a run no more, under its present name or its first, and ends
    /// its recovery: it waits no more, and an attempt under way is told to
    /// end; what it still makes is discarded. Says whether it was watched.
    pub fn stop_watching(&self, run: &str) -> bool {
        self.engine.act(|state, now, after| {
            let Some(run) = state.resolve(run) else { return false };
            let is_watched = state.watches.contains(&run);
            self.engine.unwatch(state, now, after, &run);
            is_watched
        })
    }

    /// Every watched run, by name.
    #[must_use]
    pub fn runs(&self) -> Vec<RunStatus> {
        let wall = self.engine.wall();
        let state = self.engine.lock();
        let one = |run: &Arc<str>, watch: &Watch| RunStatus {
            run: run.to_string(),
            first_run: watch.first_run.to_string(),
            last_poll: watch.last_poll.map(|tick| wall.at(tick)),
            last_error: watch.error.as_ref().map(|error| error.report().to_string()),
            incident: state.cases.get(run).map(|case| self.engine.incident_status(case, wall)),
        };
        state.watches.iter().map(|(run, watch)| one(run, watch)).collect()
    }

    /// All that is known of the recovery of a run.
    #[must_use]
    pub fn incident(&self, run: &str) -> Option<Incident> {
        let state = self.engine.lock();
        let run = state.resolve(run)?;
        state.cases.get(&run).map(|case| case.incident.clone())
    }

    /// Polls all runs now; one that is being polled once more right after.
    pub fn trigger(&self) {
        let _ = Listed::trigger(&*self.engine);
    }

    /// Ends the recovery of a run, which stays watched. It is not tried again
    /// until it was seen well, or by [`retry`](Self::retry).
    ///
    /// # Errors
    ///
    /// `NotFound` when the run is not being recovered.
    pub fn cancel(&self, run: &str) -> Result<()> {
        cancel(&self.engine, run)
    }

    /// Has a run tried again now: one that waits for its next attempt, or,
    /// with all attempts anew, one that is exhausted or was cancelled.
    ///
    /// # Errors
    ///
    /// `NotFound` when the run has no incident, `InvalidState` when there is
    /// nothing to try again.
    pub fn retry(&self, run: &str) -> Result<()> {
        retry(&self.engine, run)
    }

    /// The monitor's name.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.engine.name
    }

    /// What the monitor shares with others.
    #[must_use]
    pub fn env(&self) -> &Env {
        &self.engine.env
    }

    /// Whether it was started and not told to end.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.engine.is_running()
    }

    /// Everything about the monitor, at one moment.
    #[must_use]
    pub fn status(&self) -> LoopStatus {
        self.engine.loop_status()
    }

    /// Hears of every event from now on, through a queue of 256 that loses
    /// the oldest when nobody reads. Ends with a stop.
    pub fn subscribe(&self) -> Subscription {
        self.engine.hub.subscribe(DEFAULT_CAPACITY)
    }

    /// Blocks until no run is being recovered or waits for it, and says
    /// whether that is so; false when `timeout` has passed. Real time.
    #[must_use]
    pub fn wait_idle(&self, timeout: Duration) -> bool {
        let deadline = real_deadline(timeout);
        let mut state = self.engine.lock();
        // Its own call would wait for itself.
        let is_own = state.is_own_call();
        while !state.is_idle() {
            if is_own {
                return false;
            }
            let (guard, timed_out) = self.engine.changed.wait_until(state, deadline);
            state = guard;
            if timed_out {
                return state.is_idle();
            }
        }
        true
    }

    /// Stops the monitor. Attempts under way are told to end and waited for
    /// within `grace`; all that is not over is told as cancelled, and what a
    /// late attempt still makes is discarded. What is watched stays so, for a
    /// [`restart`](Self::restart).
    ///
    /// After this returns no poll and no attempt begins, nothing is told, and
    /// its threads have ended unless the report names them.
    pub fn stop(&self, grace: Duration) -> StopReport {
        self.engine.stop(grace)
    }

    /// This monitor as a component, for those who keep it, too.
    pub fn component(self: &Arc<Self>) -> impl Component + use<> {
        Kept(self.clone())
    }
}

impl Hosted for RecoveryMonitor {
    fn start_hosted(&self, cx: &Context) -> Result<()> {
        let reporter: Reporter = cx.reporter().clone();
        let before = self.engine.reporter.lock().replace(reporter);
        drop(before);
        if !self.is_running() {
            self.restart()?;
        }
        self.engine.report();
        Ok(())
    }

    fn stop_hosted(&self, cx: &Context) -> std::result::Result<(), BoxError> {
        self.stop(cx.remaining()).into_result()
    }
}

/// Up once a run was polled, or at once when none is watched; ready while no
/// run is lost.
impl Component for RecoveryMonitor {
    fn start(&mut self, cx: &Context) -> std::result::Result<(), BoxError> {
        Ok(self.start_hosted(cx)?)
    }

    fn stop(&mut self, cx: &Context) -> std::result::Result<(), BoxError> {
        self.stop_hosted(cx)
    }
}

impl StatusSource for RecoveryMonitor {
    fn statuses(&self) -> Vec<LoopStatus> {
        vec![self.status()]
    }
}

impl RecoveryMonitor {
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

impl Drop for RecoveryMonitor {
    fn drop(&mut self) {
        self.stop_for_drop();
    }
}

impl fmt::Debug for RecoveryMonitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecoveryMonitor").field("name", self.name()).finish_non_exhaustive()
    }
}
