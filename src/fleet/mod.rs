//! A fleet of agents and their work: who they are, what waits, who holds
//! what, and the passes that keep all of it right while machines die.
//!
//! An agent registers with a token, sends heartbeats and claims commands. A
//! claim is a [`Lease`]: for its time nobody takes the command away, and a
//! holder that comes late is told `Stale` and changes nothing, because each
//! claim has a larger number than the one before. What the agents leave undone
//! the passes put right: agents that are silent are offline, leases that are
//! over are released, what waits too long expires, and all of it is decided by
//! the database's clock.
//!
//! ```
//! use std::time::Duration;
//! use loopkeeper::fleet::*;
//! # #[cfg(feature = "sqlite")] {
//!
//! let mut store = SqliteStore::open(&SqliteConfig::memory())?;
//! let acme = store.create_tenant("acme", Plan::Team)?;
//! store.enqueue(&NewCommand::job(acme, CommandKind::Scan, r#"{"host": "a"}"#))?;
//! let (_, token) = store.create_token("root", &NewToken::for_platform("first"))?;
//!
//! let agent = store.register(&token, &NewAgent::new("one", AgentKind::Platform))?.agent;
//! store.heartbeat(agent, &Heartbeat::new())?;
//! let claim = store.claim(agent, Duration::from_secs(60))?.expect("a job waits");
//! store.start(&claim.lease)?;
//! store.complete(&claim.lease, r#"{"open": [22]}"#)?;
//!
//! assert!(store.register(&token, &NewAgent::new("two", AgentKind::Platform)).is_err());
//! # }
//! # Ok::<(), loopkeeper::Error>(())
//! ```

mod agent;
mod agent_health;
mod audit;
mod audit_retention;
mod command;
mod connect;
mod controller;
pub mod descriptor;
mod id;
mod job_recovery;
mod pass;
mod queue_priority;
mod rule;
mod store;
mod tenant;
mod token;
mod token_cleanup;
mod word;

pub use agent::{Agent, AgentCondition, AgentKind, AgentStatus, Heartbeat, NewAgent};
pub use agent_health::{AgentHealth, AgentHealthConfig};
pub use audit::{AuditRecord, ChainReport, NewAudit, RETENTION, Severity};
pub use audit_retention::{AuditRetention, AuditRetentionConfig};
pub use command::{Action, Claim, Command, CommandKind, CommandState, Lease, NewCommand, Priority};
pub use connect::StoreConfig;
pub use controller::{Pass, PassController};
pub use id::{AgentId, CommandId, TenantId, TokenId};
pub use job_recovery::{JobRecovery, JobRecoveryConfig};
pub use pass::{PassContext, PassReport};
pub use queue_priority::{QueuePriority, QueuePriorityConfig};
pub use rule::{Explanation, Reason};
#[cfg(any(test, feature = "test-util"))]
pub use store::model::{ManualTime, ModelStore};
#[cfg(feature = "postgres")]
pub use store::postgres::{PostgresConfig, PostgresLink, PostgresStore};
#[cfg(feature = "sqlite")]
pub use store::sqlite::{SqliteConfig, SqliteLink, SqliteStore};
pub use store::{
    AgentStore, AuditStore, Canceller, CommandStore, Listing, Lost, Moved, Registered, Scope, Store, Sweep,
    TenantStore, TokenStore, TokensCleaned, Touched,
};
pub use tenant::{Plan, Tenant};
pub use token::{NewToken, Secret, Token, TokenStatus};
pub use token_cleanup::{TokenCleanup, TokenCleanupConfig};
