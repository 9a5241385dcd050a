//! Connections to sources: which addresses may be dialled at all, TCP, proxies, TLS, the pool of idle
//! connections, and bodies that give their connection back.
//!
//! Decides nothing about content and follows nothing: one connection, one request, one answer.

mod body;
mod connection;
mod dial;
mod egress;
mod fault;
mod guard;
mod inspect;
mod known;
mod local;
mod pool;
mod pooled;
mod request;
mod state;
mod stream;
mod tls;

pub use body::Body;
pub use connection::{Connection, Response};
pub use dial::basic;
pub use egress::Named;
pub(crate) use guard::is_never_dialled;
pub use inspect::{Certificate, Shown};
pub use pooled::LARGE_READS;
pub use request::{Request, USER_AGENT};
pub use tls::CertificateFault;
pub(crate) use tls::{server_name, verified};

use crate::budget::Refused;
use crate::config::{BaseUrl, Timeouts};
use crate::lifecycle::{self, Socket};
use crate::printable::chain;
use crate::topology::{EndpointId, Failure, Source, SourceId, Sources};
use egress::OwnListeners;
use foldhash::HashMap;
use known::Known;
use pool::Key;
use pooled::Pooled;
use rustls::ClientConfig;
use state::Inner;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::SystemTime;
use stream::{ReadAhead, Transport};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

/// Dials and pools. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

/// Why no connection came about, or why it broke.
#[derive(Debug, thiserror::Error)]
#[error("{doing}")]
pub struct Error {
    /// For health and metrics.
    pub failure: Failure,
    /// What was being done, and to whom.
    pub doing: String,
    /// What happened: an error of the system or of TLS, or words.
    pub source: Cause,
    /// It broke before any byte of the answer on a connection that had been used before: worth one more try
    /// at the same endpoint on a fresh connection.
    pub stale_connection: bool,
}

/// What an error comes from: another error, or words.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why a body could not be read whole.
#[derive(Debug, thiserror::Error)]
pub enum Unread {
    /// It broke, or is too long.
    #[error(transparent)]
    Broken(#[from] Error),
    /// There was no memory for it: nobody's fault but this node's.
    #[error(transparent)]
    Refused(#[from] Refused),
}

/// What a fresh TCP connection becomes.
struct Handshake<'a> {
    known: Arc<Known>,
    target: &'a BaseUrl,
    key: Key,
    to: String,
    timeouts: Timeouts,
}

// === impl Client ===

impl Client {
    /// A client without sources.
    #[must_use]
    pub fn new(timeouts: Timeouts) -> Self {
        Self {
            inner: Arc::new(Inner::new(timeouts)),
        }
    }

    /// Takes new sources over: builds their TLS configurations and forgets idle connections of sources that
    /// changed. A source whose TLS settings cannot be built (checked by the configuration before) fails its
    /// connects with the reason. Reads the system's certificates from disk the first time.
    pub fn update(&self, sources: &Sources) {
        let before = self.inner.lock().known.clone();
        let next: HashMap<SourceId, Arc<Known>> = sources
            .all()
            .map(|source| {
                let same = before.get(&source.id).filter(|old| old.is_of(source));
                let known = same.cloned().unwrap_or_else(|| Known::new(source));
                (source.id.clone(), known)
            })
            .collect();
        let mut state = self.inner.lock();
        for (id, old) in before {
            if !next.get(&id).is_some_and(|new| Arc::ptr_eq(new, &old)) {
                state.idle.forget(&id);
                state
                    .certificates
                    .retain(|endpoint, _| endpoint.source != id);
            }
        }
        state.known = next;
    }

    /// Takes new limits over, for connects from now on.
    pub fn set_timeouts(&self, timeouts: Timeouts) {
        self.inner.lock().timeouts = timeouts;
    }

    /// Where this agent itself listens: never dialled from now on, whoever leads there.
    pub fn set_listeners(&self, addresses: Vec<SocketAddr>) {
        self.inner.lock().listeners = OwnListeners(addresses);
    }

    /// An idle connection to the endpoint, if there is one.
    #[must_use]
    pub fn idle(&self, endpoint: &EndpointId) -> Option<Connection> {
        self.take(&Key::Endpoint(endpoint.clone()))
    }

