//! The thread that tells people.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::AlertStatus;
use super::ledger;
use super::letter::{bring, told};
use super::machine::{Counts, Machine};
use super::queue::Letter;
use super::registry::{Registry, Wakes};
use super::subject::{View, World};
use crate::cancel::CancelToken;
use crate::clock::{Inbox, Signals, Tick, real_deadline};
use crate::component::{Component, Context, Hosted, Reporter};
use crate::env::Env;
use crate::error::{BoxError, Result};
use crate::event::{Health, LoopKind};
use crate::event_log::Bell;
use crate::map::Map;
use crate::name::Name;
use crate::observe::{Attr, Counter, Gauge};
use crate::primitive::Mutex;
use crate::state_file::StateFile;
use crate::status::LoopStatus;
use crate::stop::StopReport;
use crate::thread::{Straggler, Task, caught};

/// The name that it has in reports.
const NAME: &str = "alerts";
/// How many events are taken at once.
const PAGE: usize = 256;
/// For how long something may be left undone.
const STALLED: Duration = Duration::from_secs(25);

type Requires = dyn Fn(&Name) -> Vec<Name> + Send + Sync;

/// How [`Alerts`] are told.
#[derive(Clone, Default)]
#[must_use = "settings do nothing until alerts are made from them"]
pub struct AlertsConfig {
    requires: Option<Arc<Requires>>,
    state_file: Option<PathBuf>,
}

impl AlertsConfig {
    /// What the loop of a name requires: while one of those is down, nothing
    /// is told of it. Called on the thread of alerts; must not block. Defaults
    /// to nothing.
    pub fn requires(mut self, requires: impl Fn(&Name) -> Vec<Name> + Send + Sync + 'static) -> Self {
        self.requires = Some(Arc::new(requires));
        self
    }

    /// A small file in which is kept what was told and what waits to be, so
    /// that the next program neither tells an incident again nor forgets to
    /// tell its end. Read at the first [start](Alerts::start), and written
    /// before anything is sent and after. One that cannot be read or written
    /// is left out with a warning in the log. While started, a lock on a file
    /// beside it, whose name has `.lock` at its end, keeps a second writer
    /// out; it ends with the process, however that ends. Defaults to none.
    pub fn state_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.state_file = Some(path.into());
        self
    }
}

impl fmt::Debug for AlertsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { requires, state_file } = self;
        f.debug_struct("AlertsConfig")
            .field("has_requires", &requires.is_some())
            .field("state_file", state_file)
            .finish()
    }
}

/// Tells people what the loops of an environment find out that have an
/// [`AlertConfig`](super::AlertConfig). Without one of these nobody is told.
///
/// Cloning shares it. It is a [`Component`], too.
///
/// # Threads
///
/// One thread named `lk/alerts`, made when the first loop has something to
/// tell. It decides, and runs commands and webhooks one at a time; 256 wait at
/// most. No loop ever waits for it.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use loopkeeper::alert::{Action, AlertConfig, Alerts, AlertsConfig};
/// use loopkeeper::{Env, Watcher, WatcherConfig, probe};
///
/// let env = Env::new()?;
/// let alerts = Alerts::new(&env, AlertsConfig::default());
/// alerts.start()?;
/// let alert = AlertConfig::default().on_down(Action::exec(["logger", "mqtt is down"]));
/// let watcher = Watcher::start_in(&env, WatcherConfig::new("mqtt", probe::tcp("127.0.0.1:1883")).alert(alert))?;
/// assert!(alerts.status(watcher.name()).is_none_or(|status| status.sent == 0));
/// assert!(alerts.stop(Duration::from_secs(5)).is_clean());
/// # Ok::<(), loopkeeper::Error>(())
/// ```
#[derive(Clone)]
pub struct Alerts(Arc<Shared>);

struct Shared {
    env: Env,
    registry: Arc<Registry>,
    requires: Option<Arc<Requires>>,
    machine: Mutex<Machine>,
    run: Mutex<Option<Run>>,
    /// Threads that were told to end, until they have.
    ending: Mutex<Vec<Ending>>,
    is_started: Mutex<bool>,
    /// Held while the file is taken or let go, so that a stop does not let go
    /// what a start has found taken.
    turns: Mutex<()>,
    state_file: Option<StateFile>,
    /// Whether what a program of before has kept was read.
    is_restored: Mutex<bool>,
    instruments: Instruments,
}

