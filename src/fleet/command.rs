//! The work: commands of tenants and jobs of the platform, and their states.

use std::time::Duration;

use serde::Serialize;

use super::agent::{MAX_MESSAGE, capability, check_offers, check_text, tool};
use super::id::{AgentId, CommandId, TenantId};
use super::word::words;
use crate::error::{Error, Result, clip};
use crate::stamp::Stamp;

words! {
    /// What a command asks for.
    pub enum CommandKind as "kind of command" {
        /// Scan something.
        Scan = "scan",
        /// Collect something.
        Collect = "collect",
        /// Say how you are.
        HealthCheck = "health_check",
        /// Take a new configuration.
        ConfigUpdate = "config_update",
        /// Cancel something.
        Cancel = "cancel",
        /// Fetch the templates.
        TemplateSync = "template_sync",
        /// Bring the tools up to date.
        UpdateTools = "update_tools",
        /// Run a tool.
        RunTool = "run_tool",
    }
}

words! {
    /// How urgent a command is.
    pub enum Priority as "priority" {
        /// Begins at 250.
        Low = "low",
        /// Begins at 500.
        Normal = "normal",
        /// Begins at 750.
        High = "high",
        /// Begins at 1000.
        Critical = "critical",
    }
}

impl Priority {
    /// What the priority is worth in the queue; the order of the words.
    #[must_use]
    pub const fn base(self) -> i64 {
        match self {
            Self::Low => 250,
            Self::Normal => 500,
            Self::High => 750,
            Self::Critical => 1000,
        }
    }
}

words! {
    /// Where a command stands.
    pub enum CommandState as "state of a command" {
        /// In the queue.
        Pending = "pending",
        /// Claimed by an agent that has not begun.
        Acknowledged = "acknowledged",
        /// An agent is at it.
        Running = "running",
        /// Done.
        Completed = "completed",
        /// Not done, for the reason in its message.
        Failed = "failed",
        /// Somebody did not want it any more.
        Canceled = "canceled",
        /// Nobody took it in time.
        Expired = "expired",
    }
}

/// What can happen to a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// An agent takes it from the queue.
    Claim,
    /// Its holder begins.
    Start,
    /// Its holder has done it.
    Complete,
    /// Its holder could not do it.
    Fail,
    /// Its holder gives it back.
    Release,
    /// Somebody does not want it any more.
    Cancel,
    /// Its holder is gone: back to the queue.
    Requeue,
    /// Its claims are used up.
    GiveUp,
    /// Its time in the queue is over.
    Expire,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 9] = [
        Self::Claim,
        Self::Start,
        Self::Complete,
        Self::Fail,
        Self::Release,
        Self::Cancel,
        Self::Requeue,
        Self::GiveUp,
        Self::Expire,
    ];
}

impl CommandState {
    /// Whether nothing happens to the command any more.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Canceled | Self::Expired)
    }

    /// Whether an agent holds the command.
    #[must_use]
    pub const fn is_held(self) -> bool {
        matches!(self, Self::Acknowledged | Self::Running)
    }

    /// The state after an action; `None` where it cannot happen.
    ///
    /// # Examples
    ///
    /// ```
    /// use loopkeeper::fleet::{Action, CommandState};
    ///
    /// assert_eq!(CommandState::Pending.after(Action::Claim), Some(CommandState::Acknowledged));
    /// assert_eq!(CommandState::Completed.after(Action::Fail), None);
    /// ```
    #[must_use]
    pub const fn after(self, action: Action) -> Option<Self> {
        use {Action as A, CommandState as S};
        match (self, action) {
            (S::Pending, A::Claim) => Some(S::Acknowledged),
            (S::Acknowledged, A::Start) => Some(S::Running),
            (S::Running, A::Complete) => Some(S::Completed),
            (S::Acknowledged | S::Running, A::Fail) => Some(S::Failed),
            (S::Acknowledged | S::Running, A::Release | A::Requeue) => Some(S::Pending),
            (S::Pending | S::Acknowledged | S::Running, A::Cancel) => Some(S::Canceled),
            (S::Pending | S::Acknowledged | S::Running, A::GiveUp) => Some(S::Failed),
            (S::Pending | S::Acknowledged | S::Running, A::Expire) => Some(S::Expired),
            _ => None,
        }
    }
}

