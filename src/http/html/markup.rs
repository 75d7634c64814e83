//! What the page says in markup: foreign text, names, moments, spans.

use std::fmt::Write;
use std::time::Duration;

use crate::name::Name;
use crate::stamp::{LEN, Stamp};
use crate::text::{DIGITS, decimal, start_of};

/// How much of a foreign text is shown before it is folded away.
pub(super) const SHORT: usize = 200;
/// How much of one such text is shown in all.
pub(super) const LONG: usize = 16 * 1024;

pub(super) fn list(out: &mut String, names: &[Name]) {
    for (i, name) in names.iter().enumerate() {
        out.push_str(if i == 0 { "" } else { ", " });
        out.push_str(name.as_str());
    }
}

/// A foreign text, whole: what is long of it under a fold.
pub(super) fn folded(out: &mut String, text: &str, room: &mut usize) {
    if text.len() <= SHORT {
        escape(out, text);
        return;
    }
    let short = start_of(text, SHORT);
    let long = start_of(&text[short.len()..], LONG.min(*room));
    *room -= long.len();
    out.push_str("<details><summary>");
    escape(out, short);
    out.push_str("…</summary>");
    escape(out, long);
    let left = text.len() - short.len() - long.len();
    if left > 0 {
        let _ = write!(out, "… <em>and {left} bytes more, at /status</em>");
    }
    out.push_str("</details>");
}

/// The class of what is in such a state; the shape and colour go by it.
pub(super) fn class_of(word: &str) -> &'static str {
    match word {
        "ready" => "r",
        "degraded" => "g",
        "down" => "x",
        "stale" => "t",
        _ => "u",
    }
}

/// A moment, to the second.
pub(super) fn time(out: &mut String, stamp: Stamp) {
    let mut buffer = [0; LEN];
    let text = stamp.write_to(&mut buffer);
    out.push_str("<time>");
    out.push_str(&text[..text.len() - 5]);
    out.push_str("Z</time>");
}

/// How long something took: `0.4 ms`, `12 ms`, `1.5 s`, `3 min`.
pub(super) fn span(out: &mut String, span: Duration) {
    let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
    let tenths = |out: &mut String, tenths: u64, unit: &str| {
        number(out, tenths / 10);
        out.push('.');
        number(out, tenths % 10);
        out.push_str(unit);
    };
    match micros {
        0..10_000 => tenths(out, micros / 100, " ms"),
        10_000..1_000_000 => {
            number(out, micros / 1_000);
            out.push_str(" ms");
        }
        1_000_000..120_000_000 => tenths(out, micros / 100_000, " s"),
        _ => {
            number(out, micros / 60_000_000);
            out.push_str(" min");
        }
    }
}

pub(super) fn number(out: &mut String, value: u64) {
    out.extend(decimal(value, &mut [0; DIGITS]).iter().map(|&digit| char::from(digit)));
}

/// Foreign text in HTML: nothing of it is markup, and what would not be seen
/// or would turn the text around is written out.
pub(super) fn escape(out: &mut String, text: &str) {
    let is_plain =
        |byte: u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'&' | b'<' | b'>' | b'"' | b'\'');
    let mut rest = text;
    loop {
        let n_plain = rest.bytes().take_while(|&byte| is_plain(byte)).count();
        out.push_str(&rest[..n_plain]);
        let mut chars = rest[n_plain..].chars();
        match chars.next() {
            None => return,
            Some('&') => out.push_str("&amp;"),
            Some('<') => out.push_str("&lt;"),
            Some('>') => out.push_str("&gt;"),
            Some('"') => out.push_str("&quot;"),
            Some('\'') => out.push_str("&#39;"),
            Some(c) => out.extend(c.escape_debug()),
        }
        rest = chars.as_str();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_for_people() {
        for (micros, expected) in [
            (0, "0.0 ms"),
            (1_540, "1.5 ms"),
            (12_900, "12 ms"),
            (1_500_000, "1.5 s"),
            (180_000_000, "3 min"),
        ] {
            let mut out = String::new();
            span(&mut out, Duration::from_micros(micros));
            assert_eq!(out, expected);
        }
    }
}
