//! Each promise about cost, as a ratio to a bare thread that does the same.
//!
//!     cargo bench --bench ratios [-- [--quick] [--strict] [NAME]]
//!
//! The bounds are here, the floors in `support/floors.rs`, the library's sides
//! in `support/ours.rs` and `support/parts.rs`. Linux only: it reads /proc and sleeps with
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
    rows::threads(&mut suite);
    rows::start_and_stop(&mut suite);
    rows::guarded_call(&mut suite);
    rows::reconcile(&mut suite);
    rows::passes(&mut suite);
    rows::hung_call(&mut suite);
    rows::periodic(&mut suite);
    rows::events(&mut suite);
    rows::inert(&mut suite);
    rows::snapshot(&mut suite);
    #[cfg(feature = "http")]
    rows::status(&mut suite);
    #[cfg(feature = "prometheus")]
    rows::metrics(&mut suite);
    rows::host(&mut suite);
    rows::folder(&mut suite);
    rows::config(&mut suite);
    #[cfg(feature = "capi")]
    rows::from_c(&mut suite);
    #[cfg(feature = "http-client")]
    rows::polls(&mut suite);
    #[cfg(feature = "sqlite")]
    {
        rows::sweeps(&mut suite);
        rows::retention(&mut suite);
    }
    #[cfg(all(feature = "postgres", feature = "sqlite"))]
    rows::server(&mut suite);
    suite.finish()
}

/// The lines, with their bounds.
#[cfg(target_os = "linux")]
mod rows {
    use std::hint::black_box;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use crate::support::Bound::{AtLeast, Ours, Ratio, Shown};
    use crate::support::child::{self, Memory, Task, Threads, Ticking};
    use crate::support::floors::{self, Busy, Fleet, Phases, Rows};
    use crate::support::measure::{Started, Usage, allocations, ns, quantile_us, us};
    use crate::support::ours::{OURS, Stop};
    use crate::support::parts::{self, Configured, Deployed};
    use crate::support::{Rounds, Row, Side, Suite, row};

    const ONCE: Rounds = Rounds { full: 1, quick: 1 };
    const FEW: Rounds = Rounds { full: 5, quick: 1 };
    const SOME: Rounds = Rounds { full: 9, quick: 3 };
    const MANY: Rounds = Rounds { full: 25, quick: 7 };

    pub(crate) fn memory(suite: &mut Suite) {
        use Memory::{OursHttp, OwnChannel, SharedChannel};
        let (ours, http) = (OURS.idle.map(|_| Memory::Ours), OURS.idle_http.map(|_| OursHttp));
        let cases = [
            (row("memory of 1,000, own channel", "KiB/loop", Ratio(1.25)), 1_000, ours, OwnChannel),
            (row("memory of 1,000, shared channel", "KiB/loop", Shown), 1_000, ours, SharedChannel),
            (row("memory of 1,000 with HTTP probe", "KiB/loop", Shown), 1_000, http, OwnChannel),
            (row("memory of 10,000, own channel", "KiB/loop", Ratio(1.25)), 10_000, ours, OwnChannel),
            (row("memory of 10,000, shared channel", "KiB/loop", Shown), 10_000, ours, SharedChannel),
        ];
        for (row, n, ours, floor) in cases {
            let side = |side| -> Side<'_, 1> { Box::new(move || child::run(Task::Memory { side, n })) };
            suite.compare([row], FEW, ours.map(side), side(floor));
        }
    }

