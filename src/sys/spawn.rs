//! Begins a program without a copy of this process.
//!
//! A fork copies the tables of all memory and holds up every thread that maps
//! some: in a process of a gigabyte that is tens of milliseconds for each
//! program. What is used here shares the memory until the program runs.

use std::ffi::{CStr, CString, OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::ptr;

use super::program::Program;

/// Where programs are looked for when nothing says where.
const DEFAULT_PATH: &str = "/bin:/usr/bin";
/// What runs a script that does not say what runs it.
const SHELL: &CStr = c"/bin/sh";

/// Goes to the folder that is its first argument, and becomes the program that
/// the others are. What a shell adds to an environment, and leaves out of it,
/// is not undone.
const IN_FOLDER: &CStr = c"cd -P \"$0\" && exec \"$@\"";

/// Begins a program and answers its number.
pub(super) fn begin(program: &Program<'_>) -> io::Result<libc::pid_t> {
    begin_with(program, change_dir_of_libc())
}

fn begin_with(program: &Program<'_>, change_dir: Option<ChangeDir>) -> io::Result<libc::pid_t> {
    let mut actions = Actions::new()?;
    // Where the C library is too old to change the folder, a shell does.
    let mut folder = None;
    match (program.dir, change_dir) {
        (Some(dir), Some(change_dir)) => actions.change_dir(change_dir, &c_string(dir.as_os_str())?)?,
        (Some(dir), None) => folder = Some(c_string(std::path::absolute(dir)?.as_os_str())?),
        (None, _) => {}
    }
    // Kept until the program has its own.
    let mut kept = Vec::new();
    let streams = [
        (libc::STDIN_FILENO, program.stdin, libc::O_RDONLY),
        (libc::STDOUT_FILENO, Some(program.stdout), libc::O_WRONLY),
        (libc::STDERR_FILENO, program.stderr, libc::O_WRONLY),
    ];
    for (target, own, mode) in streams {
        match own {
            Some(fd) => actions.duplicate(beyond_standard(fd, &mut kept)?, target)?,
            None => actions.open(target, c"/dev/null", mode)?,
        }
    }
    let attributes = Attributes::new()?;
    #[allow(clippy::disallowed_methods, reason = "handed on as it is, and not looked at")]
    let mut environment: Vec<(OsString, OsString)> = std::env::vars_os().collect();
    for (name, value) in program.env {
        environment.retain(|(other, _)| other != name);
        environment.push((name.clone(), value.clone()));
    }
    let path = environment.iter().find(|(name, _)| name == "PATH");
    let candidates = candidates(program, path.map_or(OsStr::new(DEFAULT_PATH), |(_, path)| path));
    let environment = environment.into_iter().map(|(mut name, value)| {
        name.push("=");
        name.push(value);
        Ok(CString::new(name.into_vec())?)
    });
    let environment: Vec<CString> = environment.collect::<io::Result<_>>()?;
    let arguments = program.argv.iter().map(|word| c_string(word));
    let arguments: Vec<CString> = arguments.collect::<io::Result<_>>()?;
    let arguments: Vec<&CStr> = arguments.iter().map(CString::as_c_str).collect();

    let run = |file: &CStr, arguments: &[&CStr]| {
        let (argv, envp) = (pointers(arguments.iter().copied()), pointers(environment.iter().map(|c| &**c)));
        let mut pid = 0;
        // SAFETY: all pointers are to what outlives the call: ends with NUL,
        // or with a null pointer, or was initialised.
        let code = unsafe {
            libc::posix_spawn(
                &mut pid,
                file.as_ptr(),
                actions.0.as_ptr(),
                attributes.0.as_ptr(),
                argv.as_ptr(),
                envp.as_ptr(),
            )
        };
        check(code).map(|()| pid)
    };
    let mut failure = io::Error::from_raw_os_error(libc::ENOENT);
    for candidate in candidates {
        let file = c_string(candidate.as_os_str())?;
        let by_shell = |words: &[&CStr]| run(SHELL, &[words, &[&file], &arguments[1..]].concat());
        let begun = match (&folder, program.dir) {
            (Some(folder), Some(dir)) => {
                check_program(dir, &candidate).and_then(|()| by_shell(&[SHELL, c"-c", IN_FOLDER, folder]))
            }
            _ => run(&file, &arguments).or_else(|error| match error.raw_os_error() {
                Some(libc::ENOEXEC) => by_shell(&[SHELL]),
                _ => Err(error),
            }),
        };
        match begun {
            Ok(pid) => return Ok(pid),
            // That there is one that may not be run is better to know than
            // that there is none elsewhere.
            Err(error) if error.raw_os_error() == Some(libc::EACCES) => failure = error,
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => {}
            Err(error) => return Err(error),
        }
    }
    Err(failure)
}

/// The files that a program may be, in the order of trying.
fn candidates(program: &Program<'_>, path: &OsStr) -> Vec<PathBuf> {
    let Some(name) = program.argv.first() else { return Vec::new() };
    if name.as_bytes().contains(&b'/') {
        return vec![name.into()];
    }
    // As it will be looked at from where it runs.
    let base = program.dir.unwrap_or(Path::new(""));
    let folders = path.as_bytes().split(|&byte| byte == b':');
    let files = folders.map(|folder| {
        let folder: &[u8] = if folder.is_empty() { b"." } else { folder };
        Path::new(OsStr::from_bytes(folder)).join(name)
    });
    files.filter(|file| base.join(file).is_file()).collect()
}

/// What the system would say of a program that a shell is to become: the shell
/// itself could only say it in words.
fn check_program(dir: &Path, program: &Path) -> io::Result<()> {
    // With a slash at its end a folder is nothing else.
    for path in [dir.join(""), dir.join(program)] {
        let path = c_string(path.as_os_str())?;
        // SAFETY: the path ends with NUL.
        super::check(unsafe { libc::access(path.as_ptr(), libc::X_OK) })?;
    }
    if dir.join(program).is_dir() {
        return Err(io::Error::from_raw_os_error(libc::EACCES));
    }
    Ok(())
}

fn c_string(text: &OsStr) -> io::Result<CString> {
    Ok(CString::new(text.as_bytes())?)
}

/// Pointers to texts, and one to nothing.
fn pointers<'a>(texts: impl Iterator<Item = &'a CStr>) -> Vec<*mut libc::c_char> {
    texts.map(|text| text.as_ptr().cast_mut()).chain([ptr::null_mut()]).collect()
}

