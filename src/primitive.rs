//! The seam between the crate and its locks, atomics and threads.
//!
//! Real builds get parking_lot and std; models get shuttle's
//! versions of the same, so that whole loops run under a scheduler that
//! chooses the interleaving. Nothing else in the crate names a lock type.

#[cfg(not(shuttle))]
mod real {
    use std::time::Instant;

    pub(crate) use parking_lot::{Mutex, MutexGuard};
    #[cfg_attr(loom, allow(unused_imports, reason = "the slot takes loom's fence"))]
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};
    pub(crate) use std::thread;

    /// A condition variable whose waits consume and return the guard.
    #[derive(Debug, Default)]
    pub(crate) struct Condvar(parking_lot::Condvar);

    impl Condvar {
        #[cfg(feature = "capi")]
        pub(crate) const fn new() -> Self {
            Self(parking_lot::Condvar::new())
        }

        pub(crate) fn wait<'a, T>(&self, mut guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
            self.0.wait(&mut guard);
            guard
        }

        /// Waits until notified or until `deadline`; says whether it passed.
        pub(crate) fn wait_until<'a, T: ?Sized>(
            &self,
            mut guard: MutexGuard<'a, T>,
            deadline: Instant,
        ) -> (MutexGuard<'a, T>, bool) {
            let timed_out = self.0.wait_until(&mut guard, deadline).timed_out();
            (guard, timed_out)
        }

        pub(crate) fn notify_all(&self) {
            self.0.notify_all();
        }
    }
}

#[cfg(shuttle)]
mod model {
    use std::time::Instant;

    pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};
    pub(crate) use shuttle::thread;

    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T: ?Sized>(shuttle::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(shuttle::sync::Mutex::new(value))
        }
    }

    impl<T: ?Sized> Mutex<T> {
        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            MutexGuard { guard: self.0.lock().expect("no model panics under a lock"), mutex: self }
        }
    }

    pub(crate) struct MutexGuard<'a, T: ?Sized> {
        guard: shuttle::sync::MutexGuard<'a, T>,
        mutex: &'a Mutex<T>,
    }

    impl<T: ?Sized> std::ops::Deref for MutexGuard<'_, T> {
        type Target = T;

        fn deref(&self) -> &T {
            &self.guard
        }
    }

    impl<T: ?Sized> std::ops::DerefMut for MutexGuard<'_, T> {
        fn deref_mut(&mut self) -> &mut T {
            &mut self.guard
        }
    }

    impl<T: ?Sized + std::fmt::Debug> std::fmt::Debug for MutexGuard<'_, T> {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            (**self).fmt(f)
        }
    }

    /// shuttle's waits with a guard of a type of known size only, and there
    /// are others: so it waits with the number of turns so far, which is taken
    /// before the caller's lock is let go.
    #[derive(Debug, Default)]
    pub(crate) struct Condvar {
        turns: Mutex<u64>,
        turned: shuttle::sync::Condvar,
    }

    impl Condvar {
        pub(crate) fn wait<'a, T: ?Sized>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
            let mutex = guard.mutex;
            let mut turns = self.turns.lock().guard;
            let before = *turns;
            drop(guard);
            while *turns == before {
                turns = self.turned.wait(turns).expect("no model panics under a lock");
            }
            drop(turns);
            mutex.lock()
        }

        /// Real time does not pass in a model: waits until notified.
        pub(crate) fn wait_until<'a, T: ?Sized>(
            &self,
            guard: MutexGuard<'a, T>,
            _: Instant,
        ) -> (MutexGuard<'a, T>, bool) {
            (self.wait(guard), false)
        }

        pub(crate) fn notify_all(&self) {
            *self.turns.lock() += 1;
            self.turned.notify_all();
        }
    }
}

#[cfg(shuttle)]
pub(crate) use model::*;
#[cfg(not(shuttle))]
pub(crate) use real::*;
