//! Looks how items are that a server lists as JSON.

use std::fmt;
use std::time::Duration;

use serde_json::Value;

use super::item_map::{Item, ItemMap, Named, reported, together, word};
use super::paging::{At, Next};
use super::target::{Asker, HttpTarget};
use crate::component::Context;
use crate::duration::Shown;
use crate::error::{BoxError, Error, ErrorClass, ErrorKind, Result};
use crate::event::Health;
use crate::monitor::{Checker, ItemState, Report, Verdict};
use crate::pointer::Pointer;
use crate::rest::{Request, Template};

pub use super::paging::Paging;

/// How many items are read at most: as many as a report keeps.
const MAX_ITEMS: usize = 10_000;
pub(super) const MAX_PAGES: u32 = 100;
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Asks `target` for a JSON document and tells how the items in it are, by
/// `map`.
///
/// See [`HttpJsonChecker`].
///
/// # Examples
///
/// The servers of each cluster, by a second request for each:
///
/// ```
/// use loopkeeper::monitor::check::{self, HttpTarget, ItemMap, Paging};
/// use loopkeeper::{Checker, Health};
///
/// let clusters = ItemMap::of_parents().items("/clusters".parse()?).name("/name".parse()?);
/// let servers = ItemMap::new("/status".parse()?)
///     .items("/servers".parse()?)
///     .name("/hostname".parse()?)
///     .ready(["ACTIVE"])
///     .down(["ERROR"])
///     .unknown(["UNKNOWN"])
///     .otherwise(Health::Degraded);
/// let health = check::http_json(HttpTarget::new("http://127.0.0.1:8480/clusters"), clusters)
///     .paging(Paging::NextLink("/next".parse()?))
///     .members("/servers?cluster={name}", servers);
/// assert!(health.validate().is_ok());
/// # Ok::<(), loopkeeper::Error>(())
/// ```
pub fn http_json(target: HttpTarget, map: ItemMap) -> HttpJsonChecker {
    HttpJsonChecker {
        target,
        map,
        paging: Paging::None,
        max_pages: MAX_PAGES,
        request_timeout: REQUEST_TIMEOUT,
        members: None,
        asker: None,
        begin_at: None,
    }
}

/// Looks how items are that a server lists as JSON; made by [`http_json`](http_json()).
///
/// Pages are read one after the other over one connection, up to a bound. When
/// one cannot be read, the items of those before it count, and the checker says
/// why it could not look further. With [`members`](Self::members) the server is
/// asked once more for each item, and the item is as its members are together;
/// one whose members cannot be had is unknown, and the others are looked at all
/// the same, each request within its share of the time that is left. Where the
/// time is not enough for all, the checker says so, those that were not asked
/// stay as they are known, and the next look begins with them.
///
/// The order in which a server lists things changes nothing.
///
/// # Errors
///
/// Those of [`rest`](crate::rest), for the list itself.
#[derive(Debug)]
#[must_use = "a checker does nothing until it is called"]
pub struct HttpJsonChecker {
    target: HttpTarget,
    map: ItemMap,
    paging: Paging,
    max_pages: u32,
    request_timeout: Duration,
    members: Option<Members>,
    asker: Option<Asker>,
    /// The first item that was not asked for its members for want of time.
    begin_at: Option<String>,
}

struct Members {
    path: String,
    map: ItemMap,
    paging: Paging,
    /// What stands for `{id}`.
    id: Option<Pointer>,
}

impl fmt::Debug for Members {
    /// Without the query of the path.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.split('?').next().unwrap_or_default();
        f.debug_struct("Members").field("path", &path).field("map", &self.map).finish_non_exhaustive()
    }
}

/// The least part of a look's time that is worth a request.
const LEAST_SHARE: u32 = 50;
/// The values that a path may have places for.
const PLACES: [&str; 2] = ["name", "id"];

impl HttpJsonChecker {
    /// How the list goes on, on further pages. Defaults to not at all.
    pub fn paging(self, paging: Paging) -> Self {
        Self { paging, ..self }
    }

    /// How many pages a list may have. Defaults to 100.
    pub fn max_pages(self, max: u32) -> Self {
        Self { max_pages: max, ..self }
    }

    /// How long one request may take. Defaults to 5 s.
    pub fn request_timeout(self, timeout: Duration) -> Self {
        Self { request_timeout: timeout, ..self }
    }

    /// Asks the same server for the members of each item, at a path in which
    /// `{name}` stands for the item's name: `/servers?cluster={name}`.
    /// Members are items called `ITEM/MEMBER`. Defaults to no members.
    pub fn members(self, path: impl Into<String>, map: ItemMap) -> Self {
        Self { members: Some(Members { path: path.into(), map, paging: Paging::None, id: None }), ..self }
    }

