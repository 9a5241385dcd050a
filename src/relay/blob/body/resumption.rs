//! Who goes on with a body that its source has left, or is too slow for.

use super::{BlobBody, Resumed};
use crate::http1::Broken;
use crate::relay::outcome::Ended;
use crate::relay::search::Search;
use crate::topology::EndpointId;
use std::sync::Arc;

impl BlobBody {
    /// The rest comes from elsewhere.
    pub(super) fn leave(&mut self, endpoint: EndpointId) {
        self.left.push(endpoint);
        self.bytes.breaks();
        self.speed.rest();
        if self.resumption.is_none() {
            self.look_for_another();
        }
    }

    pub(super) fn look_for_another(&mut self) {
        self.resumes_at = self.bytes.window().released();
        let spec = Arc::new(self.spec.from(self.reached(), self.total));
        let (parts, route) = (self.parts.clone(), self.route.clone());
        let mut search = Search::new(parts, route, spec, self.timing);
        let current = self.source.iter().map(|source| &source.endpoint);
        for endpoint in self.left.iter().chain(current) {
            search = search.without(endpoint);
        }
        self.resumption = Some(Box::pin(search.run()));
    }

    /// Another goes on, if there is one.
    pub(super) fn resumed(&mut self, ended: Resumed) -> Result<(), Broken> {
        let Ended { result, log } = ended;
        let attempts = log.attempts;
        let mut found = match result {
            Ok(found) => found,
            // The last living source is never cut for slowness (design P6): wait on.
            Err(_) if self.source.is_some() => {
                self.speed.begin_anew();
                return Ok(());
            }
            Err(nothing) => return Err(self.give_up(&log.text(&nothing))),
        };
        self.tell_rate();
        if let Some(slow) = self.source.take() {
            self.slow(slow.endpoint);
        }
        if std::mem::take(&mut self.begins_span) {
            self.record.goes_on_by(&found.endpoint, attempts);
        } else {
            let before = self.left.last();
            let before = before.map_or("", |endpoint| endpoint.source.label());
            let metrics = &self.parts.sinks.metrics;
            metrics.resume(before, found.endpoint.source.label());
            self.record.resumed_by(&found.endpoint, attempts);
        }
        // The old source went on while this one was looked for.
        let went_on = self.bytes.window().released();
        let went_on = went_on.saturating_sub(self.resumes_at);
        let source = &mut found.good;
        source.skip = source.skip.saturating_add(went_on);
        let who = found.endpoint.clone();
        self.bytes.begins(who, source.tells_total, source.is_coded);
        if let Some(total) = source.total {
            self.bytes.learn_length(total.saturating_sub(self.first));
        }
        self.source = Some(found);
        self.speed.begin_anew();
        Ok(())
    }
}
