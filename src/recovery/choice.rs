//! Which checkpoint an attempt is made from.

use std::cmp::Ordering;

use super::Checkpoint;
use super::incident::Incident;
use super::policy::{CheckpointStrategy, Prefer, RecoveryPolicy};
use crate::stamp::Stamp;

impl Incident {
    /// The checkpoint that the next attempt is made from.
    pub(super) fn choose(
        &self,
        policy: &RecoveryPolicy,
        known: Vec<Checkpoint>,
        last: Option<&str>,
        now: Stamp,
    ) -> Option<Checkpoint> {
        choose(self, policy, known, last, now)
    }
}

/// The one to try next: in the order of the strategy the first that is not
/// worn out by failures, else the one that has failed least. `last` is the
/// path of the one that the source calls the last.
fn choose(
    incident: &Incident,
    policy: &RecoveryPolicy,
    mut known: Vec<Checkpoint>,
    last: Option<&str>,
    now: Stamp,
) -> Option<Checkpoint> {
    if let CheckpointStrategy::Specific(path) = &policy.checkpoint_strategy {
        let named = known.into_iter().find(|checkpoint| checkpoint.path == *path);
        return Some(named.unwrap_or_else(|| Checkpoint::new(path)));
    }
    known.retain(|checkpoint| {
        let is_expired = checkpoint.expires_at.is_some_and(|expires_at| expires_at <= now);
        !is_expired && !incident.rejected.contains(&checkpoint.path)
    });
    sort(&mut known, &policy.checkpoint_strategy, last);
    let failures = |checkpoint: &Checkpoint| incident.failures.get(&checkpoint.path).copied().unwrap_or(0);
    // Of several that failed as often the first is taken.
    known.into_iter().min_by_key(|checkpoint| {
        let failures = failures(checkpoint);
        if failures < policy.fallback_after { 0 } else { failures }
    })
}

/// Puts the better one first; what a strategy has no use for is left out.
fn sort(known: &mut Vec<Checkpoint>, strategy: &CheckpointStrategy, last: Option<&str>) {
    let newest_first = |a: &Checkpoint, b: &Checkpoint| b.time.cmp(&a.time);
    let CheckpointStrategy::Best { metric, prefer } = strategy else {
        crate::order::sort_by(known, newest_first);
        // Where times are not told, what is the last one is.
        let is_last = |one: &Checkpoint| one.time.is_none() && last == Some(&*one.path);
        if let Some(at) = known.iter().position(is_last) {
            known[..=at].rotate_right(1);
        }
        return;
    };
    let value = |checkpoint: &Checkpoint| checkpoint.metrics.get(metric).copied();
    known.retain(|checkpoint| value(checkpoint).is_some_and(f64::is_finite));
    crate::order::sort_by(known, |a, b| {
        let order = value(a).partial_cmp(&value(b)).unwrap_or(Ordering::Equal);
        let order = if *prefer == Prefer::Higher { order.reverse() } else { order };
        order.then_with(|| newest_first(a, b))
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Stamp {
        Stamp::from_micros(seconds * 1_000_000)
    }

    fn known() -> Vec<Checkpoint> {
        let one = |path: &str, time: Option<u64>, loss: Option<f64>| Checkpoint {
            time: time.map(at),
            metrics: loss.map(|loss| ("loss".to_owned(), loss)).into_iter().collect(),
            ..Checkpoint::new(path)
        };
        vec![
            one("undated", None, Some(f64::NAN)),
            one("old", Some(1), Some(0.5)),
            Checkpoint { expires_at: Some(at(90)), ..one("expired", Some(9), Some(0.0)) },
            one("new", Some(3), Some(0.7)),
            one("middle", Some(2), None),
        ]
    }

    fn check(
        strategy: CheckpointStrategy,
        failed: &[(&str, u32)],
        rejected: &[&str],
        expected: Option<&str>,
    ) {
        let policy = RecoveryPolicy::default().checkpoint_strategy(strategy);
        let mut incident = Incident::new("i".to_owned(), "run", at(0));
        incident.failures = failed.iter().map(|(path, n)| ((*path).to_owned(), *n)).collect();
        incident.rejected = rejected.iter().map(|path| (*path).to_owned()).collect();
        let chosen = choose(&incident, &policy, known(), None, at(100)).map(|checkpoint| checkpoint.path);
        assert_eq!(chosen.as_deref(), expected, "{failed:?} {rejected:?}");
    }

    #[test]
    fn of_those_without_a_time_the_last_one_is_the_newest() {
        let policy = RecoveryPolicy::default();
        let mut incident = Incident::new("i".to_owned(), "run", at(0));
        let undated = || ["1", "2", "3"].map(Checkpoint::new).to_vec();
        let next = |incident: &Incident, known: Vec<Checkpoint>, last: &str| {
            choose(incident, &policy, known, Some(last), at(100)).unwrap().path
        };
        assert_eq!(next(&incident, undated(), "3"), "3");
        assert_eq!(next(&incident, known(), "undated"), "undated");
        assert_eq!(next(&incident, known(), "old"), "new", "its time says that it is not");
        incident.failures.insert("3".to_owned(), 1);
        assert_eq!(next(&incident, undated(), "3"), "3");
        incident.failures.insert("3".to_owned(), 2);
        assert_eq!(next(&incident, undated(), "3"), "1");
    }

    #[test]
    fn wrc_13_an_older_one_follows_one_that_fails() {
        let latest = || CheckpointStrategy::Latest;
        check(latest(), &[], &[], Some("new"));
        check(latest(), &[("new", 1)], &[], Some("new"));
        check(latest(), &[("new", 2)], &[], Some("middle"));
        check(latest(), &[("new", 2), ("middle", 1)], &[], Some("middle"));
        check(latest(), &[("new", 2), ("middle", 2)], &[], Some("old"));
        check(latest(), &[("new", 3), ("middle", 2), ("old", 2), ("undated", 4)], &[], Some("middle"));
        check(latest(), &[], &["new"], Some("middle"));
        check(latest(), &[], &["new", "middle", "old"], Some("undated"));
        check(latest(), &[], &["new", "middle", "old", "undated"], None);
    }

    #[test]
    fn the_best_is_the_best_by_its_metric() {
        let best = |prefer| CheckpointStrategy::Best { metric: "loss".to_owned(), prefer };
        check(best(Prefer::Lower), &[], &[], Some("old"));
        check(best(Prefer::Higher), &[], &[], Some("new"));
        check(best(Prefer::Lower), &[("old", 2)], &[], Some("new"));
        check(best(Prefer::Lower), &[], &["old", "new"], None);
        let other = CheckpointStrategy::Best { metric: "accuracy".to_owned(), prefer: Prefer::Higher };
        check(other, &[], &[], None);
    }

    #[test]
    fn a_specific_one_needs_not_be_known() {
        check(CheckpointStrategy::Specific("mine".to_owned()), &[("mine", 7)], &["mine"], Some("mine"));
        check(CheckpointStrategy::Specific("old".to_owned()), &[], &[], Some("old"));
    }
}
