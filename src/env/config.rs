//! Settings of an environment.

use crate::clock::Clock;
use crate::observe::Observer;
use crate::thread::STACK_SIZE;

/// Settings of an [`Env`](super::Env).
#[derive(Debug, Clone)]
#[must_use = "settings do nothing until an environment is made from them"]
pub struct EnvConfig {
    pub(super) clock: Clock,
    pub(super) observer: Observer,
    pub(super) stack_size: usize,
    pub(super) spread: bool,
    pub(super) seed: Option<u64>,
}

impl Default for EnvConfig {
    fn default() -> Self {
        Self {
            clock: Clock::system(),
            observer: Observer::default(),
            stack_size: STACK_SIZE,
            spread: true,
            seed: None,
        }
    }
}

impl EnvConfig {
    /// The clock. Defaults to the system's.
    pub fn clock(mut self, clock: impl Into<Clock>) -> Self {
        self.clock = clock.into();
        self
    }

    /// Who hears of events, spans and metrics. Defaults to an inert observer.
    pub fn observer(mut self, observer: Observer) -> Self {
        self.observer = observer;
        self
    }

    /// The stack of each thread that calls the program, in bytes: of loops, of
    /// components' calls, and of those that make callbacks and tell observers,
    /// which have 256 KiB at least. Only pages that are touched take memory.
    /// Raise it for code that needs more, such as TLS in debug builds. Defaults
    /// to 256 KiB, a small part of what a program's first thread has.
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = bytes;
        self
    }

    /// Whether regular runs are spread over their interval by a hash of the
    /// loop's name, from the second on, so that many loops do not all run at
    /// one moment. Defaults to true, and to false with a manual clock.
    pub fn spread(mut self, spread: bool) -> Self {
        self.spread = spread;
        self
    }

    /// The seed of all jitter. Defaults to one from the system's clock, and
    /// to zero with a manual clock.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }
}
