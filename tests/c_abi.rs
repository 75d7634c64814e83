//! The library from C: programs that are compiled with `cc`, linked with the
//! shared library and run; and what the header promises.

#![allow(clippy::unwrap_used, reason = "test code: what cannot be made is a failed test")]

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::Duration;

use loopkeeper::ErrorKind;
use loopkeeper::capi::LK_ABI_VERSION;

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
        for name in ["libloopkeeper.so".to_owned(), format!("libloopkeeper.so.{LK_ABI_VERSION}")] {
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
fn compile(source: &Path) -> PathBuf {
    let program = library().join(source.file_stem().unwrap());
    let mut cc = Command::new("cc");
    cc.args(["-std=c99", "-g", "-D_XOPEN_SOURCE=700"]).args(WARNINGS);
    cc.arg("-I").arg(root().join("src/capi")).arg("-I").arg(root().join("tests/c"));
    cc.arg("-o").arg(&program).arg(source);
    cc.arg("-L").arg(library()).args(["-lloopkeeper", "-lpthread", "-ldl"]);
    cc.arg(format!("-Wl,-rpath,{}", library().display()));
    run(&mut cc);
    program
}

#[track_caller]
fn check(source: &str, arguments: &[&Path]) -> String {
    let program = compile(&root().join(source));
    run(Command::new("timeout").arg("120").arg(program).args(arguments))
}

#[test]
fn the_example_watches_two_services_and_stops_cleanly() {
    let output = check("examples/c/watch.c", &[]);
    assert!(output.contains("watcher queue: ready (attempt 3"), "{output}");
    assert!(output.contains("watcher root-disk: ready (attempt 1"), "{output}");
    assert!(output.contains("callback: the queue is ready"), "{output}");
    assert!(output.contains("stopped: clean"), "{output}");
    assert!(output.ends_with("callback: nobody asks the queue any more\n"), "{output}");
}

#[test]
fn the_examples_of_a_host_a_controller_a_recovery_and_a_loop_of_ones_own_work() {
    let output = check("examples/c/host.c", &[]);
    assert!(output.contains("db: starts") && output.contains("api is ready"), "{output}");
    assert!(output.contains("refused: web: start: port 80 is taken"), "{output}");
    assert!(output.ends_with("api: stops\ndb: stops\nstopped: clean\n"), "{output}");
    let output = check("examples/c/controller.c", &[]);
    assert!(output.contains("leases: health 1 after 2 runs, 0 leases left"), "{output}");
    assert!(output.contains("shelf-b is down: a crack in the middle"), "{output}");
    let output = check("examples/c/recovery.c", &[]);
    assert!(output.contains("run-1 runs as run-2 after 2 attempts"), "{output}");
    let output = check("examples/c/epoll.c", &[]);
    assert!(output.ends_with("3 events, and no more\n"), "{output}");
}

#[test]
fn every_part_works() {
    let folder = fresh_folder("everything");
    assert_eq!(check("tests/c/everything.c", &[&folder]), "well\n");
}

#[test]
fn handles_and_members_are_found_out_after_their_end() {
    assert_eq!(check("tests/c/handles.c", &[]), "well\n");
}

#[test]
fn callbacks_may_fail_hang_and_call_whatever_they_like() {
    assert_eq!(check("tests/c/callbacks.c", &[]), "well\n");
}

#[test]
fn inputs_that_cannot_be_meant_are_refused() {
    assert_eq!(check("tests/c/inputs.c", &[]), "well\n");
}

#[test]
fn two_hosts_do_not_notice_each_other_and_a_folder_runs_in_one_call() {
    let folder = fresh_folder("hosts");
    assert_eq!(check("tests/c/hosts.c", &[&folder]), "well\n");
}

#[test]
fn a_child_of_a_process_that_uses_the_library_is_refused() {
    assert_eq!(check("tests/c/fork.c", &[]), "well\n");
}

#[test]
fn the_library_can_be_unloaded_after_a_clean_stop() {
    // Not linked with it, so that the last use unloads it.
    let program = library().join("unload");
    let mut cc = Command::new("cc");
    cc.args(["-std=c99", "-g", "-D_XOPEN_SOURCE=700"]).args(WARNINGS);
    cc.arg("-I").arg(root().join("src/capi")).arg("-I").arg(root().join("tests/c"));
    run(cc.arg("-o").arg(&program).arg(root().join("tests/c/unload.c")).args(["-lpthread", "-ldl"]));
    let output = run(Command::new("timeout").arg("120").arg(program).arg(library().join("libloopkeeper.so")));
    assert_eq!(output, "well\n");
}

fn fresh_folder(name: &str) -> PathBuf {
    let folder = library().join(format!("{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// The programs in C in a document.
fn programs_in(document: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root().join(document)).unwrap();
    let blocks = text.split("\n```c\n").skip(1);
    blocks.map(|block| block.split_once("\n```").unwrap().0.to_owned() + "\n").collect()
}

#[test]
fn the_programs_of_the_guides_work() {
    for (document, name) in [("README.md", "readme.c"), ("src/docs/c.md", "guide.c")] {
        let programs = programs_in(document);
        assert_eq!(programs.len(), 1, "{document}");
        let source = library().join(name);
        std::fs::write(&source, &programs[0]).unwrap();
        let program = compile(&source);
        assert_eq!(run(Command::new("timeout").arg("60").arg(program)), "the queue is ready\n", "{document}");
    }
}

/// A folder as cargo leaves it, and what `make install` makes of it.
fn install_from(target: &Path) -> Output {
    let to = target.join("installed");
    let mut make = Command::new("make");
    make.arg("-C").arg(root().join("examples/c")).arg("install");
    make.arg(format!("TARGET={}", target.display())).arg(format!("DESTDIR={}", to.display()));
    make.output().unwrap()
}

#[test]
fn what_was_built_without_the_interface_is_not_installed() {
    let target = fresh_folder("without");
    let build = |profile: &str, code: &str| {
        let folder = target.join(profile);
        std::fs::create_dir_all(&folder).unwrap();
        let source = folder.join("part.c");
        std::fs::write(&source, code).unwrap();
        let built = folder.join("libloopkeeper.so");
        run(Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&built).arg(&source));
        built
    };
    let without = build("release", "int other(void) { return 1; }");
    let refused = install_from(&target);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("make library"), "{said}");
    let with = build("release-c", "int lk_abi_version(void) { return 1; }");
    let earlier = std::fs::metadata(&without).unwrap().modified().unwrap() - Duration::from_secs(10);
    std::fs::File::options().append(true).open(&with).unwrap().set_modified(earlier).unwrap();
    let done = install_from(&target);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let installed = target.join(format!("installed/usr/local/lib/libloopkeeper.so.{LK_ABI_VERSION}"));
    assert_eq!(std::fs::read(installed).unwrap(), std::fs::read(with).unwrap());
}

#[test]
fn the_header_stands_alone_in_every_dialect() {
    let header = root().join("src/capi/loopkeeper.h");
    for (compiler, language, standard) in
        [("cc", "c", "c99"), ("cc", "c", "c11"), ("cc", "c", "c17"), ("c++", "c++", "c++17")]
    {
        if Command::new(compiler).arg("--version").output().is_err() {
            println!("not there: {compiler}");
            continue;
        }
        let mut command = Command::new(compiler);
        command.args(["-x", language, &format!("-std={standard}"), "-fsyntax-only"]).args(WARNINGS);
        run(command.arg(&header));
    }
}

// The header, as text.

fn header() -> String {
    std::fs::read_to_string(root().join("src/capi/loopkeeper.h")).unwrap()
}

/// The header without its comments, a declaration a line.
fn declarations() -> Vec<String> {
    let text = header();
    let mut bare = String::new();
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once("/*") {
        bare.push_str(before);
        rest = after.split_once("*/").unwrap().1;
    }
    bare.push_str(rest);
    let mut found = Vec::new();
    let mut open = String::new();
    for line in bare.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(define) = line.strip_prefix("#define LK_") {
            found.push(format!("#define LK_{define}"));
        }
        if line.starts_with('#') || line.starts_with("extern \"C\"") || line == "}  // extern \"C\"" {
            continue;
        }
        if !open.is_empty() {
            open.push(' ');
        }
        open.push_str(line);
        let is_balanced = open.matches('{').count() == open.matches('}').count();
        if open.ends_with(';') && is_balanced {
            found.push(std::mem::take(&mut open));
        }
    }
    assert_eq!(open, "", "the header ends inside of a declaration");
    found
}

