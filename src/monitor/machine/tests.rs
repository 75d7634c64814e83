//! Tables of what a monitor decides.

use super::*;
use crate::error::ErrorKind;
use crate::monitor::Report;
use crate::status::Role;

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn at(seconds: u64) -> Tick {
    Tick::ZERO + secs(seconds)
}

/// Every 60 s; what was found counts for 180 s.
fn machine(names: &[&str]) -> MonitorMachine {
    let settings = Settings { poll_period: secs(60), critical: false, spread: false, principal: None };
    let about = |name: &&str| Checked {
        name: name.parse().expect("a name"),
        role: Role::default(),
        deadline: secs(10),
        stale_after: secs(180),
    };
    MonitorMachine::new("m".parse().expect("a name"), settings, names.iter().map(about).collect())
}

fn found(items: &[(&str, Health)]) -> Found {
    let report = Report::new();
    for (name, health) in items {
        report.state(*name, *health, "told so");
    }
    report.close()
}

/// Steps a machine of the checkers `a`, `b` .. through `script`, and
/// compares what it does after each line: `moment input: result events..`.
/// The inputs: turn (its result is the checker that is to look, or until
/// when nothing is), ok, no, panic, timeout (by itself), cancelled, none
/// (no items), half (one good item, one bad), part (an error after a good
/// item), hang, late, each with a checker; poke, age (until when all is
/// fresh), stop, start.
fn check(names: &[&str], script: &str) -> MonitorMachine {
    let mut machine = machine(names);
    machine.start(Tick::ZERO);
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (left, expected) = line.split_once(':').expect("input: expected");
        let mut words = left.split_whitespace();
        let now = at(words.next().and_then(|word| word.parse().ok()).expect("a moment"));
        let input = words.next().expect("an input");
        let idx = words.next().map_or(0, |name| names.iter().position(|other| *other == name).unwrap());
        let mut events = Vec::new();
        let mut out = Vec::new();
        let until = |tick: Tick| match tick {
            Tick::NEVER => "-".to_owned(),
            tick => tick.since(Tick::ZERO).as_secs().to_string(),
        };
        let error = |kind| Err(Error::new(kind).context("told so"));
        let result = match input {
            "ok" => Some((Ok(Verdict::Ready), found(&[]))),
            "degraded" => Some((Ok(Verdict::Degraded("half".into())), found(&[]))),
            "none" => Some((Ok(Verdict::Items), found(&[]))),
            "half" => Some((Ok(Verdict::Items), found(&[("x", Health::Ready), ("y", Health::Down)]))),
            "no" => Some((error(ErrorKind::Component), found(&[]))),
            "part" => Some((error(ErrorKind::Component), found(&[("x", Health::Ready)]))),
            "panic" => Some((error(ErrorKind::Panicked), found(&[]))),
            "timeout" => Some((error(ErrorKind::Timeout), found(&[]))),
            "cancelled" => Some((error(ErrorKind::Cancelled), found(&[]))),
            _ => None,
        };
        if let Some((result, found)) = result {
            out.push(format!("{:?}", machine.returned(now, idx, result, found, secs(1), &mut events)));
        }
        match input {
            "turn" => out.push(match machine.turn(now, &mut events) {
                Turn::Call(idx) => names[idx].to_owned(),
                Turn::Wait(due) => until(due),
            }),
            "hang" => machine.timed_out(
                now,
                idx,
                Tick::from_nanos(now.nanos() - 10_000_000_000),
                found(&[]),
                &mut events,
            ),
            "late" => events.push(machine.late(now, idx)),
            "poke" => machine.poke(now),
            "age" => out.push(until(machine.age(now, &mut events))),
            "stop" => machine.stop(now, None),
            "start" => machine.start(now),
            _ => {}
        }
        out.extend(events.iter().map(|event| match event {
            EventKind::CheckerChanged { checker, from, to, .. } => format!("{checker}:{from}>{to}"),
            EventKind::HealthChanged { from, to, .. } => format!("{from}>{to}"),
            other => other.as_str().to_owned(),
        }));
        assert_eq!(out.join(" "), expected.trim(), "{line}");
    }
    machine
}

#[test]
fn cum_01_a_pass_asks_all_in_order_and_the_next_is_due_a_period_after_it_began() {
    let machine = check(
        &["b", "a"],
        "0 turn: b
         1 ok b: Success b:unknown>ready
         1 turn: a
         2 ok a: Success a:unknown>ready
         2 turn: 60 unknown>ready
         59 turn: 60
         60 turn: b
         61 ok b: Success
         61 turn: a
         62 ok a: Success
         62 turn: 120",
    );
    assert_eq!((machine.passes, machine.record.missed, machine.totals().ok), (2, 0, 4));
}

