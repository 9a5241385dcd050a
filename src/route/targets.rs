//! Which sources may be asked for a repository, in which order (design P2, P3), and whose credentials go
//! along (P5).

use super::{Refusal, Route, RouteTable, Target};
use crate::config::{Registry, Tier, TierKind};
use crate::oci::{RegistryName, Repository, ResourceKind};
use crate::topology::SourceId;
use std::sync::Arc;

// === impl RouteTable ===

impl RouteTable {
    pub(super) fn targets(
        &self,
        registry: &Registry,
        repository: Repository,
        kind: &ResourceKind,
        mut reasons: Vec<String>,
    ) -> Result<Route, Refusal> {
        // First of all: a private repository is containerd's, whatever may be asked for others (P5).
        if registry.is_private(&repository) {
            return Err(Refusal::Private(repository));
        }
        let through_tiers = match upstream_only(kind) {
            Some(word) if !registry.direct => return Err(Refusal::NotRelayed(word)),
            Some(word) => {
                reasons.push(format!("{word} come from the direct upstream only"));
                false
            }
            None if registry.bypasses(&repository) => {
                reasons.push(format!(
                    "{repository} is listed in bypass: straight to upstream"
                ));
                false
            }
            None => true,
        };
        let mut targets = Vec::with_capacity(self.config.tiers.len().saturating_add(1));
        if through_tiers {
            for tier in &self.config.tiers {
                match tier_target(tier, &registry.name, &repository) {
                    Some(target) => {
                        reasons.push(format!("tier {} has it as {}", tier.name, target.path));
                        targets.push(target);
                    }
                    None => {
                        reasons.push(format!(
                            "tier {} does not serve {}",
                            tier.name, registry.name
                        ));
                    }
                }
            }
        }
        if registry.direct {
            reasons.push(format!(
                "the direct upstream {} comes last",
                registry.upstream
            ));
            targets.push(Target {
                source: SourceId::Upstream(registry.name.clone()),
                path: repository.as_str().into(),
                query: None,
                token_scope: repository.as_str().into(),
                authoritative: true,
                with_credential: true,
            });
        } else {
            reasons.push(format!("{} may not be asked directly", registry.name));
        }
        if targets.is_empty() {
            return Err(Refusal::NoSource(registry.name.clone()));
        }
        Ok(Route {
            registry: Some(registry.name.clone()),
            registry_label: registry.name.clone(),
            key: key(&registry.name, &repository),
            repository,
            targets,
            reasons,
        })
    }

    /// An unmapped project of a tier's own name: that tier is the registry, and it alone (P1, P3). Its
    /// credential stays here: it is for the projects of the mapping (P5).
    pub(super) fn tier_only(
        tier: &Tier,
        image_name: RegistryName,
        repository: Repository,
        kind: &ResourceKind,
        reasons: Vec<String>,
    ) -> Result<Route, Refusal> {
        if let Some(word) = upstream_only(kind) {
            return Err(Refusal::NotRelayed(word));
        }
        let path: Arc<str> = repository.as_str().into();
        let project = path.split('/').next().unwrap_or(&path);
        let target = Target {
            source: SourceId::Tier(tier.name.clone()),
            query: None,
            token_scope: token_scope(tier.kind, project, &path),
            path,
            authoritative: true,
            with_credential: false,
        };
        Ok(Route {
            registry: None,
            key: key(&image_name, &repository),
            registry_label: image_name,
            repository,
            targets: vec![target],
            reasons,
        })
    }
}

fn key(registry: &RegistryName, repository: &Repository) -> Arc<str> {
    format!("{registry}/{repository}").into()
}

/// What tiers answer wrongly or not at all (harbor-facts 3.5), as the word for people.
fn upstream_only(kind: &ResourceKind) -> Option<&'static str> {
    match kind {
        ResourceKind::Tags | ResourceKind::Referrers(_) => Some(kind.word()),
        ResourceKind::Manifest(_) | ResourceKind::Blob(_) => None,
    }
}

fn tier_target(tier: &Tier, registry: &RegistryName, repository: &Repository) -> Option<Target> {
    if !tier.serves(registry) {
        return None;
    }
    let (path, query, token_scope) = match tier.kind {
        TierKind::Mirror => {
            let path: Arc<str> = repository.as_str().into();
            let query = format!("ns={registry}").into();
            (path.clone(), Some(query), path)
        }
        TierKind::Harbor | TierKind::Path => {
            let project = tier.projects.get(registry)?;
            let path: Arc<str> = format!("{project}/{repository}").into();
            let scope = token_scope(tier.kind, project, &path);
            (path, None, scope)
        }
    };
    Some(Target {
        source: SourceId::Tier(tier.name.clone()),
        path,
        query,
        token_scope,
        authoritative: false,
        with_credential: true,
    })
}

/// Harbor reduces a token to its project (harbor-facts 2); other registries grant what was asked for.
fn token_scope(kind: TierKind, project: &str, path: &Arc<str>) -> Arc<str> {
    match kind {
        TierKind::Harbor => project.into(),
        TierKind::Path | TierKind::Mirror => path.clone(),
    }
}
