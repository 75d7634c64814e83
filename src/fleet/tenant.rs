//! Whom the work is for.

use serde::Serialize;

use super::id::TenantId;
use super::word::words;
use crate::stamp::Stamp;

words! {
    /// What a tenant pays for; it decides how high its jobs begin.
    pub enum Plan as "plan" {
        /// Begins at 25.
        Free = "free",
        /// Begins at 50.
        Team = "team",
        /// Begins at 75.
        Business = "business",
        /// Begins at 100.
        Enterprise = "enterprise",
    }
}

impl Plan {
    /// What the plan adds to the priority of each job in the queue.
    #[must_use]
    pub const fn base(self) -> i64 {
        match self {
            Self::Free => 25,
            Self::Team => 50,
            Self::Business => 75,
            Self::Enterprise => 100,
        }
    }
}

/// A tenant: whom agents, commands and tokens belong to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Tenant {
    /// Its number.
    pub id: TenantId,
    /// Its name, which no other has.
    pub name: String,
    /// Its plan.
    pub plan: Plan,
    /// When it was made.
    pub created_at: Stamp,
}
