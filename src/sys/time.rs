//! The system's monotonic clock as one number, which is cheaper to take apart
//! than std's: a loop reads it twice a call.

/// The clock that std's instants are of.
#[cfg(target_vendor = "apple")]
const CLOCK: libc::clockid_t = libc::CLOCK_UPTIME_RAW;
#[cfg(not(target_vendor = "apple"))]
const CLOCK: libc::clockid_t = libc::CLOCK_MONOTONIC;

/// Nanoseconds since some moment before this process.
#[inline]
pub(crate) fn monotonic() -> u64 {
    let mut time = std::mem::MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: the kernel writes one time, to a place that is one. The clock is
    // one that every such system has, so the call cannot fail and the place is
    // written.
    let time = unsafe {
        libc::clock_gettime(CLOCK, time.as_mut_ptr());
        time.assume_init()
    };
    #[allow(clippy::cast_sign_loss, reason = "the clock begins at zero")]
    let (seconds, nanos) = (time.tv_sec as u64, time.tv_nsec as u64);
    seconds.wrapping_mul(1_000_000_000).wrapping_add(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::real_deadline;
    use std::time::Duration;

    #[test]
    fn it_is_the_clock_that_instants_are_of() {
        let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap();
        let (outer, begin) = (monotonic(), real_deadline(Duration::ZERO));
        let inner = monotonic();
        std::thread::yield_now();
        let inner = monotonic() - inner;
        let between = nanos(real_deadline(Duration::ZERO) - begin);
        let outer = monotonic() - outer;
        assert!(inner <= between && between <= outer, "{inner} {between} {outer}");
    }
}
