//! The thread that tells people.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::AlertStatus;
use super::letter::{bring, told};
use super::machine::{Counts, Letter, Machine, View, World};
use super::registry::Wakes;
use crate::cancel::CancelToken;
use crate::clock::{Inbox, Signals, Tick, real_deadline};
use crate::component::{Component, Context, Hosted, Reporter};
use crate::env::Env;
use crate::error::{BoxError, Result};
use crate::event::Health;
use crate::event_log::Bell;
use crate::name::Name;
use crate::observe::{Attr, Counter, Gauge};
use crate::primitive::Mutex;
use crate::status::LoopStatus;
use crate::stop::StopReport;
use crate::thread::{Straggler, Task, caught};

/// The name that it has in reports.
const NAME: &str = "alerts";
/// How many events are taken at once.
const PAGE: usize = 256;

type Requires = dyn Fn(&Name) -> Vec<Name> + Send + Sync;

/// How [`Alerts`] are told.
#[derive(Clone, Default)]
#[must_use = "settings do nothing until alerts are made from them"]
pub struct AlertsConfig {
    requires: Option<Arc<Requires>>,
}

impl AlertsConfig {
    /// What the loop of a name requires: while one of those is down, nothing
    /// is told of it. Called on the thread of alerts; must not block. Defaults
    /// to nothing.
    pub fn requires(mut self, requires: impl Fn(&Name) -> Vec<Name> + Send + Sync + 'static) -> Self {
        self.requires = Some(Arc::new(requires));
        self
    }
}

impl fmt::Debug for AlertsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AlertsConfig").field("has_requires", &self.requires.is_some()).finish()
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
    requires: Option<Arc<Requires>>,
    machine: Mutex<Machine>,
    run: Mutex<Option<Run>>,
    is_started: Mutex<bool>,
    busy: Mutex<Option<(Name, Tick)>>,
    instruments: Instruments,
}

/// One run of the thread.
struct Run {
    task: Task,
    inbox: Arc<Inbox>,
    cancel: CancelToken,
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
            requires: config.requires,
            machine: Mutex::new(Machine::new(env.boot())),
            run: Mutex::default(),
            is_started: Mutex::default(),
            busy: Mutex::default(),
            instruments,
        }))
    }

    /// Begins to tell. Events of before are not told.
    ///
    /// # Errors
    ///
    /// None at present; a thread that cannot be made is logged when it is
    /// needed.
    pub fn start(&self) -> Result<()> {
        *self.0.is_started.lock() = true;
        let teller: Arc<dyn Wakes> = self.0.clone();
        self.0.env.alerts().told_by(&teller);
        Ok(())
    }

    /// What became of the alerts of a loop; `None` where it has none.
    #[must_use]
    pub fn status(&self, name: &Name) -> Option<AlertStatus> {
        self.0.machine.lock().status(name, self.0.env.clock().now())
    }

    /// Adds to each loop what became of its alerts.
    pub fn annotate(&self, loops: &mut [LoopStatus]) {
        let now = self.0.env.clock().now();
        let machine = self.0.machine.lock();
        for status in loops {
            status.alert = machine.status(&status.name, now).map(Box::new);
        }
    }

    /// Ends the command or webhook that runs, and tells nothing any more.
    /// What waits is kept for the next start.
    pub fn stop(&self, grace: Duration) -> StopReport {
        *self.0.is_started.lock() = false;
        let run = self.0.run.lock().take();
        let mut report = StopReport::default();
        let Some(Run { task, inbox, cancel }) = run else { return report };
        cancel.cancel();
        inbox.ring(Signals::CANCEL);
        if !task.is_current() && task.join_until(real_deadline(grace)).is_none() {
            let stuck_for =
                self.0.busy.lock().as_ref().map(|(_, since)| self.0.env.clock().now().since(*since));
            report.add_straggler(Straggler::new(NAME, &task, "an alert", stuck_for.unwrap_or_default()));
        }
        report
    }
}

