//! Writing it all out, through prometheus-client's own encoders.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::family::{Books, Cell, Family, Kind, Labels, Reason};
use super::{Collect, Samples};
use crate::observe::Attr;

/// A family, and what was collected for it.
type Told = (Arc<Family>, Vec<(Labels, f64)>);

/// All families at one moment, by name, with what was collected for them.
#[derive(Debug)]
pub(super) struct View {
    families: Vec<Told>,
    /// Whether the encoder leaves it to us to escape help texts.
    escapes_help: bool,
}

impl View {
    pub(super) fn new(books: &Books, sources: &[Arc<dyn Collect>], escapes_help: bool) -> Self {
        let mut samples = Samples::default();
        for source in sources {
            source.collect(&mut samples);
        }
        let mut collected = Collected::default();
        collected.add(books, samples);
        // Last, to know of every metric.
        collected.add(books, own_samples(books));
        let families = books.families().into_iter();
        let families = families.map(|family| (family.clone(), collected.take(&family))).collect();
        Self { families, escapes_help }
    }
}

/// Samples, by family.
#[derive(Default)]
struct Collected(Vec<Told>);

impl Collected {
    fn add(&mut self, books: &Books, samples: Samples) {
        // Samples of one name come one after another.
        let mut last: Option<(&'static str, usize)> = None;
        for (kind, name, labels, value) in samples.0 {
            let before = last.map(|(name, idx)| (name, &self.0[idx].0));
            let located = labels.and_then(|labels| {
                let family = books.locate(kind, name, &labels, before)?;
                Ok(Some((family, labels)))
            });
            let Some((family, labels)) = books.or_inert(name, located) else { continue };
            let idx = match last {
                Some((_, idx)) if Arc::ptr_eq(&self.0[idx].0, &family) => idx,
                _ => self.place(family),
            };
            self.0[idx].1.push((labels, value));
            last = Some((name, idx));
        }
    }

    fn place(&mut self, family: Arc<Family>) -> usize {
        let known = self.0.iter().position(|(other, _)| Arc::ptr_eq(other, &family));
        known.unwrap_or_else(|| {
            self.0.push((family, Vec::new()));
            self.0.len() - 1
        })
    }

    /// What was collected for a family, in order.
    fn take(&mut self, family: &Arc<Family>) -> Vec<(Labels, f64)> {
        let own = self.0.iter_mut().find(|(other, _)| Arc::ptr_eq(other, family));
        let mut values = own.map(|(_, values)| std::mem::take(values)).unwrap_or_default();
        family.tidy(&mut values);
        values
    }
}

/// What there is to say about the metrics themselves.
fn own_samples(books: &Books) -> Samples {
    let mut samples = Samples::default();
    for reason in Reason::ALL {
        let label = Attr::new("reason", reason.as_str());
        samples.counter("metrics_refused_total", &[label], books.refused(reason));
    }
    for family in books.families().iter().filter(|family| !family.is_about_metrics) {
        let label = Attr::new("metric", family.shown().as_str());
        samples.counter("metrics_folded_total", &[label], family.folded());
    }
    samples
}

impl Collector for View {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut buckets = Vec::new();
        for (family, collected) in &self.families {
            let mut series = family.series.lock();
            family.give_up(&mut series);
            if series.is_empty() && collected.is_empty() {
                continue;
            }
            let Family { stem, unit, help, kind, .. } = &**family;
            let escaped;
            let help = if self.escapes_help && help.contains(['\\', '\n', '"']) {
                escaped = help.replace('\\', r"\\").replace('\n', r"\n").replace('"', "\\\"");
                &escaped
            } else {
                help
            };
            let kind = match kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
                Kind::Histogram => MetricType::Histogram,
            };
            let mut encoder = encoder.encode_descriptor(stem, help, unit.as_ref(), kind)?;
            let mut collected = collected.iter().peekable();
            for (labels, cell) in series.iter() {
                while let Some((before, value)) = collected.next_if(|(other, _)| other < labels) {
                    encode_value(&mut encoder, family.kind, before, *value)?;
                }
                // One that is measured where it happens is not collected too.
                let _ = collected.next_if(|(other, _)| other == labels);
                let encoder = encoder.encode_family(labels)?;
                match cell {
                    Cell::Counter(cell) => {
                        ConstCounter::new(cell.load(Ordering::Relaxed)).encode(encoder)?;
                    }
                    Cell::Gauge(cell) => {
                        ConstGauge::new(f64::from_bits(cell.load(Ordering::Relaxed))).encode(encoder)?;
                    }
                    Cell::Histogram(histogram) => {
                        let (sum, count) = histogram.read(&mut buckets);
                        let mut encoder = encoder;
                        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
                    }
                }
            }
            for (labels, value) in collected {
                encode_value(&mut encoder, family.kind, labels, *value)?;
            }
        }
        Ok(())
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count that was a u64 before")]
fn encode_value(encoder: &mut MetricEncoder<'_>, kind: Kind, labels: &Labels, value: f64) -> fmt::Result {
    let encoder = encoder.encode_family(labels)?;
    match kind {
        Kind::Counter => ConstCounter::new(value as u64).encode(encoder),
        Kind::Gauge | Kind::Histogram => ConstGauge::new(value).encode(encoder),
    }
}