/// These calls answer what went wrong.
fn check(code: libc::c_int) -> io::Result<()> {
    if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code)) }
}

/// A descriptor that is none of the three that are about to be replaced: this
/// process may have them closed.
fn beyond_standard(fd: &OwnedFd, kept: &mut Vec<OwnedFd>) -> io::Result<RawFd> {
    if fd.as_raw_fd() > libc::STDERR_FILENO {
        return Ok(fd.as_raw_fd());
    }
    // SAFETY: the descriptor is open; what is answered is new and belongs to
    // nobody else.
    let fd = unsafe {
        let fd = super::check(libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, libc::STDERR_FILENO + 1))?;
        OwnedFd::from_raw_fd(fd)
    };
    let raw = fd.as_raw_fd();
    kept.push(fd);
    Ok(raw)
}

/// What happens to the program's descriptors and folder before it runs.
struct Actions(MaybeUninit<libc::posix_spawn_file_actions_t>);

impl Actions {
    fn new() -> io::Result<Self> {
        let mut actions = MaybeUninit::uninit();
        // SAFETY: the pointer is to room for one.
        check(unsafe { libc::posix_spawn_file_actions_init(actions.as_mut_ptr()) })?;
        Ok(Self(actions))
    }

    fn duplicate(&mut self, from: RawFd, to: RawFd) -> io::Result<()> {
        // SAFETY: it was initialised.
        check(unsafe { libc::posix_spawn_file_actions_adddup2(self.0.as_mut_ptr(), from, to) })
    }

    fn open(&mut self, target: RawFd, path: &CStr, mode: libc::c_int) -> io::Result<()> {
        // SAFETY: it was initialised, and the path is copied.
        check(unsafe {
            libc::posix_spawn_file_actions_addopen(self.0.as_mut_ptr(), target, path.as_ptr(), mode, 0)
        })
    }

    fn change_dir(&mut self, change_dir: ChangeDir, dir: &CStr) -> io::Result<()> {
        // SAFETY: it was initialised, and the path is copied.
        check(unsafe { change_dir(self.0.as_mut_ptr(), dir.as_ptr()) })
    }
}

impl Drop for Actions {
    fn drop(&mut self) {
        // SAFETY: it was initialised and is not used again.
        unsafe { libc::posix_spawn_file_actions_destroy(self.0.as_mut_ptr()) };
    }
}

type ChangeDir =
    unsafe extern "C" fn(*mut libc::posix_spawn_file_actions_t, *const libc::c_char) -> libc::c_int;

/// What changes a program's folder, where the C library has it: glibc since
/// 2.29.
fn change_dir_of_libc() -> Option<ChangeDir> {
    // SAFETY: the name ends with NUL.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"posix_spawn_file_actions_addchdir_np".as_ptr()) };
    // SAFETY: NULL is none; else this is the type of the function of this name
    // in every C library that has it.
    unsafe { std::mem::transmute::<*mut libc::c_void, Option<ChangeDir>>(found) }
}

/// A group of its own, no signal blocked, and the one that ends who writes to
/// nobody at its default: std ignores it in this process.
struct Attributes(MaybeUninit<libc::posix_spawnattr_t>);

impl Attributes {
    fn new() -> io::Result<Self> {
        let mut attributes = MaybeUninit::uninit();
        // SAFETY: the pointer is to room for one.
        check(unsafe { libc::posix_spawnattr_init(attributes.as_mut_ptr()) })?;
        let mut attributes = Self(attributes);
        let all = attributes.0.as_mut_ptr();
        let flags = libc::POSIX_SPAWN_SETPGROUP | libc::POSIX_SPAWN_SETSIGMASK | libc::POSIX_SPAWN_SETSIGDEF;
        let mut signals = MaybeUninit::<libc::sigset_t>::uninit();
        let signals = signals.as_mut_ptr();
        // SAFETY: the attributes and, once emptied, the set are initialised.
        unsafe {
            check(libc::posix_spawnattr_setflags(all, flags as libc::c_short))?;
            check(libc::posix_spawnattr_setpgroup(all, 0))?;
            super::check(libc::sigemptyset(signals))?;
            check(libc::posix_spawnattr_setsigmask(all, signals))?;
            super::check(libc::sigaddset(signals, libc::SIGPIPE))?;
            check(libc::posix_spawnattr_setsigdefault(all, signals))?;
        }
        Ok(attributes)
    }
}

impl Drop for Attributes {
    fn drop(&mut self) {
        // SAFETY: it was initialised and is not used again.
        unsafe { libc::posix_spawnattr_destroy(self.0.as_mut_ptr()) };
    }
}

#[cfg(all(test, not(shuttle)))]
pub(super) mod tests {
    use super::*;

    /// As with a C library that cannot change the folder.
    pub(in super::super) fn begin_by_shell(program: &Program<'_>) -> io::Result<libc::pid_t> {
        begin_with(program, None)
    }
}
