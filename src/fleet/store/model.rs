//! The store that the others are measured by: vectors in memory, each rule
//! applied to one row after the other, nothing clever.

use std::time::Duration;

use super::guard::{
    Ask, canceled_already, check_attempts, check_pin, claim_of, may_claim, no_agent, no_command, no_tenant,
    removal_record, revoked, settle, unknown_secret, wrong_kind,
};
use super::{
    AgentStore, AuditStore, CommandStore, Listing, Lost, Moved, Registered, Scope, Store, Sweep, TenantStore,
    TokenStore, TokensCleaned, Touched,
};
use crate::error::{Error, ErrorKind, Result};
use crate::fleet::agent::{Agent, AgentCondition, AgentStatus, Heartbeat, MAX_NAME, NewAgent, check_text};
use crate::fleet::audit::{AuditRecord, ChainReport, GENESIS, NewAudit, RETENTION, Removal, Severity, Walk};
use crate::fleet::command::{
    Action, Claim, Command, CommandState, Lease, NewCommand, check_json, check_lease, message,
};
use crate::fleet::id::{AgentId, CommandId, TenantId, TokenId};
use crate::fleet::rule::{self, Decision};
use crate::fleet::tenant::{Plan, Tenant};
use crate::fleet::token::{NewToken, Secret, Token, TokenStatus};
use crate::stamp::Stamp;

/// A store whose time a test sets. Every other program leaves time to the
/// database.
pub trait ManualTime {
    /// Sets the time for all that follows.
    fn set_now(&mut self, now: Stamp);
}

/// A store in memory, for tests: what the others must agree with.
#[derive(Debug, Clone)]
pub struct ModelStore {
    now: Stamp,
    max_attempts: u32,
    tenants: Vec<Tenant>,
    agents: Vec<AgentEntry>,
    commands: Vec<CommandEntry>,
    tokens: Vec<(Token, String)>,
    n_tokens: i64,
    audit: Vec<AuditRecord>,
    head: (i64, String),
    /// Up to where places were computed.
    places: Option<(Stamp, CommandId)>,
    /// What all was before the dry run that goes on.
    before: Option<Box<ModelStore>>,
}

#[derive(Debug, Clone)]
struct AgentEntry {
    row: Agent,
    offers: Vec<String>,
    prefix: String,
    hash: String,
}

#[derive(Debug, Clone)]
struct CommandEntry {
    row: Command,
    needs: Vec<String>,
}

impl Default for ModelStore {
    fn default() -> Self {
        Self {
            now: Stamp::from_micros(0),
            max_attempts: 3,
            tenants: Vec::new(),
            agents: Vec::new(),
            commands: Vec::new(),
            tokens: Vec::new(),
            n_tokens: 0,
            audit: Vec::new(),
            head: (0, GENESIS.to_owned()),
            places: None,
            before: None,
        }
    }
}

impl ManualTime for ModelStore {
    fn set_now(&mut self, now: Stamp) {
        self.now = now;
    }
}

/// Rows in the order of their numbers.
fn page<T>(rows: Vec<T>, number: impl Fn(&T) -> i64) -> Listing<T> {
    Listing { next: rows.last().map(number), rows, unreadable: Vec::new() }
}

fn not_found(text: String) -> Error {
    Error::new(ErrorKind::NotFound).context(text)
}

/// Ids count from 1.
fn index(id: i64) -> usize {
    id.checked_sub(1).and_then(|i| usize::try_from(i).ok()).unwrap_or(usize::MAX)
}

fn next_id(len: usize) -> i64 {
    i64::try_from(len + 1).unwrap_or(i64::MAX)
}

fn plus(at: Stamp, time: Duration) -> Stamp {
    Stamp::from_micros(at.as_micros() + u64::try_from(time.as_micros()).unwrap_or(u64::MAX / 2))
}

impl ModelStore {
    fn tenant(&self, tenant: TenantId) -> Result<&Tenant> {
        self.tenants.get(index(tenant.0)).ok_or_else(|| not_found(no_tenant(tenant)))
    }

