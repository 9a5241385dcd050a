//! What is set on a client's connection.

use crate::lifecycle::Socket;
use socket2::SockRef;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

/// TCP, with or without TLS.
pub(super) type Stream = Either<Socket, Box<TlsStream<Socket>>>;

/// What the kernel may hold for a client, in bytes (Linux takes twice that, with its own bookkeeping): containerd 2.1 asks
/// for open-ended ranges and closes them early, and what lies here by then was fetched for nothing.
const SEND_BUFFER: usize = 128 * 1024;

/// How long a client that is ended because it takes nothing may still take what the kernel holds for it.
const LEFT: Duration = Duration::from_secs(10);

/// What is below it.
pub(super) fn tcp(stream: &Stream) -> Option<&TcpStream> {
    match stream {
        Either::Left(socket) => socket.tcp(),
        Either::Right(tls) => tls.get_ref().0.tcp(),
    }
}

/// As it begins. Failing only costs time or memory.
pub(super) fn prepare(stream: &Stream) {
    if let Some(tcp) = tcp(stream) {
        // Without it small answers wait for the client's acknowledgement.
        let _ = tcp.set_nodelay(true);
        // The kernel's own choice grows to megabytes.
        let _ = SockRef::from(tcp).set_send_buffer_size(SEND_BUFFER);
    }
}

/// What the client has not taken yet is kept by the kernel for [`LEFT`] at most: of a client that reads nothing it would
/// otherwise be kept for as long as that client likes.
pub(super) fn forget_soon(stream: &Stream) {
    if let Some(tcp) = tcp(stream) {
        // Failing only costs the kernel's memory.
        let _ = SockRef::from(tcp).set_tcp_user_timeout(Some(LEFT));
    }
}

/// Its close is a reset, because wrong bytes were sent (design P8: with FIN containerd would glue the next host's tail to them).
pub(super) fn reset_on_close(stream: &Stream) {
    if let Some(tcp) = tcp(stream) {
        // A linger of zero makes the close a reset (socket(7)); unsent bytes are dropped with it.
        let _ = SockRef::from(tcp).set_linger(Some(Duration::ZERO));
    }
}
