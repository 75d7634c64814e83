//! What crosses the border: the guard around every export, the text of the
//! last failure, and what comes from C as a pointer.
//!
//! The types here that hold a pointer are parameters of exported functions and
//! are made nowhere else: they hold what a C caller passed, who has promised
//! in the header's contract that it points to what its type says, or is NULL.
//! That is why their methods are safe to call.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::ffi::{CStr, c_char};
use std::fmt::{self, Display, Write};
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::status::{
    LK_ERR_BUFFER, LK_ERR_FORKED, LK_ERR_INVALID, LK_ERR_NULL, LK_ERR_PANIC, LK_ERR_RANGE, LK_ERR_SIZE,
    LK_ERR_UTF8, LK_FOREVER, LK_OK, lk_status,
};
use crate::sys::fork;
use crate::thread::panicked;

/// Why a call is refused: its status, and the text for people. A pointer, so
/// that answers without one are small.
#[derive(Debug)]
pub(super) struct Failure(Box<Refusal>);

#[derive(Debug)]
struct Refusal {
    status: lk_status,
    text: Cow<'static, str>,
}

pub(super) type Answer<T = ()> = Result<T, Failure>;

impl Failure {
    pub(super) fn new(status: lk_status, text: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Refusal { status, text: text.into() }))
    }

    #[cold]
    #[inline(never)]
    pub(super) fn null(what: &str) -> Self {
        Self::new(LK_ERR_NULL, format!("{what}: must not be NULL"))
    }

    /// The same for Rust, where a call goes on there.
    pub(super) fn into_error(self) -> crate::error::Error {
        let Refusal { status, text } = *self.0;
        let kind = super::status::kind_of(status).unwrap_or(crate::error::ErrorKind::InvalidArgument);
        crate::error::Error::new(kind).context(text)
    }

    #[cold]
    #[inline(never)]
    fn tell(self) -> lk_status {
        let Refusal { status, text } = *self.0;
        let mut text = text.into_owned().into_bytes();
        // C would see the text end there.
        text.iter_mut().filter(|byte| **byte == 0).for_each(|byte| *byte = b' ');
        text.push(0);
        // A thread that is ending keeps no text any more.
        let _ = LAST.try_with(|last| last.try_borrow_mut().map(|mut last| *last = text));
        status
    }
}

thread_local! {
    static LAST: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    /// Where JSON is written before its size is known.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// No thread keeps more room than this.
const MAX_SCRATCH: usize = 16 * 1024;

/// The text of the last failure on this thread.
pub(super) fn last_error() -> *const c_char {
    let text = LAST.try_with(|last| match last.try_borrow() {
        Ok(last) if !last.is_empty() => last.as_ptr().cast(),
        _ => c"".as_ptr(),
    });
    text.unwrap_or(c"".as_ptr())
}

/// Whether a call may be made in a child of a process that was using the
/// library.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Forked {
    Refused,
    Allowed,
}

/// The body of an exported function, without its type: a pointer to what it
/// uses and one to its code. Of a `dyn` there would be a table for each export.
#[derive(Clone, Copy)]
struct Body {
    at: *mut (),
    call: unsafe fn(*mut ()) -> Answer,
}

impl Body {
    fn of<F: FnMut() -> Answer>(body: &mut F) -> Self {
        /// # Safety
        ///
        /// There is such a body, and nobody else uses it.
        unsafe fn call<F: FnMut() -> Answer>(at: *mut ()) -> Answer {
            // SAFETY: as the caller says.
            unsafe { (*at.cast::<F>())() }
        }
        Self { at: (&raw mut *body).cast(), call: call::<F> }
    }
}

/// Runs the body of an exported function: whatever happens in it is a status.
/// Here once for all of them, and not in each.
///
/// # Safety
///
/// The body is there and nobody else uses it.
#[inline(never)]
unsafe fn run(forked: Forked, body: Body) -> lk_status {
    if forked == Forked::Refused && fork::is_child() {
        return refuse_child();
    }
    // SAFETY: as the caller says.
    match catch_unwind(AssertUnwindSafe(|| unsafe { (body.call)(body.at) })) {
        Ok(Ok(())) => LK_OK,
        Ok(Err(failure)) => failure.tell(),
        Err(payload) => Failure::new(LK_ERR_PANIC, panicked(payload).to_string()).tell(),
    }
}

#[cold]
fn refuse_child() -> lk_status {
    let text = "the process was forked after the library was in use, and its threads are in the parent: \
                fork first, or run another program";
    Failure::new(LK_ERR_FORKED, text).tell()
}

/// Runs the body of an exported function: whatever happens in it is a status.
#[inline]
pub(super) fn guard(mut body: impl FnMut() -> Answer) -> lk_status {
    let body = Body::of(&mut body);
    // SAFETY: it is this call's.
    unsafe { run(Forked::Refused, body) }
}

