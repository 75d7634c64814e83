//! A pass as a controller: with a connection of its own, which is opened on
//! the controller's thread and made anew when it fails.

use std::fmt;
use std::time::Duration;

use super::agent_health::AgentHealth;
use super::audit_retention::AuditRetention;
use super::connect::{FileId, StoreConfig};
use super::job_recovery::JobRecovery;
use super::pass::{PassContext, Sum};
use super::queue_priority::QueuePriority;
use super::store::Store;
use super::token_cleanup::TokenCleanup;
use crate::component::Context;
use crate::controller::{Controller, ControllerConfig, Outcome};
use crate::error::{BoxError, Error, ErrorClass, ErrorKind, Result};

/// A round over the whole fleet that a controller makes again and again.
/// Closed.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "sqlite")] {
/// use loopkeeper::fleet::{AgentHealth, AgentHealthConfig, Pass, SqliteConfig, StoreConfig};
/// use loopkeeper::{ControllerManager, ControllerManagerConfig};
///
/// # let dir = std::env::temp_dir().join(format!("loopkeeper-pass-{}", std::process::id()));
/// # std::fs::create_dir_all(&dir).unwrap();
/// let store = StoreConfig::from(SqliteConfig::file(dir.join("fleet.db")));
/// let manager = ControllerManager::new(ControllerManagerConfig::default())?;
///
/// let health = AgentHealth::new(AgentHealthConfig::default())?;
/// manager.register(health.schedule("agent-health"), health.controller(&store))?;
/// # manager.start()?;
/// # assert!(manager.stop(std::time::Duration::from_secs(10)).is_clean());
/// # std::fs::remove_dir_all(&dir).unwrap();
/// # }
/// # Ok::<(), loopkeeper::Error>(())
/// ```
pub trait Pass: sealed::Rounds + Clone + fmt::Debug + Send + 'static {
    /// A controller of this name that makes the pass when it should be made;
    /// everything else has its default.
    fn schedule(&self, name: impl Into<String>) -> ControllerConfig;

    /// The pass as a controller that opens a connection of its own.
    fn controller(&self, store: &StoreConfig) -> PassController<Self> {
        PassController { pass: self.clone(), place: store.clone(), open: None }
    }
}

pub(crate) mod sealed {
    use super::{PassContext, Store, Sum};

    /// What goes over a fleet.
    pub trait Rounds {
        fn round(&self, store: &mut dyn Store, cx: &PassContext<'_>) -> Sum;
    }
}

use sealed::Rounds;

macro_rules! passes {
    ($($pass:ty),+) => {$(
        impl Rounds for $pass {
            fn round(&self, store: &mut dyn Store, cx: &PassContext<'_>) -> Sum {
                self.sum(store, cx)
            }
        }
    )+};
    (scheduled: $($pass:ty),+) => {$(
        impl Pass for $pass {
            fn schedule(&self, name: impl Into<String>) -> ControllerConfig {
                ControllerConfig::new(name).interval(self.config().interval)
            }
        }
    )+};
}

passes!(AgentHealth, JobRecovery, QueuePriority, TokenCleanup, AuditRetention);
passes!(scheduled: AgentHealth, JobRecovery, QueuePriority, TokenCleanup);

impl Pass for AuditRetention {
    fn schedule(&self, name: impl Into<String>) -> ControllerConfig {
        let config = ControllerConfig::new(name).interval(self.config().interval);
        if self.config().dry_run { config.dry_run() } else { config }
    }
}

/// A [`Pass`] as a controller; made by [`Pass::controller`].
///
/// # Threads
///
/// The connection is opened by the first run, on the controller's thread, and
/// used there only. That makes the tables, or brings them to this program's
/// version: a dry run, too, which else leaves everything as it is. A run that fails closes it, and the next one opens
/// another: the controller's backoff is that of the connection. So does a file
/// that is another than the one that was opened.
///
/// A cancel reaches a statement that the server is at, where the store can
/// cancel; else it is seen between two batches.
pub struct PassController<P> {
    pass: P,
    place: StoreConfig,
    open: Option<Connection>,
}

struct Connection {
    store: Box<dyn Store>,
    file: Option<FileId>,
}

/// When a pass goes on that its deadline has stopped.
const SOON: Duration = Duration::from_millis(100);

impl<P: Pass> PassController<P> {
    /// The connection: taken out, so that none which failed or panicked is
    /// used again.
    fn connection(&mut self, cx: &Context, within: Duration) -> Result<Connection> {
        if let Some(open) = self.open.take().filter(|open| open.file == self.place.file()) {
            return Ok(open);
        }
        let mut cancel = None;
        let store = self.place.within(within).open_cancellable(|canceller| {
            cancel = Some(cx.on_cancel(move || drop(canceller.cancel())));
        });
        drop(cancel);
        let store = store?;
        Ok(Connection { store, file: self.place.file() })
    }
}

impl<P: Pass> Controller for PassController<P> {
    fn reconcile(&mut self, cx: &Context) -> std::result::Result<Outcome, BoxError> {
        let allowed = cx.remaining();
        let mut open = self.connection(cx, allowed)?;
        // A batch that has begun should end before the time is over.
        let reserve = allowed / 10;
        let goes_on = || {
            cx.check()?;
            if cx.remaining() < reserve { Err(Error::new(ErrorKind::Timeout)) } else { Ok(()) }
        };
        let pass_cx = PassContext::with_check(goes_on).dry_run(cx.is_dry_run());
        let cancel = open.store.canceller().map(|canceller| {
            // Who does not reach the server waits for its statement.
            cx.on_cancel(move || drop(canceller.cancel()))
        });
        let Sum { report, mut steps } = self.pass.round(&mut *open.store, &pass_cx);
        drop(cancel);
        if steps.has_failed() {
            // What is terminal for a file that is gone is not for the next one.
            if open.file != self.place.file() {
                steps.reclass(ErrorClass::Retryable);
            }
            return steps.finish();
        }
        self.open = Some(open);
        let outcome = steps.finish()?.summary(report.to_string());
        // What a dry run did not come to it never comes to.
        let goes_on = !report.finished && !report.dry_run;
        Ok(if goes_on { outcome.requeue_after(SOON) } else { outcome })
    }
}

impl<P: fmt::Debug> fmt::Debug for PassController<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PassController")
            .field("pass", &self.pass)
            .field("store", &self.place)
            .field("is_open", &self.open.is_some())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Arc;

