//! House rules that the compiler cannot check, one test each.
//!
//! A rule is a function from files to breaches, so that each test can also
//! show the rule a file that breaks it: a rule that catches nothing is worse
//! than none. Rules read a file's code with comments and the inside of
//! literals blanked out, and look paths up through the file's own `use` lines.

#![allow(clippy::unwrap_used, reason = "test code: a file that cannot be read is a failed test")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

// The tables.

/// What a module may use. The order is the order of the arrows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Layer {
    /// Values without threads or time; each uses those before it.
    Base,
    /// Threads, time, the loop skeleton; each uses base and those before it.
    Mechanism,
    /// The systems; use base, mechanism and themselves.
    Part,
    /// What people, programs and machines see; uses anything.
    Face,
}

/// The layers, and in each the modules; those of base and mechanism stand in the
/// order in which they build on each other.
const LAYERS: &[(Layer, &[&str])] = &[
    (
        Layer::Base,
        &[
            "text",
            "order",
            "document",
            "number",
            "map",
            "error",
            "duration",
            "name",
            "stamp",
            "event",
            "tree",
            "decode",
            "pointer",
            "condition",
            "secret",
            "authority",
        ],
    ),
    (
        Layer::Mechanism,
        &[
            "sys",
            "primitive",
            "bell",
            "clock",
            "cancel",
            "slot",
            "step",
            "backoff",
            "schedule",
            "state_file",
            "thread",
            "watchdog",
            "stop",
            "dispatch",
            "subscription",
            "event_log",
            "status",
            "observe",
            "env",
            "component",
            "voice",
            "record",
            "looper",
            "trial",
            "probe",
            "rest",
            "alert",
            "bench_hooks",
        ],
    ),
    (Layer::Part, &["watch", "controller", "monitor", "recovery", "config", "host", "fleet"]),
    (Layer::Face, &["http", "console", "signals", "service", "capi", "testing", "shipped", "daemon", "main"]),
];

/// Parts that build on another part.
const PART_ON_PART: &[(&str, &str)] = &[("fleet", "controller")];

/// A call that only some files may make.
struct Reserved {
    /// Full paths; a path below one of them is meant as well.
    calls: &'static [&'static str],
    /// Files, and folders with a slash at the end.
    homes: &'static [&'static str],
}

const RESERVED: &[Reserved] = &[
    Reserved {
        calls: &["std::thread::spawn", "std::thread::Builder", "std::thread::scope"],
        homes: &["src/thread.rs", "src/thread/", "src/primitive.rs", "src/primitive/"],
    },
    Reserved {
        calls: &["std::time::Instant::now", "std::time::SystemTime::now", "std::thread::sleep"],
        homes: &["src/clock.rs", "src/clock/"],
    },
    Reserved { calls: &["libc"], homes: &["src/sys.rs", "src/sys/", "src/capi/"] },
    Reserved {
        calls: &[
            "std::env::var",
            "std::env::var_os",
            "std::env::vars",
            "std::env::set_var",
            "std::env::remove_var",
        ],
        homes: &["src/config/", "src/config.rs", "src/main.rs", "src/daemon/", "src/capi/build.rs"],
    },
    Reserved {
        calls: &["std::env::vars_os"],
        // What a program that is run inherits.
        homes: &["src/config/", "src/config.rs", "src/main.rs", "src/daemon/", "src/sys/spawn.rs"],
    },
];

const UNSAFE_HOMES: &[&str] = &["src/sys.rs", "src/sys/", "src/capi/"];
/// A build script talks to cargo by printing.
const PRINT_HOMES: &[&str] = &["src/main.rs", "src/daemon/", "src/capi/build.rs"];

// The rules.

