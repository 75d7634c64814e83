//! Asks the running daemon how its loops are, and shows it as a table.

use std::io;
use std::time::Duration;

use loopkeeper::Stamp;
use loopkeeper::config::Layers;
use loopkeeper::console::{is_closed, rows};
use loopkeeper::rest::Request;
use serde_json::Value;

use super::ask::{Daemon, Where, end_cleanly_on_interrupt, fail};
use super::logging::json_on_one_line;
use super::table::{age, span};
use super::terminal::{Look, wrap};
use super::{Exit, print};

/// Less room than this for words is none: they get lines of their own.
const WORDS: usize = 24;
/// A call that runs for less than this is not worth a word.
const NOTEWORTHY: f64 = 1.0;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ask {
    /// Whether the answer is for a program.
    pub(crate) json: bool,
    /// How often to ask again, if it is to be watched.
    pub(crate) watch: Option<Duration>,
    /// Whom to ask.
    pub(crate) place: Where,
}

/// The command `status`.
pub(crate) fn run(layers: Layers, ask: &Ask) -> Exit {
    let daemon = match Daemon::find(layers, &ask.place, false) {
        Ok(daemon) => daemon,
        Err(exit) => return exit,
    };
    match ask.watch {
        None => match body(&daemon) {
            Ok(body) => tell(&body, ask, Look::of_stdout()).map_or_else(|exit| exit, |(_, exit)| exit),
            Err(exit) => exit,
        },
        Some(interval) => watch(&daemon, ask, interval),
    }
}

/// Tells again and again, until nobody looks any more.
fn watch(daemon: &Daemon, ask: &Ask, interval: Duration) -> Exit {
    end_cleanly_on_interrupt();
    let mut is_first = true;
    while !is_closed(&io::stdout()) {
        // The window may have another size by now.
        let look = Look::of_stdout();
        let body = match body(daemon) {
            Ok(body) => Some(body),
            Err(exit) if is_first => return exit,
            // It was told, and may pass.
            Err(_) => None,
        };
        if let Some(mut body) = body {
            let redraws = Look::redraws() && !ask.json;
            let before = if redraws {
                "\x1b[H\x1b[2J"
            } else if is_first || ask.json {
                ""
            } else {
                "\n"
            };
            let told = print(before).and_then(|_| match rows(&io::stdout()).filter(|_| redraws) {
                Some(rows) => print(format_args!("{}\n", screen(&mut body, look, rows))),
                None => tell(&body, ask, look).map(|(is_read, _)| is_read),
            });
            match told {
                Ok(true) => {}
                Ok(false) => break,
                Err(exit) => return exit,
            }
        }
        is_first = false;
        daemon.pause(interval);
    }
    Exit::Clean
}

/// As much as a terminal of so many rows shows: where that is not all, what is
/// not ready comes first.
fn screen(body: &mut Value, look: Look, rows: usize) -> String {
    // The cursor stands in the last.
    let room = rows.saturating_sub(1).max(2);
    let text = render(body, look);
    if text.lines().count() <= room {
        return text;
    }
    if let Some(loops) = body["loops"].as_array_mut() {
        loops.sort_by_key(|status| status["ready"] == true);
    }
    let text = render(body, look);
    let shown: Vec<&str> = text.lines().take(room - 1).collect();
    let n_more = text.lines().count() - shown.len();
    let more = wrap(&format!("-- {n_more} more lines --"), look.columns.unwrap_or(80));
    format!("{}\n{}", shown.join("\n"), more.first().map_or("", String::as_str))
}

/// Asks once.
fn body(daemon: &Daemon) -> Result<Value, Exit> {
    let answer = daemon.send("status", &Request::get("/status"))?;
    if answer.status() != 200 {
        let text = String::from_utf8_lossy(answer.body());
        let text: String = text.trim().chars().take(200).collect();
        return Err(fail(Exit::Unreachable, &format!("{text} ({})", answer.status())));
    }
    match answer.json() {
        Ok(body) if is_ours(&body) => Ok(body),
        Ok(_) => {
            let text = "who answers is no loopkeeper: it does not say how its loops are";
            Err(fail(Exit::Unreachable, text))
        }
        Err(error) => Err(fail(Exit::Unreachable, &error.to_string())),
    }
}