    use super::*;
    use crate::clock::ManualClock;
    use crate::env::Env;
    use crate::fleet::ModelStore;
    use crate::fleet::pass::PassReport;
    use crate::name::Name;
    use crate::primitive::{AtomicU64, Mutex, Ordering};

    type Script = Arc<Mutex<Box<dyn FnMut(&PassContext<'_>) -> Result<PassReport> + Send>>>;

    /// A pass that does what the test says.
    #[derive(Clone)]
    struct Scripted(Script);

    impl fmt::Debug for Scripted {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("Scripted")
        }
    }

    impl Rounds for Scripted {
        fn round(&self, _: &mut dyn Store, cx: &PassContext<'_>) -> Sum {
            let mut sum = Sum { report: PassReport::new(cx, &["offline"]), steps: Default::default() };
            match (self.0.lock())(cx) {
                Ok(report) => {
                    sum.steps.count(report.processed());
                    sum.report = report;
                }
                Err(error) => sum.steps.fail("scripted", &error),
            }
            sum
        }
    }

    impl Pass for Scripted {
        fn schedule(&self, name: impl Into<String>) -> ControllerConfig {
            ControllerConfig::new(name)
        }
    }

    /// A controller, how often it has opened its store, and whether that can
    /// be reached.
    struct Scene {
        clock: ManualClock,
        env: Env,
        script: Script,
        controller: PassController<Scripted>,
        opened: Arc<AtomicU64>,
        reachable: Arc<Mutex<bool>>,
    }