/// One run of the thread.
struct Run {
    task: Task,
    inbox: Arc<Inbox>,
    cancel: CancelToken,
    heart: Arc<Heart>,
}

/// A run that was told to end.
#[derive(Clone)]
struct Ending {
    task: Task,
    heart: Arc<Heart>,
}

struct Instruments {
    sent: Counter,
    failed: Counter,
    lost: Counter,
    suppressed: Counter,
    pending: Gauge,
}

impl Alerts {
    /// Makes them; nothing is told before they are started.
    pub fn new(env: &Env, config: AlertsConfig) -> Self {
        let observer = env.observer();
        let result = |result: &'static str| observer.counter("alerts_total", &[Attr::new("result", result)]);
        let instruments = Instruments {
            sent: result("sent"),
            failed: result("failed"),
            lost: result("lost"),
            suppressed: result("suppressed"),
            pending: observer.gauge("alerts_pending", &[]),
        };
        Self(Arc::new(Shared {
            env: env.clone(),
            registry: Registry::of(env),
            requires: config.requires,
            machine: Mutex::new(Machine::new(env.boot())),
            run: Mutex::default(),
            ending: Mutex::default(),
            is_started: Mutex::default(),
            turns: Mutex::default(),
            state_file: config
                .state_file
                .map(|path| StateFile::new("alerts.state_file", path, ledger::MAX_LEN)),
            is_restored: Mutex::default(),
            instruments,
        }))
    }

    /// Begins to tell. Events of before are not told. Reads the
    /// [file](AlertsConfig::state_file), if there is one.
    ///
    /// # Errors
    ///
    /// `InvalidState` when others, in this process or another, keep the file;
    /// a thread that cannot be made is logged when it is needed.
    pub fn start(&self) -> Result<()> {
        {
            let _turn = self.0.turns.lock();
            self.0.state_file.as_ref().map_or(Ok(()), StateFile::hold)?;
            self.0.restore();
            *self.0.is_started.lock() = true;
        }
        let teller: Arc<dyn Wakes> = self.0.clone();
        self.0.registry.told_by(&teller);
        Ok(())
    }

    /// What became of the alerts of a loop; `None` where it has none. Of a
    /// watcher and a monitor of one name the watcher's.
    #[must_use]
    pub fn status(&self, name: &Name) -> Option<AlertStatus> {
        let machine = self.0.machine.lock();
        machine.status(machine.named(name)?, self.0.env.clock().now())
    }

    /// For how long its thread has left something undone, if that is longer
    /// than it should ever be. A command or a webhook that takes its time is
    /// not meant.
    #[must_use]
    pub fn stalled(&self) -> Option<Duration> {
        let run = self.0.run.lock();
        let late_by = run.as_ref()?.heart.late_by(self.0.env.clock().now());
        Some(late_by).filter(|late_by| *late_by > STALLED)
    }

    /// Adds to each loop what became of its alerts.
    pub fn annotate(&self, loops: &mut [LoopStatus]) {
        let now = self.0.env.clock().now();
        let machine = self.0.machine.lock();
        for status in loops {
            status.alert = machine.status(&(status.kind, status.name.clone()), now).map(Box::new);
        }
    }

    /// Ends the command or webhook that runs, and tells nothing any more.
    /// What waits is kept for the next start.
    pub fn stop(&self, grace: Duration) -> StopReport {
        *self.0.is_started.lock() = false;
        let deadline = real_deadline(grace);
        let mut report = StopReport::default();
        for Ending { task, heart } in self.0.end() {
            if !task.is_current() && task.join_until(deadline).is_none() {
                let stuck_for = heart.busy_for(self.0.env.clock().now());
                report.add_straggler(Straggler::new(NAME, &task, "an alert", stuck_for));
            }
        }
        let _turn = self.0.turns.lock();
        let has_ended = {
            let mut ending = self.0.ending.lock();
            ending.retain(|ending| !ending.task.has_ended());
            ending.is_empty()
        };
        // Or it was started again meanwhile.
        if has_ended && !*self.0.is_started.lock() {
            self.0.state_file.iter().for_each(StateFile::let_go);
        }
        report
    }
}

