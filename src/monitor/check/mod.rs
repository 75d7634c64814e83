//! Checkers that come with the library.
//!
//! | checker | looks at | items |
//! | --- | --- | --- |
//! | [`probe`](probe()) | what any probe looks at | |
//! | [`conditions`](conditions()) | what an HTTP server, a port or files say | one for each condition |
//! | [`http_json`](http_json()) | a list or an object that a server gives as JSON, over pages | what is in it, and groups of that |
//! | [`disk`](disk()) | the space left on file systems | one for each path |
//! | [`memory`](memory()) | the memory that the machine has left | `available`, `pressure` |
//! | [`load`](load()) | the work that waits for its processors | |
//! | [`clock_offset`](clock_offset()) | how far its clock is off | |
//! | [`certificate`](certificate()) | until when certificates are valid (feature `tls`) | one for each address and file |
//!
//! In a descriptor a checker has a field that is named after its kind, with
//! its settings; what has no default, in parentheses, is required.
//!
//! | field | settings |
//! | --- | --- |
//! | `probe` | as a [watcher](crate::watch) has it |
//! | `conditions` | `expect`: a list of [conditions](crate::condition), or of objects with `condition`, `name` (the condition) and `otherwise` (`"down"`); `tcp` (none), as `HOST:PORT`, or `url` (none) with the settings of a server |
//! | `http_json` | `url` and the settings of a server; `items` (`""`), `name` (a key, or a number), `state`, `states`, `message` (none), `group_by` (none), `require` (none), `paging` (none), `members` (none); `max_pages` (100), `request_timeout` (`"5s"`) |
//! | `disk` | `paths`, `min_free` |
//! | `memory` | `min_available`; `max_pressure` (not looked at) |
//! | `load` | `max_per_core`; `over` (`"5m"`) |
//! | `clock_offset` | `server`, as `HOST:PORT`; `max_offset` (`"1s"`) |
//! | `certificate` | `addresses` (none), `files` (none), `server_name` (the host), `min_left` (14 days) |
//!
//! The settings of a server are `headers` (none), `bearer_file` (the
//! principal's token), `max_body` (`"4MiB"`), `follow_redirects` (3), and with
//! the feature `tls` `client_cert`, `client_key` and `root_certs` (the
//! program's, or else none and the roots of browsers). A relative path, here
//! and elsewhere in a descriptor, is relative to the current folder of the
//! program, and not to that of the descriptor. `states` has
//! lists of states, `ready`, `degraded`, `down` and `unknown`, and `otherwise`
//! (`"unknown"`). `paging` has one of `link_header`, `next_link` (`at`),
//! `cursor` (`at`, `parameter`), `page` (`parameter`, `first`) and `offset`
//! (`parameter`). `members` has a `path` with `{name}` or `{id}` in it, `id`,
//! and what a list of items has; items with members need no `state`.
//!
//! ```json
//! {"name": "cluster", "type": "monitor", "config": {"checkers": [
//!     {"name": "disks", "disk": {"paths": ["/", "/var"], "min_free": "10%"}},
//!     {"name": "memory", "memory": {"min_available": "5%", "max_pressure": 20}},
//!     {"name": "load", "load": {"max_per_core": 4, "over": "15m"}},
//!     {"name": "clock", "clock_offset": {"server": "pool.ntp.org:123", "max_offset": "500ms"}},
//!     {"name": "backup", "conditions": {"expect": ["age(/var/backups/last) < 26h"]}},
//!     {"name": "api", "conditions": {"url": "http://127.0.0.1:8480/health", "expect": [
//!         "status == 200",
//!         {"condition": "latency < 500ms", "otherwise": "degraded"},
//!         {"name": "queue", "condition": "body./queue/depth < 100"}
//!     ]}},
//!     {"name": "servers", "http_json": {
//!         "url": "http://127.0.0.1:8480/servers", "items": "/servers", "name": "/name",
//!         "state": "/status", "states": {"ready": ["ACTIVE"], "down": ["ERROR"], "otherwise": "degraded"},
//!         "group_by": "/labels/cluster", "paging": {"next_link": {"at": "/next"}}
//!     }},
//!     {"name": "dates", "certificate": {"addresses": ["example.org:443"], "min_left": "336h"}}
//! ]}}
//! ```
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
pub(super) use descriptor::{Asking, read_kinds};
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
