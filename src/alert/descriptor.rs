//! What is told to whom, as it stands in the descriptor of a loop.

use std::time::Duration;

use super::{Action, AlertConfig, MAX_TIMEOUT, TIMEOUT};
use crate::decode::{Field, Object};
use crate::duration;

/// Reads the fields `on_ready`, `on_down` and `remind_every`; faults are with
/// `o`, and nothing is told then.
pub(crate) fn read(o: &mut Object<'_, '_>) -> AlertConfig {
    let on_ready = action(o, "on_ready")
        .doc("What to do when the service is ready again of which a down was told.")
        .optional();
    let on_down = action(o, "on_down")
        .doc("What to do when the service is down, or did not come up in the attempts of its start.")
        .optional();
    let has_down = o.has("on_down");
    let remind_every = o
        .duration("remind_every")
        .check(|_| if has_down { Ok(()) } else { Err("needs on_down, which is done again") })
        .doc("How often on_down is done again while the service stays down; never when absent.")
        .optional();
    AlertConfig { on_ready, on_down, remind_every }
}

fn action<'n, 'f>(o: &'f mut Object<'n, '_>, name: &'static str) -> Field<'n, 'f, Action> {
    o.one_of(name).case("exec", read_exec).case("webhook", webhook::read).end()
}

fn read_exec(o: &mut Object<'_, '_>) -> Option<Action> {
    o.doc("Runs a command, with what is told as JSON on its standard input; it must end with 0.");
    let command = crate::probe::command(o);
    let timeout = timeout(o);
    let done = o.done()?;
    Some(Action::exec(command.take(done)?).timeout(timeout))
}

fn timeout(o: &mut Object<'_, '_>) -> Duration {
    let is_short = |timeout: &Duration| match *timeout <= MAX_TIMEOUT {
        true => Ok(()),
        false => Err(format!("must be at most 5m0s, found {}", duration::format(*timeout))),
    };
    o.duration("timeout").check(is_short).doc("How long it may take.").or(TIMEOUT)
}

#[cfg(not(feature = "http-client"))]
mod webhook {
    use super::{Action, Object};

    pub(super) fn read(o: &mut Object<'_, '_>) -> Option<Action> {
        o.needs_http_client(&["url", "headers", "timeout"]);
        None
    }
}

#[cfg(feature = "http-client")]
mod webhook {
    use super::{Action, Object, timeout};
    use crate::probe::http::{check_url, read_headers};

    pub(super) fn read(o: &mut Object<'_, '_>) -> Option<Action> {
        o.doc("Posts what is told as JSON to a web server; it must answer with a status of 200 to 299.");
        let url = o.string("url").check(|url| check_url(url)).doc("Where to.").required();
        let headers = o.string_map("headers").check(|headers| {
            let pairs = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            read_headers(pairs).map(drop)
        });
        let headers = headers.doc("Headers to send along.").or_default();
        let timeout = timeout(o);
        let done = o.done()?;
        let url = url.take(done)?;
        let pairs = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        match Action::webhook(&url, pairs) {
            Ok(action) => Some(action.timeout(timeout)),
            Err(error) => {
                o.fault("url", error.to_string());
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{decode, tree};

    fn check(text: &str) -> Result<AlertConfig, String> {
        let node = tree::parse("f", text).unwrap();
        let read = |o: &mut Object<'_, '_>| {
            let alert = read(o);
            o.done().map(|_| alert)
        };
        decode::object(&node, "", read).map_err(|faults| faults.to_string())
    }

    #[test]
    fn what_is_written_is_taken() {
        let alert = check(
            r#"{"on_down": {"exec": {"command": ["page", "me"], "timeout": "5s"}}, "remind_every": "1h"}"#,
        )
        .unwrap();
        assert_eq!(alert.remind_every, Some(Duration::from_secs(3600)));
        assert_eq!(alert.on_down.as_ref().map(|action| action.timeout), Some(Duration::from_secs(5)));
        assert!(alert.on_ready.is_none() && !alert.is_empty());
        alert.check().unwrap();
        assert!(check("{}").unwrap().is_empty());
    }

    #[test]
    fn what_cannot_be_meant_is_a_fault_at_its_place() {
        for (text, expected) in [
            (
                r#"{"on_down": {"exec": {}}}"#,
                "f:1:22: on_down.exec.command: is missing, expected a list of strings",
            ),
            (
                r#"{"on_down": {"exec": {"command": []}}}"#,
                "f:1:34: on_down.exec.command: must name a program",
            ),
            (
                r#"{"on_ready": {"exce": {}}}"#,
                "f:1:15: on_ready: unknown field \"exce\", did you mean \"exec\"?",
            ),
            (
                r#"{"on_down": "page"}"#,
                "f:1:13: on_down: expected an object with exactly one of \"exec\", \"webhook\", found the string \"page\"",
            ),
            (
                r#"{"on_down": {"exec": {"command": ["a"], "timeout": "1h"}}}"#,
                "f:1:52: on_down.exec.timeout: must be at most 5m0s, found 1h0m0s",
            ),
            (r#"{"remind_every": "1h"}"#, "f:1:18: remind_every: needs on_down, which is done again"),
            (
                r#"{"on_down": {"exec": {"command": ["a"]}}, "remind_every": 0}"#,
                "f:1:59: remind_every: must be more than zero, found the number 0",
            ),
        ] {
            assert_eq!(check(text).unwrap_err(), expected, "{text}");
        }
    }

    #[cfg(feature = "http-client")]
    #[test]
    fn a_webhook_has_a_url_and_headers() {
        let alert =
            check(r#"{"on_down": {"webhook": {"url": "http://h:1/a/b?token=x", "headers": {"A": "b"}}}}"#);
        let debug = format!("{:?}", alert.unwrap());
        assert!(!debug.contains("token"), "{debug}");
        let found = check(r#"{"on_down": {"webhook": {"url": "h:1", "header": {}}}}"#).unwrap_err();
        assert!(found.starts_with("f:1:33: on_down.webhook.url: "), "{found}");
        assert!(
            found.ends_with("on_down.webhook: unknown field \"header\", did you mean \"headers\"?"),
            "{found}"
        );
    }
}
