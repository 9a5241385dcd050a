//! What one client's pulls and one repository's manifests teach the agent stays with them (design S8): nobody else's pull
//! fails, goes elsewhere, or loses what was kept for it.

#[path = "knowledge/choices.rs"]
mod choices;
#[path = "knowledge/copies.rs"]
mod copies;
#[path = "knowledge/sizes.rs"]
mod sizes;

use crate::node::{Node, Setup};
use harbor_pilot::lifecycle::RawSignal;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What the agent keeps on disk for an outage.
fn kept(node: &Node) -> Vec<PathBuf> {
    fn below(path: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(path).into_iter().flatten() {
            let path = entry.unwrap().path();
            below(&path, found);
            if path.is_file() {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    below(&node.home.path().join("state/manifests"), &mut found);
    found
}

/// Waits until so many files are kept, and a moment longer.
async fn until_kept(node: &Node, files: usize) {
    let since = Instant::now();
    while kept(node).len() < files {
        assert!(
            since.elapsed() < Duration::from_secs(15),
            "{:?}",
            kept(node)
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
}

/// Ends the agent as a planned stop does, and starts it again in the same home.
async fn restarted(mut node: Node, setup: &Setup) -> Node {
    node.signal(RawSignal::Terminate).await;
    node.ended().await.unwrap();
    let home = std::mem::replace(&mut node.home, tempfile::tempdir().unwrap());
    Node::start(setup, home).await
}