    fn agent_mut(&mut self, agent: AgentId) -> Result<&mut Agent> {
        let entry = self.agents.get_mut(index(agent.0)).ok_or_else(|| not_found(no_agent(agent)))?;
        Ok(&mut entry.row)
    }

    fn find_agent(&self, agent: Option<AgentId>) -> Option<Agent> {
        self.agents.get(index(agent?.0)).map(|entry| self.counted(&entry.row))
    }

    fn counted(&self, agent: &Agent) -> Agent {
        let held = self.rows().filter(|row| row.agent == Some(agent.id) && row.state.is_held()).count();
        Agent { held_jobs: i64::try_from(held).unwrap_or(i64::MAX), ..agent.clone() }
    }

    fn rows(&self) -> impl Iterator<Item = &Command> {
        self.commands.iter().map(|entry| &entry.row)
    }

    /// How many jobs of the platform a tenant has at work.
    fn active(&self, tenant: TenantId) -> i64 {
        let n = self.rows().filter(|row| row.tenant == tenant && row.platform && row.state.is_held()).count();
        i64::try_from(n).unwrap_or(i64::MAX)
    }

    fn chain(&mut self, record: &NewAudit) -> i64 {
        let record = record.chained(self.head.0 + 1, self.now, self.head.1.clone());
        self.head = (record.position, record.hash.clone());
        self.audit.push(record);
        self.head.0
    }

    /// The command of a holder whose right is good, or what is to be said.
    fn held_mut(&mut self, ask: Ask, lease: &Lease, action: Option<Action>) -> Result<Option<&mut Command>> {
        let agent = self.find_agent(Some(lease.agent)).ok_or_else(|| not_found(no_agent(lease.agent)))?;
        let command = self.command(lease.command)?;
        let next = match action {
            Some(action) => command.state.after(action),
            None if ask == Ask::Progress => {
                Some(command.state).filter(|state| *state == CommandState::Running)
            }
            None => Some(command.state).filter(|state| state.is_held()),
        };
        let good = command.fence == lease.fence && command.agent == Some(lease.agent);
        let Some(next) = next.filter(|_| good) else {
            return settle(ask, lease, &command, &agent).map(|()| None);
        };
        let now = self.now;
        let row = &mut self.commands[index(lease.command.0)].row;
        to(row, next, now);
        Ok(Some(row))
    }

    fn sweep(
        &mut self,
        sweep: Sweep,
        order: impl Fn(&Command) -> (Stamp, CommandId),
        decide: impl Fn(&Self, &Command) -> Decision,
    ) -> Vec<Touched> {
        let mut chosen: Vec<(Command, Decision)> = self
            .rows()
            .map(|row| (row.clone(), decide(self, row)))
            .filter(|(_, decision)| !matches!(decision, Decision::Leave(_)))
            .collect();
        chosen.sort_by_key(|(row, _)| order(row));
        chosen.truncate(sweep.batch as usize);
        let now = self.now;
        let mut touched = Vec::new();
        for (mut row, decision) in chosen {
            match decision {
                Decision::Requeue(_) => to(&mut row, CommandState::Pending, now),
                Decision::End(state, why) => {
                    to(&mut row, state, now);
                    row.message = Some(why.to_owned());
                }
                Decision::Unpin(_) => {
                    row.pinned_to = None;
                    row.version += 1;
                }
                Decision::Rank { priority, penalty, .. } => {
                    (row.queue_priority, row.queue_penalty) = (priority, penalty);
                    row.version += 1;
                }
                Decision::Leave(_) | Decision::Offline(_) | Decision::Delete(_) => continue,
            }
            touched.push(Touched { command: row.id, state: row.state });
            if !sweep.dry_run || self.before.is_some() {
                let place = index(row.id.0);
                self.commands[place].row = row;
            }
        }
        touched.sort_unstable();
        touched
    }

