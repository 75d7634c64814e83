//! Which path is what, and what it answers, as functions of a snapshot.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::control::{Action, Gate};
use super::health::Detail;
use super::lot::MAX_WAIT;
use super::page::PATHS;
use super::request::{Method, Request};
use super::response::{Response, Status};
use super::snapshot::Snapshot;
use crate::config::{Config, Explanation};
use crate::duration::{self, GoDuration};
use crate::error::clip;
use crate::event::{Event, Health};
use crate::event_log::{CAPACITY, EventPage};
use crate::name::Name;
use crate::observe::{MetricsFormat, MetricsSource};
use crate::stamp::Stamp;
use crate::status::{self, RecoveryStatus, Rejected, Why, aggregate, write_json};

/// How many events one answer has at most, unless asked otherwise.
const DEFAULT_EVENTS: usize = 256;

/// How many parameters a query has at most; no path has more than three.
const MAX_PARAMS: usize = 16;

/// A path and its query, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    Page {
        html: bool,
    },
    /// What changes of the page for browsers, with the rows of these loops or
    /// all.
    Part {
        names: Option<Vec<Name>>,
    },
    Live {
        detail: Detail,
    },
    Ready {
        detail: Detail,
    },
    Startup {
        detail: Detail,
    },
    Healthz,
    Status,
    Why {
        name: Name,
    },
    Recovery,
    Events {
        after: u64,
        max: usize,
        wait: Duration,
    },
    Config,
    Metrics {
        format: MetricsFormat,
    },
    Act(Action),
    /// The server's own: writes the history down.
    Save,
}

impl Route {
    /// Understands what is asked for, or answers what is wrong with it.
    pub(super) fn new(request: &Request, gate: &Gate) -> Result<Self, Response> {
        let Request { method, path, query, token, format, html, .. } = request;
        let (path, query) = (path.as_str(), query.as_deref());
        let Some(action) = Action::at(path) else {
            let route = Self::look(*method, path, query)?;
            if route.detail().is_some_and(|detail| detail.reasons) {
                gate.admit_reasons(token.as_ref())?;
            }
            return Ok(match route {
                Self::Metrics { .. } => Self::Metrics { format: *format },
                Self::Page { .. } => Self::Page { html: *html },
                route => route,
            });
        };
        if *method == Method::Post {
            gate.admit(token.as_ref())?;
            let mut params = Params::new(path, query)?;
            let action = action.with(|key| params.take(key))?;
            params.done()?;
            return Ok(Self::Act(action));
        }
        // Whether there is anything to be done is told to who has the token.
        gate.admit(token.as_ref())?;
        Err(only("POST"))
    }

    fn look(method: Method, path: &str, query: Option<&str>) -> Result<Self, Response> {
        let mut params = Params::new(path, query)?;
        let route = match path {
            "/" => match params.take("part") {
                None => Self::Page { html: false },
                Some(names) => Self::Part { names: names.map(names_of).transpose()? },
            },
            "/livez" => Self::Live { detail: params.detail()? },
            "/readyz" => Self::Ready { detail: params.detail()? },
            "/startupz" => Self::Startup { detail: params.detail()? },
            "/healthz" => Self::Healthz,
            "/status" => Self::Status,
            "/recovery" => Self::Recovery,
            "/events" => Self::Events {
                after: params.number("after", 0, 0..=u64::MAX)?,
                max: params.number("max", DEFAULT_EVENTS as u64, 1..=CAPACITY as u64)? as usize,
                wait: params.wait("wait")?,
            },
            "/config" => Self::Config,
            "/metrics" => Self::Metrics { format: MetricsFormat::default() },
            _ if path.strip_prefix("/why/").is_some_and(|name| !name.is_empty()) => {
                let name = Name::new(&path["/why/".len()..]);
                Self::Why { name: name.map_err(|error| bad(&error.to_string()))? }
            }
            _ => {
                let text = format!("nothing is at {}; there is\n\n{PATHS}", show(path));
                return Err(Response::text(Status::NotFound, &text));
            }
        };
        if method == Method::Post {
            return Err(only("GET, HEAD"));
        }
        params.done()?;
        Ok(route)
    }

    fn detail(&self) -> Option<Detail> {
        match self {
            Self::Live { detail } | Self::Ready { detail } | Self::Startup { detail } => Some(*detail),
            _ => None,
        }
    }

