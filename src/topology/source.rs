//! A source: a configured tier, or the direct upstream of one registry.

use crate::config::{BaseUrl, Config, Credential, Probe, ProbeKind, Proxy, TierKind, Tls};
use crate::oci::RegistryName;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Names a source. Two of them never share endpoints' health, even at the same address.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SourceId {
    /// A tier by its configured name.
    Tier(Arc<str>),
    /// The direct upstream of a registry.
    Upstream(RegistryName),
}

/// A source as its peers need it: where it is and how to speak to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// Which source it is, in records, metrics and reports.
    pub id: SourceId,
    /// What kind of registry answers there.
    pub kind: SourceKind,
    /// Scheme, host, port and prefix.
    pub url: BaseUrl,
    /// How TLS is verified.
    pub tls: Tls,
    /// Who we are there.
    pub credential: Option<Credential>,
    /// How to get there.
    pub proxy: Option<Proxy>,
    /// How it is probed; `None` kind for upstreams.
    pub probe: Probe,
}

/// What a source's answers mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// A Harbor, with proxy-cache projects.
    Harbor,
    /// Another registry with a path in front.
    Path,
    /// A mirror that keeps paths and honours `?ns=`.
    Mirror,
    /// The registry itself: the only one whose "not found" and "denied" are final (design P3).
    Upstream,
}

/// All sources of one configuration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sources {
    /// Counts configurations; starts at 1.
    pub generation: u64,
    /// Tiers in order of preference.
    pub tiers: Vec<Arc<Source>>,
    /// The upstream of each registry that may go direct.
    pub upstreams: BTreeMap<RegistryName, Arc<Source>>,
}

// === impl SourceId ===

impl SourceId {
    /// The word for logs and metrics: the tier's name, or `upstream`.
    #[must_use]
    pub fn label(&self) -> &str {
        match self {
            Self::Tier(name) => name,
            Self::Upstream(_) => "upstream",
        }
    }

    /// The label, to be kept.
    #[must_use]
    pub fn shared_label(&self) -> Arc<str> {
        match self {
            Self::Tier(name) => name.clone(),
            Self::Upstream(_) => self.label().into(),
        }
    }
}

impl fmt::Display for SourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tier(name) => f.write_str(name),
            Self::Upstream(registry) => write!(f, "upstream({registry})"),
        }
    }
}

impl fmt::Debug for SourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

// === impl Source ===

impl Source {
    /// The URL whose host is looked up and dialled: the proxy's where there is one.
    #[must_use]
    pub fn dialled(&self) -> &BaseUrl {
        self.proxy.as_ref().map_or(&self.url, |proxy| &proxy.url)
    }
}

// === impl Sources ===

impl Sources {
    /// The sources of a configuration.
    #[must_use]
    pub fn from_config(config: &Config, generation: u64) -> Self {
        let tiers = config.tiers.iter().map(|tier| {
            let kind = match tier.kind {
                TierKind::Harbor => SourceKind::Harbor,
                TierKind::Path => SourceKind::Path,
                TierKind::Mirror => SourceKind::Mirror,
            };
            Arc::new(Source {
                id: SourceId::Tier(tier.name.clone()),
                kind,
                url: tier.url.clone(),
                tls: tier.tls.clone(),
                credential: tier.credential.clone(),
                proxy: tier.proxy.clone(),
                probe: tier.probe,
            })
        });
        let direct = config.registries.iter().filter(|registry| registry.direct);
        let upstreams = direct.map(|registry| {
            let source = Source {
                id: SourceId::Upstream(registry.name.clone()),
                kind: SourceKind::Upstream,
                url: registry.upstream.clone(),
                tls: registry.tls.clone(),
                credential: registry.credential.clone(),
                proxy: registry.proxy.clone(),
                probe: Probe {
                    kind: ProbeKind::None,
                    interval: Duration::from_secs(60),
                    timeout: Duration::from_secs(3),
                },
            };
            (registry.name.clone(), Arc::new(source))
        });
        Self {
            generation,
            tiers: tiers.collect(),
            upstreams: upstreams.collect(),
        }
    }

    /// The source of that name.
    #[must_use]
    pub fn get(&self, id: &SourceId) -> Option<&Arc<Source>> {
        match id {
            SourceId::Tier(_) => self.tiers.iter().find(|source| source.id == *id),
            SourceId::Upstream(registry) => self.upstreams.get(registry),
        }
    }

    /// Tiers, then upstreams.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Source>> {
        self.tiers.iter().chain(self.upstreams.values())
    }
}
