//! Random agents, administrators, crashes and jumps of time, on a store and
//! on the model at once: both must answer alike and look alike after every
//! step, and the rules of the fleet must hold.

use std::collections::BTreeMap;
use std::time::Duration;

use loopkeeper::error::Result;
use loopkeeper::fleet::*;
use loopkeeper::{ErrorKind, Stamp};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::fixture::{DAY, START, TestStore, mins, secs};

#[derive(Debug, Clone)]
enum Step {
    Wait(Duration),
    /// The database's clock is set back.
    Back(Duration),
    Register {
        tenant: Option<u8>,
        able: bool,
        max_jobs: u32,
    },
    Beat {
        agent: u8,
        ill: bool,
    },
    Decide {
        agent: u8,
        status: AgentStatus,
    },
    Enqueue(Enqueue),
    Claim {
        agent: u8,
        lease: u64,
        beat: bool,
    },
    Hold {
        lease: u8,
        what: Hold,
    },
    Cancel {
        command: u8,
    },
    Plan {
        tenant: u8,
        plan: Plan,
    },
    Token {
        max_uses: Option<u32>,
        life: Option<u64>,
    },
    UseToken {
        token: u8,
    },
    RevokeToken {
        token: u8,
    },
    Record {
        grave: bool,
    },
    Pass(Pass),
    /// An agent takes all it can, and does it.
    Work {
        agent: u8,
    },
}

