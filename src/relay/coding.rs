//! Content codings that nobody asked for (RFC 9110, 8.4): a document's is undone where it is what its label says. The digest decides
//! what the bytes are, not the label.

use super::outcome::Rejection;
use super::search::unread;
use crate::budget::{Budget, Buffer, Kind, Refused};
use crate::upstream::Body;
use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use std::io::Read as _;

/// The first bytes of what gzip writes (RFC 1952, 2.3.1). No document begins with them.
const GZIP: &[u8] = &[0x1f, 0x8b];

/// So much is unpacked before other tasks have their turn, in bytes.
const PIECE: usize = 64 * 1024;

/// A document's body, read whole and without its coding, and counted in a budget. `broken`: what it means that the coding cannot
/// be undone.
pub(crate) async fn read_whole(
    body: Body,
    (limit, budget, kind): (u64, &Budget, Kind),
    is_encoded: bool,
    broken: impl FnOnce(&'static str) -> Rejection,
) -> Result<Bytes, Rejection> {
    let body = body.read_counted(limit, budget, kind).await;
    let body = body.map_err(unread)?;
    match is_encoded {
        true => undone(body, (limit, budget, kind), broken).await,
        false => Ok(body),
    }
}

/// A document without its coding; as it is where it has none, where its label lies, or where the coding is another than gzip.
async fn undone(
    body: Bytes,
    (limit, budget, kind): (u64, &Budget, Kind),
    broken: impl FnOnce(&'static str) -> Rejection,
) -> Result<Bytes, Rejection> {
    if !body.starts_with(GZIP) {
        return Ok(body);
    }
    let no_memory = |refused: Refused| unread(refused.into());
    let mut plain = Buffer::new(budget, kind, 0).await.map_err(no_memory)?;
    let mut unpacking = MultiGzDecoder::new(&*body);
    let mut piece = vec![0; PIECE];
    loop {
        let unpacked = match unpacking.read(&mut piece) {
            Ok(0) => return Ok(plain.finish()),
            Ok(length) => piece.get(..length).unwrap_or_default(),
            Err(_) => return Err(broken("it is not to be unpacked")),
        };
        plain.push(unpacked).await.map_err(no_memory)?;
        if plain.length() as u64 > limit {
            return Err(broken("unpacked, it is longer than is taken"));
        }
        tokio::task::yield_now().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::rules::{Cause, FinalAnswer, Scope, Unfit};
    use crate::topology::Outcome;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write as _;

    fn packed(plain: &[u8]) -> Vec<u8> {
        let mut packing = GzEncoder::new(Vec::new(), Compression::best());
        packing.write_all(plain).unwrap();
        packing.finish().unwrap()
    }

    fn broken(why: &'static str) -> Rejection {
        Rejection::leave(Scope::Tier, Outcome::Neutral, Cause::Unusable, why)
    }

    async fn unpacked(body: Vec<u8>, limit: u64) -> Result<Bytes, Rejection> {
        let memory = (limit, &Budget::unlimited(), Kind::Manifests);
        undone(body.into(), memory, broken).await
    }

    #[tokio::test]
    async fn what_is_packed_is_unpacked_and_what_is_not_stays() {
        let plain = b"{\"schemaVersion\":2}";
        let twice = [packed(plain), packed(plain)].concat();
        let rows = [
            (plain.to_vec(), plain.to_vec()),
            (packed(plain), plain.to_vec()),
            (twice, plain.repeat(2)),
            (Vec::new(), Vec::new()),
            (vec![0x1f], vec![0x1f]),
        ];
        for (body, due) in rows {
            assert_eq!(unpacked(body, 100).await.unwrap(), due);
        }
        for cut in 2..packed(plain).len() {
            let broken = packed(plain)[..cut].to_vec();
            assert!(unpacked(broken, 100).await.is_err(), "{cut}");
        }
    }

    /// A thousand times what it takes on the wire: little more than the limit is unpacked.
    #[tokio::test]
    async fn a_bomb_stops_at_the_limit() {
        let bomb = packed(&vec![b' '; 4 << 20]);
        assert!(bomb.len() < 8 << 10);
        let whole = unpacked(bomb.clone(), 4 << 20).await.unwrap();
        assert_eq!(whole.len(), 4 << 20);
        assert!(unpacked(bomb, (4 << 20) - 1).await.is_err());
        let two = [packed(&[b' '; 60]), packed(&[b' '; 60])].concat();
        assert!(unpacked(two, 100).await.is_err(), "in parts");
    }

    /// What is unpacked is counted like what is received.
    #[tokio::test(start_paused = true)]
    async fn a_bomb_is_counted() {
        let budget = Budget::new(1 << 20);
        let body = packed(&vec![b' '; 4 << 20]);
        let memory = (4 << 20, &budget, Kind::Manifests);
        let refused = undone(body.into(), memory, broken).await.unwrap_err();
        let is_for_memory = matches!(
            refused.means,
            Unfit::End {
                answer: FinalAnswer::NoMemory,
                ..
            }
        );
        assert!(is_for_memory, "{refused:?}");
        assert_eq!(budget.held(), 0);
    }
}
