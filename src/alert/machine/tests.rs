//! Who is told, and when: scenes on a clock of numbers.

use super::super::Action;
use super::super::queue::MAX_AGE;
use super::super::subject::{FORGET, FORGET_KEPT, HOLD, View};
use super::*;
use crate::error::{Error, ErrorKind};
use crate::event::LoopKind;

const SECOND: Duration = Duration::from_secs(1);

/// A machine with what is around it, on a clock of numbers.
struct Scene {
    machine: Machine,
    now: Tick,
    views: Map<Name, View>,
    parents: Map<Name, Vec<Name>>,
    n: u64,
    asked: Vec<String>,
}

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

fn watcher(text: &str) -> Who {
    (LoopKind::Watcher, name(text))
}

fn view(health: Health, age: u64) -> View {
    View { health, age: Some(Duration::from_secs(age)), is_failing: health == Health::Down }
}

impl Scene {
    fn new(config: AlertConfig, names: &[&str]) -> Self {
        let (machine, now) = (Machine::new("b"), Tick::ZERO + SECOND);
        let (views, parents) = (Map::new(), Map::new());
        let mut scene = Self { machine, now, views, parents, n: 0, asked: Vec::new() };
        scene.configure(config, names);
        scene
    }

    fn configure(&mut self, config: AlertConfig, names: &[&str]) -> &mut Self {
        let config = Arc::new(config);
        self.machine.configure(self.now, names.iter().map(|text| (watcher(text), config.clone())).collect());
        self
    }

    fn hear(&mut self, source: &str, what: EventKind) -> &mut Self {
        self.hear_of(LoopKind::Watcher, source, what)
    }

    fn hear_of(&mut self, kind: LoopKind, source: &str, what: EventKind) -> &mut Self {
        self.n += 1;
        let health = match &what {
            EventKind::Ready { .. } => Health::Ready,
            EventKind::Stopped => Health::Unknown,
            _ => Health::Down,
        };
        self.views.insert(name(source), view(health, 0));
        self.machine.hear(&Event {
            seq: 10 * self.n,
            n: self.n,
            at: Stamp::from_micros(0),
            source: name(source),
            kind,
            what,
        });
        self
    }

    fn down(&mut self, source: &str, from: Health) -> &mut Self {
        let error = Error::new(ErrorKind::Probe).context("refused");
        self.hear(source, EventKind::Down { from, error, failures: 1 })
    }

    fn ready(&mut self, source: &str) -> &mut Self {
        self.hear(source, EventKind::Ready { from: Health::Down, attempt: 1, latency: SECOND })
    }

    /// Steps, and says what is to be sent at this moment.
    fn step(&mut self) -> Vec<String> {
        let parents = self.parents.clone();
        let requires = move |name: &Name| parents.get(name).cloned().unwrap_or_default();
        let world = World { views: self.views.clone(), requires: &requires };
        let asked = self.machine.step(self.now, &world);
        self.asked = asked.iter().map(ToString::to_string).collect();
        self.take(Ok(()))
    }

    fn take(&mut self, result: Result<(), String>) -> Vec<String> {
        let mut sent = Vec::new();
        while let Some(letter) = self.machine.next(self.now) {
            let Body { name, state, reminder, n, .. } = &letter.body;
            let reminder = if *reminder > 0 { format!(" again {reminder}") } else { String::new() };
            sent.push(format!("{name} {state} #{n}{reminder}"));
            self.machine.done(letter.id, self.now, Stamp::from_micros(0), result.clone());
        }
        sent
    }

    fn after(&mut self, time: Duration) -> &mut Self {
        self.now = self.now + time;
        for view in self.views.values_mut() {
            view.age = view.age.map(|age| age + time);
        }
        self
    }
}

fn both() -> AlertConfig {
    AlertConfig::default().on_down(Action::exec(["down"])).on_ready(Action::exec(["ready"]))
}

