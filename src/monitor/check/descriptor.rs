//! Checkers from configuration: `{"disk": {"paths": ["/"], "min_free": "1GiB"}}`.

#[cfg(feature = "tls")]
mod certificate;
#[cfg(feature = "http-client")]
mod http_json;
#[cfg(feature = "http-client")]
mod server;

use super::conditions::{NO_HTTP, NO_TARGET};
use super::load::{LoadWindow, check_load};
use super::memory::check_pressure;
use super::{clock_offset, conditions, disk, load, memory};
use crate::condition::Condition;
use crate::decode::Object;
use crate::duration::Shown;
use crate::event::Health;
use crate::monitor::{Checker, Principal};
use crate::probe::disk::check_size;
use crate::probe::file_age::check_path;
use crate::probe::tcp::check_address;
use crate::tree::{Fault, Node, Value, join, join_idx};

/// As whom servers are asked, where a checker does not say it.
#[cfg_attr(not(feature = "http-client"), allow(dead_code, reason = "who asks a server does"))]
pub(in crate::monitor) struct Asking<'a> {
    pub(in crate::monitor) principal: &'a Principal,
    #[cfg(feature = "tls")]
    pub(in crate::monitor) tls: crate::rest::TlsFiles,
}

/// Reads the checker of an object whose one field is named after a kind, and
/// holds its settings; tells of each kind whether there is one.
pub(in crate::monitor) fn read_kinds(
    o: &mut Object<'_, '_>,
    asking: &Asking<'_>,
) -> Vec<(&'static str, Option<Box<dyn Checker>>)> {
    let probe = crate::probe::decode_for_checker(o, "probe").doc("Looks with a probe, as a watcher has one.");
    let probe = probe.map(|probe| Box::new(super::probe(probe)) as Box<dyn Checker>).optional();
    vec![
        ("probe", probe),
        ("conditions", o.object("conditions", |o| read_conditions(o, asking)).optional()),
        ("http_json", o.object("http_json", |o| http_json::read(o, asking)).optional()),
        ("disk", o.object("disk", read_disk).optional()),
        ("memory", o.object("memory", read_memory).optional()),
        ("load", o.object("load", read_load).optional()),
        ("clock_offset", o.object("clock_offset", read_clock_offset).optional()),
        ("certificate", o.object("certificate", certificate::read).optional()),
    ]
}

type Found = Option<Box<dyn Checker>>;

/// One element of `expect`.
struct Rule {
    name: Option<String>,
    condition: String,
    otherwise: Health,
}

fn read_conditions(o: &mut Object<'_, '_>, asking: &Asking<'_>) -> Found {
    o.doc("Looks whether conditions hold about what a server, a port or files say; each is an item.");
    let tcp = o.string("tcp").check(|address| check_address(address));
    let tcp = tcp.doc("A port to connect to, as HOST:PORT, for conditions about latency.").optional();
    let target = server::read_optional(o, asking);
    if tcp.is_some() && o.has("url") {
        o.fault("tcp", "there is a url as well, and conditions are about one of them");
    }
    let short = |text: &str| {
        let rule = Rule { name: None, condition: text.to_owned(), otherwise: Health::Down };
        Ok::<_, std::convert::Infallible>(rule)
    };
    let expect = o
        .texts_or_objects("expect", short, |o| {
            let condition = o.string("condition").doc("The condition.").required();
            let name = o.string("name").doc("What its item is called; the condition when absent.").optional();
            let otherwise = o.string("otherwise").convert(|text| bad_health(&text)).shown_as(quoted_health);
            let otherwise = otherwise.expecting("\"down\" or \"degraded\"");
            let otherwise = otherwise.doc("What its item is when it does not hold.").or(Health::Down);
            let condition = condition.take(o.done()?)?;
            Some(Rule { name, condition, otherwise })
        })
        .check(|rules| if rules.is_empty() { Err("must have at least one condition") } else { Ok(()) });
    let expect = expect.doc("What must hold: a condition, or an object that says more of it.").required();
    let has_url = o.has("url");
    let mut rules: Vec<(String, Condition, Health)> = Vec::new();
    let mut flaws = Vec::new();
    for (idx, rule) in expect.peek().into_iter().flatten().enumerate() {
        let flaw = |text: String| Flaw { idx, at: None, text };
        match Condition::parse(&rule.condition) {
            Err(error) => flaws.push(Flaw { idx, at: Some(error.at()), text: error.to_string() }),
            Ok(condition) if condition.is_about_http() && tcp.is_some() => {
                flaws.push(flaw(NO_HTTP.to_owned()))
            }
            Ok(condition) if condition.is_about_an_answer() && tcp.is_none() && !has_url => {
                // A fault of its own says what is wrong with tcp.
                if !o.has("tcp") {
                    flaws.push(flaw(NO_TARGET.replace("http", "url")));
                }
            }
            Ok(condition) => {
                let name = rule.name.clone().unwrap_or_else(|| rule.condition.trim().to_owned());
                if rules.iter().any(|(other, ..)| *other == name) {
                    flaws.push(flaw(format!("the name {} stands twice", Shown(&name))));
                }
                rules.push((name, condition, rule.otherwise));
            }
        }
    }
    if !flaws.is_empty() {
        tell(o, "expect", "condition", flaws);
    }
    o.done()?;
    let mut checker = conditions();
    if let Some(address) = tcp {
        checker = checker.tcp(address);
    }
    checker = server::aim(checker, target);
    for (name, condition, otherwise) in rules {
        checker = checker.rule(name, condition, otherwise);
    }
    Some(Box::new(checker))
}

