//! Reading a moment never panics, and what was read is written and read back
//! to the millisecond.
//!
//! `RUSTC_BOOTSTRAP=1 cargo fuzz run --fuzz-dir tests/fuzz -s none stamp`

#![no_main]

use libfuzzer_sys::fuzz_target;
use loopkeeper::{ErrorKind, Stamp};

fuzz_target!(|text: &str| match text.parse::<Stamp>() {
    Ok(parsed) => {
        let written = parsed.to_string();
        let again: Stamp = written.parse().expect("what was written is read");
        assert_eq!(again.as_micros(), parsed.as_micros() / 1_000 * 1_000, "{written}");
    }
    Err(error) => {
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(!error.to_string().contains('\n'), "the message is one line");
    }
});
