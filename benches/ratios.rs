//! Each promise about cost, as a ratio to a bare thread that does the same.
//!
//!     cargo bench --bench ratios [-- [--quick] [--strict] [NAME]]
//!
//! The bounds are here, the floors in `support/floors.rs`, the library's sides
//! in `support/ours.rs`. Linux only: it reads /proc and sleeps with
//! `clock_nanosleep`.

#![allow(unsafe_code, reason = "process counters and the bare sleep are calls into libc")]
#![allow(clippy::disallowed_methods, reason = "the floors are bare threads on the real clock")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints its results")]

#[cfg(target_os = "linux")]
mod support;

#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: support::measure::Counting = support::measure::Counting;

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("these measurements are for Linux");
}

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if support::child::answer(&args) {
        return std::process::ExitCode::SUCCESS;
    }
    let mut suite = match support::Suite::from_args(args.into_iter()) {
        Ok(suite) => suite,
        Err(error) => {
            eprintln!("{error}");
            return std::process::ExitCode::from(2);
        }
    };
    rows::memory(&mut suite);
    rows::start_and_stop(&mut suite);
    rows::guarded_call(&mut suite);
    rows::hung_call(&mut suite);
    rows::periodic(&mut suite);
    rows::events(&mut suite);
    rows::inert(&mut suite);
    rows::snapshot(&mut suite);
    suite.finish()
}

/// The lines, with their bounds.
#[cfg(target_os = "linux")]
mod rows {
    use std::hint::black_box;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use crate::support::Bound::{Ours, Ratio, Shown};
    use crate::support::child::{self, Memory, Task, Ticking};
    use crate::support::floors::{self, Busy, Fleet, Phases, Rows, Wait};
    use crate::support::measure::{Started, Usage, allocations, ns, quantile_us, us};
    use crate::support::ours::{OURS, Stop};
    use crate::support::{Rounds, Row, Side, Suite, row};

    const FEW: Rounds = Rounds { full: 3, quick: 1 };
    const SOME: Rounds = Rounds { full: 9, quick: 3 };
    const MANY: Rounds = Rounds { full: 25, quick: 5 };

    pub(crate) fn memory(suite: &mut Suite) {
        let cases = [
            (row("memory of 1,000, own channel", "KiB/loop", Ratio(1.30)), Memory::OwnChannel, 1_000),
            (row("memory of 1,000, shared channel", "KiB/loop", Ratio(1.30)), Memory::SharedChannel, 1_000),
            (row("memory of 10,000, own channel", "KiB/loop", Ratio(1.30)), Memory::OwnChannel, 10_000),
            (row("memory of 10,000, shared channel", "KiB/loop", Ratio(1.30)), Memory::SharedChannel, 10_000),
        ];
        for (row, floor, n) in cases {
            let side = |side| -> Side<'_, 1> { Box::new(move || child::run(Task::Memory { side, n })) };
            let ours = OURS.idle.map(|_| side(Memory::Ours));
            suite.compare([row], FEW, ours, side(floor));
        }
    }

