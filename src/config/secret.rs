//! Values that are not shown: marked keys, and names that say so.

use crate::tree::{self, Fault, Node, Value};

pub(super) use crate::secret::SHOWN;
pub use crate::secret::Secret;

/// Takes what stands for a secret out of values that were written out.
pub(super) fn without_shown(node: &mut Node) {
    match &mut node.value {
        Value::String(text) if text == SHOWN => node.value = Value::Null,
        Value::Array(nodes) => nodes.iter_mut().for_each(without_shown),
        Value::Object(members) => members.nodes_mut().for_each(without_shown),
        _ => {}
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
        self.marked(key).is_some() || is_telling(key)
    }

    /// Whether a key was marked itself.
    pub(super) fn has(&self, key: &str) -> bool {
        self.0.iter().any(|marked| marked == key)
    }

    /// The marked key that a key is or is below.
    pub(super) fn marked(&self, key: &str) -> Option<&str> {
        self.iter().find(|marked| {
            key.strip_prefix(marked).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        })
    }

    /// Takes the value out of a fault's text when its key is secret, and what
    /// is below a marked key out of the fault's key.
    pub(super) fn redact(&self, fault: Fault) -> Fault {
        if !self.covers(&fault.key) {
            return fault;
        }
        let key = self.marked(&fault.key).unwrap_or(&fault.key).to_owned();
        Fault { key, ..without_value(fault) }
    }
}

/// The texts of a tree that are secret, to see that none is told.
pub(super) struct SecretTexts(Vec<String>);

impl SecretTexts {
    /// The longest part of a text that messages show as it is.
    const SHOWN: usize = 40;
    /// Shorter ones stand in too many texts by chance.
    const SHORTEST: usize = 4;

    pub(super) fn of(root: &Node, secrets: &Secrets) -> Self {
        let mut texts = Self(Vec::new());
        texts.collect(root, "", secrets, false, false);
        texts
    }

    fn collect(&mut self, node: &Node, key: &str, secrets: &Secrets, is_marked: bool, is_secret: bool) {
        match &node.value {
            Value::Number(text) if is_secret => self.add(text),
            Value::String(text) | Value::Raw(text) if is_secret => self.add(text),
            Value::Array(nodes) => {
                nodes.iter().for_each(|node| self.collect(node, key, secrets, is_marked, is_secret));
            }
            Value::Object(members) => {
                for member in members {
                    if is_marked {
                        self.add(&member.key);
                    }
                    let key = tree::join(key, &member.key);
                    let is_marked = is_marked || secrets.has(&key);
                    let is_secret = is_marked || is_secret || is_telling(&key);
                    self.collect(&member.node, &key, secrets, is_marked, is_secret);
                }
            }
            _ => {}
        }
    }

    fn add(&mut self, text: &str) {
        let start: String = text.chars().take(Self::SHOWN).collect();
        if start.chars().nth(Self::SHORTEST - 1).is_some() {
            let escaped = start.escape_debug().to_string();
            if escaped != start {
                self.0.push(escaped);
            }
            self.0.push(start);
        }
    }

    /// Whether a text tells a secret, or the beginning of one.
    pub(super) fn are_told_by(&self, text: &str) -> bool {
        self.0.iter().any(|secret| text.contains(secret))
    }
}

/// Takes out what was found, which all of our texts say last.
pub(super) fn without_value(fault: Fault) -> Fault {
    let cut = fault.message.find(", found ").unwrap_or(fault.message.len());
    let message = fault.message[..cut].to_owned();
    Fault { message, ..fault }
}

fn is_telling(key: &str) -> bool {
    const WORDS: [&str; 15] = [
        "password",
        "passwords",
        "passwd",
        "pwd",
        "passphrase",
        "secret",
        "secrets",
        "token",
        "privatekey",
        "apikey",
        "secretkey",
        "accesskey",
        "credential",
        "credentials",
        "authorization",
    ];
    key.split('.').any(|part| {
        // `max_tokens` is a number of tokens, `token_file` a path, `token_ttl` a time.
        let part = part.split('[').next().unwrap_or(part).trim_matches('"');
        let letters: String = part.chars().filter(|c| !matches!(c, '_' | '-')).collect();
        let letters = letters.to_ascii_lowercase();
        WORDS.iter().any(|word| letters.ends_with(word))
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
            "aws.secretAccessKey",
            "api-key",
            "headers.Authorization",
        ] {
            assert!(secrets.covers(key), "{key}");
        }
        for key in ["db", "db.dsn_name", "db.user", "token_file", "max_tokens", "a.secretary", "monkey"] {
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
