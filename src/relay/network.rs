//! What a search needs of the network: addresses, connections and exchanges. `LiveNetwork` has the real ones; the simulation of a
//! fleet has modelled ones under the same search.

use crate::discovery::Discovery;
use crate::exchange::{self, Exchanger, SourceRequest, SourceResponse};
use crate::topology::select::Candidate;
use crate::topology::{EndpointId, SourceId};
use crate::upstream::{Body, Client, Connection, Error};
use std::future::Future;
use std::sync::Arc;

/// Reaches sources. Cheap to clone.
pub(crate) trait Network: Clone + Send + Sync + 'static {
    type Connection: Send + 'static;
    type Body: Send + 'static;

    /// A request may want that source: its addresses are kept up to date.
    fn touch(&self, source: &SourceId);

    /// Asks DNS once more for a source's addresses. True: there are some.
    fn resolve(&self, source: &SourceId) -> impl Future<Output = bool> + Send;

    /// An idle connection, if there is one.
    fn idle(&self, endpoint: &EndpointId) -> Option<Self::Connection>;

    fn connect(
        &self,
        at: &Candidate,
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
        at: &Candidate,
        connection: Self::Connection,
        request: &SourceRequest,
    ) -> impl Future<Output = Result<SourceResponse<Self::Body>, exchange::Error>> + Send;
}

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

    async fn resolve(&self, source: &SourceId) -> bool {
        self.discovery.ask_again(source).await
    }

    fn idle(&self, endpoint: &EndpointId) -> Option<Connection> {
        self.client.idle(endpoint)
    }

    async fn connect(&self, at: &Candidate) -> Result<Connection, Error> {
        self.client.connect(&at.source, &at.endpoint).await
    }

    async fn liveness_connect(&self, endpoint: &EndpointId) -> Result<(), Error> {
        self.client.liveness_connect(endpoint).await
    }

    fn park(connection: Connection) {
        connection.park();
    }

    fn exchange(
        &self,
        at: &Candidate,
        connection: Connection,
        request: &SourceRequest,
    ) -> impl Future<Output = Result<SourceResponse, exchange::Error>> + Send {
        self.exchanger
            .exchange(&at.source, &at.endpoint, connection, request)
    }
}
