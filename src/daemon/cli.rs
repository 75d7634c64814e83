//! Reads the command line.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use lexopt::{Arg, Parser};
use loopkeeper::config::{Layers, LogFormat, level_named, parse_listen};
use loopkeeper::console::closest;
use loopkeeper::{Name, duration};

use super::ask::Where;
use super::fleet::{About, Ask, Subject};
use super::help::Topic;
use super::usage::Usage;
use super::{act, ask, events, explain, recovery, status, trial};

/// What the command line asks for.
#[derive(Debug)]
pub(crate) enum Command {
    /// Watch, until told to stop.
    Run(Layers, Option<u16>),
    /// Tell what is wrong with the files.
    Check(Layers),
    /// Tell about the types of components, or about one of them; as a JSON
    /// Schema or in words.
    Types(Option<String>, bool),
    /// Write what one may begin with.
    Init(PathBuf),
    /// Tell where settings come from, or one of them.
    Explain(Layers, explain::Ask),
    /// Look at a fleet.
    Fleet(Layers, Ask),
    /// Look at what becomes of corrupted runs, or act on one.
    Recovery(Layers, ask::Ask<recovery::About>),
    /// Tell how the daemon's loops are.
    Status(Layers, status::Ask),
    /// Tell why a loop is as it is.
    Why(Layers, ask::Ask<Name>),
    /// Tell what happened.
    Events(Layers, events::Ask),
    /// Have the daemon do something now.
    Act(Layers, ask::Ask<act::About>),
    /// Ask once what a descriptor asks.
    Probe(Layers, trial::Ask),
    /// Explain.
    Help(Topic),
    /// Print the man page.
    Man,
    /// Say which version this is.
    Version,
}

/// Reads the arguments, without the program's name.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, Usage> {
    let mut parser = Parser::from_args(args);
    let usage = |message| Usage { message, topic: Topic::Program };
    let expected = format!("expected {} or help", Topic::names());
    match parser.next().map_err(|error| usage(error.to_string()))? {
        None => Err(usage(format!("no command, {expected}"))),
        Some(Arg::Long("help") | Arg::Short('h')) => Ok(Command::Help(Topic::Program)),
        Some(Arg::Long("version") | Arg::Short('V')) => Ok(Command::Version),
        Some(Arg::Value(command)) => match command.to_str().and_then(Topic::named) {
            Some(topic @ (Topic::Run | Topic::Check)) => options(parser, topic),
            Some(Topic::Explain) => explain(parser),
            Some(Topic::Status) => status(parser),
            Some(Topic::Why) => why(parser),
            Some(Topic::Events) => events(parser),
            Some(topic @ (Topic::Trigger | Topic::Rescan)) => act(parser, topic),
            Some(Topic::Probe) => probe(parser),
            Some(Topic::Types) => types(parser),
            Some(Topic::Init) => init(parser),
            Some(Topic::Fleet) => fleet(parser),
            Some(Topic::Recovery) => recovery(parser),
            Some(Topic::Program) | None if command == "help" => help(parser),
            Some(Topic::Program) | None => {
                let names: Vec<&str> = Topic::COMMANDS.iter().map(|topic| topic.name()).collect();
                let meant = command.to_str().and_then(|command| closest(command, &names));
                let expected = meant.map_or(expected, |meant| format!("did you mean {meant:?}?"));
                Err(usage(format!("unknown command {command:?}, {expected}")))
            }
        },
        Some(option) => Err(usage(format!("unknown option {}, {expected}", Shown(&option)))),
    }
}

fn help(mut parser: Parser) -> Result<Command, Usage> {
    let usage = |message| Usage { message, topic: Topic::Program };
    let asked = match parser.next().map_err(|error| usage(error.to_string()))? {
        None => Command::Help(Topic::Program),
        Some(Arg::Long("man")) => Command::Man,
        Some(Arg::Value(word)) if word == "help" => Command::Help(Topic::Program),
        Some(other) => {
            let topic = match &other {
                Arg::Value(word) => word.to_str().and_then(Topic::named),
                _ => None,
            };
            Command::Help(topic.ok_or_else(|| {
                usage(format!("no help about {}, expected one of {}", Shown(&other), Topic::names()))
            })?)
        }
    };
    match parser.next().map_err(|error| usage(error.to_string()))? {
        None => Ok(asked),
        Some(other) => Err(usage(format!("unexpected argument {}, expected one command", Shown(&other)))),
    }
}

