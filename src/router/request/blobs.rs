//! Blobs of images that name no registry, and who may have them.

use super::{Failed, RouterRequest};
use crate::http1::Response;
use crate::oci::{Digest, ErrorCode, RegistryName, Repository, ResourceKind};
use crate::relay::{Image, PullBody, RequestRecord};
use crate::router::mappings::Holder;
use crate::telemetry::RequestOutcome;
use http::StatusCode;
use tokio::time::Instant;

// === impl RouterRequest ===

impl RouterRequest<'_> {
    /// Blobs are not looked for: they are where manifests of the repository came from.
    pub(super) async fn blob(
        &self,
        repository: &Repository,
        digest: &Digest,
        mut record: RequestRecord,
    ) -> Response<PullBody> {
        let mut holders = self.holders(repository, digest);
        let (mut next, mut own, mut is_outage) = (0, holders.len(), false);
        if own == 0 {
            holders = self.holders_of_others(repository, &holders).await;
        }
        while let Some(registry) = holders.get(next).cloned() {
            next = next.saturating_add(1);
            let failed = match self.serve(repository, &registry, record).await {
                Ok(answered) => {
                    if own == 0 {
                        let (mappings, trust) = (&self.lookups.mappings, self.request.trust);
                        mappings.held(repository, &registry, trust, Instant::now());
                    }
                    return answered;
                }
                Err(failed) => failed,
            };
            if next == own {
                own = 0;
                holders.extend(self.holders_of_others(repository, &holders).await);
            }
            let is_out = matches!(&failed, Failed::Sources(unserved) if unserved.log.is_outage());
            if next == holders.len() && (is_out || !is_outage) {
                return self.failed(failed);
            }
            is_outage |= is_out;
            record = failed.into_record();
        }
        if is_outage {
            let why = "not all registries that may have this blob could be asked";
            let unavailable = StatusCode::SERVICE_UNAVAILABLE;
            let what = (unavailable, ErrorCode::Unavailable, why);
            return self.refuse(what, RequestOutcome::Failed, record);
        }
        let why =
            "no manifest of this repository has been pulled here, and blobs are not looked for";
        let what = (StatusCode::NOT_FOUND, ErrorCode::BlobUnknown, why);
        self.refuse(what, RequestOutcome::NotFound, record)
    }

    /// Who else has had anything of the repository, as other agents say: a client's next request may come to another gateway.
    async fn holders_of_others(
        &self,
        repository: &Repository,
        asked: &[RegistryName],
    ) -> Vec<RegistryName> {
        let (config, trust) = (&self.rules.config, self.request.trust);
        let mut among = self.router.candidates(&config.registries, &config.tiers);
        among.retain(|registry| !asked.contains(registry));
        self.lookups.sharing.holders(repository, trust, among).await
    }

    /// Whose manifests name this content, then who had anything else of the repository, the last one first. The digest proves it
    /// either way.
    pub(super) fn holders(&self, repository: &Repository, digest: &Digest) -> Vec<RegistryName> {
        let mappings = &self.lookups.mappings;
        let known = mappings.holders(repository, self.request.trust, Instant::now());
        let kind = ResourceKind::Blob(digest.clone());
        let can_ask = |one: &Holder| self.can_ask((&one.registry, one.is_told), repository, &kind);
        let known = known.into_iter().filter(can_ask);
        let mut known: Vec<RegistryName> = known.map(|one| one.registry).collect();
        let names_it = |registry: &RegistryName| {
            let Ok(route) = self.route(registry, repository) else {
                return false;
            };
            let (label, repository) = (route.registry_label.clone(), route.repository.clone());
            let content = Image::content(label, repository, digest.clone());
            self.parts.sizes.get(&content).is_some()
        };
        if known.len() > 1 {
            known.sort_by_cached_key(|registry| !names_it(registry));
        }
        known
    }
}
