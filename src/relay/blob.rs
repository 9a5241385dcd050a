//! Blobs: what is asked of a source, what of its answer is looked at before the status line, and the answer to
//! containerd.

pub(crate) mod body;
mod expected;
mod multipart;
mod pull_body;
mod ranged;
mod respond;
mod size;
mod source;
#[cfg(test)]
mod testing;

use expected::Expected;
pub use pull_body::PullBody;
pub(crate) use respond::serve;
pub(crate) use source::BlobSource;

use super::head;
use super::network::LiveNetwork;
use super::outcome::{Ended, Found, Rejection};
use super::reputation::Subject;
use super::rules::{Asked, Authority, Cause, Head, Scope, Use, judge};
use super::search::{Again, FetchSpec, Search, unread};
use super::timing::Timing;
use crate::config::HarborPolicy;
use crate::exchange::{SourceRequest, SourceResponse};
use crate::oci::{ContentRange, Digest, RangeSpec};
use crate::relay::context::Context;
use crate::relay::transfer::ends_in_an_error;
use crate::route::{Route, Target};
use crate::telemetry::RequestId;
use crate::topology::{EndpointId, Failure, Outcome, Source, SourceId};
use crate::upstream::Unread;
use bytes::BytesMut;
use http::header::HeaderValue;
use http::{Method, StatusCode};
use std::sync::Arc;
use tokio::time::Instant;

/// Bodies up to this size are read and proved before the status line (design P8).
const PROVED_FIRST: u64 = 64 * 1024;

/// A request for a blob, whole or from an offset, and what is asked of each source for it.
#[derive(Clone)]
pub(crate) struct BlobFetch {
    parts: Arc<Context>,
    /// Without upstream where that has denied the repository a while ago.
    route: Arc<Route>,
    /// What upstream said then.
    denied: Option<String>,
    digest: Digest,
    range: Option<RangeSpec>,
    expected: Expected,
    /// Its size alone is wanted.
    head: bool,
    policy: HarborPolicy,
    request_id: RequestId,
}

// === impl BlobFetch ===

impl BlobFetch {
    fn search(&self) -> Search<Arc<LiveNetwork>, Self> {
        let (parts, route) = (&self.parts, self.route.clone());
        let (it, timing) = (Arc::new(self.clone()), Timing::for_blob(&parts.timeouts));
        let network = &parts.network;
        Search::new(network, parts, route, it, timing, &self.request_id)
    }

    /// Searches, and remembers what that tells of the repository and of upstream.
    async fn fetch(&self) -> Ended<Found<Box<BlobSource>>> {
        let (parts, blob) = (&self.parts, &self.expected.blob);
        let mut ended = self.search().run().await;
        if ended.is_nowhere() {
            parts.has_size(blob, None);
        }
        if let Ok(found) = &ended.result {
            let (content, now) = (std::iter::once(&self.digest), Instant::now());
            parts
                .stickiness
                .answered(blob, &found.endpoint, content, now);
        }
        ended.result = ended.result.map_err(|nothing| {
            let denied = self.denied.clone();
            parts.remember_denial(&self.route, blob.trust, denied, nothing)
        });
        ended
    }

    /// The rest of it from an offset. `total`: the size of the whole in the answer's head: the rest must be of the same whole.
    fn rest(&self, first: u64, total: Option<u64>) -> Self {
        // Open where the client's was: from the first byte it is then the whole again, which every source can give.
        let last = match self.range {
            Some(RangeSpec::From { last, .. }) => last,
            Some(RangeSpec::Last(_)) | None => None,
        };
        Self {
            range: Some(RangeSpec::From { first, last }),
            expected: self.expected.of_rest(total),
            head: false,
            ..self.clone()
        }
    }

    /// One part of it.
    fn part_of(&self, part: ContentRange) -> Self {
        Self {
            range: Some(part.into()),
            ..self.clone()
        }
    }

    /// The range to ask a source for; from the first byte to the end is the whole, which can be proved. Where the size alone is
    /// wanted it is the first byte, whose Content-Range tells it.
    fn part(&self) -> Option<RangeSpec> {
        const FIRST_BYTE: RangeSpec = RangeSpec::From {
            first: 0,
            last: Some(0),
        };
        if self.head {
            return (!self.digest.is_of_nothing()).then_some(FIRST_BYTE);
        }
        let is_whole = |range: &RangeSpec| {
            matches!(
                range,
                RangeSpec::From {
                    first: 0,
                    last: None
                }
            )
        };
        self.range.filter(|range| !is_whole(range))
    }

    fn wrong(&self, endpoint: &EndpointId, detail: &str) -> Rejection {
        let blob = &self.expected.blob;
        self.parts.wrong_bytes(endpoint, blob, &self.digest, detail);
        let outcome = Outcome::Soft(Failure::Content);
        Rejection::leave(Scope::Address, outcome, Cause::WrongDigest, detail)
    }

    /// How many bytes must come from the source, those to skip included.
    fn needed(&self, due: Use) -> Option<u64> {
        let total = due.total?;
        match self.part() {
            Some(range) => Some(due.skip.saturating_add(range.within(total)?.length())),
            None => Some(total),
        }
    }

