//! Fake registries as the agent's sources, and names that lead to loopback.

use super::registry::FakeRegistry;
use harbor_pilot::auth::{Lookup, LookupResult};
use harbor_pilot::config::{Credential, Probe, ProbeKind, Secret, Timeouts, Tls};
use harbor_pilot::discovery::LookupError;
use harbor_pilot::topology::{EndpointId, Source, SourceId, SourceKind};
use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Mutex;
use std::time::Duration;

/// The registry as a source of this kind: tiers by name, upstreams by registry.
pub fn source(kind: SourceKind, name: &str, registry: &FakeRegistry) -> Source {
    let id = match kind {
        SourceKind::Upstream => SourceId::Upstream(name.parse().unwrap()),
        _ => SourceId::Tier(name.into()),
    };
    Source {
        id,
        kind,
        url: registry.source_url(),
        tls: Tls::default(),
        credential: None,
        proxy: None,
        probe: Probe {
            kind: ProbeKind::None,
            interval: Duration::from_secs(60),
            timeout: Duration::from_secs(3),
        },
    }
}

/// For `Source::credential`.
pub fn credential(username: &str, password: &str) -> Option<Credential> {
    Some(Credential {
        username: username.to_owned(),
        password: Secret::new(password),
    })
}

/// The registry's address as an endpoint of the source.
pub fn endpoint(source: &Source, registry: &FakeRegistry) -> EndpointId {
    EndpointId {
        source: source.id.clone(),
        address: registry.addr,
    }
}

/// DNS for the hosts that sources name.
#[derive(Default)]
pub struct Names {
    of: Mutex<HashMap<String, Vec<IpAddr>>>,
    asked: Mutex<Vec<String>>,
}

impl Names {
    pub fn set(&self, host: &str, addresses: &[&str]) {
        let addresses = addresses.iter().map(|text| text.parse().unwrap());
        let mut of = self.of.lock().unwrap();
        of.insert(host.to_owned(), addresses.collect());
    }

    /// What was looked up so far.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Lookup for Names {
    fn lookup<'a>(
        &'a self,
        host: &'a str,
    ) -> Pin<Box<dyn Future<Output = LookupResult> + Send + 'a>> {
        self.asked.lock().unwrap().push(host.to_owned());
        let found = self.of.lock().unwrap().get(host).cloned();
        let answer = found.ok_or_else(|| LookupError {
            host: host.to_owned(),
            reason: "no such name".to_owned(),
        });
        Box::pin(async move { answer })
    }
}

/// The design's limits (P6).
pub fn timeouts() -> Timeouts {
    Timeouts {
        connect_race: Duration::from_millis(250),
        connect: Duration::from_millis(2500),
        tls: Duration::from_secs(3),
        first_byte: Duration::from_secs(4),
        upstream_joins: Duration::from_secs(3),
        total: Duration::from_secs(20),
        stall: Duration::from_secs(2),
        floor_window: Duration::from_secs(10),
        client: Duration::from_secs(60),
        client_idle: Duration::from_secs(75),
        drain: Duration::from_secs(3),
    }
}
