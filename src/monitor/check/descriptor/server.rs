//! How a server is asked, from configuration.

use super::super::target::{MAX_BODY, REDIRECTS};
use super::super::{ConditionsChecker, HttpTarget};
use super::{Asking, expect_with, is_path};
use crate::decode::Object;
use crate::probe::http::{check_url, read_headers};

/// The fields that say how a server is asked.
const SERVER: [&str; 7] =
    ["headers", "bearer_file", "max_body", "follow_redirects", "client_cert", "client_key", "root_certs"];

/// Settings of a server without its address.
pub(super) struct Server {
    headers: std::collections::BTreeMap<String, String>,
    bearer_file: Option<String>,
    max_body: u64,
    redirects: u32,
    tls: Files,
}

#[cfg(feature = "tls")]
type Files = Option<crate::rest::TlsFiles>;
#[cfg(not(feature = "tls"))]
type Files = NoFiles;

/// There are none to be had.
#[cfg(not(feature = "tls"))]
struct NoFiles;

pub(super) fn read_server(o: &mut Object<'_, '_>) -> Server {
    let headers = o.string_map("headers").check(|headers| {
        let pairs = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        read_headers(pairs).map(drop)
    });
    let headers = headers.doc("Headers to send along.").or_default();
    let bearer_file = o.string("bearer_file").check(is_path);
    let bearer_file = bearer_file
        .doc("A file whose content is sent as the token, read for each request; the principal's token when absent.");
    let bearer_file = bearer_file.optional();
    let max_body = o.bytes("max_body").check(|bytes| match bytes {
        0 => Err("must be more than zero"),
        _ => Ok(()),
    });
    let max_body = max_body.doc("How long an answer may be.").or(MAX_BODY);
    let redirects = o.u32("follow_redirects").at_most(20).doc("How many redirects are followed.");
    let redirects = redirects.or(REDIRECTS);
    let tls = read_files(o);
    Server { headers, bearer_file, max_body, redirects, tls }
}

#[cfg(not(feature = "tls"))]
fn read_files(o: &mut Object<'_, '_>) -> Files {
    for field in ["client_cert", "client_key", "root_certs"] {
        const DOC: &str = "Needs the feature `tls`, which this build does not have.";
        if o.value(field).doc(DOC).optional().is_some() {
            o.fault(field, "needs the feature `tls`, which this build does not have");
        }
    }
    NoFiles
}

#[cfg(feature = "tls")]
fn read_files(o: &mut Object<'_, '_>) -> Files {
    let cert = o.string("client_cert").check(is_path);
    let cert = cert
        .doc("A certificate in PEM form by which the client proves who it is; the program's when absent.")
        .optional();
    let key = o.string("client_key").check(is_path);
    let key = key.doc("Its key, in PEM form; in the file of the certificate when absent.").optional();
    let roots = o.string("root_certs").check(is_path);
    let roots =
        roots.doc("The roots that servers are believed by, in PEM form; the program's, or those of browsers, when absent.");
    let roots = roots.optional();
    if key.is_some() && !o.has("client_cert") {
        o.fault("client_key", "is there without a client_cert");
    }
    if cert.is_none() && roots.is_none() {
        return None;
    }
    Some(crate::rest::TlsFiles {
        client_cert: cert.map(Into::into),
        client_key: key.map(Into::into),
        root_certs: roots.map(Into::into),
    })
}

impl Server {
    /// The server at an address.
    pub(super) fn at(self, url: String, asking: &Asking<'_>) -> HttpTarget {
        let mut target = HttpTarget::new(url)
            .principal(asking.principal.clone())
            .max_body(self.max_body)
            .follow_redirects(self.redirects);
        for (name, value) in self.headers {
            target = target.header(name, value);
        }
        if let Some(path) = self.bearer_file {
            target = target.bearer_file(path);
        }
        #[cfg(feature = "tls")]
        {
            let files = self.tls.unwrap_or_default().or(&asking.tls);
            if files != crate::rest::TlsFiles::default() {
                target = target.tls(files);
            }
        }
        #[cfg(not(feature = "tls"))]
        let NoFiles = self.tls;
        target
    }
}

pub(super) fn read_optional(o: &mut Object<'_, '_>, asking: &Asking<'_>) -> Option<HttpTarget> {
    let url = o.string("url").check(|url| check_url(url)).doc("The address to ask, by GET.").optional();
    let server = read_server(o);
    if !o.has("url") {
        SERVER.iter().for_each(|field| expect_with(o, field, "url"));
    }
    url.map(|url| server.at(url, asking))
}

pub(super) fn aim(checker: ConditionsChecker, target: Option<HttpTarget>) -> ConditionsChecker {
    match target {
        Some(target) => checker.http(target),
        None => checker,
    }
}
