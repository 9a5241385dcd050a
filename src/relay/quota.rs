//! What a registry says of its quota: how much is left, and until when it wants to be left alone. A quota is one of the
//! node's address and of the whole registry, whichever of the registry's addresses counts it.

use crate::topology::SourceId;
use hyper::HeaderMap;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Upstreams that asked for peace, with its end. One entry per configured registry at most.
#[derive(Debug, Default)]
pub(crate) struct CoolDowns(Mutex<HashMap<SourceId, Instant>>);

/// `ratelimit-remaining: 76;w=21600` as Docker Hub sends it with every manifest (harbor-facts 8).
pub(crate) fn remaining(headers: &HeaderMap) -> Option<u64> {
    let value = headers.get("ratelimit-remaining")?.to_str().ok()?;
    value.split(';').next()?.trim().parse().ok()
}

// === impl CoolDowns ===

impl CoolDowns {
    /// A source said 429. A shorter wait does not end a longer one.
    pub(crate) fn begin(&self, source: &SourceId, wait: Duration, now: Instant) {
        let mut until = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let end = until.entry(source.clone()).or_insert(now);
        *end = (*end).max(now + wait);
    }

    /// Whether it is to be left alone as long as there is anybody else.
    pub(crate) fn holds(&self, source: &SourceId, now: Instant) -> bool {
        let until = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        until.get(source).is_some_and(|until| now < *until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_read_as_docker_hub_says_it() {
        let table = [
            ("76;w=21600", Some(76)),
            ("0;w=21600", Some(0)),
            (" 99 ", Some(99)),
            ("", None),
            ("-1;w=1", None),
            ("many", None),
        ];
        for (value, due) in table {
            let mut headers = HeaderMap::new();
            headers.insert("ratelimit-remaining", value.parse().unwrap());
            assert_eq!(remaining(&headers), due, "{value}");
        }
        assert_eq!(remaining(&HeaderMap::new()), None);
    }

    #[test]
    fn a_cool_down_is_of_one_registry_and_ends() {
        let (now, cool_downs) = (Instant::now(), CoolDowns::default());
        let upstream = |name: &str| SourceId::Upstream(name.parse().unwrap());
        let (hub, quay) = (upstream("docker.io"), upstream("quay.io"));
        let at = |seconds| now + Duration::from_secs(seconds);
        cool_downs.begin(&hub, Duration::from_secs(30), now);
        cool_downs.begin(&hub, Duration::from_secs(5), at(1));
        assert!(cool_downs.holds(&hub, at(29)));
        assert!(!cool_downs.holds(&hub, at(30)));
        assert!(!cool_downs.holds(&quay, at(1)));
    }
}
