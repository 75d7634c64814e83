//! The loop that keeps what runs as the folder says.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use super::candidate::{Candidate, Reading};
use super::change::{Change, Planned};
use super::descriptor;
use super::fingerprint::Fingerprint;
use super::ledger::{Board, Ledger, Rejection};
use super::machine::{DeployMachine, Outbox, Report};
use super::plan::{applied_from, plan};
use super::registry::Registry;
use super::scan::{Dir, Folder, Found, Listing, Sight, shown};
use super::target::{Deployment, Operation, Outcome, Reply, Target};
use crate::clock::{Tick, wall_at};
use crate::component::{Component, Context};
use crate::dispatch::Handler;
use crate::env::Env;
use crate::error::{BoxError, Error, ErrorKind, Result};
use crate::event::{EventKind, LoopKind};
use crate::looper::{Instruments, Loop, Spec, Work};
use crate::map::Map;
use crate::name::Name;
use crate::observe::{Attr, Observer};
use crate::primitive::{AtomicBool, Mutex, Ordering};
use crate::status::{LoopStatus, Rejected, StatusSource};
use crate::stop::StopReport;
use crate::subscription::{DEFAULT_CAPACITY, Subscription};
use crate::tree::{Fault, Faults};

/// Settings of a [`Deployer`].
#[derive(Debug, Clone)]
#[must_use = "settings do nothing until a deployer is made from them"]
pub struct DeployerConfig {
    name: String,
    dir: PathBuf,
    scan_interval: Duration,
    scan_timeout: Duration,
    retry_delay: Duration,
    critical: bool,
    drop_grace: Duration,
}

impl DeployerConfig {
    /// A deployer of a folder, under the name `deployer`.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            name: "deployer".to_owned(),
            dir: dir.into(),
            scan_interval: Duration::from_secs(5),
            scan_timeout: Duration::from_secs(60),
            retry_delay: Duration::from_secs(5),
            critical: false,
            drop_grace: Duration::from_secs(1),
        }
    }

    /// Its name. Defaults to `deployer`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The time between two looks at the folder. Defaults to 5 s.
    pub fn scan_interval(mut self, interval: Duration) -> Self {
        self.scan_interval = interval;
        self
    }

    /// How long one look may take, factories included, before it is reported
    /// as stuck. Defaults to 60 s.
    pub fn scan_timeout(mut self, timeout: Duration) -> Self {
        self.scan_timeout = timeout;
        self
    }

    /// How long to wait before a content that failed is tried a second time;
    /// twice as long before the third, which is the last. Defaults to 5 s.
    pub fn retry_delay(mut self, delay: Duration) -> Self {
        self.retry_delay = delay;
        self
    }

    /// Says that the whole is down, not degraded, while the folder cannot be
    /// read or a file in it is rejected. Deployers are optional unless this
    /// is called.
    pub fn critical(mut self) -> Self {
        self.critical = true;
        self
    }

    /// How long dropping the deployer waits for its thread. Defaults to 1 s.
    pub fn drop_grace(mut self, grace: Duration) -> Self {
        self.drop_grace = grace;
        self
    }

    fn check(&self) -> Result<()> {
        if self.dir.as_os_str().is_empty() {
            return Err(Error::invalid("dir: must not be empty"));
        }
        expect_some("scan_interval", self.scan_interval)?;
        expect_some("scan_timeout", self.scan_timeout)?;
        expect_some("retry_delay", self.retry_delay)
    }
}

fn expect_some(key: &str, duration: Duration) -> Result<()> {
    if duration.is_zero() { Err(Error::invalid(format!("{key}: must be more than zero"))) } else { Ok(()) }
}

/// Keeps what runs as a folder of descriptors says.
///
/// Looks at the folder at once, then at every scan interval and when told to
/// [`rescan`](Self::rescan). Cloning shares it; it is a [`Component`], so that
/// a host can start and stop it with everything else.
///
/// What it deploys belongs to its [`Target`] and goes on when it stops.
///
/// # Threads
///
/// One thread named `dep/<name>`: it reads the folder and calls the
/// factories. Operations go on at the target meanwhile, so a slow one holds
/// up neither the next look nor a stop. Dropping the last handle stops it
/// within its drop grace.
#[derive(Clone)]
pub struct Deployer(Arc<Inner>);

