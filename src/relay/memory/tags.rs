//! What tiers answered for tags, and what of it is nowhere (design P13).
//!
//! An answer for a tag names content: its manifest, by digest and length, and what that manifest lists. Where some of it is nowhere,
//! or has another size, the answer is refuted: a pull that begins with it cannot end. What follows for who gave it is a row of the
//! reputation. Pure: the clock is told to it.
//!
//! What a client does with an answer tells of that one alone: tags are kept by the kinds of manifest that it takes and by whether
//! it is trusted, and only content of the tag's own repository refutes it (design S8).

use super::Pulled;
use crate::cache::{Bounds, SharedTtlMap, Trust};
use crate::oci::{Descriptor, Digest, RegistryName, Repository};
use crate::topology::EndpointId;
use foldhash::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Repositories remembered, answers of each (four tags at eight addresses), and digests per manifest; an index names some ten, an
/// image rarely a hundred.
const REPOSITORIES: usize = 64;
const ANSWERS: usize = 32;
const NAMES: usize = 128;

/// The answers by repository and by who asked, each list with the newest answer at its end. Content is looked for among the answers
/// of its repository alone.
#[derive(Debug)]
pub(crate) struct TagAnswers(SharedTtlMap<Key, Vec<Answer>>);

type Key = (RegistryName, Repository, Trust);

/// What one source answered for a tag.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) tag: Pulled,
    pub(crate) endpoint: EndpointId,
    /// The manifest that it names, and its length.
    pub(crate) top: Digest,
    length: u64,
    /// What that lists, with sizes; empty while nobody has read it.
    names: Arc<HashMap<Digest, u64>>,
}

// === impl TagAnswers ===

impl TagAnswers {
    pub(super) fn new() -> Self {
        Self(SharedTtlMap::new(Bounds::entries(
            Duration::MAX,
            REPOSITORIES,
        )))
    }

    /// A tier answered for a tag with a manifest of this digest and length. `None`: it said so before. Else who gave the same answer:
    /// what is known of one is known of all. Who answered longest ago makes way.
    pub(crate) fn answered(
        &self,
        tag: &Pulled,
        endpoint: &EndpointId,
        top: &Digest,
        length: u64,
        now: Instant,
    ) -> Option<Vec<EndpointId>> {
        self.0.change(|repositories| {
            let key = key(tag);
            let mut answers = repositories.remove(&key).unwrap_or_default();
            let is_own = |answer: &Answer| answer.tag == *tag && answer.endpoint == *endpoint;
            let own = answers.iter().position(is_own);
            let own = own.map(|place| answers.remove(place));
            let is_same = |answer: &&Answer| {
                answer.tag == *tag && answer.top == *top && answer.length == length
            };
            let again = own.filter(|own| is_same(&own));
            let same = answers.iter().filter(is_same);
            let like = same.map(|same| same.endpoint.clone());
            let like = again.is_none().then(|| like.collect());
            let same = again.or_else(|| answers.iter().find(is_same).cloned());
            if answers.len() >= ANSWERS {
                answers.remove(0);
            }
            answers.push(Answer {
                tag: tag.clone(),
                endpoint: endpoint.clone(),
                top: top.clone(),
                length,
                names: same.map(|same| same.names).unwrap_or_default(),
            });
            repositories.put(key, answers, tag.trust, now);
            like
        })
    }

    /// A manifest was read: answers that name it name what it lists.
    pub(crate) fn lists(&self, manifest: &Pulled, descriptors: &[Descriptor]) {
        let Some(digest) = manifest.image.reference.digest() else {
            return;
        };
        let listed = descriptors.iter().take(NAMES);
        let names = Arc::new(listed.map(|one| (one.digest.clone(), one.size)).collect());
        self.0.change(|repositories| {
            // They do not expire.
            let answers = repositories.get_mut(&key(manifest), Instant::now());
            for answer in answers.into_iter().flatten() {
                if answer.top == *digest {
                    answer.names = Arc::clone(&names);
                }
            }
        });
    }

    /// The answers that name content which is nowhere, or with another size than it has: those are wrong.
    pub(crate) fn refuted(&self, content: &Pulled, size: Option<u64>) -> Vec<Answer> {
        let digest = content.image.reference.digest();
        let Some(digest) = digest.filter(|_| !self.0.is_empty()) else {
            return Vec::new();
        };
        let is_wrong = |answer: &&Answer| {
            let told = answer.size_of(digest);
            told.is_some() && told != size
        };
        self.0.read(|repositories| {
            let answers = repositories.get(&key(content), Instant::now());
            let answers = answers.into_iter().flatten();
            answers.filter(is_wrong).cloned().collect()
        })
    }
}

fn key(of: &Pulled) -> Key {
    let (registry, repository) = (&of.image.registry, &of.image.repository);
    (registry.clone(), repository.clone(), of.trust)
}

// === impl Answer ===

impl Answer {
    /// The size that it tells of content; `None`: it does not name it.
    fn size_of(&self, digest: &Digest) -> Option<u64> {
        if self.top == *digest {
            return Some(self.length);
        }
        self.names.get(digest).copied()
    }
}

#[cfg(test)]
mod tests;