    pub(crate) fn threads(suite: &mut Suite) {
        const N: usize = 1_000;
        let side = |side| -> Side<'_, 1> { Box::new(move || child::run(Task::Threads { side, n: N })) };
        let ours = OURS.idle_with_callbacks.map(|_| side(Threads::Ours));
        let threads = row("threads of 1,000 with callbacks", "threads", Ours(1_002.0));
        suite.compare([threads], ONCE, ours, side(Threads::Bare));
        // A bare thread has four mappings, and one too many of them aborts
        // the process: that floor is not run but worked out.
        let allowed = std::fs::read_to_string("/proc/sys/vm/max_map_count");
        let allowed: f64 = allowed.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(f64::NAN);
        let ours = OURS
            .capacity
            .map(|_| -> Side<'_, 1> { Box::new(|| child::try_run(Task::Capacity).unwrap_or([f64::NAN])) });
        let capacity = row("loops until the budget refuses", "loops", AtLeast(16_000.0));
        suite.compare([capacity], ONCE, ours, Box::new(move || [(allowed / 4.0).floor()]));
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
        let ours = OURS.idle.map(|idle| -> Side<'_, 4> {
            Box::new(move || {
                let (stop, [start, _]): (Stop, _) = started(|all| idle(N, all));
                let ((), [stop, cpu]) = timed(stop);
                [start, start, stop, cpu]
            })
        });
        let floor = || {
            let (fleet, [start, _]) = started(|all| Fleet::parked(N, all));
            fleet.stop();
            let (fleet, [empty, _]) = started(|all| Fleet::empty(N, all));
            fleet.stop();
            let (fleet, _) = started(|all| Fleet::on_shared_channel(N, all));
            let ((), [stop, cpu]) = timed(|| fleet.stop());
            [start, empty, stop, cpu]
        };
        let rows = [
            row("start of 1,000, threads that stay", "us/loop", Ratio(1.10)),
            row("start of 1,000, empty threads", "us/loop", Ratio(1.10)),
            row("stop of 1,000", "us/loop", Ratio(1.15)),
            row("stop of 1,000, CPU", "us/loop", Shown),
        ];
        suite.compare(rows, MANY, ours, Box::new(floor));
    }

    pub(crate) fn guarded_call(suite: &mut Suite) {
        let calls: u32 = suite.pick(200_000, 50_000);
        let each = move |time: Duration| [ns(time) / f64::from(calls)];
        let ours =
            || OURS.guarded_calls.map(|guarded| -> Side<'_, 1> { Box::new(move || each(guarded(calls))) });
        let inline = Box::new(|| each(floors::inline_calls(calls)));
        suite.compare([row("guarded call against inline", "ns", Ratio(1.50))], MANY, ours(), inline);
        let hop = Box::new(|| each(floors::channel_hops(calls)));
        suite.compare([row("guarded call against a hop", "ns", Ratio(0.15))], MANY, ours(), hop);
    }

    pub(crate) fn reconcile(suite: &mut Suite) {
        let runs: u32 = suite.pick(100_000, 20_000);
        let each = move |time: Duration| [ns(time) / f64::from(runs)];
        let side = |body: fn(u32) -> Duration| -> Side<'_, 1> { Box::new(move || each(body(runs))) };
        // What a run costs beyond its call: its decision, the books, the wait.
        let Some(floor) = OURS.guarded_calls else { return };
        let row = row("reconcile run against a guarded call", "ns", Shown);
        suite.compare([row], SOME, OURS.reconciles.map(side), side(floor));
    }

    pub(crate) fn passes(suite: &mut Suite) {
        const CHECKERS: u32 = 100;
        let passes: u32 = suite.pick(2_000, 500);
        let each = move |time: Duration| [ns(time) / f64::from(passes * CHECKERS)];
        let Some(guarded) = OURS.guarded_calls else { return };
        let ours = OURS.passes.map(|run| -> Side<'_, 1> { Box::new(move || each(run(passes, CHECKERS))) });
        // On a thread of its own, as a monitor's looks are: beside other work
        // the kernel has a new one wait where the main one goes on.
        let floor = Box::new(move || {
            let calls = std::thread::spawn(move || guarded(passes * CHECKERS));
            each(calls.join().expect("its calls return"))
        });
        let row = row("pass over 100 checkers, to guarded calls", "ns/check", Ratio(1.50));
        suite.compare([row], MANY, ours, floor);
    }

    pub(crate) fn hung_call(suite: &mut Suite) {
        let samples = suite.pick(200, 100);
        let nap = Duration::from_millis(10);
        let rows = [
            row("hung call published, p50", "us late", Shown),
            row("hung call published, p99", "us late", Ratio(1.50)),
            row("hung call told, p50", "us late", Shown),
            row("hung call told, p99", "us late", Shown),
        ];
        let quantiles = |late: &[Duration]| (quantile_us(late, 0.5), quantile_us(late, 0.99));
        let ours = OURS.hung_calls.map(|hung| -> Side<'_, 4> {
            Box::new(move || {
                let hung = hung(samples, nap);
                let (published, told) = (quantiles(&hung.published), quantiles(&hung.told));
                [published.0, published.1, told.0, told.1]
            })
        });
        let floor = || {
            let (p50, p99) = quantiles(&floors::sleeper_lateness(samples, nap));
            [p50, p99, p50, p99]
        };
        suite.compare(rows, FEW, ours, Box::new(floor));
    }

    pub(crate) fn periodic(suite: &mut Suite) {
        let seconds = suite.pick(4, 2);
        let run =
            |side, phases| -> [f64; 4] { child::run(Task::Periodic { side, phases, n: 1_000, seconds }) };
        let rows = [
            row("1,000 at 1 s, CPU", "us/run", Ratio(1.10)),
            row("1,000 at 1 s, switches", "a run", Ours(1.05)),
            row("1,000 at 1 s, late p50", "us", Shown),
            row("1,000 at 1 s, late p99", "us", Shown),
            row("1,000 against in phase, CPU", "us/run", Shown),
            row("1,000 against in phase, late p50", "us", Shown),
            row("1,000 against in phase, late p99", "us", Ratio(0.15)),
        ];
        let ours = OURS.periodic.map(|_| -> Side<'_, 7> {
            Box::new(move || {
                let [cpu, switches, p50, p99] = run(Ticking::Ours, Phases::Spread);
                [cpu, switches, p50, p99, cpu, p50, p99]
            })
        });
        // What the spread of phases is worth is seen against loops that wait
        // as ours do and are due all at once.
        let floor = move || {
            let [cpu, switches, p50, p99] = run(Ticking::Nanosleep, Phases::Spread);
            let [in_phase, _, late_p50, late_p99] = run(Ticking::Park, Phases::InPhase);
            [cpu, switches, p50, p99, in_phase, late_p50, late_p99]
        };
        suite.compare(rows, FEW, ours, Box::new(floor));
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
        let writer = row("snapshot of 1,000 beside a writer", "us", Ratio(1.10));
        let Some(snapshots) = OURS.snapshots else {
            suite.compare([alone], MANY, None, Box::new(|| each(&mut read_floor)));
            return;
        };
        let ours = snapshots(N);
        let read = std::cell::RefCell::new(ours.read);
        let read_ours = || each(&mut *read.borrow_mut());
        suite.compare([alone], MANY, Some(Box::new(read_ours)), Box::new(|| each(&mut read_floor)));
        // The control has a busy neighbour too, one that touches nothing: what
        // is left of the difference is the writer's locks.
        let beside_writer = || {
            let stop = (ours.writer)();
            let time = read_ours();
            stop();
            time
        };
        let beside_spinner = || {
            let _control = Busy::spinning();
            read_ours()
        };
        suite.compare([writer], MANY, Some(Box::new(beside_writer)), Box::new(beside_spinner));
        (ours.stop)();
    }

