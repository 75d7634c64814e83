//! Configurations that somebody got wrong, or wrote to break something:
//! nothing panics, nothing is half in force, and no secret is shown.

#![allow(clippy::unwrap_used, reason = "test code: a file that cannot be written is a failed test")]

mod support;

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use loopkeeper::config::{ChangeGuard, Config, ConfigWatcher, ConfigWatcherConfig, Layers, Secret, Snapshot};
use loopkeeper::{Env, ErrorKind, ManualClock};
use serde::{Deserialize, Serialize};
use serde_json::json;
use support::TempDir;

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn vars(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    pairs.iter().map(|(name, value)| (name.into(), value.into())).collect()
}

fn layers(json: &str, variables: &[(&str, &str)]) -> Layers {
    Layers::default().text("app.json", json).environment("APP", vars(variables))
}

fn parse(json: &str, variables: &[(&str, &str)]) -> Arc<Snapshot> {
    Config::load(layers(json, variables)).unwrap().snapshot()
}

fn refused(layers: Layers) -> String {
    Config::load(layers).unwrap_err().report().to_string()
}

#[test]
fn without_a_prefix_no_variable_is_meant() {
    let layers =
        Layers::default().environment("", vars(&[("_", "/usr/bin/env"), ("_A", "1"), ("HOME", "/")]));
    assert_eq!(Config::load(layers).unwrap().snapshot().root().to_json(), json!({}));
}

#[test]
fn wrt_31_keys_that_begin_or_end_with_underscores_are_reached() {
    let config = parse(
        r#"{"__typename": 1, "a_": {"b": 1}, "c": {"_d": 1}, "e__f": {"g__h": 1}}"#,
        &[("APP___TYPENAME", "2"), ("APP_A___B", "2"), ("APP_C___D", "2"), ("APP_E__F__G__H", "2")],
    );
    for key in ["__typename", "a_.b", "c._d", "e__f.g__h"] {
        assert_eq!(config.int(key, 0), 2, "{key}");
    }
    let twins = r#"{"a_": {"b": 1}, "a": {"_b": 1}}"#;
    assert_eq!(
        refused(layers(twins, &[("APP_A___B", "2")])),
        "env APP_A___B: may mean a_.b (app.json:1:14) or a._b (app.json:1:30)"
    );
}

#[test]
fn wrt_31_a_secret_that_stands_nowhere_yet_is_a_known_key() {
    let dir = TempDir::new("hostile");
    let file = dir.write("key", "hunter3\n");
    let secret = |variables: &[(&str, &str)]| {
        let layers = layers("{}", variables).secret("db.apiDsn").secret("max-dsn");
        Config::load(layers).unwrap().snapshot()
    };
    let now = secret(&[("APP_DB__APIDSN", "hunter2"), ("APP_MAX_DSN_FILE", file.to_str().unwrap())]);
    assert_eq!(now.string("db.apiDsn", ""), "hunter2");
    assert_eq!(now.string("max-dsn", ""), "hunter3");
    assert!(!now.redacted().to_string().contains("hunter"), "{}", now.redacted());
    // That it is known puts nothing there.
    assert_eq!(secret(&[("APP_DB", "x")]).root().to_json(), json!({"db": "x"}));
}

#[test]
fn what_is_set_nests_no_deeper_than_a_file() {
    let deep = |n: usize| vec!["A"; n].join("__");
    let variable = |n: usize| vec![(OsString::from(format!("APP_{}", deep(n))), OsString::from("1"))];
    let layers = Layers::default().environment("APP", variable(32));
    assert!(refused(layers).contains("nests deeper than 31 levels"));
    let now = Config::load(Layers::default().environment("APP", variable(31))).unwrap().snapshot();
    assert_eq!(now.int(&vec!["a"; 31].join("."), 0), 1);
    // On the small stack of a loop's thread, or any other, this would be the end.
    let layers = Layers::default().environment("APP", variable(40_000));
    assert!(refused(layers).contains("nests deeper than 31 levels"));
    for (key, value) in [
        (vec!["a"; 40_000].join("."), "1".to_owned()),
        (vec!["a"; 16].join("."), format!("{}1{}", "[".repeat(16), "]".repeat(16))),
    ] {
        assert!(refused(Layers::default().set(&key, value)).contains("nests deeper than 31 levels"));
    }
    let fits = format!("{}1{}", "[".repeat(15), "]".repeat(15));
    assert!(Config::load(Layers::default().set(&vec!["a"; 16].join("."), fits)).is_ok());
}

