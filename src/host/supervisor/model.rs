//! The supervisor against a world that does anything at any time: every
//! operation is answered, no call is lost, doubled or made of what was dropped,
//! and at the end nothing is at work.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::restart::{Restart, RestartBudget, RestartPolicy, WhenExhausted};
use super::tests::{error, secs, spec};
use super::*;
use crate::event::Health;

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

#[derive(Debug, Clone)]
enum Step {
    Start,
    Stop,
    Add(Sketch, bool),
    Replace(Sketch),
    Remove(usize),
    /// One of the calls in progress comes back.
    Return(usize, How),
    /// One of them passes its deadline.
    Stick(usize),
    Report(usize, Word),
    Wait(u64),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum How {
    Well,
    Badly,
    /// As one does that heeds its cancel, told to end or not.
    Cancelled,
}

#[derive(Debug, Clone, Copy)]
enum Word {
    Fail,
    Done,
    Health(Health),
}

/// A component's settings, short enough to be read in a failure.
#[derive(Debug, Clone)]
struct Sketch {
    text: String,
    policy: RestartPolicy,
    max_restarts: u32,
    when: WhenExhausted,
}

impl Sketch {
    fn spec(&self) -> Spec {
        let restart = Restart {
            policy: self.policy,
            jitter: 0.0,
            budget: RestartBudget { max_restarts: self.max_restarts, window: secs(60) },
            when_exhausted: self.when,
            ..Restart::default()
        };
        Spec { restart, ..spec(&self.text) }
    }
}

fn specs() -> impl Strategy<Value = Sketch> {
    let name = prop::sample::select(NAMES.as_slice());
    let edge = (prop::sample::select(NAMES.as_slice()), prop::sample::select(["", "!", "@3"].as_slice()));
    let policy = prop::sample::select(
        [RestartPolicy::Permanent, RestartPolicy::Transient, RestartPolicy::Temporary].as_slice(),
    );
    let when = prop::sample::select([WhenExhausted::GiveUp, WhenExhausted::StopHost].as_slice());
    let budget = (0..4_u32, when);
    (name, prop::collection::vec(edge, 0..2), policy, budget).prop_map(|(name, edges, policy, budget)| {
        let edges: Vec<String> = edges.iter().map(|(name, how)| format!("{name}{how}")).collect();
        Sketch { text: format!("{name}<{}", edges.join(",")), policy, max_restarts: budget.0, when: budget.1 }
    })
}

fn steps() -> impl Strategy<Value = Step> {
    let word = prop_oneof![
        3 => Just(Word::Fail),
        1 => Just(Word::Done),
        6 => prop::sample::select([Health::Unknown, Health::Down, Health::Ready].as_slice())
            .prop_map(Word::Health),
    ];
    let how = prop_oneof![16 => Just(How::Well), 3 => Just(How::Badly), 1 => Just(How::Cancelled)];
    prop_oneof![
        2 => Just(Step::Start),
        1 => Just(Step::Stop),
        5 => (specs(), prop::bool::weighted(0.7)).prop_map(|(spec, deploy)| Step::Add(spec, deploy)),
        4 => specs().prop_map(Step::Replace),
        3 => (0..NAMES.len()).prop_map(Step::Remove),
        16 => (0..4_usize, how).prop_map(|(idx, how)| Step::Return(idx, how)),
        2 => (0..4_usize).prop_map(Step::Stick),
        6 => (0..8_usize, word).prop_map(|(idx, word)| Step::Report(idx, word)),
        6 => prop::sample::select([0, 1, 3, 10, 70].as_slice()).prop_map(Step::Wait),
    ]
}

#[derive(Debug, Default)]
struct World {
    now: u64,
    next: u64,
    /// The calls in progress: whose, which run, which, and whether it is stuck.
    calls: Vec<(Id, u64, Call, bool)>,
    /// Those that were started and not well stopped since.
    at_work: BTreeSet<Id>,
    present: BTreeSet<Id>,
    waiting: BTreeSet<Op>,
}

struct Run {
    machine: Supervisor,
    world: World,
}

impl Run {
    fn new(parallel: usize) -> Self {
        let settings = Settings { shutdown_timeout: secs(30), parallel };
        Self { machine: Supervisor::new(settings, 0), world: World::default() }
    }

