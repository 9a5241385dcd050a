//! TCP, the proxy's CONNECT and the TLS handshake, each with its limit.

use super::local::{failure_of, failure_of_connect};
use super::stream::ReadAhead;
use super::{Cause, Error};
use crate::config::{BaseUrl, Credential, Proxy};
use crate::http1::{Wrong, answer_head};
use crate::lifecycle::Socket;
use crate::topology::Failure;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::BytesMut;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// The head of a proxy's answer to CONNECT.
const PROXY_HEAD: usize = 8 * 1024;

/// Addresses of a named host that are tried.
const NAMED_ADDRESSES: usize = 6;

/// Connects to one address.
pub(super) async fn tcp(
    to: &str,
    address: SocketAddr,
    limit: Duration,
) -> Result<TcpStream, Error> {
    let connected = timeout(limit, TcpStream::connect(address)).await;
    let stream = match connected {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            return Err(Error::new(
                failure_of_connect(&error, address),
                format!("connecting to {to}"),
                error,
            ));
        }
        Err(_) => {
            return Err(Error::new(
                Failure::ConnectTimeout,
                format!("connecting to {to}"),
                format!("no answer within {limit:?}"),
            ));
        }
    };
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(to, %error, "setting TCP_NODELAY");
    }
    Ok(stream)
}

/// Connects to the first of several addresses that answers: the next one joins after `stagger`, or at once when
/// one fails. IPv4 and IPv6 take turns.
pub(super) async fn first_of(
    to: &str,
    addresses: Vec<SocketAddr>,
    limit: Duration,
    stagger: Duration,
) -> Result<(SocketAddr, TcpStream), Error> {
    let mut waiting = interleave(addresses).into_iter().take(NAMED_ADDRESSES);
    let mut running = FuturesUnordered::new();
    let mut last = Error::new(
        Failure::NoAddress,
        format!("connecting to {to}"),
        "no address",
    );
    let mut start_next = true;
    loop {
        if std::mem::take(&mut start_next)
            && let Some(address) = waiting.next()
        {
            running.push(async move {
                let label = format!("{to} at {address}");
                (address, tcp(&label, address, limit).await)
            });
        }
        tokio::select! {
            biased;
            // Cancel safe: the futures stay in `running`.
            finished = running.next() => match finished {
                Some((address, Ok(stream))) => return Ok((address, stream)),
                Some((_, Err(error))) => {
                    last = error;
                    start_next = true;
                }
                None => return Err(last),
            },
            // Cancel safe: a new wait begins with every turn, which only ever delays the next address.
            () = sleep(stagger), if waiting.len() > 0 => start_next = true,
        }
    }
}

/// IPv4 and IPv6 in turns, each in its own order.
fn interleave(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v4 = addresses.first().is_some_and(SocketAddr::is_ipv4);
    let (first, second): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|address| address.is_ipv4() == first_is_v4);
    let longest = first.len().max(second.len());
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    (0..longest)
        .flat_map(|_| [first.next(), second.next()])
        .flatten()
        .collect()
}

/// Asks a proxy for a tunnel to the target.
pub(super) async fn tunnel<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    proxy: &Proxy,
    target: &BaseUrl,
    limit: Duration,
) -> Result<(), Error> {
    let authority = host_and_port(target);
    let doing = format!("asking the proxy {} for {authority}", proxy.url.authority());
    let failed = |failure, why: Cause| Err(Error::new(failure, doing, why));
    match timeout(limit, exchange_connect(stream, proxy, &authority)).await {
        Ok(Ok(200..=299)) => Ok(()),
        Ok(Ok(407)) => failed(
            Failure::Refused,
            "407, it wants other credentials: put them into the proxy's URL".into(),
        ),
        Ok(Ok(status)) => failed(Failure::Refused, format!("it answered {status}").into()),
        Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => {
            failed(Failure::Content, error.into())
        }
        Ok(Err(error)) => failed(Failure::Reset, error.into()),
        Err(_) => failed(
            Failure::ConnectTimeout,
            format!("no answer within {limit:?}").into(),
        ),
    }
}

/// Sends CONNECT and reads the status of the answer, whose head must be the last thing that the proxy sends
/// before the tunnel stands: in TLS the client speaks first.
async fn exchange_connect<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    proxy: &Proxy,
    authority: &str,
) -> io::Result<u16> {
    let mut request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n");
    if let Some(credential) = &proxy.credential {
        request.push_str("Proxy-Authorization: ");
        request.push_str(&basic(credential));
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let (mut received, mut interim) = (BytesMut::new(), 0);
    loop {
        if stream.read_buf(&mut received).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let head = answer_head(&mut received, true, PROXY_HEAD, &mut interim);
        let head = head.map_err(|wrong| match wrong {
            Wrong::TooLong => invalid("the head of its answer is longer than 8 KiB"),
            wrong => invalid(wrong),
        })?;
        let Some(head) = head else { continue };
        if head.status.is_success() && !received.is_empty() {
            return Err(invalid("it sent something before the tunnel was used"));
        }
        return Ok(head.status.as_u16());
    }
}

fn invalid(what: impl Into<Cause>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// `Basic …` for `Authorization` and `Proxy-Authorization`.
#[must_use]
pub fn basic(credential: &Credential) -> String {
    let Credential { username, password } = credential;
    let pair = format!("{username}:{}", password.reveal());
    format!("Basic {}", BASE64_STANDARD.encode(pair))
}

/// `host:port`, brackets around IPv6, the port always there.
pub(super) fn host_and_port(url: &BaseUrl) -> String {
    if url.host.contains(':') {
        format!("[{}]:{}", url.host, url.port)
    } else {
        format!("{}:{}", url.host, url.port)
    }
}

pub(super) async fn tls(
    to: &str,
    stream: Socket,
    name: ServerName<'static>,
    config: Arc<ClientConfig>,
    limit: Duration,
) -> Result<Box<TlsStream<ReadAhead<Socket>>>, Error> {
    let handshake = TlsConnector::from(config).connect(name, ReadAhead::new(stream));
    let (failure, why): (_, Cause) = match timeout(limit, handshake).await {
        Ok(Ok(stream)) => return Ok(Box::new(stream)),
        Ok(Err(error)) => (failure_of(&error, Failure::Tls), error.into()),
        Err(_) => (
            Failure::Tls,
            format!("not finished within {limit:?}").into(),
        ),
    };
    Err(Error::new(failure, format!("TLS handshake with {to}"), why))
}

#[cfg(test)]
mod tests;