    /// An idle connection to a host that the source named before, if there is one. Its address was checked when
    /// it was dialled.
    #[must_use]
    pub fn idle_named(&self, named: Named<'_>) -> Option<Connection> {
        self.take(&named.key())
    }

    /// A new connection to an endpoint of a source: TCP (limit: `timeouts.connect`), the proxy's CONNECT, TLS
    /// with the source's name (limit of each: `timeouts.tls`).
    ///
    /// # Errors
    /// [`Error`]: an address that may not be dialled, no TCP connection, no tunnel through the proxy, no TLS.
    pub async fn connect(
        &self,
        source: &Arc<Source>,
        endpoint: &EndpointId,
    ) -> Result<Connection, Error> {
        self.inner.sweep_from_now_on();
        let to = endpoint.to_string();
        self.may_be_dialled(source, endpoint)?;
        let handshake = Handshake {
            known: self.inner.known(source),
            target: &source.url,
            key: Key::Endpoint(endpoint.clone()),
            timeouts: self.inner.lock().timeouts,
            to,
        };
        let stream = dial::tcp(&handshake.to, endpoint.address, handshake.timeouts.connect).await?;
        self.finish(stream, handshake).await
    }

    /// One request over a connection that is kept or a new one; once more over a new one where the kept one had been closed.
    ///
    /// # Errors
    /// [`Error`]: no connection, or one that broke before the answer's head.
    pub async fn request(
        &self,
        source: &Arc<Source>,
        endpoint: &EndpointId,
        request: impl Fn() -> Result<Request, Error>,
    ) -> Result<Response, Error> {
        if let Some(kept) = self.idle(endpoint) {
            match kept.send(request()?).await {
                Err(error) if error.stale_connection => {}
                result => return result,
            }
        }
        let fresh = self.connect(source, endpoint).await?;
        fresh.send(request()?).await
    }

    /// Whether anybody is at an endpoint to which there has been a connection: a TCP connect and nothing more
    /// (limit: `timeouts.connect`).
    ///
    /// # Errors
    /// [`Error`]: no TCP connection within the limit.
    pub async fn liveness_connect(&self, endpoint: &EndpointId) -> Result<(), Error> {
        let limit = self.inner.lock().timeouts.connect;
        let to = endpoint.to_string();
        dial::tcp(&to, endpoint.address, limit).await.map(drop)
    }

    /// A connection to a host that a source named (a redirect's target, a token realm), at addresses that were
    /// looked up for it ([`Named::looked_up`]); every address is checked against design S1 first. System roots plus the source's
    /// CA; the source's client certificate is shown to the source's own host alone. A source with a proxy reaches these
    /// hosts through it too.
    ///
    /// # Errors
    /// [`Error`]: as [`Client::connect`]; of several addresses, that of the last one.
    pub async fn connect_named(
        &self,
        named: Named<'_>,
        addresses: &[IpAddr],
    ) -> Result<Connection, Error> {
        self.inner.sweep_from_now_on();
        let Named { by, target, .. } = named;
        let to = format!("{} (named by {})", dial::host_and_port(target), by.id);
        let listeners = self.inner.lock().listeners.clone();
        let allowed = named
            .allowed(addresses, &listeners)
            .map_err(|why| Error::new(Failure::Refused, format!("not dialling {to}"), why))?;
        let timeouts = self.inner.lock().timeouts;
        let (address, stream) =
            dial::first_of(&to, allowed, timeouts.connect, timeouts.connect_race).await?;
        let handshake = Handshake {
            known: self.inner.known(by),
            target,
            key: named.key(),
            to: format!("{to} at {address}"),
            timeouts,
        };
        self.finish(stream, handshake).await
    }

    /// When the first of the certificates that were last seen at a source's own addresses ends.
    #[must_use]
    pub fn certificate_expiry(&self, source: &SourceId) -> Option<SystemTime> {
        let state = self.inner.lock();
        let of_source = state
            .certificates
            .iter()
            .filter(|(at, _)| at.source == *source);
        of_source.map(|(_, ends)| *ends).min()
    }

    /// When the certificate last seen at an endpoint ends.
    #[must_use]
    pub fn certificate_of(&self, endpoint: &EndpointId) -> Option<SystemTime> {
        self.inner.lock().certificates.get(endpoint).copied()
    }

    /// Lets go of idle connections that are closed or too old. Runs by itself while there are connections.
    pub fn sweep(&self, now: Instant) {
        self.inner.lock().idle.sweep(now);
    }

