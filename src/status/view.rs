//! A loop's status as one sees it who copies what there is to see: without
//! anything that takes room of its own.

use std::fmt;
use std::time::Duration;

use super::{CallStatus, LoopStatus, Phase};
use crate::event::{Health, LoopKind};
use crate::name::Name;
use crate::stamp::Stamp;

/// What every kind of loop has to say of itself, as in [`LoopStatus`].
#[derive(Clone, Copy)]
pub(crate) struct StatusView<'a> {
    pub(crate) name: &'a Name,
    pub(crate) kind: LoopKind,
    pub(crate) health: Health,
    pub(crate) ready: bool,
    pub(crate) stale: bool,
    pub(crate) critical: bool,
    pub(crate) phase: Phase,
    pub(crate) since: Stamp,
    pub(crate) last_check: Option<Stamp>,
    pub(crate) age: Option<Duration>,
    pub(crate) last_success: Option<Stamp>,
    pub(crate) last_error: Option<&'a dyn fmt::Display>,
    pub(crate) consecutive_failures: u32,
    pub(crate) attempt: u32,
    pub(crate) next_run: Option<Stamp>,
    pub(crate) latency: Option<Duration>,
    pub(crate) runs: u64,
    pub(crate) failures: u64,
    pub(crate) panics: u64,
    pub(crate) timeouts: u64,
    pub(crate) late: u64,
    pub(crate) missed: u64,
    pub(crate) transitions: u64,
    pub(crate) running_for: Option<Duration>,
    pub(crate) overdue_for: Option<Duration>,
    pub(crate) call: Option<&'a CallStatus>,
    /// The kernel's number of its thread.
    #[cfg_attr(not(feature = "capi"), allow(dead_code, reason = "of a status it is the thread's"))]
    pub(crate) tid: Option<u32>,
    pub(crate) lost_callbacks: u64,
}

impl<'a> StatusView<'a> {
    /// One of which nothing else is known: it is ready as its health says, and
    /// what counts is zero. Whoever knows more adds it.
    pub(crate) fn new(
        name: &'a Name,
        kind: LoopKind,
        critical: bool,
        health: Health,
        phase: Phase,
        since: Stamp,
    ) -> Self {
        Self {
            name,
            kind,
            health,
            ready: health == Health::Ready,
            stale: false,
            critical,
            phase,
            since,
            last_check: None,
            age: None,
            last_success: None,
            last_error: None,
            consecutive_failures: 0,
            attempt: 0,
            next_run: None,
            latency: None,
            runs: 0,
            failures: 0,
            panics: 0,
            timeouts: 0,
            late: 0,
            missed: 0,
            transitions: 0,
            running_for: None,
            overdue_for: None,
            call: None,
            tid: None,
            lost_callbacks: 0,
        }
    }
}

impl LoopStatus {
    /// What one can see, with room of its own; all but the thread's name and
    /// what only some kinds of loops have to say.
    #[inline]
    pub(crate) fn of(view: &StatusView<'_>) -> Self {
        Self {
            name: view.name.clone(),
            kind: view.kind,
            health: view.health,
            ready: view.ready,
            stale: view.stale,
            critical: view.critical,
            phase: view.phase,
            since: view.since,
            last_check: view.last_check,
            age: view.age,
            last_success: view.last_success,
            last_error: view.last_error.map(ToString::to_string),
            consecutive_failures: view.consecutive_failures,
            attempt: view.attempt,
            next_run: view.next_run,
            latency: view.latency,
            runs: view.runs,
            failures: view.failures,
            panics: view.panics,
            timeouts: view.timeouts,
            late: view.late,
            missed: view.missed,
            transitions: view.transitions,
            running_for: view.running_for,
            overdue_for: view.overdue_for,
            call: view.call.cloned(),
            thread: None,
            lost_callbacks: view.lost_callbacks,
            requires: Vec::new(),
            waits_for: Vec::new(),
            parent: None,
            alert: None,
            max_attempts: None,
            config: None,
            controller: None,
            monitor: None,
            recovery: None,
        }
    }

    /// What one can see of it.
    #[cfg(feature = "capi")]
    pub(crate) fn view(&self) -> StatusView<'_> {
        StatusView {
            name: &self.name,
            kind: self.kind,
            health: self.health,
            ready: self.ready,
            stale: self.stale,
            critical: self.critical,
            phase: self.phase,
            since: self.since,
            last_check: self.last_check,
            age: self.age,
            last_success: self.last_success,
            last_error: self.last_error.as_ref().map(|error| error as &dyn fmt::Display),
            consecutive_failures: self.consecutive_failures,
            attempt: self.attempt,
            next_run: self.next_run,
            latency: self.latency,
            runs: self.runs,
            failures: self.failures,
            panics: self.panics,
            timeouts: self.timeouts,
            late: self.late,
            missed: self.missed,
            transitions: self.transitions,
            running_for: self.running_for,
            overdue_for: self.overdue_for,
            call: self.call.as_ref(),
            tid: self.thread.as_ref().map(|thread| thread.tid),
            lost_callbacks: self.lost_callbacks,
        }
    }
}
