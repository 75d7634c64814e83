//! Reading a JSON pointer never panics; what is read leads where the standard
//! says, and a message about one that leads nowhere is one line; a condition
//! about it is written and read back as the same.
//!
//! `RUSTC_BOOTSTRAP=1 cargo fuzz run --fuzz-dir tests/fuzz -s none pointer`

#![no_main]

use libfuzzer_sys::fuzz_target;
use loopkeeper::condition::{Condition, Facts};
use loopkeeper::pointer::Pointer;

fuzz_target!(|input: (&str, &[u8])| {
    let (text, body) = input;
    let Ok(pointer) = text.parse::<Pointer>() else { return };
    assert_eq!(pointer.to_string(), text, "it is kept as it was written");
    assert_eq!(Pointer::new(pointer.as_str()).unwrap(), pointer);
    if let Ok(document) = serde_json::from_slice(body) {
        // As others read the standard.
        let found = pointer.find(&document);
        assert_eq!(found.as_ref().ok().copied(), document.pointer(text));
        if let Err(missing) = found {
            let line = missing.to_string();
            assert!(line.len() < 4096 && !line.contains(char::is_control), "{line:?}");
        }
    }
    // As a condition says it, and as it is written again.
    let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
    if let Ok(condition) = format!("has(body.\"{quoted}\")").parse::<Condition>() {
        let written = condition.to_string();
        // Quotes and escapes may make it longer than one may be.
        if written.len() <= 1024 {
            assert_eq!(written.parse::<Condition>().as_ref(), Ok(&condition), "{written}");
        }
        let _ = condition.evaluate(&Facts::new().status(200).body(body));
    }
});
