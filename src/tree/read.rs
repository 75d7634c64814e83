//! Reads JSON text into nodes, with serde_json's borrowed raw values: an
//! object or list is read as pieces of the text, whose addresses tell their
//! places, and then each piece in turn.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use serde::Deserializer as _;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{Fault, Faults, MAX_DEPTH, MAX_KEY_LEN, Member, Members, Node, Place, Value, join, join_idx};
use crate::duration::Shown;

/// Reads the JSON text of a file, whose name is used for places only.
///
/// The work is the length of the text times its depth, because serde_json
/// looks at each level once more.
///
/// # Errors
///
/// When the text is empty, is not JSON, begins with a byte order mark, nests
/// [`MAX_DEPTH`] levels, has a key twice in an object or one of more than
/// [`MAX_KEY_LEN`] characters, or a number or escape that has no value. Syntax errors end the reading, so they come alone.
///
/// # Examples
///
/// ```
/// use loopkeeper::tree;
///
/// let node = tree::parse("app.json", "{\n  \"name\": \"mqtt\"\n}")?;
/// assert_eq!(node.get("name").unwrap().place.to_string(), "app.json:2:11");
///
/// let faults = tree::parse("app.json", r#"{"a": 1, "a": 2}"#).unwrap_err();
/// assert_eq!(faults.to_string(), "app.json:1:10: a: stands twice, first at app.json:1:2");
/// # Ok::<(), tree::Faults>(())
/// ```
pub fn parse(file: impl Into<Arc<str>>, text: &str) -> Result<Node, Faults> {
    let mut reader = Reader::new(file.into(), text);
    let node = reader.read();
    match (node, Faults::collect(reader.faults)) {
        (Some(node), None) => Ok(node),
        (_, Some(faults)) => Err(faults),
        (None, None) => Err(Fault {
            place: reader.cursor.place(0),
            key: String::new(),
            message: "could not be read".to_owned(),
        }
        .into()),
    }
}

