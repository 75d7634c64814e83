//! One sentence of how a loop is and why.

use super::words::{since, state};
use super::{Cause, CauseKind};
use crate::stamp::Stamp;
use crate::status::LoopStatus;

/// All of it in one sentence: how one is, and the way down to where that
/// begins.
pub(super) fn of(status: &LoopStatus, at: Stamp, causes: &[Cause]) -> String {
    let mut text = if status.stale {
        // For how long it was as it last said tells nothing of it now.
        format!("{} is {}", status.name, state(status))
    } else {
        format!("{} has been {} for {}", status.name, state(status), since(at, status.since))
    };
    // The way from one to what it waits for, down to where that ends.
    let Some(mut cause) = causes.first() else {
        text.push_str(if status.ready { ": nothing is wrong" } else { "" });
        return text;
    };
    let mut path = Vec::new();
    let mut rest = causes;
    while cause.kind == CauseKind::Requires {
        path.push(cause);
        let Some(at) = rest.iter().position(|it| std::ptr::eq(it, cause)) else { break };
        rest = &rest[at + 1..];
        match rest.first().filter(|next| next.depth > cause.depth) {
            Some(next) => cause = next,
            None => break,
        }
    }
    for step in &path {
        let and = if step.depth == 0 { ": it " } else { " and " };
        text.push_str(and);
        text.push_str(&step.what);
    }
    if cause.kind != CauseKind::Requires {
        text.push_str(": ");
        text.push_str(&cause.what);
    }
    text
}
