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

/// Repositories remembered, tags of each, sources per tag, and digests per manifest; an index names some ten, an image rarely a
/// hundred.
const REPOSITORIES: usize = 64;
const TAGS: usize = 4;
const SOURCES: usize = 8;
const NAMES: usize = 128;

/// The answers by repository and by who asked. Content is looked for among the tags of its repository alone.
#[derive(Debug)]
pub(crate) struct TagAnswers(SharedTtlMap<Key, Vec<Tag>>);

type Key = (RegistryName, Repository, Trust);

/// What was answered for one tag.
#[derive(Debug)]
struct Tag {
    tag: Pulled,
    answers: Vec<Answer>,
}

/// An answer that is refuted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refuted {
    pub(crate) tag: Pulled,
    pub(crate) endpoint: EndpointId,
    /// The manifest that it names.
    pub(crate) top: Digest,
}

/// How a source's answer for a tag compares with what is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answered {
    /// It said the same before.
    Again,
    /// It did not. `like`: who gave this answer before; what is known of one is known of both.
    Anew { like: Option<EndpointId> },
}

/// One source's answer.
#[derive(Clone, Debug)]
struct Answer {
    endpoint: EndpointId,
    /// The manifest that it names, and its length.
    top: Digest,
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

    /// A tier answered for a tag with a manifest of this digest and length.
    pub(crate) fn answered(
        &self,
        tag: &Pulled,
        endpoint: &EndpointId,
        (top, length): (&Digest, u64),
        now: Instant,
    ) -> Answered {
        self.0.change(|repositories| {
            let key = key(tag);
            if repositories.get(&key, now).is_none() {
                repositories.put(key.clone(), Vec::new(), tag.trust, now);
            }
            repositories.used(&key, tag.trust);
            let tags = repositories.get_mut(&key, now);
            let Some(answers) = tags.and_then(|tags| answers_for(tags, tag)) else {
                return Answered::Again;
            };
            let is_same = |answer: &&Answer| answer.top == *top && answer.length == length;
            let mut same = answers.iter().filter(is_same);
            if same.clone().any(|answer| answer.endpoint == *endpoint) {
                return Answered::Again;
            }
            let twin = same.next().cloned();
            answers.retain(|answer| answer.endpoint != *endpoint);
            if answers.len() >= SOURCES {
                answers.remove(0);
            }
            answers.push(Answer {
                endpoint: endpoint.clone(),
                top: top.clone(),
                length,
                names: twin
                    .as_ref()
                    .map(|twin| twin.names.clone())
                    .unwrap_or_default(),
            });
            Answered::Anew {
                like: twin.map(|twin| twin.endpoint),
            }
        })
    }

    /// A manifest was read: answers that name it name what it lists.
    pub(crate) fn lists(&self, manifest: &Pulled, descriptors: &[Descriptor]) {
        let listed = descriptors.iter().take(NAMES);
        let names = Arc::new(listed.map(|one| (one.digest.clone(), one.size)).collect());
        self.of_repository(manifest, |_, answer, digest| {
            if answer.top == *digest {
                answer.names = Arc::clone(&names);
            }
        });
    }

    /// The answers that name content which is nowhere, or with another size than it has: those are wrong.
    pub(crate) fn refuted(&self, content: &Pulled, size: Option<u64>) -> Vec<Refuted> {
        let mut refuted = Vec::new();
        self.of_repository(content, |tag, answer, digest| {
            let told = answer.size_of(digest);
            if told.is_some() && told != size {
                refuted.push(Refuted {
                    tag: tag.clone(),
                    endpoint: answer.endpoint.clone(),
                    top: answer.top.clone(),
                });
            }
        });
        refuted
    }

    /// Looks at the answers for each tag of a content's repository that such clients asked for.
    fn of_repository(&self, content: &Pulled, mut act: impl FnMut(&Pulled, &mut Answer, &Digest)) {
        let Some(digest) = content
            .image
            .reference
            .digest()
            .filter(|_| !self.0.is_empty())
        else {
            return;
        };
        self.0.change(|repositories| {
            // They do not expire.
            let tags = repositories.get_mut(&key(content), Instant::now());
            for Tag { tag, answers } in tags.into_iter().flatten() {
                answers
                    .iter_mut()
                    .for_each(|answer| act(tag, answer, digest));
            }
        });
    }
}

fn key(of: &Pulled) -> Key {
    let (registry, repository) = (&of.image.registry, &of.image.repository);
    (registry.clone(), repository.clone(), of.trust)
}

/// The answers for a tag of the repository. The tag that was asked for longest ago makes way for a new one.
fn answers_for<'a>(tags: &'a mut Vec<Tag>, tag: &Pulled) -> Option<&'a mut Vec<Answer>> {
    let known = tags.iter().position(|known| known.tag == *tag);
    let known = known.map(|index| tags.remove(index));
    if known.is_none() && tags.len() >= TAGS {
        tags.remove(0);
    }
    tags.push(known.unwrap_or_else(|| Tag {
        tag: tag.clone(),
        answers: Vec::new(),
    }));
    tags.last_mut().map(|tag| &mut tag.answers)
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
