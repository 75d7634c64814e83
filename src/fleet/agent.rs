//! Who does the work.
//!
//! Two facts are kept apart: the *status*, which only an administrator
//! changes, and the *health*, which follows from heartbeats. A heartbeat
//! cannot undo an administrator's decision, because it does not write it.

use serde::Serialize;

use super::id::{AgentId, TenantId};
use super::word::words;
use crate::error::{Error, Result};
use crate::stamp::Stamp;

words! {
    /// What an agent is.
    pub enum AgentKind as "kind of agent" {
        /// Runs commands.
        Worker = "worker",
        /// Runs commands and reports on its machine.
        Agent = "agent",
        /// Scans.
        Scanner = "scanner",
        /// Collects.
        Collector = "collector",
        /// Serves all tenants.
        Platform = "platform",
        /// Runs jobs of a pipeline.
        Runner = "runner",
        /// Only reports.
        Sensor = "sensor",
    }
}

words! {
    /// What an administrator decided about an agent.
    pub enum AgentStatus as "status of an agent" {
        /// May claim work.
        Active = "active",
        /// May finish what it has, and claims nothing new.
        Disabled = "disabled",
        /// Is out for good: its key is not taken any more, its leases are not
        /// renewed.
        Revoked = "revoked",
    }
}

impl AgentStatus {
    /// Whether an administrator may change the one into the other. The same
    /// again is allowed and changes nothing; nothing leads back from revoked.
    #[must_use]
    pub const fn may_become(self, next: Self) -> bool {
        !matches!((self, next), (Self::Revoked, Self::Active | Self::Disabled))
    }
}

words! {
    /// What is known of an agent's machine.
    pub enum AgentCondition as "health of an agent" {
        /// Registered and not heard of since.
        Unknown = "unknown",
        /// Heard of lately.
        Online = "online",
        /// Not heard of for too long.
        Offline = "offline",
        /// Heard of lately, and says itself that it cannot work.
        Error = "error",
    }
}

/// An agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Agent {
    /// Its number.
    pub id: AgentId,
    /// The tenant it works for; `None` for one of the platform, which works
    /// for all.
    pub tenant: Option<TenantId>,
    /// Its name, for people.
    pub name: String,
    /// What it is.
    pub kind: AgentKind,
    /// What an administrator decided.
    pub status: AgentStatus,
    /// Why, in the administrator's words.
    pub status_message: Option<String>,
    /// What heartbeats say.
    pub health: AgentCondition,
    /// What went wrong, when the health is `error`.
    pub last_error: Option<String>,
    /// The version it runs.
    pub version: Option<String>,
    /// The machine it runs on.
    pub hostname: Option<String>,
    /// Where it is.
    pub region: Option<String>,
    /// The load of its processors in percent, as it told last.
    pub cpu_percent: Option<i64>,
    /// The memory in use in percent, as it told last.
    pub memory_percent: Option<i64>,
    /// How many commands it may hold at once.
    pub max_jobs: i64,
    /// How many it holds now: counted, never kept, so it cannot be wrong.
    pub held_jobs: i64,
    /// Its last heartbeat.
    pub last_seen_at: Option<Stamp>,
    /// When it was last found to be offline.
    pub last_offline_at: Option<Stamp>,
    /// When it registered.
    pub created_at: Stamp,
}

impl Agent {
    /// Whether nobody may count on it: revoked, or found to be offline.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.status == AgentStatus::Revoked || self.health == AgentCondition::Offline
    }
}

/// What an agent says of itself when it registers.
///
/// # Examples
///
/// ```
/// use loopkeeper::fleet::{AgentKind, NewAgent};
///
/// let agent = NewAgent::new("scanner-7", AgentKind::Scanner).tool("nmap").capability("ipv6").max_jobs(2);
/// assert!(agent.check().is_ok());
/// assert!(NewAgent::new("", AgentKind::Worker).check().is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "an agent registers through a store"]
pub struct NewAgent {
    pub(crate) name: String,
    pub(crate) kind: AgentKind,
    pub(crate) offers: Vec<String>,
    pub(crate) max_jobs: i64,
    pub(crate) version: Option<String>,
    pub(crate) hostname: Option<String>,
    pub(crate) region: Option<String>,
}

impl NewAgent {
    /// An agent without capabilities and tools that holds five commands at
    /// most.
    pub fn new(name: impl Into<String>, kind: AgentKind) -> Self {
        let name = name.into();
        Self { name, kind, offers: Vec::new(), max_jobs: 5, version: None, hostname: None, region: None }
    }

