//! The vocabulary of where content can come from: sources, endpoints, outcomes and the published snapshot.
//!
//! Data, and the pure choice among it (`select`). `discovery` makes endpoint sets, `health` makes snapshots, `relay` reads both and reports
//! outcomes; none of them knows the others, they know this.

mod endpoint;
mod outcome;
pub mod select;
mod snapshot;
mod source;
#[cfg(test)]
pub(crate) mod testing;

pub use endpoint::{EndpointGauges, EndpointId, EndpointSet, InFlight, PendingConnect};
pub use outcome::{Failure, Outcome, OutcomeReport};
pub use snapshot::{EndpointState, EndpointStatus, Snapshot, SourceState};
pub use source::{Source, SourceId, SourceKind, Sources};
