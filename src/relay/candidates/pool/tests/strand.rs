//! Selection, health and timing together, as they are: whatever happened before, a request has somebody to ask as long as any
//! source has an address, asks everybody before it gives up, and finds whoever serves. Sockets and clocks alone are made up.

mod search;

use super::*;
use crate::cache::Trust;
use crate::config::Limits;
use crate::health::testing::Judge;
use crate::relay::rules::Scope;
use crate::relay::timing::{End, Step, Timing, Want};
use crate::topology::testing::{endpoint, tier, upstream};
use crate::topology::{Failure, InFlight, Outcome};
use search::Search;
use std::collections::HashMap;
use std::collections::HashSet;

const BLOB: Timing = Timing {
    connect_race: Duration::from_millis(250),
    first_byte: Duration::from_secs(4),
    total: Duration::from_secs(20),
    escalation: [
        Some(Step {
            after: Duration::from_secs(2),
            whom: Want::Next,
            again: Some(Duration::from_secs(1)),
        }),
        None,
    ],
};

const MANIFEST: Timing = Timing {
    escalation: [
        Some(Step {
            after: Duration::from_secs(3),
            whom: Want::Upstream,
            again: None,
        }),
        None,
    ],
    ..BLOB
};

const LIMITS: Limits = Limits {
    loaded: 16,
    per_address: 64,
    connections: 512,
    manifest_bytes: 4 << 20,
    memory: 64 << 20,
    floor_bytes_per_second: 16 << 10,
};

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (value ^ (value >> 31)) % limit
    }
}

/// How an address meets a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Serves,
    Refuses,
    /// Its packets are lost.
    Hangs,
    /// It connects and says nothing.
    Silent,
    Says(Scope, Outcome),
}

impl Manner {
    fn random(dice: &mut Dice) -> Self {
        let busy = Outcome::CoolDown(Duration::from_secs(30));
        let broken = Outcome::Hard(Failure::ServerError);
        match dice.below(9) {
            0 | 1 => Self::Serves,
            2 => Self::Refuses,
            3 => Self::Hangs,
            4 => Self::Silent,
            5 => Self::Says(Scope::Tier, Outcome::Success),
            6 => Self::Says(Scope::Address, broken),
            7 => Self::Says(Scope::AddressOnceThenTier, busy),
            _ => Self::Says(Scope::Tier, Outcome::Success),
        }
    }
}

#[derive(Default)]
struct Book {
    quarantined: HashSet<EndpointId>,
    silent: HashSet<EndpointId>,
    cooling: HashSet<EndpointId>,
}

impl Book {
    fn held_back(&self) -> Vec<HeldBack> {
        let of = |all: &HashSet<EndpointId>, effect| {
            let all = all.iter().cloned();
            all.map(move |endpoint| HeldBack::endpoint(&endpoint, effect))
                .collect::<Vec<_>>()
        };
        [
            of(&self.quarantined, Effect::Never),
            of(&self.silent, Effect::Behind),
            of(&self.cooling, Effect::Last),
        ]
        .concat()
    }
}

struct World {
    dice: Dice,
    judge: Judge,
    book: Book,
    now: Instant,
    /// Last bytes of the addresses by source.
    named: Vec<(SourceId, Vec<u8>)>,
    /// Those who may be asked and have been there ever since the request began.
    there: HashSet<EndpointId>,
}

impl World {
    fn new(seed: u64) -> Self {
        let now = Instant::now();
        let mut world = Self {
            dice: Dice(seed),
            judge: Judge::new(&["replica", "core"], seed, now),
            book: Book::default(),
            now,
            named: vec![
                (tier("replica"), vec![1, 2, 3]),
                (tier("core"), vec![11, 12]),
                (upstream(), vec![21, 22]),
            ],
            there: HashSet::new(),
        };
        world.tell_names();
        world
    }

    fn tell_names(&mut self) {
        let named = self.named.iter();
        let named: Vec<(SourceId, &[u8])> = named
            .map(|(source, last)| (source.clone(), last.as_slice()))
            .collect();
        self.judge.names(&named, self.now);
    }

