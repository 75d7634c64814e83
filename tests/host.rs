//! The component host through the public surface, on a clock that the tests
//! move. `crt` names what the behaviour must be, `wrt` a weakness of earlier
//! designs that must not come back.

mod support;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use loopkeeper::host::{
    ComponentState, ComponentStatus, HostHandle, Requires, Restart, RestartBudget, RestartPolicy,
    WhenExhausted, component,
};
use loopkeeper::status::{StatusSource, aggregate};
use loopkeeper::testing::{Gate, Recorder, Script};
use loopkeeper::watch::BackoffConfig;
use loopkeeper::{
    BoxError, CancelToken, Component, ComponentConfig, Context, Env, EnvConfig, ErrorKind, Event, Health,
    Host, HostConfig, LoopKind, ManualClock, Observer, Reporter, WatchManager, Watcher, WatcherConfig,
};
use support::{PATIENCE, alone, eventually};

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A host on a manual clock, and what its components did.
struct World {
    clock: ManualClock,
    env: Env,
    told: Told,
}

/// What happened, in order; one word each. Cloning shares it.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    fn push(&self, word: impl Into<String>) {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(word.into());
    }

    /// What was told since the last look.
    fn take(&self) -> String {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())).join(" ")
    }
}

#[allow(clippy::unwrap_used, reason = "a failed set-up is a failed test")]
fn scenario(test: impl FnOnce(&World)) {
    alone(|| {
        let clock = ManualClock::default();
        let env = Env::manual(&clock).unwrap();
        test(&World { clock, env, told: Told::default() });
    });
}

impl World {
    fn config(&self) -> HostConfig {
        HostConfig::default().env(&self.env)
    }

    #[allow(clippy::unwrap_used, reason = "a failed set-up is a failed test")]
    fn host(&self) -> Host {
        Host::new(self.config()).unwrap()
    }

    /// A component that tells `+name` when it starts and `-name` when it
    /// stops.
    fn part(&self, name: &str) -> Part {
        Part { name: name.to_owned(), told: self.told.clone(), start: Vec::new(), stop: Vec::new() }
    }

    fn well(&self, name: &str) -> ComponentConfig {
        ComponentConfig::new(name, self.part(name))
    }
}

type Step = Box<dyn FnMut(&Context) -> Result<(), BoxError> + Send>;

struct Part {
    name: String,
    told: Told,
    start: Vec<Step>,
    stop: Vec<Step>,
}

impl Part {
    /// What its `start` does.
    fn start(mut self, step: impl FnMut(&Context) -> Result<(), BoxError> + Send + 'static) -> Self {
        self.start.push(Box::new(step));
        self
    }

    /// What its `stop` does.
    fn stop(mut self, step: impl FnMut(&Context) -> Result<(), BoxError> + Send + 'static) -> Self {
        self.stop.push(Box::new(step));
        self
    }

    /// Its `start` fails the first `n` times.
    fn fails(self, n: usize) -> Self {
        let mut left = n;
        self.start(move |_| {
            if left == 0 {
                return Ok(());
            }
            left -= 1;
            Err("boom".into())
        })
    }

    fn config(self) -> ComponentConfig {
        let name = self.name.clone();
        ComponentConfig::new(name, self)
    }
}

impl Component for Part {
    fn start(&mut self, cx: &Context) -> Result<(), BoxError> {
        self.told.push(format!("+{}", self.name));
        self.start.iter_mut().try_for_each(|step| step(cx))
    }

    fn stop(&mut self, cx: &Context) -> Result<(), BoxError> {
        self.told.push(format!("-{}", self.name));
        self.stop.iter_mut().try_for_each(|step| step(cx))
    }
}

/// States as `name:state`, in order.
fn states(host: &HostHandle) -> String {
    host.status()
        .iter()
        .map(|status| format!("{}:{}", status.name, status.state))
        .collect::<Vec<_>>()
        .join(" ")
}

