//! What all answers to containerd are made of: the head's fields of the agent's own, and bodies of known bytes.

use super::record::RequestRecord;
use crate::http1::{Response, ResponseHead};
use crate::topology::EndpointId;
use bytes::Bytes;
use http::StatusCode;
use http::header::{HeaderName, HeaderValue};

const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-harbor-pilot-request-id");

const SERVED_BY: HeaderName = HeaderName::from_static("x-harbor-pilot-served-by");

/// Known bytes, with the record that is complete once they are written.
#[derive(Debug)]
pub struct Full {
    bytes: Option<Bytes>,
    record: Option<RequestRecord>,
}

/// An answer that is there as a whole.
pub(crate) type Answered = Response<Full>;

// === impl Full ===

impl Full {
    /// Bytes that need no record: answers of the server itself.
    pub(crate) fn plain(bytes: impl Into<Bytes>) -> Self {
        Self {
            bytes: Some(bytes.into()),
            record: None,
        }
    }

    /// All of them; none to HEAD.
    pub(crate) fn to(head: bool, bytes: impl Into<Bytes>, record: RequestRecord) -> Self {
        if head {
            return Self::empty(record);
        }
        Self {
            bytes: Some(bytes.into()),
            record: Some(record),
        }
    }

    /// No bytes (HEAD): the record is complete now.
    pub(crate) fn empty(mut record: RequestRecord) -> Self {
        record.complete();
        Self {
            bytes: None,
            record: Some(record),
        }
    }

    /// How many there are still.
    pub(crate) fn remaining(&self) -> u64 {
        self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)
    }

    /// All of them, once.
    pub(crate) fn take(&mut self) -> Option<Bytes> {
        let bytes = self.bytes.take().filter(|bytes| !bytes.is_empty());
        if let Some(record) = &mut self.record {
            record.sent(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64));
            record.complete();
        }
        bytes
    }
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

/// The field that says who served: `X-Harbor-Pilot-Served-By`.
pub(crate) fn served_by(endpoint: &EndpointId) -> (HeaderName, HeaderValue) {
    (SERVED_BY, header_value(&endpoint.to_string()))
}

/// What is made of names and numbers that were checked before.
pub(crate) fn header_value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("?"))
}
