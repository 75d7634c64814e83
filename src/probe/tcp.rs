//! Asks whether somebody accepts TCP connections.

use std::net::SocketAddr;

use super::Probe;
use super::connect::{connect, resolve};
use super::wait::Wait;
use crate::component::Context;
use crate::duration::Shown;
use crate::error::{BoxError, Error, Result};

/// Asks whether somebody accepts connections at `address`, a `host:port`.
///
/// See [`TcpProbe`].
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use loopkeeper::{Context, Env, Name, Probe, probe};
///
/// let env = Env::new()?;
/// let cx = Context::detached(&env, Name::new("mqtt")?, Duration::from_secs(5));
/// let error = probe::tcp("127.0.0.1:1").probe(&cx).unwrap_err();
/// // tcp 127.0.0.1:1: connection refused after 0.1ms
/// assert!(error.to_string().starts_with("tcp 127.0.0.1:1: connection refused after "));
///
/// let error = probe::tcp("localhost").check().unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     r#"address: expected HOST:PORT such as "127.0.0.1:1883" or "[::1]:1883", found "localhost""#,
/// );
/// # Ok::<(), loopkeeper::Error>(())
/// ```
#[must_use = "a probe does nothing until it is asked"]
pub fn tcp(address: impl Into<String>) -> TcpProbe {
    TcpProbe { address: address.into() }
}

/// Connects and closes again; made by [`tcp`].
///
/// A name is looked up each time, and its addresses are tried in turn, each
/// within its share of the time that is left. Ends at its deadline and at
/// once on cancel, but for the lookup: the system's resolver cannot be told
/// to end, so a name is bound by the resolver's own timeout. A literal
/// address needs none. While a lookup hangs, its watcher's status names it.
///
/// # Errors
///
/// `Probe` when nobody accepts, `Timeout` when nobody answers, `Io` when
/// there is no socket to be had, `Budget` when this process has no descriptor
/// left, `Cancelled`; `InvalidArgument` when the
/// address is not a `host:port`.
#[derive(Debug, Clone)]
pub struct TcpProbe {
    address: String,
}

impl Probe for TcpProbe {
    fn check(&self) -> Result<()> {
        check_address(&self.address).map_err(|text| Error::invalid(format!("address: {text}")))
    }

    fn probe(&mut self, cx: &Context) -> Result<(), BoxError> {
        self.check()?;
        let what = format!("tcp {}", self.address);
        let wait = Wait::begin(cx, &what)?;
        let connected = resolve(&wait, &self.address).and_then(|addresses| connect(&wait, &addresses));
        match connected {
            Ok(_) => Ok(()),
            Err(failure) => Err(failure.into_error(&what, &wait).into()),
        }
    }
}

/// Says what is wrong with a `host:port`.
pub(crate) fn check_address(address: &str) -> Result<(), String> {
    if let Ok(literal) = address.parse::<SocketAddr>() {
        return if literal.port() == 0 { Err(bad_port(address)) } else { Ok(()) };
    }
    let split = address.rsplit_once(':');
    let Some((host, port)) = split.filter(|(host, _)| is_host_name(host)) else {
        return Err(format!(
            "expected HOST:PORT such as \"127.0.0.1:1883\" or \"[::1]:1883\", found {}",
            Shown(address)
        ));
    };
    // Only digits: a sign would parse as well.
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    if host.is_empty() || !digits || !port.parse::<u16>().is_ok_and(|port| port > 0) {
        return Err(bad_port(address));
    }
    Ok(())
}

fn bad_port(address: &str) -> String {
    format!("expected a port from 1 to 65535, found {}", Shown(address))
}

pub(super) fn is_host_name(host: &str) -> bool {
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    !host.is_empty() && host.len() <= 253 && host.chars().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_a_host_and_a_port() {
        for address in [
            "127.0.0.1:1883",
            "[::1]:80",
            "[fe80::1%2]:80",
            "localhost:65535",
            "db.internal:5432",
            "my_db:1",
            "münchen.example:80",
        ] {
            assert_eq!(check_address(address), Ok(()), "{address}");
        }
        for address in ["", ":", ":80", "localhost", "::1:80", "[::1]", "http://x:80", "a b:80", "u@x:80"] {
            let error = check_address(address).unwrap_err();
            assert!(error.starts_with("expected HOST:PORT such as"), "{address}: {error}");
        }
        for address in ["127.0.0.1:0", "x:0", "x:65536", "x:+80", "x:", "x:http"] {
            let error = check_address(address).unwrap_err();
            assert!(error.starts_with("expected a port from 1 to 65535, found"), "{address}: {error}");
        }
    }
}
