//! The secret that goes with each request.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::component::Context;
use crate::error::{BoxError, Error, ErrorClass, ErrorKind, Result};
use crate::probe::text::{local, shown};
use crate::sys::file::open_without_waiting;

/// The longest key that is read from a file, in bytes.
const MAX: u64 = 64 * 1024;

/// The secret that goes with each request; no `Debug` text shows it. Cloning
/// shares it.
///
/// # Examples
///
/// ```
/// use loopkeeper::rest::Key;
///
/// let environment = std::collections::BTreeMap::from([("RUNS_KEY", "c2VjcmV0")]);
/// let found = environment.get("RUNS_KEY").map(|key| key.to_string());
/// let key = Key::ask("RUNS_KEY", move |_| Ok(found.clone().ok_or("is not set")?));
/// assert_eq!(format!("{key:?}"), "Key(RUNS_KEY)");
/// ```
#[derive(Clone)]
pub struct Key(Source);

#[derive(Clone)]
enum Source {
    Text(Arc<str>),
    File(Arc<Path>),
    Ask { name: Arc<str>, ask: Ask },
}

type Ask = Arc<dyn Fn(&Context) -> std::result::Result<String, BoxError> + Send + Sync>;

impl Key {
    /// A key that stays the same.
    #[must_use]
    pub fn text(key: impl Into<Arc<str>>) -> Self {
        Self(Source::Text(key.into()))
    }

    /// The content of a file, without the space around it. Read for each
    /// request, so that one which is exchanged counts at once.
    #[must_use]
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Source::File(path.into().into()))
    }

    /// What a function answers, asked for each request, on the thread and
    /// with the deadline of the request, without the space around it. Errors
    /// begin with `name`.
    #[must_use]
    pub fn ask(
        name: impl Into<Arc<str>>,
        ask: impl Fn(&Context) -> std::result::Result<String, BoxError> + Send + Sync + 'static,
    ) -> Self {
        Self(Source::Ask { name: name.into(), ask: Arc::new(ask) })
    }

    /// The key, for one request.
    pub(super) fn read(&self, cx: &Context) -> Result<String> {
        match &self.0 {
            Source::Text(text) => filled("the text", text),
            Source::File(path) => read_file(path),
            Source::Ask { name, ask } => {
                let key = ask(cx).map_err(|error| {
                    let class = ErrorClass::of(&*error);
                    let error = Error::from_user(&*error);
                    Error::new(error.kind()).with_class(class).context(format!("key: {name}: {error}"))
                })?;
                filled(name, &key)
            }
        }
    }
}

/// A key without the space around it, as of a line that a tool wrote.
fn filled(name: &str, key: &str) -> Result<String> {
    match key.trim() {
        "" => Err(Error::new(ErrorKind::Io).context(format!("key: {name}: is empty"))),
        key => Ok(key.to_owned()),
    }
}

fn read_file(path: &Path) -> Result<String> {
    let name = shown(path.as_os_str());
    let flaw = |text: &str| Error::new(ErrorKind::Io).context(format!("key: {name}: {text}"));
    let refused = |error: std::io::Error| {
        let (kind, text) = local(&error);
        Error::new(kind).context(format!("key: {name}: {text}"))
    };
    // A pipe would hold the call until somebody writes to it.
    let file = open_without_waiting(path).map_err(refused)?;
    if !file.metadata().map_err(refused)?.is_file() {
        return Err(flaw("expected a file"));
    }
    let mut bytes = Vec::new();
    file.take(MAX + 1).read_to_end(&mut bytes).map_err(refused)?;
    if bytes.len() as u64 > MAX {
        return Err(flaw("is longer than a key may be, 64 KiB"));
    }
    match std::str::from_utf8(&bytes).map(str::trim) {
        Ok("") => Err(flaw("is empty")),
        Ok(key) => Ok(key.to_owned()),
        Err(_) => Err(flaw("is not text")),
    }
}

impl fmt::Debug for Key {
    /// Where it comes from, not what it is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::Text(_) => f.write_str("Key(***)"),
            Source::File(path) => write!(f, "Key({})", shown(path.as_os_str())),
            Source::Ask { name, .. } => write!(f, "Key({name})"),
        }
    }
}
