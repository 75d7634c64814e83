//! The one error type: a stable kind for programs, a text for people, and a
//! class that says what may be done about it.
//!
//! User traits return [`BoxError`], so that users bring their own errors.
//! What a failure means for the loop (try again with backoff, or do not) is
//! attached by the user with [`Error::terminal`] and found again with
//! [`ErrorClass::of`]; it is never guessed from a text.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Any error a user's code may return.
pub type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// Result with the crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, for branching.
///
/// The numbers are stable and are only ever appended to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(i32)]
pub enum ErrorKind {
    /// A setting or argument cannot be used: the text says which and why.
    InvalidArgument = 1,
    /// The call is not allowed in the present state, or from this thread.
    InvalidState = 2,
    /// A thread could not be made.
    Spawn = 3,
    /// A deadline passed.
    Timeout = 4,
    /// A configuration file or descriptor is wrong.
    Config = 5,
    /// User code returned an error; it is the source.
    Component = 6,
    /// User code panicked; the panic's message is the context.
    Panicked = 7,
    /// The work was cancelled; never counted as a failure.
    Cancelled = 8,
    /// A name is taken already.
    Duplicate = 9,
    /// Nothing has this name.
    NotFound = 10,
    /// A limit of the machine or of the process would be passed.
    Budget = 11,
    /// The operating system refused something; its error is the source.
    Io = 12,
    /// A probe reached what it asked and did not like the answer.
    Probe = 13,
    /// What the caller held was taken away meanwhile; nothing was changed.
    Stale = 14,
    /// A database refused something or did not answer.
    Store = 15,
}

impl ErrorKind {
    /// Every kind, in the order of their numbers.
    pub const ALL: [Self; 15] = [
        Self::InvalidArgument,
        Self::InvalidState,
        Self::Spawn,
        Self::Timeout,
        Self::Config,
        Self::Component,
        Self::Panicked,
        Self::Cancelled,
        Self::Duplicate,
        Self::NotFound,
        Self::Budget,
        Self::Io,
        Self::Probe,
        Self::Stale,
        Self::Store,
    ];

    /// The phrase that stands for the kind in messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidArgument => "invalid argument",
            Self::InvalidState => "not allowed in this state",
            Self::Spawn => "could not start a thread",
            Self::Timeout => "timed out",
            Self::Config => "bad configuration",
            Self::Component => "failed",
            Self::Panicked => "panicked",
            Self::Cancelled => "cancelled",
            Self::Duplicate => "name is taken",
            Self::NotFound => "not found",
            Self::Budget => "over the limit",
            Self::Io => "operating system error",
            Self::Probe => "probe failed",
            Self::Stale => "taken away meanwhile",
            Self::Store => "database error",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a loop may do about an error. A closed set: match it without a
/// wildcard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// Trying again may help: the loop backs off. The class of plain errors.
    Retryable,
    /// Trying again cannot help: the loop waits for its next regular run.
    Terminal,
    /// The work was told to end. Never counted as a failure.
    Cancelled,
    /// The work did not end in time. Backs off like `Retryable`.
    TimedOut,
    /// The work panicked. Backs off like `Retryable`.
    Panicked,
}

impl ErrorClass {
    /// Finds the class of `error` or of the first error in its source chain
    /// that carries one; an error without a class is retryable.
    #[must_use]
    pub fn of(error: &(dyn std::error::Error + 'static)) -> Self {
        let mut link = Some(error);
        while let Some(error) = link {
            if let Some(ours) = error.downcast_ref::<Error>() {
                return ours.class();
            }
            link = error.source();
        }
        Self::Retryable
    }
}

struct Inner {
    kind: ErrorKind,
    class: Option<ErrorClass>,
    context: Option<Cow<'static, str>>,
    source: Option<BoxError>,
    retry_after: Option<Duration>,
    weight: Weight,
}

/// How much a failed call says about what it asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weight {
    /// As much as any: so many in a row are believed.
    One,
    /// Nothing yet: it is neither a failure nor a success.
    Nothing,
    /// Everything: it is believed at once.
    All,
}

/// An error of this crate. Cloning shares it.
///
/// [`kind`](Self::kind) is for branching, `Display` is for people and does
/// not repeat the source; [`report`](Self::report) prints the whole chain.
///
/// # Examples
///
/// ```
/// use loopkeeper::{Error, ErrorKind};
///
/// let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
/// let error = Error::new(ErrorKind::Probe).context("tcp 127.0.0.1:1883").caused_by(refused);
/// assert_eq!(error.kind(), ErrorKind::Probe);
/// assert_eq!(error.to_string(), "tcp 127.0.0.1:1883");
/// assert_eq!(error.report().to_string(), "tcp 127.0.0.1:1883: connection refused");
/// ```
#[derive(Clone)]
pub struct Error(Arc<Inner>);

