//! Notices changes of the files that matter, and of their directories, by looking at them: not what has changed, which is read
//! anew. Pure but for the look itself.

use rustix::fs::{Access, access};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::Instant;

/// Between two looks while nothing happens. Fewer looks cost an idle node less (decision 35 has the figures).
const PAUSE: Duration = Duration::from_millis(250);
/// Between two looks after a change; and so long must nothing have happened. k3s removes its directories file by file when it
/// starts; what is put back into one of them meanwhile makes that fail, and its start with it.
const REST: Duration = Duration::from_millis(100);
/// Between two looks where there is nothing to look at.
const NOTHING: Duration = Duration::from_secs(1);
/// At most: drift is repaired within a second.
const LONGEST_REST: Duration = Duration::from_millis(500);

/// What is looked at, and how it was.
#[derive(Debug, Default)]
pub(super) struct Watch {
    places: BTreeSet<PathBuf>,
    seen: Vec<Option<Stamp>>,
    changed: Option<Instant>,
}

/// What is another after every change of a file or of what a directory holds, and where that becomes possible.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    changed: (i64, i64),
    can_be_written: bool,
}

// === impl Watch ===

impl Watch {
    /// Looks at these places from now on. To be called before they are read: then nothing is missed. Blocks on file I/O.
    pub(super) fn follow(&mut self, places: BTreeSet<PathBuf>) {
        self.places = places;
        self.seen = self.look();
        self.changed = None;
    }

    /// Whether something has changed and come to rest. Blocks on file I/O.
    pub(super) fn has_changed(&mut self, now: Instant) -> bool {
        let seen = self.look();
        let moves = std::mem::replace(&mut self.seen, seen) != self.seen;
        self.rests(moves, now)
    }

    /// How long to wait for the next look.
    pub(super) fn pause(&self) -> Duration {
        match (self.is_restless(), self.places.is_empty()) {
            (true, _) => REST,
            (false, false) => PAUSE,
            (false, true) => NOTHING,
        }
    }

    /// Whether something has changed and is not at rest yet.
    pub(super) fn is_restless(&self) -> bool {
        self.changed.is_some()
    }

    fn rests(&mut self, moves: bool, now: Instant) -> bool {
        if moves {
            self.changed.get_or_insert(now);
        }
        let rests = |since: &mut Instant| !moves || now - *since >= LONGEST_REST;
        self.changed.take_if(rests).is_some()
    }

    fn look(&self) -> Vec<Option<Stamp>> {
        self.places.iter().map(|place| Stamp::read(place)).collect()
    }
}

// === impl Stamp ===

impl Stamp {
    /// Of what stands there, behind links.
    fn read(path: &Path) -> Option<Self> {
        let found = fs::metadata(path).ok()?;
        Some(Self {
            inode: found.ino(),
            changed: (found.ctime(), found.ctime_nsec()),
            can_be_written: found.is_dir() && access(path, Access::WRITE_OK).is_ok(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_goes_or_changes_is_seen_and_reading_is_no_change() {
        let root = tempfile::tempdir().unwrap();
        let certs_d = root.path().join("certs.d");
        let directory = certs_d.join("docker.io");
        let file = directory.join("hosts.toml");
        let mut watch = Watch::default();
        watch.follow([&certs_d, &directory, &file].map(Clone::clone).into());
        let mut sees = |what: &str| {
            let now = Instant::now();
            let seen = watch.has_changed(now) || watch.is_restless();
            assert!(!watch.has_changed(now) || seen, "{what}");
            assert!(!watch.is_restless(), "{what}");
            seen
        };
        assert!(!sees("nothing"));
        for round in 0..3 {
            fs::create_dir_all(&directory).unwrap();
            assert!(sees("directories that appear"), "{round}");
            fs::write(&file, "a").unwrap();
            assert!(sees("a file that appears"), "{round}");
            fs::read(&file).unwrap();
            assert!(!sees("reading"), "{round}");
            fs::write(&file, "ab").unwrap();
            assert!(sees("a write in place"), "{round}");
            fs::rename(&directory, certs_d.join("old")).unwrap();
            assert!(sees("a directory that is gone"), "{round}");
            fs::rename(certs_d.join("old"), &directory).unwrap();
            assert!(sees("one that is there again"), "{round}");
            // ext4 gives the new directory the number of the old one.
            fs::remove_dir_all(&certs_d).unwrap();
            fs::create_dir_all(&directory).unwrap();
            fs::write(&file, "ab").unwrap();
            assert!(sees("one that was made anew"), "{round}");
            fs::remove_dir_all(&certs_d).unwrap();
            assert!(sees("one that is gone"), "{round}");
        }
    }

    /// A start of k3s that is under way is not disturbed, and a restless directory is looked at all the same.
    #[test]
    fn a_look_waits_for_rest_and_not_for_ever() {
        for (moves, waited) in [(1, 1), (2, 2), (4, 4), (5, 5), (9, 5)] {
            let (mut watch, start) = (Watch::default(), Instant::now());
            let mut looks = (0..20).filter(|look| watch.rests(*look < moves, start + REST * *look));
            assert_eq!(looks.next(), Some(waited), "{moves} looks find it changed");
        }
        assert!(!Watch::default().rests(false, Instant::now()));
    }
}