    #[cfg(feature = "http")]
    pub(crate) fn status(suite: &mut Suite) {
        use crate::support::status::{
            Dribblers, Kept, bare, json, livez, page, plain_json, server, watchers,
        };
        use loopkeeper::http::PageBench;
        use std::cell::RefCell;

        let as_json = row("snapshot of 1,000 to JSON", "us", Ratio(0.50));
        let kept = row("/status kept alive, to bytes written", "us", Ratio(2.00));
        let as_page = row("snapshot of 1,000 to HTML, to JSON", "us", Ratio(2.00));
        let size = row("page of 1,000", "KB", Ours(400.0));
        if suite.wants(&[as_json, kept, as_page, size]) {
            let (env, manager) = watchers(1_000);
            let reads: u32 = suite.pick(50, 20);
            let each = |read: fn(&loopkeeper::WatchManager) -> usize| -> Side<'_, 1> {
                let manager = &manager;
                Box::new(move || {
                    let begin = Instant::now();
                    (0..reads).for_each(|_| {
                        black_box(read(manager));
                    });
                    [us(begin.elapsed()) / f64::from(reads)]
                })
            };
            suite.compare([as_json], MANY, Some(each(json)), each(plain_json));
            let mut bench = PageBench::default();
            let len = page(&manager, &mut bench) as f64 / 1000.0;
            let to_page = || {
                let begin = Instant::now();
                (0..reads).for_each(|_| {
                    black_box(page(&manager, &mut bench));
                });
                [us(begin.elapsed()) / f64::from(reads)]
            };
            suite.compare([as_page], MANY, Some(Box::new(to_page)), each(json));
            suite.compare([size], FEW, Some(Box::new(|| [len])), Box::new(|| [len]));

            let requests: u32 = suite.pick(1_000, 200);
            let server = server(&env, manager.clone(), 64);
            let mut ours = Kept::new(server.local_addr());
            let len = ours.ask();
            let floor = RefCell::new(Kept::new(bare(ours.answer(len).to_vec())));
            assert_eq!(floor.borrow_mut().ask(), len);
            let ours = RefCell::new(ours);
            let side = |kept: &'_ RefCell<Kept>| [kept.borrow_mut().timed(requests)];
            suite.compare([kept], SOME, Some(Box::new(|| side(&ours))), Box::new(|| side(&floor)));
            assert!(server.stop(Duration::from_secs(5)).is_clean());
            assert!(manager.stop(Duration::from_secs(10)).is_clean());
        }

