//! Rows as the databases hand them over, and what they mean.
//!
//! Words are read as text and understood here, so that a row somebody else
//! wrote wrongly is told by its number and column.

use std::str::FromStr;

use diesel::QueryableByName;
use diesel::deserialize;
use diesel::row::NamedRow;
use diesel::sql_types::{BigInt, Bool, Nullable, Text};

use super::guard::{Claimer, no_policy};
use super::{Listing, Touched};
use crate::error::{Error, ErrorClass, ErrorKind, Result};
use crate::fleet::agent::Agent;
use crate::fleet::audit::{AuditRecord, Link};
use crate::fleet::command::{Command, CommandState, Priority};
use crate::fleet::id::{AgentId, CommandId, TenantId, TokenId};
use crate::fleet::tenant::Tenant;
use crate::fleet::token::Token;
use crate::stamp::Stamp;

const COMMANDS: &str = "fleet_commands";

/// One number.
#[derive(Debug, QueryableByName)]
pub(super) struct Number {
    #[diesel(sql_type = BigInt)]
    pub(super) n: i64,
}

/// One word.
#[derive(Debug, QueryableByName)]
pub(super) struct Word {
    #[diesel(sql_type = Text)]
    pub(super) word: String,
}

/// A secret's place and hash.
#[derive(Debug, QueryableByName)]
pub(super) struct Hashed {
    #[diesel(sql_type = BigInt)]
    pub(super) id: i64,
    #[diesel(sql_type = Text)]
    pub(super) hash: String,
}

/// What a used token allows.
#[derive(Debug, QueryableByName)]
pub(super) struct Allowed {
    #[diesel(sql_type = Nullable<BigInt>)]
    pub(super) tenant_id: Option<i64>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(super) kind: Option<String>,
}

/// The end of the audit chain.
#[derive(Debug, QueryableByName)]
pub(super) struct Head {
    #[diesel(sql_type = BigInt)]
    pub(super) position: i64,
    #[diesel(sql_type = Text)]
    pub(super) hash: String,
}

/// A place in the audit log by age.
#[derive(Debug, QueryableByName)]
pub(super) struct Boundary {
    #[diesel(sql_type = BigInt)]
    pub(super) at: i64,
    #[diesel(sql_type = BigInt)]
    pub(super) position: i64,
}

/// How many records, and from where to where.
#[derive(Debug, QueryableByName)]
pub(super) struct Extent {
    #[diesel(sql_type = BigInt)]
    pub(super) n: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub(super) first: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub(super) last: Option<i64>,
}

#[derive(Debug, QueryableByName)]
pub(super) struct TouchedRow {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = Text)]
    state: String,
}

impl TouchedRow {
    pub(super) fn read(self) -> Result<Touched> {
        let state = word(COMMANDS, self.id, "state", &self.state)?;
        Ok(Touched { command: CommandId(self.id), state })
    }
}

#[derive(Debug, QueryableByName)]
pub(super) struct TenantRow {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    plan: String,
    #[diesel(sql_type = BigInt)]
    created_at: i64,
}

impl TenantRow {
    pub(super) fn read(self) -> Result<Tenant> {
        Ok(Tenant {
            id: TenantId(self.id),
            name: self.name,
            plan: word("fleet_tenants", self.id, "plan", &self.plan)?,
            created_at: stamp(self.created_at),
        })
    }
}

#[derive(Debug, QueryableByName)]
pub(super) struct AgentRow {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    tenant_id: Option<i64>,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = Text)]
    status: String,
    #[diesel(sql_type = Nullable<Text>)]
    status_message: Option<String>,
    #[diesel(sql_type = Text)]
    health: String,
    #[diesel(sql_type = Nullable<Text>)]
    last_error: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    version: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    hostname: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    region: Option<String>,
    #[diesel(sql_type = Nullable<BigInt>)]
    cpu_percent: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    memory_percent: Option<i64>,
    #[diesel(sql_type = BigInt)]
    max_jobs: i64,
    #[diesel(sql_type = BigInt)]
    held_jobs: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    last_seen_at: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    last_offline_at: Option<i64>,
    #[diesel(sql_type = BigInt)]
    created_at: i64,
}

/// Who claims.
#[derive(Debug, QueryableByName)]
pub(super) struct ClaimerRow {
    #[diesel(sql_type = Nullable<BigInt>)]
    tenant_id: Option<i64>,
    #[diesel(sql_type = BigInt)]
    max_jobs: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    max_attempts: Option<i64>,
}