    /// The number of idle connections.
    #[must_use]
    pub fn idle_connections(&self) -> usize {
        self.inner.lock().idle.len()
    }

    /// Design S1 for an endpoint of a source.
    fn may_be_dialled(&self, source: &Source, endpoint: &EndpointId) -> Result<(), Error> {
        let listeners = self.inner.lock().listeners.clone();
        egress::check(source, endpoint, &listeners)
            .map_err(|why| Error::new(Failure::Refused, format!("not dialling {endpoint}"), why))
    }

    /// One that is at hand, else one of another thread, which moves to this one.
    fn take(&self, key: &Key) -> Option<Connection> {
        let (here, now) = (lifecycle::thread_number(), Instant::now());
        let next = || {
            let idle = &mut self.inner.lock().idle;
            idle.take(key, now, |pooled| pooled.is_of(here))
        };
        loop {
            let mut pooled = next()?;
            match pooled.move_here() {
                Ok(()) => return Some(Connection::new(pooled, self.inner.clone())),
                // It is closed; there may be others.
                Err(error) => tracing::debug!(%error, "cannot take a connection over"),
            }
        }
    }

    async fn finish(
        &self,
        stream: TcpStream,
        handshake: Handshake<'_>,
    ) -> Result<Connection, Error> {
        let stream = Socket::new(stream);
        let (transport, ends) = if handshake.target.https {
            let config = handshake.tls_config()?.clone();
            let tls = handshake.secure(stream, config).await?;
            let chain = tls.get_ref().1.peer_certificates();
            let ends = chain.and_then(<[_]>::first).and_then(tls::not_after);
            if let (Some(end), Key::Endpoint(endpoint)) = (ends, &handshake.key) {
                self.inner.lock().saw_certificate(endpoint, end);
            }
            (Either::Right(tls), ends)
        } else {
            (Either::Left(stream), None)
        };
        let ends = ends.filter(|_| !handshake.known.source.tls.insecure_skip_verify);
        Ok(handshake.connection(transport, ends, self))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let idle = self.idle_connections();
        f.debug_struct("Client").field("idle", &idle).finish()
    }
}

// === impl Handshake ===

impl Handshake<'_> {
    /// A tunnel through the source's proxy, and TLS.
    async fn secure(
        &self,
        mut stream: Socket,
        config: Arc<ClientConfig>,
    ) -> Result<Box<TlsStream<ReadAhead<Socket>>>, Error> {
        let limit = self.timeouts.tls;
        if let Some(proxy) = &self.known.source.proxy {
            dial::tunnel(&mut stream, proxy, self.target, limit).await?;
        }
        let name = server_name(&self.target.host)
            .map_err(|why| self.tls_error(format!("no name for a certificate: {why}")))?;
        dial::tls(&self.to, stream, name, config, limit).await
    }

    /// What came of it.
    fn connection(
        self,
        transport: Transport,
        ends: Option<SystemTime>,
        client: &Client,
    ) -> Connection {
        let Self {
            known,
            target,
            key,
            to,
            ..
        } = self;
        let pooled = Pooled::new(transport, known, target, key, to, ends);
        Connection::new(pooled, client.inner.clone())
    }

    fn tls_config(&self) -> Result<&Arc<ClientConfig>, Error> {
        match (self.known.tls(), &self.key) {
            (Ok(tls), Key::Endpoint(_)) => Ok(tls.own()),
            (Ok(tls), Key::Named { .. }) => Ok(tls.for_target(&self.known.source, self.target)),
            (Err(why), _) => Err(self.tls_error(why.clone())),
        }
    }

    fn tls_error(&self, why: impl Into<Cause>) -> Error {
        Error::new(Failure::Tls, format!("TLS with {}", self.to), why)
    }
}

// === impl Error ===

impl Error {
    /// An error of this kind in doing that, and what it comes from.
    pub fn new(failure: Failure, doing: impl Into<String>, source: impl Into<Cause>) -> Self {
        Self {
            failure,
            doing: doing.into(),
            source: source.into(),
            stale_connection: false,
        }
    }

    /// The whole of it for people: what was being done, to whom, what happened.
    #[must_use]
    pub fn detail(&self) -> String {
        chain(self)
    }
}

#[cfg(test)]
mod tests;
