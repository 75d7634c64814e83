//! An event as JSON.

use std::time::Duration;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::{Event, EventKind};

/// As `/events` prints it: `seq`, `n`, `at`, `source`, `kind`, `event`, and the
/// fields of its kind. Moments are RFC 3339 UTC, durations seconds, errors
/// their whole text.
impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Event { seq, n, at, source, kind, what } = self;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("seq", seq)?;
        map.serialize_entry("n", n)?;
        map.serialize_entry("at", at)?;
        map.serialize_entry("source", source)?;
        map.serialize_entry("kind", kind)?;
        map.serialize_entry("event", what.as_str())?;
        let seconds = Duration::as_secs_f64;
        match what {
            EventKind::Started
            | EventKind::Stopped
            | EventKind::Paused
            | EventKind::Resumed
            | EventKind::ComponentStarting
            | EventKind::ComponentReady
            | EventKind::ComponentStopping
            | EventKind::ComponentStopped
            | EventKind::ComponentReplaced
            | EventKind::ComponentRemoved => {}
            EventKind::Ready { from, attempt, latency } => {
                map.serialize_entry("from", from)?;
                map.serialize_entry("attempt", attempt)?;
                map.serialize_entry("latency", &seconds(latency))?;
            }
            EventKind::Down { from, error, failures } => {
                map.serialize_entry("from", from)?;
                map.serialize_entry("error", &error.report().to_string())?;
                map.serialize_entry("failures", failures)?;
            }
            EventKind::GaveUp { error, attempts } => {
                map.serialize_entry("error", &error.report().to_string())?;
                map.serialize_entry("attempts", attempts)?;
            }
            EventKind::Reconciled { items, took, dry_run, summary } => {
                map.serialize_entry("items", items)?;
                map.serialize_entry("took", &seconds(took))?;
                map.serialize_entry("dry_run", dry_run)?;
                if let Some(summary) = summary {
                    map.serialize_entry("summary", &**summary)?;
                }
            }
            EventKind::ReconcileFailed { error, failures, retry_in } => {
                map.serialize_entry("error", &error.report().to_string())?;
                map.serialize_entry("failures", failures)?;
                if let Some(retry_in) = retry_in {
                    map.serialize_entry("retry_in", &seconds(retry_in))?;
                }
            }
            EventKind::HealthChanged { from, to, reason } => {
                map.serialize_entry("from", from)?;
                map.serialize_entry("to", to)?;
                if let Some(reason) = reason {
                    map.serialize_entry("reason", &**reason)?;
                }
            }
            EventKind::CheckerChanged { checker, from, to, reason, took } => {
                map.serialize_entry("checker", checker)?;
                map.serialize_entry("from", from)?;
                map.serialize_entry("to", to)?;
                if let Some(took) = took {
                    map.serialize_entry("took", &seconds(took))?;
                }
                if let Some(reason) = reason {
                    map.serialize_entry("reason", &**reason)?;
                }
            }
            EventKind::CheckTimedOut { checker, stuck_for } => {
                map.serialize_entry("checker", checker)?;
                map.serialize_entry("stuck_for", &seconds(stuck_for))?;
            }
            EventKind::CheckLate { checker, took } => {
                map.serialize_entry("checker", checker)?;
                map.serialize_entry("took", &seconds(took))?;
            }
            EventKind::TimedOut { stuck_for } => map.serialize_entry("stuck_for", &seconds(stuck_for))?,
            EventKind::ConfigReloaded { generation, changed, n_changed, needs_restart } => {
                map.serialize_entry("generation", generation)?;
                map.serialize_entry("changed", changed)?;
                map.serialize_entry("n_changed", n_changed)?;
                if !needs_restart.is_empty() {
                    map.serialize_entry("needs_restart", needs_restart)?;
                }
            }
            EventKind::ConfigRejected { error } => {
                map.serialize_entry("error", &error.report().to_string())?;
            }
            EventKind::Deployed { name } | EventKind::Replaced { name } | EventKind::Undeployed { name } => {
                map.serialize_entry("component", name)?;
            }
            EventKind::UndeployFailed { name, error, retry_in } => {
                map.serialize_entry("component", name)?;
                map.serialize_entry("error", &error.report().to_string())?;
                map.serialize_entry("retry_in", &seconds(retry_in))?;
            }
            EventKind::Rejected { name, file, error, retry_in } => {
                if let Some(name) = name {
                    map.serialize_entry("component", name)?;
                }
                map.serialize_entry("file", file)?;
                map.serialize_entry("error", &error.report().to_string())?;
                if let Some(retry_in) = retry_in {
                    map.serialize_entry("retry_in", &seconds(retry_in))?;
                }
            }
            EventKind::RolledBack { name, error, restored, retry_in } => {
                map.serialize_entry("component", name)?;
                map.serialize_entry("error", &error.report().to_string())?;
                map.serialize_entry("restored", restored)?;
                if let Some(retry_in) = retry_in {
                    map.serialize_entry("retry_in", &seconds(retry_in))?;
                }
            }
            EventKind::Late { took } | EventKind::ComponentUp { took } => {
                map.serialize_entry("took", &seconds(took))?;
            }
            EventKind::ComponentWaiting { requires } => map.serialize_entry("requires", requires)?,
            EventKind::ComponentNotReady { health } => map.serialize_entry("health", health)?,
            EventKind::ComponentFailed { error } | EventKind::ComponentRolledBack { error } => {
                map.serialize_entry("error", &error.report().to_string())?;
            }
            EventKind::ComponentRestarting { delay, restarts } => {
                map.serialize_entry("delay", &seconds(delay))?;
                map.serialize_entry("restarts", restarts)?;
            }
            EventKind::ComponentGaveUp { error, restarts } => {
                map.serialize_entry("error", &error.report().to_string())?;
                map.serialize_entry("restarts", restarts)?;
            }
            EventKind::Recovery(event) => {
                // The same object, less its braces.
                let event = serde_json::to_value(event).map_err(serde::ser::Error::custom)?;
                for (key, value) in event.as_object().into_iter().flatten() {
                    map.serialize_entry(key, value)?;
                }
            }
            EventKind::ComponentAbandoned { call, stuck_for } => {
                map.serialize_entry("call", call)?;
                map.serialize_entry("stuck_for", &seconds(stuck_for))?;
            }
        }
        map.end()
    }
}
