//! Where a token is fetched and with what: the pure part of the token exchange (design P5, S1).

use super::challenge::BearerChallenge;
use super::named_url::NamedUrl;
use super::reach::Hop;
use crate::cache::Trust;
use crate::config::{BaseUrl, Credential};
use crate::topology::{EndpointId, Source, SourceKind};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::fmt::Display;
use std::sync::Arc;

/// Harbor's token endpoint, below the host.
const HARBOR_TOKEN_PATH: &str = "/service/token";

/// One token fetch, ready to be made, now or again for a renewal.
#[derive(Clone, Debug)]
pub struct TokenPlan {
    /// The source whose requests need the token.
    pub source: Arc<Source>,
    /// The endpoint that asked for a token.
    pub endpoint: EndpointId,
    /// The host of the token endpoint.
    pub at: Hop,
    /// Path and query.
    pub target: String,
    /// Sent as Basic; `None`: an anonymous token.
    pub credential: Option<Credential>,
    /// Whose request wants it.
    pub trust: Trust,
}

/// What the token is wanted for.
#[derive(Clone, Copy, Debug)]
pub struct TokenRequest<'a> {
    /// The repository as the source knows it.
    pub repository: &'a str,
    /// Whether the source's credential may be used.
    pub with_credential: bool,
    /// Whose request it is.
    pub trust: Trust,
}

impl TokenPlan {
    /// Decides where the token comes from.
    ///
    /// Harbor answers for itself at the very address that asked: installations behind one name sign with keys of their
    /// own (harbor-facts 2), and its realm may have lost the port behind another proxy. Other sources may name another
    /// host; never by http where the source is https. The credential goes to the source's own origin, and to the realm of
    /// the registry itself; a tier's credential never leaves it.
    ///
    /// A host to which a redirect of the source led gives an anonymous token, from wherever it says.
    ///
    /// # Errors
    /// In words: no realm, one that is no URL, or one without TLS.
    pub fn new(
        source: &Arc<Source>,
        endpoint: &EndpointId,
        hop: &Hop,
        challenge: &BearerChallenge,
        wanted: TokenRequest<'_>,
    ) -> Result<Self, String> {
        let named = challenge.realm.as_deref();
        let (at, path) = match hop {
            Hop::Endpoint if source.kind == SourceKind::Harbor => {
                (Hop::Endpoint, harbor_path(source, named)?)
            }
            Hop::Endpoint => named_host(source, named)?,
            Hop::Named(host) => {
                let url = realm(host, host, named)?;
                (Hop::Named(url.origin), url.target)
            }
        };
        let is_own = at == Hop::Endpoint || source.kind == SourceKind::Upstream;
        let credential_may_go = wanted.with_credential && *hop == Hop::Endpoint && is_own;
        Ok(Self {
            source: source.clone(),
            endpoint: endpoint.clone(),
            at,
            target: with_query(&path, challenge, wanted.repository),
            credential: source.credential.clone().filter(|_| credential_may_go),
            trust: wanted.trust,
        })
    }
}

/// The path at the Harbor's own address.
fn harbor_path(source: &Source, realm: Option<&str>) -> Result<String, String> {
    let Some(realm) = realm else {
        return Ok(HARBOR_TOKEN_PATH.to_owned());
    };
    let url = NamedUrl::parse(realm)
        .map_err(|why| format!("the token realm of {} is not usable: {why}", source.id))?;
    // The port is ignored: an outer nginx with `Host $host` drops it (harbor-facts 2). So is the scheme, which
    // comes from Harbor's own setting.
    if url.origin.host == source.url.host || url.path() == HARBOR_TOKEN_PATH {
        return Ok(url.target);
    }
    Err(format!(
        "{} names a foreign token realm, {url}; Harbor's own is {HARBOR_TOKEN_PATH} at the same host: check its external URL",
        source.id
    ))
}

/// The host and path that the realm of another registry names.
fn named_host(source: &Source, named: Option<&str>) -> Result<(Hop, String), String> {
    let url = realm(&source.id, &source.url, named)?;
    if url.has_origin_of(&source.url) {
        return Ok((Hop::Endpoint, url.target));
    }
    Ok((Hop::Named(url.origin), url.target))
}

/// A realm that `who` named, asked at `base`. Its own realm by http is asked by https where `who` is: servers behind a TLS proxy
/// know no better.
fn realm(who: &dyn Display, base: &BaseUrl, realm: Option<&str>) -> Result<NamedUrl, String> {
    let realm =
        realm.ok_or_else(|| format!("{who} asks for a token but does not say where to get it"))?;
    let url = NamedUrl::parse(realm)
        .map_err(|why| format!("the token realm of {who} is not usable: {why}"))?;
    if !base.https {
        return Ok(url);
    }
    url.over_tls_of(base)
        .map_err(|why| format!("{who} names a token realm without TLS: {why}"))
}

/// Scopes of a challenge that are asked for at most.
const SCOPES: usize = 8;

/// `…?service=…&scope=repository:…:pull`. The scope is our own, and what the challenge names besides, as containerd has it: a front
/// may have other names for repositories, and some registries want scopes of another type (`aws` at public.ecr.aws).
fn with_query(path: &str, challenge: &BearerChallenge, repository: &str) -> String {
    let mut target = path.to_owned();
    let mut separator = if path.contains('?') { '&' } else { '?' };
    let mut push = |name: &str, value: &str| {
        target.push(separator);
        separator = '&';
        target.push_str(name);
        target.push('=');
        target.extend(utf8_percent_encode(value, IN_QUERY));
    };
    if let Some(service) = &challenge.service {
        push("service", service);
    }
    let own = format!("repository:{repository}:pull");
    push("scope", &own);
    let named = challenge.scope.as_deref().unwrap_or_default().split(' ');
    let others = named.filter(|scope| !scope.is_empty() && *scope != own);
    for scope in others.take(SCOPES) {
        push("scope", scope);
    }
    target
}

/// Everything but RFC 3986's unreserved characters, and `:` and `/`, which a query may hold and people read.
const IN_QUERY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b':')
    .remove(b'/');

#[cfg(test)]
mod tests;