fn names(host: &HostHandle) -> String {
    host.components().iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// Calls something that blocks on another thread while the test moves time.
fn meanwhile<T: Send>(call: impl FnOnce() -> T + Send, test: impl FnOnce()) -> T {
    #[allow(clippy::disallowed_methods, reason = "a caller that blocks needs a thread of its own")]
    std::thread::scope(|scope| {
        let caller = scope.spawn(call);
        test();
        caller.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[test]
fn crt_01_starts_in_order_and_stops_in_reverse() {
    scenario(|world| {
        let host = world.host();
        for name in ["a", "b", "c"] {
            host.register(name, world.part(name)).unwrap();
        }
        assert_eq!(states(&host), "a:registered b:registered c:registered");
        host.start().unwrap();
        assert_eq!(states(&host), "a:ready b:ready c:ready");
        assert_eq!(host.start().unwrap_err().kind(), ErrorKind::InvalidState);
        assert_eq!(host.register("d", world.part("d")).unwrap_err().kind(), ErrorKind::InvalidState);
        let report = host.stop(PATIENCE);
        assert!(report.is_clean(), "{report}");
        assert_eq!(world.told.take(), "+a +b +c -c -b -a");
        assert_eq!(states(&host), "a:stopped b:stopped c:stopped");
        // Again, and once more for nothing.
        host.start().unwrap();
        assert!(host.stop(PATIENCE).is_clean() && host.stop(Duration::ZERO).is_clean());
        assert_eq!(world.told.take(), "+a +b +c -c -b -a");
    });
}

#[test]
fn crt_02_a_failed_start_stops_the_earlier_ones_and_reaches_no_later_one() {
    scenario(|world| {
        let host = world.host();
        host.register("a", world.part("a")).unwrap();
        host.register("b", world.part("b").fails(1)).unwrap();
        host.register("c", world.part("c")).unwrap();
        let error = host.start().unwrap_err();
        assert_eq!((error.kind(), error.to_string()), (ErrorKind::Component, "b: start: boom".to_owned()));
        assert_eq!(world.told.take(), "+a +b -b -a");
        assert_eq!(states(&host), "a:stopped b:failed c:registered");
        // They stay registered, so that it can be tried again.
        host.start().unwrap();
        assert_eq!(world.told.take(), "+a +b +c");
    });
}

#[test]
fn crt_03_what_did_not_stop_afterwards_is_in_the_error_too() {
    scenario(|world| {
        let host = world.host();
        host.register("a", world.part("a").stop(|_| Err("bang".into()))).unwrap();
        host.register("b", world.part("b").fails(1)).unwrap();
        assert_eq!(host.start().unwrap_err().to_string(), "b: start: boom; a: stop: bang");
    });
}

#[test]
fn crt_04_a_name_is_taken_once() {
    scenario(|world| {
        let host = world.host();
        host.register("a", world.part("a")).unwrap();
        let error = host.register("a", world.part("a")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Duplicate);
        assert!(error.to_string().contains('a'), "{error}");
        host.start().unwrap();
        assert_eq!(host.deploy(world.well("a")).unwrap_err().kind(), ErrorKind::Duplicate);
        assert_eq!(host.register("../etc", world.part("x")).unwrap_err().kind(), ErrorKind::InvalidArgument);
    });
}

#[test]
fn crt_05_deploy_and_undeploy_while_it_runs() {
    scenario(|world| {
        let host = world.host();
        host.start().unwrap();
        let events = host.subscribe();
        host.deploy(world.well("a")).unwrap();
        assert!(host.undeploy("a", PATIENCE).unwrap().is_clean());
        assert_eq!(world.told.take(), "+a -a");
        assert_eq!(host.undeploy("a", PATIENCE).unwrap_err().kind(), ErrorKind::NotFound);
        let told: Vec<_> =
            std::iter::from_fn(|| events.try_recv()).map(|d| (d.event.n, d.event.what.as_str())).collect();
        assert_eq!(
            told,
            [
                (1, "component_starting"),
                (2, "component_up"),
                (3, "component_ready"),
                (4, "component_stopping"),
                (5, "component_stopped"),
                (6, "component_removed"),
            ]
        );
    });
}

#[test]
fn crt_06_run_stops_on_cancel() {
    scenario(|world| {
        let host = world.host();
        host.register("a", world.part("a")).unwrap();
        let cancel = CancelToken::new();
        let result = meanwhile(
            || host.run(&cancel),
            || {
                eventually("a to be ready", || states(&host) == "a:ready");
                cancel.cancel();
            },
        );
        result.unwrap();
        assert_eq!(world.told.take(), "+a -a");
        host.run(&cancel).unwrap();
        assert_eq!(world.told.take(), "", "cancelled before it began");
    });
}

#[test]
fn each_stop_counts_the_callbacks_that_it_drops_and_names_the_one_that_hangs() {
    scenario(|world| {
        let (gate, clock) = (Gate::default(), world.clock.clone());
        let inside = gate.clone();
        let on_event = move |_: &Event| inside.pass(&clock);
        let observer = Observer { on_event: Some(Arc::new(on_event)), ..Observer::default() };
        let env = Env::with(EnvConfig::default().clock(&world.clock).observer(observer)).unwrap();
        let host = Host::new(HostConfig::default().env(&env)).unwrap();
        host.register("a", world.part("a")).unwrap();
        host.start().unwrap();
        let report = host.stop(Duration::from_millis(10));
        assert!(report.dropped_callbacks() >= 1, "{report}");
        let [straggler] = report.stragglers() else { panic!("{report}") };
        assert_eq!((&*straggler.name, straggler.phase), ("host", "its callback"));
        assert_eq!(host.stop(Duration::from_millis(10)).dropped_callbacks(), 0);
        gate.open();
        assert!(host.stop(PATIENCE).is_clean());
    });
}

#[test]
fn run_names_who_failed_and_who_would_not_stop() {
    scenario(|world| {
        let host = world.host();
        let mute = |cx: &Context| {
            cx.reporter().fail("lost the line");
            Ok(())
        };
        host.register_with(world.part("a").start(mute).config().restart(RestartPolicy::Temporary)).unwrap();
        host.register("b", world.part("b").stop(|_| Err("bang".into()))).unwrap();
        let cancel = CancelToken::new();
        // A component that says in its start that it failed did not start.
        let error = host.run(&cancel).unwrap_err();
        assert_eq!(error.to_string(), "a: start: lost the line");

        let host = world.host();
        let reporter: Arc<Mutex<Option<Reporter>>> = Arc::default();
        let kept = reporter.clone();
        let keep = move |cx: &Context| {
            *kept.lock().unwrap() = Some(cx.reporter().clone());
            Ok(())
        };
        host.register_with(world.part("a").start(keep).config().restart(RestartPolicy::Temporary)).unwrap();
        host.register("b", world.part("b").stop(|_| Err("bang".into()))).unwrap();
        let result = meanwhile(
            || host.run(&cancel),
            || {
                eventually("b to be ready", || states(&host) == "a:ready b:ready");
                reporter.lock().unwrap().take().unwrap().fail("lost the line");
                eventually("a to have failed", || states(&host) == "a:failed b:ready");
                cancel.cancel();
            },
        );
        assert_eq!(result.unwrap_err().to_string(), "a: failed: lost the line; b: stop: bang");
    });
}

#[test]
fn crt_18_a_deployed_component_is_listed_until_it_is_undeployed() {
    scenario(|world| {
        let host = world.host();
        host.register("a", world.part("a")).unwrap();
        host.start().unwrap();
        host.deploy(world.well("b")).unwrap();
        assert_eq!(names(&host), "a b");
        assert!(host.undeploy("b", PATIENCE).unwrap().is_clean());
        assert_eq!(names(&host), "a");
        assert!(host.component("b").is_none());
        assert_eq!(host.component("a").unwrap().state, ComponentState::Ready);
    });
}

/// A component that deploys another from a thread of its own, and undeploys
/// it there when it is told to end.
struct Deployer {
    host: HostHandle,
    told: Told,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Component for Deployer {
    fn start(&mut self, cx: &Context) -> Result<(), BoxError> {
        let (host, told, cancel) = (self.host.clone(), self.told.clone(), cx.cancel_token().clone());
        #[allow(clippy::disallowed_methods, reason = "a component has threads of its own")]
        let thread = std::thread::spawn(move || {
            let stop = |_: &Context| Ok(());
            if let Err(error) = host.deploy(ComponentConfig::new("x", component(|_: &Context| Ok(()), stop)))
            {
                told.push(error.to_string());
            }
            cancel.wait();
            let words = match host.undeploy("x", PATIENCE) {
                Ok(report) => format!("undeployed:{report}"),
                Err(error) => format!("refused:{}", error.kind()),
            };
            told.push(words.replace(' ', "_"));
        });
        self.thread = Some(thread);
        Ok(())
    }

    fn stop(&mut self, _: &Context) -> Result<(), BoxError> {
        self.thread.take().map_or(Ok(()), |thread| thread.join().map_err(|_| "its thread panicked".into()))
    }
}

impl World {
    fn deployer(&self, host: &Host) -> Deployer {
        Deployer { host: host.handle(), told: self.told.clone(), thread: None }
    }
}

#[test]
fn crt_26_a_hosted_deployer_deploys_what_becomes_usable() {
    scenario(|world| {
        let host = world.host();
        host.register("deployer", world.deployer(&host)).unwrap();
        host.start().unwrap();
        eventually("x to be ready", || states(&host) == "deployer:ready x:ready");
        assert!(host.undeploy("deployer", PATIENCE).unwrap().is_clean());
        assert_eq!((names(&host), world.told.take()), (String::new(), "undeployed:clean".to_owned()));
    });
}

#[test]
fn wrt_01_a_stop_that_joins_a_thread_which_calls_the_host_does_not_deadlock() {
    scenario(|world| {
        let host = world.host();
        host.register("deployer", world.deployer(&host)).unwrap();
        host.start().unwrap();
        eventually("x to be ready", || states(&host) == "deployer:ready x:ready");
        let report = host.stop(PATIENCE);
        assert!(report.is_clean(), "{report}");
        assert_eq!(world.told.take(), "refused:not_allowed_in_this_state");
    });
}

#[test]
fn wrt_02_a_stuck_stop_costs_its_own_deadline_and_holds_up_nobody_else() {
    scenario(|world| {
        let host = world.host();
        let gate = Gate::default();
        let (theirs, clock) = (gate.clone(), world.clock.clone());
        let hang = move |_: &Context| {
            theirs.pass(&clock);
            Ok(())
        };
        host.register("a", world.part("a")).unwrap();
        host.register_with(world.part("b").stop(hang).config().stop_timeout(secs(3))).unwrap();
        host.register("c", world.part("c")).unwrap();
        host.start().unwrap();
        let before = world.clock.now();
        let report = meanwhile(
            || host.stop(secs(20)),
            || {
                eventually("b to hang", || gate.waiting() == 1);
                // Nothing is locked meanwhile.
                assert_eq!(states(&host), "a:stopping b:stopping c:stopped");
                assert_eq!(names(&host), "a b c");
                world.clock.run_for(secs(3));
            },
        );
        assert_eq!(world.clock.now().since(before), secs(3));
        assert_eq!(states(&host), "a:stopped b:abandoned c:stopped");
        let [straggler] = report.stragglers() else { panic!("{report}") };
        assert_eq!((straggler.name.as_str(), straggler.phase), ("b", "its stop"));
        assert_eq!((straggler.thread.as_str(), straggler.stuck_for), ("lk/call", secs(3)));
        assert!(straggler.tid > 0);
        assert_eq!(host.start().unwrap_err().to_string(), "b: has not stopped yet");
        assert!(!host.stop(secs(1)).is_clean(), "it still holds");
        // Its late return is taken in.
        gate.open();
        world.clock.settle();
        assert_eq!(states(&host), "a:stopped b:failed c:stopped");
        assert!(host.stop(secs(1)).is_clean());
    });
}

#[test]
fn a_stuck_component_says_whether_it_computes_or_waits() {
    use loopkeeper::status::ActivityKind;
    alone(|| {
        let host = Host::new(HostConfig::default()).unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let held = Arc::new(Mutex::new(()));
        let hold = held.lock().unwrap();
        let stuck = |burns: bool| {
            let (over, held) = (over.clone(), held.clone());
            let start = move |_: &Context| {
                while burns && !over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
                drop(held.lock());
                Ok(())
            };
            component(start, |_| Ok(()))
        };
        host.start().unwrap();
        let limit = Duration::from_millis(100);
        for (name, burns) in [("spin", true), ("wait", false)] {
            let config = ComponentConfig::new(name, stuck(burns)).start_timeout(limit);
            let error = host.deploy(config).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
        }
        let seen = |name: &str| {
            let component = host.status().into_iter().find(|status| status.name.as_str() == name).unwrap();
            assert_eq!(component.state, ComponentState::Abandoned);
            component.call.unwrap().activity.unwrap()
        };
        let (spin, wait) = (seen("spin"), seen("wait"));
        assert_eq!(wait.is, ActivityKind::Blocked, "{wait}");
        // A machine with more to do than it can gives it less than half of itself.
        assert_ne!(spin.is, ActivityKind::Blocked, "{spin}");
        assert!(spin.cpu_percent.is_some() && wait.cpu_percent.is_some(), "{spin} {wait}");
        let report = host.stop(Duration::from_millis(50));
        let told: Vec<_> = report.stragglers().iter().map(|straggler| straggler.activity.clone()).collect();
        assert!(told.iter().flatten().all(|activity| activity.cpu_percent.is_some()), "{report}");
        assert_eq!(told.len(), 2, "{report}");
        over.store(true, Ordering::Relaxed);
        drop(hold);
        eventually("both return", || host.stop(PATIENCE).is_clean());
    });
}

#[test]
fn wrt_02_a_stuck_start_is_abandoned_and_stopped_by_its_own_thread_when_it_returns() {
    scenario(|world| {
        let host = world.host();
        let gate = Gate::default();
        let thread: Arc<Mutex<Vec<std::thread::ThreadId>>> = Arc::default();
        let (theirs, clock, started) = (gate.clone(), world.clock.clone(), thread.clone());
        let hang = move |_: &Context| {
            started.lock().unwrap().push(std::thread::current().id());
            theirs.pass(&clock);
            Ok(())
        };
        let stopped = thread.clone();
        let note = move |_: &Context| {
            stopped.lock().unwrap().push(std::thread::current().id());
            Ok(())
        };
        host.register("a", world.part("a")).unwrap();
        host.register_with(world.part("b").start(hang).stop(note).config().start_timeout(secs(5))).unwrap();
        let result = meanwhile(
            || host.start(),
            || {
                eventually("b to hang", || gate.waiting() == 1);
                world.clock.run_for(secs(5));
            },
        );
        let error = result.unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string()),
            (ErrorKind::Timeout, "b: start: still in start after 5s".into())
        );
        assert_eq!(world.told.take(), "+a +b -a");
        assert_eq!(states(&host), "a:stopped b:abandoned");
        gate.open();
        world.clock.settle();
        assert_eq!((world.told.take(), states(&host)), ("-b".to_owned(), "a:stopped b:failed".to_owned()));
        let threads = thread.lock().unwrap();
        assert_eq!(threads[0], threads[1], "that thread stops it");
    });
}

#[test]
fn wrt_03_calls_from_inside_start_work_or_are_refused() {
    scenario(|world| {
        let host = world.host();
        let handle = host.handle();
        let told = world.told.clone();
        let inside = move |_: &Context| {
            told.push(names(&handle).replace(' ', ","));
            let x = ComponentConfig::new("x", component(|_: &Context| Ok(()), |_: &Context| Ok(())));
            handle.deploy(x).unwrap();
            told.push(states(&handle).replace(' ', ","));
            assert!(handle.undeploy("x", PATIENCE).unwrap().is_clean());
            for error in [
                handle.start().unwrap_err(),
                handle.undeploy("a", PATIENCE).unwrap_err(),
                handle
                    .replace(ComponentConfig::new("a", component(|_| Ok(()), |_| Ok(()))), secs(1))
                    .unwrap_err(),
            ] {
                assert_eq!(error.kind(), ErrorKind::InvalidState, "{error}");
            }
            Ok(())
        };
        host.register_with(world.part("a").start(inside).config()).unwrap();
        host.register("b", world.part("b")).unwrap();
        host.start().unwrap();
        assert_eq!(world.told.take(), "+a a,b a:starting,b:registered,x:ready +b");
    });
}

#[test]
fn wrt_03_a_replace_from_inside_start_works_or_is_refused() {
    scenario(|world| {
        let host = world.host();
        let (handle, told) = (host.handle(), world.told.clone());
        let part = move |name: &str| Part {
            name: name.to_owned(),
            told: told.clone(),
            start: Vec::new(),
            stop: Vec::new(),
        };
        let new = part.clone();
        let inside = move |_: &Context| {
            handle.replace(new("keep").config(), secs(5)).unwrap();
            // It would wait for the end of this call, here for its own start.
            for (name, requires) in [("free", "own"), ("free", "waits")] {
                let config = new(name).config().requires([requires]);
                let error = handle.replace(config, secs(5)).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::InvalidState, "{name}: {error}");
            }
            // And here for its stop.
            for name in ["stop", "through", "own"] {
                for error in [
                    handle.replace(new(name).config(), secs(5)).unwrap_err(),
                    handle.undeploy(name, PATIENCE).unwrap_err(),
                ] {
                    assert_eq!(error.kind(), ErrorKind::InvalidState, "{name}: {error}");
                }
            }
            Ok(())
        };
        for name in ["keep", "through", "free"] {
            host.register(name, part(name)).unwrap();
        }
        host.register_with(part("stop").config().requires([Requires::new("through").or_stop()])).unwrap();
        let requires = [Requires::new("keep"), Requires::new("stop").or_stop()];
        host.register_with(part("own").start(inside).config().requires(requires)).unwrap();
        host.register_with(part("waits").config().requires(["own"])).unwrap();
        host.start().unwrap();
        assert_eq!(world.told.take(), "+keep +through +free +stop +own -keep +keep +waits");
        assert_eq!(states(&host), "keep:ready through:ready free:ready stop:ready own:ready waits:ready");
    });
}

#[test]
fn a_start_that_ends_with_its_cancel_is_no_failure_of_run() {
    scenario(|world| {
        let host = world.host();
        let waits = |cx: &Context| -> Result<(), BoxError> { Ok(cx.sleep(secs(600))?) };
        host.register("a", world.part("a")).unwrap();
        host.register("b", world.part("b").start(waits)).unwrap();
        let cancel = CancelToken::new();
        let result = meanwhile(
            || host.run(&cancel),
            || {
                eventually("b to start", || states(&host) == "a:ready b:starting");
                cancel.cancel();
            },
        );
        result.unwrap();
        let expected = ("+a +b -b -a".into(), "a:stopped b:stopped".into());
        assert_eq!((world.told.take(), states(&host)), expected);
    });
}

#[test]
fn wrt_03_a_stop_from_inside_a_call_begins_and_says_so() {
    scenario(|world| {
        let host = world.host();
        let handle = host.handle();
        let told = world.told.clone();
        let stops = move |_: &Context| {
            // Told, for a panic here would be one more reason to stop.
            told.push(format!("{:?}", handle.stop(secs(5)).errors()[0].kind()));
            Ok(())
        };
        host.register("a", world.part("a")).unwrap();
        host.register("b", world.part("b").start(stops)).unwrap();
        let error = host.start().unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string()),
            (ErrorKind::Cancelled, "host: stopped while it started".into())
        );
        let expected = ("+a +b InvalidState -b -a".into(), "a:stopped b:stopped".into());
        assert_eq!((world.told.take(), states(&host)), expected);
    });
}

