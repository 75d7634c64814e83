//! Merging a file with the environment never panics, whatever they hold. A
//! merge does not depend on the order of the variables, and each of them has
//! its effect or is refused. What comes out can be read, explained and shown,
//! and no secret is: neither in dumps nor in explanations nor in faults.
//!
//! `RUSTC_BOOTSTRAP=1 cargo fuzz run --fuzz-dir tests/fuzz -s none config`

#![no_main]

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use loopkeeper::config::{Config, Layers, Secret, Snapshot};
use loopkeeper::tree;

fuzz_target!(|bytes: &[u8]| match bytes.split_first() {
    Some((0, rest)) => planted(rest),
    _ => raw(bytes),
});

/// The file, then `NAME=value` for each variable and `key=value` for each
/// setting that begins with a minus, with zeros between.
fn raw(bytes: &[u8]) {
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
        assert!(now.get(key).is_some(), "{key}");
        let _ = read_all(&now, key);
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
}

/// Reads a value in every way and returns what was said of it.
fn read_all(now: &Snapshot, key: &str) -> String {
    let _ = (now.string(key, ""), now.int(key, 0), now.float(key, 0.0), now.bool(key, false));
    let _ = now.duration(key, Duration::ZERO);
    let errors = [
        now.require::<String>(key).err(),
        now.require::<u32>(key).err(),
        now.require::<bool>(key).err(),
        now.require::<Duration>(key).err(),
        now.require::<Secret>(key).err(),
        now.unmarshal_key::<Vec<String>>(key).err(),
        now.unmarshal_key::<(u8, bool)>(key).err(),
        now.unmarshal_key::<HashMap<u8, f32>>(key).err(),
        now.unmarshal_key::<HashMap<String, Secret>>(key).err(),
        now.unmarshal_key::<Result<u128, String>>(key).err(),
        now.unmarshal_key::<Option<std::net::IpAddr>>(key).err(),
    ];
    errors.iter().flatten().map(|error| format!("{} {error:?}\n", error.report())).collect()
}

/// What every planted secret holds, and nothing else does.
const PLANTED: &str = "hunter2";
/// Few keys, so that they meet: twins, prefixes, underscores, secrets.
const KEYS: [&str; 12] =
    ["a", "A", "b", "a_", "_b", "a__b", "maxAge", "max-age", "password", "apiKey", "vault", "token"];

/// A file and variables made from bytes, with secrets where secrets belong.
fn planted(bytes: &[u8]) {
    let mut bytes = bytes.iter().copied();
    let first = object(&mut bytes, 0, false);
    let second = object(&mut bytes, 0, false);
    let n_variables = bytes.next().unwrap_or_default() % 6;
    let variables: Vec<(OsString, OsString)> = (0..n_variables).map(|_| variable(&mut bytes)).collect();
    let reversed: Vec<_> = variables.iter().rev().cloned().collect();
    let base = || Layers::default().text("f", &second).secret("vault").secret("b.maxAge");
    let layers = match serde_json::from_str::<serde_json::Value>(&first) {
        Ok(defaults) => base().defaults(defaults),
        Err(_) => base(),
    };
    let other = layers.clone().environment("APP", reversed);
    let layers = layers.environment("APP", variables.clone());
    let merged = layers.merge();
    let faults = merged.faults();
    let mut said = format!("{merged:?} {layers:?} {faults:?}\n");
    assert_eq!(said, format!("{:?} {other:?} {:?}\n", other.merge(), other.merge().faults()));
    if let Some(faults) = &faults {
        said.push_str(&faults.to_string());
    }
    if let Err(faults) = merged.decode(|o| {
        let _ = o.u32("a").optional();
        let _ = o.string("password").convert(|text| text.parse::<u8>().map_err(|_| text)).optional();
        let _ = o.object("vault", |o| o.done()).optional();
        let _ = o.string_map("b").optional();
        o.done()
    }) {
        said.push_str(&faults.to_string());
    }
    let loose = |now: &Snapshot| match now.string("password", "none") {
        text if text.len() % 2 == 0 => Err(format!("{text} is even")),
        _ => Ok(()),
    };
    if let Err(error) = Config::load(layers.clone().check(loose)) {
        said.push_str(&format!("{} {error:?}", error.report()));
    }
    match Config::load(layers) {
        Err(error) => said.push_str(&format!("{} {error:?}", error.report())),
        Ok(config) => {
            let now = config.snapshot();
            let all = now.explain_all();
            said.push_str(&format!("{now:?} {config:?} {all:?} {}\n", now.redacted()));
            for explanation in &all {
                said.push_str(&format!("{explanation} {}", read_all(&now, &explanation.key)));
            }
            for key in KEYS {
                said.push_str(&read_all(&now, key));
                said.push_str(&now.explain(key).map(|one| one.to_string()).unwrap_or_default());
            }
            if let Ok(before) = Config::load(base()) {
                said.push_str(&now.changes_since(&before.snapshot()).join(" "));
            }
            // Whoever sets a variable finds it, unless what holds it is one
            // secret as a whole.
            for (name, _) in &variables {
                let place = format!("env {}", name.to_string_lossy());
                let is_found = all.iter().any(|explanation| explanation.place.file() == place);
                let name = name.to_string_lossy();
                let is_hidden =
                    ["APP_VAULT__", "APP_B__MAXAGE__"].iter().any(|start| name.starts_with(start));
                assert!(is_found || is_hidden, "{place} has no effect: {now:?}");
            }
        }
    }
    assert!(!said.contains(PLANTED), "{said}");
}

