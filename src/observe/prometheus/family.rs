//! Everything that is measured, by name: families of series, each bounded.
//!
//! A family is made when its name is first asked for and stays; its kind and
//! its label names are those of the first who asked. Of its series there are
//! never more than its bound and one more, `other`, which all further label
//! sets share. Where a family's series are lent, those that nobody writes to
//! any more are given up: at the latest when the family is next written out,
//! and before anything is folded.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use prometheus_client::encoding::{EncodeLabelKey, EncodeLabelSet, EncodeLabelValue, LabelSetEncoder};
use prometheus_client::registry::Unit;

use super::buckets::Buckets;
use super::metric::{Metric, check_name, is_label};
use crate::duration::Shown;
use crate::error::{Error, clip};
use crate::observe::{Attr, AttrValue, Counter, Gauge, Histogram};
use crate::primitive::Mutex;

/// How many metrics there may be: their names come from the program, but a
/// program may make names up.
const MAX_FAMILIES: usize = 1000;
/// How many labels a series may have.
const MAX_LABELS: usize = 16;
/// How long the value of a label may be, in bytes; the rest is cut off.
const MAX_VALUE: usize = 256;
/// How many names are remembered as told of.
const MAX_TOLD: usize = 1000;

const TARGET: &str = "loopkeeper::metrics";
const OTHER: &str = "other";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }

    /// What the names of a family's samples end with.
    const fn suffixes(self) -> &'static [&'static str] {
        match self {
            Self::Counter => &["", "_total", "_created"],
            Self::Gauge => &[""],
            Self::Histogram => &["", "_bucket", "_count", "_sum", "_created"],
        }
    }
}

/// Why an instrument was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// Another metric has the name.
    Conflict,
    /// Labels that cannot be, or are not those of the metric.
    Labels,
    /// A name that cannot be.
    Name,
    /// There are too many metrics.
    Room,
}

impl Reason {
    pub(super) const ALL: [Self; 4] = [Self::Conflict, Self::Labels, Self::Name, Self::Room];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Conflict => "conflict",
            Self::Labels => "labels",
            Self::Name => "name",
            Self::Room => "room",
        }
    }
}

/// An instrument that was refused.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) reason: Reason,
    pub(super) error: Error,
}

impl Refused {
    fn new(reason: Reason, text: String) -> Self {
        Self { reason, error: Error::invalid(text) }
    }
}

pub(super) type Result<T> = std::result::Result<T, Refused>;

/// A label set, by key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Labels(Arc<[(&'static str, Arc<str>)]>);

impl Labels {
    pub(super) fn new(name: &str, labels: &[Attr]) -> Result<Self> {
        let refused = |text: String| Refused::new(Reason::Labels, format!("metric {}: {text}", Shown(name)));
        if labels.len() > MAX_LABELS {
            return Err(refused(format!("expected at most {MAX_LABELS} labels, found {}", labels.len())));
        }
        let mut sorted: Arc<[_]> = labels.iter().map(|label| (label.key, text(&label.value))).collect();
        if let Some(sorted) = Arc::get_mut(&mut sorted) {
            sorted.sort_unstable();
        }
        if let Some((key, _)) = sorted.iter().find(|(key, _)| !is_label(key)) {
            return Err(refused(format!("label {}: expected letters, digits and _", Shown(key))));
        }
        if let Some(pair) = sorted.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(refused(format!("label {}: is there twice", pair[0].0)));
        }
        Ok(Self(sorted))
    }

    fn keys(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.0.iter().map(|(key, _)| *key)
    }

    fn other(&self) -> Self {
        Self(self.keys().map(|key| (key, OTHER.into())).collect())
    }
}

/// A label's value: where it is a short text, the very same.
fn text(value: &AttrValue) -> Arc<str> {
    match value {
        AttrValue::Text(text) if text.len() <= MAX_VALUE => text.clone(),
        value => clip(value.to_string(), MAX_VALUE).into(),
    }
}

