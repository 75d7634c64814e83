//! Where a fleet is kept: the traits, and the stores that keep them.
//!
//! Every change is one guarded write: it says what the row must still be, and
//! does nothing where that is not so. Nothing is read, changed in memory and
//! written back. So several processes may work on one database without
//! knowing of each other.
//!
//! A store is one connection and is used by one thread at a time; open one
//! for each loop.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::agent::{Agent, AgentStatus, Heartbeat, NewAgent};
use super::audit::{AuditRecord, ChainReport, NewAudit};
use super::command::{Claim, Command, CommandState, Lease, NewCommand};
use super::id::{AgentId, CommandId, TenantId, TokenId};
use super::tenant::{Plan, Tenant};
use super::token::{NewToken, Secret, Token};
use crate::error::Result;
use crate::stamp::Stamp;

mod guard;
#[cfg(feature = "postgres")]
mod line;
mod migrate;
#[cfg(any(test, feature = "test-util"))]
pub(super) mod model;
#[cfg(feature = "postgres")]
pub(super) mod postgres;
mod row;
mod sql;
#[cfg(feature = "sqlite")]
pub(super) mod sqlite;
mod statement;
mod statements;

/// Everything that a fleet is kept in.
pub trait Store: TenantStore + AgentStore + CommandStore + TokenStore + AuditStore + Send {
    /// The time by the clock that decides: the database's.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    fn now(&mut self) -> Result<Stamp>;

    /// What cancels a statement of this store from another thread; `None`
    /// where statements are short and nothing can.
    fn canceller(&self) -> Option<Canceller> {
        None
    }

    /// Begins what [`end_dry_run`](Self::end_dry_run) undoes: all sweeps until
    /// then see what those before have done. Answers whether the store can; one
    /// that cannot undoes each sweep at once, as [`Sweep::dry_run`] says.
    ///
    /// A store on a database holds one transaction for as long: others wait for
    /// the rows that it has touched, and in a file for the right to write.
    /// Between the two nothing is called but sweeps, what reads, and
    /// [`set_max_attempts`](CommandStore::set_max_attempts); after an error
    /// nothing but the end.
    ///
    /// # Errors
    ///
    /// When the database does not answer, or a dry run goes on already.
    fn begin_dry_run(&mut self) -> Result<bool> {
        Ok(false)
    }

    /// Undoes all that was done since the dry run began; without one it does
    /// nothing.
    fn end_dry_run(&mut self) {}
}

/// Cancels what a store is at, from any thread. Cloning shares it.
///
/// The statement that runs at that moment fails with `Cancelled`; when none
/// runs, nothing happens. Hand it to
/// [`Context::on_cancel`](crate::Context::on_cancel).
#[derive(Clone)]
pub struct Canceller(Arc<dyn Fn() -> Result<()> + Send + Sync>);

impl Canceller {
    #[cfg(feature = "postgres")]
    fn new(cancel: impl Fn() -> Result<()> + Send + Sync + 'static) -> Self {
        Self(Arc::new(cancel))
    }

    /// Asks the server to cancel.
    ///
    /// # Errors
    ///
    /// When the server is not reached.
    pub fn cancel(&self) -> Result<()> {
        (self.0)()
    }
}

impl fmt::Debug for Canceller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Canceller")
    }
}

/// How much one sweep may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sweep {
    /// How many rows at most. A sweep that touched as many may have left some.
    pub batch: u32,
    /// Whether what was done is undone at once: the answer is what would have
    /// been done.
    pub dry_run: bool,
}

impl Default for Sweep {
    fn default() -> Self {
        Self { batch: 10_000, dry_run: false }
    }
}

/// Rows as they stand, and what could not be read of them.
///
/// One row that somebody else wrote wrongly does not hide the others.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Listing<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// What is wrong with rows that are left out, one text each.
    pub unreadable: Vec<String>,
    /// The number to go on after: that of the last row looked at, be it one
    /// that is left out. `None` where there was none, and where all is listed
    /// at once.
    pub next: Option<i64>,
}

/// Tenants and their plans.
pub trait TenantStore {
    /// Makes a tenant.
    ///
    /// # Errors
    ///
    /// `Duplicate` when the name is taken, `InvalidArgument` when it is none.
    fn create_tenant(&mut self, name: &str, plan: Plan) -> Result<TenantId>;

