//! Which form of an answer a client would rather have.

use crate::observe::MetricsFormat;

/// Reads the values of `Accept` headers. OpenMetrics, unless something that
/// is plain text is named and liked better; a browser shows that and would
/// save the other.
pub(super) fn format<'a>(values: impl Iterator<Item = &'a [u8]>) -> MetricsFormat {
    let open = ["application/openmetrics-text", "application/*"];
    let plain = ["text/plain", "text/html", "text/*"];
    let [open, plain] = weights(values, [&open, &plain]);
    let is_plain = plain.is_some_and(|plain| plain > open.unwrap_or(0.0));
    if is_plain { MetricsFormat::Prometheus } else { MetricsFormat::OpenMetrics }
}

/// Whether a page is wanted, as by a browser, and not plain text: when it is
/// named, and not liked less.
pub(super) fn is_html<'a>(values: impl Iterator<Item = &'a [u8]>) -> bool {
    let [html, plain] = weights(values, [&["text/html"], &["text/plain"]]);
    html.is_some_and(|html| html > 0.0 && html >= plain.unwrap_or(0.0))
}

/// How much each of two sets of types is liked, if one of it is named.
fn weights<'a>(values: impl Iterator<Item = &'a [u8]>, sets: [&[&str]; 2]) -> [Option<f32>; 2] {
    let mut found = [None; 2];
    let ranges = values.flat_map(|value| value.split(|&byte| byte == b','));
    for range in ranges.filter_map(|range| std::str::from_utf8(range).ok()) {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        // One that is no number is one that is not said.
        let weight = weight.and_then(|weight| weight.parse::<f32>().ok()).unwrap_or(1.0);
        for (names, found) in sets.iter().zip(&mut found) {
            if names.iter().any(|other| name.eq_ignore_ascii_case(other)) {
                *found = Some(found.unwrap_or(weight).max(weight));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_for_who_names_it() {
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8";
        for (accept, expected) in [
            ("", false),
            ("*/*", false),
            ("text/*", false),
            (browser, true),
            ("TEXT/HTML;charset=utf-8", true),
            ("text/plain", false),
            ("text/plain, text/html;q=0.9", false),
            ("text/html;q=0", false),
        ] {
            assert_eq!(is_html([accept.as_bytes()].into_iter()), expected, "{accept}");
        }
    }

    #[test]
    fn plain_text_is_for_who_likes_it_better() {
        use MetricsFormat::{OpenMetrics, Prometheus};
        let scrape = "application/openmetrics-text;version=1.0.0;q=0.5,\
                      application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8";
        for (accept, expected) in [
            ("", OpenMetrics),
            ("*/*", OpenMetrics),
            (scrape, OpenMetrics),
            ("text/plain", Prometheus),
            ("TEXT/Plain; version=0.0.4", Prometheus),
            ("text/plain;version=0.0.4;q=0.5,*/*;q=0.1", Prometheus),
            ("application/openmetrics-text;q=0.2, text/plain;q=0.7", Prometheus),
            ("application/openmetrics-text, text/plain", OpenMetrics),
            ("text/plain;q=0", OpenMetrics),
            ("text/plain;q=nonsense", Prometheus),
            (browser, Prometheus),
            ("application/json", OpenMetrics),
            (",;,q=", OpenMetrics),
        ] {
            assert_eq!(format([accept.as_bytes()].into_iter()), expected, "{accept}");
        }
        let two: [&[u8]; 3] = [b"text/plain;q=0.1", b"application/openmetrics-text;q=0.2", &[0xff]];
        assert_eq!(format(two.into_iter()), OpenMetrics);
        assert_eq!(format(std::iter::empty()), OpenMetrics);
    }
}