#[test]
fn wrt_04_what_failed_to_deploy_is_stopped_and_taken_out() {
    scenario(|world| {
        let host = world.host();
        host.start().unwrap();
        let error = host.deploy(world.part("a").fails(1).config()).unwrap_err();
        assert_eq!(error.to_string(), "a: start: boom");
        assert_eq!((world.told.take(), names(&host)), ("+a -a".to_owned(), String::new()));
        // Also when closing what was half open fails.
        let bad = world.part("a").fails(1).stop(|_| Err("bang".into()));
        let error = host.deploy(bad.config()).unwrap_err();
        assert_eq!(
            (error.to_string(), names(&host)),
            ("a: start: boom; a: stop: bang".to_owned(), String::new())
        );
    });
}

#[test]
fn wrt_05_unwinding_has_its_own_time() {
    scenario(|world| {
        let host = Host::new(world.config().start_timeout(secs(4)).shutdown_timeout(secs(8))).unwrap();
        let left: Arc<Mutex<Option<Duration>>> = Arc::default();
        let seen = left.clone();
        let note = move |cx: &Context| {
            *seen.lock().unwrap() = Some(cx.remaining());
            cx.check()?;
            Ok(())
        };
        host.register_with(world.part("a").stop(note).config().stop_timeout(secs(60))).unwrap();
        host.register("b", world.part("b").start(|cx| Ok(cx.sleep(secs(3600))?))).unwrap();
        let result = meanwhile(
            || host.start(),
            || {
                eventually("b to start", || states(&host).ends_with("b:starting"));
                world.clock.run_for(secs(4));
            },
        );
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Timeout);
        // What b left of the start's time does not matter: 8 s, less the 50 ms
        // by which a call is told to hurry.
        let left = left.lock().unwrap().unwrap();
        assert!(left > secs(7) && left < secs(8), "{left:?}");
    });
}

#[test]
fn wrt_06_what_did_not_stop_is_not_forgotten() {
    scenario(|world| {
        let host = world.host();
        let mut left = 1;
        let stubborn = move |_: &Context| {
            if left == 0 {
                return Ok(());
            }
            left -= 1;
            Err("bang".into())
        };
        host.start().unwrap();
        host.deploy(world.part("a").stop(stubborn).config()).unwrap();
        let report = host.undeploy("a", PATIENCE).unwrap();
        assert_eq!(report.to_string(), "a: stop: bang");
        assert_eq!(states(&host), "a:failed");
        assert_eq!(host.deploy(world.well("a")).unwrap_err().kind(), ErrorKind::Duplicate);
        assert!(host.undeploy("a", PATIENCE).unwrap().is_clean());
        assert_eq!((world.told.take(), states(&host)), ("+a -a -a".to_owned(), String::new()));
    });
}

