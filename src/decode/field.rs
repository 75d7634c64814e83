//! One field of an object: its value, the checks on it, and how it is taken.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use super::describe::{MAX_KEY, Presence, Sink};
use super::{Object, all, push, refuse};
use crate::duration;
use crate::number::Real;
use crate::tree::{self, Node, Value};

/// Tells that all fields of an object were read and all were right.
#[derive(Debug, Clone, Copy)]
pub struct Done(pub(super) ());

/// A required value, or the memory of its fault.
///
/// It can be taken only when the whole object is [`Done`], so that the first
/// fault cannot hide the others.
#[derive(Debug, Clone)]
#[must_use = "a required value is there to be taken"]
pub struct Required<T>(Option<T>);

impl<T> Required<T> {
    /// Takes the value. It is there when `done` is of the same object.
    #[must_use]
    pub fn take(self, _: Done) -> Option<T> {
        self.0
    }

    /// Looks at the value, if it was right, to compare it with others.
    #[must_use]
    pub fn peek(&self) -> Option<&T> {
        self.0.as_ref()
    }
}

#[derive(Debug)]
pub(super) enum State<T> {
    Absent,
    /// A fault was added.
    Wrong,
    Value(T),
}

/// What there is to a field of whichever type, so that the code for it is
/// there once.
#[derive(Debug)]
pub(super) struct Slot<'n, 'f> {
    pub(super) owner: &'n Node,
    pub(super) node: Option<&'n Node>,
    pub(super) key: String,
    pub(super) expected: Cow<'static, str>,
    pub(super) sink: &'f mut Sink,
    /// What is written down about the field, when it is described.
    pub(super) note: Option<usize>,
}

impl<'n> Slot<'n, '_> {
    /// What is written there; `null` is nothing.
    pub(super) fn value(&self) -> Option<&'n Node> {
        self.node.filter(|node| node.value != Value::Null)
    }

    /// The object that the field has, or one without fields when what is read
    /// of it is to be written down.
    pub(super) fn object(&mut self) -> Option<Object<'n, '_>> {
        if self.sink.is_describing() {
            return self.described("");
        }
        Object::open(self.value()?, &self.key, self.sink)
    }

    /// An object without fields, when what is read of it is to be written
    /// down: that at the path of the field and `below`.
    pub(super) fn described(&mut self, below: &str) -> Option<Object<'n, '_>> {
        if !self.sink.is_describing() || self.key.len() > MAX_KEY {
            return None;
        }
        Object::described(self.owner, &format!("{}{below}", self.key), self.sink, self.note)
    }

    /// Reads every element of the list that the field has.
    pub(super) fn list<T>(
        &mut self,
        mut read: impl FnMut(&'n Node, &str, &mut Sink) -> Option<T>,
    ) -> Option<Vec<T>> {
        let node = self.value()?;
        let Value::Array(nodes) = &node.value else {
            refuse(node, &self.key, &self.expected, &mut self.sink.faults);
            return None;
        };
        let nodes = nodes.iter().enumerate();
        all(nodes.map(|(idx, node)| read(node, &tree::join_idx(&self.key, idx), self.sink)))
    }

    /// Adds a fault at the value or, where there is none, at the object.
    fn fault(&mut self, message: String) {
        push(self.node.unwrap_or(self.owner), &self.key, message, &mut self.sink.faults);
    }

    fn is_missing(&mut self) {
        match self.node {
            Some(null) => refuse(null, &self.key, &self.expected, &mut self.sink.faults),
            None => self.fault(format!("is missing, expected {}", self.expected)),
        }
    }
}

/// A field that was read, to be checked further and then taken with
/// [`required`](Self::required), [`optional`](Self::optional) or
/// [`or`](Self::or).
///
/// The checks are skipped when the field is absent or wrong already.
#[derive(Debug)]
#[must_use = "a field is checked only for what is said: end with `required`, `optional` or `or`"]
pub struct Field<'n, 'f, T> {
    pub(super) slot: Box<Slot<'n, 'f>>,
    pub(super) state: State<T>,
    /// How a value is written in JSON, for the default.
    show: Option<fn(&T) -> String>,
}

impl<'n, 'f, T> Field<'n, 'f, T> {
    /// A field whose value was read; one without is absent or wrong.
    pub(super) fn new(slot: Box<Slot<'n, 'f>>, value: Option<T>) -> Self {
        let state = match value {
            Some(value) => State::Value(value),
            None if slot.value().is_none() => State::Absent,
            None => State::Wrong,
        };
        Self { slot, state, show: None }
    }

