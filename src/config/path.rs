//! Dotted paths: `http.listen`, and `labels."a.b"` for a key with a dot.

use std::borrow::Cow;

use crate::tree::{MAX_DEPTH, Node, Value, join};

/// The keys of a path. A key in double quotes may hold dots, written as in
/// JSON; that is also how faults and changes print it. The empty path is the
/// key `""`.
pub(super) fn split(path: &str) -> impl Iterator<Item = Cow<'_, str>> {
    let mut rest = Some(path);
    std::iter::from_fn(move || {
        let text = rest?;
        let (key, after) = quoted(text).unwrap_or_else(|| {
            let end = text.bytes().position(|byte| byte == b'.').unwrap_or(text.len());
            (Cow::Borrowed(&text[..end]), &text[end..])
        });
        rest = after.strip_prefix('.');
        Some(key)
    })
}

/// A key in quotes and what comes after it; `None` when it is no such key.
fn quoted(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let mut rest = text.strip_prefix('"')?;
    let mut key = String::new();
    loop {
        let c = rest.chars().next()?;
        rest = &rest[c.len_utf8()..];
        match c {
            '"' => break,
            '\\' => key.push(escaped(&mut rest)?),
            c => key.push(c),
        }
    }
    (rest.is_empty() || rest.starts_with('.')).then_some((Cow::Owned(key), rest))
}

/// The character that an escape stands for, as JSON and as Rust write them.
fn escaped(rest: &mut &str) -> Option<char> {
    let c = rest.chars().next()?;
    *rest = &rest[c.len_utf8()..];
    Some(match c {
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'b' => '\u{8}',
        'f' => '\u{c}',
        '0' => '\0',
        'u' => {
            let (digits, after) = match rest.strip_prefix('{') {
                Some(inside) => inside.split_once('}')?,
                None => (rest.get(..4)?, rest.get(4..)?),
            };
            *rest = after;
            char::from_u32(u32::from_str_radix(digits, 16).ok()?)?
        }
        c => c,
    })
}

/// The keys of a path, for keeping: so many at most that nothing can be at it.
pub(super) fn split_owned(path: &str) -> Vec<String> {
    split(path).take(MAX_DEPTH).map(Cow::into_owned).collect()
}

/// Keys as the path that they are.
pub(super) fn dotted(keys: &[String]) -> String {
    keys.iter().map(|key| join("", key)).collect::<Vec<_>>().join(".")
}

/// Finds the node at a path; objects only, lists have no keys.
pub(super) fn find<'a>(root: &'a Node, path: &str) -> Option<&'a Node> {
    split(path).try_fold(root, |node, key| node.get(&key))
}

pub(super) fn find_keys<'a, S: AsRef<str>>(root: &'a Node, keys: &[S]) -> Option<&'a Node> {
    keys.iter().try_fold(root, |node, key| node.get(key.as_ref()))
}

/// Whether there is a value: `null` counts as none.
pub(super) fn is_set(node: Option<&Node>) -> bool {
    node.is_some_and(|node| node.value != Value::Null)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::parse;

    #[test]
    fn paths_are_split_at_dots_outside_quotes() {
        for (path, keys) in [
            ("", &[""][..]),
            ("a", &["a"]),
            ("a.b", &["a", "b"]),
            ("a..b", &["a", "", "b"]),
            ("a.\"b.c\".d", &["a", "b.c", "d"]),
            ("\"a\\n\"", &["a\n"]),
            (r#""r\u{1e}\u0041\\\"""#, &["r\u{1e}A\\\""]),
            (r#""\u{d800}""#, &[r#""\u{d800}""#]),
            ("a.\"b", &["a", "\"b"]),
            ("\"a\"b.c", &["\"a\"b", "c"]),
            (".", &["", ""]),
        ] {
            assert_eq!(split(path).collect::<Vec<_>>(), keys, "{path}");
        }
    }

    #[test]
    fn of_a_path_that_is_too_deep_no_more_is_kept_than_tells_so() {
        for path in [".".repeat(1 << 20), "a.".repeat(1 << 19)] {
            assert_eq!(split_owned(&path).len(), MAX_DEPTH);
        }
        let keys = ["a".to_owned(), String::new(), "b.c".to_owned()];
        assert_eq!(dotted(&keys), r#"a.""."b.c""#);
        assert_eq!(split_owned(&dotted(&keys)), keys);
    }

    #[test]
    fn what_is_printed_is_found() {
        let root = parse("f", r#"{"a": {"x.y": {"": 1, "ä b": 2}}}"#).unwrap();
        for (key, expected) in [("", "1"), ("ä b", "2")] {
            let path = join(&join("a", "x.y"), key);
            assert_eq!(find(&root, &path).unwrap().to_json().to_string(), expected, "{path}");
        }
        assert!(find(&root, "a.x.y").is_none() && find(&root, "a.b.c").is_none());
    }
}
