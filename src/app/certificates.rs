//! Says when a tier's certificate runs out soon, as it was seen in the last handshake: two weeks before, once a day.

use crate::telemetry::{EventName, Journal, StateChange, expires_soon};
use crate::topology::{SourceId, Sources};
use crate::upstream::Client;
use std::collections::HashMap;
use std::time::{Duration, SystemTime};

/// How often certificates are looked at.
pub(super) const LOOK: Duration = Duration::from_secs(10 * 60);

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What was said of which source, and when.
#[derive(Debug, Default)]
pub(super) struct Certificates(HashMap<SourceId, SystemTime>);

impl Certificates {
    /// Looks at every tier's certificate.
    pub(super) fn look(
        &mut self,
        sources: &Sources,
        client: &Client,
        journal: &Journal,
        now: SystemTime,
    ) {
        for source in &sources.tiers {
            let ends = client.certificate_expiry(&source.id);
            if let Some(expires) = ends.and_then(|ends| self.news(&source.id, ends, now)) {
                journal.event(StateChange {
                    event: EventName::CertExpiring,
                    tier: Some(source.id.label().to_owned()),
                    endpoint: None,
                    message: format!(
                        "the certificate of {} {expires}; renew it at the tier, nothing needs to be done here",
                        source.url
                    ),
                    reason: expires,
                });
            }
        }
    }

    fn news(&mut self, source: &SourceId, ends: SystemTime, now: SystemTime) -> Option<String> {
        let expires = expires_soon(ends, now)?;
        let said = self.0.get(source);
        let is_said = said.is_some_and(|said| {
            now.duration_since(*said)
                .map_or(true, |passed| passed < DAY)
        });
        (!is_said).then(|| {
            self.0.insert(source.clone(), now);
            expires
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_two_weeks_are_news_once_a_day() {
        let mut certificates = Certificates::default();
        let tier = SourceId::Tier("replica".into());
        let now = SystemTime::UNIX_EPOCH + 20_000 * DAY;
        assert!(certificates.news(&tier, now + 15 * DAY, now).is_none());
        assert!(certificates.news(&tier, now + 13 * DAY, now).is_some());
        assert!(
            certificates
                .news(&tier, now + 13 * DAY, now + DAY / 2)
                .is_none()
        );
        assert!(
            certificates
                .news(&tier, now + 13 * DAY, now + DAY)
                .is_some()
        );
        assert!(
            certificates
                .news(&SourceId::Tier("core".into()), now, now + DAY)
                .is_some()
        );
    }
}
