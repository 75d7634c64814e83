//! The store on a database: what each call of the traits runs.

use std::time::Duration;

use super::guard::{
    Ask, Claimer, canceled_already, check_attempts, check_pin, claim_of, may_claim, no_agent, no_command,
    no_tenant, removal_record, revoked, settle, unknown_secret, wrong_kind,
};
use super::row::{
    AuditRow, Claimed, Extent, Hashed, Number, TakenRow, TouchedRow, listing, micros, page, span, stamp, word,
};
use super::statement::Link;
use super::statements::{self as st, Now};
use super::{
    AgentStore, AuditStore, Canceller, CommandStore, Listing, Lost, Moved, Registered, Scope, Store, Sweep,
    TenantStore, TokenStore, TokensCleaned, Touched,
};
use crate::error::{Error, ErrorClass, ErrorKind, Result};
use crate::fleet::agent::{Agent, AgentStatus, Heartbeat, MAX_NAME, NewAgent, check_text};
use crate::fleet::audit::{AuditRecord, ChainReport, NewAudit, Removal, Severity, Walk};
use crate::fleet::command::{Claim, Command, Lease, NewCommand, check_json, check_lease, message};
use crate::fleet::id::{AgentId, CommandId, TenantId, TokenId};
use crate::fleet::tenant::{Plan, Tenant};
use crate::fleet::token::{NewToken, Secret, Token, TokenStatus};
use crate::stamp::Stamp;

/// A store on a database: one connection, used by one thread at a time.
#[derive(Debug)]
pub struct SqlStore<L> {
    link: L,
    now: Now,
    /// Whose jobs waited alone when last a job of the platform was claimed:
    /// mostly they still do. With nobody's or several tenants' one statement
    /// tells all.
    alone: Option<i64>,
    /// Up to where places were computed; `None` is the queue's front.
    places: Option<st::Queued>,
    /// What `places` was before the dry run that goes on.
    dry_run: Option<Option<st::Queued>>,
}

impl<L> SqlStore<L> {
    pub(super) fn new(link: L) -> Self {
        Self { link, now: None, alone: None, places: None, dry_run: None }
    }

    #[cfg(feature = "postgres")]
    pub(super) fn link(&self) -> &L {
        &self.link
    }

    #[cfg(test)]
    pub(super) fn link_mut(&mut self) -> &mut L {
        &mut self.link
    }
}

#[cfg(any(test, feature = "test-util"))]
impl<L> super::model::ManualTime for SqlStore<L> {
    fn set_now(&mut self, now: Stamp) {
        self.now = Some(micros(now));
    }
}

/// The one row that a statement answers.
fn one<T>(rows: Vec<T>, what: impl FnOnce() -> String) -> Result<T> {
    rows.into_iter().next().ok_or_else(|| Error::new(ErrorKind::NotFound).context(what()))
}

fn claimed(rows: Vec<TakenRow>, by: Claimed) -> Result<Option<Claim>> {
    rows.into_iter().next().map(|row| row.0.read(by).and_then(claim_of)).transpose()
}

/// Before and behind all that wait.
const FRONT: st::Queued = (-i64::MAX, -i64::MAX);
const BACK: st::Queued = (i64::MAX, i64::MAX);

/// How often a claim asks which tenants come first, when each time others took
/// meanwhile all that was there.
const ROUNDS: u32 = 10;

/// Locks an agent that claims.
fn lock_claimer(link: &mut impl Link, now: Now, agent: AgentId) -> Result<Claimer> {
    if let Some(row) = st::lock_claimer(link, now, agent.0)?.into_iter().next() {
        return row.read(agent);
    }
    // Why it may not, unless it may by now.
    st::lock_agent(link, now, agent.0)?;
    may_claim(&one(st::select_agent(link, now, agent.0)?, || no_agent(agent))?.read()?)?;
    one(st::lock_claimer(link, now, agent.0)?, || no_agent(agent))?.read(agent)
}

