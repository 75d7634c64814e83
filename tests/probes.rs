//! The shipped probes against real sockets, real programs and real files.

#![allow(clippy::disallowed_methods, reason = "servers are threads, and slow ones sleep")]
#![allow(clippy::unwrap_used, reason = "test code: a failed set-up is a failed test")]

mod support;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::thread;
use std::time::{Duration, Instant};

use loopkeeper::decode::Size;
use loopkeeper::{Context, Env, Error, ErrorKind, ManualClock, Name, Probe, Watcher, WatcherConfig, probe};
use support::{PATIENCE, TempDir, eventually, free_port};

/// For a probe that must end before its deadline.
const AMPLE: Duration = Duration::from_secs(60);
/// For a probe that must not.
const SHORT: Duration = Duration::from_millis(200);

fn context(timeout: Duration) -> Context {
    context_of(&Env::new().unwrap(), timeout)
}

fn context_of(env: &Env, timeout: Duration) -> Context {
    Context::detached(env, Name::new("probe").unwrap(), timeout)
}

/// What a probe says, as kind and text.
fn ask(probe: &mut dyn Probe, cx: &Context) -> Result<(), (ErrorKind, String)> {
    probe.probe(cx).map_err(|error| {
        let error = error.downcast::<Error>().unwrap();
        (error.kind(), error.report().to_string())
    })
}

/// Expects an error of a kind with these pieces of text, in order.
#[track_caller]
fn fails(probe: &mut dyn Probe, timeout: Duration, kind: ErrorKind, pieces: &[&str]) -> String {
    let (found, text) = ask(probe, &context(timeout)).unwrap_err();
    assert_eq!(found, kind, "{text}");
    let mut rest = &text[..];
    for piece in pieces {
        let at = rest.find(piece).unwrap_or_else(|| panic!("no {piece:?} in its place in {text:?}"));
        rest = &rest[at + piece.len()..];
    }
    text
}

#[track_caller]
fn works(mut probe: impl Probe) {
    assert_eq!(ask(&mut probe, &context(AMPLE)), Ok(()));
}

/// Expects that a probe which has nothing to wait for but its deadline ends
/// there, and at once when it is cancelled before.
#[track_caller]
fn ends(mut probe: impl Probe, pieces: &[&str]) {
    let start = Instant::now();
    let text = fails(&mut probe, SHORT, ErrorKind::Timeout, pieces);
    assert!(start.elapsed() >= SHORT / 2 && start.elapsed() < PATIENCE, "{text}");
    let cx = context(AMPLE);
    let token = cx.cancel_token().clone();
    let cancel = thread::spawn(move || {
        thread::sleep(Duration::from_millis(50));
        token.cancel();
    });
    let start = Instant::now();
    let (kind, text) = ask(&mut probe, &cx).unwrap_err();
    assert_eq!(kind, ErrorKind::Cancelled, "{text}");
    assert!(text.contains(": cancelled after "), "{text}");
    assert!(start.elapsed() < PATIENCE);
    cancel.join().unwrap();
    // A call that is cancelled before it begins does not begin.
    let (kind, _) = ask(&mut probe, &cx).unwrap_err();
    assert_eq!(kind, ErrorKind::Cancelled);
}

/// A listener that is there but takes no connection any more.
fn full_listener() -> (SocketAddr, TcpListener, Vec<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    // SAFETY: listen takes no pointers, and the socket is open. Again, with
    // the shortest queue.
    #[allow(unsafe_code, reason = "std cannot set the length of the queue")]
    let answer = unsafe { libc::listen(listener.as_raw_fd(), 0) };
    assert_eq!(answer, 0);
    let address = listener.local_addr().unwrap();
    let mut taken = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        taken.push(stream);
    }
    (address, listener, taken)
}

// TCP.

#[test]
fn tcp_tells_who_accepts() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    works(probe::tcp(address.to_string()));
    works(probe::tcp(format!("localhost:{}", address.port())));
    drop(listener);
    let text = format!("tcp {address}: connection refused after ");
    fails(&mut probe::tcp(address.to_string()), AMPLE, ErrorKind::Probe, &[&text, "ms"]);
    let port = free_port();
    fails(
        &mut probe::tcp(format!("localhost:{port}")),
        AMPLE,
        ErrorKind::Probe,
        &[&format!("tcp localhost:{port}: "), "connection refused", " after "],
    );
    fails(
        &mut probe::tcp("no-such-host.invalid:80"),
        AMPLE,
        ErrorKind::Probe,
        &["tcp no-such-host.invalid:80: failed to lookup address information"],
    );
    fails(&mut probe::tcp("x"), AMPLE, ErrorKind::InvalidArgument, &["address: expected HOST:PORT"]);
}

#[test]
fn tcp_to_ipv6_works_where_there_is_ipv6() {
    let Ok(listener) = TcpListener::bind("[::1]:0") else {
        println!("skipped: this machine has no IPv6");
        return;
    };
    works(probe::tcp(listener.local_addr().unwrap().to_string()));
}

#[test]
fn tcp_ends_while_nobody_answers() {
    let (address, _listener, _taken) = full_listener();
    ends(probe::tcp(address.to_string()), &[&format!("tcp {address}: no answer after ")]);
}

// Unix sockets.