#[test]
fn reserved_calls_stay_at_home() {
    let rule =
        |tree: &Tree| {
            let mut breaches = Vec::new();
            for file in tree.library() {
                for path in file.paths() {
                    for reserved in RESERVED {
                        let full = path.full.replacen("core::", "std::", 1);
                        let hit = reserved
                            .calls
                            .iter()
                            .find(|call| full == **call || full.starts_with(&format!("{call}::")));
                        if let Some(call) = hit
                            && !at_home(&file.path, reserved.homes)
                        {
                            breaches.push(file.breach(
                                path.at,
                                &format!("`{call}` belongs in {}", reserved.homes.join(", ")),
                            ));
                        }
                    }
                }
            }
            breaches
        };
    for text in [
        "fn f() { std::thread::spawn(|| {}); }",
        "use std::thread;\nfn f() { thread::Builder::new(); }",
        "use std::{net, thread::{self as t}};\nfn f() { t::sleep(d); }",
        "use std::time::Instant;\nfn f() { Instant::now(); }",
        "use std::time as clock;\nfn f() { clock::SystemTime::now(); }",
        "use std::env::var_os;",
        "fn f() { unsafe { libc::getpid() } }",
    ] {
        catches(rule, "src/host/mod.rs", text);
    }
    for text in [
        "use crate::thread;\nfn f() { thread::spawn(name, body); }",
        "#[cfg(test)]\nmod tests {\n    fn f() { std::thread::sleep(d); }\n}",
        "fn f() { std::env::args(); std::thread::park(); } // libc::getpid()",
    ] {
        lets_pass(rule, "src/host/mod.rs", text);
    }
    lets_pass(rule, "src/clock.rs", "fn f() { std::time::Instant::now(); }");
    holds(rule);
}

#[test]
fn unsafe_stands_in_sys_and_capi_only() {
    let rule = |tree: &Tree| {
        let mut breaches = Vec::new();
        for file in tree.library().filter(|file| !at_home(&file.path, UNSAFE_HOMES)) {
            for at in words(&file.code, "unsafe") {
                breaches.push(file.breach(at, &format!("`unsafe` belongs in {}", UNSAFE_HOMES.join(", "))));
            }
        }
        breaches
    };
    catches(rule, "src/looper.rs", "//! x\nfn f() { unsafe { g() } }");
    catches(rule, "src/probe/mod.rs", "unsafe impl Send for X {}");
    lets_pass(rule, "src/lib.rs", "#![deny(unsafe_code)] // unsafe");
    lets_pass(rule, "src/sys.rs", "fn f() { unsafe { g() } }");
    holds(rule);
}

#[test]
fn every_file_says_what_it_is_for() {
    let rule = |tree: &Tree| {
        let silent = tree.library().filter(|file| !file.text.starts_with("//! "));
        silent.map(|file| file.breach(0, "the first line is `//! ` and what this is")).collect()
    };
    catches(rule, "src/host/mod.rs", "use std::fmt;\n");
    catches(rule, "src/host/mod.rs", "// Private.\n");
    lets_pass(rule, "src/host/mod.rs", "//! Holds components.\n");
    holds(rule);
}

