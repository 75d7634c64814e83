//! What health checks answer: each loop's last verdict with its age, in one of
//! three groups, as text for orchestrators or as JSON for people's tools.
//!
//! Nothing is run for an answer, so a check in many groups runs no more often
//! than in one. Pure: everything is a function of a snapshot.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::time::Duration;

use serde::Serialize;

use super::response::{Response, Status};
use super::snapshot::Snapshot;
use crate::event::Health;
use crate::name::Name;
use crate::stamp::Stamp;
use crate::status::{LoopStatus, aggregate};

/// How much of the details an answer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Detail {
    /// A line for each check.
    pub(super) verbose: bool,
    /// And why it is not ready.
    pub(super) reasons: bool,
}

/// Which loops count for what.
#[derive(Debug, Clone, Default)]
pub(super) struct Groups {
    /// None unless named: no restart mends what a loop looks after.
    pub(super) liveness: Vec<Name>,
    /// All unless named.
    pub(super) readiness: Option<Vec<Name>>,
    /// All unless named.
    pub(super) startup: Option<Vec<Name>>,
}

/// How a check is, its age taken into account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Known(Health),
    /// Whatever was known: it should have been heard of again by now.
    Stale,
}

impl State {
    fn is_ready(self) -> bool {
        matches!(self, Self::Known(Health::Ready | Health::Degraded))
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Known(health) => health.as_str(),
            Self::Stale => "stale",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

fn state(status: &LoopStatus) -> State {
    if status.stale { State::Stale } else { State::Known(status.health) }
}

/// The word for how a loop is.
pub(super) fn word(status: &LoopStatus) -> &'static str {
    state(status).as_str()
}

/// One line of an answer.
struct Check<'a> {
    name: &'a str,
    /// Whether it speaks for a yes.
    passes: bool,
    word: &'static str,
    critical: bool,
    age: Option<Duration>,
    reason: Option<Cow<'a, str>>,
}

impl<'a> Check<'a> {
    fn of(status: &'a LoopStatus, passes: impl FnOnce(State) -> bool) -> Self {
        let state = state(status);
        Self {
            name: status.name.as_str(),
            passes: passes(state),
            word: state.as_str(),
            critical: status.critical,
            age: status.age,
            reason: reason(status, state),
        }
    }

    /// One that was named, and that there is not.
    fn missing(name: &'a Name, passes: bool) -> Self {
        let reason = Some(Cow::Borrowed("no loop of this name runs"));
        Self { name: name.as_str(), passes, word: "unknown", critical: true, age: None, reason }
    }
}

fn reason(status: &LoopStatus, state: State) -> Option<Cow<'_, str>> {
    match state {
        State::Stale => {
            let overdue = status.overdue_for.unwrap_or_default();
            Some(format!("nothing was heard of it for {overdue:.1?} past its due").into())
        }
        State::Known(Health::Ready) => None,
        State::Known(_) => status.last_error.as_deref().map(Cow::Borrowed),
    }
}

/// The members of a group, each once; those named that there are not.
fn members<'a>(
    loops: &'a [LoopStatus],
    named: Option<&'a [Name]>,
) -> (Vec<&'a LoopStatus>, impl Iterator<Item = &'a Name>) {
    let is_in = move |status: &&LoopStatus| named.is_none_or(|names| names.contains(&status.name));
    let missing = named.unwrap_or_default().iter();
    let missing = missing.filter(|name| loops.iter().all(|status| status.name != **name));
    (loops.iter().filter(is_in).collect(), missing)
}

/// Whether this process can do its work: our own threads run, and what is
/// named is neither down nor stale. Nothing else counts: no restart mends it.
pub(super) fn live(own: &[(&str, bool)], loops: &[LoopStatus], groups: &Groups, detail: Detail) -> Response {
    let (present, missing) = members(loops, Some(&groups.liveness));
    let passes = |state| !matches!(state, State::Known(Health::Down) | State::Stale);
    let own = own.iter().map(|&(name, passes)| {
        let word = if passes { "ok" } else { "dead" };
        Check { name, passes, word, critical: true, age: None, reason: None }
    });
    let checks = own
        .chain(present.into_iter().map(|status| Check::of(status, passes)))
        // Nothing bad was ever heard of it.
        .chain(missing.map(|name| Check::missing(name, true)));
    let checks: Vec<_> = checks.collect();
    let is_live = checks.iter().all(|check| check.passes);
    // What is wrong is named in any case.
    let mut text = String::from(if is_live { "ok\n" } else { "dead\n" });
    for check in checks.iter().filter(|check| detail.verbose || !check.passes) {
        line(&mut text, check, detail);
    }
    answer(is_live, &text, &checks)
}