/// What a claim knows before it takes a job.
struct Waiting {
    held: i64,
    now: i64,
    /// The first two tenants to claim from.
    tenants: Vec<i64>,
}

impl Waiting {
    fn look(link: &mut impl Link, now: Now, claimer: &Claimer, alone: Option<i64>) -> Result<Self> {
        let platform = claimer.tenant.is_none();
        if platform && alone.is_none() {
            return Self::ranked(link, now, claimer);
        }
        let alone = alone.filter(|_| platform);
        let row = one(st::select_waiting(link, now, claimer.id.0, alone)?, String::new)?;
        if row.other_tenant.is_some() && row.held_jobs < claimer.max_jobs {
            return Self::ranked(link, now, claimer);
        }
        // Of one tenant there is nothing to choose between.
        let tenant = claimer.tenant.map(|tenant| tenant.0).or(alone);
        Ok(Self { held: row.held_jobs, now: row.now, tenants: tenant.into_iter().collect() })
    }

    fn ranked(link: &mut impl Link, now: Now, claimer: &Claimer) -> Result<Self> {
        let rows = st::rank_tenants(link, now, claimer.id.0, claimer.max_attempts)?;
        let tenants = rows.iter().filter_map(|row| row.tenant_id).collect();
        let first = one(rows, String::new)?;
        Ok(Self { held: first.held_jobs, now: first.now, tenants })
    }

    /// Takes the first job that nobody else is just taking.
    fn claim(&self, link: &mut impl Link, claimer: &Claimer, lease: i64) -> Result<Option<Claim>> {
        let (now, most, until) = (Some(self.now), claimer.max_attempts, self.now.saturating_add(lease));
        let (agent, platform) = (claimer.id, claimer.tenant.is_none());
        for tenant in &self.tenants {
            let claim = if platform { st::claim_job } else { st::claim_order };
            let found = claim(link, now, agent.0, *tenant, lease, most)?;
            // None where others have taken meanwhile all that was there.
            let by = Claimed { tenant: TenantId(*tenant), platform, agent, at: self.now, until };
            if let Some(claim) = claimed(found, by)? {
                return Ok(Some(claim));
            }
        }
        Ok(None)
    }
}

#[allow(private_bounds, reason = "nothing in here can be called from outside")]
impl<L: Link> SqlStore<L> {
    /// Runs a sweep, and undoes it when it is dry. `any` is asked first: it
    /// reads, so a sweep that has nothing to do takes no lock from anybody.
    fn sweep<T>(
        &mut self,
        sweep: Sweep,
        any: impl FnOnce(&mut L, Now) -> Result<Vec<Number>>,
        body: impl FnOnce(&mut L, Now, i64) -> Result<Vec<T>>,
    ) -> Result<Vec<T>> {
        let now = self.now;
        if any(&mut self.link, now)?.is_empty() {
            return Ok(Vec::new());
        }
        let rows = self.done_or_undone(sweep, |link| body(link, now, i64::from(sweep.batch)))?;
        if rows.len() as u64 >= u64::from(sweep.batch) {
            self.give_way(sweep);
        }
        Ok(rows)
    }

    fn done_or_undone<T>(&mut self, sweep: Sweep, body: impl FnOnce(&mut L) -> Result<T>) -> Result<T> {
        // In a dry run its end undoes all.
        if !sweep.dry_run || self.dry_run.is_some() {
            return body(&mut self.link);
        }
        self.link.begin()?;
        let result = body(&mut self.link);
        self.link.rollback();
        result
    }

    /// After a batch that may be followed by others.
    fn give_way(&mut self, sweep: Sweep) {
        // While a transaction is open nobody else could use it.
        if !sweep.dry_run && self.dry_run.is_none() {
            self.link.give_way();
        }
    }

    fn touched(
        &mut self,
        sweep: Sweep,
        any: impl FnOnce(&mut L, Now) -> Result<Vec<Number>>,
        body: impl FnOnce(&mut L, Now, i64) -> Result<Vec<TouchedRow>>,
    ) -> Result<Vec<Touched>> {
        let rows = self.sweep(sweep, any, body)?;
        let mut touched = rows.into_iter().map(TouchedRow::read).collect::<Result<Vec<_>>>()?;
        touched.sort_unstable();
        Ok(touched)
    }