#[test]
fn imports_point_down_the_layers() {
    let rule = |tree: &Tree| {
        let mut breaches = Vec::new();
        let exported = tree.exported();
        for file in tree.library().filter(|file| !["src/lib.rs", "src/capi/build.rs"].contains(&&*file.path))
        {
            let Some((own, own_layer)) = layer_of(&module_path(&file.path)) else {
                breaches.push(file.breach(0, "not in this test's table of layers"));
                continue;
            };
            // In the program's own crate `crate` is the program.
            if own == "main" || own == "daemon" {
                continue;
            }
            for path in file.paths() {
                let Some(used) = file.inside_crate(&path) else { continue };
                let first = used.split("::").next().unwrap_or_default();
                let used = exported.get(first).cloned().unwrap_or(used);
                match layer_of(&used) {
                    None => breaches.push(file.breach(
                        path.at,
                        &format!("`{used}` is neither in the table of layers nor exported by lib.rs"),
                    )),
                    Some((other, layer)) if !may_use((own, own_layer), (other, layer)) => {
                        let why = if own_layer == layer { ", which comes after it" } else { "" };
                        breaches.push(file.breach(
                            path.at,
                            &format!("{own} ({own_layer:?}) may not use {other} ({layer:?}){why}"),
                        ));
                    }
                    Some(_) => {}
                }
            }
        }
        breaches
    };
    for (path, text) in [
        ("src/error.rs", "use crate::clock::Clock;"),
        ("src/event.rs", "fn f(x: &crate::watch::Watcher) {}"),
        ("src/looper.rs", "use crate::{error::Error, host::Host};"),
        ("src/clock.rs", "use crate::testing::Recorder;"),
        ("src/watch/mod.rs", "use crate::{\n    error::Error,\n    monitor::{Monitor, Checker},\n};"),
        ("src/controller/mod.rs", "use crate::fleet::Agent;"),
        ("src/host/mod.rs", "use crate::http;"),
        ("src/host/mod.rs", "use crate::nowhere::Thing;"),
        ("src/watch.rs", "use super::monitor::Monitor;"),
        ("src/watch/machine.rs", "use super::super::monitor::Monitor;"),
        ("src/newcomer.rs", "fn f() {}"),
        ("src/http/mod.rs", "use crate::*;"),
        ("src/error.rs", "use crate::tree::Place;"),
        ("src/status.rs", "use crate::alert::AlertStatus;"),
        ("src/thread/activity.rs", "fn f(x: &crate::status::CallStatus) {}"),
        ("src/env/metrics.rs", "use crate::Context;"),
        ("src/probe/wait.rs", "use super::super::rest::Client;"),
    ] {
        catches(rule, path, text);
    }
    for (path, text) in [
        ("src/error.rs", "//! See [`crate::host`].\nuse crate::text::line;"),
        ("src/looper.rs", "use crate::{error::Error, primitive::*, clock};"),
        ("src/fleet/mod.rs", "use crate::controller::Controller;"),
        ("src/http/mod.rs", "use crate::{host::Host, watch};"),
        ("src/watch/machine.rs", "use super::config::WatcherConfig;\nuse crate::watch::Watcher;"),
        ("src/error.rs", "#[cfg(test)]\nmod tests {\n    use crate::clock::ManualClock;\n}"),
        ("src/daemon/mod.rs", "use crate::anything;"),
        ("src/clock.rs", "mod system {\n    use super::Clock;\n}"),
    ] {
        lets_pass(rule, path, text);
    }
    holds(rule);
}

#[test]
fn nothing_unfinished_is_left_and_only_the_program_prints() {
    let rule = |tree: &Tree| {
        let mut breaches = Vec::new();
        for file in tree.rust() {
            for name in ["todo", "unimplemented", "dbg"] {
                for at in macros(&file.whole, name) {
                    breaches.push(file.breach(at, &format!("`{name}!` is for work in progress")));
                }
            }
            if !file.path.starts_with("src/") || at_home(&file.path, PRINT_HOMES) {
                continue;
            }
            for name in ["println", "print", "eprintln", "eprint"] {
                for at in macros(&file.code, name) {
                    breaches.push(file.breach(
                        at,
                        &format!("`{name}!`: a library tells its observer; only the program prints"),
                    ));
                }
            }
        }
        breaches
    };
    catches(rule, "src/host/mod.rs", "fn f() { todo!() }");
    catches(rule, "tests/host.rs", "fn f() { unimplemented!(\"later\") }");
    catches(rule, "src/main.rs", "fn f() { dbg!(1); }");
    catches(rule, "src/host/mod.rs", "fn f() { println!(\"up\"); }");
    catches(rule, "src/host/mod.rs", "fn f() { std::eprint!(\"up\"); }");
    lets_pass(rule, "src/daemon/mod.rs", "fn f() { println!(\"up\"); }");
    lets_pass(rule, "src/host/mod.rs", "/// println!(\"up\")\nfn f() { x.println(\"todo!()\") }");
    holds(rule);
}

/// The behaviours that must hold and the weaknesses that must not come back,
/// as far as there are parts that they are about.
const PROVEN: &[(&str, &[std::ops::RangeInclusive<u32>])] = &[
    ("ccw", &[1..=16]),
    ("wcw", &[1..=14]),
    ("cct", &[1..=20]),
    ("wct", &[1..=14, 20..=38]),
    ("crt", &[1..=22, 24..=26]),
    ("cum", &[1..=7]),
    ("wum", &[1..=12]),
    ("crc", &[1..=9]),
    ("wrc", &[1..=18]),
    ("wrt", &[1..=19, 30..=40]),
];