struct Inner {
    inner: Arc<Loop<DeployMachine, DeployWork>>,
    mail: Arc<Mail>,
    board: Arc<Mutex<Arc<Board>>>,
    drop_grace: Duration,
    /// For those who look without doing.
    dir: PathBuf,
    registry: Registry,
    ledger: Arc<Mutex<Ledger>>,
}

impl Deployer {
    /// Makes a deployer that is not started.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` when a setting cannot be used, `Spawn` or `Budget`
    /// when there is no thread for callbacks to be had.
    pub fn new(
        env: &Env,
        config: DeployerConfig,
        registry: Registry,
        target: Arc<dyn Target>,
    ) -> Result<Self> {
        config.check()?;
        let name = Name::new(&config.name)?;
        let folder = Box::new(Dir::new(&config.dir));
        let work = DeployWork::new(&config, registry.clone(), target, folder);
        let (mail, board, ledger) = (work.mail.clone(), work.board.clone(), work.ledger.clone());
        let times = (config.scan_interval, config.scan_timeout);
        let machine =
            DeployMachine::new(name.clone(), times, env.spreads(), config.critical, work.outbox.clone());
        let handler = env.observer().on_event.clone().map(|on_event| -> Handler {
            Box::new(move |event| {
                crate::observe::contain(|| on_event(event));
            })
        });
        let instruments = instruments(env.observer(), &name);
        let spec = Spec { name, kind: LoopKind::Deployer, cancel: None, handler, hub: None, instruments };
        let inner = Arc::new(Loop::new(env, spec, machine, work)?);
        // Set once, here.
        let _ = mail.bell.set(Arc::downgrade(&inner));
        let DeployerConfig { dir, drop_grace, .. } = config;
        Ok(Self(Arc::new(Inner { inner, mail, board, drop_grace, dir, registry, ledger })))
    }

    /// Starts looking, for the first time or after a stop.
    ///
    /// # Errors
    ///
    /// `InvalidState` while it runs or while an earlier look is stuck;
    /// `Spawn` or `Budget` when there is no thread to be had.
    pub fn start(&self) -> Result<()> {
        // Also when there are only answers to take in.
        self.0.mail.rescan.store(true, Ordering::Release);
        self.0.inner.start()
    }

    /// Looks at the folder now; during a look, once more after it.
    ///
    /// A content that was rejected stays so: change the file, or take it away
    /// and put it back.
    pub fn rescan(&self) {
        self.0.mail.rescan.store(true, Ordering::Release);
        self.0.inner.trigger();
    }

    /// Looks this often from now on, the first time at once.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` when it is zero.
    pub fn set_scan_interval(&self, interval: Duration) -> Result<()> {
        expect_some("scan_interval", interval)?;
        *self.0.mail.interval.lock() = Some(interval);
        self.rescan();
        Ok(())
    }

    /// Whether the caller is in one of its calls or callbacks.
    #[cfg(feature = "capi")]
    pub(crate) fn is_own_call(&self) -> bool {
        self.0.inner.is_own_call()
    }

