//! One field of an object: its value, the checks on it, and how it is taken.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use super::describe::{Presence, Sink};
use super::{push, refuse};
use crate::duration;
use crate::tree::Node;

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

/// A field that was read, to be checked further and then taken with
/// [`required`](Self::required), [`optional`](Self::optional) or
/// [`or`](Self::or).
///
/// The checks are skipped when the field is absent or wrong already.
#[derive(Debug)]
#[must_use = "a field is checked only for what is said: end with `required`, `optional` or `or`"]
pub struct Field<'n, 'f, T> {
    pub(super) owner: &'n Node,
    pub(super) node: Option<&'n Node>,
    pub(super) key: String,
    pub(super) expected: Cow<'static, str>,
    pub(super) state: State<T>,
    pub(super) sink: &'f mut Sink,
    /// What is written down about the field, when it is described.
    pub(super) note: Option<usize>,
    /// How a value is written in JSON, for the default.
    pub(super) show: Option<fn(&T) -> String>,
}

impl<'n, 'f, T> Field<'n, 'f, T> {
    /// Takes the value, which must be there.
    pub fn required(self) -> Required<T> {
        self.sink.presence(self.note, || Presence::Required);
        match (self.state, self.node) {
            (State::Value(value), _) => Required(Some(value)),
            (State::Wrong, _) => Required(None),
            (State::Absent, Some(null)) => {
                Required(refuse(null, &self.key, &self.expected, &mut self.sink.faults))
            }
            (State::Absent, None) => {
                let message = format!("is missing, expected {}", self.expected);
                Required(push(self.owner, &self.key, message, &mut self.sink.faults))
            }
        }
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
        self.sink.document(self.note, text);
        self
    }

    /// Says what holds when the field is absent, where
    /// [`or`](Self::or) cannot: the value is taken with
    /// [`optional`](Self::optional) and the default comes later.
    pub fn defaults_to(self, default: &T) -> Self {
        let show = self.show;
        self.sink.presence(self.note, || Presence::Default(show.map(|show| show(default))));
        self
    }

    /// Says in JSON what holds when the field is absent, where there is no
    /// value to [show](Self::defaults_to).
    pub fn defaults_to_json(self, default: impl FnOnce() -> String) -> Self {
        self.sink.presence(self.note, || Presence::Default(Some(default())));
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
        self.sink.kind(self.note, expected);
        self
    }

    /// Checks the value; an error becomes a fault at its place.
    pub fn check<E: fmt::Display>(self, check: impl FnOnce(&T) -> Result<(), E>) -> Self {
        let show = self.show;
        Self { show, ..self.convert(|value| check(&value).map(|()| value)) }
    }

    /// Turns the value into another; an error becomes a fault at its place.
    pub fn convert<U, E: fmt::Display>(self, convert: impl FnOnce(T) -> Result<U, E>) -> Field<'n, 'f, U> {
        let Self { owner, node, key, expected, state, sink, note, show: _ } = self;
        let state = match state {
            State::Absent => State::Absent,
            State::Wrong => State::Wrong,
            State::Value(value) => match convert(value) {
                Ok(value) => State::Value(value),
                Err(error) => {
                    let _: Option<U> = push(node.unwrap_or(owner), &key, error.to_string(), &mut sink.faults);
                    State::Wrong
                }
            },
        };
        Field { owner, node, key, expected, state, sink, note, show: None }
    }

    /// Turns the value into another.
    pub fn map<U>(self, map: impl FnOnce(T) -> U) -> Field<'n, 'f, U> {
        self.convert(|value| Ok::<U, std::convert::Infallible>(map(value)))
    }
}

impl<T: Bound> Field<'_, '_, T> {
    /// Checks that the value is not less than `min`.
    pub fn at_least(self, min: T) -> Self {
        self.sink.bound(self.note, || format!("at least {}", min.show()));
        self.check(|value| {
            if *value >= min {
                Ok(())
            } else {
                Err(format!("must be at least {}, found {}", min.show(), value.show()))
            }
        })
    }

    /// Checks that the value is not more than `max`.
    pub fn at_most(self, max: T) -> Self {
        self.sink.bound(self.note, || format!("at most {}", max.show()));
        self.check(|value| {
            if *value <= max {
                Ok(())
            } else {
                Err(format!("must be at most {}, found {}", max.show(), value.show()))
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
        self.to_string()
    }
}

impl Bound for Duration {
    fn show(&self) -> String {
        duration::format(*self)
    }
}
