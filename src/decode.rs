//! Turns a configuration tree into values: strictly, and telling everything
//! that is wrong at once.
//!
//! [`object`] hands an [`Object`] to a function that reads its fields. Every
//! field that is missing, mistyped, out of range or unknown becomes a
//! [`Fault`] with its place; reading goes on, so that people see all faults
//! together. Only when there was none does a value come out:
//!
//! * what is required can be taken only with the [`Done`] that
//!   [`Object::done`] gives when all fields were read and all were right;
//! * fields no one asked for are found also when `done` is not called;
//! * a value made beside a fault is dropped.
//!
//! `null` counts as absent.
//!
//! # Examples
//!
//! ```
//! use std::time::Duration;
//!
//! use loopkeeper::{decode, tree};
//!
//! #[derive(Debug)]
//! enum Probe {
//!     Tcp { address: String },
//!     Unix { path: String },
//! }
//!
//! #[derive(Debug)]
//! struct Watch {
//!     probe: Probe,
//!     poll_interval: Duration,
//!     max_retries: u32,
//! }
//!
//! fn read(text: &str) -> Result<Watch, tree::Faults> {
//!     let node = tree::parse("mqtt.json", text)?;
//!     decode::object(&node, "", |o| {
//!         let probe = o
//!             .one_of("probe")
//!             .case("tcp", |o| {
//!                 let address = o.string("address").required();
//!                 Some(Probe::Tcp { address: address.take(o.done()?)? })
//!             })
//!             .case("unix", |o| {
//!                 let path = o.string("path").required();
//!                 Some(Probe::Unix { path: path.take(o.done()?)? })
//!             })
//!             .end()
//!             .required();
//!         let poll_interval = o.duration("poll_interval").or(Duration::from_secs(60));
//!         let max_retries = o.u32("max_retries").at_most(100).or(10);
//!         let done = o.done()?;
//!         Some(Watch { probe: probe.take(done)?, poll_interval, max_retries })
//!     })
//! }
//!
//! let watch = read(r#"{"probe": {"tcp": {"address": "[::1]:1883"}}, "poll_interval": "30s"}"#)?;
//! assert_eq!(watch.poll_interval, Duration::from_secs(30));
//! assert_eq!(watch.max_retries, 10);
//! assert!(matches!(watch.probe, Probe::Tcp { address } if address == "[::1]:1883"));
//!
//! let faults = read("{\"probe\": {\"tpc\": {}},\n \"polinterval\": 5,\n \"max_retries\": \"many\"}").unwrap_err();
//! assert_eq!(
//!     faults.to_string(),
//!     "mqtt.json:1:12: probe: unknown field \"tpc\", did you mean \"tcp\"?\n\
//!      mqtt.json:2:2: unknown field \"polinterval\", did you mean \"poll_interval\"?\n\
//!      mqtt.json:3:17: max_retries: expected a whole number from 0 to 4294967295, found the string \"many\"",
//! );
//! # Ok::<(), tree::Faults>(())
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::duration::Shown;
use crate::name::Name;
use crate::number::Real;
use crate::tree::{self, Fault, Faults, Member, Members, Node, Place, Value};

mod describe;
mod field;
mod guess;
mod one_of;
mod scalar;
mod size;

pub use describe::{Description, FieldInfo, Presence, describe};
pub use field::{Done, Field, Required};
pub use one_of::OneOf;
pub use scalar::{Scalar, value};
pub use size::Size;

use describe::Sink;
use field::Slot;
pub(crate) use guess::{closest, meant};
pub(crate) use scalar::Refusal;
pub(crate) use scalar::sealed::Read;
use scalar::{DURATION, Found, read_duration};
pub(crate) use size::read_size;

/// Reads an object, or says everything that is wrong with it.
///
/// `key` is the path of the object from the top of its file, empty at the
/// top; faults begin with it. See the [module](self) for how `read` is
/// written.
///
/// # Errors
///
/// Every fault that was found, when there was one. A `read` that returns
/// `None` without a fault is one as well.
pub fn object<'n, T>(
    node: &'n Node,
    key: &str,
    read: impl FnOnce(&mut Object<'n, '_>) -> Option<T>,
) -> Result<T, Faults> {
    let mut sink = Sink::default();
    let value = Object::open(node, key, &mut sink).and_then(|object| read_object(object, read));
    match (Faults::collect(sink.faults), value) {
        (None, Some(value)) => Ok(value),
        (Some(faults), _) => Err(faults),
        (None, None) => Err(Fault {
            place: node.place.clone(),
            key: key.to_owned(),
            message: "cannot be used".to_owned(),
        }
        .into()),
    }
}