    /// Whether who asks decides by the answer about this process: such a
    /// request is not kept waiting by others.
    pub(super) fn is_health(&self) -> bool {
        self.detail().is_some()
    }
}

/// A query, taken apart parameter by parameter.
struct Params<'a> {
    path: &'a str,
    rest: Vec<(&'a str, Option<&'a str>)>,
}

impl<'a> Params<'a> {
    fn new(path: &'a str, query: Option<&'a str>) -> Result<Self, Response> {
        let parts = query.unwrap_or_default().split('&').filter(|part| !part.is_empty());
        let rest: Vec<_> = parts
            .map(|part| match part.split_once('=') {
                Some((key, value)) => (key, Some(value)),
                None => (part, None),
            })
            .collect();
        // Each is compared with all others, by the thread that owns the
        // sockets.
        if rest.len() > MAX_PARAMS {
            return Err(bad(&format!("at most {MAX_PARAMS} parameters may stand in a query")));
        }
        for (i, (key, _)) in rest.iter().enumerate() {
            if rest[..i].iter().any(|(earlier, _)| earlier == key) {
                return Err(bad(&format!("{}: stands more than once", show(key))));
            }
        }
        Ok(Self { path, rest })
    }

    fn take(&mut self, key: &str) -> Option<Option<&'a str>> {
        let idx = self.rest.iter().position(|(name, _)| *name == key)?;
        Some(self.rest.swap_remove(idx).1)
    }

    fn flag(&mut self, key: &str) -> Result<bool, Response> {
        match self.take(key) {
            None | Some(Some("false" | "0")) => Ok(false),
            Some(None | Some("" | "true" | "1")) => Ok(true),
            Some(Some(value)) => Err(bad(&format!("{key}: expected true or false, found {}", show(value)))),
        }
    }

    fn number(
        &mut self,
        key: &str,
        default: u64,
        range: std::ops::RangeInclusive<u64>,
    ) -> Result<u64, Response> {
        let Some(value) = self.take(key) else { return Ok(default) };
        let value = value.unwrap_or_default();
        // The standard parser takes a plus sign, which a query means as a space.
        let digits = value.bytes().all(|byte| byte.is_ascii_digit());
        let number = if digits { value.parse().ok() } else { None };
        number.filter(|number| range.contains(number)).ok_or_else(|| {
            bad(&format!(
                "{key}: expected a number from {} to {}, found {}",
                range.start(),
                range.end(),
                show(value)
            ))
        })
    }

    /// Who asks for reasons asks for all lines.
    fn detail(&mut self) -> Result<Detail, Response> {
        let (verbose, reasons) = (self.flag("verbose")?, self.flag("reasons")?);
        Ok(Detail { verbose: verbose || reasons, reasons })
    }

    fn wait(&mut self, key: &str) -> Result<Duration, Response> {
        let Some(value) = self.take(key) else { return Ok(Duration::ZERO) };
        let value = value.unwrap_or_default();
        let wait = duration::parse(value).ok().filter(|wait| *wait <= MAX_WAIT);
        wait.ok_or_else(|| {
            let text = format!(
                "{key}: expected a duration such as \"30s\", {} at most, found {}",
                GoDuration(MAX_WAIT),
                show(value)
            );
            bad(&text)
        })
    }

    fn done(self) -> Result<(), Response> {
        match self.rest.first() {
            None => Ok(()),
            Some((key, _)) => Err(bad(&format!("{}: not a parameter of {}", show(key), self.path))),
        }
    }
}

/// Names with commas between.
fn names_of(text: &str) -> Result<Vec<Name>, Response> {
    let names = text.split(',').map(Name::new);
    names.collect::<crate::error::Result<_>>().map_err(|error| bad(&format!("part: {error}")))
}

/// Foreign text, bounded and without control characters.
fn show(text: &str) -> String {
    format!("{:?}", clip(text.to_owned(), 100))
}

fn only(methods: &'static str) -> Response {
    Response::text(Status::MethodNotAllowed, &format!("only {methods} is answered here"))
        .header("Allow", methods)
}

fn bad(text: &str) -> Response {
    Response::text(Status::BadRequest, text)
}

/// Every loop, as JSON, and where the part begins that does not say when it
/// was written.
pub(super) fn status_json(snapshot: &Snapshot<'_>) -> (Vec<u8>, usize) {
    let Snapshot { boot, at, loops } = snapshot;
    let health = aggregate(loops);
    let mut body = format!("{{\"boot\":\"{boot}\",\"at\":\"{at}\",").into_bytes();
    let changing = body.len();
    body.extend_from_slice(format!("\"health\":\"{health}\",\"loops\":").as_bytes());
    write_json(loops, &mut body);
    body.push(b'}');
    (body, changing)
}

