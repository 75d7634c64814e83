//! Writes the log to standard error: one event, one line.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Arc;

use log::{Level, LevelFilter, Log, Metadata, Record};
use loopkeeper::config::{LogFormat, LoggingConfig};
use loopkeeper::console::Console;
use loopkeeper::service::is_journal;
use loopkeeper::{Clock, Stamp};
use parking_lot::RwLock;
use serde::Serialize;

/// The log's settings, which may change while it is written.
#[derive(Clone)]
pub(crate) struct Logging(Arc<RwLock<env_logger::Logger>>);

impl Logging {
    /// Lets everything that is logged from now on be written.
    pub(crate) fn install(config: &LoggingConfig) -> Self {
        let logging = Self(Arc::new(RwLock::new(logger(config))));
        // A second call would find the first one's logger in place.
        let _ = log::set_boxed_logger(Box::new(logging.clone()));
        log::set_max_level(logging.0.read().filter());
        logging
    }

    /// Goes by other settings from now on.
    pub(crate) fn set(&self, config: &LoggingConfig) {
        let logger = logger(config);
        log::set_max_level(logger.filter());
        *self.0.write() = logger;
    }
}

impl Log for Logging {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.0.read().enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        self.0.read().log(record);
    }

    fn flush(&self) {
        self.0.read().flush();
    }
}

fn logger(config: &LoggingConfig) -> env_logger::Logger {
    let LoggingConfig { level, format, source, .. } = *config;
    let clock = Clock::system();
    let journal = is_journal();
    let ours = level.to_level_filter();
    let mut builder = env_logger::Builder::new();
    // Libraries below us are heard when something is wrong.
    builder.filter_level(ours.min(LevelFilter::Warn)).filter_module("loopkeeper", ours);
    builder.format(move |out, record| {
        let line = Line::new(Stamp::from(clock.wall()), record, source);
        writeln!(out, "{}", line.in_form(format, journal))
    });
    // Nobody may have to wait for whoever reads the log.
    let lost = move |n: u64| lost(n).in_form(format, journal) + "\n";
    let console = Console::new(std::io::stderr(), lost);
    builder.target(env_logger::Target::Pipe(Box::new(console)));
    builder.build()
}

/// What is said of lines that nobody took.
fn lost(n: u64) -> Line<'static> {
    let time = Stamp::from(Clock::system().wall());
    let message = format!("log lines lost because nobody took them: {n}");
    Line { time, level: "warn", target: "loopkeeper::daemon::logging", message, source: None }
}

/// One event, with its fields in the order in which they are written.
#[derive(Debug, Serialize)]
struct Line<'a> {
    time: Stamp,
    level: &'static str,
    target: &'a str,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
}

impl<'a> Line<'a> {
    fn new(time: Stamp, record: &'a Record<'_>, source: bool) -> Self {
        let source = source.then(|| {
            let file = record.file().unwrap_or("?");
            record.line().map_or_else(|| file.to_owned(), |line| format!("{file}:{line}"))
        });
        let level = match record.level() {
            Level::Error => "error",
            Level::Warn => "warn",
            Level::Info => "info",
            Level::Debug => "debug",
            Level::Trace => "trace",
        };
        Self { time, level, target: record.target(), message: record.args().to_string(), source }
    }

    /// One line; the journal wants its priority in front and has a time of
    /// its own.
    fn in_form(&self, format: LogFormat, journal: bool) -> String {
        let line = match format {
            LogFormat::Json => self.json(),
            LogFormat::Logfmt => self.logfmt(),
            _ if journal => self.message(String::new()),
            _ => self.text(),
        };
        if !journal {
            return line;
        }
        let priority = match self.level {
            "error" => 3,
            "warn" => 4,
            "info" => 6,
            _ => 7,
        };
        format!("<{priority}>{line}")
    }

    fn logfmt(&self) -> String {
        let mut line = format!("time={} level={}", self.time, self.level);
        let source = self.source.as_ref().map(|source| ("source", &**source));
        for (key, value) in [("target", self.target), ("msg", &*self.message)].into_iter().chain(source) {
            let is_bare = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '=' | '\\');
            if !value.is_empty() && value.chars().all(is_bare) {
                _ = write!(line, " {key}={value}");
            } else {
                _ = write!(line, " {key}={}", json_on_one_line(&value));
            }
        }
        line
    }

    fn text(&self) -> String {
        self.message(format!("{} {:<5} ", self.time, self.level.to_ascii_uppercase()))
    }

    fn message(&self, mut line: String) -> String {
        escape(self.target, &mut line);
        line.push_str(": ");
        escape(&self.message, &mut line);
        if let Some(source) = &self.source {
            line.push_str(" (");
            escape(source, &mut line);
            line.push(')');
        }
        line
    }

    fn json(&self) -> String {
        json_on_one_line(self)
    }
}

