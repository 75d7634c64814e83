//! The host as the place where a deployer puts components.

use super::descriptor::{OnDown, Requirement};
use super::target::{Deployment, Operation, Reply, Target};
use crate::error::{Error, ErrorClass, ErrorKind};
use crate::host::config::{ComponentConfig, Requires};
use crate::host::handle::HostHandle;
use crate::host::runner::{Asked, Listener};

/// A replacement has the host's start timeout to come up or to fail, a component
/// that no file describes any more the host's stop timeout to stop.
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
    ComponentConfig::boxed(name.as_str(), component).requires(&requires)
}

impl From<&Requirement> for Requires {
    fn from(Requirement { name, on_down, timeout }: &Requirement) -> Self {
        let requires = match on_down {
            OnDown::Keep => Self::from(name),
            OnDown::Stop => Self::from(name).or_stop(),
        };
        match timeout {
            Some(timeout) => requires.timeout(*timeout),
            None => requires,
        }
    }
}
