//! How often a client outside this machine may ask (`requests_per_second`), by its address. Pure but for its lock.

use crate::cache::{Bounds, SharedTtlMap, Trust};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;
use tokio::time::Instant;

/// Addresses that are remembered at most.
const ADDRESSES: usize = 4096;
/// Who has not asked for so long has all its requests again.
const FORGOTTEN: Duration = Duration::from_secs(2);
/// A client of IPv6 mostly has a whole network.
const NETWORK: u32 = 64;

/// What clients have left.
#[derive(Debug)]
pub(crate) struct Rates(SharedTtlMap<IpAddr, Left>);

/// Requests, and when that was counted.
#[derive(Clone, Copy, Debug)]
struct Left {
    requests: f64,
    at: Instant,
}

// === impl Rates ===

impl Default for Rates {
    fn default() -> Self {
        Self(SharedTtlMap::new(Bounds::entries(FORGOTTEN, ADDRESSES)))
    }
}

impl Rates {
    /// Whether the client may ask now. It may ask for a second's worth at once.
    pub(crate) fn may_ask(&self, client: IpAddr, per_second: u32, now: Instant) -> bool {
        let (client, full) = (network(client), f64::from(per_second));
        let left = self.0.get(&client, now).map_or(full, |left| {
            let since = now.saturating_duration_since(left.at).as_secs_f64();
            (left.requests + since * full).min(full)
        });
        let may_ask = left >= 1.0;
        let requests = if may_ask { left - 1.0 } else { left };
        let left = Left { requests, at: now };
        self.0.put(client, left, Trust::Trusted, now);
        may_ask
    }
}

/// Which addresses are one client.
pub(crate) fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - NETWORK).unwrap_or_default();
            Ipv6Addr::from(u128::from(address) & mask).into()
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_may_ask_so_often_and_others_do_not_suffer() {
        let (rates, start) = (Rates::default(), Instant::now());
        let client = |text: &str| text.parse::<IpAddr>().unwrap();
        let asks = |of: &str, now| rates.may_ask(client(of), 2, now);
        assert!(asks("192.0.2.7", start) && asks("192.0.2.7", start));
        assert!(!asks("192.0.2.7", start));
        assert!(!asks("::ffff:192.0.2.7", start), "it is the same one");
        assert!(asks("192.0.2.8", start));
        let later = start + Duration::from_millis(500);
        assert!(asks("192.0.2.7", later) && !asks("192.0.2.7", later));
        let rested = start + Duration::from_secs(60);
        assert!(asks("192.0.2.7", rested) && asks("192.0.2.7", rested));
        assert!(!asks("192.0.2.7", rested));
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let (rates, now) = (Rates::default(), Instant::now());
        let asks = |of: &str| rates.may_ask(of.parse().unwrap(), 1, now);
        assert!(asks("2001:db8::1"));
        assert!(!asks("2001:db8::ffff:1"));
        assert!(asks("2001:db8:0:1::1"));
    }
}
