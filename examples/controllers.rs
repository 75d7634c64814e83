//! Controllers that keep a program's state as it should be: retries, a panic,
//! a hang, a dry run, and a clean stop.
//!
//!     cargo run --example controllers
//!
//! The state here is a table of leases in memory that the example breaks
//! itself; in a program it is a database, a folder, another service.
#![allow(clippy::print_stdout, reason = "an example speaks to its reader")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use loopkeeper::controller::{BackoffConfig, Outcome, Steps};
use loopkeeper::{
    BoxError, Context, Controller, ControllerConfig, ControllerManager, ControllerManagerConfig, Error,
    EventKind,
};

const PATIENCE: Duration = Duration::from_secs(5);

/// Who holds which lease, and for how many more looks.
type Leases = Arc<Mutex<BTreeMap<&'static str, u32>>>;

/// Takes leases away from those who do not renew them.
struct Expiry(Leases);

impl Controller for Expiry {
    fn reconcile(&mut self, cx: &Context) -> Result<Outcome, BoxError> {
        let mut leases = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let expired: Vec<_> = leases.iter().filter(|(_, left)| **left == 0).map(|(name, _)| *name).collect();
        if !cx.is_dry_run() {
            leases.retain(|_, left| *left > 0);
            leases.values_mut().for_each(|left| *left -= 1);
        }
        Ok(Outcome::processed(expired.len()))
    }
}

fn main() -> Result<(), BoxError> {
    let leases: Leases = Arc::new(Mutex::new([("db", 0), ("mail", 1), ("web", 2)].into()));

    let manager = ControllerManager::new(ControllerManagerConfig::default())?;
    let events = manager.subscribe();
    let often = |name: &str| {
        let backoff = BackoffConfig { initial_delay: Duration::from_millis(20), ..BackoffConfig::default() };
        ControllerConfig::new(name).interval(Duration::from_millis(300)).backoff(backoff)
    };

    // What it would do is seen before it is allowed to.
    manager.register(often("rehearsal").dry_run(), Expiry(leases.clone()))?;
    manager.register(often("leases"), Expiry(leases.clone()))?;

    // Panics once; the others do not notice, and it is tried again.
    let mut attempts = 0;
    manager.register(often("clumsy"), move |_: &Context| {
        attempts += 1;
        assert!(attempts > 1, "attempt {attempts} is not good enough");
        Ok(Outcome::processed(attempts))
    })?;

    // Hangs, and hears when it is told to end.
    let hangs = |cx: &Context| {
        cx.cancel_token().wait();
        Ok(Outcome::default())
    };
    manager.register(often("slow").deadline(Duration::from_millis(100)), hangs)?;

    // Of three steps one fails, for a reason that trying again does not help.
    manager.register(often("steps"), |_: &Context| {
        let mut steps = Steps::default();
        steps.run("requeue", || Ok::<_, BoxError>(2));
        steps.run("expire", || Err::<usize, _>(Error::terminal("no such table")));
        steps.run("release", || Ok::<_, BoxError>(1));
        steps.finish()
    })?;

    manager.start()?;
    let mut held = leases.lock().unwrap_or_else(PoisonError::into_inner).len();
    let (mut recovered, mut hung) = (false, false);
    while held > 0 || !recovered || !hung {
        let delivery = events.recv_timeout(PATIENCE).ok_or("nothing happens any more")?;
        println!("{}", delivery.event);
        match (&delivery.event.what, delivery.event.source.as_str()) {
            (EventKind::Ready { .. }, "clumsy") => recovered = true,
            (EventKind::TimedOut { .. }, "slow") => hung = true,
            (EventKind::Reconciled { .. }, "leases") => {
                held = leases.lock().unwrap_or_else(PoisonError::into_inner).len();
            }
            _ => {}
        }
    }

    manager.pause("steps")?;
    println!();
    for status in manager.status().values() {
        println!("{status}");
    }
    let items = |name: &str| manager.status()[name].controller.as_ref().map_or(0, |status| status.items);
    if items("leases") != 3 {
        return Err(format!("three leases were to expire, {} have", items("leases")).into());
    }

    let report = manager.stop(PATIENCE);
    println!("\nstopped: {report}");
    if report.is_clean() { Ok(()) } else { Err(report.to_string().into()) }
}
