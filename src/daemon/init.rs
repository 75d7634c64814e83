//! Writes a folder that one may begin with.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::ask::fail;
use super::{Exit, escaped, say};

/// What is written: names below the folder, and texts.
const FILES: [(&str, &str); 6] = [
    ("README.md", README),
    ("loopkeeper.json", CONFIG),
    ("deploy/disk.json", DISK),
    ("deploy/broker.json", BROKER),
    ("deploy/web.json", WEB),
    ("deploy/backup.json", BACKUP),
];

/// The command `init`.
pub(crate) fn run(dir: &Path) -> Exit {
    let shown = dir.display();
    match write(dir) {
        Ok(()) => say(escaped(&format!(
            "{shown}: written; read {shown}/README.md, then: loopkeeper run --config {shown}/loopkeeper.json"
        ))),
        Err(error) => fail(Exit::Failed, &format!("{shown}: {error}")),
    }
}

fn write(dir: &Path) -> io::Result<()> {
    let is_empty = match fs::read_dir(dir) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == ErrorKind::NotFound => true,
        Err(error) => return Err(error),
    };
    if !is_empty {
        let text = "the folder is not empty; name one that is, or that is not there yet";
        return Err(io::Error::other(text));
    }
    let was_there = dir.exists();
    let mut made = Vec::new();
    let filled = fill(dir, &mut made);
    if filled.is_err() {
        // Half of it would be in the way of the next try.
        for path in made {
            let _ = fs::remove_file(path);
        }
        let _ = fs::remove_dir(dir.join("deploy"));
        if !was_there {
            let _ = fs::remove_dir(dir);
        }
    }
    filled
}

/// Writes the files; `made` are those that are there even when it fails.
fn fill(dir: &Path, made: &mut Vec<PathBuf>) -> io::Result<()> {
    fs::create_dir_all(dir.join("deploy"))?;
    for (name, text) in FILES {
        let path = dir.join(name);
        // Never over what somebody else put there meanwhile.
        let mut file = OpenOptions::new().write(true).create_new(true).open(&path)?;
        made.push(path);
        file.write_all(text.as_bytes())?;
    }
    Ok(())
}

const CONFIG: &str = r#"{
  "http": {"listen": "127.0.0.1:8470"},
  "deploy": {"dir": "deploy", "scan_interval": "5s"},
  "logging": {"level": "info", "format": "text"}
}
"#;

const DISK: &str = r#"{
  "name": "disk",
  "type": "watcher",
  "config": {
    "probe": {"disk": {"path": "/", "min_free": "5%"}},
    "backoff": {"poll_interval": "1m"}
  }
}
"#;

const BROKER: &str = r#"{
  "name": "broker",
  "type": "watcher",
  "enabled": false,
  "config": {
    "probe": {"tcp": {"address": "127.0.0.1:1883"}},
    "backoff": {"initial_delay": "2s", "max_delay": "1m", "poll_interval": "30s", "probe_timeout": "5s"}
  }
}
"#;

const WEB: &str = r#"{
  "name": "web",
  "type": "watcher",
  "enabled": false,
  "requires": ["broker"],
  "config": {
    "probe": {"http": {"url": "http://127.0.0.1:8080/health", "expect_status": "200-299"}},
    "failure_threshold": 2
  }
}
"#;

const BACKUP: &str = r#"{
  "name": "backup",
  "type": "watcher",
  "enabled": false,
  "config": {
    "probe": {"heartbeat": {"grace": "25h"}},
    "critical": false
  }
}
"#;

const README: &str = r#"# What is watched here

`loopkeeper.json` is the configuration, `deploy/` the folder of descriptors: one
JSON file for each thing that is watched. JSON has no comments, so they are here.

    loopkeeper check --config loopkeeper.json     # says what is wrong, starts nothing
    loopkeeper probe deploy/disk.json             # asks once, and tells each step
    loopkeeper run --config loopkeeper.json &     # watches; edits take effect at once
    loopkeeper status                             # how everything is
    loopkeeper why web                            # why one is as it is
    loopkeeper events --follow                    # what happens

A browser shows the same at http://127.0.0.1:8470/.

## loopkeeper.json

- `http.listen`: where the daemon answers. With `"http": {"token_file": "token"}`
  and a secret in that file, who sends it may act: `loopkeeper trigger`, `rescan`.
- `deploy`: where the descriptors are, and how often they are looked at.
- `logging`: `debug`, `info`, `warn` or `error`; `text` or `json`.

`loopkeeper explain` tells all settings, and where each comes from.

## deploy/disk.json

A watcher that is enabled: at least 5 % of the file system of `/` must be free,
looked at once a minute (`poll_interval`).

## deploy/broker.json

Disabled: put in the address of a service of yours and set `enabled` to `true`.
The service is up when it takes a connection within 5 s (`probe_timeout`). While
it is down it is asked after 2 s, 4 s, .. and at most 1 m, then every 30 s.

## deploy/web.json

Disabled. Asks a URL, and is down after two failures in a row
(`failure_threshold`). It starts when what it `requires` is ready, so enable
`broker` too, or take that line out.

## deploy/backup.json

Disabled. Asks nobody: it is ready while somebody says at least every 25 h that
the backup was made. It is not `critical`: without it the whole is degraded, not down.

    curl -X POST -H "Authorization: Bearer $TOKEN" http://127.0.0.1:8470/heartbeat/backup

`loopkeeper types` tells every type and setting; `loopkeeper types --json-schema`
is the same for an editor.
"#;