#[test]
fn unix_tells_who_accepts() {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
    let folder = TempDir::new("unix");
    let path = folder.path().join("s");
    let text = path.to_str().unwrap();
    let listener = UnixListener::bind(&path).unwrap();
    works(probe::unix(&path));
    drop(listener);
    let refused = format!("unix {text}: connection refused after ");
    fails(&mut probe::unix(&path), AMPLE, ErrorKind::Probe, &[&refused, "ms"]);
    let file = folder.write("f", "");
    fails(&mut probe::unix(file), AMPLE, ErrorKind::Probe, &["/f: connection refused after "]);
    fails(
        &mut probe::unix(folder.path().join("f/x")),
        AMPLE,
        ErrorKind::Probe,
        &["/f/x: not a directory after "],
    );
    fails(
        &mut probe::unix("/no\n/such"),
        AMPLE,
        ErrorKind::Probe,
        &["unix /no\\n/such: no such file or folder"],
    );
    let datagrams = folder.path().join("d");
    let _datagrams = UnixDatagram::bind(&datagrams).unwrap();
    fails(&mut probe::unix(datagrams), AMPLE, ErrorKind::Probe, &["/d: it is a socket of another type"]);
    let name = format!("loopkeeper-test-{}", std::process::id());
    let missing = format!("unix @{name}: connection refused after ");
    fails(&mut probe::unix(format!("@{name}")), AMPLE, ErrorKind::Probe, &[&missing]);
    let _listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    works(probe::unix(format!("@{name}")));
    fails(&mut probe::unix(""), AMPLE, ErrorKind::InvalidArgument, &["path: must not be empty"]);
    fails(&mut probe::unix("/\0"), AMPLE, ErrorKind::InvalidArgument, &["path: must not have a NUL byte"]);
    fails(
        &mut probe::unix("x".repeat(108)),
        AMPLE,
        ErrorKind::InvalidArgument,
        &["at most 107 bytes, found 108"],
    );
}

#[test]
fn unix_ends_while_nobody_keeps_up() {
    use std::os::unix::net::{UnixListener, UnixStream};
    let folder = TempDir::new("unix");
    let path = folder.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    // SAFETY: listen takes no pointers, and the socket is open. Again, with
    // the shortest queue.
    #[allow(unsafe_code, reason = "std cannot set the length of the queue")]
    let answer = unsafe { libc::listen(listener.as_raw_fd(), 0) };
    assert_eq!(answer, 0);
    let _taken = UnixStream::connect(&path).unwrap();
    ends(probe::unix(&path), &["unix ", ": nobody takes the connection, the queue is full, after "]);
    drop(listener.accept().unwrap());
    works(probe::unix(&path));
}

// Names.

#[test]
fn dns_tells_what_a_name_is() {
    works(probe::dns("localhost"));
    fails(
        &mut probe::dns("no-such-host.invalid"),
        AMPLE,
        ErrorKind::Probe,
        &["dns no-such-host.invalid: failed to lookup address information", " after "],
    );
    let [a, b] = ["192.0.2.1", "192.0.2.2"].map(|address| address.parse().unwrap());
    fails(
        &mut probe::dns("localhost").expect_address(a).expect_address(b),
        AMPLE,
        ErrorKind::Probe,
        &["dns localhost: 192.0.2.1, 192.0.2.2 are not among its addresses, which are ", ", after "],
    );
    for (host, text) in [
        ("", "host: expected the name of a host such as \"db.internal\", found \"\""),
        ("a/b", "host: expected the name of a host"),
        ("127.0.0.1", "host: expected a name to look up, found the address \"127.0.0.1\""),
    ] {
        fails(&mut probe::dns(host), AMPLE, ErrorKind::InvalidArgument, &[text]);
    }
}

/// With a resolver that never answers, which takes root and a mount of its own.
#[test]
fn a_lookup_that_hangs_is_named_and_is_the_only_one() {
    const CHILD: &str = "LOOPKEEPER_TEST_RESOLVER";
    if std::env::var_os(CHILD).is_none() {
        let folder = TempDir::new("dns");
        let conf = folder.write("resolv.conf", "nameserver 127.0.0.153\noptions timeout:2 attempts:1\n");
        let run = "mount --bind \"$1\" /etc/resolv.conf && exec \"$0\" --exact a_lookup_that_hangs_is_named_and_is_the_only_one";
        let mut child = std::process::Command::new("unshare");
        child.args(["-m", "sh", "-c", run]).arg(std::env::current_exe().unwrap()).arg(conf).env(CHILD, "1");
        let Ok(output) = child.output() else {
            println!("skipped: there is no unshare");
            return;
        };
        let text = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() && !text.contains("running 1 test") {
            println!("skipped: {}", String::from_utf8_lossy(&output.stderr));
            return;
        }
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
        return;
    }
    let Ok(resolver) = std::net::UdpSocket::bind("127.0.0.153:53") else {
        println!("skipped: no resolver can be here");
        return;
    };
    resolver.set_read_timeout(Some(PATIENCE)).unwrap();
    let backoff = loopkeeper::watch::BackoffConfig {
        initial_delay: Duration::from_millis(1),
        probe_timeout: Duration::from_millis(200),
        ..Default::default()
    };
    let config = WatcherConfig::new("names", probe::dns("db.example")).backoff(backoff);
    let watcher = Watcher::start(config).unwrap();
    // Somebody asks.
    resolver.recv(&mut [0; 512]).unwrap();
    eventually("the lookup is told as stuck", || watcher.status().timeouts > 0);
    let status = watcher.status();
    let call = status.call.unwrap();
    assert_eq!((&*call.phase, call.stuck), ("looking up db.example", true));
    let activity = call.activity.unwrap();
    assert_eq!(activity.is, loopkeeper::status::ActivityKind::Blocked, "{activity}");
    assert_eq!(status.runs, 1, "one outstanding lookup");
    let report = watcher.stop(Duration::from_millis(100));
    let straggler = &report.stragglers()[0];
    assert_eq!((straggler.phase, straggler.doing.as_deref()), ("its call", Some("looking up db.example")));
    assert_eq!((straggler.thread.as_str(), straggler.tid > 0), ("w/names", true));
    let text = report.to_string();
    assert!(text.contains("names is still in its call after ") && text.contains(", blocked"), "{text}");
    assert!(text.ends_with("): looking up db.example"), "{text}");
    drop(resolver);
    eventually("the resolver gives up", || watcher.wait_timeout(Duration::from_millis(20)));
}

// What calls say of themselves.

