//! The one task that speaks to Redis: follows the configuration, finds the master, carries orders out. A pull never waits for it:
//! while it has no master that answers in time nobody is let in.

use super::key::Keys;
use super::link::{Error as LinkError, Link};
use super::order::{Order, Wrong, read, registry};
use super::sentinel;
use super::state::{Gate, RedisState};
use crate::config::{Config, Redis};
use crate::discovery::Discovery;
use crate::lifecycle::{Random, contained, deadline};
use crate::metrics::Metrics;
use crate::printable::printable;
use crate::projects::SharedListing;
use crate::router::mappings::Mappings;
use redis::{Pipeline, Value};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};

/// Longer than this nobody waits for Redis.
pub(super) const PATIENCE: Duration = Duration::from_millis(50);
/// After a failure nobody asks for so long; doubled by each further one.
const REST: Duration = Duration::from_secs(5);
const LONGEST_REST: Duration = Duration::from_secs(60);
/// All sentinels and the master together.
const ATTEMPT: Duration = Duration::from_secs(10);
/// A connection that nobody uses is tried this often, so that no pull has to find out that it is closed.
const IDLE: Duration = Duration::from_secs(30);
/// Orders that go in one exchange.
const AT_ONCE: usize = 64;
/// At the start so many keys are looked at for each question, and so many questions are asked at most.
const PAGE: u32 = 500;
const PAGES: u32 = 100;

/// Why a connection was left.
enum Left {
    /// Another Redis is wanted, or none.
    Config,
    Failed(String),
    /// The agent stops.
    Over,
}

/// What was there at the start is read page by page.
struct Reading {
    cursor: String,
    pages: u32,
}

/// The one task that talks to Redis.
pub(super) struct Task {
    pub(super) config: watch::Receiver<Arc<Config>>,
    pub(super) orders: mpsc::Receiver<Order>,
    /// No pull waits for these: they stay while the master is looked for.
    pub(super) listings: mpsc::Receiver<SharedListing>,
    pub(super) gate: Gate,
    pub(super) state: watch::Sender<Option<RedisState>>,
    pub(super) discovery: Discovery,
    pub(super) mappings: Arc<Mappings>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) random: Random,
}

// === impl Task ===

impl Task {
    /// Runs until whoever sends configurations is gone.
    pub(super) async fn run(mut self) {
        let mut known: Option<Redis> = None;
        let mut reading = None;
        let mut rest = REST;
        loop {
            let redis = self.wanted();
            if redis != known {
                known.clone_from(&redis);
                rest = REST;
                reading = Some(Reading::default());
                self.state
                    .send_replace(redis.as_ref().map(|_| RedisState::default()));
            }
            let Some(redis) = redis else {
                tokio::select! {
                    // Cancel safe: the change stays until it is seen.
                    changed = self.config.changed() => if changed.is_err() {
                        return;
                    },
                    // Cancel safe: one is taken or stays. Nobody is to wait for an answer.
                    Some(_) = self.listings.recv() => {}
                }
                continue;
            };
            let attempt = self.attempt(&redis, &mut reading, &mut rest);
            match contained("router redis", attempt).await {
                Ok(Left::Over) => return,
                Ok(Left::Config) => continue,
                Ok(Left::Failed(why)) => self.failed(&why),
                // A bug costs what is shared, until the next attempt, and never the agent.
                Err(panicked) => {
                    self.gate.close();
                    self.failed(&panicked.to_string());
                }
            }
            if self.rested(rest, &redis).await.is_err() {
                return;
            }
            rest = rest.saturating_mul(2).min(LONGEST_REST);
        }
    }

    fn wanted(&mut self) -> Option<Redis> {
        let config = self.config.borrow_and_update();
        config.router.as_ref()?.redis.clone()
    }

