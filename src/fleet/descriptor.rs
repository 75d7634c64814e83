//! What the passes are made from, as it stands in a descriptor.
//!
//! Absent settings get the defaults of each pass and of [`ControllerConfig`];
//! what cannot be meant is a fault at its place, so that what was read also
//! starts.

use super::agent_health::{AgentHealth, AgentHealthConfig};
use super::audit_retention::{AuditRetention, AuditRetentionConfig};
use super::controller::Pass;
use super::job_recovery::{JobRecovery, JobRecoveryConfig};
use super::queue_priority::{QueuePriority, QueuePriorityConfig};
use super::token_cleanup::{TokenCleanup, TokenCleanupConfig};
use crate::controller::ControllerConfig;
use crate::controller::descriptor::read;
use crate::decode::Object;
use crate::duration::GoDuration;

/// Reads an `agent-health`: the `config` object of the descriptor `name`.
///
/// `None` when there was a fault; `o` knows it.
///
/// # Examples
///
/// ```
/// use loopkeeper::{decode, fleet, tree};
/// use std::time::Duration;
///
/// let read = |text: &str| {
///     decode::object(&tree::parse("a.json", text)?, "", |o| fleet::descriptor::agent_health("a", o))
/// };
/// let (_, health) = read(r#"{"stale_timeout": "5m", "dry_run": true}"#)?;
/// assert_eq!(health.config().stale_timeout, Duration::from_secs(300));
///
/// let faults = read(r#"{"stale_timeout": 0}"#).unwrap_err();
/// assert_eq!(
///     faults.to_string(),
///     "a.json:1:19: stale_timeout: must be more than zero, found the number 0"
/// );
/// # Ok::<(), tree::Faults>(())
/// ```
pub fn agent_health(name: &str, o: &mut Object<'_, '_>) -> Option<(ControllerConfig, AgentHealth)> {
    o.doc(
        "Finds silent agents of the fleet to be offline, and takes back what dead ones held once their leases \
         are over.",
    );
    let default = AgentHealthConfig::default();
    let stale_timeout = o
        .duration("stale_timeout")
        .doc("How long an agent may be silent; one never heard of counts from its registration.")
        .or(default.stale_timeout);
    finish(
        name,
        o,
        |interval| AgentHealth::new(AgentHealthConfig { interval, stale_timeout }),
        default.interval,
    )
}

/// Reads a `job-recovery`; see [`agent_health`].
pub fn job_recovery(name: &str, o: &mut Object<'_, '_>) -> Option<(ControllerConfig, JobRecovery)> {
    o.doc(
        "Expires commands that waited for too long, fails those that used up their claims, takes back what is \
         stuck, and frees what waits for an agent that is gone.",
    );
    let default = JobRecoveryConfig::default();
    let stuck_threshold = o
        .duration("stuck_threshold")
        .doc("How old the claim of a platform's job is taken back once its lease is over, although its agent lives.")
        .or(default.stuck_threshold);
    let tenant_stuck_threshold = o
        .duration("tenant_stuck_threshold")
        .doc(
            "The same for commands of tenants; also how long an agent may be offline before what waits for it \
             alone is free.",
        )
        .or(default.tenant_stuck_threshold);
    let max_retries = o
        .u32("max_retries")
        .at_least(1)
        .doc("How many claims a command may use that does not say itself.")
        .or(default.max_retries);
    let max_queue = o
        .duration("max_queue")
        .doc("How long a platform's job may wait in the queue; time at an agent does not count.")
        .or(default.max_queue);
    let tenant_max_queue = o
        .duration("tenant_max_queue")
        .doc("How long a tenant's command may wait in the queue that does not say itself when it expires.")
        .or(default.tenant_max_queue);
    let make = |interval| {
        JobRecovery::new(JobRecoveryConfig {
            interval,
            stuck_threshold,
            tenant_stuck_threshold,
            max_retries,
            max_queue,
            tenant_max_queue,
        })
    };
    finish(name, o, make, default.interval)
}

