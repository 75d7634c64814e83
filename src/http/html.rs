//! The page at `/` for browsers: one document that needs nothing from
//! elsewhere and says everything without scripts.
//!
//! The policy that goes with it lets a browser load nothing and run nothing
//! but the one script that is part of it, which asks for the changing parts of
//! the page again. What a service said in an error is text, whatever it looks
//! like: it is made harmless here and nowhere else.
//!
//! Written by hand, since a thousand loops are to cost little more than they
//! cost as JSON. Ends of cells and rows that HTML lets be left out are.

mod markup;
mod table;

use std::fmt::Write;
use std::sync::Arc;

use super::health::word;
use super::history::History;
use super::response::Response;
use super::snapshot::Snapshot;
use crate::config::Config;
use crate::env::Env;
use crate::event::{Event, Health, LoopKind};
use crate::name::Name;
use crate::status::{ConfigStatus, LoopStatus, Rejected, aggregate};
use crate::text::start_of;
use markup::{LONG, SHORT, class_of, escape, folded, list, time};
use table::{loops, parent, why};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// How many events are shown.
pub(super) const N_EVENTS: usize = 50;
/// How many loops the first line names.
const N_NAMED: usize = 12;

/// What the page is made of.
pub(super) struct View<'a> {
    pub(super) snapshot: &'a Snapshot<'a>,
    pub(super) history: &'a History,
    /// The last events, the oldest first.
    pub(super) events: &'a [Arc<Event>],
    /// The number of the last event that it knows of.
    pub(super) next: u64,
    pub(super) config: Option<&'a Config>,
    /// Whether there is a token that lets something be done.
    pub(super) can_act: bool,
    /// The descriptors that cannot be used.
    pub(super) rejected: &'a [Rejected],
    /// Those that somebody is to say are alive, in their order.
    pub(super) awaited: &'a [Name],
}

