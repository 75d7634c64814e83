//! What a part of a program is to its host, and what one call is handed.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crate::cancel::{CancelToken, LinkGuard};
use crate::clock::{Inbox, Signals, Tick};
use crate::dispatch::Job;
use crate::env::Env;
use crate::error::{BoxError, Error, ErrorKind, Result};
use crate::event::Health;
use crate::name::Name;
use crate::observe::{Attr, Parent, Span};
use crate::primitive::Mutex;
use crate::step::{Notes, Step, Steps};

/// A part of a program with a lifetime: what a host starts and stops.
///
/// # Contract
///
/// `start` is called first, `stop` after it, also when `start` failed, so that
/// what was half opened is closed; then `start` may be called again. Calls
/// never overlap. Both should return before the deadline of their context
/// passes; a call that does not is reported, not killed. `start` returns once
/// the component works and leaves long work to threads of its own; when
/// `stop` returns, they have ended. A panic counts as an error.
pub trait Component: Send {
    /// Begins the component's work.
    ///
    /// # Errors
    ///
    /// Whatever keeps it from working.
    fn start(&mut self, cx: &Context) -> std::result::Result<(), BoxError>;

    /// Ends the component's work.
    ///
    /// # Errors
    ///
    /// Whatever did not end.
    fn stop(&mut self, cx: &Context) -> std::result::Result<(), BoxError>;
}

/// What one call is handed: who it is for, until when, and whether it was
/// told to end.
///
/// # Threads
///
/// Made by a loop for its own calls. What a call starts on other threads may
/// take [`cancel_token`](Self::cancel_token) along.
pub struct Context {
    env: Env,
    name: Name,
    cancel: CancelToken,
    inbox: Arc<Inbox>,
    deadline: Tick,
    dry_run: bool,
    reporter: Reporter,
    steps: Arc<Steps>,
    /// Whether its calls say anything: most do not, and then there is nothing
    /// to be forgotten.
    says: Cell<bool>,
    /// The span of the present call.
    span: RefCell<Option<Parent>>,
    /// When a probe that succeeded wants to be asked again, at the latest.
    again: Cell<Option<Duration>>,
    /// Ends a sleep on cancel, where no loop sees to that.
    _ring: Option<LinkGuard>,
    /// One thread sleeps on the doorbell: a context cannot be shared.
    _one_thread: PhantomData<Cell<()>>,
}

impl Context {
    /// The steps of its calls are seen by those who hold `steps`, too.
    pub(crate) fn new(
        env: Env,
        name: Name,
        cancel: CancelToken,
        inbox: Arc<Inbox>,
        steps: Arc<Steps>,
    ) -> Self {
        Self {
            env,
            name,
            cancel,
            inbox,
            deadline: Tick::NEVER,
            dry_run: false,
            reporter: Reporter::default(),
            steps,
            says: Cell::new(false),
            span: RefCell::default(),
            again: Cell::new(None),
            _ring: None,
            _one_thread: PhantomData,
        }
    }

    /// Makes a context without a loop, to call a probe by hand: once, now,
    /// on this thread. Its deadline is `timeout` from now on the clock of
    /// `env`; a clone of its [`cancel_token`](Self::cancel_token), taken to
    /// another thread, ends the call early.
    ///
    /// Nobody guards such a call: one that ignores its deadline just blocks.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use loopkeeper::{Context, Env, Name, Probe};
    ///
    /// let env = Env::new()?;
    /// let cx = Context::detached(&env, Name::new("queue")?, Duration::from_secs(10));
    /// let mut probe = |cx: &Context| {
    ///     assert!(cx.remaining() > Duration::ZERO);
    ///     Err("17 jobs wait".into())
    /// };
    /// assert_eq!(probe.probe(&cx).unwrap_err().to_string(), "17 jobs wait");
    /// # Ok::<(), loopkeeper::Error>(())
    /// ```
    #[must_use]
    pub fn detached(env: &Env, name: Name, timeout: Duration) -> Self {
        let deadline = env.clock().now() + timeout;
        Self::for_call(env, name, CancelToken::new(), deadline, Reporter::default())
    }

