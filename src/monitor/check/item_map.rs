//! How a JSON document becomes items with states.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use crate::duration::Shown;
use crate::error::{Error, Result};
use crate::event::Health;
use crate::map::Map;
use crate::monitor::{ItemState, Tally};
use crate::pointer::{Kind, Pointer};
use crate::text::on_one_line;

/// How many items a group's reason names.
const NAMED: usize = 5;

/// Says where in a document the items are, and what their states mean.
///
/// An item is one element of a list, or one member of an object. What is wrong
/// with one of them is told of that one: without a name it is called by its
/// place, without a state it is unknown.
///
/// # Examples
///
/// ```
/// use loopkeeper::Health;
/// use loopkeeper::monitor::check::ItemMap;
///
/// let servers = ItemMap::new("/status".parse()?)
///     .items("/servers".parse()?)
///     .name("/name".parse()?)
///     .ready(["ACTIVE"])
///     .down(["ERROR"])
///     .otherwise(Health::Degraded);
/// let document = serde_json::json!({"servers": [
///     {"name": "web-1", "status": "ACTIVE"},
///     {"name": "web-2", "status": "BUILD"},
///     {"name": "web-3"},
/// ]});
/// let items = servers.read(&document)?;
/// let lines: Vec<String> = items.iter().map(|item| item.to_string()).collect();
/// assert_eq!(lines, [
///     "web-1: ready",
///     "web-2: degraded (state \"BUILD\")",
///     r#"web-3: unknown (state: the item has no "status", it has "name")"#,
/// ]);
/// # Ok::<(), loopkeeper::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[must_use = "a map does nothing until a document is read by it"]
pub struct ItemMap {
    items: Pointer,
    name: Option<Pointer>,
    state: Option<Pointer>,
    message: Option<Pointer>,
    group_by: Option<Pointer>,
    require: Vec<Pointer>,
    meanings: Map<String, Health>,
    otherwise: Health,
}

/// One item of a document; made by [`ItemMap::read`].
///
/// Prints as one line.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Item {
    /// What it is called.
    pub name: String,
    /// To which group it belongs.
    pub group: Option<String>,
    /// How it is.
    pub state: ItemState,
    /// What the document has of it.
    pub value: Value,
}

impl ItemMap {
    /// A map of items whose state is where the pointer leads, from each.
    pub fn new(state: Pointer) -> Self {
        Self { state: Some(state), ..Self::of_parents() }
    }

    /// A map of items whose state comes from what belongs to them.
    pub fn of_parents() -> Self {
        Self {
            items: Pointer::default(),
            name: None,
            state: None,
            message: None,
            group_by: None,
            require: Vec::new(),
            meanings: Map::new(),
            otherwise: Health::Unknown,
        }
    }

    /// Where the list or object of items is. Defaults to the whole document.
    pub fn items(self, items: Pointer) -> Self {
        Self { items, ..self }
    }

    /// Where an item has its name, a text or a number. Defaults to the key of
    /// an object's member; an element of a list has none.
    pub fn name(self, name: Pointer) -> Self {
        Self { name: Some(name), ..self }
    }

    /// Where an item says more about its state. Defaults to nowhere.
    pub fn message(self, message: Pointer) -> Self {
        Self { message: Some(message), ..self }
    }

    /// Where an item says to which group it belongs: each group becomes an
    /// item as well, with the state of all its members. Defaults to no groups.
    pub fn group_by(self, group: Pointer) -> Self {
        Self { group_by: Some(group), ..self }
    }

    /// What an item must have, whatever it is; without it the item is unknown.
    /// Call it again for more. Defaults to nothing.
    pub fn require(mut self, pointer: Pointer) -> Self {
        self.require.push(pointer);
        self
    }

    /// Which states mean that an item is as it should be. Numbers and truth
    /// values are written as in JSON.
    pub fn ready<S: Into<String>>(self, states: impl IntoIterator<Item = S>) -> Self {
        self.mean(Health::Ready, states)
    }

    /// Which states mean that an item works in part.
    pub fn degraded<S: Into<String>>(self, states: impl IntoIterator<Item = S>) -> Self {
        self.mean(Health::Degraded, states)
    }

    /// Which states mean that an item is not as it should be.
    pub fn down<S: Into<String>>(self, states: impl IntoIterator<Item = S>) -> Self {
        self.mean(Health::Down, states)
    }

