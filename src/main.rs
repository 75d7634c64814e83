//! The daemon: watches what a folder of JSON descriptors names.
fn main() {}
