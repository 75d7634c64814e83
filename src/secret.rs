//! A text that is not shown.

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::decode::{Read, Refusal, Scalar};
use crate::tree::Node;

/// What stands for a secret wherever values are shown.
pub(crate) const SHOWN: &str = "<secret>";

/// A text that is not shown: it prints, and is written, as `<secret>`.
///
/// # Examples
///
/// ```
/// use loopkeeper::config::Secret;
///
/// let password = Secret::new("hunter2");
/// assert_eq!(format!("{password} {password:?}"), "<secret> <secret>");
/// assert_eq!(password.expose(), "hunter2");
/// ```
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl Secret {
    /// Hides a text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the one call that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Takes a text from a configuration. A dump that was made one is refused,
    /// because what it shows would be a secret that everybody knows.
    fn written(text: String) -> Result<Self, &'static str> {
        if text == SHOWN { Err("is only what is shown for a secret") } else { Ok(Self(text)) }
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SHOWN)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SHOWN)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(SHOWN)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Not with what was found instead: serde shows it.
        let text = String::deserialize(deserializer).map_err(|_| D::Error::custom(Self::EXPECTED))?;
        Self::written(text).map_err(D::Error::custom)
    }
}

impl Scalar for Secret {}
impl Read for Secret {
    const EXPECTED: &'static str = "a string";

    fn read(node: &Node) -> Result<Self, Refusal> {
        // Not with what was found instead.
        let text = String::read(node).map_err(|_| Refusal::Text("expected a string".to_owned()))?;
        Self::written(text).map_err(|error| Refusal::Text(error.to_owned()))
    }
}
