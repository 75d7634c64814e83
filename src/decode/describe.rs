//! What a function that reads an object would ask for, written down: nobody
//! keeps a list of fields beside the code that reads them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::Serialize;

use super::Object;
use crate::duration::GoDuration;
use crate::tree::{Fault, Members, Node, Place, Value};

/// A path of keys that is longer than this is not followed further: a
/// function that reads itself within itself would never end.
pub(super) const MAX_KEY: usize = 256;

/// What a function that reads an object asks for; made by [`describe`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Description {
    /// What the object is for, as [`Object::doc`] says.
    pub doc: &'static str,
    /// Its fields and those below them, in the order in which they are read.
    pub fields: Vec<FieldInfo>,
}

/// One field that is read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FieldInfo {
    /// The path of keys: `backoff.max_delay`, `probe.tcp.address`,
    /// `requires[].name`.
    pub path: String,
    /// What it holds, such as `a duration such as "30s"`.
    pub kind: String,
    /// Whether it must be there, and what holds when it is not.
    pub presence: Presence,
    /// What it is for, as [`Field::doc`](super::Field::doc) says.
    pub doc: &'static str,
}

/// Whether a field must be there.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Presence {
    /// It must.
    Required,
    /// It may be absent, and then there is no such thing.
    Optional,
    /// It may be absent, and then has this value, as JSON; `None` when the
    /// value cannot be written as JSON.
    Default(Option<String>),
}

/// Tells which fields `read` asks for, by having it read an object that has
/// none and writing down what it asks.
///
/// Every object below is read once, every choice of an
/// [`one_of`](Object::one_of) is taken. What `read` asks for only when some
/// value is this or that stays unknown: ask first, look afterwards.
///
/// # Examples
///
/// ```
/// use loopkeeper::decode::{Object, Presence, describe};
///
/// fn read(o: &mut Object<'_, '_>) -> Option<(String, u32)> {
///     o.doc("Knocks at a door.");
///     let door = o.string("door").doc("Which one.").required();
///     let times = o.u32("times").at_least(1).doc("How often.").or(3);
///     Some((door.take(o.done()?)?, times))
/// }
///
/// let description = describe(read);
/// assert_eq!(description.doc, "Knocks at a door.");
/// let times = &description.fields[1];
/// assert_eq!((times.path.as_str(), times.doc), ("times", "How often."));
/// assert_eq!(times.presence, Presence::Default(Some("3".to_owned())));
/// assert_eq!(description.fields[0].presence, Presence::Required);
/// ```
pub fn describe<T>(read: impl FnOnce(&mut Object<'_, '_>) -> Option<T>) -> Description {
    let empty = Node::new(Place::whole(""), Value::Object(Members::default()));
    IS_ASKED.store(true, Ordering::Relaxed);
    let mut sink = Sink { description: Some(Description::default()), ..Sink::default() };
    if let Some(mut object) = Object::described(&empty, "", &mut sink, None) {
        let _ = read(&mut object);
    }
    sink.description.unwrap_or_default()
}

/// Whether anybody has ever asked. Of a library that nobody can ask, such as that
/// for C, the compiler so leaves out what only describes: the texts of all fields.
static IS_ASKED: AtomicBool = AtomicBool::new(false);

/// What comes of reading: what is wrong, and what was asked for when that is
/// the question.
#[derive(Debug, Default)]
pub(super) struct Sink {
    pub(super) faults: Vec<Fault>,
    description: Option<Description>,
}

impl Sink {
    pub(super) fn is_describing(&self) -> bool {
        IS_ASKED.load(Ordering::Relaxed) && self.description.is_some()
    }

    fn asked_mut(&mut self) -> Option<&mut Description> {
        self.description.as_mut().filter(|_| IS_ASKED.load(Ordering::Relaxed))
    }

    /// Writes down a field; `None` when nobody asks.
    pub(super) fn note(&mut self, path: &str, kind: &str) -> Option<usize> {
        let description = self.asked_mut()?;
        let (path, kind) = (path.to_owned(), kind.to_owned());
        description.fields.push(FieldInfo { path, kind, presence: Presence::Optional, doc: "" });
        Some(description.fields.len() - 1)
    }

    /// Adds what a field is for, or the object as a whole.
    pub(super) fn document(&mut self, note: Option<usize>, text: &'static str) {
        let Some(description) = self.asked_mut() else { return };
        match note.and_then(|note| description.fields.get_mut(note)) {
            Some(field) => field.doc = text,
            None => description.doc = text,
        }
    }

    pub(super) fn presence(&mut self, note: Option<usize>, presence: Presence) {
        if let Some(field) = self.field(note) {
            field.presence = presence;
        }
    }