    /// Runs a holder's guarded write.
    fn held_write(
        &mut self,
        ask: Ask,
        lease: &Lease,
        write: impl FnOnce(&mut L, Now, i64, i64, i64) -> Result<Vec<Number>>,
    ) -> Result<Option<i64>> {
        let rows = write(&mut self.link, self.now, lease.command.0, lease.agent.0, lease.fence)?;
        if let Some(row) = rows.into_iter().next() {
            return Ok(Some(row.n));
        }
        let agent = self.agent(lease.agent)?;
        let command = self.command(lease.command)?;
        settle(ask, lease, &command, &agent).map(|()| None)
    }

    fn find_secret(secret: &Secret, rows: Vec<Hashed>) -> Result<i64> {
        // Nobody there costs the comparison too.
        let row = rows.into_iter().next().unwrap_or(Hashed { id: 0, hash: "0".repeat(64) });
        if secret.matches(&row.hash) { Ok(row.id) } else { Err(unknown_secret()) }
    }
}

/// Writes a record at the end of the chain, inside a transaction.
fn chain(link: &mut impl Link, now: Now, record: &NewAudit) -> Result<i64> {
    let head = one(st::lock_audit_head(link, now)?, || "the audit log has no head".to_owned())?;
    let at = one(st::database_now(link, now)?, String::new)?.n;
    let position = head.position.checked_add(1).ok_or_else(|| {
        let text = "fleet_audit_head, row 1, position: there is none after the largest number";
        Error::new(ErrorKind::Store).with_class(ErrorClass::Terminal).context(text)
    })?;
    let record = record.chained(position, stamp(at), head.hash);
    let AuditRecord { position, actor, action, resource, severity, detail, prev_hash, hash, tenant, .. } =
        &record;
    let tenant = tenant.map(|tenant| tenant.0);
    let severity = severity.as_str();
    st::insert_audit(
        link, now, *position, at, tenant, actor, action, resource, severity, detail, prev_hash, hash,
    )?;
    st::update_audit_head(link, now, *position, hash)?;
    Ok(*position)
}

impl<L: Link> Store for SqlStore<L> {
    fn now(&mut self) -> Result<Stamp> {
        Ok(stamp(one(st::database_now(&mut self.link, self.now)?, String::new)?.n))
    }

    fn canceller(&self) -> Option<Canceller> {
        self.link.canceller()
    }

    fn begin_dry_run(&mut self) -> Result<bool> {
        self.link.begin()?;
        self.dry_run = Some(self.places.take());
        Ok(true)
    }

    fn end_dry_run(&mut self) {
        if let Some(places) = self.dry_run.take() {
            self.link.rollback();
            self.places = places;
        }
    }
}

impl<L: Link> TenantStore for SqlStore<L> {
    fn create_tenant(&mut self, name: &str, plan: Plan) -> Result<TenantId> {
        check_text("name", name, MAX_NAME)?;
        let rows = st::insert_tenant(&mut self.link, self.now, name, plan.as_str())?;
        Ok(TenantId(one(rows, String::new)?.n))
    }

    fn set_plan(&mut self, tenant: TenantId, plan: Plan) -> Result<()> {
        let rows = st::update_plan(&mut self.link, self.now, tenant.0, plan.as_str())?;
        one(rows, || no_tenant(tenant)).map(drop)
    }

    fn standing(&mut self, tenant: TenantId) -> Result<(Plan, u64)> {
        let plan = one(st::tenant_plan(&mut self.link, self.now, tenant.0)?, || no_tenant(tenant))?;
        let busy = one(st::count_busy(&mut self.link, self.now, tenant.0)?, String::new)?.n;
        let plan = word("fleet_tenants", tenant.0, "plan", &plan.word)?;
        Ok((plan, u64::try_from(busy).unwrap_or(0)))
    }

