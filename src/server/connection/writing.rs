//! An answer on its way out, piece by piece: nothing is asked of the body before what it gave has been written.

use super::Connection;
use crate::http1::End;
use bytes::Buf;
use hyper::body::Body;
use std::io::{IoSlice, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::AsyncWrite as _;

/// An answer on its way out: its head, which is spelled already, and its body.
pub(super) struct Writing<D> {
    end: End,
    /// What a body with a length still owes.
    left: u64,
    /// The piece of the body that is being written.
    piece: Option<D>,
    has_chunks: bool,
    is_over: bool,
    /// How much of what is spelled has been written.
    spelled: usize,
}

// === impl Writing ===

impl<D: Buf> Writing<D> {
    pub(super) fn of(end: End, to_head: bool) -> Self {
        Self {
            end,
            left: match end {
                End::Length(length) => length,
                End::Chunked | End::Close => 0,
            },
            piece: None,
            has_chunks: false,
            is_over: to_head,
            spelled: 0,
        }
    }

    /// Writes on. `false`: it cannot become whole.
    pub(super) fn poll(
        &mut self,
        to: &mut Connection,
        body: &mut (impl Body<Data = D> + Unpin),
        context: &mut Context<'_>,
    ) -> Poll<bool> {
        loop {
            let mut waits = false;
            if self.piece.is_none() && !self.is_over {
                match Pin::new(&mut *body).poll_frame(context) {
                    Poll::Ready(Some(Ok(frame))) => {
                        if let Ok(piece) = frame.into_data()
                            && !self.take(piece, &mut to.out)
                        {
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
            if spelled.is_empty() && self.piece.is_none() {
                if self.is_over || (waits && self.is_delivered()) {
                    return Poll::Ready(true);
                }
                if waits {
                    return Poll::Pending;
                }
                continue;
            }
            let written = {
                let mut slices = [IoSlice::new(&[]); 3];
                let [first, others @ ..] = &mut slices;
                *first = IoSlice::new(spelled);
                let used = self.piece.as_ref();
                let used = used
                    .map_or(0, |piece| piece.chunks_vectored(others))
                    .saturating_add(1);
                let slices = slices.get(..used).unwrap_or_default();
                let written = Pin::new(&mut to.stream).poll_write_vectored(context, slices);
                if written.is_pending() {
                    to.client.waits();
                }
                ready!(written)
            };
            match written {
                Ok(0) | Err(_) => return Poll::Ready(false),
                Ok(written) => {
                    to.client.took(written);
                    let of_spelled = written.min(spelled.len());
                    self.wrote(of_spelled, written.saturating_sub(of_spelled), &mut to.out);
                }
            }
        }
    }

    /// So much was written of what is spelled, and of the piece.
    fn wrote(&mut self, of_spelled: usize, of_piece: usize, out: &mut Vec<u8>) {
        self.spelled = self.spelled.saturating_add(of_spelled);
        if self.spelled == out.len() {
            out.clear();
            self.spelled = 0;
        }
        if let Some(piece) = &mut self.piece {
            piece.advance(of_piece);
            if !piece.has_remaining() {
                self.piece = None;
            }
        }
    }

    /// Takes a piece of the body on. `false`: it is more than the head has said.
    fn take(&mut self, piece: D, out: &mut Vec<u8>) -> bool {
        let length = piece.remaining() as u64;
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
        self.piece = Some(piece).filter(D::has_remaining);
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
