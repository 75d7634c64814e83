//! The host, as its users hold it.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use super::config::{ComponentConfig, HostConfig, Settings};
use super::pending::Pending;
use super::runner::{Shared, State};
use super::status::{ComponentState, ComponentStatus, Seen};
use super::supervisor::{HostPhase, Member, Stage, Supervisor};
use crate::alert::behind::behind;
use crate::cancel::CancelToken;
use crate::clock::{Signals, Tick, real_deadline};
use crate::component::Component;
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Event, Health, LoopKind};
use crate::name::Name;
use crate::status::{LoopStatus, StatusSource};
use crate::stop::StopReport;
use crate::subscription::{DEFAULT_CAPACITY, Subscription};
use crate::thread::Task;

/// How long dropping a host waits, at most, for what it drops in turn.
const DROP_GRACE: Duration = Duration::from_secs(5);

/// Holds the components of a program: starts them in order, keeps them
/// running, stops them in reverse.
///
/// All it can do is on [`HostHandle`], to which it derefs; give a
/// [`handle`](Self::handle) to those who should not own it. Dropping the host
/// stops it within its shutdown timeout and drops the components, which are
/// waited for five seconds at most; one that is still in a call then is
/// dropped by that call's thread.
///
/// # Threads
///
/// One thread that minds the time, `lk/host`, and one for each call into a
/// component, `lk/call`; at rest one of these is left. Besides, those of the
/// [`Env`].
///
/// # Examples
///
/// ```
/// use loopkeeper::host::component;
/// use loopkeeper::{Context, Host, HostConfig};
/// use std::time::Duration;
///
/// let host = Host::new(HostConfig::default())?;
/// host.register("db", component(|_: &Context| Ok(()), |_: &Context| Ok(())))?;
/// host.register("api", component(|_: &Context| Err("port 80 is taken".into()), |_: &Context| Ok(())))?;
/// let error = host.start().unwrap_err();
/// assert_eq!(error.to_string(), "api: start: port 80 is taken");
/// assert!(host.stop(Duration::from_secs(1)).is_clean(), "db was stopped again");
/// # Ok::<(), loopkeeper::Error>(())
/// ```
#[must_use = "the host stops when it is dropped"]
pub struct Host {
    handle: HostHandle,
    minder: Task,
}

/// Where a host can be reached. Cloning shares it; it does not keep the host
/// alive: once that is dropped, every call is refused.
///
/// # Threads
///
/// All methods may be called from any thread, from callbacks and from inside
/// a component's `start` and `stop`. What would wait for the very call it is
/// made from is refused with `InvalidState`.
#[derive(Clone)]
pub struct HostHandle {
    pub(super) shared: Arc<Shared>,
    pub(super) config: Arc<HostConfig>,
}

impl Host {
    /// Makes a host without components.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` when a setting cannot be used; `Spawn` or `Budget`
    /// when there is no thread to be had.
    pub fn new(config: HostConfig) -> Result<Self> {
        config.check()?;
        let env = config.make_env()?;
        let settings = Settings { shutdown_timeout: config.shutdown_timeout, parallel: config.parallel };
        let machine = Supervisor::new(settings, env.seed());
        let mailbox = match env.observer().on_event.clone() {
            Some(on_event) => {
                let call = move |event: &Event| {
                    crate::observe::contain(|| on_event(event));
                };
                Some(env.dispatcher().mailbox(Box::new(call))?)
            }
            None => None,
        };
        let (minder, seat) = env.clock().join("host");
        let shared = Arc::new(Shared::new(&env, machine, mailbox, minder));
        let theirs = shared.clone();
        // The first thread for calls at once: a stop must not fail for want
        // of one.
        shared.spawn(&mut shared.lock())?;
        let minder = Task::spawn(env.budget(), "lk/host".to_owned(), env.shared_stack_size(), move || {
            theirs.mind();
            drop(seat);
        });
        let handle = HostHandle { shared, config: Arc::new(config) };
        match minder {
            Ok(minder) => Ok(Self { handle, minder }),
            Err(error) => {
                let deadline = real_deadline(DROP_GRACE);
                let _ = handle.shared.close(deadline, deadline);
                Err(error)
            }
        }
    }

