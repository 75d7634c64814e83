//! What to do about what stands in the folder: pure, as data, doing nothing.

use std::cell::OnceCell;
use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::candidate::{Candidate, Reading};
use super::change::{Change, Plan};
use super::descriptor::taken;
use super::ledger::Ledger;
use super::requires::{Asks, circles};
use super::scan;
use crate::clock::Tick;
use crate::error::{Error, ErrorKind};
use crate::map::Map;
use crate::name::Name;
use crate::tree::{Fault, Faults, Place};

/// Who has a name.
enum Claim {
    /// A file that describes it.
    Right(usize),
    /// A file that is wrong now and was right when it was applied.
    Held(usize),
}

/// Compares what stands in the folder with what runs.
///
/// * Names decide, not files: a file that moved changes nothing.
/// * Of two files with one name the first in path order wins.
/// * What was told to stop and did not end well is put in place anew when a file
///   asks for it again: it may run, hang or be gone.
/// * What runs is stopped only when its file is gone or says, rightly, that
///   something else is to run; never for a file that is wrong.
/// * When the files may not be all there are, nothing is taken for gone.
pub(super) fn plan(files: &[Candidate], is_whole: bool, ledger: &Ledger, now: Tick) -> Plan {
    let mut applied: Vec<(&Path, &Name)> = Vec::new();
    // Asked for about files that are wrong alone.
    if files.iter().any(|file| matches!(file.reading, Reading::Wrong { .. })) {
        applied.extend(ledger.running().map(|(name, running)| (&*running.path, name)));
        crate::order::sort(&mut applied);
    }
    let (paths, claims) = (OnceCell::new(), Map::new());
    let mut planner = Planner { files, paths, applied, is_whole, ledger, now, claims, plan: Plan::default() };
    let rejected = planner.claim();
    let stops = planner.stops();
    let starts = planner.starts();
    let mut plan = planner.plan;
    plan.changes = stops;
    plan.changes.extend(starts);
    plan.changes.extend(rejected);
    stop_in_reverse(&mut plan.changes, ledger);
    plan
}

/// Puts those first that require others which stop, too.
fn stop_in_reverse(changes: &mut [Change], ledger: &Ledger) {
    let stops = changes.iter().enumerate().filter_map(|(at, change)| Some((at, change.stops()?.clone())));
    let (places, mut names): (Vec<usize>, Vec<Name>) = stops.unzip();
    names.reverse();
    let by_name: Vec<&Name> = names.iter().collect();
    let requires = |idx: usize| ledger.get(by_name[idx]).map_or(&[][..], |running| &running.requires);
    let order = requires_first(&by_name, |idx| requires(idx).iter());
    for (place, &idx) in places.into_iter().zip(order.iter().rev()) {
        changes[place] = Change::Stop { name: names[idx].clone() };
    }
}

/// In the given order, but what others require before them. Where there is a
/// circle, the given order has to do.
fn requires_first<'a, I: Iterator<Item = &'a Name>>(
    names: &[&Name],
    requires: impl Fn(usize) -> I,
) -> Vec<usize> {
    let names_at = names.iter().enumerate().map(|(idx, name)| (name.as_str(), idx));
    let by_name: HashMap<&str, usize> = names_at.collect();
    let mut ordered = Vec::with_capacity(names.len());
    let mut met = vec![false; names.len()];
    for first in 0..names.len() {
        if met[first] {
            continue;
        }
        met[first] = true;
        // A list instead of recursion: chains may be long.
        let mut path = vec![(first, requires(first))];
        while let Some((idx, rest)) = path.last_mut() {
            let Some(required) = rest.next() else {
                ordered.push(*idx);
                path.pop();
                continue;
            };
            if let Some(&required) = by_name.get(required.as_str()).filter(|required| !met[**required]) {
                met[required] = true;
                path.push((required, requires(required)));
            }
        }
    }
    ordered
}

/// What runs of what was applied from this file.
pub(super) fn applied_from<'a>(applied: &'a [(&Path, &Name)], path: &Path) -> &'a [(&'a Path, &'a Name)] {
    let from = applied.partition_point(|(other, _)| *other < path);
    let rest = &applied[from..];
    &rest[..rest.partition_point(|(other, _)| *other == path)]
}

