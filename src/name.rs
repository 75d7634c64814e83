//! Names of loops and components: short, printable, safe in a path, a URL, a
//! label and a thread name.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::error::{Error, Result};

/// The longest name, in bytes.
pub const MAX_LEN: usize = 63;

/// A checked name: `[A-Za-z0-9][A-Za-z0-9._-]{0,62}`. Cloning shares it.
///
/// # Examples
///
/// ```
/// use loopkeeper::Name;
///
/// let name: Name = "mqtt-broker".parse()?;
/// assert_eq!(name.as_str(), "mqtt-broker");
/// assert!("".parse::<Name>().is_err());
/// assert!("../etc".parse::<Name>().is_err());
/// # Ok::<(), loopkeeper::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

impl Name {
    /// The very text, shared.
    pub(crate) fn shared(&self) -> Arc<str> {
        self.0.clone()
    }

    /// Checks a name.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` when it is empty, too long or has a character that
    /// is not allowed; the text names the character and its place.
    pub fn new(text: &str) -> Result<Self> {
        if text.is_empty() {
            return Err(Error::invalid("name: must not be empty"));
        }
        if text.len() > MAX_LEN {
            return Err(Error::invalid(format!("name: at most {MAX_LEN} bytes, found {}", text.len())));
        }
        let wrong = text
            .char_indices()
            .find(|&(i, c)| !(c.is_ascii_alphanumeric() || i > 0 && matches!(c, '.' | '_' | '-')));
        match wrong {
            None => Ok(Self(text.into())),
            Some((0, c)) => {
                Err(Error::invalid(format!("name: must begin with a letter or digit, found {c:?}")))
            }
            Some((i, c)) => Err(Error::invalid(format!(
                "name: letters, digits, '.', '_' and '-' only, found {c:?} at byte {i}"
            ))),
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Names in a row, as people read them.
pub(crate) fn join(names: &[Name]) -> String {
    names.iter().map(Name::as_str).collect::<Vec<_>>().join(", ")
}

impl FromStr for Name {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::new(text)
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl serde::Serialize for Name {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        let long = "x".repeat(MAX_LEN);
        for good in ["a", "9", "mqtt", "A.b_c-9", &long] {
            assert_eq!(Name::new(good).unwrap().as_str(), good);
        }
        let longer = "x".repeat(MAX_LEN + 1);
        for (bad, text) in [
            ("", "must not be empty"),
            ("-a", "begin with a letter or digit, found '-'"),
            (".", "begin with"),
            ("a b", "found ' ' at byte 1"),
            ("a/b", "found '/'"),
            ("naïve", "found 'ï' at byte 2"),
            ("a\n", "found '\\n'"),
            (&longer, "at most 63 bytes, found 64"),
        ] {
            let error = Name::new(bad).unwrap_err();
            assert!(error.to_string().contains(text), "{bad:?}: {error}");
        }
    }
}
