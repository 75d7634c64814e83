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
///
/// A port is any number of digits (RFC 3986 section 3.2.3), none of them as
/// well, and as a number it is one of a port: zeros in front change nothing.
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
    port.is_none_or(is_port).then_some((host, port))
}

fn is_port(text: &str) -> bool {
    let value = text.trim_start_matches('0');
    text.bytes().all(|byte| byte.is_ascii_digit()) && (value.is_empty() || value.parse::<u16>().is_ok())
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
    fn an_authority_is_a_host_and_maybe_a_port() {
        for (text, host, port) in [
            ("localhost", "localhost", None),
            ("localhost:", "localhost", Some("")),
            ("LocalHost.:8470", "localhost", Some("8470")),
            ("localhost:0", "localhost", Some("0")),
            ("localhost:65535", "localhost", Some("65535")),
            ("localhost:00000080", "localhost", Some("00000080")),
            ("localhost:0000000", "localhost", Some("0000000")),
            ("127.0.0.1:80", "127.0.0.1", Some("80")),
            ("[::1]", "::1", None),
            ("[::1]:", "::1", Some("")),
            ("[::FFFF:1.2.3.4]:65535", "::ffff:1.2.3.4", Some("65535")),
            // No addresses, but names.
            ("127.1:80", "127.1", Some("80")),
            ("0x7f000001", "0x7f000001", None),
            ("127.000.000.001", "127.000.000.001", None),
        ] {
            let (found, at) = split_port(text).unwrap_or_else(|| panic!("{text}"));
            let expected = match host.parse() {
                Ok(ip) => Host::Ip(ip),
                Err(_) => Host::Name(host.to_owned()),
            };
            assert_eq!((found, at), (expected, port), "{text}");
        }
        for text in [
            "",
            ":",
            ":80",
            "localhost:65536",
            "localhost:99999",
            "localhost:099999",
            "localhost:100000",
            "localhost:18446744073709551696",
            "localhost:-1",
            "localhost:+80",
            "localhost: 80",
            "localhost:80 ",
            "localhost:8a",
            "localhost:0x50",
            "localhost:80:80",
            "localhost:\u{663}",
            "127.0.0.1:65536",
            "[::1]:65536",
            "[::1]80",
            "[::1",
            "::1",
            "[]",
            "[127.0.0.1]",
            "[v1.x]",
            "[fe80::1%25eth0]",
            "user@localhost",
            "localhost/",
            "local%68ost",
            "http://localhost",
        ] {
            assert_eq!(split_port(text), None, "{text:?}");
        }
    }

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
