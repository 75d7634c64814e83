//! Keeps the background loops of a blocking program alive, honest and
//! stoppable: plain OS threads, enforced timeouts, no async runtime.
//!
//! Many programs cannot or will not have an async runtime and still depend on
//! other services. A [`Watcher`] gives each of them a thread that probes it:
//! at once, then with growing delays until it is up, then regularly; and tells
//! the program in order what changed. A [`WatchManager`] holds many. A
//! [`Host`] starts the parts of the program in order, keeps them running and
//! stops them in reverse.
//!
//! A [`Controller`] makes the program's state as it should be, again and
//! again. A [`ControllerManager`] runs many, at regular times, apart from each
//! other.
//!
//! A [`Monitor`] looks at regular times whether things are as they should be:
//! its checkers look in order, each with a deadline, at one thing or at many
//! items, and one that fails or hangs hides none of the others.
//!
//! A [`RecoveryMonitor`] polls training runs, or whatever else can be restored
//! from a checkpoint, has those restored that are corrupted, and watches them
//! until the recovery is proven.
//!
//! A [`Config`] is what a program reads its settings from: layers in which
//! every value knows its place, replaced as a whole while the program runs. A
//! [`ConfigWatcher`] notices edits.
//!
//! ```
//! use std::time::Duration;
//! use loopkeeper::{Context, Env, ErrorKind, WatchManager, WatcherConfig};
//!
//! let env = Env::new()?;
//! let services = WatchManager::new(&env);
//! let queue = services.watch(
//!     WatcherConfig::new("queue", |_: &Context| Ok(()))
//!         .on_ready(|| println!("queue is ready"))
//!         .on_down(|error| println!("queue is down: {error}")),
//! )?;
//! assert!(queue.wait_ready(Duration::from_secs(5)));
//!
//! // A service that is down is an answer: asked again with growing delays.
//! let db = services.watch(WatcherConfig::new("db", |_: &Context| Err("no such table".into())))?;
//! assert!(!db.wait_ready(Duration::from_millis(100)));
//! println!("{}", db.status());       // watcher db: down since .. (failures in a row: 1): no such table
//!
//! // A wrong setting is an error, and so is a name that is taken.
//! let wrong = WatcherConfig::new("queue", |_: &Context| Ok(()));
//! assert_eq!(services.watch(wrong).unwrap_err().kind(), ErrorKind::Duplicate);
//!
//! let report = services.stop(Duration::from_secs(1));
//! assert!(report.is_clean(), "{report}");       // else it names the threads that would not end
//! # Ok::<(), loopkeeper::Error>(())
//! ```
//!
//! The [longer documents](_documentation) have [patterns](_documentation::patterns),
//! the [architecture](_documentation::architecture), the
//! [limitations](_documentation::limitations) and a
//! [comparison](_documentation::comparison) with others.
//!
//! # A mental model
//!
//! * A *loop* is one named OS thread that waits for its next due, calls user
//!   code once, and tells what came of it. A watcher is a loop, and so is a
//!   controller. A monitor is one that calls each of its checkers.
//! * The *machine* of a loop decides: when to call next, what the state is,
//!   which events to tell. It is pure code without threads or clocks.
//! * A [`Component`] is a part of the program that can be started and stopped,
//!   by a host. It is *up* when it works and *ready* when what requires it
//!   may start; see [`Reporter`].
//! * The *watchdog* is one thread for all loops of an [`Env`]. When a call
//!   passes its deadline it steps the loop's machine in the loop's place, so
//!   the timeout is told while the call is still stuck.
//! * The *dispatcher* is one thread for all callbacks of an [`Env`].
//! * An [`Event`] is numbered twice: per source, and per environment. Hear of
//!   them by callback, by [`Subscription`], by [`Observer`], or later from
//!   [`Env::events_after`].
//!
//! # Which thread calls what
//!
//! | code of yours | runs on |
//! | --- | --- |
//! | [`Probe::probe`] | its watcher's thread, `w/<name>` |
//! | [`Controller::reconcile`] | its controller's thread, `ctl/<name>` |
//! | [`Checker::check`] | its monitor's thread, `mon/<name>` |
//! | [`RunSource`](recovery::RunSource), [`Remedy`](recovery::Remedy) | a thread of their monitor or executor, `rec/<name>` |
//! | [`Layers::check`] | who loads or reloads, or the config watcher's thread, `cfg/<name>` |
//! | what [`Registry::register`](host::deploy::Registry::register) is given, to read and to make | its deployer's thread, `dep/<name>` |
//! | [`Component::start`], [`Component::stop`], drops of components | a thread of their host, `lk/call` |
//! | `on_ready`, `on_down`, `on_gave_up`, `on_change`, `on_checker_change`, `on_recovery`, `on_failure`, [`Context::on_cancel`] | the dispatcher's thread, `lk/dispatch` |
//! | [`Observer::on_event`](observe::Observer) | the dispatcher's thread |
//! | what [`AlertsConfig::requires`](alert::AlertsConfig::requires) is given | the thread of alerts, `lk/alerts` |
//! | [`MetricsSource`](observe::MetricsSource) | a worker of the status server, `http/work-<n>` |
//! | counters, gauges, histograms | where it happened: a loop's thread or `lk/watchdog` |
//!
//! Threads of the library block all signals but those of their own faults.
//! None of your code runs under a lock of the library, so any call into it is
//! allowed from anywhere; what would wait for itself is refused with
//! [`ErrorKind::InvalidState`] or does not wait.
//!
//! # Time
//!
//! Deadlines come from a steady clock; wall-clock time appears only in
//! stamps. Regular runs keep a fixed rate, spread over their interval by a
//! hash of the loop's name from the second run on; runs that were missed are
//! skipped and counted. Only runs that may be recovered are polled at a fixed
//! delay, counted from the end of the poll before. With a [`ManualClock`] a test owns time.
//!
//! # Log levels
//!
//! Nothing is logged unless an environment is made with [`Observer::log`]:
//! events at info, or warn when something is down, gave up, timed out or was
//! refused, with the target `loopkeeper::<kind>::<name>`; spans and metrics at
//! debug. Texts of errors are in events; what is in yours is up to you. Values
//! of a configuration never are. An exporter of metrics warns of what it
//! refuses or folds, once for each metric, with the target
//! `loopkeeper::metrics`.
//!
//! # Features
//!
//! * `http-client` (default): HTTP probes, through a blocking ureq agent.
//! * `tls`: `https` URLs in HTTP probes, through rustls.
//! * `http`: the status server.
//! * `prometheus`: metrics for a Prometheus server, `observe::prometheus`.
//! * `signals`: SIGTERM, SIGINT, SIGHUP and SIGUSR1 for a thread that waits.
//! * `sqlite`: the store of a fleet in a file; SQLite is compiled in. Needs
//!   Rust 1.86.
//! * `postgres`: the store of a fleet on a PostgreSQL server, through libpq.
//!   Needs Rust 1.86.
//! * `daemon`: the `loopkeeper` program, with all above but `tls` and
//!   `postgres`, and what it says to a service manager, `service`. Needs Rust 1.86.
//! * `capi`: the library from C, `capi`; the cdylib exports nothing without it.
//!   Its guide is among the [longer documents](_documentation).
//! * `test-util`: the test kit, `testing`.
//! * `full`: everything but `tls` and `postgres`.
//!
//! No feature changes what another part does; none installs a signal handler
//! or opens a port by itself.
//!
//! # Limits
//!
//! * Threads cannot be killed, so a call of yours that never returns keeps its
//!   thread; it is named with its age in every status and stop report.
//! * A loop is a thread. Where the machine has no room for one more, that is
//!   an error that names the limit, and not an abort.
//! * Supervision of panics needs `panic = "unwind"`; with `abort` a panic ends
//!   the process as it would without this library.
//! * Linux is what it is tested on; Windows is not supported.
//!
//! The rest is among the [limitations](_documentation::limitations).
//!
//! # Versions
//!
//! Versions follow [Semantic Versioning](https://semver.org/spec/v2.0.0.html);
//! before 1.0 the second number is the one that breaks. Enums and structs that
//! may grow are `#[non_exhaustive]`. Texts of errors and events, and what is
//! hidden from these pages, may change at any time. The C library has a
//! version of its own, `LK_ABI_VERSION`.
//!
//! Rust 1.85 is the oldest that builds it, 1.86 with `sqlite`, `postgres` or
//! `daemon`. It is raised only with a line in the
//! [changelog](_documentation::changelog).

