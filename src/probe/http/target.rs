//! The URL of a request: what can be used, and what of it may be shown.

use std::fmt;

use ureq::http::{HeaderValue, Method, Uri};

use crate::text::head;

/// Reads an absolute URL. Says what is wrong with it without repeating it: it
/// may hold secrets.
pub(crate) fn parse(text: &str) -> Result<Uri, String> {
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
    if !is_port(&host_and_port[host.len()..]) {
        return Err("expected a port from 1 to 65535".to_owned());
    }
    credentials(&uri)?;
    Ok(uri)
}

/// Where a redirect leads, or what is wrong with it.
pub(crate) fn follow(base: &Uri, location: &str) -> Result<Uri, String> {
    let location = location.split('#').next().unwrap_or_default();
    let (scheme, host) = (base.scheme_str().unwrap_or("http"), base.authority().map_or("", |a| a.as_str()));
    if let Some((found, _)) = location.split_once(':').filter(|(found, _)| is_scheme(found)) {
        if !["http", "https"].iter().any(|known| known.eq_ignore_ascii_case(found)) {
            let found = head(found.as_bytes(), 60);
            return Err(format!("redirected to the scheme {found}, which is neither http nor https"));
        }
        return target(location);
    }
    let folder = base.path().rsplit_once('/').map_or("", |(folder, _)| folder);
    let path = match location {
        "" => base.path().to_owned(),
        text if text.starts_with("//") => return target(&format!("{scheme}:{text}")),
        text if text.starts_with('/') => text.to_owned(),
        text if text.starts_with('?') => format!("{}{text}", base.path()),
        text => format!("{folder}/{text}"),
    };
    target(&format!("{scheme}://{host}{}", without_dots(&path)))
}

fn target(text: &str) -> Result<Uri, String> {
    parse(text).map_err(|text| format!("redirected to a URL that cannot be used: {text}"))
}

/// `a:b` begins with a scheme, `a/b:c` and `?a:b` do not.
fn is_scheme(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    text.as_bytes().first().is_some_and(u8::is_ascii_alphabetic) && text.bytes().all(fits)
}

/// The path that is meant by one with `.` and `..` in it; a query stays.
fn without_dots(path_and_query: &str) -> String {
    let (path, query) = match path_and_query.find('?') {
        Some(at) => path_and_query.split_at(at),
        None => (path_and_query, ""),
    };
    let mut parts: Vec<&str> = Vec::new();
    let mut rest = path.split('/').skip(1).peekable();
    while let Some(part) = rest.next() {
        let is_last = rest.peek().is_none();
        match part {
            "." | ".." => {
                if part == ".." {
                    parts.pop();
                }
                if is_last {
                    parts.push("");
                }
            }
            part => parts.push(part),
        }
    }
    format!("/{}{query}", parts.join("/"))
}

/// Whether what is meant for the one may be told to the other: the same host
/// and port, or the same host by https instead of http.
pub(crate) fn is_same_server(one: &Uri, other: &Uri) -> bool {
    let host = |uri: &Uri| uri.host().map(str::to_ascii_lowercase);
    let https = |uri: &Uri| uri.scheme_str() == Some("https");
    let port = |uri: &Uri| uri.port_u16().unwrap_or(if https(uri) { 443 } else { 80 });
    let upgraded = !https(one) && https(other) && port(one) == 80 && port(other) == 443;
    let same = https(one) == https(other) && port(one) == port(other);
    host(one) == host(other) && (same || upgraded)
}

/// Whether what follows a host is nothing, or a colon and a port. Only
/// digits: a sign would parse as well.
fn is_port(text: &str) -> bool {
    let Some(port) = text.strip_prefix(':') else { return text.is_empty() };
    port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// The `Authorization` that the user and password of a URL make.
pub(crate) fn authorization(uri: &Uri) -> Option<HeaderValue> {
    let text = format!("Basic {}", base64(&credentials(uri).ok()??));
    let mut value = HeaderValue::from_str(&text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The user, a colon and the password of a URL, as they are sent: without
/// the escapes of URLs.
fn credentials(uri: &Uri) -> Result<Option<Vec<u8>>, String> {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let Some((text, _)) = authority.rsplit_once('@') else { return Ok(None) };
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    let [mut all, password] = [unescape(user)?, unescape(password)?];
    if all.contains(&b':') {
        return Err("has a colon in its user, which basic authentication cannot send".to_owned());
    }
    all.push(b':');
    all.extend(password);
    Ok(Some(all))
}

fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
    let mut plain = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        plain.push(match byte {
            b'%' => match (digit(bytes.next()), digit(bytes.next())) {
                (Some(high), Some(low)) => (high * 16 + low) as u8,
                _ => return Err("has a % without two hexadecimal digits in its user or password".to_owned()),
            },
            byte => byte,
        });
    }
    Ok(plain)
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let three = [0, 1, 2].map(|idx| u32::from(chunk.get(idx).copied().unwrap_or_default()));
        let bits = three[0] << 16 | three[1] << 8 | three[2];
        for idx in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * idx)) as usize % 64];
            text.push(if idx > chunk.len() { '=' } else { char::from(digit) });
        }
    }
    text
}

