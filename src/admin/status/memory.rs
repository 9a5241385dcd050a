//! What waits in memory, as `/status` shows it.

use crate::budget::Usage;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What waits in memory, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryStatus {
    /// `[limits] memory`.
    pub limit: u64,
    /// By what they are: manifests, lists, layers, tokens, sizes, log records.
    pub bytes: BTreeMap<String, u64>,
    /// Answers that were refused because memory was full, since the start.
    pub refused: u64,
}

// === impl MemoryStatus ===

impl MemoryStatus {
    pub(super) fn new(usage: Usage) -> Self {
        let bytes = usage.bytes.into_iter();
        Self {
            limit: usage.limit,
            bytes: bytes.map(|(what, n)| (what.to_owned(), n)).collect(),
            refused: usage.refused,
        }
    }
}
