//! Keeps the background loops of a blocking program alive, honest and stoppable.

#![deny(unsafe_code)]

// Base: values without threads or time.
pub mod decode;
pub mod duration;
pub mod error;
pub mod event;
pub mod name;
pub mod stamp;
pub mod tree;

// Mechanism: threads, time and calls into user code.
mod backoff;
#[doc(hidden)]
pub mod bench_hooks;
mod cancel;
mod clock;
mod component;
mod dispatch;
mod env;
mod event_log;
mod looper;
pub mod observe;
mod primitive;
pub mod probe;
mod schedule;
mod slot;
pub mod status;
mod stop;
mod subscription;
mod sys;
mod thread;
mod watchdog;

// Parts: what users switch on.
pub mod watch;

// Faces: the outside.
#[cfg(any(test, feature = "test-util"))]
pub mod testing;

pub use cancel::CancelToken;
pub use clock::{Clock, ManualClock, Tick};
pub use component::{CancelGuard, Component, Context};
pub use env::{Env, EnvConfig};
pub use error::{BoxError, Error, ErrorClass, ErrorKind, Result};
pub use event::{Event, EventKind, Health, LoopKind};
pub use event_log::EventPage;
pub use name::Name;
pub use observe::Observer;
pub use probe::Probe;
pub use stamp::Stamp;
pub use status::LoopStatus;
pub use stop::StopReport;
pub use subscription::{Delivery, Subscription};
pub use thread::Straggler;
pub use watch::{WatchManager, Watcher, WatcherConfig};