    fn number(&mut self) -> u64 {
        self.world.next += 1;
        self.world.next
    }

    fn at(&self) -> Tick {
        Tick::ZERO + secs(self.world.now)
    }

    /// Gives a component in, and takes it back where it is refused.
    fn bring(&mut self, begin: impl FnOnce(&mut Self, Id, Op, &mut Vec<Action>) -> Result<()>) {
        let (id, op, mut out) = (self.number(), self.number(), Vec::new());
        self.world.present.insert(id);
        self.world.waiting.insert(op);
        if begin(self, id, op, &mut out).is_err() {
            assert!(out.is_empty(), "refused, and done all the same: {out:?}");
            self.world.present.remove(&id);
            self.world.waiting.remove(&op);
        }
        self.take(out);
    }

    fn step(&mut self, step: &Step) {
        let now = self.at();
        let mut out = Vec::new();
        match step {
            Step::Start => {
                let op = self.number();
                if self.machine.start(now, op, &mut out).is_ok() {
                    self.world.waiting.insert(op);
                    for (id, ..) in &self.world.calls {
                        let is_stray = self.machine.members.iter().any(|m| m.id == *id && m.stray);
                        let began =
                            out.iter().any(|a| matches!(a, Action::Call { id: other, .. } if other == id));
                        assert!(is_stray || began, "started while one is in a call");
                    }
                }
            }
            Step::Stop => self.machine.stop(now, secs(30), &mut out),
            Step::Add(spec, deploy) => {
                let theirs = spec.spec();
                return self.bring(|run, id, op, out| {
                    let deployed = deploy.then_some(op);
                    // What is found by a look at all of them.
                    let circle = run.machine.check_circles(&theirs).err().map(|error| error.to_string());
                    let added = run.machine.add(now, id, theirs, deployed, out);
                    match &added {
                        Err(error) if error.kind() == ErrorKind::InvalidArgument => {
                            assert_eq!(Some(error.to_string()), circle);
                        }
                        Err(_) => {}
                        Ok(()) => assert_eq!(None, circle),
                    }
                    added?;
                    if deployed.is_none() {
                        run.world.waiting.remove(&op);
                    }
                    Ok(())
                });
            }
            Step::Replace(spec) => {
                let theirs = spec.spec();
                return self.bring(|run, id, op, out| run.machine.replace(now, id, theirs, secs(5), op, out));
            }
            Step::Remove(idx) => {
                let op = self.number();
                if self.machine.remove(now, NAMES[*idx], secs(20), op, &mut out).is_ok() {
                    self.world.waiting.insert(op);
                } else {
                    assert!(out.is_empty());
                }
            }
            Step::Return(idx, how) => {
                if self.world.calls.is_empty() {
                    return;
                }
                let (id, generation, call, _) = self.world.calls.remove(idx % self.world.calls.len());
                if call == Call::Stop && *how == How::Well {
                    self.world.at_work.remove(&id);
                }
                let result = match how {
                    How::Well => Ok(()),
                    How::Badly => Err(error("boom")),
                    How::Cancelled => Err(ErrorKind::Cancelled.into()),
                };
                let input = Input::Returned { call, result, took: secs(1) };
                self.machine.step(now, id, generation, input, &mut out);
            }
            Step::Stick(idx) => {
                if self.world.calls.is_empty() {
                    return;
                }
                let idx = idx % self.world.calls.len();
                let (id, generation, call, stuck) = &mut self.world.calls[idx];
                *stuck = true;
                let input = Input::Overdue { call: *call, stuck_for: secs(9) };
                self.machine.step(now, *id, *generation, input, &mut out);
            }
            Step::Report(idx, word) => {
                if self.machine.members.is_empty() {
                    return;
                }
                let member = &self.machine.members[idx % self.machine.members.len()];
                let (id, generation) = (member.id, member.generation);
                let report = match word {
                    Word::Fail => Report::Failed(error("gone")),
                    Word::Done => Report::Done,
                    Word::Health(health) => Report::Health(*health),
                };
                self.machine.step(now, id, generation, Input::Reported(report), &mut out);
            }
            Step::Wait(seconds) => {
                self.world.now += seconds;
                self.machine.tick(self.at(), &mut out);
                let next = self.machine.next_deadline();
                assert!(next > self.at(), "looks again and again at {next:?}");
            }
        }
        self.take(out);
    }

