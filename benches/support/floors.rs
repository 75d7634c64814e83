//! The floors: what bare threads, channels and sleeps do, written the way one
//! would without a library. Nothing here uses the library.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::Hasher;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;

use super::measure::{Started, Tally};

/// The stack that a loop of the library gets by default.
const STACK: usize = 256 << 10;
/// Further off than any run takes.
const LATER: Duration = Duration::from_secs(3600);

fn spawn<T: Send + 'static>(i: usize, body: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let thread = thread::Builder::new().name(format!("floor/{i}")).stack_size(STACK);
    thread.spawn(body).expect("the machine allows as many threads")
}

/// Threads that wait, and what ends them.
#[derive(Debug)]
pub(crate) struct Fleet {
    threads: Vec<JoinHandle<()>>,
    end: End,
}

#[derive(Debug)]
enum End {
    Shared(Sender<()>),
    Own(Vec<Sender<()>>),
    Unpark(Arc<AtomicBool>),
}

impl Fleet {
    /// Threads waiting on one channel with a deadline far off.
    pub(crate) fn on_shared_channel(n: usize, started: &Arc<Started>) -> Self {
        let (sender, bell) = bounded(1);
        let threads = (0..n).map(|i| spawn(i, waiter(bell.clone(), Arc::clone(started)))).collect();
        Self { threads, end: End::Shared(sender) }
    }

    /// Threads each waiting on a channel of its own with a deadline far off.
    pub(crate) fn on_own_channels(n: usize, started: &Arc<Started>) -> Self {
        let mut senders = Vec::with_capacity(n);
        let mut threads = Vec::with_capacity(n);
        for i in 0..n {
            let (sender, bell) = bounded(1);
            senders.push(sender);
            threads.push(spawn(i, waiter(bell, Arc::clone(started))));
        }
        Self { threads, end: End::Own(senders) }
    }

    /// Threads that say they are there and park, with a deadline far off as
    /// the loops have one.
    pub(crate) fn parked(n: usize, started: &Arc<Started>) -> Self {
        let end = Arc::new(AtomicBool::new(false));
        let body = |end: Arc<AtomicBool>, started: Arc<Started>| {
            move || {
                started.one();
                // Acquire is for form: nothing is handed over with the flag.
                while !end.load(Ordering::Acquire) {
                    thread::park_timeout(LATER);
                }
            }
        };
        let threads = (0..n).map(|i| spawn(i, body(Arc::clone(&end), Arc::clone(started)))).collect();
        Self { threads, end: End::Unpark(end) }
    }

    /// Threads that say they are there and are gone.
    pub(crate) fn empty(n: usize, started: &Arc<Started>) -> Self {
        let body = |started: Arc<Started>| move || started.one();
        let threads = (0..n).map(|i| spawn(i, body(Arc::clone(started)))).collect();
        Self { threads, end: End::Own(Vec::new()) }
    }

    /// Ends all threads and joins them.
    pub(crate) fn stop(self) {
        match self.end {
            End::Shared(sender) => drop(sender),
            End::Own(senders) => drop(senders),
            End::Unpark(end) => {
                end.store(true, Ordering::Release);
                self.threads.iter().for_each(|thread| thread.thread().unpark());
            }
        }
        for thread in self.threads {
            thread.join().expect("a floor's thread does not panic");
        }
    }
}

