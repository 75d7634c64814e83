//! Keeps the background loops of a blocking program alive, honest and stoppable.

#![deny(unsafe_code)]

// Base: values without threads or time.
pub mod decode;
pub mod duration;
pub mod error;
pub mod name;
pub mod stamp;
pub mod tree;

pub use error::{BoxError, Error, ErrorClass, ErrorKind, Result};
pub use name::Name;
pub use stamp::Stamp;
