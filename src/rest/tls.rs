//! Keys and roots of a client's own, from files.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use ureq::Agent;
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};

use crate::error::{Error, Result};
use crate::primitive::Mutex;
use crate::probe::http::transport::agent_with;
use crate::probe::text::{reason, shown};

/// The longest file that is read, in bytes.
const MAX: u64 = 4 * 1024 * 1024;

/// Files in PEM form by which a client proves who it is, and knows its
/// servers. Read again when they were written, for the next request.
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

    fn paths(&self) -> impl Iterator<Item = &Path> {
        [&self.client_cert, &self.client_key, &self.root_certs].into_iter().flatten().map(PathBuf::as_path)
    }

    fn read(&self) -> Result<TlsConfig> {
        let mut builder = TlsConfig::builder();
        match (&self.client_cert, &self.client_key) {
            (None, None) => {}
            (None, Some(_)) => return Err(Error::invalid("client_key: is there without a client_cert")),
            (Some(cert), key) => {
                let chain = certificates("client_cert", cert)?;
                let key = private_key("client_key", key.as_ref().unwrap_or(cert))?;
                builder = builder.client_cert(Some(ClientCert::new_with_certs(&chain, key)));
            }
        }
        if let Some(path) = &self.root_certs {
            builder = builder.root_certs(RootCerts::from(certificates("root_certs", path)?));
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
        let identity = Self { files, made: Mutex::default() };
        identity.agent()?;
        Ok(identity)
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

fn private_key(field: &str, path: &Path) -> Result<PrivateKey<'static>> {
    let bytes = read(field, path)?;
    let mut keys = parse_pem(&bytes).filter_map(|item| match item {
        Ok(PemItem::PrivateKey(key)) => Some(key),
        _ => None,
    });
    keys.next().ok_or_else(|| flaw(field, path, "has no private key in PEM form"))
}

fn read(field: &str, path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = crate::sys::file::open_without_waiting(path);
    let read = file.and_then(|file| file.take(MAX).read_to_end(&mut bytes));
    read.map_err(|error| flaw(field, path, &reason(&error)))?;
    Ok(bytes)
}

fn flaw(field: &str, path: &Path, text: &str) -> Error {
    Error::invalid(format!("{field}: {}: {text}", shown(path.as_os_str())))
}