    /// Whether what waits can be claimed at this moment, if there is somebody.
    fn is_open(&self, row: &Command) -> bool {
        row.scheduled_at.is_none_or(|at| at <= self.now)
            && row.expires_at.is_none_or(|at| at > self.now)
            && row.attempts < row.max_attempts.unwrap_or(i64::from(self.max_attempts))
    }

    fn can_claim(&self, entry: &CommandEntry, agent: &AgentEntry) -> bool {
        let CommandEntry { row, needs } = entry;
        row.state == CommandState::Pending
            && self.is_open(row)
            && row.pinned_to.is_none_or(|pinned| pinned == agent.row.id)
            && needs.iter().all(|need| agent.offers.contains(need))
    }
}

/// Moves a command to a state, and its stamps with it.
fn to(row: &mut Command, state: CommandState, now: Stamp) {
    row.version += 1;
    if row.state == state {
        return;
    }
    if state == CommandState::Pending {
        if let Some(claimed) = row.acknowledged_at.take() {
            // It keeps its age, whichever way the clock went.
            let until = row.waiting_since.as_micros() + now.as_micros();
            row.waiting_since = Stamp::from_micros(until.saturating_sub(claimed.as_micros()));
        }
        (row.agent, row.started_at, row.lease_until, row.progress) = (None, None, None, None);
        row.queued_at = now;
    }
    if state == CommandState::Running {
        row.started_at = Some(now);
    }
    if state.is_terminal() {
        row.completed_at = Some(now);
        row.lease_until = None;
    }
    row.state = state;
}

impl Store for ModelStore {
    fn now(&mut self) -> Result<Stamp> {
        Ok(self.now)
    }

    fn begin_dry_run(&mut self) -> Result<bool> {
        if self.before.is_some() {
            return Err(Error::new(ErrorKind::InvalidState).context("a dry run goes on already"));
        }
        self.before = Some(Box::new(self.clone()));
        self.places = None;
        Ok(true)
    }

    fn end_dry_run(&mut self) {
        if let Some(before) = self.before.take() {
            *self = *before;
        }
    }
}

impl TenantStore for ModelStore {
    fn create_tenant(&mut self, name: &str, plan: Plan) -> Result<TenantId> {
        check_text("name", name, MAX_NAME)?;
        if self.tenants.iter().any(|tenant| tenant.name == name) {
            return Err(Error::new(ErrorKind::Duplicate).context(format!("tenant {name:?}")));
        }
        let id = TenantId(next_id(self.tenants.len()));
        self.tenants.push(Tenant { id, name: name.to_owned(), plan, created_at: self.now });
        Ok(id)
    }

    fn set_plan(&mut self, tenant: TenantId, plan: Plan) -> Result<()> {
        self.tenant(tenant)?;
        self.tenants[index(tenant.0)].plan = plan;
        Ok(())
    }

    fn standing(&mut self, tenant: TenantId) -> Result<(Plan, u64)> {
        let plan = self.tenant(tenant)?.plan;
        Ok((plan, u64::try_from(self.active(tenant)).unwrap_or(0)))
    }

    fn tenants(&mut self) -> Result<Listing<Tenant>> {
        Ok(Listing { rows: self.tenants.clone(), unreadable: Vec::new(), next: None })
    }
}

