//! Byte ranges: what clients ask for and what sources claim to send (RFC 9110 section 14).

use std::str::FromStr;

/// A single byte range of a request, as containerd sends them: `bytes=N-` or `bytes=N-M`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    /// Offset of the first byte.
    pub first: u64,
    /// Offset of the last byte, itself included; `None`: to the end.
    pub last: Option<u64>,
}

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

// === impl ByteRange ===

impl ByteRange {
    /// Parses a Range header. Anything but one plain byte range (several ranges, suffix ranges, other
    /// units) is `None`: RFC 9110 lets a server ignore such a header and answer 200.
    #[must_use]
    pub fn parse(header: &str) -> Option<Self> {
        let (unit, range) = header.trim_matches([' ', '\t']).split_once('=')?;
        let (first, last) = in_bytes(unit, range)?.split_once('-')?;
        let first = decimal(first)?;
        let last = match last {
            "" => None,
            last => Some(decimal(last)?),
        };
        if last.is_some_and(|last| last < first) {
            return None;
        }
        Some(Self { first, last })
    }

    /// What of this range a body of `total` bytes has; `None`: it begins at or after the end (416).
    #[must_use]
    pub fn within(&self, total: u64) -> Option<ContentRange> {
        let end = total.checked_sub(1)?;
        if self.first > end {
            return None;
        }
        let last = self.last.map_or(end, |last| last.min(end));
        // Parsing refuses such a range; the fields are public.
        if last < self.first {
            return None;
        }
        Some(ContentRange {
            first: self.first,
            last,
            total: Some(total),
        })
    }

    /// The header's value.
    #[must_use]
    pub fn header(&self) -> String {
        match self.last {
            Some(last) => format!("bytes={}-{last}", self.first),
            None => format!("bytes={}-", self.first),
        }
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

    /// The header's value.
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