#[test]
fn wrt_06_a_later_start_does_not_start_twice_what_did_not_stop() {
    scenario(|world| {
        let host = world.host();
        let mut left = 1;
        let stubborn = move |_: &Context| {
            if left == 0 {
                return Ok(());
            }
            left -= 1;
            Err("bang".into())
        };
        host.register("a", world.part("a").stop(stubborn)).unwrap();
        host.start().unwrap();
        assert_eq!(host.stop(PATIENCE).to_string(), "a: stop: bang");
        assert_eq!(host.start().unwrap_err().to_string(), "a: has not stopped yet");
        assert!(host.stop(PATIENCE).is_clean(), "tried once more");
        host.start().unwrap();
        assert_eq!(world.told.take(), "+a -a -a +a");
    });
}

#[test]
fn wrt_07_panics_are_results() {
    struct Bomb(Part);
    impl Component for Bomb {
        fn start(&mut self, cx: &Context) -> Result<(), BoxError> {
            Component::start(&mut self.0, cx)
        }
        fn stop(&mut self, cx: &Context) -> Result<(), BoxError> {
            Component::stop(&mut self.0, cx)
        }
    }
    impl Drop for Bomb {
        fn drop(&mut self) {
            self.0.told.push("dropped");
            panic!("in drop");
        }
    }
    scenario(|world| {
        let host = world.host();
        host.start().unwrap();
        let error = host.deploy(world.part("a").start(|_| panic!("at start")).config()).unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string()),
            (ErrorKind::Panicked, "a: start: panicked: at start".into())
        );
        host.deploy(world.part("b").stop(|_| panic!("at stop")).config()).unwrap();
        let report = host.undeploy("b", PATIENCE).unwrap();
        assert_eq!(report.errors()[0].kind(), ErrorKind::Panicked);
        assert_eq!(report.to_string(), "b: stop: panicked: at stop");
        host.deploy(ComponentConfig::new("c", Bomb(world.part("c")))).unwrap();
        assert!(host.undeploy("c", PATIENCE).unwrap().is_clean());
        world.clock.settle();
        assert_eq!(world.told.take(), "+a -a +b -b +c -c dropped");
        host.deploy(world.well("d")).unwrap();
        assert_eq!(states(&host), "b:failed d:ready");
    });
}

#[test]
fn wrt_08_a_host_always_has_an_environment() {
    alone(|| {
        let host = Host::new(HostConfig::default()).unwrap();
        let sees = |cx: &Context| {
            assert_eq!(cx.name().as_str(), "a");
            let _ = (cx.env().observer().clone(), cx.env().clock().now());
            assert!(cx.remaining() > secs(20));
            Ok(())
        };
        host.register("a", component(sees, |_| Ok(()))).unwrap();
        host.start().unwrap();
        assert!(host.env().events_after(0, 10).events.len() == 3);
        for (config, text) in [
            (HostConfig::default().start_timeout(Duration::ZERO), "start_timeout: must be more than zero"),
            (HostConfig::default().parallel(0), "parallel: must be at least 1"),
        ] {
            assert_eq!(Host::new(config).unwrap_err().to_string(), text);
        }
    });
}

#[test]
fn wrt_18_requirements_decide_the_order_and_a_replaced_one_keeps_its_place() {
    scenario(|world| {
        let host = world.host();
        host.register_with(world.well("api").requires(["db", "queue"])).unwrap();
        host.register("db", world.part("db")).unwrap();
        host.register_with(world.well("queue").requires(["db"])).unwrap();
        host.start().unwrap();
        assert_eq!(names(&host), "db queue api");
        assert_eq!(world.told.take(), "+db +queue +api");
        host.replace(world.well("db"), secs(1)).unwrap();
        assert_eq!(world.told.take(), "-db +db");
        assert_eq!(names(&host), "db queue api");
        assert!(host.stop(PATIENCE).is_clean());
        assert_eq!(world.told.take(), "-api -queue -db");
    });
}

#[test]
fn circles_and_missing_names_are_refused_with_the_path() {
    scenario(|world| {
        let host = world.host();
        host.register_with(world.well("a").requires(["b"])).unwrap();
        let error = host.start().unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string()),
            (ErrorKind::NotFound, "a requires b, which is not registered".into())
        );
        let error = host.register_with(world.well("b").requires(["a"])).unwrap_err();
        assert_eq!(error.to_string(), "components require each other in a circle: a -> b -> a");
        host.register("b", world.part("b")).unwrap();
        host.start().unwrap();
        let error = host.deploy(world.well("c").requires(["gone"])).unwrap_err();
        assert_eq!(error.to_string(), "c requires gone, which is not registered");
        let error = host.replace(world.well("b").requires(["a"]), secs(1)).unwrap_err();
        assert_eq!(error.to_string(), "components require each other in a circle: a -> b -> a");
        assert_eq!((world.told.take(), names(&host)), ("+b +a".to_owned(), "b a".to_owned()));
    });
}

#[test]
fn wrt_19_every_component_says_where_it_is_since_when_and_why() {
    scenario(|world| {
        let host = world.host();
        let gate = Gate::default();
        let (theirs, clock) = (gate.clone(), world.clock.clone());
        let hang = move |_: &Context| {
            theirs.pass(&clock);
            Ok(())
        };
        host.register_with(world.part("a").start(hang).config()).unwrap();
        host.register_with(world.well("b").requires(["a"])).unwrap();
        let result = meanwhile(
            || host.start(),
            || {
                eventually("a to hang", || gate.waiting() == 1);
                world.clock.run_for(secs(2));
                let status = host.component("a").unwrap();
                assert_eq!((status.state, status.running_for), (ComponentState::Starting, Some(secs(2))));
                assert_eq!(status.thread.unwrap().name, "lk/call");
                let deadline = status.call.unwrap().deadline.unwrap();
                assert_eq!(deadline.as_micros() - status.since.as_micros(), 30_000_000);
                gate.open();
            },
        );
        result.unwrap();
        let status = host.component("a").unwrap();
        assert_eq!(
            (status.state, status.health, status.up, status.ready),
            (ComponentState::Ready, Health::Ready, true, true)
        );
        assert_eq!(status.since.to_string(), "1970-01-01T00:00:02.000Z");
        assert_eq!((status.runs, status.restarts), (1, 0));
        assert!(status.last_error.is_none() && status.thread.is_none());
        assert_eq!(host.component("b").unwrap().requires[0].as_str(), "a");
    });
}

#[test]
fn the_time_of_a_call_is_over_when_its_component_has_to_end() {
    scenario(|world| {
        let host = world.host();
        host.start().unwrap();
        let gate = Gate::default();
        let hangs = || {
            let (theirs, clock) = (gate.clone(), world.clock.clone());
            move |_: &Context| {
                theirs.pass(&clock);
                Ok(())
            }
        };
        // Of the clock, which begins at nought.
        let over = |status: ComponentStatus| status.call.unwrap().deadline.unwrap().as_micros() / 1_000_000;
        // A start that is to end has the time of the end.
        let deployed = host.begin_deploy(world.part("a").start(hangs()).config()).unwrap();
        eventually("a to hang", || gate.waiting() == 1);
        world.clock.run_for(secs(1));
        assert_eq!(over(host.component("a").unwrap()), 30);
        let undeployed = host.begin_undeploy("a", secs(2)).unwrap();
        assert_eq!(over(host.component("a").unwrap()), 3);
        world.clock.run_for(secs(3));
        assert_eq!(states(&host), "a:abandoned");
        assert_eq!(over(host.status().remove(0)), 3);
        drop((deployed, undeployed));
        gate.open();
        eventually("it to go", || host.status().is_empty());
        // That of one that replaces another is over with the time of its trial.
        let gate = Gate::default();
        let (theirs, clock) = (gate.clone(), world.clock.clone());
        let hangs = move |_: &Context| {
            theirs.pass(&clock);
            Ok(())
        };
        host.deploy(world.well("b")).unwrap();
        let replaced = host.begin_replace(world.part("b").start(hangs).config(), secs(5)).unwrap();
        eventually("b to hang", || gate.waiting() == 1);
        assert_eq!(over(host.component("b").unwrap()), 9);
        gate.open();
        eventually("b to be ready", || host.component("b").unwrap().ready);
        drop(replaced);
    });
}

/// A component whose reporter the test keeps.
#[derive(Clone, Default)]
struct Remote(Arc<Mutex<Vec<Reporter>>>);

