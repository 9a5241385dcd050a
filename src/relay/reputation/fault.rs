//! What is seen of addresses, and what follows from it: the rules, whose prose is docs/failure-table.md, "Reputation".

use super::scope::{Scope, Subject};
use crate::oci::Digest;
use crate::topology::select::Effect;
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
pub(super) const SLOW: Reason = Reason("slow", "it stalled or dripped in the middle of a blob");

/// How long an address is held back that may answer again at any time.
const SHORT: Duration = Duration::from_secs(30);

/// The same for what an address does wrong; kubelet's longest wait between two tries.
pub(crate) const MEDIUM: Duration = Duration::from_secs(300);

/// The same for content of which an address sends wrong bytes.
pub(crate) const LONG: Duration = Duration::from_secs(600);

/// What follows from a fault.
pub(super) struct Rule {
    pub(super) whom: Whom,
    pub(super) scope: Scope,
    pub(super) effect: Effect,
    pub(super) life: Duration,
}

/// Whom it is about.
#[derive(Clone, Copy)]
pub(super) enum Whom {
    Address,
    /// All addresses of its source, if that is a tier. An upstream stands behind the tiers as it is.
    Tier,
}

// === impl Fault ===

impl Fault {
    pub(super) fn rules(&self, subject: &Subject) -> (Reason, Vec<Rule>) {
        use Effect::{Behind, Last, Never};
        use Whom::{Address, Tier};
        let rule = |whom, scope, effect, life| Rule {
            whom,
            scope,
            effect,
            life,
        };
        let repository = || subject.of_repository();
        let of_image = |effect, life| {
            let image = subject.image.iter().cloned().map(Scope::Image);
            let rules = image.map(|image| rule(Address, image, effect, life));
            rules.collect()
        };
        match self {
            Self::Silent => (
                SILENT,
                vec![rule(Address, Scope::Everything, Behind, SHORT)],
            ),
            Self::TierSilent => (SILENT, vec![rule(Tier, repository(), Last, SHORT)]),
            Self::Stalls => (SLOW, vec![rule(Tier, repository(), Behind, SHORT)]),
            Self::Slow => (SLOW, vec![rule(Address, Scope::Everything, Behind, MEDIUM)]),
            Self::WrongBytes(digest) => (
                Reason("wrong_bytes", "it sent wrong bytes"),
                vec![
                    rule(Address, Scope::Content(digest.clone()), Never, LONG),
                    rule(Address, Scope::Everything, Behind, MEDIUM),
                    rule(Tier, repository(), Last, MEDIUM),
                ],
            ),
            Self::Unproven => (
                Reason(
                    "unproven",
                    "the client asks anew for bytes that nobody could prove",
                ),
                of_image(Behind, LONG),
            ),
            Self::Unconfirmed => (
                Reason(
                    "tag_unconfirmed",
                    "what it answered for the tag names what is nowhere",
                ),
                of_image(Last, MEDIUM),
            ),
            Self::TooManyRequests(wait) => {
                let registry = Scope::Registry(subject.registry.clone());
                let reason = Reason("too_many_requests", "it wants fewer requests");
                (reason, vec![rule(Address, registry, Last, *wait)])
            }
            Self::UpstreamLimited(wait) => (
                Reason("upstream_limited", "its own upstream limits it"),
                vec![rule(Tier, repository(), Last, *wait)],
            ),
        }
    }

    /// Whether it counts for everybody's requests, whoever met it: a digest proves it, or a quota is one of this node.
    pub(super) fn counts_for_all(&self, scope: &Scope) -> bool {
        let is_quota = matches!(self, Self::TooManyRequests(_) | Self::UpstreamLimited(_));
        is_quota || matches!(scope, Scope::Content(_))
    }
}
