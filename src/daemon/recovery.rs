//! Asks the running daemon what becomes of corrupted runs, or has it act on
//! one.

use loopkeeper::config::Layers;
use loopkeeper::rest::{Answer, Request, Template};
use loopkeeper::{Result, Stamp};
use serde_json::Value;

use super::ask::{Ask, Daemon, fail, refused};
use super::table::{Table, age, until};
use super::{Exit, complain, escaped, say};

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum About {
    /// All that is being recovered.
    List,
    /// The end of the recovery of a run.
    Cancel(String),
    /// Another attempt to recover a run.
    Retry(String),
}

/// The command `recovery`.
pub(crate) fn run(layers: Layers, ask: &Ask<About>) -> Exit {
    let request = match request(&ask.about) {
        Ok(request) => request,
        Err(error) => return fail(Exit::Usage, &error.report().to_string()),
    };
    let acts = ask.about != About::List;
    let answer = Daemon::find(layers, &ask.place, acts).and_then(|daemon| daemon.send("recovery", &request));
    match answer {
        Ok(answer) if answer.status() >= 300 => {
            refused(&answer, "see: loopkeeper recovery list", "see: loopkeeper recovery list")
        }
        Ok(answer) => tell(ask, &answer),
        Err(exit) => exit,
    }
}

fn request(about: &About) -> Result<Request> {
    let act = |act: &str, run: &str| {
        let path = Template::new(format!("/recovery/{{run}}/{act}"), &["run"])?.fill(&[("run", run)])?;
        Ok(Request::act(path).once())
    };
    match about {
        About::List => Ok(Request::get("/recovery")),
        About::Cancel(run) => act("cancel", run),
        About::Retry(run) => act("retry", run),
    }
}

fn tell(ask: &Ask<About>, answer: &Answer) -> Exit {
    let body = match answer.json() {
        Ok(body) => body,
        Err(error) => return fail(Exit::Unreachable, &error.to_string()),
    };
    match &ask.about {
        _ if ask.json => say(body),
        About::List if body["recoveries"].as_array().is_some_and(Vec::is_empty) => {
            complain("loopkeeper: no runs are watched: there is no descriptor of the type recovery");
            Exit::Clean
        }
        About::List => say(table(&body).to_string().trim_end()),
        About::Cancel(run) => say(format_args!("{}: its recovery ends", escaped(run))),
        About::Retry(run) => say(format_args!("{}: is tried again", escaped(run))),
    }
}

/// One row for each run, and one for a monitor that recovers none.
fn table(body: &Value) -> Table {
    let mut table = Table::new(&[
        "MONITOR",
        "STATE",
        "WATCHED",
        "RUN",
        "PHASE",
        "ATTEMPT",
        "SINCE",
        "NEXT",
        "LAST ERROR",
    ]);
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let stamp = |value: &Value| value.as_str().and_then(|text| text.parse::<Stamp>().ok());
    let now = stamp(&body["at"]).unwrap_or(Stamp::from_micros(0));
    for recovery in body["recoveries"].as_array().into_iter().flatten() {
        let about = || [text(&recovery["name"]), text(&recovery["state"]), recovery["watched"].to_string()];
        let incidents = recovery["incidents"].as_array().map_or(&[][..], Vec::as_slice);
        if incidents.is_empty() {
            let [name, state, watched] = about();
            let none = || "-".to_owned();
            table.row([name, state, watched, none(), none(), none(), none(), none(), none()]);
        }
        for incident in incidents {
            let [name, state, watched] = about();
            let attempt = format!("{} of {}", incident["attempt"], incident["max_attempts"]);
            let since = stamp(&incident["since"]).map_or("-".to_owned(), |since| age(now, since));
            let next = stamp(&incident["next_attempt"]).map_or("-".to_owned(), |next| until(now, next));
            let (run, phase) = (text(&incident["run"]), text(&incident["phase"]));
            table.row([
                name,
                state,
                watched,
                run,
                phase,
                attempt,
                since,
                next,
                text(&incident["last_error"]),
            ]);
        }
    }
    table
}
