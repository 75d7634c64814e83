//! Not part of the API, for the benches: what no public call does alone.

use std::sync::Arc;
use std::time::Duration;

use crate::cancel::CancelToken;
use crate::clock::Tick;
use crate::component::Context;
use crate::env::Env;
use crate::error::{BoxError, Result};
use crate::looper::{Work, deadline_lead, guarded_call};
use crate::name::Name;
use crate::probe::Probe;
use crate::slot::Slot;
use crate::watchdog::Guarded;

/// Makes `calls` calls of a probe, one after another on this thread, each
/// guarded as a loop guards it, its wait left out; says how many were in time.
///
/// # Errors
///
/// None; the name it uses is a good one.
pub fn guarded_calls(env: &Env, calls: u32, probe: Box<dyn Probe>) -> Result<u32> {
    let timeout = Duration::from_secs(10);
    let name = Name::new("guarded-calls")?;
    let clock = env.clock();
    let (inbox, _seat) = clock.join(name.as_str());
    let guard = env.watchdog().guard(Arc::new(Nobody(Slot::new())));
    let mut cx = Context::new(env.clone(), name, CancelToken::new(), inbox, Arc::default());
    let mut work = Probing(probe);
    let mut in_time = 0;
    for generation in 1..=u64::from(calls) {
        let now = clock.now();
        cx.set_deadline(now + timeout.saturating_sub(deadline_lead(timeout)));
        let (result, kept) = guarded_call(&guard, generation, now + timeout, &mut work, &cx);
        let took = clock.now().since(now);
        in_time += u32::from(kept && result.is_ok() && took < timeout);
    }
    Ok(in_time)
}

struct Probing(Box<dyn Probe>);

impl Work<()> for Probing {
    fn call(&mut self, cx: &Context) -> std::result::Result<(), BoxError> {
        self.0.probe(cx)
    }
}

/// Nothing here is ever late.
struct Nobody(Slot);

impl Guarded for Nobody {
    fn slot(&self) -> &Slot {
        &self.0
    }

    fn overdue(&self, _: u64, _: Tick) -> Tick {
        Tick::NEVER
    }

    fn starved(&self, _: Tick) -> Tick {
        Tick::NEVER
    }
}
