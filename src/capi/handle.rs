//! Handles: what C holds of an object of ours.
//!
//! To C a handle is an opaque pointer. It is none: it is the number of a slot
//! in a table and of the slot's generation, so one that was freed, or was
//! never given, is found out without touching what it stood for. Whoever is in
//! a call keeps the object; the last to use one that was freed drops it.

use std::any::{Any, TypeId};
use std::cell::UnsafeCell;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::boundary::{Answer, Failure};
use super::call::is_inside;
use super::status::{LK_ERR_BUDGET, LK_ERR_HANDLE, LK_ERR_STALE, LK_ERR_STATE};
use super::usage::{Begin, End, Usage};
use crate::clock::real_deadline;
use crate::primitive::{Condvar, Mutex};
use crate::sys::fork;

/// A type of handle: an opaque type in C, and what it stands for.
pub(super) trait Object: 'static {
    /// Its name in C.
    const NAME: &'static str;
    /// What a handle of it stands for.
    type Held: Send + Sync + 'static;

    /// Ends it for calls that may wait for ever, once it was freed.
    fn end(_: &Self::Held) {}
}

/// Says what a type of handle stands for. The type itself is written out in
/// its file: what makes the header does not look into macros.
macro_rules! object {
    ($name:ident => $held:ty $(, $end:expr)?) => {
        impl $crate::capi::handle::Object for $name {
            const NAME: &'static str = stringify!($name);
            type Held = $held;
            $(fn end(held: &Self::Held) {
                let end: fn(&Self::Held) = $end;
                end(held);
            })?
        }
    };
}
pub(super) use object;

/// A handle that a call uses.
#[derive(Debug)]
#[repr(transparent)]
pub struct Ref<T>(*const T);

/// A handle that a call frees.
#[derive(Debug)]
#[repr(transparent)]
pub struct Own<T>(*mut T);

/// Where a new handle is written to.
#[derive(Debug)]
#[repr(transparent)]
pub struct New<T>(*mut *mut T);

/// A [`New`] that can be written to.
#[must_use]
pub(super) struct NewPlace<T> {
    at: *mut *mut T,
}

impl<T> Clone for Ref<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Ref<T> {}

impl<T: Object> Ref<T> {
    pub(super) const NONE: Self = Self(std::ptr::null());

    pub(super) fn get(&self, what: &str) -> Answer<Use<T::Held>> {
        find::<T>(self.0.addr(), what)
    }

    /// The object, alone if nobody else uses it now; `None`: somebody does, or
    /// it is no such handle. For what is over soon and calls nobody.
    #[inline]
    pub(super) fn alone(&self) -> Option<Alone<T::Held>> {
        let number = self.0.addr();
        let slot = TABLE.slot_of(number).filter(|slot| slot.usage.begin_alone(generation_of(number)))?;
        let alone = Alone::<T::Held> { slot, generation: generation_of(number), kind: PhantomData };
        (alone.held().kind == TypeId::of::<T::Held>()).then_some(alone)
    }

    /// The object; `None` for NULL.
    pub(super) fn optional(&self, what: &str) -> Answer<Option<Use<T::Held>>> {
        if self.0.is_null() {
            return Ok(None);
        }
        find::<T>(self.0.addr(), what).map(Some)
    }
}

impl<T: Object> Own<T> {
    /// Takes the object out of the table; the last to use it drops it. NULL is
    /// nothing to free.
    ///
    /// For objects whose drop waits for threads: not from inside a callback,
    /// which may be what is waited for.
    pub(super) fn free(&self, what: &str) -> Answer {
        free(self.0.addr(), Kind::of::<T>(), what, true)
    }

    /// The same for objects whose drop waits for nothing, from anywhere.
    pub(super) fn release(&self, what: &str) -> Answer {
        free(self.0.addr(), Kind::of::<T>(), what, false)
    }
}

/// A kind of handle: what a call needs to know of it, so that the code for it
/// is there once and not for each.
struct Kind {
    /// A function, because only that is known when a program is compiled.
    id: fn() -> TypeId,
    name: &'static str,
    /// [`Object::end`] of an object of this kind that is in use.
    end: unsafe fn(*const ()),
}

