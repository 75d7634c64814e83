//! What a service manager gives a daemon and wants to hear of it: systemd's
//! notify protocol, its sockets and its journal, the descriptor of s6
//! (feature `daemon`). Nothing is read or told unless asked.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::net::TcpListener;
use std::os::fd::RawFd;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use sd_notify::NotifyState;

use crate::error::{Error, ErrorKind as Kind, Result};
use crate::sys::{inherit, memory};

/// The longest text that is told; a manager keeps one line.
const MAX_STATUS: usize = 400;

/// One thing that a service manager is told.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice<'a> {
    /// The service works: `READY=1`.
    Ready,
    /// It reads its configuration again: `RELOADING=1`, with the moment on
    /// the monotonic clock. [`Ready`](Self::Ready) has to follow.
    Reloading,
    /// It stops: `STOPPING=1`.
    Stopping,
    /// How it is, on one line: `STATUS=`. Control characters become blanks,
    /// and it is cut at 400 bytes.
    Status(&'a str),
    /// It is alive: `WATCHDOG=1`.
    Watchdog,
    /// Its start or stop goes on and needs at most so much longer, from now:
    /// `EXTEND_TIMEOUT_USEC=`.
    ExtendTimeout(Duration),
}

/// Has the allocator share two pools of memory among all threads, where it
/// would make one for each of the first dozen: for a program of many threads
/// that mostly wait. To be called before there are any; does nothing where the
/// C library is not glibc on Linux.
pub fn share_memory_pools() {
    memory::few_pools();
}

/// Gives the machine the memory back that only the start of the program
/// needed: pages of the program and its libraries that nobody can write, which
/// the kernel still has when they are needed again, and what the allocator
/// holds for nobody. For a service that has started and will hardly do more
/// than wait. Does nothing where the C library is not glibc on a 64-bit Linux.
///
/// Any thread may call it while others work; they go on at once, with a few
/// more page faults.
pub fn give_back_memory() {
    memory::give_back();
}

/// Tells the service manager, in one datagram to `$NOTIFY_SOCKET`; does
/// nothing where there is none.
///
/// # Errors
///
/// `Io` when the socket is not there or does not take it.
///
/// # Examples
///
/// ```
/// use loopkeeper::service::{Notice, notify};
///
/// notify(&[Notice::Ready, Notice::Status("12 ready, 1 down: mqtt")])?;
/// # Ok::<(), loopkeeper::Error>(())
/// ```
pub fn notify(notices: &[Notice<'_>]) -> Result<()> {
    let failed = |error| Error::new(Kind::Io).context("the service manager cannot be told").caused_by(error);
    let texts: Vec<Cow<'_, str>> = notices.iter().map(Notice::text).collect();
    let mut states = Vec::with_capacity(notices.len() + 1);
    for (notice, text) in notices.iter().zip(&texts) {
        match notice {
            Notice::Ready => states.push(NotifyState::Ready),
            Notice::Reloading => {
                states.push(NotifyState::Reloading);
                states.push(NotifyState::monotonic_usec_now().map_err(failed)?);
            }
            Notice::Stopping => states.push(NotifyState::Stopping),
            Notice::Status(_) => states.push(NotifyState::Status(text)),
            Notice::Watchdog => states.push(NotifyState::Watchdog),
            Notice::ExtendTimeout(time) => {
                let micros = u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
                states.push(NotifyState::ExtendTimeoutUsec(micros));
            }
        }
    }
    sd_notify::notify(&states).map_err(failed)
}

/// Whether there is a service manager that wants to be told: whether
/// `NOTIFY_SOCKET` is set.
#[must_use]
pub fn has_manager() -> bool {
    variable("NOTIFY_SOCKET").is_some_and(|path| !path.is_empty())
}

impl Notice<'_> {
    /// The text of a status, on one line.
    fn text(&self) -> Cow<'_, str> {
        let Self::Status(text) = *self else { return Cow::Borrowed("") };
        if text.len() <= MAX_STATUS && !text.contains(char::is_control) {
            return Cow::Borrowed(text);
        }
        let mut line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        if line.len() > MAX_STATUS {
            line.truncate(crate::text::start_of(&line, MAX_STATUS).len());
            line.push_str("..");
        }
        Cow::Owned(line)
    }
}

/// Within which time the service manager wants to hear [`Notice::Watchdog`]
/// of this process, if it does: `WATCHDOG_USEC`, unless `WATCHDOG_PID` names
/// another.
#[must_use]
pub fn watchdog_period() -> Option<Duration> {
    sd_notify::watchdog_enabled().filter(|period| !period.is_zero())
}

