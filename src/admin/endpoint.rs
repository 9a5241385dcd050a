//! A small HTTP endpoint: few connections, one request each, short limits; a full one says 503 and closes. Owns nothing of
//! what is answered.

use crate::admission::{Admission, Slot};
use crate::lifecycle::spawn_detached;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout};

/// A connection ends after this: one request, one answer of some KiB.
pub(crate) const CONNECTION_LIMIT: Duration = Duration::from_secs(10);

/// A request's head must have come within this.
const HEAD_LIMIT: Duration = Duration::from_secs(5);

/// Bytes and fields of a request's head.
pub(super) const HEAD_BYTES: usize = 16 * 1024;
const HEAD_FIELDS: usize = 64;

/// What is said when there is no slot.
const BUSY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// Serves until it is dropped. Dropping it does not end connections that are open: each ends within ten seconds.
pub(crate) async fn serve<A, F>(
    name: &'static str,
    listener: TcpListener,
    admission: Admission,
    answer: A,
) where
    A: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send,
{
    let at = listener.local_addr();
    let is_loopback = at.is_ok_and(|at| at.ip().is_loopback());
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors, mostly: what is open must end first.
                tracing::warn!("accepting a connection to the {name} endpoint: {error}");
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (admission, answer) = (admission.clone(), answer.clone());
        spawn_detached("endpoint connection", async move {
            let Some(slot) = admission.admit(&stream, is_loopback).await else {
                // Full means an answer and a close, never a silent queue (design S5).
                admission.turn_away(stream, || BUSY.to_vec()).await;
                return;
            };
            let served = timeout(CONNECTION_LIMIT, connection(name, stream, &slot, &answer));
            tokio::select! {
                // Cancel safe: it ends here. A client that is too slow or breaks off is its own affair.
                _ = served => {}
                // Cancel safe: it only waits.
                () = slot.evicted() => {}
            }
        });
    }
}

async fn connection<A, F>(name: &'static str, stream: TcpStream, slot: &Slot, answer: &A)
where
    A: Fn(Request<Incoming>) -> F + Send + Sync,
    F: Future<Output = Response<Full<Bytes>>> + Send,
{
    let service = service_fn(|mut request: Request<Incoming>| {
        slot.answers(Instant::now());
        // Some answers depend on who asks.
        request.extensions_mut().insert(slot.trust());
        let answered = answer(request);
        async move { Ok::<_, Infallible>(answered.await) }
    });
    let result = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .half_close(true)
        .keep_alive(false)
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEAD_FIELDS)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = result {
        tracing::debug!("a connection to the {name} endpoint: {error}");
    }
}
