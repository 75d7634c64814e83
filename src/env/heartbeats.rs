//! Who beats, who waits for it, and what is kept of both.

use std::sync::Arc;
use std::time::Duration;

use super::Env;
use super::pulse::Pulse;
use crate::clock::Tick;
use crate::error::{Error, ErrorKind, Result};
use crate::event::LoopKind;
use crate::name::Name;
use crate::status::LoopStatus;
use crate::text::line;

/// Fewer heartbeats than this are kept, whoever waits for them.
const MANY_HEARTBEATS: usize = 64;
/// A watcher says what it waits for when it is first asked, at the beginning of
/// that call: one whose first call goes on for longer waits for none.
const FIRST_WORD: Duration = Duration::from_secs(1);
/// So many of those who wait are named to one who means another.
const NAMED_HEARTBEATS: usize = 8;

impl Env {
    /// Says that `name` is alive: what the [`heartbeat`](crate::probe::heartbeat)
    /// probe of the watcher of this name waits for. Takes no longer
    /// than a lock; a watcher that found it silent probes at once.
    ///
    /// # Errors
    ///
    /// `NotFound` when no loop has the name, or the one that has it waits for
    /// no heartbeat; the text says which ones there are. A watcher that has not
    /// been asked yet may wait for one, until its first call goes on for 1 s.
    pub fn heartbeat(&self, name: &str) -> Result<()> {
        self.beat(name, None)
    }

    /// Says that `name` is down, and why: its watcher probes and turns down at
    /// once, whatever its grace and thresholds, and stays down until the next
    /// [`heartbeat`](Self::heartbeat). The reason is shown as one line, cut at
    /// 900 bytes.
    ///
    /// # Errors
    ///
    /// As [`heartbeat`](Self::heartbeat).
    pub fn heartbeat_down(&self, name: &str, reason: &str) -> Result<()> {
        self.beat(name, Some(line(reason, 900).into()))
    }

    fn beat(&self, name: &str, down: Option<Arc<str>>) -> Result<()> {
        let now = self.0.clock.now();
        let known = self.0.heartbeats.lock().get_mut(name).and_then(|heartbeat| {
            // One that nobody asks any more is looked for among the loops.
            (heartbeat.asker.strong_count() > 0).then(|| heartbeat.beat(now, &down))
        });
        let is_awaited = match known {
            Some(is_awaited) => is_awaited,
            None => {
                let listed = self.listed();
                let named = || listed.iter().filter(|listed| listed.name().as_str() == name);
                let may_wait = |status: &LoopStatus| {
                    let is_new = status.last_check.is_none()
                        && status.running_for.is_none_or(|time| time < FIRST_WORD);
                    status.kind == LoopKind::Watcher && is_new
                };
                let wall = self.stamp();
                let known = named().find(|listed| may_wait(&listed.status_at(now, wall).1));
                let mut heartbeats = self.0.heartbeats.lock();
                let is_asked =
                    heartbeats.get(name).is_some_and(|heartbeat| heartbeat.asker.strong_count() > 0);
                let Some(known) = known.or_else(|| named().next().filter(|_| is_asked)) else {
                    if !is_asked {
                        // Who takes this name later begins afresh.
                        heartbeats.remove(name);
                    }
                    drop(heartbeats);
                    let found = named().next().map(|listed| listed.status_at(now, wall).1.kind);
                    return Err(found.map_or_else(|| self.unknown(name), |kind| self.unawaited(name, kind)));
                };
                // Of those who are gone nothing is kept.
                heartbeats.retain(|name, heartbeat| {
                    heartbeat.asker.strong_count() > 0 || listed.iter().any(|listed| listed.name() == name)
                });
                heartbeats.get_or_default(known.name().clone()).beat(now, &down)
            }
        };
        if is_awaited {
            let loops = self.listed();
            loops.iter().filter(|listed| listed.name().as_str() == name).for_each(|listed| {
                listed.trigger();
            });
        }
        Ok(())
    }

    /// What is known of the heartbeats under a name; notes that the next is
    /// awaited where the last is longer ago than `grace`, or says down. Kept
    /// while there is the `asker`.
    pub(crate) fn pulse(&self, name: &Name, grace: Duration, asker: &Arc<()>) -> Pulse {
        let now = self.0.clock.now();
        let mut heartbeats = self.0.heartbeats.lock();
        if heartbeats.len() >= MANY_HEARTBEATS && !heartbeats.contains_key(name) {
            // Of those who are gone nothing is kept for long.
            heartbeats.retain(|_, heartbeat| {
                let is_recent = |last: Tick| now.since(last) < Duration::from_secs(3600);
                heartbeat.asker.strong_count() > 0 || heartbeat.last.is_some_and(is_recent)
            });
        }
        let heartbeat = heartbeats.get_or_default(name.clone());
        if heartbeat.asker.as_ptr() != Arc::as_ptr(asker) {
            heartbeat.asker = Arc::downgrade(asker);
        }
        let pulse = match (&heartbeat.down, heartbeat.last) {
            (Some(reason), _) => Pulse::Down(reason.clone()),
            (None, Some(last)) => Pulse::Last(now.since(last)),
            (None, None) => Pulse::None,
        };
        heartbeat.is_awaited = !matches!(pulse, Pulse::Last(age) if age <= grace);
        pulse
    }

    /// Under which names somebody waits for heartbeats, in their order.
    pub(crate) fn awaited_heartbeats(&self) -> Vec<Name> {
        let heartbeats = self.0.heartbeats.lock();
        let awaited = heartbeats.iter().filter(|(_, heartbeat)| heartbeat.asker.strong_count() > 0);
        awaited.map(|(name, _)| name.clone()).collect()
    }

    fn unawaited(&self, name: &str, kind: LoopKind) -> Error {
        let awaited = self.awaited_heartbeats();
        let names: Vec<&str> = awaited.iter().take(NAMED_HEARTBEATS).map(Name::as_str).collect();
        let others = match awaited.len() - names.len() {
            _ if names.is_empty() => "none does".to_owned(),
            0 => format!("these do: {}", names.join(", ")),
            n => format!("these do: {} and {n} more", names.join(", ")),
        };
        let text = format!("{name} ({kind}) waits for no heartbeat; {others}");
        Error::new(ErrorKind::NotFound).context(text)
    }
}
