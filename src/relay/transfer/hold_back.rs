//! Which bytes of a body may be let go (design P7, P8): the newest are held back until more have come or the end has
//! proved everything. The hash covers exactly what was let go, so that at a break the held bytes can be thrown
//! away and another source can go on at the released offset. Pure.

use crate::oci::{Digest, Hasher};
use bytes::Bytes;
use std::collections::VecDeque;

/// Bytes held back at least. Harbor up to 2.15 ends a broken cold blob with error JSON inside the body
/// (harbor-facts 0.3): that JSON must never be let go as content.
pub(crate) const HELD_BACK: u64 = 32 * 1024;

/// What the body must turn out to be.
#[derive(Debug, Default)]
pub(crate) struct HoldBack {
    held: VecDeque<Bytes>,
    held_bytes: u64,
    released: u64,
    length: Option<u64>,
    /// What was let go, hashed, and the digest that is due; `None`: its length alone proves the body.
    proof: Option<(Hasher, Digest)>,
    is_proven: bool,
}

/// How a body broke its promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It ended early: what was let go is a right prefix as far as anybody knows.
    TooShort,
    /// It went on behind its end: nobody knows what was let go.
    TooLong,
    /// Every byte came and they are not the blob's.
    WrongDigest,
}

// === impl HoldBack ===

impl HoldBack {
    /// A whole blob that will be hashed. `length`: its size, if known.
    pub(crate) fn hashed(due: Digest, length: Option<u64>) -> Self {
        Self {
            length,
            proof: Some((due.hasher(), due)),
            ..Self::default()
        }
    }

    /// A part, or a blob that is trusted: only its length is checked.
    pub(crate) fn measured(length: u64) -> Self {
        Self {
            length: Some(length),
            ..Self::default()
        }
    }

    /// Takes bytes of the source in.
    pub(crate) fn push(&mut self, chunk: Bytes) -> Result<(), Fault> {
        self.held_bytes = self.held_bytes.saturating_add(chunk.len() as u64);
        if !chunk.is_empty() {
            self.held.push_back(chunk);
        }
        if self.length.is_some_and(|length| self.received() > length) {
            return Err(Fault::TooLong);
        }
        Ok(())
    }

    /// The next bytes that may be let go. While the source goes on a chunk is cut where the hold-back buffer begins: what is held
    /// back beyond it would be fetched twice after a break, and a chunk has up to 160 KiB.
    pub(crate) fn release(&mut self) -> Option<Bytes> {
        let held_back = if self.is_proven { 0 } else { HELD_BACK };
        let excess = self.held_bytes.checked_sub(held_back)?;
        let first = self.held.front_mut()?;
        let length = usize::try_from(excess).map_or(first.len(), |excess| excess.min(first.len()));
        if length == 0 {
            return None;
        }
        let chunk = first.split_to(length);
        if first.is_empty() {
            self.held.pop_front();
        } else if first.len() < length {
            // As a part of the chunk it would keep all of its memory.
            *first = Bytes::copy_from_slice(first);
        }
        self.held_bytes = self.held_bytes.saturating_sub(length as u64);
        self.released = self.released.saturating_add(length as u64);
        if let Some((hasher, _)) = &mut self.proof
            && !self.is_proven
        {
            hasher.update(&chunk);
        }
        Some(chunk)
    }

    /// The source ended: proves the whole. On success everything held may be let go.
    pub(crate) fn finish(&mut self) -> Result<(), Fault> {
        match self.length {
            Some(length) if self.received() < length => return Err(Fault::TooShort),
            Some(length) if self.received() > length => return Err(Fault::TooLong),
            _ => {}
        }
        if self.is_hashed() && !self.fits_digest() {
            return Err(Fault::WrongDigest);
        }
        self.is_proven = true;
        Ok(())
    }

    /// Whether everything has come, and fits.
    pub(crate) fn is_proven(&self) -> bool {
        self.is_proven
    }

    /// Bytes let go: where another source would have to go on.
    pub(crate) fn released(&self) -> u64 {
        self.released
    }

    pub(crate) fn held(&self) -> u64 {
        self.held_bytes
    }

    pub(crate) fn received(&self) -> u64 {
        self.released.saturating_add(self.held_bytes)
    }

    /// Throws the held bytes away: their source broke, and another goes on at the released offset.
    pub(crate) fn discard_held(&mut self) {
        self.held.clear();
        self.held_bytes = 0;
    }

    /// Another source told the size that nobody knew.
    pub(crate) fn learn_length(&mut self, length: u64) {
        self.length.get_or_insert(length);
    }

    /// Whether what has come is the whole, wherever its end was expected.
    pub(crate) fn fits_digest(&self) -> bool {
        let Some((hasher, due)) = &self.proof else {
            return false;
        };
        let mut hasher = hasher.clone();
        for chunk in &self.held {
            hasher.update(chunk);
        }
        hasher.finish() == *due
    }

    /// Whether what is held ends in the error of a Harbor whose upstream broke.
    pub(crate) fn ends_in_an_error(&self) -> bool {
        ends_in_an_error(self.held.iter())
    }

    /// How many bytes are due, if that is known.
    pub(crate) fn length(&self) -> Option<u64> {
        self.length
    }

    /// Whether a digest proves the body, not its length alone.
    pub(crate) fn is_hashed(&self) -> bool {
        self.proof.is_some()
    }

    /// Every byte that was promised has come: no need to wait for the source to say so.
    pub(crate) fn is_full(&self) -> bool {
        self.length == Some(self.received())
    }
}

/// Whether these bytes end as Harbor up to 2.15 ends a broken cold blob: with error JSON behind the part that came (harbor-facts
/// 0.3), cut off perhaps where the blob's end is due.
pub(crate) fn ends_in_an_error<'a>(chunks: impl DoubleEndedIterator<Item = &'a Bytes>) -> bool {
    const BEGIN: &[u8] = br#"{"errors":[{"code":"#;
    const LONGEST: usize = 1024;
    let mut end: Vec<u8> = Vec::new();
    for chunk in chunks.rev() {
        let rest = LONGEST.saturating_sub(end.len());
        let from = chunk.len().saturating_sub(rest);
        end.splice(..0, chunk.iter().skip(from).copied());
    }
    let mut places = end.windows(BEGIN.len());
    let begins = places.rposition(|place| place == BEGIN);
    let json = begins.and_then(|at| end.get(at..));
    json.is_some_and(|json| {
        json.iter()
            .all(|byte| !byte.is_ascii_control() || *byte == b'\n')
    })
}

#[cfg(test)]
mod tests;
