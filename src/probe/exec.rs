//! Asks by running a program.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use super::Probe;
use super::text::{local, no_nul, reason, shown};
use super::wait::{Stop, Wait};
use crate::component::Context;
use crate::error::{BoxError, Error, ErrorKind, Result};
use crate::sys::limits::is_out_of_descriptors;
use crate::sys::process::{Group, is_no_child, pipe};
use crate::sys::program::Program;
use crate::sys::wait::{Interest, PollFd};
use crate::text::tail;

/// How much of the output an error shows, in bytes. A kept error has 2 KiB
/// for everything.
const SHOWN: usize = 1024;
/// How much of the output is kept by default, in bytes.
const KEPT: usize = 4096;
/// How often a child is looked at where the system cannot tell of its end.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Runs a program, by its name or path and its arguments, and asks whether it
/// exits with 0.
///
/// See [`ExecProbe`].
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use loopkeeper::{Context, Env, Name, Probe, probe};
///
/// let env = Env::new()?;
/// let cx = Context::detached(&env, Name::new("raid")?, Duration::from_secs(5));
/// assert!(probe::exec(["true"]).probe(&cx).is_ok());
///
/// let error = probe::exec(["sh", "-c", "echo degraded >&2; exit 3"]).probe(&cx).unwrap_err();
/// let text = error.to_string(); // exec sh: exit code 3 after 2ms: degraded
/// assert!(text.starts_with("exec sh: exit code 3 after ") && text.ends_with(": degraded"));
/// # Ok::<(), loopkeeper::Error>(())
/// ```
pub fn exec<I>(argv: I) -> ExecProbe
where
    I: IntoIterator,
    I::Item: Into<OsString>,
{
    let argv = argv.into_iter().map(Into::into).collect();
    ExecProbe { argv, env: Vec::new(), input: Vec::new(), current_dir: None, keep_output: KEPT }
}

/// Runs a program and looks at its exit code; made by [`exec`].
///
/// No shell is between. The program runs in a process group of its own, with
/// nothing on its standard input and no signal blocked. Both outputs go into
/// one pipe that is always read, so a talkative program never blocks; the end
/// of what it said is part of the error. The arguments are not: they may hold
/// secrets.
///
/// The whole group is killed when the program has ended, at the deadline, on
/// cancel and when the call is abandoned in any way; what the program leaves
/// in the background ends with it, unless it moved to a process group or a
/// session of its own, as shells with job control and daemons do. The program
/// is always waited for: no zombie is left. One that the kernel cannot kill,
/// because it hangs in a device, holds the call, and the watcher says so.
///
/// On Linux this process is not copied for it (`posix_spawn`), so it costs a
/// large program no more than a small one.
///
/// The exit code is known only where the process does not ignore SIGCHLD,
/// which a program may inherit; with the feature `signals`,
/// `signals::reset_inherited` sets it back.
///
/// # Errors
///
/// `Probe` when it exits with another code or is killed by a signal,
/// `Timeout` when it still runs at the deadline, `Io` when it cannot be run,
/// `Budget` when this process has no descriptor left,
/// `Cancelled`; `InvalidArgument` when there is no program, or a NUL byte in
/// what it is given.
#[derive(Clone)]
#[must_use = "a probe does nothing until it is asked"]
pub struct ExecProbe {
    argv: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    /// Less than a pipe takes without a reader.
    input: Vec<u8>,
    current_dir: Option<PathBuf>,
    keep_output: usize,
}

impl ExecProbe {
    /// Sets a variable of the program's environment. Call it again for more.
    /// Defaults to the environment of this process.
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// What the program reads from its standard input; cut at 60 KiB, which
    /// any pipe takes.
    pub(crate) fn input(mut self, mut input: Vec<u8>) -> Self {
        input.truncate(60 * 1024);
        self.input = input;
        self
    }