    /// Stops looking. What was deployed goes on.
    ///
    /// No operation begins after this returns; those under way go on at the
    /// target, and what came of them is taken in when the deployer is started
    /// again. The look in progress is waited for at most a second.
    ///
    /// # Threads
    ///
    /// Blocks the caller. From the deployer's own thread, in a factory, it only
    /// cancels, and the report has an `InvalidState`.
    pub fn stop(&self, grace: Duration) -> StopReport {
        self.0.inner.stop(grace)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &Name {
        self.0.inner.name()
    }

    /// How its loop is: ready when all is as the folder says, degraded while
    /// a file is rejected, down while the folder cannot be read.
    #[must_use]
    pub fn status(&self) -> LoopStatus {
        self.0.inner.status()
    }

    /// What it has done and could not do, at the end of its last turn.
    #[must_use]
    pub fn board(&self) -> Arc<Board> {
        self.0.board.lock().clone()
    }

    /// What a look at the folder would lead to now, in this order, without
    /// doing any of it: the first step of the factories is called, to read the
    /// settings, and nothing is made.
    ///
    /// # Errors
    ///
    /// `Io` when the folder cannot be read. What is wrong with a file is part
    /// of the answer.
    ///
    /// # Threads
    ///
    /// Reads the folder on the caller's thread; does not wait for the
    /// deployer's, and works before its start.
    ///
    /// # Examples
    ///
    /// ```
    /// use loopkeeper::host::deploy::{Deployer, DeployerConfig, Planned};
    /// use loopkeeper::{Host, HostConfig, shipped};
    /// use std::sync::Arc;
    ///
    /// let host = Host::new(HostConfig::default())?;
    /// # let dir = std::env::temp_dir().join("loopkeeper-plan-example");
    /// # std::fs::create_dir_all(&dir)?;
    /// let config = DeployerConfig::new(&dir);
    /// let deployer = Deployer::new(host.env(), config, shipped::registry(), Arc::new(host.handle()))?;
    /// for planned in deployer.plan()? {
    ///     if let Planned::Replace { name, file } = planned {
    ///         println!("{name} would be replaced as {} says", file.display());
    ///     }
    /// }
    /// # Ok::<(), loopkeeper::BoxError>(())
    /// ```
    pub fn plan(&self) -> Result<Vec<Planned>> {
        let Listing { found, is_whole } = Dir::new(&self.0.dir).list().map_err(wrong)?;
        let files: Vec<Candidate> = found
            .iter()
            .map(|Found { path, content }| match content {
                Ok(bytes) => Candidate {
                    path: path.clone(),
                    content: Some(Fingerprint::of(bytes)),
                    reading: read(path, bytes, &self.0.registry),
                },
                Err(fault) => unreadable(path, fault),
            })
            .collect();
        let now = self.0.inner.env().clock().now();
        let plan = plan(&files, is_whole, &self.0.ledger.lock(), now);
        Ok(plan.changes.into_iter().map(|change| Planned::of(change, &files)).collect())
    }

    /// Hears of every event from now on, through a queue of 256 that loses
    /// the oldest when nobody reads.
    pub fn subscribe(&self) -> Subscription {
        self.0.inner.subscribe(DEFAULT_CAPACITY)
    }
}

impl Component for Deployer {
    fn start(&mut self, _: &Context) -> std::result::Result<(), BoxError> {
        Ok(Self::start(self)?)
    }

    fn stop(&mut self, cx: &Context) -> std::result::Result<(), BoxError> {
        Self::stop(self, cx.remaining()).into_result()
    }
}

impl StatusSource for Deployer {
    fn statuses(&self) -> Vec<LoopStatus> {
        vec![self.status()]
    }

    fn rejected(&self) -> Vec<Rejected> {
        let board = self.board();
        let env = self.0.inner.env();
        let (now, wall) = (env.clock().now(), env.stamp());
        let mut applied: Vec<(&Path, &Name)> =
            board.running.iter().map(|(name, file)| (&**file, name)).collect();
        crate::order::sort(&mut applied);
        let of = |rejection: &Rejection| {
            let running = applied_from(&applied, &rejection.file).first();
            let name = rejection.name.as_ref().or(running.map(|(_, name)| *name));
            // The best guess where the file tells nothing.
            let stem = || Name::new(rejection.file.file_stem()?.to_str()?).ok();
            Rejected {
                name: name.cloned().or_else(stem),
                runs: running.is_some(),
                file: shown(&rejection.file),
                error: rejection.error.report().to_string(),
                retry_at: (rejection.again != Tick::NEVER).then(|| wall_at(rejection.again, now, wall)),
            }
        };
        board.rejected.iter().map(of).collect()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let _ = self.inner.stop(self.drop_grace);
    }
}

impl fmt::Debug for Deployer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deployer").field("name", self.name()).finish_non_exhaustive()
    }
}

/// What reaches a deployer from other threads.
#[derive(Default)]
struct Mail {
    answers: Mutex<Vec<(Name, Outcome)>>,
    rescan: AtomicBool,
    /// The time between looks, when it is another from now on.
    interval: Mutex<Option<Duration>>,
    bell: OnceLock<Weak<Loop<DeployMachine, DeployWork>>>,
}

impl Mail {
    fn answer(&self, name: Name, outcome: Outcome) {
        // What a target's error holds is dropped on the deployer's thread
        // later: it must not be a user's.
        let plain = |error: Error| Error::from_user(&error);
        let outcome = match outcome {
            Outcome::Done => Outcome::Done,
            Outcome::Failed(error) => Outcome::Failed(plain(error)),
            Outcome::RolledBack(error) => Outcome::RolledBack(plain(error)),
            Outcome::RollingBack(error) => Outcome::RollingBack(plain(error)),
        };
        self.answers.lock().push((name, outcome));
        if let Some(inner) = self.bell.get().and_then(Weak::upgrade) {
            inner.trigger();
        }
    }
}

