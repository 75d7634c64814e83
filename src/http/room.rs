//! Whose place the next connection gets when all are taken.
//!
//! The connections are put in order once for all that are accepted in one
//! turn, which goes through all of them in any case; each further one costs a
//! logarithm. What stands in the order may have changed since: it is looked at
//! again when its turn comes.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

use super::connection::{Connection, Stream};

/// Places by when they are to be given to others, the earliest first.
type Line = BinaryHeap<Reverse<(Instant, usize)>>;

/// The places, those that are kept for who asks about health apart.
pub(super) struct Room {
    n: [usize; 2],
    /// Absent until one is wanted: mostly none is.
    lines: Option<[Lines; 2]>,
}

#[derive(Default)]
struct Lines {
    spare: Line,
    waiting: Line,
    parked: Line,
}

impl Room {
    pub(super) fn of<S: Stream>(connections: &[Connection<S>]) -> Self {
        let n_extra = connections.iter().filter(|connection| connection.is_extra()).count();
        Self { n: [connections.len() - n_extra, n_extra], lines: None }
    }

    /// How many connections there are among the `extra` ones or the others.
    pub(super) fn n(&self, extra: bool) -> usize {
        self.n[usize::from(extra)]
    }

    /// The place of one that has its answer or, where there is none, of the
    /// kept one that has waited longest.
    pub(super) fn spare<S: Stream>(&mut self, connections: &[Connection<S>], extra: bool) -> Option<usize> {
        let line = &mut self.lines(connections)[usize::from(extra)].spare;
        first(line, connections, extra, Connection::is_spare)
    }

    /// The place of the one that has waited longest without a whole request;
    /// told once.
    pub(super) fn waiting<S: Stream>(&mut self, connections: &[Connection<S>], extra: bool) -> Option<usize> {
        let line = &mut self.lines(connections)[usize::from(extra)].waiting;
        first(line, connections, extra, Connection::is_waiting)
    }

    /// The place of the one whose request would wait for events the shortest;
    /// told once.
    pub(super) fn parked<S: Stream>(&mut self, connections: &[Connection<S>]) -> Option<usize> {
        first(&mut self.lines(connections)[0].parked, connections, false, Connection::is_parked)
    }

    /// Puts a connection that has just come into a place that was told, or
    /// into a new one.
    pub(super) fn put<S: Stream>(
        &mut self,
        connections: &mut Vec<Connection<S>>,
        place: Option<usize>,
        connection: Connection<S>,
    ) {
        let (deadline, which) = (connection.deadline(), usize::from(connection.is_extra()));
        let idx = match place {
            Some(idx) => {
                connections[idx] = connection;
                idx
            }
            None => {
                self.n[which] += 1;
                connections.push(connection);
                connections.len() - 1
            }
        };
        if let Some(lines) = &mut self.lines {
            lines[which].waiting.push(Reverse((deadline, idx)));
        }
    }

    fn lines<S: Stream>(&mut self, connections: &[Connection<S>]) -> &mut [Lines; 2] {
        self.lines.get_or_insert_with(|| {
            let line = |extra, is_it: fn(&Connection<S>) -> bool| {
                let all = connections.iter().enumerate();
                let all = all.filter(|(_, connection)| connection.is_extra() == extra && is_it(connection));
                all.map(|(idx, connection)| Reverse((connection.deadline(), idx))).collect()
            };
            [false, true].map(|extra| Lines {
                spare: line(extra, Connection::is_spare),
                waiting: line(extra, Connection::is_waiting),
                parked: line(extra, Connection::is_parked),
            })
        })
    }
}