    /// Where the host can be reached by those who do not own it.
    #[must_use]
    pub fn handle(&self) -> HostHandle {
        self.handle.clone()
    }

    /// Whether the caller is in one of its calls or callbacks.
    #[cfg(feature = "capi")]
    pub(crate) fn is_own_call(&self) -> bool {
        let shared = &self.handle.shared;
        let is_runner = shared.lock().caller().is_some();
        is_runner || shared.mailbox.as_ref().is_some_and(|mailbox| mailbox.is_own_call())
    }

    /// Stops it as a drop does.
    pub(crate) fn stop_for_drop(&self) {
        let _ = self.handle.stop(self.handle.config.shutdown_timeout);
    }
}

impl Deref for Host {
    type Target = HostHandle;

    fn deref(&self) -> &HostHandle {
        &self.handle
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let shared = &self.handle.shared;
        let calls = real_deadline(self.handle.config.shutdown_timeout);
        self.stop_for_drop();
        shared.act(|state, _, out| state.machine.close(out));
        let deadline = real_deadline(DROP_GRACE);
        let _ = shared.close(calls, deadline);
        shared.minder.ring(Signals::CANCEL);
        if !self.minder.is_current() {
            let _ = self.minder.join_until(deadline);
        }
        shared.hub.close();
        if let Some(mailbox) = &shared.mailbox {
            mailbox.close(deadline);
        }
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("components", &self.components()).finish_non_exhaustive()
    }
}

impl HostHandle {
    /// What the host and its components share.
    #[must_use]
    pub fn env(&self) -> &Env {
        &self.shared.env
    }

    /// Adds a component with default settings, before the start.
    ///
    /// # Errors
    ///
    /// As [`register_with`](Self::register_with).
    pub fn register(&self, name: impl Into<String>, component: impl Component + 'static) -> Result<()> {
        self.register_with(ComponentConfig::new(name, component))
    }

    /// Adds a component, before the start.
    ///
    /// # Errors
    ///
    /// `Duplicate` when the name is taken; `InvalidArgument` when a setting
    /// cannot be used or components would require each other in a circle;
    /// `InvalidState` while the host runs: [`deploy`](Self::deploy) then.
    pub fn register_with(&self, config: ComponentConfig) -> Result<()> {
        let (spec, component) = config.into_parts(&self.config)?;
        // Where it is refused, its owner drops it: here, without a lock.
        let mut component = Some(component);
        self.shared.act(|state, now, out| {
            let id = state.number();
            state.machine.add(now, id, spec, None, out)?;
            if let Some(component) = component.take() {
                state.settle_in(id, component);
            }
            Ok(())
        })
    }

    /// Starts every component, each after what it requires and otherwise in
    /// the order of registration.
    ///
    /// Returns when every `start` that could be called has returned. What
    /// requires something that is up and not ready yet is left waiting and
    /// starts by itself later.
    ///
    /// When one fails, it and all that were started are stopped in reverse,
    /// within the shutdown timeout; they stay registered, so that start can
    /// be tried again.
    ///
    /// # Errors
    ///
    /// The first failure, with the component's name, and what did not stop
    /// afterwards: `Component`, `Panicked`, `Timeout` when a `start` is stuck.
    /// `NotFound` when something required is not registered, `Cancelled` when
    /// the host was stopped meanwhile, `InvalidState` while it runs, while an
    /// earlier call is stuck and from inside a component's call.
    ///
    /// # Threads
    ///
    /// Blocks the caller.
    pub fn start(&self) -> Result<()> {
        let op = self.shared.act(|state, now, out| {
            if state.caller().is_some() {
                return Err(refused("host: start from inside a component's call"));
            }
            let op = state.op();
            let started = state.machine.start(now, op, out);
            started.map(|()| op).inspect_err(|_| state.forget(op))
        })?;
        Pending { shared: self.shared.clone(), op }.wait()
    }

