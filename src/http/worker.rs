//! The threads that make answers, and what they share with the one that owns
//! the sockets.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use super::cache::{Moment, StatusCache};
use super::control::Gate;
use super::date::Dates;
use super::diary::{self, Diary};
use super::health::{self, Groups};
use super::history::History;
use super::html::{self, View};
use super::page;
use super::response::{Form, Output, Response, Status};
use super::routes::{self, Route};
use super::snapshot::Snapshot;
use crate::clock::{Tick, real_remaining};
use crate::config::Config;
use crate::env::Env;
use crate::observe::MetricsSource;
use crate::primitive::{AtomicU64, Condvar, Mutex};
use crate::status::StatusSource;

/// How many threads make answers.
pub(super) const N_WORKERS: usize = 2;

/// What answers are made from.
pub(super) struct Sources {
    pub(super) env: Env,
    pub(super) status: Arc<dyn StatusSource>,
    pub(super) config: Option<Config>,
    pub(super) metrics: Option<Arc<dyn MetricsSource>>,
    pub(super) gate: Gate,
    pub(super) groups: Groups,
    pub(super) cache: StatusCache,
    pub(super) dates: Dates,
    pub(super) history: Mutex<History>,
    pub(super) diary: Option<Diary>,
}

impl Sources {
    /// Has the history know of every event there was; says up to which.
    pub(super) fn catch_up(&self) -> u64 {
        let mut history = self.history.lock();
        loop {
            let page = self.env.events_after(history.seen(), 512);
            if page.events.is_empty() {
                return history.seen();
            }
            history.tell(page.events.iter().map(|event| &**event), self.env.stamp());
        }
    }

    /// Writes the history down, where it is to be.
    pub(super) fn save(&self) {
        let Some(diary) = &self.diary else { return };
        self.catch_up();
        let now = self.env.stamp();
        let text = {
            let mut history = self.history.lock();
            history.forget_after(now);
            diary::render(&history, now)
        };
        diary.save(&text);
    }

    /// Makes something of all that the page for browsers shows.
    fn view(&self, render: impl FnOnce(&View<'_>) -> Response) -> Response {
        // First: what happens after it is asked for again.
        let next = self.catch_up();
        let loops = self.status.statuses();
        let rejected = &self.status.rejected();
        let snapshot = &Snapshot { boot: self.env.boot(), at: self.env.stamp(), loops };
        let events = self.env.events_after(next.saturating_sub(html::N_EVENTS as u64), html::N_EVENTS).events;
        let mut history = self.history.lock();
        history.look(&snapshot.loops, snapshot.at);
        let (config, can_act) = (self.config.as_ref(), self.gate.is_open());
        // They matter to who may act, only.
        let awaited = &if can_act { self.env.awaited_heartbeats() } else { Vec::new() };
        render(&View {
            snapshot,
            history: &history,
            events: &events,
            next,
            config,
            can_act,
            rejected,
            awaited,
        })
    }
}

/// A request in work.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) ticket: u64,
    pub(super) route: Route,
    pub(super) form: Form,
    /// The tags of what the client has already.
    pub(super) known: Option<String>,
    /// After this nobody waits for the answer.
    pub(super) deadline: Instant,
}

/// An answer that was made.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) ticket: u64,
    pub(super) form: Form,
    pub(super) output: Output,
}

/// What the handle, the socket thread and the workers share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) wake: Wake,
    /// Set by a stop: until when what was begun may be finished.
    pub(super) stop: Mutex<Option<Instant>>,
    pub(super) stopping: Condvar,
    pub(super) done: Mutex<Vec<Done>>,
    /// Since when each worker has been in the source's code.
    pub(super) busy: [Mutex<Option<Tick>>; N_WORKERS],
    /// How many requests a stop left without their answer.
    pub(super) n_cut: AtomicU64,
    /// How many turns the server's own thread has done.
    pub(super) turns: AtomicU64,
    /// How many there were when somebody asked whether it does any.
    pub(super) seen: AtomicU64,
}

impl Shared {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            wake: Wake::new()?,
            stop: Mutex::new(None),
            stopping: Condvar::default(),
            done: Mutex::new(Vec::new()),
            busy: Default::default(),
            n_cut: AtomicU64::new(0),
            turns: AtomicU64::new(0),
            seen: AtomicU64::new(u64::MAX),
        })
    }
}

/// Ends the wait of the thread that owns the sockets.
#[derive(Debug)]
pub(super) struct Wake {
    // Both ends live as long as either: a write to a pair whose other end is
    // closed could raise SIGPIPE.
    tx: UnixStream,
    rx: UnixStream,
}

impl Wake {
    fn new() -> io::Result<Self> {
        let (tx, rx) = UnixStream::pair()?;
        tx.set_nonblocking(true)?;
        rx.set_nonblocking(true)?;
        Ok(Self { tx, rx })
    }

    pub(super) fn ring(&self) {
        // Full means that a ring is waiting already.
        let _ = (&self.tx).write(&[1]);
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.rx.as_fd()
    }

    /// Takes the rings that are waiting.
    pub(super) fn hush(&self) {
        let mut rings = [0; 256];
        while matches!((&self.rx).read(&mut rings), Ok(n) if n == rings.len()) {}
    }
}

