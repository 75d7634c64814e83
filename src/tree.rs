//! Configuration as a tree in which every key and value knows its place.
//!
//! JSON text becomes [`Node`]s that remember file, line and column, so that
//! whoever refuses a value can say where it stands. The text is read strictly:
//! keys stand once, no comments, no byte order mark, fewer than
//! [`MAX_DEPTH`] levels. serde_json does the reading; what this module adds
//! are the places. What the values mean is the business of
//! [`decode`](crate::decode).

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

mod fault;
mod overlay;
mod read;

pub use fault::{Fault, Faults};
pub(crate) use fault::{join, join_idx};
pub use read::{parse, parse_bytes};

/// The depth at which an object or a list is refused: far deeper than people
/// write, and shallow enough for the small stack of a loop's thread.
pub const MAX_DEPTH: usize = 32;

/// The longest key, in characters: paths hold all keys from the top, and
/// there is one for each value.
pub const MAX_KEY_LEN: usize = 256;

/// Where a key or a value stands.
///
/// Prints as `FILE:LINE:COLUMN`. A source without lines, such as a variable
/// of the environment, prints as its name alone. Cloning shares the name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    file: Arc<str>,
    line: u32,
    column: u32,
    /// The string that begins here as it is written, where that is longer than
    /// most would write it.
    written: Option<Arc<str>>,
}

impl Place {
    /// Makes the place of a source that has no lines.
    ///
    /// # Examples
    ///
    /// ```
    /// use loopkeeper::tree::Place;
    ///
    /// assert_eq!(Place::whole("env LOOPKEEPER_HTTP__LISTEN").to_string(), "env LOOPKEEPER_HTTP__LISTEN");
    /// ```
    #[must_use]
    pub fn whole(source: impl Into<Arc<str>>) -> Self {
        Self { file: source.into(), line: 0, column: 0, written: None }
    }

    /// The file, or the name of a source without lines.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The line, counted from 1; 0 for a source without lines.
    #[must_use]
    pub fn line(&self) -> u32 {
        self.line
    }

    /// The column in characters, counted from 1; 0 for a source without lines.
    #[must_use]
    pub fn column(&self) -> u32 {
        self.column
    }

    /// The place of a byte of the string that begins here, with its quotes.
    pub(crate) fn inside_string(&self, text: &str, at: usize) -> Self {
        if self.line == 0 {
            return self.clone();
        }
        let escaped = |c: char| u32::from(matches!(c, '"' | '\\') || c.is_ascii_control() && c != '\u{7f}');
        let before: u32 = match &self.written {
            Some(written) => written_before(written, at),
            None => text[..at].chars().map(|c| 1 + escaped(c)).sum(),
        };
        Self { column: self.column + 1 + before, written: None, ..self.clone() }
    }
}

/// How many characters of a JSON string stand between its quote and what
/// becomes the byte `at` of its text.
fn written_before(written: &str, at: usize) -> u32 {
    let mut rest = written.get(1..).unwrap_or_default();
    let (mut chars, mut bytes) = (0, 0);
    while bytes < at {
        let Some(first) = rest.chars().next() else { break };
        let code = rest.strip_prefix("\\u").and_then(|digits| digits.get(..4));
        let code = code.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        // Its characters, its bytes, and those that it becomes. Escapes are
        // ASCII.
        let (wide, len, becomes) = match (first, code) {
            // One half of a pair, and the other.
            ('\\', Some(0xd800..=0xdfff)) => (12, 12, 4),
            ('\\', Some(code)) => (6, 6, char::from_u32(code).map_or(0, char::len_utf8)),
            ('\\', None) => (2, 2, 1),
            (plain, _) => (1, plain.len_utf8(), plain.len_utf8()),
        };
        chars += wide;
        bytes += becomes;
        rest = rest.get(len..).unwrap_or_default();
    }
    chars
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A value and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Where the value begins.
    pub place: Place,
    /// The value.
    pub value: Value,
}

/// What a [`Node`] holds. Closed: the kinds of JSON, and [`Raw`](Self::Raw).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number as it was written, so that nothing is lost before its use
    /// is known.
    Number(Box<str>),
    /// A text, its escapes resolved.
    String(String),
    /// A text from outside a file, such as a variable of the environment: it
    /// is whatever its reader takes it for, so that `12345` can be a password
    /// and a number. Parsing makes none.
    Raw(String),
    /// A list.
    Array(Vec<Node>),
    /// Keys with values.
    Object(Members),
}

