//! A blob's body on its way to containerd: bytes of one source after another, the newest held back, ended cleanly only when
//! everything fits (design P7, P8).
//!
//! A source that breaks is followed by another at the released offset, and so is one whose end is wrong. A source that
//! stalls keeps its place until another has answered. What cannot be completed ends with FIN where the sent prefix is
//! right (containerd asks again from there) and with a reset where it may be wrong.

mod ends;
mod resumption;
mod room;
mod speed;

use super::source::BlobSource;
use super::{BlobFetch, BlobSpec};
use crate::http1::{Broken, Chunk};
use crate::lifecycle::contained;
use crate::oci::ContentRange;
use crate::relay::causes::{self, Tried};
use crate::relay::context::Context;
use crate::relay::outcome::{Ended, Found};
use crate::relay::record::RequestRecord;
use crate::relay::rules::Cause;
use crate::relay::search::report;
use crate::relay::timing::Timing;
use crate::relay::transfer::{Reassembly, Window};
use crate::route::Route;
use crate::topology::{EndpointId, Failure, Outcome};
use bytes::{Buf as _, Bytes};
use room::Room;
use speed::{Speed, tier_is_slow};
use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use tokio::time::{Instant, sleep_until};

/// A rest this short is read to its end when the client leaves, so that its connection can be used again.
const SHORT_REST: u64 = 256 * 1024;

/// How the search for who goes on ends.
type Resumed = Ended<Found<Box<BlobSource>>>;

/// The body.
pub struct BlobBody {
    parts: Arc<Context>,
    route: Arc<Route>,
    spec: BlobSpec,
    timing: Timing,
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
    left: Vec<EndpointId>,
    /// When a body of which something is wrong is given up.
    fix_until: Option<Instant>,
    stage: Stage,
    /// No source has begun with the part that is due.
    begins_span: bool,
    pub(super) record: RequestRecord,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Streaming,
    /// Everything is there and right.
    Draining,
    Over,
}

/// What a body waits for.
enum Event {
    /// Bytes of the source, or its end.
    Source(Option<Result<Bytes, (Failure, String)>>),
    /// Somebody goes on, or nobody does.
    Resumed(Resumed),
    /// The source has given no byte for the limit.
    Stalled,
    /// What is wrong was not fixed in time.
    TooLate,
}

// === impl BlobBody ===

impl BlobBody {
    /// From its first source. `first`: where in the blob it begins.
    pub(crate) fn new(
        fetch: BlobFetch,
        first: u64,
        window: Window,
        source: Found<Box<BlobSource>>,
        record: RequestRecord,
    ) -> Self {
        let mut bytes = Reassembly::new(window);
        let (good, endpoint) = (&source.good, source.endpoint.clone());
        bytes.begins(endpoint, good.tells_total, good.is_coded);
        Self {
            room: Room::new(&fetch.parts.budget),
            parts: fetch.parts,
            route: fetch.route,
            spec: fetch.spec,
            timing: fetch.timing,
            first,
            total: good.total,
            spans: VecDeque::new(),
            bytes,
            source: Some(source),
            resumption: None,
            resumes_at: 0,
            speed: Speed::default(),
            left: Vec::new(),
            fix_until: None,
            stage: Stage::Streaming,
            begins_span: false,
            record,
        }
    }

    /// Bytes still to come, if the size is known: for Content-Length.
    pub(crate) fn remaining(&self) -> Option<u64> {
        let window = self.bytes.window();
        Some(window.length()?.saturating_sub(window.released()))
    }

    /// Of those, what has not come either.
    fn missing(&self) -> Option<u64> {
        let window = self.bytes.window();
        Some(window.length()?.saturating_sub(window.received()))
    }

    /// The offset in the blob of the next byte to be let go.
    fn reached(&self) -> u64 {
        let released = self.bytes.window().released();
        self.first.saturating_add(released)
    }

