//! A small fleet on any store, at a time that the test sets.

use std::time::Duration;

use loopkeeper::Stamp;
use loopkeeper::fleet::*;

pub(crate) const START: u64 = 1_800_000_000_000_000;

pub(crate) const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub(crate) const fn mins(n: u64) -> Duration {
    Duration::from_secs(n * 60)
}

pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);
pub(crate) const LEASE: Duration = Duration::from_secs(60);

/// The machine's own clock, in microseconds.
#[allow(clippy::disallowed_methods, reason = "what the databases' clocks are compared with")]
pub(crate) fn real_now() -> u64 {
    std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_micros() as u64
}

/// A pass of which one step fails, because nothing may expire: what the others
/// did is told and stays.
#[allow(dead_code, reason = "each test file uses some of it")]
pub(crate) fn a_step_fails<S: TestStore>(f: &mut Fleet<S>, why: &str) {
    let agent = f.agent("a");
    let jobs = [0; 2].map(|_| f.job()).map(|job| f.enqueue(job));
    f.claim(agent);
    f.wait(mins(90));
    let pass = JobRecovery::new(JobRecoveryConfig::default()).unwrap();
    let error = pass.pass(&mut f.store, &PassContext::unbounded()).unwrap_err();
    let text = error.report().to_string();
    assert!(text.starts_with("after 1 requeued: jobs in the queue: "), "{text}");
    assert!(text.contains(why), "{text}");
    assert_eq!(jobs.map(|id| f.state(id)), [CommandState::Pending; 2]);
    assert_eq!(f.get(jobs[0]).attempts, 1);
}

/// Pages full of rows that cannot be read, and such a record in the chain, and
/// one where none can be.
#[allow(dead_code, reason = "each test file uses some of it")]
pub(crate) fn unreadable_rows<S: TestStore>(f: &mut Fleet<S>, run: &mut dyn FnMut(&str)) {
    for _ in 0..5 {
        let job = f.job();
        f.enqueue(job);
        f.store.append(&NewAudit::new("root", "thing.do", "thing")).unwrap();
    }
    run("UPDATE fleet_commands SET kind = 'dance' WHERE id <= 3; \
         UPDATE fleet_audit SET severity = 'grim' WHERE position <= 3");
    let (mut after, mut found, mut pages) = (CommandId(0), Vec::new(), 0);
    loop {
        let page = f.store.commands(after, 2).unwrap();
        assert_eq!(
            page.unreadable.len() + page.rows.len(),
            if pages == 2 { 1 } else { 2 } * usize::from(pages < 3)
        );
        found.extend(page.rows.iter().map(|row| row.id.0));
        pages += 1;
        let Some(next) = page.next else { break };
        after = CommandId(next);
    }
    assert_eq!((found, pages), (vec![4, 5], 4));
    let page = f.store.audit(0, 2).unwrap();
    assert_eq!((page.rows.len(), page.unreadable.len(), page.next), (0, 2, Some(2)));

    run(
        "INSERT INTO fleet_audit (position, at, actor, action, resource, severity, detail, prev_hash, hash) \
         SELECT CASE position WHEN 4 THEN 0 ELSE -9223372036854775807 - 1 END, at, actor, action, resource, severity, detail, prev_hash, hash \
         FROM fleet_audit WHERE position >= 4",
    );
    let chain = f.chain();
    assert_eq!(chain.records, 7);
    let told = [
        "-9223372036854775808: changed",
        "-9223372036854775808: there is none before record 1",
        "0: changed",
        "0: there is none",
        "1: cannot be read: ",
        "2: cannot be read: ",
        "3: cannot be read: ",
    ];
    assert_eq!(chain.breaks.len(), told.len(), "{:?}", chain.breaks);
    for (found, told) in chain.breaks.iter().zip(told) {
        assert!(found.starts_with(&format!("record {told}")), "{found}");
    }
}

/// A store that a test can use.
pub(crate) trait TestStore: Store + ManualTime {}
impl<T: Store + ManualTime> TestStore for T {}

pub(crate) struct Fleet<S> {
    pub(crate) store: S,
    pub(crate) tenant: TenantId,
    now: u64,
}

