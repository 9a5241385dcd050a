//! Whether a place that is known is used, as the configuration is now.

use crate::config::Router;
use crate::oci::{RawName, RegistryName, Repository, ResourceKind};
use crate::relay::Rules;

/// Whether that registry is to be asked for it. What was found here stays there, even where no source is left for it: another
/// registry's image of this name is another image. Only content that its digest proves is as good from another one. What another
/// agent says (`is_told`) counts where a search from here would ask as well.
pub(super) fn can_ask(
    (rules, router): (&Rules, &Router),
    (registry, is_told): (&RegistryName, bool),
    repository: &Repository,
    kind: &ResourceKind,
) -> bool {
    let name = RawName::from(repository);
    let route = || rules.routes.route(Some(registry.as_str()), &name, kind);
    let is_proved = match kind {
        ResourceKind::Manifest(reference) => reference.digest().is_some(),
        ResourceKind::Blob(_) | ResourceKind::Referrers(_) => true,
        ResourceKind::Tags => false,
    };
    match is_told {
        true => router.asks(registry, &rules.config.tiers) && route().is_ok(),
        false => !is_proved || route().is_ok(),
    }
}
