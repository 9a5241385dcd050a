//! The collector: a connection to it, and OTLP over HTTP or gRPC on that.

use crate::config::{BaseUrl, Otel, OtelProtocol};
use crate::discovery::Discovery;
use crate::lifecycle;
use crate::printable::chain;
use crate::upstream::{server_name, verified};
use bytes::Bytes;
use http::header::{HOST, HeaderValue};
use http::{Request, Response, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use opentelemetry::KeyValue;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{
    Protocol, RetryPolicy, SpanExporter, WithExportConfig as _, WithHttpConfig as _,
    WithTonicConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use parking_lot::Mutex;
use rustls::ClientConfig;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;
use tonic::transport::Endpoint;
use tower_service::Service;

/// The path of OTLP over HTTP, below the endpoint's own.
const PATH: &str = "/v1/traces";

/// An answer says little; what is longer is not read.
const LONGEST_ANSWER: usize = 64 * 1024;

/// For a connection over HTTP: longer than any export.
const CONNECTION_LIMIT: Duration = Duration::from_secs(10);

/// For TCP and TLS with one address: where the first of them is silent, the next ones have their turn within the limit of an export.
const ADDRESS_LIMIT: Duration = Duration::from_millis(1500);

/// For all addresses, over gRPC: less than the limit of an export.
const CONNECT_LIMIT: Duration = Duration::from_secs(4);

/// A gRPC connection that has read nothing for so long is asked for a sign of life while an export waits. Never while none does:
/// collectors close connections that ask then.
const ASK_AFTER: Duration = Duration::from_secs(10);

/// And is closed where none came within this time.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Sends spans to the collector.
pub(super) struct Exporter {
    exporter: SpanExporter,
    connector: Connector,
}

/// Reaches the collector, and nobody else. Cheap to clone.
#[derive(Clone, Debug)]
struct Connector {
    endpoint: Arc<BaseUrl>,
    tls: Option<Arc<ClientConfig>>,
    discovery: Discovery,
    /// What happened to the newest connection, in full: the exporter keeps it to itself.
    failure: Arc<Mutex<Option<String>>>,
}

type Io = Either<TcpStream, Box<TlsStream<TcpStream>>>;
type Pinned<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// OTLP over HTTP: a connection for each batch.
#[derive(Debug)]
struct Http(Connector);

/// For these settings. Needs the runtime on which it is to run.
pub(super) fn exporter(otel: &Otel, discovery: Discovery) -> Result<Exporter, String> {
    let protocol: &[u8] = match otel.protocol {
        OtelProtocol::Http => b"http/1.1",
        OtelProtocol::Grpc => b"h2",
    };
    let tls = otel.endpoint.https.then(|| verified(&otel.tls, protocol));
    let connector = Connector {
        endpoint: Arc::new(otel.endpoint.clone()),
        tls: tls.transpose()?,
        discovery,
        failure: Arc::default(),
    };
    let url = otel.endpoint.to_string();
    let built = match otel.protocol {
        OtelProtocol::Http => SpanExporter::builder()
            .with_http()
            .with_http_client(Http(connector.clone()))
            .with_endpoint(url.trim_end_matches(PATH).to_owned() + PATH)
            .with_protocol(Protocol::HttpBinary)
            .with_retry_policy(RetryPolicy::disabled())
            .build(),
        OtelProtocol::Grpc => {
            let endpoint = Endpoint::from_shared(url)
                .map_err(|error| chain(&error))?
                .connect_timeout(CONNECT_LIMIT)
                .http2_keep_alive_interval(ASK_AFTER)
                .keep_alive_timeout(ANSWER_LIMIT);
            SpanExporter::builder()
                .with_tonic()
                .with_channel(endpoint.connect_with_connector_lazy(connector.clone()))
                .with_retry_policy(RetryPolicy::disabled())
                .build()
        }
    };
    let mut exporter = built.map_err(|error| chain(&error))?;
    exporter.set_resource(&resource());
    Ok(Exporter {
        exporter,
        connector,
    })
}

/// The agent with its version and node, as every span's resource.
fn resource() -> Resource {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let attributes = [
        KeyValue::new("service.name", "harbor-pilot"),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("host.name", host.trim().to_owned()),
    ];
    Resource::builder_empty()
        .with_attributes(attributes)
        .build()
}

// === impl Exporter ===

impl Exporter {
    /// One batch; not tried again.
    pub(super) async fn export(&self, spans: Vec<SpanData>) -> Result<(), String> {
        self.connector.failure.lock().take();
        let exported = self.exporter.export(spans).await;
        exported.map_err(|error| {
            let failure = self.connector.failure.lock().take();
            failure.unwrap_or_else(|| chain(&error))
        })
    }
}

// === impl Connector ===

impl Connector {
    async fn connect(&self) -> Result<Io, HttpError> {
        let connected = self.dial().await;
        if let Err(error) = &connected {
            *self.failure.lock() = Some(error.to_string());
        }
        connected
    }

    async fn dial(&self) -> Result<Io, HttpError> {
        let (endpoint, mut last) = (&*self.endpoint, None);
        let addresses = match endpoint.host.as_str() {
            "localhost" => vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
            host => self.discovery.lookup(host).await?,
        };
        for address in addresses {
            match timeout(ADDRESS_LIMIT, self.reach(address)).await {
                Ok(Ok(io)) => return Ok(io),
                Ok(Err(error)) => last = Some(format!("{address}: {}", chain(&*error))),
                Err(_) => last = Some(format!("{address}: no connection in time")),
            }
        }
        Err(last
            .unwrap_or_else(|| "it has no address".to_owned())
            .into())
    }

    async fn reach(&self, address: IpAddr) -> Result<Io, HttpError> {
        let stream = TcpStream::connect(SocketAddr::new(address, self.endpoint.port)).await?;
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else {
            return Ok(Either::Left(stream));
        };
        let name = server_name(&self.endpoint.host)?;
        let secured = TlsConnector::from(tls.clone()).connect(name, stream).await;
        Ok(Either::Right(Box::new(secured?)))
    }
}

/// For gRPC, whose channel keeps its connection.
impl Service<Uri> for Connector {
    type Response = TokioIo<Io>;
    type Error = HttpError;
    type Future = Pinned<Result<TokioIo<Io>, HttpError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), HttpError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move { Ok(TokioIo::new(connector.connect().await?)) })
    }
}

// === impl Http ===

impl Http {
    async fn send(&self, mut request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let io = self.0.connect().await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(io)).await?;
        lifecycle::spawn_detached("otlp", async move {
            // What breaks it breaks the request as well; dropped with the sender's end.
            let _ = timeout(CONNECTION_LIMIT, connection).await;
        });
        let host = HeaderValue::from_str(&self.0.endpoint.authority())?;
        request.headers_mut().insert(HOST, host);
        let path = request.uri().path().parse()?;
        *request.uri_mut() = path;
        let response = sender.send_request(request.map(Full::new)).await?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, LONGEST_ANSWER).collect().await?;
        Ok(Response::from_parts(head, body.to_bytes()))
    }
}

impl HttpClient for Http {
    fn send_bytes<'life0, 'async_trait>(
        &'life0 self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(async move {
            let sent = self.send(request).await;
            if let Err(error) = &sent {
                *self.0.failure.lock() = Some(chain(&**error));
            }
            sent
        })
    }
}

#[cfg(test)]
mod tests;
