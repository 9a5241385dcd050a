//! What tiers answered for tags, and what of it is nowhere (design P13).
//!
//! An answer for a tag names content: its manifest, by digest and length, and what that manifest lists. Where some of it is nowhere,
//! or has another size, whoever gave the answer stands behind all others for that tag for a while: a pull that begins with it cannot
//! end. Pure: the clock is told to it.
//!
//! What a client does with an answer tells of that one alone: tags are kept by the kinds of manifest that it takes and by whether
//! it is trusted, and only content of the tag's own repository refutes it (design S8).

use super::Image;
use crate::cache::{Bounds, SharedTtlMap, Trust};
use crate::lifecycle::deadline;
use crate::oci::{Descriptor, Digest};
use crate::topology::EndpointId;
use foldhash::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long an answer counts against its source: kubelet's longest wait between two tries.
const BEHIND: Duration = Duration::from_secs(300);

/// Tags remembered, sources per tag, and digests per manifest; an index names some ten, an image rarely a hundred.
const TAGS: usize = 256;
const SOURCES: usize = 8;
const NAMES: usize = 128;

/// The answers by tag and by who asked for it.
#[derive(Debug)]
pub(crate) struct TagAnswers(SharedTtlMap<Key, Vec<Answer>>);

type Key = (Image, Trust);

/// Who stands behind the others for a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refuted {
    pub(crate) endpoint: EndpointId,
    /// What it answered.
    pub(crate) top: Digest,
    /// Nobody was told of it yet.
    pub(crate) is_news: bool,
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
    refuted: Option<Instant>,
    is_said: bool,
}

// === impl TagAnswers ===

impl TagAnswers {
    pub(super) fn new() -> Self {
        Self(SharedTtlMap::new(Bounds::entries(Duration::MAX, TAGS)))
    }

    /// A tier answered for a tag with a manifest of this digest and length.
    pub(crate) fn answered(
        &self,
        tag: &Key,
        endpoint: &EndpointId,
        (top, length): (&Digest, u64),
        now: Instant,
    ) {
        self.0.change(|tags| {
            if tags.get(tag, now).is_none() {
                tags.put(tag.clone(), Vec::new(), tag.1, now);
            }
            tags.used(tag, tag.1);
            let Some(answers) = tags.get_mut(tag, now) else {
                return;
            };
            let is_same = |answer: &&Answer| answer.top == *top && answer.length == length;
            let mut same = answers.iter().filter(is_same);
            if same.clone().any(|answer| answer.endpoint == *endpoint) {
                return;
            }
            // The same from elsewhere: what is known of one is known of both.
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
                    .map_or_else(Arc::default, |twin| twin.names.clone()),
                refuted: twin.and_then(|twin| twin.refuted),
                is_said: false,
            });
        });
    }

    /// A manifest was read: answers that name it name what it lists.
    pub(crate) fn lists(&self, (manifest, trust): (&Image, Trust), descriptors: &[Descriptor]) {
        let listed = descriptors.iter().take(NAMES);
        let names = Arc::new(listed.map(|one| (one.digest.clone(), one.size)).collect());
        self.of_repository((manifest, trust), |answer, digest| {
            if answer.top == *digest {
                answer.names = Arc::clone(&names);
            }
        });
    }

    /// Content has this size: whoever named it with another was wrong.
    pub(crate) fn has_size(&self, content: (&Image, Trust), size: u64, now: Instant) {
        self.of_repository(content, |answer, digest| {
            if answer.size_of(digest).is_some_and(|told| told != size) {
                answer.is_refuted(now);
            }
        });
    }

    /// Content is nowhere, or not of the size that was told: whoever named it was wrong.
    pub(crate) fn is_nowhere(&self, content: (&Image, Trust), now: Instant) {
        self.of_repository(content, |answer, digest| {
            if answer.size_of(digest).is_some() {
                answer.is_refuted(now);
            }
        });
    }

    /// Who is asked for the tag only when nobody else is left.
    pub(crate) fn refuted(&self, tag: &Key, now: Instant) -> Vec<Refuted> {
        if self.0.is_empty() {
            return Vec::new();
        }
        self.0.change(|tags| {
            tags.used(tag, tag.1);
            let Some(answers) = tags.get_mut(tag, now) else {
                return Vec::new();
            };
            let behind = answers.iter_mut().filter(|answer| answer.is_behind(now));
            let behind = behind.map(|answer| Refuted {
                endpoint: answer.endpoint.clone(),
                top: answer.top.clone(),
                is_news: !std::mem::replace(&mut answer.is_said, true),
            });
            behind.collect()
        })
    }

    /// Changes the answers for each tag of a content's repository that such clients asked for.
    fn of_repository(&self, (content, trust): (&Image, Trust), act: impl Fn(&mut Answer, &Digest)) {
        let Some(digest) = content.reference.digest().filter(|_| !self.0.is_empty()) else {
            return;
        };
        self.0.change(|tags| {
            let tags = tags.iter_mut();
            let beside = tags.filter(|((tag, of), _)| *of == trust && tag.is_beside(content));
            let answers = beside.flat_map(|(_, answers)| answers);
            answers.for_each(|answer| act(answer, digest));
        });
    }
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

    fn is_refuted(&mut self, now: Instant) {
        if !self.is_behind(now) {
            (self.refuted, self.is_said) = (Some(now), false);
        }
    }

    fn is_behind(&self, now: Instant) -> bool {
        self.refuted
            .is_some_and(|since| now < deadline(since, BEHIND))
    }
}

#[cfg(test)]
mod tests;
