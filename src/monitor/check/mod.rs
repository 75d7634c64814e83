//! Checkers that come with the library.
//!
//! | checker | looks at | items |
//! | --- | --- | --- |
//! | [`probe`] | what any probe looks at | |
//! | [`conditions`] | what an HTTP server, a port or files say | one for each condition |
//! | [`http_json`] | a list or an object that a server gives as JSON, over pages | what is in it, and groups of that |
//! | [`disk`] | the space left on file systems | one for each path |
//! | [`memory`] | the memory that the machine has left | `available`, `pressure` |
//! | [`load`] | the work that waits for its processors | |
//! | [`clock_offset`] | how far its clock is off | |
//! | [`certificate`](certificate()) | until when certificates are valid (feature `tls`) | one for each address and file |
//!
//! What is beyond its bound is down, with what was found as the reason; each
//! item stands for itself, so that one bad one hides none of the others. All
//! end at their deadline and at once on cancel, but for the lookup of a name
//! and a file system that hangs.

#[cfg(feature = "tls")]
mod certificate;
mod clock_offset;
mod conditions;
mod descriptor;
mod disk;
#[cfg(feature = "http-client")]
mod http_json;
mod item_map;
mod load;
mod memory;
#[cfg(feature = "http-client")]
mod paging;
mod probe;
mod sntp;
#[cfg(feature = "http-client")]
mod target;
#[cfg(feature = "tls")]
mod x509;

#[cfg(feature = "tls")]
#[doc(hidden)]
pub use certificate::fuzz_certificate;
#[cfg(feature = "tls")]
pub use certificate::{CertificateChecker, certificate};
#[doc(hidden)]
pub use clock_offset::fuzz_sntp;
pub use clock_offset::{ClockOffsetChecker, clock_offset};
pub use conditions::{ConditionsChecker, conditions};
pub use descriptor::decode;
pub use disk::{DiskChecker, disk};
#[cfg(feature = "http-client")]
#[doc(hidden)]
pub use http_json::fuzz_link;
#[cfg(feature = "http-client")]
pub use http_json::{HttpJsonChecker, Paging, http_json};
pub use item_map::{Item, ItemMap};
pub use load::{LoadChecker, LoadWindow, load};
pub use memory::{MemoryChecker, memory};
pub use probe::{ProbeChecker, probe};
#[cfg(feature = "http-client")]
pub use target::HttpTarget;
