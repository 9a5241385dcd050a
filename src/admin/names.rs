//! Who sees names of images: root and the agent's own uid, and who shows the token of `[server] admin_token_file`. Any
//! process of the node can open the port; everybody else is shown sums.

use crate::cache::Trust;
use crate::config::Secret;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Request;
use http::header::AUTHORIZATION;

/// Whether names of images may be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Names {
    Shown,
    Hidden,
}

// === impl Names ===

impl Names {
    /// For a request, in whose extensions the endpoint has put who asks.
    pub(super) fn for_request<B>(request: &Request<B>, token: Option<&Secret>) -> Self {
        let is_trusted = request.extensions().get() == Some(&Trust::Trusted);
        match is_trusted || token.is_some_and(|token| shows(request, token)) {
            true => Self::Shown,
            false => Self::Hidden,
        }
    }
}

/// `Authorization: Bearer TOKEN`, or the token as the password of any user, which is what a browser asks a person for.
fn shows<B>(request: &Request<B>, token: &Secret) -> bool {
    let said = request.headers().get(AUTHORIZATION);
    let Some((scheme, said)) = said.and_then(|said| said.to_str().ok()?.split_once(' ')) else {
        return false;
    };
    let is_token = |said: &[u8]| verify_slices_are_equal(said, token.reveal().as_bytes()).is_ok();
    if scheme.eq_ignore_ascii_case("bearer") {
        return is_token(said.trim().as_bytes());
    }
    let Ok(pair) = STANDARD.decode(said.trim()) else {
        return false;
    };
    let mut parts = pair.splitn(2, |byte| *byte == b':').skip(1);
    scheme.eq_ignore_ascii_case("basic") && parts.next().is_some_and(is_token)
}

#[cfg(test)]
mod tests;
