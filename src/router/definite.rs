//! Which "not found" of a tier is its registry's own. Pure.

use crate::config::{Tier, TierKind};

/// How Harbor repeats its upstream's 404; its own, which may hide an outage or a denial there, has other words (harbor-facts 13.9).
const UPSTREAMS_WORD: &str = "resource not found";

/// Whether a tier's 404 with these words is definite: the registry behind it was asked, and has not got it.
pub(crate) fn is_definite_no(tier: &Tier, words: &str) -> bool {
    match tier.kind {
        // Behind a Harbor that asks another one, even these words may come of an outage.
        TierKind::Harbor => !tier.cascade && words.contains(UPSTREAMS_WORD),
        TierKind::Path => true,
        TierKind::Mirror => false,
    }
}
