//! Controllers and their manager, through the public surface, on a clock that
//! the tests move. `cct` names what the behaviour must be, `wct` a weakness of
//! earlier designs that must not come back.

mod support;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use loopkeeper::controller::{BackoffConfig, Outcome, Overrun, Reconciler, RunResult, Steps};
use loopkeeper::observe::{Attr, Counter, Gauge, Histogram, Observer};
use loopkeeper::status::{Phase, StatusSource};
use loopkeeper::testing::{Gate, Recorder};
use loopkeeper::{
    BoxError, CancelToken, Context, Controller, ControllerConfig, ControllerManager, ControllerManagerConfig,
    Env, EnvConfig, Error, ErrorKind, EventKind, Health, Host, HostConfig, ManualClock, Subscription, Tick,
};
use support::{PATIENCE, alone, eventually, scenario, threads_named};

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

const fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Every 30 s, with no jitter, so that the moments are exact.
fn exact(name: &str) -> ControllerConfig {
    let backoff = BackoffConfig { jitter: 0.0, ..BackoffConfig::default() };
    ControllerConfig::new(name).interval(secs(30)).jitter(0.0).backoff(backoff)
}

#[allow(clippy::unwrap_used, reason = "a failed set-up is a failed test")]
fn manager(env: &Env) -> ControllerManager {
    ControllerManager::new(ControllerManagerConfig::default().env(env)).unwrap()
}

fn words(subscription: &Subscription) -> Vec<&'static str> {
    std::iter::from_fn(|| subscription.try_recv()).map(|delivery| delivery.event.what.as_str()).collect()
}

/// A controller that says when it ran, in seconds, and returns what it is
/// told to.
#[derive(Clone)]
struct Scripted {
    ran_at: Arc<Mutex<Vec<u64>>>,
    answer: Arc<Mutex<Answer>>,
}

type Answer = Box<dyn FnMut() -> Result<Outcome, BoxError> + Send>;

impl Scripted {
    fn new(answer: impl FnMut() -> Result<Outcome, BoxError> + Send + 'static) -> Self {
        Self { ran_at: Arc::default(), answer: Arc::new(Mutex::new(Box::new(answer))) }
    }

    fn fine() -> Self {
        Self::new(|| Ok(Outcome::default()))
    }

    fn answers(&self, answer: impl FnMut() -> Result<Outcome, BoxError> + Send + 'static) {
        *lock(&self.answer) = Box::new(answer);
    }

    /// When it ran since the last look.
    fn ran(&self) -> Vec<u64> {
        std::mem::take(&mut *lock(&self.ran_at))
    }
}

impl Controller for Scripted {
    fn reconcile(&mut self, cx: &Context) -> Result<Outcome, BoxError> {
        lock(&self.ran_at).push(seconds(cx));
        (lock(&self.answer))()
    }
}

/// Whoever panicked with it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Since the clock was made.
fn seconds(cx: &Context) -> u64 {
    cx.env().clock().now().since(Tick::ZERO).as_secs()
}

#[test]
fn cct_19_the_first_run_is_at_once_and_the_others_at_a_fixed_rate() {
    scenario(|clock, env| {
        let manager = manager(env);
        let leases = Scripted::new(|| Ok(Outcome::processed(3)));
        manager.register(exact("leases"), leases.clone()).unwrap();
        clock.run_for(secs(60));
        assert!(leases.ran().is_empty(), "not before the start");
        let events = manager.subscribe();
        manager.start().unwrap();
        clock.settle();
        assert_eq!(leases.ran(), [60]);
        clock.run_for(secs(95));
        assert_eq!(leases.ran(), [90, 120, 150]);
        let status = &manager.status()["leases"];
        assert_eq!((status.health, status.runs, status.missed), (Health::Ready, 4, 0));
        let controller = status.controller.clone().unwrap();
        assert_eq!((controller.items, controller.last_items), (12, Some(3)));
        assert_eq!(controller.last_result, Some(RunResult::Success));
        assert_eq!(words(&events)[..3], ["started", "ready", "reconciled"]);
        assert!(manager.stop(PATIENCE).is_clean());
        assert!(events.has_ended() || words(&events).contains(&"stopped"));
    });
}

#[test]
fn each_controller_has_a_thread_of_its_own_and_names_are_in_order() {
    scenario(|clock, env| {
        let manager = manager(env);
        assert_eq!((manager.count(), manager.is_running()), (0, false));
        for name in ["c", "a", "b"] {
            manager.register(exact(name), Scripted::fine()).unwrap();
        }
        let names: Vec<_> = manager.names().iter().map(ToString::to_string).collect();
        assert_eq!((manager.count(), names), (3, ["a", "b", "c"].map(str::to_owned).to_vec()));
        assert_eq!(threads_named("ctl/"), 0);
        assert_eq!(manager.statuses().len(), 3, "also before the start");
        manager.start().unwrap();
        clock.settle();
        assert!(manager.is_running());
        assert_eq!(threads_named("ctl/"), 3);
        let of: Vec<_> = env.statuses().iter().map(|status| status.thread.clone().unwrap().name).collect();
        assert_eq!(of, ["ctl/a", "ctl/b", "ctl/c"]);
        assert!(manager.stop(PATIENCE).is_clean());
        assert!(manager.stop(Duration::ZERO).is_clean(), "a second stop does nothing");
        assert_eq!((threads_named("ctl/"), manager.is_running()), (0, false));
    });
}