    /// How lists of members go on. Defaults to not at all.
    pub fn members_paging(mut self, paging: Paging) -> Self {
        if let Some(members) = &mut self.members {
            members.paging = paging;
        }
        self
    }

    /// Where an item has what stands for `{id}` in the path to its members.
    /// Defaults to nowhere.
    pub fn members_id(mut self, id: Pointer) -> Self {
        if let Some(members) = &mut self.members {
            members.id = Some(id);
        }
        self
    }

    /// Reads all pages of a list into `items`.
    fn read(
        &self,
        cx: &Context,
        asker: &Asker,
        list: &List<'_>,
        limit: Duration,
        items: &mut Vec<Item>,
    ) -> Result<()> {
        let first = list.paging.first(list.path);
        let mut now_at = Next::Path(first);
        let mut seen: Vec<Next> = Vec::new();
        let mut before: Option<Value> = None;
        let is_counted = matches!(list.paging, Paging::Page { .. } | Paging::Offset { .. });
        for pages in 1..=self.max_pages {
            let request = match &now_at {
                Next::Path(path) => Request::get(path),
                Next::Link(uri) => Request::link(uri.to_string()),
            };
            let answer = asker.send(cx, &request.timeout(limit))?.expect_success()?;
            let document = answer.json()?;
            // A server that does not know the parameter answers the same for ever.
            if is_counted && before.as_ref() == Some(&document) {
                return Err(answer.flaw(format_args!(
                    "page {pages} is the same as the one before it: the server seems not to know the parameter"
                )));
            }
            let found = list.map.read_from(&document, items.len()).map_err(|text| answer.flaw(text))?;
            let items_here = found.len();
            items.extend(found.into_iter().map(|item| without_rest(item, list.id)));
            if items.len() > MAX_ITEMS {
                items.truncate(MAX_ITEMS);
                return Err(answer.flaw(format_args!("lists more than {MAX_ITEMS} items")));
            }
            let uri = match &now_at {
                Next::Path(_) => &asker.uri,
                Next::Link(uri) => uri,
            };
            let at = At {
                answer: &answer,
                document: &document,
                uri,
                path: list.path,
                pages: u64::from(pages),
                items: items.len(),
                items_here,
            };
            let Some(next) = list.paging.next(&at).map_err(|text| answer.flaw(text))? else { return Ok(()) };
            seen.push(std::mem::replace(&mut now_at, next));
            if seen.contains(&now_at) {
                return Err(answer.flaw(format_args!("page {pages} leads back to one before it")));
            }
            before = is_counted.then_some(document);
        }
        let text = format!("{}: has more than {} pages", asker.what(), self.max_pages);
        Err(Error::new(ErrorKind::Probe).context(text))
    }

    /// Looks at the members of each item, from `begin_at` on. Gives the first
    /// for which there was no time.
    fn look_inside(
        &self,
        cx: &Context,
        asker: &Asker,
        members: &Members,
        parents: Vec<Item>,
        report: &Report,
    ) -> Result<Option<String>> {
        let path = Template::new(&members.path, &PLACES)?;
        let mut named = Named::default();
        // By name, so that the order of the list decides nothing.
        let name = |parent: Item| (named.add(parent.name.clone(), parent.state.clone()), parent);
        let mut parents: Vec<(String, Item)> = parents.into_iter().map(name).collect();
        crate::order::sort_by(&mut parents, |(a, _), (b, _)| a.cmp(b));
        let begin_at = self.begin_at.as_ref();
        let first = begin_at.map_or(0, |begin_at| parents.partition_point(|(name, _)| name < begin_at));
        let n_parents = parents.len();
        parents.rotate_left(first % n_parents.max(1));
        // What nobody can answer in is not asked for.
        let least = cx.remaining() / LEAST_SHARE;
        let mut not_asked = None;
        let counted = (1..=u32::try_from(n_parents).unwrap_or(u32::MAX)).rev();
        for ((name, parent), left) in parents.into_iter().zip(counted) {
            let mut items = Vec::new();
            let filled = match &parent.state {
                // Something is wrong with the item itself.
                ItemState { health: Health::Unknown, reason: Some(reason) } => Err(reason.clone()),
                _ => fill(&path, &parent),
            };
            let remaining = cx.remaining();
            if filled.is_ok() && remaining <= least {
                not_asked.get_or_insert(name);
                continue;
            }
            let asked = filled.and_then(|path| {
                // A silent server has its share, a quick one leaves it to others.
                let share = (remaining / left).max(remaining / 4).max(least);
                let list = List { path: &path, map: &members.map, paging: &members.paging, id: None };
                let read = self.read(cx, asker, &list, self.request_timeout.min(share), &mut items);
                read.map_err(|error| error.report().to_string())
            });
            if cx.is_cancelled() {
                cx.check()?;
            }
            let states = reported(items);
            let own = self.map.has_state().then_some(("itself", &parent.state));
            let state = match asked {
                Ok(()) => together(states.iter().map(|(name, state)| (name.as_str(), state)).chain(own)),
                Err(reason) => ItemState { health: Health::Unknown, reason: Some(reason) },
            };
            tell(report, &name, state);
            for (member, state) in states {
                let name = format!("{name}/{member}");
                // Of more than a report keeps the names are not needed.
                let is_kept = named.states.len() < 2 * MAX_ITEMS;
                let name = if is_kept { named.add(name, state.clone()) } else { name };
                tell(report, &name, state);
            }
        }
        Ok(not_asked)
    }
}

