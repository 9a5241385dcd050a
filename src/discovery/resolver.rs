//! How a name becomes addresses: the trait that the task asks, and the real resolver behind it.
//!
//! The real one asks hickory-resolver with its cache off (the task owns refreshing) and reads /etc/hosts and
//! /etc/resolv.conf again whenever their files changed.

mod files;
#[cfg(test)]
mod tests;

use crate::config;
use files::{HostsFile, ResolvConf};
use futures_util::future::{Either, select};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    NameServerConfig, ProtocolConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RecordType};
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;

/// One try at the servers.
const TRY: Duration = Duration::from_secs(1);

/// Tries after the first.
const RETRIES: usize = 1;

/// One family may be late by this much after the other has answered; then the other is used alone. Some
/// firewalls swallow AAAA queries.
const LATE: Duration = Duration::from_millis(500);

/// Entries of /etc/hosts have no life of their own; looking again costs one `stat`.
const HOSTS_TTL: Duration = Duration::from_secs(30);

/// Turns names into addresses.
pub trait Resolve: Send + Sync + 'static {
    /// All addresses of `host`, or why there are none, for people.
    fn resolve(&self, host: &str) -> impl Future<Output = Result<Answer, String>> + Send;
}

/// The addresses of a name, and how long they may be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// In any order, possibly repeated; never empty.
    pub addresses: Vec<IpAddr>,
    /// The shortest life of the records.
    pub ttl: Duration,
    /// Nothing was learned of this family: its query failed where the other's did not.
    pub unanswered: Option<Family>,
}

/// Which records are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// A records.
    V4,
    /// AAAA records.
    V6,
}

/// hickory-resolver with the system's files or the configured servers.
#[derive(Debug)]
pub struct SystemResolver {
    dns: watch::Receiver<config::Dns>,
    resolv_conf: PathBuf,
    hosts: PathBuf,
    built: Mutex<Option<Arc<Built>>>,
}

/// A resolver and what it was built from.
#[derive(Debug)]
struct Built {
    from: BuiltFrom,
    hosts: HostsFile,
    resolver: TokioResolver,
    /// The same servers over TCP alone.
    over_tcp: TokioResolver,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct BuiltFrom {
    nameservers: Vec<SocketAddr>,
    resolv_conf: Option<Stamp>,
    hosts: Option<Stamp>,
}

/// Tells one content of a file from the next: a rename over it changes the inode, an edit the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    length: u64,
    modified: (i64, i64),
}

// === impl Family ===

impl Family {
    /// Whether the address is of this family.
    #[must_use]
    pub fn has(self, address: IpAddr) -> bool {
        address.is_ipv4() == (self == Self::V4)
    }

    fn record_type(self) -> RecordType {
        match self {
            Self::V4 => RecordType::A,
            Self::V6 => RecordType::AAAA,
        }
    }
}

// === impl SystemResolver ===

impl SystemResolver {
    /// A resolver that follows the configuration and the system's files.
    #[must_use]
    pub fn new(dns: watch::Receiver<config::Dns>) -> Self {
        Self::with_files(dns, "/etc/resolv.conf".into(), "/etc/hosts".into())
    }

    fn with_files(dns: watch::Receiver<config::Dns>, resolv_conf: PathBuf, hosts: PathBuf) -> Self {
        Self {
            dns,
            resolv_conf,
            hosts,
            built: Mutex::new(None),
        }
    }

    /// The resolver of now: built anew when a file or the configured servers changed.
    async fn current(&self) -> Result<Arc<Built>, String> {
        let nameservers = self.dns.borrow().nameservers.clone();
        let resolv_conf = match nameservers.as_slice() {
            [] => stamp(&self.resolv_conf).await,
            _ => None,
        };
        let from = BuiltFrom {
            nameservers,
            resolv_conf,
            hosts: stamp(&self.hosts).await,
        };
        let built = self.built().clone();
        if let Some(built) = built.filter(|built| built.from == from) {
            return Ok(built);
        }
        // Two at once may build two of them; the last stays, both are right.
        let built = Arc::new(self.build(from).await?);
        *self.built() = Some(built.clone());
        Ok(built)
    }

    fn built(&self) -> std::sync::MutexGuard<'_, Option<Arc<Built>>> {
        self.built.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn build(&self, from: BuiltFrom) -> Result<Built, String> {
        let mut hosts = HostsFile::default();
        if from.hosts.is_some() {
            match tokio::fs::read(&self.hosts).await {
                Ok(text) => hosts = HostsFile::read(&text),
                Err(error) => tracing::warn!(path = %self.hosts.display(), %error, "reading hosts"),
            }
        }
        let mut options = ResolverOpts::default();
        let config = if from.nameservers.is_empty() {
            let path = self.resolv_conf.display();
            let text = tokio::fs::read(&self.resolv_conf)
                .await
                .map_err(|error| format!("reading {path}: {error}"))?;
            let read = ResolvConf::read(&text);
            (options.ndots, options.edns0) = (read.ndots, read.edns0);
            read.config
        } else {
            let servers = from.nameservers.iter().map(|address| {
                let mut server = NameServerConfig::udp_and_tcp(address.ip());
                for connection in &mut server.connections {
                    connection.port = address.port();
                }
                server
            });
            ResolverConfig::from_name_servers(servers.collect())
        };
        options.timeout = TRY;
        options.attempts = RETRIES;
        options.cache_size = 0;
        options.use_hosts_file = ResolveHosts::Never;
        let over_tcp = resolver(without_udp(&config), &options)?;
        let resolver = resolver(config, &options)?;
        Ok(Built {
            from,
            hosts,
            resolver,
            over_tcp,
        })
    }
}

