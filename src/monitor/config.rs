//! What a monitor is made from.

use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use super::machine::Checked;
use super::{Checker, Principal, Report, Role, Verdict, roll_up};
use crate::alert::AlertConfig;
use crate::cancel::CancelToken;
use crate::dispatch::Handler;
use crate::duration::Shown;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Event, EventKind, Health};
use crate::name::Name;
use crate::observe::Observer;
use crate::trial::{Found, Trial};

/// How many periods what was found counts, unless it is told. The time that a
/// pass may take comes on top: a checker that is slow makes no other unknown.
const STALE_PERIODS: u32 = 3;

type OnChange = Box<dyn FnMut(Health, Option<&str>) + Send>;
type OnCheckerChange = Box<dyn FnMut(&Name, Health, Option<&str>) + Send>;

/// A monitor: its name, its checkers in their order, when they look, and what
/// to do about what they find.
///
/// # Callbacks
///
/// `on_change` is called when all checkers together turn to another state,
/// `on_checker_change` when one does. They run on the dispatcher's thread, one
/// at a time and in order, never on the monitor's; a panic is caught and
/// counted. One that runs longer than ten seconds loses its thread and holds
/// up only this monitor's later callbacks.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use loopkeeper::monitor::{CheckerConfig, MonitorConfig, Report, Verdict};
/// use loopkeeper::{Context, Monitor};
///
/// let fine = |_: &Context, _: &Report| Ok(Verdict::Ready);
/// let config = MonitorConfig::new("cluster")
///     .poll_period(Duration::from_secs(30))
///     .check("servers", fine)
///     .checker(CheckerConfig::new("backups", fine).deadline(Duration::from_secs(60)));
/// let cluster = Monitor::start(config)?;
/// assert!(cluster.wait_ready(Duration::from_secs(5)));
///
/// let never = MonitorConfig::new("cluster").poll_period(Duration::ZERO);
/// assert_eq!(Monitor::start(never).unwrap_err().to_string(), "poll_period: must be more than zero");
/// # Ok::<(), loopkeeper::Error>(())
/// ```
#[must_use = "settings do nothing until a monitor is made from them"]
pub struct MonitorConfig {
    pub(super) name: String,
    pub(super) poll_period: Duration,
    deadline: Duration,
    stale_after: Option<Duration>,
    pub(super) in_phase: bool,
    pub(super) critical: bool,
    pub(super) principal: Option<Principal>,
    pub(super) cancel: CancelToken,
    pub(super) drop_grace: Duration,
    pub(super) checkers: Vec<CheckerConfig>,
    pub(super) callbacks: Callbacks,
    pub(super) alert: AlertConfig,
}

#[derive(Default)]
pub(super) struct Callbacks {
    on_change: Option<OnChange>,
    on_checker_change: Option<OnCheckerChange>,
}