    fn tenants(&mut self) -> Result<Listing<Tenant>> {
        Ok(listing(st::select_tenants(&mut self.link, self.now)?, super::row::TenantRow::read))
    }
}

impl<L: Link> AgentStore for SqlStore<L> {
    fn register(&mut self, token: &Secret, agent: &NewAgent) -> Result<Registered> {
        agent.check()?;
        let key = Secret::random("lka")?;
        let now = self.now;
        self.link.transaction(|link| {
            let id = Self::find_secret(token, st::find_token(link, now, token.prefix())?)?;
            let allowed = st::use_token(link, now, id)?.into_iter().next().ok_or_else(unknown_secret)?;
            if let Some(kind) = allowed.kind.filter(|kind| kind != agent.kind.as_str()) {
                return Err(wrong_kind(&kind, agent.kind.as_str()));
            }
            let rows = st::insert_agent(
                link,
                now,
                allowed.tenant_id,
                &agent.name,
                agent.kind.as_str(),
                agent.version.as_deref(),
                agent.hostname.as_deref(),
                agent.region.as_deref(),
                agent.max_jobs,
                key.prefix(),
                &key.hash(),
            )?;
            let id = one(rows, String::new)?.n;
            for offer in &agent.offers {
                st::insert_offer(link, now, id, offer)?;
            }
            let record = NewAudit::new(format!("agent {id}"), "agent.register", format!("agent {id}"))
                .tenant(allowed.tenant_id.map(TenantId))
                .detail(&*agent.name);
            chain(link, now, &record)?;
            Ok(Registered { agent: AgentId(id), key })
        })
    }

    fn authenticate(&mut self, key: &Secret) -> Result<AgentId> {
        Self::find_secret(key, st::find_agent(&mut self.link, self.now, key.prefix())?).map(AgentId)
    }

    fn heartbeat(&mut self, agent: AgentId, heartbeat: &Heartbeat) -> Result<AgentStatus> {
        let Heartbeat { error, cpu_percent, memory_percent } = heartbeat;
        let error = error.as_deref();
        let rows = st::heartbeat(&mut self.link, self.now, agent.0, error, *cpu_percent, *memory_percent)?;
        match rows.into_iter().next() {
            Some(row) => word("fleet_agents", agent.0, "status", &row.word),
            // Which of the two reasons it was.
            None => self.agent(agent).and_then(|_| Err(revoked(agent))),
        }
    }

    fn set_agent_status(
        &mut self,
        actor: &str,
        agent: AgentId,
        status: AgentStatus,
        reason: &str,
    ) -> Result<()> {
        let reason = message(reason)?;
        let record = NewAudit::new(actor, format!("agent.{status}"), format!("agent {agent}"))
            .severity(Severity::Medium)
            .detail(&*reason);
        record.check()?;
        let now = self.now;
        self.link.transaction(|link| {
            st::lock_agent(link, now, agent.0)?;
            let found = one(st::select_agent(link, now, agent.0)?, || no_agent(agent))?.read()?;
            if !found.status.may_become(status) {
                return Err(revoked(agent));
            }
            if found.status == status && found.status_message.as_deref() == Some(&*reason) {
                return Ok(());
            }
            st::update_agent_status(link, now, agent.0, status.as_str(), &reason)?;
            if status == AgentStatus::Revoked && found.status != status {
                st::fence_off(link, now, agent.0)?;
            }
            chain(link, now, &record.clone().tenant(found.tenant)).map(drop)
        })
    }

    fn agent(&mut self, agent: AgentId) -> Result<Agent> {
        one(st::select_agent(&mut self.link, self.now, agent.0)?, || no_agent(agent))?.read()
    }

    fn agents(&mut self, after: AgentId, limit: u32) -> Result<Listing<Agent>> {
        let rows = st::select_agents(&mut self.link, self.now, after.0, i64::from(limit))?;
        Ok(page(rows, super::row::AgentRow::read))
    }

