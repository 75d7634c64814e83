//! The API of a small cloud, for the folder beside it to look at.
//!
//!     cargo run --release --features daemon --example cluster_monitor
//!
//! Its clusters are each in another state, so that a look at them has
//! something to tell.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program that people run says where it listens"
)]

mod cloud;

use std::io;
use std::net::TcpListener;

fn main() -> io::Result<()> {
    let mut listen = "127.0.0.1:8480".to_owned();
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match (arg.as_str(), args.next()) {
            ("--listen", Some(address)) => listen = address,
            _ => {
                eprintln!("usage: cluster_monitor [--listen HOST:PORT]");
                std::process::exit(2);
            }
        }
    }
    let listener = TcpListener::bind(&listen)?;
    println!("the cloud answers at http://{}", listener.local_addr()?);
    cloud::serve(&listener)
}