/// The first of a line that is still what it was.
fn first<S: Stream>(
    line: &mut Line,
    connections: &[Connection<S>],
    extra: bool,
    is_it: fn(&Connection<S>) -> bool,
) -> Option<usize> {
    while let Some(Reverse((deadline, idx))) = line.pop() {
        let connection = &connections[idx];
        if connection.is_extra() == extra && connection.deadline() == deadline && is_it(connection) {
            return Some(idx);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::hosts::Hosts;
    use super::super::response::Output;
    use super::*;
    use crate::clock::real_deadline;
    use crate::http::date::Dates;
    use std::io::{self, Read, Write};
    use std::time::Duration;

    /// Sends one request, if any, and takes everything.
    struct Client(&'static [u8]);

    impl Read for Client {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let sent = std::mem::take(&mut self.0);
            buffer[..sent.len()].copy_from_slice(sent);
            if sent.is_empty() { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(sent.len()) }
        }
    }

    impl Write for Client {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Stream for Client {
        fn shut(&self) -> io::Result<()> {
            Ok(())
        }
    }

    const GET: &[u8] = b"GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n";

    struct Scene {
        start: Instant,
        hosts: Hosts,
        connections: Vec<Connection<Client>>,
    }

    impl Scene {
        fn at(&self, secs: u64) -> Instant {
            self.start + Duration::from_secs(secs)
        }

        /// One that has sent nothing.
        fn silent(&self, secs: u64, extra: bool) -> Connection<Client> {
            let (make, at) = (if extra { Connection::extra } else { Connection::new }, self.at(secs));
            make(Client(b""), Duration::from_secs(10), at)
        }

        /// One whose request is with a worker.
        fn busy(&self, secs: u64) -> Connection<Client> {
            let at = self.at(secs);
            let mut connection = Connection::new(Client(GET), Duration::from_secs(10), at);
            connection.on_ready(at);
            assert!(connection.next_request(1, &self.hosts, &Dates::still(), at).is_some());
            connection
        }

        /// One that has its answer and is kept.
        fn kept(&self, secs: u64) -> Connection<Client> {
            let mut connection = self.busy(secs);
            connection.answer(Output { own: b"a".to_vec(), shared: None }, false, self.at(secs));
            connection
        }
    }

    fn scene() -> Scene {
        let hosts = Hosts::new("127.0.0.1:1".parse().unwrap(), &[]).unwrap();
        Scene { start: real_deadline(Duration::ZERO), hosts, connections: Vec::new() }
    }

    #[test]
    fn who_was_served_goes_before_who_was_not_and_the_oldest_first() {
        let mut s = scene();
        s.connections =
            vec![s.busy(0), s.kept(3), s.silent(2, false), s.kept(1), s.silent(0, true), s.silent(1, false)];
        let mut room = Room::of(&s.connections);
        assert_eq!((room.n(false), room.n(true)), (5, 1));
        let mut told = Vec::new();
        while let Some(idx) = room.spare(&s.connections, false) {
            told.push(idx);
        }
        assert_eq!(told, [3, 1]);
        // Those that are kept have no request either.
        let mut told = Vec::new();
        while let Some(idx) = room.waiting(&s.connections, false) {
            told.push(idx);
        }
        assert_eq!(told, [5, 2, 3, 1]);
        assert_eq!((room.spare(&s.connections, true), room.waiting(&s.connections, true)), (None, Some(4)));
        assert_eq!(room.waiting(&s.connections, true), None, "each once");
    }

    #[test]
    fn what_has_changed_since_is_passed_over_and_who_came_is_the_last() {
        let mut s = scene();
        let asks = Connection::new(Client(GET), Duration::from_secs(10), s.start);
        s.connections = vec![s.kept(0), s.kept(1), s.silent(0, false), asks];
        let mut room = Room::of(&s.connections);
        assert_eq!(room.spare(&s.connections, false), Some(0));
        let new = s.silent(5, false);
        room.put(&mut s.connections, Some(0), new);
        // The next one has begun another request, and one is answered now whose
        // time is the same as before.
        s.connections[1] = s.busy(9);
        let (start, asks) = (s.start, &mut s.connections[3]);
        asks.on_ready(start);
        assert!(
            asks.next_request(1, &s.hosts, &Dates::still(), start).is_some()
                && asks.deadline() == s.start + Duration::from_secs(10)
        );
        assert_eq!(room.spare(&s.connections, false), None);
        let told = [(); 3].map(|()| room.waiting(&s.connections, false));
        assert_eq!(told, [Some(2), Some(0), None]);
        let new = s.silent(6, true);
        room.put(&mut s.connections, None, new);
        assert_eq!((room.n(false), room.n(true), s.connections.len()), (4, 1, 5));
        assert_eq!(room.waiting(&s.connections, true), Some(4));
    }

    #[test]
    fn of_those_that_wait_for_events_the_one_goes_that_would_the_shortest() {
        let mut s = scene();
        s.connections = vec![s.busy(0), s.busy(0), s.busy(0)];
        for (idx, until) in [(0, 30), (2, 20)] {
            let until = s.at(until);
            s.connections[idx].park(until);
        }
        let mut room = Room::of(&s.connections);
        assert_eq!((room.spare(&s.connections, false), room.waiting(&s.connections, false)), (None, None));
        assert_eq!([(); 3].map(|()| room.parked(&s.connections)), [Some(2), Some(0), None]);
    }

    #[test]
    fn a_full_house_is_gone_through_once_for_all_who_come() {
        let mut s = scene();
        s.connections = (0..2_000).map(|i| s.kept(i)).collect();
        let mut room = Room::of(&s.connections);
        for i in 0..2_000 {
            assert_eq!(room.spare(&s.connections, false), Some(i));
            let new = s.silent(10_000 + i as u64, false);
            room.put(&mut s.connections, Some(i), new);
        }
        assert_eq!(room.spare(&s.connections, false), None);
        assert_eq!(room.waiting(&s.connections, false), Some(0));
        assert_eq!(room.n(false), 2_000);
    }
}