    /// Stops every component, in the reverse order of their starts.
    ///
    /// Each sees its cancel just before its `stop` is called. Each has its
    /// stop timeout, and all together have `grace`; of what is left of that a
    /// little is kept for each that has still to come, so that a few which
    /// hang cannot use up the time of all. One that is stuck past its time is
    /// left behind; the others go on.
    ///
    /// After this returns:
    ///
    /// * no component is in a call and none is started, unless the report
    ///   names it;
    /// * nothing is started again by itself;
    /// * callbacks about the host's events have been made, or are counted;
    /// * [`start`](Self::start) may be called again.
    ///
    /// Stopping twice, or before the start, does nothing but try those once
    /// more whose `stop` failed, and reports what still holds.
    ///
    /// # Threads
    ///
    /// Blocks the caller, at most for `grace`. From inside a component's call
    /// it only begins, and the report has an `InvalidState`.
    pub fn stop(&self, grace: Duration) -> StopReport {
        let deadline = real_deadline(grace);
        let is_inside = self.shared.act(|state, now, out| {
            state.machine.stop(now, grace, out);
            state.caller().is_some()
        });
        if is_inside {
            let mut report = StopReport::default();
            report.add_error(refused("host: stop from inside a component's call only begins"));
            return report;
        }
        // Looked at under the same lock: another may start it right after.
        let stopped = self.shared.wait(Some(deadline), |state| {
            let is_idle = state.machine.phase() == HostPhase::Idle;
            is_idle.then(|| report(state, self.shared.now()))
        });
        let mut report = stopped.unwrap_or_else(|| report(&self.shared.lock(), self.shared.now()));
        if let Some(mailbox) = &self.shared.mailbox {
            mailbox.close(deadline).tell("host", self.shared.now(), &mut report);
            mailbox.reopen();
        }
        report
    }

    /// Starts every component, blocks until `cancel` is cancelled or the host
    /// stops by itself, and stops every component.
    ///
    /// # Errors
    ///
    /// Those of [`start`](Self::start). Afterwards one that names who failed
    /// and who would not stop.
    pub fn run(&self, cancel: &CancelToken) -> Result<()> {
        let grace = self.config.shutdown_timeout;
        let theirs = Arc::downgrade(&self.shared);
        let hook = cancel.hook(move || {
            if let Some(shared) = theirs.upgrade() {
                shared.act(|state, now, out| {
                    if state.machine.phase() != HostPhase::Idle {
                        state.machine.stop(now, grace, out);
                    }
                });
            }
        });
        if cancel.is_cancelled() {
            return Ok(());
        }
        match self.start() {
            Err(error) if error.kind() != ErrorKind::Cancelled || !cancel.is_cancelled() => {
                return Err(error);
            }
            _ => {}
        }
        // Cancelled between the look above and the start.
        if !cancel.is_cancelled() {
            self.shared.wait(None, |state| {
                let is_on = matches!(state.machine.phase(), HostPhase::Starting { .. } | HostPhase::Running);
                (!is_on || cancel.is_cancelled()).then_some(())
            });
        }
        drop(hook);
        let failed: Vec<Error> = {
            let state = self.shared.lock();
            // What only does not stop is in the report, and may have been
            // tried already.
            let has_failed =
                |member: &&Member| member.stage == Stage::Failed && (member.gave_up || !member.unstopped);
            let failed = state.machine.members().filter(has_failed);
            let named = |member: &Member| {
                let error = member.last_error.as_ref()?;
                let context = format!("{}: failed: {}", member.name(), error.report());
                Some(Error::new(error.kind()).with_class(error.class()).context(context))
            };
            match state.machine.fatal() {
                Some(fatal) => vec![fatal.clone()],
                None => failed.filter_map(named).collect(),
            }
        };
        let report = self.stop(grace);
        let Some(first) = failed.first() else {
            if report.is_clean() {
                return Ok(());
            }
            let is_stuck = !report.stragglers().is_empty();
            let kind = if is_stuck { ErrorKind::Timeout } else { ErrorKind::Component };
            return Err(Error::new(kind).context(report.to_string()));
        };
        let mut text: Vec<String> = failed.iter().map(|error| error.report().to_string()).collect();
        if !report.is_clean() {
            text.push(report.to_string());
        }
        Err(Error::new(first.kind()).with_class(first.class()).context(text.join("; ")))
    }

