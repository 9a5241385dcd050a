//! The one thing that token realms and redirects need of DNS, so that they can be tried without it.

use crate::discovery::{Discovery, LookupError};
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;

/// What a lookup gives.
pub type LookupResult = Result<Vec<IpAddr>, LookupError>;

/// Addresses of a host that a source named.
pub trait Lookup: Send + Sync {
    /// The addresses of a DNS name. IP literals are never asked for.
    fn lookup<'a>(
        &'a self,
        host: &'a str,
    ) -> Pin<Box<dyn Future<Output = LookupResult> + Send + 'a>>;
}

impl Lookup for Discovery {
    fn lookup<'a>(
        &'a self,
        host: &'a str,
    ) -> Pin<Box<dyn Future<Output = LookupResult> + Send + 'a>> {
        // The inherent method, which comes before the trait's.
        Box::pin(Self::lookup(self, host))
    }
}
