//! Response bodies that give their connection back when they have been read to the end.

use super::fault::Fault;
use super::pooled::Pooled;
use super::{Error, Inner, Unread};
use crate::budget::{Budget, Buffer, Kind};
use crate::http1::{Framing, Piece};
use crate::topology::Failure;
use bytes::{Bytes, BytesMut};
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::timeout;

/// The body of an answer that is only read so that its connection can be used again: longer ones cost more than
/// a new connection.
const SMALL: u64 = 64 * 1024;

/// How long such a body may take.
const DRAIN: Duration = Duration::from_millis(500);

/// A response body. When it has been read to its end its connection goes back to the pool; dropped earlier,
/// the connection is closed.
pub struct Body {
    framing: Framing,
    /// `None`: the end was reached, or the connection broke.
    pooled: Option<Box<Pooled>>,
    client: Arc<Inner>,
    keep: bool,
    is_unannounced: bool,
}

// === impl Body ===

impl Body {
    /// `keep`: the connection can be used again after the end.
    pub(super) fn new(
        framing: Framing,
        pooled: Box<Pooled>,
        client: Arc<Inner>,
        keep: bool,
    ) -> Self {
        let mut body = Self {
            framing,
            pooled: Some(pooled),
            client,
            keep,
            is_unannounced: false,
        };
        if framing.is_over() {
            body.finish();
        }
        body
    }

    /// Whether it ended with its connection and without TLS saying so (close_notify): a server that is short of words, or somebody
    /// who cut the connection. What such a body is needs another proof than its end.
    #[must_use]
    pub fn is_unannounced(&self) -> bool {
        self.is_unannounced
    }

    /// Whether it is read in pieces of up to 160 KiB from now on, for whoever has [`LARGE_READS`](super::LARGE_READS) bytes for
    /// that; in pieces of 8 KiB otherwise.
    pub fn read_large(&mut self, is_large: bool) {
        if let Some(pooled) = &mut self.pooled {
            pooled.read_large(is_large);
        }
    }

    /// The next bytes; `None`: it has ended. Cancel safe: what has not come stays.
    pub async fn next(&mut self) -> Option<Result<Bytes, Error>> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// How much is still to come at least.
    fn left(&self) -> u64 {
        self.framing.left().unwrap_or(0)
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        if let Some(pooled) = &mut self.pooled {
            ready!(pooled.turn().poll(context));
        }
        loop {
            let Some(pooled) = &mut self.pooled else {
                return Poll::Ready(None);
            };
            match self.framing.take(pooled.received()) {
                Ok(Piece::Data(data)) => {
                    pooled.turn().handled();
                    if self.framing.is_over() {
                        self.finish();
                    }
                    return Poll::Ready(Some(Ok(data)));
                }
                Ok(Piece::End) => {
                    self.finish();
                    return Poll::Ready(None);
                }
                Ok(Piece::More) => match ready!(pooled.poll_receive(context)) {
                    Ok(0) if self.framing == Framing::UntilClose => {
                        self.finish();
                        return Poll::Ready(None);
                    }
                    Ok(0) => return Poll::Ready(self.break_off(Fault::Closed)),
                    Ok(_) => {}
                    Err(error)
                        if self.framing == Framing::UntilClose
                            && error.kind() == io::ErrorKind::UnexpectedEof =>
                    {
                        self.is_unannounced = true;
                        self.pooled = None;
                        return Poll::Ready(None);
                    }
                    Err(error) => return Poll::Ready(self.break_off(error.into())),
                },
                Err(wrong) => return Poll::Ready(self.break_off(wrong.into())),
            }
        }
    }

    /// The whole body, for answers that are small by their nature.
    ///
    /// # Errors
    /// [`Error`]: it broke, or is longer than `limit` bytes. The connection is closed.
    #[allow(
        clippy::manual_async_fn,
        reason = "an async fn keeps each argument twice, and this one is moved about for every request"
    )]
    pub fn read_to(mut self, limit: u64) -> impl Future<Output = Result<Bytes, Error>> + Send {
        async move {
            if self.left() > limit {
                return Err(self.too_long(limit));
            }
            if let Some(all) = self.all_there() {
                return Ok(all);
            }
            let mut all = BytesMut::new();
            while let Some(data) = self.next().await {
                all.extend_from_slice(&data?);
                if all.len() as u64 > limit {
                    return Err(self.too_long(limit));
                }
            }
            Ok(all.freeze())
        }
    }

    /// The whole body, which may be large and wait for its reader: counted in `budget` from here to the last reference to it.
    ///
    /// # Errors
    /// [`Unread`]: it broke, is longer than `limit` bytes, or there was no memory for it. The connection is closed.
    #[allow(
        clippy::manual_async_fn,
        reason = "an async fn keeps each argument twice, and this one is moved about for every request"
    )]
    pub fn read_counted(
        mut self,
        limit: u64,
        budget: &Budget,
        kind: Kind,
    ) -> impl Future<Output = Result<Bytes, Unread>> + Send {
        async move {
            let expected = self.left();
            if expected > limit {
                return Err(self.too_long(limit).into());
            }
            let expected = usize::try_from(expected).unwrap_or(usize::MAX);
            let mut buffer = Buffer::new(budget, kind, expected).await?;
            while let Some(data) = self.next().await {
                let data = data?;
                if buffer.length().saturating_add(data.len()) as u64 > limit {
                    return Err(self.too_long(limit).into());
                }
                buffer.push(&data).await?;
            }
            Ok(buffer.finish())
        }
    }

    /// The whole body, where it came together with its head.
    fn all_there(&mut self) -> Option<Bytes> {
        let left = self.framing.left()?;
        let received = self.pooled.as_mut()?.received();
        if (received.len() as u64) < left {
            return None;
        }
        let Ok(Piece::Data(all)) = self.framing.take(received) else {
            return None;
        };
        self.finish();
        Some(all)
    }

    /// Reads and throws away what is left, so that the connection can be used again; gives up where that is more than 64 KiB or
    /// takes more than half a second: dropped then, the body closes it. For the bodies of 401 and redirects.
    pub async fn drain_small(&mut self) {
        if self.pooled.is_none() || !self.keep || self.left() > SMALL {
            return;
        }
        let drain = async {
            let mut left = SMALL;
            while let Some(Ok(data)) = self.next().await {
                let Some(rest) = left.checked_sub(data.len() as u64) else {
                    return;
                };
                left = rest;
            }
        };
        // Running out of time is no error: the body is dropped and closes its connection.
        timeout(DRAIN, drain).await.ok();
    }

    /// The connection did its work.
    fn finish(&mut self) {
        if let Some(mut pooled) = self.pooled.take()
            && pooled.rest()
            && self.keep
        {
            self.client.put_back(pooled);
        }
    }

    /// The connection broke: dropped while busy, it is cut.
    fn break_off(&mut self, fault: Fault) -> Option<Result<Bytes, Error>> {
        let pooled = self.pooled.take()?;
        Some(Err(pooled.broken("reading the body of", fault)))
    }

    fn too_long(&self, limit: u64) -> Error {
        let what = format!("the answer is longer than {limit} bytes");
        match &self.pooled {
            Some(pooled) => pooled.error(Failure::TooLarge, what),
            None => Error::new(Failure::TooLarge, "reading a body", what),
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body")
            .field("pooled", &self.pooled)
            .field("keep", &self.keep)
            .finish_non_exhaustive()
    }
}
