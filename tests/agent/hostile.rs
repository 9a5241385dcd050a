//! Requests, redirects, realms and names that try to reach somewhere else: refused, and nobody is dialled (design S1).

#[path = "hostile/requests.rs"]
mod requests;
#[path = "hostile/sources.rs"]
mod sources;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// Listeners on loopback that nobody is to call.
pub struct Canaries {
    pub at: Vec<SocketAddr>,
    calls: Arc<AtomicUsize>,
    _listening: JoinSet<()>,
}

impl Canaries {
    /// On several addresses, IPv6 included, and at the ports that requests like to name where they are free.
    pub async fn start() -> Self {
        let calls = Arc::new(AtomicUsize::new(0));
        let (mut at, mut listening) = (Vec::new(), JoinSet::new());
        let wanted = [
            "127.0.0.1:0",
            "127.0.0.2:0",
            "127.9.9.9:0",
            "[::1]:0",
            "127.0.0.1:22",
            "127.0.0.1:80",
            "127.0.0.1:443",
            "127.0.0.1:5000",
        ];
        for wanted in wanted {
            let Ok(listener) = TcpListener::bind(wanted).await else {
                assert!(!wanted.ends_with(":0"), "{wanted} cannot be listened on");
                continue;
            };
            at.push(listener.local_addr().unwrap());
            let calls = calls.clone();
            listening.spawn(async move {
                while listener.accept().await.is_ok() {
                    calls.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        Self {
            at,
            calls,
            _listening: listening,
        }
    }

    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    pub fn port(&self) -> u16 {
        self.at[0].port()
    }
}
