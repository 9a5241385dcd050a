//! A body that is read whole: counted from its first byte to the last reference to it.

use super::{Budget, Kind, Lease, PATIENCE, Refused, SMALL};
use bytes::Bytes;
use memmap2::MmapMut;
use std::io::{self, Read};
use std::time::Duration;

/// What a body is put into, piece by piece. What is larger than [`SMALL`] lies in a mapping of its own, which the kernel has
/// back the moment it is dropped, whatever the allocator keeps.
#[derive(Debug)]
pub struct Buffer {
    store: Store,
    /// How much of it is filled.
    length: usize,
    lease: Lease,
    patience: Duration,
}

#[derive(Debug)]
enum Store {
    Small(Vec<u8>),
    Mapped(MmapMut),
}

/// Linux has pages of 4, 16 and 64 KiB.
const LARGEST_PAGE: usize = 64 * 1024;

/// What a mapping takes at most, whatever the kernel's pages.
fn counted(bytes: usize) -> usize {
    bytes
        .checked_next_multiple_of(LARGEST_PAGE)
        .unwrap_or(bytes)
}

/// Filled, for as long as anybody refers to it.
struct Filled {
    store: Store,
    length: usize,
    _lease: Lease,
}

// === impl Buffer ===

impl Buffer {
    /// An empty one, for a body of so many bytes as far as that is known.
    ///
    /// # Errors
    /// [`Refused`]: there is no room for so many, and there was none in time.
    pub async fn new(budget: &Budget, kind: Kind, expected: usize) -> Result<Self, Refused> {
        let mut buffer = Self {
            store: Store::Small(Vec::new()),
            length: 0,
            lease: budget.lease(kind),
            patience: PATIENCE,
        };
        buffer.reserve(expected).await?;
        Ok(buffer)
    }

    /// As [`Self::new`], without waiting: `None` where there is no room.
    #[must_use]
    pub fn try_new(budget: &Budget, kind: Kind, expected: usize) -> Option<Self> {
        let mut lease = budget.lease(kind);
        let store = if expected <= SMALL {
            lease.set(expected);
            Store::Small(Vec::with_capacity(expected))
        } else {
            let has_room = lease.try_grow(counted(expected));
            Store::Mapped(
                has_room
                    .then(|| MmapMut::map_anon(expected).ok())
                    .flatten()?,
            )
        };
        Some(Self {
            store,
            length: 0,
            lease,
            patience: Duration::ZERO,
        })
    }

    /// The number of bytes that were read into it.
    #[must_use]
    pub fn length(&self) -> usize {
        self.length
    }

    /// Puts these behind the others.
    ///
    /// # Errors
    /// [`Refused`]: there is no room for them, and there was none in time.
    pub async fn push(&mut self, piece: &[u8]) -> Result<(), Refused> {
        let length = self.length.saturating_add(piece.len());
        if length > self.capacity() {
            // Twice as much each time; what is never written to takes no memory.
            let more = length.max(self.capacity().saturating_mul(2));
            self.reserve(more).await?;
        }
        match &mut self.store {
            Store::Small(bytes) => bytes.extend_from_slice(piece),
            Store::Mapped(mapping) => {
                if let Some(free) = mapping.get_mut(self.length..length) {
                    free.copy_from_slice(piece);
                }
            }
        }
        self.length = length;
        Ok(())
    }

    /// Puts what is read into it, to its end or as far as there is room.
    ///
    /// # Errors
    /// [`io::Error`]: `from` cannot be read.
    pub fn fill(&mut self, from: &mut impl Read) -> io::Result<()> {
        match &mut self.store {
            Store::Small(bytes) => {
                let room = bytes.capacity().saturating_sub(bytes.len());
                from.take(room as u64).read_to_end(bytes)?;
                self.length = bytes.len();
            }
            Store::Mapped(mapping) => {
                while let Some(free) = mapping.get_mut(self.length..) {
                    match from.read(free) {
                        Ok(0) => break,
                        Ok(read) => self.length = self.length.saturating_add(read),
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        Err(error) => return Err(error),
                    }
                }
            }
        }
        Ok(())
    }

    /// What was put into it; counted until the last reference to it is dropped.
    #[must_use]
    pub fn finish(mut self) -> Bytes {
        match &mut self.store {
            Store::Small(bytes) => {
                bytes.shrink_to_fit();
                self.lease.set(self.length);
            }
            Store::Mapped(_) => self.lease.set(counted(self.length)),
        }
        Bytes::from_owner(Filled {
            store: self.store,
            length: self.length,
            _lease: self.lease,
        })
    }

    fn capacity(&self) -> usize {
        match &self.store {
            Store::Small(bytes) => bytes.capacity(),
            Store::Mapped(mapping) => mapping.len(),
        }
    }

    async fn reserve(&mut self, capacity: usize) -> Result<(), Refused> {
        let Self {
            store,
            length,
            lease,
            patience,
        } = self;
        if let Store::Small(bytes) = store
            && capacity <= SMALL
        {
            lease.set(capacity);
            bytes.reserve_exact(capacity.saturating_sub(*length));
            return Ok(());
        }
        // Boxed, as it is rare: it would be much of what every request's future takes.
        Box::pin(lease.grow(counted(capacity), patience)).await?;
        let mapped = MmapMut::map_anon(capacity);
        let mut mapping = mapped.map_err(|_| lease.budget.refuse(lease.kind, capacity))?;
        let old = store.as_ref();
        let filled = old.get(..*length).unwrap_or_default();
        if let Some(copy) = mapping.get_mut(..filled.len()) {
            copy.copy_from_slice(filled);
        }
        *store = Store::Mapped(mapping);
        Ok(())
    }
}

// === impl Store ===

impl AsRef<[u8]> for Store {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Small(bytes) => bytes,
            Self::Mapped(mapping) => mapping,
        }
    }
}

// === impl Filled ===

impl AsRef<[u8]> for Filled {
    fn as_ref(&self) -> &[u8] {
        self.store.as_ref().get(..self.length).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What cannot be tried without such a kernel: a mapping takes whole pages, and never more than is counted.
    #[test]
    fn a_mapping_is_counted_whole_with_pages_of_any_length() {
        const KIB: usize = 1024;
        assert_eq!(LARGEST_PAGE, 64 * KIB);
        const { assert!(SMALL >= LARGEST_PAGE, "no mapping is smaller than a page") };
        for page in [4 * KIB, 16 * KIB, 64 * KIB] {
            assert_eq!(LARGEST_PAGE % page, 0, "{page}");
            let wanted = [SMALL + 1, SMALL + page, 2 * LARGEST_PAGE, 300 * KIB + 1];
            for bytes in wanted {
                let (taken, counted) = (bytes.next_multiple_of(page), counted(bytes));
                assert!(counted >= taken, "{bytes} in pages of {page}");
                assert!(counted < bytes + LARGEST_PAGE, "{bytes}: too many");
                assert_eq!(counted % page, 0, "{bytes} in pages of {page}");
            }
        }
        assert_eq!(counted(0), 0);
        assert_eq!(counted(usize::MAX), usize::MAX, "it does not wrap");
    }
}
