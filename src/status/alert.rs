//! What alerts say of themselves, loop by loop.

use std::time::Duration;

use serde::Serialize;

use crate::duration::as_seconds;
use crate::name::Name;
use crate::stamp::Stamp;

/// What became of the alerts of one loop.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct AlertStatus {
    /// Whether a down was told of which no ready was yet.
    pub told: bool,
    /// How many alerts wait to be sent.
    pub pending: usize,
    /// How many were sent.
    pub sent: u64,
    /// When the last was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_sent: Option<Stamp>,
    /// How many tries have failed.
    pub failures: u64,
    /// Why the last try failed; absent after one that did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// In how long the next try is made.
    #[serde(serialize_with = "as_seconds", skip_serializing_if = "Option::is_none")]
    pub retry_in: Option<Duration>,
    /// How many were given up or had no room.
    pub lost: u64,
    /// Behind whom it is down, so that nothing is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suppressed_by: Option<Name>,
}