impl Kind {
    fn of<T: Object>() -> &'static Self {
        const { &Self { id: TypeId::of::<T::Held>, name: T::NAME, end: Self::end::<T> } }
    }

    /// # Safety
    ///
    /// There is an object of the kind.
    unsafe fn end<T: Object>(at: *const ()) {
        // SAFETY: as the caller says.
        T::end(unsafe { &*at.cast::<T::Held>() });
    }
}

fn free(number: usize, kind: &Kind, what: &str, waits: bool) -> Answer {
    if number == 0 {
        return Ok(());
    }
    if waits && is_inside() {
        let text = format!("{what}: cannot be freed from inside a callback");
        return Err(Failure::new(LK_ERR_STATE, text));
    }
    let used = look_up(number, kind, what)?;
    if !used.free(number) {
        return Err(freed(what, kind.name));
    }
    if !used.is_shared() {
        return Ok(());
    }
    // Unless a host has it as a component.
    let object = used.object();
    if Arc::strong_count(&object.object) == 1 {
        // SAFETY: it is of this kind, or it would not have been found, and used.
        unsafe { (kind.end)(object.at) };
    }
    // So that it is dropped here, and its threads have ended when this
    // returns; a call that goes on for longer drops it at its end.
    if waits {
        used.wait_alone(real_deadline(PATIENCE));
    }
    Ok(())
}

impl<T: Object> New<T> {
    pub(super) fn check(&self, what: &str) -> Answer<NewPlace<T>> {
        if self.0.is_null() {
            return Err(Failure::null(what));
        }
        Ok(NewPlace { at: self.0 })
    }
}

impl<T: Object> NewPlace<T> {
    /// Makes a handle of an object.
    pub(super) fn set(self, held: T::Held) -> Answer {
        let number = number_of(Held::new(Arc::new(held)))?;
        let handle = std::ptr::without_provenance_mut::<T>(number);
        // SAFETY: not NULL, and then the caller's to be written to, at
        // whichever address.
        unsafe { self.at.write_unaligned(handle) };
        Ok(())
    }
}

/// Gives C a handle for one call of its, and takes it back.
pub(super) fn lend<T: Object, R>(held: T::Held, call: impl FnOnce(Ref<T>) -> R) -> Answer<R> {
    let number = number_of(Held::new(Arc::new(held)))?;
    let result = call(Ref(std::ptr::without_provenance(number)));
    // Unless C has, which it was told not to.
    let _ = free(number, Kind::of::<T>(), "", false);
    Ok(result)
}

fn number_of(held: Held) -> Answer<usize> {
    fork::watch();
    TABLE.insert(held).ok_or_else(|| {
        Failure::new(LK_ERR_BUDGET, format!("no room for another handle, {MAX_SLOTS} are open"))
    })
}

fn find<T: Object>(number: usize, what: &str) -> Answer<Use<T::Held>> {
    let slot = look_up(number, Kind::of::<T>(), what)?;
    Ok(Use { slot, kind: PhantomData })
}

/// Once for all kinds of handles.
#[inline(never)]
fn look_up(number: usize, kind: &Kind, what: &str) -> Answer<Used> {
    if number == 0 {
        return Err(Failure::null(what));
    }
    match TABLE.get(number) {
        Found::Held(used) if used.object().kind == (kind.id)() => Ok(used),
        Found::Held(_) => Err(of_another_kind(what, kind.name)),
        Found::Freed => Err(freed(what, kind.name)),
        Found::Never => Err(never(what, kind.name)),
    }
}

#[cold]
#[inline(never)]
fn freed(what: &str, name: &str) -> Failure {
    Failure::new(LK_ERR_STALE, format!("{what}: this {name} was freed"))
}

#[cold]
#[inline(never)]
fn of_another_kind(what: &str, name: &str) -> Failure {
    Failure::new(LK_ERR_HANDLE, format!("{what}: is a handle of another kind than {name}"))
}

#[cold]
#[inline(never)]
fn never(what: &str, name: &str) -> Failure {
    Failure::new(LK_ERR_HANDLE, format!("{what}: is no {name} that this library has given"))
}

/// An object, and where it is as what.
struct Held {
    object: Arc<dyn Any + Send + Sync>,
    kind: TypeId,
    at: *const (),
}

