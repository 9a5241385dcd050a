//! Sizes of blobs, learned from manifests that were verified (design P7): they make HEAD answers, Content-Length
//! and the detection of cold cascades possible. Kept across restarts, bounded, oldest out.

use crate::oci::{Descriptor, Digest};
use std::collections::{HashMap, VecDeque};
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// Blobs remembered at most: about 3 MiB of memory when full, more than a node ever holds.
const CAPACITY: usize = 20_000;

/// Digest → size in bytes. The lock is held for single look-ups only.
#[derive(Debug, Default)]
pub(crate) struct KnownSizes(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    sizes: HashMap<Digest, u64>,
    order: VecDeque<Digest>,
    changed: bool,
}

// === impl KnownSizes ===

impl KnownSizes {
    /// The size of a blob, if a manifest told it.
    pub(crate) fn get(&self, digest: &Digest) -> Option<u64> {
        self.lock().sizes.get(digest).copied()
    }

    /// Learns what a verified manifest names.
    pub(crate) fn learn(&self, descriptors: &[Descriptor]) {
        let mut known = self.lock();
        for descriptor in descriptors {
            known.insert(descriptor.digest.clone(), descriptor.size);
        }
    }

    /// Reads what an earlier run kept. Lines that say nothing are passed over: the file is a help, no truth.
    pub(crate) fn load(path: &Path) -> Self {
        let known = Self::default();
        if let Ok(text) = std::fs::read_to_string(path) {
            let mut inner = known.lock();
            for line in text.lines() {
                if let Some((digest, size)) = line.split_once(' ')
                    && let (Ok(digest), Ok(size)) = (digest.parse(), size.parse())
                {
                    inner.insert(digest, size);
                }
            }
            inner.changed = false;
        }
        known
    }

    /// Writes all to a file if anything changed since the last time; the old file or the new one, never half.
    pub(crate) fn store(&self, path: &Path) -> io::Result<()> {
        let lines: Vec<String> = {
            let mut known = self.lock();
            if !std::mem::take(&mut known.changed) {
                return Ok(());
            }
            let size_of = |digest: &Digest| known.sizes.get(digest).copied().unwrap_or_default();
            known
                .order
                .iter()
                .map(|digest| format!("{digest} {}\n", size_of(digest)))
                .collect()
        };
        let temporary = path.with_extension("new");
        let mut file = std::fs::File::create(&temporary)?;
        file.write_all(lines.concat().as_bytes())?;
        std::fs::rename(&temporary, path)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Known ===

impl Known {
    fn insert(&mut self, digest: Digest, size: u64) {
        let before = self.sizes.insert(digest.clone(), size);
        self.changed |= before != Some(size);
        if before.is_none() {
            self.order.push_back(digest);
        }
        while self.order.len() > CAPACITY {
            if let Some(oldest) = self.order.pop_front() {
                self.sizes.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(text: &str, size: u64) -> Descriptor {
        Descriptor {
            digest: Digest::sha256(text.as_bytes()),
            size,
            is_manifest: false,
        }
    }

    #[test]
    fn a_restart_keeps_what_manifests_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sizes");
        let known = KnownSizes::default();
        known.learn(&[descriptor("a", 1), descriptor("b", 2)]);
        known.store(&path).unwrap();
        let again = KnownSizes::load(&path);
        assert_eq!(again.get(&Digest::sha256(b"a")), Some(1));
        assert_eq!(again.get(&Digest::sha256(b"b")), Some(2));
        assert_eq!(again.get(&Digest::sha256(b"c")), None);
    }

    #[test]
    fn nonsense_in_the_file_is_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sizes");
        let good = Digest::sha256(b"x");
        std::fs::write(&path, format!("nonsense\nsha256:12 7\n{good} 9\n{good}")).unwrap();
        assert_eq!(KnownSizes::load(&path).get(&good), Some(9));
    }

    #[test]
    fn the_oldest_goes_first() {
        let known = KnownSizes::default();
        for index in 0..=CAPACITY {
            known.learn(&[descriptor(&index.to_string(), 1)]);
        }
        assert_eq!(known.get(&Digest::sha256(b"0")), None);
        assert_eq!(known.get(&Digest::sha256(b"1")), Some(1));
    }
}
