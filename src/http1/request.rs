//! Requests as a server reads them, and the heads of its answers (RFC 9112, 3, 6 and 9.3).

use super::fields::{FIELDS, content_length, is_connection, length_of};
use super::{Fields, Wrong};
use bytes::{Buf, BytesMut};
use httparse::ParserConfig;
use hyper::header::{CONNECTION, CONTENT_LENGTH, DATE, HeaderName, TRANSFER_ENCODING};
use hyper::http::response::Parts;
use hyper::{Method, StatusCode, Version};
use std::io::Write as _;
use std::mem::MaybeUninit;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A request without its body.
#[derive(Clone, Debug)]
pub struct Request {
    /// Any.
    pub method: Method,
    /// As it was sent: a path with its query, mostly.
    pub target: String,
    /// HTTP/1.1 or HTTP/1.0.
    pub version: Version,
    /// All of them.
    pub fields: Fields,
}

/// A request, and what follows it.
#[derive(Debug)]
pub struct RequestHead {
    /// The request.
    pub request: Request,
    /// The client wants to ask more on the same connection.
    pub keep: bool,
    /// Something follows that is not the next request.
    pub has_body: bool,
}

/// How the end of an answer's body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By its length; without a body by its absence.
    Length(u64),
    /// By a last chunk.
    Chunked,
    /// By the end of the connection: HTTP/1.0 without a length.
    Close,
}

/// A `Date`, spelled once a second.
#[derive(Debug, Default)]
pub struct Date {
    second: u64,
    text: String,
}

/// The next request's head, taken from the front of what was received: at most `limit` bytes. `None`: more is wanted.
///
/// # Errors
/// It can never become a request.
pub fn request_head(buffer: &mut BytesMut, limit: usize) -> Result<Option<RequestHead>, Wrong> {
    let mut places = [const { MaybeUninit::uninit() }; FIELDS];
    let mut parsed = httparse::Request::new(&mut []);
    let parser = ParserConfig::default();
    let read = parser.parse_request_with_uninit_headers(&mut parsed, buffer, &mut places);
    let Some(length) = length_of(read, buffer, limit)? else {
        return Ok(None);
    };
    let method = Method::from_bytes(parsed.method.unwrap_or_default().as_bytes());
    let request = Request {
        method: method.map_err(|_| Wrong::Syntax("a method that is none"))?,
        target: parsed.path.unwrap_or_default().to_owned(),
        version: match parsed.version {
            Some(1) => Version::HTTP_11,
            _ => Version::HTTP_10,
        },
        fields: Fields::of(buffer, length, parsed.headers),
    };
    let fields = &request.fields;
    let keep = match request.version {
        Version::HTTP_11 => !is_connection(fields, b"close"),
        _ => is_connection(fields, b"keep-alive"),
    };
    let length_of_body = content_length(fields)?.unwrap_or_default();
    let has_body = length_of_body > 0 || fields.contains(&TRANSFER_ENCODING);
    buffer.advance(length);
    Ok(Some(RequestHead {
        request,
        keep,
        has_body,
    }))
}

/// How an answer's end is told. `length`: of its body, where that is known and the head does not say it; `to_head`: it has
/// none.
#[must_use]
pub fn end_of(head: &Parts, length: Option<u64>, to_head: bool, version: Version) -> End {
    let is_empty = to_head
        || head.status.is_informational()
        || matches!(
            head.status,
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
        );
    let said = head.headers.get(CONTENT_LENGTH);
    let said = said.and_then(|said| said.to_str().ok()?.parse().ok());
    match said.or(length) {
        _ if is_empty => End::Length(0),
        Some(length) => End::Length(length),
        None if version == Version::HTTP_11 => End::Chunked,
        None => End::Close,
    }
}

/// Writes an answer's head as it goes onto the wire; `Date`, `Connection` and what tells its end are added. `keep`: the
/// client may ask more.
pub fn write_head(
    out: &mut Vec<u8>,
    head: &Parts,
    (version, to_head): (Version, bool),
    (end, keep): (End, bool),
    date: &str,
) {
    let is_1_1 = version == Version::HTTP_11;
    out.extend_from_slice(if is_1_1 { b"HTTP/1.1 " } else { b"HTTP/1.0 " });
    out.extend_from_slice(head.status.as_str().as_bytes());
    out.push(b' ');
    let reason = head.status.canonical_reason().unwrap_or("Unknown");
    out.extend_from_slice(reason.as_bytes());
    out.extend_from_slice(b"\r\n");
    for (name, value) in &head.headers {
        if *name != CONNECTION && *name != TRANSFER_ENCODING {
            field(out, name, value.as_bytes());
        }
    }
    match end {
        // What a HEAD would have had is for its answer to say; 204 never has any.
        End::Length(_) if to_head || head.headers.contains_key(CONTENT_LENGTH) => {}
        End::Length(_) if head.status == StatusCode::NO_CONTENT => {}
        // Written out: a field's value of its own would be an allocation.
        End::Length(length) => {
            out.extend_from_slice(b"content-length: ");
            // Writing to memory does not fail.
            let _ = write!(out, "{length}\r\n");
        }
        End::Chunked => field(out, &TRANSFER_ENCODING, b"chunked"),
        End::Close => {}
    }
    if !keep {
        field(out, &CONNECTION, b"close");
    } else if !is_1_1 {
        field(out, &CONNECTION, b"keep-alive");
    }
    if !head.headers.contains_key(DATE) {
        field(out, &DATE, date.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

fn field(out: &mut Vec<u8>, name: &HeaderName, value: &[u8]) {
    out.extend_from_slice(name.as_str().as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

// === impl Date ===

impl Date {
    /// As it stands in a head.
    pub fn at(&mut self, now: SystemTime) -> &str {
        let second = now
            .duration_since(UNIX_EPOCH)
            .unwrap_or(Duration::ZERO)
            .as_secs();
        if second != self.second || self.text.is_empty() {
            self.second = second;
            self.text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(second));
        }
        &self.text
    }
}
