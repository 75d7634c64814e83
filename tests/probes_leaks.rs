//! What many calls of the shipped probes leave behind: nothing. One test,
//! because it counts the descriptors, threads and children of its process.

#![allow(clippy::disallowed_methods, reason = "servers are threads")]
#![allow(clippy::unwrap_used, reason = "test code: a failed set-up is a failed test")]

mod support;

use std::fs;
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use loopkeeper::decode::Size;
use loopkeeper::{Context, Env, Name, Probe, probe};
use support::{eventually, free_port, thread_count};

#[test]
fn two_hundred_calls_of_each_leave_nothing_behind() {
    // Accepts and never answers, on the one thread there is.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            drop(stream);
        }
    });
    let closed = free_port();
    let mut probes: Vec<Box<dyn Probe>> = vec![
        Box::new(probe::tcp(silent.to_string())),
        Box::new(probe::tcp(format!("localhost:{closed}"))),
        Box::new(probe::exec(["true"])),
        Box::new(probe::exec(["sh", "-c", "echo x; exit 1"])),
        Box::new(probe::exec(["/no/such"])),
        Box::new(probe::exec(["true"]).current_dir("/no/such")),
        Box::new(probe::file_age("/", Duration::from_secs(1))),
        Box::new(probe::disk("/", Size::Bytes(1))),
    ];
    let mut slow: Vec<Box<dyn Probe>> =
        vec![Box::new(probe::exec(["sh", "-c", "sleep 100 & sleep 100 & echo x; wait"]))];
    // Takes connections into its queue, and that is all.
    #[cfg(feature = "http-client")]
    let full = TcpListener::bind("127.0.0.1:0").unwrap();
    #[cfg(feature = "http-client")]
    {
        let never = full.local_addr().unwrap();
        probes.push(Box::new(probe::http(format!("http://127.0.0.1:{closed}/"))));
        probes.push(Box::new(probe::http(format!("http://{silent}/"))));
        slow.push(Box::new(probe::http(format!("http://{never}/"))));
    }
    let env = Env::new().unwrap();
    let mut round = |n: usize| {
        for _ in 0..n {
            for probe in &mut probes {
                let cx = Context::detached(&env, Name::new("x").unwrap(), Duration::from_secs(60));
                let _ = probe.probe(&cx);
            }
            for probe in &mut slow {
                let name = Name::new("x").unwrap();
                let cx = Context::detached(&env, name.clone(), Duration::from_millis(4));
                assert!(probe.probe(&cx).is_err());
                // Cancelled from another thread, at whatever moment that is.
                let cx = Context::detached(&env, name, Duration::from_secs(60));
                let token = cx.cancel_token().clone();
                let cancel = thread::spawn(move || token.cancel());
                assert!(probe.probe(&cx).is_err());
                cancel.join().unwrap();
            }
        }
    };
    // What is made once: the client of the environment, the standard output.
    round(2);
    eventually("the first threads are gone", || thread_count() <= 4);
    let before = (descriptors(), thread_count());
    round(200);
    eventually("nothing is left", || (descriptors(), thread_count()) == before);
    assert_eq!(children(), Vec::<String>::new());
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// The children of this process, zombies among them.
fn children() -> Vec<String> {
    let tasks = fs::read_dir("/proc/self/task").unwrap().filter_map(Result::ok);
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect()
}
