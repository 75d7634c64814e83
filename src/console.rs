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
    /// The last that was written is a piece of a line.
    is_torn: bool,
}

impl<W: Write + AsFd> Console<W> {
    /// Writes to `out`; `tell` makes a line of the number of lines lost.
    pub fn new(out: W, tell: impl Fn(u64) -> String + Send + Sync + 'static) -> Self {
        Self { out, tell: Box::new(tell), lost: 0, is_stalled: false, is_torn: false }
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

    /// Writes a line, on a line of its own; says whether it did.
    fn put(&mut self, line: &[u8]) -> io::Result<bool> {
        if self.is_torn && !self.put_bytes(b"\n")? {
            return Ok(false);
        }
        self.put_bytes(line)
    }

    fn put_bytes(&mut self, bytes: &[u8]) -> io::Result<bool> {
        for mut chunk in bytes.chunks(CHUNK) {
            if !self.takes() {
                return Ok(false);
            }
            while !chunk.is_empty() {
                match self.out.write(chunk) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(n) => {
                        self.is_torn = true;
                        chunk = &chunk[n..];
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
        }
        self.is_torn = false;
        Ok(true)
    }

    /// Says how many lines were lost, if any were.
    fn tell_lost(&mut self) -> io::Result<bool> {
        if self.lost > 0 {
            let text = (self.tell)(self.lost);
            if !self.put(text.as_bytes())? {
                return Ok(false);
            }
            self.lost = 0;
        }
        Ok(true)
    }
}

impl<W: Write + AsFd> Write for Console<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let is_told = self.tell_lost().and_then(|is_told| Ok(is_told && self.put(line)?));
        if !matches!(is_told, Ok(true)) {
            self.lost += 1;
        }
        is_told.map(|_| line.len())
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

    /// A file on a disk with so much room.
    struct Disk {
        room: usize,
        written: Vec<u8>,
        file: UnixStream,
    }

    impl AsFd for Disk {
        fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
            self.file.as_fd()
        }
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let n = bytes.len().min(self.room);
            if n == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.room -= n;
            self.written.extend_from_slice(&bytes[..n]);
            Ok(n)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_a_full_disk_refuses_is_told_on_a_line_of_its_own() {
        let (file, _other) = UnixStream::pair().unwrap();
        let mut console =
            Console::new(Disk { room: 9, written: Vec::new(), file }, |n| format!("{n} lost\n"));
        console.write_all(b"first\n").unwrap();
        assert!(console.write(b"second\n").is_err());
        assert!(console.write(b"third\n").is_err());
        console.out.room = 100;
        console.write_all(b"fourth\n").unwrap();
        assert_eq!(String::from_utf8_lossy(&console.out.written), "first\nsec\n2 lost\nfourth\n");
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
