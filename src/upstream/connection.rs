//! One HTTP/1.1 connection: its task, the one request that it carries at a time, and what went wrong there.

use super::body::Body;
use super::dial;
use super::pool::{Idle, Key};
use super::stream::{Stream, Transport};
use super::{Error, Inner, Known};
use crate::config::BaseUrl;
use crate::lifecycle;
use crate::topology::Failure;
use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, HeaderValue, PROXY_AUTHORIZATION, TRANSFER_ENCODING,
};
use hyper::http::uri::{PathAndQuery, Scheme};
use hyper::{Request, Response, Uri, Version};
use hyper_util::rt::TokioIo;
use std::error::Error as _;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::oneshot;

/// The longest head of a response, and the most that one read takes: it bounds a stream's memory. Each piece wakes whoever
/// reads it, which with half of this cost a twentieth more CPU.
const READ_BUFFER: usize = 128 * 1024;

/// One HTTP/1.1 connection, idle, ready for a request.
pub struct Connection {
    line: Box<Line>,
    client: Arc<Inner>,
}

/// A connection's handle, as it lies on a shelf or travels with a body; boxed once, because it is moved about a lot. Dropped while idle it closes the
/// connection in good order; dropped in the middle of an answer it cuts it.
pub(super) struct Line {
    sender: SendRequest<Empty<Bytes>>,
    /// Sent: the task drops the socket at once.
    abort: Option<oneshot::Sender<()>>,
    received: Arc<AtomicU64>,
    known: Arc<Known>,
    key: Key,
    to: Arc<str>,
    proxied: Option<ProxyForm>,
    /// The thread that drives it.
    thread: usize,
    /// It carried a request before.
    used: bool,
    /// A request is on its way or its answer not read to the end.
    busy: bool,
}

/// What a plain request through an HTTP proxy needs (RFC 9112, 3.2.2).
struct ProxyForm {
    authority: String,
    authorization: Option<HeaderValue>,
}

// === impl Connection ===

impl Connection {
    pub(super) fn new(line: Box<Line>, client: Arc<Inner>) -> Self {
        Self { line, client }
    }

    /// Whether it carried a request before: it may have died since, unseen.
    #[must_use]
    pub fn is_reused(&self) -> bool {
        self.line.used
    }

