//! What all nodes of a fleet share: the modelled addresses, the images, the configuration, and the counts.

use super::counts::Counts;
use super::site::{Kind, Site, Work};
use crate::budget::Budget;
use crate::config::{Config, Dns, Timeouts};
use crate::discovery::{self, Discovery, EndpointSets, Resolve};
use crate::exchange::Exchanger;
use crate::lifecycle::Tasks;
use crate::metrics::Metrics;
use crate::oci::{Digest, ResourcePath};
use crate::route::{Route, RouteTable};
use crate::telemetry::Journal;
use crate::topology::{EndpointId, EndpointSet, SourceId, Sources};
use crate::upstream::Client;
use std::ops::Range;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

const CONFIG: &str = r#"
[[tier]]
name = "replica"
url = "https://replicas.example.com"
[tier.projects]
"docker.io" = "proxy-docker-io"

[[tier]]
name = "core"
url = "https://core.example.com"
[tier.projects]
"docker.io" = "proxy-docker-io"
"#;

/// Repositories that pods use besides what is rolled out.
const IMAGES: usize = 200;

/// What a pull consists of.
pub(super) struct Image {
    pub(super) route: Arc<Route>,
    pub(super) manifest: Digest,
    pub(super) blobs: Vec<(Digest, Work)>,
}

/// The other ends of the watched values: closed, they would end the task.
struct Open {
    _sources: watch::Sender<Arc<Sources>>,
    _dns: watch::Sender<Dns>,
}

/// What a node's parts are made of and no node uses here.
pub(super) struct Outside {
    pub(super) sources: Arc<Sources>,
    pub(super) sets: Arc<EndpointSets>,
    pub(super) journal: Journal,
    pub(super) metrics: Arc<Metrics>,
    pub(super) client: Client,
    pub(super) exchanger: Exchanger,
    pub(super) discovery: Discovery,
    _open: Open,
}

pub(super) struct World {
    pub(super) config: Arc<Config>,
    pub(super) timeouts: Timeouts,
    pub(super) sites: Vec<Arc<Site>>,
    pub(super) outside: Outside,
    /// What containerd asks for, of all nodes.
    pub(super) requests: Counts,
    /// How often DNS would have been asked.
    pub(super) lookups: AtomicU32,
    images: Vec<Arc<Image>>,
    began: Instant,
    /// By second: how long each request waited for its first byte.
    waits: Mutex<Vec<Vec<Duration>>>,
}

/// SplitMix64.
#[derive(Clone, Copy)]
pub(super) struct Dice(pub(super) u64);

/// No name is looked up: the sets are given.
struct NoNames;

impl Resolve for NoNames {
    async fn resolve(&self, host: &str) -> Result<discovery::Answer, String> {
        Err(format!("{host} is not looked up"))
    }
}

// === impl Dice ===

impl Dice {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 up to 1.
    pub(super) fn fraction(&mut self) -> f64 {
        f64::from(u32::try_from(self.next() >> 32).expect("32 bits")) / 4_294_967_296.0
    }
}

// === impl World ===

impl World {
    /// Three REPLICA addresses, two of CORE and one upstream. Each of the first five can just carry a rollout of one image
    /// over the whole fleet without slowing down: every node asks the same address for it (design H5).
    pub(super) fn new(nodes: u32) -> Arc<Self> {
        let began = Instant::now();
        let config = Arc::new(Config::from_toml(CONFIG).expect("the configuration is valid"));
        let sources = Arc::new(Sources::from_config(&config, 1));
        let tier = |name: &str| SourceId::Tier(name.into());
        let hub = SourceId::Upstream("docker.io".parse().expect("a registry"));
        let table = [
            ("REPLICA a", tier("replica"), [203, 0, 113, 11]),
            ("REPLICA b", tier("replica"), [203, 0, 113, 12]),
            ("REPLICA c", tier("replica"), [203, 0, 113, 13]),
            ("CORE a", tier("core"), [203, 0, 113, 21]),
            ("CORE b", tier("core"), [203, 0, 113, 22]),
            ("upstream", hub, [203, 0, 113, 31]),
        ];
        let millis = Duration::from_millis;
        let sites: Vec<_> = table
            .into_iter()
            .map(|(name, source, address)| {
                let (round_trip, think, layer, capacity) = match name {
                    "upstream" => (millis(40), millis(80), millis(3000), u32::MAX / 8),
                    "CORE a" | "CORE b" => (millis(15), millis(20), millis(1500), nodes / 4),
                    _ => (millis(2), millis(20), millis(1500), nodes / 4),
                };
                let endpoint = EndpointId {
                    source,
                    address: (address, 443).into(),
                };
                Site::new(
                    Kind {
                        name,
                        endpoint,
                        round_trip,
                        think,
                        layer,
                        capacity,
                    },
                    began,
                )
            })
            .collect();
        let outside = Outside::new(&config, &sources, &sites);
        let routes = RouteTable::new(config.clone());
        Arc::new(Self {
            timeouts: config.timeouts,
            images: (0..IMAGES + 10)
                .map(|number| Image::new(&routes, number))
                .collect(),
            config,
            sites,
            outside,
            requests: Counts::new(began),
            lookups: AtomicU32::new(0),
            began,
            waits: Mutex::default(),
        })
    }

