//! Real sockets on loopback: connections, reuse, bodies, TLS, proxies, forbidden addresses.

mod bodies;
mod certificates;
mod forbidden;
mod inspect;
mod proxies;
mod reuse;
pub(super) mod support;
mod tls;
