//! Looks how much work waits for the machine's processors.

use super::memory::{odd, read};
use crate::component::Context;
use crate::error::{BoxError, Error, ErrorKind, Result};
use crate::monitor::{Checker, Report, Verdict};
use crate::number::{Fixed, Real, float};

/// Looks whether the load of the last five minutes is at most
/// `max_per_core` for each processor.
///
/// See [`LoadChecker`].
///
/// # Examples
///
/// ```
/// use loopkeeper::monitor::check::{self, LoadWindow};
/// use loopkeeper::Checker;
///
/// let load = check::load(4.0).over(LoadWindow::OneMinute);
/// assert!(load.validate().is_ok());
/// assert!(check::load(f64::NAN).validate().is_err());
/// ```
pub fn load(max_per_core: f64) -> LoadChecker {
    LoadChecker { max_per_core, window: LoadWindow::default() }
}

/// Looks how many tasks run or wait for a processor or a disk; made by
/// [`load`](load()).
///
/// It is the load average of the kernel (`/proc/loadavg`), divided by the
/// processors that are online: of the machine, also in a container that may
/// use only some of them. Linux only.
///
/// # Errors
///
/// `Probe` when it is higher, `Io` when the kernel does not say.
#[derive(Debug, Clone)]
#[must_use = "a checker does nothing until it is called"]
pub struct LoadChecker {
    max_per_core: f64,
    window: LoadWindow,
}

/// Over which time a load is averaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LoadWindow {
    /// The last minute.
    OneMinute,
    /// The last five.
    #[default]
    FiveMinutes,
    /// The last fifteen.
    FifteenMinutes,
}

impl LoadWindow {
    /// The word for it in settings.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OneMinute => "1m",
            Self::FiveMinutes => "5m",
            Self::FifteenMinutes => "15m",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        [Self::OneMinute, Self::FiveMinutes, Self::FifteenMinutes]
            .into_iter()
            .find(|one| one.as_str() == text)
    }
}

impl LoadChecker {
    /// Over which time. Defaults to five minutes.
    pub fn over(self, window: LoadWindow) -> Self {
        Self { window, ..self }
    }
}

impl Checker for LoadChecker {
    fn check(&mut self, _: &Context, _: &Report) -> Result<Verdict, BoxError> {
        const LOAD: &str = "/proc/loadavg";
        const ONLINE: &str = "/sys/devices/system/cpu/online";
        let load = average(&read(LOAD)?, self.window).ok_or_else(|| odd(LOAD))?;
        let cores = cores(&read(ONLINE)?).ok_or_else(|| odd(ONLINE))?;
        let per_core = load / cores as f64;
        if per_core <= self.max_per_core {
            return Ok(Verdict::Ready);
        }
        let text = format!(
            "a load of {} a core ({} on {cores}) over {}, allowed is {}",
            Fixed(per_core, 2),
            Fixed(load, 2),
            self.window.as_str(),
            Real(self.max_per_core)
        );
        Err(Error::new(ErrorKind::Probe).context(text).into())
    }

    fn validate(&self) -> Result<()> {
        check_load(&self.max_per_core).map_err(|text| Error::invalid(format!("max_per_core: {text}")))
    }
}

/// Says what is wrong with a bound of load.
pub(super) fn check_load(max: &f64) -> Result<(), &'static str> {
    if *max > 0.0 && max.is_finite() { Ok(()) } else { Err("must be more than zero") }
}

fn average(text: &str, window: LoadWindow) -> Option<f64> {
    float(text.split_whitespace().nth(window as usize)?)
}

/// How many processors a list such as `0-3,8` has.
fn cores(text: &str) -> Option<u64> {
    let mut cores = 0_u64;
    for part in text.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        cores += u64::from(last.checked_sub(first)?) + 1;
    }
    Some(cores)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_files_are_read() {
        let text = "0.50 1.25 2.00 3/456 7890\n";
        assert_eq!(average(text, LoadWindow::OneMinute), Some(0.5));
        assert_eq!(average(text, LoadWindow::FiveMinutes), Some(1.25));
        assert_eq!(average(text, LoadWindow::FifteenMinutes), Some(2.0));
        for text in ["", "1.0", "1 x 2", "1 inf 2"] {
            assert_eq!(average(text, LoadWindow::FiveMinutes), None, "{text}");
        }
        for (text, expected) in [
            ("0\n", Some(1)),
            ("0-1\n", Some(2)),
            ("0-3,8,10-11", Some(7)),
            ("", None),
            ("3-0", None),
            ("0-", None),
            ("x", None),
            ("0-4294967295,0-4294967295", Some(1 << 33)),
        ] {
            assert_eq!(cores(text), expected, "{text}");
        }
    }

    #[test]
    fn a_bound_that_means_nothing_is_refused() {
        for max in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(load(max).validate().unwrap_err().to_string(), "max_per_core: must be more than zero");
        }
        assert!(load(0.1).validate().is_ok());
    }
}
