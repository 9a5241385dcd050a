//! What all clones of a client share, and the sweeping of its idle connections.

use super::egress::OwnListeners;
use super::known::Known;
use super::pool::IdlePool;
use super::pooled::Pooled;
use crate::config::Timeouts;
use crate::lifecycle;
use crate::topology::{EndpointId, Source, SourceId};
use foldhash::HashMap;
use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};
use tokio::time::{Instant, sleep};

/// How often idle connections that grew too old are let go.
const SWEEP: Duration = Duration::from_secs(30);

/// What all clones share.
pub(super) struct Inner {
    state: Mutex<State>,
    sweeping: AtomicBool,
}

/// Everything that changes, under one lock, so that a connection of a source that just changed cannot slip
/// back into the pool. The lock is never held across I/O.
pub(super) struct State {
    pub(super) timeouts: Timeouts,
    pub(super) listeners: OwnListeners,
    pub(super) known: HashMap<SourceId, Arc<Known>>,
    pub(super) idle: IdlePool<Box<Pooled>>,
    /// When the certificate last seen at an endpoint ends.
    pub(super) certificates: BTreeMap<EndpointId, SystemTime>,
}

/// Endpoints whose certificates' ends are known: names that rotate their answers bring ever more addresses.
const CERTIFICATES: usize = 1024;

// === impl Inner ===

impl Inner {
    /// Nothing is known yet.
    pub(super) fn new(timeouts: Timeouts) -> Self {
        Self {
            state: Mutex::new(State {
                timeouts,
                listeners: OwnListeners::default(),
                known: HashMap::default(),
                idle: IdlePool::default(),
                certificates: BTreeMap::new(),
            }),
            sweeping: AtomicBool::new(false),
        }
    }

    /// A panic while the lock was held leaves at worst one connection uncounted: going on is right.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Takes a connection back whose answer has been read to its end, unless its source has changed.
    pub(super) fn put_back(&self, pooled: Box<Pooled>) {
        let now = Instant::now();
        let mut state = self.lock();
        let known = state.known.get(&pooled.known().source.id);
        if known.is_some_and(|known| Arc::ptr_eq(known, pooled.known())) {
            state.idle.put(pooled, now);
        }
    }

    /// The source with its TLS settings. One that `update` has not brought (a connect that was under way during
    /// a reload) gets settings of its own; its connections are not kept.
    pub(super) fn known(&self, source: &Arc<Source>) -> Arc<Known> {
        let found = self.lock().known.get(&source.id).cloned();
        match found {
            Some(known) if known.is_of(source) => known,
            Some(_) => Known::new(source),
            None => {
                let known = Known::new(source);
                let mut state = self.lock();
                let entry = state.known.entry(source.id.clone());
                let kept = entry.or_insert_with(|| known.clone());
                if kept.is_of(source) {
                    kept.clone()
                } else {
                    known
                }
            }
        }
    }

    /// Starts the sweeping once; it ends with the last clone of the client.
    pub(super) fn sweep_from_now_on(self: &Arc<Self>) {
        if self.sweeping.swap(true, Ordering::Relaxed) {
            return;
        }
        lifecycle::spawn_detached("idle connections", sweep_while_alive(Arc::downgrade(self)));
    }
}

async fn sweep_while_alive(inner: Weak<Inner>) {
    loop {
        sleep(SWEEP).await;
        let Some(inner) = inner.upgrade() else {
            return;
        };
        inner.lock().idle.sweep(Instant::now());
    }
}

// === impl State ===

impl State {
    /// A certificate was accepted at an endpoint.
    pub(super) fn saw_certificate(&mut self, endpoint: &EndpointId, ends: SystemTime) {
        if self.certificates.len() >= CERTIFICATES && !self.certificates.contains_key(endpoint) {
            self.certificates.pop_first();
        }
        self.certificates.insert(endpoint.clone(), ends);
    }
}
