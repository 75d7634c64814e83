//! Hosts as they stand in URLs, `Host` headers and settings: a name or an
//! address, with or without a port.

use std::net::{IpAddr, Ipv6Addr};

use crate::error::{Error, Result};

/// A host without its port. Names are in lower case, without a last dot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Host {
    Ip(IpAddr),
    Name(String),
}

impl Host {
    /// Reads a host that must stand alone.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let bare = text.parse().map(|ip: Ipv6Addr| Self::Ip(ip.into())).ok();
        bare.or_else(|| split_port(text).and_then(|(host, port)| port.is_none().then_some(host))).ok_or_else(
            || {
                Error::invalid(format!(
                    "expected a name or an address without scheme and port, found {text:?}"
                ))
            },
        )
    }
}

/// Takes `host`, `host:port`, `[address]` or `[address]:port` apart.
pub(crate) fn split_port(text: &str) -> Option<(Host, Option<&str>)> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (address, rest) = rest.split_once(']')?;
        let port = if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) };
        (Host::Ip(address.parse::<Ipv6Addr>().ok()?.into()), port)
    } else {
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        };
        (parse_host(host)?, port)
    };
    let is_port = |port: &str| port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit());
    port.is_none_or(is_port).then_some((host, port))
}

fn parse_host(text: &str) -> Option<Host> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some(Host::Ip(ip));
    }
    let name = text.strip_suffix('.').unwrap_or(text);
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let is_host = !name.is_empty() && name.len() <= 253 && name.bytes().all(is_name);
    is_host.then(|| Host::Name(name.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_stands_alone() {
        for good in ["a", "a.example", "localhost.", "127.0.0.1", "::1", "[::1]", "a_b"] {
            Host::parse(good).unwrap();
        }
        for bad in ["", "*", "a b", "x:80", "http://x/", "[::1]:80", "a/b", "é"] {
            let error = Host::parse(bad).unwrap_err().to_string();
            assert!(error.starts_with("expected a name or an address"), "{bad:?}: {error}");
        }
    }
}
