//! The library from C: one header, `src/capi/loopkeeper.h`, which is made from
//! these files and is the manual.
//!
//! Each file is one handle: its type, how it is made, what it does, what it
//! answers, how it is freed. Every exported function is one call of a guard in
//! `boundary`; handles are told from wrong ones in `handle`, without touching
//! what they stand for; every call into the program goes through `call`.
#![allow(unsafe_code, reason = "the other room for it: what crosses the border is pointers")]
#![allow(private_bounds, reason = "how a parameter is read is nobody's business outside")]
#![allow(non_camel_case_types, reason = "the names are those of C")]

mod alerts;
mod boundary;
mod call;
mod cancel;
mod clock;
mod component;
mod component_of;
mod component_reporter;
mod component_status;
mod component_type;
mod config;
mod config_watcher;
mod context;
mod controller;
mod controller_manager;
mod deployer;
mod env;
mod event;
mod executor;
mod handle;
mod host;
mod loop_status;
mod members;
mod monitor;
mod observer;
mod recovery;
mod recovery_config;
mod report;
mod run;
mod snapshot;
mod status;
mod tell;
mod text;
mod usage;
mod userdata;
mod watch_manager;
mod watcher;

pub use alerts::{
    lk_alerts, lk_alerts_config, lk_alerts_config_init, lk_alerts_free, lk_alerts_start,
    lk_alerts_status_json, lk_alerts_stop,
};
pub use boundary::{Buffer, In, Out, OutStruct, Text};
pub use call::{Cx, lk_context};
pub use cancel::*;
pub use clock::*;
pub use component::*;
pub use component_of::*;
pub use component_reporter::*;
pub use component_status::*;
pub use component_type::*;
pub use config::*;
pub use config_watcher::*;
pub use context::{
    lk_context_cancel, lk_context_is_cancelled, lk_context_is_dry_run, lk_context_name,
    lk_context_remaining_ms, lk_context_set_answer, lk_context_set_error, lk_context_set_items,
    lk_context_set_requeue, lk_context_set_retry_after, lk_context_set_terminal, lk_context_sleep,
    lk_context_step,
};
pub use controller::*;
pub use controller_manager::*;
pub use deployer::*;
pub use env::*;
pub use event::*;
pub use executor::*;
pub use handle::{New, Own, Ref};
pub use host::*;
pub use loop_status::*;
pub use monitor::*;
pub use observer::*;
pub use recovery::*;
pub use recovery_config::*;
pub use report::*;
pub use run::*;
pub use snapshot::*;
pub use status::*;
pub use tell::*;
pub use userdata::lk_drop_fn;
pub use watch_manager::*;
pub use watcher::*;
