//! One connection: what has come in, what goes out, and until when.
//!
//! A state machine over any stream, told what time it is. It serves one
//! request at a time; while one is answered nothing is read, so a client that
//! sends faster than it reads fills its own buffers, not ours.
//!
//! A connection that ends is shut for writing and read until the client ends
//! it too: closing with unread input would make the kernel throw away the
//! answer that is still on its way.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use super::date::Dates;
use super::hosts::Hosts;
use super::request::{MAX_HEAD, Method, Parsed, Request, parse};
use super::response::{Form, Output, Response, Status};
use crate::sys::poll::Interest;

/// How long an ended connection is read before it is closed, and how long a
/// client has to take the answer that it was too slow.
const LINGER: Duration = Duration::from_secs(1);
/// How much of what an ended connection still sends is read.
const MAX_DRAINED: usize = 256 * 1024;
/// How much is still read of each connection once the server stops: what a
/// system usually receives for who does not read.
const MAX_REST: usize = 128 * 1024;
/// How long a connection may be kept without a request.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// What a connection needs of its socket.
pub(super) trait Stream: Read + Write {
    /// Says that nothing more is written.
    fn shut(&self) -> io::Result<()>;
}

impl Stream for TcpStream {
    fn shut(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// A head is read, or waited for.
    Reading,
    /// A whole request is with a worker.
    Answering { ticket: u64, head_only: bool },
    /// A whole request waits for an event.
    Parked { ticket: u64, head_only: bool },
    /// An answer is written.
    Writing { close: bool },
    /// All is written and shut; what still comes in is thrown away.
    Draining { n_read: usize },
    /// To be dropped.
    Closed,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Connection<S> {
    stream: S,
    phase: Phase,
    input: Vec<u8>,
    /// Whether the input may hold more than when it was last looked at.
    is_news: bool,
    /// How much is still read once the server stops.
    rest: usize,
    output: Output,
    /// How much of both parts of the output is written.
    n_written: usize,
    /// When the present phase ends whatever happens.
    deadline: Instant,
    /// How long a request may take from its first byte to the last of its
    /// answer.
    patience: Duration,
    n_served: u64,
    is_extra: bool,
}

impl<S: Stream> Connection<S> {
    /// A connection that was just accepted; the time for its first request
    /// runs from now.
    pub(super) fn new(stream: S, patience: Duration, now: Instant) -> Self {
        Self {
            stream,
            phase: Phase::Reading,
            input: Vec::new(),
            is_news: false,
            rest: MAX_REST,
            output: Output::default(),
            n_written: 0,
            deadline: now + patience,
            patience,
            n_served: 0,
            is_extra: false,
        }
    }

    /// A connection for which there is no place but one that is kept for who
    /// asks about health.
    pub(super) fn extra(stream: S, patience: Duration, now: Instant) -> Self {
        Self { is_extra: true, ..Self::new(stream, patience, now) }
    }

    pub(super) fn stream(&self) -> &S {
        &self.stream
    }

    pub(super) fn is_closed(&self) -> bool {
        self.phase == Phase::Closed
    }

    /// Whether it has a place that is kept for who asks about health.
    pub(super) fn is_extra(&self) -> bool {
        self.is_extra
    }

    /// Whether it has been served and waits, with nothing begun.
    fn is_idle(&self) -> bool {
        self.phase == Phase::Reading && self.input.is_empty() && self.n_served > 0
    }

    /// Whether it may be closed to make room: nobody waits for an answer.
    pub(super) fn is_spare(&self) -> bool {
        self.is_idle() || matches!(self.phase, Phase::Draining { .. })
    }

    /// Whether it has not sent a whole request, as far as was looked.
    pub(super) fn is_waiting(&self) -> bool {
        self.phase == Phase::Reading
    }

    /// Whether all it was owed has been handed to the system.
    pub(super) fn is_done(&self) -> bool {
        matches!(self.phase, Phase::Reading | Phase::Draining { .. } | Phase::Closed)
    }

    /// The ticket of the request that a worker has.
    pub(super) fn ticket(&self) -> Option<u64> {
        match self.phase {
            Phase::Answering { ticket, .. } => Some(ticket),
            _ => None,
        }
    }

    /// The ticket of the request that waits for an event.
    pub(super) fn parked(&self) -> Option<u64> {
        match self.phase {
            Phase::Parked { ticket, .. } => Some(ticket),
            _ => None,
        }
    }

    /// Whether its request waits for an event.
    pub(super) fn is_parked(&self) -> bool {
        self.parked().is_some()
    }

    /// Lets the request that was just taken wait, until then at the latest.
    pub(super) fn park(&mut self, until: Instant) {
        if let Phase::Answering { ticket, head_only } = self.phase {
            self.phase = Phase::Parked { ticket, head_only };
            self.deadline = until;
        }
    }

    /// Has the request that waits answered; its time begins anew.
    pub(super) fn unpark(&mut self, now: Instant) {
        if let Phase::Parked { ticket, head_only } = self.phase {
            self.phase = Phase::Answering { ticket, head_only };
            self.deadline = now + self.patience;
        }
    }

    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    pub(super) fn interest(&self) -> Interest {
        match self.phase {
            Phase::Reading | Phase::Draining { .. } => Interest { read: true, ..Interest::default() },
            Phase::Writing { .. } => Interest { write: true, ..Interest::default() },
            Phase::Parked { .. } => Interest { end: true, ..Interest::default() },
            Phase::Answering { .. } | Phase::Closed => Interest::default(),
        }
    }

    /// Does what the socket is ready for.
    pub(super) fn on_ready(&mut self, now: Instant) {
        match self.phase {
            Phase::Reading => self.read(now),
            Phase::Draining { n_read } => self.drain(n_read),
            Phase::Writing { .. } => self.write(now),
            // Gone, or half closed and still owed an answer: it gets one now.
            Phase::Parked { .. } => self.deadline = now,
            // Only a broken connection reports without being asked.
            Phase::Answering { .. } => self.phase = Phase::Closed,
            Phase::Closed => {}
        }
    }

    /// The next whole request, if there is one and none is in work; what
    /// cannot be answered is refused here. The request is then `ticket`'s.
    pub(super) fn next_request(
        &mut self,
        ticket: u64,
        hosts: &Hosts,
        dates: &Dates,
        now: Instant,
    ) -> Option<Request> {
        if self.phase != Phase::Reading || self.input.is_empty() || !self.is_news {
            return None;
        }
        match parse(&self.input, hosts) {
            Parsed::Incomplete => {
                self.is_news = false;
                None
            }
            Parsed::Refused(response) => {
                self.end_with(response, dates, now);
                None
            }
            Parsed::Complete { request, len } => {
                self.input.drain(..len);
                let head_only = request.method == Method::Head;
                self.phase = Phase::Answering { ticket, head_only };
                Some(request)
            }
        }
    }

    /// Whether a further request has begun to come in.
    pub(super) fn has_input(&self) -> bool {
        !self.input.is_empty()
    }

    /// Writes the answer, as far as the client takes it.
    pub(super) fn answer(&mut self, output: Output, close: bool, now: Instant) {
        self.output = output;
        self.n_written = 0;
        self.phase = Phase::Writing { close };
        self.write(now);
    }

    /// Looks whether the time of the present phase is over.
    pub(super) fn expire(&mut self, now: Instant, dates: &Dates) {
        if now < self.deadline {
            return;
        }
        match self.phase {
            Phase::Reading if !self.input.is_empty() => {
                let text = format!("the request was not complete after {:?}", self.patience);
                self.end_with(Response::text(Status::RequestTimeout, &text), dates, now);
            }
            Phase::Answering { .. } => {
                let text = format!("the answer was not ready after {:?}: the status hangs", self.patience);
                self.end_with(Response::text(Status::Unavailable, &text), dates, now);
            }
            // Let out and answered by who parked it.
            Phase::Parked { .. } => {}
            Phase::Reading | Phase::Writing { .. } | Phase::Draining { .. } | Phase::Closed => {
                self.phase = Phase::Closed;
            }
        }
    }

    /// Takes what the system has already received, so that a request that was
    /// complete before a stop is known.
    pub(super) fn read_last(&mut self, now: Instant) {
        if self.phase == Phase::Reading {
            self.read(now);
        }
    }

    /// The same once the server stops, and when it has answered: who has sent
    /// more than is read at once has that answered, too. Says whether there was
    /// any; it is not read on for ever.
    pub(super) fn read_rest(&mut self) -> bool {
        let room = MAX_HEAD.saturating_sub(self.input.len()).min(self.rest);
        let mut chunk = [0; MAX_HEAD];
        // An end shows when the answer is written.
        let n = if room > 0 { self.stream.read(&mut chunk[..room]).unwrap_or(0) } else { 0 };
        self.rest = if n > 0 { self.rest - n } else { 0 };
        self.input.extend_from_slice(&chunk[..n]);
        self.is_news |= n > 0;
        n > 0
    }

    /// Answers for the last time.
    fn end_with(&mut self, response: Response, dates: &Dates, now: Instant) {
        let head_only = match self.phase {
            Phase::Answering { head_only, .. } | Phase::Parked { head_only, .. } => head_only,
            _ => self.input.starts_with(b"HEAD "),
        };
        self.deadline = self.deadline.max(now + LINGER);
        self.answer(response.render(Form { head_only, close: true }, dates.now()), true, now);
    }

    fn read(&mut self, now: Instant) {
        // The parser refuses a head of this length, so there is always room.
        let mut chunk = [0; MAX_HEAD];
        let room = MAX_HEAD.saturating_sub(self.input.len()).max(1);
        match self.stream.read(&mut chunk[..room]) {
            Ok(0) => self.phase = Phase::Closed,
            Ok(n) => {
                if self.is_idle() {
                    self.deadline = now + self.patience;
                }
                self.input.extend_from_slice(&chunk[..n]);
                self.is_news = true;
            }
            Err(error) if is_for_later(&error) => {}
            Err(_) => self.phase = Phase::Closed,
        }
    }

    fn write(&mut self, now: Instant) {
        let Output { own, shared } = &self.output;
        let shared = shared.as_deref().unwrap_or_default();
        while self.n_written < own.len() + shared.len() {
            let written = match own.get(self.n_written..).filter(|rest| !rest.is_empty()) {
                Some(rest) if shared.is_empty() => self.stream.write(rest),
                Some(rest) => self.stream.write_vectored(&[IoSlice::new(rest), IoSlice::new(shared)]),
                None => self.stream.write(&shared[self.n_written - own.len()..]),
            };
            match written {
                Ok(0) => return self.phase = Phase::Closed,
                Ok(n) => self.n_written += n,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => return self.phase = Phase::Closed,
            }
        }
        self.output = Output::default();
        self.n_served += 1;
        if self.phase != (Phase::Writing { close: false }) {
            return self.begin_drain(now);
        }
        self.phase = Phase::Reading;
        self.deadline = now + if self.input.is_empty() { KEEP_ALIVE } else { self.patience };
        if self.input.is_empty() {
            // A connection that is kept costs little.
            self.input = Vec::new();
        }
    }

    fn begin_drain(&mut self, now: Instant) {
        if self.stream.shut().is_err() {
            return self.phase = Phase::Closed;
        }
        self.input = Vec::new();
        self.deadline = now + LINGER;
        self.drain(0);
    }

    fn drain(&mut self, mut n_read: usize) {
        let mut chunk = [0; MAX_HEAD];
        match self.stream.read(&mut chunk) {
            Ok(0) => return self.phase = Phase::Closed,
            Ok(n) => n_read += n,
            Err(error) if is_for_later(&error) => {}
            Err(_) => return self.phase = Phase::Closed,
        }
        self.phase = if n_read > MAX_DRAINED { Phase::Closed } else { Phase::Draining { n_read } };
    }
}

fn is_for_later(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// A whole conversation in memory: what is answered when bytes come in pieces
/// of some size, each request with its own head.
#[cfg(any(test, fuzzing))]
pub(super) fn replay(bytes: &[u8], piece: usize, hosts: &Hosts) -> Vec<u8> {
    struct Pieces<'a>(std::slice::Chunks<'a, u8>, &'a [u8], Vec<u8>);
    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.1.is_empty() {
                self.1 = self.0.next().unwrap_or_default();
            }
            let n = self.1.len().min(buffer.len());
            buffer[..n].copy_from_slice(&self.1[..n]);
            self.1 = &self.1[n..];
            Ok(n)
        }
    }
    impl Write for Pieces<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.2.extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    impl Stream for Pieces<'_> {
        fn shut(&self) -> io::Result<()> {
            Ok(())
        }
    }
    let now = crate::clock::real_deadline(Duration::ZERO);
    // So that two conversations differ by what was said alone.
    let dates = Dates::still();
    let stream = Pieces(bytes.chunks(piece.max(1)), &[], Vec::new());
    let mut connection = Connection::new(stream, Duration::from_secs(10), now);
    while !connection.is_closed() {
        connection.on_ready(now);
        while let Some(request) = connection.next_request(1, hosts, &dates, now) {
            let close = !request.keep_alive;
            let own = format!("{request:?}\n").into_bytes();
            connection.answer(Output { own, shared: None }, close, now);
        }
    }
    connection.stream.2
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::real_deadline;
    use proptest::prelude::*;
    use std::cell::Cell;
    use std::collections::VecDeque;

