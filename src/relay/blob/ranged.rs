//! What of a blob is asked for: all of it, one range, or several. Pure.

use crate::oci::{ContentRange, RangeSpec, Ranges};

/// Parts that lie this near to each other are asked of a source as one: the bytes between them cost less than another request.
const GAP: u64 = 256 * 1024;

/// What of a blob is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ranged {
    /// The range that is asked of a source first; `None`: the whole.
    pub(super) first: Option<RangeSpec>,
    /// All ranges in their order, where several are asked for.
    pub(super) parts: Vec<ContentRange>,
}

// === impl Ranged ===

impl Ranged {
    /// `size`: of the blob, if anybody knows it; several ranges want it.
    ///
    /// # Errors
    /// The size of a blob that has nothing of what is asked for (416).
    pub(super) fn new(ranges: Option<&Ranges>, size: Option<u64>) -> Result<Self, u64> {
        let Some(ranges) = ranges else {
            return Ok(Self::default());
        };
        let one = |range| Self {
            first: Some(range),
            parts: Vec::new(),
        };
        let single = ranges.single();
        let Some(size) = size else {
            return Ok(single.map(one).unwrap_or_default());
        };
        if let Some(range @ RangeSpec::From { .. }) = single {
            range.within(size).ok_or(size)?;
            return Ok(one(range));
        }
        // Ranges from the end are asked for by their offsets: there are stores that know no others (Azure's).
        let Some(parts) = ranges.within(size) else {
            return Ok(Self::default());
        };
        let first = spans(&parts).next().map(Into::into);
        match parts.as_slice() {
            [] => Err(size),
            [part] => Ok(one((*part).into())),
            _ => Ok(Self { first, parts }),
        }
    }

    /// Whether a pull of the blob begins with it.
    pub(super) fn begins_it(&self) -> bool {
        let begins = |range| matches!(range, RangeSpec::From { first: 0, .. });
        self.parts.is_empty() && self.first.is_none_or(begins)
    }
}

/// What is asked of a source for these parts, one request after another: those that follow each other closely are one.
pub(super) fn spans(parts: &[ContentRange]) -> impl Iterator<Item = ContentRange> {
    parts.chunk_by(is_followed_by).filter_map(|span| {
        let (first, last) = (span.first()?, span.last()?.last);
        Some(ContentRange { last, ..*first })
    })
}

/// Whether the next part begins behind this one, and near enough.
pub(super) fn is_followed_by(part: &ContentRange, next: &ContentRange) -> bool {
    let gap = next.first.checked_sub(part.last);
    gap.is_some_and(|gap| (1..=GAP).contains(&gap))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = 10_000_000;

    fn ranged(header: &str, size: Option<u64>) -> Result<Ranged, u64> {
        let ranges = Ranges::parse(header);
        assert!(ranges.is_some(), "{header}");
        Ranged::new(ranges.as_ref(), size)
    }

    /// `0-9 20-29 | 900000-900009`: parts of a span, spans.
    fn shown(ranged: &Ranged) -> String {
        let parts = &ranged.parts;
        let shown = |part: &ContentRange| format!("{}-{}", part.first, part.last);
        let span = |span: &[ContentRange]| span.iter().map(shown).collect::<Vec<_>>().join(" ");
        let shown = parts.chunk_by(is_followed_by).map(span);
        assert_eq!(spans(parts).count(), shown.clone().count());
        shown.collect::<Vec<_>>().join(" | ")
    }

    #[test]
    fn parts_near_to_each_other_are_one_request_and_keep_their_order() {
        let table = [
            ("bytes=0-9,20-29", "0-9 20-29"),
            ("bytes=0-9, 10-19", "0-9 10-19"),
            ("bytes=0-9,5-19", "0-9 | 5-19"),
            ("bytes=20-29,0-9", "20-29 | 0-9"),
            ("bytes=0-9,262153-262160", "0-9 262153-262160"),
            ("bytes=0-9,262154-262160", "0-9 | 262154-262160"),
            ("bytes=0-9,-10", "0-9 | 9999990-9999999"),
            ("bytes=9999990-,-30", "9999990-9999999 | 9999970-9999999"),
            ("bytes=5-5,90000000-,7-8", "5-5 7-8"),
        ];
        for (header, due) in table {
            let ranged = ranged(header, Some(SIZE)).unwrap();
            assert_eq!(shown(&ranged), due, "{header}");
            assert!(!ranged.begins_it());
        }
    }

    #[test]
    fn one_range_is_one_and_too_much_is_the_whole() {
        let one = |range| {
            Ok(Ranged {
                first: Some(range),
                parts: Vec::new(),
            })
        };
        let from = |first, last| one(RangeSpec::From { first, last });
        assert_eq!(ranged("bytes=5-", Some(SIZE)), from(5, None));
        assert_eq!(ranged("bytes=5-", None), from(5, None));
        assert_eq!(ranged("bytes=-5", None), one(RangeSpec::Last(5)));
        let last = from(SIZE - 5, Some(SIZE - 1));
        assert_eq!(ranged("bytes=-5", Some(SIZE)), last);
        assert_eq!(ranged("bytes=90000000-,-5", Some(SIZE)), last);
        for none in ["bytes=10000000-", "bytes=-0", "bytes=10000000-,-0"] {
            assert_eq!(ranged(none, Some(SIZE)), Err(SIZE), "{none}");
        }
        assert_eq!(ranged("bytes=0-,0-", Some(SIZE)), Ok(Ranged::default()));
        assert_eq!(ranged("bytes=-1", Some(0)), Err(0));
        assert_eq!(Ranged::new(None, None), Ok(Ranged::default()));
    }
}
