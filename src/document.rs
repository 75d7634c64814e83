//! JSON as services send it.
//!
//! A number of JSON has no range (RFC 8259 section 6), a double has: one that
//! is beyond it counts as the double nearest to it, the largest or the least
//! that there is. So it is compared as what it is, larger than what it is
//! compared with, and the rest of its document can be looked at.

use std::ops::Range;

use serde::de::IgnoredAny;
use serde_json::{Error, Number, Value};

/// The largest double. That it is read as such needs `float_roundtrip`.
const LARGEST: &str = "1.7976931348623157e308";

/// Reads a document.
pub(crate) fn read(text: &str) -> Result<Value, Error> {
    match serde_json::from_str(text) {
        Err(flaw) if flaw.to_string().starts_with("number out of range") => {}
        read => return read,
    }
    // What comes later may be wrong, too: in its grammar, which alone this looks
    // at, or else, which is told with its place in a text of the same lengths.
    serde_json::from_str::<IgnoredAny>(text)?;
    serde_json::from_str::<Value>(&held(text, |out, number| {
        out.push('0');
        out.extend(std::iter::repeat_n(' ', number.len() - 1));
    }))?;
    serde_json::from_str(&held(text, |out, number| {
        out.push_str(if number.starts_with('-') { "-" } else { "" });
        out.push_str(LARGEST);
    }))
}

/// The same document, which is grammatical, with something `instead` of each
/// number out of range.
fn held(text: &str, instead: impl Fn(&mut String, &str)) -> String {
    let mut held = String::new();
    let (mut copied, mut from) = (0, 0);
    while let Some(Range { start, end }) = number(text.as_bytes(), from) {
        if serde_json::from_str::<Number>(&text[start..end]).is_err() {
            held.push_str(&text[copied..start]);
            instead(&mut held, &text[start..end]);
            copied = end;
        }
        from = end;
    }
    held.push_str(&text[copied..]);
    held
}

/// Where the next number is, from a place outside of strings.
fn number(text: &[u8], from: usize) -> Option<Range<usize>> {
    let mut at = from;
    loop {
        match text.get(at)? {
            b'"' => at = after_string(text, at),
            b'-' | b'0'..=b'9' => break,
            _ => at += 1,
        }
    }
    let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
    let len = text[at..].iter().take_while(|byte| is_part(byte)).count();
    Some(at..at + len)
}

/// The place behind a string that begins at `at`.
fn after_string(text: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    loop {
        match text.get(at) {
            Some(b'\\') => at += 2,
            Some(b'"') | None => return at + 1,
            Some(_) => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn a_number_beyond_a_double_counts_as_the_last_one() {
        for (text, value) in [
            ("1e999", json!(f64::MAX)),
            ("-1e999", json!(f64::MIN)),
            ("1E+309", json!(f64::MAX)),
            (r#"{"a":1e999,"b":"x"}"#, json!({"a": f64::MAX, "b": "x"})),
            ("[ -2e308 , 1.5, 7]", json!([f64::MIN, 1.5, 7])),
            (
                r#"{"1e999":"-1e999","\"1e999":["\\",1e400]}"#,
                json!({"1e999": "-1e999", "\"1e999": ["\\", f64::MAX]}),
            ),
            (
                "[1e-999,1.7976931348623157e308,18446744073709551616]",
                json!([0.0, f64::MAX, 1.8446744073709552e19]),
            ),
        ] {
            assert_eq!(read(text).unwrap(), value, "{text}");
        }
        let long = format!("[{},-{}]", "9".repeat(400), "9".repeat(400));
        assert_eq!(read(&long).unwrap(), json!([f64::MAX, f64::MIN]));
    }

    #[test]
    fn what_is_no_json_is_none_for_a_number_in_it() {
        for (text, flaw) in [
            ("", "EOF while parsing a value at line 1 column 0"),
            ("[1,]", "trailing comma at line 1 column 4"),
            ("[1e5e5]", "expected `,` or `]` at line 1 column 5"),
            ("[01]", "invalid number at line 1 column 3"),
            ("1e", "EOF while parsing a value at line 1 column 2"),
            ("[1e999 ", "EOF while parsing a list at line 1 column 7"),
            ("[1e999,\n-]", "invalid number at line 2 column 2"),
            ("[1e999] 1", "trailing characters at line 1 column 9"),
            (r#"{"a":1e999,"b":}"#, "expected value at line 1 column 16"),
            (r#"["\ud800", "1e999"]"#, "unexpected end of hex escape at line 1 column 9"),
            (r#"[1e999,"\ud800"]"#, "unexpected end of hex escape at line 1 column 15"),
        ] {
            assert_eq!(read(text).unwrap_err().to_string(), flaw, "{text}");
        }
        let deep = format!("{}1e999{}", "[".repeat(200), "]".repeat(200));
        let flaw = read(&deep).unwrap_err().to_string();
        assert!(flaw.starts_with("recursion limit exceeded"), "{flaw}");
    }

    /// A document, and the same one where each number is in range.
    fn documents() -> impl Strategy<Value = (String, String)> {
        let twice = |text: &str| (text.to_owned(), text.to_owned());
        let leaf = prop_oneof![
            Just(("1e999".to_owned(), LARGEST.to_owned())),
            Just(("-9e400".to_owned(), format!("-{LARGEST}"))),
            any::<f64>().prop_map(move |n| twice(&json!(n).to_string())),
            any::<i64>().prop_map(move |n| twice(&n.to_string())),
            "[1e9\"\\\\\\PC]{0,6}".prop_map(move |text| twice(&json!(text).to_string())),
            Just(twice(" null\n")),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            let key = "[1e9\"\\\\]{0,4}";
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(|all| {
                    let (a, b): (Vec<_>, Vec<_>) = all.into_iter().unzip();
                    (format!("[{}]", a.join(",")), format!("[{}]", b.join(" ,")))
                }),
                prop::collection::vec((key, inner), 0..5).prop_map(|all| {
                    let member = |(key, (a, b)): (String, (String, String))| {
                        let key = json!(key);
                        (format!("{key}:{a}"), format!("{key} :{b}"))
                    };
                    let (a, b): (Vec<_>, Vec<_>) = all.into_iter().map(member).unzip();
                    (format!("{{{}}}", a.join(",")), format!("{{{}}}", b.join(",")))
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn only_such_numbers_are_read_otherwise((text, in_range) in documents()) {
            let expected: Value = serde_json::from_str(&in_range).unwrap();
            prop_assert_eq!(read(&text).unwrap(), expected);
        }

        #[test]
        fn what_is_read_is_grammatical(text in "[1e9.\\-,\\[\\]{}:\"\\\\ ]{0,16}") {
            if read(&text).is_ok() {
                prop_assert!(serde_json::from_str::<IgnoredAny>(&text).is_ok());
            }
        }
    }
}