    /// Bytes have waited for the client for a while. Until it takes some the source has no load of this body.
    pub(super) fn is_unread(&mut self) {
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
            match self.stage {
                Stage::Over => return Ok(None),
                Stage::Draining => {
                    if let Some(chunk) = self.bytes.drain() {
                        let next = self.bytes.drain().unwrap_or_default();
                        // The last chunk is told before it is handed over: nobody asks for more after a full length.
                        if self.bytes.window().held() == 0 && self.spans.is_empty() {
                            self.record.complete();
                        }
                        return Ok(Some(self.let_go(chunk, next)));
                    }
                    if !self.goes_on_with_next_span() {
                        self.stage = Stage::Over;
                        self.record.complete();
                    }
                    continue;
                }
                Stage::Streaming => {}
            }
            if let Some(chunk) = self.bytes.release() {
                // Where it was cut before, two pieces go out as one.
                let next = self.bytes.release().unwrap_or_default();
                return Ok(Some(self.let_go(chunk, next)));
            }
            if self.bytes.window().is_full() {
                self.conclude()?;
                continue;
            }
            if self.source.is_none() && self.resumption.is_none() {
                return Err(self.give_up("no source is left"));
            }
            match self.wait().await {
                Event::Source(Some(Ok(chunk))) => {
                    self.arrived(chunk.len() as u64);
                    if let Some(conclusion) = self.bytes.push(chunk) {
                        self.concluded(conclusion)?;
                    }
                }
                Event::Source(Some(Err((failure, detail)))) => self.broken(failure, detail),
                Event::Source(None) => self.conclude()?,
                Event::Resumed(ended) => self.resumed(ended)?,
                Event::Stalled => {
                    self.stalls();
                    self.look_for_another();
                }
                Event::TooLate => return Err(self.give_up("not fixed in time")),
            }
        }
    }

    /// What happens next. Time in which the client does not read is nobody's: this is not waited for then.
    async fn wait(&mut self) -> Event {
        let wanted = self.missing();
        let is_large = self.room.is_large(wanted);
        let fix_until = self.fix_until;
        let stall = self.parts.timeouts.stall;
        let may_stall = self.source.is_some() && self.resumption.is_none();
        let Self {
            parts,
            spec,
            source,
            resumption,
            speed,
            ..
        } = self;
        let at = source.as_ref().map(|source| source.endpoint.source.clone());
        let is_known = || at.as_ref().is_some_and(|at| tier_is_slow(parts, spec, at));
        let next = async {
            match source {
                Some(source) => {
                    source.in_flight.resume();
                    source.good.read_large(is_large);
                    source.good.next(wanted).await
                }
                None => pending().await,
            }
        };
        let resumed = async {
            match resumption {
                Some(resumption) => resumption.await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            // Cancel safe: it only waits.
            () = sleep_until(fix_until.unwrap_or_else(Instant::now)), if fix_until.is_some() => Event::TooLate,
            // Cancel safe: what has not come stays.
            next = next => Event::Source(next),
            // Cancel safe: the search stays in its box.
            ended = resumed => {
                self.resumption = None;
                Event::Resumed(ended)
            }
            // Cancel safe: since when is remembered.
            () = speed.stalled(stall, is_known), if may_stall => Event::Stalled,
        }
    }

    fn let_go(&mut self, chunk: Bytes, next: Bytes) -> Chunk {
        let bytes = chunk.len().saturating_add(next.len());
        self.record.sent(bytes as u64);
        chunk.chain(next)
    }

    /// The source is gone; the held bytes with it. Another is looked for.
    fn broken(&mut self, failure: Failure, detail: String) {
        self.tell_rate();
        if let Some(source) = self.source.take() {
            self.note(&source.endpoint, failure, &detail);
            let outcome = Outcome::Hard(failure);
            report(&self.parts, &source.endpoint, outcome, detail);
            self.leave(source.endpoint);
        }
    }

    /// All of a part has been let go: the next one is looked for, as the rest of a broken body is.
    fn goes_on_with_next_span(&mut self) -> bool {
        let Some(span) = self.spans.pop_front() else {
            return false;
        };
        self.first = span.first;
        self.spec = self.spec.part_of(span);
        self.bytes = Reassembly::new(Window::measured(span.length()));
        self.left.clear();
        self.fix_until = None;
        self.speed.begin_anew();
        self.begins_span = true;
        self.stage = Stage::Streaming;
        self.look_for_another();
        true
    }

    /// The record says who was left in the middle of the blob, and how far its bytes came.
    fn note(&mut self, endpoint: &EndpointId, failure: Failure, detail: &str) {
        let came = self.first.saturating_add(self.bytes.window().received());
        let detail = format!("{detail}, at byte {came}");
        let tried = Tried::at(endpoint, Cause::Failed(failure), detail);
        self.record.left(&causes::attempts(&[tried]));
    }
}

impl Drop for BlobBody {
    fn drop(&mut self) {
        self.tell_rate();
        if let (Some(source), Some(rest)) = (self.source.take(), self.missing())
            && rest <= SHORT_REST
            && self.stage != Stage::Over
        {
            source.good.finish();
        }
    }
}

impl fmt::Debug for BlobBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobBody")
            .field("released", &self.bytes.window().released())
            .finish_non_exhaustive()
    }
}
