//! One connection to a Redis or a sentinel, driven by whoever asks: nothing runs beside it.

#[cfg(test)]
mod tests;

use super::stream::{Allowance, Limited};
use crate::config::Secret;
use crate::printable::blanked;
use crate::upstream::is_never_dialled;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Fuse, FusedFuture as _};
use redis::aio::MultiplexedConnection;
use redis::{ErrorKind, Pipeline, RedisConnectionInfo, RedisError, Value};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A connection and its greeting take no longer.
const CONNECT: Duration = Duration::from_secs(1);
/// No answer is longer; what one exchange asks for has limits of its own, far below.
const MOST: usize = 1 << 20;
/// Of what the other side says so many characters are shown.
const SHOWN: usize = 160;

/// Why a Redis or a sentinel is of no use now.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("{0} is an address that is never dialled: link-local, metadata or multicast")]
    Never(SocketAddr),
    #[error("cannot connect to {0}: {1}")]
    Connect(SocketAddr, io::Error),
    #[error("{0} has not answered within {ms} ms", ms = .1.as_millis())]
    Late(SocketAddr, Duration),
    #[error("{0} says: {1}")]
    Says(SocketAddr, String),
    #[error("{0}: the connection broke: {1}")]
    Broke(SocketAddr, String),
}

/// A connection that is ready.
pub(super) struct Link {
    pub(super) address: SocketAddr,
    connection: MultiplexedConnection,
    /// It can end within the poll that brings the last answer.
    driver: Fuse<BoxFuture<'static, ()>>,
    allowance: Allowance,
}

// === impl Error ===

impl Error {
    /// Of what the library says: the server's own words, or how the connection ended.
    fn from_redis(address: SocketAddr, error: &RedisError) -> Self {
        if error.kind() == ErrorKind::AuthenticationFailed {
            return Self::Says(address, "the password is refused".to_owned());
        }
        let text = shown(&error.to_string());
        match error.is_io_error() || error.is_connection_dropped() {
            true => Self::Broke(address, text),
            false => Self::Says(address, text),
        }
    }
}

// === impl Link ===

impl Link {
    /// Connects, and shows the password where there is one.
    pub(super) async fn open(
        address: SocketAddr,
        password: Option<&Secret>,
        db: u32,
    ) -> Result<Self, Error> {
        if is_never_dialled(address.ip()) {
            return Err(Error::Never(address));
        }
        let opened = timeout(CONNECT, Self::connect(address, password, db)).await;
        opened.unwrap_or(Err(Error::Late(address, CONNECT)))
    }

    async fn connect(
        address: SocketAddr,
        password: Option<&Secret>,
        db: u32,
    ) -> Result<Self, Error> {
        let stream = TcpStream::connect(address).await;
        let stream = stream.map_err(|error| Error::Connect(address, error))?;
        // Questions are small, and wait for nothing.
        stream
            .set_nodelay(true)
            .map_err(|error| Error::Connect(address, error))?;
        let (stream, allowance) = Limited::new(stream, MOST);
        let info = RedisConnectionInfo {
            db: db.into(),
            password: password.map(|password| password.reveal().to_owned()),
            ..RedisConnectionInfo::default()
        };
        let greeted = MultiplexedConnection::new(&info, stream).await;
        let (connection, driver) = greeted.map_err(|error| Error::from_redis(address, &error))?;
        Ok(Self {
            address,
            connection,
            driver: driver.boxed().fuse(),
            allowance,
        })
    }

    /// Asks for `count` things at once. Dropped or failed, the connection is of no more use: an answer may still come.
    pub(super) async fn exchange(
        &mut self,
        pipeline: &Pipeline,
        count: usize,
        within: Duration,
    ) -> Result<Vec<Value>, Error> {
        self.allowance.set(MOST);
        let address = self.address;
        let mut asked = pin!(self.connection.send_packed_commands(pipeline, 0, count));
        let answered = async {
            tokio::select! {
                biased;
                // Cancel safe: polled again below.
                answered = &mut asked => answered,
                // Cancel safe: it ends once, with the connection, and has told the question why. A question behind its end fails above.
                () = &mut self.driver => asked.now_or_never().unwrap_or_else(|| {
                    Err(io::Error::from(io::ErrorKind::ConnectionReset).into())
                }),
            }
        };
        match timeout(within, answered).await {
            Ok(Ok(values)) => Ok(values),
            Ok(Err(error)) => Err(Error::from_redis(address, &error)),
            Err(_) => Err(Error::Late(address, within)),
        }
    }

    /// One command alone, whose refusal is an error.
    pub(super) async fn ask(&mut self, words: &[&str], within: Duration) -> Result<Value, Error> {
        let (mut pipeline, address) = (Pipeline::new(), self.address);
        let mut words = words.iter();
        let command = pipeline.cmd(words.next().copied().unwrap_or_default());
        for word in words {
            command.arg(*word);
        }
        let mut values = self.exchange(&pipeline, 1, within).await?;
        match values.pop() {
            Some(Value::ServerError(error)) => {
                let error: RedisError = error.into();
                Err(Error::Says(address, shown(&error.to_string())))
            }
            value => Ok(value.unwrap_or(Value::Nil)),
        }
    }

    /// Ends when the other side closes. Only where nothing is asked.
    pub(super) async fn closed(&mut self) -> Error {
        if !self.driver.is_terminated() {
            (&mut self.driver).await;
        }
        Error::Broke(self.address, "closed by the other side".to_owned())
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Link").field(&self.address).finish()
    }
}

/// Words of the other side, safe to show and not too many.
pub(super) fn shown(text: &str) -> String {
    blanked(text).take(SHOWN).collect()
}