#[test]
fn a_stuck_call_says_whether_it_computes_or_waits() {
    use loopkeeper::status::ActivityKind;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    let over = Arc::new(AtomicBool::new(false));
    let (theirs, ours) = std::sync::mpsc::channel::<()>();
    let spins = over.clone();
    let backoff = || loopkeeper::watch::BackoffConfig {
        probe_timeout: Duration::from_millis(50),
        ..Default::default()
    };
    let spin = move |cx: &Context| {
        cx.step("counting sheep");
        while !spins.load(Ordering::Relaxed) {
            std::hint::spin_loop();
        }
        Ok(())
    };
    let wait = move |_: &Context| Ok(ours.recv()?);
    let env = Env::new().unwrap();
    let burning = Watcher::start_in(&env, WatcherConfig::new("spin", spin).backoff(backoff())).unwrap();
    let blocked = Watcher::start_in(&env, WatcherConfig::new("wait", wait).backoff(backoff())).unwrap();
    let seen = |watcher: &Watcher| {
        let call = watcher.status().call.filter(|call| call.stuck)?;
        let activity = call.activity?;
        activity.cpu_percent.map(|_| (call.phase.to_string(), activity.is))
    };
    eventually("both were looked at twice", || seen(&burning).is_some() && seen(&blocked).is_some());
    let (phase, is) = seen(&burning).unwrap();
    // A machine with more to do than it can gives it less than half of itself.
    assert!(phase == "counting sheep" && is != ActivityKind::Blocked, "{phase} {is}");
    assert_eq!(seen(&blocked).unwrap(), ("in its call".to_owned(), ActivityKind::Blocked));
    let json = serde_json::to_value(blocked.status()).unwrap();
    assert_eq!(json["call"]["activity"]["is"], "blocked", "{json}");
    assert!(burning.status().to_string().contains(", counting sheep for "), "{}", burning.status());

    let report = burning.stop(Duration::from_millis(300));
    let straggler = &report.stragglers()[0];
    assert_eq!(straggler.doing.as_deref(), Some("counting sheep"));
    assert!(
        straggler.activity.as_ref().is_some_and(|activity| activity.is != ActivityKind::Blocked),
        "{report}"
    );
    over.store(true, Ordering::Relaxed);
    drop(theirs);
    eventually("both end", || burning.wait_timeout(SHORT) && blocked.status().call.is_none());
    assert!(blocked.stop(PATIENCE).is_clean());
}

/// Every example in the pages about probes, as the daemon reads it.
#[cfg(feature = "http-client")]
#[test]
fn every_kind_has_a_page_with_a_descriptor() {
    use loopkeeper::host::deploy::Descriptor;
    let registry = loopkeeper::shipped::registry();
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap();
    let check = |page: &str, block: &str| {
        let text: String =
            block.lines().map(|line| line.trim_start_matches("///").to_owned() + "\n").collect();
        let text = text.split("```").next().unwrap();
        Descriptor::parse(page, text.as_bytes(), &registry)
            .unwrap_or_else(|faults| panic!("{faults}: {text}"));
        text.to_owned()
    };
    let page = read("src/docs/probes.md");
    for kind in ["http", "tcp", "unix", "dns", "exec", "file_age", "disk", "heartbeat"] {
        let section =
            page.split(&format!("\n## {kind}\n")).nth(1).unwrap_or_else(|| panic!("no page for {kind}"));
        let section = section.split("\n## ").next().unwrap();
        let block = section.split("```json\n").nth(1).unwrap_or_else(|| panic!("no example of {kind}"));
        let text = check(kind, block);
        assert!(text.contains(&format!("\"{kind}\": {{")), "{text}");
        assert!(section.contains(&format!("probe::{kind}")), "{kind} in Rust");
    }
    for file in ["src/probe/unix.rs", "src/probe/dns.rs", "src/probe/heartbeat.rs"] {
        read(file).split("```json\n").skip(1).for_each(|block| drop(check(file, block)));
    }
}

#[test]
fn what_the_system_would_cut_short_is_refused_before_it_is_asked() {
    let hour = Duration::from_secs(3600);
    let all: [(Box<dyn Probe>, &str); 7] = [
        (Box::new(probe::file_age("/etc/passwd\0x", hour)), "path: must not have a NUL byte"),
        (Box::new(probe::disk("/\0", Size::Bytes(1))), "path: must not have a NUL byte"),
        (Box::new(probe::exec(["a\0b"])), "command[0]: must not have a NUL byte"),
        (Box::new(probe::exec(["true", "ge\0heim"])), "command[1]: must not have a NUL byte"),
        (
            Box::new(probe::exec(["true"]).env("A", "ge\0heim")),
            "env: the value of A: must not have a NUL byte",
        ),
        (Box::new(probe::exec(["true"]).current_dir("/\0")), "current_dir: must not have a NUL byte"),
        (
            Box::new(probe::tcp("x\0:80")),
            "address: expected HOST:PORT such as \"127.0.0.1:1883\" or \"[::1]:1883\", found \"x\\0:80\"",
        ),
    ];
    for (mut probe, text) in all {
        let error = probe.check().unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::InvalidArgument, text));
        fails(&mut probe, AMPLE, ErrorKind::InvalidArgument, &[text]);
    }
}

// Programs.

#[test]
fn exec_tells_how_a_program_ended() {
    works(probe::exec(["true"]));
    works(probe::exec(["sh", "-c", "test \"$A\" = b && test \"$(pwd)\" = /"]).env("A", "b").current_dir("/"));
    let sh = |script: &str| probe::exec(["sh", "-c", script]);
    let folder = TempDir::new("exec");
    let script = folder.write("script", "#!/no/such\n");
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&script, executable).unwrap();
    let script = script.to_str().unwrap().to_owned();
    for (mut probe, kind, pieces) in [
        (probe::exec(["/usr/bin/false"]), ErrorKind::Probe, &["exec /usr/bin/false: exit code 1 after "][..]),
        (
            sh("echo out; echo err >&2; exit 3"),
            ErrorKind::Probe,
            &["exec sh: exit code 3 after ", ": out\\nerr"],
        ),
        (sh("kill -9 $$"), ErrorKind::Probe, &["exec sh: killed by signal 9 (SIGKILL) after "]),
        (sh("kill -TERM $$"), ErrorKind::Probe, &["exec sh: killed by signal 15 (SIGTERM) after "]),
        (probe::exec(["/no/such"]), ErrorKind::Io, &["exec /no/such: no such program or interpreter"]),
        (probe::exec([script.as_str()]), ErrorKind::Io, &["script: no such program or interpreter"]),
        (probe::exec(["/etc/passwd"]), ErrorKind::Io, &["exec /etc/passwd: may not be executed"]),
        (
            probe::exec(["true"]).current_dir("/no/such"),
            ErrorKind::Io,
            &["exec true: cannot run in /no/such, which is no folder"],
        ),
        (probe::exec([""]), ErrorKind::InvalidArgument, &["command: must name a program"]),
        (probe::exec(Vec::<String>::new()), ErrorKind::InvalidArgument, &["command: must name a program"]),
    ] {
        fails(&mut probe, AMPLE, kind, pieces);
    }
}

