//! Attempts: their order, their deadlines, their end.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use loopkeeper::event::RecoveryStep;
use loopkeeper::observe::{Counter, Observer};
use loopkeeper::recovery::{
    CheckpointStrategy, Executor, ExecutorConfig, Recover, RecoveryPolicy, Restore, Restored, TrainingRun,
};
use loopkeeper::testing::Gate;
use loopkeeper::{Context, Env, EnvConfig, ErrorKind, ManualClock};

use crate::fixture::*;

fn executor(world: &World) -> Executor {
    world.executor(ExecutorConfig::new("x"))
}

/// Has a run restored of which its last checkpoint is known.
fn recover(executor: &Executor, run: &str, policy: RecoveryPolicy) {
    let last = checkpoint(&format!("{run}/7"), 0);
    let handle = format!("handle of {run}");
    executor.recover(Recover::new(run, policy).handle(handle).last_checkpoint(last)).unwrap();
}

const DONE: [&str; 4] = ["started", "checkpoint_selected", "client_created", "completed"];

#[test]
fn crc_01_the_checkpoint_that_is_given_is_restored_with_the_optimizer() {
    let world = World::new();
    let (executor, calls) = (executor(&world), Calls::default());
    recover(&executor, "run-1", calls.on(policy()));
    world.clock.settle();
    let restores = world.with(|service| service.restores.clone());
    assert_eq!(
        (restores.len(), &*restores[0].run, &*restores[0].checkpoint.path, restores[0].restore_optimizer),
        (1, "run-1", "run-1/7", true)
    );
    assert_eq!(world.steps("run-1"), DONE);
    assert_eq!(calls.take(), ["run-1 (handle of run-1) -> new-1 (handle of new-1) from run-1/7"]);
    assert_eq!(world.with(|service| service.listings) + world.fetches("run-1"), 0, "nobody needed to ask");
    recover(&executor, "run-2", policy().restore_optimizer(false));
    world.clock.settle();
    assert!(!world.with(|service| service.restores[1].restore_optimizer));
    assert!(executor.runs().is_empty());
}

#[test]
fn crc_02_what_always_fails_backs_off_and_is_exhausted() {
    let world = World::new();
    let (executor, calls) = (executor(&world), Calls::default());
    world.restore_faults([Fault::Refuse, Fault::Refuse]);
    recover(&executor, "run-1", calls.on(policy().max_attempts(2)));
    world.clock.settle();
    assert_eq!(world.steps("run-1"), ["started", "checkpoint_selected", "failed"]);
    assert_eq!(world.last(RecoveryStep::Failed).retry_in, Some(secs(5)));
    let status = executor.status().recovery.unwrap();
    assert_eq!((status.queued, status.in_progress, status.waiting), (0, 0, 1));
    assert_eq!(status.incidents[0].next_attempt.unwrap().as_micros(), 5_000_000);
    world.clock.run_for(secs(4));
    assert_eq!(world.steps("run-1").len(), 3);
    world.clock.run_for(secs(1));
    assert_eq!(world.steps("run-1")[3..], ["started", "checkpoint_selected", "failed", "exhausted"]);
    assert_eq!(world.last(RecoveryStep::Failed).retry_in, None);
    assert_eq!(calls.take(), ["run-1 failed: refused"]);
    assert!(executor.stop(secs(1)).is_clean());
}

#[test]
fn wrc_01_an_attempt_that_panics_frees_its_place() {
    let world = World::new();
    let executor = executor(&world);
    world.restore_faults([Fault::Panic]);
    recover(&executor, "run-1", policy());
    recover(&executor, "run-2", policy());
    world.clock.settle();
    assert_eq!(world.steps("run-1"), ["started", "checkpoint_selected", "failed"]);
    assert_eq!(world.steps("run-2"), DONE);
    let error = world.last(RecoveryStep::Failed).error.clone().unwrap();
    assert_eq!((error.kind(), &*error.to_string()), (ErrorKind::Panicked, "panicked: boom"));
    world.clock.run_for(secs(5));
    assert_eq!(world.steps("run-1")[3..], DONE);
}

