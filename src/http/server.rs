//! The server's handle, and the thread that owns its sockets.

use std::fmt;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cache::StatusCache;
use super::config::{Checked, Shown, StatusServerConfig};
use super::connection::Connection;
use super::date::Dates;
use super::diary::{self, Diary};
use super::health;
use super::lot::{Lot, Parked};
use super::request::{Method, Request};
use super::response::{Form, Response, Status};
use super::room::Room;
use super::routes::Route;
use super::worker::{self, Done, Job, Jobs, N_WORKERS, Queue, Shared, Sources};
use crate::clock::{real_deadline, real_remaining};
use crate::config::Secret;
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::event_log::{Bell, CAPACITY};
use crate::primitive::{AtomicBool, Mutex, Ordering};
use crate::status::StatusSource;
use crate::stop::StopReport;
use crate::sys::poll::{Interest, PollSet, is_shortage};
use crate::thread::{Exit, Straggler, Task};

/// How long accepting pauses after the system had no room for a connection.
const PAUSE: Duration = Duration::from_millis(100);
/// How many places there are beyond the limit, for who asks about health;
/// others are told there that there is no room.
const N_EXTRA: usize = 16;
/// How long a request in such a place may take.
const EXTRA_PATIENCE: Duration = Duration::from_secs(2);
/// How many connections are accepted before the others get their turn.
const MAX_ACCEPTS: usize = 64;
/// How many such turns a stop takes to accept who has come by then: as many
/// as a system's queue usually has room for.
const MAX_LAST_ACCEPTS: usize = 4096 / MAX_ACCEPTS;
/// How many events may wait for the history to take them in.
const N_UNREAD: u64 = CAPACITY as u64 / 4;
/// How long a stop waits past its grace for threads that run no user code.
const OWN: Duration = Duration::from_secs(1);

/// Serves the status of loops over HTTP; see the [module](super) for what.
///
/// # Threads
///
/// Three threads, named `http/poll`, `http/work-1` and `http/work-2`, however
/// many connections there are. All methods may be called from any thread.
/// Dropping the server stops it within its drop grace.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use loopkeeper::{Context, Env, ErrorKind, StatusServer, StatusServerConfig, WatchManager, WatcherConfig};
///
/// let env = Env::new()?;
/// let manager = Arc::new(WatchManager::new(&env));
/// manager.watch(WatcherConfig::new("db", |_: &Context| Ok(())))?;
///
/// let config = StatusServerConfig::default().listen("127.0.0.1:0");
/// let server = StatusServer::start(&env, config, manager.clone())?;
/// let address = server.local_addr();           // curl http://127.0.0.1:…/readyz?verbose
///
/// let taken = StatusServerConfig::default().listen(address.to_string());
/// let error = StatusServer::start(&env, taken, manager).unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Io);     // listen on 127.0.0.1:…: address in use
///
/// assert!(server.stop(Duration::from_secs(1)).is_clean());
/// # Ok::<(), loopkeeper::Error>(())
/// ```
#[must_use = "the server stops when it is dropped"]
pub struct StatusServer {
    local_addr: SocketAddr,
    drop_grace: Duration,
    shared: Arc<Shared>,
    // Joined in this order: the workers end when the poller has.
    poller: Task,
    workers: Arc<[Task]>,
    /// Kept so that the last of each is dropped here and not on a thread of
    /// the server.
    sources: Arc<Sources>,
}

