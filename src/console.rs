//! A log's way out that never holds up the program, how wide a terminal is, and
//! what a word was meant to be: not part of the library's promises, for the
//! `loopkeeper` program.
//!
//! A pipe that nobody reads or a terminal that is stopped would block whoever
//! logs next, and with it signals and stops. Here a line that does not fit is
//! lost after a short wait, and the next that fits says how many were.

use std::fmt;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use crate::sys::poll::{Interest, PollSet};

/// How long the first line that does not fit waits. Those after it do not.
const PATIENCE: Duration = Duration::from_millis(200);
/// As much as a pipe that is ready takes without blocking (POSIX: at least
/// 512; Linux says writable when a page is free).
const CHUNK: usize = 4096;

/// The word that may have been meant by one that nobody knows.
pub fn closest<'a>(unknown: &str, known: &[&'a str]) -> Option<&'a str> {
    crate::decode::closest(unknown, known)
}

/// How many columns a terminal has, if it is one and says so.
pub fn columns(out: &impl AsFd) -> Option<usize> {
    crate::sys::terminal::size(out.as_fd()).map(|(_, columns)| columns)
}

/// How many rows a terminal has, if it is one and says so.
pub fn rows(out: &impl AsFd) -> Option<usize> {
    crate::sys::terminal::size(out.as_fd()).map(|(rows, _)| rows).filter(|rows| *rows > 0)
}

/// Whether nobody will read what is written there any more, as far as the
/// system can tell before it is written.
pub fn is_closed(out: &impl AsFd) -> bool {
    let mut set = PollSet::default();
    let out = set.add(out.as_fd(), Interest::default());
    set.wait(Some(Duration::ZERO)).is_ok() && set.is_ready(out)
}

/// Writes whole lines to an output, or loses them.
pub struct Console<W> {
    out: W,
    /// What to write about lines that were lost.
    tell: Box<dyn Fn(u64) -> String + Send + Sync>,
    lost: u64,
    /// The last line did not fit.
    is_stalled: bool,
}

impl<W: Write + AsFd> Console<W> {
    /// Writes to `out`; `tell` makes a line of the number of lines lost.
    pub fn new(out: W, tell: impl Fn(u64) -> String + Send + Sync + 'static) -> Self {
        Self { out, tell: Box::new(tell), lost: 0, is_stalled: false }
    }

    /// Whether a chunk can be written now, or soon.
    fn takes(&mut self) -> bool {
        let patience = if self.is_stalled { Duration::ZERO } else { PATIENCE };
        let mut set = PollSet::default();
        let out = set.add(self.out.as_fd(), Interest { write: true, ..Interest::default() });
        // Without a poll there is only the write itself.
        let takes = set.wait(Some(patience)).is_err() || set.is_ready(out);
        self.is_stalled = !takes;
        takes
    }

    fn put(&mut self, line: &[u8]) -> io::Result<bool> {
        for chunk in line.chunks(CHUNK) {
            if !self.takes() {
                return Ok(false);
            }
            self.out.write_all(chunk)?;
        }
        Ok(true)
    }
}

impl<W: Write + AsFd> Write for Console<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.lost > 0 {
            let text = (self.tell)(self.lost);
            if !self.put(text.as_bytes())? {
                self.lost += 1;
                return Ok(line.len());
            }
            self.lost = 0;
        }
        if !self.put(line)? {
            self.lost += 1;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<W> fmt::Debug for Console<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console").field("lost", &self.lost).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_reader_that_sleeps_costs_lines_and_no_time() {
        let (out, mut reader) = UnixStream::pair().unwrap();
        let mut console = Console::new(out, |n| format!("{n} lost\n"));
        let line = [b'x'; CHUNK];
        let mut n = 0;
        while console.lost < 3 {
            assert_eq!(console.write(&line).unwrap(), CHUNK);
            n += 1;
            assert!(n < 10_000, "the socket has no end");
        }
        let mut buffer = vec![0; (n - 3) * CHUNK];
        reader.read_exact(&mut buffer).unwrap();
        console.write_all(b"back\n").unwrap();
        let mut end = [0; 12];
        reader.read_exact(&mut end).unwrap();
        assert_eq!(&end, b"3 lost\nback\n");
    }

    #[test]
    fn a_reader_that_is_gone_is_an_error() {
        let (out, reader) = UnixStream::pair().unwrap();
        assert!(!is_closed(&out));
        drop(reader);
        assert!(is_closed(&out));
        assert!(Console::new(out, |_| String::new()).write_all(b"line\n").is_err());
    }
}
