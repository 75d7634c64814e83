//! Many states into one.

use serde::Serialize;

use crate::event::Health;

/// How many of a set are in which state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Tally {
    /// As they should be.
    pub ready: u64,
    /// Working, in part.
    pub degraded: u64,
    /// Not as they should be.
    pub down: u64,
    /// Not known.
    pub unknown: u64,
}

impl Tally {
    /// Counts one more.
    pub fn add(&mut self, health: Health) {
        let count = match health {
            Health::Ready => &mut self.ready,
            Health::Degraded => &mut self.degraded,
            Health::Down => &mut self.down,
            Health::Unknown => &mut self.unknown,
        };
        *count += 1;
    }

    /// How many there are.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.ready + self.degraded + self.down + self.unknown
    }

    /// All of them together: ready, down or unknown when every one is, and
    /// unknown when there is none; else degraded.
    #[must_use]
    pub fn health(&self) -> Health {
        let total = self.total();
        match *self {
            _ if total == 0 => Health::Unknown,
            Self { ready, .. } if ready == total => Health::Ready,
            Self { down, .. } if down == total => Health::Down,
            Self { unknown, .. } if unknown == total => Health::Unknown,
            _ => Health::Degraded,
        }
    }
}

/// Many states into one, whatever their order; see [`Tally::health`].
///
/// # Examples
///
/// ```
/// use loopkeeper::Health;
/// use loopkeeper::monitor::roll_up;
///
/// assert_eq!(roll_up([Health::Ready, Health::Ready]), Health::Ready);
/// assert_eq!(roll_up([Health::Ready, Health::Down]), Health::Degraded);
/// assert_eq!(roll_up([]), Health::Unknown);
/// ```
#[must_use]
pub fn roll_up(states: impl IntoIterator<Item = Health>) -> Health {
    let mut tally = Tally::default();
    for health in states {
        tally.add(health);
    }
    tally.health()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cum_06_wum_06_many_states_are_one_by_the_table() {
        use Health::{Degraded, Down, Ready, Unknown};
        for (states, expected) in [
            (&[][..], Unknown),
            (&[Ready], Ready),
            (&[Ready, Ready], Ready),
            (&[Down, Down], Down),
            (&[Unknown, Unknown], Unknown),
            (&[Degraded], Degraded),
            (&[Ready, Down], Degraded),
            (&[Ready, Unknown], Degraded),
            (&[Down, Unknown], Degraded),
            (&[Ready, Degraded, Down, Unknown], Degraded),
        ] {
            assert_eq!(roll_up(states.iter().copied()), expected, "{states:?}");
            assert_eq!(roll_up(states.iter().rev().copied()), expected, "{states:?}, in reverse");
        }
    }
}
