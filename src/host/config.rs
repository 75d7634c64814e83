//! What a host and its components are made from.

use std::fmt;
use std::time::Duration;

use super::restart::Restart;
use crate::component::{Component, Context};
use crate::env::{Env, EnvConfig};
use crate::error::{BoxError, Error, Result};
use crate::name::Name;
use crate::observe::Observer;

/// Settings of a [`Host`](super::Host).
///
/// # Examples
///
/// ```
/// use loopkeeper::{Host, HostConfig, Observer};
/// use std::time::Duration;
///
/// let config = HostConfig::default().observer(Observer::log()).shutdown_timeout(Duration::from_secs(10));
/// let host = Host::new(config)?;
/// let wrong = HostConfig::default().shutdown_timeout(Duration::ZERO);
/// assert!(Host::new(wrong).is_err());
/// # Ok::<(), loopkeeper::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "settings do nothing until a host is made from them"]
pub struct HostConfig {
    pub(super) env: Option<Env>,
    pub(super) observer: Observer,
    pub(super) start_timeout: Duration,
    pub(super) stop_timeout: Duration,
    pub(super) shutdown_timeout: Duration,
    pub(super) parallel: usize,
}

impl Default for HostConfig {
    fn default() -> Self {
        Self {
            env: None,
            observer: Observer::default(),
            start_timeout: Duration::from_secs(30),
            stop_timeout: Duration::from_secs(10),
            shutdown_timeout: Duration::from_secs(30),
            parallel: 1,
        }
    }
}

impl HostConfig {
    /// The environment that the host and its components share. Defaults to
    /// one of the host's own.
    pub fn env(mut self, env: &Env) -> Self {
        self.env = Some(env.clone());
        self
    }

    /// Who hears of events, when the environment is the host's own. Defaults
    /// to an inert observer.
    pub fn observer(mut self, observer: Observer) -> Self {
        self.observer = observer;
        self
    }

    /// How long a component's `start` may take, unless the component says
    /// otherwise. Defaults to 30 s.
    pub fn start_timeout(mut self, timeout: Duration) -> Self {
        self.start_timeout = timeout;
        self
    }

    /// How long a component's `stop` may take, unless the component says
    /// otherwise. Defaults to 10 s.
    pub fn stop_timeout(mut self, timeout: Duration) -> Self {
        self.stop_timeout = timeout;
        self
    }

    /// How long all components together may take to stop, where nobody says
    /// otherwise: after a failed start, at the end of
    /// [`run`](super::HostHandle::run), when the host is dropped. Defaults to
    /// 30 s.
    pub fn shutdown_timeout(mut self, timeout: Duration) -> Self {
        self.shutdown_timeout = timeout;
        self
    }

    /// How many components may start or stop at once. With more than one the
    /// order is that of the requirements only. Defaults to 1: one after the
    /// other, in order.
    pub fn parallel(mut self, components: usize) -> Self {
        self.parallel = components;
        self
    }

    pub(super) fn check(&self) -> Result<()> {
        let times = [
            ("start_timeout", self.start_timeout),
            ("stop_timeout", self.stop_timeout),
            ("shutdown_timeout", self.shutdown_timeout),
        ];
        for (key, value) in times {
            if value.is_zero() {
                return Err(Error::invalid(format!("{key}: must be more than zero")));
            }
        }
        if self.parallel == 0 {
            return Err(Error::invalid("parallel: must be at least 1"));
        }
        Ok(())
    }

    pub(super) fn make_env(&self) -> Result<Env> {
        match &self.env {
            Some(env) => Ok(env.clone()),
            None => Env::with(EnvConfig::default().observer(self.observer.clone())),
        }
    }
}

/// What the machine needs of a [`HostConfig`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    pub(super) shutdown_timeout: Duration,
    pub(super) parallel: usize,
}

/// A component that another one needs.
///
/// The one that needs it starts once it is ready. When it goes down later the
/// other keeps running, unless [`or_stop`](Self::or_stop) is said.
///
/// # Examples
///
/// ```
/// use loopkeeper::host::Requires;
/// use loopkeeper::{ComponentConfig, host::component};
/// use std::time::Duration;
///
/// let config = ComponentConfig::new("orders", component(|_| Ok(()), |_| Ok(())))
///     .requires(["config"])
///     .requires([Requires::new("db").or_stop().timeout(Duration::from_secs(60))]);
/// ```
#[derive(Debug, Clone)]
#[must_use = "it is for a component's settings"]
pub struct Requires {
    name: String,
    or_stop: bool,
    timeout: Option<Duration>,
}