    /// Begins what the machine asks for.
    fn take(&mut self, out: Vec<Action>) {
        let world = &mut self.world;
        for action in out {
            match action {
                Action::Call { id, generation, call, .. } => {
                    assert!(world.present.contains(&id), "a call into what was dropped");
                    assert!(!world.calls.iter().any(|(other, ..)| *other == id), "two calls at once");
                    if call == Call::Start {
                        world.at_work.insert(id);
                    }
                    world.calls.push((id, generation, call, false));
                }
                Action::Discard { id } => {
                    assert!(world.present.remove(&id), "dropped twice");
                    assert!(!world.calls.iter().any(|(other, ..)| *other == id), "dropped in a call");
                    // What does not stop and is taken out ends with its drop.
                    world.at_work.remove(&id);
                }
                Action::Answer { op, .. } => assert!(world.waiting.remove(&op), "answered twice"),
                Action::Tell { .. } | Action::Cancel { .. } => {}
            }
        }
        // The places fit, whatever happened.
        let machine = &self.machine;
        let members: Vec<&Member> = machine.members.iter().filter(|member| !member.stray).collect();
        let nodes: Vec<Node<'_>> = members.iter().map(|member| Node::of(&member.spec)).collect();
        let sorted = graph::order(&nodes).expect("no circle").into_iter().map(|at| members[at].id);
        let order: Vec<Id> =
            machine.members().filter(|member| !member.stray).map(|member| member.id).collect();
        assert_eq!(order, sorted.collect::<Vec<_>>());
        assert_eq!(machine.places.len(), members.len());
        for member in members {
            let place = machine.place(member.name().as_str()).expect("it has a place");
            assert_eq!(machine.members[place].id, member.id);
            assert!(member.all_required().all(|name| machine.required.contains(name)));
            if !machine.is_linked {
                continue;
            }
            for (edge, require) in member.edges.iter().zip(&member.spec.requires) {
                let name = edge.idx.map(|idx| self.machine.members[idx].name());
                assert!(name.is_none_or(|name| *name == require.name), "an edge to another");
            }
            assert_eq!(member.edges.len(), member.spec.requires.len());
        }
        // A member in a call has one.
        for member in &self.machine.members {
            if member.stage.is_in_call() || matches!(member.stage, Stage::Abandoned { .. }) {
                let has = self.world.calls.iter().any(|(id, ..)| *id == member.id);
                assert!(has, "{} waits for a call that nobody makes", member.name());
            }
        }
    }

    /// All calls come back well, and time passes.
    fn settle(&mut self) {
        for _ in 0..200 {
            if self.world.calls.is_empty() {
                self.step(&Step::Wait(10));
            }
            while !self.world.calls.is_empty() {
                self.step(&Step::Return(0, How::Well));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_everybody_is_answered_and_nothing_is_left_at_work(
        parallel in 1..3_usize,
        steps in prop::collection::vec(steps(), 1..80),
    ) {
        let mut run = Run::new(parallel);
        for step in &steps {
            run.step(step);
        }
        run.settle();
        prop_assert!(run.world.waiting.is_empty(), "nobody answered {:?}", run.world.waiting);
        run.step(&Step::Stop);
        run.settle();
        prop_assert_eq!(run.machine.phase(), HostPhase::Idle);
        prop_assert!(run.world.at_work.is_empty(), "left at work: {:?}", run.world.at_work);
        let mut out = Vec::new();
        run.machine.close(&mut out);
        run.take(out);
        prop_assert!(run.world.present.is_empty(), "left behind: {:?}", run.world.present);
    }
}
