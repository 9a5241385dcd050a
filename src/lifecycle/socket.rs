//! A TCP connection that can move to another thread: whoever waits for it there is woken there, and nobody else.

use super::thread_number;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// The connection, and the thread whose runtime wakes for it.
#[derive(Debug)]
pub struct Socket {
    /// `None` only after a move that failed.
    stream: Option<TcpStream>,
    thread: usize,
}

// === impl Socket ===

impl Socket {
    /// On the thread that made it.
    #[must_use]
    pub fn new(stream: TcpStream) -> Self {
        Self {
            stream: Some(stream),
            thread: thread_number(),
        }
    }

    /// Whether that thread's runtime wakes for it.
    #[must_use]
    pub fn is_of(&self, thread: usize) -> bool {
        self.thread == thread
    }

    /// Moves to the current thread's runtime, which costs two system calls.
    ///
    /// # Errors
    /// [`io::Error`]: this runtime cannot take it. It is closed.
    pub fn move_here(&mut self) -> io::Result<()> {
        let here = thread_number();
        if !self.is_of(here) {
            let stream = self.stream.take().ok_or_else(gone)?;
            self.stream = Some(TcpStream::from_std(stream.into_std()?)?);
            self.thread = here;
        }
        Ok(())
    }

    /// The connection, unless it has been given away.
    #[must_use]
    pub fn tcp(&self) -> Option<&TcpStream> {
        self.stream.as_ref()
    }

    fn live(self: Pin<&mut Self>) -> io::Result<Pin<&mut TcpStream>> {
        let stream = self.get_mut().stream.as_mut();
        stream.map(Pin::new).ok_or_else(gone)
    }
}

fn gone() -> io::Error {
    io::ErrorKind::NotConnected.into()
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.live()?.poll_read(context, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.live()?.poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.live()?.poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.live()?.poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.live()?.poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::DataPlane;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn it_is_woken_for_where_it_has_moved_to() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connecting = TcpStream::connect(listener.local_addr().unwrap());
        let (peer, accepted) = tokio::join!(connecting, listener.accept());
        let (mut peer, mut socket) = (peer.unwrap(), Socket::new(accepted.unwrap().0));
        let here = thread_number();
        socket.move_here().unwrap();
        assert!(socket.is_of(here), "it stays where it is");
        // A read here is under way when it goes: nothing of it is lost.
        peer.write_all(b"one").await.unwrap();
        let mut read = [0; 3];
        socket.read_exact(&mut read).await.unwrap();
        let data = DataPlane::start(1).unwrap();
        let (said, heard) = oneshot::channel();
        data.threads().spawn("test", async move {
            socket.move_here().unwrap();
            assert!(!socket.is_of(here) && socket.is_of(thread_number()));
            socket.write_all(b"ready").await.unwrap();
            let mut read = [0; 3];
            socket.read_exact(&mut read).await.unwrap();
            said.send(read).unwrap();
        });
        let mut ready = [0; 5];
        peer.read_exact(&mut ready).await.unwrap();
        peer.write_all(b"two").await.unwrap();
        assert_eq!(heard.await.unwrap(), *b"two");
    }
}
