//! Which resolved address may be dialled for whom (design S1): pure decisions, made at connect time on the
//! address itself, so that no name, redirect or realm leads past them.
//!
//! An IPv6 address that carries an IPv4 address (mapped, compatible, NAT64, 6to4) is judged as what it
//! carries: the kernel or a gateway would take it there.

use crate::config::BaseUrl;
use crate::topology::{Source, SourceId};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What may be dialled beside public addresses. Link-local, metadata, unspecified, multicast and broadcast
/// addresses are in no rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    loopback: bool,
    private: bool,
    /// The literal that stands in the configuration: whoever wrote it down wants it.
    written: Option<IpAddr>,
}

/// What kind of address it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// The open internet, and the ranges kept for documentation and benchmarks.
    Public,
    /// 10/8, 172.16/12, 192.168/16, 100.64/10, 240/4, fc00::/7, fec0::/10 and the local NAT64 prefix.
    Private,
    /// 127/8, ::1
    Loopback,
    /// Nobody's registry: link-local, cloud metadata, unspecified, multicast, broadcast.
    Never,
}

/// Why an address or a target is not dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Forbidden {
    /// [`Class::Never`]
    #[error(
        "it is a link-local, metadata, unspecified, multicast or broadcast address, which is never dialled"
    )]
    Never,
    /// Loopback without a loopback source.
    #[error(
        "it is a loopback address; only a source whose configured url has a loopback address (or a [[tier]] \
         at localhost) may lead there"
    )]
    Loopback,
    /// A private range that no tier stands for.
    #[error(
        "it is a private address; make it a [[tier]], or write the address itself into the registry's \
         `upstream`"
    )]
    Private,
    /// An https source named an http target.
    #[error("it would go from https to http")]
    Downgrade,
}

// === impl Rule ===

impl Rule {
    /// For a source's own addresses.
    pub(super) fn own(source: &Source) -> Self {
        let written = literal(&source.url.host);
        let is_tier = matches!(source.id, SourceId::Tier(_));
        Self {
            loopback: is_tier && is_localhost(&source.url.host),
            private: is_tier,
            written,
        }
    }

    /// For the address of a configured proxy.
    pub(super) fn proxy() -> Self {
        Self {
            loopback: true,
            private: true,
            written: None,
        }
    }

    /// For a host that a source named in a redirect or a challenge. Loopback only from a source that is itself
    /// there; private ranges only from tiers.
    pub(super) fn named(named_by: &Source) -> Self {
        let own = Self::own(named_by);
        let is_loopback = own
            .written
            .is_some_and(|ip| classify(ip) == Class::Loopback);
        Self {
            loopback: own.loopback || is_loopback,
            ..own
        }
    }

    /// Whether the address may be dialled.
    pub(super) fn check(self, address: IpAddr) -> Result<(), Forbidden> {
        let written = self
            .written
            .is_some_and(|ip| ip.to_canonical() == address.to_canonical());
        match classify(address) {
            Class::Never => Err(Forbidden::Never),
            Class::Loopback if !self.loopback && !written => Err(Forbidden::Loopback),
            Class::Private if !self.private && !written => Err(Forbidden::Private),
            Class::Public | Class::Private | Class::Loopback => Ok(()),
        }
    }
}

/// Whether a source may lead to this target at all, before any address of it is known. Behind a proxy that is
/// all that can be checked: the proxy looks the name up.
pub(super) fn check_target(named_by: &Source, target: &BaseUrl) -> Result<(), Forbidden> {
    if named_by.url.https && !target.https {
        return Err(Forbidden::Downgrade);
    }
    let rule = Rule::named(named_by);
    match literal(&target.host) {
        Some(address) => rule.check(address),
        None if is_localhost(&target.host) && !rule.loopback => Err(Forbidden::Loopback),
        None => Ok(()),
    }
}

/// The IP address that a host is, if it is one.
pub(super) fn literal(host: &str) -> Option<IpAddr> {
    let bare = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    bare.unwrap_or(host).parse().ok()
}

/// `localhost` and everything below it (RFC 6761).
fn is_localhost(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    host == "localhost" || host.ends_with(".localhost")
}

/// What kind of address it is.
pub(super) fn classify(address: IpAddr) -> Class {
    match address {
        IpAddr::V4(v4) => classify_v4(v4),
        IpAddr::V6(v6) => carried(v6).map_or_else(|| classify_v6(v6), classify_v4),
    }
}

fn classify_v4(address: Ipv4Addr) -> Class {
    let [a, b, c, d] = address.octets();
    match (a, b, c, d) {
        (0, ..) | (169, 254, ..) | (224..=239, ..) | (255, 255, 255, 255) => Class::Never,
        // Metadata and host services of Alibaba Cloud, Oracle Cloud and Azure.
        (100, 100, 100, 200) | (192, 0, 0, 192) | (168, 63, 129, 16) => Class::Never,
        (127, ..) => Class::Loopback,
        (10, ..) | (172, 16..=31, ..) | (192, 168, ..) | (100, 64..=127, ..) | (240..=255, ..) => {
            Class::Private
        }
        _ => Class::Public,
    }
}

fn classify_v6(address: Ipv6Addr) -> Class {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => Class::Loopback,
        [0, 0, 0, 0, 0, 0, 0, 0] => Class::Never,
        // AWS keeps its metadata, DNS and credential services in this /32; the other is Google Cloud's.
        [0xfd00, 0x0ec2, ..] | [0xfd20, 0x00ce, ..] => Class::Never,
        [first, ..] if first & 0xffc0 == 0xfe80 || first & 0xff00 == 0xff00 => Class::Never,
        [first, ..] if first & 0xfe00 == 0xfc00 || first & 0xffc0 == 0xfec0 => Class::Private,
        // Local-use NAT64 (RFC 8215): where the IPv4 address stands depends on the network.
        [0x0064, 0xff9b, 1, ..] => Class::Private,
        _ => Class::Public,
    }
}

/// The IPv4 address inside an IPv6 one.
fn carried(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    match address.segments() {
        // ::/128 and ::1/128 are themselves.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        // Mapped (::ffff:0:0/96), translated (::ffff:0:0:0/96) and compatible (::/96).
        [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0, 0, 0, 0, 0, 0, high, low] => Some(v4(high, low)),
        // NAT64 (RFC 6052), and the likeliest place in the local-use prefix, where only what is never dialled
        // counts: the rest of that prefix is private by itself.
        [0x0064, 0xff9b, 0, 0, 0, 0, high, low] => Some(v4(high, low)),
        [0x0064, 0xff9b, 1, _, _, _, high, low] => {
            Some(v4(high, low)).filter(|v4| matches!(classify_v4(*v4), Class::Never))
        }
        // 6to4 (RFC 3056).
        [0x2002, high, low, ..] => Some(v4(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
