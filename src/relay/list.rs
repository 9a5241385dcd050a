//! Lists of tags and referrers: the direct upstream's word, its link led back through us (design P3).

use super::coding::read_whole;
use super::head;
use super::record::RequestRecord;
use super::reputation::Subject;
use super::rules::{Asked, Authority, Cause, Scope, judge};
use super::search::{FetchSpec, Search};
use super::timing::Timing;
use crate::budget::Kind;
use crate::exchange::{SourceRequest, SourceResponse};
use crate::http1::Fields;
use crate::relay::context::Pull;
use crate::relay::outcome::{Ended, Found, Rejection};
use crate::relay::refusal::Unserved;
use crate::relay::request::PullRequest;
use crate::relay::response::{Answered, Full, head_of, header_value, served_by};
use crate::route::{Route, Target};
use crate::topology::{EndpointId, Outcome, Source};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, LINK};
use http::{Method, StatusCode};
use serde::de::IgnoredAny;
use std::sync::Arc;
use tokio::time::Instant;

/// The filters that a registry applied to referrers (OCI distribution spec, "Listing Referrers").
const FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");

/// The types of lists, in words of our own as for manifests: of referrers (OCI distribution spec, "Listing Referrers") and tags.
const ACCEPT: HeaderValue =
    HeaderValue::from_static("application/vnd.oci.image.index.v1+json, application/json");

/// A list of tags or referrers.
struct ListSpec {
    suffix: String,
    head: bool,
    pull: Pull,
}

struct List {
    body: Bytes,
    fields: Fields,
}

// === impl ListSpec ===

impl ListSpec {
    async fn search(self) -> Ended<Found<List>> {
        let (parts, route) = (self.pull.parts.clone(), self.pull.route.clone());
        let (timing, id) = (
            Timing::for_document(&parts.timeouts),
            self.pull.request_id.clone(),
        );
        let search = Search::new(&parts.network, &parts, route, Arc::new(self), timing, &id);
        search.run().await
    }
}

impl FetchSpec for ListSpec {
    type Good = List;

    fn request(&self, target: &Target, _: &Source) -> SourceRequest {
        let method = if self.head { Method::HEAD } else { Method::GET };
        let id = &self.pull.request_id;
        head::request(target, &self.suffix, method, ACCEPT, id, self.pull.trust)
    }

    async fn examine(
        &self,
        authority: Authority,
        _: &EndpointId,
        answer: SourceResponse,
    ) -> Result<List, Rejection> {
        let (seen, parts) = (head::read(&answer), &self.pull.parts);
        let policy = self.pull.rules.config.failover.harbor_policy;
        if let Err(unfit) = judge(Asked::List, authority, policy, &seen) {
            return Err(head::rejection(unfit, answer, head::WORDS).await);
        }
        let useless =
            |why: &str| Rejection::leave(Scope::Tier, Outcome::Neutral, Cause::WrongContent, why);
        let (limit, budget) = (parts.limits.manifest_bytes, &parts.budget);
        let memory = (limit, budget, Kind::Lists);
        let body = read_whole(answer.body, memory, seen.encoded, useless).await?;
        let fields = answer.fields;
        // No digest proves it, but that it is whole shows.
        if !self.head && serde_json::from_slice::<IgnoredAny>(&body).is_err() {
            return Err(useless("the list is no JSON, or not all of it"));
        }
        Ok(List { body, fields })
    }

    fn subject(&self, route: &Route) -> Subject {
        Subject::new(route, None, self.pull.trust)
    }
}

/// Whether there is a list of tags: its first one is asked for.
pub(crate) async fn look(pull: Pull) -> Ended<()> {
    let spec = ListSpec {
        suffix: "/tags/list?n=1".to_owned(),
        head: false,
        pull,
    };
    let Ended { result, log } = spec.search().await;
    let result = result.map(|_| ());
    Ended { result, log }
}

/// Answers a request for tags or referrers that the registry serves: the direct upstream's word, with its link led back through us.
pub(crate) async fn serve(
    pull: Pull,
    request: &PullRequest,
    mut record: RequestRecord,
) -> Result<Answered, Box<Unserved>> {
    let route = pull.route.clone();
    let query = request.query.as_ref().map(|query| format!("?{query}"));
    let spec = ListSpec {
        suffix: request.kind.suffix() + &query.unwrap_or_default(),
        head: request.head,
        pull,
    };
    let Ended { result, log } = spec.search().await;
    record.searched(&log);
    let found = match result {
        Ok(found) => found,
        Err(nothing) => {
            return Err(Box::new(Unserved {
                nothing,
                log,
                route,
                record,
            }));
        }
    };
    record.served_by(&found.endpoint);
    record.answers(200, found.outcome, Instant::now());
    let List { body, fields } = found.good;
    let (name, value) = served_by(&found.endpoint);
    let mut head = head_of(StatusCode::OK, &record).with(name, value);
    for name in [CONTENT_TYPE, FILTERS_APPLIED] {
        let value = fields.get(&name).map(HeaderValue::from_bytes);
        if let Some(Ok(value)) = value {
            head.set(name, value);
        }
    }
    if let Some(link) = fields.text(&LINK)
        && let Some(link) = next_page(link, request)
    {
        head.set(LINK, header_value(&link));
    }
    Ok(head.and(Full::to(request.head, body, record)))
}

/// The next page under the name that the client used: a source's link holds the source's path.
fn next_page(link: &str, request: &PullRequest) -> Option<String> {
    let target = link.trim().strip_prefix('<')?.split_once('>')?.0;
    let query = target.split_once('?')?.1;
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '<' | '>' | '"');
    if !query.chars().all(plain) {
        return None;
    }
    let ns = request
        .ns
        .as_ref()
        .map_or_else(String::new, |ns| format!("&ns={}", ns.replace(':', "%3A")));
    let name = request.name.as_str();
    Some(format!(
        "</v2/{name}{}?{query}{ns}>; rel=\"next\"",
        request.kind.suffix()
    ))
}
