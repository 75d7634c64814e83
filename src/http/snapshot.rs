//! What the answers about loops are made from.

use crate::stamp::Stamp;
use crate::status::LoopStatus;

/// All loops at one moment.
#[derive(Debug)]
pub(super) struct Snapshot<'a> {
    pub(super) boot: &'a str,
    pub(super) at: Stamp,
    pub(super) loops: Vec<LoopStatus>,
}