impl EncodeLabelSet for Labels {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> std::fmt::Result {
        for (key, value) in &*self.0 {
            let mut label = encoder.encode_label();
            let mut encoder = label.encode_label_key()?;
            EncodeLabelKey::encode(key, &mut encoder)?;
            let mut encoder = encoder.encode_label_value()?;
            EncodeLabelValue::encode(&&**value, &mut encoder)?;
            encoder.finish()?;
        }
        Ok(())
    }
}

/// What one series holds.
#[derive(Debug, Clone)]
pub(super) enum Cell {
    Counter(Arc<AtomicU64>),
    /// The bits of an `f64`.
    Gauge(Arc<AtomicU64>),
    Histogram(Arc<Buckets>),
}

impl Cell {
    /// Whether there is an instrument for it, beside the family's own.
    fn is_held(&self) -> bool {
        match self {
            Self::Counter(cell) | Self::Gauge(cell) => Arc::strong_count(cell) > 1,
            Self::Histogram(buckets) => Arc::strong_count(buckets) > 1,
        }
    }
}

/// All series of one name.
#[derive(Debug)]
pub(super) struct Family {
    /// With the prefix, without unit and `_total`.
    pub(super) stem: String,
    pub(super) unit: Option<Unit>,
    /// As it is in the texts, but for `_total`.
    pub(super) name: String,
    pub(super) help: String,
    pub(super) kind: Kind,
    pub(super) series: Mutex<Series>,
    other: Labels,
    max_series: usize,
    bounds: Arc<[f64]>,
    is_lent: bool,
    /// Whether it counts what became of others.
    pub(super) is_about_metrics: bool,
    folded: AtomicU64,
    is_told: AtomicBool,
}

#[derive(Debug, Default)]
pub(super) struct Series {
    by_labels: BTreeMap<Labels, Cell>,
    /// How many more are folded before it is looked again for some to give up.
    patience: usize,
}

impl Series {
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Labels, &Cell)> {
        self.by_labels.iter()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_labels.is_empty()
    }
}

/// Where an instrument writes to.
enum Place {
    Own(Cell),
    Other(Cell),
}

impl Family {
    fn make_cell(&self) -> Cell {
        match self.kind {
            Kind::Counter => Cell::Counter(Arc::default()),
            Kind::Gauge => Cell::Gauge(Arc::default()),
            Kind::Histogram => Cell::Histogram(Arc::new(Buckets::new(self.bounds.clone()))),
        }
    }

    fn place(&self, labels: Labels) -> Place {
        let mut series = self.series.lock();
        if let Some(cell) = series.by_labels.get(&labels) {
            return Place::Own(cell.clone());
        }
        let is_full = |series: &Series| {
            let other = usize::from(series.by_labels.contains_key(&self.other));
            series.by_labels.len() - other >= self.max_series
        };
        if is_full(&series) && labels != self.other {
            if self.is_lent && series.patience == 0 {
                let before = series.by_labels.len();
                series.by_labels.retain(|_, cell| cell.is_held());
                // So that each look is paid for by as many as it has freed, or
                // else by those that are folded.
                let freed = before - series.by_labels.len();
                series.patience = (self.max_series / 4).saturating_sub(freed);
            }
            if is_full(&series) {
                series.patience = series.patience.saturating_sub(1);
                let make = || match self.kind {
                    // What many set one after another says nothing.
                    Kind::Gauge => Cell::Gauge(Arc::new(AtomicU64::new(f64::NAN.to_bits()))),
                    _ => self.make_cell(),
                };
                let other = series.by_labels.entry(self.other.clone()).or_insert_with(make).clone();
                drop(series);
                self.fold();
                return Place::Other(other);
            }
        }
        Place::Own(series.by_labels.entry(labels).or_insert_with(|| self.make_cell()).clone())
    }

    /// Counts what had no room, and says so once. With no lock held: a logger
    /// is the user's code.
    pub(super) fn fold(&self) {
        self.folded.fetch_add(1, Ordering::Relaxed);
        if !self.is_told.swap(true, Ordering::Relaxed) {
            let (name, max) = (self.shown(), self.max_series);
            log::warn!(
                target: TARGET,
                "metric {name} has {max} series, which is all it may have: further ones are folded into `{OTHER}`"
            );
        }
    }