    impl Scene {
        fn new(script: impl FnMut(&PassContext<'_>) -> Result<PassReport> + Send + 'static) -> Self {
            let clock = ManualClock::default();
            let env = Env::manual(&clock).unwrap();
            let opened = Arc::new(AtomicU64::new(0));
            let reachable = Arc::new(Mutex::new(true));
            let place = StoreConfig::opened_by({
                let (opened, reachable) = (opened.clone(), reachable.clone());
                move || {
                    opened.fetch_add(1, Ordering::SeqCst);
                    let lost = || Error::new(ErrorKind::Store).context("the server is away");
                    if *reachable.lock() { Ok(ModelStore::default()) } else { Err(lost()) }
                }
            });
            let script: Script = Arc::new(Mutex::new(Box::new(script)));
            let controller = Scripted(script.clone()).controller(&place);
            Self { clock, env, script, controller, opened, reachable }
        }

        fn script(&self, script: impl FnMut(&PassContext<'_>) -> Result<PassReport> + Send + 'static) {
            *self.script.lock() = Box::new(script);
        }

        fn run(&mut self, dry_run: bool) -> std::result::Result<Outcome, Error> {
            let name = Name::new("pass").unwrap();
            let mut cx = Context::detached(&self.env, name, Duration::from_secs(60));
            cx.set_dry_run(dry_run);
            self.controller.reconcile(&cx).map_err(|error| Error::from_user(&*error))
        }

        fn opened(&self) -> u64 {
            self.opened.load(Ordering::SeqCst)
        }
    }

    fn report(cx: &PassContext<'_>, n: u64) -> PassReport {
        let mut report = PassReport::new(cx, &["offline"]);
        report.add("offline", n);
        report
    }

    #[test]
    fn a_connection_is_opened_by_the_first_run_and_kept() {
        let mut scene = Scene::new(|cx| Ok(report(cx, 2)));
        assert_eq!(scene.opened(), 0);
        let expected = Outcome::processed(2).summary("2 offline");
        assert_eq!(scene.run(false).unwrap(), expected);
        assert_eq!(scene.run(false).unwrap(), expected);
        assert_eq!(scene.opened(), 1);
        let dry = Outcome::processed(2).summary("2 offline, nothing was changed");
        assert_eq!(scene.run(true).unwrap(), dry);
    }

    #[test]
    fn what_failed_or_panicked_is_not_used_again() {
        let mut scene = Scene::new(|cx| Ok(report(cx, 0)));
        let _ = scene.run(false).unwrap();
        scene.script(|_| Err(Error::new(ErrorKind::Store).with_class(ErrorClass::Terminal)));
        assert_eq!(scene.run(false).unwrap_err().class(), ErrorClass::Terminal);
        assert_eq!(scene.opened(), 1);
        scene.script(|_| panic!("in the middle of a transaction"));
        assert!(catch_unwind(AssertUnwindSafe(|| scene.run(false))).is_err());
        assert_eq!(scene.opened(), 2);
        *scene.reachable.lock() = false;
        let lost = scene.run(false).unwrap_err();
        assert_eq!((lost.class(), scene.opened()), (ErrorClass::Retryable, 3));
        *scene.reachable.lock() = true;
        scene.script(|cx| Ok(report(cx, 1)));
        assert_eq!(scene.run(false).unwrap().items(), 1);
        assert_eq!(scene.opened(), 4);
    }

    #[test]
    fn a_pass_ends_before_its_time_is_over_and_goes_on_soon() {
        let mut scene = Scene::new(|_| Err(Error::new(ErrorKind::Store)));
        let clock = scene.clock.clone();
        let slow = move |cx: &PassContext<'_>| {
            let mut report = report(cx, 0);
            while cx.goes_on()? {
                report.add("offline", 1);
                clock.jump(Duration::from_secs(11));
            }
            report.finished = false;
            Ok(report)
        };
        scene.script(slow.clone());
        // The sixth would begin with less than a tenth of its time left.
        let early = Outcome::processed(5).summary("5 offline, stopped early").requeue_after(SOON);
        assert_eq!(scene.run(false).unwrap(), early);
        scene.script(slow);
        let dry = Outcome::processed(5).summary("5 offline, stopped early, nothing was changed");
        assert_eq!(scene.run(true).unwrap(), dry);
    }

    #[cfg(all(unix, feature = "sqlite"))]
    #[test]
    fn a_file_that_is_lost_in_the_middle_is_no_reason_to_wait_for_the_next_time() {
        let path = std::env::temp_dir().join(format!("loopkeeper-lost-{}.db", std::process::id()));
        let terminal = || Err(Error::new(ErrorKind::Store).with_class(ErrorClass::Terminal));
        let mut scene = Scene::new(move |_| terminal());
        let place = StoreConfig::from(crate::fleet::SqliteConfig::file(&path));
        scene.controller = Scripted(scene.script.clone()).controller(&place);
        assert_eq!(scene.run(false).unwrap_err().class(), ErrorClass::Terminal);
        let lost = path.clone();
        scene.script(move |_| {
            std::fs::remove_file(&lost).unwrap();
            terminal()
        });
        assert_eq!(scene.run(false).unwrap_err().class(), ErrorClass::Retryable);
        for end in ["", "-wal", "-shm"] {
            drop(std::fs::remove_file(format!("{}{end}", path.display())));
        }
    }
}