/// Why a loop is as it is, as JSON.
pub(super) fn why(snapshot: &Snapshot<'_>, rejected: &[Rejected], name: &Name) -> Response {
    #[derive(Serialize)]
    struct Body<'a> {
        boot: &'a str,
        at: Stamp,
        #[serde(flatten)]
        why: Why,
    }
    let Snapshot { boot, at, loops } = snapshot;
    match status::why(name.as_str(), *at, loops, rejected) {
        Some(why) => Response::json(&Body { boot, at: *at, why }),
        None => {
            let names: Vec<&str> = loops.iter().map(|status| status.name.as_str()).collect();
            let text =
                format!("no loop is called \"{name}\", {}", crate::decode::meant(name.as_str(), &names));
            Response::text(Status::NotFound, &clip(text, 1000))
        }
    }
}

/// What recovers runs, as JSON.
pub(super) fn recovery(snapshot: &Snapshot<'_>) -> Response {
    #[derive(Serialize)]
    struct Body<'a> {
        boot: &'a str,
        at: Stamp,
        recoveries: Vec<One<'a>>,
    }
    #[derive(Serialize)]
    struct One<'a> {
        name: &'a Name,
        state: Health,
        #[serde(flatten)]
        recovery: &'a RecoveryStatus,
    }
    let Snapshot { boot, at, loops } = snapshot;
    let recoveries = loops.iter().filter_map(|status| {
        let recovery = status.recovery.as_ref()?;
        Some(One { name: &status.name, state: status.health, recovery })
    });
    Response::json(&Body { boot, at: *at, recoveries: recoveries.collect() })
}

/// A page of the event log, as JSON.
pub(super) fn events(boot: &str, page: &EventPage) -> Response {
    #[derive(Serialize)]
    struct Body<'a> {
        boot: &'a str,
        next: u64,
        lost: u64,
        events: &'a [Arc<Event>],
    }
    Response::json(&Body { boot, next: page.next, lost: page.lost, events: &page.events })
}

/// The configuration in force, without its secrets, and where each value
/// comes from.
pub(super) fn config(config: Option<&Config>) -> Response {
    #[derive(Serialize)]
    struct Body {
        generation: u64,
        hash: String,
        loaded_at: Stamp,
        values: serde_json::Value,
        origins: Vec<Explanation>,
    }
    let Some(config) = config else {
        return Response::text(Status::NotFound, "no configuration is shown here");
    };
    let snapshot = config.snapshot();
    Response::json(&Body {
        generation: snapshot.generation(),
        hash: snapshot.fingerprint().to_string(),
        loaded_at: snapshot.loaded_at(),
        values: snapshot.redacted(),
        origins: snapshot.explain_all(),
    })
}

