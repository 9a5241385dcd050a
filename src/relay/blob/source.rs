//! One source of a blob's body: its bytes, less those to skip, at most those that are wanted.

use crate::lifecycle::{self, contained};
use crate::topology::Failure;
use crate::upstream::{Body, Error};
use bytes::Bytes;

/// A source whose body has begun; all of it, proved; or, where the size alone was wanted, `total` and nothing else.
#[derive(Debug, Default)]
pub(crate) struct BlobSource {
    /// Bytes that were read while the answer was judged.
    pub(crate) ready: Bytes,
    /// To come; `None`: `ready` is all.
    pub(crate) body: Option<Body>,
    /// Bytes of it to throw away first.
    pub(crate) skip: u64,
    /// The blob's size, if known.
    pub(crate) total: Option<u64>,
    /// The source told the size of the whole. Otherwise a manifest told it, for which no source is penalised.
    pub(crate) tells_total: bool,
    /// It has a Content-Length. Without one, or without a total, `verify = "suspect"` hashes it (design P8).
    pub(crate) has_length: bool,
    /// It has a Content-Encoding: wrong bytes are its label's.
    pub(crate) is_coded: bool,
}

// === impl BlobSource ===

impl BlobSource {
    /// The next bytes, less those to skip; at most `wanted` of them, because a source that ignored the range's end sends more
    /// than was asked for. A panic here is this source's end, not the body's. Cancel safe: what has not come stays.
    pub(super) async fn next(
        &mut self,
        wanted: Option<u64>,
    ) -> Option<Result<Bytes, (Failure, String)>> {
        let next = contained("body", self.take(wanted)).await;
        match next {
            Ok(next) => next.map(|next| next.map_err(|error| (error.failure, error.detail()))),
            Err(panicked) => Some(Err((Failure::Internal, panicked.to_string()))),
        }
    }

    async fn take(&mut self, wanted: Option<u64>) -> Option<Result<Bytes, Error>> {
        loop {
            let mut chunk = match &mut self.body {
                _ if !self.ready.is_empty() => std::mem::take(&mut self.ready),
                Some(body) => match body.next().await? {
                    Ok(chunk) => chunk,
                    Err(error) => return Some(Err(error)),
                },
                None => return None,
            };
            let length = chunk.len();
            let skipped = usize::try_from(self.skip).map_or(length, |skip| skip.min(length));
            self.skip = self.skip.saturating_sub(skipped as u64);
            let _ = chunk.split_to(skipped);
            if let Some(wanted) = wanted.and_then(|wanted| usize::try_from(wanted).ok()) {
                chunk.truncate(wanted);
            }
            if !chunk.is_empty() {
                return Some(Ok(chunk));
            }
        }
    }

    /// Whether it reads in large pieces from now on.
    pub(super) fn read_large(&mut self, is_large: bool) {
        if let Some(body) = &mut self.body {
            body.read_large(is_large);
        }
    }

    /// Its end is not what it said is the end.
    pub(super) fn is_unannounced(&self) -> bool {
        self.body.as_ref().is_some_and(Body::is_unannounced)
    }

    /// Reads the short rest so that the connection can be used again.
    pub(super) fn finish(self) {
        if let Some(mut body) = self.body {
            lifecycle::spawn_detached("drain", async move { body.drain_small().await });
        }
    }
}
