//! Tells what happened, and what happens.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use loopkeeper::config::Layers;
use loopkeeper::console::is_closed;
use loopkeeper::rest::{Answer, Request};
use serde_json::Value;

use super::ask::{Daemon, Where, end_cleanly_on_interrupt, fail, refused};
use super::logging::json_on_one_line;
use super::terminal::{Look, wrap};
use super::{Exit, complain, escaped, print};

/// How many events one answer has at most.
const PAGE: usize = 1024;
/// How long the daemon waits for an event, and who asks for the daemon.
const WAIT: &str = "30s";
const PATIENCE: Duration = Duration::from_secs(45);
/// How long a daemon that cannot be reached is left alone.
const PAUSE: Duration = Duration::from_secs(1);
/// With how many one begins who wants to see what happens.
const FIRST: u32 = 10;
/// A terminal with fewer columns has no room for dates.
const WIDE: usize = 80;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ask {
    /// Whom it is about, if not about all.
    pub(crate) name: Option<String>,
    /// Whether to go on with what happens.
    pub(crate) follow: bool,
    /// How many of those that happened already.
    pub(crate) last: Option<u32>,
    /// Whether the answer is for a program.
    pub(crate) json: bool,
    /// Whom to ask.
    pub(crate) place: Where,
}

/// The command `events`.
pub(crate) fn run(layers: Layers, ask: &Ask) -> Exit {
    if ask.follow {
        end_cleanly_on_interrupt();
    }
    let told = Daemon::find(layers, &ask.place, false).and_then(|daemon| tell(&daemon, ask));
    told.map_or_else(|exit| exit, |()| Exit::Clean)
}

/// Something to tell.
#[derive(Debug, Clone, PartialEq)]
enum Told {
    Event(Value),
    /// So many events are no longer kept.
    Lost(u64),
    /// The daemon that answers is not the one that answered before.
    Restarted(String),
}

/// How far one has read.
#[derive(Debug, Default)]
struct Reader {
    boot: Option<String>,
    next: u64,
}

impl Reader {
    /// Takes what the daemon answered; `None` when that is no loopkeeper.
    fn take(&mut self, body: &Value) -> Option<Vec<Told>> {
        let (boot, events) = (body["boot"].as_str()?, body["events"].as_array()?);
        if self.boot.as_ref().is_some_and(|known| known != boot) {
            // Its numbers mean something else.
            *self = Self { boot: Some(boot.to_owned()), next: 0 };
            return Some(vec![Told::Restarted(boot.to_owned())]);
        }
        self.boot = Some(boot.to_owned());
        let next = body["next"].as_u64()?;
        if !events.is_empty() && next <= self.next {
            // Asked for what comes after it, the same would come for ever.
            return None;
        }
        self.next = next;
        let lost = body["lost"].as_u64().filter(|lost| *lost > 0).map(Told::Lost);
        Some(lost.into_iter().chain(events.iter().cloned().map(Told::Event)).collect())
    }

    fn request(&self, wait: &str) -> Request {
        let Self { next, .. } = self;
        let wait = if wait.is_empty() { String::new() } else { format!("&wait={wait}") };
        Request::get(format!("/events?after={next}&max={PAGE}{wait}"))
    }

    fn read(&mut self, answer: &Answer) -> Result<Vec<Told>, Exit> {
        if answer.status() != 200 {
            return Err(refused(answer, "is that a loopkeeper run?", ""));
        }
        let told = answer.json().ok().and_then(|body| self.take(&body));
        told.ok_or_else(|| fail(Exit::Unreachable, "who answers is no loopkeeper: there are no events in it"))
    }
}

