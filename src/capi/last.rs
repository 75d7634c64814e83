//! The last of what was read, for those who ask for more of it: one atomic for
//! each that is read, where a lock takes two.
//!
//! Whoever takes the pointer out of its place has what it points to;
//! `tests/loom.rs` tries every order of this.

use std::ptr::null_mut;

#[cfg(loom)]
use loom::sync::{
    Arc,
    atomic::{AtomicPtr, Ordering},
};
#[cfg(not(loom))]
use std::sync::{
    Arc,
    atomic::{AtomicPtr, Ordering},
};

#[derive(Debug)]
pub(super) struct Last<T>(AtomicPtr<T>);

impl<T> Last<T> {
    pub(super) fn new() -> Self {
        Self(AtomicPtr::new(null_mut()))
    }

    /// Keeps this in place of the one before.
    #[inline]
    pub(super) fn set(&self, one: Arc<T>) {
        drop(self.exchange(Arc::into_raw(one).cast_mut()));
    }

    pub(super) fn get(&self) -> Option<Arc<T>> {
        let one = self.exchange(null_mut())?;
        let kept = Arc::into_raw(one.clone()).cast_mut();
        // Whoever read one meanwhile has put in a later one.
        if self.0.compare_exchange(null_mut(), kept, Ordering::Release, Ordering::Relaxed).is_err() {
            drop(owned(kept));
        }
        Some(one)
    }

    #[inline]
    fn exchange(&self, one: *mut T) -> Option<Arc<T>> {
        owned(self.0.swap(one, Ordering::AcqRel))
    }
}

#[inline]
fn owned<T>(one: *mut T) -> Option<Arc<T>> {
    // SAFETY: not NULL, and then it came from `into_raw` and is in no place
    // where anybody would find it.
    (!one.is_null()).then(|| unsafe { Arc::from_raw(one) })
}

impl<T> Drop for Last<T> {
    fn drop(&mut self) {
        drop(self.exchange(null_mut()));
    }
}
