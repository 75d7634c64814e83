//! Keys and roots of a client's own, from files.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use ureq::Agent;
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};

use crate::error::{Error, ErrorKind, Result};
use crate::primitive::Mutex;
use crate::probe::http::transport::agent_with;
use crate::probe::text::{reason, shown};

/// The longest file that is read, in bytes.
const MAX: u64 = 4 * 1024 * 1024;

/// Files in PEM form by which a client proves who it is, and knows its
/// servers.
///
/// They are read for the first request, and again when they were written, for
/// the next. While one is not there or cannot be used a request fails, with
/// an `Io` that names it, and nothing is sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsFiles {
    /// The client's certificate, with those between it and a root.
    pub client_cert: Option<PathBuf>,
    /// Its key. Defaults to the file of the certificate.
    pub client_key: Option<PathBuf>,
    /// The roots that servers are believed by. Defaults to those of browsers.
    pub root_certs: Option<PathBuf>,
}

impl TlsFiles {
    /// Proves who the client is by a certificate and its key.
    #[must_use]
    pub fn client(self, cert: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self { client_cert: Some(cert.into()), client_key: Some(key.into()), ..self }
    }

    /// Believes servers whose certificates lead to one of these roots, and
    /// no others.
    #[must_use]
    pub fn roots(self, path: impl Into<PathBuf>) -> Self {
        Self { root_certs: Some(path.into()), ..self }
    }

    /// These, and what `others` say of the half that these do not.
    pub(crate) fn or(mut self, others: &Self) -> Self {
        if self.client_cert.is_none() {
            (self.client_cert, self.client_key) = (others.client_cert.clone(), others.client_key.clone());
        }
        self.root_certs = self.root_certs.or_else(|| others.root_certs.clone());
        self
    }

    fn paths(&self) -> impl Iterator<Item = &Path> {
        [&self.client_cert, &self.client_key, &self.root_certs].into_iter().flatten().map(PathBuf::as_path)
    }

    /// Says what is wrong with them without looking at any.
    fn check(&self) -> Result<()> {
        if self.client_key.is_some() && self.client_cert.is_none() {
            return Err(Error::invalid("client_key: is there without a client_cert"));
        }
        Ok(())
    }

    fn read(&self) -> Result<TlsConfig> {
        let mut builder = TlsConfig::builder();
        if let Some(path) = &self.client_cert {
            let chain = certificates("client_cert", path)?;
            let key_path = self.client_key.as_ref().unwrap_or(path);
            let key = private_key(key_path, &chain)?;
            builder = builder.client_cert(Some(ClientCert::new_with_certs(&chain, key)));
        }
        if let Some(path) = &self.root_certs {
            let certs = certificates("root_certs", path)?;
            let ders = certs.iter().map(|cert| CertificateDer::from(cert.der()));
            if RootCertStore::empty().add_parsable_certificates(ders).0 == 0 {
                return Err(flaw("root_certs", path, "has no certificate that can be a root"));
            }
            builder = builder.root_certs(RootCerts::from(certs));
        }
        Ok(builder.build())
    }
}

/// The agent that uses the files as they are.
#[derive(Debug)]
pub(super) struct Identity {
    files: TlsFiles,
    made: Mutex<Option<(Vec<Mark>, Agent)>>,
}

/// What changes when a file is written.
type Mark = Option<(SystemTime, u64)>;

impl Identity {
    pub(super) fn new(files: TlsFiles) -> Result<Self> {
        files.check()?;
        Ok(Self { files, made: Mutex::default() })
    }

    /// Whether a server learns who asks.
    pub(super) fn proves_who_asks(&self) -> bool {
        self.files.client_cert.is_some()
    }

    pub(super) fn agent(&self) -> Result<Agent> {
        let mark = |path: &Path| fs::metadata(path).and_then(|of| Ok((of.modified()?, of.len()))).ok();
        let marks: Vec<Mark> = self.files.paths().map(mark).collect();
        if let Some((known, agent)) = &*self.made.lock() {
            if *known == marks {
                return Ok(agent.clone());
            }
        }
        let agent = agent_with(self.files.read()?);
        *self.made.lock() = Some((marks, agent.clone()));
        Ok(agent)
    }
}

fn certificates(field: &str, path: &Path) -> Result<Vec<Certificate<'static>>> {
    let mut found = Vec::new();
    for item in parse_pem(&read(field, path)?) {
        match item {
            Ok(PemItem::Certificate(cert)) => found.push(cert),
            Ok(_) => {}
            Err(_) => return Err(flaw(field, path, "is not in PEM form")),
        }
    }
    if found.is_empty() { Err(flaw(field, path, "has no certificate in PEM form")) } else { Ok(found) }
}

/// The key to the first of `chain`. What does not fit is told here: the client
/// would panic at it.
fn private_key(path: &Path, chain: &[Certificate<'static>]) -> Result<PrivateKey<'static>> {
    let refuse = |text: &str| flaw("client_key", path, text);
    let bytes = read("client_key", path)?;
    let mut keys = parse_pem(&bytes).filter_map(|item| match item {
        Ok(PemItem::PrivateKey(key)) => Some(key),
        _ => None,
    });
    let key = keys.next().ok_or_else(|| refuse("has no private key in PEM form"))?;
    let der = PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| refuse(&error.to_string()))?;
    let chain = chain.iter().map(|cert| CertificateDer::from(cert.der().to_vec())).collect();
    CertifiedKey::from_der(chain, der, &rustls::crypto::ring::default_provider())
        .map_err(|error| refuse(&format!("does not fit the certificate: {error}")))?;
    Ok(key)
}

fn read(field: &str, path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = crate::sys::file::open_without_waiting(path);
    let read = file.and_then(|file| file.take(MAX).read_to_end(&mut bytes));
    read.map_err(|error| flaw(field, path, &reason(&error)))?;
    Ok(bytes)
}

fn flaw(field: &str, path: &Path, text: &str) -> Error {
    Error::new(ErrorKind::Io).context(format!("{field}: {}: {text}", shown(path.as_os_str())))
}
