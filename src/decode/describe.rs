//! What a function that reads an object would ask for, written down: nobody
//! keeps a list of fields beside the code that reads them.

use std::time::Duration;

use serde::Serialize;

use super::{Object, describe_object};
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
    let mut sink = Sink { description: Some(Description::default()), ..Sink::default() };
    describe_object(&empty, "", &mut sink, None, read);
    sink.description.unwrap_or_default()
}

/// What comes of reading: what is wrong, and what was asked for when that is
/// the question.
#[derive(Debug, Default)]
pub(super) struct Sink {
    pub(super) faults: Vec<Fault>,
    description: Option<Description>,
}

impl Sink {
    pub(super) fn is_describing(&self) -> bool {
        self.description.is_some()
    }

    /// Writes down a field; `None` when nobody asks.
    pub(super) fn note(&mut self, path: &str, kind: &str) -> Option<usize> {
        let description = self.description.as_mut()?;
        let (path, kind) = (path.to_owned(), kind.to_owned());
        description.fields.push(FieldInfo { path, kind, presence: Presence::Optional, doc: "" });
        Some(description.fields.len() - 1)
    }

    /// Adds what a field is for, or the object as a whole.
    pub(super) fn document(&mut self, note: Option<usize>, text: &'static str) {
        let Some(description) = &mut self.description else { return };
        match note.and_then(|note| description.fields.get_mut(note)) {
            Some(field) => field.doc = text,
            None => description.doc = text,
        }
    }

    pub(super) fn presence(&mut self, note: Option<usize>, presence: impl FnOnce() -> Presence) {
        if let Some(field) = self.field(note) {
            field.presence = presence();
        }
    }

    pub(super) fn kind(&mut self, note: Option<usize>, kind: &str) {
        if let Some(field) = self.field(note) {
            kind.clone_into(&mut field.kind);
        }
    }

    pub(super) fn bound(&mut self, note: Option<usize>, bound: impl FnOnce() -> String) {
        if let Some(field) = self.field(note) {
            field.kind.push_str(", ");
            field.kind.push_str(&bound());
        }
    }

    fn field(&mut self, note: Option<usize>) -> Option<&mut FieldInfo> {
        self.description.as_mut()?.fields.get_mut(note?)
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
