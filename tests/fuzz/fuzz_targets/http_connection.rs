//! Which requests a connection serves, and what it refuses, does not depend on
//! the pieces in which the bytes come.
//!
//! `RUSTC_BOOTSTRAP=1 cargo fuzz run --fuzz-dir tests/fuzz -s none http_connection`

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| loopkeeper::http::fuzz_connection(bytes));
