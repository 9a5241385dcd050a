//! The Prometheus metrics of interface.md: one struct, no globals; label values from closed sets only.

use crate::telemetry::AccessRecord;
use std::time::Duration;

/// All metric families. Shared by `Arc`.
#[derive(Debug, Default)]
pub struct Metrics {}

impl Metrics {
    /// A finished request: `requests_total`, `request_duration_seconds`, `time_to_first_byte_seconds`.
    pub fn request(&self, _record: &AccessRecord) {}
    /// `relayed_bytes_total{tier}`
    pub fn relayed(&self, _tier: &str, _bytes: u64) {}
    /// `attempts_total{tier,result}`; `result` from a closed set.
    pub fn attempt(&self, _tier: &str, _result: &'static str) {}
    /// `failovers_total{from,to,reason}`
    pub fn failover(&self, _from: &str, _to: &str, _reason: &'static str) {}
    /// `resumes_total{from,to}`
    pub fn resume(&self, _from: &str, _to: &str) {}
    /// `digest_mismatches_total{tier}`
    pub fn digest_mismatch(&self, _tier: &str) {}
    /// `probe_duration_seconds{tier}`
    pub fn probe(&self, _tier: &str, _took: Duration) {}
    /// `dns_refreshes_total{tier,result}`; `result`: ok, changed, failed.
    pub fn dns_refresh(&self, _tier: &str, _result: &'static str) {}
    /// `token_fetches_total{tier,result}`; `result`: ok, denied, failed.
    pub fn token_fetch(&self, _tier: &str, _result: &'static str) {}
    /// `config_last_reload_successful`
    pub fn config_reloaded(&self, _successful: bool) {}
}