#[test]
fn a_down_and_what_ends_it_are_told_once_each() {
    let mut scene = Scene::new(both(), &["db"]);
    // The first ready of a start is no news.
    assert!(scene.ready("db").step().is_empty());
    assert_eq!(scene.down("db", Health::Ready).step(), ["db down #2"]);
    assert!(scene.after(SECOND).step().is_empty());
    assert_eq!(scene.machine.due(scene.now), Tick::NEVER);
    assert_eq!(scene.ready("db").step(), ["db ready #3"]);
    assert!(scene.step().is_empty());
    assert_eq!(scene.machine.counts, Counts { sent: 2, ..Counts::default() });
    // Whoever has no alerts is nobody's business.
    assert!(scene.down("other", Health::Ready).step().is_empty());
}

#[test]
fn a_start_is_given_its_attempts() {
    let mut scene = Scene::new(both(), &["db"]);
    assert!(scene.down("db", Health::Unknown).step().is_empty());
    let error = Error::new(ErrorKind::Probe);
    assert_eq!(scene.hear("db", EventKind::GaveUp { error, attempts: 10 }).step(), ["db down #1"]);
    // One that comes up in time was never told.
    let mut scene = Scene::new(both(), &["db"]);
    assert!(scene.down("db", Health::Unknown).ready("db").step().is_empty());
}

#[test]
fn a_restart_does_not_tell_again() {
    let mut scene = Scene::new(both(), &["db"]);
    assert_eq!(scene.down("db", Health::Ready).step().len(), 1);
    assert!(scene.hear("db", EventKind::Stopped).step().is_empty());
    let error = Error::new(ErrorKind::Probe);
    scene.down("db", Health::Unknown).hear("db", EventKind::GaveUp { error, attempts: 1 });
    assert!(scene.step().is_empty());
    assert_eq!(scene.ready("db").step(), ["db ready #5"]);
}

/// What a program that ends leaves to the next one, `later`.
fn reborn(scene: &mut Scene, config: AlertConfig, names: &[&str], later: Duration) -> Scene {
    let wall = |secs: u64| Stamp::from_micros(1_000_000_000 + secs * 1_000_000);
    let kept = scene.machine.keep(scene.now, wall(0)).expect("something to keep");
    let mut next = Scene::new(AlertConfig::default(), &[]);
    next.machine = Machine::new("b2");
    next.machine.restore(next.now, wall(later.as_secs()), kept);
    next.configure(config, names);
    next
}

#[test]
fn a_new_program_goes_on_where_the_last_one_ended() {
    let remind = || both().remind_every(100 * SECOND);
    let mut scene = Scene::new(remind(), &["db", "mqtt"]);
    assert!(scene.machine.keep(scene.now, Stamp::from_micros(0)).is_none(), "nothing happened");
    assert_eq!(scene.down("db", Health::Ready).step(), ["db down #1"]);
    scene.after(10 * SECOND);
    let mut next = reborn(&mut scene, remind(), &["db", "mqtt"], 30 * SECOND);
    assert!(next.machine.status(&watcher("db"), next.now).unwrap().told);
    // The same incident is told no second time, and its end is.
    let error = || Error::new(ErrorKind::Probe);
    next.down("db", Health::Unknown).hear("db", EventKind::GaveUp { error: error(), attempts: 1 });
    assert!(next.step().is_empty());
    // Reminders go on: 10 s and 30 s of the 100 are over.
    assert!(next.after(59 * SECOND).step().is_empty());
    assert_eq!(next.after(SECOND).step(), ["db down #1 again 1"]);
    let mut third = reborn(&mut next, remind(), &["db"], 5000 * SECOND);
    assert_eq!(third.ready("db").step(), ["db ready #1"]);
    assert!(third.step().is_empty());
    // All is told, which is kept, too.
    let mut fourth = reborn(&mut third, remind(), &["db"], SECOND);
    assert!(fourth.ready("db").step().is_empty());
}

