//! From an HTTP request to what is asked for: strict, and nothing of it is ever used to reach anybody.

use super::Answer;
use super::doctor_image::{self, Seen};
use crate::cache::Trust;
use crate::config::Secret;
use crate::http1::{Fields, Request};
use crate::oci::{ErrorCode, PathError, Ranges, ResourceKind, ResourcePath, percent_decoded};
use crate::relay::{PullBody, PullRequest, Relay, header_value, marked};
use crate::router::Dispatcher;
use crate::telemetry::{Trace, TraceParent};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use http::header::{
    ACCEPT, ALLOW, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, HeaderValue, RANGE, USER_AGENT,
};
use http::{Method, StatusCode, Version};
use std::net::IpAddr;
use std::sync::Arc;

/// The header that containerd sends on shared nodes (design S6), written into hosts.toml as `header`.
const KEY_HEADER: HeaderName = HeaderName::from_static("x-harbor-pilot-key");

/// W3C Trace Context.
static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
static TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The longest request target, in bytes: a repository of 255, a digest of 135, and room.
const MAX_TARGET: usize = 2048;

/// A request that asks for nothing that is here.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Refused {
    status: StatusCode,
    code: ErrorCode,
    message: String,
}

/// What a request's target asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Target {
    path: ResourcePath,
    ns: Option<String>,
    query: Option<String>,
}

pub(super) async fn answer(
    (dispatcher, seen): (&Dispatcher, &Seen),
    request: Request,
    key: Option<&Secret>,
    (trust, client): (Trust, Option<IpAddr>),
    dialled: Option<String>,
) -> Answer {
    let (relay, head) = (dispatcher.relay(), request.method == Method::HEAD);
    let Target { path, ns, query } = match read_target(&request, key) {
        Ok(target) => target,
        Err(refused) => return refuse(relay, &request, &refused),
    };
    let ResourcePath::Resource { name, kind } = path else {
        tracing::debug!("registry ping");
        return pong(relay, head);
    };
    if doctor_image::is_meant(&name) {
        tracing::debug!("doctor's test image");
        return doctor_image::answer(&kind, head, seen, &relay.request_id());
    }
    let ns = ns.or(dialled);
    let list = matches!(kind, ResourceKind::Tags | ResourceKind::Referrers(_));
    let pull = PullRequest {
        head,
        ns,
        name,
        kind,
        accept: accept(&request.fields),
        ranges: ranges(&request.fields).filter(|_| !head),
        shows_denials: shows_denials(&request.fields),
        query: query.filter(|_| list),
        trust,
        client,
        trace: trace(relay, &request.fields),
    };
    drop(request);
    dispatcher.pull(pull).await
}

/// Reads a request's head. Everything that is not a pull of this API ends here.
fn read_target(request: &Request, key: Option<&Secret>) -> Result<Target, Refused> {
    let not_found = |message: &str| Refused {
        status: StatusCode::NOT_FOUND,
        code: ErrorCode::Unsupported,
        message: message.to_owned(),
    };
    if !matches!(request.method, Method::GET | Method::HEAD) {
        return Err(Refused {
            status: StatusCode::METHOD_NOT_ALLOWED,
            code: ErrorCode::Unsupported,
            message: "only GET and HEAD are offered here: this is a mirror for pulls".to_owned(),
        });
    }
    let target = request.target.as_str();
    if !target.starts_with('/') {
        return Err(not_found("this is no proxy: send the path alone"));
    }
    if request.version == Version::HTTP_11 && request.fields.all(&HOST).count() != 1 {
        return Err(Refused {
            status: StatusCode::BAD_REQUEST,
            code: ErrorCode::Unsupported,
            message: "HTTP/1.1 wants exactly one Host header (RFC 9112, 3.2)".to_owned(),
        });
    }
    if let Some(key) = key {
        let sent = request.fields.get(&KEY_HEADER);
        if !sent.is_some_and(|sent| is_key(sent, key)) {
            return Err(not_found(
                "this endpoint wants the header that stands in containerd's hosts.toml",
            ));
        }
    }
    if target.len() > MAX_TARGET {
        return Err(not_found("the request target is too long"));
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let path = ResourcePath::parse(path).map_err(|error| Refused {
        status: StatusCode::NOT_FOUND,
        code: match error {
            PathError::NotAnEndpoint => ErrorCode::Unsupported,
            PathError::Name => ErrorCode::NameInvalid,
            PathError::Reference => ErrorCode::DigestInvalid,
        },
        message: error.to_string(),
    })?;
    // A ping's query says nothing.
    let query = if path == ResourcePath::Ping {
        ""
    } else {
        query
    };
    let (ns, query) = split_query(query)
        .ok_or_else(|| not_found("the query holds more than one ns, or one that cannot be read"))?;
    Ok(Target { path, ns, query })
}

/// Takes `ns` out of a query, decoded; of the rest only what the specification knows stays.
fn split_query(query: &str) -> Option<(Option<String>, Option<String>)> {
    let (mut ns, mut rest) = (None, Vec::new());
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match name {
            "ns" if ns.is_some() => return None,
            "ns" => ns = Some(percent_decoded(value)?),
            "n" | "last" | "artifactType" if value.bytes().all(is_plain) => rest.push(pair),
            _ => {}
        }
    }
    Some((ns, (!rest.is_empty()).then(|| rest.join("&"))))
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%+:/".contains(&byte)
}