    fn mark_offline(&mut self, stale: Duration, sweep: Sweep) -> Result<Vec<AgentId>> {
        let rows = self.sweep(
            sweep,
            |link, now| st::any_stale(link, now, span(stale)),
            |link, now, batch| st::mark_offline(link, now, span(stale), batch),
        )?;
        let mut agents: Vec<_> = rows.into_iter().map(|row| AgentId(row.n)).collect();
        agents.sort_unstable();
        Ok(agents)
    }
}

impl<L: Link> CommandStore for SqlStore<L> {
    fn enqueue(&mut self, command: &NewCommand) -> Result<CommandId> {
        command.check()?;
        let now = self.now;
        self.link.transaction(|link| {
            let tenant = command.tenant;
            let plan = one(st::tenant_plan(link, now, tenant.0)?, || no_tenant(tenant))?;
            let plan: Plan = word("fleet_tenants", tenant.0, "plan", &plan.word)?;
            if let Some(agent) = command.pinned_to {
                let found = one(st::select_agent(link, now, agent.0)?, || no_agent(agent))?.read()?;
                check_pin(command, &found)?;
            }
            let queue_priority = if command.platform { command.priority.base() + plan.base() } else { 0 };
            let rows = st::insert_command(
                link,
                now,
                tenant.0,
                command.platform,
                command.kind.as_str(),
                command.priority.base(),
                &command.payload,
                i64::try_from(command.needs.len()).unwrap_or(i64::MAX),
                command.pinned_to.map(|agent| agent.0),
                command.max_attempts,
                queue_priority,
                command.scheduled_at.map(micros),
                command.expires_at.map(micros),
            )?;
            let id = one(rows, String::new)?.n;
            for need in &command.needs {
                st::insert_need(link, now, id, need)?;
            }
            Ok(CommandId(id))
        })
    }

    fn claim(&mut self, agent: AgentId, lease: Duration) -> Result<Option<Claim>> {
        check_lease(lease)?;
        let (now, lease) = (self.now, span(lease));
        let alone = &mut self.alone;
        self.link.transaction(|link| {
            let claimer = lock_claimer(link, now, agent)?;
            // Looked at once it is locked: what it holds must be the latest.
            let mut waiting = Waiting::look(link, now, &claimer, *alone)?;
            if waiting.held >= claimer.max_jobs {
                return Ok(None);
            }
            if claimer.tenant.is_none() {
                *alone = waiting.tenants.first().copied().filter(|_| waiting.tenants.len() == 1);
            }
            for _ in 1..ROUNDS {
                let claim = waiting.claim(link, &claimer, lease)?;
                // With less than two there was nobody else to claim from.
                if claim.is_some() || waiting.tenants.len() < 2 {
                    *alone = alone.filter(|_| claim.is_some());
                    return Ok(claim);
                }
                waiting = Waiting::ranked(link, now, &claimer)?;
            }
            waiting.claim(link, &claimer, lease)
        })
    }

    fn held(&mut self, agent: AgentId) -> Result<Listing<Claim>> {
        let rows = st::select_held(&mut self.link, self.now, agent.0)?;
        Ok(listing(rows, |row| row.read().and_then(claim_of)))
    }

    fn start(&mut self, lease: &Lease) -> Result<()> {
        self.held_write(Ask::Start, lease, |link, now, command, agent, fence| {
            st::start_command(link, now, command, agent, fence)
        })
        .map(drop)
    }

    fn progress(&mut self, lease: &Lease, percent: u8) -> Result<()> {
        let percent = i64::from(percent.min(100));
        self.held_write(Ask::Progress, lease, |link, now, command, agent, fence| {
            st::progress_command(link, now, command, agent, fence, percent)
        })
        .map(drop)
    }

    fn complete(&mut self, lease: &Lease, result: &str) -> Result<()> {
        check_json("result", result)?;
        self.held_write(Ask::Complete, lease, |link, now, command, agent, fence| {
            st::complete_command(link, now, command, agent, fence, result)
        })
        .map(drop)
    }

