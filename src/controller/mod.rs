//! Keeping a program's state as it should be: controllers that run again and
//! again, each on a thread of its own.
//!
//! A [`Controller`] looks at the state it cares for and changes what is not
//! as it should be. A [`ControllerManager`] holds many; a [`Reconciler`] runs
//! one. What they decide is pure code, in `machine`.

mod config;
pub mod descriptor;
mod machine;
mod manager;
mod reconciler;
mod steps;

use std::sync::Arc;
use std::time::Duration;

use crate::component::Context;
use crate::error::{BoxError, clip};

pub use crate::status::{ControllerStatus, RunResult};
pub use config::{BackoffConfig, ControllerConfig, ControllerManagerConfig, Overrun};
pub use manager::ControllerManager;
pub use reconciler::Reconciler;
pub use steps::Steps;

/// Makes a part of the program's state as it should be.
///
/// # Contract
///
/// `reconcile` looks at what is, not at what changed: it runs at once, then at
/// regular times, after a failure and when it is triggered, and it must do no
/// harm to run twice. It is called on its controller's own thread, `ctl/<name>`,
/// and never twice at once.
///
/// * `Ok` says how much was done, and may ask for another run soon.
/// * `Err` is tried again with growing delays, but for
///   [`Error::terminal`](crate::Error::terminal), which waits for the next
///   regular run. Where several steps may fail, [`Steps`] keeps what each did.
/// * A panic counts as an error, and the controller is called again: what it
///   half did must not be in its way.
/// * It should return before [`Context::deadline`]. If it does not, that is
///   told while it is still stuck, the answer is thrown away when it comes,
///   and no other controller is held up.
/// * When [`Context::is_cancelled`] it should return soon: a stop waits for it,
///   as long as it may. Whatever it returns then is no failure.
/// * With [`Context::is_dry_run`] it should say what it would do, and change
///   nothing.
///
/// Closures are controllers.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use loopkeeper::controller::Outcome;
/// use loopkeeper::{BoxError, Context, Controller};
///
/// trait LeaseStore: Send + Sync {
///     fn expired(&self) -> Result<usize, BoxError>;
///     fn expire(&self, within: Duration) -> Result<usize, BoxError>;
/// }
///
/// struct Leases { store: Arc<dyn LeaseStore> }
/// impl Controller for Leases {
///     fn reconcile(&mut self, cx: &Context) -> Result<Outcome, BoxError> {
///         if cx.is_dry_run() {
///             return Ok(Outcome::processed(self.store.expired()?));
///         }
///         let expired = self.store.expire(cx.remaining())?;
///         Ok(Outcome::processed(expired))
///     }
/// }
/// ```
pub trait Controller: Send {
    /// Runs once.
    ///
    /// # Errors
    ///
    /// Whatever was not done.
    fn reconcile(&mut self, cx: &Context) -> Result<Outcome, BoxError>;
}

impl<F> Controller for F
where
    F: FnMut(&Context) -> Result<Outcome, BoxError> + Send,
{
    fn reconcile(&mut self, cx: &Context) -> Result<Outcome, BoxError> {
        self(cx)
    }
}

impl Controller for Box<dyn Controller> {
    fn reconcile(&mut self, cx: &Context) -> Result<Outcome, BoxError> {
        (**self).reconcile(cx)
    }
}

/// What a run did that succeeded.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use loopkeeper::controller::Outcome;
///
/// let batch = 1_000;
/// let deleted = 1_000;
/// let mut outcome = Outcome::processed(deleted);
/// if deleted == batch {
///     // There may be more.
///     outcome = outcome.requeue_after(Duration::from_millis(100));
/// }
/// assert_eq!(outcome.items(), 1_000);
/// assert_eq!(Outcome::default().items(), 0);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use = "an outcome is what a run returns"]
pub struct Outcome {
    items: u64,
    requeue_after: Option<Duration>,
    summary: Option<Arc<str>>,
}

/// The longest summary, in bytes.
const MAX_SUMMARY: usize = 256;

impl Outcome {
    /// Dealt with this many items.
    pub fn processed(items: usize) -> Self {
        Self { items: items as u64, ..Self::default() }
    }

    /// Asks for another run after a delay, if the next regular one is not
    /// before it. The regular times stay as they are.
    pub fn requeue_after(mut self, delay: Duration) -> Self {
        self.requeue_after = Some(delay);
        self
    }

    /// Says in words what was done, for the status and the event; up to 256
    /// bytes of it are kept.
    pub fn summary(mut self, text: impl Into<String>) -> Self {
        self.summary = Some(clip(text.into(), MAX_SUMMARY).into());
        self
    }

    /// How many items were dealt with.
    #[must_use]
    pub fn items(&self) -> u64 {
        self.items
    }
}