impl Held {
    fn new<H: Any + Send + Sync>(object: Arc<H>) -> Self {
        Self { kind: TypeId::of::<H>(), at: Arc::as_ptr(&object).cast(), object }
    }
}

enum Found {
    Held(Used),
    Freed,
    Never,
}

/// A handle's bits: a one, so that it is never the address of anything; the
/// slot; the generation.
const SLOT_BITS: u32 = if usize::BITS >= 64 { 23 } else { 15 };
const MAX_SLOTS: usize = 1 << SLOT_BITS;
const MAX_GENERATION: usize = usize::MAX >> (SLOT_BITS + 1);

/// The generation that a handle is of.
fn generation_of(number: usize) -> u64 {
    (number >> (SLOT_BITS + 1)) as u64
}

/// All handles of the process. Environments do not notice each other here:
/// it only says which numbers are taken.
static TABLE: Table = Table::new();

/// Where the objects are. Slots never move and never go, so a call finds its
/// object without a lock.
struct Table {
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
struct Slot {
    usage: Usage,
    idx: usize,
    held: UnsafeCell<Option<Held>>,
}

// SAFETY: `held` is written by whoever gives the slot out, before its usage
// says so, and by the last user after it was freed; in between it is only
// read, and what it holds is Send and Sync.
unsafe impl Sync for Slot {}
// SAFETY: as above.
unsafe impl Send for Slot {}

/// How long a free waits for calls that others are in.
const PATIENCE: Duration = Duration::from_secs(5);

/// Rung by those who leave an object that was freed.
static LEFT: Condvar = Condvar::new();
static LEAVING: Mutex<()> = Mutex::new(());

/// An object that is used by a call.
struct Used {
    slot: &'static Slot,
}

/// An object of a known kind that is used by a call.
pub(super) struct Use<H> {
    slot: Used,
    kind: PhantomData<fn() -> H>,
}

/// An object of a known kind that nobody else uses meanwhile.
pub(super) struct Alone<H> {
    slot: &'static Slot,
    generation: u64,
    kind: PhantomData<fn() -> H>,
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

