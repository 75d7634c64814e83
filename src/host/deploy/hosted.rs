//! The host as the place where a deployer puts components.

use std::time::Duration;

use super::descriptor::{OnDown, Requirement};
use super::target::{Deployment, Operation, Reply, Target};
use crate::error::{Error, ErrorClass, ErrorKind};
use crate::host::config::{ComponentConfig, Requires};
use crate::host::handle::HostHandle;
use crate::host::runner::{Asked, Listener};

/// A replacement has the host's start timeout to come up, a component that no
/// file describes any more the host's stop timeout to stop.
///
/// Of several requirements with a timeout the longest holds for all; one
/// without is waited for without end.
impl Target for HostHandle {
    fn begin(&self, operation: Operation, reply: Reply) {
        let name = reply.name().clone();
        let (asked, begun) = match operation {
            Operation::Start(deployment) => (Asked::Start, self.begin_deploy(settings(deployment))),
            Operation::Replace(deployment) => {
                let limit = self.config.start_timeout;
                (Asked::Replace, self.begin_replace(settings(deployment), limit))
            }
            Operation::Stop(name) => {
                (Asked::Stop, self.begin_undeploy(name.as_str(), self.config.stop_timeout))
            }
        };
        let listener =
            Listener { name, asked, refused: false, tell: Box::new(move |outcome| reply.tell(outcome)) };
        match begun {
            Ok(pending) => pending.tell(listener),
            // A circle with what others require as yet.
            Err(error)
                if error.kind() == ErrorKind::InvalidArgument && error.class() == ErrorClass::Retryable =>
            {
                let error = Error::new(ErrorKind::InvalidState).context(error.report().to_string());
                self.shared.act(|state, _, _| state.refuse(listener, error));
            }
            Err(error) => self.shared.act(|state, _, _| state.refuse(listener, error)),
        }
    }
}

fn settings(deployment: Deployment) -> ComponentConfig {
    let Deployment { name, requires, component, .. } = deployment;
    let requirements = requires.iter().map(|required| {
        let requires = Requires::from(&required.name);
        match required.on_down {
            OnDown::Keep => requires,
            OnDown::Stop => requires.or_stop(),
        }
    });
    let config = ComponentConfig::boxed(name.as_str(), component).requires(requirements);
    match wait_timeout(&requires) {
        Some(timeout) => config.wait_timeout(timeout),
        None => config,
    }
}

/// The longest of all; without end is longer than any.
fn wait_timeout(requires: &[Requirement]) -> Option<Duration> {
    let timeouts: Option<Vec<Duration>> = requires.iter().map(|required| required.timeout).collect();
    timeouts?.into_iter().max()
}