struct Function {
    returns: String,
    name: String,
    /// Types and names.
    parameters: Vec<(String, String)>,
}

fn functions() -> Vec<Function> {
    let is_one = |line: &&String| !line.starts_with("typedef") && !line.starts_with('#');
    let parse = |line: String| {
        let (before, after) = line.split_once('(').unwrap();
        let at = before.rfind(['*', ' ']).unwrap() + 1;
        let parameters = after.strip_suffix(");").unwrap();
        let parameters = parameters.split(", ").filter(|parameter| *parameter != "void").map(|parameter| {
            let at = parameter.rfind(['*', ' ']).unwrap() + 1;
            (parameter[..at].trim().to_owned(), parameter[at..].to_owned())
        });
        Function {
            returns: before[..at].trim().to_owned(),
            name: before[at..].to_owned(),
            parameters: parameters.collect(),
        }
    };
    declarations().into_iter().filter(|line| is_one(&line)).map(parse).collect()
}

#[test]
fn the_binary_interface_is_the_one_that_was_written_down() {
    let path = root().join("src/capi/symbols.txt");
    let mut now = format!(
        "# The binary interface, version {LK_ABI_VERSION}. Lines may be added; one that goes or changes\n\
         # breaks programs, and wants another LK_ABI_VERSION and another soname.\n"
    );
    for line in declarations() {
        now.push_str(&line);
        now.push('\n');
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    if written != now {
        let fresh = library().join("symbols.txt");
        std::fs::write(&fresh, &now).unwrap();
        let written: BTreeSet<&str> = written.lines().collect();
        let now: BTreeSet<&str> = now.lines().collect();
        let gone: Vec<_> = written.difference(&now).collect();
        let new: Vec<_> = now.difference(&written).collect();
        panic!(
            "{} is another: gone or changed: {gone:#?}, new: {new:#?}; what it should be is in {}",
            path.display(),
            fresh.display()
        );
    }
}

#[test]
fn what_is_exported_is_what_the_header_declares() {
    let output = run(Command::new("nm")
        .args(["-D", "--defined-only", "--format=posix"])
        .arg(library().join("libloopkeeper.so")));
    let exported: BTreeSet<String> =
        output.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect();
    let declared: BTreeSet<String> = functions().into_iter().map(|function| function.name).collect();
    assert_eq!(exported, declared);
    assert!(declared.len() > 150 && declared.iter().all(|name| name.starts_with("lk_")));
}

/// What is called when the library is loaded.
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
fn constructors() -> Vec<String> {
    let library = library().join("libloopkeeper.so");
    let number = |text: &str| u64::from_str_radix(text, 16).unwrap();
    let sections = run(Command::new("readelf").args(["-W", "-S"]).arg(&library));
    for other in [".ctors", ".preinit_array"] {
        assert!(!sections.contains(&format!(" {other} ")), "{sections}");
    }
    // A line is: name, type, address, offset, size.
    let fields = sections.lines().find_map(|line| line.split_once(" .init_array ")).unwrap().1;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let (begin, size) = (number(fields[1]), number(fields[3]));
    let relocations = run(Command::new("readelf").args(["-W", "-r"]).arg(&library));
    let entries = relocations.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let at = u64::from_str_radix(fields.first()?, 16).ok()?;
        (begin..begin + size).contains(&at).then(|| number(fields[3]))
    });
    let names = run(Command::new("nm").arg(&library));
    let name_of = |address: u64| {
        let line = names
            .lines()
            .find(|line| line.split(' ').next().is_some_and(|at| at == format!("{address:016x}")));
        line.map_or_else(|| format!("{address:x}"), |line| line.rsplit(' ').next().unwrap().to_owned())
    };
    let names: Vec<String> = entries.map(name_of).collect();
    assert_eq!(names.len() as u64, size / 8, "{names:?}");
    names
}

