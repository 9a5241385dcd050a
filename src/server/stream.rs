//! A client's connection that can end in two ways: in good order, or with a reset where wrong bytes were sent
//! (design P8: with FIN containerd would glue the next host's tail to them).

use crate::lifecycle::Socket;
use socket2::SockRef;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What the kernel may hold for a client, in bytes (Linux takes twice that, with its own bookkeeping): containerd 2.1 asks
/// for open-ended ranges and closes them early, and what lies here by then was fetched for nothing.
const SEND_BUFFER: usize = 128 * 1024;

/// How long a client that is ended because it takes nothing may still take what the kernel holds for it.
const LEFT: Duration = Duration::from_secs(10);

/// The connection.
#[derive(Debug)]
pub(super) struct Downstream {
    stream: Socket,
    reset: Arc<AtomicBool>,
}

impl Downstream {
    /// `reset` is looked at when the connection ends.
    pub(super) fn new(stream: Socket, reset: Arc<AtomicBool>) -> Self {
        if let Some(tcp) = stream.tcp() {
            // Without it small answers wait for the client's acknowledgement; failing only costs time.
            let _ = tcp.set_nodelay(true);
            // As good; the kernel's own choice grows to megabytes.
            let _ = SockRef::from(tcp).set_send_buffer_size(SEND_BUFFER);
        }
        Self { stream, reset }
    }

    /// Goes over to the current thread's runtime.
    pub(super) fn move_here(&mut self) -> io::Result<()> {
        self.stream.move_here()
    }

    /// What the client has not taken yet is kept by the kernel for [`LEFT`] at most: of a client that reads nothing it would
    /// otherwise be kept for as long as that client likes.
    pub(super) fn forget_soon(&self) {
        if let Some(stream) = self.stream.tcp() {
            // Failing only costs the kernel's memory.
            let _ = SockRef::from(stream).set_tcp_user_timeout(Some(LEFT));
        }
    }

    fn is_reset(&self) -> bool {
        self.reset.load(Ordering::Acquire)
    }
}

impl AsyncRead for Downstream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Downstream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_reset() {
            // A shutdown sends the FIN that must not be sent.
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl Drop for Downstream {
    fn drop(&mut self) {
        if self.is_reset()
            && let Some(stream) = self.stream.tcp()
        {
            // A linger of zero makes the close a reset (socket(7)); unsent bytes are dropped with it.
            let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
    }
}
