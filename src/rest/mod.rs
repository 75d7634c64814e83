//! One JSON request to a service, over connections that are kept: bounded in
//! time and size, and told apart by what a caller may do about it.
//!
//! A [`Client`] knows a server: its base URL, the key that goes with each
//! request, and the bounds. [`Client::send`] asks once and takes whatever
//! comes back for an [`Answer`]; [`Client::json`] wants a good status and JSON.
//!
//! * Every step keeps the deadline of the [`Context`](crate::Context), and
//!   ends at once on cancel. Only the system's resolver cannot be told to end.
//! * A body is read up to a bound, [`MAX_BODY`] unless told otherwise; nothing
//!   beyond it is ever held. No compression is offered or accepted.
//! * Redirects are followed a few times, and where something secret goes with
//!   the request to the same server only.
//! * A kept connection whose server has gone meanwhile is replaced, once, and
//!   only where sending again does no harm: by method, or because the request
//!   has an [idempotency key](Request::idempotency_key).
//! * No error, log or `Debug` text holds a key, a header's value or the query
//!   of a URL, also where a server says it again. What has fewer than four
//!   characters, idempotency keys, and headers such as `Accept` may stand in
//!   what it says.
//!
//! # Errors
//!
//! | what came back | kind | class |
//! | --- | --- | --- |
//! | nothing: nobody accepts, or the connection broke | `Probe` | retryable |
//! | nothing before the deadline | `Timeout` | timed out |
//! | a status of 408, 425, 429 or 500 and above | `Probe` | retryable, with [`Error::retry_after`](crate::Error::retry_after) where the server says so |
//! | 404 or 410 | `NotFound` | terminal |
//! | another status of 400 and above | `Probe` | terminal |
//! | a redirect that is not followed | `Probe` | terminal |
//! | nothing was sent: a key or a file of `TlsFiles` cannot be used | `Io` | retryable, or the key's own |
//! | no JSON, too much, an encoding nobody asked for | `Probe` | retryable |
//!
//! # Examples
//!
//! ```
//! use std::time::Duration;
//! use loopkeeper::rest::{Client, ClientConfig, Key, Request, Template};
//! use loopkeeper::{Context, Env, Name};
//!
//! let client = Client::new(ClientConfig::new("http://127.0.0.1:1/api").key(Key::text("c2VjcmV0")))?;
//! let path = Template::new("/runs/{run}/checkpoints", &["run"])?.fill(&[("run", "a/b")])?;
//!
//! let env = Env::new()?;
//! let cx = Context::detached(&env, Name::new("runs")?, Duration::from_secs(5));
//! let error = client.json(&cx, &Request::get(path)).unwrap_err();
//! let text = error.to_string();
//! assert!(text.starts_with("GET http://127.0.0.1:1/api/runs/a%2Fb/checkpoints: connection refused"), "{text}");
//! # Ok::<(), loopkeeper::Error>(())
//! ```

mod answer;
mod client;
mod key;
mod request;
mod retry_after;
mod template;
#[cfg(feature = "tls")]
mod tls;

pub use answer::Answer;
pub use client::{Client, ClientConfig, MAX_BODY};
pub use key::Key;
pub use request::Request;
pub use template::Template;
#[cfg(feature = "tls")]
pub use tls::TlsFiles;
