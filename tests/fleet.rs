//! The fleet and its passes, the same for every store. `cct` names what the
//! behaviour must be, `wct` a weakness of earlier designs that must not come
//! back.

#![allow(clippy::unwrap_used, reason = "test code: what is missing is a failed test")]

mod support;

#[path = "fleet/conformance.rs"]
mod conformance;
#[path = "fleet/fixture.rs"]
mod fixture;
#[cfg(feature = "postgres")]
#[path = "fleet/postgres.rs"]
mod postgres;
#[path = "fleet/random.rs"]
mod random;
#[cfg(feature = "sqlite")]
#[path = "fleet/sqlite.rs"]
mod sqlite;
