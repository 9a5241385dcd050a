//! Where a redirect may lead. Pure; the address behind a name is checked by `upstream` when it is dialled.

use crate::auth::{Hop, NamedUrl};
use crate::http1::Fields;
use crate::topology::Source;
use hyper::StatusCode;
use hyper::header::LOCATION;
use std::borrow::Cow;

/// Who is asked for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Position<'a> {
    pub(super) hop: Hop,
    /// Path and query.
    pub(super) target: Cow<'a, str>,
}

impl<'a> Position<'a> {
    /// The source's own endpoint.
    pub(super) fn home(source: &Source, target: &'a str) -> Self {
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
    pub(super) fn is_presigned(&self) -> bool {
        self.hop != Hop::Endpoint && self.target.contains('?')
    }
}

/// The Location of an answer that says "elsewhere". A 3xx without one says nothing and is an answer as any other;
/// so is 304.
pub(super) fn location(status: StatusCode, fields: &Fields) -> Option<&[u8]> {
    let moves = matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308);
    fields.get(&LOCATION).filter(|_| moves)
}

/// The next position. Within the source's own origin the same endpoint is asked, with the same credential. Any
/// other origin gets none, and who has once left home does not come back with one: what stands in a foreign
/// Location is somebody else's choice.
///
/// # Errors
/// Says why the redirect is not followed; never with its query.
pub(super) fn follow(
    source: &Source,
    at: &Position<'_>,
    location: &[u8],
) -> Result<Position<'static>, String> {
    let base = match &at.hop {
        Hop::Endpoint => &source.url,
        Hop::Named(origin) => origin,
    };
    let text = std::str::from_utf8(location).map_err(|_| "the Location is not ASCII".to_owned())?;
    let url = NamedUrl::resolve(base, text).map_err(|why| format!("the Location: {why}"))?;
    if (base.https || source.url.https) && !url.origin.https {
        return Err(format!("{url} would go from https to http"));
    }
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
