//! Probes: one bounded question about the world.
//!
//! A probe blocks its loop's thread and should be over by the deadline of its
//! context; one that is not is reported as timed out while it is still stuck.
//! The shipped probes end at the deadline and on cancel by themselves.

use crate::component::Context;
use crate::error::BoxError;

/// Asks one question about a service: can it take work?
///
/// # Contract
///
/// Called on its loop's own thread, one call at a time, with a deadline and a
/// cancel token in the context. `Ok` means ready, any error means not; its
/// text is what people read. A panic counts as an error. A call that runs
/// past its deadline is reported as timed out at once; when it returns, its
/// answer is dropped. It cannot be killed, so block only where
/// [`Context::remaining`] or [`Context::on_cancel`] ends the wait.
///
/// Closures are probes:
///
/// ```
/// use loopkeeper::{BoxError, Context, Probe};
///
/// fn queue_is_short(_: &Context) -> Result<(), BoxError> {
///     let waiting = 3;
///     if waiting < 100 { Ok(()) } else { Err(format!("{waiting} jobs wait").into()) }
/// }
/// let probe: Box<dyn Probe> = Box::new(queue_is_short);
/// ```
pub trait Probe: Send {
    /// Asks.
    ///
    /// # Errors
    ///
    /// Why the service cannot take work.
    fn probe(&mut self, cx: &Context) -> Result<(), BoxError>;
}

impl<F> Probe for F
where
    F: FnMut(&Context) -> Result<(), BoxError> + Send,
{
    fn probe(&mut self, cx: &Context) -> Result<(), BoxError> {
        self(cx)
    }
}

impl Probe for Box<dyn Probe> {
    fn probe(&mut self, cx: &Context) -> Result<(), BoxError> {
        (**self).probe(cx)
    }
}
