//! Asks whether somebody has said lately that it is alive.

use std::time::Duration;

use super::Probe;
use crate::component::Context;
use crate::duration::GoDuration;
use crate::error::{BoxError, Error, ErrorKind, Result};

/// Asks whether somebody has said within `grace` that it is alive.
///
/// See [`HeartbeatProbe`].
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use loopkeeper::{Env, Watcher, WatcherConfig, probe};
///
/// let env = Env::new()?;
/// let ingest = WatcherConfig::new("ingest", probe::heartbeat(Duration::from_secs(30)));
/// let ingest = Watcher::start_in(&env, ingest)?;
/// env.heartbeat("ingest")?; // from the thread that ingests, again and again
/// assert!(ingest.wait_ready(Duration::from_secs(5)));
/// # Ok::<(), loopkeeper::Error>(())
/// ```
#[must_use = "a probe does nothing until it is asked"]
pub fn heartbeat(grace: Duration) -> HeartbeatProbe {
    HeartbeatProbe { grace }
}

/// Compares the moment of the last [`Env::heartbeat`](crate::Env::heartbeat)
/// under its watcher's name with the present one; made by [`heartbeat`].
///
/// A heartbeat that stays away is noticed with the next probe after its grace,
/// so let the poll interval be shorter than that; one that comes back has its
/// watcher probe at once.
///
/// # Errors
///
/// `Probe` when the last one was too long ago or there was none yet;
/// `InvalidArgument` when the grace is zero.
#[derive(Debug, Clone)]
pub struct HeartbeatProbe {
    grace: Duration,
}

impl Probe for HeartbeatProbe {
    fn check(&self) -> Result<()> {
        if self.grace.is_zero() {
            return Err(Error::invalid("grace: must be more than zero"));
        }
        Ok(())
    }

    fn probe(&mut self, cx: &Context) -> Result<(), BoxError> {
        self.check()?;
        let text = match cx.env().last_heartbeat(cx.name(), self.grace) {
            Some(age) if age <= self.grace => return Ok(()),
            Some(age) => {
                format!("the last was {} ago, allowed is {}", GoDuration(age), GoDuration(self.grace))
            }
            None => "none yet".to_owned(),
        };
        Err(Error::new(ErrorKind::Probe).context(format!("heartbeat: {text}")).into())
    }
}
