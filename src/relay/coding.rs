//! Content codings that nobody asked for (RFC 9110, 8.4): a document's is undone where it is what its label says. The digest decides
//! what the bytes are, not the label. Pure.

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use std::io::Read as _;

/// The first bytes of what gzip writes (RFC 1952, 2.3.1). No document begins with them.
const GZIP: &[u8] = &[0x1f, 0x8b];

/// A document without its coding; as it is where it has none, where its label lies, or where the coding is another than gzip.
///
/// # Errors
/// It is longer than `limit` bytes, or not to be unpacked.
pub(crate) fn undone(body: Bytes, limit: u64) -> Result<Bytes, &'static str> {
    if !body.starts_with(GZIP) {
        return Ok(body);
    }
    let mut plain = Vec::new();
    let mut unpacking = MultiGzDecoder::new(&*body).take(limit.saturating_add(1));
    let read = unpacking.read_to_end(&mut plain);
    match read.map(|length| u64::try_from(length).is_ok_and(|length| length <= limit)) {
        Ok(true) => Ok(plain.into()),
        Ok(false) => Err("unpacked, it is longer than is taken"),
        Err(_) => Err("it is not to be unpacked"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write as _;

    fn packed(plain: &[u8]) -> Vec<u8> {
        let mut packing = GzEncoder::new(Vec::new(), Compression::best());
        packing.write_all(plain).unwrap();
        packing.finish().unwrap()
    }

    #[test]
    fn what_is_packed_is_unpacked_and_what_is_not_stays() {
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
            assert_eq!(undone(body.into(), 100).unwrap(), due);
        }
        for cut in 2..packed(plain).len() {
            let broken = Bytes::copy_from_slice(&packed(plain)[..cut]);
            assert!(undone(broken, 100).is_err(), "{cut}");
        }
    }

    /// A thousand times what it takes on the wire: no more than the limit is unpacked.
    #[test]
    fn a_bomb_stops_at_the_limit() {
        let bomb = packed(&vec![b' '; 4 << 20]);
        assert!(bomb.len() < 8 << 10);
        assert_eq!(undone(bomb.clone().into(), 4 << 20).unwrap().len(), 4 << 20);
        assert!(undone(bomb.into(), (4 << 20) - 1).is_err());
        let two = [packed(&[b' '; 60]), packed(&[b' '; 60])].concat();
        assert!(undone(two.into(), 100).is_err(), "in parts");
    }
}
