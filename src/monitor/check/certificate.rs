//! Looks until when certificates are valid.

use std::io::{ErrorKind as IoKind, Read};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};

use super::x509::{Validity, validity};
use crate::component::Context;
use crate::error::{BoxError, Error, ErrorClass, ErrorKind, Result};
use crate::event::Health;
use crate::monitor::{Checker, Report, Verdict};
use crate::probe::connect::{Failure, connect, resolve};
use crate::probe::file_age::check_path;
use crate::probe::tcp::check_address;
use crate::probe::text::{reason, shown};
use crate::probe::wait::{Stop, Wait};
use crate::stamp::Stamp;
use crate::sys::file::open_without_waiting;
use crate::sys::wait::Interest;

/// The longest file that is read, in bytes.
const MAX_FILE: u64 = 4 * 1024 * 1024;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// What certificates that are renewed each 60 of 90 days have left at least.
pub(super) const MIN_LEFT: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// Looks whether certificates are valid for another 14 days.
///
/// See [`CertificateChecker`].
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use loopkeeper::monitor::check;
/// use loopkeeper::Checker;
///
/// let checker = check::certificate()
///     .address("example.org:443")
///     .file("/etc/ssl/private/mail.pem")
///     .min_left(Duration::from_secs(7 * 24 * 3600));
/// assert!(checker.validate().is_ok());
/// assert!(check::certificate().address("example.org").validate().is_err());
/// # Ok::<(), loopkeeper::Error>(())
/// ```
pub fn certificate() -> CertificateChecker {
    CertificateChecker {
        addresses: Vec::new(),
        files: Vec::new(),
        server_name: None,
        min_left: MIN_LEFT,
        config: None,
    }
}

/// Looks until when certificates are valid; made by
/// [`certificate`](certificate()).
///
/// Each address and each file is an item. A server is connected to, and its
/// own certificate is the one looked at: only its dates, whoever signed it and
/// whoever it is for, so that an own authority's is looked at like any other,
/// and one that has expired is told as that. Whether clients would believe it
/// is what an `https` request finds out. Of a file in PEM form the certificate
/// that ends first counts.
///
/// Each address has its share of the time that is left.
#[derive(Debug, Clone)]
#[must_use = "a checker does nothing until it is called"]
pub struct CertificateChecker {
    addresses: Vec<String>,
    files: Vec<PathBuf>,
    server_name: Option<String>,
    min_left: Duration,
    config: Option<Arc<ClientConfig>>,
}

impl CertificateChecker {
    /// Adds a server, as `host:port`.
    pub fn address(mut self, address: impl Into<String>) -> Self {
        self.addresses.push(address.into());
        self
    }

    /// Adds a file in PEM form.
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.files.push(path.into());
        self
    }

    /// The name that servers are asked for, where it is not the host of their
    /// addresses. Defaults to that.
    pub fn server_name(self, name: impl Into<String>) -> Self {
        Self { server_name: Some(name.into()), ..self }
    }

    /// How long a certificate must still be valid. Defaults to 14 days.
    pub fn min_left(self, min: Duration) -> Self {
        Self { min_left: min, ..self }
    }

    fn name(&self, address: &str) -> Result<ServerName<'static>> {
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let name = self.server_name.as_deref().unwrap_or(host.trim_matches(['[', ']']));
        // A scope is no part of an address that a certificate could have.
        let name = name.split('%').next().unwrap_or(name);
        ServerName::try_from(name.to_owned())
            .map_err(|_| Error::invalid(format!("server_name: cannot be asked for: {name:?}")))
    }

    fn ask(
        &self,
        cx: &Context,
        config: &Arc<ClientConfig>,
        address: &str,
        limit: Duration,
    ) -> Result<Validity> {
        let what = format!("certificate of {address}");
        let name = self.name(address)?;
        let wait = Wait::begin(cx, &what).map_err(|error| Error::from_user(&*error))?;
        wait.hurry(limit);
        let fail = |text: String| {
            Error::new(ErrorKind::Probe).context(format!("{what}: {text} after {}", wait.took()))
        };
        let stream = resolve(&wait, address)
            .and_then(|addresses| connect(&wait, &addresses))
            .map_err(|failure| failure.into_error(&what, &wait))?;
        let mut connection = ClientConnection::new(config.clone(), name)
            .map_err(|error| fail(format!("cannot ask by TLS: {error}")))?;
        let certificate = shake_hands(&wait, &mut connection, stream).map_err(|broken| match broken {
            Broken::Wait(failure) => failure.into_error(&what, &wait),
            Broken::Peer(text) => fail(text),
        })?;
        validity(&certificate).map_err(|flaw| fail(format!("the certificate cannot be read: {flaw},")))
    }
}

