//! A fleet whose agents claim, crash, hang and lie, kept right by the five
//! passes, on a real SQLite file.
//!
//!     cargo run --release --features daemon --example fleet
//!     cargo run --release --features daemon --example fleet -- --crash-rate 0.3 --seed 7
//!
//! The agents keep a ledger of their own: what they were given, and which of
//! their answers were taken. At the end the ledger is held against the
//! store: each job was done exactly once, or is over for a reason that is
//! told. One rule that does not hold, and the exit code is not 0.
//!
//! Times are short so that a fleet's day fits into seconds.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example speaks to its reader")]
#![allow(clippy::disallowed_methods, reason = "machines that crash and hang run on the real clock")]

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use loopkeeper::fleet::*;
use loopkeeper::{BoxError, ControllerManager, ControllerManagerConfig, Error, ErrorClass, ErrorKind};

const LEASE: Duration = Duration::from_secs(2);
const BEAT: Duration = Duration::from_millis(500);
/// How long an agent may be silent.
const STALE: Duration = Duration::from_millis(1500);
/// When a claim is stuck although its agent lives.
const STUCK: Duration = Duration::from_secs(4);
const MAX_CLAIMS: u32 = 3;
/// How many commands an agent may hold at once.
const SLOTS: u32 = 2;
/// Threads that play the agents.
const THREADS: usize = 16;

// What is asked for.

struct Options {
    agents: usize,
    jobs: usize,
    crash_rate: f64,
    seed: u64,
    seconds: u64,
}

impl Options {
    const USAGE: &str = "fleet [--agents N] [--jobs N] [--crash-rate F] [--seed N] [--seconds N]";

    fn read(mut args: impl Iterator<Item = String>) -> Result<Self, BoxError> {
        let mut options = Self { agents: 200, jobs: 800, crash_rate: 0.1, seed: 1, seconds: 50 };
        while let Some(name) = args.next() {
            let value = args.next().ok_or_else(|| format!("{name}: a value is missing\n{}", Self::USAGE))?;
            match &*name {
                "--agents" => options.agents = number(&name, &value, 1.0..=5_000.0)?,
                "--jobs" => options.jobs = number(&name, &value, 1.0..=1_000_000.0)?,
                "--crash-rate" => options.crash_rate = number(&name, &value, 0.0..=1.0)?,
                "--seed" => options.seed = number(&name, &value, 0.0..=f64::MAX)?,
                "--seconds" => options.seconds = number(&name, &value, 1.0..=86_400.0)?,
                _ => return Err(format!("{name} is not known\n{}", Self::USAGE).into()),
            }
        }
        Ok(options)
    }
}

fn number<T: FromStr>(name: &str, text: &str, range: std::ops::RangeInclusive<f64>) -> Result<T, BoxError> {
    let in_range = text.parse().is_ok_and(|n| range.contains(&n));
    let value = text.parse().ok().filter(|_| in_range);
    value.ok_or_else(|| {
        format!("{name}: expected a number from {} to {}, found {text:?}", range.start(), range.end()).into()
    })
}

/// Chance that is the same for the same seed.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }

    fn chance(&mut self, share: f64) -> bool {
        (self.next() >> 11) as f64 / ((1_u64 << 53) as f64) < share
    }

    fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to - from))
    }
}

// The ledger.

/// What the agents know of one command.
#[derive(Default)]
struct Entry {
    /// Who was given it, by the claim's number.
    claims: BTreeMap<i64, AgentId>,
    /// Whose answer was taken, and what it was.
    completed: Vec<(Lease, String)>,
    failed: Vec<(Lease, String)>,
    /// Which of its holders gave it back.
    given_back: Vec<i64>,
    canceled: bool,
}

#[derive(Default)]
struct Ledger {
    commands: Mutex<BTreeMap<CommandId, Entry>>,
    breaches: Mutex<Vec<String>>,
    /// Leases that were refused before they were over. Right for those that
    /// were cancelled or given back, also by who is back after a crash and has
    /// forgotten that it remembers.
    refused: Mutex<Vec<(Lease, String)>>,
    tried: Tried,
}

