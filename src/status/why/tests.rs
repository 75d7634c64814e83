//! What `why` says, as tables.

use std::time::Duration;

use super::causes::{MAX_CAUSES, MAX_DEPTH};
use super::words::rounded;
use super::*;
use crate::event::LoopKind;
use crate::status::{
    CallStatus, CheckCounts, CheckerStatus, ControllerStatus, IncidentStatus, MonitorStatus, Phase,
    RecoveryStatus, Role, Tally, ThreadStatus,
};

const AT: u64 = 1_000_000_000;

fn secs(secs: u64) -> Stamp {
    Stamp::from_micros(AT - secs * 1_000_000)
}

fn of(name: &str, health: Health) -> LoopStatus {
    LoopStatus {
        since: secs(60),
        last_check: Some(secs(3)),
        last_error: (health == Health::Down).then(|| "connection refused".to_owned()),
        consecutive_failures: 1,
        next_run: Some(Stamp::from_micros(AT + 12_000_000)),
        runs: 1,
        ..LoopStatus::sample(name, health)
    }
}

fn names(names: &[&str]) -> Vec<Name> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

/// A component that waits.
fn waiting(name: &str, waits_for: &[&str]) -> LoopStatus {
    LoopStatus {
        kind: LoopKind::Component,
        phase: Phase::Starting,
        last_check: None,
        next_run: None,
        runs: 0,
        requires: names(waits_for),
        waits_for: names(waits_for),
        ..of(name, Health::Unknown)
    }
}

/// The sentence, the causes, what is next, and when it gives up, a line each.
#[track_caller]
fn check(loops: &[LoopStatus], rejected: &[Rejected], expected: &str) {
    let why = why("a", Stamp::from_micros(AT), loops, rejected).unwrap();
    let mut text = why.sentence.clone();
    for Cause { depth, name, kind, what, .. } in &why.causes {
        text.push_str(&format!("\n{}{name} {kind}: {what}", "  ".repeat(depth + 1)));
    }
    text.push_str(&format!("\nnext: {}", why.next.what));
    text.extend(why.gives_up.map(|text| format!("\ngives up: {text}")));
    assert_eq!(text, expected);
}

#[test]
fn one_is_as_it_is_by_itself() {
    check(
        &[of("a", Health::Ready)],
        &[],
        "a has been ready for 1m0s: nothing is wrong\nnext: it asks again in 12s",
    );
    let down = LoopStatus {
        consecutive_failures: 3,
        attempt: 3,
        max_attempts: Some(10),
        phase: Phase::Starting,
        ..of("a", Health::Down)
    };
    check(
        &[down],
        &[],
        "a has been down for 1m0s: connection refused (3 times in a row)\n  \
         a error: connection refused (3 times in a row)\nnext: it asks again in 12s\n\
         gives up: after 7 more failed attempts (3 of 10 were made) it asks at its regular times only",
    );
    let call = CallStatus {
        phase: "looking up db".into(),
        phase_for: Duration::from_secs(75),
        deadline: Some(secs(65)),
        stuck: true,
        activity: None,
    };
    let thread = Some(ThreadStatus { name: "w/a".to_owned(), tid: 7 });
    let stuck = LoopStatus { call: Some(call), thread, next_run: None, ..of("a", Health::Down) };
    check(
        &[stuck],
        &[],
        "a has been down for 1m0s: its call is stuck, looking up db for 1m15s\n  \
         a stuck: its call is stuck, looking up db for 1m15s\n  a error: connection refused\n\
         next: nothing until the call that is looking up db returns: a thread (tid 7) cannot be ended \
         from outside",
    );
    let overdue_for = Some(Duration::from_secs(70));
    check(
        &[LoopStatus { stale: true, ready: false, overdue_for, next_run: None, ..of("a", Health::Ready) }],
        &[],
        "a is stale: it should have run 1m10s ago\n  a stale: it should have run 1m10s ago\n\
         next: it goes on",
    );
    let stopped = LoopStatus { phase: Phase::Stopped, next_run: None, ..of("a", Health::Unknown) };
    check(
        &[stopped],
        &[],
        "a has been stopped for 1m0s: it does not run\n  a stopped: it does not run\n\
         next: nothing: it was told to end",
    );
    let call = CallStatus {
        phase: "connecting to db".into(),
        phase_for: Duration::from_millis(2340),
        deadline: Some(Stamp::from_micros(AT + 7_655_000)),
        stuck: false,
        activity: None,
    };
    let first = LoopStatus {
        call: Some(call),
        last_check: None,
        next_run: None,
        running_for: Some(Duration::from_millis(2345)),
        ..of("a", Health::Unknown)
    };
    check(
        std::slice::from_ref(&first),
        &[],
        "a has been unknown for 1m0s: its first call has not ended yet: connecting to db for 2.3s\n  \
         a unheard: its first call has not ended yet: connecting to db for 2.3s\n\
         next: its call has been running for 2.3s and says how it is when it ends, or when its time is over, in 7.6s",
    );
    // One that may take for ever, and one that has done so.
    let at = Stamp::from_micros(AT);
    for (deadline, expected) in [
        (None, ("its call has been running for 2.3s and says how it is when it ends", None)),
        (
            Some(at),
            (
                "its call has been running for 2.3s and says how it is when it ends, or when its time is over, at once",
                Some(at),
            ),
        ),
    ] {
        let mut status = first.clone();
        status.call.as_mut().unwrap().deadline = deadline;
        let next = next::of(&status, at, None);
        assert_eq!((next.what.as_str(), next.at), expected);
    }
}

