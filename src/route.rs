//! Pure routing (design P1–P3): from what containerd asks to the sources that may be asked, with the exact path
//! for each and the reason. Nothing that is not configured comes out of here.

mod known;
mod meaning;
mod targets;

use crate::config::Config;
use crate::oci::{RawName, RegistryName, Repository, ResourceKind};
use crate::topology::SourceId;
use std::sync::Arc;

use known::{Asked, Known};
use meaning::Meaning;

/// The routes of one configuration.
#[derive(Clone, Debug)]
pub(crate) struct RouteTable {
    config: Arc<Config>,
    known: Arc<Known>,
}

/// Where a request may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    /// The registry that is meant; `None` for an unmapped project of a tier's own name (P1).
    pub registry: Option<RegistryName>,
    /// For logs and metrics: the registry, or the tier's image name.
    pub registry_label: RegistryName,
    /// The repository at that registry.
    pub repository: Repository,
    /// Both as one text, by which the order of a source's addresses is chosen (design H5).
    pub key: Arc<str>,
    /// In order of preference.
    pub targets: Vec<Target>,
    /// Why, for `explain`: one sentence each.
    pub reasons: Vec<String>,
}

/// One source of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub source: SourceId,
    /// The repository's path there: `proxy-docker-io/library/nginx`.
    pub path: Arc<str>,
    /// `ns=docker.io` for mirrors.
    pub query: Option<Arc<str>>,
    /// Under what its token is kept: the project for Harbor, whose tokens open whole projects; the
    /// repository's path for everything else.
    pub token_scope: Arc<str>,
    /// Its "not found" and "denied" are final.
    pub authoritative: bool,
    /// Its credential may be used.
    pub with_credential: bool,
}

/// Why nothing may be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// `ns` or the name's first component is no configured registry.
    #[error(
        "{0} is not a configured registry; add a [[registry]] for it, or pull it without the mirror"
    )]
    NotConfigured(String),
    /// The name is no repository name.
    #[error("invalid repository name")]
    InvalidName,
    /// Left to containerd and the pod's own secret.
    #[error("{0} is listed as private: containerd pulls it itself")]
    Private(Repository),
    /// `direct = false` and no tier serves it.
    #[error("no tier serves {0} and it may not be pulled directly")]
    NoSource(RegistryName),
    /// Tags and referrers come from the direct upstream only.
    #[error("{0} are answered by the direct upstream only, which is off for this registry")]
    NotRelayed(&'static str),
}

/// Reasons where somebody wants them.
#[derive(Debug)]
struct Reasons(Option<Vec<String>>);

impl Reasons {
    fn say(&mut self, reason: impl FnOnce() -> String) {
        if let Some(list) = &mut self.0 {
            list.push(reason());
        }
    }

    fn list(self) -> Vec<String> {
        self.0.unwrap_or_default()
    }
}

impl RouteTable {
    /// The routes of a configuration.
    #[must_use]
    pub(crate) fn new(config: Arc<Config>) -> Self {
        Self {
            config,
            known: Arc::default(),
        }
    }

    /// Routes a request, and says why: for `explain`.
    ///
    /// # Errors
    /// [`Refusal`]: no source may be asked.
    pub(crate) fn explain(
        &self,
        ns: Option<&str>,
        name: &RawName,
        kind: &ResourceKind,
    ) -> Result<Route, Refusal> {
        self.routed(ns, name, kind, Reasons(Some(Vec::new())))
    }

    /// Routes a request; its reasons stay empty, because nobody reads them on the pull path. `ns` is the decoded value of `?ns=`, as it came.
    ///
    /// # Errors
    /// [`Refusal`]: no source may be asked.
    pub(crate) fn route(
        &self,
        ns: Option<&str>,
        name: &RawName,
        kind: &ResourceKind,
    ) -> Result<Arc<Route>, Refusal> {
        let is_list = matches!(kind, ResourceKind::Tags | ResourceKind::Referrers(_));
        let asked = Asked { ns, name, is_list };
        if let Some(route) = self.known.get(asked) {
            return Ok(route);
        }
        let route = Arc::new(self.routed(ns, name, kind, Reasons(None))?);
        self.known.put(asked, &route);
        Ok(route)
    }

    fn routed(
        &self,
        ns: Option<&str>,
        name: &RawName,
        kind: &ResourceKind,
        mut reasons: Reasons,
    ) -> Result<Route, Refusal> {
        match self.meaning(ns, name, &mut reasons)? {
            Meaning::Repository {
                registry,
                repository,
            } => self.targets(registry, repository, kind, reasons),
            Meaning::TierOnly {
                tier,
                image_name,
                repository,
            } => Self::tier_only(tier, image_name, repository, kind, reasons),
        }
    }
}

#[cfg(test)]
mod tests;