/// What is wrong with an element of a list of texts or objects.
struct Flaw {
    idx: usize,
    /// The byte of the text, where it is about one.
    at: Option<usize>,
    text: String,
}

/// Tells what is wrong with elements of a list, each at its place; an object
/// has its text under `key`.
fn tell(o: &mut Object<'_, '_>, name: &'static str, key: &'static str, flaws: Vec<Flaw>) {
    let Some(Node { value: Value::Array(nodes), .. }) = o.value(name).optional() else { return };
    let list = join(o.key(), name);
    for Flaw { idx, at, text } in flaws {
        let mut path = join_idx(&list, idx);
        let mut node = &nodes[idx];
        if let Some(inner) = node.get(key) {
            path = join(&path, key);
            node = inner;
        }
        let place = match (&node.value, at) {
            (Value::String(text), Some(at)) => node.place.inside_string(text, at),
            _ => node.place.clone(),
        };
        o.faults(Fault { place, key: path, message: text }.into());
    }
}

/// Tells that a field is there without the one that it says more about.
#[cfg(feature = "http-client")]
fn expect_with(o: &mut Object<'_, '_>, field: &'static str, other: &str) {
    if o.has(field) {
        o.fault(field, format!("has no effect without {other}"));
    }
}

/// Tells what is wrong with an object as a whole.
#[cfg(feature = "http-client")]
fn whole(o: &mut Object<'_, '_>, message: String) {
    o.faults(Fault { place: o.place().clone(), key: o.key().to_owned(), message }.into());
}

fn bad_health(text: &str) -> Result<Health, String> {
    match text {
        "down" => Ok(Health::Down),
        "degraded" => Ok(Health::Degraded),
        other => Err(format!("expected \"down\" or \"degraded\", found {}", Shown(other))),
    }
}

fn quoted_health(health: &Health) -> String {
    format!("\"{health}\"")
}

// `&String` is what `Field::check` hands over.
#[allow(clippy::ptr_arg)]
fn is_path(text: &String) -> Result<(), &'static str> {
    check_path(text.as_ref())
}

/// Tells of the paths in a list that cannot be any.
fn check_paths(o: &mut Object<'_, '_>, name: &'static str, paths: &[String]) {
    let flaws = paths.iter().enumerate().filter_map(|(idx, path)| {
        is_path(path).err().map(|text| Flaw { idx, at: None, text: text.to_owned() })
    });
    let flaws: Vec<Flaw> = flaws.collect();
    if !flaws.is_empty() {
        tell(o, name, "", flaws);
    }
}

// `&Vec` is what `Field::check` hands over.
#[allow(clippy::ptr_arg)]
fn not_empty(texts: &Vec<String>) -> Result<(), &'static str> {
    if texts.is_empty() { Err("must name at least one") } else { Ok(()) }
}

fn read_disk(o: &mut Object<'_, '_>) -> Found {
    o.doc("Looks how much space disks have left; each path is an item.");
    let paths = o.strings("paths").check(not_empty).doc("Files or folders on the disks.").required();
    check_paths(o, "paths", paths.peek().map_or(&[][..], Vec::as_slice));
    let min_free = o.size("min_free").check(check_size);
    let min_free = min_free.doc("How much must be free, in bytes or as a share of the whole.").required();
    let done = o.done()?;
    Some(Box::new(disk(paths.take(done)?, min_free.take(done)?)))
}

