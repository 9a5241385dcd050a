//! What became of traces, in `/status`.

use crate::printable::counted;
use crate::traces::Traces;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What became of traces since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TracesStatus {
    /// The collector.
    pub endpoint: String,
    /// Spans that it took.
    pub exported: u64,
    /// Spans that were lost.
    pub dropped: u64,
    /// Why it did not take the newest ones; absent: it did.
    pub failing: Option<String>,
}

// === impl TracesStatus ===

impl TracesStatus {
    pub(super) fn new(traces: &Traces) -> Self {
        let [exported, dropped, _] = traces.totals();
        Self {
            endpoint: traces.endpoint().to_owned(),
            exported,
            dropped,
            failing: traces.failing(),
        }
    }
}

impl fmt::Display for TracesStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exported = counted(self.exported, "span", "spans");
        write!(
            f,
            "{exported} sent to {}, {} dropped",
            self.endpoint, self.dropped
        )?;
        match &self.failing {
            Some(why) => write!(f, "; it does not take any now: {why}"),
            None => Ok(()),
        }
    }
}
