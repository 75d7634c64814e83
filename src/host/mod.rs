//! Holding the parts of a program: a [`Host`] starts them in order, keeps
//! them running, and stops them in reverse.
//!
//! A part is a [`Component`](crate::Component). The host calls `start` and
//! `stop` on threads of its own, one call per component at a time, each with a
//! deadline; it holds no lock meanwhile, so a component may call the host. A
//! call that hangs loses its thread and is named; the others are served by
//! another. What the host decides is pure code, in `supervisor`.

mod config;
pub mod deploy;
mod graph;
mod handle;
#[cfg(feature = "prometheus")]
mod metrics;
mod pending;
mod restart;
mod runner;
mod status;
mod supervisor;

pub use config::{ComponentConfig, HostConfig, Requires, component};
pub use handle::{Host, HostHandle};
pub use pending::Pending;
pub use restart::{Restart, RestartBudget, RestartPolicy, WhenExhausted};
pub use status::{ComponentState, ComponentStatus};
