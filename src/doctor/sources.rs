//! What can be seen of the sources from here: their addresses, certificates and clocks, what their health says, and
//! whether they let us pull. Gathers, and judges nothing. Sends what the agent itself would send, and no more.

use crate::auth::{Lookup, LookupResult};
use crate::budget::Budget;
use crate::config::{self, Config, ProbeKind};
use crate::discovery::{LookupError, Resolve, SystemResolver};
use crate::exchange::{Exchanger, SourceRequest};
use crate::health::{HttpProber, Prober as _, Verdict};
use crate::oci::{RegistryName, ResourceKind, ResourcePath, stated_error};
use crate::printable::blanked;
use crate::route::{RouteTable, Target};
use crate::server::doctor_image;
use crate::topology::{EndpointId, Source, SourceId, Sources};
use crate::upstream::{Client, Shown};
use futures_util::future::join_all;
use http::Method;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::watch;
use tokio::time::timeout;

/// For the addresses of one name.
const DNS_LIMIT: Duration = Duration::from_secs(5);
/// For connection, certificate and clock of one address.
const LOOK_LIMIT: Duration = Duration::from_secs(7);
/// For one pull request with its token.
const ASK_LIMIT: Duration = Duration::from_secs(6);
/// Addresses of a tier that are looked at.
const TIER_ADDRESSES: usize = 16;
/// Addresses of an upstream: whether there is a way out at all.
const UPSTREAM_ADDRESSES: usize = 2;
/// Projects of a tier that are tried, at its first address.
const PROJECTS: usize = 12;

/// One source as seen from here.
#[derive(Clone, Debug)]
pub(super) struct SourceFacts {
    pub source: Arc<Source>,
    /// Its addresses as the agent looks them up.
    pub dns: Result<Vec<IpAddr>, String>,
    /// The same by the system's resolver, where `[dns] nameservers` names others.
    pub system: Option<Result<Vec<IpAddr>, String>>,
    /// Each address that was looked at.
    pub endpoints: Vec<EndpointFacts>,
}

#[derive(Clone, Debug)]
pub(super) struct EndpointFacts {
    pub id: EndpointId,
    /// Certificate and clock, or why there was no connection.
    pub shown: Result<Shown, String>,
    /// What its health says; `None`: it was not asked.
    pub probe: Option<Verdict>,
    pub access: Vec<AccessFacts>,
}

/// One pull request: for the manifest of a repository that cannot exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AccessFacts {
    pub registry: RegistryName,
    pub project: String,
    pub answer: Result<AccessAnswer, String>,
}

/// The answer to a pull request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AccessAnswer {
    /// 404 is what is hoped for.
    pub status: u16,
    /// Why a 401 is final.
    pub denied: Option<String>,
    /// The server's own words.
    pub message: String,
}

// === impl SourceFacts ===

impl SourceFacts {
    #[must_use]
    pub(super) fn is_tier(&self) -> bool {
        matches!(self.source.id, SourceId::Tier(_))
    }

    /// For people: `tier replica`, `registry docker.io`.
    #[must_use]
    pub(super) fn name(&self) -> String {
        match &self.source.id {
            SourceId::Tier(name) => format!("tier {name}"),
            SourceId::Upstream(registry) => format!("registry {registry}"),
        }
    }
}

/// Looks at every source, all at once.
pub(super) async fn look(config: &Arc<Config>) -> Vec<SourceFacts> {
    let sources = Sources::from_config(config, 1);
    let client = Client::new(config.timeouts);
    // As the agent itself would say.
    let server = &config.server;
    let own = server
        .all_listen()
        .chain(server.admin)
        .chain(server.metrics);
    client.set_listeners(own.collect());
    // Reads the system's certificates.
    client.update(&sources);
    let looker = Looker::new(config, client);
    join_all(sources.all().map(|source| looker.source(source))).await
}

struct Looker {
    config: Arc<Config>,
    client: Client,
    resolver: Arc<Names>,
    /// The system's, where the configuration names others.
    system: Option<Names>,
    exchanger: Exchanger,
    routes: RouteTable,
}

// === impl Looker ===

impl Looker {
    fn new(config: &Arc<Config>, client: Client) -> Self {
        let resolver = Arc::new(Names::from_config(&config.dns));
        let system = (!config.dns.nameservers.is_empty()).then(|| {
            Names::from_config(&config::Dns {
                nameservers: Vec::new(),
                ..config.dns.clone()
            })
        });
        Self {
            exchanger: Exchanger::new(
                client.clone(),
                resolver.clone(),
                Arc::default(),
                &Budget::unlimited(),
            ),
            routes: RouteTable::new(config.clone()),
            config: config.clone(),
            client,
            resolver,
            system,
        }
    }

    async fn source(&self, source: &Arc<Source>) -> SourceFacts {
        let dialled = source.dialled();
        let system = async {
            match &self.system {
                Some(system) => Some(system.addresses(&dialled.host).await),
                None => None,
            }
        };
        let (dns, system) = tokio::join!(self.resolver.addresses(&dialled.host), system);
        let is_tier = matches!(source.id, SourceId::Tier(_));
        let most = if is_tier {
            TIER_ADDRESSES
        } else {
            UPSTREAM_ADDRESSES
        };
        let addresses = dns.iter().flatten().take(most);
        let looks = addresses.enumerate().map(|(number, ip)| {
            let id = EndpointId {
                source: source.id.clone(),
                address: SocketAddr::new(*ip, dialled.port),
            };
            self.endpoint(source, id, is_tier, number == 0)
        });
        SourceFacts {
            source: source.clone(),
            endpoints: join_all(looks).await,
            dns,
            system,
        }
    }

