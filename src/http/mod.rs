//! The status server: what the loops do, over HTTP, for people and probes.
//!
//! | Path | Answer |
//! | --- | --- |
//! | `/` | one line for each loop, and these paths |
//! | `/livez` | 200 `ok` while the library's own threads run, else 503 |
//! | `/readyz` | 200 `ready` or `degraded`, 503 `down` while a critical loop is down or unknown; `?verbose` names each loop, without reasons |
//! | `/status` | JSON: `boot`, `at`, `health`, `loops` |
//! | `/config` | JSON: the configuration in force, without secrets, and where each value comes from, when the server was [given](StatusServerConfig::config) it |
//! | `/metrics` | every metric as [OpenMetrics](crate::observe::MetricsFormat), or in Prometheus' older text form for who asks for plain text, when the server was [given](StatusServerConfig::metrics) a source |
//! | `/events?after=SEQ&max=N` | JSON: `boot`, `next`, `lost`, `events`; at most 256 events unless `max` says otherwise, up to 4096 |
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
//! | `POST /deploy/rescan` | has the folder of descriptors looked at now |
//!
//! They take `Authorization: Bearer TOKEN` and answer 202 when what is asked
//! is under way; 401 for another token or none, compared in a time that does
//! not tell where they differ; 404 while no token is configured. A POST whose
//! `Origin` is a page from elsewhere is refused.
//!
//! `/livez` says whether a restart could help: it is 503 when the watchdog or
//! a thread of the server has ended by a fault of its own. A service that is
//! down, and a call that hangs, are not such a reason; `/readyz` is for them.
//!
//! # Threads
//!
//! One thread owns all sockets, reads and writes them without blocking, and
//! answers `/livez` itself. Two workers make the other answers: they ask the
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
//! its place until its answer is taken or its deadline is over; only while
//! all places are such is a new connection answered 503.

mod accept;
mod config;
mod connection;
mod control;
mod hosts;
mod request;
mod response;
mod routes;
mod server;
mod worker;

pub use config::StatusServerConfig;
pub use control::Control;
pub use server::StatusServer;

/// Reads a request's head as the server does, for fuzzing.
#[cfg(fuzzing)]
#[doc(hidden)]
pub fn fuzz_head(bytes: &[u8]) {
    let listen = std::net::SocketAddr::from(([127, 0, 0, 1], 8470));
    let hosts = hosts::Hosts::new(listen, &["box.lan".to_owned()]).expect("a good name");
    let form = response::Form::default();
    match request::parse(bytes, &hosts) {
        request::Parsed::Incomplete => assert!(bytes.len() < request::MAX_HEAD),
        request::Parsed::Complete { request, len } => {
            assert!(len <= bytes.len() && len <= request::MAX_HEAD);
            assert!(request.path.starts_with('/'));
            // The same head alone is the same request, and no part of it is one.
            assert!(matches!(request::parse(&bytes[..len], &hosts), request::Parsed::Complete { .. }));
            assert!(matches!(request::parse(&bytes[..len - 1], &hosts), request::Parsed::Incomplete));
            if let Err(response) = routes::Route::new(&request, &control::Gate::default()) {
                assert!(matches!(response.status().code(), 400 | 404 | 405));
                response.render(form);
            }
        }
        request::Parsed::Refused(response) => {
            assert!(response.status().code() >= 400);
            response.render(form);
        }
    }
}