#[test]
fn controllers_pause_and_runs_are_recovered() {
    let controller = ControllerStatus {
        interval: Duration::from_secs(1),
        deadline: Duration::from_secs(1),
        paused: true,
        dry_run: false,
        last_result: None,
        last_items: None,
        last_summary: None,
        items: 0,
        overruns: 0,
    };
    let controller = Some(Box::new(controller));
    let kind = LoopKind::Controller;
    check(
        &[LoopStatus { controller, kind, next_run: None, ..of("a", Health::Unknown) }],
        &[],
        "a has been unknown for 1m0s: it is paused: it runs only when it is triggered\n  \
         a paused: it is paused: it runs only when it is triggered\n\
         next: it runs when it is triggered: loopkeeper trigger a",
    );
    let incident = IncidentStatus {
        run: "r-2".into(),
        first_run: "r-1".into(),
        phase: "waiting",
        attempt: 2,
        max_attempts: 5,
        since: secs(9),
        detected_at: secs(90),
        next_attempt: None,
        checkpoint: None,
        last_error: Some("no place".into()),
    };
    let recovery = RecoveryStatus {
        watched: 1,
        failing: 0,
        queued: 0,
        in_progress: 0,
        waiting: 1,
        stuck: 0,
        incidents: vec![incident],
    };
    let kind = LoopKind::Recovery;
    check(
        &[LoopStatus { recovery: Some(Box::new(recovery)), kind, ..of("a", Health::Degraded) }],
        &[],
        "a has been degraded for 1m0s: run r-2 is waiting, attempt 2 of 5: no place\n  \
         a incident: run r-2 is waiting, attempt 2 of 5: no place\nnext: the runs are polled again in 12s\n\
         gives up: a run is given up after attempt 5; loopkeeper recovery retry RUN tries again",
    );
}

