//! Asks the daemon that runs, where its settings or the command line say that
//! it is.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use loopkeeper::config::{Layers, process_environment};
use loopkeeper::rest::{Answer, Client, ClientConfig, Key, Request};
use loopkeeper::{Context, Env, ErrorKind, Name, Result as LibResult};

use signal_hook::consts::SIGINT;

use super::load::{self, complete};
use super::terminal::Look;
use super::{Exit, complain, lines};

/// How long the daemon may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// As much as many thousands of loops have to say.
const MAX_BODY: u64 = 256 << 20;

/// Where the daemon is, and with what to ask it, as the command line says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Where {
    /// Where the daemon is, if not where the settings say.
    pub(crate) url: Option<String>,
    /// Where the token is, if not where the settings say.
    pub(crate) token_file: Option<PathBuf>,
}

/// A question about something, and of whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ask<About> {
    /// What is asked, or about what.
    pub(crate) about: About,
    /// Whether the answer is for a program.
    pub(crate) json: bool,
    /// Whom to ask.
    pub(crate) place: Where,
}

/// The daemon to ask.
pub(super) struct Daemon {
    client: Client,
    env: Env,
}

impl Daemon {
    /// Finds out where it is; says what keeps from that. The token of the
    /// settings is sent only by who `acts`: who only looks needs none, and may
    /// ask another machine.
    pub(super) fn find(layers: Layers, place: &Where, acts: bool) -> Result<Self, Exit> {
        let settings = load::settings(&complete(layers)).map_err(|faults| {
            complain(lines(&faults));
            Exit::BadConfig
        })?;
        let url = match (&place.url, settings.http.listen) {
            (Some(url), _) => url.clone(),
            (None, Some(listen)) => format!("http://{}", reached(listen)),
            (None, None) => {
                return Err(fail(Exit::Unreachable, "the daemon does not listen: http.listen is none"));
            }
        };
        let token = match &place.token_file {
            None if !acts => None,
            None if token_variable().is_some() => token_variable(),
            None => settings.http.token.map(|token| token.expose().to_owned()),
            Some(path) => match fs::read_to_string(path) {
                Ok(text) if text.trim().is_empty() => {
                    return Err(fail(Exit::Failed, &format!("{}: is empty", path.display())));
                }
                Ok(text) => Some(text.trim().to_owned()),
                Err(error) => return Err(fail(Exit::Failed, &format!("{}: {error}", path.display()))),
            },
        };
        let mut config = ClientConfig::new(url).max_body(MAX_BODY);
        if let Some(token) = token {
            config = config.key(Key::text(token));
        }
        let client = Client::new(config);
        let client = client.map_err(|error| {
            let text = error.report().to_string();
            // That is what it is called where no command line is.
            fail(Exit::Usage, &text.replacen("base_url:", "--url:", 1))
        })?;
        let env = Env::new().map_err(|error| fail(Exit::Failed, &error.report().to_string()))?;
        Ok(Self { client, env })
    }

    /// Asks; says what keeps from an answer, and what to do about it.
    pub(super) fn send(&self, name: &str, request: &Request) -> Result<Answer, Exit> {
        self.try_send(name, request, TIMEOUT).map_err(|error| {
            let report = error.report();
            if error.kind() == ErrorKind::InvalidArgument {
                return fail(Exit::Usage, &report.to_string());
            }
            fail(Exit::Unreachable, &format!("{report}; {UNREACHABLE}"))
        })
    }

    /// The same, once, within a time, for one who deals with errors.
    pub(super) fn try_send(&self, name: &str, request: &Request, timeout: Duration) -> LibResult<Answer> {
        self.client.send(&Context::detached(&self.env, Name::new(name)?, timeout), request)
    }

    /// Waits.
    pub(super) fn pause(&self, time: Duration) {
        if let Ok(name) = Name::new("pause") {
            let _ = Context::detached(&self.env, name, time + TIMEOUT).sleep(time);
        }
    }
}

/// Lets an interrupt end the program cleanly: who watches or follows ends it
/// so.
pub(super) fn end_cleanly_on_interrupt() {
    let always = Arc::new(AtomicBool::new(true));
    // Without it the shell is told another number.
    let _ = signal_hook::flag::register_conditional_shutdown(SIGINT, Exit::Clean as i32, always);
}

/// What to do when nobody answers.
const UNREACHABLE: &str = "does loopkeeper run there? --url or --config says where else to ask";

/// The token in the environment.
fn token_variable() -> Option<String> {
    let all = process_environment();
    let token = all.iter().find(|(name, _)| name == load::TOKEN)?.1.to_str()?.trim();
    (!token.is_empty()).then(|| token.to_owned())
}

/// Says that the daemon refused, and what to do about it: `missing` when what
/// was meant is not there, `state` when this is not the moment.
pub(super) fn refused(answer: &Answer, missing: &str, state: &str) -> Exit {
    let text = String::from_utf8_lossy(answer.body());
    let text: String = text.trim().chars().take(500).collect();
    let next = match answer.status() {
        401 => "give the token of the daemon with --token-file FILE or in LOOPKEEPER_TOKEN",
        404 if text.contains("no token is configured") => {
            "name a file with a token in http.token_file of the daemon's configuration"
        }
        404 => missing,
        409 => state,
        503 => "try again in a moment",
        _ => "",
    };
    let next = if next.is_empty() { String::new() } else { format!("; {next}") };
    fail(Exit::Failed, &format!("{text} ({}){next}", answer.status()))
}

pub(super) fn fail(exit: Exit, text: &str) -> Exit {
    complain(format_args!("loopkeeper: {}", Look::of_stderr().line(text)));
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
