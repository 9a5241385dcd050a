//! Whose manners a fake registry has, and which of its moods are on. Every field can be changed while it runs.

use super::harbor_api::Api;
use std::time::Duration;

/// Whose manners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// No authentication, honest answers (distribution, registry.k8s.io, MCR).
    Plain,
    /// Harbor with proxy-cache projects (harbor-facts 2 and 3).
    Harbor,
    /// registry-1.docker.io and auth.docker.io.
    DockerHub,
    /// ghcr.io: the token endpoint itself refuses what is private.
    Ghcr,
    /// User name and password on every request.
    Basic,
    /// Object storage: `/cdn/DIGEST?signature=…`; refuses requests with an Authorization, as S3 does.
    Cdn,
}

/// What the challenge names as realm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Realm {
    /// Its own token path under the request's Host.
    Own,
    /// The same without the port, as behind an outer nginx with `Host $host` (harbor-facts 2).
    OwnWithoutPort,
    /// Somewhere.
    Url(String),
    /// None.
    Absent,
}

/// How a blob comes that is not cached yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cold {
    /// It is cached: length, ranges, HEAD.
    Warm,
    /// Chunked without a length, Range ignored, HEAD is 404 (harbor-facts 0.5, 0.6).
    Chunked,
    /// A cascade: 200 with `Content-Length: 0` (harbor-facts 0.2).
    EmptyCascade,
    /// Breaks at this offset and ends with error JSON inside a clean chunked body (harbor-facts 0.3).
    ErrorJsonAt(usize),
    /// Its upstream is a Harbor whose nginx says 502: 502 with JSON of its own (harbor-facts 13.8). It warms up by hand alone.
    UpstreamFails,
}

/// The forms of 429.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateLimit {
    /// Harbor: its upstream limits it (note the code's spelling).
    HarborUpstream,
    /// Docker Hub's pull quota: JSON, and a Retry-After that is a Unix timestamp.
    HubQuota,
    /// Docker Hub's abuse limit: bare text.
    HubAbuse,
    /// GHCR.
    Ghcr,
}

/// The moods.
#[derive(Clone, Debug)]
pub struct Behaviour {
    pub flavour: Flavour,
    pub realm: Realm,
    pub service: String,
    /// Where its own token endpoint is.
    pub token_path: String,
    /// `expires_in`; `None`: it is left out.
    pub token_life: Option<Duration>,
    /// Before the token endpoint answers.
    pub token_delay: Duration,
    /// Only who authenticates may pull.
    pub private: bool,
    /// The one account.
    pub credential: Option<(String, String)>,
    /// Harbor's database is down: tokens that open nothing, and to who shows one 401 with an empty challenge and the error in the
    /// body (harbor-facts 13.4).
    pub database_down: bool,
    /// There is no such project: to who shows a token 401 with an empty challenge and these words in the body (harbor-facts 13.4).
    pub project_missing: bool,
    /// How long a token request with a wrong secret sleeps (harbor-facts 13.5).
    pub wrong_secret_sleeps: Duration,
    /// Every answer sets a session cookie.
    pub sid_cookies: bool,
    /// Components that `/api/v2.0/health` reports unhealthy.
    pub unhealthy: Vec<&'static str>,
    pub cold: Cold,
    /// A cold blob is warm from its second request on.
    pub warms_up: bool,
    /// Manifests are cold until somebody gets them. Cold, GET by tag sends an empty Docker-Content-Digest and Etag
    /// (harbor-facts 13.6), and a tag is attached by HEAD by tag and then GET by digest alone (13.1).
    pub cold_manifests: bool,
    /// Harbor's upstream is out: manifests that are cold, and tags that are not attached, are 404 (harbor-facts 13.1).
    pub upstream_out: bool,
    /// A one-component Docker Hub repository is redirected by 301 with a path-only Location (harbor-facts 3.1).
    pub library_redirect: bool,
    /// The tag names an index that holds one platform only (harbor-facts 3.2).
    pub trimmed_index: bool,
    /// Blobs are redirected by 307 to signed URLs below this base.
    pub blobs_redirect_to: Option<String>,
    /// CDN: signatures below this number have run out.
    pub signatures_from: u64,
    /// Harbor's API, where it is asked; without it, it is 404.
    pub api: Option<Api>,
    /// Manifests and blobs are refused by 429.
    pub rate_limit: Option<RateLimit>,
}

impl Behaviour {
    pub(super) fn of(flavour: Flavour) -> Self {
        let harbor = flavour == Flavour::Harbor;
        let (service, token_path, life) = match flavour {
            Flavour::Harbor => ("harbor-registry", "/service/token", Some(1800)),
            Flavour::DockerHub => ("registry.docker.io", "/token", Some(300)),
            Flavour::Ghcr => ("ghcr.io", "/token", None),
            _ => ("fake", "/token", Some(300)),
        };
        Self {
            flavour,
            realm: Realm::Own,
            service: service.to_owned(),
            token_path: token_path.to_owned(),
            token_life: life.map(Duration::from_secs),
            token_delay: Duration::ZERO,
            private: flavour == Flavour::Basic,
            credential: None,
            database_down: false,
            project_missing: false,
            wrong_secret_sleeps: Duration::from_millis(if harbor { 1500 } else { 0 }),
            sid_cookies: harbor,
            unhealthy: Vec::new(),
            cold: Cold::Warm,
            warms_up: true,
            cold_manifests: harbor,
            upstream_out: false,
            library_redirect: harbor,
            trimmed_index: false,
            blobs_redirect_to: None,
            signatures_from: 0,
            api: None,
            rate_limit: None,
        }
    }
}
