//! Measurements that need a process of their own: memory and whole-process
//! counters, where what one side leaves behind would count for the other.
//!
//! The bench starts itself again with `--child` and reads numbers, one a line.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::floors::{self, Fleet, Phases, Wait};
use super::measure::{Started, Tally, Usage, private_kib, threads, us};
use super::ours::OURS;

const FLAG: &str = "--child";

/// What a child measures. It goes through a command line and back.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Task {
    /// Private KiB a loop, for `n` idle loops.
    Memory { side: Memory, n: usize },
    /// How many threads `n` loops with callbacks are.
    Threads { side: Threads, n: usize },
    /// How many loops run before the budget refuses one; not a number where
    /// anything else ends it.
    Capacity,
    /// CPU and switches a run, lateness: `n` loops at one second for `seconds`.
    /// Ours have phases of their own.
    Periodic { side: Ticking, phases: Phases, n: usize, seconds: u64 },
    /// KiB and descriptors each, and threads in all, for `n` connections to
    /// the status server that wait.
    #[cfg(feature = "http")]
    Idle { n: usize },
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Memory {
    Ours,
    OursHttp,
    OwnChannel,
    SharedChannel,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Threads {
    Ours,
    Bare,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Ticking {
    Ours,
    Nanosleep,
    Park,
}

/// Measures in a new process; `None` where that process does not come to a
/// good end.
pub(crate) fn try_run<const N: usize>(task: Task) -> Option<[f64; N]> {
    let program = std::env::current_exe().expect("a process knows its program");
    let output = Command::new(program)
        .args([FLAG.to_owned(), task.to_text()])
        .stderr(Stdio::inherit())
        .output()
        .expect("the bench can start itself");
    let text = String::from_utf8(output.stdout).expect("numbers are text");
    let numbers: Vec<f64> = text.lines().filter_map(|line| line.parse().ok()).collect();
    output.status.success().then_some(numbers)?.try_into().ok()
}

/// Measures in a new process.
pub(crate) fn run<const N: usize>(task: Task) -> [f64; N] {
    try_run(task).unwrap_or_else(|| panic!("{task:?} failed"))
}

/// Does what the parent asked for, if this process is such a child.
pub(crate) fn answer(args: &[String]) -> bool {
    let [flag, task] = args else { return false };
    if flag != FLAG {
        return false;
    }
    #[cfg(feature = "http")]
    if let ["connect", address, n] = task.split(' ').collect::<Vec<_>>()[..] {
        super::status::connect(address, n.parse().expect("a number"));
        return true;
    }
    let task = Task::from_text(task).unwrap_or_else(|| panic!("no such task: {task}"));
    let numbers = match task {
        Task::Memory { side, n } => vec![memory(side, n)],
        Task::Threads { side, n } => vec![threads_of(side, n)],
        Task::Capacity => vec![capacity()],
        Task::Periodic { side, phases, n, seconds } => periodic(side, phases, n, seconds).to_vec(),
        #[cfg(feature = "http")]
        Task::Idle { n } => super::status::idle(n).to_vec(),
    };
    numbers.iter().for_each(|number| println!("{number}"));
    true
}

fn memory(side: Memory, n: usize) -> f64 {
    let started = Arc::new(Started::expect(n));
    // The first thread of a process costs more than the others.
    thread::spawn(|| {}).join().expect("an empty thread does not panic");
    let before = private_kib();
    let stop: Box<dyn FnOnce()> = match side {
        Memory::Ours => OURS.idle.expect("asked only where it is there")(n, &started),
        Memory::OursHttp => OURS.idle_http.expect("asked only where it is there")(n, &started),
        Memory::OwnChannel => stopper(Fleet::on_own_channels(n, &started)),
        Memory::SharedChannel => stopper(Fleet::on_shared_channel(n, &started)),
    };
    started.wait();
    // The last ones are still on their way from the first run into the wait.
    thread::sleep(Duration::from_millis(200));
    let after = private_kib();
    stop();
    (after - before) / n as f64
}

fn threads_of(side: Threads, n: usize) -> f64 {
    let started = Arc::new(Started::expect(n));
    let before = threads();
    let stop: Box<dyn FnOnce()> = match side {
        Threads::Ours => OURS.idle_with_callbacks.expect("asked only where it is there")(n, &started),
        Threads::Bare => stopper(Fleet::parked(n, &started)),
    };
    started.wait();
    let after = threads();
    stop();
    after - before
}

fn capacity() -> f64 {
    let capacity = OURS.capacity.expect("asked only where it is there");
    capacity().map_or(f64::NAN, |n| n as f64)
}

fn stopper(fleet: Fleet) -> Box<dyn FnOnce()> {
    Box::new(move || fleet.stop())
}

fn periodic(side: Ticking, phases: Phases, n: usize, seconds: u64) -> [f64; 4] {
    let period = Duration::from_secs(1);
    let tally = Arc::new(Tally::new());
    let mut kept = None;
    match side {
        Ticking::Ours => {
            kept = Some(OURS.periodic.expect("asked only where it is there")(n, period, &tally));
        }
        Ticking::Nanosleep => floors::periodic(n, period, phases, Wait::Nanosleep, &tally),
        Ticking::Park => floors::periodic(n, period, phases, Wait::Park, &tally),
    }
    // Starting, and the first due of each, do not count.
    thread::sleep(2 * period);
    tally.set_open(true);
    let before = Usage::now();
    thread::sleep(Duration::from_secs(seconds));
    let used = Usage::now().since(before);
    tally.set_open(false);
    let runs = tally.runs() as f64;
    let expected = n as f64 * seconds as f64;
    assert!(runs > 0.9 * expected, "{runs} runs where {expected} were due");
    // The loops run until the process ends; both sides alike.
    std::mem::forget(kept);
    [
        us(used.cpu) / runs,
        used.voluntary_switches as f64 / runs,
        tally.quantile_us(0.5),
        tally.quantile_us(0.99),
    ]
}

impl Task {
    fn to_text(self) -> String {
        match self {
            Self::Memory { side, n } => format!("memory {side:?} {n}"),
            Self::Threads { side, n } => format!("threads {side:?} {n}"),
            Self::Capacity => "capacity".to_owned(),
            Self::Periodic { side, phases, n, seconds } => {
                format!("periodic {side:?} {phases:?} {n} {seconds}")
            }
            #[cfg(feature = "http")]
            Self::Idle { n } => format!("idle {n}"),
        }
    }

    fn from_text(text: &str) -> Option<Self> {
        let words: Vec<&str> = text.split(' ').collect();
        match words[..] {
            ["memory", side, n] => {
                let sides = [Memory::Ours, Memory::OursHttp, Memory::OwnChannel, Memory::SharedChannel];
                Some(Self::Memory { side: named(&sides, side)?, n: n.parse().ok()? })
            }
            ["threads", side, n] => {
                let sides = [Threads::Ours, Threads::Bare];
                Some(Self::Threads { side: named(&sides, side)?, n: n.parse().ok()? })
            }
            ["capacity"] => Some(Self::Capacity),
            #[cfg(feature = "http")]
            ["idle", n] => Some(Self::Idle { n: n.parse().ok()? }),
            ["periodic", side, phases, n, seconds] => {
                let sides = [Ticking::Ours, Ticking::Nanosleep, Ticking::Park];
                Some(Self::Periodic {
                    side: named(&sides, side)?,
                    phases: named(&[Phases::Spread, Phases::InPhase], phases)?,
                    n: n.parse().ok()?,
                    seconds: seconds.parse().ok()?,
                })
            }
            _ => None,
        }
    }
}

fn named<T: Copy + std::fmt::Debug>(all: &[T], name: &str) -> Option<T> {
    all.iter().copied().find(|one| format!("{one:?}") == name)
}
