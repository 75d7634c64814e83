//! Helpers that integration tests share: a folder that goes away, a count of
//! threads, a bounded wait on the real world, a free port.

#![allow(dead_code, reason = "each test file uses some of it")]
#![allow(clippy::disallowed_methods, reason = "the one place where tests poll the real world")]
#![allow(clippy::unwrap_used, reason = "test code: a failed set-up is a failed test")]

pub(crate) mod service;

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long a test waits on the real clock for what must come at all. It is
/// far above what a loaded machine needs, so that it is never a measurement.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// A new empty folder, removed with all that is in it on drop.
#[derive(Debug)]
pub(crate) struct TempDir {
    path: PathBuf,
}

impl TempDir {
    /// Makes the folder; `what` is part of its name, for the one who finds it.
    pub(crate) fn new(what: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("loopkeeper-{what}-{}-{n}", std::process::id()));
        // Left behind by a killed run whose process id has come round again.
        if path.exists() {
            fs::remove_dir_all(&path).unwrap();
        }
        fs::create_dir_all(&path).unwrap();
        Self { path }
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file below the folder, with the folders above it; answers its path.
    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).unwrap();
        }
        fs::write(&path, text).unwrap();
        path
    }

    /// Puts a whole file in place at once, as careful editors do.
    pub(crate) fn put(&self, name: &str, text: &str) {
        let written = self.write(&format!(".{name}"), text);
        fs::rename(written, self.path.join(name)).unwrap();
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // A folder that cannot be removed is no reason to hide the test's own panic.
        drop(fs::remove_dir_all(&self.path));
    }
}

/// How many threads this process has now, as the kernel counts them.
///
/// Tests run on threads too: a test that compares two counts is alone in its
/// file, or counts with [`threads_named`].
pub(crate) fn thread_count() -> usize {
    fs::read_dir("/proc/self/task").unwrap().count()
}

/// How many threads have a name that begins with `prefix`. The kernel keeps
/// fifteen bytes of a name.
pub(crate) fn threads_named(prefix: &str) -> usize {
    fs::read_dir("/proc/self/task")
        .unwrap()
        .filter_map(Result::ok)
        // A thread that ends while the folder is read has no name any more.
        .filter_map(|task| fs::read_to_string(task.path().join("comm")).ok())
        .filter(|name| name.starts_with(prefix))
        .count()
}

/// Waits until `true_now` says so, and panics with `what` after [`PATIENCE`].
///
/// For facts outside the library only: a thread gone from the kernel's list, a
/// child's file. What the library does is waited for with a `ManualClock`.
#[track_caller]
pub(crate) fn eventually(what: &str, true_now: impl FnMut() -> bool) {
    assert!(in_time(true_now), "not within {PATIENCE:?}: {what}");
}

/// Waits until `true_now` says so; false after [`PATIENCE`].
pub(crate) fn in_time(mut true_now: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while !true_now() {
        if start.elapsed() >= PATIENCE {
            return false;
        }
        thread::sleep(Duration::from_millis(2));
    }
    true
}

/// Lets a while pass on the real clock, where what is raced is another
/// process.
pub(crate) fn pause(time: Duration) {
    thread::sleep(time);
}

/// A port of the loopback address that nobody listens on just now. Prefer
/// listening on port 0 and asking; this is for what must be told a number.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
