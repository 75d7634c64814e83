//! What a host remembers of each component, so that a look at all of them
//! costs next to nothing: a thousand that start one after the other are
//! looked at some thousand times.

use super::{Id, Member, Stage, Supervisor};
use crate::clock::Tick;

/// May be at work, as far as the others are concerned.
pub(super) const ALIVE: u8 = 1;
/// In a call.
pub(super) const IN_CALL: u8 = 1 << 1;
/// In a start that takes one of the places for starts.
pub(super) const STARTING: u8 = 1 << 2;
/// To be started once it may.
pub(super) const DUE: u8 = 1 << 3;
/// Somebody waits for its start.
pub(super) const ASKED_FOR: u8 = 1 << 4;
/// To be stopped once it may.
pub(super) const TO_END: u8 = 1 << 5;
/// The start of the host waits for it.
pub(super) const PENDING: u8 = 1 << 6;
/// Its readiness has changed and was not told.
pub(super) const UNTOLD: u8 = 1 << 7;

/// Of more than these all components are looked through.
const FEW: usize = 16;

/// By places in the list of components.
#[derive(Debug)]
pub(super) struct View {
    ids: Vec<Id>,
    /// Whether each was made after those before it.
    is_sorted: bool,
    marks: Vec<u8>,
    /// Whether what requires it may run.
    ready: Vec<bool>,
    /// Whether any other requires it.
    required: Vec<bool>,
    /// Whether any other stops with it: what those are hangs on it, too.
    bound: Vec<bool>,
    /// Those that have changed since.
    touched: Vec<usize>,
    is_stale: bool,
    /// The earliest deadline of those that changed since it was asked for.
    soonest: Tick,
    /// How many components it has looked at.
    #[cfg(test)]
    pub(super) looks: usize,
}

impl Default for View {
    fn default() -> Self {
        Self::of(&[], &[], Tick::ZERO)
    }
}

impl View {
    /// One component has changed.
    pub(super) fn touch(&mut self, idx: usize) {
        self.touched.push(idx);
    }

    /// Any may have changed.
    pub(super) fn touch_all(&mut self) {
        self.is_stale = true;
    }

    /// A component comes behind all others, which does not change what they are.
    pub(super) fn append(&mut self, member: &Member) {
        if self.is_stale {
            return;
        }
        self.touched.push(self.ids.len());
        self.is_sorted &= self.ids.last().is_none_or(|last| *last < member.id);
        self.ids.push(member.id);
        self.marks.push(0);
        self.ready.push(false);
        self.required.push(false);
        self.bound.push(false);
        self.require(member);
    }

    fn require(&mut self, member: &Member) {
        for (idx, edge) in member.edges.iter().filter_map(|edge| Some((edge.idx?, edge))) {
            self.required[idx] = true;
            self.bound[idx] |= edge.or_stop;
        }
    }

    /// Takes in what has changed. The order is that of the starts: what each
    /// requires comes before it.
    pub(super) fn refresh(&mut self, members: &[Member], order: &[usize], now: Tick) {
        while let Some(idx) = self.touched.pop() {
            if self.is_stale {
                continue;
            }
            let was_ready = self.ready[idx];
            self.look_at(idx, &members[idx], now);
            self.is_stale = self.bound[idx] && self.ready[idx] != was_ready;
        }
        if self.is_stale {
            let fresh = Self::of(members, order, now);
            let before = std::mem::replace(self, fresh);
            self.soonest = self.soonest.min(before.soonest);
            #[cfg(test)]
            (self.looks += before.looks);
        }
    }

    fn of(members: &[Member], order: &[usize], now: Tick) -> Self {
        let n = members.len();
        let mut view = Self {
            ids: members.iter().map(|member| member.id).collect(),
            is_sorted: members.is_sorted_by(|one, next| one.id < next.id),
            marks: vec![0; n],
            ready: vec![false; n],
            required: vec![false; n],
            bound: vec![false; n],
            touched: Vec::new(),
            is_stale: false,
            soonest: members.iter().map(|member| member.deadline(now)).min().unwrap_or(Tick::NEVER),
            #[cfg(test)]
            looks: 0,
        };
        members.iter().for_each(|member| view.require(member));
        for &idx in order {
            view.look_at(idx, &members[idx], now);
        }
        view
    }