/// One JSON object; `is_secret` when it is below a key that is.
fn object(bytes: &mut impl Iterator<Item = u8>, depth: usize, is_secret: bool) -> String {
    let n_members = bytes.next().unwrap_or_default() % 5;
    let mut members: Vec<String> = Vec::new();
    let mut seen = Vec::new();
    for _ in 0..n_members {
        let key = KEYS[usize::from(bytes.next().unwrap_or_default()) % KEYS.len()];
        if seen.contains(&key) {
            continue;
        }
        seen.push(key);
        // Below a marked key the names are secret, too.
        let is_named = is_secret && depth > 0;
        let name = if is_named { format!("{PLANTED}-{key}") } else { key.to_owned() };
        let is_vault = is_secret || depth == 0 && key == "vault";
        let value = value(bytes, depth, is_vault, is_vault || is_telling(key));
        members.push(format!("{name:?}:{value}"));
    }
    format!("{{{}}}", members.join(","))
}

fn value(bytes: &mut impl Iterator<Item = u8>, depth: usize, is_vault: bool, is_secret: bool) -> String {
    match bytes.next().unwrap_or_default() % 8 {
        0 | 1 if depth < 3 && (is_vault || !is_secret) => object(bytes, depth + 1, is_vault),
        2 => format!("[{},null]", scalar(bytes, is_secret)),
        3 => "null".to_owned(),
        _ => scalar(bytes, is_secret),
    }
}

fn scalar(bytes: &mut impl Iterator<Item = u8>, is_secret: bool) -> String {
    let byte = bytes.next().unwrap_or_default();
    match (is_secret, byte % 4) {
        (true, _) => format!("\"{PLANTED}-{byte}\\n\""),
        (false, 0) => "18446744073709551616".to_owned(),
        (false, 1) => "true".to_owned(),
        (false, 2) => "-1.5e3".to_owned(),
        (false, _) => "\"1m30s\"".to_owned(),
    }
}

fn is_telling(key: &str) -> bool {
    ["password", "apiKey", "token"].contains(&key)
}

fn variable(bytes: &mut impl Iterator<Item = u8>) -> (OsString, OsString) {
    let n_keys = 1 + bytes.next().unwrap_or_default() % 3;
    let mut key = || KEYS[usize::from(bytes.next().unwrap_or_default()) % KEYS.len()];
    let keys: Vec<&str> = (0..n_keys).map(|_| key()).collect();
    let is_secret = keys[0] == "vault" || keys.iter().any(|key| is_telling(key)) || keys == ["b", "maxAge"];
    let name = format!("APP_{}", keys.join("__").to_uppercase().replace('-', "_"));
    let byte = bytes.next().unwrap_or_default();
    let value = match (is_secret, byte % 4) {
        (true, 0) => format!("{{\"{PLANTED}\": \"{PLANTED}\"}}"),
        (true, _) => format!("{PLANTED}-{byte}"),
        (false, 0) => "12345".to_owned(),
        (false, 1) => "[1, \"x\"]".to_owned(),
        (false, 2) => String::new(),
        (false, _) => "{\"a\": 1}".to_owned(),
    };
    (name.into(), value.into())
}
