//! Several ranges of a blob as one body, `multipart/byteranges` (RFC 9110, 14.6): the parts in the order in which they were asked
//! for. The bytes come from one [`BlobBody`], span after span; those between the parts of a span are left out.

use super::body::BlobBody;
use super::ranged::is_followed_by;
use crate::http1::{Broken, Chunk};
use crate::oci::ContentRange;
use bytes::{Buf as _, Bytes};
use std::collections::VecDeque;

/// The body.
pub struct Multipart {
    pub(super) blob: BlobBody,
    /// Parts that are not written to their end.
    parts: VecDeque<ContentRange>,
    /// The offset in the blob of the next byte that comes.
    at: u64,
    boundary: String,
    is_first: bool,
    /// Pieces to be written before more is asked of the blob.
    out: VecDeque<Bytes>,
    is_over: bool,
}

// === impl Multipart ===

impl Multipart {
    /// `boundary`: a number that nobody can have put into the blob.
    pub(super) fn new(blob: BlobBody, parts: Vec<ContentRange>, boundary: [u64; 2]) -> Self {
        let [high, low] = boundary;
        Self {
            blob,
            at: parts.first().map_or(0, |part| part.first),
            parts: parts.into(),
            boundary: format!("{high:016x}{low:016x}"),
            is_first: true,
            out: VecDeque::new(),
            is_over: false,
        }
    }

    /// Its length, before anything is written.
    pub(super) fn length(&self) -> u64 {
        let lengths = self.parts.iter().enumerate().map(|(number, part)| {
            let head = self.head(part, number == 0).len() as u64;
            head.saturating_add(part.length())
        });
        lengths.fold(self.end().len() as u64, u64::saturating_add)
    }

    /// The next bytes of the body.
    pub(super) async fn next(&mut self) -> Option<Result<Chunk, Broken>> {
        loop {
            if let Some(piece) = self.out.pop_front() {
                return Some(Ok(piece.chain(Bytes::new())));
            }
            if self.is_over {
                return None;
            }
            // To its end, at which its record is complete.
            match self.blob.next().await {
                Some(Ok(bytes)) => {
                    let (first, second) = bytes.into_inner();
                    self.take(first);
                    self.take(second);
                }
                Some(Err(broken)) => return Some(Err(broken)),
                None => {
                    self.is_over = true;
                    self.out.push_back(self.end());
                }
            }
        }
    }

    pub(super) fn content_type(&self) -> String {
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
    fn take(&mut self, mut bytes: Bytes) {
        while let Some(part) = self.parts.front().copied()
            && !bytes.is_empty()
        {
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
                self.out.push_back(self.head(&part, self.is_first).into());
                self.is_first = false;
            }
            let end = part.last.saturating_add(1);
            let piece = bytes.split_to(up_to(end, &bytes));
            self.at = self.at.saturating_add(piece.len() as u64);
            self.out.push_back(piece);
            if self.at >= end {
                self.parts.pop_front();
                // Bytes of the next span begin where it does.
                let next = self.parts.front();
                let next = next.filter(|next| !is_followed_by(&part, next));
                self.at = next.map_or(self.at, |next| next.first);
            }
        }
    }
}