#[test]
fn wct_01_a_panic_is_a_failure_and_disturbs_no_other() {
    scenario(|clock, env| {
        let manager = manager(env);
        let mut calls = 0;
        let bad = Scripted::new(move || {
            calls += 1;
            if calls == 2 { Ok(Outcome::processed(1)) } else { panic!("index out of bounds") }
        });
        let good = Scripted::fine();
        manager.register(exact("bad"), bad.clone()).unwrap();
        manager.register(exact("good"), good.clone()).unwrap();
        let events = manager.subscribe();
        manager.start().unwrap();
        clock.settle();
        let status = &manager.status()["bad"];
        assert_eq!((status.health, status.panics, status.failures), (Health::Down, 1, 1));
        assert_eq!(status.last_error.as_deref(), Some("panicked: index out of bounds"));
        let controller = status.controller.as_ref().unwrap();
        assert_eq!(controller.last_result, Some(RunResult::Panic));
        let failed = std::iter::from_fn(|| events.try_recv())
            .find(|delivery| delivery.event.what.as_str() == "reconcile_failed");
        assert_eq!(
            failed.unwrap().event.to_string(),
            "controller bad: failed (failures in a row: 1), again in 2.0s: panicked: index out of bounds"
        );
        // Tried again like any failure.
        clock.run_for(secs(2));
        assert_eq!(manager.status()["bad"].health, Health::Ready);
        clock.run_for(secs(58));
        assert_eq!(good.ran(), [0, 30, 60]);
        assert_eq!(bad.ran()[..3], [0, 2, 30]);
    });
}

#[test]
fn wct_02_stop_cancels_the_run_in_progress() {
    alone(|| {
        let manager = ControllerManager::new(ControllerManagerConfig::default()).unwrap();
        let seen = Arc::new(AtomicU32::new(0));
        for name in ["a", "b"] {
            let seen = seen.clone();
            let waits = move |cx: &Context| {
                seen.fetch_add(1, Ordering::SeqCst);
                cx.sleep(secs(3600))?;
                Ok(Outcome::default())
            };
            manager.register(exact(name).deadline(secs(7200)), waits).unwrap();
        }
        manager.start().unwrap();
        eventually("the runs to begin", || seen.load(Ordering::SeqCst) == 2);
        let report = manager.stop(PATIENCE);
        assert!(report.is_clean(), "{report}");
        let status = &manager.status()["a"];
        assert_eq!((status.failures, status.last_error.clone()), (0, None), "a cancel is no failure");
        assert_eq!((status.health, status.phase), (Health::Unknown, Phase::Stopped));
    });
}

/// A controller that hears nothing until it is let go, and counts how many
/// of its kind are at work at once.
#[derive(Clone, Default)]
struct Deaf {
    release: Arc<AtomicBool>,
    runs: Arc<AtomicU32>,
    at_work: Arc<AtomicU32>,
    most: Arc<AtomicU32>,
}

impl Controller for Deaf {
    fn reconcile(&mut self, _: &Context) -> Result<Outcome, BoxError> {
        self.runs.fetch_add(1, Ordering::SeqCst);
        let at_work = self.at_work.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(at_work, Ordering::SeqCst);
        while !self.release.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        self.at_work.fetch_sub(1, Ordering::SeqCst);
        Ok(Outcome::default())
    }
}

#[test]
fn wct_02_stop_is_bounded_and_names_who_did_not_finish() {
    alone(|| {
        let manager = ControllerManager::new(ControllerManagerConfig::default()).unwrap();
        let deaf = Deaf::default();
        manager.register(exact("deaf"), deaf.clone()).unwrap();
        manager.register(exact("calm"), Scripted::fine()).unwrap();
        manager.start().unwrap();
        eventually("the run to begin", || deaf.runs.load(Ordering::SeqCst) == 1);
        let report = manager.stop(millis(50));
        let [straggler] = report.stragglers() else { panic!("{report}") };
        assert_eq!((straggler.name.as_str(), straggler.thread.as_str()), ("deaf", "ctl/deaf"));
        assert!(straggler.phase == "its call" && straggler.stuck_for >= millis(50), "{report}");
        // It is at work still, so none of this is allowed to pretend otherwise.
        assert!(manager.is_running());
        let refused = manager.start().unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidState);
        assert!(refused.to_string().starts_with("deaf: "), "{refused}");
        assert_eq!(manager.status()["calm"].phase, Phase::Stopped, "all or none are started");
        deaf.release.store(true, Ordering::SeqCst);
        assert!(manager.stop(PATIENCE).is_clean());
        assert!(!manager.is_running());
        manager.start().unwrap();
        eventually("it to run again", || deaf.runs.load(Ordering::SeqCst) == 2);
        assert!(manager.stop(PATIENCE).is_clean());
    });
}

