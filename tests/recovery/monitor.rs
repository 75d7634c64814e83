//! Runs that are polled, corrupted, restored and proven well.

use loopkeeper::Health;
use loopkeeper::event::RecoveryStep;

use crate::fixture::*;

#[test]
fn crc_08_a_run_is_polled_corrupted_restored_and_verified() {
    let world = World::new();
    world.add("run-1", &["run-1/7"]);
    let monitor = world.monitor(policy());
    monitor.watch_run("run-1", plain()).unwrap();
    world.clock.run_for(secs(60));
    assert_eq!((world.fetches("run-1"), world.steps("run-1").len()), (3, 0));
    assert_eq!(monitor.status().health, Health::Ready);
    world.corrupt("run-1", true);
    world.clock.run_for(secs(30));
    assert_eq!(
        world.steps("run-1"),
        ["detected", "started", "checkpoint_selected", "client_created", "completed"]
    );
    assert_eq!(monitor.status().health, Health::Degraded);
    world.clock.run_for(secs(60));
    assert_eq!(world.steps("new-1"), ["verified"]);
    assert_eq!(world.last(RecoveryStep::Verified).attempt, Some(1));
    assert_eq!(monitor.status().health, Health::Ready);
    let runs = monitor.runs();
    assert_eq!((&*runs[0].run, &*runs[0].first_run, runs.len()), ("new-1", "run-1", 1));
    assert_eq!(world.with(|service| service.retired.clone()), ["run-1"]);
    assert!(monitor.stop(secs(1)).is_clean());
}
