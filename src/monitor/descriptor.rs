//! What a monitor is made from, as it stands in a descriptor.
//!
//! Absent settings get the defaults of [`MonitorConfig`], but for those that
//! the program itself is told; what cannot be meant is a fault at its place,
//! so that a monitor which was read also starts. Relative paths are relative to
//! the current folder of the program.

use std::time::Duration;

use super::config::{CheckerConfig, MonitorConfig};
use super::{Checker, Principal, Role, check};
use crate::decode::Object;
use crate::duration::Shown;
use crate::map::Map;
use crate::name::Name;
use crate::tree::Fault;

/// What holds for a monitor whose descriptor does not say it.
#[derive(Debug, Clone)]
pub struct Defaults {
    /// The time between two passes. Defaults to 60 s.
    pub poll_period: Duration,
    /// As whom checkers ask. Defaults to `loopkeeper`, without a token.
    pub principal: Principal,
    /// By which files checkers prove to `https` servers that they are the
    /// principal, and know them. Defaults to none.
    #[cfg(feature = "tls")]
    pub tls: crate::rest::TlsFiles,
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            poll_period: Duration::from_secs(60),
            principal: Principal::new("loopkeeper"),
            #[cfg(feature = "tls")]
            tls: crate::rest::TlsFiles::default(),
        }
    }
}

/// Reads the settings of the monitor `name`: the `config` object of its
/// descriptor.
///
/// `None` when there was a fault; `o` knows it. What kinds of checkers there
/// are is in [`check`]. There may be none: who reads the settings may
/// [add](MonitorConfig::check) some. In the descriptor of a `monitor` there
/// must be one.
///
/// # Examples
///
/// ```
/// use loopkeeper::monitor::descriptor::{Defaults, read};
/// use loopkeeper::{decode, tree};
///
/// let text = r#"{"poll_period": "30s", "checkers": [
///     {"name": "broker", "deadline": "2s", "probe": {"tcp": {"address": "127.0.0.1:1883"}}}
/// ]}"#;
/// let node = tree::parse("cluster.json", text)?;
/// let config = decode::object(&node, "", |o| read("cluster", o, &Defaults::default()))?;
/// assert!(format!("{config:?}").contains("broker"));
///
/// let node = tree::parse("cluster.json", r#"{"checkers": [{"name": "broker", "deadline": 0}]}"#)?;
/// let faults = decode::object(&node, "", |o| read("cluster", o, &Defaults::default())).unwrap_err();
/// assert_eq!(
///     faults.to_string(),
///     "cluster.json:1:15: checkers[0]: says nothing to look at, expected one of \"probe\", \"conditions\", \
///      \"http_json\", \"disk\", \"memory\", \"load\", \"clock_offset\", \"certificate\"\n\
///      cluster.json:1:46: checkers[0].deadline: must be more than zero, found the number 0",
/// );
/// # Ok::<(), tree::Faults>(())
/// ```
pub fn read(name: &str, o: &mut Object<'_, '_>, defaults: &Defaults) -> Option<MonitorConfig> {
    read_config(name, o, defaults, false)
}

/// The same, where nobody adds a checker later: there must be one.
pub(crate) fn read_whole(name: &str, o: &mut Object<'_, '_>, defaults: &Defaults) -> Option<MonitorConfig> {
    read_config(name, o, defaults, true)
}

