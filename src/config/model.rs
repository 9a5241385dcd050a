//! The checked, immutable configuration. Every relation between values has been checked; secrets have been
//! read and are redacted wherever they are shown.

mod bandwidth;
mod node;
mod otel;
mod router;
mod server;

pub use bandwidth::{Bandwidth, BandwidthPeriod, DAY};
pub use node::{Existing, Fallback, Node, Runtime};
pub use otel::{Otel, OtelProtocol};
pub use router::{Redis, Router};
pub use server::{Gateway, Server};

pub use super::secret::Secret;
pub use super::url::{BaseUrl, HostPort};

use crate::oci::{RegistryName, Repository};
use crate::printable::words;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Everything the daemon is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Listeners and who may use them: `[server]`.
    pub server: Server,
    /// `[[tier]]`, in order of preference; removed ones are gone.
    pub tiers: Vec<Arc<Tier>>,
    /// `[[registry]]`, built-in ones included; removed ones are gone.
    pub registries: Vec<Arc<Registry>>,
    /// How bytes are proved: `[relay]`.
    pub relay: Relay,
    /// What a tier's policy answer means: `[failover]`.
    pub failover: Failover,
    /// Manifests that are kept for an outage of all sources: `[stale]`.
    pub stale: Stale,
    /// Name servers and limits of TTLs: `[dns]`.
    pub dns: Dns,
    /// Limits of time on the pull path: `[timeouts]`.
    pub timeouts: Timeouts,
    /// Limits of number and size: `[limits]`.
    pub limits: Limits,
    /// Of the blobs of all sources together: `limits.bandwidth`.
    pub bandwidth: Bandwidth,
    /// Of the blobs of all registries that are asked directly: `direct.bandwidth`.
    pub direct_bandwidth: Bandwidth,
    /// `[node]`: parsed and checked, acted on by the node-file commands.
    pub node: Node,
    /// What is logged: `[log]`.
    pub log: Log,
    /// Images that name no registry: `[router]`.
    pub router: Option<Arc<Router>>,
    /// Where traces of requests go: `[otel]`.
    pub otel: Option<Arc<Otel>>,
    /// Where state is kept: `/var/lib/harbor-pilot` unless `[state] directory` says otherwise.
    pub state_directory: PathBuf,
    /// Files that were read beside the configuration itself (certificates, passwords): a change of one
    /// means "load again".
    pub watched_files: Vec<PathBuf>,
}

/// One `[[tier]]`: a group of Harbor (or other mirror) servers behind one name.
#[derive(Clone, Debug, PartialEq)]
pub struct Tier {
    /// Unique name, used in logs and metrics; never `upstream`.
    pub name: Arc<str>,
    /// How registries are written into its paths.
    pub kind: TierKind,
    /// Scheme, name and port that its addresses are dialled under, and the path in front of `/v2/`.
    pub url: BaseUrl,
    /// Registry → project path (may hold slashes), for every registry that it serves. Empty for mirrors.
    pub projects: BTreeMap<RegistryName, String>,
    /// What a mirror serves; for the other kinds the keys of `projects`.
    pub registries: RegistrySet,
    /// Image registries that stand for this tier (design P1).
    pub names: Vec<RegistryName>,
    /// Its own upstream is another Harbor.
    pub cascade: bool,
    /// containerd may be pointed at it while the agent is down.
    pub in_file: bool,
    /// How TLS is verified.
    pub tls: Tls,
    /// The account that tokens are fetched for; none: anonymous.
    pub credential: Option<Credential>,
    /// The HTTP proxy in front of it; none: dialled directly.
    pub proxy: Option<Proxy>,
    /// How its addresses are probed.
    pub probe: Probe,
    /// Whether it is asked for its projects; `projects` holds the written ones alone then.
    pub discovery: Option<ProjectDiscovery>,
    /// The limit for blobs that come from it.
    pub bandwidth: Bandwidth,
}

/// `[tier.discovery]`: a Harbor is asked which proxy-cache projects it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectDiscovery {
    /// Between two discoveries, before jitter.
    pub interval: Duration,
    /// `registries` of the tier: those alone are taken from what is found.
    pub registries: RegistrySet,
}

words! {
    /// `kind` of a tier.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum TierKind {
        /// Rewrites to the proxy-cache project and knows Harbor's manners.
        Harbor = "harbor",
        /// The same rewriting for other registries.
        Path = "path",
        /// The path is kept and `?ns=` passed on.
        Mirror = "mirror",
    }
}

/// The registries of a mirror.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistrySet {
    /// Every registry: `["*"]`.
    All,
    /// These registries alone.
    Some(Vec<RegistryName>),
}

/// One `[[registry]]`: a registry whose images are served.
#[derive(Clone, Debug, PartialEq)]
pub struct Registry {
    /// The namespace that containerd asks for.
    pub name: RegistryName,
    /// Where the real registry is.
    pub upstream: BaseUrl,
    /// May be asked directly. Already `false` where `[direct] enabled = false`.
    pub direct: bool,
    /// Repositories that go straight to upstream (globs with `*`).
    pub bypass: Vec<String>,
    /// Repositories left to containerd (globs with `*`).
    pub private: Vec<String>,
    /// How TLS is verified.
    pub tls: Tls,
    /// The account that tokens are fetched for; none: anonymous.
    pub credential: Option<Credential>,
    /// The HTTP proxy in front of it; none: dialled directly. NO_PROXY has been applied.
    pub proxy: Option<Proxy>,
}

