//! What a node pulls: images as containerd asks for them, again and again.

use super::counts::What;
use super::node::Node;
use super::search::{Found, Search, Wish};
use super::site::Work;
use super::world::{Dice, Image};
use crate::cache::Trust;
use crate::lifecycle;
use crate::oci::Digest;
use crate::relay::rules::Asked;
use crate::relay::timing::Timing;
use crate::topology::{EndpointId, Failure, Outcome};
use futures_util::future::join_all;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// kubelet's back-off after a failed pull.
const FIRST_BACK_OFF: Duration = Duration::from_secs(10);
const LAST_BACK_OFF: Duration = Duration::from_secs(300);

impl Node {
    /// Pulls until it has the image, as kubelet has containerd do it.
    pub(super) async fn pull(self: Arc<Self>, image: Arc<Image>) {
        let mut back_off = FIRST_BACK_OFF;
        while self.try_pull(&image).await.is_none() {
            sleep(back_off).await;
            back_off = (back_off * 2).min(LAST_BACK_OFF);
        }
    }

    /// The index by its tag, the manifest, then everything that it names at the same time.
    async fn try_pull(self: &Arc<Self>, image: &Arc<Image>) -> Option<()> {
        self.manifest(image, None).await?;
        self.manifest(image, Some(image.manifest.clone())).await?;
        let blobs = image.blobs.iter().map(|(digest, work)| {
            let (node, image) = (self.clone(), image.clone());
            async move { node.blob(&image, digest.clone(), *work).await }
        });
        join_all(blobs).await.into_iter().collect()
    }

    async fn manifest(self: &Arc<Self>, image: &Arc<Image>, digest: Option<Digest>) -> Option<()> {
        self.parts.hedging.requested(Trust::Trusted);
        let timeouts = &self.parts.timeouts;
        let wish = Wish {
            route: image.route.clone(),
            digest,
            asked: Asked::Document,
            timing: crate::relay::manifest::timing(timeouts),
        };
        let found = self.search(wish, &[]).await?;
        let blobs = image.blobs.iter().map(|(digest, _)| digest);
        let learned = blobs.chain([&image.manifest]);
        let (sticky, now) = (&self.parts.stickiness, Instant::now());
        sticky.answered(
            (&image.route, Trust::Trusted),
            &found.endpoint,
            learned,
            now,
        );
        self.park(&found.endpoint, found.line);
        Some(())
    }

    /// The body goes on from another source when its own stalls, as `relay::blob` has it.
    async fn blob(self: &Arc<Self>, image: &Arc<Image>, digest: Digest, work: Work) -> Option<()> {
        let timeouts = &self.parts.timeouts;
        let wish = Wish {
            route: image.route.clone(),
            digest: Some(digest),
            asked: Asked::Blob {
                range: None,
                size: None,
                empty: false,
            },
            timing: Timing {
                upstream_joins: None,
                overtake: Some(timeouts.stall),
                ..crate::relay::manifest::timing(timeouts)
            },
        };
        let mut found = self.search(wish.clone(), &[]).await?;
        let mut broke = Vec::new();
        let mut part = 1.0;
        loop {
            let site = self.world.site(&found.endpoint);
            let whole = match work {
                Work::Layer => site.kind.layer,
                Work::Config => Duration::ZERO,
            };
            let Found {
                endpoint,
                line,
                in_flight,
            } = found;
            let Err(left) = site.transfer(whole.mul_f64(part)).await else {
                drop(in_flight);
                self.park(&endpoint, line);
                return Some(());
            };
            part = if whole.is_zero() {
                1.0
            } else {
                left.div_duration_f64(whole)
            };
            sleep(timeouts.stall).await;
            broke.push(endpoint.clone());
            // The last living source would be waited for; here all that stalls is dead.
            found = self.search(wish.clone(), &broke).await?;
            self.report(&endpoint, Outcome::Soft(Failure::Slow));
            drop(in_flight);
        }
    }

    async fn search(self: &Arc<Self>, wish: Wish, without: &[EndpointId]) -> Option<Found> {
        let (requests, began) = (&self.world.requests, Instant::now());
        requests.add(What::Request);
        let found = Search::new(self.clone(), wish).without(without).run().await;
        if found.is_none() {
            requests.add(What::Refused);
        }
        self.world.took(began);
        found
    }

    /// Pulls for ever, at random moments.
    pub(super) fn keep_busy(self: Arc<Self>, mean: Duration, mut dice: Dice) {
        lifecycle::spawn_detached("a node's pods", async move {
            loop {
                sleep(mean.mul_f64(-(1.0 - dice.fraction()).ln())).await;
                let image = self.world.image(&mut dice);
                lifecycle::spawn_detached("a pull", self.clone().pull(image));
            }
        });
    }
}