/// One thread that says it is there and parks, until it is ended.
#[derive(Debug)]
pub(crate) struct Parked {
    end: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Parked {
    pub(crate) fn start(i: usize, started: &Arc<Started>) -> Self {
        let end = Arc::new(AtomicBool::new(false));
        let (theirs, started) = (Arc::clone(&end), Arc::clone(started));
        let body = move || {
            started.one();
            while !theirs.load(Ordering::Acquire) {
                thread::park_timeout(LATER);
            }
        };
        Self { end, thread: spawn(i, body) }
    }

    pub(crate) fn stop(self) {
        self.end.store(true, Ordering::Release);
        self.thread.thread().unpark();
        self.thread.join().expect("a floor's thread does not panic");
    }
}

/// Starts `n` such threads one after the other, and stops them in reverse.
pub(crate) fn in_order(n: usize) -> (Duration, Duration) {
    let all = Arc::new(Started::expect(n));
    let begin = Instant::now();
    let threads: Vec<Parked> = (0..n).map(|i| Parked::start(i, &all)).collect();
    all.wait();
    let start = begin.elapsed();
    let begin = Instant::now();
    threads.into_iter().rev().for_each(Parked::stop);
    (start, begin.elapsed())
}

/// Sleeps `n` times for `nap` on `parallel` threads that share the work.
pub(crate) fn side_by_side(n: usize, parallel: usize, nap: Duration) -> Duration {
    let begin = Instant::now();
    let next = Arc::new(AtomicU64::new(0));
    let body = |next: Arc<AtomicU64>| {
        move || {
            while next.fetch_add(1, Ordering::Relaxed) < n as u64 {
                thread::sleep(nap);
            }
        }
    };
    let threads: Vec<_> = (0..parallel).map(|i| spawn(i, body(Arc::clone(&next)))).collect();
    for thread in threads {
        thread.join().expect("a floor's thread does not panic");
    }
    begin.elapsed()
}

/// Reads and hashes each file of a folder.
pub(crate) fn read_and_hash(folder: &Path) -> Duration {
    let begin = Instant::now();
    let mut all = 0;
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("the folder can be read").path();
        all ^= hash(&fs::read(path).expect("the file is there"));
    }
    black_box(all);
    begin.elapsed()
}

/// Walks a tree by keys.
pub(crate) fn walk<'a>(values: &'a serde_json::Value, keys: &[String; 2]) -> Option<&'a serde_json::Value> {
    values.get(&keys[0])?.get(&keys[1])
}

/// As std hashes.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

fn waiter(bell: Receiver<()>, started: Arc<Started>) -> impl FnOnce() + Send + 'static {
    move || {
        started.one();
        let rung = bell.recv_deadline(Instant::now() + LATER);
        assert!(rung.is_err(), "a floor's bell is only ever dropped");
    }
}

/// How a periodic loop waits for its next due.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wait {
    /// `clock_nanosleep` to an absolute time.
    Nanosleep,
    /// `park_timeout`, as std offers it and as the library's loops wait.
    Park,
}

/// When loops of one period fall due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phases {
    /// Evenly over the period.
    Spread,
    /// All at once.
    InPhase,
}

/// Starts `n` loops that do nothing but say how late they are, until the
/// process ends.
pub(crate) fn periodic(n: usize, period: Duration, phases: Phases, wait: Wait, tally: &Arc<Tally>) {
    // All threads are there before the first is due.
    let first = Instant::now() + Duration::from_millis(500);
    let first_ns = monotonic_ns() + 500_000_000;
    for i in 0..n {
        let tally = Arc::clone(tally);
        let phase = match phases {
            Phases::Spread => period.mul_f64(i as f64 / n as f64),
            Phases::InPhase => Duration::ZERO,
        };
        let body = move || match wait {
            Wait::Nanosleep => {
                let mut due = first_ns + nanos(phase);
                loop {
                    sleep_until_ns(due);
                    tally.ran(Duration::from_nanos(monotonic_ns().saturating_sub(due)));
                    due += nanos(period);
                }
            }
            Wait::Park => {
                let mut due = first + phase;
                loop {
                    park_until(due);
                    tally.ran(Instant::now().saturating_duration_since(due));
                    due += period;
                }
            }
        };
        // Not joined: the measuring child ends with its threads running.
        drop(spawn(i, body));
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).expect("a bench does not run for centuries")
}

fn monotonic_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a whole `timespec`.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    assert_eq!(result, 0, "clock_gettime: {}", std::io::Error::last_os_error());
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

fn sleep_until_ns(due: u64) {
    let seconds = i64::try_from(due / 1_000_000_000).expect("less than centuries");
    let nanos = i64::try_from(due % 1_000_000_000).expect("less than a second");
    let due = libc::timespec { tv_sec: seconds, tv_nsec: nanos };
    // SAFETY: `due` is whole, and with TIMER_ABSTIME nothing is written back.
    let sleep = || unsafe {
        libc::clock_nanosleep(
            libc::CLOCK_MONOTONIC,
            libc::TIMER_ABSTIME,
            &raw const due,
            std::ptr::null_mut(),
        )
    };
    while sleep() == libc::EINTR {}
}

fn park_until(due: Instant) {
    loop {
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        thread::park_timeout(left);
    }
}

/// How late a thread wakes that only sleeps to a deadline, sample by sample.
pub(crate) fn sleeper_lateness(samples: usize, nap: Duration) -> Vec<Duration> {
    let once = || {
        let due = monotonic_ns() + nanos(nap);
        sleep_until_ns(due);
        Duration::from_nanos(monotonic_ns().saturating_sub(due))
    };
    (0..samples).map(|_| once()).collect()
}

