//! What stands in the folder of descriptors, read within bounds.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::fingerprint::Fingerprint;
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

    /// What stands there, if it can all be read: equal to that of a whole
    /// listing when that would find the same again. Keeps none of it.
    fn look(&mut self) -> Option<Sight>;
}

/// Stands for the names and contents of a folder, in whatever order they were
/// read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Sight {
    files: u64,
    sum: [u64; 2],
}

impl Sight {
    /// What of a folder of such files is seen; `None`: one cannot be read.
    pub(super) fn of<'a>(files: impl IntoIterator<Item = (&'a Path, Option<Fingerprint>)>) -> Option<Self> {
        let mut sight = Self::default();
        for (path, content) in files {
            sight.add(path, content?);
        }
        Some(sight)
    }

    pub(super) fn add(&mut self, path: &Path, content: Fingerprint) {
        let [a, b] = content.of_file(path);
        self.files += 1;
        self.sum = [self.sum[0].wrapping_add(a), self.sum[1].wrapping_add(b)];
    }
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

    /// In the order in which the system names them.
    fn entries(&self) -> Result<Vec<Entry>, Fault> {
        let entries = || -> io::Result<Vec<Entry>> {
            let mut entries = Vec::new();
            for entry in fs::read_dir(&self.0)? {
                let entry = entry?;
                let name = entry.file_name();
                let bytes = name.as_encoded_bytes();
                if bytes.ends_with(b".json") && !bytes.starts_with(b".") {
                    let is_plain = entry.file_type().is_ok_and(|kind| kind.is_file());
                    entries.push(Entry { name, is_plain });
                }
            }
            Ok(entries)
        };
        entries()
            .map_err(|error| fault(&self.0, format!("cannot be read as the folder of descriptors: {error}")))
    }
}

impl Dir {
    /// Where a file is, in place of the one before.
    fn at<'a>(&self, path: &'a mut PathBuf, name: &OsStr) -> &'a Path {
        path.as_mut_os_string().clear();
        path.push(&self.0);
        path.push(name);
        path
    }
}

impl Folder for Dir {
    fn look(&mut self) -> Option<Sight> {
        let (mut path, mut bytes, mut sight) = (PathBuf::new(), Vec::new(), Sight::default());
        for Entry { name, is_plain } in self.entries().ok()? {
            let path = self.at(&mut path, &name);
            if read(path, is_plain, &mut bytes).ok()? {
                sight.add(path, Fingerprint::of(&bytes));
            }
        }
        Some(sight)
    }

    fn list(&mut self) -> Result<Listing, Fault> {
        let mut entries = self.entries()?;
        let mut listing = Listing::default();
        for _ in 0..LISTINGS {
            let mut vanished = false;
            let ordered = in_order(&entries);
            let found = ordered.iter().filter_map(|entry| {
                let path = self.0.join(&entry.name);
                let mut bytes = Vec::new();
                let content = match read(&path, entry.is_plain, &mut bytes) {
                    Ok(true) => Ok(bytes),
                    Ok(false) => return None,
                    Err(flaw) => Err(flaw),
                };
                let content = content.map_err(|flaw| {
                    vanished |= flaw.is_gone && !path.is_symlink();
                    flaw.fault
                });
                Some(Found { path, content })
            });
            let found = found.collect();
            // A file that is renamed meanwhile may be in neither place: a
            // listing counts when the next one is the same.
            let again = self.entries()?;
            let is_same = again == entries || in_order(&again) == ordered;
            listing = Listing { found, is_whole: is_same && !vanished };
            if listing.is_whole {
                break;
            }
            entries = again;
        }
        Ok(listing)
    }
}

/// One name of the folder.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    name: OsString,
    /// Whether it is a file, and no link to one, as the folder itself says.
    is_plain: bool,
}

fn in_order(entries: &[Entry]) -> Vec<&Entry> {
    let mut ordered: Vec<&Entry> = entries.iter().collect();
    crate::order::sort(&mut ordered);
    ordered
}

