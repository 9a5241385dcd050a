//! What the budget's bytes are held for, with the words of the metric.

use std::fmt;

/// What bytes are held for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Manifests: being read, unread by clients, kept for 30 s, on their way to the disk.
    Manifests,
    /// Lists of tags and referrers: being read, unread by clients.
    Lists,
    /// Layers: what their streams read from sources and have not sent to clients.
    Layers,
    /// Tokens that were fetched.
    Tokens,
    /// The table of known sizes.
    Sizes,
    /// Records that wait for the log.
    LogRecords,
}

/// How many kinds there are.
pub(super) const KINDS: usize = 6;

// === impl Kind ===

impl Kind {
    pub(super) const ALL: [Self; KINDS] = [
        Self::Manifests,
        Self::Lists,
        Self::Layers,
        Self::Tokens,
        Self::Sizes,
        Self::LogRecords,
    ];

    /// The label `what` of `memory_bytes`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Manifests => "manifests",
            Self::Lists => "lists",
            Self::Layers => "layers",
            Self::Tokens => "tokens",
            Self::Sizes => "sizes",
            Self::LogRecords => "log_records",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
