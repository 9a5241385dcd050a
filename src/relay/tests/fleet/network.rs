//! The network of one node, under the real search: its connections lead to modelled addresses.

use super::node::Node;
use super::site::PooledConnection;
use crate::cache::Trust;
use crate::config::HarborPolicy;
use crate::exchange::{self, Place, SourceRequest, SourceResponse};
use crate::http1::Fields;
use crate::relay::head;
use crate::relay::memory::Image;
use crate::relay::network::Network;
use crate::relay::outcome::Rejection;
use crate::relay::reputation::Subject;
use crate::relay::rules::{Asked, Authority, judge};
use crate::relay::search::FetchSpec;
use crate::route::{Route, Target};
use crate::topology::select::Candidate;
use crate::topology::{EndpointId, Failure, Source, SourceId};
use crate::upstream::Error;
use http::{Method, StatusCode};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::time::Instant;

/// A connection of a node, and the body of an answer that came over it.
pub(super) struct Connection {
    node: Arc<Node>,
    endpoint: EndpointId,
    pooled: PooledConnection,
}

/// What a node searches for.
pub(super) struct ModelSpec {
    /// By its digest.
    pub(super) content: Option<Image>,
    pub(super) asked: Asked,
}

fn failed(failure: Failure) -> Error {
    Error::new(failure, "", "")
}

// === impl Connection ===

impl Connection {
    /// It is free for the next request.
    pub(super) fn park(self) {
        self.node.park(&self.endpoint, self.pooled);
    }
}

// === impl Node ===

impl Network for Arc<Node> {
    type Connection = Connection;
    type Body = Connection;

    fn touch(&self, _: &SourceId) {}

    async fn resolve(&self, _: &SourceId) -> bool {
        // All addresses are known.
        self.world.lookups.fetch_add(1, Ordering::Relaxed);
        false
    }

    fn idle(&self, endpoint: &EndpointId) -> Option<Connection> {
        Some(Connection {
            pooled: self.take_idle(endpoint)?,
            node: self.clone(),
            endpoint: endpoint.clone(),
        })
    }

    async fn connect(&self, at: &Candidate) -> Result<Connection, Error> {
        let endpoint = &at.endpoint;
        let site = self.world.site(endpoint);
        let pooled = site.dial(self.parts.timeouts.connect).await;
        Ok(Connection {
            pooled: pooled.map_err(failed)?,
            node: self.clone(),
            endpoint: endpoint.clone(),
        })
    }

    async fn liveness_connect(&self, endpoint: &EndpointId) -> Result<(), Error> {
        let site = self.world.site(endpoint);
        let limit = self.parts.timeouts.connect;
        site.liveness_connect(limit).await.map_err(failed)
    }

    fn park(connection: Connection) {
        connection.park();
    }

    async fn exchange(
        &self,
        at: &Candidate,
        mut connection: Connection,
        _: &SourceRequest,
    ) -> Result<SourceResponse<Connection>, exchange::Error> {
        let site = self.world.site(&at.endpoint);
        let broken = |failure| exchange::Error {
            at: Place::Endpoint,
            failure,
            retry_after: None,
            doing: String::new(),
            source: None,
        };
        let mut began = Instant::now();
        let mut status = site.ask(&connection.pooled).await;
        // As the exchange does it: a kept connection that had died is worth one more try.
        if status.is_none() {
            let fresh = self.connect(at).await;
            connection = fresh.map_err(|error| broken(error.failure))?;
            began = Instant::now();
            status = site.ask(&connection.pooled).await;
        }
        let status = status.ok_or_else(|| broken(Failure::Reset))?;
        Ok(SourceResponse {
            status: StatusCode::from_u16(status).expect("a status"),
            fields: Fields::default(),
            body: connection,
            head: false,
            denied: None,
            elsewhere: false,
            took: began.elapsed(),
        })
    }
}

// === impl ModelSpec ===

impl FetchSpec<Connection> for ModelSpec {
    type Good = Connection;

    fn request(&self, target: &Target, _: &Source) -> SourceRequest {
        let accept = http::header::HeaderValue::from_static("*/*");
        head::request(
            target,
            "/",
            Method::GET,
            accept,
            &"1".into(),
            Trust::Trusted,
        )
    }

    async fn examine(
        &self,
        authority: Authority,
        _: &EndpointId,
        answer: SourceResponse<Connection>,
    ) -> Result<Connection, Rejection> {
        let seen = head::read(&answer);
        let judged = judge(self.asked, authority, HarborPolicy::Next, &seen);
        judged.map(|_| answer.body).map_err(|means| Rejection {
            means,
            detail: String::new(),
        })
    }

    fn subject(&self, route: &Route) -> Subject {
        Subject::new(route, self.content.clone(), Trust::Trusted)
    }

    fn is_hedged(&self) -> bool {
        self.asked == Asked::Document
    }
}