impl MonitorConfig {
    /// A monitor under a name, without checkers. The name is checked when the
    /// monitor starts.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            poll_period: Duration::from_secs(60),
            deadline: Duration::from_secs(10),
            stale_after: None,
            in_phase: false,
            critical: false,
            principal: None,
            cancel: CancelToken::new(),
            drop_grace: Duration::from_secs(1),
            checkers: Vec::new(),
            callbacks: Callbacks::default(),
            alert: AlertConfig::default(),
        }
    }

    /// The time between two passes, from the beginning of one to that of the
    /// next. Defaults to 60 s.
    pub fn poll_period(mut self, period: Duration) -> Self {
        self.poll_period = period;
        self
    }

    /// How long one look of a checker may take that has no deadline of its
    /// own, whatever the period. Defaults to 10 s.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// After which time what was found counts no more and its state is
    /// unknown, for checkers that have no such time of their own. Defaults to
    /// three periods and the time that a pass may take, which is the deadlines
    /// of all checkers together.
    pub fn stale_after(mut self, age: Duration) -> Self {
        self.stale_after = Some(age);
        self
    }

    /// Counts the regular times from the first pass. Unless this is called
    /// they are spread over the period by a hash of the name, from the second
    /// pass on.
    pub fn in_phase(mut self) -> Self {
        self.in_phase = true;
        self
    }

    /// Says that the whole is down, and not only degraded, while this monitor
    /// is down or unknown. Monitors are not critical unless this is called.
    pub fn critical(mut self) -> Self {
        self.critical = true;
        self
    }

    /// As whom its checkers ask, for those who read its status. Give it to the
    /// checkers that need it, too. Defaults to nobody.
    pub fn principal(mut self, principal: &Principal) -> Self {
        self.principal = Some(principal.clone());
        self
    }

    /// What people are told, by a command or a webhook, when all of it together
    /// is down and is ready again, where the environment has
    /// [`Alerts`](crate::alert::Alerts). Defaults to nothing.
    pub fn alert(mut self, alert: AlertConfig) -> Self {
        self.alert = alert;
        self
    }

    /// Ends the monitor when `token` is cancelled. Defaults to a token of the
    /// monitor's own.
    pub fn cancelled_by(mut self, token: &CancelToken) -> Self {
        self.cancel = token.clone();
        self
    }

    /// How long dropping the monitor waits for its threads and its callbacks,
    /// unless a stop has waited for them already. Defaults to 1 s.
    pub fn drop_grace(mut self, grace: Duration) -> Self {
        self.drop_grace = grace;
        self
    }

    /// Adds a checker, which looks after those that were added before.
    pub fn check(self, name: impl Into<String>, checker: impl Checker + 'static) -> Self {
        self.checker(CheckerConfig::new(name, checker))
    }

    /// Adds a checker with settings of its own.
    pub fn checker(mut self, checker: CheckerConfig) -> Self {
        self.checkers.push(checker);
        self
    }

    /// Called when all checkers together turn to another state, with why they
    /// are not ready.
    pub fn on_change(mut self, call: impl FnMut(Health, Option<&str>) + Send + 'static) -> Self {
        self.callbacks.on_change = Some(Box::new(call));
        self
    }

    /// Called when what one checker looks at turns to another state, with why
    /// it is not ready.
    pub fn on_checker_change(
        mut self,
        call: impl FnMut(&Name, Health, Option<&str>) + Send + 'static,
    ) -> Self {
        self.callbacks.on_checker_change = Some(Box::new(call));
        self
    }

    /// Refuses what cannot be meant, and gives the checkers apart from what is
    /// known of them.
    pub(super) fn take_checkers(&mut self) -> Result<Vec<(Checked, Box<dyn Checker>)>> {
        expect_some("poll_period", self.poll_period)?;
        expect_some("deadline", self.deadline)?;
        let stale_after = match self.stale_after {
            Some(age) => expect_some("stale_after", age)?,
            None => {
                let deadlines = self.checkers.iter().map(|checker| checker.deadline.unwrap_or(self.deadline));
                let periods = self.poll_period.saturating_mul(STALE_PERIODS);
                deadlines.fold(periods, Duration::saturating_add)
            }
        };
        if let Some(principal) = &self.principal {
            principal.check()?;
        }
        let mut names = HashSet::new();
        let mut checkers = Vec::with_capacity(self.checkers.len());
        for config in std::mem::take(&mut self.checkers) {
            let CheckerConfig { name, checker, role, deadline, stale_after: own } = config;
            let name = Name::new(&name).map_err(|error| of_checker(&name, &error))?;
            if !names.insert(name.clone()) {
                let text = format!("checkers: two are called {name}");
                return Err(Error::new(ErrorKind::Duplicate).context(text));
            }
            let fail = |error: Error| of_checker(name.as_str(), &error);
            checker.validate().map_err(fail)?;
            let about = Checked {
                role: role.unwrap_or_else(|| checker.role()),
                deadline: expect_some("deadline", deadline.unwrap_or(self.deadline)).map_err(fail)?,
                stale_after: expect_some("stale_after", own.unwrap_or(stale_after)).map_err(fail)?,
                name,
            };
            checkers.push((about, checker));
        }
        Ok(checkers)
    }
}

