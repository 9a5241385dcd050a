//! What tiers answered for tags without a digest that proves it (design P8, P13), and whether anything came of it.
//!
//! Nobody can tell a wrong byte in such a manifest but containerd, which then asks for content that nobody has, or for
//! none at all. So an answer is believed for as long as a pull needs; when the tag is asked for again and none of the
//! content that it names was served meanwhile, whoever gave it stands behind all others. Pure: the clock is told to it.
//!
//! What a client does with an answer tells of that one alone: tags are kept by the kinds of manifest that it takes and by whether
//! it is trusted, and only content of the tag's own repository confirms or refutes it (design S8).

use super::Image;
use crate::cache::{Bounds, SharedTtlMap, Trust};
use crate::lifecycle::deadline;
use crate::oci::{Descriptor, Digest};
use crate::topology::EndpointId;
use foldhash::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A HEAD and the GET that follows it, and pods that start together, ask for a tag within this time. Nothing can have
/// come of the first one by then.
const SAME_PULL: Duration = Duration::from_secs(1);

/// How long an answer of which nothing came counts against its source: kubelet's longest wait between two tries.
const DOUBT: Duration = Duration::from_secs(300);

/// How long it is known that something came of an answer: what a digest stands for does not change, but tags move.
const TRUST: Duration = Duration::from_secs(24 * 3600);

/// Tags remembered, sources per tag, and digests per answer; an index names some ten, an image rarely a hundred.
const IMAGES: usize = 256;
const SOURCES: usize = 8;
const NAMES: usize = 128;

/// The answers by tag and by who asked for it.
#[derive(Debug)]
pub(crate) struct UnprovedTags(SharedTtlMap<Key, Tag>);

type Key = (Image, Trust);

/// Who stands behind the others for a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Doubted {
    pub(crate) endpoint: EndpointId,
    /// What it answered.
    pub(crate) top: Digest,
    /// Nobody was told of it yet.
    pub(crate) is_news: bool,
}

#[derive(Debug)]
struct Tag {
    /// What a client was last given: what it asks for next belongs to that.
    latest: Digest,
    /// What an answer with a digest said.
    proved: Option<Digest>,
    answers: Vec<Unproved>,
}

/// One source's answer.
#[derive(Debug)]
struct Unproved {
    endpoint: EndpointId,
    top: Digest,
    /// What it names, with sizes.
    names: Arc<HashMap<Digest, u64>>,
    since: Instant,
    standing: Standing,
    is_said: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Nothing has come of it yet.
    Open,
    /// Content that it names was served.
    Confirmed,
    /// Content that it names is nowhere.
    Refuted,
}

// === impl UnprovedTags ===

impl UnprovedTags {
    pub(super) fn new() -> Self {
        Self(SharedTtlMap::new(Bounds::entries(Duration::MAX, IMAGES)))
    }

    /// A tier answered for a tag, and nothing proves its body.
    pub(crate) fn answered(
        &self,
        tag: &Key,
        endpoint: &EndpointId,
        top: &Digest,
        descriptors: &[Descriptor],
        now: Instant,
    ) {
        self.0.change(|tags| {
            if tags.get(tag, now).is_none() {
                tags.put(tag.clone(), Tag::new(top.clone()), tag.1, now);
            }
            tags.used(tag, tag.1);
            if let Some(tag) = tags.get_mut(tag, now) {
                tag.answered(endpoint, top, descriptors, now);
            }
        });
    }

    /// A body that was remembered is given once more, or one that is not to be doubted.
    pub(crate) fn given(&self, tag: &Key, top: &Digest, now: Instant) {
        self.with(tag, now, |tag| tag.gives(top));
    }

    /// An answer came with its digest: who gave the same without one was right.
    pub(crate) fn proved(&self, tag: &Key, top: &Digest, now: Instant) {
        self.with(tag, now, |tag| {
            tag.gives(top);
            tag.proved = Some(top.clone());
            tag.answers.retain(|answer| answer.top != *top);
        });
    }

    /// Content was served to such a client: whoever named it in the answer that the client had was right.
    pub(crate) fn served(&self, (content, trust): (&Image, Trust), size: u64, now: Instant) {
        self.of_repository((content, trust), |tag, digest| {
            let Tag {
                latest, answers, ..
            } = tag;
            for answer in answers.iter_mut() {
                let fits = || answer.names.get(digest) == Some(&size);
                if answer.standing == Standing::Open && answer.top == *latest && fits() {
                    answer.standing = Standing::Confirmed;
                    answer.since = now;
                }
            }
        });
    }

