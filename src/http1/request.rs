//! Requests as a server reads them (RFC 9112, 3 and 6).

use super::fields::{
    FIELDS, content_length, is_connection, last_coding, length_of, wants_keep_alive,
};
use super::{Fields, Wrong};
use bytes::{Buf, BytesMut};
use http::header::CONTENT_LENGTH;
use http::{Method, Version};
use httparse::ParserConfig;
use std::mem::MaybeUninit;

/// A request without its body.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method, known or not.
    pub method: Method,
    /// As it was sent: a path with its query, mostly.
    pub target: String,
    /// HTTP/1.1 or HTTP/1.0: others are refused.
    pub version: Version,
    /// The fields of the head.
    pub fields: Fields,
}

/// A request, and what follows it.
#[derive(Debug)]
pub struct RequestHead {
    /// The head that was read.
    pub request: Request,
    /// The client wants to ask more on the same connection.
    pub keep: bool,
    /// Something follows that is not the next request.
    pub has_body: bool,
}

/// The next request's head, taken from the front of what was received: at most `limit` bytes. `None`: more is wanted.
///
/// # Errors
/// [`Wrong`]: what was received can never become a request.
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
        method: method.map_err(|_| Wrong::Syntax("an invalid method"))?,
        target: parsed.path.unwrap_or_default().to_owned(),
        version: match parsed.version {
            Some(1) => Version::HTTP_11,
            _ => Version::HTTP_10,
        },
        fields: Fields::from_parsed(buffer, length, parsed.headers),
    };
    if request.target.contains('#') {
        return Err(Wrong::Syntax("a target with a fragment"));
    }
    let fields = &request.fields;
    // Who says both wants it closed (RFC 9112, 9.3).
    let keep = !is_connection(fields, b"close")
        && (request.version == Version::HTTP_11 || wants_keep_alive(fields));
    let is_coded = is_coded(fields, request.version)?;
    let is_list = |length: &[u8]| length.contains(&b',');
    if fields.all(&CONTENT_LENGTH).any(is_list) {
        return Err(Wrong::Syntax("a Content-Length that is a list"));
    }
    let length_of_body = content_length(fields)?.unwrap_or_default();
    let has_body = is_coded || length_of_body > 0;
    buffer.advance(length);
    Ok(Some(RequestHead {
        request,
        keep,
        has_body,
    }))
}

/// Whether the body is in chunks.
///
/// # Errors
/// Nobody can tell where it ends (RFC 9112, 6.1 and 6.3): the last coding is another one, or HTTP/1.0 has none.
fn is_coded(fields: &Fields, version: Version) -> Result<bool, Wrong> {
    let Some(last) = last_coding(fields)? else {
        return Ok(false);
    };
    if version != Version::HTTP_11 {
        return Err(Wrong::Syntax("HTTP/1.0 with a Transfer-Encoding"));
    }
    if !last.eq_ignore_ascii_case(b"chunked") {
        return Err(Wrong::Syntax(
            "a Transfer-Encoding that does not end in chunked",
        ));
    }
    Ok(true)
}