    /// Gives a tenant another plan.
    ///
    /// # Errors
    ///
    /// `NotFound` when there is no such tenant.
    fn set_plan(&mut self, tenant: TenantId, plan: Plan) -> Result<()>;

    /// A tenant's plan, and how many jobs of the platform it has at work.
    ///
    /// # Errors
    ///
    /// `NotFound` when there is no such tenant.
    fn standing(&mut self, tenant: TenantId) -> Result<(Plan, u64)>;

    /// All tenants, by number.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    fn tenants(&mut self) -> Result<Listing<Tenant>>;
}

/// What registering brought.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Registered {
    /// The agent's number.
    pub agent: AgentId,
    /// The agent's key: shown this once.
    pub key: Secret,
}

/// Agents: their own side, the administrator's, and the controllers'.
pub trait AgentStore {
    /// Makes an agent out of one use of a token.
    ///
    /// # Errors
    ///
    /// `NotFound` when no token is like this, with the same text whatever is
    /// wrong with it; `InvalidArgument` when what the agent says of itself
    /// cannot be kept, or the token is for another kind.
    fn register(&mut self, token: &Secret, agent: &NewAgent) -> Result<Registered>;

    /// Whose key this is.
    ///
    /// # Errors
    ///
    /// `NotFound` when it is nobody's, or that of a revoked agent.
    fn authenticate(&mut self, key: &Secret) -> Result<AgentId>;

    /// Tells that an agent lives. Answers what an administrator decided about
    /// it, which a heartbeat never changes.
    ///
    /// # Errors
    ///
    /// `NotFound` when there is no such agent; `InvalidState` when it was
    /// revoked.
    fn heartbeat(&mut self, agent: AgentId, heartbeat: &Heartbeat) -> Result<AgentStatus>;

    /// Decides about an agent, and leaves an audit record. The reason is kept
    /// as a message of [`fail`](CommandStore::fail).
    ///
    /// # Errors
    ///
    /// `NotFound` when there is no such agent; `InvalidState` when it was
    /// revoked, which is for good; `InvalidArgument` when nothing of the reason
    /// is left.
    fn set_agent_status(
        &mut self,
        actor: &str,
        agent: AgentId,
        status: AgentStatus,
        reason: &str,
    ) -> Result<()>;

    /// One agent.
    ///
    /// # Errors
    ///
    /// `NotFound` when there is no such agent.
    fn agent(&mut self, agent: AgentId) -> Result<Agent>;

    /// The agents whose number is above `after`, by number, `limit` at most.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    fn agents(&mut self, after: AgentId, limit: u32) -> Result<Listing<Agent>>;

    /// Finds agents to be offline that were not heard of for longer than
    /// `stale`; whoever was never heard of counts from its registration.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    fn mark_offline(&mut self, stale: Duration, sweep: Sweep) -> Result<Vec<AgentId>>;
}

/// Which commands a sweep looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Jobs of the platform.
    Platform,
    /// Commands of tenants.
    Tenant,
}

/// Whose commands are taken back once their lease is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// Those whose agent is dead: offline, or revoked.
    HolderDead,
    /// Those too whose claim is older than this, although their agent lives.
    OrOlderThan(Duration),
}

/// A command that a sweep changed, and what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Touched {
    /// The command.
    pub command: CommandId,
    /// Its state now.
    pub state: CommandState,
}

/// What became of a batch of waiting jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moved {
    /// How many have another place now.
    pub moved: u64,
    /// Whether it was the last batch: the next one begins at the front.
    pub finished: bool,
}

/// Commands: the agents' side, the administrator's, and the controllers'.
///
/// What a holder does is done with its [`Lease`]. When the command was taken
/// away meanwhile (another claim, a requeue, a decision), the call changes
/// nothing and answers `Stale`. The same call once more, because its answer
/// was lost, answers as the first did.
pub trait CommandStore {
    /// Puts a command in the queue.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` when it cannot be kept; `NotFound` when there is no
    /// such tenant, or no such agent of that tenant to pin it to.
    fn enqueue(&mut self, command: &NewCommand) -> Result<CommandId>;

