//! What follows where a source of a body ends or is left: the body ends cleanly, with FIN or with a reset, or another source goes
//! on with it.

use super::{BlobBody, Resumed};
use crate::http1::Broken;
use crate::lifecycle::deadline;
use crate::relay::outcome::Ended;
use crate::relay::transfer::Conclusion;
use crate::telemetry::{Span, What};
use crate::topology::{EndpointId, Failure, Outcome};
use futures_util::FutureExt as _;
use tokio::time::Instant;

/// What is wrong with wrong bytes.
const MISFIT: &str = "the bytes do not fit the digest";

impl BlobBody {
    /// The source ended, or everything is there: right or wrong?
    pub(super) fn conclude(&mut self) -> Result<(), Broken> {
        let source = self.source.as_ref();
        let is_unannounced = source.is_some_and(|source| source.good.is_unannounced());
        let conclusion = self.bytes.conclude(is_unannounced);
        self.concluded(conclusion)
    }

    pub(super) fn concluded(&mut self, conclusion: Conclusion) -> Result<(), Broken> {
        match conclusion {
            Conclusion::Proven(wrong) => {
                self.penalise(&wrong);
                self.tell_rate();
                if let Some(source) = self.source.take() {
                    source.good.finish();
                }
                self.resumption = None;
                self.is_delivered();
                Ok(())
            }
            Conclusion::Short if self.bytes.hold_back().fits_digest() => {
                // The whole is here, and shorter than a manifest made us promise.
                self.fetch
                    .parts
                    .sizes
                    .forget(&self.fetch.expected.blob.image);
                Err(self.give_up("it is shorter than its manifest says"))
            }
            Conclusion::Short => {
                let source = self.source.as_ref();
                let is_told = source.is_some_and(|source| source.good.tells_total);
                let (outcome, detail) = match self.bytes.hold_back().is_hashed() || is_told {
                    true => (Outcome::Hard(Failure::Reset), "the body ended early"),
                    // A part of it, and where it ends only a manifest said.
                    false => (Outcome::Neutral, "another end than a manifest says"),
                };
                self.broken(Failure::Reset, outcome, detail.to_owned());
                Ok(())
            }
            Conclusion::Doubtful(wrong) => {
                self.penalise(&wrong);
                if let Some(source) = self.source.take() {
                    self.left.push(source.endpoint);
                }
                let limit = self.fetch.parts.timeouts.total;
                self.fix_until
                    .get_or_insert_with(|| deadline(Instant::now(), limit));
                self.speed.begin_anew();
                self.look_for_another();
                Ok(())
            }
            Conclusion::Wrong(wrong) => {
                self.source = None;
                self.penalise(&wrong);
                Err(self.reset(MISFIT))
            }
        }
    }

    /// All that was wanted is there, and fits: who named it with another size was wrong. What went out whole and without a hash is
    /// suspect when it is asked for again soon (design P8): containerd has found it wrong, perhaps.
    fn is_delivered(&self) {
        let (blob, received) = (&self.fetch.expected.blob, self.bytes.hold_back().received());
        let size = self.total.unwrap_or(self.first.saturating_add(received));
        self.fetch.parts.has_size(blob, Some(size));
        let is_whole = self.first == 0 && self.total == Some(received);
        if is_whole && !self.bytes.hold_back().is_hashed() {
            for endpoint in self.bytes.sources() {
                self.fetch.parts.gives_unproven(&endpoint, blob);
            }
        }
    }

    /// Nobody can go on. Where what was sent is right as far as anybody knows the connection ends with FIN, and containerd
    /// asks again from there (containerd-k3s-facts 4.3).
    pub(super) fn give_up(&mut self, detail: &str) -> Broken {
        if self.bytes.is_in_doubt() {
            let wrong = self.bytes.unproven();
            self.penalise(&wrong);
            return self.reset(&format!("{MISFIT}, and it could not be fixed: {detail}"));
        }
        self.is_over = true;
        let sent = self.bytes.hold_back().released();
        self.record
            .failed(&format!("the body broke after {sent} bytes: {detail}"));
        Broken::Fin
    }

    /// What was sent may be wrong: the connection ends with a reset, so that containerd does not go on from it.
    pub(super) fn reset(&mut self, detail: &str) -> Broken {
        self.is_over = true;
        let sent = self.bytes.hold_back().released();
        self.record
            .failed(&format!("{detail}, after {sent} bytes were sent"));
        Broken::Reset
    }

    fn penalise(&self, wrong: &[EndpointId]) {
        let (blob, digest) = (&self.fetch.expected.blob, &self.fetch.digest);
        for endpoint in wrong {
            self.fetch.parts.wrong_bytes(endpoint, blob, digest, MISFIT);
        }
    }

    /// The rest comes from elsewhere.
    pub(super) fn leave(&mut self, endpoint: EndpointId) {
        self.left.push(endpoint);
        self.bytes.breaks();
        self.speed.begin_anew();
        if self.resumption.is_none() {
            self.look_for_another();
        }
    }

    pub(super) fn look_for_another(&mut self) {
        self.resumes_at = self.bytes.hold_back().released();
        let mut search = self.fetch.rest(self.reached(), self.total).search();
        let current = self.source.iter().map(|source| &source.endpoint);
        for endpoint in self.left.iter().chain(current) {
            search = search.without(endpoint);
        }
        let offset = self.reached();
        let resumes = || self.fetch.request_id.begin(|| What::Resume { offset });
        let span = (!self.begins_span).then(resumes).flatten();
        let span = span.map(Span::scoped);
        let search = search.run().map(|ended| (drop(span), ended).1);
        self.resumption = Some(Box::pin(search));
    }

    /// Another goes on, if there is one.
    pub(super) fn resumed(&mut self, ended: Resumed) -> Result<(), Broken> {
        let Ended { result, log } = ended;
        let attempts = log.attempts;
        let mut found = match result {
            Ok(found) => found,
            // The last living source is never cut for slowness (design P6): wait on.
            Err(_) if self.source.is_some() => {
                self.speed.begin_anew();
                return Ok(());
            }
            Err(nothing) => return Err(self.give_up(&log.text(&nothing))),
        };
        self.tell_rate();
        if let Some(slow) = self.source.take() {
            self.slow(slow.endpoint);
        }
        if std::mem::take(&mut self.begins_span) {
            self.record.goes_on_by(&found.endpoint, attempts);
        } else {
            let before = self.left.last();
            let before = before.map_or("", |endpoint| endpoint.source.label());
            let metrics = &self.fetch.parts.sinks.metrics;
            metrics.resume(before, found.endpoint.source.label());
            self.record.resumed_by(&found.endpoint, attempts);
        }
        // The old source went on while this one was looked for.
        let went_on = self.bytes.hold_back().released();
        let went_on = went_on.saturating_sub(self.resumes_at);
        let source = &mut found.good;
        source.skip = source.skip.saturating_add(went_on);
        let who = found.endpoint.clone();
        self.bytes.begins(who, source.tells_total, source.is_coded);
        if let Some(total) = source.total {
            self.bytes.learn_length(total.saturating_sub(self.first));
        }
        self.source = Some(found);
        self.speed.begin_anew();
        Ok(())
    }
}
