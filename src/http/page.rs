//! The page at `/`: a line for each loop, as text for a terminal or as a
//! table for a browser.
//!
//! The table needs nothing from elsewhere, and the policy that goes with it
//! lets a browser run and load nothing at all: what a service said in an
//! error is text, whatever it looks like.

use std::fmt::{self, Write};
use std::time::Duration;

use super::health::{plain, word};
use super::response::{Response, Status};
use super::routes::Snapshot;
use crate::status::{LoopStatus, aggregate};

pub(super) const PATHS: &str = "\
/livez             whether this process can do its work: 200 or 503
/readyz            whether everything critical is ready: 200 or 503; ?verbose names each
/startupz          whether everything critical was heard of once: 200 or 503; ?verbose names each
/healthz           all of it, as application/health+json
/status            every loop, as JSON
/why/NAME          why a loop is as it is, and what happens next, as JSON
/recovery          what becomes of corrupted runs, as JSON
/events            what happened, as JSON; ?after=SEQ&max=N, &wait=30s waits for more
/config            the configuration in force and where each value comes from, as JSON
/metrics           for a Prometheus server, as OpenMetrics or plain text
POST /trigger/NAME       with the token: has a loop make its next run now
POST /heartbeat/NAME     with the token: says that NAME is alive; ?down=REASON that it is not
POST /deploy/rescan      with the token: has the folder of descriptors looked at now
POST /recovery/RUN/cancel   with the token: ends the recovery of a run
POST /recovery/RUN/retry    with the token: has a run tried again now
";

/// One line for each loop, and where to look further.
pub(super) fn text(snapshot: &Snapshot<'_>) -> Response {
    let mut text = format!("{} at {}\n\n", aggregate(&snapshot.loops), snapshot.at);
    for status in &snapshot.loops {
        let LoopStatus { name, since, last_error, age, .. } = status;
        let _ = write!(text, "{name:<18} {:<8} since {since}", word(status));
        if let Some(age) = age {
            let _ = write!(text, ", checked {} ago", Ago(*age));
        }
        if let Some(error) = last_error {
            text.push_str("  ");
            plain(&mut text, error);
        }
        text.push('\n');
    }
    if snapshot.loops.is_empty() {
        text.push_str("no loops\n");
    }
    text.push('\n');
    text.push_str(PATHS);
    Response::text(Status::Ok, &text).header("Vary", "Accept")
}

const STYLE: &str = "\
body{font:16px/1.5 system-ui,sans-serif;margin:2rem;color:#1b1b1b;background:#fff}\
table{border-collapse:collapse}\
th,td{text-align:left;vertical-align:top;padding:.3rem 1rem .3rem 0;border-bottom:1px solid #ccc}\
.ready{color:#15622a}.degraded,.unknown,.stale{color:#7a5200}.down{color:#a3141e}\
td:last-child{overflow-wrap:anywhere}\
@media(prefers-color-scheme:dark){body{color:#e6e6e6;background:#161616}th,td{border-color:#444}\
.ready{color:#7bd694}.degraded,.unknown,.stale{color:#e6bd5c}.down{color:#ff8f96}}";

/// Nothing may be loaded, run, framed or sent; the one style is known by its
/// hash.
const POLICY: &str = "default-src 'none'; style-src 'sha256-W6tJygvQSLBf7T7BMjyLVWu/XR2twkjf0ikXBR4SRhQ='; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The same as a table.
pub(super) fn html(snapshot: &Snapshot<'_>) -> Response {
    let health = aggregate(&snapshot.loops);
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{health} - loopkeeper</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n\
         <h1 class=\"{health}\">{health}</h1>\n<p>at {}</p>\n",
        snapshot.at
    );
    if snapshot.loops.is_empty() {
        page.push_str("<p>no loops</p>\n");
    } else {
        page.push_str(
            "<table>\n<thead><tr><th scope=\"col\">Name</th><th scope=\"col\">Kind</th>\
             <th scope=\"col\">State</th><th scope=\"col\">Since</th><th scope=\"col\">Checked</th>\
             <th scope=\"col\">Last error</th></tr></thead>\n<tbody>\n",
        );
        snapshot.loops.iter().for_each(|status| row(&mut page, status));
        page.push_str("</tbody>\n</table>\n");
    }
    page.push_str("<p>");
    for path in ["/livez?verbose", "/readyz?verbose", "/startupz?verbose", "/healthz", "/status", "/events"] {
        let _ = write!(page, "<a href=\"{path}\">{path}</a> ");
    }
    page.push_str("</p>\n</body>\n</html>\n");
    Response::of_type("text/html; charset=utf-8", page)
        .header("Vary", "Accept")
        .header("Content-Security-Policy", POLICY)
        .header("Referrer-Policy", "no-referrer")
}