impl ClaimerRow {
    pub(super) fn read(self, id: AgentId) -> Result<Claimer> {
        let max_attempts = self.max_attempts.ok_or_else(no_policy)?;
        Ok(Claimer { id, tenant: self.tenant_id.map(TenantId), max_jobs: self.max_jobs, max_attempts })
    }
}

/// What there is to claim.
#[derive(Debug, QueryableByName)]
pub(super) struct WaitingRow {
    #[diesel(sql_type = BigInt)]
    pub(super) held_jobs: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub(super) other_tenant: Option<i64>,
    #[diesel(sql_type = BigInt)]
    pub(super) now: i64,
}

/// The same where several tenants' jobs wait: a row for each, the first first;
/// one row without a tenant where there is none.
#[derive(Debug, QueryableByName)]
pub(super) struct RankedRow {
    #[diesel(sql_type = BigInt)]
    pub(super) held_jobs: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub(super) tenant_id: Option<i64>,
    #[diesel(sql_type = BigInt)]
    pub(super) now: i64,
}

impl AgentRow {
    pub(super) fn read(self) -> Result<Agent> {
        let table = "fleet_agents";
        Ok(Agent {
            id: AgentId(self.id),
            tenant: self.tenant_id.map(TenantId),
            kind: word(table, self.id, "kind", &self.kind)?,
            status: word(table, self.id, "status", &self.status)?,
            health: word(table, self.id, "health", &self.health)?,
            name: self.name,
            status_message: self.status_message,
            last_error: self.last_error,
            version: self.version,
            hostname: self.hostname,
            region: self.region,
            cpu_percent: self.cpu_percent,
            memory_percent: self.memory_percent,
            max_jobs: self.max_jobs,
            held_jobs: self.held_jobs,
            last_seen_at: self.last_seen_at.map(stamp),
            last_offline_at: self.last_offline_at.map(stamp),
            created_at: stamp(self.created_at),
        })
    }
}

#[derive(Debug, QueryableByName)]
pub(super) struct CommandRow {
    #[diesel(embed)]
    most: ClaimedRow,
    #[diesel(sql_type = BigInt)]
    tenant_id: i64,
    #[diesel(sql_type = Bool)]
    platform: bool,
    #[diesel(sql_type = Text)]
    state: String,
    #[diesel(sql_type = Nullable<BigInt>)]
    agent_id: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    progress: Option<i64>,
    #[diesel(sql_type = Nullable<Text>)]
    result: Option<String>,
    #[diesel(sql_type = Nullable<BigInt>)]
    acknowledged_at: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    started_at: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    completed_at: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    lease_until: Option<i64>,
}

impl CommandRow {
    pub(super) fn read(self) -> Result<Command> {
        let state = word(COMMANDS, self.most.id, "state", &self.state)?;
        let command = self.most.command(TenantId(self.tenant_id), self.platform, state)?;
        Ok(Command {
            agent: self.agent_id.map(AgentId),
            progress: self.progress,
            result: self.result,
            acknowledged_at: self.acknowledged_at.map(stamp),
            started_at: self.started_at.map(stamp),
            completed_at: self.completed_at.map(stamp),
            lease_until: self.lease_until.map(stamp),
            ..command
        })
    }
}

/// What of a command its claim does not know already: each column costs both
/// sides, at every claim.
#[derive(Debug, QueryableByName)]
pub(super) struct ClaimedRow {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = BigInt)]
    priority: i64,
    #[diesel(sql_type = Text)]
    payload: String,
    #[diesel(sql_type = Nullable<BigInt>)]
    pinned_to: Option<i64>,
    #[diesel(sql_type = BigInt)]
    fence: i64,
    #[diesel(sql_type = BigInt)]
    version: i64,
    #[diesel(sql_type = BigInt)]
    attempts: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    max_attempts: Option<i64>,
    #[diesel(sql_type = BigInt)]
    queue_priority: i64,
    #[diesel(sql_type = BigInt)]
    queue_penalty: i64,
    #[diesel(sql_type = Nullable<Text>)]
    message: Option<String>,
    #[diesel(sql_type = BigInt)]
    created_at: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    scheduled_at: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    expires_at: Option<i64>,
    #[diesel(sql_type = BigInt)]
    queued_at: i64,
    #[diesel(sql_type = BigInt)]
    waiting_since: i64,
}

/// The same as a claim answers it: a server looks up for each column how it is
/// sent, which costs as much as the column, so there the numbers are one.
#[derive(Debug)]
pub(super) struct TakenRow(pub(super) ClaimedRow);

