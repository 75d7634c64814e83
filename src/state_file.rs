//! A file in which something small is kept over a restart.
//!
//! Small and whole: written beside and put in its place, so that after a crash
//! the old one or the new one is there. One that cannot be read is left out
//! with a warning, as if there were none. Only one may keep it: a lock beside
//! it, which ends with the process, has a second refused.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result as LibResult};
use crate::primitive::{AtomicBool, Mutex, Ordering};
use crate::sys::file::{FileLock, open_without_waiting};

#[derive(Debug)]
pub(crate) struct StateFile {
    /// The setting that names it, in full, for who reads the log.
    setting: &'static str,
    path: PathBuf,
    max_len: u64,
    /// Whether the last try failed, which is told once.
    failed: AtomicBool,
    hold: Mutex<Option<Hold>>,
}

/// That nobody else keeps the file, as far as its file system can say that.
#[derive(Debug)]
struct Hold {
    _lock: Option<FileLock>,
}

impl StateFile {
    pub(crate) fn new(setting: &'static str, path: PathBuf, max_len: u64) -> Self {
        Self { setting, path, max_len, failed: AtomicBool::new(false), hold: Mutex::default() }
    }

    /// Has nobody else keep it until it is let go.
    ///
    /// # Errors
    ///
    /// `InvalidState` when another does, in this process or in another.
    pub(crate) fn hold(&self) -> LibResult<()> {
        let mut hold = self.hold.lock();
        if hold.is_some() {
            return Ok(());
        }
        let beside = self.beside(".lock");
        let lock = match FileLock::take(&beside) {
            Ok(Ok(lock)) => Some(lock),
            Ok(Err(holder)) => {
                let holder = match holder {
                    Some(pid) if pid == std::process::id() => "this process already".to_owned(),
                    Some(pid) => format!("process {pid}"),
                    None => "another process".to_owned(),
                };
                let text = format!(
                    "{} {:?} is kept by {holder}, which has locked {beside:?}: give each a file of its own",
                    self.setting, self.path
                );
                return Err(Error::new(ErrorKind::InvalidState).context(text));
            }
            // Where no file can be made, none will be written.
            Err(error) if is_no_place(&error) => None,
            Err(error) => {
                log::warn!(
                    "{} {:?} is not guarded against a second writer: {beside:?}: {error}",
                    self.setting,
                    self.path
                );
                None
            }
        };
        *hold = Some(Hold { _lock: lock });
        Ok(())
    }

    /// Lets another keep it; what is saved after that is not.
    pub(crate) fn let_go(&self) {
        *self.hold.lock() = None;
    }

    fn beside(&self, end: &str) -> PathBuf {
        let mut beside = self.path.as_os_str().to_owned();
        beside.push(end);
        beside.into()
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

    /// Keeps it; says whether that was possible: never without the
    /// [hold](Self::hold).
    pub(crate) fn save(&self, text: &[u8]) -> bool {
        let hold = self.hold.lock();
        if hold.is_none() {
            return false;
        }
        match replace(&self.path, &self.beside(".new"), text) {
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

fn is_no_place(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::NotFound | Kind::NotADirectory | Kind::PermissionDenied | Kind::ReadOnlyFilesystem
    )
}

fn read(path: &Path, max_len: u64) -> io::Result<Vec<u8>> {
    // To open a pipe would wait for somebody to write into it.
    let file = open_without_waiting(path)?;
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
fn replace(path: &Path, beside: &Path, text: &[u8]) -> io::Result<()> {
    // What stands there is what a crash has left, or is not ours to write
    // into: a pipe would wait, and a link leads elsewhere.
    match std::fs::remove_file(beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let written = File::create_new(beside)
        .and_then(|mut file| file.write_all(text).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(beside, path));
    if written.is_err() {
        // Half of it is of no use, and takes room on a disk that is full.
        let _ = std::fs::remove_file(beside);
    }
    written
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
        assert!(!file.save(b"first"), "others may keep it");
        file.hold().unwrap();
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
        std::fs::remove_file(path.with_extension("lock")).unwrap();
        let nowhere = StateFile::new("state_file", "/nowhere/state".into(), 8);
        nowhere.hold().unwrap();
        assert!(!nowhere.save(b"") && nowhere.failed.load(Ordering::Relaxed));
        assert_eq!(StateFile::new("state_file", std::env::temp_dir(), 8).load(length), None);
        assert_eq!(StateFile::new("state_file", "/dev/zero".into(), 8).load(length), None);
    }

    #[test]
    fn pipes_and_links_in_its_place_hold_up_nothing() {
        let folder = std::env::temp_dir().join(format!("loopkeeper-pipe-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let pipe = |name: &str| {
            let path = folder.join(name);
            assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
            path
        };
        let path = pipe("state");
        pipe("state.new");
        let (other, elsewhere) = (folder.join("other"), folder.join("elsewhere"));
        std::fs::write(&elsewhere, "theirs").unwrap();
        std::os::unix::fs::symlink(&elsewhere, folder.join("other.new")).unwrap();
        let file = StateFile::new("state_file", path, 8);
        let other = StateFile::new("state_file", other, 8);
        file.hold().unwrap();
        other.hold().unwrap();
        let found = (file.load(length), file.save(b"one"), file.load(length), other.save(b"two"));
        assert_eq!(found, (None, true, Some(3), true));
        // Nothing is left beside one that cannot be put in its place.
        let taken = folder.join("taken");
        std::fs::create_dir_all(taken.join("by")).unwrap();
        let taken = StateFile::new("state_file", taken, 8);
        taken.hold().unwrap();
        assert!(!taken.save(b"three"));
        assert!(!folder.join("taken.new").exists());
        assert_eq!(std::fs::read_to_string(&elsewhere).unwrap(), "theirs");
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn only_one_keeps_it_at_a_time() {
        let folder = std::env::temp_dir().join(format!("loopkeeper-hold-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("state");
        let new = || StateFile::new("state_file", path.clone(), 8);
        let (first, second) = (new(), new());
        first.hold().unwrap();
        first.hold().unwrap();
        let error = second.hold().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidState);
        let text = format!(
            "state_file {path:?} is kept by this process already, which has locked {:?}: give each a file \
             of its own",
            folder.join("state.lock")
        );
        assert_eq!(error.to_string(), text);
        assert!(first.save(b"first") && !second.save(b"second"));
        first.let_go();
        second.hold().unwrap();
        assert!(!first.save(b"first") && second.save(b"second") && first.hold().is_err());
        drop(second);
        first.hold().unwrap();
        // A link in its place leads nowhere, and keeps nobody from working.
        let linked = StateFile::new("state_file", folder.join("linked"), 8);
        std::os::unix::fs::symlink(folder.join("elsewhere"), folder.join("linked.lock")).unwrap();
        linked.hold().unwrap();
        assert!(linked.save(b"linked") && !folder.join("elsewhere").exists());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
