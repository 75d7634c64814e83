//! Tables of what becomes of incidents.

use super::*;

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn at(seconds: u64) -> Stamp {
    Stamp::from_micros(seconds * 1_000_000)
}

fn policy() -> RecoveryPolicy {
    RecoveryPolicy::default().jitter(0.0)
}

fn input(word: &str) -> Input {
    let plain = || Error::new(ErrorKind::Component).context("no");
    match word {
        "begin" => Input::Begin,
        "selected" => Input::Selected(Checkpoint::new("new")),
        "selected-old" => Input::Selected(Checkpoint::new("old")),
        "created" => Input::Created { run: "run-2".to_owned() },
        "created-3" => Input::Created { run: "run-3".to_owned() },
        "succeeded" => Input::Succeeded,
        "failed" => Input::Failed(plain()),
        "timeout" => Input::Failed(Error::new(ErrorKind::Timeout)),
        "panicked" => Input::Failed(Error::from_panic(&"boom")),
        "terminal" => Input::Failed(Error::terminal("never")),
        "gone" => Input::Failed(Error::new(ErrorKind::NotFound)),
        "busy-3" => Input::Failed(plain().with_retry_after(secs(3))),
        "busy-90" => Input::Failed(plain().with_retry_after(secs(90))),
        "busy-a-day" => Input::Failed(plain().with_retry_after(secs(86_400))),
        "none-left" => Input::Failed(Error::new(ErrorKind::NotFound).with_class(ErrorClass::Terminal)),
        "healthy" => Input::Healthy,
        "corrupted" => Input::Corrupted,
        "over" => Input::WindowOver,
        "skip" => Input::Skip("full"),
        "cancel" => Input::Cancel("asked"),
        "retry" => Input::Retry,
        word => panic!("no input {word}"),
    }
}

/// Runs an incident through the inputs; each step must tell and want what
/// stands beside it. After each it is written down and read back.
fn check(policy: &RecoveryPolicy, table: &[(&str, &str, Next)]) -> Incident {
    let mut incident = Incident::new("i".to_owned(), "run-1", at(0));
    let mut random = Random::new(0);
    for (n, (word, expected, next)) in table.iter().enumerate() {
        let mut told = Vec::new();
        let step = n as u64 + 1;
        let found = incident.step(policy, at(step), input(word), &mut random, &mut told);
        let told: Vec<_> = told.iter().map(|told| told.step.as_str()).collect();
        assert_eq!((told.join(" "), found), ((*expected).to_owned(), *next), "step {step}: {word}");
        let text = serde_json::to_string(&incident).unwrap();
        assert_eq!(serde_json::from_str::<Incident>(&text).unwrap(), incident, "{text}");
    }
    incident
}

const BEGUN: [(&str, &str, Next); 2] =
    [("begin", "started", Next::Stay), ("selected", "checkpoint_selected", Next::Stay)];
const RESTORED: [(&str, &str, Next); 4] =
    [BEGUN[0], BEGUN[1], ("created", "client_created", Next::Stay), ("succeeded", "completed", Next::Prove)];

fn joined(parts: &[&[(&'static str, &'static str, Next)]]) -> Vec<(&'static str, &'static str, Next)> {
    parts.concat()
}

#[test]
fn wrc_12_a_recovery_is_proven_by_polls() {
    let proven = joined(&[
        &RESTORED,
        &[
            ("healthy", "", Next::Stay),
            ("healthy", "", Next::Stay),
            ("healthy", "verified", Next::Guard(secs(600))),
            ("healthy", "", Next::Stay),
            ("over", "", Next::Close),
        ],
    ]);
    let incident = check(&policy(), &proven);
    assert_eq!((&*incident.run, &*incident.first_run), ("run-2", "run-1"));
    assert_eq!((incident.attempt, incident.since, incident.error), (1, at(7), None));
    let unguarded = policy().relapse_window(Duration::ZERO).verify_polls(1);
    check(&unguarded, &joined(&[&RESTORED, &[("healthy", "verified", Next::Close)]]));
}

#[test]
fn crc_02_delays_grow_until_nothing_more_is_tried() {
    let five = policy().max_attempts(6);
    let retries = [5, 10, 20, 40, 60].map(|n| Next::AttemptAfter(secs(n)));
    let mut table = Vec::new();
    for next in retries {
        table.extend(BEGUN);
        table.push(("failed", "failed", next));
    }
    table.extend(BEGUN);
    table.extend([("timeout", "failed exhausted", Next::Rest), ("corrupted", "", Next::Stay)]);
    let incident = check(&five, &table);
    assert_eq!((incident.phase, incident.attempt), (IncidentPhase::Exhausted, 6));
    assert_eq!(incident.failures["new"], 6);
}

