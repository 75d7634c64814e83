//! A histogram without a lock: two atomic additions for each observation.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts by bucket, and the sum.
///
/// Whoever reads while somebody observes may see the count and not the sum
/// yet, of the observations that are under way; the next look has both. The
/// count is that of the buckets, so these always agree.
#[derive(Debug)]
pub(super) struct Buckets {
    /// The upper bounds of all buckets but the last, which has none.
    bounds: Arc<[f64]>,
    counts: Box<[AtomicU64]>,
    /// The bits of an `f64`.
    sum: AtomicU64,
}

impl Buckets {
    pub(super) fn new(bounds: Arc<[f64]>) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, counts, sum: AtomicU64::new(0) }
    }

    pub(super) fn observe(&self, value: f64) {
        let idx = self.bounds.iter().position(|bound| value <= *bound).unwrap_or(self.bounds.len());
        self.counts[idx].fetch_add(1, Ordering::Relaxed);
        let add = |bits| Some((f64::from_bits(bits) + value).to_bits());
        let _ = self.sum.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    /// Puts each bucket's bound and count into `buckets`; says sum and count.
    pub(super) fn read(&self, buckets: &mut Vec<(f64, u64)>) -> (f64, u64) {
        buckets.clear();
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        buckets.extend(bounds.zip(self.counts.iter().map(|count| count.load(Ordering::Relaxed))));
        let count = buckets.iter().map(|(_, count)| count).sum();
        (f64::from_bits(self.sum.load(Ordering::Relaxed)), count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let histogram = Buckets::new([1.0, 2.0].into());
        for value in [0.5, 1.0, 1.5, 2.0, 2.5, -1.0, 1e300] {
            histogram.observe(value);
        }
        let mut buckets = vec![(9.0, 9)];
        let (sum, count) = histogram.read(&mut buckets);
        assert_eq!(buckets, [(1.0, 3), (2.0, 2), (f64::INFINITY, 2)]);
        assert_eq!((sum, count), (1e300, 7));
    }
}