fn tell(daemon: &Daemon, ask: &Ask) -> Result<(), Exit> {
    let look = Look::of_stdout();
    let mut reader = Reader::default();
    let last = ask.last.or(ask.follow.then_some(FIRST)).map(|n| n as usize);
    let mut kept = VecDeque::new();
    loop {
        let told = reader.read(&daemon.send("events", &reader.request(""))?)?;
        let is_end = told.is_empty();
        for told in told.into_iter().filter(|told| is_asked(told, ask)) {
            kept.push_back(told);
            if last.is_some_and(|last| kept.len() > last) {
                kept.pop_front();
            }
        }
        if is_end {
            break;
        }
    }
    if let (Some(name), true, false) = (&ask.name, kept.is_empty(), ask.follow) {
        let name = escaped(name);
        complain(format_args!("loopkeeper: no event is about {name:?}; loopkeeper status lists the loops"));
    }
    let print_all = |told: &mut dyn Iterator<Item = &Told>| -> Result<bool, Exit> {
        for told in told {
            if !print(format_args!("{}\n", line(told, ask.json, look)))? {
                return Ok(false);
            }
        }
        Ok(true)
    };
    if !print_all(&mut kept.iter())? || !ask.follow {
        return Ok(());
    }
    let mut is_away = false;
    // The end of the reader shows only when something is written: look.
    while !is_closed(&io::stdout()) {
        let answer = match daemon.try_send("events", &reader.request(WAIT), PATIENCE) {
            // It stops, or has too much to do.
            Ok(answer) if answer.status() == 503 => Err("it has no time".to_owned()),
            Ok(answer) => Ok(answer),
            Err(error) => Err(error.report().to_string()),
        };
        match answer {
            Ok(answer) => {
                is_away = false;
                let told = reader.read(&answer)?;
                if !print_all(&mut told.iter().filter(|told| is_asked(told, ask)))? {
                    return Ok(());
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut is_away, true) {
                    let error = escaped(&error);
                    complain(format_args!("loopkeeper: {error}; waits until the daemon can be reached"));
                }
                daemon.pause(PAUSE);
            }
        }
    }
    Ok(())
}

fn is_asked(told: &Told, ask: &Ask) -> bool {
    let (Told::Event(event), Some(name)) = (told, &ask.name) else { return true };
    event["source"] == **name || event["component"] == **name
}

fn line(told: &Told, json: bool, look: Look) -> String {
    match told {
        Told::Event(event) if json => json_on_one_line(event),
        Told::Lost(n) if json => format!("{{\"lost\":{n}}}"),
        Told::Restarted(boot) if json => json_on_one_line(&serde_json::json!({"boot": boot})),
        Told::Event(event) => event_line(event, look),
        Told::Lost(n) => format!("-- {n} events are missing: they are no longer kept --"),
        Told::Restarted(_) => "-- the daemon was started again --".to_owned(),
    }
}

fn event_line(event: &Value, look: Look) -> String {
    let text = |key: &str| event[key].as_str().unwrap_or("-");
    let is_narrow = look.columns.is_some_and(|columns| columns < WIDE);
    let at = text("at");
    let at = at.get(11..19).filter(|_| is_narrow).unwrap_or(at);
    let head = look.line(&format!("{at}  {}  ", text("source")));
    let word = look.line(&text("event").replace('_', " "));
    let rest = look.line(&happened(event));
    let colour = match text("event") {
        "ready" | "component_ready" | "deployed" => "ready",
        "down" | "gave_up" | "component_failed" | "component_gave_up" | "rejected" | "config_rejected" => {
            "down"
        }
        "health_changed" | "checker_changed" => text("to"),
        _ => return wrapped(&format!("{head}{word}{rest}"), look),
    };
    let line = wrapped(&format!("{head}{word}{rest}"), look);
    line.replacen(&format!(" {word}"), &format!(" {}", look.paint(colour, &word)), 1)
}

/// Goes on below, indented, where a terminal is too narrow.
fn wrapped(line: &str, look: Look) -> String {
    match look.columns {
        Some(columns) if line.chars().count() > columns => {
            let mut lines = wrap(line, columns.saturating_sub(2)).into_iter();
            let first = lines.next().unwrap_or_default();
            lines.fold(first, |text, line| format!("{text}\n  {line}"))
        }
        _ => line.to_owned(),
    }
}