    fn insert(&'static self, held: Held) -> Option<usize> {
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
    fn slot_of(&'static self, number: usize) -> Option<&'static Slot> {
        if number & 1 == 0 { None } else { self.slot((number >> 1) & (MAX_SLOTS - 1)) }
    }

    fn get(&'static self, number: usize) -> Found {
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
    unsafe fn object(&self) -> &Held {
        // SAFETY: while it is used it is only read; it was there when its use
        // began.
        let held = unsafe { &*self.held.get() };
        held.as_ref().unwrap_or_else(|| unreachable!("an object that is used is there"))
    }
}

impl Used {
    /// Frees the object; whether it was not freed before.
    fn free(&self, number: usize) -> bool {
        debug_assert_eq!(self.slot.usage.generation(), generation_of(number));
        self.slot.usage.free()
    }

    /// Whether others use the object, too.
    fn is_shared(&self) -> bool {
        self.slot.usage.is_shared()
    }

    /// Waits until nobody else uses the object, which was freed.
    fn wait_alone(&self, deadline: Instant) {
        let mut guard = LEAVING.lock();
        while self.is_shared() {
            let (again, timed_out) = LEFT.wait_until(guard, deadline);
            guard = again;
            if timed_out {
                break;
            }
        }
    }

    fn object(&self) -> &Held {
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

impl<H> Use<H> {
    /// The object for those who keep it for longer than the call.
    pub(super) fn shared(&self) -> Arc<H>
    where
        H: Any + Send + Sync,
    {
        let object = self.slot.object().object.clone();
        object.downcast::<H>().unwrap_or_else(|_| unreachable!("its kind was looked at"))
    }
}

impl<H> Deref for Use<H> {
    type Target = H;

    fn deref(&self) -> &H {
        // SAFETY: the object is in the slot while it is used, and of this kind:
        // that was looked at before there was a `Use` of it.
        unsafe { &*self.slot.object().at.cast::<H>() }
    }
}

impl<H> Alone<H> {
    fn held(&self) -> &Held {
        // SAFETY: it is used.
        unsafe { self.slot.object() }
    }
}

impl<H> Deref for Alone<H> {
    type Target = H;

    fn deref(&self) -> &H {
        // SAFETY: as for `Use`.
        unsafe { &*self.held().at.cast::<H>() }
    }
}

impl<H> Drop for Alone<H> {
    #[inline]
    fn drop(&mut self) {
        self.slot.usage.end_alone(self.generation);
    }
}

/// The members of an object that has many: each is known by its slot and the
/// slot's generation, in one number.
pub(super) struct Members<T>(Mutex<Vec<(u32, Option<T>)>>);

impl<T> Default for Members<T> {
    fn default() -> Self {
        Self(Mutex::new(Vec::new()))
    }
}

impl<T: Clone> Members<T> {
    /// Says by which number a member is known, from now on if it was not; the
    /// slots of those that `is_gone` are used again.
    pub(super) fn insert(
        &self,
        member: T,
        is_same: impl Fn(&T) -> bool,
        is_gone: impl Fn(&T) -> bool,
    ) -> u64 {
        let number = |generation: u32, idx: usize| (u64::from(generation) << 32) | idx as u64;
        let mut gone = Vec::new();
        let mut slots = self.0.lock();
        for (idx, (generation, held)) in slots.iter_mut().enumerate() {
            if held.as_ref().is_some_and(&is_same) {
                return number(*generation, idx);
            }
            if held.as_ref().is_some_and(&is_gone) {
                gone.extend(held.take());
            }
        }
        let free = slots.iter().position(|(generation, held)| held.is_none() && *generation < u32::MAX);
        let idx = free.unwrap_or_else(|| {
            slots.push((0, None));
            slots.len() - 1
        });
        let (generation, held) = &mut slots[idx];
        *generation += 1;
        *held = Some(member);
        let number = number(*generation, idx);
        drop(slots);
        // Without the lock: dropping one may call the program.
        drop(gone);
        number
    }

    /// Lets go of a member; its number is of nothing any more.
    pub(super) fn remove(&self, number: u64) -> Option<T> {
        let (generation, idx) = (number >> 32, number & u64::from(u32::MAX));
        let mut slots = self.0.lock();
        let (held_generation, held) = slots.get_mut(usize::try_from(idx).ok()?)?;
        if u64::from(*held_generation) == generation { held.take() } else { None }
    }

    pub(super) fn get(&self, number: u64) -> Option<T> {
        let (generation, idx) = (number >> 32, number & u64::from(u32::MAX));
        let slots = self.0.lock();
        let (held_generation, held) = slots.get(usize::try_from(idx).ok()?)?;
        if u64::from(*held_generation) == generation { held.clone() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> &'static Table {
        Box::leak(Box::new(Table::new()))
    }

    fn held<H: Any + Send + Sync>(object: H) -> Held {
        Held::new(Arc::new(object))
    }

    fn of_kind<H: Any>(slot: Used) -> Use<H> {
        assert!(slot.object().kind == TypeId::of::<H>());
        Use { slot, kind: PhantomData }
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
            assert_eq!(*of_kind::<usize>(used), n);
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
                            let used = of_kind::<Counted>(used);
                            assert_eq!(used.0, 7);
                            if n == 0 && round == 50 {
                                assert!(used.slot.free(number));
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

    #[test]
    fn a_members_number_is_its_own() {
        let members = Members::<&str>::default();
        let a = members.insert("a", |_| false, |_| false);
        let b = members.insert("b", |_| false, |_| false);
        assert_eq!((members.get(a), members.get(b)), (Some("a"), Some("b")));
        let c = members.insert("c", |_| false, |member| *member == "a");
        assert_eq!((members.get(a), members.get(b), members.get(c)), (None, Some("b"), Some("c")));
        assert_eq!(c & u64::from(u32::MAX), a & u64::from(u32::MAX));
        assert_eq!((members.get(0), members.get(u64::MAX)), (None, None));
        assert_eq!(members.insert("b", |member| *member == "b", |_| false), b);
        assert_eq!((members.remove(b), members.remove(b), members.remove(a)), (Some("b"), None, None));
        assert_eq!((members.get(b), members.get(c)), (None, Some("c")));
    }
}
