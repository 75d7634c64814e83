//! When and how runs are restored, as it stands in a descriptor.

use super::policy::{CheckpointStrategy, Prefer, RecoveryPolicy};
use crate::decode::{self, Object};
use crate::duration::Shown;
use crate::tree::{self, Fault, Value};

/// Reads a policy. What is absent has its default; recovery is off unless
/// `enabled` says otherwise.
///
/// `checkpoint_strategy` is `"latest"`, `"best"` (by the lowest `loss`),
/// `{"best": {"metric": "accuracy", "prefer": "higher"}}` or
/// `{"specific": "PATH"}`. Words may be written in capitals.
///
/// `None` when there was a fault; `o` knows it.
///
/// # Examples
///
/// ```
/// use loopkeeper::recovery::descriptor::read_policy;
/// use loopkeeper::{decode, tree};
///
/// let read = |text: &str| {
///     let node = tree::parse("training.json", text)?;
///     decode::object(&node, "", read_policy)
/// };
/// let policy = read(r#"{"enabled": true, "backoff": "1s", "max_attempts": 4}"#)?;
/// assert_eq!(
///     policy.explain().unwrap().to_string(),
///     "4 attempts, delays 1s 2s 4s, in total 7s, each up to 10 % shorter",
/// );
/// assert_eq!(
///     read(r#"{"enabled": "yes", "max_attempts": 0}"#).unwrap_err().to_string(),
///     "training.json:1:13: enabled: expected true or false, found the string \"yes\"\n\
///      training.json:1:36: max_attempts: must be at least 1, found 0",
/// );
/// # Ok::<(), tree::Faults>(())
/// ```
pub fn read_policy(o: &mut Object<'_, '_>) -> Option<RecoveryPolicy> {
    let enabled = o.bool("enabled").doc("Whether corrupted runs are restored.");
    let enabled = enabled.or(RecoveryPolicy::default().enabled);
    read_rest(o).map(|policy| RecoveryPolicy { enabled, ..policy })
}

/// Reads a policy that must be switched on: to do nothing is a mistake.
#[cfg(feature = "http-client")]
pub(super) fn read_policy_in_force(o: &mut Object<'_, '_>) -> Option<RecoveryPolicy> {
    let enabled = o.bool("enabled").check(|enabled| match enabled {
        true => Ok(()),
        false => Err("expected true, found false: to switch it off disable the descriptor"),
    });
    let enabled = enabled.doc("Must be true: recovery is off unless it says so.").required();
    let policy = read_rest(o);
    let enabled = enabled.take(o.done()?)?;
    policy.map(|policy| RecoveryPolicy { enabled, ..policy })
}

fn read_rest(o: &mut Object<'_, '_>) -> Option<RecoveryPolicy> {
    o.doc("When corrupted runs are restored, and from what.");
    let default = RecoveryPolicy::default();
    let max_attempts =
        o.u32("max_attempts").at_least(1).doc("How many attempts an incident has.").or(default.max_attempts);
    let backoff = o
        .duration("backoff")
        .doc("The delay after the first failed attempt; each further one is twice the one before.");
    let backoff = backoff.defaults_to(&default.backoff).optional();
    let max_backoff = o.duration("max_backoff").doc("No delay is longer.");
    let max_backoff = max_backoff.defaults_to(&default.max_backoff).optional();
    let (backoff, max_backoff) = fit(o, (backoff, max_backoff), (default.backoff, default.max_backoff));
    let jitter = o
        .f64("jitter")
        .at_least(0.0)
        .at_most(1.0)
        .doc("By which share a delay may be shorter, at random.")
        .or(default.jitter);
    let poll_interval = o
        .duration("poll_interval")
        .doc("The time from the end of one poll of a run to the next.")
        .or(default.poll_interval);
    let poll_timeout = o.duration("poll_timeout").doc("How long one poll may take.").or(default.poll_timeout);
    let attempt_timeout =
        o.duration("attempt_timeout").doc("How long one attempt may take.").or(default.attempt_timeout);
    let checkpoint_strategy = read_strategy(o).unwrap_or_default();
    let fallback_after = o
        .u32("fallback_after")
        .at_least(1)
        .doc("After how many failed attempts with one checkpoint another one is tried.")
        .or(default.fallback_after);
    let restore_optimizer = o
        .bool("restore_optimizer")
        .doc("Whether the state of the optimizer is restored, too.")
        .or(default.restore_optimizer);
    let verify_polls = o
        .u32("verify_polls")
        .at_least(1)
        .doc("How many polls must find the restored run well before the recovery is proven.")
        .or(default.verify_polls);
    let relapse_window = o
        .duration_or_zero("relapse_window")
        .doc("For how long after its proof a recovered run that is corrupted again is the same incident.")
        .or(default.relapse_window);
    o.done().map(|_| RecoveryPolicy {
        enabled: default.enabled,
        max_attempts,
        backoff,
        max_backoff,
        jitter,
        poll_interval,
        poll_timeout,
        attempt_timeout,
        checkpoint_strategy,
        fallback_after,
        restore_optimizer,
        verify_polls,
        relapse_window,
        on_recovery: None,
        on_failure: None,
    })
}

