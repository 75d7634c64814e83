//! Reading a descriptor never panics; places are inside the input; what
//! serde_json refuses is refused; what is accepted is the same JSON.
//!
//! `RUSTC_BOOTSTRAP=1 cargo fuzz run --fuzz-dir tests/fuzz -s none descriptor`

#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use loopkeeper::decode::{self, Object};
use loopkeeper::tree::{self, Faults, Node, Place, Value};

fuzz_target!(|bytes: &[u8]| {
    match (tree::parse_bytes("f", bytes), serde_json::from_slice::<serde_json::Value>(bytes)) {
        (Ok(node), Ok(json)) => {
            assert_eq!(node.to_json(), json);
            inside_all(&node, bytes);
            if let Err(faults) = decode::object(&node, "", descriptor) {
                inside_faults(&faults, bytes);
            }
        }
        (Ok(node), Err(error)) => panic!("accepted {node:?}, but {error}"),
        (Err(faults), json) => {
            inside_faults(&faults, bytes);
            // The only things that serde_json takes and the tree does not.
            let strict = faults.iter().all(|fault| {
                ["stands twice", "nests deeper"].iter().any(|start| fault.message.starts_with(start))
            });
            assert!(json.is_err() || strict, "refused good JSON: {faults}");
        }
    }
});

/// Reads the shape of a watcher's descriptor. What comes out does not matter.
fn descriptor(o: &mut Object<'_, '_>) -> Option<()> {
    let name = o.name("name").required();
    let kind = o.string("type").check(|kind| if kind == "watcher" { Ok(()) } else { Err("unknown type") });
    let kind = kind.required();
    let _ = o.bool("enabled").or(true);
    let _ = o.strings("requires").or_default();
    let config = o.object("config", watcher).required();
    let done = o.done()?;
    name.take(done).expect("done, so it is there");
    kind.take(done).expect("done, so it is there");
    config.take(done)
}

fn watcher(o: &mut Object<'_, '_>) -> Option<()> {
    let probe = o
        .one_of("probe")
        .case("http", |o| {
            let url = o.string("url").required();
            let _ = o.string_map("headers").or_default();
            url.take(o.done()?).map(drop)
        })
        .case("exec", |o| o.strings("command").required().take(o.done()?).map(drop))
        .case("disk", |o| {
            let path = o.string("path").required();
            let min_free = o.size("min_free").required();
            let done = o.done()?;
            path.take(done)?;
            min_free.take(done).map(drop)
        })
        .end()
        .required();
    let _ = o.object("backoff", |o| {
        let _ = o.duration_or_zero("initial_delay").or(Duration::from_secs(2));
        let _ = o.duration("max_delay").at_least(Duration::from_secs(1)).optional();
        let _ = o.f64("multiplier").at_least(1.0).or(2.0);
        let _ = o.u64("max_retries").or(10);
        Some(())
    });
    let _ = o.u32("failure_threshold").at_least(1).or(1);
    let _ = o.objects("checks", |o| o.value("any").required().take(o.done()?).map(drop)).optional();
    probe.take(o.done()?)
}

fn inside_all(node: &Node, bytes: &[u8]) {
    inside(&node.place, bytes);
    match &node.value {
        Value::Array(nodes) => nodes.iter().for_each(|node| inside_all(node, bytes)),
        Value::Object(members) => members.iter().for_each(|member| {
            inside(&member.key_place, bytes);
            assert_eq!(at(&member.key_place, bytes), Some(b'"'));
            inside_all(&member.node, bytes);
        }),
        _ => {}
    }
    let first = at(&node.place, bytes).expect("a value begins somewhere");
    assert!(match &node.value {
        Value::Null => first == b'n',
        Value::Bool(truth) => first == if *truth { b't' } else { b'f' },
        Value::Number(text) => text.as_bytes().first() == Some(&first),
        Value::String(_) => first == b'"',
        // Parsing makes none.
        Value::Raw(_) => false,
        Value::Array(_) => first == b'[',
        Value::Object(_) => first == b'{',
    });
}

fn inside_faults(faults: &Faults, bytes: &[u8]) {
    assert!(faults.iter().next().is_some(), "faults are never none");
    for fault in faults {
        inside(&fault.place, bytes);
        assert!(!fault.to_string().contains('\n'), "a fault is one line");
    }
}

/// Checks that a place is in the text, or directly after one of its lines.
fn inside(place: &Place, bytes: &[u8]) {
    let line = line(place, bytes).expect("the line exists");
    let characters = String::from_utf8_lossy(line).chars().count();
    assert!((1..=characters + 1).contains(&(place.column() as usize)), "{place} is outside");
}

fn line<'a>(place: &Place, bytes: &'a [u8]) -> Option<&'a [u8]> {
    bytes.split(|&byte| byte == b'\n').nth(place.line() as usize - 1)
}

/// The first byte at a place of a valid text.
fn at(place: &Place, bytes: &[u8]) -> Option<u8> {
    let line = std::str::from_utf8(line(place, bytes)?).ok()?;
    let (idx, _) = line.char_indices().nth(place.column() as usize - 1)?;
    Some(line.as_bytes()[idx])
}
