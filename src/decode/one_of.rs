//! The choice of one key among several, each with an object of its own.

use super::field::{Field, State};
use super::{Object, describe_object, guess, read_object, refuse, unknown_field};
use crate::tree::{self, Fault, Member, Members, Node, Value};

/// An object with exactly one of several keys; made by [`Object::one_of`].
#[derive(Debug)]
#[must_use = "the choice is made by `end`"]
pub struct OneOf<'n, 'f, T> {
    field: Field<'n, 'f, T>,
    members: Option<&'n Members>,
    choices: Vec<&'static str>,
    taken: Vec<&'n Member>,
    /// An object without fields, when the choices are described.
    empty: Option<&'n Node>,
}

impl<'n, 'f, T> OneOf<'n, 'f, T> {
    pub(super) fn new(field: Field<'n, 'f, T>, empty: Option<&'n Node>) -> Self {
        let members = match field.node.map(|node| &node.value) {
            Some(Value::Object(members)) => Some(members),
            _ => None,
        };
        Self { field, members, choices: Vec::new(), taken: Vec::new(), empty }
    }

    /// Reads the object under `name` with `read` when it is there.
    pub fn case(mut self, name: &'static str, read: impl FnOnce(&mut Object<'n, '_>) -> Option<T>) -> Self {
        self.choices.push(name);
        if let Some(empty) = self.empty {
            let key = tree::join(&self.field.key, name);
            let note = self.field.sink.note(&key, "an object");
            describe_object(empty, &key, self.field.sink, note, read);
            return self;
        }
        let Some(member) = self.members.and_then(|members| members.get(name)) else { return self };
        if member.node.value == Value::Null {
            return self;
        }
        self.taken.push(member);
        let key = tree::join(&self.field.key, name);
        if let Some(value) = read_object(&member.node, &key, self.field.sink, read) {
            self.field.state = State::Value(value);
        }
        self
    }

    /// Ends the list of cases: no key, two keys and unknown keys become
    /// faults that name the choices.
    pub fn end(self) -> Field<'n, 'f, T> {
        let Self { mut field, members, choices, mut taken, empty: _ } = self;
        // Cases come in the order of the program, faults in that of the file.
        crate::order::sort_by(&mut taken, |a, b| a.key_place.cmp(&b.key_place));
        let expected = format!("exactly one of {}", guess::list(&choices, ", "));
        field.expected = format!("an object with {expected}").into();
        field.sink.kind(field.note, &field.expected);
        let (Some(node), false) = (field.node, matches!(field.state, State::Absent)) else { return field };
        let Some(members) = members else {
            let _: Option<T> = refuse(node, &field.key, &field.expected, &mut field.sink.faults);
            return field;
        };
        let before = field.sink.faults.len();
        let unknown = members.iter().filter(|member| !choices.contains(&&*member.key));
        field.sink.faults.extend(unknown.map(|member| unknown_field(member, &field.key, &choices)));
        let place = match taken[..] {
            [] if field.sink.faults.len() > before => None,
            [] => Some((&node.place, "none".to_owned())),
            [_] => None,
            [_, second, ..] => {
                let keys: Vec<&str> = taken.iter().map(|member| &*member.key).collect();
                Some((&second.key_place, guess::list(&keys, " and ")))
            }
        };
        if let Some((place, found)) = place {
            let message = format!("expected {expected}, found {found}");
            field.sink.faults.push(Fault { place: place.clone(), key: field.key.clone(), message });
        }
        if field.sink.faults.len() > before {
            field.state = State::Wrong;
        }
        field
    }
}