    /// Adds a component to a host that runs and starts it; before the start
    /// it is only registered.
    ///
    /// Returns when its `start` has returned, or at once when it waits for
    /// something it requires.
    ///
    /// # Errors
    ///
    /// Those of [`register_with`](Self::register_with); `NotFound` when
    /// something required is not there; what the start failed for: it is then
    /// stopped and taken out again. `InvalidState` when the host stops.
    ///
    /// # Threads
    ///
    /// Blocks the caller.
    pub fn deploy(&self, config: ComponentConfig) -> Result<()> {
        self.begin_deploy(config)?.wait()
    }

    /// Begins what [`deploy`](Self::deploy) does and does not wait for it.
    ///
    /// # Errors
    ///
    /// What can be said at once.
    pub fn begin_deploy(&self, config: ComponentConfig) -> Result<Pending> {
        self.bring(config, |state, now, id, spec, op, out| state.machine.add(now, id, spec, Some(op), out))
    }

    /// Stops a component and starts another of the same name in its place;
    /// where none is, the new one is simply deployed.
    ///
    /// Returns when the new one is *up*: its `start` returned, and where it says
    /// so itself, it knows how it is (a watcher is up after its first verdict,
    /// whichever), or that it is done. Its `start` has to return within `limit`
    /// of its call, and nothing of it may fail until then; otherwise it is
    /// stopped and the one before comes back and is started again, by its
    /// restart policy also when that fails at first. One that still does not
    /// know how it is when `limit` is over stays, and so does one that waits for
    /// what it requires. The place in the order stays the same.
    ///
    /// # Errors
    ///
    /// As [`deploy`](Self::deploy); `InvalidArgument`, of the class retryable,
    /// also when it would close a circle with what others that are being
    /// replaced required or will require. The new one's failure when the one before
    /// is back; the failure to stop the one before, when that was not touched
    /// further.
    ///
    /// # Threads
    ///
    /// Blocks the caller. Refused with `InvalidState` from the component's own
    /// calls, from those of one that has to stop before it, and from those of
    /// one that the new one would wait for.
    pub fn replace(&self, config: ComponentConfig, limit: Duration) -> Result<()> {
        self.replace_checked(config, limit, true)?.wait()
    }

    /// Begins what [`replace`](Self::replace) does and does not wait for it.
    ///
    /// # Errors
    ///
    /// What can be said at once.
    pub fn begin_replace(&self, config: ComponentConfig, limit: Duration) -> Result<Pending> {
        self.replace_checked(config, limit, false)
    }

    fn replace_checked(&self, config: ComponentConfig, limit: Duration, waits: bool) -> Result<Pending> {
        self.bring(config, move |state, now, id, spec, op, out| {
            let check = if waits { check_waits } else { check_not_own };
            check(state, spec.name.as_str(), "replace")?;
            if waits && state.caller().is_some_and(|own| state.machine.would_wait_for(&spec, own)) {
                return Err(refused(format!("{}: replace by one that waits for this very call", spec.name)));
            }
            state.machine.replace(now, id, spec, limit, op, out)
        })
    }

    /// Stops a component and takes it out, within `grace`.
    ///
    /// One whose `stop` fails stays, as failed, until a later undeploy
    /// succeeds. One that is stuck gives its name free; it is still named in
    /// [`status`](Self::status) and in every report until it returns.
    ///
    /// # Errors
    ///
    /// `NotFound` when no component has this name; `InvalidState` from the
    /// component's own calls, from those of one that has to stop before it, and
    /// when the host stops.
    ///
    /// # Threads
    ///
    /// Blocks the caller, at most for `grace`.
    pub fn undeploy(&self, name: &str, grace: Duration) -> Result<StopReport> {
        self.undeploy_one(One::Named(name), grace)
    }

