//! What the supervisor decides, as tables: no threads, no clock.

use super::super::restart::{Restart, RestartBudget, RestartPolicy, WhenExhausted};
use super::*;
use crate::error::ErrorClass;
use crate::event::Health;

pub(super) const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn at(seconds: u64) -> Tick {
    Tick::ZERO + secs(seconds)
}

/// A machine and a script for it.
struct Bench {
    machine: Supervisor,
    now: u64,
    next: u64,
}

pub(super) fn error(text: &str) -> Error {
    Error::new(ErrorKind::Component).context(text.to_owned())
}

impl Bench {
    /// Components written as `name`, `name<required`, `name<required!` (stops
    /// with it) or `name<required@5` (waits so long), apart by spaces.
    fn new(components: &str, parallel: usize) -> Self {
        let settings = Settings { shutdown_timeout: secs(30), parallel };
        let mut bench = Self { machine: Supervisor::new(settings, 0), now: 0, next: 0 };
        for text in components.split_whitespace() {
            let (id, mut out) = (bench.id(), Vec::new());
            bench.machine.add(at(0), id, spec(text), None, &mut out).unwrap();
        }
        bench
    }

    fn id(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Does what one word says and answers what came of it: calls as
    /// `+name` and `-name`, events in brackets where `events` is true,
    /// answers as `ok` or the error in quotes, drops as `~name`.
    fn step(&mut self, word: &str, events: bool) -> String {
        let now = at(self.now);
        let mut out = Vec::new();
        let names: std::collections::HashMap<Id, String> =
            self.machine.members.iter().map(|m| (m.id, m.name().to_string())).collect();
        let (verb, rest) = word.split_once(' ').unwrap_or((word, ""));
        let (name, text) = rest.split_once(' ').unwrap_or((rest, ""));
        let id = |machine: &Supervisor| {
            let member = machine.members.iter().rev().find(|m| m.name().as_str() == name).unwrap();
            (member.id, member.generation)
        };
        let result = match verb {
            "start" => {
                let op = self.id();
                self.machine.start(now, op, &mut out)
            }
            "stop" => {
                self.machine.stop(now, secs(name.parse().unwrap_or(30)), &mut out);
                Ok(())
            }
            "deploy" => {
                let (id, op) = (self.id(), self.id());
                self.machine.add(now, id, spec(name), Some(op), &mut out)
            }
            "undeploy" => {
                let op = self.id();
                self.machine.remove(now, name, secs(60), op, &mut out)
            }
            "replace" => {
                let (id, op) = (self.id(), self.id());
                self.machine.replace(now, id, spec(name), secs(5), op, &mut out)
            }
            "wait" => {
                self.now += name.parse::<u64>().unwrap();
                self.machine.tick(at(self.now), &mut out);
                Ok(())
            }
            _ => {
                let (id, generation) = id(&self.machine);
                let returned = |call, result| Input::Returned { call, result, took: secs(0) };
                let input = match verb {
                    "started" if text.is_empty() => returned(Call::Start, Ok(())),
                    "started" => returned(Call::Start, Err(error(text))),
                    "heeds" => returned(Call::Start, Err(ErrorKind::Cancelled.into())),
                    "stopped" if text.is_empty() => returned(Call::Stop, Ok(())),
                    "stopped" => returned(Call::Stop, Err(error(text))),
                    "stuck-start" => Input::Overdue { call: Call::Start, stuck_for: secs(9) },
                    "stuck-stop" => Input::Overdue { call: Call::Stop, stuck_for: secs(9) },
                    "hopeless" => Input::Reported(Report::Failed(Error::terminal("no licence"))),
                    "fails" => Input::Reported(Report::Failed(error("gone"))),
                    "done" => Input::Reported(Report::Done),
                    "unknown" => Input::Reported(Report::Health(Health::Unknown)),
                    "down" => Input::Reported(Report::Health(Health::Down)),
                    "ready" => Input::Reported(Report::Health(Health::Ready)),
                    _ => unreachable!("{verb}"),
                };
                self.machine.step(now, id, generation, input, &mut out);
                Ok(())
            }
        };
        let mut words: Vec<String> = result.err().map(|_| "refused".to_owned()).into_iter().collect();
        let name = |id: Id| {
            let member = self.machine.members.iter().find(|m| m.id == id);
            member.map(|m| m.name().to_string()).or_else(|| names.get(&id).cloned()).unwrap_or_default()
        };
        for action in out {
            match action {
                Action::Call { id, call: Call::Start, .. } => words.push(format!("+{}", name(id))),
                Action::Call { id, call: Call::Stop, .. } => words.push(format!("-{}", name(id))),
                Action::Discard { id } => words.push(format!("~{}", name(id))),
                Action::Answer { result: Ok(()), .. } => words.push("ok".to_owned()),
                Action::Answer { result: Err(error), .. } => words.push(format!("'{error}'")),
                Action::Tell { source, what } if events => {
                    words.push(format!("[{source} {}]", what.as_str()))
                }
                Action::Tell { .. } | Action::Cancel { .. } => {}
            }
        }
        words.join(" ")
    }
}

pub(super) fn spec(text: &str) -> Spec {
    let (name, requires) = text.split_once('<').unwrap_or((text, ""));
    let requires = requires.split(',').filter(|word| !word.is_empty());
    let require = |word: &str| {
        let (word, seconds) = word.split_once('@').unwrap_or((word, ""));
        Require {
            name: word.trim_end_matches('!').parse().unwrap(),
            or_stop: word.ends_with('!'),
            timeout: seconds.parse().ok().map(secs),
        }
    };
    Spec {
        name: name.parse().unwrap(),
        requires: requires.map(require).collect(),
        restart: Restart {
            policy: RestartPolicy::Transient,
            jitter: 0.0,
            budget: RestartBudget { max_restarts: 2, window: secs(60) },
            ..Restart::default()
        },
        start_timeout: secs(30),
        stop_timeout: secs(10),
        wait_timeout: None,
        critical: true,
    }
}

/// Plays a table of inputs and what each leads to.
#[track_caller]
fn check(components: &str, table: &[(&str, &str)]) {
    let mut bench = Bench::new(components, 1);
    for (i, (input, expected)) in table.iter().enumerate() {
        let found = bench.step(input, false);
        assert_eq!(found, *expected, "line {i}: {input}");
    }
}

#[test]
fn one_after_the_other_and_back() {
    check(
        "a b",
        &[
            ("start", "+a"),
            ("started a", "+b"),
            ("started b", "ok"),
            ("stop", "-b"),
            ("stopped b", "-a"),
            ("stopped a", ""),
            ("stop", ""),
            ("start", "+a"),
        ],
    );
}

#[test]
fn a_failed_start_is_undone() {
    check(
        "a b c",
        &[
            ("start", "+a"),
            ("started a", "+b"),
            ("started b boom", "-b"),
            ("stopped b", "-a"),
            ("stopped a bang", "'b: start: boom; a: stop: bang'"),
            ("start", "refused"),
            ("stop", "-a"),
            ("stopped a", ""),
            ("start", "+a"),
        ],
    );
}

#[test]
fn a_stop_while_it_starts() {
    check(
        "a b c",
        &[
            ("start", "+a"),
            ("started a", "+b"),
            ("stop", ""),
            ("started b", "-b"),
            ("stopped b", "-a"),
            ("stopped a", "'host: stopped while it started'"),
        ],
    );
    // One that does not hear its cancel is left behind in time.
    check(
        "a b c",
        &[
            ("start", "+a"),
            ("started a", "+b"),
            ("stop", ""),
            ("wait 9", ""),
            ("wait 1", "-a"),
            ("stopped a", "'host: stopped while it started'"),
            ("started b", "-b"),
            ("stopped b", ""),
            ("start", "+a"),
        ],
    );
}

#[test]
fn one_told_to_end_its_start_before_holds_up_no_stop() {
    check(
        "a",
        &[
            ("start", "+a"),
            ("started a", "ok"),
            ("deploy x", "+x"),
            ("undeploy x", "'x: removed'"),
            ("stop 2", "'x: the host stops'"),
            ("wait 2", "-a"),
            ("stopped a", ""),
            ("started x", "-x"),
            ("stopped x", "~x"),
        ],
    );
    // Its own time is not made longer.
    check(
        "a",
        &[
            ("start", "+a"),
            ("started a", "ok"),
            ("deploy x", "+x"),
            ("undeploy x", "'x: removed'"),
            ("wait 9", ""),
            ("stop", "'x: the host stops'"),
            ("wait 1", "-a"),
        ],
    );
}

#[test]
fn a_start_that_heeds_its_cancel_has_not_failed() {
    for (input, told) in [
        (
            &["start", "started a", "stop", "heeds b", "stopped b", "stopped a"][..],
            "'host: stopped while it started'",
        ),
        (&["start", "started a", "started b", "deploy x", "undeploy x", "heeds x", "stopped x"], "~x ok"),
        (
            &[
                "start",
                "started a",
                "started b",
                "deploy x",
                "replace x",
                "heeds x",
                "stopped x",
                "started x",
            ],
            "[x component_replaced] ok",
        ),
    ] {
        let mut bench = Bench::new("a b", 1);
        let lines: Vec<String> = input.iter().map(|word| bench.step(word, true)).collect();
        assert!(!lines.join(" ").contains("component_failed"), "{lines:?}");
        assert!(lines.iter().any(|line| line.contains(told)), "{lines:?}");
        for member in bench.machine.members() {
            assert!(member.stage != Stage::Failed && member.last_error.is_none(), "{member:?}");
        }
    }
    // Nobody told it to end.
    check("a", &[("start", "+a"), ("heeds a", "-a"), ("stopped a", "'a: start: cancelled'")]);
}

#[test]
fn whoever_waits_for_an_operation_hears_at_once_that_the_host_stops() {
    check(
        "a",
        &[
            ("start", "+a"),
            ("started a", "ok"),
            ("deploy x", "+x"),
            ("undeploy a", "-a"),
            ("stop", "'a: the host stops' 'x: the host stops'"),
            ("deploy y", "refused"),
            ("undeploy a", "refused"),
            ("started x", ""),
            ("stopped a", "~a -x"),
            ("stopped x", "~x"),
        ],
    );
}

#[test]
fn restarts_have_delays_and_a_budget() {
    check(
        "a",
        &[
            ("start", "+a"),
            ("started a", "ok"),
            ("fails a", "-a"),
            ("fails a", ""),
            ("stopped a", ""),
            ("wait 1", "+a"),
            ("started a", ""),
            ("fails a", "-a"),
            ("stopped a", ""),
            ("wait 1", ""),
            ("wait 1", "+a"),
            ("started a boom", "-a"),
            ("stopped a", ""),
            ("wait 600", ""),
            ("stop", ""),
            ("start", "+a"),
            ("started a", "ok"),
            ("done a", "-a"),
            ("stopped a", ""),
            ("wait 600", ""),
        ],
    );
}

#[test]
fn what_goes_down_takes_along_what_said_so() {
    check(
        "db api<db! log<db",
        &[
            ("start", "+db"),
            ("started db", "+api"),
            ("started api", "+log"),
            ("started log", "ok"),
            ("down db", "-api"),
            ("ready db", ""),
            ("stopped api", "+api"),
            ("started api", ""),
            ("fails db", "-api"),
            ("stopped api", "-db"),
            ("stopped db", ""),
            ("wait 1", "+db"),
            ("started db", "+api"),
        ],
    );
}

#[test]
fn a_stuck_call_is_left_behind_and_looked_after() {
    check(
        "a b",
        &[
            ("start", "+a"),
            ("started a", "+b"),
            ("stuck-start b", "-a"),
            ("stopped a", "'b: start: still in start after 9s'"),
            ("start", "refused"),
            ("started b", "-b"),
            ("stopped b", ""),
            ("start", "+a"),
            ("started a", "+b"),
            ("started b", "ok"),
            ("undeploy b", "-b"),
            ("stuck-stop b", "'b: stop: still in stop after 9s'"),
            ("deploy b", "+b"),
            ("started b", "ok"),
        ],
    );
}

#[test]
fn a_replacement_comes_up_or_gives_way() {
    let begun = [("start", "+a"), ("started a", "ok"), ("replace a", "-a"), ("stopped a", "+a")];
    for rest in [
        &[("started a", "~ ok")][..],
        &[("started a boom", "-a"), ("stopped a", "'a: replace: boom' ~a +a"), ("started a", "")],
        // Nothing of it failed: it stays, though nobody knows how it is.
        &[("unknown a", ""), ("started a", ""), ("wait 4", ""), ("wait 1", "~ ok"), ("wait 600", "")],
        &[("unknown a", ""), ("started a", ""), ("wait 5", "~ ok"), ("fails a", "-a"), ("stopped a", "")],
        &[
            ("unknown a", ""),
            ("started a", ""),
            ("fails a", "-a"),
            ("wait 5", ""),
            ("stopped a", "'a: replace: gone' ~a +a"),
        ],
        // Whoever waits was told that the host stops: it is as it was.
        &[
            ("unknown a", ""),
            ("started a", ""),
            ("stop", "'a: the host stops' -a"),
            ("wait 5", ""),
            ("stopped a", "~a"),
        ],
        &[("unknown a", ""), ("started a", ""), ("down a", "~ ok")],
        &[("wait 5", ""), ("started a", "-a"), ("stopped a", "'a: replace: not up within 5s' ~a +a")],
        &[("stop", "'a: the host stops'"), ("started a", "-a"), ("stopped a", "~a")],
        &[("stuck-start a", "'a: replace: still in start after 9s' +a")],
    ] {
        let table: Vec<_> = begun.iter().chain(rest).copied().collect();
        check("a", &table);
    }
    let begun = [("start", "+a"), ("started a", "ok"), ("replace a", "-a")];
    for rest in [
        &[("stopped a bang", "~ 'a: stop: bang'"), ("wait 1", "+a")][..],
        &[("stuck-stop a", "~ 'a: stop: still in stop after 9s'"), ("stopped a", ""), ("wait 1", "+a")],
        &[
            ("undeploy a", "refused"),
            ("replace a", "refused"),
            ("stop", "~ 'a: the host stops'"),
            ("stopped a", ""),
        ],
    ] {
        let table: Vec<_> = begun.iter().chain(rest).copied().collect();
        check("a", &table);
    }
}

#[test]
fn together_the_requirements_are_the_order() {
    let mut bench = Bench::new("a b<a c d<b,c", 3);
    for (input, expected) in [
        ("start", "+a +c"),
        ("started c", ""),
        ("started a", "+b"),
        ("started b", "+d"),
        ("started d", "ok"),
        ("stop", "-d"),
        ("stopped d", "-c -b"),
        ("stopped c", ""),
        ("stopped b", "-a"),
        ("stopped a", ""),
    ] {
        assert_eq!(bench.step(input, false), expected, "{input}");
    }
}

#[test]
fn every_turn_is_told_once() {
    let mut bench = Bench::new("a b<a", 1);
    for (input, expected) in [
        ("start", "[a component_starting] +a"),
        ("unknown a", ""),
        ("started a", "[b component_waiting] ok"),
        ("down a", "[a component_up]"),
        ("ready a", "[a component_ready] [b component_starting] +b"),
        ("started b", "[b component_up] [b component_ready]"),
        ("down a", "[a component_not_ready]"),
        ("fails b", "[b component_failed] [b component_stopping] -b"),
        ("stopped b", "[b component_stopped] [b component_restarting]"),
        ("wait 1", "[b component_waiting]"),
        ("ready a", "[a component_ready] [b component_starting] +b"),
    ] {
        assert_eq!(bench.step(input, true), expected, "{input}");
    }
}

#[test]
fn what_is_left_is_shared_with_those_to_come() {
    let millis = Duration::from_millis;
    for (asks, left, others, expected) in [
        (secs(10), secs(30), 0, secs(10)),
        (secs(10), secs(5), 0, secs(5)),
        (secs(10), secs(30), 999, secs(10)),
        (secs(20), secs(30), 999, secs(15)),
        (secs(20), secs(10), 10, secs(9)),
        (secs(20), secs(10), usize::MAX, secs(5)),
        (secs(20), Duration::ZERO, 7, millis(10)),
        (secs(20), Duration::MAX, 7, secs(20)),
    ] {
        assert_eq!(share(asks, left, others), expected, "{asks:?} of {left:?} with {others}");
    }
}

#[test]
fn whoever_deploys_what_is_replaced_meanwhile_hears_of_it() {
    let begun = [("start", "ok"), ("deploy a", "+a"), ("replace a", "'a: replaced'")];
    for rest in [
        &[("started a", "-a"), ("stopped a", "+a"), ("started a", "~ ok")][..],
        &[("started a boom", "-a"), ("stopped a", "+a"), ("started a", "~ ok")],
        &[("stuck-start a", "~ 'a: start: still in start after 9s'"), ("started a", "-a")],
        &[("stop", "~ 'a: the host stops'"), ("started a", "-a"), ("stopped a", "")],
    ] {
        let table: Vec<_> = begun.iter().chain(rest).copied().collect();
        check("", &table);
    }
}

#[test]
fn what_is_still_being_stopped_is_not_started() {
    check(
        "a b",
        &[
            ("start", "+a"),
            ("started a", "+b"),
            ("stuck-start b", "-a"),
            ("stopped a", "'b: start: still in start after 9s'"),
            ("started b", "-b"),
            ("start", "refused"),
            ("stopped b", ""),
            ("start", "+a"),
        ],
    );
    check(
        "a",
        &[
            ("start", "+a"),
            ("started a", "ok"),
            ("stop", "-a"),
            ("stopped a bang", ""),
            ("undeploy a", "-a"),
            ("start", "refused"),
            ("stopped a", "~a ok"),
            ("start", "ok"),
        ],
    );
}

#[test]
fn a_stop_that_fails_late_is_not_forgotten() {
    check(
        "a",
        &[
            ("start", "+a"),
            ("started a", "ok"),
            ("stop", "-a"),
            ("stuck-stop a", ""),
            ("stopped a bang", ""),
            ("start", "refused"),
            ("stop", "-a"),
            ("stopped a", ""),
            ("start", "+a"),
        ],
    );
}

#[test]
fn nobody_looks_again_for_what_waits_for_its_turn() {
    let mut bench = Bench::new("a b", 1);
    for (input, expected) in
        [("start", "+a"), ("started a", "+b"), ("fails a", "-a"), ("stopped a", ""), ("wait 1", "")]
    {
        assert_eq!(bench.step(input, false), expected, "{input}");
    }
    assert!(bench.machine.next_deadline() > at(bench.now), "until b has started, nothing can be done");
    assert_eq!(bench.step("started b", false), "+a");
}

#[test]
fn what_is_done_at_once_has_done_what_it_was_for() {
    check(
        "a",
        &[
            ("start", "+a"),
            ("started a", "ok"),
            ("replace a", "-a"),
            ("stopped a", "+a"),
            ("done a", ""),
            ("started a", "-a"),
            ("stopped a", "~ ok"),
        ],
    );
}

#[test]
fn a_replacement_that_loses_what_it_requires_is_not_to_blame() {
    check(
        "db a<db!",
        &[
            ("start", "+db"),
            ("started db", "+a"),
            ("started a", "ok"),
            ("replace a<db!", "-a"),
            ("stopped a", "+a"),
            ("unknown a", ""),
            ("started a", ""),
            ("down db", "-a"),
            ("stopped a", ""),
            ("ready db", "+a"),
            ("started a", "~ ok"),
        ],
    );
}

#[test]
fn a_replacement_that_still_stops_for_what_it_requires_stays() {
    check(
        "db a<db!",
        &[
            ("start", "+db"),
            ("started db", "+a"),
            ("started a", "ok"),
            ("replace a<db!", "-a"),
            ("stopped a", "+a"),
            ("unknown a", ""),
            ("started a", ""),
            ("down db", "-a"),
            ("wait 5", "~ ok"),
            ("stopped a", ""),
            ("ready db", "+a"),
        ],
    );
}

#[test]
fn a_replacement_that_a_start_waits_for_has_its_turn() {
    check(
        "b a",
        &[
            ("start", "+b"),
            ("started b", "+a"),
            ("replace b", "-b"),
            ("stopped b", "+b"),
            ("started b", "~ ok"),
            ("started a", "ok"),
        ],
    );
    // The start of the host does not wait for it.
    check(
        "b a",
        &[
            ("start", "+b"),
            ("started b", "+a"),
            ("replace b", "-b"),
            ("stopped b", "+b"),
            ("started a", "ok"),
            ("started b boom", "-b"),
            ("stopped b", "'b: replace: boom' ~b +b"),
        ],
    );
}

#[test]
fn a_replacement_waits_for_no_place_among_those_that_start() {
    let names: Vec<String> = (0..CONCURRENT_STARTS).map(|n| format!("x{n}")).collect();
    let mut bench = Bench::new(&format!("{} y", names.join(" ")), 1);
    bench.step("start", false);
    for name in names.iter().map(String::as_str).chain(["y"]) {
        bench.step(&format!("started {name}"), false);
    }
    for name in &names {
        bench.step(&format!("fails {name}"), false);
        bench.step(&format!("stopped {name}"), false);
    }
    bench.step("wait 1", false);
    for (input, expected) in [
        ("replace y", "-y"),
        ("stopped y", "+y"),
        ("wait 4", ""),
        ("started y boom", "-y"),
        // For that nobody asked.
        ("stopped y", "'y: replace: boom' ~y"),
        ("started x0", "+y"),
    ] {
        assert_eq!(bench.step(input, false), expected, "{input}");
    }
}

#[test]
fn a_short_grace_holds_for_one_undeploy() {
    let mut bench = Bench::new("a", 1);
    for (input, expected) in [("start", "+a"), ("started a", "ok")] {
        assert_eq!(bench.step(input, false), expected, "{input}");
    }
    let timeout = |bench: &mut Bench, grace| {
        let (op, mut out) = (bench.id(), Vec::new());
        bench.machine.remove(at(0), "a", grace, op, &mut out).unwrap();
        out.iter().find_map(|action| match action {
            Action::Call { timeout, .. } => Some(*timeout),
            _ => None,
        })
    };
    assert_eq!(timeout(&mut bench, secs(1)), Some(secs(1)));
    assert_eq!(bench.step("stopped a bang", false), "'a: stop: bang'");
    assert_eq!(timeout(&mut bench, secs(60)), Some(secs(10)), "as long as it asks for");
    assert_eq!(bench.step("stopped a bang", false), "'a: stop: bang'");
    let mut out = Vec::new();
    bench.machine.stop(at(0), secs(60), &mut out);
    assert!(out.iter().any(|action| matches!(action, Action::Call { timeout, .. } if *timeout == secs(10))));
}

#[test]
fn a_way_back_is_never_a_circle() {
    check(
        "b a<b",
        &[
            ("start", "+b"),
            ("started b", "+a"),
            ("started a", "ok"),
            ("replace a", "-a"),
            ("stopped a", "+a"),
            ("replace b<a", "refused"),
            ("deploy c<a", "ok"),
            ("replace b<c", "refused"),
            ("started a", "~ ok +c"),
            ("replace b<a", "-b"),
            // The one to come requires it already.
            ("replace a<b", "refused"),
            ("stopped b", "+b"),
            ("started b", "~ ok"),
        ],
    );
}

#[test]
fn what_others_lack_is_no_reason_to_refuse_a_replacement() {
    check(
        "db api<db z",
        &[
            ("start", "+db"),
            ("started db", "+api"),
            ("started api", "+z"),
            ("started z", "ok"),
            ("undeploy db", "-db"),
            ("stopped db", "~db ok"),
            ("replace z", "-z"),
            ("replace api<db", "refused"),
            ("replace api", "-api"),
        ],
    );
}

#[test]
fn each_requirement_is_waited_for_in_its_own_time() {
    let mut bench = Bench::new("x y a<x@10,y@30", 1);
    let told = |bench: &Bench| {
        bench.machine.get("a").unwrap().last_error.as_ref().map(ToString::to_string).unwrap_or_default()
    };
    for (input, expected) in [
        ("start", "+x"),
        ("unknown x", ""),
        ("started x", "+y"),
        ("unknown y", ""),
        ("started y", "ok"),
        ("wait 9", ""),
        ("ready x", ""),
        ("wait 9", ""),
        // Its time begins anew, that of the other goes on.
        ("down x", ""),
        ("wait 9", ""),
    ] {
        assert_eq!(bench.step(input, false), expected, "{input}");
        assert_eq!(told(&bench), "");
    }
    assert_eq!(bench.machine.next_deadline(), at(28));
    bench.step("wait 1", false);
    assert_eq!(told(&bench), "waited 28s for x");
    // Once more, after its delay.
    for input in ["wait 1", "wait 9", "wait 1"] {
        assert_eq!(bench.step(input, false), "");
    }
    assert_eq!(told(&bench), "waited 10s for x");
    bench.step("ready x", false);
    for (input, expected) in [("wait 2", ""), ("wait 29", ""), ("ready y", "+a")] {
        assert_eq!(bench.step(input, false), expected, "{input}");
    }
}

#[test]
fn who_waits_for_its_turn_only_does_not_wait_too_long() {
    let mut bench = Bench::new("x a<x@10 b", 1);
    for (input, expected) in [
        ("start", "+x"),
        ("unknown x", ""),
        ("started x", "+b"),
        ("wait 9", ""),
        // There is no place for its start while the other starts.
        ("ready x", ""),
        ("wait 9", ""),
        ("started b", "+a"),
        ("started a", "ok"),
    ] {
        assert_eq!(bench.step(input, false), expected, "{input}");
    }
    assert!(bench.machine.get("a").unwrap().last_error.is_none());
}

#[test]
fn what_gave_up_and_did_not_stop_is_stopped_once_more() {
    let begun = [
        ("start", "+a"),
        ("started a", "ok"),
        ("fails a", "-a"),
        ("stopped a bang", ""),
        ("wait 1", "+a"),
        ("started a boom", "-a"),
        ("stopped a bang", ""),
        ("wait 2", "+a"),
        ("started a boom", "-a"),
        ("stopped a bang", ""),
    ];
    for rest in [
        &[("stop", "-a"), ("stopped a", ""), ("start", "+a")][..],
        &[("replace a", "-a"), ("stopped a", "+a"), ("started a", "~ ok")],
        &[("replace a", "-a"), ("stopped a bang", "~ 'a: stop: bang'"), ("undeploy a", "-a")],
    ] {
        let table: Vec<_> = begun.iter().chain(rest).copied().collect();
        check("a", &table);
    }
}

#[test]
fn what_cannot_be_helped_is_not_tried_again() {
    check(
        "a b",
        &[
            ("start", "+a"),
            ("started a", "+b"),
            ("started b", "ok"),
            ("hopeless a", "-a"),
            ("stopped a", ""),
            ("wait 600", ""),
        ],
    );
    let mut bench = Bench::new("b", 1);
    let (id, mut out) = (bench.id(), Vec::new());
    let mut vital = spec("a");
    vital.restart.when_exhausted = WhenExhausted::StopHost;
    bench.machine.add(at(0), id, vital, None, &mut out).unwrap();
    for (input, expected) in [
        ("start", "+b"),
        ("started b", "+a"),
        ("started a", "ok"),
        ("hopeless a", "-a"),
        ("stopped a", "-b"),
        ("stopped b", ""),
    ] {
        assert_eq!(bench.step(input, false), expected, "{input}");
    }
    let fatal = bench.machine.fatal().unwrap();
    assert_eq!((fatal.to_string().as_str(), fatal.class()), ("a: gave up: no licence", ErrorClass::Terminal));
}

/// How many components are looked at, one by one, for each of `n` that are
/// deployed one after the other into a host that runs, each requiring what
/// `requires` says.
fn looks_per_deploy(n: usize, requires: impl Fn(usize) -> String) -> usize {
    let mut bench = Bench::new("", 1);
    assert_eq!(bench.step("start", false), "ok");
    let begun = bench.machine.view.looks;
    for i in 0..n {
        assert_eq!(bench.step(&format!("deploy c{i}{}", requires(i)), false), format!("+c{i}"));
        assert_eq!(bench.step(&format!("started c{i}"), false), "ok");
    }
    assert_eq!(
        bench.machine.members().last().map(|last| last.name().to_string()),
        Some(format!("c{}", n - 1))
    );
    (bench.machine.view.looks - begun).div_ceil(n)
}

#[test]
fn a_deploy_looks_at_as_many_components_however_many_there_are() {
    let none = |_: usize| String::new();
    let chain = |i: usize| i.checked_sub(1).map_or(String::new(), |before| format!("<c{before}"));
    let star = |i: usize| if i == 0 { String::new() } else { "<c0!".to_owned() };
    for n in [10, 100, 400] {
        let found = [looks_per_deploy(n, none), looks_per_deploy(n, chain), looks_per_deploy(n, star)];
        assert!(found.iter().all(|looks| *looks <= 4), "{n}: {found:?}");
    }
}