fn row(page: &mut String, status: &LoopStatus) {
    let LoopStatus { name, kind, since, last_error, age, critical, .. } = status;
    let word = word(status);
    let optional = if *critical { "" } else { " (not critical)" };
    let _ = write!(
        page,
        "<tr><th scope=\"row\">{}</th><td>{}</td><td class=\"{word}\">{word}{optional}</td><td>{since}</td><td>",
        Escaped(name.as_str()),
        kind.as_str()
    );
    if let Some(age) = age {
        let _ = write!(page, "{} ago", Ago(*age));
    }
    let mut error = String::new();
    plain(&mut error, last_error.as_deref().unwrap_or_default());
    let _ = writeln!(page, "</td><td>{}</td></tr>", Escaped(&error));
}

/// Foreign text in HTML.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// How long ago something was, for people: `0.3 s`, `12 s`, `5 min`, `3 h`.
struct Ago(Duration);

impl fmt::Display for Ago {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_secs() {
            0..10 => write!(f, "{:.1} s", self.0.as_secs_f64()),
            secs @ 10..120 => write!(f, "{secs} s"),
            secs @ 120..7200 => write!(f, "{} min", secs / 60),
            secs => write!(f, "{} h", secs / 3600),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::routes::tests::{of, snapshot, text as body};
    use super::*;
    use crate::event::Health;

    #[test]
    fn the_page_has_one_line_for_each_loop() {
        let stale = LoopStatus { stale: true, ready: false, ..of("c", Health::Ready, false) };
        let aged = LoopStatus { age: Some(Duration::from_secs(90)), ..of("a", Health::Ready, true) };
        let page = body(&text(&snapshot(&[aged, of("b", Health::Down, false), stale])));
        let expected = "degraded at 1970-01-01T00:00:00.000Z\n\n\
            a                  ready    since 1970-01-01T00:00:00.000Z, checked 90 s ago\n\
            b                  down     since 1970-01-01T00:00:00.000Z  no\\r\\n\\u{202e}\"answer\"\n\
            c                  stale    since 1970-01-01T00:00:00.000Z\n\n/livez";
        assert!(page.starts_with(expected), "{page}");
    }

    #[test]
    fn what_a_service_says_is_text_on_the_page() {
        let evil = "<script>alert('1')</script>&\"\u{202e}\n".to_owned();
        let evil = LoopStatus { last_error: Some(evil), ..of("a", Health::Down, true) };
        let response = html(&snapshot(&[evil]));
        let page = body(&response);
        let expected = "<tr><th scope=\"row\">a</th><td>watcher</td><td class=\"down\">down</td>\
                        <td>1970-01-01T00:00:00.000Z</td><td></td>\
                        <td>&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;&quot;\\u{202e}\\n</td></tr>\n";
        assert!(page.contains(expected), "{page}");
        assert!(!page.contains("<script"));
        let head = String::from_utf8(response.render(Default::default()).own).unwrap();
        assert!(
            head.contains("\r\nContent-Security-Policy: default-src 'none'; style-src 'sha256-"),
            "{head}"
        );
        assert!(body(&html(&snapshot(&[]))).contains("<p>no loops</p>"));
    }

    #[test]
    fn ages_are_for_people() {
        for (secs, text) in
            [(0.25, "0.2 s"), (9.96, "10.0 s"), (61.0, "61 s"), (180.0, "3 min"), (7200.0, "2 h")]
        {
            assert_eq!(Ago(Duration::from_secs_f64(secs)).to_string(), text);
        }
    }

    #[test]
    #[cfg(feature = "_sql")]
    fn the_policy_knows_the_style_by_its_hash() {
        use sha2::Digest;
        let hash = sha2::Sha256::digest(STYLE.as_bytes());
        let hash = base64(&hash);
        assert!(POLICY.contains(&format!("'sha256-{hash}'")), "expected {hash}");
    }

    #[cfg(feature = "_sql")]
    fn base64(bytes: &[u8]) -> String {
        const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = String::new();
        for chunk in bytes.chunks(3) {
            let mut padded = [0; 4];
            padded[1..=chunk.len()].copy_from_slice(chunk);
            let number = u32::from_be_bytes(padded);
            for i in 0..4 {
                let digit = DIGITS[(number >> (18 - 6 * i) & 63) as usize];
                text.push(if i > chunk.len() { '=' } else { char::from(digit) });
            }
        }
        text
    }
}
