//! Holds components: what runs, from where it came, and what it requires.

pub mod deploy;
