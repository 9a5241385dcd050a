//! One image as a whole: its index, manifests, configurations and layers, each proved and thrown away.

use super::fetch::{Cache, ImagePath, Through};
use super::limit::Limit;
use super::pass::Pass;
use super::platform::Platforms;
use super::progress::Bar;
use super::report::Row;
use crate::cli::explain::image::Image;
use crate::oci::{Descriptor, Digest, ManifestKind, Reference, inspect_manifest};
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OnceCell, Semaphore};
use tokio::time::Instant;

/// A blob on one way: full once it was fetched.
type Once = Arc<OnceCell<()>>;

/// What all pulls share.
pub(super) struct Shared {
    pub(super) wanted: Platforms,
    pub(super) limit: Limit,
    /// Limits the requests that run at once: `--parallel`.
    pub(super) places: Semaphore,
    /// A longer manifest is refused: `[limits] manifest_bytes`.
    pub(super) manifest_bytes: u64,
    /// What was fetched already, by pass. Whoever wants what another image is fetching waits for that.
    pub(super) fetched: Mutex<BTreeMap<(String, Digest), Once>>,
}

/// One image on one way.
struct Pull<'a> {
    shared: &'a Shared,
    pass: &'a Pass,
    path: ImagePath,
    bar: &'a Bar,
}

/// Fetches it. What came of it stands in `row`, whenever this is dropped.
pub(super) async fn pull(shared: &Shared, pass: &Pass, image: &Image, bar: &Bar, row: &Mutex<Row>) {
    let began = Instant::now();
    let pull = Pull {
        shared,
        pass,
        path: ImagePath {
            registry: image.registry.to_string(),
            name: image.name.as_str().to_owned(),
        },
        bar,
    };
    let result = pull.image(&image.reference, row).await;
    let mut row = row.lock().unwrap_or_else(PoisonError::into_inner);
    let took = began.elapsed().as_millis();
    row.milliseconds = u64::try_from(took).unwrap_or(u64::MAX);
    row.error = result.err();
    row.has_ended = true;
}

impl Pull<'_> {
    async fn image(&self, reference: &Reference, row: &Mutex<Row>) -> Result<(), String> {
        let mut manifests = vec![reference.clone()];
        let mut blobs: Vec<Descriptor> = Vec::new();
        let mut is_top = true;
        while let Some(reference) = manifests.pop() {
            let (body, served_by) = self.manifest(&reference).await?;
            self.bar.served_by(&served_by);
            let length = u64::try_from(body.len()).unwrap_or(u64::MAX);
            add(row, length, served_by, Cache::Unknown);
            let ManifestKind::Manifest { descriptors, .. } = inspect_manifest(&body) else {
                return Err("what came is no manifest".to_owned());
            };
            let names_manifests = descriptors.iter().any(|one| one.is_manifest);
            if names_manifests {
                let wanted = match is_top {
                    true => self.shared.wanted.of_index(&body)?,
                    // An index below an index: all of it.
                    false => Platforms::All.of_index(&body)?,
                };
                manifests.extend(wanted.into_iter().map(Reference::Digest));
            } else {
                blobs.extend(descriptors);
            }
            is_top = false;
        }
        let mut seen = BTreeSet::new();
        blobs.retain(|blob| seen.insert(blob.digest.clone()));
        let total = blobs.iter();
        self.bar
            .set_total(total.fold(0, |sum: u64, blob| sum.saturating_add(blob.size)));
        let mut fetching: FuturesUnordered<_> = blobs.iter().map(|blob| self.blob(blob)).collect();
        let mut failed = None;
        while let Some(fetched) = fetching.next().await {
            match fetched {
                Ok(Some((bytes, served_by, cache))) => add(row, bytes, served_by, cache),
                Ok(None) => {}
                Err(error) => failed = Some(failed.unwrap_or(error)),
            }
        }
        failed.map_or(Ok(()), Err)
    }

    async fn manifest(&self, reference: &Reference) -> Result<(Bytes, String), String> {
        let longest = self.shared.manifest_bytes;
        self.first(async |through| through.manifest(&self.path, reference, longest).await)
            .await
    }

    /// Layers are shared among images: each is fetched once on a way. `None`: for another image. Where that fails, this one
    /// fetches it anew.
    async fn blob(&self, blob: &Descriptor) -> Result<Option<(u64, String, Cache)>, String> {
        let once = {
            let fetched = self.shared.fetched.lock();
            let mut fetched = fetched.unwrap_or_else(PoisonError::into_inner);
            let key = (self.pass.name.clone(), blob.digest.clone());
            fetched.entry(key).or_default().clone()
        };
        let (limit, mut fetched) = (&self.shared.limit, None);
        let came = |bytes| self.bar.add(bytes);
        let fetching = async {
            let fetch = async |through: &Through| {
                through.blob(&self.path, &blob.digest, limit, &came).await
            };
            fetched = Some(self.first(fetch).await?);
            Ok::<_, String>(())
        };
        once.get_or_try_init(|| fetching).await?;
        match &fetched {
            Some((_, served_by, _)) => self.bar.served_by(served_by),
            None => self.bar.add(blob.size),
        }
        Ok(fetched)
    }

    /// What the first of the pass gives that gives it.
    async fn first<T>(
        &self,
        fetch: impl AsyncFn(&Through) -> Result<T, String>,
    ) -> Result<T, String> {
        let mut failed = Vec::new();
        for through in &self.pass.through {
            let _place = self.shared.places.acquire().await;
            match fetch(through).await {
                Ok(fetched) => return Ok(fetched),
                Err(error) => failed.push(error),
            }
        }
        Err(failed.join("; "))
    }
}

fn add(row: &Mutex<Row>, bytes: u64, served_by: String, cache: Cache) {
    let mut row = row.lock().unwrap_or_else(PoisonError::into_inner);
    row.add(bytes, served_by, cache);
}
