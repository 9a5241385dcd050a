//! What holds an address back: that which is known against it or its source, as far as it concerns one request.

use crate::topology::{EndpointId, SourceId};
use std::net::SocketAddr;

/// How far back an address stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effect {
    /// Behind the others of its kind. An address of a tier then stands behind all healthy addresses of tiers, and before
    /// upstream, whose load must not grow because a tier is slow.
    Behind,
    /// It is asked when everybody else has failed, upstream included.
    Last,
    /// It is not asked.
    Never,
}

/// A reason to ask an address or a whole source later, or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldBack {
    /// The source that is held back.
    pub source: SourceId,
    /// The address that is held back; `None`: all of the source.
    pub address: Option<SocketAddr>,
    /// How far: behind the others, last, or never.
    pub effect: Effect,
}

/// All that is known of one address; the order is that of asking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) last: bool,
    /// Who stands behind for the sake of others of its source stands before them.
    pub(super) behind: Behind,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Behind {
    #[default]
    No,
    Source,
    Address,
}

// === impl HeldBack ===

impl HeldBack {
    /// Holds back one address.
    #[must_use]
    pub fn endpoint(endpoint: &EndpointId, effect: Effect) -> Self {
        Self {
            source: endpoint.source.clone(),
            address: Some(endpoint.address),
            effect,
        }
    }

    /// All addresses of a source.
    #[must_use]
    pub fn source(source: &SourceId, effect: Effect) -> Self {
        Self {
            source: source.clone(),
            address: None,
            effect,
        }
    }

    /// Whether it is about this address.
    #[must_use]
    pub fn concerns(&self, endpoint: &EndpointId) -> bool {
        let is_address = self.address.is_none_or(|of| of == endpoint.address);
        is_address && self.source == endpoint.source
    }
}

// === impl Held ===

impl Held {
    /// `None`: it is not asked.
    pub(super) fn new(known: &[HeldBack], endpoint: &EndpointId) -> Option<Self> {
        let mut held = Self::default();
        for one in known.iter().filter(|one| one.concerns(endpoint)) {
            let behind = match one.address {
                None => Behind::Source,
                Some(_) => Behind::Address,
            };
            match one.effect {
                Effect::Never => return None,
                Effect::Last => held.last = true,
                Effect::Behind => held.behind = held.behind.max(behind),
            }
        }
        Some(held)
    }

    pub(super) fn effect(self) -> Option<Effect> {
        if self.last {
            Some(Effect::Last)
        } else {
            (self.behind > Behind::No).then_some(Effect::Behind)
        }
    }
}
