//! Where the objects are that handles stand for: slots that never move, each
//! with a generation, so that a number which was freed is found out.

use std::any::{Any, TypeId};
use std::cell::UnsafeCell;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use crate::capi::usage::{Begin, End, Usage};
use crate::primitive::{Condvar, Mutex};

/// An object, and where it is as what.
pub(super) struct Held {
    pub(super) object: Arc<dyn Any + Send + Sync>,
    pub(super) kind: TypeId,
    pub(super) at: *const (),
}

impl Held {
    pub(super) fn new<H: Any + Send + Sync>(object: Arc<H>) -> Self {
        Self { kind: TypeId::of::<H>(), at: Arc::as_ptr(&object).cast(), object }
    }
}

pub(super) enum Found {
    Held(Used),
    Freed,
    Never,
}

/// A handle's bits: a one, so that it is never the address of anything; the
/// slot; the generation.
const SLOT_BITS: u32 = if usize::BITS >= 64 { 23 } else { 15 };
pub(super) const MAX_SLOTS: usize = 1 << SLOT_BITS;
const MAX_GENERATION: usize = usize::MAX >> (SLOT_BITS + 1);

/// The generation that a handle is of.
pub(super) fn generation_of(number: usize) -> u64 {
    (number >> (SLOT_BITS + 1)) as u64
}

/// All handles of the process. Environments do not notice each other here:
/// it only says which numbers are taken.
pub(super) static TABLE: Table = Table::new();

/// Where the objects are. Slots never move and never go, so a call finds its
/// object without a lock.
pub(super) struct Table {
    /// Each row has twice as many slots as the one before.
    rows: [OnceLock<Box<[Slot]>>; ROWS],
    free: Mutex<Free>,
}

const ROWS: usize = 18;
const FIRST_ROW: usize = 64;

struct Free {
    slots: Vec<usize>,
    /// The first slot that was never used.
    next: usize,
}

/// A slot of the table.
pub(super) struct Slot {
    pub(super) usage: Usage,
    idx: usize,
    held: UnsafeCell<Option<Held>>,
}

// SAFETY: `held` is written by whoever gives the slot out, before its usage
// says so, and by the last user after it was freed; in between it is only
// read, and what it holds is Send and Sync.
unsafe impl Sync for Slot {}
// SAFETY: as above.
unsafe impl Send for Slot {}

/// Rung by those who leave an object that was freed.
static LEFT: Condvar = Condvar::new();
static LEAVING: Mutex<()> = Mutex::new(());

/// An object that is used by a call.
pub(super) struct Used {
    slot: &'static Slot,
}

impl Table {
    const fn new() -> Self {
        Self {
            rows: [const { OnceLock::new() }; ROWS],
            free: Mutex::new(Free { slots: Vec::new(), next: 0 }),
        }
    }

    /// The row of a slot, and its place in it.
    fn place(idx: usize) -> (usize, usize) {
        let n = idx + FIRST_ROW;
        let row = (n.ilog2() - FIRST_ROW.ilog2()) as usize;
        (row, n - (FIRST_ROW << row))
    }

