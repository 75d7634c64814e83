//! Reading a descriptor never panics; places are inside the input; what
//! serde_json refuses is refused; what is accepted is the same JSON.
//!
//! `RUSTC_BOOTSTRAP=1 cargo fuzz run --fuzz-dir tests/fuzz -s none descriptor`

#![no_main]

use libfuzzer_sys::fuzz_target;
use loopkeeper::host::deploy::Descriptor;
use loopkeeper::shipped;
use loopkeeper::tree::{self, Faults, Node, Place, Value};

fuzz_target!(|bytes: &[u8]| {
    match (tree::parse_bytes("f", bytes), serde_json::from_slice::<serde_json::Value>(bytes)) {
        (Ok(node), Ok(json)) => {
            assert_eq!(node.to_json(), json);
            inside_all(&node, bytes);
            if let Err(faults) = Descriptor::parse("f", bytes, &shipped::registry()) {
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