struct Planner<'a> {
    files: &'a [Candidate],
    /// The files by their paths, once asked for.
    paths: OnceCell<Map<&'a Path, usize>>,
    /// What runs, by the path of its file, where one is wrong.
    applied: Vec<(&'a Path, &'a Name)>,
    is_whole: bool,
    ledger: &'a Ledger,
    now: Tick,
    claims: Map<Name, Claim>,
    plan: Plan,
}

impl Planner<'_> {
    /// Decides who has which name; what cannot have one is rejected.
    fn claim(&mut self) -> Vec<Change> {
        let mut rejected = Vec::new();
        for (file, candidate) in self.files.iter().enumerate() {
            match &candidate.reading {
                Reading::Right { name, place, .. } => match self.claims.get(name) {
                    None => _ = self.claims.insert(name.clone(), Claim::Right(file)),
                    Some(&(Claim::Right(first) | Claim::Held(first))) => {
                        let error = self.taken(name, place, first);
                        rejected.push(Change::Reject { file, error });
                    }
                },
                Reading::Wrong { error, .. } => {
                    for (_, name) in applied_from(&self.applied, &candidate.path) {
                        self.claims.get_or_insert_with((*name).clone(), || Claim::Held(file));
                    }
                    rejected.push(Change::Reject { file, error: error.clone() });
                }
            }
        }
        rejected
    }

    fn taken(&self, name: &Name, place: &Place, first: usize) -> Error {
        let first = match &self.files[first] {
            Candidate { reading: Reading::Right { place, .. }, .. } => place.clone(),
            Candidate { path, .. } => Place::whole(scan::shown(path)),
        };
        let fault = Fault { place: place.clone(), key: "name".to_owned(), message: taken(name, &first) };
        let faults: Faults = fault.into();
        Error::new(ErrorKind::Duplicate).caused_by(faults)
    }

    /// What runs and no right file asks for.
    fn stops(&mut self) -> Vec<Change> {
        // A name in a file that is wrong for another reason is still asked for.
        let wrong = self.files.iter().filter_map(|file| match &file.reading {
            Reading::Wrong { name, .. } => name.as_ref(),
            Reading::Right { .. } => None,
        });
        let mut named: Vec<&Name> = wrong.collect();
        crate::order::sort(&mut named);
        // A new file that does not tell its name may be one of those that are
        // gone, moved and not yet whole. Nothing is taken for gone until it
        // has been seen twice.
        let torn = !self.is_whole
            || self.files.iter().any(|file| {
                matches!(file.reading, Reading::Wrong { name: None, .. })
                    && applied_from(&self.applied, &file.path).is_empty()
                    && !self.ledger.has_seen(&file.path, file.content)
            });
        let mut changes = Vec::new();
        for (name, running) in self.ledger.running() {
            let unclaimed = match self.claims.get(name) {
                Some(Claim::Right(_)) => continue,
                Some(Claim::Held(_)) => false,
                None => named.binary_search(&name).is_err() && self.is_given_up(&running.path, torn),
            };
            let name = name.clone();
            changes.push(if self.ledger.is_under_way(&name) {
                self.plan.follows = true;
                Change::Wait { name }
            } else if !unclaimed {
                Change::Keep { name, file: None }
            } else if self.now < running.stop_again {
                Change::Wait { name }
            } else {
                Change::Stop { name }
            });
        }
        changes
    }

    /// Whether the file that something was applied from asks for it no more.
    fn is_given_up(&mut self, path: &Path, torn: bool) -> bool {
        // Its own file may say something else by now: it may have moved.
        if torn {
            return false;
        }
        let files = self.files.iter().enumerate();
        let paths =
            self.paths.get_or_init(|| files.map(|(file, candidate)| (&*candidate.path, file)).collect());
        let Some(&file) = paths.get(path) else { return true };
        let Reading::Right { name, enabled, meaning, .. } = &self.files[file].reading else { return false };
        // It describes something else now. Until that runs, what ran goes on.
        match self.claims.get(name) {
            Some(Claim::Right(first)) if *first == file => {
                let done = !enabled || self.ledger.runs(name, *meaning) && !self.ledger.is_under_way(name);
                self.plan.follows |= !done;
                done
            }
            _ => false,
        }
    }

    fn requires(&self, file: usize) -> &[(Name, Place)] {
        match &self.files[file].reading {
            Reading::Right { requires, .. } => requires,
            Reading::Wrong { .. } => &[],
        }
    }

    /// New ones that require each other in a circle would each lack another,
    /// for ever. Where one of them runs as it was, the target decides.
    fn refuse_circles(&self, starts: &mut [Change]) {
        let mut new: Vec<(usize, usize, &Name)> = starts
            .iter()
            .enumerate()
            .filter_map(|(at, change)| match change {
                Change::Start { name, file } => Some((at, *file, name)),
                _ => None,
            })
            .collect();
        crate::order::sort_by(&mut new, |a, b| a.1.cmp(&b.1));
        let asks = new.iter().map(|&(_, file, name)| Asks { name, requires: self.requires(file) });
        let faults = circles(&asks.collect::<Vec<_>>());
        let refused: Vec<(usize, Change)> = faults
            .into_iter()
            .map(|(idx, fault)| {
                let (at, file, _) = new[idx];
                let error = Error::new(ErrorKind::Config).caused_by(Faults::from(fault));
                (at, Change::Reject { file, error })
            })
            .collect();
        for (at, change) in refused {
            starts[at] = change;
        }
    }

    /// The files that have their names, after those that they require.
    fn right_in_order(&self) -> Vec<(usize, Name)> {
        let mut claims: Vec<(usize, Name)> = self
            .claims
            .iter()
            .filter_map(|(name, claim)| match claim {
                Claim::Right(file) => Some((*file, name.clone())),
                Claim::Held(_) => None,
            })
            .collect();
        crate::order::sort_by(&mut claims, |a, b| a.0.cmp(&b.0));
        if claims.iter().all(|(file, _)| self.requires(*file).is_empty()) {
            return claims;
        }
        let names: Vec<&Name> = claims.iter().map(|(_, name)| name).collect();
        let requires = |idx: usize| self.requires(claims[idx].0).iter().map(|(name, _)| name);
        requires_first(&names, requires).iter().map(|&idx| claims[idx].clone()).collect()
    }

    /// What right files ask for.
    fn starts(&mut self) -> Vec<Change> {
        let (mut stops, mut starts) = (Vec::new(), Vec::new());
        let mut replaced = HashSet::new();
        for (file, name) in self.right_in_order() {
            let Reading::Right { enabled, meaning, .. } = self.files[file].reading else { continue };
            if self.ledger.is_under_way(&name) {
                self.plan.follows = true;
                starts.push(Change::Wait { name });
                continue;
            }
            match self.ledger.get(&name) {
                None if !enabled => {}
                // Also of one that is left alone: its file may be another now.
                Some(_) if enabled && self.ledger.runs(&name, meaning) => {
                    starts.push(Change::Keep { name, file: Some(file) });
                }
                _ if enabled && self.ledger.is_paused(&name, self.now) => starts.push(Change::Wait { name }),
                Some(running) if !enabled => stops.push(if self.now < running.stop_again {
                    Change::Wait { name }
                } else {
                    Change::Stop { name }
                }),
                running => starts.push(self.bring_up(file, name, running.is_some(), &mut replaced)),
            }
        }
        self.refuse_circles(&mut starts);
        stops.append(&mut starts);
        stops
    }

    /// Has what a file describes started, or put in place of what runs, unless
    /// it has failed before or is to wait for others.
    fn bring_up(&mut self, file: usize, name: Name, replaces: bool, replaced: &mut HashSet<Name>) -> Change {
        let trouble = self.ledger.trouble(&name);
        if let Some(trouble) = trouble.filter(|trouble| Some(trouble.content) == self.files[file].content) {
            if trouble.again == Tick::NEVER {
                return Change::Reject { file, error: trouble.error.clone() };
            }
            if self.now < trouble.again {
                return Change::Wait { name };
            }
        }
        if !replaces {
            return Change::Start { name, file };
        }
        // Until what it requires is as it will be, that may still require it
        // the other way round.
        let changes = |name: &Name| replaced.contains(name) || self.ledger.is_under_way(name);
        if self.requires(file).iter().any(|(required, _)| changes(required)) {
            self.plan.follows = true;
            return Change::Wait { name };
        }
        replaced.insert(name.clone());
        Change::Replace { name, file }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use super::super::fingerprint::Fingerprint;
    use super::super::target::Outcome;
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    /// A file as `PATH NAME VERSION`, with `off` behind when it is disabled, or
    /// `after` and the names that it requires;
    /// `PATH ?` is wrong and has no name, `PATH ?NAME` is wrong and has one.
    fn file(text: &str) -> Candidate {
        let words: Vec<&str> = text.split(' ').collect();
        let path = PathBuf::from(words[0]);
        let reading = match words[1].strip_prefix('?') {
            Some(known) => {
                Reading::Wrong { name: Name::new(known).ok(), error: Error::new(ErrorKind::Config) }
            }
            None => Reading::Right {
                name: name(words[1]),
                place: Place::whole(words[0]),
                enabled: words.get(3) != Some(&"off"),
                requires: words
                    .get(4..)
                    .unwrap_or_default()
                    .iter()
                    .map(|word| (name(word), Place::whole(words[0])))
                    .collect(),
                meaning: Fingerprint::of(words[2].as_bytes()),
            },
        };
        let content = Some(Fingerprint::of(text.split_once(' ').unwrap().1.as_bytes()));
        Candidate { path, content, reading }
    }

    fn files(text: &str) -> Vec<Candidate> {
        let mut files: Vec<Candidate> =
            text.split(',').map(str::trim).filter(|text| !text.is_empty()).map(file).collect();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        files
    }

    fn ticks(n: u64) -> Tick {
        Tick::ZERO + Duration::from_secs(n)
    }

    /// A ledger after these files were applied, and after what is in `more`:
    /// `begin FILE` and `stop NAME` leave an operation under way, `done FILE`
    /// ends it well, `fail FILE`, `refuse FILE`, `back FILE` and `off FILE` end it
    /// badly: failed, for good, with the one before back, with it on its way.
    /// `stuck NAME` is a stop that failed, `ceased NAME` one for which there was
    /// no time; all at 0.
    fn ledger(applied: &str, more: &str) -> Ledger {
        let mut ledger = Ledger::new(Duration::from_secs(5));
        let mut events = Vec::new();
        let applied = files(applied);
        ledger.note(&applied, &[], &mut events);
        for (idx, candidate) in applied.iter().enumerate() {
            if let Reading::Right { name, enabled: true, .. } = &candidate.reading {
                ledger.begin(name, &Change::Start { name: name.clone(), file: idx }, &applied);
                ledger.end(name, Outcome::Done, Tick::ZERO, &mut events);
            }
        }
        let failed = |kind| Outcome::Failed(Error::new(kind));
        for step in more.split(',').map(str::trim).filter(|step| !step.is_empty()) {
            let (word, rest) = step.split_once(' ').unwrap();
            if let "stop" | "stuck" | "ceased" = word {
                ledger.begin(&name(rest), &Change::Stop { name: name(rest) }, &[]);
                let kind = if word == "stuck" { ErrorKind::Component } else { ErrorKind::Cancelled };
                if word != "stop" {
                    ledger.end(&name(rest), failed(kind), Tick::ZERO, &mut events);
                }
                continue;
            }
            let file = file(rest);
            let Reading::Right { name, .. } = file.reading.clone() else { panic!("{rest}") };
            let replaces = ledger.get(&name).is_some();
            let change = if replaces {
                Change::Replace { name: name.clone(), file: 0 }
            } else {
                Change::Start { name: name.clone(), file: 0 }
            };
            ledger.begin(&name, &change, &[file]);
            let outcome = match word {
                "begin" => continue,
                "done" => Outcome::Done,
                "fail" => failed(ErrorKind::Component),
                "refuse" => failed(ErrorKind::Config),
                "back" => Outcome::RolledBack(ErrorKind::Component.into()),
                "off" => Outcome::RollingBack(ErrorKind::Component.into()),
                other => panic!("{other}?"),
            };
            ledger.end(&name, outcome, Tick::ZERO, &mut events);
        }
        ledger
    }

    fn show(plan: &Plan, files: &[Candidate]) -> String {
        let path = |file: usize| files[file].path.display();
        let words = plan.changes.iter().map(|change| match change {
            Change::Stop { name } => format!("stop {name}"),
            Change::Start { name, file } => format!("start {name} {}", path(*file)),
            Change::Replace { name, file } => format!("replace {name} {}", path(*file)),
            Change::Keep { name, file: Some(file) } => format!("keep {name} {}", path(*file)),
            Change::Keep { name, file: None } => format!("keep {name}"),
            Change::Reject { file, .. } => format!("reject {}", path(*file)),
            Change::Wait { name } => format!("wait {name}"),
        });
        words.collect::<Vec<_>>().join(", ")
    }

    #[track_caller]
    fn check(applied: &str, more: &str, found: &str, at: u64, expected: &str) -> bool {
        let (ledger, files) = (ledger(applied, more), files(found));
        let plan = plan(&files, true, &ledger, ticks(at));
        assert_eq!(show(&plan, &files), expected, "applied {applied}; {more}; found {found}");
        plan.follows
    }

    #[test]
    fn what_is_new_changed_or_gone() {
        for (applied, found, expected) in [
            ("", "", ""),
            ("", "a x 1, b y 1", "start x a, start y b"),
            ("", "a x 1 off", ""),
            ("a x 1", "a x 1", "keep x a"),
            ("a x 1", "a x 2", "replace x a"),
            ("a x 1", "a x 1 off", "stop x"),
            ("a x 1", "a x 2 off", "stop x"),
            ("a x 1", "", "stop x"),
            ("a x 1, b y 1", "b y 2, c z 1", "stop x, replace y b, start z c"),
        ] {
            check(applied, "", found, 0, expected);
        }
    }

    #[test]
    fn wrt_10_names_decide_not_files() {
        for (applied, found, expected) in [
            // Renamed, renamed and changed, swapped, moved into another file.
            ("a x 1", "b x 1", "keep x b"),
            ("a x 1", "b x 2", "replace x b"),
            ("a x 1, b y 1", "a y 1, b x 1", "keep y a, keep x b"),
            ("a x 1, b y 1", "b x 1", "stop y, keep x b"),
            ("b x 1", "a x 1, b y 1", "keep x a, start y b"),
        ] {
            check(applied, "", found, 0, expected);
        }
    }

    #[test]
    fn what_is_wrong_leaves_alone_what_came_of_it() {
        for (applied, found, expected) in [
            ("a x 1", "a ?", "keep x, reject a"),
            ("a x 1", "a ?x", "keep x, reject a"),
            ("a x 1", "a ?y", "keep x, reject a"),
            // Moved and wrong.
            ("a x 1", "b ?x", "keep x, reject b"),
            // Moved and torn: nothing is gone until it has been seen twice.
            ("a x 1", "b ?", "keep x, reject b"),
            ("a x 1, b ?", "b ?", "stop x, reject b"),
            // Wrong, and the name stands rightly elsewhere: path order.
            ("a x 1", "a ?, b x 2", "keep x, reject a, reject b"),
            ("b x 1", "a x 2, b ?", "replace x a, reject b"),
            ("a x 1", "a ?, b y 1", "keep x, start y b, reject a"),
        ] {
            check(applied, "", found, 0, expected);
        }
    }

    #[test]
    fn what_is_required_comes_first() {
        for (found, expected) in [
            ("a x 1 after y, b y 1 after z, c z 1", "start z c, start y b, start x a"),
            ("a x 1 after z y, b y 1, c z 1", "start z c, start y b, start x a"),
            ("a x 1 after y, b y 1 after x, c z 1 after x", "reject b, reject a, start z c"),
            ("a x 1 after elsewhere, b y 1", "start x a, start y b"),
        ] {
            check("", "", found, 0, expected);
        }
    }

    #[test]
    fn what_requires_something_is_replaced_after_it() {
        let applied = "a x 1, b y 1";
        assert!(check(applied, "", "a x 2 after y, b y 2", 0, "replace y b, wait x"));
        assert!(check(applied, "begin b y 2", "a x 2 after y, b y 2", 0, "wait y, wait x"));
        assert!(!check("a x 1, b y 2", "", "a x 2 after y, b y 2", 0, "keep y b, replace x a"));
        // It will not become another: there is nothing to wait for.
        check(applied, "refuse b y 2", "a x 2 after y, b y 2", 0, "reject b, replace x a");
        check(applied, "fail b y 2", "a x 2 after y, b y 2", 0, "wait y, replace x a");
        check(applied, "", "a x 2 after y, b y 2 after x", 0, "replace y b, wait x");
    }

    #[test]
    fn nothing_is_gone_from_a_folder_that_does_not_keep_still() {
        let (ledger, files) = (ledger("a x 1, b y 1", ""), files("b y 1 off"));
        assert_eq!(show(&plan(&files, true, &ledger, Tick::ZERO), &files), "stop x, stop y");
        assert_eq!(show(&plan(&files, false, &ledger, Tick::ZERO), &files), "keep x, stop y");
        // Where it was stands another, and it may be in the file that was missed.
        let files = self::files("b z 1 off");
        assert_eq!(show(&plan(&files, true, &ledger, Tick::ZERO), &files), "stop x, stop y");
        assert_eq!(show(&plan(&files, false, &ledger, Tick::ZERO), &files), "keep x, keep y");
    }

    #[test]
    fn the_first_in_path_order_has_the_name() {
        for (applied, found, expected) in [
            ("", "a x 1, b x 2", "start x a, reject b"),
            ("a x 1", "a x 1, b x 2", "keep x a, reject b"),
            ("b x 2", "a x 1, b x 2", "replace x a, reject b"),
            ("a x 1", "b x 2", "replace x b"),
            // The loser would be another component: that change has failed,
            // and what its file was before goes on.
            ("a x 1, b y 1", "a x 1, b x 2", "keep y, keep x a, reject b"),
            ("", "a x 1 off, b x 2", "reject b"),
        ] {
            check(applied, "", found, 0, expected);
        }
    }

    #[test]
    fn a_file_that_describes_another_component_is_no_removal_until_that_runs() {
        assert!(check("a x 1", "", "a y 1", 0, "keep x, start y a"));
        check("a x 1", "begin a y 1", "a y 1", 0, "keep x, wait y");
        check("a x 1", "refuse a y 1", "a y 1", 0, "keep x, reject a");
        check("a x 1, a y 1", "", "a y 1", 0, "stop x, keep y a");
        check("a x 1", "", "a y 1 off", 0, "stop x");
    }

    #[test]
    fn what_failed_waits_and_what_is_rejected_stays_so() {
        for (more, found, at, expected) in [
            ("fail a x 2", "a x 2", 0, "wait x"),
            ("fail a x 2", "a x 2", 4, "wait x"),
            ("fail a x 2", "a x 2", 5, "replace x a"),
            ("fail a x 2, fail a x 2", "a x 2", 9, "wait x"),
            ("fail a x 2, fail a x 2", "a x 2", 10, "replace x a"),
            ("fail a x 2, fail a x 2, fail a x 2", "a x 2", 1_000_000, "reject a"),
            ("refuse a x 2", "a x 2", 1_000_000, "reject a"),
            // It moved: the same content. It changed: another.
            ("refuse a x 2", "b x 2", 0, "reject b"),
            ("refuse a x 2", "a x 3", 0, "replace x a"),
            ("refuse a x 2", "a x 1", 0, "keep x a"),
            ("stuck x", "", 4, "wait x"),
            ("stuck x", "", 5, "stop x"),
        ] {
            check("a x 1", more, found, at, expected);
        }
        check("", "refuse a x 1", "a x 1", 7, "reject a");
    }

    #[test]
    fn what_was_not_stopped_well_is_put_in_place_again_when_its_file_returns() {
        for (more, found, at, expected) in [
            ("stuck x", "a x 1", 0, "replace x a"),
            ("stuck x", "b x 1", 0, "replace x b"),
            ("stuck x", "a x 2", 0, "replace x a"),
            ("ceased x", "a x 1", 0, "replace x a"),
            ("ceased x", "", 4, "wait x"),
            ("stuck x", "a x 1 off", 4, "wait x"),
            ("stuck x", "a x 1 off", 5, "stop x"),
            // Of a file that is wrong nothing can be made.
            ("stuck x", "a ?", 5, "keep x, reject a"),
            ("stuck x, done a x 1", "a x 1", 0, "keep x a"),
            ("stuck x, back a x 1", "a x 1", 0, "keep x a"),
            // It may be out of order, and a target that has nothing says so.
            ("stuck x, off a x 1", "a x 1", 4, "wait x"),
            ("stuck x, off a x 1", "a x 1", 5, "replace x a"),
            ("stuck x, fail a x 1", "a x 1", 4, "wait x"),
            ("stuck x, fail a x 1", "a x 1", 5, "replace x a"),
        ] {
            check("a x 1", more, found, at, expected);
        }
        // Nor does another give way to it before it runs.
        assert!(check("a x 1, b y 1", "stuck y", "a y 1", 0, "keep x, replace y a"));
    }

    #[test]
    fn nothing_begins_while_an_operation_is_under_way() {
        for (more, found, expected) in [
            ("begin a x 2", "a x 2", "wait x"),
            ("begin a x 2", "a x 3", "wait x"),
            ("begin a x 2", "", "wait x"),
            ("begin a x 2", "a ?", "wait x, reject a"),
            ("stop x", "a x 1", "wait x"),
            ("stop x", "", "wait x"),
        ] {
            assert!(check("a x 1", more, found, 0, expected));
        }
    }
}
