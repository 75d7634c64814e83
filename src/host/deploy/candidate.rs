//! What stands in the folder: one file, and what it says.

use std::path::PathBuf;

use super::fingerprint::Fingerprint;
use crate::error::Error;
use crate::name::Name;
use crate::tree::Place;

/// A file of the folder, and what it says.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) path: PathBuf,
    /// `None` when it cannot be read.
    pub(super) content: Option<Fingerprint>,
    pub(super) reading: Reading,
}

/// What a file says.
#[derive(Debug, Clone)]
pub(super) enum Reading {
    /// It describes a component.
    Right { name: Name, place: Place, enabled: bool, requires: Vec<(Name, Place)>, meaning: Fingerprint },
    /// It does not.
    Wrong { name: Option<Name>, error: Error },
}

impl Reading {
    /// Whose descriptor it is, where it tells that.
    pub(super) fn name(&self) -> Option<&Name> {
        match self {
            Self::Right { name, .. } => Some(name),
            Self::Wrong { name, .. } => name.as_ref(),
        }
    }
}