/// Whether everything critical is ready. Names, never reasons unless they are
/// asked for by who may: this is asked by load balancers and strangers.
pub(super) fn ready(snapshot: &Snapshot<'_>, groups: &Groups, detail: Detail) -> Response {
    let (present, missing) = members(&snapshot.loops, groups.readiness.as_deref());
    let missing: Vec<_> = missing.map(|name| Check::missing(name, false)).collect();
    let health = if missing.is_empty() { aggregate(present.iter().copied()) } else { Health::Down };
    let checks = present.into_iter().map(|status| Check::of(status, State::is_ready));
    let checks: Vec<_> = checks.chain(missing).collect();
    let mut text = format!("{health}\n");
    checks.iter().filter(|_| detail.verbose).for_each(|check| line(&mut text, check, detail));
    answer(health != Health::Down, &text, &checks)
}

/// Whether everything critical was heard of once, whatever was heard.
pub(super) fn startup(snapshot: &Snapshot<'_>, groups: &Groups, detail: Detail) -> Response {
    let (present, missing) = members(&snapshot.loops, groups.startup.as_deref());
    let has_started = |status: &LoopStatus| status.health != Health::Unknown || status.last_check.is_some();
    let checks = present.into_iter().map(|status| Check::of(status, |_| has_started(status)));
    let checks: Vec<_> = checks.chain(missing.map(|name| Check::missing(name, false))).collect();
    let is_started = checks.iter().all(|check| check.passes || !check.critical);
    let mut text = String::from(if is_started { "started\n" } else { "starting\n" });
    checks.iter().filter(|_| detail.verbose).for_each(|check| line(&mut text, check, detail));
    answer(is_started, &text, &checks)
}

fn line(text: &mut String, check: &Check<'_>, detail: Detail) {
    let Check { name, passes, word, critical, age, reason } = check;
    let _ = write!(text, "{}{name} {word}", if *passes { "[+]" } else { "[-]" });
    if let Some(age) = age {
        let _ = write!(text, ", {:.1} s ago", age.as_secs_f64());
    }
    if !critical {
        text.push_str(" (not critical)");
    }
    if let Some(reason) = reason.as_ref().filter(|_| detail.reasons) {
        text.push_str(": ");
        plain(text, reason);
    }
    text.push('\n');
}

/// Foreign text on one line: without control characters and what turns the
/// direction of text.
pub(super) fn plain(text: &mut String, foreign: &str) {
    foreign.chars().for_each(|c| crate::text::push_plain(text, c));
}

fn answer(is_good: bool, text: &str, checks: &[Check<'_>]) -> Response {
    let response = Response::text(if is_good { Status::Ok } else { Status::Unavailable }, text);
    match checks.iter().filter_map(|check| check.age).max() {
        Some(oldest) => response.header("Oldest-Check-Age", format!("{:.3}", oldest.as_secs_f64())),
        None => response,
    }
}

/// All of it as `application/health+json`, the format of
/// draft-inadarei-api-health-check-06.
pub(super) fn healthz(snapshot: &Snapshot<'_>) -> Response {
    #[derive(Serialize)]
    struct Body<'a> {
        status: &'static str,
        #[serde(rename = "releaseId")]
        release: &'static str,
        #[serde(rename = "serviceId")]
        service: &'a str,
        time: Stamp,
        #[serde(skip_serializing_if = "Option::is_none")]
        output: Option<String>,
        checks: Checks<'a>,
    }
    struct Checks<'a>(&'a [LoopStatus]);
    impl Serialize for Checks<'_> {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            // Loops of different kinds may share a name: each key stands once.
            let mut by_name: BTreeMap<&Name, Vec<&LoopStatus>> = BTreeMap::new();
            self.0.iter().for_each(|status| by_name.entry(&status.name).or_default().push(status));
            serializer.collect_map(
                by_name.into_iter().map(|(name, all)| {
                    (format!("{name}:state"), all.into_iter().map(one).collect::<Vec<_>>())
                }),
            )
        }
    }
    #[derive(Serialize)]
    struct One<'a> {
        #[serde(rename = "componentId")]
        component: &'a Name,
        #[serde(rename = "componentType")]
        component_type: &'static str,
        kind: &'static str,
        #[serde(rename = "observedValue")]
        observed: &'static str,
        status: &'static str,
        critical: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        time: Option<Stamp>,
        #[serde(skip_serializing_if = "Option::is_none")]
        age: Option<f64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        output: Option<Cow<'a, str>>,
    }
    fn one(status: &LoopStatus) -> One<'_> {
        let state = state(status);
        One {
            component: &status.name,
            component_type: "component",
            kind: status.kind.as_str(),
            observed: state.as_str(),
            status: match state {
                State::Known(Health::Ready) => "pass",
                State::Known(Health::Degraded) => "warn",
                _ if !status.critical => "warn",
                _ => "fail",
            },
            critical: status.critical,
            time: status.last_check,
            age: status.age.map(|age| age.as_secs_f64()),
            output: reason(status, state),
        }
    }
    let Snapshot { boot, at, loops } = snapshot;
    let health = aggregate(loops);
    let status = match health {
        Health::Ready => "pass",
        Health::Degraded => "warn",
        _ => "fail",
    };
    let is_bad = |status: &&LoopStatus| state(status) != State::Known(Health::Ready);
    let bad: Vec<String> = loops
        .iter()
        .filter(is_bad)
        .take(8)
        .map(|status| format!("{} is {}", status.name, word(status)))
        .collect();
    let body = Body {
        status,
        release: env!("CARGO_PKG_VERSION"),
        service: boot,
        time: *at,
        output: (!bad.is_empty()).then(|| bad.join(", ")),
        checks: Checks(loops),
    };
    let code = if health == Health::Down { Status::Unavailable } else { Status::Ok };
    Response::json(&body).with_type("application/health+json").with_status(code)
}

