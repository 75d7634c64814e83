//! Probes from configuration: `{"probe": {"tcp": {"address": "db:5432"}}}`.

use std::net::IpAddr;
use std::time::Duration;

use super::file_age::check_path;
use super::text::no_nul;
use super::{Probe, disk, dns, exec, file_age, heartbeat, tcp, unix};
use crate::decode::{Field, Object, OneOf, Required, Size};
use crate::duration::Shown;
use crate::tree::{Fault, Node, Value, join, join_idx};

/// Reads the probe in `field` of an object: an object with exactly one key,
/// the kind of the probe, that holds the probe's settings.
///
/// | kind | settings |
/// | --- | --- |
/// | `http` | `url`; `method` (`"GET"`), `headers` (none), `expect_status` (a number, a range `"200-299"`, or a list of these; `"200-299"`), `expect_body` (any), `expect_json` (a condition such as `"body./queue/depth < 100"`, or a list of these; none), `follow_redirects` (0), `max_body` (`"64KiB"`) |
/// | `tcp` | `address`, as `HOST:PORT` |
/// | `unix` | `path` |
/// | `dns` | `host`; `expect_address` (a list of addresses; any) |
/// | `exec` | `command`, a list: the program and its arguments |
/// | `file_age` | `path`, `max_age` |
/// | `disk` | `path`, `min_free` |
/// | `heartbeat` | `grace` |
///
/// What has no default, in parentheses, is required.
///
/// # Errors
///
/// What cannot be used becomes a fault of the object, at its place.
///
/// # Examples
///
/// ```
/// use loopkeeper::{Probe, decode, probe, tree};
///
/// fn read(text: &str) -> Result<Box<dyn Probe>, tree::Faults> {
///     let node = tree::parse("db.json", text)?;
///     decode::object(&node, "", |o| {
///         let probe = probe::decode(o, "probe").required();
///         probe.take(o.done()?)
///     })
/// }
///
/// assert!(read(r#"{"probe": {"tcp": {"address": "db:5432"}}}"#).is_ok());
/// assert_eq!(
///     read(r#"{"probe": {"tcp": {"address": "db"}}}"#).err().map(|faults| faults.to_string()).as_deref(),
///     Some(
///         "db.json:1:31: probe.tcp.address: expected HOST:PORT such as \"127.0.0.1:1883\" \
///          or \"[::1]:1883\", found \"db\"",
///     ),
/// );
/// ```
pub fn decode<'n, 'o>(object: &'o mut Object<'n, '_>, field: &'static str) -> Field<'n, 'o, Box<dyn Probe>> {
    questions(object, field).case("heartbeat", read_heartbeat).end()
}

/// Reads the probe of a checker, which is asked at the times of its monitor:
/// a heartbeat, which has its watcher ask, is none.
pub(crate) fn decode_for_checker<'n, 'o>(
    object: &'o mut Object<'n, '_>,
    field: &'static str,
) -> Field<'n, 'o, Box<dyn Probe>> {
    questions(object, field).refuse("heartbeat", super::NOT_OF_A_CHECKER).end()
}

fn questions<'n, 'o>(object: &'o mut Object<'n, '_>, field: &'static str) -> OneOf<'n, 'o, Box<dyn Probe>> {
    object
        .one_of(field)
        .case("http", http::read)
        .case("tcp", read_tcp)
        .case("unix", read_unix)
        .case("dns", read_dns)
        .case("exec", read_exec)
        .case("file_age", read_file_age)
        .case("disk", read_disk)
}

type Found = Option<Box<dyn Probe>>;

fn read_tcp(o: &mut Object<'_, '_>) -> Found {
    o.doc("Connects to a TCP port.");
    let address = o.string("address").check(|address| tcp::check_address(address));
    let address = address.doc("The host and the port, as HOST:PORT.").required();
    let done = o.done()?;
    Some(Box::new(tcp(address.take(done)?)))
}