/// Writes JSON that no reader takes for more than one line.
pub(super) fn json_on_one_line(value: &impl Serialize) -> String {
    let json = serde_json::to_string(value).unwrap_or_default();
    // What JSON lets stand and some readers take for the end of a line can
    // only be inside of its strings.
    json.chars().fold(String::with_capacity(json.len()), |mut line, c| {
        if breaks_a_line(c) {
            _ = write!(line, "\\u{:04x}", u32::from(c));
        } else {
            line.push(c);
        }
        line
    })
}

/// Writes a text so that it stays on its line and changes nothing about the
/// terminal that shows it.
pub(super) fn escape(text: &str, line: &mut String) {
    for c in text.chars() {
        if breaks_a_line(c) {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
}

fn breaks_a_line(c: char) -> bool {
    // Line ends, and what turns the direction of the text around it.
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The event as text and as JSON.
    fn check(message: &str, source: bool) -> (String, String) {
        let stamp = Stamp::from_micros(1_795_556_522_123_456);
        let mut record = Record::builder();
        record.level(Level::Info).target("loopkeeper::watcher::mqtt").file(Some("src/a.rs")).line(Some(7));
        let say = |record: &Record<'_>| {
            let line = Line::new(stamp, record, source);
            (line.text(), line.json())
        };
        say(&record.args(format_args!("{message}")).build())
    }

    #[test]
    fn text_is_for_people() {
        let text = check("watcher mqtt: down", false).0;
        assert_eq!(text, "2026-11-24T21:42:02.123Z INFO  loopkeeper::watcher::mqtt: watcher mqtt: down");
        let text = check("up", true).0;
        assert_eq!(text, "2026-11-24T21:42:02.123Z INFO  loopkeeper::watcher::mqtt: up (src/a.rs:7)");
    }

    #[test]
    fn json_is_for_machines() {
        assert_eq!(
            check("a \"b\"", true).1,
            r#"{"time":"2026-11-24T21:42:02.123Z","level":"info","target":"loopkeeper::watcher::mqtt","message":"a \"b\"","source":"src/a.rs:7"}"#
        );
        assert!(!check("a", false).1.contains("source"));
    }

    #[test]
    fn logfmt_is_pairs_and_the_journal_gets_priorities() {
        let stamp = Stamp::from_micros(1_795_556_522_123_456);
        let line = |level, message: &str| Line {
            time: stamp,
            level,
            target: "loopkeeper::watcher::mqtt",
            message: message.to_owned(),
            source: Some("src/a.rs:7".to_owned()),
        };
        let (logfmt, text) = (LogFormat::Logfmt, LogFormat::Text);
        for (line, format, journal, expected) in [
            (
                line("info", "down: \"a\"\nb=1"),
                logfmt,
                false,
                r#"time=2026-11-24T21:42:02.123Z level=info target=loopkeeper::watcher::mqtt msg="down: \"a\"\nb=1" source=src/a.rs:7"#,
            ),
            (
                line("debug", "up"),
                logfmt,
                true,
                "<7>time=2026-11-24T21:42:02.123Z level=debug target=loopkeeper::watcher::mqtt msg=up source=src/a.rs:7",
            ),
            (line("error", "a\nb"), text, true, "<3>loopkeeper::watcher::mqtt: a\\nb (src/a.rs:7)"),
            (line("warn", ""), text, true, "<4>loopkeeper::watcher::mqtt:  (src/a.rs:7)"),
            (line("info", "up"), text, true, "<6>loopkeeper::watcher::mqtt: up (src/a.rs:7)"),
        ] {
            assert_eq!(line.in_form(format, journal), expected);
        }
        assert!(line("info", "up").in_form(LogFormat::Json, true).starts_with("<6>{\"time\""));
        assert!(line("info", "").logfmt().contains(" msg=\"\" "));
    }

    #[test]
    fn an_event_stays_on_its_line() {
        let text = check("a\nb\r\u{1b}[31mc\u{85}\u{2028}d\0é\u{61c}", false).0;
        assert!(text.ends_with(": a\\nb\\r\\u{1b}[31mc\\u{85}\\u{2028}d\\u{0}é\\u{61c}"), "{text}");
        let json = check("a\nb\u{1b}\u{85}\u{2028}", false).1;
        assert!(json.ends_with(r#""a\nb\u001b\u0085\u2028"}"#), "{json}");
    }
}
