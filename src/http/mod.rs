//! The status server: what the loops do, over HTTP, for people and probes.
//!
//! | Path | Answer |
//! | --- | --- |
//! | `/` | one line for each loop, and these paths; for a browser a page that stays live |
//! | `/livez` | 200 `ok` while the library's own threads run and no loop [named](StatusServerConfig::liveness) for it is down or stale, else 503 |
//! | `/readyz` | 200 `ready` or `degraded`, 503 `down` while a critical loop is down, unknown or stale |
//! | `/startupz` | 200 `started` once every critical loop was heard of, 503 `starting` before |
//! | `/healthz` | every loop as `application/health+json` (draft-inadarei-api-health-check-06): `pass`, `warn`, or `fail` and 503 |
//! | `/status` | JSON: `boot`, `at`, `health`, `loops`; with an `ETag` |
//! | `/why/NAME` | JSON: why a loop is as it is, down to what is behind it, and what happens next |
//! | `/recovery` | JSON: `boot`, `at`, `recoveries`: what becomes of corrupted runs |
//! | `/config` | JSON: the configuration in force, without secrets, and where each value comes from, when the server was [given](StatusServerConfig::config) it |
//! | `/metrics` | every metric as [OpenMetrics](crate::observe::MetricsFormat), or in Prometheus' older text form for who asks for plain text, when the server was [given](StatusServerConfig::metrics) a source |
//! | `/events?after=SEQ&max=N` | JSON: `boot`, `next`, `lost`, `events`; at most 256 events unless `max` says otherwise, up to 4096 |
//!
//! With `wait=30s`, up to 5 minutes, `/events` waits until there is an event
//! after the number, and has none when the time is over. Nothing is held up by
//! requests that wait.
//!
//! `/livez`, `/readyz` and `/startupz` name each loop with `?verbose`, and how
//! long ago it was looked at; `?reasons` says why, too, to who has the token.
//! The header `Oldest-Check-Age` is the greatest of these ages, in seconds. A
//! loop is *stale* when it should have been heard of again long ago: it is not
//! ready then, whatever was known. Answers are made from what is known; none
//! has anything checked.
//!
//! `/status` is made at most every 50 ms, unless there was an event, for all
//! who ask. It keeps its `ETag` for up to 10 s while nothing changes but how
//! long ago things were: `at` is then when it was made, and the header `Age`
//! how many seconds ago that is. Who sends the tag as `If-None-Match` is
//! answered 304 and no body.
//!
//! `boot` is another word each time an [`Env`](crate::Env) is made; event
//! numbers begin again with it. Requests have no body, and the `Host` must be
//! one of the server's. There is no TLS, and who only looks is not asked who
//! they are: it is made for loopback addresses.
//!
//! Something can be done, too, where there is a [`Control`] and a token:
//!
//! | Path | What it does |
//! | --- | --- |
//! | `POST /trigger/NAME` | has a loop make its next run now |
//! | `POST /heartbeat/NAME` | says that NAME is alive, or with `?down=REASON` that it is not, to a [`heartbeat`](crate::probe::heartbeat()) probe |
//! | `POST /deploy/rescan` | has the folder of descriptors looked at now |
//! | `POST /recovery/RUN/cancel` | ends the recovery of a run |
//! | `POST /recovery/RUN/retry` | has a run tried again now |
//!
//! They take `Authorization: Bearer TOKEN` and no body, and answer 202 when
//! what is asked is under way, 404 when there is nobody of the name, 409 when
//! it cannot be done now; 401 for another token or none, compared in a time
//! that does not tell where they differ; 404 while no token is configured. A
//! POST whose `Origin` is a page from elsewhere is refused.
//!
//! `/livez` says whether a restart could help: it is 503 when the watchdog or
//! a thread of the server has ended by a fault of its own. A service that is
//! down, and a call that hangs, are not such a reason; `/readyz` is for them.
//!
//! # The page
//!
//! What a browser gets at `/` is one document that loads nothing from elsewhere
//! and says everything without scripts. With scripts it stays live, by
//! `/events` and by `/?part=NAME,NAME`, the parts of the page that change with
//! the rows of these loops, or of all without names; and who enters the token
//! has buttons. The token stays in the tab's session storage, and is sent as a
//! header and never as a cookie. Its bars show the changes of state of the last
//! hour and day, since the start unless there is a
//! [file](StatusServerConfig::history_file).
//!
//! # Threads
//!
//! One thread owns all sockets, reads and writes them without blocking, and
//! answers `/livez` itself, and `/status` while it was made just now. Two
//! workers make the other answers, health first: they ask the
//! [`StatusSource`](crate::status::StatusSource), which is code of the user's
//! and may be slow, and never touch a socket. So a client that is slow to
//! send or to read holds up nobody, a source that hangs leaves `/livez`
//! answered and costs at most the two workers, and the number of threads
//! does not depend on the number of connections.
//!
//! # Many connections
//!
//! There is room for 64, or what
//! [`max_connections`](StatusServerConfig::max_connections) says. A new one
//! takes the place of one that has its answer or, where there is none, of the
//! one that has waited longest without sending a whole request: it is closed
//! without a word. So clients that send nothing or very slowly, however many
//! they are, do not keep others from an answer. A request that is whole keeps
//! its place until its answer is taken or its deadline is over; one that waits
//! for events is answered that there is none when others need its place. Only
//! while all places are taken is a new connection answered 503, unless it asks
//! for `/livez`, `/readyz` or `/startupz`: for those there are 16 more places.

