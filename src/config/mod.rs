//! The daemon's configuration: one file, the environment and the command
//! line, merged key by key, and the folder of descriptors.
//!
//! [`Layers`] are merged into one tree that remembers where each value came
//! from, and the tree is read strictly into [`Settings`]. A setting that has
//! no effect is refused, not ignored. [`load_descriptors`] reads the folder.
//! Whatever is wrong is told all at once, each [`Fault`](crate::tree::Fault)
//! with its place.

mod descriptors;
mod file;
mod layers;
mod settings;

pub use descriptors::{Descriptor, Reader, Types, load_descriptors};
pub use layers::{Layers, Merged, process_environment};
pub use settings::{DeployConfig, HttpConfig, LogFormat, LoggingConfig, Settings, level_named, parse_listen};
