//! Reading items from any document never panics; every item has a name, and a
//! reason where it is not ready; names and reasons are one line.
//!
//! `RUSTC_BOOTSTRAP=1 cargo fuzz run --fuzz-dir tests/fuzz -s none items`

#![no_main]

use libfuzzer_sys::fuzz_target;
use loopkeeper::Health;
use loopkeeper::monitor::check::{ItemMap, fuzz_link};
use loopkeeper::pointer::Pointer;

// The first line has pointers between spaces, the rest is the document.
fuzz_target!(|text: &str| {
    let (pointers, document) = text.split_once('\n').unwrap_or(("/state", text));
    fuzz_link(pointers);
    let mut pointers = pointers.split(' ').filter_map(|text| text.parse::<Pointer>().ok());
    let Ok(document) = serde_json::from_str(document) else { return };
    let mut map = ItemMap::new(pointers.next().unwrap_or_default())
        .ready(["ok", "true", "1"])
        .down(["bad", "false"])
        .otherwise(Health::Degraded);
    let setters = [ItemMap::items, ItemMap::name, ItemMap::group_by, ItemMap::message, ItemMap::require];
    for (set, pointer) in setters.into_iter().zip(pointers) {
        map = set(map, pointer);
    }
    match map.states(&document) {
        Ok(states) => {
            for (name, state) in states {
                assert!(!name.is_empty() && !name.contains('\n'), "{name:?}");
                assert_eq!(state.reason.is_none(), state.health == Health::Ready, "{name}");
                assert!(state.reason.is_none_or(|reason| !reason.contains('\n')), "{name}");
            }
        }
        Err(error) => assert!(!error.to_string().contains('\n'), "{error}"),
    }
});
