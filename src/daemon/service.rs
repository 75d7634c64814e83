//! What a service manager is told, and when: a machine without time, sockets
//! or threads of its own, and the hand that tells what it says.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use loopkeeper::service::{Notice, ReadyFd, has_manager, notify, watchdog_period};
use loopkeeper::signals::Waker;
use loopkeeper::{Event, EventKind, Health, LoopKind, LoopStatus, Name, Observer, Tick};

/// How long a start may take until it is told as ready with what is known.
const START: Duration = Duration::from_secs(60);
/// How long a reload may take until it is told as over.
const RELOAD: Duration = Duration::from_secs(20);
/// By how much a start or a stop that goes on is given more time.
const MORE: Duration = Duration::from_secs(30);
/// How often at most the status is told.
const STATUS: Duration = Duration::from_secs(1);
/// How often is looked while something is waited for.
const LOOK: Duration = Duration::from_millis(50);
/// How late a loop may be before it is dead.
const LATE: Duration = Duration::from_secs(5);
/// How many names a status line has at most of each state.
const NAMES: usize = 5;

/// What is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Say {
    Ready,
    Reloading,
    Stopping,
    Status(String),
    Watchdog,
    Extend,
}

/// How everything is at one moment.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub(crate) loops: Vec<LoopStatus>,
    /// Whether the folder of descriptors was read.
    pub(crate) is_filled: bool,
    /// The components that are not started because others are not ready.
    pub(crate) waiting: Vec<Name>,
    /// Which of the program's own threads does nothing, if one does not.
    pub(crate) stalled: Option<String>,
    /// Whether the last reload is through.
    pub(crate) is_reloaded: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Starting,
    Running,
    Reloading { since: Tick },
    Stopping,
}

/// Decides what is told.
#[derive(Debug)]
struct Machine {
    stage: Stage,
    started: Tick,
    /// How many loops were heard of at the last look.
    decided: usize,
    told: String,
    /// Until when the status is not told again.
    quiet_until: Tick,
    /// Half of what the manager waits for, and when the next is due.
    watchdog: Option<(Duration, Tick)>,
    culprit: Option<String>,
}

impl Machine {
    fn new(now: Tick, watchdog: Option<Duration>) -> Self {
        Self {
            stage: Stage::Starting,
            started: now,
            decided: 0,
            told: String::new(),
            quiet_until: Tick::ZERO,
            watchdog: watchdog.map(|period| (period / 2, now)),
            culprit: None,
        }
    }

    /// Looks at everything; says what is to be told.
    fn look(&mut self, now: Tick, facts: &Facts) -> Vec<Say> {
        let mut says = Vec::new();
        match self.stage {
            Stage::Starting => {
                let undecided = undecided(facts);
                let decided = facts.loops.len() - undecided.len();
                if facts.is_filled && undecided.is_empty() || now.since(self.started) >= START {
                    self.stage = Stage::Running;
                    says.push(Say::Ready);
                } else if decided > self.decided {
                    says.push(Say::Extend);
                }
                self.decided = decided;
            }
            Stage::Reloading { since } if facts.is_reloaded || now.since(since) >= RELOAD => {
                self.stage = Stage::Running;
                says.push(Say::Ready);
            }
            _ => {}
        }
        self.ping(now, facts, &mut says);
        let is_news = !says.is_empty() && says.iter().any(|say| !matches!(say, Say::Watchdog));
        if is_news || now >= self.quiet_until {
            let line = self.line(facts);
            if line != self.told {
                self.told.clone_from(&line);
                self.quiet_until = now + STATUS;
                says.push(Say::Status(line));
            }
        }
        says
    }

    fn is_ping_due(&self, now: Tick) -> bool {
        self.watchdog.is_some_and(|(_, due)| now >= due)
    }

    /// Says that the service is alive when that is due and true.
    fn ping(&mut self, now: Tick, facts: &Facts, says: &mut Vec<Say>) {
        let Some((every, due)) = self.watchdog else { return };
        if now < due {
            return;
        }
        self.watchdog = Some((every, now + every));
        self.culprit = culprit(facts);
        if self.culprit.is_none() {
            says.push(Say::Watchdog);
        }
    }