/// Refuses what is no object.
pub(crate) fn expect_object(node: &Node) -> Result<(), Faults> {
    let mut faults = Vec::new();
    if !matches!(node.value, Value::Object(_)) {
        refuse(node, "", "an object", &mut faults);
    }
    Faults::collect(faults).map_or(Ok(()), Err)
}

/// An object while its fields are read; made by [`object`].
///
/// Each method that reads a field makes the field known; what is not known
/// in the end is a fault.
#[derive(Debug)]
pub struct Object<'n, 'f> {
    node: &'n Node,
    members: &'n Members,
    key: String,
    known: Vec<&'static str>,
    sink: &'f mut Sink,
    /// What is written down about this object, when it is described.
    note: Option<usize>,
    /// How many faults there were when this object was begun.
    before: usize,
    finished: bool,
}

impl<'n, 'f> Object<'n, 'f> {
    /// The object that a node is, for its fields to be read, and then
    /// [closed](Self::close); what is none is refused.
    fn open(node: &'n Node, key: &str, sink: &'f mut Sink) -> Option<Self> {
        let Value::Object(members) = &node.value else {
            refuse(node, key, "an object", &mut sink.faults);
            return None;
        };
        Some(Self::begin(node, members, key, sink, None))
    }

    /// An object without fields, for what is asked of it to be written down.
    fn described(empty: &'n Node, key: &str, sink: &'f mut Sink, note: Option<usize>) -> Option<Self> {
        let Value::Object(members) = &empty.value else { return None };
        Some(Self::begin(empty, members, key, sink, note))
    }

    /// Ends the reading, for one whose reader has come to a value or to none.
    fn close(&mut self, has_value: bool) -> Option<Done> {
        if self.sink.is_describing() {
            return None;
        }
        let done = self.done()?;
        // No value and no fault either must not pass for an absent field.
        if !has_value {
            push(self.node, &self.key, "cannot be used".to_owned(), &mut self.sink.faults);
        }
        Some(done)
    }

    fn begin(
        node: &'n Node,
        members: &'n Members,
        key: &str,
        sink: &'f mut Sink,
        note: Option<usize>,
    ) -> Self {
        let before = sink.faults.len();
        Self { node, members, key: key.to_owned(), known: Vec::new(), sink, note, before, finished: false }
    }
}

