//! Texts in the arrays of C's structs: as much as there is room for, cut at a
//! character.

use std::ffi::c_char;
use std::fmt::{self, Display, Write};

/// As much of a text as has room before its NUL, cut at a character; zeros
/// after it.
pub(in crate::capi) fn chars<const N: usize>(text: &str) -> [c_char; N] {
    let mut chars = [0; N];
    set_chars(&mut chars, text);
    chars
}

/// The same in place.
pub(in crate::capi) fn set_chars<const N: usize>(place: &mut [c_char; N], text: &str) {
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
pub(in crate::capi) fn set_text<const N: usize>(place: &mut [c_char; N], text: Option<&dyn Display>) {
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
}