    fn reload(&mut self, now: Tick) -> Vec<Say> {
        if self.stage != Stage::Running {
            // Whatever is begun is told as ready when it is over.
            return Vec::new();
        }
        self.stage = Stage::Reloading { since: now };
        vec![Say::Reloading]
    }

    fn stop(&mut self, why: &str) -> Vec<Say> {
        self.stage = Stage::Stopping;
        vec![Say::Stopping, Say::Status(format!("stopping: {why}"))]
    }

    /// When to look again at the latest; `None`: not before something happens.
    fn next(&self, now: Tick, is_dirty: bool) -> Option<Tick> {
        let look = matches!(self.stage, Stage::Starting | Stage::Reloading { .. }).then(|| now + LOOK);
        let ping = self.watchdog.map(|(_, due)| due);
        let status = is_dirty.then_some(self.quiet_until.max(now + LOOK));
        look.into_iter().chain(ping).chain(status).min()
    }

    fn line(&self, facts: &Facts) -> String {
        if let Some(culprit) = &self.culprit {
            return format!("not alive: {culprit}; {}", summary(&facts.loops));
        }
        match self.stage {
            Stage::Starting => {
                let undecided = undecided(facts);
                let n = facts.loops.len();
                let names = undecided.iter().map(|status| &status.name);
                format!("starting: heard of {} of {n}, waiting for {}", n - undecided.len(), list(names))
            }
            Stage::Reloading { .. } => "reloading".to_owned(),
            Stage::Running | Stage::Stopping => summary(&facts.loops),
        }
    }
}

/// The loops of which nothing was heard yet, though something will be.
fn undecided(facts: &Facts) -> Vec<&LoopStatus> {
    let is_undecided = |status: &&LoopStatus| {
        let is_known = status.health != Health::Unknown || status.last_check.is_some();
        let is_paused = status.controller.as_ref().is_some_and(|controller| controller.paused);
        let is_ours = matches!(status.kind, LoopKind::ConfigWatcher);
        !is_known && !is_paused && !is_ours && !facts.waiting.contains(&status.name)
    };
    facts.loops.iter().filter(is_undecided).collect()
}

/// Who keeps the service from being alive: a loop that is past its due and in
/// no call, or one of the program's own threads. A call that hangs is known
/// of, and no restart mends what it waits for.
fn culprit(facts: &Facts) -> Option<String> {
    let dead = facts.loops.iter().filter(|status| status.running_for.is_none());
    let late = dead.filter_map(|status| Some((status, status.overdue_for.filter(|late| *late > LATE)?)));
    let worst = late.max_by_key(|(_, late)| *late);
    let worst =
        worst.map(|(status, late)| format!("{} {} is {late:.1?} past its due", status.kind, status.name));
    facts.stalled.clone().or(worst)
}

/// One line about all loops: `12 ready, 1 down: mqtt`.
fn summary(loops: &[LoopStatus]) -> String {
    let is_shown = |status: &&LoopStatus| {
        let is_ours = matches!(status.kind, LoopKind::ConfigWatcher | LoopKind::Deployer);
        !is_ours || status.health == Health::Down
    };
    let of = |health: Health| loops.iter().filter(is_shown).filter(move |status| status.health == health);
    let mut line = format!("{} ready", of(Health::Ready).count());
    for health in [Health::Degraded, Health::Down, Health::Unknown] {
        match of(health).count() {
            0 => {}
            n => _ = write!(line, ", {n} {health}: {}", list(of(health).map(|status| &status.name))),
        }
    }
    line
}

/// The first names, and how many more there are.
fn list<'a>(names: impl Iterator<Item = &'a Name> + Clone) -> String {
    let n = names.clone().count();
    let mut text = names.take(NAMES).map(Name::as_str).collect::<Vec<_>>().join(", ");
    match n {
        0 => text.push_str("the folder of descriptors"),
        n if n > NAMES => _ = write!(text, " and {} more", n - NAMES),
        _ => {}
    }
    text
}

/// Tells the service manager, if there is one that wants to be told.
pub(crate) struct Service {
    /// Nothing is looked at where nobody wants to know.
    is_wanted: bool,
    machine: Machine,
    ready_fd: Option<ReadyFd>,
    looked: Option<Tick>,
    shared: Arc<Shared>,
    is_ready_told: bool,
}

