//! Where components are put: the host, or a double of it in tests.

use std::fmt;

use super::descriptor::Requirement;
use crate::component::Component;
use crate::error::{Error, ErrorKind};
use crate::name::Name;

/// Where a deployer puts components.
///
/// # Contract
///
/// [`begin`](Self::begin) is called on the deployer's thread and must not
/// wait: what takes time goes on elsewhere. For each operation the [`Reply`]
/// is answered once, from any thread, when it is over; a reply that is
/// dropped counts as failed. A deployer begins no second operation for a name
/// before the first is answered, so operations for one name never overlap;
/// those for different names do.
pub trait Target: Send + Sync {
    /// Begins an operation.
    fn begin(&self, operation: Operation, reply: Reply);
}

/// What a target is to do.
#[derive(Debug)]
#[non_exhaustive]
pub enum Operation {
    /// Start a component under a name that has none. When it fails nothing is
    /// left of it.
    Start(Deployment),
    /// Start a component in place of the one that has its name. When the new
    /// one fails the old one goes on, or is started again. Also asked for after
    /// a stop that did not end well: where nothing is left of the old one, the
    /// new one is simply started.
    Replace(Deployment),
    /// Stop the component of this name and forget it.
    Stop(Name),
}

/// A component that is to run.
#[non_exhaustive]
pub struct Deployment {
    /// The name that it runs under.
    pub name: Name,
    /// The type that its descriptor names.
    pub kind: String,
    /// What must be ready before it starts.
    pub requires: Vec<Requirement>,
    /// The component, not started.
    pub component: Box<dyn Component>,
}

/// How an operation ended.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Outcome {
    /// What was to run does, or what was to stop has.
    Done,
    /// It did not. A start: nothing runs under the name. A stop: it may still
    /// run, and is stopped again later. A replacement: the old component was
    /// not touched and goes on.
    ///
    /// An error of the class `Terminal` rejects the content until it changes;
    /// `Cancelled` is no failure. Three kinds say that others stand in the way,
    /// and do not count against the content either: `NotFound`, something
    /// required is not there yet; `Duplicate`, somebody else has the name;
    /// `InvalidState`, it cannot be at present. They are tried again within a
    /// minute, and as soon as what is required was started, replaced or
    /// stopped. Other errors are tried three times in all.
    Failed(Error),
    /// The new component did not come up, and the old one is back.
    RolledBack(Error),
    /// The new component did not come up, and the old one is not back yet:
    /// the target tries to start it again and again.
    RollingBack(Error),
}

/// Where the outcome of an operation is told, once.
#[must_use = "a reply that is dropped tells that the operation failed"]
pub struct Reply {
    name: Name,
    tell: Option<Box<dyn FnOnce(Outcome) + Send>>,
}

impl Reply {
    pub(super) fn new(name: Name, tell: impl FnOnce(Outcome) + Send + 'static) -> Self {
        Self { name, tell: Some(Box::new(tell)) }
    }

    /// The name that the operation is about.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Tells how the operation ended. Does not wait.
    pub fn tell(mut self, outcome: Outcome) {
        if let Some(tell) = self.tell.take() {
            tell(outcome);
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if let Some(tell) = self.tell.take() {
            let context = format!("{}: nobody answered", self.name);
            tell(Outcome::Failed(Error::new(ErrorKind::Component).context(context)));
        }
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").field("name", &self.name).finish_non_exhaustive()
    }
}

impl fmt::Debug for Deployment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deployment")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .field("requires", &self.requires)
            .finish_non_exhaustive()
    }
}
