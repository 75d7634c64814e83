//! Small things that are done to texts in many places: where a text is cut,
//! and how a foreign one is made harmless for a line.

/// Room for the decimal digits of any number.
pub(crate) const DIGITS: usize = 20;

/// The decimal digits of a number, in a part of `room`. The formatting of the
/// standard library takes several times as long.
pub(crate) fn decimal(mut value: u64, room: &mut [u8; DIGITS]) -> &[u8] {
    let mut begin = room.len();
    loop {
        begin -= 1;
        room[begin] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    &room[begin..]
}

/// At most the first `max` bytes of a text, whole characters.
pub(crate) fn start_of(text: &str, max: usize) -> &str {
    let mut end = max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// At most the last `max` bytes of a text, whole characters.
pub(crate) fn end_of(text: &str, max: usize) -> &str {
    let mut begin = text.len().saturating_sub(max);
    while !text.is_char_boundary(begin) {
        begin += 1;
    }
    &text[begin..]
}

/// A name or path whose control characters are escaped, so that it neither
/// ends the line that it is printed on nor moves the cursor.
pub(crate) fn on_one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { line.extend(c.escape_debug()) } else { line.push(c) }
    }
    line
}

/// Whether a character ends a line, does something to a terminal, or turns the
/// direction of the text around it.
pub(crate) fn breaks_a_line(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Adds a character of a foreign text to a line: escaped where it is a control
/// character or turns the direction of text.
pub(crate) fn push_plain(line: &mut String, c: char) {
    match c {
        '"' | '\'' | '\\' => line.push(c),
        c => line.extend(c.escape_debug()),
    }
}

/// The beginning of a foreign text as one line, at most `max` bytes.
#[cfg(feature = "http-client")]
pub(crate) fn head(bytes: &[u8], max: usize) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(max)]);
    one_line(&text, max, bytes.len() > max)
}

/// A foreign text as one line of at most `max` bytes.
pub(crate) fn line(text: &str, max: usize) -> String {
    one_line(text, max, false)
}

/// What stands in the place of what was cut off.
const CUT: char = '…';

fn one_line(text: &str, max: usize, mut cut: bool) -> String {
    let mut line = String::new();
    // The last place from which there is room for the sign of a cut.
    let mut fits = 0;
    for c in text.trim().chars() {
        push_plain(&mut line, c);
        if line.len() > max {
            cut = true;
            break;
        }
        if line.len() + CUT.len_utf8() <= max {
            fits = line.len();
        }
    }
    if cut {
        line.truncate(fits);
        line.extend(Some(CUT).filter(|sign| sign.len_utf8() <= max));
    }
    line
}

/// The end of a foreign text as one line, at most `max` bytes; `cut` says that it had more.
pub(crate) fn tail(bytes: &[u8], max: usize, cut: bool) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut line = String::new();
    text.trim().chars().for_each(|c| push_plain(&mut line, c));
    if !cut && line.len() <= max {
        return line;
    }
    let sign = Some(CUT).filter(|sign| sign.len_utf8() <= max);
    let room = max - sign.map_or(0, char::len_utf8);
    sign.into_iter().chain(end_of(&line, room).chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_the_standard_library_writes_them() {
        for value in [0, 9, 10, 99, 100, 12_345_678_901, u64::MAX - 1, u64::MAX] {
            assert_eq!(decimal(value, &mut [0; DIGITS]), value.to_string().as_bytes());
        }
    }

    #[test]
    fn a_cut_is_between_characters() {
        for (max, start, end) in
            [(0, "", ""), (1, "a", "c"), (2, "a", "c"), (3, "aé", "éc"), (9, "aéc", "aéc")]
        {
            assert_eq!((start_of("aéc", max), end_of("aéc", max)), (start, end), "{max}");
        }
    }

    #[test]
    fn a_line_stays_one() {
        assert_eq!(on_one_line("a\n\u{1b}[2J\"é"), "a\\n\\u{1b}[2J\"é");
        let mut line = String::new();
        "\"a\"\r\u{202e}\\".chars().for_each(|c| push_plain(&mut line, c));
        assert_eq!(line, "\"a\"\\r\\u{202e}\\");
    }

    #[test]
    fn no_line_is_longer_than_it_may_be() {
        for text in ["abcdefghij", "ééééé", "\u{202e}\n\u{1}x", "a\u{1f980}b\u{1f980}"] {
            for max in 0..40 {
                let (line, tail) = (line(text, max), tail(text.as_bytes(), max, false));
                assert!(line.len() <= max && tail.len() <= max, "{max}: {line:?} {tail:?}");
                assert_eq!(line.ends_with(CUT), tail.starts_with(CUT), "{max}: {line:?} {tail:?}");
            }
        }
    }

    #[cfg(feature = "http-client")]
    #[test]
    fn the_beginning_of_foreign_text_becomes_one_bounded_line() {
        for (bytes, max, line) in [
            (&b""[..], 10, ""),
            (b" ok \n", 10, "ok"),
            (b"say \"hi\"\\\n\x1b[31mred", 40, "say \"hi\"\\\\n\\u{1b}[31mred"),
            (b"\xff\xfeab", 20, "\u{fffd}\u{fffd}ab"),
            (b"abcdef", 6, "abcdef"),
            (b"abcdef", 5, "ab…"),
            (b"abcdef", 3, "…"),
            (b"abcdef", 2, ""),
            (b"\x01\x02\x03", 14, "\\u{1}\\u{2}…"),
            (b"\x01\x02\x03", 12, "\\u{1}…"),
            ("abcé".as_bytes(), 4, "a…"),
        ] {
            assert_eq!(head(bytes, max), line, "{max}");
        }
    }

    #[test]
    fn the_end_of_foreign_text_becomes_one_bounded_line() {
        for (bytes, max, cut, line) in [
            (&b" a\nb\n"[..], 10, false, "a\\nb"),
            (b"abcdef", 6, false, "abcdef"),
            (b"abcdef", 5, false, "…ef"),
            (b"abc", 6, true, "…abc"),
            (b"abc", 5, true, "…bc"),
            (b"abc", 2, true, "bc"),
            ("ééé".as_bytes(), 5, false, "…é"),
        ] {
            assert_eq!(tail(bytes, max, cut), line, "{max}");
        }
    }
}