mod accept;
mod cache;
mod config;
mod connection;
mod control;
mod date;
mod diary;
mod health;
mod history;
mod hosts;
mod html;
mod lot;
mod page;
mod request;
mod response;
mod room;
mod routes;
mod server;
mod snapshot;
mod worker;

pub use config::StatusServerConfig;
pub use control::Control;
pub use server::StatusServer;

/// Makes the page at `/` as the server does, for the benches.
#[doc(hidden)]
#[derive(Debug, Default)]
pub struct PageBench(history::History);

impl PageBench {
    /// The page of these loops.
    pub fn render(&mut self, loops: Vec<crate::LoopStatus>) -> Vec<u8> {
        let at = loops.iter().filter_map(|status| status.last_check).max();
        let at = at.unwrap_or(crate::Stamp::from_micros(0));
        self.0.look(&loops, at);
        let snapshot = snapshot::Snapshot { boot: "bench", at, loops };
        let (snapshot, history) = (&snapshot, &self.0);
        let view = html::View {
            snapshot,
            history,
            events: &[],
            next: 0,
            config: None,
            can_act: true,
            rejected: &[],
            awaited: &[],
        };
        html::page(&view).render(response::Form::default(), at.http_date()).own
    }
}

/// Reads a request's head as the server does, for fuzzing.
#[cfg(fuzzing)]
#[doc(hidden)]
pub fn fuzz_head(bytes: &[u8]) {
    let listen = std::net::SocketAddr::from(([127, 0, 0, 1], 8470));
    let hosts = hosts::Hosts::new(listen, &["box.lan".to_owned()]).expect("a good name");
    let (form, date) = (response::Form::default(), crate::Stamp::from_micros(0).http_date());
    match request::parse(bytes, &hosts) {
        request::Parsed::Incomplete => assert!(bytes.len() < request::MAX_HEAD),
        request::Parsed::Complete { request, len } => {
            assert!(len <= bytes.len() && len <= request::MAX_HEAD);
            assert!(bytes[..len].ends_with(b"\r\n\r\n"));
            assert!(request.path.starts_with('/'));
            // The same head alone is the same request, and no part of it is one.
            assert!(matches!(request::parse(&bytes[..len], &hosts), request::Parsed::Complete { .. }));
            assert!(matches!(request::parse(&bytes[..len - 1], &hosts), request::Parsed::Incomplete));
            if let Err(response) = routes::Route::new(&request, &control::Gate::default()) {
                assert!(matches!(response.status().code(), 400 | 403 | 404 | 405));
                response.render(form, date);
            }
        }
        request::Parsed::Refused(response) => {
            assert!(response.status().code() >= 400);
            response.render(form, date);
        }
    }
}

/// Has a connection read bytes in pieces of the size of the first, for
/// fuzzing: what it answers does not depend on it.
#[cfg(fuzzing)]
#[doc(hidden)]
pub fn fuzz_connection(bytes: &[u8]) {
    let Some((&piece, bytes)) = bytes.split_first() else { return };
    let listen = std::net::SocketAddr::from(([127, 0, 0, 1], 8470));
    let hosts = hosts::Hosts::new(listen, &["box.lan".to_owned()]).expect("a good name");
    let whole = connection::replay(bytes, usize::MAX, &hosts);
    let pieces = connection::replay(bytes, piece.into(), &hosts);
    assert_eq!(String::from_utf8_lossy(&whole), String::from_utf8_lossy(&pieces));
}
