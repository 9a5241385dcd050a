//! Label sets, and the interner that keeps their values few.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use std::collections::HashSet;
use std::fmt::{self, Write};
use std::sync::{Arc, PoisonError, RwLock};

/// What a value counts as when there are too many.
pub(super) const OTHER: &str = "other";

/// Different values of labels that come from the configuration: registries and tiers. A node has a dozen.
const VALUES: usize = 256;

/// A label's value, shared.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Label(pub(super) Arc<str>);

/// Makes texts into shared labels, without taking memory for one that is known.
#[derive(Debug, Default)]
pub(super) struct Interner(RwLock<HashSet<Arc<str>>>);

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RequestLabels {
    pub(super) kind: &'static str,
    pub(super) registry: Label,
    pub(super) outcome: &'static str,
    pub(super) tier: Label,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct KindTierLabels {
    pub(super) kind: &'static str,
    pub(super) tier: Label,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct TierLabels {
    pub(super) tier: Label,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct AttemptLabels {
    pub(super) tier: Label,
    pub(super) result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ResultLabels {
    pub(super) result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct FailoverLabels {
    pub(super) from: Label,
    pub(super) to: Label,
    pub(super) reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ResumeLabels {
    pub(super) from: Label,
    pub(super) to: Label,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct PolicyLabels {
    pub(super) tier: Label,
    pub(super) reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RegistryLabels {
    pub(super) registry: Label,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct EndpointLabels {
    pub(super) tier: Label,
    pub(super) endpoint: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct HostsWriteLabels {
    pub(super) runtime: &'static str,
    pub(super) result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct MemoryLabels {
    pub(super) what: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ReasonLabels {
    pub(super) reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct StateLabels {
    pub(super) state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct VersionLabels {
    pub(super) version: &'static str,
}

impl EncodeLabelValue for Label {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        encoder.write_str(&self.0)
    }
}

impl Interner {
    pub(super) fn intern(&self, text: &str) -> Label {
        {
            let values = self.0.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(known) = values.get(text) {
                return Label(known.clone());
            }
        }
        let mut values = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let text = if values.len() < VALUES { text } else { OTHER };
        let value: Arc<str> = text.into();
        values.insert(value.clone());
        Label(value)
    }
}