impl StatusServer {
    /// Begins to listen and to answer from `source`.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` when a setting cannot be used; `Io` when the address
    /// cannot be listened on, such as a port that is taken: the text names
    /// the address; `InvalidState` when another server or process keeps the
    /// [history file](StatusServerConfig::history_file); `Spawn` or `Budget`
    /// when there is no thread to be had.
    pub fn start(env: &Env, config: StatusServerConfig, source: Arc<dyn StatusSource>) -> Result<Self> {
        let mut config = config.check()?;
        let drop_grace = config.drop_grace;
        let Shown { gate, config: shown, metrics, groups, diary } = std::mem::take(&mut config.shown);
        diary.as_ref().map_or(Ok(()), Diary::hold)?;
        let history = Mutex::new(diary.as_ref().map(Diary::load).unwrap_or_default());
        let (cache, dates) = (StatusCache::new(), Dates::new(env.clock().clone()));
        let sources = Sources {
            env: env.clone(),
            status: source,
            config: shown,
            metrics,
            gate,
            groups,
            cache,
            dates,
            history,
            diary,
        };
        let sources = Arc::new(sources);
        let refused = |error| {
            let context = format!("listen on {}", config.listen);
            Error::new(ErrorKind::Io).context(context).caused_by(error)
        };
        let listener = match config.listener.take() {
            Some(listener) => listener.try_clone(),
            None => TcpListener::bind(config.listen),
        };
        let listener = listener.map_err(refused)?;
        listener.set_nonblocking(true).map_err(refused)?;
        let local_addr = listener.local_addr().map_err(refused)?;
        let shared = Arc::new(Shared::new().map_err(refused)?);

        // As many of each kind as there are connections; more only while workers
        // hang.
        let jobs = Jobs(Arc::new(Queue::new(config.max_connections + N_EXTRA)));
        let workers: Result<Vec<Task>> = (0..N_WORKERS)
            .map(|idx| {
                let name = format!("http/work-{}", idx + 1);
                let theirs = (jobs.0.clone(), shared.clone(), sources.clone());
                Task::spawn(env.budget(), name, env.stack_size(), move || {
                    let (queue, shared, sources) = theirs;
                    worker::run(idx, &queue, &shared, &sources);
                })
            })
            .collect();
        let workers: Arc<[Task]> = workers?.into();
        let (theirs, is_due) = (shared.clone(), Arc::new(AtomicBool::new(true)));
        let due = is_due.clone();
        let bell = Arc::new(Bell::new(move || {
            due.store(true, Ordering::SeqCst);
            theirs.wake.ring();
        }));
        env.events().hang(&bell);
        let theirs = shared.clone();
        let poller = Poller {
            save_at: sources.diary.is_some().then(|| real_deadline(diary::SOON)),
            bell,
            is_due,
            listener: Some(listener),
            lot: Lot::new(env.events(), move || theirs.wake.ring()),
            shared: shared.clone(),
            jobs,
            workers: workers.clone(),
            sources: sources.clone(),
            config,
            connections: Vec::new(),
            next_ticket: 1,
            paused_until: None,
        };
        let poller =
            Task::spawn(env.budget(), "http/poll".to_owned(), env.shared_stack_size(), move || poller.run())?;
        Ok(Self { local_addr, drop_grace, shared, poller, workers, sources })
    }

