//! A source as the client knows it: with its TLS settings, built once.

use super::tls::{self, BuildError, SourceTls};
use crate::topology::Source;
use std::sync::{Arc, OnceLock};

/// A source with its TLS settings. A changed source is another one.
pub(super) struct Known {
    pub(super) source: Arc<Source>,
    /// Or why they cannot be built. A source without TLS needs them only for the hosts that it names.
    tls: OnceLock<Result<SourceTls, Arc<BuildError>>>,
}

// === impl Known ===

impl Known {
    /// Builds the TLS settings at once where they are needed for certain.
    pub(super) fn new(source: &Arc<Source>) -> Arc<Self> {
        let known = Self {
            source: source.clone(),
            tls: OnceLock::new(),
        };
        if source.url.https {
            let _built = known.tls();
        }
        Arc::new(known)
    }

    /// The TLS settings, or why they cannot be built.
    pub(super) fn tls(&self) -> &Result<SourceTls, Arc<BuildError>> {
        self.tls.get_or_init(|| {
            let also = tls::other_name(&self.source);
            SourceTls::new(&self.source.tls, also).map_err(Arc::new)
        })
    }

    pub(super) fn is_of(&self, source: &Arc<Source>) -> bool {
        Arc::ptr_eq(&self.source, source) || self.source == *source
    }
}
