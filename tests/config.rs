//! Configurations, their reloads and their watcher, the daemon's file:
//! real files, on a clock that the tests move. `crt`
//! names what the behaviour must be, `wrt` a weakness of earlier designs that
//! must not come back.

#![allow(clippy::unwrap_used, reason = "test code: a file that cannot be written is a failed test")]

mod support;

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, SystemTime};

use loopkeeper::config::{Config, ConfigWatcher, ConfigWatcherConfig, Layer, Layers, Secret, Snapshot};
use loopkeeper::observe::{Gauge, Observer};
use loopkeeper::{
    Component, Context, Env, EnvConfig, ErrorKind, EventKind, Health, ManualClock, Subscription,
};
use serde::Deserialize;
use serde_json::json;
use support::{TempDir, eventually, threads_named};

fn short(dir: &Path, text: &str) -> String {
    text.replace(&format!("{}/", dir.display()), "").replace(&dir.display().to_string(), "DIR")
}

#[test]
fn the_file_comes_first_and_its_folder_is_where_descriptors_are() {
    let dir = TempDir::new("config");
    let file = dir.write(
        "loopkeeper.json",
        r#"{"http": {"listen": "none", "allowed_hosts": ["box"], "startup": ["db"]}, "deploy": {"dir": "parts"}, "shutdown_timeout": 1}"#,
    );
    let layers = Layers::default().file(&file);
    let config = layers.clone().merge().settings().unwrap();
    assert_eq!((config.http.listen, &*config.http.allowed_hosts), (None, &["box".to_owned()][..]));
    assert_eq!((&*config.http.liveness, config.http.readiness), (&[][..], None));
    assert_eq!(config.http.startup, Some(vec!["db".to_owned()]));
    assert_eq!(config.deploy.dir, dir.path().join("parts"));

    let variable = ("LOOPKEEPER_HTTP__LISTEN".into(), "127.0.0.1:1".into());
    let layers = layers.environment("LOOPKEEPER", [variable]).set("deploy.dir", "elsewhere");
    let config = layers.clone().merge().settings().unwrap();
    assert_eq!(config.http.listen.unwrap().port(), 1);
    assert_eq!(config.http.allowed_hosts, ["box"]);
    assert_eq!(config.deploy.dir, Path::new("elsewhere"));
    let config = layers.set("http.listen", "127.0.0.1:2").merge().settings().unwrap();
    assert_eq!(config.http.listen.unwrap().port(), 2);

    let file = dir.write("small.json", "{}");
    assert_eq!(
        Layers::default().file(file).merge().settings().unwrap().deploy.dir,
        dir.path().join("deploy")
    );
}

#[test]
fn a_wrong_file_is_told_together_with_the_other_layers() {
    let dir = TempDir::new("config");
    let file = dir.write(
        "c.json",
        "{\"htpp\": {},\n \"deploy\": {\"dir\": \"parts\", \"dri\": 1},\n \"shutdown_timeout\": \"0s\"}",
    );
    let merged = Layers::default().file(&file).set("logging.level", "loud").merge();
    assert_eq!(
        short(dir.path(), &merged.settings().unwrap_err().to_string()),
        r#"--set: logging.level: expected "debug", "info", "warn" or "error", found the string "loud"
c.json:1:2: unknown field "htpp", did you mean "http"?
c.json:2:29: deploy: unknown field "dri", did you mean "dir"?
c.json:3:22: shutdown_timeout: must be more than zero, found the string "0s""#
    );
    assert_eq!(merged.deploy_dir().unwrap(), dir.path().join("parts"));

    for (text, expected) in [
        ("{", "c.json:1:1: EOF while parsing an object"),
        ("", "c.json:1:1: is empty"),
        ("[]", "c.json:1:1: expected an object, found a list"),
    ] {
        dir.write("c.json", text);
        let merged = Layers::default().file(&file).set("logging.level", "info").merge();
        assert_eq!(short(dir.path(), &merged.settings().unwrap_err().to_string()), expected);
    }
    let missing = Layers::default().file(dir.path().join("missing.json")).merge();
    assert_eq!(
        short(dir.path(), &missing.settings().unwrap_err().to_string()),
        "missing.json: cannot be read: No such file or directory (os error 2)"
    );
    assert_eq!(missing.deploy_dir(), None);
}

// Any program's configuration.

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn vars(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    pairs.iter().map(|(name, value)| (name.into(), value.into())).collect()
}

/// A configuration of a text and variables that begin with `APP_`.
fn parse(json: &str, variables: &[(&str, &str)]) -> Arc<Snapshot> {
    Config::load(layers(json, variables)).unwrap().snapshot()
}

fn layers(json: &str, variables: &[(&str, &str)]) -> Layers {
    Layers::default().text("app.json", json).environment("APP", vars(variables))
}

fn refused(layers: Layers) -> String {
    Config::load(layers).unwrap_err().report().to_string()
}

#[test]
fn crt_07_getters_and_overrides_from_the_environment() {
    let config = parse(
        r#"{"n": 2, "flag": true, "http": {"listen": "a", "ratio": 0.5}, "none": null}"#,
        &[
            ("APP_N", "4"),
            ("APP_FLAG", "false"),
            ("APP_HTTP__LISTEN", "b"),
            ("APP_FRESH__KEY", "new"),
            ("OTHER_N", "9"),
            ("APPLE_N", "9"),
            ("N", "9"),
        ],
    );
    assert_eq!(config.int("n", 0), 4);
    assert!(!config.bool("flag", true));
    assert_eq!(config.string("http.listen", ""), "b");
    assert_eq!(config.float("http.ratio", 0.0), 0.5);
    assert_eq!(config.string("fresh.key", ""), "new");
    for key in ["missing", "http.missing", "n.missing", "none", "", "http.listen.x"] {
        assert!(!config.is_set(key), "{key}");
        assert_eq!(config.int(key, 7), 7, "{key}");
    }
    assert!(config.get("missing").is_none() && config.get("none").is_some());
}

