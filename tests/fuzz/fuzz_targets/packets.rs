//! Packets of time servers and certificates never make their readers panic.
//!
//! `RUSTC_BOOTSTRAP=1 cargo fuzz run --fuzz-dir tests/fuzz -s none packets`

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    loopkeeper::monitor::check::fuzz_sntp(bytes);
    loopkeeper::monitor::check::fuzz_certificate(bytes);
});
