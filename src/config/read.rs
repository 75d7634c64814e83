//! Reads the settings of the daemon, strictly: one that has no effect is
//! refused, not ignored.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Secret;
use super::settings::{
    AlertSettings, DEPLOY_DIR, DeployConfig, HttpConfig, LogFormat, LoggingConfig, MonitorSettings,
    ReloadConfig, STORE_FILE, Settings, StoreSettings, StoreUrl, level_named, parse_listen,
};
use crate::authority::Host;
use crate::decode::{Field, Object};
use crate::duration::{self, Shown};
use crate::name::Name;

/// The most connections that may be asked for.
const MAX_CONNECTIONS: u32 = 65_536;
/// The least time between two looks at files.
const MIN_INTERVAL: Duration = Duration::from_millis(10);

/// What relative paths are relative to.
#[derive(Debug)]
pub(super) struct Bases {
    pub(super) deploy: PathBuf,
    pub(super) store: PathBuf,
    pub(super) token: PathBuf,
    pub(super) history: PathBuf,
    pub(super) alerts: PathBuf,
    pub(super) client_cert: PathBuf,
    pub(super) client_key: PathBuf,
    pub(super) root_certs: PathBuf,
}

/// Reads the whole.
pub(super) fn read(o: &mut Object<'_, '_>, bases: &Bases) -> Option<Settings> {
    let default = Settings::default();
    let logging = o.object("logging", |o| read_logging(o)).or(default.logging);
    let http = o.object("http", |o| read_http(o, bases)).or(default.http);
    let deploy = o.object("deploy", |o| read_deploy(o, bases));
    let deploy = deploy.or(DeployConfig { dir: bases.deploy.join(DEPLOY_DIR), ..default.deploy });
    let config = o.object("config", |o| {
        let watch_interval = o.duration("watch_interval").check(is_rest).or(default.config.watch_interval);
        o.done().map(|_| ReloadConfig { watch_interval })
    });
    let config = config.or(default.config);
    let store = StoreSettings { url: StoreUrl::Sqlite(bases.store.join(STORE_FILE)) };
    let store = o.object("store", |o| read_store(o, bases, &store)).or(store.clone());
    let monitor = o.object("monitor", |o| read_monitor(o, bases)).or_default();
    let alerts = o.object("alerts", |o| {
        let state_file = o.string("state_file").check(|text| is_not_empty(text)).optional();
        let state_file = state_file.map(|path| bases.alerts.join(path));
        o.done().map(|_| AlertSettings { state_file })
    });
    let alerts = alerts.or_default();
    let shutdown_timeout = o.duration("shutdown_timeout").or(default.shutdown_timeout);
    o.done().map(|_| Settings { logging, http, deploy, config, store, monitor, alerts, shutdown_timeout })
}

fn read_logging(o: &mut Object<'_, '_>) -> Option<LoggingConfig> {
    let default = Settings::default().logging;
    let level =
        word(o.string("level"), "\"debug\", \"info\", \"warn\" or \"error\"", level_named).or(default.level);
    let format =
        word(o.string("format"), "\"text\", \"logfmt\" or \"json\"", LogFormat::named).or(default.format);
    let source = o.bool("source").or(default.source);
    o.done().map(|_| LoggingConfig { level, format, source })
}

