//! Asks the running daemon why a loop is as it is.

use loopkeeper::config::Layers;
use loopkeeper::rest::Request;
use loopkeeper::{Name, Stamp};
use serde_json::Value;

use super::ask::{Ask, Daemon, fail, refused};
use super::logging::json_on_one_line;
use super::table::age;
use super::terminal::{Look, wrap};
use super::{Exit, say};

/// The command `why`.
pub(crate) fn run(layers: Layers, ask: &Ask<Name>) -> Exit {
    let request = Request::get(format!("/why/{}", ask.about));
    let answer = match Daemon::find(layers, &ask.place, false).and_then(|daemon| daemon.send("why", &request))
    {
        Ok(answer) => answer,
        Err(exit) => return exit,
    };
    if answer.status() != 200 {
        return refused(&answer, "loopkeeper status tells more of each", "");
    }
    let body = match answer.json() {
        Ok(body) if body["sentence"].is_string() => body,
        Ok(_) => return fail(Exit::Unreachable, "who answers is no loopkeeper: there is no reason in it"),
        Err(error) => return fail(Exit::Unreachable, &error.to_string()),
    };
    let said = if ask.json { say(json_on_one_line(&body)) } else { say(render(&body, Look::of_stdout())) };
    said.and(if body["ready"] == true { Exit::Clean } else { Exit::Failed })
}

fn render(body: &Value, look: Look) -> String {
    let text = |value: &Value| look.line(value.as_str().unwrap_or("-"));
    let stamp = |value: &Value| value.as_str().and_then(|text| text.parse::<Stamp>().ok());
    let now = stamp(&body["at"]).unwrap_or(Stamp::from_micros(0));
    let mut out = lines(&text(&body["sentence"]), 0, look);
    let state = text(&body["state"]);
    out = out.replacen(&format!(" been {state} "), &format!(" been {} ", look.paint(&state, &state)), 1);
    let causes = body["causes"].as_array().map_or(&[][..], Vec::as_slice);
    if !causes.is_empty() {
        out.push('\n');
    }
    for cause in causes {
        let depth = cause["depth"].as_u64().unwrap_or(0).min(32) as usize;
        // Of these it is the last that was heard; of the others, the beginning.
        let is_moment = matches!(cause["kind"].as_str(), Some("error" | "stale"));
        let when = stamp(&cause["since"]).map_or(String::new(), |since| match age(now, since) {
            age if is_moment => format!(" ({age} ago)"),
            age => format!(" (for {age})"),
        });
        let line = format!("{}: {}{when}", text(&cause["name"]), text(&cause["what"]));
        out.push('\n');
        out.push_str(&lines(&line, 2 * depth + 2, look));
    }
    out.push_str("\n\n");
    out.push_str(&lines(&format!("next: {}", text(&body["next"]["what"])), 0, look));
    if body["gives_up"].is_string() {
        out.push('\n');
        out.push_str(&lines(&format!("gives up: {}", text(&body["gives_up"])), 0, look));
    }
    out
}

/// A text below an indent, which goes on deeper where a terminal is narrow.
fn lines(text: &str, indent: usize, look: Look) -> String {
    let Some(columns) = look.columns else { return format!("{}{text}", " ".repeat(indent)) };
    let indent = indent.min(columns / 3);
    let room = columns.saturating_sub(indent + 2);
    let fits = text.chars().count() + indent <= columns;
    let parts = if fits { vec![text.to_owned()] } else { wrap(text, room) };
    let line = |(i, part): (usize, &String)| {
        let deeper = if i == 0 { indent } else { indent + 2 };
        format!("{}{part}", " ".repeat(deeper))
    };
    parts.iter().enumerate().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn body() -> Value {
        json!({
            "at": "2026-01-01T00:10:00.000Z", "name": "shop", "state": "unknown", "ready": false,
            "sentence": "shop has been unknown for 1m: it waits for db, which is down: größe\u{1b}[2J",
            "causes": [
                {"depth": 0, "name": "shop", "kind": "requires", "what": "waits for db, which is down",
                 "since": "2026-01-01T00:09:00.000Z"},
                {"depth": 1, "name": "db", "kind": "error", "what": "connection refused",
                 "since": "2026-01-01T00:09:58.000Z"},
            ],
            "next": {"what": "it starts when db can take work"}, "gives_up": "never",
        })
    }

    #[test]
    fn causes_stand_below_what_they_cause() {
        let plain = Look { columns: None, colours: false, unicode: true };
        let expected = "\
shop has been unknown for 1m: it waits for db, which is down: größe\\u{1b}[2J

  shop: waits for db, which is down (for 60s)
    db: connection refused (2s ago)

next: it starts when db can take work
gives up: never";
        assert_eq!(render(&body(), plain), expected);
        let narrow = Look { columns: Some(40), colours: true, unicode: false };
        let text = render(&body(), narrow).replace("\x1b[36m", "").replace("\x1b[0m", "");
        assert!(text.is_ascii() && text.lines().all(|line| line.len() <= 40), "{text}");
        for columns in [0, 1, 3] {
            assert!(!render(&json!({}), Look { columns: Some(columns), ..plain }).is_empty());
        }
    }
}