        let rows = [
            row("/livez beside 400 that dribble, p99", "us", Ratio(3.00)),
            row("/livez beside 400, failed", "in all", Ours(0.0)),
        ];
        if suite.wants(&rows) {
            let samples = suite.pick(1_000, 300);
            let (env, manager) = watchers(10);
            let server = server(&env, manager.clone(), 64);
            let address = server.local_addr();
            let p99 =
                |(times, n_failed): (Vec<Duration>, usize)| [quantile_us(&times, 0.99), n_failed as f64];
            let ours = Box::new(|| {
                let _dribblers = Dribblers::start(address, 400);
                p99(livez(address, samples))
            });
            suite.compare(rows, FEW, Some(ours), Box::new(|| p99(livez(address, samples))));
        }

        let rows = [
            row("10,000 idle connections", "KiB each", Ours(1.0)),
            row("10,000 idle connections, descriptors", "each", Ours(1.001)),
            row("10,000 idle connections, threads", "in all", Ours(0.0)),
        ];
        let n = suite.pick(10_000, 2_000);
        // A descriptor each is what no server can do without.
        suite.compare(
            rows,
            ONCE,
            Some(Box::new(move || child::run(Task::Idle { n }))),
            Box::new(|| [0.0, 1.0, 0.0]),
        );
    }

    pub(crate) fn host(suite: &mut Suite) {
        const N: usize = 1_000;
        let each = |time: Duration| us(time) / N as f64;
        let both = |(start, stop)| [each(start), each(stop)];
        let rows = [
            row("start of 1,000 components", "us each", Ratio(1.20)),
            row("stop of 1,000 components", "us each", Shown),
        ];
        let ours = Box::new(|| both(parts::in_order(N)));
        suite.compare(rows, SOME, Some(ours), Box::new(|| both(floors::in_order(N))));

        let cases = [
            (row("1,000 components, 16 at once", "us each", Ratio(1.20)), 16, Duration::from_millis(1)),
            (row("1,000 components, all at once", "us each", Ratio(1.20)), N, Duration::from_millis(20)),
        ];
        for (row, parallel, nap) in cases {
            let ours = Box::new(|| [each(parts::side_by_side(N, parallel, nap))]);
            let floor = Box::new(|| [each(floors::side_by_side(N, parallel, nap))]);
            suite.compare([row], SOME, Some(ours), floor);
        }

        // Ten times as many cost ten times as much.
        let register = row("register one of 10,000, to one of 1,000", "us each", Ratio(2.00));
        let each = |n: usize| [us(parts::registered(n)) / n as f64];
        suite.compare([register], SOME, Some(Box::new(|| each(10_000))), Box::new(|| each(1_000)));
        let deploy = row("deploy one of 5,000, to one of 500", "us each", Ratio(2.00));
        let each = |n: usize| [us(parts::deployed(n)) / n as f64];
        suite.compare([deploy], SOME, Some(Box::new(|| each(5_000))), Box::new(|| each(500)));

        // A stop of none that hangs and the deadlines of those that do.
        let deadline = Duration::from_millis(50);
        let budget = Duration::from_secs(10);
        let ms = |time: Duration| [us(time) / 1e3];
        let ours = Box::new(|| ms(parts::stop_of_hanging(N, 100, deadline, budget)));
        let floor = Box::new(|| ms(parts::stop_of_hanging(N, 0, deadline, budget) + 10 * deadline));
        suite.compare([row("stop of 1,000, ten that hang", "ms", Ratio(1.20))], FEW, Some(ours), floor);
        let budget = Duration::from_millis(500);
        let ours = Box::new(|| ms(parts::stop_of_hanging(N, 2, deadline, budget)));
        let floor = Box::new(|| ms(budget));
        suite.compare([row("stop of 1,000, over its budget", "ms", Ratio(1.20))], FEW, Some(ours), floor);
    }

    #[cfg(feature = "capi")]
    pub(crate) fn from_c(suite: &mut Suite) {
        use crate::support::capi::{EVENTS, Heard, Shipped, Statuses, events, probes};
        use std::cell::RefCell;

        let calls: u32 = suite.pick(200_000, 50_000);
        let Some(guarded) = OURS.guarded_calls else { return };
        let side = |body: fn(u32) -> Duration| -> Side<'_, 1> {
            Box::new(move || [ns(body(calls)) / f64::from(calls)])
        };
        let probe = row("probe through C", "ns", Ratio(1.20));
        suite.compare([probe], MANY, Some(side(probes)), side(guarded));

        let one = row("status to a buffer in C", "ns", Ratio(1.10));
        let all = row("status of 1,000 to a buffer in C", "ns", Ratio(1.10));
        let json = row("status of 1,000 as JSON in C", "ns", Ratio(1.10));
        if suite.wants(&[one, all, json]) {
            let statuses = RefCell::new(Statuses::new(1_000));
            let each = |reads: u32, read: fn(&mut Statuses)| -> Side<'_, 1> {
                let statuses = &statuses;
                Box::new(move || {
                    let mut statuses = statuses.borrow_mut();
                    let begin = Instant::now();
                    (0..reads).for_each(|_| read(&mut statuses));
                    [ns(begin.elapsed()) / f64::from(reads)]
                })
            };
            type Read = fn(&mut Statuses);
            let cases: [(Row, u32, Read, Read); 3] = [
                (one, suite.pick(20_000, 5_000), Statuses::one_in_c, |all| all.one()),
                (all, suite.pick(100, 20), Statuses::all_in_c, |all| all.all()),
                (json, suite.pick(20, 5), Statuses::json_in_c, |all| all.json()),
            ];
            for (row, reads, ours, floor) in cases {
                suite.compare([row], MANY, Some(each(reads, ours)), each(reads, floor));
            }
        }

        let samples = suite.pick(300, 100);
        let told = row("event to a reader in C, p50", "us", Ratio(1.20));
        let p50 = |latency: &[Duration]| [quantile_us(latency, 0.5)];
        if let Some(floor) = OURS.events {
            let ours = Box::new(|| p50(&events(samples)));
            suite.compare([told], SOME, Some(ours), Box::new(|| p50(&floor(samples))));
        }
        // Without the wait: a queue that is full, and no more than a pointer
        // taken out of it on the other side.
        let event = row("event that waits, read in C", "ns", Ratio(1.20));
        if suite.wants(&[event]) {
            let heard = RefCell::new(Heard::new());
            let ours = Box::new(|| [heard.borrow_mut().read_in_c(EVENTS)]);
            let floor = Box::new(|| [heard.borrow_mut().read(EVENTS)]);
            suite.compare([event], MANY, Some(ours), floor);
        }
        // The same events on both sides, and all that C is told of them.
        let each = row("events that wait, read as a row in C", "ns each", Ratio(1.20));
        let one = row("events that wait, read whole in C", "ns each", Shown);
        if suite.wants(&[each, one]) {
            let heard = RefCell::new(Heard::new());
            type Read = fn(&mut Heard, u32) -> f64;
            let cases: [(Row, Read); 2] = [(each, Heard::read_row_in_c), (one, Heard::read_in_c)];
            for (row, read) in cases {
                let ours = Box::new(|| [read(&mut heard.borrow_mut(), EVENTS)]);
                let floor = Box::new(|| [heard.borrow_mut().read_whole(EVENTS)]);
                suite.compare([row], MANY, Some(ours), floor);
            }
        }
        // The same through the library as it is shipped, for its size, where
        // that was built.
        let one = row("status to a buffer in C, as shipped", "ns", Shown);
        let event = row("event that waits in C, as shipped", "ns", Shown);
        if suite.wants(&[one, event]) {
            let Some(_shipped) = Shipped::load() else {
                println!("in C, as shipped: not there; make -C examples/c library");
                return;
            };
            let reads = suite.pick(20_000, 5_000);
            let statuses = RefCell::new(Statuses::new(10));
            let each = |read: fn(&mut Statuses)| -> Side<'_, 1> {
                let statuses = &statuses;
                Box::new(move || {
                    let mut statuses = statuses.borrow_mut();
                    let begin = Instant::now();
                    (0..reads).for_each(|_| read(&mut statuses));
                    [ns(begin.elapsed()) / f64::from(reads)]
                })
            };
            suite.compare([one], MANY, Some(each(Statuses::one_in_c)), each(|all| all.one()));
            let heard = RefCell::new(Heard::new());
            let ours = Box::new(|| [heard.borrow_mut().read_in_c(EVENTS)]);
            let floor = Box::new(|| [heard.borrow_mut().read(EVENTS)]);
            suite.compare([event], MANY, Some(ours), floor);
        }
    }

    #[cfg(feature = "http-client")]
    pub(crate) fn polls(suite: &mut Suite) {
        use crate::support::polls::{Crew, Watched, serve};
        const N: usize = 1_000;
        let rows = [
            row("polls of 1,000 runs over HTTP", "ms", Ratio(1.20)),
            row("polls of 1,000, without a monitor", "ms", Shown),
        ];
        if !suite.wants(&rows) {
            return;
        }
        let server = serve();
        let (watched, bare) = (Watched::start(N, server), Crew::bare(N, server));
        let source = Crew::of_source(N, server);
        let ms = |time: Duration| [us(time) / 1e3];
        let sides: [Side<'_, 1>; 2] = [Box::new(|| ms(watched.poll())), Box::new(|| ms(source.poll()))];
        for (row, ours) in rows.into_iter().zip(sides) {
            suite.compare([row], SOME, Some(ours), Box::new(|| ms(bare.poll())));
        }
        watched.check();
    }

    pub(crate) fn folder(suite: &mut Suite) {
        const N: usize = 1_000;
        let rescan = row("rescan of 1,000, unchanged", "us", Ratio(1.50));
        let touched = row("rescan, components touched", "in all", Ours(0.0));
        let changed = row("rescan of 1,000, one changed", "us", Shown);
        let replaced = row("rescan, builds, starts and stops", "in all", Ours(3.0));
        if !suite.wants(&[rescan, touched, changed, replaced]) {
            return;
        }
        let deployed = Deployed::new(N);
        let ours = || {
            let (took, touched) = deployed.rescan();
            [us(took), touched as f64]
        };
        let floor = || [us(floors::read_and_hash(deployed.folder())), 0.0];
        suite.compare([rescan, touched], MANY, Some(Box::new(ours)), Box::new(floor));
        let mut version = 1;
        let ours = || {
            version += 1;
            deployed.change(version as usize % N, version);
            let (took, touched) = deployed.rescan();
            [us(took), touched as f64]
        };
        let floor = || [us(floors::read_and_hash(deployed.folder())), 3.0];
        suite.compare([changed, replaced], MANY, Some(Box::new(ours)), Box::new(floor));
    }

    pub(crate) fn config(suite: &mut Suite) {
        let values = parts::settings(12, 12);
        let configured = Configured::new(&values);
        let rows = [
            row("reload, unchanged", "us", Shown),
            row("reload, unchanged, snapshots", "new", Ours(0.0)),
            row("reload, unchanged, allocations", "in all", Shown),
        ];
        let file = configured.file();
        let floor = Box::new(|| parts::read_and_hash_one(&file));
        suite.compare(rows, MANY, Some(Box::new(|| configured.reload())), floor);

        // Every leaf in turn, so that no key is a lucky one.
        let rounds: u32 = suite.pick(2_000, 400);
        let wide = parts::settings(2, 1_000);
        let snapshot = configured.snapshot();
        let snapshot_of_wide = Configured::new(&wide).snapshot();
        let cases = [
            (row("read of a leaf", "ns", Ratio(1.50)), rounds, &snapshot, &values),
            (
                row("read of a leaf, 1,000 beside it", "ns", Ratio(1.50)),
                rounds / 20,
                &snapshot_of_wide,
                &wide,
            ),
        ];
        for (row, rounds, snapshot, values) in cases {
            let paths = parts::leaves(values, |_| true);
            let ours = || each(rounds, &paths, |(path, _)| snapshot.get(path));
            let floor = || each(rounds, &paths, |(_, keys)| floors::walk(values, keys));
            suite.compare([row], MANY, Some(Box::new(ours)), Box::new(floor));
        }
        let paths = parts::leaves(&values, serde_json::Value::is_number);
        let ours = || each(rounds, &paths, |(path, _)| snapshot.int(path, 0));
        let floor = || each(rounds, &paths, |(_, keys)| floors::walk(&values, keys)?.as_i64());
        let number = row("read of a number", "ns", Ratio(1.50));
        suite.compare([number], MANY, Some(Box::new(ours)), Box::new(floor));
        let paths = parts::leaves(&values, serde_json::Value::is_string);
        let ours = || each(rounds, &paths, |(path, _)| snapshot.string(path, ""));
        let floor =
            || each(rounds, &paths, |(_, keys)| floors::walk(&values, keys)?.as_str().map(str::to_owned));
        let text = row("read of a text", "ns", Ratio(1.50));
        suite.compare([text], MANY, Some(Box::new(ours)), Box::new(floor));
    }

    /// Nanoseconds a read.
    fn each<T>(rounds: u32, paths: &[parts::Leaf], read: impl Fn(&parts::Leaf) -> T) -> [f64; 1] {
        let begin = Instant::now();
        for _ in 0..rounds {
            paths.iter().for_each(|path| _ = black_box(read(black_box(path))));
        }
        [ns(begin.elapsed()) / f64::from(rounds) / paths.len() as f64]
    }

    #[cfg(feature = "sqlite")]
    pub(crate) fn sweeps(suite: &mut Suite) {
        use crate::support::fleet::{Jobs, Step};

        // A tenth of the jobs takes a tenth of the time to look at.
        let n: u32 = suite.pick(1_000_000, 100_000);
        let unindexed = Ratio(suite.pick(0.001, 0.01));
        let steps = [
            (row("sweep: stuck jobs, 1 in 1,000", "ms", Ratio(1.15)), Step::Recover, n / 1_000),
            (row("sweep: old jobs, 1 in 1,000", "ms", Ratio(1.15)), Step::Expire, n / 1_000),
            (row("sweep: places, all that wait", "ms", Ratio(1.15)), Step::Places, n / 100),
            (row("sweep: places, none changes", "ms", Ratio(1.15)), Step::Places, 0),
        ];
        let empty = row("sweep: nothing, against no index", "us", unindexed);
        if !suite.wants(&[steps[0].0, steps[1].0, steps[2].0, steps[3].0, empty]) {
            return;
        }
        let jobs = Jobs::new(n);
        for (row, step, wanted) in steps {
            let wanted = u64::from(wanted);
            let [stage, clear] = step.stage();
            if wanted == 0 {
                jobs.give_places();
            }
            jobs.stage(stage);
            let ours = || [us(jobs.ours(step, wanted)) / 1e3];
            let floor = || [us(jobs.floor(step, wanted)) / 1e3];
            suite.compare([row], MANY, Some(Box::new(ours)), Box::new(floor));
            jobs.stage(clear);
        }
        let floor = jobs.empty_floor();
        let ours = Box::new(|| [us(jobs.empty_pass())]);
        suite.compare([empty], SOME, Some(ours), Box::new(|| [us(floor())]));
    }

    #[cfg(feature = "sqlite")]
    pub(crate) fn retention(suite: &mut Suite) {
        use crate::support::fleet::{Deleted, Records};

        // At least 0.9 of the speed, and 0.5 beside one who writes.
        let alone = row("retention of 1,000,000", "ms", Ratio(1.0 / 0.9));
        let beside = row("retention beside a writer", "ms", Ratio(1.0 / 0.5));
        let waited = row("retention, the writer's longest wait", "ms", Ratio(0.2));
        if !suite.wants(&[alone, beside, waited]) {
            return;
        }
        let records = Records::new(suite.pick(1_000_000, 100_000));
        let ms = |time: Duration| us(time) / 1e3;
        let ours = Box::new(|| [ms(records.ours(false).took)]);
        suite.compare([alone], FEW, Some(ours), Box::new(|| [ms(records.floor(false).took)]));
        let both = |deleted: Deleted| [ms(deleted.took), ms(deleted.waited)];
        let ours = Box::new(|| both(records.ours(true)));
        suite.compare([beside, waited], FEW, Some(ours), Box::new(|| both(records.floor(true))));
    }

    #[cfg(all(feature = "postgres", feature = "sqlite"))]
    pub(crate) fn server(suite: &mut Suite) {
        use crate::support::fleet::Step;
        use crate::support::fleet_server::{ByHand, Claims, Jobs, Server};
        use std::cell::RefCell;

        let n: u32 = suite.pick(1_000_000, 50_000);
        let steps = [
            (row("PostgreSQL: stuck jobs, 1 in 1,000", "ms", Ratio(1.20)), Step::Recover, n / 1_000),
            (row("PostgreSQL: old jobs, 1 in 1,000", "ms", Ratio(1.20)), Step::Expire, n / 1_000),
            (row("PostgreSQL: places, all that wait", "ms", Ratio(1.20)), Step::Places, n / 100),
            (row("PostgreSQL: places, none changes", "ms", Ratio(1.20)), Step::Places, 0),
        ];
        // At least 0.9 of what a loop by hand claims, also of one that gives no
        // tenant its turn.
        let claims = [
            (row("PostgreSQL: claims of 8, one tenant", "us each", Ratio(1.0 / 0.9)), 1, ByHand::OneQueue),
            (row("PostgreSQL: claims of 8, 10 tenants", "us each", Ratio(1.0 / 0.9)), 10, ByHand::OneQueue),
            (
                row("PostgreSQL: claims of 8, 10 tenants in turn", "us each", Ratio(1.0 / 0.9)),
                10,
                ByHand::Fair,
            ),
        ];
        let rows = steps.iter().map(|step| step.0).chain(claims.iter().map(|claim| claim.0));
        if !suite.wants(&rows.collect::<Vec<_>>()) {
            return;
        }
        let Some(mut server) = Server::new() else {
            println!("PostgreSQL: LOOPKEEPER_TEST_POSTGRES does not say where a server is");
            return;
        };
        if suite.wants(&[steps[0].0, steps[1].0, steps[2].0, steps[3].0]) {
            let jobs = RefCell::new(Jobs::new(&mut server, n));
            for (row, step, wanted) in steps {
                let wanted = u64::from(wanted);
                let [stage, clear] = step.stage();
                if wanted == 0 {
                    jobs.borrow_mut().give_places();
                }
                jobs.borrow_mut().stage(stage);
                let ours = || [us(jobs.borrow_mut().ours(step, wanted)) / 1e3];
                let floor = || [us(jobs.borrow_mut().floor(step)) / 1e3];
                suite.compare([row], MANY, Some(Box::new(ours)), Box::new(floor));
                jobs.borrow_mut().stage(clear);
            }
        }
        let time = suite.pick(Duration::from_secs(3), Duration::from_millis(300));
        let agents = RefCell::new(Claims::new(&mut server));
        for (row, tenants, by_hand) in claims {
            let ours = || [agents.borrow_mut().ours(tenants, time)];
            let floor = || [agents.borrow_mut().floor(by_hand, tenants, time)];
            suite.compare([row], FEW, Some(Box::new(ours)), Box::new(floor));
        }
    }

    #[cfg(feature = "prometheus")]
    pub(crate) fn metrics(suite: &mut Suite) {
        use crate::support::metrics;

        const N: usize = 1_000;
        type Calls = fn(u32) -> Duration;
        let calls: u32 = suite.pick(1_000_000, 200_000);
        let side = |body: Calls| -> Side<'_, 1> { Box::new(move || [ns(body(calls)) / f64::from(calls)]) };
        let cases: [(Row, Calls, Calls); 3] = [
            (row("counter, prometheus", "ns", Ratio(1.15)), metrics::counts, metrics::bare_counts),
            (
                row("histogram, prometheus", "ns", Ratio(1.20)),
                metrics::observations,
                metrics::bare_observations,
            ),
            (
                row("timed span, prometheus", "ns", Ratio(1.50)),
                metrics::timed_spans,
                metrics::two_looks_at_the_clock,
            ),
        ];
        for (row, ours, floor) in cases {
            suite.compare([row], MANY, Some(side(ours)), side(floor));
        }
        let texts: u32 = suite.pick(20, 5);
        let each = |render: &mut dyn FnMut() -> usize| {
            let begin = Instant::now();
            let len = (0..texts).map(|_| black_box(render())).last().unwrap_or_default();
            [us(begin.elapsed()) / f64::from(texts), len as f64 / 1024.0]
        };
        let (mut ours, mut asking, stop) = metrics::exporter(N);
        let mut floor = metrics::bare_registry(N);
        let rows =
            [row("metrics of 1,000, text", "us", Ratio(1.20)), row("metrics of 1,000, length", "KiB", Shown)];
        let ours: Side<'_, 2> = Box::new(|| each(&mut ours));
        suite.compare(rows, MANY, Some(ours), Box::new(|| each(&mut floor)));
        // The floor has no loops to look at.
        let rows = [
            row("metrics of 1,000, and how late", "us", Shown),
            row("metrics of 1,000, and how late, length", "KiB", Shown),
        ];
        let asking: Side<'_, 2> = Box::new(|| each(&mut asking));
        suite.compare(rows, MANY, Some(asking), Box::new(|| each(&mut floor)));
        stop();
    }
}