/// A key of an object with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The key, its escapes resolved.
    pub key: String,
    /// Where the key begins.
    pub key_place: Place,
    /// The value.
    pub node: Node,
}

/// The members of an object in the order of the file. A key stands once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Members(Vec<Member>);

impl Members {
    /// The places by their keys, to find many: two large objects must not take
    /// squared time.
    pub(crate) fn places(&self) -> HashMap<&str, usize> {
        self.0.iter().enumerate().map(|(idx, member)| (&*member.key, idx)).collect()
    }

    /// Finds the member with this key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Member> {
        self.0.iter().find(|member| member.key == key)
    }

    /// Finds the member with this key, to change it.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Member> {
        self.0.iter_mut().find(|member| member.key == key)
    }

    /// Adds a member, or replaces the one with the same key where it stands
    /// and returns the old one.
    pub fn insert(&mut self, member: Member) -> Option<Member> {
        match self.get_mut(&member.key) {
            Some(old) => Some(std::mem::replace(old, member)),
            None => {
                self.0.push(member);
                None
            }
        }
    }

    /// Removes the member with this key and returns it.
    pub fn remove(&mut self, key: &str) -> Option<Member> {
        let idx = self.0.iter().position(|member| member.key == key)?;
        Some(self.0.remove(idx))
    }

    /// Visits the members in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Member> {
        self.0.iter()
    }

    /// Visits the values, to change them.
    pub(crate) fn nodes_mut(&mut self) -> impl Iterator<Item = &mut Node> {
        self.0.iter_mut().map(|member| &mut member.node)
    }

    /// The number of members.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Tells whether there are no members.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> IntoIterator for &'a Members {
    type Item = &'a Member;
    type IntoIter = std::slice::Iter<'a, Member>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl IntoIterator for Members {
    type Item = Member;
    type IntoIter = std::vec::IntoIter<Member>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl Node {
    /// Makes a node.
    #[must_use]
    pub fn new(place: Place, value: Value) -> Self {
        Self { place, value }
    }

    /// Finds the value of a key; `None` when there is none or this is not an
    /// object.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Node> {
        match &self.value {
            Value::Object(members) => members.get(key).map(|member| &member.node),
            _ => None,
        }
    }

    /// Whether two trees hold the same, wherever it stands and in whichever
    /// order.
    #[must_use]
    pub fn has_same_values(&self, other: &Self) -> bool {
        match (&self.value, &other.value) {
            (Value::Array(ours), Value::Array(theirs)) => {
                ours.len() == theirs.len()
                    && ours.iter().zip(theirs).all(|(ours, theirs)| ours.has_same_values(theirs))
            }
            (Value::Object(ours), Value::Object(theirs)) => {
                // The key table keeps large objects from taking squared time.
                let places = theirs.places();
                ours.len() == theirs.len()
                    && ours.iter().all(|member| {
                        let place = places.get(&*member.key);
                        place.is_some_and(|&idx| member.node.has_same_values(&theirs.0[idx].node))
                    })
            }
            (ours, theirs) => ours == theirs,
        }
    }

    /// How many levels of lists and objects there are.
    pub(crate) fn depth(&self) -> usize {
        match &self.value {
            Value::Array(nodes) => 1 + nodes.iter().map(Self::depth).max().unwrap_or_default(),
            Value::Object(members) => {
                1 + members.iter().map(|member| member.node.depth()).max().unwrap_or_default()
            }
            _ => 0,
        }
    }

    /// A list or an object that was written as raw text, as such; any other
    /// node as it is. Its values all stand at the place of the text.
    pub(crate) fn as_written(&self) -> Cow<'_, Self> {
        if let Value::Raw(text) = &self.value {
            if text.trim_start().starts_with(['[', '{']) {
                if let Ok(node) = parse("", text) {
                    return Cow::Owned(node.moved(&self.place));
                }
            }
        }
        Cow::Borrowed(self)
    }

    /// Gives all nodes of the tree one place.
    pub(crate) fn moved(self, place: &Place) -> Self {
        let value = match self.value {
            Value::Array(nodes) => Value::Array(nodes.into_iter().map(|node| node.moved(place)).collect()),
            Value::Object(members) => {
                let members = members.into_iter().map(|Member { key, node, .. }| Member {
                    key,
                    key_place: place.clone(),
                    node: node.moved(place),
                });
                Value::Object(Members(members.collect()))
            }
            value => value,
        };
        Self::new(place.clone(), value)
    }

    /// Turns the tree into plain JSON without places.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(truth) => (*truth).into(),
            // A number that was not made by `parse` may be none.
            Value::Number(text) => serde_json::from_str::<serde_json::Number>(text)
                .map_or_else(|_| (**text).into(), serde_json::Value::Number),
            Value::String(text) | Value::Raw(text) => text.as_str().into(),
            Value::Array(nodes) => nodes.iter().map(Self::to_json).collect(),
            Value::Object(members) => {
                crate::order::json(members.iter().map(|member| (member.key.clone(), member.node.to_json())))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, ErrorKind};
    use proptest::prelude::*;

    /// Every value as `path=LINE:COLUMN`, keys as `path@LINE:COLUMN`.
    fn places(node: &Node, path: &str, found: &mut Vec<String>) {
        found.push(format!("{path}={}:{}", node.place.line(), node.place.column()));
        match &node.value {
            Value::Array(nodes) => {
                for (idx, node) in nodes.iter().enumerate() {
                    places(node, &join_idx(path, idx), found);
                }
            }
            Value::Object(members) => {
                for member in members {
                    let path = join(path, &member.key);
                    found.push(format!("{path}@{}:{}", member.key_place.line(), member.key_place.column()));
                    places(&member.node, &path, found);
                }
            }
            _ => {}
        }
    }

    #[test]
    fn every_key_and_value_knows_its_place() {
        for (text, expected) in [
            ("1", "=1:1"),
            ("\n\n  true", "=3:3"),
            ("{\"a\":1}", "=1:1 a@1:2 a=1:6"),
            (
                "{\n  \"a\": [1,\n 2],\n\t\"b\": {\"c\": null}\n}",
                "=1:1 a@2:3 a=2:8 a[0]=2:9 a[1]=3:2 b@4:2 b=4:7 b.c@4:8 b.c=4:13",
            ),
            (
                "{\"ä\u{1f600}\": \"ö\", \"b\" : -0.0}",
                "=1:1 \"ä\u{1f600}\"@1:2 \"ä\u{1f600}\"=1:8 b@1:13 b=1:19",
            ),
            ("{\r\n\"a\": 1}\r\n", "=1:1 a@2:1 a=2:6"),
            ("[[],{},\"\"]", "=1:1 [0]=1:2 [1]=1:5 [2]=1:8"),
        ] {
            let node = parse("f", text).unwrap();
            let mut found = Vec::new();
            places(&node, "", &mut found);
            assert_eq!(found.join(" "), expected, "{text}");
            assert_eq!(node.to_json(), serde_json::from_str::<serde_json::Value>(text).unwrap());
        }
    }

    #[test]
    fn numbers_keep_their_text_and_strings_lose_their_escapes() {
        let node = parse("f", r#"[1.50, 18446744073709551616, "a\u00e4\n\ud83d\ude00", "\u0061"]"#).unwrap();
        let Value::Array(nodes) = node.value else { panic!("not a list") };
        let values: Vec<Value> = nodes.into_iter().map(|node| node.value).collect();
        assert_eq!(
            values,
            [
                Value::Number("1.50".into()),
                Value::Number("18446744073709551616".into()),
                Value::String("aä\n\u{1f600}".to_owned()),
                Value::String("a".to_owned()),
            ]
        );
    }

    #[test]
    fn what_is_wrong_with_the_text_is_said_with_its_place() {
        for (text, expected) in [
            ("", "f:1:1: is empty"),
            (" \r\n\t\n", "f:1:1: is empty"),
            ("\u{feff}{}", "f:1:1: begins with a byte order mark; save the file as UTF-8 without one"),
            ("{", "f:1:1: EOF while parsing an object"),
            ("{\n", "f:2:1: EOF while parsing an object"),
            ("{\"a\": 1,}", "f:1:9: trailing comma"),
            ("{\"a\" 1}", "f:1:6: expected `:`"),
            ("{\"ä\": x}", "f:1:7: expected value"),
            ("{\n  a: 1}", "f:2:3: key must be a string"),
            ("{1: 1}", "f:1:2: key must be a string"),
            ("[1, 2", "f:1:5: EOF while parsing a list"),
            ("// note\n{}", "f:1:1: expected value"),
            ("{} {}", "f:1:4: trailing characters"),
            ("\u{a0}{}", "f:1:1: expected value"),
            ("nul", "f:1:3: EOF while parsing a value"),
            ("01", "f:1:2: invalid number"),
            ("NaN", "f:1:1: expected value"),
            ("\"a\nb\"", "f:2:1: control character (\\u0000-\\u001F) found while parsing a string"),
            ("[\"\\x\"]", "f:1:4: invalid escape"),
            ("\0\0\0\0", "f:1:1: expected value"),
            // The grammar lets these through; their values do not exist.
            ("{\"a\": [1e999]}", "f:1:8: a[0]: number out of range"),
            (r#"{"a": "\ud800"}"#, "f:1:14: a: unexpected end of hex escape"),
            (r#"{"a": {"\udc00": 1}}"#, "f:1:14: a: lone leading surrogate in hex escape"),
        ] {
            assert_eq!(parse("f", text).unwrap_err().to_string(), expected, "{text:?}");
            assert_eq!(parse_bytes("f", text.as_bytes()).unwrap_err().to_string(), expected, "{text:?}");
        }
        for (bytes, expected) in [
            (&b"\xff\xfe{\0"[..], "f:1:1: is not UTF-8 text: found byte 0xff"),
            (b"{\n\"\xc3\xa4\": \"\xe4\"}", "f:2:7: is not UTF-8 text: found byte 0xe4"),
            (b"{}\xc3", "f:1:3: is not UTF-8 text: found byte 0xc3"),
        ] {
            assert_eq!(parse_bytes("f", bytes).unwrap_err().to_string(), expected, "{bytes:?}");
        }
    }

    #[test]
    fn every_second_key_is_found_at_once() {
        let text = "{\"a\": 1,\n \"b\": {\"c\": 1, \"\\u0063\": 2},\n \"a\": 3, \"a\": {\"x\": 1, \"x\": 1e999},\n \"A\": 1}";
        assert_eq!(
            parse("dir/f.json", text).unwrap_err().to_string(),
            "dir/f.json:2:16: b.c: stands twice, first at dir/f.json:2:8\n\
             dir/f.json:3:2: a: stands twice, first at dir/f.json:1:2\n\
             dir/f.json:3:10: a: stands twice, first at dir/f.json:1:2\n\
             dir/f.json:3:24: a.x: stands twice, first at dir/f.json:3:16\n\
             dir/f.json:3:29: a.x: number out of range"
        );
    }

    #[test]
    fn depth_is_bounded() {
        let nest = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse("f", &nest(MAX_DEPTH - 1)).is_ok());
        let error = parse("f", &nest(MAX_DEPTH)).unwrap_err().to_string();
        assert!(error.starts_with("f:1:32: [0][0]"), "{error}");
        assert!(error.ends_with(": nests deeper than 31 levels"), "{error}");
        assert!(parse("f", &nest(200_000)).is_err());
        let objects = format!("{}1{}", "{\"a\":".repeat(MAX_DEPTH), "}".repeat(MAX_DEPTH));
        assert!(parse("f", &objects).unwrap_err().to_string().contains(": nests deeper than 31 levels"));
        assert!(parse("f", &"[".repeat(200_000)).is_err());
    }

    #[test]
    fn a_long_line_takes_linear_time() {
        // Quadratic, this is 10^11 steps.
        let text = format!("[{}1]", "1,".repeat(200_000));
        let node = parse("f", &text).unwrap();
        let Value::Array(nodes) = node.value else { panic!("not a list") };
        assert_eq!(nodes.last().unwrap().place.column(), 400_002);
        let text = format!("{{{}\"z\":1}}", (0..50_000).map(|i| format!("\"{i}\":1,")).collect::<String>());
        assert!(parse("f", &text).is_ok());
    }

    #[test]
    fn paths_stay_readable_and_on_one_line() {
        for (path, key, joined) in [
            ("", "a", "a"),
            ("a", "b_c-1", "a.b_c-1"),
            ("a[0]", "b", "a[0].b"),
            ("a", "x.y", "a.\"x.y\""),
            ("a", "", "a.\"\""),
            ("", "a\nb", "\"a\\nb\""),
            ("", "a: b", "\"a: b\""),
        ] {
            assert_eq!(join(path, key), joined);
        }
    }

    #[test]
    fn faults_become_an_error_and_are_never_none() {
        assert_eq!(Faults::collect(Vec::new()), None);
        let faults = parse("f", "{\"a\":1,\"a\":1}").unwrap_err();
        let error = Error::from(faults.clone());
        assert_eq!(error.kind(), ErrorKind::Config);
        assert_eq!(error.report().to_string(), "f:1:8: a: stands twice, first at f:1:2");
        assert_eq!(faults.into_vec().len(), 1);
        let fault = Fault { place: Place::whole("env X"), key: "a".to_owned(), message: "no".to_owned() };
        assert_eq!(fault.to_string(), "env X: a: no");
    }

    #[test]
    fn members_are_replaced_where_they_stand() {
        let Value::Object(mut members) = parse("f", "{\"a\":1,\"b\":2}").unwrap().value else {
            panic!("not an object")
        };
        let place = Place::whole("env A");
        let node = Node::new(place.clone(), Value::Bool(true));
        let member = |key: &str| Member { key: key.to_owned(), key_place: place.clone(), node: node.clone() };
        assert_eq!(members.insert(member("a")).unwrap().node.value, Value::Number("1".into()));
        assert!(members.insert(member("c")).is_none());
        assert_eq!(members.iter().map(|member| &*member.key).collect::<Vec<_>>(), ["a", "b", "c"]);
        assert!(members.remove("b").is_some() && members.remove("b").is_none());
        assert_eq!(members.len(), 2);
    }

    proptest! {
        #[test]
        fn what_serde_json_refuses_is_refused(text in "[\\[\\]{}:,\"a-c0-9.eE+\\\\u \\n-]{0,40}") {
            let ours = parse("f", &text);
            match (&ours, serde_json::from_str::<serde_json::Value>(&text)) {
                (Ok(node), Ok(value)) => prop_assert_eq!(node.to_json(), value),
                (Ok(_), Err(error)) => prop_assert!(false, "accepted {:?}: {}", text, error),
                (Err(faults), theirs) => {
                    let strict = |fault: &Fault| {
                        ["stands twice", "nests deeper"].iter().any(|start| fault.message.starts_with(start))
                    };
                    prop_assert!(theirs.is_err() || faults.iter().all(strict), "refused {:?}", text);
                }
            }
        }
    }

    /// Every way to write a character in JSON.
    fn spellings(c: char) -> Vec<String> {
        let mut units = [0; 2];
        let units = c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}"));
        let mut all = vec![units.collect()];
        all.extend(match c {
            '"' | '\\' | '/' => Some(format!("\\{c}")),
            '\t' => Some("\\t".to_owned()),
            '\u{8}' => Some("\\b".to_owned()),
            _ => None,
        });
        if !matches!(c, '"' | '\\' | '\0'..='\u{1f}') {
            all.push(c.to_string());
        }
        all
    }

    proptest! {
        #[test]
        fn the_place_inside_a_string_is_where_it_stands(
            written in prop::collection::vec(
                prop::sample::select(vec!['a', '"', '\\', '/', 'ü', '字', '😀', '\t', '\u{8}', '\u{1}', '\u{7f}'])
                    .prop_flat_map(|c| (Just(c), prop::sample::select(spellings(c)))),
                0..12,
            )
        ) {
            let text: String = written.iter().map(|(_, spelling)| spelling.as_str()).collect();
            let node = parse("f", &format!("[\n  \"{text}\"]")).unwrap();
            let Value::Array(nodes) = &node.value else { panic!("a list") };
            let Value::String(text) = &nodes[0].value else { panic!("a string") };
            // The quote is in the third column.
            let (mut at, mut column) = (0, 4);
            for (c, spelling) in written.iter().map(|(c, spelling)| (*c, spelling)).chain([('.', &String::new())]) {
                let place = nodes[0].place.inside_string(text, at);
                prop_assert_eq!((place.line(), place.column()), (2, column), "{} at {}", text, at);
                at += c.len_utf8();
                column += spelling.chars().count() as u32;
            }
        }
    }
}
