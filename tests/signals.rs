//! Signals for a program that embeds the library: in a child, because the
//! handlers stay for the life of a process.

#![allow(clippy::print_stderr, clippy::disallowed_methods, reason = "a child speaks to its parent so")]

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use loopkeeper::signals::{KILLED, Signal, Signals};

const CHILD: &str = "LOOPKEEPER_TEST_CHILD";

/// What the child does: says each signal, and after the one to stop waits for
/// what ends it.
fn child() -> ! {
    let mut signals = Signals::install().expect("signals can be handled");
    eprintln!("ready");
    loop {
        match signals.wait().expect("signals can be waited for") {
            Signal::Stop(name) => {
                eprintln!("{name}");
                break;
            }
            other => eprintln!("{other:?}"),
        }
    }
    signals.end_on_next().expect("signals can be armed");
    eprintln!("armed");
    loop {
        std::thread::park();
    }
}

#[test]
fn a_second_signal_to_stop_ends_the_process() {
    if std::env::var_os(CHILD).is_some() {
        child();
    }
    for (name, option) in [("SIGTERM", "-TERM"), ("SIGINT", "-INT")] {
        let mut child = Command::new(std::env::current_exe().expect("this test has a path"))
            .args(["--exact", "a_second_signal_to_stop_ends_the_process", "--nocapture"])
            .env(CHILD, "1")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the test can run itself");
        let pid = child.id().to_string();
        let signal = |option: &str| {
            // The shell's own: a small system has no program of this name.
            let sent = Command::new("sh").args(["-c", "kill \"$0\" \"$1\"", option, &pid]).status();
            let sent = sent.expect("sh runs");
            assert!(sent.success());
        };
        let mut lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
        let mut expect = |line: &str| assert_eq!(lines.next().expect("a line").expect("text"), line);
        expect("ready");
        signal("-HUP");
        expect("Hangup");
        signal(option);
        expect(name);
        expect("armed");
        signal(option);
        assert_eq!(child.wait().expect("it ends").code(), Some(KILLED));
    }
}
