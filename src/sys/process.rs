//! Child processes: their groups, their signals, and when they end.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

#[cfg(not(target_os = "linux"))]
use fork::begin;

#[cfg(target_os = "linux")]
use super::spawn::begin;

use super::program::Program;

/// A child that leads a process group of its own, with everything in it.
///
/// Dropped, it is killed as a whole and waited for, so that nothing of it is
/// left: no process, no zombie.
#[derive(Debug)]
pub(crate) struct Group {
    id: libc::pid_t,
    /// Once it was waited for, its number may be somebody else's.
    reaped: bool,
}

impl Group {
    /// Runs a program in a group of its own, with no signal blocked. Threads
    /// of ours block most signals, and a child would inherit that: it could
    /// not be asked to end.
    pub(crate) fn spawn(program: &Program<'_>) -> io::Result<Self> {
        begin(program).map(Self::of)
    }

    fn of(id: libc::pid_t) -> Self {
        Self { id, reaped: false }
    }

    /// The number of its leader, which is that of the group.
    pub(crate) fn id(&self) -> u32 {
        self.id.unsigned_abs()
    }

    /// A descriptor that is ready to read once the leader has ended, where
    /// the system has such.
    #[cfg(target_os = "linux")]
    pub(crate) fn end(&self) -> Option<OwnedFd> {
        if self.reaped {
            return None;
        }
        // SAFETY: pidfd_open takes no pointers; the descriptor it answers is
        // new, belongs to nobody else, and is closed in children. The number
        // is the leader's, because it was not waited for.
        unsafe {
            let fd = libc::syscall(libc::SYS_pidfd_open, self.id, 0);
            let fd = libc::c_int::try_from(fd).ok().filter(|fd| *fd >= 0)?;
            Some(OwnedFd::from_raw_fd(fd))
        }
    }

    /// A descriptor that is ready to read once the leader has ended, where
    /// the system has such.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn end(&self) -> Option<OwnedFd> {
        None
    }

    /// Whether the leader has ended. It stays to be waited for, so its number
    /// and its group's stay its own.
    pub(crate) fn has_ended(&self) -> io::Result<bool> {
        if self.reaped {
            return Ok(true);
        }
        // SAFETY: all-zero bytes are a valid siginfo_t.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        let how = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        // SAFETY: `info` is valid for writes.
        super::check(unsafe { libc::waitid(libc::P_PID, self.id(), &mut info, how) })?;
        // SAFETY: waitid filled in the member for children, or left the zeroes.
        Ok(unsafe { info.si_pid() } != 0)
    }

    /// Kills every process of the group.
    pub(crate) fn kill(&self) {
        // Where the program ignores SIGCHLD, children vanish unwaited: then
        // there is nothing to wait for, and the number is not ours any more.
        if self.reaped || self.has_ended().is_err() {
            return;
        }
        // SAFETY: killpg takes no pointers; the number is the group's,
        // because its leader was not waited for. That nobody is left in it
        // is no error worth telling.
        unsafe { libc::killpg(self.id, libc::SIGKILL) };
    }

    /// Kills what is left of the group, waits for the leader and tells how it
    /// ended. Blocks only as long as the kernel takes to end it.
    pub(crate) fn reap(&mut self) -> io::Result<ExitStatus> {
        self.kill();
        let status = self.wait();
        self.reaped = true;
        status
    }

    fn wait(&self) -> io::Result<ExitStatus> {
        let mut status = 0;
        loop {
            // SAFETY: `status` is valid for writes.
            match super::check(unsafe { libc::waitpid(self.id, &mut status, 0) }) {
                Ok(_) => return Ok(ExitStatus::from_raw(status)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Begins a program in a copy of this process.
#[cfg(any(test, not(target_os = "linux")))]
mod fork {
    use std::io;
    use std::mem::MaybeUninit;
    use std::os::fd::OwnedFd;
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};

    use super::Program;

    pub(super) fn begin(program: &Program<'_>) -> io::Result<libc::pid_t> {
        let Some((name, arguments)) = program.argv.split_first() else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let stdio = |fd: Option<&OwnedFd>| -> io::Result<Stdio> {
            fd.map_or(Ok(Stdio::null()), |fd| fd.try_clone().map(Stdio::from))
        };
        let mut command = Command::new(name);
        command.args(arguments).envs(program.env.iter().map(|(name, value)| (name, value)));
        command.stdin(stdio(program.stdin)?).stdout(stdio(Some(program.stdout))?);
        command.stderr(stdio(program.stderr)?);
        if let Some(dir) = program.dir {
            command.current_dir(dir);
        }
        // SAFETY: between fork and exec only functions may run that are safe
        // in a signal handler; sigemptyset and sigprocmask are, and nothing
        // is allocated.
        unsafe {
            command.pre_exec(|| {
                let mut none = MaybeUninit::<libc::sigset_t>::uninit();
                crate::sys::check(libc::sigemptyset(none.as_mut_ptr()))?;
                crate::sys::check(libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut()))?;
                Ok(())
            });
        }
        // Waited for by its number alone; to drop it does nothing.
        let child = command.process_group(0).spawn()?;
        Ok(child.id() as libc::pid_t)
    }
}

/// Whether a wait failed because there is no such child: the kernel has
/// thrown its exit code away, as it does where SIGCHLD is ignored.
pub(crate) fn is_no_child(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ECHILD)
}

impl Drop for Group {
    fn drop(&mut self) {
        if !self.reaped {
            // There is nobody to tell, and nothing more that could be done.
            let _ = self.reap();
        }
    }
}

/// Makes a pipe whose ends are closed in child processes, and whose reading
/// end does not block. First the end to read.
pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds = [-1; 2];
    // SAFETY: `fds` has room for two; the descriptors are new and belong to
    // nobody else.
    let (read, write) = unsafe {
        make_pipe(&mut fds)?;
        (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1]))
    };
    // SAFETY: the descriptor is open, and its only flag is the one set.
    super::check(unsafe { libc::fcntl(read.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) })?;
    Ok((read, write))
}

