//! What a plan says: one thing after the other to do, or to leave, as data.

use std::fmt;
use std::path::PathBuf;

use super::candidate::Candidate;
use crate::error::Error;
use crate::name::Name;

/// One thing to do, or to leave.
#[derive(Debug, Clone)]
pub(super) enum Change {
    /// Stop what no file asks for any more.
    Stop { name: Name },
    /// Build and start what this file describes.
    Start { name: Name, file: usize },
    /// Build what this file describes, and start it in place of what runs.
    Replace { name: Name, file: usize },
    /// Leave what runs; it is what this file describes, when it is one's.
    Keep { name: Name, file: Option<usize> },
    /// Leave the file: it is wrong, its name is taken, or what it describes
    /// has failed for good.
    Reject { file: usize, error: Error },
    /// Leave the name for now: an operation is under way, or what failed is not
    /// yet to be tried again.
    Wait { name: Name },
}

impl Change {
    /// Whether it leaves what runs because a file asks for just that.
    pub(super) fn is_kept(&self) -> bool {
        matches!(self, Self::Keep { file: Some(_), .. })
    }

    pub(super) fn stops(&self) -> Option<&Name> {
        match self {
            Self::Stop { name } => Some(name),
            _ => None,
        }
    }
}

/// One thing that a look at the folder would do, or leave.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Planned {
    /// Stop what no file asks for any more.
    Stop {
        /// Its name.
        name: Name,
    },
    /// Start what a file describes.
    Start {
        /// Its name.
        name: Name,
        /// The file.
        file: PathBuf,
    },
    /// Start what a file describes in place of what runs.
    Replace {
        /// Its name.
        name: Name,
        /// The file.
        file: PathBuf,
    },
    /// Leave what runs.
    Keep {
        /// Its name.
        name: Name,
        /// The file that describes it; `None` when what came of a file that is
        /// wrong now is kept.
        file: Option<PathBuf>,
    },
    /// Leave a file out of account.
    Reject {
        /// The file.
        file: PathBuf,
        /// Why.
        error: Error,
    },
    /// Leave a name alone for now: an operation is under way, or what failed is
    /// not to be tried again yet.
    Wait {
        /// The name.
        name: Name,
    },
}

impl Planned {
    pub(super) fn of(change: Change, files: &[Candidate]) -> Self {
        let path = |file: usize| files[file].path.clone();
        match change {
            Change::Stop { name } => Self::Stop { name },
            Change::Start { name, file } => Self::Start { name, file: path(file) },
            Change::Replace { name, file } => Self::Replace { name, file: path(file) },
            Change::Keep { name, file } => Self::Keep { name, file: file.map(path) },
            Change::Reject { file, error } => Self::Reject { file: path(file), error },
            Change::Wait { name } => Self::Wait { name },
        }
    }
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stop { name } => write!(f, "stop {name}"),
            Self::Start { name, file } => write!(f, "start {name} of {}", file.display()),
            Self::Replace { name, file } => write!(f, "replace {name} by that of {}", file.display()),
            Self::Keep { name, file: Some(file) } => write!(f, "keep {name} of {}", file.display()),
            Self::Keep { name, file: None } => write!(f, "keep {name}"),
            Self::Reject { file, error } => write!(f, "reject {}: {}", file.display(), error.report()),
            Self::Wait { name } => write!(f, "wait for {name}"),
        }
    }
}

/// What to do, in this order: removals first.
#[derive(Debug, Clone, Default)]
pub(super) struct Plan {
    pub(super) changes: Vec<Change>,
    /// Whether the end of an operation may lead to another change.
    pub(super) follows: bool,
}
