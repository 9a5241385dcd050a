//! What one client's pulls and one repository's manifests teach the agent stays with them (design S8): nobody else's pull
//! fails, goes elsewhere, or loses what was kept for it.

#[path = "knowledge/sizes.rs"]
mod sizes;

use crate::node::{Node, Setup};
use harbor_pilot::lifecycle::RawSignal;

/// Ends the agent as a planned stop does, and starts it again in the same home.
async fn restarted(mut node: Node, setup: &Setup) -> Node {
    node.signal(RawSignal::Terminate).await;
    node.ended().await.unwrap();
    let home = std::mem::replace(&mut node.home, tempfile::tempdir().unwrap());
    Node::start(setup, home).await
}
