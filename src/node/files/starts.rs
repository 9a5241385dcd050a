//! Starts of k3s and rke2: what the last one did not generate again would not be there without us (design F9).
//!
//! Their start writes config.toml and then the host configurations of the registries that registries.yaml lists, after it
//! has removed those that it generated before. A file of ours does not begin with their header, so that it survives, and
//! with it what was generated once.

use super::HOSTS;
use super::look::take_out;
use crate::node::detect::Detected;
use crate::node::hosts_toml;
use crate::node::ledger::{Entry, Generation, Kind, Ledger};
use crate::node::write;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Between config.toml and the last of the host configurations nothing rests so long.
const QUIET: Duration = Duration::from_millis(500);
/// Whatever somebody does to the directory, it is looked at.
const MOST_WAITS: usize = 10;
/// Of such a certs.d, which k3s and rke2 keep.
const PLACE: &str = "agent/etc/containerd/certs.d";

/// The directory of host configurations that such a runtime generates.
pub(super) fn generated(detected: &Detected) -> Option<PathBuf> {
    let data_dir = detected.data_dir.as_ref();
    let data_dir = data_dir.filter(|_| detected.runtime.generates())?;
    Some(data_dir.join(PLACE))
}

/// Takes a start in that was not seen yet, and says whether it came since the last look: what it did not generate again has
/// lapsed. Blocks on file I/O, and for half a second where a start is under way.
pub(super) fn take_in(ledger: &mut Ledger, certs_d: &Path) -> bool {
    let last = certs_d.with_file_name("config.toml");
    let last = Generation::read(&last).filter(|_| certs_d.ends_with(PLACE));
    let Some(last) = last else {
        return false;
    };
    let known = ledger.generation.as_ref();
    let known = known.filter(|known| known.config == last.config);
    if known.is_some_and(|known| known.is(&last)) {
        return false;
    }
    let is_new = known.is_some();
    wait_for_quiet(certs_d);
    for directory in fs::read_dir(certs_d).into_iter().flatten().flatten() {
        let path = directory.path().join(HOSTS);
        let Some(file) = write::read(&path).ok().flatten() else {
            continue;
        };
        // Without a ledger the file itself tells whether it was written before that start.
        let is_before = is_new || modified(&path).is_some_and(|at| at < last.modified);
        let text = file.text();
        let without = take_out(Kind::Hosts, &text, None);
        let was_generated = without.is_ok_and(|without| hosts_toml::is_generated(&without));
        if hosts_toml::is_ours(&text) && is_before && was_generated {
            let entry = Entry::new(Kind::Hosts, None, &[&Some(file)]);
            ledger.files.insert(path, entry);
            // That start would have removed it.
            ledger.directories.insert(directory.path());
        }
    }
    ledger.generation = Some(last);
    is_new
}

fn wait_for_quiet(certs_d: &Path) {
    let config = certs_d.with_file_name("config.toml");
    for _ in 0..MOST_WAITS {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let newest = modified(&config).max(modified(certs_d));
        let age = now
            .ok()
            .zip(newest)
            .and_then(|(now, at)| now.checked_sub(at));
        match age.and_then(|age| QUIET.checked_sub(age)) {
            Some(rest) => std::thread::sleep(rest),
            None => return,
        }
    }
}

/// When the file was changed, since 1970.
fn modified(path: &Path) -> Option<Duration> {
    Generation::read(path).map(|file| file.modified)
}
