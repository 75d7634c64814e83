//! Structs that begin with their size, so that fields can be added at their
//! end: read and written as far as both sides know them.

use std::mem::MaybeUninit;

use super::failure::{Answer, Failure};
use super::param::Out;
use crate::capi::status::LK_ERR_SIZE;

/// A struct that begins with its size, as the caller's header knows it, so
/// that fields can be added at its end.
///
/// # Safety
///
/// `repr(C)`, with a `u32` first, and any bytes are a value of it.
pub(in crate::capi) unsafe trait Versioned: Copy {
    /// Its name in C.
    const NAME: &'static str;
    /// The size of the first that there ever was.
    const MIN: usize;

    /// Its value where the caller says nothing.
    fn initial() -> Self;
}

/// No struct is ever larger: what says so is not one.
const MAX_SIZE: usize = 4096;

/// A struct that the caller filled in.
#[derive(Debug)]
#[repr(transparent)]
pub struct In<T>(*const T);

impl<T> Clone for In<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for In<T> {}

impl<T: Versioned> In<T> {
    pub(in crate::capi) const NONE: Self = Self(std::ptr::null());

    pub(in crate::capi) fn read(&self, what: &str) -> Answer<T> {
        self.optional(what)?.ok_or_else(|| Failure::null(what))
    }

    /// The struct; `None` for NULL.
    pub(in crate::capi) fn optional(&self, what: &str) -> Answer<Option<T>> {
        if self.0.is_null() { Ok(None) } else { read_sized(self.0, what).map(Some) }
    }
}

/// What is known of a type of struct: what a call needs to deal with one, so
/// that the code for it is there once and not for each type.
struct Layout {
    name: &'static str,
    min: usize,
    size: usize,
    align: usize,
}

impl Layout {
    const fn of<T: Versioned>() -> &'static Self {
        const { &Self { name: T::NAME, min: T::MIN, size: size_of::<T>(), align: align_of::<T>() } }
    }

    /// Whether a struct of C's may have this size. One that is no multiple of
    /// the alignment is no `sizeof` and would cut a pointer in two.
    fn has(&self, size: usize) -> bool {
        (self.min..=MAX_SIZE).contains(&size) && size & (self.align - 1) == 0
    }

    /// The size that the caller's struct says it has.
    #[inline]
    fn size_at(&self, at: *const u8, what: &str) -> Answer<usize> {
        // SAFETY: not NULL, and then it begins with its size.
        let size = unsafe { at.cast::<u32>().read_unaligned() } as usize;
        if size == self.size { Ok(size) } else { self.other_size(size, what) }
    }

    #[cold]
    #[inline(never)]
    fn other_size(&self, size: usize, what: &str) -> Answer<usize> {
        if self.has(size) { Ok(size) } else { Err(self.refuse(size, what)) }
    }

    #[cold]
    #[inline(never)]
    fn refuse(&self, size: usize, what: &str) -> Failure {
        let Self { name, min, size: known, .. } = *self;
        let text = if what.is_empty() {
            format!("size: {name} has {min} to {known} bytes, found {size}")
        } else {
            format!("{what}: size: {name} has {min} to {known} bytes, found {size}: call {name}_init first")
        };
        Failure::new(LK_ERR_SIZE, text)
    }

    /// Copies as much of the caller's struct as `value` has.
    #[inline(never)]
    fn read(&self, at: *const u8, value: *mut u8, what: &str) -> Answer {
        let size = self.size_at(at, what)?;
        let known = size.min(self.size);
        // SAFETY: the caller has `size` bytes there; of these as many are
        // copied as `value` has.
        unsafe { value.copy_from_nonoverlapping(at, known) };
        // SAFETY: the bytes from `known` to `size` are the caller's, too.
        let rest = unsafe { std::slice::from_raw_parts(at.add(known), size - known) };
        if rest.iter().any(|byte| *byte != 0) {
            let text = format!("{what}: sets a field of {} that this library does not know", self.name);
            return Err(Failure::new(LK_ERR_SIZE, text));
        }
        Ok(())
    }

    /// Writes as much of `value` as the caller's struct of `size` bytes has,
    /// which keeps its size.
    #[inline(never)]
    fn write(&self, at: *mut u8, size: usize, value: *const u8) {
        let known = size.min(self.size);
        // SAFETY: the caller has `size` bytes there, `value` has at least
        // `known`; any struct begins with its size, which is at most MAX_SIZE.
        unsafe {
            at.copy_from_nonoverlapping(value, known);
            at.add(known).write_bytes(0, size - known);
            at.cast::<u32>().write_unaligned(size as u32);
        }
    }
}

fn read_sized<T: Versioned>(at: *const T, what: &str) -> Answer<T> {
    let mut value = T::initial();
    // Any bytes are a value of it.
    Layout::of::<T>().read(at.cast(), (&raw mut value).cast(), what)?;
    Ok(value)
}

/// Fills in a caller's struct of `size` bytes.
pub(in crate::capi) fn init<T: Versioned>(out: &Out<T>, size: usize) -> Answer {
    let place = out.check("out")?;
    let layout = Layout::of::<T>();
    if !layout.has(size) {
        return Err(layout.refuse(size, ""));
    }
    let value = T::initial();
    layout.write(place.0.cast(), size, (&raw const value).cast());
    Ok(())
}