/// A command as it stands.
///
/// The stamps always agree with the state; the databases refuse a row in
/// which they do not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Command {
    /// Its number.
    pub id: CommandId,
    /// Whom it is for.
    pub tenant: TenantId,
    /// Whether agents of the platform do it, and not the tenant's own.
    pub platform: bool,
    /// What it asks for.
    pub kind: CommandKind,
    /// How urgent it is.
    pub priority: Priority,
    /// The details, as JSON.
    pub payload: String,
    /// Where it stands.
    pub state: CommandState,
    /// The only agent that may claim it.
    pub pinned_to: Option<AgentId>,
    /// Who holds it, or held it last when it is over.
    pub agent: Option<AgentId>,
    /// Grows with each claim, and when its holder is revoked: each claim has
    /// its number, and nobody with an older one can change anything.
    pub fence: i64,
    /// Moves with every change of the row.
    pub version: i64,
    /// How many claims it has used.
    pub attempts: i64,
    /// How many claims it may use; `None` leaves it to the fleet.
    pub max_attempts: Option<i64>,
    /// How high it stands in the queue.
    pub queue_priority: i64,
    /// How much of that was taken off for its tenant's other jobs.
    pub queue_penalty: i64,
    /// How far it is, in percent, as its holder said last.
    pub progress: Option<i64>,
    /// Why it failed, expired or was cancelled.
    pub message: Option<String>,
    /// What came of it, as JSON.
    pub result: Option<String>,
    /// When it was made.
    pub created_at: Stamp,
    /// Not to be claimed before.
    pub scheduled_at: Option<Stamp>,
    /// Not to be claimed after.
    pub expires_at: Option<Stamp>,
    /// When it came into the queue, this time; the latest expiry counts from
    /// here.
    pub queued_at: Stamp,
    /// When it would have come into the queue had it never left it: moved on
    /// by the time it was held. Its age counts from here.
    pub waiting_since: Stamp,
    /// When its present claim began.
    pub acknowledged_at: Option<Stamp>,
    /// When its holder began.
    pub started_at: Option<Stamp>,
    /// When it was over.
    pub completed_at: Option<Stamp>,
    /// Until when its holder may count on it.
    pub lease_until: Option<Stamp>,
}

/// A command to be put in the queue.
///
/// # Examples
///
/// ```
/// use loopkeeper::fleet::{CommandKind, NewCommand, Priority, TenantId};
///
/// let tenant = TenantId(1);
/// let scan = NewCommand::job(tenant, CommandKind::Scan, r#"{"host": "a"}"#).priority(Priority::High).tool("nmap");
/// assert!(scan.check().is_ok());
///
/// let wrong = NewCommand::command(tenant, CommandKind::Scan, "{host: a}");
/// assert!(wrong.check().unwrap_err().to_string().starts_with("payload: not JSON"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a command is put in the queue through a store"]
pub struct NewCommand {
    pub(crate) tenant: TenantId,
    pub(crate) platform: bool,
    pub(crate) kind: CommandKind,
    pub(crate) priority: Priority,
    pub(crate) payload: String,
    pub(crate) pinned_to: Option<AgentId>,
    pub(crate) needs: Vec<String>,
    pub(crate) max_attempts: Option<i64>,
    pub(crate) scheduled_at: Option<Stamp>,
    pub(crate) expires_at: Option<Stamp>,
}

impl NewCommand {
    /// A job for the agents of the platform. `payload` is JSON, 1 MiB at most.
    pub fn job(tenant: TenantId, kind: CommandKind, payload: impl Into<String>) -> Self {
        Self { platform: true, ..Self::command(tenant, kind, payload) }
    }

    /// A command for the tenant's own agents. `payload` is JSON, 1 MiB at
    /// most.
    pub fn command(tenant: TenantId, kind: CommandKind, payload: impl Into<String>) -> Self {
        Self {
            tenant,
            platform: false,
            kind,
            priority: Priority::Normal,
            payload: payload.into(),
            pinned_to: None,
            needs: Vec::new(),
            max_attempts: None,
            scheduled_at: None,
            expires_at: None,
        }
    }

    /// How urgent it is. Defaults to normal.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// Lets one agent alone claim it, as long as that one lives. Defaults to
    /// any.
    pub fn pinned_to(mut self, agent: AgentId) -> Self {
        self.pinned_to = Some(agent);
        self
    }

    /// Adds something that an agent must be able to do.
    pub fn needs_capability(mut self, name: impl AsRef<str>) -> Self {
        self.needs.push(capability(name.as_ref()));
        self
    }

    /// Adds a program that an agent must have.
    pub fn tool(mut self, name: impl AsRef<str>) -> Self {
        self.needs.push(tool(name.as_ref()));
        self
    }

    /// How many claims it may use, at least 1. Defaults to what the fleet
    /// allows.
    pub fn max_attempts(mut self, n: u32) -> Self {
        self.max_attempts = Some(i64::from(n));
        self
    }

    /// Not to be claimed before. Defaults to at once.
    pub fn scheduled_at(mut self, at: Stamp) -> Self {
        self.scheduled_at = Some(at);
        self
    }

    /// Not to be claimed after. Defaults to never.
    pub fn expires_at(mut self, at: Stamp) -> Self {
        self.expires_at = Some(at);
        self
    }

