//! A service of training runs, and what was told of their recovery.

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use loopkeeper::event::{RecoveryEvent, RecoveryStep};
use loopkeeper::recovery::{
    Checkpoint, Executor, ExecutorConfig, Metadata, RecoveryMonitor, RecoveryMonitorConfig, RecoveryPolicy,
    Remedy, Restore, Restored, RunSource, TrainingRun,
};
use loopkeeper::testing::Gate;
use loopkeeper::{BoxError, Context, Env, Error, ErrorKind, EventKind, ManualClock, Stamp};

pub(crate) const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// What the service does with one call, instead of what it should.
#[derive(Clone)]
pub(crate) enum Fault {
    Refuse,
    Terminal,
    Gone,
    /// Refuses, and asks to be left alone for so long.
    Busy(Duration),
    Panic,
    /// Waits at the gate, then goes on as usual.
    Hang(Gate),
}

impl Fault {
    fn strike(self, world: &World) -> Result<(), BoxError> {
        match self {
            Self::Refuse => Err("refused".into()),
            Self::Terminal => Err(Box::new(Error::terminal("not allowed"))),
            Self::Gone => Err(Box::new(Error::new(ErrorKind::NotFound).context("no such checkpoint"))),
            Self::Busy(wait) => {
                Err(Box::new(Error::new(ErrorKind::Component).with_retry_after(wait).context("busy")))
            }
            Self::Panic => panic!("boom"),
            Self::Hang(gate) => {
                gate.pass(&world.clock);
                Ok(())
            }
        }
    }
}

#[derive(Default)]
pub(crate) struct Service {
    pub(crate) runs: BTreeMap<String, TrainingRun>,
    pub(crate) checkpoints: BTreeMap<String, Vec<Checkpoint>>,
    pub(crate) fetches: BTreeMap<String, usize>,
    pub(crate) listings: usize,
    listing_faults: VecDeque<Fault>,
    pub(crate) restores: Vec<Restore>,
    pub(crate) discarded: Vec<String>,
    pub(crate) retired: Vec<String>,
    fetch_faults: BTreeMap<String, VecDeque<Fault>>,
    restore_faults: VecDeque<Fault>,
    retire_faults: VecDeque<Fault>,
    made: usize,
    /// Restored runs are corrupted as long as this is not zero.
    pub(crate) bad_restores: usize,
    in_place: bool,
}

/// A service, an environment on a manual clock, and all that is told in it.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) clock: ManualClock,
    pub(crate) env: Env,
    pub(crate) service: Arc<Mutex<Service>>,

    pub(crate) polling: Arc<AtomicUsize>,
    pub(crate) most_polling: Arc<AtomicUsize>,
}

impl World {
    pub(crate) fn new() -> Self {
        let clock = ManualClock::default();
        Self {
            env: Env::manual(&clock).unwrap(),
            clock,
            service: Arc::default(),

            polling: Arc::default(),
            most_polling: Arc::default(),
        }
    }

    pub(crate) fn with<T>(&self, change: impl FnOnce(&mut Service) -> T) -> T {
        change(&mut self.service.lock().unwrap())
    }

    /// A run that is well, with checkpoints, the newest first.
    pub(crate) fn add(&self, run: &str, checkpoints: &[&str]) {
        let all: Vec<_> = checkpoints.iter().enumerate().map(|(i, path)| checkpoint(path, i)).collect();
        self.with(|service| {
            let mut state = TrainingRun::new(run);
            state.last_checkpoint = all.first().cloned();
            service.runs.insert(run.to_owned(), state);
            service.checkpoints.insert(run.to_owned(), all);
        });
    }

    pub(crate) fn corrupt(&self, run: &str, corrupted: bool) {
        self.with(|service| service.runs.get_mut(run).unwrap().corrupted = corrupted);
    }

    pub(crate) fn restored_in_place(&self) {
        self.with(|service| service.in_place = true);
    }

    pub(crate) fn fetch_fault(&self, run: &str, fault: Fault) {
        self.with(|service| service.fetch_faults.entry(run.to_owned()).or_default().push_back(fault));
    }

    pub(crate) fn restore_faults(&self, faults: impl IntoIterator<Item = Fault>) {
        self.with(|service| service.restore_faults.extend(faults));
    }

    pub(crate) fn listing_fault(&self, fault: Fault) {
        self.with(|service| service.listing_faults.push_back(fault));
    }

    pub(crate) fn retire_fault(&self, fault: Fault) {
        self.with(|service| service.retire_faults.push_back(fault));
    }

    pub(crate) fn fetches(&self, run: &str) -> usize {
        self.with(|service| service.fetches.get(run).copied().unwrap_or(0))
    }

    /// The paths of the checkpoints that restores were asked for with.
    pub(crate) fn paths(&self) -> Vec<String> {
        self.with(|service| service.restores.iter().map(|request| request.checkpoint.path.clone()).collect())
    }

    pub(crate) fn executor(&self, config: ExecutorConfig) -> Executor {
        Executor::start_in(&self.env, config, self.clone(), self.clone()).unwrap()
    }

    pub(crate) fn monitor(&self, policy: RecoveryPolicy) -> RecoveryMonitor {
        self.monitor_with(RecoveryMonitorConfig::new("m", policy))
    }