#[test]
fn every_promised_behaviour_is_the_name_of_a_test() {
    let tree = Tree::read();
    let names: Vec<&str> = tree
        .rust()
        .flat_map(|file| file.whole.split("fn ").skip(1))
        .filter_map(|rest| rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next())
        .collect();
    let mut missing = Vec::new();
    for (kind, numbers) in PROVEN {
        for n in numbers.iter().cloned().flatten() {
            let id = format!("{kind}_{n:02}");
            if !names.iter().any(|name| name.starts_with(&id) || name.contains(&format!("_{id}_"))) {
                missing.push(id);
            }
        }
    }
    assert!(missing.is_empty(), "no test is named after {}", missing.join(", "));
}

#[test]
fn no_test_is_ignored() {
    let rule = |tree: &Tree| {
        let mut breaches = Vec::new();
        for file in tree.rust() {
            for (at, text) in attributes(&file.whole) {
                let inner = text.trim_start_matches(['#', '!', '[', ' ']);
                if words(inner, "ignore").any(|at| at == 0 || inner.starts_with("cfg_attr")) {
                    breaches.push(file.breach(at, "a test that does not run protects nothing"));
                }
            }
        }
        breaches
    };
    catches(rule, "tests/host.rs", "#[test]\n#[ignore]\nfn f() {}");
    catches(rule, "src/host/mod.rs", "#[ignore = \"slow\"]\nfn f() {}");
    catches(rule, "tests/host.rs", "#[cfg_attr(debug_assertions, ignore)]\nfn f() {}");
    lets_pass(rule, "tests/host.rs", "#[test]\nfn f() { ignore(); } // #[ignore]");
    holds(rule);
}

#[test]
fn every_allow_has_its_reason() {
    let rule = |tree: &Tree| {
        let mut breaches = Vec::new();
        for file in tree.rust() {
            for (at, text) in attributes(&file.whole) {
                let allows = words(&text, "allow").chain(words(&text, "expect")).any(|at| {
                    // `#[expect(..)]` and `cfg_attr(.., allow(..))`, not `doc(..)`.
                    text[at..].contains('(')
                });
                let explained = words(&text, "reason").next().is_some()
                    || file.comment_above(at)
                    || file.comment_behind(at + text.len());
                if allows && !explained {
                    breaches
                        .push(file.breach(at, "say why: `reason = \"..\"`, or a comment above or behind"));
                }
            }
        }
        breaches
    };
    catches(rule, "src/host/mod.rs", "fn f() {}\n#[allow(dead_code)]\nfn g() {}");
    catches(rule, "tests/host.rs", "#![allow(\n    dead_code,\n    unused\n)]");
    catches(rule, "src/host/mod.rs", "#[cfg_attr(test, allow(dead_code))]\nfn g() {}");
    catches(rule, "src/host/mod.rs", "/// Does g.\n#[allow(dead_code)]\nfn g() {}");
    lets_pass(rule, "src/host/mod.rs", "#[allow(dead_code, reason = \"C reads it\")]\nfn g() {}");
    lets_pass(rule, "src/host/mod.rs", "// C reads it.\n#[allow(dead_code)]\nfn g() {}");
    lets_pass(rule, "src/host/mod.rs", "#[allow(dead_code)] // C reads it.\nfn g() {}");
    holds(rule);
}

#[test]
fn no_file_names_a_private_place() {
    // In pieces, so that this file does not name them either.
    let private: Vec<String> = [
        &["/wo", "rk/"][..],
        &["shared/", "DESIGN"],
        &["DESIGN", ".md"],
        &["STYLE", ".md"],
        &["PERFORMANCE", ".md"],
        &["BEHAVIOUR", ".md"],
        &["PEERS", ".md"],
        &[".lib", "rary/"],
    ]
    .iter()
    .map(|pieces| pieces.concat())
    .collect();
    let rule = |tree: &Tree| {
        let mut breaches = Vec::new();
        for file in &tree.files {
            for word in &private {
                for (at, _) in file.text.match_indices(word.as_str()) {
                    breaches.push(file.breach(at, &format!("`{word}` is not in this repository")));
                }
            }
        }
        breaches
    };
    for word in &private {
        catches(rule, "README.md", &format!("See {word}x."));
    }
    lets_pass(rule, "README.md", "See network/mod.rs and src/docs/design.md.");
    holds(rule);
}

