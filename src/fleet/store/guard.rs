//! What guards every change, and what is said when one holds: the same for
//! each store.

use crate::error::{Error, ErrorKind, Result};
use crate::fleet::agent::{Agent, AgentCondition, AgentStatus};
use crate::fleet::audit::{NewAudit, RETENTION, Removal, Severity};
use crate::fleet::command::{Claim, Command, CommandState, Lease, NewCommand};
use crate::fleet::id::{AgentId, CommandId, TenantId};

pub(super) fn no_agent(agent: AgentId) -> String {
    format!("there is no agent {agent}")
}

pub(super) fn no_command(command: CommandId) -> String {
    format!("there is no command {command}")
}

pub(super) fn no_tenant(tenant: TenantId) -> String {
    format!("there is no tenant {tenant}")
}

pub(super) fn no_policy() -> Error {
    Error::new(ErrorKind::NotFound).context("the fleet has no policy")
}

pub(super) fn unknown_secret() -> Error {
    Error::new(ErrorKind::NotFound).context("the secret is not known, or not good any more")
}

pub(super) fn wrong_kind(wanted: &str, found: &str) -> Error {
    Error::invalid(format!("kind: the token is for {wanted}, found {found}"))
}

pub(super) fn revoked(agent: AgentId) -> Error {
    Error::new(ErrorKind::InvalidState).context(format!("agent {agent} was revoked, which is for good"))
}

/// An agent that may claim, and what decides how much and of whom.
#[derive(Debug)]
pub(super) struct Claimer {
    pub(super) id: AgentId,
    pub(super) tenant: Option<TenantId>,
    pub(super) max_jobs: i64,
    /// The fleet's, for jobs that have none of their own.
    pub(super) max_attempts: i64,
}

/// Why an agent may not claim, if it may not.
pub(super) fn may_claim(agent: &Agent) -> Result<()> {
    let id = agent.id;
    let text = match (agent.status, agent.health) {
        (AgentStatus::Active, AgentCondition::Online) => return Ok(()),
        (AgentStatus::Active, health) => format!("agent {id} is {health}: it must send a heartbeat first"),
        (status, _) => {
            let why = agent.status_message.as_deref().unwrap_or("no reason was given");
            format!("agent {id} is {status}: {why}")
        }
    };
    Err(Error::new(ErrorKind::InvalidState).context(text))
}

/// What a holder asked for, for the rules of [`settle`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    Start,
    Progress,
    Complete,
    Fail,
    Release,
    Renew,
}

/// Explains why a holder's guarded write touched nothing: a replay of a call
/// whose answer was lost is a success, everything else is an error.
pub(super) fn settle(ask: Ask, lease: &Lease, command: &Command, agent: &Agent) -> Result<()> {
    let stale = |why: String| Err(Error::new(ErrorKind::Stale).context(why));
    let (id, state) = (command.id, command.state);
    if agent.status == AgentStatus::Revoked {
        return stale(format!("command {id}: agent {} was revoked", agent.id));
    }
    if command.fence != lease.fence {
        let (ours, theirs) = (lease.fence, command.fence);
        return stale(format!("command {id}: claim {ours} was followed by claim {theirs}"));
    }
    if command.agent != Some(lease.agent) {
        return stale(format!("command {id}: claim {} was taken back, it is {state}", lease.fence));
    }
    match (ask, state) {
        (Ask::Start, CommandState::Running) | (Ask::Complete, CommandState::Completed) => Ok(()),
        // Whoever failed it: it has.
        (Ask::Fail, CommandState::Failed) => Ok(()),
        (_, CommandState::Canceled | CommandState::Expired | CommandState::Failed) => {
            stale(format!("command {id} is {state}: {}", command.message.as_deref().unwrap_or("no reason")))
        }
        _ => Err(Error::new(ErrorKind::InvalidState).context(format!("command {id} is {state}"))),
    }
}

pub(super) fn check_attempts(n: u32) -> Result<()> {
    if n == 0 { Err(Error::invalid("max_attempts: must be at least 1, found 0")) } else { Ok(()) }
}

/// Whether an agent could do what is pinned to it.
pub(super) fn check_pin(command: &NewCommand, agent: &Agent) -> Result<()> {
    let wanted = if command.platform { None } else { Some(command.tenant) };
    if agent.tenant == wanted {
        return Ok(());
    }
    let whose = wanted.map_or("of the platform".to_owned(), |tenant| format!("of tenant {tenant}"));
    let text = format!("pinned_to: there is no agent {} {whose}", agent.id);
    Err(Error::new(ErrorKind::NotFound).context(text))
}

pub(super) fn canceled_already(command: &Command) -> Result<()> {
    if command.state == CommandState::Canceled {
        return Ok(());
    }
    let text = format!("command {} is {} already", command.id, command.state);
    Err(Error::new(ErrorKind::InvalidState).context(text))
}

pub(super) fn claim_of(command: Command) -> Result<Claim> {
    match (command.agent, command.lease_until) {
        (Some(agent), Some(until)) => {
            let lease = Lease { command: command.id, agent, fence: command.fence, until };
            Ok(Claim { lease, command })
        }
        _ => Err(Error::new(ErrorKind::Store).context(format!("command {}: is not held", command.id))),
    }
}

/// The record that a batch of retention leaves. It is kept longer: it is what
/// tells a gap in the chain from a theft.
pub(super) fn removal_record(removal: &Removal) -> Result<NewAudit> {
    let detail =
        serde_json::to_string(removal).map_err(|error| Error::new(ErrorKind::Store).caused_by(error))?;
    let resource = format!("records {} to {}", removal.first, removal.last);
    Ok(NewAudit::new("audit-retention", RETENTION, resource).severity(Severity::High).detail(detail))
}