/// Jobs from the thread that owns the sockets to the workers; those that
/// others must not keep waiting come first.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    /// How many of each kind may wait.
    room: usize,
}

#[derive(Debug, Default)]
struct Waiting {
    urgent: VecDeque<Job>,
    others: VecDeque<Job>,
    ended: bool,
}

impl Queue {
    pub(super) fn new(room: usize) -> Self {
        Self { waiting: Mutex::default(), changed: Condvar::default(), room }
    }

    /// Has a job done; says whether there was room.
    pub(super) fn push(&self, job: Job) -> bool {
        let mut waiting = self.waiting.lock();
        let jobs = if job.route.is_health() { &mut waiting.urgent } else { &mut waiting.others };
        if jobs.len() >= self.room {
            return false;
        }
        jobs.push_back(job);
        drop(waiting);
        self.changed.notify_all();
        true
    }

    /// The next job; `None` once nobody waits for answers any more.
    fn next(&self) -> Option<Job> {
        let mut waiting = self.waiting.lock();
        loop {
            if waiting.ended {
                return None;
            }
            let job = waiting.urgent.pop_front();
            if let Some(job) = job.or_else(|| waiting.others.pop_front()) {
                return Some(job);
            }
            waiting = self.changed.wait(waiting);
        }
    }

    fn end(&self) {
        let left = {
            let mut waiting = self.waiting.lock();
            waiting.ended = true;
            (std::mem::take(&mut waiting.urgent), std::mem::take(&mut waiting.others))
        };
        drop(left);
        self.changed.notify_all();
    }
}

/// The end of a queue that jobs are put in at; the workers end with it.
#[derive(Debug)]
pub(super) struct Jobs(pub(super) Arc<Queue>);

impl Drop for Jobs {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// The body of worker number `idx`: ends when no more jobs can come.
pub(super) fn run(idx: usize, queue: &Queue, shared: &Shared, sources: &Sources) {
    while let Some(Job { ticket, route, form, known, deadline }) = queue.next() {
        // Left behind by others that hung.
        if real_remaining(deadline).is_zero() {
            continue;
        }
        *shared.busy[idx].lock() = Some(sources.env.clock().now());
        let answer = catch_unwind(AssertUnwindSafe(|| answer(sources, route)));
        *shared.busy[idx].lock() = None;
        let response = answer.unwrap_or_else(|payload| {
            // A payload may panic when it is dropped.
            std::mem::forget(payload);
            Response::text(Status::InternalError, "what makes this answer panicked")
        });
        let output = response.unless_known(known.as_deref()).render(form, sources.dates.now());
        shared.done.lock().push(Done { ticket, form, output });
        shared.wake.ring();
    }
}

fn answer(sources: &Sources, route: Route) -> Response {
    let Sources { env, status, config, metrics, gate, groups, cache, .. } = sources;
    let snapshot = || {
        let loops = status.statuses();
        Snapshot { boot: env.boot(), at: env.stamp(), loops }
    };
    match route {
        Route::Page { html: true } => sources.view(html::page),
        Route::Part { names } => sources.view(|view| html::part(view, names.as_deref())),
        Route::Page { html: false } => page::text(&snapshot()),
        // The threads of ours were looked at by the one that passed it on.
        Route::Live { detail } => health::live(&OWN, &snapshot().loops, groups, detail),
        Route::Ready { detail } => health::ready(&snapshot(), groups, detail),
        Route::Startup { detail } => health::startup(&snapshot(), groups, detail),
        Route::Healthz => health::healthz(&snapshot()),
        Route::Status => {
            let moment = Moment::now(env);
            cache.render(moment, &snapshot())
        }
        Route::Why { name } => routes::why(&snapshot(), &status.rejected(), &name),
        Route::Recovery => routes::recovery(&snapshot()),
        Route::Events { after, max, .. } => routes::events(env.boot(), &env.events_after(after, max)),
        Route::Config => routes::config(config.as_ref()),
        Route::Metrics { format } => routes::metrics(metrics.as_deref(), format),
        Route::Save => {
            sources.save();
            Response::text(Status::Ok, "saved")
        }
        Route::Act(action) => match &gate.control {
            Some(control) => action.act(&**control),
            // Refused before.
            None => Response::text(Status::NotFound, "nothing can be done here"),
        },
    }
}

/// The threads of ours that `/livez` tells of, when all of them run.
const OWN: [(&str, bool); 3] = [("server", true), ("workers", true), ("watchdog", true)];

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::super::health::Detail;
    use super::*;
    use crate::clock::real_deadline;
    use std::time::Duration;

    #[test]
    fn who_asks_about_health_does_not_wait_for_others_and_has_room_of_its_own() {
        let queue = Queue::new(2);
        let push = |ticket, route| {
            let deadline = real_deadline(Duration::from_secs(10));
            queue.push(Job { ticket, route, form: Form::default(), known: None, deadline })
        };
        let ready = || Route::Ready { detail: Detail::default() };
        assert!(push(1, Route::Status) && push(2, Route::Healthz));
        assert!(!push(3, Route::Status), "there is no room");
        assert!(push(4, ready()) && push(5, ready()) && !push(6, ready()));
        let order: Vec<_> = (0..4).map(|_| queue.next().expect("a job").ticket).collect();
        assert_eq!(order, [4, 5, 1, 2]);
        queue.end();
        assert!(queue.next().is_none());
    }
}
