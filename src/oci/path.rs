//! The pull endpoints of the OCI distribution spec: `/v2/<name>/{manifests,blobs,tags/list,referrers}`.

use super::digest::Digest;
use super::name::{Reference, RegistryName, Repository};
use std::fmt;
use std::sync::Arc;

/// What a request asks for; `name` is not yet split into registry and repository (design P1 decides).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResourcePath {
    /// `/v2/` or `/v2`: is a registry here?
    Ping,
    /// A resource of a repository.
    Resource {
        /// The part between `/v2/` and the kind.
        name: RawName,
        /// Which kind, with its reference.
        kind: ResourceKind,
    },
}

/// A kind of resource and what names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResourceKind {
    /// `/manifests/<reference>`
    Manifest(Reference),
    /// `/blobs/<digest>`
    Blob(Digest),
    /// `/tags/list`
    Tags,
    /// `/referrers/<digest>`
    Referrers(Digest),
}

/// The name in a path: a repository, with a registry in front or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawName(Arc<str>);

/// Why a path names nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Not below `/v2/`, or no known kind at its end.
    #[error("no such endpoint")]
    NotAnEndpoint,
    /// The name is not a repository name.
    #[error("invalid repository name")]
    Name,
    /// The tag or digest is malformed.
    #[error("invalid reference or digest")]
    Reference,
}

// === impl ResourcePath ===

impl ResourcePath {
    /// Parses the path of a request target, without its query. Percent signs are refused: no valid name
    /// needs one, and a decoded one is how a path escapes.
    ///
    /// # Errors
    /// [`PathError`]: no endpoint of this API, or a name or reference that is malformed.
    pub fn parse(path: &str) -> Result<Self, PathError> {
        let rest = path.strip_prefix("/v2").ok_or(PathError::NotAnEndpoint)?;
        if rest.is_empty() || rest == "/" {
            return Ok(Self::Ping);
        }
        let rest = rest.strip_prefix('/').ok_or(PathError::NotAnEndpoint)?;
        if let Some(name) = rest.strip_suffix("/tags/list") {
            let (name, kind) = (RawName::parse(name)?, ResourceKind::Tags);
            return Ok(Self::Resource { name, kind });
        }
        let (head, last) = rest.rsplit_once('/').ok_or(PathError::NotAnEndpoint)?;
        let (name, kind) = head.rsplit_once('/').ok_or(PathError::NotAnEndpoint)?;
        if !matches!(kind, "manifests" | "blobs" | "referrers") {
            return Err(PathError::NotAnEndpoint);
        }
        let name = RawName::parse(name)?;
        let digest = || last.parse().map_err(|_| PathError::Reference);
        let kind = match kind {
            "blobs" => ResourceKind::Blob(digest()?),
            "referrers" => ResourceKind::Referrers(digest()?),
            _ => ResourceKind::Manifest(last.parse().map_err(|_| PathError::Reference)?),
        };
        Ok(Self::Resource { name, kind })
    }
}

impl fmt::Display for ResourcePath {
    /// The path again: parsing it gives the same.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ping => f.write_str("/v2/"),
            Self::Resource { name, kind } => write!(f, "/v2/{}{}", name.as_str(), kind.suffix()),
        }
    }
}

// === impl ResourceKind ===

impl ResourceKind {
    /// The word for logs and metrics: manifest, blob, tags or referrers.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Manifest(_) => "manifest",
            Self::Blob(_) => "blob",
            Self::Tags => "tags",
            Self::Referrers(_) => "referrers",
        }
    }

    /// What is asked for, as text: tag or digest; empty for a list of tags.
    #[must_use]
    pub fn reference(&self) -> Arc<str> {
        match self {
            Self::Manifest(Reference::Tag(tag)) => tag.clone(),
            Self::Manifest(Reference::Digest(digest))
            | Self::Blob(digest)
            | Self::Referrers(digest) => digest.shared(),
            Self::Tags => Arc::default(),
        }
    }

    /// The path behind the repository: `/manifests/3.20`.
    #[must_use]
    pub fn suffix(&self) -> String {
        match self {
            Self::Manifest(reference) => format!("/manifests/{reference}"),
            Self::Blob(digest) => format!("/blobs/{digest}"),
            Self::Tags => "/tags/list".to_owned(),
            Self::Referrers(digest) => format!("/referrers/{digest}"),
        }
    }
}

// === impl RawName ===

impl From<&Repository> for RawName {
    fn from(repository: &Repository) -> Self {
        Self(repository.shared())
    }
}

impl RawName {
    fn parse(name: &str) -> Result<Self, PathError> {
        let raw = Self(name.into());
        if raw.repository().is_none() && raw.split_registry().is_none() {
            return Err(PathError::Name);
        }
        Ok(raw)
    }

    /// The whole name as a repository.
    #[must_use]
    pub fn repository(&self) -> Option<Repository> {
        self.0.parse().ok()
    }

    /// First component as a registry, the rest as a repository.
    #[must_use]
    pub fn split_registry(&self) -> Option<(RegistryName, Repository)> {
        let (first, rest) = self.0.split_once('/')?;
        Some((first.parse().ok()?, rest.parse().ok()?))
    }

    /// The first path component: what might be a registry.
    #[must_use]
    pub fn first_component(&self) -> &str {
        self.0.split_once('/').map_or(&self.0, |(first, _)| first)
    }

    /// The name as it stood in the path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