    fn slot(&'static self, idx: usize) -> Option<&'static Slot> {
        let (row, at) = Self::place(idx);
        self.rows.get(row)?.get()?.get(at)
    }

    pub(super) fn insert(&'static self, held: Held) -> Option<usize> {
        let idx = {
            let mut free = self.free.lock();
            match free.slots.pop() {
                Some(idx) => idx,
                None if free.next < MAX_SLOTS => {
                    free.next += 1;
                    free.next - 1
                }
                None => return None,
            }
        };
        let (row, _) = Self::place(idx);
        self.rows[row].get_or_init(|| {
            let first = (FIRST_ROW << row) - FIRST_ROW;
            (first..first + (FIRST_ROW << row)).map(Slot::new).collect()
        });
        let slot = self.slot(idx)?;
        // SAFETY: the slot was never given out, or its last user has put it
        // back: nobody else has it now.
        unsafe { *slot.held.get() = Some(held) };
        let generation = slot.usage.give_out();
        // At most as many bits as there are for it: see `put_back`.
        Some(((generation as usize) << (SLOT_BITS + 1)) | (idx << 1) | 1)
    }

    /// The slot that a handle names, of whichever generation.
    pub(super) fn slot_of(&'static self, number: usize) -> Option<&'static Slot> {
        if number & 1 == 0 { None } else { self.slot((number >> 1) & (MAX_SLOTS - 1)) }
    }

    pub(super) fn get(&'static self, number: usize) -> Found {
        let Some(slot) = self.slot_of(number) else { return Found::Never };
        match slot.usage.begin(generation_of(number)) {
            Begin::Begun => Found::Held(Used { slot }),
            Begin::Freed => Found::Freed,
            Begin::Never => Found::Never,
        }
    }

    fn put_back(&self, slot: &Slot) {
        // A slot whose generations are used up rests.
        if slot.usage.generation() < MAX_GENERATION as u64 {
            self.free.lock().slots.push(slot.idx);
        }
    }
}

impl Slot {
    fn new(idx: usize) -> Self {
        Self { usage: Usage::new(), idx, held: UnsafeCell::new(None) }
    }

    /// # Safety
    ///
    /// A use of the slot has begun and not ended.
    pub(super) unsafe fn object(&self) -> &Held {
        // SAFETY: while it is used it is only read; it was there when its use
        // began.
        let held = unsafe { &*self.held.get() };
        held.as_ref().unwrap_or_else(|| unreachable!("an object that is used is there"))
    }
}

impl Used {
    /// Frees the object; whether it was not freed before.
    pub(super) fn free(&self, number: usize) -> bool {
        debug_assert_eq!(self.slot.usage.generation(), generation_of(number));
        self.slot.usage.free()
    }

    /// Whether others use the object, too.
    pub(super) fn is_shared(&self) -> bool {
        self.slot.usage.is_shared()
    }

    /// Waits until nobody else uses the object, which was freed.
    pub(super) fn wait_alone(&self, deadline: Instant) {
        let mut guard = LEAVING.lock();
        while self.is_shared() {
            let (again, timed_out) = LEFT.wait_until(guard, deadline);
            guard = again;
            if timed_out {
                break;
            }
        }
    }

    pub(super) fn object(&self) -> &Held {
        // SAFETY: it is used.
        unsafe { self.slot.object() }
    }

    /// Lets go of an object that was freed.
    #[cold]
    #[inline(never)]
    fn leave(&self, end: End) {
        if end == End::Others {
            // Who waits has looked before this, and sleeps, or looks after
            // it.
            drop(LEAVING.lock());
            LEFT.notify_all();
            return;
        }
        // SAFETY: freed, so nobody comes to use it, and this was the last who
        // did.
        let held = unsafe { (*self.slot.held.get()).take() };
        TABLE.put_back(self.slot);
        // Last: it may stop threads and call the program.
        drop(held);
    }
}

impl Drop for Used {
    #[inline]
    fn drop(&mut self) {
        match self.slot.usage.end() {
            End::Open => {}
            end => self.leave(end),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::real_deadline;

    fn table() -> &'static Table {
        Box::leak(Box::new(Table::new()))
    }

    fn held<H: Any + Send + Sync>(object: H) -> Held {
        Held::new(Arc::new(object))
    }

    fn object<H: Any + Send + Sync>(used: &Used) -> Arc<H> {
        used.object().object.clone().downcast().unwrap()
    }

    /// Frees in a table of the test's own, which puts no slot back by itself.
    fn free(table: &'static Table, number: usize) -> bool {
        let Found::Held(used) = table.get(number) else { return false };
        let slot = used.slot;
        let is_freed = used.free(number);
        std::mem::forget(used);
        if is_freed {
            slot.usage.end();
            table.put_back(slot);
        }
        is_freed
    }

    fn is_held(table: &'static Table, number: usize) -> bool {
        matches!(table.get(number), Found::Held(_))
    }

    #[test]
    fn a_freed_number_is_known_as_such_for_ever() {
        let table = table();
        let first = table.insert(held(1_u8)).unwrap();
        assert!(first & 1 == 1 && is_held(table, first));
        assert!(free(table, first) && !free(table, first));
        let second = table.insert(held(2_u8)).unwrap();
        assert_ne!(first, second);
        assert!(matches!(table.get(first), Found::Freed) && is_held(table, second));
        assert!(!free(table, first) && is_held(table, second));
        for never in [0, 1, second + 1, second - 1, second + 2, usize::MAX, second | (1 << (usize::BITS - 1))]
        {
            assert!(matches!(table.get(never), Found::Never), "{never:x}");
        }
    }

    #[test]
    fn a_slot_that_is_used_up_rests() {
        let table = table();
        let first = table.insert(held(1_u8)).unwrap();
        table.slot(0).unwrap().usage.skip_to(MAX_GENERATION as u64);
        let last = (MAX_GENERATION << (SLOT_BITS + 1)) | 1;
        assert!(matches!(table.get(first), Found::Freed));
        assert!(free(table, last));
        let next = table.insert(held(2_u8)).unwrap();
        assert_eq!((next >> 1) & (MAX_SLOTS - 1), 1);
    }

    #[test]
    fn rows_follow_on() {
        let mut expected = (0, 0);
        for idx in 0..5000 {
            assert_eq!(Table::place(idx), expected);
            expected.1 += 1;
            if expected.1 == FIRST_ROW << expected.0 {
                expected = (expected.0 + 1, 0);
            }
        }
        assert!(Table::place(MAX_SLOTS - 1).0 < ROWS);
        let table = table();
        let numbers: Vec<usize> = (0..300_usize).map(|n| table.insert(held(n)).unwrap()).collect();
        for (n, number) in numbers.iter().enumerate() {
            let Found::Held(used) = table.get(*number) else { panic!("{n} is not there") };
            assert_eq!(*object::<usize>(&used), n);
        }
    }

    #[test]
    fn an_object_goes_once_with_its_last_user() {
        use crate::thread::{Budget, STACK_SIZE, Task};
        use std::sync::atomic::{AtomicUsize, Ordering};

        static ALIVE: AtomicUsize = AtomicUsize::new(0);
        struct Counted(usize);
        impl Drop for Counted {
            fn drop(&mut self) {
                self.0 = 0;
                ALIVE.fetch_sub(1, Ordering::SeqCst);
            }
        }
        let budget = Budget::default();
        for _ in 0..200 {
            ALIVE.fetch_add(1, Ordering::SeqCst);
            let number = TABLE.insert(held(Counted(7))).unwrap();
            let tasks: Vec<Task> = (0..3)
                .map(|n| {
                    let body = move || {
                        // One of them frees it, the others use it until then.
                        for round in 0_usize.. {
                            let Found::Held(used) = TABLE.get(number) else { break };
                            // SAFETY: it is used, and what was put in.
                            let counted = unsafe { &*used.object().at.cast::<Counted>() };
                            assert_eq!(counted.0, 7);
                            if n == 0 && round == 50 {
                                assert!(used.free(number));
                            }
                        }
                    };
                    Task::spawn(&budget, "t/use".to_owned(), STACK_SIZE, body).unwrap()
                })
                .collect();
            for task in tasks {
                assert!(task.join_until(real_deadline(Duration::from_secs(30))).is_some());
            }
            assert!(matches!(TABLE.get(number), Found::Freed));
            assert_eq!(ALIVE.load(Ordering::SeqCst), 0);
        }
    }
}
