//! A timer whose time moves on with every byte, without being set anew for each.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::time::{Instant, Sleep};

/// Rings when the time that it was last asked about is over. It is set when it is first waited for; one that was set for
/// an earlier time rings too early, sees that, and is set anew: once per stall limit, not once per chunk.
#[derive(Debug, Default)]
pub struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Ready when that time is over.
    pub fn poll(&mut self, context: &mut Context<'_>, due: Instant) -> Poll<()> {
        loop {
            let timer = self
                .0
                .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
            if timer.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            self.0 = None;
            if Instant::now() >= due {
                return Poll::Ready(());
            }
        }
    }
}
