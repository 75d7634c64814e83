//! Every call into the operating system that std does not offer.
//!
//! With the C interface this is the only place where `unsafe` may stand. Each
//! function here is safe to call; what it needs from the caller is in its
//! types.
#![allow(unsafe_code)] // The reason this module exists.

pub(crate) mod limits;
#[cfg(feature = "http")]
pub(crate) mod poll;
pub(crate) mod signals;
