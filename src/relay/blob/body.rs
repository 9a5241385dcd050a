//! A blob's body on its way to containerd: bytes of one source after another, the newest held back, ended cleanly only when
//! everything fits (design P7, P8).
//!
//! A source that breaks is followed by another at the released offset, and so is one whose end is wrong. A source that
//! stalls keeps its place until another has answered. What cannot be completed ends with FIN where the sent prefix is
//! right (containerd asks again from there) and with a reset where it may be wrong.

mod bandwidth;
mod ends;
mod room;
mod speed;

use super::BlobFetch;
use super::source::BlobSource;
use crate::http1::{Broken, Chunk};
use crate::lifecycle::contained;
use crate::oci::ContentRange;
use crate::relay::causes::{self, FailedAttempt};
use crate::relay::outcome::{Ended, Found};
use crate::relay::record::RequestRecord;
use crate::relay::rules::Cause;
use crate::relay::search::report;
use crate::relay::transfer::{HoldBack, Reassembly};
use crate::topology::{EndpointId, Failure, Outcome};
use bandwidth::BandwidthUse;
use bytes::{Buf as _, Bytes};
use room::Room;
use speed::{Speed, tier_is_slow};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use tokio::time::{Instant, sleep_until};

/// A rest this short is read to its end when the client leaves, so that its connection can be used again.
const SHORT_REST: u64 = 256 * 1024;

/// How the search for who goes on ends.
type Resumed = Ended<Found<Box<BlobSource>>>;

/// The body.
pub struct BlobBody {
    fetch: BlobFetch,
    /// Offset of the body's first byte in the blob.
    first: u64,
    /// Size of the whole blob, as its first source told it.
    total: Option<u64>,
    /// Parts of the blob that are to follow in the same body, each from its first byte to its last.
    pub(super) spans: VecDeque<ContentRange>,
    bytes: Reassembly,
    source: Option<Found<Box<BlobSource>>>,
    room: Room,
    /// The search for who goes on.
    resumption: Option<Pin<Box<dyn Future<Output = Resumed> + Send>>>,
    /// Where the body that is looked for begins, in this body.
    resumes_at: u64,
    speed: Speed,
    bandwidth: BandwidthUse,
    left: Vec<EndpointId>,
    /// When a body of which something is wrong is given up.
    fix_until: Option<Instant>,
    /// It has ended, one way or another.
    is_over: bool,
    /// No source has begun with the part that is due.
    begins_span: bool,
    pub(super) record: RequestRecord,
}

// === impl BlobBody ===

impl BlobBody {
    /// From its first source. `first`: where in the blob it begins.
    pub(crate) fn new(
        fetch: BlobFetch,
        first: u64,
        hold_back: HoldBack,
        source: Found<Box<BlobSource>>,
        record: RequestRecord,
    ) -> Self {
        let mut bytes = Reassembly::new(hold_back);
        let (good, endpoint) = (&source.good, source.endpoint.clone());
        bytes.begins(endpoint, good.tells_total, good.is_coded);
        Self {
            room: Room::new(&fetch.parts.budget),
            fetch,
            first,
            total: good.total,
            spans: VecDeque::new(),
            bytes,
            source: Some(source),
            resumption: None,
            resumes_at: 0,
            speed: Speed::default(),
            bandwidth: BandwidthUse::default(),
            left: Vec::new(),
            fix_until: None,
            is_over: false,
            begins_span: false,
            record,
        }
    }

    /// What has not come yet, if the size is known.
    fn missing(&self) -> Option<u64> {
        let hold_back = self.bytes.hold_back();
        Some(hold_back.length()?.saturating_sub(hold_back.received()))
    }

    /// The offset in the blob of the next byte to be let go.
    fn reached(&self) -> u64 {
        let released = self.bytes.hold_back().released();
        self.first.saturating_add(released)
    }

    /// Bytes have waited for the client for a while. Until it takes some the source has no load of this body.
    pub(super) fn is_unread(&mut self) {
        self.bandwidth.is_unread();
        if let Some(source) = &mut self.source {
            source.in_flight.pause();
        }
    }

    /// The next bytes that may be let go.
    pub(crate) async fn next(&mut self) -> Option<Result<Chunk, Broken>> {
        let next = contained("blob", self.advance()).await;
        match next {
            Ok(next) => next.transpose(),
            // What stands where is not known any more.
            Err(panicked) => Some(Err(self.reset(&panicked.to_string()))),
        }
    }

