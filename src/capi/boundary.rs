//! What crosses the border: the guard around every export, the text of the
//! last failure, and what comes from C as a pointer.
//!
//! The types here that hold a pointer are parameters of exported functions and
//! are made nowhere else: they hold what a C caller passed, who has promised
//! in the header's contract that it points to what its type says, or is NULL.
//! That is why their methods are safe to call.

mod chars;
mod failure;
mod guard;
mod param;
mod sized;

pub(super) use chars::{chars, set_chars, set_text};
pub(super) use failure::{Answer, Failure, last_error};
pub(super) use guard::{Forked, guard, guard_or, quietly};
pub use param::{Buffer, Out, Text};
pub(super) use param::{Place, flag, millis};
pub use sized::{In, OutStruct};
pub(super) use sized::{StructPlace, Versioned, init};