impl Wakes for Shared {
    fn wake(self: Arc<Self>) {
        let mut run = self.run.lock();
        if let Some(run) = run.as_ref().filter(|run| !run.task.has_ended()) {
            run.heart.call(self.env.clock().now());
            run.inbox.ring(Signals::POKE);
            return;
        }
        if !*self.is_started.lock() {
            return;
        }
        match Run::begin(&self) {
            Ok(begun) => *run = Some(begun),
            Err(error) => log::error!("alerts cannot be told: {}", error.report()),
        }
    }
}

impl Run {
    fn begin(shared: &Arc<Shared>) -> Result<Self> {
        let (inbox, seat) = shared.env.clock().join(NAME);
        let cancel = CancelToken::new();
        let heart = Arc::new(Heart::default());
        let (rings, called, clock) = (inbox.clone(), heart.clone(), shared.env.clock().clone());
        let bell = Arc::new(Bell::new(move || {
            called.call(clock.now());
            rings.ring(Signals::POKE);
        }));
        shared.env.events().hang(&bell);
        let seq = shared.env.events().newest();
        let (theirs, rung, token) = (Arc::downgrade(shared), inbox.clone(), cancel.clone());
        let (env, beats) = (&shared.env, heart.clone());
        let task = Task::spawn(env.budget(), "lk/alerts".to_owned(), env.stack_size(), move || {
            run(&theirs, &rung, &token, &bell, &beats, seq);
            beats.sleep_until(Tick::NEVER);
            drop(seat);
        })?;
        Ok(Self { task, inbox, cancel, heart })
    }
}

/// What one run of the thread is in.
struct Heart(Mutex<Pulse>);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Pulse {
    /// It has to be awake by then.
    Due(Tick),
    /// In a call since then, which may take its time.
    InCall(Tick),
}

impl Default for Heart {
    fn default() -> Self {
        Self(Mutex::new(Pulse::Due(Tick::NEVER)))
    }
}

impl Heart {
    /// There is something to look at.
    fn call(&self, now: Tick) {
        let mut pulse = self.0.lock();
        if let Pulse::Due(due) = &mut *pulse {
            *due = now.min(*due);
        }
    }

    fn sleep_until(&self, due: Tick) {
        *self.0.lock() = Pulse::Due(due);
    }

    fn enter_call(&self, now: Tick) {
        *self.0.lock() = Pulse::InCall(now);
    }

    fn late_by(&self, now: Tick) -> Duration {
        match *self.0.lock() {
            Pulse::Due(due) => now.since(due),
            Pulse::InCall(_) => Duration::ZERO,
        }
    }

    /// For how long it has been in what it is in.
    fn busy_for(&self, now: Tick) -> Duration {
        match *self.0.lock() {
            Pulse::Due(since) | Pulse::InCall(since) => now.since(since),
        }
    }
}

/// The body of the thread.
fn run(
    shared: &Weak<Shared>,
    inbox: &Arc<Inbox>,
    cancel: &CancelToken,
    bell: &Bell,
    heart: &Heart,
    mut seq: u64,
) {
    loop {
        let (clock, due) = {
            let Some(shared) = shared.upgrade() else { return };
            heart.sleep_until(shared.env.clock().now());
            // Before the look: an event that the look misses rings.
            bell.set();
            shared.look(&mut seq);
            while let Some(letter) = shared.next(cancel) {
                shared.send(letter, cancel, heart);
                shared.look(&mut seq);
            }
            let clock = shared.env.clock().clone();
            let due = shared.machine.lock().due(clock.now());
            heart.sleep_until(due);
            (clock, due)
        };
        if cancel.is_cancelled() || clock.wait(inbox, due).has(Signals::CANCEL) {
            return;
        }
    }
}

impl Shared {
    /// Tells the thread to end; answers with those that may not have ended yet.
    fn end(&self) -> Vec<Ending> {
        let mut run = self.run.lock();
        let mut ending = self.ending.lock();
        if let Some(Run { task, inbox, cancel, heart }) = run.take() {
            cancel.cancel();
            inbox.ring(Signals::CANCEL);
            ending.push(Ending { task, heart });
        }
        ending.clone()
    }

