//! One client's connection: reads its requests one after the other, has each answered, writes the answer, and notices when
//! the client leaves in between. Decides nothing about content.

mod client;
mod ends;
mod framing;
mod service;
mod writing;

pub(super) use client::Ending;
pub(super) use service::Service;

use super::socket::Stream;
use crate::admission::Slot;
use crate::http1::{Date, RequestHead, Wrong, request_head};
use crate::lifecycle::{DrainWatch, Turn, deadline};
use bytes::BytesMut;
use client::Client;
use ends::Ends;
use http::{Method, Version};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, timeout};
use writing::Asked;

/// The longest head of a request, in bytes: requests are small, and 512 clients must be cheap.
const HEAD: usize = 64 * 1024;

/// What is asked of the socket at once.
const READ: usize = 4 * 1024;

/// How long a client may take for the end of its connection: to read why it is turned away, or to make room for the end of TLS.
const LINGER: Duration = Duration::from_secs(1);

/// A client's connection with what serves it.
pub(super) struct Serving<S> {
    connection: Connection,
    ends: Ends,
    service: S,
    has_asked: bool,
}

struct Connection {
    stream: Stream,
    client: Client,
    /// Received and not read yet.
    received: BytesMut,
    /// How much of it holds no whole head.
    examined: usize,
    /// What was read of it since the client was last waited for.
    turn: Turn,
    /// Encoded, and how much of it has been written.
    out: Vec<u8>,
    written: usize,
    date: Date,
}

/// What a client says next.
enum Said {
    Request(RequestHead),
    Nonsense(Wrong),
    /// Nothing any more, or nothing in time; or the drain has begun while nothing was asked.
    Nothing,
    /// Nothing yet, and its slot is another's.
    MadeWay,
}

/// How an answer was delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Delivered {
    /// Whole, and the client may ask more.
    Kept,
    /// Whole, and the connection is to end.
    Last,
    /// Not whole: the connection cannot be used again.
    Broken(Ending),
}

// === impl Serving ===

impl<S: Service + Send> Serving<S> {
    pub(super) fn new(
        stream: Stream,
        slot: Slot,
        idle: Duration,
        drain: DrainWatch,
        service: S,
    ) -> Self {
        Self {
            connection: Connection {
                stream,
                client: Client::new(slot),
                received: BytesMut::new(),
                examined: 0,
                turn: Turn::default(),
                out: Vec::new(),
                written: 0,
                date: Date::default(),
            },
            ends: Ends::new(idle, drain),
            service,
            has_asked: false,
        }
    }

    /// Serves it to its end.
    pub(super) async fn serve(mut self) {
        while let Some(head) = self.begin().await {
            if !self.answer(head).await {
                return;
            }
        }
    }

    /// The next request. `None`: there is none, and the connection has ended.
    async fn begin(&mut self) -> Option<RequestHead> {
        match self.connection.next(&mut self.ends, self.has_asked).await {
            Said::Request(head) => {
                self.has_asked = true;
                self.connection.client.slot.answers(Instant::now());
                Some(head)
            }
            Said::Nonsense(wrong) => {
                let answer = self.service.refuse(wrong);
                let asked = Asked {
                    version: Version::HTTP_11,
                    to_head: false,
                    keep: false,
                };
                let delivered = self.connection.deliver(answer, asked, &mut self.ends);
                if delivered.await == Delivered::Last {
                    self.connection.close_lingering().await;
                }
                None
            }
            Said::Nothing => {
                self.connection.close().await;
                None
            }
            Said::MadeWay => {
                self.service.ends(Ending::MadeWay);
                self.connection.close().await;
                None
            }
        }
    }

    /// Has a request answered, and delivers that; a drain waits for it. `false`: the connection has ended.
    async fn answer(&mut self, head: RequestHead) -> bool {
        let _held = self.ends.drain.hold();
        let unanswered = self.ends.drain.unanswered();
        let (version, to_head) = (head.request.version, head.request.method == Method::HEAD);
        let answer = {
            let answer = pin!(self.service.answer(head.request));
            let answer = self.connection.unless_ended(answer).await;
            drop(unanswered);
            answer
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(why) => {
                tracing::debug!("a client was not answered: {why}");
                self.service.ends(why);
                return false;
            }
        };
        // A body is never read: what follows it cannot be told from it.
        let asked = Asked {
            version,
            to_head,
            keep: head.keep && !head.has_body && !self.ends.drain.is_draining(),
        };
        let delivered = self.connection.deliver(answer, asked, &mut self.ends).await;
        match delivered {
            Delivered::Broken(why) => {
                tracing::debug!("a client connection ended early: {why}");
                self.service.ends(why);
                return false;
            }
            Delivered::Kept => return true,
            Delivered::Last if head.has_body || !self.connection.received.is_empty() => {
                self.connection.close_lingering().await;
            }
            Delivered::Last => self.connection.close().await,
        }
        false
    }
}

