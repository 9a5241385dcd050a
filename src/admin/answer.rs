//! From a request to its answer.

use super::names::Names;
use super::page::{self, Query};
use super::status::{SourceStatus, State, Status};
use super::{Surface, Verdict, View};
use crate::lifecycle;
use crate::metrics::{Format, Scrape, TierGauge};
use crate::printable::{json, printable};
use crate::topology::SourceId;
use crate::traces::Traces;
use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body_util::Full;
use std::net::IpAddr;
use tokio::time::Instant;

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Page {
    Explain,
    Home,
    Icon,
    Live,
    Metrics,
    Names,
    Ready,
    Script,
    Status,
    Style,
}

/// Nothing but what the agent itself serves; no script or style inside the page.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

const SAME_ORIGIN: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

const TEXT: &str = "text/plain; charset=utf-8";

/// Answers a request, after what takes a moment has been done for it.
pub(super) async fn answer_in_time<B>(
    surface: Surface,
    request: &Request<B>,
    view: &View,
) -> Response<Full<Bytes>> {
    let found = admit(surface, request.headers(), request.uri())
        .and_then(|()| route(surface, request.method(), request.uri().path()));
    let (now, names) = (Instant::now(), names_for(request, view));
    match found {
        Ok(Page::Explain) if names == Names::Shown => {
            let query = Query::read(request.uri().query());
            let status = Status::new(view, names, now);
            explain(view, status, &query.image).await
        }
        Ok(Page::Home | Page::Status) if names == Names::Shown => {
            let of = view.node_files.borrow().clone();
            view.files.refresh(of).await;
            answer(surface, request, view)
        }
        _ => answer(surface, request, view),
    }
}

async fn explain(view: &View, status: Status, image: &str) -> Response<Full<Bytes>> {
    let Some(explainer) = view.explain.as_ref() else {
        return refuse(StatusCode::NOT_FOUND);
    };
    let config = view.configured.borrow().clone();
    match explainer.ask(config, status, image).await {
        Some(report) => respond(StatusCode::OK, TEXT, report),
        None => {
            let text = "another image is being explained; ask again in a moment\n".to_owned();
            respond(StatusCode::SERVICE_UNAVAILABLE, TEXT, text)
        }
    }
}

/// Who asks, and whether they may see names.
fn names_for<B>(request: &Request<B>, view: &View) -> Names {
    Names::for_request(request, view.token.borrow().as_ref())
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
            let query = Query::read(request.uri().query());
            show(
                page,
                request.headers(),
                &query,
                names_for(request, view),
                view,
            )
        }
        Err(status) => refuse(status),
    }
}

/// Whether the answer is made of the status, which tells of the node's files.
pub(super) fn shows_the_node<B>(surface: Surface, request: &Request<B>) -> bool {
    let page = route(surface, request.method(), request.uri().path());
    matches!(
        page,
        Ok(Page::Explain | Page::Home | Page::Ready | Page::Status)
    )
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
        (Surface::Admin, "/explain") => Page::Explain,
        (Surface::Admin, "/icon.svg") => Page::Icon,
        (Surface::Admin, "/names") => Page::Names,
        (Surface::Admin, "/page.css") => Page::Style,
        (Surface::Admin, "/page.js") => Page::Script,
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
        _ => "not here; there are / /explain /livez /metrics /names /readyz /status\n",
    };
    let mut response = respond(status, TEXT, text.to_owned());
    if status == StatusCode::METHOD_NOT_ALLOWED {
        let headers = response.headers_mut();
        headers.insert(header::ALLOW, HeaderValue::from_static("GET"));
    }
    response
}

fn show(
    page: Page,
    headers: &HeaderMap,
    query: &Query,
    names: Names,
    view: &View,
) -> Response<Full<Bytes>> {
    let asset = |kind, text: &str| respond(StatusCode::OK, kind, text.to_owned());
    match page {
        Page::Icon => asset("image/svg+xml", page::ICON),
        Page::Script => asset("text/javascript; charset=utf-8", page::SCRIPT),
        Page::Style => asset("text/css; charset=utf-8", page::STYLE),
        Page::Explain => {
            let text = "explain is for those who see names of images: root, the agent's own user, and whoever has the token\n";
            respond(StatusCode::FORBIDDEN, TEXT, text.to_owned())
        }
        Page::Names => show_names(names, view),
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
                spans: view.traces.as_ref().map_or([0; 3], Traces::totals),
                task_panics: lifecycle::panics(),
                memory: &memory,
                node_files,
                now: Instant::now(),
            };
            let text = view.metrics.render(&scrape, format);
            respond(StatusCode::OK, format.content_type(), text)
        }
        Page::Status => {
            let status = Status::new(view, names, Instant::now());
            if query.is_for_script {
                let parts = page::parts(&status, query, view);
                return respond(StatusCode::OK, "application/json", parts);
            }
            match serde_json::to_string_pretty(&status) {
                Ok(text) => respond(StatusCode::OK, "application/json", json(text) + "\n"),
                Err(error) => {
                    let text = format!("writing the status as JSON: {error}\n");
                    respond(StatusCode::INTERNAL_SERVER_ERROR, TEXT, text)
                }
            }
        }
        Page::Home => {
            let text = page::html(&Status::new(view, names, Instant::now()), query, view);
            respond(StatusCode::OK, "text/html; charset=utf-8", text)
        }
    }
}

/// Has a browser ask its person for the token; with it, back to the page.
fn show_names(names: Names, view: &View) -> Response<Full<Bytes>> {
    let has_token = view.token.borrow().is_some();
    let (status, text, header) = match (names, has_token) {
        (Names::Shown, _) => (
            StatusCode::SEE_OTHER,
            "names are shown\n",
            Some((header::LOCATION, "/")),
        ),
        (Names::Hidden, true) => (
            StatusCode::UNAUTHORIZED,
            "any name, and as the password the token of [server] admin_token_file\n",
            Some((header::WWW_AUTHENTICATE, "Basic realm=\"harbor-pilot\"")),
        ),
        (Names::Hidden, false) => (
            StatusCode::FORBIDDEN,
            "there is no token: set [server] admin_token_file\n",
            None,
        ),
    };
    let mut response = respond(status, TEXT, text.to_owned());
    if let Some((name, value)) = header {
        let value = HeaderValue::from_static(value);
        response.headers_mut().insert(name, value);
    }
    response
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
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        // Pages of others get nothing by a link to here.
        (SAME_ORIGIN, "same-origin"),
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