    async fn attempt(
        &mut self,
        redis: &Redis,
        reading: &mut Option<Reading>,
        rest: &mut Duration,
    ) -> Left {
        let found = timeout(ATTEMPT, sentinel::master(redis, &self.discovery)).await;
        let mut link = match found {
            Ok(Ok(link)) => link,
            Ok(Err(error)) => return Left::Failed(error.to_string()),
            Err(_) => {
                let seconds = ATTEMPT.as_secs();
                return Left::Failed(format!("the sentinels took longer than {seconds} s"));
            }
        };
        // Pulls do not ask a slow Redis, even where it answers.
        if let Err(error) = link.ask(&["PING"], PATIENCE).await {
            return Left::Failed(error.to_string());
        }
        *rest = REST;
        self.connected(&link);
        self.gate.open();
        let left = self.serve(&mut link, redis, reading).await;
        self.gate.close();
        left
    }

    async fn serve(
        &mut self,
        link: &mut Link,
        redis: &Redis,
        reading: &mut Option<Reading>,
    ) -> Left {
        let keys = Keys::new(&redis.key_prefix);
        let mut orders = Vec::with_capacity(AT_ONCE);
        let mut idle = deadline(Instant::now(), IDLE);
        loop {
            let done = tokio::select! {
                biased;
                // Cancel safe: the change stays until it is seen.
                changed = self.config.changed() => match changed {
                    Err(_) => return Left::Over,
                    Ok(()) if self.wanted().as_ref() != Some(redis) => return Left::Config,
                    Ok(()) => continue,
                },
                // Cancel safe: either some are taken, or none.
                count = self.orders.recv_many(&mut orders, AT_ONCE) => match count {
                    0 => return Left::Over,
                    _ => self.carry_out(link, &keys, &mut orders).await,
                },
                // Cancel safe: one is taken or stays.
                Some(listing) = self.listings.recv() => {
                    orders.push(Order::Listing(listing));
                    self.carry_out(link, &keys, &mut orders).await
                }
                // Cancel safe: it ends once, and the connection is left then.
                error = link.closed() => Err(error),
                // Cancel safe: it only waits.
                () = sleep_until(idle) => link.ask(&["PING"], PATIENCE).await.map(|_| ()),
                // Cancel safe: it is there at once, when nothing else is.
                () = std::future::ready(()), if reading.is_some() => {
                    // A page that fails is not tried again: what is in it is asked for when it is wanted.
                    match reading.take() {
                        Some(one) => self.read_page(link, &keys, one).await.map(|next| *reading = next),
                        None => Ok(()),
                    }
                }
            };
            idle = deadline(Instant::now(), IDLE);
            if let Err(error) = done {
                return Left::Failed(error.to_string());
            }
            if !self.gate.is_open() {
                let ms = PATIENCE.as_millis();
                return Left::Failed(format!(
                    "{}: a pull waited {ms} ms without an answer",
                    link.address
                ));
            }
        }
    }

    /// Carries all of them out in one exchange.
    async fn carry_out(
        &self,
        link: &mut Link,
        keys: &Keys,
        orders: &mut Vec<Order>,
    ) -> Result<(), LinkError> {
        let mut pipeline = Pipeline::new();
        let wanted = orders.drain(..).filter(Order::is_wanted);
        let counted: Vec<(Order, usize)> = wanted
            .map(|order| {
                let count = order.add_to(&mut pipeline, keys);
                (order, count)
            })
            .collect();
        let count = counted.iter().map(|(_, count)| *count).sum();
        if count == 0 {
            return Ok(());
        }
        let values = link.exchange(&pipeline, count, PATIENCE).await?;
        let mut values = values.as_slice();
        let mut result = Ok(());
        for (order, count) in counted {
            let (own, others) = values.split_at_checked(count).unwrap_or((values, &[]));
            values = others;
            match order.answered(own, keys) {
                Ok(()) => {}
                Err(wrong) if wrong.is_unfit => {
                    result = Err(LinkError::Says(link.address, wrong.what));
                }
                Err(wrong) => self.wrong(&wrong),
            }
        }
        result
    }

