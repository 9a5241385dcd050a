//! What a registry says of its quota: how much is left, and until when it wants to be left alone. An upstream's quota is one
//! of the node's address and of the whole registry, whichever of the registry's addresses counts it. A tier's 429 for one
//! registry says nothing of what it has of another.

use crate::http1::Fields;
use crate::lifecycle::deadline;
use crate::oci::RegistryName;
use crate::topology::{EndpointId, SourceId};
use foldhash::HashMap;
use http::header::HeaderName;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Who asked for peace, per source and registry, with each address's end of it. Bounded by the configured sources and the
/// addresses that they have or had: what is over goes whenever something begins.
#[derive(Debug, Default)]
pub(crate) struct CoolDowns {
    ends: Mutex<HashMap<(SourceId, RegistryName), Ends>>,
    /// Somebody has ever asked for peace; until then nobody takes the lock.
    any: AtomicBool,
}

type Ends = HashMap<SocketAddr, Instant>;

/// So many addresses of a tier that ask for peace speak for the tier: it is its proxied registry that limits it.
const SPEAK_FOR_A_TIER: usize = 2;

/// `ratelimit-remaining: 76;w=21600` as Docker Hub sends it with every manifest (harbor-facts 8).
pub(crate) fn remaining(fields: &Fields) -> Option<u64> {
    const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
    let value = fields.text(&REMAINING)?;
    value.split(';').next()?.trim().parse().ok()
}

// === impl CoolDowns ===

impl CoolDowns {
    /// An address said 429 to a request for the registry. A shorter wait does not end a longer one.
    pub(crate) fn begin(
        &self,
        endpoint: &EndpointId,
        registry: &RegistryName,
        wait: Duration,
        now: Instant,
    ) {
        let mut all = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, ends| {
            ends.retain(|_, end| now < *end);
            !ends.is_empty()
        });
        let ends = all.entry((endpoint.source.clone(), registry.clone()));
        let end = ends.or_default().entry(endpoint.address).or_insert(now);
        *end = (*end).max(deadline(now, wait));
        self.any.store(true, Ordering::Release);
    }

    /// Whether the address is to be left alone with requests for the registry, as long as there is anybody else: it asked for
    /// that, or its upstream, or its tier by two addresses.
    pub(crate) fn holds(
        &self,
        endpoint: &EndpointId,
        registry: &RegistryName,
        now: Instant,
    ) -> bool {
        if !self.any.load(Ordering::Acquire) {
            return false;
        }
        let all = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(ends) = all.get(&(endpoint.source.clone(), registry.clone())) else {
            return false;
        };
        let holding = ends.values().filter(|end| now < **end).count();
        let speak_for_all = match endpoint.source {
            SourceId::Tier(_) => SPEAK_FOR_A_TIER,
            SourceId::Upstream(_) => 1,
        };
        let own = ends.get(&endpoint.address).is_some_and(|end| now < *end);
        own || holding >= speak_for_all
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
            let fields = Fields::from_iter([("RateLimit-Remaining", value)]);
            assert_eq!(remaining(&fields), due, "{value}");
        }
        assert_eq!(remaining(&Fields::default()), None);
    }

    fn endpoint(source: SourceId, last: u8) -> EndpointId {
        let address = SocketAddr::from(([192, 0, 2, last], 443));
        EndpointId { source, address }
    }

    #[test]
    fn an_upstreams_cool_down_is_of_all_its_addresses_and_ends() {
        let (now, cool_downs) = (Instant::now(), CoolDowns::default());
        let registry: RegistryName = "docker.io".parse().unwrap();
        let of = |last| endpoint(SourceId::Upstream(registry.clone()), last);
        let at = |seconds| now + Duration::from_secs(seconds);
        cool_downs.begin(&of(1), &registry, Duration::from_secs(30), now);
        cool_downs.begin(&of(1), &registry, Duration::from_secs(5), at(1));
        assert!(cool_downs.holds(&of(1), &registry, at(29)));
        assert!(cool_downs.holds(&of(2), &registry, at(29)));
        assert!(!cool_downs.holds(&of(1), &registry, at(30)));
    }

    #[test]
    fn a_tiers_cool_down_is_of_one_registry_and_of_the_tier_when_two_addresses_say_so() {
        let (now, cool_downs) = (Instant::now(), CoolDowns::default());
        let (hub, quay) = ("docker.io".parse().unwrap(), "quay.io".parse().unwrap());
        let of = |last| endpoint(SourceId::Tier("replica".into()), last);
        let core = endpoint(SourceId::Tier("core".into()), 1);
        let at = |seconds| now + Duration::from_secs(seconds);
        cool_downs.begin(&of(1), &hub, Duration::from_secs(30), now);
        assert!(cool_downs.holds(&of(1), &hub, now));
        assert!(!cool_downs.holds(&of(1), &quay, now), "another registry");
        assert!(
            !cool_downs.holds(&of(3), &hub, now),
            "one speaks for itself"
        );
        cool_downs.begin(&of(2), &hub, Duration::from_secs(10), now);
        assert!(
            cool_downs.holds(&of(3), &hub, now),
            "two speak for the tier"
        );
        assert!(!cool_downs.holds(&core, &hub, now), "not for another tier");
        assert!(!cool_downs.holds(&of(3), &hub, at(10)));
        assert!(cool_downs.holds(&of(1), &hub, at(10)));
        cool_downs.begin(&core, &quay, Duration::from_secs(1), at(60));
        assert_eq!(
            cool_downs.ends.lock().unwrap().len(),
            1,
            "what is over is gone"
        );
    }
}
