//! The records, with the field names of the journal (docs/observability.md).

use super::Text;
use crate::oci::RegistryName;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;
use tracing::{Level, Metadata};

/// The one record per request.
#[derive(Clone, Debug, Default)]
pub struct AccessRecord {
    /// `REQUEST_ID`
    pub request_id: Arc<str>,
    /// `REGISTRY`; `None` where none was recognised.
    pub registry: Option<RegistryName>,
    /// `REPOSITORY`
    pub repository: Text,
    /// `REFERENCE`
    pub reference: Text,
    /// `KIND`: manifest, blob, tags or referrers; `other` for what is none of them.
    pub kind: &'static str,
    /// `METHOD`
    pub method: &'static str,
    /// `STATUS`
    pub status: u16,
    /// `OUTCOME`
    pub outcome: RequestOutcome,
    /// `TIER`: who served, `upstream` included; empty if nobody.
    pub tier: Text,
    /// `ENDPOINT`: the address that served.
    pub endpoint: Text,
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

/// `OUTCOME`, in the order of precedence of docs/observability.md.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RequestOutcome {
    /// Not configured, private, denied.
    Refused,
    /// An authoritative source said so.
    NotFound,
    /// The client went away.
    #[default]
    ClientClosed,
    /// No source gave what was asked for.
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

/// An event: something of the agent has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// Another agent keeps the same directory of host configurations; this one stands back.
    SecondAgent,
    /// A host configuration could not be written.
    HostsWriteFailed,
    /// The unit's sandbox or the file system forbids writing.
    FilesNotWritable,
    /// An attempt at a source broke for a bug of the agent; the next source was asked.
    AttemptFailed,
    /// Every user of the node may bind the agent's port: it stands in no file.
    PortUnprivileged,
    /// The runtime's own configuration keeps pulls from the agent.
    NodeDegraded,
    /// Bytes did not fit their digest.
    DigestMismatch,
    /// Something that a tier named for a tag is nowhere; others are asked first.
    TagUnconfirmed,
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
    /// The health responder's verdict on its Harbor changed.
    HealthChanged,
    /// A tier has other proxy-cache projects than before.
    ProjectsChanged,
    /// Several registries have an image whose name says none of them.
    AmbiguousImage,
    /// An image whose name says no registry is in another one than before, or in none.
    MappingChanged,
    /// The robot account of a tier expires soon, has expired, or is disabled.
    CredentialExpiring,
    /// The daemon stops.
    Drain,
}

// === impl AccessRecord ===

impl AccessRecord {
    /// `GET /v2/` that was answered: what health checks of everybody send all day.
    #[must_use]
    pub fn is_ping(&self) -> bool {
        self.kind == "other" && self.status == 200 && self.repository.is_empty()
    }

