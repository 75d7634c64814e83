//! Reading a run, its checkpoints or the answer to a restore from any document
//! never panics; what is read can be written down and read back; errors are one
//! line.
//!
//! `RUSTC_BOOTSTRAP=1 cargo fuzz run --fuzz-dir tests/fuzz -s none runs`

#![no_main]

use libfuzzer_sys::fuzz_target;
use loopkeeper::pointer::Pointer;
use loopkeeper::recovery::rest::{RunField, RunMapping};
use loopkeeper::recovery::{Checkpoint, TrainingRun};

// The first line has pointers between spaces, the rest is the document.
fuzz_target!(|text: &str| {
    let (pointers, document) = text.split_once('\n').unwrap_or(("", text));
    let Ok(document) = serde_json::from_str(document) else { return };
    let mut mapping = RunMapping::default();
    for (field, pointer) in RunField::ALL.into_iter().zip(pointers.split(' ')) {
        if let Some(pointer) = pointer.parse::<Pointer>().ok().filter(|_| !pointer.is_empty()) {
            mapping = mapping.field(field, pointer);
        }
    }
    match mapping.run(&document) {
        Ok(run) => {
            assert!(!run.training_run_id.is_empty());
            let text = serde_json::to_string(&run).unwrap();
            let again: TrainingRun = serde_json::from_str(&text).unwrap();
            assert_eq!(serde_json::to_string(&again).unwrap(), text);
        }
        Err(error) => assert!(!error.to_string().contains('\n'), "{error}"),
    }
    match mapping.checkpoints(&document) {
        Ok(found) => {
            assert!(found.iter().all(|checkpoint| !checkpoint.path.is_empty()));
            let text = serde_json::to_string(&found).unwrap();
            let again: Vec<Checkpoint> = serde_json::from_str(&text).unwrap();
            assert_eq!(serde_json::to_string(&again).unwrap(), text);
        }
        Err(error) => assert!(!error.to_string().contains('\n'), "{error}"),
    }
    match mapping.restored(&document) {
        Ok(run) => assert!(!run.is_empty()),
        Err(error) => assert!(!error.to_string().contains('\n'), "{error}"),
    }
});
