//! How much of what others send one task handles before the other tasks of its thread have their turn.

use std::future::Future as _;
use std::pin::pin;
use std::task::{Context, Poll};
use tokio::task::yield_now;

/// Bytes received in one turn. The read that passes this limit is the last one of its turn.
const BYTES: usize = 64 * 1024;

/// Heads and pieces of bodies in one turn, however small they are.
const PIECES: u32 = 32;

/// The current turn. A peer that always has more to say never makes its reader wait: without a limit the reader would keep
/// its thread, and everybody else's requests on it would wait.
#[derive(Debug, Default)]
pub struct Turn {
    bytes: usize,
    pieces: u32,
}

// === impl Turn ===

impl Turn {
    /// So many bytes were received.
    pub fn received(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// A head or a piece of a body was handled.
    pub fn handled(&mut self) {
        self.pieces = self.pieces.saturating_add(1);
    }

    /// The task waits for its peer, so that the others have their turn.
    pub fn waits(&mut self) {
        *self = Self::default();
    }

    /// Pending where the turn is over: the task goes on behind the others, and after the sockets of all have been looked at.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.bytes < BYTES && self.pieces < PIECES {
            return Poll::Ready(());
        }
        self.waits();
        // It asks for the wake in its first poll and keeps nothing. A wake by ourselves would be served before the sockets.
        pin!(yield_now()).poll(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    #[test]
    fn a_turn_ends_after_64_kib_or_32_pieces() {
        let mut context = Context::from_waker(Waker::noop());
        let mut turn = Turn::default();
        turn.received(BYTES - 1);
        for _ in 1..PIECES {
            turn.handled();
            assert!(turn.poll(&mut context).is_ready());
        }
        turn.handled();
        assert!(turn.poll(&mut context).is_pending());
        assert!(turn.poll(&mut context).is_ready(), "the next one begins");
        turn.received(BYTES);
        assert!(turn.poll(&mut context).is_pending());
        turn.received(BYTES - 1);
        turn.waits();
        turn.received(1);
        assert!(turn.poll(&mut context).is_ready(), "others had theirs");
    }
}
