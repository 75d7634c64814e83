//! Asks whether a disk has room left.

use std::fmt;
use std::path::PathBuf;

use super::Probe;
use super::file_age::check_path;
use super::text::{reason, shown};
use crate::component::Context;
use crate::decode::Size;
use crate::error::{BoxError, Error, ErrorKind, Result};
use crate::number::Fixed;
use crate::sys::disk::{Space, space};

/// Asks whether the file system that holds `path` has `min_free` left.
///
/// See [`DiskProbe`].
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use loopkeeper::decode::Size;
/// use loopkeeper::{Context, Env, Name, Probe, probe};
///
/// let env = Env::new()?;
/// let cx = Context::detached(&env, Name::new("disk")?, Duration::from_secs(5));
/// assert!(probe::disk("/", Size::Bytes(1)).probe(&cx).is_ok());
///
/// let error = probe::disk("/", Size::Bytes(u64::MAX)).probe(&cx).unwrap_err();
/// // disk /: 53.2GiB (21.4%) of 248.0GiB free, needed 16777216.0TiB (..)
/// assert!(error.to_string().starts_with("disk /: "));
/// # Ok::<(), loopkeeper::Error>(())
/// ```
#[must_use = "a probe does nothing until it is asked"]
pub fn disk(path: impl Into<PathBuf>, min_free: Size) -> DiskProbe {
    DiskProbe { path: path.into(), min_free }
}

/// Asks a file system for its free space; made by [`disk`].
///
/// Free is what users without privileges may still write; a percentage is of
/// the whole file system. Asks once and cannot be told to end: a network file
/// system that hangs holds the call, and the watcher says so.
///
/// # Errors
///
/// `Probe` when too little is free or the path is not there, `Io` when the
/// file system cannot be asked; `InvalidArgument` when the path cannot be one or
/// the size is zero, not a number or more than all.
#[derive(Debug, Clone)]
pub struct DiskProbe {
    path: PathBuf,
    min_free: Size,
}

impl Probe for DiskProbe {
    fn check(&self) -> Result<()> {
        check_path(self.path.as_os_str()).map_err(|text| Error::invalid(format!("path: {text}")))?;
        check_size(&self.min_free).map_err(|text| Error::invalid(format!("min_free: {text}")))
    }

    fn probe(&mut self, cx: &Context) -> Result<(), BoxError> {
        self.check()?;
        let fail = |kind, text: String| {
            Error::new(kind).context(format!("disk {}: {text}", shown(self.path.as_os_str())))
        };
        cx.step(format_args!("looking at {}", shown(self.path.as_os_str())));
        let space = space(&self.path).map_err(|error| {
            let gone = error.kind() == std::io::ErrorKind::NotFound;
            fail(if gone { ErrorKind::Probe } else { ErrorKind::Io }, reason(&error))
        })?;
        shortage(space, self.min_free).map_or(Ok(()), |text| Err(fail(ErrorKind::Probe, text).into()))
    }
}

/// Says what is wrong with a size to be kept free.
pub(crate) fn check_size(size: &Size) -> Result<(), &'static str> {
    match *size {
        Size::Bytes(0) => Err("must be more than zero"),
        Size::Percent(percent) if !(percent > 0.0 && percent <= 100.0) => {
            Err("must be more than 0% and at most 100%")
        }
        _ => Ok(()),
    }
}

/// Says what is missing, if something is.
pub(crate) fn shortage(space: Space, min_free: Size) -> Option<String> {
    let Space { free, total } = space;
    let needed = match min_free {
        Size::Bytes(bytes) => bytes,
        Size::Percent(_) if total == 0 => {
            return Some("the file system has no size to take a percentage of".to_owned());
        }
        // Rounded up, so that it is never satisfied by less.
        Size::Percent(percent) => (total as f64 * percent / 100.0).ceil() as u64,
    };
    if free >= needed {
        return None;
    }
    let share = |bytes: u64| Share { bytes, total };
    Some(format!("{} of {} free, needed {}", share(free), Bytes(total), share(needed)))
}

/// `1.5GiB (12.0%)`
struct Share {
    bytes: u64,
    total: u64,
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Bytes(self.bytes).fmt(f)?;
        if self.total > 0 {
            write!(f, " ({}%)", Fixed(self.bytes as f64 / self.total as f64 * 100.0, 1))?;
        }
        Ok(())
    }
}

/// Bytes in the unit that people would use.
pub(crate) struct Bytes(pub(crate) u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, bytes) in [("TiB", 1_u64 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
            let n = self.0 as f64 / bytes as f64;
            // What rounds to one of a unit is told in it.
            if n >= 0.9999 {
                return write!(f, "{}{unit}", Fixed(n, 1));
            }
        }
        write!(f, "{}B", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_is_told_in_both_units() {
        let gib = 1_u64 << 30;
        let of = |free, total| Space { free, total };
        for (space, min_free, text) in [
            (of(gib, 8 * gib), Size::Bytes(gib), None),
            (
                of(gib - 1, 8 * gib),
                Size::Bytes(gib),
                Some("1.0GiB (12.5%) of 8.0GiB free, needed 1.0GiB (12.5%)"),
            ),
            (of(gib, 8 * gib), Size::Percent(12.5), None),
            (
                of(gib, 8 * gib),
                Size::Percent(50.0),
                Some("1.0GiB (12.5%) of 8.0GiB free, needed 4.0GiB (50.0%)"),
            ),
            (of(0, 1000), Size::Bytes(10), Some("0B (0.0%) of 1000B free, needed 10B (1.0%)")),
            (of(0, 0), Size::Bytes(10), Some("0B of 0B free, needed 10B")),
            (of(0, 0), Size::Percent(1.0), Some("the file system has no size to take a percentage of")),
            (of(9, 1000), Size::Percent(0.91), Some("9B (0.9%) of 1000B free, needed 10B (1.0%)")),
        ] {
            assert_eq!(shortage(space, min_free).as_deref(), text);
        }
    }

    #[test]
    fn sizes_that_mean_nothing_are_refused() {
        for size in [0.0, -1.0, 100.5, f64::NAN, f64::INFINITY].map(Size::Percent) {
            assert!(disk("/", size).check().is_err(), "{size:?}");
        }
        assert!(disk("/", Size::Bytes(0)).check().is_err());
        assert!(disk("", Size::Bytes(1)).check().is_err());
        assert!(disk("/", Size::Percent(100.0)).check().is_ok());
    }
}