type Delay = std::time::Duration;

/// Looks whether the two delays fit each other, where both were right.
fn fit(
    o: &mut Object<'_, '_>,
    (backoff, max_backoff): (Option<Delay>, Option<Delay>),
    default: (Delay, Delay),
) -> (Delay, Delay) {
    let is_wrong = |name: &str, found: Option<Delay>| o.has(name) && found.is_none();
    let is_comparable = !is_wrong("backoff", backoff) && !is_wrong("max_backoff", max_backoff);
    let (least, most) = (backoff.unwrap_or(default.0), max_backoff.unwrap_or(default.1));
    if is_comparable && most < least {
        let key = if max_backoff.is_some() { "max_backoff" } else { "backoff" };
        let [least, most] = [least, most].map(crate::duration::format);
        o.fault(key, format!("max_backoff ({most}) must be at least backoff ({least})"));
    }
    (least, most)
}

fn read_strategy(o: &mut Object<'_, '_>) -> Option<CheckpointStrategy> {
    const KEY: &str = "checkpoint_strategy";
    const EXPECTED: &str = "\"latest\", \"best\", an object with \"best\" or an object with \"specific\"";
    let field = o.value(KEY).expecting(EXPECTED).doc("Which checkpoint a run is restored from.");
    let node = field.defaults_to_json(|| "\"latest\"".to_owned()).optional()?;
    match &node.value {
        Value::String(text) | Value::Raw(text) => match &*text.to_ascii_lowercase() {
            "latest" => return Some(CheckpointStrategy::Latest),
            "best" => return Some(CheckpointStrategy::best()),
            _ => o.fault(KEY, format!("expected {EXPECTED}, found {}", Shown(text))),
        },
        Value::Object(_) => match decode::object(node, &tree::join(o.key(), KEY), read_object) {
            Ok(strategy) => return Some(strategy),
            Err(faults) => o.faults(faults),
        },
        _ => o.fault(KEY, format!("expected {EXPECTED}")),
    }
    None
}

fn read_object(o: &mut Object<'_, '_>) -> Option<CheckpointStrategy> {
    let filled = |path: &String| if path.is_empty() { Err("must not be empty") } else { Ok(()) };
    let specific = o.string("specific").check(filled).doc("The path of the checkpoint.").optional();
    let best = o.object("best", read_best).doc("The checkpoint with the best metric.").optional();
    if o.has("specific") == o.has("best") {
        let found = if o.has("best") { "both" } else { "none" };
        let message = format!("expected exactly one of \"best\" and \"specific\", found {found}");
        o.faults(Fault { place: o.place().clone(), key: o.key().to_owned(), message }.into());
    }
    o.done()?;
    specific.map(CheckpointStrategy::Specific).or(best)
}

