//! The table of loops: a row for each, with its bars and all that there is to
//! say of it in words.

use std::borrow::Cow;
use std::fmt::Write;
use std::time::Duration;

use super::markup::{class_of, escape, folded, list, number, span, time};
use super::{N_NAMED, View};
use crate::event::{Health, LoopKind};
use crate::http::health::word;
use crate::http::history::{Bar, DAY};
use crate::http::snapshot::Snapshot;
use crate::name::Name;
use crate::status::{CallStatus, LoopStatus};

const HOUR: u64 = DAY / 24;
/// How wide a bar is.
const BAR: u32 = 96;
/// How much of all errors together is shown beyond the short pieces.
pub(super) const ALL_LONG: usize = 512 * 1024;
/// A call that runs for less than this is not worth a word.
const NOTEWORTHY: Duration = Duration::from_secs(1);

const KINDS: [(LoopKind, &str); 7] = [
    (LoopKind::Watcher, "Services"),
    (LoopKind::Monitor, "Monitors"),
    (LoopKind::Recovery, "Recovery of runs"),
    (LoopKind::Controller, "Controllers"),
    (LoopKind::Component, "Components"),
    (LoopKind::Deployer, "Deployment"),
    (LoopKind::ConfigWatcher, "Configuration"),
];

pub(super) fn loops(out: &mut String, view: &View<'_>, names: Option<&[Name]>) {
    let Snapshot { loops, .. } = view.snapshot;
    out.push_str(
        "<section aria-labelledby=loops-h><h2 id=loops-h>Components</h2>\n<table id=loops>\n<thead><tr>\
         <th scope=col>Name<th scope=col>State<th scope=col>Since<th scope=col>Next run<th scope=col>Latency\
         <th scope=col>Last hour<th scope=col>Last day<th scope=col>What it says</thead>\n",
    );
    let mut room = ALL_LONG;
    for (kind, title) in KINDS {
        // In the order of kind and name, so they stand together.
        let Some(begin) = loops.iter().position(|status| status.kind == kind) else { continue };
        let of_kind: Vec<&LoopStatus> = loops[begin..].iter().filter(|status| status.kind == kind).collect();
        let n_ready = of_kind.iter().filter(|status| status.ready).count();
        let _ = writeln!(
            out,
            "<tbody id=of-{0}><tr class=k><th colspan=8 scope=rowgroup>{title} <small>{n_ready} of {1} ready</small>",
            kind.as_str(),
            of_kind.len()
        );
        for status in of_kind {
            if names.is_none_or(|names| names.contains(&status.name)) {
                row(out, status, view, &mut room);
            }
        }
    }
    if loops.is_empty() {
        out.push_str("<tbody><tr><td colspan=8>no loops\n");
    }
    out.push_str("</table></section>\n");
}

pub(super) fn row(out: &mut String, status: &LoopStatus, view: &View<'_>, room: &mut usize) {
    let (name, word) = (status.name.as_str(), word(status));
    let is_awaited = status.kind == LoopKind::Watcher && view.awaited.binary_search(&status.name).is_ok();
    let beats = if is_awaited { " data-beats" } else { "" };
    // Names and words have nothing that must be escaped.
    let open = ["<tr id=", status.kind.as_str(), "/", name, " class=", class_of(word), beats];
    let cells = ["><th scope=row>", name, "<td class=s>", word];
    open.iter().chain(&cells).for_each(|text| out.push_str(text));
    parent(out, status);
    if !status.critical {
        out.push_str(" <small>optional</small>");
    }
    out.push_str("<td>");
    time(out, status.since);
    out.push_str("<td>");
    if let Some(next) = status.next_run {
        time(out, next);
    } else if let Some(running) = status.running_for {
        out.push_str("running for ");
        span(out, running);
    }
    out.push_str("<td>");
    if let Some(latency) = status.latency {
        span(out, latency);
    }
    let track = view.history.track(status.kind, &status.name);
    for span in [HOUR, DAY] {
        out.push_str("<td>");
        if let Some(track) = track {
            bar(out, &track.bar(view.snapshot.at, span, BAR));
        }
    }
    out.push_str("<td>");
    says(out, status, room);
    out.push('\n');
}

