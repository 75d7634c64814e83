//! Merging a file with the environment never panics, whatever they hold; what
//! comes out can be read, explained and shown, and no secret is shown.
//!
//! `RUSTC_BOOTSTRAP=1 cargo fuzz run --fuzz-dir tests/fuzz -s none config`

#![no_main]

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use loopkeeper::config::{Config, Layers, Secret};
use loopkeeper::tree;

/// The file, then `NAME=value` for each variable and `key=value` for each
/// setting that begins with a minus, with zeros between.
fuzz_target!(|bytes: &[u8]| {
    let mut parts = bytes.split(|&byte| byte == 0);
    let file = parts.next().unwrap_or_default();
    let mut layers = Layers::default().text("f", file).secret("db.password");
    for part in parts.take(8) {
        let (name, value) = match part.iter().position(|&byte| byte == b'=') {
            Some(at) => (&part[..at], &part[at + 1..]),
            None => (part, &part[..0]),
        };
        if let Some(key) = name.strip_prefix(b"-") {
            layers = layers.set(&String::from_utf8_lossy(key), String::from_utf8_lossy(value));
            continue;
        }
        let name = [b"APP_", name].concat();
        let variable = (OsString::from_vec(name), OsString::from_vec(value.to_vec()));
        layers = layers.environment("APP", [variable]);
    }
    let merged = layers.merge();
    let _ = format!("{merged:?} {layers:?}");
    // A secret's own file would be whatever the input names.
    let names_file = file.windows(5).any(|window| window == b"_file")
        || bytes.to_ascii_lowercase().windows(5).any(|window| window == b"_file");
    if let Err(faults) = merged.settings() {
        assert!(faults.iter().all(|fault| !fault.to_string().contains('\n')), "{faults}");
    }
    let config = match Config::load(layers) {
        Ok(config) => config,
        Err(error) => {
            assert!(!error.report().to_string().is_empty());
            return;
        }
    };
    let now = config.snapshot();
    for explanation in now.explain_all() {
        let key = &explanation.key;
        assert!(!explanation.to_string().is_empty());
        // A key that was cut short in print cannot be found again.
        if !key.contains("..") {
            assert!(now.get(key).is_some(), "{key}");
        }
        let _ = (now.string(key, ""), now.int(key, 0), now.float(key, 0.0), now.bool(key, false));
        let _ = (now.duration(key, Duration::ZERO), now.optional::<u32>(key), now.optional::<Secret>(key));
        let _ = now.unmarshal_key::<Vec<String>>(key);
    }
    if let Ok(json) = now.unmarshal::<serde_json::Value>() {
        assert!(json.is_object());
    }
    if now.is_set("db.password") {
        assert_eq!(now.redacted()["db"]["password"], "<secret>");
    }
    assert!(now.changes_since(&now).is_empty());
    assert!(names_file || !config.reload().expect("the same input").has_changed());
    let _ = tree::parse("f", &now.redacted().to_string()).expect("what is shown is JSON");
});
