//! The files: a tree for trusted clients' pulls and one for the others', in each a folder per repository; in it `tag-KK.TAG`,
//! which holds a digest (KK: the kinds of manifest that were asked for), and `sha256.HEX`, which holds a media type, a line's end
//! and the manifest. A file's time of modification is when a source last gave it. All of it is the owner's alone.
//!
//! Nothing is synced: what a power loss leaves behind fails its proof and counts as absent.

mod disk;

use super::StaleManifest;
use super::eviction::{Free, Stored, evicted};
use crate::budget::Budget;
use crate::cache::Trust;
use crate::config;
use crate::lifecycle::create_private;
use crate::oci::{Digest, ManifestKinds, Reference, manifest_fits};
use crate::relay::memory::{Image, Pulled};
use crate::telemetry::{EventName, Journal, StateChange};
use bytes::Bytes;
use disk::{entries, is_absent, make_private, on_disk, read, touch};
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

/// Where a file is written before it gets its name.
const UNFINISHED: &str = "unfinished";

/// Whose pulls the trees are of.
const TREES: [Trust; 2] = [Trust::Trusted, Trust::Untrusted];

/// The directory of kept manifests. All of its calls block.
#[derive(Debug)]
pub(super) struct Store {
    directory: PathBuf,
    journal: Journal,
    /// Of what is read.
    budget: Budget,
    /// Something that a source denied could not be deleted: nothing may be answered any more.
    tainted: AtomicBool,
}

/// What is to be kept.
#[derive(Debug)]
pub(super) struct Keep {
    pub(super) of: Pulled,
    pub(super) digest: Digest,
    /// Body and media type; `None`: only the reference names the digest again.
    pub(super) whole: Option<(Bytes, String)>,
    pub(super) limits: config::Stale,
}

/// The file's name. Tags hold nothing that it may not, and digests nothing else.
fn name(image: &Image) -> String {
    match &image.reference {
        Reference::Tag(tag) => format!("tag-{}.{tag}", image.kinds.code()),
        Reference::Digest(digest) => content_name(digest),
    }
}

fn content_name(digest: &Digest) -> String {
    digest.as_str().replace(':', ".")
}

/// Whether a registry's "no" to who takes these kinds is one to that file: to who takes everything it is about the reference, to
/// others about the kinds that they take.
fn is_denied(denied: &Image, kinds: ManifestKinds, file: &str) -> bool {
    match &denied.reference {
        Reference::Tag(tag) if kinds.are_all() => {
            let of = file
                .strip_prefix("tag-")
                .and_then(|rest| rest.split_once('.'));
            of.is_some_and(|(_, name)| name == &**tag)
        }
        Reference::Tag(_) => file == name(denied),
        Reference::Digest(_) => kinds.are_all() && file == name(denied),
    }
}

// === impl Store ===

impl Store {
    pub(super) fn new(directory: PathBuf, journal: Journal, budget: Budget) -> Self {
        Self {
            directory,
            journal,
            budget,
            tainted: AtomicBool::new(false),
        }
    }

    pub(super) fn is_tainted(&self) -> bool {
        self.tainted.load(Ordering::Relaxed)
    }

    /// A denied manifest could not be deleted: from now on none is answered, which is said once.
    pub(super) fn is_tainted_by(&self, error: &io::Error) {
        if !self.tainted.swap(true, Ordering::Relaxed) {
            let what = "a denied manifest cannot be deleted: none is answered from disk any more";
            self.say(what, error);
        }
    }

    /// Says what follows from an error of the disk.
    pub(super) fn say(&self, what: &str, error: &io::Error) {
        let directory = self.directory.display();
        self.journal.event(StateChange {
            event: EventName::FilesNotWritable,
            tier: None,
            endpoint: None,
            reason: error.to_string(),
            message: format!("cannot write in {directory}: {error}; {what}; pulls go on"),
        });
    }

    #[cfg(test)]
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The repository's folders, that of trusted clients' pulls first. Repositories hold slashes and may be longer than a name may
    /// be, so it is a hash.
    pub(super) fn folders(&self, of: &Image) -> [PathBuf; 2] {
        let digest = Digest::sha256(format!("{}/{}", of.registry, of.repository).as_bytes());
        let hex = digest.as_str().rsplit(':').next().unwrap_or_default();
        let folder = hex.get(..40).unwrap_or(hex);
        TREES.map(|trust| self.directory.join(trust.word()).join(folder))
    }

    /// What is kept of an image: not older than `max_age`, and what its digest says. Of two words on a tag the younger.
    pub(super) fn read(
        &self,
        image: &Image,
        max_age: Duration,
        now: SystemTime,
    ) -> Option<StaleManifest> {
        let folders = self.folders(image);
        let content = |digest: &Digest, max_age: Duration| {
            let mut folders = folders.iter();
            folders.find_map(|folder| self.content(folder, digest, max_age, now))
        };
        if let Reference::Digest(digest) = &image.reference {
            return content(digest, max_age);
        }
        let named = folders.iter().filter_map(|folder| {
            let (text, age) = read(&folder.join(name(image)), &self.budget, now).ok()?;
            let digest: Digest = std::str::from_utf8(&text).ok()?.trim_end().parse().ok()?;
            (age <= max_age).then_some((age, digest))
        });
        let mut named: Vec<_> = named.collect();
        named.sort_by_key(|(age, _)| *age);
        named.into_iter().find_map(|(age, digest)| {
            let found = content(&digest, Duration::MAX)?;
            Some(StaleManifest { age, ..found })
        })
    }

