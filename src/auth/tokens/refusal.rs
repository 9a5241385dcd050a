//! Fresh tokens that opened nothing: what is asked again within a minute is refused as it was, without another token. A Harbor
//! lets a wrong secret wait for 1.5 s each time (harbor-facts 13.5).

use super::Tokens;
use super::entries::{Refusal, Useless};
use crate::auth::TokenKey;
use crate::lifecycle::deadline;
use http::header::HeaderValue;
use std::time::Duration;
use tokio::time::Instant;

/// How long that is remembered; another secret begins anew.
const REMEMBERED: Duration = Duration::from_secs(60);

impl Tokens {
    /// How this token was refused when it was fresh.
    #[must_use]
    pub fn refusal(&self, key: &TokenKey, shown: &HeaderValue, now: Instant) -> Option<Refusal> {
        let entries = self.entries.lock();
        let entry = entries.of.get(key, now)?;
        let is_current = entry.current.as_ref()?.authorization == *shown;
        let useless = entry.useless.as_ref()?;
        (is_current && now < useless.until).then(|| useless.refusal.clone())
    }

    /// Remembers how a fresh token was refused, unless another one is there by now.
    pub fn remember_refusal(
        &self,
        key: &TokenKey,
        shown: &HeaderValue,
        refusal: Refusal,
        now: Instant,
    ) {
        let mut entries = self.entries.lock();
        if let Some(entry) = entries.of.get_mut(key, now)
            && let Some(current) = &entry.current
            && current.authorization == *shown
        {
            let until = deadline(now, REMEMBERED);
            entry.useless = Some(Useless { until, refusal });
        }
        entries.weigh(key);
    }
}