// How a test asks.

type Breaches = Vec<String>;

/// Fails with every breach in the repository.
#[track_caller]
fn holds(rule: impl Fn(&Tree) -> Breaches) {
    let breaches = rule(&Tree::read());
    assert!(breaches.is_empty(), "\n{}\n", breaches.join("\n"));
}

/// Fails when the rule sees nothing wrong with a file that breaks it.
#[track_caller]
fn catches(rule: impl Fn(&Tree) -> Breaches, path: &str, text: &str) {
    let breaches = rule(&Tree { files: vec![File::new(path.to_owned(), text.to_owned())] });
    assert!(!breaches.is_empty(), "the rule let this pass as {path}:\n{text}");
}

/// Fails when the rule finds fault with a file that keeps it.
#[track_caller]
fn lets_pass(rule: impl Fn(&Tree) -> Breaches, path: &str, text: &str) {
    let breaches = rule(&Tree { files: vec![File::new(path.to_owned(), text.to_owned())] });
    assert!(breaches.is_empty(), "{}\n{text}", breaches.join("\n"));
}

// Files.

struct Tree {
    files: Vec<File>,
}

impl Tree {
    /// Every file that git tracks or would take; every file at all without git.
    fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let tracked = Command::new("git")
            .args(["-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(root)
            .output();
        let mut paths: Vec<String> = match tracked {
            Ok(output) if output.status.success() => {
                String::from_utf8(output.stdout).unwrap().split_terminator('\0').map(str::to_owned).collect()
            }
            _ => walk(root),
        };
        paths.sort();
        let present = paths.into_iter().filter(|path| root.join(path).is_file());
        let files: Vec<File> = present
            .map(|path| {
                let bytes = fs::read(root.join(&path)).unwrap();
                File::new(path, String::from_utf8_lossy(&bytes).into_owned())
            })
            .collect();
        assert!(files.iter().any(|file| file.path == "src/lib.rs"), "no src/lib.rs in {}", root.display());
        Self { files }
    }

    fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| is_rust(&file.path))
    }

    fn library(&self) -> impl Iterator<Item = &File> {
        self.rust().filter(|file| file.path.starts_with("src/"))
    }

    /// What lib.rs exports at the top, by name: `Error` is `error::Error`.
    fn exported(&self) -> BTreeMap<String, String> {
        let lib = self.library().find(|file| file.path == "src/lib.rs");
        let uses = lib.into_iter().flat_map(|file| file.uses.iter());
        let named = uses.map(|import| (import.name.clone(), import.full.clone()));
        named.map(|(name, full)| (name, full.trim_start_matches("crate::").to_owned())).collect()
    }
}

fn walk(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from(root)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() {
                if name != "target" && name != ".git" {
                    folders.push(path);
                }
            } else {
                found.push(path.strip_prefix(root).unwrap().to_string_lossy().into_owned());
            }
        }
    }
    found
}

struct File {
    path: String,
    text: String,
    /// The text with comments and the inside of literals blanked out; offsets
    /// are those of the text.
    whole: String,
    /// The same without test modules.
    code: String,
    uses: Vec<Import>,
}

/// One name that a `use` line brings in.
struct Import {
    name: String,
    full: String,
    at: usize,
}

/// A path as written somewhere, with its beginning looked up.
struct Written {
    full: String,
    at: usize,
}

impl File {
    fn new(path: String, text: String) -> Self {
        if !is_rust(&path) {
            return Self { path, text, whole: String::new(), code: String::new(), uses: Vec::new() };
        }
        let whole = blank_out(&text);
        let all_tests = path.ends_with("/tests.rs");
        let code = if all_tests { String::new() } else { without_tests(&whole) };
        let uses = imports(&code);
        Self { path, text, whole, code, uses }
    }