#[test]
fn wum_12_passes_whose_time_passes_during_another_are_counted() {
    let machine = check(
        &["a"],
        "0 turn: a
         200 ok a: Success a:unknown>ready
         200 turn: 240 unknown>ready
         240 turn: a
         240 ok a: Success
         240 turn: 300
         500 turn: a
         500 ok a: Success
         500 turn: 540",
    );
    assert_eq!(machine.record.missed, 3 + 3, "60, 120, 180; 360, 420, 480");
}

#[test]
fn wum_02_who_hangs_is_left_out_until_it_is_back() {
    let machine = check(
        &["a", "b"],
        "0 turn: a
         10 hang a: check_timed_out a:unknown>down
         10 turn: b
         10 ok b: Success b:unknown>ready
         10 turn: 60 unknown>degraded
         60 turn: b
         60 no b: Error b:ready>down degraded>down
         60 turn: 120
         70 late a: check_late
         120 turn: a
         121 ok a: Success a:down>ready
         121 turn: b
         121 ok b: Success b:down>ready
         121 turn: 180 down>ready",
    );
    let a = &machine.checkers[0];
    assert_eq!((a.counts.skipped, a.counts.timeouts, a.stuck_since), (1, 1, None));
}

#[test]
fn each_ending_is_counted_apart_and_a_cancel_teaches_nothing() {
    let machine = check(
        &["a"],
        "0 turn: a
         0 no a: Error a:unknown>down unknown>down
         0 turn: 60
         60 turn: a
         60 panic a: Panic
         60 turn: 120
         120 turn: a
         120 timeout a: Timeout
         120 turn: 180
         180 turn: a
         180 cancelled a: Nothing
         180 turn: 240
         240 turn: a
         240 degraded a: Success a:down>degraded
         240 turn: 300 down>degraded
         300 turn: a
         300 half a: Success
         300 turn: 360
         360 turn: a
         360 part a: Error
         360 turn: 420
         420 turn: a
         420 none a: Success a:degraded>unknown degraded>unknown
         420 turn: 480",
    );
    let CheckCounts { ok, failed, panics, timeouts, skipped } = machine.totals();
    assert_eq!((ok, failed, panics, timeouts, skipped), (3, 2, 1, 1, 1));
}

#[test]
fn wum_07_what_is_too_old_is_unknown_at_its_moment() {
    let machine = check(
        &["a", "b"],
        "0 turn: a
         1 ok a: Success a:unknown>ready
         1 turn: b
         5 ok b: Success b:unknown>ready
         5 turn: 60 unknown>ready
         180 age: 181
         181 age: 185 a:ready>unknown ready>degraded
         181 age: 185
         185 age: - b:ready>unknown degraded>unknown
         200 turn: a
         200 ok a: Success a:unknown>ready
         200 age: 380",
    );
    assert_eq!(machine.stale_at(), at(380));
    // Also before anybody said so.
    let (health, status) = machine.view(at(380), Stamp::from_micros(0));
    assert_eq!((health, status.checkers[0].health), (Health::Unknown, Health::Unknown));
    assert_eq!(status.checkers[0].age, Some(secs(180)));
    let (health, status) = machine.view(at(379), Stamp::from_micros(0));
    assert_eq!((health, status.checkers[0].health), (Health::Unknown, Health::Ready));
}

#[test]
fn a_poke_makes_the_next_pass_now_or_right_after_this_one() {
    let machine = check(
        &["a"],
        "0 turn: a
         0 poke:
         0 poke:
         5 ok a: Success a:unknown>ready
         5 turn: a unknown>ready
         6 ok a: Success
         6 turn: 60
         30 poke:
         30 turn: a
         30 ok a: Success
         30 turn: 60
         60 stop:
         60 poke:
         60 turn: -",
    );
    assert_eq!(machine.record.missed, 0);
    check(&[], "0 turn: -\n 0 poke:\n 0 turn: -");
}

