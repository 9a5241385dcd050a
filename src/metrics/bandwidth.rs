//! What is counted of limits of bandwidth.

use super::Metrics;
use super::labels::TierLabels;
use std::time::Duration;

impl Metrics {
    /// `bandwidth_waits_seconds_total{tier}`: a stream waited so long for a limit before it read on.
    pub fn bandwidth_wait(&self, tier: &str, took: Duration) {
        let labels = TierLabels {
            tier: self.labels.intern(tier),
        };
        let waits = self.families.bandwidth_waits_seconds.get_or_create(&labels);
        waits.inc_by(took.as_secs_f64());
    }
}
