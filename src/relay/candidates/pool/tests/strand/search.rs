//! A search as `relay/search.rs` runs it, without its sockets: the real machine and the real pool in made-up time.

use super::*;
use crate::cache::Trust;
use crate::relay::timing::{AttemptId, Machine, Order};
use crate::topology::PendingConnect;
use crate::topology::select::{Selection, select};
use std::collections::BTreeMap;
use std::collections::HashSet;

enum Happening {
    Connected,
    ConnectFailed(Failure),
    Answered,
    Resolved,
}

struct Attempt {
    candidate: Option<Candidate>,
    target: usize,
    _guards: (Option<InFlight>, Option<PendingConnect>),
}

/// One search as `search.rs` runs it, without its sockets.
pub(super) struct Search<'a> {
    world: &'a mut World,
    manners: &'a HashMap<EndpointId, Manner>,
    pool: Pool,
    machine: Machine,
    attempts: Vec<Attempt>,
    due: BTreeMap<(Instant, usize), (AttemptId, Happening)>,
    pub(super) asked: HashSet<EndpointId>,
    /// Whether there was anybody to begin with.
    pub(super) first: Option<bool>,
}

impl<'a> Search<'a> {
    pub(super) fn new(
        world: &'a mut World,
        manners: &'a HashMap<EndpointId, Manner>,
        timing: Timing,
    ) -> Self {
        let targets = world.named.iter().map(|(source, _)| source.clone());
        Self {
            pool: Pool::new(targets.collect()),
            machine: Machine::new(timing, world.now),
            world,
            manners,
            attempts: Vec::new(),
            due: BTreeMap::new(),
            asked: HashSet::new(),
            first: None,
        }
    }

    pub(super) fn run(&mut self) -> (Option<End>, bool) {
        for _ in 0..10_000 {
            let now = self.world.now;
            match self.machine.poll(now) {
                Order::Start(want) => self.start(want),
                Order::Send(attempt) => self.happens(attempt, 50, Happening::Answered),
                Order::CheckLiveness(attempt) => {
                    if self.manner(attempt) == Some(Manner::Hangs) {
                        let failed = Happening::ConnectFailed(Failure::ConnectTimeout);
                        self.happens(attempt, 2_500, failed);
                    } else {
                        self.machine.alive(attempt);
                    }
                }
                Order::TimedOut { attempt, .. } => {
                    if let Some(candidate) = self.attempts[attempt].candidate.clone() {
                        let silent = Outcome::Hard(Failure::Timeout);
                        self.world.judge.learns(&candidate.endpoint, silent, now);
                        self.world.book.silent.insert(candidate.endpoint);
                    }
                    let more = self.more();
                    self.machine.set_more(more);
                }
                Order::WaitUntil(until) => {
                    if self.world.dice.below(20) == 0 {
                        self.world.rename();
                    }
                    match self.due.first_entry() {
                        Some(entry) if entry.key().0 <= until => {
                            let ((at, _), (attempt, happening)) = entry.remove_entry();
                            self.world.now = at;
                            if self.take(attempt, &happening) {
                                return (None, true);
                            }
                        }
                        _ => self.world.now = until,
                    }
                }
                Order::End(end) => return (Some(end), false),
            }
        }
        panic!("it does not end");
    }

    fn list(&mut self) -> (Arc<Snapshot>, Vec<Candidate>) {
        let snapshot = self.world.judge.snapshot();
        let random = self.world.dice.below(u64::MAX);
        let mut held_back = self.world.book.held_back();
        held_back.extend_from_slice(&self.pool.left);
        let selection = Selection {
            targets: &self.pool.targets,
            key: "docker.io/library/app",
            sticky: Some(&endpoint(&tier("replica"), 2)),
            learned_at: None,
            first: None,
            held_back: &held_back,
            limits: LIMITS,
            is_after_no: false,
            trust: Trust::Trusted,
        };
        let selected = select(&selection, &snapshot, self.world.now, random);
        (snapshot, selected)
    }

    fn more(&mut self) -> bool {
        let (snapshot, listed) = self.list();
        !listed.is_empty() || self.pool.unresolved(&snapshot, Want::Next).is_some()
    }

