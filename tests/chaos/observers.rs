//! Those who look at the agent during the soak, in a process of their own inside the laboratory's network: a browser with the
//! page open, a Prometheus, and a collector of traces. A JSON value at the end says how it went.

use crate::client::Client;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;

/// Where the agent shows the page and its metrics.
const ADMIN: &str = "127.0.0.1:291";

/// Where it brings its traces.
const COLLECTOR: &str = "127.0.0.1:4318";

/// The period of the page's script, and a short one of Prometheus.
const PAGE_EVERY: Duration = Duration::from_secs(2);
const SCRAPE_EVERY: Duration = Duration::from_secs(5);

/// An answer of the admin port that takes longer is one that failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// The agent's configuration for them: every request is traced.
pub(crate) const TRACES: &str =
    "[otel]\nendpoint = \"http://127.0.0.1:4318\"\nsample_ratio = 1.0\n";

/// What they saw.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Seen {
    pub(crate) pages: Looks,
    pub(crate) scrapes: Looks,
    /// Exports of spans, and the bytes in them.
    pub(crate) exports: u64,
    pub(crate) exported_bytes: u64,
}

/// The answers with status 200, and the others.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Looks {
    pub(crate) answered: u64,
    pub(crate) failed: u64,
}

#[derive(Debug, Default)]
struct Received {
    exports: AtomicU64,
    bytes: AtomicU64,
}

/// Looks until standard input ends.
pub(crate) fn serve() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let end = std::thread::spawn(|| {
        let mut line = String::new();
        while std::io::stdin()
            .read_line(&mut line)
            .is_ok_and(|read| read > 0)
        {}
    });
    let seen = runtime.block_on(watch(|| end.is_finished()));
    println!("{}", serde_json::to_string(&seen).expect("it is JSON"));
}

#[allow(clippy::disallowed_methods, reason = "it ends with its process")]
async fn watch(is_over: impl Fn() -> bool) -> Seen {
    let received = Arc::<Received>::default();
    let collector = TcpListener::bind(COLLECTOR).await.expect("a free port");
    tokio::spawn(collect(collector, received.clone()));
    let (pages, scrapes) = tokio::join!(
        look("/status?view=page", PAGE_EVERY, &is_over),
        look("/metrics", SCRAPE_EVERY, &is_over),
    );
    Seen {
        pages,
        scrapes,
        exports: received.exports.load(Ordering::Relaxed),
        exported_bytes: received.bytes.load(Ordering::Relaxed),
    }
}

async fn look(target: &str, every: Duration, is_over: impl Fn() -> bool) -> Looks {
    let admin: SocketAddr = ADMIN.parse().expect("an address");
    let mut looks = Looks::default();
    while !is_over() {
        let answer = tokio::time::timeout(PATIENCE, async {
            let mut client = Client::connect(admin).await;
            client.ask("GET", target, &[("connection", "close")]).await;
            client.answer(false).await.status
        });
        match answer.await {
            Ok(200) => looks.answered += 1,
            _ => looks.failed += 1,
        }
        tokio::time::sleep(every).await;
    }
    looks
}

/// Takes everything that is brought, and says yes.
#[allow(clippy::disallowed_methods, reason = "it ends with its process")]
async fn collect(listener: TcpListener, received: Arc<Received>) {
    while let Ok((stream, _)) = listener.accept().await {
        let received = received.clone();
        tokio::spawn(async move {
            let take = service_fn(|request: Request<Incoming>| {
                let received = received.clone();
                async move {
                    if let Ok(body) = request.into_body().collect().await {
                        received.exports.fetch_add(1, Ordering::Relaxed);
                        let length = body.to_bytes().len() as u64;
                        received.bytes.fetch_add(length, Ordering::Relaxed);
                    }
                    Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
                }
            });
            // A connection that breaks is the agent's to open again.
            let serving = hyper::server::conn::http1::Builder::new();
            drop(serving.serve_connection(TokioIo::new(stream), take).await);
        });
    }
}

impl std::fmt::Display for Looks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} answered, {} failed", self.answered, self.failed)
    }
}
