//! A small OpenTelemetry collector: takes spans over OTLP, by HTTP or gRPC, and shows them to the test.

use crate::support::TestCa;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;

/// How it takes spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    Takes,
    /// 503.
    Refuses,
    Silent,
    /// An answer without an end.
    Endless,
}

/// It ends with the test.
pub struct Collector {
    pub addr: SocketAddr,
    seen: Arc<Seen>,
}

struct Seen {
    mood: Mutex<Mood>,
    requests: Mutex<Vec<(String, ExportTraceServiceRequest)>>,
}

impl Collector {
    pub async fn http() -> Self {
        Self::start(false, None).await
    }

    pub async fn grpc() -> Self {
        Self::start(true, None).await
    }

    pub async fn https(ca: &TestCa, is_grpc: bool) -> Self {
        Self::start(is_grpc, Some(ca.acceptor(&["127.0.0.1"]))).await
    }

    async fn start(is_grpc: bool, tls: Option<tokio_rustls::TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let seen = Arc::new(Seen {
            mood: Mutex::new(Mood::Takes),
            requests: Mutex::default(),
        });
        let it = seen.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (tls, it) = (tls.clone(), it.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, is_grpc, it).await,
                        // What the agent refuses is the test's to notice.
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, is_grpc, it).await;
                            }
                        }
                    }
                });
            }
        });
        Self { addr, seen }
    }

    pub fn mood(&self, mood: Mood) {
        *self.seen.mood.lock().unwrap() = mood;
    }

    /// How often it was sent something.
    pub fn exports(&self) -> usize {
        self.seen.requests.lock().unwrap().len()
    }

    pub fn paths(&self) -> Vec<String> {
        let requests = self.seen.requests.lock().unwrap();
        requests.iter().map(|(path, _)| path.clone()).collect()
    }

    pub fn resource(&self) -> Resource {
        let requests = self.seen.requests.lock().unwrap();
        requests[0].1.resource_spans[0].resource.clone().unwrap()
    }

    /// All spans so far.
    pub fn spans(&self) -> Vec<Span> {
        let requests = self.seen.requests.lock().unwrap();
        let of = requests
            .iter()
            .flat_map(|(_, request)| &request.resource_spans);
        let scopes = of.flat_map(|resource| &resource.scope_spans);
        scopes.flat_map(|scope| scope.spans.clone()).collect()
    }

    /// Waits for the spans of a trace, its request's own among them.
    pub async fn trace(&self, id: &str) -> Vec<Span> {
        let since = Instant::now();
        loop {
            let mut spans = self.spans();
            spans.retain(|span| hex(&span.trace_id) == id);
            if spans.iter().any(|span| span.kind == SERVER) {
                return spans;
            }
            assert!(
                since.elapsed() < Duration::from_secs(15),
                "{:#?}",
                self.spans()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// `SPAN_KIND_SERVER` and `SPAN_KIND_CLIENT`
pub const SERVER: i32 = 2;
pub const CLIENT: i32 = 3;

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An attribute's text or number.
pub fn attribute(span: &Span, key: &str) -> Option<String> {
    let attribute = span.attributes.iter().find(|one| one.key == key)?;
    match attribute.value.clone()?.value? {
        Value::StringValue(text) => Some(text),
        Value::IntValue(number) => Some(number.to_string()),
        other => panic!("{key}: {other:?}"),
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    is_grpc: bool,
    seen: Arc<Seen>,
) {
    let service = service_fn(move |request| answer(request, is_grpc, seen.clone()));
    let io = TokioIo::new(stream);
    // Whoever asked is gone.
    let _ = match is_grpc {
        true => {
            http2::Builder::new(TokioExecutor::new())
                .serve_connection(io, service)
                .await
        }
        false => http1::Builder::new().serve_connection(io, service).await,
    };
}

type Body = http_body_util::combinators::BoxBody<Bytes, Infallible>;

async fn answer(
    request: Request<Incoming>,
    is_grpc: bool,
    seen: Arc<Seen>,
) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    // gRPC: a flag, four bytes of length, the message.
    let message = if is_grpc { body.slice(5..) } else { body };
    let export = ExportTraceServiceRequest::decode(message).unwrap();
    let mood = *seen.mood.lock().unwrap();
    seen.requests.lock().unwrap().push((path, export));
    let full = |bytes: &'static [u8]| Full::new(Bytes::from_static(bytes)).boxed();
    let kind = if is_grpc {
        "application/grpc"
    } else {
        "application/x-protobuf"
    };
    let response = Response::builder().header("content-type", kind);
    let status = |code| {
        let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), code)]);
        let body = Full::new(Bytes::from_static(&[0; 5]));
        body.with_trailers(async move { Some(Ok(trailers)) })
            .boxed()
    };
    Ok(match (mood, is_grpc) {
        (Mood::Takes, false) => response.body(full(b"")).unwrap(),
        (Mood::Takes, true) => response.body(status("0".parse().unwrap())).unwrap(),
        (Mood::Refuses, false) => response.status(503).body(full(b"no")).unwrap(),
        (Mood::Refuses, true) => response.body(status("14".parse().unwrap())).unwrap(),
        (Mood::Silent, _) => std::future::pending().await,
        (Mood::Endless, _) => response.body(Endless.boxed()).unwrap(),
    })
}

struct Endless;

impl hyper::body::Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Infallible>>> {
        let bytes = Bytes::from_static(&[b'x'; 4096]);
        std::task::Poll::Ready(Some(Ok(hyper::body::Frame::data(bytes))))
    }
}
