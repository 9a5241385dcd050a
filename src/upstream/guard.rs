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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Rule {
    loopback: bool,
    private: bool,
    /// Where the source itself stands.
    at: Option<IpAddr>,
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
    /// Loopback, named by a source that does not stand there.
    #[error("it is a loopback address; only a source that itself stands at one may lead there")]
    Loopback,
    /// A private range, named by a source that is no tier.
    #[error(
        "it is a private address; only a [[tier]] may lead there: make one of the registry, with kind = \"mirror\""
    )]
    Private,
    /// One of the addresses at which this agent listens.
    #[error("it is this agent's own listener, and the request would come back to it")]
    Own,
    /// An https source named an http target.
    #[error("it would go from https to http")]
    Downgrade,
}

// === impl Rule ===

impl Rule {
    /// For the addresses of what a person configured, by name or by address: a source's own, or a proxy's.
    pub(super) fn configured() -> Self {
        Self {
            loopback: true,
            private: true,
            at: None,
        }
    }

    /// For a host that a source named in a redirect or a challenge. Loopback only from a source that is itself
    /// there; private ranges only from tiers; the very address at which the source stands from everybody.
    pub(super) fn named(named_by: &Source, stands_at: Option<IpAddr>) -> Self {
        let is_tier = matches!(named_by.id, SourceId::Tier(_));
        let is_loopback = stands_at.is_some_and(|ip| classify(ip) == Class::Loopback);
        Self {
            loopback: is_loopback || is_tier && is_localhost(&named_by.url.host),
            private: is_tier,
            at: stands_at.map(|ip| ip.to_canonical()),
        }
    }

    /// Whether the address may be dialled.
    pub(super) fn check(self, address: IpAddr) -> Result<(), Forbidden> {
        let is_own = self.at == Some(address.to_canonical());
        match classify(address) {
            Class::Never => Err(Forbidden::Never),
            Class::Loopback if !self.loopback && !is_own => Err(Forbidden::Loopback),
            Class::Private if !self.private && !is_own => Err(Forbidden::Private),
            Class::Public | Class::Private | Class::Loopback => Ok(()),
        }
    }
}

/// Whether a source may lead to this target at all, before any address of it is known. Behind a proxy that is
/// all that can be checked: the proxy looks the name up.
pub(super) fn check_target(
    named_by: &Source,
    rule: Rule,
    target: &BaseUrl,
) -> Result<(), Forbidden> {
    if named_by.url.https && !target.https {
        return Err(Forbidden::Downgrade);
    }
    let is_own = target.host == named_by.url.host;
    match literal(&target.host) {
        Some(address) => rule.check(address),
        None if is_localhost(&target.host) && !rule.loopback && !is_own => Err(Forbidden::Loopback),
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

/// Whether nobody can be there whom anybody configures.
pub(crate) fn is_never_dialled(address: IpAddr) -> bool {
    classify(address) == Class::Never
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
        // NAT64 (RFC 6052).
        [0x0064, 0xff9b, 0, 0, 0, 0, high, low] => Some(v4(high, low)),
        [0x0064, 0xff9b, 1, ..] => local_nat64(address),
        // 6to4 (RFC 3056).
        [0x2002, high, low, ..] => Some(v4(high, low)),
        _ => None,
    }
}

/// What is never dialled, inside the local-use prefix of NAT64 (RFC 8215). Where an IPv4 address stands depends on the network's
/// prefix (RFC 6052, 2.2); everything else there is private by itself.
fn local_nat64(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [_, _, _, _, _, _, a, b, zero, c, d, e, f, w, x, y] = address.octets();
    let places = [[a, b, c, d], [b, c, d, e], [c, d, e, f]];
    let places = places.into_iter().filter(|_| zero == 0);
    // 0/8 is what the places hold that are not in use.
    let used = places.chain([[f, w, x, y]]).filter(|v4| v4[0] != 0);
    let never = |v4: &Ipv4Addr| matches!(classify_v4(*v4), Class::Never);
    used.map(Ipv4Addr::from).find(never)
}

#[cfg(test)]
mod tests;