fn read_http(o: &mut Object<'_, '_>, bases: &Bases) -> Option<HttpConfig> {
    let default = Settings::default().http;
    let are_names = |names: &Vec<String>| names.iter().try_for_each(|name| Name::new(name).map(drop));
    let listen = o.string("listen").convert(|text| parse_listen(&text)).or(default.listen);
    let are_hosts = |hosts: &Vec<String>| hosts.iter().try_for_each(|host| Host::parse(host).map(drop));
    let allowed_hosts = o.strings("allowed_hosts").check(are_hosts).or_default();
    let is_possible = |n: &u32| match n {
        1..=MAX_CONNECTIONS => Ok(()),
        n => Err(format!("expected 1 to {MAX_CONNECTIONS}, found {n}")),
    };
    let max_connections = o.u32("max_connections").check(is_possible).or(default.max_connections);
    let token = o.string("token").check(|token| is_token(token)).map(Secret::new).optional();
    // Its content stands in the token's place by now, unless it is null.
    let _ = o.string("token_file").optional();
    let liveness = o.strings("liveness").check(are_names).or_default();
    let readiness = o.strings("readiness").check(are_names).optional();
    let startup = o.strings("startup").check(are_names).optional();
    let history_file = o.string("history_file").check(|text| is_not_empty(text)).optional();
    let history_file = history_file.map(|path| bases.history.join(path));
    o.done().map(|_| HttpConfig {
        listen,
        allowed_hosts,
        max_connections,
        token,
        liveness,
        readiness,
        startup,
        history_file,
    })
}

fn read_deploy(o: &mut Object<'_, '_>, bases: &Bases) -> Option<DeployConfig> {
    let default = Settings::default().deploy;
    let dir = o.string("dir").check(|text| is_not_empty(text)).or(DEPLOY_DIR.to_owned());
    let scan_interval = o.duration("scan_interval").check(is_rest).or(default.scan_interval);
    o.done().map(|_| DeployConfig { dir: bases.deploy.join(dir), scan_interval })
}

fn read_store(o: &mut Object<'_, '_>, bases: &Bases, default: &StoreSettings) -> Option<StoreSettings> {
    let url = o.string("url").convert(|text| StoreUrl::parse(&text, &bases.store)).or(default.url.clone());
    // Its content stands in the URL's place by now, unless it is null.
    let _ = o.string("url_file").optional();
    o.done().map(|_| StoreSettings { url })
}

fn read_monitor(o: &mut Object<'_, '_>, bases: &Bases) -> Option<MonitorSettings> {
    let default = MonitorSettings::default();
    let poll_period = o.duration("poll_period").or(default.poll_period);
    let principal = o.string("principal").check(|text| is_not_empty(text)).or(default.principal);
    let token_file = o.string("token_file").check(|text| is_not_empty(text)).optional();
    let token_command = crate::probe::program(o, "token_command", "");
    if token_file.is_some() && token_command.is_some() {
        o.fault("token_command", "there is a token_file as well, and a token comes from one place");
    }
    let token_file = token_file.map(|path| bases.token.join(path));
    let mut tls_file = |name, base: &Path| {
        let path = o.string(name).check(|text| is_not_empty(text)).optional();
        if path.is_some() && !cfg!(feature = "tls") {
            o.fault(name, "needs the feature `tls`, which this build does not have");
        }
        path.map(|path| base.join(path))
    };
    let client_cert = tls_file("client_cert", &bases.client_cert);
    let client_key = tls_file("client_key", &bases.client_key);
    let root_certs = tls_file("root_certs", &bases.root_certs);
    if client_key.is_some() && !o.has("client_cert") {
        o.fault("client_key", "is there without a client_cert");
    }
    o.done().map(|_| MonitorSettings {
        poll_period,
        principal,
        token_file,
        token_command,
        client_cert,
        client_key,
        root_certs,
    })
}

fn is_not_empty(text: &str) -> Result<(), &'static str> {
    if text.is_empty() { Err("must not be empty") } else { Ok(()) }
}

/// Whether there is time for anything else between two looks: with less, a
/// unit that was mistyped costs a whole processor.
fn is_rest(interval: &Duration) -> Result<(), String> {
    if *interval >= MIN_INTERVAL {
        return Ok(());
    }
    let (least, found) = (duration::format(MIN_INTERVAL), duration::format(*interval));
    Err(format!("must be at least {least}, found {found}"))
}

/// Whether a text is what RFC 6750 calls a `b64token`, which a request can
/// carry.
fn is_token(text: &str) -> Result<(), &'static str> {
    let core = text.trim_end_matches('=');
    let carries = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
    if core.is_empty() || !core.bytes().all(carries) {
        return Err("must be letters, digits and any of -._~+/, with = at the end only");
    }
    Ok(())
}

