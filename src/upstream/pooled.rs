//! A pooled connection: one HTTP/1.1 byte stream to a source, the one request that it carries at a time, and what it knows of
//! itself. Whoever waits for the answer drives it; it has no task of its own.

use super::Error;
use super::dial;
use super::fault::Fault;
use super::known::Known;
use super::pool::{Idle, Key};
use super::request::Request;
use super::stream::{FIRST_READ, READ_AHEAD, Stream, Transport};
use crate::config::BaseUrl;
use crate::http1::{AnswerHead, answer_head};
use crate::lifecycle::Turn;
use crate::topology::Failure;
use bytes::BytesMut;
use http::header::PROXY_AUTHORIZATION;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::SystemTime;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};

/// What is asked of the connection at once where data flows: it bounds a stream's memory. A client that reads faster than its
/// bytes are hashed sleeps in between, and is woken for each piece; more than this saved nothing that was measured
/// (docs/benchmarks.md).
const READ: usize = 160 * 1024;

/// Bytes that a body takes at most while it is read in large pieces, beyond what it takes otherwise.
pub const LARGE_READS: usize = READ + READ_AHEAD;

/// The longest head of an answer, in bytes.
const HEAD: usize = 128 * 1024;

/// A connection as it lies in the pool or travels with a body; boxed once, because it is moved about a lot. Dropped while idle it is
/// closed in good order; dropped in the middle of an answer it is cut.
pub(super) struct Pooled {
    pub(super) stream: Stream<Transport>,
    /// Received and not taken yet.
    buffer: BytesMut,
    /// The size of the next read: small until one was filled.
    next: usize,
    /// It may be read in large pieces: somebody counts the memory.
    is_large: bool,
    /// What its reader has handled since it last waited.
    turn: Turn,
    known: Arc<Known>,
    pub(super) key: Key,
    pub(super) to: String,
    proxied: Option<ProxyForm>,
    /// When the certificate ends by which it was trusted.
    ends: Option<SystemTime>,
    /// It carried a request before.
    pub(super) used: bool,
    /// A request is on its way or its answer not read to the end.
    pub(super) busy: bool,
}

/// What a plain request through an HTTP proxy needs (RFC 9112, 3.2.2).
struct ProxyForm {
    authority: String,
    authorization: Option<String>,
}

// === impl Pooled ===

impl Pooled {
    /// On a fresh transport.
    pub(super) fn new(
        transport: Transport,
        known: Arc<Known>,
        target: &BaseUrl,
        key: Key,
        to: String,
        ends: Option<SystemTime>,
    ) -> Box<Self> {
        let proxied = match &known.source.proxy {
            Some(proxy) if !target.https => Some(ProxyForm {
                authority: target.authority(),
                authorization: proxy.credential.as_ref().map(dial::basic),
            }),
            _ => None,
        };
        Box::new(Self {
            stream: Stream::new(transport),
            buffer: BytesMut::new(),
            next: FIRST_READ,
            is_large: false,
            turn: Turn::default(),
            known,
            key,
            to,
            proxied,
            ends,
            used: false,
            busy: false,
        })
    }

    /// Sends a request and reads the head of its answer.
    pub(super) async fn exchange(&mut self, mut request: Request) -> Result<AnswerHead, Fault> {
        if let Some(form) = &self.proxied {
            form.apply(&mut request)?;
        }
        let to_head = request.is_head();
        let request = request.into_bytes();
        let sent = match self.stream.write_all(&request).await {
            Ok(()) => self.stream.flush().await,
            Err(error) => Err(error),
        };
        let Err(error) = sent else {
            return self.head(to_head).await;
        };
        // Who refuses a request may have said why before it closed: an answer, or an alert of TLS.
        match self.head(to_head).await {
            Ok(head) => Ok(AnswerHead {
                keep: false,
                ..head
            }),
            Err(Fault::Closed) => Err(error.into()),
            Err(fault) => Err(fault),
        }
    }

    async fn head(&mut self, to_head: bool) -> Result<AnswerHead, Fault> {
        let mut interim = 0;
        loop {
            if poll_fn(|context| self.poll_receive(context)).await? == 0 {
                return Err(Fault::Closed);
            }
            if let Some(head) = answer_head(&mut self.buffer, to_head, HEAD, &mut interim)? {
                return Ok(head);
            }
        }
    }

