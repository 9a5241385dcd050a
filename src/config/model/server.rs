//! `[server]`.

use super::Secret;
use std::net::SocketAddr;

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
}
