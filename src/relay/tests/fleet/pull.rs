//! What a node pulls: images as containerd asks for them, again and again.

use super::counts::What;
use super::network::{Connection, ModelSpec};
use super::node::Node;
use super::site::Work;
use super::world::{Dice, Image};
use crate::cache::Trust;
use crate::lifecycle;
use crate::oci::Digest;
use crate::relay::memory;
use crate::relay::outcome::Found;
use crate::relay::rules::Asked;
use crate::relay::search::{Search, report};
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
        let timing = Timing::for_document(timeouts);
        let what = (digest, Asked::Document, timing);
        let found = self.search(image, what, &[]).await?;
        let blobs = image.blobs.iter().map(|(digest, _)| digest);
        let learned = blobs.chain([&image.manifest]);
        let (sticky, now) = (&self.parts.stickiness, Instant::now());
        let (registry, repository) = (&image.route.registry_label, &image.route.repository);
        let (registry, repository) = (registry.clone(), repository.clone());
        let of = memory::Pulled {
            image: memory::Image::content(registry, repository, image.manifest.clone()),
            trust: Trust::Trusted,
        };
        sticky.answered(&of, &found.endpoint, learned, now);
        found.good.park();
        Some(())
    }

    /// The body goes on from another source when its own stalls, as `relay::blob` has it.
    async fn blob(self: &Arc<Self>, image: &Arc<Image>, digest: Digest, work: Work) -> Option<()> {
        let timeouts = &self.parts.timeouts;
        let asked = Asked::Blob {
            range: None,
            size: None,
            empty: false,
        };
        let what = (Some(digest), asked, Timing::for_blob(timeouts));
        let mut found = self.search(image, what.clone(), &[]).await?;
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
                good: connection,
                in_flight,
                ..
            } = found;
            let Err(left) = site.transfer(whole.mul_f64(part)).await else {
                drop(in_flight);
                connection.park();
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
            found = self.search(image, what.clone(), &broke).await?;
            let slow = Outcome::Soft(Failure::Slow);
            report(&self.parts, &endpoint, slow, String::new());
            drop(in_flight);
        }
    }

    async fn search(
        self: &Arc<Self>,
        image: &Image,
        (digest, asked, timing): (Option<Digest>, Asked, Timing),
        without: &[EndpointId],
    ) -> Option<Found<Connection>> {
        let (requests, began) = (&self.world.requests, Instant::now());
        requests.add(What::Request);
        let (route, parts) = (image.route.clone(), self.parts.clone());
        let (registry, repository) = (&route.registry_label, &route.repository);
        let content = |digest| memory::Image::content(registry.clone(), repository.clone(), digest);
        let spec = Arc::new(ModelSpec {
            content: digest.map(content),
            asked,
        });
        let search = Search::new(self, &parts, route, spec, timing, &"1".into());
        let search = without.iter().fold(search, Search::without);
        let found = search.run().await.result.ok();
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
