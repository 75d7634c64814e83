//! Looks how much memory the machine has left.

use crate::component::Context;
use crate::decode::Size;
use crate::error::{BoxError, Error, ErrorKind, Result};
use crate::event::Health;
use crate::monitor::{Checker, Report, Verdict};
use crate::number::{Real, float};
use crate::probe::disk::{check_size, shortage};
use crate::probe::text::reason;
use crate::sys::disk::Space;

/// Looks whether the machine has `min_available` of its memory left.
///
/// See [`MemoryChecker`].
///
/// # Examples
///
/// ```
/// use loopkeeper::decode::Size;
/// use loopkeeper::monitor::check;
/// use loopkeeper::Checker;
///
/// let memory = check::memory(Size::Percent(5.0)).max_pressure(20.0);
/// assert!(memory.validate().is_ok());
/// assert!(check::memory(Size::Bytes(0)).validate().is_err());
/// ```
pub fn memory(min_available: Size) -> MemoryChecker {
    MemoryChecker { min_available, max_pressure: None }
}

/// Looks how much memory is left; made by [`memory`](memory()).
///
/// The item `available` is what the kernel believes programs could still take
/// without swapping (`MemAvailable` of `/proc/meminfo`), of the machine and not
/// of a container with less. The item `pressure` is the share of the last
/// minute in which some program waited for memory (`some avg60` of
/// `/proc/pressure/memory`). One that the kernel does not tell is unknown.
/// Linux only.
#[derive(Debug, Clone)]
#[must_use = "a checker does nothing until it is called"]
pub struct MemoryChecker {
    min_available: Size,
    max_pressure: Option<f64>,
}

impl MemoryChecker {
    /// How many percent of the last minute some program may have waited for
    /// memory. Defaults to not looking.
    pub fn max_pressure(self, percent: f64) -> Self {
        Self { max_pressure: Some(percent), ..self }
    }
}

impl Checker for MemoryChecker {
    fn check(&mut self, _: &Context, report: &Report) -> Result<Verdict, BoxError> {
        const INFO: &str = "/proc/meminfo";
        let space = read(INFO).and_then(|text| available(&text).ok_or_else(|| odd(INFO)));
        tell(report, "available", space.map(|space| shortage(space, self.min_available)));
        if let Some(max) = self.max_pressure {
            const PRESSURE: &str = "/proc/pressure/memory";
            let found = read(PRESSURE).and_then(|text| pressure(&text).ok_or_else(|| odd(PRESSURE)));
            let too_high = |found: f64| {
                let text = || {
                    let (found, max) = (Real(found), Real(max));
                    format!("programs waited {found}% of the last minute for memory, allowed is {max}%")
                };
                (found > max).then(text)
            };
            tell(report, "pressure", found.map(too_high));
        }
        Ok(Verdict::Items)
    }

    fn validate(&self) -> Result<()> {
        check_size(&self.min_available).map_err(|text| Error::invalid(format!("min_available: {text}")))?;
        match self.max_pressure.map(|max| check_pressure(&max)) {
            Some(Err(text)) => Err(Error::invalid(format!("max_pressure: {text}"))),
            _ => Ok(()),
        }
    }
}

/// What the kernel does not say is unknown: not every one knows its pressure.
fn tell(report: &Report, item: &str, problem: Result<Option<String>>) {
    match problem {
        Ok(None) => report.state(item, Health::Ready, ""),
        Ok(Some(text)) => report.state(item, Health::Down, text),
        Err(error) => report.state(item, Health::Unknown, error.report().to_string()),
    }
}

/// Says what is wrong with a bound of pressure.
pub(super) fn check_pressure(percent: &f64) -> Result<(), &'static str> {
    if *percent > 0.0 && *percent < 100.0 { Ok(()) } else { Err("must be more than 0 and less than 100") }
}

/// Reads a file of the kernel's.
pub(super) fn read(path: &'static str) -> Result<String> {
    std::fs::read_to_string(path)
        .map_err(|error| Error::new(ErrorKind::Io).context(format!("{path}: {}", reason(&error))))
}

pub(super) fn odd(path: &'static str) -> Error {
    Error::new(ErrorKind::Io).context(format!("{path}: is not as it was expected"))
}

/// What is available of all there is, from `/proc/meminfo`.
fn available(text: &str) -> Option<Space> {
    let field = |name: &str| {
        let rest = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        let kib: u64 = rest.trim().strip_suffix("kB")?.trim().parse().ok()?;
        kib.checked_mul(1024)
    };
    Some(Space { free: field("MemAvailable")?, total: field("MemTotal")? })
}

/// The `avg60` of the line `some` of `/proc/pressure/memory`.
fn pressure(text: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix("some "))?;
    let share = line.split_whitespace().find_map(|word| word.strip_prefix("avg60="))?;
    float(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_files_are_read() {
        let text = "MemTotal:       16314440 kB\nMemFree:          202128 kB\nMemAvailable:    8157220 kB\n";
        assert_eq!(available(text), Some(Space { free: 8_157_220 << 10, total: 16_314_440 << 10 }));
        for text in
            ["", "MemTotal: 5 kB\n", "MemTotal: 5\nMemAvailable: x kB", "MemTotal: 5 kB\nMemAvailable: -1 kB"]
        {
            assert_eq!(available(text), None, "{text}");
        }
        let text = "some avg10=0.00 avg60=1.25 avg300=0.10 total=123\nfull avg10=0.00 avg60=9.00 avg300=0.00 total=1\n";
        assert_eq!(pressure(text), Some(1.25));
        for text in ["", "full avg60=1.0", "some avg60=x", "some avg10=1", "some avg60=inf"] {
            assert_eq!(pressure(text), None, "{text}");
        }
    }

    #[test]
    fn what_the_kernel_does_not_say_is_unknown() {
        let report = Report::new();
        tell(&report, "a", read("/proc/nowhere").map(|_| None));
        tell(&report, "b", Err(odd("/proc/meminfo")));
        tell(&report, "c", Ok(Some("too little".to_owned())));
        let items = report.items();
        let said = |name: &str| (items[name].health, items[name].reason.as_deref().unwrap_or_default());
        assert_eq!(said("a"), (Health::Unknown, "/proc/nowhere: no such file or folder"));
        assert_eq!(said("b"), (Health::Unknown, "/proc/meminfo: is not as it was expected"));
        assert_eq!(said("c"), (Health::Down, "too little"));
    }

    #[test]
    fn settings_that_mean_nothing_are_refused() {
        for (checker, flaw) in [
            (memory(Size::Percent(0.0)), "min_available: must be more than 0% and at most 100%"),
            (
                memory(Size::Bytes(1)).max_pressure(f64::NAN),
                "max_pressure: must be more than 0 and less than 100",
            ),
            (
                memory(Size::Bytes(1)).max_pressure(100.0),
                "max_pressure: must be more than 0 and less than 100",
            ),
        ] {
            assert_eq!(checker.validate().unwrap_err().to_string(), flaw);
        }
    }
}
