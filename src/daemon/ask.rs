//! Asks the daemon that runs, where its settings or the command line say that
//! it is.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use loopkeeper::config::Layers;
use loopkeeper::rest::{Answer, Client, ClientConfig, Key, Request};
use loopkeeper::{Context, Env, ErrorKind, Name, Result};

use super::load::{self, complete};
use super::{Exit, complain, escaped, lines};

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

/// The daemon to ask.
pub(super) struct Daemon(Client);

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
            None => settings.http.token.filter(|_| acts).map(|token| token.expose().to_owned()),
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
        Client::new(config).map(Self).map_err(|error| fail(Exit::Usage, &error.report().to_string()))
    }

    /// Asks; says what keeps from an answer.
    pub(super) fn send(&self, name: &str, request: &Request) -> Result<Answer, Exit> {
        let ask = || {
            let env = Env::new()?;
            self.0.send(&Context::detached(&env, Name::new(name)?, TIMEOUT), request)
        };
        ask().map_err(|error| {
            let is_ours = error.kind() == ErrorKind::InvalidArgument;
            fail(if is_ours { Exit::Usage } else { Exit::Unreachable }, &error.report().to_string())
        })
    }
}

pub(super) fn fail(exit: Exit, text: &str) -> Exit {
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
