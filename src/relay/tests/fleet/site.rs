//! One modelled address: how far away it is, how long it takes by its load, how it loses its power and comes back. What it
//! sees is counted.

use super::counts::{Counts, What};
use crate::topology::{EndpointId, Failure};
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

/// More requests at once than this many times its capacity are answered 503.
const REFUSES_FROM: u32 = 4;

/// Who an address is.
#[derive(Clone, Debug)]
pub(super) struct Kind {
    pub(super) name: &'static str,
    pub(super) endpoint: EndpointId,
    pub(super) round_trip: Duration,
    /// Until a manifest's or a blob's head, without load.
    pub(super) think: Duration,
    /// A layer's bytes, without load.
    pub(super) layer: Duration,
    /// Requests at once that do not slow each other down.
    pub(super) capacity: u32,
}

/// An address.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) kind: Kind,
    pub(super) counts: Counts,
    /// Which node probed it, and in which second, in the order of time.
    probes: Mutex<Vec<(u32, u64)>>,
    power: watch::Sender<Power>,
    busy: AtomicU32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Power {
    on: bool,
    boots: u32,
}

/// A connection to one boot of an address.
#[derive(Debug)]
pub(super) struct PooledConnection {
    boots: u32,
    pub(super) since: Instant,
}

/// How long a blob's bytes take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// No time.
    Config,
    Layer,
}

/// One request that an address works on.
struct Busy(Arc<Site>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

// === impl Site ===

impl Site {
    pub(super) fn new(kind: Kind, began: Instant) -> Arc<Self> {
        Arc::new(Self {
            kind,
            counts: Counts::new(began),
            probes: Mutex::default(),
            power: watch::Sender::new(Power { on: true, boots: 1 }),
            busy: AtomicU32::new(0),
        })
    }

    /// Cuts its power: it neither answers nor refuses.
    pub(super) fn power_off(&self) {
        self.power.send_modify(|power| power.on = false);
    }

    /// It comes back, and knows nothing of earlier connections.
    pub(super) fn power_on(&self) {
        self.power.send_modify(|power| {
            power.on = true;
            power.boots += 1;
        });
    }

    /// TCP and TLS, which need three round trips.
    pub(super) async fn dial(&self, limit: Duration) -> Result<PooledConnection, Failure> {
        self.counts.add(What::Dial);
        self.reach(3, limit).await
    }

    /// TCP alone.
    pub(super) async fn liveness_connect(&self, limit: Duration) -> Result<(), Failure> {
        self.counts.add(What::Dial);
        self.reach(1, limit).await.map(drop)
    }

    /// A health request over a kept connection, or a fresh one.
    pub(super) async fn probe(&self, node: u32, limit: Duration) -> Result<(), Failure> {
        self.counts.add(What::Probe);
        self.probed_by(node);
        self.reach(1, limit).await.map(drop)
    }

    /// The most probes of one node within any ten minutes of these seconds.
    pub(super) fn most_probes_in_ten_minutes(&self, seconds: &Range<usize>) -> usize {
        let probes = self.probes.lock().unwrap_or_else(PoisonError::into_inner);
        let (from, to) = (seconds.start as u64, seconds.end as u64);
        let within = probes.iter().filter(|(_, at)| (from..to).contains(at));
        let mut by_node: Vec<(u32, u64)> = within.copied().collect();
        by_node.sort_unstable();
        let most = |times: &[(u32, u64)]| {
            let from = |(at, (_, first)): (usize, &(u32, u64))| {
                times[at..].partition_point(|(_, time)| *time < first + 600)
            };
            times.iter().enumerate().map(from).max().unwrap_or(0)
        };
        let nodes = by_node.chunk_by(|(one, _), (other, _)| one == other);
        nodes.map(most).max().unwrap_or(0)
    }

    fn probed_by(&self, node: u32) {
        let mut probes = self.probes.lock().unwrap_or_else(PoisonError::into_inner);
        probes.push((node, self.counts.second()));
    }

    async fn reach(&self, round_trips: u32, limit: Duration) -> Result<PooledConnection, Failure> {
        let power = *self.power.borrow();
        if !power.on {
            sleep(limit).await;
            return Err(Failure::ConnectTimeout);
        }
        sleep(self.kind.round_trip * round_trips).await;
        Ok(PooledConnection {
            boots: power.boots,
            since: Instant::now(),
        })
    }

    /// The status of the answer; `None`: the connection is of an earlier boot. Without power there is no answer, ever.
    pub(super) async fn ask(self: &Arc<Self>, pooled: &PooledConnection) -> Option<u16> {
        self.counts.add(What::Request);
        let power = *self.power.borrow();
        if !power.on {
            std::future::pending::<()>().await;
        }
        if power.boots != pooled.boots {
            sleep(self.kind.round_trip).await;
            return None;
        }
        if self.busy.load(Ordering::Relaxed) >= self.kind.capacity * REFUSES_FROM {
            self.counts.add(What::Refused);
            sleep(self.kind.round_trip).await;
            return Some(503);
        }
        let busy = self.enter();
        if self.works(self.kind.think).await.is_err() {
            drop(busy);
            std::future::pending::<()>().await;
        }
        Some(200)
    }

    /// A body's bytes; an error says what is left of the time that they take without load.
    pub(super) async fn transfer(self: &Arc<Self>, left: Duration) -> Result<(), Duration> {
        let _busy = self.enter();
        sleep(self.kind.round_trip).await;
        self.works(left).await
    }

    async fn works(&self, alone: Duration) -> Result<(), Duration> {
        let (began, slower) = (Instant::now(), self.slowdown());
        let mut power = self.power.subscribe();
        tokio::select! {
            biased;
            _ = power.wait_for(|power| !power.on) => {
                Err(alone.saturating_sub(began.elapsed().div_f64(slower)))
            }
            () = sleep(alone.mul_f64(slower)) => Ok(()),
        }
    }

    fn slowdown(&self) -> f64 {
        let busy = f64::from(self.busy.load(Ordering::Relaxed));
        (busy / f64::from(self.kind.capacity)).max(1.0)
    }

    fn enter(self: &Arc<Self>) -> Busy {
        let busy = self.busy.fetch_add(1, Ordering::Relaxed) + 1;
        self.counts.reaches(busy);
        Busy(self.clone())
    }
}
