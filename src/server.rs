//! The registry endpoint on the node: accepts containerd's connections, reads requests strictly, hands pulls to the
//! relay. Never dials anything itself.

mod request;
mod stream;
pub mod test_image;

use crate::config::Secret;
use crate::lifecycle::{self, DrainGuard, DrainWatch, Threads};
use crate::oci::{ErrorCode, error_body};
use crate::relay::{BoxError, Relay, ResponseBody};
use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::cell::RefCell;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use stream::Downstream;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

/// Client connections' read buffer and header limit, in bytes. Requests are small, and 512 of them must be cheap.
const BUFFER: usize = 64 * 1024;

/// After an accept that failed (no file descriptors left, say) the listener rests this long.
const ACCEPT_REST: Duration = Duration::from_millis(50);

/// What the endpoint is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Client connections at once; beyond, the answer is 503 and close.
    pub connections: Arc<Semaphore>,
    /// How long a connection may lie idle, or take for a request's head.
    pub idle: Duration,
    /// The value that `X-Harbor-Pilot-Key` must have, where one is configured.
    pub key: watch::Receiver<Option<Secret>>,
    /// Where connections are served.
    pub threads: Threads,
}

/// Serves one listener until the drain closes it. Accepting goes on while draining, so that nobody is turned away
/// before the process ends; connections that were accepted are served on.
pub async fn serve(listener: TcpListener, relay: Relay, settings: Settings, drain: DrainWatch) {
    // Counted like a connection, until the last one that is accepted here has been counted itself.
    let _accepting = drain.connection();
    let seen = test_image::Seen::default();
    loop {
        let accepted = tokio::select! {
            // Cancel safe: accept loses no connection.
            accepted = listener.accept() => accepted,
            // Cancel safe: it only waits.
            () = drain.closed() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                let open = drain.connection();
                let Ok(permit) = settings.connections.clone().try_acquire_owned() else {
                    lifecycle::spawn_detached("turn away", turn_away(stream));
                    continue;
                };
                // It moves to another runtime, perhaps, and is driven there.
                let stream = match stream.into_std() {
                    Ok(stream) => stream,
                    Err(error) => {
                        tracing::warn!(%error, "cannot hand a connection over to its thread");
                        continue;
                    }
                };
                let (relay, seen) = (relay.clone(), seen.clone());
                let (settings, drain) = (settings.clone(), drain.clone());
                settings.threads.seat().spawn("connection", async move {
                    match TcpStream::from_std(stream) {
                        Ok(stream) => connection(stream, (relay, seen), settings, drain).await,
                        Err(error) => {
                            tracing::warn!(%error, "cannot take a connection over");
                        }
                    }
                    drop((permit, open));
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_REST).await;
            }
        }
    }
}

/// At the connection limit the answer is 503 and close, never a silent queue (design S5).
async fn turn_away(mut stream: TcpStream) {
    let body = error_body(
        ErrorCode::Unavailable,
        "harbor-pilot has too many connections now",
    );
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{body}",
        body.len()
    );
    let answer = async {
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await?;
        // A close with the request unread would be a reset, which can overtake the answer.
        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await
    };
    // A client that does not even read this is gone.
    let _ = tokio::time::timeout(Duration::from_secs(1), answer).await;
}

async fn connection(
    stream: TcpStream,
    (relay, seen): (Relay, test_image::Seen),
    settings: Settings,
    drain: DrainWatch,
) {
    let reset = Arc::new(AtomicBool::new(false));
    let stream = Downstream::new(stream, reset.clone());
    let asked = Arc::new(AtomicBool::new(false));
    let answering = Arc::new(AtomicBool::new(false));
    let service = {
        let (drain, asked) = (drain.clone(), asked.clone());
        let key = RefCell::new(Key::of(settings.key.clone()));
        let answering = answering.clone();
        service_fn(move |request: Request<Incoming>| {
            asked.store(true, Ordering::Relaxed);
            let (relay, reset, guard) = (relay.clone(), reset.clone(), drain.hold());
            let seen = seen.clone();
            let (unanswered, answering) = (drain.unanswered(), answering.clone());
            answering.store(false, Ordering::Relaxed);
            let (key, last) = (key.borrow_mut().now(), drain.is_draining());
            // Boxed: hyper moves the future about, and that of a pull is some KiB.
            Box::pin(async move {
                let mut answer =
                    request::answer((&relay, &seen), request, key.as_deref(), reset).await;
                if last {
                    let close = HeaderValue::from_static("close");
                    answer.headers_mut().insert(CONNECTION, close);
                }
                answering.store(true, Ordering::Relaxed);
                drop(unanswered);
                Ok::<_, Infallible>(answer.map(|body| Held {
                    body,
                    _guard: guard,
                }))
            })
        })
    };
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(settings.idle)
        .max_buf_size(BUFFER);
    let mut served = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    // Alone in a set: polled when it is woken and not with every turn of the connection, which all connections would pay.
    let mut draining = FuturesUnordered::from_iter([drain.draining()]);
    let ended = tokio::select! {
        biased;
        // Cancel safe: polled on below.
        ended = &mut served => ended,
        // Cancel safe: it only waits.
        Some(()) = draining.next() => {
            // One that has not asked yet may be about to: it gets its answer, and "close" with it (design O4).
            if asked.load(Ordering::Relaxed) {
                served.as_mut().graceful_shutdown();
            }
            tokio::select! {
                // Cancel safe: what is dropped here is to end.
                ended = &mut served => ended,
                // Cancel safe: it only waits. The rest of a body is cut; containerd resumes it (design O4). Where
                // none has begun there is nothing to resume: the process waits for it a little longer.
                () = drain.limit_passed() => {
                    if answering.load(Ordering::Relaxed) {
                        return;
                    }
                    served.await
                }
            }
        }
    };
    if let Err(error) = ended {
        // The request's record says what happened to it; this is about the connection.
        tracing::debug!(%error, "a client connection ended early");
    }
}

/// The required key, as this connection last saw it.
struct Key {
    told: watch::Receiver<Option<Secret>>,
    seen: Option<Arc<Secret>>,
}

impl Key {
    fn of(mut told: watch::Receiver<Option<Secret>>) -> Self {
        let seen = told.borrow_and_update().clone().map(Arc::new);
        Self { told, seen }
    }

    /// The key in force: taken anew only when there is another.
    fn now(&mut self) -> Option<Arc<Secret>> {
        if self.told.has_changed().unwrap_or(false) {
            self.seen = self.told.borrow_and_update().clone().map(Arc::new);
        }
        self.seen.clone()
    }
}

/// A body that the drain waits for.
struct Held {
    body: ResponseBody,
    _guard: DrainGuard,
}

impl Body for Held {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// One request on a listener's own address, as the watchdog makes it (design O4): whether `/v2/` answers.
pub fn answers(address: std::net::SocketAddr) -> impl Future<Output = bool> + Send {
    request::ping(address)
}

/// A response of the endpoint.
pub(crate) type Answer = Response<ResponseBody>;

#[cfg(test)]
mod tests;