impl AgentStore for ModelStore {
    fn register(&mut self, token: &Secret, agent: &NewAgent) -> Result<Registered> {
        agent.check()?;
        let now = self.now;
        let found =
            self.tokens.iter_mut().find(|(row, hash)| row.prefix == token.prefix() && token.matches(hash));
        let (row, _) = found.ok_or_else(unknown_secret)?;
        if row.status(now) != TokenStatus::Active {
            return Err(unknown_secret());
        }
        if let Some(kind) = row.kind.filter(|kind| *kind != agent.kind) {
            return Err(wrong_kind(kind.as_str(), agent.kind.as_str()));
        }
        row.uses += 1;
        if Some(row.uses) == row.max_uses {
            row.exhausted_at = Some(now);
        }
        let tenant = row.tenant;
        let key = Secret::random("lka")?;
        let id = AgentId(next_id(self.agents.len()));
        self.agents.push(AgentEntry {
            row: Agent {
                id,
                tenant,
                name: agent.name.clone(),
                kind: agent.kind,
                status: AgentStatus::Active,
                status_message: None,
                health: AgentCondition::Unknown,
                last_error: None,
                version: agent.version.clone(),
                hostname: agent.hostname.clone(),
                region: agent.region.clone(),
                cpu_percent: None,
                memory_percent: None,
                max_jobs: agent.max_jobs,
                held_jobs: 0,
                last_seen_at: None,
                last_offline_at: None,
                created_at: now,
            },
            offers: agent.offers.clone(),
            prefix: key.prefix().to_owned(),
            hash: key.hash(),
        });
        let record = NewAudit::new(format!("agent {id}"), "agent.register", format!("agent {id}"));
        self.chain(&record.tenant(tenant).detail(&*agent.name));
        Ok(Registered { agent: id, key })
    }

    fn authenticate(&mut self, key: &Secret) -> Result<AgentId> {
        let entry = self.agents.iter().find(|entry| entry.prefix == key.prefix() && key.matches(&entry.hash));
        let entry = entry.filter(|entry| entry.row.status != AgentStatus::Revoked);
        entry.map(|entry| entry.row.id).ok_or_else(unknown_secret)
    }

    fn heartbeat(&mut self, agent: AgentId, heartbeat: &Heartbeat) -> Result<AgentStatus> {
        let now = self.now;
        let row = self.agent_mut(agent)?;
        if row.status == AgentStatus::Revoked {
            return Err(revoked(agent));
        }
        row.health = if heartbeat.error.is_some() { AgentCondition::Error } else { AgentCondition::Online };
        row.last_error = heartbeat.error.clone();
        row.cpu_percent = heartbeat.cpu_percent.or(row.cpu_percent);
        row.memory_percent = heartbeat.memory_percent.or(row.memory_percent);
        row.last_seen_at = Some(now);
        Ok(row.status)
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
        let row = self.agent_mut(agent)?;
        if !row.status.may_become(status) {
            return Err(revoked(agent));
        }
        if row.status == status && row.status_message.as_ref() == Some(&reason) {
            return Ok(());
        }
        let fenced_off = status == AgentStatus::Revoked && row.status != status;
        row.status = status;
        row.status_message = Some(reason);
        let tenant = row.tenant;
        let rows = self.commands.iter_mut().map(|entry| &mut entry.row);
        for row in rows.filter(|row| fenced_off && row.agent == Some(agent) && row.state.is_held()) {
            row.fence += 1;
            row.version += 1;
        }
        self.chain(&record.tenant(tenant));
        Ok(())
    }

    fn agent(&mut self, agent: AgentId) -> Result<Agent> {
        self.find_agent(Some(agent)).ok_or_else(|| not_found(no_agent(agent)))
    }

    fn agents(&mut self, after: AgentId, limit: u32) -> Result<Listing<Agent>> {
        let rows = self.agents.iter().filter(|entry| entry.row.id > after).take(limit as usize);
        Ok(page(rows.map(|entry| self.counted(&entry.row)).collect(), |row| row.id.0))
    }

    fn mark_offline(&mut self, stale: Duration, sweep: Sweep) -> Result<Vec<AgentId>> {
        let now = self.now;
        let is_undone = sweep.dry_run && self.before.is_none();
        let stale = |row: &Agent| matches!(rule::stale(row, now, stale), Decision::Offline(_));
        let mut found: Vec<&mut Agent> =
            self.agents.iter_mut().map(|entry| &mut entry.row).filter(|row| stale(row)).collect();
        found.sort_by_key(|row| (row.last_seen_at.unwrap_or(row.created_at), row.id));
        found.truncate(sweep.batch as usize);
        let mut ids: Vec<_> = found.iter().map(|row| row.id).collect();
        for row in found.into_iter().filter(|_| !is_undone) {
            row.health = AgentCondition::Offline;
            row.last_offline_at = Some(now);
        }
        ids.sort_unstable();
        Ok(ids)
    }
}

