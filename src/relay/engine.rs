//! The entry of the pull path: routes a request, has it searched for, and makes the answer. Owns what all searches
//! share.

mod eviction;
mod nothing;

pub(crate) use nothing::Missing;

use nothing::refused_by_rules;

use super::answer::{Answered, broken, refusal};
use super::blob::ToldSize;
use super::flight::Flights;
use super::hedge::Hedging;
use super::manifest::{Fetched, Wish};
use super::memory::{Memories, Pulled};
use super::quota::CoolDowns;
use super::rates::Rates;
use super::record::{RequestRecord, Sinks};
use super::rules::FinalAnswer;
use super::search::{Dials, NotFound};
use super::sizes::KnownSizes;
use super::stale::Stale;
use super::sticky::Sticky;
use super::{blob, list, manifest};
use crate::budget::Budget;
use crate::cache::Trust;
use crate::config::{Config, Limits, Timeouts};
use crate::discovery::Discovery;
use crate::exchange::Exchanger;
use crate::health::Health;
use crate::lifecycle::contained;
use crate::oci::{ErrorCode, RangeSpec, Ranges, RawName, ResourceKind};
use crate::route::{Route, RouteTable};
use crate::telemetry::RequestOutcome;
use crate::topology::{Snapshot, SourceId};
use crate::upstream::Client;
use arc_swap::ArcSwap;
use hyper::StatusCode;
use hyper::header::HeaderValue;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::sync::watch;
use tokio::time::Instant;

/// One request for a resource, parsed.
#[derive(Clone, Debug)]
pub struct PullRequest {
    /// HEAD instead of GET.
    pub head: bool,
    /// `?ns=`, decoded.
    pub ns: Option<String>,
    /// The name in the path.
    pub name: RawName,
    /// What of it.
    pub kind: ResourceKind,
    /// The client's `Accept`, several joined.
    pub accept: Option<HeaderValue>,
    /// The client's `Range`; none for HEAD.
    pub ranges: Option<Ranges>,
    /// It is a client that tells its user of a 403, and goes on to the registry all the same (design P4): containerd 2.
    pub shows_denials: bool,
    /// What else stood in the query (`n`, `last`), for lists.
    pub query: Option<String>,
    /// Who asks: what its pull teaches is kept accordingly.
    pub trust: Trust,
    /// Set when the connection must end with a reset instead of an end (design P8): what was sent is wrong.
    pub reset: Arc<AtomicBool>,
}

/// What the pull path is made of. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Relay(Arc<RelayParts>);

/// What all searches share.
#[derive(Debug)]
pub struct RelayParts {
    /// The configuration in force with its routes; swapped as one.
    pub(crate) rules: ArcSwap<Rules>,
    pub(crate) snapshots: watch::Receiver<Arc<Snapshot>>,
    pub(crate) client: Client,
    pub(crate) exchanger: Exchanger,
    pub(crate) discovery: Discovery,
    pub(crate) health: Health,
    pub(crate) sinks: Arc<Sinks>,
    pub(crate) sizes: KnownSizes,
    pub(crate) memories: Memories,
    pub(crate) stickiness: Sticky,
    pub(crate) hedging: Hedging,
    pub(crate) stale: Stale,
    pub(crate) dials: Dials,
    pub(crate) cool_downs: CoolDowns,
    pub(crate) rates: Rates,
    /// The searches for manifests that are under way, by configuration and wish.
    pub(crate) flights: Flights<(u64, Arc<Wish>), Fetched>,
    /// The same for sizes of blobs.
    pub(crate) size_flights: Flights<(u64, Pulled), Arc<ToldSize>>,
    pub(crate) timeouts: Timeouts,
    pub(crate) limits: Limits,
    /// Of what waits in memory.
    pub(crate) budget: Budget,
    random: AtomicU64,
}

/// A configuration with its routes.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) config: Arc<Config>,
    pub(crate) routes: RouteTable,
    /// Tells configurations apart.
    pub(crate) generation: u64,
}

// === impl PullRequest ===

impl PullRequest {
    /// The range that is asked for, if it is one.
    pub(crate) fn range(&self) -> Option<RangeSpec> {
        self.ranges.as_ref()?.single()
    }
}

// === impl Relay ===

