//! Responses as a server writes them (RFC 9112, 4, 6 and 9.3).

use http::header::{CONNECTION, CONTENT_LENGTH, DATE, HeaderName, HeaderValue, TRANSFER_ENCODING};
use http::{StatusCode, Version};
use std::io::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The end of the year 9999, in seconds since 1970: later dates cannot be written.
const LAST_SECOND: u64 = 253_402_300_799;

/// Room for the fields of most responses.
const ROOM: usize = 8;

/// A response on its way to a client.
#[derive(Clone, Debug)]
pub struct Response<B> {
    /// What goes before the body.
    pub head: ResponseHead,
    /// The body, or how to get it.
    pub body: B,
}

/// The head of a response. Its fields are so few that looking at all of them is quicker than hashing one.
#[derive(Clone, Debug)]
pub struct ResponseHead {
    /// Any but an interim one.
    pub status: StatusCode,
    /// What the status line says behind the status; none: the usual words.
    pub reason: Option<&'static str>,
    fields: Vec<(HeaderName, HeaderValue)>,
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

/// What a head says of its request and its body.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    /// The request's HTTP version.
    pub version: Version,
    /// The request was a HEAD.
    pub to_head: bool,
    /// Where the body ends.
    pub end: End,
    /// The client may ask more.
    pub keep: bool,
}

/// A `Date`, formatted once a second.
#[derive(Debug, Default)]
pub struct Date {
    second: u64,
    text: String,
}

// === impl Response ===

impl<B> Response<B> {
    /// A response without header fields.
    pub fn new(status: StatusCode, body: B) -> Self {
        Self {
            head: ResponseHead::new(status),
            body,
        }
    }

    /// With another body, made of this one's.
    pub fn map<C>(self, body: impl FnOnce(B) -> C) -> Response<C> {
        self.head.and(body(self.body))
    }
}

// === impl ResponseHead ===

impl ResponseHead {
    /// A head without header fields.
    #[must_use]
    pub fn new(status: StatusCode) -> Self {
        Self {
            status,
            reason: None,
            fields: Vec::with_capacity(ROOM),
        }
    }

    /// Sets a field: it has no other value then.
    pub fn set(&mut self, name: HeaderName, value: impl Into<HeaderValue>) {
        let value = value.into();
        match self.fields.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => self.fields.push((name, value)),
        }
    }

    /// [`ResponseHead::set`] as a builder.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: impl Into<HeaderValue>) -> Self {
        self.set(name, value);
        self
    }

    /// The head together with its body.
    pub fn and<B>(self, body: B) -> Response<B> {
        Response { head: self, body }
    }

    /// The first value of a field.
    #[must_use]
    pub fn get(&self, name: &HeaderName) -> Option<&HeaderValue> {
        let mut fields = self.fields.iter();
        let (_, value) = fields.find(|(known, _)| known == name)?;
        Some(value)
    }

    /// How its end is told. `length`: of its body, where that is known and the head does not say it; `to_head`: it has none.
    #[must_use]
    pub fn end(&self, length: Option<u64>, to_head: bool, version: Version) -> End {
        let is_empty = to_head
            || self.status.is_informational()
            || matches!(
                self.status,
                StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
            );
        let said = self.get(&CONTENT_LENGTH);
        let said = said.and_then(|said| said.to_str().ok()?.parse().ok());
        match said.or(length) {
            _ if is_empty => End::Length(0),
            Some(length) => End::Length(length),
            None if version == Version::HTTP_11 => End::Chunked,
            None => End::Close,
        }
    }

    /// Writes it as it goes onto the wire; `Date`, `Connection` and what tells its end are added.
    pub fn write(&self, out: &mut Vec<u8>, told: Told, date: &str) {
        let Told {
            version,
            to_head,
            end,
            keep,
        } = told;
        let is_1_1 = version == Version::HTTP_11;
        out.extend_from_slice(if is_1_1 { b"HTTP/1.1 " } else { b"HTTP/1.0 " });
        out.extend_from_slice(self.status.as_str().as_bytes());
        out.push(b' ');
        let usual = || self.status.canonical_reason().unwrap_or("Unknown");
        out.extend_from_slice(self.reason.unwrap_or_else(usual).as_bytes());
        out.extend_from_slice(b"\r\n");
        for (name, value) in &self.fields {
            if *name != CONNECTION && *name != TRANSFER_ENCODING {
                field(out, name, value.as_bytes());
            }
        }
        match end {
            // What a HEAD would have had is for its answer to say; 204 never has any.
            End::Length(_) if to_head || self.get(&CONTENT_LENGTH).is_some() => {}
            End::Length(_) if self.status == StatusCode::NO_CONTENT => {}
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
        if self.get(&DATE).is_none() {
            field(out, &DATE, date.as_bytes());
        }
        out.extend_from_slice(b"\r\n");
    }
}

fn field(out: &mut Vec<u8>, name: &HeaderName, value: &[u8]) {
    let name = name.as_str().as_bytes();
    out.reserve(name.len().saturating_add(value.len()).saturating_add(4));
    out.extend_from_slice(name);
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
            // What no clock holds is 1970 there, as is what was before.
            let since_epoch = Duration::from_secs(second.min(LAST_SECOND));
            let at = UNIX_EPOCH.checked_add(since_epoch).unwrap_or(UNIX_EPOCH);
            self.text = httpdate::fmt_http_date(at);
        }
        &self.text
    }
}
