//! Where a redirect may lead, of a registry as of a token service. Pure; the address behind a name is checked by `upstream` when
//! it is dialled.

use super::named_url::{Downgrade, InvalidUrl, NamedUrl};
use super::reach::Hop;
use crate::http1::Fields;
use crate::topology::Source;
use http::StatusCode;
use http::header::LOCATION;
use std::borrow::Cow;

/// Redirects followed in one exchange, as Go's client and so containerd does.
const MAX_REDIRECTS: u32 = 10;

/// Who is asked for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position<'a> {
    /// The host that is asked.
    pub hop: Hop,
    /// Path and query.
    pub target: Cow<'a, str>,
}

impl<'a> Position<'a> {
    /// The source's own endpoint.
    #[must_use]
    pub fn home(source: &Source, target: &'a str) -> Self {
        let prefix = source.url.prefix.as_str();
        Self {
            hop: Hop::Endpoint,
            target: if prefix.is_empty() {
                target.into()
            } else {
                [prefix, target].concat().into()
            },
        }
    }

    /// Whether it is a signed URL of another host, which may have run out.
    #[must_use]
    pub fn is_presigned(&self) -> bool {
        self.hop != Hop::Endpoint && self.target.contains('?')
    }
}

/// Why a redirect is not followed. Says nothing of queries.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfollowed {
    /// A loop, or a chain that nobody builds on purpose.
    #[error("more than {MAX_REDIRECTS} redirects in a row")]
    TooMany,
    /// No usable URL.
    #[error("the Location of a redirect")]
    Location(#[from] InvalidUrl),
    /// A step down from https.
    #[error("a redirect without TLS")]
    Downgrade(#[from] Downgrade),
}

/// The Location of an answer that says "elsewhere". A 3xx without one says nothing and is an answer as any other;
/// so is 304.
#[must_use]
pub fn location(status: StatusCode, fields: &Fields) -> Option<&[u8]> {
    let moves = matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308);
    fields.get(&LOCATION).filter(|_| moves)
}

/// The next position; `followed` counts those before. Within the source's own origin the same endpoint is asked, with the same
/// credential. Any other origin gets none, and who has once left home does not come back with one: what stands in a foreign
/// Location is somebody else's choice.
///
/// # Errors
/// [`Unfollowed`]: see its variants.
pub fn follow(
    source: &Source,
    at: &Position<'_>,
    location: &[u8],
    followed: &mut u32,
) -> Result<Position<'static>, Unfollowed> {
    *followed = followed.saturating_add(1);
    if *followed > MAX_REDIRECTS {
        return Err(Unfollowed::TooMany);
    }
    let base = match &at.hop {
        Hop::Endpoint => &source.url,
        Hop::Named(origin) => origin,
    };
    let url = NamedUrl::resolve(base, &at.target, location)?;
    let url = match base.https || source.url.https {
        true => url.over_tls_of(base)?,
        false => url,
    };
    let stays = at.hop == Hop::Endpoint && url.has_origin_of(&source.url);
    let hop = if stays {
        Hop::Endpoint
    } else {
        Hop::Named(url.origin)
    };
    Ok(Position {
        hop,
        target: url.target.into(),
    })
}

/// Where a source is configured by http and sends its clients to https of the same host: what to write instead.
#[must_use]
pub fn instead_of_http(source: &Source, hop: &Hop) -> Option<String> {
    match hop {
        Hop::Named(to) => source.url.instead_of_http(to),
        Hop::Endpoint => None,
    }
}
