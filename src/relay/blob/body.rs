//! A blob's body on its way to containerd: bytes of one source after another, through the window that holds the newest
//! back, ended cleanly only when everything fits (design P7, P8).
//!
//! A source that breaks is followed by another at the released offset, and so is one whose end is wrong. A source that
//! stalls keeps its place until another has answered. What cannot be mended ends with FIN where the sent prefix is
//! right (containerd asks again from there) and with a reset where it may be wrong.

mod ends;
mod errand;
mod room;
mod slow;
mod source;

pub(crate) use errand::Errand;

use super::{Fetched, Incoming};
use crate::lifecycle::Alarm;
use crate::relay::causes::{self, Tried};
use crate::relay::outcome::{Ended, Found};
use crate::relay::record::RequestRecord;
use crate::relay::response::BoxError;
use crate::relay::response::LetGo;
use crate::relay::rules::Cause;
use crate::relay::search::{Search, report};
use crate::relay::transfer::{Reassembly, Window};
use crate::topology::{EndpointId, Failure, InFlight, Outcome};
use bytes::{Buf as _, Bytes};
use room::Room;
use slow::Watch;
use source::{Broken, Source};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::time::Instant;

/// A rest this short is read to its end when the client leaves, so that its connection can be used again.
const SHORT_REST: u64 = 256 * 1024;

type Resumption = Pin<Box<dyn Future<Output = Ended<Found<Fetched>>> + Send>>;

/// The body.
pub struct BlobBody {
    errand: Errand,
    course: Reassembly,
    source: Option<Source>,
    room: Room,
    resumption: Option<Resumption>,
    /// Where the body that is looked for begins, in this body.
    resumes_at: u64,
    watch: Watch,
    left: Vec<EndpointId>,
    /// When a body of which something is wrong is given up.
    mend_until: Option<Instant>,
    patience: Alarm,
    stage: Stage,
    /// No source has begun with the part that is due.
    begins_span: bool,
    record: RequestRecord,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Streaming,
    Draining,
    Over,
}

// === impl BlobBody ===

impl BlobBody {
    pub(crate) fn new(
        errand: Errand,
        window: Window,
        incoming: Incoming,
        endpoint: EndpointId,
        in_flight: InFlight,
        record: RequestRecord,
    ) -> Self {
        let mut course = Reassembly::new(window);
        let room = Room::new(&errand.parts.budget);
        course.begins(endpoint.clone(), incoming.tells_total);
        Self {
            errand,
            course,
            source: Some(Source::new(incoming, endpoint, in_flight)),
            room,
            resumption: None,
            resumes_at: 0,
            watch: Watch::default(),
            left: Vec::new(),
            mend_until: None,
            patience: Alarm::default(),
            stage: Stage::Streaming,
            begins_span: false,
            record,
        }
    }

    /// Bytes still to come, if the size is known: for Content-Length.
    pub(crate) fn remaining(&self) -> Option<u64> {
        let last = self.errand.last?;
        Some(last.saturating_add(1).saturating_sub(self.reached()))
    }

    /// The offset in the blob of the next byte to be let go.
    fn reached(&self) -> u64 {
        let released = self.course.window().released();
        self.errand.first.saturating_add(released)
    }

    /// Bytes have waited for the client for a while. Until it takes some the source has no load of this body.
    pub(crate) fn is_unread(&mut self) {
        if let Some(source) = &mut self.source {
            source.is_unread();
        }
    }

    /// It is ended before its end.
    pub(crate) fn is_cut(&mut self, why: &str) {
        self.record.cut(why);
    }