/// `calls` calls of a boxed closure, each with a deadline looked at afterwards.
/// It cannot break a call that hangs.
pub(crate) fn inline_calls(calls: u32) -> Duration {
    let mut state = 0_u64;
    let mut call: Box<dyn FnMut() -> u64> = black_box(Box::new(move || {
        state += 1;
        state
    }));
    let timeout = black_box(Duration::from_secs(10));
    let mut late = 0_u32;
    let begin = Instant::now();
    for _ in 0..calls {
        let deadline = Instant::now() + timeout;
        black_box(call());
        if Instant::now() > deadline {
            late += 1;
        }
    }
    black_box(late);
    begin.elapsed()
}

/// `hops` values through a channel of one place to another thread, back to back:
/// the next is sent while the one before is on its way.
pub(crate) fn channel_hops(hops: u32) -> Duration {
    let (sender, receiver) = bounded::<u32>(1);
    let partner = spawn(0, move || receiver.iter().fold(0_u32, u32::wrapping_add));
    let begin = Instant::now();
    for hop in 0..hops {
        sender.send(hop).expect("the partner runs until the sender goes");
    }
    drop(sender);
    black_box(partner.join().expect("the partner does not panic"));
    begin.elapsed()
}

/// Long enough for the thread that is to be woken to be asleep.
pub(crate) const LULL: Duration = Duration::from_millis(1);

/// From sending to a sleeping subscriber until it runs, sample by sample.
pub(crate) fn one_hop(samples: usize) -> Vec<Duration> {
    let (sender, receiver) = bounded::<Instant>(1024);
    let subscriber = spawn(0, move || receiver.iter().map(|sent| sent.elapsed()).collect::<Vec<_>>());
    for _ in 0..samples {
        thread::sleep(LULL);
        sender.send(Instant::now()).expect("the subscriber runs until the sender goes");
    }
    drop(sender);
    subscriber.join().expect("the subscriber does not panic")
}

/// From deciding to call back on a new thread until the callback runs.
pub(crate) fn spawned_callback(samples: usize) -> Vec<Duration> {
    let once = |i| {
        thread::sleep(LULL);
        let begin = Instant::now();
        spawn(i, move || begin.elapsed()).join().expect("the callback does not panic")
    };
    (0..samples).map(once).collect()
}

/// A loop around nothing.
pub(crate) fn empty_loop(calls: u32) -> Duration {
    let begin = Instant::now();
    for call in 0..calls {
        black_box(call);
    }
    begin.elapsed()
}

/// What a loop's status holds, more or less.
#[derive(Clone, Debug)]
pub(crate) struct StatusRow {
    _name: Arc<str>,
    _ready: bool,
    _since: Instant,
    _counters: [u64; 8],
    _error: Option<Arc<str>>,
}

/// One lock a row, all rows cloned.
#[derive(Debug)]
pub(crate) struct Rows(Vec<Mutex<StatusRow>>);

impl Rows {
    pub(crate) fn new(n: usize) -> Self {
        let row = |i: usize| StatusRow {
            _name: format!("watcher-{i}").into(),
            _ready: i % 10 != 0,
            _since: Instant::now(),
            _counters: [i as u64; 8],
            _error: (i % 10 == 0).then(|| "connection refused".into()),
        };
        Self((0..n).map(|i| Mutex::new(row(i))).collect())
    }

    pub(crate) fn snapshot(&self) -> Vec<StatusRow> {
        self.0.iter().map(|row| row.lock().clone()).collect()
    }
}

/// A thread that does something over and over until it is dropped. With
/// nothing to do with the library in it, it is the control for a busy core.
#[derive(Debug)]
pub(crate) struct Busy {
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Busy {
    pub(crate) fn with(mut work: impl FnMut() + Send + 'static) -> Self {
        let end = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&end);
        let body = move || {
            while !seen.load(Ordering::Relaxed) {
                work();
            }
        };
        Self { end, thread: Some(spawn(0, body)) }
    }

    /// Spins on a number of its own.
    pub(crate) fn spinning() -> Self {
        let number = AtomicU64::new(0);
        Self::with(move || {
            for _ in 0..64 {
                number.fetch_add(1, Ordering::Relaxed);
            }
        })
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Its panic is printed already; a second one here would hide it.
            drop(thread.join());
        }
    }
}
