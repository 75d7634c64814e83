//! One call of a probe or a checker, made by hand and told step by step.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::cancel::CancelToken;
use crate::clock::real_deadline;
use crate::component::Context;
use crate::env::Env;
use crate::error::{BoxError, Error, ErrorKind, Result};
use crate::event::Health;
use crate::name::Name;
use crate::primitive::Mutex;
use crate::step::{Step, Steps};
use crate::thread::{Straggler, Task, caught};

/// How much longer than its call a trial waits, so that a call which ends at
/// its deadline tells what it waited for.
const LEAD: Duration = Duration::from_millis(200);

type Call = Box<dyn FnOnce(&Context) -> std::result::Result<Found, BoxError> + Send>;

/// What a call found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) health: Health,
    pub(crate) reason: Option<String>,
    pub(crate) items: Vec<(String, Health, Option<String>)>,
}

/// One call of a probe or a checker, to be made by hand:
/// [`WatcherConfig::into_trial`](crate::WatcherConfig::into_trial),
/// [`MonitorConfig::into_trials`](crate::MonitorConfig::into_trials).
///
/// # Examples
///
/// ```
/// use loopkeeper::{Env, Health, WatcherConfig, probe};
///
/// let env = Env::new()?;
/// let trial = WatcherConfig::new("broker", probe::tcp("127.0.0.1:1")).into_trial()?;
/// let report = trial.run(&env)?;
/// assert_eq!(report.health, Health::Down);
/// assert_eq!(&*report.steps[0].text, "connecting to 127.0.0.1:1");
/// # Ok::<(), loopkeeper::Error>(())
/// ```
#[must_use = "a trial does nothing until it is run"]
pub struct Trial {
    name: Name,
    timeout: Duration,
    call: Call,
}

/// How a [`Trial`] went.
#[derive(Debug)]
#[non_exhaustive]
pub struct TrialReport {
    /// Whose probe or checker it is.
    pub name: Name,
    /// What came of it. Unknown when that cannot be told yet.
    pub health: Health,
    /// Why it is not ready.
    pub reason: Option<String>,
    /// What it did, and when.
    pub steps: Vec<Step>,
    /// How long it took.
    pub took: Duration,
    /// The items that a checker reported, by name, with their state and the
    /// reason for it.
    pub items: Vec<(String, Health, Option<String>)>,
    /// The thread of a call that did not end in its time. It ends when the
    /// call returns.
    pub straggler: Option<Straggler>,
}

impl Trial {
    pub(crate) fn new(
        name: Name,
        timeout: Duration,
        call: impl FnOnce(&Context) -> std::result::Result<Found, BoxError> + Send + 'static,
    ) -> Self {
        Self { name, timeout, call: Box::new(call) }
    }

    /// How long it may take.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Whose probe or checker it is.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Makes the call on a thread of its own, and waits for it a little longer
    /// than it may take; real time, whatever clock `env` has.
    ///
    /// # Errors
    ///
    /// `Spawn` or `Budget` when there is no thread to be had. What the call
    /// returns is in the report.
    pub fn run(self, env: &Env) -> Result<TrialReport> {
        let Self { name, timeout, call } = self;
        let (steps, cancel) = (Arc::new(Steps::default()), CancelToken::new());
        let result = Arc::new(Mutex::new(None));
        let body = {
            let (env, name, steps) = (env.clone(), name.clone(), steps.clone());
            let (cancel, result) = (cancel.clone(), result.clone());
            move || {
                let deadline = env.clock().now() + timeout;
                let reporter = crate::component::Reporter::default();
                let mut cx = Context::for_call(&env, name, cancel, deadline, reporter);
                cx.set_steps(steps);
                cx.keep_steps();
                let begun = env.clock().now();
                // A panic is a result, and what a user's error holds is dropped here.
                let found = caught(|| call(&cx).map_err(|error| Error::from_user(&*error)));
                let took = env.clock().now().since(begun);
                *result.lock() = Some((found.and_then(|found| found), took));
            }
        };
        let begun = env.clock().now();
        let task = Task::spawn(env.budget(), format!("try/{name}"), env.stack_size(), body)?;
        let mut straggler = None;
        if task.join_until(real_deadline(timeout.saturating_add(LEAD))).is_none() {
            cancel.cancel();
            if task.join_until(real_deadline(LEAD)).is_none() {
                let doing = steps.current().map(|(_, text)| text);
                let stuck_for = env.clock().now().since(begun);
                straggler = Some(Straggler::new(name.as_str(), &task, "its call", stuck_for).doing(doing));
            }
        }
        let (found, took) = result.lock().take().unwrap_or_else(|| {
            let error = Error::new(ErrorKind::Timeout).context("no answer in its time");
            (Err(error), env.clock().now().since(begun))
        });
        let steps = steps.kept();
        Ok(match found {
            Ok(Found { health, reason, items }) => {
                TrialReport { name, health, reason, steps, took, items, straggler }
            }
            Err(error) => {
                let health = if error.is_undecided() { Health::Unknown } else { Health::Down };
                let reason = Some(error.report().to_string());
                TrialReport { name, health, reason, steps, took, items: Vec::new(), straggler }
            }
        })
    }
}

impl fmt::Debug for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trial")
            .field("name", &self.name)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
