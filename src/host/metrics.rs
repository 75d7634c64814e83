//! What a host and a deployer say when metrics are written out: looked up
//! then, so that it is never behind and goes away with what it is about.

use std::collections::HashSet;

use super::deploy::Deployer;
use super::handle::HostHandle;
use crate::name::Name;
use crate::observe::Attr;
use crate::observe::prometheus::{Collect, Samples};

/// The host's components, and how late each loop of its environment is. Of components that share
/// a name, because one is stuck that was taken out, the one in place is told.
impl Collect for HostHandle {
    fn collect(&self, samples: &mut Samples) {
        self.env().collect(samples);
        let components = self.status();
        let mut seen: HashSet<&Name> = HashSet::new();
        for component in components.iter().filter(|component| seen.insert(&component.name)) {
            let label = Attr::new("component", &component.name);
            let own = std::slice::from_ref(&label);
            samples.gauge("component_ready", own, if component.ready { 1.0 } else { 0.0 });
            samples.counter("component_restarts_total", own, component.restarts);
            samples.counter("component_starts_total", own, component.runs);
            let state = [label, Attr::new("state", component.state.as_str())];
            samples.gauge("component_state", &state, 1.0);
        }
    }
}

/// How many components run by its descriptors, and how many files are refused.
impl Collect for Deployer {
    #[allow(clippy::cast_precision_loss, reason = "exact up to 2^53")]
    fn collect(&self, samples: &mut Samples) {
        let (board, label) = (self.board(), [Attr::new("deployer", self.name())]);
        samples.gauge("deployer_components", &label, board.running.len() as f64);
        samples.gauge("deployer_rejected_files", &label, board.rejected.len() as f64);
        samples.gauge("deployer_under_way", &label, board.under_way.len() as f64);
    }
}
