//! Runs that are polled, corrupted, restored and proven well.

use std::sync::Arc;

use loopkeeper::event::RecoveryStep;
use loopkeeper::observe::{Counter, Observer};
use loopkeeper::recovery::{
    Executor, ExecutorConfig, RecoveryMonitor, RecoveryMonitorConfig, RecoveryPolicy,
};
use loopkeeper::testing::Gate;
use loopkeeper::{Env, EnvConfig, ErrorKind, EventKind, Health, ManualClock};

use crate::fixture::*;

const RESTORED: [&str; 5] = ["detected", "started", "checkpoint_selected", "client_created", "completed"];

fn one(world: &World, policy: RecoveryPolicy) -> RecoveryMonitor {
    let monitor = world.monitor(policy);
    monitor.watch_run("run-1", plain().with("team", "north").handle("handle of run-1".to_owned())).unwrap();
    world.clock.settle();
    monitor
}

#[test]
fn crc_08_a_run_is_polled_corrupted_restored_and_verified() {
    let world = World::new();
    world.add("run-1", &["run-1/7"]);
    let calls = Calls::default();
    let monitor = one(&world, calls.on(policy()));
    world.clock.run_for(secs(60));
    assert_eq!((world.fetches("run-1"), world.steps("run-1").len()), (3, 0));
    assert_eq!(monitor.status().health, Health::Ready);
    world.corrupt("run-1", true);
    world.clock.run_for(secs(30));
    assert_eq!(world.steps("run-1"), RESTORED);
    assert_eq!(monitor.status().health, Health::Degraded);
    assert_eq!(monitor.incident("run-1").unwrap().phase.as_str(), "completed");
    world.clock.run_for(secs(90));
    assert_eq!(world.steps("new-1"), ["verified"]);
    assert_eq!(world.last(RecoveryStep::Verified).attempt, Some(1));
    assert_eq!(monitor.status().health, Health::Ready);
    let runs = monitor.runs();
    assert_eq!((&*runs[0].run, &*runs[0].first_run, runs.len()), ("new-1", "run-1", 1));
    assert_eq!(world.with(|service| service.retired.clone()), ["run-1"]);

    // And once more, with the second checkpoint and the second handle.
    world.add("new-1", &["new-1/9"]);
    world.corrupt("new-1", true);
    world.clock.run_for(secs(600));
    assert_eq!(world.steps("new-1")[..3], ["verified", "relapsed", "started"]);
    assert_eq!(
        calls.take(),
        [
            "run-1 (handle of run-1) -> new-1 (handle of new-1) from run-1/7",
            "new-1 (handle of new-1) -> new-2 (handle of new-2) from new-1/9",
        ]
    );
    assert!(monitor.stop(secs(1)).is_clean());
}

#[test]
fn crc_03_a_corrupted_run_is_detected_and_restored_from_its_checkpoint() {
    let world = World::new();
    world.add("run-1", &["run-1/7", "run-1/6"]);
    world.corrupt("run-1", true);
    let monitor = one(&world, policy());
    assert_eq!(world.steps("run-1"), RESTORED);
    let detected = world.last(RecoveryStep::Detected);
    assert_eq!((detected.checkpoint.as_deref(), detected.attempt), (Some("run-1/7"), None));
    let created = world.last(RecoveryStep::ClientCreated);
    assert_eq!(
        (
            created.checkpoint.as_deref(),
            created.restored.as_deref(),
            created.attempt,
            created.strategy.as_deref()
        ),
        (Some("run-1/7"), Some("new-1"), Some(1), Some("latest"))
    );
    assert_eq!(created.all_metadata()["team"], "north");
    assert!(monitor.runs().iter().all(|run| run.run != "run-1"), "another took its place");
}

#[test]
fn crc_04_a_run_that_is_well_stays_watched_and_is_not_told_of() {
    let world = World::new();
    world.add("run-1", &[]);
    let monitor = one(&world, policy());
    world.clock.run_for(secs(300));
    assert_eq!((world.told().len(), world.fetches("run-1")), (0, 11));
    assert_eq!(monitor.runs()[0].run, "run-1");
}

#[test]
fn crc_05_a_policy_that_is_off_watches_nothing() {
    let world = World::new();
    let monitor = world.monitor(RecoveryPolicy::default());
    let error = monitor.watch_run("run-1", plain()).unwrap_err();
    assert_eq!(
        (error.kind(), &*error.to_string()),
        (ErrorKind::InvalidState, "enabled: recovery is switched off")
    );
    assert!(monitor.runs().is_empty());
}

#[test]
fn crc_09_one_corrupted_answer_leads_to_one_recovery() {
    let world = World::new();
    world.restored_in_place();
    world.add("run-1", &["run-1/7"]);
    let monitor = one(&world, policy());
    world.corrupt("run-1", true);
    world.clock.run_for(secs(3600));
    assert_eq!(world.steps("run-1"), [&RESTORED[..], &["verified"]].concat());
    assert!(world.with(|service| service.retired.is_empty()), "it is the run itself");
    assert_eq!(monitor.runs()[0].incident, None);
}

#[test]
fn wrc_03_a_missing_checkpoint_is_asked_for_again_and_then_final() {
    let world = World::new();
    world.add("run-1", &[]);
    world.corrupt("run-1", true);
    let monitor = one(&world, policy());
    // The poll told of none, so the source is asked once more, and only once.
    assert_eq!(world.steps("run-1"), ["detected", "started", "failed", "exhausted"]);
    assert_eq!(world.with(|service| service.listings), 1);
    let error = world.last(RecoveryStep::Exhausted).error.clone().unwrap();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().starts_with("no checkpoint to restore from"), "{error}");

    world.add("run-2", &["run-2/3"]);
    world.with(|service| {
        let run = service.runs.get_mut("run-2").unwrap();
        (run.corrupted, run.last_checkpoint) = (true, None);
    });
    monitor.watch_run("run-2", plain()).unwrap();
    world.clock.settle();
    assert_eq!(world.steps("run-2"), RESTORED);
}

#[test]
fn wrc_07_a_source_that_panics_or_fails_loses_no_run() {
    let world = World::new();
    world.add("run-1", &["run-1/7"]);
    world.add("run-2", &[]);
    for fault in [Fault::Panic, Fault::Refuse, Fault::Terminal, Fault::Gone] {
        world.fetch_fault("run-1", fault);
    }
    let monitor = one(&world, policy());
    monitor.watch_run("run-2", plain()).unwrap();
    world.clock.run_for(secs(90));
    assert_eq!(world.steps("run-1"), ["poll_error"; 4]);
    assert_eq!((world.steps("run-2").len(), world.fetches("run-2")), (0, 4));
    let status = monitor.status();
    assert_eq!((status.health, status.failures, status.panics), (Health::Degraded, 4, 1));
    assert_eq!(status.recovery.unwrap().failing, 1);
    assert!(monitor.runs()[0].last_error.as_ref().unwrap().contains("no such checkpoint"));
    world.corrupt("run-1", true);
    world.clock.run_for(secs(30));
    assert_eq!(world.steps("run-1")[4..], RESTORED);
}