    /// Reads what must be seen before the status line: all of a small body, the first bytes of another.
    async fn begin(
        &self,
        endpoint: &EndpointId,
        answer: SourceResponse,
        due: Use,
        seen: &Head,
    ) -> Result<Box<BlobSource>, Rejection> {
        let tells_total = self.expected.told(seen).is_some();
        let mut body = answer.body;
        // In one piece: of pieces of a byte there would be as many, for which others had to wait when they are let go.
        let (mut ready, mut read, mut ended) = (BytesMut::new(), 0_u64, false);
        let (is_part, needed) = (self.part().is_some(), self.needed(due));
        // A part is all there with its last byte; of the whole its end tells whether the digest fits.
        let at_least = match needed {
            Some(needed) if needed > PROVED_FIRST => 1,
            Some(needed) if is_part => needed,
            _ => PROVED_FIRST.saturating_add(1),
        };
        while read < at_least && !ended {
            match body.next().await.transpose() {
                Ok(Some(data)) => {
                    read = read.saturating_add(data.len() as u64);
                    ready.extend_from_slice(&data);
                }
                Ok(None) => ended = true,
                Err(error) => return Err(unread(Unread::Broken(error))),
            }
        }
        let broken_off = || {
            let detail = format!("the body ended after {read} bytes");
            Rejection::broken(Scope::Address, Failure::Reset, detail)
        };
        let leave = |outcome, cause, why: &str| Rejection::leave(Scope::Tier, outcome, cause, why);
        if ended && read == 0 && due.total != Some(0) && !self.digest.is_of_nothing() {
            return Err(leave(Outcome::Success, Cause::ColdCascade, "an empty body"));
        }
        let is_short = ended && needed.is_some_and(|needed| read < needed);
        if is_short && is_part {
            let known = "and its size is only known from a manifest";
            return Err(match tells_total {
                true => broken_off(),
                false => unexpected(format!("{read} bytes, {known}")),
            });
        }
        let mut source = BlobSource {
            ready: ready.freeze(),
            body: None,
            skip: due.skip,
            total: due.total,
            tells_total,
            has_length: seen.length.is_some(),
            is_coded: seen.encoded,
        };
        if ended && !is_part {
            let mut hasher = self.digest.hasher();
            hasher.update(&source.ready);
            if hasher.finish() != self.digest {
                let is_broken =
                    || body.is_unannounced() || ends_in_an_error([&source.ready].into_iter());
                return Err(if seen.encoded {
                    let why = "its Content-Encoding says what its bytes are";
                    leave(Outcome::Neutral, Cause::Unusable, why)
                } else if is_short || is_broken() {
                    broken_off()
                } else {
                    self.wrong(endpoint, "the bytes do not fit the digest")
                });
            }
            if needed.is_some_and(|needed| read != needed) {
                self.parts.sizes.forget(&self.expected.blob.image);
            }
            (source.skip, source.total) = (0, Some(read));
        } else if !is_part && needed.is_some_and(|needed| read > needed) {
            return Err(unexpected("more bytes than a manifest says"));
        } else if !ended {
            source.body = Some(body);
        }
        Ok(Box::new(source))
    }
}

/// Another size than a manifest says, which is one word against another.
fn unexpected(detail: impl Into<String>) -> Rejection {
    let outcome = Outcome::Success;
    Rejection::leave(Scope::Tier, outcome, Cause::WrongLength, detail)
}

impl FetchSpec for BlobFetch {
    type Good = Box<BlobSource>;

    fn request(&self, target: &Target, source: &Source) -> SourceRequest {
        let range = self.part().map(|range| range.header());
        // HEAD of a blob is answered 404 by Harbor for what it has not cached yet (harbor-facts 0.5).
        let (method, range) = match (self.head, &source.id) {
            (true, SourceId::Upstream(_)) => (Method::HEAD, None),
            _ => (Method::GET, range),
        };
        let (resource, accept) = (
            format!("/blobs/{}", self.digest),
            HeaderValue::from_static("*/*"),
        );
        let (id, trust) = (&self.request_id, self.expected.blob.trust);
        SourceRequest {
            range,
            ..head::request(target, &resource, method, accept, id, trust)
        }
    }

    fn by_get(&self, request: SourceRequest) -> SourceRequest {
        SourceRequest {
            method: Method::GET,
            range: self.part().map(|range| range.header()),
            ..request
        }
    }

    async fn examine(
        &self,
        authority: Authority,
        endpoint: &EndpointId,
        answer: SourceResponse,
    ) -> Result<Box<BlobSource>, Rejection> {
        let seen = head::read(&answer);
        let size = self.expected.judging(endpoint, &seen, &self.parts.sizes);
        let asked = Asked::Blob {
            // To a HEAD there are no ranges (RFC 9110, 14.2).
            range: self.part().filter(|_| !answer.head),
            size,
            empty: self.digest.is_of_nothing(),
        };
        match judge(asked, authority, self.policy, &seen) {
            Ok(due) if self.head => {
                let total = due.total.filter(|_| size.is_some() || !seen.encoded);
                if total.is_none() {
                    return Err(unexpected("no length was told"));
                }
                Ok(Box::new(BlobSource {
                    // One byte is left, and the connection good for another request. Of a whole its head is enough.
                    body: (seen.status == 206).then_some(answer.body),
                    total,
                    ..BlobSource::default()
                }))
            }
            Ok(due) => self.begin(endpoint, answer, due, &seen).await,
            Err(unfit) => Err(head::rejection(unfit, answer, head::WORDS).await),
        }
    }

    fn subject(&self, _: &Route) -> Subject {
        Subject::from(&self.expected.blob)
    }

    /// There are registries, and filters before them, that take GET alone: a 403 to HEAD says nothing until GET was tried.
    fn again(&self, _: &EndpointId, answer_to_head: &SourceResponse) -> Option<Again> {
        (answer_to_head.status == StatusCode::FORBIDDEN).then_some(Again::Instead)
    }
}
