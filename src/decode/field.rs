//! One field of an object: its value, the checks on it, and how it is taken.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use super::{push, refuse};
use crate::duration;
use crate::tree::{Fault, Node};

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
    pub(super) faults: &'f mut Vec<Fault>,
}

impl<'n, 'f, T> Field<'n, 'f, T> {
    /// Takes the value, which must be there.
    pub fn required(self) -> Required<T> {
        match (self.state, self.node) {
            (State::Value(value), _) => Required(Some(value)),
            (State::Wrong, _) => Required(None),
            (State::Absent, Some(null)) => Required(refuse(null, &self.key, &self.expected, self.faults)),
            (State::Absent, None) => {
                let message = format!("is missing, expected {}", self.expected);
                Required(push(self.owner, &self.key, message, self.faults))
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
        self.optional().unwrap_or(default)
    }

    /// Takes the value, or the type's default when it is absent.
    #[must_use]
    pub fn or_default(self) -> T
    where
        T: Default,
    {
        self.optional().unwrap_or_default()
    }

    /// Checks the value; an error becomes a fault at its place.
    pub fn check<E: fmt::Display>(self, check: impl FnOnce(&T) -> Result<(), E>) -> Self {
        self.convert(|value| check(&value).map(|()| value))
    }

    /// Turns the value into another; an error becomes a fault at its place.
    pub fn convert<U, E: fmt::Display>(self, convert: impl FnOnce(T) -> Result<U, E>) -> Field<'n, 'f, U> {
        let Self { owner, node, key, expected, state, faults } = self;
        let state = match state {
            State::Absent => State::Absent,
            State::Wrong => State::Wrong,
            State::Value(value) => match convert(value) {
                Ok(value) => State::Value(value),
                Err(error) => {
                    let _: Option<U> = push(node.unwrap_or(owner), &key, error.to_string(), faults);
                    State::Wrong
                }
            },
        };
        Field { owner, node, key, expected, state, faults }
    }

    /// Turns the value into another.
    pub fn map<U>(self, map: impl FnOnce(T) -> U) -> Field<'n, 'f, U> {
        self.convert(|value| Ok::<U, std::convert::Infallible>(map(value)))
    }
}

impl<T: Bound> Field<'_, '_, T> {
    /// Checks that the value is not less than `min`.
    pub fn at_least(self, min: T) -> Self {
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