#[test]
fn wrc_08_triggers_make_no_more_timers() {
    let world = World::new();
    world.add("run-1", &[]);
    let monitor = one(&world, policy());
    for _ in 0..5 {
        monitor.trigger();
        monitor.watch_run("run-1", plain()).unwrap();
        world.clock.settle();
    }
    assert_eq!(world.fetches("run-1"), 6);
    world.clock.run_for(secs(300));
    assert_eq!(world.fetches("run-1"), 16);
    world.env.trigger("m").unwrap();
    world.clock.settle();
    assert_eq!(world.fetches("run-1"), 17);
}

#[test]
fn a_trigger_during_a_poll_means_one_more_after_it() {
    let world = World::new();
    world.add("run-1", &[]);
    let gate = Gate::default();
    world.fetch_fault("run-1", Fault::Hang(gate.clone()));
    let monitor = one(&world, policy());
    for _ in 0..3 {
        monitor.trigger();
    }
    world.clock.settle();
    assert_eq!(world.fetches("run-1"), 1);
    gate.open();
    world.clock.settle();
    assert_eq!(world.fetches("run-1"), 2);
}

#[test]
fn wrc_09_a_corrupted_run_is_detected_once() {
    let world = World::new();
    world.add("run-1", &["run-1/7"]);
    world.corrupt("run-1", true);
    let gate = Gate::default();
    world.restore_faults([Fault::Hang(gate.clone())]);
    let _monitor = one(&world, policy());
    world.clock.run_for(secs(240));
    assert_eq!(world.fetches("run-1"), 9);
    assert_eq!(world.count(RecoveryStep::Detected), 1);
    gate.open();
    world.clock.settle();
    assert_eq!(world.steps("run-1"), RESTORED);
}

#[test]
fn wrc_11_a_slow_run_holds_up_no_other() {
    let world = World::new();
    let gate = Gate::default();
    for n in 0..20 {
        world.add(&format!("run-{n}"), &[]);
    }
    for n in 0..3 {
        world.fetch_fault(&format!("run-{n}"), Fault::Hang(gate.clone()));
    }
    let config = RecoveryMonitorConfig::new("m", policy().poll_timeout(secs(100))).max_polls(4);
    let monitor = world.monitor_with(config);
    for n in 0..20 {
        monitor.watch_run(&format!("run-{n}"), plain()).unwrap();
    }
    world.clock.run_for(secs(60));
    let fetches: Vec<_> = (0..20).map(|n| world.fetches(&format!("run-{n}"))).collect();
    assert_eq!(fetches[..3], [1; 3]);
    assert_eq!(fetches[3..], [3; 17]);
    // Watching and the rest do not wait either.
    world.add("run-20", &[]);
    monitor.watch_run("run-20", plain()).unwrap();
    assert!(monitor.stop_watching("run-19"));
    world.clock.settle();
    assert_eq!((world.fetches("run-20"), monitor.runs().len()), (1, 20));
    assert!(world.most_polling.load(std::sync::atomic::Ordering::SeqCst) <= 4);
    gate.open();
    world.clock.settle();
}

#[test]
fn wrc_11_polls_that_hang_lose_their_place_and_are_bounded() {
    let world = World::new();
    let gate = Gate::default();
    for n in 0..12 {
        world.add(&format!("run-{n:02}"), &[]);
        if n < 10 {
            world.fetch_fault(&format!("run-{n:02}"), Fault::Hang(gate.clone()));
        }
    }
    let monitor =
        world.monitor_with(RecoveryMonitorConfig::new("m", policy().poll_timeout(secs(2))).max_polls(2));
    for n in 0..12 {
        monitor.watch_run(&format!("run-{n:02}"), plain()).unwrap();
    }
    world.clock.run_for(secs(1));
    assert_eq!(gate.waiting(), 2);
    world.clock.run_for(secs(10));
    // Four threads may hang for each place: then nobody is polled any more.
    assert_eq!((gate.waiting(), world.fetches("run-11")), (8, 0));
    let status = monitor.status();
    assert_eq!((status.health, status.recovery.unwrap().stuck), (Health::Degraded, 8));
    assert!(world.steps("run-00").iter().all(|step| *step == "poll_error"));
    gate.open();
    world.clock.settle();
    assert_eq!((world.fetches("run-11"), monitor.status().late), (1, 8));
    assert_eq!(monitor.status().health, Health::Ready);
    assert_eq!(world.fetches("run-00"), 2, "asked again at once");
    assert!(monitor.stop(secs(1)).is_clean());
}

#[test]
fn a_monitor_that_asks_no_more_is_stale_and_says_for_how_long() {
    let world = World::new();
    let gate = Gate::default();
    for n in 0..6 {
        world.add(&format!("run-{n}"), &[]);
    }
    let config = RecoveryMonitorConfig::new("m", policy().poll_timeout(secs(2))).max_polls(1);
    let monitor = world.monitor_with(config);
    for n in 0..6 {
        monitor.watch_run(&format!("run-{n}"), plain()).unwrap();
    }
    world.clock.run_for(secs(10));
    let status = monitor.status();
    assert_eq!((status.age, status.overdue_for, status.stale), (Some(secs(10)), None, false));
    assert!(status.ready && status.call.is_none() && status.running_for.is_none());
    for n in 0..4 {
        world.fetch_fault(&format!("run-{n}"), Fault::Hang(gate.clone()));
    }
    // The first hangs: it is told as such, and the others wait behind it.
    world.clock.run_for(secs(21));
    let status = monitor.status();
    let call = status.call.unwrap();
    assert_eq!((&*call.phase, call.phase_for, call.stuck), ("run-0: in its poll", secs(1), false));
    assert_eq!((status.running_for, status.overdue_for), (Some(secs(1)), Some(secs(1))));
    assert!(!status.stale && status.ready);
    // All threads that there may be hang, and the fifth run has nobody.
    world.clock.run_for(secs(7));
    assert_eq!((gate.waiting(), world.fetches("run-4")), (4, 1));
    let status = monitor.status();
    assert_eq!((status.age, status.overdue_for, status.stale), (Some(secs(0)), Some(secs(8)), false));
    assert_eq!(
        status.call.as_ref().map(|call| (&*call.phase, call.stuck)),
        Some(("run-0: in its poll", true))
    );
    assert_eq!(status.thread.unwrap().name, "rec/m");
    // A run is polled every 30 s, so by that much it may be late.
    world.clock.run_for(secs(22));
    assert_eq!((monitor.status().overdue_for, monitor.status().stale), (Some(secs(30)), false));
    world.clock.run_for(secs(1));
    let status = monitor.status();
    assert_eq!((status.overdue_for, status.stale, status.ready), (Some(secs(31)), true, false));
    assert!(status.to_string().contains(", stale, overdue for 31.0s"), "{status}");
    let json = serde_json::to_value(&status).unwrap();
    assert_eq!((&json["stale"], &json["overdue_for"]), (&true.into(), &31.0.into()), "{json}");
    gate.open();
    world.clock.settle();
    let status = monitor.status();
    assert_eq!((status.age, status.overdue_for, status.stale), (Some(secs(0)), None, false));
    assert_eq!((world.fetches("run-4"), status.health), (2, Health::Ready));
    assert!(monitor.stop(secs(1)).is_clean());
    assert!(!monitor.status().stale);
}

