//! An answer on its way out, piece by piece: nothing is asked of a body before what it gave has been written.

use super::client::{Ending, Stall};
use super::ends::Ends;
use super::framing::Framing;
use super::{Connection, Delivered};
use crate::http1::{Body, Broken, Chunk, End, Response, Told};
use crate::server::socket;
use bytes::{Buf as _, Bytes};
use http::Version;
use std::future::{Future as _, poll_fn};
use std::io::IoSlice;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::SystemTime;
use tokio::io::AsyncWrite as _;

/// What a request says of its answer.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    pub(super) version: Version,
    pub(super) to_head: bool,
    /// Its connection may stay.
    pub(super) keep: bool,
}

impl Connection {
    pub(super) async fn deliver(
        &mut self,
        answer: Response<impl Body>,
        asked: Asked,
        ends: &mut Ends,
    ) -> Delivered {
        let Response { head, mut body } = answer;
        let Asked {
            version, to_head, ..
        } = asked;
        let end = head.end(body.length(), to_head, version);
        let keep = asked.keep && end != End::Close;
        let told = Told {
            version,
            to_head,
            end,
            keep,
        };
        let date = self.date.at(SystemTime::now());
        self.out.clear();
        self.written = 0;
        head.write(&mut self.out, told, date);
        match self.write_all(&mut body, end, to_head, ends).await {
            Err(why) => {
                if matches!(why, Ending::MadeWay | Ending::Stalled(_)) {
                    body.is_cut(&why.to_string());
                    socket::forget_soon(&self.stream);
                }
                Delivered::Broken(why)
            }
            Ok(()) if keep => Delivered::Kept,
            Ok(()) => Delivered::Last,
        }
    }

    /// Writes the head and the body behind it, piece by piece: nothing is asked of the body before what it gave has been written.
    async fn write_all(
        &mut self,
        body: &mut impl Body,
        end: End,
        to_head: bool,
        ends: &mut Ends,
    ) -> Result<(), Ending> {
        let mut framing = Framing::new(end);
        let mut is_over = to_head;
        loop {
            let mut piece = Bytes::new().chain(Bytes::new());
            if !is_over {
                match self.next_piece(body, ends).await? {
                    Some(Ok(next)) => piece = next,
                    // Nothing of what was let go is lost: it has been written.
                    Some(Err(Broken::Fin)) => return Err(Ending::Gone),
                    Some(Err(Broken::Reset)) => {
                        socket::reset_on_close(&self.stream);
                        return Err(Ending::Gone);
                    }
                    None => is_over = true,
                }
                let fits = if is_over {
                    framing.finish(&mut self.out)
                } else {
                    framing.begin(piece.remaining() as u64, &mut self.out)
                };
                if !fits {
                    return Err(Ending::Gone);
                }
            }
            self.write(&mut piece, body, ends).await?;
            if is_over || framing.is_whole() {
                return Ok(());
            }
        }
    }

    /// The next piece of a body. While there is none the head goes out.
    async fn next_piece(
        &mut self,
        body: &mut impl Body,
        ends: &mut Ends,
    ) -> Result<Option<Result<Chunk, Broken>>, Ending> {
        let mut next = pin!(body.next());
        poll_fn(|context| {
            if let Poll::Ready(next) = next.as_mut().poll(context) {
                return Poll::Ready(Ok(next));
            }
            let mut nothing = Bytes::new().chain(Bytes::new());
            if let Poll::Ready(Err(gone)) = self.poll_write(&mut nothing, context) {
                return Poll::Ready(Err(gone));
            }
            self.poll_over(ends, || {}, context).map(Err)
        })
        .await
    }

    /// Writes what is encoded, and a piece behind it.
    async fn write(
        &mut self,
        piece: &mut Chunk,
        body: &mut impl Body,
        ends: &mut Ends,
    ) -> Result<(), Ending> {
        poll_fn(|context| {
            if let Poll::Ready(written) = self.poll_write(piece, context) {
                return Poll::Ready(written);
            }
            self.poll_over(ends, || body.is_unread(), context).map(Err)
        })
        .await
    }

    fn poll_write(
        &mut self,
        piece: &mut Chunk,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Ending>> {
        loop {
            let encoded = self.out.get(self.written..).unwrap_or_default();
            if encoded.is_empty() && !piece.has_remaining() {
                self.out.clear();
                self.written = 0;
                // TLS may still hold some of it.
                let flushed = Pin::new(&mut self.stream).poll_flush(context);
                if flushed.is_pending() {
                    self.client.waits();
                }
                return flushed.map_err(|_| Ending::Gone);
            }
            let mut slices = [IoSlice::new(&[]); 3];
            let [first, others @ ..] = &mut slices;
            *first = IoSlice::new(encoded);
            let used = piece.chunks_vectored(others).saturating_add(1);
            let slices = slices.get(..used).unwrap_or_default();
            let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
            let of_encoded = encoded.len();
            match written {
                Poll::Pending => {
                    self.client.waits();
                    return Poll::Pending;
                }
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(Ending::Gone)),
                Poll::Ready(Ok(written)) => {
                    self.client.took(written);
                    let of_encoded = written.min(of_encoded);
                    self.written = self.written.saturating_add(of_encoded);
                    piece.advance(written.saturating_sub(of_encoded));
                }
            }
        }
    }

    /// Ready when an answer is to end before its end. `unread`: its bytes have waited for the client for a while.
    fn poll_over(
        &mut self,
        ends: &mut Ends,
        mut unread: impl FnMut(),
        context: &mut Context<'_>,
    ) -> Poll<Ending> {
        while let Poll::Ready(stall) = self.client.poll_stall(context) {
            match stall {
                Stall::Unread => unread(),
                Stall::Over => {
                    let limit = self.client.slot.stall_limit();
                    return Poll::Ready(Ending::Stalled(limit));
                }
            }
        }
        if ends.poll_cut(context) {
            return Poll::Ready(Ending::Drained);
        }
        self.poll_ending(context)
    }
}