/// TLS settings of one source; empty: the system's roots.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tls {
    /// PEM, beside the system's roots.
    pub ca: Option<Arc<[u8]>>,
    /// PEM of certificate chain and key.
    pub client: Option<(Arc<[u8]>, Secret)>,
    /// Certificates are not checked at all. Shown by status and doctor.
    pub insecure_skip_verify: bool,
}

/// A name and a secret.
#[derive(Clone, Debug, PartialEq)]
pub struct Credential {
    /// As the registry knows it; a robot's `$` is literal.
    pub username: String,
    /// Its password or token.
    pub password: Secret,
}

/// An HTTP proxy, reached by CONNECT (https sources) or absolute-form requests (http sources).
#[derive(Clone, Debug, PartialEq)]
pub struct Proxy {
    /// Where it is; only http proxies are spoken to.
    pub url: BaseUrl,
    /// From the URL's userinfo.
    pub credential: Option<Credential>,
}

/// `[tier.health]`: how the addresses of a tier are probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Which request a probe is.
    pub kind: ProbeKind,
    /// Between probes of a healthy address, before jitter.
    pub interval: Duration,
    /// A probe without an answer by then has failed.
    pub timeout: Duration,
}

words! {
    /// What a probe asks.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum ProbeKind {
        /// `GET /api/v2.0/health`, reading its JSON.
        Harbor = "harbor",
        /// `GET /v2/`: 200 and 401 mean alive.
        V2 = "v2",
        /// `harbor` (kind harbor) or `v2` (others), plus port 1337 as an extra signal that only lowers preference.
        Port = "port",
        /// No probes: health follows from requests alone.
        None = "none",
    }
}

/// `[relay]`: how bytes are proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relay {
    /// Which blobs are hashed.
    pub verify: Verify,
}

words! {
    /// `verify`: which blobs are hashed while they stream (design P8).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Verify {
        /// Every blob that is served from its first byte to its last.
        Always = "always",
        /// Only what came without a length, or is asked for again soon: containerd finds the rest at commit.
        Suspect = "suspect",
    }
}

/// `[failover]`: when the next source is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failover {
    /// What a 412/403 of a tier means.
    pub harbor_policy: HarborPolicy,
}

words! {
    /// `harbor_policy`: what a denial by a tier's policy (vulnerabilities, signatures, quota) means.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum HarborPolicy {
        /// Ask the next tier.
        Next = "next",
        /// The search ends with 404.
        Final = "final",
    }
}

/// `[stale]`: manifests that are kept for an outage of all sources (design P11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stale {
    /// Whether manifests are kept for a total outage.
    pub enabled: bool,
    /// A copy older than this is not answered.
    pub max_age: Duration,
    /// All copies together, in bytes as the disk counts them.
    pub max_bytes: u64,
}

/// `[dns]`: how names are looked up (design H1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dns {
    /// Name servers; empty: those of /etc/resolv.conf.
    pub nameservers: Vec<SocketAddr>,
    /// Lower limit of a record's life.
    pub min_ttl: Duration,
    /// Upper limit of a record's life.
    pub max_ttl: Duration,
}

/// `[timeouts]`: the clock of P6; the defaults are the design's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// The next candidate's connect joins after this (250 ms).
    pub connect_race: Duration,
    /// A connect ends after this (2.5 s).
    pub connect: Duration,
    /// A TLS handshake ends after this (3 s).
    pub tls: Duration,
    /// An attempt without a first byte is left after this while another candidate is left (4 s).
    pub first_byte: Duration,
    /// Upstream joins for a manifest after this (3 s).
    pub upstream_joins: Duration,
    /// Until the first byte, over all attempts (20 s).
    pub total: Duration,
    /// No byte for this long while one was wanted is a stall (2 s).
    pub stall: Duration,
    /// The floor of `limits.floor_bytes_per_second` is judged over this much waiting (10 s).
    pub floor_window: Duration,
    /// A client that takes no byte for this long while some wait for it is ended (60 s).
    pub client: Duration,
    /// Keep-alive idle of client connections (75 s).
    pub client_idle: Duration,
    /// How long bodies may run on at a stop (3 s).
    pub drain: Duration,
}

/// `[limits]`: numbers and sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections of clients to the registry endpoint at once (512).
    pub connections: usize,
    /// Requests at once from which an address counts as loaded (16).
    pub loaded: u32,
    /// Requests at once per address, exceeded only where every address is full (64).
    pub per_address: u32,
    /// Manifest size in bytes (4 MiB).
    pub manifest_bytes: u64,
    /// Bytes of all that waits in memory (64 MiB).
    pub memory: u64,
    /// A blob's source below this many bytes per second is exchanged if another answers; 0: never (16 KiB).
    pub floor_bytes_per_second: u64,
}

/// `[log]`: what is logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// tracing filter syntax, such as `info` or `harbor_pilot=debug`.
    pub filter: String,
}

// === impl Config ===

impl Config {
    /// The registry of that name.
    #[must_use]
    pub fn registry(&self, name: &RegistryName) -> Option<&Arc<Registry>> {
        self.registries
            .iter()
            .find(|registry| registry.name == *name)
    }
}

// === impl Tier ===

impl Tier {
    /// Whether this tier may be asked for anything of `registry`.
    #[must_use]
    pub fn serves(&self, registry: &RegistryName) -> bool {
        self.registries.contains(registry)
    }
}

// === impl Registry ===

impl Registry {
    /// Whether the repository goes straight to upstream.
    #[must_use]
    pub fn bypasses(&self, repository: &Repository) -> bool {
        self.direct && repository.matches_any(&self.bypass)
    }

    /// Whether the repository is left to containerd.
    #[must_use]
    pub fn is_private(&self, repository: &Repository) -> bool {
        repository.matches_any(&self.private)
    }
}