    /// Takes the next command that the agent can do.
    ///
    /// Agents of the platform take jobs: of each tenant the first in its
    /// queue, and among those the highest by queue priority, counted with
    /// what the tenant has at work at this moment; more than 100 count as
    /// 100. Others take commands of their tenant by priority and age. `None`
    /// when there is nothing for the agent, or it holds as many as it may.
    ///
    /// # Errors
    ///
    /// `NotFound` when there is no such agent; `InvalidState` when it is not
    /// active, or not online and must send a heartbeat first;
    /// `InvalidArgument` when the lease is shorter than 1 s or longer than a
    /// day.
    fn claim(&mut self, agent: AgentId, lease: Duration) -> Result<Option<Claim>>;

    /// What an agent holds: how it finds its work again after a crash.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    fn held(&mut self, agent: AgentId) -> Result<Listing<Claim>>;

    /// Tells that the holder begins.
    ///
    /// # Errors
    ///
    /// `Stale` when the command was taken away; `InvalidState` when it was
    /// begun and ended already.
    fn start(&mut self, lease: &Lease) -> Result<()>;

    /// Tells how far the holder is, in percent; more counts as 100.
    ///
    /// # Errors
    ///
    /// `Stale` when the command was taken away; `InvalidState` when it does
    /// not run.
    fn progress(&mut self, lease: &Lease, percent: u8) -> Result<()>;

    /// Tells that it is done; `result` is JSON.
    ///
    /// # Errors
    ///
    /// `Stale` when the command was taken away; `InvalidState` when it does
    /// not run; `InvalidArgument` when the result is not JSON.
    fn complete(&mut self, lease: &Lease, result: &str) -> Result<()>;

    /// Tells that it cannot be done. The message is kept up to 4 KiB; control
    /// characters in it, but ends of lines and tabs, become spaces.
    ///
    /// # Errors
    ///
    /// `Stale` when the command was taken away; `InvalidState` when it ended
    /// otherwise; `InvalidArgument` when nothing of the message is left.
    fn fail(&mut self, lease: &Lease, message: &str) -> Result<()>;

    /// Gives it back to the queue. The claim stays used.
    ///
    /// # Errors
    ///
    /// `Stale` when the command was taken away, or was given back before.
    fn release(&mut self, lease: &Lease) -> Result<()>;

    /// Asks for more time, from now on; a lease is never made shorter.
    ///
    /// # Errors
    ///
    /// `Stale` when the command was taken away; `InvalidArgument` when the
    /// time is shorter than 1 s or longer than a day.
    fn renew(&mut self, lease: &Lease, time: Duration) -> Result<Lease>;

    /// Decides that a command is not wanted any more, and leaves an audit
    /// record. Its holder hears of it as `Stale`. A second time changes
    /// nothing. The reason is kept as a message of [`fail`](Self::fail).
    ///
    /// # Errors
    ///
    /// `NotFound` when there is no such command; `InvalidState` when it is
    /// over otherwise; `InvalidArgument` when nothing of the reason is left.
    fn cancel(&mut self, actor: &str, command: CommandId, reason: &str) -> Result<()>;

    /// One command.
    ///
    /// # Errors
    ///
    /// `NotFound` when there is no such command.
    fn command(&mut self, command: CommandId) -> Result<Command>;

    /// The commands whose number is above `after`, by number, `limit` at
    /// most.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    fn commands(&mut self, after: CommandId, limit: u32) -> Result<Listing<Command>>;

    /// The jobs of the platform that wait, the next first by their places as
    /// the last pass of [`QueuePriority`](super::QueuePriority) wrote them,
    /// `limit` at most. Those that no agent can claim now come last, by their
    /// places, too: due later, past their time, or with their claims used up. A
    /// claim counts with what each tenant has at work at its moment, so it may
    /// take another first.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    fn queue(&mut self, limit: u32) -> Result<Listing<Command>>;

    /// How many claims a command may use that does not say itself.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    fn max_attempts(&mut self) -> Result<u32>;

    /// Sets how many claims a command may use that does not say itself, for
    /// all who use the database. Answers whether it was another number.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` when it is 0.
    fn set_max_attempts(&mut self, n: u32) -> Result<bool>;