    /// Takes in what others have found, as far as it is not known and there is room. Returns where to go on.
    async fn read_page(
        &self,
        link: &mut Link,
        keys: &Keys,
        reading: Reading,
    ) -> Result<Option<Reading>, LinkError> {
        let (all, count) = (keys.all_places(), PAGE.to_string());
        let question = ["SCAN", &reading.cursor, "MATCH", &all, "COUNT", &count];
        let page = link.ask(&question, PATIENCE).await?;
        let Some((cursor, found)) = page_of(&page) else {
            return Ok(None);
        };
        let is_ours = |key: &String| keys.wanted(key).is_some();
        let found: Vec<String> = found.into_iter().filter(is_ours).collect();
        let mut has_room = true;
        if !found.is_empty() {
            let mut pipeline = Pipeline::new();
            for key in &found {
                read(&mut pipeline, key);
            }
            let values = link.exchange(&pipeline, found.len(), PATIENCE).await?;
            let config = self.config.borrow().clone();
            for (value, key) in values.iter().zip(found) {
                let Some(wanted) = keys.wanted(&key) else {
                    continue;
                };
                match registry(value, key) {
                    Ok(Some(registry)) if config.registry(&registry).is_some() => {
                        has_room &= self.mappings.told(&wanted, &registry, Instant::now());
                    }
                    Ok(_) => {}
                    Err(wrong) => self.wrong(&wrong),
                }
            }
        }
        let pages = reading.pages.saturating_add(1);
        let goes_on = has_room && cursor != "0" && pages < PAGES;
        Ok(goes_on.then_some(Reading { cursor, pages }))
    }

    /// Nobody asks meanwhile; `Err`: the agent ends.
    async fn rested(
        &mut self,
        rest: Duration,
        redis: &Redis,
    ) -> Result<(), watch::error::RecvError> {
        // Longer and never shorter: a fleet does not come back at once.
        let rest = rest.mul_f64(1.0 + self.random.fraction() / 2.0);
        let until = deadline(Instant::now(), rest);
        loop {
            tokio::select! {
                // Cancel safe: the change stays until it is seen.
                changed = self.config.changed() => {
                    changed?;
                    if self.wanted().as_ref() != Some(redis) {
                        return Ok(());
                    }
                }
                // Cancel safe: one is taken or stays. Nobody is to wait for an answer.
                Some(_) = self.listings.recv() => {}
                // Cancel safe: it only waits.
                () = sleep_until(until) => break,
            }
        }
        // What was ordered at the last moment is nobody's any more.
        while self.orders.try_recv().is_ok() {}
        Ok(())
    }

    fn connected(&self, link: &Link) {
        let address = link.address.to_string();
        tracing::info!("[router.redis]: the master is {address}");
        self.change(|state| {
            state.master = Some(address);
            state.error = None;
        });
    }

    fn failed(&self, why: &str) {
        let is_news = self
            .state
            .borrow()
            .as_ref()
            .is_none_or(|state| state.master.is_some() || state.error.as_deref() != Some(why));
        if is_news {
            tracing::warn!("[router.redis]: {why}. Images are found without it");
        }
        self.metrics.router_redis_error();
        self.change(|state| {
            state.master = None;
            state.errors = state.errors.saturating_add(1);
            state.error = Some(why.to_owned());
        });
    }

    /// The connection is good all the same.
    fn wrong(&self, wrong: &Wrong) {
        tracing::debug!("[router.redis]: {}: {wrong}", printable(&wrong.key));
        self.metrics.router_redis_error();
        self.change(|state| {
            state.errors = state.errors.saturating_add(1);
            state.error = Some(wrong.to_string());
        });
    }

    fn change(&self, change: impl FnOnce(&mut RedisState)) {
        self.state.send_modify(|state| {
            if let Some(state) = state {
                change(state);
            }
        });
    }
}

// === impl Reading ===

impl Default for Reading {
    fn default() -> Self {
        Self {
            cursor: "0".to_owned(),
            pages: 0,
        }
    }
}

/// The next cursor and the keys of SCAN's answer.
fn page_of(page: &Value) -> Option<(String, Vec<String>)> {
    let text = |value: &Value| match value {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
        _ => None,
    };
    let Value::Array(page) = page else {
        return None;
    };
    let [cursor, Value::Array(keys)] = page.as_slice() else {
        return None;
    };
    Some((text(cursor)?, keys.iter().filter_map(text).collect()))
}
