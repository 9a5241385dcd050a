//! A connection that is ready for a request, and what comes back.

use super::body::Body;
use super::pooled::Pooled;
use super::request::Request;
use super::{Error, Inner};
use crate::http1::Fields;
use crate::topology::Failure;
use http::StatusCode;
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

/// One HTTP/1.1 connection, idle, ready for a request.
pub struct Connection {
    pooled: Box<Pooled>,
    client: Arc<Inner>,
}

/// An answer, its body not read yet.
#[derive(Debug)]
pub struct Response {
    /// Never an interim one (1xx).
    pub status: StatusCode,
    /// All of its fields.
    pub fields: Fields,
    /// Gives its connection back when it has been read to the end.
    pub body: Body,
}

// === impl Connection ===

impl Connection {
    pub(super) fn new(pooled: Box<Pooled>, client: Arc<Inner>) -> Self {
        Self { pooled, client }
    }

    /// Whether it carried a request before: it may have died since, unseen.
    #[must_use]
    pub fn is_reused(&self) -> bool {
        self.pooled.used
    }

    /// The endpoint's address, where it leads to one; `None` for hosts that a source named.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.pooled.key.address()
    }

    /// Leaves it, unused, for whoever wants one to the same place.
    pub fn park(self) {
        self.client.put_back(self.pooled);
    }

    /// Sends a request and waits for the response's head: at most 128 KiB and 100 fields. The caller bounds the time.
    /// Dropping the future closes the connection.
    ///
    /// # Errors
    /// [`Error`]: the connection broke, the answer is not HTTP/1.1, or the request cannot be sent there.
    #[allow(
        clippy::manual_async_fn,
        reason = "an async fn keeps each argument twice, and this one is moved about for every request"
    )]
    pub fn send(self, request: Request) -> impl Future<Output = Result<Response, Error>> + Send {
        async move {
            let Self { mut pooled, client } = self;
            let was_used = std::mem::replace(&mut pooled.used, true);
            pooled.busy = true;
            let received = pooled.stream.received();
            match pooled.exchange(request).await {
                Ok(head) => {
                    let body = Body::new(head.framing, pooled, client, head.keep);
                    Ok(Response {
                        status: head.status,
                        fields: head.fields,
                        body,
                    })
                }
                Err(fault) => {
                    let silent = pooled.stream.received() == received;
                    let mut broken = pooled.broken("waiting for the answer of", fault);
                    broken.stale_connection = was_used
                        && silent
                        && matches!(broken.failure, Failure::Reset | Failure::Tls);
                    Err(broken)
                }
            }
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connection({})", self.pooled.to)
    }
}