    /// Takes what has happened, and decides.
    fn look(&self, seq: &mut u64) {
        loop {
            let page = self.env.events_after(*seq, PAGE);
            *seq = page.next;
            // After the events: whoever they are about has said by now what is
            // to be told.
            let configs = self.registry.all();
            let now = self.env.clock().now();
            let mut machine = self.machine.lock();
            machine.configure(now, configs);
            for event in &page.events {
                machine.hear(event);
            }
            if page.lost > 0 {
                drop(machine);
                let statuses = self.env.statuses();
                let mut machine = self.machine.lock();
                for status in &statuses {
                    let error = status.last_error.as_deref();
                    machine.see(&(status.kind, status.name.clone()), status.health, status.since, error);
                }
            }
            if page.events.len() < PAGE {
                break;
            }
        }
        self.decide();
    }

    fn decide(&self) {
        let views = if self.machine.lock().wants_world() { self.views() } else { Map::new() };
        let requires = |name: &Name| match &self.requires {
            // The program's own code, on a thread that guards itself.
            Some(requires) => caught(|| requires(name)).unwrap_or_default(),
            None => Vec::new(),
        };
        // Asked before the lock is taken.
        let known = Memo::default();
        views.keys().for_each(|name| known.get(name, &requires));
        let world = World { views, requires: &|name| known.known(name) };
        let now = self.env.clock().now();
        let (asked, before, after, pending) = {
            let mut machine = self.machine.lock();
            let before = machine.counts;
            let asked = machine.step(now, &world);
            (asked, before, machine.counts, machine.pending())
        };
        self.count(before, after, pending);
        self.keep();
        for name in asked {
            // Gone by now: then it has nothing to say.
            let _ = self.env.trigger(name.as_str());
        }
    }

    /// Goes on where a program of before ended.
    fn restore(&self) {
        let Some(file) = &self.state_file else { return };
        if std::mem::replace(&mut *self.is_restored.lock(), true) {
            return;
        }
        if let Some(kept) = file.load(ledger::parse) {
            self.machine.lock().restore(self.env.clock().now(), self.env.stamp(), kept);
        }
    }

    /// Has what is to outlive this program written down, where it changed.
    fn keep(&self) {
        let Some(file) = &self.state_file else { return };
        let kept = self.machine.lock().keep(self.env.clock().now(), self.env.stamp());
        if kept.is_some_and(|kept| !file.save(&ledger::render(&kept))) {
            self.machine.lock().not_kept();
        }
    }

    fn views(&self) -> Map<Name, View> {
        // Names of their own, which are no component's.
        let is_own = |kind| matches!(kind, LoopKind::ConfigWatcher | LoopKind::Deployer);
        let statuses = self.env.statuses().into_iter().filter(|status| !is_own(status.kind));
        let views = statuses.map(|status| {
            let is_failing = status.consecutive_failures > 0;
            (status.name, View { health: status.health, age: status.age, is_failing })
        });
        views.collect()
    }

    fn next(&self, cancel: &CancelToken) -> Option<Letter> {
        if cancel.is_cancelled() {
            return None;
        }
        self.machine.lock().next(self.env.clock().now())
    }

    fn send(&self, letter: Letter, cancel: &CancelToken, heart: &Heart) {
        let Letter { id, action, body, .. } = letter;
        let clock = self.env.clock();
        let begun = clock.now();
        // For as long as that takes: no restart mends who does not answer.
        heart.enter_call(begun);
        let cx = Context::for_call(
            &self.env,
            body.name.clone(),
            cancel.clone(),
            begun + action.timeout,
            Reporter::default(),
        );
        let result = caught(|| bring(&cx, &action, &body)).and_then(|result| result);
        heart.sleep_until(clock.now());
        if cancel.is_cancelled() && result.is_err() {
            // Told to end: it is as if it had not been begun.
            return;
        }
        let what = if body.state == Health::Ready { "on_ready" } else { "on_down" };
        match &result {
            Ok(()) => log::debug!(target: "loopkeeper::alerts", "{}: {what} done", body.name),
            Err(error) => {
                log::warn!(target: "loopkeeper::alerts", "{}: {what} failed, is tried again: {}", body.name, error.report());
            }
        }
        let result = result.map_err(|error| told(&error.report().to_string()));
        let (before, after, pending) = {
            let mut machine = self.machine.lock();
            let before = machine.counts;
            machine.done(id, clock.now(), self.env.stamp(), result);
            (before, machine.counts, machine.pending())
        };
        self.count(before, after, pending);
        self.keep();
    }

