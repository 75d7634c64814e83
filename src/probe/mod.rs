//! Probes: one bounded question about the world.
//!
//! A probe blocks its loop's thread and should be over by the deadline of its
//! context; one that is not is reported as timed out while it is still stuck.
//! The shipped probes end by themselves: at the deadline, or a little before
//! it so that they still tell what they waited for, and at once on cancel.
//! They wait for sockets and processes in real time also where a test owns
//! the clock. Their errors say what was tried, what came back and how long it
//! took; none holds a password or what a command line says.
#![cfg_attr(
    all(doc, feature = "http-client"),
    doc = "Each kind has a page, with a descriptor, in [`probes`](crate::_documentation::probes)."
)]

use crate::component::Context;
use crate::error::{BoxError, Result};

pub(crate) mod connect;
mod descriptor;
pub(crate) mod disk;
mod dns;
mod exec;
pub(crate) mod file_age;
mod heartbeat;
#[cfg(feature = "http-client")]
pub(crate) mod http;
pub(crate) mod tcp;
pub(crate) mod text;
mod unix;
pub(crate) mod wait;

pub use descriptor::decode;
pub(crate) use descriptor::{command, decode_for_checker, program};
pub use disk::{DiskProbe, disk};
pub use dns::{DnsProbe, dns};
pub use exec::{ExecProbe, exec};
pub use file_age::{FileAgeProbe, file_age};
pub(crate) use heartbeat::NOT_OF_A_CHECKER;
pub use heartbeat::{Heartbeat, HeartbeatProbe, heartbeat};
#[cfg(feature = "http-client")]
pub use http::{HttpProbe, http};
pub use tcp::{TcpProbe, tcp};
pub use unix::{UnixProbe, unix};

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

    /// Says whether the probe's own settings can be used at all: something
    /// that asking would not change. Whoever is handed a probe may ask before
    /// the first call. Defaults to yes.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` that names the setting.
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// Whether it has its watcher ask, so that nobody else can have it.
    #[doc(hidden)]
    fn is_of_a_watcher(&self) -> bool {
        false
    }
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

    fn check(&self) -> Result<()> {
        (**self).check()
    }

    fn is_of_a_watcher(&self) -> bool {
        (**self).is_of_a_watcher()
    }
}