#[test]
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
fn loading_runs_no_code_of_the_library() {
    // The C runtime's, which registers tables for unwinding; and, on glibc, the
    // standard library's, which notes where the program's arguments are.
    let is_allowed = |name: &str| name == "frame_dummy" || name.contains("ARGV_INIT_ARRAY");
    let constructors = constructors();
    assert!(!constructors.is_empty() && constructors.iter().all(|name| is_allowed(name)), "{constructors:?}");
}

#[test]
fn every_kind_of_error_and_every_function_is_in_the_manual() {
    let text = header();
    for kind in ErrorKind::ALL {
        let number = kind as i32;
        let is_there = text.lines().any(|line| {
            line.starts_with("#define LK_ERR_") && line.split(' ').next_back() == Some(&number.to_string())
        });
        assert!(is_there, "{kind:?} = {number}");
    }
    assert!(text.contains(&format!("#define LK_ABI_VERSION {LK_ABI_VERSION}\n")));
    for function in functions() {
        let at = text.rfind(&format!(" {}(", function.name)).max(text.rfind(&format!("*{}(", function.name)));
        let before = &text[..at.unwrap()];
        let comment = &before[before.rfind("/**").unwrap()..];
        let comment = comment.replace("\n *", "");
        for word in ["Returns:", "Thread:"] {
            assert!(comment.contains(word), "{} does not say {word}", function.name);
        }
        let thread = comment.split("Thread: ").nth(1).unwrap();
        let is_known = ["any", "one", "owner"].iter().any(|word| thread.starts_with(word));
        assert!(is_known, "{}: Thread: {thread}", function.name);
        assert!(comment.contains("lock"), "{} does not say whether it blocks", function.name);
        // What ends threads waits for them.
        let waits = function.name.ends_with("_free") && thread.starts_with("owner");
        assert!(!waits || thread.contains("Blocks"), "{} says that it does not block", function.name);
    }
}