    /// The same for one very component, known by its
    /// [`id`](ComponentStatus::id): another that took its place is not touched.
    ///
    /// # Errors
    ///
    /// `Stale` when it is no longer part of the host; otherwise as
    /// [`undeploy`](Self::undeploy).
    ///
    /// # Threads
    ///
    /// Blocks the caller, at most for `grace`.
    pub fn undeploy_by_id(&self, id: u64, grace: Duration) -> Result<StopReport> {
        self.undeploy_one(One::Numbered(id), grace)
    }

    fn undeploy_one(&self, one: One<'_>, grace: Duration) -> Result<StopReport> {
        let deadline = real_deadline(grace);
        let (pending, name, id) = self.remove(one, grace, check_waits)?;
        let answer = pending.shared.wait(Some(deadline), |state| state.answer(pending.op));
        let state = self.shared.lock();
        let mut report = StopReport::default();
        let now = self.shared.now();
        let stuck = state.machine.members().find(|member| member.id == id);
        match (answer, stuck) {
            (Some(Ok(())), _) => {}
            (Some(Err(error)), _) if error.kind() == ErrorKind::InvalidState => return Err(error),
            (_, Some(member)) if state.thread_of(member.id, now).is_some() => {
                report.add_straggler(state.straggler(member, now));
            }
            (Some(Err(error)), _) => report.add_error(error),
            (None, _) => report.add_error(timed_out(&name)),
        }
        drop(state);
        Ok(report)
    }

    /// Begins what [`undeploy`](Self::undeploy) does and does not wait for it.
    ///
    /// # Errors
    ///
    /// What can be said at once.
    pub fn begin_undeploy(&self, name: &str, grace: Duration) -> Result<Pending> {
        self.remove(One::Named(name), grace, check_not_own).map(|(pending, ..)| pending)
    }

    fn remove(&self, one: One<'_>, grace: Duration, check: Check) -> Result<(Pending, String, u64)> {
        let (op, name, id) = self.shared.act(|state, now, out| {
            let (name, id) = match one {
                One::Named(name) => {
                    let id = state.machine.get(name).map(|member| member.id).unwrap_or_default();
                    (name.to_owned(), id)
                }
                One::Numbered(id) => {
                    let member = state.machine.members().find(|member| member.id == id && !member.stray);
                    (member.ok_or_else(gone)?.name().to_string(), id)
                }
            };
            check(state, &name, "undeploy")?;
            let op = state.op();
            let begun = state.machine.remove(now, &name, grace, op, out);
            begun.map(|()| (op, name, id)).inspect_err(|_| state.forget(op))
        })?;
        Ok((Pending { shared: self.shared.clone(), op }, name, id))
    }

    /// The names of the components, in the order of their starts.
    #[must_use]
    pub fn components(&self) -> Vec<Name> {
        let state = self.shared.lock();
        state.machine.members().filter(|member| !member.stray).map(|member| member.name().clone()).collect()
    }

    /// Every component at this moment, in the order of their starts; then
    /// those that were taken out and are stuck in a call.
    #[must_use]
    pub fn status(&self) -> Vec<ComponentStatus> {
        self.seen(|state, see| state.machine.members().map(see).collect::<Vec<_>>())
            .into_iter()
            .map(Seen::told)
            .collect()
    }

    /// One component at this moment.
    #[must_use]
    pub fn component(&self, name: &str) -> Option<ComponentStatus> {
        self.seen(|state, see| state.machine.get(name).map(see)).map(Seen::told)
    }

    /// The component with this [`id`](ComponentStatus::id) at this moment;
    /// `None` when it is no longer part of the host.
    #[must_use]
    pub fn component_by_id(&self, id: u64) -> Option<ComponentStatus> {
        let is_it = |member: &&Member| member.id == id && !member.stray;
        self.seen(|state, see| state.machine.members().find(is_it).map(see)).map(Seen::told)
    }

