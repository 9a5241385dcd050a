//! Sizes of blobs, learned from manifests that were verified (design P7): they make HEAD answers, Content-Length
//! and the detection of cold cascades possible. What a manifest says holds for its own repository (design S8). Kept across
//! restarts, bounded.

use super::memory::{Image, Pulled};
use crate::budget::{Budget, Kind, Lease};
use crate::cache::{Bounds, SharedTtlMap, Trust, TtlMap};
use crate::lifecycle::create_private;
use crate::oci::{Descriptor, Digest};
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// Sizes remembered at most, which is more than a node ever holds.
const SIZES: usize = 20_000;

/// All of them together take at most this part of the memory that is for everything: one in eight.
const PART: usize = 8;

/// What one takes beside its names, in bytes: its digest, its places in the table, what the allocator adds.
const ENTRY: usize = 384;

/// What one manifest teaches at most: an image has at most 127 layers, an index some ten manifests.
const NAMES: usize = 1024;

/// Blob in a repository → size in bytes.
#[derive(Debug)]
pub(crate) struct KnownSizes {
    sizes: SharedTtlMap<Image, u64>,
    lease: Lease,
    changed: AtomicBool,
}

// === impl KnownSizes ===

impl KnownSizes {
    /// The size of a blob, if a manifest of its repository told it.
    pub(crate) fn get(&self, blob: &Image) -> Option<u64> {
        self.sizes.get(blob, Instant::now())
    }

    /// Learns what a verified manifest names, for its repository and whoever asked for it.
    pub(crate) fn learn(&self, manifest: &Pulled, descriptors: &[Descriptor]) {
        let now = Instant::now();
        for Descriptor { digest, size, .. } in descriptors.iter().take(NAMES) {
            let Pulled { image: blob, trust } = manifest.beside(digest);
            let is_new = self.change(|sizes| {
                let is_new = sizes.get(&blob, now) != Some(size);
                sizes.put(blob, *size, trust, now);
                is_new
            });
            self.changed.fetch_or(is_new, Ordering::Relaxed);
        }
    }

    /// Sources agree on another size, or the digest has proved one.
    pub(crate) fn forget(&self, blob: &Image) {
        let was = self.change(|sizes| sizes.remove(blob));
        self.changed.fetch_or(was.is_some(), Ordering::Relaxed);
    }

    /// Reads what an earlier run kept. Lines that say nothing are passed over: the file is a help, no truth. What the sizes
    /// take is counted in `budget`.
    pub(crate) fn load(path: &Path, budget: &Budget) -> Self {
        let bounds = Bounds {
            bytes: budget.limit() / PART,
            ..Bounds::entries(Duration::MAX, SIZES)
        };
        let known = Self {
            sizes: SharedTtlMap::from_map(TtlMap::weighed(bounds, weigh)),
            lease: budget.lease(Kind::Sizes),
            changed: AtomicBool::new(false),
        };
        if let Ok(text) = fs::read_to_string(path) {
            let now = Instant::now();
            for (blob, size, trust) in text.lines().filter_map(read_line) {
                known.change(|sizes| sizes.put(blob, size, trust, now));
            }
        }
        known
    }

    /// Writes all to a file if anything changed since the last time; the old file or the new one, never half.
    pub(crate) fn store(&self, path: &Path) -> io::Result<()> {
        if !self.changed.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        let lines = self.sizes.read(|sizes| {
            let mut lines = String::new();
            for (blob, size, trust) in sizes.iter() {
                lines.push_str(&line(blob, *size, trust));
            }
            lines
        });
        let temporary = path.with_extension("new");
        create_private(&temporary)?.write_all(lines.as_bytes())?;
        fs::rename(&temporary, path)
    }

    /// Changes the table, and counts what it takes from then on.
    fn change<T>(&self, act: impl FnOnce(&mut TtlMap<Image, u64>) -> T) -> T {
        self.sizes.change(|sizes| {
            let done = act(sizes);
            self.lease.set(sizes.bytes());
            done
        })
    }
}

/// Bytes of memory that a size takes.
fn weigh(blob: &Image, _: &u64) -> usize {
    let names = blob
        .registry
        .as_str()
        .len()
        .saturating_add(blob.repository.as_str().len());
    names.saturating_add(ENTRY)
}

/// `docker.io library/nginx sha256:… 1234 trusted`
fn line(blob: &Image, size: u64, trust: Trust) -> String {
    let (registry, repository, trust) = (&blob.registry, &blob.repository, trust.word());
    format!(
        "{registry} {repository} {} {size} {trust}\n",
        blob.reference
    )
}

fn read_line(line: &str) -> Option<(Image, u64, Trust)> {
    let mut words = line.split(' ');
    let mut word = || words.next();
    let (registry, repository) = (word()?.parse().ok()?, word()?.parse().ok()?);
    let (digest, size): (Digest, u64) = (word()?.parse().ok()?, word()?.parse().ok()?);
    let (trust, mut known) = (word()?, [Trust::Trusted, Trust::Untrusted].into_iter());
    let trust = known.find(|known| known.word() == trust)?;
    Some((Image::content(registry, repository, digest), size, trust))
}

#[cfg(test)]
mod tests;
