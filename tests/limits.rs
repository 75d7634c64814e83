//! The machine's limits on threads and mappings, met for real: each in a
//! child process, this test binary run again with a word in its environment.
#![cfg(target_os = "linux")]
#![allow(unsafe_code, reason = "limits, users and mappings are set through the system's calls")]
#![allow(clippy::unwrap_used, reason = "a failed set-up is a failed test")]
#![allow(clippy::disallowed_methods, reason = "the word for the child comes through its environment")]

mod support;

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use loopkeeper::monitor::{Report, Verdict};
use loopkeeper::{
    Context, Env, Error, ErrorKind, Monitor, MonitorConfig, WatchManager, Watcher, WatcherConfig,
};
use support::{PATIENCE, eventually, threads_named};

const CHILD: &str = "LOOPKEEPER_TEST_CHILD";

/// Runs `body` in a child of its own: a limit holds for a whole process.
fn in_child(test: &str, body: impl FnOnce()) {
    if std::env::var_os(CHILD).is_some() {
        body();
        return;
    }
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&child.stdout), String::from_utf8_lossy(&child.stderr));
    assert!(child.status.success(), "{}\n{out}\n{err}", child.status);
    assert!(out.contains("1 passed"), "{out}");
}

fn config(n: usize) -> WatcherConfig {
    WatcherConfig::new(format!("s{n}"), |_: &Context| Ok(())).on_ready(|| ()).on_down(|_| ())
}

/// Watches more and more until it is refused.
fn watch_until_refused(manager: &WatchManager, most: usize) -> (Vec<Arc<Watcher>>, Error) {
    let mut watchers = Vec::new();
    for n in 0..most {
        match manager.watch(config(n)) {
            Ok(watcher) => watchers.push(watcher),
            Err(error) => return (watchers, error),
        }
    }
    panic!("{most} watchers, and no limit was met");
}

/// What must still hold beside a limit: all are ready, a refusal changed
/// nothing, a stop is clean and gives the room back.
fn still_works(manager: &WatchManager, watchers: &[Arc<Watcher>]) {
    for watcher in watchers {
        assert!(watcher.wait_ready(PATIENCE), "{}", watcher.status());
        let runs = watcher.status().runs;
        watcher.trigger();
        eventually("one more run", || watcher.status().runs > runs);
    }
    assert_eq!(manager.status().len(), watchers.len(), "a refused watcher is not kept");
    // Room for more than is asked for: the C library keeps the stacks of
    // threads that have ended, and the count sees those as used.
    let (_, ended) = watchers.split_at(watchers.len().saturating_sub(8));
    for watcher in ended {
        assert!(watcher.stop(PATIENCE).is_clean());
    }
    let last = ended.last().unwrap();
    last.restart().unwrap();
    assert!(last.wait_ready(PATIENCE));
    let report = manager.stop(PATIENCE);
    assert!(report.is_clean(), "{report}");
    eventually("all loops to end", || threads_named("w/") == 0);
}

/// Lets this process have so many threads; says whether it was root's.
fn with_room_for(threads: u64) -> bool {
    // SAFETY: no arguments, no failure.
    let is_root = unsafe { libc::geteuid() } == 0;
    if is_root {
        // Root is exempt from the limit. A user that nobody else is: the
        // limit counts all threads of a user.
        let user = 1_000_000 + std::process::id();
        // SAFETY: plain numbers; the result is checked.
        assert_eq!(unsafe { libc::setuid(user) }, 0);
    }
    let limit = libc::rlimit { rlim_cur: threads, rlim_max: threads };
    // SAFETY: `limit` is valid for reads.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NPROC, &limit) }, 0);
    is_root
}

