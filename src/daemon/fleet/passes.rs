//! The passes as they are deployed, or as they are by default.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use loopkeeper::controller::Reconciler;
use loopkeeper::decode::Object;
use loopkeeper::fleet::{
    AgentHealth, AgentHealthConfig, AgentId, AuditRetention, AuditRetentionConfig, CommandId, Explanation,
    JobRecovery, JobRecoveryConfig, Pass, QueuePriority, QueuePriorityConfig, Store, TokenCleanup,
    TokenCleanupConfig, TokenId, descriptor,
};
use loopkeeper::host::deploy::{Registry, load_files};
use loopkeeper::{BoxError, ControllerConfig, Env, Result};
use parking_lot::Mutex;

use super::Subject;

/// The passes of each kind.
#[derive(Debug)]
pub(super) struct Passes {
    health: Vec<Deployed<AgentHealth>>,
    recovery: Vec<Deployed<JobRecovery>>,
    priority: Vec<Deployed<QueuePriority>>,
    cleanup: Vec<Deployed<TokenCleanup>>,
    retention: Vec<Deployed<AuditRetention>>,
}

/// A pass as a descriptor has it.
#[derive(Debug)]
struct Deployed<P> {
    by: By,
    pass: P,
}

/// What a pass is called, and what keeps it from changing anything.
#[derive(Debug, Clone)]
pub(super) struct By {
    pub(super) name: String,
    pub(super) dry_run: bool,
    /// It starts paused; somebody may have had it go on since.
    pub(super) paused: bool,
}

impl Passes {
    /// Those that run where a folder is deployed; where it has none of a kind,
    /// or cannot be read, one with defaults, which says so. What else is wrong
    /// with its files is not the question.
    pub(super) fn deployed(dir: &Path) -> Result<Self> {
        let mut registry = Registry::new();
        let health = heard(&mut registry, "agent-health", descriptor::agent_health)?;
        let recovery = heard(&mut registry, "job-recovery", descriptor::job_recovery)?;
        let priority = heard(&mut registry, "queue-priority", descriptor::queue_priority)?;
        let cleanup = heard(&mut registry, "token-cleanup", descriptor::token_cleanup)?;
        let retention = heard(&mut registry, "audit-retention", descriptor::audit_retention)?;
        let (files, instead) = match load_files(dir, &registry) {
            Ok(files) => (files, "one with defaults, as none is deployed".to_owned()),
            Err(faults) => {
                (Vec::new(), format!("one with defaults, as what is deployed is not known: {faults}"))
            }
        };
        let env = Env::new()?;
        let mut names = BTreeSet::new();
        for found in files.into_iter().flatten() {
            // Of two files of one name the first has it, also when it is disabled.
            if names.insert(found.name.to_string()) && found.enabled {
                let _ = found.build(&env);
            }
        }
        Ok(Self {
            health: choose(&health, &instead, AgentHealth::new(AgentHealthConfig::default())?),
            recovery: choose(&recovery, &instead, JobRecovery::new(JobRecoveryConfig::default())?),
            priority: choose(&priority, &instead, QueuePriority::new(QueuePriorityConfig::default())?),
            cleanup: choose(&cleanup, &instead, TokenCleanup::new(TokenCleanupConfig::default())?),
            retention: choose(&retention, &instead, AuditRetention::new(AuditRetentionConfig::default())?),
        })
    }

    /// Why each pass that could would change a thing, or not.
    pub(super) fn explain(
        &self,
        store: &mut dyn Store,
        subject: Subject,
        id: i64,
    ) -> Result<Vec<(By, Explanation)>> {
        let mut told = Vec::new();
        match subject {
            Subject::Agent => each(&self.health, &mut told, |pass| pass.explain(store, AgentId(id)))?,
            Subject::Job => {
                each(&self.recovery, &mut told, |pass| pass.explain(store, CommandId(id)))?;
                each(&self.priority, &mut told, |pass| pass.explain(store, CommandId(id)))?;
            }
            Subject::Token => each(&self.cleanup, &mut told, |pass| pass.explain(store, TokenId(id)))?,
            Subject::Record => each(&self.retention, &mut told, |pass| pass.explain(store, id))?,
        }
        Ok(told)
    }
}

fn each<P>(
    passes: &[Deployed<P>],
    told: &mut Vec<(By, Explanation)>,
    mut explain: impl FnMut(&P) -> Result<Explanation>,
) -> Result<()> {
    for Deployed { by, pass } in passes {
        told.push((by.clone(), explain(pass)?));
    }
    Ok(())
}

/// What the descriptors of one type say that were built.
type Heard<P> = Arc<Mutex<Vec<Deployed<P>>>>;

/// Has a registry build nothing of a type, and remember what it would be.
fn heard<P: Pass + Sync>(
    registry: &mut Registry,
    kind: &str,
    read: fn(&str, &mut Object<'_, '_>) -> Option<(ControllerConfig, P)>,
) -> Result<Heard<P>> {
    let heard = Heard::<P>::default();
    let ours = heard.clone();
    registry.register(kind, move |name: &str, o: &mut Object<'_, '_>| {
        let (config, pass) = read(name, o)?;
        let name = name.to_owned();
        let by = By { name, dry_run: config.is_dry_run(), paused: config.starts_paused() };
        let ours = ours.clone();
        Some(move |_: &Env| -> Result<Reconciler, BoxError> {
            ours.lock().push(Deployed { by, pass });
            Err("it is only looked at".into())
        })
    })?;
    Ok(heard)
}

/// Those that there are, or one with defaults under the name that it is to have
/// then.
fn choose<P>(heard: &Heard<P>, instead: &str, default: P) -> Vec<Deployed<P>> {
    let mut found = std::mem::take(&mut *heard.lock());
    if found.is_empty() {
        let by = By { name: instead.to_owned(), dry_run: false, paused: false };
        found.push(Deployed { by, pass: default });
    }
    found
}