#[cfg(test)]
mod tests {
    use super::super::routes::tests::{of, snapshot, text};
    use super::*;

    const TERSE: Detail = Detail { verbose: false, reasons: false };
    const VERBOSE: Detail = Detail { verbose: true, reasons: false };
    const REASONS: Detail = Detail { verbose: true, reasons: true };

    fn stale(status: LoopStatus) -> LoopStatus {
        LoopStatus { stale: true, ready: false, overdue_for: Some(Duration::from_secs(70)), ..status }
    }

    fn aged(secs: f64, status: LoopStatus) -> LoopStatus {
        LoopStatus { age: Some(Duration::from_secs_f64(secs)), ..status }
    }

    fn names(names: &[&str]) -> Vec<Name> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    #[track_caller]
    fn check(response: &Response, code: u16, expected: &str) {
        assert_eq!((response.status().code(), &*text(response)), (code, expected));
    }

    #[test]
    fn readiness_is_the_critical_loops() {
        let all = Groups::default();
        let up = of("a", Health::Ready, true);
        let down = of("b", Health::Down, true);
        let unknown = of("c", Health::Unknown, true);
        let minor = of("d", Health::Down, false);
        for (loops, code, word) in [
            (vec![], 200, "ready\n"),
            (vec![up.clone()], 200, "ready\n"),
            (vec![up.clone(), minor.clone()], 200, "degraded\n"),
            (vec![up.clone(), down.clone()], 503, "down\n"),
            (vec![unknown], 503, "down\n"),
            (vec![stale(up.clone())], 503, "down\n"),
            (vec![up.clone(), stale(of("e", Health::Ready, false))], 200, "degraded\n"),
        ] {
            check(&ready(&snapshot(&loops), &all, TERSE), code, word);
        }
        let loops = [aged(1.25, up.clone()), down.clone(), aged(3.0, stale(minor.clone()))];
        let response = ready(&snapshot(&loops), &all, VERBOSE);
        check(
            &response,
            503,
            "down\n[+]a ready, 1.2 s ago\n[-]b down\n[-]d stale, 3.0 s ago (not critical)\n",
        );
        let head = response.written();
        assert!(head.contains("\r\nOldest-Check-Age: 3.000\r\n"), "{head}");
        let expected = "down\n[+]a ready, 1.2 s ago\n[-]b down: no\\r\\n\\u{202e}\"answer\"\n\
                        [-]d stale, 3.0 s ago (not critical): nothing was heard of it for 70.0s past its due\n";
        check(&ready(&snapshot(&loops), &all, REASONS), 503, expected);
    }

    #[test]
    fn a_group_is_what_is_named_whether_it_is_there_or_not() {
        let degraded = LoopStatus { ready: true, ..of("c", Health::Degraded, true) };
        let loops = [of("a", Health::Ready, true), of("b", Health::Down, true), degraded];
        let groups = |ready: &[&str]| Groups { readiness: Some(names(ready)), ..Groups::default() };
        check(&ready(&snapshot(&loops), &groups(&["a"]), VERBOSE), 200, "ready\n[+]a ready\n");
        check(&ready(&snapshot(&loops), &groups(&["c", "a"]), TERSE), 200, "degraded\n");
        check(&ready(&snapshot(&loops), &groups(&[]), TERSE), 200, "ready\n");
        check(
            &ready(&snapshot(&loops), &groups(&["x", "a"]), VERBOSE),
            503,
            "down\n[+]a ready\n[-]x unknown\n",
        );
        let expected = "down\n[-]x unknown: no loop of this name runs\n";
        check(&ready(&snapshot(&loops), &groups(&["x"]), REASONS), 503, expected);
    }

