//! Reading a request's head never panics; what is read ends where it says; a
//! head without its last byte is none.
//!
//! `RUSTC_BOOTSTRAP=1 cargo fuzz run --fuzz-dir tests/fuzz -s none http_head`

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| loopkeeper::http::fuzz_head(bytes));
