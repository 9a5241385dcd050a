//! Image references as people write them and as containerd's CRI plugin reads them (containerd-k3s-facts 1.1,
//! the reference grammar of distribution/reference). Pure.

#[cfg(test)]
mod tests;

use crate::oci::{RawName, Reference, RegistryName, Repository, ResourceKind, ResourcePath};
use std::fmt;

/// Where a name without a registry belongs, and its other spelling.
const DEFAULT_REGISTRY: &str = "docker.io";
const OLD_DEFAULT_REGISTRY: &str = "index.docker.io";

/// Where Docker Hub's official images live.
const LIBRARY: &str = "library/";

/// A reference in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Image {
    /// What containerd sends as `ns`.
    pub(in crate::cli) registry: RegistryName,
    /// The repository, as it stands in the request's path.
    pub(in crate::cli) name: RawName,
    /// The digest where there is one, whatever tag stands beside it; `latest` where nothing is written.
    pub(in crate::cli) reference: Reference,
}

/// Why a text is no image reference, with what to write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::cli) enum InvalidImage {
    #[error("no image is named; write a reference such as nginx:1.27 or ghcr.io/org/app:2")]
    Empty,
    #[error("an image reference has no scheme; write {0}")]
    Scheme(String),
    #[error(
        "64 hexadecimal digits alone are an image's ID, which no registry knows; write a name, or NAME@sha256:{0}"
    )]
    Id(String),
    #[error("{0:?} is no registry; write a host name, with :PORT where it needs one")]
    Registry(String),
    #[error("{0:?} has capital letters, which no repository has; write {lower}", lower = .0.to_lowercase())]
    Capitals(String),
    #[error(
        "{0:?} is no repository; write lower-case letters and digits, with single . _ or dashes between them, \
         in parts divided by /"
    )]
    Repository(String),
    #[error(
        "{0:?} is no tag; write at most 128 letters, digits, _ . and -, not beginning with . or -"
    )]
    Tag(String),
    #[error("{0:?} is no digest; write sha256: and 64 lower-case hexadecimal digits")]
    Digest(String),
}

impl Image {
    /// Reads a reference.
    ///
    /// # Errors
    /// [`InvalidImage`]: the part that is malformed, and what to write.
    pub(in crate::cli) fn parse(text: &str) -> Result<Self, InvalidImage> {
        if text.is_empty() {
            return Err(InvalidImage::Empty);
        }
        if let Some((_, rest)) = text.split_once("://") {
            return Err(InvalidImage::Scheme(rest.to_owned()));
        }
        let hexadecimal = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() == 64 && text.bytes().all(hexadecimal) {
            return Err(InvalidImage::Id(text.to_owned()));
        }
        let (named, digest) = match text.split_once('@') {
            Some((named, digest)) => (named, Some(digest)),
            None => (text, None),
        };
        let (domain, rest) = split_domain(named);
        let (path, tag) = match rest.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
            _ => (rest, None),
        };
        let registry = domain
            .parse()
            .map_err(|_| InvalidImage::Registry(domain.to_owned()))?;
        let tag = tag.map(tag_of).transpose()?;
        let digest = digest.map(digest_of).transpose()?;
        let reference = digest
            .or(tag)
            .unwrap_or_else(|| Reference::Tag("latest".into()));
        let official = domain == DEFAULT_REGISTRY && !path.contains('/');
        let prefix = if official { LIBRARY } else { "" };
        Ok(Self {
            registry,
            name: name_of(prefix, path, &reference)?,
            reference,
        })
    }

    /// What is asked for.
    pub(in crate::cli) fn kind(&self) -> ResourceKind {
        ResourceKind::Manifest(self.reference.clone())
    }

    /// The request that containerd sends to the agent.
    pub(super) fn request(&self) -> String {
        let (name, suffix) = (self.name.as_str(), self.kind().suffix());
        format!("/v2/{name}{suffix}?ns={}", self.registry)
    }
}

impl fmt::Display for Image {
    /// The reference in full.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let between = match self.reference {
            Reference::Tag(_) => ':',
            Reference::Digest(_) => '@',
        };
        let (registry, name) = (&self.registry, self.name.as_str());
        write!(f, "{registry}/{name}{between}{}", self.reference)
    }
}

/// The first component is a registry if it looks like a host: with a dot or a port, `localhost`, or with capital
/// letters, which no repository has.
fn split_domain(named: &str) -> (&str, &str) {
    let is_host = |first: &str| {
        first.contains(['.', ':'])
            || first == "localhost"
            || first.bytes().any(|byte| byte.is_ascii_uppercase())
    };
    match named.split_once('/') {
        Some((OLD_DEFAULT_REGISTRY, rest)) => (DEFAULT_REGISTRY, rest),
        Some((first, rest)) if is_host(first) => (first, rest),
        _ => (DEFAULT_REGISTRY, named),
    }
}

fn tag_of(text: &str) -> Result<Reference, InvalidImage> {
    text.parse().map_err(|_| InvalidImage::Tag(text.to_owned()))
}

fn digest_of(text: &str) -> Result<Reference, InvalidImage> {
    let digest = text.parse().map(Reference::Digest);
    digest.map_err(|_| InvalidImage::Digest(text.to_owned()))
}

fn name_of(prefix: &str, path: &str, reference: &Reference) -> Result<RawName, InvalidImage> {
    if path.chars().any(char::is_uppercase) {
        return Err(InvalidImage::Capitals(path.to_owned()));
    }
    let wrong = || InvalidImage::Repository(path.to_owned());
    let repository: Repository = format!("{prefix}{path}").parse().map_err(|_| wrong())?;
    // A name comes out of a request's path and nowhere else.
    match ResourcePath::parse(&format!("/v2/{repository}/manifests/{reference}")) {
        Ok(ResourcePath::Resource { name, .. }) => Ok(name),
        _ => Err(wrong()),
    }
}
