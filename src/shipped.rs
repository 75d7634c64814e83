//! The types of components that come with the library.

use crate::config::{MonitorSettings, Settings, StoreUrl};
use crate::decode::{self, Object};
use crate::env::Env;
use crate::host::deploy::{Descriptor, Registry};
use crate::monitor::{self, Monitor, Principal};
use crate::tree::{self, Fault, Faults};
use crate::trial::Trial;
use crate::watch::{self, Watcher};

/// A registry of all types that come with the library; add your own to it.
///
/// With the feature `sqlite` or `postgres` that includes those that look
/// after a fleet; they find it in `loopkeeper.db` in the current folder. See
/// [`registry_with`].
///
/// # Examples
///
/// ```
/// use loopkeeper::shipped;
///
/// let watcher = shipped::registry().describe("watcher")?;
/// assert!(watcher.fields.iter().any(|field| field.path == "backoff.max_delay"));
/// # Ok::<(), loopkeeper::Error>(())
/// ```
#[must_use]
pub fn registry() -> Registry {
    registry_with(&StoreUrl::default())
}

/// The same, with a fleet that is kept elsewhere. Nothing is opened before a
/// component that looks after it makes its first run.
#[must_use]
pub fn registry_with(store: &StoreUrl) -> Registry {
    let mut settings = Settings::default();
    settings.store.url = store.clone();
    registry_for(&settings)
}

/// The same, as a program's settings say: where a fleet is kept, when monitors
/// look and as whom.
#[must_use]
pub fn registry_for(settings: &Settings) -> Registry {
    let store = &settings.store.url;
    let mut registry = Registry::new();
    let watcher = registry.register("watcher", |name: &str, o: &mut Object<'_, '_>| {
        let config = watch::descriptor::read(name, o)?;
        Some(move |env: &Env| Ok(Watcher::new(env, config)?))
    });
    debug_assert!(watcher.is_ok(), "the names are valid and each stands once");
    let defaults = monitor_defaults(&settings.monitor);
    let monitor = registry.register("monitor", move |name: &str, o: &mut Object<'_, '_>| {
        let config = monitor::descriptor::read_whole(name, o, &defaults)?;
        Some(move |env: &Env| Ok(Monitor::new(env, config)?))
    });
    debug_assert!(monitor.is_ok(), "the names are valid and each stands once");
    #[cfg(feature = "http-client")]
    recovery_type::register(&mut registry);
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    fleet_types::register(&mut registry, store);
    #[cfg(not(any(feature = "sqlite", feature = "postgres")))]
    let _ = store;
    registry
}

/// What the descriptor in `bytes` asks again and again, to be asked once: the
/// probe of a watcher, each checker of a monitor. `file` is used for places.
///
/// # Errors
///
/// Everything that is wrong with the descriptor; that its type asks nothing.
///
/// # Examples
///
/// ```
/// use loopkeeper::config::Settings;
/// use loopkeeper::{Env, Health, shipped};
///
/// let text = br#"{"name": "root", "type": "watcher",
///                 "config": {"probe": {"disk": {"path": "/", "min_free": 1}}}}"#;
/// let trials = shipped::trials(&Settings::default(), "root.json", text)?;
/// let env = Env::new().expect("a thread");
/// for trial in trials {
///     let report = trial.run(&env).expect("a thread");
///     assert_eq!((report.name.as_str(), report.health), ("root", Health::Ready));
/// }
/// # Ok::<(), loopkeeper::tree::Faults>(())
/// ```
pub fn trials(settings: &Settings, file: &str, bytes: &[u8]) -> Result<Vec<Trial>, Faults> {
    let descriptor = Descriptor::parse(file, bytes, &registry_for(settings))?;
    let node = tree::parse_bytes(file, bytes)?;
    let at = |key: &str| node.get(key).map_or(&node, |found| found);
    let fault = |key: &str, message: String| {
        Faults::from(Fault { place: at(key).place.clone(), key: key.to_owned(), message })
    };
    let (config, name) = (at("config"), descriptor.name.as_str());
    let trials = match &*descriptor.kind {
        "watcher" => {
            let config = decode::object(config, "config", |o| watch::descriptor::read(name, o))?;
            config.into_trial().map(|trial| vec![trial])
        }
        "monitor" => {
            let defaults = monitor_defaults(&settings.monitor);
            let read = |o: &mut Object<'_, '_>| monitor::descriptor::read_whole(name, o, &defaults);
            decode::object(config, "config", read)?.into_trials()
        }
        kind => {
            let expected = "expected a watcher or a monitor";
            return Err(fault(
                "type",
                format!("the type {kind} asks nothing that can be asked once, {expected}"),
            ));
        }
    };
    trials.map_err(|error| fault("config", error.report().to_string()))
}

/// All monitors of a program share what proves its principal.
fn monitor_defaults(settings: &MonitorSettings) -> monitor::descriptor::Defaults {
    let MonitorSettings { poll_period, principal, token_file, token_command, .. } = settings;
    let principal = Principal::new(principal.as_str());
    let principal = match (token_file, token_command) {
        (Some(path), _) => principal.token_file(path),
        (None, Some(command)) => principal.token_command(command),
        (None, None) => principal,
    };
    monitor::descriptor::Defaults {
        poll_period: *poll_period,
        principal,
        #[cfg(feature = "tls")]
        tls: crate::rest::TlsFiles {
            client_cert: settings.client_cert.clone(),
            client_key: settings.client_key.clone(),
            root_certs: settings.root_certs.clone(),
        },
    }
}

