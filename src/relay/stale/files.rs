//! The files: a folder per repository; in it `tag.TAG`, which holds a digest, and `sha256.HEX`, which holds a media type,
//! a line's end and the manifest. A file's time of modification is when a source last gave it.
//!
//! Nothing is synced: what a power loss leaves behind fails its proof and counts as absent.

use super::StaleManifest;
use super::eviction::{Stored, evicted};
use crate::config;
use crate::oci::{Digest, Reference, RegistryName, Repository};
use bytes::{Buf as _, Bytes};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Larger than any manifest that is let through, with its media type.
const LONGEST: u64 = 8 * 1024 * 1024;

/// Where a file is written before it gets its name.
const UNFINISHED: &str = "unfinished";

/// The directory of kept manifests. All of its calls block.
#[derive(Debug)]
pub(super) struct Shelf(PathBuf);

/// The repository's folder. Repositories hold slashes and may be longer than a name may be, so it is a hash.
pub(super) fn folder(registry: &RegistryName, repository: &Repository) -> String {
    let digest = Digest::sha256(format!("{registry}/{repository}").as_bytes());
    let hex = digest.as_str().rsplit(':').next().unwrap_or_default();
    hex.get(..40).unwrap_or(hex).to_owned()
}

/// Tags and digests hold nothing that a file's name may not.
fn name(reference: &Reference) -> String {
    match reference {
        Reference::Tag(tag) => format!("tag.{tag}"),
        Reference::Digest(digest) => digest.as_str().replace(':', "."),
    }
}

// === impl Shelf ===

impl Shelf {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self(directory)
    }

    pub(super) fn directory(&self) -> &Path {
        &self.0
    }

    /// What is kept under a reference: not older than `max_age`, and what its digest says.
    pub(super) fn read(
        &self,
        folder: &str,
        reference: &Reference,
        max_age: Duration,
        now: SystemTime,
    ) -> Option<StaleManifest> {
        let folder = self.0.join(folder);
        let (text, age) = read(&folder.join(name(reference)), now).ok()?;
        if age > max_age {
            return None;
        }
        let (digest, text) = match reference {
            Reference::Digest(digest) => (digest.clone(), text),
            Reference::Tag(_) => {
                let digest: Digest = std::str::from_utf8(&text).ok()?.trim_end().parse().ok()?;
                let content = folder.join(name(&Reference::Digest(digest.clone())));
                (digest, read(&content, now).ok()?.0)
            }
        };
        let end = text.iter().position(|byte| *byte == b'\n')?;
        let mut body = Bytes::from(text);
        let media_type = body.split_to(end);
        let media_type = std::str::from_utf8(&media_type).ok()?.to_owned();
        body.advance(b"\n".len());
        let is_sound =
            media_type.bytes().all(|byte| byte.is_ascii_graphic()) && digest.matches(&body);
        is_sound.then_some(StaleManifest {
            body,
            digest,
            media_type,
            age,
        })
    }

    /// Writes a manifest under its digest and, if it was asked for by tag, the tag. Returns the bytes that it takes.
    pub(super) fn write(
        &self,
        folder: &str,
        reference: &Reference,
        digest: &Digest,
        whole: Option<&(Bytes, String)>,
        now: SystemTime,
    ) -> io::Result<u64> {
        let folder = self.0.join(folder);
        fs::create_dir_all(&folder)?;
        let content = folder.join(name(&Reference::Digest(digest.clone())));
        let mut bytes = 0;
        if let Some((body, media_type)) = whole {
            bytes = self.replace(&content, &[media_type.as_bytes(), b"\n", body], now)?;
        } else if let Ok(file) = File::options().append(true).open(&content) {
            file.set_modified(now)?;
        }
        if let Reference::Tag(_) = reference {
            let text = [digest.as_str().as_bytes(), b"\n"];
            let tag = self.replace(&folder.join(name(reference)), &text, now)?;
            bytes = bytes.saturating_add(tag);
        }
        Ok(bytes)
    }

    /// Deletes one reference, or all of a repository. What is not there is deleted already.
    pub(super) fn delete(&self, folder: &str, reference: Option<&Reference>) -> io::Result<()> {
        let folder = self.0.join(folder);
        let deleted = match reference {
            Some(reference) => fs::remove_file(folder.join(name(reference))),
            None => fs::remove_dir_all(folder),
        };
        match deleted {
            Err(error)
                if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                Err(error)
            }
            _ => Ok(()),
        }
    }

    /// Deletes what is too old or too much; returns the bytes of what is left.
    pub(super) fn tidy(&self, limits: config::Stale, now: SystemTime) -> io::Result<u64> {
        let mut all = Vec::new();
        for folder in entries(&self.0)? {
            for file in entries(&folder)? {
                let Ok(metadata) = fs::symlink_metadata(&file) else {
                    continue;
                };
                all.push(Stored {
                    at: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
                    bytes: metadata.len(),
                    file,
                });
            }
        }
        let (gone, left) = evicted(all, limits, now);
        for file in gone {
            fs::remove_file(&file)?;
            if let Some(folder) = file.parent() {
                // Fails while it holds anything.
                let _ = fs::remove_dir(folder);
            }
        }
        Ok(left)
    }

    /// The old file or the new one, never a part.
    fn replace(&self, path: &Path, parts: &[&[u8]], now: SystemTime) -> io::Result<u64> {
        let unfinished = self.0.join(UNFINISHED);
        let written = (|| {
            let mut file = File::create(&unfinished)?;
            for part in parts {
                file.write_all(part)?;
            }
            file.set_modified(now)?;
            fs::rename(&unfinished, path)
        })();
        if written.is_err() {
            // A full disk gets its room back; where that fails too the next write begins with it.
            let _ = fs::remove_file(&unfinished);
        }
        written?;
        Ok(parts.iter().map(|part| part.len() as u64).sum())
    }
}

fn read(path: &Path, now: SystemTime) -> io::Result<(Vec<u8>, Duration)> {
    let file = File::open(path)?;
    // A clock that was set back makes nothing older.
    let age = now
        .duration_since(file.metadata()?.modified()?)
        .unwrap_or_default();
    let mut text = Vec::new();
    file.take(LONGEST).read_to_end(&mut text)?;
    Ok((text, age))
}

/// What is in a directory; nothing where there is none.
fn entries(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let found = match fs::read_dir(directory) {
        Ok(found) => found,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error),
    };
    found.map(|entry| Ok(entry?.path())).collect()
}