    #[test]
    fn what_has_been_heard_of_has_started() {
        let all = Groups::default();
        let unknown = of("c", Health::Unknown, true);
        let tried = LoopStatus { last_check: Some(Stamp::from_micros(0)), ..unknown.clone() };
        let minor = of("d", Health::Unknown, false);
        for (loops, code, text) in [
            (vec![], 200, "started\n"),
            (
                vec![of("a", Health::Down, true), minor.clone()],
                200,
                "started\n[+]a down\n[-]d unknown (not critical)\n",
            ),
            (vec![unknown.clone()], 503, "starting\n[-]c unknown\n"),
            (vec![tried], 200, "started\n[+]c unknown\n"),
        ] {
            check(&startup(&snapshot(&loops), &all, VERBOSE), code, text);
        }
        let some = Groups { startup: Some(names(&["a"])), ..Groups::default() };
        check(
            &startup(&snapshot(&[unknown.clone(), of("a", Health::Ready, true)]), &some, TERSE),
            200,
            "started\n",
        );
        check(&startup(&snapshot(&[unknown]), &some, VERBOSE), 503, "starting\n[-]a unknown\n");
    }

    #[test]
    fn a_dead_thread_of_ours_is_named() {
        let none = Groups::default();
        let loops = [of("a", Health::Down, true)];
        check(&live(&[("watchdog", true), ("workers", true)], &loops, &none, TERSE), 200, "ok\n");
        let response = live(&[("watchdog", false), ("workers", true)], &loops, &none, TERSE);
        check(&response, 503, "dead\n[-]watchdog dead\n");
        check(&live(&[("watchdog", true)], &loops, &none, VERBOSE), 200, "ok\n[+]watchdog ok\n");
    }

    #[test]
    fn liveness_is_also_what_is_named_for_it() {
        let groups = Groups { liveness: names(&["a", "x"]), ..Groups::default() };
        let own = [("server", true)];
        for (status, code, expected) in [
            (of("a", Health::Ready, true), 200, "ok\n"),
            (of("a", Health::Degraded, true), 200, "ok\n"),
            (of("a", Health::Unknown, true), 200, "ok\n"),
            (of("a", Health::Down, false), 503, "dead\n[-]a down (not critical)\n"),
            (stale(of("a", Health::Ready, true)), 503, "dead\n[-]a stale\n"),
        ] {
            check(&live(&own, &[status, of("b", Health::Down, true)], &groups, TERSE), code, expected);
        }
        let all = live(&own, &[of("a", Health::Down, true)], &groups, REASONS);
        let expected = "dead\n[+]server ok\n[-]a down: no\\r\\n\\u{202e}\"answer\"\n\
                        [+]x unknown: no loop of this name runs\n";
        check(&all, 503, expected);
    }

    #[test]
    fn healthz_is_the_format_of_the_draft() {
        let down =
            LoopStatus { last_check: Some(Stamp::from_micros(0)), ..aged(0.5, of("b", Health::Down, false)) };
        let twin = LoopStatus { kind: crate::event::LoopKind::Monitor, ..of("b", Health::Ready, true) };
        let response = healthz(&snapshot(&[of("a", Health::Ready, true), down, twin]));
        assert_eq!(response.status().code(), 200);
        let expected = format!(
            "{{\"status\":\"warn\",\"releaseId\":\"{}\",\"serviceId\":\"b\",\"time\":\"1970-01-01T00:00:00.000Z\",\
             \"output\":\"b is down\",\"checks\":{{\"a:state\":[{{\"componentId\":\"a\",\
             \"componentType\":\"component\",\"kind\":\"watcher\",\"observedValue\":\"ready\",\"status\":\"pass\",\
             \"critical\":true}}],\"b:state\":[{{\"componentId\":\"b\",\"componentType\":\"component\",\
             \"kind\":\"watcher\",\"observedValue\":\"down\",\"status\":\"warn\",\"critical\":false,\
             \"time\":\"1970-01-01T00:00:00.000Z\",\"age\":0.5,\"output\":\"no\\r\\n\u{202e}\\\"answer\\\"\"}},\
             {{\"componentId\":\"b\",\"componentType\":\"component\",\"kind\":\"monitor\",\
             \"observedValue\":\"ready\",\"status\":\"pass\",\"critical\":true}}]}}}}",
            env!("CARGO_PKG_VERSION")
        );
        assert_eq!(text(&response), expected);
        let head = response.written();
        assert!(head.contains("\r\nContent-Type: application/health+json\r\n"), "{head}");
        let sick = healthz(&snapshot(&[stale(of("a", Health::Ready, true))]));
        assert_eq!(sick.status().code(), 503);
        assert!(text(&sick).contains("\"observedValue\":\"stale\",\"status\":\"fail\""), "{}", text(&sick));
    }
}
