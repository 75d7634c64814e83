//! Recovery: a monitor and an executor against a service in memory, on a
//! manual clock.
#![allow(clippy::unwrap_used, reason = "test code: a failed set-up is a failed test")]

#[path = "recovery/executor.rs"]
mod executor;
#[path = "recovery/fixture.rs"]
mod fixture;
#[path = "recovery/monitor.rs"]
mod monitor;