    fn look_at(&mut self, idx: usize, member: &Member, now: Tick) {
        #[cfg(test)]
        (self.looks += 1);
        let is_bereft = Supervisor::is_bereft(member, &self.ready);
        self.ready[idx] = !member.stray && member.can_take_work() && !is_bereft;
        self.soonest = self.soonest.min(member.deadline(now));
        self.marks[idx] = if member.stray { 0 } else { marks(member, self.ready[idx], is_bereft) };
    }

    /// Where a component stands; nobody knows once they have changed places.
    pub(super) fn place(&self, id: Id, members: &[Member]) -> Option<usize> {
        if self.is_stale {
            return members.iter().position(|member| member.id == id);
        }
        if self.is_sorted {
            return self.ids.binary_search(&id).ok();
        }
        self.ids.iter().position(|other| *other == id)
    }

    /// The earliest deadline of those that changed since the last
    /// [`forget_soonest`](Self::forget_soonest), or an earlier one.
    pub(super) fn soonest(&self) -> Tick {
        self.soonest
    }

    pub(super) fn forget_soonest(&mut self) {
        self.soonest = Tick::NEVER;
    }

    /// Whether it is what the components are.
    pub(super) fn holds(&self, members: &[Member], order: &[usize]) -> bool {
        let fresh = Self::of(members, order, Tick::ZERO);
        (&self.ids, self.is_sorted, &self.marks, &self.ready, &self.required, &self.bound)
            == (&fresh.ids, fresh.is_sorted, &fresh.marks, &fresh.ready, &fresh.required, &fresh.bound)
    }

    pub(super) fn ready(&self) -> &[bool] {
        &self.ready
    }

    pub(super) fn is_required(&self, idx: usize) -> bool {
        self.required[idx]
    }

    pub(super) fn is(&self, idx: usize, mark: u8) -> bool {
        self.marks[idx] & mark != 0
    }

    /// Those that are so, in the order of `ranks`, where they are few enough to
    /// be told one by one.
    pub(super) fn few(&self, mark: u8, ranks: &[usize]) -> Option<Vec<usize>> {
        if self.count(mark) > FEW {
            return None;
        }
        let is_meant = |(idx, marks): (usize, &u8)| (marks & mark != 0).then_some(idx);
        let mut few: Vec<usize> = self.marks.iter().enumerate().filter_map(is_meant).collect();
        few.sort_unstable_by_key(|&idx| ranks[idx]);
        Some(few)
    }

    pub(super) fn any(&self, mark: u8) -> bool {
        // Not up to the first one: this way the compiler takes many at once.
        self.marks.iter().fold(0, |all, marks| all | marks) & mark != 0
    }

    pub(super) fn count(&self, mark: u8) -> usize {
        // In pieces whose count is a byte, too: the compiler takes as many at
        // once as there are bytes in a register.
        let of = |piece: &[u8]| piece.iter().map(|marks| u8::from(marks & mark != 0)).sum::<u8>();
        self.marks.chunks(255).map(|piece| usize::from(of(piece))).sum()
    }
}

fn marks(member: &Member, is_ready: bool, is_bereft: bool) -> u8 {
    let is_asked_for = member.is_asked_for();
    let is_starting = matches!(member.stage, Stage::Starting { .. });
    let is_startable = matches!(
        member.stage,
        Stage::Registered | Stage::Stopped | Stage::Waiting { .. } | Stage::BackingOff { .. }
    );
    let is_to_end = match member.stage {
        Stage::Starting { .. } => member.is_ending() && !member.cancelled,
        Stage::Started => member.is_ending() || is_bereft,
        _ => false,
    };
    let is_pending = member.wanted && !is_asked_for && (is_starting || member.stage == Stage::Registered);
    let all = [
        (ALIVE, member.stage.is_alive()),
        (IN_CALL, member.stage.is_in_call()),
        (STARTING, is_starting && !is_asked_for),
        (DUE, is_startable && member.wanted && member.leaving.is_none()),
        (ASKED_FOR, is_asked_for),
        (TO_END, is_to_end),
        (PENDING, is_pending),
        (UNTOLD, member.told_ready != is_ready),
    ];
    all.iter().map(|(mark, holds)| mark * u8::from(*holds)).sum()
}