    /// Refuses what cannot be kept.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`; the text names the field.
    pub fn check(&self) -> Result<()> {
        check_json("payload", &self.payload)?;
        if self.max_attempts == Some(0) {
            return Err(Error::invalid("max_attempts: must be at least 1, found 0"));
        }
        if let (Some(scheduled), Some(expires)) = (self.scheduled_at, self.expires_at) {
            if expires <= scheduled {
                let text = format!("expires_at: must be after scheduled_at ({scheduled}), found {expires}");
                return Err(Error::invalid(text));
            }
        }
        check_offers(&self.needs)
    }
}

/// The longest payload or result, in bytes.
const MAX_JSON: usize = 1 << 20;

pub(crate) fn check_json(key: &str, text: &str) -> Result<()> {
    if text.len() > MAX_JSON {
        return Err(Error::invalid(format!("{key}: at most {MAX_JSON} bytes, found {}", text.len())));
    }
    match serde_json::from_str::<serde::de::IgnoredAny>(text) {
        Ok(_) => Ok(()),
        Err(error) => Err(Error::invalid(format!("{key}: not JSON: {error}"))),
    }
}

/// Makes a text about a failure fit to be kept: what a tool said, colours and
/// all, is worth more than nothing.
pub(crate) fn message(text: &str) -> Result<String> {
    let is_line = |c: char| matches!(c, '\n' | '\r' | '\t');
    let text = text.replace(|c: char| c.is_control() && !is_line(c), " ");
    check_text("message", &text.trim().replace(is_line, " "), usize::MAX)?;
    Ok(clip(text, MAX_MESSAGE))
}

/// A claim's right to a command: whoever shows it may change the command, as
/// long as no later claim, requeue or decision has taken it away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct Lease {
    /// The command.
    pub command: CommandId,
    /// Who claimed it.
    pub agent: AgentId,
    /// The claim's fencing number: it grows with each claim of the command,
    /// and when its holder is revoked. Outside systems may compare it too.
    pub fence: i64,
    /// Until when nobody takes the command away. A holder that renews has
    /// more time.
    pub until: Stamp,
}

/// What a claim brought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Claim {
    /// The right to the command.
    pub lease: Lease,
    /// The command.
    pub command: Command,
}

/// The shortest and longest lease.
const LEASES: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(24 * 3600);

pub(crate) fn check_lease(lease: Duration) -> Result<()> {
    if LEASES.contains(&lease) {
        return Ok(());
    }
    let found = crate::duration::format(lease);
    Err(Error::invalid(format!("lease: must be from 1s to 24h, found {found}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_happens_to_a_command_that_is_over() {
        for state in CommandState::ALL {
            let moves = Action::ALL.iter().filter(|action| state.after(**action).is_some()).count();
            assert_eq!(moves == 0, state.is_terminal(), "{state}");
        }
    }

    #[test]
    fn every_state_is_reached_and_the_holder_needs_a_claim() {
        for state in CommandState::ALL.iter().filter(|state| **state != CommandState::Pending) {
            let reached = CommandState::ALL
                .iter()
                .any(|from| Action::ALL.iter().any(|action| from.after(*action) == Some(*state)));
            assert!(reached, "{state}");
        }
        for action in [Action::Start, Action::Complete, Action::Fail, Action::Release, Action::Requeue] {
            assert_eq!(CommandState::Pending.after(action), None, "{action:?}");
        }
    }

    #[test]
    fn a_message_is_kept_whatever_a_tool_has_in_it() {
        for (text, kept) in [
            ("\u{1b}[31merror\u{1b}[0m: no route", " [31merror [0m: no route"),
            ("a\0b\u{7f}c\u{85}d", "a b c d"),
            ("first\r\n\tsecond\n", "first\r\n\tsecond\n"),
        ] {
            assert_eq!(message(text).unwrap(), kept);
        }
        for text in ["", " ", "\n", "\u{1b}\0"] {
            let error = message(text).unwrap_err().to_string();
            assert_eq!(error, "message: must not be empty", "{text:?}");
        }
    }

    #[test]
    fn what_cannot_be_kept_is_refused() {
        let good = NewCommand::job(TenantId(1), CommandKind::Scan, "{}");
        let at = Stamp::from_micros;
        for (command, text) in [
            (NewCommand { payload: "{".into(), ..good.clone() }, "payload: not JSON: EOF"),
            (good.clone().max_attempts(0), "max_attempts: must be at least 1, found 0"),
            (good.clone().scheduled_at(at(5)).expires_at(at(5)), "expires_at: must be after scheduled_at"),
            (good.clone().tool(""), "tool: must not be empty"),
            (good.needs_capability("a\nb"), "capability: no control characters, found '\\n'"),
        ] {
            let error = command.check().unwrap_err().to_string();
            assert!(error.starts_with(text), "{error}");
        }
    }
}