    /// Makes a context for one call on a thread that waits elsewhere between
    /// calls.
    pub(crate) fn for_call(
        env: &Env,
        name: Name,
        cancel: CancelToken,
        deadline: Tick,
        reporter: Reporter,
    ) -> Self {
        // The seat is given up at once: this thread has one of its own, or is
        // its caller's, and a manual clock must not wait for it twice.
        let (inbox, _) = env.clock().join(name.as_str());
        let ring = cancel.ring(&inbox);
        Self {
            env: env.clone(),
            name,
            cancel,
            inbox,
            deadline,
            dry_run: false,
            reporter,
            steps: Arc::default(),
            says: Cell::new(false),
            span: RefCell::default(),
            again: Cell::new(None),
            _ring: Some(ring),
            _one_thread: PhantomData,
        }
    }

    pub(crate) fn set_deadline(&mut self, deadline: Tick) {
        self.deadline = deadline;
    }

    /// Has the steps of its calls seen by those who hold `steps`, too.
    pub(crate) fn set_steps(&mut self, steps: Arc<Steps>) {
        self.steps = steps;
    }

    /// Begins a call that has said nothing yet, as [`begin_steps`](Self::begin_steps),
    /// where nobody else has had these steps since the last time.
    pub(crate) fn begin_own_steps(&self) {
        if self.says.get() {
            self.begin_steps();
        }
    }

    /// Begins a call that has said nothing yet.
    pub(crate) fn begin_steps(&self) {
        self.steps.begin();
    }

    pub(crate) fn set_dry_run(&mut self, dry_run: bool) {
        self.dry_run = dry_run;
    }

    /// Who the call is for.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// What its loop shares with others.
    #[must_use]
    pub fn env(&self) -> &Env {
        &self.env
    }

    /// Cancelled when the call should end early.
    #[must_use]
    pub fn cancel_token(&self) -> &CancelToken {
        &self.cancel
    }

    /// What a component tells its host through, also after `start` has
    /// returned. Outside a host nobody hears of it.
    #[must_use]
    pub fn reporter(&self) -> &Reporter {
        &self.reporter
    }