// Every function with each pointer wrong.

/// Parameters that may be NULL.
const OPTIONAL: [(&str, &str); 19] = [
    ("", "needed"),
    ("", "report"),
    ("lk_env_new", "config"),
    ("lk_alerts_start", "config"),
    ("lk_host_new", "config"),
    ("lk_config_reload", "changed"),
    ("lk_recovery_watch_run", "metadata_json"),
    ("lk_executor_recover", "checkpoint_path"),
    ("lk_executor_recover", "metadata_json"),
    ("lk_context_report", "reason"),
    ("lk_run_descriptor_dir", "log"),
    ("lk_run_descriptor_dir", "cancel"),
    ("lk_watch_manager_watch", "out"),
    ("lk_watch_manager_replace", "out"),
    ("lk_host_register", "out"),
    ("lk_host_deploy", "out"),
    ("lk_host_deploy_json", "out"),
    ("lk_host_replace", "out"),
    ("lk_host_replace_json", "out"),
];

struct Matrix {
    handles: BTreeSet<String>,
    structs: BTreeSet<String>,
}

impl Matrix {
    fn is_handle(&self, kind: &str) -> bool {
        self.handles.contains(kind)
    }

    /// An argument that is right.
    fn good(&self, function: &Function, kind: &str, name: &str) -> String {
        let bare = kind.trim_start_matches("const ").trim_end_matches([' ', '*']);
        match kind {
            "const char *" => "\"x\"".to_owned(),
            "char *" => "buf".to_owned(),
            "const lk_context *" => "cx".to_owned(),
            _ if kind.ends_with("**") => format!("&no_{bare}"),
            _ if kind.ends_with('*') && self.is_handle(bare) => format!("all.{}", &bare[3..]),
            _ if kind.ends_with('*') && self.structs.contains(bare) => format!("&good_{bare}"),
            _ if kind.ends_with('*') => format!("&some_{bare}"),
            "size_t" if name == "size" => {
                let of = function.parameters[0].0.trim_end_matches([' ', '*']);
                format!("sizeof({of})")
            }
            "size_t" => "1".to_owned(),
            "double" => "0.0".to_owned(),
            _ => "0".to_owned(),
        }
    }