impl<S: TestStore> Fleet<S> {
    pub(crate) fn new(mut store: S) -> Self {
        store.set_now(Stamp::from_micros(START));
        let tenant = store.create_tenant("acme", Plan::Free).unwrap();
        Self { store, tenant, now: START }
    }

    /// The fleet that a store already has, at the beginning again.
    #[allow(dead_code, reason = "each test file uses some of it")]
    pub(crate) fn again(mut store: S) -> Self {
        store.set_now(Stamp::from_micros(START));
        let tenant = store.tenants().unwrap().rows[0].id;
        Self { store, tenant, now: START }
    }

    pub(crate) fn now(&self) -> Stamp {
        Stamp::from_micros(self.now)
    }

    pub(crate) fn after(&self, time: Duration) -> Stamp {
        Stamp::from_micros(self.now + time.as_micros() as u64)
    }

    pub(crate) fn wait(&mut self, time: Duration) {
        self.now += time.as_micros() as u64;
        self.store.set_now(Stamp::from_micros(self.now));
    }

    /// Time passes in which an agent sends its heartbeats.
    pub(crate) fn wait_alive(&mut self, time: Duration, agent: AgentId) {
        let end = self.now + time.as_micros() as u64;
        while self.now < end {
            self.wait(secs(30).min(Duration::from_micros(end - self.now)));
            self.beat(agent);
        }
    }

    pub(crate) fn beat(&mut self, agent: AgentId) {
        self.store.heartbeat(agent, &Heartbeat::new()).unwrap();
    }

    /// An agent of the platform that was just heard of.
    pub(crate) fn agent(&mut self, name: &str) -> AgentId {
        self.register(None, NewAgent::new(name, AgentKind::Platform))
    }

    /// An agent of the tenant that was just heard of.
    pub(crate) fn own_agent(&mut self, name: &str) -> AgentId {
        self.register(Some(self.tenant), NewAgent::new(name, AgentKind::Worker))
    }

    pub(crate) fn register(&mut self, tenant: Option<TenantId>, agent: NewAgent) -> AgentId {
        let token = match tenant {
            Some(tenant) => NewToken::for_tenant(tenant, "t"),
            None => NewToken::for_platform("t"),
        };
        let (_, secret) = self.store.create_token("root", &token).unwrap();
        let id = self.store.register(&secret, &agent).unwrap().agent;
        self.beat(id);
        id
    }

    pub(crate) fn job(&self) -> NewCommand {
        NewCommand::job(self.tenant, CommandKind::Scan, "{}")
    }

    pub(crate) fn order(&self) -> NewCommand {
        NewCommand::command(self.tenant, CommandKind::Scan, "{}")
    }

    pub(crate) fn enqueue(&mut self, command: NewCommand) -> CommandId {
        self.store.enqueue(&command).unwrap()
    }

    #[track_caller]
    pub(crate) fn claim(&mut self, agent: AgentId) -> Lease {
        self.store.claim(agent, LEASE).unwrap().expect("there is something to claim").lease
    }

    pub(crate) fn get(&mut self, command: CommandId) -> Command {
        self.store.command(command).unwrap()
    }

    pub(crate) fn state(&mut self, command: CommandId) -> CommandState {
        self.get(command).state
    }

    pub(crate) fn health(&mut self) -> PassReport {
        let pass = AgentHealth::new(AgentHealthConfig::default()).unwrap();
        pass.pass(&mut self.store, &PassContext::unbounded()).unwrap()
    }

    pub(crate) fn recovery(&mut self) -> PassReport {
        self.recovery_with(JobRecoveryConfig::default())
    }

    pub(crate) fn recovery_with(&mut self, config: JobRecoveryConfig) -> PassReport {
        let pass = JobRecovery::new(config).unwrap();
        pass.pass(&mut self.store, &PassContext::unbounded()).unwrap()
    }

    pub(crate) fn priorities(&mut self) -> PassReport {
        let pass = QueuePriority::new(QueuePriorityConfig::default()).unwrap();
        pass.pass(&mut self.store, &PassContext::unbounded()).unwrap()
    }