    /// Takes commands back whose lease is over and whose holder is lost: to
    /// the queue, or, once and for all, failed when its claims are used up,
    /// expired when its time is.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    fn recover(&mut self, scope: Scope, lost: Lost, sweep: Sweep) -> Result<Vec<Touched>>;

    /// Expires commands that are in the queue for longer than `max_queue`. Time
    /// at an agent, and before a command is due, does not count. A tenant's
    /// command that says when it expires has no other limit.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    fn expire_queued(&mut self, scope: Scope, max_queue: Duration, sweep: Sweep) -> Result<Vec<Touched>>;

    /// Expires what waits past its `expires_at`.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    fn expire_due(&mut self, sweep: Sweep) -> Result<Vec<Touched>>;

    /// Fails what waits although its claims are used up.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    fn fail_exhausted(&mut self, sweep: Sweep) -> Result<Vec<Touched>>;

    /// Lets any agent claim what waits for one that is gone: not active, or
    /// offline for longer than `patience`.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    fn unpin(&mut self, patience: Duration, sweep: Sweep) -> Result<Vec<Touched>>;

    /// Computes the places of one batch of waiting jobs anew, in the order in
    /// which they came into the queue; writes and counts only those that
    /// change. The batch is how many are looked at. The next call through this
    /// store goes on behind them, and after the last begins at the front. A
    /// sweep that is undone at once looks at all.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    fn reprioritize(&mut self, bonus_per_minute: u32, sweep: Sweep) -> Result<Moved>;
}

/// How many tokens were taken away, by why they were good for nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct TokensCleaned {
    /// Their time was over.
    pub expired: u64,
    /// Their uses were used up.
    pub exhausted: u64,
    /// An administrator took them back.
    pub revoked: u64,
}

impl TokensCleaned {
    /// How many in all.
    #[must_use]
    pub const fn total(self) -> u64 {
        self.expired + self.exhausted + self.revoked
    }
}

/// Registration tokens.
pub trait TokenStore {
    /// Makes a token, and leaves an audit record. The secret is shown this
    /// once.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` when it cannot be kept; `NotFound` when there is no
    /// such tenant.
    fn create_token(&mut self, actor: &str, token: &NewToken) -> Result<(TokenId, Secret)>;

    /// Takes a token back, and leaves an audit record. A second time changes
    /// nothing.
    ///
    /// # Errors
    ///
    /// `NotFound` when there is no such token.
    fn revoke_token(&mut self, actor: &str, token: TokenId) -> Result<()>;

    /// The tokens whose number is above `after`, by number, `limit` at most.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    fn tokens(&mut self, after: TokenId, limit: u32) -> Result<Listing<Token>>;

    /// Takes tokens away that are good for nothing for longer than `grace`.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    fn clean_tokens(&mut self, grace: Duration, sweep: Sweep) -> Result<TokensCleaned>;
}

/// The audit log.
pub trait AuditStore {
    /// Writes a record at the end of the chain; answers its position.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` when it cannot be kept.
    fn append(&mut self, record: &NewAudit) -> Result<i64>;

    /// The records whose position is above `after`, in order, `limit` at most.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    fn audit(&mut self, after: i64, limit: u32) -> Result<Listing<AuditRecord>>;

    /// Walks the whole chain. A record that cannot be read, or has a number
    /// that no record can have, is a place where it does not hold. `check` is
    /// asked between batches, and its error ends the walk.
    ///
    /// # Errors
    ///
    /// That of `check`, or when the database does not answer.
    fn verify(&mut self, check: &mut dyn FnMut() -> Result<()>) -> Result<ChainReport>;

    /// How many records [`retain`](Self::retain) would take.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    fn count_older(&mut self, age: Duration, grave: bool) -> Result<u64>;

    /// Deletes one batch of the oldest records that are older than `age`, of
    /// those that are kept longer (`grave`) or of the others. What it took is
    /// itself a record, written in the same transaction. Answers how many;
    /// none means that nothing is left to take.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    fn retain(&mut self, age: Duration, grave: bool, batch: u32) -> Result<u64>;
}