impl CommandStore for ModelStore {
    fn enqueue(&mut self, command: &NewCommand) -> Result<CommandId> {
        command.check()?;
        let plan = self.tenant(command.tenant)?.plan;
        if let Some(agent) = command.pinned_to {
            check_pin(command, &self.agent(agent)?)?;
        }
        let id = CommandId(next_id(self.commands.len()));
        let queued_at = command.scheduled_at.map_or(self.now, |at| at.max(self.now));
        self.commands.push(CommandEntry {
            row: Command {
                id,
                tenant: command.tenant,
                platform: command.platform,
                kind: command.kind,
                priority: command.priority,
                payload: command.payload.clone(),
                state: CommandState::Pending,
                pinned_to: command.pinned_to,
                agent: None,
                fence: 0,
                version: 1,
                attempts: 0,
                max_attempts: command.max_attempts,
                queue_priority: if command.platform { command.priority.base() + plan.base() } else { 0 },
                queue_penalty: 0,
                progress: None,
                message: None,
                result: None,
                created_at: self.now,
                scheduled_at: command.scheduled_at,
                expires_at: command.expires_at,
                queued_at,
                waiting_since: queued_at,
                acknowledged_at: None,
                started_at: None,
                completed_at: None,
                lease_until: None,
            },
            needs: command.needs.clone(),
        });
        Ok(id)
    }

    fn claim(&mut self, agent: AgentId, lease: Duration) -> Result<Option<Claim>> {
        check_lease(lease)?;
        let found = self.agent(agent)?;
        may_claim(&found)?;
        if found.held_jobs >= found.max_jobs {
            return Ok(None);
        }
        let entry = &self.agents[index(agent.0)];
        let open = self.commands.iter().filter(|command| self.can_claim(command, entry));
        let chosen = match found.tenant {
            Some(tenant) => open
                .map(|command| &command.row)
                .filter(|row| row.tenant == tenant && !row.platform)
                .min_by_key(|row| (-row.priority.base(), row.waiting_since, row.id)),
            None => {
                let jobs: Vec<&Command> =
                    open.map(|command| &command.row).filter(|row| row.platform).collect();
                let place =
                    |row: &Command| (-row.queue_priority - row.queue_penalty, row.waiting_since, row.id);
                // The first of each tenant; then the best of these.
                let first = |row: &Command| {
                    !jobs.iter().any(|other| other.tenant == row.tenant && place(other) < place(row))
                };
                jobs.iter().copied().filter(|row| first(row)).min_by_key(|row| {
                    let active = self.active(row.tenant).min(100);
                    let score = row.queue_priority + row.queue_penalty - rule::penalty(active);
                    (-score, active, row.waiting_since, row.id)
                })
            }
        };
        let Some(id) = chosen.map(|row| row.id) else { return Ok(None) };
        let now = self.now;
        let row = &mut self.commands[index(id.0)].row;
        to(row, CommandState::Acknowledged, now);
        row.agent = Some(agent);
        row.fence += 1;
        row.attempts += 1;
        row.acknowledged_at = Some(now);
        row.lease_until = Some(plus(now, lease));
        claim_of(row.clone()).map(Some)
    }

    fn held(&mut self, agent: AgentId) -> Result<Listing<Claim>> {
        let revoked = self.find_agent(Some(agent)).is_some_and(|row| row.status == AgentStatus::Revoked);
        let held = self.rows().filter(|row| !revoked && row.agent == Some(agent) && row.state.is_held());
        let rows = held.map(|row| claim_of(row.clone())).collect::<Result<_>>()?;
        Ok(Listing { rows, unreadable: Vec::new(), next: None })
    }

