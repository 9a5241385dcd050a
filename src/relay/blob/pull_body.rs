//! The bodies of answers to pulls.

use super::body::BlobBody;
use super::multipart::Multipart;
use crate::http1::{Body, Broken, Chunk};
use crate::relay::response::Full;
use bytes::{Buf as _, Bytes};

/// What the server writes.
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

    fn blob(&mut self) -> Option<&mut BlobBody> {
        match self {
            Self::Full(_) => None,
            Self::Blob(blob) => Some(blob),
            Self::Several(parts) => Some(&mut parts.blob),
        }
    }
}

impl Body for PullBody {
    async fn next(&mut self) -> Option<Result<Chunk, Broken>> {
        match self {
            Self::Full(full) => full.take().map(|bytes| Ok(bytes.chain(Bytes::new()))),
            Self::Blob(blob) => blob.next().await,
            Self::Several(parts) => parts.next().await,
        }
    }

    fn length(&self) -> Option<u64> {
        match self {
            Self::Full(full) => Some(full.remaining()),
            // Where it is known their heads say it.
            Self::Blob(_) | Self::Several(_) => None,
        }
    }

    fn is_unread(&mut self) {
        if let Some(blob) = self.blob() {
            blob.is_unread();
        }
    }

    fn is_cut(&mut self, why: &str) {
        if let Some(blob) = self.blob() {
            blob.record.cut(why);
        }
    }
}
