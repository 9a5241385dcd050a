//! Answers to containerd (design P4): only 200, 206, 404, 405, 416 and 503 leave this module, 403 where upstream denied and the
//! client shows it, 400 to lists; never a challenge, never a redirect; and the body type that the server writes.

use super::body::BlobBody;
use super::multipart::Multipart;
use super::record::RequestRecord;
use crate::http1::{Response, ResponseHead};
use crate::oci::{ErrorCode, error_body};
use crate::telemetry::RequestOutcome;
use crate::topology::EndpointId;
use bytes::buf::Chain;
use bytes::{Buf as _, Bytes};
use hyper::StatusCode;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::time::Instant;

const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-harbor-pilot-request-id");

/// Who served.
pub(crate) const SERVED_BY: HeaderName = HeaderName::from_static("x-harbor-pilot-served-by");

/// What ends a body early; the server closes the connection on it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What is written at once: of a blob the bytes on both sides of where the window was cut before. Written one after the other they
/// would wake the client twice.
pub(super) type LetGo = Chain<Bytes, Bytes>;

/// What the server writes.
#[derive(Debug)]
pub enum ResponseBody {
    /// Known bytes, or none.
    Full(Full),
    /// A blob on its way, or one part of it.
    Blob(Box<BlobBody>),
    /// Several parts of one.
    Several(Box<Multipart>),
}

/// Known bytes, with the record that is complete once they are written.
#[derive(Debug)]
pub struct Full {
    bytes: Option<Bytes>,
    record: Option<RequestRecord>,
}

/// A response under way to the server.
pub(crate) type Answered = Response<ResponseBody>;

// === impl ResponseBody ===

impl ResponseBody {
    /// Bytes that need no record: answers of the server itself.
    #[must_use]
    pub fn plain(bytes: impl Into<Bytes>) -> Self {
        Self::Full(Full {
            bytes: Some(bytes.into()),
            record: None,
        })
    }

    /// Its bytes have waited for the client for a while.
    pub(crate) fn is_unread(&mut self) {
        if let Some(blob) = self.blob() {
            blob.is_unread();
        }
    }

    /// It is ended before its end; that is said in the record.
    pub(crate) fn is_cut(&mut self, why: &str) {
        if let Some(blob) = self.blob() {
            blob.is_cut(why);
        }
    }

    fn blob(&mut self) -> Option<&mut BlobBody> {
        match self {
            Self::Full(_) => None,
            Self::Blob(blob) => Some(blob),
            Self::Several(parts) => Some(parts.blob()),
        }
    }

    pub(crate) fn recorded(bytes: Bytes, record: RequestRecord) -> Self {
        Self::Full(Full {
            bytes: Some(bytes),
            record: Some(record),
        })
    }

    /// No bytes (HEAD): the record is complete now.
    pub(crate) fn empty(mut record: RequestRecord) -> Self {
        record.complete();
        Self::Full(Full {
            bytes: None,
            record: Some(record),
        })
    }
}

impl Body for ResponseBody {
    type Data = LetGo;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<LetGo>, BoxError>>> {
        match self.get_mut() {
            Self::Full(full) => {
                let bytes = full.bytes.take().filter(|bytes| !bytes.is_empty());
                if let Some(record) = &mut full.record {
                    record.sent(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64));
                    record.complete();
                }
                Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes.chain(Bytes::new())))))
            }
            Self::Blob(blob) => blob
                .poll_next(context)
                .map(|next| next.map(|bytes| bytes.map(Frame::data))),
            Self::Several(parts) => parts
                .poll_next(context)
                .map(|next| next.map(|bytes| bytes.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(full) => full.bytes.as_ref().is_none_or(Bytes::is_empty),
            Self::Blob(_) | Self::Several(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(full) => {
                SizeHint::with_exact(full.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Self::Blob(blob) => blob
                .remaining()
                .map_or_else(SizeHint::default, SizeHint::with_exact),
            Self::Several(parts) => SizeHint::with_exact(parts.remaining()),
        }
    }
}

/// An error with the OCI error JSON. For HEAD the body stays away and its length is told, as HTTP wants it.
pub(crate) fn refusal(
    status: StatusCode,
    code: ErrorCode,
    message: &str,
    outcome: RequestOutcome,
    head: bool,
    mut record: RequestRecord,
) -> Answered {
    record.answers(status.as_u16(), outcome, Instant::now());
    let json = error_body(code, message);
    let length = json.len();
    head_of(status, &record)
        .with(CONTENT_TYPE, HeaderValue::from_static("application/json"))
        .with(CONTENT_LENGTH, length)
        .and(if head {
            ResponseBody::empty(record)
        } else {
            ResponseBody::recorded(json.into(), record)
        })
}

/// The answer where a panic took the request's own. Its record was complete with the panic.
pub(crate) fn broken(head: bool, request_id: &str) -> Answered {
    let json = error_body(
        ErrorCode::Unavailable,
        "a bug of harbor-pilot; its journal says more",
    );
    let answer = marked(StatusCode::SERVICE_UNAVAILABLE, header_value(request_id))
        .with(CONTENT_TYPE, HeaderValue::from_static("application/json"))
        .with(CONTENT_LENGTH, json.len());
    answer.and(ResponseBody::plain(if head { String::new() } else { json }))
}

/// A response's head with what every answer has.
pub(crate) fn head_of(status: StatusCode, record: &RequestRecord) -> ResponseHead {
    marked(status, header_value(&record.request_id()))
}

/// As [`head_of`], of a request that has no record.
pub(crate) fn marked(status: StatusCode, request_id: HeaderValue) -> ResponseHead {
    ResponseHead::new(status)
        .with(API_VERSION, HeaderValue::from_static("registry/2.0"))
        .with(REQUEST_ID, request_id)
}

/// `X-Harbor-Pilot-Served-By`
pub(crate) fn served_by(endpoint: &EndpointId) -> HeaderValue {
    header_value(&endpoint.to_string())
}

/// What is made of names and numbers that were checked before.
pub(crate) fn header_value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("?"))
}