fn read_config(
    name: &str,
    o: &mut Object<'_, '_>,
    defaults: &Defaults,
    is_whole: bool,
) -> Option<MonitorConfig> {
    o.doc("Has checkers look at regular times whether things are as they should be.");
    let poll_period = o.duration("poll_period").doc("The time between two passes over all checkers.");
    let poll_period = poll_period.or(defaults.poll_period);
    let deadline = o
        .duration("deadline")
        .doc("How long one look of a checker may take that does not say it itself.")
        .or(Duration::from_secs(10));
    let stale_after = o
        .duration("stale_after")
        .doc("After which time what was found counts no more; three periods and the deadlines of all checkers together when absent.")
        .optional();
    let in_phase = o
        .bool("in_phase")
        .doc(
            "Whether regular times count from the first pass, instead of being spread by a hash of the name.",
        )
        .or(false);
    let critical = o
        .bool("critical")
        .doc("Whether the whole is down, and not only degraded, while this is down or unknown.")
        .or(false);
    let principal = read_principal(o, &defaults.principal);
    let asking = check::Asking {
        principal: &principal,
        #[cfg(feature = "tls")]
        tls: match principal.name() == defaults.principal.name() {
            true => defaults.tls.clone(),
            // As nobody else's token, so nobody else's certificate.
            false => crate::rest::TlsFiles { client_cert: None, client_key: None, ..defaults.tls.clone() },
        },
    };
    let checkers = o.objects("checkers", |o| read_checker(o, &asking));
    let checkers = checkers
        .check(|checkers| {
            if is_whole && checkers.is_empty() {
                return Err("must have at least one checker".to_owned());
            }
            let mut names = Map::new();
            match checkers.iter().find(|checker| names.insert(checker.name(), ()).is_some()) {
                Some(twice) => Err(format!("two are called {}", Shown(twice.name()))),
                None => Ok(()),
            }
        })
        .doc("The checkers, in the order in which they look.");
    let checkers = if is_whole {
        Ok(checkers.required())
    } else {
        Err(checkers.defaults_to_json(|| "[]".to_owned()).optional())
    };
    let alert = crate::alert::descriptor::read(o);
    let done = o.done()?;
    let checkers = match checkers {
        Ok(checkers) => checkers.take(done)?,
        Err(checkers) => checkers.unwrap_or_default(),
    };
    let mut config = MonitorConfig::new(name)
        .alert(alert)
        .poll_period(poll_period)
        .deadline(deadline)
        .principal(&principal);
    if let Some(age) = stale_after {
        config = config.stale_after(age);
    }
    if in_phase {
        config = config.in_phase();
    }
    if critical {
        config = config.critical();
    }
    Some(checkers.into_iter().fold(config, MonitorConfig::checker))
}

/// As whom the checkers of this monitor ask. The token of another name is not
/// taken: a name without a token of its own has none.
fn read_principal(o: &mut Object<'_, '_>, default: &Principal) -> Principal {
    let is_some = |text: &String| if text.is_empty() { Err("must not be empty") } else { Ok(()) };
    let name = o.string("principal").check(is_some).doc("As whom checkers ask; the program's when absent.");
    let name = name.optional();
    let file = o
        .string("token_file")
        .check(is_some)
        .doc("A file with the token of the principal; relative to the current folder.")
        .optional();
    let command = crate::probe::program(
        o,
        "token_command",
        "A program that answers with the token of the principal, or with an object that says when it expires.",
    );
    if file.is_some() && command.is_some() {
        o.fault("token_command", "there is a token_file as well, and a token comes from one place");
    }
    let is_another = name.as_ref().is_some_and(|name| name != default.name());
    if !is_another && file.is_none() && command.is_none() {
        return default.clone();
    }
    let principal = Principal::new(name.as_deref().unwrap_or(default.name()));
    match (file, command) {
        (Some(path), _) => principal.token_file(path),
        (None, Some(command)) => principal.token_command(command),
        (None, None) => principal,
    }
}

fn read_checker(o: &mut Object<'_, '_>, asking: &check::Asking<'_>) -> Option<CheckerConfig> {
    o.doc("A checker: its name, and one of the kinds.");
    let name = o.name("name").doc("Its name in this monitor.").required();
    let role = o
        .string("role")
        .convert(|text| {
            Role::named(&text).ok_or_else(|| {
                let words: Vec<String> = Role::ALL.iter().map(|role| format!("\"{role}\"")).collect();
                format!("expected one of {}, found {}", words.join(", "), Shown(&text))
            })
        })
        .expecting("the word for a role")
        .doc("What its findings are; what the kind says when absent.")
        .optional();
    let deadline = o.duration("deadline").doc("How long one look may take; the monitor's when absent.");
    let deadline = deadline.optional();
    let stale_after = o
        .duration("stale_after")
        .doc("After which time what it found counts no more; the monitor's when absent.")
        .optional();
    let checker = read_kind(o, asking);
    let name: Name = name.take(o.done()?)?;
    let mut config = CheckerConfig::new(name.as_str(), checker?);
    if let Some(role) = role {
        config = config.role(role);
    }
    if let Some(deadline) = deadline {
        config = config.deadline(deadline);
    }
    if let Some(age) = stale_after {
        config = config.stale_after(age);
    }
    Some(config)
}

