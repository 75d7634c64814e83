//! Runs that a service tells of and restores over HTTP.
//!
//! A [`RestSource`] asks for the state of a run and for its checkpoints, a
//! [`RestRemedy`] has a run made from a checkpoint. Both are made of one
//! [`RestConfig`]: where the service is, its paths, and where in its documents
//! things are. Which errors are worth another try is told in
//! [`crate::rest`].
//!
//! | what | default |
//! | --- | --- |
//! | a run | `GET /api/v1/training_runs/{run}` |
//! | its checkpoints | `GET /api/v1/training_runs/{run}/checkpoints` |
//! | from a checkpoint | `POST /api/v1/training_runs/{run}/restore` |
//! | of a run that came too late | nothing |
//! | of the corrupted run afterwards | nothing |
//!
//! A run is restored by a `POST` of
//! `{"path": .., "training_run_id": .., "restore_optimizer": true, "attempt": 1}`
//! with an `Idempotency-Key` that no other attempt has. Each attempt sends it
//! once: what the answer would have been is not known when it is lost, and the
//! next attempt is another.
//!
//! # Examples
//!
//! ```
//! use loopkeeper::recovery::rest::{RestConfig, RestRemedy, RestSource, RunField};
//! use loopkeeper::pointer::Pointer;
//! use loopkeeper::rest::{ClientConfig, Key};
//!
//! let client = ClientConfig::new("https://training.example").key(Key::file("/run/secrets/key"));
//! # let client = ClientConfig::new("http://training.example");
//! let config = RestConfig::new(client)
//!     .run_path("/runs/{run}")
//!     .field(RunField::Corrupted, Pointer::new("/state/corrupted")?);
//! let (source, remedy) = (RestSource::new(&config)?, RestRemedy::new(&config)?);
//! # let _ = (source, remedy);
//!
//! let error = RestSource::new(&config.run_path("/runs/{name}")).unwrap_err();
//! assert_eq!(error.to_string(), "run_path: unknown place {name}, expected {run}");
//! # Ok::<(), loopkeeper::Error>(())
//! ```

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Checkpoint, Remedy, Restore, Restored, RunSource, TrainingRun};
use crate::clock::Tick;
use crate::component::Context;
use crate::duration::GoDuration;
use crate::error::{BoxError, Error, ErrorClass, ErrorKind, Result};
use crate::pointer::Pointer;
use crate::primitive::Mutex;
use crate::rest::{Answer, Client, ClientConfig, Request, Template};

mod decode;
mod mapping;

pub use decode::{Lookup, RestMonitor, decode, decode_monitor};
pub use mapping::{RunField, RunMapping};

/// How long one request for a state may take by default.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The longest that a service is left alone because it asks for that.
const MAX_QUIET: Duration = Duration::from_secs(300);

const RUN: &str = "/api/v1/training_runs/{run}";
const CHECKPOINTS: &str = "/api/v1/training_runs/{run}/checkpoints";
const RESTORE: &str = "/api/v1/training_runs/{run}/restore";

/// Where the service is, its paths, and where in its documents things are.
///
/// Paths are [templates](Template): `{run}` is the name of the run, and where
/// a run is restored `{checkpoint}` that of the checkpoint.
#[derive(Clone)]
#[must_use = "a source and a remedy are made of it"]
pub struct RestConfig {
    client: ClientConfig,
    run_path: String,
    checkpoints_path: String,
    restore_path: String,
    restore_weights_path: Option<String>,
    discard_path: Option<String>,
    retire_path: Option<String>,
    mapping: RunMapping,
    timeout: Duration,
}

impl RestConfig {
    /// A service with the default paths and documents.
    pub fn new(client: ClientConfig) -> Self {
        Self {
            client,
            run_path: RUN.to_owned(),
            checkpoints_path: CHECKPOINTS.to_owned(),
            restore_path: RESTORE.to_owned(),
            restore_weights_path: None,
            discard_path: None,
            retire_path: None,
            mapping: RunMapping::default(),
            timeout: TIMEOUT,
        }
    }

