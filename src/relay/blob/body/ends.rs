//! How a body ends: cleanly, with FIN, with a reset, or not yet.

use super::source::Source;
use super::{BlobBody, Stage};
use crate::lifecycle::{contained_step, deadline};
use crate::relay::penalties::penalise;
use crate::relay::response::BoxError;
use crate::relay::response::LetGo;
use crate::relay::search::Wanted as _;
use crate::relay::transfer::{Conclusion, LastWord};
use crate::topology::{EndpointId, Failure};
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use tokio::time::Instant;

/// What is wrong with wrong bytes.
const MISFIT: &str = "the bytes do not fit the digest";

impl BlobBody {
    /// The next bytes that may be let go.
    pub(crate) fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<LetGo, BoxError>>> {
        match contained_step("blob", || self.advance(context)) {
            Ok(next) => next,
            // What stands where is not known any more.
            Err(panicked) => Poll::Ready(Some(Err(self.reset(&panicked.to_string())))),
        }
    }

    /// The source ended, or everything is there: right or wrong?
    pub(super) fn conclude(&mut self) -> Result<(), BoxError> {
        let source = self.source.as_ref();
        let is_unannounced = source.is_some_and(|source| source.is_unannounced);
        let conclusion = self.course.conclude(is_unannounced);
        self.concluded(conclusion)
    }

    pub(super) fn concluded(&mut self, conclusion: Conclusion) -> Result<(), BoxError> {
        match conclusion {
            Conclusion::Proven(blamed) => {
                self.blame(&blamed);
                self.tell_rate();
                if let Some(source) = self.source.take() {
                    source.finish();
                }
                self.resumption = None;
                self.stage = Stage::Draining;
                self.errand.delivered(self.course.window().received());
                if !self.course.window().is_hashed() {
                    self.errand.delivered_unproven(self.course.sources());
                }
                Ok(())
            }
            Conclusion::Short if self.course.window().fits_digest() => {
                // The whole is here, and shorter than a manifest made us promise.
                let wanted = &self.errand.wanted;
                self.errand.parts.sizes.forget(wanted.expected().blob());
                Err(self.give_up("it is shorter than its manifest says".to_owned()))
            }
            Conclusion::Short => {
                let tells_total = |source: &Source| source.tells_total;
                if self.course.window().is_hashed() || self.source.as_ref().is_some_and(tells_total)
                {
                    self.broken(Failure::Reset, "the body ended early".to_owned());
                } else if let Some(source) = self.source.take() {
                    // A part of it, and where it ends only a manifest said.
                    self.note(
                        &source.endpoint,
                        Failure::Reset,
                        "another end than a manifest says",
                    );
                    self.leave(source.endpoint);
                }
                Ok(())
            }
            Conclusion::Doubtful(blamed) => {
                self.blame(&blamed);
                if let Some(source) = self.source.take() {
                    self.left.push(source.endpoint);
                }
                let limit = self.errand.parts.timeouts.total;
                self.mend_until
                    .get_or_insert(deadline(Instant::now(), limit));
                self.watch.begin_anew();
                self.look_for_another();
                Ok(())
            }
            Conclusion::Wrong(blamed) => {
                self.source = None;
                self.blame(&blamed);
                Err(self.reset(MISFIT))
            }
        }
    }

    /// Nobody can go on. Where what was sent is right as far as anybody knows the connection ends with FIN, and containerd
    /// asks again from there (containerd-k3s-facts 4.3).
    pub(super) fn give_up(&mut self, detail: String) -> BoxError {
        if let LastWord::Reset(blamed) = self.course.nobody_is_left() {
            self.blame(&blamed);
            return self.reset(&format!("{MISFIT}, and it could not be mended: {detail}"));
        }
        self.stage = Stage::Over;
        let text = format!(
            "the body broke after {} bytes: {detail}",
            self.course.window().released()
        );
        self.record.failed(&text);
        text.into()
    }

    /// What was sent may be wrong: the connection ends with a reset, so that containerd does not go on from it.
    fn reset(&mut self, detail: &str) -> BoxError {
        self.stage = Stage::Over;
        self.errand.reset.store(true, Ordering::Release);
        let text = format!(
            "{detail}, after {} bytes were sent",
            self.course.window().released()
        );
        self.record.failed(&text);
        text.into()
    }

    fn blame(&self, blamed: &[EndpointId]) {
        let (parts, wanted) = (&self.errand.parts, &self.errand.wanted);
        let (digest, trust) = (wanted.digest_ref(), wanted.trust());
        for endpoint in blamed {
            penalise(parts, (endpoint, digest), trust, MISFIT);
        }
    }
}