    fn call(&self, function: &Function, wrong: usize, argument: &str) -> String {
        let arguments = function.parameters.iter().enumerate().map(|(idx, (kind, name))| {
            if idx == wrong { argument.to_owned() } else { self.good(function, kind, name) }
        });
        format!("{}({})", function.name, arguments.collect::<Vec<_>>().join(", "))
    }

    /// The calls of one function, and what each returns.
    fn lines(&self, function: &Function) -> Vec<String> {
        let mut lines = Vec::new();
        let mut add = |expected: &str, call: String| {
            lines.push(match function.returns.as_str() {
                "lk_status" => format!("    IS({expected}, {call});"),
                _ => format!("    (void){call};"),
            });
        };
        for (idx, (kind, name)) in function.parameters.iter().enumerate() {
            if kind == "lk_health" || ["is_terminal", "dry_run"].contains(&name.as_str()) {
                add("LK_ERR_RANGE", self.call(function, idx, "99"));
                add("LK_ERR_RANGE", self.call(function, idx, "-1"));
            }
            if kind == "size_t" && name == "size" {
                add("LK_ERR_SIZE", self.call(function, idx, "0"));
                add("LK_ERR_SIZE", self.call(function, idx, "SIZE_MAX"));
            }
            if !kind.ends_with('*') {
                continue;
            }
            let may_be_null =
                |&(of, parameter): &(&str, &str)| parameter == name && (of.is_empty() || of == function.name);
            let bare = kind.trim_start_matches("const ").trim_end_matches([' ', '*']);
            let is_handle = self.is_handle(bare) && !kind.ends_with("**");
            if is_handle && function.name.ends_with("_free") {
                add("LK_OK", self.call(function, idx, "NULL"));
            } else if !OPTIONAL.iter().any(may_be_null) {
                add("LK_ERR_NULL", self.call(function, idx, "NULL"));
            }
            if is_handle {
                let other = if bare == "lk_clock" { "all.env" } else { "all.clock" };
                let pointer = if kind.starts_with("const") { "const void *" } else { "void *" };
                add("LK_ERR_STALE", self.call(function, idx, &format!("stale.{}", &bare[3..])));
                add("LK_ERR_HANDLE", self.call(function, idx, &format!("({kind})({pointer}){other}")));
                add("LK_ERR_HANDLE", self.call(function, idx, &format!("({kind})({pointer})&all")));
            }
            if kind == "const char *" {
                add("LK_ERR_UTF8", self.call(function, idx, "bad"));
            }
            if self.structs.contains(bare) && !function.name.ends_with("_init") {
                add("LK_ERR_SIZE", self.call(function, idx, &format!("&zero_{bare}")));
            }
            if kind == "const lk_context *" {
                add("LK_ERR_STALE", self.call(function, idx, "(const lk_context *)(const void *)&all"));
            }
        }
        // Whatever these answer, they come back.
        for (idx, (kind, _)) in function.parameters.iter().enumerate() {
            if kind == "const char *" {
                for text in ["\"\"", "mega"] {
                    lines.push(format!("    (void){};", self.call(function, idx, text)));
                }
            }
        }
        lines
    }
}