/// Whether somebody reads it, and how the program ends by it.
fn tell(body: &Value, ask: &Ask, look: Look) -> Result<(bool, Exit), Exit> {
    let text = if ask.json { json_on_one_line(body) } else { render(body, look) };
    let is_read = print(format_args!("{text}\n"))?;
    Ok((is_read, if body["health"] == "down" { Exit::Failed } else { Exit::Clean }))
}

/// Whether it is the status of a daemon: what others answer is no good news.
fn is_ours(body: &Value) -> bool {
    body["loops"].is_array() && matches!(body["health"].as_str(), Some("ready" | "degraded" | "down"))
}

/// One loop, in words.
struct Row {
    name: String,
    state: String,
    /// For how long it is in its state.
    since: String,
    /// How long ago it was last looked at.
    last: String,
    /// What is going on, or wrong.
    words: String,
}

fn render(body: &Value, look: Look) -> String {
    let now = stamp(&body["at"]).unwrap_or(Stamp::from_micros(0));
    let loops = body["loops"].as_array().map_or(&[][..], Vec::as_slice);
    let rows: Vec<Row> = loops.iter().map(|status| row(status, now, look)).collect();
    let not_ready = loops.iter().filter(|status| status["ready"] != true).count();
    let health = look.line(body["health"].as_str().unwrap_or("unknown"));
    let mut text = look.paint(&health, &health);
    text.push_str(&format!(": {} of {} loops ready", rows.len() - not_ready, rows.len()));
    if rows.is_empty() {
        return text;
    }
    let heading = ["NAME", "STATE", "FOR", "LAST"];
    let cells = |row: &Row| [row.name.clone(), row.state.clone(), row.since.clone(), row.last.clone()];
    let all: Vec<[String; 4]> = rows.iter().map(cells).collect();
    let width = |i: usize| {
        let cells = all.iter().map(|cells| cells[i].chars().count());
        cells.chain([heading[i].len()]).max().unwrap_or(0)
    };
    let widths = [0, 1, 2, 3].map(width);
    let line = |cells: [&str; 4], state: Option<&str>| {
        let mut line = String::new();
        for (i, cell) in cells.iter().enumerate() {
            let room = " ".repeat(widths[i].saturating_sub(cell.chars().count()) + 2);
            match state.filter(|_| i == 1) {
                Some(state) => line.push_str(&look.paint(state, cell)),
                None => line.push_str(cell),
            }
            line.push_str(&room);
        }
        line
    };
    let before: usize = widths.iter().map(|width| width + 2).sum();
    let room = look.columns.map_or(usize::MAX, |columns| columns.saturating_sub(before));
    let is_narrow = room < WORDS;
    text.push_str("\n\n");
    if is_narrow {
        // What does not fit beside them goes below them.
        let columns = look.columns.unwrap_or(80);
        for row in &rows {
            let head = format!("{} {} {}", row.name, row.state, row.since);
            for (i, part) in wrap(&head, columns).iter().enumerate() {
                let state = format!(" {} ", row.state);
                let painted = format!(" {} ", look.paint(&row.state, &row.state));
                text.push_str(&if i == 0 { part.replacen(&state, &painted, 1) } else { part.clone() });
                text.push('\n');
            }
            for part in wrap(&row.words, columns.saturating_sub(2)) {
                text.push_str(&format!("  {part}\n"));
            }
        }
        return text.trim_end().to_owned();
    }
    text.push_str(&line(heading, None));
    text.push_str("WHAT\n");
    for (row, cells) in rows.iter().zip(&all) {
        let [name, state, since, last] = cells;
        let mut lines = match room {
            usize::MAX => vec![row.words.clone()],
            room => wrap(&row.words, room),
        }
        .into_iter();
        let first = line([name, state, since, last], Some(state)) + &lines.next().unwrap_or_default();
        text.push_str(first.trim_end());
        text.push('\n');
        for part in lines {
            text.push_str(&format!("{}{part}\n", " ".repeat(before)));
        }
    }
    text.trim_end().to_owned()
}

