//! The mappings on disk: `library/nginx 1.27 docker.io trusted`, a line each; `-` instead of a reference is the list of tags, and
//! `told` at the end says that it is another agent's word. The file is a help and no truth: what it says is tried, and lines that say nothing are passed over.

use super::{Place, Seen, Subject, Wanted};
use crate::cache::Trust;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// More than all lines take; a longer file is not ours.
const MAX_BYTES: u64 = 16 << 20;

/// Stands for the reference of a tag list, which has none.
const TAGS: &str = "-";

const TOLD: &str = "told";

pub(super) fn read(path: &Path) -> Vec<(Wanted, Place)> {
    let is_ours = fs::metadata(path).is_ok_and(|file| file.len() <= MAX_BYTES);
    let bytes = match is_ours {
        true => fs::read(path).unwrap_or_default(),
        false => Vec::new(),
    };
    // Damage costs the lines that it is in.
    String::from_utf8_lossy(&bytes)
        .lines()
        .filter_map(read_line)
        .collect()
}

/// The old content or the new one, never a part.
pub(super) fn write(path: &Path, lines: &str) -> io::Result<()> {
    let temporary = path.with_extension("new");
    // One that an interrupted run left behind may have other permissions.
    let _ = fs::remove_file(&temporary);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    options.open(&temporary)?.write_all(lines.as_bytes())?;
    fs::rename(&temporary, path)
}

pub(super) fn line(wanted: &Wanted, place: &Place) -> String {
    let reference = match &wanted.subject {
        Subject::Manifest(reference) => reference.as_str(),
        Subject::Tags => TAGS,
    };
    let (registry, word) = (&place.registry, wanted.trust.word());
    let told = match place.seen {
        Seen::Elsewhere => format!(" {TOLD}"),
        Seen::At(_) | Seen::Before => String::new(),
    };
    format!(
        "{} {reference} {registry} {word}{told}\n",
        wanted.repository
    )
}

fn read_line(line: &str) -> Option<(Wanted, Place)> {
    let mut words = line.split(' ');
    let mut word = || words.next();
    let repository = word()?.parse().ok()?;
    let subject = match word()? {
        TAGS => Subject::Tags,
        reference => Subject::Manifest(reference.parse().ok()?),
    };
    let registry = word()?.parse().ok()?;
    let trust = match word()? {
        "trusted" => Trust::Trusted,
        "untrusted" => Trust::Untrusted,
        _ => return None,
    };
    let seen = match word() {
        Some(TOLD) => Seen::Elsewhere,
        _ => Seen::Before,
    };
    let wanted = Wanted {
        repository,
        subject,
        trust,
    };
    Some((wanted, Place { registry, seen }))
}