/// What the callbacks of events share with it.
#[derive(Default)]
struct Shared {
    waker: std::sync::OnceLock<Waker>,
    is_dirty: AtomicBool,
    is_stopping: AtomicBool,
    /// Whether what was told last did not arrive.
    is_unheard: AtomicBool,
}

/// Hears of events for a service that is made later.
#[derive(Clone, Default)]
pub(crate) struct Ears(Arc<Shared>);

impl Ears {
    /// Who is to hear of events.
    pub(crate) fn observer(&self) -> Observer {
        let shared = self.0.clone();
        Observer { on_event: Some(Arc::new(move |event: &Event| shared.hear(event))), ..Observer::default() }
    }
}

impl Shared {
    fn tell(&self, notices: &[Notice<'_>]) {
        let told = notify(notices);
        let was_unheard = self.is_unheard.swap(told.is_err(), Ordering::Relaxed);
        if let Err(error) = told {
            // Once: it will kill what it does not hear of.
            let level = if was_unheard { log::Level::Debug } else { log::Level::Warn };
            log::log!(level, "{}", error.report());
        }
    }

    fn hear(&self, event: &Event) {
        if self.is_stopping.load(Ordering::Relaxed) {
            // What ends is progress; what is told meanwhile is not.
            if matches!(event.what, EventKind::Stopped | EventKind::ComponentStopped) {
                self.tell(&[Notice::ExtendTimeout(MORE)]);
            }
            return;
        }
        if !self.is_dirty.swap(true, Ordering::Relaxed) {
            if let Some(waker) = self.waker.get() {
                waker.wake();
            }
        }
    }
}

impl Service {
    /// Whether somebody wants to be told.
    pub(crate) fn is_wanted(ready_fd: Option<&ReadyFd>) -> bool {
        ready_fd.is_some() || has_manager()
    }

    /// Tells at once that the program starts.
    pub(crate) fn new(now: Tick, ready_fd: Option<ReadyFd>, ears: &Ears, waker: Waker) -> Self {
        let is_wanted = Self::is_wanted(ready_fd.as_ref());
        let _ = ears.0.waker.set(waker);
        let watchdog = watchdog_period().filter(|_| is_wanted);
        let mut service = Self {
            is_wanted,
            machine: Machine::new(now, watchdog),
            ready_fd,
            looked: None,
            shared: ears.0.clone(),
            is_ready_told: false,
        };
        // A start may be over before anything is looked at.
        service.say(&[Say::Status("starting".to_owned())]);
        service
    }

    /// Looks at everything and tells what there is to tell; says when to look
    /// again at the latest. `facts` is told whether the program's own threads
    /// matter this time.
    pub(crate) fn look(&mut self, now: Tick, facts: impl FnOnce(bool) -> Facts) -> Option<Duration> {
        if !self.is_wanted {
            return None;
        }
        // A flood of events is looked at a few times a second only.
        if let Some(wait) = self.looked.and_then(|last| LOOK.checked_sub(now.since(last))) {
            if !wait.is_zero() {
                return Some(wait);
            }
        }
        self.looked = Some(now);
        // Before the look: what happens from here on is news again.
        self.shared.is_dirty.store(false, Ordering::Relaxed);
        let facts = facts(self.machine.is_ping_due(now));
        let culprit = self.machine.culprit.clone();
        let says = self.machine.look(now, &facts);
        if let Some(found) = self.machine.culprit.as_ref().filter(|_| culprit.is_none()) {
            log::error!("the service manager is not told any more that this program is alive: {found}");
        }
        self.say(&says);
        let is_dirty = self.machine.line(&facts) != self.machine.told;
        self.machine.next(now, is_dirty).map(|due| due.since(now))
    }

    /// A reload begins.
    pub(crate) fn reload(&mut self, now: Tick) {
        let says = self.machine.reload(now);
        self.say(&says);
    }

    /// The end begins.
    pub(crate) fn stop(&mut self, why: &str) {
        let says = self.machine.stop(why);
        self.say(&says);
        self.shared.is_stopping.store(self.is_wanted, Ordering::Relaxed);
    }