impl Requires {
    /// The component of this name has to be ready before the start.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), or_stop: false, timeout: None }
    }

    /// It has to stay ready, too: while it is not, the one that requires it is
    /// stopped and waits.
    pub fn or_stop(mut self) -> Self {
        self.or_stop = true;
        self
    }

    /// How long it is waited for, each time that the component has to wait,
    /// before that counts as a failure of the component. Counts from when it
    /// was found not ready. Defaults to for ever, or as long as
    /// [`ComponentConfig::wait_timeout`] allows for all together.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }
}

impl From<&str> for Requires {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl From<String> for Requires {
    fn from(name: String) -> Self {
        Self::new(name)
    }
}

impl From<&Name> for Requires {
    fn from(name: &Name) -> Self {
        Self::new(name.as_str())
    }
}

/// A requirement whose name was checked.
#[derive(Debug, Clone)]
pub(super) struct Require {
    pub(super) name: Name,
    pub(super) or_stop: bool,
    pub(super) timeout: Option<Duration>,
}

/// A component and how its host treats it.
///
/// # Examples
///
/// ```
/// use loopkeeper::host::{RestartPolicy, component};
/// use loopkeeper::{ComponentConfig, Context, Host, HostConfig};
/// use std::time::Duration;
///
/// let host = Host::new(HostConfig::default())?;
/// host.register_with(
///     ComponentConfig::new("db", component(|_: &Context| Ok(()), |_: &Context| Ok(())))
///         .restart(RestartPolicy::Transient)
///         .start_timeout(Duration::from_secs(5)),
/// )?;
/// # Ok::<(), loopkeeper::Error>(())
/// ```
#[must_use = "a component does nothing until a host has it"]
pub struct ComponentConfig {
    name: String,
    component: Box<dyn Component>,
    requires: Vec<Requires>,
    restart: Restart,
    start_timeout: Option<Duration>,
    stop_timeout: Option<Duration>,
    wait_timeout: Option<Duration>,
    critical: bool,
}

impl ComponentConfig {
    /// A component under a name. The name is checked when the host takes it.
    pub fn new(name: impl Into<String>, component: impl Component + 'static) -> Self {
        Self::boxed(name, Box::new(component))
    }

    /// As [`new`](Self::new), for what a factory made.
    pub fn boxed(name: impl Into<String>, component: Box<dyn Component>) -> Self {
        Self {
            name: name.into(),
            component,
            requires: Vec::new(),
            restart: Restart::default(),
            start_timeout: None,
            stop_timeout: None,
            wait_timeout: None,
            critical: true,
        }
    }

    /// A component that is made afresh by `make` for each start, and dropped
    /// after each stop: no run sees what an earlier one left behind.
    pub fn made_by<C, F>(name: impl Into<String>, make: F) -> Self
    where
        C: Component + 'static,
        F: FnMut() -> std::result::Result<C, BoxError> + Send + 'static,
    {
        Self::new(name, MadeBy { make, made: None })
    }

    /// Which components have to be ready before this one starts. Adds to
    /// what was said before.
    pub fn requires<R: Into<Requires>>(mut self, requires: impl IntoIterator<Item = R>) -> Self {
        self.requires.extend(requires.into_iter().map(Into::into));
        self
    }

    /// Whether and how it is started again when it fails after its start.
    /// Defaults to [`Restart::default`]: always, with growing delays, at most
    /// five times a minute.
    pub fn restart(mut self, restart: impl Into<Restart>) -> Self {
        self.restart = restart.into();
        self
    }

    /// How long its `start` may take. Defaults to what the host says.
    pub fn start_timeout(mut self, timeout: Duration) -> Self {
        self.start_timeout = Some(timeout);
        self
    }

    /// How long its `stop` may take. Defaults to what the host says.
    pub fn stop_timeout(mut self, timeout: Duration) -> Self {
        self.stop_timeout = Some(timeout);
        self
    }

    /// How long it waits for all that it requires before that counts as a
    /// failure of its own; see [`Requires::timeout`] for a time of each.
    /// Defaults to for ever.
    pub fn wait_timeout(mut self, timeout: Duration) -> Self {
        self.wait_timeout = Some(timeout);
        self
    }

