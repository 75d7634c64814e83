//! A folder of descriptors becomes running components.
//!
//! One JSON file describes one component. A [`Registry`] knows the types that
//! a file may name and reads their settings strictly. A [`Deployer`] looks at
//! the folder again and again, plans what is to change, builds what is new
//! before it touches what runs, and hands the rest to a [`Target`]: the host,
//! which starts, replaces and stops, and answers when it is done.
//!
//! The promise: a change that fails never reduces what was running. A file
//! that is wrong, half written or unreadable leaves alone what came of it
//! earlier; a rename disturbs nothing, because components are matched by
//! name; and what cannot be started is told, tried again within bounds and
//! then left until it changes.

mod candidate;
mod change;
mod deployer;
mod descriptor;
mod fingerprint;
mod hosted;
mod ledger;
mod machine;
#[cfg(test)]
mod model;
mod plan;
mod registry;
mod requires;
mod scan;
mod target;

pub use change::Planned;
pub use deployer::{Deployer, DeployerConfig};
#[cfg(feature = "capi")]
pub(crate) use descriptor::read_requires;
pub use descriptor::{Descriptor, OnDown, Requirement, load_files, load_folder};
pub use ledger::{Board, Rejection};
pub use registry::{Blueprint, Registry, TypeInfo};
pub use requires::check_requirements;
pub use target::{Deployment, Operation, Outcome, Reply, Target};
