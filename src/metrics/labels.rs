//! Label sets, and the interner that keeps their values few.

use parking_lot::RwLock;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use std::collections::HashSet;
use std::fmt::{self, Write};
use std::sync::Arc;

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

macro_rules! label_sets {
    ($($name:ident { $($label:ident: $value:ty),+ })+) => {$(
        #[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
        pub(super) struct $name { $(pub(super) $label: $value,)+ }
    )+};
}

label_sets! {
    RequestLabels { kind: &'static str, registry: Label, outcome: &'static str, tier: Label }
    KindTierLabels { kind: &'static str, tier: Label }
    TierLabels { tier: Label }
    TierResultLabels { tier: Label, result: &'static str }
    FailoverLabels { from: Label, to: Label, reason: &'static str }
    ResumeLabels { from: Label, to: Label }
    PolicyLabels { tier: Label, reason: &'static str }
    RegistryLabels { registry: Label }
    EndpointLabels { tier: Label, endpoint: String }
    HostsWriteLabels { runtime: &'static str, result: &'static str }
    MemoryLabels { what: &'static str }
    ResultLabels { result: &'static str }
    ReasonLabels { reason: &'static str }
    StateLabels { state: &'static str }
    VersionLabels { version: &'static str }
}

impl EncodeLabelValue for Label {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        encoder.write_str(&self.0)
    }
}

impl Interner {
    pub(super) fn intern(&self, text: &str) -> Label {
        if let Some(known) = self.0.read().get(text) {
            return Label(known.clone());
        }
        let mut values = self.0.write();
        let text = if values.len() < VALUES { text } else { OTHER };
        let value: Arc<str> = text.into();
        values.insert(value.clone());
        Label(value)
    }
}
