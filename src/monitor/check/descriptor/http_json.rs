//! A checker of a list that a server has, from configuration: what in it is an
//! item, what its state means, and how the list goes on.

use super::super::http_json::{MAX_PAGES, REQUEST_TIMEOUT};
use super::super::{ItemMap, Paging, http_json};
use super::server::read_server;
use super::{Asking, Flaw, Found, expect_with, quoted_health, tell, whole};
use crate::decode::Object;
use crate::duration::Shown;
use crate::error::Result;
use crate::event::Health;
use crate::monitor::Checker;
use crate::pointer::Pointer;
use crate::probe::http::check_url;
use crate::rest::Template;

pub(super) fn read(o: &mut Object<'_, '_>, asking: &Asking<'_>) -> Found {
    o.doc(
        "Asks a server for a list or an object as JSON; each thing in it is an item, and so is each group.",
    );
    let url = o.string("url").check(|url| check_url(url)).doc("The address to ask, by GET.").required();
    let server = read_server(o);
    let has_members = o.has("members");
    let map = read_map(o, if has_members { Own::FromMembers } else { Own::Needed });
    let paging = read_paging(o);
    let max_pages = o.u32("max_pages").at_least(1).at_most(10_000);
    let max_pages = max_pages.doc("How many pages a list may have.").or(MAX_PAGES);
    let timeout = o.duration("request_timeout").doc("How long one request may take.").or(REQUEST_TIMEOUT);
    let members = o.object("members", |o| {
        o.doc("The members of each item, asked for one by one; an item is as its members are together.");
        let path = o.string("path").check(|path| Template::new(path, &["name", "id"]).map(drop));
        let path = path
            .doc("Where the server lists them; {name} is the item's name, {id} what `id` leads to.")
            .required();
        let id = pointer(o, "id", "Where an item has what stands for {id} in the path.");
        let map = read_map(o, Own::Needed);
        let paging = read_paging(o);
        if id.is_none() && path.peek().is_some_and(|path| path.contains("{id}")) && !o.has("id") {
            o.fault("id", "is missing, expected where an item has what stands for {id} in the path");
        }
        Some((path.take(o.done()?)?, id, map, paging))
    });
    let members = members.optional();
    let has_pages = |paging: &Paging| *paging != Paging::None;
    let some_pages = has_pages(&paging) || members.as_ref().is_some_and(|(.., paging)| has_pages(paging));
    // Of what is there and wrong only that is told.
    if !some_pages && !o.has("paging") && (!has_members || members.is_some()) {
        expect_with(o, "max_pages", "paging");
    }
    if has_members && map.has_groups() {
        o.fault("group_by", "items that have members cannot be in groups as well");
    }
    let done = o.done()?;
    let mut checker = http_json(server.at(url.take(done)?, asking), map)
        .paging(paging)
        .max_pages(max_pages)
        .request_timeout(timeout);
    if let Some((path, id, map, paging)) = members {
        checker = checker.members(path, map).members_paging(paging);
        if let Some(id) = id {
            checker = checker.members_id(id);
        }
    }
    match checker.validate() {
        Ok(()) => Some(Box::new(checker)),
        Err(error) => {
            whole(o, error.to_string());
            None
        }
    }
}

fn pointer(o: &mut Object<'_, '_>, name: &'static str, doc: &'static str) -> Option<Pointer> {
    let field = o.string(name).convert(Pointer::new).expecting("a JSON pointer such as \"/queue/depth\"");
    field.doc(doc).optional()
}

/// Whether items must say their own state.
#[derive(PartialEq)]
enum Own {
    Needed,
    FromMembers,
}