    fn count(&self, before: Counts, after: Counts, pending: usize) {
        let Instruments { sent, failed, lost, suppressed, pending: gauge } = &self.instruments;
        for (counter, before, after) in [
            (sent, before.sent, after.sent),
            (failed, before.failed, after.failed),
            (lost, before.lost, after.lost),
            (suppressed, before.suppressed, after.suppressed),
        ] {
            if after > before {
                counter.add(after - before);
            }
        }
        gauge.set(pending as f64);
    }
}

/// What loops require, each asked once.
#[derive(Default)]
struct Memo(std::cell::RefCell<Map<Name, Vec<Name>>>);

impl Memo {
    fn get(&self, name: &Name, ask: &dyn Fn(&Name) -> Vec<Name>) {
        if self.0.borrow().contains_key(name) {
            return;
        }
        let found = ask(name);
        self.0.borrow_mut().insert(name.clone(), found.clone());
        // What is required may be no loop itself, and require others.
        found.iter().for_each(|name| self.get(name, ask));
    }

    fn known(&self, name: &Name) -> Vec<Name> {
        self.0.borrow().get(name).cloned().unwrap_or_default()
    }
}

impl Hosted for Alerts {
    fn start_hosted(&self, _: &Context) -> Result<()> {
        self.start()
    }

    fn stop_hosted(&self, cx: &Context) -> std::result::Result<(), BoxError> {
        self.stop(cx.remaining()).into_result()
    }
}

impl Component for Alerts {
    fn start(&mut self, cx: &Context) -> std::result::Result<(), BoxError> {
        Ok(self.start_hosted(cx)?)
    }

    fn stop(&mut self, cx: &Context) -> std::result::Result<(), BoxError> {
        self.stop_hosted(cx)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let deadline = real_deadline(Duration::from_secs(1));
        for Ending { task, .. } in self.end() {
            if !task.is_current() {
                drop(task.join_until(deadline));
            }
        }
    }
}

