//! The byte stream of one connection: reads ahead below TLS, hands several TLS records on at once above it, and
//! counts what was received.
//!
//! rustls asks its socket for at most 4 KiB at a time, which costs a system call per 4 KiB; with the read-ahead
//! buffer it is one per 64 KiB where data flows (design 10, CPU per GiB).

use crate::lifecycle::Socket;
use bytes::{Buf, BytesMut};
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

/// What is asked of the socket at once where data flows. Twice this costs more memory and no less CPU.
pub(super) const READ_AHEAD: usize = 64 * 1024;

/// Data flows where so much comes at once. Answers such as manifests stay below: a large buffer for each of them costs more
/// than the answer, since giving one back has the allocator tidy up all that is free.
pub(super) const FIRST_READ: usize = 8 * 1024;

/// Reads in large pieces from `T` for a reader that asks for small ones, where that is allowed, from the moment on at which one
/// of its reads was filled. Until then, and where nothing flows any more, it reads by itself.
#[derive(Debug)]
pub(super) struct ReadAhead<T> {
    inner: T,
    buffer: BytesMut,
    /// Memory for it is counted somewhere.
    is_allowed: bool,
    flows: bool,
}

/// TCP, with or without TLS.
pub(super) type Transport = Either<Socket, Box<TlsStream<ReadAhead<Socket>>>>;

/// A transport that fills the reader's buffer as far as data is there, and counts it.
#[derive(Debug)]
pub(super) struct Stream<T> {
    inner: T,
    /// An error that came behind data: told at the next read.
    broken: Option<io::Error>,
    received: u64,
}

// === impl ReadAhead ===

impl<T> ReadAhead<T> {
    pub(super) fn new(inner: T) -> Self {
        Self {
            inner,
            buffer: BytesMut::new(),
            is_allowed: false,
            flows: false,
        }
    }

    /// Whether it may read ahead from now on.
    pub(super) fn allow(&mut self, is_allowed: bool) {
        self.is_allowed = is_allowed;
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for ReadAhead<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let this = &mut *self;
        if this.buffer.is_empty() {
            if !this.is_allowed || !this.flows || buf.remaining() >= READ_AHEAD {
                let read = Pin::new(&mut this.inner).poll_read(cx, buf);
                this.flows = buf.remaining() == 0;
                return read;
            }
            this.buffer.clear();
            this.buffer.reserve(READ_AHEAD);
            // The future keeps nothing between polls: dropping it loses nothing (tokio's `read_buf`).
            let read = pin!(this.inner.read_buf(&mut this.buffer)).poll(cx);
            this.flows = match read {
                Poll::Ready(Ok(length)) => length >= FIRST_READ,
                Poll::Ready(Err(_)) => false,
                // The rest of what flows is on its way.
                Poll::Pending => true,
            };
            if this.buffer.is_empty() {
                this.buffer = BytesMut::new();
            }
            ready!(read)?;
        }
        let take = this.buffer.len().min(buf.remaining());
        if let Some(bytes) = this.buffer.get(..take) {
            buf.put_slice(bytes);
        }
        this.buffer.advance(take);
        if this.buffer.is_empty() && !(this.flows && this.is_allowed) {
            this.buffer = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

// === impl Stream ===

impl<T> Stream<T> {
    pub(super) fn new(inner: T) -> Self {
        Self {
            inner,
            broken: None,
            received: 0,
        }
    }

    /// The number of bytes received so far, below HTTP and above TLS.
    pub(super) fn received(&self) -> u64 {
        self.received
    }
}

impl Stream<Transport> {
    /// What is below everything.
    pub(super) fn socket(&mut self) -> &mut Socket {
        match &mut self.inner {
            Either::Left(socket) => socket,
            Either::Right(tls) => &mut tls.get_mut().0.inner,
        }
    }

    /// Whether TLS may be read ahead of from now on.
    pub(super) fn allow_read_ahead(&mut self, is_allowed: bool) {
        if let Either::Right(tls) = &mut self.inner {
            tls.get_mut().0.allow(is_allowed);
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Stream<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(error) = self.broken.take() {
            return Poll::Ready(Err(error));
        }
        let start = buf.filled().len();
        while buf.remaining() > 0 {
            let before = buf.filled().len();
            let read = Pin::new(&mut self.inner).poll_read(cx, buf);
            let got_some_before = before > start;
            match read {
                Poll::Ready(Ok(())) if buf.filled().len() == before => break,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) if got_some_before => {
                    self.broken = Some(error);
                    break;
                }
                // The waker is registered; what is there goes on now.
                Poll::Pending if got_some_before => break,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        let got = buf.filled().len().saturating_sub(start);
        self.received = self.received.saturating_add(got as u64);
        Poll::Ready(Ok(()))
    }
}

/// Both write straight to what is below them.
macro_rules! writes_below {
    ($($layer:ident),+) => {$(
        impl<T: AsyncWrite + Unpin> AsyncWrite for $layer<T> {
            fn poll_write(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &[u8],
            ) -> Poll<io::Result<usize>> {
                Pin::new(&mut self.inner).poll_write(cx, buf)
            }

            fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut self.inner).poll_flush(cx)
            }

            fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut self.inner).poll_shutdown(cx)
            }

            fn poll_write_vectored(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
            }

            fn is_write_vectored(&self) -> bool {
                self.inner.is_write_vectored()
            }
        }
    )+};
}

writes_below!(ReadAhead, Stream);

#[cfg(test)]
mod tests;
