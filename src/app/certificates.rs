//! Says when a tier's certificate runs out soon, as it was seen in the last handshake: two weeks before, once a day.

use crate::doctor::CERTIFICATE_ENDS_SOON;
use crate::telemetry::{EventName, Journal, StateChange, human_days};
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
            if let Some(ends) = ends
                && self.is_news(&source.id, ends, now)
            {
                let expires = match ends.duration_since(now) {
                    Ok(left) => format!("expires in {}", human_days(left)),
                    Err(over) => format!("expired {} ago", human_days(over.duration())),
                };
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

    fn is_news(&mut self, source: &SourceId, ends: SystemTime, now: SystemTime) -> bool {
        // The end is foreign, and any date.
        let soon = ends
            .duration_since(now)
            .is_ok_and(|left| left <= CERTIFICATE_ENDS_SOON)
            || ends <= now;
        let said = self.0.get(source);
        let said = said.is_some_and(|said| {
            now.duration_since(*said)
                .map_or(true, |passed| passed < DAY)
        });
        if soon && !said {
            self.0.insert(source.clone(), now);
        }
        soon && !said
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
        assert!(!certificates.is_news(&tier, now + 15 * DAY, now));
        assert!(certificates.is_news(&tier, now + 13 * DAY, now));
        assert!(!certificates.is_news(&tier, now + 13 * DAY, now + DAY / 2));
        assert!(certificates.is_news(&tier, now + 13 * DAY, now + DAY));
        assert!(certificates.is_news(&SourceId::Tier("core".into()), now, now + DAY));
    }
}