    /// The address that is listened on, with the port that was taken.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Whether the server's own thread has done a turn since this was asked
    /// the last time; true the first time. Asking wakes it.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        let answered = self.shared.turns.load(Ordering::Relaxed);
        let is_alive =
            !self.poller.has_ended() && self.shared.seen.swap(answered, Ordering::Relaxed) != answered;
        self.shared.wake.ring();
        is_alive
    }

    /// Takes this token for requests that act and for the reasons of health
    /// checks, from now on; with none they answer 404 and 403. Without
    /// [`control`](StatusServerConfig::control) nothing can be done in any
    /// case.
    pub fn set_token(&self, token: Option<Secret>) {
        self.sources.gate.set_token(token);
    }

    /// Stops serving.
    ///
    /// New connections are refused at once. What was received whole by now is
    /// answered within `grace`; connections that wait for a request, or have
    /// sent a part of one, are closed.
    ///
    /// After this returns:
    ///
    /// * nothing listens, and every connection is closed;
    /// * the server's threads have ended, unless the report names them: a
    ///   worker whose status source hangs.
    ///
    /// Requests that had no answer by then are in the report as a `Timeout`.
    /// Stopping twice does nothing and reports what still holds. A stopped
    /// server does not start again; start another.
    ///
    /// # Threads
    ///
    /// Blocks the caller. From the status source's own call it only asks, and
    /// the report has an `InvalidState`.
    pub fn stop(&self, grace: Duration) -> StopReport {
        let deadline = real_deadline(grace);
        {
            let mut stop = self.shared.stop.lock();
            *stop = Some(stop.map_or(deadline, |earlier| earlier.min(deadline)));
        }
        self.shared.stopping.notify_all();
        self.shared.wake.ring();

        let mut report = StopReport::default();
        if self.workers.iter().any(Task::is_current) {
            let context = "http: stop from the status source's own call only asks";
            report.add_error(Error::new(ErrorKind::InvalidState).context(context));
            return report;
        }
        match self.poller.join_until(deadline + OWN) {
            Some(Exit::Returned) => {}
            Some(Exit::Panicked(error)) => {
                report.add_error(error.context("http: the server's thread panicked"))
            }
            None => report.add_straggler(self.straggler(&self.poller, "poll", OWN)),
        }
        for (worker, busy) in self.workers.iter().zip(&self.shared.busy) {
            let busy_since = *busy.lock();
            let until = if busy_since.is_some() { deadline } else { deadline.max(real_deadline(OWN)) };
            if worker.join_watched(until).is_none() {
                let begun = busy.lock().or(busy_since);
                let stuck_for =
                    begun.map(|begun| self.sources.env.clock().now().since(begun)).unwrap_or_default();
                report.add_straggler(self.straggler(worker, "status source", stuck_for));
            }
        }
        self.sources.save();
        if let (Some(diary), true) = (&self.sources.diary, report.stragglers().is_empty()) {
            diary.let_go();
        }
        let n_cut = self.shared.n_cut.swap(0, Ordering::Relaxed);
        if n_cut > 0 {
            let context = format!("http: {n_cut} requests were not answered within {grace:?}");
            report.add_error(Error::new(ErrorKind::Timeout).context(context));
        }
        report
    }

    fn straggler(&self, task: &Task, phase: &'static str, stuck_for: Duration) -> Straggler {
        Straggler::new(format!("http {}", self.local_addr), task, phase, stuck_for)
    }
}

impl Drop for StatusServer {
    fn drop(&mut self) {
        let _ = self.stop(self.drop_grace);
    }
}

impl fmt::Debug for StatusServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StatusServer").field("local_addr", &self.local_addr).finish_non_exhaustive()
    }
}

/// The thread that owns the sockets. It never blocks but in its wait.
struct Poller {
    /// Absent once it stops.
    listener: Option<TcpListener>,
    shared: Arc<Shared>,
    jobs: Jobs,
    /// Requests that wait for events.
    lot: Lot,
    /// Rung when there are events that the history must not miss.
    bell: Arc<Bell>,
    is_due: Arc<AtomicBool>,
    /// When the history is to be written down, if it ever is.
    save_at: Option<Instant>,
    workers: Arc<[Task]>,
    sources: Arc<Sources>,
    config: Checked,
    connections: Vec<Connection<TcpStream>>,
    next_ticket: u64,
    /// Until when nothing is accepted, because the system has no room.
    paused_until: Option<Instant>,
}

impl Poller {
    fn run(mut self) {
        let mut set = PollSet::default();
        loop {
            self.wait(&mut set);
            self.shared.turns.fetch_add(1, Ordering::Relaxed);
            let now = now();
            self.finish(now);
            self.remember(now);
            for connection in &mut self.connections {
                connection.expire(now, &self.sources.dates);
            }
            for idx in 0..self.connections.len() {
                self.serve(idx, now);
            }
            // After what parks: the next event must ring.
            self.unpark(now);
            self.connections.retain(|connection| !connection.is_closed());
            let stop = *self.shared.stop.lock();
            if stop.is_some_and(|until| self.wind_up(until, now)) {
                return;
            }
        }
    }