    pub(super) fn site(&self, endpoint: &EndpointId) -> Arc<Site> {
        let mut sites = self.sites.iter();
        let site = sites.find(|site| site.kind.endpoint == *endpoint);
        site.expect("every address is modelled").clone()
    }

    pub(super) fn named(&self, name: &str) -> &Arc<Site> {
        let mut sites = self.sites.iter();
        sites
            .find(|site| site.kind.name == name)
            .expect("it is modelled")
    }

    /// One of the images that pods use: a fifth of them is asked for most of the time.
    pub(super) fn image(&self, dice: &mut Dice) -> Arc<Image> {
        let among = if dice.fraction() < 0.7 {
            IMAGES / 5
        } else {
            IMAGES
        };
        let among = u64::try_from(among).expect("it is small");
        self.images[usize::try_from(dice.next() % among).expect("it is small")].clone()
    }

    /// The image of a rollout.
    pub(super) fn rolled_out(&self, number: usize) -> Arc<Image> {
        self.images[IMAGES + number].clone()
    }

    /// A request that came at `began` has got its first byte, or nothing.
    pub(super) fn took(&self, began: Instant) {
        let at = usize::try_from((began - self.began).as_secs()).expect("hours fit");
        let mut waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner);
        if waits.len() <= at {
            waits.resize(at + 1, Vec::new());
        }
        waits[at].push(began.elapsed());
    }

    /// The time to the first byte that so many of a hundred requests of these seconds did not exceed.
    pub(super) fn percentile(&self, hundredth: usize, seconds: &Range<usize>) -> Duration {
        let waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner);
        let all = waits.get(seconds.start..seconds.end.min(waits.len()));
        let mut all: Vec<Duration> = all.unwrap_or_default().iter().flatten().copied().collect();
        all.sort_unstable();
        let at = (all.len() * hundredth).div_ceil(100).saturating_sub(1);
        all.get(at).copied().unwrap_or_default()
    }
}

// === impl Outside ===

impl Outside {
    fn new(config: &Config, sources: &Arc<Sources>, sites: &[Arc<Site>]) -> Self {
        let mut sets = EndpointSets::new();
        for source in sources.all() {
            let of_source = sites.iter().map(|site| &site.kind.endpoint);
            let of_source = of_source.filter(|endpoint| endpoint.source == source.id);
            let dialled = source.dialled();
            let set = EndpointSet {
                of: (dialled.host.clone(), dialled.port),
                addresses: of_source.map(|endpoint| endpoint.address).collect(),
                stale: false,
                // A registry without a modelled address is not to be waited for.
                error: Some("not modelled".into()),
            };
            sets.insert(source.id.clone(), Arc::new(set));
        }
        let (journal, metrics, tasks) = (Journal::discarding(), Arc::default(), Tasks::default());
        let client = Client::new(config.timeouts);
        let (send_none, none) = watch::channel(Arc::default());
        let (send_dns, dns) = watch::channel(config.dns.clone());
        let discovery = Discovery::start_with(
            NoNames,
            none,
            dns,
            std::path::PathBuf::new(),
            journal.clone(),
            Arc::clone(&metrics),
            &tasks,
        );
        let exchanger = Exchanger::new(
            client.clone(),
            Arc::new(discovery.clone()),
            Arc::clone(&metrics),
            &Budget::unlimited(),
        );
        Self {
            sources: sources.clone(),
            sets: Arc::new(sets),
            journal,
            metrics,
            client,
            exchanger,
            discovery,
            _open: Open {
                _sources: send_none,
                _dns: send_dns,
            },
        }
    }
}

// === impl Image ===

impl Image {
    fn new(routes: &RouteTable, number: usize) -> Arc<Self> {
        let path = format!("/v2/team/app-{number}/manifests/1");
        let path = ResourcePath::parse(&path).expect("a path");
        let ResourcePath::Resource { name, kind } = path else {
            panic!("it names a manifest");
        };
        let route = routes.route(Some("docker.io"), &name, &kind);
        let digest = |part: usize| format!("sha256:{:064x}", number * 10 + part + 1);
        let digest = |part| digest(part).parse::<Digest>().expect("a digest");
        Arc::new(Self {
            route: route.expect("it is configured"),
            manifest: digest(0),
            blobs: vec![
                (digest(1), Work::Config),
                (digest(2), Work::Layer),
                (digest(3), Work::Layer),
            ],
        })
    }
}
