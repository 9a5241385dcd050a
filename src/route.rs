//! Pure routing (design P1–P3): from what containerd asks to the sources that may be asked, with the exact path
//! for each and the reason. Nothing that is not configured comes out of here.

mod meaning;
mod targets;

use crate::config::Config;
use crate::oci::{RawName, RegistryName, Repository, ResourceKind};
use crate::topology::SourceId;
use foldhash::HashMap;
use meaning::Meaning;
use parking_lot::Mutex;
use std::sync::Arc;

/// Routes that are kept, of some hundred bytes each. When there are more all are forgotten.
const CAPACITY: usize = 1024;

/// The routes of one configuration.
#[derive(Clone, Debug)]
pub(crate) struct RouteTable {
    config: Arc<Config>,
    /// Routes that were made before, by what was asked for: a node asks for the same repositories again and again.
    known: Arc<Mutex<Known>>,
}

#[derive(Debug, Default)]
struct Known {
    routes: HashMap<String, Arc<Route>>,
    /// The key that is looked for now. Its memory is kept, so that a route that is known costs no allocation.
    key: String,
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

impl Route {
    /// What is asked of that source.
    pub(crate) fn target(&self, source: &SourceId) -> Option<&Target> {
        self.targets.iter().find(|target| target.source == *source)
    }
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

// === impl RouteTable ===

impl RouteTable {
    /// The routes of a configuration.
    #[must_use]
    pub(crate) fn new(config: Arc<Config>) -> Self {
        Self {
            config,
            known: Arc::default(),
        }
    }

    /// Routes a request, and says why: for `explain`. `ns` is the decoded value of `?ns=`, as it came.
    ///
    /// # Errors
    /// [`Refusal`]: no source may be asked.
    pub(crate) fn explain(
        &self,
        ns: Option<&str>,
        name: &RawName,
        kind: &ResourceKind,
    ) -> Result<Route, Refusal> {
        let mut reasons = Vec::new();
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

    /// Routes a request. Its reasons stay empty: nobody reads them on the pull path, where a route is made once and kept.
    ///
    /// # Errors
    /// [`Refusal`]: no source may be asked.
    pub(crate) fn route(
        &self,
        ns: Option<&str>,
        name: &RawName,
        kind: &ResourceKind,
    ) -> Result<Arc<Route>, Refusal> {
        // Lists go elsewhere. No name has a line end, so that no two requests have the same key.
        let of = match kind {
            ResourceKind::Tags | ResourceKind::Referrers(_) => "\n",
            ResourceKind::Manifest(_) | ResourceKind::Blob(_) => "",
        };
        let [ns_or_none, end] = ns.map_or(["", ""], |ns| [ns, "\n"]);
        let parts = [ns_or_none, end, name.as_str(), of];
        let found = self.known.lock().find(parts);
        let key = match found {
            Ok(route) => return Ok(route),
            Err(key) => key,
        };
        let explained = self.explain(ns, name, kind)?;
        let route = Arc::new(Route {
            reasons: Vec::new(),
            ..explained
        });
        let routes = &mut self.known.lock().routes;
        if routes.len() >= CAPACITY {
            routes.clear();
        }
        routes.insert(key, route.clone());
        Ok(route)
    }
}

// === impl Known ===

impl Known {
    /// The route under the key of these parts, or that key.
    fn find(&mut self, parts: [&str; 4]) -> Result<Arc<Route>, String> {
        self.key.clear();
        self.key.extend(parts);
        let route = self.routes.get(&self.key);
        route.cloned().ok_or_else(|| self.key.clone())
    }
}

#[cfg(test)]
mod tests;
