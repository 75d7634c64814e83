//! What the thread in office does: it takes a checker out of its place, has it
//! look in a slot, and puts it back.

use std::sync::Arc;
use std::time::Duration;

use super::overdue::{Kind, Watched};
use super::{Look, Numbers, Place, Shared, State};
use crate::cancel::LinkGuard;
use crate::clock::{Inbox, Seat, Signals, Tick};
use crate::component::Context;
use crate::error::{Error, Result};
use crate::looper::deadline_lead;
use crate::monitor::machine::{Checked, Ending, Turn};
use crate::monitor::report::Report;
use crate::monitor::{Checker, Verdict};
use crate::observe::Attr;
use crate::slot::Slot;
use crate::thread::caught;
use crate::watchdog::Guard;

/// What a thread has prepared for the looks of one checker.
struct Desk {
    cx: Context,
    report: Report,
    deadline: Duration,
    soft_deadline: Duration,
    stale_after: Duration,
    _ring: LinkGuard,
}

/// A look that has returned.
struct Done {
    idx: usize,
    checker: Box<dyn Checker>,
    result: Result<Verdict>,
    in_time: bool,
}

enum Next {
    /// A checker, taken out of its place, is to look.
    Look {
        idx: usize,
        checker: Box<dyn Checker>,
        generation: u64,
    },
    Wait {
        due: Tick,
        stale_at: Tick,
    },
    Over,
}

impl Shared {
    /// The body of each thread.
    pub(super) fn work(self: Arc<Self>, id: u64, inbox: &Arc<Inbox>, seat: Seat) {
        let clock = self.env.clock();
        let watch = |kind| {
            let owner = Watched { slot: Slot::new(), shared: Arc::downgrade(&self), id, kind };
            self.env.watchdog().guard(Arc::new(owner))
        };
        let (looks, ages) = (watch(Kind::Looks), watch(Kind::Ages));
        let mut desks: Vec<Option<Desk>> = Vec::new();
        let mut armed = Tick::NEVER;
        let mut done = None;
        let mut now = clock.now();
        loop {
            match self.next(id, now, done.take()) {
                Next::Look { idx, checker, generation } => {
                    if desks.len() <= idx {
                        desks.resize_with(idx + 1, || None);
                    }
                    let desk = desks[idx].get_or_insert_with(|| self.desk(idx, inbox));
                    let look = self.look(&looks, desk, idx, checker, generation, now);
                    now = clock.now();
                    // Known by when nobody has looked again; later looks are
                    // minded from the next wait on.
                    let stale_at = now + desk.stale_after;
                    if stale_at < armed {
                        ages.wait_until(stale_at);
                        armed = stale_at;
                    }
                    if !look.in_time {
                        // Its token and its report are those of a look that
                        // was given up.
                        desks[idx] = None;
                    }
                    done = Some(look);
                }
                Next::Wait { due, stale_at } => {
                    looks.wait_until(due + self.least_deadline);
                    if stale_at != armed {
                        ages.wait_until(stale_at);
                        armed = stale_at;
                    }
                    let signals = clock.wait(inbox, due);
                    if signals.has(Signals::CANCEL) {
                        break;
                    }
                    now = clock.now();
                }
                Next::Over => break,
            }
        }
        if self.state.lock().is_in_office(id) {
            self.end();
        }
        looks.wait_until(Tick::NEVER);
        // What a look left behind is dropped before the thread says that it
        // has ended, and the guards before the last hold on what they guard.
        drop(desks);
        drop((looks, ages));
        drop(seat);
    }

    /// What the looks of a checker need, on this thread.
    fn desk(&self, idx: usize, inbox: &Arc<Inbox>) -> Desk {
        let state = self.state.lock();
        let Place { token, report, steps, .. } = &state.places[idx];
        let (token, report, steps) = (token.clone(), report.clone(), steps.clone());
        let Checked { name, deadline, stale_after, .. } = state.machine.about(idx).clone();
        drop(state);
        let ring = token.ring(inbox);
        let cx = Context::new(self.env.clone(), name, token, inbox.clone(), steps);
        let soft_deadline = deadline.saturating_sub(deadline_lead(deadline));
        Desk { cx, report, deadline, soft_deadline, stale_after, _ring: ring }
    }

