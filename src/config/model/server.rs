//! `[server]`: the listeners, and who may use them.

use super::Secret;
use std::net::SocketAddr;
use std::sync::Arc;

/// `[server]`: the listeners.
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    /// Where containerd is served. Loopback only unless `allow_non_loopback`.
    pub listen: Vec<SocketAddr>,
    /// Where people and monitors are served; always loopback.
    pub admin: Option<SocketAddr>,
    /// A listener that serves `/metrics` and nothing else, for scrapers on other hosts.
    pub metrics: Option<SocketAddr>,
    /// A non-loopback `listen` is wanted.
    pub allow_non_loopback: bool,
    /// The value that containerd must send, for shared nodes (design S6).
    pub require_header: Option<Secret>,
    /// Whoever shows it to the admin endpoint sees names of images.
    pub admin_token: Option<Secret>,
    /// For clients on other machines: `[server.gateway]`.
    pub gateway: Option<Gateway>,
}

/// `[server.gateway]`: where clients on other machines are served, over TLS.
#[derive(Clone, Debug, PartialEq)]
pub struct Gateway {
    /// Where it listens; the certificate is the same at all of them.
    pub listen: Vec<SocketAddr>,
    /// The certificate with its chain, as PEM.
    pub chain: Arc<[u8]>,
    /// The certificate's key, as PEM.
    pub key: Secret,
}

// === impl Server ===

impl Server {
    /// The registry endpoint's addresses, those of the gateway last.
    pub fn all_listen(&self) -> impl Iterator<Item = SocketAddr> {
        let gateway = self.gateway.iter().flat_map(|gateway| &gateway.listen);
        self.listen.iter().chain(gateway).copied()
    }
}