#[derive(Debug, Clone)]
struct Enqueue {
    tenant: u8,
    platform: bool,
    priority: Priority,
    needy: bool,
    pinned_to: Option<u8>,
    max_attempts: Option<u32>,
    scheduled: Option<u64>,
    life: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
enum Hold {
    Start,
    Progress,
    Complete,
    Fail,
    Release,
    Renew,
}

#[derive(Debug, Clone, Copy)]
enum Pass {
    Health,
    Recovery { max_retries: u32 },
    Priority,
    Cleanup,
    Retention,
}

const TENANTS: u8 = 3;

fn step() -> impl Strategy<Value = Step> {
    use proptest::option::of;
    use proptest::sample::select;
    let hold = select(vec![
        Hold::Start,
        Hold::Start,
        Hold::Progress,
        Hold::Complete,
        Hold::Fail,
        Hold::Release,
        Hold::Renew,
    ]);
    let enqueue = (
        0..TENANTS,
        any::<bool>(),
        select(Priority::ALL.to_vec()),
        prop::bool::weighted(0.2),
        prop::option::weighted(0.3, 0..8_u8),
        of(1..4_u32),
        prop::option::weighted(0.2, 0..7200_u64),
        prop::option::weighted(0.3, 1..7200_u64),
    );
    let enqueue =
        enqueue.prop_map(|(tenant, platform, priority, needy, pinned_to, max_attempts, scheduled, life)| {
            Step::Enqueue(Enqueue {
                tenant,
                platform,
                priority,
                needy,
                pinned_to,
                max_attempts,
                scheduled,
                life,
            })
        });
    prop_oneof![
        8 => (0..12_u64).prop_map(|n| Step::Wait(secs(n * 10))),
        3 => (0..90_u64).prop_map(|n| Step::Wait(mins(n))),
        1 => (0..1_000_000_u64).prop_map(|n| Step::Wait(Duration::from_micros(n))),
        1 => (1..400_u32).prop_map(|n| Step::Wait(DAY * n)),
        1 => (1..10_000_u64).prop_map(|n| Step::Back(secs(n))),
        2 => (of(0..TENANTS), any::<bool>(), 1..4_u32)
            .prop_map(|(tenant, able, max_jobs)| Step::Register { tenant, able, max_jobs }),
        8 => (0..8_u8, prop::bool::weighted(0.05)).prop_map(|(agent, ill)| Step::Beat { agent, ill }),
        1 => (0..8_u8, select(AgentStatus::ALL.to_vec()))
            .prop_map(|(agent, status)| Step::Decide { agent, status }),
        8 => enqueue,
        14 => (0..8_u8, 1..600_u64, prop::bool::weighted(0.9))
            .prop_map(|(agent, lease, beat)| Step::Claim { agent, lease, beat }),
        14 => (any::<u8>(), hold).prop_map(|(lease, what)| Step::Hold { lease, what }),
        1 => any::<u8>().prop_map(|command| Step::Cancel { command }),
        1 => (0..TENANTS, select(Plan::ALL.to_vec())).prop_map(|(tenant, plan)| Step::Plan { tenant, plan }),
        1 => (of(1..3_u32), of(1..100_000_u64)).prop_map(|(max_uses, life)| Step::Token { max_uses, life }),
        2 => any::<u8>().prop_map(|token| Step::UseToken { token }),
        1 => any::<u8>().prop_map(|token| Step::RevokeToken { token }),
        1 => any::<bool>().prop_map(|grave| Step::Record { grave }),
        4 => Just(Step::Pass(Pass::Health)),
        4 => select(vec![1, 3, 3, 3]).prop_map(|max_retries| Step::Pass(Pass::Recovery { max_retries })),
        3 => Just(Step::Pass(Pass::Priority)),
        1 => Just(Step::Pass(Pass::Cleanup)),
        1 => Just(Step::Pass(Pass::Retention)),
    ]
}

/// Everything that can be seen of a store, without secrets and what is made
/// of them.
#[derive(Debug, PartialEq)]
struct Picture {
    agents: Vec<Agent>,
    commands: Vec<Command>,
    queue: Vec<CommandId>,
    tokens: Vec<Token>,
    audit: Vec<AuditRecord>,
    chain: ChainReport,
}

fn picture(store: &mut dyn Store) -> Picture {
    let mut tokens = store.tokens(TokenId(0), 1000).unwrap().rows;
    tokens.iter_mut().for_each(|token| token.prefix.clear());
    Picture {
        agents: store.agents(AgentId(0), 1000).unwrap().rows,
        commands: store.commands(CommandId(0), 1000).unwrap().rows,
        queue: store.queue(1000).unwrap().rows.into_iter().map(|row| row.id).collect(),
        tokens,
        audit: store.audit(0, 1000).unwrap().rows,
        chain: store.verify(&mut || Ok(())).unwrap(),
    }
}

/// One side: a store, and the secrets that it gave out.
struct Side<S> {
    store: S,
    secrets: Vec<(TokenId, Secret)>,
}

/// What a step answered, fit to be compared.
#[derive(Debug, PartialEq)]
enum Answer {
    Nothing,
    Refused(ErrorKind, String),
    Number(i64),
    Claimed(Vec<Claim>),
    Lease(Lease),
    Passed(PassReport),
}

fn answer<T>(result: Result<T>, good: impl FnOnce(T) -> Answer) -> Answer {
    match result {
        Ok(value) => good(value),
        Err(error) => Answer::Refused(error.kind(), error.to_string()),
    }
}

fn nothing<T>(result: Result<T>) -> Answer {
    answer(result, |_| Answer::Nothing)
}

impl<S: TestStore> Side<S> {
    fn new(mut store: S) -> Self {
        store.set_now(Stamp::from_micros(START));
        for (n, plan) in (0..TENANTS).zip([Plan::Free, Plan::Team, Plan::Enterprise]) {
            store.create_tenant(&format!("tenant {n}"), plan).unwrap();
        }
        Self { store, secrets: Vec::new() }
    }

    fn token(&mut self, new: &NewToken) -> Answer {
        let result = self.store.create_token("root", new);
        answer(result, |(id, secret)| {
            self.secrets.push((id, secret));
            Answer::Number(id.0)
        })
    }

    /// A run, and before it a dry run, which must say the same.
    fn pass(&mut self, pass: Pass) -> Result<PassReport> {
        let dry = self.pass_as(pass, true)?;
        let done = self.pass_as(pass, false)?;
        assert_eq!((dry.dry_run, &dry.counts, dry.finished), (true, &done.counts, done.finished), "{pass:?}");
        Ok(done)
    }

