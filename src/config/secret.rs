//! Values that are not shown: marked keys, names that say so, and a type.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::decode::{Read, Refusal, Scalar};
use crate::tree::{Fault, Node};

/// What stands for a secret wherever values are shown.
pub(super) const SHOWN: &str = "<secret>";

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
        String::deserialize(deserializer).map(Self)
    }
}

impl Scalar for Secret {}
impl Read for Secret {
    const EXPECTED: &'static str = "a string";

    fn read(node: &Node) -> Result<Self, Refusal> {
        // Not with what was found instead.
        String::read(node).map(Self).map_err(|_| Refusal::Text("expected a string".to_owned()))
    }
}

/// Which keys are secret.
#[derive(Debug, Clone, Default)]
pub(super) struct Secrets(Vec<String>);

impl Secrets {
    pub(super) fn mark(&mut self, key: String) {
        self.0.push(key);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Whether the value of a key is not shown: it was marked, is below one
    /// that was, or has a name that gives it away. The last is a net for what
    /// nobody marked.
    pub(super) fn covers(&self, key: &str) -> bool {
        let marked = self.0.iter().any(|marked| {
            key.strip_prefix(marked.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        });
        marked || is_telling(key)
    }

    /// Takes the value out of a fault's text when its key is secret.
    pub(super) fn redact(&self, fault: Fault) -> Fault {
        if self.covers(&fault.key) { without_value(fault) } else { fault }
    }
}

/// Takes out what was found, which all of our texts say last.
pub(super) fn without_value(fault: Fault) -> Fault {
    let cut = fault.message.find(", found ").unwrap_or(fault.message.len());
    let message = fault.message[..cut].to_owned();
    Fault { message, ..fault }
}

fn is_telling(key: &str) -> bool {
    const WORDS: [&str; 7] =
        ["password", "passwd", "passphrase", "secret", "token", "private_key", "api_key"];
    key.to_ascii_lowercase().split('.').any(|part| {
        // `max_tokens` is a number of tokens, `token_file` a path, `token_ttl` a time.
        let part = part.split('[').next().unwrap_or(part).trim_matches('"');
        WORDS.iter().any(|word| part.ends_with(word))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Place;

    #[test]
    fn marked_keys_and_telling_names_are_covered() {
        let mut secrets = Secrets::default();
        secrets.mark("db.dsn".to_owned());
        for key in [
            "db.dsn",
            "db.dsn.x",
            "db.dsn[0]",
            "a.password",
            "a.API_KEY",
            "dbPassword",
            "tokens.token[1]",
            "password.old",
        ] {
            assert!(secrets.covers(key), "{key}");
        }
        for key in ["db", "db.dsn_name", "db.user", "token_file", "max_tokens", "a.secretary"] {
            assert!(!secrets.covers(key), "{key}");
        }
    }

    #[test]
    fn a_fault_keeps_everything_but_the_value() {
        let fault = |key: &str| Fault {
            place: Place::whole("env X"),
            key: key.to_owned(),
            message: "expected a number, found the string \"a, found b\"".to_owned(),
        };
        let secrets = Secrets::default();
        assert_eq!(secrets.redact(fault("token")).to_string(), "env X: token: expected a number");
        assert!(secrets.redact(fault("user")).to_string().ends_with("found b\""));
    }
}
