//! Clients that pull all the time, as containerd does: a connection that was used before and ends without an answer is
//! tried once more on a new one, and a body that ends early is asked for again from where it broke off.

use super::REPOSITORY;
use crate::client::{Client, End, Got};
use crate::support::Image;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Clients with a new connection for every request, and such that keep theirs.
const FRESH: usize = 4;
const KEEPING: usize = 4;

pub struct Load {
    over: Arc<AtomicBool>,
    clients: JoinSet<Tally>,
}

/// What the clients saw.
#[derive(Debug, Default)]
pub struct Tally {
    pub answers: usize,
    /// Asked again on a new connection.
    pub again: usize,
    /// Bodies that went on in a second answer.
    pub resumed: usize,
    /// The longest wait for an answer, connecting included.
    pub longest: Duration,
    /// Every request that failed.
    pub failed: Vec<String>,
}

/// One thing to ask for, and what must come.
struct Wanted {
    target: String,
    body: Vec<u8>,
}

struct Puller {
    address: SocketAddr,
    keeps: bool,
    kept: Option<Client>,
    tally: Tally,
}

impl Load {
    pub fn start(address: SocketAddr, image: &Image) -> Self {
        let target = |what: String| format!("/v2/{REPOSITORY}/{what}?ns=docker.io");
        let mut wanted = vec![Wanted {
            target: target("manifests/1".to_owned()),
            body: image.top.body.clone(),
        }];
        wanted.extend(image.blobs.iter().map(|blob| Wanted {
            target: target(format!("blobs/{}", blob.digest)),
            body: blob.body.clone(),
        }));
        let wanted = Arc::new(wanted);
        let over = Arc::new(AtomicBool::new(false));
        let mut clients = JoinSet::new();
        for number in 0..FRESH + KEEPING {
            let (over, wanted) = (over.clone(), wanted.clone());
            let mut puller = Puller {
                address,
                keeps: number >= FRESH,
                kept: None,
                tally: Tally::default(),
            };
            clients.spawn(async move {
                for wanted in wanted.iter().cycle().skip(number) {
                    if over.load(Ordering::Relaxed) {
                        break;
                    }
                    puller.pull(wanted).await;
                    // Idle connections are a case of their own.
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                puller.tally
            });
        }
        Self { over, clients }
    }

    pub async fn end(mut self) -> Tally {
        self.over.store(true, Ordering::Relaxed);
        let mut sum = Tally::default();
        while let Some(tally) = self.clients.join_next().await {
            let tally = tally.expect("every connection is taken");
            sum.answers += tally.answers;
            sum.again += tally.again;
            sum.resumed += tally.resumed;
            sum.longest = sum.longest.max(tally.longest);
            sum.failed.extend(tally.failed);
        }
        sum
    }
}

impl Puller {
    async fn pull(&mut self, wanted: &Wanted) {
        let mut body = Vec::new();
        let mut again = 0;
        loop {
            let range = format!("bytes={}-", body.len());
            let headers = [("Range", range.as_str())];
            let headers = if body.is_empty() {
                &[][..]
            } else {
                &headers[..]
            };
            let since = Instant::now();
            let (got, was_kept) = self.ask(&wanted.target, headers).await;
            self.tally.longest = self.tally.longest.max(since.elapsed());
            if got.status == 0 && was_kept {
                self.tally.again += 1;
                continue;
            }
            let expected = if body.is_empty() { 200 } else { 206 };
            body.extend_from_slice(&got.body);
            let prefix = got.status == expected && wanted.body.starts_with(&body);
            if prefix && got.end == End::Clean && body.len() == wanted.body.len() {
                self.tally.answers += 1;
                return;
            }
            if !prefix || got.end != End::Fin || again > 5 {
                let what = format!("{} from {}: {got:?}", wanted.target, headers.len());
                self.tally.failed.push(what);
                return;
            }
            again += 1;
            self.tally.resumed += 1;
        }
    }

    /// The answer, and whether its connection had served before.
    async fn ask(&mut self, target: &str, headers: &[(&str, &str)]) -> (Got, bool) {
        let kept = self.kept.take();
        let was_kept = kept.is_some();
        let mut client = match kept {
            Some(client) => client,
            None => Client::connect(self.address).await,
        };
        client.ask("GET", target, headers).await;
        let got = client.answer(false).await;
        let closes = got.header("connection") == Some("close") || got.end != End::Clean;
        self.kept = (self.keeps && !closes).then_some(client);
        (got, was_kept)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} answers, {} of them asked for again on a new connection, {} bodies resumed, {} failed, \
             the longest took {} ms",
            self.answers,
            self.again,
            self.resumed,
            self.failed.len(),
            self.longest.as_millis()
        )
    }
}