impl Error {
    /// Makes an error of a kind, without context or source.
    #[must_use]
    pub fn new(kind: ErrorKind) -> Self {
        Inner { kind, class: None, context: None, source: None, retry_after: None, weight: Weight::One }
            .into()
    }

    /// Makes an `InvalidArgument` that says what is wrong with which setting.
    #[must_use]
    pub fn invalid(context: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::InvalidArgument).context(context)
    }

    /// Wraps an error as terminal: a loop does not back off and try again, it
    /// waits for its next regular run.
    #[must_use]
    pub fn terminal(source: impl Into<BoxError>) -> Self {
        Self::new(ErrorKind::Component).with_class(ErrorClass::Terminal).caused_by(source)
    }

    /// Says what the error is about. Replaces an earlier context.
    #[must_use]
    pub fn context(self, context: impl Into<Cow<'static, str>>) -> Self {
        let context = Some(context.into());
        Inner { context, ..self.into_inner() }.into()
    }

    /// Adds the error that led to this one. Replaces an earlier source.
    #[must_use]
    pub fn caused_by(self, source: impl Into<BoxError>) -> Self {
        let source = Some(source.into());
        Inner { source, ..self.into_inner() }.into()
    }

    /// Sets the class. Without it the kind decides.
    #[must_use]
    pub fn with_class(self, class: ErrorClass) -> Self {
        Inner { class: Some(class), ..self.into_inner() }.into()
    }

    /// Says how long whoever refused asks to be left alone. What tries again
    /// with growing delays (watchers, controllers, recoveries) waits at least so
    /// long, up to 5 min; a regular run comes when it is due.
    #[must_use]
    pub fn with_retry_after(self, wait: Duration) -> Self {
        Inner { retry_after: Some(wait), ..self.into_inner() }.into()
    }

    /// Says that nothing can be told yet: whoever asked knows what he knew.
    pub(crate) fn undecided(self) -> Self {
        Inner { weight: Weight::Nothing, ..self.into_inner() }.into()
    }

    /// Says that this is to be believed whatever the threshold.
    pub(crate) fn certain(self) -> Self {
        Inner { weight: Weight::All, ..self.into_inner() }.into()
    }

    pub(crate) fn is_undecided(&self) -> bool {
        self.0.weight == Weight::Nothing
    }

    pub(crate) fn is_certain(&self) -> bool {
        self.0.weight == Weight::All
    }

    /// What went wrong, for branching.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What may be done about it.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        if let Some(class) = self.0.class {
            return class;
        }
        match self.kind() {
            ErrorKind::Cancelled => ErrorClass::Cancelled,
            ErrorKind::Timeout => ErrorClass::TimedOut,
            ErrorKind::Panicked => ErrorClass::Panicked,
            ErrorKind::InvalidArgument | ErrorKind::Config | ErrorKind::Stale => ErrorClass::Terminal,
            _ => ErrorClass::Retryable,
        }
    }

    /// How long whoever refused asks to be left alone, where it said so: to
    /// this error or to one that led to it.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        Self::retry_after_of(self)
    }

    fn retry_after_of(error: &(dyn std::error::Error + 'static)) -> Option<Duration> {
        let mut link = Some(error);
        while let Some(error) = link {
            let ours = error.downcast_ref::<Self>().and_then(|ours| ours.0.retry_after);
            if ours.is_some() {
                return ours;
            }
            link = error.source();
        }
        None
    }

    /// The error and everything that led to it, joined by `": "`.
    pub fn report(&self) -> Report<'_> {
        Report(self)
    }

    /// Turns what user code returned into an error that holds no object of
    /// the user's: its whole chain as text (bounded), its kind where it was
    /// one of ours, its class, how long to wait. Kept errors are dropped under locks and on our
    /// threads, where no user code may run.
    pub(crate) fn from_user(error: &(dyn std::error::Error + 'static)) -> Self {
        let (kind, text) = match error.downcast_ref::<Self>() {
            Some(ours) => (ours.kind(), ours.report().to_string()),
            None => (ErrorKind::Component, join_chain(error)),
        };
        let plain = Self::new(kind).with_class(ErrorClass::of(error)).context(clip(text, MAX_TEXT));
        let retry_after = Self::retry_after_of(error);
        let weight = error.downcast_ref::<Self>().map_or(Weight::One, |ours| ours.0.weight);
        Inner { retry_after, weight, ..plain.into_inner() }.into()
    }

    /// Turns what `catch_unwind` caught into an error with the panic's text.
    pub(crate) fn from_panic(payload: &(dyn std::any::Any + Send)) -> Self {
        let text = payload
            .downcast_ref::<&'static str>()
            .map(|text| (*text).to_owned())
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "a value that is not text".to_owned());
        Self::new(ErrorKind::Panicked).context(clip(format!("panicked: {text}"), MAX_TEXT))
    }

    /// What it is, alone.
    fn into_inner(self) -> Inner {
        Arc::try_unwrap(self.0).unwrap_or_else(|shared| Inner {
            kind: shared.kind,
            class: shared.class,
            context: shared.context.clone(),
            retry_after: shared.retry_after,
            weight: shared.weight,
            // The source cannot be cloned; the shared error stands in.
            source: shared.source.is_some().then(|| Box::new(Self(shared.clone())) as BoxError),
        })
    }
}

