//! placeholder
use crate::stamp::Stamp;
/// A store whose time a test sets.
pub trait ManualTime {
    /// Sets the time for all that follows.
    fn set_now(&mut self, now: Stamp);
}
/// x
#[derive(Debug)]
pub struct ModelStore;