fn resolver(config: ResolverConfig, options: &ResolverOpts) -> Result<TokioResolver, String> {
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    *builder.options_mut() = options.clone();
    builder.build().map_err(|error| error.to_string())
}

fn without_udp(config: &ResolverConfig) -> ResolverConfig {
    let mut servers = config.name_servers().to_vec();
    for server in &mut servers {
        let connections = &mut server.connections;
        connections.retain(|connection| !matches!(connection.protocol, ProtocolConfig::Udp));
    }
    let (domain, search) = (config.domain().cloned(), config.search().to_vec());
    ResolverConfig::from_parts(domain, search, servers)
}

impl Resolve for SystemResolver {
    async fn resolve(&self, host: &str) -> Result<Answer, String> {
        // Relaxed: service names and some people's hosts have a `_` inside a label.
        let name =
            Name::from_str_relaxed(host).map_err(|error| format!("not a DNS name: {error}"))?;
        let built = self.current().await?;
        if let Some(answer) = built.in_hosts(host) {
            return Ok(answer);
        }
        let v4 = built.query(name.clone(), Family::V4);
        let v6 = built.query(name, Family::V6);
        let (v4, v6) = both(v4, v6).await;
        combine(v4, v6)
    }
}

async fn stamp(path: &PathBuf) -> Option<Stamp> {
    let metadata = tokio::fs::metadata(path).await.ok()?;
    Some(Stamp {
        inode: metadata.ino(),
        length: metadata.len(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
    })
}

// === impl Built ===

impl Built {
    /// As with `files dns` in nsswitch.conf: a name that stands in the file is not asked for.
    fn in_hosts(&self, host: &str) -> Option<Answer> {
        let addresses = self.hosts.addresses(host);
        (!addresses.is_empty()).then(|| Answer {
            addresses: addresses.to_vec(),
            ttl: HOSTS_TTL,
            unanswered: None,
        })
    }

    /// What the servers say. Where they are silent for one try, or cannot be reached, they are asked over TCP as well: some
    /// firewalls swallow UDP alone.
    async fn ask(&self, name: Name, family: Family) -> Result<Lookup, NetError> {
        let over_tcp = || self.over_tcp.lookup(name.clone(), family.record_type());
        let mut asked = Box::pin(self.resolver.lookup(name.clone(), family.record_type()));
        match timeout(TRY, &mut asked).await {
            Ok(answer) if is_said(&answer) => return answer,
            Ok(_) => return over_tcp().await,
            Err(_) => {}
        }
        match select(asked, Box::pin(over_tcp())).await {
            Either::Left((answer, _)) | Either::Right((answer, _)) if is_said(&answer) => answer,
            Either::Left((_, other)) => other.await,
            Either::Right((_, other)) => other.await,
        }
    }

    /// The addresses of one family and their life; none at all is an answer too.
    async fn query(&self, name: Name, family: Family) -> OfFamily {
        match self.ask(name, family).await {
            Ok(lookup) => {
                let ttl = lookup.answers().iter().map(|record| record.ttl).min();
                let ttl = Duration::from_secs(ttl.unwrap_or_default().into());
                Ok((addresses(&lookup), ttl))
            }
            Err(NetError::Dns(DnsError::NoRecordsFound(none)))
                if none.response_code == ResponseCode::NoError =>
            {
                Ok((Vec::new(), Duration::MAX))
            }
            Err(NetError::Dns(DnsError::NoRecordsFound(none))) => {
                Err(none.response_code.to_string())
            }
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Whether a server has said something, and be it that there is no such name.
fn is_said(answer: &Result<Lookup, NetError>) -> bool {
    matches!(answer, Ok(_) | Err(NetError::Dns(_)))
}

fn addresses(lookup: &Lookup) -> Vec<IpAddr> {
    let records = lookup.answers().iter();
    records.filter_map(|record| record.data.ip_addr()).collect()
}

/// The addresses of one family with their life, or what DNS said.
type OfFamily = Result<(Vec<IpAddr>, Duration), String>;

/// Runs both; once one has addresses the other has [`LATE`] left.
async fn both(
    v4: impl Future<Output = OfFamily>,
    v6: impl Future<Output = OfFamily>,
) -> (OfFamily, OfFamily) {
    let late = |result: Result<OfFamily, _>| result.unwrap_or_else(|_| Err("late".to_owned()));
    let patience = |first: &OfFamily| match first {
        Ok((addresses, _)) if !addresses.is_empty() => LATE,
        _ => TRY.saturating_mul(4),
    };
    tokio::pin!(v4, v6);
    tokio::select! {
        // Both are only dropped with this function: whoever loses is awaited further below.
        first = &mut v4 => {
            let second = timeout(patience(&first), v6).await;
            (first, late(second))
        }
        first = &mut v6 => {
            let second = timeout(patience(&first), v4).await;
            (late(second), first)
        }
    }
}

/// One answer of both families; an error only if neither has an address.
fn combine(v4: OfFamily, v6: OfFamily) -> Result<Answer, String> {
    let (addresses, ttl, unanswered) = match (v4, v6) {
        (Ok((mut addresses, ttl)), Ok((more, other))) => {
            addresses.extend(more);
            (addresses, ttl.min(other), None)
        }
        (Ok((addresses, _)), Err(error)) | (Err(error), Ok((addresses, _)))
            if addresses.is_empty() =>
        {
            return Err(error);
        }
        (Ok((addresses, ttl)), Err(_)) => (addresses, ttl, Some(Family::V6)),
        (Err(_), Ok((addresses, ttl))) => (addresses, ttl, Some(Family::V4)),
        (Err(error), Err(_)) => return Err(error),
    };
    if addresses.is_empty() {
        return Err("the name has no addresses".to_owned());
    }
    Ok(Answer {
        addresses,
        ttl,
        unanswered,
    })
}
