//! The rule book (design P3, harbor-facts "Classification table"): what one answer of one source means for the
//! search. One pure function, one test per row; docs/failure-table.md is its prose.

mod cause;

pub(crate) use cause::Cause;

use crate::config::HarborPolicy;
use crate::oci::{ContentRange, RangeSpec};
use crate::topology::{Failure, Outcome};
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Authority {
    /// A tier: its "no" means less than it says.
    Tier,
    /// The direct upstream, or a tier for an image that only it can have: its "no" is final.
    Final,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// A manifest, by tag or by digest.
    Document,
    /// Tags or referrers.
    List,
    /// A blob, by its whole or from an offset.
    Blob {
        range: Option<RangeSpec>,
        /// The size that a manifest told.
        size: Option<u64>,
        /// It is the blob of zero bytes.
        empty: bool,
    },
}

/// An answer's head, as far as it decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: u16,
    /// It came from where a redirect led.
    pub(crate) elsewhere: bool,
    pub(crate) length: Option<u64>,
    /// `Content-Range`, if there is one that can be believed; `Some(None)`: there is one that cannot.
    pub(crate) content_range: Option<Option<ContentRange>>,
    /// `Content-Type: text/html`: infrastructure speaks, no registry (harbor-facts 1.3).
    pub(crate) html: bool,
    /// `Content-Type: application/json`: a registry speaks, and no content is what it sends with an error.
    pub(crate) json: bool,
    /// `Docker-Distribution-Api-Version`: a registry speaks, or what its people put before it, in whatever type.
    pub(crate) registry: bool,
    /// A Content-Encoding other than identity.
    pub(crate) encoded: bool,
    /// `Retry-After`, as a time from now.
    pub(crate) retry_after: Option<Duration>,
}

/// What an answer means that is no good. `outcome`: what it says about the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// Ask elsewhere.
    Leave {
        scope: Scope,
        outcome: Outcome,
        cause: Cause,
    },
    /// The search ends with this.
    End {
        answer: FinalAnswer,
        outcome: Outcome,
    },
}

/// How a good answer's body is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Use {
    /// Bytes to throw away first: the source ignored the range.
    pub(crate) skip: u64,
    /// Size of the whole, if anybody knows it.
    pub(crate) total: Option<u64>,
}

/// Who is not asked again for this request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    Address,
    /// This address; if another of its tier said the same, the tier.
    AddressOnceThenTier,
    Tier,
}

/// A final answer that is not a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FinalAnswer {
    /// 404: it does not exist.
    NotFound,
    /// The repository: 404 to containerd, which then asks upstream with the pod's own secret (P3).
    Denied,
    /// The same, of what was asked for alone: some registries and their stores say 403 of one image, or of what does not exist.
    Withheld,
    /// 404: the repository was denied a while ago, and now the registry says by a status of its own that it fails. It says so
    /// to containerd too, which shows that behind a 404 alone.
    Unconfirmed,
    /// 404 with the tier's reason: `harbor_policy = "final"`.
    Policy,
    /// 416: the range begins behind the end.
    RangeNotSatisfiable,
    /// 400 or 405: the registry does not take the request for a list as the client made it.
    NotTaken(u16),
    /// 503: it was there, and this node had no memory for it.
    NoMemory,
}

