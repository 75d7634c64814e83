//! The daemon: watches what a folder of JSON descriptors names.

use std::process::ExitCode;

mod daemon;

fn main() -> ExitCode {
    daemon::main()
}
