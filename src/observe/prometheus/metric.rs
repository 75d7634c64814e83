//! What is known of a metric before anybody asks for it: its meaning, its
//! bound, its buckets.

use std::borrow::Cow;

use crate::duration::Shown;
use crate::error::{Error, Result};

/// How many series a metric may have, unless it is described otherwise.
pub(super) const MAX_SERIES: usize = 4096;

/// The bounds of the buckets of a histogram, unless it is described otherwise:
/// a millisecond to a minute.
pub(super) const BUCKETS: &[f64] = &[0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0];

/// What is to be said of a metric, and how much of it there may be; for
/// [`ExporterConfig::describe`](super::ExporterConfig::describe).
///
/// # Examples
///
/// ```
/// use loopkeeper::observe::prometheus::{Exporter, ExporterConfig, Metric};
///
/// let exporter = Exporter::new(
///     ExporterConfig::default()
///         .prefix("shop")
///         .describe(Metric::new("queue_depth").help("Orders that wait, by queue").max_series(50))
///         .describe(Metric::new("order_bytes").help("Size of an order").buckets([1e3, 1e4, 1e5])),
/// )?;
/// let observer = exporter.observer();
///
/// let wrong = ExporterConfig::default().describe(Metric::new("order-bytes"));
/// assert!(Exporter::new(wrong).is_err());
/// # Ok::<(), loopkeeper::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "it says nothing until an exporter is made with it"]
pub struct Metric {
    pub(super) name: Cow<'static, str>,
    pub(super) help: Cow<'static, str>,
    pub(super) max_series: usize,
    pub(super) buckets: Cow<'static, [f64]>,
    /// Whether a series goes with the last instrument that writes to it.
    pub(super) is_lent: bool,
}

impl Metric {
    /// A metric by the name that is asked for, without the prefix.
    pub fn new(name: impl Into<Cow<'static, str>>) -> Self {
        Self {
            name: name.into(),
            help: Cow::Borrowed("Not described"),
            max_series: MAX_SERIES,
            buckets: Cow::Borrowed(BUCKETS),
            is_lent: false,
        }
    }

    /// What it says, in one sentence without a full stop. Defaults to `Not
    /// described`.
    pub fn help(mut self, help: impl Into<Cow<'static, str>>) -> Self {
        self.help = help.into();
        self
    }

    /// How many series it may have beside `other`, into which all further
    /// ones are folded. Defaults to 4,096.
    pub fn max_series(mut self, n: usize) -> Self {
        self.max_series = n;
        self
    }

    /// The upper bounds of a histogram's buckets, growing; the last, infinity,
    /// is added. Defaults to eleven bounds from 0.001 to 60.
    pub fn buckets(mut self, bounds: impl Into<Vec<f64>>) -> Self {
        self.buckets = Cow::Owned(bounds.into());
        self
    }

    /// Has a series go away with the last instrument that was resolved for
    /// it, because it is about something that can go away itself. Defaults to
    /// series that stay as long as the exporter.
    pub fn series_go_with_their_instruments(mut self) -> Self {
        self.is_lent = true;
        self
    }

    pub(super) fn check(&self) -> Result<()> {
        let name = &*self.name;
        check_name(name)?;
        if self.max_series == 0 {
            return Err(Error::invalid(format!("{name}: max_series: must be more than zero")));
        }
        let is_growing = self.buckets.windows(2).all(|pair| pair[0] < pair[1]);
        let is_finite = self.buckets.iter().all(|bound| bound.is_finite());
        if self.buckets.is_empty() || !is_growing || !is_finite {
            let found = &self.buckets;
            return Err(Error::invalid(format!(
                "{name}: buckets: expected finite bounds, each greater than the one before, found {found:?}"
            )));
        }
        Ok(())
    }

    /// What the library's own metrics are.
    pub(super) fn shipped() -> impl Iterator<Item = Self> {
        SHIPPED.iter().map(|&(name, help, lifetime)| Self {
            name: Cow::Borrowed(name),
            help: Cow::Borrowed(help),
            is_lent: lifetime == Lifetime::Loop,
            // Three of them for each watcher.
            max_series: if name == "watcher_transitions_total" { 3 * MAX_SERIES } else { MAX_SERIES },
            ..Self::new("")
        })
    }
}

/// Whether a name can be one of a metric: letters, digits and `_`; a colon is
/// for the rules of a Prometheus server.
pub(super) fn check_name(name: &str) -> Result<()> {
    if is_word(name) && name.len() <= MAX_NAME {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "metric {}: expected letters, digits and _, no digit first, at most {MAX_NAME} bytes",
        Shown(name)
    )))
}

/// The longest name of a metric or label.
const MAX_NAME: usize = 200;