fn read_best(o: &mut Object<'_, '_>) -> Option<CheckpointStrategy> {
    let filled = |metric: &String| if metric.is_empty() { Err("must not be empty") } else { Ok(()) };
    let metric = o.string("metric").check(filled).doc("The name of the metric.").or("loss".to_owned());
    let read = |text: String| match &*text.to_ascii_lowercase() {
        "higher" => Ok(Prefer::Higher),
        "lower" => Ok(Prefer::Lower),
        _ => Err(format!("expected \"higher\" or \"lower\", found {}", Shown(&text))),
    };
    let prefer = o.string("prefer").convert(read).doc("Which value is the better one.");
    let prefer = prefer.defaults_to_json(|| "\"lower\"".to_owned()).optional().unwrap_or_default();
    o.done().map(|_| CheckpointStrategy::Best { metric, prefer })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn check(text: &str) -> Result<RecoveryPolicy, String> {
        let node = tree::parse("f", text).unwrap();
        decode::object(&node, "", read_policy).map_err(|faults| faults.to_string())
    }

    #[test]
    fn crc_06_recovery_is_off_unless_it_is_asked_for() {
        let policy = check("{}").unwrap();
        assert_eq!(format!("{policy:?}"), format!("{:?}", RecoveryPolicy::default()));
        assert!(!policy.enabled);
        assert_eq!(policy.check_enabled().unwrap_err().to_string(), "enabled: recovery is switched off");
    }

    #[test]
    fn crc_07_an_object_becomes_a_policy() {
        let secs = Duration::from_secs;
        let text = r#"{"enabled": true, "max_attempts": 7, "backoff": "1s", "max_backoff": 9, "jitter": 0,
            "poll_interval": "2s", "poll_timeout": "3s", "attempt_timeout": "4s", "fallback_after": 5,
            "restore_optimizer": false, "verify_polls": 6, "relapse_window": 0, "checkpoint_strategy": "BEST"}"#;
        let expected = RecoveryPolicy::default()
            .enabled(true)
            .max_attempts(7)
            .backoff(secs(1))
            .max_backoff(secs(9))
            .jitter(0.0)
            .poll_interval(secs(2))
            .poll_timeout(secs(3))
            .attempt_timeout(secs(4))
            .fallback_after(5)
            .restore_optimizer(false)
            .verify_polls(6)
            .relapse_window(Duration::ZERO)
            .checkpoint_strategy(CheckpointStrategy::best());
        let policy = check(text).unwrap();
        assert_eq!(format!("{policy:?}"), format!("{expected:?}"));
        policy.check().unwrap();
    }

    #[test]
    fn wrc_17_every_strategy_can_be_written() {
        let strategy = |text: &str| {
            let policy = check(&format!("{{\"checkpoint_strategy\": {text}}}"))?;
            Ok::<_, String>(policy.checkpoint_strategy)
        };
        let best = |metric: &str, prefer| CheckpointStrategy::Best { metric: metric.to_owned(), prefer };
        for (text, expected) in [
            ("null", CheckpointStrategy::Latest),
            (r#""latest""#, CheckpointStrategy::Latest),
            (r#""Latest""#, CheckpointStrategy::Latest),
            (r#""best""#, best("loss", Prefer::Lower)),
            (r#"{"best": {}}"#, best("loss", Prefer::Lower)),
            (r#"{"best": {"metric": "acc", "prefer": "Higher"}}"#, best("acc", Prefer::Higher)),
            (r#"{"specific": "tinker://a/1"}"#, CheckpointStrategy::Specific("tinker://a/1".to_owned())),
        ] {
            assert_eq!(strategy(text), Ok(expected), "{text}");
        }
        for (text, expected) in [
            (
                r#""newest""#,
                "f:1:25: checkpoint_strategy: expected \"latest\", \"best\", an object with \"best\" or an \
                 object with \"specific\", found \"newest\"",
            ),
            (r#"7"#, "f:1:25: checkpoint_strategy: expected \"latest\""),
            (r#"{"specific": ""}"#, "f:1:38: checkpoint_strategy.specific: must not be empty"),
            (r#"{}"#, "checkpoint_strategy: expected exactly one of \"best\" and \"specific\", found none"),
            (
                r#"{"best": {}, "specific": "x"}"#,
                "checkpoint_strategy: expected exactly one of \"best\" and \"specific\", found both",
            ),
            (r#"{"best": {"prefer": "more"}}"#, "expected \"higher\" or \"lower\", found \"more\""),
        ] {
            let found = strategy(text).unwrap_err();
            assert!(found.contains(expected), "{text}: {found}");
        }
    }

    #[test]
    fn wrc_17_nothing_that_is_wrong_is_passed_over() {
        for (text, expected) in [
            (r#"{"max_attempts": 0}"#, "f:1:18: max_attempts: must be at least 1, found 0"),
            (r#"{"max_attempts": 2.5}"#, "f:1:18: max_attempts: expected a whole number"),
            (r#"{"enabled": "true"}"#, "f:1:13: enabled: expected true or false, found the string \"true\""),
            (r#"{"poll_interval": 0}"#, "f:1:19: poll_interval: must be more than zero"),
            (r#"{"backoff": "-1s"}"#, "f:1:13: backoff: must not be negative"),
            (r#"{"backoff": "2m"}"#, "f:1:13: backoff: max_backoff (1m0s) must be at least backoff (2m0s)"),
            (r#"{"max_backoff": 1}"#, "f:1:17: max_backoff: max_backoff (1s) must be at least backoff (5s)"),
            (r#"{"restore_optimizer": 1}"#, "f:1:23: restore_optimizer: expected true or false"),
            (r#"{"poll_intervall": 1}"#, "f:1:2: unknown field \"poll_intervall\""),
        ] {
            let found = check(text).unwrap_err();
            assert!(found.starts_with(expected), "{text}: {found}");
        }
    }
}
