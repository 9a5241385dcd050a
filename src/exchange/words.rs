//! What a 401 says: its challenges, and its body.

use crate::auth::{Challenge, parse_challenges};
use crate::http1::Fields;
use crate::upstream::Body;
use http::header::WWW_AUTHENTICATE;
use std::time::Duration;
use tokio::time::timeout;

/// What a refusal says, as far as it is short and comes soon.
pub(super) async fn words(body: &mut Body) -> Vec<u8> {
    const LONGEST: usize = 16 * 1024;
    const SOON: Duration = Duration::from_millis(500);
    let mut words = Vec::new();
    let reading = async {
        while words.len() < LONGEST
            && let Some(Ok(piece)) = body.next().await
        {
            words.extend_from_slice(&piece);
        }
    };
    // What has come until then is all that is known.
    timeout(SOON, reading).await.ok();
    words
}

/// The challenges of all headers, in order.
pub(super) fn challenges_of(fields: &Fields) -> Vec<Challenge> {
    let values = fields.all(&WWW_AUTHENTICATE);
    let texts = values.filter_map(|value| std::str::from_utf8(value).ok());
    texts.take(8).flat_map(parse_challenges).collect()
}