#[test]
fn what_waits_is_sent_by_the_next_program() {
    let mut scene = Scene::new(both(), &["db"]);
    let requires = |_: &Name| Vec::new();
    scene.down("db", Health::Ready);
    scene.machine.step(scene.now, &World { views: scene.views.clone(), requires: &requires });
    assert_eq!(scene.take(Err("refused".to_owned())), ["db down #1"]);
    let id = |scene: &Scene| scene.machine.queue.iter().next().unwrap().body.id.clone();
    let mut next = reborn(&mut scene, both(), &[], SECOND);
    // Nobody has said how: it waits, and is kept again.
    next.machine.not_kept();
    assert_eq!(next.machine.pending(), 0);
    let mut next = reborn(&mut next, both(), &["db"], SECOND);
    assert_eq!(id(&next), id(&scene), "whoever was told knows it again");
    assert_eq!(next.ready("db").step(), ["db down #1", "db ready #1"]);
    // One that is hours old is given up after one more try.
    let mut scene = Scene::new(both(), &["db"]);
    scene.down("db", Health::Ready);
    scene.machine.step(scene.now, &World { views: scene.views.clone(), requires: &requires });
    let mut next = reborn(&mut scene, both(), &["db"], MAX_AGE);
    assert_eq!(next.take(Err("refused".to_owned())), ["db down #1"]);
    assert_eq!((next.machine.pending(), next.machine.counts.lost), (0, 1));
    // What is not to be told any more is not.
    scene.machine.not_kept();
    let only_ready = AlertConfig::default().on_ready(Action::exec(["ready"]));
    let mut next = reborn(&mut scene, only_ready, &["db"], SECOND);
    assert_eq!(next.machine.pending(), 0);
    assert_eq!(next.ready("db").step(), ["db ready #1"]);
}

#[test]
fn one_that_does_not_come_back_is_forgotten_after_a_day() {
    let mut scene = Scene::new(both(), &["db"]);
    scene.down("db", Health::Ready).step();
    let mut next = reborn(&mut scene, both(), &[], SECOND);
    assert_eq!(next.machine.due(next.now), next.now + FORGET_KEPT);
    next.after(FORGET_KEPT - SECOND).configure(both(), &[]);
    assert_eq!(next.machine.subjects.len(), 1);
    assert!(next.machine.keep(next.now, Stamp::from_micros(0)).is_none());
    next.after(SECOND).configure(both(), &[]);
    assert!(next.machine.subjects.is_empty());
    assert_eq!(next.machine.keep(next.now, Stamp::from_micros(0)), Some(Kept::default()));
}

#[test]
fn a_monitor_is_told_when_it_is_down_and_when_it_is_ready_again() {
    let mut scene = Scene::new(both(), &["cluster"]);
    let change = |from, to| EventKind::HealthChanged { from, to, reason: Some("broker: refused".into()) };
    let mut told = |from, to| scene.hear("cluster", change(from, to)).step();
    assert!(told(Health::Unknown, Health::Ready).is_empty());
    assert!(told(Health::Ready, Health::Degraded).is_empty());
    assert_eq!(told(Health::Degraded, Health::Down), ["cluster down #3"]);
    assert!(told(Health::Down, Health::Degraded).is_empty());
    assert_eq!(told(Health::Degraded, Health::Ready), ["cluster ready #5"]);
}

#[test]
fn of_two_loops_of_one_name_each_has_its_own_told() {
    let mut scene = Scene::new(both(), &["config"]);
    let change = |from, to| EventKind::HealthChanged { from, to, reason: None };
    scene.ready("config").step();
    assert_eq!(scene.down("config", Health::Ready).step(), ["config down #2"]);
    // The daemon's own loop of that name, which has nobody told.
    scene.hear_of(LoopKind::ConfigWatcher, "config", change(Health::Ready, Health::Degraded));
    assert!(scene.step().is_empty());
    scene.hear_of(LoopKind::ConfigWatcher, "config", change(Health::Degraded, Health::Ready));
    assert!(scene.step().is_empty());
    let status = |kind| scene.machine.status(&(kind, name("config")), scene.now);
    assert!(status(LoopKind::Watcher).is_some_and(|status| status.told));
    assert!(status(LoopKind::ConfigWatcher).is_none());

    let watcher = (watcher("config"), Arc::new(both()));
    let monitor = ((LoopKind::Monitor, name("config")), Arc::new(both()));
    scene.machine.configure(scene.now, Map::from_iter([watcher, monitor]));
    scene.hear_of(LoopKind::Monitor, "config", change(Health::Ready, Health::Down));
    assert_eq!(scene.step(), ["config down #5"]);
    assert_eq!(scene.ready("config").step(), ["config ready #6"]);
}