    /// The folder the program runs in. Defaults to that of this process.
    pub fn current_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.current_dir = Some(path.into());
        self
    }

    /// How much of the end of the output is kept, in bytes. The error shows
    /// at most 1 KiB of it. Defaults to 4 KiB.
    pub fn keep_output(mut self, bytes: usize) -> Self {
        self.keep_output = bytes;
        self
    }

    /// Runs the program for at most `limit` and gives what it writes to its
    /// standard output, at most `max` bytes. Its standard error is not read,
    /// and no error shows what it said: it may be a secret.
    pub(crate) fn output(
        &self,
        cx: &Context,
        max: usize,
        limit: Duration,
    ) -> std::result::Result<Vec<u8>, BoxError> {
        self.check()?;
        let program = shown(&self.argv[0]);
        let wait = Wait::begin(cx, &format!("exec {program}"))?;
        wait.hurry(limit);
        let quiet = Self { keep_output: max, ..self.clone() };
        let said = quiet.run(&program, &wait, Hear::Answer)?;
        if said.cut {
            let text = format!("exec {program}: answered with more than {max} bytes");
            return Err(Error::new(ErrorKind::Probe).context(text).into());
        }
        Ok(said.bytes)
    }

    fn run(&self, program: &str, wait: &Wait, hear: Hear) -> std::result::Result<Tail, Error> {
        let fail = |kind, text: String| Error::new(kind).context(format!("exec {program}: {text}"));
        let (group, output) = self.spawn(hear).map_err(|(kind, text)| fail(kind, text))?;
        wait.step(format_args!("running {program} (pid {})", group.id()));
        let end = group.end();
        let mut run = Run { group, end, output: Some(output), tail: Tail::new(self.keep_output) };
        let ended = run.until_ended(wait);
        // Kills what is left, in every case.
        let status = run.group.reap();
        run.drain();
        let said = match hear {
            Hear::Everything => run.tail.shown(),
            Hear::Answer => String::new(),
        };
        let took = wait.took();
        if !said.is_empty() {
            wait.detail(|| format!("output{said}"));
        }
        let status = match ended {
            Ok(()) => status
                .map_err(|error| fail(ErrorKind::Io, format!("its exit code is lost: {}", lost(&error))))?,
            Err(Stop::Cancelled) => {
                return Err(fail(ErrorKind::Cancelled, format!("cancelled after {took}")));
            }
            Err(Stop::TimedOut) => {
                return Err(fail(ErrorKind::Timeout, format!("still ran after {took}, killed{said}")));
            }
            Err(Stop::Refused(error)) => {
                return Err(fail(ErrorKind::Io, format!("cannot be waited for: {}", lost(&error))));
            }
        };
        if status.success() {
            return Ok(std::mem::replace(&mut run.tail, Tail::new(0)));
        }
        Err(fail(ErrorKind::Probe, format!("{} after {took}{said}", Ended(status))))
    }

    /// What it reads, whole and with an end.
    fn stdin(&self) -> io::Result<Option<OwnedFd>> {
        if self.input.is_empty() {
            return Ok(None);
        }
        let (read, write) = pipe()?;
        File::from(write).write_all(&self.input)?;
        Ok(Some(read))
    }

    fn spawn(&self, hear: Hear) -> std::result::Result<(Group, OwnedFd), (ErrorKind, String)> {
        let io = |text: String| (ErrorKind::Io, text);
        if self.argv.is_empty() {
            return Err(io("there is no program".to_owned()));
        }
        let (output, write) = pipe().map_err(|error| local(&error))?;
        let stdin = self.stdin().map_err(|error| local(&error))?;
        let program = Program {
            argv: &self.argv,
            env: &self.env,
            dir: self.current_dir.as_deref(),
            stdin: stdin.as_ref(),
            stdout: &write,
            stderr: match hear {
                Hear::Everything => Some(&write),
                Hear::Answer => None,
            },
        };
        // This process's writing end goes away here.
        match Group::spawn(&program) {
            Ok(group) => Ok((group, output)),
            Err(error) => Err(match (&self.current_dir, error.kind()) {
                _ if is_out_of_descriptors(&error) => local(&error),
                (Some(path), _) if !path.is_dir() => {
                    io(format!("cannot run in {}, which is no folder", shown(path.as_os_str())))
                }
                (_, io::ErrorKind::NotFound) => io("no such program or interpreter".to_owned()),
                (_, io::ErrorKind::PermissionDenied) => io("may not be executed".to_owned()),
                _ => io(format!("cannot be run: {}", reason(&error))),
            }),
        }
    }
}

impl Probe for ExecProbe {
    fn check(&self) -> Result<()> {
        if self.argv.first().is_none_or(|program| program.is_empty()) {
            return Err(Error::invalid("command: must name a program"));
        }
        let refuse = |what: String| move |text| Error::invalid(format!("{what}: {text}"));
        for (idx, word) in self.argv.iter().enumerate() {
            no_nul(word).map_err(refuse(format!("command[{idx}]")))?;
        }
        for (name, value) in &self.env {
            no_nul(name).map_err(refuse("env".to_owned()))?;
            no_nul(value).map_err(refuse(format!("env: the value of {}", shown(name))))?;
        }
        let folder = self.current_dir.as_ref().map_or(OsStr::new(""), |path| path.as_os_str());
        no_nul(folder).map_err(refuse("current_dir".to_owned()))
    }

    fn probe(&mut self, cx: &Context) -> std::result::Result<(), BoxError> {
        self.check()?;
        let program = shown(&self.argv[0]);
        let wait = Wait::begin(cx, &format!("exec {program}"))?;
        self.run(&program, &wait, Hear::Everything)?;
        Ok(())
    }
}

/// What of a program's output is read.
#[derive(Debug, Clone, Copy)]
enum Hear {
    /// Both outputs, for people.
    Everything,
    /// The standard output, for the program.
    Answer,
}

impl fmt::Debug for ExecProbe {
    /// Without arguments and environment, which may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExecProbe").field("program", &self.argv.first()).finish_non_exhaustive()
    }
}

/// Why the end of a child cannot be known, and what to do about it.
fn lost(error: &io::Error) -> String {
    if is_no_child(error) {
        "this process ignores SIGCHLD, or waits for children that are not its own; \
         set SIGCHLD to its default before threads are made (signals::reset_inherited)"
            .to_owned()
    } else {
        reason(error)
    }
}