#[test]
fn a_monitor_that_is_behind_is_overdue_and_not_stale() {
    let world = World::new();
    let gate = Gate::default();
    world.add("run-1", &[]);
    world.add("run-2", &[]);
    world.fetch_fault("run-1", Fault::Hang(gate.clone()));
    let config = RecoveryMonitorConfig::new("m", policy().poll_timeout(secs(100))).max_polls(1);
    let monitor = world.monitor_with(config);
    monitor.watch_run("run-1", plain()).unwrap();
    monitor.watch_run("run-2", plain()).unwrap();
    world.clock.run_for(secs(90));
    let status = monitor.status();
    assert_eq!((status.age, status.overdue_for, status.running_for), (None, Some(secs(90)), Some(secs(90))));
    assert!(!status.stale, "its call has a deadline of its own");
    gate.open();
    world.clock.settle();
    assert_eq!((monitor.status().overdue_for, world.fetches("run-2")), (None, 1));
}

#[test]
fn what_hangs_in_the_telling_of_a_poll_loses_its_place_too() {
    let world = World::new();
    let gate = Gate::default();
    let (theirs, clock) = (gate.clone(), world.clock.clone());
    let observer = Observer {
        counter: Some(Arc::new(move |_, labels| {
            let (gate, clock) = (theirs.clone(), clock.clone());
            let hangs = labels[0].to_string() == "event=poll_error";
            Counter::function(move |_| {
                if hangs {
                    gate.pass(&clock);
                }
            })
        })),
        ..Observer::default()
    };
    let config = EnvConfig::default().clock(&world.clock).spread(false).seed(0).observer(observer);
    let env = Env::with(config).unwrap();
    let config = RecoveryMonitorConfig::new("m", policy().poll_timeout(secs(2))).max_polls(1);
    let monitor = RecoveryMonitor::start_in(&env, config, world.clone(), world.clone()).unwrap();
    world.add("run-1", &[]);
    world.add("run-2", &[]);
    world.fetch_fault("run-1", Fault::Refuse);
    monitor.watch_run("run-1", plain()).unwrap();
    world.clock.settle();
    monitor.watch_run("run-2", plain()).unwrap();
    world.clock.settle();
    assert_eq!((gate.waiting(), world.fetches("run-2")), (1, 0));
    world.clock.run_for(secs(3));
    assert_eq!(world.fetches("run-2"), 1);
    gate.open();
    world.clock.settle();
    assert!(monitor.stop(secs(1)).is_clean());
}

#[test]
fn a_poll_that_hangs_is_told_again_and_asks_nothing_meanwhile() {
    let world = World::new();
    world.add("run-1", &[]);
    let gate = Gate::default();
    world.fetch_fault("run-1", Fault::Hang(gate.clone()));
    let monitor = one(&world, policy());
    world.clock.run_for(secs(90));
    assert_eq!((world.steps("run-1"), world.fetches("run-1")), (vec!["poll_error"; 3], 1));
    assert_eq!(monitor.runs()[0].last_error.as_deref(), Some("the poll is stuck for 90.0s"));
    let report = monitor.stop(secs(0));
    assert_eq!(report.stragglers().len(), 1);
    let straggler = &report.stragglers()[0];
    assert_eq!((&*straggler.name, straggler.phase), ("m (run run-1)", "its poll"));
    assert_eq!((&*straggler.thread, straggler.tid > 0), ("rec/m", true));
    assert!(straggler.activity.is_some(), "{straggler}");
    // It can be started again; what comes back late counts for nothing.
    monitor.restart().unwrap();
    world.clock.settle();
    assert_eq!(world.fetches("run-1"), 2);
    gate.open();
    world.clock.settle();
    assert_eq!((world.fetches("run-1"), monitor.status().health), (2, Health::Ready));
}

#[test]
fn wrc_12_what_is_exhausted_stays_watched_until_it_was_well() {
    let world = World::new();
    world.add("run-1", &["run-1/7"]);
    world.corrupt("run-1", true);
    world.restore_faults([Fault::Terminal]);
    let monitor = one(&world, policy());
    world.clock.run_for(secs(300));
    assert_eq!(world.count(RecoveryStep::Detected), 1);
    assert_eq!((world.fetches("run-1"), monitor.status().health), (11, Health::Down));
    world.corrupt("run-1", false);
    world.clock.run_for(secs(30));
    assert_eq!((monitor.status().health, monitor.runs()[0].incident.clone()), (Health::Ready, None));
    world.corrupt("run-1", true);
    world.clock.run_for(secs(30));
    assert_eq!(world.count(RecoveryStep::Detected), 2);
    assert_eq!(world.count(RecoveryStep::Completed), 1);
}

#[test]
fn wrc_12_a_person_has_it_tried_again() {
    let world = World::new();
    world.add("run-1", &["run-1/7"]);
    world.corrupt("run-1", true);
    world.restore_faults([Fault::Terminal]);
    let monitor = one(&world, policy());
    monitor.retry("run-1").unwrap();
    world.clock.settle();
    let expected = ["detected", "started", "checkpoint_selected", "failed", "exhausted"];
    assert_eq!(world.steps("run-1"), [&expected[..], &RESTORED[1..]].concat());
    assert_eq!(monitor.retry("run-1").unwrap_err().kind(), ErrorKind::InvalidState);
    assert_eq!(monitor.retry("run-7").unwrap_err().kind(), ErrorKind::NotFound);
    world.add("run-2", &["7"]);
    world.corrupt("run-2", true);
    world.restore_faults([Fault::Terminal]);
    monitor.watch_run("run-2", plain()).unwrap();
    world.clock.settle();
    assert!(monitor.stop(secs(1)).is_clean());
    assert_eq!(monitor.retry("run-2").unwrap_err().kind(), ErrorKind::InvalidState, "it does not run");
    monitor.restart().unwrap();
    world.clock.settle();
    assert_eq!(monitor.incident("run-2").unwrap().phase.as_str(), "exhausted", "as it was before the stop");
    let keys: Vec<_> = world
        .with(|service| service.restores.iter().map(|request| request.idempotency_key.clone()).collect());
    assert_ne!(keys[0], keys[1]);
}