impl Relay {
    /// `seed` feeds request numbers and tie-breaking; `sizes` is the file of known sizes of an earlier run.
    #[must_use]
    #[allow(
        clippy::too_many_arguments,
        reason = "the composition root hands over what it built, once"
    )]
    pub fn new(
        config: Arc<Config>,
        client: Client,
        exchanger: Exchanger,
        discovery: Discovery,
        health: Health,
        journal: crate::telemetry::Journal,
        metrics: Arc<crate::metrics::Metrics>,
        budget: Budget,
        sizes: &Path,
        seed: u64,
    ) -> Self {
        let directory = config.state_directory.join("manifests");
        let stale = Stale::start(directory, journal.clone(), budget.clone());
        let (timeouts, limits) = (config.timeouts, config.limits);
        let parts = Arc::new(RelayParts {
            rules: ArcSwap::from_pointee(Rules {
                routes: RouteTable::of(config.clone()),
                config,
                generation: 0,
            }),
            snapshots: health.snapshot(),
            client,
            exchanger,
            discovery,
            health,
            sinks: Arc::new(Sinks { journal, metrics }),
            sizes: KnownSizes::load(sizes, &budget),
            memories: Memories::new(budget.limit()),
            stickiness: Sticky::default(),
            hedging: Hedging::default(),
            stale,
            dials: Dials::default(),
            cool_downs: CoolDowns::default(),
            rates: Rates::default(),
            flights: Flights::default(),
            size_flights: Flights::default(),
            timeouts,
            limits,
            budget,
            random: AtomicU64::new(seed | 1),
        });
        eviction::register(&parts);
        Self(parts)
    }

    /// What the simulation of a fleet drives.
    #[cfg(test)]
    pub(crate) fn parts(&self) -> &Arc<RelayParts> {
        &self.0
    }

    /// Takes a new configuration over; requests under way keep the old one. Timeouts and limits hold from the start
    /// of the process.
    pub fn update(&self, config: Arc<Config>) {
        let routes = RouteTable::of(config.clone());
        let generation = self.0.rules.load().generation.saturating_add(1);
        self.0.rules.store(Arc::new(Rules {
            config,
            routes,
            generation,
        }));
    }

    /// Writes the known sizes down if they changed.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn store_sizes(&self, path: &Path) -> std::io::Result<()> {
        self.0.sizes.store(path)
    }

    /// A fresh request number: 16 hexadecimal digits.
    #[must_use]
    pub fn request_id(&self) -> Arc<str> {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or(b'0');
        let mut text = [0; 16];
        let pairs = text.as_chunks_mut::<2>().0.iter_mut();
        for (pair, byte) in pairs.zip(self.0.random().to_be_bytes()) {
            *pair = [digit(byte >> 4), digit(byte & 15)];
        }
        std::str::from_utf8(&text).unwrap_or_default().into()
    }

    /// Answers a request that asks for nothing that is here.
    #[must_use]
    pub fn refuse(
        &self,
        method: &'static str,
        head: bool,
        status: StatusCode,
        code: ErrorCode,
        message: &str,
    ) -> Answered {
        let sinks = self.0.sinks.clone();
        let record = RequestRecord::new(sinks, self.request_id(), method, Instant::now());
        refusal(status, code, message, RequestOutcome::Refused, head, record)
    }

    /// Answers one request. One that a panic ends is answered 503, as one that no source could serve.
    pub async fn pull(&self, request: PullRequest) -> Answered {
        let (head, id) = (request.head, self.request_id());
        let answered = contained("request", self.answer(request, id.clone())).await;
        answered.unwrap_or_else(|_| broken(head, &id))
    }

    async fn answer(&self, request: PullRequest, id: Arc<str>) -> Answered {
        let parts = &self.0;
        let (method, now) = (if request.head { "HEAD" } else { "GET" }, Instant::now());
        let mut record = RequestRecord::new(parts.sinks.clone(), id, method, now);
        let rules = parts.rules.load_full();
        let routed = rules
            .routes
            .route(request.ns.as_deref(), &request.name, &request.kind);
        let (kind, reference) = (request.kind.word(), request.kind.reference());
        let route = match routed {
            Ok(route) => route,
            Err(refused) => {
                record.asks(None, request.name.as_str().into(), kind, reference);
                return refused_by_rules(&refused, request.head, record);
            }
        };
        record.asks(
            Some(route.registry_label.clone()),
            route.repository.shared(),
            kind,
            reference,
        );
        match &request.kind {
            ResourceKind::Manifest(reference) => {
                manifest::answer(parts, &rules, route, reference.clone(), &request, record).await
            }
            ResourceKind::Blob(digest) => {
                // Boxed, as the lists are, so that requests for manifests stay small.
                Box::pin(blob::answer(
                    parts,
                    &rules,
                    route,
                    digest.clone(),
                    &request,
                    record,
                ))
                .await
            }
            ResourceKind::Tags | ResourceKind::Referrers(_) => {
                Box::pin(list::answer(parts, &rules, route, &request, record)).await
            }
        }
    }
}

// === impl RelayParts ===

impl RelayParts {
    /// A number nobody can foretell much of; for tie-breaking and request numbers, not for secrets.
    pub(crate) fn random(&self) -> u64 {
        let value = self
            .random
            .fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
        let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        value ^ (value >> 31)
    }

    /// The route less upstream where upstream denied the repository a while ago; then with the reason.
    pub(crate) fn without_denied(&self, route: Arc<Route>) -> (Arc<Route>, Option<String>) {
        let reason = || {
            let key = (route.registry_label.clone(), route.repository.clone());
            self.memories.denials.get(&key, Instant::now())
        };
        let Some(reason) = (!self.memories.denials.is_empty()).then(reason).flatten() else {
            return (route, None);
        };
        let mut route = Route::clone(&route);
        route
            .legs
            .retain(|leg| !matches!(leg.source, SourceId::Upstream(_)));
        (Arc::new(route), Some(reason))
    }

    /// Upstream serves what it has denied a while ago.
    pub(crate) fn forget_denial(&self, route: &Route) {
        let key = (route.registry_label.clone(), route.repository.clone());
        self.memories.denials.change(|denials| denials.remove(&key));
    }

    /// Remembers upstream's denial; where one was remembered already, the tiers' failure stays that denial.
    pub(crate) fn remember_denial(
        &self,
        (route, trust): (&Route, Trust),
        remembered: Option<String>,
        nothing: NotFound,
    ) -> NotFound {
        if let NotFound::Final {
            answer: FinalAnswer::Denied,
            detail,
            ..
        } = &nothing
        {
            let key = (route.registry_label.clone(), route.repository.clone());
            self.memories
                .denials
                .put(key, detail.clone(), trust, Instant::now());
        }
        match (remembered, nothing) {
            (Some(detail), NotFound::Failed) => NotFound::Final {
                answer: FinalAnswer::Denied,
                by: "upstream".to_owned(),
                detail,
            },
            (_, nothing) => nothing,
        }
    }
}