#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub use fleet_types::store;

#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod fleet_types {
    use crate::config::StoreUrl;
    use crate::controller::{ControllerConfig, Reconciler};
    use crate::decode::Object;
    use crate::env::Env;
    #[cfg(not(all(feature = "sqlite", feature = "postgres")))]
    use crate::error::Error;
    use crate::error::Result;
    use crate::fleet::{Pass, StoreConfig, descriptor};
    use crate::host::deploy::Registry;

    /// Where a fleet is kept, as settings say it.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` when it is kept where this build cannot reach it, or
    /// its URL cannot be meant.
    pub fn store(url: &StoreUrl) -> Result<StoreConfig> {
        match url {
            #[cfg(feature = "sqlite")]
            StoreUrl::Sqlite(path) => Ok(crate::fleet::SqliteConfig::file(path).into()),
            #[cfg(feature = "postgres")]
            StoreUrl::Postgres(url) => {
                let config = crate::fleet::PostgresConfig::new(url.expose());
                config.check().map_err(|error| {
                    let text = format!("store.{error}");
                    error.context(text)
                })?;
                Ok(config.into())
            }
            #[cfg(not(all(feature = "sqlite", feature = "postgres")))]
            other => {
                let feature = other.feature();
                Err(Error::invalid(format!(
                    "store.url: this program was built without the feature {feature}"
                )))
            }
        }
    }

    /// Adds one type for each pass.
    pub(super) fn register(registry: &mut Registry, store: &StoreUrl) {
        add(registry, store, "agent-health", descriptor::agent_health);
        add(registry, store, "job-recovery", descriptor::job_recovery);
        add(registry, store, "queue-priority", descriptor::queue_priority);
        add(registry, store, "token-cleanup", descriptor::token_cleanup);
        add(registry, store, "audit-retention", descriptor::audit_retention);
    }

    fn add<P: Pass>(
        registry: &mut Registry,
        url: &StoreUrl,
        kind: &str,
        read: fn(&str, &mut Object<'_, '_>) -> Option<(ControllerConfig, P)>,
    ) {
        let url = url.clone();
        let added = registry.register(kind, move |name: &str, o: &mut Object<'_, '_>| {
            let (config, pass) = read(name, o)?;
            let url = url.clone();
            Some(move |env: &Env| Ok(Reconciler::new(env, config, pass.controller(&store(&url)?))?))
        });
        debug_assert!(added.is_ok(), "the names are valid and each stands once");
    }
}

#[cfg(feature = "http-client")]
mod recovery_type {
    use std::sync::Arc;

    use crate::config::process_environment;
    use crate::decode::Object;
    use crate::env::Env;
    use crate::host::deploy::Registry;
    use crate::recovery::rest::{Lookup, RestRemedy, RestSource, decode_monitor};
    use crate::recovery::{Metadata, RecoveryMonitor};

    /// Adds the monitor of runs that a service tells of over HTTP.
    pub(super) fn register(registry: &mut Registry) {
        let environment: Lookup = Arc::new(|name| {
            let variables = process_environment().into_iter();
            let mut named = variables.filter(|(found, _)| found.to_str() == Some(name));
            named.next().and_then(|(_, value)| value.into_string().ok())
        });
        let added = registry.register("recovery", move |name: &str, o: &mut Object<'_, '_>| {
            let found = decode_monitor(name, o, &environment)?;
            Some(move |env: &Env| {
                let (source, remedy) = (RestSource::new(&found.service)?, RestRemedy::new(&found.service)?);
                let monitor = RecoveryMonitor::new(env, found.monitor, source, remedy)?;
                for run in &found.runs {
                    monitor.watch_run(run, Metadata::default())?;
                }
                Ok(monitor)
            })
        });
        debug_assert!(added.is_ok(), "the names are valid and each stands once");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::Presence;

    #[cfg(feature = "http-client")]
    #[test]
    fn the_descriptor_of_the_manual_is_taken() {
        let page = include_str!("docs/operations.md");
        let examples: Vec<&str> =
            page.split("```json\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
        assert!(!examples.is_empty());
        for text in examples {
            Descriptor::parse("manual.json", text.as_bytes(), &registry()).unwrap();
        }
    }

    #[test]
    fn every_type_and_field_says_what_it_is_for() {
        let registry = registry();
        let fleet = ["agent-health", "audit-retention", "job-recovery", "queue-priority", "token-cleanup"];
        let fleet = if cfg!(any(feature = "sqlite", feature = "postgres")) { &fleet[..] } else { &[] };
        let recovery = if cfg!(feature = "http-client") { &["recovery"][..] } else { &[] };
        let mut known = [fleet, recovery, &["monitor", "watcher"]].concat();
        crate::order::sort(&mut known);
        assert_eq!(registry.names().collect::<Vec<_>>(), known);
        for name in registry.names() {
            let info = registry.describe(name).unwrap();
            assert!(!info.summary.is_empty(), "{name}");
            for field in info.fields {
                assert!(!field.doc.is_empty() && !field.kind.is_empty(), "{name}: {}", field.path);
                assert_ne!(field.presence, Presence::Default(None), "{name}: {}", field.path);
            }
        }
    }
}