    /// Waits for sockets, workers, a stop or the earliest deadline, and does
    /// what sockets are ready for.
    fn wait(&mut self, set: &mut PollSet) {
        set.clear();
        let read = Interest { read: true, ..Interest::default() };
        let wake = set.add(self.shared.wake.fd(), read);
        let paused = self.paused_until.is_some();
        let listener = self.listener.as_ref().filter(|_| !paused);
        let listener = listener.map(|listener| set.add(listener.as_fd(), read));
        let first = wake + 1 + usize::from(listener.is_some());
        for connection in &self.connections {
            set.add(connection.stream().as_fd(), connection.interest());
        }
        let deadlines = self.connections.iter().map(Connection::deadline);
        let stop = *self.shared.stop.lock();
        let earliest = deadlines.chain(self.paused_until).chain(self.save_at).chain(stop).min();
        if set.wait(earliest.map(real_remaining)).is_err() {
            // No memory, or the process may have fewer files than it has.
            self.make_room(now());
            let stop = self.shared.stop.lock();
            if stop.is_none() {
                drop(self.shared.stopping.wait_until(stop, real_deadline(PAUSE)));
            }
            return;
        }
        let now = now();
        if set.is_ready(wake) {
            self.shared.wake.hush();
        }
        let mut gone = Vec::new();
        for (i, connection) in self.connections.iter_mut().enumerate() {
            if set.is_ready(first + i) {
                connection.on_ready(now);
                gone.extend(connection.parked());
            }
        }
        self.lot.hurry(gone, now);
        if self.paused_until.is_some_and(|until| now >= until) {
            self.paused_until = None;
        }
        if listener.is_some_and(|idx| set.is_ready(idx)) {
            // Ended connections make room first, and who has sent a whole
            // request waits for none.
            for idx in 0..self.connections.len() {
                self.serve(idx, now);
            }
            self.connections.retain(|connection| !connection.is_closed());
            self.accept(now);
        }
    }

    /// Has the history take in events before the log forgets them. Until then
    /// they wait for who looks, so that at rest nobody is woken for them.
    fn remember(&mut self, now: Instant) {
        if self.is_due.swap(false, Ordering::SeqCst) {
            let seen = self.sources.catch_up();
            // What is to be written down is not to wait for who looks.
            let n_unread = if self.save_at.is_some() { 1 } else { N_UNREAD };
            self.bell.set_from(seen + n_unread);
            self.save_at = self.save_at.map(|at| at.min(now + diary::SOON));
        }
        if self.save_at.is_some_and(|at| at <= now) {
            self.save_at = Some(now + diary::SELDOM);
            // Nobody has this ticket; it waits its turn for as long as it takes.
            let (form, deadline) = (Form::default(), now + diary::SELDOM);
            self.jobs.0.push(Job { ticket: 0, route: Route::Save, form, known: None, deadline });
        }
    }

    /// Passes on the answers that workers have made. One whose client is gone,
    /// or was told that it came too late, is thrown away.
    fn finish(&mut self, now: Instant) {
        let mut done = std::mem::take(&mut *self.shared.done.lock());
        if done.is_empty() {
            return;
        }
        // Both may be thousands: each is gone through once.
        crate::order::sort_by(&mut done, |a, b| a.ticket.cmp(&b.ticket));
        for connection in &mut self.connections {
            let Some(ticket) = connection.ticket() else { continue };
            if let Ok(i) = done.binary_search_by_key(&ticket, |done| done.ticket) {
                let Done { form, output, .. } = &mut done[i];
                connection.answer(std::mem::take(output), form.close, now);
            }
        }
    }

    /// Has requests answered that have waited for events; all of them once it
    /// stops.
    fn unpark(&mut self, now: Instant) {
        let ending = self.listener.is_none();
        let mut ready = self.lot.ready(self.sources.env.events(), now, ending);
        if ready.is_empty() {
            return;
        }
        // Both may be thousands: each is gone through once.
        crate::order::sort_by(&mut ready, |a, b| a.ticket.cmp(&b.ticket));
        for idx in 0..self.connections.len() {
            let Some(ticket) = self.connections[idx].parked() else { continue };
            if let Ok(i) = ready.binary_search_by_key(&ticket, |parked| parked.ticket) {
                self.let_out(idx, ready[i], now);
            }
        }
    }