/// What stands after the word for an event: whom it is about, the numbers, and
/// the reason.
fn happened(event: &Value) -> String {
    const HEAD: [&str; 6] = ["seq", "n", "at", "source", "kind", "event"];
    const SUBJECT: [&str; 4] = ["component", "checker", "run", "call"];
    const REASON: [&str; 3] = ["error", "reason", "summary"];
    const SECONDS: [&str; 5] = ["took", "latency", "stuck_for", "retry_in", "delay"];
    let mut text = String::new();
    let mut details = Vec::new();
    for (key, value) in event.as_object().into_iter().flatten() {
        let key = key.as_str();
        if HEAD.contains(&key) || REASON.contains(&key) {
            continue;
        }
        let word = key.replace('_', " ");
        match value {
            Value::String(value) if SUBJECT.contains(&key) => text.push_str(&format!(" {value}")),
            Value::Number(n) if SECONDS.contains(&key) => {
                let secs = n.as_f64().and_then(|secs| Duration::try_from_secs_f64(secs).ok());
                details.push(format!("{word} {:.1?}", secs.unwrap_or_default()));
            }
            Value::Null | Value::Bool(false) => {}
            Value::Bool(true) => details.push(word),
            Value::String(value) => details.push(format!("{word} {value}")),
            Value::Array(values) => {
                let texts =
                    values.iter().map(|value| value.as_str().map_or(value.to_string(), str::to_owned));
                details.push(format!("{word} {}", texts.collect::<Vec<_>>().join(" ")));
            }
            other => details.push(format!("{word} {other}")),
        }
    }
    if !details.is_empty() {
        text.push_str(&format!(" ({})", details.join(", ")));
    }
    let reason = REASON.iter().find_map(|key| event[*key].as_str());
    reason.map_or(text.clone(), |reason| format!("{text}: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(seq: u64) -> Value {
        json!({"seq": seq, "event": "ready"})
    }

    #[test]
    fn gaps_and_other_daemons_are_told() {
        let page = |boot: &str, next: u64, lost: u64, seqs: &[u64]| {
            let events: Vec<Value> = seqs.iter().map(|seq| event(*seq)).collect();
            json!({"boot": boot, "next": next, "lost": lost, "events": events})
        };
        let mut reader = Reader::default();
        for (body, told, next) in [
            (page("a", 2, 0, &[1, 2]), Some(vec![Told::Event(event(1)), Told::Event(event(2))]), 2),
            (page("a", 2, 0, &[]), Some(vec![]), 2),
            (page("a", 9, 6, &[9]), Some(vec![Told::Lost(6), Told::Event(event(9))]), 9),
            (page("b", 3, 0, &[3]), Some(vec![Told::Restarted("b".to_owned())]), 0),
            (page("b", 3, 0, &[3]), Some(vec![Told::Event(event(3))]), 3),
            (json!({"boot": "b"}), None, 3),
            (json!([]), None, 3),
            (json!({"boot": "b", "events": [], "next": "x"}), None, 3),
            (page("b", 3, 0, &[3]), None, 3),
            (page("b", 2, 0, &[2]), None, 3),
            (page("b", 2, 0, &[]), Some(vec![]), 2),
        ] {
            assert_eq!(reader.take(&body), told, "{body}");
            assert_eq!(reader.next, next, "{body}");
        }
    }

    #[test]
    fn an_event_is_a_line() {
        let look = Look { columns: None, colours: false, unicode: true };
        let at = "2026-01-01T00:00:00.000Z";
        for (event, expected) in [
            (
                json!({"at": at, "source": "db", "kind": "watcher", "event": "down", "n": 1, "seq": 2,
                       "from": "ready", "failures": 3, "error": "no\nanswer\u{1b}[2J"}),
                "2026-01-01T00:00:00.000Z  db  down (failures 3, from ready): no\\nanswer\\u{1b}[2J",
            ),
            (
                json!({"at": at, "source": "m", "event": "checker_changed", "checker": "port", "from": "down",
                       "to": "ready", "took": 0.0015}),
                "2026-01-01T00:00:00.000Z  m  checker changed port (from down, to ready, took 1.5ms)",
            ),
            (
                json!({"at": at, "source": "d", "event": "component_waiting", "requires": ["a", "b"]}),
                "2026-01-01T00:00:00.000Z  d  component waiting (requires a b)",
            ),
            (json!({"took": 1e300, "dry_run": false}), "-  -  - (took 0.0ns)"),
        ] {
            assert_eq!(line(&Told::Event(event), false, look), expected);
        }
        let event = json!({"at": at, "source": "db", "event": "down", "error": "x".repeat(60) + " größe"});
        let look = Look { columns: Some(40), colours: true, unicode: false };
        let text = event_line(&event, look);
        assert!(
            text.starts_with("00:00:00 db \x1b[31mdown\x1b[0m: ") || text.starts_with("00:00:00"),
            "{text}"
        );
        let plain = text.replace("\x1b[31m", "").replace("\x1b[0m", "");
        assert!(plain.is_ascii() && plain.lines().all(|line| line.len() <= 40), "{plain}");
        assert_eq!(line(&Told::Lost(3), true, look), "{\"lost\":3}");
    }
}