/// A program that runs, until it is reaped. Dropping it kills it.
struct Run {
    group: Group,
    /// Tells of the end of the program, where the system can.
    end: Option<OwnedFd>,
    output: Option<OwnedFd>,
    tail: Tail,
}

impl Run {
    /// Reads output until the program has ended. Does not wait for the end of
    /// the output, which a process in the background may keep open.
    fn until_ended(&mut self, wait: &Wait) -> std::result::Result<(), Stop> {
        loop {
            let fds = [&self.output, &self.end].map(|fd| match fd {
                Some(fd) => PollFd::new(fd.as_fd(), Interest::Read),
                None => PollFd::NONE,
            });
            let limit = if self.end.is_some() { Duration::MAX } else { LOOK_AGAIN };
            let [said, ended] = wait.any(fds, limit)?;
            if said {
                self.read();
            }
            if ended || (self.end.is_none() && self.group.has_ended().map_err(Stop::Refused)?) {
                return Ok(());
            }
        }
    }

    /// Reads what there is now, but lets the caller look at its deadline
    /// between: a program may write faster than it is read.
    fn read(&mut self) -> bool {
        let Some(output) = self.output.take() else { return false };
        let mut file = File::from(output);
        let mut buffer = [0; 16 * 1024];
        match file.read(&mut buffer) {
            // All writers are gone.
            Ok(0) => return false,
            Ok(n) => self.tail.push(&buffer[..n]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.output = Some(file.into());
                return false;
            }
            Err(_) => return false,
        }
        self.output = Some(file.into());
        true
    }

    /// Reads what is still in the pipe. The group is dead, but who left it
    /// may go on writing: a pipe's worth is enough.
    fn drain(&mut self) {
        for _ in 0..64 {
            if !self.read() {
                break;
            }
        }
    }
}

/// The end of an output.
struct Tail {
    bytes: Vec<u8>,
    max: usize,
    cut: bool,
}

impl Tail {
    fn new(max: usize) -> Self {
        Self { bytes: Vec::new(), max, cut: false }
    }

    fn push(&mut self, more: &[u8]) {
        let keep = &more[more.len().saturating_sub(self.max)..];
        let over = (self.bytes.len() + keep.len()).saturating_sub(self.max);
        self.cut |= over > 0 || keep.len() < more.len();
        self.bytes.drain(..over);
        self.bytes.extend_from_slice(keep);
    }

    /// What stands at the end of an error; nothing when nothing was said.
    fn shown(&self) -> String {
        match tail(&self.bytes, SHOWN, self.cut) {
            text if text.is_empty() => text,
            text => format!(": {text}"),
        }
    }
}

/// How a program ended.
struct Ended(ExitStatus);

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.code(), self.0.signal()) {
            (Some(code), _) => write!(f, "exit code {code}"),
            (None, Some(signal)) => write!(f, "killed by signal {signal}{}", signal_name(signal)),
            (None, None) => write!(f, "{}", self.0),
        }
    }
}

/// The name of a signal whose number is the same on every unix.
fn signal_name(signal: i32) -> &'static str {
    match signal {
        1 => " (SIGHUP)",
        2 => " (SIGINT)",
        3 => " (SIGQUIT)",
        4 => " (SIGILL)",
        6 => " (SIGABRT)",
        8 => " (SIGFPE)",
        9 => " (SIGKILL)",
        11 => " (SIGSEGV)",
        13 => " (SIGPIPE)",
        14 => " (SIGALRM)",
        15 => " (SIGTERM)",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::Env;
    use crate::name::Name;

    #[test]
    fn the_tail_is_the_last_of_all_that_was_said() {
        let mut tail = Tail::new(4);
        for (more, bytes, cut) in
            [("ab", "ab", false), ("cd", "abcd", false), ("e", "bcde", true), ("0123456789", "6789", true)]
        {
            tail.push(more.as_bytes());
            assert_eq!((&tail.bytes[..], tail.cut), (bytes.as_bytes(), cut));
        }
        let mut none = Tail::new(0);
        none.push(b"abc");
        assert!(none.bytes.is_empty() && none.cut);
    }

    #[test]
    fn without_word_of_its_end_a_child_is_looked_at() {
        let env = Env::new().unwrap();
        let cx = Context::detached(&env, Name::new("x").unwrap(), Duration::from_secs(30));
        let wait = Wait::begin(&cx, "x").unwrap();
        let probe = exec(["sh", "-c", "echo a; exec >&- 2>&-; sleep 0.05; exit 7"]);
        let (group, output) = probe.spawn(Hear::Everything).unwrap();
        let mut run = Run { group, end: None, output: Some(output), tail: Tail::new(9) };
        run.until_ended(&wait).unwrap();
        assert_eq!(run.group.reap().unwrap().code(), Some(7));
        run.drain();
        assert_eq!(run.tail.bytes, b"a\n");
    }
}