#[test]
fn wrc_02_an_attempt_that_hangs_frees_its_place_at_its_deadline() {
    let world = World::new();
    let executor = executor(&world);
    let gate = Gate::default();
    world.restore_faults([Fault::Hang(gate.clone())]);
    recover(&executor, "run-1", policy().attempt_timeout(secs(10)));
    recover(&executor, "run-2", policy());
    world.clock.run_for(secs(9));
    assert_eq!((world.steps("run-1").len(), world.steps("run-2").len()), (2, 0));
    world.clock.run_for(secs(1));
    assert_eq!(world.steps("run-1"), ["started", "checkpoint_selected", "failed"]);
    let error = world.last(RecoveryStep::Failed).error.clone().unwrap();
    assert_eq!(
        (error.kind(), &*error.to_string()),
        (ErrorKind::Timeout, "still restoring the run after 10s")
    );
    assert_eq!(world.steps("run-2"), DONE, "the place is free while the call is still stuck");
    assert_eq!(executor.status().recovery.unwrap().stuck, 1);
    world.clock.run_for(secs(5));
    assert_eq!(world.steps("run-1")[3..], DONE);
    // What the late call makes is nobody's, and is discarded.
    gate.open();
    world.clock.settle();
    assert_eq!(world.with(|service| service.discarded.clone()), ["new-3"]);
    assert_eq!(world.count(RecoveryStep::Completed), 2);
    assert_eq!((executor.status().late, executor.status().recovery.unwrap().stuck), (1, 0));
    assert!(executor.stop(secs(1)).is_clean());
}

#[test]
fn wrc_02_a_late_answer_is_not_taken_for_the_next_attempts() {
    let world = World::new();
    let executor = executor(&world);
    let (first, second) = (Gate::default(), Gate::default());
    world.restore_faults([Fault::Hang(first.clone()), Fault::Hang(second.clone())]);
    recover(&executor, "run-1", policy().attempt_timeout(secs(10)));
    world.clock.run_for(secs(15));
    assert_eq!((first.waiting(), second.waiting()), (1, 1));
    first.open();
    world.clock.settle();
    assert_eq!(world.with(|service| service.discarded.clone()), ["new-1"]);
    assert_eq!(world.count(RecoveryStep::Completed), 0);
    second.open();
    world.clock.settle();
    assert_eq!(world.last(RecoveryStep::Completed).restored.as_deref(), Some("new-2"));
}

#[test]
fn wrc_02_a_stop_names_the_attempt_that_hangs() {
    let world = World::new();
    let executor = executor(&world);
    let gate = Gate::default();
    world.restore_faults([Fault::Hang(gate.clone())]);
    recover(&executor, "run-1", policy().attempt_timeout(secs(10)));
    world.clock.run_for(secs(12));
    let report = executor.stop(secs(0));
    let straggler = &report.stragglers()[0];
    assert_eq!(
        (&*straggler.name, &*straggler.thread, straggler.phase, straggler.stuck_for),
        ("x (run run-1)", "rec/x", "its attempt", secs(12))
    );
    assert_eq!(world.steps("run-1").last(), Some(&"cancelled"));
    gate.open();
    world.clock.settle();
    assert_eq!(world.with(|service| service.discarded.clone()), ["new-1"]);
    assert!(executor.stop(secs(1)).is_clean());
}

#[test]
fn wrc_04_what_cannot_help_is_not_tried_again() {
    let world = World::new();
    let (executor, calls) = (executor(&world), Calls::default());
    world.restore_faults([Fault::Terminal]);
    recover(&executor, "run-1", calls.on(policy()));
    let best = policy().checkpoint_strategy(CheckpointStrategy::best());
    recover(&executor, "run-2", calls.on(best));
    world.clock.run_for(secs(600));
    assert_eq!(world.steps("run-1"), ["started", "checkpoint_selected", "failed", "exhausted"]);
    assert_eq!(world.steps("run-2"), ["started", "failed", "exhausted"]);
    assert_eq!(
        calls.take(),
        [
            "run-1 failed: not allowed",
            "run-2 failed: no checkpoint to restore from that has the metric \"loss\" (1 known, 0 of them not \
             usable)",
        ]
    );
}

