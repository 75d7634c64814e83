//! The decisions of the passes, one row at a time, without a database.
//!
//! The databases decide over sets; this is what they must agree with. It is
//! what the reference model runs, and what a pass says when it is asked to
//! explain itself.

use std::time::Duration;

use super::agent::{Agent, AgentCondition, AgentStatus};
use super::command::{Command, CommandState};
use super::tenant::Plan;
use super::token::{Token, TokenStatus};
use crate::duration::format;
use crate::stamp::Stamp;

/// What is done with a row, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    Leave(String),
    Offline(String),
    Requeue(String),
    End(CommandState, &'static str),
    Unpin(String),
    Delete(String),
    Rank { priority: i64, penalty: i64, why: String },
}

use Decision::{Delete, End, Leave, Offline, Rank, Requeue, Unpin};

pub(crate) const LATE: &str = "no agent took it in time";
pub(crate) const OVER: &str = "its time was over before an agent took it";
pub(crate) const USED_UP: &str = "its claims are used up";
pub(crate) const LOST_LATE: &str = "its time was over when its holder was lost";
pub(crate) const LAST_LOST: &str = "its last claim was lost";

/// How long ago; nothing when it is to come.
fn since(now: Stamp, then: Stamp) -> Duration {
    Duration::from_micros(now.as_micros().saturating_sub(then.as_micros()))
}

/// Whether `then` lies more than `span` back.
fn older(now: Stamp, then: Stamp, span: Duration) -> bool {
    since(now, then) > span
}

pub(crate) fn stale(agent: &Agent, now: Stamp, stale: Duration) -> Decision {
    if agent.health == AgentCondition::Offline {
        return Leave("it is offline already".to_owned());
    }
    let (heard, what) = match agent.last_seen_at {
        Some(at) => (at, "last heard of"),
        None => (agent.created_at, "registered and never heard of"),
    };
    let text = format!("{what} {} ago, {} is allowed", format(since(now, heard)), format(stale));
    if older(now, heard, stale) { Offline(text) } else { Leave(text) }
}

/// `patience` is how old a claim is taken back although its holder lives;
/// without it only the dead's are.
pub(crate) fn recover(
    command: &Command,
    holder: Option<&Agent>,
    now: Stamp,
    patience: Option<Duration>,
    max_attempts: u32,
) -> Decision {
    let (Some(until), Some(claimed)) = (command.lease_until, command.acknowledged_at) else {
        return Leave("nobody holds it".to_owned());
    };
    if until > now {
        return Leave(format!("its lease has {} left", format(since(until, now))));
    }
    let dead = holder.is_none_or(Agent::is_dead);
    let age = since(now, claimed);
    let why = match (dead, patience) {
        (true, _) => "its lease is over and its holder is dead".to_owned(),
        (false, Some(patience)) if age > patience => {
            format!("its lease is over and its claim is {} old, {} is allowed", format(age), format(patience))
        }
        (false, Some(patience)) => {
            let (age, patience) = (format(age), format(patience));
            return Leave(format!("its holder lives and its claim is {age} old, {patience} is allowed"));
        }
        (false, None) => return Leave("its holder lives".to_owned()),
    };
    if command.expires_at.is_some_and(|at| at <= now) {
        End(CommandState::Expired, LOST_LATE)
    } else if exhausted(command, max_attempts) {
        End(CommandState::Failed, LAST_LOST)
    } else {
        Requeue(why)
    }
}

fn exhausted(command: &Command, max_attempts: u32) -> bool {
    command.attempts >= command.max_attempts.unwrap_or(i64::from(max_attempts))
}

fn waits(command: &Command) -> Option<Decision> {
    (command.state != CommandState::Pending).then(|| Leave(format!("it is {}", command.state)))
}

pub(crate) fn queued_too_long(command: &Command, now: Stamp, max_queue: Duration) -> Decision {
    if let Some(leave) = waits(command) {
        return leave;
    }
    if !command.platform && command.expires_at.is_some() {
        return Leave("it says itself when it expires".to_owned());
    }
    if older(now, command.queued_at, max_queue) {
        return End(CommandState::Expired, LATE);
    }
    let waited = format(since(now, command.queued_at));
    Leave(format!("it waits for {waited}, {} is allowed", format(max_queue)))
}

pub(crate) fn due(command: &Command, now: Stamp) -> Decision {
    if let Some(leave) = waits(command) {
        return leave;
    }
    match command.expires_at {
        Some(at) if at <= now => End(CommandState::Expired, OVER),
        Some(at) => Leave(format!("it has {} left", format(since(at, now)))),
        None => Leave("it does not expire by itself".to_owned()),
    }
}

