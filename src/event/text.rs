//! An event in words.

use std::fmt;
use std::time::Duration;

use super::{Event, EventKind};

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started => f.write_str("started"),
            Self::Ready { attempt, latency, .. } => {
                write!(f, "ready (attempt {attempt}, {latency:.1?})")
            }
            Self::Down { error, failures, .. } => {
                write!(f, "down (failures in a row: {failures}): {}", error.report())
            }
            Self::GaveUp { error, attempts } => {
                write!(f, "gave up waiting for it to start after {attempts} attempts: {}", error.report())
            }
            Self::TimedOut { stuck_for } => write!(f, "call timed out, stuck for {stuck_for:.1?}"),
            Self::Late { took } => write!(f, "call came back late, after {took:.1?}"),
            Self::Reconciled { items, took, dry_run, summary } => {
                let done = if *dry_run { "would have reconciled" } else { "reconciled" };
                let noun = if *items == 1 { "item" } else { "items" };
                write!(f, "{done} {items} {noun} ({took:.1?})")?;
                summary.as_ref().map_or(Ok(()), |summary| write!(f, ": {summary}"))
            }
            Self::ReconcileFailed { error, failures, retry_in } => {
                write!(f, "failed (failures in a row: {failures}), ")?;
                match retry_in {
                    Some(delay) => write!(f, "again in {delay:.1?}")?,
                    None => f.write_str("not again before its time")?,
                }
                write!(f, ": {}", error.report())
            }
            Self::HealthChanged { from, to, reason } => {
                write!(f, "{to}, was {from}")?;
                reason.as_ref().map_or(Ok(()), |reason| write!(f, ": {reason}"))
            }
            Self::CheckerChanged { checker, from, to, reason, took } => {
                write!(f, "{checker} is {to}, was {from}")?;
                took.map_or(Ok(()), |took| write!(f, " ({took:.1?})"))?;
                reason.as_ref().map_or(Ok(()), |reason| write!(f, ": {reason}"))
            }
            Self::CheckTimedOut { checker, stuck_for } => {
                write!(f, "{checker} timed out, stuck for {stuck_for:.1?}")
            }
            Self::CheckLate { checker, took } => write!(f, "{checker} came back late, after {took:.1?}"),
            Self::Paused => f.write_str("paused"),
            Self::Resumed => f.write_str("resumed"),
            Self::ConfigReloaded { generation, changed, n_changed, needs_restart } => {
                write!(f, "reloaded (generation {generation}): {}", changed.join(", "))?;
                let more = n_changed.saturating_sub(changed.len());
                if more > 0 {
                    write!(f, " and {more} more")?;
                }
                match &**needs_restart {
                    [] => Ok(()),
                    keys => write!(f, "; takes effect at the next start: {}", keys.join(", ")),
                }
            }
            Self::ConfigRejected { error } => {
                write!(f, "not reloaded, the last good configuration stays: {}", error.report())
            }
            Self::Deployed { name } => write!(f, "deployed {name}"),
            Self::Replaced { name } => write!(f, "replaced {name}"),
            Self::Undeployed { name } => write!(f, "undeployed {name}"),
            Self::UndeployFailed { name, error, retry_in } => {
                write!(f, "could not undeploy {name}, again in {retry_in:.1?}: {}", error.report())
            }
            Self::Rejected { name, file, error, retry_in } => {
                f.write_str("rejected ")?;
                if let Some(name) = name {
                    write!(f, "{name} of ")?;
                }
                write!(f, "{file}, ")?;
                again(*retry_in, f)?;
                write!(f, ": {}", error.report())
            }
            Self::RolledBack { name, error, restored, retry_in } => {
                let old = if *restored { "is back" } else { "is not back yet" };
                write!(f, "rolled back {name}, which {old}; the new one ")?;
                again(*retry_in, f)?;
                write!(f, ": {}", error.report())
            }
            Self::Stopped | Self::ComponentStopped => f.write_str("stopped"),
            Self::ComponentWaiting { requires } => {
                write!(f, "waits for {}", crate::name::join(requires))
            }
            Self::ComponentStarting => f.write_str("starting"),
            Self::ComponentUp { took } => write!(f, "up after {took:.1?}"),
            Self::ComponentReady => f.write_str("ready"),
            Self::ComponentNotReady { health } => write!(f, "not ready any more: {health}"),
            Self::ComponentFailed { error } => write!(f, "failed: {}", error.report()),
            Self::ComponentRestarting { delay, restarts } => {
                write!(f, "restarts in {delay:.1?} (restarts before: {restarts})")
            }
            Self::ComponentGaveUp { error, restarts } => {
                write!(f, "gave up after {restarts} restarts: {}", error.report())
            }
            Self::ComponentStopping => f.write_str("stopping"),
            Self::ComponentAbandoned { call, stuck_for } => {
                write!(f, "left behind, stuck in {call} for {stuck_for:.1?}")
            }
            Self::ComponentReplaced => f.write_str("took the place of the one before"),
            Self::ComponentRolledBack { error } => {
                write!(f, "is back, because the one in its place did not come up: {}", error.report())
            }
            Self::ComponentRemoved => f.write_str("removed"),
            Self::Recovery(event) => event.fmt(f),
        }
    }
}

/// When something is tried again.
fn again(retry_in: Option<Duration>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match retry_in {
        Some(delay) => write!(f, "again in {delay:.1?}"),
        None => f.write_str("not again until it changes"),
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.kind, self.source, self.what)
    }
}