#[test]
fn it_is_told_again_while_it_lasts() {
    let mut scene = Scene::new(both().remind_every(10 * SECOND), &["db"]);
    assert_eq!(scene.down("db", Health::Ready).step(), ["db down #1"]);
    assert_eq!(scene.machine.due(scene.now), scene.now + 10 * SECOND);
    assert!(scene.after(9 * SECOND).step().is_empty());
    assert_eq!(scene.after(SECOND).step(), ["db down #1 again 1"]);
    // After a stall once, not once for each that was missed.
    assert_eq!(scene.after(95 * SECOND).step(), ["db down #1 again 2"]);
    assert_eq!(scene.ready("db").step(), ["db ready #2"]);
    assert!(scene.after(100 * SECOND).step().is_empty());
}

#[test]
fn what_is_over_before_it_is_looked_at_is_told() {
    // Another's webhook may hang for as long.
    let mut scene = Scene::new(both(), &["db", "mqtt"]);
    scene.ready("db").step();
    scene.down("db", Health::Ready).ready("db");
    assert_eq!(scene.step(), ["db down #2", "db ready #3"]);
    assert!(scene.step().is_empty());
    // Many at once are one.
    scene.down("db", Health::Ready).ready("db").down("db", Health::Ready).ready("db");
    assert_eq!(scene.step(), ["db down #4", "db ready #7"]);
    scene.down("db", Health::Ready).ready("db").down("db", Health::Ready);
    assert_eq!(scene.step(), ["db down #8"]);
    assert_eq!(scene.ready("db").step(), ["db ready #11"]);
    // What is down when a start is over counts, what comes up in it does not.
    let error = || Error::new(ErrorKind::Probe);
    scene.hear("mqtt", EventKind::Stopped).down("mqtt", Health::Unknown).ready("mqtt");
    assert!(scene.step().is_empty());
    scene.hear("mqtt", EventKind::Stopped).down("mqtt", Health::Unknown);
    assert!(scene.step().is_empty());
    scene.hear("mqtt", EventKind::GaveUp { attempts: 3, error: error() }).ready("mqtt");
    assert_eq!(scene.step(), ["mqtt down #16", "mqtt ready #18"]);
    // While some of it waits, no more is added.
    let requires = |_: &Name| Vec::new();
    for n in [2, 2, 2] {
        scene.down("db", Health::Ready).ready("db");
        scene.machine.step(scene.now, &World { views: scene.views.clone(), requires: &requires });
        assert_eq!(scene.machine.pending(), n);
    }
    scene.take(Ok(()));
    // Nobody can say any more whether the parent was down, too.
    scene.parents.insert(name("db"), vec![name("router")]);
    scene.views.insert(name("router"), view(Health::Ready, 0));
    assert!(scene.down("db", Health::Ready).ready("db").step().is_empty());
    // One that has stopped has nothing to say.
    scene.parents = Map::new();
    scene.down("db", Health::Ready).ready("db").hear("db", EventKind::Stopped);
    assert!(scene.step().is_empty());
}

#[test]
fn a_child_behind_a_down_parent_waits_for_it() {
    let mut scene = Scene::new(both().remind_every(10 * SECOND), &["router", "mqtt"]);
    scene.parents.insert(name("mqtt"), vec![name("router")]);
    scene.views.insert(name("router"), view(Health::Ready, 5));
    // It is noticed first: the parent is asked, and nothing is told yet.
    assert!(scene.down("mqtt", Health::Ready).step().is_empty());
    assert_eq!(scene.asked, ["router"]);
    assert!(scene.after(SECOND).step().is_empty());
    assert_eq!(scene.machine.due(scene.now), scene.now + LOOK);
    assert_eq!(scene.down("router", Health::Ready).step(), ["router down #2"]);
    let status = scene.machine.status(&watcher("mqtt"), scene.now).unwrap();
    assert_eq!((status.told, status.suppressed_by), (false, Some(name("router"))));
    assert_eq!(scene.machine.counts.suppressed, 1);
    // Only the parent is repeated.
    assert_eq!(scene.after(10 * SECOND).step(), ["router down #2 again 1"]);
    assert_eq!(scene.machine.counts.suppressed, 1);
    // The parent is back: the child is asked, and is back with it.
    assert_eq!(scene.ready("router").step(), ["router ready #3"]);
    assert_eq!(scene.asked, ["router", "mqtt"]);
    assert!(scene.ready("mqtt").step().is_empty());
}