/// Reads what `types` is asked about.
fn types(mut parser: Parser) -> Result<Command, Usage> {
    let (mut name, mut json_schema) = (None, false);
    loop {
        match parser.next().map_err(|error| Usage::about(Topic::Types, error.to_string()))? {
            None => return Ok(Command::Types(name, json_schema)),
            Some(Arg::Long("json-schema")) => json_schema = true,
            Some(Arg::Long("help") | Arg::Short('h')) => return Ok(Command::Help(Topic::Types)),
            Some(Arg::Value(word)) if name.is_none() => name = Some(word.to_string_lossy().into_owned()),
            Some(other) => {
                let message = format!("unexpected argument {}, expected one type", Shown(&other));
                return Err(Usage::about(Topic::Types, message));
            }
        }
    }
}

/// Reads where `init` is to write.
fn init(mut parser: Parser) -> Result<Command, Usage> {
    let usage = |message| Usage::about(Topic::Init, message);
    let mut dir = None;
    loop {
        match parser.next().map_err(|error| usage(error.to_string()))? {
            None => break,
            Some(Arg::Long("help") | Arg::Short('h')) => return Ok(Command::Help(Topic::Init)),
            Some(Arg::Value(word)) if dir.is_none() && !word.is_empty() => dir = Some(PathBuf::from(word)),
            Some(other) => {
                return Err(usage(format!("unexpected argument {}, expected one folder", Shown(&other))));
            }
        }
    }
    dir.map(Command::Init).ok_or_else(|| usage("expected a folder to write to".to_owned()))
}