#[test]
fn wrc_04_only_what_may_help_is_tried_again() {
    for (word, told, next) in [
        ("failed", "failed", Next::AttemptAfter(secs(5))),
        ("timeout", "failed", Next::AttemptAfter(secs(5))),
        ("panicked", "failed", Next::AttemptAfter(secs(5))),
        ("gone", "failed", Next::Attempt),
        ("terminal", "failed exhausted", Next::Rest),
    ] {
        check(&policy(), &joined(&[&BEGUN, &[(word, told, next)]]));
    }
    // Without a checkpoint there is none that could be gone.
    let asked = [BEGUN[0], ("gone", "failed", Next::AttemptAfter(secs(5)))];
    check(&policy(), &asked);
    check(&policy(), &[BEGUN[0], ("none-left", "failed exhausted", Next::Rest)]);
    let specific = policy().checkpoint_strategy(CheckpointStrategy::Specific("new".to_owned()));
    check(&specific, &joined(&[&BEGUN, &[("gone", "failed exhausted", Next::Rest)]]));
}

#[test]
fn who_asks_to_be_left_alone_is_left_alone_but_not_for_ever() {
    for (word, seconds) in [("busy-3", 5), ("busy-90", 90), ("busy-a-day", 300)] {
        check(&policy(), &joined(&[&BEGUN, &[(word, "failed", Next::AttemptAfter(secs(seconds)))]]));
    }
    let last = [("busy-90", "failed exhausted", Next::Rest)];
    check(&policy().max_attempts(1), &joined(&[&BEGUN, &last]));
}

#[test]
fn wrc_13_a_checkpoint_that_is_gone_is_not_taken_again() {
    let incident = check(
        &policy(),
        &joined(&[
            &BEGUN,
            &[
                ("gone", "failed", Next::Attempt),
                BEGUN[0],
                ("selected-old", "checkpoint_selected", Next::Stay),
                ("gone", "failed", Next::Attempt),
            ],
        ]),
    );
    assert_eq!(incident.rejected.iter().collect::<Vec<_>>(), ["new", "old"]);
}

#[test]
fn a_relapse_is_the_same_incident() {
    let early = joined(&[
        &RESTORED,
        &[("healthy", "", Next::Stay), ("corrupted", "relapsed", Next::AttemptAfter(secs(5)))],
    ]);
    let incident = check(&policy(), &early);
    assert_eq!((incident.attempt, incident.relapses, &*incident.run), (1, 1, "run-2"));
    assert!(incident.rejected.contains("new"), "its restored run was never well");

    let once = policy().verify_polls(1);
    let late = joined(&[
        &RESTORED,
        &[
            ("healthy", "verified", Next::Guard(secs(600))),
            ("corrupted", "relapsed", Next::AttemptAfter(secs(5))),
            BEGUN[0],
        ],
    ]);
    let incident = check(&once, &late);
    assert_eq!(incident.attempt, 2);
    assert!(incident.rejected.is_empty(), "its restored run was proven well");

    // What was seen of the first restored run proves nothing of the second.
    let twice = policy().verify_polls(2);
    let anew = joined(&[
        &RESTORED,
        &[("healthy", "", Next::Stay), ("corrupted", "relapsed", Next::AttemptAfter(secs(5)))],
        &RESTORED,
        &[
            ("healthy", "", Next::Stay),
            ("healthy", "verified", Next::Guard(secs(600))),
            ("corrupted", "relapsed", Next::AttemptAfter(secs(10))),
        ],
    ]);
    let incident = check(&twice, &anew);
    assert_eq!((incident.attempt, incident.relapses), (2, 2), "the attempts it had count");

    let last = joined(&[&RESTORED, &[("corrupted", "relapsed exhausted", Next::Rest)]]);
    let incident = check(&policy().max_attempts(1), &last);
    assert_eq!(incident.error.unwrap().text, "the restored run run-2 is corrupted again");
    let specific = policy().checkpoint_strategy(CheckpointStrategy::Specific("new".to_owned()));
    assert!(check(&specific, &early).rejected.is_empty(), "there is no other");
}

#[test]
fn what_is_over_begins_anew_only_when_it_is_told_to_or_was_well() {
    let exhausted = joined(&[&BEGUN, &[("terminal", "failed exhausted", Next::Rest)]]);
    for (word, next) in [
        ("corrupted", Next::Stay),
        ("begin", Next::Stay),
        ("cancel", Next::Stay),
        ("skip", Next::Stay),
        ("healthy", Next::Close),
    ] {
        check(&policy(), &joined(&[&exhausted, &[(word, "", next)]]));
    }
    let incident = check(&policy(), &joined(&[&exhausted, &[("retry", "", Next::Attempt), BEGUN[0]]]));
    assert_eq!(incident.attempt, 1, "all attempts anew");
    assert!(incident.failures.is_empty());
}