fn read_unix(o: &mut Object<'_, '_>) -> Found {
    o.doc("Connects to a unix stream socket.");
    let path = o.string("path").check(|path| super::unix::check_path(path.as_ref()));
    let path = path.doc("The socket; a name that begins with @ is an abstract one.").required();
    let done = o.done()?;
    Some(Box::new(unix(path.take(done)?)))
}

fn read_dns(o: &mut Object<'_, '_>) -> Found {
    o.doc("Looks a name up, by the system's resolver.");
    let host = o.string("host").check(|host| super::dns::check_host(host));
    let host = host.doc("The name.").required();
    let addresses = o.strings("expect_address").doc("Addresses that must be among those of the name.");
    let words = addresses.or_default();
    let mut addresses: Vec<IpAddr> = Vec::new();
    let mut flaws = Vec::new();
    for (idx, word) in words.iter().enumerate() {
        match word.parse() {
            Ok(address) => addresses.push(address),
            Err(_) => flaws.push((idx, format!("expected an IP address, found {}", Shown(word)))),
        }
    }
    if !flaws.is_empty() {
        tell_in_list(o, "expect_address", &flaws);
    }
    let done = o.done()?;
    let probe = dns(host.take(done)?);
    Some(Box::new(addresses.into_iter().fold(probe, super::DnsProbe::expect_address)))
}

fn read_exec(o: &mut Object<'_, '_>) -> Found {
    o.doc("Runs a command; it must end with 0. At the deadline its process group is killed.");
    let command = command(o);
    let done = o.done()?;
    Some(Box::new(exec(command.take(done)?)))
}

/// Reads the field `command`: a program and its arguments.
pub(crate) fn command(o: &mut Object<'_, '_>) -> Required<Vec<String>> {
    let command = o.strings("command").check(named).doc("The program and its arguments.").required();
    tell_nuls(o, "command", command.peek().map_or(&[], Vec::as_slice));
    command
}

/// Reads a field that may hold a program and its arguments.
pub(crate) fn program(o: &mut Object<'_, '_>, name: &'static str, doc: &'static str) -> Option<Vec<String>> {
    let command = o.strings(name).check(named).doc(doc).optional();
    tell_nuls(o, name, command.as_deref().unwrap_or_default());
    command
}

// `&Vec` is what `Field::check` hands over.
#[allow(clippy::ptr_arg)]
fn named(command: &Vec<String>) -> Result<(), &'static str> {
    match command.first() {
        Some(program) if !program.is_empty() => Ok(()),
        _ => Err("must name a program"),
    }
}

fn tell_nuls(o: &mut Object<'_, '_>, name: &'static str, words: &[String]) {
    let flaw = |word: &String| no_nul(word.as_ref()).err();
    let flaws: Vec<(usize, &str)> =
        words.iter().enumerate().filter_map(|(idx, word)| Some((idx, flaw(word)?))).collect();
    if !flaws.is_empty() {
        tell_in_list(o, name, &flaws);
    }
}

fn read_file_age(o: &mut Object<'_, '_>) -> Found {
    o.doc("Looks when a file was last changed.");
    let path = o.string("path").check(is_path).doc("The file.").required();
    let max_age = o.duration("max_age").doc("How long ago that may be.").required();
    let done = o.done()?;
    let (path, max_age): (String, Duration) = (path.take(done)?, max_age.take(done)?);
    Some(Box::new(file_age(path, max_age)))
}

fn read_disk(o: &mut Object<'_, '_>) -> Found {
    o.doc("Looks how much space a disk has left.");
    let path = o.string("path").check(is_path).doc("A file or folder on the disk.").required();
    let min_free = o.size("min_free").check(disk::check_size);
    let min_free = min_free.doc("How much must be free, in bytes or as a share of the whole.").required();
    let done = o.done()?;
    let (path, min_free): (String, Size) = (path.take(done)?, min_free.take(done)?);
    Some(Box::new(disk(path, min_free)))
}