#[cfg(feature = "sqlite")]
impl QueryableByName<diesel::sqlite::Sqlite> for TakenRow {
    fn build<'a>(row: &impl NamedRow<'a, diesel::sqlite::Sqlite>) -> deserialize::Result<Self> {
        ClaimedRow::build(row).map(Self)
    }
}

#[cfg(feature = "postgres")]
impl QueryableByName<diesel::pg::Pg> for TakenRow {
    fn build<'a>(row: &impl NamedRow<'a, diesel::pg::Pg>) -> deserialize::Result<Self> {
        use diesel::sql_types::Array;
        let numbers: Vec<Option<i64>> = NamedRow::get::<Array<Nullable<BigInt>>, _>(row, "numbers")?;
        let numbers: [Option<i64>; 14] = numbers.try_into().map_err(|_| "expected 14 numbers")?;
        let [id, priority, pinned_to, fence, version, attempts, max_attempts, queue_priority, ..] = numbers;
        let [.., queue_penalty, created_at, scheduled_at, expires_at, queued_at, waiting_since] = numbers;
        let there = |number: Option<i64>| number.ok_or("expected a number, found none");
        Ok(Self(ClaimedRow {
            id: there(id)?,
            kind: NamedRow::get::<Text, _>(row, "kind")?,
            priority: there(priority)?,
            payload: NamedRow::get::<Text, _>(row, "payload")?,
            pinned_to,
            fence: there(fence)?,
            version: there(version)?,
            attempts: there(attempts)?,
            max_attempts,
            queue_priority: there(queue_priority)?,
            queue_penalty: there(queue_penalty)?,
            message: NamedRow::get::<Nullable<Text>, _>(row, "message")?,
            created_at: there(created_at)?,
            scheduled_at,
            expires_at,
            queued_at: there(queued_at)?,
            waiting_since: there(waiting_since)?,
        }))
    }
}

/// Whose claim it is, and from when until when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Claimed {
    pub(super) tenant: TenantId,
    pub(super) platform: bool,
    pub(super) agent: AgentId,
    pub(super) at: i64,
    pub(super) until: i64,
}

impl ClaimedRow {
    pub(super) fn read(self, by: Claimed) -> Result<Command> {
        let command = self.command(by.tenant, by.platform, CommandState::Acknowledged)?;
        Ok(Command {
            agent: Some(by.agent),
            acknowledged_at: Some(stamp(by.at)),
            lease_until: Some(stamp(by.until)),
            ..command
        })
    }

    /// The command, without what only a whole row or its claim knows.
    fn command(self, tenant: TenantId, platform: bool, state: CommandState) -> Result<Command> {
        let priority = Priority::ALL.iter().copied().find(|priority| priority.base() == self.priority);
        let priority = priority.ok_or_else(|| {
            let why = format!("expected 250, 500, 750 or 1000, found {}", self.priority);
            unreadable(COMMANDS, self.id, "priority", &why)
        })?;
        Ok(Command {
            id: CommandId(self.id),
            tenant,
            platform,
            kind: word(COMMANDS, self.id, "kind", &self.kind)?,
            priority,
            payload: self.payload,
            state,
            pinned_to: self.pinned_to.map(AgentId),
            agent: None,
            fence: self.fence,
            version: self.version,
            attempts: self.attempts,
            max_attempts: self.max_attempts,
            queue_priority: self.queue_priority,
            queue_penalty: self.queue_penalty,
            progress: None,
            message: self.message,
            result: None,
            created_at: stamp(self.created_at),
            scheduled_at: self.scheduled_at.map(stamp),
            expires_at: self.expires_at.map(stamp),
            queued_at: stamp(self.queued_at),
            waiting_since: stamp(self.waiting_since),
            acknowledged_at: None,
            started_at: None,
            completed_at: None,
            lease_until: None,
        })
    }
}

#[derive(Debug, QueryableByName)]
pub(super) struct TokenRow {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    tenant_id: Option<i64>,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    prefix: String,
    #[diesel(sql_type = Nullable<Text>)]
    kind: Option<String>,
    #[diesel(sql_type = Nullable<BigInt>)]
    max_uses: Option<i64>,
    #[diesel(sql_type = BigInt)]
    uses: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    expires_at: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    exhausted_at: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    revoked_at: Option<i64>,
    #[diesel(sql_type = Text)]
    created_by: String,
    #[diesel(sql_type = BigInt)]
    created_at: i64,
}