impl Remote {
    fn keep(&self, says: Option<Health>) -> impl FnMut(&Context) -> Result<(), BoxError> + Send + 'static {
        let remote = self.clone();
        move |cx| {
            if let Some(health) = says {
                cx.reporter().set_health(health);
            }
            remote.0.lock().unwrap_or_else(|p| p.into_inner()).push(cx.reporter().clone());
            Ok(())
        }
    }

    /// The reporter of run `n`, from 0.
    fn run(&self, n: usize) -> Reporter {
        self.0.lock().unwrap_or_else(|p| p.into_inner())[n].clone()
    }
}

fn exact(policy: RestartPolicy) -> Restart {
    Restart { policy, jitter: 0.0, ..Restart::default() }
}

#[test]
fn what_is_required_has_to_be_ready_and_start_returns_before() {
    scenario(|world| {
        let host = world.host();
        let db = Remote::default();
        host.register_with(world.part("db").start(db.keep(Some(Health::Unknown))).config()).unwrap();
        host.register_with(world.well("api").requires(["db"])).unwrap();
        host.register("web", world.part("web")).unwrap();
        host.start().unwrap();
        assert_eq!(states(&host), "db:starting api:waiting web:ready");
        let api = host.component("api").unwrap();
        assert_eq!(api.waits_for[0].as_str(), "db");
        assert!(api.to_string().ends_with("waits for db"), "{api}");
        // Up, after its first verdict, and not ready.
        db.run(0).set_health(Health::Down);
        world.clock.settle();
        assert_eq!(states(&host), "db:down api:waiting web:ready");
        assert!(host.component("db").unwrap().up);
        db.run(0).set_health(Health::Degraded);
        world.clock.settle();
        assert_eq!(states(&host), "db:degraded api:ready web:ready");
        // It keeps running when that goes down again.
        db.run(0).set_health(Health::Down);
        world.clock.settle();
        assert_eq!(states(&host), "db:down api:ready web:ready");
        assert_eq!(world.told.take(), "+db +web +api");
    });
}

#[test]
fn an_edge_may_say_that_the_one_above_stops_when_the_one_below_goes_down() {
    scenario(|world| {
        let host = world.host();
        let db = Remote::default();
        host.register_with(world.part("db").start(db.keep(None)).config()).unwrap();
        host.register_with(world.well("api").requires([Requires::new("db").or_stop()])).unwrap();
        host.register_with(world.well("web").requires([Requires::new("api").or_stop()])).unwrap();
        host.register_with(world.well("log").requires(["api"])).unwrap();
        host.start().unwrap();
        assert_eq!(world.told.take(), "+db +api +web +log");
        db.run(0).set_health(Health::Down);
        world.clock.settle();
        assert_eq!(
            (world.told.take(), states(&host)),
            ("-web -api".into(), "db:down api:waiting web:waiting log:ready".into())
        );
        db.run(0).set_health(Health::Ready);
        world.clock.settle();
        assert_eq!(
            (world.told.take(), states(&host)),
            ("+api +web".into(), "db:ready api:ready web:ready log:ready".into())
        );
        // A restart of what is below is such a loss, too.
        db.run(0).fail("gone");
        world.clock.settle();
        assert_eq!(world.told.take(), "-web -api -db");
        world.clock.run_for(secs(1));
        world.clock.settle();
        assert_eq!(world.told.take(), "+db +api +web");
        // And so is taking it out; it may come back under its name.
        assert!(host.undeploy("db", PATIENCE).unwrap().is_clean());
        world.clock.settle();
        assert_eq!(
            (world.told.take(), states(&host)),
            ("-web -api -db".into(), "api:waiting web:waiting log:ready".into())
        );
        host.deploy(world.well("db")).unwrap();
        world.clock.settle();
        assert_eq!(world.told.take(), "+db +api +web");
    });
}

#[test]
fn waiting_has_an_end_when_asked() {
    scenario(|world| {
        let host = world.host();
        let db = Remote::default();
        host.register_with(world.part("db").start(db.keep(Some(Health::Unknown))).config()).unwrap();
        let api = world.well("api").requires(["db"]).wait_timeout(secs(5)).restart(RestartPolicy::Temporary);
        host.register_with(api).unwrap();
        host.start().unwrap();
        world.clock.run_for(secs(5));
        world.clock.settle();
        let status = host.component("api").unwrap();
        assert_eq!(status.state, ComponentState::Failed);
        assert_eq!(status.last_error.unwrap().to_string(), "waited 5s for db");
        assert_eq!(world.told.take(), "+db");
        let cron = world.well("cron").requires(["api"]).requires([Requires::new("db").timeout(secs(3))]);
        host.deploy(cron).unwrap();
        world.clock.run_for(secs(3));
        world.clock.settle();
        let error = host.component("cron").unwrap().last_error.unwrap();
        assert_eq!(error.to_string(), "waited 3s for db");
        let never = world.well("x").requires([Requires::new("db").timeout(Duration::ZERO)]);
        let error = host.deploy(never).unwrap_err();
        assert_eq!(error.to_string(), "x: requires db: timeout: must be more than zero");
    });
}

#[test]
fn a_component_that_fails_is_stopped_and_started_again_with_growing_delays() {
    scenario(|world| {
        let host = world.host();
        let a = Remote::default();
        let config = world.part("a").start(a.keep(None)).config();
        host.register_with(config.restart(exact(RestartPolicy::Transient))).unwrap();
        host.start().unwrap();
        for (n, delay) in [(0, 1), (1, 2), (2, 4)] {
            a.run(n).fail("lost the line");
            world.clock.settle();
            assert_eq!((world.told.take(), states(&host)), ("+a -a".to_owned(), "a:backing_off".to_owned()));
            world.clock.run_for(secs(delay) - Duration::from_nanos(1));
            assert_eq!(states(&host), "a:backing_off");
            world.clock.run_for(Duration::from_nanos(1));
            world.clock.settle();
            assert_eq!(states(&host), "a:ready");
        }
        let status = host.component("a").unwrap();
        assert_eq!((status.restarts, status.runs), (3, 4));
        assert_eq!(status.last_error.unwrap().to_string(), "lost the line");
        // Twice the last delay is a stable run.
        world.clock.run_for(secs(8));
        a.run(3).fail("lost the line");
        world.clock.run_for(secs(1));
        world.clock.settle();
        assert_eq!(states(&host), "a:ready");
        // An end that was meant is none to mend.
        a.run(4).done();
        world.clock.run_for(secs(60));
        assert_eq!(states(&host), "a:stopped");
        assert!(host.stop(PATIENCE).is_clean());
    });
}

#[test]
fn a_failed_restart_is_stopped_and_tried_again() {
    scenario(|world| {
        let host = world.host();
        let a = Remote::default();
        let mut starts = 0;
        let second_fails = move |_: &Context| {
            starts += 1;
            if starts == 2 { Err("boom".into()) } else { Ok(()) }
        };
        let config = world.part("a").start(a.keep(None)).start(second_fails).config();
        host.register_with(config.restart(exact(RestartPolicy::Permanent))).unwrap();
        host.start().unwrap();
        a.run(0).fail("gone");
        world.clock.run_for(secs(1));
        world.clock.settle();
        assert_eq!(
            (world.told.take(), states(&host)),
            ("+a -a +a -a".to_owned(), "a:backing_off".to_owned())
        );
        world.clock.run_for(secs(2));
        world.clock.settle();
        assert_eq!((world.told.take(), states(&host)), ("+a".to_owned(), "a:ready".to_owned()));
        // A restart that waits does not outlive a stop.
        a.run(2).fail("gone");
        world.clock.settle();
        assert!(host.stop(PATIENCE).is_clean());
        world.clock.run_for(secs(600));
        assert_eq!((world.told.take(), states(&host)), ("-a".to_owned(), "a:stopped".to_owned()));
    });
}

#[test]
fn a_used_up_budget_leaves_it_failed_or_stops_the_host() {
    for (when_exhausted, told, left) in [
        (WhenExhausted::GiveUp, "-a +a -a", "a:failed b:ready"),
        (WhenExhausted::StopHost, "-a +a -a -b", "a:failed b:stopped"),
    ] {
        scenario(|world| {
            let recorder = Recorder::default();
            let config = EnvConfig::default().clock(&world.clock).observer(recorder.observer());
            let env = Env::with(config).unwrap();
            let host = Host::new(HostConfig::default().env(&env)).unwrap();
            let a = Remote::default();
            let budget = RestartBudget { max_restarts: 1, window: secs(60) };
            let restart = Restart { budget, when_exhausted, ..exact(RestartPolicy::Permanent) };
            host.register_with(world.part("a").start(a.keep(None)).config().restart(restart)).unwrap();
            host.register("b", world.part("b")).unwrap();
            let cancel = CancelToken::new();
            let result = meanwhile(
                || host.run(&cancel),
                || {
                    eventually("b to be ready", || states(&host) == "a:ready b:ready");
                    assert_eq!(world.told.take(), "+a +b");
                    a.run(0).fail("gone");
                    world.clock.run_for(secs(1));
                    eventually("a to be back", || states(&host) == "a:ready b:ready");
                    a.run(1).fail("gone again");
                    eventually("all to be over", || states(&host) == left);
                    assert_eq!(world.told.take(), told);
                    cancel.cancel();
                },
            );
            let expected = match when_exhausted {
                WhenExhausted::GiveUp => "a: failed: gone again",
                WhenExhausted::StopHost => "a: gave up after 1 restarts within 1m0s: gone again",
            };
            assert_eq!(result.unwrap_err().to_string(), expected);
            world.clock.settle();
            let gave_up = |word: &&&str| **word == "component_gave_up";
            assert_eq!(recorder.words().iter().filter(gave_up).count(), 1);
        });
    }
}

