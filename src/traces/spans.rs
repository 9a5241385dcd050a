//! Spans of a request that is over, with the attributes of OpenTelemetry's conventions for HTTP. Pure.

use crate::telemetry::{
    AccessRecord, CANCELLED, Finished, RequestOutcome, Step, Trace, TraceParent, What,
};
use http::Method;
use opentelemetry::trace::{
    Event, Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use std::borrow::Cow;
use std::time::{Duration, SystemTime};

/// The request's own span, and those of its parts.
pub(super) fn make(finished: Finished) -> Vec<SpanData> {
    let Finished {
        trace,
        record,
        steps,
        ..
    } = finished;
    let template = record.as_deref().map(template).unwrap_or_default();
    let mut attempts = 0_i64;
    let parts = steps.into_iter().map(|step| {
        let before = attempts;
        if matches!(step.what, What::Attempt { .. }) {
            attempts = attempts.saturating_add(1);
        }
        part(&trace, step, template, before)
    });
    let mut spans: Vec<SpanData> = parts.collect();
    spans.extend(record.map(|record| request(&trace, &record)));
    spans
}

/// What kind of path is asked for, where that is known.
fn template(record: &AccessRecord) -> &'static str {
    match record.kind {
        "manifest" => "/v2/{name}/manifests/{reference}",
        "blob" => "/v2/{name}/blobs/{digest}",
        "tags" => "/v2/{name}/tags/list",
        "referrers" => "/v2/{name}/referrers/{digest}",
        _ => "",
    }
}

fn request(trace: &Trace, record: &AccessRecord) -> SpanData {
    let route = template(record);
    let mut attributes = vec![
        KeyValue::new("http.request.method", record.method),
        KeyValue::new("url.scheme", "http"),
        KeyValue::new("http.response.status_code", i64::from(record.status)),
        KeyValue::new("http.response.body.size", whole(record.bytes)),
        KeyValue::new("harbor_pilot.request_id", record.request_id.to_string()),
        KeyValue::new("harbor_pilot.outcome", record.outcome.word()),
        KeyValue::new("harbor_pilot.attempts", i64::from(record.attempts)),
        KeyValue::new("harbor_pilot.resumes", i64::from(record.resumes)),
    ];
    let registry = record.registry.as_ref().map(|registry| registry.as_str());
    let texts = [
        ("http.route", route),
        ("harbor_pilot.registry", registry.unwrap_or_default()),
        ("harbor_pilot.repository", &record.repository),
        ("harbor_pilot.reference", &record.reference),
        ("harbor_pilot.tier", &record.tier),
        ("harbor_pilot.endpoint", &record.endpoint),
    ];
    let texts = texts.into_iter().filter(|(_, text)| !text.is_empty());
    attributes.extend(texts.map(|(key, text)| KeyValue::new(key, text.to_owned())));
    let has_failed = record.outcome == RequestOutcome::Failed || record.status >= 500;
    if has_failed {
        attributes.push(KeyValue::new("error.type", record.outcome.word()));
    }
    let mut events = SpanEvents::default();
    if let Some(took) = record.time_to_first_byte {
        let at = after(trace.began(), took);
        events
            .events
            .push(Event::new("first byte", at, Vec::new(), 0));
    }
    // Several who want the same share one search: its attempts are in the trace of the first of them.
    let other = record
        .asked_by
        .filter(|other| other.span_id != trace.own.span_id);
    let mut links = SpanLinks::default();
    links
        .links
        .extend(other.map(|other| Link::new(context(other, TraceState::NONE), Vec::new(), 0)));
    SpanData {
        span_kind: SpanKind::Server,
        name: [record.method, route]
            .join(" ")
            .trim_end()
            .to_owned()
            .into(),
        start_time: trace.began(),
        end_time: after(trace.began(), record.duration),
        parent_span_id: SpanId::from(trace.parent.unwrap_or_default()),
        parent_span_is_remote: trace.parent.is_some(),
        attributes,
        events,
        links,
        status: status(has_failed.then(|| record.outcome.word())),
        ..blank(trace, trace.own.span_id, state(trace))
    }
}

fn part(trace: &Trace, step: Step, template: &'static str, before: i64) -> SpanData {
    let end = step.end;
    let method = end.method.as_ref().map(Method::as_str);
    let (span_kind, name, mut attributes): (_, Cow<'static, str>, _) = match step.what {
        What::Attempt { source, address } => {
            let host = address.ip().to_string();
            let mut attributes = vec![
                KeyValue::new("server.address", host.clone()),
                KeyValue::new("server.port", i64::from(address.port())),
                KeyValue::new("network.peer.address", host),
                KeyValue::new("network.peer.port", i64::from(address.port())),
                KeyValue::new("peer.service", source.to_string()),
            ];
            if before > 0 {
                attributes.push(KeyValue::new("http.request.resend_count", before));
            }
            let name = method.map(|method| [method, template].join(" ").trim_end().to_owned());
            let name = name.map_or(Cow::Borrowed("connect"), Cow::Owned);
            (SpanKind::Client, name, attributes)
        }
        What::Token => (SpanKind::Internal, "token exchange".into(), Vec::new()),
        What::Dns { source } => {
            let attributes = vec![KeyValue::new("peer.service", source.to_string())];
            (SpanKind::Internal, "DNS".into(), attributes)
        }
        What::Resume { offset } => {
            let attributes = vec![KeyValue::new("harbor_pilot.offset", whole(offset))];
            (SpanKind::Internal, "resume".into(), attributes)
        }
    };
    let method = method.map(|method| KeyValue::new("http.request.method", method.to_owned()));
    attributes.extend(method);
    let code = end
        .status
        .map(|status| KeyValue::new("http.response.status_code", i64::from(status)));
    attributes.extend(code);
    let error = end.error.map(|word| KeyValue::new("error.type", word));
    attributes.extend(error);
    let failed = end.error.filter(|word| *word != CANCELLED);
    SpanData {
        span_kind,
        name,
        start_time: step.began,
        end_time: after(step.began, step.took),
        parent_span_id: SpanId::from(step.parent),
        attributes,
        status: status(failed),
        ..blank(trace, step.id, TraceState::NONE)
    }
}

/// A span of which nothing else is known.
fn blank(trace: &Trace, span_id: u64, state: TraceState) -> SpanData {
    let own = TraceParent {
        span_id,
        ..trace.own
    };
    SpanData {
        span_context: context(own, state),
        parent_span_id: SpanId::INVALID,
        parent_span_is_remote: false,
        span_kind: SpanKind::Internal,
        name: Cow::Borrowed(""),
        start_time: trace.began(),
        end_time: trace.began(),
        attributes: Vec::new(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: Status::Unset,
        instrumentation_scope: InstrumentationScope::builder("harbor-pilot").build(),
    }
}

/// The client's, on the request's own span alone: its copies on the parts would say nothing more.
fn state(trace: &Trace) -> TraceState {
    let state = trace.state.as_deref().map(str::parse::<TraceState>);
    state.and_then(Result::ok).unwrap_or_default()
}

fn context(own: TraceParent, state: TraceState) -> SpanContext {
    SpanContext::new(
        TraceId::from(own.trace_id),
        SpanId::from(own.span_id),
        TraceFlags::SAMPLED,
        false,
        state,
    )
}

/// The word alone: what a source said may have URLs in it.
fn status(error: Option<&'static str>) -> Status {
    error.map_or(Status::Unset, Status::error)
}

fn after(began: SystemTime, took: Duration) -> SystemTime {
    began.checked_add(took).unwrap_or(began)
}

fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
