//! What a recovery tells: events, callbacks, measurements.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Recovered;
use super::policy::RecoveryPolicy;
use crate::dispatch::Handler;
use crate::error::Error;
use crate::event::{Event, RecoveryStep};
use crate::name::Name;
use crate::observe::{Attr, Counter, Histogram, Observer};
use crate::primitive::Mutex;
use crate::thread::caught;

/// A call of a policy's that goes with an event.
pub(super) enum Callback {
    Recovered { policy: Arc<RecoveryPolicy>, recovered: Box<Recovered> },
    Failed { policy: Arc<RecoveryPolicy>, run: Arc<str>, error: Error },
}

impl Callback {
    fn call(&self) {
        match self {
            Self::Recovered { policy, recovered } => {
                if let Some(call) = &policy.on_recovery {
                    call(recovered);
                }
            }
            Self::Failed { policy, run, error } => {
                if let Some(call) = &policy.on_failure {
                    call(run, error);
                }
            }
        }
    }
}

/// The calls that wait for their events to come to the dispatcher, by the
/// numbers of these. They hold objects of the user's, which an event cannot:
/// events are dropped under locks.
#[derive(Default)]
pub(super) struct Callbacks {
    waiting: Mutex<VecDeque<(u64, Callback)>>,
}

impl Callbacks {
    pub(super) fn put(&self, n: u64, callback: Callback) {
        self.waiting.lock().push_back((n, callback));
    }

    /// The call of event number `n`; those before it, whose events were lost,
    /// come along to be dropped.
    fn take(&self, n: u64) -> (Option<Callback>, Vec<(u64, Callback)>) {
        let mut waiting = self.waiting.lock();
        let end = waiting.iter().position(|(at, _)| *at > n).unwrap_or(waiting.len());
        let mut taken: Vec<_> = waiting.drain(..end).collect();
        drop(waiting);
        let is_own = taken.last().is_some_and(|(at, _)| *at == n);
        let own = if is_own { taken.pop().map(|(_, callback)| callback) } else { None };
        (own, taken)
    }

    /// All of them, to be dropped by the caller.
    #[must_use = "dropped with no lock held"]
    pub(super) fn take_all(&self) -> VecDeque<(u64, Callback)> {
        std::mem::take(&mut *self.waiting.lock())
    }

    /// What the dispatcher calls for each event.
    pub(super) fn handler(self: &Arc<Self>, observer: &Observer) -> Handler {
        let (callbacks, on_event) = (self.clone(), observer.on_event.clone());
        Box::new(move |event: &Event| {
            if let Some(on_event) = &on_event {
                crate::observe::contain(|| on_event(event));
            }
            let (own, lost) = callbacks.take(event.n);
            // A panic of one must not take the others along.
            let _ = caught(|| drop(lost));
            if let Some(callback) = own {
                callback.call();
            }
        })
    }
}

/// What is measured. Resolved once; every series exists from then on.
pub(super) struct Instruments {
    events: Vec<Counter>,
    pub(super) attempts: Histogram,
}

impl Instruments {
    pub(super) fn new(observer: &Observer, name: &Name) -> Self {
        let counter = |step: RecoveryStep| {
            observer.counter("recovery_events_total", &[Attr::new("event", step.as_str())])
        };
        let label = [Attr::new("recovery", name)];
        Self {
            events: RecoveryStep::ALL.map(counter).into(),
            attempts: observer.histogram("recovery_attempt_duration_seconds", &label),
        }
    }

    pub(super) fn count(&self, step: RecoveryStep) {
        let at = RecoveryStep::ALL.iter().position(|one| *one == step);
        if let Some(counter) = at.and_then(|at| self.events.get(at)) {
            counter.add(1);
        }
    }
}
