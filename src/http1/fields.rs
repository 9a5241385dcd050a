//! The fields of a head (RFC 9110, 5), and what of them concerns the message itself.

use super::Wrong;
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderName, TRANSFER_ENCODING};
use httparse::Status;
use std::fmt;

/// The most fields in a head.
pub(super) const FIELDS: usize = 100;

/// The fields of a head in the order in which they came: one copy of the head, and where in it they stand. A head is read once
/// or twice, for a few names: a table of it would cost more than it saves.
#[derive(Clone, Default)]
pub struct Fields {
    head: Box<[u8]>,
    places: Vec<Place>,
    /// A bit for each length of a name, modulo 64: most names that are looked for are not there, which this shows at once.
    lengths: u64,
}

/// Where a field stands in its head. A head is shorter than 4 GiB.
#[derive(Clone, Copy)]
struct Place {
    name: (u32, u32),
    value: (u32, u32),
}

// === impl Fields ===

impl Fields {
    /// A copy of the first bytes of a buffer, and the fields that were parsed from them.
    pub(super) fn from_parsed(
        buffer: &[u8],
        length: usize,
        parsed: &[httparse::Header<'_>],
    ) -> Self {
        let head = buffer.get(..length).unwrap_or_default();
        let place = |part: &[u8]| {
            let begins = (part.as_ptr() as usize).wrapping_sub(head.as_ptr() as usize);
            let within = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
            (within(begins), within(begins.saturating_add(part.len())))
        };
        let places = parsed.iter().map(|field| Place {
            name: place(field.name.as_bytes()),
            value: place(field.value),
        });
        let lengths = parsed.iter().map(|field| length_bit(field.name));
        Self {
            places: places.collect(),
            head: head.into(),
            lengths: lengths.fold(0, |all, bit| all | bit),
        }
    }

    /// All values of a field.
    pub fn all<'a>(&'a self, name: &'a HeaderName) -> impl Iterator<Item = &'a [u8]> {
        let named = self.perhaps(name).iter();
        let named = named.filter(|place| self.is(place, name));
        named.map(|place| part(&self.head, place.value))
    }

    /// A field's first value.
    #[must_use]
    pub fn get(&self, name: &HeaderName) -> Option<&[u8]> {
        let places = self.perhaps(name);
        let place = places.iter().find(|place| self.is(place, name))?;
        Some(part(&self.head, place.value))
    }

    /// The places to look at for a name: none, where it is none of those that are there.
    fn perhaps(&self, name: &HeaderName) -> &[Place] {
        if self.lengths & length_bit(name.as_str()) == 0 {
            &[]
        } else {
            &self.places
        }
    }

    /// Names are ASCII, in whatever case. Most differ in length already.
    fn is(&self, place: &Place, name: &HeaderName) -> bool {
        let (name, (from, to)) = (name.as_str().as_bytes(), place.name);
        to.saturating_sub(from) as usize == name.len()
            && part(&self.head, place.name).eq_ignore_ascii_case(name)
    }

    /// A field's first value, where it is text: visible ASCII and blanks.
    #[must_use]
    pub fn text(&self, name: &HeaderName) -> Option<&str> {
        as_text(self.get(name)?)
    }

    /// `Content-Length`: digits alone, and the same in all its fields; of an answer to a HEAD nothing else looks at it.
    #[must_use]
    pub fn content_length(&self) -> Option<u64> {
        content_length(self).ok().flatten()
    }

    /// All values of a field that are text.
    pub fn texts<'a>(&'a self, name: &'a HeaderName) -> impl Iterator<Item = &'a str> {
        self.all(name).filter_map(as_text)
    }

    /// Whether there is such a field.
    #[must_use]
    pub fn contains(&self, name: &HeaderName) -> bool {
        self.get(name).is_some()
    }

    /// Forgets a field. Whether there was one.
    pub(super) fn remove(&mut self, name: &HeaderName) -> bool {
        let all = std::mem::take(&mut self.places);
        let before = all.len();
        let others = all.into_iter().filter(|place| !self.is(place, name));
        self.places = others.collect();
        self.places.len() < before
    }

    /// Every field, by name and value.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let places = self.places.iter();
        places.map(|place| (part(&self.head, place.name), part(&self.head, place.value)))
    }
}

fn length_bit(name: &str) -> u64 {
    1 << (name.len() & 63)
}

