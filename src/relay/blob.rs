//! Blobs: what is asked of a source, what of its answer is looked at before the status line, and the answer to
//! containerd.

mod respond;

pub(crate) use respond::answer;

use super::body::blame;
use super::engine::RelayParts;
use super::head;
use super::rules::{Asked, Authority, Cause, Scope, Use, Verdict, judge};
use super::search::{Rejection, Wanted};
use crate::config::HarborPolicy;
use crate::exchange::{Answer, Ask};
use crate::oci::{ByteRange, Digest};
use crate::route::Leg;
use crate::topology::{EndpointId, Failure, Outcome, Source, SourceKind};
use crate::upstream::Body;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::Method;
use hyper::header::{CONTENT_LENGTH, HeaderValue};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::time::Instant;

/// Bodies up to this size are read and proved before the status line (design P8).
const PROVED_FIRST: u64 = 64 * 1024;

/// A blob, whole or from an offset.
#[derive(Clone)]
pub(crate) struct BlobWanted {
    parts: Arc<RelayParts>,
    digest: Digest,
    range: Option<ByteRange>,
    size: Option<u64>,
    head: bool,
    policy: HarborPolicy,
    request_id: Arc<str>,
}

/// What a source has for us.
#[derive(Debug)]
pub(crate) enum Fetched {
    /// The beginning of a body, with the rest to come; or all of it, proved.
    Stream(Box<Incoming>),
    /// HEAD: the size.
    Size(u64),
}

/// A body that has begun.
#[derive(Debug)]
pub(crate) struct Incoming {
    /// Read already.
    pub(crate) ready: VecDeque<Bytes>,
    /// To come; `None`: `ready` is all.
    pub(crate) body: Option<Body>,
    /// Bytes of it to throw away first.
    pub(crate) skip: u64,
    /// The blob's size, if known.
    pub(crate) total: Option<u64>,
    /// The source told a length: `verify = "suspect"` hashes what came without.
    pub(crate) has_length: bool,
}

// === impl BlobWanted ===

impl BlobWanted {
    /// The rest of it from an offset. `total`: what its first source told, for where no manifest did: the rest must
    /// be of the same whole.
    pub(crate) fn from(&self, first: u64, total: Option<u64>) -> Self {
        // Open where the client's was: from the first byte it is then the whole again, which every source can give.
        let last = self.range.and_then(|range| range.last);
        Self {
            range: Some(ByteRange { first, last }),
            size: self.size.or(total),
            head: false,
            ..self.clone()
        }
    }

    #[cfg(test)]
    pub(crate) fn of(parts: &Arc<RelayParts>, digest: Digest) -> Self {
        Self {
            parts: parts.clone(),
            digest,
            range: None,
            size: None,
            head: false,
            policy: HarborPolicy::Next,
            request_id: "1".into(),
        }
    }

    pub(crate) fn digest_ref(&self) -> &Digest {
        &self.digest
    }

    /// The range to ask a source for; from the first byte to the end is the whole, which can be proved.
    fn part(&self) -> Option<ByteRange> {
        self.range.filter(|range| {
            *range
                != ByteRange {
                    first: 0,
                    last: None,
                }
        })
    }

    fn asked(&self) -> Asked {
        Asked::Blob {
            range: self.part(),
            size: self.size,
            empty: self.digest.is_of_nothing(),
        }
    }

    fn wrong(&self, endpoint: &EndpointId, detail: &str) -> Rejection {
        blame(&self.parts, endpoint, &self.digest, detail);
        Rejection::Leave {
            scope: Scope::Address,
            outcome: Outcome::Soft(Failure::Content),
            cause: Cause::WrongDigest,
            detail: detail.to_owned(),
        }
    }

    /// How many bytes must come from the source, those to skip included.
    fn needed(&self, due: Use) -> Option<u64> {
        let total = due.total?;
        match self.part() {
            Some(range) => Some(due.skip + range.within(total)?.length()),
            None => Some(total),
        }
    }