    /// Which states mean that nobody knows.
    pub fn unknown<S: Into<String>>(self, states: impl IntoIterator<Item = S>) -> Self {
        self.mean(Health::Unknown, states)
    }

    /// What every other state means. Defaults to unknown.
    pub fn otherwise(self, health: Health) -> Self {
        Self { otherwise: health, ..self }
    }

    fn mean<S: Into<String>>(mut self, health: Health, states: impl IntoIterator<Item = S>) -> Self {
        self.meanings.extend(states.into_iter().map(|state| (state.into(), health)));
        self
    }

    /// Whether items have a state of their own.
    pub(super) fn has_state(&self) -> bool {
        self.state.is_some()
    }

    #[cfg(feature = "http-client")]
    pub(super) fn has_groups(&self) -> bool {
        self.group_by.is_some()
    }

    /// Says whether any state means something.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` when nothing could ever be ready.
    pub fn check(&self) -> Result<()> {
        let is_some_ready = self.meanings.values().any(|health| *health == Health::Ready);
        if self.has_state() && !is_some_ready && self.otherwise != Health::Ready {
            return Err(Error::invalid("states.ready: no state means that an item is ready"));
        }
        Ok(())
    }

    /// Reads the items of a document, in its order.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` when the document has no list or object where the
    /// items should be.
    pub fn read(&self, document: &Value) -> Result<Vec<Item>> {
        self.read_from(document, 0).map_err(Error::invalid)
    }

    /// The states of a document's items and groups, by name, as they are
    /// reported: members stand below their group, as `group/member`, and of
    /// two with one name the later is numbered.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn states(&self, document: &Value) -> Result<BTreeMap<String, ItemState>> {
        self.read(document).map(reported)
    }

    /// What [`read`](Self::read) does, for a document before which there were `before` items.
    pub(super) fn read_from(&self, document: &Value, before: usize) -> Result<Vec<Item>, String> {
        let found = self.items.find(document).map_err(|missing| format!("items: {missing}"))?;
        match found {
            Value::Array(values) => {
                let items = values.iter().enumerate();
                Ok(items.map(|(idx, value)| self.item(value, before + idx, None)).collect())
            }
            Value::Object(members) => {
                let items = members.iter().enumerate();
                Ok(items.map(|(idx, (key, value))| self.item(value, before + idx, Some(key))).collect())
            }
            other => Err(format!("items: expected a list or an object, found {}", Kind(other))),
        }
    }

    fn item(&self, value: &Value, idx: usize, key: Option<&str>) -> Item {
        let mut flaws = Vec::new();
        let name = match (&self.name, key) {
            (Some(pointer), _) => {
                word(pointer, value).map_err(|flaw| flaws.push(format!("name: {flaw}"))).ok()
            }
            (None, Some(key)) if !key.is_empty() => Some(on_one_line(key)),
            (None, _) => None,
        };
        let group = self
            .group_by
            .as_ref()
            .map(|pointer| word(pointer, value).map_err(|flaw| flaws.push(format!("group: {flaw}"))).ok());
        for pointer in &self.require {
            match pointer.find(value) {
                Ok(Value::Null) => flaws.push(format!("the item has null at {pointer}")),
                Ok(_) => {}
                Err(missing) => flaws.push(of_item(&missing)),
            }
        }
        let state = self
            .state
            .as_ref()
            .map(|pointer| word(pointer, value).map_err(|flaw| flaws.push(format!("state: {flaw}"))).ok());
        let state = match (state, flaws.is_empty()) {
            (_, false) => ItemState { health: Health::Unknown, reason: Some(flaws.join("; ")) },
            // What belongs to it says how it is.
            (None | Some(None), true) => ItemState { health: Health::Unknown, reason: None },
            (Some(Some(state)), true) => {
                let health = self.meanings.get(&state).copied().unwrap_or(self.otherwise);
                let more = self.message.as_ref().and_then(|pointer| word(pointer, value).ok());
                let more = more.map_or_else(String::new, |more| format!(": {more}"));
                let reason = format!("state {}{more}", Shown(&state));
                ItemState { health, reason: (health != Health::Ready).then_some(reason) }
            }
        };
        let name = name.unwrap_or_else(|| format!("#{}", idx + 1));
        Item { name, group: group.flatten(), state, value: value.clone() }
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.state.health)?;
        self.state.reason.as_ref().map_or(Ok(()), |reason| write!(f, " ({reason})"))
    }
}