#[test]
fn a_late_word_cannot_touch_the_next_run() {
    scenario(|world| {
        let host = world.host();
        let a = Remote::default();
        let config = world.part("a").start(a.keep(None)).config();
        host.register_with(config.restart(exact(RestartPolicy::Permanent))).unwrap();
        host.start().unwrap();
        a.run(0).fail("gone");
        world.clock.run_for(secs(1));
        world.clock.settle();
        a.run(0).fail("gone, says a thread of the first run");
        a.run(0).set_health(Health::Down);
        a.run(0).done();
        world.clock.settle();
        assert_eq!((world.told.take(), states(&host)), ("+a -a +a".to_owned(), "a:ready".to_owned()));
        host.replace(world.well("a"), secs(1)).unwrap();
        a.run(1).fail("gone, says one of the component before");
        world.clock.settle();
        assert_eq!(states(&host), "a:ready");
        let handle = host.handle();
        drop(host);
        a.run(1).fail("gone, says one when the host is gone");
        assert_eq!(handle.deploy(world.well("x")).unwrap_err().to_string(), "x: the host is gone");
        assert_eq!(handle.start().unwrap_err().kind(), ErrorKind::InvalidState);
    });
}

#[test]
fn a_replacement_that_does_not_come_up_gives_way_to_the_one_before() {
    scenario(|world| {
        let host = world.host();
        host.register("a", world.part("a")).unwrap();
        host.register("b", world.part("b")).unwrap();
        host.start().unwrap();
        world.told.take();
        let new = |name: &str| Part { name: name.to_owned(), ..world.part("new") };
        // Its start fails.
        let config = ComponentConfig::new("a", new("new").fails(1));
        assert_eq!(host.replace(config, secs(5)).unwrap_err().to_string(), "a: replace: boom");
        world.clock.settle();
        assert_eq!((world.told.take(), states(&host)), ("-a +new -new +a".into(), "a:ready b:ready".into()));
        // It starts, says nothing, and fails in its time.
        let mute = Remote::default();
        let config = ComponentConfig::new("a", new("new").start(mute.keep(Some(Health::Unknown))));
        let result = meanwhile(
            || host.replace(config, secs(5)),
            || {
                eventually("new to start", || states(&host) == "a:starting b:ready");
                world.clock.run_for(secs(4));
                mute.run(0).fail("gone");
            },
        );
        assert_eq!(result.unwrap_err().to_string(), "a: replace: gone");
        world.clock.settle();
        assert_eq!((world.told.take(), states(&host)), ("-a +new -new +a".into(), "a:ready b:ready".into()));
        // It starts and says nothing: nothing of it has failed.
        let mute = Remote::default();
        let config = ComponentConfig::new("a", new("new").start(mute.keep(Some(Health::Unknown))));
        let result = meanwhile(
            || host.replace(config, secs(5)),
            || {
                eventually("new to start", || states(&host) == "a:starting b:ready");
                world.clock.run_for(secs(5));
            },
        );
        result.unwrap();
        assert_eq!((world.told.take(), states(&host)), ("-a +new".into(), "a:starting b:ready".into()));
        mute.run(0).set_health(Health::Ready);
        world.clock.settle();
        assert_eq!(states(&host), "a:ready b:ready");
        // It is up with any verdict; it need not be ready.
        let down = Remote::default();
        let config = ComponentConfig::new("a", new("new").start(down.keep(Some(Health::Unknown))));
        let result = meanwhile(
            || host.replace(config, secs(5)),
            || {
                eventually("new to start", || states(&host) == "a:starting b:ready");
                down.run(0).set_health(Health::Down);
            },
        );
        result.unwrap();
        assert_eq!((world.told.take(), states(&host)), ("-new +new".into(), "a:down b:ready".into()));
        assert_eq!(names(&host), "a b");
    });
}

#[test]
fn a_replacement_stuck_in_its_start_gives_way_and_is_still_looked_after() {
    scenario(|world| {
        let host = world.host();
        host.register("a", world.part("a")).unwrap();
        host.start().unwrap();
        let gate = Gate::default();
        let (theirs, clock) = (gate.clone(), world.clock.clone());
        let hang = move |_: &Context| {
            theirs.pass(&clock);
            Ok(())
        };
        let new = Part { name: "new".to_owned(), ..world.part("new") }.start(hang);
        let config = ComponentConfig::new("a", new).start_timeout(secs(3));
        let result = meanwhile(
            || host.replace(config, secs(5)),
            || {
                eventually("new to hang", || gate.waiting() == 1);
                world.clock.run_for(secs(3));
            },
        );
        assert_eq!(result.unwrap_err().to_string(), "a: replace: still in start after 3s");
        world.clock.settle();
        assert_eq!(
            (world.told.take(), states(&host)),
            ("+a -a +new +a".into(), "a:ready a:abandoned".into())
        );
        assert_eq!(names(&host), "a");
        let report = host.stop(PATIENCE);
        assert_eq!(report.stragglers()[0].name, "a");
        gate.open();
        world.clock.settle();
        assert_eq!((world.told.take(), states(&host)), ("-a -new".into(), "a:stopped".into()));
        assert!(host.stop(PATIENCE).is_clean());
    });
}

#[test]
fn the_one_before_stays_when_it_does_not_stop_for_another() {
    scenario(|world| {
        let host = world.host();
        let mut left = 1;
        let stubborn = move |_: &Context| {
            if left == 0 {
                return Ok(());
            }
            left -= 1;
            Err("bang".into())
        };
        let config = world.part("a").stop(stubborn).config().restart(exact(RestartPolicy::Permanent));
        host.register_with(config).unwrap();
        host.start().unwrap();
        assert_eq!(host.replace(world.well("a"), secs(1)).unwrap_err().to_string(), "a: stop: bang");
        world.clock.run_for(secs(1));
        world.clock.settle();
        assert_eq!((world.told.take(), states(&host)), ("+a -a +a".into(), "a:ready".into()));
    });
}

#[test]
fn what_is_made_by_a_closure_is_made_afresh_for_each_start() {
    scenario(|world| {
        let host = world.host();
        let made = Arc::new(AtomicU32::new(0));
        let (count, told, a) = (made.clone(), world.told.clone(), Remote::default());
        let reporter = a.clone();
        let make = move || {
            let n = count.fetch_add(1, Ordering::SeqCst);
            let part =
                Part { name: format!("a{n}"), told: told.clone(), start: Vec::new(), stop: Vec::new() };
            Ok(part.start(reporter.keep(None)))
        };
        host.register_with(ComponentConfig::made_by("a", make).restart(exact(RestartPolicy::Permanent)))
            .unwrap();
        host.start().unwrap();
        a.run(0).fail("gone");
        world.clock.run_for(secs(1));
        world.clock.settle();
        assert_eq!(world.told.take(), "+a0 -a0 +a1");
        assert_eq!(made.load(Ordering::SeqCst), 2);
    });
}

#[test]
fn a_thousand_components_meet_one_budget() {
    scenario(|world| {
        let host = world.host();
        let gate = Gate::default();
        for i in 0..1000 {
            let mut part = world.part(&format!("c{i}"));
            if i % 100 == 50 {
                let (theirs, clock) = (gate.clone(), world.clock.clone());
                part = part.stop(move |_| {
                    theirs.pass(&clock);
                    Ok(())
                });
            }
            host.register_with(part.config().stop_timeout(secs(20))).unwrap();
        }
        host.start().unwrap();
        assert_eq!(world.told.take().split(' ').count(), 1000);
        let before = world.clock.now();
        let report = meanwhile(
            || host.stop(secs(30)),
            || {
                for n in 1..=10 {
                    eventually("the next to hang", || gate.waiting() == n);
                    while gate.waiting() == n
                        && host.status().iter().any(|s| s.state == ComponentState::Stopping)
                    {
                        world.clock.run_for(Duration::from_millis(10));
                    }
                }
            },
        );
        let took = world.clock.now().since(before);
        assert!(took <= secs(30), "{took:?}");
        assert_eq!(report.stragglers().len(), 10, "{report}");
        assert!(report.errors().is_empty(), "{report}");
        assert_eq!(world.told.take().split(' ').count(), 1000, "each was asked to stop");
        gate.open();
        world.clock.settle();
    });
}

