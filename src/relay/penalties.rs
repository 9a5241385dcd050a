//! What follows for addresses from what was found wrong: rows of the reputation, said once each.

use super::memory::Pulled;
use super::reputation::{Fault, LONG, MEDIUM, Subject};
use crate::oci::Digest;
use crate::relay::context::Context;
use crate::telemetry::{EventName, StateChange, human_duration};
use crate::topology::EndpointId;
use tokio::time::Instant;

impl Context {
    /// An address did that when it was asked for this.
    pub(crate) fn saw(&self, fault: &Fault, endpoint: &EndpointId, pulled: &Pulled) {
        let (of, now) = (Subject::from(pulled), Instant::now());
        self.reputation.saw(fault, endpoint, &of, now);
    }

    /// Wrong bytes of a digest came, where `pulled` was asked for.
    pub(crate) fn wrong_bytes(
        &self,
        endpoint: &EndpointId,
        pulled: &Pulled,
        digest: &Digest,
        detail: &str,
    ) {
        self.sinks.metrics.digest_mismatch(endpoint.source.label());
        self.saw(&Fault::WrongBytes(digest.clone()), endpoint, pulled);
        let (content, all) = (human_duration(LONG), human_duration(MEDIUM));
        self.sinks.journal.event(StateChange {
            event: EventName::DigestMismatch,
            tier: Some(endpoint.source.label().to_owned()),
            endpoint: Some(endpoint.address.to_string()),
            reason: format!("{digest}: {detail}"),
            message: format!("{endpoint} sent wrong bytes for {digest}: {detail}; it is not asked for it for {content}, and stands behind the others for {all}"),
        });
    }

    /// Somebody pulls a blob from its first byte on. Whose bytes of it nobody could prove the last time is suspect.
    pub(crate) fn pull_begins(&self, pulled: &Pulled) {
        let unproven = &self.memories.unproven;
        if unproven.is_empty() {
            return;
        }
        let given = unproven.change(|given| given.remove(pulled));
        for endpoint in given.unwrap_or_default() {
            self.saw(&Fault::Unproven, &endpoint, pulled);
        }
    }

    /// Bytes of a blob go out without a proof. Who was held back for it gives all the rest as well: nobody else was left.
    pub(crate) fn gives_unproven(&self, endpoint: &EndpointId, pulled: &Pulled) {
        let now = Instant::now();
        self.memories.unproven.change(|given| {
            let mut by = given.get(pulled, now).cloned().unwrap_or_default();
            if !by.contains(endpoint) {
                by.push(endpoint.clone());
            }
            given.put(pulled.clone(), by, pulled.trust, now);
        });
        self.reputation.clear(endpoint, pulled);
    }

    /// A tier answered for a tag: what is known against its last answer is not known against another one, but what is known against
    /// who gave the same answer is known of both.
    pub(crate) fn answered_for_tag(
        &self,
        tag: &Pulled,
        endpoint: &EndpointId,
        top: &Digest,
        length: u64,
    ) {
        let (now, tags) = (Instant::now(), &self.memories.tags);
        let Some(like) = tags.answered(tag, endpoint, top, length, now) else {
            return;
        };
        let is_held = |twin| self.reputation.holds(twin, tag, now);
        match like.iter().any(is_held) {
            true => self.is_refuted(tag, endpoint, top),
            false => self.reputation.clear(endpoint, tag),
        }
    }

    /// Content has this size, or is nowhere: who named it otherwise for a tag was wrong.
    pub(crate) fn has_size(&self, content: &Pulled, size: Option<u64>) {
        for answer in self.memories.tags.refuted(content, size) {
            self.is_refuted(&answer.tag, &answer.endpoint, &answer.top);
        }
    }

    fn is_refuted(&self, tag: &Pulled, endpoint: &EndpointId, top: &Digest) {
        if self.reputation.holds(endpoint, tag, Instant::now()) {
            return;
        }
        let image = &tag.image;
        self.saw(&Fault::Unconfirmed, endpoint, tag);
        self.sinks.journal.event(StateChange {
            event: EventName::TagUnconfirmed,
            tier: Some(endpoint.source.label().to_owned()),
            endpoint: Some(endpoint.address.to_string()),
            reason: format!("{image} is {top}"),
            message: format!(
                "{endpoint} answered {image} with {top}, and something that it names is nowhere or has another size; for {} it \
                 is asked for this tag after everybody else",
                human_duration(MEDIUM)
            ),
        });
    }
}
