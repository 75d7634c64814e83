//! What stands in the folder of descriptors, read within bounds.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::sys::file::open_without_waiting;
use crate::tree::{Fault, Place};

/// The largest file that is read, in bytes: far above what people write, and
/// little enough that a wrong file does not fill the memory.
const MAX_LEN: u64 = 1 << 20;

/// How often a folder that changes while it is listed is listed again.
const LISTINGS: u32 = 4;

/// One file that should be a descriptor.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) path: PathBuf,
    pub(super) content: Result<Vec<u8>, Fault>,
}

/// What stands in a folder.
#[derive(Debug, Clone, Default)]
pub(super) struct Listing {
    /// In the order of their paths.
    pub(super) found: Vec<Found>,
    /// Whether nothing was missed: the folder kept still meanwhile.
    pub(super) is_whole: bool,
}

/// Where descriptors are.
pub(super) trait Folder: Send + 'static {
    /// Reads all of them.
    fn list(&mut self) -> Result<Listing, Fault>;
}

/// A folder of the file system.
///
/// Files that end in `.json` are read; hidden ones and folders are left out.
#[derive(Debug)]
pub(super) struct Dir(PathBuf);

impl Dir {
    pub(super) fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    fn names(&self) -> Result<Vec<PathBuf>, Fault> {
        let names = || -> io::Result<Vec<PathBuf>> {
            let mut names = Vec::new();
            for entry in fs::read_dir(&self.0)? {
                let name = entry?.file_name();
                let bytes = name.as_encoded_bytes();
                if bytes.ends_with(b".json") && !bytes.starts_with(b".") {
                    names.push(PathBuf::from(name));
                }
            }
            names.sort();
            Ok(names)
        };
        names()
            .map_err(|error| fault(&self.0, format!("cannot be read as the folder of descriptors: {error}")))
    }
}

impl Folder for Dir {
    fn list(&mut self) -> Result<Listing, Fault> {
        let mut names = self.names()?;
        let mut listing = Listing::default();
        for _ in 0..LISTINGS {
            let mut vanished = false;
            let paths = names.iter().map(|name| self.0.join(name));
            let found = paths.filter_map(|path| {
                let content = read(&path).transpose()?;
                let content = content.map_err(|flaw| {
                    vanished |= flaw.is_gone && !path.is_symlink();
                    flaw.fault
                });
                Some(Found { path, content })
            });
            let found = found.collect();
            // A file that is renamed meanwhile may be in neither place: a
            // listing counts when the next one is the same.
            let again = self.names()?;
            listing = Listing { found, is_whole: again == names && !vanished };
            if listing.is_whole {
                break;
            }
            names = again;
        }
        Ok(listing)
    }
}

/// Why a file cannot be read.
struct Flaw {
    fault: Fault,
    /// Whether it, or what it links to, is not there.
    is_gone: bool,
}

/// Reads a file; `None` when it is a folder.
fn read(path: &Path) -> Result<Option<Vec<u8>>, Flaw> {
    let unreadable = |error: io::Error| Flaw {
        fault: fault(path, format!("cannot be read: {error}")),
        is_gone: error.kind() == io::ErrorKind::NotFound,
    };
    let refused = |message: String| Flaw { fault: fault(path, message), is_gone: false };
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if metadata.is_dir() {
        return Ok(None);
    }
    // Looked at before it is opened, because to open a device may do
    // something, and after, because it may be another by then.
    let not_regular = || refused("is not a regular file".to_owned());
    if !metadata.is_file() {
        return Err(not_regular());
    }
    let file: File = open_without_waiting(path).map_err(unreadable)?;
    if !file.metadata().map_err(unreadable)?.is_file() {
        return Err(not_regular());
    }
    let mut bytes = Vec::new();
    file.take(MAX_LEN + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_LEN {
        return Err(refused(format!("is larger than {} KiB", MAX_LEN >> 10)));
    }
    Ok(Some(bytes))
}

/// The name of a file in places.
pub(super) fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// A fault of a file as a whole.
fn fault(path: &Path, message: String) -> Fault {
    Fault { place: Place::whole(shown(path)), key: String::new(), message }
}