pub(crate) fn judge(
    asked: Asked,
    authority: Authority,
    policy: HarborPolicy,
    head: &Head,
) -> Result<Use, Unfit> {
    let is_final = authority == Authority::Final;
    match head.status {
        200 | 206 if head.html => leave(Scope::Tier, hard(Failure::Content), Cause::WrongContent),
        200 | 206 if head.encoded && !is_measured(asked, head) => {
            leave(Scope::Tier, Outcome::Success, Cause::Unusable)
        }
        200 => whole(asked, head),
        206 => partial(asked, head),
        // A filter, a login page, a proxy: nobody's word on an image, and as good as an outage.
        401 | 403 | 404 | 451 if head.html && !head.registry => {
            leave(Scope::AddressOnceThenTier, Outcome::Neutral, Cause::Html)
        }
        400 | 405 if asked == Asked::List && is_final && !head.html && !head.elsewhere => {
            end(FinalAnswer::NotTaken(head.status))
        }
        // The source itself is healthy, and has denied nothing.
        401 | 403 | 404 if head.elsewhere && !tells_of_the_source(asked, head) => {
            leave(who_shares(authority), Outcome::Success, Cause::Unusable)
        }
        // It says nothing for the endpoint either.
        401 if is_final => Err(Unfit::End {
            answer: FinalAnswer::Denied,
            outcome: Outcome::Neutral,
        }),
        401 => leave(Scope::Tier, Outcome::Denied, Cause::Denied),
        403 | 412 if authority == Authority::Tier && policy == HarborPolicy::Final => {
            end(FinalAnswer::Policy)
        }
        403 | 412 if is_final => end(FinalAnswer::Denied),
        403 | 412 => leave(Scope::Tier, Outcome::Success, Cause::Policy),
        404 if is_final => end(FinalAnswer::NotFound),
        404 => leave(Scope::Tier, Outcome::Success, Cause::NotFound),
        408 | 425 => leave(
            Scope::Address,
            Outcome::Soft(Failure::Timeout),
            Cause::Failed(Failure::Timeout),
        ),
        416 => range_refused(asked),
        429 => {
            let (scope, pause) = left_alone(authority, head.retry_after);
            // A Harbor's own word is of what stands behind it.
            let cause = match head.json && !is_final {
                true => Cause::UpstreamLimited,
                false => Cause::TooManyRequests,
            };
            leave(scope, pause, cause)
        }
        // A blob's 500, or another in JSON, is Harbor's word for "my upstream failed": of what it has, and of the address, it
        // says nothing (harbor-facts 13.8). Which blob that is the client chooses. Harbor's own storage fails in silence.
        500..=599 if head.elsewhere || is_of_upstream(asked, head, is_final) => {
            leave(who_shares(authority), Outcome::Neutral, Cause::ServerError)
        }
        500..=599 => leave(
            Scope::Address,
            hard(Failure::ServerError),
            Cause::ServerError,
        ),
        // Everything else, 3xx that nobody could follow and 304 that nobody asked for included.
        _ => leave(Scope::Tier, Outcome::Success, Cause::Unusable),
    }
}

/// Whether a 5xx is a registry's own answer to a request for a blob, and not that of what stands before it.
fn is_of_upstream(asked: Asked, head: &Head, is_final: bool) -> bool {
    let is_own = head.status == 500 && !is_final && !head.html && head.length != Some(0);
    matches!(asked, Asked::Blob { .. }) && (head.json || is_own)
}

/// A cool-down without a Retry-After.
const COOL_DOWN: Duration = Duration::from_secs(10);
const COOL_DOWN_MIN: Duration = Duration::from_secs(1);
const COOL_DOWN_MAX: Duration = Duration::from_secs(300);

/// What a 429 leads to, of a registry as of its token endpoint.
pub(crate) fn left_alone(authority: Authority, wait: Option<Duration>) -> (Scope, Outcome) {
    let pause = wait.unwrap_or(COOL_DOWN);
    let pause = pause.clamp(COOL_DOWN_MIN, COOL_DOWN_MAX);
    // An upstream's quota is the registry's, not the address's (P3).
    let scope = match authority {
        Authority::Tier => Scope::AddressOnceThenTier,
        Authority::Final => Scope::Tier,
    };
    (scope, Outcome::CoolDown(pause))
}

fn leave(scope: Scope, outcome: Outcome, cause: Cause) -> Result<Use, Unfit> {
    Err(Unfit::Leave {
        scope,
        outcome,
        cause,
    })
}