    /// Whether the call should end early.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.inbox.is_cancelled() || self.cancel.is_cancelled()
    }

    /// Whether the call is to say what it would do, and to change nothing.
    #[must_use]
    pub fn is_dry_run(&self) -> bool {
        self.dry_run
    }

    /// When the call should be over. A little before the moment it is
    /// reported as stuck: a twentieth of its timeout, at most 50 ms.
    #[must_use]
    pub fn deadline(&self) -> Tick {
        self.deadline
    }

    /// How much time the call has left; zero when its deadline has passed.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.deadline.since(self.env.clock().now())
    }

    /// Says what the call begins to do now, such as `looking up db.internal`,
    /// or what it has found. The latest is shown in its loop's status, as
    /// `call.phase`, while the call has not returned, and in a stop report
    /// that names the call: say it before what may hang. Cut at 512 bytes; put
    /// no secrets into it.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use loopkeeper::{Context, Env, Name};
    ///
    /// let env = Env::new()?;
    /// let cx = Context::detached(&env, Name::new("db")?, Duration::from_secs(5));
    /// cx.keep_steps();
    /// cx.step("asking for the schema");
    /// cx.step(format_args!("{} tables", 17));
    /// let steps: Vec<_> = cx.steps().iter().map(|step| step.text.to_string()).collect();
    /// assert_eq!(steps, ["asking for the schema", "17 tables"]);
    /// # Ok::<(), loopkeeper::Error>(())
    /// ```
    pub fn step(&self, what: impl fmt::Display) {
        self.notes().step(what);
    }

    /// Has a watcher ask again after this time, if its regular time is later.
    pub(crate) fn ask_again_in(&self, time: Duration) {
        self.again.set(Some(time));
    }

    pub(crate) fn take_again(&self) -> Option<Duration> {
        self.again.take()
    }

    pub(crate) fn notes(&self) -> Notes {
        // Who has these may say something at any time.
        self.says.set(true);
        Notes { steps: self.steps.clone(), clock: self.env.clock().clone() }
    }

    /// Begins a span inside that of the call, which the loop has begun; inert
    /// where no observer wants spans.
    ///
    /// # Examples
    ///
    /// ```
    /// use loopkeeper::{BoxError, Context, Probe};
    ///
    /// let probe = |cx: &Context| {
    ///     let query = cx.span("query", &[]);
    ///     // ...
    ///     query.end();
    ///     Ok::<(), BoxError>(())
    /// };
    /// # fn probes(_: impl Probe) {}
    /// # probes(probe);
    /// ```
    pub fn span(&self, name: &'static str, attrs: &[Attr]) -> Span {
        let parent = self.span.borrow().clone();
        match parent {
            Some(parent) => parent.child(name, attrs),
            None => self.env.observer().start_span(name, attrs),
        }
    }

    /// Makes this the span of the present call.
    pub(crate) fn set_span(&self, span: &Span) {
        *self.span.borrow_mut() = span.parent();
    }

    /// The call is over.
    pub(crate) fn clear_span(&self) {
        let before = self.span.borrow_mut().take();
        drop(before);
    }

    /// Keeps every [`step`](Self::step) from now on, 1,000 at most, for one
    /// who wants to be told how a call went.
    pub fn keep_steps(&self) {
        self.steps.keep(self.env.clock().now());
    }

    /// The steps since [`keep_steps`](Self::keep_steps), in their order.
    #[must_use]
    pub fn steps(&self) -> Vec<Step> {
        self.steps.kept()
    }

    /// Fails when the call was told to end or its time is over.
    ///
    /// # Errors
    ///
    /// `Cancelled` or `Timeout`.
    pub fn check(&self) -> Result<()> {
        if self.is_cancelled() {
            return Err(Error::new(ErrorKind::Cancelled));
        }
        if self.remaining().is_zero() {
            return Err(Error::new(ErrorKind::Timeout));
        }
        Ok(())
    }

    /// Sleeps, unless told to end, and not past the deadline.
    ///
    /// # Errors
    ///
    /// `Cancelled` when told to end; `Timeout` when the deadline came first.
    pub fn sleep(&self, duration: Duration) -> Result<()> {
        let clock = self.env.clock();
        let until = clock.now() + duration;
        let mut poked = false;
        let result = loop {
            if self.is_cancelled() {
                break Err(Error::new(ErrorKind::Cancelled));
            }
            let now = clock.now();
            if now >= self.deadline {
                break Err(Error::new(ErrorKind::Timeout));
            }
            if now >= until {
                break Ok(());
            }
            poked |= clock.wait(&self.inbox, until.min(self.deadline)).has(Signals::POKE);
        };
        if poked {
            // A trigger during a call means one more run after it.
            self.inbox.put_back(Signals::POKE);
        }
        result
    }

    /// Has `call` called, once, when the call is told to end: to close a
    /// socket or kill a child that it waits for. Taken back when the guard is
    /// dropped; one that has begun by then goes on.
    ///
    /// # Threads
    ///
    /// Runs on the dispatcher's thread, soon after the cancel.
    pub fn on_cancel(&self, call: impl FnOnce() + Send + 'static) -> CancelGuard {
        let job: Arc<Mutex<Option<Job>>> = Arc::new(Mutex::new(Some(Box::new(call))));
        let (env, theirs) = (self.env.clone(), job.clone());
        let run = move || {
            // Taken back with the guard: what it would close may be another's
            // by now.
            let job = theirs.lock().take();
            if let Some(job) = job {
                job();
            }
        };
        let link = self.cancel.hook(move || env.dispatcher().submit(Box::new(run)));
        CancelGuard { _link: link, job }
    }
}

/// What is a component by itself, and for those who keep it, too.
pub(crate) trait Hosted: Send + Sync + 'static {
    /// Begins as a component; what runs already is taken as it is.
    fn start_hosted(&self, cx: &Context) -> Result<()>;
    /// Ends as one.
    fn stop_hosted(&self, cx: &Context) -> std::result::Result<(), BoxError>;
}

/// A component whose keeper keeps it.
pub(crate) struct Kept<T>(pub(crate) Arc<T>);

impl<T: Hosted> Component for Kept<T> {
    fn start(&mut self, cx: &Context) -> std::result::Result<(), BoxError> {
        Ok(self.0.start_hosted(cx)?)
    }

    fn stop(&mut self, cx: &Context) -> std::result::Result<(), BoxError> {
        self.0.stop_hosted(cx)
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("name", &self.name)
            .field("deadline", &self.deadline)
            .field("is_cancelled", &self.is_cancelled())
            .finish_non_exhaustive()
    }
}

/// Who hears what a component says of itself. Not user code; never waits.
pub(crate) trait Hears: Send + Sync {
    fn health(&self, health: Health);
    fn failed(&self, error: Error);
    fn done(&self);
}