    fn breach(&self, at: usize, what: &str) -> String {
        let line = self.text[..at].matches('\n').count() + 1;
        format!("{}:{line}: {what}", self.path)
    }

    /// Every path in the code, those of `use` lines leaf by leaf.
    fn paths(&self) -> Vec<Written> {
        let names: BTreeMap<&str, &str> =
            self.uses.iter().map(|import| (&*import.name, &*import.full)).collect();
        let mut found: Vec<Written> =
            self.uses.iter().map(|import| Written { full: import.full.clone(), at: import.at }).collect();
        for (at, path) in written_paths(&without_uses(&self.code)) {
            let (first, rest) = path.split_once("::").unwrap_or((&path, ""));
            let first = names.get(first).copied().unwrap_or(first);
            let full = if rest.is_empty() { first.to_owned() } else { format!("{first}::{rest}") };
            found.push(Written { full, at });
        }
        found
    }

    /// The path from the crate's root, if it leads there.
    fn inside_crate(&self, path: &Written) -> Option<String> {
        if let Some(rest) = path.full.strip_prefix("crate::") {
            return Some(rest.to_owned());
        }
        let mut rest = &*path.full;
        let mut up = 0;
        while let Some(parent) = rest.strip_prefix("super::") {
            rest = parent;
            up += 1;
        }
        let depth = module_path(&self.path).split("::").count() + inline_modules(&self.code, path.at);
        (up >= depth).then(|| rest.to_owned())
    }

    /// Whether the line before `at` is a plain comment.
    fn comment_above(&self, at: usize) -> bool {
        let above = self.text[..at].lines().rev().map(str::trim).find(|line| !line.is_empty());
        above.is_some_and(|line| {
            line.starts_with("//") && !line.starts_with("///") && !line.starts_with("//!")
        })
    }

    /// Whether a comment is what follows `at` on its line.
    fn comment_behind(&self, at: usize) -> bool {
        self.text[at..].lines().next().is_some_and(|rest| rest.trim_start().starts_with("//"))
    }
}

fn is_rust(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|extension| extension == "rs")
}

fn at_home(path: &str, homes: &[&str]) -> bool {
    homes.iter().any(|home| path == *home || home.ends_with('/') && path.starts_with(home))
}

/// `src/watch/machine.rs` is `watch::machine`.
fn module_path(path: &str) -> String {
    let inner = path.trim_start_matches("src/").trim_end_matches(".rs");
    inner.trim_end_matches("/mod").replace('/', "::")
}

/// The table's entry for a path inside the crate; the longest one wins.
fn layer_of(path: &str) -> Option<(&'static str, Layer)> {
    let entries = LAYERS.iter().flat_map(|(layer, modules)| modules.iter().map(|module| (*module, *layer)));
    entries
        .filter(|(module, _)| path == *module || path.starts_with(&format!("{module}::")))
        .max_by_key(|(module, _)| module.len())
}

fn may_use(own: (&str, Layer), other: (&str, Layer)) -> bool {
    match own.1 {
        Layer::Face => true,
        Layer::Part if other.1 == Layer::Part => own.0 == other.0 || PART_ON_PART.contains(&(own.0, other.0)),
        layer if other.1 == layer => place_of(other.0) <= place_of(own.0),
        layer => other.1 < layer,
    }
}

/// Where a module stands in the order of its layer.
fn place_of(module: &str) -> Option<usize> {
    LAYERS.iter().find_map(|(_, modules)| modules.iter().position(|other| *other == module))
}

// Reading Rust, as much as the rules need.

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Where `word` stands alone.
fn words<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    text.match_indices(word)
        .map(|(at, _)| at)
        .filter(move |&at| !text[..at].ends_with(is_word) && !text[at + word.len()..].starts_with(is_word))
}

fn macros<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = usize> + 'a {
    words(text, name).filter(move |&at| {
        let after = &text[at + name.len()..];
        after.starts_with('!') && !after.starts_with("!=")
    })
}

