//! The files: a tree for trusted clients' pulls and one for the others', in each a folder per repository; in it `tag-KK.TAG`,
//! which holds a digest (KK: the kinds of manifest that were asked for), and `sha256.HEX`, which holds a media type, a line's end
//! and the manifest. A file's time of modification is when a source last gave it. All of it is the owner's alone.
//!
//! Nothing is synced: what a power loss leaves behind fails its proof and counts as absent.

mod disk;

use super::StaleManifest;
use super::eviction::{Stored, Taken, evicted};
use crate::budget::Budget;
use crate::cache::Trust;
use crate::config;
use crate::lifecycle::create_private;
use crate::oci::{Digest, ManifestKinds, Reference, RegistryName, Repository, manifest_fits};
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
    pub(super) slot: Slot,
    pub(super) digest: Digest,
    pub(super) trust: Trust,
    /// Body and media type; `None`: only the reference names the digest again.
    pub(super) whole: Option<(Bytes, String)>,
    pub(super) limits: config::Stale,
}

/// Where something is kept: the repository's folder, and the name in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) folder: String,
    pub(super) reference: Reference,
    /// Which of a tag's manifests.
    pub(super) kinds: ManifestKinds,
}

/// The repository's folder. Repositories hold slashes and may be longer than a name may be, so it is a hash.
pub(super) fn folder(registry: &RegistryName, repository: &Repository) -> String {
    let digest = Digest::sha256(format!("{registry}/{repository}").as_bytes());
    let hex = digest.as_str().rsplit(':').next().unwrap_or_default();
    hex.get(..40).unwrap_or(hex).to_owned()
}

/// Digests hold nothing else that a file's name may not.
fn content_name(digest: &Digest) -> String {
    digest.as_str().replace(':', ".")
}

// === impl Slot ===

impl Slot {
    /// Tags hold nothing that a file's name may not.
    fn name(&self) -> String {
        match &self.reference {
            Reference::Tag(tag) => format!("tag-{}.{tag}", self.kinds.code()),
            Reference::Digest(digest) => content_name(digest),
        }
    }