#[test]
fn a_relapse_before_the_proof_takes_an_older_checkpoint() {
    let world = World::new();
    world.add("run-1", &["run-1/7", "run-1/6"]);
    world.corrupt("run-1", true);
    world.with(|service| service.bad_restores = 1);
    let monitor = one(&world, policy());
    world.clock.run_for(secs(35));
    assert_eq!(world.steps("new-1")[..2], ["relapsed", "started"]);
    assert_eq!(world.paths(), ["run-1/7", "run-1/6"]);
    assert_eq!(world.last(RecoveryStep::Completed).attempt, Some(2), "the same incident");
    world.clock.run_for(secs(90));
    assert_eq!(world.steps("new-2"), ["verified"]);
    assert_eq!(monitor.runs()[0].first_run, "run-1");
}

#[test]
fn a_service_that_answers_before_it_is_done_has_an_interval_for_it() {
    let world = World::new();
    world.add("run-1", &["7", "6"]);
    world.restored_in_place();
    world.corrupt("run-1", true);
    world.with(|service| service.bad_restores = 1);
    let monitor = one(&world, policy());
    world.clock.run_for(secs(29));
    world.corrupt("run-1", false);
    world.clock.run_for(secs(300));
    assert_eq!(world.steps("run-1"), [&RESTORED[..], &["verified"]].concat());
    assert_eq!(world.paths(), ["7"]);
    assert!(monitor.stop(secs(1)).is_clean());
}

#[test]
fn a_run_is_watched_once_under_its_first_name_too() {
    let world = World::new();
    world.add("run-1", &["7"]);
    world.corrupt("run-1", true);
    let monitor = one(&world, policy());
    monitor.watch_run("run-1", plain().with("team", "south")).unwrap();
    world.clock.run_for(secs(300));
    assert_eq!((world.fetches("run-1"), world.count(RecoveryStep::Detected)), (1, 1));
    assert_eq!(monitor.runs().len(), 1);
    assert_eq!(world.last(RecoveryStep::Verified).all_metadata()["team"], "south");
}

#[test]
fn a_run_that_was_restored_goes_on_under_its_name_after_a_restart() {
    let file = StateFile::new("restart");
    let world = World::new();
    for run in ["run-1", "run-2"] {
        world.add(run, &["7"]);
        world.corrupt(run, true);
    }
    let make = || file.monitor(&world);
    let monitor = make();
    for run in ["run-1", "run-2"] {
        monitor.watch_run(run, plain()).unwrap();
    }
    monitor.restart().unwrap();
    world.clock.settle();
    assert_eq!(world.count(RecoveryStep::Completed), 2);
    let error = make().restart().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidState);
    assert!(error.to_string().starts_with("m: the state_file of a recovery \"/"), "{error}");
    let names = |monitor: &RecoveryMonitor| {
        let runs = monitor.runs().into_iter().map(|run| (run.first_run, run.run));
        runs.collect::<Vec<_>>()
    };
    let before = names(&monitor);
    assert!(before.iter().all(|(first, run)| first != run), "{before:?}");
    assert!(monitor.stop(secs(1)).is_clean());

    // One is watched before the start, the other after it.
    let monitor = make();
    monitor.watch_run("run-1", plain()).unwrap();
    monitor.restart().unwrap();
    monitor.watch_run("run-2", plain()).unwrap();
    world.clock.run_for(secs(300));
    assert_eq!(names(&monitor), before);
    assert_eq!((world.fetches("run-1"), world.fetches("run-2")), (1, 1));
    assert_eq!(world.count(RecoveryStep::Detected), 2);
    assert!(monitor.stop_watching("run-1"));
    assert!(monitor.stop(secs(1)).is_clean());
    assert!(!file.text().contains("run-1"), "it is watched no more");
    // What cannot be read is as if there were none.
    std::fs::write(&file.0, "{").unwrap();
    let monitor = make();
    monitor.watch_run("run-2", plain()).unwrap();
    monitor.restart().unwrap();
    world.clock.settle();
    assert_eq!(world.fetches("run-2"), 2);
}

#[test]
fn the_last_of_several_names_is_kept_whichever_of_them_is_watched() {
    let file = StateFile::new("chain");
    let world = World::new();
    world.add("run-1", &["7"]);
    world.corrupt("run-1", true);
    let make = || file.monitor(&world);
    let restored = |monitor: &RecoveryMonitor, run: &str| {
        monitor.watch_run(run, plain()).unwrap();
        monitor.restart().unwrap();
        world.clock.run_for(secs(300));
        let run = monitor.runs().remove(0).run;
        assert!(monitor.stop(secs(1)).is_clean());
        run
    };
    let second = restored(&make(), "run-1");
    // Another program knows it by that name only.
    world.add(&second, &["8"]);
    world.corrupt(&second, true);
    let third = restored(&make(), &second);
    assert_ne!(third, second);
    let restores = || world.with(|service| service.restores.len());
    let before = restores();
    for run in ["run-1", &second, &third] {
        assert_eq!(restored(&make(), run), third, "watched as {run}");
    }
    assert_eq!(restores(), before);
}

#[test]
fn a_run_that_was_unwatched_while_nothing_ran_is_another_when_it_comes_again() {
    let file = StateFile::new("unwatched");
    let world = World::new();
    world.add("run-1", &["7"]);
    world.corrupt("run-1", true);
    for is_new in [false, true] {
        world.corrupt("run-1", true);
        let monitor = file.monitor(&world);
        monitor.watch_run("run-1", plain()).unwrap();
        monitor.restart().unwrap();
        world.clock.settle();
        assert_ne!(monitor.runs()[0].run, "run-1");
        assert!(monitor.stop(secs(1)).is_clean());
        world.corrupt("run-1", false);
        let monitor = if is_new { file.monitor(&world) } else { monitor };
        monitor.watch_run("run-1", plain()).unwrap();
        assert!(monitor.stop_watching("run-1"));
        monitor.restart().unwrap();
        monitor.watch_run("run-1", plain()).unwrap();
        world.clock.settle();
        assert_eq!(monitor.runs()[0].run, "run-1", "new: {is_new}");
        assert!(monitor.stop(secs(1)).is_clean());
        assert!(!file.text().contains("run-1"), "{}", file.text());
    }
}

