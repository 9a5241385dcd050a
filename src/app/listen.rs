//! The listeners: taken over from the process before this one, or bound anew; and kept for the next one (design O3).

use super::{Bound, Error};
use crate::doctor::port::who_listens;
use crate::lifecycle::{DrainWatch, Inherited, Notifier, Tasks};
use crate::node::detect::Machine;
use crate::node::privileged::first_unprivileged_port;
use crate::router::Dispatcher;
use crate::server;
use crate::upstream::Client;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use tokio::net::TcpListener;
use tokio::runtime::Handle;

/// What stands in errors about it.
const ENDPOINT: &str = "the registry endpoint";
pub(super) const ADMIN: &str = "the admin endpoint";

/// The registry endpoint's listeners before they are served, in the configuration's order.
#[derive(Debug)]
pub(super) struct Listeners {
    /// Each address with its inherited listener, if there was one; those of the gateway last.
    claimed: Vec<(SocketAddr, Option<std::net::TcpListener>)>,
}

// === impl Listeners ===

impl Listeners {
    /// Takes over what fits the configuration. The others are closed at once: nobody will accept there any more.
    ///
    /// # Errors
    /// [`Error::Bind`]: an inherited listener cannot be used.
    pub(super) fn claim(
        mut inherited: Inherited,
        mut addresses: impl Iterator<Item = SocketAddr>,
    ) -> Result<Self, Error> {
        for trouble in inherited.trouble() {
            tracing::warn!("{trouble}");
        }
        let claim = |address| {
            let claimed = inherited.claim(address);
            let claimed = claimed.map_err(|source| wrong(ENDPOINT, address, source))?;
            Ok((address, claimed))
        };
        let claimed = addresses.by_ref().map(claim).collect::<Result<_, _>>()?;
        Ok(Self { claimed })
    }

    /// Opens them all, on the runtime that is to drive them.
    ///
    /// # Errors
    /// [`Error::Bind`]: an address cannot be bound.
    pub(super) async fn open(self) -> Result<Vec<(TcpListener, SocketAddr)>, Error> {
        let mut opened = Vec::new();
        for (address, claimed) in self.claimed {
            opened.push(match claimed {
                Some(listener) => {
                    let listener = TcpListener::from_std(listener);
                    let listener = listener.map_err(|source| wrong(ENDPOINT, address, source))?;
                    tracing::debug!("{address} was kept open over the restart");
                    (listener, address)
                }
                None => bind(address, ENDPOINT).await?,
            });
        }
        Ok(opened)
    }
}

impl Bound {
    /// Has no client dial what this agent itself listens at.
    pub(super) fn keep_undialled(&self, clients: &[&Client]) {
        let all = self.listen.iter().chain(&self.gateway);
        let all = all.chain(&self.admin).chain(&self.metrics);
        let all: Vec<_> = all.copied().collect();
        for client in clients {
            client.set_listeners(all.clone());
        }
    }
}

/// Binds an address; port 0 becomes the one that the kernel chose.
pub(super) async fn bind(
    address: SocketAddr,
    what: &'static str,
) -> Result<(TcpListener, SocketAddr), Error> {
    let listener = TcpListener::bind(address).await;
    let listener = listener.map_err(|source| wrong(what, address, source))?;
    let bound = listener.local_addr();
    let bound = bound.map_err(|source| wrong(what, address, source))?;
    Ok((listener, bound))
}

/// Serves one on that runtime until the drain closes it.
pub(super) fn serve(
    listener: TcpListener,
    (entry, settings, drain): (&Dispatcher, server::Settings, &DrainWatch),
    (tasks, accepting): (&Tasks, &Handle),
) {
    let _on_data = accepting.enter();
    let served = server::serve(listener, entry.clone(), settings, drain.clone());
    tasks.spawn("registry endpoint", async move {
        served.await;
        // It ends only when the drain closes it, and the process with it.
        std::future::pending::<()>().await;
    });
}

/// A second handle on a listener, for the next process; `None` where nobody would keep it.
pub(super) fn keep(listener: &TcpListener, notifier: &Notifier) -> Option<OwnedFd> {
    if !notifier.has_manager() {
        return None;
    }
    match listener.as_fd().try_clone_to_owned() {
        Ok(kept) => Some(kept),
        Err(error) => {
            tracing::warn!(
                "duplicating a listener for the next restart: {error}; clients are refused meanwhile"
            );
            None
        }
    }
}

fn wrong(what: &'static str, address: SocketAddr, source: std::io::Error) -> Error {
    let machine = Machine::this();
    let instead = instead(
        what,
        address,
        source.kind(),
        || who_listens(address).map(|held| held.to_string()),
        first_unprivileged_port(&machine),
    );
    Error::Bind {
        what,
        address,
        instead,
        source,
    }
}

/// Who or what is in the way, and what to do.
fn instead(
    what: &str,
    address: SocketAddr,
    kind: ErrorKind,
    holder: impl FnOnce() -> Option<String>,
    first: u32,
) -> String {
    let key = match what {
        ENDPOINT => "listen",
        ADMIN => "admin",
        _ => "metrics",
    };
    let port = address.port();
    match kind {
        ErrorKind::AddrInUse => match holder() {
            Some(holder) => format!(
                "{holder} holds that port; stop it, or choose another port with [server] {key}"
            ),
            None => format!(
                "somebody holds that port; see who with: ss -tanp 'sport = :{port}'; or choose another port with [server] {key}"
            ),
        },
        ErrorKind::PermissionDenied if u32::from(port) < first => {
            let mut text = format!(
                "a port below {first} needs root or CAP_NET_BIND_SERVICE, which this process (uid {}) does not have; start it by its unit (systemctl start harbor-pilot), or choose a port from {first} on with [server] {key}",
                rustix::process::geteuid().as_raw()
            );
            if what == ENDPOINT {
                text.push_str(
                    ", which every user of this node may bind as well: it is written into the node's files only with [node] allow_unprivileged_port = true",
                );
            }
            text
        }
        _ => format!("see that this node has that address, or choose another with [server] {key}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_the_way_of_a_port_is_named_with_what_to_do() {
        let low: SocketAddr = "127.0.0.1:290".parse().unwrap();
        let nginx = || Some("nginx (pid 814, nginx.service)".to_owned());
        let said =
            |what, kind, holder: fn() -> Option<String>| instead(what, low, kind, holder, 1024);
        let text = said(ENDPOINT, ErrorKind::AddrInUse, nginx);
        assert_eq!(
            text,
            "nginx (pid 814, nginx.service) holds that port; stop it, or choose another port with [server] listen"
        );
        let text = said(ADMIN, ErrorKind::AddrInUse, || None);
        assert!(text.contains("ss -tanp 'sport = :290'") && text.ends_with("[server] admin"));
        let text = said(ENDPOINT, ErrorKind::PermissionDenied, || None);
        for due in [
            "a port below 1024 needs root or CAP_NET_BIND_SERVICE",
            "(uid ",
            "choose a port from 1024 on with [server] listen",
            "allow_unprivileged_port = true",
        ] {
            assert!(text.contains(due), "{text}");
        }
        let text = said(ADMIN, ErrorKind::PermissionDenied, || None);
        assert!(!text.contains("allow_unprivileged_port"), "{text}");
        let text = said("metrics", ErrorKind::AddrNotAvailable, || None);
        assert!(text.ends_with("[server] metrics"), "{text}");
    }
}
