//! The numbers that spread requests over addresses: the same on every node and in every version.

use std::net::SocketAddr;

/// The weight of an address for a key (highest random weight). The standard library's hasher may change between
/// releases and would then move every repository of a fleet, so this is FNV-1a, mixed.
pub(super) fn rendezvous(key: &str, address: SocketAddr) -> u64 {
    mix(fnv(key.bytes(), hash_of(address)))
}

pub(super) fn hash_of(address: SocketAddr) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    let hash = match address {
        SocketAddr::V4(v4) => fnv(v4.ip().octets(), OFFSET),
        SocketAddr::V6(v6) => fnv(v6.ip().octets(), OFFSET),
    };
    fnv(address.port().to_be_bytes(), hash)
}

fn fnv(bytes: impl IntoIterator<Item = u8>, start: u64) -> u64 {
    bytes.into_iter().fold(start, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The finaliser of SplitMix64: every input bit reaches every output bit.
pub(super) fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
