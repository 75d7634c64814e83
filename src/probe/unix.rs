//! Asks whether somebody accepts connections on a unix socket.

use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use super::Probe;
use super::connect::Failure;
use super::text::{no_nul, reason, shown};
use super::wait::{Stop, Wait};
use crate::component::Context;
use crate::error::{BoxError, Error, Result};
use crate::sys::net::{self, begin_connect_unix};
use crate::sys::wait::{Interest, PollFd};

/// How often a socket is asked whose queue is full: the system does not tell
/// when there is room again.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// Asks whether somebody accepts connections on the socket at `path`.
///
/// See [`UnixProbe`].
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use loopkeeper::{Context, Env, Name, Probe, probe};
///
/// let env = Env::new()?;
/// let cx = Context::detached(&env, Name::new("docker")?, Duration::from_secs(5));
/// let error = probe::unix("/nowhere/docker.sock").probe(&cx).unwrap_err();
/// // unix /nowhere/docker.sock: no such file or folder after 0.1ms
/// assert!(error.to_string().starts_with("unix /nowhere/docker.sock: no such file or folder after "));
///
/// let error = probe::unix("x".repeat(200)).check().unwrap_err();
/// assert_eq!(error.to_string(), "path: a socket's path has at most 107 bytes, found 200");
/// # Ok::<(), loopkeeper::Error>(())
/// ```
///
/// As a watcher's probe in a descriptor:
///
/// ```json
/// {"name": "docker", "type": "watcher",
///  "config": {"probe": {"unix": {"path": "/run/docker.sock"}}}}
/// ```
#[must_use = "a probe does nothing until it is asked"]
pub fn unix(path: impl Into<PathBuf>) -> UnixProbe {
    UnixProbe { path: path.into() }
}

/// Connects to a stream socket and closes again; made by [`unix`].
///
/// A path that begins with `@` is the name of a socket in Linux's abstract
/// namespace, as systemd and `ss` write it; write `./@x` for a file of that
/// name. A relative path counts from the working directory of the program.
///
/// A server whose queue is full is asked again until the deadline: it is there
/// and does not keep up. Ends at its deadline and at once on cancel.
///
/// # Errors
///
/// `Probe` when there is no such socket, nobody listens on it any more, it is
/// of another type, or this process may not connect; `Timeout` when its queue
/// stays full; `Io` when there is no socket to be had, `Budget` when this
/// process has no descriptor left, `Cancelled`; `InvalidArgument` when the
/// path cannot be one.
#[derive(Debug, Clone)]
pub struct UnixProbe {
    path: PathBuf,
}

impl Probe for UnixProbe {
    fn check(&self) -> Result<()> {
        check_path(self.path.as_os_str()).map_err(|text| Error::invalid(format!("path: {text}")))
    }

    fn probe(&mut self, cx: &Context) -> Result<(), BoxError> {
        self.check()?;
        let what = format!("unix {}", shown(self.path.as_os_str()));
        let wait = Wait::begin(cx, &what)?;
        connect(&wait, self.path.as_os_str()).map_err(|failure| failure.into_error(&what, &wait).into())
    }
}

fn connect(wait: &Wait, path: &OsStr) -> Result<(), Failure> {
    let stopped = |stop| match stop {
        Stop::Cancelled => Failure::Cancelled,
        Stop::TimedOut => Failure::TimedOut("nobody takes the connection, the queue is full,".to_owned()),
        Stop::Refused(error) => Failure::Local(error),
    };
    wait.step(format_args!("connecting to {}", shown(path)));
    loop {
        wait.check().map_err(stopped)?;
        let error = match begin_connect_unix(path) {
            Ok(stream) => {
                wait.ready(stream.as_fd(), Interest::Write, Duration::MAX).map_err(stopped)?;
                match stream.take_error() {
                    Ok(None) => {
                        wait.step("connected");
                        return Ok(());
                    }
                    Ok(Some(error)) | Err(error) => error,
                }
            }
            Err(error) => error,
        };
        if error.kind() == std::io::ErrorKind::WouldBlock {
            wait.any([PollFd::NONE, PollFd::NONE], ASK_AGAIN).map_err(stopped)?;
            continue;
        }
        return Err(match error.raw_os_error() {
            Some(number) if net::is_no_stream(number) => {
                Failure::Unreachable("it is a socket of another type, not a stream".to_owned())
            }
            Some(number) if net::is_about_a_path(number) => Failure::Unreachable(reason(&error)),
            _ => Failure::Local(error),
        });
    }
}

/// Says what is wrong with a socket's path.
pub(super) fn check_path(path: &OsStr) -> Result<(), String> {
    super::file_age::check_path(path).and_then(|()| no_nul(path))?;
    if path == "@" {
        return Err("expected a name after the @".to_owned());
    }
    if path.as_bytes()[0] == b'@' && !cfg!(target_os = "linux") {
        return Err("names that begin with @ are there on Linux only".to_owned());
    }
    if path.len() > net::MAX_UNIX_PATH {
        return Err(format!(
            "a socket's path has at most {} bytes, found {}",
            net::MAX_UNIX_PATH,
            path.len()
        ));
    }
    Ok(())
}