    /// Where the state of a run is. Defaults to
    /// `/api/v1/training_runs/{run}`.
    pub fn run_path(self, path: impl Into<String>) -> Self {
        Self { run_path: path.into(), ..self }
    }

    /// Where the checkpoints of a run are. Defaults to
    /// `/api/v1/training_runs/{run}/checkpoints`.
    pub fn checkpoints_path(self, path: impl Into<String>) -> Self {
        Self { checkpoints_path: path.into(), ..self }
    }

    /// Where a run is made from a checkpoint. Defaults to
    /// `/api/v1/training_runs/{run}/restore`.
    pub fn restore_path(self, path: impl Into<String>) -> Self {
        Self { restore_path: path.into(), ..self }
    }

    /// Where a run is made from a checkpoint without the state of its
    /// optimizer. Defaults to the same as with it; the body tells them apart.
    pub fn restore_weights_path(self, path: impl Into<String>) -> Self {
        Self { restore_weights_path: Some(path.into()), ..self }
    }

    /// What is deleted of a run that was restored too late to be used.
    /// Defaults to nothing.
    pub fn discard_path(self, path: impl Into<String>) -> Self {
        Self { discard_path: Some(path.into()), ..self }
    }

    /// What is deleted of a corrupted run once another took its place.
    /// Defaults to nothing.
    pub fn retire_path(self, path: impl Into<String>) -> Self {
        Self { retire_path: Some(path.into()), ..self }
    }

    /// Where in a document a field is, in the place of all its defaults.
    pub fn field(self, field: RunField, pointer: Pointer) -> Self {
        Self { mapping: self.mapping.field(field, pointer), ..self }
    }

    /// How long one request for a state may take, and one that deletes. What
    /// restores a run has the time of its attempt. Defaults to 30 s.
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Says what is wrong with the settings, if something is.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`, which names the setting.
    pub fn check(&self) -> Result<()> {
        self.client.check()?;
        self.paths()?;
        if self.timeout.is_zero() {
            return Err(Error::invalid("timeout: must be more than zero"));
        }
        Ok(())
    }

    fn paths(&self) -> Result<Paths> {
        let read = |name: &str, text: &str, places: &[&str]| {
            Template::new(text, places).map_err(|error| Error::invalid(format!("{name}: {error}")))
        };
        let both = ["run", "checkpoint"];
        let weights = self.restore_weights_path.as_ref().unwrap_or(&self.restore_path);
        let delete = |name: &str, path: &Option<String>| {
            path.as_ref().map(|path| read(name, path, &["run"])).transpose()
        };
        Ok(Paths {
            run: read("run_path", &self.run_path, &["run"])?,
            checkpoints: read("checkpoints_path", &self.checkpoints_path, &["run"])?,
            restore: read("restore_path", &self.restore_path, &both)?,
            restore_weights: read("restore_weights_path", weights, &both)?,
            discard: delete("discard_path", &self.discard_path)?,
            retire: delete("retire_path", &self.retire_path)?,
        })
    }
}

impl fmt::Debug for RestConfig {
    /// Without the queries of its paths.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.run_path.split('?').next().unwrap_or_default();
        f.debug_struct("RestConfig")
            .field("client", &self.client)
            .field("run_path", &path)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Paths {
    run: Template,
    checkpoints: Template,
    restore: Template,
    restore_weights: Template,
    discard: Option<Template>,
    retire: Option<Template>,
}

#[derive(Debug)]
struct Service {
    client: Client,
    paths: Paths,
    mapping: RunMapping,
    timeout: Duration,
}

impl Service {
    fn new(config: &RestConfig) -> Result<Self> {
        config.check()?;
        Ok(Self {
            client: Client::new(config.client.clone())?,
            paths: config.paths()?,
            mapping: config.mapping.clone(),
            timeout: config.timeout,
        })
    }
}

/// Asks a service for the state of runs.
///
/// A service that asks to be left alone for a while (`Retry-After`) is not
/// asked for any run until then, at most for 5 min; calls fail meanwhile and
/// say why. Cloning shares that.
#[derive(Debug, Clone)]
pub struct RestSource {
    service: Arc<Service>,
    /// Until when it is left alone.
    quiet: Arc<Mutex<Tick>>,
}

impl RestSource {
    /// Makes a source. Nothing is sent.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` when a setting cannot be used.
    pub fn new(config: &RestConfig) -> Result<Self> {
        Ok(Self { service: Arc::new(Service::new(config)?), quiet: Arc::new(Mutex::new(Tick::ZERO)) })
    }

