//! What a service manager hears of the program and gives it: systemd's notify
//! protocol on a real datagram socket, its sockets and journal, s6's pipe.

use std::io::BufRead;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;

use super::*;

/// The socket that a service manager listens on.
struct Manager {
    socket: UnixDatagram,
    dir: TempDir,
    heard: Vec<String>,
}

impl Manager {
    fn new() -> Self {
        let dir = TempDir::new("notify");
        let socket = UnixDatagram::bind(dir.path().join("socket")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, dir, heard: Vec::new() }
    }

    fn run(&self, deploy: &TempDir, args: &[&str]) -> Command {
        let dir = deploy.path().to_str().unwrap();
        let args: Vec<&str> =
            ["run", "--deploy", dir, "--listen", "127.0.0.1:0"].iter().chain(args).copied().collect();
        let mut command = loopkeeper(&args);
        command.env("NOTIFY_SOCKET", self.dir.path().join("socket"));
        command
    }

    /// The next datagram.
    #[track_caller]
    fn next(&mut self) -> String {
        let mut bytes = [0; 4096];
        let n = self.socket.recv(&mut bytes).unwrap_or_else(|error| panic!("{error}: {:?}", self.heard));
        self.heard.push(String::from_utf8(bytes[..n].to_vec()).unwrap());
        self.heard.last().unwrap().clone()
    }

    /// Reads until a datagram has a line that begins like this.
    #[track_caller]
    fn until(&mut self, line: &str) -> String {
        loop {
            let datagram = self.next();
            if datagram.lines().any(|found| found.starts_with(line)) {
                return datagram;
            }
        }
    }
}

fn monotonic_usec() -> u128 {
    let uptime = fs::read_to_string("/proc/uptime").unwrap();
    let seconds: f64 = uptime.split_once(' ').unwrap().0.parse().unwrap();
    Duration::from_secs_f64(seconds).as_micros()
}

#[test]
fn systemd_hears_of_start_reload_and_stop() {
    let mut manager = Manager::new();
    let deploy = TempDir::new("notified");
    let up = TcpListener::bind("127.0.0.1:0").unwrap();
    deploy.write("up.json", tcp("up", up.local_addr().unwrap().port()));
    deploy.write("mqtt.json", tcp("mqtt", free_port()));
    let mut daemon = Daemon::spawn(&mut manager.run(&deploy, &[]));

    let ready = manager.until("READY=1");
    assert!(ready.contains("STATUS=1 ready, 1 down: mqtt\n"), "{ready}");
    assert_eq!(manager.heard[0], "STATUS=starting\n");

    let before = monotonic_usec();
    daemon.signal("-HUP");
    let reloading = manager.until("RELOADING=1");
    let usec = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).unwrap();
    let usec: u128 = usec.parse().unwrap();
    // To a hundredth of a second, as /proc says it.
    assert!(usec + 10_000 >= before && usec <= monotonic_usec() + 10_000, "{before} {usec}");
    manager.until("READY=1");

    // A service that goes is told.
    drop(up);
    let status = manager.until("STATUS=0 ready, 2 down");
    assert!(status.contains("mqtt") && status.contains("up"), "{status}");

    daemon.signal("-TERM");
    let stopping = manager.until("STOPPING=1");
    assert!(stopping.contains("STATUS=stopping: SIGTERM\n"), "{stopping}");
    manager.until("EXTEND_TIMEOUT_USEC=");
    assert_eq!(daemon.exit().code(), Some(0));
}

#[test]
fn a_manager_that_does_not_hear_it_is_told_of_in_the_log_once() {
    let deploy = TempDir::new("unheard");
    deploy.write("mqtt.json", tcp("mqtt", free_port()));
    let manager = Manager::new();
    fs::remove_file(manager.dir.path().join("socket")).unwrap();
    let mut daemon = Daemon::spawn(&mut manager.run(&deploy, &[]));
    eventually("it is ready all the same", || daemon.log().contains("ready: 0 ready, 1 down: mqtt"));
    let log = daemon.log();
    assert_eq!(log.matches("the service manager cannot be told").count(), 1, "{log}");
    assert!(log.contains(" WARN ") || log.contains("WARN  "), "{log}");
    daemon.stop();
}