#[test]
fn the_chain_goes_on_to_where_it_begins() {
    check(
        &[waiting("a", &["b"]), waiting("b", &["c"]), of("c", Health::Down)],
        &[],
        "a has been waiting for 1m0s: it waits for b, which is waiting and waits \
         for c, which is down: connection refused\n  \
         a requires: waits for b, which is waiting\n    \
         b requires: waits for c, which is down\n      \
         c error: connection refused\nnext: it starts when b can take work",
    );
    // One that runs and fails, perhaps because of another.
    let fails = LoopStatus { requires: names(&["b", "ok"]), ..of("a", Health::Down) };
    check(
        &[fails, of("b", Health::Down), of("ok", Health::Ready)],
        &[],
        "a has been down for 1m0s: connection refused\n  a error: connection refused\n  \
         a requires: requires b, which is down\n    b error: connection refused\nnext: it asks again in 12s",
    );
    // A circle ends, and so does what nobody described.
    check(
        &[waiting("a", &["b", "c"]), waiting("b", &["a"])],
        &[],
        "a has been waiting for 1m0s: it waits for b, which is waiting and waits \
         for a, which is waiting\n  \
         a requires: waits for b, which is waiting\n    \
         b requires: waits for a, which is waiting\n  \
         a requires: waits for c, which is not there\n\
         next: it starts when b, c can take work",
    );
}

#[test]
fn one_behind_a_parent_names_it_and_the_way_to_it() {
    let behind = |name: &str, requires: &[&str], parent: &str| LoopStatus {
        parent: parent.parse().ok(),
        requires: names(requires),
        last_error: Some("no route".to_owned()),
        ..of(name, Health::Unknown)
    };
    check(
        &[behind("a", &["router"], "router"), of("router", Health::Down)],
        &[],
        "a has been unknown (parent router) for 1m0s: it requires router, which is down: connection refused\n  \
         a requires: requires router, which is down\n    router error: connection refused\n  \
         a error: no route\nnext: it asks again in 12s",
    );
    // Through another, and not by what is down beside it.
    check(
        &[
            behind("a", &["cache", "switch", "ok"], "router"),
            behind("switch", &["router"], "router"),
            of("cache", Health::Down),
            of("ok", Health::Ready),
            of("router", Health::Down),
        ],
        &[],
        "a has been unknown (parent router) for 1m0s: it requires switch, which is unknown (parent router) and \
         requires router, which is down: connection refused\n  \
         a requires: requires switch, which is unknown (parent router)\n    \
         switch requires: requires router, which is down\n      router error: connection refused\n    \
         switch error: no route\n  a requires: requires cache, which is down\n    \
         cache error: connection refused\n  a error: no route\nnext: it asks again in 12s",
    );
    // Through one that works in part.
    let switch = LoopStatus { requires: names(&["router"]), ..of("switch", Health::Degraded) };
    let child = behind("a", &["cache", "switch"], "router");
    let loops = [child, switch, of("cache", Health::Down), of("router", Health::Down)];
    let found = why("a", secs(0), &loops, &[]).unwrap();
    assert!(found.sentence.contains(": it requires switch, which is degraded"), "{found:?}");
    // One whose way to it nobody knows.
    let why = why("a", secs(0), &[behind("a", &[], "router"), of("router", Health::Down)], &[]).unwrap();
    assert_eq!(why.parent, "router".parse().ok());
    assert!(why.sentence.ends_with("it requires router, which is down: connection refused"), "{why:?}");
}