#[test]
#[allow(clippy::disallowed_methods, reason = "the other side is a bare thread")]
fn what_starts_while_a_stop_ends_keeps_its_file() {
    let file = StateFile::new("race");
    // Which takes its time to read.
    let names: Vec<_> = (0..2000).map(|n| format!(r#""run-{n}":"new-{n}""#)).collect();
    std::fs::write(&file.0, format!(r#"{{"runs":{{{}}}}}"#, names.join(","))).unwrap();
    let world = World::new();
    let (monitor, other) = (file.monitor(&world), file.monitor(&world));
    for _ in 0..50 {
        std::thread::scope(|scope| {
            let stopping = scope.spawn(|| monitor.stop(secs(1)));
            while monitor.restart().is_err() {}
            let _ = stopping.join();
        });
        if monitor.is_running() {
            let kind = other.restart().map_err(|error| error.kind());
            assert_eq!(kind, Err(ErrorKind::InvalidState), "it runs without its file");
        }
        assert!(monitor.stop(secs(1)).is_clean());
    }
}

/// A state file that goes with the test.
struct StateFile(std::path::PathBuf);

impl StateFile {
    fn new(what: &str) -> Self {
        Self(std::env::temp_dir().join(format!("loopkeeper-runs-{what}-{}.json", std::process::id())))
    }

    fn monitor(&self, world: &World) -> RecoveryMonitor {
        let config = RecoveryMonitorConfig::new("m", policy()).state_file(&self.0);
        RecoveryMonitor::new(&world.env, config, world.clone(), world.clone()).unwrap()
    }

    fn text(&self) -> String {
        std::fs::read_to_string(&self.0).unwrap()
    }
}

impl Drop for StateFile {
    fn drop(&mut self) {
        for end in ["", ".lock"] {
            let _ = std::fs::remove_file(format!("{}{end}", self.0.display()));
        }
    }
}

#[test]
fn a_relapse_after_the_window_is_another_incident() {
    let world = World::new();
    world.add("run-1", &["run-1/7"]);
    world.restored_in_place();
    world.corrupt("run-1", true);
    let _monitor = one(&world, policy().max_attempts(1));
    world.clock.run_for(secs(90));
    assert_eq!(world.count(RecoveryStep::Verified), 1);
    world.clock.run_for(secs(615));
    world.add("run-1", &["run-1/9"]);
    world.corrupt("run-1", true);
    world.clock.run_for(secs(30));
    assert_eq!((world.count(RecoveryStep::Relapsed), world.count(RecoveryStep::Detected)), (0, 2));
    // Inside the window it is the same one, whose attempts are used up.
    world.clock.run_for(secs(90));
    world.corrupt("run-1", true);
    world.clock.run_for(secs(30));
    assert_eq!((world.count(RecoveryStep::Relapsed), world.count(RecoveryStep::Exhausted)), (1, 1));
}

#[test]
fn wrc_14_to_stop_watching_a_run_cancels_its_recovery() {
    let world = World::new();
    world.add("run-1", &["run-1/7"]);
    world.add("run-2", &["run-2/7"]);
    world.corrupt("run-1", true);
    world.corrupt("run-2", true);
    let gate = Gate::default();
    world.restore_faults([Fault::Hang(gate.clone())]);
    let calls = Calls::default();
    let monitor = one(&world, calls.on(policy()));
    monitor.watch_run("run-2", plain()).unwrap();
    world.clock.settle();
    assert!(monitor.stop_watching("run-1"), "in an attempt");
    assert!(monitor.stop_watching("run-2"), "in the queue");
    assert!(!monitor.stop_watching("run-2"));
    world.clock.settle();
    assert_eq!(world.steps("run-1"), ["detected", "started", "checkpoint_selected", "cancelled"]);
    assert_eq!(world.steps("run-2"), ["detected", "cancelled"]);
    gate.open();
    world.clock.run_for(secs(600));
    assert_eq!(world.with(|service| service.discarded.clone()), ["new-1"], "what it still made");
    assert_eq!((world.told().len(), monitor.runs().len(), calls.take().len()), (6, 0, 0));
}

#[test]
fn stop_watching_knows_a_run_by_its_first_name() {
    let world = World::new();
    world.add("run-1", &["run-1/7"]);
    world.corrupt("run-1", true);
    let monitor = one(&world, policy());
    assert_eq!(monitor.runs()[0].run, "new-1");
    assert!(monitor.stop_watching("run-1"));
    let before = world.fetches("new-1");
    world.clock.run_for(secs(60));
    assert_eq!((world.fetches("new-1"), monitor.runs().len()), (before, 0));
}

#[test]
fn a_run_that_is_well_again_before_its_turn_is_skipped() {
    let world = World::new();
    for run in ["run-1", "run-2"] {
        world.add(run, &["7"]);
        world.corrupt(run, true);
    }
    let gate = Gate::default();
    world.restore_faults([Fault::Hang(gate.clone())]);
    let monitor = one(&world, policy());
    monitor.watch_run("run-2", plain()).unwrap();
    world.clock.settle();
    world.corrupt("run-2", false);
    world.clock.run_for(secs(30));
    assert_eq!(world.steps("run-2"), ["detected", "skipped"]);
    assert_eq!(world.last(RecoveryStep::Skipped).why.as_deref(), Some("the run is well again"));
    gate.open();
    world.clock.settle();
    assert_eq!(world.with(|service| service.restores.len()), 1);
}

#[test]
fn what_finds_the_queue_full_is_skipped_until_there_is_room() {
    let world = World::new();
    for n in 1..=3 {
        world.add(&format!("run-{n}"), &["7"]);
        world.corrupt(&format!("run-{n}"), true);
    }
    let gate = Gate::default();
    world.restore_faults([Fault::Hang(gate.clone())]);
    let monitor = world.monitor_with(RecoveryMonitorConfig::new("m", policy()).max_queued(1));
    for n in 1..=3 {
        monitor.watch_run(&format!("run-{n}"), plain()).unwrap();
        world.clock.settle();
    }
    assert_eq!(world.steps("run-3"), ["detected", "skipped"]);
    world.clock.run_for(secs(90));
    assert_eq!(world.steps("run-3"), ["detected", "skipped"], "said once");
    gate.open();
    world.clock.run_for(secs(30));
    assert_eq!(world.steps("run-3")[2..], RESTORED[1..]);
}

#[test]
fn wrc_15_the_old_run_is_let_go_of_and_a_failure_of_that_is_told() {
    let world = World::new();
    world.add("run-1", &["7"]);
    world.corrupt("run-1", true);
    world.retire_fault(Fault::Refuse);
    let monitor = one(&world, policy());
    assert_eq!(world.steps("run-1"), [&RESTORED[..], &["left_behind"]].concat());
    assert_eq!(world.last(RecoveryStep::LeftBehind).error.as_ref().unwrap().to_string(), "refused");
    let gate = Gate::default();
    world.retire_fault(Fault::Hang(gate.clone()));
    world.add("run-2", &["7"]);
    world.corrupt("run-2", true);
    monitor.watch_run("run-2", plain()).unwrap();
    world.clock.run_for(secs(300));
    assert_eq!(world.steps("run-2"), [&RESTORED[..], &["left_behind"]].concat());
    // It took nobody's place.
    world.add("run-3", &["7"]);
    world.corrupt("run-3", true);
    monitor.watch_run("run-3", plain()).unwrap();
    world.clock.settle();
    assert_eq!(world.steps("run-3"), RESTORED);
    gate.open();
    world.clock.settle();
}

#[test]
fn a_stop_tells_what_it_cancelled_and_a_restart_polls_at_once() {
    let world = World::new();
    for n in 1..=2 {
        world.add(&format!("run-{n}"), &["7"]);
        world.corrupt(&format!("run-{n}"), true);
    }
    world.restore_faults([Fault::Refuse]);
    let monitor = one(&world, policy());
    let events = monitor.subscribe();
    let report = monitor.stop(secs(1));
    assert!(report.is_clean(), "{report}");
    assert_eq!(world.steps("run-1").last(), Some(&"cancelled"));
    let words: Vec<_> = events.iter().map(|delivery| delivery.event.what.as_str()).collect();
    assert_eq!(words, ["recovery_cancelled", "stopped"]);
    assert_eq!(monitor.status().health, Health::Unknown);
    world.clock.run_for(secs(600));
    assert_eq!(world.fetches("run-1"), 1);
    monitor.watch_run("run-2", plain()).unwrap();
    monitor.restart().unwrap();
    assert_eq!(monitor.restart().unwrap_err().kind(), ErrorKind::InvalidState);
    world.clock.run_for(secs(1));
    assert_eq!(world.steps("run-2"), RESTORED);
    assert_eq!(world.fetches("run-1"), 2);
    assert!(monitor.stop(secs(1)).is_clean());
}

#[test]
fn a_cancelled_token_ends_it() {
    let world = World::new();
    world.add("run-1", &["7"]);
    let token = loopkeeper::CancelToken::new();
    let monitor = world.monitor_with(RecoveryMonitorConfig::new("m", policy()).cancelled_by(&token));
    monitor.watch_run("run-1", plain()).unwrap();
    world.clock.settle();
    token.cancel();
    world.clock.settle();
    assert!(!monitor.is_running());
    assert_eq!(monitor.restart().unwrap_err().kind(), ErrorKind::Cancelled);
    assert!(monitor.stop(secs(1)).is_clean());
}

#[test]
fn what_is_told_of_another_run_is_a_poll_error() {
    let clock = ManualClock::default();
    let env = Env::manual(&clock).unwrap();
    let source = |_: &loopkeeper::Context, _: &str| {
        Ok(loopkeeper::recovery::TrainingRun::new("run-2").corrupted(true))
    };
    let remedy = |_: &loopkeeper::Context, _: &loopkeeper::recovery::Restore| Err("never asked".into());
    let config = RecoveryMonitorConfig::new("m", policy());
    let monitor = RecoveryMonitor::start_in(&env, config, source, remedy).unwrap();
    monitor.watch_run("run-1", plain()).unwrap();
    clock.settle();
    assert_eq!(monitor.runs()[0].last_error.as_deref(), Some("asked for run-1, was told of \"run-2\""));
}

#[test]
fn settings_that_cannot_be_meant_are_refused_by_name() {
    let world = World::new();
    let config = || RecoveryMonitorConfig::new("m", policy());
    for (config, expected) in [
        (config().max_polls(0), "max_polls: must be at least 1, found 0"),
        (config().max_concurrent(0), "max_concurrent: must be at least 1, found 0"),
        (config().max_queued(0), "max_queued: must be at least 1, found 0"),
        (
            RecoveryMonitorConfig::new("m", policy().max_attempts(0)),
            "max_attempts: must be at least 1, found 0",
        ),
        (RecoveryMonitorConfig::new("", policy()), "name: must not be empty"),
    ] {
        let made = RecoveryMonitor::new(&world.env, config, world.clone(), world.clone());
        assert_eq!(made.unwrap_err().to_string(), expected);
    }
    let config = ExecutorConfig::new("x").max_concurrent(0);
    let made = Executor::start_in(&world.env, config, world.clone(), world.clone());
    assert_eq!(made.unwrap_err().to_string(), "max_concurrent: must be at least 1, found 0");
}

#[test]
fn as_a_component_it_is_up_after_its_first_polls() {
    let world = World::new();
    world.add("run-1", &["7"]);
    let host = loopkeeper::Host::new(loopkeeper::HostConfig::default().env(&world.env)).unwrap();
    let config = RecoveryMonitorConfig::new("m", policy());
    let monitor = RecoveryMonitor::new(&world.env, config, world.clone(), world.clone()).unwrap();
    let monitor = std::sync::Arc::new(monitor);
    monitor.watch_run("run-1", plain()).unwrap();
    host.register("recovery", monitor.component()).unwrap();
    host.start().unwrap();
    world.clock.settle();
    let is_listed = world.env.statuses().iter().any(|status| status.name.as_str() == "m" && status.ready);
    assert!(is_listed && monitor.is_running());
    assert!(host.stop(secs(1)).is_clean());
    assert!(!monitor.is_running());
}

#[test]
fn events_are_numbered_and_kept_like_all_others() {
    let world = World::new();
    world.add("run-1", &["7"]);
    world.corrupt("run-1", true);
    let _monitor = one(&world, policy());
    let events = world.env.events_after(0, 100).events;
    let numbers: Vec<_> = events.iter().map(|event| event.n).collect();
    assert_eq!(numbers, (1..=6).collect::<Vec<_>>());
    assert!(matches!(&events[1].what, EventKind::Recovery(event) if event.step == RecoveryStep::Detected));
    assert_eq!(events[1].to_string(), "recovery m: run run-1: detected, checkpoint 7");
}

#[test]
fn a_cancelled_token_ends_it_also_while_its_thread_hangs() {
    let world = World::new();
    world.add("run-1", &["7"]);
    let (gate, token) = (Gate::default(), loopkeeper::CancelToken::new());
    world.fetch_fault("run-1", Fault::Hang(gate.clone()));
    let config = RecoveryMonitorConfig::new("m", policy()).max_polls(1).cancelled_by(&token);
    let monitor = world.monitor_with(config);
    monitor.watch_run("run-1", plain()).unwrap();
    world.clock.settle();
    token.cancel();
    assert!(!monitor.is_running());
    world.clock.run_for(secs(30));
    assert_eq!(monitor.status().health, Health::Unknown);
    assert!(world.told().is_empty(), "nothing is told of a poll whose end was wanted");
    gate.open();
    assert!(monitor.stop(secs(1)).is_clean());
}

#[test]
fn what_a_stop_leaves_undone_is_told() {
    let world = World::new();
    for run in ["run-1", "run-2"] {
        world.add(run, &["7"]);
        world.corrupt(run, true);
    }
    let gate = Gate::default();
    world.restore_faults([Fault::Hang(gate.clone()), Fault::Hang(gate.clone())]);
    let monitor = one(&world, policy());
    monitor.watch_run("run-2", plain()).unwrap();
    world.clock.settle();
    // The first is restored; its predecessor waits behind the second.
    gate.release_waiting();
    world.clock.settle();
    let _ = monitor.stop(secs(0));
    assert_eq!(world.steps("run-1"), [&RESTORED[..], &["left_behind"]].concat());
    assert_eq!(world.last(RecoveryStep::LeftBehind).error.as_ref().unwrap().to_string(), "it was stopped");
    gate.open();
    world.clock.settle();
}

#[test]
fn a_run_restored_under_the_name_of_one_that_is_being_restored_leaves_it_its_turn() {
    let clock = ManualClock::default();
    let env = Env::manual(&clock).unwrap();
    let source = |_: &loopkeeper::Context, run: &str| {
        let newest = loopkeeper::recovery::Checkpoint::new("7");
        let corrupted = ["run-1", "run-2"].contains(&run);
        Ok(loopkeeper::recovery::TrainingRun::new(run).corrupted(corrupted).last_checkpoint(newest))
    };
    let gate = Gate::default();
    let (held, theirs) = (gate.clone(), clock.clone());
    let remedy = move |_: &loopkeeper::Context, request: &loopkeeper::recovery::Restore| {
        let is_first = request.run == "run-1";
        if is_first {
            held.pass(&theirs);
        }
        Ok(loopkeeper::recovery::Restored::new(if is_first { "run-2" } else { "new" }))
    };
    let config = RecoveryMonitorConfig::new("m", policy()).max_polls(1);
    let monitor = RecoveryMonitor::new(&env, config, source, remedy).unwrap();
    for run in ["run-1", "run-2"] {
        monitor.watch_run(run, plain()).unwrap();
    }
    monitor.restart().unwrap();
    clock.settle();
    assert_eq!(monitor.status().recovery.unwrap().queued, 1);
    gate.open();
    clock.run_for(secs(120));
    let runs: Vec<_> = monitor.runs().into_iter().map(|run| run.run).collect();
    assert_eq!(runs, ["new"]);
    assert_eq!(monitor.status().health, Health::Ready);
    assert!(monitor.wait_idle(secs(0)));
}

#[test]
fn wrc_06_a_call_is_not_lost_among_events_that_nobody_is_called_about() {
    let world = World::new();
    for n in 0..30 {
        world.add(&format!("bad-{n}"), &[]);
        for _ in 0..20 {
            world.fetch_fault(&format!("bad-{n}"), Fault::Refuse);
        }
    }
    for run in ["run-1", "run-2"] {
        world.add(run, &["7"]);
        world.corrupt(run, true);
    }
    let (gate, calls) = (Gate::default(), Calls::default());
    let (held, clock, failed) = (gate.clone(), world.clock.clone(), calls.0.clone());
    let policy = policy()
        .on_recovery(move |_| held.pass(&clock))
        .on_failure(move |run, error| failed.lock().unwrap().push(format!("{run}: {error}")));
    let monitor = one(&world, policy);
    for n in 0..30 {
        monitor.watch_run(&format!("bad-{n}"), plain()).unwrap();
    }
    world.clock.settle();
    world.restore_faults([Fault::Terminal]);
    monitor.watch_run("run-2", plain()).unwrap();
    world.clock.run_for(secs(300));
    assert_eq!(
        (world.count(RecoveryStep::PollError), world.steps("run-2").last()),
        (330, Some(&"exhausted"))
    );
    gate.open();
    world.clock.settle();
    assert_eq!((calls.take(), monitor.status().lost_callbacks), (vec!["run-2: not allowed".to_owned()], 0));
}

#[test]
fn a_recovery_under_way_knows_what_is_said_of_its_run_meanwhile() {
    let world = World::new();
    world.add("run-1", &["7"]);
    world.corrupt("run-1", true);
    let (gate, calls) = (Gate::default(), Calls::default());
    world.restore_faults([Fault::Hang(gate.clone())]);
    let monitor = one(&world, calls.on(policy()));
    let said = plain().with("team", "south").handle("another".to_owned());
    monitor.watch_run("run-1", said).unwrap();
    gate.open();
    world.clock.settle();
    assert_eq!(calls.take(), ["run-1 (another) -> new-1 (handle of new-1) from 7"]);
    assert_eq!(world.last(RecoveryStep::Completed).all_metadata()["team"], "south");
    assert_eq!(monitor.runs().len(), 1);
}

#[test]
fn callbacks_may_call_back_in() {
    let world = World::new();
    for run in ["run-1", "run-2", "run-3"] {
        world.add(run, &["7"]);
        world.corrupt(run, true);
    }
    let own: std::sync::Arc<std::sync::Mutex<Option<std::sync::Arc<RecoveryMonitor>>>> = Default::default();
    let theirs = own.clone();
    let heard: std::sync::Arc<std::sync::Mutex<Vec<String>>> = Default::default();
    let tells = heard.clone();
    let policy = policy().on_recovery(move |recovered| {
        let monitor = theirs.lock().unwrap().clone().unwrap();
        let new = &*recovered.restored.training_run_id;
        let answer = match &*recovered.run {
            // Watches the one that took its place, which it is already.
            "run-1" => format!("{:?}", monitor.watch_run(new, plain()).is_ok()),
            "run-2" => {
                let cancelled = monitor.cancel(new).is_err();
                format!("{cancelled} {:?} {:?}", monitor.retry(new).is_err(), monitor.stop_watching(new))
            }
            _ => format!("{}", monitor.stop(secs(5)).is_clean()),
        };
        tells.lock().unwrap().push(answer);
    });
    let monitor = std::sync::Arc::new(world.monitor(policy));
    *own.lock().unwrap() = Some(monitor.clone());
    for run in ["run-1", "run-2", "run-3"] {
        monitor.watch_run(run, plain()).unwrap();
        world.clock.settle();
    }
    drop(own.lock().unwrap().take());
    assert_eq!(*heard.lock().unwrap(), ["true", "true true true", "true"]);
    assert!(!monitor.is_running());
    let runs: Vec<_> = monitor.runs().into_iter().map(|run| run.run).collect();
    assert_eq!(runs, ["new-1", "new-3"]);
    assert!(monitor.stop(secs(1)).is_clean());
}

#[test]
fn a_stop_names_the_callback_that_hangs_and_drops_those_behind_it() {
    let world = World::new();
    for run in ["run-1", "run-2"] {
        world.add(run, &["7"]);
        world.corrupt(run, true);
    }
    let gate = Gate::default();
    let (held, clock) = (gate.clone(), world.clock.clone());
    let monitor = one(&world, policy().on_recovery(move |_| held.pass(&clock)));
    monitor.watch_run("run-2", plain()).unwrap();
    world.clock.settle();
    assert_eq!(world.count(RecoveryStep::Completed), 2);
    let report = monitor.stop(secs(1));
    let stragglers: Vec<_> = report.stragglers().iter().map(|one| (&*one.name, one.phase)).collect();
    assert_eq!((stragglers, report.dropped_callbacks()), (vec![("m", "its callback")], 1));
    gate.open();
    world.clock.settle();
    assert_eq!(gate.arrived(), 1, "nothing is called after a stop");
    monitor.restart().unwrap();
    assert!(monitor.stop(secs(1)).is_clean());
}

#[test]
fn a_poll_that_fails_proves_nothing_and_takes_no_proof_away() {
    let world = World::new();
    world.add("run-1", &["7"]);
    world.corrupt("run-1", true);
    for _ in 0..2 {
        world.fetch_fault("new-1", Fault::Refuse);
    }
    let monitor = one(&world, policy());
    world.clock.run_for(secs(90));
    assert_eq!(monitor.incident("run-1").unwrap().good_polls, 1);
    world.fetch_fault("new-1", Fault::Panic);
    world.clock.run_for(secs(30));
    assert_eq!(world.steps("new-1"), ["poll_error"; 3]);
    world.clock.run_for(secs(30));
    assert_eq!(monitor.incident("run-1").unwrap().good_polls, 2);
    world.clock.run_for(secs(30));
    assert_eq!(world.steps("new-1")[3..], ["verified"]);
}

#[test]
fn every_event_says_what_is_known_by_then() {
    let world = World::new();
    world.add("run-1", &["7", "6"]);
    world.with(|service| service.bad_restores = 1);
    world.fetch_fault("run-1", Fault::Refuse);
    world.restore_faults([Fault::Refuse]);
    let monitor = one(&world, policy().verify_polls(1).max_attempts(3));
    world.corrupt("run-1", true);
    world.clock.run_for(secs(200));
    world.add("run-2", &["7"]);
    world.corrupt("run-2", true);
    world.restore_faults([Fault::Refuse]);
    monitor.watch_run("run-2", plain()).unwrap();
    world.clock.settle();
    monitor.cancel("run-2").unwrap();
    world.add("run-3", &[]);
    world.corrupt("run-3", true);
    monitor.watch_run("run-3", plain()).unwrap();
    world.clock.settle();
    // What the caller said comes with each of them.
    let of_run_1 =
        |event: &&std::sync::Arc<loopkeeper::event::RecoveryEvent>| !event.run_id.ends_with(['2', '3']);
    assert!(world.told().iter().filter(of_run_1).all(|event| event.metadata["team"] == "north"));
    let told: Vec<_> = world.told().iter().map(|event| event.to_string()).collect();
    assert_eq!(
        told,
        [
            "run run-1: could not be polled: refused",
            "run run-1: detected, checkpoint 7",
            "run run-1: started (attempt 1)",
            "run run-1: checkpoint selected (attempt 1), checkpoint 7",
            "run run-1: failed (attempt 1), checkpoint 7, again in 5.0s: refused",
            "run run-1: started (attempt 2)",
            "run run-1: checkpoint selected (attempt 2), checkpoint 7",
            "run run-1: client created (attempt 2), checkpoint 7, restored as new-1",
            "run run-1: completed (attempt 2), checkpoint 7, restored as new-1",
            "run new-1: relapsed (attempt 2), checkpoint 7, again in 10.0s",
            "run new-1: started (attempt 3)",
            "run new-1: checkpoint selected (attempt 3), checkpoint 6",
            "run new-1: client created (attempt 3), checkpoint 6, restored as new-2",
            "run new-1: completed (attempt 3), checkpoint 6, restored as new-2",
            "run new-2: verified (attempt 3), checkpoint 6",
            "run run-2: detected, checkpoint 7",
            "run run-2: started (attempt 1)",
            "run run-2: checkpoint selected (attempt 1), checkpoint 7",
            "run run-2: failed (attempt 1), checkpoint 7, again in 5.0s: refused",
            "run run-2: cancelled (attempt 1), checkpoint 7: on request",
            "run run-3: detected",
            "run run-3: started (attempt 1)",
            "run run-3: failed (attempt 1): no checkpoint to restore from (0 known, 0 of them not usable)",
            "run run-3: exhausted (attempt 1): no checkpoint to restore from (0 known, 0 of them not usable)",
        ]
    );
}

#[test]
fn an_answer_that_was_asked_for_before_a_run_was_watched_anew_does_not_count() {
    let clock = ManualClock::default();
    let env = Env::manual(&clock).unwrap();
    let (first, second) = (Gate::default(), Gate::default());
    let gates = [first.clone(), second.clone()];
    let (calls, theirs) = (std::sync::atomic::AtomicUsize::new(0), clock.clone());
    let source = move |_: &loopkeeper::Context, run: &str| {
        let call = calls.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        if let Some(gate) = gates.get(call) {
            gate.pass(&theirs);
        }
        Ok(loopkeeper::recovery::TrainingRun::new(run).corrupted(call == 0))
    };
    let remedy = |_: &loopkeeper::Context, _: &loopkeeper::recovery::Restore| Err("never asked".into());
    let config = RecoveryMonitorConfig::new("m", policy());
    let monitor = RecoveryMonitor::start_in(&env, config, source, remedy).unwrap();
    monitor.watch_run("run-1", plain()).unwrap();
    clock.settle();
    assert!(monitor.stop_watching("run-1"));
    monitor.watch_run("run-1", plain()).unwrap();
    clock.settle();
    assert_eq!((first.waiting(), second.waiting()), (1, 1));
    first.open();
    clock.settle();
    assert_eq!((monitor.incident("run-1"), monitor.runs()[0].last_poll), (None, None));
    second.open();
    clock.settle();
    assert!(monitor.runs()[0].last_poll.is_some());
    assert_eq!(monitor.status().health, Health::Ready);
}