    /// Content is nowhere, or not of the size that was told: whoever named it was wrong, whatever else was served.
    pub(crate) fn missing(&self, (content, trust): (&Image, Trust), now: Instant) {
        self.of_repository((content, trust), |tag, digest| {
            for answer in &mut tag.answers {
                if answer.standing != Standing::Refuted && answer.names.contains_key(digest) {
                    answer.standing = Standing::Refuted;
                    answer.since = now;
                }
            }
        });
    }

    /// Who is asked for the tag only when nobody else is left.
    pub(crate) fn doubted(&self, tag: &Key, now: Instant) -> Vec<Doubted> {
        let doubted = self.with(tag, now, |tag| {
            let doubted = tag.answers.iter_mut().filter(|a| a.is_doubted(now));
            let doubted = doubted.map(|answer| Doubted {
                endpoint: answer.endpoint.clone(),
                top: answer.top.clone(),
                is_news: !std::mem::replace(&mut answer.is_said, true),
            });
            doubted.collect()
        });
        doubted.unwrap_or_default()
    }

    /// Changes what is known of a tag, if anything is.
    fn with<T>(&self, tag: &Key, now: Instant, act: impl FnOnce(&mut Tag) -> T) -> Option<T> {
        if self.0.is_empty() {
            return None;
        }
        self.0.change(|tags| {
            tags.used(tag, tag.1);
            tags.get_mut(tag, now).map(act)
        })
    }

    /// Changes what is known of each tag of a content's repository that such clients asked for.
    fn of_repository(&self, (content, trust): (&Image, Trust), act: impl Fn(&mut Tag, &Digest)) {
        let Some(digest) = content.reference.digest().filter(|_| !self.0.is_empty()) else {
            return;
        };
        self.0.change(|tags| {
            let tags = tags.iter_mut();
            let beside = tags.filter(|((tag, of), _)| *of == trust && tag.is_beside(content));
            beside.for_each(|(_, tag)| act(tag, digest));
        });
    }
}

fn names(descriptors: &[Descriptor]) -> HashMap<Digest, u64> {
    let named = descriptors.iter().take(NAMES);
    named
        .map(|descriptor| (descriptor.digest.clone(), descriptor.size))
        .collect()
}

// === impl Tag ===

impl Tag {
    fn new(latest: Digest) -> Self {
        Self {
            latest,
            proved: None,
            answers: Vec::new(),
        }
    }

    fn gives(&mut self, top: &Digest) {
        if self.latest != *top {
            self.latest = top.clone();
        }
    }

    fn answered(
        &mut self,
        endpoint: &EndpointId,
        top: &Digest,
        descriptors: &[Descriptor],
        now: Instant,
    ) {
        self.gives(top);
        self.answers.retain(|answer| answer.is_alive(now));
        if self.proved.as_ref() == Some(top) {
            return self.answers.retain(|answer| answer.endpoint != *endpoint);
        }
        let own = |answer: &&Unproved| answer.endpoint == *endpoint;
        if self.answers.iter().find(own).is_some_and(|a| a.top == *top) {
            return;
        }
        self.answers.retain(|answer| answer.endpoint != *endpoint);
        if self.answers.len() >= SOURCES {
            self.answers.remove(0);
        }
        // The same body from elsewhere: what is known of one is known of both.
        let twin = self.answers.iter().find(|answer| answer.top == *top);
        let (names, standing) = match twin {
            Some(twin) => (twin.names.clone(), twin.standing),
            None => (Arc::new(names(descriptors)), Standing::Open),
        };
        self.answers.push(Unproved {
            endpoint: endpoint.clone(),
            top: top.clone(),
            names,
            since: now,
            standing,
            is_said: false,
        });
    }
}

// === impl Unproved ===

impl Unproved {
    fn is_alive(&self, now: Instant) -> bool {
        let life = match self.standing {
            Standing::Confirmed => TRUST,
            Standing::Open | Standing::Refuted => DOUBT,
        };
        now < deadline(self.since, life)
    }

    fn is_doubted(&self, now: Instant) -> bool {
        let is_suspect = match self.standing {
            Standing::Open => now >= deadline(self.since, SAME_PULL),
            Standing::Confirmed => false,
            Standing::Refuted => true,
        };
        is_suspect && self.is_alive(now)
    }
}

#[cfg(test)]
mod tests;
