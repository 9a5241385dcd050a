//! What tiers answered for tags without a digest that proves it (design P8, P13), and whether anything came of it.
//!
//! Nobody can tell a wrong byte in such a manifest but containerd, which then asks for content that nobody has, or for
//! none at all. So an answer is believed for as long as a pull needs; when the tag is asked for again and none of the
//! content that it names was served meanwhile, whoever gave it stands behind all others. Pure: the clock is told to it.

use super::Image;
use crate::lifecycle::deadline;
use crate::oci::{Descriptor, Digest};
use crate::topology::EndpointId;
use foldhash::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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

/// The answers by tag. The lock is held for single look-ups.
#[derive(Debug, Default)]
pub(crate) struct UnprovedTags(Mutex<HashMap<Image, Tag>>);

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
    changed: Instant,
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
    /// A tier answered for a tag, and nothing proves its body.
    pub(crate) fn answered(
        &self,
        image: Image,
        endpoint: &EndpointId,
        top: &Digest,
        descriptors: &[Descriptor],
        now: Instant,
    ) {
        let mut images = self.lock();
        make_room(&mut images, &image);
        let tag = images
            .entry(image)
            .or_insert_with(|| Tag::new(top.clone(), now));
        tag.gives(top, now);
        tag.answers.retain(|answer| answer.is_alive(now));
        if tag.proved.as_ref() == Some(top) {
            return tag.answers.retain(|answer| answer.endpoint != *endpoint);
        }
        let own = |answer: &&Unproved| answer.endpoint == *endpoint;
        if tag.answers.iter().find(own).is_some_and(|a| a.top == *top) {
            return;
        }
        tag.answers.retain(|answer| answer.endpoint != *endpoint);
        if tag.answers.len() >= SOURCES {
            tag.answers.remove(0);
        }
        // The same body from elsewhere: what is known of one is known of both.
        let twin = tag.answers.iter().find(|answer| answer.top == *top);
        let (names, standing) = match twin {
            Some(twin) => (twin.names.clone(), twin.standing),
            None => (Arc::new(names(descriptors)), Standing::Open),
        };
        tag.answers.push(Unproved {
            endpoint: endpoint.clone(),
            top: top.clone(),
            names,
            since: now,
            standing,
            is_said: false,
        });
    }

    /// A body that was remembered is given once more, or one that is not to be doubted.
    pub(crate) fn given(&self, image: &Image, top: &Digest, now: Instant) {
        if let Some(tag) = self.lock().get_mut(image) {
            tag.gives(top, now);
        }
    }

    /// An answer came with its digest: who gave the same without one was right.
    pub(crate) fn proved(&self, image: &Image, top: &Digest, now: Instant) {
        if let Some(tag) = self.lock().get_mut(image) {
            tag.gives(top, now);
            tag.proved = Some(top.clone());
            tag.answers.retain(|answer| answer.top != *top);
        }
    }

    /// Content was served: whoever named it in the answer that the client had was right.
    pub(crate) fn served(&self, digest: &Digest, size: u64, now: Instant) {
        for tag in self.lock().values_mut() {
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
        }
    }

    /// Content is nowhere, or not of the size that was told: whoever named it was wrong, whatever else was served.
    pub(crate) fn missing(&self, digest: &Digest, now: Instant) {
        for tag in self.lock().values_mut() {
            for answer in &mut tag.answers {
                if answer.standing != Standing::Refuted && answer.names.contains_key(digest) {
                    answer.standing = Standing::Refuted;
                    answer.since = now;
                }
            }
        }
    }

    /// Who is asked for the tag only when nobody else is left.
    pub(crate) fn doubted(&self, image: &Image, now: Instant) -> Vec<Doubted> {
        let mut images = self.lock();
        let Some(tag) = images.get_mut(image) else {
            return Vec::new();
        };
        let doubted = tag.answers.iter_mut().filter(|a| a.is_doubted(now));
        doubted
            .map(|answer| Doubted {
                endpoint: answer.endpoint.clone(),
                top: answer.top.clone(),
                is_news: !std::mem::replace(&mut answer.is_said, true),
            })
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Image, Tag>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// For one more tag the one goes that nothing was heard of for longest.
fn make_room(images: &mut HashMap<Image, Tag>, image: &Image) {
    if images.len() < IMAGES || images.contains_key(image) {
        return;
    }
    let oldest = images.iter().min_by_key(|(_, tag)| tag.changed);
    if let Some(oldest) = oldest.map(|(image, _)| image.clone()) {
        images.remove(&oldest);
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
    fn new(latest: Digest, now: Instant) -> Self {
        Self {
            latest,
            proved: None,
            changed: now,
            answers: Vec::new(),
        }
    }

    fn gives(&mut self, top: &Digest, now: Instant) {
        self.changed = now;
        if self.latest != *top {
            self.latest = top.clone();
        }
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
