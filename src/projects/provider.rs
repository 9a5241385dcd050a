//! Which registry a Harbor's registry endpoint stands for, by its provider and URL (harbor-facts 4). Pure.

use super::listing::Endpoint;
use crate::config::BaseUrl;

/// What an endpoint stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cached {
    /// The registry at this host (`host` or `host:port`, and a path where one stands behind).
    Registry(String),
    /// Another Harbor, at this host: its own projects say which registry.
    Harbor(String),
    /// Cannot be told, and why.
    Unknown(String),
}

/// Where Docker Hub's API, its web pages and its registry are.
const DOCKER_HUB: &[&str] = &[
    "docker.io",
    "hub.docker.com",
    "index.docker.io",
    "registry-1.docker.io",
    "registry.hub.docker.com",
];

pub(super) fn cached(endpoint: &Endpoint) -> Cached {
    let provider = endpoint.provider.as_str();
    match provider {
        "docker-hub" => return Cached::Registry("docker.io".to_owned()),
        "github-ghcr" => return Cached::Registry("ghcr.io".to_owned()),
        _ => {}
    }
    let Some(url) = url(&endpoint.url) else {
        let why = format!("its endpoint's URL {:?} cannot be read", endpoint.url);
        return Cached::Unknown(why);
    };
    match provider {
        "harbor" => Cached::Harbor(url.host),
        // Harbor finds the account's registry by this address and the account's keys.
        "aws-ecr" if url.host.starts_with("api.ecr.") => Cached::Unknown(format!(
            "{} says the region of an ECR and not the account's registry",
            url.host
        )),
        "docker-registry" | "quay" | "google-gcr" | "aws-ecr" | "azure-acr" | "ali-acr"
        | "jfrog-artifactory" => Cached::Registry(registry_of(&url, path(&endpoint.url))),
        other => Cached::Unknown(format!("provider {other:?} is not known")),
    }
}

/// Harbor puts what it asks for behind a path, so that the path tells which registry of a host it is.
fn registry_of(url: &BaseUrl, path: &str) -> String {
    if DOCKER_HUB.contains(&url.host.as_str()) {
        return "docker.io".to_owned();
    }
    url.authority() + path
}

/// The path of a URL, without a last slash; empty where there is none.
fn path(text: &str) -> &str {
    let rest = text.trim();
    let rest = rest.split_once("://").map_or(rest, |(_, rest)| rest);
    let path = rest.find('/').map_or("", |at| rest.get(at..).unwrap_or(""));
    path.trim_end_matches('/')
}

/// Harbor keeps the URL as it was typed: a scheme may be missing, a path may stand behind.
fn url(text: &str) -> Option<BaseUrl> {
    let text = text.trim();
    match text.split_once("://") {
        Some(_) => BaseUrl::origin_of(text),
        None => BaseUrl::origin_of(&format!("https://{text}")),
    }
}