    fn start(&mut self, lease: &Lease) -> Result<()> {
        self.held_mut(Ask::Start, lease, Some(Action::Start)).map(drop)
    }

    fn progress(&mut self, lease: &Lease, percent: u8) -> Result<()> {
        if let Some(row) = self.held_mut(Ask::Progress, lease, None)? {
            row.progress = Some(i64::from(percent.min(100)));
        }
        Ok(())
    }

    fn complete(&mut self, lease: &Lease, result: &str) -> Result<()> {
        check_json("result", result)?;
        if let Some(row) = self.held_mut(Ask::Complete, lease, Some(Action::Complete))? {
            row.result = Some(result.to_owned());
            row.progress = Some(100);
        }
        Ok(())
    }

    fn fail(&mut self, lease: &Lease, text: &str) -> Result<()> {
        let text = message(text)?;
        if let Some(row) = self.held_mut(Ask::Fail, lease, Some(Action::Fail))? {
            row.message = Some(text);
        }
        Ok(())
    }

    fn release(&mut self, lease: &Lease) -> Result<()> {
        self.held_mut(Ask::Release, lease, Some(Action::Release)).map(drop)
    }

    fn renew(&mut self, lease: &Lease, time: Duration) -> Result<Lease> {
        check_lease(time)?;
        let until = plus(self.now, time);
        let row = self.held_mut(Ask::Renew, lease, None)?;
        let Some(row) = row else { return Ok(*lease) };
        let until = row.lease_until.map_or(until, |old| old.max(until));
        row.lease_until = Some(until);
        Ok(Lease { until, ..*lease })
    }

    fn cancel(&mut self, actor: &str, command: CommandId, reason: &str) -> Result<()> {
        let reason = message(reason)?;
        let record = NewAudit::new(actor, "command.cancel", format!("command {command}")).detail(&*reason);
        record.check()?;
        let found = self.command(command)?;
        let Some(next) = found.state.after(Action::Cancel) else { return canceled_already(&found) };
        let now = self.now;
        let row = &mut self.commands[index(command.0)].row;
        to(row, next, now);
        row.message = Some(reason);
        self.chain(&record.tenant(Some(found.tenant)));
        Ok(())
    }

    fn command(&mut self, command: CommandId) -> Result<Command> {
        let entry = self.commands.get(index(command.0));
        entry.map(|entry| entry.row.clone()).ok_or_else(|| not_found(no_command(command)))
    }

    fn commands(&mut self, after: CommandId, limit: u32) -> Result<Listing<Command>> {
        let rows = self.rows().filter(|row| row.id > after).take(limit as usize).cloned().collect();
        Ok(page(rows, |row| row.id.0))
    }

    fn queue(&mut self, limit: u32) -> Result<Listing<Command>> {
        let waiting = self.rows().filter(|row| row.state == CommandState::Pending && row.platform);
        let mut rows: Vec<Command> = waiting.cloned().collect();
        let must_wait = |row: &Command| !self.is_open(row);
        rows.sort_by_key(|row| (must_wait(row), -row.queue_priority, row.waiting_since, row.id));
        rows.truncate(limit as usize);
        Ok(Listing { rows, unreadable: Vec::new(), next: None })
    }

    fn max_attempts(&mut self) -> Result<u32> {
        Ok(self.max_attempts)
    }

    fn set_max_attempts(&mut self, n: u32) -> Result<bool> {
        check_attempts(n)?;
        Ok(std::mem::replace(&mut self.max_attempts, n) != n)
    }

    fn recover(&mut self, scope: Scope, lost: Lost, sweep: Sweep) -> Result<Vec<Touched>> {
        let patience = match lost {
            Lost::HolderDead => None,
            Lost::OrOlderThan(age) => Some(age),
        };
        let order = |row: &Command| (row.lease_until.unwrap_or(row.created_at), row.id);
        Ok(self.sweep(sweep, order, |model, row| {
            if row.platform != (scope == Scope::Platform) {
                return Decision::Leave(String::new());
            }
            let holder = model.find_agent(row.agent);
            rule::recover(row, holder.as_ref(), model.now, patience, model.max_attempts)
        }))
    }

