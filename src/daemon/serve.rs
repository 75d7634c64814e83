//! The status server, as far as the program is concerned with it.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use loopkeeper::config::HttpConfig;
use loopkeeper::status::StatusSource;
use loopkeeper::watch::BackoffConfig;
use loopkeeper::{BoxError, Context, Env, Error, ErrorKind, Result, StopReport, Watcher, WatcherConfig};

/// Serves the status of all loops.
#[derive(Debug)]
pub(crate) struct Server {
    address: SocketAddr,
    thread: Watcher,
}

/// Starts the server, when it should listen at all.
pub(crate) fn start(env: &Env, config: &HttpConfig, source: Arc<dyn StatusSource>) -> Result<Option<Server>> {
    let Some(listen) = config.listen else { return Ok(None) };
    let failed = |error| {
        let context = format!("http.listen: cannot listen on {listen}");
        Error::new(ErrorKind::Io).context(context).caused_by(error)
    };
    let listener = TcpListener::bind(listen).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let env = env.clone();
    let serve = move |cx: &Context| -> std::result::Result<(), BoxError> {
        while !cx.is_cancelled() {
            match listener.accept() {
                Ok((stream, _)) => drop(answer(&stream, &env, &*source)),
                Err(_) => cx.sleep(Duration::from_millis(5))?,
            }
        }
        Ok(())
    };
    let backoff = BackoffConfig { probe_timeout: Duration::from_secs(1 << 30), ..Default::default() };
    let thread = Watcher::start(WatcherConfig::new("http", serve).backoff(backoff))?;
    Ok(Some(Server { address, thread }))
}

impl Server {
    /// Where it listens.
    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Stops serving.
    pub(crate) fn stop(&self, grace: Duration) -> StopReport {
        self.thread.stop(grace)
    }
}

fn answer(stream: &TcpStream, env: &Env, source: &dyn StatusSource) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    let mut lines = BufReader::new(stream).lines();
    let line = lines.next().transpose()?.unwrap_or_default();
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let target = line.split(' ').nth(1).unwrap_or_default();
    let body = if target == "/status" {
        serde_json::json!({"loops": source.statuses()}).to_string()
    } else if target.starts_with("/events") {
        let events = env.events_after(0, usize::MAX).events;
        let events = events.iter().map(|event| {
            serde_json::json!({"seq": event.seq, "source": event.source, "event": event.what.as_str()})
        });
        serde_json::json!({"events": events.collect::<Vec<_>>()}).to_string()
    } else {
        "ok".to_owned()
    };
    let mut stream = stream;
    write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}
