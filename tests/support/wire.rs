//! One connection, byte by byte: heads are read and written by hand, so that nothing between a fault and the socket
//! repairs it.

use super::fault::Fault;
use super::message::{Framing, Recorded, Reply};
use super::registry::Shared;
use std::future::pending;
use std::io;
use std::sync::atomic::Ordering;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

/// A TCP connection, or TLS over one.
trait Wire: AsyncRead + AsyncWrite + Send + Unpin {
    fn tcp(&self) -> &TcpStream;
}

impl Wire for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Wire for tokio_rustls::server::TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}

/// Serves a connection until either side has enough.
pub async fn serve(shared: &Shared, tcp: TcpStream) {
    let number = shared.connections.fetch_add(1, Ordering::SeqCst);
    // Small writes are part of many faults.
    let _ = tcp.set_nodelay(true);
    if shared.accepts_in_silence() {
        pending::<()>().await;
    }
    // A peer that goes away, or does not like the certificate, is no failure of a test.
    match &shared.tls {
        None => {
            let _ = requests(shared, tcp, number).await;
        }
        Some(acceptor) => {
            if let Ok(stream) = acceptor.accept(tcp).await {
                let _ = requests(shared, stream, number).await;
            }
        }
    }
}

async fn requests(shared: &Shared, mut wire: impl Wire, number: usize) -> io::Result<()> {
    let mut buffer = Vec::new();
    for nth in 0.. {
        let Some(head) = read_head(&mut wire, &mut buffer).await? else {
            break;
        };
        let Some(request) = Recorded::parse(&head, number, nth) else {
            break;
        };
        shared.record(&request);
        let mut fault = shared.strike(&request);
        if !before_the_answer(&wire, fault.as_ref(), nth).await? {
            break;
        }
        let mut reply = match &fault {
            Some(Fault::Reply(reply)) => reply.clone(),
            _ => shared.answer(&request).await,
        };
        if let Some(own) = reply.fault.take().filter(|_| fault.is_none()) {
            if !before_the_answer(&wire, Some(&own), nth).await? {
                break;
            }
            fault = Some(*own);
        }
        let goes_on = write(&mut wire, &request, reply, fault.as_ref()).await?;
        if !goes_on || request.header("connection") == Some("close") {
            break;
        }
    }
    wire.shutdown().await
}

/// `false`: there is no answer.
async fn before_the_answer(
    wire: &impl Wire,
    fault: Option<&Fault>,
    nth: usize,
) -> io::Result<bool> {
    match fault {
        Some(Fault::NoAnswer | Fault::AcceptAndSilent) => pending().await,
        Some(Fault::CloseInsteadOfAnswer) => return Ok(false),
        Some(Fault::ResetInsteadOfAnswer) => {
            wire.tcp().set_zero_linger()?;
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Some(Fault::CloseWhenReused) if nth > 0 => return Ok(false),
        Some(Fault::SlowFirstByte(delay)) => sleep(*delay).await,
        _ => {}
    }
    Ok(true)
}

/// A head without its last blank line; `None`: the connection ended between requests.
async fn read_head(wire: &mut impl Wire, buffer: &mut Vec<u8>) -> io::Result<Option<String>> {
    loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = buffer.drain(..end + 4).collect::<Vec<_>>();
            return Ok(Some(String::from_utf8_lossy(&head[..end]).into_owned()));
        }
        if wire.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

/// Writes the reply; `false`: the connection is to end.
async fn write(
    wire: &mut impl Wire,
    request: &Recorded,
    mut reply: Reply,
    fault: Option<&Fault>,
) -> io::Result<bool> {
    if matches!(fault, Some(Fault::WrongContentRange)) {
        shift_content_range(&mut reply);
    }
    request.status.store(reply.status, Ordering::SeqCst);
    let bodiless = request.method == "HEAD" || matches!(reply.status, 204 | 304);
    let mut head = format!("HTTP/1.1 {} Fake\r\n", reply.status);
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    match reply.framing {
        Framing::Length => head.push_str(&format!("Content-Length: {}\r\n", reply.body.len())),
        Framing::LengthIs(length) => head.push_str(&format!("Content-Length: {length}\r\n")),
        Framing::Chunked => head.push_str("Transfer-Encoding: chunked\r\n"),
        Framing::Close => head.push_str("Connection: close\r\n"),
    }
    head.push_str("\r\n");
    wire.write_all(head.as_bytes()).await?;
    wire.flush().await?;
    if matches!(fault, Some(Fault::SilentAfterHead)) {
        pending::<()>().await;
    }
    if !bodiless && !write_body(wire, request, &mut reply, fault).await? {
        return Ok(false);
    }
    Ok(reply.framing != Framing::Close)
}

/// `false`: cut short.
async fn write_body(
    wire: &mut impl Wire,
    request: &Recorded,
    reply: &mut Reply,
    fault: Option<&Fault>,
) -> io::Result<bool> {
    let mut piece = reply.piece;
    let mut until = reply.body.len();
    match fault {
        Some(Fault::CorruptAt(at)) => {
            if let Some(byte) = reply.body.get_mut(*at) {
                *byte ^= 0x01;
            }
        }
        Some(
            Fault::SilentAt(at) | Fault::CloseAt(at) | Fault::HalfCloseAt(at) | Fault::ResetAt(at),
        ) => until = until.min(*at),
        Some(Fault::Drip { bytes, .. }) => piece = *bytes,
        _ => {}
    }
    for bytes in reply.body[..until].chunks(piece) {
        if reply.framing == Framing::Chunked {
            let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
            chunk.extend_from_slice(bytes);
            chunk.extend_from_slice(b"\r\n");
            wire.write_all(&chunk).await?;
        } else {
            wire.write_all(bytes).await?;
        }
        wire.flush().await?;
        request.sent.fetch_add(bytes.len(), Ordering::SeqCst);
        if let Some(Fault::Drip { every, .. }) = fault {
            sleep(*every).await;
        }
    }
    match fault {
        Some(Fault::SilentAt(_)) => pending().await,
        // Nothing is said: the socket is dropped.
        Some(Fault::NoCloseNotify) => return Err(io::ErrorKind::Other.into()),
        Some(Fault::CloseAt(_)) => return Ok(false),
        Some(Fault::HalfCloseAt(_)) => {
            wire.shutdown().await?;
            pending().await
        }
        Some(Fault::ResetAt(_)) => {
            // What was written before must arrive before the reset throws it away.
            sleep(std::time::Duration::from_millis(50)).await;
            wire.tcp().set_zero_linger()?;
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        _ => {}
    }
    if reply.framing == Framing::Chunked {
        wire.write_all(b"0\r\n\r\n").await?;
        wire.flush().await?;
    }
    Ok(true)
}

fn shift_content_range(reply: &mut Reply) {
    for (name, value) in &mut reply.headers {
        if name == "Content-Range"
            && let Ok(range) = value.parse::<harbor_pilot::oci::ContentRange>()
        {
            let total = range
                .total
                .map_or("*".to_owned(), |total| total.to_string());
            *value = format!("bytes {}-{}/{total}", range.first + 1, range.last);
        }
    }
}
