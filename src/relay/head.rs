//! The heads of requests to sources and of their answers: built and read in one place for all kinds.

use super::rules::{Asked, Authority, Cause, FinalAnswer, Head, Unfit, judge};
use crate::cache::Trust;
use crate::config::HarborPolicy;
use crate::exchange::{SourceRequest, SourceResponse};
use crate::http1::retry_after;
use crate::oci::{StatedError, stated_error};
use crate::printable::blanked;
use crate::relay::outcome::Rejection;
use crate::route::Target;
use crate::telemetry::RequestId;
use http::header::{
    CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER,
};
use http::{Method, StatusCode};
use std::time::{Duration, SystemTime};
use tokio::time::timeout;

/// A denial's body is read this far, for its reason.
const REASON_BYTES: u64 = 16 * 1024;

/// For the words of a tier's 404, which mostly come with its head: a Harbor that takes its upstream to be down says another thing
/// than one that has asked it (harbor-facts 13.9), and says so without asking.
pub(crate) const WORDS: Duration = Duration::from_millis(100);

/// The request for a resource at one target's source: `/manifests/1.27`.
pub(crate) fn request(
    target: &Target,
    resource: &str,
    method: Method,
    accept: HeaderValue,
    request_id: &RequestId,
    trust: Trust,
) -> SourceRequest {
    let query = target.query.as_deref().unwrap_or_default();
    let mark = match resource.contains('?') {
        _ if query.is_empty() => "",
        true => "&",
        false => "?",
    };
    SourceRequest {
        method,
        target: ["/v2/", &target.path, resource, mark, query].concat(),
        scope_repository: target.path.clone(),
        token_scope: target.token_scope.clone(),
        with_credential: target.with_credential,
        accept,
        range: None,
        request_id: request_id.clone(),
        span: None,
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
pub(crate) fn read<B>(answer: &SourceResponse<B>) -> Head {
    let text = |name| answer.fields.text(&name);
    let is_of_type = |due: &[u8]| {
        let kind = text(CONTENT_TYPE).map(|value| value.trim_start().as_bytes());
        let kind = kind.and_then(|kind| kind.get(..due.len()));
        kind.is_some_and(|kind| kind.eq_ignore_ascii_case(due))
    };
    Head {
        status: answer.status.as_u16(),
        elsewhere: answer.elsewhere,
        length: answer.fields.content_length(),
        content_range: answer
            .fields
            .contains(&CONTENT_RANGE)
            .then(|| text(CONTENT_RANGE).and_then(|value| value.parse().ok())),
        html: is_of_type(HTML),
        json: is_of_type(JSON),
        registry: answer.fields.contains(&API_VERSION),
        encoded: text(CONTENT_ENCODING)
            .is_some_and(|value| !value.trim().eq_ignore_ascii_case("identity")),
        retry_after: text(RETRY_AFTER).and_then(|value| retry_after(value, SystemTime::now())),
    }
}

/// What an answer that is not 200 says of a manifest, as far as it is a "no"; for `explain`, which asks one by one.
pub(crate) fn no_of<B>(
    answer: &SourceResponse<B>,
    is_final: bool,
    policy: HarborPolicy,
) -> Option<FinalAnswer> {
    let authority = match is_final {
        true => Authority::Final,
        false => Authority::Tier,
    };
    match judge(Asked::Document, authority, policy, &read(answer)) {
        Err(Unfit::End { answer, .. }) => Some(answer),
        Err(Unfit::Leave { cause, .. }) => {
            (cause == Cause::NotFound).then_some(FinalAnswer::NotFound)
        }
        Ok(_) => None,
    }
}

/// An answer that is no good, with the words for people; reads a denial's reason. `words`: so long those of a 404 are waited for.
pub(crate) async fn rejection(
    mut means: Unfit,
    answer: SourceResponse,
    words: Duration,
) -> Rejection {
    let status = answer.status;
    let mut detail = answer
        .denied
        .unwrap_or_else(|| format!("status {}", status.as_u16()));
    let read = answer.body.read_to(REASON_BYTES);
    let body = match means {
        Unfit::End { .. }
        | Unfit::Leave {
            cause: Cause::Policy,
            ..
        } => Some(read.await),
        Unfit::Leave {
            cause: Cause::NotFound,
            ..
        } => timeout(words, read).await.ok(),
        Unfit::Leave { .. } => None,
    };
    let told = body.and_then(|body| first_error(&body.ok()?));
    let code = told.as_ref().map(|told| told.code.as_str());
    if let Some(reason) = told.as_ref().map(|told| &told.message)
        && !reason.is_empty()
    {
        detail = format!("{detail}, {reason}");
    }
    if let Unfit::End { answer, .. } = &mut means
        && *answer == FinalAnswer::Denied
        && status != StatusCode::UNAUTHORIZED
        && !matches!(code, Some("DENIED" | "UNAUTHORIZED"))
    {
        *answer = FinalAnswer::Withheld;
    }
    Rejection { means, detail }
}

/// The first error of an OCI error document, its message printable and at most 120 characters long.
fn first_error(body: &[u8]) -> Option<StatedError> {
    let StatedError { code, message } = stated_error(body)?;
    let message = blanked(&message).take(120).collect();
    Some(StatedError { code, message })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_printable_line() {
        let body = br#"{"errors":[{"code":"DENIED","message":"bad\r\nimage"}]}"#;
        let said = |body| first_error(body).map(|told| (told.code, told.message));
        let due = ("DENIED".to_owned(), "bad  image".to_owned());
        assert_eq!(said(body), Some(due));
        assert_eq!(said(b"<html>"), None);
        assert_eq!(said(br#"{"errors":[{}]}"#), Some(<_>::default()));
    }
}
