//! Asks once what a descriptor asks again and again, and tells how that went,
//! step by step.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use loopkeeper::config::{Layers, Settings};
use loopkeeper::tree::{Fault, Faults, Place};
use loopkeeper::{Env, Health, Trial, TrialReport, duration, shipped};
use serde_json::json;

use super::ask::fail;
use super::load::{self, complete};
use super::logging::json_on_one_line;
use super::terminal::Look;
use super::{Exit, complain, lines, say};

/// The longest file that is read, in bytes, as in the folder of descriptors.
const MAX_LEN: u64 = 1 << 20;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ask {
    /// The descriptor.
    pub(crate) file: PathBuf,
    /// Whether the answer is for a program.
    pub(crate) json: bool,
}

/// The command `probe`.
pub(crate) fn run(layers: Layers, ask: &Ask) -> Exit {
    let read = load::settings(&complete(layers)).and_then(|settings| read(&settings, &ask.file));
    let trials = match read {
        Ok(read) => read,
        Err(faults) => {
            complain(lines(&faults));
            return Exit::BadConfig;
        }
    };
    let env = match Env::new() {
        Ok(env) => env,
        Err(error) => return fail(Exit::Failed, &error.report().to_string()),
    };
    let look = Look::of_stdout();
    let (mut is_good, mut is_stuck, mut said) = (true, false, Exit::Clean);
    for trial in trials {
        let (name, timeout) = (trial.name().clone(), duration::format(trial.timeout()));
        if !ask.json && said == Exit::Clean {
            said = say(look.line(&format!("{name}: asks once, within {timeout}")));
        }
        if said != Exit::Clean {
            break;
        }
        match trial.run(&env) {
            Ok(report) => {
                is_good &= matches!(report.health, Health::Ready | Health::Degraded);
                is_stuck |= report.straggler.is_some();
                said = if ask.json { say(json_line(&report)) } else { say(text(&report, look)) };
            }
            Err(error) => return fail(Exit::Failed, &format!("{name}: {}", error.report())),
        }
    }
    let exit = said.and(if is_good { Exit::Clean } else { Exit::Failed });
    if is_stuck {
        // Nobody waits for what does not end.
        std::process::exit(exit as i32);
    }
    exit
}

/// Reads a descriptor, whatever else is wrong with its folder.
fn read(settings: &Settings, file: &Path) -> Result<Vec<Trial>, Faults> {
    let shown = file.display().to_string();
    let refused = |message: String| {
        let place = Place::whole(shown.as_str());
        Faults::from(Fault { place, key: String::new(), message })
    };
    let mut bytes = Vec::new();
    let limited = File::open(file).and_then(|file| file.take(MAX_LEN + 1).read_to_end(&mut bytes));
    limited.map_err(|error| refused(error.to_string()))?;
    if bytes.len() as u64 > MAX_LEN {
        return Err(refused(format!("is larger than {} KiB", MAX_LEN >> 10)));
    }
    shipped::trials(settings, &shown, &bytes)
}

fn text(report: &TrialReport, look: Look) -> String {
    let mut text = String::new();
    for step in &report.steps {
        let _ =
            writeln!(text, "{:>10}  {}", look.line(&format!("{:.1?}", step.after)), look.line(&step.text));
    }
    for (name, health, reason) in &report.items {
        let reason = reason.as_ref().map_or(String::new(), |reason| format!(": {reason}"));
        let state = look.paint(health.as_str(), health.as_str());
        let _ = writeln!(text, "{:>10}  {} {state}{}", "item", look.line(name), look.line(&reason));
    }
    let state = look.paint(report.health.as_str(), report.health.as_str());
    let _ = write!(text, "{:>10}  {} is {state}", look.line(&format!("{:.1?}", report.took)), report.name);
    if let Some(reason) = &report.reason {
        let _ = write!(text, ": {}", look.line(reason));
    }
    if let Some(straggler) = &report.straggler {
        let _ = write!(text, "\n{:>10}  {}", "stuck", look.line(&straggler.to_string()));
    }
    text
}

fn json_line(report: &TrialReport) -> String {
    let steps: Vec<_> = report
        .steps
        .iter()
        .map(|step| json!({"after": step.after.as_secs_f64(), "text": &*step.text}))
        .collect();
    let items: Vec<_> = report
        .items
        .iter()
        .map(|(name, health, reason)| json!({"name": name, "state": health, "reason": reason}))
        .collect();
    json_on_one_line(&json!({
        "name": report.name.as_str(), "state": report.health, "reason": report.reason,
        "took": report.took.as_secs_f64(), "steps": steps, "items": items,
        "stuck": report.straggler.as_ref().map(ToString::to_string),
    }))
}