fn read_map(o: &mut Object<'_, '_>, own: Own) -> ItemMap {
    let items = o.string("items").convert(Pointer::new);
    let items = items.shown_as(|pointer| format!("\"{pointer}\""));
    let items = items.expecting("a JSON pointer such as \"/queue/depth\"");
    let items = items.doc("Where the list or object of items is.").or_default();
    let name = pointer(
        o,
        "name",
        "Where an item has its name; the key of an object's member when absent, its number in a list.",
    );
    let state = pointer(o, "state", "Where an item has its state; from its members alone when absent.");
    let message = pointer(o, "message", "Where an item says more about its state.");
    let group_by = pointer(o, "group_by", "Where an item says to which group it belongs.");
    let require = o.strings("require");
    let require = require.doc("What an item must have, or else it is unknown: JSON pointers.").or_default();
    let mut pointers = Vec::new();
    let mut flaws = Vec::new();
    for (idx, text) in require.into_iter().enumerate() {
        match Pointer::new(text) {
            Ok(pointer) => pointers.push(pointer),
            Err(error) => flaws.push(Flaw { idx, at: None, text: error.to_string() }),
        }
    }
    if !flaws.is_empty() {
        tell(o, "require", "", flaws);
    }
    let states = o.object("states", |o| {
        o.doc("What the states of items mean.");
        let ready = o.strings("ready").doc("As it should be.").or_default();
        let degraded = o.strings("degraded").doc("Works, in part.").or_default();
        let down = o.strings("down").doc("Not as it should be.").or_default();
        let unknown = o.strings("unknown").doc("Nobody knows.").or_default();
        let otherwise = o.string("otherwise").convert(|text| health(&text)).shown_as(quoted_health);
        let otherwise = otherwise.expecting("\"ready\", \"degraded\", \"down\" or \"unknown\"");
        let otherwise = otherwise.doc("Every other state.").or(Health::Unknown);
        let lists = [&ready, &degraded, &down, &unknown];
        let twice = lists.iter().enumerate().find_map(|(idx, list)| {
            list.iter().find(|state| lists[..idx].iter().any(|before| before.contains(state)))
        });
        if let Some(state) = twice {
            let message = format!("the state {} stands twice", Shown(state));
            whole(o, message);
        }
        o.done()?;
        Some((ready, degraded, down, unknown, otherwise))
    });
    let states = states.optional();
    let is_missing = state.is_none() && !o.has("state");
    if own == Own::Needed && is_missing {
        o.fault("state", "is missing, expected where an item has its state");
    }
    if own == Own::FromMembers && is_missing {
        ["states", "message"].iter().for_each(|field| expect_with(o, field, "state"));
    }
    let is_never_ready = match &states {
        Some((ready, .., otherwise)) => ready.is_empty() && *otherwise != Health::Ready,
        None => !o.has("states"),
    };
    if is_never_ready && state.is_some() {
        o.fault("states", "no state means that an item is ready");
    }
    let mut map = match state {
        Some(state) => ItemMap::new(state),
        None => ItemMap::of_parents(),
    };
    if let Some((ready, degraded, down, unknown, otherwise)) = states {
        map = map.ready(ready).degraded(degraded).down(down).unknown(unknown).otherwise(otherwise);
    }
    map = map.items(items);
    if let Some(pointer) = name {
        map = map.name(pointer);
    }
    if let Some(pointer) = message {
        map = map.message(pointer);
    }
    if let Some(pointer) = group_by {
        map = map.group_by(pointer);
    }
    pointers.into_iter().fold(map, ItemMap::require)
}

fn health(text: &str) -> Result<Health, String> {
    let all = [Health::Ready, Health::Degraded, Health::Down, Health::Unknown];
    all.into_iter().find(|health| health.as_str() == text).ok_or_else(|| {
        format!("expected \"ready\", \"degraded\", \"down\" or \"unknown\", found {}", Shown(text))
    })
}

fn read_paging(o: &mut Object<'_, '_>) -> Paging {
    fn parameter(o: &mut Object<'_, '_>, default: &str) -> String {
        let field = o
            .string("parameter")
            .check(|text| if text.is_empty() { Err("must not be empty") } else { Ok(()) });
        field.doc("The parameter of the URL.").or(default.to_owned())
    }
    fn at(o: &mut Object<'_, '_>) -> crate::decode::Required<Pointer> {
        let field = o.string("at").convert(Pointer::new);
        let field = field.expecting("a JSON pointer such as \"/queue/depth\"");
        field.doc("Where the document has it.").required()
    }
    let paging = o
        .one_of("paging")
        .case("link_header", |o| {
            o.doc("By the link that the header Link calls next.");
            o.done().map(|_| Paging::LinkHeader)
        })
        .case("next_link", |o| {
            o.doc("By a link in the document.");
            let at = at(o);
            at.take(o.done()?).map(Paging::NextLink)
        })
        .case("cursor", |o| {
            o.doc("By a value in the document that is sent as a parameter.");
            let at = at(o);
            let parameter = parameter(o, "cursor");
            Some(Paging::Cursor { at: at.take(o.done()?)?, parameter })
        })
        .case("page", |o| {
            o.doc("By the number of the page, until one has no items.");
            let parameter = parameter(o, "page");
            let first = o.u64("first").doc("The number of the first page.").or(1);
            o.done().map(|_| Paging::Page { parameter, first })
        })
        .case("offset", |o| {
            o.doc("By the number of items so far, until a page has none.");
            let parameter = parameter(o, "offset");
            o.done().map(|_| Paging::Offset { parameter })
        });
    paging
        .end()
        .doc("How the list goes on, on further pages; not at all when absent.")
        .optional()
        .unwrap_or_default()
}