fn row(status: &Value, now: Stamp, look: Look) -> Row {
    let text = |value: &Value| look.line(value.as_str().unwrap_or("-"));
    let ago = |value: &Value| stamp(value).map_or("-".to_owned(), |then| age(now, then));
    let optional = if status["critical"] == false { " (optional)" } else { "" };
    let mut words: Vec<String> = Vec::new();
    let waits_for: Vec<&str> =
        status["waits_for"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if !waits_for.is_empty() {
        words.push(format!("waits for {}", waits_for.join(", ")));
    }
    words.extend(call(&status["call"], status));
    for checker in status["monitor"]["checkers"].as_array().into_iter().flatten() {
        let stuck = call(&checker["call"], checker);
        words.extend(stuck.map(|stuck| format!("{}: {stuck}", checker["name"].as_str().unwrap_or("-"))));
    }
    words.extend(status["last_error"].as_str().map(str::to_owned));
    let is_stale = status["stale"] == true;
    if is_stale {
        let micros = (status["overdue_for"].as_f64().unwrap_or(0.0) * 1e6) as u64;
        let known = status["state"].as_str().unwrap_or("unknown");
        words.insert(0, format!("was {known}, and was not heard of for {} past its due", span(micros)));
    }
    // Whatever was known counts no more.
    let state = match status["parent"].as_str() {
        _ if is_stale => "stale".to_owned(),
        Some(parent) => format!("{} (parent {})", text(&status["state"]), look.line(parent)),
        None => text(&status["state"]),
    };
    Row {
        name: text(&status["name"]),
        words: look.line(&(words.join("; ") + if state == "ready" { "" } else { optional })),
        state,
        since: ago(&status["since"]),
        last: ago(&status["last_check"]),
    }
}

/// What a call does that has not returned, where that is of note.
fn call(call: &Value, of: &Value) -> Option<String> {
    let phase = call["phase"].as_str()?;
    let phase_for = call["for"].as_f64().unwrap_or(0.0);
    let is_stuck = call["stuck"] == true;
    if !is_stuck && phase_for < NOTEWORTHY {
        return None;
    }
    let micros = (phase_for * 1e6) as u64;
    let mut text = format!("{}{phase} for {}", if is_stuck { "stuck: " } else { "" }, span(micros));
    let activity = &call["activity"];
    if let Some(is) = activity["is"].as_str() {
        text.push_str(match is {
            "both" => ", working and waiting",
            "burning" => ", burning CPU",
            _ => ", blocked",
        });
        if let Some(place) = activity["waits_in"].as_str() {
            text.push_str(&format!(" in {place}"));
        }
        if let Some(percent) = activity["cpu_percent"].as_u64().filter(|percent| *percent > 0) {
            text.push_str(&format!(" ({percent}%)"));
        }
    }
    if let (true, Some(thread)) = (is_stuck, of["thread"]["name"].as_str()) {
        text.push_str(&format!(" (thread {thread}, tid {})", of["thread"]["tid"]));
    }
    Some(text)
}

fn stamp(value: &Value) -> Option<Stamp> {
    value.as_str().and_then(|text| text.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn body() -> Value {
        json!({
            "boot": "b", "at": "2026-01-01T00:10:00.000Z", "health": "down",
            "loops": [
                {"name": "broker", "state": "ready", "ready": true, "critical": true,
                 "since": "2026-01-01T00:00:00.000Z", "last_check": "2026-01-01T00:09:58.000Z"},
                {"name": "backup", "state": "down", "ready": false, "critical": false,
                 "since": "2026-01-01T00:09:50.000Z",
                 "last_error": "größe\u{1b}[31m of the thing is wrong"},
                {"name": "slow", "state": "unknown", "ready": false, "critical": true,
                 "since": "2026-01-01T00:09:43.000Z", "thread": {"name": "w/slow", "tid": 17},
                 "call": {"phase": "running sleep (pid 9)", "for": 17.2, "stuck": true,
                          "activity": {"is": "blocked", "cpu_percent": 0, "waits_in": "poll"}}},
            ],
        })
    }

    const PLAIN: Look = Look { columns: None, colours: false, unicode: true };

    #[test]
    fn a_table_is_aligned_and_says_what_is_stuck_and_why() {
        let expected = "\
down: 1 of 3 loops ready

NAME    STATE    FOR  LAST  WHAT
broker  ready    10m  2s
backup  down     10s  -     größe\\u{1b}[31m of the thing is wrong (optional)
slow    unknown  17s  -     stuck: running sleep (pid 9) for 17s, blocked in poll (thread w/slow, tid 17)";
        assert_eq!(render(&body(), PLAIN), expected);
    }

    #[test]
    fn words_go_on_below_where_there_is_no_room() {
        let text = render(&body(), Look { columns: Some(60), ..PLAIN });
        assert!(text.lines().all(|line| line.chars().count() <= 60), "{text}");
        let words = text.split_once("\nslow ").unwrap().1;
        let joined: Vec<&str> = words.split_whitespace().collect();
        assert_eq!(
            joined[3..].join(" "),
            "stuck: running sleep (pid 9) for 17s, blocked in poll (thread w/slow, tid 17)"
        );
        let text = render(&body(), Look { columns: Some(40), colours: true, unicode: false });
        let plain = ["\x1b[31m", "\x1b[32m", "\x1b[36m", "\x1b[0m"]
            .iter()
            .fold(text.clone(), |text, code| text.replace(code, ""));
        assert!(plain.lines().all(|line| line.chars().count() <= 40), "{plain}");
        assert!(plain.is_ascii() && plain.contains("gr\\u{f6}\\u{df}e"), "{plain}");
        assert!(text.contains("slow \x1b[36munknown\x1b[0m 17s\n"), "{text:?}");
        for columns in [0, 1, 5] {
            assert!(!render(&body(), Look { columns: Some(columns), ..PLAIN }).is_empty());
        }
    }

    #[test]
    fn a_screen_shows_what_is_not_ready_first_where_it_is_too_small() {
        assert_eq!(screen(&mut body(), PLAIN, 7), render(&body(), PLAIN));
        let text = screen(&mut body(), PLAIN, 6);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 5, "{text}");
        assert!(lines[3].starts_with("backup  down "), "{text}");
        assert_eq!(lines[4], "-- 2 more lines --", "{text}");
        for rows in 0..4 {
            let text = screen(&mut body(), Look { columns: Some(4), ..PLAIN }, rows);
            assert!(text.lines().count() <= rows.max(3), "{text}");
        }
    }

    #[test]
    fn what_is_not_heard_of_is_not_what_it_was() {
        let body = json!({
            "at": "2026-01-01T00:10:00.000Z", "health": "down",
            "loops": [{"name": "a", "state": "ready", "ready": false, "stale": true, "critical": true,
                       "since": "2026-01-01T00:00:00.000Z", "last_check": "2026-01-01T00:08:00.000Z",
                       "overdue_for": 90.5}],
        });
        let expected = "\
down: 0 of 1 loops ready

NAME  STATE  FOR  LAST  WHAT
a     stale  10m  2m    was ready, and was not heard of for 90s past its due";
        assert_eq!(render(&body, PLAIN), expected);
    }

    #[test]
    fn one_that_is_behind_another_names_it() {
        let body = json!({
            "at": "2026-01-01T00:10:00.000Z", "health": "down",
            "loops": [{"name": "mqtt", "state": "unknown", "parent": "router", "ready": false,
                       "since": "2026-01-01T00:09:00.000Z", "last_error": "no route"}],
        });
        let expected = "\
down: 0 of 1 loops ready

NAME  STATE                    FOR  LAST  WHAT
mqtt  unknown (parent router)  60s  -     no route";
        assert_eq!(render(&body, PLAIN), expected);
        let narrow = render(&body, Look { columns: Some(40), colours: true, ..PLAIN });
        assert!(narrow.contains("mqtt \x1b[36munknown (parent router)\x1b[0m 60s\n"), "{narrow:?}");
    }

    #[test]
    fn one_that_waits_says_for_what() {
        let body = json!({
            "at": "2026-01-01T00:10:00.000Z", "health": "down",
            "loops": [{"name": "web", "state": "unknown", "ready": false, "critical": false,
                       "since": "2026-01-01T00:09:00.000Z", "waits_for": ["db", "cache"]}],
        });
        let expected = "\
down: 0 of 1 loops ready

NAME  STATE    FOR  LAST  WHAT
web   unknown  60s  -     waits for db, cache (optional)";
        assert_eq!(render(&body, PLAIN), expected);
    }

    #[test]
    fn what_others_answer_is_no_status() {
        assert!(is_ours(&body()) && is_ours(&json!({"health": "ready", "loops": []})));
        for other in [
            json!(null),
            json!([]),
            json!({}),
            json!({"loops": []}),
            json!({"health": "ready", "loops": {}}),
            json!({"health": "fine", "loops": []}),
            json!({"health": true, "loops": []}),
        ] {
            assert!(!is_ours(&other), "{other}");
        }
    }

    #[test]
    fn what_is_not_there_is_not_invented() {
        assert_eq!(render(&json!({"loops": []}), PLAIN), "unknown: 0 of 0 loops ready");
        let text = render(&json!({"loops": [{}, {"name": 5, "call": {"phase": "x"}}]}), PLAIN);
        assert!(text.ends_with("\n-     -      -    -\n-     -      -    -"), "{text:?}");
    }
}
