//! The token cache: one fetch for all who wait, kept under (address, project, credential), renewed early.
//!
//! A fetch runs in a task of its own: a client that goes away does not cancel what others wait for, and a panic
//! there is one failed fetch.

mod entries;
mod refusal;

pub use entries::Refusal;

use super::TokenKey;
use super::plan::TokenPlan;
use crate::budget::Budget;
use crate::cache::Trust;
use crate::lifecycle::{self, deadline};
use crate::metrics::Metrics;
use crate::topology::{EndpointId, Failure, Source};
use entries::{Current, Entries, Entry};
use http::header::HeaderValue;
use parking_lot::Mutex;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;

/// Fetches under way at most. Who needs another one waits, for as long as its client does.
const FETCHES: usize = 256;
/// For one fetch: connect, TLS and answer.
const FETCH_LIMIT: Duration = Duration::from_secs(10);
/// A refusal of the token endpoint is believed for so long, so that a burst asks once.
const DENIAL_LIFE: Duration = Duration::from_secs(10);
/// After a failed renewal the next is tried no sooner.
const RENEWAL_PAUSE: Duration = Duration::from_secs(5);
/// How long it is remembered that a source takes a password as it is.
const BASIC_LIFE: Duration = Duration::from_secs(30 * 60);

/// A token as it was issued.
#[derive(Clone, Debug)]
pub struct Issued {
    /// `Bearer …`, marked sensitive.
    pub authorization: HeaderValue,
    /// How long it is valid from the moment of its issue.
    pub life: Duration,
}

/// Why there is no token.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TokenError {
    /// The token endpoint said no (401, 403).
    #[error("{0}")]
    Denied(String),
    /// It gave no answer that can be used.
    #[error(transparent)]
    Failed(TokenFailure),
}

/// A token fetch without a result.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{doing}")]
pub struct TokenFailure {
    /// For health and metrics.
    pub failure: Failure,
    /// Its token endpoint asks to be left alone for so long (429).
    pub retry_after: Option<Duration>,
    /// What was being done, or all that is known.
    pub doing: String,
    /// What happened, where another error says it.
    pub source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

/// A fetch under way.
pub type Fetching = Pin<Box<dyn Future<Output = Result<Issued, TokenError>> + Send>>;

/// Makes one token fetch.
pub trait FetchToken: Send + Sync {
    /// Starts it. The cache bounds the time.
    fn fetch(&self, plan: Arc<TokenPlan>) -> Fetching;
}

/// The cache. Cheap to clone.
#[derive(Clone)]
pub struct Tokens {
    entries: Arc<Mutex<Entries>>,
    fetch: Arc<dyn FetchToken>,
    fetches: Arc<Semaphore>,
    metrics: Arc<Metrics>,
}

type Landing = Option<Result<HeaderValue, TokenError>>;

/// What there is before a fetch.
enum Known {
    Token(HeaderValue),
    UnderWay(watch::Receiver<Landing>),
    Nothing,
}

/// A fetch under way. Dropped, it clears its mark: its task may have panicked.
struct Flight {
    entries: Arc<Mutex<Entries>>,
    key: TokenKey,
    id: u64,
}

// === impl TokenFailure ===

impl TokenFailure {
    pub(crate) fn new(failure: Failure, doing: impl Into<String>) -> Self {
        Self {
            failure,
            retry_after: None,
            doing: doing.into(),
            source: None,
        }
    }
}

impl From<TokenFailure> for TokenError {
    fn from(failure: TokenFailure) -> Self {
        Self::Failed(failure)
    }
}

// === impl Tokens ===

impl Tokens {
    /// An empty cache that fetches by `fetch`, within this budget.
    #[must_use]
    pub fn new(fetch: Arc<dyn FetchToken>, metrics: Arc<Metrics>, budget: &Budget) -> Self {
        Self {
            entries: Arc::new(Mutex::new(Entries::new(budget))),
            fetches: Arc::new(Semaphore::new(FETCHES)),
            fetch,
            metrics,
        }
    }

    /// What can be sent along with the first request, if anything. From 80 % of its life on a token is renewed in the
    /// background, at `endpoint`, while it is still used.
    #[must_use]
    pub fn present(
        &self,
        key: &TokenKey,
        source: &Source,
        endpoint: &EndpointId,
        trust: Trust,
        now: Instant,
    ) -> Option<HeaderValue> {
        let mut entries = self.entries.lock();
        entries.of.used(key, trust);
        let entry = entries.of.get_mut(key, now)?;
        if !entry.holder.is(source, key.with_credential) {
            return None;
        }
        let current = entry.current.as_mut()?;
        if now >= current.ends_at {
            return None;
        }
        let authorization = current.authorization.clone();
        if now >= current.renew_at && entry.pending.is_none() {
            current.renew_at = deadline(now, RENEWAL_PAUSE);
            let place = self.fetches.clone().try_acquire_owned();
            if let (Some(plan), Ok(place)) = (&current.plan, place) {
                let plan = TokenPlan {
                    endpoint: endpoint.clone(),
                    trust,
                    ..TokenPlan::clone(plan)
                };
                self.launch(&mut entries, key, Arc::new(plan), place);
            }
        }
        Some(authorization)
    }

    /// A token by this plan: the one that somebody else has just fetched or is fetching, or a new one.
    ///
    /// # Errors
    /// [`TokenError::Denied`]: the token endpoint refused. [`TokenError::Failed`]: it gave no usable answer.
    pub async fn obtain(&self, key: &TokenKey, plan: TokenPlan) -> Result<HeaderValue, TokenError> {
        let plan = Arc::new(plan);
        let mut place = None;
        let mut landing = loop {
            match self.known(key, &plan, place)? {
                Known::Token(authorization) => return Ok(authorization),
                Known::UnderWay(landing) => break landing,
                // Cancel safe: who leaves gives up its turn. It is never closed.
                Known::Nothing => place = self.fetches.clone().acquire_owned().await.ok(),
            }
        };
        // Cancel-safe: the fetch runs in its own task.
        let landed = landing.wait_for(Option::is_some).await;
        match landed.as_deref() {
            Ok(Some(result)) => result.clone(),
            // It panicked: its task lets nobody wait otherwise.
            _ => Err(TokenFailure::new(Failure::Internal, "a token fetch that broke off").into()),
        }
    }