/// Reads the bytes of a file as [`parse`] reads its text.
///
/// # Errors
///
/// Those of [`parse`], and bytes that are not UTF-8.
pub fn parse_bytes(file: impl Into<Arc<str>>, bytes: &[u8]) -> Result<Node, Faults> {
    let file = file.into();
    match std::str::from_utf8(bytes) {
        Ok(text) => parse(file, text),
        Err(error) => {
            let at = error.valid_up_to();
            let valid = std::str::from_utf8(&bytes[..at]).unwrap_or_default();
            let message = format!("is not UTF-8 text: found byte 0x{:02x}", bytes[at]);
            Err(Fault { place: Cursor::new(file, valid).place(at), key: String::new(), message }.into())
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    cursor: Cursor<'a>,
    faults: Vec<Fault>,
}

impl<'a> Reader<'a> {
    fn new(file: Arc<str>, text: &'a str) -> Self {
        Self { text, cursor: Cursor::new(file, text), faults: Vec::new() }
    }

    fn read(&mut self) -> Option<Node> {
        if self.text.starts_with('\u{feff}') {
            self.fault(0, "", "begins with a byte order mark; save the file as UTF-8 without one".to_owned());
            return None;
        }
        if self.text.bytes().all(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')) {
            self.fault(0, "", "is empty".to_owned());
            return None;
        }
        // This looks at all of the text without recursion and finds every
        // error of the grammar.
        match serde_json::from_str::<&RawValue>(self.text) {
            Ok(raw) => self.node(raw, "", 1),
            Err(error) => {
                // The same error has a better text, such as "trailing comma",
                // when values are built.
                let error = serde_json::from_str::<serde_json::Value>(self.text).err().unwrap_or(error);
                self.syntax(self.text, "", &error);
                None
            }
        }
    }

    fn node(&mut self, raw: &'a RawValue, path: &str, depth: usize) -> Option<Node> {
        let text = raw.get();
        let at = self.offset(text);
        let value = match text.as_bytes().first()? {
            b'n' => Value::Null,
            b't' => Value::Bool(true),
            b'f' => Value::Bool(false),
            b'"' => {
                let value = Value::String(self.leaf(text, path)?);
                let mut place = self.cursor.place(at);
                if text.contains("\\u") || text.contains("\\/") {
                    place.written = Some(text.into());
                }
                return Some(Node::new(place, value));
            }
            b'[' | b'{' if depth >= MAX_DEPTH => {
                self.fault(at, path, format!("nests deeper than {} levels", MAX_DEPTH - 1));
                return None;
            }
            b'[' => {
                // The place comes first: the cursor prefers to go forward.
                let place = self.cursor.place(at);
                let raws: Vec<&'a RawValue> = self.leaf(text, path)?;
                let nodes = raws.into_iter().enumerate();
                let nodes = nodes.map(|(idx, raw)| self.node(raw, &join_idx(path, idx), depth + 1));
                // Collected as options first, so that every fault is found.
                let nodes: Vec<Option<Node>> = nodes.collect();
                return Some(Node::new(place, Value::Array(nodes.into_iter().collect::<Option<_>>()?)));
            }
            b'{' => return self.object(text, at, path, depth),
            _ => {
                if serde_json::from_str::<serde_json::Number>(text).is_err() {
                    self.fault(at, path, "number out of range".to_owned());
                    return None;
                }
                Value::Number(text.into())
            }
        };
        Some(Node::new(self.cursor.place(at), value))
    }

    fn object(&mut self, text: &'a str, at: usize, path: &str, depth: usize) -> Option<Node> {
        let place = self.cursor.place(at);
        let raws = match serde_json::Deserializer::from_str(text).deserialize_map(RawMembers) {
            Ok(raws) => raws,
            Err(error) => {
                self.syntax(text, path, &error);
                return None;
            }
        };
        let mut seen: HashMap<String, Place> = HashMap::with_capacity(raws.len());
        let mut members = Vec::with_capacity(raws.len());
        for (raw_key, raw) in raws {
            let key_place = self.cursor.place(self.offset(raw_key.get()));
            let Some(key) = self.leaf::<String>(raw_key.get(), path) else { continue };
            if key.chars().nth(MAX_KEY_LEN).is_some() {
                let message = format!("is longer than {MAX_KEY_LEN} characters: {}", Shown(&key));
                self.faults.push(Fault { place: key_place, key: path.to_owned(), message });
                continue;
            }
            let path = join(path, &key);
            let node = self.node(raw, &path, depth + 1);
            if let Some(first) = seen.get(&key) {
                let message = format!("stands twice, first at {first}");
                self.faults.push(Fault { place: key_place, key: path, message });
                continue;
            }
            seen.insert(key.clone(), key_place.clone());
            members.extend(node.map(|node| Member { key, key_place, node }));
        }
        // Of an object with faults no one sees that members are missing: any
        // fault makes the whole reading fail.
        Some(Node::new(place, Value::Object(Members(members))))
    }

    /// Reads a piece of the text whose grammar is right already.
    fn leaf<T: serde::Deserialize<'a>>(&mut self, text: &'a str, path: &str) -> Option<T> {
        serde_json::from_str(text).map_err(|error| self.syntax(text, path, &error)).ok()
    }

    /// Where a piece of the text begins. serde_json lends from its input.
    fn offset(&self, piece: &str) -> usize {
        (piece.as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize).min(self.text.len())
    }

    fn fault(&mut self, at: usize, path: &str, message: String) {
        self.faults.push(Fault { place: self.cursor.place(at), key: path.to_owned(), message });
    }

    /// Takes over an error of serde_json about a piece of the text.
    fn syntax(&mut self, piece: &str, path: &str, error: &serde_json::Error) {
        // Its columns count bytes; those that name no byte of the line (0
        // after a line break, 1 past the end) are brought back into it.
        let line: usize = piece.split_inclusive('\n').take(error.line() - 1).map(str::len).sum();
        let mut at = (line + error.column().saturating_sub(1)).min(piece.len());
        while !piece.is_char_boundary(at) {
            at -= 1;
        }
        let message = error.to_string();
        let suffix = format!(" at line {} column {}", error.line(), error.column());
        let message = message.strip_suffix(&suffix).unwrap_or(&message).to_owned();
        self.fault(self.offset(piece) + at, path, message);
    }
}

/// The members of an object as they stand in the text, twins included.
struct RawMembers;

impl<'de> Visitor<'de> for RawMembers {
    type Value = Vec<(&'de RawValue, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(members)
    }
}

/// Turns offsets into places. Going forward costs the way between; going
/// back begins again at the top.
struct Cursor<'a> {
    file: Arc<str>,
    text: &'a str,
    offset: usize,
    line: u32,
    column: u32,
}

impl<'a> Cursor<'a> {
    fn new(file: Arc<str>, text: &'a str) -> Self {
        Self { file, text, offset: 0, line: 1, column: 1 }
    }

    fn place(&mut self, offset: usize) -> Place {
        if offset < self.offset {
            (self.offset, self.line, self.column) = (0, 1, 1);
        }
        // The offset is a character boundary of the text; were it not, the
        // cursor would stay.
        for c in self.text.get(self.offset..offset).unwrap_or_default().chars() {
            if c == '\n' {
                self.line = self.line.saturating_add(1);
                self.column = 1;
            } else {
                self.column = self.column.saturating_add(1);
            }
            self.offset += c.len_utf8();
        }
        Place { file: self.file.clone(), line: self.line, column: self.column, written: None }
    }
}