/// A text that is not empty, a number or a truth value; as one line.
pub(super) fn word(pointer: &Pointer, item: &Value) -> Result<String, String> {
    let value = pointer.find(item).map_err(|missing| of_item(&missing))?;
    match value {
        Value::String(text) if !text.is_empty() => Ok(on_one_line(text)),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(truth) => Ok(truth.to_string()),
        other => {
            Err(format!("expected a string at {}, found {}", on_one_line(pointer.as_str()), Kind(other)))
        }
    }
}

/// The document that a pointer of an item is about is the item.
fn of_item(missing: &crate::pointer::Missing) -> String {
    let text = missing.to_string();
    match text.strip_prefix("the document") {
        Some(rest) => format!("the item{rest}"),
        None => format!("the item's {text}"),
    }
}

/// Items by name, as they are reported: of two with one name the later is
/// numbered, members stand below their group, and each group has the state of
/// its members.
pub(super) fn reported(items: Vec<Item>) -> BTreeMap<String, ItemState> {
    let mut reported = Named::default();
    let mut groups: Map<String, Named> = Map::new();
    for item in items {
        let names = item.group.map_or(&mut reported, |group| groups.get_or_default(group));
        names.add(item.name, item.state);
    }
    for (group, members) in groups {
        let state = together(members.states.iter().map(|(name, state)| (name.as_str(), state)));
        for (name, state) in members.states {
            reported.add(format!("{group}/{name}"), state);
        }
        reported.add(group, state);
    }
    reported.states
}

/// States by name, each of which stands once.
#[derive(Debug, Default)]
pub(super) struct Named {
    pub(super) states: BTreeMap<String, ItemState>,
    /// How often a name has been there that was taken.
    taken: Map<String, u64>,
}

impl Named {
    /// Adds one, and tells under which name: one that is taken gets a number.
    pub(super) fn add(&mut self, name: String, state: ItemState) -> String {
        let mut free = name.clone();
        while self.states.contains_key(&free) {
            let nth = self.taken.get_or_insert_with(name.clone(), || 1);
            *nth += 1;
            free = format!("{name} ({nth})");
        }
        self.states.insert(free.clone(), state);
        free
    }
}