#[test]
fn what_waits_can_be_skipped_cancelled_and_hurried() {
    check(&policy(), &[("healthy", "skipped", Next::Close)]);
    check(
        &policy(),
        &[
            ("skip", "skipped", Next::Rest),
            ("corrupted", "", Next::Stay),
            ("retry", "", Next::Attempt),
            BEGUN[0],
        ],
    );
    let cancelled = [
        ("cancel", "cancelled", Next::Rest),
        ("cancel", "", Next::Stay),
        ("corrupted", "", Next::Stay),
        ("retry", "", Next::Attempt),
    ];
    check(&policy(), &cancelled);
    let waiting = joined(&[&BEGUN, &[("failed", "failed", Next::AttemptAfter(secs(5)))]]);
    check(&policy(), &joined(&[&waiting, &cancelled]));
    check(&policy(), &joined(&[&waiting, &[("healthy", "skipped", Next::Close)]]));
    let incident = check(&policy(), &joined(&[&waiting, &[("retry", "", Next::Attempt), BEGUN[0]]]));
    assert_eq!(incident.attempt, 2, "hurried, not begun anew");
    check(&policy(), &joined(&[&BEGUN, &cancelled]));
    check(&policy(), &joined(&[&RESTORED, &[("cancel", "", Next::Stay)]]));
}

#[test]
fn what_json_cannot_say_is_not_written_down() {
    let mut checkpoint = Checkpoint::new("new");
    for (name, value) in [("loss", f64::NAN), ("peak", f64::INFINITY), ("accuracy", 0.5)] {
        checkpoint.metrics.insert(name.to_owned(), value);
    }
    let mut incident = Incident::new("i".to_owned(), "run-1", at(0));
    let selected = Input::Selected(checkpoint.clone());
    for input in [Input::Begin, selected] {
        let _ = incident.step(&policy(), at(1), input, &mut Random::new(0), &mut Vec::new());
    }
    let text = serde_json::to_string(&incident).unwrap();
    checkpoint.metrics.retain(|_, value| value.is_finite());
    let read = serde_json::from_str::<Incident>(&text).map_err(|error| format!("{error}: {text}")).unwrap();
    assert_eq!(read.checkpoint, Some(checkpoint));
}

#[test]
fn wrc_15_no_two_attempts_have_one_key() {
    let failed = ("terminal", "failed exhausted", Next::Rest);
    let incident = check(&policy(), &joined(&[&BEGUN, &[failed, ("retry", "", Next::Attempt)], &BEGUN]));
    assert_eq!((incident.attempt, &*incident.key()), (1, "i-2"));
}

mod any_order {
    use super::*;
    use proptest::prelude::*;

    const WORDS: &[&str] = &[
        "begin",
        "selected",
        "created",
        "succeeded",
        "failed",
        "timeout",
        "terminal",
        "gone",
        "healthy",
        "corrupted",
        "over",
        "skip",
        "cancel",
        "retry",
        "begin",
        "selected",
        "created",
        "succeeded",
    ];

    proptest! {
        /// Whatever comes in whatever order: attempts are bounded, what
        /// waits is told so, and what is told is told in order.
        #[test]
        fn attempts_are_bounded(words in prop::collection::vec(prop::sample::select(WORDS), 0..80)) {
            let policy = policy().max_attempts(3).verify_polls(2);
            let mut incident = Incident::new("i".to_owned(), "run-1", at(0));
            let mut random = Random::new(1);
            for word in words {
                let mut told = Vec::new();
                let before = incident.phase;
                let next = incident.step(&policy, at(1), input(word), &mut random, &mut told);
                prop_assert!(incident.attempt <= 3);
                let told: Vec<_> = told.iter().map(|told| told.step).collect();
                if told.contains(&RecoveryStep::Exhausted) {
                    prop_assert_eq!(told.len(), 2);
                }
                if told.contains(&RecoveryStep::Verified) {
                    prop_assert_eq!(before, IncidentPhase::Completed);
                }
                if matches!(next, Next::Attempt | Next::AttemptAfter(_)) {
                    prop_assert!(matches!(incident.phase, IncidentPhase::Detected | IncidentPhase::Waiting));
                }
                prop_assert!(
                    incident.phase != IncidentPhase::Waiting || incident.attempt > 0,
                    "waits for another attempt without a first"
                );
                let text = serde_json::to_string(&incident).unwrap();
                prop_assert_eq!(&serde_json::from_str::<Incident>(&text).unwrap(), &incident);
            }
        }
    }
}