#[test]
fn a_monitor_without_room_for_a_successor_goes_on_when_there_is_or_the_hung_look_is_back() {
    in_child("a_monitor_without_room_for_a_successor_goes_on_when_there_is_or_the_hung_look_is_back", || {
        if !with_room_for(24) {
            // Of a user with other threads nobody knows how much room there is.
            return;
        }
        let env = Env::new().unwrap();
        let held = Arc::new((Mutex::new(true), Condvar::new()));
        let looks = Arc::new(AtomicU32::new(0));
        let (gate, count) = (held.clone(), looks.clone());
        let hangs = move |_: &Context, _: &Report| {
            let mut is_held = gate.0.lock().unwrap();
            while *is_held {
                is_held = gate.1.wait(is_held).unwrap();
            }
            Ok(Verdict::Ready)
        };
        let counts = move |_: &Context, _: &Report| {
            count.fetch_add(1, Ordering::SeqCst);
            Ok(Verdict::Ready)
        };
        let hold = |is_held: bool| {
            *held.0.lock().unwrap() = is_held;
            held.1.notify_all();
        };
        let tick = Duration::from_millis(100);
        let config = MonitorConfig::new("m").poll_period(tick).deadline(tick);
        let monitor = Monitor::new(&env, config.check("a", hangs).check("b", counts)).unwrap();
        let manager = WatchManager::new(&env);
        monitor.restart().unwrap();
        let (watchers, _) = watch_until_refused(&manager, 100);
        let stuck = || {
            let status = monitor.status();
            status.monitor.is_some_and(|status| status.checkers[0].stuck_for.is_some())
        };
        eventually("the hung look to be given up", stuck);
        assert_eq!((looks.load(Ordering::SeqCst), threads_named("mon/m")), (0, 1), "nobody can go on");
        hold(false);
        eventually("the same thread to go on", || looks.load(Ordering::SeqCst) > 1 && !stuck());
        hold(true);
        eventually("the next to hang", stuck);
        let before = looks.load(Ordering::SeqCst);
        for watcher in &watchers {
            assert!(watcher.stop(PATIENCE).is_clean());
        }
        eventually("a successor to be found room for", || looks.load(Ordering::SeqCst) > before + 1);
        assert!(stuck() && threads_named("mon/m") == 2);
        hold(false);
        eventually("the hung look to be back", || !stuck());
        assert!(monitor.stop(PATIENCE).is_clean());
        assert!(manager.stop(PATIENCE).is_clean());
    });
}

#[test]
fn a_user_without_room_for_threads_is_told_which_limit() {
    in_child("a_user_without_room_for_threads_is_told_which_limit", || {
        let is_root = with_room_for(24);
        let env = match Env::new() {
            Ok(env) => env,
            // A user with more threads than that already.
            Err(error) if !is_root => {
                assert_eq!(error.kind(), ErrorKind::Spawn);
                assert!(error.to_string().contains("RLIMIT_NPROC 24"), "{error}");
                return;
            }
            Err(error) => panic!("{}", error.report()),
        };
        let manager = WatchManager::new(&env);
        let (watchers, error) = watch_until_refused(&manager, 100);
        assert!((1..24).contains(&watchers.len()), "{} watchers", watchers.len());
        assert_eq!(error.kind(), ErrorKind::Spawn);
        let text = error.report().to_string();
        let name = format!("s{}: no thread", watchers.len());
        assert!(text.contains("RLIMIT_NPROC 24") && text.contains(&name), "{text}");
        for n in 0..20 {
            let again = manager.watch(config(100 + n)).unwrap_err();
            assert_eq!(again.kind(), ErrorKind::Spawn);
        }
        // One that has no room for its watchdog either.
        assert_eq!(Env::new().unwrap_err().kind(), ErrorKind::Spawn);
        still_works(&manager, &watchers);
        let manager = WatchManager::new(&env);
        manager.watch(config(0)).unwrap();
        assert!(manager.stop(PATIENCE).is_clean());
    });
}

/// Mappings that fill the process up to its limit but for `left`.
struct Filling {
    start: *mut libc::c_void,
    bytes: usize,
}

impl Filling {
    const PAGE: usize = 4096;

    fn all_but(left: usize) -> Option<Self> {
        let max = std::fs::read_to_string("/proc/sys/vm/max_map_count").ok()?.trim().parse::<usize>().ok()?;
        if max > 2_000_000 {
            // A limit raised so far is not one that can be used up in a test.
            return None;
        }
        let used = std::fs::read_to_string("/proc/self/maps").unwrap().lines().count();
        let pages = max.checked_sub(used + left)?;
        let bytes = pages * Self::PAGE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: an anonymous mapping at an address of the kernel's choice.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), bytes, libc::PROT_NONE, flags, -1, 0) };
        assert_ne!(start, libc::MAP_FAILED);
        // Every other page differs, so that no two of them merge.
        for page in (0..pages).step_by(2) {
            let address = start.wrapping_byte_add(page * Self::PAGE);
            // SAFETY: a page inside the mapping made above.
            assert_eq!(unsafe { libc::mprotect(address, Self::PAGE, libc::PROT_READ) }, 0);
        }
        Some(Self { start, bytes })
    }
}

impl Drop for Filling {
    fn drop(&mut self) {
        // SAFETY: the mapping made above, which nothing refers to.
        unsafe { libc::munmap(self.start, self.bytes) };
    }
}

