//! Reaching whoever is to be asked next: the endpoint itself, or a host that it named.

use super::lookup::Lookup;
use crate::config::BaseUrl;
use crate::topology::{EndpointId, Failure, Source};
use crate::upstream::{Client, Connection, Error, Named, Request, Response};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// A host on the way of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hop {
    /// The endpoint itself, at its address.
    Endpoint,
    /// A host that it named in a challenge or a redirect.
    Named(BaseUrl),
}

/// Connects to hops. Cheap to clone.
#[derive(Clone)]
pub struct Reach {
    client: Client,
    lookup: Arc<dyn Lookup>,
}

// === impl Reach ===

impl Reach {
    /// By this client, with these lookups for named hosts.
    #[must_use]
    pub fn new(client: Client, lookup: Arc<dyn Lookup>) -> Self {
        Self { client, lookup }
    }

    /// An idle connection to the hop, or a new one.
    ///
    /// # Errors
    /// [`Error`]: no address, an address that may not be dialled, no TCP connection, no tunnel through the proxy, no TLS.
    pub async fn connect(
        &self,
        source: &Arc<Source>,
        endpoint: &EndpointId,
        hop: &Hop,
    ) -> Result<Connection, Error> {
        let idle = match hop {
            Hop::Endpoint => self.client.idle(endpoint),
            Hop::Named(target) => self.client.idle_named(Named {
                by: source,
                from: endpoint,
                target,
            }),
        };
        match idle {
            Some(idle) => Ok(idle),
            None => Box::pin(self.connect_anew(source, endpoint, hop)).await,
        }
    }

    /// Sends what `request` makes over `connection`. Where a kept-alive connection had died meanwhile it is sent
    /// once more over a fresh one.
    ///
    /// # Errors
    /// [`Error`]: as [`Connection::send`] and, for the fresh connection, [`Reach::connect`].
    pub async fn send(
        &self,
        source: &Arc<Source>,
        endpoint: &EndpointId,
        hop: &Hop,
        connection: Connection,
        request: impl Fn() -> Result<Request, Error>,
    ) -> Result<Response, Error> {
        match connection.send(request()?).await {
            Err(error) if error.stale_connection => {
                // Boxed: rare, and most of the size of what is moved about.
                let fresh = Box::pin(self.connect_anew(source, endpoint, hop)).await?;
                Box::pin(fresh.send(request()?)).await
            }
            answer => answer,
        }
    }

    async fn connect_anew(
        &self,
        source: &Arc<Source>,
        endpoint: &EndpointId,
        hop: &Hop,
    ) -> Result<Connection, Error> {
        match hop {
            Hop::Endpoint => self.client.connect(source, endpoint).await,
            Hop::Named(target) => {
                let named = Named {
                    by: source,
                    from: endpoint,
                    target,
                };
                let addresses = self.addresses(named).await?;
                self.client.connect_named(named, &addresses).await
            }
        }
    }

    async fn addresses(&self, named: Named<'_>) -> Result<Vec<IpAddr>, Error> {
        let Some(host) = named.looked_up() else {
            return Ok(Vec::new());
        };
        let found = self.lookup.lookup(host).await;
        found.map_err(|error| {
            let doing = format!("connecting to a host that {} named", named.by.id);
            Error::new(Failure::NoAddress, doing, error)
        })
    }
}

impl fmt::Debug for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reach")
    }
}