/// The same for one that returns a value: the fallback, when it fails.
#[inline]
pub(super) fn guard_or<T>(fallback: T, body: impl FnMut() -> Answer<T>) -> T {
    quietly(Forked::Refused, fallback, body)
}

#[inline]
pub(super) fn quietly<T>(forked: Forked, fallback: T, mut body: impl FnMut() -> Answer<T>) -> T {
    let mut value = fallback;
    let mut body = || {
        value = body()?;
        Ok(())
    };
    let body = Body::of(&mut body);
    // SAFETY: it is this call's.
    unsafe { run(forked, body) };
    value
}

/// A text from C: NUL-terminated UTF-8.
#[derive(Debug, Clone, Copy)]
#[repr(transparent)]
pub struct Text(*const c_char);

impl Text {
    pub(super) const NONE: Self = Self(std::ptr::null());

    pub(super) fn read(&self, what: &str) -> Answer<&str> {
        self.optional(what)?.ok_or_else(|| Failure::null(what))
    }

    /// The text; `None` for NULL.
    pub(super) fn optional(&self, what: &str) -> Answer<Option<&str>> {
        if self.0.is_null() {
            return Ok(None);
        }
        // SAFETY: not NULL, and then NUL-terminated and unchanged during the
        // call, as the contract says.
        let text = unsafe { CStr::from_ptr(self.0) };
        text.to_str().map(Some).map_err(|error| {
            Failure::new(LK_ERR_UTF8, format!("{what}: is not UTF-8 at byte {}", error.valid_up_to()))
        })
    }
}

/// Where something is written when a call succeeds.
#[derive(Debug)]
#[repr(transparent)]
pub struct Out<T>(*mut T);

/// An [`Out`] that can be written to.
#[must_use]
pub(super) struct Place<T>(*mut T);

impl<T> Out<T> {
    pub(super) fn check(&self, what: &str) -> Answer<Place<T>> {
        if self.0.is_null() { Err(Failure::null(what)) } else { Ok(Place(self.0)) }
    }

    pub(super) fn optional(&self) -> Option<Place<T>> {
        (!self.0.is_null()).then_some(Place(self.0))
    }
}

impl<T> Place<T> {
    pub(super) fn set(self, value: T) {
        // SAFETY: not NULL, and then the caller's to be written to. C may
        // have it at any address, so no alignment is assumed.
        unsafe { self.0.write_unaligned(value) }
    }
}

/// The buffer of the caller that a text is written to.
#[derive(Debug)]
#[repr(transparent)]
pub struct Buffer(*mut c_char);

/// Where a text goes: a buffer, its size, and where to say how much is needed.
#[must_use]
pub(super) struct TextPlace {
    buf: *mut c_char,
    len: usize,
    needed: Option<Place<usize>>,
}

impl Buffer {
    /// Checks a buffer of `len` bytes; NULL is one of none.
    pub(super) fn check(&self, len: usize, needed: &Out<usize>) -> Answer<TextPlace> {
        if self.0.is_null() && len > 0 {
            return Err(Failure::null("buf"));
        }
        if self.0.is_null() && needed.0.is_null() {
            return Err(Failure::null("buf and needed"));
        }
        Ok(TextPlace { buf: self.0, len, needed: needed.optional() })
    }
}

impl TextPlace {
    /// Writes a text and its NUL, or how much room they need.
    pub(super) fn set(self, text: &str) -> Answer {
        self.set_bytes(text.as_bytes())
    }

    fn set_bytes(self, text: &[u8]) -> Answer {
        let needed = text.len() + 1;
        if let Some(place) = self.needed {
            place.set(needed);
        }
        if needed > self.len {
            let text = format!("buf: has {} bytes, {needed} are needed", self.len);
            return Err(Failure::new(LK_ERR_BUFFER, text));
        }
        // SAFETY: the buffer is not NULL, because its size is not zero, and
        // has room for the text and the NUL.
        unsafe {
            self.buf.cast::<u8>().copy_from_nonoverlapping(text.as_ptr(), text.len());
            self.buf.add(text.len()).write(0);
        }
        Ok(())
    }

    pub(super) fn set_json(self, value: &impl serde::Serialize) -> Answer {
        // Each thread keeps the room that it writes in: whoever asks once asks
        // again.
        let mut room = SCRATCH.try_with(Cell::take).unwrap_or_default();
        room.clear();
        let written = serde_json::to_writer(&mut room, value)
            .map_err(|error| Failure::new(LK_ERR_INVALID, format!("as JSON: {error}")));
        let answer = written.and_then(|()| self.set_bytes(&room));
        if room.capacity() <= MAX_SCRATCH {
            let _ = SCRATCH.try_with(|scratch| scratch.set(room));
        }
        answer
    }
}