    fn expire_queued(&mut self, scope: Scope, max_queue: Duration, sweep: Sweep) -> Result<Vec<Touched>> {
        let order = |row: &Command| (row.queued_at, row.id);
        Ok(self.sweep(sweep, order, |model, row| {
            if row.platform != (scope == Scope::Platform) {
                return Decision::Leave(String::new());
            }
            rule::queued_too_long(row, model.now, max_queue)
        }))
    }

    fn expire_due(&mut self, sweep: Sweep) -> Result<Vec<Touched>> {
        let order = |row: &Command| (row.expires_at.unwrap_or(row.created_at), row.id);
        Ok(self.sweep(sweep, order, |model, row| rule::due(row, model.now)))
    }

    fn fail_exhausted(&mut self, sweep: Sweep) -> Result<Vec<Touched>> {
        let order = |row: &Command| (Stamp::from_micros(0), row.id);
        Ok(self.sweep(sweep, order, |model, row| rule::used_up(row, model.max_attempts)))
    }

    fn unpin(&mut self, patience: Duration, sweep: Sweep) -> Result<Vec<Touched>> {
        let order = |row: &Command| (Stamp::from_micros(0), row.id);
        Ok(self.sweep(sweep, order, |model, row| {
            rule::pin(row, model.find_agent(row.pinned_to).as_ref(), model.now, patience)
        }))
    }

    fn reprioritize(&mut self, bonus_per_minute: u32, sweep: Sweep) -> Result<Moved> {
        let is_alone = sweep.dry_run && self.before.is_none();
        let order = |row: &Command| (row.queued_at, row.id);
        let after = self.places.filter(|_| !is_alone);
        let waiting = self.rows().filter(|row| row.state == CommandState::Pending && row.platform);
        let mut next: Vec<_> = waiting.map(order).filter(|job| Some(*job) > after).collect();
        next.sort_unstable();
        let last = next.get(sweep.batch.max(1) as usize - 1).copied().filter(|_| !is_alone);
        let touched = self.sweep(sweep, order, |model, row| {
            if Some(order(row)) <= after || last.is_some_and(|last| order(row) > last) {
                return Decision::Leave(String::new());
            }
            let plan = model.tenants[index(row.tenant.0)].plan;
            rule::rank(row, plan, model.active(row.tenant), model.now, bonus_per_minute)
        });
        if !is_alone {
            self.places = last;
        }
        Ok(Moved { moved: touched.len() as u64, finished: last.is_none() })
    }
}

impl TokenStore for ModelStore {
    fn create_token(&mut self, actor: &str, token: &NewToken) -> Result<(TokenId, Secret)> {
        token.check()?;
        check_text("actor", actor, MAX_NAME)?;
        if let Some(tenant) = token.tenant {
            self.tenant(tenant)?;
        }
        let secret = Secret::random("lkt")?;
        self.n_tokens += 1;
        let id = TokenId(self.n_tokens);
        let row = Token {
            id,
            tenant: token.tenant,
            name: token.name.clone(),
            prefix: secret.prefix().to_owned(),
            kind: token.kind,
            max_uses: token.max_uses,
            uses: 0,
            expires_at: token.expires_at,
            exhausted_at: None,
            revoked_at: None,
            created_by: actor.to_owned(),
            created_at: self.now,
        };
        self.tokens.push((row, secret.hash()));
        let record = NewAudit::new(actor, "token.create", format!("token {id}"));
        self.chain(&record.tenant(token.tenant).detail(&*token.name));
        Ok((id, secret))
    }