#[test]
fn a_child_that_stays_down_is_told_when_the_parent_is_back() {
    let mut scene = Scene::new(both(), &["mqtt"]);
    scene.parents.insert(name("mqtt"), vec![name("router")]);
    scene.views.insert(name("router"), view(Health::Down, 0));
    assert!(scene.down("mqtt", Health::Ready).step().is_empty());
    scene.views.insert(name("router"), view(Health::Ready, 0));
    assert!(scene.step().is_empty());
    // What it said before the parent was back does not count.
    scene.views.insert(name("router"), view(Health::Ready, 0));
    assert!(scene.after(SECOND).step().is_empty());
    scene.views.insert(name("mqtt"), view(Health::Down, 0));
    assert_eq!(scene.step(), ["mqtt down #1"]);
    assert_eq!(scene.ready("mqtt").step(), ["mqtt ready #2"]);
}

#[test]
fn reminders_of_a_child_wait_for_its_parent() {
    let mut scene = Scene::new(both().remind_every(10 * SECOND), &["mqtt"]);
    scene.views.insert(name("router"), view(Health::Ready, 0));
    assert_eq!(scene.down("mqtt", Health::Ready).step(), ["mqtt down #1"]);
    scene.parents.insert(name("mqtt"), vec![name("router")]);
    // Not for one that is short between two of them.
    scene.views.insert(name("router"), view(Health::Down, 0));
    assert!(scene.after(5 * SECOND).step().is_empty());
    scene.views.insert(name("router"), view(Health::Ready, 0));
    assert!(scene.after(SECOND).step().is_empty());
    assert_eq!(scene.after(4 * SECOND).step(), ["mqtt down #1 again 1"]);
    // One that was due meanwhile is not made up for.
    scene.views.insert(name("router"), view(Health::Down, 0));
    assert!(scene.after(12 * SECOND).step().is_empty());
    scene.views.insert(name("router"), view(Health::Ready, 0));
    assert!(scene.after(SECOND).step().is_empty());
    assert_eq!(scene.after(9 * SECOND).step(), ["mqtt down #1 again 2"]);
}

#[test]
fn one_whose_parent_is_no_more_is_asked_again_first() {
    let mut scene = Scene::new(both(), &["mqtt"]);
    scene.parents.insert(name("mqtt"), vec![name("router")]);
    scene.views.insert(name("router"), view(Health::Down, 0));
    assert!(scene.down("mqtt", Health::Ready).step().is_empty());
    scene.parents = Map::new();
    assert!(scene.after(SECOND).step().is_empty());
    assert_eq!(scene.asked, ["mqtt"]);
    assert!(scene.after(SECOND).step().is_empty());
    scene.views.insert(name("mqtt"), view(Health::Down, 0));
    assert_eq!(scene.step(), ["mqtt down #1"]);
}

#[test]
fn what_turns_or_goes_waits_for_nobody() {
    let mut scene = Scene::new(both(), &["mqtt"]);
    scene.parents.insert(name("mqtt"), vec![name("router")]);
    scene.views.insert(name("router"), view(Health::Down, 0));
    assert!(scene.down("mqtt", Health::Ready).step().is_empty());
    let behind = |scene: &Scene| {
        scene.machine.status(&watcher("mqtt"), scene.now).and_then(|status| status.suppressed_by)
    };
    assert_eq!(behind(&scene), Some(name("router")));
    let change = EventKind::HealthChanged { from: Health::Down, to: Health::Degraded, reason: None };
    assert!(scene.hear("mqtt", change).step().is_empty());
    assert_eq!(behind(&scene), None);
    // One that is held and then has no alerts any more.
    scene.views.insert(name("router"), view(Health::Ready, 9));
    assert!(scene.down("mqtt", Health::Degraded).step().is_empty());
    assert_eq!(scene.machine.due(scene.now), scene.now + LOOK);
    scene.configure(both(), &[]);
    assert_eq!(scene.machine.due(scene.now), scene.now + FORGET);
}