    /// Looks at components under the lock; what they are told as is made after
    /// it.
    fn seen<T>(&self, look: impl FnOnce(&State, &dyn Fn(&Member) -> Seen) -> T) -> T {
        let state = self.shared.lock();
        let (now, wall) = (self.shared.now(), self.shared.env.stamp());
        look(&state, &|member| Seen::of(&state, member, now, wall))
    }

    /// Every loop that runs in the host's environment, and every component
    /// that has none of its name or is stuck, so that nothing is hidden: by
    /// kind and name.
    ///
    /// A watcher that waits for what it requires is told as a component, and
    /// is as critical as the watcher itself.
    #[must_use]
    pub fn loops(&self) -> Vec<LoopStatus> {
        // First: what starts meanwhile is in both, and told as a loop.
        let components = self.component_statuses();
        let (mut loops, at_rest) = self.env().loops();
        // What looks after the program itself is none of its components, even
        // when one of them has the same name.
        let looks_after = |kind| matches!(kind, LoopKind::Deployer | LoopKind::ConfigWatcher);
        let own = loops.iter().filter(|status| !looks_after(status.kind));
        let own: HashSet<Name> = own.map(|status| status.name.clone()).collect();
        // A loop is told with what its component requires.
        let mut tied = std::collections::HashMap::new();
        for (state, mut status) in components {
            if own.contains(&status.name) && !status.requires.is_empty() {
                tied.insert(status.name.clone(), (status.requires.clone(), status.waits_for.clone()));
            }
            if own.contains(&status.name) && state != ComponentState::Abandoned {
                continue;
            }
            // The last that was made: the one that is to run.
            if let Some(at_rest) = at_rest.iter().rev().find(|at_rest| at_rest.name == status.name) {
                status.critical &= at_rest.critical;
            }
            loops.push(status);
        }
        for status in loops.iter_mut().filter(|status| !looks_after(status.kind)) {
            if let Some((requires, waits_for)) = tied.remove(&status.name) {
                (status.requires, status.waits_for) = (requires, waits_for);
            }
        }
        crate::status::sort(&mut loops);
        self.look_behind(&mut loops);
        loops
    }

    /// Finds those that are down behind others: of them nothing is known.
    fn look_behind(&self, loops: &mut [LoopStatus]) {
        if loops.iter().all(|status| status.health != Health::Down) {
            return;
        }
        let requires: HashMap<Name, Vec<Name>> = {
            let state = self.shared.lock();
            let members = state.machine.members();
            let members = members.filter(|member| !member.spec.requires.is_empty());
            members.map(|member| (member.spec.name.clone(), required(member))).collect()
        };
        if requires.is_empty() {
            return;
        }
        let down: HashSet<Name> = loops
            .iter()
            .filter(|status| status.health == Health::Down)
            .map(|status| status.name.clone())
            .collect();
        let requires = |name: &Name| requires.get(name).cloned().unwrap_or_default();
        let is_down = |name: &Name| down.contains(name);
        // Why a component itself failed is its host's own knowledge.
        let may_hide =
            |status: &&mut LoopStatus| status.health == Health::Down && status.kind != LoopKind::Component;
        for status in loops.iter_mut().filter(may_hide) {
            if let Some(parent) = behind(&status.name, &requires, &is_down) {
                status.health = Health::Unknown;
                status.parent = Some(parent);
            }
        }
    }

    /// What a component requires; nothing where there is none of the name.
    #[must_use]
    pub fn requires(&self, name: &Name) -> Vec<Name> {
        self.shared.lock().machine.get(name.as_str()).map(required).unwrap_or_default()
    }

