//! Design S1 where connections are made: which of the addresses that DNS gave are dialled. Each is judged by itself; what to
//! think of one is `guard`'s.

use super::guard::{self, Forbidden, Rule};
use super::pool::Key;
use crate::config::BaseUrl;
use crate::topology::{EndpointId, Source};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;

/// A host that a source's endpoint named: a redirect's target or a token realm.
#[derive(Clone, Copy, Debug)]
pub struct Named<'a> {
    /// The source that named it.
    pub by: &'a Arc<Source>,
    /// The endpoint that named it.
    pub from: &'a EndpointId,
    /// What it named: scheme, host and port.
    pub target: &'a BaseUrl,
}

/// The addresses at which this agent itself listens.
#[derive(Clone, Debug, Default)]
pub(super) struct OwnListeners(pub(super) Vec<SocketAddr>);

/// Whether an endpoint of a source may be dialled. Behind a proxy the endpoint is the proxy; of the source there is
/// only what is written down.
pub(super) fn check(
    source: &Source,
    endpoint: &EndpointId,
    own: &OwnListeners,
) -> Result<(), Forbidden> {
    if let (Some(_), Some(written)) = (&source.proxy, guard::literal(&source.url.host)) {
        Rule::configured().check(written)?;
    }
    Rule::configured().check(endpoint.address.ip())?;
    own.check(endpoint.address)
}

// === impl Named ===

impl<'a> Named<'a> {
    /// The host whose addresses are wanted for [`super::Client::connect_named`]: the target's, or that of the source's proxy.
    /// `None`: no lookup is needed.
    #[must_use]
    pub fn looked_up(self) -> Option<&'a str> {
        let host = &self.dialled().host;
        let is_known = guard::literal(host).is_some() || self.own_address().is_some();
        (!is_known).then_some(host)
    }

    /// Which of these addresses may be dialled.
    pub(super) fn allowed(
        self,
        addresses: &[IpAddr],
        own: &OwnListeners,
    ) -> Result<Vec<SocketAddr>, Forbidden> {
        let rule = self.rule();
        guard::check_target(self.by, rule, self.target)?;
        let dialled = self.dialled();
        let rule = match self.by.proxy {
            Some(_) => Rule::configured(),
            None => rule,
        };
        let known = self.own_address().or(guard::literal(&dialled.host));
        let addresses = known.as_ref().map_or(addresses, std::slice::from_ref);
        let mut allowed = Vec::with_capacity(addresses.len());
        let mut refused = None;
        for address in addresses {
            let address = SocketAddr::new(*address, dialled.port);
            match rule.check(address.ip()).and_then(|()| own.check(address)) {
                Ok(()) => allowed.push(address),
                Err(why) => refused = Some(why),
            }
        }
        match refused {
            Some(why) if allowed.is_empty() => Err(why),
            _ => Ok(allowed),
        }
    }

    /// Under what its connections are kept. Only who may dial an address gets a connection to it, and a source's own host is
    /// another one at each of its addresses.
    pub(super) fn key(self) -> Key {
        Key::Named {
            source: self.by.id.clone(),
            rule: self.rule(),
            address: self.own_address(),
            https: self.target.https,
            host: self.target.host.clone(),
            port: self.target.port,
        }
    }

    fn rule(self) -> Rule {
        let stands_at = match self.by.proxy {
            // The endpoint is the proxy's.
            Some(_) => guard::literal(&self.by.url.host),
            None => Some(self.from.address.ip()),
        };
        Rule::named(self.by, stands_at)
    }

    /// The source's own host, by another scheme or at another port, is asked at the address that named it: installations behind
    /// one name need not know each other's tokens.
    fn own_address(self) -> Option<IpAddr> {
        let is_own = self.by.proxy.is_none() && self.target.host == self.by.url.host;
        is_own.then(|| self.from.address.ip())
    }

    fn dialled(self) -> &'a BaseUrl {
        let proxy = self.by.proxy.as_ref();
        proxy.map_or(self.target, |proxy| &proxy.url)
    }
}

// === impl OwnListeners ===

impl OwnListeners {
    /// Refuses what leads back to this agent.
    fn check(&self, to: SocketAddr) -> Result<(), Forbidden> {
        let ip = to.ip().to_canonical();
        let is_own = |listener: &SocketAddr| {
            let at = listener.ip().to_canonical();
            listener.port() == to.port() && (at == ip || at.is_unspecified() && is_of_this_node(ip))
        };
        match self.0.iter().any(is_own) {
            true => Err(Forbidden::Own),
            false => Ok(()),
        }
    }
}

/// Whether the address is one of this node's: only then can a socket be bound to it.
fn is_of_this_node(ip: IpAddr) -> bool {
    ip.is_loopback() || UdpSocket::bind((ip, 0)).is_ok()
}