    /// Gives up series that nobody writes to any more.
    pub(super) fn give_up(&self, series: &mut Series) {
        if self.is_lent {
            series.by_labels.retain(|_, cell| cell.is_held());
        }
    }

    /// The name of its samples.
    pub(super) fn shown(&self) -> String {
        let suffix = if self.kind == Kind::Counter { "_total" } else { "" };
        format!("{}{suffix}", self.name)
    }

    pub(super) fn folded(&self) -> u64 {
        self.folded.load(Ordering::Relaxed)
    }

    /// Brings what was collected for it into order: one value for each label
    /// set, the greater of two, and no more than there may be.
    pub(super) fn tidy(&self, values: &mut Vec<(Labels, f64)>) {
        values.sort_by(|(a, x), (b, y)| a.cmp(b).then(y.total_cmp(x)));
        values.dedup_by(|(a, _), (b, _)| a == b);
        if values.len() > self.max_series {
            let rest = values.split_off(self.max_series);
            let sum = rest.iter().map(|(_, value)| value).sum();
            let value = if self.kind == Kind::Gauge { f64::NAN } else { sum };
            values.retain(|(labels, _)| *labels != self.other);
            let place = values.partition_point(|(labels, _)| *labels < self.other);
            values.insert(place, (self.other.clone(), value));
            self.fold();
        }
    }
}

/// All families, and what was refused.
#[derive(Debug)]
pub(super) struct Books {
    prefix: String,
    described: HashMap<String, Metric>,
    families: Mutex<Families>,
    refused: [AtomicU64; Reason::ALL.len()],
    told: Mutex<HashSet<String>>,
}

#[derive(Debug, Default)]
struct Families {
    by_name: BTreeMap<String, Arc<Family>>,
    /// Every name that a sample may have, so that no two families share one.
    names: HashSet<String>,
}

impl Books {
    pub(super) fn new(prefix: String, described: HashMap<String, Metric>) -> Self {
        Self {
            prefix,
            described,
            families: Mutex::default(),
            refused: Default::default(),
            told: Mutex::default(),
        }
    }

    /// Every family, by name.
    pub(super) fn families(&self) -> Vec<Arc<Family>> {
        self.families.lock().by_name.values().cloned().collect()
    }

    pub(super) fn refused(&self, reason: Reason) -> u64 {
        self.refused[reason as usize].load(Ordering::Relaxed)
    }

    pub(super) fn counter(&self, name: &str, labels: &[Attr]) -> Result<Counter> {
        let (Place::Own(cell) | Place::Other(cell)) = self.place(Kind::Counter, name, labels)?;
        match cell {
            Cell::Counter(cell) => Ok(Counter::atomic(cell)),
            Cell::Gauge(_) | Cell::Histogram(_) => Ok(Counter::default()),
        }
    }

    pub(super) fn gauge(&self, name: &str, labels: &[Attr]) -> Result<Gauge> {
        match self.place(Kind::Gauge, name, labels)? {
            Place::Own(Cell::Gauge(cell)) => Ok(Gauge::atomic(cell)),
            // Keeps the series, and does not write to it.
            Place::Other(cell) => Ok(Gauge::function(move |_| {
                let _held = &cell;
            })),
            Place::Own(_) => Ok(Gauge::default()),
        }
    }

    pub(super) fn histogram(&self, name: &str, labels: &[Attr]) -> Result<Histogram> {
        let (Place::Own(cell) | Place::Other(cell)) = self.place(Kind::Histogram, name, labels)?;
        match cell {
            Cell::Histogram(buckets) => Ok(Histogram::function(move |value| {
                // One that is none would make the sum none for ever.
                if value.is_finite() {
                    buckets.observe(value);
                }
            })),
            Cell::Counter(_) | Cell::Gauge(_) => Ok(Histogram::default()),
        }
    }

    fn place(&self, kind: Kind, name: &str, labels: &[Attr]) -> Result<Place> {
        let labels = Labels::new(name, labels)?;
        let family = self.family(kind, name, &labels)?;
        Ok(family.place(labels))
    }