    async fn advance(&mut self) -> Result<Option<Chunk>, Broken> {
        loop {
            if self.is_over {
                return Ok(None);
            }
            if let Some(chunk) = self.bytes.release() {
                // Where it was cut before, two pieces go out as one.
                let next = self.bytes.release().unwrap_or_default();
                let hold_back = self.bytes.hold_back();
                // The last chunk is told before it is handed over: nobody asks for more after a full length.
                if hold_back.is_proven() && hold_back.held() == 0 && self.spans.is_empty() {
                    self.record.complete();
                }
                let bytes = chunk.len().saturating_add(next.len());
                self.record.sent(bytes as u64);
                return Ok(Some(chunk.chain(next)));
            }
            if self.bytes.hold_back().is_proven() {
                if !self.goes_on_with_next_span() {
                    self.is_over = true;
                    self.record.complete();
                }
                continue;
            }
            if self.bytes.hold_back().is_full() {
                self.conclude()?;
                continue;
            }
            if self.source.is_none() && self.resumption.is_none() {
                return Err(self.give_up("no source is left"));
            }
            self.wait_for_bandwidth().await;
            self.go_on().await?;
        }
    }

    /// Bytes of the source came, or its end.
    fn take(&mut self, next: Option<Result<Bytes, (Failure, String)>>) -> Result<(), Broken> {
        match next {
            Some(Ok(chunk)) => {
                let came = chunk.len() as u64;
                self.arrived(came);
                let conclusion = self.bytes.push(chunk);
                self.charge(came);
                conclusion.map_or(Ok(()), |conclusion| self.concluded(conclusion))
            }
            Some(Err((failure, detail))) => {
                self.broken(failure, Outcome::Hard(failure), detail);
                Ok(())
            }
            None => self.conclude(),
        }
    }

    /// Waits for what happens next. Time in which the client does not read is nobody's: this is not waited for then.
    async fn go_on(&mut self) -> Result<(), Broken> {
        let wanted = self.missing();
        let is_large = !self.bandwidth.is_limited && self.room.is_large(wanted);
        let fix_until = self.fix_until;
        let stall = self.fetch.parts.timeouts.stall;
        let may_stall = self.source.is_some() && self.resumption.is_none();
        let source = self.source.as_ref();
        let at = source.map(|source| source.endpoint.source.clone());
        let is_slow = |at| tier_is_slow(&self.fetch, at);
        let is_known = || at.as_ref().is_some_and(is_slow);
        // Of what there is not nothing is waited for.
        let too_late = async {
            sleep_until(fix_until?).await;
            Some(())
        };
        let next = async {
            let source = self.source.as_mut()?;
            source.in_flight.resume();
            source.good.read_large(is_large);
            Some(source.good.next(wanted).await)
        };
        let resumed = async { Some(self.resumption.as_mut()?.await) };
        let stalled = self.speed.stalled(stall, is_known);
        tokio::select! {
            biased;
            // Cancel safe: it only waits.
            Some(()) = too_late => Err(self.give_up("not fixed in time")),
            // Cancel safe: what has not come stays.
            Some(next) = next => self.take(next),
            // Cancel safe: the search stays in its box.
            Some(ended) = resumed => {
                self.resumption = None;
                self.resumed(ended)
            }
            // Cancel safe: since when is remembered.
            () = stalled, if may_stall => {
                self.stalls();
                self.look_for_another();
                Ok(())
            }
            // The loop has seen to one of them.
            else => Err(self.give_up("no source is left")),
        }
    }

    /// The source is gone; the held bytes with it. Another is looked for.
    fn broken(&mut self, failure: Failure, outcome: Outcome, detail: String) {
        self.tell_rate();
        if let Some(source) = self.source.take() {
            self.note(&source.endpoint, failure, &detail);
            report(&self.fetch.parts, &source.endpoint, outcome, detail);
            self.leave(source.endpoint);
        }
    }

    /// All of a part has been let go: the next one is looked for, as the rest of a broken body is.
    fn goes_on_with_next_span(&mut self) -> bool {
        let Some(span) = self.spans.pop_front() else {
            return false;
        };
        self.first = span.first;
        self.fetch = self.fetch.part_of(span);
        self.bytes = Reassembly::new(HoldBack::measured(span.length()));
        self.left.clear();
        self.fix_until = None;
        self.speed.begin_anew();
        self.begins_span = true;
        self.look_for_another();
        true
    }

    /// The record says who was left in the middle of the blob, and how far its bytes came.
    fn note(&mut self, endpoint: &EndpointId, failure: Failure, detail: &str) {
        let came = self.first.saturating_add(self.bytes.hold_back().received());
        let detail = format!("{detail}, at byte {came}");
        let failed = FailedAttempt::at(endpoint, Cause::Failed(failure), detail);
        self.record.left(&causes::attempts(&[failed]));
    }
}

impl Drop for BlobBody {
    fn drop(&mut self) {
        self.tell_rate();
        if let (Some(source), Some(rest)) = (self.source.take(), self.missing())
            && rest <= SHORT_REST
            && !self.is_over
        {
            source.good.finish();
        }
    }
}
