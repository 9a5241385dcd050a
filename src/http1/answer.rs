//! Answers as a client reads them (RFC 9112, 4 and 6.3).

use super::fields::{FIELDS, content_length, is_connection, last_coding, length_of};
use super::{Fields, Framing, Wrong};
use bytes::{Buf, BytesMut};
use http::StatusCode;
use http::header::CONTENT_LENGTH;
use httparse::ParserConfig;
use std::mem::MaybeUninit;

/// Interim answers (1xx) that may come before an answer: more than any server sends (RFC 9110, 15.2).
const INTERIM: u32 = 8;

/// The head of an answer.
#[derive(Debug)]
pub struct AnswerHead {
    /// Never an interim one (1xx).
    pub status: StatusCode,
    /// The fields of the head.
    pub fields: Fields,
    /// Where its body ends.
    pub framing: Framing,
    /// The connection can carry another request once the body has been read: both sides speak HTTP/1.1, nobody asked to
    /// close, and the body's end does not depend on the connection's.
    pub keep: bool,
}

/// The next answer's head, taken from the front of what was received: at most `limit` bytes. `None`: more is wanted.
/// Interim answers are skipped, and counted in `interim`: at most 8 of them come before an answer. `to_head`: the request was
/// a HEAD.
///
/// # Errors
/// [`Wrong`]: what was received can never become an answer.
pub fn answer_head(
    buffer: &mut BytesMut,
    to_head: bool,
    limit: usize,
    interim: &mut u32,
) -> Result<Option<AnswerHead>, Wrong> {
    loop {
        let mut places = [const { MaybeUninit::uninit() }; FIELDS];
        let mut answer = httparse::Response::new(&mut []);
        let parser = ParserConfig::default();
        let parsed = parser.parse_response_with_uninit_headers(&mut answer, buffer, &mut places);
        let Some(length) = length_of(parsed, buffer, limit)? else {
            return Ok(None);
        };
        let fields = Fields::from_parsed(buffer, length, answer.headers);
        let status = answer.code.and_then(|code| StatusCode::from_u16(code).ok());
        let status = status.ok_or(Wrong::Syntax("an invalid status"))?;
        let is_1_1 = answer.version == Some(1);
        buffer.advance(length);
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(Wrong::Syntax("it switches to another protocol"));
        }
        if !status.is_informational() {
            return AnswerHead::new(status, fields, is_1_1, to_head).map(Some);
        }
        *interim = interim.saturating_add(1);
        if *interim > INTERIM {
            return Err(Wrong::Syntax("more than 8 interim answers"));
        }
    }
}

// === impl AnswerHead ===

impl AnswerHead {
    fn new(
        status: StatusCode,
        mut fields: Fields,
        is_1_1: bool,
        to_head: bool,
    ) -> Result<Self, Wrong> {
        let coding = last_coding(&fields)?;
        let framing = match coding {
            _ if to_head => Framing::Length(0),
            _ if matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) => {
                Framing::Length(0)
            }
            Some(_) if !is_1_1 => return Err(Wrong::Syntax("HTTP/1.0 with a Transfer-Encoding")),
            Some(last) if last.eq_ignore_ascii_case(b"chunked") => Framing::chunked(),
            Some(_) => Framing::UntilClose,
            None => content_length(&fields)?.map_or(Framing::UntilClose, Framing::Length),
        };
        // With both, somebody on the way may have read the other one (RFC 9112, 6.3).
        let is_coded = coding.is_some();
        let is_doubtful = is_coded && fields.remove(&CONTENT_LENGTH);
        let keep = is_1_1
            && !is_connection(&fields, b"close")
            && !is_doubtful
            && framing != Framing::UntilClose;
        Ok(Self {
            status,
            fields,
            framing,
            keep,
        })
    }
}
