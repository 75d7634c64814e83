//! Texts for C.

/// A text that C can read to its end.
pub(super) fn c_text(text: String) -> std::ffi::CString {
    let mut bytes = text.into_bytes();
    bytes.iter_mut().filter(|byte| **byte == 0).for_each(|byte| *byte = b' ');
    std::ffi::CString::new(bytes).unwrap_or_default()
}
