//! Credentials and tokens (design P5): challenges are parsed, tokens fetched once for all who wait, kept per
//! (address, project, credential), renewed early.

mod challenge;
mod fetch;
mod lookup;
mod named_url;
mod plan;
mod reach;
mod redirect;
mod tokens;

#[cfg(test)]
pub(crate) mod testing;

pub use challenge::{BearerChallenge, Challenge, parse_challenges};
pub use fetch::basic_authorization;
pub use lookup::{Lookup, LookupResult};
pub use named_url::{Downgrade, InvalidUrl, NamedUrl};
pub use plan::{TokenPlan, TokenRequest};
pub use reach::{Hop, Reach};
pub use redirect::{Position, Unfollowed, follow, instead_of_http, location};
pub use tokens::{FetchToken, Fetching, Issued, Refusal, TokenError, TokenFailure, Tokens};

use crate::config::BaseUrl;
use crate::topology::SourceId;
use std::net::SocketAddr;
use std::sync::Arc;

/// What a token opens: one per (endpoint, scope). Harbor reduces a token to its project, so that a tier's
/// scope names the project's first repository asked for and is kept under the project alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TokenKey {
    /// The source whose requests bring it along.
    pub source: SourceId,
    /// `Some` for tiers, whose tokens belong to one address; `None` for upstreams, whose realm is one for all.
    pub address: Option<SocketAddr>,
    /// `Some`: not the source's own, but of the host that a redirect of it led to.
    pub host: Option<BaseUrl>,
    /// The tier's project, or the upstream's repository.
    pub realm_of: Arc<str>,
    /// Whether it is one of the source's credential. An anonymous one is another, and neither takes the other's place.
    pub with_credential: bool,
}
