//! One alert: what is told, and how it is brought.

use serde::Serialize;

use super::{Action, Way};
use crate::component::Context;
use crate::error::{Error, Result};
use crate::event::{Health, LoopKind};
use crate::name::Name;
use crate::probe::Probe as _;
use crate::stamp::Stamp;
use crate::text::line;

/// How many wait at most.
pub(super) const CAPACITY: usize = 256;
/// How much of an error is told, in bytes.
const MAX_ERROR: usize = 4096;

/// What is told, in the order in which it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Body {
    /// The same for each try of one alert.
    pub(super) id: String,
    pub(super) name: Name,
    pub(super) kind: LoopKind,
    pub(super) state: Health,
    pub(super) previous: Health,
    pub(super) since: Stamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
    pub(super) boot: String,
    /// The number of the event among those of its source.
    pub(super) n: u64,
    pub(super) seq: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) reminder: u32,
}

/// A loop: there may be others of its name.
pub(crate) type Who = (LoopKind, Name);

impl Body {
    pub(super) fn who(&self) -> Who {
        (self.kind, self.name.clone())
    }

    pub(super) fn is_about(&self, (kind, name): &Who) -> bool {
        self.kind == *kind && self.name == *name
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the form serde calls")]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// The text of an error as it is told.
pub(super) fn told(error: &str) -> String {
    line(error, MAX_ERROR)
}

/// Brings an alert; blocks for as long as its action may take.
pub(super) fn bring(cx: &Context, action: &Action, body: &Body) -> Result<()> {
    match &action.way {
        Way::Exec(probe) => {
            let json = serde_json::to_vec(body).unwrap_or_default();
            let mut probe = probe
                .clone()
                .env("LOOPKEEPER_NAME", body.name.as_str())
                .env("LOOPKEEPER_STATE", body.state.as_str())
                .env("LOOPKEEPER_ERROR", body.error.as_deref().unwrap_or_default())
                .input(json);
            probe.probe(cx).map_err(|error| Error::from_user(&*error))
        }
        #[cfg(feature = "http-client")]
        Way::Webhook(webhook) => {
            let client = crate::rest::Client::new(webhook.client.clone())?;
            let value = serde_json::to_value(body).unwrap_or_default();
            let request = crate::rest::Request::post(webhook.path.as_str(), value)
                .idempotency_key(body.id.as_str())
                .timeout(action.timeout);
            client.send(cx, &request)?.expect_success().map(drop)
        }
    }
}
