//! From a request to its answer.

use super::names::Names;
use super::page;
use super::status::{SourceStatus, State, Status};
use super::{Surface, Verdict, View};
use crate::lifecycle;
use crate::metrics::{Format, Scrape, TierGauge};
use crate::printable::{json, printable};
use crate::topology::SourceId;
use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body_util::Full;
use std::net::IpAddr;
use tokio::time::Instant;

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Page {
    Home,
    Live,
    Metrics,
    Ready,
    Status,
}

/// Answers a request; reads no body.
pub(super) fn answer<B>(
    surface: Surface,
    request: &Request<B>,
    view: &View,
) -> Response<Full<Bytes>> {
    let found = admit(surface, request.headers(), request.uri())
        .and_then(|()| route(surface, request.method(), request.uri().path()));
    match found {
        Ok(page) => {
            let names = Names::of(request, view.token.borrow().as_ref());
            show(page, request.headers(), names, view)
        }
        Err(status) => refuse(status),
    }
}

/// Whether the answer tells of the node's files.
pub(super) fn shows_the_node<B>(surface: Surface, request: &Request<B>) -> bool {
    let page = route(surface, request.method(), request.uri().path());
    matches!(page, Ok(Page::Home | Page::Status))
}

/// Only somebody who called us by a loopback name may see the node's state: a page of elsewhere whose DNS name
/// was pointed at 127.0.0.1 sends its own name.
fn admit(surface: Surface, headers: &HeaderMap, uri: &Uri) -> Result<(), StatusCode> {
    if surface == Surface::MetricsOnly {
        return Ok(());
    }
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return Err(StatusCode::FORBIDDEN);
    };
    let host = host.to_str().unwrap_or_default();
    let authority = uri.authority().map(|authority| authority.as_str());
    if is_loopback(host) && authority.is_none_or(is_loopback) {
        Ok(())
    } else {
        Err(StatusCode::FORBIDDEN)
    }
}

/// `localhost`, an address of 127.0.0.0/8 or `[::1]`, with or without a port.
fn is_loopback(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => {
            let Some((name, port)) = rest.split_once(']') else {
                return false;
            };
            (
                name,
                port.strip_prefix(':').or(port.is_empty().then_some("0")),
            )
        }
        None => match host.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (host, Some("0")),
        },
    };
    let bracketed = host.starts_with('[');
    let named = match name.parse::<IpAddr>() {
        Ok(address) => address.is_loopback() && address.is_ipv6() == bracketed,
        Err(_) => !bracketed && name.eq_ignore_ascii_case("localhost"),
    };
    named && port.is_some_and(|port| port.parse::<u16>().is_ok())
}

fn route(surface: Surface, method: &Method, path: &str) -> Result<Page, StatusCode> {
    let page = match (surface, path) {
        (_, "/metrics") => Page::Metrics,
        (Surface::Admin, "/") => Page::Home,
        (Surface::Admin, "/livez") => Page::Live,
        (Surface::Admin, "/readyz") => Page::Ready,
        (Surface::Admin, "/status") => Page::Status,
        _ => return Err(StatusCode::NOT_FOUND),
    };
    if method == Method::GET {
        Ok(page)
    } else {
        Err(StatusCode::METHOD_NOT_ALLOWED)
    }
}

fn refuse(status: StatusCode) -> Response<Full<Bytes>> {
    let text = match status {
        StatusCode::FORBIDDEN => "only by a loopback name, such as localhost or 127.0.0.1\n",
        StatusCode::METHOD_NOT_ALLOWED => "GET only\n",
        _ => "not here; there are / /livez /metrics /readyz /status\n",
    };
    let mut response = respond(status, "text/plain; charset=utf-8", text.to_owned());
    if status == StatusCode::METHOD_NOT_ALLOWED {
        let headers = response.headers_mut();
        headers.insert(header::ALLOW, HeaderValue::from_static("GET"));
    }
    response
}

fn show(page: Page, headers: &HeaderMap, names: Names, view: &View) -> Response<Full<Bytes>> {
    const TEXT: &str = "text/plain; charset=utf-8";
    match page {
        Page::Live => respond(StatusCode::OK, TEXT, "alive\n".to_owned()),
        Page::Ready => {
            let status = Status::new(view, names, Instant::now());
            let code = match status.verdict {
                Verdict::Ready | Verdict::Degraded => StatusCode::OK,
                Verdict::Down => StatusCode::SERVICE_UNAVAILABLE,
            };
            let mut text = format!("{}\n", status.verdict.word());
            for reason in &status.reasons {
                text.push_str(&printable(&reason.to_string()));
                text.push('\n');
            }
            respond(code, TEXT, text)
        }
        Page::Metrics => {
            let accept = headers.get(header::ACCEPT);
            let format = Format::accepted_by(accept.and_then(|accept| accept.to_str().ok()));
            let tiers = gauges(view, Instant::now());
            let memory = view.budget.usage();
            let node_files = view.node_files.borrow().state.word();
            let scrape = Scrape {
                tiers: &tiers,
                log_dropped: view.journal.dropped(),
                task_panics: lifecycle::panics(),
                memory: &memory,
                node_files,
                now: Instant::now(),
            };
            let text = view.metrics.render(&scrape, format);
            respond(StatusCode::OK, format.content_type(), text)
        }
        Page::Status => {
            match serde_json::to_string_pretty(&Status::new(view, names, Instant::now())) {
                Ok(text) => respond(StatusCode::OK, "application/json", json(text) + "\n"),
                Err(error) => {
                    let text = format!("writing the status as JSON: {error}\n");
                    respond(StatusCode::INTERNAL_SERVER_ERROR, TEXT, text)
                }
            }
        }
        Page::Home => {
            let text = page::html(&Status::new(view, names, Instant::now()));
            respond(StatusCode::OK, "text/html; charset=utf-8", text)
        }
    }
}

fn respond(status: StatusCode, content_type: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// What the metrics show of sources: what `/status` does, so that both agree on a certificate that has ended.
pub(super) fn gauges(view: &View, now: Instant) -> Vec<TierGauge> {
    let snapshot = view.snapshot.borrow().clone();
    let sources = snapshot.sources.iter();
    let gauges = sources.map(|state| gauge(&state.source.id, SourceStatus::new(state, view, now)));
    gauges.collect()
}

pub(super) fn gauge(id: &SourceId, shown: SourceStatus) -> TierGauge {
    let endpoints = shown.endpoints.into_iter();
    TierGauge {
        tier: id.label().into(),
        ready: matches!(id, SourceId::Tier(_)).then_some(shown.ready),
        endpoints: endpoints
            .map(|endpoint| (endpoint.address, endpoint.state == State::Healthy))
            .collect(),
    }
}

#[cfg(test)]
mod tests;
