//! What is known of a checker's items, from one look to the next.

use super::report::{Found, MAX_ITEMS};
use crate::clock::{Tick, wall_at};
use crate::event::Health;
use crate::map::Map;
use crate::stamp::Stamp;
use crate::status::{ItemStatus, Tally, severity};

/// How many items that are not ready a status has.
const SHOWN: usize = 50;

/// The items of one checker, by name.
#[derive(Debug, Default)]
pub(super) struct Items {
    items: Map<String, Item>,
    /// The number of the last look.
    look: u64,
    /// How many of that look were too many.
    pub(super) left_out: u64,
}

#[derive(Debug)]
struct Item {
    health: Health,
    reason: Option<String>,
    since: Tick,
    seen: Tick,
    look: u64,
}

impl Item {
    /// Its state, which counts no more where it was seen too long ago.
    fn health_after(&self, fresh_since: Option<Tick>) -> Health {
        if fresh_since.is_some_and(|moment| self.seen <= moment) { Health::Unknown } else { self.health }
    }
}

impl Items {
    /// Takes in what one look found. After a whole one there are no others;
    /// one that failed leaves the others as they are.
    #[inline]
    pub(super) fn merge(&mut self, now: Tick, found: Found, is_whole: bool) {
        self.left_out = found.more.total();
        if found.items.is_empty() && (self.items.is_empty() || !is_whole) {
            return;
        }
        self.merge_some(now, found, is_whole);
    }

    fn merge_some(&mut self, now: Tick, found: Found, is_whole: bool) {
        self.look += 1;
        let look = self.look;
        for (name, state) in found.items {
            let (health, reason) = (state.health, state.reason);
            match self.items.get_mut(&name) {
                Some(item) => {
                    let since = if item.health == health { item.since } else { now };
                    *item = Item { health, reason, since, seen: now, look };
                }
                None => _ = self.items.insert(name, Item { health, reason, since: now, seen: now, look }),
            }
        }
        // Names that change from look to look must not fill the memory.
        if is_whole || self.items.len() > MAX_ITEMS {
            self.items.retain(|_, item| item.look == look);
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self { look: self.look, ..Self::default() };
    }

    /// How many are in which state, those that are not ready, and how many
    /// more of these there are. What was last seen at `fresh_since` or before
    /// is unknown.
    pub(super) fn view(
        &self,
        now: Tick,
        wall: Stamp,
        fresh_since: Option<Tick>,
    ) -> (Tally, Vec<ItemStatus>, u64) {
        let mut tally = Tally::default();
        let mut not_ready: Vec<(Health, &String, &Item)> = Vec::new();
        for (name, item) in self.items.iter() {
            let health = item.health_after(fresh_since);
            tally.add(health);
            if health != Health::Ready {
                not_ready.push((health, name, item));
            }
        }
        // Stable: by name where equally bad.
        crate::order::sort_by(&mut not_ready, |a, b| severity(a.0).cmp(&severity(b.0)));
        let more = not_ready.len().saturating_sub(SHOWN);
        let shown = not_ready.into_iter().take(SHOWN).map(|(health, name, item)| ItemStatus {
            name: name.clone(),
            health,
            reason: item.reason.clone(),
            since: wall_at(item.since, now, wall),
            age: now.since(item.seen),
        });
        (tally, shown.collect(), more as u64)
    }
}

/// What is wrong with the items of one look, in a line: the worst, and how
/// many others.
pub(super) fn problem(found: &Found) -> Option<String> {
    let not_ready = || found.items.iter().filter(|(_, item)| item.health != Health::Ready);
    let Some((name, worst)) = not_ready().min_by_key(|(_, item)| severity(item.health)) else {
        let bad = found.more.total() - found.more.ready;
        return (bad > 0).then(|| format!("not ready are {bad} of the items that are too many to be kept"));
    };
    let mut text = format!("{name} is {}", worst.health);
    if let Some(reason) = &worst.reason {
        text.push_str(": ");
        text.push_str(reason);
    }
    let all = tally(found);
    let more = all.total() - all.ready - 1;
    if more > 0 {
        text.push_str(&format!(" (and {more} more of {})", all.total()));
    }
    Some(text)
}

pub(super) fn tally(found: &Found) -> Tally {
    let mut tally = found.more;
    found.items.values().for_each(|item| tally.add(item.health));
    tally
}