/// Reads what `fleet` is asked, and where to look.
fn fleet(mut parser: Parser) -> Result<Command, Usage> {
    let usage = |message| Usage { message, topic: Topic::Fleet };
    let mut layers = Layers::default();
    let mut given = Given::default();
    let mut words: Vec<String> = Vec::new();
    let mut json = false;
    loop {
        let option = match parser.next().map_err(|error| usage(error.to_string()))? {
            None => break,
            Some(Arg::Long("help") | Arg::Short('h')) => return Ok(Command::Help(Topic::Fleet)),
            Some(Arg::Long("json")) => {
                json = true;
                continue;
            }
            Some(Arg::Long(name)) if Topic::Fleet.options().contains(&name) => name.to_owned(),
            Some(Arg::Value(word)) if words.len() < 3 => {
                words.push(word.to_string_lossy().into_owned());
                continue;
            }
            Some(other) => return Err(usage(unknown(Topic::Fleet, &other))),
        };
        let value = parser.value().map_err(|_| usage(format!("--{option} is missing its value")))?;
        layers = option_value(layers, &option, value, &mut given).map_err(usage)?;
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let about = about(&words).map_err(usage)?;
    let limit = given.number("limit", 1).map_err(usage)?;
    let after: Option<i64> = given.number("after", 0).map_err(usage)?;
    match about {
        About::Why(..) if limit.is_some() => return Err(usage("--limit: does not go with why".to_owned())),
        About::Why(..) | About::Queue if after.is_some() => {
            return Err(usage("--after: goes with agents, jobs and tokens only".to_owned()));
        }
        _ => {}
    }
    let after = after.unwrap_or(0);
    let ask = Ask { about, json, limit, after };
    Ok(Command::Fleet(given.layers(layers), ask))
}

/// What a command is asked that takes words and says whom to ask.
struct Asked {
    layers: Layers,
    words: Vec<String>,
    json: bool,
    follow: bool,
    place: Where,
    given: Given,
}

impl Asked {
    fn number(&self, topic: Topic, option: &str, least: u32) -> Result<Option<u32>, Usage> {
        self.given.number(option, least).map_err(|message| Usage { message, topic })
    }
}

/// Reads at most so many words, and options; `None` when help is wanted.
fn asked(mut parser: Parser, topic: Topic, n_words: usize) -> Result<Option<Asked>, Usage> {
    let usage = |message| Usage { message, topic };
    let mut layers = Layers::default();
    let mut given = Given::default();
    let mut words: Vec<String> = Vec::new();
    let (mut json, mut follow) = (false, false);
    loop {
        let option = match parser.next().map_err(|error| usage(error.to_string()))? {
            None => break,
            Some(Arg::Long("help") | Arg::Short('h')) => return Ok(None),
            Some(Arg::Long("json")) if topic.options().contains(&"json") => {
                json = true;
                continue;
            }
            Some(Arg::Long(name @ ("follow" | "watch" | "running"))) if topic.options().contains(&name) => {
                follow = true;
                continue;
            }
            Some(Arg::Long(name)) if topic.options().contains(&name) => name.to_owned(),
            Some(Arg::Value(word)) if words.len() < n_words => {
                let word = word.into_string();
                words.push(word.map_err(|word| usage(format!("expected UTF-8 text, found {word:?}")))?);
                continue;
            }
            Some(other) => return Err(usage(unknown(topic, &other))),
        };
        let value = parser.value().map_err(|_| usage(format!("--{option} is missing its value")))?;
        layers = option_value(layers, &option, value, &mut given).map_err(usage)?;
    }
    let value = |option: &str| given.value(option).map(str::to_owned);
    let place = Where { url: value("url"), token_file: value("token-file").map(Into::into) };
    Ok(Some(Asked { layers: given.layers(layers), words, json, follow, place, given }))
}

/// Reads what `status` is asked, and of whom.
fn status(parser: Parser) -> Result<Command, Usage> {
    let Some(asked) = asked(parser, Topic::Status, 0)? else { return Ok(Command::Help(Topic::Status)) };
    let interval = asked.given.value("interval").map(duration::parse).transpose();
    let interval = interval.ok().flatten().unwrap_or(Duration::from_secs(2));
    let Asked { layers, json, place, follow, given, .. } = asked;
    if given.value("interval").is_some() && !follow {
        return Err(Usage::about(Topic::Status, "--interval: goes with --watch".to_owned()));
    }
    Ok(Command::Status(layers, status::Ask { json, place, watch: follow.then_some(interval) }))
}

/// Reads the name of a loop.
fn name_of(topic: Topic, words: &[String]) -> Result<Name, Usage> {
    let [name] = words else { return Err(Usage::about(topic, "expected the name of a loop".to_owned())) };
    Name::new(name).map_err(|error| Usage::about(topic, error.to_string()))
}

/// Reads which settings are to be explained, and whose.
fn explain(parser: Parser) -> Result<Command, Usage> {
    let Some(Asked { layers, words, json, follow, place, .. }) = asked(parser, Topic::Explain, 1)? else {
        return Ok(Command::Help(Topic::Explain));
    };
    let is_running = follow || place.url.is_some();
    let ask = explain::Ask { key: words.into_iter().next(), json, place: is_running.then_some(place) };
    Ok(Command::Explain(layers, ask))
}

/// Reads which loop is to be explained.
fn why(parser: Parser) -> Result<Command, Usage> {
    let Some(Asked { layers, words, json, place, .. }) = asked(parser, Topic::Why, 1)? else {
        return Ok(Command::Help(Topic::Why));
    };
    Ok(Command::Why(layers, ask::Ask { about: name_of(Topic::Why, &words)?, json, place }))
}

/// Reads which events are to be told.
fn events(parser: Parser) -> Result<Command, Usage> {
    let Some(asked) = asked(parser, Topic::Events, 1)? else { return Ok(Command::Help(Topic::Events)) };
    let last = asked.number(Topic::Events, "last", 0)?;
    let Asked { layers, words, json, follow, place, .. } = asked;
    let ask = events::Ask { name: words.into_iter().next(), follow, last, json, place };
    Ok(Command::Events(layers, ask))
}

/// Reads what the daemon is to do.
fn act(parser: Parser, topic: Topic) -> Result<Command, Usage> {
    let n_words = usize::from(topic == Topic::Trigger);
    let Some(Asked { layers, words, json, place, .. }) = asked(parser, topic, n_words)? else {
        return Ok(Command::Help(topic));
    };
    let about = match topic {
        Topic::Rescan => act::About::Rescan,
        _ => act::About::Trigger(name_of(topic, &words)?),
    };
    Ok(Command::Act(layers, ask::Ask { about, json, place }))
}

/// Reads which descriptor is to be tried.
fn probe(parser: Parser) -> Result<Command, Usage> {
    let Some(Asked { layers, words, json, .. }) = asked(parser, Topic::Probe, 1)? else {
        return Ok(Command::Help(Topic::Probe));
    };
    let [file] = &words[..] else {
        return Err(Usage::about(Topic::Probe, "expected the file of a descriptor".to_owned()));
    };
    Ok(Command::Probe(layers, trial::Ask { file: file.into(), json }))
}

/// Reads what `recovery` is asked, and of whom.
fn recovery(parser: Parser) -> Result<Command, Usage> {
    let usage = |message| Usage { message, topic: Topic::Recovery };
    let Some(Asked { layers, words, json, place, .. }) = asked(parser, Topic::Recovery, 2)? else {
        return Ok(Command::Help(Topic::Recovery));
    };
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let expected = "expected list, cancel RUN or retry RUN";
    let about = match words[..] {
        ["list"] => recovery::About::List,
        ["cancel", run] if !run.is_empty() => recovery::About::Cancel(run.to_owned()),
        ["retry", run] if !run.is_empty() => recovery::About::Retry(run.to_owned()),
        [] => return Err(usage(format!("nothing is asked, {expected}"))),
        ["list", more] => return Err(usage(format!("unexpected argument {more:?}, expected options only"))),
        [act @ ("cancel" | "retry"), ..] => return Err(usage(format!("{act}: expected the name of a run"))),
        [word, ..] => return Err(usage(format!("unknown question {word:?}, {expected}"))),
    };
    Ok(Command::Recovery(layers, ask::Ask { about, json, place }))
}

/// Finds what the words after `fleet` are about.
fn about(words: &[&str]) -> Result<About, String> {
    let expected = "expected agents, jobs, queue, tokens or why";
    match words {
        [] => Err(format!("nothing is asked, {expected}")),
        ["agents"] => Ok(About::Agents),
        ["jobs"] => Ok(About::Jobs),
        ["queue"] => Ok(About::Queue),
        ["tokens"] => Ok(About::Tokens),
        ["why", subject, id] => {
            let found = Subject::named(subject)
                .ok_or_else(|| format!("why: expected agent, job, token or record, found {subject:?}"))?;
            let id = id.parse().map_err(|_| format!("why {subject}: expected its number, found {id:?}"))?;
            Ok(About::Why(found, id))
        }
        ["why", ..] => Err("why: expected agent, job, token or record, and its number".to_owned()),
        ["agents" | "jobs" | "queue" | "tokens", more, ..] => {
            Err(format!("unexpected argument {more:?}, expected options only"))
        }
        [word, ..] => Err(format!("unknown question {word:?}, {expected}")),
    }
}

fn unknown(topic: Topic, option: &Arg<'_>) -> String {
    let known: Vec<String> = topic.options().iter().map(|name| format!("--{name}")).collect();
    let what = if matches!(option, Arg::Value(_)) { "unexpected argument" } else { "unknown option" };
    format!("{what} {}, expected {}", Shown(option), known.join(", "))
}

/// Takes an option with its value.
fn option_value(layers: Layers, option: &str, value: OsString, given: &mut Given) -> Result<Layers, String> {
    if option == "config" {
        given.once(option, "")?;
        return Ok(layers.file(value));
    }
    let text = value.into_string();
    let value = text.map_err(|value| format!("--{option}: expected UTF-8 text, found {value:?}"))?;
    if option == "set" {
        let Some((key, value)) = value.split_once('=') else {
            return Err(format!("--set: expected KEY=VALUE, found {value:?}"));
        };
        return Ok(layers.set(key, value));
    }
    check_value(option, &value).map_err(|error| format!("--{option}: {error}"))?;
    given.once(option, &value)?;
    Ok(layers)
}

/// Reads the options of `run` or `check`.
fn options(mut parser: Parser, topic: Topic) -> Result<Command, Usage> {
    let usage = |message| Usage { message, topic };
    let mut layers = Layers::default();
    let mut given = Given::default();
    loop {
        let option = match parser.next().map_err(|error| usage(error.to_string()))? {
            None => break,
            Some(Arg::Long("help") | Arg::Short('h')) => return Ok(Command::Help(topic)),
            Some(Arg::Long(name)) if topic.options().contains(&name) => name.to_owned(),
            Some(Arg::Value(word)) => {
                return Err(usage(format!("unexpected argument {word:?}, expected options only")));
            }
            Some(other) => return Err(usage(unknown(topic, &other))),
        };
        let value = parser.value().map_err(|_| usage(format!("--{option} is missing its value")))?;
        layers = option_value(layers, &option, value, &mut given).map_err(usage)?;
    }
    let notify_fd = given.value("notify-fd").and_then(|fd| fd.parse().ok());
    let layers = given.layers(layers);
    Ok(match topic {
        Topic::Run => Command::Run(layers, notify_fd),
        _ => Command::Check(layers),
    })
}

impl Topic {
    /// The options that a command has, without their dashes.
    fn options(self) -> &'static [&'static str] {
        match self {
            Self::Program | Self::Types | Self::Init => &[],
            Self::Run => &["config", "deploy", "listen", "set", "log-level", "log-format", "notify-fd"],
            Self::Check => &["config", "deploy", "set"],
            Self::Explain => &["config", "deploy", "set", "running", "url", "token-file", "json"],
            Self::Probe => &["config", "set", "json"],
            Self::Events => &["config", "set", "url", "token-file", "last", "follow", "json"],
            Self::Status => &["config", "set", "url", "token-file", "watch", "interval", "json"],
            Self::Recovery | Self::Why | Self::Trigger | Self::Rescan => {
                &["config", "set", "url", "token-file", "json"]
            }
            Self::Fleet => &["config", "deploy", "set", "limit", "after", "json"],
        }
    }
}