enum Broken {
    Wait(Failure),
    Peer(String),
}

/// Talks until the server has shown its certificate.
fn shake_hands(
    wait: &Wait,
    connection: &mut ClientConnection,
    mut stream: TcpStream,
) -> std::result::Result<CertificateDer<'static>, Broken> {
    let ready = |stream: &TcpStream, interest| match wait.ready(stream.as_fd(), interest, wait.remaining()) {
        Ok(()) => Ok(()),
        Err(Stop::Cancelled) => Err(Broken::Wait(Failure::Cancelled)),
        Err(Stop::TimedOut) => Err(Broken::Wait(Failure::TimedOut("no certificate".to_owned()))),
        Err(Stop::Refused(error)) => Err(Broken::Wait(Failure::Local(error))),
    };
    loop {
        while connection.wants_write() {
            match connection.write_tls(&mut stream) {
                Ok(_) => {}
                Err(error) if error.kind() == IoKind::WouldBlock => ready(&stream, Interest::Write)?,
                Err(error) if error.kind() == IoKind::Interrupted => {}
                Err(error) => return Err(Broken::Peer(reason(&error))),
            }
        }
        let found = |connection: &ClientConnection| {
            connection.peer_certificates().and_then(<[_]>::first).map(|first| first.clone().into_owned())
        };
        if let Some(certificate) = found(connection) {
            return Ok(certificate);
        }
        if !connection.is_handshaking() {
            return Err(Broken::Peer("the server has no certificate,".to_owned()));
        }
        ready(&stream, Interest::Read)?;
        match connection.read_tls(&mut stream) {
            Ok(0) => return Err(Broken::Peer("connection closed before a certificate came".to_owned())),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), IoKind::WouldBlock | IoKind::Interrupted) => continue,
            Err(error) => return Err(Broken::Peer(reason(&error))),
        }
        if let Err(error) = connection.process_new_packets() {
            // What the server did not like may come after what was asked for.
            return found(connection).ok_or_else(|| Broken::Peer(format!("no TLS: {error},")));
        }
    }
}

/// The certificate of a file that ends first.
fn read_file(path: &Path) -> Result<Validity> {
    let local = |error: std::io::Error| Error::new(ErrorKind::Io).context(reason(&error));
    let flaw = |text: String| Error::new(ErrorKind::Probe).context(text);
    let file = open_without_waiting(path).map_err(local)?;
    if !file.metadata().map_err(local)?.is_file() {
        return Err(flaw("is not a regular file".to_owned()));
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(local)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(flaw("is larger than 4 MiB".to_owned()));
    }
    let mut first: Option<Validity> = None;
    for (idx, certificate) in CertificateDer::pem_slice_iter(&bytes).enumerate() {
        let nth = idx + 1;
        let certificate = certificate.map_err(|error| flaw(format!("certificate {nth}: {error}")))?;
        let found = validity(&certificate).map_err(|text| flaw(format!("certificate {nth}: {text}")))?;
        if first.is_none_or(|first| found.not_after < first.not_after) {
            first = Some(found);
        }
    }
    first.ok_or_else(|| flaw("has no certificate in PEM form".to_owned()))
}

/// Says what is wrong with the dates of a certificate.
fn judge(found: Validity, now: Stamp, min_left: Duration) -> std::result::Result<(), String> {
    let between =
        |from: Stamp, to: Stamp| Duration::from_micros(to.as_micros().saturating_sub(from.as_micros()));
    let Validity { not_before, not_after } = found;
    if now < not_before {
        return Err(format!("is valid only from {not_before} on"));
    }
    if now > not_after {
        return Err(format!("expired at {not_after}, {} ago", Days(between(not_after, now))));
    }
    let left = between(now, not_after);
    if left < min_left {
        return Err(format!(
            "is valid for {} (until {not_after}), needed are {}",
            Days(left),
            Days(min_left)
        ));
    }
    Ok(())
}

/// `12.5 days`, or `3.2 hours` of less than two days.
struct Days(Duration);

impl std::fmt::Display for Days {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (unit, name) = if self.0 < 2 * DAY { (DAY / 24, "hours") } else { (DAY, "days") };
        write!(f, "{:.1} {name}", self.0.as_secs_f64() / unit.as_secs_f64())
    }
}

