//! Asks whether a name can be looked up.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

use super::Probe;
use super::connect::{Failure, list, lookup};
use super::tcp::is_host_name;
use super::wait::Wait;
use crate::component::Context;
use crate::duration::Shown;
use crate::error::{BoxError, Error, Result};

/// The longest part of a name between two dots, in bytes.
const MAX_LABEL: usize = 63;

/// Asks whether the system's resolver knows an address of `host`.
///
/// See [`DnsProbe`].
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use loopkeeper::{Context, Env, Name, Probe, probe};
///
/// let env = Env::new()?;
/// let cx = Context::detached(&env, Name::new("resolver")?, Duration::from_secs(5));
/// probe::dns("localhost").probe(&cx).unwrap();
///
/// let mut moved = probe::dns("localhost").expect_address("192.0.2.1".parse().unwrap());
/// let error = moved.probe(&cx).unwrap_err();
/// // dns localhost: 192.0.2.1 is not among its addresses, which are 127.0.0.1, after 0.2ms
/// assert!(error.to_string().starts_with("dns localhost: 192.0.2.1 is not among its addresses"));
/// # Ok::<(), loopkeeper::Error>(())
/// ```
///
/// As a watcher's probe in a descriptor:
///
/// ```json
/// {"name": "resolver", "type": "watcher",
///  "config": {"probe": {"dns": {"host": "db.internal", "expect_address": ["10.0.0.17"]}}}}
/// ```
#[must_use = "a probe does nothing until it is asked"]
pub fn dns(host: impl Into<String>) -> DnsProbe {
    DnsProbe { host: host.into(), expected: Vec::new() }
}

/// Looks a name up, by what the system is set up to look in: its hosts file,
/// DNS and others; made by [`dns`].
///
/// # A lookup that hangs
///
/// The system's resolver cannot be told to end. A lookup that takes longer than
/// the probe may is timed out at once, and holds its watcher's thread until the
/// resolver gives up by itself (as `/etc/resolv.conf` says, often after 10 s
/// to 30 s). So there is one outstanding lookup of a probe at most: the next
/// begins when that one has ended. Meanwhile status names it, `looking up
/// db.internal` with the thread and for how long, and so does the report of a
/// stop that comes in between.
///
/// # Errors
///
/// `Probe` when the name has no address or not the expected one, `Timeout`
/// when the answer came too late, `Budget` when this process has no descriptor
/// left, `Cancelled`; `InvalidArgument` when the name cannot be one.
#[derive(Debug, Clone)]
pub struct DnsProbe {
    host: String,
    expected: Vec<IpAddr>,
}

impl DnsProbe {
    /// Expects this address among those of the name. Call it again to expect
    /// more: all of them must be there. Defaults to any address.
    pub fn expect_address(mut self, address: IpAddr) -> Self {
        self.expected.push(address);
        self
    }
}

impl Probe for DnsProbe {
    fn check(&self) -> Result<()> {
        check_host(&self.host).map_err(|text| Error::invalid(format!("host: {text}")))
    }

    fn probe(&mut self, cx: &Context) -> Result<(), BoxError> {
        self.check()?;
        let what = format!("dns {}", self.host);
        let wait = Wait::begin(cx, &what)?;
        let host = self.host.as_str();
        let found = lookup(&wait, host, || (host, 0).to_socket_addrs());
        found
            .and_then(|found| self.compare(&wait, &found))
            .map_err(|failure| failure.into_error(&what, &wait).into())
    }
}

impl DnsProbe {
    fn compare(&self, wait: &Wait, found: &[SocketAddr]) -> Result<(), Failure> {
        wait.step(format_args!("its addresses are {}", list(found)));
        let missing = |ip: &&IpAddr| !found.iter().any(|address| address.ip() == **ip);
        let missing: Vec<String> = self.expected.iter().filter(missing).map(IpAddr::to_string).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let are = if missing.len() > 1 { "are" } else { "is" };
        let missing = missing.join(", ");
        let text = format!("{missing} {are} not among its addresses, which are {},", list(found));
        Err(Failure::Unreachable(text))
    }
}

/// Says what is wrong with the name of a host.
pub(super) fn check_host(host: &str) -> Result<(), String> {
    if host.parse::<IpAddr>().is_ok() {
        return Err(format!("expected a name to look up, found the address {}", Shown(host)));
    }
    if is_host_name(host) {
        return could_be(host).map_err(|text| format!("{text}, found {}", Shown(host)));
    }
    Err(format!("expected the name of a host such as \"db.internal\", found {}", Shown(host)))
}

/// Says why no resolver knows a name, if that is certain.
fn could_be(host: &str) -> Result<(), &'static str> {
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.split('.').any(str::is_empty) {
        return Err("between two dots of a name there must be something");
    }
    // Others are sent in another form, of another length.
    if host.is_ascii() && host.split('.').any(|label| label.len() > MAX_LABEL) {
        return Err("between two dots of a name there are at most 63 letters");
    }
    // The system's resolver takes 127.1, 2130706433 and 0x7f000001 for an
    // address, and asks nobody.
    let last = host.rsplit('.').next().unwrap_or_default();
    let hex = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    let is_number = |text: &str, radix| text.chars().all(|c| c.is_digit(radix));
    if is_number(last, 10) || hex.is_some_and(|digits| is_number(digits, 16)) {
        return Err("expected a name to look up, not an address in numbers");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_a_name_is_not_looked_up() {
        let label = "a".repeat(MAX_LABEL);
        for host in
            ["localhost", "localhost.", "_sip._tcp.a", "10.a", "0x7fg", "m\u{fc}nchen.example", &label]
        {
            assert_eq!(check_host(host), Ok(()), "{host}");
        }
        for (host, expected) in [
            ("", "expected the name of a host"),
            ("a b", "expected the name of a host"),
            (".", "must be something"),
            ("a..b", "must be something"),
            (".a", "must be something"),
            (&format!("{label}a.example"), "at most 63 letters"),
            ("127.0.0.1", "found the address"),
            ("127.1", "not an address in numbers"),
            ("2130706433", "not an address in numbers"),
            ("a.1", "not an address in numbers"),
            ("0x7f000001", "not an address in numbers"),
        ] {
            let text = check_host(host).unwrap_err();
            assert!(text.contains(expected), "{host}: {text}");
        }
    }
}
