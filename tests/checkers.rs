//! Shipped checkers against servers that answer well, badly or not at all:
//! each item says what happened, within the deadline.

#![cfg(feature = "http-client")]
#![allow(clippy::unwrap_used, reason = "test code: a failed set-up is a failed test")]
#![allow(clippy::disallowed_methods, reason = "servers of a test run on threads of their own, in real time")]

mod support;

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use loopkeeper::condition::Condition;
use loopkeeper::decode::Size;
use loopkeeper::monitor::check::{self, HttpTarget, ItemMap, LoadWindow, Paging};
use loopkeeper::monitor::{ItemState, Principal, Report, Verdict};
use loopkeeper::pointer::Pointer;
use loopkeeper::{BoxError, Checker, Context, Env, ErrorClass, Health, Name};
use serde_json::{Value, json};
use support::service::{Asked, Reply, Service};
use support::{PATIENCE, TempDir};

/// What one server may take before it is told that it did not answer.
const SHORT: Duration = Duration::from_millis(300);

fn context(timeout: Duration) -> Context {
    Context::detached(&Env::new().unwrap(), Name::new("checks").unwrap(), timeout)
}

/// What came of one look, which must be over in time.
struct Look {
    verdict: Result<Verdict, String>,
    items: BTreeMap<String, ItemState>,
}

#[track_caller]
fn look(checker: &mut dyn Checker) -> Look {
    look_in(checker, &context(PATIENCE))
}

#[track_caller]
fn look_in(checker: &mut dyn Checker, cx: &Context) -> Look {
    checker.validate().unwrap();
    let start = Instant::now();
    let report = Report::new();
    let verdict = checker.check(cx, &report).map_err(|error: BoxError| error.to_string());
    assert!(start.elapsed() < 2 * PATIENCE, "took {:?}", start.elapsed());
    Look { verdict, items: report.items() }
}

impl Look {
    /// One line for each item.
    fn lines(&self) -> Vec<String> {
        let line = |(name, item): (&String, &ItemState)| match &item.reason {
            Some(reason) => format!("{name}: {} ({reason})", item.health),
            None => format!("{name}: {}", item.health),
        };
        self.items.iter().map(line).collect()
    }

    #[track_caller]
    fn item(&self, name: &str) -> (Health, &str) {
        let item = self.items.get(name).unwrap_or_else(|| panic!("no {name} in {:?}", self.lines()));
        (item.health, item.reason.as_deref().unwrap_or_default())
    }
}

fn pointer(text: &str) -> Pointer {
    text.parse().unwrap()
}

fn condition(text: &str) -> Condition {
    text.parse().unwrap()
}

fn servers() -> ItemMap {
    ItemMap::new(pointer("/status"))
        .items(pointer("/servers"))
        .name(pointer("/name"))
        .ready(["ACTIVE"])
        .down(["ERROR"])
        .unknown(["UNKNOWN"])
        .otherwise(Health::Degraded)
}