/// What a list is read by.
struct List<'a> {
    path: &'a str,
    map: &'a ItemMap,
    paging: &'a Paging,
    /// Where an item has what is needed of it later.
    id: Option<&'a Pointer>,
}

/// Keeps of what a document has of an item only what stands for `{id}`: there
/// may be many documents, and most of each is of no use.
fn without_rest(mut item: Item, id: Option<&Pointer>) -> Item {
    let id = id.map(|pointer| word(pointer, &item.value));
    item.value = match id {
        None => Value::Null,
        Some(Ok(id)) => Value::String(id),
        Some(Err(flaw)) => {
            // Something else may be wrong with the item, and was told.
            if item.state.health != Health::Unknown || item.state.reason.is_none() {
                let reason = Some(format!("id: {flaw}"));
                item.state = ItemState { health: Health::Unknown, reason };
            }
            Value::Null
        }
    };
    item
}

fn fill(path: &Template, parent: &Item) -> Result<String, String> {
    let mut values = vec![("name", parent.name.as_str())];
    values.extend(parent.value.as_str().map(|id| ("id", id)));
    path.fill(&values).map_err(|error| error.to_string())
}

fn tell(report: &Report, name: &str, state: ItemState) {
    report.state(name, state.health, state.reason.unwrap_or_default());
}

impl Checker for HttpJsonChecker {
    fn check(&mut self, cx: &Context, report: &Report) -> Result<Verdict, BoxError> {
        let asker = match self.asker.take() {
            Some(asker) => asker,
            None => self.target.prepare()?,
        };
        let mut items = Vec::new();
        let id = self.members.as_ref().and_then(|members| members.id.as_ref());
        let list = List { path: &asker.path, map: &self.map, paging: &self.paging, id };
        let read = self.read(cx, &asker, &list, self.request_timeout, &mut items);
        let n_items = items.len();
        let looked = match (&self.members, &read) {
            (_, Err(error)) if error.class() == ErrorClass::Cancelled => Ok(None),
            (Some(members), _) => self.look_inside(cx, &asker, members, items, report),
            (None, _) => {
                reported(items).into_iter().for_each(|(name, state)| tell(report, &name, state));
                Ok(None)
            }
        };
        let what = asker.what();
        self.asker = Some(asker);
        if let Ok(begin_at) = &looked {
            self.begin_at.clone_from(begin_at);
        }
        read?;
        if let Some(name) = looked? {
            let text = format!("{what}: {n_items} items, and no time was left from {} on", Shown(&name));
            return Err(Error::new(ErrorKind::Probe).context(text).into());
        }
        Ok(Verdict::Items)
    }

    fn validate(&self) -> Result<()> {
        self.target.check()?;
        self.map.check()?;
        if self.max_pages == 0 {
            return Err(Error::invalid("max_pages: must be at least 1"));
        }
        if self.request_timeout.is_zero() {
            return Err(Error::invalid("request_timeout: must be more than zero"));
        }
        self.paging.check().map_err(|text| Error::invalid(format!("paging: {text}")))?;
        let Some(members) = &self.members else {
            return if self.map.has_state() { Ok(()) } else { Err(Error::invalid(NO_STATE)) };
        };
        if self.map.has_groups() {
            return Err(Error::invalid("members: items that have members cannot be in groups as well"));
        }
        let within = |error: Error| Error::invalid(format!("members.{error}"));
        let path = Template::new(&members.path, &PLACES)
            .map_err(|error| Error::invalid(format!("members.path: {error}")))?;
        if path.has("id") && members.id.is_none() {
            return Err(Error::invalid("members.id: must say where an item has what stands for {id}"));
        }
        members.map.check().map_err(within)?;
        if !members.map.has_state() {
            return Err(within(Error::invalid(NO_STATE)));
        }
        members.paging.check().map_err(|text| Error::invalid(format!("members.paging: {text}")))
    }
}

const NO_STATE: &str = "state: must say where an item has its state";

/// Reads a header `Link`, for a fuzzer.
#[doc(hidden)]
pub fn fuzz_link(header: &str) {
    if let Some(link) = super::paging::next_link(header) {
        assert!(header.contains(link) && !link.contains('>'));
    }
}