#[test]
fn a_parent_that_says_nothing_holds_an_alert_for_a_while() {
    for (parent, told_after) in [
        (view(Health::Ready, 5), HOLD),
        (view(Health::Unknown, 5), SECOND),
        // It has failed once, and is not down yet.
        (View { is_failing: true, ..view(Health::Ready, 0) }, HOLD),
    ] {
        let mut scene = Scene::new(both(), &["mqtt"]);
        scene.parents.insert(name("mqtt"), vec![name("router")]);
        scene.views.insert(name("router"), parent.clone());
        assert!(scene.down("mqtt", Health::Ready).step().is_empty(), "{parent:?}");
        let mut waited = Duration::ZERO;
        while scene.after(SECOND).step().is_empty() {
            waited += SECOND;
            assert!(waited < 20 * SECOND, "{parent:?}");
        }
        assert_eq!(waited + SECOND, told_after, "{parent:?}");
    }
    // One that is asked and is ready holds it no longer.
    let mut scene = Scene::new(both(), &["mqtt"]);
    scene.parents.insert(name("mqtt"), vec![name("router")]);
    scene.views.insert(name("router"), view(Health::Ready, 5));
    assert!(scene.down("mqtt", Health::Ready).step().is_empty());
    scene.after(LOOK).views.insert(name("router"), view(Health::Ready, 0));
    assert_eq!(scene.step(), ["mqtt down #1"]);
}

#[test]
fn one_that_fails_is_tried_again_and_keeps_its_place() {
    let mut scene = Scene::new(both(), &["db", "up"]);
    scene.down("db", Health::Ready);
    let parents = Map::<Name, Vec<Name>>::new();
    let requires = move |name: &Name| parents.get(name).cloned().unwrap_or_default();
    let step = |scene: &mut Scene, result: Result<(), String>| {
        let world = World { views: scene.views.clone(), requires: &requires };
        scene.machine.step(scene.now, &world);
        scene.take(result)
    };
    let no = || Err("refused".to_owned());
    scene.machine.step(scene.now, &World { views: scene.views.clone(), requires: &requires });
    let status = scene.machine.status(&watcher("db"), scene.now).unwrap();
    assert_eq!((status.pending, status.retry_in), (1, None));
    assert_eq!(step(&mut scene, no()), ["db down #1"]);
    for delay in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
        assert_eq!(scene.machine.due(scene.now), scene.now + delay * SECOND);
        assert!(step(scene.after(delay * SECOND - LOOK), no()).is_empty());
        assert_eq!(step(scene.after(LOOK), no()), ["db down #1"], "{delay}");
    }
    let status = scene.machine.status(&watcher("db"), scene.now).unwrap();
    assert_eq!((status.pending, status.failures, status.sent), (1, 12, 0));
    assert_eq!((status.last_error.as_deref(), status.retry_in), (Some("refused"), Some(300 * SECOND)));
    // The end waits for the beginning; others do not.
    scene.ready("db").down("up", Health::Ready);
    assert_eq!(step(&mut scene, Ok(())), ["up down #3"]);
    assert_eq!(step(scene.after(300 * SECOND), Ok(())), ["db down #1", "db ready #2"]);
    // After hours it is given up.
    scene.down("db", Health::Ready);
    step(&mut scene, no());
    for _ in 0..80 {
        step(scene.after(300 * SECOND), no());
    }
    assert_eq!((scene.machine.pending(), scene.machine.counts.lost), (0, 1));
}

