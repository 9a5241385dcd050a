//! What follows for addresses from what was found wrong: rows of the reputation, said once each.

use super::memory::{Answered, Pulled, Refuted};
use super::reputation::{Fault, Subject};
use crate::cache::Trust;
use crate::oci::Digest;
use crate::relay::context::Context;
use crate::telemetry::{EventName, StateChange};
use crate::topology::EndpointId;
use tokio::time::Instant;

impl Context {
    /// An address did that when such a client asked for it.
    pub(crate) fn saw(
        &self,
        fault: &Fault,
        endpoint: &EndpointId,
        (subject, trust): (&Subject, Trust),
    ) {
        let now = Instant::now();
        self.reputation.saw(fault, endpoint, (subject, trust), now);
    }

    /// Wrong bytes of a digest came, where `image` was asked for.
    pub(crate) fn wrong_bytes(
        &self,
        endpoint: &EndpointId,
        pulled: &Pulled,
        digest: &Digest,
        detail: &str,
    ) {
        self.sinks.metrics.digest_mismatch(endpoint.source.label());
        let fault = Fault::WrongBytes(digest.clone());
        self.saw(&fault, endpoint, (&(&pulled.image).into(), pulled.trust));
        self.sinks.journal.event(StateChange {
            event: EventName::DigestMismatch,
            tier: Some(endpoint.source.label().to_owned()),
            endpoint: Some(endpoint.address.to_string()),
            reason: format!("{digest}: {detail}"),
            message: format!("{endpoint} sent wrong bytes for {digest}: {detail}; it is not asked for it for 10 minutes, and stands behind the others for 5"),
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
            let of = (&Subject::from(&pulled.image), pulled.trust);
            self.saw(&Fault::Unproven, &endpoint, of);
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
        self.reputation
            .makes_good(endpoint, &pulled.image, pulled.trust);
    }

    /// A tier answered for a tag: what is known against who gave the same answer before is known of both.
    pub(crate) fn answered_for_tag(
        &self,
        tag: &Pulled,
        endpoint: &EndpointId,
        (top, length): (&Digest, u64),
    ) {
        let (now, told) = (Instant::now(), (top, length));
        let answered = self.memories.tags.answered(tag, endpoint, told, now);
        let Answered::Anew { like } = answered else {
            return;
        };
        let Pulled { image, trust } = tag;
        if like.is_some_and(|twin| self.reputation.holds(&twin, image, *trust, now)) {
            let refuted = Refuted {
                tag: tag.clone(),
                endpoint: endpoint.clone(),
                top: top.clone(),
            };
            self.refuted(vec![refuted]);
        } else {
            self.reputation.makes_good(endpoint, image, *trust);
        }
    }

    /// Content has this size: who named it with another for a tag was wrong.
    pub(crate) fn has_size(&self, content: &Pulled, size: u64) {
        self.refuted(self.memories.tags.has_size(content, size));
    }

    /// Content is nowhere: who named it for a tag was wrong.
    pub(crate) fn is_nowhere(&self, content: &Pulled) {
        self.refuted(self.memories.tags.is_nowhere(content));
    }

    fn refuted(&self, refuted: Vec<Refuted>) {
        for Refuted { tag, endpoint, top } in refuted {
            let Pulled { image: tag, trust } = tag;
            let now = Instant::now();
            if self.reputation.holds(&endpoint, &tag, trust, now) {
                continue;
            }
            self.saw(&Fault::Unconfirmed, &endpoint, (&(&tag).into(), trust));
            self.sinks.journal.event(StateChange {
                event: EventName::TagUnconfirmed,
                tier: Some(endpoint.source.label().to_owned()),
                endpoint: Some(endpoint.address.to_string()),
                reason: format!("{tag} is {top}"),
                message: format!(
                    "{endpoint} answered {tag} with {top}, and something that it names is nowhere or has another size; for 5 \
                     minutes it is asked for this tag after everybody else"
                ),
            });
        }
    }
}