    /// What is known already, or the fetch that is under way; with a place for it a new one.
    fn known(
        &self,
        key: &TokenKey,
        plan: &Arc<TokenPlan>,
        place: Option<OwnedSemaphorePermit>,
    ) -> Result<Known, TokenError> {
        let now = Instant::now();
        let mut entries = self.entries.lock();
        let entry = entries.held(key, &plan.source, plan.trust, now);
        let entry = entry.map(|entry| (&entry.current, &entry.denied, &entry.pending));
        match (entry, place) {
            (Some((Some(current), ..)), _) if now < current.ends_at => {
                Ok(Known::Token(current.authorization.clone()))
            }
            (Some((_, Some((until, text)), _)), _) if now < *until => {
                Err(TokenError::Denied(text.clone()))
            }
            (Some((.., Some((_, landing)))), _) => Ok(Known::UnderWay(landing.clone())),
            (_, None) => Ok(Known::Nothing),
            (_, Some(place)) => {
                let landing = self.launch(&mut entries, key, plan.clone(), place);
                Ok(Known::UnderWay(landing))
            }
        }
    }

    /// Drops what has ended.
    pub fn sweep(&self, now: Instant) {
        self.entries.lock().sweep(now);
    }

    /// Remembers that the source took a password as it is, so that the next request brings it along.
    pub fn remember_basic(
        &self,
        key: &TokenKey,
        source: &Source,
        authorization: HeaderValue,
        trust: Trust,
    ) {
        let now = Instant::now();
        let ends_at = deadline(now, BASIC_LIFE);
        let mut entries = self.entries.lock();
        if let Some(entry) = entries.held(key, source, trust, now) {
            entry.current = Some(Current {
                authorization,
                renew_at: ends_at,
                ends_at,
                plan: None,
            });
        }
        entries.weigh(key);
    }

    /// Forgets a token that was refused, unless another one is there by now.
    pub fn forget(&self, key: &TokenKey, refused: &HeaderValue) {
        let mut entries = self.entries.lock();
        if let Some(entry) = entries.of.get_mut(key, Instant::now()) {
            entry
                .current
                .take_if(|current| current.authorization == *refused);
        }
        entries.weigh(key);
    }

    /// Starts a fetch and marks the entry. Where there was no place for one nobody else shares the fetch.
    fn launch(
        &self,
        entries: &mut Entries,
        key: &TokenKey,
        plan: Arc<TokenPlan>,
        place: OwnedSemaphorePermit,
    ) -> watch::Receiver<Landing> {
        let (sender, receiver) = watch::channel(None);
        entries.counter = entries.counter.wrapping_add(1);
        let flight = Flight {
            entries: self.entries.clone(),
            key: key.clone(),
            id: entries.counter,
        };
        if let Some(entry) = entries.of.get_mut(key, Instant::now()) {
            entry.pending = Some((flight.id, receiver.clone()));
        }
        let (fetch, metrics) = (self.fetch.clone(), self.metrics.clone());
        lifecycle::spawn_detached("token-fetch", async move {
            let limited = tokio::time::timeout(FETCH_LIMIT, fetch.fetch(plan.clone())).await;
            let result = limited.unwrap_or_else(|_| {
                let (source, limit) = (&plan.source.id, FETCH_LIMIT.as_secs());
                let what = format!("no token from {source} within {limit} s");
                Err(TokenFailure::new(Failure::Token, what).into())
            });
            let word = match &result {
                Ok(_) => "ok",
                Err(TokenError::Denied(_)) => "denied",
                Err(TokenError::Failed(_)) => "failed",
            };
            metrics.token_fetch(plan.source.id.label(), word);
            let answer = result.as_ref().map(|issued| issued.authorization.clone());
            let answer = answer.map_err(TokenError::clone);
            flight.land(plan, result, Instant::now());
            // Nobody may be waiting any more.
            let _ = sender.send(Some(answer));
            drop(place);
        });
        receiver
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens")
    }
}

// === impl Flight ===

impl Flight {
    /// Takes the result over, unless the entry has gone to another holder meanwhile. A failed renewal leaves the old
    /// token where it is.
    fn land(self, plan: Arc<TokenPlan>, result: Result<Issued, TokenError>, now: Instant) {
        let mut entries = self.entries.lock();
        let Some(entry) = self.entry(&mut entries) else {
            return;
        };
        match result {
            Ok(issued) => {
                entry.current = Some(Current::new(issued, plan, now));
                (entry.denied, entry.useless) = (None, None);
            }
            Err(TokenError::Denied(text)) => {
                entry.denied = Some((deadline(now, DENIAL_LIFE), text))
            }
            Err(TokenError::Failed(_)) => {}
        }
        entry.pending = None;
        entries.weigh(&self.key);
    }

    fn entry<'a>(&self, entries: &'a mut Entries) -> Option<&'a mut Entry> {
        let entry = entries.of.get_mut(&self.key, Instant::now())?;
        let mine = entry.pending.as_ref().is_some_and(|(id, _)| *id == self.id);
        mine.then_some(entry)
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let mut entries = self.entries.lock();
        if let Some(entry) = self.entry(&mut entries) {
            entry.pending = None;
        }
    }
}

#[cfg(test)]
mod tests;
