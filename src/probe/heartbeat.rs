//! Asks whether somebody has said lately that it is alive.

use std::sync::Arc;
use std::time::Duration;

use super::Probe;
use crate::clock::Tick;
use crate::component::Context;
use crate::duration::GoDuration;
use crate::env::{Env, Pulse};
use crate::error::{BoxError, Error, ErrorKind, Result};
use crate::name::Name;

/// Why a checker cannot wait for one.
pub(crate) const NOT_OF_A_CHECKER: &str = "a checker is asked at the times of its monitor and hears of no heartbeat, expected a watcher that has this probe";

/// Asks whether somebody has said within `grace` that it is alive.
///
/// See [`HeartbeatProbe`].
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use loopkeeper::probe::Heartbeat;
/// use loopkeeper::{Env, Watcher, WatcherConfig, probe};
///
/// let env = Env::new()?;
/// let ingest = WatcherConfig::new("ingest", probe::heartbeat(Duration::from_secs(30)));
/// let ingest = Watcher::start_in(&env, ingest)?;
/// // For the thread that ingests, to use again and again.
/// let heart = Heartbeat::new(&env, "ingest")?;
/// heart.beat()?;
/// assert!(ingest.wait_ready(Duration::from_secs(5)));
/// heart.down("the disk is full")?;
/// # Ok::<(), loopkeeper::Error>(())
/// ```
///
/// As a watcher's probe in a descriptor:
///
/// ```json
/// {"name": "ingest", "type": "watcher",
///  "config": {"probe": {"heartbeat": {"grace": "30s"}}}}
/// ```
#[must_use = "a probe does nothing until it is asked"]
pub fn heartbeat(grace: Duration) -> HeartbeatProbe {
    HeartbeatProbe { grace, first_asked: None, own: Arc::default() }
}

/// Compares the moment of the last heartbeat under its watcher's name with the
/// present one; made by [`heartbeat`].
///
/// Heartbeats come from a [`Heartbeat`], from
/// [`Env::heartbeat`](crate::Env::heartbeat), from C by `lk_env_heartbeat`,
/// and over HTTP by `POST /heartbeat/NAME`. The probe waits for nothing:
///
/// * One that came within the grace is a success. Its watcher asks again when
///   the grace is over, so one that stays away is noticed then, whatever the
///   poll interval.
/// * One that comes back, and one that says [`down`](Heartbeat::down), has its
///   watcher ask at once.
/// * Down wins: it is believed at once, whatever the failure threshold, and
///   until the next beat. A beat resets everything.
/// * Before the first heartbeat nothing is known, until a grace has passed
///   since the probe was first asked: a program that starts has time to say
///   its first word.
///
/// Wall-clock jumps do not matter; a machine that sleeps does not age them.
///
/// # Errors
///
/// `Probe` when the last one was too long ago, said down, or there was none;
/// `InvalidArgument` when the grace is zero.
#[derive(Debug)]
pub struct HeartbeatProbe {
    grace: Duration,
    first_asked: Option<Tick>,
    /// Has what is known of its name kept.
    own: Arc<()>,
}

impl Probe for HeartbeatProbe {
    fn check(&self) -> Result<()> {
        if self.grace.is_zero() {
            return Err(Error::invalid("grace: must be more than zero"));
        }
        Ok(())
    }

    fn is_of_a_watcher(&self) -> bool {
        true
    }

    fn probe(&mut self, cx: &Context) -> Result<(), BoxError> {
        self.check()?;
        let now = cx.env().clock().now();
        let first_asked = *self.first_asked.get_or_insert(now);
        let failed = |text: String| Error::new(ErrorKind::Probe).context(format!("heartbeat: {text}"));
        let grace = GoDuration(self.grace);
        Err(match cx.env().pulse(cx.name(), self.grace, &self.own) {
            Pulse::Last(age) if age <= self.grace => {
                // Just after it, when the last has become too old.
                cx.ask_again_in((self.grace - age).saturating_add(Duration::from_millis(1)));
                return Ok(());
            }
            Pulse::Last(age) => failed(format!("the last was {} ago, allowed is {grace}", GoDuration(age))),
            Pulse::Down(reason) => failed(format!("it says that it is down: {reason}")).certain(),
            Pulse::None => match self.grace.saturating_sub(now.since(first_asked)) {
                Duration::ZERO => failed(format!("none within {grace}")),
                left => failed("none yet".to_owned()).undecided().with_retry_after(left),
            },
        }
        .into())
    }
}

/// Says again and again that something is alive, for the
/// [`heartbeat`] probe of the watcher of its name. Cheap to clone.
///
/// # Threads
///
/// Any; a beat takes no longer than a lock.
#[derive(Debug, Clone)]
pub struct Heartbeat {
    env: Env,
    name: Name,
}

impl Heartbeat {
    /// The heartbeat of `name` in `env`. The watcher may come later, and be
    /// replaced.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` when the name cannot be one.
    pub fn new(env: &Env, name: &str) -> Result<Self> {
        Ok(Self { env: env.clone(), name: Name::new(name)? })
    }

    /// Says that it is alive.
    ///
    /// # Errors
    ///
    /// `NotFound` while no loop has the name, or the one that has it waits for
    /// no heartbeat.
    pub fn beat(&self) -> Result<()> {
        self.env.heartbeat(self.name.as_str())
    }

    /// Says that it is down, and why: believed at once, until the next
    /// [`beat`](Self::beat).
    ///
    /// # Errors
    ///
    /// As [`beat`](Self::beat).
    pub fn down(&self, reason: &str) -> Result<()> {
        self.env.heartbeat_down(self.name.as_str(), reason)
    }
}
