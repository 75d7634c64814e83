//! Handles: what C holds of an object of ours.
//!
//! To C a handle is an opaque pointer. It is none: it is the number of a slot
//! in a table and of the slot's generation, so one that was freed, or was
//! never given, is found out without touching what it stood for. Whoever is in
//! a call keeps the object; the last to use one that was freed drops it.

mod table;

use std::any::{Any, TypeId};
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use self::table::{Found, Held, MAX_SLOTS, Slot, TABLE, Used, generation_of};

use super::boundary::{Answer, Failure};
use super::call::is_inside;
use super::status::{LK_ERR_BUDGET, LK_ERR_HANDLE, LK_ERR_STALE, LK_ERR_STATE};
use crate::clock::real_deadline;
use crate::sys::fork;

/// A type of handle: an opaque type in C, and what it stands for.
pub(super) trait Object: 'static {
    /// Its name in C.
    const NAME: &'static str;
    /// What a handle of it stands for.
    type Held: Send + Sync + 'static;

    /// Ends it for calls that may wait for ever, once it was freed.
    fn end(_: &Self::Held) {}

    /// Whether the caller is in a call of its, so that its free would wait for
    /// itself.
    fn is_own_call(_: &Self::Held) -> bool {
        false
    }
}

/// Says what a type of handle stands for. The type itself is written out in
/// its file: what makes the header does not look into macros.
macro_rules! object {
    ($name:ident => $held:ty $(, $end:expr $(, $is_own_call:expr)?)?) => {
        impl $crate::capi::handle::Object for $name {
            const NAME: &'static str = stringify!($name);
            type Held = $held;
            $(fn end(held: &Self::Held) {
                let end: fn(&Self::Held) = $end;
                end(held);
            }
            $(fn is_own_call(held: &Self::Held) -> bool {
                let is_own_call: fn(&Self::Held) -> bool = $is_own_call;
                is_own_call(held)
            })?)?
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
    /// For objects whose drop waits for threads: not from inside a callback of
    /// theirs, which is what would be waited for.
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
    /// [`Object::is_own_call`] of an object of this kind that is in use.
    is_own_call: unsafe fn(*const ()) -> bool,
}

impl Kind {
    fn of<T: Object>() -> &'static Self {
        const {
            &Self {
                id: TypeId::of::<T::Held>,
                name: T::NAME,
                end: Self::end::<T>,
                is_own_call: Self::is_own_call::<T>,
            }
        }
    }

    /// # Safety
    ///
    /// There is an object of the kind.
    unsafe fn end<T: Object>(at: *const ()) {
        // SAFETY: as the caller says.
        T::end(unsafe { &*at.cast::<T::Held>() });
    }

    /// # Safety
    ///
    /// There is an object of the kind.
    unsafe fn is_own_call<T: Object>(at: *const ()) -> bool {
        // SAFETY: as the caller says.
        T::is_own_call(unsafe { &*at.cast::<T::Held>() })
    }
}

fn free(number: usize, kind: &Kind, what: &str, waits: bool) -> Answer {
    if number == 0 {
        return Ok(());
    }
    let used = look_up(number, kind, what)?;
    let is_inside = waits && is_inside();
    // SAFETY: it is of this kind, or it would not have been found, and used.
    if is_inside && unsafe { (kind.is_own_call)(used.object().at) } {
        let text = format!("{what}: cannot be freed from inside a callback of its own");
        return Err(Failure::new(LK_ERR_STATE, text));
    }
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
    // returns; a call that goes on for longer drops it at its end. One that a
    // callback was made from goes on until that returns.
    if waits && !is_inside {
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

/// How long a free waits for calls that others are in.
const PATIENCE: Duration = Duration::from_secs(5);

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
