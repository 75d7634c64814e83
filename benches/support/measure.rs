//! What a side is measured with: process counters, private memory, lateness,
//! allocations, medians.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fs;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// The median; the mean of the middle two for an even number.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        len if len % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// The value that `part` of the samples do not pass, in microseconds.
pub(crate) fn quantile_us(samples: &[Duration], part: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort();
    let last = sorted.len().saturating_sub(1);
    let at = (part * last as f64).ceil() as usize;
    sorted.get(at).map_or(f64::NAN, |sample| us(*sample))
}

pub(crate) fn us(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

pub(crate) fn ns(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e9
}

/// What the process has used so far, all threads together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    pub(crate) cpu: Duration,
    pub(crate) voluntary_switches: u64,
}

impl Usage {
    pub(crate) fn now() -> Self {
        let mut usage = MaybeUninit::<libc::rusage>::uninit();
        // SAFETY: the pointer is to a whole `rusage`, which the call fills in.
        let result = unsafe { libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) };
        assert_eq!(result, 0, "getrusage: {}", std::io::Error::last_os_error());
        // SAFETY: the call succeeded, so the structure is filled in.
        let usage = unsafe { usage.assume_init() };
        let time = |time: libc::timeval| {
            Duration::from_secs(time.tv_sec.unsigned_abs())
                + Duration::from_micros(time.tv_usec.unsigned_abs())
        };
        Self {
            cpu: time(usage.ru_utime) + time(usage.ru_stime),
            voluntary_switches: usage.ru_nvcsw.unsigned_abs(),
        }
    }

    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            cpu: self.cpu.saturating_sub(earlier.cpu),
            voluntary_switches: self.voluntary_switches.saturating_sub(earlier.voluntary_switches),
        }
    }
}

/// Memory that only this process has, in KiB.
pub(crate) fn private_kib() -> f64 {
    let rollup = fs::read_to_string("/proc/self/smaps_rollup").expect("this kernel has smaps_rollup");
    let private = rollup.lines().filter(|line| line.starts_with("Private_"));
    private.filter_map(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok()).sum()
}

/// How many threads this process has.
pub(crate) fn threads() -> f64 {
    let status = fs::read_to_string("/proc/self/status").expect("this kernel has status");
    let line = status.lines().find_map(|line| line.strip_prefix("Threads:"));
    line.and_then(|number| number.trim().parse().ok()).expect("a process has threads")
}

/// Counts first runs, and wakes the one who waits for all of them.
#[derive(Debug)]
pub(crate) struct Started {
    left: AtomicUsize,
    waiter: Thread,
}

impl Started {
    /// For `n` first runs, awaited by the thread that calls this.
    pub(crate) fn expect(n: usize) -> Self {
        Self { left: AtomicUsize::new(n), waiter: thread::current() }
    }

    /// Begins again, for `n`; by the thread that waits, once it has.
    #[cfg(feature = "http-client")]
    pub(crate) fn again(&self, n: usize) {
        self.left.store(n, Ordering::Release);
    }

    /// A loop has had its first run; once a loop.
    pub(crate) fn one(&self) {
        // AcqRel: what a loop did before is seen by the one who waited.
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.waiter.unpark();
        }
    }

    /// Blocks until all have run.
    pub(crate) fn wait(&self) {
        while self.left.load(Ordering::Acquire) > 0 {
            thread::park();
        }
    }
}

/// Lateness of very many runs, from all threads, while it is open.
#[derive(Debug)]
pub(crate) struct Tally {
    open: AtomicBool,
    buckets: Vec<AtomicU64>,
}

/// Parts of a doubling: numbers are good to 3 %.
const PARTS: u64 = 32;

impl Tally {
    pub(crate) fn new() -> Self {
        let buckets = (0..PARTS * 64).map(|_| AtomicU64::new(0)).collect();
        Self { open: AtomicBool::new(false), buckets }
    }

    /// Whether runs count. Relaxed everywhere: a run at the edge may fall on either side.
    pub(crate) fn set_open(&self, open: bool) {
        self.open.store(open, Ordering::Relaxed);
    }

    /// A loop has run `late` after it was due.
    pub(crate) fn ran(&self, late: Duration) {
        if self.open.load(Ordering::Relaxed) {
            let ns = u64::try_from(late.as_nanos()).unwrap_or(u64::MAX).max(PARTS);
            let doublings = u64::from(ns.ilog2());
            let part = (ns >> (doublings - u64::from(PARTS.ilog2()))) - PARTS;
            let bucket = usize::try_from(doublings * PARTS + part).unwrap_or(usize::MAX);
            self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn runs(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).sum()
    }

    /// The lateness that `part` of the runs do not pass, in microseconds.
    pub(crate) fn quantile_us(&self, part: f64) -> f64 {
        let wanted = (part * self.runs() as f64).ceil() as u64;
        let mut seen = 0;
        for (bucket, count) in (0_u64..).zip(&self.buckets) {
            seen += count.load(Ordering::Relaxed);
            if seen >= wanted {
                let (doublings, part) = (bucket / PARTS, bucket % PARTS);
                return 2_f64.powi(i32::try_from(doublings).unwrap_or(0))
                    * (1.0 + part as f64 / PARTS as f64)
                    / 1e3;
            }
        }
        f64::NAN
    }
}

/// Lateness of a loop that does not tell when it was due: against the earliest
/// it has come so far, whole periods apart.
///
/// It reads low by the loop's best lateness (some 60 us here), so it is good
/// for what is far above that. The first run sets no beat: it is at once.
#[derive(Debug)]
pub(crate) struct Beat {
    period: Duration,
    runs: u32,
    earliest: Option<Instant>,
}

impl Beat {
    pub(crate) fn new(period: Duration) -> Self {
        Self { period, runs: 0, earliest: None }
    }

    /// A run begins at `now`: how late is it?
    pub(crate) fn late(&mut self, now: Instant) -> Duration {
        self.runs += 1;
        if self.runs == 1 {
            return Duration::ZERO;
        }
        let earliest = *self.earliest.get_or_insert(now);
        // Whole numbers: what the bench itself takes must not show.
        let (since, period) = (now.duration_since(earliest).as_nanos() as u64, self.period.as_nanos() as u64);
        let past = since % period;
        if past > period / 2 {
            // Earlier than ever: that is the beat from now on.
            self.earliest = Some(now);
            return Duration::ZERO;
        }
        Duration::from_nanos(past)
    }
}

/// The system's allocator, counting on the way.
#[derive(Debug)]
pub(crate) struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// How often this thread has asked for memory so far.
pub(crate) fn allocations() -> u64 {
    ALLOCATIONS.get()
}

fn count() {
    // A thread that is going away allocates without being counted.
    let _ = ALLOCATIONS.try_with(|allocations| allocations.set(allocations.get() + 1));
}

// SAFETY: every call is handed on to `System` unchanged; the counter is a
// thread-local without a destructor and does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }
}