fn end(answer: FinalAnswer) -> Result<Use, Unfit> {
    Err(Unfit::End {
        answer,
        outcome: Outcome::Success,
    })
}

fn hard(failure: Failure) -> Outcome {
    Outcome::Hard(failure)
}

/// Whether the bytes behind a Content-Encoding are known to be as many as the content's, or are proved before they are used. Its
/// label may lie; where it does not, a blob's bytes are others.
fn is_measured(asked: Asked, head: &Head) -> bool {
    match asked {
        Asked::Document | Asked::List => true,
        Asked::Blob { range, size, .. } => {
            head.length.is_some() && (size.is_some() || (range.is_none() && head.status == 200))
        }
    }
}

/// Where a redirect leads, only the 404 of a document is the source's own word: registry.k8s.io keeps its manifests
/// behind one (harbor-facts 8). A CDN's 401 and 403 are about the signed URL.
fn tells_of_the_source(asked: Asked, head: &Head) -> bool {
    head.status == 404 && matches!(asked, Asked::Document | Asked::List)
}

/// Who has the same behind it: a tier's addresses share their storage; another address of upstream may sign another URL.
fn who_shares(authority: Authority) -> Scope {
    match authority {
        Authority::Tier => Scope::Tier,
        Authority::Final => Scope::Address,
    }
}

/// 200: the whole, wanted or not.
fn whole(asked: Asked, head: &Head) -> Result<Use, Unfit> {
    let Asked::Blob { range, size, empty } = asked else {
        return Ok(Use {
            skip: 0,
            total: head.length,
        });
    };
    if head.length == Some(0) && !empty {
        return leave(Scope::Tier, Outcome::Success, Cause::ColdCascade);
    }
    let wrong_length = leave(Scope::Tier, Outcome::Success, Cause::WrongLength);
    let total = size.or(head.length);
    if head.length.is_some() && head.length != total {
        return wrong_length;
    }
    let skip = match (range, total) {
        (None, _) => 0,
        (Some(range), Some(total)) => match range.within(total) {
            Some(due) => due.first,
            None => return end(FinalAnswer::RangeNotSatisfiable),
        },
        // Without a total there is no Content-Range to answer with, and a 200 would flip what containerd 2.1 has
        // already seen as 206.
        (Some(_), None) => return wrong_length,
    };
    Ok(Use { skip, total })
}

/// 206: only the right part of the right whole.
fn partial(asked: Asked, head: &Head) -> Result<Use, Unfit> {
    let wrong = leave(Scope::Address, hard(Failure::Content), Cause::WrongRange);
    let (
        Asked::Blob {
            range: Some(range),
            size,
            ..
        },
        Some(Some(sent)),
    ) = (asked, head.content_range)
    else {
        return wrong;
    };
    let wrong_length = leave(Scope::Tier, Outcome::Success, Cause::WrongLength);
    let total = sent.total.or(size);
    let Some(total) = total.filter(|total| size.is_none_or(|size| size == *total)) else {
        return wrong_length;
    };
    let is_sound =
        range.may_begin_at(sent.first) && head.length.is_none_or(|length| length == sent.length());
    let fits = |due: ContentRange| due.first == sent.first && due.last == sent.last;
    match range.within(total).is_some_and(fits) {
        true if is_sound => Ok(Use {
            skip: 0,
            total: Some(total),
        }),
        // Where it ends is a manifest's word against the source's.
        false if is_sound && sent.total.is_none() => wrong_length,
        _ => wrong,
    }
}

/// 416: true only if the size says so too.
fn range_refused(asked: Asked) -> Result<Use, Unfit> {
    match asked {
        Asked::Blob {
            range: Some(range),
            size: Some(size),
            ..
        } if range.within(size).is_none() => end(FinalAnswer::RangeNotSatisfiable),
        _ => leave(Scope::Tier, Outcome::Success, Cause::Unusable),
    }
}

#[cfg(test)]
mod tests;