    fn fail(&mut self, lease: &Lease, text: &str) -> Result<()> {
        let text = message(text)?;
        self.held_write(Ask::Fail, lease, |link, now, command, agent, fence| {
            st::fail_command(link, now, command, agent, fence, &text)
        })
        .map(drop)
    }

    fn release(&mut self, lease: &Lease) -> Result<()> {
        self.held_write(Ask::Release, lease, st::release_command).map(drop)
    }

    fn renew(&mut self, lease: &Lease, time: Duration) -> Result<Lease> {
        check_lease(time)?;
        let time = span(time);
        let until = self.held_write(Ask::Renew, lease, |link, now, command, agent, fence| {
            st::renew_command(link, now, command, agent, fence, time)
        })?;
        Ok(Lease { until: until.map_or(lease.until, stamp), ..*lease })
    }

    fn cancel(&mut self, actor: &str, command: CommandId, reason: &str) -> Result<()> {
        let reason = message(reason)?;
        let record = NewAudit::new(actor, "command.cancel", format!("command {command}")).detail(&*reason);
        record.check()?;
        let now = self.now;
        self.link.transaction(|link| {
            if let Some(row) = st::cancel_command(link, now, command.0, &reason)?.into_iter().next() {
                return chain(link, now, &record.clone().tenant(Some(TenantId(row.n)))).map(drop);
            }
            let found = one(st::select_command(link, now, command.0)?, || no_command(command))?.read()?;
            canceled_already(&found)
        })
    }

    fn command(&mut self, command: CommandId) -> Result<Command> {
        one(st::select_command(&mut self.link, self.now, command.0)?, || no_command(command))?.read()
    }

    fn commands(&mut self, after: CommandId, limit: u32) -> Result<Listing<Command>> {
        let rows = st::select_commands(&mut self.link, self.now, after.0, i64::from(limit))?;
        Ok(page(rows, super::row::CommandRow::read))
    }

    fn queue(&mut self, limit: u32) -> Result<Listing<Command>> {
        let rows = st::select_queue(&mut self.link, self.now, i64::from(limit))?;
        Ok(listing(rows, super::row::CommandRow::read))
    }

    fn max_attempts(&mut self) -> Result<u32> {
        let row = one(st::select_policy(&mut self.link, self.now)?, || "the fleet has no policy".to_owned())?;
        Ok(u32::try_from(row.n).unwrap_or(u32::MAX))
    }

    fn set_max_attempts(&mut self, n: u32) -> Result<bool> {
        check_attempts(n)?;
        if self.max_attempts()? == n {
            return Ok(false);
        }
        Ok(!st::update_policy(&mut self.link, self.now, i64::from(n))?.is_empty())
    }

    fn recover(&mut self, scope: Scope, lost: Lost, sweep: Sweep) -> Result<Vec<Touched>> {
        let patience = match lost {
            Lost::HolderDead => None,
            Lost::OrOlderThan(age) => Some(span(age)),
        };
        self.touched(sweep, st::any_lost, |link, now, batch| {
            st::recover(link, now, scope == Scope::Platform, patience, batch)
        })
    }

    fn expire_queued(&mut self, scope: Scope, max_queue: Duration, sweep: Sweep) -> Result<Vec<Touched>> {
        let most = span(max_queue);
        match scope {
            Scope::Platform => self.touched(
                sweep,
                |link, now| st::any_late(link, now, most),
                |link, now, batch| st::expire_queued(link, now, most, batch),
            ),
            Scope::Tenant => self.touched(
                sweep,
                |link, now| st::any_unclaimed(link, now, most),
                |link, now, batch| st::expire_unclaimed(link, now, most, batch),
            ),
        }
    }

    fn expire_due(&mut self, sweep: Sweep) -> Result<Vec<Touched>> {
        self.touched(sweep, st::any_due, st::expire_due)
    }

