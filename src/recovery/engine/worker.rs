//! The threads of an engine as it knows them: what each is for and what it is
//! doing.

use std::sync::Arc;
use std::time::Duration;

use super::job::{Asked, Chore, Job, Role};
use crate::cancel::LinkGuard;
use crate::clock::{Inbox, Tick};
use crate::stamp::Stamp;
use crate::status::CallStatus;
use crate::thread::{Straggler, Task};

/// One thread, and what it does.
pub(in crate::recovery) struct Worker {
    pub(super) id: u64,
    pub(super) role: Role,
    pub(in crate::recovery) inbox: Arc<Inbox>,
    pub(in crate::recovery) task: Task,
    pub(super) doing: Option<Doing>,
    /// Until when what it does is to be done.
    pub(super) deadline: Tick,
    /// Until when it sleeps; zero while it is awake.
    pub(super) asleep_until: Tick,
    /// It is left to its call, and ends with it.
    pub(super) retired: bool,
    pub(super) _ring: LinkGuard,
}

/// What a thread is doing.
#[derive(Clone)]
pub(super) enum Doing {
    Poll { poll: Asked, since: Tick },
    Attempt { run: Arc<str>, ticket: u64, since: Tick },
    Chore { run: Arc<str>, since: Tick },
    Sweep { since: Tick },
}

impl Doing {
    pub(super) fn of(job: &Job, since: Tick) -> Self {
        match job {
            Job::Poll(poll) => Self::Poll { poll: poll.clone(), since },
            Job::Attempt(attempt) => {
                Self::Attempt { run: attempt.run.clone(), ticket: attempt.ticket, since }
            }
            Job::Chore(Chore::Retire { run, .. }) => Self::Chore { run: run.as_str().into(), since },
            Job::Sweep(_) => Self::Sweep { since },
        }
    }

    pub(super) fn phase(&self) -> (&'static str, Option<&str>, Tick) {
        match self {
            Self::Poll { poll, since } => ("its poll", Some(&poll.run), *since),
            Self::Attempt { run, since, .. } => ("its attempt", Some(run), *since),
            Self::Chore { run, since } => ("letting go of what it restored", Some(run), *since),
            Self::Sweep { since } => ("dropping what is not needed", None, *since),
        }
    }
}

impl Worker {
    /// One that does nothing yet.
    pub(super) fn new(id: u64, role: Role, inbox: Arc<Inbox>, task: Task, ring: LinkGuard) -> Self {
        Self {
            id,
            role,
            inbox,
            task,
            doing: None,
            deadline: Tick::NEVER,
            asleep_until: Tick::ZERO,
            retired: false,
            _ring: ring,
        }
    }

    pub(super) fn is_free(&self, role: Role) -> bool {
        self.role != role || self.retired || self.doing.is_none()
    }

    pub(super) fn is_at_work(&self) -> bool {
        self.doing.is_some() && !self.retired
    }

    pub(in crate::recovery) fn is_stuck(&self) -> bool {
        self.retired && self.doing.is_some()
    }

    /// Whether it is in a call that counts.
    pub(in crate::recovery) fn is_doing(&self, role: Role) -> bool {
        self.role == role && self.is_at_work()
    }

    /// Since when it is in a call.
    pub(in crate::recovery) fn calls_since(&self) -> Option<Tick> {
        self.doing.as_ref().map(|doing| doing.phase().2)
    }

    /// For how long its call is past its deadline.
    pub(in crate::recovery) fn past_deadline(&self, now: Tick) -> Option<Duration> {
        (self.is_stuck() || self.doing.is_some() && now > self.deadline).then(|| now.since(self.deadline))
    }

    /// Its call, without what the system says of its thread.
    pub(in crate::recovery) fn call(&self, now: Tick, wall: Stamp) -> Option<CallStatus> {
        let (phase, run, since) = self.doing.as_ref()?.phase();
        let phase = run.map_or_else(|| format!("in {phase}"), |run| format!("{run}: in {phase}"));
        let stuck = self.past_deadline(now).is_some();
        Some(CallStatus {
            phase: phase.into(),
            phase_for: now.since(since),
            deadline: CallStatus::deadline_at(self.deadline, now, wall),
            stuck,
            activity: None,
        })
    }

    /// Lets it end with its call; nothing of what it does counts any more.
    pub(in crate::recovery) fn retire(&mut self) {
        self.retired = true;
    }

    /// Whether a stop has to wait for what it does.
    pub(super) fn matters(&self) -> bool {
        self.role == Role::Attempt
    }

    pub(super) fn straggler(&self, name: &str, now: Tick) -> Straggler {
        let (phase, run, since) = self.doing.as_ref().map_or(("its end", None, now), Doing::phase);
        let name = run.map_or_else(|| name.to_owned(), |run| format!("{name} (run {run})"));
        Straggler::new(name, &self.task, phase, now.since(since))
    }
}
