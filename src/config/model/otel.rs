//! `[otel]`: where traces of requests go.

use super::{BaseUrl, Tls};
use crate::printable::words;

/// `[otel]`
#[derive(Clone, Debug, PartialEq)]
pub struct Otel {
    /// The collector: https, or http on this machine.
    pub endpoint: BaseUrl,
    /// How spans are sent to it.
    pub protocol: OtelProtocol,
    /// How many of the traces that begin here are exported: 0 to 1.
    pub sample_ratio: f64,
    /// How TLS is spoken with it.
    pub tls: Tls,
}

words! {
    /// How OTLP is spoken.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub enum OtelProtocol {
        /// Protobuf over HTTP/1.1.
        Http = "http",
        /// gRPC.
        Grpc = "grpc",
    }
}