#[test]
fn exec_reads_all_output_and_keeps_its_end() {
    works(probe::exec(["sh", "-c", "head -c 10000000 /dev/zero"]));
    let text = fails(
        &mut probe::exec(["sh", "-c", "head -c 10000000 /dev/zero | tr '\\0' x; echo; echo the end; exit 1"]),
        AMPLE,
        ErrorKind::Probe,
        &["exit code 1 after ", ": …", "xxx\\nthe end"],
    );
    assert!(text.len() < 1200, "{}", text.len());
    // All is said at once and then it ends: what waits is still heard.
    for _ in 0..10 {
        let at_once = ["sh", "-c", "printf '%060000d\\nthe end' 7; exit 1"];
        fails(&mut probe::exec(at_once), AMPLE, ErrorKind::Probe, &["0007\\nthe end"]);
    }
    fails(
        &mut probe::exec(["printf", "\\377\\376a\\033[31m\\n%d", "x"]),
        AMPLE,
        ErrorKind::Probe,
        &["\u{fffd}\u{fffd}a\\u{1b}[31m"],
    );
}

#[test]
fn exec_ends_and_leaves_nothing_of_the_group() {
    // Numbers that no other process has on its command line.
    let id = std::process::id();
    let script = format!("sleep 1{id}.25 & sleep 1{id}.25");
    ends(probe::exec(["sh", "-c", &script]), &["exec sh: still ran after ", ", killed"]);
    // The kernel ends what was killed in its own time.
    eventually("the group is gone", || running(&format!("1{id}.25")) == 0);
    // Output without end does not outrun the deadline.
    ends(probe::exec(["yes", &format!("1{id}.25")]), &["exec yes: still ran after ", ", killed: …"]);
    eventually("the group is gone", || running(&format!("1{id}.25")) == 0);
    // The end of the program is the end, whoever holds its output.
    let start = Instant::now();
    works(probe::exec(["sh", "-c", &format!("sleep 1{id}.5 & exit 0")]));
    // Nor does it wait for who left the group, and ends by itself.
    fails(
        &mut probe::exec(["sh", "-c", &format!("echo x; setsid sleep 2.{id} & sleep 0.2; exit 4")]),
        AMPLE,
        ErrorKind::Probe,
        &["exit code 4 after ", ": x"],
    );
    assert!(start.elapsed() < PATIENCE);
    eventually("what was left in the background is gone", || running(&format!("1{id}.5")) == 0);
}

/// How many processes have this on their command lines, and are not zombies.
fn running(argument: &str) -> usize {
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let lines = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    lines.filter(|line| line.split(|byte| *byte == 0).any(|word| word == argument.as_bytes())).count()
}

#[test]
fn a_program_run_by_a_loop_can_be_asked_to_end() {
    let blocked = Watcher::start(WatcherConfig::new("own", |_: &Context| {
        let status = std::fs::read_to_string("/proc/thread-self/status")?;
        let mask = status.lines().find(|line| line.starts_with("SigBlk"));
        Err(mask.unwrap_or_default().into())
    }))
    .unwrap();
    eventually("the first verdict", || blocked.last_error().is_some());
    let own = blocked.last_error().unwrap().to_string();
    assert!(own.starts_with("SigBlk:") && !own.ends_with("0000000000000000"), "{own}");
    // Without a shell, which has its own mind about signals; the second file
    // makes it fail, so that its output is told.
    let mask = probe::exec(["grep", "SigBlk", "/proc/self/status", "/no/such"]);
    let watcher = Watcher::start(WatcherConfig::new("mask", mask)).unwrap();
    eventually("the first verdict", || watcher.last_error().is_some());
    let text = watcher.last_error().unwrap().to_string();
    assert!(text.contains("SigBlk:\\t0000000000000000"), "{text}");
    assert!(watcher.stop(PATIENCE).is_clean());
}

#[test]
fn an_ignored_sigchld_is_told_and_can_be_set_back() {
    const CHILD: &str = "LOOPKEEPER_TEST_IGNORED";
    if std::env::var_os(CHILD).is_none() {
        // In a process of its own: signals are for all of its threads.
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "an_ignored_sigchld_is_told_and_can_be_set_back"]).env(CHILD, "1");
        let output = child.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
        return;
    }
    // SAFETY: no handler is set, and the set is initialised before it is read.
    #[allow(unsafe_code, reason = "std cannot ignore or block signals")]
    unsafe {
        libc::signal(libc::SIGCHLD, libc::SIG_IGN);
        let mut set = std::mem::zeroed();
        libc::sigfillset(&mut set);
        libc::pthread_sigmask(libc::SIG_SETMASK, &set, std::ptr::null_mut());
    }
    fails(
        &mut probe::exec(["true"]),
        AMPLE,
        ErrorKind::Io,
        &["exec true: ", ": this process ignores SIGCHLD", "signals::reset_inherited"],
    );
    #[cfg(feature = "signals")]
    {
        loopkeeper::signals::reset_inherited().unwrap();
        works(probe::exec(["true"]));
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap();
        let mask = u64::from_str_radix(mask.trim(), 16).unwrap();
        for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGCHLD] {
            assert_eq!(mask >> (signal - 1) & 1, 0, "{signal}");
        }
        assert_eq!(mask >> (libc::SIGUSR1 - 1) & 1, 1, "others stay blocked");
    }
}

// Descriptors.