/// Whether the client knows the key. How long this takes says nothing of where they differ.
fn is_key(sent: &[u8], key: &Secret) -> bool {
    verify_slices_are_equal(sent, key.reveal().as_bytes()).is_ok()
}

/// What the client accepts. It may say so in several fields (RFC 9110, 5.3); mostly it is one, which is passed on as it is.
fn accept(fields: &Fields) -> Option<HeaderValue> {
    let texts = || fields.texts(&ACCEPT);
    let first = texts().next()?;
    if texts().nth(1).is_none() {
        return HeaderValue::from_str(first).ok();
    }
    let all: Vec<&str> = texts().collect();
    HeaderValue::try_from(all.join(", ")).ok()
}

/// The request's trace, where requests are traced: the client's, or a new one.
fn trace(relay: &Relay, fields: &Fields) -> Option<Arc<Trace>> {
    let tracer = relay.parts().sinks.journal.tracer()?;
    let mut parents = fields.texts(&TRACEPARENT);
    let parent = parents.next().and_then(TraceParent::parse);
    let parent = parent.filter(|_| parents.next().is_none());
    Some(tracer.begin(parent, TraceParent::state(fields.texts(&TRACESTATE))))
}

/// The ranges that are asked for; several fields of them are none.
fn ranges(fields: &Fields) -> Option<Ranges> {
    let mut values = fields.all(&RANGE);
    let (first, None) = (values.next()?, values.next()) else {
        return None;
    };
    Ranges::parse(std::str::from_utf8(first).ok()?)
}

/// containerd 2 shows its user the 403 of a mirror, where a 404 becomes "not found", and asks the registry with the pod's secret
/// after either. Older ones make a worse text of it (containerd-k3s-facts 13.9).
fn shows_denials(fields: &Fields) -> bool {
    let version = fields.text(&USER_AGENT).and_then(|agent| {
        let version = agent.strip_prefix("containerd/")?;
        Some(version.strip_prefix('v').unwrap_or(version))
    });
    let rest = version.and_then(|version| version.strip_prefix('2'));
    rest.is_some_and(|rest| !rest.starts_with(|next: char| next.is_ascii_digit()))
}

fn refuse(relay: &Relay, request: &Request, refused: &Refused) -> Answer {
    let head = request.method == Method::HEAD;
    let method = if head { "HEAD" } else { "GET" };
    let method = if refused.status == StatusCode::METHOD_NOT_ALLOWED {
        "other"
    } else {
        method
    };
    let mut answer = relay.refuse(method, head, refused.status, refused.code, &refused.message);
    if refused.status == StatusCode::METHOD_NOT_ALLOWED {
        let allowed = HeaderValue::from_static("GET, HEAD");
        answer.head.set(ALLOW, allowed);
    }
    answer
}

/// `/v2/`: always 200, whatever the tiers do (containerd-k3s-facts 8, harbor-facts "GET /v2/").
fn pong(relay: &Relay, head: bool) -> Answer {
    plain(relay, (StatusCode::OK, "application/json"), "{}", head)
}

