//! The library from C: programs that are compiled with `cc`, linked with the
//! shared library and run.

#![allow(clippy::unwrap_used, reason = "test code: what cannot be made is a failed test")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

const WARNINGS: [&str; 4] = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A folder with the library under the names that a linker and a loader ask
/// for.
fn library() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let beside = std::env::current_exe().unwrap();
        let built = beside.parent().unwrap().join("libloopkeeper.so");
        assert!(built.is_file(), "no {}", built.display());
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("c_abi");
        std::fs::create_dir_all(&folder).unwrap();
        for name in ["libloopkeeper.so", "libloopkeeper.so.1"] {
            let link = folder.join(name);
            let _ = std::fs::remove_file(&link);
            std::os::unix::fs::symlink(&built, &link).unwrap();
        }
        folder
    })
}

/// Runs a command; its output, or a failed test.
#[track_caller]
fn run(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{command:?}: {status}\n{stdout}{stderr}");
    stdout.into_owned()
}

/// Compiles a program of one file.
#[track_caller]
fn compile(source: &str, more: &[&str]) -> PathBuf {
    let source = root().join(source);
    let program = library().join(source.file_stem().unwrap());
    let mut cc = Command::new("cc");
    cc.args(["-std=c99", "-g", "-D_POSIX_C_SOURCE=200809L"])
        .args(WARNINGS)
        .arg("-I")
        .arg(root().join("src/capi"));
    cc.arg("-o").arg(&program).arg(&source).args(more);
    cc.arg("-L").arg(library()).args(["-lloopkeeper", "-lpthread", "-ldl"]);
    cc.arg(format!("-Wl,-rpath,{}", library().display()));
    run(&mut cc);
    program
}

#[track_caller]
fn compile_and_run(source: &str) -> String {
    let program = compile(source, &[]);
    run(Command::new("timeout").arg("120").arg(program))
}

#[test]
fn the_example_watches_two_services_and_stops_cleanly() {
    let output = compile_and_run("examples/c/watch.c");
    assert!(output.contains("watcher queue: ready (attempt 3"), "{output}");
    assert!(output.contains("watcher root-disk: ready (attempt 1"), "{output}");
    assert!(output.contains("callback: the queue is ready"), "{output}");
    assert!(output.contains("stopped: clean"), "{output}");
    assert!(output.ends_with("callback: nobody asks the queue any more\n"), "{output}");
}

#[test]
fn the_header_stands_alone_in_every_dialect() {
    let folder = library();
    let header = root().join("src/capi/loopkeeper.h");
    for (compiler, language, standard) in
        [("cc", "c", "c99"), ("cc", "c", "c11"), ("cc", "c", "c17"), ("c++", "c++", "c++17")]
    {
        let mut command = Command::new(compiler);
        if compiler == "c++" && Command::new("c++").arg("--version").output().is_err() {
            println!("not there: c++");
            continue;
        }
        command.args(["-x", language, &format!("-std={standard}"), "-fsyntax-only"]).args(WARNINGS);
        run(command.arg(&header).current_dir(folder));
    }
}
