//! What the machine allows this process: mappings, threads, processes.

use std::fs;

/// The kernel's number for the calling thread, as `top` and `ps` show it.
#[cfg(target_os = "linux")]
pub(crate) fn thread_id() -> u32 {
    // SAFETY: gettid has no arguments and cannot fail.
    let tid = unsafe { libc::gettid() };
    tid.unsigned_abs()
}

/// The kernel's number for the calling thread; 0 where there is none.
#[cfg(not(target_os = "linux"))]
pub(crate) fn thread_id() -> u32 {
    0
}

/// Whether a call failed because this process, or the machine, has no file
/// descriptor left.
pub(crate) fn is_out_of_descriptors(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

/// How many memory mappings a process may have, where there is such a limit.
pub(crate) fn max_mappings() -> Option<u64> {
    number("/proc/sys/vm/max_map_count")
}

/// How many memory mappings this process has now.
pub(crate) fn mappings() -> Option<u64> {
    let maps = fs::read("/proc/self/maps").ok()?;
    Some(maps.iter().filter(|&&byte| byte == b'\n').count() as u64)
}

/// The limits on threads that a refused spawn may have met, as text for its
/// error: the control group's, the user's, the machine's.
pub(crate) fn thread_limits() -> String {
    let mut limits = Vec::new();
    if let Some((current, max)) = group_pids() {
        limits.push(format!("cgroup pids.max {max} ({current} in use)"));
    }
    if let Some(max) = user_processes() {
        limits.push(format!("RLIMIT_NPROC {max}"));
    }
    if let Some(max) = number("/proc/sys/kernel/threads-max") {
        limits.push(format!("threads-max {max}"));
    }
    if let Some(max) = number("/proc/sys/kernel/pid_max") {
        limits.push(format!("pid_max {max}"));
    }
    limits.join(", ")
}

/// Threads in use and allowed in this process's control group (version 2).
pub(crate) fn group_pids() -> Option<(u64, u64)> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let folder = format!("/sys/fs/cgroup{path}");
    let max = number(&format!("{folder}/pids.max"))?;
    let current = number(&format!("{folder}/pids.current"))?;
    Some((current, max))
}

/// How many thread numbers the machine has, where it says.
pub(crate) fn max_pids() -> Option<u64> {
    number("/proc/sys/kernel/pid_max")
}

/// How many threads this process has now.
pub(crate) fn threads() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix("Threads:"))?.trim().parse().ok()
}

/// The soft limit on the user's processes and threads, unless it is endless.
fn user_processes() -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is valid for writes.
    let failed = unsafe { libc::getrlimit(libc::RLIMIT_NPROC, &mut limit) } != 0;
    (!failed && limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur)
}

fn number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}
