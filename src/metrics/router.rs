//! What is counted of images without a registry.

use super::Metrics;
use super::labels::ResultLabels;
use std::time::Duration;

impl Metrics {
    /// `router_lookups_total{result}`: an image without a registry, by how its registry was found; `ambiguous` besides, where
    /// several have it.
    pub fn router_lookup(&self, result: &'static str) {
        let labels = ResultLabels { result };
        self.families.router_lookups.get_or_create(&labels).inc();
    }

    /// `router_fanout_seconds`
    pub fn router_fanout(&self, took: Duration) {
        self.families
            .router_fanout_seconds
            .observe(took.as_secs_f64());
    }

    /// `router_redis_errors_total`
    pub fn router_redis_error(&self) {
        self.families.router_redis_errors.inc();
    }
}
