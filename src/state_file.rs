//! A file in which something small is kept over a restart.
//!
//! Small and whole: written beside and put in its place, so that after a crash
//! the old one or the new one is there. One that cannot be read is left out
//! with a warning, as if there were none.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crate::primitive::{AtomicBool, Ordering};

#[derive(Debug)]
pub(crate) struct StateFile {
    /// The setting that names it, for who reads the log.
    setting: &'static str,
    path: PathBuf,
    max_len: u64,
    /// Whether the last try failed, which is told once.
    failed: AtomicBool,
}

impl StateFile {
    pub(crate) fn new(setting: &'static str, path: PathBuf, max_len: u64) -> Self {
        Self { setting, path, max_len, failed: AtomicBool::new(false) }
    }

    /// What was kept; `None` when that is not to be had.
    pub(crate) fn load<T>(&self, parse: impl FnOnce(&[u8]) -> Result<T, String>) -> Option<T> {
        let text = match read(&self.path, self.max_len) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                self.leave_out(&error.to_string());
                return None;
            }
        };
        parse(&text).map_err(|text| self.leave_out(&text)).ok()
    }

    fn leave_out(&self, why: &str) {
        log::warn!("{} {:?} is left out: {why}", self.setting, self.path);
    }

    /// Keeps it; says whether that was possible.
    pub(crate) fn save(&self, text: &[u8]) -> bool {
        match replace(&self.path, text) {
            Ok(()) => {
                self.failed.store(false, Ordering::Relaxed);
                true
            }
            Err(error) => {
                if !self.failed.swap(true, Ordering::Relaxed) {
                    log::warn!("{} {:?} cannot be written: {error}", self.setting, self.path);
                }
                false
            }
        }
    }
}

fn read(path: &Path, max_len: u64) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    // Before it is read: a pipe would not end.
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut text = Vec::new();
    file.take(max_len + 1).read_to_end(&mut text)?;
    if text.len() as u64 > max_len {
        return Err(io::Error::other(format!("longer than {max_len} bytes")));
    }
    Ok(text)
}

/// The old one or the new one is there at any time.
fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let mut file = File::create(&beside)?;
    file.write_all(text)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    fn length(text: &[u8]) -> Result<usize, String> {
        Ok(text.len())
    }

    #[test]
    fn what_is_kept_is_there_again_and_what_is_no_file_is_left_out() {
        let path = std::env::temp_dir().join(format!("loopkeeper-state-{}", std::process::id()));
        let file = StateFile::new("state_file", path.clone(), 8);
        assert_eq!(file.load(length), None);
        assert!(file.save(b"first") && file.save(b"second"));
        assert_eq!(file.load(length), Some(6));
        assert_eq!(file.load(|_| Err::<(), _>("no".to_owned())), None);
        // One that a crash left half written beside is no harm.
        let beside = path.with_extension("new");
        std::fs::write(&beside, "half").unwrap();
        assert_eq!(file.load(length), Some(6));
        assert!(file.save(b"12345678"));
        assert_eq!((file.load(length), beside.exists()), (Some(8), false));
        assert!(file.save(b"123456789"));
        assert_eq!(file.load(length), None);
        std::fs::remove_file(&path).unwrap();
        let nowhere = StateFile::new("state_file", "/nowhere/state".into(), 8);
        assert!(!nowhere.save(b"") && nowhere.failed.load(Ordering::Relaxed));
        assert_eq!(StateFile::new("state_file", std::env::temp_dir(), 8).load(length), None);
        assert_eq!(StateFile::new("state_file", "/dev/zero".into(), 8).load(length), None);
    }
}