/// Behind whom nothing is known of a loop.
pub(super) fn parent(out: &mut String, status: &LoopStatus) {
    if let Some(parent) = &status.parent {
        [" <small>(parent ", parent.as_str(), ")</small>"].iter().for_each(|text| out.push_str(text));
    }
}

/// Why a loop is not as it should be.
pub(super) fn why(status: &LoopStatus) -> Option<Cow<'_, str>> {
    let of_monitor = status.monitor.as_ref().and_then(|monitor| monitor.worst());
    let of_monitor = of_monitor.map(|checker| checker.to_string().into());
    let error = status.last_error.as_deref().map(Cow::Borrowed);
    of_monitor.or(error).or_else(|| Some(Cow::Borrowed(&*long_call(status)?.phase)))
}

/// A call of it that takes its time.
fn long_call(status: &LoopStatus) -> Option<&CallStatus> {
    status.call.as_ref().filter(|call| call.stuck || call.phase_for >= NOTEWORTHY)
}

/// The last cell: all that there is to say in words.
fn says(out: &mut String, status: &LoopStatus, room: &mut usize) {
    if !status.waits_for.is_empty() {
        out.push_str("<p>waits for ");
        list(out, &status.waits_for);
    }
    if !status.requires.is_empty() && status.requires != status.waits_for {
        out.push_str("<p class=m>requires ");
        list(out, &status.requires);
    }
    let worst = status.monitor.as_ref().and_then(|monitor| monitor.worst());
    // That of a monitor is what its worst checker says.
    if let (Some(error), None) = (&status.last_error, worst) {
        out.push_str(if status.ready { "<p class=m>last error: " } else { "<p class=e>" });
        folded(out, error, room);
    }
    if status.consecutive_failures > 1 {
        let _ = write!(out, "<p class=m>{} failures in a row", status.consecutive_failures);
    }
    if let Some(worst) = worst {
        out.push_str("<p class=e>");
        folded(out, &worst.to_string(), room);
    }
    if let Some(overdue) = status.overdue_for {
        out.push_str("<p class=e>overdue for ");
        span(out, overdue);
    }
    if let Some(call) = long_call(status) {
        if call.stuck {
            out.push_str("<p class=e>stuck: ");
            escape(out, &call.to_string());
        } else {
            out.push_str("<p class=m>");
            escape(out, &call.phase);
        }
    }
    if let Some(controller) = &status.controller {
        if controller.paused {
            out.push_str("<p>paused: runs only when it is triggered");
        }
        if let Some(summary) = &controller.last_summary {
            out.push_str("<p class=m>");
            escape(out, summary);
        }
    }
    if let Some(recovery) = &status.recovery {
        let _ = write!(
            out,
            "<p class=m>{} runs watched, {} in recovery, {} queued",
            recovery.watched, recovery.in_progress, recovery.queued
        );
        for incident in recovery.incidents.iter().take(N_NAMED) {
            out.push_str("<p class=e>");
            escape(out, &incident.run);
            let _ = write!(
                out,
                ": {}, attempt {} of {}",
                incident.phase, incident.attempt, incident.max_attempts
            );
            if let Some(error) = &incident.last_error {
                out.push_str(": ");
                folded(out, error, room);
            }
        }
    }
}

fn bar(out: &mut String, bar: &Bar) {
    let Some(up) = bar.up else { return };
    out.push_str("<svg>");
    for (health, class) in [(Health::Ready, "r"), (Health::Degraded, "g"), (Health::Down, "x")] {
        let mut is_first = true;
        for piece in bar.pieces.iter().filter(|piece| piece.health == health) {
            if is_first {
                ["<path class=", class, " d=\""].iter().for_each(|text| out.push_str(text));
            }
            is_first = false;
            out.push('M');
            number(out, piece.from.into());
            out.push_str(" 6h");
            number(out, (piece.to - piece.from).into());
        }
        if !is_first {
            out.push_str("\"/>");
        }
    }
    out.push_str("</svg>");
    number(out, (up / 10).into());
    if up % 10 != 0 {
        out.push('.');
        number(out, (up % 10).into());
    }
    out.push('%');
}