/// How often what was tried, and refused or harmless.
#[derive(Default)]
struct Tried {
    crashes: AtomicU64,
    hangs: AtomicU64,
    late: AtomicU64,
    replays: AtomicU64,
    forged: AtomicU64,
    tokens: AtomicU64,
    full: AtomicU64,
    refused: AtomicU64,
    retries: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Ledger {
    fn breach(&self, text: String) {
        lock(&self.breaches).push(text);
    }

    fn with(&self, command: CommandId, change: impl FnOnce(&mut Entry)) {
        change(lock(&self.commands).entry(command).or_default());
    }

    fn claimed(&self, lease: &Lease) {
        let mut twice = None;
        self.with(lease.command, |entry| twice = entry.claims.insert(lease.fence, lease.agent));
        if let Some(other) = twice {
            let Lease { command, agent, fence, .. } = lease;
            self.breach(format!("claim {fence} of command {command} was given to {other} and to {agent}"));
        }
    }
}

// The agents.

/// What every thread works on.
struct World {
    path: PathBuf,
    ledger: Ledger,
    seats: Vec<Seat>,
    tenants: Vec<TenantId>,
    crash_rate: f64,
    over: AtomicBool,
}

impl World {
    fn config(&self) -> SqliteConfig {
        SqliteConfig::file(&self.path).busy_timeout(Duration::from_secs(20))
    }

    fn open(&self) -> loopkeeper::error::Result<SqliteStore> {
        SqliteStore::open(&self.config())
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Makes a call again that the store only had no time for.
    fn call<T>(
        &self,
        mut call: impl FnMut() -> loopkeeper::error::Result<T>,
    ) -> loopkeeper::error::Result<T> {
        loop {
            match call() {
                Err(error) if error.class() == ErrorClass::Retryable && error.kind() == ErrorKind::Store => {
                    count(&self.ledger.tried.retries);
                    if self.is_over() {
                        return Err(error);
                    }
                }
                done => return done,
            }
        }
    }
}

/// The papers of an agent; a cloned machine has the same.
#[derive(Default)]
struct Seat {
    papers: Mutex<Option<(AgentId, Secret)>>,
}

/// How a piece of work ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Done,
    Fails,
    GivesBack,
    /// The machine is gone in the middle of it.
    Crash,
    /// The machine is silent for a while, and answers after that.
    Hang,
    /// The machine lives, the work does not go on.
    Stall,
}

struct Work {
    lease: Lease,
    end: End,
    at: Instant,
    renew_at: Option<Instant>,
}

struct Machine<'a> {
    world: &'a World,
    seat: usize,
    name: String,
    tenant: Option<TenantId>,
    is_clone: bool,
    dice: Dice,
    agent: Option<AgentId>,
    may_claim: bool,
    work: Vec<Work>,
    /// Leases that it should have forgotten.
    ghosts: Vec<Lease>,
    beat_at: Instant,
}

