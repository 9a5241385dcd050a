//! The bodies of answers to pulls.

use super::body::BlobBody;
use super::multipart::Multipart;
use crate::relay::response::{BoxError, Full, LetGo};
use bytes::{Buf as _, Bytes};
use hyper::body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll};

/// What the server writes.
#[derive(Debug)]
pub enum PullBody {
    /// Known bytes, or none.
    Full(Full),
    /// A blob on its way, or one part of it.
    Blob(Box<BlobBody>),
    /// Several parts of one.
    Several(Box<Multipart>),
}

// === impl PullBody ===

impl PullBody {
    /// Bytes that need no record: answers of the server itself.
    #[must_use]
    pub fn plain(bytes: impl Into<Bytes>) -> Self {
        Self::Full(Full::plain(bytes))
    }

    /// Its bytes have waited for the client for a while.
    pub(crate) fn is_unread(&mut self) {
        if let Some(blob) = self.blob() {
            blob.is_unread();
        }
    }

    /// It is ended before its end; that is said in the record.
    pub(crate) fn is_cut(&mut self, why: &str) {
        if let Some(blob) = self.blob() {
            blob.is_cut(why);
        }
    }

    fn blob(&mut self) -> Option<&mut BlobBody> {
        match self {
            Self::Full(_) => None,
            Self::Blob(blob) => Some(blob),
            Self::Several(parts) => Some(parts.blob()),
        }
    }
}

impl Body for PullBody {
    type Data = LetGo;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<LetGo>, BoxError>>> {
        match self.get_mut() {
            Self::Full(full) => {
                let bytes = full.take();
                Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes.chain(Bytes::new())))))
            }
            Self::Blob(blob) => blob
                .poll_next(context)
                .map(|next| next.map(|bytes| bytes.map(Frame::data))),
            Self::Several(parts) => parts
                .poll_next(context)
                .map(|next| next.map(|bytes| bytes.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(full) => full.remaining() == 0,
            Self::Blob(_) | Self::Several(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(full) => SizeHint::with_exact(full.remaining()),
            Self::Blob(blob) => blob
                .remaining()
                .map_or_else(SizeHint::default, SizeHint::with_exact),
            Self::Several(parts) => SizeHint::with_exact(parts.remaining()),
        }
    }
}