#[test]
fn who_hangs_does_not_hold_up_the_others() {
    let mut scene = Scene::new(both(), &["a", "b", "c", "d", "e", "well"]);
    for name in ["a", "b", "c", "d", "e"] {
        scene.down(name, Health::Ready);
    }
    let requires = |_: &Name| Vec::new();
    let mut tried = Vec::new();
    for n in 0..12 {
        if n == 1 {
            scene.down("well", Health::Ready).ready("a");
        }
        scene.machine.step(scene.now, &World { views: scene.views.clone(), requires: &requires });
        let letter = scene.machine.next(scene.now).unwrap();
        let result = match letter.body.name.as_str() {
            "well" => Ok(()),
            // From the third try on it is taken.
            "a" if tried.iter().filter(|name| *name == "a").count() > 1 => Ok(()),
            _ => {
                scene.after(10 * SECOND);
                Err("no answer".to_owned())
            }
        };
        tried.push(letter.body.name.to_string());
        scene.machine.done(letter.id, scene.now, Stamp::from_micros(0), result);
    }
    // Whoever waits longest is next, and its ready follows the down of a.
    assert_eq!(tried.join(" "), "a b c d e well a b c d e a");
    assert_eq!(scene.take(Ok(())), ["a ready #7", "b down #2", "c down #3", "d down #4"]);
}

#[test]
fn what_waits_behind_one_that_fails_keeps_nobody_from_being_decided() {
    let names: Vec<String> = (0..CAPACITY).map(|n| format!("w{n}")).collect();
    let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
    names.push("x");
    let mut scene = Scene::new(both().remind_every(10 * SECOND), &names);
    let requires = |_: &Name| Vec::new();
    let step = |scene: &mut Scene| {
        scene.machine.step(scene.now, &World { views: scene.views.clone(), requires: &requires });
        scene.take(Err("refused".to_owned()))
    };
    for name in &names[..CAPACITY] {
        scene.down(name, Health::Ready);
    }
    assert_eq!(step(&mut scene).len(), CAPACITY);
    scene.ready(names[CAPACITY - 1]);
    assert!(step(&mut scene).is_empty());
    let waits = scene.machine.status(&watcher(names[CAPACITY - 1]), scene.now).unwrap();
    assert_eq!((waits.pending, scene.machine.pending()), (2, CAPACITY));
    // The reminders are due, and then not any more.
    step(scene.after(10 * SECOND));
    assert!(scene.machine.due(scene.now) > scene.now);
    scene.down("x", Health::Ready);
    assert_eq!(step(&mut scene), [format!("x down #{}", scene.n)]);
}

#[test]
fn what_waits_is_sent_as_the_descriptor_says_by_now() {
    let to = |program: &str, secs: u32| {
        AlertConfig::default().on_down(Action::exec([program]).timeout(secs * SECOND))
    };
    let requires = |_: &Name| Vec::new();
    let mut scene = Scene::new(to("old", 1).on_ready(Action::exec(["old"])), &["db", "up"]);
    scene.down("db", Health::Ready).down("up", Health::Ready);
    scene.machine.step(scene.now, &World { views: scene.views.clone(), requires: &requires });
    for _ in 0..5 {
        scene.take(Err("refused".to_owned()));
        scene.after(16 * SECOND);
    }
    scene.take(Err("refused".to_owned()));
    scene.ready("db");
    scene.machine.step(scene.now, &World { views: scene.views.clone(), requires: &requires });
    assert_eq!(scene.machine.next(scene.now).map(|letter| letter.body.name), None);
    // The same again changes nothing.
    let same = scene.machine.subjects.iter();
    let same = same.map(|(name, subject)| (name.clone(), subject.config.clone().unwrap())).collect();
    scene.machine.configure(scene.now, same);
    assert!(scene.machine.next(scene.now).is_none());
    // Another program at once, and what nobody wants to hear any more is gone.
    scene.configure(to("new", 2), &["db"]);
    let letter = scene.machine.next(scene.now).unwrap();
    assert!(letter.body.name == name("db") && letter.action.timeout == 2 * SECOND);
    assert_eq!(scene.take(Ok(())), ["db down #1"]);
    // One that is not described at all is sent as it was.
    assert_eq!(scene.machine.pending(), 1);
}