/// Reads one word of several.
fn word<'n, 'f, T>(
    field: Field<'n, 'f, String>,
    expected: &str,
    named: impl FnOnce(&str) -> Option<T>,
) -> Field<'n, 'f, T> {
    field.convert(|text| {
        named(&text).ok_or_else(|| format!("expected {expected}, found the string {}", Shown(&text)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Layers;
    use std::ffi::OsString;

    fn variables(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
        pairs.iter().map(|(name, value)| (name.into(), value.into())).collect()
    }

    fn check(layers: Layers) -> Result<Settings, String> {
        layers.merge().settings().map_err(|faults| faults.to_string())
    }

    #[test]
    fn nothing_at_all_is_the_default() {
        assert_eq!(check(Layers::default()), Ok(Settings::default()));
        assert_eq!(check(Layers::default().defaults(Settings::default().to_json())), Ok(Settings::default()));
        assert_eq!(Layers::default().merge().deploy_dir().unwrap(), Path::new("deploy"));
    }

    #[test]
    fn looks_leave_time_for_the_rest() {
        for (key, value, expected) in [
            ("deploy.scan_interval", "10ms", ""),
            ("config.watch_interval", "10ms", ""),
            ("deploy.scan_interval", "9ms", "--set: deploy.scan_interval: must be at least 10ms, found 9ms"),
            (
                "config.watch_interval",
                "1ns",
                "--set: config.watch_interval: must be at least 10ms, found 1ns",
            ),
        ] {
            let found = check(Layers::default().set(key, value)).err().unwrap_or_default();
            assert_eq!(found, expected, "{key} {value}");
        }
    }

    #[test]
    fn crt_07_variables_set_keys_and_foreign_ones_are_left_alone() {
        let layers = Layers::default().environment(
            "LOOPKEEPER",
            variables(&[
                ("LOOPKEEPER_HTTP__ALLOWED_HOSTS", r#"["a", "b"]"#),
                ("LOOPKEEPER_LOGGING__SOURCE", "true"),
                ("LOOPKEEPER_LOGGING__LEVEL", " Warning"),
                ("LOOPKEEPER_DEPLOY__DIR", "5"),
                ("LOOPKEEPER_SHUTDOWN_TIMEOUT", "1.5"),
                ("LOOPKEEPER_HTTP__MAX_CONNECTIONS", "65536"),
                ("LOOPKEEPER", "x"),
                ("LOOPKEEPER_PORT", "tcp://10.0.0.1:80"),
                ("LOOPKEEPER_PORT_80_TCP_ADDR", "10.0.0.1"),
                ("LOOPKEEPER_SERVICE_HOST", "10.0.0.1"),
                ("LOOPKEEPER_SERVICE_PORT_HTTP", "80"),
                ("LOOPKEEPERS_HTTP__LISTEN", "x"),
                ("HTTP__LISTEN", "x"),
            ]),
        );
        let config = check(layers).unwrap();
        assert_eq!(config.http.allowed_hosts, ["a", "b"]);
        assert_eq!(config.http.max_connections, 65_536);
        assert!(config.logging.source);
        assert_eq!(config.logging.level, log::Level::Warn);
        assert_eq!(config.deploy.dir, Path::new("5"));
        assert_eq!(config.shutdown_timeout.as_millis(), 1500);
    }

    #[test]
    fn the_command_line_wins_and_its_values_are_json_or_text() {
        let layers = Layers::default()
            .environment(
                "LOOPKEEPER",
                variables(&[("LOOPKEEPER_HTTP__LISTEN", "none"), ("LOOPKEEPER_DEPLOY__DIR", "a")]),
            )
            .set("http.listen", "[::1]:1")
            .set("deploy", r#"{"dir": "b"}"#)
            .set("logging.source", "true")
            .set("shutdown_timeout", "1m")
            .set_text("--deploy", "deploy.dir", "7");
        let config = check(layers).unwrap();
        assert_eq!(config.http.listen.unwrap().to_string(), "[::1]:1");
        assert_eq!(config.deploy.dir, Path::new("7"));
        assert!(config.logging.source);
        assert_eq!(config.shutdown_timeout.as_secs(), 60);
        let reset = Layers::default().set("http.listen", "none").set("http", "null");
        assert_eq!(check(reset), Ok(Settings::default()));
    }

    #[test]
    fn a_fault_names_the_variable_or_the_option() {
        for (pairs, expected) in [
            (
                &[("LOOPKEEPER_HTTP__LISTEN", "8470")][..],
                "env LOOPKEEPER_HTTP__LISTEN: http.listen: expected an address such as \"127.0.0.1:8470\" or \
                 \"none\", found \"8470\"",
            ),
            (
                &[("LOOPKEEPER_HTPP__LISTEN", "none"), ("LOOPKEEPER_SHUTDOWN_TIMEOUT", "0")],
                "env LOOPKEEPER_HTPP__LISTEN: unknown field \"htpp\", did you mean \"http\"?\n\
                 env LOOPKEEPER_SHUTDOWN_TIMEOUT: shutdown_timeout: must be more than zero, found the string \"0\"",
            ),
            (
                &[("LOOPKEEPER_LOGGING__SOURCE", "yes")],
                "env LOOPKEEPER_LOGGING__SOURCE: logging.source: expected true or false, found the string \"yes\"",
            ),
            (
                &[("LOOPKEEPER_HTTP__MAX_CONNECTIONS", "0")],
                "env LOOPKEEPER_HTTP__MAX_CONNECTIONS: http.max_connections: expected 1 to 65536, found 0",
            ),
            (
                &[("LOOPKEEPER_HTTP__MAX_CONNECTIONS", "65537")],
                "env LOOPKEEPER_HTTP__MAX_CONNECTIONS: http.max_connections: expected 1 to 65536, found 65537",
            ),
            (&[("LOOPKEEPER_", "1")], "env LOOPKEEPER_: names no setting: \"\""),
            (&[("LOOPKEEPER_HTTP__", "1")], "env LOOPKEEPER_HTTP__: names no setting: \"http.\""),
            (
                &[("LOOPKEEPER_SHUTDOWN_TIMEOUT", "1s"), ("LOOPKEEPER_SHUTDOWN_TIMEOUT__X", "1")],
                "env LOOPKEEPER_SHUTDOWN_TIMEOUT__X: shutdown_timeout: is set by env LOOPKEEPER_SHUTDOWN_TIMEOUT, so \
                 nothing in it can be set",
            ),
        ] {
            let layers = Layers::default().environment("LOOPKEEPER", variables(pairs));
            assert_eq!(check(layers).unwrap_err(), expected, "{pairs:?}");
        }
        for (key, value, expected) in [
            (
                "http.listen",
                "5",
                "--set: http.listen: expected an address such as \"127.0.0.1:8470\" or \"none\", found \"5\"",
            ),
            ("logging", "[]", "--set: logging: expected an object, found a list"),
            (
                "logging.source",
                "yes",
                "--set: logging.source: expected true or false, found the string \"yes\"",
            ),
            (
                "logging.level",
                "loud",
                "--set: logging.level: expected \"debug\", \"info\", \"warn\" or \"error\", found the string \"loud\"",
            ),
            (
                "logging.format",
                "xml",
                "--set: logging.format: expected \"text\", \"logfmt\" or \"json\", found the string \"xml\"",
            ),
            ("", "1", "--set: names no setting: \"\""),
            ("http..listen", "1", "--set: names no setting: \"http..listen\""),
        ] {
            assert_eq!(check(Layers::default().set(key, value)).unwrap_err(), expected, "{key}={value}");
        }
    }

    #[test]
    fn what_is_kept_is_beside_the_file_that_names_it() {
        let dir = std::env::temp_dir();
        let file = dir.join(format!("loopkeeper-kept-settings-{}.json", std::process::id()));
        let text = r#"{"http": {"history_file": "history.json"}, "alerts": {"state_file": "alerts.json"}}"#;
        std::fs::write(&file, text).unwrap();
        let found = check(Layers::default().file(&file)).unwrap();
        std::fs::remove_file(&file).unwrap();
        assert_eq!(found.http.history_file, Some(dir.join("history.json")));
        assert_eq!(found.alerts.state_file, Some(dir.join("alerts.json")));
        for key in ["http.history_file", "alerts.state_file"] {
            let set = |value: &str| check(Layers::default().set(key, value));
            assert_eq!(set("null"), Ok(Settings::default()));
            let fault = set("\"\"").unwrap_err();
            assert!(fault.contains(&format!("{key}: must not be empty")), "{fault}");
        }
    }

    #[test]
    fn what_monitors_go_by_is_set_by_file_variable_and_option() {
        let dir = std::env::temp_dir();
        let file = dir.join(format!("loopkeeper-monitor-settings-{}.json", std::process::id()));
        let text = r#"{"monitor": {"poll_period": "5s", "principal": "of-file", "token_file": "token"}}"#;
        std::fs::write(&file, text).unwrap();
        let layers = Layers::default().defaults(Settings::default().to_json()).file(&file);
        let of_file = check(layers.clone()).unwrap().monitor;
        let layers = layers.environment(
            "LOOPKEEPER",
            variables(&[
                ("LOOPKEEPER_MONITOR__PRINCIPAL", "of-variable"),
                ("LOOPKEEPER_MONITOR__POLL_PERIOD", "6s"),
            ]),
        );
        let layers = layers.set("monitor.poll_period", "7s").set("monitor.token_file", "here");
        let of_all = check(layers).unwrap().monitor;
        std::fs::remove_file(&file).unwrap();
        assert_eq!((of_file.poll_period.as_secs(), of_file.principal.as_str()), (5, "of-file"));
        assert_eq!(of_file.token_file, Some(dir.join("token")));
        assert_eq!((of_all.poll_period.as_secs(), of_all.principal.as_str()), (7, "of-variable"));
        assert_eq!(of_all.token_file, Some(PathBuf::from("here")));
        for (key, value, expected) in [
            (
                "monitor.poll_period",
                "0",
                "monitor.poll_period: must be more than zero, found the string \"0\"",
            ),
            (
                "monitor.poll_period",
                "-5s",
                "monitor.poll_period: must not be negative, found the string \"-5s\"",
            ),
            ("monitor.principal", "\"\"", "monitor.principal: must not be empty"),
            ("monitor.token_command", "[]", "monitor.token_command: must name a program"),
            (
                "monitor",
                r#"{"token_file": "a", "token_command": ["b"]}"#,
                "monitor.token_command: there is a token_file as well, and a token comes from one place",
            ),
        ] {
            let found = check(Layers::default().set(key, value)).unwrap_err();
            assert_eq!(found, format!("--set: {expected}"), "{key}={value}");
        }
    }

    #[test]
    fn what_proves_who_asks_is_set_by_file_variable_and_option() {
        let dir = std::env::temp_dir();
        let file = dir.join(format!("loopkeeper-tls-settings-{}.json", std::process::id()));
        let text = r#"{"monitor": {"client_cert": "c.pem", "client_key": "k.pem", "root_certs": "/r.pem"}}"#;
        std::fs::write(&file, text).unwrap();
        let layers = Layers::default().defaults(Settings::default().to_json()).file(&file);
        let variables = variables(&[("LOOPKEEPER_MONITOR__CLIENT_CERT", "v.pem")]);
        let layers = layers.environment("LOOPKEEPER", variables).set("monitor.root_certs", "s.pem");
        let found = check(layers);
        std::fs::remove_file(&file).unwrap();
        if !cfg!(feature = "tls") {
            let faults = found.unwrap_err();
            let expected =
                "env LOOPKEEPER_MONITOR__CLIENT_CERT: monitor.client_cert: needs the feature `tls`";
            assert!(faults.contains(expected) && faults.lines().count() == 3, "{faults}");
            return;
        }
        let MonitorSettings { client_cert, client_key, root_certs, .. } = found.unwrap().monitor;
        let expected = [PathBuf::from("v.pem"), dir.join("k.pem"), PathBuf::from("s.pem")];
        assert_eq!([client_cert, client_key, root_certs], expected.map(Some));
        let faults = check(Layers::default().set("monitor.client_key", "k.pem")).unwrap_err();
        assert_eq!(faults, "--set: monitor.client_key: is there without a client_cert");
    }

    #[test]
    fn the_folder_is_beside_the_file_also_as_a_default() {
        let dir = std::env::temp_dir();
        let file = dir.join(format!("loopkeeper-settings-{}.json", std::process::id()));
        std::fs::write(&file, r#"{"shutdown_timeout": "1s"}"#).unwrap();
        let layers = Layers::default().defaults(Settings::default().to_json()).file(&file);
        let settings = layers.merge().settings().unwrap();
        std::fs::remove_file(&file).unwrap();
        assert_eq!(settings.deploy.dir, dir.join("deploy"));
        assert_eq!(settings.shutdown_timeout.as_secs(), 1);
    }

    #[test]
    fn what_may_hold_a_secret_is_not_shown() {
        let mut layers = Layers::default()
            .set("http.token", "hunter2")
            .set("store.url", "postgres://me:hunter2@db/x")
            .set("monitor.token_command", r#"["issue", "--key", "hunter2"]"#);
        for key in Settings::SECRETS {
            layers = layers.secret(key);
        }
        let merged = layers.clone().merge();
        let shown = merged.redacted(&merged.root, "");
        assert!(!shown.to_string().contains("hunter2"), "{shown}");
        assert_eq!(shown["monitor"]["token_command"], "<secret>");
        // Also where this was built without what reaches that store.
        let settings = format!("{:?}", check(layers.set("store.url", "sqlite:x")).unwrap());
        assert!(
            settings.contains("token_command: Some(<secret>)") && !settings.contains("hunter2"),
            "{settings}"
        );
    }

    #[test]
    fn a_token_is_what_a_request_can_carry_and_is_never_shown() {
        let secret = |layers: Layers| layers.secret("http.token");
        for token in ["a", "AZaz09-._~+/==", "5"] {
            let settings = check(secret(Layers::default().set("http.token", format!("{token:?}")))).unwrap();
            assert_eq!(settings.http.token.as_ref().unwrap().expose(), token);
            assert!(format!("{settings:?}").contains("token: Some(<secret>)"));
        }
        for token in ["", "=", "a b", "a=b", "t0p\u{e9}", "a\nb"] {
            let text =
                check(secret(Layers::default().set("http.token", format!("\"{token}\"")))).unwrap_err();
            assert!(text.starts_with("--set: http.token: must be letters, digits and any of"), "{text}");
            assert!(!text.contains("t0p"), "{text}");
        }
        assert_eq!(check(Layers::default().set("http.token_file", "null")), Ok(Settings::default()));
        let text = check(secret(Layers::default().set("http.token_file", "/nowhere/token"))).unwrap_err();
        assert!(text.starts_with("--set: http.token_file: /nowhere/token"), "{text}");
    }

    #[cfg(unix)]
    #[test]
    fn a_variable_that_is_not_text_is_a_fault() {
        use std::os::unix::ffi::OsStringExt;
        let layers = Layers::default().environment(
            "LOOPKEEPER",
            [(OsString::from("LOOPKEEPER_HTTP__LISTEN"), OsString::from_vec(vec![0xff]))],
        );
        assert_eq!(check(layers).unwrap_err(), "env LOOPKEEPER_HTTP__LISTEN: is not UTF-8 text");
    }
}