    /// The endpoint's address, where it leads to one; `None` for hosts that a source named.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.line.key.address()
    }

    /// Whether the current thread drives it.
    pub(super) fn is_at_hand(&self) -> bool {
        self.line.is_of(lifecycle::thread_number())
    }

    /// Leaves it, unused, for whoever wants one to the same place.
    pub fn park(self) {
        self.client.put_back(self.line);
    }

    /// Sends a request (origin-form target, Host set by the caller) and waits for the response's head: at most
    /// 128 KiB and 100 fields. The caller bounds the time. Dropping the future closes the connection.
    ///
    /// # Errors
    /// Says what broke.
    #[allow(
        clippy::manual_async_fn,
        reason = "an async fn keeps each argument twice, and this one is moved about for every request"
    )]
    pub fn send(
        self,
        mut request: Request<Empty<Bytes>>,
    ) -> impl Future<Output = Result<Response<Body>, Error>> + Send {
        async move {
            let Self { mut line, client } = self;
            let was_used = std::mem::replace(&mut line.used, true);
            line.busy = true;
            let received = line.received.load(Ordering::Relaxed);
            if let Some(form) = &line.proxied {
                form.apply(&mut request)
                    .map_err(|why| line.error(Failure::Content, &why))?;
            }
            let answer = match line.sender.ready().await {
                Ok(()) => line.sender.send_request(request).await,
                Err(error) => Err(error),
            };
            match answer {
                Ok(response) => {
                    let keep = may_be_kept(&response);
                    Ok(response.map(|incoming| Body::new(incoming, line, client, keep)))
                }
                Err(error) => {
                    let silent = line.received.load(Ordering::Relaxed) == received;
                    let mut broken = line.broken("waiting for the answer of", &error);
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
        write!(f, "Connection({})", self.line.to)
    }
}

/// Whether the connection can carry another request once the body has been read: both sides speak HTTP/1.1,
/// nobody asked to close, and the body's end does not depend on the connection's.
fn may_be_kept<B: hyper::body::Body>(response: &Response<B>) -> bool {
    let headers = response.headers();
    let asked_to_close = headers.get_all(CONNECTION).iter().any(|value| {
        let tokens = value.as_bytes().split(|byte| *byte == b',');
        tokens
            .map(<[u8]>::trim_ascii)
            .any(|token| token.eq_ignore_ascii_case(b"close"))
    });
    let has_end = headers.contains_key(CONTENT_LENGTH)
        || headers.contains_key(TRANSFER_ENCODING)
        || response.body().is_end_stream();
    response.version() == Version::HTTP_11 && !asked_to_close && has_end
}

// === impl Line ===

impl Line {
    /// Starts HTTP on a fresh transport and the task that drives it.
    pub(super) async fn open(
        transport: Transport,
        known: Arc<Known>,
        target: &BaseUrl,
        key: Key,
        to: String,
    ) -> Result<Box<Self>, Error> {
        let stream = Stream::new(transport);
        let received = stream.received();
        let (sender, connection) = Builder::new()
            .max_buf_size(READ_BUFFER)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| {
                Error::new(Failure::Reset, format!("starting HTTP with {to}: {error}"))
            })?;
        let (abort, aborted) = oneshot::channel();
        let to: Arc<str> = to.into();
        let label = to.clone();
        lifecycle::spawn_detached("connection to a source", async move {
            tokio::select! {
                // Ends when the peer closes or the handle is dropped. Dropping it closes the socket.
                ended = connection => if let Err(error) = ended {
                    tracing::debug!(to = %label, %error, "connection ended");
                },
                // A handle dropped while idle sends nothing: then the branch above goes on to a clean end.
                Ok(()) = aborted => {}
            }
        });
        let proxied = match &known.source.proxy {
            Some(proxy) if !target.https => Some(ProxyForm {
                authority: target.authority(),
                authorization: proxy.credential.as_ref().and_then(|credential| {
                    let mut value = HeaderValue::try_from(dial::basic(credential)).ok()?;
                    value.set_sensitive(true);
                    Some(value)
                }),
            }),
            _ => None,
        };
        Ok(Box::new(Self {
            sender,
            abort: Some(abort),
            received,
            known,
            key,
            to,
            proxied,
            thread: lifecycle::thread_number(),
            used: false,
            busy: false,
        }))
    }

    /// Whether that thread drives it: there it wakes nobody else.
    pub(super) fn is_of(&self, thread: usize) -> bool {
        self.thread == thread
    }

    pub(super) fn key(&self) -> &Key {
        &self.key
    }

    pub(super) fn known(&self) -> &Arc<Known> {
        &self.known
    }

    /// Its answer has been read to the end.
    pub(super) fn rest(&mut self) {
        self.busy = false;
    }

    /// An error of this connection.
    pub(super) fn broken(&self, doing: &str, error: &hyper::Error) -> Error {
        let (failure, what) = explain(error);
        Error::new(failure, format!("{doing} {}: {what}", self.to))
    }

    /// An error of what was asked of this connection, or of what came.
    pub(super) fn error(&self, failure: Failure, what: &str) -> Error {
        Error::new(failure, format!("exchange with {}: {what}", self.to))
    }
}

impl Idle for Box<Line> {
    fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.busy
            && let Some(abort) = self.abort.take()
        {
            // The task may have ended by itself: then there is nobody to tell.
            abort.send(()).ok();
        }
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line")
            .field("to", &self.to)
            .field("used", &self.used)
            .field("busy", &self.busy)
            .finish_non_exhaustive()
    }
}

/// The kind of a failure on the wire, with words that hold no more than the error itself says.
fn explain(error: &hyper::Error) -> (Failure, String) {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(io) = inner.downcast_ref::<io::Error>() {
            let tls = io.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>());
            return match io.kind() {
                _ if tls.is_some() => (Failure::Tls, format!("TLS: {io}")),
                io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
                    (Failure::Content, format!("not HTTP/1.1: {io}"))
                }
                _ => (Failure::Reset, io.to_string()),
            };
        }
        cause = inner.source();
    }
    if error.is_parse_too_large() {
        let what = "the head of the answer is longer than 128 KiB or has more than 100 fields";
        (Failure::Content, what.to_owned())
    } else if error.is_parse() {
        (Failure::Content, format!("not HTTP/1.1: {error}"))
    } else if error.is_incomplete_message() {
        (
            Failure::Reset,
            "closed before the answer was whole".to_owned(),
        )
    } else if error.is_closed() || error.is_canceled() {
        (Failure::Reset, "the connection was closed".to_owned())
    } else {
        (Failure::Reset, error.to_string())
    }
}

// === impl ProxyForm ===

impl ProxyForm {
    /// Makes the target absolute and says who we are at the proxy.
    fn apply(&self, request: &mut Request<Empty<Bytes>>) -> Result<(), String> {
        let path = request.uri().path_and_query().cloned();
        let uri = Uri::builder()
            .scheme(Scheme::HTTP)
            .authority(self.authority.as_str())
            .path_and_query(path.unwrap_or_else(|| PathAndQuery::from_static("/")))
            .build()
            .map_err(|error| format!("making the target absolute for the proxy: {error}"))?;
        *request.uri_mut() = uri;
        if let Some(value) = &self.authorization {
            request
                .headers_mut()
                .insert(PROXY_AUTHORIZATION, value.clone());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