#[test]
fn components_start_together_when_asked_and_in_the_order_of_what_they_require() {
    scenario(|world| {
        let host = Host::new(world.config().parallel(4)).unwrap();
        let gate = Gate::default();
        for name in ["a", "b", "c"] {
            let (theirs, clock) = (gate.clone(), world.clock.clone());
            let wait = move |_: &Context| {
                theirs.pass(&clock);
                Ok(())
            };
            host.register_with(world.part(name).start(wait).config()).unwrap();
        }
        host.register_with(world.well("d").requires(["a", "b", "c"])).unwrap();
        let result = meanwhile(
            || host.start(),
            || {
                eventually("three to start at once", || gate.waiting() == 3);
                assert_eq!(states(&host), "a:starting b:starting c:starting d:waiting");
                gate.open();
            },
        );
        result.unwrap();
        assert_eq!(states(&host), "a:ready b:ready c:ready d:ready");
        assert!(host.stop(PATIENCE).is_clean());
        assert!(world.told.take().contains("+d -d "));
    });
}

#[test]
fn a_dropped_host_stops_and_drops_its_components() {
    struct Mark(Arc<AtomicBool>);
    impl Drop for Mark {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    scenario(|world| {
        let dropped = Arc::new(AtomicBool::new(false));
        let mark = Mark(dropped.clone());
        let host = world.host();
        let keeps = move |_: &Context| {
            let _ = &mark;
            Ok(())
        };
        host.register("a", world.part("a").start(keeps)).unwrap();
        host.start().unwrap();
        let handle = host.handle();
        let events = handle.subscribe();
        drop(host);
        assert_eq!(world.told.take(), "+a -a");
        assert!(dropped.load(Ordering::SeqCst));
        assert_eq!(states(&handle), "");
        let told: Vec<_> = events.iter().map(|delivery| delivery.event.what.as_str()).collect();
        assert_eq!(told, ["component_stopping", "component_stopped"]);
    });
}

#[test]
fn a_call_that_outlives_its_host_is_told_to_end_on_a_clock_that_stands_still_too() {
    scenario(|world| {
        let woken = Arc::new(AtomicBool::new(false));
        let flag = woken.clone();
        let sleeps = move |cx: &Context| {
            let _ = cx.sleep(secs(3600));
            flag.store(cx.is_cancelled(), Ordering::SeqCst);
            Ok(())
        };
        let host = Host::new(world.config().shutdown_timeout(Duration::from_millis(50))).unwrap();
        host.register("a", world.part("a").stop(sleeps)).unwrap();
        host.start().unwrap();
        drop(host);
        eventually("the call to be told", || woken.load(Ordering::SeqCst));
    });
}

#[test]
fn a_dropped_host_waits_for_a_stuck_call_no_longer_than_its_shutdown_may_take() {
    scenario(|world| {
        let (gate, clock, real) = (Gate::default(), world.clock.clone(), Env::new().unwrap());
        let theirs = gate.clone();
        let hangs = move |_: &Context| {
            theirs.pass(&clock);
            Ok(())
        };
        let host = Host::new(world.config().shutdown_timeout(Duration::from_millis(50))).unwrap();
        host.register("a", world.part("a").stop(hangs)).unwrap();
        host.start().unwrap();
        let begun = real.clock().now();
        drop(host);
        assert!(real.clock().now().since(begun) < secs(3), "it is known to be stuck");
        gate.open();
    });
}

#[test]
fn a_host_that_is_dropped_by_its_own_component_ends_as_well() {
    scenario(|world| {
        let dropped = Arc::new(AtomicBool::new(false));
        struct Mark(Arc<AtomicBool>);
        impl Drop for Mark {
            fn drop(&mut self) {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        let host = world.host();
        let handle = host.handle();
        let (mark, place) = (Mark(dropped.clone()), Mutex::new(Some(host)));
        let real = Env::new().unwrap();
        let begun = real.clock().now();
        let ends = move |_: &Context| {
            let _ = &mark;
            drop(place.lock().unwrap().take());
            Ok(())
        };
        handle.register("a", world.part("a")).unwrap();
        handle.register("b", world.part("b").start(ends)).unwrap();
        assert_eq!(handle.start().unwrap_err().kind(), ErrorKind::Cancelled);
        eventually("all to be dropped", || dropped.load(Ordering::SeqCst));
        assert!(real.clock().now().since(begun) < secs(4), "it does not wait for itself");
        assert_eq!(world.told.take(), "+a +b -b -a");
        assert_eq!(handle.start().unwrap_err().kind(), ErrorKind::InvalidState);
    });
}

#[test]
fn no_lock_is_held_in_user_code() {
    scenario(|world| {
        let host = world.host();
        let handle = host.handle();
        let look = move |_: &Context| {
            let _ = (handle.status(), handle.components(), handle.subscribe());
            Ok(())
        };
        host.register("a", world.part("a").start(look.clone()).stop(look)).unwrap();
        host.start().unwrap();
        assert!(host.stop(PATIENCE).is_clean());
        let json: HashMap<String, serde_json::Value> =
            serde_json::from_value(serde_json::to_value(&host.status()[0]).unwrap()).unwrap();
        assert_eq!((json["name"].as_str(), json["state"].as_str()), (Some("a"), Some("stopped")));
    });
}

#[test]
fn a_watcher_is_up_with_its_first_verdict_and_ready_while_its_service_is() {
    scenario(|world| {
        let host = world.host();
        let script = Script::new([false, true, false]);
        let backoff = BackoffConfig { jitter: 0.0, ..BackoffConfig::default() };
        let config = WatcherConfig::new("mqtt", script).backoff(backoff);
        host.register("mqtt", Watcher::new(host.env(), config).unwrap()).unwrap();
        host.register_with(world.well("bridge").requires([Requires::new("mqtt").or_stop()])).unwrap();
        host.start().unwrap();
        world.clock.settle();
        assert_eq!(states(&host), "mqtt:down bridge:waiting");
        assert!(host.component("mqtt").unwrap().up);
        world.clock.run_for(secs(2));
        world.clock.settle();
        assert_eq!(states(&host), "mqtt:ready bridge:ready");
        world.clock.run_for(secs(60));
        world.clock.settle();
        assert_eq!(states(&host), "mqtt:down bridge:waiting");
        assert!(host.stop(PATIENCE).is_clean());
        assert_eq!(world.told.take(), "+bridge -bridge");
        assert_eq!(host.statuses()[0].kind, LoopKind::Component);
        host.start().unwrap();
        world.clock.settle();
        assert_eq!(states(&host), "mqtt:down bridge:waiting");
    });
}

#[test]
fn a_replacement_that_is_a_watcher_of_a_service_that_is_down_is_accepted() {
    scenario(|world| {
        let host = world.host();
        host.start().unwrap();
        let watcher = |ok| Watcher::new(host.env(), WatcherConfig::new("mqtt", Script::new([ok]))).unwrap();
        host.deploy(ComponentConfig::new("mqtt", watcher(true))).unwrap();
        host.replace(ComponentConfig::new("mqtt", watcher(false)), secs(30)).unwrap();
        world.clock.settle();
        assert_eq!(states(&host), "mqtt:down");
    });
}

#[test]
fn a_manager_of_watchers_is_as_ready_as_all_of_them() {
    scenario(|world| {
        let host = world.host();
        let services = Arc::new(WatchManager::new(host.env()));
        let backoff = || BackoffConfig { jitter: 0.0, ..BackoffConfig::default() };
        let watch = |name: &str, script| WatcherConfig::new(name, script).backoff(backoff());
        let gate = Gate::default();
        services.watch(watch("a", Script::new([true]))).unwrap();
        services.watch(WatcherConfig::new("b", gate.probe(&world.clock)).backoff(backoff())).unwrap();
        services.watch(watch("c", Script::new([false, true])).optional()).unwrap();
        host.register("services", services.component()).unwrap();
        host.register_with(world.well("api").requires(["services"])).unwrap();
        host.start().unwrap();
        world.clock.settle();
        assert_eq!(states(&host), "services:starting api:waiting");
        gate.open();
        world.clock.settle();
        assert_eq!(states(&host), "services:degraded api:ready");
        world.clock.run_for(secs(2));
        world.clock.settle();
        assert_eq!(states(&host), "services:ready api:ready");
        services.watch(watch("d", Script::new([false]))).unwrap();
        world.clock.settle();
        assert_eq!(states(&host), "services:down api:ready");
        assert!(services.unwatch("d", PATIENCE).unwrap().is_clean());
        world.clock.settle();
        assert_eq!(states(&host), "services:ready api:ready");
        // Again after a stop, with all that was watched.
        assert!(host.stop(PATIENCE).is_clean());
        assert_eq!(services.health(), Health::Down);
        host.start().unwrap();
        world.clock.settle();
        assert_eq!(states(&host), "services:ready api:ready");
    });
}

#[test]
fn a_thread_of_a_component_that_panics_fails_its_component() {
    scenario(|world| {
        let host = world.host();
        let a = Remote::default();
        let config = world.part("a").start(a.keep(None)).config();
        host.register_with(config.restart(exact(RestartPolicy::Transient))).unwrap();
        host.start().unwrap();
        a.run(0).run(|| -> Result<(), BoxError> { panic!("in its thread") });
        world.clock.run_for(secs(1));
        world.clock.settle();
        let status = host.component("a").unwrap();
        assert_eq!((status.state, status.restarts), (ComponentState::Ready, 1));
        let error = status.last_error.unwrap();
        assert_eq!(
            (error.kind(), error.to_string()),
            (ErrorKind::Panicked, "panicked: in its thread".into())
        );
        // Cancelled is an end like others where nobody told it to end.
        a.run(1).run(|| Err(loopkeeper::Error::new(ErrorKind::Cancelled)));
        world.clock.run_for(secs(2));
        world.clock.settle();
        assert_eq!((host.component("a").unwrap().restarts, states(&host)), (2, "a:ready".to_owned()));
        a.run(2).run(|| Ok::<(), BoxError>(()));
        world.clock.settle();
        assert_eq!((world.told.take(), states(&host)), ("+a -a +a -a +a -a".into(), "a:stopped".into()));
    });
}

#[test]
fn a_pending_restart_revives_nobody_who_was_taken_out_or_replaced() {
    scenario(|world| {
        let host = world.host();
        host.start().unwrap();
        for name in ["a", "b"] {
            let remote = Remote::default();
            let config = world.part(name).start(remote.keep(None)).config();
            host.deploy(config.restart(exact(RestartPolicy::Permanent))).unwrap();
            remote.run(0).fail("gone");
        }
        world.clock.settle();
        assert_eq!(states(&host), "a:backing_off b:backing_off");
        assert!(host.undeploy("a", PATIENCE).unwrap().is_clean());
        host.replace(world.well("b"), secs(5)).unwrap();
        // Nor does a handle that goes away stop anything.
        drop(host.handle());
        world.clock.run_for(secs(600));
        world.clock.settle();
        assert_eq!(states(&host), "b:ready");
        assert_eq!(world.told.take().matches("+b").count(), 2);
    });
}

#[test]
fn operations_may_be_begun_and_looked_after_later() {
    scenario(|world| {
        let host = world.host();
        host.start().unwrap();
        let gate = Gate::default();
        let (theirs, clock) = (gate.clone(), world.clock.clone());
        let slow = move |_: &Context| {
            theirs.pass(&clock);
            Ok(())
        };
        let pending = host.begin_deploy(world.part("a").start(slow).config()).unwrap();
        assert!(pending.try_wait().is_none() && pending.wait_timeout(Duration::ZERO).is_none());
        // One slow operation holds up no other.
        host.deploy(world.well("b")).unwrap();
        gate.open();
        pending.wait().unwrap();
        host.begin_replace(world.well("a"), secs(5)).unwrap().wait().unwrap();
        assert!(host.begin_deploy(world.well("a")).is_err());
        let pending = host.begin_undeploy("a", PATIENCE).unwrap();
        world.clock.settle();
        // As often as it is asked for.
        assert!(pending.try_wait().unwrap().is_ok() && pending.try_wait().unwrap().is_ok());
        assert!(pending.wait_timeout(PATIENCE).unwrap().is_ok());
        pending.wait().unwrap();
        assert_eq!(states(&host), "b:ready");
    });
}

#[test]
fn the_events_of_a_name_are_numbered_anew_once_nothing_of_it_is_left() {
    scenario(|world| {
        let host = world.host();
        host.start().unwrap();
        let events = host.subscribe();
        let numbers = || {
            let events = std::iter::from_fn(|| events.try_recv()).map(|delivery| delivery.event);
            events.map(|event| event.n).collect::<Vec<_>>()
        };
        for _ in 0..2 {
            host.deploy(world.well("a")).unwrap();
            assert!(host.undeploy("a", PATIENCE).unwrap().is_clean());
            assert_eq!(numbers(), (1..=6).collect::<Vec<_>>());
        }
        // One that is stuck keeps its own.
        let (gate, clock) = (Gate::default(), world.clock.clone());
        let theirs = gate.clone();
        let hang = move |_: &Context| {
            theirs.pass(&clock);
            Ok(())
        };
        host.deploy(world.part("a").stop(hang).config()).unwrap();
        let pending = host.begin_undeploy("a", secs(5)).unwrap();
        eventually("a to hang", || gate.waiting() == 1);
        world.clock.run_for(secs(5));
        assert!(pending.wait().is_err());
        host.deploy(world.well("a")).unwrap();
        assert!(host.undeploy("a", PATIENCE).unwrap().is_clean());
        gate.open();
        world.clock.settle();
        eventually("nothing of a to be left", || host.status().is_empty());
        let told = numbers();
        assert_eq!(told, (1..=told.len() as u64).collect::<Vec<_>>());
        host.deploy(world.well("a")).unwrap();
        assert_eq!(numbers()[0], 1);
    });
}

#[test]
fn what_is_refused_is_dropped_without_a_lock() {
    struct Looks(HostHandle, Told);
    impl Component for Looks {
        fn start(&mut self, _: &Context) -> Result<(), BoxError> {
            Ok(())
        }
        fn stop(&mut self, _: &Context) -> Result<(), BoxError> {
            Ok(())
        }
    }
    impl Drop for Looks {
        fn drop(&mut self) {
            self.1.push(states(&self.0));
        }
    }
    scenario(|world| {
        let host = world.host();
        let looks = || Looks(host.handle(), world.told.clone());
        host.register("a", world.part("a")).unwrap();
        assert!(host.register("a", looks()).is_err());
        host.start().unwrap();
        assert!(host.register("b", looks()).is_err());
        assert!(host.deploy(ComponentConfig::new("a", looks())).is_err());
        let needs = ComponentConfig::new("a", looks()).requires(["gone"]);
        assert!(host.replace(needs, secs(1)).is_err());
        host.deploy(ComponentConfig::new("c", looks())).unwrap();
        assert!(host.undeploy("c", PATIENCE).unwrap().is_clean());
        world.clock.settle();
        assert_eq!(world.told.take(), "a:registered +a a:ready a:ready a:ready a:ready");
    });
}

#[test]
fn the_whole_is_as_ready_as_its_critical_components() {
    scenario(|world| {
        let host = world.host();
        let (a, b) = (Remote::default(), Remote::default());
        let config = world.part("a").start(a.keep(None)).config().restart(exact(RestartPolicy::Transient));
        host.register_with(config).unwrap();
        let config = world.part("b").start(b.keep(None)).config().restart(RestartPolicy::Temporary);
        host.register_with(config.optional()).unwrap();
        let health = || aggregate(&host.statuses());
        assert_eq!(health(), Health::Down);
        host.start().unwrap();
        assert_eq!(health(), Health::Ready);
        b.run(0).fail("gone");
        world.clock.settle();
        assert_eq!(health(), Health::Degraded);
        a.run(0).fail("gone");
        world.clock.settle();
        assert_eq!(health(), Health::Down);
        world.clock.run_for(secs(1));
        a.run(1).done();
        world.clock.settle();
        assert_eq!((states(&host), health()), ("a:stopped b:failed".into(), Health::Degraded));
        assert!(host.stop(PATIENCE).is_clean());
        assert_eq!(health(), Health::Down);
    });
}

#[test]
fn one_very_component_is_undeployed_and_never_what_took_its_place() {
    scenario(|world| {
        let host = world.host();
        host.start().unwrap();
        host.deploy(world.well("a")).unwrap();
        let first = host.component("a").unwrap().id;
        host.replace(world.well("a"), PATIENCE).unwrap();
        let second = host.component("a").unwrap().id;
        assert_ne!(first, second);
        assert!(host.component_by_id(first).is_none());
        assert_eq!(host.undeploy_by_id(first, PATIENCE).unwrap_err().kind(), ErrorKind::Stale);
        assert_eq!(host.component_by_id(second).unwrap().name.as_str(), "a");
        assert!(host.undeploy_by_id(second, PATIENCE).unwrap().is_clean());
        assert_eq!(host.undeploy_by_id(second, PATIENCE).unwrap_err().kind(), ErrorKind::Stale);
        assert_eq!(host.undeploy_by_id(u64::MAX, PATIENCE).unwrap_err().kind(), ErrorKind::Stale);
    });
}