    /// Has the request of a connection answered that waits no longer.
    fn let_out(&mut self, idx: usize, parked: Parked, now: Instant) {
        let Parked { ticket, after, max, mut form, .. } = parked;
        let connection = &mut self.connections[idx];
        connection.unpark(now);
        form.close |= self.listener.is_none() && !connection.has_input() && !connection.read_rest();
        let route = Route::Events { after, max, wait: Duration::ZERO };
        let job = Job { ticket, route, form, known: None, deadline: connection.deadline() };
        if !self.jobs.0.push(job) {
            connection.answer(too_busy().render(form, self.sources.dates.now()), form.close, now);
            self.serve(idx, now);
        }
    }

    /// Answers what a connection has asked, or has a worker do it.
    fn serve(&mut self, idx: usize, now: Instant) {
        let stopping = self.listener.is_none();
        loop {
            let ticket = self.next_ticket;
            let connection = &mut self.connections[idx];
            let (hosts, dates) = (&self.config.hosts, &self.sources.dates);
            let Some(request) = connection.next_request(ticket, hosts, dates, now) else { return };
            self.next_ticket += 1;
            let is_extra = connection.is_extra();
            let is_last = stopping && !connection.has_input() && !connection.read_rest();
            let close = !request.keep_alive || is_last || is_extra;
            let form = Form { head_only: request.method == Method::Head, close };
            let answer = match Route::new(&request, &self.sources.gate) {
                Err(response) => Some(response),
                Ok(route) if is_extra && !route.is_health() => Some(busy("too many connections")),
                Ok(route) => self.begin(idx, route, request, ticket, form, now),
            };
            let Some(response) = answer else { return };
            self.connections[idx].answer(response.render(form, self.sources.dates.now()), close, now);
        }
    }

    /// Answers at once what needs no worker; else passes it on, or lets it
    /// wait.
    fn begin(
        &mut self,
        idx: usize,
        route: Route,
        request: Request,
        ticket: u64,
        form: Form,
        now: Instant,
    ) -> Option<Response> {
        let Sources { env, groups, cache, .. } = &*self.sources;
        let connection = &mut self.connections[idx];
        match route {
            Route::Live { detail } => {
                let workers = self.workers.iter().all(|worker| !worker.has_ended());
                let own = [("server", true), ("workers", workers), ("watchdog", env.watchdog().is_alive())];
                if groups.liveness.is_empty() || own.iter().any(|(_, is_alive)| !is_alive) {
                    return Some(health::live(&own, &[], &health::Groups::default(), detail));
                }
            }
            Route::Events { after, max, wait } if !wait.is_zero() && self.listener.is_some() => {
                let until = now + wait;
                connection.park(until);
                // Whether there is something already is looked at in this turn.
                self.lot.park(Parked { ticket, after, max, form, until });
                return None;
            }
            Route::Status => {
                if let Some(response) = cache.fresh(env) {
                    return Some(response.unless_known(request.known.as_deref()));
                }
            }
            _ => {}
        }
        let job = Job { ticket, route, form, known: request.known, deadline: connection.deadline() };
        (!self.jobs.0.push(job)).then(too_busy)
    }

    /// Accepts who has come, as many as a turn allows; says whether that was
    /// all, as far as can be told.
    fn accept(&mut self, now: Instant) -> bool {
        let mut room = Room::of(&self.connections);
        for n_tried in 0..MAX_ACCEPTS {
            let Some(listener) = &self.listener else { return true };
            match listener.accept() {
                Ok((stream, _)) => self.admit(stream, &mut room, now),
                Err(error) => match error.kind() {
                    std::io::ErrorKind::WouldBlock => return true,
                    std::io::ErrorKind::Interrupted | std::io::ErrorKind::ConnectionAborted => {}
                    // A system without a descriptor says so before it looks
                    // whether anybody waits; the next poll looks.
                    _ if is_shortage(&error) && n_tried > 0 => return false,
                    _ if is_shortage(&error) && self.make_room(now) => room = Room::of(&self.connections),
                    // The connection stays in the queue, so that the listener
                    // stays ready: without a pause this would spin.
                    _ => {
                        self.paused_until = Some(now + PAUSE);
                        return true;
                    }
                },
            }
        }
        false
    }