#[test]
fn crt_08_a_part_becomes_a_struct() {
    #[derive(Deserialize, Debug, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Http {
        listen: String,
        port: u16,
        #[serde(with = "loopkeeper::duration::text")]
        timeout: Duration,
        #[serde(default)]
        hosts: Vec<String>,
        mode: Mode,
        limit: Option<u64>,
        token: Secret,
    }
    #[derive(Deserialize, Debug, PartialEq)]
    #[serde(rename_all = "lowercase")]
    enum Mode {
        Open,
        Closed { reason: String },
    }
    let text = r#"{"http": {"listen": "x", "port": 80, "timeout": "1m", "mode": "open", "limit": null, "token": 5}}"#;
    let env = [
        ("APP_HTTP__LISTEN", "12345"),
        ("APP_HTTP__PORT", "8080"),
        ("APP_HTTP__TIMEOUT", "1.5"),
        ("APP_HTTP__HOSTS", r#"["a", "b"]"#),
        ("APP_HTTP__TOKEN", "0123"),
    ];
    let http: Http = parse(text, &env).unmarshal_key("http").unwrap();
    let expected = Http {
        listen: "12345".to_owned(),
        port: 8080,
        timeout: Duration::from_millis(1500),
        hosts: vec!["a".to_owned(), "b".to_owned()],
        mode: Mode::Open,
        limit: None,
        token: Secret::new("0123"),
    };
    assert_eq!(http, expected);
    let closed: Mode = parse(r#"{"m": {"closed": {"reason": "late"}}}"#, &[]).unmarshal_key("m").unwrap();
    assert_eq!(closed, Mode::Closed { reason: "late".to_owned() });

    let missing = parse("{}", &[]).unmarshal_key::<Http>("http").unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    for (json, env, expected) in [
        (r#"{"a": 1, "b": 300}"#, None, "app.json:1:15: b: expected u8, found integer `300`"),
        (
            r#"{"a": 1.5, "b": 3}"#,
            None,
            "app.json:1:7: a: expected a whole number from -9223372036854775808 to 9223372036854775807, \
             found the number 1.5",
        ),
        (r#"{"a": 1}"#, None, "app.json:1:1: missing field `b`"),
        (r#"{"a": 1, "b": 3}"#, Some(("APP_B", "x")), "env APP_B: b: expected a whole number"),
        (r#"{"a": 18446744073709551616, "b": 3}"#, None, "app.json:1:7: a: expected a whole number"),
    ] {
        #[derive(Deserialize, Debug)]
        struct Two {
            #[allow(dead_code, reason = "only its reading is of interest")]
            a: u64,
            #[allow(dead_code, reason = "only its reading is of interest")]
            b: u8,
        }
        let error = parse(json, env.as_slice()).unmarshal::<Two>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.report().to_string().starts_with(expected), "{}", error.report());
    }
}

#[test]
fn crt_09_an_override_through_a_scalar_is_told_and_the_scalar_kept() {
    let through = layers(r#"{"a": 1}"#, &[("APP_A__B", "2")]);
    let said = "env APP_A__B: a: is not an object in app.json:1:7, so nothing in it can be set";
    assert_eq!(refused(through.clone()), said);
    assert!(format!("{:?}", through.merge()).contains(r#"{\"a\":1}"#));
}

#[test]
fn crt_10_durations_are_go_text_or_seconds() {
    let config = parse(
        r#"{"a": 5, "b": "1h30m", "c": 1.5, "over": 1e300, "long": "9999999h", "neg": -1, "word": "soon"}"#,
        &[("APP_E", "5"), ("APP_F", "250ms")],
    );
    let seven = secs(7);
    for (key, expected) in [
        ("a", secs(5)),
        ("b", secs(5400)),
        ("c", Duration::from_millis(1500)),
        ("e", secs(5)),
        ("f", Duration::from_millis(250)),
        ("over", seven),
        ("long", seven),
        ("neg", seven),
        ("word", seven),
        ("missing", seven),
    ] {
        assert_eq!(config.duration(key, seven), expected, "{key}");
    }
    assert!(config.require::<Duration>("over").unwrap_err().report().to_string().contains("must be at most"));
}

#[test]
fn crt_11_a_reload_sees_new_content() {
    let dir = TempDir::new("config");
    let path = dir.write("app.json", r#"{"a": 1, "b": {"c": 1, "d": 1}}"#);
    let config = Config::load(Layers::default().file(&path)).unwrap();
    let first = config.snapshot();
    dir.write("app.json", "{");
    assert!(config.validate().is_err());
    dir.write("app.json", r#"{"a": 2, "b": {"c": 1, "e": 1}}"#);
    assert_eq!(config.validate().unwrap(), ["a", "b.d", "b.e"]);
    assert!(Arc::ptr_eq(&first, &config.snapshot()), "nothing is in force yet");
    let reload = config.reload().unwrap();
    assert_eq!((reload.generation, reload.changed), (2, vec!["a".into(), "b.d".into(), "b.e".into()]));
    assert_eq!((first.int("a", 0), config.snapshot().int("a", 0)), (1, 2));
    // Without a file there is nothing to do.
    let config = Config::load(layers("{}", &[])).unwrap();
    assert!(!config.reload().unwrap().has_changed());
}

#[test]
fn wrt_30_a_variable_is_what_its_reader_takes_it_for() {
    let config = parse(
        "{}",
        &[
            ("APP_PASSWORD", "12345"),
            ("APP_PIN", "0042"),
            ("APP_FLAG", "1"),
            ("APP_ID", "9007199254740993"),
            ("APP_NULL", "null"),
            ("APP_EMPTY", ""),
            ("APP_VERSION", "1.10"),
        ],
    );
    assert_eq!(config.string("password", "lost"), "12345");
    assert_eq!(config.require::<Secret>("password").unwrap().expose(), "12345");
    assert_eq!(config.string("pin", ""), "0042");
    assert!(config.bool("flag", false));
    assert_eq!((config.string("flag", ""), config.int("flag", 0)), ("1".to_owned(), 1));
    assert_eq!(config.int("id", 0), 9_007_199_254_740_993);
    assert_eq!(config.string("null", ""), "null");
    assert!(config.is_set("null") && config.is_set("empty"));
    assert_eq!(config.string("version", ""), "1.10");
    // So is a text that is set by hand.
    let set = Config::load(Layers::default().set("password", "12345")).unwrap().snapshot();
    assert_eq!((set.string("password", ""), set.int("password", 0)), ("12345".to_owned(), 12_345));
}

#[test]
fn wrt_31_keys_with_capitals_and_underscores_are_reached() {
    let config = parse(
        r#"{"max_conns": 1, "maxIdle": 1, "Http": {"read-timeout": 1}}"#,
        &[("APP_MAX_CONNS", "2"), ("APP_MAXIDLE", "2"), ("APP_HTTP__READ_TIMEOUT", "2")],
    );
    for key in ["max_conns", "maxIdle", "Http.read-timeout"] {
        assert_eq!(config.int(key, 0), 2, "{key}");
    }
    assert_eq!(config.root().to_json().as_object().unwrap().len(), 3);
}

#[test]
fn wrt_32_conflicts_are_told_whatever_their_order() {
    let both = [("APP_A", "1"), ("APP_A__B", "2")];
    let said = "env APP_A__B: a: is set by env APP_A, so nothing in it can be set";
    assert_eq!(refused(layers("{}", &both)), said);
    assert_eq!(refused(layers("{}", &[both[1], both[0]])), said);
    assert_eq!(
        refused(layers(r#"{"http": {"listen": "x", "port": 1}}"#, &[("APP_HTTP", "y")])),
        "env APP_HTTP: http: is an object in app.json:1:10, so it cannot be set as a whole"
    );
    assert_eq!(
        refused(Layers::default().defaults(json!({"http": {"port": 1}})).text("app.json", r#"{"http": 1}"#)),
        "app.json:1:10: http: is an object in default, so this cannot take its place"
    );
    assert_eq!(
        refused(layers(r#"{"http": {"port": 1}}"#, &[]).set("http", "1")),
        "--set: http: is an object in app.json:1:10, so this cannot take its place"
    );
}

#[test]
fn wrt_33_null_is_no_configuration() {
    for (json, found) in [("null", "null"), ("[]", "a list"), ("1", "the number 1")] {
        let said = format!("app.json:1:1: expected an object, found {found}");
        assert_eq!(refused(layers(json, &[("APP_A", "1")])), said);
    }
}

#[test]
fn wrt_34_a_torn_file_is_never_in_force() {
    let dir = TempDir::new("config");
    let whole = r#"{"a": 1, "b": {"c": [1, 2]}}"#;
    let path = dir.write("app.json", whole);
    let looked = Arc::new(AtomicU32::new(0));
    let counter = looked.clone();
    let check = move |config: &Snapshot| {
        counter.fetch_add(1, Ordering::SeqCst);
        config.require::<i64>("a").map(drop)
    };
    let config = Config::load(Layers::default().file(&path).check(check)).unwrap();
    let good = config.snapshot();
    let next = whole.replace('1', "3");
    for end in 0..next.len() {
        dir.write("app.json", &next[..end]);
        assert!(config.reload().is_err(), "{end}");
        assert!(Arc::ptr_eq(&good, &config.snapshot()));
    }
    assert_eq!(looked.load(Ordering::SeqCst), 1, "what cannot be read is not checked");
    for (text, said) in [
        ("", "app.json:1:1: is empty"),
        (" \n", "app.json:1:1: is empty"),
        ("{}", "a: is missing from the configuration"),
        ("{\"a\": \"x\",\n \"b\": 1}", "app.json:1:7: a: expected a whole number"),
    ] {
        dir.write("app.json", text);
        let error = short(dir.path(), &config.reload().unwrap_err().report().to_string());
        assert!(error.starts_with(said), "{error}");
        assert!(Arc::ptr_eq(&good, &config.snapshot()));
    }
    dir.write("app.json", next);
    assert_eq!(config.reload().unwrap().changed, ["a", "b.c"]);
    // What would be waited for, or never ends, is not opened.
    for path in ["/dev/null", "/dev/zero", dir.path().to_str().unwrap()] {
        let said = refused(Layers::default().file(path));
        assert_eq!(said, format!("{path}: is not a regular file"));
    }
}

#[test]
fn wrt_36_the_same_content_does_nothing() {
    let dir = TempDir::new("config");
    let path = dir.write("app.json", r#"{"a": 1, "b": 2}"#);
    let config = Config::load(Layers::default().file(&path)).unwrap();
    let first = config.snapshot();
    touch(&path, modified(&path) + secs(60));
    let reload = config.reload().unwrap();
    assert!(!reload.has_changed() && reload.generation == 1);
    assert!(Arc::ptr_eq(&first, &config.snapshot()), "nothing is made");

    // Another way to write it brings the places up to date, and no more.
    dir.write("app.json", "{\n\"b\": 2,\n\"a\": 1}");
    assert!(!config.reload().unwrap().has_changed());
    let now = config.snapshot();
    assert_eq!((now.generation(), now.loaded_at()), (1, first.loaded_at()));
    assert!(now.explain("a").unwrap().to_string().ends_with("app.json:3:6)"));
}

#[test]
fn wrt_37_values_are_exact_and_nobody_can_change_them() {
    let config = parse(
        r#"{"part": 1.9, "big": 9223372036854775808, "exact": 9007199254740993, "min": -9223372036854775808,
            "wraps": 9223372036.854775808, "exp": 1e3}"#,
        &[],
    );
    for (key, expected) in
        [("part", 7), ("big", 7), ("exp", 7), ("exact", 9_007_199_254_740_993), ("min", i64::MIN)]
    {
        assert_eq!(config.int(key, 7), expected, "{key}");
    }
    assert_eq!(config.require::<u64>("big").unwrap(), 9_223_372_036_854_775_808);
    assert_eq!(config.unmarshal_key::<u64>("exact").unwrap(), 9_007_199_254_740_993);
    assert!(config.unmarshal_key::<i64>("part").is_err() && config.unmarshal_key::<i64>("big").is_err());
    assert_eq!(config.duration("wraps", secs(7)), secs(7));
    // A copy is the caller's own.
    let mut copy = config.root().clone();
    copy.value = loopkeeper::tree::Value::Null;
    assert_eq!(config.int("exact", 0), 9_007_199_254_740_993);
}

#[test]
fn wrt_38_missing_and_wrong_are_told_apart() {
    let config = parse(r#"{"a": "x", "b": null, "c": true}"#, &[("APP_D", "y")]);
    let kind = |key: &str| config.require::<i64>(key).unwrap_err().kind();
    assert_eq!(
        (kind("a"), kind("b"), kind("nowhere")),
        (ErrorKind::Config, ErrorKind::NotFound, ErrorKind::NotFound)
    );
    let said = |key: &str| config.require::<bool>(key).unwrap_err().report().to_string();
    assert_eq!(said("a"), "app.json:1:7: a: expected true or false, found the string \"x\"");
    assert_eq!(said("d"), "env APP_D: d: expected true or false, found the string \"y\"");
    assert_eq!(said("nowhere"), "nowhere: is missing from the configuration");
    assert_eq!(config.optional::<i64>("nowhere").unwrap(), None);
    assert!(config.optional::<i64>("a").is_err());
    assert!(config.require::<bool>("c").unwrap());
}

#[test]
fn every_value_knows_its_layer_and_its_place() {
    let layers = Layers::default()
        .defaults(json!({"a": 1, "b": {"c": 1, "d": 1, "e": [1]}, "x.y": 1}))
        .text("app.json", "{\"b\": {\"c\": 2,\n \"d\": 2}}")
        .environment("APP_", vars(&[("APP_B__D", "3")]))
        .set("b.e", "[4]");
    let config = Config::load(layers).unwrap().snapshot();
    let all: Vec<String> = config.explain_all().iter().map(|one| format!("{} {one}", one.layer)).collect();
    assert_eq!(
        all,
        [
            "default a = 1 (default)",
            "file b.c = 2 (app.json:1:13)",
            "environment b.d = \"3\" (env APP_B__D)",
            "override b.e = [4] (--set)",
            "default \"x.y\" = 1 (default)",
        ]
    );
    assert_eq!(config.explain("b.d").unwrap().layer, Layer::Environment);
    assert_eq!(config.explain("\"x.y\"").unwrap().key, "\"x.y\"");
    assert_eq!(config.explain("b").unwrap().place.to_string(), "app.json:1:7");
    assert!(config.explain("nowhere").is_none());
    let json = serde_json::to_string(&config.explain("b.c").unwrap()).unwrap();
    assert_eq!(json, r#"{"key":"b.c","value":2,"layer":"file","place":"app.json:1:13"}"#);
}

#[test]
fn secrets_come_from_files_and_are_shown_nowhere() {
    let dir = TempDir::new("secrets");
    dir.write("run/password", "hunter2\n");
    dir.write("other", "hunter3\r\n");
    let path = dir.write(
        "app.json",
        r#"{"db": {"user": "me", "password_file": "run/password"}, "dsn": {"x": "hunter4"}}"#,
    );
    let layers = Layers::default().file(&path).secret("db.password").secret("dsn");
    let config = Config::load(layers.clone()).unwrap();
    let now = config.snapshot();
    assert_eq!(now.require::<Secret>("db.password").unwrap().expose(), "hunter2");
    assert!(!now.is_set("db.password_file"), "a strict reader sees one key only");
    let shown = short(
        dir.path(),
        &format!(
            "{now:?} {config:?} {layers:?} {:?} {:?} {}",
            layers.merge(),
            now.explain_all(),
            now.redacted()
        ),
    );
    assert!(!shown.contains("hunter"), "{shown}");
    assert_eq!(now.redacted(), json!({"db": {"user": "me", "password": "<secret>"}, "dsn": "<secret>"}));
    let explained = short(dir.path(), &now.explain("db.password").unwrap().to_string());
    assert_eq!(explained, "db.password = \"<secret>\" (run/password)");
    let errors = [
        now.require::<i64>("db.password").unwrap_err(),
        now.unmarshal_key::<u8>("dsn.x").unwrap_err(),
        now.unmarshal_key::<Vec<u8>>("dsn").unwrap_err(),
    ];
    for error in errors {
        assert!(!format!("{} {error:?}", error.report()).contains("hunter"), "{}", error.report());
    }

    // A new content of the secret's file is an edit like any other.
    dir.write("run/password", "hunter5");
    assert_eq!(config.reload().unwrap().changed, ["db.password"]);
    dir.write("run/password", "\n");
    let error = short(dir.path(), &config.reload().unwrap_err().report().to_string());
    assert_eq!(error, "app.json:1:40: db.password_file: run/password: is empty");
    assert_eq!(config.snapshot().require::<Secret>("db.password").unwrap().expose(), "hunter5");

    // The later layer wins; two in one layer are in each other's way.
    let other = dir.path().join("other");
    let by_file = vars(&[("APP_DB__PASSWORD_FILE", other.to_str().unwrap())]);
    dir.write("run/password", "hunter2\n");
    let now = Config::load(layers.clone().environment("APP", by_file.clone())).unwrap().snapshot();
    assert_eq!(now.string("db.password", ""), "hunter3");
    let by_value = vars(&[("APP_DB__PASSWORD", "hunter6")]);
    let now = Config::load(layers.clone().environment("APP", by_value.clone())).unwrap().snapshot();
    assert_eq!(now.string("db.password", ""), "hunter6");
    let said = refused(layers.environment("APP", by_file.into_iter().chain(by_value)));
    assert_eq!(
        said,
        "env APP_DB__PASSWORD_FILE: db.password_file: is given twice, as db.password at env APP_DB__PASSWORD, too"
    );
}

#[test]
fn a_check_refuses_with_everything_it_found() {
    let dir = TempDir::new("config");
    let path = dir.write("app.json", r#"{"n": 1, "token": "a"}"#);
    let strict = |config: &Snapshot| {
        config
            .decode(|o| {
                let n = o.u32("n").at_most(9).required();
                let _ = o.u32("token").optional();
                n.take(o.done()?)
            })
            .map(drop)
    };
    dir.write("app.json", r#"{"n": 10, "token": "hunter2", "m": 1}"#);
    let layers = Layers::default().file(&path).check(strict).check(|_| Err::<(), _>("the moon is full"));
    assert_eq!(
        short(dir.path(), &refused(layers)),
        "app.json:1:7: n: must be at most 9, found 10\n\
         app.json:1:20: token: expected a whole number from 0 to 4294967295\n\
         app.json:1:31: unknown field \"m\", expected \"n\" or \"token\"\n\
         check: the moon is full"
    );
    let error =
        Config::load(Layers::default().check(|_| -> Result<(), &str> { panic!("boom") })).unwrap_err();
    assert_eq!((error.kind(), error.to_string()), (ErrorKind::Panicked, "panicked: boom".to_owned()));
}

#[test]
fn a_reader_sees_one_whole_configuration() {
    let dir = TempDir::new("config");
    let text = |n: u32| format!(r#"{{"a": {n}, "b": {n}}}"#);
    let path = dir.write("app.json", text(0));
    let config = Config::load(Layers::default().file(&path)).unwrap();
    let over = AtomicBool::new(false);
    #[allow(clippy::disallowed_methods, reason = "readers beside a writer, joined at the end of the scope")]
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut last = 0;
                while !over.load(Ordering::SeqCst) {
                    let now = config.snapshot();
                    let (a, b) = (now.int("a", -1), now.int("b", -2));
                    assert!(a == b && a >= last, "{a} {b} {last}");
                    last = a;
                }
            });
        }
        for n in 1..=200 {
            dir.write("next.json", text(n));
            fs::rename(dir.path().join("next.json"), &path).unwrap();
            assert_eq!(config.reload().unwrap().generation, u64::from(n) + 1);
        }
        over.store(true, Ordering::SeqCst);
    });
}

#[test]
fn an_older_reading_never_replaces_a_newer_one() {
    let dir = TempDir::new("config");
    let path = dir.write("app.json", r#"{"n": 1}"#);
    let (begun, seen) = mpsc::channel();
    let (go, held) = mpsc::channel();
    let held = Mutex::new(held);
    let check = move |config: &Snapshot| {
        if config.int("n", 0) == 2 {
            begun.send(()).unwrap();
            held.lock().unwrap().recv().unwrap();
        }
        Ok::<(), &str>(())
    };
    let config = Config::load(Layers::default().file(&path).check(check)).unwrap();
    dir.write("app.json", r#"{"n": 2}"#);
    #[allow(clippy::disallowed_methods, reason = "a reload that hangs, joined at the end of the scope")]
    thread::scope(|scope| {
        let slow = scope.spawn(|| config.reload().unwrap());
        seen.recv().unwrap();
        dir.write("app.json", r#"{"n": 3}"#);
        assert_eq!(config.reload().unwrap().changed, ["n"], "nobody waits for the one that hangs");
        go.send(()).unwrap();
        assert!(!slow.join().unwrap().has_changed());
    });
    assert_eq!((config.snapshot().int("n", 0), config.snapshot().generation()), (3, 2));
}

fn modified(path: &Path) -> SystemTime {
    fs::metadata(path).unwrap().modified().unwrap()
}

fn touch(path: &Path, time: SystemTime) {
    File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

// The watcher.

/// Runs a scenario on a manual clock with no other watcher beside it, and
/// sees that it leaves no thread.
fn watching(test: impl FnOnce(&ManualClock, &Env, &TempDir)) {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let clock = ManualClock::default();
    let dir = TempDir::new("watched");
    test(&clock, &Env::manual(&clock).unwrap(), &dir);
    eventually("all threads to end", || threads_named("cfg/") + threads_named("lk/") == 0);
}

/// The events so far; those of a configuration with their keys or their error.
fn events(subscription: &Subscription) -> Vec<String> {
    let deliveries = std::iter::from_fn(|| subscription.try_recv());
    deliveries
        .map(|delivery| match &delivery.event.what {
            EventKind::ConfigReloaded { generation, changed, .. } => {
                format!("reloaded {generation} {}", changed.join(" "))
            }
            EventKind::ConfigRejected { error } => format!("rejected {}", error.report()),
            what => what.as_str().to_owned(),
        })
        .collect()
}

fn load(env: &Env, path: &Path) -> Config {
    Config::load_in(env, Layers::default().file(path)).unwrap()
}

type Seen = Arc<Mutex<Vec<String>>>;

/// Notes `key: old -> new` for each change of a key.
fn noting(config: ConfigWatcherConfig, keys: &[&str]) -> (Seen, ConfigWatcherConfig) {
    let seen = Seen::default();
    let config = keys.iter().fold(config, |config, key| {
        let seen = seen.clone();
        config.on_change(*key, move |change| {
            let show = |node: Option<&loopkeeper::tree::Node>| {
                node.map_or("-".into(), |node| node.to_json().to_string())
            };
            let line =
                format!("{}: {} -> {}", change.key(), show(change.old_value()), show(change.new_value()));
            seen.lock().unwrap().push(line);
        })
    });
    (seen, config)
}

fn take(seen: &Seen) -> Vec<String> {
    std::mem::take(&mut *seen.lock().unwrap())
}

#[test]
fn crt_12_the_watcher_tells_a_change_and_leaves_no_thread() {
    watching(|clock, env, dir| {
        let path = dir.write("app.json", r#"{"http": {"listen": "a", "port": 1}, "n": 1}"#);
        let config = load(env, &path);
        let (seen, watched) =
            noting(ConfigWatcherConfig::new(&config), &["http.listen", "http", "n", "gone"]);
        let watcher = ConfigWatcher::start_in(env, watched).unwrap();
        let subscription = watcher.subscribe();
        clock.settle();
        assert_eq!(threads_named("cfg/config"), 1);
        assert_eq!(watcher.status().health, Health::Ready);
        dir.write("app.json", r#"{"http": {"listen": "b", "port": 1}, "n": 1}"#);
        clock.run_for(secs(2));
        assert_eq!(
            take(&seen),
            [
                "http.listen: \"a\" -> \"b\"",
                "http: {\"listen\":\"a\",\"port\":1} -> {\"listen\":\"b\",\"port\":1}"
            ]
        );
        assert_eq!(config.snapshot().string("http.listen", ""), "b");
        assert_eq!(events(&subscription).last().unwrap(), "reloaded 2 http.listen");
        // A key that goes and comes is told, too.
        dir.write("app.json", r#"{"http": {}}"#);
        clock.run_for(secs(2));
        assert_eq!(take(&seen)[0], "http.listen: \"b\" -> -");
        assert!(watcher.stop(secs(1)).is_clean());
        eventually("the thread to end", || threads_named("cfg/") == 0);
        dir.write("app.json", r#"{"http": {"listen": "c"}}"#);
        clock.run_for(secs(10));
        assert_eq!(take(&seen), [""; 0]);
        // Started again, it tells what happened meanwhile.
        watcher.restart().unwrap();
        clock.settle();
        assert_eq!(take(&seen)[0], "http.listen: - -> \"c\"");
    });
}

#[test]
fn wrt_35_an_edit_between_load_and_start_is_seen() {
    watching(|clock, env, dir| {
        let path = dir.write("app.json", r#"{"n": 1}"#);
        let config = load(env, &path);
        dir.write("app.json", r#"{"n": 2}"#);
        let (seen, watched) = noting(ConfigWatcherConfig::new(&config), &["n"]);
        let _watcher = ConfigWatcher::start_in(env, watched).unwrap();
        clock.settle();
        assert_eq!((config.snapshot().int("n", 0), take(&seen)), (2, vec!["n: 1 -> 2".to_owned()]));
    });
}

#[test]
fn the_time_between_looks_may_change_while_it_runs() {
    watching(|clock, env, dir| {
        let path = dir.write("app.json", r#"{"n": 1}"#);
        let config = load(env, &path);
        let watcher = ConfigWatcher::start_in(env, ConfigWatcherConfig::new(&config)).unwrap();
        clock.settle();
        let error = watcher.set_interval(Duration::ZERO).unwrap_err();
        assert_eq!(error.to_string(), "interval: must be more than zero");
        watcher.set_interval(secs(60)).unwrap();
        clock.settle();
        dir.write("app.json", r#"{"n": 2}"#);
        clock.run_for(secs(59));
        assert_eq!(config.snapshot().int("n", 0), 1);
        clock.run_for(secs(1));
        assert_eq!(config.snapshot().int("n", 0), 2);
    });
}

#[test]
fn what_is_read_at_the_start_only_is_told_until_it_is_as_then() {
    watching(|clock, env, dir| {
        let path = dir.write("app.json", r#"{"http": {"listen": "a"}, "n": 1}"#);
        let config = load(env, &path);
        let watched = ConfigWatcherConfig::new(&config).read_at_start(["http.listen"]);
        let watcher = ConfigWatcher::start_in(env, watched).unwrap();
        let subscription = watcher.subscribe();
        for (json, expected) in [
            (r#"{"http": {"listen": "b"}, "n": 1}"#, &["http.listen"][..]),
            (r#"{"http": {"listen": "b"}, "n": 2}"#, &["http.listen"]),
            (r#"{"http": {"listen": "a"}, "n": 2}"#, &[]),
        ] {
            dir.write("app.json", json);
            clock.run_for(secs(2));
            let told = std::iter::from_fn(|| subscription.try_recv()).find_map(|d| match &d.event.what {
                EventKind::ConfigReloaded { needs_restart, .. } => Some(needs_restart.to_vec()),
                _ => None,
            });
            assert_eq!(told.unwrap(), expected, "{json}");
            // Whoever lists all loops sees it, too.
            let listed = env.statuses().remove(0).config.unwrap();
            assert_eq!(listed.needs_restart, expected, "{json}");
            assert_eq!(watcher.status().config.unwrap().needs_restart, expected);
        }
    });
}

#[test]
fn without_a_file_there_is_no_look_until_asked_for() {
    watching(|clock, env, dir| {
        let token = dir.path().join("token");
        let layers = Layers::default().set("n", "1").secret("t");
        let config = Config::load_in(env, layers).unwrap();
        let watcher = ConfigWatcher::start_in(env, ConfigWatcherConfig::new(&config)).unwrap();
        clock.run_for(secs(3600));
        assert_eq!((watcher.status().runs, watcher.status().next_run), (1, None));
        watcher.trigger();
        clock.settle();
        assert_eq!(watcher.status().runs, 2);
        assert!(watcher.stop(secs(1)).is_clean());

        // A secret in a file of its own is one that can change.
        dir.write("token", "one");
        let layers = Layers::default().set_text("--set", "t_file", token.to_str().unwrap()).secret("t");
        let config = Config::load_in(env, layers).unwrap();
        let _watcher = ConfigWatcher::start_in(env, ConfigWatcherConfig::new(&config)).unwrap();
        clock.settle();
        dir.write("token", "two");
        clock.run_for(secs(2));
        assert_eq!(config.snapshot().string("t", ""), "two");
    });
}

#[test]
fn wrt_35_every_way_of_replacing_a_file_is_seen() {
    watching(|clock, env, dir| {
        // As Kubernetes mounts a volume: a link to a file behind a linked folder.
        dir.write("v1/app.json", r#"{"n": 1}"#);
        dir.write("v2/app.json", r#"{"n": 2}"#);
        symlink("v1", dir.path().join("..data")).unwrap();
        let path = dir.path().join("app.json");
        symlink("..data/app.json", &path).unwrap();
        let config = load(env, &path);
        let watcher = ConfigWatcher::start_in(env, ConfigWatcherConfig::new(&config)).unwrap();
        let n_after_a_look = || {
            clock.run_for(secs(2));
            config.snapshot().int("n", 0)
        };
        assert_eq!(n_after_a_look(), 1);
        symlink("v2", dir.path().join("..data_tmp")).unwrap();
        fs::rename(dir.path().join("..data_tmp"), dir.path().join("..data")).unwrap();
        assert_eq!(n_after_a_look(), 2);

        // A rename over the name, as editors save.
        dir.write("next", r#"{"n": 3}"#);
        fs::rename(dir.path().join("next"), &path).unwrap();
        assert_eq!(n_after_a_look(), 3);

        // Another file in its place of the same size, older than the first:
        // what a mount over it looks like.
        let before = modified(&path);
        let other = dir.write("other", r#"{"n": 4}"#);
        touch(&other, before - secs(3600));
        fs::remove_file(&path).unwrap();
        fs::rename(&other, &path).unwrap();
        assert_eq!(n_after_a_look(), 4);

        // The same size at the same moment, in place.
        let before = modified(&path);
        dir.write("app.json", r#"{"n": 5}"#);
        touch(&path, before);
        assert_eq!(n_after_a_look(), 5);
        assert!(watcher.status().config.unwrap().applied);
    });
}

#[test]
fn wrt_35_what_failed_for_a_passing_reason_is_tried_again() {
    watching(|clock, env, dir| {
        let path = dir.write("app.json", r#"{"n": 1}"#);
        let (tries, fails) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(true)));
        let check = {
            let (tries, fails) = (tries.clone(), fails.clone());
            move |config: &Snapshot| {
                if config.int("n", 0) == 1 {
                    return Ok(());
                }
                tries.fetch_add(1, Ordering::SeqCst);
                if fails.load(Ordering::SeqCst) { Err("the store is down") } else { Ok(()) }
            }
        };
        let config = Config::load_in(env, Layers::default().file(&path).check(check)).unwrap();
        let watcher = ConfigWatcher::start_in(env, ConfigWatcherConfig::new(&config)).unwrap();
        clock.settle();
        let subscription = watcher.subscribe();
        dir.write("app.json", r#"{"n": 2}"#);
        clock.run_for(secs(60));
        assert_eq!(events(&subscription), ["rejected the store is down"], "told once");
        let status = watcher.status();
        assert_eq!((status.health, status.ready, status.critical), (Health::Degraded, false, false));
        assert_eq!(status.last_error.as_deref(), Some("the store is down"));
        let n = tries.load(Ordering::SeqCst);
        assert!((4..=8).contains(&n), "tried {n} times in a minute");
        // Nobody touches the file.
        fails.store(false, Ordering::SeqCst);
        clock.run_for(secs(60));
        assert_eq!(config.snapshot().int("n", 0), 2);
        assert_eq!(events(&subscription), ["reloaded 2 n", "ready"]);
        assert!(watcher.last_error().is_none());
    });
}

#[test]
fn wrt_35_a_file_that_vanished_is_told() {
    watching(|clock, env, dir| {
        let path = dir.write("app.json", r#"{"n": 1}"#);
        let config = load(env, &path);
        let watcher = ConfigWatcher::start_in(env, ConfigWatcherConfig::new(&config)).unwrap();
        clock.settle();
        let subscription = watcher.subscribe();
        fs::remove_file(&path).unwrap();
        clock.run_for(secs(20));
        let said =
            format!("rejected {}: cannot be read: No such file or directory (os error 2)", path.display());
        assert_eq!(events(&subscription), [said]);
        let status = watcher.status().config.unwrap();
        assert_eq!((status.hash_on_disk, status.applied, status.generation), (None, false, 1));
        assert_eq!(config.snapshot().int("n", 0), 1);
        dir.write("app.json", r#"{"n": 1}"#);
        clock.run_for(secs(2));
        assert_eq!(events(&subscription), ["ready"]);
    });
}

#[test]
fn wrt_34_a_file_that_is_just_written_is_no_alarm() {
    watching(|clock, env, dir| {
        let path = dir.write("app.json", r#"{"n": 1}"#);
        let config = load(env, &path);
        let watcher = ConfigWatcher::start_in(env, ConfigWatcherConfig::new(&config)).unwrap();
        clock.settle();
        let subscription = watcher.subscribe();
        dir.write("app.json", "");
        clock.run_for(secs(2));
        assert_eq!(watcher.status().consecutive_failures, 1, "seen at once");
        dir.write("app.json", r#"{"n": 2}"#);
        clock.run_for(Duration::from_millis(250));
        assert_eq!(events(&subscription), ["reloaded 2 n"]);
        // One that stays torn is told.
        dir.write("app.json", "{\"n\": ");
        clock.run_for(secs(4));
        let said = format!("rejected {}:1:6: EOF while parsing a value", path.display());
        assert_eq!(events(&subscription), [said]);
        assert_eq!(config.snapshot().int("n", 0), 2);
    });
}

#[test]
fn wrt_36_a_touch_calls_nobody() {
    watching(|clock, env, dir| {
        let path = dir.write("app.json", r#"{"n": 1}"#);
        let checks = Arc::new(AtomicU32::new(0));
        let counted = checks.clone();
        let layers = Layers::default().file(&path).check(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
            Ok::<(), &str>(())
        });
        let config = Config::load_in(env, layers).unwrap();
        let (seen, watched) = noting(ConfigWatcherConfig::new(&config), &[""]);
        let watcher = ConfigWatcher::start_in(env, watched).unwrap();
        clock.settle();
        let subscription = watcher.subscribe();
        touch(&path, modified(&path) + secs(60));
        clock.run_for(secs(10));
        assert_eq!(checks.load(Ordering::SeqCst), 1, "the same bytes are not even read as JSON");
        // The same values in another form.
        dir.write("app.json", "{ \"n\": 1 }");
        clock.run_for(secs(10));
        assert!(take(&seen).is_empty() && events(&subscription).is_empty());
        let status = watcher.status().config.unwrap();
        assert_eq!((config.snapshot().generation(), status.applied), (1, true));
    });
}

#[cfg(feature = "test-util")]
#[test]
fn wrt_36_a_slow_callback_holds_up_no_look() {
    watching(|clock, env, dir| {
        let path = dir.write("app.json", r#"{"n": 1, "m": 1}"#);
        let config = load(env, &path);
        let (gate, calls) = (loopkeeper::testing::Gate::default(), Seen::default());
        let watched = {
            let (gate, clock, calls) = (gate.clone(), clock.clone(), calls.clone());
            ConfigWatcherConfig::new(&config).on_reload(move |change| {
                calls.lock().unwrap().push(change.after().changes_since(change.before()).join(" "));
                gate.pass(&clock);
            })
        };
        let watcher = ConfigWatcher::start_in(env, watched).unwrap();
        clock.settle();
        dir.write("app.json", r#"{"n": 2, "m": 1}"#);
        clock.run_for(secs(2));
        assert_eq!((take(&calls), gate.waiting()), (vec!["n".to_owned()], 1));
        for n in [3, 4] {
            dir.write("app.json", format!(r#"{{"n": {n}, "m": {n}}}"#));
            clock.run_for(secs(2));
            assert_eq!(config.snapshot().int("n", 0), n);
        }
        assert!(take(&calls).is_empty());
        gate.open();
        clock.settle();
        assert_eq!(take(&calls), ["m n"], "the sum of what came meanwhile");
        assert!(watcher.stop(secs(1)).is_clean());
    });
}

#[test]
fn wrt_36_a_callback_may_stop_its_watcher() {
    watching(|clock, env, dir| {
        let path = dir.write("app.json", r#"{"n": 1}"#);
        let config = load(env, &path);
        let watcher = Arc::new(ConfigWatcher::start_in(env, ConfigWatcherConfig::new(&config)).unwrap());
        let stopped = Arc::new(AtomicBool::new(false));
        let guard = {
            let (weak, stopped) = (Arc::downgrade(&watcher), stopped.clone());
            watcher.on_change("n", move |_| {
                let report = weak.upgrade().map(|watcher| watcher.stop(secs(1)));
                let ended = report.is_some_and(|report| report.stragglers().is_empty());
                stopped.store(ended, Ordering::SeqCst);
            })
        };
        clock.settle();
        dir.write("app.json", r#"{"n": 2}"#);
        clock.run_for(secs(2));
        eventually("the stop", || stopped.load(Ordering::SeqCst));
        drop(guard);
    });
}

#[test]
fn a_reload_by_hand_is_told_at_once_and_guards_end_subscriptions() {
    watching(|clock, env, dir| {
        let path = dir.write("app.json", r#"{"n": 1}"#);
        let config = load(env, &path);
        let watcher = ConfigWatcher::start_in(env, ConfigWatcherConfig::new(&config)).unwrap();
        clock.settle();
        let subscription = watcher.subscribe();
        let calls = Arc::new(AtomicU32::new(0));
        let (counted, panics) = (calls.clone(), watcher.on_change("n", |_| panic!("a callback's own")));
        let guard = watcher.on_change("n", move |_| _ = counted.fetch_add(1, Ordering::SeqCst));
        dir.write("app.json", r#"{"n": 2}"#);
        assert!(config.reload().unwrap().has_changed());
        clock.settle();
        assert_eq!(events(&subscription), ["reloaded 2 n"]);
        assert_eq!(calls.load(Ordering::SeqCst), 1, "a panic beside it is no matter");
        drop((guard, panics));
        dir.write("app.json", r#"{"n": 3}"#);
        clock.run_for(secs(2));
        assert_eq!((events(&subscription).len(), calls.load(Ordering::SeqCst)), (1, 1));
    });
}

#[test]
fn events_and_status_hold_keys_and_no_values() {
    watching(|clock, env, dir| {
        let path = dir.write("app.json", r#"{"user": "u", "n": 1}"#);
        #[derive(Deserialize)]
        struct App {
            #[allow(dead_code, reason = "only its reading is of interest")]
            n: u32,
        }
        // Two that refuse: one by a getter, one by serde.
        let getter = |config: &Snapshot| config.require::<u32>("n").map(drop);
        let serde = |config: &Snapshot| config.unmarshal::<App>().map(drop);
        let layers = Layers::default().file(&path).check(getter).check(serde);
        let config = Config::load_in(env, layers).unwrap();
        let watcher = ConfigWatcher::start_in(env, ConfigWatcherConfig::new(&config)).unwrap();
        clock.settle();
        let subscription = watcher.subscribe();
        dir.write("app.json", r#"{"user": "hunter2", "n": 2}"#);
        clock.run_for(secs(2));
        dir.write("app.json", r#"{"user": "hunter3", "n": "hunter4"}"#);
        clock.run_for(secs(4));
        let told = events(&subscription);
        let place = format!("{}:1:26: n: expected a whole number from", path.display());
        let rejected =
            format!("rejected {place} 0 to 4294967295; {place} -9223372036854775808 to 9223372036854775807");
        assert_eq!(told, ["reloaded 2 n user", &rejected]);
        let all = env
            .events_after(0, 100)
            .events
            .iter()
            .map(|event| format!("{event} {event:?}"))
            .collect::<String>();
        let status = serde_json::to_string(&watcher.status()).unwrap();
        assert!(!all.contains("hunter") && !status.contains("hunter"), "{all} {status}");
        // The caller of a reload is told everything.
        assert!(config.reload().unwrap_err().report().to_string().contains("hunter4"));
    });
}

#[test]
fn status_shows_what_is_in_force_and_what_is_on_disk() {
    watching(|clock, env, dir| {
        let path = dir.write("app.json", r#"{"n": 1}"#);
        let config = load(env, &path);
        let watcher = ConfigWatcher::start_in(env, ConfigWatcherConfig::new(&config).name("app")).unwrap();
        clock.run_for(secs(10));
        let status = watcher.status();
        assert_eq!((status.kind.as_str(), status.name.as_str()), ("config", "app"));
        let first = status.config.unwrap();
        assert_eq!(first.source.as_deref(), path.to_str());
        assert_eq!((first.age, first.generation, first.applied), (secs(10), 1, true));
        assert_eq!(first.hash_on_disk.as_ref(), Some(&first.hash));
        dir.write("app.json", "{");
        clock.run_for(secs(10));
        let second = watcher.status().config.unwrap();
        assert_eq!((second.hash.clone(), second.age, second.applied), (first.hash.clone(), secs(20), false));
        assert_ne!(second.hash_on_disk.unwrap(), first.hash);
        assert!(second.on_disk_since.unwrap() > first.on_disk_since.unwrap());
        let json = serde_json::to_value(watcher.status()).unwrap();
        assert_eq!(json["config"]["hash"], json!(first.hash));
        assert_eq!(json["config"]["age"], json!(20.0));
    });
}

#[test]
fn the_metric_says_whether_the_last_reload_was_good() {
    watching(|clock, _, dir| {
        let values = Arc::new(Mutex::new(Vec::new()));
        let observer = {
            let values = values.clone();
            Observer {
                gauge: Some(Arc::new(move |name, _| {
                    let (name, values) = (name.to_owned(), values.clone());
                    Gauge::function(move |value| {
                        if name == "config_last_reload_successful" {
                            values.lock().unwrap().push(value);
                        }
                    })
                })),
                ..Observer::default()
            }
        };
        let env = Env::with(EnvConfig::default().clock(clock).observer(observer).spread(false)).unwrap();
        let path = dir.write("app.json", "{}");
        let config = load(&env, &path);
        let _watcher = ConfigWatcher::start_in(&env, ConfigWatcherConfig::new(&config)).unwrap();
        assert_eq!(values.lock().unwrap()[0], 1.0);
        clock.settle();
        dir.write("app.json", "");
        clock.run_for(secs(2));
        assert_eq!(values.lock().unwrap().last(), Some(&0.0));
        dir.write("app.json", "{}");
        clock.run_for(secs(10));
        assert_eq!(*values.lock().unwrap(), [1.0, 0.0, 1.0], "set when it changes");
    });
}

#[test]
fn a_watcher_is_a_component_and_refuses_what_cannot_be_meant() {
    watching(|clock, env, dir| {
        let config = load(env, &dir.write("app.json", "{}"));
        for (watched, said) in [
            (ConfigWatcherConfig::new(&config).interval(Duration::ZERO), "interval: must be more than zero"),
            (
                ConfigWatcherConfig::new(&config).look_timeout(Duration::ZERO),
                "look_timeout: must be more than zero",
            ),
            (ConfigWatcherConfig::new(&config).name("a b"), "name: "),
        ] {
            let error = ConfigWatcher::new_in(env, watched).unwrap_err();
            assert!(
                error.kind() == ErrorKind::InvalidArgument && error.to_string().starts_with(said),
                "{error}"
            );
        }
        let mut watcher = ConfigWatcher::new_in(env, ConfigWatcherConfig::new(&config)).unwrap();
        assert_eq!((threads_named("cfg/"), watcher.status().health), (0, Health::Unknown));
        let cx = Context::detached(env, "host".parse().unwrap(), secs(5));
        for _ in 0..2 {
            Component::start(&mut watcher, &cx).unwrap();
            clock.settle();
            assert_eq!(watcher.status().health, Health::Ready);
            Component::stop(&mut watcher, &cx).unwrap();
            assert_eq!(watcher.status().health, Health::Unknown);
        }
    });
}

#[test]
fn a_secret_that_comes_after_the_file_that_names_it_is_seen() {
    watching(|clock, env, dir| {
        let path = dir.write("app.json", r#"{"db": {"user": "me"}}"#);
        let config = Config::load_in(env, Layers::default().file(&path).secret("db.password")).unwrap();
        let watcher = ConfigWatcher::start_in(env, ConfigWatcherConfig::new(&config)).unwrap();
        clock.settle();
        let subscription = watcher.subscribe();
        dir.write("app.json", r#"{"db": {"user": "me", "password_file": "password"}}"#);
        clock.run_for(secs(300));
        let place = dir.path().display();
        let said = format!(
            "rejected {place}/app.json:1:40: db.password_file: {place}/password: cannot be read: \
             No such file or directory (os error 2)"
        );
        assert_eq!(events(&subscription), [said]);
        dir.write("password", "hunter2\n");
        clock.run_for(secs(2));
        assert_eq!(events(&subscription), ["reloaded 2 db.password", "ready"]);
        // An edit that is taken back is no edit.
        dir.write("app.json", r#"{"db": {"user": "me", "password_file": "other"}}"#);
        clock.run_for(secs(20));
        assert_eq!(events(&subscription).len(), 1);
        dir.write("app.json", r#"{"db": {"user": "me", "password_file": "password"}}"#);
        clock.run_for(secs(2));
        assert_eq!(
            (events(&subscription), watcher.status().config.unwrap().applied),
            (vec!["ready".into()], true)
        );
    });
}

#[test]
fn the_deepest_file_fits_the_watchers_stack() {
    watching(|clock, env, dir| {
        let nest = |n: u32| format!("{}{n}{}", "{\"a\":".repeat(31), "}".repeat(31));
        let path = dir.write("app.json", nest(1));
        let check = |config: &Snapshot| config.unmarshal::<serde_json::Value>().map(drop);
        let config = Config::load_in(env, Layers::default().file(&path).check(check)).unwrap();
        let watcher = ConfigWatcher::start_in(env, ConfigWatcherConfig::new(&config)).unwrap();
        clock.settle();
        let subscription = watcher.subscribe();
        dir.write("app.json", nest(2));
        clock.run_for(secs(2));
        assert_eq!(events(&subscription).len(), 1);
        assert_eq!(config.snapshot().generation(), 2);
    });
}

#[cfg(feature = "test-util")]
#[test]
fn a_check_that_hangs_is_told_and_its_late_answer_changes_nothing() {
    watching(|clock, env, dir| {
        let path = dir.write("app.json", r#"{"n": 1}"#);
        let gate = loopkeeper::testing::Gate::default();
        let check = {
            let (gate, clock) = (gate.clone(), clock.clone());
            move |config: &Snapshot| {
                if config.int("n", 0) == 2 {
                    gate.pass(&clock);
                }
                Ok::<(), &str>(())
            }
        };
        let config = Config::load_in(env, Layers::default().file(&path).check(check)).unwrap();
        let watcher = ConfigWatcher::start_in(env, ConfigWatcherConfig::new(&config)).unwrap();
        clock.settle();
        let subscription = watcher.subscribe();
        dir.write("app.json", r#"{"n": 2}"#);
        clock.run_for(secs(12));
        assert_eq!(events(&subscription), ["timed_out"]);
        assert_eq!(watcher.status().health, Health::Degraded);
        assert_eq!(watcher.status().last_error.unwrap(), "no look was finished within 10s");
        gate.release_waiting();
        clock.settle();
        assert_eq!(events(&subscription), ["late"]);
        assert_eq!(config.snapshot().int("n", 0), 1, "too late");
        clock.run_for(secs(2));
        assert_eq!(gate.waiting(), 1, "tried again");
        // A reader and a reload by hand of something else are not held up.
        dir.write("app.json", r#"{"n": 3}"#);
        assert_eq!(config.reload().unwrap().changed, ["n"]);
        dir.write("app.json", r#"{"n": 2}"#);
        gate.release_waiting();
        clock.settle();
        assert_eq!(config.snapshot().int("n", 0), 3, "too late");
        gate.open();
        clock.run_for(secs(60));
        assert_eq!(config.snapshot().int("n", 0), 2);
    });
}
