//! An endpoint: one address of one source, with the counters that requests keep on it.

use super::source::{Source, SourceId};
use crate::cache::Trust;
use crate::telemetry::What;
use parking_lot::Mutex;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// One address of one source.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointId {
    /// The source that it belongs to.
    pub source: SourceId,
    /// What is dialled: the source's address, or its proxy's.
    pub address: SocketAddr,
}

/// What DNS said of one source, with how long it holds. Published by discovery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointSet {
    /// The host and port that it is of. After a reload a source may dial another place while the set is still of the
    /// old one.
    pub of: (String, u16),
    /// Sorted, without duplicates. Empty: nothing was ever learned.
    pub addresses: Vec<SocketAddr>,
    /// The last refresh failed and this is what was known before.
    pub stale: bool,
    /// Why the last refresh failed, for people.
    pub error: Option<Arc<str>>,
}

/// An attempt there, as a trace tells it.
impl From<&EndpointId> for What {
    fn from(endpoint: &EndpointId) -> Self {
        Self::Attempt {
            source: endpoint.source.shared_label(),
            address: endpoint.address,
        }
    }
}

impl EndpointSet {
    /// Whether these are addresses of what `source` dials.
    #[must_use]
    pub fn is_of(&self, source: &Source) -> bool {
        let dialled = source.dialled();
        self.of.0 == dialled.host && self.of.1 == dialled.port
    }
}

/// So long after its last good answer an endpoint has just served.
const JUST: Duration = Duration::from_secs(10);

/// Live counters of one endpoint. Requests raise and lower them through guards; `select` reads them.
#[derive(Debug, Default)]
pub struct EndpointGauges {
    /// Requests of trusted clients.
    trusted: AtomicU32,
    untrusted: AtomicU32,
    pending_connects: AtomicU32,
    /// The source has denied something since it last let somebody in. All endpoints of a source share it.
    denied: Arc<AtomicBool>,
    /// When it last gave a good answer.
    served: Mutex<Option<Instant>>,
}

/// Counts one request at an endpoint until dropped.
#[derive(Debug)]
pub struct InFlight {
    gauges: Arc<EndpointGauges>,
    trust: Trust,
    counts: bool,
}

/// Marks an endpoint as suspect (design P6: a connect is pending for longer than the race's delay) until
/// dropped.
#[derive(Debug)]
pub struct PendingConnect(Arc<EndpointGauges>);

// === impl EndpointId ===

impl fmt::Display for EndpointId {
    /// `replica/203.0.113.7:443`, as in `X-Harbor-Pilot-Served-By`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.source.label(), self.address)
    }
}

impl fmt::Debug for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

// === impl EndpointGauges ===

impl EndpointGauges {
    /// Of an endpoint whose source has this mark.
    #[must_use]
    pub fn sharing(denied: Arc<AtomicBool>) -> Self {
        Self {
            denied,
            ..Self::default()
        }
    }

    /// Whether the source has denied something since it last let somebody in.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        self.denied.load(Ordering::Relaxed)
    }

    /// It has given a good answer.
    pub fn serves(&self, now: Instant) {
        *self.served.lock() = Some(now);
    }

    /// Whether it has just given one, whatever probes say or a connect that is pending.
    #[must_use]
    pub fn has_just_served(&self, now: Instant) -> bool {
        let served = *self.served.lock();
        served.is_some_and(|at| now.saturating_duration_since(at) < JUST)
    }

    /// Counts in a request of such a client.
    #[must_use]
    pub fn enter(self: &Arc<Self>, trust: Trust) -> InFlight {
        let mut in_flight = InFlight {
            gauges: self.clone(),
            trust,
            counts: false,
        };
        in_flight.resume();
        in_flight
    }

    /// Marks a connect that takes too long.
    #[must_use]
    pub fn connect_is_slow(self: &Arc<Self>) -> PendingConnect {
        self.pending_connects.fetch_add(1, Ordering::Relaxed);
        PendingConnect(self.clone())
    }

    /// Requests now at this endpoint.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        let (trusted, untrusted) = (self.count(Trust::Trusted), self.count(Trust::Untrusted));
        let sum = trusted.load(Ordering::Relaxed);
        sum.saturating_add(untrusted.load(Ordering::Relaxed))
    }

    /// Requests now at this endpoint that a request of such a client gives way to: whatever untrusted clients ask for makes no
    /// trusted one wait.
    #[must_use]
    pub fn load_for(&self, trust: Trust) -> u32 {
        match trust {
            Trust::Trusted => self.count(trust).load(Ordering::Relaxed),
            Trust::Untrusted => self.in_flight(),
        }
    }

    fn count(&self, trust: Trust) -> &AtomicU32 {
        match trust {
            Trust::Trusted => &self.trusted,
            Trust::Untrusted => &self.untrusted,
        }
    }

    /// Whether a connect to it has been pending for too long.
    #[must_use]
    pub fn is_suspect(&self) -> bool {
        self.pending_connects.load(Ordering::Relaxed) > 0
    }
}

// === impl InFlight ===

impl InFlight {
    /// Does not count until [`InFlight::resume`]: the endpoint has no work with it.
    pub fn pause(&mut self) {
        if std::mem::replace(&mut self.counts, false) {
            self.gauges
                .count(self.trust)
                .fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Counts the request again, after a pause.
    pub fn resume(&mut self) {
        if !std::mem::replace(&mut self.counts, true) {
            self.gauges
                .count(self.trust)
                .fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.pause();
    }
}

impl Drop for PendingConnect {
    fn drop(&mut self) {
        self.0.pending_connects.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Trust::{Trusted, Untrusted};

    #[test]
    fn load_is_what_a_client_gives_way_to_and_what_somebody_reads() {
        let gauges = Arc::new(EndpointGauges::default());
        let all = |gauges: &EndpointGauges| {
            (
                gauges.in_flight(),
                gauges.load_for(Trusted),
                gauges.load_for(Untrusted),
            )
        };
        let trusted = gauges.enter(Trusted);
        let mut untrusted = [(); 3].map(|()| gauges.enter(Untrusted));
        assert_eq!(all(&gauges), (4, 1, 4));
        // Once, however often it is said.
        for _ in 0..2 {
            untrusted.iter_mut().for_each(InFlight::pause);
            assert_eq!(all(&gauges), (1, 1, 1));
        }
        let [first, second, mut third] = untrusted;
        for _ in 0..2 {
            third.resume();
            assert_eq!(all(&gauges), (2, 1, 2));
        }
        drop((first, second));
        assert_eq!(all(&gauges), (2, 1, 2));
        drop((trusted, third));
        assert_eq!(all(&gauges), (0, 0, 0));
    }
}
