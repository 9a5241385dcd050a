//! `explain` for an image that was typed into the page: the command's own report, one at a time.

use super::Status;
use crate::config::Config;
use std::fmt;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// The longest reference that is looked at.
const MOST_BYTES: usize = 1024;

/// The report on an image for people, by the configuration in force and the agent's own status. It blocks, for some seconds at
/// most.
#[derive(Clone, Copy)]
pub struct Explain(pub(crate) fn(&Config, Status, &str) -> String);

/// Makes a report on request, one at a time.
#[derive(Clone, Debug)]
pub(crate) struct Explainer {
    explain: Explain,
    /// It takes a thread, and looks names up.
    one: Arc<Semaphore>,
}

// === impl Explain ===

impl fmt::Debug for Explain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Explain")
    }
}

// === impl Explainer ===

impl Explainer {
    pub(crate) fn new(explain: Explain) -> Self {
        Self {
            explain,
            one: Arc::new(Semaphore::new(1)),
        }
    }

    /// The report; `None`: another one is being made.
    pub(super) async fn ask(
        &self,
        config: Arc<Config>,
        status: Status,
        image: &str,
    ) -> Option<String> {
        if image.len() > MOST_BYTES {
            return Some(format!("an image's name has at most {MOST_BYTES} bytes\n"));
        }
        let one = self.one.clone().try_acquire_owned().ok()?;
        let (explain, image) = (self.explain.0, image.to_owned());
        let report = spawn_blocking(move || {
            let report = explain(&config, status, &image);
            drop(one);
            report
        });
        // A panic has been logged.
        Some(report.await.unwrap_or_else(|error| format!("{error}\n")))
    }
}
