//! Operations of a host that were begun and not waited for.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::runner::{Listener, Shared};
use crate::clock::real_deadline;
use crate::error::Result;

/// An operation of a host that was begun. Dropping it does not undo it; what
/// came of it is told by events, too.
///
/// # Examples
///
/// ```
/// use loopkeeper::host::component;
/// use loopkeeper::{ComponentConfig, Context, Host, HostConfig};
///
/// let host = Host::new(HostConfig::default())?;
/// host.start()?;
/// let slow = component(|cx: &Context| Ok(cx.sleep(std::time::Duration::from_millis(5))?), |_| Ok(()));
/// let pending = host.begin_deploy(ComponentConfig::new("slow", slow))?;
/// // .. other work ..
/// pending.wait()?;
/// # Ok::<(), loopkeeper::Error>(())
/// ```
#[must_use = "only this says how it went, besides the events"]
pub struct Pending {
    pub(super) shared: Arc<Shared>,
    pub(super) op: u64,
}

impl Pending {
    /// How it went, once it is over, as often as it is asked for.
    pub fn try_wait(&self) -> Option<Result<()>> {
        self.shared.lock().look(self.op)
    }

    /// Blocks until it is over, and says how it went, or until `timeout` has
    /// passed. Real time.
    pub fn wait_timeout(&self, timeout: Duration) -> Option<Result<()>> {
        self.shared.wait(Some(real_deadline(timeout)), |state| state.look(self.op))
    }

    /// Blocks until it is over.
    ///
    /// # Errors
    ///
    /// Those of the operation.
    pub fn wait(self) -> Result<()> {
        self.shared.wait(None, |state| state.answer(self.op)).unwrap_or(Ok(()))
    }

    /// Has it told how it went, instead.
    pub(super) fn tell(self, listener: Listener) {
        self.shared.act(|state, _, _| state.listen(self.op, listener));
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.shared.lock().forget(self.op);
    }
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").field("op", &self.op).finish_non_exhaustive()
    }
}