/// A text of the server's own.
pub(super) fn plain(
    relay: &Relay,
    (status, kind): (StatusCode, &'static str),
    text: &'static str,
    head: bool,
) -> Answer {
    let answer = marked(status, header_value(&relay.request_id()))
        .with(CONTENT_TYPE, HeaderValue::from_static(kind));
    if head {
        let length = text.len();
        answer.with(CONTENT_LENGTH, length).and(PullBody::plain(""))
    } else {
        answer.and(PullBody::plain(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, target: &str, fields: &[(&str, &str)]) -> Request {
        Request {
            method: method.parse().unwrap(),
            target: target.to_owned(),
            version: Version::HTTP_11,
            fields: fields.iter().copied().collect(),
        }
    }

    #[test]
    fn a_query_is_taken_apart() {
        let table = [
            ("", Some((None, None))),
            ("ns=docker.io", Some((Some("docker.io"), None))),
            (
                "ns=myreg.io%3A5000&n=5",
                Some((Some("myreg.io:5000"), Some("n=5"))),
            ),
            (
                "last=a&x=y&ns=ghcr.io",
                Some((Some("ghcr.io"), Some("last=a"))),
            ),
            ("ns=a&ns=b", None),
            ("ns=%zz", None),
            ("ns=%f", None),
            ("ns=%ff", None),
            ("ns", Some((Some(""), None))),
            ("n=<script>", Some((None, None))),
        ];
        for (query, due) in table {
            let split = split_query(query);
            let shown = split
                .as_ref()
                .map(|(ns, rest)| (ns.as_deref(), rest.as_deref()));
            assert_eq!(shown, due, "{query}");
        }
    }

    #[test]
    fn containerd_2_alone_shows_denials() {
        let table = [
            ("containerd/v2.1.4-k3s1", true),
            ("containerd/2.0.0", true),
            ("containerd/v2", true),
            ("containerd/v2.1.9+unknown ctr", true),
            ("containerd/1.7.24~ds1", false),
            ("containerd/v1.6.20", false),
            ("containerd/20.1", false),
            ("containerd/v21", false),
            ("containerd", false),
            ("containerd/", false),
            ("containerd/v", false),
            ("docker/2.0", false),
            ("x containerd/2.1", false),
            ("Containerd/2.1", false),
        ];
        for (agent, due) in table {
            let request = request("GET", "/v2/", &[("User-Agent", agent)]);
            assert_eq!(shows_denials(&request.fields), due, "{agent}");
        }
        assert!(!shows_denials(&request("GET", "/v2/", &[]).fields));
    }

    #[test]
    fn only_origin_form_gets_and_heads_are_read() {
        let table = [
            ("GET", "/v2/library/a/manifests/1", None),
            ("HEAD", "/v2/library/a/manifests/1?ns=docker.io", None),
            ("POST", "/v2/library/a/blobs/uploads/", Some(405)),
            ("DELETE", "/v2/library/a/manifests/1", Some(405)),
            (
                "GET",
                "http://169.254.169.254/v2/library/a/manifests/1",
                Some(404),
            ),
            ("GET", "/v2/library/a/manifests/..%2f..", Some(404)),
            ("GET", "/v2/../etc/passwd", Some(404)),
            ("GET", "/", Some(404)),
            ("GET", "/v1/search", Some(404)),
            ("GET", "/v2/_catalog", Some(404)),
        ];
        for (method, target, status) in table {
            let request = request(method, target, &[("Host", "x")]);
            let got = read_target(&request, None)
                .err()
                .map(|refused| refused.status.as_u16());
            assert_eq!(got, status, "{method} {target}");
        }
    }

    #[test]
    fn a_required_key_is_required() {
        let key = Secret::new("open sesame");
        let ask = |value: Option<&str>| {
            let key_field = value.map(|value| ("X-Harbor-Pilot-Key", value));
            let fields: Vec<_> = key_field.into_iter().chain([("host", "x")]).collect();
            let request = request("GET", "/v2/", &fields);
            let target = read_target(&request, Some(&key));
            target
                .map(|_| 200)
                .map_err(|refused| refused.status.as_u16())
        };
        assert_eq!(ask(Some("open sesame")), Ok(200));
        for wrong in ["open sesam", "open sesamE", "Open sesame", ""] {
            assert_eq!(ask(Some(wrong)), Err(404), "{wrong}");
        }
        assert_eq!(ask(None), Err(404));
    }

    #[test]
    fn one_host_header_is_wanted() {
        let none = request("GET", "/v2/", &[]);
        assert_eq!(read_target(&none, None).unwrap_err().status, 400);
        let two = request("GET", "/v2/", &[("Host", "a"), ("Host", "b")]);
        assert_eq!(read_target(&two, None).unwrap_err().status, 400);
    }
}