/// How a component says, at any time, how it is. Cloning shares it: keep one,
/// give one to each thread.
///
/// It belongs to one run of the component. After that run nobody hears it
/// any more, so a thread that outlived its component cannot harm the next.
///
/// # Up and ready
///
/// A component whose `start` returned `Ok` is *up* and *ready*. One that
/// called [`set_health`](Self::set_health) before says it itself: it is up
/// with the first health other than unknown, and ready while that is ready or
/// degraded.
///
/// # Examples
///
/// ```
/// use loopkeeper::{BoxError, Component, Context, Health};
///
/// struct Consumer;
/// impl Component for Consumer {
///     fn start(&mut self, cx: &Context) -> Result<(), BoxError> {
///         let reporter = cx.reporter().clone();
///         reporter.set_health(Health::Unknown);
///         std::thread::spawn(move || match std::net::TcpStream::connect("127.0.0.1:1883") {
///             Ok(_) => reporter.set_health(Health::Ready),
///             Err(error) => reporter.fail(error),
///         });
///         Ok(())
///     }
///     fn stop(&mut self, _: &Context) -> Result<(), BoxError> {
///         Ok(())
///     }
/// }
/// ```
#[derive(Clone, Default)]
pub struct Reporter(Option<Arc<dyn Hears>>);

impl Reporter {
    pub(crate) fn new(hears: Arc<dyn Hears>) -> Self {
        Self(Some(hears))
    }

    /// For those who have only a health to hear of: many loops under one
    /// name. `hear` must not be user code, and must not wait.
    pub(crate) fn on_health(hear: impl Fn(Health) + Send + Sync + 'static) -> Self {
        Self::new(Arc::new(Ears(hear)))
    }

    /// Says whether the component can take work.
    pub fn set_health(&self, health: Health) {
        if let Some(hears) = &self.0 {
            hears.health(health);
        }
    }

    /// Says that the component has failed. It is stopped, and started again
    /// if its restart policy wants that and the error is not
    /// [terminal](Error::terminal).
    pub fn fail(&self, error: impl Into<BoxError>) {
        let error: BoxError = error.into();
        if let Some(hears) = &self.0 {
            hears.failed(Error::from_user(&*error));
        }
    }

    /// Runs the body of one of the component's threads, here: an `Ok` says
    /// that the component is [`done`](Self::done), an error or a panic that it
    /// has [`failed`](Self::fail).
    ///
    /// # Examples
    ///
    /// ```
    /// use loopkeeper::{BoxError, Component, Context};
    ///
    /// #[derive(Default)]
    /// struct Consumer(Option<std::thread::JoinHandle<()>>);
    /// impl Component for Consumer {
    ///     fn start(&mut self, cx: &Context) -> Result<(), BoxError> {
    ///         let (reporter, cancel) = (cx.reporter().clone(), cx.cancel_token().clone());
    ///         let body = move || -> Result<(), BoxError> { Ok(cancel.wait()) };
    ///         self.0 = Some(std::thread::spawn(move || reporter.run(body)));
    ///         Ok(())
    ///     }
    ///     fn stop(&mut self, _: &Context) -> Result<(), BoxError> {
    ///         // Cancelled before this call, so the thread ends.
    ///         self.0.take().map_or(Ok(()), |thread| thread.join().map_err(|_| "lost".into()))
    ///     }
    /// }
    /// ```
    pub fn run<E: Into<BoxError>>(&self, body: impl FnOnce() -> std::result::Result<(), E>) {
        match catch_unwind(AssertUnwindSafe(|| body().map_err(Into::into))) {
            Ok(Ok(())) => self.done(),
            Ok(Err(error)) => self.fail(error),
            Err(payload) => {
                self.fail(Error::from_panic(&*payload));
                // A payload whose drop panics must not end the thread.
                let _ = catch_unwind(AssertUnwindSafe(|| drop(payload)));
            }
        }
    }

    /// Says that the component has done what it was for. It is stopped, and
    /// started again only if its restart policy is permanent.
    pub fn done(&self) {
        if let Some(hears) = &self.0 {
            hears.done();
        }
    }
}

struct Ears<F>(F);

impl<F: Fn(Health) + Send + Sync> Hears for Ears<F> {
    fn health(&self, health: Health) {
        (self.0)(health);
    }

    fn failed(&self, _: Error) {}

    fn done(&self) {}
}

impl fmt::Debug for Reporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reporter").field("is_heard", &self.0.is_some()).finish_non_exhaustive()
    }
}

/// Keeps an [`on_cancel`](Context::on_cancel) call in place until dropped.
#[must_use = "the call is taken back when the guard is dropped"]
pub struct CancelGuard {
    _link: LinkGuard,
    job: Arc<Mutex<Option<Job>>>,
}

impl Drop for CancelGuard {
    fn drop(&mut self) {
        let job = self.job.lock().take();
        drop(job);
    }
}

impl fmt::Debug for CancelGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelGuard").finish_non_exhaustive()
    }
}