impl Checker for CertificateChecker {
    fn check(&mut self, cx: &Context, report: &Report) -> Result<Verdict, BoxError> {
        self.validate()?;
        let config = match &self.config {
            Some(config) => config.clone(),
            None => self.config.insert(tls_config()?).clone(),
        };
        let tell = |name: String, found: Result<Validity>| match found {
            Ok(found) => report.item(name, judge(found, cx.env().stamp(), self.min_left)),
            // What this machine could not do says nothing about the server.
            Err(error) if matches!(error.kind(), ErrorKind::Io | ErrorKind::Budget) => {
                report.state(name, Health::Unknown, error.report().to_string());
            }
            Err(error) => report.item(name, Err(error)),
        };
        for path in &self.files {
            tell(shown(path.as_os_str()), read_file(path));
        }
        let n_addresses = u32::try_from(self.addresses.len()).unwrap_or(u32::MAX);
        for (address, left) in self.addresses.iter().zip((1..=n_addresses).rev()) {
            cx.check()?;
            let found = self.ask(cx, &config, address, cx.remaining() / left);
            if let Err(error) = &found {
                if error.class() == ErrorClass::Cancelled {
                    return Err(error.clone().into());
                }
            }
            tell(address.clone(), found);
        }
        Ok(Verdict::Items)
    }

    fn validate(&self) -> Result<()> {
        if self.addresses.is_empty() && self.files.is_empty() {
            return Err(Error::invalid("addresses: must name an address or a file"));
        }
        for (idx, address) in self.addresses.iter().enumerate() {
            check_address(address).map_err(|text| Error::invalid(format!("addresses[{idx}]: {text}")))?;
            self.name(address)?;
        }
        for (idx, path) in self.files.iter().enumerate() {
            check_path(path.as_os_str()).map_err(|text| Error::invalid(format!("files[{idx}]: {text}")))?;
        }
        if self.min_left.is_zero() {
            return Err(Error::invalid("min_left: must be more than zero"));
        }
        Ok(())
    }
}

fn tls_config() -> Result<Arc<ClientConfig>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::new(ErrorKind::Io).context(format!("TLS: {error}")))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone(provider)))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Takes any certificate, for nothing is said to its owner; that the server
/// has the key to it is verified.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Reads a certificate, for a fuzzer.
#[doc(hidden)]
pub fn fuzz_certificate(der: &[u8]) {
    if let Ok(found) = validity(der) {
        let _ = judge(found, Stamp::from_micros(0), DAY);
        let _ = judge(found, found.not_after, DAY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dates_of_a_certificate_are_judged() {
        let stamp = |text: &str| text.parse::<Stamp>().unwrap();
        let found =
            Validity { not_before: stamp("2026-01-01T00:00:00Z"), not_after: stamp("2026-04-01T00:00:00Z") };
        for (now, flaw) in [
            ("2026-01-01T00:00:00Z", None),
            ("2026-03-18T00:00:00Z", None),
            (
                "2026-03-20T12:00:00Z",
                Some("is valid for 11.5 days (until 2026-04-01T00:00:00.000Z), needed are 14.0 days"),
            ),
            (
                "2026-03-31T22:00:00Z",
                Some("is valid for 2.0 hours (until 2026-04-01T00:00:00.000Z), needed are 14.0 days"),
            ),
            ("2026-04-11T00:00:00Z", Some("expired at 2026-04-01T00:00:00.000Z, 10.0 days ago")),
            ("2025-12-31T23:59:59Z", Some("is valid only from 2026-01-01T00:00:00.000Z on")),
        ] {
            assert_eq!(judge(found, stamp(now), MIN_LEFT).err().as_deref(), flaw, "{now}");
        }
    }

    #[test]
    fn settings_that_mean_nothing_are_refused() {
        for (checker, flaw) in [
            (certificate(), "addresses: must name an address or a file"),
            (certificate().file("/x").file(""), "files[1]: must not be empty"),
            (certificate().file("/x").min_left(Duration::ZERO), "min_left: must be more than zero"),
            (certificate().address("h:1").server_name("a b"), "server_name: cannot be asked for: \"a b\""),
        ] {
            assert_eq!(checker.validate().unwrap_err().to_string(), flaw);
        }
        assert!(certificate().address("[fe80::1%2]:443").address("127.0.0.1:443").validate().is_ok());
    }
}
