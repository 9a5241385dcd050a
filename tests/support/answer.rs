//! What a fake registry says to a request when nothing is broken but its manners.

use super::behaviour::{Behaviour, Cold, Flavour, RateLimit};
use super::content::Content;
use super::harbor_api;
use super::message::{Framing, Recorded, Reply};
use super::tokens::{self, TokenBook};
use harbor_pilot::oci::Ranges;
use serde_json::json;

/// The answer. `scheme` is its own.
pub fn answer(
    behaviour: &Behaviour,
    book: &TokenBook,
    content: &mut Content,
    request: &Recorded,
    scheme: &str,
) -> Reply {
    let path = request.path.as_str();
    let reply = if path == behaviour.token_path {
        tokens::token(behaviour, book, request)
    } else if path == "/api/v2.0/health" {
        health(behaviour)
    } else if path == "/api/v2.0/ping" {
        Reply::new(200).body("text/plain", "Pong")
    } else if let (Some(rest), Some(api)) = (path.strip_prefix("/api/v2.0/"), &behaviour.api) {
        harbor_api::answer(behaviour, api, content, request, rest)
    } else if let Some(digest) = path.strip_prefix("/cdn/") {
        cdn(behaviour, content, request, digest)
    } else if path == "/v2/" {
        match tokens::check(behaviour, book, request, scheme, "") {
            Ok(()) => Reply::json(200, "{}"),
            Err(refusal) => refusal,
        }
    } else if let Some(rest) = path.strip_prefix("/v2/") {
        registry(behaviour, book, content, request, scheme, rest)
    } else {
        Reply::new(404).body("text/plain", "404 page not found")
    };
    if behaviour.sid_cookies {
        return reply.header("Set-Cookie", "sid=0123456789abcdef; Path=/; HttpOnly");
    }
    reply
}

fn registry(
    behaviour: &Behaviour,
    book: &TokenBook,
    content: &mut Content,
    request: &Recorded,
    scheme: &str,
    rest: &str,
) -> Reply {
    let Some((kind, repository, reference)) = ["/manifests/", "/blobs/", "/tags/"]
        .into_iter()
        .find_map(|kind| rest.split_once(kind).map(|(repo, name)| (kind, repo, name)))
    else {
        return Reply::new(404).body("text/plain", "404 page not found");
    };
    let (kind, repository) = (kind.trim_matches('/'), repository.to_owned());
    if let Err(refusal) = tokens::check(behaviour, book, request, scheme, &repository) {
        return refusal;
    }
    let components: Vec<_> = repository.split('/').collect();
    if behaviour.library_redirect && components.len() == 2 {
        let location = format!(
            "/v2/{}/library/{}/{kind}/{reference}",
            components[0], components[1]
        );
        return Reply::to(301, location);
    }
    if let Some(limit) = behaviour.rate_limit {
        return rate_limited(limit);
    }
    match kind {
        "manifests" => manifest(behaviour, content, request, &repository, reference),
        "blobs" => blob(behaviour, content, request, reference),
        _ => Reply::json(
            200,
            json!({"name": repository, "tags": content.tags(&repository)}).to_string(),
        ),
    }
}

fn manifest(
    behaviour: &Behaviour,
    content: &mut Content,
    request: &Recorded,
    repository: &str,
    reference: &str,
) -> Reply {
    let Some(found) = content.manifest(repository, reference, behaviour.trimmed_index) else {
        return match behaviour.flavour {
            // In its upstream's words, as its own are others (harbor-facts 13.9).
            Flavour::Harbor => {
                let of = format!("repo {repository}, tag {reference}");
                Reply::error(
                    404,
                    "NOT_FOUND",
                    &format!("resource not found: {of} not found"),
                )
            }
            _ => Reply::error(404, "MANIFEST_UNKNOWN", "manifest unknown"),
        };
    };
    let by_tag = !reference.contains(':');
    let mut digest = found.digest.to_string();
    if behaviour.cold_manifests {
        let is_warm = content.is_pulled(repository, &digest);
        let is_local = match by_tag {
            true => content.is_attached(repository, reference),
            false => is_warm,
        };
        if behaviour.upstream_out && !is_local {
            let what = format!("artifact {repository}:{reference} not found");
            return Reply::error(404, "NOT_FOUND", &what);
        }
        match request.method.as_str() {
            "HEAD" if by_tag => content.headed(repository, reference, &digest),
            "HEAD" => {}
            _ => {
                content.got(repository, &digest, !by_tag);
                if by_tag && !is_warm {
                    digest.clear();
                }
            }
        }
    }
    let etag = match digest.as_str() {
        "" => String::new(),
        digest => format!("\"{digest}\""),
    };
    Reply::new(200)
        .header("Docker-Content-Digest", digest)
        .header("Etag", etag)
        .body(found.media_type, found.body)
}