    fn fail_exhausted(&mut self, sweep: Sweep) -> Result<Vec<Touched>> {
        self.touched(sweep, st::any_retried, st::fail_exhausted)
    }

    fn unpin(&mut self, patience: Duration, sweep: Sweep) -> Result<Vec<Touched>> {
        self.touched(sweep, st::any_pinned, |link, now, batch| st::unpin(link, now, span(patience), batch))
    }

    fn reprioritize(&mut self, bonus_per_minute: u32, sweep: Sweep) -> Result<Moved> {
        let (now, bonus, batch) = (self.now, i64::from(bonus_per_minute), i64::from(sweep.batch.max(1)));
        if st::any_waiting(&mut self.link, now)?.is_empty() {
            self.places = None;
            return Ok(Moved { moved: 0, finished: true });
        }
        let is_alone = sweep.dry_run && self.dry_run.is_none();
        let after = if is_alone { FRONT } else { self.places.unwrap_or(FRONT) };
        // One that is undone at once is not followed by another.
        let last = if is_alone {
            None
        } else {
            let rows = st::boundary_places(&mut self.link, now, after.0, after.1, batch)?;
            rows.first().map(|row| (row.at, row.position))
        };
        let moved = self.done_or_undone(sweep, |link| {
            st::reprioritize(link, now, bonus, batch, after, last.unwrap_or(BACK))
        })?;
        if !is_alone {
            self.places = last;
        }
        if last.is_some() {
            self.give_way(sweep);
        }
        Ok(Moved { moved, finished: last.is_none() })
    }
}

impl<L: Link> TokenStore for SqlStore<L> {
    fn create_token(&mut self, actor: &str, token: &NewToken) -> Result<(TokenId, Secret)> {
        token.check()?;
        check_text("actor", actor, MAX_NAME)?;
        let secret = Secret::random("lkt")?;
        let now = self.now;
        self.link.transaction(|link| {
            let NewToken { tenant, name, kind, max_uses, expires_at } = token;
            if let Some(tenant) = *tenant {
                one(st::tenant_plan(link, now, tenant.0)?, || no_tenant(tenant))?;
            }
            let rows = st::insert_token(
                link,
                now,
                tenant.map(|tenant| tenant.0),
                name,
                secret.prefix(),
                &secret.hash(),
                kind.map(|kind| kind.as_str()),
                *max_uses,
                expires_at.map(micros),
                actor,
            )?;
            let id = one(rows, String::new)?.n;
            let record =
                NewAudit::new(actor, "token.create", format!("token {id}")).tenant(*tenant).detail(&**name);
            chain(link, now, &record)?;
            Ok((TokenId(id), secret))
        })
    }

    fn revoke_token(&mut self, actor: &str, token: TokenId) -> Result<()> {
        let record =
            NewAudit::new(actor, "token.revoke", format!("token {token}")).severity(Severity::Medium);
        record.check()?;
        let now = self.now;
        self.link.transaction(|link| {
            if !st::revoke_token(link, now, token.0)?.is_empty() {
                return chain(link, now, &record).map(drop);
            }
            one(st::token_exists(link, now, token.0)?, || format!("there is no token {token}")).map(drop)
        })
    }

    fn tokens(&mut self, after: TokenId, limit: u32) -> Result<Listing<Token>> {
        let rows = st::select_tokens(&mut self.link, self.now, after.0, i64::from(limit))?;
        Ok(page(rows, super::row::TokenRow::read))
    }

    fn clean_tokens(&mut self, grace: Duration, sweep: Sweep) -> Result<TokensCleaned> {
        let rows = self.sweep(
            sweep,
            |link, now| st::any_dead(link, now, span(grace)),
            |link, now, batch| st::clean_tokens(link, now, span(grace), batch),
        )?;
        let mut cleaned = TokensCleaned::default();
        for row in rows {
            match word("fleet_tokens", 0, "status", &row.word)? {
                TokenStatus::Revoked => cleaned.revoked += 1,
                TokenStatus::Exhausted => cleaned.exhausted += 1,
                TokenStatus::Expired | TokenStatus::Active => cleaned.expired += 1,
            }
        }
        Ok(cleaned)
    }
}

