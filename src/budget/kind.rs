//! What the budget's bytes are held for, with the words of the metric.

use crate::printable::words;
use std::fmt;

words! {
    /// What bytes are held for.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Kind {
        /// Manifests: being read, unread by clients, kept for 30 s, on their way to the disk.
        Manifests = "manifests",
        /// Lists of tags and referrers: being read, unread by clients.
        Lists = "lists",
        /// Layers: what their streams read from sources and have not sent to clients.
        Layers = "layers",
        /// Tokens that were fetched.
        Tokens = "tokens",
        /// The table of known sizes.
        Sizes = "sizes",
        /// Records that wait for the log.
        LogRecords = "log_records",
    }
}

/// How many kinds there are.
pub(super) const KINDS: usize = Kind::ALL.len();

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