fn as_text(value: &[u8]) -> Option<&str> {
    let is_text = |byte: u8| matches!(byte, b'\t' | b' '..=b'~');
    let text = every(value, is_text).then_some(value)?;
    std::str::from_utf8(text).ok()
}

/// Whether all bytes are so. Looks at all of them, which a processor does in large steps where it need not stop.
#[must_use]
pub fn every(bytes: &[u8], is_so: impl Fn(u8) -> bool) -> bool {
    bytes.iter().fold(true, |all, byte| all & is_so(*byte))
}

fn part(head: &[u8], (from, to): (u32, u32)) -> &[u8] {
    head.get(from as usize..to as usize).unwrap_or_default()
}

impl fmt::Debug for Fields {
    /// Without values: they may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.iter().map(|(name, _)| String::from_utf8_lossy(name));
        f.debug_list().entries(names).finish()
    }
}

#[cfg(test)]
impl<'a> FromIterator<(&'a str, &'a str)> for Fields {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(fields: I) -> Self {
        let lines = fields
            .into_iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"));
        let head = lines.collect::<String>() + "\r\n";
        let mut parsed = [httparse::EMPTY_HEADER; FIELDS];
        let Ok(Status::Complete((length, parsed))) =
            httparse::parse_headers(head.as_bytes(), &mut parsed)
        else {
            panic!("{head:?} is no head");
        };
        Self::from_parsed(head.as_bytes(), length, parsed)
    }
}

/// The length of a head of at most `limit` bytes that was looked for at the front of what was received; `None`: more of it is
/// wanted.
pub(super) fn length_of(
    parsed: httparse::Result<usize>,
    received: &[u8],
    limit: usize,
) -> Result<Option<usize>, Wrong> {
    match parsed {
        Ok(Status::Complete(length)) if length <= limit => Ok(Some(length)),
        Ok(Status::Partial) if received.len() < limit => Ok(None),
        Ok(_) | Err(httparse::Error::TooManyHeaders) => Err(Wrong::TooLong),
        Err(error) => Err(Wrong::Parse(error)),
    }
}

/// The elements of a field's list.
fn elements<'a>(fields: &'a Fields, name: &'a HeaderName) -> impl Iterator<Item = &'a [u8]> {
    let elements = fields
        .all(name)
        .flat_map(|value| value.split(|byte| *byte == b','));
    elements.map(<[u8]>::trim_ascii)
}

/// Whether `Connection` names an option.
pub(super) fn is_connection(fields: &Fields, option: &[u8]) -> bool {
    elements(fields, &CONNECTION).any(|token| token.eq_ignore_ascii_case(option))
}

/// The coding that was applied last, which tells where the body ends.
///
/// # Errors
/// [`Wrong::Syntax`]: a value is not text.
pub(super) fn last_coding(fields: &Fields) -> Result<Option<&[u8]>, Wrong> {
    let mut values = fields.all(&TRANSFER_ENCODING);
    if values.any(|value| as_text(value).is_none()) {
        return Err(Wrong::Syntax("a Transfer-Encoding that is no text"));
    }
    Ok(elements(fields, &TRANSFER_ENCODING).last())
}

/// Whether `Connection` asks HTTP/1.0 to stay. A value that is no text asks for nothing.
pub(super) fn wants_keep_alive(fields: &Fields) -> bool {
    let mut options = fields.texts(&CONNECTION).flat_map(|value| value.split(','));
    options.any(|option| option.trim().eq_ignore_ascii_case("keep-alive"))
}

/// The longest body that a length may tell, in bytes: no file is longer.
const LONGEST: u64 = i64::MAX as u64;

/// The length that all its fields agree on.
pub(super) fn content_length(fields: &Fields) -> Result<Option<u64>, Wrong> {
    let mut agreed = None;
    for element in elements(fields, &CONTENT_LENGTH) {
        let digits = std::str::from_utf8(element).unwrap_or_default();
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let length = digits.parse().ok().filter(|_| is_number);
        let length = length.filter(|length| *length <= LONGEST);
        let length = length.ok_or(Wrong::Syntax(
            "a Content-Length that is no number, or beyond 2^63",
        ))?;
        if agreed.is_some_and(|agreed| agreed != length) {
            return Err(Wrong::Syntax("two values of Content-Length"));
        }
        agreed = Some(length);
    }
    Ok(agreed)
}