fn list(names: &[&str]) -> Value {
    let servers: Vec<Value> = names.iter().map(|name| json!({"name": name, "status": "ACTIVE"})).collect();
    json!({ "servers": servers })
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";

fn ok(rest: &str) -> Vec<u8> {
    [OK, rest.as_bytes()].concat()
}

/// Everything that a server may do wrong, and what is said of it.
fn faults() -> Vec<(&'static str, Reply, Vec<&'static str>)> {
    vec![
        ("hang", Reply::Hang(Vec::new()), vec!["no answer"]),
        ("hang-in-body", Reply::Hang(ok("content-length: 50\r\n\r\n{\"servers\"")), vec!["after"]),
        (
            "dribble",
            Reply::Dribble(ok("content-length: 5000\r\n\r\n"), Duration::from_millis(20)),
            vec!["after"],
        ),
        ("close", Reply::Close, vec!["connection closed before the answer was over"]),
        (
            "close-in-body",
            Reply::Raw(ok("content-length: 50\r\n\r\n{\"servers\"")),
            vec!["connection closed before the answer was over"],
        ),
        ("no-http", Reply::Raw(b"SSH-2.0-OpenSSH_9.6\r\n\r\n".to_vec()), vec!["is not HTTP"]),
        (
            "html",
            Reply::status(200, "<html>Please log in</html>"),
            vec!["is not JSON", "<html>Please log in"],
        ),
        ("empty", Reply::status(200, ""), vec!["the answer is empty"]),
        (
            "10-gb",
            Reply::Raw(ok("content-length: 10737418240\r\n\r\n{")),
            vec!["the answer is 10737418240 bytes long, at most 65536 are read"],
        ),
        ("endless", Reply::Endless(ok("\r\n[")), vec!["the answer is longer than 65536 bytes"]),
        (
            "chunked-cut",
            Reply::Raw(ok("transfer-encoding: chunked\r\n\r\n50\r\n{\"servers\"")),
            vec!["connection closed before the answer was over"],
        ),
        (
            "chunked-lie",
            Reply::Raw(ok("transfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n")),
            vec!["is not HTTP"],
        ),
        (
            "chunked-huge",
            Reply::Raw(ok("transfer-encoding: chunked\r\n\r\nffffffffffffffffffff\r\n{}")),
            vec!["is not HTTP"],
        ),
        ("two-lengths", Reply::Raw(ok("content-length: 2\r\ncontent-length: 50\r\n\r\n{}")), vec!["after"]),
        (
            "gzip",
            Reply::json("x").header("content-encoding", "gzip"),
            vec!["the answer is encoded as gzip, which was not asked for"],
        ),
        ("deep", Reply::json("[".repeat(60_000)), vec!["is not JSON", "recursion limit"]),
        (
            "wrong-type",
            Reply::json(json!({"servers": "none"})),
            vec!["items: expected a list or an object, found the string \"none\""],
        ),
        (
            "missing",
            Reply::json(json!({"serves": []})),
            vec!["items: the document has no \"servers\", did you mean \"serves\"?"],
        ),
        ("401", Reply::status(401, "who are you?"), vec!["status 401, expected 200-299", "who are you?"]),
        ("404", Reply::status(404, ""), vec!["status 404"]),
        ("429", Reply::status(429, "slow down").header("retry-after", "7"), vec!["status 429", "slow down"]),
        ("500", Reply::status(500, "oops"), vec!["status 500", "oops"]),
        ("circle", Reply::redirect(302, "/circle"), vec!["redirected more than 3 times"]),
        ("elsewhere", Reply::redirect(302, "ftp://h/"), vec!["redirected to the scheme ftp"]),
    ]
}

#[test]
fn a_list_that_cannot_be_had_is_told_in_time() {
    for (name, reply, pieces) in faults() {
        let service = Service::start(move |_| reply.clone());
        let target = HttpTarget::new(format!("{}/{name}", service.url())).max_body(65_536);
        let mut checker = check::http_json(target, servers()).request_timeout(SHORT);
        let found = look(&mut checker);
        let error = found.verdict.unwrap_err();
        for piece in pieces {
            assert!(error.contains(piece), "{name}: {piece:?} is not in {error:?}");
        }
        assert!(error.starts_with("GET http://127.0.0.1:"), "{name}: {error}");
        assert!(found.items.is_empty(), "{name}");
    }
}

#[test]
fn wum_01_one_bad_cluster_is_told_and_the_others_are_fresh() {
    let faults = faults();
    let names: Vec<&str> = faults.iter().map(|(name, ..)| *name).collect();
    let mut clusters: Vec<Value> = names.iter().map(|name| json!({"name": name, "region": "eu"})).collect();
    clusters.push(json!({"name": "fresh", "region": "eu"}));
    clusters.push(json!({"name": "no label"}));
    clusters.push(json!({"region": "eu"}));
    clusters.push(json!({"name": "empty list", "region": "eu"}));
    clusters.push(json!({"name": "mixed", "region": "eu"}));
    let replies: BTreeMap<String, Reply> =
        faults.iter().map(|(name, reply, _)| ((*name).to_owned(), reply.clone())).collect();
    let service = Service::start(move |asked: &Asked| {
        let cluster = asked.path.strip_prefix("/servers?cluster=");
        match cluster {
            None if asked.path == "/clusters" => Reply::json(json!({ "clusters": clusters })),
            Some("fresh") => Reply::json(list(&["a", "b"])),
            Some("empty%20list") => Reply::json(list(&[])),
            Some("mixed") => Reply::json(json!({"servers": [
                {"name": "a", "status": "ACTIVE"},
                {"name": "b", "status": "SHUTOFF"},
                {"name": "c", "status": "ERROR"},
                {"name": "d"},
            ]})),
            Some(name) => replies[name].clone(),
            // What redirects in a circle.
            None => Reply::redirect(302, &asked.path),
        }
    });
    let clusters =
        ItemMap::of_parents().items(pointer("/clusters")).name(pointer("/name")).require(pointer("/region"));
    let target = HttpTarget::new(format!("{}/clusters", service.url())).max_body(65_536);
    let mut checker = check::http_json(target, clusters)
        .request_timeout(SHORT)
        .members("/servers?cluster={name}", servers());
    let found = look(&mut checker);
    assert_eq!(found.verdict, Ok(Verdict::Items));
    for (name, _, pieces) in &faults {
        let (health, reason) = found.item(name);
        assert_eq!(health, Health::Unknown, "{name}: {reason}");
        for piece in pieces {
            assert!(reason.contains(piece), "{name}: {piece:?} is not in {reason:?}");
        }
    }
    assert_eq!(found.item("fresh"), (Health::Ready, ""));
    assert_eq!(found.item("fresh/a"), (Health::Ready, ""));
    assert_eq!(found.item("no label"), (Health::Unknown, "the item has no \"region\", it has \"name\""));
    let third = names.len() + 3;
    assert_eq!(
        found.item(&format!("#{third}")),
        (Health::Unknown, "name: the item has no \"name\", it has \"region\"")
    );
    assert_eq!(found.item("empty list"), (Health::Unknown, "has no members"));
    assert_eq!(found.item("mixed"), (Health::Degraded, "3 of 4 not ready: b degraded, c down, d unknown"));
    assert_eq!(found.item("mixed/b"), (Health::Degraded, "state \"SHUTOFF\""));
    assert_eq!(found.item("mixed/c"), (Health::Down, "state \"ERROR\""));
    assert_eq!(
        found.item("mixed/d"),
        (Health::Unknown, "state: the item has no \"status\", it has \"name\"")
    );
}

#[test]
fn members_are_asked_for_by_what_an_item_has_for_its_id() {
    let service = Service::start(|asked: &Asked| match asked.path.as_str() {
        "/" => Reply::json(json!([
            {"name": "a", "at": {"id": "x/1"}, "own": "ok"},
            {"name": "b", "at": {"id": 2}, "own": "bad"},
            {"name": "c", "at": {}, "own": "ok"},
            {"name": "d", "at": {}, "own": "bad"},
            {"at": {}, "own": "ok"},
        ])),
        "/of/a/x%2F1" | "/of/b/2" => Reply::json(list(&["m"])),
        other => Reply::status(404, other),
    });
    let clusters = ItemMap::new(pointer("/own")).name(pointer("/name")).ready(["ok"]).down(["bad"]);
    let mut checker = check::http_json(HttpTarget::new(service.url()), clusters)
        .members("/of/{name}/{id}", servers())
        .members_id(pointer("/at/id"));
    let found = look(&mut checker);
    assert_eq!(found.verdict, Ok(Verdict::Items));
    assert_eq!(
        found.lines(),
        [
            "#5: unknown (name: the item has no \"name\", it has \"at\", \"own\")",
            "a: ready",
            "a/m: ready",
            "b: degraded (1 of 2 not ready: itself down)",
            "b/m: ready",
            "c: unknown (id: the item's /at has no \"id\", it is empty)",
            "d: unknown (id: the item's /at has no \"id\", it is empty)",
        ]
    );
    assert_eq!(service.asked().len(), 3);
}

#[test]
fn wum_01_where_time_is_short_the_next_look_begins_where_this_one_ended() {
    let names: Vec<String> = (0..20).map(|n| format!("c{n:02}")).collect();
    let document = list(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let service = Service::start(move |asked: &Asked| match asked.path.as_str() {
        "/" => Reply::json(&document),
        path => {
            support::pause(Duration::from_millis(30));
            Reply::json(list(&[path.trim_start_matches("/of/")]))
        }
    });
    let clusters = ItemMap::of_parents().items(pointer("/servers")).name(pointer("/name"));
    let mut checker =
        check::http_json(HttpTarget::new(service.url()), clusters).members("/of/{name}", servers());
    let mut seen = std::collections::BTreeSet::new();
    let mut looks = 0;
    while seen.len() < 20 {
        looks += 1;
        assert!(looks < 100, "{seen:?}");
        let found = look_in(&mut checker, &context(SHORT));
        let told: Vec<&String> = found.items.keys().filter(|name| !name.contains('/')).collect();
        if let Err(error) = found.verdict {
            let piece = "/: 20 items, and no time was left from \"c";
            assert!(error.starts_with("GET http://127.0.0.1:") && error.contains(piece), "{error}");
            assert!(told.len() < 20, "{told:?}");
        }
        // Those that were not asked are not told anew.
        seen.extend(told.into_iter().cloned());
    }
    assert!(looks > 1, "the server is too quick for this test");
    // With time enough the order is as it was, and all are told.
    let found = look(&mut checker);
    assert_eq!((found.verdict, found.items.len()), (Ok(Verdict::Items), 40));
}

#[test]
fn cum_07_the_order_of_a_list_changes_nothing() {
    let names = ["d", "a", "c", "b", "a"];
    let backwards: Vec<&str> = names.iter().rev().copied().collect();
    let [one, other] = [list(&names), list(&backwards)].map(|document| {
        let service = Service::start(move |_| Reply::json(&document));
        look(&mut check::http_json(HttpTarget::new(service.url()), servers())).lines()
    });
    assert_eq!(one, other);
    assert_eq!(one, ["a: ready", "a (2): ready", "b: ready", "c: ready", "d: ready"]);
}

/// Items of a list whose pages come from `script`, and what was asked.
fn pages(paging: Paging, script: impl Fn(&str) -> Reply + Send + Sync + 'static) -> (Look, Vec<String>) {
    let service = Service::start(move |asked: &Asked| script(&asked.path));
    let target = HttpTarget::new(format!("{}/v1/list?x=1", service.url()));
    let found = look(&mut check::http_json(target, servers()).paging(paging).max_pages(4));
    (found, service.asked().into_iter().map(|asked| asked.path).collect())
}

fn with(mut document: Value, key: &str, value: Value) -> Value {
    document[key] = value;
    document
}

#[test]
fn a_list_goes_on_over_pages() {
    let next = |path: &str| match path {
        "/v1/list?x=1" => Reply::json(with(list(&["a"]), "next", json!("more?page=2"))),
        "/v1/more?page=2" => Reply::json(with(list(&["b"]), "next", json!("/v1/last"))),
        _ => Reply::json(with(list(&["c"]), "next", Value::Null)),
    };
    let header = |path: &str| match path {
        "/v1/list?x=1" => {
            Reply::json(list(&["a"])).header("link", "</v1/list?p=2>; rel=\"next\", </x>; rel=last")
        }
        // Each link in a header of its own, and one that is not ASCII.
        "/v1/list?p=2" => Reply::json(list(&["b"]))
            .header("link", "</v1/list>; rel=prev; title=\"zurück\"")
            .header("link", "<?p=3>; rel=next; title=\"weiter für alle\""),
        _ => Reply::json(list(&["c"])).header("link", "</v1/list>; rel=\"prev\""),
    };
    let cursor = |path: &str| match path {
        "/v1/list?x=1" => Reply::json(with(list(&["a"]), "cursor", json!("b/2"))),
        "/v1/list?x=1&after=b%2F2" => Reply::json(with(list(&["b"]), "cursor", json!(3))),
        _ => Reply::json(list(&["c"])),
    };
    let page = |path: &str| {
        let idx = ["&page=1", "&page=2", "&page=3"].iter().position(|end| path.ends_with(end));
        Reply::json(idx.map_or(list(&[]), |idx| list(&[["a", "b", "c"][idx]])))
    };
    let offset = |path: &str| match path {
        "/v1/list?x=1&offset=0" => Reply::json(list(&["a", "b"])),
        "/v1/list?x=1&offset=2" => Reply::json(list(&["c"])),
        _ => Reply::json(list(&[])),
    };
    let parameter = |name: &str| name.to_owned();
    let (found, asked) = pages(Paging::NextLink(pointer("/next")), next);
    assert_eq!((found.verdict.as_ref(), found.items.len()), (Ok(&Verdict::Items), 3));
    assert_eq!(asked, ["/v1/list?x=1", "/v1/more?page=2", "/v1/last"]);
    let (found, asked) = pages(Paging::LinkHeader, header);
    assert_eq!((found.verdict.as_ref(), found.items.len()), (Ok(&Verdict::Items), 3));
    assert_eq!(asked, ["/v1/list?x=1", "/v1/list?p=2", "/v1/list?p=3"]);
    let (found, asked) =
        pages(Paging::Cursor { at: pointer("/cursor"), parameter: parameter("after") }, cursor);
    assert_eq!((found.verdict.as_ref(), found.items.len()), (Ok(&Verdict::Items), 3));
    assert_eq!(asked, ["/v1/list?x=1", "/v1/list?x=1&after=b%2F2", "/v1/list?x=1&after=3"]);
    let (found, asked) = pages(Paging::Page { parameter: parameter("page"), first: 1 }, page);
    assert_eq!((found.verdict.as_ref(), found.items.len(), asked.len()), (Ok(&Verdict::Items), 3, 4));
    let (found, asked) = pages(Paging::Offset { parameter: parameter("offset") }, offset);
    assert_eq!((found.verdict.as_ref(), found.items.len(), asked.len()), (Ok(&Verdict::Items), 3, 3));
}

#[test]
fn pages_that_never_end_are_told_and_what_was_read_counts() {
    let next = |to: &'static str| move |_: &str| Reply::json(with(list(&["a"]), "next", json!(to)));
    let link = || Paging::NextLink(pointer("/next"));
    let page = || Paging::Page { parameter: "page".to_owned(), first: 1 };
    let ends = |name: &str, (found, _): (Look, Vec<String>), piece: &str, items: usize| {
        let error = found.verdict.clone().unwrap_err();
        assert!(error.contains(piece), "{name}: {error}");
        assert_eq!(found.items.len(), items, "{name}: {:?}", found.lines());
    };
    ends("circle", pages(link(), next("/v1/again")), "page 2 leads back to one before it", 2);
    ends("elsewhere", pages(link(), next("http://127.0.0.1:1/")), "leads to another server", 1);
    ends("scheme", pages(link(), next("ftp://x/")), "leads to the scheme ftp", 1);
    ends(
        "wrong",
        pages(link(), |_| Reply::json(with(list(&["a"]), "next", json!([])))),
        "next: expected a link at /next, found a list",
        1,
    );
    ends("deaf", pages(page(), |_| Reply::json(list(&["a"]))), "page 2 is the same as the one before it", 1);
    let count = std::sync::atomic::AtomicUsize::new(0);
    let endless = move |_: &str| {
        let n = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Reply::json(list(&[&format!("s{n}")]))
    };
    ends("endless", pages(page(), endless), "has more than 4 pages", 4);
    let broken = |path: &str| match path {
        "/v1/list?x=1" => Reply::json(with(list(&["a"]), "next", json!("/v1/2"))),
        _ => Reply::status(500, "oops"),
    };
    ends("broken", pages(link(), broken), "/v1/2: status 500", 1);
    let names: Vec<String> = (0..10_001).map(|n| n.to_string()).collect();
    let many = list(&names.iter().map(String::as_str).collect::<Vec<_>>());
    ends("many", pages(link(), move |_| Reply::json(&many)), "lists more than 10000 items", 10_000);
}

#[test]
fn wum_10_servers_are_asked_as_the_principal_and_a_refused_token_is_replaced() {
    let folder = TempDir::new("principal");
    let count = folder.path().join("count");
    // Another token each time that the command runs.
    let script = format!("echo x >> {0}; echo token-$(wc -l < {0} | tr -d ' ')", count.display());
    let principal = Principal::new("monitor").token_command(["sh", "-c", &script]);
    let service = Service::start(|asked: &Asked| match asked.header("authorization") {
        Some("Bearer token-2") => Reply::json(list(&["a"])),
        _ => Reply::status(401, ""),
    });
    let target = HttpTarget::new(service.url()).principal(principal.clone());
    let mut checker = check::http_json(target, servers());
    let cx = context(PATIENCE);
    assert!(look_in(&mut checker, &cx).verdict.unwrap_err().contains("status 401"));
    assert_eq!(look_in(&mut checker, &cx).verdict, Ok(Verdict::Items));
    assert_eq!(look_in(&mut checker, &cx).verdict, Ok(Verdict::Items));
    let seen: Vec<String> =
        service.asked().iter().map(|asked| asked.header("authorization").unwrap().to_owned()).collect();
    assert_eq!(seen, ["Bearer token-1", "Bearer token-2", "Bearer token-2"]);
    let file = folder.write("token", "of-a-file\n");
    let target = HttpTarget::new(service.url()).principal(principal.clone()).bearer_file(file);
    assert!(look(&mut check::http_json(target, servers())).verdict.is_err());
    assert_eq!(service.asked().last().unwrap().header("authorization"), Some("Bearer of-a-file"));
    // That another token was refused says nothing about this one.
    assert_eq!(look_in(&mut checker, &cx).verdict, Ok(Verdict::Items));
}

#[test]
fn conditions_about_a_server_that_was_not_asked_for_want_of_a_token_are_unknown() {
    let service = Service::start(|_| Reply::json("{}"));
    for script in ["exit 1", "sleep 60", "echo a b"] {
        let principal = Principal::new("monitor").token_command(["sh", "-c", script]);
        let target = HttpTarget::new(service.url()).principal(principal);
        let mut checker = check::conditions().http(target).named("up", condition("status == 200"));
        let found = look_in(&mut checker, &context(SHORT));
        let (health, reason) = found.item("up");
        assert!(
            reason.starts_with("GET http://127.0.0.1:") && reason.contains("token of monitor: "),
            "{reason}"
        );
        assert_eq!(health, Health::Unknown, "{reason}");
    }
    assert!(service.asked().is_empty());
}

#[test]
fn wum_10_a_server_that_refuses_every_token_has_one_replaced_each_half_minute() {
    let folder = TempDir::new("refused");
    let count = folder.path().join("count");
    let script = format!("echo x >> {0}; echo token-$(wc -l < {0} | tr -d ' ')", count.display());
    let principal = Principal::new("monitor").token_command(["sh", "-c", &script]);
    let service = Service::start(|asked: &Asked| match asked.path.as_str() {
        "/" => Reply::json(list(&["a", "b", "c", "d"])),
        _ => Reply::status(401, ""),
    });
    let target = HttpTarget::new(service.url()).principal(principal);
    let clusters = ItemMap::of_parents().items(pointer("/servers")).name(pointer("/name"));
    let mut checker = check::http_json(target, clusters).members("/servers/{name}", servers());
    let clock = loopkeeper::ManualClock::default();
    let env = Env::manual(&clock).unwrap();
    let issued = || std::fs::read_to_string(&count).unwrap_or_default().lines().count();
    for (later, expected) in [(0, 2), (5, 2), (24, 2), (1, 3), (29, 3), (1, 4)] {
        clock.jump(Duration::from_secs(later));
        let cx = Context::detached(&env, Name::new("checks").unwrap(), PATIENCE);
        let found = look_in(&mut checker, &cx);
        assert_eq!((found.items.len(), issued()), (4, expected), "{:?}", found.lines());
    }
}

#[test]
fn no_debug_text_of_a_checker_shows_what_is_secret() {
    const SECRET: &str = "hunter2";
    let service = Service::start(|_| Reply::json(list(&["a"])));
    let url = service.url().replace("http://", "http://me:hunter2@") + "/list?key=hunter2";
    let target = || HttpTarget::new(&url).header("x-api-key", SECRET).bearer_file("/run/token");
    let mut list = check::http_json(target(), servers()).members("/servers?key=hunter2&of={name}", servers());
    let mut conditions = check::conditions().http(target()).condition(condition("status == 200"));
    for _ in 0..2 {
        for shown in [format!("{:?}", target()), format!("{list:?}"), format!("{conditions:?}")] {
            assert!(!shown.contains(SECRET), "{shown}");
            assert!(shown.contains("http://***@127.0.0.1:") && shown.contains("/run/token"), "{shown}");
        }
        // Also with what was made for a look.
        let _ = (look(&mut list), look(&mut conditions));
    }
    assert!(!format!("{:?}", HttpTarget::new("http://me:hunter2@h:0/")).contains(SECRET));
}

#[test]
fn each_condition_is_an_item_and_one_bad_one_hides_none() {
    let folder = TempDir::new("conditions");
    let file = folder.write("last", "backup");
    let service = Service::start(|_| {
        Reply::json(json!({"queue": {"depth": 512}, "state": "ok"}))
            .header("x-shard", "7")
            .header("x-place", "Köln")
    });
    let mut checker = check::conditions()
        .http(HttpTarget::new(service.url()))
        .condition(condition("status == 200"))
        .condition(condition("latency < 1h"))
        .named("depth", condition("body./queue/depth < 100"))
        .or_degraded("nice", condition("body./queue/depth < 10"))
        .named("missing", condition("body./queue/dept < 100"))
        .named("type", condition("body./state < 100"))
        .named("header", condition("header.x-shard == '8'"))
        .named("place", condition("header.x-place == 'Köln'"))
        .named("file", condition(&format!("age({}) < 1h", file.display())))
        .named("both", condition(&format!("status == 500 or size({}) > 1MiB", file.display())));
    let found = look(&mut checker);
    assert_eq!(found.verdict, Ok(Verdict::Items));
    let size = format!("status is 200; size({}) is 6B", file.display());
    for (name, health, reason) in [
        ("status == 200", Health::Ready, ""),
        ("latency < 1h0m0s", Health::Ready, ""),
        ("depth", Health::Down, "body./queue/depth is the number 512"),
        ("nice", Health::Degraded, "body./queue/depth is the number 512"),
        ("missing", Health::Down, "body: /queue has no \"dept\", did you mean \"depth\"?"),
        ("type", Health::Down, "body./state: expected a number, found the string \"ok\""),
        ("header", Health::Down, "header.x-shard is \"7\""),
        ("place", Health::Ready, ""),
        ("file", Health::Ready, ""),
        ("both", Health::Down, &size),
    ] {
        assert_eq!(found.item(name), (health, reason));
    }
    assert_eq!(service.asked().len(), 1, "once for all conditions");
}

#[test]
fn conditions_about_a_server_that_fails_are_down_and_those_about_files_are_told_before() {
    for (name, reply, pieces) in faults() {
        // Statuses and contents are what conditions are about.
        if !["hang", "close", "10-gb", "dribble", "endless", "no-http", "circle"].contains(&name) {
            continue;
        }
        let service = Service::start(move |_| reply.clone());
        let target = HttpTarget::new(format!("{}/{name}", service.url())).max_body(65_536);
        let mut checker = check::conditions()
            .http(target)
            .named("file", condition("exists(/)"))
            .named("status", condition("status == 200"))
            .or_degraded("body", condition("body./x == 1"))
            .named("either", condition("exists(/) or status == 200"));
        let found = look_in(&mut checker, &context(SHORT));
        assert_eq!(found.verdict, Ok(Verdict::Items), "{name}");
        assert_eq!(found.item("file"), (Health::Ready, ""));
        assert_eq!(found.item("either"), (Health::Ready, ""));
        let (health, reason) = found.item("status");
        assert_eq!((health, found.item("body").0), (Health::Down, Health::Degraded), "{name}");
        for piece in pieces {
            assert!(reason.contains(piece), "{name}: {piece:?} is not in {reason:?}");
        }
    }
    let port = support::free_port();
    let mut checker =
        check::conditions().tcp(format!("127.0.0.1:{port}")).named("quick", condition("latency < 1s"));
    let found = look(&mut checker);
    let (health, reason) = found.item("quick");
    assert_eq!(health, Health::Down);
    assert!(reason.starts_with(&format!("tcp 127.0.0.1:{port}: connection refused after ")), "{reason}");
    let service = Service::start(|_| Reply::Close);
    let address = service.url().replace("http://", "");
    let mut checker = check::conditions().tcp(address).named("quick", condition("latency < 1h"));
    assert_eq!(look(&mut checker).item("quick"), (Health::Ready, ""));
}

/// A server that hangs in every way ends with the checker's cancel.
#[test]
fn a_cancel_ends_a_look_at_once() {
    let service = Service::start(|_| Reply::Hang(Vec::new()));
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let checkers: [Box<dyn Checker>; 3] = [
        Box::new(
            check::http_json(HttpTarget::new(service.url()), servers())
                .request_timeout(Duration::from_secs(3600)),
        ),
        Box::new(
            check::conditions().http(HttpTarget::new(service.url())).condition(condition("status == 200")),
        ),
        Box::new(check::clock_offset(socket.local_addr().unwrap().to_string())),
    ];
    for mut checker in checkers {
        let cx = context(Duration::from_secs(3600));
        let cancel = cx.cancel_token().clone();
        let canceller = thread::spawn(move || {
            support::pause(Duration::from_millis(50));
            cancel.cancel();
        });
        let error = checker.check(&cx, &Report::new()).unwrap_err();
        canceller.join().unwrap();
        assert_eq!(ErrorClass::of(&*error), ErrorClass::Cancelled, "{error}");
    }
}

/// Answers as a time server that is `ahead` seconds ahead, after `change`.
fn time_server(ahead: i64, change: impl Fn(usize, &mut Vec<u8>) -> bool + Send + 'static) -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap().to_string();
    thread::spawn(move || {
        let mut question = [0; 100];
        for n in 0.. {
            let Ok((len, from)) = socket.recv_from(&mut question) else { return };
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            let secs = (now.as_secs().wrapping_add_signed(ahead) + 2_208_988_800) as u32;
            let fraction = ((u64::from(now.subsec_nanos()) << 32) / 1_000_000_000) as u32;
            let mut answer = vec![0; 48];
            answer[0] = 0b00_100_100;
            answer[1] = 2;
            answer[24..32].copy_from_slice(&question[len - 8..len]);
            for at in [32, 40] {
                answer[at..at + 4].copy_from_slice(&secs.to_be_bytes());
                answer[at + 4..at + 8].copy_from_slice(&fraction.to_be_bytes());
            }
            if change(n, &mut answer) {
                let _ = socket.send_to(&answer, from);
            }
        }
    });
    address
}

#[test]
fn the_offset_of_the_clock_is_measured_against_a_server() {
    let ask =
        |server: String| look_in(&mut check::clock_offset(server), &context(Duration::from_secs(3))).verdict;
    assert_eq!(ask(time_server(0, |_, _| true)), Ok(Verdict::Ready));
    for (ahead, side) in [(90, "behind"), (-90, "ahead of")] {
        let error = ask(time_server(ahead, |_, _| true)).unwrap_err();
        assert!(
            error.starts_with("the clock is 90.0s ") || error.starts_with("the clock is 89.9s "),
            "{error}"
        );
        assert!(error.contains(&format!(" {side} that of 127.0.0.1:")), "{error}");
        assert!(error.ends_with("allowed is 1s"), "{error}");
    }
    // What gets lost is asked for again.
    assert_eq!(ask(time_server(0, |n, _| n > 0)), Ok(Verdict::Ready));
    let refused = ask(time_server(0, |_, answer| {
        answer[1] = 0;
        answer[12..16].copy_from_slice(b"RATE");
        true
    }));
    assert!(refused.unwrap_err().contains("the server refuses to answer (code \"RATE\"), after "));
    let unset = ask(time_server(0, |_, answer| {
        answer[0] |= 0b11_000_000;
        true
    }));
    assert!(unset.unwrap_err().contains("says that its own clock is not set"));
    // An answer to another question, a short one, none: no answer.
    let changes: [fn(usize, &mut Vec<u8>) -> bool; 3] = [
        |_, answer| {
            answer[24] ^= 1;
            true
        },
        |_, answer| {
            answer.truncate(47);
            true
        },
        |_, _| false,
    ];
    for change in changes {
        let mut checker = check::clock_offset(time_server(0, change));
        let error = look_in(&mut checker, &context(SHORT)).verdict.unwrap_err();
        assert!(error.contains(": no answer after "), "{error}");
    }
    let nobody = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert!(ask(nobody.to_string()).unwrap_err().contains("connection refused"));
}

#[test]
#[cfg(target_os = "linux")]
fn the_machine_is_looked_at() {
    let found = look(&mut check::disk(["/", "/nowhere", "/tmp"], Size::Bytes(1)));
    assert_eq!(found.lines(), ["/: ready", "/nowhere: down (no such file or folder)", "/tmp: ready"]);
    let (health, _) = look(&mut check::disk(["/"], Size::Bytes(u64::MAX))).items["/"].clone().into_pair();
    assert_eq!(health, Health::Down);
    let found = look(&mut check::memory(Size::Bytes(1)));
    assert_eq!(found.item("available"), (Health::Ready, ""));
    let found = look(&mut check::memory(Size::Bytes(u64::MAX)).max_pressure(99.9));
    assert_eq!(found.item("available").0, Health::Down);
    assert!(found.item("available").1.contains(" free, needed 16777216.0TiB"), "{:?}", found.lines());
    assert!(found.items.contains_key("pressure"));
    for window in [LoadWindow::OneMinute, LoadWindow::FiveMinutes, LoadWindow::FifteenMinutes] {
        assert_eq!(look(&mut check::load(1e9).over(window)).verdict, Ok(Verdict::Ready));
    }
}

trait IntoPair {
    fn into_pair(self) -> (Health, Option<String>);
}

impl IntoPair for ItemState {
    fn into_pair(self) -> (Health, Option<String>) {
        (self.health, self.reason)
    }
}

#[cfg(feature = "tls")]
mod certificates {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::sync::Arc;

    use loopkeeper::config::Settings;
    use loopkeeper::host::deploy::{Deployer, DeployerConfig};
    use loopkeeper::rest::TlsFiles;
    use loopkeeper::{Host, HostConfig, shipped};
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use rustls::server::WebPkiClientVerifier;
    use rustls::{RootCertStore, ServerConfig, ServerConnection};

    use super::*;

    /// Of nobody, for localhost; from 2020 to 2120.
    const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----
MIIBVTCB/KADAgECAgEBMAoGCCqGSM49BAMCMBQxEjAQBgNVBAMMCWxvY2FsaG9z
dDAgFw0yMDAxMDEwMDAwMDBaGA8yMTIwMDEwMTAwMDAwMFowFDESMBAGA1UEAwwJ
bG9jYWxob3N0MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEZP55ddqKld2G/v/f
G9PLHSGah/3wy6vjFfMRVKuyU2LtZ2t82R9gTe0fnAVLqv2aJkiS+IRvbe7iRT8x
RgehPqM9MDswGgYDVR0RBBMwEYIJbG9jYWxob3N0hwR/AAABMB0GA1UdDgQWBBTC
tJwaWA4v4DvFdWJlh+0TbUjaLjAKBggqhkjOPQQDAgNIADBFAiEA2vvS8Hk/rnpZ
EG3fMrsHfbfcRH0mBb073h/xtqGQpcICICtkiKwIoAJ296fqu474Uu9sY3UmQ8mP
MOB9/GEdsH7p
-----END CERTIFICATE-----
";
    const KEY: &str = "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgNunjQloRGH8rvLHF
q8QTWZje3FoNeFyHaN0T278mOY+hRANCAARk/nl12oqV3Yb+/98b08sdIZqH/fDL
q+MV8xFUq7JTYu1na3zZH2BN7R+cBUuq/ZomSJL4hG9t7uJFPzFGB6E+
-----END PRIVATE KEY-----
";
    const DAY: Duration = Duration::from_secs(24 * 3600);

    /// Another key.
    const OTHER_KEY: &str = "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgR6c0/VEpxvOH8LCO
bhhW38uINt3pdYf+WPVznB7YtvihRANCAAQQLxvdWBJALa3iF0zzO66Hn/e7D3wc
D5axaUNXuKYo/30TPMwhDK7W5ZdYNQO4zaFXrIUVSd5eWOW0Aafh1WyL
-----END PRIVATE KEY-----
";

    /// An `https` server that lists one thing, to all or to those only who
    /// prove that they have the key to the certificate.
    fn https_server(asks_for_proof: bool) -> String {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let certificate = CertificateDer::from_pem_slice(CERTIFICATE.as_bytes()).unwrap();
        let builder = ServerConfig::builder_with_provider(provider.clone());
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let builder = if asks_for_proof {
            let mut roots = RootCertStore::empty();
            roots.add(certificate.clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let key = PrivateKeyDer::from_pem_slice(KEY.as_bytes()).unwrap();
        let config = Arc::new(builder.with_single_cert(vec![certificate], key).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                let config = config.clone();
                thread::spawn(move || {
                    let connection = ServerConnection::new(config).ok()?;
                    let mut stream = rustls::StreamOwned::new(connection, stream);
                    let mut head = Vec::new();
                    let mut byte = [0];
                    while !head.ends_with(b"\r\n\r\n") {
                        stream.read_exact(&mut byte).ok()?;
                        head.push(byte[0]);
                    }
                    let body = list(&["a"]).to_string();
                    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                    stream.write_all(answer.as_bytes()).ok()?;
                    stream.conn.send_close_notify();
                    stream.flush().ok()
                });
            }
        });
        format!("https://localhost:{port}")
    }

    /// What is said of the one thing, or why it cannot be seen.
    fn seen(url: &str, files: TlsFiles) -> Result<Health, String> {
        let mut checker = check::http_json(HttpTarget::new(url).tls(files), servers());
        seen_by(&mut checker)
    }

    fn seen_by(checker: &mut dyn Checker) -> Result<Health, String> {
        let found = look(checker);
        found.verdict.as_ref().map(|_| found.item("a").0).map_err(Clone::clone)
    }

    #[test]
    fn an_https_server_is_known_and_learns_who_asks_by_files() {
        let folder = TempDir::new("tls-files");
        let cert = folder.write("cert.pem", CERTIFICATE);
        let key = folder.write("key.pem", KEY);
        let both = folder.write("both.pem", format!("{KEY}{CERTIFICATE}"));
        let [open, closed] = [false, true].map(https_server);
        let roots = || TlsFiles::default().roots(&cert);
        let of_both = || {
            let mut files = roots();
            files.client_cert = Some(both.clone());
            files
        };
        assert_eq!(seen(&open, roots()), Ok(Health::Ready));
        assert_eq!(seen(&open, roots().client(&cert, &key)), Ok(Health::Ready));
        assert_eq!(seen(&closed, roots().client(&cert, &key)), Ok(Health::Ready));
        assert_eq!(seen(&closed, of_both()), Ok(Health::Ready));
        for (url, files, piece) in [
            (&open, TlsFiles::default(), "invalid peer certificate: UnknownIssuer"),
            (&open, TlsFiles::default().client(&cert, &key), "invalid peer certificate: UnknownIssuer"),
            (&closed, roots(), "CertificateRequired"),
        ] {
            let error = seen(url, files).unwrap_err();
            assert!(error.starts_with(&format!("GET {url}/: ")) && error.contains(piece), "{error}");
        }
    }

    #[test]
    fn an_https_server_that_does_not_shake_hands_is_told_in_time() {
        let hung = TcpListener::bind("127.0.0.1:0").unwrap();
        let hung_at = hung.local_addr().unwrap();
        let says = |greeting: &'static [u8]| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            thread::spawn(move || {
                while let Ok((mut stream, _)) = listener.accept() {
                    let _ = stream.write_all(greeting);
                    // Until the other side has gone, so that what was said arrives.
                    while !greeting.is_empty() && stream.read(&mut [0; 64]).is_ok_and(|n| n > 0) {}
                }
            });
            address
        };
        for (address, piece) in [
            (hung_at, "no answer from 127.0.0.1:"),
            (says(b"SSH-2.0-x\r\n"), "corrupt message"),
            (says(b""), "connection "),
        ] {
            let url = format!("https://{address}");
            let target = HttpTarget::new(&url);
            let mut checker = check::http_json(target, servers()).request_timeout(SHORT);
            let error = seen_by(&mut checker).unwrap_err();
            assert!(error.starts_with(&format!("GET {url}/: ")) && error.contains(piece), "{error}");
        }
    }

    #[test]
    fn a_file_for_tls_that_is_not_there_or_does_not_fit_fails_the_request_until_it_is_right() {
        let folder = TempDir::new("tls-late");
        let path = |name: &str| folder.path().join(name);
        let url = https_server(true);
        let files = || TlsFiles::default().roots(path("roots.pem")).client(path("cert.pem"), path("key.pem"));
        let mut checker = check::http_json(HttpTarget::new(&url).tls(files()), servers());
        let mut conditions = check::conditions()
            .http(HttpTarget::new(&url).tls(files()))
            .named("up", condition("status == 200"));
        for (name, content, expected) in [
            ("none", "", "client_cert: {}/cert.pem: no such file or folder"),
            ("cert.pem", KEY, "client_cert: {}/cert.pem: has no certificate in PEM form"),
            ("cert.pem", CERTIFICATE, "client_key: {}/key.pem: no such file or folder"),
            ("key.pem", CERTIFICATE, "client_key: {}/key.pem: has no private key in PEM form"),
            ("key.pem", OTHER_KEY, "client_key: {}/key.pem: does not fit the certificate: "),
            ("key.pem", KEY, "root_certs: {}/roots.pem: no such file or folder"),
            (
                "roots.pem",
                "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                "root_certs: {}/roots.pem: has no certificate that can be a root",
            ),
        ] {
            folder.put(name, content);
            let error = seen_by(&mut checker).unwrap_err();
            let expected = expected.replace("{}", &folder.path().display().to_string());
            assert!(error.starts_with(&format!("GET {url}/: {expected}")), "{error}");
            // This machine could not ask, which says nothing about the server.
            let found = look(&mut conditions);
            assert_eq!(found.item("up").0, Health::Unknown, "{:?}", found.lines());
        }
        folder.put("roots.pem", CERTIFICATE);
        assert_eq!(seen_by(&mut checker), Ok(Health::Ready));
        assert_eq!(look(&mut conditions).item("up"), (Health::Ready, ""));
        // Exchanged while it runs.
        folder.put("key.pem", OTHER_KEY);
        assert!(seen_by(&mut checker).unwrap_err().contains("does not fit the certificate"));
        let mut lone = TlsFiles::default();
        lone.client_key = Some(path("key.pem"));
        let error = check::http_json(HttpTarget::new(&url).tls(lone), servers()).validate().unwrap_err();
        assert_eq!(error.to_string(), "client_key: is there without a client_cert");
    }

    #[test]
    fn what_proves_the_principal_is_the_programs_unless_a_checker_has_its_own() {
        let folder = TempDir::new("tls-descriptor");
        let cert = folder.write("cert.pem", CERTIFICATE).display().to_string();
        let key = folder.write("key.pem", KEY).display().to_string();
        let url = https_server(true);
        let mut settings = Settings::default();
        settings.monitor.root_certs = Some(cert.clone().into());
        settings.monitor.client_cert = Some(cert.clone().into());
        settings.monitor.client_key = Some(key.clone().into());
        let map = json!({"items": "/servers", "name": "/name", "state": "/status", "states": {"ready": ["ACTIVE"]}});
        let own = json!({"client_cert": cert, "client_key": key, "root_certs": cert});
        let none = json!({});
        for (settings, principal, own, expected) in [
            (Settings::default(), "loopkeeper", &own, Health::Ready),
            (Settings::default(), "loopkeeper", &none, Health::Down),
            (settings.clone(), "loopkeeper", &none, Health::Ready),
            (settings.clone(), "somebody", &none, Health::Down),
            (settings.clone(), "somebody", &json!({"client_cert": cert, "client_key": key}), Health::Ready),
        ] {
            let mut list = map.clone();
            list["url"] = json!(url);
            list.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
            let descriptor = json!({"name": "m", "type": "monitor", "config": {
                "principal": principal, "checkers": [{"name": "c", "http_json": list}]
            }});
            let deploy = TempDir::new("tls-deploy");
            deploy.write("m.json", descriptor.to_string());
            let env = Env::new().unwrap();
            let host = Host::new(HostConfig::default().env(&env)).unwrap();
            let (folder, registry) = (DeployerConfig::new(deploy.path()), shipped::registry_for(&settings));
            let deployer = Deployer::new(&env, folder, registry, Arc::new(host.handle())).unwrap();
            host.register("deployer", deployer).unwrap();
            host.start().unwrap();
            let status = || env.statuses().into_iter().find(|status| status.name.as_str() == "m");
            support::eventually("a look", || status().is_some_and(|status| status.last_check.is_some()));
            let status = status().unwrap();
            assert_eq!(status.health, expected, "{principal} {own}: {status}");
            assert!(host.stop(PATIENCE).is_clean());
        }
    }

    /// Shows its certificate to everybody, by this version of the protocol.
    fn tls_server(version: &'static rustls::SupportedProtocolVersion) -> String {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let chain = vec![CertificateDer::from_pem_slice(CERTIFICATE.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(KEY.as_bytes()).unwrap();
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let (listener, config) = (TcpListener::bind("127.0.0.1:0").unwrap(), Arc::new(config));
        let address = listener.local_addr().unwrap().to_string();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let mut connection = ServerConnection::new(config.clone()).unwrap();
                // Until the other side has gone.
                while connection.complete_io(&mut stream).is_ok()
                    && stream.read(&mut [0]).is_ok_and(|n| n > 0)
                {}
            }
        });
        address
    }

    #[test]
    fn the_dates_of_certificates_are_looked_at_and_each_is_an_item() {
        let folder = TempDir::new("certificates");
        let good = folder.write("good.pem", format!("{KEY}{CERTIFICATE}"));
        let none = folder.write("none.pem", KEY);
        let broken =
            folder.write("broken.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
        let [tls12, tls13] = [&rustls::version::TLS12, &rustls::version::TLS13].map(tls_server);
        let plain = Service::start(|_| Reply::Raw(b"HTTP/1.0 400 No\r\n\r\n".to_vec()));
        let hung = TcpListener::bind("127.0.0.1:0").unwrap();
        let [plain_at, hung_at] =
            [plain.url().replace("http://", ""), hung.local_addr().unwrap().to_string()];
        let nobody = format!("127.0.0.1:{}", support::free_port());
        let mut checker = check::certificate().file(&good).file(&none).file(&broken).file("/nowhere");
        for address in [&hung_at, &tls12, &plain_at, &tls13, &nobody] {
            checker = checker.address(address);
        }
        let found = look_in(&mut checker, &context(Duration::from_secs(3)));
        assert_eq!(found.verdict, Ok(Verdict::Items));
        let path = |path: &std::path::Path| path.display().to_string();
        assert_eq!(found.item(&path(&good)), (Health::Ready, ""));
        assert_eq!(found.item(&path(&none)), (Health::Down, "has no certificate in PEM form"));
        assert_eq!(found.item(&path(&broken)), (Health::Down, "certificate 1: it is not a certificate"));
        assert_eq!(found.item("/nowhere"), (Health::Unknown, "no such file or folder"));
        assert_eq!(found.item(&tls12), (Health::Ready, ""));
        assert_eq!(found.item(&tls13), (Health::Ready, ""));
        let says = |address: &str, piece: &str| {
            let (health, reason) = found.item(address);
            assert!(health == Health::Down && reason.contains(piece), "{health} {reason}");
        };
        says(&hung_at, "no certificate after ");
        says(&nobody, "connection refused after ");
        says(&plain_at, &format!("certificate of {plain_at}: "));
    }

    #[test]
    fn a_certificate_that_ends_soon_or_has_ended_is_down() {
        let address = tls_server(&rustls::version::TLS13);
        let mut checker = check::certificate().address(&address).min_left(200 * 365 * DAY);
        let found = look(&mut checker);
        let (health, reason) = found.item(&address);
        assert_eq!(health, Health::Down);
        assert!(reason.contains("(until 2120-01-01T00:00:00.000Z), needed are 73000.0 days"), "{reason}");
        // Half a day before and after the end, as a clock has it that a test owns.
        let end = UNIX_EPOCH + Duration::from_secs(4_733_510_400);
        for (now, expected) in [
            (end - DAY / 2, "is valid for 12.0 hours (until 2120-01-01T00:00:00.000Z), needed are 14.0 days"),
            (end + 3 * DAY, "expired at 2120-01-01T00:00:00.000Z, 3.0 days ago"),
            (UNIX_EPOCH + DAY, "is valid only from 2020-01-01T00:00:00.000Z on"),
        ] {
            let clock = loopkeeper::ManualClock::default();
            clock.set_wall(now);
            let env = Env::manual(&clock).unwrap();
            let cx = Context::detached(&env, Name::new("dates").unwrap(), PATIENCE);
            let mut checker = check::certificate().address(&address);
            let found = look_in(&mut checker, &cx);
            assert_eq!(found.item(&address), (Health::Down, expected));
        }
    }
}