/// # Safety
///
/// None beyond that what is answered in `fds` is to be owned.
#[cfg(target_os = "linux")]
unsafe fn make_pipe(fds: &mut [libc::c_int; 2]) -> io::Result<()> {
    // SAFETY: `fds` has room for two.
    super::check(unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) }).map(drop)
}

/// # Safety
///
/// None beyond that what is answered in `fds` is to be owned.
#[cfg(not(target_os = "linux"))]
unsafe fn make_pipe(fds: &mut [libc::c_int; 2]) -> io::Result<()> {
    // SAFETY: `fds` has room for two, and both are open afterwards.
    unsafe {
        super::check(libc::pipe(fds.as_mut_ptr()))?;
        for fd in fds {
            super::check(libc::fcntl(*fd, libc::F_SETFD, libc::FD_CLOEXEC))?;
        }
    }
    Ok(())
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;
    use std::ffi::OsString;
    use std::os::unix::fs::PermissionsExt;
    use std::path::{Path, PathBuf};

    type Start = fn(&Program<'_>) -> io::Result<libc::pid_t>;

    /// How a program ended, or why it did not begin.
    #[track_caller]
    fn check(start: Start, argv: &[&str], env: &[(&str, &str)], dir: Option<&Path>, expected: &str) {
        let argv: Vec<OsString> = argv.iter().map(OsString::from).collect();
        let env: Vec<(OsString, OsString)> =
            env.iter().map(|(name, value)| (name.into(), value.into())).collect();
        let (_output, stdout) = pipe().expect("it works");
        let program = Program { argv: &argv, env: &env, dir, stdin: None, stdout: &stdout, stderr: None };
        let found = match start(&program).map(Group::of) {
            Ok(mut group) => {
                // Killed once it has ended, and not before.
                // SAFETY: all-zero bytes are a valid siginfo_t, and it is valid
                // for writes.
                let waited = unsafe {
                    let mut info: libc::siginfo_t = std::mem::zeroed();
                    libc::waitid(libc::P_PID, group.id(), &mut info, libc::WEXITED | libc::WNOWAIT)
                };
                assert_eq!((waited, group.has_ended().ok()), (0, Some(true)));
                let status = group.reap().expect("it works");
                let code = status.code().map(|code| format!("exit {code}"));
                code.unwrap_or_else(|| format!("signal {}", status.signal().expect("it works")))
            }
            Err(error) => format!("{:?}", error.kind()),
        };
        assert_eq!(found, expected, "{argv:?}");
    }

    fn folder(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("loopkeeper-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("it works");
        for (name, text, mode) in [
            ("lk-script", "exit 4", 0o755),
            ("lost", "#!/nowhere/shell\nexit 0", 0o755),
            ("text", "exit 0", 0o644),
        ] {
            std::fs::write(dir.join(name), text).expect("it works");
            std::fs::set_permissions(dir.join(name), PermissionsExt::from_mode(mode)).expect("it works");
        }
        dir
    }

    /// `lost` is what becomes of a script whose interpreter is not there.
    fn programs_run(name: &str, start: Start, lost: &str) {
        let dir = folder(name);
        let at = dir.to_str().expect("it works");
        let script = format!("{at}/lk-script");
        let pipe_is_heard = ["sh", "-c", "kill -PIPE $$; exit 9"];
        for (argv, env, dir, expected) in [
            (&["sh", "-c", "exit $0", "3"][..], &[][..], None, "exit 3"),
            (&[&script], &[], None, "exit 4"),
            (&["./lk-script"], &[], Some(&*dir), "exit 4"),
            (&["lk-script"], &[("PATH", &*format!("/nowhere:{at}"))], None, "exit 4"),
            (&["lk-script"], &[], Some(&dir), "NotFound"),
            (&["sh", "-c", "test \"$LOOPKEEPER_A\" = b"], &[("LOOPKEEPER_A", "b")], None, "exit 0"),
            (&["sh", "-c", "test -f lk-script"], &[], Some(&dir), "exit 0"),
            (&pipe_is_heard, &[], None, "signal 13"),
            (&["sh", "-c", "read a || exit 6"], &[], None, "exit 6"),
            (&["text"], &[("PATH", at)], None, "PermissionDenied"),
            (&["./text"], &[], Some(&dir), "PermissionDenied"),
            (&["./lost"], &[], Some(&dir), lost),
            (&["./"], &[], Some(&dir), "PermissionDenied"),
            (&["sh", "-c", "exit $#", "a", "b c", "d"], &[], Some(&dir), "exit 2"),
            (&["/nowhere/x"], &[], None, "NotFound"),
            (&["true"], &[], Some(Path::new("/nowhere")), "NotFound"),
        ] {
            check(start, argv, env, dir, expected);
        }
        if cfg!(target_os = "linux") {
            // A signal that is blocked here is not in the program.
            let _guard = crate::sys::signals::block();
            let none = ["sh", "-c", "grep -q 'SigBlk:\t0*$' /proc/self/status"];
            check(start, &none, &[], None, "exit 0");
        }
        std::fs::remove_dir_all(dir).expect("it works");
    }

    #[test]
    fn programs_are_found_and_run() {
        programs_run("spawn", begin, "NotFound");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn programs_are_found_and_run_by_a_shell_in_their_folder_alike() {
        programs_run("shell", crate::sys::spawn::tests::begin_by_shell, "exit 127");
    }

    #[test]
    fn programs_are_found_and_run_by_a_copy_alike() {
        programs_run("fork", fork::begin, "NotFound");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_program_begins_without_a_copy_of_this_process() {
        thread_local! {
            static FORKS: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
        }
        extern "C" fn count() {
            FORKS.set(FORKS.get() + 1);
        }
        // SAFETY: the function is there for as long as the process.
        assert_eq!(unsafe { libc::pthread_atfork(Some(count), None, None) }, 0);
        let dir = std::env::temp_dir();
        check(begin, &["true"], &[], Some(&dir), "exit 0");
        assert_eq!(FORKS.get(), 0);
        check(fork::begin, &["true"], &[], Some(&dir), "exit 0");
        assert_eq!(FORKS.get(), 1, "it would have been seen");
    }
}
