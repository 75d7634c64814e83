//! Asks whether a file was written lately.

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use super::Probe;
use super::text::{no_nul, reason, shown};
use crate::component::Context;
use crate::duration::GoDuration;
use crate::error::{BoxError, Error, ErrorKind, Result};

/// Asks whether what is at `path` was written within `max_age`.
///
/// See [`FileAgeProbe`].
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use loopkeeper::{Context, Env, Name, Probe, probe};
///
/// let env = Env::new()?;
/// let cx = Context::detached(&env, Name::new("backup")?, Duration::from_secs(5));
/// let mut backup = probe::file_age("/nowhere/backup.tar", Duration::from_secs(86_400));
/// let error = backup.probe(&cx).unwrap_err();
/// assert_eq!(error.to_string(), "file_age /nowhere/backup.tar: no such file or folder");
/// # Ok::<(), loopkeeper::Error>(())
/// ```
#[must_use = "a probe does nothing until it is asked"]
pub fn file_age(path: impl Into<PathBuf>, max_age: Duration) -> FileAgeProbe {
    FileAgeProbe { path: path.into(), max_age }
}

/// Compares the time of the last write with the wall clock's; made by
/// [`file_age`].
///
/// A link is followed; a folder counts as written when an entry of it comes
/// or goes. A time in the future counts as now: clocks of file servers and of
/// machines that just booted are off, and the file was written. The wall
/// clock is that of the context's [`Env`](crate::Env).
///
/// Asks the file system once and cannot be told to end: a network file system
/// that hangs holds the call, and the watcher says so.
///
/// # Errors
///
/// `Probe` when the file is too old or is not there, `Io` when it cannot be
/// asked about; `InvalidArgument` when the path cannot be one or the age is zero.
#[derive(Debug, Clone)]
pub struct FileAgeProbe {
    path: PathBuf,
    max_age: Duration,
}

impl Probe for FileAgeProbe {
    fn check(&self) -> Result<()> {
        check_path(self.path.as_os_str()).map_err(|text| Error::invalid(format!("path: {text}")))?;
        if self.max_age.is_zero() {
            return Err(Error::invalid("max_age: must be more than zero"));
        }
        Ok(())
    }

    fn probe(&mut self, cx: &Context) -> Result<(), BoxError> {
        self.check()?;
        let fail = |kind, text: String| {
            Error::new(kind).context(format!("file_age {}: {text}", shown(self.path.as_os_str())))
        };
        cx.step(format_args!("looking at {}", shown(self.path.as_os_str())));
        let written = fs::metadata(&self.path).and_then(|data| data.modified()).map_err(|error| {
            let gone = error.kind() == std::io::ErrorKind::NotFound;
            fail(if gone { ErrorKind::Probe } else { ErrorKind::Io }, reason(&error))
        })?;
        // An error means that it was written in the future.
        let age = cx.env().clock().wall().duration_since(written).unwrap_or_default();
        if age <= self.max_age {
            return Ok(());
        }
        // Whole seconds are enough for what is that old.
        let age = if age.as_secs() > 0 { Duration::from_secs(age.as_secs()) } else { age };
        let text = format!("last written {} ago, allowed is {}", GoDuration(age), GoDuration(self.max_age));
        Err(fail(ErrorKind::Probe, text).into())
    }
}

/// Says what is wrong with a path.
pub(crate) fn check_path(path: &OsStr) -> Result<(), &'static str> {
    if path.is_empty() { Err("must not be empty") } else { no_nul(path) }
}
