//! Who did what, in a chain of hashes.
//!
//! Each record has a position and the hash of what it says together with the
//! hash before it. A record that is changed, taken out or put in between is
//! found by [`verify`](super::AuditStore::verify). Retention takes records
//! out as well; each of its batches leaves a record of how many it took and
//! between which positions, so what is missing can be told from what was
//! stolen. A batch that takes such records says what they said. Whoever can write to the database can still write a whole new
//! chain: keep the newest hash somewhere else now and then.

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::agent::{MAX_MESSAGE, MAX_NAME, check_text};
use super::id::TenantId;
use super::token::hex;
use super::word::words;
use crate::error::{Error, Result, clip};
use crate::stamp::Stamp;

words! {
    /// How much a record matters.
    pub enum Severity as "severity" {
        /// Kept for the longer time.
        Critical = "critical",
        /// Kept for the longer time.
        High = "high",
        /// Something to look at.
        Medium = "medium",
        /// Something small.
        Low = "low",
        /// What goes on every day.
        Info = "info",
    }
}

impl Severity {
    /// Whether records of it are kept longer.
    #[must_use]
    pub const fn is_grave(self) -> bool {
        matches!(self, Self::Critical | Self::High)
    }
}

/// The action of a record that retention leaves.
pub const RETENTION: &str = "audit.retention";
/// What the first record of all follows.
pub(crate) const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Something that was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AuditRecord {
    /// Its place in the chain, from 1, without gaps.
    pub position: i64,
    /// When it was written.
    pub at: Stamp,
    /// Whom it concerns.
    pub tenant: Option<TenantId>,
    /// Who did it.
    pub actor: String,
    /// What was done, such as `token.revoke`.
    pub action: String,
    /// To what, such as `token 17`.
    pub resource: String,
    /// How much it matters.
    pub severity: Severity,
    /// More, as text or JSON.
    pub detail: String,
    /// The hash of the record before it.
    pub prev_hash: String,
    /// The hash of this one.
    pub hash: String,
}

impl AuditRecord {
    /// The hash of all that the record says, after `prev_hash`. Lengths go
    /// in front of texts, so that no letter can move from one to the next.
    #[must_use]
    pub fn computed_hash(&self) -> String {
        let mut sha = Sha256::new();
        sha.update(self.prev_hash.as_bytes());
        sha.update(self.position.to_be_bytes());
        sha.update(self.at.as_micros().to_be_bytes());
        sha.update(self.tenant.map_or(0, |tenant| tenant.0).to_be_bytes());
        for text in
            [&self.actor, &self.action, &self.resource, self.severity.as_str(), &self.detail] as [&str; 5]
        {
            sha.update((text.len() as u64).to_be_bytes());
            sha.update(text.as_bytes());
        }
        hex(&sha.finalize())
    }
}

/// Something to be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a record is written through a store"]
pub struct NewAudit {
    pub(crate) tenant: Option<TenantId>,
    pub(crate) actor: String,
    pub(crate) action: String,
    pub(crate) resource: String,
    pub(crate) severity: Severity,
    pub(crate) detail: String,
}

impl NewAudit {
    /// A record of severity `info`.
    pub fn new(actor: impl Into<String>, action: impl Into<String>, resource: impl Into<String>) -> Self {
        Self {
            tenant: None,
            actor: actor.into(),
            action: action.into(),
            resource: resource.into(),
            severity: Severity::Info,
            detail: String::new(),
        }
    }

    /// Whom it concerns. Defaults to nobody in particular.
    pub fn tenant(mut self, tenant: Option<TenantId>) -> Self {
        self.tenant = tenant;
        self
    }

    /// How much it matters. Defaults to `info`.
    pub fn severity(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }

    /// More, as text or JSON, cut at 4 KiB. Defaults to nothing.
    pub fn detail(mut self, text: impl Into<String>) -> Self {
        self.detail = clip(text.into().replace('\0', " "), MAX_MESSAGE);
        self
    }

    /// Refuses what cannot be kept.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`; the text names the field.
    pub fn check(&self) -> Result<()> {
        check_text("actor", &self.actor, MAX_NAME)?;
        check_text("action", &self.action, MAX_NAME)?;
        // Whoever may say this could take a record and vouch for himself.
        if self.action == RETENTION {
            return Err(Error::invalid(format!("action: {RETENTION} is for retention alone")));
        }
        check_text("resource", &self.resource, MAX_NAME)
    }

    /// The record at the end of a chain.
    pub(crate) fn chained(&self, position: i64, at: Stamp, prev_hash: String) -> AuditRecord {
        let mut record = AuditRecord {
            position,
            at,
            tenant: self.tenant,
            actor: self.actor.clone(),
            action: self.action.clone(),
            resource: self.resource.clone(),
            severity: self.severity,
            detail: self.detail.clone(),
            prev_hash,
            hash: String::new(),
        };
        record.hash = record.computed_hash();
        record
    }
}

/// What a batch of retention took: the detail of its record, as JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize)]
pub(crate) struct Removal {
    pub(crate) deleted: i64,
    pub(crate) first: i64,
    pub(crate) last: i64,
    pub(crate) cutoff: u64,
    /// What was told by records that this batch took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) carried: Option<Carried>,
}