    /// The family that a sample belongs to which was collected; `before` is
    /// that of the sample before.
    pub(super) fn locate(
        &self,
        kind: Kind,
        name: &str,
        labels: &Labels,
        before: Option<(&str, &Arc<Family>)>,
    ) -> Result<Arc<Family>> {
        let same = before.filter(|(other, family)| {
            *other == name && family.kind == kind && family.other.keys().eq(labels.keys())
        });
        match same {
            Some((_, family)) => Ok(family.clone()),
            None => self.family(kind, name, labels),
        }
    }

    fn family(&self, kind: Kind, asked: &str, labels: &Labels) -> Result<Arc<Family>> {
        check_name(asked).map_err(|error| Refused { reason: Reason::Name, error })?;
        let stem = match kind {
            Kind::Counter => asked.strip_suffix("_total").unwrap_or(asked),
            _ => asked,
        };
        let (stem, unit) = match [("_seconds", Unit::Seconds), ("_bytes", Unit::Bytes)]
            .into_iter()
            .find_map(|(suffix, unit)| Some((stem.strip_suffix(suffix)?, unit)))
        {
            Some((stem, unit)) => (stem, Some(unit)),
            None => (stem, None),
        };
        if stem.is_empty() {
            let text = format!("metric {}: is nothing but a unit", Shown(asked));
            return Err(Refused::new(Reason::Name, text));
        }
        let stem = match &*self.prefix {
            "" => stem.to_owned(),
            prefix => format!("{prefix}_{stem}"),
        };
        let name = match &unit {
            Some(unit) => format!("{stem}_{}", unit.as_str()),
            None => stem.clone(),
        };
        let mut families = self.families.lock();
        if let Some(family) = families.by_name.get(&name) {
            if family.kind != kind {
                let text = format!("metric {name}: is a {}, not a {}", family.kind.as_str(), kind.as_str());
                return Err(Refused::new(Reason::Conflict, text));
            }
            if !family.other.keys().eq(labels.keys()) {
                let list = |labels: &Labels| labels.keys().collect::<Vec<_>>().join(", ");
                let (expected, found) = (list(&family.other), list(labels));
                let text = format!("metric {name}: expected the labels ({expected}), found ({found})");
                return Err(Refused::new(Reason::Labels, text));
            }
            return Ok(family.clone());
        }
        let names = || kind.suffixes().iter().map(|suffix| format!("{name}{suffix}"));
        if let Some(taken) = names().find(|sample| families.names.contains(sample)) {
            let text = format!("metric {name}: another one has the name {taken}");
            return Err(Refused::new(Reason::Conflict, text));
        }
        if families.by_name.len() >= MAX_FAMILIES {
            let text = format!("metric {name}: there are {MAX_FAMILIES}, which is all there may be");
            return Err(Refused::new(Reason::Room, text));
        }
        families.names.extend(names());
        let known = self.described.get(asked).cloned().unwrap_or_else(|| Metric::new(String::new()));
        let family = Arc::new(Family {
            stem,
            unit,
            help: format!("{}.", known.help),
            kind,
            series: Mutex::default(),
            other: labels.other(),
            max_series: known.max_series,
            bounds: known.buckets.into(),
            is_lent: known.is_lent,
            is_about_metrics: matches!(asked, "metrics_folded_total" | "metrics_refused_total"),
            folded: AtomicU64::new(0),
            is_told: AtomicBool::new(false),
            name: name.clone(),
        });
        families.by_name.insert(name, family.clone());
        Ok(family)
    }

    /// An instrument, or one that measures nothing: counted, and said once
    /// for each name.
    pub(super) fn or_inert<T: Default>(&self, name: &str, instrument: Result<T>) -> T {
        let Refused { reason, error } = match instrument {
            Ok(instrument) => return instrument,
            Err(refused) => refused,
        };
        self.refused[reason as usize].fetch_add(1, Ordering::Relaxed);
        let is_new = {
            let mut told = self.told.lock();
            told.len() < MAX_TOLD && told.insert(clip(name.to_owned(), MAX_VALUE))
        };
        if is_new {
            log::warn!(target: TARGET, "{error}: it is not measured");
        }
        T::default()
    }
}
