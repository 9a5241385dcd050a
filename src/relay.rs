//! The pull path: from one request of containerd to one answer, from whichever source can give it.
//!
//! Decisions are pure (`timing`: when to ask whom; `rules`: what an answer means; `window`: which bytes may be let
//! go); `search` runs attempts by their orders; `manifest` and `blob` know what a good body is. Reads the
//! published snapshot and the route table, reports outcomes, owns the memories of what passed through.

mod answer;
mod blob;
mod body;
mod candidates;
mod causes;
mod coding;
mod engine;
#[cfg(test)]
mod fleet;
mod flight;
mod head;
mod hedge;
mod list;
mod manifest;
mod memory;
mod multipart;
mod policy;
mod quota;
mod rates;
mod record;
mod rules;
mod search;
mod sizes;
mod stale;
mod sticky;
mod timing;
mod window;

pub use answer::{BoxError, ResponseBody};
pub(crate) use answer::{header_value, marked};
pub use engine::{PullRequest, Relay, RelayParts};
pub(crate) use memory::CONTENT_DIGEST;
