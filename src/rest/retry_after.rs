//! How long a server asks to be left alone.

use std::time::Duration;

use ureq::http::HeaderMap;

use crate::stamp::Stamp;

/// The longest that is believed.
const MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Reads `Retry-After`: a number of seconds, or a date, which is compared
/// with the server's own `Date` where it sends one, with `now` otherwise.
pub(super) fn read(headers: &HeaderMap, now: Stamp) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let value = text("retry-after")?;
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        let seconds = value.parse().unwrap_or(u64::MAX);
        return Some(Duration::from_secs(seconds).min(MAX));
    }
    let until = date(value)?;
    let now = text("date").and_then(date).unwrap_or(now);
    let micros = until.as_micros().saturating_sub(now.as_micros());
    Some(Duration::from_micros(micros).min(MAX))
}

/// Reads `Sun, 06 Nov 1994 08:49:37 GMT`, the one form that may be sent.
fn date(text: &str) -> Option<Stamp> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (_, date) = text.split_once(", ")?;
    let [day, month, year, time, "GMT"] = date.split(' ').collect::<Vec<_>>()[..] else { return None };
    let month = MONTHS.iter().position(|known| *known == month)? + 1;
    format!("{year}-{month:02}-{day}T{time}Z").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_dates_are_read_and_the_rest_is_not() {
        let now: Stamp = "1994-11-06T08:49:00Z".parse().unwrap();
        for (value, date, seconds) in [
            ("0", None, Some(0)),
            (" 120 ", None, Some(120)),
            ("99999999999999999999999", None, Some(86_400)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", None, Some(37)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some("Sun, 06 Nov 1994 08:49:30 GMT"), Some(7)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some("soon"), Some(37)),
            ("Sun, 06 Nov 1993 08:49:37 GMT", None, Some(0)),
            ("Sun, 06 Nov 2094 08:49:37 GMT", None, Some(86_400)),
            ("", None, None),
            ("-1", None, None),
            ("1.5", None, None),
            ("soon", None, None),
            ("Sun, 32 Nov 1994 08:49:37 GMT", None, None),
            ("Sun, 06 Nov 1994 08:49:37 +0100", None, None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("retry-after", value.parse().unwrap());
            if let Some(date) = date {
                headers.insert("date", date.parse().unwrap());
            }
            assert_eq!(read(&headers, now), seconds.map(Duration::from_secs), "{value} {date:?}");
        }
        assert_eq!(read(&HeaderMap::new(), now), None);
    }
}