impl From<Inner> for Error {
    fn from(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.0.context, &self.0.source) {
            (Some(context), _) => f.write_str(context),
            (None, _) => self.0.kind.fmt(f),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("class", &self.class())
            .field("context", &self.0.context)
            .field("source", &self.0.source)
            .finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn std::error::Error + 'static))
    }
}

impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Self {
        Self::new(kind)
    }
}

/// The longest text of a user's error that is kept, in bytes.
const MAX_TEXT: usize = 2048;

/// Cuts a text to at most `max` bytes, at a character, and says so.
pub(crate) fn clip(text: String, max: usize) -> String {
    if text.len() <= max {
        return text;
    }
    // A text of its own: one that is only made shorter keeps its memory.
    let start = crate::text::start_of(&text, max);
    let mut cut = String::with_capacity(start.len() + '…'.len_utf8());
    cut.push_str(start);
    cut.push('…');
    cut
}

fn join_chain(error: &(dyn std::error::Error + 'static)) -> String {
    Chain(error).to_string()
}

/// Prints an error and what caused it.
struct Chain<'a>(&'a (dyn std::error::Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut link = self.0.source();
        while let Some(error) = link {
            write!(f, ": {error}")?;
            link = error.source();
        }
        Ok(())
    }
}

/// Prints an [`Error`] with its whole chain of causes; made by
/// [`Error::report`].
#[derive(Debug, Clone, Copy)]
pub struct Report<'a>(&'a Error);

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.0.0.context, &self.0.0.source) {
            // A cause without a context of ours speaks for itself.
            (None, Some(source)) => Chain(&**source).fmt(f),
            _ => Chain(self.0).fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_class_is_found_through_foreign_wrappers() {
        #[derive(Debug)]
        struct Wrapper(Error);
        impl fmt::Display for Wrapper {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("wrapped")
            }
        }
        impl std::error::Error for Wrapper {
            fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
                Some(&self.0)
            }
        }
        let table: [(BoxError, ErrorClass); 6] = [
            ("plain".into(), ErrorClass::Retryable),
            (Box::new(Error::terminal("no such table")), ErrorClass::Terminal),
            (Box::new(Wrapper(Error::terminal("no such table"))), ErrorClass::Terminal),
            (Box::new(Error::new(ErrorKind::Timeout)), ErrorClass::TimedOut),
            (Box::new(Error::new(ErrorKind::Cancelled)), ErrorClass::Cancelled),
            (Box::new(Error::from_panic(&"boom")), ErrorClass::Panicked),
        ];
        for (error, class) in table {
            assert_eq!(ErrorClass::of(&*error), class, "{error:?}");
        }
    }

    #[test]
    fn the_report_prints_the_chain_once() {
        let error = Error::new(ErrorKind::Component).caused_by("connection refused");
        assert_eq!(error.report().to_string(), "connection refused");
        let error = error.context("tcp 127.0.0.1:1");
        assert_eq!(error.report().to_string(), "tcp 127.0.0.1:1: connection refused");
        assert_eq!(Error::new(ErrorKind::Timeout).report().to_string(), "timed out");
    }

    #[test]
    fn a_users_error_is_kept_as_bounded_text_with_its_class() {
        let user: BoxError = Box::new(Error::terminal("é".repeat(2000)));
        let kept = Error::from_user(&*user);
        assert_eq!((kept.kind(), kept.class()), (ErrorKind::Component, ErrorClass::Terminal));
        assert!(kept.to_string().ends_with("é…") && kept.to_string().len() <= MAX_TEXT + '…'.len_utf8());
        assert!(std::error::Error::source(&kept).is_none());
    }

    #[test]
    fn what_is_cut_off_takes_no_memory() {
        let clipped = clip("é".repeat(500_000), MAX_TEXT);
        assert!(clipped.ends_with("é…") && clipped.capacity() < 2 * MAX_TEXT, "{}", clipped.capacity());
        assert_eq!((clip("abc".into(), 3), clip("abcd".into(), 3)), ("abc".into(), "abc…".into()));
    }

    #[test]
    fn context_on_a_shared_error_keeps_its_cause() {
        let first = Error::new(ErrorKind::Io).context("open x").caused_by("no such file");
        let second = first.clone().context("load");
        assert_eq!(first.report().to_string(), "open x: no such file");
        assert_eq!(second.report().to_string(), "load: open x: no such file");
    }

    #[test]
    fn kinds_keep_their_numbers() {
        for (i, kind) in ErrorKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as i32, i as i32 + 1);
        }
    }
}