impl TokenRow {
    pub(super) fn read(self) -> Result<Token> {
        let kind =
            self.kind.as_deref().map(|kind| word("fleet_tokens", self.id, "kind", kind)).transpose()?;
        Ok(Token {
            id: TokenId(self.id),
            tenant: self.tenant_id.map(TenantId),
            name: self.name,
            prefix: self.prefix,
            kind,
            max_uses: self.max_uses,
            uses: self.uses,
            expires_at: self.expires_at.map(stamp),
            exhausted_at: self.exhausted_at.map(stamp),
            revoked_at: self.revoked_at.map(stamp),
            created_by: self.created_by,
            created_at: stamp(self.created_at),
        })
    }
}

#[derive(Debug, QueryableByName)]
pub(super) struct AuditRow {
    #[diesel(sql_type = BigInt)]
    position: i64,
    #[diesel(sql_type = BigInt)]
    at: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    tenant_id: Option<i64>,
    #[diesel(sql_type = Text)]
    actor: String,
    #[diesel(sql_type = Text)]
    action: String,
    #[diesel(sql_type = Text)]
    resource: String,
    #[diesel(sql_type = Text)]
    severity: String,
    #[diesel(sql_type = Text)]
    detail: String,
    #[diesel(sql_type = Text)]
    prev_hash: String,
    #[diesel(sql_type = Text)]
    hash: String,
}

impl AuditRow {
    pub(super) fn position(&self) -> i64 {
        self.position
    }

    /// What joins it to the records before and behind it.
    pub(super) fn link(&self) -> Link {
        Link { position: self.position, prev_hash: self.prev_hash.clone(), hash: self.hash.clone() }
    }

    pub(super) fn read(self) -> Result<AuditRecord> {
        Ok(AuditRecord {
            position: self.position,
            at: stamp(self.at),
            tenant: self.tenant_id.map(TenantId),
            severity: word("fleet_audit", self.position, "severity", &self.severity)?,
            actor: self.actor,
            action: self.action,
            resource: self.resource,
            detail: self.detail,
            prev_hash: self.prev_hash,
            hash: self.hash,
        })
    }
}

/// A row of a table that is listed page by page.
pub(super) trait Numbered {
    fn number(&self) -> i64;
}

macro_rules! numbered {
    ($($row:ty: $($number:ident).+;)+) => {$(
        impl Numbered for $row {
            fn number(&self) -> i64 {
                self.$($number).+
            }
        }
    )+};
}

numbered! {
    AgentRow: id;
    CommandRow: most.id;
    TokenRow: id;
    AuditRow: position;
}

/// Reads rows, and says of each that cannot be read why.
pub(super) fn listing<R, T>(rows: Vec<R>, read: impl Fn(R) -> Result<T>) -> Listing<T> {
    let mut listing = Listing { rows: Vec::with_capacity(rows.len()), unreadable: Vec::new(), next: None };
    for row in rows {
        match read(row) {
            Ok(row) => listing.rows.push(row),
            Err(error) => listing.unreadable.push(error.report().to_string()),
        }
    }
    listing
}

/// The same for a page of rows that are in the order of their numbers.
pub(super) fn page<R: Numbered, T>(rows: Vec<R>, read: impl Fn(R) -> Result<T>) -> Listing<T> {
    let next = rows.last().map(Numbered::number);
    Listing { next, ..listing(rows, read) }
}

pub(super) fn word<T: FromStr<Err = Error>>(table: &str, id: i64, column: &str, text: &str) -> Result<T> {
    text.parse().map_err(|error: Error| unreadable(table, id, column, &error.to_string()))
}

fn unreadable(table: &str, id: i64, column: &str, why: &str) -> Error {
    Error::new(ErrorKind::Store)
        .with_class(ErrorClass::Terminal)
        .context(format!("{table}, row {id}, {column}: {why}"))
}

/// A time out of a row. What lies before 1970 is held there.
pub(super) fn stamp(micros: i64) -> Stamp {
    Stamp::from_micros(u64::try_from(micros).unwrap_or(0))
}

/// A time for a row.
pub(super) fn micros(stamp: Stamp) -> i64 {
    // A stamp ends with the year 9999, far below the largest number.
    i64::try_from(stamp.as_micros()).unwrap_or(i64::MAX)
}

/// A span for a row.
pub(super) fn span(duration: std::time::Duration) -> i64 {
    // Some 3,000 years, so that a sum with a time stays a number.
    const LONGEST: i64 = 100_000_000_000_000_000;
    i64::try_from(duration.as_micros()).unwrap_or(LONGEST).min(LONGEST)
}