/// The URL without user and password, which are sent as a header.
pub(crate) fn without_credentials(uri: &Uri) -> Uri {
    let mut parts = uri.clone().into_parts();
    let split = parts.authority.as_ref().and_then(|authority| authority.as_str().rsplit_once('@'));
    if let Some(bare) = split.and_then(|(_, host)| host.parse().ok()) {
        parts.authority = Some(bare);
    }
    // The rest is as it was.
    Uri::from_parts(parts).unwrap_or_else(|_| uri.clone())
}

const SCHEMES: &str = "must begin with http:// or https://";

/// Prints a URL without user, password and query.
pub(crate) struct Shown<'a>(pub(crate) &'a Uri);

impl Shown<'_> {
    /// In the order in which they are shown.
    fn pieces(&self) -> [&str; 6] {
        let scheme = self.0.scheme_str();
        let authority = self.0.authority().map_or("", |authority| authority.as_str());
        let (hidden, host) = authority.rsplit_once('@').map_or(("", authority), |(_, host)| ("***@", host));
        let after_scheme = if scheme.is_some() { "://" } else { "" };
        let query = if self.0.query().is_some() { "?…" } else { "" };
        [scheme.unwrap_or_default(), after_scheme, hidden, host, self.0.path(), query]
    }

    /// The same with the method before it.
    pub(crate) fn with_method(&self, method: &Method) -> String {
        let [scheme, after_scheme, hidden, host, path, query] = self.pieces();
        [method.as_str(), " ", scheme, after_scheme, hidden, host, path, query].concat()
    }
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pieces().iter().try_for_each(|piece| f.write_str(piece))
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
            ("http://h:+80/", "expected a port from 1 to 65535"),
            ("http://u@[::1]:+80/", "expected a port from 1 to 65535"),
            ("http://u:p%4@h/", "has a % without two hexadecimal digits in its user or password"),
            ("http://u%zz@h/", "has a % without two hexadecimal digits in its user or password"),
            ("http://a%3Ab:p@h/", "has a colon in its user, which basic authentication cannot send"),
            ("http://[zz]/", "has a host in brackets that is not an IPv6 address"),
        ] {
            assert_eq!(parse(text), Err(flaw.to_owned()), "{text}");
        }
    }

    #[test]
    fn a_user_and_password_are_sent_without_the_escapes_of_urls() {
        for (url, plain, header) in [
            ("http://h/", None, None),
            ("http://user:geheim@h/", Some(&b"user:geheim"[..]), Some("Basic dXNlcjpnZWhlaW0=")),
            ("http://u:p%40@h/", Some(b"u:p@"), Some("Basic dTpwQA==")),
            ("http://u%25:%C3%a9:@h/", Some(b"u%:\xc3\xa9:"), Some("Basic dSU6w6k6")),
            ("http://u@h/", Some(b"u:"), Some("Basic dTo=")),
        ] {
            let uri = parse(url).unwrap();
            assert_eq!(credentials(&uri).unwrap().as_deref(), plain, "{url}");
            assert_eq!(authorization(&uri).as_ref().map(|value| value.to_str().unwrap()), header, "{url}");
            assert_eq!(without_credentials(&uri).to_string(), "http://h/");
        }
    }

    #[test]
    fn redirects_lead_where_they_say() {
        let base = parse("http://h:1/a/b?q").unwrap();
        for (location, shown) in [
            ("/x", Ok("http://h:1/x")),
            ("x?y=z:1#f", Ok("http://h:1/a/x?y=z:1")),
            ("../x/./y/..", Ok("http://h:1/x/")),
            ("?r", Ok("http://h:1/a/b?r")),
            ("", Ok("http://h:1/a/b")),
            ("//o/x", Ok("http://o/x")),
            ("HTTP://o:2/", Ok("http://o:2/")),
            ("ftp://o/", Err("redirected to the scheme ftp, which is neither http nor https")),
            ("javascript:x", Err("redirected to the scheme javascript, which is neither http nor https")),
            ("http://o:0/", Err("redirected to a URL that cannot be used: expected a port from 1 to 65535")),
            ("/a b", Err("redirected to a URL that cannot be used: is not a URL")),
        ] {
            let found = follow(&base, location).map(|uri| uri.to_string());
            assert_eq!(found.as_deref(), shown.map_err(str::to_owned).as_deref(), "{location}");
        }
        for (one, other, same) in [
            ("http://h/", "http://H:80/x", true),
            ("http://h/", "http://h:81/", false),
            ("http://h/", "http://o/", false),
        ] {
            assert_eq!(is_same_server(&parse(one).unwrap(), &parse(other).unwrap()), same, "{one} {other}");
        }
    }

    #[cfg(feature = "tls")]
    #[test]
    fn what_was_told_by_https_is_not_told_without() {
        for (one, other, same) in [
            ("https://h/", "https://h:443/x", true),
            ("https://h/", "http://h/", false),
            ("https://h/", "http://h:443/", false),
            ("https://h/", "https://h:8443/", false),
            ("http://h/", "https://h/", true),
            ("http://h:8080/", "https://h/", false),
            ("http://h/", "https://o/", false),
        ] {
            assert_eq!(is_same_server(&parse(one).unwrap(), &parse(other).unwrap()), same, "{one} {other}");
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