    /// Receives more behind what is there, when it is this reader's turn; 0: the other side closed.
    pub(super) fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        ready!(self.turn.poll(context));
        if self.buffer.capacity().saturating_sub(self.buffer.len()) < self.next {
            self.buffer.reserve(self.next);
        }
        // The future keeps nothing between polls: dropping it loses nothing (tokio's `read_buf`).
        let received = pin!(self.stream.read_buf(&mut self.buffer)).poll(context);
        if received.is_pending() {
            self.turn.waits();
        }
        let received = ready!(received)?;
        self.turn.received(received);
        self.next = if self.is_large && received >= FIRST_READ {
            READ
        } else {
            FIRST_READ
        };
        Poll::Ready(Ok(received))
    }

    /// Whether it is read in large pieces from now on, where data flows.
    pub(super) fn read_large(&mut self, is_large: bool) {
        if self.is_large != is_large {
            self.is_large = is_large;
            self.stream.allow_read_ahead(is_large);
        }
    }

    /// How much of it may be handled before others have their turn.
    pub(super) fn turn(&mut self) -> &mut Turn {
        &mut self.turn
    }

    /// What was received and not taken yet.
    pub(super) fn received(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Whether that thread's runtime wakes for it.
    pub(super) fn is_of(&mut self, thread: usize) -> bool {
        self.stream.socket().is_of(thread)
    }

    /// Moves to the current thread's runtime, so that it wakes nobody else.
    pub(super) fn move_here(&mut self) -> io::Result<()> {
        self.stream.socket().move_here()
    }

    pub(super) fn known(&self) -> &Arc<Known> {
        &self.known
    }

    /// Its answer has been read to the end. `false`: more came than that.
    pub(super) fn rest(&mut self) -> bool {
        self.busy = false;
        self.next = FIRST_READ;
        self.read_large(false);
        let is_whole = self.buffer.is_empty();
        if self.buffer.capacity() > FIRST_READ {
            self.buffer = BytesMut::new();
        }
        is_whole
    }

    /// An error of this connection.
    pub(super) fn broken(&self, doing: &str, fault: impl Into<Fault>) -> Error {
        let fault = fault.into();
        Error::new(fault.failure(), format!("{doing} {}", self.to), fault)
    }

    /// An error of what was asked of this connection, or of what came.
    pub(super) fn error(&self, failure: Failure, what: String) -> Error {
        Error::new(failure, format!("exchange with {}", self.to), what)
    }
}

impl Idle for Box<Pooled> {
    /// Nothing is to come while nothing was asked: neither an end nor a byte. TLS has messages of its own, which are
    /// taken in here. A new connection would not be made any more where the certificate has expired.
    fn is_open(&mut self) -> bool {
        if self.ends.is_some_and(|ends| ends <= SystemTime::now()) {
            return false;
        }
        let mut unasked = [0];
        let mut unasked = ReadBuf::new(&mut unasked);
        let mut context = Context::from_waker(Waker::noop());
        let stream = Pin::new(&mut self.stream);
        stream.poll_read(&mut context, &mut unasked).is_pending()
    }

    fn key(&self) -> &Key {
        &self.key
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        if !self.busy {
            // In good order, as far as it goes without waiting: TLS says goodbye before the socket is closed.
            let mut context = Context::from_waker(Waker::noop());
            let _ = Pin::new(&mut self.stream).poll_shutdown(&mut context);
        }
    }
}

impl fmt::Debug for Pooled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pooled")
            .field("to", &self.to)
            .field("used", &self.used)
            .field("busy", &self.busy)
            .finish_non_exhaustive()
    }
}

// === impl ProxyForm ===

impl ProxyForm {
    /// Makes the target absolute and says who we are at the proxy.
    fn apply(&self, request: &mut Request) -> Result<(), Error> {
        request.make_absolute(&self.authority);
        match &self.authorization {
            Some(value) => request.add(&PROXY_AUTHORIZATION, value.as_bytes()),
            None => Ok(()),
        }
    }
}
