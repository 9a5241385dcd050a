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

use expected::Expected;
pub use pull_body::PullBody;
pub(crate) use respond::answer;
pub(crate) use source::BlobSource;

use super::head;
use super::memory::{Image, Pulled};
use super::rules::{Asked, Authority, Cause, Head, Scope, Use, Verdict, judge};
use super::search::FetchSpec;
use crate::cache::Trust;
use crate::config::HarborPolicy;
use crate::exchange::{SourceRequest, SourceResponse};
use crate::lifecycle;
use crate::oci::{ByteRange, ContentRange, Digest, RangeSpec};
use crate::relay::context::Context;
use crate::relay::outcome::Rejection;
use crate::relay::transfer::ends_in_an_error;
use crate::route::Target;
use crate::topology::{EndpointId, Failure, Outcome, Source, SourceId};
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HeaderValue};
use http::{Method, StatusCode};
use std::collections::VecDeque;
use std::sync::Arc;

/// Bodies up to this size are read and proved before the status line (design P8).
const PROVED_FIRST: u64 = 64 * 1024;

/// A blob, whole or from an offset.
#[derive(Clone)]
pub(crate) struct BlobSpec {
    parts: Arc<Context>,
    digest: Digest,
    trust: Trust,
    range: Option<RangeSpec>,
    expected: Expected,
    head: bool,
    policy: HarborPolicy,
    request_id: Arc<str>,
}

/// What a source has for us.
#[derive(Debug)]
pub(crate) enum Fetched {
    /// The beginning of a body, with the rest to come; or all of it, proved.
    Stream(Box<BlobSource>),
    /// HEAD: the size.
    Size(u64),
}

// === impl BlobSpec ===

impl BlobSpec {
    /// The rest of it from an offset. `total`: the size of the whole in the answer's head: the rest must be of the same whole.
    pub(crate) fn from(&self, first: u64, total: Option<u64>) -> Self {
        // Open where the client's was: from the first byte it is then the whole again, which every source can give.
        let last = match self.range {
            Some(RangeSpec::From(range)) => range.last,
            Some(RangeSpec::Last(_)) | None => None,
        };
        Self {
            range: Some(RangeSpec::From(ByteRange { first, last })),
            expected: self.expected.of_rest(total),
            head: false,
            ..self.clone()
        }
    }

    /// One part of it.
    pub(crate) fn part_of(&self, part: ContentRange) -> Self {
        Self {
            range: Some(part.into()),
            ..self.clone()
        }
    }

    #[cfg(test)]
    pub(crate) fn of(parts: &Arc<Context>, blob: Image) -> Self {
        Self {
            parts: parts.clone(),
            digest: blob.reference.digest().unwrap().clone(),
            trust: Trust::Trusted,
            range: None,
            expected: Expected::of(blob, None),
            head: false,
            policy: HarborPolicy::Next,
            request_id: "1".into(),
        }
    }

    pub(crate) fn expected(&self) -> &Expected {
        &self.expected
    }

    /// The blob as it is pulled.
    pub(crate) fn pulled(&self) -> Pulled {
        Pulled {
            blob: self.expected.blob().clone(),
            trust: self.trust,
        }
    }

    pub(crate) fn digest_ref(&self) -> &Digest {
        &self.digest
    }

    /// The range to ask a source for; from the first byte to the end is the whole, which can be proved. Where the size alone is
    /// wanted it is the first byte, whose Content-Range tells it.
    fn part(&self) -> Option<RangeSpec> {
        const WHOLE: RangeSpec = RangeSpec::From(ByteRange {
            first: 0,
            last: None,
        });
        const FIRST_BYTE: RangeSpec = RangeSpec::From(ByteRange {
            first: 0,
            last: Some(0),
        });
        if self.head {
            return (!self.digest.is_of_nothing()).then_some(FIRST_BYTE);
        }
        self.range.filter(|range| *range != WHOLE)
    }

    /// HEAD of a blob is answered 404 by Harbor for what it has not cached yet (harbor-facts 0.5).
    fn asks_by_head(&self, source: &SourceId) -> bool {
        self.head && matches!(source, SourceId::Upstream(_))
    }

    /// To a HEAD there are no ranges (RFC 9110, 14.2).
    fn asked(&self, is_head: bool, size: Option<u64>) -> Asked {
        Asked::Blob {
            range: self.part().filter(|_| !is_head),
            size,
            empty: self.digest.is_of_nothing(),
        }
    }