#![deny(unsafe_code)]

// Base: values without threads or time.
#[cfg_attr(not(feature = "http"), allow(dead_code, reason = "the server asks for more of it"))]
mod authority;
pub mod condition;
pub mod decode;
mod document;
pub mod duration;
pub mod error;
pub mod event;
pub mod name;
mod number;
mod order;
pub mod pointer;
mod secret;
pub mod stamp;
mod text;
pub mod tree;

// Mechanism: threads, time and calls into user code.
pub mod alert;
mod backoff;
mod bell;
#[doc(hidden)]
pub mod bench_hooks;
mod cancel;
mod clock;
mod component;
mod dispatch;
mod env;
mod event_log;
mod looper;
mod map;
pub mod observe;
mod primitive;
pub mod probe;
mod record;
#[cfg(feature = "http-client")]
pub mod rest;
mod schedule;
mod slot;
mod state_file;
pub mod status;
mod step;
mod stop;
mod subscription;
mod sys;
mod thread;
mod trial;
mod voice;
mod watchdog;

// Parts: what users switch on.
pub mod config;
pub mod controller;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub mod fleet;
pub mod host;
pub mod monitor;
pub mod recovery;
pub mod watch;

// Faces: what people, programs and machines see.
#[cfg(feature = "capi")]
pub mod capi;
#[cfg(feature = "daemon")]
#[doc(hidden)]
pub mod console;
#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "daemon")]
pub mod service;
pub mod shipped;
#[cfg(feature = "signals")]
pub mod signals;
#[cfg(any(test, feature = "test-util"))]
pub mod testing;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(doc)]
pub mod _documentation {
    //! Longer documents.
    //!
    //! Their links to each other are file names where the files are read; what
    //! stands before a page here says what they are in this form.

