//! What a watcher is made from, as it stands in a descriptor.
//!
//! Absent settings get the defaults of [`WatcherConfig`]; what cannot be
//! meant is a fault at its place, so that a watcher which was read also
//! starts.

use super::config::{BackoffConfig, WatcherConfig};
use crate::decode::{self, Object};
use crate::duration::GoDuration;
use crate::probe;
use crate::tree::{self, Node};

/// Reads the settings of the watcher `name`: the `config` object of its
/// descriptor.
///
/// `None` when there was a fault; `o` knows it.
///
/// # Examples
///
/// ```
/// use loopkeeper::{decode, tree, watch};
///
/// let node = tree::parse("mqtt.json", r#"{"probe": {"tcp": {"address": "127.0.0.1:1883"}}}"#)?;
/// let config = decode::object(&node, "", |o| watch::descriptor::read("mqtt", o))?;
/// assert!(format!("{config:?}").contains("mqtt"));
///
/// let text = r#"{"probe": {"tcp": {"address": "127.0.0.1:1883"}}, "failure_threshold": 0}"#;
/// let node = tree::parse("mqtt.json", text)?;
/// let faults = decode::object(&node, "", |o| watch::descriptor::read("mqtt", o)).unwrap_err();
/// assert_eq!(faults.to_string(), "mqtt.json:1:72: failure_threshold: must be at least 1, found 0");
/// # Ok::<(), tree::Faults>(())
/// ```
pub fn read(name: &str, o: &mut Object<'_, '_>) -> Option<WatcherConfig> {
    let probe = probe::decode(o, "probe").required();
    let key = tree::join(o.key(), "backoff");
    let backoff = match o.value("backoff").optional() {
        None => BackoffConfig::default(),
        Some(node) => decode::object(node, &key, |o| read_backoff(node, o)).unwrap_or_else(|faults| {
            o.faults(faults);
            BackoffConfig::default()
        }),
    };
    let failure_threshold = o.u32("failure_threshold").at_least(1).or(1);
    let success_threshold = o.u32("success_threshold").at_least(1).or(1);
    let critical = o.bool("critical").or(true);
    let done = o.done()?;
    let config = WatcherConfig::new(name, probe.take(done)?)
        .backoff(backoff)
        .failure_threshold(failure_threshold)
        .success_threshold(success_threshold);
    Some(if critical { config } else { config.optional() })
}