    /// Adds something that it can do.
    pub fn capability(mut self, name: impl AsRef<str>) -> Self {
        self.offers.push(capability(name.as_ref()));
        self
    }

    /// Adds a program that it has.
    pub fn tool(mut self, name: impl AsRef<str>) -> Self {
        self.offers.push(tool(name.as_ref()));
        self
    }

    /// How many commands it may hold at once, 1 to 10,000. Defaults to 5.
    pub fn max_jobs(mut self, n: u32) -> Self {
        self.max_jobs = i64::from(n);
        self
    }

    /// The version it runs. Defaults to none.
    pub fn version(mut self, text: impl Into<String>) -> Self {
        self.version = Some(text.into());
        self
    }

    /// The machine it runs on. Defaults to none.
    pub fn hostname(mut self, text: impl Into<String>) -> Self {
        self.hostname = Some(text.into());
        self
    }

    /// Where it is. Defaults to none.
    pub fn region(mut self, text: impl Into<String>) -> Self {
        self.region = Some(text.into());
        self
    }

    /// Refuses what cannot be kept.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`; the text names the field.
    pub fn check(&self) -> Result<()> {
        check_text("name", &self.name, MAX_NAME)?;
        if !(1..=10_000).contains(&self.max_jobs) {
            return Err(Error::invalid(format!(
                "max_jobs: must be from 1 to 10000, found {}",
                self.max_jobs
            )));
        }
        let texts = [("version", &self.version), ("hostname", &self.hostname), ("region", &self.region)];
        for (key, text) in texts {
            if let Some(text) = text {
                check_text(key, text, MAX_NAME)?;
            }
        }
        check_offers(&self.offers)
    }
}

/// What an agent says with each heartbeat.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use = "a heartbeat is sent through a store"]
pub struct Heartbeat {
    pub(crate) error: Option<String>,
    pub(crate) cpu_percent: Option<i64>,
    pub(crate) memory_percent: Option<i64>,
}

impl Heartbeat {
    /// All is well, and no more is said.
    pub fn new() -> Self {
        Self::default()
    }

    /// The agent lives and cannot work: its health becomes `error`, and it
    /// claims nothing.
    pub fn error(mut self, text: impl Into<String>) -> Self {
        self.error = Some(crate::error::clip(text.into().replace('\0', " "), MAX_MESSAGE));
        self
    }

    /// The load of its processors, 0 to 100; more counts as 100.
    pub fn cpu_percent(mut self, percent: u8) -> Self {
        self.cpu_percent = Some(i64::from(percent.min(100)));
        self
    }

    /// The memory in use, 0 to 100; more counts as 100.
    pub fn memory_percent(mut self, percent: u8) -> Self {
        self.memory_percent = Some(i64::from(percent.min(100)));
        self
    }
}

/// The longest name, in bytes.
pub(crate) const MAX_NAME: usize = 255;
/// The longest text that somebody wrote about a failure, in bytes.
pub(crate) const MAX_MESSAGE: usize = 4096;
const MAX_OFFERS: usize = 256;

/// A capability and a tool of one name are different things.
pub(crate) fn capability(name: &str) -> String {
    format!("capability:{name}")
}

pub(crate) fn tool(name: &str) -> String {
    format!("tool:{name}")
}

pub(crate) fn check_text(key: &str, text: &str, max: usize) -> Result<()> {
    if text.is_empty() {
        return Err(Error::invalid(format!("{key}: must not be empty")));
    }
    if text.len() > max {
        return Err(Error::invalid(format!("{key}: at most {max} bytes, found {}", text.len())));
    }
    // PostgreSQL cannot keep a zero byte, and a name with a line break in it
    // forges lines of logs.
    if let Some(found) = text.chars().find(|c| c.is_control()) {
        return Err(Error::invalid(format!("{key}: no control characters, found {found:?}")));
    }
    Ok(())
}

pub(crate) fn check_offers(offers: &[String]) -> Result<()> {
    if offers.len() > MAX_OFFERS {
        let found = offers.len();
        return Err(Error::invalid(format!("capabilities and tools: at most {MAX_OFFERS}, found {found}")));
    }
    for offer in offers {
        let (key, name) = offer.split_once(':').unwrap_or(("capability", offer));
        check_text(key, name, MAX_NAME)?;
    }
    Ok(())
}