#[test]
fn it_is_ready_although_something_waits_for_what_is_down() {
    let mut manager = Manager::new();
    let deploy = TempDir::new("waiting");
    deploy.write("router.json", tcp("router", free_port()));
    let child = tcp("mqtt", free_port()).replacen('{', r#"{"requires": ["router"], "#, 1);
    deploy.write("mqtt.json", child);
    let mut daemon = Daemon::spawn(&mut manager.run(&deploy, &[]));
    let ready = manager.until("READY=1");
    assert!(ready.contains("STATUS=0 ready, 1 down: router, 1 unknown: mqtt\n"), "{ready}");
    daemon.stop();
}

#[test]
fn systemd_is_told_that_it_is_alive_although_a_probe_hangs() {
    let mut manager = Manager::new();
    let deploy = TempDir::new("watched");
    // Accepts, and never answers.
    let hung = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!(r#"{{"http": {{"url": "http://{}/"}}}}"#, hung.local_addr().unwrap());
    deploy.write("hung.json", watcher("hung", &url));
    let mut command = manager.run(&deploy, &[]);
    let mut daemon = Daemon::spawn(command.env("WATCHDOG_USEC", "200000"));
    for _ in 0..5 {
        manager.until("WATCHDOG=1");
    }
    daemon.stop();
    // Somebody else's watchdog is none of its business.
    let mut command = manager.run(&deploy, &[]);
    manager.heard.clear();
    let mut daemon = Daemon::spawn(command.env("WATCHDOG_USEC", "20000").env("WATCHDOG_PID", "1"));
    manager.until("READY=1");
    daemon.stop();
    manager.until("STOPPING=1");
    assert!(!manager.heard.iter().any(|text| text.contains("WATCHDOG")), "{:?}", manager.heard);
}

#[test]
fn a_socket_of_the_service_manager_is_taken() {
    let deploy = TempDir::new("given");
    deploy.write("a.json", tcp("a", free_port()));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let dir = deploy.path().to_str().unwrap();
    // A shell puts the socket where it is to be, and its own number into the
    // environment of the program that takes its place.
    let run = |fd: OwnedFd| {
        let program = env!("CARGO_BIN_EXE_loopkeeper");
        let script = format!(
            "LISTEN_PID=$$ LISTEN_FDS=1 exec {program} run --deploy '{dir}' --listen none 3<&0 0</dev/null"
        );
        let mut command = Command::new("sh");
        command.args(["-c", &script]).env_clear().env("PATH", "/usr/bin:/bin").stdin(Stdio::from(fd));
        command
    };
    let mut daemon = Daemon::spawn(&mut run(listener.into()));
    assert_eq!(daemon.address, address.to_string());
    daemon.eventually_is("a", "down");
    daemon.stop();

    let file = File::open("/dev/null").unwrap();
    let (code, _, stderr) = ended(&run(file.into()).output().unwrap());
    assert_eq!(code, Some(2), "{stderr}");
    assert_eq!(stderr, "LISTEN_FDS: descriptor 3 (unknown) is no listening socket\n");
}

#[test]
fn s6_reads_a_line_when_it_is_ready() {
    let deploy = TempDir::new("s6");
    deploy.write("a.json", tcp("a", free_port()));
    let told = deploy.path().join("told");
    let dir = deploy.path().to_str().unwrap();
    let program = env!("CARGO_BIN_EXE_loopkeeper");
    let script = format!(
        "exec {program} run --deploy '{dir}' --listen 127.0.0.1:0 --notify-fd 5 5>'{}'",
        told.display()
    );
    let mut command = Command::new("sh");
    command.args(["-c", &script]).env_clear().env("PATH", "/usr/bin:/bin").stdin(Stdio::null());
    let mut daemon = Daemon::spawn(&mut command);
    eventually("the line", || fs::read(&told).unwrap() == b"\n");
    daemon.stop();
    // One that is not open is a mistake that is told.
    let (code, _, stderr) = run_to_end(&["run", "--deploy", dir, "--notify-fd", "60"]);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.starts_with("--notify-fd: descriptor 60: "), "{stderr}");
}

#[test]
fn the_journal_gets_the_level_of_each_line() {
    let deploy = TempDir::new("journal");
    deploy.write("a.json", tcp("a", free_port()));
    let (ours, theirs) = UnixStream::pair().unwrap();
    let theirs = File::from(OwnedFd::from(theirs));
    let seen = theirs.metadata().unwrap();
    let dir = deploy.path().to_str().unwrap();
    let mut command = loopkeeper(&["run", "--deploy", dir, "--listen", "none"]);
    command.env("JOURNAL_STREAM", format!("{}:{}", seen.dev(), seen.ino()));
    let mut child = command.stdout(Stdio::null()).stderr(theirs).spawn().unwrap();
    drop(command);
    let mut log = String::new();
    let mut reader = std::io::BufReader::new(ours);
    while !log.contains("watcher a: down") {
        assert!(reader.read_line(&mut log).unwrap() > 0, "{log}");
    }
    kill("-TERM", child.id());
    reader.read_to_string(&mut log).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(log.contains("<4>loopkeeper::watcher::a: watcher a: down"), "{log}");
    assert!(log.contains("<6>loopkeeper::daemon::run: stopped\n"), "{log}");
    assert!(log.lines().all(|line| line.starts_with('<')), "{log}");
}

#[test]
fn sigusr1_writes_how_everything_is_into_the_log() {
    let deploy = TempDir::new("dump");
    deploy.write("a.json", tcp("a", free_port()));
    let mut daemon = Daemon::start(&deploy, &["--log-format", "logfmt"]);
    daemon.eventually_is("a", "down");
    daemon.signal("-USR1");
    eventually("all of them", || daemon.log().contains("msg=\"watcher a: down since "));
    assert!(daemon.log().contains("msg=\"SIGUSR1: 3 loops, together down\""), "{}", daemon.log());
    daemon.stop();
}

#[test]
fn a_reload_that_is_asked_for_while_it_loads_does_not_end_it() {
    let deploy = TempDir::new("early");
    for n in 0..1000 {
        let name = format!("a{n}");
        let text = tcp(&name, 1).replace("\"config\"", "\"enabled\": false, \"config\"");
        deploy.write(&format!("{name}.json"), text);
    }
    let (dir, log) = (deploy.path().to_str().unwrap(), deploy.path().join("log"));
    let mut command = loopkeeper(&["run", "--deploy", dir, "--listen", "none"]);
    command.stdout(Stdio::null()).stderr(File::create(&log).unwrap());
    let mut daemon = Running(command.spawn().unwrap());
    let pid = daemon.0.id();
    let is_in = |file: &Path| file.starts_with(deploy.path()) && file != log;
    eventually("it reads the folder", || {
        // Files come and go while they are looked at.
        let files = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
        files.flat_map(|entry| fs::read_link(entry.path())).any(|file| is_in(&file))
    });
    for signal in ["-HUP", "-USR1"] {
        kill(signal, pid);
    }
    let log = || fs::read_to_string(&log).unwrap();
    eventually("both have arrived", || {
        assert_eq!(daemon.0.try_wait().unwrap(), None, "{}", log());
        log().contains("SIGHUP: looking") && log().contains("SIGUSR1: 2 loops")
    });
    kill("-TERM", pid);
    assert_eq!(daemon.0.wait().unwrap().code(), Some(0), "{}", log());
}

/// One that may not have come up; killed on drop.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Holds one thread still, as a debugger does; the others go on.
struct Held(i32);

impl Held {
    /// `None` where that is not allowed.
    #[allow(unsafe_code, reason = "std has no debugger")]
    fn new(tid: u64) -> Option<Self> {
        let tid = i32::try_from(tid).unwrap();
        let nothing = std::ptr::null_mut::<libc::c_void>();
        // SAFETY: these requests take no memory of ours.
        unsafe {
            if libc::ptrace(libc::PTRACE_SEIZE, tid, nothing, nothing) != 0 {
                return None;
            }
            assert_eq!(libc::ptrace(libc::PTRACE_INTERRUPT, tid, nothing, nothing), 0);
        }
        let mut status = 0;
        // SAFETY: the number is valid for writes.
        assert_eq!(unsafe { libc::waitpid(tid, &raw mut status, libc::__WALL) }, tid);
        Some(Self(tid))
    }
}

impl Drop for Held {
    #[allow(unsafe_code, reason = "std has no debugger")]
    fn drop(&mut self) {
        let nothing = std::ptr::null_mut::<libc::c_void>();
        // SAFETY: this request takes no memory of ours.
        unsafe { libc::ptrace(libc::PTRACE_DETACH, self.0, nothing, nothing) };
    }
}

#[test]
fn a_stalled_loop_ends_the_signs_of_life_and_is_named() {
    let mut manager = Manager::new();
    let deploy = TempDir::new("stalled");
    let up = TcpListener::bind("127.0.0.1:0").unwrap();
    // Seldom enough that it is hardly ever met in a call.
    let often = tcp("a", up.local_addr().unwrap().port());
    deploy.write("a.json", often.replace("\"poll_interval\": \"20ms\"", "\"poll_interval\": \"500ms\""));
    let mut command = manager.run(&deploy, &[]);
    let mut daemon = Daemon::spawn(command.env("WATCHDOG_USEC", "200000"));
    manager.until("READY=1");
    let tid = daemon.status("a")["thread"]["tid"].as_u64().unwrap();
    let held = loop {
        let Some(held) = Held::new(tid) else {
            return eprintln!("skipped: no thread can be held still here");
        };
        if daemon.status("a")["running_for"].is_null() {
            break held;
        }
    };
    // A while past its due it is dead, which a hung call is not.
    let told = manager.until("STATUS=not alive: watcher a is ");
    assert!(told.contains("s past its due; 1 ready\n"), "{told}");
    manager.heard.clear();
    manager.until("STATUS=not alive: watcher a is ");
    assert!(!manager.heard.iter().any(|text| text.contains("WATCHDOG=1")), "{:?}", manager.heard);
    let told = "the service manager is not told any more that this program is alive: watcher a is ";
    assert!(daemon.log().contains(told), "{}", daemon.log());
    // What goes on is forgiven.
    drop(held);
    manager.until("STATUS=1 ready");
    assert!(manager.heard.iter().any(|text| text.contains("WATCHDOG=1")), "{:?}", manager.heard);
    daemon.stop();
}

#[test]
fn the_unit_starts_what_its_own_first_lines_make() {
    let unit = include_str!("../../examples/systemd/loopkeeper.service");
    let dir = TempDir::new("unit");
    let etc = dir.path().join("loopkeeper");
    let args = |line: &str| -> Vec<String> {
        let line = line.replace("/etc/loopkeeper", etc.to_str().unwrap());
        line.split_whitespace().map(str::to_owned).collect()
    };
    let run = |args: &[String]| run_to_end(&args.iter().map(String::as_str).collect::<Vec<_>>());
    for line in unit.lines().filter_map(|line| line.strip_prefix("#   loopkeeper ")) {
        let (code, _, err) = run(&args(line));
        assert_eq!(code, Some(0), "{line}: {err}");
    }
    // A program that ends with another code than 78 is started again.
    assert!(!unit.contains("ExecStartPre"), "{unit}");
    let start =
        unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/local/bin/loopkeeper run ")).unwrap();
    let mut args = args(start);
    args.insert(0, "check".to_owned());
    let (code, out, err) = run(&args);
    assert_eq!(code, Some(0), "{out}{err}");
}
