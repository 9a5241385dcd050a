//! The heads of requests to sources and of their answers: built and read in one place for all kinds.

use super::rules::{Cause, FinalAnswer, Head, Scope, Verdict};
use crate::cache::Trust;
use crate::exchange::{SourceRequest, SourceResponse};
use crate::http1::retry_after;
use crate::printable::blanked;
use crate::relay::outcome::Rejection;
use crate::route::{Route, Target};
use crate::telemetry::RequestOutcome;
use crate::topology::{EndpointId, Outcome};
use http::header::{
    CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER,
};
use http::{Method, StatusCode};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::time::timeout;

/// A denial's body is read this far, for its reason.
const REASON_BYTES: u64 = 16 * 1024;

/// For the words of a tier's 404, which mostly come with its head: a Harbor that takes its upstream to be down says another thing
/// than one that has asked it (harbor-facts 13.9), and says so without asking.
pub(crate) const WORDS: Duration = Duration::from_millis(100);

/// The request for a resource at one target's source: `("/manifests/", "1.27")`.
pub(crate) fn request(
    target: &Target,
    (kind, of): (&str, &str),
    method: Method,
    accept: HeaderValue,
    range: Option<String>,
    (request_id, trust): (&Arc<str>, Trust),
) -> SourceRequest {
    let query = target.query.as_deref().unwrap_or_default();
    let parts = ["/v2/?", &target.path, kind, of, query];
    let length = parts.iter().map(|part| part.len()).sum();
    let mut path_and_query = String::with_capacity(length);
    for part in ["/v2/", &target.path, kind, of] {
        path_and_query.push_str(part);
    }
    if !query.is_empty() {
        path_and_query.push(if path_and_query.contains('?') {
            '&'
        } else {
            '?'
        });
        path_and_query.push_str(query);
    }
    SourceRequest {
        method,
        target: path_and_query,
        scope_repository: target.path.clone(),
        token_scope: target.token_scope.clone(),
        with_credential: target.with_credential,
        accept,
        range,
        request_id: request_id.clone(),
        trust,
    }
}

/// The type of what a login page or a proxy's error page is.
const HTML: &[u8] = b"text/html";

/// What a registry says of itself (distribution spec, "API Version Check").
const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");

/// The type of a registry's error document.
const JSON: &[u8] = b"application/json";

/// What of an answer's head decides.
pub(crate) fn of<B>(answer: &SourceResponse<B>) -> Head {
    let text = |name| answer.fields.text(&name);
    let is_of = |due: &'static [u8]| {
        move |value: &str| {
            let kind = value.trim_start().as_bytes().get(..due.len());
            kind.is_some_and(|kind| kind.eq_ignore_ascii_case(due))
        }
    };
    Head {
        status: answer.status.as_u16(),
        elsewhere: answer.elsewhere,
        length: answer.fields.content_length(),
        content_range: answer
            .fields
            .contains(&CONTENT_RANGE)
            .then(|| text(CONTENT_RANGE).and_then(|value| value.parse().ok())),
        html: text(CONTENT_TYPE).is_some_and(is_of(HTML)),
        json: text(CONTENT_TYPE).is_some_and(is_of(JSON)),
        registry: answer.fields.contains(&API_VERSION),
        encoded: text(CONTENT_ENCODING)
            .is_some_and(|value| !value.trim().eq_ignore_ascii_case("identity")),
        retry_after: text(RETRY_AFTER).and_then(|value| retry_after(value, SystemTime::now())),
    }
}

/// Turns a verdict that is no use into a rejection with the words for people; reads a denial's reason.
pub(crate) async fn rejection(verdict: Verdict, answer: SourceResponse) -> Rejection {
    let status = answer.status;
    let wants_reason = matches!(
        verdict,
        Verdict::End(_)
            | Verdict::Leave {
                cause: Cause::Policy,
                ..
            }
    );
    let mut detail = answer
        .denied
        .unwrap_or_else(|| format!("status {}", status.as_u16()));
    let is_not_found = matches!(
        verdict,
        Verdict::Leave {
            cause: Cause::NotFound,
            ..
        }
    );
    let words = answer.body.read_to(REASON_BYTES);
    let body = if wants_reason {
        words.await.ok()
    } else if is_not_found {
        timeout(WORDS, words).await.ok().and_then(Result::ok)
    } else {
        None
    };
    let told = body.and_then(|body| first_error(&body));
    let code = told.as_ref().and_then(|(code, _)| code.as_deref());
    let is_of_repository =
        status == StatusCode::UNAUTHORIZED || matches!(code, Some("DENIED" | "UNAUTHORIZED"));
    if let Some((_, Some(reason))) = &told {
        detail = format!("{detail}, {reason}");
    }
    // As of a tier (see `judge`): a 401 says nothing for an endpoint either.
    let of_no = match status {
        StatusCode::UNAUTHORIZED => Outcome::Neutral,
        _ => Outcome::Success,
    };
    match verdict {
        Verdict::Leave {
            scope,
            outcome,
            cause,
        } => Rejection::leave(scope, outcome, cause, detail),
        Verdict::End(FinalAnswer::Denied) if !is_of_repository => Rejection::End {
            answer: FinalAnswer::Withheld,
            outcome: of_no,
            detail,
        },
        Verdict::End(answer) => Rejection::End {
            answer,
            outcome: of_no,
            detail,
        },
        Verdict::Use(_) => Rejection::leave(Scope::Tier, Outcome::Success, Cause::Unusable, detail),
    }
}

/// The first error's code and message of an OCI error document, printable and at most 120 characters each.
fn first_error(body: &[u8]) -> Option<(Option<String>, Option<String>)> {
    let json: serde_json::Value = serde_json::from_slice(body).ok()?;
    let first = json.get("errors")?.get(0)?;
    let text = |name| {
        let text = first.get(name)?.as_str()?;
        Some(blanked(text).take(120).collect())
    };
    Some((text("code"), text("message")))
}

/// How a served request is called (docs/observability.md, OUTCOME): `failover` where a later source or a later try of the first
/// one served.
pub(crate) fn outcome(route: &Route, endpoint: &EndpointId, first_choice: bool) -> RequestOutcome {
    let of_first_target = route
        .targets
        .first()
        .is_some_and(|target| target.source == endpoint.source);
    match (of_first_target && first_choice, &endpoint.source) {
        (true, crate::topology::SourceId::Upstream(_)) => RequestOutcome::Direct,
        (true, crate::topology::SourceId::Tier(_)) => RequestOutcome::Served,
        (false, _) => RequestOutcome::Failover,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_printable_line() {
        let body = br#"{"errors":[{"code":"DENIED","message":"bad\r\nimage"}]}"#;
        let due = (Some("DENIED".to_owned()), Some("bad  image".to_owned()));
        assert_eq!(first_error(body), Some(due));
        assert_eq!(first_error(b"<html>"), None);
        assert_eq!(first_error(br#"{"errors":[{}]}"#), Some((None, None)));
    }
}
