//! The memory that the stream of a blob takes: what is read and not sent yet. Nothing is read before the client took what came
//! before it, so that it is one read and the hold-back buffer, however long the client does not read.

use crate::budget::{Budget, Kind, Lease};
use crate::relay::transfer::HELD_BACK;
use crate::upstream::LARGE_READS;

/// What every stream takes, in bytes: the hold-back buffer, a small read, and a record of TLS.
const SMALL: usize = 48 * 1024;
const _: () = assert!(SMALL as u64 >= HELD_BACK + 16 * 1024);

/// What is as short as this is not worth large reads, in bytes.
const SHORT: u64 = 64 * 1024;

/// Bytes of the budget. Large reads save calls into the kernel, and are nothing that a stream needs: where memory is short it goes
/// on with small ones.
pub(super) struct Room(Lease);

// === impl Room ===

impl Room {
    /// Room for small reads alone, as every stream has it.
    pub(super) fn new(budget: &Budget) -> Self {
        let lease = budget.lease(Kind::Layers);
        lease.set(SMALL);
        Self(lease)
    }

    /// Whether there is memory for large reads of what is left; it is kept to the stream's end. `wanted`: how much is left.
    pub(super) fn is_large(&mut self, wanted: Option<u64>) -> bool {
        const LARGE: usize = SMALL + LARGE_READS;
        if self.0.bytes() >= LARGE {
            return true;
        }
        wanted.is_none_or(|wanted| wanted > SHORT) && self.0.try_spare(LARGE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_read_in_large_pieces_while_they_hold_less_than_an_eighth_of_the_budget() {
        let budget = Budget::new(16 << 20);
        let mut short = Room::new(&budget);
        assert!(!short.is_large(Some(SHORT)));
        let mut streams: Vec<Room> = (0..20).map(|_| Room::new(&budget)).collect();
        let large = streams
            .iter_mut()
            .filter_map(|room| room.is_large(None).then_some(()));
        let large = large.count();
        assert_eq!(large, ((2 << 20) - 21 * SMALL) / LARGE_READS);
        assert!(budget.held() <= 2 << 20, "{budget:?}");
        assert!(streams[0].is_large(Some(1)), "it has them to its end");
        let last = streams.len() - 1;
        assert!(!streams[last].is_large(None));
        streams.remove(0);
        assert!(streams[last - 1].is_large(None), "as soon as there is room");
        drop((short, streams));
        assert_eq!(budget.held(), 0);
    }

    #[test]
    fn nothing_makes_room_for_large_reads() {
        let budget = Budget::new(4 << 20);
        let manifests = budget.lease(Kind::Manifests);
        manifests.set((4 << 20) - LARGE_READS);
        let mut stream = Room::new(&budget);
        assert!(!stream.is_large(None));
        manifests.set(1 << 20);
        assert!(stream.is_large(None));
    }
}