/// Why a file cannot be read.
struct Flaw {
    fault: Fault,
    /// Whether it, or what it links to, is not there.
    is_gone: bool,
}

/// Reads a file into `bytes`, in place of what they are; says whether it is
/// one, and no folder.
fn read(path: &Path, is_plain: bool, bytes: &mut Vec<u8>) -> Result<bool, Flaw> {
    bytes.clear();
    let unreadable = |error: io::Error| Flaw {
        fault: fault(path, format!("cannot be read: {error}")),
        is_gone: error.kind() == io::ErrorKind::NotFound,
    };
    let refused = |message: String| Flaw { fault: fault(path, message), is_gone: false };
    let not_regular = || refused("is not a regular file".to_owned());
    // Looked at before it is opened, because to open a device may do
    // something, and after, because it may be another by then.
    if !is_plain {
        let metadata = fs::metadata(path).map_err(unreadable)?;
        if metadata.is_dir() {
            return Ok(false);
        }
        if !metadata.is_file() {
            return Err(not_regular());
        }
    }
    let file: File = open_without_waiting(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if metadata.is_dir() {
        return Ok(false);
    }
    if !metadata.is_file() {
        return Err(not_regular());
    }
    // One more than there is: the end is then found without another buffer.
    let expected = metadata.len().min(MAX_LEN) + 1;
    bytes.reserve(usize::try_from(expected).unwrap_or_default());
    file.take(MAX_LEN + 1).read_to_end(bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_LEN {
        return Err(refused(format!("is larger than {} KiB", MAX_LEN >> 10)));
    }
    Ok(true)
}

/// The name of a file in places.
pub(super) fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// A fault of a file as a whole.
fn fault(path: &Path, message: String) -> Fault {
    Fault { place: Place::whole(shown(path)), key: String::new(), message }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is seen of a listing.
    fn sight(dir: &mut Dir) -> Option<Sight> {
        let listing = dir.list().unwrap();
        assert!(listing.is_whole);
        let files = listing.found.iter();
        Sight::of(files.map(|Found { path, content }| {
            (&**path, content.as_ref().ok().map(|bytes| Fingerprint::of(bytes)))
        }))
    }

    #[test]
    fn a_look_is_equal_while_the_same_files_say_the_same() {
        let folder = std::env::temp_dir().join(format!("loopkeeper-sight-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let at = |name: &str| folder.join(name);
        let mut dir = Dir::new(&folder);
        assert_eq!(dir.look(), Some(Sight::default()));
        let mut seen = Vec::new();
        let steps: [(&str, &dyn Fn()); 6] = [
            ("one", &|| fs::write(at("a.json"), "1").unwrap()),
            ("two of one content", &|| fs::write(at("b.json"), "1").unwrap()),
            ("another content", &|| fs::write(at("b.json"), "22").unwrap()),
            ("the contents the other way round", &|| {
                fs::write(at("a.json"), "22").unwrap();
                fs::write(at("b.json"), "1").unwrap();
            }),
            ("renamed", &|| fs::rename(at("b.json"), at("c.json")).unwrap()),
            ("one less", &|| fs::remove_file(at("a.json")).unwrap()),
        ];
        for (what, step) in steps {
            step();
            let look = dir.look();
            assert_eq!((look, look), (dir.look(), sight(&mut dir)), "{what}");
            assert!(look.is_some() && !seen.contains(&look), "{what}");
            seen.push(look);
        }
        // What is no descriptor is not seen, what cannot be read is no sight.
        fs::write(at("d.txt"), "").unwrap();
        fs::create_dir(at("d.json")).unwrap();
        assert_eq!(dir.look(), seen.pop().unwrap());
        std::os::unix::fs::symlink(at("nowhere"), at("e.json")).unwrap();
        assert_eq!(dir.look(), None);
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(dir.look(), None);
    }
}