/// All that earlier batches took, as far as their records are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize)]
pub(crate) struct Carried {
    pub(crate) deleted: i64,
    pub(crate) first: i64,
    pub(crate) last: i64,
}

impl Removal {
    /// Takes on what records that go tell, by their details.
    pub(crate) fn carry<'a>(mut self, details: impl IntoIterator<Item = &'a str>) -> Self {
        let told = details.into_iter().filter_map(|text| serde_json::from_str::<Self>(text).ok());
        for part in told.flat_map(Self::parts) {
            let sum = self.carried.get_or_insert(Carried { deleted: 0, ..part });
            sum.deleted = sum.deleted.saturating_add(part.deleted);
            (sum.first, sum.last) = (sum.first.min(part.first), sum.last.max(part.last));
        }
        self
    }

    fn parts(self) -> impl Iterator<Item = Carried> {
        let Self { deleted, first, last, carried, .. } = self;
        std::iter::once(Carried { deleted, first, last }).chain(carried)
    }
}

/// What [`verify`](super::AuditStore::verify) found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ChainReport {
    /// How many records were looked at.
    pub records: u64,
    /// How many records are not there and were taken by retention.
    pub retained_away: u64,
    /// Each place where the chain does not hold, in order, for people; 100
    /// at most.
    pub breaks: Vec<String>,
}

impl ChainReport {
    /// Whether the chain holds.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.breaks.is_empty()
    }
}

/// What joins a record to those before and behind it.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) position: i64,
    pub(crate) prev_hash: String,
    pub(crate) hash: String,
}

/// Walks a chain, record by record.
#[derive(Debug, Default)]
pub(crate) struct Walk {
    report: ChainReport,
    last: Option<(i64, String)>,
    gaps: Vec<(i64, i64)>,
    removals: Vec<Carried>,
}

impl Walk {
    pub(crate) fn step(&mut self, record: &AuditRecord) {
        self.report.records += 1;
        let position = record.position;
        if record.computed_hash() != record.hash {
            self.fault(format!("record {position}: changed: its hash is not that of what it says"));
        }
        let (prev_hash, hash) = (record.prev_hash.clone(), record.hash.clone());
        if self.follow(Link { position, prev_hash, hash }) {
            self.removal(record);
        }
    }

    /// One that cannot be read, for a reason that is told.
    pub(crate) fn unreadable(&mut self, link: Link, why: &str) {
        self.report.records += 1;
        self.fault(format!("record {}: cannot be read: {why}", link.position));
        self.follow(link);
    }

    /// Goes on to a record; answers whether it can be one at all.
    fn follow(&mut self, link: Link) -> bool {
        let Link { position, prev_hash, hash } = link;
        if position < 1 {
            self.fault(format!("record {position}: there is none before record 1"));
            return false;
        }
        let (before, expected) = self.last.take().unwrap_or((0, GENESIS.to_owned()));
        if position == before + 1 {
            if prev_hash != expected {
                self.fault(format!("record {position}: does not follow record {before}"));
            }
        } else {
            self.gaps.push((before + 1, position - 1));
        }
        self.last = Some((position, hash));
        true
    }

    /// Hears what a record tells of records that are gone. That much of one
    /// behind the walk's end counts too: what was there when the walk began
    /// may have gone before the walk came by.
    pub(crate) fn removal(&mut self, record: &AuditRecord) {
        if record.action == RETENTION {
            if let Ok(removal) = serde_json::from_str::<Removal>(&record.detail) {
                self.removals.extend(removal.parts());
            }
        }
    }

    /// `head` is the position and hash of the newest record ever written.
    pub(crate) fn finish(mut self, head: (i64, String)) -> ChainReport {
        let (last, hash) = self.last.take().unwrap_or((0, GENESIS.to_owned()));
        if last < head.0 {
            self.gaps.push((last + 1, head.0));
        } else if (last, &hash) != (head.0, &head.1) {
            self.fault(format!("record {last}: is the last, and not the one last written"));
        }
        let missing: i64 = self.gaps.iter().map(|(from, to)| to - from + 1).sum();
        let taken = self.taken();
        for (from, to) in std::mem::take(&mut self.gaps) {
            let before = taken.partition_point(|(first, _)| *first <= from);
            if before == 0 || taken[before - 1].1 < to {
                self.fault(format!("records {from} to {to}: missing, and retention did not take them"));
            }
        }
        let told = self.removals.iter().fold(0_i64, |sum, removal| sum.saturating_add(removal.deleted));
        if missing > told {
            self.fault(format!("{missing} records are missing, and retention took {told}"));
        }
        self.report.retained_away = u64::try_from(missing).unwrap_or(0);
        self.report
    }

    /// The ranges that retention took records from, in order, none touching
    /// another. Ranges of batches overlap; what they say may be anybody's.
    fn taken(&self) -> Vec<(i64, i64)> {
        let told = self.removals.iter().map(|removal| (removal.first, removal.last));
        let mut told: Vec<_> = told.filter(|(first, last)| first <= last).collect();
        told.sort_unstable();
        told.dedup_by(|next, range| {
            let touches = next.0 <= range.1.saturating_add(1);
            if touches {
                range.1 = range.1.max(next.1);
            }
            touches
        });
        told
    }

    fn fault(&mut self, text: String) {
        if self.report.breaks.len() < 100 {
            self.report.breaks.push(text);
        }
    }
}
