//! The daemon's configuration file, as a file.

#![allow(clippy::unwrap_used, reason = "test code: a file that cannot be written is a failed test")]

mod support;

use std::path::Path;

use loopkeeper::config::Layers;
use support::TempDir;

fn short(dir: &Path, text: &str) -> String {
    text.replace(&format!("{}/", dir.display()), "").replace(&dir.display().to_string(), "DIR")
}

#[test]
fn the_file_comes_first_and_its_folder_is_where_descriptors_are() {
    let dir = TempDir::new("config");
    let file = dir.write(
        "loopkeeper.json",
        r#"{"http": {"listen": "none", "allowed_hosts": ["box"]}, "deploy": {"dir": "parts"}, "shutdown_timeout": 1}"#,
    );
    let layers = Layers::default().file(&file);
    let config = layers.clone().merge().read().unwrap();
    assert_eq!((config.http.listen, &*config.http.allowed_hosts), (None, &["box".to_owned()][..]));
    assert_eq!(config.deploy.dir, dir.path().join("parts"));

    let variable = ("LOOPKEEPER_HTTP__LISTEN".into(), "127.0.0.1:1".into());
    let layers = layers.environment([variable]).set("deploy.dir", "elsewhere");
    let config = layers.clone().merge().read().unwrap();
    assert_eq!(config.http.listen.unwrap().port(), 1);
    assert_eq!(config.http.allowed_hosts, ["box"]);
    assert_eq!(config.deploy.dir, Path::new("elsewhere"));
    let config = layers.set("http.listen", "127.0.0.1:2").merge().read().unwrap();
    assert_eq!(config.http.listen.unwrap().port(), 2);

    let file = dir.write("small.json", "{}");
    assert_eq!(Layers::default().file(file).merge().read().unwrap().deploy.dir, dir.path().join("deploy"));
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
        short(dir.path(), &merged.read().unwrap_err().to_string()),
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
        assert_eq!(short(dir.path(), &merged.read().unwrap_err().to_string()), expected);
    }
    let missing = Layers::default().file(dir.path().join("missing.json")).merge();
    assert_eq!(
        short(dir.path(), &missing.read().unwrap_err().to_string()),
        "missing.json: cannot be read: No such file or directory (os error 2)"
    );
    assert_eq!(missing.deploy_dir(), None);
}
