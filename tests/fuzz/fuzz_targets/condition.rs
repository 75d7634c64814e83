//! Reading a condition never panics; what is read is written and read back as
//! the same; asking whether it holds never panics, and reasons are one line.
//!
//! `RUSTC_BOOTSTRAP=1 cargo fuzz run --fuzz-dir tests/fuzz -s none condition`

#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use loopkeeper::condition::{Condition, Facts, FileFacts, Outcome};

// The first line is a condition, the rest is the body that it is about.
fuzz_target!(|text: &str| {
    let (text, body) = text.split_once('\n').unwrap_or((text, "{}"));
    match Condition::parse(text) {
        Err(error) => {
            assert!(error.column() <= text.chars().count() + 1);
            assert!(!error.to_string().contains('\n'), "a message is one line");
            assert_eq!(error.excerpt().lines().count(), 2, "a line and a caret below it");
        }
        Ok(condition) => {
            let written = condition.to_string();
            // Quotes and escapes may make it longer than one may be.
            if written.len() <= 1024 {
                assert_eq!(Condition::parse(&written).as_ref(), Ok(&condition), "{written}");
            }
            let mut facts = Facts::new()
                .latency(Duration::from_millis(12))
                .status(200)
                .header("content-type", "text/plain")
                .body(body);
            for path in condition.files() {
                facts = facts.file(path, Some(FileFacts { age: Duration::from_secs(60), size: 1 << 20 }));
            }
            if let Outcome::Fails(reason) | Outcome::Undecided(reason) = condition.evaluate(&facts) {
                assert!(!reason.is_empty() && !reason.contains('\n'), "{reason:?}");
            }
            let _ = condition.evaluate(&Facts::new());
        }
    }
});