    /// Reads what must be seen before the status line: all of a small body, the first bytes of another.
    async fn begin(
        &self,
        endpoint: &EndpointId,
        answer: Answer,
        due: Use,
    ) -> Result<Fetched, Rejection> {
        let has_length = answer.fields.contains(&CONTENT_LENGTH);
        let mut body = answer.body;
        let (mut ready, mut read) = (VecDeque::new(), 0_u64);
        let needed = self.needed(due);
        let at_least = match needed {
            // A part is all there with its last byte; of the whole, one byte more tells a longer one.
            Some(needed) if needed <= PROVED_FIRST && self.part().is_some() => needed,
            Some(needed) if needed <= PROVED_FIRST => needed + 1,
            Some(_) => 1,
            None => PROVED_FIRST + 1,
        };
        let mut ended = false;
        while read < at_least {
            match body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        read += data.len() as u64;
                        ready.push_back(data);
                    }
                }
                Some(Err(error)) => return Err(broken(error.detail)),
                None => {
                    ended = true;
                    break;
                }
            }
        }
        if ended && read == 0 && due.total != Some(0) && !self.digest.is_of_nothing() {
            return Err(Rejection::Leave {
                scope: Scope::Tier,
                outcome: Outcome::Success,
                cause: Cause::ColdCascade,
                detail: "an empty body".to_owned(),
            });
        }
        if ended && needed.is_some_and(|needed| read < needed) {
            return Err(broken(format!("the body ended after {read} bytes")));
        }
        if self.part().is_none() && needed.is_some_and(|needed| read > needed) {
            return Err(self.wrong(endpoint, "more bytes than the blob has"));
        }
        if ended && self.part().is_none() {
            let mut hasher = self.digest.hasher();
            ready.iter().for_each(|chunk: &Bytes| hasher.update(chunk));
            if hasher.finish() != self.digest {
                return Err(self.wrong(endpoint, "the bytes do not fit the digest"));
            }
            let incoming = Incoming {
                ready,
                body: None,
                skip: 0,
                total: Some(read),
                has_length,
            };
            return Ok(Fetched::Stream(Box::new(incoming)));
        }
        let body = if ended { None } else { Some(body) };
        Ok(Fetched::Stream(Box::new(Incoming {
            ready,
            body,
            skip: due.skip,
            total: due.total,
            has_length,
        })))
    }
}

fn broken(detail: String) -> Rejection {
    Rejection::Leave {
        scope: Scope::Address,
        outcome: Outcome::Hard(Failure::Reset),
        cause: Cause::Failed(Failure::Reset),
        detail,
    }
}

impl Wanted for BlobWanted {
    type Good = Fetched;

    fn ask(&self, leg: &Leg, source: &Source) -> Ask {
        // HEAD of a blob is answered 404 by Harbor for what it has not cached yet (harbor-facts 0.5).
        let head = self.head && source.kind == SourceKind::Upstream;
        head::ask(
            leg,
            ("/blobs/", self.digest.as_str()),
            if head { Method::HEAD } else { Method::GET },
            HeaderValue::from_static("*/*"),
            self.part().map(|range| range.header()),
            &self.request_id,
        )
    }

    async fn examine(
        &self,
        authority: Authority,
        endpoint: &EndpointId,
        answer: Answer,
    ) -> Result<Fetched, Rejection> {
        let seen = head::of(&answer, Instant::now());
        match judge(self.asked(), authority, self.policy, &seen) {
            Verdict::Use(due) if self.head => {
                due.total.map(Fetched::Size).ok_or(Rejection::Leave {
                    scope: Scope::Tier,
                    outcome: Outcome::Success,
                    cause: Cause::WrongLength,
                    detail: "no length was told".to_owned(),
                })
            }
            Verdict::Use(due) => self.begin(endpoint, answer, due).await,
            verdict => Err(head::rejection(verdict, answer).await),
        }
    }

    fn digest(&self) -> Option<&Digest> {
        Some(&self.digest)
    }
}
