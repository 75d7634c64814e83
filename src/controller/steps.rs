//! A run of several steps, none of whose errors is lost and none of whose
//! errors keeps the others from running.

use std::fmt;

use super::Outcome;
use crate::error::{BoxError, Error, ErrorClass, ErrorKind, clip};

/// How many failed steps are told one by one.
const MAX_TOLD: usize = 8;

/// Runs the steps of a run: each is made although an earlier one failed, and
/// the run fails if any of them did, with all that the others did counted.
///
/// Good for the items of a pass, too: a bad one is told, and skipped.
///
/// # Examples
///
/// ```
/// use loopkeeper::controller::{Outcome, Steps};
/// use loopkeeper::{BoxError, Context};
///
/// fn requeue() -> Result<usize, BoxError> { Ok(3) }
/// fn expire() -> Result<usize, BoxError> { Err("the table is locked".into()) }
/// fn delete() -> Result<usize, BoxError> { Ok(4) }
///
/// fn reconcile(_: &Context) -> Result<Outcome, BoxError> {
///     let mut steps = Steps::default();
///     steps.run("requeue", requeue);
///     steps.run("expire", expire);
///     steps.run("delete", delete);
///     steps.finish()
/// }
///
/// # let env = loopkeeper::Env::new()?;
/// # let cx = Context::detached(&env, "x".parse()?, std::time::Duration::from_secs(1));
/// let error = reconcile(&cx).unwrap_err();
/// assert_eq!(error.to_string(), "1 step failed");
/// assert_eq!(error.source().unwrap().to_string(), "expire: the table is locked");
/// # Ok::<(), loopkeeper::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Steps {
    items: u64,
    told: Vec<String>,
    failures: usize,
    class: Option<ErrorClass>,
    kind: Option<ErrorKind>,
}

impl Steps {
    /// Makes a step. How many items it dealt with; 0 when it failed.
    pub fn run<E: Into<BoxError>>(&mut self, name: &str, step: impl FnOnce() -> Result<usize, E>) -> usize {
        match step() {
            Ok(items) => {
                self.items = self.items.saturating_add(items as u64);
                items
            }
            Err(error) => {
                let error: BoxError = error.into();
                self.fail(name, &Error::from_user(&*error));
                0
            }
        }
    }

    /// Whether a step has failed so far.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.failures > 0
    }

    /// What the run returns.
    ///
    /// # Errors
    ///
    /// When a step has failed: the text names each, up to eight. It is tried
    /// again soon if that may help any of them.
    pub fn finish(self) -> Result<Outcome, BoxError> {
        let Self { items, failures, .. } = self;
        let Some(class) = self.class else { return Ok(Outcome { items, ..Outcome::default() }) };
        let error = Error::new(ErrorKind::Component).with_class(class).context(self.text());
        Err(Box::new(Partial { items, failures, error }))
    }

    /// Counts what was done beside the steps that said so.
    #[cfg(feature = "_sql")]
    pub(crate) fn count(&mut self, items: u64) {
        self.items = self.items.saturating_add(items);
    }

    /// Has what is tried again tried as if each failure were of this class.
    #[cfg(feature = "_sql")]
    pub(crate) fn reclass(&mut self, class: ErrorClass) {
        self.class = self.class.map(|_| class);
    }

    /// All that failed, as one error of the first one's kind.
    #[cfg(feature = "_sql")]
    pub(crate) fn error(&self) -> Option<Error> {
        let (class, kind) = (self.class?, self.kind?);
        Some(Error::new(kind).with_class(class).context(self.text()))
    }

    fn text(&self) -> String {
        let text = self.told.join("; ");
        match self.failures - self.told.len() {
            0 => text,
            more => format!("{text} and {more} more"),
        }
    }

    pub(crate) fn fail(&mut self, name: &str, error: &Error) {
        self.kind = self.kind.or(Some(error.kind()));
        self.failures += 1;
        if self.told.len() < MAX_TOLD {
            self.told.push(clip(format!("{name}: {}", error.report()), 256));
        }
        self.class = Some(match (self.class, error.class()) {
            (None | Some(ErrorClass::Cancelled), class) => class,
            (Some(known), ErrorClass::Cancelled) => known,
            (Some(ErrorClass::Terminal), class) => class,
            (Some(known), _) => known,
        });
    }
}

/// A run that failed, and did something nevertheless.
#[derive(Debug)]
pub(super) struct Partial {
    pub(super) items: u64,
    failures: usize,
    /// Says which steps, and carries the class.
    error: Error,
}

impl fmt::Display for Partial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let noun = if self.failures == 1 { "step" } else { "steps" };
        write!(f, "{} {noun} failed", self.failures)
    }
}

impl std::error::Error for Partial {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wct_14_no_failed_step_is_swallowed() {
        let terminal = || Err::<usize, _>(Error::terminal("no such table"));
        let cancelled = || Err::<usize, _>(Error::new(ErrorKind::Cancelled));
        let plain = || Err::<usize, BoxError>("locked".into());
        let check = |steps: &dyn Fn(&mut Steps), expected: (u64, &str, ErrorClass)| {
            let mut all = Steps::default();
            steps(&mut all);
            let error = all.finish().unwrap_err();
            let partial = error.downcast_ref::<Partial>().unwrap();
            assert_eq!((partial.items, &*partial.error.to_string(), ErrorClass::of(&*error)), expected);
        };
        check(
            &|steps| {
                assert_eq!(steps.run("a", || Ok::<_, BoxError>(3)), 3);
                assert!(!steps.has_failed());
                assert_eq!(steps.run("b", terminal), 0);
                assert!(steps.has_failed());
                steps.run("c", || Ok::<_, BoxError>(4));
            },
            (7, "b: no such table", ErrorClass::Terminal),
        );
        check(
            &|steps| {
                steps.run("a", terminal);
                steps.run("b", plain);
                steps.run("c", terminal);
            },
            (0, "a: no such table; b: locked; c: no such table", ErrorClass::Retryable),
        );
        check(
            &|steps| {
                steps.run("a", cancelled);
            },
            (0, "a: cancelled", ErrorClass::Cancelled),
        );
        for (first, then) in [(true, false), (false, true)] {
            let told =
                if first { "a: cancelled; b: no such table" } else { "a: no such table; b: cancelled" };
            check(
                &|steps| {
                    steps.run("a", if first { &cancelled as &dyn Fn() -> _ } else { &terminal });
                    steps.run("b", if then { &cancelled as &dyn Fn() -> _ } else { &terminal });
                },
                (0, told, ErrorClass::Terminal),
            );
        }
        check(
            &|steps| {
                steps.run("a", plain);
                steps.run("b", cancelled);
            },
            (0, "a: locked; b: cancelled", ErrorClass::Retryable),
        );
        check(
            &|steps| {
                (0..10).for_each(|_| {
                    steps.run("x", plain);
                });
            },
            (0, &format!("{}x: locked and 2 more", "x: locked; ".repeat(7)), ErrorClass::Retryable),
        );
        let mut fine = Steps::default();
        fine.run("a", || Ok::<_, BoxError>(2));
        assert_eq!(fine.finish().unwrap(), Outcome::processed(2));
    }
}
