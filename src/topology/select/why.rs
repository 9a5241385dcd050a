//! Why a candidate stands where it stands.

use crate::printable::words;

words! {
    /// Why a candidate stands where it stands, for logs and reports.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub enum Why {
        /// Health has nothing against it.
        Healthy = "healthy",
        /// It was ejected; one request at a time tries it.
        Probation = "probation",
        /// It has many requests now: wait a little for another, if this is the first (design P12).
        Loaded = "loaded",
        /// A connect to it has been pending for too long.
        Suspect = "suspect",
        /// It is ejected and asked only because the rest failed.
        FailOpen = "fail_open",
    }
}
