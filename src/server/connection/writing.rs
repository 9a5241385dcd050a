//! An answer on its way out, piece by piece: nothing is asked of the body before what it gave has been written.

use super::Connection;
use crate::http1::End;
use bytes::{Buf as _, Bytes};
use hyper::body::Body;
use std::io::{IoSlice, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::AsyncWrite as _;

/// An answer on its way out: its head, which is spelled already, and its body.
pub(super) struct Writing {
    end: End,
    /// What a body with a length still owes.
    left: u64,
    /// The piece of the body that is being written.
    piece: Bytes,
    has_chunks: bool,
    is_over: bool,
    /// How much of what is spelled has been written.
    spelled: usize,
}

// === impl Writing ===

impl Writing {
    pub(super) fn of(end: End, to_head: bool) -> Self {
        Self {
            end,
            left: match end {
                End::Length(length) => length,
                End::Chunked | End::Close => 0,
            },
            piece: Bytes::new(),
            has_chunks: false,
            is_over: to_head,
            spelled: 0,
        }
    }

    /// Writes on. `false`: it cannot become whole.
    pub(super) fn poll(
        &mut self,
        to: &mut Connection,
        body: &mut (impl Body<Data = Bytes> + Unpin),
        context: &mut Context<'_>,
    ) -> Poll<bool> {
        loop {
            let mut waits = false;
            if self.piece.is_empty() && !self.is_over {
                match Pin::new(&mut *body).poll_frame(context) {
                    Poll::Ready(Some(Ok(frame))) => {
                        let piece = frame.into_data().unwrap_or_default();
                        if !self.take(piece, &mut to.out) {
                            return Poll::Ready(false);
                        }
                    }
                    // Nothing of what was let go is lost: it has been written.
                    Poll::Ready(Some(Err(_))) => return Poll::Ready(false),
                    Poll::Ready(None) if self.finish(&mut to.out) => {}
                    Poll::Ready(None) => return Poll::Ready(false),
                    Poll::Pending => waits = true,
                }
            }
            let spelled = to.out.get(self.spelled..).unwrap_or_default();
            if spelled.is_empty() && self.piece.is_empty() {
                if self.is_over || (waits && self.is_delivered()) {
                    return Poll::Ready(true);
                }
                if waits {
                    return Poll::Pending;
                }
                continue;
            }
            let slices = [IoSlice::new(spelled), IoSlice::new(&self.piece)];
            let stream = Pin::new(&mut to.stream);
            match ready!(stream.poll_write_vectored(context, &slices)) {
                Ok(0) | Err(_) => return Poll::Ready(false),
                Ok(written) => {
                    let of_spelled = written.min(spelled.len());
                    self.spelled += of_spelled;
                    self.piece.advance(written - of_spelled);
                    if self.spelled == to.out.len() {
                        to.out.clear();
                        self.spelled = 0;
                    }
                }
            }
        }
    }

    /// Takes a piece of the body on. `false`: it is more than the head has said.
    fn take(&mut self, piece: Bytes, out: &mut Vec<u8>) -> bool {
        let length = piece.len() as u64;
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
        self.piece = piece;
        true
    }

    /// The body has ended. `false`: it is less than the head has said.
    fn finish(&mut self, out: &mut Vec<u8>) -> bool {
        self.is_over = true;
        if self.end == End::Chunked {
            let before: &[u8] = if self.has_chunks { b"\r\n" } else { b"" };
            out.extend_from_slice(before);
            out.extend_from_slice(b"0\r\n\r\n");
        }
        self.left == 0
    }

    /// Everything that the head has said is out.
    fn is_delivered(&self) -> bool {
        matches!(self.end, End::Length(_)) && self.left == 0
    }
}