#[test]
fn defaults_are_an_object_and_hold_no_secret() {
    for (values, found) in [(json!(null), "null"), (json!([1]), "a list"), (json!(5), "the number 5")] {
        let said = format!("default: expected an object, found {found}");
        assert_eq!(refused(Layers::default().defaults(values)), said);
    }
    #[derive(Serialize, Default)]
    struct App {
        n: u32,
        token: Secret,
    }
    let now = Config::load(Layers::default().defaults(App::default())).unwrap().snapshot();
    assert!(!now.is_set("token"), "what is shown for a secret is none");
    assert_eq!(now.int("n", 7), 0);
    // Nor is it one where a dump was made a file.
    let now = parse(r#"{"token": "<secret>"}"#, &[]);
    let said = "app.json:1:11: token: is only what is shown for a secret";
    assert_eq!(now.require::<Secret>("token").unwrap_err().report().to_string(), said);
    assert_eq!(now.unmarshal_key::<Secret>("token").unwrap_err().kind(), ErrorKind::Config);
}

#[test]
fn serde_types_of_every_kind_are_read_or_refused_whole() {
    let text = r#"{"u128": 340282366920938463463374607431768211455, "i128": -170141183460469231731687303715884105728,
        "u8s": {"1": "a", "255": "b"}, "i16s": {"-5": 1}, "bools": {"true": 1}, "chars": {"x": 1},
        "pair": [1, 2], "three": [1, 2, 3], "big": 1e300, "f": 1.5}"#;
    let config = parse(
        text,
        &[
            ("APP_MODE", r#"{"closed": {"reason": "late"}}"#),
            ("APP_WIDE", "340282366920938463463374607431768211455"),
        ],
    );
    assert_eq!(config.unmarshal_key::<u128>("u128").unwrap(), u128::MAX);
    assert_eq!(config.unmarshal_key::<u128>("wide").unwrap(), u128::MAX);
    assert_eq!(config.unmarshal_key::<i128>("i128").unwrap(), i128::MIN);
    assert!(config.unmarshal_key::<u64>("u128").is_err() && config.unmarshal_key::<u128>("i128").is_err());
    let u8s = config.unmarshal_key::<HashMap<u8, String>>("u8s").unwrap();
    assert_eq!((u8s.len(), &*u8s[&255]), (2, "b"));
    assert_eq!(config.unmarshal_key::<BTreeMap<i16, u8>>("i16s").unwrap()[&-5], 1);
    assert_eq!(config.unmarshal_key::<BTreeMap<bool, u8>>("bools").unwrap()[&true], 1);
    assert_eq!(config.unmarshal_key::<BTreeMap<char, u8>>("chars").unwrap()[&'x'], 1);
    assert_eq!(config.unmarshal_key::<(u8, u8)>("pair").unwrap(), (1, 2));
    let said = |error: loopkeeper::Error| error.report().to_string();
    let long = config.unmarshal_key::<(u8, u8)>("three").unwrap_err();
    assert_eq!(said(long), "app.json:3:34: three: expected a list of 2, found a length of 3");
    let long = config.unmarshal_key::<[u8; 2]>("three").unwrap_err();
    assert!(said(long).contains("found a length of 3"));
    assert!(config.unmarshal_key::<f32>("big").is_err(), "not as infinity");
    assert_eq!(config.unmarshal_key::<f32>("f").unwrap(), 1.5);

    #[derive(Deserialize, Debug, PartialEq)]
    #[serde(rename_all = "lowercase")]
    enum Mode {
        Closed { reason: String },
    }
    let closed = Mode::Closed { reason: "late".to_owned() };
    assert_eq!(config.unmarshal_key::<Mode>("mode").unwrap(), closed, "an enum is written as raw text, too");
}

#[test]
fn no_error_of_serde_shows_a_secret() {
    #[derive(Deserialize, Debug)]
    #[allow(dead_code, reason = "only their reading is of interest")]
    struct Flat {
        #[serde(flatten)]
        inner: Inner,
    }
    #[derive(Deserialize, Debug)]
    #[allow(dead_code, reason = "only their reading is of interest")]
    struct Inner {
        password: String,
    }
    #[derive(Deserialize, Debug)]
    #[serde(try_from = "Plain")]
    struct Checked;
    #[derive(Deserialize)]
    struct Plain {
        password: u64,
    }
    impl TryFrom<Plain> for Checked {
        type Error = String;
        fn try_from(plain: Plain) -> Result<Self, String> {
            Err(format!("{} is too weak", plain.password))
        }
    }
    #[derive(Deserialize, Debug)]
    #[allow(dead_code, reason = "only their reading is of interest")]
    struct Typed {
        pin: Secret,
    }
    let config = parse(r#"{"db": {"password": 987654}, "typed": {"pin": 987654}}"#, &[]);
    let marked =
        Config::load(layers(r#"{"db": {"dsn": "hunter2"}}"#, &[]).secret("db.dsn")).unwrap().snapshot();
    for error in [
        config.unmarshal_key::<Flat>("db").unwrap_err(),
        config.unmarshal_key::<Checked>("db").unwrap_err(),
        config.unmarshal_key::<Typed>("typed").unwrap_err(),
        marked.require::<u32>(r#""db"."dsn""#).unwrap_err(),
        marked.unmarshal_key::<u32>(r#""db"."dsn""#).unwrap_err(),
    ] {
        let said = format!("{} {error:?}", error.report());
        assert!(!said.contains("987654") && !said.contains("hunter"), "{said}");
        assert!(said.contains("app.json:1:"), "{said}");
    }
}

#[test]
fn no_check_shows_a_secret() {
    let text = r#"{"db": {"password": "hunter2"}, "other": "x"}"#;
    let plain = layers(text, &[])
        .check(|config| Err::<(), _>(format!("{} is weak", config.string("db.password", ""))));
    let panics = layers(text, &[])
        .check(|config| -> Result<(), String> { panic!("{}", config.string("db.password", "")) });
    let converts = layers(text, &[]).check(|config| {
        config
            .decode(|o| {
                let _ = o.object("db", |o| {
                    let weak = |text: String| Err::<(), _>(format!("{text} is weak"));
                    o.string("password").convert(weak).required().take(o.done()?)
                });
                let _ = o.string("other").convert(|_| Err::<(), _>("not hunter2")).optional();
                o.done().map(drop)
            })
            .map(drop)
    });
    for layers in [plain, panics, converts] {
        let error = Config::load(layers).unwrap_err();
        let said = format!("{} {error:?}", error.report());
        assert!(!said.contains("hunter"), "{said}");
    }
}

#[test]
fn what_is_below_a_secret_has_no_names_either() {
    let dir = TempDir::new("hostile");
    let path = dir.write("app.json", r#"{"tokens_by": {"hunter1": "me"}, "n": 1}"#);
    let layers = Layers::default().file(&path).secret("tokens_by");
    let config = Config::load(layers.clone()).unwrap();
    let now = config.snapshot();
    assert!(!format!("{:?}", now.explain_all()).contains("hunter"), "{:?}", now.explain_all());
    assert_eq!(now.explain_all()[0].key, "tokens_by");
    dir.write("app.json", r#"{"tokens_by": {"hunter2": "me", "hunter3": "you"}, "n": 1}"#);
    assert_eq!(config.reload().unwrap().changed, ["tokens_by"]);
    dir.write("app.json", r#"{"n": 1}"#);
    assert_eq!(config.reload().unwrap().changed, ["tokens_by"]);
    let strict = |config: &Snapshot| {
        config.decode(|o| {
            let _ = o.u32("n").optional();
            let _ = o.object("tokens_by", |o| o.done()).optional();
            o.done()
        })
    };
    dir.write("app.json", r#"{"tokens_by": {"hunter2": "me", "x": {"hunter3": 5}}, "n": 1}"#);
    let said = refused(layers.check(move |config| strict(config).map(drop)));
    assert!(!said.contains("hunter"), "{said}");
}

#[test]
fn names_that_give_a_secret_away() {
    let config = parse(
        r#"{"apiKey": "hunter", "api-key": "hunter", "aws": {"secretKey": "hunter", "secret_access_key": "hunter"},
            "privateKey": "hunter", "access_key": "hunter", "headers": {"Authorization": "hunter"}, "passwords": ["hunter"],
            "db_pwd": "hunter", "credentials": {"x": "hunter"}, "key": "shown", "monkey": "shown", "max_tokens": 5}"#,
        &[],
    );
    let shown = config.redacted().to_string();
    assert!(!shown.contains("hunter"), "{shown}");
    assert_eq!((shown.matches("shown").count(), &config.redacted()["max_tokens"]), (2, &json!(5)));
}

#[test]
fn a_file_name_stays_on_its_line() {
    for name in ["a\nb", "a\u{1b}[31mb", "a\0b"] {
        let said = refused(Layers::default().file(name));
        assert!(!said.chars().any(char::is_control), "{said:?}");
        let text = json!({"db": {"dsn_file": name}}).to_string();
        let said = refused(Layers::default().text("app.json", text).secret("db.dsn"));
        assert!(!said.chars().any(char::is_control), "{said:?}");
        let said = refused(Layers::default().text(name, "{\"a\": 1, \"a\": 2}"));
        assert!(!said.chars().any(char::is_control), "{said:?}");
    }
}

#[test]
fn files_of_secrets_are_bounded_and_regular() {
    let dir = TempDir::new("hostile");
    let fifo = dir.path().join("fifo");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status().unwrap();
    assert!(made.success());
    dir.write("huge", vec![b'x'; (1 << 20) + 1]);
    dir.write("bytes", b"hunter\xff");
    dir.write("crlf", "hunter2\r\n");
    dir.write("lines", "hunter2\n\n");
    fs::create_dir(dir.path().join("folder")).unwrap();
    let load = |name: &str| {
        let text = json!({"db": {"dsn_file": name}}).to_string();
        let path = dir.write("app.json", text);
        Config::load(Layers::default().file(path).secret("db.dsn"))
    };
    for (name, expected) in [
        ("fifo", "fifo: is not a regular file"),
        ("folder", "folder: is not a regular file"),
        ("", ": is not a regular file"),
        ("huge", "huge: is larger than 1024 KiB"),
        ("bytes", "bytes: is not UTF-8 text"),
        ("gone", "gone: cannot be read: No such file or directory (os error 2)"),
    ] {
        let said = load(name).unwrap_err().report().to_string();
        assert!(said.ends_with(expected) && said.contains("app.json:1:"), "{said}");
        assert!(!said.contains("hunter"), "{said}");
    }
    assert_eq!(load("crlf").unwrap().snapshot().string("db.dsn", ""), "hunter2");
    assert_eq!(load("lines").unwrap().snapshot().string("db.dsn", ""), "hunter2\n", "one line end is cut");
}

#[test]
fn long_keys_are_refused_and_all_others_are_told_apart() {
    let long = "k".repeat(257);
    let said = "is longer than 256 characters";
    assert!(refused(layers(&json!({"a": {&long: 1}}).to_string(), &[])).contains(said));
    assert!(refused(layers("{}", &[(&format!("APP_A__{long}"), "1")])).contains(said));
    // A name that tells at its end only, and cannot be printed without quotes.
    let telling = format!("https://{}.example/:_authToken", "registry".repeat(20));
    let config = parse(&json!({&telling: "hunter2", &long[1..]: 1, "a": {&long[2..]: 1}}).to_string(), &[]);
    let shown = format!("{config:?} {:?}", config.explain_all());
    assert!(!shown.contains("hunter"), "{shown}");
    let all = config.explain_all();
    assert_eq!(all.len(), 3, "{all:?}");
    for one in all {
        assert!(config.get(&one.key).is_some(), "{one}");
    }
}

#[test]
fn variables_that_are_no_text_are_told_without_their_value() {
    use std::os::unix::ffi::OsStringExt;
    let bytes = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
    for (name, value) in [("APP_TOKEN".into(), bytes(b"hunter\xff")), (bytes(b"APP_\xff"), "hunter".into())] {
        let said = refused(Layers::default().environment("APP", [(name, value)]));
        assert!(said.ends_with("is not UTF-8 text") && !said.contains("hunter"), "{said}");
    }
}

#[test]
fn a_dump_shows_every_digit() {
    let config = parse(r#"{"n": 18446744073709551616, "m": -9223372036854775809, "f": 1.5}"#, &[]);
    let shown = config.redacted().to_string();
    assert!(shown.contains("18446744073709551616") && shown.contains("-9223372036854775809"), "{shown}");
    assert!(config.explain("n").unwrap().to_string().contains("18446744073709551616"));
}

/// Runs a scenario on a manual clock.
fn watching(test: impl FnOnce(&ManualClock, &Env, &TempDir)) {
    let clock = ManualClock::default();
    test(&clock, &Env::manual(&clock).unwrap(), &TempDir::new("hostile"));
}

#[test]
fn a_check_that_reloads_is_refused() {
    let dir = TempDir::new("hostile");
    let path = dir.write("app.json", r#"{"n": 1}"#);
    let own: Arc<Mutex<Option<Config>>> = Arc::default();
    let said: Arc<Mutex<Vec<ErrorKind>>> = Arc::default();
    let check = {
        let (own, said) = (own.clone(), said.clone());
        move |_: &Snapshot| {
            let own = own.lock().unwrap().clone();
            if let Some(config) = own {
                let errors = [config.reload().err(), config.validate().err()];
                said.lock().unwrap().extend(errors.into_iter().flatten().map(|error| error.kind()));
                assert_eq!(config.snapshot().int("n", 0), 1, "reading is fine");
            }
            Ok::<(), &str>(())
        }
    };
    let config = Config::load(Layers::default().file(&path).check(check)).unwrap();
    *own.lock().unwrap() = Some(config.clone());
    dir.write("app.json", r#"{"n": 2}"#);
    assert_eq!(config.reload().unwrap().changed, ["n"]);
    assert_eq!(*said.lock().unwrap(), [ErrorKind::InvalidState; 2]);
    *own.lock().unwrap() = None;
}

#[test]
fn a_subscription_that_was_dropped_by_a_callback_is_over() {
    watching(|clock, env, dir| {
        let path = dir.write("app.json", r#"{"n": 1}"#);
        let config = Config::load_in(env, Layers::default().file(&path)).unwrap();
        let watcher = ConfigWatcher::start_in(env, ConfigWatcherConfig::new(&config)).unwrap();
        clock.settle();
        let other: Arc<Mutex<Option<ChangeGuard>>> = Arc::default();
        let (calls, late) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let first = {
            let (other, calls) = (other.clone(), calls.clone());
            watcher.on_change("n", move |_| {
                calls.fetch_add(1, Ordering::SeqCst);
                drop(other.lock().unwrap().take());
            })
        };
        let counted = late.clone();
        *other.lock().unwrap() =
            Some(watcher.on_change("n", move |_| _ = counted.fetch_add(1, Ordering::SeqCst)));
        dir.write("app.json", r#"{"n": 2}"#);
        clock.run_for(secs(2));
        assert_eq!((calls.load(Ordering::SeqCst), late.load(Ordering::SeqCst)), (1, 0));
        drop(first);
    });
}

#[test]
fn the_deepest_text_of_a_variable_fits_the_watchers_stack() {
    watching(|clock, env, dir| {
        let text = format!("{}1{}", "[".repeat(31), "]".repeat(31));
        let name = format!("APP_{}", vec!["A"; 31].join("__"));
        let path = dir.write("app.json", r#"{"n": 1}"#);
        let key = vec!["a"; 31].join(".");
        let check = move |config: &Snapshot| {
            config.unmarshal::<serde_json::Value>().map(drop)?;
            config.unmarshal_key::<Vec<serde_json::Value>>(&key).map(drop)
        };
        let layers = Layers::default().file(&path).environment("APP", vars(&[(&name, &text)])).check(check);
        let config = Config::load_in(env, layers).unwrap();
        let _watcher = ConfigWatcher::start_in(env, ConfigWatcherConfig::new(&config)).unwrap();
        clock.settle();
        dir.write("app.json", r#"{"n": 2}"#);
        clock.run_for(secs(2));
        assert_eq!(config.snapshot().int("n", 0), 2);
    });
}

#[test]
fn a_file_that_turns_into_something_else_keeps_the_last_good_one() {
    watching(|clock, env, dir| {
        let path = dir.write("app.json", r#"{"n": 1}"#);
        let config = Config::load_in(env, Layers::default().file(&path)).unwrap();
        let watcher = ConfigWatcher::start_in(env, ConfigWatcherConfig::new(&config)).unwrap();
        clock.settle();
        let become_ = |what: &dyn Fn()| {
            if path.is_dir() {
                fs::remove_dir(&path).unwrap()
            } else {
                fs::remove_file(&path).unwrap()
            }
            what();
            clock.run_for(secs(10));
            (config.snapshot().int("n", 0), watcher.last_error().map(|error| error.to_string()))
        };
        let no_file = Some(format!("{}: is not a regular file", path.display()));
        assert_eq!(become_(&|| fs::create_dir(&path).unwrap()), (1, no_file.clone()));
        let fifo = || assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        assert_eq!(become_(&fifo), (1, no_file));
        let looped = || std::os::unix::fs::symlink("app.json", &path).unwrap();
        assert!(become_(&looped).1.unwrap().contains("cannot be read"));
        let huge = || fs::write(&path, format!("{{\"n\": 3{}}}", " ".repeat(10 << 20))).unwrap();
        assert!(become_(&huge).1.unwrap().ends_with("is larger than 1024 KiB"));
        assert_eq!(become_(&|| fs::write(&path, r#"{"n": 2}"#).unwrap()), (2, None));
        drop(watcher);
    });
}

#[test]
fn every_change_continues_the_one_before_whoever_reloads() {
    watching(|clock, env, dir| {
        let text = |n: u32| format!(r#"{{"n": {n}}}"#);
        let path = dir.write("app.json", text(0));
        let config = Config::load_in(env, Layers::default().file(&path)).unwrap();
        let chain: Arc<Mutex<Vec<(u64, u64)>>> = Arc::default();
        let noted = chain.clone();
        let watched = ConfigWatcherConfig::new(&config).on_change("n", move |change| {
            noted.lock().unwrap().push((change.before().generation(), change.after().generation()));
        });
        let watcher = ConfigWatcher::start_in(env, watched).unwrap();
        clock.settle();
        let changes = AtomicU32::new(0);
        #[allow(clippy::disallowed_methods, reason = "reloads side by side, joined at the end of the scope")]
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..60 {
                        // A look between two writes may find a file that was just replaced.
                        let has_changed = config.reload().is_ok_and(|reload| reload.has_changed());
                        changes.fetch_add(u32::from(has_changed), Ordering::SeqCst);
                        watcher.trigger();
                    }
                });
            }
            for n in 1..=60 {
                dir.put("app.json", &text(n));
            }
        });
        let _ = config.reload().unwrap();
        clock.settle();
        let chain = chain.lock().unwrap().clone();
        assert_eq!(config.snapshot().int("n", 0), 60);
        assert_eq!(chain.first().map(|link| link.0), Some(1));
        assert_eq!(chain.last().map(|link| link.1), Some(config.snapshot().generation()));
        assert!(chain.windows(2).all(|pair| pair[0].1 == pair[1].0), "{chain:?}");
        assert!(changes.load(Ordering::SeqCst) < 62);
        assert!(watcher.stop(secs(1)).is_clean());
        dir.put("app.json", &text(61));
        assert_eq!(config.reload().unwrap().changed, ["n"], "as before, without the watcher");
    });
}
