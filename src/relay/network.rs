//! What a search needs of the network: addresses, connections and exchanges. `LiveNetwork` has the real ones; the simulation of a
//! fleet has modelled ones under the same search.

use crate::discovery::Discovery;
use crate::exchange::{self, Exchanger, SourceRequest, SourceResponse};
use crate::topology::{EndpointId, Source, SourceId};
use crate::upstream::{Body, Client, Connection, Error};
use std::future::Future;
use std::sync::Arc;

/// Reaches sources. Cheap to clone.
pub(crate) trait Network: Clone + Send + Sync + 'static {
    /// A connection, ready for a request.
    type Connection: Send + 'static;
    /// The body of an answer.
    type Body: Send + 'static;

    /// A request may want that source: its addresses are kept up to date.
    fn touch(&self, source: &SourceId);

    /// Asks DNS once more for a source's addresses. True: there are some.
    fn resolve(&self, source: &SourceId) -> impl Future<Output = bool> + Send;

    /// An idle connection, if there is one.
    fn idle(&self, endpoint: &EndpointId) -> Option<Self::Connection>;

    /// A new connection.
    fn connect(
        &self,
        source: &Arc<Source>,
        endpoint: &EndpointId,
    ) -> impl Future<Output = Result<Self::Connection, Error>> + Send;

    /// Connects and closes again, to learn whether anybody is there.
    fn liveness_connect(
        &self,
        endpoint: &EndpointId,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// Keeps a connection that was not used.
    fn park(connection: Self::Connection);

    /// One request and its final answer.
    fn exchange(
        &self,
        source: &Arc<Source>,
        endpoint: &EndpointId,
        connection: Self::Connection,
        request: &SourceRequest,
    ) -> impl Future<Output = Result<SourceResponse<Self::Body>, exchange::Error>> + Send;
}

/// The network as it is.
#[derive(Debug)]
pub(crate) struct LiveNetwork {
    pub(crate) client: Client,
    pub(crate) exchanger: Exchanger,
    pub(crate) discovery: Discovery,
}

// === impl LiveNetwork ===

impl Network for Arc<LiveNetwork> {
    type Connection = Connection;
    type Body = Body;

    fn touch(&self, source: &SourceId) {
        self.discovery.touch(source);
    }

    fn resolve(&self, source: &SourceId) -> impl Future<Output = bool> + Send {
        self.discovery.ask_again(source)
    }

    fn idle(&self, endpoint: &EndpointId) -> Option<Connection> {
        self.client.idle(endpoint)
    }

    fn connect(
        &self,
        source: &Arc<Source>,
        endpoint: &EndpointId,
    ) -> impl Future<Output = Result<Connection, Error>> + Send {
        self.client.connect(source, endpoint)
    }

    fn liveness_connect(
        &self,
        endpoint: &EndpointId,
    ) -> impl Future<Output = Result<(), Error>> + Send {
        self.client.liveness_connect(endpoint)
    }

    fn park(connection: Connection) {
        connection.park();
    }

    fn exchange(
        &self,
        source: &Arc<Source>,
        endpoint: &EndpointId,
        connection: Connection,
        request: &SourceRequest,
    ) -> impl Future<Output = Result<SourceResponse, exchange::Error>> + Send {
        self.exchanger
            .exchange(source, endpoint, connection, request)
    }
}
