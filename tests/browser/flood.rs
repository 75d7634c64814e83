//! A status page under ten thousand events a second and more, for
//! `tests/browser/page.mjs`: says where it listens, and ends with its input.

#![allow(clippy::print_stdout, reason = "how it says where it listens")]
#![allow(clippy::disallowed_methods, reason = "it is paced by the real clock")]

use std::io::Read;
use std::sync::Arc;
use std::time::{Duration, Instant};

use loopkeeper::error::BoxError;
use loopkeeper::http::{StatusServer, StatusServerConfig};
use loopkeeper::watch::BackoffConfig;
use loopkeeper::{Context, Env, Watcher, WatcherConfig};

/// How many services flap.
const WATCHERS: usize = 200;
/// How many events there are to be a second.
const RATE: f64 = 12_000.0;

fn main() -> Result<(), BoxError> {
    let env = Env::new()?;
    let seldom = Duration::from_secs(3600);
    let mut watchers = Vec::new();
    for n in 0..WATCHERS {
        let mut is_up = false;
        let probe = move |_: &Context| {
            is_up = !is_up;
            if is_up { Ok(()) } else { Err(BoxError::from("<b>gone</b> again")) }
        };
        let backoff = BackoffConfig {
            initial_delay: seldom,
            max_delay: seldom,
            poll_interval: seldom,
            ..Default::default()
        };
        let config = WatcherConfig::new(format!("flaps-{n}"), probe).backoff(backoff);
        watchers.push(Watcher::start_in(&env, config)?);
    }
    let config = StatusServerConfig::default().listen("127.0.0.1:0");
    let server = StatusServer::start(&env, config, Arc::new(env.clone()))?;
    println!("listening on http://{}", server.local_addr());
    std::thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    // A run that is asked for is an event, for each is another turn.
    let began = Instant::now();
    for (asked, watcher) in watchers.iter().cycle().enumerate() {
        while asked as f64 > began.elapsed().as_secs_f64() * RATE {
            std::thread::sleep(Duration::from_millis(2));
        }
        watcher.trigger();
    }
    Ok(())
}