fn read_memory(o: &mut Object<'_, '_>) -> Found {
    o.doc("Looks how much memory the machine has left, and how long programs wait for some. Linux only.");
    let min = o.size("min_available").check(check_size);
    let min =
        min.doc("How much programs must still be able to take, in bytes or as a share of all.").required();
    let max = o.f64("max_pressure").check(check_pressure);
    let max = max.doc("How many percent of the last minute some program may have waited for memory; not looked at when absent.");
    let max = max.optional();
    let checker = memory(min.take(o.done()?)?);
    Some(match max {
        Some(max) => Box::new(checker.max_pressure(max)),
        None => Box::new(checker),
    })
}

fn read_load(o: &mut Object<'_, '_>) -> Found {
    o.doc("Looks how much work waits for the machine's processors. Linux only.");
    let max = o.f64("max_per_core").check(check_load);
    let max = max.doc("How high the load may be for each processor.").required();
    let over = o.string("over").convert(|text| {
        LoadWindow::parse(&text)
            .ok_or_else(|| format!("expected \"1m\", \"5m\" or \"15m\", found {}", Shown(&text)))
    });
    let over = over.shown_as(|window| format!("\"{}\"", window.as_str()));
    let over = over.expecting("\"1m\", \"5m\" or \"15m\"");
    let over = over.doc("Over which time it is averaged.").or(LoadWindow::default());
    Some(Box::new(load(max.take(o.done()?)?).over(over)))
}

fn read_clock_offset(o: &mut Object<'_, '_>) -> Found {
    o.doc("Asks a time server (SNTP) how far the machine's clock is off.");
    let server = o.string("server").check(|address| check_address(address));
    let server = server.doc("The server, as HOST:PORT; the port is mostly 123.").required();
    let max = o.duration("max_offset").doc("How far the clock may be off.");
    let max = max.or(std::time::Duration::from_secs(1));
    Some(Box::new(clock_offset(server.take(o.done()?)?).max_offset(max)))
}

