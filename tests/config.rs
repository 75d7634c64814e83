//! The daemon's configuration file and the folder of descriptors, as files.

#![allow(clippy::unwrap_used, reason = "test code: a file that cannot be written is a failed test")]

mod support;

use std::os::unix::fs::symlink;
use std::path::Path;

use loopkeeper::config::{Descriptor, Layers, Types, load_descriptors};
use loopkeeper::decode::Object;
use support::TempDir;

/// A type whose config is one number.
fn number(_: &str, o: &mut Object<'_, '_>) -> Option<u32> {
    let n = o.u32("n").required();
    n.take(o.done()?)
}

/// Loads the folder; faults come without its path.
fn check(dir: &TempDir) -> Result<Vec<Descriptor<u32>>, String> {
    let types = Types::new().with("number", number);
    load_descriptors(dir.path(), &types).map_err(|faults| short(dir.path(), &faults.to_string()))
}

fn short(dir: &Path, text: &str) -> String {
    text.replace(&format!("{}/", dir.display()), "").replace(&dir.display().to_string(), "DIR")
}

fn descriptor(name: &str, n: &str) -> String {
    format!(r#"{{"name": "{name}", "type": "number", "config": {{"n": {n}}}}}"#)
}

#[test]
fn descriptors_are_read_in_the_order_of_their_files() {
    let dir = TempDir::new("descriptors");
    dir.write("b.json", descriptor("first", "1"));
    dir.write("a.json", descriptor("second", "2"));
    dir.write("c.json", r#"{"name": "third", "type": "number", "enabled": false, "config": {"n": 3}}"#);
    dir.write(".hidden.json", "x");
    dir.write("README.md", "x");
    dir.write("a.json~", "x");
    dir.write("folder.json/x.json", "x");
    let found: Vec<_> =
        check(&dir).unwrap().iter().map(|d| (d.name.to_string(), d.enabled, d.config)).collect();
    assert_eq!(
        found,
        [("second".to_owned(), true, 2), ("first".to_owned(), true, 1), ("third".to_owned(), false, 3)]
    );
    assert_eq!(check(&TempDir::new("descriptors")).unwrap().len(), 0);
}

#[test]
fn everything_that_is_wrong_with_any_file_is_told_at_once() {
    let dir = TempDir::new("descriptors");
    dir.write("a.json", "");
    dir.write("b.json", "{\"name\": \"b\", \"type\": \"num");
    dir.write("c.json", descriptor("c", "-1"));
    dir.write("d.json", r#"{"name": "d", "type": "numbre", "config": {"n": 1}}"#);
    dir.write(
        "e.json",
        r#"{"name": "e", "type": "number", "requires": ["c"], "enabled": false, "config": {"m": 1}}"#,
    );
    dir.write("f.json", r#"{"name": "c", "type": "number", "config": {"n": 1}}"#);
    dir.write("g.json", r#"{"name": "../g", "type": "x", "enabled": 1}"#);
    dir.write("h.json", "[1]");
    symlink(dir.path().join("nowhere"), dir.path().join("i.json")).unwrap();
    dir.write("j.json", vec![b' '; (1 << 20) + 1]);
    assert_eq!(
        check(&dir).unwrap_err(),
        r#"a.json:1:1: is empty
b.json:1:26: EOF while parsing a string
c.json:1:49: config.n: expected a whole number from 0 to 4294967295, found the number -1
d.json:1:23: type: unknown type "numbre", did you mean "number"?
e.json:1:33: unknown field "requires", expected "name", "type", "enabled" or "config"
e.json:1:80: config.n: is missing, expected a whole number from 0 to 4294967295
e.json:1:81: config: unknown field "m", expected "n"
f.json:1:10: name: c is taken, first at c.json:1:10
g.json:1:10: name: must begin with a letter or digit, found '.'
g.json:1:26: type: unknown type "x", expected "number"
g.json:1:42: enabled: expected true or false, found the number 1
h.json:1:1: expected an object, found a list
i.json: cannot be read: No such file or directory (os error 2)
j.json: is larger than 1024 KiB"#
    );
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let dir = TempDir::new("descriptors");
    let types = Types::new().with("number", number);
    let missing = dir.path().join("missing");
    let faults = load_descriptors(&missing, &types).unwrap_err();
    let expected = format!(
        "{}: cannot be read as the folder of descriptors: No such file or directory (os error 2)",
        missing.display()
    );
    assert_eq!(faults.to_string(), expected);
}

#[test]
fn the_file_comes_first_and_its_folder_is_where_descriptors_are() {
    let dir = TempDir::new("config");
    let file = dir.write(
        "loopkeeper.json",
        r#"{"http": {"listen": "none", "allowed_hosts": ["box"]}, "deploy": {"dir": "parts"}, "shutdown_timeout": 1}"#,
    );
    let layers = Layers::default().file(&file);
    let config = layers.clone().merge().settings().unwrap();
    assert_eq!((config.http.listen, &*config.http.allowed_hosts), (None, &["box".to_owned()][..]));
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