    /// Takes the value, which must be there.
    pub fn required(mut self) -> Required<T> {
        self.slot.sink.presence(self.slot.note, Presence::Required);
        if matches!(self.state, State::Absent) {
            self.slot.is_missing();
        }
        Required(self.optional())
    }

    /// Takes the value, if it is there.
    #[must_use]
    pub fn optional(self) -> Option<T> {
        match self.state {
            State::Value(value) => Some(value),
            State::Absent | State::Wrong => None,
        }
    }

    /// Takes the value, or the default when it is absent.
    #[must_use]
    pub fn or(self, default: T) -> T {
        self.defaults_to(&default).optional().unwrap_or(default)
    }

    /// Takes the value, or the type's default when it is absent.
    #[must_use]
    pub fn or_default(self) -> T
    where
        T: Default,
    {
        self.or(T::default())
    }

    /// Says what the field is for, to those who ask; see
    /// [`describe`](super::describe()).
    pub fn doc(self, text: &'static str) -> Self {
        self.slot.sink.document(self.slot.note, text);
        self
    }

    /// Says what holds when the field is absent, where
    /// [`or`](Self::or) cannot: the value is taken with
    /// [`optional`](Self::optional) and the default comes later.
    pub fn defaults_to(self, default: &T) -> Self {
        if self.slot.sink.is_describing() {
            let shown = self.show.map(|show| show(default));
            self.slot.sink.presence(self.slot.note, Presence::Default(shown));
        }
        self
    }

    /// Says in JSON what holds when the field is absent, where there is no
    /// value to [show](Self::defaults_to).
    pub fn defaults_to_json(self, default: impl FnOnce() -> String) -> Self {
        if self.slot.sink.is_describing() {
            self.slot.sink.presence(self.slot.note, Presence::Default(Some(default())));
        }
        self
    }

    /// Says how a value is written in JSON, where a conversion has made one
    /// that only the program knows how to write.
    pub fn shown_as(mut self, show: fn(&T) -> String) -> Self {
        self.show = Some(show);
        self
    }

    /// Says what the value must be, where the type alone does not.
    pub fn expecting(self, expected: &'static str) -> Self {
        self.slot.sink.kind(self.slot.note, expected);
        self
    }

    /// Checks the value; an error becomes a fault at its place.
    pub fn check<E: fmt::Display>(mut self, check: impl FnOnce(&T) -> Result<(), E>) -> Self {
        if let State::Value(value) = &self.state {
            if let Err(error) = check(value) {
                self.slot.fault(error.to_string());
                self.state = State::Wrong;
            }
        }
        self
    }

    /// Turns the value into another; an error becomes a fault at its place.
    pub fn convert<U, E: fmt::Display>(self, convert: impl FnOnce(T) -> Result<U, E>) -> Field<'n, 'f, U> {
        let Self { mut slot, state, show: _ } = self;
        let state = match state {
            State::Absent => State::Absent,
            State::Wrong => State::Wrong,
            State::Value(value) => match convert(value) {
                Ok(value) => State::Value(value),
                Err(error) => {
                    slot.fault(error.to_string());
                    State::Wrong
                }
            },
        };
        Field { slot, state, show: None }
    }

    /// Turns the value into another.
    pub fn map<U>(self, map: impl FnOnce(T) -> U) -> Field<'n, 'f, U> {
        self.convert(|value| Ok::<U, std::convert::Infallible>(map(value)))
    }
}

impl<T: Bound> Field<'_, '_, T> {
    /// Checks that the value is not less than `min`.
    pub fn at_least(self, min: T) -> Self {
        self.bounded("at least", &min, T::ge)
    }

    /// Checks that the value is not more than `max`.
    pub fn at_most(self, max: T) -> Self {
        self.bounded("at most", &max, T::le)
    }

    fn bounded(self, words: &str, bound: &T, is_within: fn(&T, &T) -> bool) -> Self {
        let shown = format!("{words} {}", bound.show());
        self.slot.sink.bound(self.slot.note, &shown);
        self.check(|value| {
            if is_within(value, bound) {
                Ok(())
            } else {
                Err(format!("must be {shown}, found {}", value.show()))
            }
        })
    }
}

mod sealed {
    /// A value that has an order and can be shown. Closed.
    pub trait Bound: PartialOrd {
        fn show(&self) -> String;
    }
}

use sealed::Bound;

impl Bound for u32 {
    fn show(&self) -> String {
        self.to_string()
    }
}

impl Bound for u64 {
    fn show(&self) -> String {
        self.to_string()
    }
}

impl Bound for f64 {
    fn show(&self) -> String {
        Real(*self).to_string()
    }
}

impl Bound for Duration {
    fn show(&self) -> String {
        duration::format(*self)
    }
}