    fn pass_as(&mut self, pass: Pass, dry_run: bool) -> Result<PassReport> {
        let (store, cx) = (&mut self.store, PassContext::unbounded().dry_run(dry_run));
        match pass {
            Pass::Health => AgentHealth::new(Default::default())?.pass(store, &cx),
            Pass::Recovery { max_retries } => {
                JobRecovery::new(JobRecoveryConfig { max_retries, ..Default::default() })?.pass(store, &cx)
            }
            Pass::Priority => QueuePriority::new(Default::default())?.pass(store, &cx),
            Pass::Cleanup => TokenCleanup::new(Default::default())?.pass(store, &cx),
            Pass::Retention => {
                AuditRetention::new(AuditRetentionConfig { batch_size: 3, ..Default::default() })?
                    .pass(store, &cx)
            }
        }
    }

    fn work(&mut self, agent: AgentId) -> Result<Vec<Claim>> {
        self.store.heartbeat(agent, &Heartbeat::new())?;
        let mut claims = Vec::new();
        while let Some(claim) = self.store.claim(agent, mins(30))? {
            self.store.start(&claim.lease)?;
            self.store.complete(&claim.lease, "{}")?;
            claims.push(claim);
        }
        Ok(claims)
    }

    fn step(&mut self, step: &Step, now: Stamp, leases: &[Lease]) -> Answer {
        let later = |seconds: u64| Stamp::from_micros(now.as_micros() + seconds * 1_000_000);
        let agent_of = |n: u8| AgentId(i64::from(n) + 1);
        let tenant_of = |n: u8| TenantId(i64::from(n) + 1);
        match step {
            Step::Wait(_) | Step::Back(_) => {
                self.store.set_now(now);
                Answer::Nothing
            }
            Step::Register { tenant, able, max_jobs } => {
                let token = match tenant {
                    Some(tenant) => NewToken::for_tenant(tenant_of(*tenant), "t"),
                    None => NewToken::for_platform("t"),
                };
                let (_, secret) = self.store.create_token("root", &token).unwrap();
                let agent = NewAgent::new("a", AgentKind::Agent).max_jobs(*max_jobs);
                let agent = if *able { agent.tool("nmap") } else { agent };
                answer(self.store.register(&secret, &agent), |registered| Answer::Number(registered.agent.0))
            }
            Step::Beat { agent, ill } => {
                let beat = if *ill { Heartbeat::new().error("ill") } else { Heartbeat::new() };
                nothing(self.store.heartbeat(agent_of(*agent), &beat))
            }
            Step::Decide { agent, status } => {
                nothing(self.store.set_agent_status("root", agent_of(*agent), *status, "so"))
            }
            Step::Enqueue(e) => {
                let tenant = tenant_of(e.tenant);
                let mut new = match e.platform {
                    true => NewCommand::job(tenant, CommandKind::Scan, "{}"),
                    false => NewCommand::command(tenant, CommandKind::Scan, "{}"),
                }
                .priority(e.priority);
                if e.needy {
                    new = new.tool("nmap");
                }
                if let Some(agent) = e.pinned_to {
                    new = new.pinned_to(agent_of(agent));
                }
                if let Some(n) = e.max_attempts {
                    new = new.max_attempts(n);
                }
                if let Some(at) = e.scheduled {
                    new = new.scheduled_at(later(at));
                }
                if let Some(life) = e.life {
                    new = new.expires_at(later(e.scheduled.unwrap_or(0) + life));
                }
                answer(self.store.enqueue(&new), |id| Answer::Number(id.0))
            }
            Step::Claim { agent, lease, beat } => {
                if *beat {
                    // A revoked agent's is refused, and then so is its claim.
                    let _ = self.store.heartbeat(agent_of(*agent), &Heartbeat::new());
                }
                answer(self.store.claim(agent_of(*agent), secs(*lease)), |claim| {
                    Answer::Claimed(claim.into_iter().collect())
                })
            }
            Step::Hold { lease, what } => {
                // Mostly a late one.
                let back = usize::from(*lease) % leases.len().clamp(1, 6) + 1;
                let Some(lease) = leases.len().checked_sub(back).map(|at| &leases[at]) else {
                    return Answer::Nothing;
                };
                match what {
                    Hold::Start => nothing(self.store.start(lease)),
                    Hold::Progress => nothing(self.store.progress(lease, 50)),
                    Hold::Complete => nothing(self.store.complete(lease, "{}")),
                    Hold::Fail => nothing(self.store.fail(lease, "no")),
                    Hold::Release => nothing(self.store.release(lease)),
                    Hold::Renew => answer(self.store.renew(lease, mins(5)), Answer::Lease),
                }
            }
            Step::Cancel { command } => {
                nothing(self.store.cancel("root", CommandId(i64::from(*command) % 40), "no"))
            }
            Step::Plan { tenant, plan } => nothing(self.store.set_plan(tenant_of(*tenant), *plan)),
            Step::Token { max_uses, life } => {
                let mut new = NewToken::for_platform("t").unlimited();
                if let Some(n) = max_uses {
                    new = new.max_uses(*n);
                }
                if let Some(life) = life {
                    new = new.expires_at(later(*life));
                }
                self.token(&new)
            }
            Step::UseToken { token } => {
                let Some((_, secret)) = self.secrets.get(usize::from(*token) % self.secrets.len().max(1))
                else {
                    return Answer::Nothing;
                };
                let result = self.store.register(secret, &NewAgent::new("b", AgentKind::Agent));
                answer(result, |registered| Answer::Number(registered.agent.0))
            }
            Step::RevokeToken { token } => {
                nothing(self.store.revoke_token("root", TokenId(i64::from(*token) % 40)))
            }
            Step::Record { grave } => {
                let severity = if *grave { Severity::High } else { Severity::Low };
                let new = NewAudit::new("root", "x", "y").severity(severity);
                answer(self.store.append(&new), Answer::Number)
            }
            Step::Pass(pass) => answer(self.pass(*pass), Answer::Passed),
            Step::Work { agent } => answer(self.work(agent_of(*agent)), Answer::Claimed),
        }
    }
}

/// What must hold whatever was done.
fn rules(before: &Picture, after: &Picture, step: &Step, now: Stamp, claims: &BTreeMap<CommandId, i64>) {
    assert!(after.chain.is_sound(), "{:?}", after.chain);
    let back = matches!(step, Step::Back(_));
    for row in &after.commands {
        let claimed = claims.get(&row.id).copied().unwrap_or(0);
        assert_eq!(row.attempts, claimed, "each claim counts once: {row:?}");
        let state = row.state;
        assert_eq!(state.is_held(), row.lease_until.is_some(), "{row:?}");
        assert_eq!(state.is_terminal(), row.completed_at.is_some(), "{row:?}");
        assert!(
            state != CommandState::Pending || row.acknowledged_at.is_none() && row.agent.is_none(),
            "{row:?}"
        );
        let Some(old) = before.commands.iter().find(|old| old.id == row.id) else {
            assert_eq!(row.fence, 0, "{row:?}");
            continue;
        };
        let revoked = |agent: &Agent| old.agent == Some(agent.id) && agent.status == AgentStatus::Revoked;
        let revoked = |all: &[Agent]| all.iter().any(revoked);
        let fenced_off = old.state.is_held() && !revoked(&before.agents) && revoked(&after.agents);
        let numbers = row.attempts - old.attempts + i64::from(fenced_off);
        assert_eq!(row.fence, old.fence + numbers, "one number a claim or revocation: {old:?} {row:?}");
        assert!(old.completed_at.is_some() || row.completed_at.is_none_or(|at| at == now), "{row:?}");
        if back {
            assert_eq!(old, row, "the clock alone changes nothing");
        }
        if old.state.is_terminal() {
            assert_eq!(old, row, "what is over stays");
        }
        assert!(row.version >= old.version && (row == old || row.version > old.version), "{old:?} {row:?}");
        if let Step::Pass(_) = step {
            let live = old.lease_until.is_some_and(|until| until > now);
            assert!(!live || old.state == row.state, "inside its lease: {old:?} {row:?}");
        }
    }
    for agent in &after.agents {
        assert!(agent.held_jobs <= agent.max_jobs, "{agent:?}");
        let Some(old) = before.agents.iter().find(|old| old.id == agent.id) else { continue };
        if !matches!(step, Step::Decide { .. }) {
            assert_eq!(old.status, agent.status, "only an administrator decides");
        }
    }
}

fn run<S: TestStore>(store: S, steps: &[Step]) {
    let mut model = Side::new(ModelStore::default());
    let mut real = Side::new(store);
    let mut now = Stamp::from_micros(START);
    let mut leases: Vec<Lease> = Vec::new();
    let mut claims = BTreeMap::new();
    let mut before = picture(&mut real.store);
    let mut go = |step: &Step| {
        if let Step::Wait(time) = step {
            now = Stamp::from_micros(now.as_micros() + time.as_micros() as u64);
        }
        if let Step::Back(time) = step {
            now = Stamp::from_micros(now.as_micros() - time.as_micros() as u64);
        }
        let expected = model.step(step, now, &leases);
        let found = real.step(step, now, &leases);
        assert_eq!(found, expected, "{step:?}");
        if let Answer::Claimed(found) = found {
            for claim in found {
                *claims.entry(claim.command.id).or_insert(0) += 1;
                leases.push(claim.lease);
            }
        }
        let after = picture(&mut real.store);
        assert_eq!(after, picture(&mut model.store), "after {step:?}");
        rules(&before, &after, step, now, &claims);
        before = after;
        if let Step::Pass(pass) = step {
            let again = real.pass(*pass).unwrap();
            assert_eq!(again.processed(), 0, "{pass:?} once more: {again}");
            if !matches!(pass, Pass::Retention) {
                assert_eq!(picture(&mut real.store), before, "{pass:?} once more");
            }
            let again = model.pass(*pass).unwrap();
            assert_eq!(again.processed(), 0, "{pass:?} once more, in the model: {again}");
        }
        (before.agents.len(), before.commands.iter().all(|row| row.state.is_terminal()))
    };
    for tenant in [None, None, Some(0), Some(1), Some(2)] {
        go(&Step::Register { tenant, able: tenant.is_none(), max_jobs: 3 });
    }
    for step in steps {
        go(step);
    }
    // Whoever was there is silent from now on, the passes go on, and each
    // side gets an agent that works: everything comes to its end.
    let mut first = 0;
    // Or nobody works any more, and what waits ends by its limits.
    let deserted = steps.len() % 4 == 0;
    for tenant in [None, Some(0), Some(1), Some(2)].into_iter().filter(|_| !deserted) {
        first = go(&Step::Register { tenant, able: true, max_jobs: 3 }).0 - 1;
    }
    let back: Duration =
        steps.iter().map(|step| if let Step::Back(time) = step { *time } else { Duration::ZERO }).sum();
    for round in 0.. {
        // What waits or is held may do so longer by as much as the clock went back.
        assert!(round < 60 + 2 * back.as_secs() / 300, "not everything has come to its end");
        go(&Step::Wait(if deserted { mins(60) } else { mins(5) }));
        go(&Step::Pass(Pass::Health));
        if go(&Step::Pass(Pass::Recovery { max_retries: 3 })).1 {
            break;
        }
        for agent in (!deserted).then(|| first - 3..=first).into_iter().flatten() {
            go(&Step::Work { agent: u8::try_from(agent).unwrap() });
        }
    }
}

fn check<S: TestStore>(cases: u32, open: impl Fn() -> S) {
    let mut runner = TestRunner::new(Config {
        cases,
        max_shrink_iters: 2_000,
        failure_persistence: None,
        ..Config::default()
    });
    let steps = prop::collection::vec(step(), 1..80);
    runner
        .run(&steps, |steps| {
            run(open(), &steps);
            Ok(())
        })
        .unwrap();
}

#[test]
#[cfg(feature = "sqlite")]
fn a_file_is_like_the_model() {
    check(40, || SqliteStore::open(&SqliteConfig::memory()).unwrap());
}

#[test]
#[cfg(feature = "postgres")]
fn a_server_is_like_the_model() {
    crate::postgres::with_server(|server| check(12, || server.store()));
}
