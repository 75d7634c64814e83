//! What the system said, in errors: its reasons in words, its paths on one
//! bounded line without control characters.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;

use crate::error::ErrorKind;
use crate::sys::limits::is_out_of_descriptors;
use crate::text::{end_of, push_plain};

/// What went wrong, in the words of the kind where it has some: without the
/// number, lower case.
pub(crate) fn reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(_) if error.kind() == io::ErrorKind::NotFound => "no such file or folder".to_owned(),
        // Kinds without a name of their own print as such.
        Some(_) => {
            let kind = error.kind().to_string();
            if kind.starts_with("uncategorized") || kind.starts_with("other") {
                error.to_string()
            } else {
                kind
            }
        }
        None => error.to_string(),
    }
}

/// What this machine refused: the kind, and the reason, which must not read
/// like one of the service's.
pub(crate) fn local(error: &io::Error) -> (ErrorKind, String) {
    if is_out_of_descriptors(error) {
        (ErrorKind::Budget, format!("this process has no file descriptor left: {error}"))
    } else {
        (ErrorKind::Io, reason(error))
    }
}

/// Says that a value has a NUL byte, which the system takes for its end.
pub(crate) fn no_nul(value: &OsStr) -> Result<(), &'static str> {
    if value.as_bytes().contains(&0) { Err("must not have a NUL byte") } else { Ok(()) }
}

/// A path or the name of a program, without control characters and what turns
/// the direction of text; of a long one the end.
pub(crate) fn shown(path: &OsStr) -> String {
    const MAX: usize = 1024;
    let mut line = String::new();
    path.to_string_lossy().chars().for_each(|c| push_plain(&mut line, c));
    let end = end_of(&line, MAX);
    if end.len() < line.len() { format!("…{end}") } else { line }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_shown_on_one_line_in_one_direction() {
        for (path, line) in [
            ("/a b/é\"", "/a b/é\""),
            ("/a\n\x1b[1m", "/a\\n\\u{1b}[1m"),
            ("/\u{202e}cod.exe", "/\\u{202e}cod.exe"),
            ("\u{2066}\u{200f}\u{61c}", "\\u{2066}\\u{200f}\\u{61c}"),
        ] {
            assert_eq!(shown(path.as_ref()), line);
        }
        let long = shown("é".repeat(1000).as_ref());
        assert!(long.starts_with("…é") && long.len() <= 1024 + '…'.len_utf8());
    }

    #[test]
    fn the_systems_reasons_read_like_words() {
        let refused = io::Error::from_raw_os_error(libc_refused());
        assert_eq!(reason(&refused), "connection refused");
        assert_eq!(reason(&io::Error::other("odd")), "odd");
    }

    fn libc_refused() -> i32 {
        // Nobody listens on port 1 of this machine.
        let error = std::net::TcpStream::connect("127.0.0.1:1").unwrap_err();
        error.raw_os_error().unwrap()
    }
}