/// One turn: takes answers in, looks, plans, builds, and begins operations.
pub(super) struct DeployWork {
    registry: Registry,
    target: Arc<dyn Target>,
    folder: Box<dyn Folder>,
    mail: Arc<Mail>,
    pub(super) outbox: Outbox,
    board: Arc<Mutex<Arc<Board>>>,
    ledger: Arc<Mutex<Ledger>>,
    /// What each file said when it had this content.
    cache: Map<PathBuf, (Fingerprint, Reading)>,
    interval: Duration,
    next_scan: Tick,
    /// When there is something to try again.
    again: Tick,
    /// Whether an answer may lead to another change.
    follows: bool,
    /// What stood in the folder when there was nothing to do about it. As long
    /// as it does and nobody answers, there is nothing to do.
    settled: Option<Sight>,
}

impl Work<Report> for DeployWork {
    fn call(&mut self, cx: &Context) -> std::result::Result<Report, BoxError> {
        let now = cx.env().clock().now();
        if let Some(interval) = self.mail.interval.lock().take() {
            self.interval = interval;
        }
        let answers = std::mem::take(&mut *self.mail.answers.lock());
        let answered = !answers.is_empty();
        if answered {
            self.settled = None;
        }
        let before = self.settled;
        let mut events = Vec::new();
        let mut ledger = self.ledger.lock();
        for (name, outcome) in answers {
            ledger.end(&name, outcome, now, &mut events);
        }
        let wakes = ledger.wakes();
        drop(ledger);
        self.tell(&mut events);
        // Answers alone do not need a look at the folder: a hundred
        // components that start one after the other would cost a hundred.
        let asked = self.mail.rescan.swap(false, Ordering::AcqRel);
        let is_due = now >= self.next_scan || now >= self.again || wakes;
        let scanned = (!answered || asked || is_due || self.follows).then(|| self.scan(cx, now));
        let ledger = self.ledger.lock();
        self.again = ledger.again(now);
        let rejection = ledger.rejection();
        // Settled before and after: what there is to be told is the same.
        let board = (before.is_none() || before != self.settled).then(|| Arc::new(ledger.board()));
        drop(ledger);
        let old = board.map(|board| std::mem::replace(&mut *self.board.lock(), board));
        drop(old);
        Ok(Report { scanned, rejection, again: self.again, interval: self.interval })
    }
}

impl DeployWork {
    pub(super) fn new(
        config: &DeployerConfig,
        registry: Registry,
        target: Arc<dyn Target>,
        folder: Box<dyn Folder>,
    ) -> Self {
        Self {
            registry,
            target,
            folder,
            mail: Arc::default(),
            outbox: Outbox::default(),
            board: Arc::default(),
            ledger: Arc::new(Mutex::new(Ledger::new(config.retry_delay))),
            cache: Map::new(),
            interval: config.scan_interval,
            next_scan: Tick::ZERO,
            again: Tick::NEVER,
            follows: false,
            settled: None,
        }
    }

    fn scan(&mut self, cx: &Context, now: Tick) -> Result<()> {
        self.next_scan = now + self.interval;
        self.follows = false;
        if self.settled.is_some() && self.folder.look() == self.settled {
            return Ok(());
        }
        self.settled = None;
        let Listing { found, is_whole } = self.folder.list().map_err(wrong)?;
        let files = self.candidates(&found);
        let mut ledger = self.ledger.lock();
        let plan = plan(&files, is_whole, &ledger, now);
        self.follows = plan.follows;
        let mut events = Vec::new();
        ledger.note(&files, &plan.changes, &mut events);
        drop(ledger);
        self.tell(&mut events);
        for change in &plan.changes {
            if cx.is_cancelled() {
                // Nothing begins after a stop.
                break;
            }
            self.apply(cx, change, (&found, &files), now, &mut events);
            self.tell(&mut events);
        }
        if is_whole && !self.follows && plan.changes.iter().all(Change::is_kept) {
            self.settled = Sight::of(files.iter().map(|file| (&*file.path, file.content)));
        }
        Ok(())
    }

