//! The part of the report that an image without a registry has.

use super::{RefusalReport, Report, SourceReport};
use crate::cli::explain::image::Image;
use serde::Serialize;

/// Where an image without a registry is looked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(in crate::cli::explain) struct RouterReport {
    /// What is looked for.
    pub(in crate::cli::explain) repository: String,
    /// `[router] order` is written.
    pub(in crate::cli::explain) strict: bool,
    /// In order of preference.
    pub(in crate::cli::explain) candidates: Vec<RouterCandidate>,
    /// The registry that is chosen; `null` without `--probe`, and where none is.
    pub(in crate::cli::explain) chosen: Option<String>,
    /// Why that one, or none.
    pub(in crate::cli::explain) why: String,
}

/// A registry that is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(in crate::cli::explain) struct RouterCandidate {
    pub(in crate::cli::explain) registry: String,
    /// `yes`, `no` or `unknown`; `null` without `--probe`.
    pub(in crate::cli::explain) has_manifest: Option<&'static str>,
    /// Why it may not be asked.
    pub(in crate::cli::explain) refusal: Option<String>,
    pub(in crate::cli::explain) sources: Vec<SourceReport>,
}

// === impl Report ===

impl Report {
    /// Of a name that leads to no image: what is wrong with it.
    pub(in crate::cli::explain) fn outside(image: &Image, what: String) -> Self {
        Self {
            refusal: Some(RefusalReport {
                kind: "outside_the_project",
                what,
                instead: "write the project of [router] behind the name".to_owned(),
            }),
            ..Self::empty(image)
        }
    }
}