    pub(crate) fn monitor_with(&self, config: RecoveryMonitorConfig) -> RecoveryMonitor {
        RecoveryMonitor::start_in(&self.env, config, self.clone(), self.clone()).unwrap()
    }

    /// What was told of recoveries, in order.
    pub(crate) fn told(&self) -> Vec<Arc<RecoveryEvent>> {
        let events = self.env.events_after(0, 4096).events.into_iter();
        events
            .filter_map(|event| match &event.what {
                EventKind::Recovery(event) => Some(event.clone()),
                _ => None,
            })
            .collect()
    }

    /// The steps of one run's recovery.
    pub(crate) fn steps(&self, run: &str) -> Vec<&'static str> {
        self.told().iter().filter(|event| &*event.run_id == run).map(|event| event.step.as_str()).collect()
    }

    pub(crate) fn count(&self, step: RecoveryStep) -> usize {
        self.told().iter().filter(|event| event.step == step).count()
    }

    /// The last event of one step.
    pub(crate) fn last(&self, step: RecoveryStep) -> Arc<RecoveryEvent> {
        self.told().iter().rfind(|event| event.step == step).unwrap().clone()
    }
}

pub(crate) fn checkpoint(path: &str, age: usize) -> Checkpoint {
    let mut checkpoint = Checkpoint::new(path);
    checkpoint.time = Some(Stamp::from_micros(1_000_000 - age as u64));
    checkpoint
}

impl RunSource for World {
    fn fetch(&self, _: &Context, run: &str) -> Result<TrainingRun, BoxError> {
        let now = self.polling.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_polling.fetch_max(now, Ordering::SeqCst);
        let fault = self.with(|service| {
            *service.fetches.entry(run.to_owned()).or_default() += 1;
            service.fetch_faults.get_mut(run).and_then(VecDeque::pop_front)
        });
        let struck = fault.map_or(Ok(()), |fault| fault.strike(self));
        self.polling.fetch_sub(1, Ordering::SeqCst);
        struck?;
        self.with(|service| service.runs.get(run).cloned()).ok_or_else(|| {
            let error = Error::new(ErrorKind::NotFound).context(format!("no run {run}"));
            Box::new(error) as BoxError
        })
    }

    fn checkpoints(&self, _: &Context, run: &str) -> Result<Vec<Checkpoint>, BoxError> {
        let fault = self.with(|service| {
            service.listings += 1;
            service.listing_faults.pop_front()
        });
        fault.map_or(Ok(()), |fault| fault.strike(self))?;
        Ok(self.with(|service| service.checkpoints.get(run).cloned().unwrap_or_default()))
    }
}

impl Remedy for World {
    fn restore(&self, _: &Context, request: &Restore) -> Result<Restored, BoxError> {
        let fault = self.with(|service| {
            service.restores.push(request.clone());
            service.restore_faults.pop_front()
        });
        if let Some(fault) = fault {
            fault.strike(self)?;
        }
        Ok(self.with(|service| {
            service.made += 1;
            let run = if service.in_place { request.run.clone() } else { format!("new-{}", service.made) };
            let corrupted = service.bad_restores > 0;
            service.bad_restores = service.bad_restores.saturating_sub(1);
            service.runs.insert(run.clone(), TrainingRun::new(run.clone()).corrupted(corrupted));
            Restored::new(run.clone()).handle(format!("handle of {run}"))
        }))
    }

    fn discard(&self, _: &Context, restored: &Restored) -> Result<(), BoxError> {
        self.with(|service| service.discarded.push(restored.training_run_id.clone()));
        Ok(())
    }

    fn retire(&self, _: &Context, old: &str) -> Result<(), BoxError> {
        let fault = self.with(|service| service.retire_faults.pop_front());
        if let Some(fault) = fault {
            fault.strike(self)?;
        }
        self.with(|service| service.retired.push(old.to_owned()));
        Ok(())
    }
}

/// A policy without jitter that is switched on.
pub(crate) fn policy() -> RecoveryPolicy {
    RecoveryPolicy::default().enabled(true).jitter(0.0)
}

/// What the callbacks of a policy were called with.
#[derive(Clone, Default)]
pub(crate) struct Calls(pub(crate) Arc<Mutex<Vec<String>>>);

impl Calls {
    pub(crate) fn on(&self, policy: RecoveryPolicy) -> RecoveryPolicy {
        let (recovered, failed) = (self.0.clone(), self.0.clone());
        policy
            .on_recovery(move |event| {
                let (old, new) = (text(event.old.as_deref()), text(event.restored.handle.as_deref()));
                let text = format!(
                    "{} {old} -> {} {new} from {}",
                    event.run, event.restored.training_run_id, event.checkpoint.path
                );
                recovered.lock().unwrap().push(text);
            })
            .on_failure(move |run, error| failed.lock().unwrap().push(format!("{run} failed: {error}")))
    }

    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

fn text(handle: Option<&(dyn Any + Send + Sync)>) -> String {
    handle.map_or("none".to_owned(), |handle| format!("({})", handle.downcast_ref::<String>().unwrap()))
}

pub(crate) fn plain() -> Metadata {
    Metadata::default()
}
