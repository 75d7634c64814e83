//! What a call does that has not returned.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::seconds_of;
use crate::clock::{Tick, wall_at};
use crate::stamp::Stamp;
use crate::thread::Activity;

/// A call that has not returned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CallStatus {
    /// What it says that it is doing, by
    /// [`Context::step`](crate::Context::step), such as `looking up
    /// db.internal`; `in its call` when it has not said.
    pub phase: Arc<str>,
    /// For how long it has been doing that.
    #[serde(rename = "for", serialize_with = "seconds_of")]
    pub phase_for: Duration,
    /// When its time is over, or was; absent where it may take for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Stamp>,
    /// Whether it has passed its deadline.
    pub stuck: bool,
    /// What the system says of the thread of a stuck call; absent where it
    /// does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activity: Option<Activity>,
}

impl CallStatus {
    /// What a call does that does not say.
    pub(crate) const SILENT: &'static str = "in its call";

    /// Its deadline on the wall's clock, from a pair of both clocks.
    pub(crate) fn deadline_at(deadline: Tick, now: Tick, wall: Stamp) -> Option<Stamp> {
        (deadline != Tick::NEVER).then(|| wall_at(deadline, now, wall))
    }
}

impl fmt::Display for CallStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} for {:.1?}", self.phase, self.phase_for)?;
        self.activity.as_ref().map_or(Ok(()), |activity| write!(f, ", {activity}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::thread::ActivityKind;

    #[test]
    fn json_has_the_words_that_people_see() {
        let call = CallStatus {
            phase: "looking up db".into(),
            phase_for: Duration::from_millis(1500),
            deadline: CallStatus::deadline_at(Tick::ZERO, Tick::ZERO, Stamp::from_micros(0)),
            stuck: true,
            activity: Some(Activity { is: ActivityKind::Blocked, cpu_percent: Some(0), waits_in: None }),
        };
        assert_eq!(
            serde_json::to_string(&call).unwrap(),
            r#"{"phase":"looking up db","for":1.5,"deadline":"1970-01-01T00:00:00.000Z","stuck":true,"activity":{"is":"blocked","cpu_percent":0}}"#
        );
        assert_eq!(CallStatus::deadline_at(Tick::NEVER, Tick::ZERO, Stamp::from_micros(0)), None);
        assert_eq!(call.to_string(), "looking up db for 1.5s, blocked");
    }
}