    pub(super) fn kind(&mut self, note: Option<usize>, kind: &str) {
        if let Some(field) = self.field(note) {
            kind.clone_into(&mut field.kind);
        }
    }

    pub(super) fn bound(&mut self, note: Option<usize>, bound: &str) {
        if let Some(field) = self.field(note) {
            field.kind.push_str(", ");
            field.kind.push_str(bound);
        }
    }

    fn field(&mut self, note: Option<usize>) -> Option<&mut FieldInfo> {
        self.asked_mut()?.fields.get_mut(note?)
    }
}

pub(super) fn quoted(text: &String) -> String {
    json(text)
}

pub(super) fn duration(duration: &Duration) -> String {
    format!("\"{}\"", GoDuration(*duration))
}

pub(super) fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::Size;
    use super::*;

    /// One line for each field.
    fn check<T>(read: impl FnOnce(&mut Object<'_, '_>) -> Option<T>) -> String {
        let fields = describe(read).fields.into_iter().map(|field| {
            let presence = match field.presence {
                Presence::Required => "!".to_owned(),
                Presence::Optional => "?".to_owned(),
                Presence::Default(default) => default.unwrap_or_else(|| "unspoken".to_owned()),
            };
            format!("{}: {} = {presence} {}", field.path, field.kind, field.doc)
        });
        fields.map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn defaults_are_written_as_json() {
        let described = check(|o| {
            let _ = o.string("string").or("a\"b".to_owned());
            let _ = o.bool("bool").or(true);
            let _ = o.u32("u32").at_least(1).at_most(9).or(2);
            let _ = o.u64("u64").or(3);
            let _ = o.f64("f64").or(0.5);
            let _ = o.duration("duration").at_least(Duration::from_secs(1)).or(Duration::from_secs(90));
            let _ = o.size("size").or(Size::Bytes(3 << 20));
            let _ = o.size("share").or(Size::Percent(2.5));
            let _ = o.size("bytes").or(Size::Bytes(1000));
            let _ = o.bytes("absolute").or(1 << 10);
            let _ = o.strings("strings").or_default();
            let _ = o.string_map("map").or_default();
            let _ = o.string("converted").convert(|text| text.parse::<u8>()).or(1);
            let shown = o.string("shown").convert(|text| text.parse::<u8>()).shown_as(u8::to_string);
            let _ = shown.expecting("a small number").doc("Small.").or(1);
            o.done()
        });
        assert_eq!(
            described,
            r#"string: a string = "a\"b"
bool: true or false = true
u32: a whole number from 0 to 4294967295, at least 1, at most 9 = 2
u64: a whole number from 0 to 18446744073709551615 = 3
f64: a number = 0.5
duration: a duration such as "30s", at least 1s = "1m30s"
size: a size such as "1GiB" or "10%" = "3MiB"
share: a size such as "1GiB" or "10%" = "2.5%"
bytes: a size such as "1GiB" or "10%" = 1000
absolute: a size in bytes such as "64KiB" = "1KiB"
strings: a list of strings = []
map: an object of strings = {}
converted: a string = unspoken
shown: a small number = 1 Small."#
        );
    }

    #[test]
    fn what_is_below_a_field_is_described_with_it() {
        let inner = |o: &mut Object<'_, '_>| {
            o.doc("Inside.");
            o.name("n").doc("A name.").required().take(o.done()?)
        };
        let described = check(|o| {
            let _ = o.object("object", inner).optional();
            let _ = o.objects("list", inner).optional();
            let _ = o.texts_or_objects("both", |_| Err("no"), inner).doc("Both.").optional();
            let choice = o.one_of("choice").case("a", inner).case("b", |o| o.name("m").optional());
            choice.end().required().take(o.done()?)
        });
        assert_eq!(
            described,
            r#"object: an object = ? Inside.
object.n: a string = ! A name.
list: a list of objects = ? Inside.
list[].n: a string = ! A name.
both: a list of strings or objects = ? Both.
both[].n: a string = ! A name.
choice: an object with exactly one of "a", "b" = !
choice.a: an object = ? Inside.
choice.a.n: a string = ! A name.
choice.b: an object = ?
choice.b.m: a string = ?"#
        );
    }

    #[test]
    fn what_reads_itself_within_itself_ends() {
        fn tree(o: &mut Object<'_, '_>) -> Option<()> {
            let _ = o.objects("children", tree).optional();
            o.done().map(drop)
        }
        let described = describe(tree);
        assert!(described.fields.iter().all(|field| field.path.len() <= MAX_KEY + 20));
    }
}
