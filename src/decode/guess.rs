//! What may have been meant by a key that nobody knows.

/// How many words are listed at most.
const MAX_LISTED: usize = 16;

/// Completes "unknown x": with the word that may have been meant, or with
/// those there are.
pub(crate) fn meant(unknown: &str, known: &[&str]) -> String {
    match closest(unknown, known) {
        Some(meant) => format!("did you mean {meant:?}?"),
        None if known.is_empty() => "expected none".to_owned(),
        None if known.len() > MAX_LISTED => {
            let (shown, rest) = known.split_at(MAX_LISTED);
            format!("expected {} or one of {} more", list(shown, ", "), rest.len())
        }
        None => format!("expected {}", list(known, " or ")),
    }
}

/// Finds the known key that is closest to `unknown`, if it is close at all:
/// no more than one edit for every three characters.
pub(crate) fn closest<'a>(unknown: &str, known: &[&'a str]) -> Option<&'a str> {
    let unknown: Vec<char> = unknown.chars().take(100).collect();
    let distances = known.iter().filter_map(|key| {
        let letters: Vec<char> = key.chars().collect();
        let allowed = letters.len() / 3;
        if letters.len().abs_diff(unknown.len()) > allowed {
            return None;
        }
        let distance = distance(&unknown, &letters);
        (distance <= allowed).then_some((distance, *key))
    });
    distances.min_by_key(|&(distance, _)| distance).map(|(_, key)| key)
}

/// Writes keys as `"a"`, `"a" or "b"`, `"a", "b" or "c"`.
pub(super) fn list(keys: &[&str], last: &str) -> String {
    let mut text = String::new();
    for (idx, key) in keys.iter().enumerate() {
        if idx > 0 {
            let comma = if idx + 1 == keys.len() { last } else { ", " };
            text.push_str(comma);
        }
        text.push_str(&format!("{key:?}"));
    }
    text
}

/// The number of letters to insert, delete, replace or swap with their
/// neighbour to get from one to the other.
fn distance(a: &[char], b: &[char]) -> usize {
    // Three rows of the table are kept: the one being filled and the two
    // above it, for swaps.
    let mut above = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(above[j - 2] + 1);
            }
        }
        above = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_close_key_is_guessed() {
        let known = ["poll_interval", "probe", "tcp", "http", "max_delay", "max_retries", "a"];
        for (unknown, meant) in [
            ("polinterval", Some("poll_interval")),
            ("pollInterval", Some("poll_interval")),
            ("poll-interval", Some("poll_interval")),
            ("tpc", Some("tcp")),
            ("htpp", Some("http")),
            ("https", Some("http")),
            ("probes", Some("probe")),
            ("max_deley", Some("max_delay")),
            ("udp", None),
            ("b", None),
            ("", None),
            ("interval", None),
            ("something_else", None),
        ] {
            assert_eq!(closest(unknown, &known), meant, "{unknown}");
        }
        assert_eq!(closest(&"x".repeat(1_000_000), &known), None);
    }

    #[test]
    fn distances_are_symmetric() {
        for (a, b, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "abc", 0),
            ("ab", "ba", 1),
            ("kitten", "sitting", 3),
            ("ca", "abc", 3),
        ] {
            let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
            assert_eq!(distance(&a, &b), expected);
            assert_eq!(distance(&b, &a), expected);
        }
    }

    #[test]
    fn thousands_of_words_are_not_listed() {
        let names: Vec<String> = (0..1000).map(|i| format!("loop-{i}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let text = meant("x", &names);
        assert!(text.starts_with("expected \"loop-0\", ") && text.len() < 300, "{text}");
        assert!(text.ends_with("\"loop-15\" or one of 984 more"), "{text}");
        assert_eq!(meant("lop-999", &names), "did you mean \"loop-999\"?");
        assert!(meant("x", &names[..16]).ends_with("\"loop-14\" or \"loop-15\""));
    }

    #[test]
    fn keys_are_listed() {
        assert_eq!(list(&[], " or "), "");
        assert_eq!(list(&["a"], " or "), "\"a\"");
        assert_eq!(list(&["a", "b"], " and "), "\"a\" and \"b\"");
        assert_eq!(list(&["a", "b", "c"], " or "), "\"a\", \"b\" or \"c\"");
    }
}