    fn revoke_token(&mut self, actor: &str, token: TokenId) -> Result<()> {
        let record =
            NewAudit::new(actor, "token.revoke", format!("token {token}")).severity(Severity::Medium);
        record.check()?;
        let now = self.now;
        let found = self.tokens.iter_mut().find(|(row, _)| row.id == token);
        let (row, _) = found.ok_or_else(|| not_found(format!("there is no token {token}")))?;
        if row.revoked_at.is_none() {
            row.revoked_at = Some(now);
            self.chain(&record);
        }
        Ok(())
    }

    fn tokens(&mut self, after: TokenId, limit: u32) -> Result<Listing<Token>> {
        let rows = self.tokens.iter().map(|(row, _)| row).filter(|row| row.id > after);
        Ok(page(rows.take(limit as usize).cloned().collect(), |row| row.id.0))
    }

    fn clean_tokens(&mut self, grace: Duration, sweep: Sweep) -> Result<TokensCleaned> {
        let now = self.now;
        let mut cleaned = TokensCleaned::default();
        let mut left = sweep.batch;
        let is_undone = sweep.dry_run && self.before.is_none();
        self.tokens.retain(|(row, _)| {
            if left == 0 || !matches!(rule::clean(row, now, grace), Decision::Delete(_)) {
                return true;
            }
            left -= 1;
            match row.status(now) {
                TokenStatus::Revoked => cleaned.revoked += 1,
                TokenStatus::Exhausted => cleaned.exhausted += 1,
                TokenStatus::Expired | TokenStatus::Active => cleaned.expired += 1,
            }
            is_undone
        });
        Ok(cleaned)
    }
}

impl AuditStore for ModelStore {
    fn append(&mut self, record: &NewAudit) -> Result<i64> {
        record.check()?;
        Ok(self.chain(record))
    }

    fn audit(&mut self, after: i64, limit: u32) -> Result<Listing<AuditRecord>> {
        let rows = self.audit.iter().filter(|record| record.position > after);
        Ok(page(rows.take(limit as usize).cloned().collect(), |row| row.position))
    }

    fn verify(&mut self, check: &mut dyn FnMut() -> Result<()>) -> Result<ChainReport> {
        check()?;
        let mut walk = Walk::default();
        self.audit.iter().for_each(|record| walk.step(record));
        Ok(walk.finish(self.head.clone()))
    }

    fn count_older(&mut self, age: Duration, grave: bool) -> Result<u64> {
        Ok(self.old(age, grave).len() as u64)
    }

    fn retain(&mut self, age: Duration, grave: bool, batch: u32) -> Result<u64> {
        let old = self.old(age, grave);
        let batch = batch.max(1) as usize;
        let took: Vec<i64> = old.iter().take(batch).map(|(_, position)| *position).collect();
        let (Some(first), Some(last)) = (took.iter().min(), took.iter().max()) else { return Ok(0) };
        let deleted = i64::try_from(took.len()).unwrap_or(i64::MAX);
        let cutoff = Duration::from_micros(self.now.as_micros()).saturating_sub(age).as_micros();
        let cutoff = u64::try_from(cutoff).unwrap_or(0);
        let told = self.audit.iter().filter(|row| row.action == RETENTION && took.contains(&row.position));
        let removal = Removal { deleted, first: *first, last: *last, cutoff, carried: None };
        let removal = removal.carry(told.map(|row| &*row.detail));
        self.audit.retain(|record| !took.contains(&record.position));
        self.chain(&removal_record(&removal)?);
        Ok(took.len() as u64)
    }
}

impl ModelStore {
    /// Times and positions of records that are old enough, the oldest first.
    fn old(&self, age: Duration, grave: bool) -> Vec<(Stamp, i64)> {
        let now = Duration::from_micros(self.now.as_micros());
        let Some(cutoff) = now.checked_sub(age) else { return Vec::new() };
        let old = self.audit.iter().filter(|record| record.severity.is_grave() == grave);
        let old = old.filter(|record| u128::from(record.at.as_micros()) < cutoff.as_micros());
        let mut old: Vec<_> = old.map(|record| (record.at, record.position)).collect();
        old.sort_unstable();
        old
    }
}