#[test]
fn of_many_at_once_none_is_lost_where_they_are_taken() {
    let names: Vec<String> = (0..3 * CAPACITY).map(|n| format!("w{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut scene = Scene::new(both(), &names);
    let requires = |_: &Name| Vec::new();
    let step = |scene: &mut Scene| {
        let world = World { views: scene.views.clone(), requires: &requires };
        scene.machine.step(scene.now, &world);
        scene.machine.pending()
    };
    names.iter().for_each(|name| {
        scene.down(name, Health::Ready);
    });
    assert_eq!(step(&mut scene), CAPACITY);
    // One that is over before its turn is told all the same.
    let last = scene.machine.subjects.keys().next_back().unwrap().clone();
    scene.ready(last.1.as_str());
    let mut sent = scene.step();
    while step(&mut scene) > 0 {
        sent.extend(scene.take(Ok(())));
    }
    assert_eq!((sent.len(), scene.machine.counts.lost), (names.len() + 1, 0));
    assert!(sent.last().unwrap().starts_with(&format!("{} ready", last.1)), "{:?}", sent.last());
    // Where nobody takes them, what has failed makes room.
    names.iter().for_each(|name| {
        scene.ready(name);
    });
    while step(&mut scene) > 0 {
        scene.take(Ok(()));
    }
    names.iter().for_each(|name| {
        scene.down(name, Health::Ready);
    });
    while step(&mut scene) > 0 && scene.machine.next(scene.now).is_some() {
        while let Some(letter) = scene.machine.next(scene.now) {
            let refused = Err("refused".to_owned());
            scene.machine.done(letter.id, scene.now, Stamp::from_micros(0), refused);
        }
    }
    assert_eq!((scene.machine.pending(), scene.machine.counts.lost), (CAPACITY, 2 * CAPACITY as u64));
}

#[test]
fn what_waits_is_bounded_and_reminders_go_first() {
    let names: Vec<String> = (0..CAPACITY + 1).map(|n| format!("w{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut scene = Scene::new(both().remind_every(10 * SECOND), &names);
    scene.down("w0", Health::Ready);
    assert_eq!(scene.step().len(), 1);
    scene.after(10 * SECOND);
    let requires = |_: &Name| Vec::new();
    let step = |scene: &mut Scene| {
        let world = World { views: scene.views.clone(), requires: &requires };
        scene.machine.step(scene.now, &world);
    };
    // One that is older than the reminder.
    scene.down("w1", Health::Ready);
    step(&mut scene);
    // They are decided by name, so the reminder came first: it goes behind.
    scene.machine.queue.turn();
    assert_eq!(scene.machine.pending(), 2);
    // Nothing is repeated while the last time is on its way.
    scene.after(10 * SECOND);
    step(&mut scene);
    assert_eq!(scene.machine.pending(), 2);
    for name in &names[2..] {
        scene.down(name, Health::Ready);
    }
    step(&mut scene);
    assert_eq!((scene.machine.pending(), scene.machine.counts.lost), (CAPACITY, 1));
    assert_eq!(scene.machine.status(&watcher("w0"), scene.now).unwrap().lost, 1);
    assert_eq!(scene.machine.next(scene.now).unwrap().body.name, name("w1"));
}

#[test]
fn lost_events_are_made_up_for_and_loops_that_are_gone_are_forgotten() {
    let mut scene = Scene::new(both(), &["db"]);
    scene.ready("db").step();
    scene.views.insert(name("db"), view(Health::Down, 0));
    let at = Stamp::from_micros(5);
    scene.machine.see(&watcher("db"), Health::Down, at, Some("refused"));
    assert_eq!(scene.step(), ["db down #0"]);
    scene.machine.see(&watcher("db"), Health::Down, at, Some("refused"));
    assert!(scene.step().is_empty());
    // What is no news changes nothing, and what is not known is none.
    let mut known = Scene::new(both().remind_every(10 * SECOND), &["db"]);
    assert_eq!(known.down("db", Health::Ready).step(), ["db down #1"]);
    for health in [Health::Down, Health::Unknown] {
        known.machine.see(&watcher("db"), health, at, None);
    }
    assert_eq!(known.after(10 * SECOND).step(), ["db down #1 again 1"]);
    scene.machine.configure(scene.now, Map::new());
    assert!(scene.ready("db").step().is_empty());
    assert_eq!(scene.machine.due(scene.now), scene.now + FORGET);
    scene.after(FORGET);
    scene.machine.configure(scene.now, Map::new());
    assert!(scene.machine.subjects.is_empty());
}
