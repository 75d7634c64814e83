//! Watching a service from a program: callbacks, a wait, a clean stop.
//!
//!     cargo run --example watch
//!
//! The service here is a TCP listener that the example opens and closes
//! itself; in a program it is a broker, a database, a device.
#![allow(clippy::print_stdout, reason = "an example speaks to its reader")]

use std::net::TcpListener;
use std::time::Duration;

use loopkeeper::watch::BackoffConfig;
use loopkeeper::{BoxError, EventKind, Watcher, WatcherConfig, probe};

fn main() -> Result<(), BoxError> {
    let service = TcpListener::bind("127.0.0.1:0")?;
    let address = service.local_addr()?;

    let backoff = BackoffConfig {
        initial_delay: Duration::from_millis(50),
        poll_interval: Duration::from_millis(200),
        probe_timeout: Duration::from_secs(2),
        ..BackoffConfig::default()
    };
    println!("start-up: {}", backoff.explain()?);

    let watcher = Watcher::start(
        WatcherConfig::new("broker", probe::tcp(address.to_string()))
            .backoff(backoff)
            .on_ready(|| println!("callback: the broker is ready"))
            .on_down(|error| println!("callback: the broker is down: {}", error.report())),
    )?;
    let events = watcher.subscribe();
    if !watcher.wait_ready(Duration::from_secs(5)) {
        return Err(watcher.status().to_string().into());
    }
    println!("{}", watcher.status());

    println!("closing {address}");
    drop(service);
    let down = std::iter::from_fn(|| events.recv_timeout(Duration::from_secs(5)))
        .find(|delivery| matches!(delivery.event.what, EventKind::Down { .. }));
    println!("event: {}", down.ok_or("nobody noticed")?.event);

    println!("opening it again");
    let _service = TcpListener::bind(address)?;
    if !watcher.wait_ready(Duration::from_secs(5)) {
        return Err(watcher.status().to_string().into());
    }

    let report = watcher.stop(Duration::from_secs(1));
    println!("stopped: {report}");
    if report.is_clean() { Ok(()) } else { Err(report.to_string().into()) }
}
