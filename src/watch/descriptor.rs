//! What a watcher is made from, as it stands in a descriptor.
//!
//! Absent settings get the defaults of [`WatcherConfig`]; what cannot be
//! meant is a fault at its place, so that a watcher which was read also
//! starts.

use super::config::{BackoffConfig, WatcherConfig};
use crate::alert;
use crate::backoff::read_delays;
use crate::decode::Object;
use crate::probe;

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
    o.doc("Watches one service: probes it, and tells when it turns ready or down.");
    let probe = probe::decode(o, "probe").doc("How to ask the service.").required();
    let backoff = o.object("backoff", read_backoff).defaults_to_json(|| "{}".to_owned());
    let backoff = backoff.optional().unwrap_or_default();
    let failure_threshold = o
        .u32("failure_threshold")
        .at_least(1)
        .doc("How many probes in a row must fail before the service is down.")
        .or(1);
    let success_threshold = o
        .u32("success_threshold")
        .at_least(1)
        .doc("How many probes in a row must succeed before the service is ready.")
        .or(1);
    let critical = o
        .bool("critical")
        .doc("Whether the whole is down, and not only degraded, while this service is.")
        .or(true);
    let alert = alert::descriptor::read(o);
    let done = o.done()?;
    let config = WatcherConfig::new(name, probe.take(done)?)
        .alert(alert)
        .backoff(backoff)
        .failure_threshold(failure_threshold)
        .success_threshold(success_threshold);
    Some(if critical { config } else { config.optional() })
}

fn read_backoff(o: &mut Object<'_, '_>) -> Option<BackoffConfig> {
    o.doc("When to probe, and how long to wait for an answer.");
    let default = BackoffConfig::default();
    let (initial_delay, max_delay) =
        read_delays(o, "The delay after the first failed probe.", (default.initial_delay, default.max_delay));
    let backoff = BackoffConfig {
        initial_delay,
        max_delay,
        multiplier: o
            .f64("multiplier")
            .at_least(1.0)
            .doc("By how much each delay is longer than the one before.")
            .or(default.multiplier),
        max_retries: o
            .u32("max_retries")
            .at_least(1)
            .at_most(super::config::MAX_RETRIES)
            .doc("How many probes are made at start-up before probing goes on at the poll interval.")
            .or(default.max_retries),
        poll_interval: o
            .duration("poll_interval")
            .doc("The time between regular probes.")
            .or(default.poll_interval),
        probe_timeout: o
            .duration("probe_timeout")
            .doc("How long one probe may take.")
            .or(default.probe_timeout),
        jitter: o
            .f64("jitter")
            .at_least(0.0)
            .at_most(1.0)
            .doc("By which share a delay may be shorter, at random.")
            .or(default.jitter),
    };
    o.done().map(|_| backoff)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{decode, tree};

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
                r#"{"max_retries": 1000001}"#,
                "2:28: backoff.max_retries: must be at most 1000000, found 1000001",
            ),
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
             4:14: on_ready: expected exactly one of \"exec\", \"webhook\", found none"
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

    /// What a watcher's settings are, and a word for each field's presence.
    fn described() -> Vec<decode::FieldInfo> {
        decode::describe(|o| read("", o)).fields
    }

    #[test]
    fn every_field_is_described() {
        for field in described() {
            assert!(!field.doc.is_empty(), "{} has no doc", field.path);
            assert_ne!(field.presence, decode::Presence::Default(None), "{}", field.path);
            let parent = field.path.rsplit_once('.').map_or("", |(parent, _)| parent);
            let known = |parent: &str| described().iter().any(|field| field.path == parent);
            assert!(parent.is_empty() || known(parent), "{parent}");
        }
        let top: Vec<String> = described().into_iter().map(|field| field.path).collect();
        let top: Vec<&str> = top.iter().map(String::as_str).filter(|path| !path.contains('.')).collect();
        assert_eq!(
            top,
            [
                "probe",
                "backoff",
                "failure_threshold",
                "success_threshold",
                "critical",
                "on_ready",
                "on_down",
                "remind_every"
            ]
        );
    }

    #[test]
    fn what_is_described_is_what_is_known() {
        // Everything that is described is taken, and with an unknown field in
        // every object the decoder names all it knows: the same fields.
        let fields = described();
        for object in fields
            .iter()
            .filter(|field| fields.iter().any(|f| f.path.starts_with(&format!("{}.", field.path))))
        {
            let below = |field: &&decode::FieldInfo| {
                field
                    .path
                    .strip_prefix(&object.path)
                    .and_then(|rest| rest.strip_prefix('.'))
                    .is_some_and(|rest| !rest.contains('.'))
            };
            let names: Vec<&str> =
                fields.iter().filter(below).map(|field| field.path.rsplit('.').next().unwrap()).collect();
            let nested = object
                .path
                .split('.')
                .rev()
                .fold("{\"?\": 1}".to_owned(), |inner, key| format!("{{\"{key}\": {inner}}}"));
            let faults = check(&nested).unwrap_err();
            for name in names {
                assert!(faults.contains(&format!("\"{name}\"")), "{name} of {}: {faults}", object.path);
            }
        }
    }

    #[test]
    fn the_described_defaults_are_those_that_hold() {
        let mut backoff = Vec::new();
        let mut own = Vec::new();
        for field in described() {
            let decode::Presence::Default(Some(default)) = field.presence else { continue };
            match field.path.rsplit_once('.') {
                Some(("backoff", key)) => backoff.push(format!("\"{key}\": {default}")),
                None if field.path != "backoff" => own.push(format!("\"{}\": {default}", field.path)),
                _ => {}
            }
        }
        assert_eq!((backoff.len(), own.len()), (7, 3));
        let text = format!(
            r#"{{"probe": {{"tcp": {{"address": "a:1"}}}}, "backoff": {{{}}}, {}}}"#,
            backoff.join(", "),
            own.join(", ")
        );
        let written = check(&text).unwrap();
        let absent = check(r#"{"probe": {"tcp": {"address": "a:1"}}}"#).unwrap();
        assert_eq!(format!("{written:?}"), format!("{absent:?}"));
    }
}