    /// Whether there is a file for an image.
    pub(super) fn holds(&self, image: &Image) -> bool {
        let mut folders = self.folders(image).into_iter();
        folders.any(|folder| folder.join(name(image)).exists())
    }

    fn content(
        &self,
        folder: &Path,
        digest: &Digest,
        max_age: Duration,
        now: SystemTime,
    ) -> Option<StaleManifest> {
        let path = folder.join(content_name(digest));
        let (text, age) = read(&path, &self.budget, now).ok()?;
        let end = text.iter().position(|byte| *byte == b'\n')?;
        let media_type = std::str::from_utf8(text.get(..end)?).ok()?.to_owned();
        let body = text.slice(end.checked_add(1)?..);
        let is_sound = age <= max_age
            && media_type.bytes().all(|byte| byte.is_ascii_graphic())
            && manifest_fits(digest, &body);
        is_sound.then(|| StaleManifest {
            body,
            digest: digest.clone(),
            media_type,
            age,
        })
    }

    /// Writes a manifest under its digest and, if it was asked for by tag, the tag. Returns what that takes of the disk at most.
    pub(super) fn write(&self, keep: &Keep, now: SystemTime) -> io::Result<u64> {
        let Pulled { image, trust } = &keep.of;
        let [trusted, untrusted] = self.folders(image);
        let (own, others) = match trust {
            Trust::Trusted => (trusted, untrusted),
            Trust::Untrusted => (untrusted, trusted),
        };
        make_private(&own)?;
        let name_of_content = content_name(&keep.digest);
        let (content, of_others) = (own.join(&name_of_content), others.join(&name_of_content));
        match &keep.whole {
            Some((body, media_type)) => {
                self.replace(&content, &[media_type.as_bytes(), b"\n", body], now)?;
            }
            None if touch(&content, now)? => {}
            // A trusted client was told of it, which only an untrusted one's pull had brought.
            None if *trust == Trust::Trusted => is_absent(fs::rename(of_others, &content))?,
            None => {
                touch(&of_others, now)?;
            }
        }
        let tag = own.join(name(image));
        if let Reference::Tag(_) = image.reference {
            self.replace(&tag, &[format!("{}\n", keep.digest).as_bytes()], now)?;
        }
        let taken = [own, content, tag].map(|path| on_disk(&path));
        Ok(taken.into_iter().fold(0, u64::saturating_add))
    }

    /// Deletes what a registry's "no" to who takes these kinds is about; without kinds all of the repository. What is not there is
    /// deleted already.
    pub(super) fn delete(&self, denied: &Image, kinds: Option<ManifestKinds>) -> io::Result<()> {
        for folder in self.folders(denied) {
            let Some(kinds) = kinds else {
                is_absent(fs::remove_dir_all(folder))?;
                continue;
            };
            for file in entries(&folder)? {
                let name = file.file_name().and_then(|name| name.to_str());
                if name.is_some_and(|name| is_denied(denied, kinds, name)) {
                    is_absent(fs::remove_file(file))?;
                }
            }
        }
        Ok(())
    }

    /// Deletes what is too old or too much; what may be written before there may be too much again.
    pub(super) fn tidy(&self, limits: config::Stale, now: SystemTime) -> io::Result<Free> {
        let mut all = Vec::new();
        let mut fixed = on_disk(&self.directory);
        let trees = TREES.map(|trust| self.directory.join(trust.word()));
        // 0.1.0 kept manifests beside the trees, and did not write down whose pulls they were of.
        for folder in entries(&self.directory)? {
            if !trees.contains(&folder) {
                is_absent(fs::remove_dir_all(folder))?;
            }
        }
        for (trust, tree) in TREES.into_iter().zip(&trees) {
            fixed = fixed.saturating_add(on_disk(tree));
            for folder in entries(tree)? {
                let begins = all.len();
                for file in entries(&folder)? {
                    let modified = fs::symlink_metadata(&file).and_then(|data| data.modified());
                    all.push(Stored {
                        trust,
                        at: modified.unwrap_or(SystemTime::UNIX_EPOCH),
                        bytes: on_disk(&file),
                        file,
                    });
                }
                // The folder goes with the last of its files.
                let files = all.iter_mut().skip(begins);
                match files.max_by(|a, b| (a.at, &a.file).cmp(&(b.at, &b.file))) {
                    Some(last) => last.bytes = last.bytes.saturating_add(on_disk(&folder)),
                    None => is_absent(fs::remove_dir(&folder))?,
                }
            }
        }
        let (gone, free) = evicted(all, fixed, limits, now);
        for file in gone {
            is_absent(fs::remove_file(&file))?;
            if let Some(folder) = file.parent() {
                // Fails while it holds anything.
                let _ = fs::remove_dir(folder);
            }
        }
        Ok(free)
    }

    /// The old file or the new one, never a part.
    fn replace(&self, path: &Path, parts: &[&[u8]], now: SystemTime) -> io::Result<()> {
        let unfinished = self.directory.join(UNFINISHED);
        let written = create_private(&unfinished).and_then(|mut file| {
            for part in parts {
                file.write_all(part)?;
            }
            file.set_modified(now)?;
            fs::rename(&unfinished, path)
        });
        if written.is_err() {
            // A full disk gets its room back; where that fails too the next write begins with it.
            let _ = fs::remove_file(&unfinished);
        }
        written
    }
}
