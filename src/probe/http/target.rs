//! The URL of a request: what can be used, and what of it may be shown.

use std::fmt;

use ureq::http::Uri;

/// Reads an absolute URL. Says what is wrong with it without repeating it: it
/// may hold secrets.
pub(super) fn parse(text: &str) -> Result<Uri, String> {
    let uri: Uri = text.parse().map_err(|_| match text.contains("://") {
        true => "is not a URL".to_owned(),
        false => SCHEMES.to_owned(),
    })?;
    match uri.scheme_str() {
        Some("http") => {}
        Some("https") if cfg!(feature = "tls") => {}
        Some("https") => {
            return Err("https needs the feature `tls`, which this build does not have".to_owned());
        }
        _ => return Err(SCHEMES.to_owned()),
    }
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let host_and_port = authority.rsplit_once('@').map_or(authority, |(_, rest)| rest);
    let host = uri.host().unwrap_or_default();
    if host.is_empty() || host == "[]" {
        return Err("has no host".to_owned());
    }
    if host.starts_with('[') && host[1..host.len() - 1].parse::<std::net::Ipv6Addr>().is_err() {
        return Err("has a host in brackets that is not an IPv6 address".to_owned());
    }
    if host_and_port.len() > host.len() && uri.port_u16().is_none_or(|port| port == 0) {
        return Err("expected a port from 1 to 65535".to_owned());
    }
    Ok(uri)
}

const SCHEMES: &str = "must begin with http:// or https://";

/// Prints a URL without user, password and query.
pub(super) struct Shown<'a>(pub(super) &'a Uri);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(scheme) = self.0.scheme_str() {
            write!(f, "{scheme}://")?;
        }
        if let Some(authority) = self.0.authority() {
            match authority.as_str().rsplit_once('@') {
                Some((_, host)) => write!(f, "***@{host}")?,
                None => f.write_str(authority.as_str())?,
            }
        }
        f.write_str(self.0.path())?;
        if self.0.query().is_some() { f.write_str("?…") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_absolute_and_have_a_host() {
        for (text, shown) in [
            ("http://localhost", "http://localhost/"),
            ("http://127.0.0.1:8080/a/b", "http://127.0.0.1:8080/a/b"),
            ("http://[::1]:80/", "http://[::1]:80/"),
            ("http://u:p@h:1/x?q=1#f", "http://***@h:1/x?…"),
            ("http://u@h/", "http://***@h/"),
        ] {
            let uri = parse(text).unwrap();
            assert_eq!(Shown(&uri).to_string(), shown, "{text}");
        }
        for (text, flaw) in [
            ("", SCHEMES),
            ("/healthz", SCHEMES),
            ("localhost:80", SCHEMES),
            ("localhost/healthz", SCHEMES),
            ("ftp://h/", SCHEMES),
            ("http://", "is not a URL"),
            ("http:// h/", "is not a URL"),
            ("http://h/a b", "is not a URL"),
            ("http://u:p@/", "is not a URL"),
            ("http://h:0/", "expected a port from 1 to 65535"),
            ("http://h:65536/", "expected a port from 1 to 65535"),
            ("http://h:/", "expected a port from 1 to 65535"),
            ("http://h:x/", "expected a port from 1 to 65535"),
            ("http://[zz]/", "has a host in brackets that is not an IPv6 address"),
        ] {
            assert_eq!(parse(text), Err(flaw.to_owned()), "{text}");
        }
    }

    #[test]
    fn https_is_there_with_its_feature_only() {
        let parsed = parse("https://h/").map(drop);
        if cfg!(feature = "tls") {
            assert_eq!(parsed, Ok(()));
        } else {
            assert_eq!(
                parsed,
                Err("https needs the feature `tls`, which this build does not have".to_owned())
            );
        }
    }
}