    async fn endpoint(
        &self,
        source: &Arc<Source>,
        id: EndpointId,
        is_tier: bool,
        first: bool,
    ) -> EndpointFacts {
        let look = self.client.inspect(source, &id, SystemTime::now);
        let shown = match timeout(LOOK_LIMIT, look).await {
            Ok(Ok(shown)) => Ok(shown),
            Ok(Err(error)) => Err(error.detail()),
            Err(_) => Err(format!(
                "no answer of {id} within {} s",
                LOOK_LIMIT.as_secs()
            )),
        };
        let trusted = |shown: &Shown| {
            let fault = shown
                .certificate
                .as_ref()
                .and_then(|one| one.fault.as_ref());
            fault.is_none() || source.tls.insecure_skip_verify
        };
        let (mut probe, mut access) = (None, Vec::new());
        if is_tier && shown.as_ref().is_ok_and(trusted) {
            let most = if first { PROJECTS } else { 1 };
            (probe, access) = tokio::join!(self.probe(source, &id), self.access(source, &id, most));
        }
        EndpointFacts {
            id,
            shown,
            probe,
            access,
        }
    }

    async fn probe(&self, source: &Arc<Source>, id: &EndpointId) -> Option<Verdict> {
        if source.probe.kind == ProbeKind::None {
            return None;
        }
        let prober = HttpProber::new(self.client.clone());
        let probe = timeout(ASK_LIMIT, prober.probe(source, id, None));
        Some(probe.await.ok()?.verdict)
    }

    /// Asks for a manifest of every project: one that cannot exist, so that nothing is fetched for it.
    async fn access(&self, source: &Arc<Source>, id: &EndpointId, most: usize) -> Vec<AccessFacts> {
        let target = format!("/v2/{}/manifests/doctor", doctor_image::REPOSITORY);
        let Ok(ResourcePath::Resource { name, kind }) = ResourcePath::parse(&target) else {
            return Vec::new();
        };
        let mut targets: Vec<(RegistryName, Target)> = Vec::new();
        for registry in &self.config.registries {
            let route = self
                .routes
                .route(Some(registry.name.as_str()), &name, &kind);
            let targets_of = route.map(|route| route.targets.clone()).unwrap_or_default();
            let target = targets_of
                .into_iter()
                .find(|target| target.source == source.id);
            let known = |target: &Target| {
                targets
                    .iter()
                    .any(|(_, other)| other.token_scope == target.token_scope)
            };
            if let Some(target) = target
                && targets.len() < most
                && !known(&target)
            {
                targets.push((registry.name.clone(), target));
            }
        }
        let kind = &kind;
        let asked = targets.into_iter().map(|(registry, target)| async move {
            let asked = timeout(ASK_LIMIT, self.ask(source, id, &target, kind)).await;
            let late = format!("no answer within {} s", ASK_LIMIT.as_secs());
            AccessFacts {
                registry,
                project: target.token_scope.to_string(),
                answer: asked.unwrap_or(Err(late)),
            }
        });
        join_all(asked).await
    }

    async fn ask(
        &self,
        source: &Arc<Source>,
        id: &EndpointId,
        target: &Target,
        kind: &ResourceKind,
    ) -> Result<AccessAnswer, String> {
        // A HEAD would do, and its error would have no words.
        let request = SourceRequest::new(Method::GET, target, kind, "doctor");
        let answer = self.exchanger.ask(source, id, &request).await;
        let answer = answer.map_err(|error| error.detail())?;
        let (status, denied) = (answer.status.as_u16(), answer.denied);
        let body = answer.body.read_to(BODY_BYTES).await.unwrap_or_default();
        let stated = stated_error(&body).map_or_else(String::new, |error| error.message);
        Ok(AccessAnswer {
            status,
            denied,
            message: blanked(&stated).take(160).collect(),
        })
    }
}

/// Of an error's document.
const BODY_BYTES: u64 = 64 * 1024;

/// A resolver as the agent has one.
struct Names(SystemResolver);

// === impl Names ===

impl Names {
    fn from_config(dns: &config::Dns) -> Self {
        // Nothing changes while doctor runs.
        let (_, dns) = watch::channel(dns.clone());
        Self(SystemResolver::new(dns))
    }

    async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, String> {
        if let Ok(address) = host.parse() {
            return Ok(vec![address]);
        }
        let asked = timeout(DNS_LIMIT, self.0.resolve(host)).await;
        let late = || Err(format!("no answer within {} s", DNS_LIMIT.as_secs()));
        let mut addresses = asked.unwrap_or_else(|_| late())?.addresses;
        addresses.sort_unstable();
        addresses.dedup();
        Ok(addresses)
    }
}

impl Lookup for Names {
    fn lookup<'a>(
        &'a self,
        host: &'a str,
    ) -> Pin<Box<dyn Future<Output = LookupResult> + Send + 'a>> {
        Box::pin(async move {
            self.addresses(host).await.map_err(|reason| LookupError {
                host: host.to_owned(),
                reason,
            })
        })
    }
}
