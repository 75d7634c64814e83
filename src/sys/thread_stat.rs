//! What the kernel says of one of this process's threads.

use std::time::Duration;

/// A thread at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ThreadLook {
    /// How much processor time it has used so far, in steps of some
    /// milliseconds.
    pub(crate) cpu: Duration,
    /// The kernel's letter: `R` runs or could, `S` sleeps, `D` sleeps and
    /// cannot be woken.
    pub(crate) state: char,
    /// The kernel's function that it sleeps in, where that may be known.
    pub(crate) waits_in: Option<String>,
}

/// Looks at the thread with the kernel's number `tid`; `None` when there is no
/// such, or the system does not say.
#[cfg(target_os = "linux")]
pub(crate) fn look(tid: u32) -> Option<ThreadLook> {
    if tid == 0 {
        return None;
    }
    let file = |name: &str| std::fs::read_to_string(format!("/proc/self/task/{tid}/{name}")).ok();
    let (state, ticks) = parse(&file("stat")?)?;
    let waits_in = file("wchan").filter(|name| !name.is_empty() && name != "0" && state != 'R');
    Some(ThreadLook { cpu: time(ticks), state, waits_in })
}

/// The calling thread at this moment, read from no file: for a look at it
/// later, which then tells what it did meanwhile.
#[cfg(target_os = "linux")]
pub(crate) fn own() -> Option<ThreadLook> {
    // SAFETY: all zero is a time.
    let mut time: libc::timespec = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one time, to a place that is one.
    let is_told = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) } == 0;
    let cpu = Duration::new(u64::try_from(time.tv_sec).ok()?, u32::try_from(time.tv_nsec).ok()?);
    is_told.then_some(ThreadLook { cpu, state: 'R', waits_in: None })
}

/// Looks at the calling thread: not on this system.
#[cfg(not(target_os = "linux"))]
pub(crate) fn own() -> Option<ThreadLook> {
    None
}

/// Looks at a thread: not on this system.
#[cfg(not(target_os = "linux"))]
pub(crate) fn look(_tid: u32) -> Option<ThreadLook> {
    None
}

/// The state, and the processor time in user and kernel mode together. The
/// thread's name stands in parentheses and may hold some itself.
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "only Linux has the file"))]
fn parse(stat: &str) -> Option<(char, u64)> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?.chars().next()?;
    let mut times = fields.skip(10).map(|field| field.parse::<u64>().ok());
    Some((state, times.next()??.saturating_add(times.next()??)))
}

#[cfg(target_os = "linux")]
fn time(ticks: u64) -> Duration {
    // SAFETY: sysconf takes no pointers.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    let per_second = u64::try_from(per_second).unwrap_or(0).max(1);
    Duration::from_millis(ticks.saturating_mul(1000) / per_second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_counted_from_behind_the_name() {
        let stat = "17 (w/a) R (b) S 1 2 3 0 -1 4194560 90 0 0 0 250 17 0 0 20 0 3 0 77 1 2\n";
        assert_eq!(parse(stat), Some(('S', 267)));
        for wrong in ["", "17 (x", "17 (x) ", "17 (x) S 1 2", "17 (x) S 1 2 3 0 -1 4 9 0 0 0 a 17 0"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_thread_is_there_and_no_thread_is_not() {
        let own = look(crate::sys::limits::thread_id()).unwrap();
        assert_eq!((own.state, own.waits_in), ('R', None));
        assert!(look(0).is_none() && look(u32::MAX).is_none());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_thread_counts_its_own_time() {
        let before = super::own().unwrap();
        let busy = (0..3_000_000u64).fold(1u64, |sum, i| std::hint::black_box(sum.wrapping_mul(i | 1)));
        let after = super::own().unwrap();
        assert!(after.cpu > before.cpu, "{busy}");
    }
}
