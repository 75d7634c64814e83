//! What a long list costs: the states of its items, and not what else a server
//! says of them. One test, because it looks at the memory of its process.

#![cfg(all(feature = "http-client", target_os = "linux"))]
#![allow(clippy::unwrap_used, reason = "test code: a failed set-up is a failed test")]

mod support;

use std::fs;
use std::time::Duration;

use loopkeeper::monitor::check::{self, HttpTarget, ItemMap, Paging};
use loopkeeper::monitor::{Report, Verdict};
use loopkeeper::{Checker, Context, Env, Name};
use support::service::{Asked, Reply, Service};

const PAGES: usize = 30;

/// The most memory that this process has had, in MiB.
fn peak() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() / 1024
}

#[test]
fn pages_of_talkative_items_are_not_kept() {
    // A megabyte a page, and some sixteen as values.
    let junk = format!("[{}]", vec!["0"; 5_000].join(","));
    let service = Service::start(move |asked: &Asked| {
        let page: usize = asked.path.rsplit('=').next().unwrap().parse().unwrap();
        let n_items = if page < PAGES { 100 } else { 0 };
        let item = |n: usize| format!("{{\"name\":\"s{page}-{n}\",\"status\":\"ok\",\"junk\":{junk}}}");
        let items: Vec<String> = (0..n_items).map(item).collect();
        Reply::json(format!("[{}]", items.join(",")))
    });
    let map = ItemMap::new("/status".parse().unwrap()).name("/name".parse().unwrap()).ready(["ok"]);
    let paging = Paging::Page { parameter: "page".to_owned(), first: 0 };
    let mut checker = check::http_json(HttpTarget::new(service.url()), map).paging(paging);
    let env = Env::new().unwrap();
    let cx = Context::detached(&env, Name::new("list").unwrap(), Duration::from_secs(120));
    let report = Report::new();
    let before = peak();
    assert_eq!(checker.check(&cx, &report).unwrap(), Verdict::Items);
    assert_eq!(report.items().len(), 100 * PAGES);
    let grown = peak() - before;
    assert!(grown < 200, "{grown} MiB for {PAGES} pages of one");
}