    fn admit(&mut self, stream: TcpStream, room: &mut Room, now: Instant) {
        if stream.set_nonblocking(true).is_err() {
            return;
        }
        // An answer is one write: there is nothing to gather. A socket that
        // refuses this is slower, not wrong.
        let _ = stream.set_nodelay(true);
        let patience = self.config.request_deadline;
        let is_free = room.n(false) < self.config.max_connections;
        let place = if is_free { None } else { self.place(room, false, now) };
        if is_free || place.is_some() || self.give_up(room, now) {
            return room.put(&mut self.connections, place, Connection::new(stream, patience, now));
        }
        let is_free = room.n(true) < N_EXTRA;
        let place = if is_free { None } else { self.place(room, true, now) };
        if is_free || place.is_some() {
            let extra = Connection::extra(stream, patience.min(EXTRA_PATIENCE), now);
            room.put(&mut self.connections, place, extra);
        }
    }

    /// The place of a connection that may be closed for another, among the
    /// `extra` ones or the others: one that has been served, or else the one
    /// that has waited longest without a whole request. Whose request is whole
    /// by now is answered.
    fn place(&mut self, room: &mut Room, extra: bool, now: Instant) -> Option<usize> {
        let spare = room.spare(&self.connections, extra);
        if spare.is_some() {
            return spare;
        }
        loop {
            let idx = room.waiting(&self.connections, extra)?;
            self.connections[idx].read_last(now);
            self.serve(idx, now);
            let connection = &self.connections[idx];
            if connection.is_waiting() || connection.is_spare() || connection.is_closed() {
                return Some(idx);
            }
        }
    }

    /// Closes a connection for want of descriptors, as for want of a place:
    /// says whether there was one. Else one that waits for events is answered,
    /// and its descriptor is free in a moment.
    fn make_room(&mut self, now: Instant) -> bool {
        let mut room = Room::of(&self.connections);
        let spare = room.spare(&self.connections, false).or_else(|| room.spare(&self.connections, true));
        let place = spare.or_else(|| self.place(&mut room, false, now));
        let Some(idx) = place.or_else(|| self.place(&mut room, true, now)) else {
            self.give_up(&mut room, now);
            return false;
        };
        self.connections.swap_remove(idx);
        true
    }

    /// Has the request answered that would wait for events the shortest, so
    /// that its place is free in a moment; says whether there was any.
    fn give_up(&mut self, room: &mut Room, now: Instant) -> bool {
        let Some(idx) = room.parked(&self.connections) else { return false };
        if let Some(parked) = self.connections[idx].parked().and_then(|ticket| self.lot.give_up(ticket)) {
            self.let_out(idx, Parked { form: Form { close: true, ..parked.form }, ..parked }, now);
        }
        true
    }

    /// A turn of stopping; says whether it is the last.
    fn wind_up(&mut self, until: Instant, now: Instant) -> bool {
        if self.listener.is_some() {
            // Whoever is in the system's queue by now, but not for ever.
            for _ in 0..MAX_LAST_ACCEPTS {
                if self.accept(now) {
                    break;
                }
            }
            self.listener = None;
            self.paused_until = None;
            for idx in 0..self.connections.len() {
                self.connections[idx].read_last(now);
                self.serve(idx, now);
            }
            self.unpark(now);
        }
        for idx in 0..self.connections.len() {
            while self.connections[idx].is_waiting() && self.connections[idx].read_rest() {
                self.serve(idx, now);
            }
        }
        self.connections.retain(|connection| !connection.is_done());
        if now >= until {
            self.shared.n_cut.store(self.connections.len() as u64, Ordering::Relaxed);
            self.connections.clear();
        }
        self.connections.is_empty()
    }
}

/// The present moment in real time: sockets know no other.
fn now() -> Instant {
    real_deadline(Duration::ZERO)
}

fn too_busy() -> Response {
    busy("too many requests wait for a status that hangs")
}

fn busy(text: &str) -> Response {
    Response::text(Status::Unavailable, text).header("Retry-After", "1")
}
