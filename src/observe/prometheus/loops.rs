//! How late loops are: looked up when somebody asks, since it grows by itself.

use super::{Collect, Samples};
use crate::env::Env;
use crate::observe::Attr;
use crate::status::LoopStatus;

/// Adds `loop_overdue_seconds` of each loop.
pub(crate) fn collect_overdue(loops: &[LoopStatus], samples: &mut Samples) {
    for LoopStatus { name, overdue_for, .. } in loops {
        let seconds = overdue_for.unwrap_or_default().as_secs_f64();
        samples.gauge("loop_overdue_seconds", &[Attr::new("loop", name.as_str())], seconds);
    }
}

/// How late each loop of the environment is that runs.
impl Collect for Env {
    fn collect(&self, samples: &mut Samples) {
        collect_overdue(&self.statuses(), samples);
    }
}