    fn start(&mut self, want: Want) {
        let (snapshot, listed) = self.list();
        let pick = self.pool.pick(&listed, &snapshot, want);
        self.first.get_or_insert(!matches!(pick, Pick::Nobody));
        let now = self.world.now;
        let more = self.more();
        self.machine.set_more(more);
        match pick {
            Pick::Nobody => self.machine.none_left(want),
            Pick::Unresolved(source) => {
                let target = self.target_of(&source);
                if target == 2 {
                    self.machine.forget_upstream();
                }
                let attempt = self.machine.started(false, now);
                self.push(None, target);
                self.happens(attempt, 5_000, Happening::Resolved);
            }
            Pick::Candidate(candidate) => {
                if candidate.is_upstream() {
                    self.machine.forget_upstream();
                }
                let manner = self.manners[&candidate.endpoint];
                let kept = manner != Manner::Refuses && self.world.dice.below(2) == 0;
                let attempt = self.machine.started(kept, now);
                self.asked.insert(candidate.endpoint.clone());
                let target = candidate.target;
                self.push(Some(candidate), target);
                if !kept {
                    self.connect(attempt);
                }
            }
        }
    }

    fn target_of(&self, source: &SourceId) -> usize {
        let mut targets = self.pool.targets.iter();
        targets.position(|target| target == source).unwrap()
    }

    fn push(&mut self, candidate: Option<Candidate>, target: usize) {
        let hangs = |candidate: &Candidate| self.manners[&candidate.endpoint] == Manner::Hangs;
        let guards = (
            candidate
                .as_ref()
                .map(|candidate| candidate.gauges.enter(Trust::Trusted)),
            candidate
                .as_ref()
                .filter(|candidate| hangs(candidate))
                .map(|candidate| candidate.gauges.connect_is_slow()),
        );
        self.attempts.push(Attempt {
            candidate,
            target,
            _guards: guards,
        });
    }

    fn connect(&mut self, attempt: AttemptId) {
        match self.manner(attempt) {
            Some(Manner::Refuses) => {
                self.happens(attempt, 1, Happening::ConnectFailed(Failure::Refused));
            }
            Some(Manner::Hangs) => {
                let failed = Happening::ConnectFailed(Failure::ConnectTimeout);
                self.happens(attempt, 2_500, failed);
            }
            _ => self.happens(attempt, 1, Happening::Connected),
        }
    }

    fn manner(&self, attempt: AttemptId) -> Option<Manner> {
        let candidate = self.attempts[attempt].candidate.as_ref()?;
        Some(self.manners[&candidate.endpoint])
    }

    fn happens(&mut self, attempt: AttemptId, after: u64, happening: Happening) {
        let at = self.world.now + Duration::from_millis(after);
        let number = self.due.len() + self.attempts.len() * 1000;
        self.due.insert((at, number), (attempt, happening));
    }

    /// Whether the search has found what it wants.
    fn take(&mut self, attempt: AttemptId, happening: &Happening) -> bool {
        let (now, manner) = (self.world.now, self.manner(attempt));
        let candidate = self.attempts[attempt].candidate.clone();
        match (happening, candidate, manner) {
            (Happening::Resolved, _, _) => {
                let target = self.attempts[attempt].target;
                let source = self.pool.targets[target].clone();
                self.pool.is_resolved(&source);
                let (_, listed) = self.list();
                match listed
                    .into_iter()
                    .find(|candidate| candidate.target == target)
                {
                    Some(candidate) => {
                        self.pool.exclude_endpoint(&candidate.endpoint);
                        self.asked.insert(candidate.endpoint.clone());
                        self.attempts[attempt].candidate = Some(candidate);
                        self.connect(attempt);
                    }
                    None => {
                        self.pool.exclude_source(&source);
                        self.machine.ended(attempt);
                    }
                }
            }
            (Happening::Connected, _, _) => self.machine.connected(attempt),
            (Happening::ConnectFailed(failure), Some(candidate), _) => {
                let failed = Outcome::Hard(*failure);
                self.world.judge.learns(&candidate.endpoint, failed, now);
                self.pool.exclude(&candidate, Scope::Address);
                self.machine.ended(attempt);
            }
            (Happening::Answered, Some(candidate), Some(Manner::Serves)) => {
                let success = Outcome::Success;
                self.world.judge.learns(&candidate.endpoint, success, now);
                return true;
            }
            (Happening::Answered, Some(candidate), Some(Manner::Says(scope, outcome))) => {
                self.world.judge.learns(&candidate.endpoint, outcome, now);
                if matches!(outcome, Outcome::CoolDown(_)) {
                    self.world.book.cooling.insert(candidate.endpoint.clone());
                }
                self.pool.exclude(&candidate, scope);
                self.machine.ended(attempt);
            }
            _ => {}
        }
        let more = self.more();
        self.machine.set_more(more);
        false
    }
}