/// A kind that this build cannot have: people hear what is missing.
#[cfg(not(all(feature = "http-client", feature = "tls")))]
fn needs(o: &mut Object<'_, '_>, fields: &[&'static str], doc: &'static str, message: &str) -> Found {
    for field in fields {
        let _ = o.value(field).doc(doc).optional();
    }
    o.doc(doc);
    o.faults(Fault { place: o.place().clone(), key: o.key().to_owned(), message: message.to_owned() }.into());
    None
}

#[cfg(not(feature = "tls"))]
mod certificate {
    use super::{Found, Object, needs};

    pub(super) fn read(o: &mut Object<'_, '_>) -> Found {
        needs(
            o,
            &["addresses", "files", "server_name", "min_left"],
            "Needs the feature `tls`, which this build does not have.",
            "needs the feature `tls`, which this build does not have",
        )
    }
}

#[cfg(not(feature = "http-client"))]
mod server {
    use super::super::ConditionsChecker;
    use super::{Asking, Object};

    pub(super) const DOC: &str = "Needs the feature `http-client`, which this build does not have.";
    pub(super) const MESSAGE: &str = "needs the feature `http-client`, which this build does not have";
    pub(super) const FIELDS: [&str; 5] = ["url", "headers", "bearer_file", "max_body", "follow_redirects"];

    /// There is none to be had.
    pub(super) struct NoTarget;

    pub(super) fn read_optional(o: &mut Object<'_, '_>, _: &Asking<'_>) -> NoTarget {
        for field in FIELDS {
            if o.value(field).doc(DOC).optional().is_some() {
                o.fault(field, MESSAGE);
            }
        }
        NoTarget
    }

    pub(super) fn aim(checker: ConditionsChecker, _: NoTarget) -> ConditionsChecker {
        checker
    }
}

#[cfg(not(feature = "http-client"))]
mod http_json {
    use super::server::{DOC, FIELDS, MESSAGE};
    use super::{Asking, Found, Object, needs};

    pub(super) fn read(o: &mut Object<'_, '_>, _: &Asking<'_>) -> Found {
        let own = [
            "items",
            "name",
            "state",
            "states",
            "message",
            "group_by",
            "require",
            "paging",
            "members",
            "max_pages",
            "request_timeout",
        ];
        needs(o, &[&FIELDS[..], &own].concat(), DOC, MESSAGE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{decode, tree};

    fn asking(principal: &Principal) -> Asking<'_> {
        Asking {
            principal,
            #[cfg(feature = "tls")]
            tls: crate::rest::TlsFiles::default(),
        }
    }

    /// Reads the checker; faults come without the name of the file.
    fn check(checker: &str) -> Result<Box<dyn Checker>, String> {
        let node = tree::parse("f", &format!("{{\"check\": {checker}}}")).unwrap();
        decode::object(&node, "", |o| {
            let read = |o: &mut Object<'_, '_>| {
                let kinds = read_kinds(o, &asking(&Principal::new("p")));
                o.done()?;
                kinds.into_iter().find_map(|(_, checker)| checker)
            };
            let checker = o.object("check", read).required();
            checker.take(o.done()?)
        })
        .map_err(|faults| {
            faults.iter().map(|fault| fault.to_string()[2..].to_owned()).collect::<Vec<_>>().join("\n")
        })
    }

    #[test]
    fn every_kind_is_read() {
        for checker in [
            r#"{"conditions": {"expect": ["exists(/x)", {"condition": "age(/x) < 1h", "name": "n", "otherwise": "degraded"}]}}"#,
            r#"{"conditions": {"tcp": "127.0.0.1:1", "expect": ["latency < 1s"]}}"#,
            r#"{"disk": {"paths": ["/", "/tmp"], "min_free": "10%"}}"#,
            r#"{"memory": {"min_available": "5%", "max_pressure": 20}}"#,
            r#"{"load": {"max_per_core": 2, "over": "15m"}}"#,
            r#"{"clock_offset": {"server": "pool.ntp.org:123", "max_offset": "250ms"}}"#,
        ] {
            assert!(check(checker).unwrap().validate().is_ok(), "{checker}");
        }
    }

    #[test]
    fn a_bad_condition_is_told_at_its_character() {
        for (expect, faults) in [
            (
                r#""age(/x) < 5""#,
                "1:49: check.conditions.expect[0]: expected a duration such as 500ms, found the number 5 (column 11)",
            ),
            (
                r#""exists(/x)", "body./s == \"ok\" adn exists(/x)""#,
                "1:71: check.conditions.expect[1]: expected \"and\", \"or\" or the end, found \"adn\", did you mean \"and\"? (column 17)",
            ),
            (
                "\n {\"condition\": \"size(/x) > 5 GB\"},\n \"exists(\\u002fx) == 1\"",
                "2:30: check.conditions.expect[0].condition: expected \"and\", \"or\" or the end, found \"GB\" (column 14)\n\
                 3:19: check.conditions.expect[1]: exists(/x) is true or false by itself, found a comparison; see also not (column 12)",
            ),
            (
                r#""latency < 1s", "exists(/x)", "exists(/x)""#,
                "1:38: check.conditions.expect[0]: is about an answer, and there is neither url nor tcp to get one from\n\
                 1:68: check.conditions.expect[2]: the name \"exists(/x)\" stands twice",
            ),
            (
                // As it is written: escapes, tabs and letters of more than one byte.
                r#""exists(\"\/\u00fc\ud83d\ude00ü\t\u0041\") == 1""#,
                "1:81: check.conditions.expect[0]: exists(\"/ü😀ü\\tA\") is true or false by itself, found a comparison; see also not (column 18)",
            ),
            (
                "\"exists(\\\"ü\\t\\\\\\\\\\\") == 1\"",
                "1:59: check.conditions.expect[0]: exists(\"ü\\t\\\\\") is true or false by itself, found a comparison; see also not (column 16)",
            ),
            ("", "1:37: check.conditions.expect: must have at least one condition"),
            (
                r#"{"condition": "exists(/x)", "otherwise": "red"}, 5"#,
                "1:79: check.conditions.expect[0].otherwise: expected \"down\" or \"degraded\", found \"red\"\n\
                 1:87: check.conditions.expect[1]: expected a string or an object, found the number 5",
            ),
        ] {
            let text = format!("{{\"conditions\": {{\"expect\": [{expect}]}}}}");
            assert_eq!(check(&text).err().as_deref(), Some(faults), "{text}");
        }
        assert_eq!(
            check(r#"{"conditions": {"tcp": "h:1", "expect": ["status == 200"]}}"#).err().as_deref(),
            Some(
                "1:52: check.conditions.expect[0]: is about an HTTP answer, and tcp gives none but its latency"
            )
        );
    }

    #[test]
    fn what_cannot_be_used_is_told_at_its_place() {
        for (checker, faults) in [
            (r#"{"dsk": {}}"#, "1:12: check: unknown field \"dsk\", did you mean \"disk\"?"),
            (
                r#"{"disk": {"paths": ["/", ""], "min_free": "0%"}}"#,
                "1:36: check.disk.paths[1]: must not be empty\n\
                 1:53: check.disk.min_free: must be more than 0% and at most 100%",
            ),
            (r#"{"disk": {"paths": [], "min_free": 1}}"#, "1:30: check.disk.paths: must name at least one"),
            (
                r#"{"memory": {"max_pressure": 100}}"#,
                "1:22: check.memory.min_available: is missing, expected a size such as \"1GiB\" or \"10%\"\n\
                 1:39: check.memory.max_pressure: must be more than 0 and less than 100",
            ),
            (
                r#"{"load": {"max_per_core": 0, "over": "1h"}}"#,
                "1:37: check.load.max_per_core: must be more than zero\n\
                 1:48: check.load.over: expected \"1m\", \"5m\" or \"15m\", found \"1h\"",
            ),
            (
                r#"{"clock_offset": {"server": "ntp", "max_offset": 0}}"#,
                "1:39: check.clock_offset.server: expected HOST:PORT such as \"127.0.0.1:1883\" or \"[::1]:1883\", found \"ntp\"\n\
                 1:60: check.clock_offset.max_offset: must be more than zero, found the number 0",
            ),
        ] {
            assert_eq!(check(checker).err().as_deref(), Some(faults), "{checker}");
        }
    }

    #[cfg(feature = "http-client")]
    #[test]
    fn the_settings_of_servers_and_lists_are_read_strictly() {
        for checker in [
            r#"{"http_json": {"url": "http://h/", "state": "/s", "states": {"ready": ["ok"]}}}"#,
            r#"{"http_json": {"url": "http://h/x?y=z", "headers": {"x": "y"}, "bearer_file": "/t", "max_body": "1MiB",
                "follow_redirects": 0, "items": "/a", "name": "/n", "state": "/s", "message": "/m", "group_by": "/g",
                "require": ["/r"], "states": {"down": ["bad"], "otherwise": "ready"}, "max_pages": 5,
                "request_timeout": "1s", "paging": {"page": {"parameter": "p", "first": 0}}}}"#,
            r#"{"http_json": {"url": "http://h/", "items": "/c", "name": "/n", "max_pages": 5, "members":
                {"path": "/s?c={name}&i={id}", "id": "/id", "state": "/s", "states": {"ready": ["ok"]},
                 "paging": {"cursor": {"at": "/next"}}}}}"#,
            r#"{"conditions": {"url": "http://h/", "expect": ["status == 200"]}}"#,
        ] {
            let read = check(checker);
            assert!(
                read.as_ref().is_ok_and(|checker| checker.validate().is_ok()),
                "{checker}: {:?}",
                read.err()
            );
        }
        for (checker, faults) in [
            (
                r#"{"http_json": {"url": "h", "items": "a", "require": ["/a", "b"]}}"#,
                "1:25: check.http_json.state: is missing, expected where an item has its state\n\
                 1:33: check.http_json.url: must begin with http:// or https://\n\
                 1:47: check.http_json.items: expected a JSON pointer such as \"/queue/depth\", found \"a\"\n\
                 1:70: check.http_json.require[1]: expected a JSON pointer such as \"/queue/depth\", found \"b\"",
            ),
            (
                r#"{"http_json": {"url": "http://h/", "state": "/s", "states": {"down": ["a"], "unknown": ["a"]}}}"#,
                "1:71: check.http_json.states: the state \"a\" stands twice",
            ),
            (
                r#"{"http_json": {"url": "http://h/", "state": "/s", "states": {"down": ["a"], "otherwise": "red"}}}"#,
                "1:100: check.http_json.states.otherwise: expected \"ready\", \"degraded\", \"down\" or \"unknown\", found \"red\"",
            ),
            (
                r#"{"http_json": {"url": "http://h/", "state": "/s", "states": {"down": ["a"]}}}"#,
                "1:71: check.http_json.states: no state means that an item is ready",
            ),
            (
                r#"{"http_json": {"url": "http://h/", "state": "/s"}}"#,
                "1:25: check.http_json.states: no state means that an item is ready",
            ),
            (
                r#"{"http_json": {"url": "http://h/", "group_by": "/g", "members": {"path": "/s/{nam}", "state": "/s",
                   "states": {"ready": ["ok"]}}}}"#,
                "1:58: check.http_json.group_by: items that have members cannot be in groups as well\n\
                 1:84: check.http_json.members.path: unknown place {nam}, expected {name} or {id}",
            ),
            (
                r#"{"http_json": {"url": "http://h/", "members": {"path": "/s/{id}", "state": "/s",
                   "states": {"ready": ["ok"]}}}}"#,
                "1:57: check.http_json.members.id: is missing, expected where an item has what stands for {id} in the path",
            ),
            (
                r#"{"http_json": {"url": "http://h/", "state": "/s", "states": {"ready": ["ok"]}, "paging": {"pages": {}}}}"#,
                "1:101: check.http_json.paging: unknown field \"pages\", did you mean \"page\"?",
            ),
            (
                r#"{"conditions": {"url": "http://h/", "tcp": "h:1", "max_body": "1%", "expect": ["latency < 1s"]}}"#,
                "1:54: check.conditions.tcp: there is a url as well, and conditions are about one of them\n\
                 1:73: check.conditions.max_body: expected a size in bytes such as \"64KiB\", found the string \"1%\"",
            ),
            (
                r#"{"conditions": {"tcp": "h:1", "headers": {}, "max_body": 9, "expect": ["latency < 1s"]}}"#,
                "1:52: check.conditions.headers: has no effect without url\n\
                 1:68: check.conditions.max_body: has no effect without url",
            ),
            (
                r#"{"http_json": {"url": "http://h/", "states": {"ready": ["a"]}, "message": "/m", "max_pages": 5,
                   "members": {"path": "/s/{name}", "state": "/s", "states": {"ready": ["ok"]}}}}"#,
                "1:56: check.http_json.states: has no effect without state\n\
                 1:85: check.http_json.message: has no effect without state\n\
                 1:104: check.http_json.max_pages: has no effect without paging",
            ),
        ] {
            assert_eq!(check(checker).err().as_deref(), Some(faults), "{checker}");
        }
    }

    #[test]
    fn what_a_build_does_not_have_is_told_as_that() {
        if !cfg!(feature = "tls") {
            assert_eq!(
                check(r#"{"certificate": {"addresses": ["h:443"]}}"#).err().as_deref(),
                Some("1:27: check.certificate: needs the feature `tls`, which this build does not have")
            );
        }
        if !cfg!(feature = "http-client") {
            assert_eq!(
                check(r#"{"http_json": {"url": "http://h/"}}"#).err().as_deref(),
                Some(
                    "1:25: check.http_json: needs the feature `http-client`, which this build does not have"
                )
            );
        }
    }

    #[cfg(feature = "tls")]
    #[test]
    fn certificates_are_read() {
        assert!(
            check(r#"{"certificate": {"addresses": ["h:443"], "files": ["/x"], "min_left": "720h"}}"#)
                .is_ok()
        );
        for (checker, faults) in [
            (
                r#"{"certificate": {}}"#,
                "1:27: check.certificate.addresses: there is neither an address nor a file",
            ),
            (
                r#"{"certificate": {"addresses": ["h"], "files": [""]}}"#,
                "1:42: check.certificate.addresses[0]: expected HOST:PORT such as \"127.0.0.1:1883\" or \"[::1]:1883\", found \"h\"\n\
                 1:58: check.certificate.files[0]: must not be empty",
            ),
            (
                r#"{"certificate": {"files": ["/x"], "server_name": "a"}}"#,
                "1:60: check.certificate.server_name: has no effect without addresses",
            ),
            (
                r#"{"certificate": {"addresses": ["h:1"], "server_name": "a b"}}"#,
                "1:65: check.certificate.server_name: cannot be asked for: \"a b\"",
            ),
        ] {
            assert_eq!(check(checker).err().as_deref(), Some(faults), "{checker}");
        }
    }

    #[test]
    fn every_setting_says_what_it_is_for() {
        let described = decode::describe(|o| {
            let _ = read_kinds(o, &asking(&Principal::new("p")));
            o.done()
        });
        assert!(described.fields.len() > 40, "{}", described.fields.len());
        for field in described.fields {
            assert!(!field.doc.is_empty() && !field.kind.is_empty(), "{}", field.path);
            assert_ne!(field.presence, decode::Presence::Default(None), "{}", field.path);
        }
    }
}
