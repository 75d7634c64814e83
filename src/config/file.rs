//! Reads a configuration file or a descriptor, within bounds.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::tree::{self, Fault, Faults, Node, Place};

/// The largest file that is read, in bytes: far above what people write, and
/// little enough that a wrong path does not fill the memory.
const MAX_LEN: u64 = 1 << 20;

/// Reads a file of JSON.
pub(super) fn read(path: &Path) -> Result<Node, Faults> {
    let bytes = read_bytes(path).map_err(|error| unreadable(path, &error))?;
    if bytes.len() as u64 > MAX_LEN {
        return Err(fault(path, format!("is larger than {} KiB", MAX_LEN >> 10)).into());
    }
    tree::parse_bytes(name(path), &bytes)
}

/// The name of a file or folder in faults.
pub(super) fn name(path: &Path) -> String {
    path.display().to_string()
}

pub(super) fn unreadable(path: &Path, error: &io::Error) -> Fault {
    fault(path, format!("cannot be read: {error}"))
}

/// A fault of a file as a whole.
pub(super) fn fault(path: &Path, message: impl Into<String>) -> Fault {
    Fault { place: Place::whole(name(path)), key: String::new(), message: message.into() }
}

fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_LEN + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
