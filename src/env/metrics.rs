//! How late loops are: looked up when somebody asks, since it grows by itself.

use super::Env;
use crate::observe::Attr;
use crate::observe::prometheus::{Collect, Samples};

/// How late each loop of the environment is that runs.
impl Collect for Env {
    fn collect(&self, samples: &mut Samples) {
        self.overdue(|name, overdue| {
            let label = [Attr::new("loop", name)];
            samples.gauge("loop_overdue_seconds", &label, overdue.as_secs_f64());
        });
    }
}