/// A struct that begins with its size, as the caller's header knows it, so
/// that fields can be added at its end.
///
/// # Safety
///
/// `repr(C)`, with a `u32` first, and any bytes are a value of it.
pub(super) unsafe trait Versioned: Copy {
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
    pub(super) const NONE: Self = Self(std::ptr::null());

    pub(super) fn read(&self, what: &str) -> Answer<T> {
        self.optional(what)?.ok_or_else(|| Failure::null(what))
    }

    /// The struct; `None` for NULL.
    pub(super) fn optional(&self, what: &str) -> Answer<Option<T>> {
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
pub(super) fn init<T: Versioned>(out: &Out<T>, size: usize) -> Answer {
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
pub(super) struct StructPlace<T> {
    at: *mut T,
    size: usize,
}

impl<T: Versioned> OutStruct<T> {
    pub(super) fn check(&self, what: &str) -> Answer<StructPlace<T>> {
        self.optional(what)?.ok_or_else(|| Failure::null(what))
    }

    pub(super) fn optional(&self, what: &str) -> Answer<Option<StructPlace<T>>> {
        if self.0.is_null() {
            return Ok(None);
        }
        let size = Layout::of::<T>().size_at(self.0.cast_const().cast(), what)?;
        Ok(Some(StructPlace { at: self.0, size }))
    }

    /// A row of `count` structs of one size; none of a row of none.
    pub(super) fn row(&self, count: usize, what: &str) -> Answer<impl Iterator<Item = StructPlace<T>>> {
        let (at, size) = match count {
            0 => (self.0, 0),
            _ => self.check(what).map(|place| (place.at, place.size))?,
        };
        // SAFETY: the caller's row has `count` structs of this size.
        Ok((0..count).map(move |idx| StructPlace { at: unsafe { at.byte_add(idx * size) }, size }))
    }
}

impl<T: Versioned> StructPlace<T> {
    pub(super) fn set(&self, value: &T) {
        Layout::of::<T>().write(self.at.cast(), self.size, (&raw const *value).cast());
    }

    /// Has a struct filled in, but for its size: in the caller's place, where
    /// that is one of the size that this library knows.
    #[inline]
    pub(super) fn fill(&self, fill: impl FnOnce(&mut T)) {
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

/// A truth value from C.
pub(super) fn flag(value: i32, what: &str) -> Answer<bool> {
    match value {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(Failure::new(LK_ERR_RANGE, format!("{what}: must be 0 or 1, found {other}"))),
    }
}

/// A duration from C; [`LK_FOREVER`] has no end.
pub(super) fn millis(value: u64) -> Duration {
    if value == LK_FOREVER { Duration::MAX } else { Duration::from_millis(value) }
}

/// As much of a text as has room before its NUL, cut at a character; zeros
/// after it.
pub(super) fn chars<const N: usize>(text: &str) -> [c_char; N] {
    let mut chars = [0; N];
    set_chars(&mut chars, text);
    chars
}

/// The same in place.
pub(super) fn set_chars<const N: usize>(place: &mut [c_char; N], text: &str) {
    let mut end = text.len().min(N - 1);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    // All of it and not the rest: of a size that is known that takes no loop.
    *place = [0; N];
    // SAFETY: a character of C's is a byte, with a sign or without; no more
    // than there is room for.
    unsafe { copy_short(text.as_ptr(), place.as_mut_ptr().cast::<u8>(), end) };
}

/// Copies a text that is short, as names are: without a call, and so in half of
/// the time.
///
/// # Safety
///
/// As for `copy_nonoverlapping`.
#[inline]
unsafe fn copy_short(from: *const u8, to: *mut u8, len: usize) {
    /// # Safety
    ///
    /// There are from `N` to twice as many bytes.
    #[inline]
    unsafe fn both_ends<const N: usize>(from: *const u8, to: *mut u8, len: usize) {
        // SAFETY: both are within the bytes; where they overlap they say the
        // same.
        unsafe {
            to.cast::<[u8; N]>().write(from.cast::<[u8; N]>().read());
            let rest = len - N;
            to.add(rest).cast::<[u8; N]>().write(from.add(rest).cast::<[u8; N]>().read());
        }
    }
    // SAFETY: as the caller says, and as many as were counted.
    unsafe {
        match len {
            0 => {}
            1 => to.write(from.read()),
            2..=3 => both_ends::<2>(from, to, len),
            4..=7 => both_ends::<4>(from, to, len),
            8..=15 => both_ends::<8>(from, to, len),
            16..=31 => both_ends::<16>(from, to, len),
            _ => to.copy_from_nonoverlapping(from, len),
        }
    }
}

/// The same of what is to be shown, if there is anything.
pub(super) fn set_text<const N: usize>(place: &mut [c_char; N], text: Option<&dyn Display>) {
    *place = [0; N];
    if let Some(text) = text {
        // Cut where it is too long: that is no failure.
        let _ = write!(Cut(&mut place[..N - 1]), "{text}");
    }
}

/// As much of a text as there is room for, cut at a character.
struct Cut<'a>(&'a mut [c_char]);

impl Write for Cut<'_> {
    /// Fails once there is no more room.
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut end = text.len().min(self.0.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        // SAFETY: a character of C's is a byte, with a sign or without; there
        // is room for as many.
        unsafe { copy_short(text.as_ptr(), self.0.as_mut_ptr().cast::<u8>(), end) };
        let place = std::mem::take(&mut self.0);
        self.0 = &mut place[end..];
        if end == text.len() { Ok(()) } else { Err(fmt::Error) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capi::status::LK_ERR_STATE;

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
        answer.map_or_else(|failure| failure.0.status, |_| LK_OK)
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

    #[test]
    fn a_text_is_written_whole_or_not_at_all() {
        let mut bytes = [b'x' as c_char; 6];
        let mut needed = 0;
        let mut write = |len, text: &str| {
            let place = Buffer(bytes.as_mut_ptr()).check(len, &Out(&raw mut needed)).unwrap();
            let status = status(place.set(text));
            (status, needed, bytes.map(|byte| byte as u8))
        };
        assert_eq!(write(3, "abc"), (LK_ERR_BUFFER, 4, *b"xxxxxx"));
        assert_eq!(write(4, "abc"), (LK_OK, 4, *b"abc\0xx"));
        assert_eq!(write(0, ""), (LK_ERR_BUFFER, 1, *b"abc\0xx"));
        let nowhere = Buffer(std::ptr::null_mut());
        assert_eq!(status(nowhere.check(1, &Out(&raw mut needed))), LK_ERR_NULL);
        assert_eq!(status(nowhere.check(0, &Out(std::ptr::null_mut()))), LK_ERR_NULL);
        assert_eq!(
            status(nowhere.check(0, &Out(&raw mut needed)).and_then(|place| place.set("a"))),
            LK_ERR_BUFFER
        );
    }

    #[test]
    fn texts_are_cut_at_a_character() {
        assert_eq!(chars::<4>("añb").map(|byte| byte as u8), [b'a', 0xc3, 0xb1, 0]);
        assert_eq!(chars::<3>("añb").map(|byte| byte as u8), *b"a\0\0");
        assert_eq!(chars::<2>("").map(|byte| byte as u8), [0, 0]);
        let long = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEF";
        for len in 0..=long.len() {
            let seen = chars::<64>(&long[..len]).map(|byte| byte as u8);
            assert_eq!((&seen[..len], &seen[len..]), (&long.as_bytes()[..len], &[0; 64][len..]));
        }
        let shown = |text: Option<&dyn Display>| {
            let mut place = [7; 5];
            set_text(&mut place, text);
            place.map(|byte| byte as u8)
        };
        assert_eq!(shown(Some(&format_args!("a{}{}", "ñ", "ñ"))), [b'a', 0xc3, 0xb1, 0, 0]);
        assert_eq!(shown(Some(&"abcd")), *b"abcd\0");
        assert_eq!((shown(Some(&"")), shown(None)), ([0; 5], [0; 5]));
    }

    #[test]
    fn whatever_happens_in_a_body_is_a_status_with_a_text() {
        let last = || {
            // SAFETY: the text is this thread's and unchanged meanwhile.
            unsafe { CStr::from_ptr(last_error()) }.to_str().unwrap().to_owned()
        };
        assert_eq!((guard(|| Ok(())), last().as_str()), (LK_OK, ""));
        assert_eq!(guard(|| Err(Failure::new(LK_ERR_STATE, "no\0w"))), LK_ERR_STATE);
        assert_eq!(last(), "no w");
        assert_eq!(guard(|| panic!("boom")), LK_ERR_PANIC);
        assert_eq!(last(), "panicked: boom");
        assert_eq!((guard(|| Ok(())), last().as_str()), (LK_OK, "panicked: boom"));
        assert_eq!(guard_or(7, || panic!("again")), 7);
        let bad = [0x61_u8, 0x80, 0];
        assert_eq!(status(Text(bad.as_ptr().cast()).read("x")), LK_ERR_UTF8);
        assert_eq!((flag(1, "x").unwrap(), status(flag(2, "x"))), (true, LK_ERR_RANGE));
    }
}