    fn component_statuses(&self) -> Vec<(ComponentState, LoopStatus)> {
        let (is_on, seen) = self.seen(|state, see| {
            let is_on = matches!(state.machine.phase(), HostPhase::Starting { .. } | HostPhase::Running);
            (is_on, state.machine.members().map(see).collect::<Vec<_>>())
        });
        let told = seen.into_iter().map(|seen| {
            let mut status = seen.told();
            // One that is done with what it was for keeps nobody from being
            // ready.
            status.critical &= !(is_on && status.state == ComponentState::Stopped);
            (status.state, status.into_loop())
        });
        told.collect()
    }

    /// Hears of every event of every component from now on, through a queue
    /// of 256 that loses the oldest when nobody reads.
    pub fn subscribe(&self) -> Subscription {
        self.shared.hub.subscribe(DEFAULT_CAPACITY)
    }

    fn bring(
        &self,
        config: ComponentConfig,
        begin: impl FnOnce(
            &mut State,
            Tick,
            u64,
            super::config::Spec,
            u64,
            &mut Vec<super::supervisor::Action>,
        ) -> Result<()>,
    ) -> Result<Pending> {
        let (spec, component) = config.into_parts(&self.config)?;
        // Where it is refused, its owner drops it: here, without a lock.
        let mut component = Some(component);
        let begun = self.shared.act(|state, now, out| {
            let (id, op) = (state.number(), state.op());
            if let Some(component) = component.take() {
                state.settle_in(id, component);
            }
            match begin(state, now, id, spec, op, out) {
                Ok(()) => Ok(op),
                Err(error) => {
                    component = state.move_out(id);
                    state.forget(op);
                    Err(error)
                }
            }
        });
        drop(component);
        Ok(Pending { shared: self.shared.clone(), op: begun? })
    }
}

impl StatusSource for HostHandle {
    fn statuses(&self) -> Vec<LoopStatus> {
        self.component_statuses().into_iter().map(|(_, status)| status).collect()
    }
}

impl StatusSource for Host {
    fn statuses(&self) -> Vec<LoopStatus> {
        self.handle.statuses()
    }
}

impl fmt::Debug for HostHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostHandle").field("components", &self.components()).finish_non_exhaustive()
    }
}

/// Which component is meant.
#[derive(Clone, Copy)]
enum One<'a> {
    Named(&'a str),
    Numbered(u64),
}

fn gone() -> Error {
    Error::new(ErrorKind::Stale).context("host: the component is no longer part of it")
}

fn refused(text: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidState).context(text)
}

fn timed_out(name: &str) -> Error {
    Error::new(ErrorKind::Timeout).context(format!("{name}: not stopped: no time was left"))
}

/// Whether something may be done about a component of this name from where it
/// is asked for.
type Check = fn(&State, &str, &str) -> Result<()>;

/// Refuses what would wait for the very call it comes from.
fn check_waits(state: &State, name: &str, what: &str) -> Result<()> {
    check_not_own(state, name, what)?;
    match state.caller() {
        Some(own) if state.machine.is_held_by(name, own) => {
            Err(refused(format!("{name}: {what} from inside a call of one that has to stop before it")))
        }
        _ => Ok(()),
    }
}

/// Refuses what a component would do to itself.
fn check_not_own(state: &State, name: &str, what: &str) -> Result<()> {
    let own = state.caller();
    let is_own = state.machine.get(name).is_some_and(|member| Some(member.id) == own);
    if is_own { Err(refused(format!("{name}: {what} from inside its own call"))) } else { Ok(()) }
}

/// What holds after a stop.
fn report(state: &State, now: Tick) -> StopReport {
    let mut report = StopReport::default();
    for error in state.machine.stop_errors() {
        report.add_error(error.clone());
    }
    for member in state.machine.members() {
        match member.stage {
            Stage::Starting { .. } | Stage::Stopping { .. } | Stage::Abandoned { .. } => {
                report.add_straggler(state.straggler(member, now));
            }
            Stage::Started => report.add_error(timed_out(member.name().as_str())),
            _ => {}
        }
    }
    report
}

/// The names of what a component requires.
fn required(member: &Member) -> Vec<Name> {
    member.spec.requires.iter().map(|require| require.name.clone()).collect()
}