impl Wakes for Shared {
    fn wake(self: Arc<Self>) {
        let mut run = self.run.lock();
        if let Some(run) = run.as_ref().filter(|run| !run.task.has_ended()) {
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
        let bell = inbox.clone();
        let bell = Arc::new(Bell::new(move || bell.ring(Signals::POKE)));
        shared.env.events().hang(&bell);
        let seq = shared.env.events().newest();
        let (theirs, rung, token) = (Arc::downgrade(shared), inbox.clone(), cancel.clone());
        let env = &shared.env;
        let task = Task::spawn(env.budget(), "lk/alerts".to_owned(), env.stack_size(), move || {
            run(&theirs, &rung, &token, &bell, seq);
            drop(seat);
        })?;
        Ok(Self { task, inbox, cancel })
    }
}

/// The body of the thread.
fn run(shared: &Weak<Shared>, inbox: &Arc<Inbox>, cancel: &CancelToken, bell: &Bell, mut seq: u64) {
    loop {
        let (clock, due) = {
            let Some(shared) = shared.upgrade() else { return };
            // Before the look: an event that the look misses rings.
            bell.set();
            shared.look(&mut seq);
            while let Some(letter) = shared.next(cancel) {
                shared.send(letter, cancel);
                shared.look(&mut seq);
            }
            let clock = shared.env.clock().clone();
            let due = shared.machine.lock().due(clock.now());
            (clock, due)
        };
        if cancel.is_cancelled() || clock.wait(inbox, due).has(Signals::CANCEL) {
            return;
        }
    }
}

impl Shared {
    /// Takes what has happened, and decides.
    fn look(&self, seq: &mut u64) {
        loop {
            let page = self.env.events_after(*seq, PAGE);
            *seq = page.next;
            // After the events: whoever they are about has said by now what is
            // to be told.
            let configs = self.env.alerts().all();
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
                    machine.see(&status.name, status.kind, status.health, status.since, error);
                }
            }
            if page.events.len() < PAGE {
                break;
            }
        }
        self.decide();
    }

    fn decide(&self) {
        let views = if self.machine.lock().wants_world() { self.views() } else { BTreeMap::new() };
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
        for name in asked {
            // Gone by now: then it has nothing to say.
            let _ = self.env.trigger(name.as_str());
        }
    }

    fn views(&self) -> BTreeMap<Name, View> {
        let statuses = self.env.statuses();
        let views = statuses.into_iter().map(|status| {
            let is_failing = status.consecutive_failures > 0;
            (status.name, View { health: status.health, age: status.age, is_failing })
        });
        crate::order::map(views)
    }

    fn next(&self, cancel: &CancelToken) -> Option<Letter> {
        if cancel.is_cancelled() {
            return None;
        }
        self.machine.lock().next(self.env.clock().now())
    }

    fn send(&self, letter: Letter, cancel: &CancelToken) {
        let Letter { id, action, body, .. } = letter;
        let clock = self.env.clock();
        let begun = clock.now();
        *self.busy.lock() = Some((body.name.clone(), begun));
        let cx = Context::for_call(
            &self.env,
            body.name.clone(),
            cancel.clone(),
            begun + action.timeout,
            Reporter::default(),
        );
        let result = caught(|| bring(&cx, &action, &body)).and_then(|result| result);
        *self.busy.lock() = None;
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
struct Memo(std::cell::RefCell<BTreeMap<Name, Vec<Name>>>);

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
        let run = self.run.lock().take();
        if let Some(Run { task, inbox, cancel }) = run {
            cancel.cancel();
            inbox.ring(Signals::CANCEL);
            if !task.is_current() {
                drop(task.join_until(real_deadline(Duration::from_secs(1))));
            }
        }
    }
}

impl fmt::Debug for Alerts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Alerts").field("pending", &self.0.machine.lock().pending()).finish_non_exhaustive()
    }
}