/// Reads a `queue-priority`; see [`agent_health`].
pub fn queue_priority(name: &str, o: &mut Object<'_, '_>) -> Option<(ControllerConfig, QueuePriority)> {
    o.doc(
        "Computes the places of waiting jobs anew, from priority, plan, time waited and what the tenant has at \
         work; nobody starves.",
    );
    let default = QueuePriorityConfig::default();
    let bonus_per_minute = o
        .u32("bonus_per_minute")
        .at_least(1)
        .at_most(1_000_000)
        .doc("What each whole minute in the queue is worth.")
        .or(default.bonus_per_minute);
    let make = |interval| QueuePriority::new(QueuePriorityConfig { interval, bonus_per_minute });
    finish(name, o, make, default.interval)
}

/// Reads a `token-cleanup`; see [`agent_health`].
pub fn token_cleanup(name: &str, o: &mut Object<'_, '_>) -> Option<(ControllerConfig, TokenCleanup)> {
    o.doc("Deletes registration tokens that expired, were used up or were revoked.");
    let default = TokenCleanupConfig::default();
    let grace = o
        .duration_or_zero("grace")
        .doc("How long a token that is good for nothing is still shown.")
        .or(default.grace);
    finish(name, o, |interval| TokenCleanup::new(TokenCleanupConfig { interval, grace }), default.interval)
}

/// Reads an `audit-retention`; see [`agent_health`].
pub fn audit_retention(name: &str, o: &mut Object<'_, '_>) -> Option<(ControllerConfig, AuditRetention)> {
    o.doc("Deletes audit records that are old enough, batch after batch, and leaves a record of each batch.");
    let default = AuditRetentionConfig::default();
    let retention = o.duration("retention").doc("How long a record is kept.").defaults_to(&default.retention);
    let retention = retention.optional();
    let grave = o
        .duration("grave_retention")
        .doc("How long one of severity high or critical is kept; not shorter than the others.")
        .defaults_to(&default.grave_retention)
        .optional();
    match (retention, grave) {
        (Some(retention), Some(grave)) if grave < retention => {
            let (retention, grave) = (GoDuration(retention), GoDuration(grave));
            o.fault("grave_retention", format!("must be at least retention ({retention}), found {grave}"));
        }
        (Some(retention), None) if !o.has("grave_retention") && retention > default.grave_retention => {
            let (retention, grave) = (GoDuration(retention), GoDuration(default.grave_retention));
            o.fault(
                "retention",
                format!("must be at most grave_retention (by default {grave}), found {retention}"),
            );
        }
        (None, Some(grave)) if !o.has("retention") && grave < default.retention => {
            let (retention, grave) = (GoDuration(default.retention), GoDuration(grave));
            o.fault(
                "grave_retention",
                format!("must be at least retention (by default {retention}), found {grave}"),
            );
        }
        _ => {}
    }
    let batch_size = o
        .u32("batch_size")
        .at_least(1)
        .at_most(1_000_000)
        .doc("How many records are deleted at once; others wait so long.")
        .or(default.batch_size);
    let make = |interval| {
        AuditRetention::new(AuditRetentionConfig {
            interval,
            retention: retention.unwrap_or(default.retention),
            grave_retention: grave.unwrap_or(default.grave_retention),
            batch_size,
            // The controller's own.
            dry_run: false,
        })
    };
    finish(name, o, make, default.interval)
}

/// Reads what all controllers have, and makes the pass if all was right.
fn finish<P: Pass>(
    name: &str,
    o: &mut Object<'_, '_>,
    make: impl FnOnce(std::time::Duration) -> crate::error::Result<P>,
    interval: std::time::Duration,
) -> Option<(ControllerConfig, P)> {
    let config = read(ControllerConfig::new(name).interval(interval), o);
    o.done()?;
    match make(config.interval) {
        Ok(pass) => Some((config, pass)),
        // Each setting was checked at its place.
        Err(error) => {
            o.fault("", error.to_string());
            None
        }
    }
}
