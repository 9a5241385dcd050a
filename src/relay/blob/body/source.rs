//! One source of a body while it serves: its bytes, less those to skip, at most those that are wanted.

use crate::lifecycle::{self, contained_step};
use crate::relay::blob::Incoming;
use crate::topology::{EndpointId, Failure, InFlight};
use crate::upstream;
use bytes::Bytes;
use hyper::body::Body as _;
use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

/// One source while it serves.
pub(super) struct Source {
    pub(super) endpoint: EndpointId,
    ready: VecDeque<Bytes>,
    body: Option<upstream::Body>,
    skip: u64,
    /// It told the size of the whole.
    pub(super) tells_total: bool,
    /// Its end is not what it said is the end.
    pub(super) is_unannounced: bool,
    in_flight: InFlight,
}

/// Why it serves no more.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) failure: Failure,
    pub(super) detail: String,
}

// === impl Source ===

impl Source {
    pub(super) fn new(incoming: Incoming, endpoint: EndpointId, in_flight: InFlight) -> Self {
        let Incoming {
            ready,
            body,
            skip,
            tells_total,
            ..
        } = incoming;
        Self {
            endpoint,
            ready,
            body,
            skip,
            tells_total,
            is_unannounced: false,
            in_flight,
        }
    }

    /// Nothing is asked of it for a while, because the client does not read.
    pub(super) fn is_unread(&mut self) {
        self.in_flight.pause();
    }

    /// The next bytes, less those to skip; at most `wanted` of them, because a source that ignored the range's end
    /// sends more than was asked for. `is_large`: there is memory to read large pieces. A panic here is this source's end, not the body's.
    pub(super) fn poll(
        &mut self,
        context: &mut Context<'_>,
        wanted: Option<u64>,
        is_large: bool,
    ) -> Poll<Option<Result<Bytes, Broken>>> {
        if let Some(body) = &mut self.body {
            body.read_large(is_large);
        }
        let (failure, detail) = match contained_step("body", || self.take(context, wanted)) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(Some(Err(error)))) => (error.failure, error.detail),
            Ok(Poll::Ready(Some(Ok(chunk)))) => return Poll::Ready(Some(Ok(chunk))),
            Ok(Poll::Ready(None)) => return Poll::Ready(None),
            Err(panicked) => (Failure::Internal, panicked.to_string()),
        };
        Poll::Ready(Some(Err(Broken { failure, detail })))
    }

    fn take(
        &mut self,
        context: &mut Context<'_>,
        wanted: Option<u64>,
    ) -> Poll<Option<Result<Bytes, upstream::Error>>> {
        self.in_flight.resume();
        loop {
            let mut chunk = match self.ready.pop_front() {
                Some(chunk) => chunk,
                None => match self.poll_body(context) {
                    Poll::Ready(Some(Ok(chunk))) => chunk,
                    other => return other,
                },
            };
            let skipped = usize::try_from(self.skip)
                .unwrap_or(usize::MAX)
                .min(chunk.len());
            self.skip = self.skip.saturating_sub(skipped as u64);
            let _ = chunk.split_to(skipped);
            if let Some(wanted) = wanted.and_then(|wanted| usize::try_from(wanted).ok()) {
                chunk.truncate(wanted);
            }
            if !chunk.is_empty() {
                return Poll::Ready(Some(Ok(chunk)));
            }
        }
    }

    fn poll_body(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, upstream::Error>>> {
        loop {
            let Some(body) = &mut self.body else {
                return Poll::Ready(None);
            };
            match Pin::new(&mut *body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        return Poll::Ready(Some(Ok(data)));
                    }
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Ready(None) => {
                    self.is_unannounced = body.is_unannounced();
                    self.body = None;
                    return Poll::Ready(None);
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Reads the short rest so that the connection can be used again.
    pub(super) fn finish(self) {
        if let Some(mut body) = self.body {
            lifecycle::spawn_detached("drain", async move { body.drain_small().await });
        }
    }
}