fn read_heartbeat(o: &mut Object<'_, '_>) -> Found {
    o.doc("Looks when somebody last said that it is alive.");
    let grace = o.duration("grace").doc("How long ago that may be.").required();
    let done = o.done()?;
    Some(Box::new(heartbeat(grace.take(done)?)))
}

/// Tells what is wrong with elements of a list, each at its place.
fn tell_in_list(o: &mut Object<'_, '_>, name: &'static str, flaws: &[(usize, impl ToString)]) {
    let Some(Node { value: Value::Array(nodes), .. }) = o.value(name).optional() else { return };
    for (idx, message) in flaws {
        let key = join_idx(&join(o.key(), name), *idx);
        o.faults(Fault { place: nodes[*idx].place.clone(), key, message: message.to_string() }.into());
    }
}

// `&String` is what `Field::check` hands over.
#[allow(clippy::ptr_arg)]
fn is_path(text: &String) -> Result<(), &'static str> {
    check_path(text.as_ref())
}

#[cfg(not(feature = "http-client"))]
mod http {
    use super::{Found, Object};

    pub(super) fn read(o: &mut Object<'_, '_>) -> Found {
        o.needs_http_client(&[
            "url",
            "method",
            "headers",
            "expect_status",
            "expect_body",
            "expect_json",
            "follow_redirects",
            "max_body",
        ]);
        None
    }
}

#[cfg(feature = "http-client")]
mod http {
    use std::collections::BTreeMap;
    use std::ops::RangeInclusive;

    use super::super::http::{
        DEFAULT_STATUS, check_condition, check_method, check_url, read_headers, status_range,
    };
    use super::{Fault, Found, Node, Object, Value, join, join_idx};
    use crate::condition::Condition;
    use crate::duration::Shown;
    use crate::probe::http;

    pub(super) fn read(o: &mut Object<'_, '_>) -> Found {
        o.doc("Asks a web server.");
        let url = o.string("url").check(|url| check_url(url)).doc("The address to ask.").required();
        let method = o.string("method").check(|method| check_method(method));
        let method = method.doc("The method to ask with.").or("GET".to_owned());
        let headers = o.string_map("headers").check(check_headers);
        let headers = headers.doc("Headers to send along.").or_default();
        let statuses = read_statuses(o);
        let expected = o.string("expect_body").doc("A text that the answer's body must have.").optional();
        let conditions = read_conditions(o);
        let redirects = o.u32("follow_redirects").at_most(20).doc("How many redirects are followed.").or(0);
        let max_body = o.bytes("max_body").doc("How much of the answer's body is read.").or(64 * 1024);
        if expected.as_ref().is_some_and(|text| text.len() as u64 > max_body) {
            o.fault("expect_body", "is longer than max_body, so it cannot be found");
        }
        if !conditions.is_empty() && max_body == 0 {
            o.fault("expect_json", "there is no body to look at when max_body is 0");
        }
        let done = o.done()?;
        let mut probe = http(url.take(done)?).method(method).follow_redirects(redirects).max_body(max_body);
        for (name, value) in headers {
            probe = probe.header(name, value);
        }
        for range in statuses {
            probe = probe.expect_status(range);
        }
        if let Some(text) = expected {
            probe = probe.expect_body(text);
        }
        for condition in conditions {
            probe = probe.expect_json(condition);
        }
        Some(Box::new(probe))
    }

    fn check_headers(headers: &BTreeMap<String, String>) -> Result<(), String> {
        let pairs = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        read_headers(pairs).map(drop)
    }

    /// Each element has a place of its own.
    fn read_statuses(o: &mut Object<'_, '_>) -> Vec<RangeInclusive<u16>> {
        const NAME: &str = "expect_status";
        let field = o.value(NAME).expecting("a status, a range such as \"200-299\", or a list of these");
        let default = || format!("\"{}-{}\"", DEFAULT_STATUS.start(), DEFAULT_STATUS.end());
        let field = field.doc("Which statuses are good.").defaults_to_json(default);
        let Some(node) = field.optional() else { return Vec::new() };
        let key = join(o.key(), NAME);
        let nodes: Vec<(String, &Node)> = match &node.value {
            Value::Array(nodes) if !nodes.is_empty() => {
                nodes.iter().enumerate().map(|(idx, node)| (join_idx(&key, idx), node)).collect()
            }
            _ => vec![(key, node)],
        };
        let mut ranges = Vec::new();
        for (key, node) in nodes {
            match read_range(node) {
                Ok(range) => ranges.push(range),
                Err(message) => o.faults(Fault { place: node.place.clone(), key, message }.into()),
            }
        }
        ranges
    }