    /// Says that the whole is degraded, not down, while this component is.
    /// Components are critical unless this is called.
    pub fn optional(mut self) -> Self {
        self.critical = false;
        self
    }

    /// The name it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn into_parts(self, host: &HostConfig) -> Result<(Spec, Box<dyn Component>)> {
        let name = Name::new(&self.name)?;
        let times = [
            ("start_timeout", self.start_timeout),
            ("stop_timeout", self.stop_timeout),
            ("wait_timeout", self.wait_timeout),
        ];
        for (key, value) in times {
            if value.is_some_and(|value| value.is_zero()) {
                return Err(Error::invalid(format!("{name}: {key}: must be more than zero")));
            }
        }
        self.restart.check().map_err(|error| Error::invalid(format!("{name}: {error}")))?;
        let mut requires: Vec<Require> = Vec::new();
        for require in &self.requires {
            let Requires { name: required, or_stop, timeout } = require;
            let require = Require { name: Name::new(required)?, or_stop: *or_stop, timeout: *timeout };
            if timeout.is_some_and(|timeout| timeout.is_zero()) {
                let text = format!("{name}: requires {required}: timeout: must be more than zero");
                return Err(Error::invalid(text));
            }
            match requires.iter_mut().find(|other| other.name == require.name) {
                // Said twice: the stricter one holds.
                Some(other) => {
                    other.or_stop |= require.or_stop;
                    other.timeout = other.timeout.into_iter().chain(require.timeout).min();
                }
                None => requires.push(require),
            }
        }
        let spec = Spec {
            name,
            requires,
            restart: self.restart,
            start_timeout: self.start_timeout.unwrap_or(host.start_timeout),
            stop_timeout: self.stop_timeout.unwrap_or(host.stop_timeout),
            wait_timeout: self.wait_timeout,
            critical: self.critical,
        };
        Ok((spec, self.component))
    }
}

impl fmt::Debug for ComponentConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ComponentConfig")
            .field("name", &self.name)
            .field("requires", &self.requires)
            .field("restart", &self.restart)
            .field("start_timeout", &self.start_timeout)
            .field("stop_timeout", &self.stop_timeout)
            .field("wait_timeout", &self.wait_timeout)
            .field("critical", &self.critical)
            .finish_non_exhaustive()
    }
}

/// A component's settings, checked.
#[derive(Debug, Clone)]
pub(super) struct Spec {
    pub(super) name: Name,
    pub(super) requires: Vec<Require>,
    pub(super) restart: Restart,
    pub(super) start_timeout: Duration,
    pub(super) stop_timeout: Duration,
    pub(super) wait_timeout: Option<Duration>,
    pub(super) critical: bool,
}

/// A component from two closures.
///
/// # Examples
///
/// ```
/// use loopkeeper::Context;
/// use loopkeeper::host::component;
///
/// let greeter = component(|_: &Context| Ok(println!("hello")), |_: &Context| Ok(println!("bye")));
/// ```
pub fn component<S, E>(start: S, stop: E) -> impl Component
where
    S: FnMut(&Context) -> std::result::Result<(), BoxError> + Send,
    E: FnMut(&Context) -> std::result::Result<(), BoxError> + Send,
{
    Closures { start, stop }
}

struct Closures<S, E> {
    start: S,
    stop: E,
}

impl<S, E> Component for Closures<S, E>
where
    S: FnMut(&Context) -> std::result::Result<(), BoxError> + Send,
    E: FnMut(&Context) -> std::result::Result<(), BoxError> + Send,
{
    fn start(&mut self, cx: &Context) -> std::result::Result<(), BoxError> {
        (self.start)(cx)
    }

    fn stop(&mut self, cx: &Context) -> std::result::Result<(), BoxError> {
        (self.stop)(cx)
    }
}

struct MadeBy<C, F> {
    make: F,
    made: Option<C>,
}

impl<C, F> Component for MadeBy<C, F>
where
    C: Component,
    F: FnMut() -> std::result::Result<C, BoxError> + Send,
{
    fn start(&mut self, cx: &Context) -> std::result::Result<(), BoxError> {
        // One whose stop failed is still here, and may be at work.
        let component = match &mut self.made {
            Some(component) => component,
            made => made.insert((self.make)()?),
        };
        component.start(cx)
    }

    fn stop(&mut self, cx: &Context) -> std::result::Result<(), BoxError> {
        if let Some(component) = &mut self.made {
            component.stop(cx)?;
        }
        self.made = None;
        Ok(())
    }
}
