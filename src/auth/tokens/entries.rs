//! The tokens that are kept: bounded in number and bytes, for whom each was fetched, and until when it holds.

use super::{Issued, Landing};
use crate::auth::TokenKey;
use crate::auth::plan::TokenPlan;
use crate::budget::{Budget, Kind, Lease};
use crate::cache::{Bounds, Trust, TtlMap};
use crate::config::{BaseUrl, Credential};
use crate::lifecycle::deadline;
use crate::topology::Source;
use http::header::HeaderValue;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Tokens kept at most; the one unused for longest makes room, those of untrusted clients' requests first.
pub(super) const TOKENS: usize = 4096;
/// All tokens together take at most this part of the memory that is for everything: one in eight.
const PART: usize = 8;
/// What an entry takes beside its texts, in bytes: its places in the map, what it was fetched with.
const ENTRY: usize = 512;

pub(super) struct Entries {
    pub(super) of: TtlMap<TokenKey, Entry>,
    /// Of what they take.
    lease: Lease,
    /// Counts fetches, to tell them apart.
    pub(super) counter: u64,
}

pub(super) struct Entry {
    pub(super) holder: Holder,
    pub(super) current: Option<Current>,
    pub(super) pending: Option<(u64, watch::Receiver<Landing>)>,
    pub(super) denied: Option<(Instant, String)>,
    pub(super) useless: Option<Useless>,
}

/// How a source refused a fresh token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// It named no challenge.
    pub without_challenge: bool,
    /// The source itself is broken.
    pub is_failure: bool,
    /// The words of the refusal, for the log.
    pub why: String,
}

/// That the current token opened nothing, although it was fresh.
pub(super) struct Useless {
    pub(super) until: Instant,
    pub(super) refusal: Refusal,
}

/// For whom a token was fetched: after a reload with another password or URL the old token is nobody's.
#[derive(PartialEq)]
pub(super) struct Holder {
    url: BaseUrl,
    credential: Option<Credential>,
}

pub(super) struct Current {
    pub(super) authorization: HeaderValue,
    /// From then on it is renewed by whoever uses it.
    pub(super) renew_at: Instant,
    /// From then on it is not used.
    pub(super) ends_at: Instant,
    /// How to renew it; `None` for a password.
    pub(super) plan: Option<Arc<TokenPlan>>,
}

// === impl Entries ===

impl Entries {
    pub(super) fn new(budget: &Budget) -> Self {
        let bounds = Bounds {
            bytes: budget.limit() / PART,
            ..Bounds::entries(Duration::MAX, TOKENS)
        };
        Self {
            of: TtlMap::weighed(bounds, |key, entry| entry.bytes(key)),
            lease: budget.lease(Kind::Tokens),
            counter: 0,
        }
    }

    /// The entry of this holder, noted as used; a new one where it was another's. `None`: trusted clients' leave no place.
    pub(super) fn held(
        &mut self,
        key: &TokenKey,
        source: &Source,
        trust: Trust,
        now: Instant,
    ) -> Option<&mut Entry> {
        let held = self.of.get(key, now);
        if held.is_some_and(|entry| entry.holder.is(source, key.with_credential)) {
            self.of.used(key, trust);
        } else {
            let fresh = Entry {
                holder: Holder::new(source, key.with_credential),
                current: None,
                pending: None,
                denied: None,
                useless: None,
            };
            self.of.put(key.clone(), fresh, trust, now);
            self.lease.set(self.of.bytes());
        }
        self.of.get_mut(key, now)
    }

    /// An entry has changed: what it takes is counted anew, and others make room.
    pub(super) fn weigh(&mut self, key: &TokenKey) {
        self.of.weigh(key);
        self.lease.set(self.of.bytes());
    }

    /// Drops what is of no use any more.
    pub(super) fn sweep(&mut self, now: Instant) {
        self.of.retain(|_, entry| entry.is_of_use(now));
        self.lease.set(self.of.bytes());
    }
}

// === impl Entry ===

impl Entry {
    fn bytes(&self, key: &TokenKey) -> usize {
        let current = self.current.as_ref();
        let token = current.map_or(0, |current| current.authorization.len());
        let plan = current.and_then(|current| current.plan.as_ref());
        let plan = plan.map_or(0, |plan| plan.target.len());
        let denied = self.denied.as_ref().map_or(0, |(_, text)| text.len());
        let useless = self.useless.as_ref();
        let useless = useless.map_or(0, |useless| useless.refusal.why.len());
        let host = key.host.as_ref().map_or(0, |host| host.host.len());
        let texts = [key.realm_of.len(), host, token, plan, denied, useless];
        texts.into_iter().fold(ENTRY, usize::saturating_add)
    }

    fn is_of_use(&self, now: Instant) -> bool {
        let current = self.current.as_ref();
        let is_current = current.is_some_and(|current| now < current.ends_at);
        let is_denied = self.denied.as_ref().is_some_and(|(until, _)| now < *until);
        is_current || is_denied || self.pending.is_some()
    }
}

// === impl Holder ===

impl Holder {
    fn new(source: &Source, with_credential: bool) -> Self {
        Self {
            url: source.url.clone(),
            credential: source.credential.clone().filter(|_| with_credential),
        }
    }

    pub(super) fn is(&self, source: &Source, with_credential: bool) -> bool {
        let credential = source.credential.as_ref().filter(|_| with_credential);
        self.url == source.url && self.credential.as_ref() == credential
    }
}

// === impl Current ===

impl Current {
    /// Used until shortly before its end, since the request that carries it needs time too; renewed from 80 % on.
    pub(super) fn new(issued: Issued, plan: Arc<TokenPlan>, now: Instant) -> Self {
        let life = issued.life;
        let margin = life.mul_f64(0.1).min(Duration::from_secs(30));
        Self {
            authorization: issued.authorization,
            renew_at: deadline(now, life.mul_f64(0.8)),
            ends_at: deadline(now, life.saturating_sub(margin)),
            plan: Some(plan),
        }
    }
}