/// A struct that is filled in when a call succeeds, as far as the caller
/// knows it.
#[derive(Debug)]
#[repr(transparent)]
pub struct OutStruct<T>(*mut T);

#[must_use]
pub(in crate::capi) struct StructPlace<T> {
    at: *mut T,
    size: usize,
}

impl<T: Versioned> OutStruct<T> {
    pub(in crate::capi) fn check(&self, what: &str) -> Answer<StructPlace<T>> {
        self.optional(what)?.ok_or_else(|| Failure::null(what))
    }

    pub(in crate::capi) fn optional(&self, what: &str) -> Answer<Option<StructPlace<T>>> {
        if self.0.is_null() {
            return Ok(None);
        }
        let size = Layout::of::<T>().size_at(self.0.cast_const().cast(), what)?;
        Ok(Some(StructPlace { at: self.0, size }))
    }

    /// A row of `count` structs of one size; none of a row of none.
    pub(in crate::capi) fn row(
        &self,
        count: usize,
        what: &str,
    ) -> Answer<impl Iterator<Item = StructPlace<T>>> {
        let (at, size) = match count {
            0 => (self.0, 0),
            _ => self.check(what).map(|place| (place.at, place.size))?,
        };
        // SAFETY: the caller's row has `count` structs of this size.
        Ok((0..count).map(move |idx| StructPlace { at: unsafe { at.byte_add(idx * size) }, size }))
    }
}

impl<T: Versioned> StructPlace<T> {
    pub(in crate::capi) fn set(&self, value: &T) {
        Layout::of::<T>().write(self.at.cast(), self.size, (&raw const *value).cast());
    }

    /// Has a struct filled in, but for its size: in the caller's place, where
    /// that is one of the size that this library knows.
    #[inline]
    pub(in crate::capi) fn fill(&self, fill: impl FnOnce(&mut T)) {
        let mut own = MaybeUninit::<T>::uninit();
        let is_in_place = self.size == size_of::<T>() && self.at.is_aligned();
        let at = if is_in_place { self.at } else { own.write(T::initial()) };
        // SAFETY: the caller's struct is there and nobody else's during the
        // call; any bytes are a value of it.
        fill(unsafe { &mut *at });
        if !is_in_place {
            Layout::of::<T>().write(self.at.cast(), self.size, at.cast_const().cast());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capi::status::{LK_ERR_NULL, LK_OK, lk_status};

    #[derive(Clone, Copy, Debug, PartialEq)]
    #[repr(C)]
    struct Sample {
        size: u32,
        a: u32,
        b: u64,
    }

    // SAFETY: numbers only.
    unsafe impl Versioned for Sample {
        const NAME: &'static str = "sample";
        const MIN: usize = 8;

        fn initial() -> Self {
            Self { size: 16, a: 1, b: 2 }
        }
    }

    fn status<T>(answer: Answer<T>) -> lk_status {
        answer.map_or_else(|failure| failure.tell(), |_| LK_OK)
    }

    #[test]
    fn a_struct_of_another_size_is_read_as_far_as_both_know_it() {
        let read = |bytes: &[u32]| In::<Sample>(bytes.as_ptr().cast()).read("x");
        assert_eq!(read(&[8, 7]).unwrap(), Sample { size: 8, a: 7, b: 2 });
        assert_eq!(read(&[16, 7, 9, 0]).unwrap(), Sample { size: 16, a: 7, b: 9 });
        assert_eq!(read(&[24, 7, 9, 0, 0, 0]).unwrap(), Sample { size: 24, a: 7, b: 9 });
        for wrong in [&[24, 7, 9, 0, 0, 1][..], &[0, 0], &[7, 0], &[12, 7, 9], &[1 << 20, 0]] {
            assert_eq!(status(read(wrong)), LK_ERR_SIZE, "{wrong:?}");
        }
        assert_eq!(status(In::<Sample>(std::ptr::null()).read("x")), LK_ERR_NULL);
    }

    #[test]
    fn a_struct_is_written_as_far_as_its_owner_knows_it() {
        let mut bytes = [9_u32; 8];
        let out = || Out::<Sample>(std::ptr::null_mut());
        assert_eq!(status(init(&out(), 16)), LK_ERR_NULL);
        let at = Out::<Sample>(bytes.as_mut_ptr().cast());
        init(&at, 8).unwrap();
        assert_eq!(bytes, [8, 1, 9, 9, 9, 9, 9, 9]);
        init(&at, 24).unwrap();
        assert_eq!(bytes, [24, 1, 2, 0, 0, 0, 9, 9]);
        assert_eq!(status(init(&at, 4)), LK_ERR_SIZE);
        let out = OutStruct::<Sample>(bytes.as_mut_ptr().cast());
        out.check("x").unwrap().set(&Sample { size: 0, a: 5, b: 6 });
        assert_eq!(bytes, [24, 5, 6, 0, 0, 0, 9, 9]);
    }
}