impl fmt::Debug for Alerts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Alerts").field("pending", &self.0.machine.lock().pending()).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;
    use crate::alert::{Action, AlertConfig};
    use crate::clock::ManualClock;
    use crate::event::{Event, EventKind};

    /// Has a service go down, and that told by this action for as long as what
    /// is returned is there.
    fn down(env: &Env, action: Action) -> Arc<AlertConfig> {
        let name: Name = "db".parse().expect("a name");
        let alert = Arc::new(AlertConfig::default().on_down(action));
        Registry::of(env).add(LoopKind::Watcher, &name, &alert);
        let what = EventKind::HealthChanged { from: Health::Ready, to: Health::Down, reason: None };
        env.events().append(Event {
            seq: 0,
            n: 1,
            at: env.stamp(),
            source: name.clone(),
            kind: LoopKind::Watcher,
            what,
        });
        alert
    }

    #[track_caller]
    fn until(mut is_so: impl FnMut() -> bool) {
        let limit = real_deadline(Duration::from_secs(5));
        while !is_so() {
            assert!(crate::clock::real_remaining(limit) > Duration::ZERO, "not in time");
            std::thread::yield_now();
        }
    }

    fn pulse(alerts: &Alerts) -> Option<Pulse> {
        alerts.0.run.lock().as_ref().map(|run| *run.heart.0.lock())
    }

    #[test]
    fn whoever_is_called_is_awaited_at_once() {
        let at = |secs| Tick::ZERO + Duration::from_secs(secs);
        let heart = Heart::default();
        assert_eq!(heart.late_by(at(9)), Duration::ZERO);
        heart.sleep_until(at(10));
        assert_eq!(heart.late_by(at(11)), Duration::from_secs(1));
        heart.call(at(5));
        heart.call(at(6));
        assert_eq!(heart.late_by(at(8)), Duration::from_secs(3));
        assert_eq!(heart.busy_for(at(8)), Duration::from_secs(3));
        heart.enter_call(at(7));
        heart.call(at(8));
        assert_eq!(heart.late_by(at(99)), Duration::ZERO);
        assert_eq!(heart.busy_for(at(9)), Duration::from_secs(2));
    }

    #[test]
    fn a_thread_that_does_not_end_is_in_each_report_until_it_has() {
        let clock = ManualClock::default();
        let env = Env::manual(&clock).unwrap();
        let path = std::env::temp_dir().join(format!("loopkeeper-alerts-{}", std::process::id()));
        let config = AlertsConfig::default().state_file(&path);
        let (alerts, second) = (Alerts::new(&env, config.clone()), Alerts::new(&env, config));
        alerts.start().unwrap();
        let held = alerts.0.machine.lock();
        let alert = down(&env, Action::exec(["true"]));
        until(|| alerts.0.run.lock().is_some());
        for _ in 0..2 {
            assert_eq!(alerts.stop(Duration::from_millis(1)).stragglers().len(), 1);
            assert_eq!(second.start().unwrap_err().kind(), crate::error::ErrorKind::InvalidState);
        }
        drop(held);
        assert!(alerts.stop(Duration::from_secs(5)).is_clean());
        second.start().unwrap();
        drop(alert);
        assert!(second.stop(Duration::from_secs(5)).is_clean());
        std::fs::remove_file(path.with_extension("lock")).unwrap();
        let _ = std::fs::remove_file(path);
    }

    #[test]
    fn what_is_started_while_a_stop_ends_keeps_its_file() {
        let clock = ManualClock::default();
        let env = Env::manual(&clock).unwrap();
        let path = std::env::temp_dir().join(format!("loopkeeper-alerts-again-{}", std::process::id()));
        let config = AlertsConfig::default().state_file(&path);
        let (alerts, second) = (Alerts::new(&env, config.clone()), Alerts::new(&env, config));
        alerts.start().unwrap();
        // Its thread cannot end before this does.
        let held = alerts.0.machine.lock();
        let alert = down(&env, Action::exec(["true"]));
        until(|| alerts.0.run.lock().is_some());
        let (stops, report) = (alerts.clone(), Arc::<Mutex<Option<StopReport>>>::default());
        let told = report.clone();
        let stop = move || *told.lock() = Some(stops.stop(Duration::from_secs(5)));
        let stop = Task::spawn(env.budget(), "lk/test".to_owned(), env.stack_size(), stop).unwrap();
        until(|| alerts.0.run.lock().is_none());
        alerts.start().unwrap();
        drop(held);
        assert!(stop.join_until(real_deadline(Duration::from_secs(5))).is_some());
        assert!(report.lock().take().unwrap().is_clean());
        assert_eq!(second.start().unwrap_err().kind(), crate::error::ErrorKind::InvalidState);
        assert!(alerts.stop(Duration::from_secs(5)).is_clean());
        second.start().unwrap();
        drop(alert);
        assert!(second.stop(Duration::from_secs(5)).is_clean());
        std::fs::remove_file(path.with_extension("lock")).unwrap();
        let _ = std::fs::remove_file(path);
    }

    #[test]
    fn a_thread_that_does_nothing_is_told_of() {
        let clock = ManualClock::default();
        let env = Env::manual(&clock).unwrap();
        let alerts = Alerts::new(&env, AlertsConfig::default());
        alerts.start().unwrap();
        assert_eq!(alerts.stalled(), None);
        // It waits for what it does not get.
        let held = alerts.0.machine.lock();
        let alert = down(&env, Action::exec(["true"]));
        until(|| pulse(&alerts).is_some_and(|pulse| pulse != Pulse::Due(Tick::NEVER)));
        clock.park();
        clock.jump(STALLED);
        assert_eq!(alerts.stalled(), None);
        clock.jump(Duration::from_secs(1));
        assert_eq!(alerts.stalled(), Some(STALLED + Duration::from_secs(1)));
        clock.unpark(1);
        drop(held);
        until(|| alerts.stalled().is_none());
        drop(alert);
        assert!(alerts.stop(Duration::from_secs(5)).is_clean());
    }

    #[test]
    fn a_command_that_takes_its_time_is_no_stall() {
        let clock = ManualClock::default();
        let env = Env::manual(&clock).unwrap();
        let alerts = Alerts::new(&env, AlertsConfig::default());
        alerts.start().unwrap();
        let alert = down(&env, Action::exec(["sleep", "600"]).timeout(Duration::from_secs(300)));
        until(|| matches!(pulse(&alerts), Some(Pulse::InCall(_))));
        clock.park();
        // Something happens meanwhile.
        alerts.0.clone().wake();
        clock.jump(2 * STALLED);
        assert_eq!(alerts.stalled(), None);
        clock.unpark(1);
        drop(alert);
        assert!(alerts.stop(Duration::from_secs(5)).is_clean());
        assert_eq!(alerts.stalled(), None);
    }
}