impl Machine<'_> {
    /// Does what is due; answers when to come back.
    fn step(&mut self, store: &mut SqliteStore, now: Instant) -> loopkeeper::error::Result<Instant> {
        if self.agent.is_none() && !self.boot(store, now)? {
            return Ok(now + Duration::from_millis(300));
        }
        let Some(agent) = self.agent else { return Ok(now + BEAT) };
        if now >= self.beat_at {
            self.beat_at = now + BEAT;
            match self.world.call(|| store.heartbeat(agent, &Heartbeat::new())) {
                Ok(status) => self.may_claim = status == AgentStatus::Active,
                // Revoked: another will have to sit here.
                Err(error) if error.kind() == ErrorKind::InvalidState => {
                    self.crash(true);
                    return Ok(now + Duration::from_millis(500));
                }
                Err(error) => return Err(error),
            }
        }
        for i in (0..self.work.len()).rev() {
            if now >= self.work[i].at {
                let work = self.work.swap_remove(i);
                if let Some(away) = self.end(store, work, now)? {
                    return Ok(now + away);
                }
            } else if self.work[i].renew_at.is_some_and(|at| now >= at) {
                self.work[i].renew_at = Some(now + BEAT);
                let (lease, mine) = (self.work[i].lease, agent);
                match self.world.call(|| store.renew(&lease, LEASE)) {
                    Ok(lease) => self.work[i].lease = lease,
                    Err(error) => {
                        self.refused(store, &lease, mine, &error)?;
                        self.work.swap_remove(i);
                    }
                }
            }
        }
        if self.may_claim && (self.work.is_empty() || self.dice.chance(0.1)) {
            self.claim(store, agent, now)?;
        }
        if let Some(ghost) = self.ghosts.pop() {
            count(&self.world.ledger.tried.late);
            self.complete(store, &ghost)?;
        }
        let next = self.work.iter().flat_map(|work| [Some(work.at), work.renew_at]).flatten();
        let idle = if self.work.is_empty() { self.dice.millis(50, 150) } else { BEAT };
        Ok(next.chain([self.beat_at, now + idle]).min().unwrap_or(now + idle))
    }

    /// Gets papers, or the old ones out of the drawer.
    fn boot(&mut self, store: &mut SqliteStore, now: Instant) -> loopkeeper::error::Result<bool> {
        let world = self.world;
        let papers = lock(&world.seats[self.seat].papers).clone();
        let agent = match papers {
            Some((agent, key)) => match world.call(|| store.authenticate(&key)) {
                Ok(known) if known == agent => agent,
                Ok(known) => {
                    world
                        .ledger
                        .breach(format!("the key of agent {agent} is taken for that of agent {known}"));
                    return Ok(false);
                }
                // Revoked meanwhile.
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    if !self.is_clone {
                        *lock(&world.seats[self.seat].papers) = None;
                    }
                    return Ok(false);
                }
                Err(error) => return Err(error),
            },
            None if self.is_clone => return Ok(false),
            None => {
                if self.dice.chance(0.1) {
                    let guess = Secret::new(format!("lkt_{:044x}", self.dice.next()));
                    count(&world.ledger.tried.tokens);
                    if world.call(|| store.register(&guess, &self.papers())).is_ok() {
                        world.ledger.breach("a guessed token was taken".to_owned());
                    }
                }
                let once = match self.tenant {
                    Some(tenant) => NewToken::for_tenant(tenant, &*self.name),
                    None => NewToken::for_platform(&*self.name),
                };
                let (_, token) = world.call(|| store.create_token("root", &once))?;
                let registered = world.call(|| store.register(&token, &self.papers()))?;
                if self.dice.chance(0.1) {
                    count(&world.ledger.tried.tokens);
                    if world.call(|| store.register(&token, &self.papers())).is_ok() {
                        world.ledger.breach("a token was used twice that is good for once".to_owned());
                    }
                }
                *lock(&world.seats[self.seat].papers) = Some((registered.agent, registered.key));
                registered.agent
            }
        };
        self.agent = Some(agent);
        self.may_claim = false;
        self.beat_at = now;
        // What it held before it crashed is still its own, if nobody took it.
        for claim in world.call(|| store.held(agent))?.rows {
            let end = if self.dice.chance(0.5) { End::Done } else { End::GivesBack };
            let at = now + self.dice.millis(50, 300);
            self.work.push(Work { lease: claim.lease, end, at, renew_at: None });
        }
        Ok(true)
    }

    fn papers(&self) -> NewAgent {
        let kind = if self.tenant.is_some() { AgentKind::Worker } else { AgentKind::Platform };
        NewAgent::new(&*self.name, kind).tool("nmap").max_jobs(SLOTS)
    }

    fn crash(&mut self, for_good: bool) {
        self.agent = None;
        self.ghosts.extend(self.work.drain(..).map(|work| work.lease));
        if for_good && !self.is_clone {
            *lock(&self.world.seats[self.seat].papers) = None;
        }
    }

    fn claim(
        &mut self,
        store: &mut SqliteStore,
        agent: AgentId,
        now: Instant,
    ) -> loopkeeper::error::Result<()> {
        let world = self.world;
        let claim = match world.call(|| store.claim(agent, LEASE)) {
            Ok(Some(claim)) => claim,
            Ok(None) => {
                if self.work.len() >= SLOTS as usize {
                    count(&world.ledger.tried.full);
                }
                return Ok(());
            }
            // Found to be offline, disabled or revoked since its heartbeat.
            Err(error) if error.kind() == ErrorKind::InvalidState => {
                self.beat_at = now;
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        world.ledger.claimed(&claim.lease);
        let lease = claim.lease;
        let rate = world.crash_rate;
        let end = match () {
            () if claim.command.payload.contains("poison") => End::Crash,
            () if self.dice.chance(rate) => End::Crash,
            () if self.dice.chance(rate / 2.0) => End::Hang,
            () if self.dice.chance(rate / 4.0) => End::Stall,
            () if self.dice.chance(0.03) => End::Fails,
            () if self.dice.chance(0.03) => End::GivesBack,
            () => End::Done,
        };
        if self.dice.chance(0.2) {
            self.lie(store, &lease)?;
        }
        match world.call(|| store.start(&lease)) {
            Ok(()) => {}
            Err(error) => return self.refused(store, &lease, agent, &error),
        }
        let at = now
            + match end {
                End::Stall => STUCK + self.dice.millis(1_000, 3_000),
                _ => self.dice.millis(100, 900),
            };
        let renew_at = (end != End::Stall).then(|| now + BEAT);
        self.work.push(Work { lease, end, at, renew_at });
        Ok(())
    }

    /// Ends a piece of work; answers for how long the machine is away.
    fn end(
        &mut self,
        store: &mut SqliteStore,
        work: Work,
        now: Instant,
    ) -> loopkeeper::error::Result<Option<Duration>> {
        let world = self.world;
        let lease = work.lease;
        match work.end {
            End::Done | End::Stall => {
                if self.complete(store, &lease)? && self.dice.chance(0.2) {
                    self.repeat(store, &lease)?;
                }
            }
            End::Fails => {
                let text = format!("the target does not answer (claim {})", lease.fence);
                match world.call(|| store.fail(&lease, &text)) {
                    Ok(()) => world.ledger.with(lease.command, |entry| entry.failed.push((lease, text))),
                    Err(error) => self.refused(store, &lease, lease.agent, &error)?,
                }
            }
            End::GivesBack => match world.call(|| store.release(&lease)) {
                Ok(()) => world.ledger.with(lease.command, |entry| entry.given_back.push(lease.fence)),
                Err(error) => self.refused(store, &lease, lease.agent, &error)?,
            },
            End::Crash => {
                count(&world.ledger.tried.crashes);
                self.ghosts.push(lease);
                let for_good = self.dice.chance(0.5);
                self.crash(for_good);
                return Ok(Some(self.dice.millis(1_000, 5_000)));
            }
            End::Hang => {
                count(&world.ledger.tried.hangs);
                let away = self.dice.millis(1_500, 5_000);
                self.work.push(Work { lease, end: End::Done, at: now + away, renew_at: None });
                return Ok(Some(away));
            }
        }
        Ok(None)
    }

    /// Says that it is done; answers whether that was taken.
    fn complete(&mut self, store: &mut SqliteStore, lease: &Lease) -> loopkeeper::error::Result<bool> {
        let nonce = self.dice.next();
        let result =
            format!(r#"{{"by": {}, "claim": {}, "nonce": "{nonce:x}"}}"#, lease.agent.0, lease.fence);
        match self.world.call(|| store.complete(lease, &result)) {
            Ok(()) => {
                self.world.ledger.with(lease.command, |entry| entry.completed.push((*lease, result)));
                Ok(true)
            }
            Err(error) => self.refused(store, lease, lease.agent, &error).map(|()| false),
        }
    }

    /// The answer was lost, or so it says: once more, and something else.
    fn repeat(&mut self, store: &mut SqliteStore, lease: &Lease) -> loopkeeper::error::Result<()> {
        let ledger = &self.world.ledger;
        count(&ledger.tried.replays);
        if let Err(error) = self.world.call(|| store.complete(lease, r#"{"by": "replay"}"#)) {
            if error.kind() != ErrorKind::Stale {
                ledger.breach(format!("a second answer was not taken for the first: {}", error.report()));
            }
        }
        if self.world.call(|| store.fail(lease, "I have changed my mind")).is_ok() {
            ledger.breach(format!("command {} was failed after it was done", lease.command));
        }
        if self.world.call(|| store.release(lease)).is_ok() {
            ledger.breach(format!("command {} was given back after it was done", lease.command));
        }
        Ok(())
    }

    /// Shows leases that it was never given.
    fn lie(&mut self, store: &mut SqliteStore, lease: &Lease) -> loopkeeper::error::Result<()> {
        let other = AgentId(1 + (lease.agent.0 + 1) % self.world.seats.len() as i64);
        for forged in [
            Lease { fence: lease.fence + 1_000, ..*lease },
            Lease { fence: lease.fence - 1, ..*lease },
            Lease { agent: if other == lease.agent { AgentId(other.0 + 1) } else { other }, ..*lease },
        ] {
            count(&self.world.ledger.tried.forged);
            if self.world.call(|| store.complete(&forged, r#"{"by": "forger"}"#)).is_ok() {
                self.world.ledger.breach(format!("a forged lease was taken: {forged:?}"));
            }
        }
        Ok(())
    }

    /// A refusal is right when somebody else decided, or the lease was over.
    fn refused(
        &self,
        store: &mut SqliteStore,
        lease: &Lease,
        agent: AgentId,
        error: &Error,
    ) -> loopkeeper::error::Result<()> {
        if !matches!(error.kind(), ErrorKind::Stale | ErrorKind::InvalidState) {
            return Err(Error::new(error.kind())
                .with_class(error.class())
                .context(error.report().to_string()));
        }
        // Who is revoked has no right any more.
        let revoked = self.world.call(|| store.agent(agent))?.status == AgentStatus::Revoked;
        let now = self.world.call(|| store.now())?;
        let command = self.world.call(|| store.command(lease.command))?;
        let ended = command.agent == Some(agent) && command.fence == lease.fence;
        count(&self.world.ledger.tried.refused);
        // A clone may have ended it in this one's name.
        if now < lease.until && !revoked && !ended && !is_shared(self.seat) {
            let text = format!("claim {} of agent {agent}: {}", lease.fence, error.report());
            lock(&self.world.ledger.refused).push((*lease, text));
        }
        Ok(())
    }
}

/// A quarter of the seats works for a tenant, the others for all.
fn employer(tenants: &[TenantId], seat: usize) -> Option<TenantId> {
    (seat % 4 == 0).then(|| tenants[seat / 4 % tenants.len()])
}

/// One seat in ten has a clone: another machine with the same papers.
fn is_shared(seat: usize) -> bool {
    seat % 10 == 3
}

/// Plays some of the agents, each when it is due.
fn play(world: &World, mut machines: Vec<Machine<'_>>) -> Result<(), String> {
    let mut store = world.open().map_err(|error| error.report().to_string())?;
    let now = Instant::now();
    let mut due: BinaryHeap<_> =
        machines.iter_mut().enumerate().map(|(i, m)| Reverse((now + m.dice.millis(0, 500), i))).collect();
    while let Some(Reverse((at, i))) = due.pop() {
        if world.is_over() {
            break;
        }
        thread::sleep(at.saturating_duration_since(Instant::now()));
        match machines[i].step(&mut store, Instant::now()) {
            Ok(next) => due.push(Reverse((next, i))),
            Err(_) if world.is_over() => break,
            Err(error) => return Err(format!("{}: {}", machines[i].name, error.report())),
        }
    }
    Ok(())
}

// The controllers.

fn controllers(world: &World) -> Result<ControllerManager, BoxError> {
    let manager = ControllerManager::new(ControllerManagerConfig::default())?;
    let store = StoreConfig::from(world.config());
    let interval = Duration::from_millis(500);
    let health = AgentHealth::new(AgentHealthConfig { interval, stale_timeout: STALE })?;
    manager.register(health.schedule("agent-health"), health.controller(&store))?;
    let recovery = JobRecovery::new(JobRecoveryConfig {
        interval,
        stuck_threshold: STUCK,
        tenant_stuck_threshold: STUCK,
        max_retries: MAX_CLAIMS,
        ..JobRecoveryConfig::default()
    })?;
    manager.register(recovery.schedule("job-recovery"), recovery.controller(&store))?;
    let queue = QueuePriority::new(QueuePriorityConfig { interval, ..QueuePriorityConfig::default() })?;
    manager.register(queue.schedule("queue-priority"), queue.controller(&store))?;
    let interval = Duration::from_secs(1);
    let tokens = TokenCleanup::new(TokenCleanupConfig { interval, grace: interval })?;
    manager.register(tokens.schedule("token-cleanup"), tokens.controller(&store))?;
    let retention = AuditRetention::new(AuditRetentionConfig {
        interval,
        retention: Duration::from_secs(5),
        grave_retention: Duration::from_secs(3_600),
        batch_size: 100,
        dry_run: false,
    })?;
    manager.register(retention.schedule("audit-retention"), retention.controller(&store))?;
    manager.start()?;
    Ok(manager)
}

// The administrator.

struct Administrator<'a> {
    world: &'a World,
    store: SqliteStore,
    dice: Dice,
    jobs: usize,
    made: Vec<CommandId>,
    begun: Instant,
}

impl Administrator<'_> {
    /// Puts `n` jobs more in the queue.
    fn enqueue(&mut self, n: usize) -> Result<(), BoxError> {
        for _ in 0..n.min(self.jobs - self.made.len()) {
            let tenant = self.world.tenants[self.dice.below(self.world.tenants.len() as u64) as usize];
            let payload = if self.dice.chance(0.01) { r#"{"poison": true}"# } else { "{}" };
            let priority = Priority::ALL[self.dice.below(4) as usize];
            // For one agent alone, which may be gone when it comes to it.
            let seat = self.dice.below(self.world.seats.len() as u64) as usize;
            let papers = lock(&self.world.seats[seat].papers).clone();
            let pinned_to = papers.map(|(agent, _)| agent).filter(|_| self.dice.chance(0.05));
            let employer = match pinned_to {
                Some(_) => employer(&self.world.tenants, seat),
                None => Some(tenant).filter(|_| self.dice.chance(0.25)),
            };
            let mut command = match employer {
                Some(tenant) => NewCommand::command(tenant, CommandKind::Scan, payload),
                None => NewCommand::job(tenant, CommandKind::Scan, payload),
            };
            command = command.priority(priority).tool("nmap");
            if self.dice.chance(0.01) {
                // Nobody has it: it is over when its time is.
                let now = self.store.now()?;
                let soon = loopkeeper::Stamp::from_micros(now.as_micros() + 3_000_000);
                command = command.tool("telescope").expires_at(soon);
            }
            if let Some(agent) = pinned_to {
                command = command.pinned_to(agent);
            }
            self.made.push(self.world.call(|| self.store.enqueue(&command))?);
        }
        Ok(())
    }

    /// Decides something, so that it is in somebody's way.
    fn interfere(&mut self) -> Result<(), BoxError> {
        let world = self.world;
        let command = self.made[self.dice.below(self.made.len() as u64) as usize];
        match world.call(|| self.store.cancel("root", command, "not wanted any more")) {
            Ok(()) => world.ledger.with(command, |entry| entry.canceled = true),
            Err(error) if error.kind() == ErrorKind::InvalidState => {}
            Err(error) => return Err(error.into()),
        }
        let seat = &world.seats[self.dice.below(world.seats.len() as u64) as usize];
        let Some((agent, _)) = lock(&seat.papers).clone() else { return Ok(()) };
        let (status, reason) = match self.dice.below(4) {
            0 => (AgentStatus::Revoked, "its machine was stolen"),
            1 => (AgentStatus::Disabled, "its machine is repaired"),
            _ => (AgentStatus::Active, "all is well"),
        };
        match world.call(|| self.store.set_agent_status("root", agent, status, reason)) {
            Err(error) if error.kind() != ErrorKind::InvalidState => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Everybody may work again: the rest of the jobs wants to be done.
    fn pardon(&mut self) -> Result<(), BoxError> {
        for agent in self.store.agents(AgentId(0), u32::MAX)?.rows {
            if agent.status == AgentStatus::Disabled {
                self.store.set_agent_status("root", agent.id, AgentStatus::Active, "all is well")?;
            }
        }
        Ok(())
    }

    /// Prints how it stands; answers whether every job is over.
    fn look(&mut self) -> Result<bool, BoxError> {
        let mut states: BTreeMap<CommandState, u64> = BTreeMap::new();
        for command in self.store.commands(CommandId(0), u32::MAX)?.rows {
            *states.entry(command.state).or_default() += 1;
        }
        let n = |state| states.get(&state).copied().unwrap_or(0);
        let (mut online, mut offline) = (0, 0);
        for agent in self.store.agents(AgentId(0), u32::MAX)?.rows {
            match agent.health {
                AgentCondition::Online => online += 1,
                _ => offline += 1,
            }
            if agent.held_jobs > agent.max_jobs {
                let text = format!("agent {} holds {} of {}", agent.id, agent.held_jobs, agent.max_jobs);
                self.world.ledger.breach(text);
            }
        }
        let held = n(CommandState::Acknowledged) + n(CommandState::Running);
        let [done, failed, canceled, expired] =
            [CommandState::Completed, CommandState::Failed, CommandState::Canceled, CommandState::Expired]
                .map(n);
        println!(
            "{:5.1} s  waiting {:5}  held {held:4}  done {done:5}  failed {failed:3}  canceled {canceled:3}  \
             expired {expired:3}  agents {online} online, {offline} not",
            self.begun.elapsed().as_secs_f64(),
            n(CommandState::Pending),
        );
        Ok(self.made.len() == self.jobs && done + failed + canceled + expired == self.jobs as u64)
    }

    fn run(&mut self, until: Instant) -> Result<bool, BoxError> {
        self.enqueue(self.jobs / 2)?;
        let mut pardoned = false;
        for round in 0_u64.. {
            thread::sleep(Duration::from_millis(200));
            if self.made.len() < self.jobs {
                self.enqueue(self.jobs.div_ceil(20))?;
                self.interfere()?;
            } else if !pardoned {
                self.pardon()?;
                pardoned = true;
            }
            let last = Instant::now() >= until;
            if last || round % 5 == 4 && self.look()? {
                break;
            }
        }
        self.look()
    }
}

// The proof.

struct Proof {
    lines: Vec<(String, Vec<String>)>,
}

impl Proof {
    fn rule(&mut self, text: &str, breaches: Vec<String>) {
        self.lines.push((text.to_owned(), breaches));
    }

    fn print(&self) -> bool {
        println!();
        for (text, breaches) in &self.lines {
            println!("{}  {text}", if breaches.is_empty() { "holds " } else { "BROKEN" });
            for breach in breaches.iter().take(5) {
                println!("          {breach}");
            }
            if breaches.len() > 5 {
                println!("          and {} more", breaches.len() - 5);
            }
        }
        self.lines.iter().all(|(_, breaches)| breaches.is_empty())
    }
}

/// Holds the ledger against the store.
fn prove(world: &World, jobs: usize) -> Result<bool, BoxError> {
    let mut store = world.open()?;
    let commands = store.commands(CommandId(0), u32::MAX)?;
    let agents = store.agents(AgentId(0), u32::MAX)?.rows;
    let revoked = agents.iter().filter(|agent| agent.status == AgentStatus::Revoked).map(|agent| agent.id);
    let revoked: BTreeSet<AgentId> = revoked.collect();
    let ledger = lock(&world.ledger.commands);
    let nothing = Entry::default();
    let mut reasons: BTreeMap<(CommandState, String), u64> = BTreeMap::new();
    let (mut open, mut once, mut told, mut claims) = (vec![], vec![], vec![], vec![]);
    for command in &commands.rows {
        let entry = ledger.get(&command.id).unwrap_or(&nothing);
        let what = format!("command {}, {}", command.id, command.state);
        let mut winners: Vec<_> =
            entry.completed.iter().map(|(lease, _)| (lease.fence, lease.agent)).collect();
        winners.sort_unstable();
        winners.dedup();
        let message = command.message.as_deref().unwrap_or_default();
        let reason = match command.state {
            CommandState::Completed => {
                let kept = entry.completed.iter().find(|(_, result)| Some(result) == command.result.as_ref());
                if winners.len() != 1
                    || kept.map(|(lease, _)| (lease.fence, Some(lease.agent)))
                        != Some((command.fence, command.agent))
                {
                    once.push(format!(
                        "{what}: answers of {winners:?} were taken, its claim is {}",
                        command.fence
                    ));
                }
                match command.attempts {
                    1 => "one answer was taken, of its first holder",
                    2 => "one answer was taken, of its second holder",
                    _ => "one answer was taken, of its third holder",
                }
            }
            CommandState::Failed => match message {
                _ if entry
                    .failed
                    .iter()
                    .any(|(lease, text)| (lease.fence, &**text) == (command.fence, message)) =>
                {
                    "its agent said why"
                }
                "its last claim was lost" | "its claims are used up" => {
                    if command.attempts != i64::from(MAX_CLAIMS) {
                        told.push(format!("{what}: {message} after {} claims", command.attempts));
                    }
                    message
                }
                _ => {
                    told.push(format!("{what}: for no reason of the ledger: {message:?}"));
                    message
                }
            },
            CommandState::Canceled => {
                if !entry.canceled {
                    told.push(format!("{what}: nobody cancelled it"));
                }
                message
            }
            CommandState::Expired => {
                if command.expires_at.is_none_or(|at| Some(at) > command.completed_at) {
                    told.push(format!("{what}: before its time was over"));
                }
                message
            }
            _ => {
                open.push(format!("{what}: {} claims", command.attempts));
                "it is not over"
            }
        };
        if command.state != CommandState::Completed && !winners.is_empty() {
            once.push(format!("{what}: an answer of {winners:?} was taken"));
        }
        let given: Vec<i64> = entry.claims.keys().copied().collect();
        // Its holder's revocation takes a number, too.
        let skips = |agent: &AgentId| i64::from(revoked.contains(agent));
        let mut most = 1;
        let in_order = entry.claims.iter().zip(1..).all(|((number, agent), least)| {
            let fits = (least..=most).contains(number);
            most = number + 1 + skips(agent);
            fits
        });
        let n_given = i64::try_from(given.len())?;
        if !in_order || n_given != command.attempts || n_given > i64::from(MAX_CLAIMS) {
            claims.push(format!(
                "{what}: it says {} claims, the agents were given {given:?}",
                command.attempts
            ));
        }
        *reasons.entry((command.state, reason.to_owned())).or_default() += 1;
    }
    let own_will = |lease: &Lease| {
        let entry = ledger.get(&lease.command).unwrap_or(&nothing);
        entry.canceled || entry.given_back.contains(&lease.fence)
    };
    let taken = lock(&world.ledger.refused);
    let taken = taken.iter().filter(|(lease, _)| !own_will(lease));
    let taken = taken.map(|(lease, text)| format!("command {}: {text}", lease.command)).collect();
    let busy = agents.iter().filter(|agent| agent.held_jobs != 0);
    let busy = busy.map(|agent| format!("agent {} holds {}", agent.id, agent.held_jobs)).collect();
    let chain = store.verify(&mut || Ok(()))?;
    let mut lost = commands.unreadable.clone();
    if commands.rows.len() != jobs {
        lost.push(format!("{jobs} were put in the queue, {} are there", commands.rows.len()));
    }

    println!("\n{:<10} {:>6}  why", "jobs", "");
    for ((state, reason), n) in &reasons {
        println!("{:<10} {n:>6}  {reason}", state.to_string());
    }
    println!("{:<10} {:>6}", "all", commands.rows.len());
    let tried = &world.ledger.tried;
    let n = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    println!(
        "\nagents: {} crashes, {} hangs, {} late answers, {} second answers, {} forged leases, {} tokens guessed or used again, \
         {} claims beyond their slots; {} answers refused, {} calls made again",
        n(&tried.crashes),
        n(&tried.hangs),
        n(&tried.late),
        n(&tried.replays),
        n(&tried.forged),
        n(&tried.tokens),
        n(&tried.full),
        n(&tried.refused),
        n(&tried.retries),
    );

    let mut proof = Proof { lines: Vec::new() };
    proof.rule("no job is lost", lost);
    proof.rule("each job is over", open);
    proof.rule(
        "each done job was done once: of all answers, one holder's was taken, and is what is kept",
        once,
    );
    proof.rule("each other job is over for a reason that is told and true", told);
    proof.rule("each claim was given to one agent, and no job was claimed more often than it may", claims);
    proof.rule("no job was taken from a holder inside its lease, but by an administrator", taken);
    proof.rule(
        "no lie was believed, and no agent held more than it may",
        lock(&world.ledger.breaches).clone(),
    );
    proof.rule("no agent holds what is over", busy);
    let broken = if chain.is_sound() { vec![] } else { vec![format!("{chain:?}")] };
    proof.rule("the audit log is whole, but for what retention took and said so", broken);
    Ok(proof.print())
}

// Running.

/// A folder that goes away.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self, BoxError> {
        let path = env::temp_dir().join(format!("loopkeeper-fleet-{}", std::process::id()));
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

fn run(options: &Options) -> Result<bool, BoxError> {
    let folder = Folder::new()?;
    let mut world = World {
        path: folder.path().join("fleet.db"),
        ledger: Ledger::default(),
        seats: (0..options.agents).map(|_| Seat::default()).collect(),
        tenants: Vec::new(),
        crash_rate: options.crash_rate,
        over: AtomicBool::new(false),
    };
    let mut store = world.open()?;
    for (name, plan) in [("acme", Plan::Free), ("globex", Plan::Team), ("initech", Plan::Enterprise)] {
        world.tenants.push(store.create_tenant(name, plan)?);
    }
    store.set_max_attempts(MAX_CLAIMS)?;
    let world = &world;

    let mut crews: Vec<Vec<Machine<'_>>> = (0..THREADS.min(options.agents)).map(|_| Vec::new()).collect();
    let crowd = crews.len();
    let now = Instant::now();
    for seat in 0..options.agents {
        let tenant = employer(&world.tenants, seat);
        for is_clone in [false, true] {
            if is_clone && !is_shared(seat) {
                continue;
            }
            let stream = options.seed ^ ((seat as u64 + 1) << 20) ^ (u64::from(is_clone) << 50);
            crews[(seat + usize::from(is_clone)) % crowd].push(Machine {
                world,
                seat,
                name: format!("agent-{seat}{}", if is_clone { "-clone" } else { "" }),
                tenant,
                is_clone,
                dice: Dice(stream),
                agent: None,
                may_claim: false,
                work: Vec::new(),
                ghosts: Vec::new(),
                beat_at: now,
            });
        }
    }
    println!(
        "{} agents and {} clones on {crowd} threads, {} jobs, {} claims at most; {} of the claims crash\n",
        options.agents,
        crews.iter().flatten().filter(|machine| machine.is_clone).count(),
        options.jobs,
        MAX_CLAIMS,
        options.crash_rate,
    );
    let manager = controllers(world)?;
    let mut administrator = Administrator {
        world,
        store,
        dice: Dice(options.seed),
        jobs: options.jobs,
        made: Vec::new(),
        begun: now,
    };
    let until = now + Duration::from_secs(options.seconds);
    let (over, failures) = thread::scope(|scope| {
        let crews: Vec<_> = crews.into_iter().map(|crew| scope.spawn(move || play(world, crew))).collect();
        let over = administrator.run(until);
        world.over.store(true, Ordering::Relaxed);
        let failures = crews.into_iter().map(|crew| match crew.join() {
            Ok(Ok(())) => None,
            Ok(Err(text)) => Some(text),
            Err(_) => Some("a thread panicked".to_owned()),
        });
        (over, failures.flatten().collect::<Vec<_>>())
    });
    for text in &failures {
        println!("{text}");
    }
    over?;
    println!();
    for (name, status) in manager.status() {
        let items = status.controller.as_ref().map_or(0, |controller| controller.items);
        println!("{:<16} {:>6} rows put right, {}", name.as_str(), items, status.health);
    }
    let report = manager.stop(Duration::from_secs(10));
    let holds = prove(world, options.jobs)?;
    println!("\ncontrollers stopped: {report}");
    Ok(holds && failures.is_empty() && report.is_clean())
}

fn main() -> ExitCode {
    let done = Options::read(env::args().skip(1)).and_then(|options| run(&options));
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}