    pub(crate) fn start_and_stop(suite: &mut Suite) {
        const N: usize = 1_000;
        /// Wall time and CPU time a loop, in microseconds.
        fn timed<T>(body: impl FnOnce() -> T) -> (T, [f64; 2]) {
            let (usage, begin) = (Usage::now(), Instant::now());
            let result = body();
            let wall = begin.elapsed();
            (result, [us(wall) / N as f64, us(Usage::now().since(usage).cpu) / N as f64])
        }
        fn started<T>(start: impl FnOnce(&Arc<Started>) -> T) -> (T, [f64; 2]) {
            let all = Arc::new(Started::expect(N));
            timed(|| {
                let fleet = start(&all);
                all.wait();
                fleet
            })
        }
        let ours = OURS.idle.map(|idle| -> Side<'_, 3> {
            Box::new(move || {
                let (stop, [start, _]): (Stop, _) = started(|all| idle(N, all));
                let ((), [stop, cpu]) = timed(stop);
                [start, stop, cpu]
            })
        });
        let floor = || {
            let (fleet, [start, _]) = started(|all| Fleet::parked(N, all));
            fleet.stop();
            let (fleet, _) = started(|all| Fleet::on_shared_channel(N, all));
            let ((), [stop, cpu]) = timed(|| fleet.stop());
            [start, stop, cpu]
        };
        let rows = [
            row("start of 1,000", "us/loop", Ratio(1.10)),
            row("stop of 1,000", "us/loop", Ratio(0.65)),
            row("stop of 1,000, CPU", "us/loop", Ratio(0.45)),
        ];
        suite.compare(rows, SOME, ours, Box::new(floor));
    }

    pub(crate) fn guarded_call(suite: &mut Suite) {
        let calls: u32 = suite.pick(200_000, 50_000);
        let each = move |time: Duration| [ns(time) / f64::from(calls)];
        let ours =
            || OURS.guarded_calls.map(|guarded| -> Side<'_, 1> { Box::new(move || each(guarded(calls))) });
        let inline = Box::new(|| each(floors::inline_calls(calls)));
        suite.compare([row("guarded call against inline", "ns", Ratio(1.50))], MANY, ours(), inline);
        let hop = Box::new(|| each(floors::channel_hops(calls)));
        suite.compare([row("guarded call against a hop", "ns", Ratio(0.25))], SOME, ours(), hop);
    }

    pub(crate) fn hung_call(suite: &mut Suite) {
        let samples = suite.pick(100, 30);
        let nap = Duration::from_millis(20);
        let values = |lateness: &[Duration]| [quantile_us(lateness, 0.5), quantile_us(lateness, 0.99)];
        let cases = [
            (
                Wait::RecvDeadline,
                [
                    row("hung call told, p50", "us late", Shown),
                    row("hung call told, p99", "us late", Ours(5_000.0)),
                ],
            ),
            (
                Wait::Nanosleep,
                [
                    row("hung call told, nanosleep p50", "us late", Shown),
                    row("hung call told, nanosleep p99", "us late", Ours(5_000.0)),
                ],
            ),
        ];
        for (wait, rows) in cases {
            let ours =
                OURS.hung_calls.map(|hung| -> Side<'_, 2> { Box::new(move || values(&hung(samples))) });
            let floor = Box::new(|| values(&floors::sleeper_lateness(samples, nap, wait)));
            suite.compare(rows, FEW, ours, floor);
        }
    }

    pub(crate) fn periodic(suite: &mut Suite) {
        let seconds = suite.pick(6, 2);
        let side = |side, phases| -> Side<'_, 4> {
            Box::new(move || child::run(Task::Periodic { side, phases, n: 1_000, seconds }))
        };
        let ours = || OURS.periodic.map(|_| side(Ticking::Ours, Phases::Spread));
        let spread = [
            row("1,000 at 1 s, CPU", "us/run", Ratio(1.10)),
            row("1,000 at 1 s, switches", "a run", Ratio(1.05)),
            row("1,000 at 1 s, late p50", "us", Shown),
            row("1,000 at 1 s, late p99", "us", Shown),
        ];
        suite.compare(spread, FEW, ours(), side(Ticking::Nanosleep, Phases::Spread));
        // What the spread of phases is worth: the default against loops in phase.
        let in_phase = [
            row("1,000 against in phase, CPU", "us/run", Shown),
            row("1,000 against in phase, switches", "a run", Shown),
            row("1,000 against in phase, late p50", "us", Shown),
            row("1,000 against in phase, late p99", "us", Shown),
        ];
        suite.compare(in_phase, FEW, ours(), side(Ticking::Nanosleep, Phases::InPhase));
        let channels = [
            row("1,000 against channels, CPU", "us/run", Shown),
            row("1,000 against channels, switches", "a run", Shown),
            row("1,000 against channels, late p50", "us", Shown),
            row("1,000 against channels, late p99", "us", Ratio(0.15)),
        ];
        suite.compare(channels, FEW, ours(), side(Ticking::RecvDeadline, Phases::InPhase));
    }

    pub(crate) fn events(suite: &mut Suite) {
        type Latencies = fn(samples: usize) -> Vec<Duration>;
        let samples = suite.pick(300, 100);
        let p50 = |latency: &[Duration]| [quantile_us(latency, 0.5)];
        let cases: [(Row, Option<Latencies>, Latencies); 2] = [
            (row("event to a subscriber, p50", "us", Ratio(1.50)), OURS.events, floors::one_hop),
            (row("callback, p50", "us", Ratio(0.80)), OURS.callbacks, floors::spawned_callback),
        ];
        for (row, ours, floor) in cases {
            let ours = ours.map(|ours| -> Side<'_, 1> { Box::new(move || p50(&ours(samples))) });
            suite.compare([row], SOME, ours, Box::new(|| p50(&floor(samples))));
        }
    }

    pub(crate) fn inert(suite: &mut Suite) {
        let calls: u32 = suite.pick(2_000_000, 500_000);
        let side = |body: fn(u32) -> Duration| -> Side<'_, 2> {
            Box::new(move || {
                let before = allocations();
                let time = body(calls);
                [ns(time) / f64::from(calls), (allocations() - before) as f64]
            })
        };
        let counter =
            [row("inert counter", "ns", Ours(2.0)), row("inert counter, allocations", "in all", Ours(0.0))];
        suite.compare(counter, MANY, OURS.inert_counts.map(side), side(floors::empty_loop));
        let span = [row("inert span", "ns", Ours(2.0)), row("inert span, allocations", "in all", Ours(0.0))];
        suite.compare(span, MANY, OURS.inert_spans.map(side), side(floors::empty_loop));
    }

    pub(crate) fn snapshot(suite: &mut Suite) {
        const N: usize = 1_000;
        let reads: u32 = suite.pick(200, 50);
        let each = |read: &mut dyn FnMut()| {
            let begin = Instant::now();
            (0..reads).for_each(|_| read());
            [us(begin.elapsed()) / f64::from(reads)]
        };
        let floor = Rows::new(N);
        let mut read_floor = || drop(black_box(floor.snapshot()));
        let alone = row("snapshot of 1,000", "us", Shown);
        let busy = row("snapshot of 1,000, a core busy", "us", Shown);
        let writer = row("snapshot of 1,000 beside a writer", "us", Ratio(1.10));
        let Some(snapshots) = OURS.snapshots else {
            suite.compare([alone], MANY, None, Box::new(|| each(&mut read_floor)));
            let mut read_floor = || drop(black_box(floor.snapshot()));
            suite.compare(
                [busy],
                MANY,
                None,
                Box::new(|| {
                    let _control = Busy::spinning();
                    each(&mut read_floor)
                }),
            );
            suite.not_there(writer);
            return;
        };
        let ours = snapshots(N);
        let read = std::cell::RefCell::new(ours.read);
        let read_ours = || each(&mut *read.borrow_mut());
        suite.compare([alone], MANY, Some(Box::new(read_ours)), Box::new(|| each(&mut read_floor)));
        let mut read_floor = || drop(black_box(floor.snapshot()));
        let beside_spinner = || {
            let _control = Busy::spinning();
            read_ours()
        };
        let floor_beside_spinner = || {
            let _control = Busy::spinning();
            each(&mut read_floor)
        };
        suite.compare([busy], MANY, Some(Box::new(beside_spinner)), Box::new(floor_beside_spinner));
        // The control has a busy neighbour too, one that touches nothing: what
        // is left of the difference is the writer's locks.
        let beside_writer = || {
            let write = Arc::clone(&ours.write);
            let _writer = Busy::with(move || write());
            read_ours()
        };
        suite.compare([writer], MANY, Some(Box::new(beside_writer)), Box::new(beside_spinner));
        (ours.stop)();
    }
}
