//! The choice of one key among several, each with an object of its own.

use super::field::{Field, Slot};
use super::{Object, guess, read_object, refuse, unknown_field};
use crate::tree::{self, Fault, Member, Members, Node, Value};

/// An object with exactly one of several keys; made by [`Object::one_of`].
#[derive(Debug)]
#[must_use = "the choice is made by `end`"]
pub struct OneOf<'n, 'f, T> {
    choice: Box<Choice<'n, 'f>>,
    value: Option<T>,
}

/// What there is to a choice of whichever type.
#[derive(Debug)]
struct Choice<'n, 'f> {
    slot: Box<Slot<'n, 'f>>,
    members: Option<&'n Members>,
    known: Vec<&'static str>,
    taken: Vec<&'n Member>,
    refused: Vec<&'static str>,
}

impl<'n, 'f> Choice<'n, 'f> {
    /// The object under `name`, when it is there or is to be described.
    fn object(&mut self, name: &'static str) -> Option<Object<'n, '_>> {
        self.known.push(name);
        let Slot { owner, key, sink, .. } = &mut *self.slot;
        let key = tree::join(key, name);
        if sink.is_describing() {
            let note = sink.note(&key, "an object");
            return Object::described(owner, &key, sink, note);
        }
        let member = self.members?.get(name).filter(|member| member.node.value != Value::Null)?;
        self.taken.push(member);
        Object::open(&member.node, &key, sink)
    }

    /// Faults the key `name` where it is there.
    fn refuse(&mut self, name: &'static str, message: &str) {
        let Some(member) = self.members.and_then(|members| members.get(name)) else { return };
        let key = tree::join(&self.slot.key, name);
        let fault = Fault { place: member.key_place.clone(), key, message: message.to_owned() };
        self.slot.sink.faults.push(fault);
        self.refused.push(name);
    }

    /// Says whether exactly one key is there, and faults where it is not.
    fn end(&mut self) -> bool {
        let Self { slot, members, known, taken, refused } = self;
        // Cases come in the order of the program, faults in that of the file.
        crate::order::sort_by(taken, |a, b| a.key_place.cmp(&b.key_place));
        let expected = format!("exactly one of {}", guess::list(known, ", "));
        slot.expected = format!("an object with {expected}").into();
        slot.sink.kind(slot.note, &slot.expected);
        let Some(node) = slot.value() else { return false };
        let faults = &mut slot.sink.faults;
        let Some(members) = members else {
            refuse(node, &slot.key, &slot.expected, faults);
            return false;
        };
        let before = faults.len();
        let is_known = |key: &str| known.contains(&key) || refused.contains(&key);
        let unknown = members.iter().filter(|member| !is_known(&member.key));
        faults.extend(unknown.map(|member| unknown_field(member, &slot.key, known)));
        let place = match taken[..] {
            [] if faults.len() > before || !refused.is_empty() => None,
            [] => Some((&node.place, "none".to_owned())),
            [_] => None,
            [_, second, ..] => {
                let keys: Vec<&str> = taken.iter().map(|member| &*member.key).collect();
                Some((&second.key_place, guess::list(&keys, " and ")))
            }
        };
        if let Some((place, found)) = place {
            let message = format!("expected {expected}, found {found}");
            faults.push(Fault { place: place.clone(), key: slot.key.clone(), message });
        }
        faults.len() == before && refused.is_empty()
    }
}

impl<'n, 'f, T> OneOf<'n, 'f, T> {
    pub(super) fn new(slot: Box<Slot<'n, 'f>>) -> Self {
        let members = match slot.node {
            Some(Node { value: Value::Object(members), .. }) => Some(members),
            _ => None,
        };
        let choice = Choice { slot, members, known: Vec::new(), taken: Vec::new(), refused: Vec::new() };
        Self { choice: Box::new(choice), value: None }
    }

    /// Reads the object under `name` with `read` when it is there.
    pub fn case(mut self, name: &'static str, read: impl FnOnce(&mut Object<'n, '_>) -> Option<T>) -> Self {
        if let Some(object) = self.choice.object(name) {
            self.value = read_object(object, read).or(self.value);
        }
        self
    }

    /// A key that is known elsewhere and cannot be meant here, and why.
    pub(crate) fn refuse(mut self, name: &'static str, message: &str) -> Self {
        self.choice.refuse(name, message);
        self
    }

    /// Ends the list of cases: no key, two keys and unknown keys become
    /// faults that name the choices.
    pub fn end(mut self) -> Field<'n, 'f, T> {
        let is_one = self.choice.end();
        Field::new(self.choice.slot, self.value.filter(|_| is_one))
    }
}