/// Every metric.
pub(super) fn metrics(source: Option<&dyn MetricsSource>, format: MetricsFormat) -> Response {
    let Some(source) = source else {
        return Response::text(Status::NotFound, "no metrics are shown here");
    };
    match source.metrics(format) {
        Ok(text) => Response::of_type(format.content_type(), text),
        Err(error) => Response::text(Status::InternalError, &format!("{}", error.report())),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::control::Control;
    use super::*;
    use crate::config::Secret;
    use crate::error::{Error, ErrorKind};
    use crate::event::{EventKind, LoopKind, RecoveryEvent, RecoveryStep};
    use crate::status::LoopStatus;

    pub(in super::super) fn text(response: &Response) -> String {
        String::from_utf8(response.body().to_vec()).unwrap()
    }

    pub(in super::super) fn of(name: &str, health: Health, critical: bool) -> LoopStatus {
        LoopStatus {
            critical,
            last_error: (health == Health::Down).then(|| "no\r\n\u{202e}\"answer\"".to_owned()),
            attempt: 1,
            runs: 1,
            ..LoopStatus::sample(name, health)
        }
    }

    pub(in super::super) fn snapshot(loops: &[LoopStatus]) -> Snapshot<'_> {
        Snapshot { boot: "b", at: Stamp::from_micros(0), loops: loops.to_vec() }
    }

    #[test]
    fn paths_and_queries_are_understood() {
        let events = |after, max, secs| Route::Events { after, max, wait: Duration::from_secs(secs) };
        let detail = |verbose, reasons| Detail { verbose, reasons };
        for (path, query, route) in [
            ("/", None, Route::Page { html: false }),
            ("/", Some("part"), Route::Part { names: None }),
            (
                "/",
                Some("part=a,b.c"),
                Route::Part { names: Some(vec!["a".parse().unwrap(), "b.c".parse().unwrap()]) },
            ),
            ("/livez", None, Route::Live { detail: detail(false, false) }),
            ("/livez", Some("reasons"), Route::Live { detail: detail(true, true) }),
            ("/readyz", Some(""), Route::Ready { detail: detail(false, false) }),
            ("/readyz", Some("verbose"), Route::Ready { detail: detail(true, false) }),
            ("/readyz", Some("verbose=true&"), Route::Ready { detail: detail(true, false) }),
            ("/readyz", Some("verbose=0"), Route::Ready { detail: detail(false, false) }),
            ("/startupz", Some("verbose&reasons=1"), Route::Startup { detail: detail(true, true) }),
            ("/healthz", None, Route::Healthz),
            ("/status", None, Route::Status),
            ("/recovery", None, Route::Recovery),
            ("/why/a.b-c", None, Route::Why { name: "a.b-c".parse().unwrap() }),
            ("/events", None, events(0, 256, 0)),
            ("/events", Some("after=7&wait=30s"), events(7, 256, 30)),
            ("/events", Some("wait=0&max=4096&after=18446744073709551615"), events(u64::MAX, 4096, 0)),
        ] {
            assert_eq!(Route::look(Method::Get, path, query).unwrap(), route, "{path} {query:?}");
        }
    }

    #[test]
    fn wrong_paths_and_queries_are_answered_with_what_is_wrong() {
        for (path, query, code, expected) in [
            ("/nowhere", None, 404, "nothing is at \"/nowhere\"; there is\n\n/livez"),
            ("/why/", None, 404, "nothing is at \"/why/\""),
            ("/why/a/b", None, 400, "name: letters, digits"),
            ("/why/%61", None, 400, "found '%'"),
            ("/livez/", None, 404, "\"/livez/\""),
            ("/a\u{7}", None, 404, "\"/a\\u{7}\""),
            ("/status", Some("x=1"), 400, "\"x\": not a parameter of /status"),
            ("/", Some("part=a,<b>"), 400, "part: "),
            ("/", Some("part="), 400, "part: "),
            ("/events", Some("after=abc"), 400, "after: expected a number from 0 to"),
            ("/events", Some("after=abc"), 400, "found \"abc\""),
            ("/events", Some("after"), 400, "found \"\""),
            ("/events", Some("after=+1"), 400, "found \"+1\""),
            ("/events", Some("after=18446744073709551616"), 400, "found \"18446744073709551616\""),
            ("/events", Some("max=0"), 400, "max: expected a number from 1 to 4096, found \"0\""),
            ("/events", Some("max=4097"), 400, "found \"4097\""),
            ("/events", Some("max=1&max=2"), 400, "\"max\": stands more than once"),
            ("/events", Some("wait=301s"), 400, "wait: expected a duration such as \"30s\", 5m0s at most"),
            ("/events", Some("wait=-1s"), 400, "found \"-1s\""),
            ("/events", Some("wait"), 400, "found \"\""),
            ("/events", Some("wait=30"), 400, "found \"30\""),
            ("/events", Some("a&b&c&d&e&f&g&h&i&j&k&l&m&n&o&p"), 400, "\"a\": not a parameter of /events"),
            ("/events", Some("a&b&c&d&e&f&g&h&i&j&k&l&m&n&o&p&q"), 400, "at most 16 parameters"),
            ("/healthz", Some("verbose"), 400, "\"verbose\": not a parameter of /healthz"),
            ("/readyz", Some("verbose=yes"), 400, "verbose: expected true or false, found \"yes\""),
        ] {
            let response = Route::look(Method::Get, path, query).unwrap_err();
            assert_eq!(response.status().code(), code, "{path} {query:?}");
            assert!(text(&response).contains(expected), "{}", text(&response));
        }
    }

    #[test]
    fn who_acts_needs_the_method_and_the_token() {
        struct Nothing;
        impl Control for Nothing {
            fn trigger(&self, _: &str) -> crate::error::Result<()> {
                Ok(())
            }
        }
        let closed = Gate::new(Some(Arc::new(Nothing)), None);
        let open = Gate::new(Some(Arc::new(Nothing)), Some(Secret::new("t")));
        let check = |gate: &Gate, method, target: &str, token: Option<&str>| {
            let (path, query) = match target.split_once('?') {
                Some((path, query)) => (path, Some(query.to_owned())),
                None => (target, None),
            };
            let token = token.map(Secret::new);
            let request = Request {
                method,
                path: path.to_owned(),
                query,
                keep_alive: true,
                token,
                format: MetricsFormat::Prometheus,
                html: false,
                known: None,
            };
            match Route::new(&request, gate) {
                Ok(Route::Act(_)) => 0,
                Ok(_) => 200,
                Err(response) => response.status().code(),
            }
        };
        use Method::{Get, Head, Post};
        for (method, target, token, when_closed, when_open) in [
            (Post, "/trigger/a", Some("t"), 404, 0),
            (Post, "/heartbeat/a", Some("t"), 404, 0),
            (Post, "/heartbeat/a?down=x", Some("t"), 404, 0),
            (Post, "/heartbeat/a?up=x", Some("t"), 404, 400),
            (Post, "/heartbeat/a", None, 404, 401),
            (Get, "/heartbeat/a", Some("t"), 404, 405),
            (Post, "/deploy/rescan", Some("t"), 404, 0),
            (Post, "/deploy/rescan?x=1", Some("t"), 404, 400),
            (Post, "/deploy/rescan", None, 404, 401),
            (Post, "/deploy/rescan", Some("u"), 404, 401),
            (Get, "/deploy/rescan", Some("t"), 404, 405),
            (Head, "/trigger/a", None, 404, 401),
            (Post, "/status", Some("t"), 405, 405),
            (Post, "/nowhere", Some("t"), 404, 404),
            (Get, "/status", None, 200, 200),
            (Get, "/readyz?verbose", None, 200, 200),
            (Get, "/readyz?reasons", None, 403, 401),
            (Get, "/livez?reasons", Some("u"), 403, 401),
            (Head, "/startupz?reasons", Some("t"), 403, 200),
            (Get, "/config", None, 200, 200),
        ] {
            assert_eq!(check(&closed, method, target, token), when_closed, "{method:?} {target} {token:?}");
            assert_eq!(check(&open, method, target, token), when_open, "{method:?} {target} {token:?}");
        }
    }

    #[test]
    fn the_configuration_is_shown_without_its_secrets() {
        assert_eq!(config(None).status().code(), 404);
        let layers = crate::config::Layers::default()
            .text("a.json", r#"{"http": {"token": "t0psecret"}, "n": 1}"#)
            .secret("http.token");
        let body = text(&config(Some(&Config::load(layers).unwrap())));
        assert!(!body.contains("t0psecret"), "{body}");
        assert!(body.contains(r#""values":{"http":{"token":"<secret>"},"n":1}"#), "{body}");
        assert!(body.contains(r#"{"key":"n","value":1,"layer":"file","place":"a.json:1:39"}"#), "{body}");
    }

    #[test]
    fn status_is_json() {
        let (body, changing) = status_json(&snapshot(&[of("a", Health::Ready, true)]));
        let body = String::from_utf8(body).unwrap();
        assert!(body[changing..].starts_with("\"health\":"), "{body}");
        assert!(serde_json::from_str::<serde_json::Value>(&body).is_ok());
        let start = "{\"boot\":\"b\",\"at\":\"1970-01-01T00:00:00.000Z\",\"health\":\"ready\",\
                     \"loops\":[{\"name\":\"a\",\"kind\":\"watcher\",\"state\":\"ready\",\"ready\":true,";
        assert!(body.starts_with(start), "{body}");
    }

    #[test]
    fn recoveries_are_those_of_loops_that_recover() {
        let recovering = LoopStatus {
            recovery: Some(Box::new(RecoveryStatus {
                watched: 3,
                failing: 1,
                queued: 0,
                in_progress: 0,
                waiting: 0,
                stuck: 0,
                incidents: Vec::new(),
            })),
            ..of("training", Health::Degraded, false)
        };
        let body = text(&recovery(&snapshot(&[of("a", Health::Ready, true), recovering])));
        let expected = "{\"boot\":\"b\",\"at\":\"1970-01-01T00:00:00.000Z\",\"recoveries\":[{\"name\":\"training\",\
                        \"state\":\"degraded\",\"watched\":3,\"failing\":1,\"queued\":0,\"in_progress\":0,\
                        \"waiting\":0,\"stuck\":0,\"incidents\":[]}]}";
        assert_eq!(body, expected);
    }

    #[test]
    fn events_carry_the_fields_of_their_kind() {
        let error = || Error::new(ErrorKind::Probe).context("tcp").caused_by("refused");
        let half = Duration::from_millis(500);
        let name = || "mq".parse().unwrap();
        let file = || "a.json".to_owned();
        let recovery = || {
            let event = RecoveryEvent::new(RecoveryStep::Failed, "run-1".into());
            EventKind::Recovery(Arc::new(RecoveryEvent {
                attempt: Some(2),
                error: Some(Error::new(ErrorKind::NotFound).context("gone")),
                retry_in: Some(half),
                metadata: Arc::new([("team".to_owned(), "north".to_owned())].into()),
                ..event
            }))
        };
        let all = [
            (EventKind::Started, "\"event\":\"started\""),
            (
                EventKind::Ready { from: Health::Unknown, attempt: 3, latency: half },
                "\"event\":\"ready\",\"from\":\"unknown\",\"attempt\":3,\"latency\":0.5",
            ),
            (
                EventKind::Down { from: Health::Ready, error: error(), failures: 2 },
                "\"event\":\"down\",\"from\":\"ready\",\"error\":\"tcp: refused\",\"failures\":2",
            ),
            (
                EventKind::GaveUp { error: error(), attempts: 10 },
                "\"event\":\"gave_up\",\"error\":\"tcp: refused\",\"attempts\":10",
            ),
            (
                EventKind::HealthChanged { from: Health::Ready, to: Health::Unknown, reason: None },
                "\"event\":\"health_changed\",\"from\":\"ready\",\"to\":\"unknown\"",
            ),
            (
                EventKind::CheckerChanged {
                    checker: "b".parse().unwrap(),
                    from: Health::Unknown,
                    to: Health::Down,
                    reason: Some("no".into()),
                    took: Some(half),
                },
                "\"event\":\"checker_changed\",\"checker\":\"b\",\"from\":\"unknown\",\"to\":\"down\",\
                 \"took\":0.5,\"reason\":\"no\"",
            ),
            (
                EventKind::CheckTimedOut { checker: "b".parse().unwrap(), stuck_for: half },
                "\"event\":\"check_timed_out\",\"checker\":\"b\",\"stuck_for\":0.5",
            ),
            (
                EventKind::CheckLate { checker: "b".parse().unwrap(), took: half },
                "\"event\":\"check_late\",\"checker\":\"b\",\"took\":0.5",
            ),
            (EventKind::TimedOut { stuck_for: half }, "\"event\":\"timed_out\",\"stuck_for\":0.5"),
            (EventKind::Late { took: half }, "\"event\":\"late\",\"took\":0.5"),
            (
                EventKind::ConfigReloaded {
                    generation: 2,
                    changed: ["a.b".to_owned()].into(),
                    n_changed: 1,
                    needs_restart: [].into(),
                },
                "\"event\":\"config_reloaded\",\"generation\":2,\"changed\":[\"a.b\"],\"n_changed\":1",
            ),
            (
                EventKind::ConfigReloaded {
                    generation: 3,
                    changed: [].into(),
                    n_changed: 1,
                    needs_restart: ["a".to_owned()].into(),
                },
                "\"event\":\"config_reloaded\",\"generation\":3,\"changed\":[],\"n_changed\":1,\
                 \"needs_restart\":[\"a\"]",
            ),
            (
                EventKind::ConfigRejected { error: error() },
                "\"event\":\"config_rejected\",\"error\":\"tcp: refused\"",
            ),
            (EventKind::Stopped, "\"event\":\"stopped\""),
            (
                EventKind::Reconciled {
                    items: 7,
                    took: half,
                    dry_run: false,
                    summary: Some("7 offline".into()),
                },
                "\"event\":\"reconciled\",\"items\":7,\"took\":0.5,\"dry_run\":false,\"summary\":\"7 offline\"",
            ),
            (
                EventKind::ReconcileFailed { error: error(), failures: 2, retry_in: Some(half) },
                "\"event\":\"reconcile_failed\",\"error\":\"tcp: refused\",\"failures\":2,\"retry_in\":0.5",
            ),
            (
                EventKind::ReconcileFailed { error: error(), failures: 2, retry_in: None },
                "\"event\":\"reconcile_failed\",\"error\":\"tcp: refused\",\"failures\":2",
            ),
            (EventKind::Paused, "\"event\":\"paused\""),
            (EventKind::Resumed, "\"event\":\"resumed\""),
            (EventKind::Deployed { name: name() }, "\"event\":\"deployed\",\"component\":\"mq\""),
            (EventKind::Replaced { name: name() }, "\"event\":\"replaced\",\"component\":\"mq\""),
            (EventKind::Undeployed { name: name() }, "\"event\":\"undeployed\",\"component\":\"mq\""),
            (
                EventKind::UndeployFailed { name: name(), error: error(), retry_in: half },
                "\"event\":\"undeploy_failed\",\"component\":\"mq\",\"error\":\"tcp: refused\",\"retry_in\":0.5",
            ),
            (
                EventKind::Rejected { name: None, file: file(), error: error(), retry_in: None },
                "\"event\":\"rejected\",\"file\":\"a.json\",\"error\":\"tcp: refused\"",
            ),
            (
                EventKind::Rejected {
                    name: Some(name()),
                    file: file(),
                    error: error(),
                    retry_in: Some(half),
                },
                "\"event\":\"rejected\",\"component\":\"mq\",\"file\":\"a.json\",\"error\":\"tcp: refused\",\
                 \"retry_in\":0.5",
            ),
            (
                EventKind::RolledBack { name: name(), error: error(), restored: true, retry_in: None },
                "\"event\":\"rolled_back\",\"component\":\"mq\",\"error\":\"tcp: refused\",\"restored\":true",
            ),
            (
                EventKind::ComponentWaiting { requires: vec!["db".parse().unwrap()] },
                "\"event\":\"component_waiting\",\"requires\":[\"db\"]",
            ),
            (EventKind::ComponentStarting, "\"event\":\"component_starting\""),
            (EventKind::ComponentUp { took: half }, "\"event\":\"component_up\",\"took\":0.5"),
            (EventKind::ComponentReady, "\"event\":\"component_ready\""),
            (
                EventKind::ComponentNotReady { health: Health::Down },
                "\"event\":\"component_not_ready\",\"health\":\"down\"",
            ),
            (
                EventKind::ComponentFailed { error: error() },
                "\"event\":\"component_failed\",\"error\":\"tcp: refused\"",
            ),
            (
                EventKind::ComponentRestarting { delay: half, restarts: 2 },
                "\"event\":\"component_restarting\",\"delay\":0.5,\"restarts\":2",
            ),
            (
                EventKind::ComponentGaveUp { error: error(), restarts: 5 },
                "\"event\":\"component_gave_up\",\"error\":\"tcp: refused\",\"restarts\":5",
            ),
            (EventKind::ComponentStopping, "\"event\":\"component_stopping\""),
            (EventKind::ComponentStopped, "\"event\":\"component_stopped\""),
            (
                EventKind::ComponentAbandoned { call: "start", stuck_for: half },
                "\"event\":\"component_abandoned\",\"call\":\"start\",\"stuck_for\":0.5",
            ),
            (EventKind::ComponentReplaced, "\"event\":\"component_replaced\""),
            (
                EventKind::ComponentRolledBack { error: error() },
                "\"event\":\"component_rolled_back\",\"error\":\"tcp: refused\"",
            ),
            (EventKind::ComponentRemoved, "\"event\":\"component_removed\""),
            (
                recovery(),
                "\"event\":\"recovery_failed\",\"attempt\":2,\"error\":\"gone\",\
                 \"metadata\":{\"team\":\"north\"},\"retry_in\":0.5,\"run_id\":\"run-1\"",
            ),
        ];
        for (what, expected) in all {
            let event = Event {
                seq: 7,
                n: 2,
                at: Stamp::from_micros(0),
                source: "db".parse().unwrap(),
                kind: LoopKind::Watcher,
                what,
            };
            let page = EventPage { next: 7, lost: 1, events: vec![Arc::new(event)] };
            let expected = format!(
                "{{\"boot\":\"b\",\"next\":7,\"lost\":1,\"events\":[{{\"seq\":7,\"n\":2,\
                 \"at\":\"1970-01-01T00:00:00.000Z\",\"source\":\"db\",\"kind\":\"watcher\",{expected}}}]}}"
            );
            assert_eq!(text(&events("b", &page)), expected);
        }
    }
}