/// The whole page.
pub(super) fn page(view: &View<'_>) -> Response {
    let nonce = Env::word();
    let mut out = String::with_capacity(STYLE.len() + SCRIPT.len() + 8192 + 320 * view.snapshot.loops.len());
    let health = aggregate(&view.snapshot.loops);
    let class = class_of(health.as_str());
    let _ = write!(
        out,
        "<!DOCTYPE html>\n<html lang=en>\n<head>\n<meta charset=utf-8>\n\
         <meta name=viewport content=\"width=device-width,initial-scale=1\">\n\
         <meta name=color-scheme content=\"light dark\">\n<title>{health} - loopkeeper</title>\n\
         <link rel=icon href=\"data:image/svg+xml,{}\">\n\
         <style nonce={nonce}>\n{STYLE}</style>\n</head>\n\
         <body data-boot={} data-next={} data-acts={}>\n\
         <a class=skip href=\"#loops\">Skip to the components</a>\n\
         <header><h1>Loopkeeper</h1><nav id=tools aria-label=Tools></nav></header>\n<main>\n",
        ICONS[class_index(class)],
        view.snapshot.boot,
        view.next,
        u8::from(view.can_act),
    );
    parts(&mut out, view, None);
    out.push_str("<footer><p>As JSON or text: ");
    for path in ["status", "events", "config", "healthz", "metrics", "readyz?verbose"] {
        let _ = write!(out, "<a href=\"/{path}\">/{path}</a> ");
    }
    let _ = write!(
        out,
        "<p>Loopkeeper {}. All times without a zone are UTC.</footer>\n</main>\n\
         <script nonce={nonce}>\n{SCRIPT}</script>\n</body>\n</html>\n",
        env!("CARGO_PKG_VERSION")
    );
    let policy = format!(
        "default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'; \
         img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    finish(out).header("Content-Security-Policy", policy).header("Vary", "Accept")
}

/// What changes of the page, with the rows of loops of these names or of all.
pub(super) fn part(view: &View<'_>, names: Option<&[Name]>) -> Response {
    let mut out = String::with_capacity(8192);
    let _ = write!(
        out,
        "<!DOCTYPE html>\n<title>{} - loopkeeper</title>\n<body data-boot={} data-next={}>\n",
        aggregate(&view.snapshot.loops),
        view.snapshot.boot,
        view.next
    );
    parts(&mut out, view, names);
    finish(out).header("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; sandbox")
}

fn finish(out: String) -> Response {
    Response::of_type("text/html; charset=utf-8", out)
        .header("Referrer-Policy", "no-referrer")
        .header("Cross-Origin-Opener-Policy", "same-origin")
        .header("Cross-Origin-Resource-Policy", "same-origin")
        .header("X-Frame-Options", "DENY")
}

fn parts(out: &mut String, view: &View<'_>, names: Option<&[Name]>) {
    overall(out, view.snapshot);
    loops(out, view, names);
    events(out, view.events);
    config(out, view);
}

/// What and since when, and which loops are the reason.
fn overall(out: &mut String, snapshot: &Snapshot<'_>) {
    let Snapshot { at, loops, .. } = snapshot;
    let health = aggregate(loops);
    let bad = |status: &&LoopStatus| !status.ready || status.health == Health::Degraded;
    let is_reason = |status: &&LoopStatus| match health {
        Health::Down => status.critical && !status.ready,
        _ => bad(status),
    };
    // Since the first of what is the reason now, or since the last was none.
    let since = match health {
        Health::Ready => loops.iter().map(|status| status.since).max(),
        _ => loops.iter().filter(is_reason).map(|status| status.since).min(),
    };
    let n_ready = loops.iter().filter(|status| status.ready).count();
    let said = match health {
        Health::Ready if loops.is_empty() => "Nothing to watch",
        Health::Ready => "All ready",
        Health::Down => "Down",
        _ => "Degraded",
    };
    let _ = write!(
        out,
        "<section id=overall class={} role=status aria-label=Overall><h2 class=s>{said}</h2>\n<p>",
        class_of(health.as_str())
    );
    if let Some(since) = since {
        out.push_str("Since ");
        time(out, since);
        out.push_str(". ");
    }
    let _ = write!(out, "{n_ready} of {} ready, seen ", loops.len());
    time(out, *at);
    out.push_str(".\n");
    let n_bad = loops.iter().filter(bad).count();
    if n_bad > 0 {
        out.push_str("<ul>");
        // What is the reason first, and of that what is known to be down.
        let mut named: Vec<&LoopStatus> = loops.iter().filter(bad).collect();
        named.sort_by_key(|status| (!is_reason(status), status.health != Health::Down));
        for status in named.into_iter().take(N_NAMED) {
            let (kind, name, word) = (status.kind.as_str(), status.name.as_str(), word(status));
            let _ = write!(
                out,
                "<li class={}><a href=\"#{kind}/{name}\">{name}</a> <span class=s>{word}</span>",
                class_of(word)
            );
            parent(out, status);
            if !status.waits_for.is_empty() {
                out.push_str(" waits for ");
                list(out, &status.waits_for);
            } else if let Some(why) = why(status) {
                out.push_str(": ");
                escape(out, start_of(&why, SHORT));
            }
        }
        if n_bad > N_NAMED {
            let _ = write!(out, "<li>and {} more", n_bad - N_NAMED);
        }
        out.push_str("</ul>");
    }
    out.push_str("</section>\n");
}

fn events(out: &mut String, events: &[Arc<Event>]) {
    out.push_str(
        "<section aria-labelledby=events-h><h2 id=events-h>Events</h2>\n<table id=events>\n<thead><tr>\
         <th scope=col>When<th scope=col>Who<th scope=col>What</thead>\n<tbody>\n",
    );
    for event in events.iter().rev() {
        let _ = write!(out, "<tr id=e{} data-event={}><td>", event.seq, event.what.as_str());
        time(out, event.at);
        let kind = event.kind.as_str();
        // The only one of its kind is called by it.
        let kind = if event.source.as_str() == kind { "" } else { kind };
        let _ = write!(out, "<td>{kind} {}<td>", event.source);
        // Nothing of it is folded: it is one of many.
        let text = event.what.to_string();
        escape(out, start_of(&text, 2 * SHORT));
        out.push_str(if text.len() > 2 * SHORT { "…\n" } else { "\n" });
    }
    if events.is_empty() {
        out.push_str("<tr><td colspan=3>nothing happened yet\n");
    }
    out.push_str("</table></section>\n");
}

fn config(out: &mut String, view: &View<'_>) {
    let Some(config) = view.config else { return };
    out.push_str(
        "<section id=config aria-labelledby=config-h><h2 id=config-h>Configuration in force</h2>\n<dl>",
    );
    let watcher = view.snapshot.loops.iter().find(|status| status.kind == LoopKind::ConfigWatcher);
    let of_watcher = watcher.and_then(|status| status.config.as_deref());
    let snapshot = config.snapshot();
    out.push_str("<dt>Source<dd>");
    match of_watcher.and_then(|ConfigStatus { source, .. }| source.as_deref()) {
        Some(source) => escape(out, source),
        None => out.push_str("no file"),
    }
    out.push_str("<dt>Hash<dd><code>");
    escape(out, &snapshot.fingerprint().to_string());
    let _ = write!(out, "</code><dt>Number<dd>{}<dt>In force since<dd>", snapshot.generation());
    time(out, snapshot.loaded_at());
    let mut room = LONG;
    if let Some(of_watcher) = of_watcher {
        out.push_str("<dt>On disk<dd>");
        out.push_str(if of_watcher.applied { "the same" } else { "another, which is not in force" });
        if let Some(since) = of_watcher.on_disk_since.filter(|_| !of_watcher.applied) {
            out.push_str(" since ");
            time(out, since);
        }
        if !of_watcher.needs_restart.is_empty() {
            out.push_str("<dt>Counts from the next start on<dd>");
            escape(out, &of_watcher.needs_restart.join(", "));
        }
    }
    let errors = |kind| {
        let of_kind = view.snapshot.loops.iter().filter(move |status| status.kind == kind);
        of_kind.filter_map(|status| status.last_error.as_deref())
    };
    for error in errors(LoopKind::ConfigWatcher) {
        out.push_str("<dt>Rejected edit<dd class=e>");
        folded(out, error, &mut room);
    }
    for rejected in view.rejected.iter().take(N_NAMED) {
        out.push_str("<dt>Rejected descriptor<dd class=e>");
        folded(out, &rejected.error, &mut room);
    }
    if view.rejected.len() > N_NAMED {
        let _ = write!(out, "<dt>Rejected descriptors<dd class=e>{} more", view.rejected.len() - N_NAMED);
    } else if view.rejected.is_empty() {
        // Such as a folder that cannot be read.
        for error in errors(LoopKind::Deployer) {
            out.push_str("<dt>Descriptors<dd class=e>");
            folded(out, error, &mut room);
        }
    }
    out.push_str("</dl>\n<details><summary>Where each value comes from</summary><ul>");
    for explanation in snapshot.explain_all() {
        out.push_str("<li>");
        escape(out, start_of(&explanation.to_string(), 2 * SHORT));
    }
    out.push_str("</ul></details></section>\n");
}

fn class_index(class: &str) -> usize {
    match class {
        "r" => 0,
        "x" => 2,
        _ => 1,
    }
}

/// A disc, a triangle, a cross.
const ICONS: [&str; 3] = [
    "%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Ccircle cx='8' cy='8' r='7' fill='%231a7f37'/%3E%3C/svg%3E",
    "%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Cpath d='M8 1 15 15H1z' fill='%23c77700'/%3E%3C/svg%3E",
    "%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Cpath d='M2 2 14 14M14 2 2 14' stroke='%23d1242f' stroke-width='4'/%3E%3C/svg%3E",
];

#[cfg(test)]
mod tests {
    use super::super::routes::tests::{of, snapshot, text as body};
    use std::time::Duration;

    use super::table::{ALL_LONG, row};
    use super::*;
    use crate::event::EventKind;
    use crate::http::history::DAY;
    use crate::stamp::Stamp;

    fn with<R>(loops: &[LoopStatus], events: &[Arc<Event>], see: impl FnOnce(&View<'_>) -> R) -> R {
        let snapshot = snapshot(loops);
        let mut history = History::default();
        history.look(loops, Stamp::from_micros(DAY));
        let awaited = ["backup".parse().unwrap()];
        let (snapshot, history, awaited) = (&snapshot, &history, &awaited[..]);
        see(&View { snapshot, history, events, next: 7, config: None, can_act: true, rejected: &[], awaited })
    }

    fn row_of(status: &LoopStatus) -> String {
        let mut out = String::new();
        with(std::slice::from_ref(status), &[], |view| {
            let snapshot = Snapshot { at: Stamp::from_micros(DAY), ..self::snapshot(&view.snapshot.loops) };
            row(&mut out, status, &View { snapshot: &snapshot, ..*view }, &mut { ALL_LONG });
        });
        out
    }

    #[test]
    fn a_loop_is_a_row() {
        let status = LoopStatus {
            latency: Some(Duration::from_micros(1540)),
            next_run: Some(Stamp::from_micros(DAY + 1_500_000)),
            ..of("db", Health::Ready, false)
        };
        assert_eq!(
            row_of(&status),
            "<tr id=watcher/db class=r><th scope=row>db<td class=s>ready <small>optional</small>\
             <td><time>1970-01-01T00:00:00Z</time><td><time>1970-01-02T00:00:01Z</time><td>1.5 ms\
             <td><svg><path class=r d=\"M0 6h96\"/></svg>100%<td><svg><path class=r d=\"M0 6h96\"/></svg>100%\
             <td>\n"
        );
        let waits = LoopStatus {
            waits_for: vec!["a".parse().unwrap(), "b".parse().unwrap()],
            ..of("c", Health::Unknown, true)
        };
        assert!(row_of(&waits).ends_with("<td><td><td><p>waits for a, b\n"), "{}", row_of(&waits));
        let child = LoopStatus { parent: "router".parse().ok(), ..of("c", Health::Unknown, true) };
        let row = row_of(&child);
        assert!(row.contains("<td class=s>unknown <small>(parent router)</small><td>"), "{row}");
        let page = with(&[child], &[], |view| body(&page(view)));
        assert!(page.contains("<span class=s>unknown</span> <small>(parent router)</small>"), "{page}");
    }

    #[test]
    fn a_row_says_whether_a_heartbeat_is_waited_for() {
        let backup = of("backup", Health::Ready, true);
        assert!(row_of(&backup).starts_with("<tr id=watcher/backup class=r data-beats><th"));
        assert!(row_of(&of("db", Health::Ready, true)).starts_with("<tr id=watcher/db class=r><th"));
        // A loop of another kind that has its name.
        let other = LoopStatus { kind: LoopKind::Controller, ..backup };
        assert!(row_of(&other).starts_with("<tr id=controller/backup class=r><th"));
    }

    #[test]
    fn what_a_service_says_is_text_on_the_page() {
        let evil = "<script>alert('1')</script>&\"\u{202e}\n\u{0}\u{1b}[31m\u{e9}</td>";
        let harmless = "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;&quot;\\u{202e}\\n\\0\\u{1b}[31m\u{e9}\
                        &lt;/td&gt;";
        let mut out = String::new();
        escape(&mut out, evil);
        assert_eq!(out, harmless);
        let status = LoopStatus { last_error: Some(evil.to_owned()), ..of("a", Health::Down, true) };
        let event = Event {
            seq: 3,
            n: 1,
            at: Stamp::from_micros(0),
            source: status.name.clone(),
            kind: LoopKind::Watcher,
            what: EventKind::HealthChanged {
                from: Health::Ready,
                to: Health::Down,
                reason: Some(evil.into()),
            },
        };
        let page = with(&[status], &[Arc::new(event)], |view| body(&page(view)));
        // The first line, the row and the event.
        assert_eq!(page.matches(harmless).count(), 3, "{page}");
        assert_eq!(page.matches("<script").count(), 1);
    }

    #[test]
    fn a_long_error_is_folded_and_bounded() {
        let long = |n| LoopStatus { last_error: Some("x".repeat(n)), ..of("a", Health::Down, true) };
        assert!(!row_of(&long(SHORT)).contains("<details>"));
        let row = row_of(&long(SHORT + 10));
        assert!(row.contains(&format!("{}…</summary>xxxxxxxxxx</details>", "x".repeat(SHORT))), "{row}");
        let row = row_of(&long(100_000));
        assert!(
            row.len() < LONG + 1000 && row.contains("<em>and 83416 bytes more, at /status</em>"),
            "{row}"
        );
        let many: Vec<_> = (0..1000).map(|_| long(100_000)).collect();
        let page = with(&many, &[], |view| body(&page(view)));
        assert!(page.len() < ALL_LONG + 1000 * 600, "{}", page.len());
    }

    #[test]
    fn the_first_line_says_what_and_since_when_and_who() {
        let since = |secs: u64, status| LoopStatus { since: Stamp::from_micros(secs * 1_000_000), ..status };
        let ready = since(5, of("a", Health::Ready, true));
        let down = since(9, of("b", Health::Down, true));
        let minor = since(3, of("c", Health::Down, false));
        for (loops, expected) in [
            (vec![], "<h2 class=s>Nothing to watch</h2>\n<p>0 of 0 ready, seen "),
            (
                vec![ready.clone()],
                "<h2 class=s>All ready</h2>\n<p>Since <time>1970-01-01T00:00:05Z</time>. 1 of 1",
            ),
            (
                vec![ready.clone(), minor.clone()],
                "Degraded</h2>\n<p>Since <time>1970-01-01T00:00:03Z</time>. 1 of 2",
            ),
            (
                vec![ready.clone(), minor.clone(), down.clone()],
                "Down</h2>\n<p>Since <time>1970-01-01T00:00:09Z</time>",
            ),
            (
                vec![ready, minor, down],
                "<ul><li class=x><a href=\"#watcher/b\">b</a> <span class=s>down</span>: no",
            ),
        ] {
            let page = with(&loops, &[], |view| body(&page(view)));
            assert!(page.contains(expected), "{expected}: {page}");
        }
    }

    #[test]
    fn the_policy_lets_nothing_run_but_its_own() {
        let [one, other] = [(), ()].map(|()| with(&[], &[], |view| page(view).written()));
        let nonce = |text: &str| text.split("script-src 'nonce-").nth(1).unwrap()[..16].to_owned();
        assert_ne!(nonce(&one), nonce(&other));
        assert!(one.contains(&format!("<script nonce={}>", nonce(&one))));
        assert!(one.contains("Content-Security-Policy: default-src 'none'; style-src 'nonce-"), "{one}");
        assert!(!one.contains("unsafe") && !one.contains("style="), "nothing inline");
        let fragment = with(&[], &[], |view| part(view, None).written());
        assert!(
            fragment.contains("default-src 'none'; frame-ancestors 'none'; sandbox")
                && !fragment.contains("<script")
        );
    }

    #[test]
    fn a_part_has_the_rows_that_are_asked_for() {
        let loops = [of("a", Health::Ready, true), of("b", Health::Ready, true)];
        let names = ["b".parse().unwrap(), "c".parse().unwrap()];
        let part = with(&loops, &[], |view| body(&part(view, Some(&names))));
        assert!(part.contains("id=watcher/b ") && !part.contains("id=watcher/a "), "{part}");
        assert!(part.contains("2 of 2 ready") && part.contains("data-next=7"));
    }

    #[test]
    fn a_thousand_loops_are_a_small_page() {
        let loops: Vec<_> = (0..1000)
            .map(|i| LoopStatus {
                last_error: (i % 10 == 0).then(|| "connection refused".to_owned()),
                latency: Some(Duration::from_micros(1540)),
                next_run: Some(Stamp::from_micros(0)),
                ..of(&format!("watcher-{i}"), Health::Ready, true)
            })
            .collect();
        let page = with(&loops, &[], page);
        assert!(page.body().len() < 400_000, "{}", page.body().len());
    }
}
