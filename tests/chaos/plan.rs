//! What goes wrong in one pull, drawn from a seed: the same seed gives the same image, sources, faults and moment.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// So many bytes the agent holds back until everything fits.
const HELD_BACK: usize = 32 * 1024;

/// Where the image can be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Source {
    ReplicaA,
    ReplicaB,
    Core,
    Upstream,
}

impl Source {
    pub(crate) const ALL: [Self; 4] = [Self::ReplicaA, Self::ReplicaB, Self::Core, Self::Upstream];
}

/// What a source does from the chosen moment on. Numbers are per mille of the body, or milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Fault {
    /// The process ends: its connections with it, and its port.
    Kill,
    /// Packets are dropped from now on.
    PowerLoss,
    Reset,
    Close,
    HalfClose,
    Stall,
    /// 1 kB/s.
    Drip,
    CorruptByte,
    /// Chunked, some bytes too few, and an end as if nothing were missing.
    CleanTruncation,
    /// As Harbor breaks a cold blob: error JSON in the body, and a clean end.
    ErrorJson,
    ZeroLength,
    Status(u16),
    /// A 200 with somebody's web page.
    Html,
    SlowFirstByte(u64),
    /// The request is read and nothing comes.
    NoAnswer,
    /// Connections are accepted, TLS never answers.
    SilentAccept,
    /// The first body breaks; what is asked for by range comes with a `Content-Range` that is off by one.
    WrongContentRange,
    /// The first body breaks; ranges are ignored.
    WholeForRange,
    /// To a name that does not exist, or an address at which nobody listens.
    RedirectToDead {
        listed: bool,
    },
    TokenDead,
    CertificateExpired,
}

/// What happens to the node instead of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NodeFault {
    /// REPLICA's name stands for an address at which nobody listens.
    DnsChange,
    /// The name server says nothing.
    DnsFailure,
    /// REPLICA's name has no address any more.
    DnsEmpty,
    /// `kill -9`, and it stays dead.
    AgentKilled,
    /// `kill -9`, and it is started again.
    AgentKilledAndRestarted,
    /// As an upgrade does it: SIGTERM, then the new one.
    AgentRestarted,
}

/// Which request the fault meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// The tag.
    Tag,
    /// The manifest for this machine, by digest.
    Manifest,
    /// The configuration (a small blob) or a layer: index into the image's blobs.
    Blob(usize),
}

/// One pull.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    /// Sizes of the layers in bytes.
    pub(crate) layers: Vec<usize>,
    /// The agent is started afresh before the pull: it has no connections and no tokens, and knows no sizes.
    pub(crate) cold: bool,
    pub(crate) bad: Vec<(Source, Fault)>,
    pub(crate) node: Option<NodeFault>,
    pub(crate) target: Target,
    /// Where in the body, per mille.
    pub(crate) at: usize,
    /// Only the first request that it fits at each bad source, or all.
    pub(crate) once: bool,
}

impl Plan {
    pub(crate) fn of(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let layers = (0..=dice.below(3))
            .map(|_| match dice.below(3) {
                0 => 2_000 + dice.below(60_000),
                1 => 100_000 + dice.below(900_000),
                _ => 1_000_000 + dice.below(5_000_000),
            })
            .collect::<Vec<_>>();
        let target = match dice.below(10) {
            0 => Target::Tag,
            1 => Target::Manifest,
            2 => Target::Blob(layers.len()),
            _ => Target::Blob(dice.below(layers.len())),
        };
        let (at, once, mut cold) = (dice.below(1000), dice.below(2) == 0, dice.below(2) == 0);
        let node = (dice.below(5) == 0).then(|| dice.node_fault());
        let mut bad = Vec::new();
        if node.is_none() {
            let common = dice.fault();
            // Mostly not at REPLICA, where the agent begins: else the fault is not met.
            let good = match dice.below(4) {
                0 => dice.below(2),
                _ => 2 + dice.below(2),
            };
            for (index, source) in Source::ALL.into_iter().enumerate() {
                let struck = index < 2 || dice.below(2) == 0;
                let own = if dice.below(3) == 0 {
                    dice.fault()
                } else {
                    common
                };
                if index != good && struck {
                    bad.push((source, own));
                }
            }
        }
        let hidden_from_the_warm = |(_, fault): &(Source, Fault)| {
            matches!(
                fault,
                Fault::TokenDead | Fault::CertificateExpired | Fault::SilentAccept
            )
        };
        cold |= bad.iter().any(hidden_from_the_warm);
        Self {
            seed,
            layers,
            cold,
            bad,
            node,
            target,
            at,
            once,
        }
    }