    fn ask<T>(
        &self,
        cx: &Context,
        path: &Template,
        run: &str,
        read: impl FnOnce(&Value) -> Result<T>,
    ) -> Result<T> {
        let quiet = *self.quiet.lock();
        let left = if quiet == Tick::ZERO { Duration::ZERO } else { quiet.since(cx.env().clock().now()) };
        if !left.is_zero() {
            let text = format!("the service asks to be left alone for another {}", GoDuration(left));
            return Err(Error::new(ErrorKind::Probe).with_retry_after(left).context(text));
        }
        let request = Request::get(path.fill(&[("run", run)])?).timeout(self.service.timeout);
        match self.service.client.json(cx, &request) {
            Ok((answer, document)) => read(&document).map_err(|error| answer.flaw(error)),
            Err(error) => {
                if let Some(wait) = error.retry_after() {
                    *self.quiet.lock() = cx.env().clock().now() + wait.min(MAX_QUIET);
                }
                Err(error)
            }
        }
    }
}

impl RunSource for RestSource {
    fn fetch(&self, cx: &Context, run: &str) -> Result<TrainingRun, BoxError> {
        let service = &self.service;
        Ok(self.ask(cx, &service.paths.run, run, |document| service.mapping.run(document))?)
    }

    fn checkpoints(&self, cx: &Context, run: &str) -> Result<Vec<Checkpoint>, BoxError> {
        let service = &self.service;
        Ok(self.ask(cx, &service.paths.checkpoints, run, |document| service.mapping.checkpoints(document))?)
    }
}

/// Has a service make a run from a checkpoint.
#[derive(Debug, Clone)]
pub struct RestRemedy {
    service: Arc<Service>,
}

impl RestRemedy {
    /// Makes a remedy. Nothing is sent.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` when a setting cannot be used.
    pub fn new(config: &RestConfig) -> Result<Self> {
        Ok(Self { service: Arc::new(Service::new(config)?) })
    }

    fn delete(&self, cx: &Context, path: &Option<Template>, run: &str) -> Result<(), BoxError> {
        let Some(path) = path else { return Ok(()) };
        let request = Request::delete(path.fill(&[("run", run)])?).timeout(self.service.timeout);
        match self.service.client.send(cx, &request).and_then(Answer::expect_success) {
            // Gone is what was wanted.
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }
}

impl Remedy for RestRemedy {
    fn restore(&self, cx: &Context, request: &Restore) -> Result<Restored, BoxError> {
        let Service { client, paths, mapping, .. } = &*self.service;
        let path = if request.restore_optimizer { &paths.restore } else { &paths.restore_weights };
        let path = path.fill(&[("run", &request.run), ("checkpoint", &request.checkpoint.checkpoint_id)])?;
        let body = json!({
            "path": request.checkpoint.path,
            "training_run_id": request.run,
            "restore_optimizer": request.restore_optimizer,
            "attempt": request.attempt,
        });
        let post = Request::post(path, body).idempotency_key(&request.idempotency_key).once();
        let answer = client.send(cx, &post)?.expect_success()?;
        let restored = |document: &Value| mapping.restored(document).map_err(|error| answer.flaw(error));
        // The service has made it: asked again it would make another.
        let id = answer.json().and_then(|document| restored(&document));
        Ok(Restored::new(id.map_err(|error| error.with_class(ErrorClass::Terminal))?))
    }

    fn discard(&self, cx: &Context, restored: &Restored) -> Result<(), BoxError> {
        self.delete(cx, &self.service.paths.discard, &restored.training_run_id)
    }

    fn retire(&self, cx: &Context, old: &str) -> Result<(), BoxError> {
        self.delete(cx, &self.service.paths.retire, old)
    }
}
