//! Reading a duration never panics, and what was read is written and read
//! back without loss.
//!
//! `RUSTC_BOOTSTRAP=1 cargo fuzz run --fuzz-dir tests/fuzz -s none duration`

#![no_main]

use libfuzzer_sys::fuzz_target;
use loopkeeper::{ErrorKind, duration};

fuzz_target!(|text: &str| match duration::parse(text) {
    Ok(parsed) => {
        assert!(parsed <= duration::MAX);
        let written = duration::format(parsed);
        assert_eq!(duration::parse(&written).expect("what was written is read"), parsed, "{written}");
    }
    Err(error) => {
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(!error.to_string().contains('\n'), "the message is one line");
    }
});
