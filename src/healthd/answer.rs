//! From a verdict to an HTTP answer.

use super::metrics::Metrics;
use super::verdict::Verdict;
use crate::metrics::Format;
use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;

/// Why the answer is 503, for people who look with curl.
const REASON: HeaderName = HeaderName::from_static("x-harbor-pilot-reason");

/// Of the reason, in bytes.
const REASON_BYTES: usize = 256;

/// 405 for everything but GET and HEAD. Any path is answered, as GlueOps' responder does it.
pub(super) fn refused(method: &Method) -> Option<Response<Full<Bytes>>> {
    if matches!(*method, Method::GET | Method::HEAD) {
        return None;
    }
    let mut response = Response::new(Full::from("GET and HEAD only\n"));
    *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    let headers = response.headers_mut();
    headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    Some(response)
}

/// 200 or 503 with Harbor's list. hyper leaves the body of an answer to HEAD out.
pub(super) fn answer(verdict: &Verdict) -> Response<Full<Bytes>> {
    // Strings and lists of them always serialise.
    let body = serde_json::to_vec(verdict).unwrap_or_default();
    let mut response = Response::new(Full::from(body));
    if !verdict.is_healthy() {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if !verdict.is_healthy()
        && let Ok(reason) = HeaderValue::from_str(&header_text(&verdict.reason))
    {
        headers.insert(REASON, reason);
    }
    response
}

/// A header's value is ASCII.
fn header_text(text: &str) -> String {
    let visible = text.chars().map(|c| match c {
        ' '..='~' => c,
        _ => '?',
    });
    visible.take(REASON_BYTES).collect()
}

/// Answers on the port that serves `/metrics` and nothing else.
pub(super) fn metrics<B>(request: &Request<B>, metrics: &Metrics) -> Response<Full<Bytes>> {
    if let Some(refusal) = refused(request.method()) {
        return refusal;
    }
    if request.uri().path() != "/metrics" {
        let mut response = Response::new(Full::from("not here; there is /metrics\n"));
        *response.status_mut() = StatusCode::NOT_FOUND;
        return response;
    }
    let accept = request.headers().get(http::header::ACCEPT);
    let format = Format::accepted_by(accept.and_then(|accept| accept.to_str().ok()));
    let mut response = Response::new(Full::from(metrics.render(format)));
    let kind = HeaderValue::from_static(format.content_type());
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
