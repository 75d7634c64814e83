//! Handles: what C holds of an object of ours.
//!
//! To C a handle is an opaque pointer. It is none: it is the number of a slot
//! in a table and of the slot's generation, so one that was freed, or was
//! never given, is found out without touching memory. Whoever is in a call
//! keeps the object; a free takes it out of the table.

use std::any::Any;
use std::sync::Arc;

use super::boundary::{Answer, Failure};
use super::context::is_inside;
use super::status::{LK_ERR_BUDGET, LK_ERR_HANDLE, LK_ERR_NULL, LK_ERR_STALE, LK_ERR_STATE};
use crate::primitive::Mutex;
use crate::sys::fork;

/// A type of handle: an opaque type in C, and what it stands for.
pub(super) trait Object: 'static {
    /// Its name in C.
    const NAME: &'static str;
    /// What a handle of it stands for.
    type Held: Send + Sync + 'static;
}

/// Says what a type of handle stands for. The type itself is written out in
/// its file: what makes the header does not look into macros.
macro_rules! object {
    ($name:ident => $held:ty) => {
        impl $crate::capi::handle::Object for $name {
            const NAME: &'static str = stringify!($name);
            type Held = $held;
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

    pub(super) fn get(&self, what: &str) -> Answer<Arc<T::Held>> {
        self.optional(what)?.ok_or_else(|| Failure::new(LK_ERR_NULL, format!("{what}: must not be NULL")))
    }

    /// The object; `None` for NULL.
    pub(super) fn optional(&self, what: &str) -> Answer<Option<Arc<T::Held>>> {
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
    pub(super) fn free(self, what: &str) -> Answer {
        if !self.0.is_null() && is_inside() {
            let text = format!("{what}: cannot be freed from inside a callback");
            return Err(Failure::new(LK_ERR_STATE, text));
        }
        self.release(what)
    }

    /// The same for objects whose drop waits for nothing.
    pub(super) fn release(self, what: &str) -> Answer {
        if self.0.is_null() {
            return Ok(());
        }
        find::<T>(self.0.addr(), what)?;
        // Dropped here, without the lock: it may stop threads and call
        // the program.
        drop(TABLE.lock().take(self.0.addr()));
        Ok(())
    }
}

impl<T: Object> New<T> {
    pub(super) fn check(&self, what: &str) -> Answer<NewPlace<T>> {
        if self.0.is_null() {
            return Err(Failure::new(LK_ERR_NULL, format!("{what}: must not be NULL")));
        }
        Ok(NewPlace { at: self.0 })
    }
}

impl<T: Object> NewPlace<T> {
    /// Makes a handle of an object.
    pub(super) fn set(self, held: T::Held) -> Answer {
        fork::watch();
        let made = TABLE.lock().insert(Arc::new(held));
        let Some(number) = made else {
            let text = format!("no room for another handle, {MAX_SLOTS} are open");
            return Err(Failure::new(LK_ERR_BUDGET, text));
        };
        let handle = std::ptr::without_provenance_mut::<T>(number);
        // SAFETY: not NULL, and then the caller's to be written to, at
        // whichever address.
        unsafe { self.at.write_unaligned(handle) };
        Ok(())
    }
}

fn find<T: Object>(number: usize, what: &str) -> Answer<Arc<T::Held>> {
    let name = T::NAME;
    let found = TABLE.lock().get(number);
    match found {
        Found::Held(held) => held.downcast::<T::Held>().map_err(|_| {
            Failure::new(LK_ERR_HANDLE, format!("{what}: is a handle of another kind than {name}"))
        }),
        Found::Freed => Err(Failure::new(LK_ERR_STALE, format!("{what}: this {name} was freed"))),
        Found::Never => {
            Err(Failure::new(LK_ERR_HANDLE, format!("{what}: is no {name} that this library has given")))
        }
    }
}

type Held = Arc<dyn Any + Send + Sync>;

enum Found {
    Held(Held),
    Freed,
    Never,
}

/// A handle's bits: a one, so that it is never the address of anything; the
/// slot; the generation.
const SLOT_BITS: u32 = if usize::BITS >= 64 { 23 } else { 15 };
const MAX_SLOTS: usize = 1 << SLOT_BITS;
const MAX_GENERATION: usize = usize::MAX >> (SLOT_BITS + 1);

/// All handles of the process. Environments do not notice each other here:
/// it only says which numbers are taken.
static TABLE: Mutex<Table> = Mutex::new(Table { slots: Vec::new(), free: Vec::new() });

struct Table {
    slots: Vec<Slot>,
    free: Vec<usize>,
}

struct Slot {
    /// Counted up with each object; that of the present or last one.
    generation: usize,
    held: Option<Held>,
}

impl Table {
    fn insert(&mut self, held: Held) -> Option<usize> {
        let idx = match self.free.pop() {
            Some(idx) => idx,
            None if self.slots.len() < MAX_SLOTS => {
                self.slots.push(Slot { generation: 0, held: None });
                self.slots.len() - 1
            }
            None => return None,
        };
        let slot = self.slots.get_mut(idx)?;
        slot.generation += 1;
        slot.held = Some(held);
        Some((slot.generation << (SLOT_BITS + 1)) | (idx << 1) | 1)
    }

    fn parts(&self, number: usize) -> Option<(usize, usize)> {
        let (idx, generation) = ((number >> 1) & (MAX_SLOTS - 1), number >> (SLOT_BITS + 1));
        let slot = self.slots.get(idx)?;
        (number & 1 == 1 && (1..=slot.generation).contains(&generation)).then_some((idx, generation))
    }

    fn get(&self, number: usize) -> Found {
        let Some((idx, generation)) = self.parts(number) else { return Found::Never };
        let slot = &self.slots[idx];
        match &slot.held {
            Some(held) if slot.generation == generation => Found::Held(held.clone()),
            _ => Found::Freed,
        }
    }

    fn take(&mut self, number: usize) -> Option<Held> {
        let (idx, generation) = self.parts(number)?;
        let slot = &mut self.slots[idx];
        if slot.generation != generation {
            return None;
        }
        let held = slot.held.take();
        // A slot whose generations are used up rests.
        if held.is_some() && slot.generation < MAX_GENERATION {
            self.free.push(idx);
        }
        held
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
    /// Keeps a member and says by which number it is known; the slots of those
    /// that `is_gone` are used again.
    pub(super) fn insert(&self, member: T, is_gone: impl Fn(&T) -> bool) -> u64 {
        let mut gone = Vec::new();
        let mut slots = self.0.lock();
        for (_, held) in slots.iter_mut() {
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
        let number = (u64::from(*generation) << 32) | idx as u64;
        drop(slots);
        // Without the lock: dropping one may call the program.
        drop(gone);
        number
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

    fn is_held(found: &Found) -> bool {
        matches!(found, Found::Held(_))
    }

    #[test]
    fn a_freed_number_is_known_as_such_for_ever() {
        let mut table = Table { slots: Vec::new(), free: Vec::new() };
        let first = table.insert(Arc::new(1_u8)).unwrap();
        assert!(first & 1 == 1 && is_held(&table.get(first)));
        assert!(table.take(first).is_some() && table.take(first).is_none());
        let second = table.insert(Arc::new(2_u8)).unwrap();
        assert_ne!(first, second);
        assert!(matches!(table.get(first), Found::Freed) && is_held(&table.get(second)));
        assert!(table.take(first).is_none() && is_held(&table.get(second)));
        for never in [0, 1, second + 1, second - 1, second + 2, usize::MAX, second | (1 << (usize::BITS - 1))]
        {
            assert!(matches!(table.get(never), Found::Never), "{never:x}");
            assert!(table.take(never).is_none());
        }
    }

    #[test]
    fn a_slot_that_is_used_up_rests() {
        let mut table = Table { slots: Vec::new(), free: Vec::new() };
        let first = table.insert(Arc::new(1_u8)).unwrap();
        table.slots[0].generation = MAX_GENERATION;
        let last = (MAX_GENERATION << (SLOT_BITS + 1)) | 1;
        assert!(matches!(table.get(first), Found::Freed));
        assert!(table.take(last).is_some());
        let next = table.insert(Arc::new(2_u8)).unwrap();
        assert_eq!((next >> 1) & (MAX_SLOTS - 1), 1);
    }

    #[test]
    fn a_members_number_is_its_own() {
        let members = Members::<&str>::default();
        let a = members.insert("a", |_| false);
        let b = members.insert("b", |_| false);
        assert_eq!((members.get(a), members.get(b)), (Some("a"), Some("b")));
        let c = members.insert("c", |member| *member == "a");
        assert_eq!((members.get(a), members.get(b), members.get(c)), (None, Some("b"), Some("c")));
        assert_eq!(c & u64::from(u32::MAX), a & u64::from(u32::MAX));
        assert_eq!((members.get(0), members.get(u64::MAX)), (None, None));
    }
}