    #[doc = "[contributing]: crate::_documentation::contributing"]
    #[doc = "[decisions]: crate::_documentation::decisions"]
    #[doc = include_str!("docs/architecture.md")]
    pub mod architecture {}

    #[cfg(feature = "capi")]
    #[doc = include_str!("docs/c.md")]
    pub mod c {}

    #[doc = include_str!("docs/changelog.md")]
    pub mod changelog {}

    #[doc = "[operations]: crate::_documentation::operations"]
    #[doc = include_str!("docs/comparison.md")]
    pub mod comparison {}

    #[doc = "[architecture]: crate::_documentation::architecture"]
    #[doc = "[decisions]: crate::_documentation::decisions"]
    #[doc = include_str!("docs/contributing.md")]
    pub mod contributing {}

    #[doc = include_str!("docs/decisions.md")]
    pub mod decisions {}

    #[doc = "[comparison]: crate::_documentation::comparison"]
    #[doc = "[decisions]: crate::_documentation::decisions"]
    #[doc = include_str!("docs/limitations.md")]
    pub mod limitations {}

    #[doc = include_str!("docs/operations.md")]
    pub mod operations {}

    #[doc = include_str!("docs/patterns.md")]
    pub mod patterns {}

    #[cfg(feature = "http-client")]
    #[doc = include_str!("docs/probes.md")]
    pub mod probes {}
}

pub use cancel::CancelToken;
pub use clock::{Clock, ManualClock, Tick};
pub use component::{CancelGuard, Component, Context, Reporter};
pub use config::{Config, ConfigWatcher, ConfigWatcherConfig, Layers};
pub use controller::{Controller, ControllerConfig, ControllerManager, ControllerManagerConfig};
pub use env::{Env, EnvConfig};
pub use error::{BoxError, Error, ErrorClass, ErrorKind, Result};
pub use event::{Event, EventKind, Health, LoopKind};
pub use event_log::EventPage;
pub use host::{ComponentConfig, Host, HostConfig};
#[cfg(feature = "http")]
pub use http::{StatusServer, StatusServerConfig};
pub use monitor::{Checker, Monitor, MonitorConfig};
pub use name::Name;
pub use observe::Observer;
pub use probe::Probe;
pub use recovery::{RecoveryMonitor, RecoveryMonitorConfig, RecoveryPolicy};
pub use stamp::Stamp;
pub use status::LoopStatus;
pub use step::Step;
pub use stop::StopReport;
pub use subscription::{Delivery, Subscription};
pub use thread::Straggler;
pub use trial::{Trial, TrialReport};
pub use watch::{WatchManager, Watcher, WatcherConfig};
