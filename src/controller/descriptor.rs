//! When a controller runs, as it stands in a descriptor.

use super::config::{BackoffConfig, ControllerConfig, Overrun};
use crate::backoff::read_delays;
use crate::decode::Object;

/// Reads the settings that every controller has, beside those of its own that
/// are in the same object; what is absent stays as it is in `default`.
///
/// Call it before [`Object::done`], which knows of the faults. What was read
/// without one also starts.
///
/// # Examples
///
/// ```
/// use loopkeeper::{ControllerConfig, controller, decode, tree};
/// use std::time::Duration;
///
/// let read = |text: &str| {
///     let node = tree::parse("leases.json", text)?;
///     decode::object(&node, "", |o| {
///         let batch = o.u32("batch").at_least(1).doc("How many leases a run may end.").or(100);
///         let hourly = ControllerConfig::new("leases").interval(Duration::from_secs(3600));
///         let config = controller::descriptor::read(hourly, o);
///         o.done().map(|_| (batch, config))
///     })
/// };
/// assert!(read(r#"{"batch": 7, "interval": "30s", "backoff": {"max_delay": "10s"}}"#).is_ok());
///
/// let faults = read(r#"{"batch": 7, "interval": 0}"#).unwrap_err();
/// assert_eq!(
///     faults.to_string(),
///     "leases.json:1:26: interval: must be more than zero, found the number 0"
/// );
/// # Ok::<(), tree::Faults>(())
/// ```
pub fn read(default: ControllerConfig, o: &mut Object<'_, '_>) -> ControllerConfig {
    let interval = o
        .duration("interval")
        .doc("The time between regular runs, from the beginning of one to that of the next.")
        .or(default.interval);
    let deadline =
        o.duration("deadline").doc("How long one run may take, whatever the interval.").or(default.deadline);
    let before = default.backoff;
    let backoff =
        o.object("backoff", |o| read_backoff(before, o)).defaults_to_json(|| "{}".to_owned()).optional();
    let jitter = o
        .f64("jitter")
        .at_least(0.0)
        .at_most(1.0)
        .doc("By which share of the interval a regular run may be earlier, at random.")
        .or(default.jitter);
    let in_phase = o
        .bool("in_phase")
        .doc("Whether regular times count from the first run, instead of being spread by a hash of the name.")
        .or(default.in_phase);
    let first_run_after = o
        .duration_or_zero("first_run_after")
        .doc("When the first run is made after a start.")
        .or(default.first_run_after);
    let catch_up = o
        .u32("catch_up")
        .doc("How many regular runs whose time passes during another are made up for, right after it.")
        .or(u32::try_from(default.overrun.allowance()).unwrap_or(u32::MAX));
    let failure_threshold = o
        .u32("failure_threshold")
        .at_least(1)
        .doc("How many runs in a row must fail before the controller is down.")
        .or(default.failure_threshold);
    let critical = o
        .bool("critical")
        .doc("Whether the whole is down, and not only degraded, while this controller is.")
        .or(default.critical);
    let paused = o.bool("paused").doc("Whether it runs only when it is triggered.").or(default.paused);
    let dry_run = o
        .bool("dry_run")
        .doc("Whether it only says what it would do, and changes nothing.")
        .or(default.dry_run);
    ControllerConfig {
        interval,
        deadline,
        backoff: backoff.unwrap_or(before),
        overrun: match catch_up {
            0 => Overrun::Skip,
            1 => Overrun::QueueOne,
            at_most => Overrun::CatchUp { at_most },
        },
        jitter,
        in_phase,
        dry_run,
        paused,
        first_run_after,
        failure_threshold,
        critical,
        ..default
    }
}

fn read_backoff(default: BackoffConfig, o: &mut Object<'_, '_>) -> Option<BackoffConfig> {
    o.doc("When a run that failed is tried again, if the next regular one is not before that.");
    let (initial_delay, max_delay) =
        read_delays(o, "The delay after the first failed run.", (default.initial_delay, default.max_delay));
    let multiplier = o
        .f64("multiplier")
        .at_least(1.0)
        .doc("By how much each delay is longer than the one before.")
        .or(default.multiplier);
    let jitter = o
        .f64("jitter")
        .at_least(0.0)
        .at_most(1.0)
        .doc("By which share a delay may be shorter, at random.")
        .or(default.jitter);
    o.done().map(|_| BackoffConfig { initial_delay, max_delay, multiplier, jitter })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{decode, tree};

    fn check(text: &str) -> Result<ControllerConfig, String> {
        let node = tree::parse("f", text).unwrap();
        let read = |o: &mut Object<'_, '_>| {
            let config = read(ControllerConfig::new("c").interval(Duration::from_secs(90)), o);
            o.done().map(|_| config)
        };
        decode::object(&node, "", read).map_err(|faults| faults.to_string())
    }

    #[test]
    fn what_is_absent_stays_and_what_is_written_is_taken() {
        let default = ControllerConfig::new("c").interval(Duration::from_secs(90));
        assert_eq!(format!("{:?}", check("{}").unwrap()), format!("{default:?}"));
        let text = r#"{"interval": "1s", "deadline": "2s", "jitter": 0.5, "in_phase": true, "dry_run": true,
            "paused": true, "first_run_after": "3s", "failure_threshold": 4, "critical": true, "catch_up": 5,
            "backoff": {"initial_delay": "6s", "max_delay": "7s", "multiplier": 8, "jitter": 0}}"#;
        let secs = Duration::from_secs;
        let expected = ControllerConfig::new("c")
            .interval(secs(1))
            .deadline(secs(2))
            .jitter(0.5)
            .in_phase()
            .dry_run()
            .start_paused()
            .first_run_after(secs(3))
            .failure_threshold(4)
            .critical()
            .overrun(Overrun::CatchUp { at_most: 5 })
            .backoff(BackoffConfig {
                initial_delay: secs(6),
                max_delay: secs(7),
                multiplier: 8.0,
                jitter: 0.0,
            });
        assert_eq!(format!("{:?}", check(text).unwrap()), format!("{expected:?}"));
        assert_eq!(check(r#"{"catch_up": 1}"#).unwrap().overrun, Overrun::QueueOne);
        check(text).unwrap().check().unwrap();
    }

    #[test]
    fn what_cannot_be_meant_is_a_fault_at_its_place() {
        for (text, expected) in [
            (r#"{"interval": 0}"#, "f:1:14: interval: must be more than zero, found the number 0"),
            (r#"{"deadline": "-1s"}"#, "f:1:14: deadline: must not be negative, found the string \"-1s\""),
            (r#"{"jitter": 2}"#, "f:1:12: jitter: must be at most 1, found 2"),
            (r#"{"failure_threshold": 0}"#, "f:1:23: failure_threshold: must be at least 1, found 0"),
            (
                r#"{"backoff": {"max_delay": "1s"}}"#,
                "f:1:27: backoff.max_delay: must be at least initial_delay (by default 2s), found 1s",
            ),
            (
                r#"{"backoff": {"poll": 1}}"#,
                "f:1:14: backoff: unknown field \"poll\", expected \"initial_delay\", \"max_delay\", \
                 \"multiplier\" or \"jitter\"",
            ),
            (r#"{"intervall": 1}"#, "f:1:2: unknown field \"intervall\", did you mean \"interval\"?"),
        ] {
            assert_eq!(check(text).unwrap_err(), expected, "{text}");
        }
    }
}