/// The state of many as one, with the names of those that are not ready.
pub(super) fn together<'a>(members: impl Iterator<Item = (&'a str, &'a ItemState)>) -> ItemState {
    let mut tally = Tally::default();
    let mut bad = Vec::new();
    for (name, state) in members {
        tally.add(state.health);
        if state.health != Health::Ready {
            bad.push(format!("{name} {}", state.health));
        }
    }
    let health = tally.health();
    if tally.total() == 0 {
        return ItemState { health, reason: Some("has no members".to_owned()) };
    }
    let more = if bad.len() > NAMED { ", .." } else { "" };
    let named = bad.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    let reason = format!("{} of {} not ready: {named}{more}", bad.len(), tally.total());
    ItemState { health, reason: (!bad.is_empty()).then_some(reason) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pointer(text: &str) -> Pointer {
        text.parse().unwrap()
    }

    /// The server health of a cloud, as its API gives it.
    fn servers() -> ItemMap {
        ItemMap::new(pointer("/status"))
            .items(pointer("/servers"))
            .name(pointer("/name"))
            .ready(["ACTIVE"])
            .down(["ERROR"])
            .unknown(["UNKNOWN"])
            .otherwise(Health::Degraded)
    }

    fn lines(map: &ItemMap, document: &Value) -> Vec<String> {
        let states = map.states(document).unwrap().into_iter();
        let items = states.map(|(name, state)| Item { name, group: None, state, value: Value::Null });
        items.map(|item| item.to_string()).collect()
    }

    #[test]
    fn wum_01_what_is_wrong_with_one_item_is_told_of_that_one() {
        let map = servers().require(pointer("/labels/region")).message(pointer("/fault/text"));
        let labels = json!({"region": "eu"});
        let document = json!({"servers": [
            {"name": "a", "status": "ACTIVE", "labels": {}},
            {"name": "b", "status": "ACTIVE", "labels": labels},
            {"status": "ACTIVE", "labels": labels},
            {"name": "d", "labels": labels},
            {"name": "e", "status": "ERROR", "labels": labels, "fault": {"text": "no\nhost"}},
            {"name": "f", "status": "BUILD", "labels": labels},
            {"name": "g", "status": "UNKNOWN", "labels": labels},
            {"name": 8, "status": ["ACTIVE"], "labels": labels},
            "text",
            {"name": "", "status": "ACTIVE", "labels": {"region": null}},
        ]});
        assert_eq!(
            lines(&map, &document),
            [
                "#10: unknown (name: expected a string at /name, found the string \"\"; the item has null at /labels/region)",
                "#3: unknown (name: the item has no \"name\", it has \"labels\", \"status\")",
                "#9: unknown (name: the item has no \"name\", it is the string \"text\"; the item has no \"labels\", it is \
                 the string \"text\"; state: the item has no \"status\", it is the string \"text\")",
                "8: unknown (state: expected a string at /status, found a list)",
                "a: unknown (the item's /labels has no \"region\", it is empty)",
                "b: ready",
                "d: unknown (state: the item has no \"status\", it has \"labels\", \"name\")",
                "e: down (state \"ERROR\": no\\nhost)",
                "f: degraded (state \"BUILD\")",
                "g: unknown (state \"UNKNOWN\")",
            ]
        );
    }

    #[test]
    fn wum_06_groups_are_rolled_up_and_an_empty_one_is_unknown() {
        let map = servers().group_by(pointer("/cluster"));
        let document = json!({"servers": [
            {"name": "a", "status": "ACTIVE", "cluster": "one"},
            {"name": "b", "status": "ACTIVE", "cluster": "one"},
            {"name": "a", "status": "ERROR", "cluster": "two"},
            {"name": "b", "status": "ERROR", "cluster": "two"},
            {"name": "a", "status": "ERROR", "cluster": "three"},
            {"name": "b", "status": "ACTIVE", "cluster": "three"},
            {"name": "stray", "status": "ACTIVE"},
        ]});
        assert_eq!(
            lines(&map, &document),
            [
                "one: ready",
                "one/a: ready",
                "one/b: ready",
                "stray: unknown (group: the item has no \"cluster\", it has \"name\", \"status\")",
                "three: degraded (1 of 2 not ready: a down)",
                "three/a: down (state \"ERROR\")",
                "three/b: ready",
                "two: down (2 of 2 not ready: a down, b down)",
                "two/a: down (state \"ERROR\")",
                "two/b: down (state \"ERROR\")",
            ]
        );
        let nobody = together(std::iter::empty());
        assert_eq!((nobody.health, nobody.reason.as_deref()), (Health::Unknown, Some("has no members")));
    }

    #[test]
    fn items_are_found_in_lists_and_objects() {
        let map = ItemMap::new(pointer("/ok")).ready(["true"]).down(["false", "0"]);
        let document = json!({"b": {"ok": true}, "a": {"ok": false}, "c": {"ok": 0}, "": {"ok": true}});
        assert_eq!(
            lines(&map, &document),
            ["#1: ready", "a: down (state \"false\")", "b: ready", "c: down (state \"0\")"]
        );
        let same = json!([{"n": "x", "ok": true}, {"n": "x", "ok": 0}, {"n": "x", "ok": true}]);
        assert_eq!(
            lines(&map.name(pointer("/n")), &same),
            ["x: ready", "x (2): down (state \"0\")", "x (3): ready"]
        );
        let words = ItemMap::new(pointer("")).ready(["up"]).items(pointer("/parts"));
        assert_eq!(
            lines(&words, &json!({"parts": {"db": "up", "mq": "lost"}})),
            ["db: ready", "mq: unknown (state \"lost\")"]
        );
    }

    #[test]
    fn a_document_without_items_is_refused() {
        for (document, flaw) in [
            (json!({"serves": []}), "items: the document has no \"servers\", did you mean \"serves\"?"),
            (json!({"servers": 5}), "items: expected a list or an object, found the number 5"),
            (json!("x"), "items: the document has no \"servers\", it is the string \"x\""),
        ] {
            assert_eq!(servers().read(&document).unwrap_err().to_string(), flaw);
        }
        assert_eq!(servers().read(&json!({"servers": []})).unwrap(), []);
        assert!(servers().check().is_ok());
        let nothing = ItemMap::new(pointer("/x")).down(["bad"]);
        assert_eq!(
            nothing.check().unwrap_err().to_string(),
            "states.ready: no state means that an item is ready"
        );
    }
}
