//! How who gets no place is told so: an answer and an end in good order, to few at once.

use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::Semaphore;

/// So many are told at once; who comes beyond is closed without a word, as they come faster than it can be read.
const AT_ONCE: usize = 256;

/// How long one may take to read it.
const LINGERING_CLOSE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Refusal(Semaphore);

// === impl Refusal ===

impl Default for Refusal {
    fn default() -> Self {
        Self(Semaphore::new(AT_ONCE))
    }
}

impl Refusal {
    /// Says `answer`, and ends.
    pub(super) async fn say(
        &self,
        mut to: impl AsyncRead + AsyncWrite + Unpin,
        answer: impl FnOnce() -> Vec<u8>,
    ) {
        let Ok(_one) = self.0.try_acquire() else {
            return;
        };
        let answer = answer();
        let said = async {
            to.write_all(&answer).await?;
            to.shutdown().await?;
            // A close with the request unread would be a reset, which can overtake the answer.
            tokio::io::copy(&mut to, &mut tokio::io::sink()).await
        };
        // A client that does not even read this is gone.
        let _ = tokio::time::timeout(LINGERING_CLOSE, said).await;
    }
}