    pub(crate) fn retention(&mut self, config: AuditRetentionConfig) -> PassReport {
        let pass = AuditRetention::new(config).unwrap();
        pass.pass(&mut self.store, &PassContext::unbounded()).unwrap()
    }

    pub(crate) fn chain(&mut self) -> ChainReport {
        self.store.verify(&mut || Ok(())).unwrap()
    }

    pub(crate) fn audit(&mut self) -> Vec<AuditRecord> {
        let listing = self.store.audit(0, 1_000_000).unwrap();
        assert_eq!(listing.unreadable, Vec::<String>::new());
        listing.rows
    }
}

/// What of a command does not agree with its state.
#[allow(dead_code, reason = "each test file uses some of it")]
pub(crate) const DISAGREES: [(CommandState, &[&str]); 7] = [
    (
        CommandState::Pending,
        &["lease_until = 1", "completed_at = 1", "agent_id = 1", "acknowledged_at = 1", "started_at = 1"],
    ),
    (
        CommandState::Acknowledged,
        &[
            "lease_until = NULL",
            "completed_at = 1",
            "agent_id = NULL",
            "acknowledged_at = NULL",
            "started_at = 1",
        ],
    ),
    (
        CommandState::Running,
        &[
            "lease_until = NULL",
            "completed_at = 1",
            "agent_id = NULL",
            "acknowledged_at = NULL",
            "started_at = NULL",
        ],
    ),
    (CommandState::Completed, &["lease_until = 1", "completed_at = NULL", "started_at = NULL"]),
    (CommandState::Failed, &["lease_until = 1", "completed_at = NULL"]),
    (CommandState::Canceled, &["lease_until = 1", "completed_at = NULL"]),
    (CommandState::Expired, &["lease_until = 1", "completed_at = NULL"]),
];

/// What no command may have, whatever its state.
#[allow(dead_code, reason = "each test file uses some of it")]
pub(crate) const NEVER: [&str; 3] = ["state = 'lost'", "priority = 3", "max_attempts = 0"];

/// What no other row may have, where an agent was registered.
#[allow(dead_code, reason = "each test file uses some of it")]
pub(crate) const NEVER_ELSEWHERE: [(&str, &str); 14] = [
    ("fleet_agents", "status = 'pending'"),
    ("fleet_agents", "kind = 'pending'"),
    ("fleet_agents", "health = 'pending'"),
    ("fleet_agents", "health = 'offline'"),
    ("fleet_agents", "last_seen_at = NULL"),
    ("fleet_agents", "max_jobs = 0"),
    ("fleet_tokens", "uses = 5"),
    ("fleet_tokens", "uses = 0, exhausted_at = NULL, max_uses = 0"),
    ("fleet_tokens", "max_uses = 5"),
    ("fleet_tenants", "plan = 'gold'"),
    ("fleet_policy", "max_attempts = 0"),
    ("fleet_policy", "id = 2"),
    ("fleet_audit_head", "id = 2"),
    ("fleet_audit", "severity = 'odd'"),
];

impl<S: TestStore> Fleet<S> {
    /// A job in that state, where no other waits.
    #[allow(dead_code, reason = "each test file uses some of it")]
    pub(crate) fn in_state(&mut self, agent: AgentId, state: CommandState) -> CommandId {
        let job = self.job().expires_at(self.after(secs(1)));
        let id = self.enqueue(job);
        if state == CommandState::Expired {
            self.wait(secs(1));
            self.store.expire_due(Sweep::default()).unwrap();
        } else if state != CommandState::Pending {
            let lease = self.claim(agent);
            if matches!(state, CommandState::Running | CommandState::Completed) {
                self.store.start(&lease).unwrap();
            }
            match state {
                CommandState::Completed => self.store.complete(&lease, "{}").unwrap(),
                CommandState::Failed => self.store.fail(&lease, "no").unwrap(),
                CommandState::Canceled => self.store.cancel("root", id, "no").unwrap(),
                _ => {}
            }
        }
        assert_eq!(self.state(id), state);
        id
    }
}
