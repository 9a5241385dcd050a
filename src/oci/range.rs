//! Byte ranges: what clients ask for and what sources claim to send (RFC 9110 section 14).

use std::str::FromStr;

/// One range of a request: from an offset, or the last bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeSpec {
    /// `N-` or `N-M`, as containerd sends them.
    From {
        /// Offset of the first byte.
        first: u64,
        /// Offset of the last byte, itself included; `None`: to the end.
        last: Option<u64>,
    },
    /// `-N`: the last N bytes, or all where there are fewer.
    Last(u64),
}

/// All ranges of a request, one at least, in the order in which they were asked for: stargz and zstd:chunked ask for several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranges(Vec<RangeSpec>);

/// A `Content-Range: bytes first-last/total` header. A total of `*` is kept as `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentRange {
    /// Offset of the first byte sent.
    pub first: u64,
    /// Offset of the last byte sent, itself included; never before `first`, never the largest number.
    pub last: u64,
    /// Size of the whole, if the sender knows it; always greater than `last`.
    pub total: Option<u64>,
}

/// Why a Content-Range cannot be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid Content-Range")]
pub struct InvalidContentRange;

// === impl RangeSpec ===

impl RangeSpec {
    fn parse(text: &str) -> Option<Self> {
        let (first, last) = text.split_once('-')?;
        if first.is_empty() {
            return Some(Self::Last(decimal(last)?));
        }
        let first = decimal(first)?;
        let last = match last {
            "" => None,
            last => Some(decimal(last)?),
        };
        let is_ordered = last.is_none_or(|last| first <= last);
        is_ordered.then_some(Self::From { first, last })
    }

    /// What of this range a body of `total` bytes has; `None`: nothing (416).
    #[must_use]
    pub fn within(&self, total: u64) -> Option<ContentRange> {
        let end = total.checked_sub(1)?;
        let (first, last) = match *self {
            Self::From { first, last } => (first, last.map_or(end, |last| last.min(end))),
            Self::Last(0) => return None,
            Self::Last(bytes) => (total.saturating_sub(bytes), end),
        };
        // Parsing refuses a range that ends before it begins; the fields are public.
        (first <= last).then_some(ContentRange {
            first,
            last,
            total: Some(total),
        })
    }

    /// Whether a body of some length may be asked for from that offset by it.
    #[must_use]
    pub fn may_begin_at(&self, offset: u64) -> bool {
        match self {
            Self::From { first, .. } => *first == offset,
            Self::Last(_) => true,
        }
    }

    /// The value for the field.
    #[must_use]
    pub fn header(&self) -> String {
        match self {
            Self::From { first, last } => match last {
                Some(last) => format!("bytes={first}-{last}"),
                None => format!("bytes={first}-"),
            },
            Self::Last(bytes) => format!("bytes=-{bytes}"),
        }
    }
}

impl From<ContentRange> for RangeSpec {
    fn from(range: ContentRange) -> Self {
        Self::From {
            first: range.first,
            last: Some(range.last),
        }
    }
}

// === impl Ranges ===

impl Ranges {
    /// Ranges of one request at most: zstd:chunked asks for up to 1024.
    const MOST: usize = 1024;

    /// Parses a Range header. `None`: it holds no byte range, too many, or one that is none; RFC 9110 (14.2) lets a server
    /// ignore such a header and answer 200.
    #[must_use]
    pub fn parse(header: &str) -> Option<Self> {
        let (unit, ranges) = header.trim_matches([' ', '\t']).split_once('=')?;
        let ranges = in_bytes(unit, ranges)?.split(',');
        let ranges = ranges.map(|range| range.trim_matches([' ', '\t']));
        let ranges = ranges.filter(|range| !range.is_empty());
        let ranges = ranges.take(Self::MOST.saturating_add(1));
        let ranges: Vec<RangeSpec> = ranges.map(RangeSpec::parse).collect::<Option<_>>()?;
        (1..=Self::MOST)
            .contains(&ranges.len())
            .then_some(Self(ranges))
    }

    /// The range, if it is one.
    #[must_use]
    pub fn single(&self) -> Option<RangeSpec> {
        match self.0.as_slice() {
            [single] => Some(*single),
            _ => None,
        }
    }

    /// What a body of `total` bytes has of them, in their order. Empty: nothing (416). `None`: together they are more than the
    /// whole, which is then the better answer (RFC 9110, 14.2).
    #[must_use]
    pub fn within(&self, total: u64) -> Option<Vec<ContentRange>> {
        let parts = self.0.iter().filter_map(|range| range.within(total));
        let parts: Vec<ContentRange> = parts.collect();
        let lengths = parts.iter().map(ContentRange::length);
        let bytes = lengths.fold(0_u64, u64::saturating_add);
        (bytes <= total).then_some(parts)
    }
}

// === impl ContentRange ===

impl ContentRange {
    /// Number of bytes between first and last, both included.
    #[must_use]
    pub fn length(&self) -> u64 {
        // Parsing refuses what would saturate; the fields are public, so that nothing may overflow here.
        self.last.saturating_sub(self.first).saturating_add(1)
    }

    /// The value for the field.
    #[must_use]
    pub fn header(&self) -> String {
        match self.total {
            Some(total) => format!("bytes {}-{}/{total}", self.first, self.last),
            None => format!("bytes {}-{}/*", self.first, self.last),
        }
    }
}

impl FromStr for ContentRange {
    type Err = InvalidContentRange;

    fn from_str(header: &str) -> Result<Self, InvalidContentRange> {
        let parse = || {
            let (unit, rest) = header.trim_matches([' ', '\t']).split_once(' ')?;
            let (range, total) = in_bytes(unit, rest)?.split_once('/')?;
            let (first, last) = range.split_once('-')?;
            let (first, last) = (decimal(first)?, decimal(last)?);
            let total = match total {
                "*" => None,
                total => Some(decimal(total)?),
            };
            // A length that no u64 holds is no length: `last` stays below the largest number.
            let fits = first <= last && last < total.unwrap_or(u64::MAX);
            fits.then_some(Self { first, last, total })
        };
        parse().ok_or(InvalidContentRange)
    }
}

/// `rest` if the unit is bytes; names of units have no case (RFC 9110 section 14.1).
fn in_bytes<'a>(unit: &str, rest: &'a str) -> Option<&'a str> {
    unit.eq_ignore_ascii_case("bytes").then_some(rest)
}

/// Digits only: no sign, no blanks, no overflow.
fn decimal(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}