    /// Whether a registry's "no" to this is one to that file: to who takes everything it is about the reference, to others about
    /// the kinds that they take.
    fn is_denied(&self, file: &str) -> bool {
        match &self.reference {
            Reference::Tag(tag) if self.kinds.are_all() => {
                let of = file
                    .strip_prefix("tag-")
                    .and_then(|rest| rest.split_once('.'));
                of.is_some_and(|(_, name)| name == &**tag)
            }
            Reference::Tag(_) => file == self.name(),
            Reference::Digest(_) => self.kinds.are_all() && file == self.name(),
        }
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

    fn folder(&self, trust: Trust, folder: &str) -> PathBuf {
        self.directory.join(trust.word()).join(folder)
    }

    /// What is kept in a slot: not older than `max_age`, and what its digest says. Of what two clients' pulls left the younger.
    pub(super) fn read(
        &self,
        slot: &Slot,
        max_age: Duration,
        now: SystemTime,
    ) -> Option<StaleManifest> {
        if let Reference::Digest(digest) = &slot.reference {
            return self.content(&slot.folder, digest, max_age, now);
        }
        let mut named: Vec<(Duration, Digest)> = Vec::new();
        for trust in TREES {
            let tag = self.folder(trust, &slot.folder).join(slot.name());
            if let Ok((text, age)) = read(&tag, &self.budget, now)
                && let Some(digest) = std::str::from_utf8(&text)
                    .ok()
                    .and_then(|text| text.trim_end().parse().ok())
            {
                named.push((age, digest));
            }
        }
        named.sort_by_key(|(age, _)| *age);
        let mut young = named.into_iter().filter(|(age, _)| *age <= max_age);
        young.find_map(|(age, digest)| {
            let found = self.content(&slot.folder, &digest, Duration::MAX, now)?;
            Some(StaleManifest { age, ..found })
        })
    }

    /// Whether there is a file for a slot.
    pub(super) fn holds(&self, slot: &Slot) -> bool {
        let path = |trust| self.folder(trust, &slot.folder).join(slot.name());
        TREES.into_iter().any(|trust| path(trust).exists())
    }

    fn content(
        &self,
        folder: &str,
        digest: &Digest,
        max_age: Duration,
        now: SystemTime,
    ) -> Option<StaleManifest> {
        TREES.into_iter().find_map(|trust| {
            let path = self.folder(trust, folder).join(content_name(digest));
            let (text, age) = read(&path, &self.budget, now)
                .ok()
                .filter(|(_, age)| *age <= max_age)?;
            let end = text.iter().position(|byte| *byte == b'\n')?;
            let media_type = std::str::from_utf8(text.get(..end)?).ok()?.to_owned();
            let body = text.slice(end.checked_add(1)?..);
            let is_sound = media_type.bytes().all(|byte| byte.is_ascii_graphic())
                && manifest_fits(digest, &body);
            is_sound.then(|| StaleManifest {
                body,
                digest: digest.clone(),
                media_type,
                age,
            })
        })
    }

    /// Writes a manifest under its digest and, if it was asked for by tag, the tag. Returns what that takes of the disk. What a
    /// trusted client's pull left only becomes younger by an untrusted one's.
    pub(super) fn write(&self, keep: &Keep, now: SystemTime) -> io::Result<u64> {
        let Keep {
            slot,
            digest,
            trust,
            whole,
            ..
        } = keep;
        let [trusted, untrusted] = TREES.map(|trust| self.folder(trust, &slot.folder));
        let (own, theirs) = match trust {
            Trust::Trusted => (trusted, untrusted),
            Trust::Untrusted => (untrusted, trusted),
        };
        let mut bytes = make_private(&own)?;
        let content = content_name(digest);
        let is_untrusted = *trust == Trust::Untrusted;
        let is_theirs = is_untrusted && touch(&theirs.join(&content), now)?;
        match whole {
            _ if is_theirs => {}
            Some((body, media_type)) => {
                let text: [&[u8]; 3] = [media_type.as_bytes(), b"\n", body];
                bytes = bytes.saturating_add(self.replace(&own.join(&content), &text, now)?);
            }
            None if touch(&own.join(&content), now)? => {}
            None if is_untrusted => {}
            // A trusted client was told of it, which only an untrusted one's pull had brought.
            None => is_absent(fs::rename(theirs.join(&content), own.join(&content)))?,
        }
        if let Reference::Tag(_) = slot.reference {
            let (tag, text) = (slot.name(), format!("{digest}\n"));
            let names_it =
                |folder: &Path| fs::read(folder.join(&tag)).is_ok_and(|it| it == text.as_bytes());
            if is_untrusted && names_it(&theirs) {
                touch(&theirs.join(&tag), now)?;
            } else {
                let written = self.replace(&own.join(&tag), &[text.as_bytes()], now)?;
                bytes = bytes.saturating_add(written);
            }
        }
        Ok(bytes)
    }

    /// Deletes what a registry's "no" is about; without a reference all of the repository. What is not there is deleted already.
    pub(super) fn delete(&self, folder: &str, denied: Option<&Slot>) -> io::Result<()> {
        for trust in TREES {
            let folder = self.folder(trust, folder);
            let Some(denied) = denied else {
                is_absent(fs::remove_dir_all(folder))?;
                continue;
            };
            for file in entries(&folder)? {
                let name = file.file_name().and_then(|name| name.to_str());
                if name.is_some_and(|name| denied.is_denied(name)) {
                    is_absent(fs::remove_file(file))?;
                }
            }
        }
        Ok(())
    }

    /// Deletes what is too old or too much; returns what is left.
    pub(super) fn tidy(&self, limits: config::Stale, now: SystemTime) -> io::Result<Taken> {
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
        let (gone, left) = evicted(all, fixed, limits, now);
        for file in gone {
            is_absent(fs::remove_file(&file))?;
            if let Some(folder) = file.parent() {
                // Fails while it holds anything.
                let _ = fs::remove_dir(folder);
            }
        }
        Ok(left)
    }

    /// The old file or the new one, never a part.
    fn replace(&self, path: &Path, parts: &[&[u8]], now: SystemTime) -> io::Result<u64> {
        let unfinished = self.directory.join(UNFINISHED);
        let written = (|| {
            let mut file = create_private(&unfinished)?;
            for part in parts {
                file.write_all(part)?;
            }
            file.set_modified(now)?;
            let bytes = on_disk(&unfinished);
            fs::rename(&unfinished, path)?;
            Ok(bytes)
        })();
        if written.is_err() {
            // A full disk gets its room back; where that fails too the next write begins with it.
            let _ = fs::remove_file(&unfinished);
        }
        written
    }
}