    fn wrong(&self, endpoint: &EndpointId, detail: &str) -> Rejection {
        let what = (self.expected.blob(), &self.digest);
        self.parts.wrong_bytes(endpoint, what, self.trust, detail);
        Rejection::leave(
            Scope::Address,
            Outcome::Soft(Failure::Content),
            Cause::WrongDigest,
            detail,
        )
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
    ) -> Result<Fetched, Rejection> {
        let tells_total = self.expected.told(seen).is_some();
        // With a coding it may be that of something else.
        let has_length = answer.fields.contains(&CONTENT_LENGTH) && !seen.encoded;
        let mut body = answer.body;
        let (mut ready, mut read) = (VecDeque::new(), 0_u64);
        let needed = self.needed(due);
        let at_least = match needed {
            // A part is all there with its last byte; of the whole its end tells whether the digest fits.
            Some(needed) if needed <= PROVED_FIRST && self.part().is_some() => needed,
            Some(needed) if needed <= PROVED_FIRST => PROVED_FIRST.saturating_add(1),
            Some(_) => 1,
            None => PROVED_FIRST.saturating_add(1),
        };
        let mut ended = false;
        while read < at_least {
            match body.next().await {
                Some(Ok(data)) => {
                    read = read.saturating_add(data.len() as u64);
                    ready.push_back(data);
                }
                Some(Err(error)) => {
                    return Err(Rejection::broken(
                        Scope::Address,
                        error.failure,
                        error.detail,
                    ));
                }
                None => {
                    ended = true;
                    break;
                }
            }
        }
        if ended && read == 0 && due.total != Some(0) && !self.digest.is_of_nothing() {
            return Err(Rejection::leave(
                Scope::Tier,
                Outcome::Success,
                Cause::ColdCascade,
                "an empty body",
            ));
        }
        let is_short = ended && needed.is_some_and(|needed| read < needed);
        if is_short && self.part().is_some() {
            return Err(if tells_total {
                Rejection::broken(
                    Scope::Address,
                    Failure::Reset,
                    format!("the body ended after {read} bytes"),
                )
            } else {
                unexpected(format!(
                    "{read} bytes, and its size is only known from a manifest"
                ))
            });
        }
        if ended && self.part().is_none() {
            let mut hasher = self.digest.hasher();
            ready.iter().for_each(|chunk: &Bytes| hasher.update(chunk));
            if hasher.finish() != self.digest {
                return Err(if seen.encoded {
                    Rejection::leave(
                        Scope::Tier,
                        Outcome::Neutral,
                        Cause::Unusable,
                        "its Content-Encoding says what its bytes are",
                    )
                } else if is_short || body.is_unannounced() || ends_in_an_error(ready.iter()) {
                    Rejection::broken(
                        Scope::Address,
                        Failure::Reset,
                        format!("the body ended after {read} bytes"),
                    )
                } else {
                    self.wrong(endpoint, "the bytes do not fit the digest")
                });
            }
            if needed.is_some_and(|needed| read != needed) {
                self.parts.sizes.forget(self.expected.blob());
            }
            let source = BlobSource {
                ready,
                body: None,
                skip: 0,
                total: Some(read),
                has_length,
                tells_total,
                is_coded: seen.encoded,
            };
            return Ok(Fetched::Stream(Box::new(source)));
        }
        if self.part().is_none() && needed.is_some_and(|needed| read > needed) {
            return Err(unexpected("more bytes than a manifest says".to_owned()));
        }
        let body = if ended { None } else { Some(body) };
        Ok(Fetched::Stream(Box::new(BlobSource {
            ready,
            body,
            skip: due.skip,
            total: due.total,
            has_length,
            tells_total,
            is_coded: seen.encoded,
        })))
    }
}

/// Another size than a manifest says, which is one word against another.
fn unexpected(detail: String) -> Rejection {
    Rejection::Leave {
        scope: Scope::Tier,
        outcome: Outcome::Success,
        cause: Cause::WrongLength,
        detail,
    }
}

impl FetchSpec for BlobSpec {
    type Good = Fetched;

    fn request(&self, target: &Target, source: &Source) -> SourceRequest {
        let range = self.part().map(|range| range.header());
        let (method, range) = match self.asks_by_head(&source.id) {
            true => (Method::HEAD, None),
            false => (Method::GET, range),
        };
        head::request(
            target,
            ("/blobs/", self.digest.as_str()),
            method,
            HeaderValue::from_static("*/*"),
            range,
            (&self.request_id, self.trust),
        )
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
    ) -> Result<Fetched, Rejection> {
        let seen = head::of(&answer);
        let size = self.expected.judging(endpoint, &seen, &self.parts.sizes);
        let asked = self.asked(answer.head, size);
        match judge(asked, authority, self.policy, &seen) {
            Verdict::Use(due) if self.head => {
                if seen.status == 206 {
                    // One byte is left, and the connection good for another request. Of a whole its head is enough.
                    let mut body = answer.body;
                    lifecycle::spawn_detached("drain", async move { body.drain_small().await });
                }
                let total = due.total.filter(|_| size.is_some() || !seen.encoded);
                total.map(Fetched::Size).ok_or(Rejection::leave(
                    Scope::Tier,
                    Outcome::Success,
                    Cause::WrongLength,
                    "no length was told",
                ))
            }
            Verdict::Use(due) => self.begin(endpoint, answer, due, &seen).await,
            verdict => Err(head::rejection(verdict, answer).await),
        }
    }

    fn image(&self) -> Option<&Image> {
        Some(self.expected.blob())
    }

    fn trust(&self) -> Trust {
        self.trust
    }

    /// There are registries, and filters before them, that take GET alone: a 403 to HEAD says nothing until GET was tried.
    fn is_too_little(&self, answer_to_head: &SourceResponse) -> bool {
        answer_to_head.status == StatusCode::FORBIDDEN
    }
}