/// Reads what kind of checker it is: the one field that is named after a kind.
fn read_kind(o: &mut Object<'_, '_>, asking: &check::Asking<'_>) -> Option<Box<dyn Checker>> {
    let kinds = check::read_kinds(o, asking);
    let names: Vec<&str> = kinds.iter().map(|(name, _)| *name).collect();
    let found: Vec<&str> = names.iter().copied().filter(|name| o.has(name)).collect();
    let quoted = |names: &[&str]| {
        let quoted: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
        quoted.join(", ")
    };
    match found[..] {
        [_] => kinds.into_iter().find_map(|(_, checker)| checker),
        [] => {
            let message = format!("says nothing to look at, expected one of {}", quoted(&names));
            o.faults(Fault { place: o.place().clone(), key: o.key().to_owned(), message }.into());
            None
        }
        [_, second, ..] => {
            let message = format!("expected one of {}, found {}", quoted(&names), quoted(&found));
            o.fault(second, message);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::Context;
    use crate::env::Env;
    use crate::monitor::{Monitor, Report, Verdict};
    use crate::{decode, tree};

    /// Reads a monitor's settings; faults come without the name of the file.
    fn check(text: &str) -> Result<MonitorConfig, String> {
        let node = tree::parse("f", text).unwrap();
        decode::object(&node, "", |o| read("m", o, &Defaults::default())).map_err(|faults| {
            faults.iter().map(|fault| fault.to_string()[2..].to_owned()).collect::<Vec<_>>().join("\n")
        })
    }

    #[test]
    fn what_is_absent_has_its_default() {
        let config = check("{}").unwrap();
        let plain = MonitorConfig::new("m").principal(&Principal::new("loopkeeper"));
        assert_eq!(format!("{config:?}"), format!("{plain:?}"));
        let principal = Principal::new("p");
        let mut hourly = Defaults::default();
        (hourly.poll_period, hourly.principal) = (Duration::from_secs(3600), principal);
        let node = tree::parse("f", "{}").unwrap();
        let config = decode::object(&node, "", |o| read("m", o, &hourly)).unwrap();
        assert!(format!("{config:?}").contains("poll_period: 3600s"), "{config:?}");
        assert!(format!("{config:?}").contains("name: \"p\""), "{config:?}");
        let node = tree::parse("f", r#"{"poll_period": "5s", "principal": "q"}"#).unwrap();
        let config = decode::object(&node, "", |o| read("m", o, &hourly)).unwrap();
        assert!(format!("{config:?}").contains("poll_period: 5s"), "its own value wins: {config:?}");
        assert!(format!("{config:?}").contains("name: \"q\""), "{config:?}");
    }

    #[test]
    fn what_is_written_is_taken_and_starts() {
        let text = r#"{"poll_period": "1s", "deadline": "2s", "stale_after": "3s", "in_phase": true, "critical": true,
            "principal": "cluster-monitor", "token_file": "/run/token", "checkers": [
            {"name": "disk", "probe": {"disk": {"path": "/", "min_free": 1}}},
            {"name": "beat", "role": "compensating_control", "deadline": "4s", "stale_after": "5s",
             "probe": {"exec": {"command": ["true"]}}}]}"#;
        let config = check(text).unwrap();
        let never = |_: &Context, _: &Report| Ok(Verdict::Ready);
        let beat = CheckerConfig::new("beat", never)
            .role(Role::CompensatingControl)
            .deadline(Duration::from_secs(4))
            .stale_after(Duration::from_secs(5));
        let expected = MonitorConfig::new("m")
            .poll_period(Duration::from_secs(1))
            .deadline(Duration::from_secs(2))
            .stale_after(Duration::from_secs(3))
            .in_phase()
            .critical()
            .principal(&Principal::new("cluster-monitor").token_file("/run/token"))
            .check("disk", never)
            .checker(beat);
        assert_eq!(format!("{config:?}"), format!("{expected:?}"));
        let monitor = Monitor::start_in(&Env::new().unwrap(), config).unwrap();
        assert!(monitor.wait_ready(Duration::from_secs(5)), "{}", monitor.status());
    }

    #[test]
    fn the_descriptor_of_a_monitor_has_a_checker() {
        let whole = |text: &str| {
            let node = tree::parse("f", text).unwrap();
            let read = decode::object(&node, "", |o| read_whole("m", o, &Defaults::default()));
            read.map_err(|faults| faults.to_string())
        };
        for (text, fault) in [
            ("{}", "f:1:1: checkers: is missing, expected a list of objects"),
            (r#"{"checkers": []}"#, "f:1:14: checkers: must have at least one checker"),
        ] {
            assert_eq!(whole(text).unwrap_err(), fault);
            assert!(check(text).is_ok(), "who reads it may add some");
        }
        let text = r#"{"checkers": [{"name": "a", "disk": {"paths": ["/"], "min_free": 1}}]}"#;
        assert!(whole(text).is_ok());
    }

    #[test]
    fn the_token_of_another_name_is_not_taken() {
        let principal = Principal::new("daemon").token_file("/run/daemon-token");
        let defaults = Defaults { principal, ..Defaults::default() };
        for (text, expected) in [
            ("{}", "Principal { name: \"daemon\", token_file: \"/run/daemon-token\", .. }"),
            (
                r#"{"principal": "daemon"}"#,
                "Principal { name: \"daemon\", token_file: \"/run/daemon-token\", .. }",
            ),
            (r#"{"principal": "other"}"#, "Principal { name: \"other\", .. }"),
            (
                r#"{"token_command": ["issue", "it"]}"#,
                "Principal { name: \"daemon\", token_command: ExecProbe { program: Some(\"issue\"), .. }, .. }",
            ),
        ] {
            let node = tree::parse("f", text).unwrap();
            let config = decode::object(&node, "", |o| read("m", o, &defaults)).unwrap();
            assert!(format!("{config:?}").contains(expected), "{config:?}");
        }
    }

    #[test]
    fn wum_05_what_cannot_be_meant_is_a_fault_at_its_place() {
        let probe = r#""probe": {"exec": {"command": ["true"]}}"#;
        for (text, expected) in [
            (
                r#"{"poll_period": 0}"#.to_owned(),
                "1:17: poll_period: must be more than zero, found the number 0".to_owned(),
            ),
            (
                r#"{"poll_period": "-1s"}"#.to_owned(),
                "1:17: poll_period: must not be negative, found the string \"-1s\"".to_owned(),
            ),
            (
                r#"{"stale_after": 0, "deadline": "0s"}"#.to_owned(),
                "1:17: stale_after: must be more than zero, found the number 0\n\
                 1:32: deadline: must be more than zero, found the string \"0s\""
                    .to_owned(),
            ),
            (
                r#"{"checkers": [{"name": "a"}]}"#.to_owned(),
                "1:15: checkers[0]: says nothing to look at, expected one of \"probe\", \"conditions\", \
                 \"http_json\", \"disk\", \"memory\", \"load\", \"clock_offset\", \"certificate\""
                    .to_owned(),
            ),
            (
                format!(r#"{{"checkers": [{{"name": "a", {probe}}}, {{"name": "a", {probe}}}]}}"#),
                "1:14: checkers: two are called \"a\"".to_owned(),
            ),
            (
                format!(r#"{{"checkers": [{{"name": "a", "role": "truth", {probe}}}]}}"#),
                "1:37: checkers[0].role: expected one of \"observation\", \"drift_detection\", \
                 \"metrics_projection\", \"compensating_control\", found \"truth\""
                    .to_owned(),
            ),
            (
                r#"{"token_file": "a", "token_command": ["b"]}"#.to_owned(),
                "1:38: token_command: there is a token_file as well, and a token comes from one place"
                    .to_owned(),
            ),
            (r#"{"token_command": []}"#.to_owned(), "1:19: token_command: must name a program".to_owned()),
            (
                r#"{"token_command": ["issue", "a\u0000b"]}"#.to_owned(),
                "1:29: token_command[1]: must not have a NUL byte".to_owned(),
            ),
            (
                r#"{"checkers": [{"name": "a", "probe": {"heartbeat": {"grace": "30s"}}}]}"#.to_owned(),
                "1:39: checkers[0].probe.heartbeat: a checker is asked at the times of its monitor and hears of no \
                 heartbeat, expected a watcher that has this probe"
                    .to_owned(),
            ),
            (r#"{"principal": ""}"#.to_owned(), "1:15: principal: must not be empty".to_owned()),
            (
                r#"{"chekers": []}"#.to_owned(),
                "1:2: unknown field \"chekers\", did you mean \"checkers\"?".to_owned(),
            ),
        ] {
            assert_eq!(check(&text).unwrap_err(), expected, "{text}");
        }
    }
}