    /// How many times the pull may fail before it succeeds (P13): once for each source with wrong bytes in a body
    /// that is too long to be checked before its first byte leaves, unless they are in the end that is held back, which a good
    /// source replaces. A tag's HEAD has no bytes, and its digest proves those that are asked for next.
    pub(crate) fn allowed_failures(&self) -> usize {
        let index = match self.target {
            Target::Blob(index) => index,
            Target::Manifest | Target::Tag => return 0,
        };
        let Some(size) = self.layers.get(index) else {
            return 0;
        };
        let long = *size > 64 * 1024 - 1536;
        // The archive is a little longer than its file.
        let is_replaced = (size + 2560) - size * self.at / 1000 <= HELD_BACK;
        let wrong = self
            .bad
            .iter()
            .filter(|(_, fault)| *fault == Fault::CorruptByte);
        if long && !is_replaced {
            wrong.count()
        } else {
            0
        }
    }

    /// The offset at which a fault strikes this body. A wrong byte in a tag's manifest strikes a digest or a size: where nothing
    /// proves the manifest, one that changes no more than its top digest (a letter of an annotation, of a key that nobody reads,
    /// white space) gives another image with the same content, which neither the agent nor containerd can tell from the right
    /// one. There the contract promises nothing, so it is not asked for.
    pub(crate) fn offset(&self, fault: Option<Fault>, body: &[u8]) -> usize {
        if self.target != Target::Tag || fault != Some(Fault::CorruptByte) {
            return body.len() * self.at / 1000;
        }
        let values: Vec<usize> = ["\"digest\":\"sha256:", "\"size\":"]
            .iter()
            .flat_map(|key| values_behind(key, body))
            .collect();
        values[values.len() * self.at / 1000]
    }

    /// What it may take longer than a healthy pull.
    pub(crate) fn goal(&self) -> Duration {
        let drips = self.bad.iter().any(|(_, fault)| *fault == Fault::Drip);
        Duration::from_secs(if drips { 15 } else { 5 })
    }

    /// Whether something is done from outside at the moment, and not by the servers alone.
    pub(crate) fn has_a_moment(&self) -> bool {
        let outside =
            |(_, fault): &(Source, Fault)| matches!(fault, Fault::Kill | Fault::PowerLoss);
        self.node.is_some() || self.bad.iter().any(outside)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(node) = self.node {
            write!(f, "{node:?}")?;
        }
        for (index, (source, fault)) in self.bad.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{source:?} {fault:?}")?;
        }
        let often = if self.once { "once" } else { "always" };
        let agent = if self.cold { "cold" } else { "warm" };
        write!(
            f,
            "; at {:?} {}/1000, {often}, {agent} agent, layers {:?}",
            self.target, self.at, self.layers
        )
    }
}

/// Where the letters and digits stand that follow a text.
fn values_behind(text: &str, body: &[u8]) -> Vec<usize> {
    let starts = 0..body.len();
    let starts = starts.filter(|at| body[*at..].starts_with(text.as_bytes()));
    starts
        .flat_map(|at| {
            let from = at + text.len();
            let value = body[from..].iter();
            let length = value
                .take_while(|byte| byte.is_ascii_alphanumeric())
                .count();
            from..from + length
        })
        .collect()
}

/// splitmix64.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).expect("below a usize")
    }

    fn fault(&mut self) -> Fault {
        const STATUSES: [u16; 8] = [401, 403, 404, 412, 429, 500, 502, 503];
        match self.below(24) {
            0 => Fault::Kill,
            1 => Fault::PowerLoss,
            2 => Fault::Reset,
            3 => Fault::Close,
            4 => Fault::HalfClose,
            5 => Fault::Stall,
            6 => Fault::Drip,
            7 => Fault::CorruptByte,
            8 => Fault::CleanTruncation,
            9 => Fault::ErrorJson,
            10 => Fault::ZeroLength,
            11..=14 => Fault::Status(STATUSES[self.below(STATUSES.len())]),
            15 => Fault::Html,
            16 => Fault::SlowFirstByte(500 + self.next() % 7500),
            17 => Fault::NoAnswer,
            18 => Fault::SilentAccept,
            19 => Fault::WrongContentRange,
            20 => Fault::WholeForRange,
            21 => Fault::RedirectToDead {
                listed: self.below(2) == 0,
            },
            22 => Fault::TokenDead,
            _ => Fault::CertificateExpired,
        }
    }

    fn node_fault(&mut self) -> NodeFault {
        match self.below(6) {
            0 => NodeFault::DnsChange,
            1 => NodeFault::DnsFailure,
            2 => NodeFault::DnsEmpty,
            3 => NodeFault::AgentKilled,
            4 => NodeFault::AgentKilledAndRestarted,
            _ => NodeFault::AgentRestarted,
        }
    }
}