    /// One condition, or a list; each element has a place of its own.
    fn read_conditions(o: &mut Object<'_, '_>) -> Vec<Condition> {
        const NAME: &str = "expect_json";
        let field =
            o.value(NAME).expecting("a condition such as \"body./queue/depth < 100\", or a list of these");
        let field = field.doc("What must hold for the answer; values in the JSON of its body by pointer.");
        let Some(node) = field.optional() else { return Vec::new() };
        let key = join(o.key(), NAME);
        let nodes: Vec<(String, &Node)> = match &node.value {
            Value::Array(nodes) => {
                nodes.iter().enumerate().map(|(idx, node)| (join_idx(&key, idx), node)).collect()
            }
            _ => vec![(key, node)],
        };
        let mut conditions = Vec::new();
        for (key, node) in nodes {
            let read = match &node.value {
                Value::String(text) => text.parse::<Condition>().map_err(|error| error.to_string()),
                _ => Err("expected a condition such as \"body./queue/depth < 100\"".to_owned()),
            };
            match read.and_then(|condition| check_condition(&condition).map(|()| condition)) {
                Ok(condition) => conditions.push(condition),
                Err(message) => o.faults(Fault { place: node.place.clone(), key, message }.into()),
            }
        }
        conditions
    }

    fn read_range(node: &Node) -> Result<RangeInclusive<u16>, String> {
        const EXPECTED: &str =
            "expected a status such as 204, a range such as \"200-299\", or a list of these";
        let range = match &node.value {
            Value::Number(text) => text.parse().ok().map(|status: u16| status..=status),
            Value::String(text) => match text.split_once('-') {
                Some((start, end)) => digits(start).zip(digits(end)).map(|(start, end)| start..=end),
                None => digits(text).map(|status| status..=status),
            },
            _ => None,
        };
        let Some(range) = range else {
            return Err(match &node.value {
                Value::Number(text) => format!("{EXPECTED}, found the number {text}"),
                Value::String(text) => format!("{EXPECTED}, found the string {}", Shown(text)),
                _ => EXPECTED.to_owned(),
            });
        };
        status_range(&range).map(|()| range)
    }

