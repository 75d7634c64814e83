//! The doorbell that a thread sleeps on: room for one ring, for one thread at a
//! time. A number that the kernel waits for, where it does; else the thread's own
//! parking place; under a model what shuttle has.

#[cfg(all(target_os = "linux", target_pointer_width = "64", not(shuttle), not(loom)))]
mod number;

#[cfg(shuttle)]
pub(crate) use model::Bell;
#[cfg(all(target_os = "linux", target_pointer_width = "64", not(shuttle), not(loom)))]
pub(crate) use number::Bell;
#[cfg(not(any(shuttle, all(target_os = "linux", target_pointer_width = "64", not(loom)))))]
pub(crate) use parking::Bell;

#[cfg(not(any(shuttle, all(target_os = "linux", target_pointer_width = "64", not(loom)))))]
mod parking {
    use std::time::Duration;

    use crate::primitive::{AtomicBool, Mutex, Ordering, thread};
    use crate::sys::time::monotonic;

    #[derive(Debug, Default)]
    pub(crate) struct Bell {
        rung: AtomicBool,
        sleeper: Mutex<Option<thread::Thread>>,
    }

    impl Bell {
        pub(crate) fn ring(&self) {
            self.rung.store(true, Ordering::Release);
            // Whoever registers after this sees the ring: both take the lock.
            if let Some(sleeper) = &*self.sleeper.lock() {
                sleeper.unpark();
            }
        }

        pub(crate) fn wait(&self) {
            self.register();
            while !self.rung.swap(false, Ordering::Acquire) {
                thread::park();
            }
        }

        /// Waits for a ring until `deadline`, in nanoseconds of the monotonic
        /// clock; says whether it rang.
        #[allow(clippy::disallowed_methods, reason = "a ring wakes it: this is what the clock waits on")]
        pub(crate) fn wait_until(&self, deadline: u64) -> bool {
            self.register();
            loop {
                if self.rung.swap(false, Ordering::Acquire) {
                    return true;
                }
                let left = deadline.saturating_sub(monotonic());
                if left == 0 {
                    return false;
                }
                thread::park_timeout(Duration::from_nanos(left));
            }
        }

        /// Lets another thread wait on the bell from now on.
        pub(crate) fn hand_over(&self) {
            self.sleeper.lock().take();
        }

        fn register(&self) {
            let mut sleeper = self.sleeper.lock();
            if sleeper.is_none() {
                *sleeper = Some(thread::current());
            }
        }
    }
}

#[cfg(shuttle)]
mod model {
    use crate::primitive::{Condvar, Mutex};

    #[derive(Debug, Default)]
    pub(crate) struct Bell {
        rung: Mutex<bool>,
        changed: Condvar,
    }

    impl Bell {
        pub(crate) fn ring(&self) {
            *self.rung.lock() = true;
            self.changed.notify_all();
        }

        pub(crate) fn wait(&self) {
            let mut rung = self.rung.lock();
            while !*rung {
                rung = self.changed.wait(rung);
            }
            *rung = false;
        }

        pub(crate) fn wait_until(&self, _: u64) -> bool {
            unreachable!("models run on the manual clock")
        }

        pub(crate) fn hand_over(&self) {}
    }
}
