//! Clients that pull through the agent at the same time, in a process of their own inside the laboratory's network. A JSON
//! value a line says what; a JSON value a line says how it went.

use crate::client::{Client, End};
use crate::image;
use crate::lab::TAG;
use crate::sources::repository;
use crate::support::Image;
use serde::{Deserialize, Serialize};
use std::io::BufRead as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// A pull that has failed so often has failed.
const TRIES: u32 = 5;

/// No answer takes longer, on a machine that is busy with other things as well.
const PATIENCE: Duration = Duration::from_secs(180);

/// Between them, as kubelet waits longer than that.
const PAUSE: Duration = Duration::from_secs(2);

/// Pull the image of that seed, so many times at once.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) seed: u64,
    pub(crate) layers: Vec<usize>,
    pub(crate) clients: usize,
}

/// How it went.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Tally {
    pub(crate) complete: u64,
    /// Pulls that began again.
    pub(crate) again: u64,
    /// Blobs that ended early and were asked for from there.
    pub(crate) resumed: u64,
    /// The last reason of each pull that did not succeed.
    pub(crate) failed: Vec<String>,
}

/// Obeys until standard input ends.
pub(crate) fn serve() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let order: Order = serde_json::from_str(&line).expect("an order");
        let tally = runtime.block_on(obey(&order));
        println!("{}", serde_json::to_string(&tally).expect("it is JSON"));
    }
}

async fn obey(order: &Order) -> Tally {
    let image = Arc::new(image::make(order.seed, &order.layers));
    let repository = repository(order.seed);
    let mut pulls = JoinSet::new();
    for _ in 0..order.clients {
        pulls.spawn(pull(image.clone(), repository.clone()));
    }
    let mut tally = Tally::default();
    while let Some(pulled) = pulls.join_next().await {
        let one = pulled.unwrap_or_else(|error| Tally {
            failed: vec![error.to_string()],
            ..Tally::default()
        });
        tally.complete += one.complete;
        tally.again += one.again;
        tally.resumed += one.resumed;
        tally.failed.extend(one.failed);
    }
    tally
}

async fn pull(image: Arc<Image>, repository: String) -> Tally {
    let mut tally = Tally::default();
    let mut reason = String::new();
    for attempt in 0..TRIES {
        if attempt > 0 {
            tally.again += 1;
            tokio::time::sleep(PAUSE).await;
        }
        match try_pull(&image, &repository).await {
            Ok(resumed) => {
                tally.resumed += resumed;
                tally.complete = 1;
                return tally;
            }
            Err(why) => reason = why,
        }
    }
    tally.failed.push(reason);
    tally
}

/// As containerd does it; how many blobs were asked for a second time, or why it failed.
async fn try_pull(image: &Arc<Image>, repository: &str) -> Result<u64, String> {
    let by_tag = fetch(repository, "manifests", TAG, None).await?;
    if by_tag != image.top.body {
        return Err("the tag is another image".to_owned());
    }
    let manifest = &image.children[0];
    let body = fetch(repository, "manifests", manifest.digest.as_str(), None).await?;
    if body != manifest.body {
        return Err("another manifest".to_owned());
    }
    let mut blobs = JoinSet::new();
    for index in 0..image.blobs.len() {
        let (image, repository) = (image.clone(), repository.to_owned());
        blobs.spawn(async move {
            let blob = &image.blobs[index];
            let mut resumed = 0;
            let got = fetch(
                &repository,
                "blobs",
                blob.digest.as_str(),
                Some(&mut resumed),
            )
            .await?;
            if got == blob.body {
                Ok(resumed)
            } else {
                Err(format!("blob {index}: wrong bytes"))
            }
        });
    }
    let mut resumed = 0;
    while let Some(blob) = blobs.join_next().await {
        resumed += blob.map_err(|error| error.to_string())??;
    }
    Ok(resumed)
}

/// A body; one that ends early with FIN is asked for from there where `resumed` counts that.
async fn fetch(
    repository: &str,
    kind: &str,
    reference: &str,
    mut resumed: Option<&mut u64>,
) -> Result<Vec<u8>, String> {
    let agent: SocketAddr = "127.0.0.1:290".parse().expect("an address");
    let target = format!("/v2/{repository}/{kind}/{reference}?ns=docker.io");
    let mut body = Vec::new();
    loop {
        let mut client = Client::connect(agent).await;
        let range = format!("bytes={}-", body.len());
        let mut headers = vec![("Accept", "*/*"), ("Connection", "close")];
        if !body.is_empty() {
            headers.push(("Range", &range));
        }
        client.ask("GET", &target, &headers).await;
        let got = client.answer_within(PATIENCE).await;
        let got = got.ok_or_else(|| format!("{target}: no whole answer within {PATIENCE:?}"))?;
        let due = if body.is_empty() { 200 } else { 206 };
        if got.status != due {
            return Err(format!("{target}: {} {}", got.status, got.text()));
        }
        let grew = !got.body.is_empty();
        body.extend(got.body);
        match (got.end, resumed.as_deref_mut()) {
            (End::Clean, _) => return Ok(body),
            (End::Fin, Some(resumed)) if grew => *resumed += 1,
            (end, _) => {
                return Err(format!(
                    "{target}: ended by {end:?} after {} bytes",
                    body.len()
                ));
            }
        }
    }
}
