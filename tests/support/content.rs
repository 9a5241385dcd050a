//! What a fake registry holds.

use super::image::{Image, Manifest};
use std::collections::{HashMap, HashSet};

/// Manifests by repository and reference, blobs by digest.
#[derive(Debug, Default)]
pub struct Content {
    manifests: HashMap<(String, String), Manifest>,
    /// What a trimmed index would be for a tag.
    trimmed: HashMap<(String, String), Manifest>,
    blobs: HashMap<String, Vec<u8>>,
    /// Cold blobs that were asked for before.
    warmed: HashSet<String>,
    /// Manifests that were got, by repository and digest.
    pulled: HashSet<(String, String)>,
    /// Tags that were asked for by HEAD alone, by repository and the digest that was told.
    headed: HashMap<(String, String), String>,
    /// Tags that are attached, by repository.
    attached: HashSet<(String, String)>,
}

impl Content {
    pub fn add(&mut self, repository: &str, tag: &str, image: &Image) {
        let at = |reference: &str| (repository.to_owned(), reference.to_owned());
        self.manifests.insert(at(tag), image.top.clone());
        for manifest in image.manifests() {
            self.manifests
                .insert(at(manifest.digest.as_str()), manifest.clone());
        }
        if !image.children.is_empty() {
            let trimmed = image.trimmed();
            self.manifests
                .insert(at(trimmed.digest.as_str()), trimmed.clone());
            self.trimmed.insert(at(tag), trimmed);
        }
        for blob in &image.blobs {
            let digest = blob.digest.as_str().to_owned();
            self.blobs.insert(digest, blob.body.clone());
        }
    }

    pub fn manifest(&self, repository: &str, reference: &str, trimmed: bool) -> Option<Manifest> {
        let at = (repository.to_owned(), reference.to_owned());
        let short = self.trimmed.get(&at).filter(|_| trimmed);
        short.or_else(|| self.manifests.get(&at)).cloned()
    }

    pub fn blob(&self, digest: &str) -> Option<Vec<u8>> {
        self.blobs.get(digest).cloned()
    }

    /// Replaces what is served for a digest: a source that holds wrong bytes.
    pub fn replace_blob(&mut self, digest: &str, body: Vec<u8>) {
        self.blobs.insert(digest.to_owned(), body);
    }

    /// Whether the blob was asked for before; it counts as asked for from now on.
    pub fn warm_up(&mut self, digest: &str) -> bool {
        !self.warmed.insert(digest.to_owned())
    }

    pub fn is_warmed(&self, digest: &str) -> bool {
        self.warmed.contains(digest)
    }

    /// Whether somebody got the manifest before.
    pub fn is_pulled(&self, repository: &str, digest: &str) -> bool {
        self.pulled
            .contains(&(repository.to_owned(), digest.to_owned()))
    }

    pub fn is_attached(&self, repository: &str, tag: &str) -> bool {
        self.attached
            .contains(&(repository.to_owned(), tag.to_owned()))
    }

    /// A HEAD by tag told this digest.
    pub fn headed(&mut self, repository: &str, tag: &str, digest: &str) {
        let at = (repository.to_owned(), digest.to_owned());
        self.headed.insert(at, tag.to_owned());
    }

    /// A manifest was got, by its digest or not: by its digest it brings the tag of an earlier HEAD.
    pub fn got(&mut self, repository: &str, digest: &str, by_digest: bool) {
        let at = (repository.to_owned(), digest.to_owned());
        if by_digest && let Some(tag) = self.headed.remove(&at) {
            self.attached.insert((repository.to_owned(), tag));
        }
        self.pulled.insert(at);
    }

    /// The repositories of a project, by name.
    pub fn repositories(&self, project: &str) -> Vec<String> {
        let below = format!("{project}/");
        let names = self.manifests.keys().map(|(repository, _)| repository);
        let mut names: Vec<String> = names
            .filter(|name| name.starts_with(&below))
            .cloned()
            .collect();
        names.sort();
        names.dedup();
        names
    }

    /// The digests that a repository has.
    pub fn digests(&self, repository: &str) -> Vec<String> {
        let of = self.manifests.keys().filter(|(name, _)| name == repository);
        let mut digests: Vec<String> = of
            .filter(|(_, reference)| reference.contains(':'))
            .map(|(_, digest)| digest.clone())
            .collect();
        digests.sort();
        digests
    }

    pub fn tags(&self, repository: &str) -> Vec<String> {
        let names = self
            .manifests
            .keys()
            .filter(|(found, _)| found == repository);
        let tags = names
            .map(|(_, reference)| reference)
            .filter(|name| !name.contains(':'));
        let mut tags: Vec<_> = tags.cloned().collect();
        tags.sort();
        tags
    }
}