/// The sockets that the service manager listens on for this process, in its
/// order and with their names: those of `LISTEN_FDS`. None where there are
/// none, and none when asked again.
///
/// # Errors
///
/// `InvalidArgument` when the variables cannot be meant, or one of the
/// descriptors is no socket that listens for streams of TCP.
pub fn inherited_listeners() -> Result<Vec<(String, TcpListener)>> {
    let failed = |error: io::Error| Error::invalid(format!("LISTEN_FDS: {error}"));
    let mut listeners = Vec::new();
    // Not by the crate: it marks them as its own first.
    let Some(n) = listen_fds()? else { return Ok(listeners) };
    let names = variable("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    for fd in 3..3 + n {
        let name = names.next().filter(|name| !name.is_empty()).unwrap_or("unknown").to_owned();
        let taken = match inherit::take(fd) {
            Ok(taken) => taken,
            Err(error) if error.kind() == ErrorKind::ResourceBusy => continue,
            Err(error) => return Err(failed(error)),
        };
        if !inherit::is_listening(&taken) {
            let text = format!("descriptor {fd} ({name}) is no listening socket");
            return Err(failed(io::Error::new(ErrorKind::InvalidInput, text)));
        }
        let listener = TcpListener::from(taken);
        listener.local_addr().map_err(|_| {
            let text = format!("descriptor {fd} ({name}) is no TCP socket");
            failed(io::Error::new(ErrorKind::InvalidInput, text))
        })?;
        listeners.push((name, listener));
    }
    Ok(listeners)
}

fn variable(name: &str) -> Option<String> {
    crate::config::process_environment()
        .into_iter()
        .find(|(found, _)| found.to_str() == Some(name))
        .and_then(|(_, value)| value.into_string().ok())
}

/// How many descriptors there are for this process.
fn listen_fds() -> Result<Option<RawFd>> {
    let number = |name: &str| {
        let Some(text) = variable(name) else { return Ok(None) };
        let wrong = || Error::invalid(format!("{name}: expected a number, found {text:?}"));
        text.parse::<u32>().map(Some).map_err(|_| wrong())
    };
    if number("LISTEN_PID")? != Some(std::process::id()) {
        return Ok(None);
    }
    match number("LISTEN_FDS")? {
        None | Some(0) => Ok(None),
        Some(n @ 1..=60) => Ok(Some(n as RawFd)),
        Some(n) => Err(Error::invalid(format!("LISTEN_FDS: must be at most 60, found {n}"))),
    }
}

/// A descriptor that s6 and others wait on: a line is written into it when the
/// service is ready, and it is closed.
#[derive(Debug)]
pub struct ReadyFd(File);

impl ReadyFd {
    /// Takes the descriptor `fd`, from 3 on, that was inherited; at once, so
    /// that no child has it, too.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` when it is not open, was opened by this process, or
    /// was taken before.
    pub fn take(fd: u16) -> Result<Self> {
        let taken = inherit::take(RawFd::from(fd));
        let taken = taken.map_err(|error| Error::invalid(format!("descriptor {fd}: {error}")))?;
        Ok(Self(File::from(taken)))
    }

    /// Says that the service is ready.
    ///
    /// # Errors
    ///
    /// `Io` when nobody reads it.
    pub fn ready(mut self) -> Result<()> {
        self.0.write_all(b"\n").map_err(|error| Error::new(Kind::Io).context("ready").caused_by(error))
    }
}

/// Whether what is written to standard error goes to systemd's journal, which
/// takes a level in front of each line: `JOURNAL_STREAM` names the stream.
#[must_use]
pub fn is_journal() -> bool {
    let Some(stream) = variable("JOURNAL_STREAM") else { return false };
    let Ok(found) = std::fs::metadata("/proc/self/fd/2") else { return false };
    stream == format!("{}:{}", found.dev(), found.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_one_line_of_bounded_length() {
        assert_eq!(Notice::Status("1 ready").text(), "1 ready");
        assert_eq!(Notice::Status("a\nREADY=1\u{85}b").text(), "a READY=1 b");
        let long = "é".repeat(300);
        let text = Notice::Status(&long).text().into_owned();
        assert!(text.len() <= MAX_STATUS + 2 && text.ends_with("é.."), "{}", text.len());
    }

    #[test]
    fn what_was_not_inherited_cannot_be_taken() {
        use std::os::fd::AsRawFd;
        let own = File::open("/dev/null").unwrap();
        let fd = own.as_raw_fd();
        let error = ReadyFd::take(u16::try_from(fd).unwrap()).unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidArgument);
        assert!(ReadyFd::take(2).unwrap_err().to_string().contains("descriptor 2"));
        assert!(ReadyFd::take(9_999).is_err());
    }
}