#[test]
fn wrc_05_an_answer_that_cannot_be_used_loses_nothing() {
    let clock = ManualClock::default();
    let env = Env::manual(&clock).unwrap();
    let discarded = Arc::new(AtomicU64::new(0));
    struct Odd(Arc<AtomicU64>);
    impl loopkeeper::recovery::Remedy for Odd {
        fn restore(&self, _: &Context, request: &Restore) -> Result<Restored, loopkeeper::BoxError> {
            Ok(Restored::new(if request.run == "run-1" { "" } else { "new" }))
        }
        fn discard(&self, _: &Context, _: &Restored) -> Result<(), loopkeeper::BoxError> {
            self.0.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
    }
    let source = |_: &Context, run: &str| Ok(TrainingRun::new(run));
    let executor =
        Executor::start_in(&env, ExecutorConfig::new("x"), source, Odd(discarded.clone())).unwrap();
    for run in ["run-1", "run-2"] {
        recover(&executor, run, policy());
    }
    clock.settle();
    let words: Vec<_> = env.events_after(0, 100).events.iter().map(|event| event.what.as_str()).collect();
    assert_eq!(
        words[1..],
        [
            "recovery_started",
            "recovery_checkpoint_selected",
            "recovery_failed",
            "recovery_exhausted",
            "recovery_started",
            "recovery_checkpoint_selected",
            "recovery_client_created",
            "recovery_completed",
        ]
    );
    assert_eq!(discarded.load(Ordering::SeqCst), 1);
}

#[test]
fn wrc_06_a_callback_that_hangs_or_calls_back_holds_up_nobody() {
    let world = World::new();
    let executor = Arc::new(executor(&world));
    let gate = Gate::default();
    let (clock, theirs, held) = (world.clock.clone(), Arc::downgrade(&executor), gate.clone());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let answers = asked.clone();
    recover(
        &executor,
        "run-1",
        policy().on_recovery(move |_| {
            let executor = theirs.upgrade().unwrap();
            answers.lock().unwrap().push(executor.recover(Recover::new("run-1", policy())).is_ok());
            answers.lock().unwrap().push(executor.cancel("run-9").is_err());
            held.pass(&clock);
            panic!("boom");
        }),
    );
    for n in 2..6 {
        recover(&executor, &format!("run-{n}"), policy());
    }
    world.clock.settle();
    assert_eq!(world.with(|service| service.restores.len()), 5);
    assert_eq!(*asked.lock().unwrap(), [true, true]);
    gate.open();
    world.clock.settle();
    assert_eq!(world.env.callback_panics(), 1);
    assert_eq!(world.steps("run-5"), DONE);
    drop(executor);
}

#[test]
fn wrc_07_a_panic_of_the_source_is_a_failed_attempt() {
    let world = World::new();
    let executor = executor(&world);
    world.fetch_fault("run-1", Fault::Panic);
    world.add("run-1", &["run-1/3"]);
    let source = {
        let world = world.clone();
        // No list of checkpoints: the last one that a fetch tells of.
        move |cx: &Context, run: &str| loopkeeper::recovery::RunSource::fetch(&world, cx, run)
    };
    let config = ExecutorConfig::new("y");
    let other = Executor::start_in(&world.env, config, source, world.clone()).unwrap();
    other.recover(Recover::new("run-1", policy())).unwrap();
    world.clock.settle();
    assert_eq!(world.steps("run-1"), ["started", "failed"]);
    world.clock.run_for(secs(5));
    assert_eq!(world.steps("run-1")[2..], DONE);
    drop(executor);
}

#[test]
fn wrc_10_a_policy_is_checked_whoever_made_it() {
    let world = World::new();
    let executor = executor(&world);
    let refused = |policy: RecoveryPolicy| executor.recover(Recover::new("run-1", policy)).unwrap_err();
    let error = refused(policy().max_attempts(0));
    assert_eq!(
        (error.kind(), &*error.to_string()),
        (ErrorKind::InvalidArgument, "max_attempts: must be at least 1, found 0")
    );
    assert_eq!(refused(RecoveryPolicy::default()).kind(), ErrorKind::InvalidState);
    let error = executor.recover(Recover::new("a\nb", policy())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(world.told().is_empty());
}

#[test]
fn what_is_being_recovered_is_refused_as_a_duplicate() {
    let world = World::new();
    let executor = world.executor(ExecutorConfig::new("x").max_queued(1));
    let gate = Gate::default();
    world.restore_faults([Fault::Hang(gate.clone()), Fault::Refuse]);
    recover(&executor, "run-1", policy());
    world.clock.settle();
    recover(&executor, "run-2", policy());
    let refused = |run: &str| executor.recover(Recover::new(run, policy())).unwrap_err();
    assert_eq!(refused("run-1").kind(), ErrorKind::Duplicate, "in an attempt");
    assert_eq!(refused("run-2").kind(), ErrorKind::Duplicate, "in the queue");
    let full = refused("run-3");
    assert_eq!((full.kind(), &*full.to_string()), (ErrorKind::Budget, "x: max_queued: 1 runs wait already"));
    gate.open();
    world.clock.settle();
    assert_eq!(refused("run-2").kind(), ErrorKind::Duplicate, "waits for a retry");
    assert!(executor.stop(secs(1)).is_clean());
    assert_eq!(refused("run-3").kind(), ErrorKind::InvalidState);
}

#[test]
fn wrc_13_an_older_checkpoint_is_tried_when_the_newest_fails() {
    let world = World::new();
    let executor = executor(&world);
    world.add("run-1", &["run-1/7", "run-1/6", "run-1/5"]);
    world.restore_faults([Fault::Refuse, Fault::Refuse, Fault::Gone]);
    recover(&executor, "run-1", policy().max_attempts(4));
    world.clock.run_for(secs(600));
    assert_eq!(world.paths(), ["run-1/7", "run-1/7", "run-1/6", "run-1/5"]);
    assert_eq!(world.steps("run-1").last(), Some(&"completed"));
    // One that is gone is left at once, without a wait.
    world.add("run-2", &["run-2/7", "run-2/6"]);
    world.restore_faults([Fault::Gone]);
    recover(&executor, "run-2", policy());
    world.clock.settle();
    assert_eq!(world.paths()[4..], ["run-2/7", "run-2/6"]);
}

#[test]
fn wrc_14_what_waits_can_be_seen_cancelled_and_drained() {
    let world = World::new();
    let executor = executor(&world);
    let gate = Gate::default();
    world.restore_faults([Fault::Refuse, Fault::Hang(gate.clone())]);
    for run in ["run-1", "run-2", "run-3", "run-4"] {
        recover(&executor, run, policy());
    }
    world.clock.settle();
    let status = executor.status().recovery.unwrap();
    assert_eq!((status.queued, status.in_progress, status.waiting), (2, 1, 1));
    let phases: Vec<_> = executor.runs().iter().map(|run| run.phase).collect();
    assert_eq!(phases, ["waiting", "checkpoint_selected", "detected", "detected"]);
    executor.cancel("run-3").unwrap();
    executor.cancel("run-1").unwrap();
    assert_eq!(executor.cancel("run-3").unwrap_err().kind(), ErrorKind::NotFound);
    assert!(!executor.drain(secs(0)), "an attempt is under way");
    let error = executor.recover(Recover::new("run-5", policy())).unwrap_err();
    assert_eq!((error.kind(), &*error.to_string()), (ErrorKind::InvalidState, "x: it is being drained"));
    gate.open();
    world.clock.settle();
    assert!(executor.drain(secs(5)));
    assert_eq!(world.steps("run-3"), ["cancelled"]);
    assert_eq!(world.steps("run-4"), DONE);
    assert!(executor.stop(secs(1)).is_clean());
}

#[test]
fn wrc_14_a_stop_tells_what_it_did_not_get_to() {
    let world = World::new();
    let (executor, calls) = (executor(&world), Calls::default());
    let gate = Gate::default();
    world.restore_faults([Fault::Hang(gate.clone())]);
    for run in ["run-1", "run-2"] {
        recover(&executor, run, calls.on(policy()));
    }
    world.clock.settle();
    let report = executor.stop(secs(0));
    assert_eq!(report.stragglers().len(), 1);
    assert_eq!(
        (world.steps("run-1").last(), world.steps("run-2").last()),
        (Some(&"cancelled"), Some(&"cancelled"))
    );
    assert_eq!(world.last(RecoveryStep::Cancelled).why.as_deref(), Some("it was stopped"));
    gate.open();
    world.clock.settle();
    assert_eq!(world.with(|service| service.restores.len()), 1);
    assert!(calls.take().is_empty(), "a cancel is no failure");
    executor.restart().unwrap();
    recover(&executor, "run-2", policy());
    world.clock.settle();
    assert_eq!(world.steps("run-2")[1..], DONE);
}

#[test]
fn wrc_15_each_attempt_has_its_own_key() {
    let world = World::new();
    let (executor, other) = (executor(&world), world.executor(ExecutorConfig::new("x")));
    world.restore_faults([Fault::Refuse, Fault::Refuse]);
    recover(&executor, "run-1", policy());
    world.clock.run_for(secs(60));
    recover(&executor, "run-1", policy());
    recover(&other, "run-1", policy());
    world.clock.settle();
    let mut keys: Vec<_> = world
        .with(|service| service.restores.iter().map(|request| request.idempotency_key.clone()).collect());
    assert_eq!(keys.len(), 5);
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 5);
}

#[test]
fn wrc_16_a_due_retry_goes_before_those_that_wait_for_their_first_attempt() {
    let world = World::new();
    let executor = executor(&world);
    let gate = Gate::default();
    world.restore_faults([Fault::Refuse, Fault::Refuse, Fault::Hang(gate.clone())]);
    for n in 1..=6 {
        recover(&executor, &format!("run-{n}"), policy());
    }
    world.clock.settle();
    assert_eq!(world.with(|service| service.restores.len()), 3);
    // Both fall due while another is at work: the first to fall due is first.
    world.clock.run_for(secs(20));
    gate.open();
    world.clock.settle();
    let order: Vec<_> =
        world.with(|service| service.restores.iter().map(|request| request.run.clone()).collect());
    assert_eq!(order, ["run-1", "run-2", "run-3", "run-1", "run-2", "run-4", "run-5", "run-6"]);
}

#[test]
fn wrc_16_jitter_only_shortens() {
    let world = World::new();
    let executor = executor(&world);
    world.restore_faults((0..40).map(|_| Fault::Refuse));
    for n in 0..40 {
        recover(&executor, &format!("run-{n}"), policy().jitter(0.5));
    }
    world.clock.settle();
    let delays: Vec<_> = world.told().iter().filter_map(|event| event.retry_in).collect();
    assert_eq!(delays.len(), 40);
    assert!(delays.iter().all(|delay| *delay <= secs(5) && *delay >= secs(5) / 2));
    assert!(delays.iter().any(|delay| *delay < secs(4)) && delays.iter().any(|delay| *delay > secs(4)));
}

#[test]
fn wrc_18_the_limit_holds() {
    let world = World::new();
    let executor = world.executor(ExecutorConfig::new("x").max_concurrent(3));
    let gate = Gate::default();
    world.restore_faults((0..9).map(|_| Fault::Hang(gate.clone())));
    for n in 0..9 {
        recover(&executor, &format!("run-{n}"), policy());
    }
    world.clock.settle();
    assert_eq!((gate.waiting(), executor.status().recovery.unwrap().queued), (3, 6));
    gate.release_waiting();
    world.clock.settle();
    assert_eq!(gate.waiting(), 3);
    gate.open();
    world.clock.settle();
    assert_eq!(world.count(RecoveryStep::Completed), 9);
    assert!(executor.stop(secs(1)).is_clean());
}

#[test]
fn a_retry_on_request_does_not_wait() {
    let world = World::new();
    let executor = executor(&world);
    world.restore_faults([Fault::Refuse]);
    recover(&executor, "run-1", policy());
    world.clock.settle();
    executor.retry("run-1").unwrap();
    world.clock.settle();
    assert_eq!(world.steps("run-1")[3..], DONE);
    assert_eq!(executor.retry("run-1").unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn an_incident_can_be_written_down_while_it_is_under_way() {
    let world = World::new();
    let executor = executor(&world);
    world.restore_faults([Fault::Refuse]);
    recover(&executor, "run-1", policy());
    world.clock.settle();
    let incident = executor.incident("run-1").unwrap();
    let text = serde_json::to_string(&incident).unwrap();
    assert_eq!(serde_json::from_str::<loopkeeper::recovery::Incident>(&text).unwrap(), incident);
    assert!(text.contains(r#""phase":"waiting","attempt":1"#), "{text}");
}

#[test]
fn stopped_from_its_own_call_it_only_cancels() {
    let clock = ManualClock::default();
    let env = Env::manual(&clock).unwrap();
    let own: Arc<Mutex<Option<Executor>>> = Arc::default();
    let (theirs, found) = (own.clone(), Arc::new(Mutex::new(None)));
    let reported = found.clone();
    let source = |_: &Context, run: &str| Ok(TrainingRun::new(run));
    let remedy = move |_: &Context, _: &Restore| {
        let report = theirs.lock().unwrap().as_ref().unwrap().stop(secs(5));
        *reported.lock().unwrap() = report.errors().first().map(loopkeeper::Error::kind);
        Ok(Restored::new("new"))
    };
    let executor = Executor::start_in(&env, ExecutorConfig::new("x"), source, remedy).unwrap();
    *own.lock().unwrap() = Some(executor);
    recover(own.lock().unwrap().as_ref().unwrap(), "run-1", policy());
    clock.settle();
    assert_eq!(*found.lock().unwrap(), Some(ErrorKind::InvalidState));
    let executor = own.lock().unwrap().take().unwrap();
    assert!(executor.stop(secs(1)).is_clean());
}

#[test]
fn what_happens_is_counted_and_every_series_is_there_from_the_start() {
    let world = World::new();
    type Series = Vec<(String, Arc<AtomicU64>)>;
    let series: Arc<Mutex<Series>> = Arc::default();
    let kept = series.clone();
    let observer = Observer {
        counter: Some(Arc::new(move |name, labels| {
            let cell = Arc::new(AtomicU64::new(0));
            kept.lock().unwrap().push((format!("{name} {}", labels[0]), cell.clone()));
            Counter::atomic(cell)
        })),
        ..Observer::default()
    };
    let config = EnvConfig::default().clock(&world.clock).spread(false).seed(0).observer(observer);
    let env = Env::with(config).unwrap();
    let executor = Executor::start_in(&env, ExecutorConfig::new("x"), world.clone(), world.clone()).unwrap();
    assert_eq!(series.lock().unwrap().len(), RecoveryStep::ALL.len());
    world.restore_faults([Fault::Refuse]);
    recover(&executor, "run-1", policy());
    world.clock.run_for(secs(5));
    let count = |step: &str| {
        let name = format!("recovery_events_total event={step}");
        let series = series.lock().unwrap();
        series.iter().find(|(one, _)| *one == name).unwrap().1.load(Ordering::Relaxed)
    };
    assert_eq!((count("started"), count("failed"), count("completed"), count("verified")), (2, 1, 1, 0));
}

/// What was told of each span: its name, its attributes and its error.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<String>>>);

impl loopkeeper::observe::SpanSink for Spans {
    fn attr(&self, attr: loopkeeper::observe::Attr) {
        self.0.lock().unwrap().push(attr.to_string());
    }
    fn error(&self, error: &str) {
        self.0.lock().unwrap().push(format!("error {error}"));
    }
    fn end(&self) {
        self.0.lock().unwrap().push("end".to_owned());
    }
}

#[test]
fn each_attempt_is_a_span() {
    let world = World::new();
    let spans = Spans::default();
    let sink = spans.clone();
    let observer = Observer {
        span: Some(Arc::new(move |name, attrs| {
            sink.0.lock().unwrap().push(format!("{name} {}", attrs[0]));
            Arc::new(sink.clone())
        })),
        ..Observer::default()
    };
    let config = EnvConfig::default().clock(&world.clock).spread(false).seed(0).observer(observer);
    let env = Env::with(config).unwrap();
    let executor = Executor::start_in(&env, ExecutorConfig::new("x"), world.clone(), world.clone()).unwrap();
    world.restore_faults([Fault::Refuse]);
    recover(&executor, "run-1", policy());
    world.clock.run_for(secs(5));
    let begin = "recovery_attempt recovery=x";
    assert_eq!(
        *spans.0.lock().unwrap(),
        [begin, "run=run-1", "attempt=1", "error refused", "end", begin, "run=run-1", "attempt=2", "end"]
    );
}

#[test]
fn who_asks_to_be_left_alone_is_left_alone() {
    let world = World::new();
    let executor = executor(&world);
    world.restore_faults([Fault::Busy(secs(90))]);
    recover(&executor, "run-1", policy());
    world.clock.run_for(secs(89));
    assert_eq!(world.last(RecoveryStep::Failed).retry_in, Some(secs(90)));
    assert_eq!(world.steps("run-1"), ["started", "checkpoint_selected", "failed"]);
    world.clock.run_for(secs(1));
    assert_eq!(world.steps("run-1")[3..], DONE);
}

#[test]
fn a_run_restored_under_the_name_of_another_takes_nothing_from_it() {
    let clock = ManualClock::default();
    let env = Env::manual(&clock).unwrap();
    let source = |_: &Context, run: &str| Ok(TrainingRun::new(run));
    let gate = Gate::default();
    let (held, theirs) = (gate.clone(), clock.clone());
    let remedy = move |_: &Context, request: &Restore| match &*request.run {
        "run-1" => {
            held.pass(&theirs);
            Ok(Restored::new("run-2"))
        }
        run => Ok(Restored::new(format!("{run}-new"))),
    };
    let config = ExecutorConfig::new("x").max_concurrent(1);
    let executor = Executor::start_in(&env, config, source, remedy).unwrap();
    for run in ["run-1", "run-2"] {
        recover(&executor, run, policy());
    }
    clock.settle();
    gate.open();
    clock.settle();
    let done = |run: &str| {
        let events = env.events_after(0, 100).events.into_iter();
        let is_its = |event: &std::sync::Arc<loopkeeper::Event>| match &event.what {
            loopkeeper::EventKind::Recovery(event) => {
                &*event.run_id == run && event.step == RecoveryStep::Completed
            }
            _ => false,
        };
        events.filter(is_its).count()
    };
    assert_eq!((done("run-1"), done("run-2")), (1, 1));
    assert!(executor.runs().is_empty() && executor.drain(secs(0)));
    assert!(executor.stop(secs(1)).is_clean());
}

/// An object whose end goes wrong.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("boom");
    }
}

#[test]
fn an_object_that_panics_when_it_is_dropped_ends_nothing() {
    let world = World::new();
    let executor = executor(&world);
    let gate = Gate::default();
    world.restore_faults([Fault::Hang(gate.clone())]);
    for run in ["run-1", "run-2", "run-3"] {
        executor
            .recover(Recover::new(run, policy()).handle(Bomb).last_checkpoint(checkpoint("7", 0)))
            .unwrap();
    }
    world.clock.settle();
    executor.cancel("run-2").unwrap();
    gate.release_waiting();
    world.clock.settle();
    assert_eq!(world.count(RecoveryStep::Completed), 2);
    world.restore_faults([Fault::Refuse]);
    executor
        .recover(Recover::new("run-4", policy()).handle(Bomb).last_checkpoint(checkpoint("7", 0)))
        .unwrap();
    world.clock.settle();
    assert!(executor.stop(secs(1)).is_clean());
    executor.restart().unwrap();
    recover(&executor, "run-5", policy());
    world.clock.settle();
    assert_eq!(world.steps("run-5"), DONE);
}

#[test]
fn the_best_is_not_guessed_while_the_others_are_not_known() {
    let world = World::new();
    let executor = executor(&world);
    let measured = |path: &str, age, loss| {
        let mut checkpoint = checkpoint(path, age);
        checkpoint.metrics.insert("loss".to_owned(), loss);
        checkpoint
    };
    world.with(|service| {
        let all = vec![measured("7", 0, 0.5), measured("6", 1, 0.1)];
        service.checkpoints.insert("run-1".to_owned(), all.clone());
        service.checkpoints.insert("run-2".to_owned(), all);
    });
    let best = policy().checkpoint_strategy(CheckpointStrategy::best());
    let ask = |run: &str| {
        let request = Recover::new(run, best.clone()).last_checkpoint(measured("7", 0, 0.5));
        executor.recover(request).unwrap();
        world.clock.settle();
    };
    world.listing_fault(Fault::Refuse);
    ask("run-1");
    assert_eq!(world.steps("run-1"), ["started", "failed"]);
    world.clock.run_for(secs(5));
    assert_eq!(world.paths(), ["6"]);
    // A service that has no list has what it told of.
    world.listing_fault(Fault::Terminal);
    ask("run-2");
    assert_eq!(world.paths(), ["6", "7"]);
}

#[test]
fn the_longest_delays_and_the_most_attempts_are_no_trouble() {
    use std::time::Duration;
    let world = World::new();
    let executor = world.executor(ExecutorConfig::new("x").max_concurrent(u32::MAX).max_queued(u32::MAX));
    let longest = policy()
        .backoff(Duration::MAX)
        .max_backoff(Duration::MAX)
        .jitter(1.0)
        .poll_interval(Duration::MAX)
        .poll_timeout(Duration::MAX)
        .attempt_timeout(Duration::MAX)
        .relapse_window(Duration::MAX)
        .max_attempts(u32::MAX)
        .fallback_after(u32::MAX)
        .verify_polls(u32::MAX);
    assert_eq!(longest.explain().unwrap().attempts, u32::MAX);
    world.restore_faults([Fault::Refuse]);
    recover(&executor, "run-1", longest.clone().jitter(0.0));
    world.clock.settle();
    let status = executor.status().recovery.unwrap();
    assert_eq!((status.waiting, status.incidents[0].attempt), (1, 1));
    executor.retry("run-1").unwrap();
    world.clock.settle();
    assert_eq!(world.steps("run-1")[3..], DONE);
    let monitor = world.monitor(longest);
    world.add("run-2", &["7"]);
    world.corrupt("run-2", true);
    monitor.watch_run("run-2", plain()).unwrap();
    world.clock.run_for(secs(3600));
    assert_eq!(world.count(RecoveryStep::Completed), 2);
    assert!(monitor.stop(secs(1)).is_clean() && executor.stop(secs(1)).is_clean());
}

#[test]
fn a_wait_from_its_own_call_does_not_wait_for_itself() {
    let clock = ManualClock::default();
    let env = Env::manual(&clock).unwrap();
    let own: Arc<Mutex<Option<Arc<loopkeeper::recovery::RecoveryMonitor>>>> = Arc::default();
    let theirs = own.clone();
    let waited = Arc::new(Mutex::new(None));
    let answer = waited.clone();
    let source = |_: &Context, run: &str| {
        let newest = loopkeeper::recovery::Checkpoint::new("7");
        Ok(TrainingRun::new(run).corrupted(run == "run-1").last_checkpoint(newest))
    };
    let remedy = move |_: &Context, _: &Restore| {
        let monitor = theirs.lock().unwrap().clone().unwrap();
        *answer.lock().unwrap() = Some(monitor.wait_idle(secs(600)));
        Ok(Restored::new("new"))
    };
    let config = loopkeeper::recovery::RecoveryMonitorConfig::new("m", policy());
    let monitor = loopkeeper::recovery::RecoveryMonitor::new(&env, config, source, remedy).unwrap();
    let monitor = Arc::new(monitor);
    *own.lock().unwrap() = Some(monitor.clone());
    monitor.restart().unwrap();
    monitor.watch_run("run-1", plain()).unwrap();
    clock.settle();
    assert_eq!(*waited.lock().unwrap(), Some(false));
    assert!(monitor.wait_idle(secs(5)) && monitor.stop(secs(1)).is_clean());
    drop(own.lock().unwrap().take());
}

#[test]
fn an_attempt_is_told_to_end_by_a_cancel_its_deadline_and_a_stop() {
    let clock = ManualClock::default();
    let env = Env::manual(&clock).unwrap();
    let gate = Gate::default();
    let ended: Arc<Mutex<Vec<String>>> = Arc::default();
    let (held, theirs, told) = (gate.clone(), clock.clone(), ended.clone());
    let source = |_: &Context, run: &str| Ok(TrainingRun::new(run));
    let remedy = move |cx: &Context, request: &Restore| {
        assert!(!cx.is_cancelled());
        held.pass(&theirs);
        told.lock().unwrap().push(format!("{} {}", request.run, cx.is_cancelled()));
        Err("too late".into())
    };
    let config = ExecutorConfig::new("x").max_concurrent(4);
    let executor = Executor::start_in(&env, config, source, remedy).unwrap();
    recover(&executor, "cancelled", policy());
    recover(&executor, "late", policy().attempt_timeout(secs(10)).max_attempts(1));
    recover(&executor, "stopped", policy());
    clock.settle();
    executor.cancel("cancelled").unwrap();
    clock.run_for(secs(10));
    gate.release_waiting();
    clock.settle();
    let take = || {
        let mut ended = std::mem::take(&mut *ended.lock().unwrap());
        ended.sort();
        ended
    };
    // The third was not told to; it fails and is tried again.
    assert_eq!(take(), ["cancelled true", "late true", "stopped false"]);
    clock.run_for(secs(5));
    let _ = executor.stop(secs(0));
    gate.open();
    clock.settle();
    assert_eq!(take(), ["stopped true"]);
    assert!(executor.stop(secs(1)).is_clean());
}

#[test]
fn wrc_02_an_attempt_that_is_too_late_to_choose_restores_nothing() {
    let world = World::new();
    let executor = executor(&world);
    world.add("run-1", &["7"]);
    let gate = Gate::default();
    world.listing_fault(Fault::Hang(gate.clone()));
    let policy = policy().attempt_timeout(secs(10)).max_attempts(1);
    executor.recover(Recover::new("run-1", policy)).unwrap();
    world.clock.run_for(secs(10));
    assert_eq!(world.steps("run-1"), ["started", "failed", "exhausted"]);
    let error = world.last(RecoveryStep::Failed).error.clone().unwrap();
    assert_eq!(error.to_string(), "still choosing the checkpoint after 10s");
    gate.open();
    world.clock.settle();
    assert_eq!((world.paths().len(), world.steps("run-1").len()), (0, 3));
}

#[test]
fn wrc_14_a_drain_waits_for_what_was_cancelled_to_end() {
    let world = World::new();
    let executor = executor(&world);
    let gate = Gate::default();
    world.restore_faults([Fault::Hang(gate.clone())]);
    recover(&executor, "run-1", policy());
    world.clock.settle();
    executor.cancel("run-1").unwrap();
    assert!(executor.runs().is_empty() && !executor.drain(secs(0)), "its call is still at work");
    gate.open();
    assert!(executor.drain(secs(5)));
    assert_eq!(world.with(|service| service.discarded.clone()), ["new-1"]);
}

#[test]
fn wrc_13_without_times_the_last_checkpoint_is_tried_again_before_an_older_one() {
    let world = World::new();
    let executor = executor(&world);
    let undated = ["run-1/5", "run-1/6", "run-1/7"].map(loopkeeper::recovery::Checkpoint::new);
    let last = undated[2].clone();
    world.with(|service| service.checkpoints.insert("run-1".to_owned(), undated.to_vec()));
    world.restore_faults([Fault::Refuse, Fault::Refuse]);
    executor.recover(Recover::new("run-1", policy()).last_checkpoint(last)).unwrap();
    world.clock.run_for(secs(60));
    assert_eq!(world.paths(), ["run-1/7", "run-1/7", "run-1/5"]);
}
