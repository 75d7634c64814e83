//! The `loopkeeper` program: its commands, and how each of them ends.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

mod act;
mod apply;
mod ask;
mod caret;
mod cli;
mod events;
mod explain;
mod fleet;
mod help;
mod init;
mod load;
mod logging;
mod man;
mod recovery;
mod run;
mod schema;
mod serve;
mod service;
mod status;
mod table;
mod terminal;
mod trial;
mod types;
mod usage;
mod why;

use cli::Command;
use help::Topic;
use loopkeeper::shipped;
use loopkeeper::tree::Faults;
use usage::Usage;

/// How the program ends; the numbers are part of its outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exit {
    /// All went well.
    Clean = 0,
    /// It could not start; the check found something wrong.
    Failed = 1,
    /// The command line cannot be understood.
    Usage = 2,
    /// A component did not stop in time.
    Straggler = 3,
    /// The daemon cannot be reached.
    Unreachable = 69,
    /// The configuration is wrong.
    BadConfig = 78,
}

impl Exit {
    /// How it ends when what was asked ends with `exit`, and this is how it
    /// was told.
    fn and(self, exit: Self) -> Self {
        if self == Self::Clean { exit } else { self }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Does what the command line says.
pub(crate) fn main() -> ExitCode {
    let exit = match cli::parse(std::env::args_os().skip(1)) {
        Ok(Command::Run(layers, notify_fd)) => run::run(load::complete(layers), notify_fd),
        Ok(Command::Check(layers)) => check(load::check(&load::complete(layers))),
        Ok(Command::Types(name, json_schema)) => types(name.as_deref(), json_schema),
        Ok(Command::Init(dir)) => init::run(&dir),
        Ok(Command::Explain(layers, ask)) => explain::run(layers, &ask),
        Ok(Command::Fleet(layers, ask)) => fleet::run(layers, &ask),
        Ok(Command::Recovery(layers, ask)) => recovery::run(layers, &ask),
        Ok(Command::Status(layers, ask)) => status::run(layers, &ask),
        Ok(Command::Why(layers, ask)) => why::run(layers, &ask),
        Ok(Command::Events(layers, ask)) => events::run(layers, &ask),
        Ok(Command::Act(layers, ask)) => act::run(layers, &ask),
        Ok(Command::Probe(layers, ask)) => trial::run(layers, &ask),
        Ok(Command::Man) => say(man::page()),
        Ok(Command::Help(topic)) => say(topic.text()),
        Ok(Command::Version) => say(concat!("loopkeeper ", env!("CARGO_PKG_VERSION"))),
        Err(usage) => {
            complain(usage);
            Exit::Usage
        }
    };
    exit.into()
}

/// Says what is wrong with the files, or that nothing is.
fn check(loaded: Result<load::Loaded, Faults>) -> Exit {
    match loaded {
        Ok(loaded) => {
            let n = loaded.descriptors.len();
            match loaded.descriptors.iter().filter(|descriptor| !descriptor.enabled).count() {
                0 => say(format_args!("ok: {n} component{}", plural(n))),
                disabled => say(format_args!("ok: {n} component{}, {disabled} of them disabled", plural(n))),
            }
        }
        Err(faults) => {
            let look = terminal::Look::of_stdout();
            let said = match look.columns {
                Some(columns) => say(caret::lines(&faults, columns, look)),
                None => say(lines(&faults)),
            };
            said.and(Exit::Failed)
        }
    }
}

/// The end of a noun that stands after a number.
fn plural(n: usize) -> &'static str {
    if n == 1 { "" } else { "s" }
}

/// Says which types of components there are, and what their settings mean.
fn types(name: Option<&str>, json_schema: bool) -> Exit {
    let tell = if json_schema { schema::text } else { types::text };
    match tell(&shipped::registry(), name) {
        Ok(text) => say(text),
        Err(error) => {
            complain(Usage::about(Topic::Types, error.to_string()));
            Exit::Usage
        }
    }
}

fn escaped(text: &str) -> String {
    let mut line = String::new();
    logging::escape(text, &mut line);
    line
}

/// Writes each fault on a line of its own, whatever its file may be called.
fn lines(faults: &Faults) -> String {
    let lines: Vec<String> = faults.iter().map(|fault| escaped(&fault.to_string())).collect();
    lines.join("\n")
}

/// Prints for who asked.
fn say(text: impl fmt::Display) -> Exit {
    print(format_args!("{text}\n")).map_or_else(|exit| exit, |_| Exit::Clean)
}

/// Prints whole lines for who asked; says whether somebody still listens. One
/// who does not is no failure; an answer that cannot be written is.
fn print(text: impl fmt::Display) -> Result<bool, Exit> {
    let mut out = io::stdout().lock();
    match write!(out, "{text}").and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => {
            complain(format_args!("loopkeeper: the answer cannot be written: {error}"));
            Err(Exit::Failed)
        }
    }
}

/// Prints what went wrong before there is a log.
fn complain(text: impl fmt::Display) {
    let _ = writeln!(io::stderr(), "{text}");
}
