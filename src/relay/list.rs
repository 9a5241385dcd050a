//! Lists of tags and referrers: the direct upstream's word, its link led back through us (design P3).

use super::answer::{Answered, ResponseBody, SERVED_BY, head_of, header_value, served_by};
use super::engine::{PullRequest, RelayParts, Rules, not_found};
use super::head;
use super::manifest::timing;
use super::memory::Image;
use super::record::RequestRecord;
use super::rules::{Asked, Authority, Cause, Scope, Verdict, judge};
use super::search::{NotFound, Rejection, Search, Wanted};
use crate::cache::Trust;
use crate::config::HarborPolicy;
use crate::exchange::{Answer, Ask};
use crate::http1::Fields;
use crate::oci::{ErrorCode, ResourceKind};
use crate::route::{Leg, Route};
use crate::topology::{EndpointId, Outcome, Source};
use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue, LINK};
use hyper::{Method, StatusCode};
use std::sync::Arc;
use tokio::time::Instant;

/// The filters that a registry applied to referrers (OCI distribution spec, "Listing Referrers").
const FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");

/// A list of tags or referrers.
struct ListWanted {
    suffix: String,
    accept: HeaderValue,
    head: bool,
    trust: Trust,
    policy: HarborPolicy,
    request_id: Arc<str>,
    limit: u64,
}

struct List {
    body: Bytes,
    fields: Fields,
}

// === impl ListWanted ===

impl Wanted for ListWanted {
    type Good = List;

    fn ask(&self, leg: &Leg, _: &Source) -> Ask {
        let method = if self.head { Method::HEAD } else { Method::GET };
        head::ask(
            leg,
            ("", &self.suffix),
            method,
            self.accept.clone(),
            None,
            &self.request_id,
        )
    }

    async fn examine(
        &self,
        authority: Authority,
        _: &EndpointId,
        answer: Answer,
    ) -> Result<List, Rejection> {
        let seen = head::of(&answer, Instant::now());
        let verdict = judge(Asked::Document, authority, self.policy, &seen);
        let Verdict::Use(_) = verdict else {
            return Err(head::rejection(verdict, answer).await);
        };
        let fields = answer.fields;
        let body = answer
            .body
            .read_to(self.limit)
            .await
            .map_err(|error| Rejection::Leave {
                scope: Scope::Address,
                outcome: Outcome::Hard(error.failure),
                cause: Cause::Failed(error.failure),
                detail: error.detail,
            })?;
        Ok(List { body, fields })
    }

    fn content(&self) -> Option<&Image> {
        None
    }

    fn trust(&self) -> Trust {
        self.trust
    }
}

/// Answers a request for tags or referrers: the direct upstream's word, with its link led back through us.
pub(crate) async fn answer(
    parts: &Arc<RelayParts>,
    rules: &Rules,
    route: Arc<Route>,
    request: &PullRequest,
    mut record: RequestRecord,
) -> Answered {
    let what = format!(
        "{} of {}/{}",
        request.kind.word(),
        route.registry_label,
        route.repository
    );
    let query = request
        .query
        .as_ref()
        .map_or_else(String::new, |query| format!("?{query}"));
    let wanted = ListWanted {
        suffix: format!("{}{query}", request.kind.suffix()),
        accept: request
            .accept
            .clone()
            .unwrap_or(HeaderValue::from_static("application/json")),
        head: request.head,
        trust: request.trust,
        policy: rules.config.failover.harbor_policy,
        request_id: record.request_id(),
        limit: parts.limits.manifest_bytes,
    };
    let search = Search::new(
        parts.clone(),
        route.clone(),
        Arc::new(wanted),
        timing(&parts.timeouts),
    );
    let mut ended = search.run().await;
    record.searched(
        ended.attempts,
        ended.generation,
        super::causes::story(&ended.tried),
    );
    let found = match std::mem::replace(&mut ended.result, Err(NotFound::Failed)) {
        Ok(found) => found,
        Err(nothing) => {
            let unknown = match request.kind {
                ResourceKind::Referrers(_) => ErrorCode::ManifestUnknown,
                _ => ErrorCode::NameUnknown,
            };
            return not_found(&what, unknown, &ended, &nothing, request.head, record);
        }
    };
    record.served_by(&found.endpoint);
    let outcome = head::outcome(&route, &found.endpoint, found.first_choice);
    record.answers(200, outcome, Instant::now());
    let List { body, fields } = found.good;
    let mut head = head_of(StatusCode::OK, &record).with(SERVED_BY, served_by(&found.endpoint));
    for name in [CONTENT_TYPE, FILTERS_APPLIED] {
        let value = fields.get(&name).map(HeaderValue::from_bytes);
        if let Some(Ok(value)) = value {
            head.set(name, value);
        }
    }
    let link = fields.text(&LINK);
    let link = link.and_then(|link| next_page(link, request));
    if let Some(link) = link {
        head.set(LINK, header_value(&link));
    }
    let body = if request.head {
        ResponseBody::empty(record)
    } else {
        ResponseBody::recorded(body, record)
    };
    head.and(body)
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
