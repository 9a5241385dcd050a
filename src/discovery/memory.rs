//! The last good sets of tiers on disk, for a boot at which DNS does not answer yet (design H1).

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use tokio::io::AsyncWriteExt;

/// The file's name in the state directory.
pub(super) const FILE: &str = "dns.json";

/// More than any sane set of tiers takes; a longer file is not ours.
const MAX_BYTES: u64 = 1 << 20;

/// What the file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Memory {
    /// By the tier's name.
    pub(super) tiers: BTreeMap<String, Remembered>,
}

/// One tier's last good set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Remembered {
    /// Whose addresses they are: a tier that moved has others.
    pub(super) host: String,
    /// Without ports, which are the configuration's.
    pub(super) addresses: Vec<IpAddr>,
}

impl Memory {
    /// The addresses of a tier, if it still has that host.
    pub(super) fn addresses(&self, tier: &str, host: &str) -> Vec<IpAddr> {
        match self.tiers.get(tier) {
            Some(remembered) if remembered.host == host => remembered.addresses.clone(),
            _ => Vec::new(),
        }
    }

    /// Reads the file; nothing at all if it is absent or broken, which must not stop a start.
    pub(super) async fn load(path: &Path) -> Self {
        match read(path).await {
            Ok(memory) => memory,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::default(),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "reading the last good DNS sets; going on without them");
                Self::default()
            }
        }
    }

    /// Writes the file: the old or the new content stands there, never a part.
    pub(super) async fn store(&self, path: &Path) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(self)?;
        let temporary = path.with_extension("json.new");
        // One that a crash left behind may have other permissions.
        let _ = tokio::fs::remove_file(&temporary).await;
        let mut options = tokio::fs::OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let mut file = options.open(&temporary).await?;
        file.write_all(&text).await?;
        file.sync_all().await?;
        drop(file);
        tokio::fs::rename(&temporary, path).await?;
        match path.parent() {
            Some(directory) => tokio::fs::File::open(directory).await?.sync_all().await,
            None => Ok(()),
        }
    }
}

async fn read(path: &Path) -> io::Result<Memory> {
    if tokio::fs::metadata(path).await?.len() > MAX_BYTES {
        return Err(io::Error::other("the file is too long"));
    }
    Ok(serde_json::from_slice(&tokio::fs::read(path).await?)?)
}