/// Attributes with their place, up to the bracket that closes them.
fn attributes(code: &str) -> Vec<(usize, String)> {
    let starts = code.match_indices('#').map(|(at, _)| at);
    let attributes = starts.filter(|&at| code[at..].starts_with("#[") || code[at..].starts_with("#!["));
    attributes
        .map(|at| {
            let end = closing(code, at + code[at..].find('[').unwrap_or(0));
            (at, code[at..end].to_owned())
        })
        .collect()
}

/// The place after the bracket that closes the one at `open`.
fn closing(code: &str, open: usize) -> usize {
    let mut depth = 0_usize;
    for (i, c) in code[open..].char_indices() {
        match c {
            '[' | '{' | '(' => depth += 1,
            ']' | '}' | ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return open + i + c.len_utf8();
        }
    }
    code.len()
}

/// Puts spaces for everything from `start` to `end` but the line ends.
fn blank(text: &mut [u8], start: usize, end: usize) {
    for byte in &mut text[start..end] {
        if *byte != b'\n' {
            *byte = b' ';
        }
    }
}

/// Blanks out comments and the inside of string and character literals.
fn blank_out(text: &str) -> String {
    let source = text.as_bytes();
    let mut out = source.to_vec();
    let at = |i: usize| source.get(i).copied().unwrap_or(0);
    let find = |from: usize, what: &str| text[from..].find(what).map_or(source.len(), |found| from + found);
    let mut i = 0;
    while i < source.len() {
        let start = i;
        match (at(i), at(i + 1)) {
            (b'/', b'/') => {
                i = find(i, "\n");
                blank(&mut out, start, i);
            }
            (b'/', b'*') => {
                let mut depth = 0_usize;
                loop {
                    match (at(i), at(i + 1)) {
                        (b'/', b'*') => {
                            depth += 1;
                            i += 2;
                        }
                        (b'*', b'/') => {
                            depth -= 1;
                            i += 2;
                        }
                        _ => i += 1,
                    }
                    if depth == 0 || i >= source.len() {
                        break;
                    }
                }
                i = i.min(source.len());
                blank(&mut out, start, i);
            }
            (b'r', b'"' | b'#') if i == 0 || !is_word(char::from(at(i - 1))) || at(i - 1) == b'b' => {
                let hashes = source[i + 1..].iter().take_while(|byte| **byte == b'#').count();
                if at(i + 1 + hashes) == b'"' {
                    let inside = i + hashes + 2;
                    let end = find(inside, &format!("\"{}", "#".repeat(hashes)));
                    blank(&mut out, inside, end);
                    i = (end + 1 + hashes).min(source.len());
                } else {
                    i += 1;
                }
            }
            (b'"', _) => {
                i += 1;
                while i < source.len() && at(i) != b'"' {
                    i += if at(i) == b'\\' { 2 } else { 1 };
                }
                blank(&mut out, start + 1, i.min(source.len()));
                i = (i + 1).min(source.len());
            }
            // A character, not a lifetime: an escape, or a quote one character on.
            (b'\'', b'\\') => {
                let mut end = i + 3;
                while end < source.len() && at(end) != b'\'' {
                    end += 1;
                }
                blank(&mut out, start + 1, end.min(source.len()));
                i = (end + 1).min(source.len());
            }
            (b'\'', _) => {
                let next = text[i + 1..].chars().next().map_or(1, char::len_utf8);
                if at(i + 1 + next) == b'\'' {
                    blank(&mut out, start + 1, i + 1 + next);
                    i += next + 2;
                } else {
                    i += 1;
                }
            }
            _ => i += 1,
        }
    }
    // Only whole characters were replaced, each by as many spaces.
    String::from_utf8(out).unwrap()
}

