//! The order of candidates, and that nobody is ever left without one.

mod strand;

use super::*;
use crate::config::{BaseUrl, Probe, ProbeKind, Tls};
use crate::topology::{Source, SourceKind};
use std::sync::Arc;
use std::time::Duration;

fn candidate(name: &str, last: u8, is_healthy: bool) -> Candidate {
    let id = match name {
        "upstream" => SourceId::Upstream("docker.io".parse().unwrap()),
        tier => SourceId::Tier(tier.into()),
    };
    let source = Source {
        id: id.clone(),
        kind: SourceKind::Harbor,
        url: BaseUrl {
            https: false,
            host: "replica.example.com".to_owned(),
            port: 80,
            prefix: String::new(),
        },
        tls: Tls {
            ca: None,
            client: None,
            insecure_skip_verify: false,
        },
        credential: None,
        proxy: None,
        probe: Probe {
            kind: ProbeKind::None,
            interval: Duration::from_secs(60),
            timeout: Duration::from_secs(3),
        },
    };
    Candidate {
        endpoint: EndpointId {
            source: id,
            address: std::net::SocketAddr::from(([192, 0, 2, last], 80)),
        },
        source: Arc::new(source),
        gauges: Arc::default(),
        leg: 0,
        is_healthy,
        is_loaded: false,
        is_last: false,
    }
}

#[test]
fn the_silent_stand_behind_those_who_are_well_and_before_upstream() {
    let all = vec![
        candidate("replica", 1, true),
        candidate("replica", 2, true),
        candidate("core", 3, true),
        candidate("upstream", 4, true),
        candidate("upstream", 5, true),
        candidate("core", 6, false),
    ];
    let last = |candidate: &Candidate| match candidate.endpoint.address {
        std::net::SocketAddr::V4(v4) => v4.ip().octets()[3],
        std::net::SocketAddr::V6(_) => 0,
    };
    let table: [(&[u8], &[u8]); 4] = [
        (&[], &[1, 2, 3, 4, 5, 6]),
        (&[1], &[2, 3, 1, 4, 5, 6]),
        (&[1, 2], &[3, 1, 2, 4, 5, 6]),
        (&[4, 6], &[1, 2, 3, 5, 4, 6]),
    ];
    for (silent, due) in table {
        let is_silent = |endpoint: &EndpointId| {
            let mut silent = silent.iter();
            silent.any(|last| {
                endpoint
                    .address
                    .ip()
                    .to_string()
                    .ends_with(&format!(".{last}"))
            })
        };
        let ordered = silent_last(all.clone(), is_silent);
        let order: Vec<u8> = ordered.iter().map(last).collect();
        assert_eq!(order, due, "{silent:?}");
        assert!(
            ordered
                .iter()
                .filter(|c| silent.contains(&last(c)))
                .all(|c| !c.is_healthy),
            "the silent are no hedge"
        );
    }
}
