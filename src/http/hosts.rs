//! Which `Host` a request may name.
//!
//! A page from elsewhere can make a browser resolve its own name to a
//! loopback address and read what answers there. Such a request still names
//! the page's host, so only known hosts are answered.

use std::net::{IpAddr, SocketAddr};

use crate::authority::{Host, split_port};
use crate::error::{Error, Result};

/// The hosts a server answers to.
#[derive(Debug, Clone)]
pub(super) struct Hosts {
    listen: IpAddr,
    allowed: Vec<Host>,
}

impl Hosts {
    /// Checks the names that are allowed beside the server's own address.
    pub(super) fn new(listen: SocketAddr, allowed: &[String]) -> Result<Self> {
        let hosts = allowed.iter().map(|entry| {
            Host::parse(entry).map_err(|error| Error::invalid(format!("allowed_hosts: {error}")))
        });
        Ok(Self { listen: listen.ip(), allowed: hosts.collect::<Result<_>>()? })
    }

    /// Whether a request to `host`, with or without a port, is answered;
    /// `None` when that is no host at all.
    pub(super) fn allow(&self, host: &str) -> Option<bool> {
        let (host, _) = split_port(host)?;
        let own = match &host {
            Host::Ip(ip) => {
                let ip = ip.to_canonical();
                // A literal address cannot be made to point elsewhere.
                ip.is_loopback() || ip == self.listen.to_canonical() || self.listen.is_unspecified()
            }
            Host::Name(name) => name == "localhost" || name.ends_with(".localhost"),
        };
        Some(own || self.allowed.contains(&host))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(listen: &str, allowed: &[&str], host: &str, expected: Option<bool>) {
        let allowed: Vec<String> = allowed.iter().map(|&host| host.to_owned()).collect();
        let hosts = Hosts::new(listen.parse().unwrap(), &allowed).unwrap();
        assert_eq!(hosts.allow(host), expected, "{listen} {allowed:?} {host}");
    }

    #[test]
    fn loopback_and_the_own_address_are_always_allowed() {
        for host in [
            "localhost",
            "LocalHost:8470",
            "localhost.",
            "a.localhost",
            "127.0.0.1",
            "127.9.9.9:1",
            "[::1]",
            "[::1]:8470",
            "[::ffff:127.0.0.1]",
            "localhost:",
            "10.0.0.7:8470",
        ] {
            check("10.0.0.7:8470", &[], host, Some(true));
        }
        for host in ["example.org", "10.0.0.8", "localhost.example.org", "xlocalhost", "[fe80::1]"] {
            check("10.0.0.7:8470", &[], host, Some(false));
        }
    }

    #[test]
    fn a_wildcard_answers_to_any_address_and_to_no_further_name() {
        for listen in ["0.0.0.0:1", "[::]:1"] {
            check(listen, &[], "192.168.1.5:1", Some(true));
            check(listen, &[], "[2001:db8::1]", Some(true));
            check(listen, &[], "box.lan", Some(false));
        }
    }

    #[test]
    fn names_in_the_list_are_allowed_whatever_their_case_and_port() {
        let allowed = ["Box.Lan", "192.168.1.5", "fd00::1", "[fd00::2]"];
        for host in ["box.lan", "BOX.LAN:1", "box.lan.", "192.168.1.5:7", "[fd00::1]:1", "[fd00::2]"] {
            check("127.0.0.1:1", &allowed, host, Some(true));
        }
        check("127.0.0.1:1", &allowed, "a.box.lan", Some(false));
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for host in
            ["", ":80", ".", "a b", "a:b", "a:123456", "[::1", "[::1]x", "[box]", "::1", "a/b", "a@b", "ü"]
        {
            check("127.0.0.1:1", &[], host, None);
        }
        for entry in ["", "http://a", "a:80", "*", "[fd00::1]:80", "a,b"] {
            let error = Hosts::new("127.0.0.1:1".parse().unwrap(), &[entry.to_owned()]).unwrap_err();
            assert!(error.to_string().contains(&format!("found {entry:?}")), "{error}");
        }
    }
}
