//! Several ranges of a blob as one body, `multipart/byteranges` (RFC 9110, 14.6): the parts in the order in which they were asked
//! for. The bytes come from one [`BlobBody`], span after span; those between the parts of a span are left out.

use super::body::BlobBody;
use crate::http1::{Broken, Chunk};
use crate::oci::ContentRange;
use crate::relay::blob::ranged::Span;
use bytes::{Buf as _, Bytes};
use std::collections::VecDeque;
use std::fmt;

/// The body.
pub struct Multipart {
    pub(super) blob: BlobBody,
    pub(super) framing: Framing,
    /// Pieces to be written before more is asked of the blob.
    out: VecDeque<Bytes>,
    is_over: bool,
}

/// What stands between the parts, and where in the blob they are.
pub(crate) struct Framing {
    spans: VecDeque<Span>,
    /// Parts of the first span that have been written.
    written: usize,
    /// The offset in the blob of the next byte that comes.
    at: u64,
    boundary: String,
    /// Bytes of the body still to be written.
    left: u64,
    is_first: bool,
}

// === impl Multipart ===

impl Multipart {
    pub(crate) fn new(blob: BlobBody, framing: Framing) -> Self {
        Self {
            blob,
            framing,
            out: VecDeque::new(),
            is_over: false,
        }
    }

    /// The next bytes of the body.
    pub(crate) async fn next(&mut self) -> Option<Result<Chunk, Broken>> {
        loop {
            if let Some(piece) = self.out.pop_front() {
                let written = piece.len() as u64;
                self.framing.left = self.framing.left.saturating_sub(written);
                return Some(Ok(piece.chain(Bytes::new())));
            }
            if self.is_over {
                return None;
            }
            // To its end, at which its record is complete.
            match self.blob.next().await {
                Some(Ok(bytes)) => {
                    let (first, second) = bytes.into_inner();
                    self.framing.take(first, &mut self.out);
                    self.framing.take(second, &mut self.out);
                }
                Some(Err(broken)) => return Some(Err(broken)),
                None => {
                    self.is_over = true;
                    self.out.push_back(self.framing.end());
                }
            }
        }
    }
}

// === impl Framing ===

impl Framing {
    /// `boundary`: a number that nobody can have put into the blob.
    pub(crate) fn new(spans: Vec<Span>, boundary: [u64; 2]) -> Self {
        let [high, low] = boundary;
        let mut framing = Self {
            at: spans.first().map_or(0, |span| span.range().first),
            spans: spans.into(),
            written: 0,
            boundary: format!("{high:016x}{low:016x}"),
            left: 0,
            is_first: true,
        };
        let parts = framing.spans.iter().flat_map(|span| span.parts());
        let lengths = parts.enumerate().map(|(number, part)| {
            let head = framing.head(part, number == 0).len() as u64;
            head.saturating_add(part.length())
        });
        let length = lengths.fold(framing.end().len() as u64, u64::saturating_add);
        framing.left = length;
        framing
    }

    /// The whole body's length.
    pub(crate) fn length(&self) -> u64 {
        self.left
    }

    pub(crate) fn content_type(&self) -> String {
        format!("multipart/byteranges; boundary={}", self.boundary)
    }

    fn head(&self, part: &ContentRange, is_first: bool) -> String {
        let before = if is_first { "" } else { "\r\n" };
        format!(
            "{before}--{}\r\nContent-Type: application/octet-stream\r\nContent-Range: {}\r\n\r\n",
            self.boundary,
            part.header()
        )
    }

    fn end(&self) -> Bytes {
        format!("\r\n--{}--\r\n", self.boundary).into()
    }

    /// Takes bytes of the blob, which come span after span, and puts what is to be written of them behind the rest.
    fn take(&mut self, mut bytes: Bytes, out: &mut VecDeque<Bytes>) {
        while !bytes.is_empty() {
            let Some(span) = self.spans.front() else {
                return;
            };
            let Some(part) = span.parts().get(self.written).copied() else {
                self.spans.pop_front();
                self.written = 0;
                self.at = self.spans.front().map_or(0, |span| span.range().first);
                continue;
            };
            let up_to = |offset: u64, bytes: &Bytes| {
                let wanted = offset.saturating_sub(self.at);
                usize::try_from(wanted).map_or(bytes.len(), |wanted| wanted.min(bytes.len()))
            };
            if self.at < part.first {
                let between = up_to(part.first, &bytes);
                bytes.advance(between);
                self.at = self.at.saturating_add(between as u64);
                continue;
            }
            if self.at == part.first {
                out.push_back(self.head(&part, self.is_first).into());
                self.is_first = false;
            }
            let end = part.last.saturating_add(1);
            let piece = bytes.split_to(up_to(end, &bytes));
            self.at = self.at.saturating_add(piece.len() as u64);
            out.push_back(piece);
            if self.at >= end {
                self.written = self.written.saturating_add(1);
            }
        }
    }
}

impl fmt::Debug for Multipart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Multipart")
            .field("left", &self.framing.left)
            .finish_non_exhaustive()
    }
}
