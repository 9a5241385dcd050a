//! Notices changes in the directories of our files. Events mean only "look again": what changed is read anew.

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use tokio::sync::mpsc;

/// The one file of the state directory whose change matters: `apply` and `restore` write it.
const LEDGER: &str = "ledger.json";
/// More levels of directories than are ever made at once.
const LOOKS: usize = 8;

/// Watches directories that may come, go and come again.
pub(super) struct Watch {
    watcher: Option<RecommendedWatcher>,
    watched: Places,
}

/// Directories, with what tells one that was made anew under the old name.
type Places = BTreeMap<PathBuf, (u64, u64)>;

// === impl Watch ===

impl Watch {
    /// A watcher, and the channel that gets a mark when anything happens. One mark is enough: a full channel means
    /// that a look is already due.
    pub(super) fn new(state_directory: &Path) -> (Self, mpsc::Receiver<()>) {
        let (sender, receiver) = mpsc::channel(1);
        let state = state_directory.to_owned();
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if event.map_or(true, |event| matters(&event, &state)) {
                let _ = sender.try_send(());
            }
        });
        let watcher = watcher
            .map_err(|error| {
                tracing::warn!("cannot watch directories, changes are noticed every 30 s: {error}")
            })
            .ok();
        let watch = Self {
            watcher,
            watched: Places::new(),
        };
        (watch, receiver)
    }

    /// Stands in for one that is in use elsewhere.
    pub(super) fn idle() -> Self {
        Self {
            watcher: None,
            watched: Places::new(),
        }
    }

    /// Watches these directories, or of a missing one the nearest that is there. To be called before they are read:
    /// then nothing is missed.
    pub(super) fn follow(&mut self, directories: &BTreeSet<PathBuf>) {
        // A directory that was made while the one above it was not watched yet is seen at the second look.
        for _ in 0..LOOKS {
            let wanted = nearest(directories);
            if wanted == self.watched {
                return;
            }
            self.exchange(wanted);
        }
    }

    fn exchange(&mut self, wanted: Places) {
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        for (path, identity) in &self.watched {
            if wanted.get(path) != Some(identity) {
                // Of a directory that is gone the kernel has dropped it already.
                let _ = watcher.unwatch(path);
            }
        }
        let before = std::mem::take(&mut self.watched);
        for (path, identity) in wanted {
            let known = before.get(&path) == Some(&identity);
            let watched = if known {
                Ok(())
            } else {
                watcher.watch(&path, RecursiveMode::NonRecursive)
            };
            match watched {
                Ok(()) => {
                    self.watched.insert(path, identity);
                }
                Err(error) => tracing::debug!("cannot watch {}: {error}", path.display()),
            }
        }
    }
}

fn nearest(directories: &BTreeSet<PathBuf>) -> Places {
    let mut places = Places::new();
    for directory in directories {
        for place in directory.ancestors() {
            if let Ok(metadata) = fs::metadata(place)
                && metadata.is_dir()
            {
                places.insert(place.to_owned(), (metadata.dev(), metadata.ino()));
                break;
            }
        }
    }
    places
}

/// Reading is no change: containerd reads these files on every pull, and so do we.
fn matters(event: &Event, state: &Path) -> bool {
    let changes = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        _ => true,
    };
    let counts = |path: &PathBuf| {
        path.parent() != Some(state) || path.file_name() == Some(OsStr::new(LEDGER))
    };
    changes && (event.paths.is_empty() || event.paths.iter().any(counts))
}

#[cfg(test)]
mod tests {
    use super::*;
    use notify::event::{CreateKind, ModifyKind};
    use std::time::Duration;
    use tokio::time::timeout;

    #[test]
    fn reading_is_no_change() {
        let state = Path::new("/state");
        let event = |kind, path: &str| Event::new(kind).add_path(path.into());
        let modify = EventKind::Modify(ModifyKind::Any);
        let table = [
            (
                event(
                    EventKind::Access(AccessKind::Open(AccessMode::Any)),
                    "/c/hosts.toml",
                ),
                false,
            ),
            (
                event(
                    EventKind::Access(AccessKind::Close(AccessMode::Read)),
                    "/c/hosts.toml",
                ),
                false,
            ),
            (
                event(
                    EventKind::Access(AccessKind::Close(AccessMode::Write)),
                    "/c/hosts.toml",
                ),
                true,
            ),
            (event(EventKind::Create(CreateKind::Any), "/c"), true),
            (event(modify, "/state/sizes"), false),
            (event(modify, "/state/ledger.json"), true),
            // An overflow of the kernel's queue names no path.
            (Event::new(EventKind::Other), true),
        ];
        for (event, expected) in table {
            assert_eq!(matters(&event, state), expected, "{event:?}");
        }
    }

    #[tokio::test]
    async fn directories_that_come_and_go_are_followed() {
        let root = tempfile::tempdir().unwrap();
        let registry = root.path().join("certs.d/docker.io");
        let wanted = BTreeSet::from([registry.clone()]);
        let (mut watch, mut marks) = Watch::new(Path::new("/nowhere"));
        let limit = Duration::from_secs(5);
        for _ in 0..2 {
            watch.follow(&wanted);
            fs::create_dir_all(&registry).unwrap();
            timeout(limit, marks.recv()).await.unwrap().unwrap();
            // One level of the missing ones a time.
            watch.follow(&wanted);
            tokio::time::sleep(Duration::from_millis(50)).await;
            let _ = marks.try_recv();
            fs::write(registry.join("hosts.toml"), "").unwrap();
            timeout(limit, marks.recv()).await.unwrap().unwrap();
            fs::remove_dir_all(root.path().join("certs.d")).unwrap();
            timeout(limit, marks.recv()).await.unwrap().unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
            let _ = marks.try_recv();
        }
    }
}