    fn advance(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<LetGo, BoxError>>> {
        loop {
            match self.stage {
                Stage::Over => return Poll::Ready(None),
                Stage::Draining => {
                    let Some(chunk) = self.course.drain() else {
                        if !self.goes_on_with_next_span() {
                            self.stage = Stage::Over;
                            self.record.complete();
                        }
                        continue;
                    };
                    let next = self.course.drain().unwrap_or_default();
                    // The last chunk is told before it is handed over: nobody asks for more after a full length.
                    if self.course.window().held() == 0 && self.errand.spans.is_empty() {
                        self.record.complete();
                    }
                    return self.let_go(chunk, next);
                }
                Stage::Streaming => {}
            }
            if let Some(chunk) = self.course.release() {
                // Where the window was cut before, two pieces go out as one.
                let next = self.course.release().unwrap_or_default();
                return self.let_go(chunk, next);
            }
            if self.course.window().is_full() {
                if let Err(error) = self.conclude() {
                    return Poll::Ready(Some(Err(error)));
                }
                continue;
            }
            if let Some(until) = self.mend_until
                && self.patience.poll(context, until).is_ready()
            {
                return Poll::Ready(Some(Err(self.give_up("not mended in time".to_owned()))));
            }
            match self.poll_source(context) {
                Poll::Ready(Some(Ok(chunk))) => {
                    self.arrived(chunk.len() as u64);
                    if let Some(conclusion) = self.course.push(chunk)
                        && let Err(error) = self.concluded(conclusion)
                    {
                        return Poll::Ready(Some(Err(error)));
                    }
                    continue;
                }
                Poll::Ready(Some(Err(broken))) => self.broken(broken.failure, broken.detail),
                Poll::Ready(None) if self.source.is_some() => {
                    if let Err(error) = self.conclude() {
                        return Poll::Ready(Some(Err(error)));
                    }
                    continue;
                }
                Poll::Ready(None) | Poll::Pending => {}
            }
            match self.poll_resumption(context) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Some(Err(error))),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn let_go(&mut self, chunk: Bytes, next: Bytes) -> Poll<Option<Result<LetGo, BoxError>>> {
        self.record
            .sent(chunk.len().saturating_add(next.len()) as u64);
        Poll::Ready(Some(Ok(chunk.chain(next))))
    }

    /// `Ready(None)` with a source: it ended. Without one: nothing to poll.
    fn poll_source(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Broken>>> {
        let wanted = self
            .remaining()
            .map(|remaining| remaining.saturating_sub(self.course.window().held()));
        match &mut self.source {
            Some(source) => source.poll(context, wanted, self.room.is_large(wanted)),
            None => Poll::Ready(None),
        }
    }

    /// The source is gone; the held bytes with it. Another is looked for.
    fn broken(&mut self, failure: Failure, detail: String) {
        self.tell_rate();
        if let Some(source) = self.source.take() {
            self.note(&source.endpoint, failure, &detail);
            let parts = &self.errand.parts;
            report(parts, &source.endpoint, Outcome::Hard(failure), detail);
            self.leave(source.endpoint);
        }
    }

    /// The rest comes from elsewhere.
    fn leave(&mut self, endpoint: EndpointId) {
        self.left.push(endpoint);
        self.course.breaks();
        self.watch.rest();
        if self.resumption.is_none() {
            self.look_for_another();
        }
    }

    /// All of a part has been let go: the next one is looked for, as the rest of a broken body is.
    fn goes_on_with_next_span(&mut self) -> bool {
        let Some(span) = self.errand.next_span() else {
            return false;
        };
        self.course = Reassembly::new(Window::measured(span.length()));
        self.left.clear();
        self.mend_until = None;
        self.watch.begin_anew();
        self.begins_span = true;
        self.stage = Stage::Streaming;
        self.look_for_another();
        true
    }

    fn look_for_another(&mut self) {
        self.resumes_at = self.course.window().released();
        let errand = &self.errand;
        let first = self.reached();
        let wanted = Arc::new(errand.wanted.from(first, errand.total));
        let mut search = Search::new(
            errand.parts.clone(),
            errand.route.clone(),
            wanted,
            errand.timing,
        );
        for endpoint in self
            .left
            .iter()
            .chain(self.source.as_ref().map(|source| &source.endpoint))
        {
            search = search.without(endpoint);
        }
        self.resumption = Some(Box::pin(search.run()));
    }

    /// `Ready(Ok)`: look again. `Pending`: wait. `Ready(Err)`: it cannot be mended.
    fn poll_resumption(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        if self.source.is_some() && self.resumption.is_none() {
            if self.poll_stall(context).is_pending() {
                return Poll::Pending;
            }
            self.look_for_another();
        }
        let Some(resumption) = &mut self.resumption else {
            return Poll::Ready(Err(self.give_up("nobody is left".to_owned())));
        };
        let Poll::Ready(ended) = resumption.as_mut().poll(context) else {
            return Poll::Pending;
        };
        self.resumption = None;
        let story = ended.result.is_err().then(|| ended.story());
        match ended.result {
            Ok(found) => {
                let Fetched::Stream(incoming) = found.good else {
                    return Poll::Ready(Err(self.give_up("a size is no body".to_owned())));
                };
                let released = self.course.window().released();
                self.tell_rate();
                if let Some(slow) = self.source.take() {
                    self.slow(slow);
                }
                if std::mem::take(&mut self.begins_span) {
                    self.record.goes_on_by(&found.endpoint, ended.attempts);
                } else {
                    self.is_resumed_by(&found.endpoint, ended.attempts);
                }
                let (who, tells_total) = (found.endpoint.clone(), incoming.tells_total);
                self.course.begins(who, tells_total);
                if let Some(total) = incoming.total {
                    self.course
                        .learn_length(total.saturating_sub(self.errand.first));
                    self.errand.last.get_or_insert(total.saturating_sub(1));
                }
                let mut incoming = *incoming;
                // The old source went on while this one was looked for.
                let went_on = released.saturating_sub(self.resumes_at);
                incoming.skip = incoming.skip.saturating_add(went_on);
                self.source = Some(Source::new(incoming, found.endpoint, found.in_flight));
                self.watch.begin_anew();
                Poll::Ready(Ok(()))
            }
            // The last living source is never cut for slowness (design P6): wait on.
            Err(_) if self.source.is_some() => {
                self.watch.begin_anew();
                Poll::Ready(Ok(()))
            }
            Err(_) => Poll::Ready(Err(self.give_up(story.unwrap_or_default()))),
        }
    }

    fn is_resumed_by(&mut self, endpoint: &EndpointId, attempts: u32) {
        let before = self.left.last();
        let before = before.map_or("", |endpoint| endpoint.source.label());
        let metrics = &self.errand.parts.sinks.metrics;
        metrics.resume(before, endpoint.source.label());
        self.record.resumed_by(endpoint, attempts);
    }

    /// The record says who was left in the middle of the blob, and how far its bytes came.
    fn note(&mut self, endpoint: &EndpointId, failure: Failure, detail: &str) {
        let came = self
            .errand
            .first
            .saturating_add(self.course.window().received());
        let tried = Tried {
            endpoint: Some(endpoint.clone()),
            label: endpoint.source.label().to_owned(),
            cause: Cause::Failed(failure),
            detail: format!("{detail}, at byte {came}"),
        };
        self.record.left(&causes::story(&[tried]));
    }
}

impl Drop for BlobBody {
    fn drop(&mut self) {
        self.tell_rate();
        let rest = self
            .remaining()
            .map(|remaining| remaining.saturating_sub(self.course.window().held()));
        if let (Some(source), Some(rest)) = (self.source.take(), rest)
            && rest <= SHORT_REST
            && self.stage != Stage::Over
        {
            source.finish();
        }
    }
}

impl fmt::Debug for BlobBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobBody")
            .field("released", &self.course.window().released())
            .finish_non_exhaustive()
    }
}
