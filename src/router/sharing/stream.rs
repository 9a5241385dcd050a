//! A connection on which no more is read than is expected: what comes is kept in memory until an answer is whole, and its length
//! is what the other side says.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream with a limit.
#[derive(Debug)]
pub(super) struct Limited<S> {
    inner: S,
    left: Allowance,
}

/// How many bytes may still come; whoever asks for something sets it.
#[derive(Clone, Debug)]
pub(super) struct Allowance(Arc<AtomicUsize>);

// === impl Allowance ===

impl Allowance {
    pub(super) fn set(&self, bytes: usize) {
        self.0.store(bytes, Ordering::Relaxed);
    }
}

// === impl Limited ===

impl<S> Limited<S> {
    pub(super) fn new(inner: S, bytes: usize) -> (Self, Allowance) {
        let left = Allowance(Arc::new(AtomicUsize::new(bytes)));
        let limited = Self {
            inner,
            left: left.clone(),
        };
        (limited, left)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Limited<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buffer))?;
        let came = buffer.filled().len().saturating_sub(before);
        let left = self.left.0.load(Ordering::Relaxed);
        Poll::Ready(match left.checked_sub(came) {
            Some(left) => {
                self.left.set(left);
                Ok(())
            }
            None => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the answer is longer than any that was asked for",
            )),
        })
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Limited<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