/// How many records are read at once.
const PAGE: u32 = 1_000;

impl<L: Link> AuditStore for SqlStore<L> {
    fn append(&mut self, record: &NewAudit) -> Result<i64> {
        record.check()?;
        let now = self.now;
        self.link.transaction(|link| chain(link, now, record))
    }

    fn audit(&mut self, after: i64, limit: u32) -> Result<Listing<AuditRecord>> {
        let Some(from) = after.checked_add(1) else { return Ok(page(Vec::new(), AuditRow::read)) };
        let rows = st::select_audit(&mut self.link, self.now, from, i64::from(limit))?;
        Ok(page(rows, AuditRow::read))
    }

    fn verify(&mut self, check: &mut dyn FnMut() -> Result<()>) -> Result<ChainReport> {
        // What is written while the walk goes on lies behind this end.
        let head =
            one(st::lock_audit_head(&mut self.link, self.now)?, || "the audit log has no head".to_owned())?;
        let mut walk = Walk::default();
        // Below the first that there can be: whoever forges one may put it there.
        let mut from = Some(i64::MIN);
        while let Some(first) = from {
            check()?;
            let rows = st::select_audit(&mut self.link, self.now, first, i64::from(PAGE))?;
            let Some(last) = rows.last() else { break };
            from = last.position().checked_add(1);
            for row in rows {
                let (beyond, link) = (row.position() > head.position, row.link());
                match row.read() {
                    Ok(record) if beyond => walk.removal(&record),
                    Ok(record) => walk.step(&record),
                    Err(_) if beyond => {}
                    Err(error) => walk.unreadable(link, &error.report().to_string()),
                }
            }
        }
        Ok(walk.finish((head.position, head.hash)))
    }

    fn count_older(&mut self, age: Duration, grave: bool) -> Result<u64> {
        let count = if grave { st::count_grave } else { st::count_daily };
        let n = one(count(&mut self.link, self.now, span(age))?, String::new)?.n;
        Ok(u64::try_from(n).unwrap_or(0))
    }

    fn retain(&mut self, age: Duration, grave: bool, batch: u32) -> Result<u64> {
        let (now, age, batch) = (self.now, span(age), i64::from(batch.max(1)));
        let boundary = if grave { st::boundary_grave } else { st::boundary_daily };
        // Asked before anything is locked: mostly there is nothing.
        if boundary(&mut self.link, now, age, 0)?.is_empty() {
            return Ok(0);
        }
        let deleted = self.link.transaction(|link| {
            // The chain's end first: whoever else retains waits here.
            st::lock_audit_head(link, now)?;
            let now = one(st::database_now(link, now)?, String::new)?.n;
            let cutoff = now - age;
            let next = boundary(link, Some(now), age, batch)?.into_iter().next();
            let (at, position) = next.map_or((cutoff, 0), |next| (next.at, next.position));
            let extent = if grave { st::extent_grave } else { st::extent_daily };
            let took = one(extent(link, Some(now), at, position)?, String::new)?;
            // Only grave ones tell of others that are gone.
            let told = if grave { st::removals_grave(link, Some(now), at, position)? } else { Vec::new() };
            let delete = if grave { st::delete_grave } else { st::delete_daily };
            delete(link, Some(now), at, position)?;
            let Extent { n: deleted, first: Some(first), last: Some(last) } = took else { return Ok(0) };
            let cutoff = stamp(cutoff).as_micros();
            let removal = Removal { deleted, first, last, cutoff, carried: None };
            let removal = removal.carry(told.iter().map(|row| &*row.word));
            chain(link, Some(now), &removal_record(&removal)?)?;
            Ok(u64::try_from(deleted).unwrap_or(0))
        })?;
        if i64::try_from(deleted).is_ok_and(|n| n >= batch) {
            self.link.give_way();
        }
        Ok(deleted)
    }
}