#[test]
fn a_descriptor_that_cannot_be_used_is_a_cause() {
    let rejected = |name: &str, runs| Rejected {
        name: Some(name.parse().unwrap()),
        runs,
        file: format!("{name}.json"),
        error: "1:2: no".to_owned(),
        retry_at: None,
    };
    let again = |name: &str, runs| Rejected {
        retry_at: Some(Stamp::from_micros(AT + 5_000_000)),
        ..rejected(name, runs)
    };
    check(
        &[],
        &[again("a", false)],
        "a does not run: its descriptor a.json did not come up: 1:2: no\n  \
         a rejected: its descriptor a.json did not come up: 1:2: no\n\
         next: a.json is tried again in 5s",
    );
    // Rolled back, and not up again yet.
    let component = LoopStatus {
        kind: LoopKind::Component,
        phase: Phase::Recovering,
        next_run: None,
        last_error: None,
        ..of("a", Health::Down)
    };
    check(
        &[component],
        &[again("a", true)],
        "a has been down for 1m0s: an edit of a.json did not come up: 1:2: no\n  \
         a rejected: an edit of a.json did not come up: 1:2: no\n\
         next: it is started again after a delay",
    );
    // Its first start, tried once more.
    let component = LoopStatus {
        kind: LoopKind::Component,
        phase: Phase::Starting,
        next_run: None,
        last_error: None,
        ..of("a", Health::Unknown)
    };
    check(
        &[component],
        &[again("a", false)],
        "a has been unknown for 1m0s: its descriptor a.json did not come up: 1:2: no\n  \
         a rejected: its descriptor a.json did not come up: 1:2: no\n\
         next: a.json is tried again in 5s",
    );
    check(
        &[],
        &[rejected("a", false)],
        "a does not run: its descriptor a.json cannot be used: 1:2: no\n  \
         a rejected: its descriptor a.json cannot be used: 1:2: no\n\
         next: it is read again when a.json changes",
    );
    check(
        &[of("a", Health::Ready)],
        &[rejected("a", true)],
        "a has been ready for 1m0s: an edit of a.json cannot be used, what it said before still runs: 1:2: no\n  \
         a rejected: an edit of a.json cannot be used, what it said before still runs: 1:2: no\n\
         next: it asks again in 12s",
    );
    check(
        &[waiting("a", &["b"])],
        &[rejected("b", false)],
        "a has been waiting for 1m0s: it waits for b, which is not there: its descriptor \
         b.json cannot be used: 1:2: no\n  a requires: waits for b, which is not there\n    \
         b rejected: its descriptor b.json cannot be used: 1:2: no\nnext: it starts when b can take work",
    );
    assert_eq!(why("b", Stamp::from_micros(AT), &[of("a", Health::Ready)], &[rejected("a", true)]), None);
}

#[test]
fn the_one_in_trouble_is_meant_and_what_it_waits_for_is_named_anyway() {
    let component = LoopStatus { kind: LoopKind::Component, ..of("a", Health::Ready) };
    check(
        &[component, of("a", Health::Down)],
        &[],
        "a has been down for 1m0s: connection refused\n  a error: connection refused\nnext: it asks again in 12s",
    );
    // It became ready a moment ago, and who waits has not noticed.
    check(
        &[waiting("a", &["b"]), of("b", Health::Ready)],
        &[],
        "a has been waiting for 1m0s: it waits for b, which is ready\n  a requires: waits for b, which is ready\n\
         next: it starts when b can take work",
    );
    let late = LoopStatus {
        next_run: Some(Stamp::from_micros(AT)),
        attempt: 9,
        max_attempts: Some(10),
        ..of("a", Health::Down)
    };
    check(
        &[late],
        &[],
        "a has been down for 1m0s: connection refused\n  a error: connection refused\nnext: it asks again at \
         once\ngives up: after 1 more failed attempt (9 of 10 were made) it asks at its regular times only",
    );
}

#[test]
fn each_that_is_silent_is_said_to_be_wherever_it_is_met() {
    let silent = |name: &str| LoopStatus { runs: 0, ..of(name, Health::Unknown) };
    check(
        &[waiting("a", &["b", "x", "y"]), waiting("b", &["x"]), silent("x"), of("y", Health::Down)],
        &[],
        "a has been waiting for 1m0s: it waits for b, which is waiting and waits for x, which is unknown: it was \
         not called yet\n  a requires: waits for b, which is waiting\n    \
         b requires: waits for x, which is unknown\n      x unheard: it was not called yet\n  \
         a requires: waits for x, which is unknown\n    x unheard: it was not called yet\n  \
         a requires: waits for y, which is down\n    y error: connection refused\n\
         next: it starts when b, x, y can take work",
    );
    // Beside one that says why.
    let why = why("a", secs(0), &[waiting("a", &["y", "x"]), of("y", Health::Down), silent("x")], &[]);
    let kinds: Vec<_> = why.unwrap().causes.iter().map(|cause| cause.kind.as_str()).collect();
    assert_eq!(kinds, ["requires", "error", "requires", "unheard"]);
}

