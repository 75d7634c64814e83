//! Reads a configuration file or a descriptor, within bounds.

use std::fs::{self, Metadata};
use std::io::{self, Read};
use std::path::Path;

use crate::sys::file::open_without_waiting;
use crate::tree::{Fault, Faults, Place};

/// The largest file that is read, in bytes: far above what people write, and
/// little enough that a wrong path does not fill the memory.
const MAX_LEN: u64 = 1 << 20;

/// Reads a file as it is at one moment.
pub(super) fn read_bytes(path: &Path) -> Result<Vec<u8>, Faults> {
    let unreadable = |error| unreadable(path, &error);
    if !fs::metadata(path).map_err(unreadable)?.is_file() {
        // To open a pipe would wait for somebody to write into it.
        return Err(fault(path, "is not a regular file").into());
    }
    let Some((bytes, is_still)) = read_while_still(path, || {}).map_err(unreadable)? else {
        return Err(fault(path, "is not a regular file").into());
    };
    if bytes.len() as u64 > MAX_LEN {
        return Err(fault(path, format!("is larger than {} KiB", MAX_LEN >> 10)).into());
    }
    if !is_still {
        return Err(fault(path, "was written to while it was read").into());
    }
    Ok(bytes)
}

/// The name of a file or folder in faults.
pub(super) fn name(path: &Path) -> String {
    crate::text::on_one_line(&path.display().to_string())
}

pub(super) fn unreadable(path: &Path, error: &io::Error) -> Fault {
    fault(path, format!("cannot be read: {error}"))
}

/// A fault of a file as a whole.
pub(super) fn fault(path: &Path, message: impl Into<String>) -> Fault {
    Fault { place: Place::whole(name(path)), key: String::new(), message: message.into() }
}

/// Reads a file and says whether nobody wrote to it meanwhile: a mixture of
/// old and new may be good JSON. `None` when it has become something else
/// since it was looked at. `meanwhile` is for the test.
fn read_while_still(path: &Path, meanwhile: impl FnOnce()) -> io::Result<Option<(Vec<u8>, bool)>> {
    let mut file = open_without_waiting(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok(None);
    }
    let before = state(&metadata);
    let mut bytes = Vec::new();
    meanwhile();
    (&mut file).take(MAX_LEN + 1).read_to_end(&mut bytes)?;
    let is_still = before == state(&file.metadata()?);
    Ok(Some((bytes, is_still)))
}

/// What changes when a file is written to, as far as the system knows.
fn state(metadata: &Metadata) -> (u64, Option<std::time::SystemTime>) {
    (metadata.len(), metadata.modified().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_written_to_meanwhile_is_noticed() {
        let path = std::env::temp_dir().join(format!("loopkeeper-file-{}", std::process::id()));
        fs::write(&path, "{\"a\": 1}").unwrap();
        let (bytes, is_still) = read_while_still(&path, || {}).unwrap().unwrap();
        assert!(is_still && bytes.len() == 8);
        let (_, is_still) = read_while_still(&path, || fs::write(&path, "{}").unwrap()).unwrap().unwrap();
        assert!(!is_still);
        // Another file under the name is no matter: the one that was opened is whole.
        let other = path.with_extension("other");
        fs::write(&other, "[]").unwrap();
        let renamed = || fs::rename(&other, &path).unwrap();
        let (bytes, is_still) = read_while_still(&path, renamed).unwrap().unwrap();
        assert_eq!((&*bytes, is_still), (&b"{}"[..], true));
        fs::remove_file(&path).unwrap();
        // A pipe that took its place just before it was opened is not waited for.
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        assert!(read_while_still(&path, || {}).unwrap().is_none());
        fs::remove_file(&path).unwrap();
    }
}
