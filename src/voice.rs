//! How a source of events is heard: by its subscribers, by who keeps many of
//! its kind, by callbacks and in the environment's log of events.

use std::sync::Arc;
use std::time::Instant;

use crate::dispatch::{Handler, MailCounts, Mailbox};
use crate::env::Env;
use crate::error::Result;
use crate::event::{Event, EventKind, LoopKind};
use crate::name::Name;
use crate::stop::StopReport;
use crate::subscription::{Hub, Subscription};

/// Tells the events of one source.
pub(crate) struct Voice {
    env: Env,
    name: Name,
    kind: LoopKind,
    hub: Hub,
    outer_hub: Option<Arc<Hub>>,
    mailbox: Option<Arc<Mailbox>>,
}

impl Voice {
    pub(crate) fn new(
        env: &Env,
        name: Name,
        kind: LoopKind,
        handler: Option<Handler>,
        outer_hub: Option<Arc<Hub>>,
    ) -> Result<Self> {
        let mailbox = match handler {
            Some(handler) => Some(env.dispatcher().mailbox(handler)?),
            None => None,
        };
        Ok(Self { env: env.clone(), name, kind, hub: Hub::default(), outer_hub, mailbox })
    }

    /// Gives an event the next number after `n` and tells it. Under the lock of
    /// the source, so that all hear in one order; none of it waits.
    pub(crate) fn tell(&self, n: &mut u64, what: EventKind) {
        *n += 1;
        let (n, at) = (*n, self.env.stamp());
        let (source, kind) = (self.name.clone(), self.kind);
        let event = self.env.events().append(Event { seq: 0, n, at, source, kind, what });
        self.hub.send(&event);
        if let Some(hub) = &self.outer_hub {
            hub.send(&event);
        }
        if let Some(mailbox) = &self.mailbox {
            mailbox.send(event);
        }
    }

    pub(crate) fn subscribe(&self, capacity: usize) -> Subscription {
        self.hub.subscribe(capacity)
    }

    /// Begins a run.
    pub(crate) fn open(&self) {
        if let Some(mailbox) = &self.mailbox {
            mailbox.reopen();
        }
    }

    /// Ends the subscriptions: who subscribes from now on hears of the next
    /// run.
    pub(crate) fn hang_up(&self) {
        self.hub.close();
    }

    /// Waits for the callbacks until `deadline`, and says in the report what
    /// was not waited for.
    pub(crate) fn close(&self, deadline: Instant, report: &mut StopReport) {
        if let Some(mailbox) = &self.mailbox {
            let closed = mailbox.close(deadline);
            closed.tell(self.name.as_str(), self.env.clock().now(), report);
        }
    }

    /// Whether the caller is in one of its callbacks.
    #[cfg(feature = "capi")]
    pub(crate) fn is_own_call(&self) -> bool {
        self.mailbox.as_ref().is_some_and(|mailbox| mailbox.is_own_call())
    }

    /// Whether no callback runs or is due.
    pub(crate) fn is_idle(&self) -> bool {
        self.mailbox.as_ref().is_none_or(|mailbox| mailbox.is_idle())
    }

    pub(crate) fn lost(&self) -> MailCounts {
        self.mailbox.as_ref().map(|mailbox| mailbox.counts()).unwrap_or_default()
    }
}
