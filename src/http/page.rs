//! The page at `/` for terminals: a line for each loop, and the paths.

use std::fmt::{self, Write};
use std::time::Duration;

use super::health::{plain, word};
use super::response::{Response, Status};
use super::snapshot::Snapshot;
use crate::status::{LoopStatus, aggregate};

pub(super) const PATHS: &str = "\
/livez             whether this process can do its work: 200 or 503
/readyz            whether everything critical is ready: 200 or 503; ?verbose names each
/startupz          whether everything critical was heard of once: 200 or 503; ?verbose names each
/healthz           all of it, as application/health+json
/status            every loop, as JSON
/why/NAME          why a loop is as it is, and what happens next, as JSON
/recovery          what becomes of corrupted runs, as JSON
/events            what happened, as JSON; ?after=SEQ&max=N, &wait=30s waits for more
/config            the configuration in force and where each value comes from, as JSON
/metrics           for a Prometheus server, as OpenMetrics or plain text
POST /trigger/NAME       with the token: has a loop make its next run now
POST /heartbeat/NAME     with the token: says that NAME is alive; ?down=REASON that it is not
POST /deploy/rescan      with the token: has the folder of descriptors looked at now
POST /recovery/RUN/cancel   with the token: ends the recovery of a run
POST /recovery/RUN/retry    with the token: has a run tried again now
";

/// One line for each loop, and where to look further.
pub(super) fn text(snapshot: &Snapshot<'_>) -> Response {
    let mut text = format!("{} at {}\n\n", aggregate(&snapshot.loops), snapshot.at);
    for status in &snapshot.loops {
        let LoopStatus { name, since, last_error, age, parent, .. } = status;
        let _ = write!(text, "{name:<18} {:<8}", word(status));
        if let Some(parent) = parent {
            let _ = write!(text, " (parent {parent})");
        }
        let _ = write!(text, " since {since}");
        if let Some(age) = age {
            let _ = write!(text, ", checked {} ago", Ago(*age));
        }
        if let Some(error) = last_error {
            text.push_str("  ");
            plain(&mut text, error);
        }
        text.push('\n');
    }
    if snapshot.loops.is_empty() {
        text.push_str("no loops\n");
    }
    text.push('\n');
    text.push_str(PATHS);
    Response::text(Status::Ok, &text).header("Vary", "Accept")
}

/// How long ago something was, for people: `0.3 s`, `12 s`, `5 min`, `3 h`.
struct Ago(Duration);

impl fmt::Display for Ago {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_secs() {
            0..10 => write!(f, "{:.1} s", self.0.as_secs_f64()),
            secs @ 10..120 => write!(f, "{secs} s"),
            secs @ 120..7200 => write!(f, "{} min", secs / 60),
            secs => write!(f, "{} h", secs / 3600),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::routes::tests::{of, snapshot, text as body};
    use super::*;

    #[test]
    fn the_manual_has_every_path() {
        for line in PATHS.lines() {
            let path = line.split("  ").next().expect("a path");
            assert!(include_str!("mod.rs").contains(&format!("//! | `{path}")), "{path}");
        }
    }
    use crate::event::Health;

    #[test]
    fn the_page_has_one_line_for_each_loop() {
        let stale = LoopStatus { stale: true, ready: false, ..of("c", Health::Ready, false) };
        let aged = LoopStatus { age: Some(Duration::from_secs(90)), ..of("a", Health::Ready, true) };
        let child = LoopStatus { parent: "b".parse().ok(), ..of("d", Health::Unknown, true) };
        let page = body(&text(&snapshot(&[aged, of("b", Health::Down, false), stale, child])));
        let expected = "down at 1970-01-01T00:00:00.000Z\n\n\
            a                  ready    since 1970-01-01T00:00:00.000Z, checked 90 s ago\n\
            b                  down     since 1970-01-01T00:00:00.000Z  no\\r\\n\\u{202e}\"answer\"\n\
            c                  stale    since 1970-01-01T00:00:00.000Z\n\
            d                  unknown  (parent b) since 1970-01-01T00:00:00.000Z\n\n/livez";
        assert!(page.starts_with(expected), "{page}");
    }

    #[test]
    fn ages_are_for_people() {
        for (secs, text) in
            [(0.25, "0.2 s"), (9.96, "10.0 s"), (61.0, "61 s"), (180.0, "3 min"), (7200.0, "2 h")]
        {
            assert_eq!(Ago(Duration::from_secs_f64(secs)).to_string(), text);
        }
    }
}