fn read_backoff(node: &Node, o: &mut Object<'_, '_>) -> Option<BackoffConfig> {
    let default = BackoffConfig::default();
    let initial_delay = o.duration("initial_delay").optional();
    let max_delay = o.duration("max_delay").optional();
    // Compared only when what was written is right: no fault comes of another.
    let absent = |key: &str| node.get(key).is_none_or(|node| node.value == tree::Value::Null);
    match (initial_delay, max_delay) {
        (Some(initial), Some(max)) if max < initial => {
            let (initial, max) = (GoDuration(initial), GoDuration(max));
            o.fault("max_delay", format!("must be at least initial_delay ({initial}), found {max}"));
        }
        (Some(initial), None) if absent("max_delay") && initial > default.max_delay => {
            let (initial, max) = (GoDuration(initial), GoDuration(default.max_delay));
            o.fault(
                "initial_delay",
                format!("must be at most max_delay (by default {max}), found {initial}"),
            );
        }
        (None, Some(max)) if absent("initial_delay") && max < default.initial_delay => {
            let (initial, max) = (GoDuration(default.initial_delay), GoDuration(max));
            o.fault(
                "max_delay",
                format!("must be at least initial_delay (by default {initial}), found {max}"),
            );
        }
        _ => {}
    }
    let backoff = BackoffConfig {
        initial_delay: initial_delay.unwrap_or(default.initial_delay),
        max_delay: max_delay.unwrap_or(default.max_delay),
        multiplier: o.f64("multiplier").at_least(1.0).or(default.multiplier),
        max_retries: o.u32("max_retries").at_least(1).or(default.max_retries),
        poll_interval: o.duration("poll_interval").or(default.poll_interval),
        probe_timeout: o.duration("probe_timeout").or(default.probe_timeout),
        jitter: o.f64("jitter").at_least(0.0).at_most(1.0).or(default.jitter),
    };
    o.done().map(|_| backoff)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Reads a watcher's settings; faults come without the name of the file.
    fn check(text: &str) -> Result<WatcherConfig, String> {
        let node = tree::parse("f", text).unwrap();
        decode::object(&node, "", |o| read("db", o)).map_err(|faults| {
            faults.iter().map(|fault| fault.to_string()[2..].to_owned()).collect::<Vec<_>>().join("\n")
        })
    }

    fn check_backoff(text: &str) -> Result<BackoffConfig, String> {
        let text = format!("{{\"probe\": {{\"tcp\": {{\"address\": \"a:1\"}}}},\n\"backoff\": {text}}}");
        check(&text).map(|config| config.backoff)
    }

    const fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn what_is_absent_has_its_default() {
        let config = check(r#"{"probe": {"tcp": {"address": "a:1"}}}"#).unwrap();
        assert_eq!(config.name, "db");
        assert_eq!(config.backoff, BackoffConfig::default());
        assert_eq!((config.failure_threshold, config.success_threshold, config.critical), (1, 1, true));
        for text in ["{}", "null", r#"{"max_delay": null, "jitter": null}"#] {
            assert_eq!(check_backoff(text), Ok(BackoffConfig::default()), "{text}");
        }
    }

    #[test]
    fn what_is_written_is_taken() {
        let config = check(
            r#"{"probe": {"tcp": {"address": "a:1"}}, "failure_threshold": 3, "success_threshold": 2, "critical": false,
                "backoff": {"initial_delay": "250ms", "max_delay": 5, "multiplier": 1.5, "max_retries": 4,
                            "poll_interval": "30s", "probe_timeout": "1m", "jitter": 0}}"#,
        )
        .unwrap();
        assert_eq!((config.failure_threshold, config.success_threshold, config.critical), (3, 2, false));
        let backoff = BackoffConfig {
            initial_delay: Duration::from_millis(250),
            max_delay: secs(5),
            multiplier: 1.5,
            max_retries: 4,
            poll_interval: secs(30),
            probe_timeout: secs(60),
            jitter: 0.0,
        };
        assert_eq!(config.backoff, backoff);
        backoff.check().unwrap();
    }

    #[test]
    fn what_cannot_be_meant_is_a_fault_at_its_place() {
        for (text, expected) in [
            (
                r#"{"initial_delay": 0}"#,
                "2:30: backoff.initial_delay: must be more than zero, found the number 0",
            ),
            (
                r#"{"poll_interval": "0s"}"#,
                "2:30: backoff.poll_interval: must be more than zero, found the string \"0s\"",
            ),
            (
                r#"{"probe_timeout": -1}"#,
                "2:30: backoff.probe_timeout: must not be negative, found the number -1",
            ),
            (
                r#"{"poll_interval": "soon"}"#,
                "2:30: backoff.poll_interval: expected a duration such as \"30s\", found the string \"soon\"",
            ),
            (r#"{"multiplier": 0.5}"#, "2:27: backoff.multiplier: must be at least 1, found 0.5"),
            (
                r#"{"multiplier": "NaN"}"#,
                "2:27: backoff.multiplier: expected a number, found the string \"NaN\"",
            ),
            (r#"{"max_retries": 0}"#, "2:28: backoff.max_retries: must be at least 1, found 0"),
            (
                r#"{"max_retries": -1}"#,
                "2:28: backoff.max_retries: expected a whole number from 0 to 4294967295, found the number -1",
            ),
            (r#"{"jitter": 1.5}"#, "2:23: backoff.jitter: must be at most 1, found 1.5"),
            (r#"{"jitter": -0.5}"#, "2:23: backoff.jitter: must be at least 0, found -0.5"),
            (
                r#"{"max_deley": 1}"#,
                "2:13: backoff: unknown field \"max_deley\", did you mean \"max_delay\"?",
            ),
            ("[]", "2:12: backoff: expected an object, found a list"),
        ] {
            assert_eq!(check_backoff(text).unwrap_err(), expected, "{text}");
        }
        let found = check(r#"{"probe": {"tcp": {"address": "a:1"}}, "success_threshold": 0}"#).unwrap_err();
        assert_eq!(found, "1:61: success_threshold: must be at least 1, found 0");
    }

    #[test]
    fn a_cap_below_the_first_delay_is_a_fault_of_what_was_written() {
        for (text, expected) in [
            (
                r#"{"initial_delay": "5s", "max_delay": "1s"}"#,
                "2:49: backoff.max_delay: must be at least initial_delay (5s), found 1s",
            ),
            (
                r#"{"max_delay": "1s"}"#,
                "2:26: backoff.max_delay: must be at least initial_delay (by default 2s), found 1s",
            ),
            (
                r#"{"initial_delay": "2m", "max_delay": null}"#,
                "2:30: backoff.initial_delay: must be at most max_delay (by default 1m0s), found 2m0s",
            ),
            // No second fault for the one that is wrong anyway.
            (
                r#"{"initial_delay": "2m", "max_delay": "x"}"#,
                "2:49: backoff.max_delay: expected a duration such as \"30s\", found the string \"x\"",
            ),
        ] {
            assert_eq!(check_backoff(text).unwrap_err(), expected, "{text}");
        }
        assert!(check_backoff(r#"{"initial_delay": "5s", "max_delay": "5s"}"#).is_ok());
    }

    #[test]
    fn all_faults_come_at_once_and_unknown_fields_are_guessed() {
        assert_eq!(
            check(
                "{\"probe\": {\"tcp\": {\"address\": \"a:1\"}},\n \"backoff\": {\"jitter\": 2, \"x\": 1},\n \
                 \"critical\": \"no\",\n \"on_ready\": {}}"
            )
            .unwrap_err(),
            "2:24: backoff.jitter: must be at most 1, found 2\n\
             2:27: backoff: unknown field \"x\", expected \"initial_delay\", \"max_delay\", \"multiplier\", \
             \"max_retries\", \"poll_interval\", \"probe_timeout\" or \"jitter\"\n\
             3:14: critical: expected true or false, found the string \"no\"\n\
             4:2: unknown field \"on_ready\", expected \"probe\", \"backoff\", \"failure_threshold\", \
             \"success_threshold\" or \"critical\""
        );
        let faults = check(r#"{"prob": {}}"#).unwrap_err();
        assert!(
            faults.starts_with("1:1: probe: is missing, expected an object with exactly one of"),
            "{faults}"
        );
        assert!(faults.ends_with("1:2: unknown field \"prob\", did you mean \"probe\"?"), "{faults}");
        let faults = check(r#"{"probe": {"tpc": {}}}"#).unwrap_err();
        assert_eq!(faults, "1:12: probe: unknown field \"tpc\", did you mean \"tcp\"?");
    }
}
