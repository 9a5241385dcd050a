//! Why a candidate stands where it stands, for logs and reports.

/// Why a candidate stands where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    /// Health has nothing against it.
    Healthy,
    /// It was ejected; one request at a time tries it.
    Probation,
    /// It has many requests now: wait a little for another, if this is the first (design P12).
    Loaded,
    /// A connect to it has been pending for too long.
    Suspect,
    /// It is ejected and asked only because the rest failed.
    FailOpen,
}

// === impl Why ===

impl Why {
    /// The word for logs and reports.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Probation => "probation",
            Self::Loaded => "loaded",
            Self::Suspect => "suspect",
            Self::FailOpen => "fail_open",
        }
    }
}