pub(crate) fn used_up(command: &Command, max_attempts: u32) -> Decision {
    if let Some(leave) = waits(command) {
        return leave;
    }
    if command.attempts > 0 && exhausted(command, max_attempts) {
        return End(CommandState::Failed, USED_UP);
    }
    let most = command.max_attempts.unwrap_or(i64::from(max_attempts));
    Leave(format!("it has used {} of {most} claims", command.attempts))
}

pub(crate) fn pin(command: &Command, agent: Option<&Agent>, now: Stamp, patience: Duration) -> Decision {
    if let Some(leave) = waits(command) {
        return leave;
    }
    let Some(agent) = agent else { return Leave("any agent may take it".to_owned()) };
    if agent.status != AgentStatus::Active {
        return Unpin(format!("agent {} is {}", agent.id, agent.status));
    }
    match (agent.health, agent.last_offline_at) {
        (AgentCondition::Offline, Some(at)) if older(now, at, patience) => {
            Unpin(format!("agent {} is offline for {}", agent.id, format(since(now, at))))
        }
        (AgentCondition::Offline, Some(at)) => {
            let (for_, patience) = (format(since(now, at)), format(patience));
            Leave(format!("agent {} is offline for {for_}, {patience} is allowed", agent.id))
        }
        (health, _) => Leave(format!("agent {} is {health}", agent.id)),
    }
}

/// What a tenant's jobs at work take off each of its jobs that wait.
pub(crate) const fn penalty(active: i64) -> i64 {
    if active > 20 { 200 } else { 10 * active }
}

pub(crate) fn rank(command: &Command, plan: Plan, active: i64, now: Stamp, bonus: u32) -> Decision {
    if let Some(leave) = waits(command) {
        return leave;
    }
    if !command.platform {
        return Leave("it is a tenant's own".to_owned());
    }
    let minutes = i64::try_from(since(now, command.waiting_since).as_secs() / 60).unwrap_or(i64::MAX);
    let penalty = penalty(active);
    let base = command.priority.base() + plan.base();
    let priority = base + minutes.saturating_mul(i64::from(bonus)) - penalty;
    let why = format!(
        "{} for {}, {} for plan {plan}, {minutes} minutes at {bonus}, less {penalty} for {active} at work: {priority}",
        command.priority.base(),
        command.priority,
        plan.base(),
    );
    if (command.queue_priority, command.queue_penalty) == (priority, penalty) {
        Leave(why)
    } else {
        Rank { priority, penalty, why }
    }
}

pub(crate) fn clean(token: &Token, now: Stamp, grace: Duration) -> Decision {
    let status = token.status(now);
    match token.dead_since() {
        Some(at) if at <= now => {
            let text = format!("it is {status} for {}, {} is kept", format(since(now, at)), format(grace));
            if older(now, at, grace) { Delete(text) } else { Leave(text) }
        }
        _ => Leave(format!("it is {}", TokenStatus::Active)),
    }
}

/// One step of a pass, and what it makes of a row.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Reason {
    /// The step.
    pub step: &'static str,
    /// Whether it would change the row now.
    pub touched: bool,
    /// Why, or why not.
    pub why: String,
}

/// Why a pass would change a row now, or would not: one reason a step, in the
/// order of the steps.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Explanation {
    /// What was asked about.
    pub subject: String,
    /// What each step makes of it. A later step sees the row as an earlier
    /// one would leave it only in a pass, not here.
    pub reasons: Vec<Reason>,
}

impl Explanation {
    pub(crate) fn new(subject: String) -> Self {
        Self { subject, reasons: Vec::new() }
    }

    pub(crate) fn add(mut self, step: &'static str, decision: Decision) -> Self {
        let (touched, why) = match decision {
            Leave(why) => (false, why),
            Offline(why) | Requeue(why) | Unpin(why) | Delete(why) | Rank { why, .. } => (true, why),
            End(state, why) => (true, format!("{state}: {why}")),
        };
        self.reasons.push(Reason { step, touched, why });
        self
    }

    /// Whether any step would change the row.
    #[must_use]
    pub fn is_touched(&self) -> bool {
        self.reasons.iter().any(|reason| reason.touched)
    }
}

impl std::fmt::Display for Explanation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.subject)?;
        for Reason { step, touched, why } in &self.reasons {
            write!(f, "\n  {step}: {}: {why}", if *touched { "changes it" } else { "leaves it" })?;
        }
        Ok(())
    }
}