#[test]
fn what_is_told_is_what_was_found_last() {
    let first = "0 turn: a
         2 degraded a: Success a:unknown>degraded
         2 turn: 60 unknown>degraded";
    let second = "60 turn: a
         61 no a: Error a:degraded>down degraded>down
         61 turn: 120";
    let third = "70 stop:
         80 start:";
    let wall = Stamp::from_micros(100_000_000);
    let seen = |machine: &MonitorMachine, now| {
        let (_, mut status) = machine.view(at(now), wall);
        let a = status.checkers.remove(0);
        let ago = a.last_success.map(|then| (wall.as_micros() - then.as_micros()) / 1_000_000);
        (a.reason.map(|text| text.to_string()), a.last_error.map(|text| text.to_string()), ago, a.duration)
    };
    let none = (None, None, None, None);
    assert_eq!(seen(&check(&["a"], ""), 1), none);
    let machine = check(&["a"], first);
    let record = &machine.record;
    assert_eq!((record.phase, record.latency), (Phase::Polling, Some(secs(2))));
    assert_eq!((record.last_check, record.last_success), (Some(at(2)), Some(at(2))));
    assert_eq!(seen(&machine, 2), (Some("half".into()), None, Some(0), Some(secs(1))));
    let machine = check(&["a"], &format!("{first}\n{second}"));
    let told = || Some("told so".to_owned());
    assert_eq!(seen(&machine, 61), (told(), told(), Some(59), Some(secs(1))));
    assert_eq!(seen(&check(&["a"], &format!("{first}\n{second}\n{third}")), 90), none);
}

#[test]
fn a_look_that_goes_on_over_a_stop_is_not_made_twice() {
    let mut machine = machine(&["a", "b"]);
    machine.start(at(0));
    let turn = |machine: &mut MonitorMachine, now| machine.turn(at(now), &mut Vec::new());
    assert_eq!(turn(&mut machine, 0), Turn::Call(0));
    machine.stop(at(5), Some((0, at(0))));
    machine.start(at(10));
    assert_eq!(turn(&mut machine, 10), Turn::Call(1));
    assert_eq!(turn(&mut machine, 10), Turn::Wait(at(70)));
    assert_eq!(machine.view(at(10), Stamp::from_micros(0)).1.checkers[0].stuck_for, Some(secs(10)));
    machine.late(at(20), 0);
    assert_eq!(turn(&mut machine, 70), Turn::Call(0));
}

#[test]
fn what_is_undecided_says_why_and_changes_nothing() {
    let undecided = || Err(Error::new(ErrorKind::Probe).context("none yet").undecided());
    let mut machine = machine(&["a"]);
    machine.start(at(5));
    let mut look = |now, result| {
        let mut events = Vec::new();
        let ending = machine.returned(at(now), 0, result, found(&[]), secs(1), &mut events);
        let (_, mut status) = machine.view(at(now), Stamp::from_micros(10_000_000));
        let a = status.checkers.remove(0);
        (ending, events.len(), a.health, a.reason.map(|text| text.to_string()), a.checks.skipped, a.checks.ok)
    };
    let why = || Some("none yet".to_owned());
    assert_eq!(look(6, undecided()), (Ending::Nothing, 0, Health::Unknown, why(), 1, 0));
    assert_eq!(look(7, Ok(Verdict::Ready)), (Ending::Success, 2, Health::Ready, None, 1, 1));
    assert_eq!(look(8, undecided()), (Ending::Nothing, 0, Health::Ready, None, 2, 1));
}

#[test]
fn a_checker_that_has_not_looked_is_unknown_since_the_start() {
    let mut machine = machine(&["a"]);
    machine.start(at(5));
    let (_, status) = machine.view(at(7), Stamp::from_micros(10_000_000));
    assert_eq!(status.checkers[0].since, Stamp::from_micros(8_000_000));
}

#[test]
fn a_start_forgets_all_but_the_totals_and_who_hangs() {
    let machine = check(
        &["a", "b"],
        "0 turn: a
         10 hang a: check_timed_out a:unknown>down
         10 turn: b
         11 half b: Success b:unknown>degraded
         11 turn: 60 unknown>degraded
         20 stop:
         30 start:
         30 turn: b
         31 ok b: Success b:unknown>ready
         31 turn: 90 unknown>degraded",
    );
    let (_, status) = machine.view(at(40), Stamp::from_micros(0));
    let [a, b] = &status.checkers[..] else { panic!("two checkers") };
    assert_eq!((a.health, a.stuck_for, a.last_check), (Health::Unknown, Some(secs(40)), None));
    assert_eq!((b.health, b.items.total(), b.checks.ok), (Health::Ready, 0, 2));
    assert_eq!(status.passes, 2);
}
