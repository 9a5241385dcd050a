//! What keeps the daemon from starting, or ends it.

use crate::config::Problem;
use std::net::SocketAddr;

/// Why the daemon ended otherwise than by a signal.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration is bad and there is no accepted one.
    #[error("the configuration may not be used and no earlier one was accepted")]
    Config(Vec<Problem>),
    /// An address that cannot be bound.
    #[error("cannot listen on {address} for {what}: {instead}")]
    Bind {
        /// What it was for.
        what: &'static str,
        /// The address of the configuration.
        address: SocketAddr,
        /// Who or what is in the way, and what to do.
        instead: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// There is no TLS with the gateway's certificate.
    #[error("cannot serve the gateway")]
    GatewayTls(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A runtime or the signals.
    #[error("cannot set up the process")]
    Process(#[source] std::io::Error),
    /// A task that must not end has ended.
    #[error("{0}")]
    Task(crate::lifecycle::TaskFailure),
}