    fn say(&mut self, says: &[Say]) {
        if !self.is_wanted || says.is_empty() {
            return;
        }
        let notices = says.iter().map(|say| match say {
            Say::Ready => Notice::Ready,
            Say::Reloading => Notice::Reloading,
            Say::Stopping => Notice::Stopping,
            Say::Status(text) => Notice::Status(text),
            Say::Watchdog => Notice::Watchdog,
            Say::Extend => Notice::ExtendTimeout(MORE),
        });
        self.shared.tell(&notices.collect::<Vec<_>>());
        if says.contains(&Say::Ready) {
            if !std::mem::replace(&mut self.is_ready_told, true) {
                log::info!("ready: {}", self.machine.told);
            }
            if let Some(Err(error)) = self.ready_fd.take().map(ReadyFd::ready) {
                log::warn!("--notify-fd: {}", error.report());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loopkeeper::{Context, Env, ManualClock, Watcher, WatcherConfig};

    const SECOND: Duration = Duration::from_secs(1);

    /// A loop that was never asked about anything, to be made into any other.
    fn status(name: &str) -> LoopStatus {
        let env = Env::manual(&ManualClock::default()).unwrap();
        Watcher::new(&env, WatcherConfig::new(name, |_: &Context| Ok(()))).unwrap().status()
    }

    fn is(name: &str, health: Health) -> LoopStatus {
        let mut status = status(name);
        status.health = health;
        status
    }

    fn facts(loops: Vec<LoopStatus>) -> Facts {
        Facts { loops, is_filled: true, ..Facts::default() }
    }

    fn status_of(says: &[Say]) -> Option<&str> {
        says.iter().find_map(|say| if let Say::Status(text) = say { Some(&**text) } else { None })
    }

    #[test]
    fn it_is_ready_when_the_first_round_is_decided() {
        let start = Tick::ZERO;
        let mut machine = Machine::new(start, None);
        let says = machine.look(start, &Facts::default());
        assert_eq!(
            says,
            [Say::Status("starting: heard of 0 of 0, waiting for the folder of descriptors".to_owned())]
        );
        let half = facts(vec![is("db", Health::Down), status("mqtt")]);
        let says = machine.look(start + SECOND, &half);
        assert_eq!(
            says,
            [Say::Extend, Say::Status("starting: heard of 1 of 2, waiting for mqtt".to_owned())]
        );
        // No progress, no more time.
        assert_eq!(machine.look(start + 2 * SECOND, &half), []);
        assert_eq!(machine.next(start + 2 * SECOND, false), Some(start + 2 * SECOND + LOOK));
        let whole = facts(vec![is("db", Health::Down), is("mqtt", Health::Ready)]);
        let says = machine.look(start + 3 * SECOND, &whole);
        assert_eq!(says, [Say::Ready, Say::Status("1 ready, 1 down: db".to_owned())]);
        assert_eq!(machine.look(start + 4 * SECOND, &whole), []);
        assert_eq!(machine.next(start + 4 * SECOND, false), None);
    }

    #[test]
    fn a_start_is_over_after_a_while_and_waits_for_nobody_that_waits() {
        let silent = || facts(vec![status("mqtt")]);
        let mut machine = Machine::new(Tick::ZERO, None);
        assert!(!machine.look(Tick::ZERO, &silent()).contains(&Say::Ready));
        assert!(!machine.look(Tick::ZERO + 59 * SECOND, &silent()).contains(&Say::Ready));
        let says = machine.look(Tick::ZERO + START, &silent());
        assert_eq!(says, [Say::Ready, Say::Status("0 ready, 1 unknown: mqtt".to_owned())]);

        let mut machine = Machine::new(Tick::ZERO, None);
        let mut facts = facts(vec![is("router", Health::Down), status("mqtt")]);
        facts.waiting = vec!["mqtt".parse().unwrap()];
        assert!(machine.look(Tick::ZERO, &facts).contains(&Say::Ready));
        // Nothing is decided before it is known what there is.
        facts.is_filled = false;
        assert!(!Machine::new(Tick::ZERO, None).look(Tick::ZERO, &facts).contains(&Say::Ready));
    }

    #[test]
    fn a_reload_is_told_and_its_end() {
        let mut machine = Machine::new(Tick::ZERO, None);
        // A start that is not over is not told twice.
        assert_eq!(machine.reload(Tick::ZERO), []);
        let mut facts = facts(vec![is("db", Health::Ready)]);
        machine.look(Tick::ZERO, &facts);
        let at = Tick::ZERO + SECOND;
        assert_eq!(machine.reload(at), [Say::Reloading]);
        assert_eq!(machine.look(at, &facts), [Say::Status("reloading".to_owned())]);
        facts.is_reloaded = true;
        let says = machine.look(at + SECOND, &facts);
        assert_eq!(says, [Say::Ready, Say::Status("1 ready".to_owned())]);
        facts.is_reloaded = false;
        machine.reload(at + SECOND);
        assert!(!machine.look(at + RELOAD, &facts).contains(&Say::Ready));
        assert!(machine.look(at + RELOAD + SECOND, &facts).contains(&Say::Ready));
    }

    #[test]
    fn the_status_changes_once_a_second_at_most() {
        let mut machine = Machine::new(Tick::ZERO, None);
        let of = |health| facts(vec![is("db", health)]);
        machine.look(Tick::ZERO, &of(Health::Ready));
        let soon = Tick::ZERO + LOOK;
        assert_eq!(machine.look(soon, &of(Health::Down)), []);
        assert_eq!(machine.next(soon, true), Some(Tick::ZERO + STATUS));
        let says = machine.look(Tick::ZERO + STATUS, &of(Health::Down));
        assert_eq!(says, [Say::Status("0 ready, 1 down: db".to_owned())]);
    }

    #[test]
    fn it_is_alive_while_every_loop_is() {
        // Whether it is in a call, for how long it is late, and whether the
        // manager is told.
        for (running_for, late, alive) in [
            (None, None, true),
            (None, Some(4), true),
            (None, Some(6), false),
            (Some(600), Some(590), true),
            (Some(1), None, true),
        ] {
            let mut late_one = is("mqtt", Health::Ready);
            late_one.running_for = running_for.map(Duration::from_secs);
            late_one.overdue_for = late.map(Duration::from_secs);
            let facts = facts(vec![is("db", Health::Ready), late_one]);
            let mut machine = Machine::new(Tick::ZERO, Some(20 * SECOND));
            let says = machine.look(Tick::ZERO, &facts);
            assert_eq!(says.contains(&Say::Watchdog), alive, "{running_for:?} {late:?}");
            let line = status_of(&says).unwrap();
            let expected = "not alive: watcher mqtt is 6.0s past its due; 2 ready";
            assert_eq!(line == expected, !alive, "{line}");
            // At half of what is waited for, and not before.
            assert_eq!(machine.next(Tick::ZERO, false), Some(Tick::ZERO + 10 * SECOND));
            assert!(!machine.look(Tick::ZERO + 9 * SECOND, &facts).contains(&Say::Watchdog));
            let again = machine.look(Tick::ZERO + 10 * SECOND, &facts);
            assert_eq!(again.contains(&Say::Watchdog), alive);
        }
    }

    #[test]
    fn a_thread_of_its_own_that_stalls_is_named_and_forgiven() {
        let mut machine = Machine::new(Tick::ZERO, Some(SECOND));
        let mut facts = facts(vec![is("db", Health::Ready)]);
        facts.stalled = Some("its watchdog has not looked for 6.0s".to_owned());
        let says = machine.look(Tick::ZERO, &facts);
        assert!(!says.contains(&Say::Watchdog));
        assert_eq!(status_of(&says), Some("not alive: its watchdog has not looked for 6.0s; 1 ready"));
        facts.stalled = None;
        let says = machine.look(Tick::ZERO + SECOND, &facts);
        assert_eq!(says, [Say::Watchdog, Say::Status("1 ready".to_owned())]);
    }

    #[test]
    fn the_summary_names_a_few() {
        let mut loops: Vec<_> = (0..7).map(|n| is(&format!("w{n}"), Health::Down)).collect();
        loops.push(is("x", Health::Degraded));
        let mut own = is("deploy", Health::Ready);
        own.kind = LoopKind::Deployer;
        loops.push(own);
        let expected = "0 ready, 1 degraded: x, 7 down: w0, w1, w2, w3, w4 and 2 more";
        assert_eq!(summary(&loops), expected);
    }
}
