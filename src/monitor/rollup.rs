//! Many states into one.

use crate::event::Health;

use crate::status::Tally;

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
