//! Names the shared library by the version of its binary interface, so that a
//! program finds the one that it was linked with.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a build script asks cargo, and tells it"
)]

use std::env;

fn main() {
    println!("cargo:rerun-if-changed=src/capi/build.rs");
    let is_on = env::var_os("CARGO_FEATURE_CAPI").is_some();
    if is_on && env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libloopkeeper.so.1");
    }
}
