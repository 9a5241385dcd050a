//! The records, with the field names of the journal (interface.md, "Journal fields").

use crate::oci::RegistryName;
use std::sync::Arc;
use std::time::Duration;

/// The one record per request.
#[derive(Clone, Debug)]
pub struct AccessRecord {
    /// `REQUEST_ID`
    pub request_id: Arc<str>,
    /// `REGISTRY`; `None` where none was recognised.
    pub registry: Option<RegistryName>,
    /// `REPOSITORY`
    pub repository: String,
    /// `REFERENCE`
    pub reference: String,
    /// `KIND`: manifest, blob, tags or referrers; `other` for what is none of them.
    pub kind: &'static str,
    /// `METHOD`
    pub method: &'static str,
    /// `STATUS`
    pub status: u16,
    /// `OUTCOME`
    pub outcome: RequestOutcome,
    /// `TIER`: who served, `upstream` included; empty if nobody.
    pub tier: Arc<str>,
    /// `ENDPOINT`: the address that served.
    pub endpoint: String,
    /// `ATTEMPTS`
    pub attempts: u32,
    /// `RESUMES`
    pub resumes: u32,
    /// `BYTES` of body sent downstream.
    pub bytes: u64,
    /// `TTFB_MS`: from the request's arrival to the status line; `None` if there was none.
    pub time_to_first_byte: Option<Duration>,
    /// `DURATION_MS`
    pub duration: Duration,
    /// `GENERATION` of the snapshot that the last attempt used.
    pub generation: u64,
    /// `ERROR`: empty if all was well.
    pub error: String,
}

/// `OUTCOME`, in the order of precedence of interface.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RequestOutcome {
    /// Not configured, private, denied.
    Refused,
    /// An authoritative source said so.
    NotFound,
    /// The client went away.
    ClientClosed,
    /// No source could.
    Failed,
    /// From disk.
    Stale,
    /// The body switched its source.
    Resumed,
    /// A later candidate served.
    Failover,
    /// Upstream was the first choice.
    Direct,
    /// As it should be.
    Served,
}

/// A state change.
#[derive(Clone, Debug)]
pub struct StateChange {
    /// `EVENT`
    pub event: EventName,
    /// `TIER`
    pub tier: Option<String>,
    /// `ENDPOINT`
    pub endpoint: Option<String>,
    /// `REASON`
    pub reason: String,
    /// `MESSAGE`: a sentence for people.
    pub message: String,
}

/// `EVENT`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventName {
    /// An address is no longer used.
    EndpointEjected,
    /// An address is used again.
    EndpointReadmitted,
    /// No address of a tier is left.
    TierDown,
    /// A tier is back.
    TierUp,
    /// A name has other addresses now.
    DnsChanged,
    /// A lookup failed; the last good addresses are kept.
    DnsStale,
    /// A host configuration was written.
    HostsRewritten,
    /// Somebody else's change stands against ours.
    HostsConflict,
    /// A host configuration could not be written.
    HostsWriteFailed,
    /// The unit's sandbox or the file system forbids writing.
    FilesNotWritable,
    /// Bytes did not fit their digest.
    DigestMismatch,
    /// A manifest was answered from disk.
    StaleServed,
    /// A certificate runs out soon.
    CertExpiring,
    /// A new configuration is in force.
    ConfigReloaded,
    /// A new configuration was refused; the old one stays.
    ConfigRejected,
    /// Records were dropped because the log could not take them.
    LogDropped,
    /// The daemon stops.
    Drain,
}

// === impl RequestOutcome ===

impl RequestOutcome {
    /// The word for logs and metrics.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::NotFound => "not_found",
            Self::ClientClosed => "client_closed",
            Self::Failed => "failed",
            Self::Stale => "stale",
            Self::Resumed => "resumed",
            Self::Failover => "failover",
            Self::Direct => "direct",
            Self::Served => "served",
        }
    }
}

// === impl EventName ===

impl EventName {
    /// The word for logs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::EndpointEjected => "endpoint_ejected",
            Self::EndpointReadmitted => "endpoint_readmitted",
            Self::TierDown => "tier_down",
            Self::TierUp => "tier_up",
            Self::DnsChanged => "dns_changed",
            Self::DnsStale => "dns_stale",
            Self::HostsRewritten => "hosts_rewritten",
            Self::HostsConflict => "hosts_conflict",
            Self::HostsWriteFailed => "hosts_write_failed",
            Self::FilesNotWritable => "files_not_writable",
            Self::DigestMismatch => "digest_mismatch",
            Self::StaleServed => "stale_served",
            Self::CertExpiring => "cert_expiring",
            Self::ConfigReloaded => "config_reloaded",
            Self::ConfigRejected => "config_rejected",
            Self::LogDropped => "log_dropped",
            Self::Drain => "drain",
        }
    }
}
