//! The records, with the field names of the journal (docs/observability.md).

mod trace;

pub use trace::{
    CANCELLED, End, Finished, RequestId, Span, Step, Trace, TraceParent, Tracer, What,
};

use super::Text;
use crate::oci::RegistryName;
use crate::printable::words;
use std::sync::mpsc::SyncSender;
use std::time::Duration;
use tracing::{Level, Metadata};

/// The one record per request.
#[derive(Clone, Debug, Default)]
pub struct AccessRecord {
    /// `REQUEST_ID`, and `TRACE_ID` where the request is traced.
    pub request_id: RequestId,
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
    /// `ERROR`: empty if no attempt failed.
    pub error: String,
    /// The traced request for which the sources were asked: another one where several wanted the same.
    pub asked_by: Option<TraceParent>,
}

words! {
    /// `OUTCOME`, in the order of precedence of docs/observability.md.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub enum RequestOutcome {
        /// Not configured, private, denied.
        Refused = "refused",
        /// An authoritative source said so.
        NotFound = "not_found",
        /// The client went away.
        #[default]
        ClientClosed = "client_closed",
        /// No source gave what was asked for.
        Failed = "failed",
        /// From disk.
        Stale = "stale",
        /// The body switched its source.
        Resumed = "resumed",
        /// A later candidate served.
        Failover = "failover",
        /// Upstream was the first choice.
        Direct = "direct",
        /// As it should be.
        Served = "served",
    }
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

/// Events, one in a row: its name, its word, how loud it is, and the id by which the journal's message catalog knows it.
macro_rules! events {
    ($($(#[$doc:meta])* $name:ident = $word:literal, $level:ident, $id:literal;)+) => {
        words! {
            /// `EVENT`
            #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
            pub enum EventName {
                $($(#[$doc])* $name = $word,)+
            }
        }

        impl EventName {
            /// `MESSAGE_ID`: 128 bits in hex, fixed for ever.
            #[must_use]
            pub fn message_id(self) -> &'static str {
                match self { $(Self::$name => $id,)+ }
            }

            /// How loud it is.
            #[must_use]
            pub fn level(self) -> Level {
                match self { $(Self::$name => Level::$level,)+ }
            }
        }
    };
}

events! {
    /// An address is no longer used.
    EndpointEjected = "endpoint_ejected", WARN, "283338ad84d54187be62ceec3b08b723";
    /// An address is used again.
    EndpointReadmitted = "endpoint_readmitted", INFO, "a2a44bcc39d24e0eb5371e8c291fadbf";
    /// No address of a tier is left.
    TierDown = "tier_down", WARN, "bcbb7aa8ec234e84a701f062c71243b3";
    /// A tier is back.
    TierUp = "tier_up", INFO, "bf27f42a2d6a40609b4fa77ab3ef8736";
    /// A name has other addresses now.
    DnsChanged = "dns_changed", INFO, "f75faef4d3c549aab1f69edc9936a8f9";
    /// A lookup failed; the last good addresses are kept.
    DnsStale = "dns_stale", WARN, "010f0a26c55f4348a9186af23e8fa42b";
    /// A host configuration was written.
    HostsRewritten = "hosts_rewritten", INFO, "c2794351fb9247398551aec25569aa1e";
    /// Somebody else's change stands against ours.
    HostsConflict = "hosts_conflict", WARN, "23fd6799d4a943cf9b23077b4e63d6da";
    /// Another agent keeps the same directory of host configurations; this one stands back.
    SecondAgent = "second_agent", WARN, "58887bc08cce8a41c539c843c915d800";
    /// A host configuration could not be written.
    HostsWriteFailed = "hosts_write_failed", WARN, "e48054eff21c402ab3c661e605bed383";
    /// The unit's sandbox or the file system forbids writing.
    FilesNotWritable = "files_not_writable", WARN, "43410f6a3c0a40398cdc037d406cce1d";
    /// An attempt at a source broke for a bug of the agent; the next source was asked.
    AttemptFailed = "attempt_failed", WARN, "5240a23d86fe4035af3f1054071b244f";
    /// Every user of the node may bind the agent's port: it stands in no file.
    PortUnprivileged = "port_unprivileged", WARN, "cca9197a286749658b9b7d7f63160c1c";
    /// The runtime's own configuration keeps pulls from the agent.
    NodeDegraded = "node_degraded", WARN, "e5733b1f3315452590487aff553d502c";
    /// Bytes did not fit their digest.
    DigestMismatch = "digest_mismatch", WARN, "ed9955c80740492c82a2bd95a7d4f39e";
    /// Something that a tier named for a tag is nowhere; others are asked first.
    TagUnconfirmed = "tag_unconfirmed", INFO, "e2645c42c3d945dfb419f4023338219a";
    /// A manifest was answered from disk.
    StaleServed = "stale_served", WARN, "af2b712696f5427cabddf6dc78cf4ded";
    /// A certificate runs out soon.
    CertExpiring = "cert_expiring", WARN, "f018372ca9a74369826b00eb9b63d135";
    /// A new configuration is in force.
    ConfigReloaded = "config_reloaded", INFO, "3fde76e5f8964bd9983060798784f0f9";
    /// A new configuration was refused; the old one stays.
    ConfigRejected = "config_rejected", ERROR, "1cdb8b2667224ffe8a773b52eefc9cdd";
    /// Records were dropped because the log could not take them.
    LogDropped = "log_dropped", WARN, "7f456ad5e5d2440398f9b8008bca3a08";
    /// The health responder's verdict on its Harbor changed.
    HealthChanged = "health_changed", WARN, "9bc2e1f4d70a4d2c8f6b35a17e04c6d8";
    /// A tier has other proxy-cache projects than before.
    ProjectsChanged = "projects_changed", INFO, "91aa817308524952b9a5cabfdf21e59d";
    /// Several registries have an image whose name says none of them.
    AmbiguousImage = "ambiguous_image", WARN, "1d86d66af7ab4820b18c1fc94b0215ba";
    /// An image whose name says no registry is in another one than before, or in none.
    MappingChanged = "mapping_changed", WARN, "d2e78bbc8df5453395a00c3ffef0ea75";
    /// The robot account of a tier expires soon, has expired, or is disabled.
    CredentialExpiring = "credential_expiring", WARN, "b436902830004d648f00339d3fdb645c";
    /// The daemon stops.
    Drain = "drain", INFO, "fbbd41703fe54ef7858717ddcfa08c41";
}

// === impl EventName ===

impl EventName {
    /// Whether its message names an image, or what belongs to one.
    #[must_use]
    pub fn names_an_image(self) -> bool {
        matches!(
            self,
            Self::AmbiguousImage
                | Self::AttemptFailed
                | Self::DigestMismatch
                | Self::MappingChanged
                | Self::StaleServed
                | Self::TagUnconfirmed
        )
    }
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

    /// The access record that it is.
    pub(super) fn access(&self) -> Option<&AccessRecord> {
        match self {
            Self::Access(record) => Some(record),
            _ => None,
        }
    }

    /// Something is written for it.
    pub(super) fn is_record(&self) -> bool {
        !matches!(self, Self::Wake | Self::Flush(_))
    }
}