/// Whether a name can be one of a label. Names that begin with two underscores
/// are for the server, `le` for the bounds of buckets.
pub(super) fn is_label(key: &str) -> bool {
    is_word(key) && key.len() <= MAX_NAME && !key.starts_with("__") && key != "le"
}

fn is_word(text: &str) -> bool {
    let is_first = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    let mut bytes = text.bytes();
    bytes.next().is_some_and(is_first) && bytes.all(|byte| is_first(byte) || byte.is_ascii_digit())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lifetime {
    /// A series is about a loop and goes with it.
    Loop,
    /// A series stays.
    Exporter,
}

use Lifetime::{Exporter, Loop};

const SHIPPED: &[(&str, &str, Lifetime)] = &[
    ("alerts_pending", "Alerts that wait to be sent", Loop),
    ("alerts_total", "Alerts, by what became of them; failed counts tries", Loop),
    ("component_ready", "Whether what requires the component may run", Exporter),
    ("component_restarts_total", "How often the component was started again by itself", Exporter),
    ("component_starts_total", "How often the component was started", Exporter),
    ("component_state", "1 for the state that the component is in; it has no other series", Exporter),
    ("config_last_reload_successful", "Whether what is on disk is in force", Loop),
    ("controller_items_processed_total", "Items that passes of the controller have processed", Loop),
    (
        "controller_last_reconcile_timestamp_seconds",
        "When a pass of the controller last ended, whether it succeeded or not, in Unix time",
        Loop,
    ),
    (
        "controller_last_success_timestamp_seconds",
        "When a pass of the controller last succeeded, in Unix time",
        Loop,
    ),
    ("controller_reconcile_duration_seconds", "How long passes of the controller took", Loop),
    ("controller_reconcile_errors_total", "Passes of the controller that failed", Loop),
    ("controller_reconcile_total", "Passes of the controller, by how they ended", Loop),
    ("controller_running", "Whether the controller's loop runs", Loop),
    ("deployer_components", "Components that run because a descriptor says so", Exporter),
    ("deployer_rejected_files", "Files of the deployer's folder that cannot be used", Exporter),
    ("deployer_under_way", "Components that are being started, replaced or stopped", Exporter),
    ("loop_missed_ticks_total", "Regular runs that were left out because their time had passed", Loop),
    (
        "loop_overdue_seconds",
        "For how long the loop's call is past its deadline, or its next one past its due",
        Exporter,
    ),
    (
        "metrics_folded_total",
        "How often an instrument got the series `other`, because its metric has no room for more",
        Exporter,
    ),
    ("metrics_refused_total", "How often an instrument was refused and measures nothing", Exporter),
    ("monitor_check_duration_seconds", "How long looks of the checker took that ended in time", Loop),
    ("monitor_checks_total", "Looks of the checker, by how they ended", Loop),
    (
        "monitor_last_success_timestamp_seconds",
        "When a look of the checker last succeeded, whatever it found, in Unix time",
        Loop,
    ),
    ("monitor_ready", "Whether all that the monitor looks at is ready", Loop),
    ("recovery_attempt_duration_seconds", "How long attempts to restore a run took", Loop),
    ("recovery_events_total", "What recoveries have done", Loop),
    ("watcher_probe_duration_seconds", "How long probes took that ended in time", Loop),
    ("watcher_ready", "Whether the watched service is ready", Loop),
    ("watcher_transitions_total", "How often the watched service turned so", Loop),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ships_can_be_used() {
        for metric in Metric::shipped() {
            metric.check().unwrap();
            assert!(!metric.help.ends_with('.'), "{}", metric.name);
        }
        assert!(SHIPPED.windows(2).all(|pair| pair[0].0 < pair[1].0), "in order");
    }

    #[test]
    fn what_cannot_be_used_is_said_by_name() {
        let metric = || Metric::new("x");
        for (metric, expected) in [
            (Metric::new(""), "metric \"\": expected letters"),
            (Metric::new("1x"), "metric \"1x\""),
            (Metric::new("x-y"), "metric \"x-y\""),
            (Metric::new("x:y"), "metric \"x:y\""),
            (Metric::new("größe"), "expected letters, digits and _"),
            (Metric::new("x".repeat(201)), "at most 200 bytes"),
            (metric().max_series(0), "x: max_series: must be more than zero"),
            (metric().buckets([]), "x: buckets: expected finite bounds"),
            (metric().buckets([1.0, 1.0]), "found [1.0, 1.0]"),
            (metric().buckets([1.0, f64::INFINITY]), "found [1.0, inf]"),
            (metric().buckets([f64::NAN]), "found [NaN]"),
        ] {
            let error = metric.check().unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        for key in ["", "le", "__name__", "1", "a-b", "é"] {
            assert!(!is_label(key), "{key}");
        }
        assert!(is_label("watcher") && is_label("_x1"));
    }
}