    fn look(
        &self,
        guard: &Guard,
        desk: &mut Desk,
        idx: usize,
        mut checker: Box<dyn Checker>,
        generation: u64,
        now: Tick,
    ) -> Done {
        desk.cx.set_deadline(now + desk.soft_deadline);
        desk.cx.begin_steps();
        guard.enter(generation, now + desk.deadline);
        // A panic is a result, and what a user's error holds is dropped here,
        // in the slot.
        let call = || checker.check(&desk.cx, &desk.report).map_err(|error| Error::from_user(&*error));
        let observer = self.env.observer();
        let result = if observer.span.is_none() {
            caught(call)
        } else {
            let attrs = [Attr::new("monitor", &self.name), Attr::new("checker", desk.cx.name())];
            let span = observer.start_span("check", &attrs);
            desk.cx.set_span(&span);
            let result = caught(call);
            desk.cx.clear_span();
            // Told to end: that is no failure.
            if let Ok(Err(error)) | Err(error) = &result {
                if !desk.cx.is_cancelled() {
                    span.set_error(&error.report());
                }
            }
            result
        };
        let in_time = guard.leave(generation);
        if in_time && desk.report.holders() > 2 {
            self.renew_report(idx, desk);
        }
        Done { idx, checker, result: result.and_then(|result| result), in_time }
    }

    /// Somebody kept the report of a look: what it says from now on is of
    /// none.
    fn renew_report(&self, idx: usize, desk: &mut Desk) {
        let mut state = self.state.lock();
        let place = &mut state.places[idx];
        // After a stop nobody asks for it any more.
        if !place.report.is(&desk.report) {
            return;
        }
        let fresh = Report::with(desk.report.close());
        place.report = fresh.clone();
        let before = std::mem::replace(&mut desk.report, fresh);
        drop(state);
        drop(before);
    }

    /// Takes in a look that has returned, and says what is next. One lock for
    /// both: it is taken once for each look.
    fn next(&self, id: u64, now: Tick, done: Option<Done>) -> Next {
        let mut state = self.state.lock();
        let before = Numbers::of(&state.machine);
        let (mut measured, mut left_over) = (None, None);
        if let Some(Done { idx, checker, result, in_time }) = done {
            if state.closed {
                left_over = Some(checker);
            } else {
                state.places[idx].checker = Some(checker);
            }
            measured = self.take_in(&mut state, id, now, idx, result, in_time);
        }
        let is_over = !state.is_in_office(id) || self.is_ending(&state);
        let next = if is_over { Next::Over } else { self.begin(&mut state, now) };
        self.note(state, before);
        // One that nobody has a place for any more.
        let _ = caught(|| drop(left_over));
        if let Some((idx, ending, took)) = measured {
            if let Some(instruments) = self.instruments.checkers.get(idx) {
                instruments.note(ending, took, &self.env);
            }
        }
        next
    }

    /// Marks the beginning of a look under the lock that a stop takes, so that
    /// nothing begins after a stop.
    fn begin(&self, state: &mut State, now: Tick) -> Next {
        let mut events = Vec::new();
        let turn = state.machine.turn(now, &mut events);
        self.tell_all(state, events);
        match turn {
            Turn::Wait(due) => Next::Wait { due, stale_at: state.machine.stale_at() },
            Turn::Call(idx) => {
                state.looks += 1;
                let generation = state.looks;
                let taken = state.places[idx].checker.take();
                match (taken, &mut state.office) {
                    (Some(checker), Some(office)) => {
                        office.look = Some(Look { idx, generation, begun: now, timed_out: false });
                        Next::Look { idx, checker, generation }
                    }
                    _ => Next::Over,
                }
            }
        }
    }

    /// Has the machine judge what a look found, unless nobody waits for that
    /// any more. Gives what is to be measured.
    fn take_in(
        &self,
        state: &mut State,
        id: u64,
        now: Tick,
        idx: usize,
        result: Result<Verdict>,
        in_time: bool,
    ) -> Option<(usize, Ending, Option<Duration>)> {
        let is_in_office = state.is_in_office(id);
        let is_ending = self.is_ending(state);
        let look = state.office_of(id).and_then(|office| office.look.take())?;
        let took = now.since(look.begun);
        let is_late = !in_time || look.timed_out;
        let mut events = Vec::new();
        let mut measured = None;
        if !is_late && is_in_office {
            if is_ending {
                // An answer to nobody's question any more; a cancel is no failure.
                return None;
            }
            let found = state.places[idx].report.take();
            let ending = state.machine.returned(now, idx, result, found, took, &mut events);
            self.tell_all(state, events);
            return Some((idx, ending, Some(took)));
        }
        if is_late && is_in_office && !look.timed_out && !is_ending {
            // The watchdog took the look away, and this thread was faster to
            // the lock.
            let found = state.places[idx].give_up();
            state.machine.timed_out(now, idx, look.begun, found, &mut events);
            measured = Some((idx, Ending::Timeout, None));
        }
        let run = state.run.clone();
        state.places[idx].token = run.child();
        let late = state.machine.late(now, idx);
        state.late += u64::from(is_late);
        if is_late && !is_ending {
            events.push(late);
        }
        self.tell_all(state, events);
        measured
    }
}
