//! How the pieces of an answer's body are framed: by the length that its head has told, in chunks, or not at all.

use crate::http1::End;
use std::io::Write as _;

/// The framing of one body.
pub(super) struct Framing {
    end: End,
    /// What a body with a length still owes.
    left: u64,
    has_chunks: bool,
}

// === impl Framing ===

impl Framing {
    pub(super) fn new(end: End) -> Self {
        let left = match end {
            End::Length(length) => length,
            End::Chunked | End::Close => 0,
        };
        Self {
            end,
            left,
            has_chunks: false,
        }
    }

    /// A piece of so many bytes follows what is in `out`. `false`: it is more than the head has said.
    pub(super) fn begin(&mut self, length: u64, out: &mut Vec<u8>) -> bool {
        match self.end {
            End::Length(_) => match self.left.checked_sub(length) {
                Some(left) => self.left = left,
                None => return false,
            },
            End::Chunked if length > 0 => {
                let before = if self.has_chunks { "\r\n" } else { "" };
                // Writing to memory does not fail.
                let _ = write!(out, "{before}{length:x}\r\n");
                self.has_chunks = true;
            }
            End::Chunked | End::Close => {}
        }
        true
    }

    /// The body has ended. `false`: it is less than the head has said.
    pub(super) fn finish(&self, out: &mut Vec<u8>) -> bool {
        if self.end == End::Chunked {
            let before: &[u8] = if self.has_chunks { b"\r\n" } else { b"" };
            out.extend_from_slice(before);
            out.extend_from_slice(b"0\r\n\r\n");
        }
        self.left == 0
    }

    /// Everything that the head has said has come: nobody waits for the end.
    pub(super) fn is_whole(&self) -> bool {
        matches!(self.end, End::Length(_)) && self.left == 0
    }
}