    /// A source gets other addresses, or loses them all.
    fn rename(&mut self) {
        let at = usize::try_from(self.dice.below(3)).unwrap();
        let base = [1, 11, 21][at];
        let number = self.dice.below(4);
        let first = self.dice.below(3);
        let addresses = (0..number).map(|next| base + u8::try_from(first + next).unwrap());
        self.named[at].1 = addresses.collect();
        self.tell_names();
        let open = self.open();
        self.there.retain(|endpoint| open.contains(endpoint));
    }

    fn addresses(&self) -> HashSet<EndpointId> {
        let of = |(source, last): &(SourceId, Vec<u8>)| {
            let source = source.clone();
            let all = last.clone().into_iter();
            all.map(move |last| endpoint(&source, last))
                .collect::<Vec<_>>()
        };
        self.named.iter().flat_map(of).collect()
    }

    /// Those who may be asked.
    fn open(&self) -> HashSet<EndpointId> {
        let mut open = self.addresses();
        open.retain(|endpoint| !self.book.quarantined.contains(endpoint));
        open
    }

    /// What happens between requests.
    fn live(&mut self) {
        let passes = self.dice.below(2) == 0;
        match self.dice.below(8) {
            0 => self.rename(),
            1 | 2 => {
                self.now += Duration::from_secs(self.dice.below(90));
                self.judge.at(self.now);
            }
            3 => self.judge.probe_all_due(passes, self.now),
            4 => {
                let all: Vec<EndpointId> = self.addresses().into_iter().collect();
                for endpoint in all {
                    if self.dice.below(3) == 0 {
                        let refused = Outcome::Hard(Failure::Refused);
                        self.judge.learns(&endpoint, refused, self.now);
                    }
                }
            }
            5 => self.book.silent.clear(),
            6 => self.book.cooling.clear(),
            _ => {
                let mut open: Vec<EndpointId> = self.open().into_iter().collect();
                open.sort();
                if open.len() > 4 {
                    let at = self.dice.below(open.len() as u64);
                    let at = usize::try_from(at).unwrap();
                    self.book.quarantined.insert(open[at].clone());
                } else {
                    self.book.quarantined.clear();
                }
            }
        }
    }

    fn request(&mut self, seed: u64, timing: Timing) -> bool {
        let (before, mut manners) = (self.open(), HashMap::new());
        self.there.clone_from(&before);
        for last in 0..40 {
            for source in [tier("replica"), tier("core"), upstream()] {
                manners.insert(endpoint(&source, last), Manner::random(&mut self.dice));
            }
        }
        let _load = self.load();
        let mut search = Search::new(self, &manners, timing);
        let (end, found) = search.run();
        let (asked, first) = (std::mem::take(&mut search.asked), search.first);
        let there = &self.there;
        let who = format!("seed {seed}: {end:?}, {there:?}, {manners:?}");
        assert!(
            before.is_empty() || first == Some(true),
            "nobody to ask: {who}"
        );
        if end == Some(End::Exhausted) {
            for endpoint in there {
                assert!(asked.contains(endpoint), "{endpoint} was not asked: {who}");
            }
        }
        let serves = |endpoint: &EndpointId| manners[endpoint] == Manner::Serves;
        let blob = matches!(timing.escalation, [Some(step), _] if step.whom == Want::Next);
        let in_time = blob || end != Some(End::OutOfTime);
        if in_time && there.iter().any(serves) {
            assert!(found, "{who}");
        }
        found
    }

    /// Other requests at some addresses.
    fn load(&mut self) -> Vec<InFlight> {
        let snapshot = self.judge.snapshot();
        let mut load = Vec::new();
        for state in snapshot.sources.iter().flat_map(|source| &source.endpoints) {
            let number = [0, 0, 20, 64][usize::try_from(self.dice.below(4)).unwrap()];
            load.extend((0..number).map(|_| state.gauges.enter(Trust::Trusted)));
        }
        load
    }
}

#[test]
fn a_request_is_never_left_without_a_candidate() {
    let (mut found, mut failed) = (0, 0);
    for seed in 0..400 {
        let mut world = World::new(seed);
        for step in 0..30 {
            world.live();
            let timing = if step % 3 == 0 { MANIFEST } else { BLOB };
            if world.request(seed, timing) {
                found += 1;
            } else {
                failed += 1;
            }
        }
    }
    println!("{found} requests were served, {failed} could not be");
    assert!(found > 5_000 && failed > 100, "{found} and {failed}");
}
