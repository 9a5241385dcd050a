//! What has to go: pure.

use crate::config;
use std::path::PathBuf;
use std::time::SystemTime;

/// A file takes at least this much of a disk.
const BLOCK: u64 = 4096;

/// A file on the shelf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    /// When a source last gave it.
    pub(super) at: SystemTime,
    /// Its length.
    pub(super) bytes: u64,
    pub(super) file: PathBuf,
}

/// The files to delete and the bytes that stay: whatever is too old; of the rest the oldest until what stays fits, with
/// an eighth of room so that not every write has to look again.
pub(super) fn evicted(
    mut all: Vec<Stored>,
    limits: config::Stale,
    now: SystemTime,
) -> (Vec<PathBuf>, u64) {
    let taken = |stored: &Stored| taken(stored.bytes);
    let mut left: u64 = all.iter().map(taken).sum();
    let room = if left > limits.max_bytes {
        limits.max_bytes / 8
    } else {
        0
    };
    all.sort_by(|a, b| (a.at, &a.file).cmp(&(b.at, &b.file)));
    let mut gone = Vec::new();
    for stored in all {
        let too_old = now
            .duration_since(stored.at)
            .is_ok_and(|age| age > limits.max_age);
        if !too_old && left <= limits.max_bytes.saturating_sub(room) {
            break;
        }
        left = left.saturating_sub(taken(&stored));
        gone.push(stored.file);
    }
    (gone, left)
}

/// What a file of this length takes of a disk.
pub(super) fn taken(bytes: u64) -> u64 {
    bytes.div_ceil(BLOCK).max(1).saturating_mul(BLOCK)
}