// === impl Connection ===

impl Connection {
    /// The next request, or why there is none.
    async fn next(&mut self, ends: &mut Ends, has_asked: bool) -> Said {
        let now = Instant::now();
        self.client.slot.rests(now);
        let (mut until, mut has_begun) = (deadline(now, ends.idle), false);
        poll_fn(|context| {
            // First: who always has a request at hand never waits for one.
            if self.client.slot.poll_evicted(context).is_ready() {
                return Poll::Ready(Said::MadeWay);
            }
            loop {
                ready!(self.turn.poll(context));
                if self.is_news() {
                    match request_head(&mut self.received, HEAD) {
                        Ok(None) => self.examined = self.received.len(),
                        Ok(Some(head)) => {
                            self.examined = 0;
                            self.turn.handled();
                            return Poll::Ready(Said::Request(head));
                        }
                        Err(wrong) => return Poll::Ready(Said::Nonsense(wrong)),
                    }
                }
                if !self.received.is_empty() && !has_begun {
                    has_begun = true;
                    let now = Instant::now();
                    self.client.slot.reads_head(now);
                    until = deadline(now, ends.head());
                    ends.begin_head();
                }
                match self.poll_receive(context) {
                    Poll::Ready(Ok(1..)) => {}
                    Poll::Ready(_) => return Poll::Ready(Said::Nothing),
                    Poll::Pending => break,
                }
            }
            // Who has not asked yet may be about to: it gets its answer, and "close" with it (design O4).
            let at_rest = has_asked && self.received.is_empty();
            if ends.poll_over(context, until, at_rest) {
                return Poll::Ready(Said::Nothing);
            }
            Poll::Pending
        })
        .await
    }

    /// Whether it is worth reading what came: its first piece shows whether it is a request at all; later a line must have
    /// become whole, or there is too much of it.
    fn is_news(&self) -> bool {
        let fresh = self.received.get(self.examined..).unwrap_or_default();
        let is_first = self.examined == 0 && !fresh.is_empty();
        is_first || fresh.contains(&b'\n') || self.received.len() >= HEAD
    }

    fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.received.capacity().saturating_sub(self.received.len()) < READ {
            self.received.reserve(READ);
        }
        // The future keeps nothing between polls: dropping it loses nothing (tokio's `read_buf`).
        let received = pin!(self.stream.read_buf(&mut self.received)).poll(context);
        match &received {
            Poll::Ready(Ok(received)) => self.turn.received(*received),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.turn.waits(),
        }
        received
    }

    /// Ready when the client has gone, or has to go. What it asks meanwhile waits for its turn, up to a head's length; that it
    /// asks no more is no sign that it has gone.
    fn poll_ending(&mut self, context: &mut Context<'_>) -> Poll<Ending> {
        if self.client.slot.poll_evicted(context).is_ready() {
            return Poll::Ready(Ending::MadeWay);
        }
        while !self.client.has_ended() && self.received.len() < HEAD {
            match self.poll_receive(context) {
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(Ok(0)) => self.client.ends(),
                Poll::Ready(Err(_)) => return Poll::Ready(Ending::Gone),
                Poll::Pending => return Poll::Pending,
            }
        }
        self.client.poll_gone(context).map(|()| Ending::Gone)
    }

    /// What `answer` yields, unless the client goes first: then nobody needs it (design P12).
    async fn unless_ended<T>(
        &mut self,
        mut answer: Pin<&mut impl Future<Output = T>>,
    ) -> Result<T, Ending> {
        poll_fn(|context| match answer.as_mut().poll(context) {
            Poll::Ready(answer) => Poll::Ready(Ok(answer)),
            Poll::Pending => self.poll_ending(context).map(Err),
        })
        .await
    }

    /// Ends in good order.
    async fn close(&mut self) {
        // Who is gone already hears nothing of it. The end of TLS is written behind what a client has not read yet.
        let _ = timeout(LINGER, self.stream.shutdown()).await;
    }

    /// Ends in good order with a client that may still be sending: a close with something unread would be a reset, which can
    /// arrive before the answer.
    async fn close_lingering(&mut self) {
        let lingering = async {
            self.stream.shutdown().await?;
            tokio::io::copy(&mut self.stream, &mut tokio::io::sink()).await
        };
        // A client that does not even read this is gone.
        let _ = timeout(LINGER, lingering).await;
    }
}

#[cfg(test)]
mod tests;
