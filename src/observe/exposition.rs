//! Metrics as a text, and who can write it.

use crate::error::Result;

/// The forms that metrics are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum MetricsFormat {
    /// OpenMetrics 1.0, what a Prometheus server asks for first.
    #[default]
    OpenMetrics,
    /// The older text format of Prometheus, version 0.0.4.
    Prometheus,
}

impl MetricsFormat {
    /// The value of the header `Content-Type` that goes with it.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// Who can say all metrics at this moment: what the status server shows at
/// `/metrics`.
///
/// # Threads
///
/// Called on one of the server's workers; it may take its time, but a server
/// that scrapes gives up after some seconds.
pub trait MetricsSource: Send + Sync {
    /// Every metric, as a text of this form.
    ///
    /// # Errors
    ///
    /// What kept it from being written; answered as 500.
    fn metrics(&self, format: MetricsFormat) -> Result<String>;
}