/// The options that were given, each once.
#[derive(Debug, Default)]
struct Given(Vec<(String, String)>);

impl Given {
    fn once(&mut self, option: &str, value: &str) -> Result<(), String> {
        if self.0.iter().any(|(given, _)| given == option) {
            return Err(format!("--{option} is given twice"));
        }
        self.0.push((option.to_owned(), value.to_owned()));
        Ok(())
    }

    fn value(&self, option: &str) -> Option<&str> {
        self.0.iter().find(|(given, _)| given == option).map(|(_, value)| &**value)
    }

    fn number<N: FromStr + PartialOrd + fmt::Display>(
        &self,
        option: &str,
        least: N,
    ) -> Result<Option<N>, String> {
        let Some(text) = self.value(option) else { return Ok(None) };
        let number = text.parse().ok().filter(|n: &N| *n >= least);
        let wrong = || format!("--{option}: expected a number from {least} on, found {text:?}");
        number.ok_or_else(wrong).map(Some)
    }

    /// Lays the options with a name of their own over `--set`, wherever they
    /// stand.
    fn layers(&self, layers: Layers) -> Layers {
        self.0.iter().fold(layers, |layers, (option, value)| {
            let key = match &**option {
                "deploy" => "deploy.dir",
                "listen" => "http.listen",
                "log-level" => "logging.level",
                "log-format" => "logging.format",
                _ => return layers,
            };
            layers.set_text(&format!("--{option}"), key, value.clone())
        })
    }
}