    /// Pings are for debugging; a pull that nobody could serve stands out.
    #[must_use]
    pub fn level(&self) -> Level {
        if self.is_ping() {
            Level::DEBUG
        } else if self.outcome == RequestOutcome::Failed {
            Level::WARN
        } else {
            Level::INFO
        }
    }
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
            Self::SecondAgent => "second_agent",
            Self::HostsWriteFailed => "hosts_write_failed",
            Self::FilesNotWritable => "files_not_writable",
            Self::AttemptFailed => "attempt_failed",
            Self::PortUnprivileged => "port_unprivileged",
            Self::NodeDegraded => "node_degraded",
            Self::DigestMismatch => "digest_mismatch",
            Self::TagUnconfirmed => "tag_unconfirmed",
            Self::StaleServed => "stale_served",
            Self::CertExpiring => "cert_expiring",
            Self::ConfigReloaded => "config_reloaded",
            Self::ConfigRejected => "config_rejected",
            Self::LogDropped => "log_dropped",
            Self::HealthChanged => "health_changed",
            Self::ProjectsChanged => "projects_changed",
            Self::AmbiguousImage => "ambiguous_image",
            Self::MappingChanged => "mapping_changed",
            Self::CredentialExpiring => "credential_expiring",
            Self::Drain => "drain",
        }
    }

    /// Every event, in the order of the documentation.
    pub const ALL: [Self; 27] = [
        Self::EndpointEjected,
        Self::EndpointReadmitted,
        Self::TierDown,
        Self::TierUp,
        Self::DnsChanged,
        Self::DnsStale,
        Self::HostsRewritten,
        Self::HostsConflict,
        Self::SecondAgent,
        Self::HostsWriteFailed,
        Self::FilesNotWritable,
        Self::AttemptFailed,
        Self::PortUnprivileged,
        Self::NodeDegraded,
        Self::DigestMismatch,
        Self::TagUnconfirmed,
        Self::StaleServed,
        Self::CertExpiring,
        Self::ConfigReloaded,
        Self::ConfigRejected,
        Self::LogDropped,
        Self::HealthChanged,
        Self::ProjectsChanged,
        Self::AmbiguousImage,
        Self::MappingChanged,
        Self::CredentialExpiring,
        Self::Drain,
    ];

    /// `MESSAGE_ID`: 128 bits in hex, fixed for ever; the journal's message catalog is keyed by it.
    #[must_use]
    pub fn message_id(self) -> &'static str {
        match self {
            Self::EndpointEjected => "283338ad84d54187be62ceec3b08b723",
            Self::EndpointReadmitted => "a2a44bcc39d24e0eb5371e8c291fadbf",
            Self::TierDown => "bcbb7aa8ec234e84a701f062c71243b3",
            Self::TierUp => "bf27f42a2d6a40609b4fa77ab3ef8736",
            Self::DnsChanged => "f75faef4d3c549aab1f69edc9936a8f9",
            Self::DnsStale => "010f0a26c55f4348a9186af23e8fa42b",
            Self::HostsRewritten => "c2794351fb9247398551aec25569aa1e",
            Self::HostsConflict => "23fd6799d4a943cf9b23077b4e63d6da",
            Self::SecondAgent => "58887bc08cce8a41c539c843c915d800",
            Self::HostsWriteFailed => "e48054eff21c402ab3c661e605bed383",
            Self::FilesNotWritable => "43410f6a3c0a40398cdc037d406cce1d",
            Self::AttemptFailed => "5240a23d86fe4035af3f1054071b244f",
            Self::PortUnprivileged => "cca9197a286749658b9b7d7f63160c1c",
            Self::NodeDegraded => "e5733b1f3315452590487aff553d502c",
            Self::DigestMismatch => "ed9955c80740492c82a2bd95a7d4f39e",
            Self::TagUnconfirmed => "e2645c42c3d945dfb419f4023338219a",
            Self::StaleServed => "af2b712696f5427cabddf6dc78cf4ded",
            Self::CertExpiring => "f018372ca9a74369826b00eb9b63d135",
            Self::ConfigReloaded => "3fde76e5f8964bd9983060798784f0f9",
            Self::ConfigRejected => "1cdb8b2667224ffe8a773b52eefc9cdd",
            Self::LogDropped => "7f456ad5e5d2440398f9b8008bca3a08",
            Self::AmbiguousImage => "1d86d66af7ab4820b18c1fc94b0215ba",
            Self::MappingChanged => "d2e78bbc8df5453395a00c3ffef0ea75",
            Self::ProjectsChanged => "91aa817308524952b9a5cabfdf21e59d",
            Self::CredentialExpiring => "b436902830004d648f00339d3fdb645c",
            Self::HealthChanged => "9bc2e1f4d70a4d2c8f6b35a17e04c6d8",
            Self::Drain => "fbbd41703fe54ef7858717ddcfa08c41",
        }
    }

    /// How loud it is.
    #[must_use]
    pub fn level(self) -> Level {
        match self {
            Self::ConfigRejected => Level::ERROR,
            Self::EndpointEjected
            | Self::TierDown
            | Self::DnsStale
            | Self::HostsConflict
            | Self::SecondAgent
            | Self::HostsWriteFailed
            | Self::FilesNotWritable
            | Self::AttemptFailed
            | Self::PortUnprivileged
            | Self::NodeDegraded
            | Self::DigestMismatch
            | Self::StaleServed
            | Self::CertExpiring
            | Self::AmbiguousImage
            | Self::MappingChanged
            | Self::CredentialExpiring
            | Self::HealthChanged
            | Self::LogDropped => Level::WARN,
            Self::EndpointReadmitted
            | Self::TierUp
            | Self::DnsChanged
            | Self::TagUnconfirmed
            | Self::ProjectsChanged
            | Self::HostsRewritten
            | Self::ConfigReloaded
            | Self::Drain => Level::INFO,
        }
    }
}

/// What stands in the queue.
#[derive(Debug)]
pub(super) enum Entry {
    Access(Box<AccessRecord>),
    Event(Box<StateChange>),
    Diagnostic(Box<Diagnostic>),
    /// So many requests were refused besides those with a record of their own. The writer's own.
    Refused(u64),
    /// Something is to be done about what does not stand in the queue.
    Wake,
    /// Answered when everything before it has been written.
    Flush(SyncSender<()>),
}

/// A tracing event, its fields folded into one text.
#[derive(Debug)]
pub(super) struct Diagnostic {
    /// Of the event: level, target, place in the code.
    pub(super) metadata: &'static Metadata<'static>,
    pub(super) message: String,
}

// === impl Entry ===

impl Entry {
    /// Bytes of memory that it takes while it waits, about. What records share with others counts for each of them.
    pub(super) fn bytes(&self) -> usize {
        let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let (kind, texts) = match self {
            Self::Access(record) => {
                let AccessRecord {
                    repository,
                    reference,
                    tier,
                    endpoint,
                    error,
                    ..
                } = &**record;
                let shared = [repository, reference, tier, endpoint];
                let shared: usize = shared.iter().map(|text| text.len()).sum();
                (size_of::<AccessRecord>(), shared + error.len())
            }
            Self::Event(change) => {
                let texts = length(&change.tier) + length(&change.endpoint);
                let texts = texts + change.reason.len() + change.message.len();
                (size_of::<StateChange>(), texts)
            }
            Self::Diagnostic(said) => (size_of::<Diagnostic>(), said.message.len()),
            Self::Refused(_) | Self::Wake | Self::Flush(_) => (0, 0),
        };
        size_of::<usize>() + size_of::<Self>() + kind + texts
    }

    /// Something is written for it.
    pub(super) fn is_record(&self) -> bool {
        !matches!(self, Self::Wake | Self::Flush(_))
    }
}
