//! Connections to sources: which addresses may be dialled at all, TCP, proxies, TLS, the pool of idle
//! connections, and bodies that give their connection back.
//!
//! Decides nothing about content and follows nothing: one connection, one request, one answer.

use crate::config::{BaseUrl, Timeouts};
use crate::topology::{EndpointId, Failure, Source, Sources};
use bytes::Bytes;
use http_body_util::Empty;
use hyper::{Request, Response};
use std::net::IpAddr;
use std::sync::Arc;

/// Dials and pools. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {}

/// One HTTP/1.1 connection, idle, ready for a request.
#[derive(Debug)]
pub struct Connection {}

/// A response body. When it has been read to its end its connection goes back to the pool; dropped earlier,
/// the connection is closed.
#[derive(Debug)]
pub struct Body {}

/// Why no connection came about, or why it broke.
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
pub struct Error {
    /// For health and metrics.
    pub failure: Failure,
    /// For people: what was being done, to whom, what happened.
    pub detail: String,
    /// It broke before any byte of the answer on a connection that had been used before: worth one more try
    /// at the same endpoint on a fresh connection.
    pub stale_connection: bool,
}

impl Client {
    /// A client without sources.
    #[must_use]
    pub fn new(_timeouts: Timeouts) -> Self {
        Self {}
    }

    /// Takes new sources over: builds their TLS configurations and forgets idle connections of sources that
    /// changed. A source whose TLS settings cannot be built (checked by the configuration before) fails its
    /// connects with the reason.
    pub fn update(&self, _sources: &Sources) {}

    /// An idle connection to the endpoint, if there is one.
    #[must_use]
    pub fn idle(&self, _endpoint: &EndpointId) -> Option<Connection> {
        None
    }

    /// A new connection to an endpoint of a source: TCP (limit: `timeouts.connect`), the proxy's CONNECT, TLS
    /// with the source's name (limit: `timeouts.tls`).
    ///
    /// # Errors
    /// Says which step failed.
    pub async fn connect(
        &self,
        _source: &Arc<Source>,
        _endpoint: &EndpointId,
    ) -> Result<Connection, Error> {
        Err(Error {
            failure: Failure::Refused,
            detail: String::new(),
            stale_connection: false,
        })
    }

    /// A connection to a host that a source named (a redirect's target, a token realm), at addresses that were
    /// looked up for it; every address is checked against design S1 first. System roots plus the source's CA.
    ///
    /// # Errors
    /// Says which step failed, or that the address is forbidden.
    pub async fn connect_named(
        &self,
        _named_by: &Arc<Source>,
        _target: &BaseUrl,
        _addresses: &[IpAddr],
    ) -> Result<Connection, Error> {
        Err(Error {
            failure: Failure::Refused,
            detail: String::new(),
            stale_connection: false,
        })
    }
}

impl Connection {
    /// Sends a request (origin-form target, Host set by the caller) and waits for the response's head. The caller
    /// bounds the time. Dropping the future closes the connection.
    ///
    /// # Errors
    /// Says what broke.
    pub async fn send(self, _request: Request<Empty<Bytes>>) -> Result<Response<Body>, Error> {
        Err(Error {
            failure: Failure::Refused,
            detail: String::new(),
            stale_connection: false,
        })
    }
}