/// Blanks out modules that only a test build has.
fn without_tests(code: &str) -> String {
    let mut out = code.as_bytes().to_vec();
    for (at, text) in attributes(code) {
        let for_tests = words(&text, "cfg").any(|at| at == 2) && words(&text, "test").next().is_some();
        let other_builds = ["not", "any"].iter().any(|word| words(&text, word).next().is_some());
        if !for_tests || other_builds {
            continue;
        }
        // Past further attributes, to what it is about.
        let mut item = at + text.len();
        loop {
            item += code[item..].len() - code[item..].trim_start().len();
            if !code[item..].starts_with("#[") {
                break;
            }
            item = closing(code, item + 1);
        }
        if let Some(open) = code[item..].find(['{', ';']).map(|found| item + found)
            && words(&code[item..open], "mod").next().is_some()
            && code[open..].starts_with('{')
        {
            let end = closing(code, open);
            blank(&mut out, at, end);
        }
    }
    String::from_utf8(out).unwrap()
}

/// How many `mod x { .. }` of the same file the place is inside of.
fn inline_modules(code: &str, at: usize) -> usize {
    let bodies = words(code, "mod").filter_map(|start| {
        let open = start + code[start..].find(['{', ';'])?;
        code[open..].starts_with('{').then(|| open..closing(code, open))
    });
    bodies.filter(|body| body.contains(&at)).count()
}

/// Where `use` items begin and end.
fn use_items(code: &str) -> Vec<(usize, usize)> {
    words(code, "use")
        // `+ use<'a>` is a bound.
        .filter(|&at| code[at + 3..].starts_with(char::is_whitespace))
        .map(|at| (at, code[at..].find(';').map_or(code.len(), |end| at + end)))
        .collect()
}

fn without_uses(code: &str) -> String {
    let mut out = code.as_bytes().to_vec();
    for (start, end) in use_items(code) {
        blank(&mut out, start, end);
    }
    String::from_utf8(out).unwrap()
}

fn imports(code: &str) -> Vec<Import> {
    let mut found = Vec::new();
    for (start, end) in use_items(code) {
        use_tree("", &code[start + 3..end], start + 3, &mut found);
    }
    found
}

/// Reads one tree of a `use` line: `a::{b, c as d, e::*}`.
fn use_tree(prefix: &str, text: &str, at: usize, found: &mut Vec<Import>) {
    let at = at + text.len() - text.trim_start().len();
    let text = text.trim();
    if text.is_empty() {
        return;
    }
    if let Some(open) = text.find('{') {
        let prefix = format!("{prefix}{}", text[..open].trim().trim_start_matches("::"));
        let close = text.rfind('}').unwrap_or(text.len());
        let mut depth = 0_usize;
        let mut start = open + 1;
        for (i, c) in text[..close].char_indices().skip_while(|(i, _)| *i <= open) {
            match c {
                '{' => depth += 1,
                '}' => depth = depth.saturating_sub(1),
                ',' if depth == 0 => {
                    use_tree(&prefix, &text[start..i], at + start, found);
                    start = i + 1;
                }
                _ => {}
            }
        }
        use_tree(&prefix, &text[start..close], at + start, found);
        return;
    }
    let (path, alias) = text.split_once(" as ").map_or((text, None), |(path, alias)| (path, Some(alias)));
    let path = path.trim().trim_start_matches("::");
    let full = format!("{prefix}{path}");
    let full = full.strip_suffix("::self").unwrap_or(&full).to_owned();
    let name = alias.unwrap_or_else(|| full.rsplit("::").next().unwrap_or_default()).trim().to_owned();
    found.push(Import { name, full, at });
}

/// Every path of at least two names in the code, with its place.
fn written_paths(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut i = 0;
    while i < code.len() {
        let rest = &code[i..];
        let c = rest.chars().next().unwrap_or(' ');
        if !is_word(c) {
            i += c.len_utf8();
            continue;
        }
        let start = i;
        let mut path = String::new();
        loop {
            let rest = &code[i..];
            let word = rest.find(|c| !is_word(c)).map_or(rest, |end| &rest[..end]);
            path.push_str(word);
            i += word.len();
            let after = &code[i..];
            if after.starts_with("::") && after[2..].starts_with(is_word) {
                path.push_str("::");
                i += 2;
            } else {
                break;
            }
        }
        // `.thread::x` cannot be; `a::<T>::b` is read as `a` and `b`, which is enough.
        if path.contains("::") {
            found.push((start, path));
        }
    }
    found
}