#[test]
fn every_function_takes_every_wrong_pointer() {
    let declared = declarations();
    let ends = |prefix: &str, suffix: &str| {
        let named = declared.iter().filter_map(|line| line.strip_prefix(prefix)?.strip_suffix(suffix));
        named.map(|rest| rest.rsplit(' ').next().unwrap().to_owned()).collect::<BTreeSet<String>>()
    };
    let mut handles = ends("typedef struct lk_", ";");
    assert!(handles.remove("lk_context") && handles.len() > 15, "{handles:?}");
    let structs: BTreeSet<String> = ends("typedef struct {", ";");
    assert!(structs.len() > 15, "{structs:?}");
    let matrix = Matrix { handles, structs };

    let functions = functions();
    let in_callback =
        |function: &Function| function.parameters.iter().any(|(kind, _)| kind == "const lk_context *");
    let mut text = String::from(
        "#include \"fixture.h\"\n\nstatic struct all all, stale;\nstatic char buf[64];\n\
         static char mega[1048577];\nstatic const char bad[] = {'a', (char)0xc0, 0};\n",
    );
    for handle in &matrix.handles {
        let _ = writeln!(text, "static {handle} *no_{handle};");
    }
    for name in &matrix.structs {
        if functions.iter().any(|function| function.name == format!("{name}_init")) {
            let _ = writeln!(text, "static {name} good_{name}, zero_{name};");
        }
    }
    for scalar in ["size_t", "uint64_t", "int64_t", "int32_t", "int", "double", "lk_member"] {
        let _ = writeln!(text, "static {scalar} some_{scalar};");
    }
    let mut n = 0;
    let mut body = |text: &mut String, wanted: bool| {
        for function in functions.iter().filter(|function| in_callback(function) == wanted) {
            for line in matrix.lines(function) {
                n += 1;
                text.push_str(&line);
                text.push('\n');
            }
        }
    };
    text.push_str("\nstatic int n_probes;\n\nstatic int32_t inside(void *userdata, const lk_context *cx)\n{\n    (void)userdata;\n");
    body(&mut text, true);
    text.push_str("    COUNT(n_probes);\n    return 0;\n}\n\nstatic void outside(void)\n{\n");
    body(&mut text, false);
    text.push_str(
        "}\n\nint main(void)\n{\n    lk_watcher_config config;\n    lk_watcher *watcher = NULL;\n\n",
    );
    for name in &matrix.structs {
        if functions.iter().any(|function| function.name == format!("{name}_init")) {
            let _ = writeln!(text, "    OK({name}_init(&good_{name}, sizeof good_{name}));");
            let _ = writeln!(text, "    (void)zero_{name};");
        }
    }
    for handle in &matrix.handles {
        // Used by some calls only.
        let _ = writeln!(text, "    (void)no_{handle};");
    }
    text.push_str(
        "    memset(mega, 'x', sizeof mega - 1);\n    make_all(&stale);\n    free_all(&stale);\n    make_all(&all);\n    outside();\n    \
         OK(lk_watcher_config_init(&config, sizeof config));\n    config.name = \"inside\";\n    \
         config.probe = inside;\n    OK(lk_watcher_start(all.env, &config, &watcher));\n    \
         OK(lk_watcher_wait_ready(watcher, 10000));\n    CHECK(LOAD(n_probes) >= 1);\n    \
         OK(lk_watcher_free(watcher));\n    (void)some_int64_t;\n    (void)some_int32_t;\n    \
         (void)some_double;\n    (void)some_uint64_t;\n    (void)some_int;\n    (void)some_size_t;\n    \
         (void)some_lk_member;\n    free_all(&all);\n    puts(\"well\");\n    return 0;\n}\n",
    );
    assert!(n > 600, "only {n} calls");
    let source = library().join("matrix.c");
    std::fs::write(&source, text).unwrap();
    let program = compile(&source);
    assert_eq!(run(Command::new("timeout").arg("120").arg(program)), "well\n");
}
