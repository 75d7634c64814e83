//! Asks the running daemon what becomes of corrupted runs, or has it act on
//! one.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use loopkeeper::config::Layers;
use loopkeeper::rest::{Answer, Client, ClientConfig, Key, Request, Template};
use loopkeeper::{Context, Env, Error, ErrorKind, Name, Result, Stamp};
use serde_json::Value;

use super::load::{self, complete};
use super::table::{Table, age, until};
use super::{Exit, complain, escaped, lines, say};

/// How long the daemon may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) about: About,
    /// Whether the answer is for a program.
    pub(crate) json: bool,
    /// Where the daemon is, if not where the settings say.
    pub(crate) url: Option<String>,
    /// Where the token is, if not where the settings say.
    pub(crate) token_file: Option<PathBuf>,
}

/// What it is about.
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
pub(crate) fn run(layers: Layers, ask: &Ask) -> Exit {
    let settings = match load::settings(&complete(layers)) {
        Ok(settings) => settings,
        Err(faults) => {
            complain(lines(&faults));
            return Exit::BadConfig;
        }
    };
    let url = match (&ask.url, settings.http.listen) {
        (Some(url), _) => url.clone(),
        (None, Some(listen)) => format!("http://{}", reached(listen)),
        (None, None) => return fail(Exit::Unreachable, "the daemon does not listen: http.listen is none"),
    };
    let token = match &ask.token_file {
        None => settings.http.token.map(|token| token.expose().to_owned()),
        Some(path) => match fs::read_to_string(path) {
            Ok(text) if text.trim().is_empty() => {
                return fail(Exit::Failed, &format!("{}: is empty", path.display()));
            }
            Ok(text) => Some(text.trim().to_owned()),
            Err(error) => return fail(Exit::Failed, &format!("{}: {error}", path.display())),
        },
    };
    match send(url, token, &ask.about) {
        Ok(answer) if answer.status() >= 300 => {
            let text = String::from_utf8_lossy(answer.body());
            fail(Exit::Failed, &format!("{} ({})", text.trim(), answer.status()))
        }
        Ok(answer) => tell(ask, &answer),
        Err(error) if error.kind() == ErrorKind::InvalidArgument => {
            fail(Exit::Usage, &error.report().to_string())
        }
        Err(error) => fail(Exit::Unreachable, &error.report().to_string()),
    }
}

fn fail(exit: Exit, text: &str) -> Exit {
    complain(format_args!("loopkeeper: {}", escaped(text)));
    exit
}

/// Where one who listens on all addresses is reached from here.
fn reached(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(ip, listen.port())
}

fn send(url: String, token: Option<String>, about: &About) -> Result<Answer> {
    let mut config = ClientConfig::new(url);
    if let Some(token) = token {
        config = config.key(Key::text(token));
    }
    let client = Client::new(config)?;
    let act = |act: &str, run: &str| {
        let path = Template::new(format!("/recovery/{{run}}/{act}"), &["run"])?.fill(&[("run", run)])?;
        Ok::<_, Error>(Request::act(path).once())
    };
    let request = match about {
        About::List => Request::get("/recovery"),
        About::Cancel(run) => act("cancel", run)?,
        About::Retry(run) => act("retry", run)?,
    };
    let env = Env::new()?;
    client.send(&Context::detached(&env, Name::new("recovery")?, TIMEOUT), &request)
}

fn tell(ask: &Ask, answer: &Answer) -> Exit {
    let body = match answer.json() {
        Ok(body) => body,
        Err(error) => return fail(Exit::Unreachable, &error.to_string()),
    };
    match &ask.about {
        _ if ask.json => say(body),
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
