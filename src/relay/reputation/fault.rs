//! What is seen of addresses, and what follows from it: the rules, whose prose is docs/failure-table.md, "Reputation".

use super::scope::{Scope, Subject};
use crate::oci::Digest;
use crate::topology::select::{Effect, HeldBack};
use crate::topology::{EndpointId, SourceId};
use std::time::Duration;

/// What was seen of an address.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// It let a request wait until another was asked.
    Silent,
    /// The same of its tier: another source answered, and the tier had had as long as a stall takes.
    TierSilent,
    /// Bytes of a blob do not come, or too few.
    Stalls,
    /// The same until another went on.
    Slow,
    /// Its bytes do not fit this digest.
    WrongBytes(Digest),
    /// It gave bytes that nobody could prove, and the client asks for them anew.
    Unproven,
    /// What it answered for a tag names what is nowhere.
    Unconfirmed,
    /// It said 429, and for how long it wants to be left alone.
    TooManyRequests(Duration),
    /// The same of a Harbor's own upstream, by the Harbor's word.
    UpstreamLimited(Duration),
}

/// Why something is known: a word, and a sentence for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason(pub &'static str, pub &'static str);

pub(super) const SILENT: Reason = Reason("silent", "it let a request wait until another was asked");
pub(super) const SLOW: Reason = Reason("slow", "it stalled or was too slow within a blob");

/// How long an address is held back that may answer again at any time.
const SHORT: Duration = Duration::from_secs(30);

/// The same for what an address does wrong; kubelet's longest wait between two tries.
pub(crate) const MEDIUM: Duration = Duration::from_secs(300);

/// The same for content of which an address sends wrong bytes.
pub(crate) const LONG: Duration = Duration::from_secs(600);

/// What follows from a fault.
pub(super) struct Rule {
    pub(super) held: HeldBack,
    pub(super) scope: Scope,
    pub(super) life: Duration,
}

// === impl Fault ===

impl Fault {
    pub(super) fn reason(&self) -> Reason {
        match self {
            Self::Silent | Self::TierSilent => SILENT,
            Self::Stalls | Self::Slow => SLOW,
            Self::WrongBytes(_) => Reason("wrong_bytes", "it sent wrong bytes"),
            Self::Unproven => Reason(
                "unproven",
                "the client asks anew for bytes that nobody could prove",
            ),
            Self::Unconfirmed => Reason(
                "tag_unconfirmed",
                "what it answered for the tag names what is nowhere",
            ),
            Self::TooManyRequests(_) => Reason("too_many_requests", "it wants fewer requests"),
            Self::UpstreamLimited(_) => Reason("upstream_limited", "its own upstream limits it"),
        }
    }

    /// What follows for the address, and for all addresses of its source where that is a tier. An upstream stands behind the tiers
    /// as it is.
    pub(super) fn rules(&self, endpoint: &EndpointId, subject: &Subject) -> Vec<Rule> {
        use Effect::{Behind, Last, Never};
        let address = |scope, effect, life| Rule {
            held: HeldBack::endpoint(endpoint, effect),
            scope,
            life,
        };
        let for_image = |effect, life| {
            let image = subject.image.iter().cloned().map(Scope::Image);
            image.map(|image| address(image, effect, life)).collect()
        };
        let tier = |effect, life| match endpoint.source {
            SourceId::Upstream(_) => None,
            SourceId::Tier(_) => Some(Rule {
                held: HeldBack::source(&endpoint.source, effect),
                scope: subject.of_repository(),
                life,
            }),
        };
        let for_tier = |effect, life| tier(effect, life).into_iter().collect();
        match self {
            Self::Silent => vec![address(Scope::Everything, Behind, SHORT)],
            Self::TierSilent => for_tier(Last, SHORT),
            Self::Stalls => for_tier(Behind, SHORT),
            Self::Slow => vec![address(Scope::Everything, Behind, MEDIUM)],
            Self::WrongBytes(digest) => {
                let content = address(Scope::Content(digest.clone()), Never, LONG);
                let all = address(Scope::Everything, Behind, MEDIUM);
                let tier = tier(Last, MEDIUM);
                [content, all].into_iter().chain(tier).collect()
            }
            Self::Unproven => for_image(Behind, LONG),
            Self::Unconfirmed => for_image(Last, MEDIUM),
            Self::TooManyRequests(wait) => {
                let registry = Scope::Registry(subject.registry.clone());
                vec![address(registry, Last, *wait)]
            }
            Self::UpstreamLimited(wait) => for_tier(Last, *wait),
        }
    }

    /// Whether it counts for everybody's requests, whoever met it: a digest proves it, or a quota is one of this node.
    pub(super) fn counts_for_all(&self, scope: &Scope) -> bool {
        let is_quota = matches!(self, Self::TooManyRequests(_) | Self::UpstreamLimited(_));
        is_quota || matches!(scope, Scope::Content(_))
    }
}