#[test]
fn wct_03_while_a_stop_waits_no_second_copy_is_started() {
    alone(|| {
        let manager = Arc::new(ControllerManager::new(ControllerManagerConfig::default()).unwrap());
        let deaf = Deaf::default();
        manager.register(exact("deaf"), deaf.clone()).unwrap();
        manager.start().unwrap();
        assert_eq!(manager.start().unwrap_err().kind(), ErrorKind::InvalidState, "started twice");
        eventually("the run to begin", || deaf.runs.load(Ordering::SeqCst) == 1);
        let theirs = manager.clone();
        #[allow(clippy::disallowed_methods, reason = "two who stop at once")]
        let stops = std::thread::spawn(move || theirs.stop(PATIENCE).is_clean());
        let is_refused = || {
            let result = manager.register(exact("late"), Scripted::fine());
            match result {
                Ok(()) => manager.remove("late", PATIENCE).is_err(),
                Err(error) => error.kind() == ErrorKind::InvalidState,
            }
        };
        eventually("the stop to begin", is_refused);
        assert!(manager.is_running());
        assert_eq!(manager.start().unwrap_err().kind(), ErrorKind::InvalidState);
        let second = manager.stop(Duration::ZERO);
        assert_eq!(second.stragglers().len(), 1, "a second stop is not over either: {second}");
        deaf.release.store(true, Ordering::SeqCst);
        assert!(stops.join().unwrap());
        assert!(!manager.is_running());
        manager.start().unwrap();
        eventually("it to run again", || deaf.runs.load(Ordering::SeqCst) == 2);
        assert!(manager.stop(PATIENCE).is_clean());
        assert_eq!(deaf.most.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn wct_04_after_its_token_is_cancelled_it_does_not_say_that_it_runs() {
    scenario(|clock, env| {
        let token = CancelToken::new();
        let config = ControllerManagerConfig::default().env(env).cancelled_by(&token);
        let manager = ControllerManager::new(config).unwrap();
        manager.register(exact("a"), Scripted::fine()).unwrap();
        manager.start().unwrap();
        clock.settle();
        token.cancel();
        eventually("it to end", || !manager.is_running());
        assert_eq!(manager.status()["a"].phase, Phase::Stopped);
        assert_eq!(manager.trigger("a").unwrap_err().kind(), ErrorKind::InvalidState);
        let refused = manager.start().unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Cancelled, "{refused}");
        assert!(manager.stop(PATIENCE).is_clean());
    });
}

#[test]
fn wct_05_no_run_begins_after_a_stop() {
    alone(|| {
        let runs = Arc::new(AtomicU64::new(0));
        for _ in 0..100 {
            let manager = ControllerManager::new(ControllerManagerConfig::default()).unwrap();
            let count = runs.clone();
            let busy = move |_: &Context| {
                count.fetch_add(1, Ordering::SeqCst);
                Ok(Outcome::default().requeue_after(Duration::ZERO))
            };
            manager.register(exact("busy"), busy).unwrap();
            let before = runs.load(Ordering::SeqCst);
            manager.start().unwrap();
            eventually("it to run", || runs.load(Ordering::SeqCst) > before);
            assert!(manager.stop(PATIENCE).is_clean());
            let at_stop = runs.load(Ordering::SeqCst);
            assert!(manager.trigger("busy").is_err());
            std::thread::yield_now();
            assert_eq!(runs.load(Ordering::SeqCst), at_stop);
        }
    });
}

#[test]
fn wct_06_cct_16_zero_is_an_error_and_absent_is_the_default() {
    scenario(|_, env| {
        let zero = Duration::ZERO;
        let backoff = BackoffConfig::default();
        let new = || ControllerConfig::new("a");
        for (config, text) in [
            (new().interval(zero), "interval: must be more than zero"),
            (new().deadline(zero), "deadline: must be more than zero"),
            (
                new().backoff(BackoffConfig { initial_delay: zero, ..backoff }),
                "backoff.initial_delay: must be",
            ),
            (new().backoff(BackoffConfig { max_delay: secs(1), ..backoff }), "backoff.max_delay: must be"),
            (new().backoff(BackoffConfig { multiplier: f64::NAN, ..backoff }), "backoff.multiplier: must be"),
            (new().backoff(BackoffConfig { jitter: 2.0, ..backoff }), "backoff.jitter: must be a share"),
            (new().jitter(-0.1), "jitter: must be a share between 0 and 1, found -0.1"),
            (new().jitter(f64::INFINITY), "jitter: must be a share between 0 and 1, found inf"),
            (new().failure_threshold(0), "failure_threshold: must be at least 1"),
            (new().overrun(Overrun::CatchUp { at_most: 0 }), "overrun.at_most: must be at least 1"),
            (ControllerConfig::new("a b"), "name: "),
            (ControllerConfig::new(""), "name: "),
        ] {
            let manager = manager(env);
            let error = manager.register(config.clone(), Scripted::fine()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{text}");
            assert!(error.to_string().starts_with(text), "{text}: {error}");
            assert_eq!(manager.count(), 0);
            assert!(Reconciler::new(env, config, Scripted::fine()).is_err());
        }
        let reconciler = Reconciler::new(env, new(), Scripted::fine()).unwrap();
        let controller = reconciler.status().controller.unwrap();
        assert_eq!((controller.interval, controller.deadline), (secs(60), secs(60)));
        assert!(!controller.paused && !controller.dry_run && !reconciler.status().critical);
    });
}

#[test]
fn wct_07_a_name_is_one_controllers() {
    scenario(|clock, env| {
        let manager = manager(env);
        let (first, second) = (Scripted::fine(), Scripted::fine());
        manager.register(exact("a"), first.clone()).unwrap();
        for _ in 0..2 {
            let error = manager.register(exact("a"), second.clone()).unwrap_err();
            assert_eq!(
                (error.kind(), &*error.to_string()),
                (ErrorKind::Duplicate, "a: is registered already")
            );
            if !manager.is_running() {
                manager.start().unwrap();
                clock.settle();
            }
        }
        assert_eq!((first.ran(), second.ran()), (vec![0], vec![]));
    });
}

#[test]
fn wct_08_an_overrun_is_counted_and_told_in_the_status() {
    scenario(|clock, env| {
        let run = |overrun: Overrun| {
            let begin = clock.now().since(Tick::ZERO).as_secs();
            let ran = Arc::new(Mutex::new(Vec::new()));
            let theirs = ran.clone();
            let mut first = true;
            let slow = move |cx: &Context| {
                let now = seconds(cx);
                theirs.lock().unwrap().push(now - begin);
                if std::mem::take(&mut first) {
                    cx.sleep(secs(75))?;
                }
                Ok(Outcome::default())
            };
            let config = exact("slow").deadline(secs(600)).overrun(overrun);
            let reconciler = Reconciler::start_in(env, config, slow).unwrap();
            clock.run_for(secs(91));
            let status = reconciler.status();
            assert_eq!(status.health, Health::Ready);
            let counted = (status.missed, status.controller.unwrap().overruns);
            assert!(reconciler.stop(PATIENCE).is_clean());
            let ran = ran.lock().unwrap().clone();
            (ran, counted)
        };
        assert_eq!(run(Overrun::Skip), (vec![0, 90], (2, 1)));
        assert_eq!(run(Overrun::QueueOne), (vec![0, 75, 90], (1, 1)));
        assert_eq!(run(Overrun::CatchUp { at_most: 9 }), (vec![0, 75, 75, 90], (0, 1)));
    });
}

#[test]
fn wct_09_the_deadline_is_not_the_interval() {
    scenario(|clock, env| {
        // A daily one need not hang for a day before it is told.
        let gate = Gate::default();
        let (inside, their_clock) = (gate.clone(), clock.clone());
        let hangs = move |_: &Context| {
            inside.pass(&their_clock);
            Ok(Outcome::processed(5))
        };
        let daily = exact("daily").interval(secs(86_400)).deadline(secs(10));
        let daily = Reconciler::start_in(env, daily, hangs).unwrap();
        // A frequent one may take longer than its interval.
        let sleeps = |cx: &Context| {
            let left = cx.remaining();
            cx.sleep(secs(25))?;
            Ok(Outcome::processed(usize::try_from(left.as_secs()).unwrap()))
        };
        let slow = exact("slow").interval(secs(10)).deadline(secs(60));
        let slow = Reconciler::start_in(env, slow, sleeps).unwrap();
        let events = daily.subscribe();
        clock.run_for(secs(9));
        assert_eq!(daily.status().health, Health::Unknown);
        clock.run_for(secs(1));
        let status = daily.status();
        assert_eq!((status.health, status.timeouts, status.late), (Health::Down, 1, 0));
        assert_eq!(status.last_error.as_deref(), Some("not done within 10s"));
        assert_eq!(status.overdue_for, Some(Duration::ZERO));
        assert_eq!(status.controller.unwrap().last_result, Some(RunResult::Timeout));
        assert_eq!(words(&events), ["timed_out", "down"]);
        clock.run_for(secs(15));
        let status = slow.status();
        assert_eq!((status.health, status.timeouts, status.missed), (Health::Ready, 0, 2));
        assert_eq!(status.controller.unwrap().items, 59);
        // The late answer changes nothing, and it is tried again.
        gate.release_waiting();
        clock.settle();
        let status = daily.status();
        assert_eq!((status.health, status.late, gate.arrived()), (Health::Down, 1, 2));
        assert_eq!(status.controller.unwrap().items, 0);
        gate.open();
        clock.settle();
        assert_eq!(daily.status().health, Health::Ready);
    });
}

#[test]
fn wct_10_runs_are_spread_by_name_and_by_chance() {
    alone(|| {
        let clock = ManualClock::default();
        let seconds = |spread: bool, seed: u64, jitter: f64| {
            let env = EnvConfig::default().clock(&clock).spread(spread).seed(seed);
            let env = Env::with(env).unwrap();
            let manager = manager(&env);
            for n in 0..8 {
                let config = exact(&format!("c{n}")).interval(secs(1_000)).jitter(jitter);
                manager.register(config, Scripted::fine()).unwrap();
            }
            manager.register(exact("p").interval(secs(1_000)).in_phase(), Scripted::fine()).unwrap();
            manager.start().unwrap();
            clock.settle();
            let micros = |status: &loopkeeper::LoopStatus| status.next_run.unwrap().as_micros();
            let statuses = manager.statuses();
            assert_eq!(micros(&statuses[8]), 1_000_000_000, "in phase with the first");
            assert!(statuses.iter().all(|status| status.runs == 1), "the first is at once");
            let next: Vec<u64> = statuses[..8].iter().map(micros).collect();
            assert!(manager.stop(PATIENCE).is_clean());
            next
        };
        let distinct = |mut next: Vec<u64>| {
            next.sort_unstable();
            next.dedup();
            next.len()
        };
        assert_eq!(seconds(false, 1, 0.0), [1_000_000_000; 8]);
        let spread = seconds(true, 1, 0.0);
        assert_eq!(distinct(spread.clone()), 8, "{spread:?}");
        assert_eq!(seconds(true, 2, 0.0), spread, "a restart keeps each in its place");
        let (here, there) = (seconds(false, 1, 0.1), seconds(false, 2, 0.1));
        assert!(here.iter().all(|next| (900_000_000..=1_000_000_000).contains(next)), "{here:?}");
        assert!(
            here.iter().zip(&there).all(|(here, there)| here != there),
            "two replicas: {here:?} {there:?}"
        );
    });
}

#[test]
fn wct_11_a_failed_daily_job_does_not_wait_for_a_day() {
    scenario(|clock, env| {
        let job = Scripted::new(|| Err("the database is away".into()));
        let config = exact("daily").interval(secs(86_400));
        let daily = Reconciler::start_in(env, config, job.clone()).unwrap();
        clock.run_for(secs(31));
        assert_eq!(job.ran(), [0, 2, 6, 14, 30]);
        let status = daily.status();
        assert_eq!((status.phase, status.consecutive_failures), (Phase::Recovering, 5));
        job.answers(|| Ok(Outcome::default()));
        clock.run_for(secs(31));
        assert_eq!(job.ran(), [62]);
        assert!(daily.wait_ready(Duration::ZERO));
        // What cannot help is not tried again.
        job.answers(|| Err(Error::terminal("no such table").into()));
        daily.trigger();
        clock.run_for(secs(3_600));
        assert_eq!(job.ran(), [62]);
        assert_eq!(daily.last_error().unwrap().to_string(), "no such table");
        clock.run_for(secs(86_400 - 3_662));
        assert_eq!(job.ran(), [86_400], "its time has come all the same");
    });
}

/// An observer that keeps the last value of every series.
#[derive(Clone, Default)]
struct Series(Arc<Mutex<BTreeMap<String, f64>>>);

impl Series {
    fn observer(&self) -> Observer {
        let add = |series: &Self, name: &str, labels: &[Attr]| {
            let labels: Vec<_> = labels.iter().map(ToString::to_string).collect();
            let key = format!("{name}{{{}}}", labels.join(","));
            lock(&series.0).insert(key.clone(), 0.0);
            let series = series.clone();
            move |change: &dyn Fn(&mut f64)| change(lock(&series.0).entry(key.clone()).or_default())
        };
        let (counters, gauges, histograms) = (self.clone(), self.clone(), self.clone());
        Observer {
            counter: Some(Arc::new(move |name, labels| {
                let change = add(&counters, name, labels);
                Counter::function(move |n| change(&|value| *value += n as f64))
            })),
            gauge: Some(Arc::new(move |name, labels| {
                let change = add(&gauges, name, labels);
                Gauge::function(move |to| change(&|value| *value = to))
            })),
            histogram: Some(Arc::new(move |name, labels| {
                let change = add(&histograms, name, labels);
                Histogram::function(move |_| change(&|count| *count += 1.0))
            })),
            ..Observer::default()
        }
    }

    fn all(&self) -> BTreeMap<String, f64> {
        lock(&self.0).clone()
    }

    fn get(&self, name: &str) -> f64 {
        *lock(&self.0).get(name).unwrap_or(&f64::NAN)
    }
}

#[test]
fn wct_12_metrics_tell_the_last_success_from_the_last_run() {
    alone(|| {
        let clock = ManualClock::default();
        let series = Series::default();
        let config = EnvConfig::default().clock(&clock).spread(false).seed(0).observer(series.observer());
        let env = Env::with(config).unwrap();
        let job = Scripted::new(|| Ok(Outcome::processed(4)));
        let controllers = manager(&env);
        controllers.register(exact("a"), job.clone()).unwrap();
        let zero: Vec<_> = series.all().into_iter().collect();
        let expected = [
            "controller_items_processed_total{controller=a}",
            "controller_last_reconcile_timestamp_seconds{controller=a}",
            "controller_last_success_timestamp_seconds{controller=a}",
            "controller_reconcile_duration_seconds{controller=a}",
            "controller_reconcile_errors_total{controller=a}",
            "controller_reconcile_total{controller=a,result=error}",
            "controller_reconcile_total{controller=a,result=panic}",
            "controller_reconcile_total{controller=a,result=success}",
            "controller_reconcile_total{controller=a,result=timeout}",
            "controller_running{controller=a}",
            "loop_missed_ticks_total{loop=a}",
        ];
        assert_eq!(zero, expected.map(|name| (name.to_owned(), 0.0)), "all series, at zero");

        clock.run_for(secs(1_000));
        controllers.start().unwrap();
        clock.settle();
        let success = series.get(expected[2]);
        assert_eq!((success, series.get(expected[1])), (1_000.0, 1_000.0));
        job.answers(|| Err(Error::terminal("no").into()));
        clock.run_for(secs(30));
        job.answers(|| panic!("no"));
        clock.run_for(secs(30));
        let values: Vec<f64> = expected.iter().map(|name| series.get(name)).collect();
        assert_eq!(values, [4.0, success + 60.0, success, 3.0, 2.0, 1.0, 1.0, 1.0, 0.0, 1.0, 0.0]);
        let status = &controllers.status()["a"];
        let (check, last) = (status.last_check.unwrap(), status.last_success.unwrap());
        assert_eq!(check.as_micros() - last.as_micros(), 60_000_000);

        // A second manager's are others, or the same: nothing breaks.
        let second = manager(&env);
        second.register(exact("a"), Scripted::fine()).unwrap();
        assert!(controllers.stop(PATIENCE).is_clean());
        assert_eq!(series.get("controller_running{controller=a}"), 0.0);
    });
}

#[test]
fn a_deadline_that_passes_is_measured_while_the_run_is_stuck() {
    alone(|| {
        let clock = ManualClock::default();
        let series = Series::default();
        let config = EnvConfig::default().clock(&clock).spread(false).seed(0).observer(series.observer());
        let env = Env::with(config).unwrap();
        let gate = Gate::default();
        let (inside, their_clock) = (gate.clone(), clock.clone());
        let hangs = move |_: &Context| {
            inside.pass(&their_clock);
            Ok(Outcome::processed(1))
        };
        let config = exact("a").deadline(secs(10)).failure_threshold(2);
        let a = Reconciler::start_in(&env, config, hangs).unwrap();
        clock.run_for(secs(10));
        assert_eq!(a.status().health, Health::Unknown);
        assert_eq!(series.get("controller_reconcile_total{controller=a,result=timeout}"), 1.0);
        assert_eq!(series.get("controller_reconcile_errors_total{controller=a}"), 1.0);
        // Each further deadline counts, until it is down.
        clock.run_for(secs(30));
        let status = a.status();
        assert_eq!((status.health, status.timeouts), (Health::Down, 2));
        assert_eq!(status.last_error.as_deref(), Some("not done within 10s, stuck for 20s"));
        gate.release_waiting();
        clock.settle();
        assert_eq!(series.get("controller_reconcile_duration_seconds{controller=a}"), 0.0);
        assert_eq!(series.get("controller_items_processed_total{controller=a}"), 0.0);
        gate.open();
        assert!(a.stop(PATIENCE).is_clean());
    });
}

#[test]
fn wct_13_each_has_a_status_a_trigger_and_a_pause() {
    scenario(|clock, env| {
        let manager = manager(env);
        let job = Scripted::new(|| Err("away".into()));
        manager.register(exact("a").interval(secs(3_600)), job.clone()).unwrap();
        assert_eq!(manager.trigger("a").unwrap_err().kind(), ErrorKind::InvalidState);
        let events = manager.subscribe();
        manager.start().unwrap();
        clock.settle();
        manager.pause("a").unwrap();
        clock.run_for(secs(7_200));
        assert_eq!(job.ran(), [0], "no retries and no regular runs");
        let status = manager.status()["a"].clone();
        assert_eq!((status.next_run, status.missed, status.overdue_for), (None, 0, None));
        assert!(status.to_string().ends_with(", paused"), "{status}");
        let json = serde_json::to_value(&status).unwrap();
        let controller = serde_json::json!({
            "interval": 3600.0, "deadline": 60.0, "paused": true, "dry_run": false,
            "last_result": "error", "items": 0, "overruns": 0,
        });
        assert_eq!((&json["kind"], &json["controller"]), (&"controller".into(), &controller));
        assert_eq!((&json["last_error"], &json["consecutive_failures"]), (&"away".into(), &1.into()));

        manager.trigger("a").unwrap();
        clock.run_for(secs(100));
        assert_eq!(job.ran(), [7_200], "a trigger makes one run, and no retries");
        job.answers(|| Ok(Outcome::default()));
        manager.resume("a").unwrap();
        clock.run_for(secs(3_600));
        assert_eq!(job.ran(), [7_300, 10_800]);
        let told = ["started", "reconcile_failed", "down", "paused", "reconcile_failed", "resumed", "ready"];
        assert_eq!(words(&events), told);
        for result in [manager.trigger("b"), manager.pause("b"), manager.resume("b")] {
            let error = result.unwrap_err();
            assert_eq!((error.kind(), &*error.to_string()), (ErrorKind::NotFound, "b: no such controller"));
        }
    });
}

#[test]
fn a_pause_outlives_a_stop_and_lets_the_present_run_end() {
    scenario(|clock, env| {
        let gate = Gate::default();
        let (inside, their_clock) = (gate.clone(), clock.clone());
        let waits = move |_: &Context| {
            inside.pass(&their_clock);
            Ok(Outcome::processed(1))
        };
        let a = Reconciler::start_in(env, exact("a"), waits).unwrap();
        clock.settle();
        a.pause();
        gate.open();
        clock.run_for(secs(100));
        assert_eq!((gate.arrived(), a.status().health), (1, Health::Ready));
        assert!(a.stop(PATIENCE).is_clean());
        a.restart().unwrap();
        clock.run_for(secs(100));
        assert_eq!(gate.arrived(), 1);
        a.resume();
        clock.settle();
        assert_eq!(gate.arrived(), 2);
        assert_eq!(a.status().controller.unwrap().items, 2, "the totals go on");
    });
}

#[test]
fn a_trigger_during_a_run_means_one_more_after_it() {
    scenario(|clock, env| {
        let gate = Gate::default();
        let (inside, their_clock) = (gate.clone(), clock.clone());
        let waits = move |_: &Context| {
            inside.pass(&their_clock);
            Ok(Outcome::default())
        };
        let manager = manager(env);
        manager.register(exact("a"), waits).unwrap();
        manager.start().unwrap();
        clock.settle();
        for _ in 0..5 {
            manager.trigger("a").unwrap();
        }
        clock.settle();
        assert_eq!(gate.arrived(), 1, "not at the same time");
        gate.release_waiting();
        clock.settle();
        assert_eq!(gate.arrived(), 2);
        gate.open();
        clock.run_for(secs(29));
        assert_eq!(gate.arrived(), 2, "one more, not five");
    });
}

#[test]
fn a_controller_may_be_added_and_removed_while_the_others_run() {
    scenario(|clock, env| {
        let manager = manager(env);
        let (old, new) = (Scripted::fine(), Scripted::fine());
        manager.register(exact("old"), old.clone()).unwrap();
        let events = manager.subscribe();
        manager.start().unwrap();
        clock.run_for(secs(10));
        manager.register(exact("new"), new.clone()).unwrap();
        clock.run_for(secs(25));
        assert_eq!((old.ran(), new.ran()), (vec![0, 30], vec![10]));
        assert!(manager.remove("old", PATIENCE).unwrap().is_clean());
        assert_eq!(manager.remove("old", PATIENCE).unwrap_err().kind(), ErrorKind::NotFound);
        clock.run_for(secs(60));
        assert_eq!((old.ran(), new.ran()), (vec![], vec![40, 70]));
        assert_eq!((manager.count(), threads_named("ctl/")), (1, 1));
        // The name is free again.
        manager.register(exact("old"), old.clone()).unwrap();
        clock.settle();
        assert_eq!(old.ran(), [95]);
        assert_eq!(words(&events), ["started", "ready", "started", "ready", "stopped", "started", "ready"]);
        assert!(manager.stop(PATIENCE).is_clean());
        assert!(manager.remove("old", PATIENCE).unwrap().is_clean());
    });
}

#[test]
fn a_removed_one_that_is_still_at_work_keeps_its_name() {
    alone(|| {
        let manager = ControllerManager::new(ControllerManagerConfig::default()).unwrap();
        let deaf = Deaf::default();
        manager.register(exact("deaf"), deaf.clone()).unwrap();
        manager.start().unwrap();
        eventually("the run to begin", || deaf.runs.load(Ordering::SeqCst) == 1);
        let report = manager.remove("deaf", millis(20)).unwrap();
        assert_eq!(report.stragglers().len(), 1, "{report}");
        assert_eq!((manager.count(), manager.is_running()), (0, true));
        let refused = manager.register(exact("deaf"), deaf.clone()).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidState, "{refused}");
        assert_eq!(manager.stop(millis(20)).stragglers().len(), 1, "a stop names it, too");
        deaf.release.store(true, Ordering::SeqCst);
        eventually("it to end", || !manager.is_running());
        manager.register(exact("deaf"), deaf.clone()).unwrap();
        manager.start().unwrap();
        eventually("it to run again", || deaf.runs.load(Ordering::SeqCst) == 2);
        assert!(manager.stop(PATIENCE).is_clean());
        assert_eq!(deaf.most.load(Ordering::SeqCst), 1);
    });
}

/// Panics when it is dropped.
struct Fragile;

impl Controller for Fragile {
    fn reconcile(&mut self, _: &Context) -> Result<Outcome, BoxError> {
        Ok(Outcome::default())
    }
}

impl Drop for Fragile {
    fn drop(&mut self) {
        panic!("dropped");
    }
}

#[test]
fn one_that_panics_when_it_is_dropped_is_removed_and_told() {
    alone(|| {
        let manager = ControllerManager::new(ControllerManagerConfig::default()).unwrap();
        manager.register(exact("other"), Scripted::fine()).unwrap();
        manager.start().unwrap();
        for _ in 0..2 {
            manager.register(exact("fragile"), Fragile).unwrap();
            let report = manager.remove("fragile", PATIENCE).unwrap();
            let errors: Vec<_> =
                report.errors().iter().map(|error| (error.kind(), error.to_string())).collect();
            assert_eq!(errors, [(ErrorKind::Panicked, "panicked: dropped".to_owned())]);
        }
        assert_eq!((manager.count(), manager.is_running()), (1, true));
        for name in ["one", "two"] {
            manager.register(exact(name), Fragile).unwrap();
        }
        assert!(manager.stop(PATIENCE).is_clean());
        // With two that panic at once the process would end.
        drop(manager);
    });
}

#[test]
fn a_controller_may_stop_remove_and_trigger_from_its_own_run() {
    alone(|| {
        let manager = Arc::new(ControllerManager::new(ControllerManagerConfig::default()).unwrap());
        let weak = Arc::downgrade(&manager);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let theirs = seen.clone();
        let own = move |cx: &Context| {
            let Some(manager) = weak.upgrade() else { return Ok(Outcome::default()) };
            if lock(&theirs).is_empty() {
                lock(&theirs).push("triggered");
                manager.trigger("own")?;
                return Ok(Outcome::default());
            }
            let report = manager.remove("own", PATIENCE)?;
            assert_eq!(report.errors()[0].kind(), ErrorKind::InvalidState, "{report}");
            assert!(cx.is_cancelled());
            let again = manager.register(exact("own"), Scripted::fine());
            assert_eq!(again.unwrap_err().kind(), ErrorKind::InvalidState, "it is still at work");
            let report = manager.stop(PATIENCE);
            assert_eq!(report.errors()[0].kind(), ErrorKind::InvalidState, "{report}");
            lock(&theirs).push("stopped");
            Ok(Outcome::default())
        };
        manager.register(exact("own"), own).unwrap();
        manager.register(exact("other"), Scripted::fine()).unwrap();
        manager.start().unwrap();
        eventually("it to stop", || lock(&seen).len() == 2);
        assert_eq!(*lock(&seen), ["triggered", "stopped"]);
        eventually("it to end", || !manager.is_running());
        assert!(manager.stop(PATIENCE).is_clean());
    });
}

#[test]
fn a_restart_begins_anew() {
    scenario(|clock, env| {
        let manager = manager(env);
        let job = Scripted::fine();
        manager.register(exact("a"), job.clone()).unwrap();
        let events = manager.subscribe();
        manager.start().unwrap();
        clock.run_for(secs(40));
        assert!(manager.restart(PATIENCE).unwrap().is_clean());
        clock.run_for(secs(31));
        assert_eq!(job.ran(), [0, 30, 40, 70]);
        assert!(manager.stop(PATIENCE).is_clean());
        manager.start().unwrap();
        clock.settle();
        assert_eq!(job.ran(), [71]);
        assert_eq!(words(&events), ["started", "ready", "stopped", "started", "ready", "stopped"]);
        assert!(events.has_ended());
    });
}

#[test]
fn a_dry_run_is_in_the_context_and_in_the_metrics() {
    alone(|| {
        let clock = ManualClock::default();
        let series = Series::default();
        let config = EnvConfig::default().clock(&clock).spread(false).seed(0).observer(series.observer());
        let env = Env::with(config).unwrap();
        let deletes = Arc::new(AtomicU32::new(0));
        let retention = |deletes: &Arc<AtomicU32>| {
            let deletes = deletes.clone();
            move |cx: &Context| {
                if !cx.is_dry_run() {
                    deletes.fetch_add(9, Ordering::SeqCst);
                }
                Ok(Outcome::processed(9))
            }
        };
        let dry = ControllerManagerConfig::default().env(&env).dry_run();
        let manager = ControllerManager::new(dry).unwrap();
        manager.register(exact("all"), retention(&deletes)).unwrap();
        let events = manager.subscribe();
        manager.start().unwrap();
        let one = Reconciler::start_in(&env, exact("one").dry_run(), retention(&deletes)).unwrap();
        clock.settle();
        assert_eq!(deletes.load(Ordering::SeqCst), 0);
        for (name, status) in [("all", manager.status()["all"].clone()), ("one", one.status())] {
            let controller = status.controller.unwrap();
            assert!(controller.dry_run && controller.items == 9);
            let done = format!("controller_reconcile_total{{controller={name},result=dry_run}}");
            assert_eq!(series.get(&done), 1.0);
            assert_eq!(series.get(&format!("controller_items_processed_total{{controller={name}}}")), 0.0);
        }
        let told = std::iter::from_fn(|| events.try_recv()).last().unwrap().event;
        assert!(matches!(told.what, EventKind::Reconciled { items: 9, dry_run: true, .. }), "{told}");
        assert!(told.to_string().starts_with("controller all: would have reconciled 9 items"), "{told}");
        let wet = Reconciler::start_in(&env, exact("wet"), retention(&deletes)).unwrap();
        clock.settle();
        assert_eq!(deletes.load(Ordering::SeqCst), 9);
        drop((wet, one));
    });
}

#[test]
fn wct_14_a_failed_step_fails_the_run_and_the_others_count() {
    scenario(|clock, env| {
        let recovery = |_: &Context| {
            let mut steps = Steps::default();
            steps.run("requeue", || Ok::<_, BoxError>(2));
            steps.run("release", || Err::<usize, BoxError>("locked".into()));
            steps.run("expire", || Ok::<_, BoxError>(3));
            steps.finish()
        };
        let a = Reconciler::new(env, exact("a"), recovery).unwrap();
        let events = a.subscribe();
        a.restart().unwrap();
        clock.settle();
        let status = a.status();
        assert_eq!((status.health, status.failures), (Health::Down, 1));
        assert_eq!(status.last_error.as_deref(), Some("1 step failed: release: locked"));
        let controller = status.controller.unwrap();
        assert_eq!((controller.items, controller.last_result), (5, Some(RunResult::Error)));
        assert_eq!(words(&events), ["started", "reconcile_failed", "down", "reconciled"]);
        clock.run_for(secs(2));
        assert_eq!(a.status().failures, 2, "it is tried again");
    });
}

/// A batch controller takes a bounded batch, asks for more when it was full,
/// lets no bad item keep the others from being done, and ends early when it
/// is told to.
#[test]
fn cct_17_a_batch_is_drained_and_a_bad_item_is_skipped() {
    scenario(|clock, env| {
        const BATCH: usize = 3;
        let queue = Arc::new(Mutex::new((1..=8).collect::<Vec<u32>>()));
        let done = Arc::new(Mutex::new(Vec::new()));
        let (theirs, log) = (queue.clone(), done.clone());
        let batches = move |cx: &Context| {
            let batch: Vec<u32> = {
                let mut queue = lock(&theirs);
                let n = queue.len().min(BATCH);
                queue.drain(..n).collect()
            };
            let full = batch.len() == BATCH;
            let mut steps = Steps::default();
            for item in batch {
                cx.check()?;
                steps.run(&format!("item {item}"), || if item == 5 { Err("malformed") } else { Ok(1) });
                lock(&log).push(item);
            }
            let outcome = steps.finish()?;
            Ok(if full { outcome.requeue_after(Duration::ZERO) } else { outcome })
        };
        let a = Reconciler::start_in(env, exact("a"), batches).unwrap();
        clock.settle();
        assert_eq!(*lock(&done), [1, 2, 3, 4, 5, 6]);
        let status = a.status();
        assert_eq!(status.last_error.as_deref(), Some("1 step failed: item 5: malformed"));
        assert_eq!(status.controller.unwrap().items, 5);
        clock.run_for(secs(2));
        assert_eq!(lock(&done).len(), 8);
        assert_eq!(a.status().health, Health::Ready);
        let runs = a.status().runs;
        clock.run_for(secs(28));
        let status = a.status();
        assert_eq!(
            (status.runs, status.controller.unwrap().last_items),
            (runs + 1, Some(0)),
            "nothing to do"
        );
    });
}

#[test]
fn cct_18_who_is_told_to_end_has_not_failed() {
    alone(|| {
        let begun = Arc::new(AtomicU32::new(0));
        let count = begun.clone();
        let tenants = move |cx: &Context| {
            let mut steps = Steps::default();
            for tenant in 0.. {
                count.fetch_add(1, Ordering::SeqCst);
                cx.check()?;
                steps.run("tenant", || if tenant == 0 { Err("no such tenant") } else { Ok(1) });
            }
            steps.finish()
        };
        let recorder = Recorder::default();
        let config = ControllerManagerConfig::default().observer(recorder.observer());
        let manager = ControllerManager::new(config).unwrap();
        manager.register(exact("verify"), tenants).unwrap();
        manager.start().unwrap();
        eventually("it to be at it", || begun.load(Ordering::SeqCst) > 10);
        assert!(manager.stop(PATIENCE).is_clean());
        let status = &manager.status()["verify"];
        assert_eq!((&*status.name.to_string(), status.failures), ("verify", 0));
        assert_eq!(status.controller.as_ref().unwrap().interval, secs(30));
        assert_eq!(recorder.words(), ["started", "stopped"]);
    });
}

#[test]
fn a_manager_is_a_component() {
    scenario(|clock, env| {
        let host = Host::new(HostConfig::default().env(env)).unwrap();
        let manager = Arc::new(manager(env));
        let job = Scripted::fine();
        manager.register(exact("a"), job.clone()).unwrap();
        manager.register(exact("b").critical(), Scripted::fine()).unwrap();
        manager.register(exact("c").critical().start_paused(), Scripted::fine()).unwrap();
        host.register("controllers", manager.component()).unwrap();
        let tokens = Reconciler::new(env, exact("tokens"), Scripted::fine()).unwrap();
        host.register("tokens", tokens).unwrap();
        let paused = Reconciler::new(env, exact("paused").start_paused(), Scripted::fine()).unwrap();
        host.register("paused", paused).unwrap();
        host.start().unwrap();
        clock.settle();
        for name in ["controllers", "tokens", "paused"] {
            assert!(host.component(name).unwrap().ready, "{name}");
        }
        assert_eq!(job.ran(), [0]);
        let names: Vec<_> = env.statuses().iter().map(|status| status.name.to_string()).collect();
        assert_eq!(names, ["a", "b", "c", "paused", "tokens"]);
        job.answers(|| Err("away".into()));
        clock.run_for(secs(30));
        let state = host.component("controllers").unwrap();
        assert_eq!((state.health, state.ready), (Health::Degraded, true), "not critical");
        assert!(host.stop(PATIENCE).is_clean());
        assert!(!manager.is_running());
        job.ran();
        host.start().unwrap();
        clock.settle();
        assert_eq!(job.ran(), [30]);
        drop(host);
    });
}

#[test]
fn one_that_is_dropped_is_stopped() {
    scenario(|clock, env| {
        let job = Scripted::fine();
        let one = Reconciler::start_in(env, exact("one"), job.clone()).unwrap();
        let manager = manager(env);
        manager.register(exact("a"), job.clone()).unwrap();
        manager.start().unwrap();
        clock.settle();
        drop((one, manager));
        assert_eq!(threads_named("ctl/"), 0);
        assert_eq!(job.ran().len(), 2);
    });
}

/// A probe's answer does not matter at a stop; what a controller is at does.
#[test]
#[allow(clippy::disallowed_methods, reason = "longer than a probe is waited for, in real time")]
fn a_stop_waits_for_a_run_as_long_as_its_grace_allows() {
    alone(|| {
        let done = Arc::new(AtomicU32::new(0));
        let count = done.clone();
        let commits = move |cx: &Context| {
            cx.cancel_token().wait();
            std::thread::sleep(millis(1_100));
            count.fetch_add(1, Ordering::SeqCst);
            Ok(Outcome::default())
        };
        let manager = ControllerManager::new(ControllerManagerConfig::default()).unwrap();
        manager.register(exact("a"), commits).unwrap();
        manager.start().unwrap();
        eventually("the run to begin", || manager.status()["a"].runs == 1);
        let report = manager.stop(PATIENCE);
        assert!(report.is_clean(), "{report}");
        assert_eq!(done.load(Ordering::SeqCst), 1);
    });
}
