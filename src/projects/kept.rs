//! The last good listings on disk, for the next start: a Harbor that cannot be asked then keeps its projects.

use super::listing::Listing;
use crate::config::Config;
use crate::lifecycle::replace_private;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// The file's name in the state directory.
pub(super) const FILE: &str = "projects.json";

/// More than any sane set of tiers takes; a longer file is not ours.
const MAX_BYTES: u64 = 16 << 20;

/// What the file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    /// By the tier's name.
    pub(super) tiers: BTreeMap<Arc<str>, KeptListing>,
}

/// What one tier listed last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KeptListing {
    /// Whose projects they are: a tier that moved is asked anew.
    pub(super) url: String,
    /// When it was asked, in seconds since 1970.
    pub(super) asked_at: u64,
    pub(super) listing: Listing,
}

// === impl Kept ===

impl Kept {
    /// Reads the file. Nothing at all if it is absent or cannot be read, which must not stop a start.
    pub(super) fn load(path: &Path) -> Self {
        match read(path) {
            Ok(kept) => kept,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::default(),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "reading the projects that were found last; Harbor is asked again");
                Self::default()
            }
        }
    }

    /// The listings of tiers that are where they were and are still asked.
    pub(super) fn listings(&self, config: &Config) -> BTreeMap<Arc<str>, Listing> {
        let tiers = config.tiers.iter().filter(|tier| tier.discovery.is_some());
        let kept = tiers.filter_map(|tier| {
            let kept = self.tiers.get(&tier.name)?;
            (kept.url == tier.url.to_string()).then(|| (tier.name.clone(), kept.listing.clone()))
        });
        kept.collect()
    }

    /// Writes the file: the old or the new content stands there, never a part.
    ///
    /// # Errors
    /// [`io::Error`]: the directory cannot be written.
    pub(super) fn store(&self, path: &Path) -> io::Result<()> {
        replace_private(path, &serde_json::to_vec(self)?)
    }
}

fn read(path: &Path) -> io::Result<Kept> {
    if std::fs::metadata(path)?.len() > MAX_BYTES {
        return Err(io::Error::other("the file is too long"));
    }
    Ok(serde_json::from_slice(&std::fs::read(path)?)?)
}