fn of_checker(name: &str, error: &Error) -> Error {
    Error::new(error.kind()).context(format!("checker {}: {}", Shown(name), error.report()))
}

fn expect_some(key: &str, value: Duration) -> Result<Duration> {
    if value.is_zero() {
        return Err(Error::invalid(format!("{key}: must be more than zero")));
    }
    Ok(value)
}

impl MonitorConfig {
    /// Has each checker look once, to be told step by step how that goes.
    /// Nothing is counted or called.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` when a setting cannot be used.
    pub fn into_trials(mut self) -> Result<Vec<Trial>> {
        let checked = self.take_checkers()?;
        let trial = |(checked, mut checker): (Checked, Box<dyn Checker>)| {
            Trial::new(checked.name, checked.deadline, move |cx| {
                let report = Report::new();
                let verdict = checker.check(cx, &report)?;
                let items = report.items();
                let (health, reason) = match verdict {
                    Verdict::Ready => (Health::Ready, None),
                    Verdict::Degraded(text) => (Health::Degraded, Some(text)),
                    Verdict::Items => (roll_up(items.values().map(|item| item.health)), None),
                };
                let items = items.into_iter().map(|(name, item)| (name, item.health, item.reason)).collect();
                Ok(Found { health, reason, items })
            })
        };
        Ok(checked.into_iter().map(trial).collect())
    }
}

impl fmt::Debug for MonitorConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MonitorConfig")
            .field("name", &self.name)
            .field("poll_period", &self.poll_period)
            .field("deadline", &self.deadline)
            .field("stale_after", &self.stale_after)
            .field("in_phase", &self.in_phase)
            .field("critical", &self.critical)
            .field("principal", &self.principal)
            .field("checkers", &self.checkers)
            .finish_non_exhaustive()
    }
}

/// A checker of a monitor, with what is to be said of it.
#[must_use = "settings do nothing until a monitor is made from them"]
pub struct CheckerConfig {
    name: String,
    checker: Box<dyn Checker>,
    role: Option<Role>,
    deadline: Option<Duration>,
    stale_after: Option<Duration>,
}

impl CheckerConfig {
    /// A checker under a name. The name is checked when the monitor starts.
    pub fn new(name: impl Into<String>, checker: impl Checker + 'static) -> Self {
        Self { name: name.into(), checker: Box::new(checker), role: None, deadline: None, stale_after: None }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// What its findings are. Defaults to what the checker says itself.
    pub fn role(mut self, role: Role) -> Self {
        self.role = Some(role);
        self
    }

    /// How long one look may take. Defaults to the monitor's.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// After which time what it found counts no more. Defaults to the
    /// monitor's.
    pub fn stale_after(mut self, age: Duration) -> Self {
        self.stale_after = Some(age);
        self
    }
}

impl fmt::Debug for CheckerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckerConfig")
            .field("name", &self.name)
            .field("role", &self.role)
            .field("deadline", &self.deadline)
            .field("stale_after", &self.stale_after)
            .finish_non_exhaustive()
    }
}

impl Callbacks {
    pub(super) fn into_handler(self, observer: &Observer) -> Option<Handler> {
        let on_event = observer.on_event.clone();
        let Self { mut on_change, mut on_checker_change } = self;
        if on_event.is_none() && on_change.is_none() && on_checker_change.is_none() {
            return None;
        }
        Some(Box::new(move |event: &Event| {
            if let Some(on_event) = &on_event {
                crate::observe::contain(|| on_event(event));
            }
            match &event.what {
                EventKind::HealthChanged { to, reason, .. } => {
                    if let Some(call) = &mut on_change {
                        call(*to, reason.as_deref());
                    }
                }
                EventKind::CheckerChanged { checker, to, reason, .. } => {
                    if let Some(call) = &mut on_checker_change {
                        call(checker, *to, reason.as_deref());
                    }
                }
                _ => {}
            }
        }))
    }
}
