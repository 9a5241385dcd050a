//! Hosts that sources name (redirect targets, token realms): a bounded, single-flight table. Pure but for the
//! reply channels; time and answers are passed in.

#[cfg(test)]
mod tests;

use super::LookupError;
use super::resolver::Answer;
use crate::config::Dns;
use crate::lifecycle::deadline;
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Hosts that are kept; a registry has a handful of realms and storage hosts.
const CAPACITY: usize = 256;

/// Lookups that run at once.
const CONCURRENT: usize = 8;

/// A failure is told to everybody who asks within this time.
const FAILURE_TTL: Duration = Duration::from_secs(1);

/// Addresses outlive their records by this much while DNS fails (RFC 8767).
const SERVE_STALE: Duration = Duration::from_secs(3600);

/// Where an answer goes.
pub(super) type Reply = oneshot::Sender<Result<Vec<IpAddr>, LookupError>>;

#[derive(Debug, Default)]
pub(super) struct NamedHosts {
    hosts: HashMap<String, Host>,
    queue: VecDeque<String>,
    running: usize,
}

#[derive(Debug)]
struct Host {
    result: Result<Vec<IpAddr>, String>,
    fresh_until: Option<Instant>,
    good: Option<(Vec<IpAddr>, Instant)>,
    pending: bool,
    waiting: Vec<Reply>,
    used: Instant,
}

impl NamedHosts {
    /// Somebody wants a host: answered now if it is known, else queued.
    pub(super) fn ask(&mut self, name: String, reply: Reply, now: Instant) {
        if !self.hosts.contains_key(&name) && !self.make_room() {
            let reason = format!("{CAPACITY} other lookups are waiting");
            let _ = reply.send(Err(LookupError { host: name, reason }));
            return;
        }
        let host = self.hosts.entry(name.clone()).or_insert_with(|| Host {
            result: Ok(Vec::new()),
            fresh_until: None,
            good: None,
            pending: false,
            waiting: Vec::new(),
            used: now,
        });
        host.used = now;
        if host.fresh_until.is_some_and(|until| now < until) {
            let _ = reply.send(told(&name, &host.result));
            return;
        }
        host.waiting.push(reply);
        if !std::mem::replace(&mut host.pending, true) {
            self.queue.push_back(name);
        }
    }

    /// The next host to look up now, if there is one and a place.
    pub(super) fn start_next(&mut self) -> Option<String> {
        if self.running >= CONCURRENT {
            return None;
        }
        let next = self.queue.pop_front()?;
        self.running = self.running.saturating_add(1);
        Some(next)
    }

    /// A lookup ended: everybody who waits is told.
    pub(super) fn finished(
        &mut self,
        name: &str,
        result: Result<Answer, String>,
        limits: &Dns,
        now: Instant,
    ) {
        self.running = self.running.saturating_sub(1);
        let Some(host) = self.hosts.get_mut(name) else {
            return;
        };
        let (result, ttl) = match result {
            Ok(answer) => {
                let ttl = answer.ttl.min(limits.max_ttl).max(limits.min_ttl);
                host.good = Some((answer.addresses.clone(), now));
                (Ok(answer.addresses), ttl)
            }
            Err(reason) => match &host.good {
                Some((addresses, at)) if now.saturating_duration_since(*at) < SERVE_STALE => {
                    (Ok(addresses.clone()), FAILURE_TTL)
                }
                _ => (Err(reason), FAILURE_TTL),
            },
        };
        host.result = result;
        host.fresh_until = Some(deadline(now, ttl));
        host.pending = false;
        for reply in host.waiting.drain(..) {
            // Whoever went away needs no answer.
            let _ = reply.send(told(name, &host.result));
        }
    }

    /// Forgets the host that was used longest ago and is not being looked up, if the table is full.
    fn make_room(&mut self) -> bool {
        if self.hosts.len() < CAPACITY {
            return true;
        }
        let idle = self.hosts.iter().filter(|(_, host)| !host.pending);
        let oldest = idle.min_by_key(|(_, host)| host.used);
        match oldest.map(|(name, _)| name.clone()) {
            Some(name) => self.hosts.remove(&name).is_some(),
            None => false,
        }
    }
}

fn told(name: &str, result: &Result<Vec<IpAddr>, String>) -> Result<Vec<IpAddr>, LookupError> {
    result.clone().map_err(|reason| LookupError {
        host: name.to_owned(),
        reason,
    })
}
