//! What the cloud answers: clusters over two pages, the servers of each, and
//! the servers of a region as a provider sees them.

#![allow(clippy::disallowed_methods, reason = "the cloud is another program: it has threads of its own")]

use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

/// Who asks must know it. It is in the file `token` beside this one.
const TOKEN: &str = "Bearer not-a-secret";

/// Answers for ever, each connection on a thread of its own.
pub(crate) fn serve(listener: &TcpListener) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept()?;
        // A client that breaks off is no concern of the others.
        thread::spawn(move || answer_all(stream));
    }
}

fn answer_all(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let Some((path, may_ask)) = read_request(&mut reader)? else { return Ok(()) };
        let (status, body) = match answer(&path) {
            _ if !may_ask => (401, json!({"error": "who are you?"})),
            Some(body) => (200, body),
            None => (404, json!({"error": "there is no such thing"})),
        };
        let body = body.to_string();
        let head = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all((head + &body).as_bytes())?;
    }
}

/// What is asked for, and whether the token is right.
fn read_request(reader: &mut impl BufRead) -> io::Result<Option<(String, bool)>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let path = line.split(' ').nth(1).unwrap_or("/").to_owned();
    let mut may_ask = false;
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            return Ok(Some((path, may_ask)));
        }
        let (name, value) = line.split_once(':').unwrap_or_default();
        may_ask |= name.eq_ignore_ascii_case("authorization") && value.trim() == TOKEN;
    }
}

fn answer(path: &str) -> Option<Value> {
    let cluster = |name: &str| json!({"name": name, "labels": {"organization": "acme"}});
    Some(match path {
        "/clusters" => json!({
            "clusters": [cluster("amber"), {"name": "beige", "labels": {}}, cluster("coral")],
            "next": "/clusters?page=2",
        }),
        "/clusters?page=2" => json!({"clusters": [cluster("denim"), cluster("ebony")], "next": null}),
        "/servers?cluster=amber" => servers(&[("web-1", "healthy"), ("web-2", "healthy")]),
        // One is ill, and one is in a state that nobody has heard of.
        "/servers?cluster=coral" => {
            servers(&[("web-1", "healthy"), ("web-2", "error"), ("db-1", "resizing")])
        }
        "/servers?cluster=denim" => servers(&[("web-1", "error"), ("web-2", "error")]),
        "/servers?cluster=ebony" => servers(&[]),
        "/regions/north/servers" => json!({"items": [
            provided("a", "amber", json!("ACTIVE")),
            provided("b", "coral", json!("ACTIVE")),
            provided("c", "coral", json!("BUILD")),
            provided("d", "denim", json!("ERROR")),
            provided("e", "denim", json!("UNKNOWN")),
            // The provider has no server for it.
            provided("f", "amber", Value::Null),
        ]}),
        "/health" => json!({"queue": {"depth": 12}, "version": "1.4.2"}),
        _ => return None,
    })
}

fn servers(states: &[(&str, &str)]) -> Value {
    let servers = states.iter().map(|(name, state)| {
        let (pool, _) = name.split_once('-').unwrap_or((name, ""));
        json!({"hostname": name, "pool": pool, "health": state})
    });
    json!({"servers": servers.collect::<Vec<_>>()})
}

fn provided(id: &str, cluster: &str, state: Value) -> Value {
    json!({"id": id, "labels": {"cluster": cluster, "region": "north"}, "provider": {"state": state}})
}
