//! Sources and scripted servers for the tests of this module.

use crate::config::{BaseUrl, Timeouts};
use crate::lifecycle::spawn_detached;
use crate::topology::{EndpointId, Source, SourceId, testing};
use crate::upstream::guard::literal;
use crate::upstream::{Client, Connection, Error, Named, Request, Response};
use http::Method;
use rustls::ServerConfig;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// Either side of TLS.
pub(crate) trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}
pub(crate) type Socket = Box<dyn Io>;

/// A server that runs a script for each connection.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    accepted: Arc<AtomicUsize>,
}

impl Server {
    /// The script is given the connection and its number, from 0.
    pub(crate) async fn start<F>(
        tls: Option<Arc<ServerConfig>>,
        script: impl Fn(Socket, usize) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepted = Arc::new(AtomicUsize::new(0));
        let counter = accepted.clone();
        let script = Arc::new(script);
        spawn_detached("scripted server", async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = counter.fetch_add(1, Ordering::SeqCst);
                let (tls, script) = (tls.clone(), script.clone());
                spawn_detached("scripted connection", async move {
                    match tls {
                        None => script(Box::new(stream), number).await,
                        Some(config) => {
                            if let Ok(stream) = TlsAcceptor::from(config).accept(stream).await {
                                script(Box::new(stream), number).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, accepted }
    }

    /// Answers every request on every connection with the same bytes.
    pub(crate) async fn answering(tls: Option<Arc<ServerConfig>>, answer: &'static [u8]) -> Self {
        Self::start(tls, move |mut socket, _| async move {
            while read_head(&mut socket).await.is_some() {
                if socket.write_all(answer).await.is_err() {
                    return;
                }
            }
        })
        .await
    }

    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

/// A request's head; `None` at the end of the connection.
pub(crate) async fn read_head(socket: &mut Socket) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.ok()?);
    }
    Some(String::from_utf8(head).unwrap())
}

pub(crate) fn url(text: &str) -> BaseUrl {
    let mut url = testing::url(text);
    if let Some(ip) = literal(&url.host) {
        url.host = ip.to_string();
    }
    url
}

fn source(id: SourceId, at: &str) -> Source {
    let url = url(at);
    Source {
        url,
        ..testing::source(id, at)
    }
}

pub(crate) fn tier(at: &str) -> Source {
    source(testing::tier("replica"), at)
}

pub(crate) fn upstream(at: &str) -> Source {
    source(testing::upstream(), at)
}

/// A plain tier at a server.
pub(crate) fn tier_at(server: &Server) -> Arc<Source> {
    Arc::new(tier(&format!("http://{}", server.address)))
}

pub(crate) fn endpoint(source: &Source, address: SocketAddr) -> EndpointId {
    EndpointId {
        source: source.id.clone(),
        address,
    }
}

/// A host that the source's endpoint at that address named.
pub(crate) async fn connect_named(
    client: &Client,
    (source, from): (&Arc<Source>, &str),
    target: &BaseUrl,
    addresses: &[IpAddr],
) -> Result<Connection, Error> {
    let from = endpoint(source, from.parse().unwrap());
    let named = Named {
        by: source,
        from: &from,
        target,
    };
    client.connect_named(named, addresses).await
}

pub(crate) fn timeouts() -> Timeouts {
    Timeouts {
        connect_race: Duration::from_millis(250),
        connect: Duration::from_millis(2500),
        tls: Duration::from_secs(3),
        first_byte: Duration::from_secs(4),
        upstream_joins: Duration::from_secs(3),
        total: Duration::from_secs(20),
        stall: Duration::from_secs(2),
        floor_window: Duration::from_secs(10),
        client: Duration::from_secs(60),
        client_idle: Duration::from_secs(75),
        drain: Duration::from_secs(3),
    }
}

pub(crate) fn get(path: &str) -> Request {
    Request::new(&Method::GET, path, "replica.example.com").unwrap()
}

/// An idle connection where there is one, else a new one; then one request.
pub(crate) async fn fetch(
    client: &Client,
    source: &Arc<Source>,
    address: SocketAddr,
) -> Result<Response, Error> {
    let endpoint = endpoint(source, address);
    let connection: Connection = match client.idle(&endpoint) {
        Some(connection) => connection,
        None => client.connect(source, &endpoint).await?,
    };
    connection.send(get("/v2/")).await
}

/// Waits until something is so, for what happens on another task.
pub(crate) async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..500 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what}: not within 5 s");
}
