//! `[otel]`: traces of requests, and the collector that takes them.

use super::access::tls;
use super::document::Value;
use super::model::{BaseUrl, Otel, OtelProtocol};
use super::problem::Wrong;
use super::section::{Reading, Section, Setting};
use std::sync::Arc;

/// One request in a hundred: a collector of a large fleet takes so many.
const SAMPLE_RATIO: f64 = 0.01;

/// A part of the whole: 0 to 1.
struct Ratio(f64);

/// The table, where it is written; `None`: it is not, or not whole.
pub(super) fn read_otel(root: &mut Section<'_>, cx: &mut Reading<'_>) -> Option<Arc<Otel>> {
    if !root.has("otel") {
        // Known, and absent.
        root.node("otel");
        return None;
    }
    let mut section = root.below("otel", cx);
    let endpoint = section.optional::<BaseUrl>(cx, "endpoint");
    let protocol = section.or(cx, "protocol", OtelProtocol::Http);
    let sample_ratio = section.or(cx, "sample_ratio", Ratio(SAMPLE_RATIO)).0;
    let tls = tls(&mut section, cx, endpoint.as_ref(), false);
    if let Some(endpoint) = &endpoint {
        check_endpoint(&section, endpoint, protocol, cx);
    } else if !section.has("endpoint") {
        let instead = "write where a collector listens: endpoint = \"http://127.0.0.1:4318\"";
        section.complain(cx, "endpoint", "is missing", instead);
    }
    section.finish(cx);
    Some(Arc::new(Otel {
        endpoint: endpoint?,
        protocol,
        sample_ratio,
        tls,
    }))
}

fn check_endpoint(
    section: &Section<'_>,
    endpoint: &BaseUrl,
    protocol: OtelProtocol,
    cx: &mut Reading<'_>,
) {
    if !endpoint.https && !endpoint.is_loopback() {
        let what = format!("{endpoint} would send names of images to another machine unencrypted");
        let instead = "write https://, or the loopback address of a collector on this node";
        section.complain(cx, "endpoint", what, instead);
    }
    if protocol == OtelProtocol::Grpc && !endpoint.prefix.is_empty() {
        let what = format!(
            "{} stands behind the host, which gRPC has no use for",
            endpoint.prefix
        );
        section.complain(cx, "endpoint", what, "write scheme, host and port only");
    }
}

impl Setting for Ratio {
    fn read(value: &Value) -> Result<Self, Wrong> {
        const INSTEAD: &str =
            "write a part of the requests from 0 to 1 such as 0.01, without quotes";
        let ratio = match value {
            Value::Float(ratio) => *ratio,
            Value::Integer(whole @ (0 | 1)) => f64::from(u8::from(*whole == 1)),
            Value::Integer(other) => {
                return Err(Wrong::new(format!("{other} is out of range"), INSTEAD));
            }
            other => return Err(other.is_no("number", INSTEAD)),
        };
        match (0.0..=1.0).contains(&ratio) {
            true => Ok(Self(ratio)),
            false => Err(Wrong::new(format!("{ratio} is out of range"), INSTEAD)),
        }
    }

    fn show(&self) -> toml::Value {
        self.0.into()
    }
}