#[test]
fn a_process_without_descriptors_blames_itself() {
    const CHILD: &str = "LOOPKEEPER_TEST_NO_FILES";
    if std::env::var_os(CHILD).is_none() {
        // In a process of its own: the limit is for all of its threads.
        let run = "ulimit -n 48 && exec \"$0\" --exact a_process_without_descriptors_blames_itself";
        let mut child = std::process::Command::new("sh");
        child.args(["-c", run]).arg(std::env::current_exe().unwrap()).env(CHILD, "1");
        let output = child.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut probes: Vec<(Box<dyn Probe>, String)> = vec![
        (Box::new(probe::tcp(address.to_string())), format!("tcp {address}")),
        (Box::new(probe::tcp(format!("localhost:{}", address.port()))), "tcp localhost".to_owned()),
        (Box::new(probe::exec(["true"])), "exec true".to_owned()),
    ];
    #[cfg(feature = "http-client")]
    probes.push((Box::new(probe::http(format!("http://{address}/"))), format!("GET http://{address}/")));
    let cx = context(SHORT);
    let mut files: Vec<_> = std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect();
    for n_free in 0..12 {
        for (probe, what) in &mut probes {
            match ask(&mut **probe, &cx) {
                Err((ErrorKind::Budget, text)) => {
                    assert!(text.starts_with(&**what), "{text}");
                    assert!(text.contains(": this process has no file descriptor left: "), "{text}");
                }
                Ok(()) | Err((ErrorKind::Timeout, _)) => assert!(n_free > 0, "{what}"),
                other => panic!("{n_free} {what}: {other:?}"),
            }
        }
        files.pop();
    }
}

// Files and disks.

#[test]
fn file_age_compares_with_the_wall_clock() {
    let folder = TempDir::new("file-age");
    let file = folder.write("stamp", "x");
    let hour = Duration::from_secs(3600);
    works(probe::file_age(&file, hour));
    works(probe::file_age(folder.path(), hour));
    let set = |back: Duration, forth: Duration| {
        let time = std::time::SystemTime::now() - back + forth;
        std::fs::File::options().write(true).open(&file).unwrap().set_modified(time).unwrap();
    };
    set(Duration::ZERO, 5 * hour);
    works(probe::file_age(&file, hour));
    set(2 * hour, Duration::ZERO);
    fails(
        &mut probe::file_age(&file, hour),
        AMPLE,
        ErrorKind::Probe,
        &["file_age ", "stamp: last written 2h0m", " ago, allowed is 1h0m0s"],
    );
    fails(
        &mut probe::file_age(folder.path().join("none"), hour),
        AMPLE,
        ErrorKind::Probe,
        &["none: no such file or folder"],
    );
    let under_a_file = probe::file_age(file.join("x"), hour);
    fails(&mut { under_a_file }, AMPLE, ErrorKind::Io, &["stamp/x: not a directory"]);
    fails(&mut probe::file_age("", hour), AMPLE, ErrorKind::InvalidArgument, &["path: must not be empty"]);
    fails(
        &mut probe::file_age("/", Duration::ZERO),
        AMPLE,
        ErrorKind::InvalidArgument,
        &["max_age: must be"],
    );
}

#[test]
fn what_a_name_does_to_a_terminal_is_not_done_by_an_error() {
    let path = "/no/\u{202e}x\x1b[1m\ny";
    let escaped = "/no/\\u{202e}x\\u{1b}[1m\\ny";
    let all: [(Box<dyn Probe>, ErrorKind); 4] = [
        (Box::new(probe::file_age(path, AMPLE)), ErrorKind::Probe),
        (Box::new(probe::disk(path, Size::Bytes(1))), ErrorKind::Probe),
        (Box::new(probe::exec([path])), ErrorKind::Io),
        (Box::new(probe::exec(["true"]).current_dir(path)), ErrorKind::Io),
    ];
    for (mut probe, kind) in all {
        let text = fails(&mut probe, AMPLE, kind, &[escaped]);
        assert!(!text.contains(|c: char| c.is_control() || c == '\u{202e}'), "{text:?}");
    }
}

#[test]
fn disk_tells_free_and_needed() {
    works(probe::disk("/", Size::Bytes(1)));
    works(probe::disk("/tmp", Size::Percent(0.000_001)));
    fails(
        &mut probe::disk("/", Size::Percent(100.0)),
        AMPLE,
        ErrorKind::Probe,
        &["disk /: ", "iB (", "%) of ", "iB free, needed ", "iB (100.0%)"],
    );
    fails(&mut probe::disk("/no/such", Size::Bytes(1)), AMPLE, ErrorKind::Probe, &["no such file or folder"]);
}

// Clocks.

#[test]
fn on_a_manual_clock_a_probe_waits_as_long_in_real_time() {
    let (address, _listener, _taken) = full_listener();
    let env = Env::manual(&ManualClock::default()).unwrap();
    let cx = context_of(&env, SHORT);
    let start = Instant::now();
    let (kind, _) = ask(&mut probe::tcp(address.to_string()), &cx).unwrap_err();
    assert_eq!(kind, ErrorKind::Timeout);
    assert!(start.elapsed() >= SHORT / 2 && start.elapsed() < PATIENCE);
    assert_eq!(cx.remaining(), SHORT);
}

#[cfg(feature = "http-client")]
mod http {
    use std::io::{Read, Write};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Accepts connections and has each served on a thread of its own.
    fn serve(each: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let each = Arc::new(each);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, each) = (stream.unwrap(), each.clone());
                thread::spawn(move || each(stream));
            }
        });
        address
    }

    /// Reads a request's head.
    fn request(stream: &mut TcpStream) -> String {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n == 1) {
            head.push(byte[0]);
        }
        String::from_utf8_lossy(&head).into_owned()
    }

    /// A server that answers every request with these bytes, and closes.
    fn answering(answer: impl Into<Vec<u8>>) -> String {
        let answer = answer.into();
        url(serve(move |mut stream| {
            request(&mut stream);
            // A client that has seen enough is gone.
            let _ = stream.write_all(&answer);
        }))
    }

    fn url(address: SocketAddr) -> String {
        format!("http://{address}/")
    }

    fn ok(body: &str) -> String {
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    }

    const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nall\r\n6\r\n is we\r\n2\r\nll\r\n0\r\n\r\n";

    #[test]
    fn status_and_body_decide() {
        works(probe::http(answering(ok("all is well"))).expect_body("is well"));
        works(probe::http(answering(CHUNKED)).expect_body("all is well"));
        works(probe::http(answering("HTTP/1.0 200 OK\r\n\r\nall is well")).expect_body("well"));
        works(probe::http(answering("HTTP/1.1 204 No Content\r\n\r\n")));
        works(probe::http(answering("HTTP/1.1 404 Not Found\r\n\r\n")).expect_status(404..=404));
        works(probe::http(answering("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n")).method("HEAD"));
        let busy = answering("HTTP/1.1 503 Busy\r\ncontent-length: 11\r\n\r\n\"no\" \x1b[1m\n");
        fails(
            &mut probe::http(&busy),
            AMPLE,
            ErrorKind::Probe,
            &[
                &format!("GET {busy}: status 503, expected 200-299, after "),
                "ms; body: \"\"no\" \\u{1b}[1m\"",
            ],
        );
        fails(
            &mut probe::http(&busy).method("POST").expect_status(200..=200).expect_status(300..=399),
            AMPLE,
            ErrorKind::Probe,
            &[&format!("POST {busy}: status 503, expected 200 or 300-399, after ")],
        );
        let wrong = answering(ok("all is lost"));
        fails(
            &mut probe::http(&wrong).expect_body("well"),
            AMPLE,
            ErrorKind::Probe,
            &[&format!("GET {wrong}: body does not contain \"well\", after "), "; body: \"all is lost\""],
        );
        let port = free_port();
        fails(
            &mut probe::http(format!("http://127.0.0.1:{port}/x?token=geheim")),
            AMPLE,
            ErrorKind::Probe,
            &[&format!("GET http://127.0.0.1:{port}/x?…: connection refused after ")],
        );
        fails(&mut probe::http("x"), AMPLE, ErrorKind::InvalidArgument, &["url: must begin with http://"]);
    }

    #[test]
    fn conditions_look_into_the_body_by_pointer() {
        let json = |text: &str| text.parse().unwrap();
        let body = r#"{"state": "ok", "queue": {"depth": 512}, "a/b": [1]}"#;
        let server =
            answering(format!("HTTP/1.1 200 OK\r\nx-v: 7\r\ncontent-length: {}\r\n\r\n{body}", body.len()));
        works(
            probe::http(&server)
                .expect_json(json("body./state == 'ok' and body./a~1b/0 == 1"))
                .expect_json(json("header.x-v == '7' and status in 200..299 and latency < 1m")),
        );
        let get = format!("GET {server}: ");
        for (condition, pieces) in [
            (
                "body./queue/depth < 100",
                &["body./queue/depth < 100 does not hold: body./queue/depth is the number 512, after "][..],
            ),
            (
                "body./queue/dept < 100",
                &["cannot be told: body: /queue has no \"dept\", did you mean \"depth\"?, after "],
            ),
            ("body./state < 5", &["cannot be told: body./state: expected a number, found the string \"ok\""]),
            ("header.etag == 'x'", &["cannot be told: header.etag is missing"]),
        ] {
            let text = fails(
                &mut probe::http(&server).expect_json(json(condition)),
                AMPLE,
                ErrorKind::Probe,
                pieces,
            );
            assert!(text.starts_with(&get), "{text}");
        }
        let has = || json("has(body./state)");
        fails(
            &mut probe::http(&server).max_body(20).expect_json(has()),
            AMPLE,
            ErrorKind::Probe,
            &["the body is not JSON (EOF", "(of the body the first 20 bytes were read), after "],
        );
        // Control characters, and a document that nests without end.
        fails(
            &mut probe::http(answering(ok("\x1b[1m{\n"))).expect_json(has()),
            AMPLE,
            ErrorKind::Probe,
            &["the body is not JSON (expected value at line 1 column 1): \"\\u{1b}[1m{\\n\""],
        );
        let deep = ok(&"[".repeat(60_000));
        let text = fails(
            &mut probe::http(answering(deep)).expect_json(has()),
            AMPLE,
            ErrorKind::Probe,
            &["the body is not JSON (recursion limit exceeded"],
        );
        assert!(text.len() < 2048, "{}", text.len());
        let file = probe::http(&server).expect_json(json("age(/x) < 1h"));
        assert_eq!(
            file.check().unwrap_err().to_string(),
            "expect_json[0]: is about the file \"/x\", expected the answer only"
        );
    }

    #[test]
    fn a_server_that_lies_about_length_is_not_believed() {
        let has = || "body./a == 1".parse().unwrap();
        let json = |head: &str, body: &str| answering(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{body}"));
        let closed = "connection closed before the answer was over after ";
        let document = r#"{"a": 1}"#;
        // More was promised than came; it is whole JSON all the same.
        fails(
            &mut probe::http(json("content-length: 9", document)).expect_json(has()),
            AMPLE,
            ErrorKind::Probe,
            &[closed],
        );
        // Less was promised than came: what is beyond belongs to no answer.
        fails(
            &mut probe::http(json("content-length: 7", document)).expect_json(has()),
            AMPLE,
            ErrorKind::Probe,
            &["the body is not JSON (EOF"],
        );
        for head in [
            "content-length: 8\r\ncontent-length: 9",
            "content-length: -8",
            "content-length: 99999999999999999999999",
            "content-length: 0x8",
        ] {
            let (kind, text) =
                ask(&mut probe::http(json(head, document)).expect_json(has()), &context(AMPLE)).unwrap_err();
            assert_eq!(kind, ErrorKind::Probe, "{head}: {text}");
        }
        // Chunks win over a length, as the protocol says.
        let both = json("content-length: 3\r\ntransfer-encoding: chunked", "8\r\n{\"a\": 1}\r\n0\r\n\r\n");
        works(probe::http(both).expect_json(has()));
        works(probe::http(json("content-length: 8", document)).expect_json(has()));
    }

    #[test]
    fn the_request_is_what_was_asked_for() {
        let seen = Arc::new(std::sync::Mutex::new(String::new()));
        let theirs = seen.clone();
        let address = serve(move |mut stream| {
            *theirs.lock().unwrap() = request(&mut stream);
            let _ = stream.write_all(b"HTTP/1.1 500 No\r\n\r\n");
        });
        let url = format!("http://user:geheim@{address}/a?b=c");
        let mut probe = probe::http(url).method("PUT").header("X-Token", "t").header("host", "example.org");
        let text =
            fails(&mut probe, AMPLE, ErrorKind::Probe, &["PUT http://***@127.0.0.1", "/a?…: status 500"]);
        assert!(!text.contains("geheim"));
        let seen = seen.lock().unwrap().to_lowercase();
        assert!(seen.starts_with("put /a?b=c http/1.1\r\n"), "{seen}");
        for line in [
            "x-token: t",
            "host: example.org",
            "connection: close",
            "content-length: 0",
            "authorization: basic dxnlcjpnzwhlaw0=",
            concat!("user-agent: loopkeeper/", env!("CARGO_PKG_VERSION")),
        ] {
            assert!(seen.contains(&format!("{line}\r\n")), "no {line} in {seen}");
        }
    }

    #[test]
    fn a_user_and_password_are_sent_as_they_are_meant() {
        let address = serve(|mut stream| {
            // `u:p@`
            let known = request(&mut stream).to_lowercase().contains("authorization: basic dtpwqa==\r\n");
            let status = if known { "200 OK" } else { "401 No" };
            let _ = stream.write_all(format!("HTTP/1.1 {status}\r\n\r\n").as_bytes());
        });
        works(probe::http(format!("http://u:p%40@{address}/")));
        // What was set by hand stands.
        works(probe::http(format!("http://x:y@{address}/")).header("Authorization", "Basic dTpwQA=="));
        let bad = probe::http("http://u:p%4@h/").check().unwrap_err();
        assert_eq!(bad.kind(), ErrorKind::InvalidArgument);
        assert!(bad.to_string().starts_with("url: has a % without two hexadecimal digits"), "{bad}");
    }

    #[test]
    fn redirects_are_followed_only_when_told_to() {
        let address = serve(|mut stream| {
            let head = request(&mut stream);
            let answer = match head.split(' ').nth(1).unwrap_or_default() {
                "/there" => ok("here"),
                "/loop" => "HTTP/1.1 302 Found\r\nlocation: /loop\r\ncontent-length: 0\r\n\r\n".to_owned(),
                "/tls" => "HTTP/1.1 302 Found\r\nlocation: https://127.0.0.1:1/\r\n\r\n".to_owned(),
                _ => "HTTP/1.1 302 Found\r\nlocation: /there\r\ncontent-length: 0\r\n\r\n".to_owned(),
            };
            let _ = stream.write_all(answer.as_bytes());
        });
        let at = |path: &str| format!("http://{address}{path}");
        fails(
            &mut probe::http(at("/")),
            AMPLE,
            ErrorKind::Probe,
            &["status 302 to /there, expected 200-299, after "],
        );
        works(probe::http(at("/")).follow_redirects(1).expect_body("here"));
        fails(
            &mut probe::http(at("/loop")).follow_redirects(3),
            AMPLE,
            ErrorKind::Probe,
            &["redirected more than 3 times after "],
        );
        let https = fails(&mut probe::http(at("/tls")).follow_redirects(1), AMPLE, ErrorKind::Probe, &[]);
        assert!(cfg!(feature = "tls") || https.contains("needs the feature `tls`"), "{https}");
    }

    #[test]
    fn a_redirect_names_who_was_asked_last_and_tells_them_no_secrets() {
        let seen = Arc::new(std::sync::Mutex::new(String::new()));
        let theirs = seen.clone();
        let last = serve(move |mut stream| {
            *theirs.lock().unwrap() = request(&mut stream).to_lowercase();
            let _ = stream.write_all(b"HTTP/1.1 500 No\r\n\r\n");
        });
        let port = free_port();
        let first = serve(move |mut stream| {
            let head = request(&mut stream);
            let location = match head.split(' ').nth(1).unwrap_or_default() {
                "/gone" => format!("http://x:geheim@127.0.0.1:{port}/?geheim"),
                "/ftp" => "ftp://127.0.0.1/".to_owned(),
                "/port" => "http://127.0.0.1:0/".to_owned(),
                _ => format!("http://{last}/"),
            };
            let _ =
                stream.write_all(format!("HTTP/1.1 302 Found\r\nlocation: {location}\r\n\r\n").as_bytes());
        });
        let at = |path: &str| probe::http(format!("http://u:geheim@{first}{path}")).follow_redirects(2);
        let shown = format!("GET http://***@{first}");
        let fails = |path: &str, piece: String| {
            let text =
                super::fails(&mut at(path), AMPLE, ErrorKind::Probe, &[&format!("{shown}{path}{piece}")]);
            assert!(!text.contains("geheim"), "{text}");
        };
        fails("/gone", format!(" -> http://***@127.0.0.1:{port}/?…: connection refused after "));
        fails("/ftp", ": redirected to the scheme ftp, which is neither http nor https after ".to_owned());
        fails("/port", ": redirected to a URL that cannot be used: expected a port".to_owned());
        let mut other = at("/").header("Host", "a.example").header("Cookie", "a=b").header("x-a", "b");
        super::fails(
            &mut other,
            AMPLE,
            ErrorKind::Probe,
            &[&format!("{shown}/ -> http://{last}/: status 500, expected 200-299, after ")],
        );
        let seen = seen.lock().unwrap();
        assert!(seen.contains(&format!("host: {last}\r\n")) && seen.contains("x-a: b\r\n"), "{seen}");
        assert!(!seen.contains("authorization") && !seen.contains("cookie"), "{seen}");
    }

    #[test]
    fn a_body_is_read_to_its_bound_only() {
        let sent = Arc::new(AtomicUsize::new(0));
        let ours = sent.clone();
        let address = serve(move |mut stream| {
            request(&mut stream);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n");
            while let Ok(n) = stream.write(&[b'x'; 4096]) {
                ours.fetch_add(n, Ordering::Relaxed);
            }
        });
        works(probe::http(url(address)));
        works(probe::http(url(address)).max_body(0));
        fails(
            &mut probe::http(url(address)).expect_body("y"),
            AMPLE,
            ErrorKind::Probe,
            &["body does not contain \"y\" in its first 65536 bytes, after ", "; body: \"xxx", "…\""],
        );
        // The rest is what the sockets between hold.
        assert!(sent.load(Ordering::Relaxed) < 500_000_000);
    }

    #[test]
    fn answers_that_break_off_are_failures() {
        let cut = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort";
        let closed = "connection closed before the answer was over after ";
        fails(&mut probe::http(answering(cut)), AMPLE, ErrorKind::Probe, &[closed]);
        fails(&mut probe::http(answering("HTTP/1.1 200")), AMPLE, ErrorKind::Probe, &[closed]);
        fails(&mut probe::http(answering("")), AMPLE, ErrorKind::Probe, &[closed]);
        let chunk = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nabc";
        fails(&mut probe::http(answering(chunk)), AMPLE, ErrorKind::Probe, &[closed]);
        let bad_chunk = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nabc\r\n";
        fails(&mut probe::http(answering(bad_chunk)), AMPLE, ErrorKind::Probe, &["the answer is not HTTP: "]);
        fails(
            &mut probe::http(answering("SSH-2.0-x\r\n")),
            AMPLE,
            ErrorKind::Probe,
            &["the answer is not HTTP: "],
        );
        let long = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(30_000));
        fails(&mut probe::http(answering(long)), AMPLE, ErrorKind::Probe, &["headers are too long"]);
        // Closed with the request unread: a reset.
        let reset = url(serve(|stream| {
            let mut byte = [0];
            let _ = (&stream).read(&mut byte);
        }));
        let text =
            fails(&mut probe::http(&reset), AMPLE, ErrorKind::Probe, &[&format!("GET {reset}: connection ")]);
        assert!(text.contains("reset") || text.contains("closed"), "{text}");
    }

    #[test]
    fn a_request_ends_whatever_the_server_does() {
        let (address, _listener, _taken) = full_listener();
        ends(probe::http(url(address)), &[&format!("GET http://{address}/: no answer after ")]);
        let silent = serve(|mut stream| {
            request(&mut stream);
            thread::sleep(AMPLE);
        });
        ends(probe::http(url(silent)), &[&format!("GET http://{silent}/: no answer from {silent} after ")]);
        let dribble = |prefix: &'static str| {
            serve(move |mut stream| {
                request(&mut stream);
                let _ = stream.write_all(prefix.as_bytes());
                while stream.write_all(b"x").is_ok() {
                    thread::sleep(Duration::from_millis(10));
                }
            })
        };
        for prefix in [
            "HTTP/1.1 200 OK\r\nx-head: ",
            "HTTP/1.1 200 OK\r\ncontent-length: 60000\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n",
        ] {
            let address = dribble(prefix);
            let text = format!("GET http://{address}/: answer from {address} not over, ");
            ends(probe::http(url(address)), &[&text, " bytes so far, after "]);
        }
        // The verdict does not wait for a refused answer's body.
        let stuck = serve(|mut stream| {
            request(&mut stream);
            let _ = stream.write_all(b"HTTP/1.1 503 Busy\r\n\r\nthe first word");
            thread::sleep(AMPLE);
        });
        let start = Instant::now();
        fails(
            &mut probe::http(url(stuck)),
            AMPLE,
            ErrorKind::Probe,
            &["status 503, expected 200-299, after ", "; body: \"the first word\""],
        );
        assert!(start.elapsed() < PATIENCE);
    }

    #[test]
    fn a_server_that_died_is_noticed_by_the_next_call() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            drop(listener);
            request(&mut stream);
            stream.write_all(ok("alive").as_bytes()).unwrap();
            // Stays connected, as a server that was killed behind a proxy.
            stream
        });
        let cx = context(AMPLE);
        let mut probe = probe::http(url(address));
        assert_eq!(ask(&mut probe, &cx), Ok(()));
        let _stream = server.join().unwrap();
        let (_, text) = ask(&mut probe, &cx).unwrap_err();
        assert!(text.contains("connection refused"), "{text}");
    }

    #[test]
    fn a_loop_has_stack_enough_for_a_request() {
        let watcher =
            Watcher::start(WatcherConfig::new("web", probe::http(answering(CHUNKED)).expect_body("well")))
                .unwrap();
        assert!(watcher.wait_ready(PATIENCE), "{}", watcher.status());
        let silent = serve(|_stream| thread::sleep(AMPLE));
        let stuck = Watcher::start(WatcherConfig::new("stuck", probe::http(url(silent)))).unwrap();
        thread::sleep(Duration::from_millis(50));
        for watcher in [watcher, stuck] {
            let report = watcher.stop(PATIENCE);
            assert!(report.is_clean(), "{report}");
        }
    }

    #[cfg(feature = "tls")]
    #[test]
    fn https_is_spoken_and_ends_like_http() {
        let silent = serve(|_stream| thread::sleep(AMPLE));
        let https = |address: SocketAddr| format!("https://{address}/");
        ends(
            probe::http(https(silent)),
            &[&format!("GET https://{silent}/: no answer from {silent} after ")],
        );
        let plain = serve(|mut stream| {
            let _ = stream.write_all(ok("x").as_bytes());
        });
        fails(&mut probe::http(https(plain)), AMPLE, ErrorKind::Probe, &["https://"]);
        // A certificate that nobody vouches for.
        let folder = TempDir::new("tls");
        let (key, cert) = (folder.path().join("key.pem"), folder.path().join("cert.pem"));
        let made = std::process::Command::new("openssl")
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"])
            .args(["-addext", "subjectAltName=DNS:localhost", "-keyout"])
            .arg(&key)
            .arg("-out")
            .arg(&cert)
            .output();
        if !made.is_ok_and(|made| made.status.success()) {
            println!("skipped: no openssl");
            return;
        }
        let port = free_port();
        let mut server = std::process::Command::new("openssl")
            .args(["s_server", "-www", "-quiet", "-accept", &port.to_string(), "-key"])
            .arg(&key)
            .arg("-cert")
            .arg(&cert)
            .spawn()
            .unwrap();
        eventually("openssl listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        let text =
            fails(&mut probe::http(format!("https://localhost:{port}/")), AMPLE, ErrorKind::Probe, &[]);
        server.kill().unwrap();
        server.wait().unwrap();
        assert!(text.contains("invalid peer certificate"), "{text}");
    }
}
