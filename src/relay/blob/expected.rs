//! The size that a blob is expected to have. A manifest of its repository says so, and that chooses among sources; it
//! penalises none of them. Two sources that agree on another size overrule it, and so does the digest.

use crate::oci::Digest;
use crate::relay::memory::Pulled;
use crate::relay::rules::Head;
use crate::relay::sizes::KnownSizes;
use crate::topology::EndpointId;
use parking_lot::Mutex;
use std::sync::Arc;

/// The expected size of one blob, for all attempts of one request.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    /// The blob in its repository, as it is pulled.
    pub(super) blob: Pulled,
    size: Option<u64>,
    /// The client was promised this size: nobody overrules it for this answer.
    is_promised: bool,
    /// Who told another size, and which.
    against: Arc<Mutex<Vec<(EndpointId, u64)>>>,
}

// === impl Expected ===

impl Expected {
    /// `size`: what a manifest said.
    pub(super) fn new(blob: Pulled, size: Option<u64>) -> Self {
        Self {
            blob,
            size,
            is_promised: false,
            against: Arc::default(),
        }
    }

    /// For the rest of an answer that has begun. `total`: the size of the whole in its head.
    pub(super) fn of_rest(&self, total: Option<u64>) -> Self {
        Self {
            size: total.or(self.size),
            is_promised: true,
            ..self.clone()
        }
    }

    /// The size to judge an answer by. Where its source and another one agree against the expected size that is dropped.
    pub(super) fn judging(
        &self,
        endpoint: &EndpointId,
        head: &Head,
        sizes: &KnownSizes,
    ) -> Option<u64> {
        let size = self.size?;
        let Some(told) = self.told(head).filter(|told| *told != size) else {
            return Some(size);
        };
        let mut against = self.against.lock();
        let is_anothers = |(who, other): &(EndpointId, u64)| who != endpoint && *other == told;
        let agrees = against.iter().any(is_anothers);
        against.push((endpoint.clone(), told));
        drop(against);
        if agrees {
            sizes.forget(&self.blob.image);
        }
        (!agrees || self.is_promised).then_some(size)
    }

    /// The size of the whole that an answer with content tells.
    pub(super) fn told(&self, head: &Head) -> Option<u64> {
        if head.html || head.encoded {
            return None;
        }
        let told = match head.status {
            200 => head.length,
            206 => head.content_range.flatten()?.total,
            _ => None,
        };
        // Harbor's cold cascade says 0 of what it is about to fetch (harbor-facts 0.2).
        let digest = self.blob.image.reference.digest();
        let is_empty = digest.is_some_and(Digest::is_of_nothing);
        told.filter(|told| *told > 0 || is_empty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;
    use crate::cache::Trust;
    use crate::oci::Descriptor;
    use crate::relay::memory::Image;
    use crate::topology::SourceId;
    use std::net::SocketAddr;
    use std::path::Path;

    fn endpoint(last: u8) -> EndpointId {
        EndpointId {
            source: SourceId::Tier("replica".into()),
            address: SocketAddr::from(([192, 0, 2, last], 443)),
        }
    }

    fn head(status: u16, length: Option<u64>, range: Option<&str>) -> Head {
        Head {
            status,
            elsewhere: false,
            length,
            content_range: range.map(|range| range.parse().ok()),
            html: false,
            json: false,
            registry: false,
            encoded: false,
            retry_after: None,
        }
    }

    /// What a manifest said, 100, is known; the rest is each test's.
    fn known() -> (KnownSizes, Expected) {
        let sizes = KnownSizes::load(Path::new(""), &Budget::unlimited());
        let digest = Digest::sha256(b"x");
        let (registry, repository) = ("docker.io".parse().unwrap(), "app".parse().unwrap());
        let descriptor = Descriptor {
            digest: digest.clone(),
            size: 100,
            is_manifest: false,
        };
        let blob = Pulled {
            image: Image::content(registry, repository, digest),
            trust: Trust::Trusted,
        };
        sizes.learn(&blob, &[descriptor]);
        (sizes, Expected::new(blob, Some(100)))
    }

    #[test]
    fn two_sources_that_agree_overrule_a_manifest() {
        // (who tells, what), and the size that each is judged by
        type Row = (&'static [(u8, u64)], &'static [Option<u64>], bool);
        let table: [Row; 5] = [
            (&[(1, 100), (2, 100)], &[Some(100), Some(100)], true),
            (&[(1, 99), (2, 99)], &[Some(100), None], false),
            (&[(1, 99), (1, 99)], &[Some(100), Some(100)], true),
            (&[(1, 99), (2, 101)], &[Some(100), Some(100)], true),
            (
                &[(1, 99), (2, 100), (3, 99)],
                &[Some(100), Some(100), None],
                false,
            ),
        ];
        for (told, due, stays) in table {
            let (sizes, expected) = known();
            let judged = told.iter().map(|(who, size)| {
                let head = head(200, Some(*size), None);
                expected.judging(&endpoint(*who), &head, &sizes)
            });
            assert_eq!(judged.collect::<Vec<_>>(), due, "{told:?}");
            assert_eq!(sizes.get(&expected.blob.image).is_some(), stays, "{told:?}");
        }
    }

    #[test]
    fn what_is_promised_stays_for_this_answer_and_is_dropped_for_the_next() {
        let (sizes, expected) = known();
        let rest = expected.of_rest(Some(100));
        for who in [1, 2] {
            let head = head(206, Some(60), Some("bytes 39-98/99"));
            assert_eq!(rest.judging(&endpoint(who), &head, &sizes), Some(100));
        }
        assert_eq!(sizes.get(&expected.blob.image), None);
    }

    #[test]
    fn only_an_answer_with_content_tells_a_size() {
        let (_, expected) = known();
        let html = Head {
            html: true,
            ..head(200, Some(5), None)
        };
        let table = [
            (head(200, Some(5), None), Some(5)),
            (head(200, None, None), None),
            (head(200, Some(0), None), None),
            (head(206, Some(5), Some("bytes 0-4/9")), Some(9)),
            (head(206, Some(5), Some("bytes 0-4/*")), None),
            (head(206, Some(5), None), None),
            (head(404, Some(5), None), None),
            (html, None),
        ];
        for (head, due) in table {
            assert_eq!(expected.told(&head), due, "{head:?}");
        }
    }
}