#[test]
fn a_monitor_is_as_its_checkers_are() {
    let checker = |name: &str, health, call| CheckerStatus {
        name: name.parse().unwrap(),
        role: Role::default(),
        health,
        since: secs(5),
        reason: (health != Health::Ready).then(|| "no".into()),
        last_check: None,
        age: None,
        duration: None,
        last_success: None,
        last_error: None,
        stuck_for: None,
        call,
        thread: None,
        deadline: Duration::from_secs(1),
        stale_after: Duration::from_secs(1),
        checks: CheckCounts::default(),
        items: Tally::default(),
        not_ready: Vec::new(),
        more_not_ready: 0,
        left_out: 0,
    };
    let call = |stuck| CallStatus {
        phase: "reading".into(),
        phase_for: Duration::from_secs(7),
        deadline: None,
        stuck,
        activity: None,
    };
    let monitor = |checkers| LoopStatus {
        kind: LoopKind::Monitor,
        monitor: Some(Box::new(MonitorStatus {
            poll_period: Duration::from_secs(1),
            principal: None,
            passes: 1,
            items: Tally::default(),
            checkers,
        })),
        ..of("a", Health::Down)
    };
    let checkers = vec![
        checker("c1", Health::Ready, None),
        checker("c2", Health::Degraded, Some(call(false))),
        checker("c3", Health::Unknown, Some(call(true))),
    ];
    check(
        &[monitor(checkers)],
        &[],
        "a has been down for 1m0s: checker c2 is degraded: no\n  a checker: checker c2 is degraded: no\n  \
         a stuck: checker c3: its call is stuck, reading for 7s\nnext: its checkers look again in 12s",
    );
    let many = (0..200).map(|i| checker(&format!("c{i}"), Health::Down, None)).collect();
    assert_eq!(why("a", secs(0), &[monitor(many)], &[]).unwrap().causes.len(), MAX_CAUSES);
}

#[test]
fn a_chain_is_followed_so_far() {
    let loops: Vec<LoopStatus> = (0..40)
        .map(|i| {
            let name = if i == 0 { "a".to_owned() } else { format!("x{i}") };
            waiting(&name, &[&format!("x{}", i + 1)])
        })
        .collect();
    let why = why("a", secs(0), &loops, &[]).unwrap();
    assert_eq!(why.causes.iter().map(|cause| cause.depth).max(), Some(MAX_DEPTH));
}

#[test]
fn many_causes_are_bounded() {
    let all: Vec<String> = (0..200).map(|i| format!("x{i}")).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let mut loops: Vec<LoopStatus> = all.iter().map(|name| waiting(name, &all)).collect();
    loops.push(waiting("a", &all));
    let why = why("a", Stamp::from_micros(AT), &loops, &[]).unwrap();
    assert!(why.causes.len() <= MAX_CAUSES + 1 && why.sentence.len() < 4096, "{}", why.causes.len());
}

#[test]
fn times_are_as_exact_as_people_need_them() {
    for (ms, expected) in
        [(0, "0s"), (99, "0s"), (640, "600ms"), (2345, "2.3s"), (10_900, "10s"), (3_600_000, "1h0m0s")]
    {
        assert_eq!(rounded(Duration::from_millis(ms)).to_string(), expected, "{ms}");
    }
}

#[test]
fn what_comes_next_is_the_first_of_these_that_holds() {
    let at = Stamp::from_micros(AT);
    let due = |kind| LoopStatus { kind, ..of("a", Health::Down) };
    let none = |kind, phase| LoopStatus { phase, next_run: None, ..due(kind) };
    let component = LoopKind::Component;
    for (status, expected) in [
        (due(LoopKind::Deployer), "the files are looked at again in 12s"),
        (due(LoopKind::Controller), "it runs again in 12s"),
        (none(component, Phase::Recovering), "it is started again after a delay"),
        (none(component, Phase::Stopped), "nothing: it is left as failed until its descriptor changes"),
        (none(LoopKind::Watcher, Phase::Stopped), "nothing: it was told to end"),
        (none(component, Phase::Starting), "it is being started"),
        (none(component, Phase::Running), "it goes on"),
    ] {
        assert_eq!(next::of(&status, at, None).what, expected);
    }
}
