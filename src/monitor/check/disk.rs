//! Looks how much space disks have left.

use std::path::PathBuf;

use crate::component::Context;
use crate::decode::Size;
use crate::error::{BoxError, Error, Result};
use crate::monitor::{Checker, Report, Verdict};
use crate::probe::disk::{check_size, shortage};
use crate::probe::file_age::check_path;
use crate::probe::text::{reason, shown};
use crate::sys::disk::space;

/// Looks whether the file systems that hold `paths` have `min_free` left; each
/// path is an item.
///
/// See [`DiskChecker`].
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use loopkeeper::decode::Size;
/// use loopkeeper::monitor::{Report, check};
/// use loopkeeper::{Checker, Context, Env, Health, Name};
///
/// let env = Env::new()?;
/// let cx = Context::detached(&env, Name::new("disks")?, Duration::from_secs(5));
/// let report = Report::new();
/// check::disk(["/", "/nowhere"], Size::Bytes(1)).check(&cx, &report).unwrap();
/// assert_eq!(report.items()["/"].health, Health::Ready);
/// assert_eq!(report.items()["/nowhere"].reason.as_deref(), Some("no such file or folder"));
/// # Ok::<(), loopkeeper::Error>(())
/// ```
pub fn disk<P: Into<PathBuf>>(paths: impl IntoIterator<Item = P>, min_free: Size) -> DiskChecker {
    DiskChecker { paths: paths.into_iter().map(Into::into).collect(), min_free }
}

/// Looks how much space disks have left; made by [`disk`](disk()).
///
/// Free is what users without privileges may still write; a percentage is of
/// the whole file system. A path that is not there is down, and the others are
/// looked at all the same. A network file system that hangs holds the call,
/// which cannot be told to end; what comes before it in the list counts.
#[derive(Debug, Clone)]
#[must_use = "a checker does nothing until it is called"]
pub struct DiskChecker {
    paths: Vec<PathBuf>,
    min_free: Size,
}

impl Checker for DiskChecker {
    fn check(&mut self, cx: &Context, report: &Report) -> Result<Verdict, BoxError> {
        for path in &self.paths {
            cx.check()?;
            let result = match space(path) {
                Ok(space) => shortage(space, self.min_free).map_or(Ok(()), Err),
                Err(error) => Err(reason(&error)),
            };
            report.item(shown(path.as_os_str()), result);
        }
        Ok(Verdict::Items)
    }

    fn validate(&self) -> Result<()> {
        if self.paths.is_empty() {
            return Err(Error::invalid("paths: must name at least one"));
        }
        for (idx, path) in self.paths.iter().enumerate() {
            check_path(path.as_os_str()).map_err(|text| Error::invalid(format!("paths[{idx}]: {text}")))?;
        }
        check_size(&self.min_free).map_err(|text| Error::invalid(format!("min_free: {text}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_mean_nothing_are_refused() {
        for (checker, flaw) in [
            (disk([""; 0], Size::Bytes(1)), "paths: must name at least one"),
            (disk(["/", ""], Size::Bytes(1)), "paths[1]: must not be empty"),
            (disk(["/"], Size::Bytes(0)), "min_free: must be more than zero"),
        ] {
            assert_eq!(checker.validate().unwrap_err().to_string(), flaw);
        }
        assert!(disk(["/"], Size::Percent(1.0)).validate().is_ok());
    }
}