    /// What each file says. What has not changed is not read anew.
    fn candidates(&mut self, found: &[Found]) -> Vec<Candidate> {
        let old = std::mem::take(&mut self.cache);
        let mut candidates = Vec::with_capacity(found.len());
        for Found { path, content } in found {
            let bytes = match content {
                Ok(bytes) => bytes,
                Err(fault) => {
                    candidates.push(unreadable(path, fault));
                    continue;
                }
            };
            let print = Fingerprint::of(bytes);
            let reading = match old.get(path) {
                Some((cached, reading)) if *cached == print => reading.clone(),
                _ => read(path, bytes, &self.registry),
            };
            self.cache.insert(path.clone(), (print, reading.clone()));
            candidates.push(Candidate { path: path.clone(), content: Some(print), reading });
        }
        candidates
    }

    fn apply(
        &mut self,
        cx: &Context,
        change: &Change,
        (found, files): (&[Found], &[Candidate]),
        now: Tick,
        events: &mut Vec<EventKind>,
    ) {
        let (name, file) = match change {
            Change::Stop { name } => {
                self.ledger.lock().begin(name, change, files);
                self.begin(name, Operation::Stop(name.clone()));
                return;
            }
            Change::Start { name, file } | Change::Replace { name, file } => (name, *file),
            Change::Keep { .. } | Change::Reject { .. } | Change::Wait { .. } => return,
        };
        let deployment = match self.build(cx.env(), &found[file]) {
            // Built too slowly for the stop that came meanwhile.
            Ok(_) if cx.is_cancelled() => return,
            Ok(deployment) => deployment,
            Err(error) => {
                self.ledger.lock().refuse(name, &files[file], error, now, events);
                return;
            }
        };
        self.ledger.lock().begin(name, change, files);
        let operation = match change {
            Change::Replace { .. } => Operation::Replace(deployment),
            _ => Operation::Start(deployment),
        };
        self.begin(name, operation);
    }

    fn build(&self, env: &Env, found: &Found) -> Result<Deployment> {
        let bytes = found.content.as_deref().map_err(|fault| wrong(fault.clone()))?;
        let descriptor = descriptor::parse(&shown(&found.path), bytes, &self.registry)
            .map_err(|wrong| Error::from(wrong.faults))?;
        let (name, kind, requires) =
            (descriptor.name.clone(), descriptor.kind.clone(), descriptor.requires.clone());
        let component = descriptor.build(env)?;
        Ok(Deployment { name, kind, requires, component })
    }

    fn begin(&self, name: &Name, operation: Operation) {
        let mail = self.mail.clone();
        let theirs = name.clone();
        let reply = Reply::new(name.clone(), move |outcome| mail.answer(theirs, outcome));
        // A target that panics has dropped its reply, which is an answer.
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| self.target.begin(operation, reply))) {
            let _ = super::registry::panicked(payload);
        }
    }

    fn tell(&self, events: &mut Vec<EventKind>) {
        self.outbox.lock().append(events);
    }
}

/// What a file says.
fn read(path: &Path, bytes: &[u8], registry: &Registry) -> Reading {
    match descriptor::parse(&shown(path), bytes, registry) {
        Ok(descriptor) => Reading::Right {
            requires: descriptor.asks(),
            name: descriptor.name,
            place: descriptor.place,
            enabled: descriptor.enabled,
            meaning: descriptor.meaning,
        },
        Err(wrong) => Reading::Wrong { name: wrong.name, error: wrong.faults.into() },
    }
}

/// A file that cannot be read.
fn unreadable(path: &Path, fault: &Fault) -> Candidate {
    let reading = Reading::Wrong { name: None, error: wrong(fault.clone()) };
    Candidate { path: path.to_owned(), content: None, reading }
}

/// What is wrong with a file or folder as a whole.
fn wrong(fault: Fault) -> Error {
    let faults: Faults = fault.into();
    Error::new(ErrorKind::Io).caused_by(faults)
}

/// Resolves a deployer's instruments; every series exists from now on, at
/// zero.
fn instruments(observer: &Observer, name: &Name) -> Instruments {
    let label = Attr::new("loop", name.as_str());
    Instruments {
        missed: observer.counter("loop_missed_ticks_total", std::slice::from_ref(&label)),
        ..Instruments::default()
    }
}
