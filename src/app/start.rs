//! What the daemon is started with, and where it then listens.

use crate::admin::Explain;
use crate::admission::Lookup;
use crate::config::Loader;
use crate::lifecycle::{Inherited, Notifier};
use crate::telemetry::Journal;
use std::net::SocketAddr;

/// What the daemon is started with.
#[derive(Debug)]
pub struct Start {
    /// Where the configuration comes from.
    pub loader: Loader,
    /// Takes records and events.
    pub journal: Journal,
    /// Tells systemd; silent where it did not start the agent.
    pub notifier: Notifier,
    /// Listeners that the process before this one left with it.
    pub inherited: Inherited,
    /// For request numbers and jitter.
    pub seed: u64,
    /// How trusted clients are told from others.
    pub clients: Lookup,
    /// What `explain` says of an image, for the page; `None`: the page does not explain.
    pub explain: Option<Explain>,
}

/// Where the daemon really listens.
#[derive(Clone, Debug, Default)]
pub struct Bound {
    /// Addresses of the registry endpoint.
    pub listen: Vec<SocketAddr>,
    /// Addresses of the gateway.
    pub gateway: Vec<SocketAddr>,
    /// Address of the admin endpoint, where it is on.
    pub admin: Option<SocketAddr>,
    /// Address of the metrics endpoint, where it is on.
    pub metrics: Option<SocketAddr>,
}
