//! Listings that agents share: what another one heard of the same Harbor by the same account, for an agent that has never heard
//! anything of it and cannot ask it now. How it travels is not known here.

use super::kept::KeptListing;
use crate::config::Tier;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// Another agent's listing is waited for so long, behind a Harbor that has not answered.
const PATIENCE: Duration = Duration::from_secs(1);

/// Listings that wait for whoever carries them.
const WAITING: usize = 16;

/// What is asked of whoever shares listings, and told to it.
#[derive(Debug)]
pub enum SharedListing {
    /// The Harbor has listed this.
    Heard {
        /// The account at that Harbor: others may see other projects.
        account: String,
        /// For the next one.
        text: Vec<u8>,
    },
    /// What has it listed last?
    Wanted {
        /// As it was written.
        account: String,
        /// Where the text goes.
        reply: oneshot::Sender<Option<Vec<u8>>>,
    },
}

/// Other agents, by whoever carries listings.
#[derive(Clone, Debug)]
pub(super) struct Others(pub(super) mpsc::Sender<SharedListing>);

/// A tier of which nothing has been heard here; `None`: something has.
#[derive(Debug)]
pub(super) struct Unheard(Option<(Others, String, String)>);

// === impl SharedListing ===

impl SharedListing {
    /// Who tells and asks, and who carries.
    #[must_use]
    pub fn channel() -> (mpsc::Sender<Self>, mpsc::Receiver<Self>) {
        mpsc::channel(WAITING)
    }
}

// === impl Others ===

impl Others {
    /// Tells them. Full or nobody there: the next discovery tells it again.
    pub(super) fn tell(&self, tier: &Tier, kept: &KeptListing) {
        if let Ok(text) = serde_json::to_vec(kept) {
            let account = account(tier);
            let _ = self.0.try_send(SharedListing::Heard { account, text });
        }
    }

    /// What they may be asked.
    pub(super) fn unheard(&self, tier: Option<&Arc<Tier>>) -> Unheard {
        Unheard(tier.map(|tier| (self.clone(), account(tier), tier.url.to_string())))
    }
}

// === impl Unheard ===

impl Unheard {
    /// What others heard of it, where its Harbor does not answer: bytes of others, which mean something or nothing.
    pub(super) async fn heard(self, is_silent: bool) -> Option<KeptListing> {
        let (others, account, url) = self.0.filter(|_| is_silent)?;
        let (reply, answer) = oneshot::channel();
        let wanted = SharedListing::Wanted { account, reply };
        others.0.try_send(wanted).ok()?;
        let text = timeout(PATIENCE, answer).await.ok()?.ok()??;
        let kept: KeptListing = serde_json::from_slice(&text).ok()?;
        (kept.url == url).then_some(kept)
    }
}

/// Whose listing it is.
fn account(tier: &Tier) -> String {
    let username = tier.credential.as_ref().map(|it| it.username.as_str());
    format!("{}@{}", username.unwrap_or_default(), tier.url)
}