    /// A number without a sign, which `parse` would take.
    fn digits(text: &str) -> Option<u16> {
        text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{decode, tree};

    /// Reads the probe; faults come without the name of the file.
    fn check(probe: &str) -> Result<Box<dyn Probe>, String> {
        let node = tree::parse("f", &format!("{{\"probe\": {probe}}}")).unwrap();
        decode::object(&node, "", |o| {
            let probe = super::decode(o, "probe").required();
            probe.take(o.done()?)
        })
        .map_err(|faults| {
            faults.iter().map(|fault| fault.to_string()[2..].to_owned()).collect::<Vec<_>>().join("\n")
        })
    }

    #[test]
    fn every_kind_is_read() {
        for probe in [
            r#"{"tcp": {"address": "[::1]:1883"}}"#,
            r#"{"unix": {"path": "/run/x.sock"}}"#,
            r#"{"unix": {"path": "@x"}}"#,
            r#"{"dns": {"host": "db.internal"}}"#,
            r#"{"dns": {"host": "db", "expect_address": ["10.0.0.1", "::1"]}}"#,
            r#"{"exec": {"command": ["true", ""]}}"#,
            r#"{"file_age": {"path": "/x", "max_age": 60}}"#,
            r#"{"disk": {"path": "/", "min_free": "10%"}}"#,
            r#"{"disk": {"path": "/", "min_free": "1GiB"}}"#,
        ] {
            assert!(check(probe).unwrap().check().is_ok(), "{probe}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_told_at_its_place() {
        for (probe, faults) in [
            (r#"{"tpc": {}}"#, "1:12: probe: unknown field \"tpc\", did you mean \"tcp\"?"),
            (
                "{}",
                "1:11: probe: expected exactly one of \"http\", \"tcp\", \"unix\", \"dns\", \"exec\", \"file_age\", \"disk\", \"heartbeat\", found none",
            ),
            (r#"{"tcp": {}}"#, "1:19: probe.tcp.address: is missing, expected a string"),
            (
                r#"{"tcp": {"address": "x:0"}}"#,
                "1:31: probe.tcp.address: expected a port from 1 to 65535, found \"x:0\"",
            ),
            (r#"{"exec": {"command": []}}"#, "1:32: probe.exec.command: must name a program"),
            (r#"{"exec": {"command": [""]}}"#, "1:32: probe.exec.command: must name a program"),
            (
                r#"{"exec": {"command": "true"}}"#,
                "1:32: probe.exec.command: expected a list of strings, found the string \"true\"",
            ),
            (r#"{"unix": {"path": ""}}"#, "1:29: probe.unix.path: must not be empty"),
            (r#"{"unix": {"path": "@"}}"#, "1:29: probe.unix.path: expected a name after the @"),
            (
                r#"{"dns": {"host": "a b", "expect_address": ["x", "::1", "1.2.3"]}}"#,
                "1:28: probe.dns.host: expected the name of a host such as \"db.internal\", found \"a b\"\n\
                 1:54: probe.dns.expect_address[0]: expected an IP address, found \"x\"\n\
                 1:66: probe.dns.expect_address[2]: expected an IP address, found \"1.2.3\"",
            ),
            (
                r#"{"dns": {"host": "::1"}}"#,
                "1:28: probe.dns.host: expected a name to look up, found the address \"::1\"",
            ),
            (
                r#"{"file_age": {"path": "", "max_age": 0, "mx": 1}}"#,
                "1:33: probe.file_age.path: must not be empty\n\
                 1:48: probe.file_age.max_age: must be more than zero, found the number 0\n\
                 1:51: probe.file_age: unknown field \"mx\", expected \"path\" or \"max_age\"",
            ),
            (
                r#"{"disk": {"path": "", "min_free": 0}}"#,
                "1:29: probe.disk.path: must not be empty\n1:45: probe.disk.min_free: must be more than zero",
            ),
            (
                r#"{"exec": {"command": ["a", "b\u0000", "", "\u0000c"]}}"#,
                "1:38: probe.exec.command[1]: must not have a NUL byte\n\
                 1:53: probe.exec.command[3]: must not have a NUL byte",
            ),
            (
                r#"{"file_age": {"path": "/x\u0000", "max_age": 1}}"#,
                "1:33: probe.file_age.path: must not have a NUL byte",
            ),
            (
                r#"{"disk": {"path": "/x\u0000", "min_free": 1}}"#,
                "1:29: probe.disk.path: must not have a NUL byte",
            ),
        ] {
            assert_eq!(check(probe).err().as_deref(), Some(faults), "{probe}");
        }
        let tcp = check(r#"{"tcp": {"address": "h\u0000:80"}}"#).err().unwrap();
        assert!(tcp.starts_with("1:31: probe.tcp.address: expected HOST:PORT"), "{tcp}");
    }

    #[cfg(feature = "http-client")]
    #[test]
    fn http_settings_are_read_strictly() {
        for probe in [
            r#"{"http": {"url": "http://h/"}}"#,
            r#"{"http": {"url": "http://h/", "expect_status": 204}}"#,
            r#"{"http": {"url": "http://h/", "expect_status": "200-299"}}"#,
            r#"{"http": {"url": "http://h/", "expect_status": [200, "204", "300-399"]}}"#,
            r#"{"http": {"url": "http://h/", "method": "HEAD", "headers": {"x": "y"}, "expect_body": "ok",
                "follow_redirects": 3, "max_body": "1KiB"}}"#,
            r#"{"http": {"url": "http://h/", "expect_json": "body./state == 'ok' and latency < 1s"}}"#,
            r#"{"http": {"url": "http://h/", "expect_json": ["body./state == 'ok'", "header.etag == 'x'"]}}"#,
        ] {
            assert!(check(probe).unwrap().check().is_ok(), "{probe}");
        }
        let statuses = "expected a status such as 204, a range such as \"200-299\", or a list of these";
        for (settings, faults) in [
            (r#""url": "h""#, "1:28: probe.http.url: must begin with http:// or https://".to_owned()),
            (r#""url": "http://u:geheim@h:x""#, "1:28: probe.http.url: expected a port from 1 to 65535".to_owned()),
            (
                r#""url": "http://h", "expect_status": "ok""#,
                format!("1:57: probe.http.expect_status: {statuses}, found the string \"ok\""),
            ),
            (
                r#""url": "http://h", "expect_status": [200, "+1", 2.5]"#,
                format!(
                    "1:63: probe.http.expect_status[1]: {statuses}, found the string \"+1\"\n\
                     1:69: probe.http.expect_status[2]: {statuses}, found the number 2.5"
                ),
            ),
            (
                r#""url": "http://h", "expect_status": []"#,
                format!("1:57: probe.http.expect_status: {statuses}"),
            ),
            (
                r#""url": "http://h", "expect_status": "299-200""#,
                "1:57: probe.http.expect_status: expected statuses from 100 to 999, lower first, found 299-200"
                    .to_owned(),
            ),
            (
                r#""url": "http://h", "headers": {"a b": "c"}"#,
                "1:51: probe.http.headers: \"a b\" is not the name of a header".to_owned(),
            ),
            (
                r#""url": "http://h", "headers": {"x-a": "\u0000"}"#,
                "1:51: probe.http.headers: the value of x-a has characters that no header may have".to_owned(),
            ),
            (
                r#""url": "http://h", "headers": {"Host": "a", "X-A": "b", "host": "b"}"#,
                "1:51: probe.http.headers: \"host\" is there more than once, a request has one".to_owned(),
            ),
            (
                r#""url": "http://h", "max_body": "10%""#,
                "1:52: probe.http.max_body: expected a size in bytes such as \"64KiB\", found the string \"10%\"".to_owned(),
            ),
            (
                r#""url": "http://h", "expect_body": "abc", "max_body": 2"#,
                "1:55: probe.http.expect_body: is longer than max_body, so it cannot be found".to_owned(),
            ),
            (
                r#""url": "http://h", "expect_json": ["status == 200", "age(/x) < 1h", 5, "body./a = 1"]"#,
                "1:73: probe.http.expect_json[1]: is about the file \"/x\", expected the answer only\n\
                 1:89: probe.http.expect_json[2]: expected a condition such as \"body./queue/depth < 100\"\n\
                 1:92: probe.http.expect_json[3]: ".to_owned() + &"body./a = 1".parse::<crate::condition::Condition>().unwrap_err().to_string(),
            ),
            (
                r#""url": "http://h", "expect_json": "has(body./a)", "max_body": 0"#,
                "1:55: probe.http.expect_json: there is no body to look at when max_body is 0".to_owned(),
            ),
            (
                r#""url": "http://h", "follow_redirects": 21"#,
                "1:60: probe.http.follow_redirects: must be at most 20, found 21".to_owned(),
            ),
        ] {
            assert_eq!(check(&format!("{{\"http\": {{{settings}}}}}")).err(), Some(faults), "{settings}");
        }
    }

    #[cfg(not(feature = "http-client"))]
    #[test]
    fn http_needs_its_feature() {
        assert_eq!(
            check(r#"{"http": {"url": "http://h/"}}"#).err().as_deref(),
            Some("1:20: probe.http: needs the feature `http-client`, which this build does not have"),
        );
    }
}