#[test]
fn a_process_without_room_for_mappings_is_refused_before_it_aborts() {
    in_child("a_process_without_room_for_mappings_is_refused_before_it_aborts", || {
        let env = Env::new().unwrap();
        let manager = WatchManager::new(&env);
        let first = manager.watch(config(1000)).unwrap();
        let Some(filling) = Filling::all_but(700) else { return };
        // Until the count made for the first is too old to go by.
        std::thread::sleep(Duration::from_millis(200));
        let (mut watchers, error) = watch_until_refused(&manager, 200);
        assert_eq!(error.kind(), ErrorKind::Budget);
        assert!(error.to_string().contains("vm.max_map_count"), "{error}");
        for n in 0..20 {
            let again = manager.watch(config(300 + n)).unwrap_err();
            assert_eq!(again.kind(), ErrorKind::Budget);
        }
        let other = Env::new().unwrap_err();
        assert_eq!(other.kind(), ErrorKind::Budget);
        watchers.insert(0, first);
        still_works(&manager, &watchers);
        drop(filling);
        let manager = WatchManager::new(&env);
        manager.watch(config(0)).unwrap();
        assert!(manager.stop(PATIENCE).is_clean());
    });
}

/// Limits the threads of this process's user to those that there are, or to
/// more than enough.
fn no_more_threads(is_on: bool) {
    let threads = std::fs::read_dir("/proc/self/task").unwrap().count() as u64;
    let rlim_cur = if is_on { threads } else { 1_000 };
    let limit = libc::rlimit { rlim_cur, rlim_max: 1_000 };
    // SAFETY: `limit` is valid for reads.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NPROC, &limit) }, 0);
}

/// A user of whom there are no other threads; false where it cannot be had.
fn alone() -> bool {
    // SAFETY: no arguments, no failure; then plain numbers, whose result is seen.
    unsafe { libc::geteuid() == 0 && libc::setuid(2_000_000 + std::process::id()) == 0 }
}

#[test]
fn wrc_01_an_attempt_whose_thread_is_refused_begins_once_there_is_room() {
    use loopkeeper::event::{EventKind, RecoveryStep};
    use loopkeeper::recovery::{
        Checkpoint, Executor, ExecutorConfig, Metadata, Recover, RecoveryMonitor, RecoveryMonitorConfig,
        RecoveryPolicy, Restore, Restored, TrainingRun,
    };
    in_child("wrc_01_an_attempt_whose_thread_is_refused_begins_once_there_is_room", || {
        if !alone() {
            return;
        }
        let env = Env::new().unwrap();
        let count = |run: &str, step: RecoveryStep| {
            let is_it = |what: &EventKind| match what {
                EventKind::Recovery(event) => &*event.run_id == run && event.step == step,
                _ => false,
            };
            env.events_after(0, 4096).events.iter().filter(|event| is_it(&event.what)).count()
        };
        let source = |_: &Context, run: &str| {
            let run = TrainingRun::new(run).corrupted(run.starts_with("bad"));
            Ok(run.last_checkpoint(Checkpoint::new("7")))
        };
        let (release, hangs) = std::sync::mpsc::channel::<()>();
        let hangs = std::sync::Mutex::new(hangs);
        let remedy = move |_: &Context, request: &Restore| {
            if request.run == "hangs" && request.attempt == 1 {
                let _ = hangs.lock().unwrap().recv();
            }
            Ok(Restored::new(format!("new-{}", request.run)))
        };
        let policy = RecoveryPolicy::default().enabled(true).attempt_timeout(Duration::from_millis(50));
        // The only thread hangs, and its successor is refused.
        let executor = Executor::start_in(&env, ExecutorConfig::new("x"), source, remedy).unwrap();
        let ask = |run: &str| {
            let request = Recover::new(run, policy.clone()).last_checkpoint(Checkpoint::new("7"));
            executor.recover(request).unwrap();
        };
        ask("hangs");
        eventually("it is at work", || count("hangs", RecoveryStep::CheckpointSelected) == 1);
        no_more_threads(true);
        ask("other");
        eventually("its deadline", || count("hangs", RecoveryStep::Failed) == 1);
        assert_eq!((count("other", RecoveryStep::Started), executor.runs().len()), (0, 2));
        no_more_threads(false);
        eventually("the other one", || count("other", RecoveryStep::Completed) == 1);
        release.send(()).unwrap();
        assert!(executor.stop(PATIENCE).is_clean());

        // The first thread for attempts is refused; nothing else would wake
        // anybody for an hour.
        let policy = policy.poll_interval(Duration::from_secs(3600));
        let config = RecoveryMonitorConfig::new("m", policy);
        let remedy = |_: &Context, _: &Restore| Ok(Restored::new("well"));
        let monitor = RecoveryMonitor::start_in(&env, config, source, remedy).unwrap();
        monitor.watch_run("good", Metadata::default()).unwrap();
        eventually("a poll", || monitor.runs()[0].last_poll.is_some());
        no_more_threads(true);
        monitor.watch_run("bad", Metadata::default()).unwrap();
        eventually("its poll", || count("bad", RecoveryStep::Detected) == 1);
        assert_eq!(count("bad", RecoveryStep::Started), 0);
        no_more_threads(false);
        eventually("its attempt", || count("bad", RecoveryStep::Completed) == 1);
        assert!(monitor.stop(PATIENCE).is_clean());
    });
}
