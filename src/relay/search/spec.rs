//! What a search is for: the request to each source, and which answers are good.

use crate::exchange::{SourceRequest, SourceResponse};
use crate::relay::outcome::Rejection;
use crate::relay::reputation::Subject;
use crate::relay::rules::Authority;
use crate::route::{Route, Target};
use crate::topology::{EndpointId, Source};
use crate::upstream::Body;
use http::Method;
use std::future::Future;
use std::time::Duration;

/// Why an address is asked by GET after its answer to HEAD.
pub(crate) enum Again {
    /// The answer tells too little.
    Instead,
    /// It leaves out in words why there is nothing. So long those are waited for.
    ForWords(Duration),
}

pub(crate) trait FetchSpec<B = Body>: Send + Sync + 'static {
    /// What a good answer is turned into.
    type Good: Send + 'static;

    fn request(&self, target: &Target, source: &Source) -> SourceRequest;

    /// The same by GET, where the answer to HEAD was too little.
    fn by_get(&self, request: SourceRequest) -> SourceRequest {
        SourceRequest {
            method: Method::GET,
            ..request
        }
    }

    /// Looks at an answer, and into its body as far as that is needed before the status line.
    fn examine(
        &self,
        authority: Authority,
        endpoint: &EndpointId,
        answer: SourceResponse<B>,
    ) -> impl Future<Output = Result<Self::Good, Rejection>> + Send;

    /// What is wanted, and by whom.
    fn subject(&self, route: &Route) -> Subject;

    /// Whether a slow tier may be asked beside another (design P6: manifests, never blobs).
    fn is_hedged(&self) -> bool {
        false
    }

    /// Whether the same address is asked by GET after that answer to HEAD.
    fn again(&self, _: &EndpointId, _answer_to_head: &SourceResponse<B>) -> Option<Again> {
        None
    }

    /// Who is asked before everybody else, while it is healthy.
    fn first(&self) -> Option<&EndpointId> {
        None
    }
}
