//! The passes as they are deployed, or as they are by default.

use std::path::Path;
use std::sync::Arc;

use loopkeeper::controller::Reconciler;
use loopkeeper::decode::Object;
use loopkeeper::fleet::{
    AgentHealth, AgentHealthConfig, AgentId, AuditRetention, AuditRetentionConfig, CommandId, Explanation,
    JobRecovery, JobRecoveryConfig, Pass, QueuePriority, QueuePriorityConfig, Store, TokenCleanup,
    TokenCleanupConfig, TokenId, descriptor,
};
use loopkeeper::host::deploy::{Descriptor, Registry, load_folder};
use loopkeeper::tree::Faults;
use loopkeeper::{BoxError, ControllerConfig, Env, Result, watch};
use parking_lot::Mutex;

use super::Subject;

/// One pass of each kind, and what it is called.
#[derive(Debug)]
pub(super) struct Passes {
    health: (String, AgentHealth),
    recovery: (String, JobRecovery),
    priority: (String, QueuePriority),
    cleanup: (String, TokenCleanup),
    retention: (String, AuditRetention),
}

impl Passes {
    /// Those that a folder describes; where it describes none of a kind, one
    /// with defaults. What else is wrong with the folder is not the question.
    pub(super) fn deployed(dir: &Path) -> Result<Self> {
        let mut registry = Registry::new();
        registry.register("watcher", |name: &str, o: &mut Object<'_, '_>| {
            watch::descriptor::read(name, o).map(|_| never_built)
        })?;
        let health = heard(&mut registry, "agent-health", descriptor::agent_health)?;
        let recovery = heard(&mut registry, "job-recovery", descriptor::job_recovery)?;
        let priority = heard(&mut registry, "queue-priority", descriptor::queue_priority)?;
        let cleanup = heard(&mut registry, "token-cleanup", descriptor::token_cleanup)?;
        let retention = heard(&mut registry, "audit-retention", descriptor::audit_retention)?;
        let folder = load_folder(dir, &registry);
        Ok(Self {
            health: choose(&health, &folder, AgentHealth::new(AgentHealthConfig::default())?),
            recovery: choose(&recovery, &folder, JobRecovery::new(JobRecoveryConfig::default())?),
            priority: choose(&priority, &folder, QueuePriority::new(QueuePriorityConfig::default())?),
            cleanup: choose(&cleanup, &folder, TokenCleanup::new(TokenCleanupConfig::default())?),
            retention: choose(&retention, &folder, AuditRetention::new(AuditRetentionConfig::default())?),
        })
    }

    /// Why each pass that could would change a thing, or not.
    pub(super) fn explain(
        &self,
        store: &mut dyn Store,
        subject: Subject,
        id: i64,
    ) -> Result<Vec<(String, Explanation)>> {
        let told = |name: &str, explanation: Explanation| (name.to_owned(), explanation);
        Ok(match subject {
            Subject::Agent => vec![told(&self.health.0, self.health.1.explain(store, AgentId(id))?)],
            Subject::Job => vec![
                told(&self.recovery.0, self.recovery.1.explain(store, CommandId(id))?),
                told(&self.priority.0, self.priority.1.explain(store, CommandId(id))?),
            ],
            Subject::Token => vec![told(&self.cleanup.0, self.cleanup.1.explain(store, TokenId(id))?)],
            Subject::Record => vec![told(&self.retention.0, self.retention.1.explain(store, id)?)],
        })
    }
}

/// What descriptors of one type say, by their names.
type Heard<P> = Arc<Mutex<Vec<(String, P)>>>;

/// Has a registry read descriptors of a type, and remember what they say.
fn heard<P: Pass + Sync>(
    registry: &mut Registry,
    kind: &str,
    read: fn(&str, &mut Object<'_, '_>) -> Option<(ControllerConfig, P)>,
) -> Result<Heard<P>> {
    let heard = Heard::<P>::default();
    let ours = heard.clone();
    registry.register(kind, move |name: &str, o: &mut Object<'_, '_>| {
        let (_, pass) = read(name, o)?;
        ours.lock().push((name.to_owned(), pass));
        Some(never_built)
    })?;
    Ok(heard)
}

fn never_built(_: &Env) -> Result<Reconciler, BoxError> {
    Err("it is only looked at".into())
}

/// The first that is enabled, or one with defaults.
fn choose<P: Clone>(heard: &Heard<P>, folder: &Result<Vec<Descriptor>, Faults>, default: P) -> (String, P) {
    let is_enabled = |name: &str| match folder {
        Ok(folder) => folder.iter().any(|found| found.name.as_str() == name && found.enabled),
        Err(_) => true,
    };
    let heard = heard.lock();
    let found = heard.iter().find(|(name, _)| is_enabled(name)).cloned();
    found.unwrap_or_else(|| ("one with defaults, as none is deployed".to_owned(), default))
}
