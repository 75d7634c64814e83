//! Tokens with which agents register, and the secrets of agents.
//!
//! A secret is shown once, when it is made. What is kept is its beginning, by
//! which it is found, and a SHA-256 of the whole; the comparison takes the
//! same time wherever they differ. Secrets are random and long, so that a
//! slow hash would add nothing.

use std::fmt;

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::agent::{AgentKind, MAX_NAME, check_text};
use super::id::{TenantId, TokenId};
use super::word::words;
use crate::error::{Error, ErrorKind, Result};
use crate::stamp::Stamp;

/// A secret in the clear. It does not show itself in `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// How much of a secret is kept in the clear to find it by.
const PREFIX: usize = 16;
/// Letters of random text in a secret: 5 bits each, so the part that is not
/// kept in the clear has 160 bits.
const LETTERS: usize = 44;

impl Secret {
    /// Makes a secret that begins with `kind`.
    pub(crate) fn random(kind: &str) -> Result<Self> {
        let mut bytes = [0_u8; LETTERS];
        getrandom::fill(&mut bytes).map_err(|error| {
            Error::new(ErrorKind::Io).context("random bytes for a secret").caused_by(error.to_string())
        })?;
        let letters =
            bytes.iter().map(|byte| char::from(b"abcdefghijkmnpqrstuvwxyz23456789"[*byte as usize % 32]));
        Ok(Self(format!("{kind}_{}", letters.collect::<String>())))
    }

    /// Takes a secret that somebody brought.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret in the clear: to be handed over once, and never logged.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The part by which it is found.
    pub(crate) fn prefix(&self) -> &str {
        let end = self.0.char_indices().nth(PREFIX).map_or(self.0.len(), |(at, _)| at);
        // A server takes no NUL, and a guess must not be told from another.
        self.0[..end].split('\0').next().unwrap_or_default()
    }

    /// What is kept of it.
    pub(crate) fn hash(&self) -> String {
        hex(&Sha256::digest(self.0.as_bytes()))
    }

    /// Whether this is the secret that was hashed, in a time that does not
    /// tell how much of it is right.
    pub(crate) fn matches(&self, hash: &str) -> bool {
        let ours = self.hash();
        let differ =
            ours.bytes().zip(hash.bytes()).fold(0, |differ, (a, b)| std::hint::black_box(differ | (a ^ b)));
        ours.len() == hash.len() && differ == 0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

words! {
    /// What a registration token is good for.
    pub enum TokenStatus as "status of a token" {
        /// Agents may register with it.
        Active = "active",
        /// An administrator took it back.
        Revoked = "revoked",
        /// Its time is over.
        Expired = "expired",
        /// Its uses are used up.
        Exhausted = "exhausted",
    }
}

/// A registration token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Token {
    /// Its number.
    pub id: TokenId,
    /// The tenant whose agents register with it; `None` for the platform's.
    pub tenant: Option<TenantId>,
    /// Its name, for people.
    pub name: String,
    /// The beginning of its secret.
    pub prefix: String,
    /// The only kind of agent that may register.
    pub kind: Option<AgentKind>,
    /// How often it may be used; `None` for as often as one likes.
    pub max_uses: Option<i64>,
    /// How often it was used.
    pub uses: i64,
    /// Until when it may be used.
    pub expires_at: Option<Stamp>,
    /// When its last use was used up.
    pub exhausted_at: Option<Stamp>,
    /// When an administrator took it back.
    pub revoked_at: Option<Stamp>,
    /// Who made it.
    pub created_by: String,
    /// When it was made.
    pub created_at: Stamp,
}

impl Token {
    /// What it is good for at a moment.
    #[must_use]
    pub fn status(&self, now: Stamp) -> TokenStatus {
        if self.revoked_at.is_some() {
            TokenStatus::Revoked
        } else if self.exhausted_at.is_some() {
            TokenStatus::Exhausted
        } else if self.expires_at.is_some_and(|at| at <= now) {
            TokenStatus::Expired
        } else {
            TokenStatus::Active
        }
    }

    /// Since when it is good for nothing; `None` while it is active, and
    /// later than now when it will expire.
    #[must_use]
    pub fn dead_since(&self) -> Option<Stamp> {
        [self.revoked_at, self.exhausted_at, self.expires_at].into_iter().flatten().min()
    }
}

/// A registration token to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a token is made through a store"]
pub struct NewToken {
    pub(crate) tenant: Option<TenantId>,
    pub(crate) name: String,
    pub(crate) kind: Option<AgentKind>,
    pub(crate) max_uses: Option<i64>,
    pub(crate) expires_at: Option<Stamp>,
}

impl NewToken {
    /// A token for the agents of a tenant, to be used once.
    pub fn for_tenant(tenant: TenantId, name: impl Into<String>) -> Self {
        Self { tenant: Some(tenant), ..Self::for_platform(name) }
    }

    /// A token for agents of the platform, to be used once.
    pub fn for_platform(name: impl Into<String>) -> Self {
        Self { tenant: None, name: name.into(), kind: None, max_uses: Some(1), expires_at: None }
    }

    /// Lets one kind of agent register only. Defaults to any.
    pub fn kind(mut self, kind: AgentKind) -> Self {
        self.kind = Some(kind);
        self
    }

    /// How often it may be used, at least once. Defaults to 1.
    pub fn max_uses(mut self, n: u32) -> Self {
        self.max_uses = Some(i64::from(n));
        self
    }

    /// Lets it be used as often as one likes.
    pub fn unlimited(mut self) -> Self {
        self.max_uses = None;
        self
    }

    /// Until when it may be used. Defaults to for ever.
    pub fn expires_at(mut self, at: Stamp) -> Self {
        self.expires_at = Some(at);
        self
    }

    /// Refuses what cannot be kept.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`; the text names the field.
    pub fn check(&self) -> Result<()> {
        check_text("name", &self.name, MAX_NAME)?;
        if self.max_uses == Some(0) {
            return Err(Error::invalid("max_uses: must be at least 1, found 0"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_by_its_beginning_and_known_by_its_hash() {
        let secret = Secret::random("lkt").unwrap();
        let hash = secret.hash();
        assert!(!hash.contains(secret.reveal()) && hash.len() == 64);
        assert!(secret.matches(&hash));
        assert!(secret.reveal().starts_with(secret.prefix()) && secret.prefix().len() == PREFIX);
        let other = Secret::random("lkt").unwrap();
        assert!(!other.matches(&hash) && other != secret);
        assert!(!secret.matches("") && !secret.matches(&hash[..63]) && !secret.matches(&format!("{hash}0")));
        assert!(!Secret::new("é").matches(&hash));
        assert_eq!(Secret::new("é\0a").prefix(), "é");
        assert_eq!(format!("{secret:?}"), "Secret(..)");
    }
}