/// Refuses here what would be a wrong setting: this is about the command line.
fn check_value(option: &str, value: &str) -> Result<(), String> {
    let found = |expected: &str| format!("expected {expected}, found {value:?}");
    match option {
        "interval" if !duration::parse(value).is_ok_and(|time| time >= Duration::from_millis(100)) => {
            Err(found("a duration such as \"2s\", at least 100ms"))
        }
        "listen" => parse_listen(value).map(|_| ()),
        "log-level" if level_named(value).is_none() => Err(found("debug, info, warn or error")),
        "log-format" if LogFormat::named(value).is_none() => Err(found("text, logfmt or json")),
        "notify-fd" if !value.parse().is_ok_and(|fd: u16| (3..64).contains(&fd)) => {
            Err(found("a number from 3 to 63"))
        }
        "deploy" if value.is_empty() => Err(found("a folder")),
        "token-file" if value.is_empty() => Err(found("a file")),
        _ => Ok(()),
    }
}

/// Shows an argument as it was written.
struct Shown<'a>(&'a Arg<'a>);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Arg::Short(letter) => write!(f, "{:?}", format!("-{letter}")),
            Arg::Long(name) => write!(f, "{:?}", format!("--{name}")),
            Arg::Value(word) => write!(f, "{word:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str) -> Result<Command, String> {
        let args = line.split_whitespace().map(OsString::from);
        parse(args).map_err(|usage| usage.message)
    }

    #[test]
    fn commands_are_read() {
        for (line, expected) in [
            ("--help", Topic::Program),
            ("-h", Topic::Program),
            ("help", Topic::Program),
            ("help help", Topic::Program),
            ("help run", Topic::Run),
            ("run --help", Topic::Run),
            ("run --set a=1 -h", Topic::Run),
            ("check --help", Topic::Check),
            ("types --help", Topic::Types),
            ("types watcher -h", Topic::Types),
            ("help types", Topic::Types),
            ("help explain", Topic::Explain),
            ("help fleet", Topic::Fleet),
            ("help recovery", Topic::Recovery),
            ("recovery list -h", Topic::Recovery),
            ("help status", Topic::Status),
            ("status --json -h", Topic::Status),
            ("probe -h", Topic::Probe),
            ("help probe", Topic::Probe),
            ("fleet -h", Topic::Fleet),
            ("fleet jobs --json --help", Topic::Fleet),
        ] {
            assert!(matches!(check(line), Ok(Command::Help(topic)) if topic == expected), "{line}");
        }
        assert!(matches!(check("--version"), Ok(Command::Version)));
        assert!(matches!(check("-V"), Ok(Command::Version)));
        assert!(matches!(check("types"), Ok(Command::Types(None, false))));
        let all = explain::Ask { key: None, json: false, place: None };
        assert!(matches!(check("explain"), Ok(Command::Explain(_, ask)) if ask == all));
        let explain = check("explain --set a=1 http.listen");
        assert!(matches!(explain, Ok(Command::Explain(_, ask)) if ask.key.as_deref() == Some("http.listen")));
        assert!(matches!(check("types watcher"), Ok(Command::Types(Some(name), false)) if name == "watcher"));
    }

    #[test]
    fn questions_about_a_fleet_are_read() {
        for (line, about, json, limit, after) in [
            ("agents", About::Agents, false, None, 0),
            ("jobs --limit 5 --json --after=7", About::Jobs, true, Some(5), 7),
            ("jobs --after 9223372036854775807", About::Jobs, false, None, i64::MAX),
            ("--json queue --set store.url=sqlite:a.db", About::Queue, true, None, 0),
            ("tokens --after 0", About::Tokens, false, None, 0),
            ("why job 17", About::Why(Subject::Job, 17), false, None, 0),
            ("why record 3 --json", About::Why(Subject::Record, 3), true, None, 0),
        ] {
            let Ok(Command::Fleet(_, found)) = check(&format!("fleet {line}")) else { panic!("{line}") };
            assert_eq!(found, Ask { about, json, limit, after }, "{line}");
        }
    }

    #[test]
    fn questions_about_recoveries_are_read() {
        use ask::Ask;
        use recovery::About;
        let cancel = |run: &str| About::Cancel(run.to_owned());
        for (line, about, json, url, token_file) in [
            ("list", About::List, false, None, None),
            ("--json list --url http://h:1", About::List, true, Some("http://h:1"), None),
            ("cancel a/b --token-file t", cancel("a/b"), false, None, Some("t")),
            ("retry r1 --set http.listen=127.0.0.1:1", About::Retry("r1".to_owned()), false, None, None),
        ] {
            let Ok(Command::Recovery(_, found)) = check(&format!("recovery {line}")) else {
                panic!("{line}")
            };
            let place = Where { url: url.map(str::to_owned), token_file: token_file.map(Into::into) };
            assert_eq!(found, Ask { about, json, place }, "{line}");
        }
        for (line, flaw) in [
            ("", "nothing is asked, expected list, cancel RUN or retry RUN"),
            ("lst", "unknown question \"lst\", expected list, cancel RUN or retry RUN"),
            ("list a", "unexpected argument \"a\", expected options only"),
            ("cancel", "cancel: expected the name of a run"),
            ("retry a b", "unexpected argument \"b\", expected --config, --set, --url, --token-file, --json"),
            ("list --url", "--url is missing its value"),
            ("list --token-file=", "--token-file: expected a file, found \"\""),
        ] {
            assert_eq!(check(&format!("recovery {line}")).unwrap_err(), flaw, "{line}");
        }
    }

    #[test]
    fn questions_about_loops_are_read() {
        let Ok(Command::Status(_, found)) = check("status --json --url http://h:1 --token-file t") else {
            panic!("not status")
        };
        let place = Where { url: Some("http://h:1".to_owned()), token_file: Some("t".into()) };
        assert_eq!(found, status::Ask { json: true, watch: None, place });
        let Ok(Command::Probe(_, found)) = check("probe a.json --set http.listen=none") else {
            panic!("not probe")
        };
        assert_eq!(found, trial::Ask { file: "a.json".into(), json: false });
        for (line, flaw) in [
            (
                "status now",
                "unexpected argument \"now\", expected --config, --set, --url, --token-file, --watch, --interval, --json",
            ),
            ("status --url a --url b", "--url is given twice"),
            ("probe", "expected the file of a descriptor"),
            ("probe a b", "unexpected argument \"b\", expected --config, --set, --json"),
            ("probe a --url b", "unknown option \"--url\", expected --config, --set, --json"),
        ] {
            assert_eq!(check(line).unwrap_err(), flaw, "{line}");
        }
    }

    #[test]
    fn options_become_layers_and_those_with_a_name_win() {
        let line = "run --listen none --deploy=a --log-level Warning --log-format json --set http.listen=[::1]:1 \
                    --set deploy.dir=b --set shutdown_timeout=1s";
        let Ok(Command::Run(layers, None)) = check(line) else { panic!("not run") };
        let config = layers.merge().settings().unwrap();
        assert_eq!(config.http.listen, None);
        assert_eq!(config.deploy.dir, std::path::Path::new("a"));
        assert_eq!(config.logging.level, log::Level::Warn);
        assert_eq!(config.logging.format, LogFormat::Json);
        assert_eq!(config.shutdown_timeout.as_secs(), 1);
    }

    #[test]
    fn what_makes_no_sense_is_told_with_what_was_expected() {
        let names = Topic::names();
        for (line, what) in [
            ("", "no command"),
            ("start", "unknown command \"start\""),
            ("--config x", "unknown option \"--config\""),
        ] {
            assert_eq!(check(line).unwrap_err(), format!("{what}, expected {names} or help"), "{line}");
        }
        for (line, what) in [("help me", "\"me\""), ("help --me", "\"--me\"")] {
            assert_eq!(check(line).unwrap_err(), format!("no help about {what}, expected one of {names}"));
        }
        assert_eq!(check("wyh db").unwrap_err(), "unknown command \"wyh\", did you mean \"why\"?");
        for line in ["help --man run", "help why run"] {
            assert_eq!(check(line).unwrap_err(), "unexpected argument \"run\", expected one command");
        }
        for (line, expected) in [
            ("trigger", "expected the name of a loop"),
            (
                "status --interval 0s",
                "--interval: expected a duration such as \"2s\", at least 100ms, found \"0s\"",
            ),
            ("status --interval 2s", "--interval: goes with --watch"),
            ("help run status", "unexpected argument \"status\", expected one command"),
            ("init", "expected a folder to write to"),
            ("init a b", "unexpected argument \"b\", expected one folder"),
            ("init --json", "unexpected argument \"--json\", expected one folder"),
            ("why", "expected the name of a loop"),
            (
                "rescan now",
                "unexpected argument \"now\", expected --config, --set, --url, --token-file, --json",
            ),
            ("events --last x", "--last: expected a number from 0 on, found \"x\""),
            ("events --last", "--last is missing its value"),
            (
                "explain a b",
                "unexpected argument \"b\", expected --config, --deploy, --set, --running, --url, --token-file, --json",
            ),
            (
                "run --lisen x",
                "unknown option \"--lisen\", expected --config, --deploy, --listen, --set, --log-level, --log-format, --notify-fd",
            ),
            ("check --listen none", "unknown option \"--listen\", expected --config, --deploy, --set"),
            (
                "run -x",
                "unknown option \"-x\", expected --config, --deploy, --listen, --set, --log-level, --log-format, --notify-fd",
            ),
            ("run now", "unexpected argument \"now\", expected options only"),
            ("run --config", "--config is missing its value"),
            ("types a b", "unexpected argument \"b\", expected one type"),
            ("types --json", "unexpected argument \"--json\", expected one type"),
            ("run --config a --config b", "--config is given twice"),
            ("run --listen none --listen none", "--listen is given twice"),
            ("run --set http.listen", "--set: expected KEY=VALUE, found \"http.listen\""),
            (
                "run --listen 8470",
                "--listen: expected an address such as \"127.0.0.1:8470\" or \"none\", found \"8470\"",
            ),
            ("run --log-level loud", "--log-level: expected debug, info, warn or error, found \"loud\""),
            ("run --notify-fd 2", "--notify-fd: expected a number from 3 to 63, found \"2\""),
            ("run --log-format xml", "--log-format: expected text, logfmt or json, found \"xml\""),
            ("fleet", "nothing is asked, expected agents, jobs, queue, tokens or why"),
            ("fleet job", "unknown question \"job\", expected agents, jobs, queue, tokens or why"),
            ("fleet jobs 7", "unexpected argument \"7\", expected options only"),
            ("fleet why", "why: expected agent, job, token or record, and its number"),
            ("fleet why host 7", "why: expected agent, job, token or record, found \"host\""),
            ("fleet why job x", "why job: expected its number, found \"x\""),
            ("fleet jobs --limit 0", "--limit: expected a number from 1 on, found \"0\""),
            ("fleet jobs --after -1", "--after: expected a number from 0 on, found \"-1\""),
            ("fleet jobs --limit 1 --limit 2", "--limit is given twice"),
            ("fleet why job 2 --limit 1", "--limit: does not go with why"),
            ("fleet queue --after 100", "--after: goes with agents, jobs and tokens only"),
            ("fleet why job 2 --after 5", "--after: goes with agents, jobs and tokens only"),
            ("fleet jobs --after -1", "--after: expected a number from 0 on, found \"-1\""),
            (
                "fleet jobs --listen none",
                "unknown option \"--listen\", expected --config, --deploy, --set, --limit, --after, --json",
            ),
            ("run --deploy=", "--deploy: expected a folder, found \"\""),
        ] {
            assert_eq!(check(line).unwrap_err(), expected, "{line}");
        }
    }
}