    /// A client: what it sends, how much it takes.
    #[derive(Default)]
    struct Client {
        sends: VecDeque<Vec<u8>>,
        /// Whether it ends the connection after what it sends.
        ends: bool,
        takes: usize,
        got: Vec<u8>,
        writes: usize,
        shut: Cell<bool>,
    }

    impl Read for Client {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let Some(mut bytes) = self.sends.pop_front() else {
                return if self.ends { Ok(0) } else { Err(ErrorKind::WouldBlock.into()) };
            };
            let n = bytes.len().min(buffer.len());
            buffer[..n].copy_from_slice(&bytes[..n]);
            if n < bytes.len() {
                self.sends.push_front(bytes.split_off(n));
            }
            Ok(n)
        }
    }

    impl Write for Client {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.takes == 0 {
                return Err(ErrorKind::WouldBlock.into());
            }
            let n = bytes.len().min(self.takes);
            self.takes -= n;
            self.got.extend_from_slice(&bytes[..n]);
            self.writes += 1;
            Ok(n)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Stream for Client {
        fn shut(&self) -> io::Result<()> {
            self.shut.set(true);
            Ok(())
        }
    }

    const PATIENCE: Duration = Duration::from_secs(10);
    const SECOND: Duration = Duration::from_secs(1);
    const GET: &str = "GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n";

    struct Scene {
        now: Instant,
        hosts: Hosts,
        dates: Dates,
        connection: Connection<Client>,
    }

    impl Scene {
        fn new(sends: &[&str]) -> Self {
            let now = real_deadline(Duration::ZERO);
            let sends = sends.iter().map(|text| text.as_bytes().to_vec()).collect();
            let client = Client { sends, takes: usize::MAX, ..Client::default() };
            let hosts = Hosts::new("127.0.0.1:1".parse().unwrap(), &[]).unwrap();
            let dates = Dates::still();
            Self { now, hosts, dates, connection: Connection::new(client, PATIENCE, now) }
        }

        fn ready(&mut self) -> Option<String> {
            self.connection.on_ready(self.now);
            self.next()
        }

        fn next(&mut self) -> Option<String> {
            let request = self.connection.next_request(1, &self.hosts, &self.dates, self.now)?;
            Some(request.path)
        }

        fn answer(&mut self, text: &str, close: bool) {
            let output = Output { own: text.as_bytes().to_vec(), shared: None };
            self.connection.answer(output, close, self.now);
        }

        fn pass(&mut self, time: Duration) {
            self.now += time;
            self.connection.expire(self.now, &self.dates);
        }

        fn got(&self) -> String {
            String::from_utf8(self.connection.stream.got.clone()).unwrap()
        }
    }

    #[test]
    fn a_dribbled_request_is_answered_in_one_write_and_the_connection_kept() {
        let mut scene = Scene::new(&["GET /a HT", "TP/1.1\r\nHost: local", "host\r\n\r\n"]);
        assert!(scene.ready().is_none() && scene.ready().is_none());
        assert!(!scene.connection.is_idle() && scene.connection.interest().read);
        assert_eq!(scene.ready().as_deref(), Some("/a"));
        assert_eq!(scene.connection.interest(), Interest::default());
        assert_eq!(scene.connection.ticket(), Some(1));
        scene.answer("hello", false);
        assert_eq!((scene.got().as_str(), scene.connection.stream.writes), ("hello", 1));
        assert!(scene.connection.is_idle());
        scene.pass(KEEP_ALIVE - SECOND);
        assert!(!scene.connection.is_closed());
        scene.pass(SECOND);
        assert!(scene.connection.is_closed());
    }

    #[test]
    fn pipelined_requests_come_one_at_a_time() {
        let both = format!("{GET}{}", GET.replace("/a", "/b"));
        let mut scene = Scene::new(&[&both]);
        assert_eq!(scene.ready().as_deref(), Some("/a"));
        assert!(scene.next().is_none() && scene.connection.has_input());
        scene.answer("1", false);
        assert_eq!(scene.next().as_deref(), Some("/b"));
        scene.answer("2", true);
        assert_eq!(scene.got(), "12");
        assert!(scene.connection.stream.shut.get() && !scene.connection.is_closed());
    }

    #[test]
    fn a_request_has_until_its_deadline_however_it_dribbles() {
        let mut scene = Scene::new(&["G", "E", "T"]);
        for _ in 0..3 {
            assert!(scene.ready().is_none());
            scene.pass(SECOND * 3);
        }
        assert!(scene.got().is_empty());
        scene.pass(SECOND);
        assert!(
            scene.got().starts_with("HTTP/1.1 408 ") && scene.got().contains("\r\nConnection: close\r\n")
        );
        scene.pass(SECOND);
        assert!(scene.connection.is_closed());
    }

    #[test]
    fn a_connection_that_never_asks_is_closed_without_a_word() {
        let mut scene = Scene::new(&[]);
        scene.pass(PATIENCE);
        assert!(scene.connection.is_closed() && scene.got().is_empty());
    }

    #[test]
    fn a_client_that_does_not_read_is_dropped_at_the_deadline() {
        let mut scene = Scene::new(&[GET]);
        scene.ready();
        scene.connection.stream.takes = 3;
        scene.answer("hello", false);
        assert!(scene.connection.interest().write);
        scene.ready();
        scene.pass(PATIENCE);
        assert!(scene.connection.is_closed());
        assert_eq!(scene.got(), "hel");
    }

    #[test]
    fn a_shared_body_follows_its_head_however_little_is_taken() {
        for takes in 1..10 {
            let mut scene = Scene::new(&[GET, GET]);
            scene.ready();
            scene.connection.stream.takes = takes;
            let output = Output { own: b"head".to_vec(), shared: Some(b"body"[..].into()) };
            scene.connection.answer(output, false, scene.now);
            while scene.connection.interest().write {
                scene.connection.stream.takes = takes;
                scene.ready();
            }
            assert_eq!(scene.got(), "headbody", "{takes}");
            assert_eq!(scene.ready().as_deref(), Some("/a"));
        }
    }

    #[test]
    fn who_waits_for_an_event_is_answered_by_who_let_it_wait() {
        let mut scene = Scene::new(&[GET, GET]);
        scene.ready();
        scene.connection.park(scene.now + PATIENCE * 3);
        assert_eq!((scene.connection.parked(), scene.connection.ticket()), (Some(1), None));
        assert!(scene.connection.interest().end && !scene.connection.interest().read);
        assert!(
            !scene.connection.is_spare() && !scene.connection.is_waiting() && !scene.connection.is_done()
        );
        scene.pass(PATIENCE * 4);
        assert!(scene.got().is_empty());
        scene.connection.unpark(scene.now);
        assert_eq!((scene.connection.parked(), scene.connection.ticket()), (None, Some(1)));
        scene.pass(PATIENCE / 2);
        scene.answer("late", false);
        assert_eq!((scene.got().as_str(), scene.ready().as_deref()), ("late", Some("/a")));
    }

    #[test]
    fn an_answer_that_does_not_come_is_a_503() {
        let mut scene = Scene::new(&[&GET.replace("GET", "HEAD")]);
        scene.ready();
        scene.pass(PATIENCE);
        assert!(scene.got().starts_with("HTTP/1.1 503 ") && scene.got().ends_with("\r\n\r\n"));
        assert_eq!(scene.connection.ticket(), None);
    }

    #[test]
    fn a_refused_head_is_answered_shut_and_drained() {
        let big = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(20_000));
        let mut scene = Scene::new(&[&big, "more"]);
        assert!(scene.ready().is_none());
        assert!(scene.got().starts_with("HTTP/1.1 431 "));
        assert!(scene.connection.stream.shut.get() && scene.connection.is_done());
        scene.connection.stream.ends = true;
        while !scene.connection.is_closed() {
            scene.ready();
        }
        assert!(scene.connection.stream.sends.is_empty());
    }

    #[test]
    fn a_client_that_sends_for_ever_is_not_read_for_ever() {
        let mut scene = Scene::new(&["\0"]);
        assert!(scene.ready().is_none());
        for _ in 0..=MAX_DRAINED / MAX_HEAD {
            assert!(!scene.connection.is_closed());
            scene.connection.stream.sends.push_back(vec![0; MAX_HEAD]);
            scene.ready();
        }
        assert!(scene.connection.is_closed());
    }

    #[test]
    fn what_was_received_before_a_stop_is_read_to_its_end_and_not_for_ever() {
        let mut scene = Scene::new(&[GET, "GET", &GET[3..]]);
        assert_eq!(scene.ready().as_deref(), Some("/a"));
        // While the first is answered, to see whether that is the last.
        assert!(scene.connection.read_rest() && scene.connection.has_input());
        scene.answer("1", false);
        assert!(scene.next().is_none() && scene.connection.read_rest());
        assert_eq!(scene.next().as_deref(), Some("/a"));
        scene.connection.stream.ends = true;
        assert!(!scene.connection.read_rest() && scene.connection.ticket().is_some());
        scene.answer("2", true);
        assert_eq!(scene.got(), "12");

        let mut scene = Scene::new(&[]);
        let mut n = 0;
        loop {
            scene.connection.stream.sends.push_back(GET.as_bytes().to_vec());
            if !scene.connection.read_rest() {
                break;
            }
            while scene.next().is_some() {
                scene.answer("", false);
                n += 1;
            }
        }
        assert_eq!(n, MAX_REST / GET.len());
    }

    #[test]
    fn a_broken_connection_is_closed_while_its_answer_is_made() {
        let mut scene = Scene::new(&[GET]);
        scene.ready();
        scene.connection.on_ready(scene.now);
        assert!(scene.connection.is_closed());
    }

    proptest! {
        #[test]
        fn requests_are_the_same_however_their_bytes_come(
            parts in prop::collection::vec(
                prop_oneof![
                    Just("GET /livez HTTP/1.1\r\n"), Just("POST /x HTTP/1.0\r\n"), Just("Host: localhost\r\n"),
                    Just("Host: evil\r\n"), Just("\r\n"), Just("\n"), Just("\r"), Just(" "), Just("A: b"),
                    Just("Content-Length: 0\r\n"), Just("Content-Length: 9\r\n"), Just("\0"), Just("\u{e9}"),
                    Just("Transfer-Encoding: chunked\r\n"), Just("Connection: close\r\n"), Just(":"), Just("x"),
                    Just("GET /events?after=1 HTTP/1.1\r\nHost: localhost\r\n\r\n"),
                ],
                0..12,
            ),
            piece in 1..40usize,
        ) {
            let hosts = Hosts::new("127.0.0.1:1".parse().unwrap(), &[]).unwrap();
            let bytes = parts.concat().into_bytes();
            let whole = replay(&bytes, usize::MAX, &hosts);
            let pieces = replay(&bytes, piece, &hosts);
            prop_assert_eq!(String::from_utf8_lossy(&whole), String::from_utf8_lossy(&pieces));
        }
    }

    #[test]
    fn the_end_of_input_closes() {
        let mut scene = Scene::new(&["GET"]);
        scene.connection.stream.ends = true;
        scene.ready();
        assert!(!scene.connection.is_closed());
        scene.ready();
        assert!(scene.connection.is_closed());
    }
}