impl<'n> Object<'n, '_> {
    /// Where the object begins.
    #[must_use]
    pub fn place(&self) -> &'n Place {
        &self.node.place
    }

    /// The path of the object from the top of its file.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Says what the object is for, to those who ask; see [`describe`](describe()).
    pub fn doc(&mut self, text: &'static str) {
        self.sink.document(self.note, text);
    }

    /// Whether a field is written, and is not `null`. Does not make it known.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.members.get(name).is_some_and(|member| member.node.value != Value::Null)
    }

    /// Reads a text.
    pub fn string(&mut self, name: &'static str) -> Field<'n, '_, String> {
        self.simple(name, String::EXPECTED, Read::read).shown_as(describe::quoted)
    }

    /// Reads the name of a loop or component.
    pub fn name(&mut self, name: &'static str) -> Field<'n, '_, Name> {
        self.simple(name, Name::EXPECTED, Read::read)
    }

    /// Reads `true` or `false`.
    pub fn bool(&mut self, name: &'static str) -> Field<'n, '_, bool> {
        self.simple(name, bool::EXPECTED, Read::read).shown_as(bool::to_string)
    }

    /// Reads a whole number that fits 32 bits.
    pub fn u32(&mut self, name: &'static str) -> Field<'n, '_, u32> {
        self.simple(name, u32::EXPECTED, Read::read).shown_as(u32::to_string)
    }

    /// Reads a whole number that fits 64 bits.
    pub fn u64(&mut self, name: &'static str) -> Field<'n, '_, u64> {
        self.simple(name, u64::EXPECTED, Read::read).shown_as(u64::to_string)
    }

    /// Reads a number.
    pub fn f64(&mut self, name: &'static str) -> Field<'n, '_, f64> {
        self.simple(name, f64::EXPECTED, Read::read).shown_as(|n| Real(*n).to_string())
    }

    /// Reads a duration of more than zero: text such as `"30s"`, or a number
    /// of seconds.
    pub fn duration(&mut self, name: &'static str) -> Field<'n, '_, Duration> {
        self.simple(name, DURATION, |node| match read_duration(node)? {
            Duration::ZERO => Err(Refusal::Text(format!("must be more than zero, found {}", Found(node)))),
            duration => Ok(duration),
        })
        .shown_as(describe::duration)
    }

    /// Reads a duration as [`duration`](Self::duration) does; zero is allowed.
    pub fn duration_or_zero(&mut self, name: &'static str) -> Field<'n, '_, Duration> {
        self.simple(name, DURATION, read_duration).shown_as(describe::duration)
    }

    /// Reads a size: text such as `"1GiB"` or `"10%"`, or a number of bytes.
    pub fn size(&mut self, name: &'static str) -> Field<'n, '_, Size> {
        self.simple(name, Size::EXPECTED, Read::read).shown_as(Size::to_string)
    }

    /// Reads a size that is not a part of a whole: text such as `"64KiB"`, or a
    /// number of bytes.
    pub fn bytes(&mut self, name: &'static str) -> Field<'n, '_, u64> {
        self.simple(name, "a size in bytes such as \"64KiB\"", |node| match Size::read(node)? {
            Size::Bytes(bytes) => Ok(bytes),
            Size::Percent(_) => Err(Refusal::Kind),
        })
        .shown_as(|bytes| Size::Bytes(*bytes).to_string())
    }

    /// Reads a list of texts.
    pub fn strings(&mut self, name: &'static str) -> Field<'n, '_, Vec<String>> {
        self.field(name, "a list of strings", |node, key, sink| {
            let written = node.as_written();
            let Value::Array(nodes) = &written.value else {
                refuse(node, key, "a list of strings", &mut sink.faults);
                return None;
            };
            let texts = nodes.iter().enumerate();
            all(texts.map(|(idx, node)| text(node, &tree::join_idx(key, idx), &mut sink.faults)))
        })
        .shown_as(describe::json)
    }

    /// Reads an object whose values are texts, such as HTTP headers.
    pub fn string_map(&mut self, name: &'static str) -> Field<'n, '_, BTreeMap<String, String>> {
        self.field(name, "an object of strings", |node, key, sink| {
            let Value::Object(members) = &node.value else {
                refuse(node, key, "an object of strings", &mut sink.faults);
                return None;
            };
            let texts = members.iter().map(|member| {
                let text = text(&member.node, &tree::join(key, &member.key), &mut sink.faults)?;
                Some((member.key.clone(), text))
            });
            all(texts).map(crate::order::map)
        })
        .shown_as(describe::json)
    }

    /// Reads an object within this one.
    pub fn object<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&mut Object<'n, '_>) -> Option<T>,
    ) -> Field<'n, '_, T> {
        let mut slot = self.slot(name, "an object");
        let value = slot.object().and_then(|object| read_object(object, read));
        Field::new(slot, value)
    }

    /// Reads a list of objects, each with `read`.
    pub fn objects<T>(
        &mut self,
        name: &'static str,
        mut read: impl FnMut(&mut Object<'n, '_>) -> Option<T>,
    ) -> Field<'n, '_, Vec<T>> {
        let mut slot = self.slot(name, "a list of objects");
        if let Some(mut object) = slot.described("[]") {
            let _ = read(&mut object);
        }
        let values = slot.list(|node, key, sink| read_object(Object::open(node, key, sink)?, &mut read));
        Field::new(slot, values)
    }

    /// Reads a list whose elements are texts, each read with `short`, or
    /// objects, each read with `read`.
    pub fn texts_or_objects<T, E: fmt::Display>(
        &mut self,
        name: &'static str,
        short: impl Fn(&str) -> Result<T, E>,
        mut read: impl FnMut(&mut Object<'n, '_>) -> Option<T>,
    ) -> Field<'n, '_, Vec<T>> {
        let mut slot = self.slot(name, "a list of strings or objects");
        if let Some(mut object) = slot.described("[]") {
            let _ = read(&mut object);
        }
        let values = slot.list(|node, key, sink| match &node.value {
            Value::String(text) => {
                short(text).map_err(|error| push(node, key, error.to_string(), &mut sink.faults)).ok()
            }
            Value::Object(_) => read_object(Object::open(node, key, sink)?, &mut read),
            _ => {
                refuse(node, key, "a string or an object", &mut sink.faults);
                None
            }
        });
        Field::new(slot, values)
    }

    /// Reads an object with exactly one of several keys, such as
    /// `{"probe": {"tcp": {..}}}`.
    ///
    /// Each [`case`](OneOf::case) names a key and reads its object.
    pub fn one_of<T>(&mut self, name: &'static str) -> OneOf<'n, '_, T> {
        OneOf::new(self.slot(name, "an object"))
    }

    /// Takes a value as it stands in the tree, of whichever type.
    pub fn value(&mut self, name: &'static str) -> Field<'n, '_, &'n Node> {
        let slot = self.slot(name, "a value");
        let value = slot.value();
        Field::new(slot, value)
    }

    /// Takes the object as it stands in the tree, for one who reads it by other
    /// means: no field of it is unknown then.
    pub fn whole(&mut self) -> &'n Node {
        self.finished = true;
        self.node
    }

    /// Adds a fault about a field, at its value or, when it is absent, at
    /// the object. For what several fields must have in common.
    pub fn fault(&mut self, name: &str, message: impl Into<String>) {
        let place = self.members.get(name).map_or(&self.node.place, |member| &member.node.place);
        self.sink.faults.push(Fault {
            place: place.clone(),
            key: tree::join(&self.key, name),
            message: message.into(),
        });
    }

    /// Adds faults that were found by other means.
    pub fn faults(&mut self, faults: Faults) {
        self.sink.faults.extend(faults.into_vec());
    }

    /// Knows these fields, so that people hear what is missing: they are of a
    /// feature that this build was made without.
    #[cfg(not(feature = "http-client"))]
    pub(crate) fn needs_http_client(&mut self, fields: &[&'static str]) {
        const NEEDS: &str = "Needs the feature `http-client`, which this build does not have.";
        for field in fields {
            let _ = self.value(field).doc(NEEDS).optional();
        }
        self.doc(NEEDS);
        let message = "needs the feature `http-client`, which this build does not have".to_owned();
        self.faults(tree::Fault { place: self.place().clone(), key: self.key().to_owned(), message }.into());
    }

    /// Ends the reading: fields that were not asked for become faults.
    ///
    /// Returns `None` when the object had any fault. Call it when all fields
    /// were read; it gives what [`Required::take`] asks for.
    pub fn done(&mut self) -> Option<Done> {
        if !std::mem::replace(&mut self.finished, true) {
            let unknown = self.members.iter().filter(|member| !self.known.contains(&&*member.key));
            self.sink.faults.extend(unknown.map(|member| unknown_field(member, &self.key, &self.known)));
        }
        (self.sink.faults.len() == self.before).then_some(Done(()))
    }

    fn simple<T>(
        &mut self,
        name: &'static str,
        expected: &'static str,
        read: fn(&'n Node) -> Result<T, Refusal>,
    ) -> Field<'n, '_, T> {
        self.field(name, expected, |node, key, sink| {
            let refuse =
                |refusal: Refusal| push(node, key, refusal.message(expected, node), &mut sink.faults);
            read(node).map_err(refuse).ok()
        })
    }

    fn field<T>(
        &mut self,
        name: &'static str,
        expected: &'static str,
        read: impl FnOnce(&'n Node, &str, &mut Sink) -> Option<T>,
    ) -> Field<'n, '_, T> {
        let slot = self.slot(name, expected);
        let value = slot.value().and_then(|node| read(node, &slot.key, slot.sink));
        Field::new(slot, value)
    }

    /// Makes a field known.
    fn slot(&mut self, name: &'static str, expected: &'static str) -> Box<Slot<'n, '_>> {
        self.known.push(name);
        let key = tree::join(&self.key, name);
        let note = self.sink.note(&key, expected);
        let node = self.members.get(name).map(|member| &member.node);
        Box::new(Slot { owner: self.node, node, key, expected: expected.into(), sink: self.sink, note })
    }
}

fn read_object<'n, T>(
    mut object: Object<'n, '_>,
    read: impl FnOnce(&mut Object<'n, '_>) -> Option<T>,
) -> Option<T> {
    let value = read(&mut object);
    object.close(value.is_some()).and(value)
}

/// All values, when none is missing. Looks at every one, so that every fault
/// is found.
fn all<T>(values: impl Iterator<Item = Option<T>>) -> Option<Vec<T>> {
    let mut all = Some(Vec::new());
    for value in values {
        match (&mut all, value) {
            (Some(all), Some(value)) => all.push(value),
            _ => all = None,
        }
    }
    all
}

fn push(node: &Node, key: &str, message: String, faults: &mut Vec<Fault>) {
    faults.push(Fault { place: node.place.clone(), key: key.to_owned(), message });
}

fn refuse(node: &Node, key: &str, expected: &str, faults: &mut Vec<Fault>) {
    push(node, key, format!("expected {expected}, found {}", Found(node)), faults);
}

fn unknown_field(member: &Member, key: &str, known: &[&str]) -> Fault {
    let name = Shown(&member.key);
    let message = format!("unknown field {name}, {}", meant(&member.key, known));
    Fault { place: member.key_place.clone(), key: key.to_owned(), message }
}

fn text(node: &Node, key: &str, faults: &mut Vec<Fault>) -> Option<String> {
    match &node.value {
        Value::String(text) | Value::Raw(text) => Some(text.clone()),
        _ => {
            refuse(node, key, "a string", faults);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::duration::GoDuration;
    use crate::error::{Error, ErrorKind};
    use proptest::prelude::*;

    /// Reads the object in `text`; faults come without the name of the file.
    fn check<T>(text: &str, read: impl FnOnce(&mut Object<'_, '_>) -> Option<T>) -> Result<T, String> {
        let node = tree::parse("f", text).unwrap();
        object(&node, "", read).map_err(|faults| {
            faults.iter().map(|fault| fault.to_string()[2..].to_owned()).collect::<Vec<_>>().join("\n")
        })
    }

    #[test]
    fn values_of_every_type_are_read() {
        let text = r#"{"string": "a", "name": "b", "bool": true, "u32": 7, "u64": 18446744073709551615, "f64": -1.5e3,
            "duration": "1m", "zero": 0, "size": "1KiB", "bytes": 5, "strings": ["a", "b"],
            "map": {"k": "v"}, "object": {"x": 1}, "objects": [{"x": 1}, {"x": 2}], "raw": [null]}"#;
        let read = check(text, |o| {
            let string = o.string("string").required();
            let name = o.name("name").required();
            let truth = o.bool("bool").required();
            let n32 = o.u32("u32").at_least(7).at_most(7).required();
            let n64 = o.u64("u64").required();
            let float = o.f64("f64").required();
            let duration = o.duration("duration").at_least(Duration::from_secs(1)).required();
            let zero = o.duration_or_zero("zero").required();
            let size = o.size("size").required();
            let bytes = o.size("bytes").required();
            let strings = o.strings("strings").required();
            let map = o.string_map("map").required();
            let one = |o: &mut Object<'_, '_>| {
                let x = o.u32("x").required();
                x.take(o.done()?)
            };
            let nested = o.object("object", one).required();
            let list = o.objects("objects", one).required();
            let raw = o.value("raw").map(Node::to_json).required();
            let done = o.done()?;
            assert_eq!(string.take(done)?, "a");
            assert_eq!(name.take(done)?.as_str(), "b");
            assert!(truth.take(done)?);
            assert_eq!((n32.take(done)?, n64.take(done)?, float.take(done)?), (7, u64::MAX, -1500.0));
            assert_eq!((duration.take(done)?, zero.take(done)?), (Duration::from_secs(60), Duration::ZERO));
            assert_eq!((size.take(done)?, bytes.take(done)?), (Size::Bytes(1024), Size::Bytes(5)));
            assert_eq!(strings.take(done)?, ["a", "b"]);
            assert_eq!(map.take(done)?, BTreeMap::from([("k".to_owned(), "v".to_owned())]));
            assert_eq!((nested.take(done)?, list.take(done)?), (1, vec![1, 2]));
            assert_eq!(raw.take(done)?, serde_json::json!([null]));
            Some(())
        });
        assert_eq!(read, Ok(()));
    }

    #[test]
    fn absent_and_null_are_the_same() {
        for text in ["{}", r#"{"a": null, "b": null, "c": null, "d": null, "e": null}"#] {
            let read = check(text, |o| {
                let a = o.string("a").optional();
                let b = o.duration("b").or(Duration::from_secs(9));
                let c = o.object("c", |o| o.u32("x").required().take(o.done()?)).optional();
                let d = o.strings("d").or_default();
                let e = o.one_of::<u32>("e").case("x", |_| Some(1)).end().optional();
                Some((a, b, c, d, e))
            });
            assert_eq!(read, Ok((None, Duration::from_secs(9), None, Vec::new(), None)));
        }
        let required = |o: &mut Object<'_, '_>| {
            let a = o.string("a").required();
            let b = o.duration("b").required();
            let c = o.one_of::<()>("c").case("x", |_| Some(())).case("y", |_| Some(())).end().required();
            let done = o.done()?;
            Some((a.take(done)?, b.take(done)?, c.take(done)?))
        };
        assert_eq!(
            check(" {}", required).unwrap_err(),
            "1:2: a: is missing, expected a string\n\
             1:2: b: is missing, expected a duration such as \"30s\"\n\
             1:2: c: is missing, expected an object with exactly one of \"x\", \"y\""
        );
        assert_eq!(
            check(r#"{"a": null, "b": null, "c": null}"#, required).unwrap_err(),
            "1:7: a: expected a string, found null\n\
             1:18: b: expected a duration such as \"30s\", found null\n\
             1:29: c: expected an object with exactly one of \"x\", \"y\", found null"
        );
    }

    #[test]
    fn what_is_wrong_with_a_value_is_said() {
        type Read = fn(&mut Object<'_, '_>);
        let string: Read = |o| _ = o.string("k").optional();
        let name: Read = |o| _ = o.name("k").optional();
        let bool: Read = |o| _ = o.bool("k").optional();
        let u32: Read = |o| _ = o.u32("k").at_least(1).at_most(100).optional();
        let u64: Read = |o| _ = o.u64("k").optional();
        let f64: Read = |o| _ = o.f64("k").at_least(1.0).optional();
        let duration: Read = |o| _ = o.duration("k").at_most(Duration::from_secs(60)).optional();
        let or_zero: Read = |o| _ = o.duration_or_zero("k").optional();
        let size: Read = |o| _ = o.size("k").optional();
        let bytes: Read = |o| _ = o.bytes("k").optional();
        let strings: Read = |o| _ = o.strings("k").optional();
        let map: Read = |o| _ = o.string_map("k").optional();
        let objects: Read = |o| _ = o.objects("k", |_| Some(())).optional();
        let nested: Read = |o| _ = o.object("k", |_| Some(())).optional();
        let long = format!("\"{}\"", "x".repeat(500));
        let too_long = format!("expected a string, found a number of {} characters", 80);
        for (read, value, expected) in [
            (string, "5", "expected a string, found the number 5"),
            (string, "[]", "expected a string, found a list"),
            (string, "false", "expected a string, found false"),
            (string, &"7".repeat(80), &too_long),
            (name, "5", "expected a string, found the number 5"),
            (name, "\"\"", "must not be empty"),
            (name, "\"a b\"", "letters, digits, '.', '_' and '-' only, found ' ' at byte 1"),
            (bool, "1", "expected true or false, found the number 1"),
            (bool, "\"true\"", "expected true or false, found the string \"true\""),
            (u32, "1.5", "expected a whole number from 0 to 4294967295, found the number 1.5"),
            (u32, "1.0", "expected a whole number from 0 to 4294967295, found the number 1.0"),
            (u32, "-1", "expected a whole number from 0 to 4294967295, found the number -1"),
            (u32, "4294967296", "expected a whole number from 0 to 4294967295, found the number 4294967296"),
            (u32, "0", "must be at least 1, found 0"),
            (u32, "101", "must be at most 100, found 101"),
            (u64, "1e3", "expected a whole number from 0 to 18446744073709551615, found the number 1e3"),
            (u64, "{}", "expected a whole number from 0 to 18446744073709551615, found an object"),
            (f64, "\"1\"", "expected a number, found the string \"1\""),
            (f64, "0.5", "must be at least 1, found 0.5"),
            (duration, "\"soon\"", "expected a duration such as \"30s\", found the string \"soon\""),
            (
                duration,
                "\"30\"",
                "expected a duration such as \"30s\", found the string \"30\" (no unit at byte 2)",
            ),
            (duration, "\"-5s\"", "must not be negative, found the string \"-5s\""),
            (duration, "-5", "must not be negative, found the number -5"),
            (duration, "0", "must be more than zero, found the number 0"),
            (duration, "0.0000000000001", "must be more than zero, found the number 0.0000000000001"),
            (duration, "\"0s\"", "must be more than zero, found the string \"0s\""),
            (duration, "61", "must be at most 1m0s, found 1m1s"),
            (duration, "1e18", "must be at most 2562047h47m16.854775807s, found the number 1e18"),
            (
                duration,
                "\"9999999h\"",
                "must be at most 2562047h47m16.854775807s, found the string \"9999999h\"",
            ),
            (duration, "true", "expected a duration such as \"30s\", found true"),
            (or_zero, "-0.1", "must not be negative, found the number -0.1"),
            (size, "\"big\"", "expected a size such as \"1GiB\" or \"10%\", found the string \"big\""),
            (size, "-1", "expected a size such as \"1GiB\" or \"10%\", found the number -1"),
            (bytes, "\"10%\"", "expected a size in bytes such as \"64KiB\", found the string \"10%\""),
            (bytes, "\"0\"", "expected a size in bytes such as \"64KiB\", found the string \"0\""),
            (size, "\"110%\"", "must be at most 100%, found the string \"110%\""),
            (strings, "\"a\"", "expected a list of strings, found the string \"a\""),
            (map, "[]", "expected an object of strings, found a list"),
            (objects, "{}", "expected a list of objects, found an object"),
            (nested, "[]", "expected an object, found a list"),
            (nested, &long, &format!("expected an object, found the string \"{}\"..", "x".repeat(60))),
        ] {
            let error = check(&format!("{{\"k\": {value}}}"), |o| {
                read(o);
                Some(())
            });
            assert_eq!(error.unwrap_err(), format!("1:7: k: {expected}"), "{value}");
        }
    }

    #[test]
    fn elements_are_told_by_their_own_places() {
        let text = "{\"l\": [\"a\", 1,\n null], \"m\": {\"a\": \"b\", \"c.d\": 1},\n \"o\": [{}, {\"x\": \"1\"}, 3]}";
        let error = check(text, |o| {
            let _ = o.strings("l").optional();
            let _ = o.string_map("m").optional();
            let _ = o.objects("o", |o| o.u32("x").required().take(o.done()?)).optional();
            Some(())
        });
        assert_eq!(
            error.unwrap_err(),
            "1:13: l[1]: expected a string, found the number 1\n\
             2:2: l[2]: expected a string, found null\n\
             2:32: m.\"c.d\": expected a string, found the number 1\n\
             3:8: o[0].x: is missing, expected a whole number from 0 to 4294967295\n\
             3:18: o[1].x: expected a whole number from 0 to 4294967295, found the string \"1\"\n\
             3:24: o[2]: expected an object, found the number 3"
        );
    }

    #[test]
    fn unknown_fields_are_found_at_every_level() {
        let text = r#"{"polinterval": 1, "b": {"max_deley": 1, "zzz": null}, "c": {"x": 1}}"#;
        let read = |o: &mut Object<'_, '_>| {
            let poll = o.duration("poll_interval").or_default();
            let _ = o.object("b", |o| Some((o.u32("max_delay").or(1), o.u32("initial").or(1)))).optional();
            let _ = o.object("c", |_| Some(())).optional();
            Some(poll)
        };
        assert_eq!(
            check(text, read).unwrap_err(),
            "1:2: unknown field \"polinterval\", did you mean \"poll_interval\"?\n\
             1:26: b: unknown field \"max_deley\", did you mean \"max_delay\"?\n\
             1:42: b: unknown field \"zzz\", expected \"max_delay\" or \"initial\"\n\
             1:62: c: unknown field \"x\", expected none"
        );
    }

    #[test]
    fn one_of_takes_exactly_one() {
        let read = |o: &mut Object<'_, '_>| {
            let probe = o
                .one_of("p")
                .case("tcp", |o| {
                    let address = o.string("address").required();
                    address.take(o.done()?)
                })
                .case("dns", |o| Some(o.string("host").or("localhost".to_owned())))
                .end()
                .required();
            probe.take(o.done()?)
        };
        for (text, value) in [
            (r#"{"p": {"tcp": {"address": "a"}}}"#, "a"),
            (r#"{"p": {"dns": {}}}"#, "localhost"),
            (r#"{"p": {"tcp": null, "dns": {"host": "b"}}}"#, "b"),
        ] {
            assert_eq!(check(text, read).unwrap(), value);
        }
        for (text, faults) in [
            (r#"{"p": {}}"#, "1:7: p: expected exactly one of \"tcp\", \"dns\", found none"),
            (r#"{"p": {"tcp": null}}"#, "1:7: p: expected exactly one of \"tcp\", \"dns\", found none"),
            (
                r#"{"p": {"dns": {}, "tcp": {"address": "a"}}}"#,
                "1:19: p: expected exactly one of \"tcp\", \"dns\", found \"dns\" and \"tcp\"",
            ),
            (r#"{"p": {"tpc": {}}}"#, "1:8: p: unknown field \"tpc\", did you mean \"tcp\"?"),
            (r#"{"p": {"ping": {}}}"#, "1:8: p: unknown field \"ping\", expected \"tcp\" or \"dns\""),
            (
                r#"{"p": {"dns": {}, "note": 1}}"#,
                "1:19: p: unknown field \"note\", expected \"tcp\" or \"dns\"",
            ),
            (
                r#"{"p": "tcp"}"#,
                "1:7: p: expected an object with exactly one of \"tcp\", \"dns\", found the string \"tcp\"",
            ),
            (r#"{"p": {"tcp": "a"}}"#, "1:15: p.tcp: expected an object, found the string \"a\""),
            (r#"{"p": {"tcp": {}}}"#, "1:15: p.tcp.address: is missing, expected a string"),
        ] {
            assert_eq!(check(text, read).unwrap_err(), faults, "{text}");
        }
    }

    #[test]
    fn checks_of_users_stand_at_the_value() {
        let text = r#"{"min": 5, "max": 3, "url": "ftp:x", "port": "x"}"#;
        let error = check(text, |o| {
            let min = o.u32("min").required();
            let max = o.u32("max").required();
            if let (Some(min), Some(max)) = (min.peek(), max.peek()) {
                if min > max {
                    o.fault("max", format!("must be at least min, which is {min}"));
                }
            }
            o.fault("nowhere", "is not there");
            let url = o
                .string("url")
                .check(|url| if url.starts_with("http:") { Ok(()) } else { Err("must begin with http:") });
            let url = url.required();
            let _ = o.string("port").convert(|port| port.parse::<u16>()).optional();
            url.take(o.done()?)
        });
        assert_eq!(
            error.unwrap_err(),
            "1:1: nowhere: is not there\n\
             1:19: max: must be at least min, which is 5\n\
             1:29: url: must begin with http:\n\
             1:46: port: invalid digit found in string"
        );
    }

    #[test]
    fn no_value_comes_out_beside_a_fault() {
        // The closure returns a value and forgets `done`.
        assert_eq!(check("{\"a\": 1}", |_| Some(1)).unwrap_err(), "1:2: unknown field \"a\", expected none");
        assert!(check("{\"a\": 1}", |o| Some(o.string("a").or("x".to_owned()))).is_err());
        // It returns none, and says nothing.
        assert_eq!(check("{}", |_| None::<()>).unwrap_err(), "1:1: cannot be used");
        assert_eq!(
            check("{\"a\": {}}", |o| Some(o.object("a", |_| None::<()>).optional())).unwrap_err(),
            "1:7: a: cannot be used"
        );
        // Nothing wrong inside, something wrong outside.
        let read = check("{\"a\": {}, \"b\": 1}", |o| {
            let a = o.object("a", |o| o.done()).required();
            assert!(a.peek().is_some());
            let done = o.done();
            assert!(done.is_none() && o.done().is_none());
            a.take(done?)
        });
        assert_eq!(read.map(drop).unwrap_err(), "1:11: unknown field \"b\", expected \"a\"");
    }

    #[test]
    fn the_key_begins_with_where_the_object_is() {
        let node = tree::parse("d.json", "{\"backoff\": {\"jitter\": true}}").unwrap();
        let faults = object(&node, "config", |o| {
            assert_eq!((o.key(), o.place().to_string().as_str()), ("config", "d.json:1:1"));
            o.object("backoff", |o| Some(o.f64("jitter").or(0.1))).optional()
        });
        let error = Error::from(faults.unwrap_err());
        assert_eq!(error.kind(), ErrorKind::Config);
        assert_eq!(
            error.report().to_string(),
            "d.json:1:24: config.backoff.jitter: expected a number, found true"
        );
        let node = tree::parse("d.json", "[]").unwrap();
        let faults = object(&node, "", |_| Some(())).unwrap_err();
        assert_eq!(faults.to_string(), "d.json:1:1: expected an object, found a list");
    }

    proptest! {
        #[test]
        fn durations_of_text_and_number_agree(millis in 1_u32..) {
            let duration = Duration::from_millis(millis.into());
            let text = format!("{{\"a\": \"{}\", \"b\": {}}}", GoDuration(duration), duration.as_secs_f64());
            let read = check(&text, |o| Some((o.duration("a").optional(), o.duration("b").optional())));
            prop_assert_eq!(read, Ok((Some(duration), Some(duration))));
        }
    }
}