fn blob(behaviour: &Behaviour, content: &mut Content, request: &Recorded, digest: &str) -> Reply {
    let Some(body) = content.blob(digest) else {
        return Reply::error(404, "BLOB_UNKNOWN", "blob unknown to registry");
    };
    let head = request.method == "HEAD";
    let warms_up = behaviour.warms_up && behaviour.cold != Cold::UpstreamFails;
    let warm = behaviour.cold == Cold::Warm
        || behaviour.cold == Cold::UpstreamFails && content.is_warmed(digest)
        || warms_up
            && if head {
                content.is_warmed(digest)
            } else {
                content.warm_up(digest)
            };
    if !warm && head {
        return Reply::error(404, "NOT_FOUND", &format!("blob {digest} not found"));
    }
    let octets = "application/octet-stream";
    match behaviour.cold {
        Cold::Chunked if !warm => Reply::new(200).body(octets, body).framing(Framing::Chunked),
        Cold::UpstreamFails if !warm => {
            Reply::error(502, "UNKNOWN", "http status code: 502, body: ")
        }
        Cold::EmptyCascade if !warm => Reply::new(200).body(octets, ""),
        Cold::ErrorJsonAt(at) if !warm => {
            let mut broken = body[..at.min(body.len())].to_vec();
            broken.extend_from_slice(
                br#"{"errors":[{"code":"UNKNOWN","message":"internal server error"}]}"#,
            );
            Reply::new(200)
                .body(octets, broken)
                .framing(Framing::Chunked)
        }
        _ => match &behaviour.blobs_redirect_to {
            Some(base) => {
                let signature = behaviour.signatures_from;
                Reply::to(307, format!("{base}/cdn/{digest}?X-Signature={signature}"))
            }
            None => ranged(request, body).header("Docker-Content-Digest", digest),
        },
    }
}

fn cdn(behaviour: &Behaviour, content: &Content, request: &Recorded, digest: &str) -> Reply {
    if request.header("authorization").is_some() {
        return Reply::new(400).body("application/xml", "<Error>InvalidArgument</Error>");
    }
    let signature = request
        .parameter("X-Signature")
        .and_then(|text| text.parse().ok());
    if signature.is_none_or(|signature: u64| signature < behaviour.signatures_from) {
        return Reply::new(403).body("application/xml", "<Error>AccessDenied</Error>");
    }
    match content.blob(digest) {
        Some(body) => ranged(request, body),
        None => Reply::new(404).body("application/xml", "<Error>NoSuchKey</Error>"),
    }
}

/// 200, 206 or 416.
fn ranged(request: &Recorded, body: Vec<u8>) -> Reply {
    let octets = "application/octet-stream";
    let total = body.len() as u64;
    let ranges = request.header("range").and_then(Ranges::parse);
    let Some(range) = ranges.and_then(|ranges| ranges.single()) else {
        let whole = Reply::new(200).header("Accept-Ranges", "bytes");
        return whole.body(octets, body);
    };
    let Some(part) = range.within(total) else {
        return Reply::new(416).header("Content-Range", format!("bytes */{total}"));
    };
    let at = |offset: u64| usize::try_from(offset).unwrap();
    let bytes = body[at(part.first)..=at(part.last)].to_vec();
    let reply = Reply::new(206).header("Content-Range", part.header());
    reply.body(octets, bytes)
}

fn health(behaviour: &Behaviour) -> Reply {
    let names = [
        "core",
        "database",
        "jobservice",
        "portal",
        "redis",
        "registry",
        "registryctl",
        "trivy",
    ];
    let components: Vec<_> = names
        .into_iter()
        .map(|name| match behaviour.unhealthy.contains(&name) {
            false => json!({"name": name, "status": "healthy"}),
            true => json!({"error": "it does not answer", "name": name, "status": "unhealthy"}),
        })
        .collect();
    let whole = if behaviour.unhealthy.is_empty() {
        "healthy"
    } else {
        "unhealthy"
    };
    Reply::json(
        200,
        json!({"components": components, "status": whole}).to_string(),
    )
}

fn rate_limited(limit: RateLimit) -> Reply {
    match limit {
        RateLimit::HarborUpstream => Reply::error(
            429,
            "TOO_MANY_REQUEST",
            "too many requests to upstream registry",
        ),
        RateLimit::HubQuota => Reply::error(
            429,
            "TOOMANYREQUESTS",
            "You have reached your pull rate limit.",
        )
        .header("Retry-After", "1795000000")
        .header("ratelimit-limit", "100;w=21600"),
        RateLimit::HubAbuse => Reply::new(429).body("text/plain", "429 Too Many Requests"),
        RateLimit::Ghcr => Reply::error(
            429,
            "TOOMANYREQUESTS",
            "retry-after: 264.298µs, allowed: 44000/minute",
        ),
    }
}
